import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { isErrorCode, MetalhubError } from '@metalhub/base/errors.js';
import { connectWire, type WireClient } from '@metalhub/wire/client.js';
import type { ParamsOf } from '@metalhub/wire/protocol.js';
import { type SpawnerRequests, spawnerProtocol } from '@metalhub/wire/spawner.js';
import { type SpawnerAdminRequests, spawnerAdminProtocol } from '@metalhub/wire/spawner-admin.js';
import type { Machine } from './machine.js';
import { projectFile } from './project.js';

export type SpawnerClient = WireClient<SpawnerRequests>;
export type StartParams = ParamsOf<SpawnerRequests, 'StartServer'>;

/** Puts the build of this checkout into the machine and has the spawner's socket listen. */
export async function installSpawner(machine: Machine): Promise<void> {
  await promisify(execFile)(projectFile('scripts/dev-install'), [machine.name]);
  await machine.run(['systemctl', 'start', 'hub-spawner.socket', 'hub-spawner-admin.socket']);
}

/** A connection to the machine's spawner, as root. */
export async function connectSpawner(machine: Machine): Promise<SpawnerClient> {
  return connectWire(spawnerProtocol, { path: await machine.path(spawnerProtocol.path) });
}

/** A connection to the socket that administrators have, as root. */
export async function connectSpawnerAdmin(machine: Machine): Promise<WireClient<SpawnerAdminRequests>> {
  return connectWire(spawnerAdminProtocol, { path: await machine.path(spawnerAdminProtocol.path) });
}

/** A start of the default profile. Token and start id are told apart by the key. */
export function startParams(
  key: string,
  changes: Partial<
    Record<Exclude<keyof StartParams, 'choices' | 'kernels'>, string> & Pick<StartParams, 'choices' | 'kernels'>
  > = {},
): StartParams {
  const server = changes.server ?? '';
  const params = {
    key,
    server,
    identity: `pam:${key}`,
    profile: 'default',
    start_id: Buffer.from(`${key}${server}`).toString('hex').padEnd(32, '0').slice(0, 32),
    token: tokenOf(key),
    base_url: server === '' ? `/user/${key}/` : `/user/${key}/${server}/`,
    ...changes,
  };
  return params as unknown as StartParams;
}

export function tokenOf(key: string): string {
  return `Secret-${key}-`.padEnd(43, 'x').slice(0, 43);
}

/** The error a call ends with. @throws when it does not */
export async function failureOf(call: Promise<unknown>): Promise<MetalhubError> {
  const result = await call.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('value' in result) throw new Error(`it did not fail: ${JSON.stringify(result.value)}`);
  if (result.error instanceof MetalhubError && isErrorCode(result.error.code)) return result.error;
  throw result.error;
}
