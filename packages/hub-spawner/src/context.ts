import type { Log } from '@metalhub/base/log.js';
import type { Clock } from '@metalhub/base/time.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import type { ServerStatus, START_STAGES } from '@metalhub/wire/spawner.js';
import type { CommandTable } from './commands/command-table.js';
import type { AccountMaker } from './created-account.js';
import type { HomeRepairs } from './home-repair.js';
import type { KeyCounter } from './key-counter.js';
import type { LeaseStore } from './leases.js';
import type { Operations, Slots } from './operations.js';
import type { ServerWatch } from './server-watch.js';
import type { SpawnerConfig } from './spawner-config.js';
import type { UserSlices } from './user-slices.js';

export type StartStage = (typeof START_STAGES)[number];

/** Everything the answers to requests work with. */
export interface SpawnerContext {
  readonly log: Log;
  readonly clock: Clock;
  readonly manager: Manager;
  readonly watch: ServerWatch;
  readonly leases: LeaseStore;
  readonly accounts: AccountMaker;
  readonly homes: HomeRepairs;
  /** Keys whose lease a start relies on. */
  readonly keysInUse: KeyCounter;
  readonly operations: Operations<ServerStatus, StartStage>;
  readonly slots: Slots;
  readonly slices: UserSlices;
  readonly commands: CommandTable;
  /** The configuration as it is now. @throws {MH_ERR_CONFIG_FILE} */
  readConfig(): SpawnerConfig;
}
