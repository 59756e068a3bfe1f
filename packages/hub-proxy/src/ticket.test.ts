import { createServer, type Server } from 'node:http';
import { HOUR_MS, SECOND_MS } from '@metalhub/base/time.js';
import t from 'tap';
import { ask, fieldOf, openClient, startProxy, statusOf, type TestProxy } from './testing/proxy.js';
import { makeHubKey, SESSION_ID, sha256, ticketClaims } from './testing/tickets.js';
import { ok, type RecordingUpstream, startUpstream } from './testing/upstream.js';

interface Setup {
  proxy: TestProxy;
  server: RecordingUpstream;
  nowSec: number;
  /** Status of a GET with this ticket. */
  statusWith(claims: Record<string, unknown>): Promise<number>;
}

async function setUp(t: { teardown(end: () => Promise<void>): void }, isSecure = false): Promise<Setup> {
  const proxy = await startProxy({ is_secure: isSecure });
  const server = await startUpstream(proxy.serverPath, (_head, socket) => socket.write(ok('fine')));
  t.teardown(async () => {
    await server.close();
    await proxy.close();
  });
  const nowSec = Math.floor(Date.now() / SECOND_MS);
  return {
    proxy,
    server,
    nowSec,
    statusWith: async (claims) => {
      const ticket = await proxy.key.sign(claims);
      return statusOf(await ask(proxy.port, 'GET /user/anna/api', [`Cookie: metalhub-ticket=${ticket}`]));
    },
  };
}

const PAGE = ['Sec-Fetch-Mode: navigate', 'Accept: text/html'];

t.test('only the hub’s own, live ticket for this server opens it', async (t) => {
  const { proxy, server, nowSec, statusWith } = await setUp(t);
  t.equal(await statusWith(ticketClaims(nowSec)), 200);
  t.equal(await statusWith(ticketClaims(nowSec, { user: 'bob' })), 403);
  t.equal(await statusWith(ticketClaims(nowSec, { server: 'lab2' })), 403);
  t.equal(await statusWith(ticketClaims(nowSec, { path: '/user/bob/' })), 401);
  t.equal(await statusWith(ticketClaims(nowSec, { path: '/user/' })), 401);
  t.equal(await statusWith(ticketClaims(nowSec, { exp: nowSec - 1 })), 401);
  t.equal(await statusWith(ticketClaims(nowSec, { type: 'code' })), 401);
  t.equal(await statusWith(ticketClaims(nowSec, { extra: 1 })), 401);
  const bobs = await proxy.key.sign(ticketClaims(nowSec, { user: 'bob' }));
  const told = await ask(proxy.port, 'GET /user/anna/lab', [...PAGE, `Cookie: metalhub-ticket=${bobs}`]);
  t.equal(statusOf(told), 403);
  t.match(told, /<h1>This server belongs to somebody else<\/h1>[\s\S]*href="\/hub\/home"/, 'people get a page');
  const before = server.connections;
  const stranger = await makeHubKey();
  const good = await proxy.key.sign(ticketClaims(nowSec));
  const [head = '', body = '', signature = ''] = good.split('.');
  const none = Buffer.from(JSON.stringify({ alg: 'none', kid: 'k1' })).toString('base64url');
  const forged = Buffer.from(JSON.stringify(ticketClaims(nowSec, { user: 'root' }))).toString('base64url');
  const bad = [
    await stranger.sign(ticketClaims(nowSec)),
    `${none}.${body}.`,
    `${head}.${forged}.${signature}`,
    `${good}x`,
    'x',
    '',
  ];
  for (const ticket of bad) {
    t.equal(statusOf(await ask(proxy.port, 'GET /user/anna/api', [`Cookie: metalhub-ticket=${ticket}`])), 401);
  }
  t.equal(server.connections, before);
});

t.test('of several tickets the right one counts, as nested servers of one user send them', async (t) => {
  const { proxy, nowSec } = await setUp(t);
  const other = await proxy.key.sign(ticketClaims(nowSec, { path: '/user/anna/lab2/', server: 'lab2' }));
  const right = await proxy.key.sign(ticketClaims(nowSec));
  const answer = await ask(proxy.port, 'GET /user/anna/lab2x', [
    `Cookie: metalhub-ticket=${other}; metalhub-ticket=${right}`,
  ]);
  t.equal(statusOf(answer), 200);
});

