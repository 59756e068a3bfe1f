import { createHash } from 'node:crypto';

/** An answer of the proxy's own. */
export interface Answer {
  readonly status: number;
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
}

const STYLE = `
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1c2430;--soft:#5a6675;--accent:#1f6feb}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1b2129;--text:#e6eaf0;--soft:#9aa7b6;--accent:#6ea8fe}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--bg);color:var(--text);
font:1rem/1.5 system-ui,sans-serif}
main{max-width:30rem;width:100%;background:var(--card);border-radius:.75rem;padding:1.5rem 1.75rem;
box-shadow:0 1px 3px rgb(0 0 0/.15)}
h1{font-size:1.25rem;margin:0 0 .5rem}
p{margin:.5rem 0;color:var(--soft)}
a{color:var(--accent)}
`;
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const COMMON_FIELDS = [
  ['Cache-Control', 'no-store'],
  ['X-Content-Type-Options', 'nosniff'],
  ['Referrer-Policy', 'same-origin'],
] as const;

interface PageText {
  readonly title: string;
  /** Sentences of constant text. */
  readonly paragraphs: readonly string[];
  readonly link?: { readonly href: string; readonly text: string };
  /** Seconds until the page loads itself again. */
  readonly retrySec?: number;
}

/** One self-contained page. All text is ours; nothing of a request appears in it. */
export function page(status: number, text: PageText, fields: readonly (readonly [string, string])[] = []): Answer {
  const retry = text.retrySec === undefined ? '' : `<meta http-equiv="refresh" content="${text.retrySec}">\n`;
  const link = text.link === undefined ? '' : `<p><a href="${text.link.href}">${text.link.text}</a></p>\n`;
  const body = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${retry}<title>${text.title}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${text.title}</h1>
${text.paragraphs.map((paragraph) => `<p>${paragraph}</p>\n`).join('')}${link}</main>
</body>
</html>
`;
  return {
    status,
    fields: [
      ['Content-Type', 'text/html; charset=utf-8'],
      ['Content-Security-Policy', CONTENT_SECURITY_POLICY],
      ...COMMON_FIELDS,
      ...fields,
    ],
    body,
  };
}

/** The same for programs: JupyterHub's shape of an error. */
export function jsonAnswer(
  status: number,
  message: string,
  fields: readonly (readonly [string, string])[] = [],
): Answer {
  return {
    status,
    fields: [['Content-Type', 'application/json'], ...COMMON_FIELDS, ...fields],
    body: `${JSON.stringify({ status, message })}\n`,
  };
}

export function redirect(location: string, setCookies: readonly string[] = []): Answer {
  const cookies = setCookies.map((cookie) => ['Set-Cookie', cookie] as const);
  return { status: 302, fields: [['Location', location], ...COMMON_FIELDS, ...cookies], body: '' };
}

export function hubAway(isNavigation: boolean): Answer {
  const retry = [['Retry-After', '3']] as const;
  if (!isNavigation) return jsonAnswer(503, 'the hub is restarting', retry);
  const title = 'The hub is restarting';
  const paragraphs = ['Running servers are not affected. This page tries again by itself.'];
  return page(503, { title, paragraphs, retrySec: 3 }, retry);
}

/** @param base of the hub's addresses, as in all of these */
export function serverAway(isNavigation: boolean, base: string): Answer {
  const retry = [['Retry-After', '5']] as const;
  if (!isNavigation) return jsonAnswer(503, 'the server is not running', retry);
  const title = 'Your server is not running';
  const paragraphs = ['It was stopped or has ended by itself. Your files are still there.'];
  return page(503, { title, paragraphs, link: { href: `${base}/hub/home`, text: 'Start it again' } }, retry);
}

export function badGateway(isNavigation: boolean, base: string): Answer {
  if (!isNavigation) return jsonAnswer(502, 'the server gave no valid answer');
  return page(502, {
    title: 'The server gave no valid answer',
    paragraphs: ['Try again; if it goes on like this, restart your server.'],
    link: { href: `${base}/hub/home`, text: 'To your servers' },
  });
}

export function gatewayTimeout(isNavigation: boolean, base: string): Answer {
  if (!isNavigation) return jsonAnswer(504, 'the server did not answer in time');
  return page(504, {
    title: 'The server did not answer in time',
    paragraphs: ['It is running, but busy or stuck. Try again; if it goes on like this, restart your server.'],
    link: { href: `${base}/hub/home`, text: 'To your servers' },
  });
}

/** The path is that of a server the visitor had once, and which is somebody else's now. */
export function ofSomebodyElse(isNavigation: boolean, base: string): Answer {
  if (!isNavigation) return jsonAnswer(403, 'this server belongs to somebody else');
  return page(403, {
    title: 'This server belongs to somebody else',
    paragraphs: ['Your login does not lead to it.'],
    link: { href: `${base}/hub/home`, text: 'To your servers' },
  });
}

/** Outside of all that is ours. */
export function nothingHere(isNavigation: boolean, base: string): Answer {
  if (!isNavigation) return jsonAnswer(404, 'nothing is here');
  return page(404, {
    title: 'Nothing here',
    paragraphs: ['There is no page at this address.'],
    link: { href: `${base}/`, text: 'To the start page' },
  });
}

/** Of programs and people alike: a form was sent. */
export function tooManyLogins(retryAfterSec: number, base: string): Answer {
  const paragraphs = ['Too many logins come from your network address. Wait a minute, then try again.'];
  const link = { href: `${base}/hub/login`, text: 'Try again' };
  return page(429, { title: 'Too many logins', paragraphs, link }, [['Retry-After', String(retryAfterSec)]]);
}

export function cookiesNeeded(base: string): Answer {
  return page(403, {
    title: 'Cookies are needed',
    paragraphs: ['The browser did not return the cookie that was just set. Allow cookies for this site and try again.'],
    link: { href: `${base}/hub/home`, text: 'Try again' },
  });
}
