// @ts-check

/**
 * Writes every time below an element in the visitor's own time zone and language: today's without the date.
 * @param {ParentNode} root
 */
export function showLocalTimes(root) {
  for (const element of root.querySelectorAll('time[datetime]')) {
    const time = new Date(element.getAttribute('datetime') ?? '');
    if (Number.isNaN(time.getTime())) continue;
    const isToday = time.toDateString() === new Date().toDateString();
    const format = new Intl.DateTimeFormat(
      'en-GB',
      isToday ? { timeStyle: 'short' } : { dateStyle: 'long', timeStyle: 'short' },
    );
    element.textContent = format.format(time);
    element.setAttribute('title', time.toLocaleString());
  }
}

showLocalTimes(document);
