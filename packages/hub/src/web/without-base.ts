/** No route takes it. */
const ELSEWHERE = '/elsewhere';

/**
 * The path and query of a request as routes are written: without the base of `public_url`. What the proxy itself asks for
 * never has one.
 * @param base `''`, or as `/jupyter`
 */
export function withoutBase(url: string, base: string): string {
  if (base === '' || url.startsWith('/hub/internal/')) return url;
  return withoutBaseIfAny(url, base) ?? ELSEWHERE;
}

/** The same; `undefined` for what does not lie below the base. */
export function withoutBaseIfAny(url: string, base: string): string | undefined {
  if (!url.startsWith(base)) return undefined;
  const rest = url.slice(base.length);
  if (rest.startsWith('/')) return rest;
  return rest === '' || rest.startsWith('?') ? `/${rest}` : undefined;
}
