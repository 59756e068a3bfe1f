import type { Key, ServerName } from '@metalhub/base/names.js';
import { connectWire } from '@metalhub/wire/client.js';
import { type LogLine, logsProtocol } from '@metalhub/wire/logs.js';

export interface LogQuery {
  readonly key: Key;
  readonly server: ServerName;
  /** Only this start; null for all. */
  readonly invocationId: string | null;
  readonly lines: number;
  readonly follow?: boolean;
}

/** Asks hub-logs, one connection and one process per query. */
export class LogsClient {
  readonly #path: string | undefined;

  constructor(options: { path?: string } = {}) {
    this.#path = options.path;
  }

  /**
   * Calls back for each line, oldest first. Resolves after the last; with `follow` it goes on until the signal.
   * @param onLine may return what to wait for before more is read; a few lines that are here already come all the same
   */
  async read(
    query: LogQuery,
    onLine: (line: LogLine) => Promise<void> | undefined,
    options: { signal?: AbortSignal; timeoutMs?: number },
  ): Promise<void> {
    const client = await connectWire(logsProtocol, this.#path === undefined ? {} : { path: this.#path });
    let isPaused = false;
    try {
      const { key, server, invocationId, lines, follow } = query;
      const params = { key, server, invocation_id: invocationId, lines, ...(follow === true && { follow }) };
      const onEvent = (line: LogLine): void => {
        const room = onLine(line);
        if (room === undefined || isPaused) return;
        isPaused = true;
        client.pause();
        void room.then(() => {
          isPaused = false;
          client.resume();
        });
      };
      await client.call('ReadServerLog', params, { onEvent, ...options });
    } finally {
      client.close();
    }
  }
}
