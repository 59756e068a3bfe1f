import { html } from './html.js';
import { homePath, renderDocument } from './layout.js';

export interface ErrorPageOptions {
  readonly base: string;
  /** HTTP status. */
  readonly status: number;
  readonly title: string;
  readonly message: string;
  readonly hint?: string;
  /** For the administrator to find the request in the journal. */
  readonly requestId: string;
  /** With `csrfToken`: the page then offers to log out. */
  readonly user?: string;
  readonly csrfToken?: string;
}

export function renderErrorPage(options: ErrorPageOptions): string {
  const { base, status, title, message, hint, requestId, user, csrfToken } = options;
  const main = html`<section class="card">
<p class="status-code">Error ${status}</p>
<h1>${title}</h1>
<p>${message}</p>
${hint === undefined ? undefined : html`<p>${hint}</p>`}
<div class="actions"><a class="button primary" href="${homePath(base)}">Go to the home page</a></div>
<p class="fine">If you ask for help, give this number: <code>${requestId}</code></p>
</section>`;
  const visitor = user !== undefined && csrfToken !== undefined ? { visitor: { user, csrfToken } } : {};
  return renderDocument({ base, title, main, ...visitor });
}
