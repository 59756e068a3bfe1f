import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { renderErrorPage } from './error-page.js';
import { renderHomePage } from './home-page.js';
import { renderLoginPage } from './login-page.js';
import { renderLogoutPage } from './logout-page.js';
import { renderPendingPage } from './pending-page.js';
import { renderSpawnPage } from './spawn-page.js';
import type { ProfileView, ServerState, ServerView } from './views.js';

const csrfToken = 'csrf-token-of-this-test';
const payload = `"><img src=x onerror='alert(1)'>{{7*7}}\u202egnp \u001b[31mred\u001b[0m`;
const staticDirectory = fileURLToPath(new URL('../../../static/', import.meta.url));

function makeServer(state: ServerState, text = 'JupyterLab'): ServerView {
  const failure = { message: text, hint: text, logLines: [text, text] };
  const startedAtMs = state === 'ready' ? Date.UTC(2026, 0, 2, 3, 4, 5) : null;
  return {
    name: '',
    state,
    isFrozen: false,
    url: '/user/anna/',
    startedAtMs,
    profileTitle: text,
    profileDescription: text,
    ...(state === 'failed' ? { failure } : {}),
  };
}

function makeProfile(name: string, text = 'JupyterLab'): ProfileView {
  return { name, title: text, description: text, isChosen: name === 'default', choices: [] };
}

/** Every page in every state, with the same text wherever others may write one. */
function renderAll(text: string): Map<string, string> {
  const visitor = { base: '', user: text, csrfToken };
  const events = [{ progress: 10, message: text, stage: text }];
  const failed = {
    progress: 100,
    message: text,
    failed: true,
    failure: { message: text, hint: text, logLines: [text] },
  };
  const pages = new Map([
    [
      'login',
      renderLoginPage({
        base: '',
        csrfToken,
        next: text,
        name: text,
        error: text,
        notice: text,
        title: text,
        nobodyMayLogIn: false,
      }),
    ],
    [
      'login, nobody',
      renderLoginPage({ base: '', csrfToken, next: text, name: '', title: text, nobodyMayLogIn: true }),
    ],
    ['error', renderErrorPage({ status: 403, title: text, message: text, hint: text, requestId: text, ...visitor })],
    ['error, nobody', renderErrorPage({ base: '', status: 500, title: text, message: text, requestId: text })],
    ['logout', renderLogoutPage(visitor)],
  ]);
  for (const state of ['stopped', 'spawn', 'ready', 'stop', 'failed'] as const) {
    const server = { ...makeServer(state, text), name: text, url: text };
    const pending = { ...visitor, server, progressUrl: text, next: text };
    pages.set(
      `home ${state}`,
      renderHomePage({
        ...visitor,
        isAdmin: true,
        servers: [makeServer(state, text), server],
        newServers: 1,
        notice: text,
        hasChoice: false,
      }),
    );
    const profile = makeProfile('default', text);
    const options = [{ name: 'small', title: text, isChosen: true }];
    const other = { ...makeProfile('gpu', text), choices: [{ name: 'size', title: text, options }] };
    pages.set(
      `home with a choice ${state}`,
      renderHomePage({ ...visitor, isAdmin: false, servers: [server], hasChoice: true, newServers: 0 }),
    );
    pages.set(`spawn ${state}`, renderSpawnPage({ ...visitor, next: text, server, profiles: [profile] }));
    pages.set(
      `spawn with a choice ${state}`,
      renderSpawnPage({ ...visitor, next: text, server, profiles: [profile, other] }),
    );
    pages.set(`spawn without a profile ${state}`, renderSpawnPage({ ...visitor, next: text, server, profiles: [] }));
    pages.set(
      `pending ${state}`,
      renderPendingPage({ ...pending, events: state === 'failed' ? [...events, failed] : events }),
    );
  }
  return pages;
}

function matches(page: string, pattern: RegExp): string[] {
  return [...page.matchAll(pattern)].map((match) => match[1] ?? match[0]);
}

