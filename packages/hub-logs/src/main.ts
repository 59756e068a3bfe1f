import { Socket } from 'node:net';
import { errorText } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { createLog } from '@metalhub/systemd/journal.js';
import { requireListenFd } from '@metalhub/systemd/listen-fds.js';
import { logsProtocol } from '@metalhub/wire/logs.js';
import { serveOnce } from '@metalhub/wire/serve-once.js';
import { journalctlArguments } from './journalctl-arguments.js';
import { streamLog } from './stream-log.js';

const REQUEST_TIMEOUT_MS = 10 * SECOND_MS;

/** One request on the connection that systemd handed over, then the end. */
async function main(): Promise<void> {
  const log = createLog({ identifier: 'hub-logs' });
  const socket = new Socket({ fd: requireListenFd('connection'), readable: true, writable: true });
  await serveOnce(
    socket,
    logsProtocol,
    {
      ReadServerLog: async ({ key, server, invocation_id: invocationId, lines, follow = false }, context) => {
        await streamLog(journalctlArguments({ key, server, invocationId, lines, follow }), context);
        return {};
      },
    },
    { log, requestTimeoutMs: REQUEST_TIMEOUT_MS },
  );
}

main().catch((error: unknown) => {
  process.stderr.write(`hub-logs: ${errorText(error)}\n`);
  process.exitCode = 1;
});
