// @ts-check
// A form is sent once, and its button says that something is under way.

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement)) return;
  if (form.getAttribute('aria-busy') === 'true') {
    event.preventDefault();
    return;
  }
  form.setAttribute('aria-busy', 'true');
  const button = form.querySelector('button');
  if (button === null || form.dataset.busy === undefined) return;
  button.dataset.label = button.textContent ?? '';
  button.textContent = form.dataset.busy;
});

// The browser shows the page as it was left when the visitor comes back to it.
addEventListener('pageshow', (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll('form[aria-busy]')) {
    form.removeAttribute('aria-busy');
    const button = form.querySelector('button');
    const label = button?.dataset.label;
    if (button && label !== undefined) button.textContent = label;
  }
});
