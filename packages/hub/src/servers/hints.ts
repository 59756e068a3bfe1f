import type { ErrorCode } from '@metalhub/base/errors.js';

/** What a log says when something is wrong that has a known way out; the first that matches counts. */
const BY_LINE: readonly (readonly [RegExp, string])[] = [
  [
    /No space left on device|ENOSPC|Disk quota exceeded/i,
    'The disk is full. Delete files that are not needed, or ask the administrator for space.',
  ],
  [
    /No module named ['"]?(?:jupyterlab|jupyter_server)/i,
    'JupyterLab is missing in the Python environment of this profile. The administrator can install it: apt install jupyterlab',
  ],
  [
    /No module named ['"]?([A-Za-z0-9_.]+)/i,
    'A Python package is missing or broken. If it was installed into the home directory, move ~/.local aside and start again.',
  ],
  [
    /Killed process|Out of memory|MemoryError|Cannot allocate memory|oom-kill/i,
    'The server ran out of memory. Use less at once, or ask the administrator for a larger limit.',
  ],
  [
    /Permission denied|EACCES|PermissionError/i,
    'A file in the home directory may belong to somebody else. The administrator can look: ls -laR /var/lib/private/metalhub/home',
  ],
  [
    /Bad config encountered|ConfigurableError|TraitError|jupyter_\w+_config/i,
    'A Jupyter configuration file in the home directory has an error. Look into ~/.jupyter.',
  ],
  [
    /SyntaxError|IndentationError/,
    'A Python file that runs at start has an error; look into ~/.jupyter and ~/.ipython.',
  ],
  [
    /database is locked|sqlite3\.OperationalError|disk I\/O error/i,
    'A database of Jupyter in the home directory is damaged or locked. Move ~/.local/share/jupyter aside and start again.',
  ],
];

const BY_CODE: Readonly<Partial<Record<ErrorCode, string>>> = {
  MH_ERR_SPAWN_TIMEOUT: 'The machine may be busy. Try again; if it happens again, tell the administrator.',
  MH_ERR_SPAWN_DISK_FULL: 'Delete files that are not needed, or ask the administrator for space.',
  MH_ERR_SPAWN_OOM: 'Use less memory at once, or ask the administrator for a larger limit.',
  MH_ERR_SPAWN_JUPYTER_MISSING: 'The administrator can install it: apt install jupyterlab',
  MH_ERR_SPAWN_HOOK: 'The administrator has had something done before each start, which failed: tell them.',
  MH_ERR_SPAWN_IDENTITY: 'The administrator has to decide whose home this is: journalctl -u hub-spawner',
  MH_ERR_WIRE_UNREACHABLE: 'The administrator can look at it: systemctl status hub-spawner.socket hub-spawner.service',
  MH_ERR_WIRE_CLOSED: 'Try again; if it happens again, tell the administrator: journalctl -u hub-spawner',
};

/** Advice for a failed start, from what the server wrote last and from the error; `null` when there is none. */
export function findHint(code: ErrorCode, lines: readonly string[]): string | null {
  for (const line of [...lines].reverse()) {
    const found = BY_LINE.find(([pattern]) => pattern.test(line));
    if (found !== undefined) return found[1];
  }
  return BY_CODE[code] ?? null;
}
