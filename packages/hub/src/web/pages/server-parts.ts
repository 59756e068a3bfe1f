import { flag, type Html, html } from './html.js';
import { csrfField, hiddenField, renderBox } from './layout.js';
import { lengthText } from './text.js';
import type { ChoiceView, EndView, FailureView, ProfileView, ServerState, ServerView } from './views.js';

export const STATE_WORDS: Readonly<Record<ServerState, string>> = {
  stopped: 'Not running',
  spawn: 'Starting',
  ready: 'Running',
  stop: 'Stopping',
  failed: 'Could not start',
};

export function renderState({ state, isFrozen }: Pick<ServerView, 'state' | 'isFrozen'>): Html {
  const look = isFrozen ? 'stopped' : state;
  return html`<span class="${`state ${look}`}">${isFrozen ? 'Paused' : STATE_WORDS[state]}</span>`;
}

/** What the administrator says of the profile, when they do. */
export function renderDescription({ profileDescription }: ServerView): Html | undefined {
  return profileDescription === '' ? undefined : html`<p><bdi>${profileDescription}</bdi></p>`;
}

/** `2026-11-22 09:14 UTC`; static/local-time.js turns it into the visitor's own time. */
export function renderTime(timeMs: number): Html {
  const iso = new Date(timeMs).toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 16).replace('T', ' ')} UTC</time>`;
}

/** Why it does not run any more, when the hub has ended it. */
export function renderEnded(ended: EndView | undefined): Html | undefined {
  if (ended === undefined) return undefined;
  const length = lengthText(ended.limitSec);
  const why = ended.reason === 'idle' ? `nobody had used it for ${length}` : `servers run for ${length} at most`;
  return html`<p class="ended">It was stopped at ${renderTime(ended.atMs)}, because ${why}.</p>`;
}

/** That it will not run for much longer. */
export function renderEnding(ending: EndView | undefined): Html | undefined {
  if (ending === undefined) return undefined;
  const length = lengthText(ending.limitSec);
  const why =
    ending.reason === 'idle'
      ? `unless it is used: nobody has for most of ${length}.`
      : `because servers run for ${length} at most. Save your work before.`;
  return renderBox('notice', html`<p>It will be stopped at ${renderTime(ending.atMs)}, ${why}</p>`);
}

/** Jupyter only says that a kernel has died. */
export function renderOutOfMemory(timeMs: number | undefined): Html | undefined {
  if (timeMs === undefined) return undefined;
  return renderBox(
    'notice',
    html`<p>A program in it, a kernel perhaps, was ended at ${renderTime(timeMs)}: all the memory that this server may use was used up. What else runs in it goes on.</p>`,
  );
}

export interface ServerFormOptions {
  readonly base: string;
  readonly csrfToken: string;
  readonly server: ServerView;
  readonly label: string;
  readonly look: 'primary' | 'secondary';
  /** Said on the button while the answer is awaited. */
  readonly busy: string;
  readonly hidden?: boolean;
}

/** Starts the server or, when it is starting already, leads to the page with its progress. */
export function renderStartForm(
  options: ServerFormOptions & { readonly next: string; readonly profiles?: readonly ProfileView[] },
): Html {
  const { next, profiles = [] } = options;
  return renderServerForm('/hub/spawn', options, html`${hiddenField('next', next)}${renderProfiles(profiles)}`);
}

/** Nothing when there is nothing to choose. */
function renderProfiles(profiles: readonly ProfileView[]): Html | undefined {
  if (!hasChoice(profiles)) return undefined;
  const [only] = profiles;
  if (profiles.length === 1 && only !== undefined)
    return html`${only.choices.map((choice) => renderChoice(only, choice))}`;
  return html`<fieldset class="profiles">
<legend>What would you like to start?</legend>
${profiles.map(renderProfile)}</fieldset>
`;
}

function renderProfile(profile: ProfileView): Html {
  const { name, title, description, isChosen, choices } = profile;
  const id = `profile-${name}`;
  return html`<div class="profile">
<input type="radio" name="profile" value="${name}" id="${id}" ${flag('checked', isChosen)}><label for="${id}"><bdi>${title}</bdi></label>
${description === '' ? undefined : html`<p><bdi>${description}</bdi></p>`}
${choices.length === 0 ? undefined : html`<div class="choices">${choices.map((choice) => renderChoice(profile, choice))}</div>`}
</div>
`;
}

/** Of each profile, whether or not it is the marked one: without scripts nothing else could be sent. */
function renderChoice(profile: ProfileView, { name, title, options }: ChoiceView): Html {
  const field = choiceField(profile.name, name);
  return html`<div class="field">
<label for="${field}"><bdi>${title}</bdi></label>
<select name="${field}" id="${field}">${options.map((option) => html`<option value="${option.name}" ${flag('selected', option.isChosen)}>${option.title}</option>`)}</select>
</div>
`;
}

/** Name of the field with what is chosen in a profile. */
export function choiceField(profile: string, choice: string): string {
  return `choice.${profile}.${choice}`;
}

/** Whether the user has anything to choose before a start. */
export function hasChoice(profiles: readonly { readonly choices: readonly unknown[] }[]): boolean {
  return profiles.length > 1 || profiles.some(({ choices }) => choices.length > 0);
}

export function renderStopForm(options: ServerFormOptions): Html {
  return renderServerForm('/hub/stop', options);
}

/** Takes a named server off the list. */
export function renderDeleteForm(options: ServerFormOptions): Html {
  return renderServerForm('/hub/delete', options);
}

function renderServerForm(action: string, options: ServerFormOptions, fields?: Html): Html {
  const { base, csrfToken, server, label, look, busy, hidden = false } = options;
  return html`<form method="post" action="${`${base}${action}`}" data-busy="${busy}" ${flag('hidden', hidden)}>${csrfField(csrfToken)}${hiddenField('server', server.name)}${fields}<button class="${look}">${label}</button></form>`;
}

/** What went wrong; without a failure the empty, hidden box that static/pending.js fills. */
export function renderFailure(failure: FailureView | undefined, open: boolean): Html {
  const { message = '', hint = '', logLines = [] } = failure ?? {};
  return html`<div class="failure" ${flag('hidden', failure === undefined)}>
<p class="failure-message">${message}</p>
<p class="failure-hint" ${flag('hidden', hint === '')}>${hint}</p>
<details class="failure-log" ${flag('hidden', logLines.length === 0)} ${flag('open', open)}>
<summary>Last lines of the server&rsquo;s log</summary>
<pre tabindex="0" role="region" aria-label="Last lines of the server&rsquo;s log">
${logLines.join('\n')}</pre>
</details>
</div>`;
}
