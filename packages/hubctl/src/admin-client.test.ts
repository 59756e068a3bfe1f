import { mkdtempSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AdminClient } from './admin-client.js';

const SILENCE_MS = 200;
const LONGER_MS = 500;

async function clientOf(t: Test, answer: (request: IncomingMessage, response: ServerResponse) => void) {
  // Short enough for the path of a socket.
  const path = join(mkdtempSync(join(tmpdir(), 'admin-')), 'a.sock');
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return new AdminClient(path, 'hub', SILENCE_MS);
}

async function collect(lines: AsyncIterable<unknown>): Promise<unknown[]> {
  const seen: unknown[] = [];
  for await (const line of lines) seen.push(line);
  return seen;
}

t.test('a daemon that takes the connection and cannot start is an error, whatever is asked', async (t) => {
  const client = await clientOf(t, () => undefined);
  const silent = { code: 'MH_ERR_WIRE_UNREACHABLE', hint: /may not be able to start/ };
  await t.rejects(client.get('/x'), silent);
  await t.rejects(client.post('/x', {}), silent);
  await t.rejects(collect(client.stream('GET', '/x')), silent);
  await t.rejects(collect(client.stream('POST', '/x', {})), silent);
});

t.test('one that says that it is at work may take its time', async (t) => {
  const client = await clientOf(t, (_request, response) => {
    response.writeProcessing();
    setTimeout(() => response.end('{"done":true}\n'), LONGER_MS);
  });
  t.same(await client.post('/x', {}), { done: true });
  t.same(await collect(client.stream('POST', '/x', {})), [{ done: true }]);
});

t.test('a stream may be silent once it has begun', async (t) => {
  const client = await clientOf(t, (_request, response) => {
    response.writeHead(200).write('\n');
    setTimeout(() => response.end('{"line":1}\n'), LONGER_MS);
  });
  t.same(await collect(client.stream('GET', '/x')), [{ line: 1 }]);
});
