/** Longer ones are dropped: they would make the addresses that carry them exceed the proxy's limit. */
const MAX_NEXT_LENGTH = 4096;
const ORIGIN = 'http://hub.invalid';

/**
 * Where to go on after a login or a start: a path of this site with query and fragment, `undefined` for anything else.
 *
 * Read the way a browser reads a `Location:` header, so that what is checked is what is followed.
 *
 * @param base what it must lie below, without a slash at its end: other paths of the site are not ours
 */
export function findNextPath(value: unknown, base: string): string | undefined {
  if (typeof value !== 'string' || value.length > MAX_NEXT_LENGTH) return undefined;
  // No backslash at all: browsers take it for a slash. No white space or control character: they strip some of it.
  if (!/^\/[\x21-\x5b\x5d-\x7e]*$/.test(value) || value.startsWith('//')) return undefined;
  const url = parse(value);
  if (url === undefined || url.origin !== ORIGIN || url.username !== '' || url.password !== '') return undefined;
  const path = `${url.pathname}${url.search}${url.hash}`;
  // Dot segments may have left two slashes in front: "/..//host" is "//host" by now.
  return path.startsWith('//') || !path.startsWith(`${base}/`) ? undefined : path;
}

/** `?next=…` for an address of the hub, empty when there is nothing to go on to. */
export function nextQuery(next: string | undefined): string {
  return next === undefined || next === '' ? '' : `?next=${encodeURIComponent(next)}`;
}

function parse(value: string): URL | undefined {
  try {
    return new URL(value, ORIGIN);
  } catch {
    return undefined;
  }
}
