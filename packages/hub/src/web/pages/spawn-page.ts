import { type Html, html } from './html.js';
import { homePath, renderDocument } from './layout.js';
import { renderDescription, renderEnded, renderFailure, renderStartForm } from './server-parts.js';
import { isLocalPath } from './text.js';
import type { ProfileView, ServerState, ServerView } from './views.js';

export interface SpawnPageOptions {
  readonly base: string;
  readonly user: string;
  readonly csrfToken: string;
  /** Path that the visitor asked for; opened when the server is ready. `''` for the server's own. */
  readonly next: string;
  readonly server: ServerView;
  /** What the user may start, one of them chosen; may be empty. */
  readonly profiles: readonly ProfileView[];
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
${renderLead(options)}
${server.failure === undefined ? undefined : renderFailure(server.failure, false)}
${renderEnded(server.ended)}
${renderText(options, next)}
<div class="actions">${renderAction(next, options)}<a class="button secondary" href="${homePath(base)}">Home</a></div>
</section>`;
  return renderDocument({
    base,
    scripts: ['local-time.js'],
    title: TITLES[server.state],
    main,
    visitor: { user, csrfToken },
    ...(server.state === 'stop' ? { refreshSec: REFRESH_SEC } : {}),
  });
}

function renderText({ server, profiles }: SpawnPageOptions, next: string): Html {
  if (isStartable(server) && profiles.length === 0) {
    return html`<p>There is no kind of server that you may start. The administrator can change that.</p>`;
  }
  if (server.state === 'stop') return html`<p>Wait a few seconds, then start it again.</p>`;
  if (server.state === 'ready') return html`<p>You can go on.</p>`;
  if (next === '') return html`<p>Your files are as you left them.</p>`;
  return html`<p>Once it runs, the page you asked for opens:</p>
<p class="wanted"><bdi>${readablePath(next)}</bdi></p>`;
}

/** Which server it is; of which kind only where there is no list of kinds. */
function renderLead({ server, profiles }: SpawnPageOptions): Html | undefined {
  const isListed = isStartable(server) && profiles.length > 1;
  if (isListed && server.name === '') return undefined;
  return html`<p class="lead"><bdi>${server.name === '' ? server.profileTitle : server.name}</bdi></p>
${isListed ? undefined : renderDescription(server)}`;
}

function isStartable({ state }: ServerView): boolean {
  return state === 'stopped' || state === 'failed';
}

function renderAction(next: string, { base, csrfToken, server, profiles }: SpawnPageOptions): Html | undefined {
  if (isStartable(server) && profiles.length === 0) return undefined;
  if (server.state === 'ready') return html`<a class="button primary" href="${next || server.url}">Open</a>`;
  const label = { stopped: 'Start', failed: 'Try again', spawn: 'Show progress', stop: 'Start again' }[server.state];
  const form = { base, csrfToken, server, next, label, look: 'primary', busy: 'Starting…' } as const;
  return renderStartForm(isStartable(server) ? { ...form, profiles } : form);
}

/** `%20` and the like as people write them; a malformed one stays as it is. */
function readablePath(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}
