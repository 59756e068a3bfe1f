import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { type Key, privateHomePath, userSlice } from '@metalhub/base/names.js';
import type { Clock } from '@metalhub/base/time.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import type { HomePass } from '@metalhub/wire/spawner-admin.js';
import type { FixHomeReport } from './fix-home/request.js';
import { checkHome, type HomePlaces, type HomeTop, homePlaces, MAPPED_UID } from './home.js';
import { fits, type HomeMarker, type HomeMarkers, markerOf } from './home-marker.js';
import { createKeyCounter } from './key-counter.js';
import { rejectedBy } from './turns.js';

/** How systemd owns a home: it mounts what is nobody's with the ids mapped to the user's, or gives it to the user. */
export type HomeKind = 'mapped' | 'owned';

export interface RepairOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly manager: Pick<Manager, 'listUnitsByPatterns'>;
  readonly markers: HomeMarkers;
  /** Whose number it is besides the key's: an account, a lease of somebody else's. */
  readonly ownerOf: (uid: number, key: Key) => Promise<string | undefined>;
  /** How systemd would own a new home. */
  readonly findKind: () => Promise<HomeKind>;
  readonly placesOf?: (key: Key) => HomePlaces;
  readonly runPass: (request: PassRequest) => Promise<FixHomeReport>;
}

export interface PassRequest {
  readonly key: Key;
  /** On the disk. */
  readonly owner: number;
  readonly isCheck: boolean;
  /** No process of the user's runs, and none is started before the end. */
  readonly isAlone: boolean;
  /** Ends the pass. */
  readonly signal: AbortSignal;
}

export interface PreparedHome {
  /** Milliseconds since the epoch since when files may have come that were not looked at; `undefined` for a new home. */
  readonly checkedAtMs: number | undefined;
  /** To be called when the unit has started: a new home was made by systemd, so everything in it is right. It never rejects. */
  confirm(): Promise<void>;
  /** To be called in any case, when the unit has started or will not. */
  leave(): void;
}

/** Of a home that is not metalhub's to look after. */
export const UNTOUCHED_HOME: PreparedHome = {
  checkedAtMs: undefined,
  confirm: async () => undefined,
  leave: () => undefined,
};

export interface HomeRepairs {
  /**
   * Makes sure that a unit that is about to start finds its user's files its user's; repairs them when something cheap to
   * see says that they may not be. Meanwhile no pass over the home begins that relies on nobody else's being there.
   *
   * @param isSuspect somebody has seen that they are not
   * @throws {MH_ERR_SPAWN_HOME} {MH_ERR_SPAWN_HOME_FOREIGN} {MH_ERR_SPAWN_REPAIR} the signal's reason
   */
  prepare(key: Key, uid: number, options: PrepareOptions): Promise<PreparedHome>;
  /** A pass in any case. @throws the same */
  fix(
    key: Key,
    uid: number,
    options: { isCheck: boolean; signal: AbortSignal },
  ): Promise<{ kind: HomeKind; pass: HomePass }>;
}

export interface PrepareOptions {
  /** Ends the wait for another pass over the home, and the pass. */
  readonly signal: AbortSignal;
  readonly isSuspect?: boolean;
  /** Called when a repair begins. */
  readonly onRepair: () => void;
}

