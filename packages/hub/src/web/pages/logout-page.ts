import { html } from './html.js';
import { csrfField, homePath, renderDocument } from './layout.js';

export interface LogoutPageOptions {
  readonly base: string;
  readonly user: string;
  readonly csrfToken: string;
}

/** Asks before logging out: the answer to a plain link, which must not change anything by itself. */
export function renderLogoutPage({ base, user, csrfToken }: LogoutPageOptions): string {
  const main = html`<section class="card">
<h1>Log out?</h1>
<p>You are logged in as <strong><bdi>${user}</bdi></strong>. Your server keeps running after you log out.</p>
<div class="actions">
<form method="post" action="${`${base}/hub/logout`}" data-busy="Logging out&hellip;">${csrfField(csrfToken)}<button class="primary">Log out</button></form>
<a class="button secondary" href="${homePath(base)}">Stay</a>
</div>
</section>`;
  return renderDocument({ base, title: 'Log out', main, width: 'narrow' });
}
