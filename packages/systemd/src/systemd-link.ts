import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import type { Bus, BusSignal } from './bus.js';
import type { BusCall } from './bus-calls.js';
import { isNamed, unavailable } from './bus-errors.js';
import { type BusSession, openBusSession } from './bus-session.js';
import { createCallGate } from './call-gate.js';
import { unitObjectPath } from './escape.js';
import { createJobTable, type JobOutcome, type WaitingJob } from './manager-jobs.js';
import { createUnitEvents } from './unit-events.js';
import type { BusInput, BusValue } from './variant.js';

const SYSTEMD = 'org.freedesktop.systemd1';
const MANAGER_PATH = '/org/freedesktop/systemd1';
const MANAGER_INTERFACE = 'org.freedesktop.systemd1.Manager';
const PROPERTIES_INTERFACE = 'org.freedesktop.DBus.Properties';
const MANAGER_RULE = `type='signal',sender='${SYSTEMD}',path='${MANAGER_PATH}',interface='${MANAGER_INTERFACE}'`;
// Only the interface Unit: a change of Service carries a hundred properties, and those of every unit of the machine
// would have to be decoded.
const UNIT_CHANGES_RULE =
  `type='signal',sender='${SYSTEMD}',path_namespace='${MANAGER_PATH}/unit',interface='${PROPERTIES_INTERFACE}',` +
  `member='PropertiesChanged',arg0='${SYSTEMD}.Unit'`;

/** dbus-daemon refuses a call while 128 others of the connection wait for their replies (max_replies_per_connection). */
const CALLS_AT_ONCE = 64;

export interface LinkOptions {
  readonly socketPath: string;
  readonly log: Log | undefined;
  readonly callTimeoutMs: number;
}

export interface LinkCall {
  readonly member: string;
  readonly signature: string;
  readonly body: readonly BusInput[];
  /** `''` when the call is not about one unit. */
  readonly unit: string;
  /** Whether to make it again when the connection was lost before the answer. */
  readonly idempotent: boolean;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface LinkJob extends LinkCall {
  readonly jobTimeoutMs: number;
}

type Caller = (call: BusCall) => Promise<readonly BusValue[]>;

/** Calls to systemd's manager object, its jobs and its signals, over a connection that comes back by itself. */
export class SystemdLink {
  readonly events;
  readonly #options: LinkOptions;
  readonly #jobs = createJobTable();
  readonly #gate = createCallGate(CALLS_AT_ONCE);
  readonly #resyncListeners = new Set<() => void>();
  readonly #busesWithRules = new WeakSet<Bus>();
  #session: BusSession | undefined;
  #wantsUnitChanges = false;
  #wasUp = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.events = createUnitEvents(options.log);
  }

