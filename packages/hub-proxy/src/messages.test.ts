import { once } from 'node:events';
import type { Socket } from 'node:net';
import t from 'tap';
import { startFront } from './testing/front.js';
import { ask, exchangeBytes, fieldOf, openClient, statusOf } from './testing/proxy.js';
import { ok } from './testing/upstream.js';

/** Lines of a request that Anna's browser would send. */
function head(front: { proxy: { port: number }; cookie: string }, line: string, ...fields: string[]): string {
  const host = `localhost:${front.proxy.port}`;
  return [`${line} HTTP/1.1`, `Host: ${host}`, front.cookie, `Origin: http://${host}`, ...fields, '', ''].join('\r\n');
}

t.test('trailers pass in both directions when they may stand there', async (t) => {
  const answer = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n';
  const front = await startFront(t, (_head, socket) => socket.write(answer));
  const upload = `${head(front, 'PUT /user/anna/f', 'Transfer-Encoding: chunked', 'Connection: close')}3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n`;
  t.match(await exchangeBytes(front.proxy.port, upload), /0\r\nX-Sum: 7\r\n\r\n$/);
  t.match(front.server.received(), /3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n$/);
});

t.test('P14: a trailer that an answer may not have, or a bad chunk, cuts the answer off', async (t) => {
  const ends = [
    '0\r\nSet-Cookie: a=b\r\n\r\n',
    '0\r\nContent-Length: 3\r\n\r\n',
    '3\nabc\r\n',
    '5;x\r\nhello\r\n',
    'zz\r\n',
  ];
  for (const end of ends) {
    await t.test(JSON.stringify(end), async (t) => {
      const front = await startFront(t, (_head, socket) => {
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n');
        setTimeout(() => socket.write(end), 20);
      });
      const got = await exchangeBytes(front.proxy.port, head(front, 'GET /user/anna/f'));
      t.match(got, /\r\n\r\n2\r\nok\r\n$/, 'what came before it, and then the end of the connection');
    });
  }
});

t.test('P14: what follows an answer without a body never reaches the client', async (t) => {
  const answers = [
    'HTTP/1.1 204 No Content\r\n\r\npoison',
    'HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison',
    'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\npoison',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\npoison',
  ];
  for (const answer of answers) {
    await t.test(answer.slice(9, 40), async (t) => {
      let count = 0;
      const front = await startFront(t, (_head, socket) => socket.write(count++ === 0 ? answer : ok('second')));
      const client = openClient(front.proxy.port, head(front, 'GET /user/anna/f'));
      await client.waitFor('\r\n\r\n');
      client.send(head(front, 'GET /user/anna/f'));
      await client.waitFor('second');
      t.notMatch(client.received(), 'poison');
      t.equal(front.server.connections, 2, 'on a connection of its own');
      client.socket.destroy();
    });
  }
});

t.test('an answer before the end of an upload reaches its client, and ends the connection', async (t) => {
  const front = await startFront(t, () => undefined);
  front.server.onConnection((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig'));
  });
  const client = openClient(front.proxy.port, `${head(front, 'PUT /user/anna/f', 'Content-Length: 1000000')}some`);
  const got = await client.closed;
  t.equal(statusOf(got), 413);
  t.match(got, /big$/);
  t.equal(fieldOf(got, 'connection'), 'close');
});

t.test('events of a server come through one by one', async (t) => {
  let stream: Socket | undefined;
  const front = await startFront(t, (_head, socket) => {
    stream = socket;
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n');
  });
  const client = openClient(front.proxy.port, head(front, 'GET /user/anna/events'));
  await client.waitFor('data: 1\n\n');
  stream?.write('data: 2\n\n');
  await client.waitFor('data: 2\n\n');
  stream?.end();
  t.match(await client.closed, /data: 2\n\n$/);
});

t.test('a part of a file is asked for and answered as it is', async (t) => {
  const partial = 'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-3/9\r\nContent-Length: 3\r\n\r\nbcd';
  const front = await startFront(t, (_head, socket) => socket.write(partial));
  const got = await ask(front.proxy.port, 'GET /user/anna/f', [front.cookie, 'Range: bytes=1-3', 'If-Range: "x"']);
  t.match(got, /^HTTP\/1\.1 206 Partial Content\r\nContent-Range: bytes 1-3\/9\r\n/);
  t.match(got, /bcd$/);
  t.match(front.server.received(), /\r\nRange: bytes=1-3\r\nIf-Range: "x"\r\n/);
});

t.test('a connection to a server is used again by the same login only', async (t) => {
  const front = await startFront(t);
  const other = await front.signIn('b'.repeat(32));
  await ask(front.proxy.port, 'GET /user/anna/1', [front.cookie]);
  await ask(front.proxy.port, 'GET /user/anna/2', [front.cookie]);
  t.equal(front.server.connections, 1, 'also over another connection of the client');
  await ask(front.proxy.port, 'GET /user/anna/3', [other]);
  t.equal(front.server.connections, 2);
  await front.proxy.setState({ routes: [front.proxy.annasRoute({ invocation_id: 'c'.repeat(32) })] });
  await ask(front.proxy.port, 'GET /user/anna/4', [front.cookie]);
  t.equal(front.server.connections, 3, 'the server was started again');
});

t.test('P13: a GET on a connection that the server has just closed is sent again, a POST is not', async (t) => {
  const sockets: Socket[] = [];
  let isClosing = false;
  const front = await startFront(t, (_head, socket) => {
    if (isClosing && sockets.includes(socket)) return void socket.destroy();
    sockets.push(socket);
    socket.write(ok('fine'));
  });
  const client = openClient(front.proxy.port, head(front, 'GET /user/anna/1'));
  await client.waitFor('fine');
  isClosing = true;
  client.send(head(front, 'GET /user/anna/2'));
  while ((client.received().match(/fine/g)?.length ?? 0) < 2) await once(client.socket, 'data');
  client.send(`${head(front, 'POST /user/anna/3', 'Content-Length: 1', 'Connection: close')}x`);
  const got = await client.closed;
  t.equal(statusOf(got.slice(got.lastIndexOf('HTTP/1.1'))), 502);
  t.equal(front.server.received().match(/POST/g)?.length, 1);
});
