import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import type { JobOutcome } from './manager-jobs.js';
import { SystemdLink } from './systemd-link.js';
import type { UnitListener } from './unit-events.js';
import type { UnitProperty } from './unit-property.js';
import type { BusInput, BusValue } from './variant.js';

const SYSTEM_BUS_SOCKET = '/run/dbus/system_bus_socket';
const CALL_TIMEOUT_MS = 25_000;
// A reload answers when it is complete, which takes seconds with thousands of units.
const RELOAD_TIMEOUT_MS = 120_000;
const JOB_TIMEOUT_MS = 5 * 60_000;

/** What to do about jobs that contradict the new one. @see org.freedesktop.systemd1(5), StartUnit() */
export type JobMode = 'fail' | 'replace' | 'ignore-dependencies' | 'isolate';

/** A further unit that is made with a transient one. */
export type AuxiliaryUnit = readonly [name: string, properties: readonly UnitProperty[]];

export interface ManagerOptions {
  readonly log?: Log;
  readonly socketPath?: string;
  /** Bound of one D-Bus call, 25 s unless given. Jobs have their own, see {@link JobOptions}. */
  readonly callTimeoutMs?: number;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface JobOptions extends CallOptions {
  /** How long to wait for the job's end, 5 minutes unless given; longer than the unit's own time-out. */
  readonly jobTimeoutMs?: number;
}

/** One row of `systemctl list-units`. */
export interface UnitStatus {
  readonly name: string;
  readonly description: string;
  readonly loadState: string;
  /** `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`, `maintenance` or `refreshing`. */
  readonly activeState: string;
  readonly subState: string;
  /** 0 when no job is queued. */
  readonly jobId: number;
}

/**
 * systemd's manager object. Calls wait up to 5 s for a bus or a systemd that is restarting.
 *
 * Every method may throw MH_ERR_SYSTEMD_UNAVAILABLE (not connected, or the connection was lost before the answer: a
 * call that changes something may then have happened or not), MH_ERR_SYSTEMD_TIMEOUT, MH_ERR_SYSTEMD_ACCESS_DENIED and
 * MH_ERR_SYSTEMD_CALL, with D-Bus's name of the error in `details.busError`.
 *
 * @see org.freedesktop.systemd1(5)
 */
export interface Manager {
  /**
   * Makes and starts a unit, and returns when the start job has ended, however it ended.
   *
   * @throws {MH_ERR_SYSTEMD_UNIT_EXISTS} a unit of that name is loaded
   */
  startTransientUnit(
    name: string,
    mode: JobMode,
    properties: readonly UnitProperty[],
    auxiliary?: readonly AuxiliaryUnit[],
    options?: JobOptions,
  ): Promise<JobOutcome>;
  /** @throws {MH_ERR_SYSTEMD_NO_SUCH_UNIT} */
  startUnit(name: string, mode: JobMode, options?: JobOptions): Promise<JobOutcome>;
  /** @throws {MH_ERR_SYSTEMD_NO_SUCH_UNIT} not loaded, so that there is nothing to stop */
  stopUnit(name: string, mode: JobMode, options?: JobOptions): Promise<JobOutcome>;
  restartUnit(name: string, mode: JobMode, options?: JobOptions): Promise<JobOutcome>;
  reloadOrRestartUnit(name: string, mode: JobMode, options?: JobOptions): Promise<JobOutcome>;
  /** @throws {MH_ERR_SYSTEMD_NO_SUCH_UNIT} */
  resetFailedUnit(name: string, options?: CallOptions): Promise<void>;
  /** @throws {MH_ERR_SYSTEMD_NO_SUCH_UNIT} */
  killUnit(name: string, whom: 'main' | 'control' | 'all', signalNumber: number, options?: CallOptions): Promise<void>;
  /** Returns when the unit's processes stand still. @throws {MH_ERR_SYSTEMD_NO_SUCH_UNIT} */
  freezeUnit(name: string, options?: CallOptions): Promise<void>;
  thawUnit(name: string, options?: CallOptions): Promise<void>;
  /** @param runtime until the next boot only; always so for a transient unit */
  setUnitProperties(
    name: string,
    runtime: boolean,
    properties: readonly UnitProperty[],
    options?: CallOptions,
  ): Promise<void>;
  /** The unit's object path, `undefined` when it is not loaded. */
  findUnit(name: string, options?: CallOptions): Promise<string | undefined>;
  /** Loaded units. @param states any of the load, active or sub states; empty for all */
  listUnitsByPatterns(
    states: readonly string[],
    patterns: readonly string[],
    options?: CallOptions,
  ): Promise<readonly UnitStatus[]>;
  /**
   * Named properties of one interface. systemd loads the unit for it when it must: for one that does not exist
   * `LoadState` is `not-found` and the others have their defaults.
   */
  unitProperties<N extends string>(
    name: string,
    interfaceName: 'Unit' | 'Service' | 'Socket' | 'Slice',
    names: readonly N[],
    options?: CallOptions,
  ): Promise<Readonly<Record<N, BusValue>>>;
  /** A property of the manager, such as `Version`. */
  managerProperty(name: string, options?: CallOptions): Promise<BusValue>;
  /** `systemctl enable` or `disable`, for good; starts and stops nothing. A reload must follow. */
  setUnitFileEnabled(name: string, isEnabled: boolean, options?: CallOptions): Promise<void>;
  /** `systemctl daemon-reload`. */
  reloadConfiguration(options?: CallOptions): Promise<void>;
  /** Has signals about units sent from now on, also after systemd or the bus restarted. */
  subscribe(): Promise<void>;
  /**
   * Calls back for each change of the units that match, once {@link subscribe} was called.
   *
   * @param pattern as in `systemctl list-units`, with `*` and `?` only
   * @returns a function that ends it
   */
  onUnitChanged(listener: UnitListener, pattern: string): () => void;
  /** Calls back when changes may have been missed (bus or systemd restarted, daemon-reload): list the units again. */
  onResync(listener: () => void): () => void;
  close(): void;
}

/**
 * Connects to systemd over the system bus; the connection comes back by itself.
 *
 * @throws {MH_ERR_SYSTEMD_UNAVAILABLE} not reached within 5 s
 */
export async function connectManager(options: ManagerOptions = {}): Promise<Manager> {
  const link = new SystemdLink({
    socketPath: options.socketPath ?? SYSTEM_BUS_SOCKET,
    log: options.log,
    callTimeoutMs: options.callTimeoutMs ?? CALL_TIMEOUT_MS,
  });
  await link.open();
  return new SystemdManager(link);
}

class SystemdManager implements Manager {
  readonly #link: SystemdLink;