t.test('without a ticket a page goes to the hub, everything else is told to log in', async (t) => {
  const { proxy, server } = await setUp(t);
  const page = await ask(proxy.port, 'GET /user/anna/lab/tree/a%20b?x=1&y=2', PAGE);
  t.equal(statusOf(page), 302);
  const cookie =
    /^metalhub-ticket-state=([A-Za-z0-9_-]{43}); Path=\/user\/anna\/; Max-Age=600; HttpOnly; SameSite=Lax$/.exec(
      fieldOf(page, 'set-cookie') ?? '',
    );
  const location = new URL(fieldOf(page, 'location') ?? '', 'http://x');
  t.equal(location.pathname, '/hub/ticket');
  t.equal(location.searchParams.get('path'), '/user/anna/');
  t.equal(location.searchParams.get('state'), sha256(cookie?.[1] ?? ''));
  t.equal(location.searchParams.get('next'), '/user/anna/lab/tree/a%20b?x=1&y=2');
  t.equal(statusOf(await ask(proxy.port, 'GET /user/anna/', ['Accept: text/html'])), 302, 'an old browser');
  for (const fields of [
    ['Sec-Fetch-Mode: cors', 'Accept: text/html'],
    ['Accept: application/json'],
    ['Authorization: token abc'],
  ]) {
    t.equal(statusOf(await ask(proxy.port, 'GET /user/anna/api', fields)), 401);
  }
  t.equal(statusOf(await ask(proxy.port, 'POST /user/anna/api', [...PAGE, 'Content-Length: 0'])), 401);
  const upgrade = ['Upgrade: websocket', 'Sec-WebSocket-Key: eA=='];
  const socket = openClient(
    proxy.port,
    ['GET /user/anna/ws HTTP/1.1', 'Host: localhost', 'Connection: Upgrade', ...upgrade, ...PAGE, '', ''].join('\r\n'),
  );
  t.equal(statusOf(await socket.closed), 401);
  t.equal(server.received(), '');
});

t.test('the address without its last slash leads to the one with it', async (t) => {
  const { proxy } = await setUp(t);
  const answer = await ask(proxy.port, 'GET /user/anna?x=1', PAGE);
  t.equal(fieldOf(answer, 'location'), '/user/anna/?x=1');
});

t.test('a code becomes a ticket once, in the browser that asked for it', async (t) => {
  const { proxy, nowSec } = await setUp(t, true);
  const state = 'S'.repeat(43);
  const redeem = async (changes: Record<string, unknown> = {}, cookies = [`metalhub-ticket-state=${state}`]) => {
    const code = await proxy.key.sign({
      ...ticketClaims(nowSec),
      type: 'code',
      exp: nowSec + 60,
      jti: 'c'.repeat(32),
      state_hash: sha256(state),
      ticket: await proxy.key.sign(ticketClaims(nowSec)),
      next: '/user/anna/lab?x=1',
      ...changes,
    });
    return ask(proxy.port, `GET /user/anna/.metalhub/ticket?code=${code}`, [...PAGE, `Cookie: ${cookies.join('; ')}`]);
  };
  const jti = (digit: string) => ({ jti: digit.repeat(32) });
  t.equal(statusOf(await redeem({ ...jti('1'), exp: nowSec - 1 })), 403, 'expired');
  t.equal(statusOf(await redeem({ ...jti('2'), state_hash: sha256('other') })), 403, 'another browser');
  t.equal(statusOf(await redeem(jti('3'), [])), 403, 'no state cookie');
  t.equal(statusOf(await redeem({ ...jti('4'), path: '/user/bob/' })), 403, 'another server');
  t.equal(statusOf(await redeem({ ...jti('5'), type: 'ticket' })), 403, 'a ticket is no code');
  t.equal(statusOf(await redeem({ ...jti('6'), ticket: 'x' })), 403, 'a bad ticket inside');
  const bobs = await proxy.key.sign(ticketClaims(nowSec, { user: 'bob' }));
  t.equal(statusOf(await redeem({ ...jti('7'), ticket: bobs })), 403, 'somebody else’s ticket inside');
  const answer = await redeem(jti('8'));
  t.equal(statusOf(answer), 302);
  t.equal(fieldOf(answer, 'location'), '/user/anna/lab?x=1');
  t.match(
    answer,
    /Set-Cookie: metalhub-ticket=[^;]+; Path=\/user\/anna\/; Max-Age=\d+; HttpOnly; SameSite=Lax; Secure\r\n/,
  );
  t.match(answer, /Set-Cookie: metalhub-ticket-state=; Path=\/user\/anna\/; Max-Age=0;/);
  t.equal(statusOf(await redeem(jti('8'))), 403, 'used before');
  for (const [index, next] of [
    '/user/bob/',
    '/hub/logout',
    '//evil.example/',
    '/user/anna/../bob',
    '/user/anna/\\x',
    '/user/anna/.metalhub/ticket',
  ].entries()) {
    const safe = await redeem({ jti: `${String(index).repeat(31)}e`, next });
    t.equal(fieldOf(safe, 'location'), '/user/anna/', next);
  }
});

