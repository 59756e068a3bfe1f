import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import {
  type Answer,
  certificate,
  finish,
  openSession,
  request,
  start,
  startHttp2Front,
} from './testing/http2-client.js';
import { ok } from './testing/upstream.js';

t.setTimeout(600_000);

t.test('requests of one connection are answered side by side', async (t) => {
  const waiting: Socket[] = [];
  const front = await startHttp2Front(t, (head, socket) => {
    if (head.includes('/slow')) waiting.push(socket);
    else
      socket.write(ok(/ (\S+) HTTP/.exec(head)?.[1] ?? '', ['Set-Cookie: a=1; Path=/user/anna/', 'Set-Cookie: b=2']));
  });
  const session = openSession(front);
  const slow = request(session, front, { ':path': '/user/anna/slow' });
  const quick = await Promise.all(
    Array.from({ length: 40 }, (_, index) => request(session, front, { ':path': `/user/anna/${index}` })),
  );
  for (const [index, answer] of quick.entries()) {
    t.equal(answer.status, 200);
    t.equal(answer.body, `/user/anna/${index}`);
  }
  t.equal(quick[0]?.fields['connection'], undefined);
  t.equal(quick[0]?.fields['content-length'], String('/user/anna/0'.length));
  waiting[0]?.write(ok('at last'));
  t.match(await slow, { status: 200, body: 'at last' });
  t.equal(front.proxy.worker.report().connections, 1);
  t.match(front.server.received(), 'X-Forwarded-Proto: https\r\n');
});

t.test('the cookie may come in pieces, and reaches the server whole', async (t) => {
  const front = await startHttp2Front(t);
  const session = openSession(front);
  const ticket = front.cookie.slice('Cookie: '.length);
  const answer = await request(session, front, { cookie: [ticket, 'a=1', 'b=2'] as unknown as string });
  t.equal(answer.status, 200);
  t.match(front.server.received(), 'Cookie: a=1; b=2\r\n');
});

