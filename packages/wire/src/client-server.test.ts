import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { integer, object, text } from '@metalhub/base/shape.js';
import t from 'tap';
import { connectWire } from './client.js';
import { encodeFrame } from './frame.js';
import { defineProtocol, noEvents } from './protocol.js';
import { type Handlers, serveWire } from './server.js';

const protocol = defineProtocol({
  peer: 'adder',
  path: '/nowhere',
  maxFrameBytes: 1024,
  maxPending: 2,
  requests: {
    Add: {
      params: object({ a: integer(0, 9), b: integer(0, 9) }),
      result: object({ sum: integer(0, 18) }),
      event: noEvents,
    },
    Count: { params: object({ to: integer(0, 9) }), result: object({}), event: object({ at: integer(0, 9) }) },
    Fail: { params: object({ how: text({ max: 9 }) }), result: object({}), event: noEvents },
    Hang: { params: object({}), result: object({}), event: noEvents },
  },
});

const silent: Log = {
  debug() {},
  info() {},
  notice() {},
  warning() {},
  error() {},
  critical() {},
  child: () => silent,
};

let aborted = 0;
const handlers: Handlers<typeof protocol.requests> = {
  Add: async ({ a, b }) => ({ sum: a + b }),
  Count: async ({ to }, { emit }) => {
    for (let at = 0; at < to; at++) emit({ at });
    return {};
  },
  Fail: async ({ how }) => {
    if (how === 'known') throw new MetalhubError('MH_ERR_SPAWN_PROFILE', { details: { profile: 'x' }, hint: 'look' });
    throw new Error('secret text');
  },
  Hang: (_params, { signal }) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        aborted++;
        reject(new Error('gone'));
      });
    }),
};

let server: Server;
let path: string;
t.before(async () => {
  path = join(t.testdir(), 'adder.sock');
  server = createServer();
  serveWire(server, protocol, handlers, { log: silent, messageTimeoutMs: 300 });
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
t.teardown(() => void server.close());

t.test('requests are answered, several at once and in any order', async (t) => {
  const client = await connectWire(protocol, { path });
  const sums = await Promise.all([client.call('Add', { a: 1, b: 2 }), client.call('Add', { a: 4, b: 4 })]);
  t.strictSame(sums, [{ sum: 3 }, { sum: 8 }]);
  const seen: number[] = [];
  await client.call('Count', { to: 3 }, { onEvent: ({ at }) => seen.push(at) });
  t.strictSame(seen, [0, 1, 2]);
  client.close();
  await client.closed;
});

t.test('errors keep code and hint, and foreign ones keep nothing', async (t) => {
  const client = await connectWire(protocol, { path });
  await t.rejects(client.call('Fail', { how: 'known' }), { code: 'MH_ERR_SPAWN_PROFILE', hint: 'look' });
  await t.rejects(client.call('Fail', { how: 'unknown' }), { code: 'MH_ERR_INTERNAL', message: 'internal error' });
  client.close();
});

t.test('a caller that vanishes aborts its request, an aborted call ends at once', async (t) => {
  const client = await connectWire(protocol, { path });
  const abort = new AbortController();
  const call = client.call('Hang', {}, { signal: abort.signal });
  abort.abort(new Error('enough'));
  await t.rejects(call, { message: 'enough' });
  await client.closed;
  const gone = await connectWire(protocol, { path });
  const left = gone.call('Hang', {});
  gone.close();
  await t.rejects(left, { code: 'MH_ERR_WIRE_CLOSED' });
  while (aborted < 2) await new Promise((resolve) => setImmediate(resolve));
  t.equal(aborted, 2);
});

t.test('a time-out names the peer', async (t) => {
  const client = await connectWire(protocol, { path });
  await t.rejects(client.call('Hang', {}, { timeoutMs: 20 }), { code: 'MH_ERR_WIRE_TIMEOUT', message: /adder/ });
});

t.test('S01: anything malformed, unknown, oversized or slow closes the connection without an answer', async (t) => {
  const bad: [string, Buffer][] = [
    ['an unknown method', encodeFrame({ id: 1, method: 'Exec', params: {} })],
    ['a method of the prototype', encodeFrame({ id: 1, method: 'toString', params: {} })],
    ['an unknown parameter', encodeFrame({ id: 1, method: 'Add', params: { a: 1, b: 2, User: 'root' } })],
    ['an unknown key beside the method', encodeFrame({ id: 1, method: 'Add', params: { a: 1, b: 2 }, as: 'root' })],
    ['no id', encodeFrame({ method: 'Add', params: { a: 1, b: 2 } })],
    ['not an object', encodeFrame([1])],
    ['bytes that are no frame', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['half a frame', encodeFrame({ id: 1, method: 'Add', params: { a: 1, b: 2 } }).subarray(0, 9)],
    ['nothing', Buffer.alloc(0)],
    ['an id twice', Buffer.concat([1, 1].map((id) => encodeFrame({ id, method: 'Hang', params: {} })))],
    ['too many at once', Buffer.concat([1, 2, 3].map((id) => encodeFrame({ id, method: 'Hang', params: {} })))],
  ];
  for (const [what, bytes] of bad) {
    const received = await new Promise<number>((resolve, reject) => {
      const socket = connect({ path });
      let count = 0;
      socket.on('data', (chunk) => (count += chunk.length));
      socket.on('error', reject);
      socket.on('close', () => resolve(count));
      socket.write(bytes);
    });
    t.equal(received, 0, what);
  }
});

t.test('a caller that dribbles gets no more time for its message', async (t) => {
  const frame = encodeFrame({ id: 1, method: 'Add', params: { a: 1, b: 2 } });
  const socket = connect({ path });
  const begin = performance.now();
  let at = 0;
  const dribble = setInterval(() => socket.write(frame.subarray(at, ++at)), 50);
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(dribble);
  t.ok(at < frame.length, 'refused before it was complete');
  t.ok(performance.now() - begin < 1500);
});

t.test('a peer that is not there is named', async (t) => {
  await t.rejects(connectWire(protocol, { path: `${path}.none` }), {
    code: 'MH_ERR_WIRE_UNREACHABLE',
    message: /adder/,
  });
});