t.test('below .metalhub there is nothing else, and the server never sees it', async (t) => {
  const { proxy, server, nowSec } = await setUp(t);
  const ticket = await proxy.key.sign(ticketClaims(nowSec));
  t.equal(statusOf(await ask(proxy.port, 'GET /user/anna/.metalhub/x', [`Cookie: metalhub-ticket=${ticket}`])), 404);
  t.equal(
    statusOf(
      await ask(proxy.port, 'POST /user/anna/.metalhub/ticket', [
        `Cookie: metalhub-ticket=${ticket}`,
        'Content-Length: 0',
      ]),
    ),
    405,
  );
  t.equal(server.received(), '');
});

t.test('P08: what changes something must come from a page of this site', async (t) => {
  const { proxy, server, nowSec } = await setUp(t);
  const cookie = `Cookie: metalhub-ticket=${await proxy.key.sign(ticketClaims(nowSec))}`;
  const own = `http://127.0.0.1:${proxy.port}`;
  const refused = [
    [],
    ['Origin: null'],
    ['Origin: http://evil.example'],
    [`Origin: ${own}.evil.example`],
    ['Origin: http://hub.example.org.evil.com'],
    ['Origin: http://bob.hub.example.org'],
    [`Origin: https://127.0.0.1:${proxy.port}`],
    ['Origin: http://127.0.0.1'],
    [`Origin: ${own}/`],
    [`Origin: ${own}`, 'Sec-Fetch-Site: same-site'],
    ['Sec-Fetch-Site: cross-site'],
    ['Sec-Fetch-Site: same-site'],
  ];
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: eA=='];
  for (const fields of refused) {
    t.equal(
      statusOf(await ask(proxy.port, 'POST /user/anna/x', [cookie, 'Content-Length: 0', ...fields])),
      403,
      fields.join(' '),
    );
    t.equal(statusOf(await ask(proxy.port, 'DELETE /user/anna/x', [cookie, ...fields])), 403, fields.join(' '));
    const head = ['GET /user/anna/ws HTTP/1.1', `Host: 127.0.0.1:${proxy.port}`, cookie, ...upgrade, ...fields, '', ''];
    t.equal(statusOf(await openClient(proxy.port, head.join('\r\n')).closed), 403, `WebSocket, ${fields.join(' ')}`);
  }
  t.equal(server.received(), '');
  for (const fields of [
    [`Origin: ${own}`],
    ['Origin: http://hub.example.org'],
    ['Sec-Fetch-Site: same-origin'],
    [`Origin: ${own}`, 'Sec-Fetch-Site: same-origin'],
  ]) {
    t.equal(
      statusOf(await ask(proxy.port, 'POST /user/anna/x', [cookie, 'Content-Length: 0', ...fields])),
      200,
      fields.join(' '),
    );
  }
});

