import { once } from 'node:events';
import { type AddressInfo, connect, createServer, Server, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { passOn, readShared, SharedReader } from './shared-reader.js';
import { startFront } from './testing/front.js';
import { ask, openClient } from './testing/proxy.js';
import { ok } from './testing/upstream.js';

t.setTimeout(600_000);

const MEGABYTE = 1024 * 1024;

async function listen(): Promise<Server> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** One that somebody connected to the server, and its other end. */
async function accept(server: Server): Promise<{ accepted: Socket; far: Socket }> {
  const { port } = server.address() as AddressInfo;
  const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [accepted] = (await once(server, 'connection')) as [Socket];
  return { accepted, far };
}

/** Passes on what comes in; a slow reader slows its writer. */
function pipe(from: Socket, reader: SharedReader, to: Socket | PassThrough): void {
  reader.onRead = (chunk) => {
    if (passOn(to, chunk)) return;
    from.pause();
    to.once('drain', () => from.resume());
  };
  from.on('end', () => to.end());
}

async function readAll(from: Socket | PassThrough): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of from) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

t.test('connections that share a buffer do not mix their bytes, however long these have to wait', async (t) => {
  const server = await listen();
  t.teardown(() => server.close());
  const ends = [];
  for (const letter of ['a', 'b', 'c', 'd']) {
    ends.push({ letter, source: await accept(server), target: await accept(server) });
  }
  const results = await Promise.all(
    ends.map(async ({ letter, source, target }) => {
      const reader = new SharedReader();
      const from = readShared(source.accepted, reader);
      if (from === undefined) throw new Error('Node is not as expected');
      // Encrypted connections and streams within the process keep what they are given for longer.
      const to = letter === 'd' ? new PassThrough() : target.accepted;
      pipe(from, reader, to);
      const sent = Buffer.alloc(8 * MEGABYTE, letter);
      source.far.end(sent);
      await sleep(200);
      const got = await readAll(letter === 'd' ? (to as PassThrough) : target.far);
      for (const socket of [source.far, target.far, target.accepted, from]) socket.destroy();
      return got.equals(sent);
    }),
  );
  t.same(results, [true, true, true, true]);
});

t.test('the server counts a connection that reads into the shared buffer until it is closed', async (t) => {
  const server = await listen();
  const { accepted, far } = await accept(server);
  const socket = readShared(accepted, new SharedReader());
  const closed = once(server, 'close');
  server.close();
  let isClosed = false;
  void closed.then(() => {
    isClosed = true;
  });
  await sleep(50);
  t.notOk(isClosed);
  socket?.destroy();
  await closed;
  far.destroy();
});

/** Gives what servers of this process accept from now on none of the inside that the shared buffer needs. */
function hideInside(t: { teardown(end: () => void): void }): void {
  const { emit } = Server.prototype;
  Server.prototype.emit = function (this: Server, event: string | symbol, ...values: unknown[]): boolean {
    const handle = event === 'connection' ? (values[0] as { _handle?: object })._handle : undefined;
    if (handle !== undefined) Object.defineProperty(handle, 'useUserBuffer', { value: undefined });
    return Reflect.apply(emit, this, [event, ...values]) as boolean;
  } as typeof emit;
  t.teardown(() => {
    Server.prototype.emit = emit;
  });
}

t.test('where Node is not as expected a connection stays as it was, and reads as usual', async (t) => {
  hideInside(t);
  const server = await listen();
  t.teardown(() => server.close());
  const { accepted, far } = await accept(server);
  t.equal(readShared(accepted, new SharedReader()), undefined);
  const sent = Buffer.alloc(MEGABYTE, 'x');
  far.end(sent);
  t.ok((await readAll(accepted)).equals(sent));
  accepted.destroy();
});

t.test('the proxy does all it does on such connections, too', async (t) => {
  const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
  hideInside(t);
  const big = 'z'.repeat(MEGABYTE);
  const front = await startFront(t, (head, socket) => {
    if (!head.includes('/ws')) return void socket.write(ok(head.startsWith('PUT') ? 'taken' : big));
    socket.write(`${SWITCH}Sec-WebSocket-Accept: x\r\n\r\n`);
    socket.on('data', (chunk) => socket.write(chunk));
  });
  const { port } = front.proxy;
  const origin = `Origin: http://127.0.0.1:${port}`;
  t.ok((await ask(port, 'GET /user/anna/x', [front.cookie])).endsWith(big));
  const length = `Content-Length: ${big.length}`;
  t.match(await ask(port, 'PUT /user/anna/x', [front.cookie, origin, length], big), 'taken');
  t.equal(front.server.received().split(big).length, 2, 'the body came, once');
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: eA=='];
  const head = ['GET /user/anna/ws HTTP/1.1', `Host: 127.0.0.1:${port}`, front.cookie, origin, ...upgrade];
  const client = openClient(port, `${head.join('\r\n')}\r\n\r\n`);
  await client.waitFor('101');
  client.send('\x81\x02hi');
  await client.waitFor('\x81\x02hi');
  client.socket.destroy();
});
