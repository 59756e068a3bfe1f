import {
  accountName,
  type Key,
  type ServerName,
  serverId,
  serverSocketPath,
  serviceUnit,
  socketUnit,
  userSlice,
} from '@metalhub/base/names.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import type { BusValue } from '@metalhub/systemd/variant.js';
import { absentStatus, isBase, type ServerStatus } from '@metalhub/wire/spawner.js';
import { parseActivity } from './activity-text.js';
import { BASE_VARIABLE, PROFILE_VARIABLE, START_ID_VARIABLE } from './unit-properties.js';
import { LOCAL_SESSION } from './user-account.js';

const UNIT_NAMES = ['ActiveState', 'Transient', 'InvocationID', 'ActiveEnterTimestamp', 'FreezerState'] as const;
const SERVICE_NAMES = [
  ...(['Environment', 'Slice', 'User', 'DynamicUser', 'PAMName', 'ControlGroup'] as const),
  ...(['Result', 'ExecMainCode', 'ExecMainStatus', 'MainPID', 'UID', 'StatusText'] as const),
] as const;
const ACTIVE_STATES = [
  'active',
  'activating',
  'deactivating',
  'inactive',
  'failed',
  'reloading',
  'maintenance',
  'refreshing',
] as const;

/** What has the name of a server's unit: nothing, one of ours, or something of the administrator's. */
export type Ownership = 'absent' | 'ours' | 'foreign';

export interface ServerUnit {
  readonly ownership: Ownership;
  readonly status: ServerStatus;
  /** 0 when nothing runs. */
  readonly mainPid: number;
  /** As whom it was started. */
  readonly account: string;
  /** That is an account of the machine. */
  readonly isLocal: boolean;
  /** The uid that its processes really have. */
  readonly uid: number;
  readonly controlGroup: string;
  /** What the unit was given; nothing of the user's. */
  readonly environment: ReadonlyMap<string, string>;
}

export type UnitValues = Readonly<
  Record<'LoadState' | (typeof UNIT_NAMES)[number] | (typeof SERVICE_NAMES)[number], BusValue>
>;

/** Asks systemd, the only one that knows. It loads the unit for that when it must, and tells everybody. */
export async function readServerUnit(manager: Manager, key: Key, server: ServerName): Promise<ServerUnit> {
  const name = serviceUnit(serverId(key, server));
  const { LoadState } = await manager.unitProperties(name, 'Unit', ['LoadState']);
  if (LoadState === 'not-found') return absentUnit(key, server);
  // It is answered in this order: one that is loaded in the end was so all the time.
  const [unit, service, end] = await Promise.all([
    manager.unitProperties(name, 'Unit', UNIT_NAMES),
    manager.unitProperties(name, 'Service', SERVICE_NAMES),
    manager.unitProperties(name, 'Unit', ['LoadState']),
  ]);
  return end.LoadState === 'not-found'
    ? absentUnit(key, server)
    : interpretUnit(key, server, { ...unit, ...service, ...end });
}

function absentUnit(key: Key, server: ServerName): ServerUnit {
  const status = absentStatus({ key, server });
  const unit = { mainPid: 0, account: '', isLocal: false, uid: 0, controlGroup: '', environment: new Map() };
  return { ownership: 'absent', status, ...unit };
}

/** Whether the socket unit's name is free, ours, or somebody else's. */
export async function readSocketOwnership(manager: Manager, key: Key, server: ServerName): Promise<Ownership> {
  const id = serverId(key, server);
  const name = socketUnit(id);
  const { LoadState, Transient } = await manager.unitProperties(name, 'Unit', ['LoadState', 'Transient']);
  if (LoadState === 'not-found') return 'absent';
  const { Listen } = await manager.unitProperties(name, 'Socket', ['Listen']);
  const isOurs = Transient === true && JSON.stringify(Listen) === JSON.stringify([['Stream', serverSocketPath(id)]]);
  return isOurs ? 'ours' : 'foreign';
}

/** Pure core of {@link readServerUnit}. */
export function interpretUnit(key: Key, server: ServerName, values: UnitValues): ServerUnit {
  const environment = environmentOf(values.Environment);
  const ownership = ownershipOf(key, values, environment);
  return {
    ownership,
    status: ownership === 'ours' ? statusOf(key, server, values, environment) : absentStatus({ key, server }),
    mainPid: Number(values.MainPID),
    account: String(values.User),
    isLocal: values.DynamicUser !== true,
    uid: Number(values.UID),
    controlGroup: String(values.ControlGroup),
    environment,
  };
}

/** Only root can make a transient unit; one that looks like a server of ours in all of these ways was made here. */
function ownershipOf(key: Key, values: UnitValues, environment: ReadonlyMap<string, string>): Ownership {
  if (values.LoadState === 'not-found') return 'absent';
  const isOurs =
    values.LoadState === 'loaded' &&
    values.Transient === true &&
    isAccountOfOurs(key, values) &&
    values.Slice === userSlice(key) &&
    /^[0-9a-f]{32}$/.test(environment.get(START_ID_VARIABLE) ?? '');
  return isOurs ? 'ours' : 'foreign';
}

/** Of an account of the machine whoever asks must know which one it has to be. */
function isAccountOfOurs(key: Key, { DynamicUser, User, PAMName }: UnitValues): boolean {
  if (DynamicUser === true) return User === accountName(key);
  return PAMName === LOCAL_SESSION && User !== '' && User !== 'root';
}

function statusOf(
  key: Key,
  server: ServerName,
  values: UnitValues,
  environment: ReadonlyMap<string, string>,
): ServerStatus {
  const activeState = ACTIVE_STATES.find((state) => state === values.ActiveState) ?? 'maintenance';
  const invocation = Buffer.isBuffer(values.InvocationID) ? values.InvocationID.toString('hex') : '';
  const startedUsec = typeof values.ActiveEnterTimestamp === 'bigint' ? values.ActiveEnterTimestamp : 0n;
  const base = environment.get(BASE_VARIABLE);
  const isUp = activeState === 'active' || activeState === 'reloading' || activeState === 'refreshing';
  return {
    key,
    server,
    active_state: activeState,
    invocation_id: /^[0-9a-f]{32}$/.test(invocation) ? invocation : null,
    start_id: environment.get(START_ID_VARIABLE) ?? null,
    profile: environment.get(PROFILE_VARIABLE) ?? null,
    started_at_ms: isUp && startedUsec > 0n ? Number(startedUsec / 1000n) : null,
    result: typeof values.Result === 'string' && values.Result !== '' ? values.Result : null,
    exit_status: values.ExecMainCode === 0 ? null : Number(values.ExecMainStatus),
    ...(base !== undefined && isBase(base) && { base }),
    ...parseActivity(isUp ? String(values.StatusText) : ''),
    frozen: values.FreezerState === 'frozen' || values.FreezerState === 'freezing',
  };
}

function environmentOf(value: BusValue): Map<string, string> {
  const entries = Array.isArray(value) ? value.map(String) : [];
  return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]));
}
