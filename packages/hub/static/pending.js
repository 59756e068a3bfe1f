// @ts-check
// Follows the start of a server through the hub's stream of events and opens the server when it is ready.
import { visibleText } from './visible-text.js';

/**
 * @typedef {{message?: string, hint?: string, logLines?: string[]}} Failure
 * @typedef {{progress?: number, message?: string, stage?: string, ready?: boolean, failed?: boolean, url?: string, failure?: Failure}} ProgressEvent
 */

const STEP_WORDS = { done: 'done', active: 'under way', failed: 'failed' };
/** A hub that restarts is back before this; the visitor is not told of it. */
const QUIET_MS = 1500;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 5000;
const RELOAD_MS = 2000;

/**
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T}
 */
function find(selector, type) {
  const element = document.querySelector(selector);
  if (!(element instanceof type)) throw new Error(`no ${selector} in this page`);
  return element;
}

const card = find('#pending', HTMLElement);
const heading = find('#pending h1', HTMLElement);
const progressBox = find('#pending .progress', HTMLElement);
const bar = find('#pending progress', HTMLProgressElement);
const status = find('#progress-status', HTMLElement);
const steps = find('#pending .steps', HTMLElement);
const openLink = find('#open', HTMLAnchorElement);
const progressUrl = card.dataset.progressUrl ?? '';

/** @type {EventSource | undefined} */
let stream;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let quietTimer;
let statusText = status.textContent ?? '';
let retryMs = RETRY_MIN_MS;

function connect() {
  stream = new EventSource(progressUrl);
  stream.addEventListener('open', () => {
    clearTimeout(quietTimer);
    quietTimer = undefined;
    retryMs = RETRY_MIN_MS;
    say(statusText);
  });
  stream.addEventListener('message', (event) => show(JSON.parse(event.data)));
  stream.addEventListener('error', () => {
    // The browser's own retry gives up at the first answer that is not a stream, so the retry is ours.
    stream?.close();
    quietTimer ??= setTimeout(() => say('Reconnecting to the hub…'), QUIET_MS);
    setTimeout(reconnect, retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
  });
}

/** An event stream does not tell why it was refused; when the login has ended, the page itself leads to the login. */
async function reconnect() {
  const abort = new AbortController();
  try {
    const response = await fetch(progressUrl, {
      headers: { accept: 'text/event-stream' },
      redirect: 'manual',
      signal: abort.signal,
    });
    if (response.type === 'opaqueredirect' || (response.status >= 400 && response.status < 500)) {
      setTimeout(() => location.reload(), RELOAD_MS);
      return;
    }
  } catch {
    // No answer yet: the stream's own attempt ends here again, later each time.
  } finally {
    abort.abort();
  }
  connect();
}

/** @param {ProgressEvent} event */
function show(event) {
  if (event.failed === true) {
    end('failed', 'Your server could not start');
    showFailure(event);
  } else if (event.ready === true) {
    end('ready', 'Your server is ready');
    open(event.url);
  } else {
    bar.value = Math.max(bar.value, Number(event.progress ?? 0));
    showStep(visibleText(event.stage ?? event.message), visibleText(event.message));
  }
}

/**
 * @param {string} key
 * @param {string} message
 */
function showStep(key, message) {
  const items = [...steps.querySelectorAll('li')];
  const known = items.find((item) => item.dataset.key === key);
  if (known !== undefined && known !== items.at(-1)) return; // told again after a reconnect
  if (known === undefined) {
    finishLast('done');
    const item = document.createElement('li');
    item.dataset.key = key;
    steps.append(item);
  }
  const item = /** @type {HTMLElement} */ (steps.lastElementChild);
  item.replaceChildren(message, hiddenText(STEP_WORDS.active));
  item.className = 'active';
  statusText = message;
  say(message);
}

/** @param {'done' | 'failed'} state */
function finishLast(state) {
  const item = steps.lastElementChild;
  if (item === null) return;
  item.className = state;
  item.querySelector('.hidden-text')?.replaceWith(hiddenText(STEP_WORDS[state]));
}

/** @param {string} word */
function hiddenText(word) {
  const span = document.createElement('span');
  span.className = 'hidden-text';
  span.textContent = ` (${word})`;
  return span;
}

/**
 * @param {'ready' | 'failed'} state
 * @param {string} title
 */
function end(state, title) {
  stream?.close();
  clearTimeout(quietTimer);
  card.dataset.state = state;
  finishLast(state === 'ready' ? 'done' : 'failed');
  heading.textContent = title;
  document.title = `${title} · metalhub`;
  setHidden('form[action$="/hub/stop"]', true);
}

/** @param {string | undefined} url */
function open(url) {
  bar.value = 100;
  say('Opening it…');
  const target = new URL(card.dataset.openUrl || url || openLink.href, location.href);
  if (target.protocol !== 'http:' && target.protocol !== 'https:') return;
  openLink.href = target.href;
  openLink.hidden = false;
  // Not kept in the history: going back from the server should lead to where the visitor came from.
  location.replace(target.href);
}

/** @param {ProgressEvent} event */
function showFailure(event) {
  const { message = event.message, hint = '', logLines = [] } = event.failure ?? {};
  find('.failure-message', HTMLElement).textContent = visibleText(message);
  find('.failure-hint', HTMLElement).textContent = visibleText(hint);
  find('.failure-log pre', HTMLElement).textContent = logLines.map(visibleText).join('\n');
  setHidden('.failure-hint', hint === '');
  setHidden('.failure-log', logLines.length === 0);
  setHidden('.failure', false);
  setHidden('form[action$="/hub/spawn"]', false);
  progressBox.hidden = true;
  // The button that had the focus is gone; the heading says what has happened.
  heading.focus();
}

/**
 * @param {string} selector
 * @param {boolean} hidden
 */
function setHidden(selector, hidden) {
  find(`#pending ${selector}`, HTMLElement).hidden = hidden;
}

/**
 * Tells screen readers, and those who see when the list of steps does not show it already.
 * @param {string} text
 */
function say(text) {
  status.className = steps.lastElementChild?.firstChild?.textContent === text ? 'hidden-text' : 'progress-status';
  if (status.textContent !== text) status.textContent = text;
}

if (card.dataset.state === 'running') connect();
if (card.dataset.state === 'ready') open(undefined);
