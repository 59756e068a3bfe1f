/** What `ProtectHome=tmpfs` hides; homes of users lie in the first of them. */
const HIDDEN = ['/home', '/root', '/run/user'];
/** Places of the system, and of metalhub itself: no home of a user, and nothing that a unit of theirs may write to. */
const SYSTEM = [
  ...['/bin', '/boot', '/dev', '/etc', '/lib', '/lib32', '/lib64', '/proc', '/root', '/run', '/sbin', '/sys', '/usr'],
  ...['/tmp', '/var/cache', '/var/lib/metalhub', '/var/lib/private', '/var/lib/systemd', '/var/log', '/var/run'],
  ...['/var/spool', '/var/tmp', '/nonexistent'],
];
/** Parents that hold more than homes: they are left as they are, and the permission of each home counts. */
const SHARED = ['/var/lib', '/var/local', '/var/www'];
/** As what systemd mounts may be called; beyond that colons separate, and `%` stands for something else. */
const PATTERN = /^(?:\/[^\s\p{Cc}%$"'\\:/]+){2,}$/u;

/** Why a directory cannot be the home of an account that servers run as; `undefined` when it can. */
export function homeMistake(home: string): string | undefined {
  const isPlain = PATTERN.test(home) && home.length <= 1024 && !/\/\.{1,2}(?:\/|$)/.test(home);
  if (!isPlain) return 'a home is an absolute path of two parts and more, without spaces and special characters';
  return SYSTEM.some((place) => isIn(home, place)) ? 'it is a directory of the system' : undefined;
}

/**
 * The directory of homes that a unit with this one shall not see; `undefined` when it is hidden already, or holds other
 * things as well.
 */
export function hiddenParent(home: string): string | undefined {
  const parent = home.slice(0, home.lastIndexOf('/'));
  const isShared = parent.lastIndexOf('/') === 0 || SHARED.includes(parent);
  return isShared || HIDDEN.some((place) => isIn(home, place)) ? undefined : parent;
}

function isIn(path: string, place: string): boolean {
  return path === place || path.startsWith(`${place}/`);
}
