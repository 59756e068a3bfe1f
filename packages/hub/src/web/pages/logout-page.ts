import { html } from './html.js';
import { csrfField, HOME_PATH, renderDocument } from './layout.js';

export interface LogoutPageOptions {
  readonly user: string;
  readonly csrfToken: string;
}

/** Asks before logging out: the answer to a plain link, which must not change anything by itself. */
export function renderLogoutPage({ user, csrfToken }: LogoutPageOptions): string {
  const main = html`<section class="card">
<h1>Log out?</h1>
<p>You are logged in as <strong><bdi>${user}</bdi></strong>. Your server keeps running after you log out.</p>
<div class="actions">
<form method="post" action="/hub/logout" data-busy="Logging out&hellip;">${csrfField(csrfToken)}<button class="primary">Log out</button></form>
<a class="button secondary" href="${HOME_PATH}">Stay</a>
</div>
</section>`;
  return renderDocument({ title: 'Log out', main, width: 'narrow' });
}