for (const [name, page] of renderAll('/user/anna/lab')) {
  t.test(`page ${name}`, async (t) => {
    t.test('sends the token with every form, and changes nothing by a link', async (t) => {
      const forms = matches(page, /(<form[\s\S]*?<\/form>)/g);
      for (const form of forms) {
        t.match(form, /^<form method="post" action="\/hub\/(?:login|logout|spawn|stop|delete)"/);
        t.match(form, `<input type="hidden" name="csrf" value="${csrfToken}">`);
      }
      t.same(
        matches(page, /href="(\/hub\/[^"]*)"/g).filter(
          (href) => !/^\/hub\/(?:home$|spawn(?:$|\?)|static\/)/.test(href),
        ),
        [],
      );
    });

    t.test('runs under the strict policy: no inline script, style or handler, nothing from elsewhere', async (t) => {
      t.notMatch(page, /<style|\sstyle=|<script(?! type="module" src="\/hub\/static\/[a-z-]+\.js"><\/script>)/i);
      t.notMatch(page, /<[^>]*\son[a-z]+=|javascript:|<base|<iframe|<img/i);
      t.same(matches(page, /(?:src|href)="((?:https?:)?\/\/[^"]*)"/g), []);
    });

    t.test('loads only files that exist', async (t) => {
      const files = matches(page, /(?:src|href)="\/hub\/static\/([^"]+)"/g);
      t.ok(files.length >= 3);
      for (const file of files) t.ok(readFileSync(staticDirectory + file).length > 0, file);
    });

    t.test('names every visible field and every id once', async (t) => {
      const fields = matches(page, /(<(?:input|select)(?! type="hidden")[^>]*>)/g);
      for (const field of fields) t.match(page, `<label for="${/ id="([^"]+)"/.exec(field)?.[1]}">`);
      const ids = matches(page, /\sid="([^"]+)"/g);
      t.same([...new Set(ids)], ids);
      for (const id of matches(page, /aria-labelledby="([^"]+)"/g)) t.ok(ids.includes(id), id);
    });

    t.test('is one document with language, title and one main heading', async (t) => {
      t.match(page, /^<!doctype html>\n<html lang="en">/);
      t.match(page, /<title>[^<]+ · metalhub<\/title>/);
      t.equal(matches(page, /<h1/g).length, 1);
    });
  });
}

