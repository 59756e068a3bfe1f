/** Of the 4096 characters that a route's prefix and a cookie's path may have, most are for the names behind it. */
const MAX_LENGTH = 200;
const SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9._~-]+$/;
/** Below these lie the servers of users, and the hub's services: a prefix must say which of them it is for. */
const TAKEN = new Set(['user', 'services']);

/**
 * The path of `public_url` that everything of metalhub lies below: `''` for none, or `/jupyter`, without a slash at its
 * end. So a path of ours is this with `/hub/…` or `/user/…` behind it.
 */
export function basePath(publicUrl: string): string {
  return pathOf(publicUrl).replace(/\/$/, '');
}

/** Why the path of an address cannot be a base; `undefined` when it can. */
export function basePathMistake(publicUrl: string): string | undefined {
  const base = basePath(publicUrl);
  if (base === '') return undefined;
  if (base.length > MAX_LENGTH) return `its path is longer than ${MAX_LENGTH} characters`;
  const [, ...segments] = base.split('/');
  const wrong = segments.find((segment) => !SEGMENT.test(segment));
  if (wrong !== undefined) {
    return `its path may consist of letters, digits and . _ ~ - between single slashes, as /jupyter/, not ${JSON.stringify(base)}`;
  }
  const taken = segments.find((segment) => TAKEN.has(segment));
  return taken === undefined ? undefined : `its path must not contain /${taken}/: metalhub itself uses it`;
}

/** As written, not as a URL parser would read it: that takes dot segments away. */
function pathOf(publicUrl: string): string {
  return publicUrl.replace(/^https?:\/\/[^/]*/, '');
}
