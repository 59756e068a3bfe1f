import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { Tunnel } from './tunnel.js';
import { UpstreamConnection } from './upstream-connection.js';

async function socketPair(): Promise<{ near: Socket; far: Socket; server: Server }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  const [near] = (await once(server, 'connection')) as [Socket];
  return { near, far, server };
}

/** Listens to the client as a ClientConnection does. */
function runTunnel(client: Socket, upstream: Duplex, first: Buffer | undefined, onEnd: () => void): void {
  const tunnel = new Tunnel(client, new UpstreamConnection(upstream), { onActivity() {}, onEnd });
  client.on('data', (chunk: Buffer) => tunnel.onClientData(chunk, false));
  client.on('end', () => tunnel.onClientEnd());
  client.on('drain', () => tunnel.onClientDrain());
  client.on('error', () => client.destroy());
  client.on('close', (hadError: boolean) => tunnel.onClientClose(hadError));
  tunnel.start(first);
  upstream.resume();
}

function closeAll(...pairs: { far: Socket; server: Server }[]): void {
  for (const { far, server } of pairs) {
    far.destroy();
    server.close();
  }
}

t.test('what the upstream said before it closed reaches a client that reads slowly', async (t) => {
  const client = await socketPair();
  const upstream = await socketPair();
  t.teardown(() => closeAll(client, upstream));
  // More than the kernel takes: most of it is still here when the upstream is gone.
  const sent = Buffer.alloc(20_000_000, 'x');
  client.far.end();
  upstream.far.resume();
  upstream.far.end();
  const gone = once(upstream.near, 'close');
  const ended = new Promise<void>((resolve) => {
    runTunnel(client.near, upstream.near, sent, resolve);
  });
  await gone;
  let received = 0;
  for await (const chunk of client.far) received += (chunk as Buffer).length;
  t.equal(received, sent.length);
  await ended;
});

t.test('what a client said before it closed reaches an upstream that reads slowly', async (t) => {
  const client = await socketPair();
  t.teardown(() => closeAll(client));
  const written: string[] = [];
  let take = (): void => undefined;
  const upstream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, taken) {
      written.push(chunk.toString());
      take = taken;
    },
  });
  const ended = new Promise<void>((resolve) => {
    runTunnel(client.near, upstream, undefined, resolve);
  });
  for (const text of ['first', 'last']) {
    client.far.write(text);
    await once(client.near, 'data');
  }
  const gone = once(client.near, 'close');
  upstream.push(null);
  client.far.resume();
  client.far.end();
  await gone;
  t.same(written, ['first'], 'the other waits');
  take();
  await setImmediate();
  take();
  await ended;
  t.same(written, ['first', 'last']);
  t.ok(upstream.writableFinished, 'and only then the end');
});

t.test('an aborted client ends the upstream', async (t) => {
  const client = await socketPair();
  const upstream = await socketPair();
  t.teardown(() => closeAll(client, upstream));
  const ended = new Promise<void>((resolve) => {
    runTunnel(client.near, upstream.near, undefined, resolve);
  });
  upstream.far.resume();
  client.far.destroy();
  await once(upstream.far, 'end');
  upstream.far.destroy();
  await ended;
  t.ok(upstream.near.destroyed);
});
