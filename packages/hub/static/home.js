// @ts-check
// While a server starts or stops, the list of servers is fetched again until it has settled.
import { showLocalTimes } from './local-time.js';

const REFRESH_MS = 2000;

async function refresh() {
  const shown = document.getElementById('servers');
  if (shown === null) return;
  if (shown.dataset.changing !== 'yes') return;
  try {
    const response = await fetch(location.href, { headers: { accept: 'text/html' }, redirect: 'manual' });
    if (response.type === 'opaqueredirect') location.reload(); // to the login
    if (response.ok) replace(shown, await response.text());
  } catch {
    // The hub restarts; the next try will find it.
  }
  setTimeout(refresh, REFRESH_MS);
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
