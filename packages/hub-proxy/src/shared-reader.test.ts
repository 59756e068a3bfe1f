import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { passOn, readShared, SharedReader } from './shared-reader.js';

t.setTimeout(30_000);

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