  async open(): Promise<void> {
    const { socketPath, log } = this.#options;
    this.#session = await openBusSession({
      socketPath,
      log,
      peer: SYSTEMD,
      onSignal: (signal) => this.#onSignal(signal),
      onUp: (bus) => this.#onUp(bus),
    });
  }

  close(): void {
    this.#session?.close();
    this.#session = undefined;
    this.#jobs.rejectAll(unavailable('closed'));
  }

  call(call: LinkCall): Promise<readonly BusValue[]> {
    const { idempotent, timeoutMs = this.#options.callTimeoutMs, ...rest } = call;
    return this.#callSession({ ...managerCall(rest.member, timeoutMs), ...rest }, idempotent);
  }

  runJob(job: LinkJob): Promise<JobOutcome> {
    const { jobTimeoutMs, ...call } = job;
    const isStop = call.member === 'StopUnit';
    const queue = async (): Promise<string> => String((await this.call(call))[0]);
    return this.#jobs.run(call.unit, isStop, queue, { jobTimeoutMs, signal: call.signal });
  }

  /** @param unit `''` for the manager itself */
  async property(unit: string, interfaceName: string, name: string, signal?: AbortSignal): Promise<BusValue> {
    const call = { ...propertyCall(unit, interfaceName, name, this.#options.callTimeoutMs), signal };
    const [value] = await this.#callSession(call, true);
    return value ?? '';
  }

  async subscribe(): Promise<void> {
    if (this.#wantsUnitChanges) return;
    // Set first: should the connection be replaced during the call, the new one gets the rule too.
    this.#wantsUnitChanges = true;
    await this.#callSession(addMatchCall(UNIT_CHANGES_RULE, this.#options.callTimeoutMs), true);
  }

  onResync(listener: () => void): () => void {
    this.#resyncListeners.add(listener);
    return () => this.#resyncListeners.delete(listener);
  }

  async #callSession(call: BusCall, idempotent: boolean): Promise<readonly BusValue[]> {
    return await this.#gate.run(async () => {
      call.signal?.throwIfAborted();
      if (this.#session === undefined) throw unavailable('closed');
      return await this.#session.call(call, idempotent);
    });
  }

  async #onUp(bus: Bus): Promise<void> {
    if (!this.#busesWithRules.has(bus)) {
      await bus.addMatch(MANAGER_RULE);
      if (this.#wantsUnitChanges) await bus.addMatch(UNIT_CHANGES_RULE);
      this.#busesWithRules.add(bus);
    }
    // systemd sends signals only while somebody subscribes; a re-executed one may have forgotten us.
    await bus.call(managerCall('Subscribe', this.#options.callTimeoutMs)).catch(ignoreAlreadySubscribed);
    if (this.#wasUp) await this.#resync((call) => bus.call(call));
    this.#wasUp = true;
  }

  #onSignal(signal: BusSignal): void {
    const { member, body } = signal;
    if (signal.interface === MANAGER_INTERFACE && member === 'JobRemoved') {
      const [, jobPath, , result] = body;
      this.#jobs.removed(String(jobPath), String(result));
    } else if (signal.interface === MANAGER_INTERFACE && member === 'Reloading') {
      if (body[0] === false) void this.#resyncAfterReload(); // never rejects
    } else {
      this.events.dispatch(signal);
    }
  }

  async #resyncAfterReload(): Promise<void> {
    try {
      await this.#resync((call) => this.#callSession(call, true));
    } catch {
      // The connection went away, which ends in #onUp().
    }
  }

  /** Signals may have been lost: finds out about the jobs that are waited for, and lets listeners list the units. */
  async #resync(caller: Caller): Promise<void> {
    await this.#jobs.recheck((job) => this.#askAboutJob(job, caller));
    for (const listener of [...this.#resyncListeners]) {
      try {
        listener();
      } catch (error) {
        this.#options.log?.error('listener for resynchronisation failed', { err: error });
      }
    }
  }

  async #askAboutJob(job: WaitingJob, caller: Caller): Promise<string | undefined> {
    const { callTimeoutMs } = this.#options;
    const id = Number(job.jobPath.slice(job.jobPath.lastIndexOf('/') + 1));
    try {
      await caller({ ...managerCall('GetJob', callTimeoutMs), signature: 'u', body: [id] });
      return undefined;
    } catch (error) {
      if (!isNamed(error, `${SYSTEMD}.NoSuchJob`)) throw error;
    }
    const ask = async (interfaceName: string, name: string): Promise<BusValue | undefined> =>
      (await caller(propertyCall(job.unit, `${SYSTEMD}.${interfaceName}`, name, callTimeoutMs)))[0];
    const activeState = await ask('Unit', 'ActiveState');
    const isOff = activeState === 'inactive' || activeState === 'failed';
    if (job.isStop) return isOff ? 'done' : 'failed';
    if (activeState !== 'inactive') return isOff ? 'failed' : 'done';
    // Either a oneshot that is through, or it failed and was forgotten.
    if ((await ask('Unit', 'LoadState')) !== 'loaded' || !job.unit.endsWith('.service')) return 'unknown';
    return (await ask('Service', 'Result')) === 'success' ? 'done' : 'failed';
  }
}

function managerCall(member: string, timeoutMs: number): BusCall {
  return { destination: SYSTEMD, path: MANAGER_PATH, interface: MANAGER_INTERFACE, member, timeoutMs };
}

function propertyCall(unit: string, interfaceName: string, name: string, timeoutMs: number): BusCall {
  const path = unit === '' ? MANAGER_PATH : unitObjectPath(unit);
  const to = { destination: SYSTEMD, path, interface: PROPERTIES_INTERFACE, member: 'Get' };
  return { ...to, signature: 'ss', body: [interfaceName, name], unit, timeoutMs };
}

function addMatchCall(rule: string, timeoutMs: number): BusCall {
  const bus = 'org.freedesktop.DBus';
  const to = { destination: bus, path: '/org/freedesktop/DBus', interface: bus, member: 'AddMatch' };
  return { ...to, signature: 's', body: [rule], timeoutMs };
}

function ignoreAlreadySubscribed(error: unknown): readonly BusValue[] {
  if (error instanceof MetalhubError && isNamed(error, `${SYSTEMD}.AlreadySubscribed`)) return [];
  throw error;
}