  constructor(link: SystemdLink) {
    this.#link = link;
  }

  startTransientUnit(
    name: string,
    mode: JobMode,
    properties: readonly UnitProperty[],
    auxiliary: readonly AuxiliaryUnit[] = [],
    options: JobOptions = {},
  ): Promise<JobOutcome> {
    return this.#link.runJob({
      member: 'StartTransientUnit',
      signature: 'ssa(sv)a(sa(sv))',
      body: [name, mode, properties, auxiliary],
      unit: name,
      idempotent: false,
      ...jobPart(options),
    });
  }

  startUnit(name: string, mode: JobMode, options?: JobOptions): Promise<JobOutcome> {
    return this.#runUnitJob('StartUnit', name, mode, true, options);
  }

  stopUnit(name: string, mode: JobMode, options?: JobOptions): Promise<JobOutcome> {
    return this.#runUnitJob('StopUnit', name, mode, true, options);
  }

  restartUnit(name: string, mode: JobMode, options?: JobOptions): Promise<JobOutcome> {
    return this.#runUnitJob('RestartUnit', name, mode, false, options);
  }

  reloadOrRestartUnit(name: string, mode: JobMode, options?: JobOptions): Promise<JobOutcome> {
    return this.#runUnitJob('ReloadOrRestartUnit', name, mode, false, options);
  }

  async resetFailedUnit(name: string, options?: CallOptions): Promise<void> {
    await this.#callUnit('ResetFailedUnit', 's', [name], name, true, options);
  }

  async killUnit(name: string, whom: string, signalNumber: number, options?: CallOptions): Promise<void> {
    await this.#callUnit('KillUnit', 'ssi', [name, whom, signalNumber], name, false, options);
  }

  async freezeUnit(name: string, options?: CallOptions): Promise<void> {
    await this.#callUnit('FreezeUnit', 's', [name], name, true, options);
  }

  async thawUnit(name: string, options?: CallOptions): Promise<void> {
    await this.#callUnit('ThawUnit', 's', [name], name, true, options);
  }

  async setUnitProperties(
    name: string,
    runtime: boolean,
    properties: readonly UnitProperty[],
    options?: CallOptions,
  ): Promise<void> {
    await this.#callUnit('SetUnitProperties', 'sba(sv)', [name, runtime, properties], name, true, options);
  }

  async findUnit(name: string, options?: CallOptions): Promise<string | undefined> {
    try {
      const [path] = await this.#callUnit('GetUnit', 's', [name], name, true, options);
      return String(path);
    } catch (error) {
      if (error instanceof MetalhubError && error.code === 'MH_ERR_SYSTEMD_NO_SUCH_UNIT') return undefined;
      throw error;
    }
  }

  async listUnitsByPatterns(
    states: readonly string[],
    patterns: readonly string[],
    options?: CallOptions,
  ): Promise<readonly UnitStatus[]> {
    const [rows] = await this.#callUnit('ListUnitsByPatterns', 'asas', [states, patterns], '', true, options);
    return Array.isArray(rows) ? rows.map(unitStatusOf) : [];
  }

  async unitProperties<N extends string>(
    name: string,
    interfaceName: string,
    names: readonly N[],
    options: CallOptions = {},
  ): Promise<Readonly<Record<N, BusValue>>> {
    const entries = names.map(async (property) => {
      const from = `org.freedesktop.systemd1.${interfaceName}`;
      return [property, await this.#link.property(name, from, property, options.signal)] as const;
    });
    return Object.fromEntries(await Promise.all(entries)) as Record<N, BusValue>;
  }

  managerProperty(name: string, options: CallOptions = {}): Promise<BusValue> {
    return this.#link.property('', 'org.freedesktop.systemd1.Manager', name, options.signal);
  }

  async setUnitFileEnabled(name: string, isEnabled: boolean, options?: CallOptions): Promise<void> {
    const isRuntime = false;
    if (!isEnabled) await this.#callUnit('DisableUnitFiles', 'asb', [[name], isRuntime], name, true, options);
    else await this.#callUnit('EnableUnitFiles', 'asbb', [[name], isRuntime, false], name, true, options);
  }

  async reloadConfiguration(options: CallOptions = {}): Promise<void> {
    await this.#link.call({
      member: 'Reload',
      signature: '',
      body: [],
      unit: '',
      idempotent: true,
      timeoutMs: RELOAD_TIMEOUT_MS,
      signal: options.signal,
    });
  }

  subscribe(): Promise<void> {
    return this.#link.subscribe();
  }

  onUnitChanged(listener: UnitListener, pattern: string): () => void {
    return this.#link.events.add(pattern, listener);
  }

  onResync(listener: () => void): () => void {
    return this.#link.onResync(listener);
  }

  close(): void {
    this.#link.close();
  }

  #runUnitJob(
    member: string,
    name: string,
    mode: JobMode,
    idempotent: boolean,
    options: JobOptions = {},
  ): Promise<JobOutcome> {
    const call = { member, signature: 'ss', body: [name, mode], unit: name, idempotent };
    return this.#link.runJob({ ...call, ...jobPart(options) });
  }

  #callUnit(
    member: string,
    signature: string,
    body: readonly BusInput[],
    unit: string,
    idempotent: boolean,
    options: CallOptions = {},
  ): Promise<readonly BusValue[]> {
    return this.#link.call({ member, signature, body, unit, idempotent, signal: options.signal });
  }
}

function jobPart(options: JobOptions): { jobTimeoutMs: number; signal: AbortSignal | undefined } {
  return { jobTimeoutMs: options.jobTimeoutMs ?? JOB_TIMEOUT_MS, signal: options.signal };
}

function unitStatusOf(row: unknown): UnitStatus {
  const [name, description, loadState, activeState, subState, , , jobId] = Array.isArray(row) ? row : [];
  return {
    name: String(name),
    description: String(description),
    loadState: String(loadState),
    activeState: String(activeState),
    subState: String(subState),
    jobId: Number(jobId),
  };
}