t.test('bodies pass both ways, with a length and without, and with trailers', async (t) => {
  const size = 3 * 2 ** 20;
  const big = 'z'.repeat(size);
  const front = await startHttp2Front(t, (head, socket) => {
    if (head.includes('/chunked')) {
      const chunks = `5\r\nhello\r\n${size.toString(16)}\r\n${big}\r\n0\r\nX-Sum: 7\r\n\r\n`;
      socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n${chunks}`);
    } else if (head.includes('/until-close')) socket.end(`HTTP/1.1 200 OK\r\n\r\n${big}`);
    else socket.write(ok(big));
  });
  const session = openSession(front);
  const chunked = await request(session, front, { ':path': '/user/anna/chunked' });
  t.equal(chunked.body.length, size + 5);
  t.equal(chunked.trailers['x-sum'], '7');
  t.equal((await request(session, front)).body.length, size);
  t.equal((await request(session, front, { ':path': '/user/anna/until-close' })).body.length, size);
  const origin = 'https://hub.example.org';
  const put = { ':method': 'PUT', origin };
  const upload = await request(session, front, { ...put, 'content-length': String(size) }, big);
  t.equal(upload.status, 200);
  t.match(front.server.received(), `Content-Length: ${size}\r\n`);
  const stream = start(session, front, put);
  stream.write('one');
  stream.end('two');
  t.equal((await finish(stream)).status, 200);
  t.match(front.server.received(), /Transfer-Encoding: chunked\r\n[\s\S]*3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n$/);
});

t.test('HEAD, 204, 304 and interim answers', async (t) => {
  const front = await startHttp2Front(t, (head, socket) => {
    if (head.startsWith('HEAD')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n');
    else if (head.includes('/204')) socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    else if (head.includes('/304')) socket.write('HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n');
    else socket.write(`HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n${ok('fine')}`);
  });
  const session = openSession(front);
  const head = await request(session, front, { ':method': 'HEAD' });
  t.match(head, { status: 200, body: '' });
  t.equal(head.fields['content-length'], '77');
  t.match(await request(session, front, { ':path': '/user/anna/204' }), { status: 204, body: '' });
  t.match(await request(session, front, { ':path': '/user/anna/304' }), { status: 304, body: '' });
  t.match(await request(session, front), { status: 200, body: 'fine', interim: [103] });
});

t.test('the same rules hold as for HTTP/1.1', async (t) => {
  const front = await startHttp2Front(t);
  const session = openSession(front);
  t.equal((await request(session, front, { ':path': '/user/anna/..%2fbob' })).status, 400);
  t.equal((await request(session, front, { ':path': '/user/anna/a b' })).status, 0);
  t.equal((await request(session, front, { ':authority': 'evil.example' })).status, 421);
  t.equal((await request(session, front, { cookie: '' })).status, 401);
  t.equal((await request(session, front, { ':method': 'POST', origin: 'https://evil.example' })).status, 403);
  t.equal((await request(session, front, { ':method': 'TRACE' })).status, 405);
  t.equal((await request(session, front, { 'x-big': 'x'.repeat(20_000) })).status, 431);
  t.equal(front.server.received(), '');
  const spoofed = await request(session, front, { 'x-forwarded-for': '203.0.113.1', forwarded: 'for=203.0.113.2' });
  t.equal(spoofed.status, 200, 'the connection is none the worse for it');
  t.notMatch(front.server.received(), '203.0.113');
});

t.test('P01: what cannot be written as HTTP/1.1 without changing its meaning never reaches a server', async (t) => {
  const front = await startHttp2Front(t);
  const session = openSession(front);
  // Node's own client refuses most of what an attacker would send; the rest is in http2-request-head.test.ts.
  for (const fields of [{ host: 'other.example' }, { 'content-length': '5' }, { ':scheme': 'http' }]) {
    const answer = await request(session, front, fields);
    t.equal(answer.status, 0, JSON.stringify(fields));
    t.equal(answer.code, constants.NGHTTP2_PROTOCOL_ERROR);
  }
  const stream = start(session, front, { ':method': 'POST', 'content-length': '3', origin: 'https://hub.example.org' });
  const answer = finish(stream);
  stream.end('GET /user/bob/ HTTP/1.1\r\n\r\n');
  t.not((await answer).code, constants.NGHTTP2_NO_ERROR);
  t.notMatch(front.server.received(), '/user/bob/');
  t.match(front.proxy.worker.report().counters, { 'requests|none|400': 2 });
});

t.test('what is asked above the limit of connections is refused, and counted', async (t) => {
  const front = await startHttp2Front(t, () => undefined, {}, { connections: 3 });
  const session = openSession(front);
  for (const _ of [1, 2]) start(session, front, {}, true).on('error', () => undefined);
  t.equal((await request(session, front)).code, constants.NGHTTP2_REFUSED_STREAM);
  t.match(front.proxy.worker.report().counters, { 'connections_refused|total': 1 });
  session.destroy();
});

t.test('a request that is cancelled ends at its server, too', async (t) => {
  let closed: (() => void) | undefined;
  const gone = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const front = await startHttp2Front(t, (_head, socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart');
    socket.on('close', () => closed?.());
  });
  const session = openSession(front);
  const stream = start(session, front, {}, true);
  await new Promise((resolve) => stream.once('data', resolve));
  stream.close(constants.NGHTTP2_CANCEL);
  await gone;
  t.pass('the connection to the server is closed');
});

t.test('an answer that breaks off is not taken for a whole one', async (t) => {
  const front = await startHttp2Front(t, (head, socket) => {
    const framing = head.includes('/chunked')
      ? 'Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n'
      : 'Content-Length: 1000\r\n\r\npart';
    socket.write(`HTTP/1.1 200 OK\r\n${framing}`);
    setTimeout(() => socket.destroy(), 50);
  });
  for (const path of ['/user/anna/chunked', '/user/anna/length']) {
    const answer = await request(openSession(front), front, { ':path': path });
    t.match(answer, { status: 200, body: 'part', code: constants.NGHTTP2_INTERNAL_ERROR });
  }
});

t.test('P13: what a server says that HTTP/2 cannot carry costs its own answer only', async (t) => {
  const front = await startHttp2Front(t, (head, socket) => {
    const part = Buffer.from(/\?(\S+) HTTP/.exec(head)?.[1] ?? '', 'base64url').toString('latin1');
    if (head.includes('/trailers')) {
      socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n${part}\r\n`);
    } else if (head.includes('/head')) socket.write(`HTTP/1.1 200 OK\r\n${part}Content-Length: 4\r\n\r\nbody`);
    else if (head.includes('/interim')) socket.write(`HTTP/1.1 103 Early Hints\r\n${part}\r\n${ok('body')}`);
    else socket.end(`HTTP/1.1 ${part}\r\nContent-Length: 4\r\n\r\nbody`);
  });
  const session = openSession(front);
  const ask = (where: string, text: string): Promise<Answer> =>
    request(session, front, { ':path': `/user/anna/${where}?${Buffer.from(text).toString('base64url')}` });
  for (const where of ['trailers', 'head', 'interim']) {
    const repeated = await ask(where, 'ETag: a\r\nETag: b\r\n');
    t.equal(repeated.code, constants.NGHTTP2_INTERNAL_ERROR, `${where}: a field twice that must be single`);
    for (const fields of [
      'HTTP2-Settings: AAA\r\n',
      'Keep-Alive: 5\r\n',
      '__proto__: a\r\n__proto__: b\r\n',
      'X: \r\n',
    ]) {
      t.match(await ask(where, fields), { status: 200, body: 'body', code: 0 }, `${where}: ${fields.trim()}`);
    }
  }
  const odd = await ask('trailers', 'Constructor: a\r\nX-Sum: 7\r\nX-Sum: 8\r\n');
  t.match(odd.trailers, { constructor: 'a', 'x-sum': '7, 8' });
  t.equal((await ask('head', 'Constructor: a\r\n')).fields['constructor'], 'a');
  for (const status of ['205 Reset Content', '999 Odd', '100 Continue', '101 Switching Protocols', '199 Odd'])
    t.ok(await ask('status', status), status);
  t.match(await ask('head', ''), { status: 200, body: 'body' }, 'the connection is none the worse for it');
});