export function createHomeRepairs(options: RepairOptions): HomeRepairs {
  const { log, clock, manager, markers, ownerOf, findKind, runPass, placesOf = homePlaces } = options;
  const turns = new Map<Key, Promise<unknown>>();
  const starts = createKeyCounter();

  /** One after the other for each key. Who waits can leave the queue: then the action never runs. */
  function inTurn<T>(key: Key, signal: AbortSignal, action: () => Promise<T>): Promise<T> {
    const before = turns.get(key) ?? Promise.resolve();
    const result = Promise.race([rejectedBy(signal), before]).then(action);
    // Whoever comes next waits for those before, too: this one may have left, and they go on.
    const settled = Promise.allSettled([before, result]).then(() => {
      if (turns.get(key) === settled) turns.delete(key);
    });
    turns.set(key, settled);
    return result;
  }

  /** Whether a unit of the user's runs or is about to. The slice is there as long as any of them. */
  async function isBusy(key: Key): Promise<boolean> {
    if (starts.has(key)) return true;
    const rows = await manager.listUnitsByPatterns([], [userSlice(key)]);
    return rows.some(({ activeState }) => activeState !== 'inactive' && activeState !== 'failed');
  }

  /** The owner that everything in a home must have, so that systemd shows it to its user as theirs. */
  async function kindOf(key: Key, uid: number, top: HomeTop): Promise<HomeKind> {
    // systemd of any version leaves it at that.
    if (top.uid === uid && top.gid === uid) return 'owned';
    const owner = [0, uid, MAPPED_UID].includes(top.uid) ? undefined : await ownerOf(top.uid, key);
    if (owner !== undefined) throw foreign(key, top.uid, owner);
    return findKind();
  }

  /** Notes that all of a home has been looked at; that it cannot be noted is no reason to fail. */
  async function mark(key: Key, uid: number, top: HomeTop, atMs: number): Promise<void> {
    try {
      await markers.write(key, markerOf(uid, top, atMs));
    } catch (err) {
      log.warning('home is not noted as looked at: the next start does so again', { user: key, err });
    }
  }

  async function pass(
    key: Key,
    uid: number,
    top: HomeTop,
    { isCheck, signal }: { isCheck: boolean; signal: AbortSignal },
  ): Promise<{ kind: HomeKind; report: FixHomeReport }> {
    const kind = await kindOf(key, uid, top);
    const owner = kind === 'mapped' ? MAPPED_UID : uid;
    const busy = await isBusy(key);
    // Its home would change under a running server: it has it as it was mounted at its start.
    if (busy && top.uid !== owner && !isCheck) throw needsStop(key, top.uid);
    signal.throwIfAborted();
    // From here on, until a pass is complete, the next start begins with one.
    if (!isCheck) await markers.remove(key);
    const report = await runPass({ key, owner, isCheck, isAlone: !busy, signal });
    const done = await checkHome(placesOf(key));
    const isComplete = done !== undefined && done.inode === top.inode && (!isCheck || report.pass.changed === 0);
    if (isComplete) await mark(key, uid, done, report.begun_at_ms);
    const { seen, changed, left, duration_ms: durationMs } = report.pass;
    log.notice(isCheck ? 'home checked' : 'home repaired', { user: key, uid, kind, seen, changed, left, durationMs });
    return { kind, report };
  }

  return {
    prepare: (key, uid, { signal, isSuspect = false, onRepair }) =>
      inTurn(key, signal, async () => {
        const top = await checkHome(placesOf(key));
        const isNew = top === undefined || top.isNew;
        const marker = isNew ? undefined : await markers.find(key);
        const reason = isNew ? undefined : whyRepair(uid, top, marker, isSuspect);
        let checkedAtMs = marker?.checked_at_ms;
        if (!isNew && reason !== undefined) {
          onRepair();
          log.info('repairing a home', { user: key, reason });
          checkedAtMs = (await pass(key, uid, top, { isCheck: false, signal })).report.begun_at_ms;
        }
        const startedMs = clock.nowMs();
        const leave = starts.enter(key);
        return {
          checkedAtMs,
          async confirm() {
            if (!isNew) return;
            const made = await checkHome(placesOf(key)).catch(() => undefined);
            if (made !== undefined) await mark(key, uid, made, startedMs);
          },
          leave,
        };
      }),
    fix: (key, uid, { isCheck, signal }) =>
      inTurn(key, signal, async () => {
        const top = await checkHome(placesOf(key));
        if (top === undefined) {
          const path = privateHomePath(key);
          throw new MetalhubError('MH_ERR_SPAWN_HOME', {
            details: { path, reason: 'it does not exist' },
            hint: 'it is made when the user starts a server for the first time',
          });
        }
        const { kind, report } = await pass(key, uid, top, { isCheck, signal });
        return { kind, pass: report.pass };
      }),
  };
}

function whyRepair(uid: number, top: HomeTop, marker: HomeMarker | undefined, isSuspect: boolean): string | undefined {
  if (isSuspect) return 'files of others were seen in it';
  if (top.uid !== uid && top.uid !== MAPPED_UID) return `it belongs to uid ${top.uid}`;
  if (marker === undefined) return 'no complete pass over it is known';
  return fits(marker, top, uid) ? undefined : 'it is not the directory that was looked at last';
}

function foreign(key: Key, uid: number, owner: string): MetalhubError {
  const path = privateHomePath(key);
  return new MetalhubError('MH_ERR_SPAWN_HOME_FOREIGN', {
    details: { path, owner, uid },
    hint: `if its files are this user's all the same, run: chown root:root ${path}; then: hubctl fix-home ${key}`,
  });
}

function needsStop(key: Key, uid: number): MetalhubError {
  const path = privateHomePath(key);
  return new MetalhubError('MH_ERR_SPAWN_REPAIR', {
    details: { path, reason: `it belongs to uid ${uid} while a server of the user runs` },
    hint: `stop what runs: systemctl stop ${userSlice(key)}; then: hubctl fix-home ${key}`,
  });
}
