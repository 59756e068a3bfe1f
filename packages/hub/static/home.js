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
  if (fresh === null || isSending || withoutTokens(fresh) === withoutTokens(shown)) return;
  const hadFocus = shown.contains(document.activeElement);
  shown.replaceWith(fresh);
  showLocalTimes(fresh);
  const target = fresh.querySelector('.button, button');
  if (hadFocus && target instanceof HTMLElement) target.focus();
}

/**
 * The markup without what may differ in each answer.
 * @param {HTMLElement} element
 */
function withoutTokens(element) {
  const copy = /** @type {HTMLElement} */ (element.cloneNode(true));
  for (const field of copy.querySelectorAll('input[name="csrf"]')) field.remove();
  return copy.innerHTML;
}

setTimeout(refresh, REFRESH_MS);
