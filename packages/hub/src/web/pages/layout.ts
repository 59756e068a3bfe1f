import { flag, type Html, html } from './html.js';

export interface LayoutOptions {
  /** What every path of ours begins with: the path of `public_url`, without a slash at its end. */
  readonly base: string;
  /** Without the product's name. */
  readonly title: string;
  readonly main: Html;
  /** `narrow` for a single form with a large logo above it. */
  readonly width?: 'narrow' | 'normal';
  /** Shown in the header with a button to log out. */
  readonly visitor?: { readonly user: string; readonly csrfToken: string; readonly isAdmin?: boolean };
  /** Names of files in static/, loaded as modules; a page must work without them. */
  readonly scripts?: readonly string[];
  /** Without scripts the page loads itself again after this time; with them it does not. */
  readonly refreshSec?: number;
}

/** The whole document around a page's main part. */
export function renderDocument(options: LayoutOptions): string {
  const { base, title, main, width = 'normal', visitor, scripts = [], refreshSec } = options;
  const files = `${base}/hub/static`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${title} · metalhub</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="${`${files}/favicon.svg`}" type="image/svg+xml">
${['metalhub.css', 'controls.css'].map((name) => html`<link rel="stylesheet" href="${`${files}/${name}`}">\n`)}${refreshSec === undefined ? undefined : html`<noscript><meta http-equiv="refresh" content="${refreshSec}"></noscript>`}
${['forms.js', ...scripts].map((name) => html`<script type="module" src="${`${files}/${name}`}"></script>\n`)}
</head>
<body class="${width}">
<header class="top">
<a class="brand" href="${homePath(base)}">${logo()}<span>metalhub</span></a>
${visitor === undefined ? undefined : renderVisitor(base, visitor)}
</header>
<main>
${main}
</main>
</body>
</html>
`.toString();
}

function renderVisitor(base: string, visitor: NonNullable<LayoutOptions['visitor']>): Html {
  return html`<div class="visitor">
<span class="who"><bdi>${visitor.user}</bdi>${visitor.isAdmin === true ? html` <span class="tag">Administrator</span>` : undefined}</span>
<form method="post" action="${`${base}/hub/logout`}">${csrfField(visitor.csrfToken)}<button class="quiet">Log out</button></form>
</div>`;
}

export function homePath(base: string): string {
  return `${base}/hub/home`;
}

export function csrfField(csrfToken: string): Html {
  return hiddenField('csrf', csrfToken);
}

export function hiddenField(name: string, value: string): Html {
  return html`<input type="hidden" name="${name}" value="${value}">`;
}

/** A box of text that stands out; errors interrupt a screen reader, notices wait. */
export function renderBox(kind: 'error' | 'notice', text: string | Html, hidden = false): Html {
  return html`<div class="${`box ${kind}`}" role="${kind === 'error' ? 'alert' : 'status'}" ${flag('hidden', hidden)}>${text}</div>`;
}

/** A hexagonal nut with a hub in it. The same drawing as static/favicon.svg. */
function logo(): Html {
  return html`<svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
<path class="logo-nut" d="M16 2.5 27.7 9.25v13.5L16 29.5 4.3 22.75V9.25Z"/>
<circle class="logo-hub" cx="16" cy="16" r="4.6"/>
</svg>`;
}
