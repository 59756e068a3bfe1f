import { readFileSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { MetalhubError } from '@metalhub/base/errors.js';
import { PRIVATE_HOME_ROOT, privateHomePath } from '@metalhub/base/names.js';
import { systemClock } from '@metalhub/base/time.js';
import { readCredential } from '@metalhub/systemd/credentials.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import { createLog } from '@metalhub/systemd/journal.js';
import { notifyStatus } from '@metalhub/systemd/notify.js';
import { fixTree, isFurtherThread } from './fix-tree.js';
import { reportOf } from './report.js';
import { fixHomeReportPath, fixHomeRequestShape, REQUEST_CREDENTIAL } from './request.js';

const PROTECTED_HARDLINKS = '/proc/sys/fs/protected_hardlinks';

/** hub-fix-home: one pass over one home, as hub-spawner asked for by a credential; the report is left for it in a file. */
async function main(): Promise<void> {
  const request = fixHomeRequestShape(JSON.parse(readCredential(REQUEST_CREDENTIAL).toString('utf8')), '');
  const { key, uid } = request;
  requireHardlinkProtection(privateHomePath(key));
  if (request.removes_probe) await removeKindProbe();
  const begunAtMs = systemClock.nowMs();
  const startedMs = systemClock.monotonicMs();
  const result = await fixTree({
    root: PRIVATE_HOME_ROOT,
    name: key,
    uid,
    gid: uid,
    isCheck: request.check,
    isAlone: request.is_alone,
    onProgress: ({ seen, changed }) => notifyStatus(`${seen} files seen, ${changed} changed`),
  });
  const durationMs = Math.round(systemClock.monotonicMs() - startedMs);
  const report = reportOf(request.id, { ...result, begunAtMs, durationMs });
  await writeFileAtomic(fixHomeReportPath(key), `${JSON.stringify(report)}\n`, { mode: 0o600 });
}

/** What hub-home-kind.service has left. */
async function removeKindProbe(): Promise<void> {
  await rmdir(`${PRIVATE_HOME_ROOT}/.kind`).catch(() => undefined);
}

/** Otherwise users could have made a hard link to anybody's file, to be given it by this. */
function requireHardlinkProtection(path: string): void {
  if (readFileSync(PROTECTED_HARDLINKS, 'utf8').trim() === '1') return;
  throw new MetalhubError('MH_ERR_SPAWN_HOME', {
    details: { path, reason: 'the kernel does not protect hard links (fs.protected_hardlinks is not 1)' },
    hint: 'run: sysctl -w fs.protected_hardlinks=1; and keep it in /etc/sysctl.d/',
  });
}

if (!isFurtherThread()) {
  const log = createLog({ identifier: 'hub-fix-home' });
  main().catch((err: unknown) => {
    log.error('the home could not be repaired', { err });
    process.exit(1);
  });
}
