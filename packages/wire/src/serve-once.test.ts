import { mkdtempSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log, LogFields } from '@metalhub/base/log.js';
import { integer, object, text } from '@metalhub/base/shape.js';
import t, { type Test } from 'tap';
import { connectWire } from './client.js';
import { encodeFrame } from './frame.js';
import { defineProtocol } from './protocol.js';
import { type OnceHandlers, serveOnce } from './serve-once.js';

const protocol = defineProtocol({
  peer: 'counter',
  path: '/nonexistent',
  maxFrameBytes: 1024,
  maxPending: 1,
  requests: {
    Count: {
      params: object({ to: integer(0, 1_000_000) }),
      result: object({}),
      event: object({ line: text({ max: 4096 }) }),
    },
  },
});

interface Bench {
  readonly path: string;
  readonly refusals: LogFields[];
  /** Resolves with each connection's end. */
  readonly ended: Promise<void>;
}

function logTo(refusals: LogFields[]): Log {
  const ignore = (): void => {};
  const log: Log = {
    ...{ debug: ignore, info: ignore, notice: ignore, error: ignore, critical: ignore },
    warning: (_message, fields) => refusals.push(fields ?? {}),
    child: () => log,
  };
  return log;
}

function serve(t: Test, handlers: OnceHandlers<typeof protocol.requests>, requestTimeoutMs = 5000): Bench {
  const path = join(mkdtempSync(join(tmpdir(), 'serve-once-')), 'socket');
  const refusals: LogFields[] = [];
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  const server = createServer((socket) => {
    void serveOnce(socket, protocol, handlers, { log: logTo(refusals), requestTimeoutMs }).then(end);
  });
  server.listen(path);
  t.teardown(() => server.close());
  return { path, refusals, ended };
}

async function count({ to }: { to: number }, context: { emit(event: { line: string }): void }): Promise<object> {
  for (let line = 0; line < to; line++) context.emit({ line: String(line) });
  return {};
}

function allOf(socket: Socket): Promise<number> {
  return new Promise((resolve) => {
    let bytes = 0;
    socket.on('data', (chunk) => (bytes += chunk.length));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(bytes));
  });
}

t.test('answers one request with its events and closes', async (t) => {
  const { path, ended, refusals } = serve(t, { Count: count });
  const client = await connectWire(protocol, { path });
  const lines: string[] = [];
  t.same(await client.call('Count', { to: 3 }, { onEvent: ({ line }) => lines.push(line) }), {});
  t.same(lines, ['0', '1', '2']);
  await client.closed;
  await ended;
  t.same(refusals, []);
});

t.test('a second request, in one go or later, closes the connection and aborts the first', async (t) => {
  for (const later of [false, true]) {
    let aborted = false;
    const { path, ended, refusals } = serve(t, {
      Count: async (_params, { signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        aborted = true;
        return {};
      },
    });
    const socket = connect(path);
    const bytes = allOf(socket);
    const frame = encodeFrame({ id: 1, method: 'Count', params: { to: 1 } });
    if (later) socket.write(frame, () => setTimeout(() => socket.write(frame), 50));
    else socket.write(Buffer.concat([frame, frame]));
    await ended;
    t.equal(await bytes, 0);
    t.match(refusals, [{ reason: 'more than one request' }]);
    t.equal(aborted, later, 'what was never begun is not aborted');
  }
});

t.test('a request that dribbles in must be complete in time all the same', async (t) => {
  const { path, ended, refusals } = serve(t, { Count: count }, 200);
  const socket = connect(path);
  const bytes = allOf(socket);
  const frame = encodeFrame({ id: 1, method: 'Count', params: { to: 1 } });
  let sent = 0;
  const timer = setInterval(() => socket.write(frame.subarray(sent, ++sent)), 20);
  await ended;
  clearInterval(timer);
  t.equal(await bytes, 0);
  t.match(refusals, [{ reason: /no complete request within 200 ms/ }]);
});

t.test('a handler that waits for the reader keeps little in memory', async (t) => {
  let emitted = 0;
  const { path, ended } = serve(t, {
    Count: async (_params, { emit, drained, signal }) => {
      while (!signal.aborted && emitted < 100_000) {
        emit({ line: 'x'.repeat(4096) });
        emitted++;
        await drained();
      }
      return {};
    },
  });
  const socket = connect(path);
  socket.on('error', () => undefined);
  socket.write(encodeFrame({ id: 1, method: 'Count', params: { to: 1 } }));
  socket.pause();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const whileStuck = emitted;
  t.ok(whileStuck > 0 && whileStuck < 2000, `stopped after ${whileStuck} lines`);
  socket.destroy();
  await ended;
});
