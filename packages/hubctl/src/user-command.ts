import { setTimeout as sleep } from 'node:timers/promises';
import { MetalhubError } from '@metalhub/base/errors.js';
import type { Key } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { sendDescriptors } from '@metalhub/systemd/descriptors.js';
import { callerEnvironment } from '@metalhub/systemd/environment.js';
import { connectWire } from '@metalhub/wire/client.js';
import type { EventOf } from '@metalhub/wire/protocol.js';
import { type CommandEnd, type SpawnerAdminRequests, spawnerAdminProtocol } from '@metalhub/wire/spawner-admin.js';
import { explain, type SpawnerAdminClient } from './spawner-admin.js';

/** Shorter than the spawner waits for who was there before it was restarted. */
const RETURN_WITHIN_MS = 12 * SECOND_MS;
const RETRY_MS = 200;

/** As `docker` and `env` have it: everything else is the command's own status. */
export const EXIT_NOT_RUN = 125;

type Event = EventOf<SpawnerAdminRequests, 'Exec'>;
type Ask = (spawner: SpawnerAdminClient, onEvent: (event: Event) => void) => Promise<CommandEnd>;

export interface UserCommand {
  readonly key: Key;
  /** Of the spawner. */
  readonly socket: string;
  /** What the command gets, copies of these. */
  readonly fds: readonly number[];
  readonly ask: Ask;
  /** The command has them now, and runs. */
  readonly onStarted: () => void;
}

/** A command that an administrator runs as a user; it ends with this process. */
export class RunningCommand {
  readonly #command: UserCommand;
  #spawner: SpawnerAdminClient | undefined;
  #id: string | undefined;

  constructor(command: UserCommand) {
    this.#command = command;
  }

  /** Runs it and waits for its end, also across a restart of the spawner. @throws {MetalhubError} */
  async run(): Promise<CommandEnd> {
    try {
      this.#spawner = await connectWire(spawnerAdminProtocol, { path: this.#command.socket });
      return await this.#command.ask(this.#spawner, (event) => this.#onEvent(event));
    } catch (error) {
      if (this.#id === undefined || !isLost(error)) throw explain(error);
      return await this.#attachAgain(this.#id);
    } finally {
      this.#spawner?.close();
    }
  }

  /** Passes a signal on to all processes of the command. @returns whether there is a command yet */
  signal(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'SIGQUIT'): boolean {
    if (this.#id === undefined) return false;
    const { key } = this.#command;
    // It may just be ending, or the spawner be away.
    this.#spawner?.call('SignalCommand', { key, id: this.#id, signal }).catch(() => undefined);
    return true;
  }

  #onEvent({ event, id }: Event): void {
    if (event === 'descriptors') {
      if (this.#spawner !== undefined) sendDescriptors(this.#spawner.socket, Buffer.alloc(1), this.#command.fds);
    } else if (id !== null) {
      this.#id = id;
      this.#command.onStarted();
    }
  }

  async #attachAgain(id: string): Promise<CommandEnd> {
    const { key, socket } = this.#command;
    for (const deadlineMs = performance.now() + RETURN_WITHIN_MS; ; await sleep(RETRY_MS)) {
      try {
        this.#spawner?.close();
        this.#spawner = await connectWire(spawnerAdminProtocol, { path: socket });
        return await this.#spawner.call('AttachCommand', { key, id });
      } catch (error) {
        if (!isLost(error) || performance.now() > deadlineMs) throw explain(error);
      }
    }
  }
}

/** Who became root by sudo, if it says so in a way that a log can hold. */
export function claimedUser(): string | null {
  const { sudoUser = '' } = callerEnvironment();
  return /^[a-z_][a-z0-9_.-]{0,63}$/i.test(sudoUser) ? sudoUser : null;
}

function isLost(error: unknown): boolean {
  return error instanceof MetalhubError && ['MH_ERR_WIRE_CLOSED', 'MH_ERR_WIRE_UNREACHABLE'].includes(error.code);
}
