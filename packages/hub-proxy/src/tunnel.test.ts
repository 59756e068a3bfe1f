import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { runTunnel } from './tunnel.js';

async function socketPair(): Promise<{ near: Socket; far: Socket; server: Server }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  const [near] = (await once(server, 'connection')) as [Socket];
  return { near, far, server };
}

function closeAll(...pairs: { far: Socket; server: Server }[]): void {
  for (const { far, server } of pairs) {
    far.destroy();
    server.close();
  }
}

t.test('the last bytes reach a slow reader although the other side has ended', async (t) => {
  const client = await socketPair();
  const upstream = await socketPair();
  t.teardown(() => closeAll(client, upstream));
  const ended = new Promise<void>((resolve) => {
    runTunnel(client.near, upstream.near, undefined, { onActivity() {}, onEnd: resolve });
  });
  const sent = Buffer.alloc(20_000_000, 'x');
  client.far.end();
  upstream.far.resume();
  upstream.far.end(sent);
  let received = 0;
  for await (const chunk of client.far) {
    received += (chunk as Buffer).length;
    if (received < 2_000_000) await sleep(5);
  }
  t.equal(received, sent.length);
  await ended;
});

t.test('an aborted client ends the upstream', async (t) => {
  const client = await socketPair();
  const upstream = await socketPair();
  t.teardown(() => closeAll(client, upstream));
  const ended = new Promise<void>((resolve) => {
    runTunnel(client.near, upstream.near, undefined, { onActivity() {}, onEnd: resolve });
  });
  upstream.far.resume();
  client.far.destroy();
  await once(upstream.far, 'end');
  upstream.far.destroy();
  await ended;
  t.ok(upstream.near.destroyed);
});
