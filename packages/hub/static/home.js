// @ts-check
// The list of servers is fetched again: often while one starts or stops, and now and then to tell what else happens to them.
import { showLocalTimes } from './local-time.js';

const REFRESH_MS = 2000;
const QUIET_REFRESH_MS = 30_000;
/** When the last answer came. */
let refreshedMs = performance.now();

async function refresh() {
  const shown = document.getElementById('servers');
  if (shown === null) return;
  const pauseMs = shown.dataset.changing === 'yes' ? REFRESH_MS : QUIET_REFRESH_MS;
  // A page that nobody sees asks when it is seen again.
  if (performance.now() - refreshedMs >= pauseMs - REFRESH_MS / 2 && !document.hidden) await fetchAgain(shown);
  setTimeout(refresh, REFRESH_MS);
}

/** @param {HTMLElement} shown */
async function fetchAgain(shown) {
  refreshedMs = performance.now();
  try {
    const response = await fetch(location.href, {
      headers: { accept: 'text/html', 'x-refresh': '1' },
      redirect: 'manual',
    });
    if (response.type === 'opaqueredirect') location.reload(); // to the login
    if (response.ok) replace(shown, await response.text());
  } catch {
    // The hub restarts; the next try will find it.
  }
}

/**
 * @param {HTMLElement} shown
 * @param {string} page
 */
function replace(shown, page) {
  const fresh = new DOMParser().parseFromString(page, 'text/html').getElementById('servers');
  const isSending = shown.querySelector('form[aria-busy="true"]') !== null;
  if (fresh === null || isSending || lastingMarkup(fresh) === lastingMarkup(shown)) return;
  const focused = shown.contains(document.activeElement) ? placeOf(document.activeElement) : undefined;
  const opened = [...shown.querySelectorAll('details[open]')].map(placeOf);
  shown.replaceWith(fresh);
  showLocalTimes(fresh);
  for (const log of fresh.querySelectorAll('details')) log.open ||= opened.includes(placeOf(log));
  for (const control of fresh.querySelectorAll('a, button, summary, pre')) {
    // Never to another one: a key that is pressed just then would do something else.
    if (control instanceof HTMLElement && placeOf(control) === focused) control.focus();
  }
}

/**
 * What an element of the list is for: the same in each answer.
 * @param {Element | null} element
 */
function placeOf(element) {
  const card = element?.closest('[data-server]');
  const form = element?.closest('form');
  const what = form?.getAttribute('action') ?? element?.getAttribute('href') ?? element?.localName;
  return `${card?.getAttribute('data-server')} ${what}`;
}

/**
 * The markup without what may differ in each answer, and what was done to it here.
 * @param {HTMLElement} element
 */
function lastingMarkup(element) {
  const copy = /** @type {HTMLElement} */ (element.cloneNode(true));
  for (const field of copy.querySelectorAll('input[name="csrf"]')) field.remove();
  for (const log of copy.querySelectorAll('details')) log.open = false;
  for (const time of copy.querySelectorAll('time')) {
    time.textContent = '';
    time.removeAttribute('title');
  }
  return copy.innerHTML;
}

setTimeout(refresh, REFRESH_MS);
