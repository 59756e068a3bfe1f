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

  /** Calls back for each line, oldest first. Resolves after the last; with `follow` it goes on until the signal. */
  async read(
    query: LogQuery,
    onLine: (line: LogLine) => void,
    options: { signal?: AbortSignal; timeoutMs?: number },
  ): Promise<void> {
    const client = await connectWire(logsProtocol, this.#path === undefined ? {} : { path: this.#path });
    try {
      const { key, server, invocationId, lines, follow } = query;
      const params = { key, server, invocation_id: invocationId, lines, ...(follow === true && { follow }) };
      await client.call('ReadServerLog', params, { onEvent: onLine, ...options });
    } finally {
      client.close();
    }
  }
}
