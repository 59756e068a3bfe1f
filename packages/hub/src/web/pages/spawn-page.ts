import { type Html, html } from './html.js';
import { homePath, renderDocument } from './layout.js';
import { renderDescription, renderFailure, renderStartForm } from './server-parts.js';
import { isLocalPath } from './text.js';
import type { ServerState, ServerView } from './views.js';

export interface SpawnPageOptions {
  readonly base: string;
  readonly user: string;
  readonly csrfToken: string;
  /** Path that the visitor asked for; opened when the server is ready. `''` for the server's own. */
  readonly next: string;
  readonly server: ServerView;
}

const TITLES: Readonly<Record<ServerState, string>> = {
  stopped: 'Your server is not running',
  failed: 'Your server could not start',
  spawn: 'Your server is starting',
  ready: 'Your server is running',
  stop: 'Your server is stopping',
};
const REFRESH_SEC = 3;

/** What the address of a server shows while it does not run, a deep link for instance. */
export function renderSpawnPage(options: SpawnPageOptions): string {
  const { base, user, csrfToken, server } = options;
  const next = isLocalPath(options.next) ? options.next : '';
  const main = html`<section class="card">
<h1>${TITLES[server.state]}</h1>
<p class="lead"><bdi>${server.name === '' ? server.profileTitle : server.name}</bdi></p>
${renderDescription(server)}
${server.failure === undefined ? undefined : renderFailure(server.failure, false)}
${renderText(server, next)}
<div class="actions">${renderAction(server, next, { base, csrfToken })}<a class="button secondary" href="${homePath(base)}">Home</a></div>
</section>`;
  return renderDocument({
    base,
    title: TITLES[server.state],
    main,
    visitor: { user, csrfToken },
    ...(server.state === 'stop' ? { refreshSec: REFRESH_SEC } : {}),
  });
}

function renderText(server: ServerView, next: string): Html {
  if (server.state === 'stop') return html`<p>Wait a few seconds, then start it again.</p>`;
  if (server.state === 'ready') return html`<p>You can go on.</p>`;
  if (next === '') return html`<p>Your files are as you left them.</p>`;
  return html`<p>Once it runs, the page you asked for opens:</p>
<p class="wanted"><bdi>${readablePath(next)}</bdi></p>`;
}

function renderAction(server: ServerView, next: string, of: Pick<SpawnPageOptions, 'base' | 'csrfToken'>): Html {
  if (server.state === 'ready') return html`<a class="button primary" href="${next || server.url}">Open</a>`;
  const label = { stopped: 'Start', failed: 'Try again', spawn: 'Show progress', stop: 'Start again' }[server.state];
  return renderStartForm({ ...of, server, next, label, look: 'primary', busy: 'Starting…' });
}

/** `%20` and the like as people write them; a malformed one stays as it is. */
function readablePath(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}