t.test('a revoked session is refused at once, its WebSockets and downloads end', async (t) => {
  const proxy = await startProxy();
  const server = await startUpstream(proxy.serverPath, (head, socket) => {
    if (head.includes('/ws')) {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
      );
    } else socket.write(head.includes('/file') ? 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun' : ok('fine'));
  });
  t.teardown(async () => {
    await server.close();
    await proxy.close();
  });
  const nowSec = Math.floor(Date.now() / SECOND_MS);
  const cookie = `Cookie: metalhub-ticket=${await proxy.key.sign(ticketClaims(nowSec))}`;
  const origin = `Origin: http://localhost:${proxy.port}`;
  const head = [`Host: localhost:${proxy.port}`, cookie, origin];
  const socket = openClient(
    proxy.port,
    [
      'GET /user/anna/ws HTTP/1.1',
      ...head,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Key: eA==',
      '',
      '',
    ].join('\r\n'),
  );
  await socket.waitFor('101');
  const download = openClient(proxy.port, ['GET /user/anna/file HTTP/1.1', ...head, '', ''].join('\r\n'));
  await download.waitFor('begun');
  await proxy.setState({ revocations: [{ session_id: SESSION_ID, until: nowSec + 3600 }] });
  t.match(await socket.closed, /\x88\x02\x03\xf0$/, 'closed with code 1008');
  await download.closed;
  t.equal(statusOf(await ask(proxy.port, 'GET /user/anna/api', [cookie])), 401);
  proxy.clock.offsetMs = 2 * HOUR_MS;
  t.equal(statusOf(await ask(proxy.port, 'GET /user/anna/api', [cookie])), 200, 'a revocation ends when it says');
});

t.test('R08: the clock decides about expiry, forwards and back', async (t) => {
  const { proxy, nowSec, statusWith } = await setUp(t);
  proxy.clock.offsetMs = 24 * HOUR_MS;
  t.equal(await statusWith(ticketClaims(nowSec)), 401);
  proxy.clock.offsetMs = -24 * HOUR_MS;
  t.equal(await statusWith(ticketClaims(nowSec)), 200);
});

t.test('a key that is taken away ends the tickets signed with it', async (t) => {
  const { proxy, nowSec, statusWith } = await setUp(t);
  t.equal(await statusWith(ticketClaims(nowSec)), 200);
  const next = await makeHubKey('k2');
  await proxy.setState({ keys: [next.publicKey] });
  t.equal(await statusWith(ticketClaims(nowSec)), 401);
});

t.test('a ticket past half its life is renewed in the background, and only then', async (t) => {
  const { proxy, nowSec } = await setUp(t);
  const renewals: { url: string | undefined; proxy: unknown; body: string }[] = [];
  let answered: () => void = () => undefined;
  const hub: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      renewals.push({ url: request.url, proxy: request.headers['x-metalhub-proxy'], body });
      response.setHeader('Connection', 'close');
      response.end(JSON.stringify({ ticket: 'renewed.ticket.here' }), () => answered());
    });
  });
  const old = await proxy.key.sign(ticketClaims(nowSec));
  const get = () => ask(proxy.port, 'GET /user/anna/api', [`Cookie: metalhub-ticket=${old}`]);
  t.equal(fieldOf(await get(), 'set-cookie'), undefined);
  proxy.clock.offsetMs = 7 * HOUR_MS;
  t.equal(statusOf(await get()), 200, 'while the hub is down nothing happens');
  await new Promise<void>((resolve) => void hub.listen(proxy.hubPath, resolve));
  t.teardown(() => new Promise((resolve) => hub.close(() => resolve(undefined))));
  proxy.clock.offsetMs = 8 * HOUR_MS;
  const done = new Promise<void>((resolve) => {
    answered = resolve;
  });
  t.equal(fieldOf(await get(), 'set-cookie'), undefined, 'no request waits for it');
  await done;
  let cookie: string | undefined;
  while (cookie === undefined) cookie = fieldOf(await get(), 'set-cookie');
  t.match(
    cookie,
    /^metalhub-ticket=renewed\.ticket\.here; Path=\/user\/anna\/; Max-Age=43200; HttpOnly; SameSite=Lax$/,
  );
  t.same(renewals, [{ url: '/hub/internal/ticket-renew', proxy: '1', body: JSON.stringify({ ticket: old }) }]);
});

t.test('when the server’s socket is gone its visitor gets a page with the way to the hub', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const ticket = await proxy.key.sign(ticketClaims(Math.floor(Date.now() / SECOND_MS)));
  const page = await ask(proxy.port, 'GET /user/anna/lab', [...PAGE, `Cookie: metalhub-ticket=${ticket}`]);
  t.equal(statusOf(page), 503);
  t.match(page, 'href="/hub/home"');
  t.match(fieldOf(page, 'content-security-policy') ?? '', "default-src 'none'");
  const json = await ask(proxy.port, 'GET /user/anna/api', [`Cookie: metalhub-ticket=${ticket}`]);
  t.match(json, '{"status":503,"message":"the server is not running"}');
});
