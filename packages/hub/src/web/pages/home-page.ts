import { type Html, html } from './html.js';
import { csrfField, hiddenField, renderBox, renderDocument } from './layout.js';
import {
  renderDeleteForm,
  renderDescription,
  renderEnded,
  renderEnding,
  renderFailure,
  renderOutOfMemory,
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
  /** How many more named ones may be made. */
  readonly newServers: number;
  readonly notice?: string;
}

type FormBase = Pick<HomePageOptions, 'base' | 'csrfToken' | 'hasChoice'>;

const REFRESH_SEC = 3;

export function renderHomePage(options: HomePageOptions): string {
  const { base, user, isAdmin, csrfToken, servers, hasChoice, newServers, notice } = options;
  const isChanging = servers.some(({ state }) => state === 'spawn' || state === 'stop');
  const title = servers.length === 1 ? 'Your server' : 'Your servers';
  const main = html`<h1>${title}</h1>
${notice === undefined ? undefined : renderBox('notice', notice)}
<div class="stack">
<div id="servers" class="stack" data-changing="${isChanging ? 'yes' : 'no'}">
${servers.map((server) => renderCard(server, { base, csrfToken, hasChoice }))}
</div>
${newServers === 0 ? undefined : renderNewServer({ base, csrfToken, hasChoice })}
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

/** It has the home of the others: a name tells it apart, and makes its address. What kind it is comes after the name. */
function renderNewServer({ base, csrfToken, hasChoice }: FormBase): Html {
  const action = `${base}/hub/spawn`;
  return html`<section class="card">
<h2>Another server</h2>
<p>It runs beside the others and has the same files.</p>
${hasChoice ? html`<form method="get" action="${action}" class="stack">${hiddenField('new', 'yes')}` : html`<form method="post" action="${action}" class="stack" data-busy="Starting&hellip;">${csrfField(csrfToken)}${hiddenField('next', '')}`}
<div class="field">
<label for="server">Name</label>
<input id="server" name="server" type="text" autocapitalize="none" autocomplete="off" autocorrect="off" spellcheck="false" maxlength="31" pattern="[a-z0-9][a-z0-9\\-]*" title="Small letters, digits and hyphens" required="">
</div>
<div class="actions"><button class="secondary">${hasChoice ? 'Next' : 'Start'}</button></div>
</form>
</section>`;
}

function renderCard(server: ServerView, of: FormBase): Html {
  return html`<section class="card server" data-server="${server.name}">
<div class="card-head">
<h2><bdi>${server.name === '' ? server.profileTitle : server.name}</bdi></h2>
<p role="status">${renderState(server)}</p>
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
      return html`${renderEnded(server.ended)}<p>Your files are kept while the server is not running.</p>`;
    case 'spawn':
      return html`<p>This takes a few seconds.</p>`;
    case 'ready':
      if (server.isFrozen)
        return html`<p>An administrator has paused it. Nothing in it is lost: it goes on where it stood.</p>`;
      return html`${renderEnding(server.ending)}${renderOutOfMemory(server.outOfMemoryMs)}${renderSince(server)}`;
    case 'stop':
      return html`<p>Running programs are being ended. Your files are kept.</p>`;
    case 'failed':
      return renderFailure(server.failure ?? { message: 'The server could not be started.', logLines: [] }, false);
  }
}

function renderSince({ startedAtMs }: ServerView): Html {
  return startedAtMs === null ? html`<p>Ready for you.</p>` : html`<p>Running since ${renderTime(startedAtMs)}.</p>`;
}

function renderDelete(server: ServerView, { base, csrfToken }: FormBase): Html | undefined {
  if (server.name === '') return undefined;
  return renderDeleteForm({ base, csrfToken, server, label: 'Delete', look: 'secondary', busy: 'Deleting…' });
}

function renderActions(server: ServerView, of: FormBase): Html | undefined {
  const form = { ...of, server, next: '' };
  switch (server.state) {
    case 'stopped':
      return html`${of.hasChoice ? renderChoose(server, of, 'primary', 'Start') : renderStartForm({ ...form, label: 'Start', look: 'primary', busy: 'Starting…' })}
${renderDelete(server, of)}`;
    case 'failed':
      return html`${renderStartForm({ ...form, label: 'Try again', look: 'primary', busy: 'Starting…' })}
${of.hasChoice ? renderChoose(server, of, 'secondary', 'Choose another') : undefined}
${renderDelete(server, of)}`;
    case 'spawn':
      return html`${renderStartForm({ ...form, label: 'Show progress', look: 'primary', busy: 'One moment…' })}
${renderStopForm({ ...form, label: 'Cancel', look: 'secondary', busy: 'Cancelling…' })}`;
    case 'ready':
      return html`${server.isFrozen ? undefined : html`<a class="button primary" href="${server.url}">Open</a>`}
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
