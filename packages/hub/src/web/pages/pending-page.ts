import { flag, type Html, html } from './html.js';
import { renderDocument } from './layout.js';
import { renderFailure, renderStartForm, renderStopForm } from './server-parts.js';
import { foldProgress, type Progress, type Step } from './steps.js';
import { isLocalPath } from './text.js';
import type { ProgressEvent, ServerView } from './views.js';

export interface PendingPageOptions {
  readonly base: string;
  readonly user: string;
  readonly csrfToken: string;
  readonly server: ServerView;
  /** Path of the event stream; each event's data is a {@link ProgressEvent} as JSON. */
  readonly progressUrl: string;
  /** Path to open when the server is ready; `''` for the server's own. */
  readonly next: string;
  /** What has happened until now, oldest first. */
  readonly events: readonly ProgressEvent[];
}

const TITLES: Readonly<Record<Progress['state'], string>> = {
  running: 'Starting your server',
  ready: 'Your server is ready',
  failed: 'Your server could not start',
};
const REFRESH_SEC = 2;

export function renderPendingPage(options: PendingPageOptions): string {
  const { base, user, csrfToken, server, progressUrl, next, events } = options;
  const progress = foldProgress(events);
  const openUrl = isLocalPath(next) ? next : '';
  const form = { base, csrfToken, server };
  const title = TITLES[progress.state];
  const main = html`<section class="card" id="pending" data-state="${progress.state}" data-progress-url="${progressUrl}" data-open-url="${openUrl}">
<h1 tabindex="-1">${title}</h1>
<p class="lead"><bdi>${server.name === '' ? server.profileTitle : server.name}</bdi></p>
<div class="progress" ${flag('hidden', progress.state === 'failed')}>
<progress max="100" value="${progress.percent}" aria-labelledby="progress-status"></progress>
<p class="${isToldBySteps(progress) ? 'hidden-text' : 'progress-status'}" id="progress-status" role="status">${progress.status}</p>
</div>
<ol class="steps">${progress.steps.map(renderStep)}</ol>
${renderFailure(progress.failure, true)}
<div class="actions">
<a class="button primary" id="open" href="${openUrl || progress.url || server.url}" ${flag('hidden', progress.state !== 'ready')}>Open</a>
${renderStartForm({ ...form, next: openUrl, label: 'Try again', look: 'primary', busy: 'Starting…', hidden: progress.state !== 'failed' })}
${renderStopForm({ ...form, label: 'Cancel', look: 'secondary', busy: 'Cancelling…', hidden: progress.state !== 'running' })}
</div>
</section>`;
  return renderDocument({
    base,
    title,
    main,
    visitor: { user, csrfToken },
    scripts: ['pending.js'],
    ...(progress.state === 'failed' ? {} : { refreshSec: REFRESH_SEC }),
  });
}

/** The status then repeats the last step, for screen readers only. */
function isToldBySteps(progress: Progress): boolean {
  return progress.state === 'running' && progress.steps.length > 0;
}

const STEP_WORDS: Readonly<Record<Step['state'], string>> = { done: 'done', active: 'under way', failed: 'failed' };

/** The same markup is made in static/pending.js. */
function renderStep(step: Step): Html {
  return html`<li class="${step.state}" data-key="${step.key}">${step.message}<span class="hidden-text"> (${STEP_WORDS[step.state]})</span></li>`;
}