t.test('an answer before the end of an upload is complete, and the rest of it not wanted', async (t) => {
  const front = await startHttp2Front(t, (_head, socket) => void socket.write(ok('enough')));
  const stream = start(openSession(front), front, { ':method': 'PUT', origin: 'https://hub.example.org' });
  const answer = finish(stream);
  stream.write('x'.repeat(1000));
  t.match(await answer, { status: 200, body: 'enough', code: constants.NGHTTP2_NO_ERROR });
});

t.test('P11: a client that does not read stops its server, not the other requests', async (t) => {
  let written = 0;
  const front = await startHttp2Front(t, (head, socket) => {
    if (!head.includes('/endless')) return void socket.write(ok('fine'));
    const piece = Buffer.alloc(64 * 1024);
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n');
    const fill = (): void => {
      while (socket.writable && socket.write(piece)) written += piece.length;
    };
    socket.on('drain', fill);
    fill();
  });
  const session = openSession(front);
  const stream = start(session, front, { ':path': '/user/anna/endless' }, true);
  stream.on('error', () => undefined);
  await new Promise((resolve) => stream.once('response', resolve));
  stream.pause();
  t.match(await request(session, front), { status: 200, body: 'fine' });
  for (let before = -1; before !== written; await sleep(200)) before = written;
  t.ok(written < 8 * 2 ** 20, `${written} bytes were taken`);
});

t.test('P11: an answer that its client never takes is given up, and then the connection', async (t) => {
  const limits = { body_timeout_ms: 100, idle_timeout_ms: 100 };
  const front = await startHttp2Front(t, undefined, {}, limits);
  const answer = request(openSession(front, { initialWindowSize: 0 }), front);
  t.match(await answer, { status: 200, body: '', code: constants.NGHTTP2_INTERNAL_ERROR });
  while (front.proxy.worker.report().connections > 0) await sleep(20);
});

