import { MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { connectWire, type WireClient } from '@metalhub/wire/client.js';
import { type LeaseRow, type SpawnerAdminRequests, spawnerAdminProtocol } from '@metalhub/wire/spawner-admin.js';

/** Its start is a part of it. */
export const ANSWER_TIMEOUT_MS = 30 * SECOND_MS;

export type SpawnerAdminClient = WireClient<SpawnerAdminRequests>;

/** Asks hub-spawner, which is started by it, on one connection. @throws {MetalhubError} its own error, or MH_ERR_WIRE_* */
export async function askSpawner<T>(path: string, ask: (spawner: SpawnerAdminClient) => Promise<T>): Promise<T> {
  let spawner: SpawnerAdminClient | undefined;
  try {
    spawner = await connectWire(spawnerAdminProtocol, { path });
    return await ask(spawner);
  } catch (error) {
    throw explain(error);
  } finally {
    spawner?.close();
  }
}

export interface Leases {
  readonly leases: readonly LeaseRow[];
  readonly lost: boolean;
}

export async function listLeases(spawner: SpawnerAdminClient): Promise<Leases> {
  const leases: LeaseRow[] = [];
  for (let offset: number | null = 0, lost = false; ; ) {
    const page: { leases: LeaseRow[]; next: number | null; lost: boolean } = await spawner.call(
      'ListLeases',
      { offset: offset ?? 0 },
      { timeoutMs: ANSWER_TIMEOUT_MS },
    );
    leases.push(...page.leases);
    lost ||= page.lost;
    offset = page.next;
    if (offset === null) return { leases, lost };
  }
}

/** With a hint where the error itself has none. */
export function explain(error: unknown): unknown {
  if (!(error instanceof MetalhubError) || error.hint !== undefined) return error;
  const hint = HINTS[systemErrorCode(error.cause) ?? ''] ?? HINTS[error.code];
  return new MetalhubError(error.code, { message: error.message, details: error.details, hint, cause: error.cause });
}

const HINTS: Readonly<Record<string, string>> = {
  EACCES: 'run it as root, or as a member of the group metalhub-admin',
  ENOENT: 'systemctl start metalhub.target',
  ECONNREFUSED: 'systemctl start hub-spawner-admin.socket',
  MH_ERR_WIRE_CLOSED: 'see: journalctl -u hub-spawner -n 20',
  MH_ERR_WIRE_TIMEOUT: 'see: journalctl -u hub-spawner -n 20',
};
