import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { listen } from '../testing/peers.js';
import { openLineStream, roomIn } from './line-stream.js';

interface Ends {
  server: ServerResponse;
  client: IncomingMessage;
}

/** Both ends of an answer on a server that ends silent connections. */
async function connect(
  t: { teardown: (end: () => void) => void },
  answer: (response: ServerResponse) => void,
): Promise<Ends> {
  const directory = mkdtempSync(join(tmpdir(), 'lines-'));
  let response: ServerResponse | undefined;
  const server = createServer((_request, made) => {
    response = made;
    answer(made);
  });
  server.setTimeout(50);
  const socketPath = join(directory, 'http');
  await listen(server, socketPath);
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
    rmSync(directory, { recursive: true });
  });
  const client = await new Promise<IncomingMessage>((resolve, reject) => {
    get({ socketPath, agent: false }, resolve).on('error', reject);
  });
  if (response === undefined) throw new Error('nothing was asked');
  return { server: response, client };
}

t.test('a stream that has nothing to say stays open and shows that it lives', async (t) => {
  const { server, client } = await connect(t, (response) => openLineStream(response, { keepAliveMs: 100 })({ a: 1 }));
  let text = '';
  client.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (text.endsWith('\n\n\n\n')) server.end();
  });
  await new Promise((resolve) => client.once('end', resolve));
  // On a busy host another sign of life may come before the end.
  t.match(text, /^\{"a":1\}\n{4,}$/);
});

t.test('also one that is not even read from, and the sign of life does not pile up', async (t) => {
  let write = (_value: unknown): void => undefined;
  const { server } = await connect(t, (response) => {
    write = openLineStream(response, { keepAliveMs: 1 });
    write('x'.repeat(1024 * 1024));
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.notOk(server.destroyed);
  const waiting = server.writableLength;
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(server.writableLength, waiting);
});

t.test('there is room again when the reader has read, or is gone', async (t) => {
  for (const isGone of [false, true]) {
    const { server, client } = await connect(t, (response) => openLineStream(response)({}));
    t.equal(roomIn(server), undefined);
    server.write('x'.repeat(4 * 1024 * 1024));
    const room = roomIn(server);
    t.ok(room instanceof Promise);
    if (isGone) client.destroy();
    else client.resume();
    await room;
    t.equal(roomIn(server), undefined);
  }
});
