import { type Html, html } from './html.js';
import { renderBox, renderDocument } from './layout.js';
import {
  renderDescription,
  renderFailure,
  renderStartForm,
  renderState,
  renderStopForm,
  renderTime,
} from './server-parts.js';
import type { ServerView } from './views.js';

export interface HomePageOptions {
  readonly base: string;
  /** Name as shown. */
  readonly user: string;
  readonly isAdmin: boolean;
  readonly csrfToken: string;
  /** The default server first; never empty. */
  readonly servers: readonly ServerView[];
  /** There are several kinds of servers to choose from. */
  readonly hasChoice: boolean;
  readonly notice?: string;
}

type FormBase = Pick<HomePageOptions, 'base' | 'csrfToken' | 'hasChoice'>;

const REFRESH_SEC = 3;

export function renderHomePage(options: HomePageOptions): string {
  const { base, user, isAdmin, csrfToken, servers, hasChoice, notice } = options;
  const isChanging = servers.some(({ state }) => state === 'spawn' || state === 'stop');
  const title = servers.length === 1 ? 'Your server' : 'Your servers';
  const main = html`<h1>${title}</h1>
${notice === undefined ? undefined : renderBox('notice', notice)}
<div id="servers" class="stack" data-changing="${isChanging ? 'yes' : 'no'}">
${servers.map((server) => renderCard(server, { base, csrfToken, hasChoice }))}
</div>`;
  return renderDocument({
    base,
    title: 'Home',
    main,
    visitor: { user, csrfToken, isAdmin },
    scripts: ['local-time.js', 'home.js'],
    ...(isChanging ? { refreshSec: REFRESH_SEC } : {}),
  });
}

function renderCard(server: ServerView, of: FormBase): Html {
  return html`<section class="card server">
<div class="card-head">
<h2><bdi>${server.name === '' ? server.profileTitle : server.name}</bdi></h2>
<p role="status">${renderState(server.state)}</p>
</div>
${renderDescription(server)}
${renderText(server)}
<div class="actions">${renderActions(server, of)}</div>
</section>
`;
}

function renderText(server: ServerView): Html {
  switch (server.state) {
    case 'stopped':
      return html`<p>Your files are kept while the server is not running.</p>`;
    case 'spawn':
      return html`<p>This takes a few seconds.</p>`;
    case 'ready':
      return server.startedAtMs === null
        ? html`<p>Ready for you.</p>`
        : html`<p>Running since ${renderTime(server.startedAtMs)}.${server.endsAtMs === undefined ? undefined : html` <strong>It is stopped at ${renderTime(server.endsAtMs)}</strong>: save your work before.`}</p>`;
    case 'stop':
      return html`<p>Running programs are being ended. Your files are kept.</p>`;
    case 'failed':
      return renderFailure(server.failure ?? { message: 'The server could not be started.', logLines: [] }, false);
  }
}

function renderActions(server: ServerView, of: FormBase): Html | undefined {
  const form = { ...of, server, next: '' };
  switch (server.state) {
    case 'stopped':
      if (of.hasChoice) return renderChoose(server, of, 'primary', 'Start');
      return renderStartForm({ ...form, label: 'Start', look: 'primary', busy: 'Starting…' });
    case 'failed':
      return html`${renderStartForm({ ...form, label: 'Try again', look: 'primary', busy: 'Starting…' })}
${of.hasChoice ? renderChoose(server, of, 'secondary', 'Choose another') : undefined}`;
    case 'spawn':
      return html`${renderStartForm({ ...form, label: 'Show progress', look: 'primary', busy: 'One moment…' })}
${renderStopForm({ ...form, label: 'Cancel', look: 'secondary', busy: 'Cancelling…' })}`;
    case 'ready':
      return html`<a class="button primary" href="${server.url}">Open</a>
${renderStopForm({ ...form, label: 'Stop', look: 'secondary', busy: 'Stopping…' })}`;
    case 'stop':
      return undefined;
  }
}

/** Leads to the page with the kinds of servers; it changes nothing. */
function renderChoose({ name }: ServerView, { base }: FormBase, look: string, label: string): Html {
  const query = name === '' ? '' : `?server=${name}`;
  return html`<a class="${`button ${look}`}" href="${`${base}/hub/spawn${query}`}">${label}</a>`;
}