t.test('P11: a server that does not read stops its client', async (t) => {
  const front = await startHttp2Front(t, (head, socket) => {
    if (head.startsWith('PUT')) socket.pause();
  });
  const stream = start(openSession(front), front, { ':method': 'PUT', origin: 'https://hub.example.org' });
  stream.on('error', () => undefined);
  const piece = Buffer.alloc(64 * 1024);
  let taken = 0;
  const fill = (): void => {
    while (stream.write(piece, () => (taken += piece.length)));
  };
  stream.on('drain', fill);
  fill();
  for (let before = -1; before !== taken; await sleep(200)) before = taken;
  t.ok(taken < 8 * 2 ** 20, `${taken} bytes were taken`);
});

t.test('draining, requests that come late are answered and the connection ends by itself', async (t) => {
  const front = await startHttp2Front(t);
  const session = openSession(front);
  t.equal((await request(session, front)).status, 200);
  const told = new Promise<number>((resolve) => session.once('goaway', (code: number) => resolve(code)));
  const closed = new Promise((resolve) => session.once('close', resolve));
  const racing = Array.from({ length: 20 }, () => request(session, front));
  front.proxy.worker.drain(60_000);
  racing.push(...Array.from({ length: 20 }, () => request(session, front)));
  for (const answer of await Promise.all(racing)) t.match(answer, { status: 200, code: 0 });
  t.equal(await told, constants.NGHTTP2_NO_ERROR);
  await closed;
  await front.proxy.ended;
});

t.test('draining, an answer under way is finished however long it takes', async (t) => {
  let server: Socket | undefined;
  const front = await startHttp2Front(t, (_head, socket) => {
    server = socket;
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf');
  });
  const session = openSession(front);
  const stream = start(session, front, {}, true);
  const answer = finish(stream);
  await new Promise((resolve) => stream.once('response', resolve));
  front.proxy.worker.drain(60_000);
  await new Promise((resolve) => setTimeout(resolve, 6000));
  server?.write('half');
  t.match(await answer, { status: 200, body: 'halfhalf', code: 0 });
  await front.proxy.ended;
});

t.test('CVE-2023-44487: a client that cancels all it asks for is cut off', async (t) => {
  const front = await startHttp2Front(t, () => undefined);
  const session = openSession(front);
  let sent = 0;
  const flood = (): void => {
    for (let count = 0; count < 20 && !session.destroyed && !session.closed; count++) {
      const stream = start(session, front);
      stream.on('error', () => undefined);
      setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), 2);
      sent++;
    }
    if (!session.destroyed && !session.closed && sent < 2000) setTimeout(flood, 5);
  };
  session.once('connect', flood);
  const { worker, log } = front.proxy;
  while (!log.lines.some(({ fields }) => fields?.['status'] === 429)) await new Promise((done) => setTimeout(done, 20));
  while (worker.report().connections > 0) await new Promise((done) => setTimeout(done, 20));
  t.ok(front.server.connections < 400, `${front.server.connections} requests came through`);
  t.equal((await request(openSession(front), front, { cookie: '' })).status, 401, 'others are served');
});

t.test('more requests at once than are allowed wait for their turn', async (t) => {
  const front = await startHttp2Front(t, (_head, socket) => void setTimeout(() => socket.write(ok('fine')), 20));
  const session = openSession(front);
  await new Promise((resolve) => session.once('remoteSettings', resolve));
  const answers = await Promise.all(Array.from({ length: 300 }, () => request(session, front)));
  t.equal(answers.filter(({ status }) => status === 200).length, 300);
});

t.test('with http2 = false, HTTP/1.1 is agreed on', async (t) => {
  const front = await startHttp2Front(t, undefined, { http2: false });
  const protocol = await new Promise((resolve, reject) => {
    const options = { port: front.proxy.port, ca: certificate.cert, servername: 'hub.example.org' };
    const socket = connectTls({ ...options, ALPNProtocols: ['h2', 'http/1.1'] }, () => {
      resolve(socket.alpnProtocol);
      socket.destroy();
    });
    socket.on('error', reject);
  });
  t.equal(protocol, 'http/1.1');
});
