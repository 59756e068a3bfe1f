import { flag, type Html, html } from './html.js';
import { csrfField, hiddenField, renderBox, renderDocument } from './layout.js';

export interface LoginPageOptions {
  /** See {@link LayoutOptions}. */
  readonly base: string;
  readonly csrfToken: string;
  /** Path to open after the login; `''` for the home page. */
  readonly next: string;
  /** User name as typed before; `''` on the first visit. */
  readonly name: string;
  /** Why the last attempt failed. */
  readonly error?: string;
  /** Something good or neutral to know: "You are logged out." */
  readonly notice?: string;
  /** Text of the administrator above the form. */
  readonly title?: string;
  /** The configuration lets nobody in; the page says so instead of letting people guess. */
  readonly nobodyMayLogIn: boolean;
}

export function renderLoginPage(options: LoginPageOptions): string {
  const { base, error, notice, title, nobodyMayLogIn } = options;
  const main = html`<section class="card">
<h1>Log in</h1>
${title === undefined || title === '' ? undefined : html`<p class="lead">${title}</p>`}
${notice === undefined ? undefined : renderBox('notice', notice)}
${error === undefined ? undefined : renderBox('error', error)}
${nobodyMayLogIn ? renderNobody() : renderForm(options)}
</section>`;
  return renderDocument({ base, title: 'Log in', main, width: 'narrow' });
}

function renderForm({ base, csrfToken, next, name, error }: LoginPageOptions): Html {
  const nameKnown = name !== '';
  return html`<form method="post" action="${`${base}/hub/login`}" class="stack" data-busy="Logging in&hellip;">
${csrfField(csrfToken)}${hiddenField('next', next)}
<div class="field">
<label for="username">Name</label>
<input id="username" name="username" value="${name}" type="text" autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck="false" maxlength="512" aria-invalid="${error === undefined ? 'false' : 'true'}" required="" ${flag('autofocus', !nameKnown)}>
</div>
<div class="field">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" aria-invalid="${error === undefined ? 'false' : 'true'}" required="" ${flag('autofocus', nameKnown)}>
</div>
<button class="primary">Log in</button>
</form>`;
}

function renderNobody(): Html {
  return renderBox(
    'notice',
    html`<p><strong>Nobody can log in yet.</strong></p>
<p>The administrator of this machine has not said who may. It is set with <code>allow</code> under <code>[[login]]</code> in <code>/etc/metalhub/metalhub.toml</code>.</p>`,
  );
}