t.test('H05: no text of others becomes markup, a control or a link to elsewhere in any page', async (t) => {
  for (const [name, page] of renderAll(payload)) {
    t.notMatch(page, /<img|onerror='/, name);
    // Fields carry what was typed, unchanged; everything that is shown has lost its controls.
    t.notMatch(page.replaceAll(/(?:value|data-[a-z-]+)="[^"]*"/g, ''), /(?!\n)[\p{Cc}\u202e]/u, name);
    t.notMatch(page, /(?:href|src|action)="(?!\/|#")/, name);
  }
});

t.test('H01: a start never leads to another site', async (t) => {
  const server = makeServer('stopped');
  for (const next of ['//evil.example', '/\\evil.example', 'https://evil.example', 'javascript:alert(1)']) {
    const visitor = { base: '', user: 'anna', csrfToken, next, server, profiles: [makeProfile('default')] };
    t.notMatch(renderSpawnPage(visitor), /evil|javascript/, next);
    t.notMatch(renderPendingPage({ ...visitor, progressUrl: '/hub/p', events: [] }), /evil|javascript/, next);
  }
});

t.test('renderLoginPage', async (t) => {
  t.test(
    'fills in the name of the last attempt, never a password, and puts the cursor where it is needed',
    async (t) => {
      const again = renderLoginPage({
        base: '',
        csrfToken,
        next: '/a?b&c',
        name: 'anna',
        error: 'Wrong.',
        nobodyMayLogIn: false,
      });
      t.match(again, /id="username" name="username" value="anna" type="text" autocomplete="username"/);
      t.match(again, /id="password" name="password" type="password" autocomplete="current-password"[^>]* autofocus>/);
      t.match(again, '<input type="hidden" name="next" value="/a?b&amp;c">');
      t.match(again, /role="alert" >Wrong\./);
      const first = renderLoginPage({ base: '', csrfToken, next: '', name: '', nobodyMayLogIn: false });
      t.match(first, /id="username"[^>]* autofocus>/);
      t.notMatch(first, 'role="alert"');
    },
  );

  t.test('says so instead of asking for a password when nobody may log in', async (t) => {
    const page = renderLoginPage({ base: '', csrfToken, next: '', name: '', nobodyMayLogIn: true });
    t.match(page, 'Nobody can log in yet');
    t.notMatch(page, 'type="password"');
  });
});

t.test('renderHomePage', async (t) => {
  function renderHome(state: ServerState): string {
    return renderHomePage({
      base: '',
      user: 'anna',
      isAdmin: false,
      csrfToken,
      servers: [makeServer(state)],
      hasChoice: false,
      newServers: 0,
    });
  }

  t.test('tells each state in words and offers what can be done in it', async (t) => {
    t.match(renderHome('stopped'), /Not running[\s\S]*action="\/hub\/spawn"[\s\S]*>Start</);
    t.match(renderHome('spawn'), /Starting[\s\S]*>Show progress<[\s\S]*action="\/hub\/stop"[\s\S]*>Cancel</);
    t.match(renderHome('ready'), /Running[\s\S]*href="\/user\/anna\/">Open<[\s\S]*action="\/hub\/stop"[\s\S]*>Stop</);
    t.match(renderHome('failed'), /Could not start[\s\S]*>Try again</);
    t.match(renderHome('stop'), 'Stopping');
    t.notMatch(renderHome('stop'), /hub\/(?:spawn|stop)"/);
  });

  t.test('shows when the server was started, in a form that scripts can read', async (t) => {
    t.match(renderHome('ready'), '<time datetime="2026-01-02T03:04:05.000Z">2026-01-02 03:04 UTC</time>');
  });

  t.test('loads again by itself while a server changes, without scripts too', async (t) => {
    t.match(renderHome('spawn'), '<noscript><meta http-equiv="refresh" content="3"></noscript>');
    t.notMatch(renderHome('ready'), 'http-equiv="refresh"');
  });

  t.test('marks administrators', async (t) => {
    t.notMatch(renderHome('ready'), 'Administrator');
    t.match(
      renderHomePage({
        base: '',
        user: 'a',
        isAdmin: true,
        csrfToken,
        servers: [makeServer('ready')],
        hasChoice: false,
        newServers: 0,
      }),
      'Administrator',
    );
  });
});

t.test('renderPendingPage', async (t) => {
  const options = { base: '', user: 'anna', csrfToken, server: makeServer('spawn'), progressUrl: '/hub/p', next: '' };

  t.test('loads again by itself without scripts until the start has failed', async (t) => {
    t.match(renderPendingPage({ ...options, events: [] }), /<noscript><meta http-equiv="refresh"/);
    const failed = renderPendingPage({ ...options, events: [{ progress: 1, message: 'No space.', failed: true }] });
    t.notMatch(failed, 'http-equiv="refresh"');
    t.match(failed, /<form method="post" action="\/hub\/spawn" data-busy="Starting…" >/);
    t.match(failed, /<form method="post" action="\/hub\/stop" data-busy="Cancelling…" hidden>/);
  });

  t.test('opens the page that was asked for rather than the start page of the server', async (t) => {
    const events = [{ progress: 100, message: 'Ready', ready: true, url: '/user/anna/' }];
    t.match(renderPendingPage({ ...options, events }), /id="open" href="\/user\/anna\/" >/);
    t.match(
      renderPendingPage({ ...options, next: '/user/anna/lab/tree/a', events }),
      /id="open" href="\/user\/anna\/lab\/tree\/a" >/,
    );
  });
});

t.test('renderSpawnPage', async (t) => {
  const profiles = [makeProfile('default')];

  t.test('keeps the address that was asked for and shows it readable', async (t) => {
    const next = '/user/anna/lab/tree/a%20b?x=%ZZ';
    const page = renderSpawnPage({ base: '', user: 'anna', csrfToken, next, server: makeServer('stopped'), profiles });
    t.match(page, `<input type="hidden" name="next" value="${next}">`);
    t.match(page, `<bdi>${next}</bdi>`, 'as it is when it is not well-formed');
    const good = renderSpawnPage({
      base: '',
      user: 'anna',
      csrfToken,
      next: '/user/anna/a%20%C3%BC',
      server: makeServer('stopped'),
      profiles,
    });
    t.match(good, '<bdi>/user/anna/a ü</bdi>');
  });
});
