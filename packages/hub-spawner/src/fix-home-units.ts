import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { type Key, privateHomePath } from '@metalhub/base/names.js';
import { DAY_MS, MINUTE_MS } from '@metalhub/base/time.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import { CLD_EXITED } from './commands/command-state.js';
import { type FixHomeReport, type FixHomeRequest, fixHomeReportPath, fixHomeReportShape } from './fix-home/request.js';
import type { HomeKind, PassRequest } from './home-repair.js';
import { RUNTIME_DIRECTORY } from './spawner-config.js';

/** Credentials of hub-fix-home@.service. */
const REQUESTS_DIRECTORY = join(RUNTIME_DIRECTORY, 'fix-home');
const KIND_UNIT = 'hub-home-kind.service';
/** Of its grep. */
const EXIT_MAPPED = 0;
const EXIT_NOT_MAPPED = 1;
/** One that an earlier process of ours began may be under way. */
const ATTEMPTS = 2;

/**
 * Runs a pass over a home in the one unit that has the capabilities for it.
 *
 * @param kinds says whether the pass can remove what finding the kind has left
 * @throws {MH_ERR_SPAWN_REPAIR}
 */
export async function runFixHome(
  manager: Manager,
  kinds: Pick<HomeKinds, 'isKnown'>,
  pass: PassRequest,
): Promise<FixHomeReport> {
  const { key, signal } = pass;
  const unit = `hub-fix-home@${key}.service`;
  const file = join(REQUESTS_DIRECTORY, `${key}.json`);
  let stopping: Promise<unknown> | undefined;
  // What was done stays done; the next pass goes on from there.
  const stop = (): void => {
    stopping = manager.stopUnit(unit, 'replace').catch(() => undefined);
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const request = requestOf(pass, kinds.isKnown);
      await mkdir(REQUESTS_DIRECTORY, { recursive: true, mode: 0o700 });
      await writeFileAtomic(file, JSON.stringify(request), { mode: 0o600 });
      // From here on the unit is stopped; before, there was nothing to stop.
      signal.throwIfAborted();
      const { result } = await manager.startUnit(unit, 'replace', { jobTimeoutMs: DAY_MS });
      const report = await readReport(key);
      if (report?.id === request.id) return report;
      if (result !== 'done') break;
    }
    signal.throwIfAborted();
    throw failure(key, unit);
  } finally {
    signal.removeEventListener('abort', stop);
    await stopping;
    await rm(file, { force: true });
    await rm(fixHomeReportPath(key), { force: true }).catch(() => undefined);
  }
}

function requestOf({ key, owner, isCheck, isAlone }: PassRequest, removesProbe: boolean): FixHomeRequest {
  const id = randomBytes(16).toString('hex');
  return { id, key, uid: owner, check: isCheck, is_alone: isAlone, removes_probe: removesProbe };
}

async function readReport(key: Key): Promise<FixHomeReport | undefined> {
  try {
    return fixHomeReportShape(JSON.parse(await readFile(fixHomeReportPath(key), 'utf8')), '');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function failure(key: Key, unit: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_REPAIR', {
    details: { path: privateHomePath(key), reason: `${unit} failed` },
    hint: `see: journalctl -u ${unit} -n 20`,
  });
}

type KindManager = Pick<Manager, 'restartUnit' | 'unitProperties' | 'stopUnit'>;

export interface HomeKinds {
  /**
   * Finds how systemd owns a new home here. It is asked once, whoever wants to know meanwhile and later: there is one unit
   * for it, and what it says changes with systemd or the file system only. A failure is not kept.
   *
   * @throws {MH_ERR_SPAWN_REPAIR}
   */
  find(): Promise<HomeKind>;
  /** Whether the unit has answered, and so will not run again. */
  readonly isKnown: boolean;
}

export function createHomeKinds(manager: KindManager): HomeKinds {
  let asked: Promise<HomeKind> | undefined;
  let isKnown = false;

  async function ask(): Promise<HomeKind> {
    try {
      const kind = await askHomeKind(manager);
      isKnown = true;
      return kind;
    } catch (error) {
      asked = undefined;
      throw error;
    }
  }

  return {
    find: () => {
      asked ??= ask();
      return asked;
    },
    get isKnown() {
      return isKnown;
    },
  };
}

/** Has systemd make a home of nobody's, and sees how it does that. @throws {MH_ERR_SPAWN_REPAIR} */
async function askHomeKind(manager: KindManager): Promise<HomeKind> {
  const { result } = await manager.restartUnit(KIND_UNIT, 'replace', { jobTimeoutMs: MINUTE_MS });
  const names = ['Result', 'ExecMainCode', 'ExecMainStatus'] as const;
  const { Result, ExecMainCode, ExecMainStatus } = await manager.unitProperties(KIND_UNIT, 'Service', names);
  await manager.stopUnit(KIND_UNIT, 'replace').catch(() => undefined);
  // Status and result alone say success of a process that still runs, too, or that never ran.
  if (result === 'done' && Result === 'success' && ExecMainCode === CLD_EXITED) {
    if (ExecMainStatus === EXIT_MAPPED) return 'mapped';
    if (ExecMainStatus === EXIT_NOT_MAPPED) return 'owned';
  }
  throw new MetalhubError('MH_ERR_SPAWN_REPAIR', {
    details: { path: '', reason: `${KIND_UNIT} failed` },
    hint: `see: journalctl -u ${KIND_UNIT} -n 20`,
  });
}
