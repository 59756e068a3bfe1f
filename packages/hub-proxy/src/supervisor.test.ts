import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SECOND_MS, systemClock } from '@metalhub/base/time.js';
import t from 'tap';
import { createControlApi } from './control-api.js';
import type { Settings } from './settings.js';
import { StateStore } from './state-store.js';
import { Supervisor } from './supervisor.js';
import { formatTarget } from './target.js';
import { makeListenFd } from './testing/listen-fd.js';
import { ask, openClient, statusOf, TestLog } from './testing/proxy.js';
import { makeHubKey, SESSION_ID, ticketClaims } from './testing/tickets.js';
import { ok, startUpstream } from './testing/upstream.js';

// Of the whole file: half a minute is not enough on a busy machine, and one that hangs is waited for.
t.setTimeout(180_000);

// The workers are processes of their own, from the compiled files.
const WORKER = fileURLToPath(new URL('./worker-main.js', import.meta.url));

interface ControlAnswer {
  status: number;
  body: string;
}

/** A supervisor with its control API, all in one directory. A second one on the same directory is its successor. */
async function startSupervisor(directory: string, listenFd: number, maxGenerations = 64) {
  const log = new TestLog();
  const allowed = { hubSocketPath: join(directory, 'hub.sock'), serversDirectory: directory };
  mkdirSync(join(directory, 'state'), { recursive: true });
  const store = StateStore.open(join(directory, 'state', 'state.json'), log);
  const settings: Settings = {
    hosts: ['127.0.0.1', 'localhost'],
    public_origin: 'http://localhost',
    public_host: 'localhost',
    is_secure: false,
    drain_timeout_ms: 60_000,
    hub_socket_path: allowed.hubSocketPath,
  };
  const limits = { settings, maxGenerations };
  const supervisor = new Supervisor(
    {
      workerProgram: WORKER,
      generationDirectory: join(directory, 'gen'),
      listenFds: [listenFd],
      clock: systemClock,
      log,
      getState: () => store.state,
    },
    limits,
  );
  await supervisor.start();
  const api = createControlApi({ store, supervisor, allowed, log, clock: systemClock, version: '0.0.0' });
  const control = join(directory, 'control.sock');
  await api.listen({ path: control });
  return {
    supervisor,
    limits,
    log,
    target: (name: string) => formatTarget({ kind: 'unix', path: join(directory, name) }),
    call: (method: string, path: string, body?: unknown) => call(control, method, path, body),
    leave: async () => {
      supervisor.leave();
      await api.close();
    },
  };
}

function call(socketPath: string, method: string, path: string, body?: unknown): Promise<ControlAnswer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const outgoing = request({ socketPath, method, path, agent: false, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => (text += piece));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text }));
    });
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n';

async function setUp(t: { teardown(end: () => Promise<void> | void): void }) {
  const directory = mkdtempSync(join(tmpdir(), 'supervisor-'));
  const listening = makeListenFd();
  const server = await startUpstream(join(directory, 'anna.sock'), (head, socket) => {
    if (!head.includes('/ws')) return void socket.write(ok('fine'));
    socket.write(SWITCH);
    socket.on('data', (chunk) => socket.write(chunk));
  });
  const key = await makeHubKey();
  const nowSec = Math.floor(Date.now() / SECOND_MS);
  const cookie = `Cookie: metalhub-ticket=${await key.sign(ticketClaims(nowSec))}`;
  const origin = `Origin: http://127.0.0.1:${listening.port}`;
  t.teardown(async () => {
    await server.close();
    listening.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const openTunnel = async () => {
    const head = [
      'GET /user/anna/ws HTTP/1.1',
      `Host: 127.0.0.1:${listening.port}`,
      cookie,
      origin,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Key: eA==',
      '',
      '',
    ];
    const client = openClient(listening.port, head.join('\r\n'));
    await client.waitFor('101');
    return client;
  };
  const get = async () => statusOf(await ask(listening.port, 'GET /user/anna/x', [cookie]));
  return { directory, listening, key, nowSec, openTunnel, get };
}

t.test('R01 R04: a successor takes over without a gap, and reaches the tunnels of earlier generations', async (t) => {
  const { directory, listening, key, nowSec, openTunnel, get } = await setUp(t);
  const first = await startSupervisor(directory, listening.fd);
  const route = { target: first.target('anna.sock'), auth: 'ticket', user: 'anna', server: '', token: 't'.repeat(43) };
  t.equal((await first.call('PUT', '/api/keys', { keys: [key.publicKey] })).status, 204);
  t.equal((await first.call('POST', '/api/routes/user/anna', route)).status, 201);
  t.equal(await get(), 200);
  const tunnel = await openTunnel();
  const kept = await openTunnel();
  await first.leave();
  t.equal(await get(), 200, 'while there is no supervisor the worker goes on accepting');
  writeFileSync(join(directory, 'gen', '99.sock.tmp'), '');
  const second = await startSupervisor(directory, listening.fd);
  t.equal(await get(), 200);
  const status = JSON.parse((await second.call('GET', '/api/status')).body);
  t.match(status.generations, [
    { generation: 2, draining: false },
    { generation: 1, draining: true, tunnels: 2 },
  ]);
  tunnel.send('\x81\x02hi');
  await tunnel.waitFor('\x81\x02hi');
  t.equal((await second.call('POST', '/api/routes/user/anna/', route)).status, 201);
  kept.send('\x81\x02ho');
  await kept.waitFor('\x81\x02ho');
  t.equal((await second.call('POST', '/api/revocations', { session_id: SESSION_ID, until: nowSec + 60 })).status, 204);
  t.match(await tunnel.closed, /\x88\x02\x03\xf0$/, 'revoked in the old generation');
  t.equal(await get(), 401, 'and in the new one');
  await second.supervisor.endAll();
  await second.leave();
  t.same(readdirSync(join(directory, 'gen')), ['99.sock.tmp']);
});

t.test('a listening socket is given back at once, and what is open goes on', async (t) => {
  const { directory, listening, key, openTunnel, get } = await setUp(t);
  const first = await startSupervisor(directory, listening.fd);
  await first.call('PUT', '/api/keys', { keys: [key.publicKey] });
  const route = { target: first.target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
  await first.call('POST', '/api/routes/user/anna', route);
  const tunnel = await openTunnel();
  await first.supervisor.drainAll();
  t.match(await first.supervisor.reports(), [{ draining: true, tunnels: 1 }]);
  await first.leave();
  const second = await startSupervisor(directory, listening.fd);
  t.equal(await get(), 200);
  tunnel.send('\x81\x02hi');
  await tunnel.waitFor('\x81\x02hi');
  await second.supervisor.endAll();
  await second.leave();
});

t.test(
  'a generation that does not answer for a while is found again; the socket of a dead one is removed',
  async (t) => {
    const { directory, listening, key, openTunnel } = await setUp(t);
    const gen = join(directory, 'gen');
    const first = await startSupervisor(directory, listening.fd);
    await first.call('PUT', '/api/keys', { keys: [key.publicKey] });
    const route = { target: first.target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
    await first.call('POST', '/api/routes/user/anna', route);
    const tunnel = await openTunnel();
    await first.leave();
    const real = join(gen, 'real');
    renameSync(join(gen, '1.sock'), real);
    let isDeaf = true;
    const relay = createServer((socket) => {
      if (isDeaf) return void socket.destroy();
      const onward = connect(real);
      socket.pipe(onward).pipe(socket);
      for (const end of [socket, onward]) end.on('error', () => end.destroy());
    });
    await new Promise<void>((resolve) => relay.listen(join(gen, '1.sock'), resolve));
    t.teardown(() => void relay.close());
    writeFileSync(join(gen, '2.sock'), '');
    const second = await startSupervisor(directory, listening.fd);
    const generations = async () => JSON.parse((await second.call('GET', '/api/status')).body).generations;
    t.match(await generations(), [{ generation: 3 }]);
    t.same(
      readdirSync(gen).sort(),
      ['1.format', '1.sock', '3.format', '3.sock', 'real'],
      'only the socket without a listener is gone',
    );
    isDeaf = false;
    await second.supervisor.adoptMissed();
    t.match(await generations(), [
      { generation: 3, draining: false },
      { generation: 1, draining: true, tunnels: 1 },
    ]);
    await second.supervisor.endAll();
    t.match(await tunnel.closed, /\x88\x02\x03\xe9$/);
    await second.leave();
  },
);

t.test('R03: a killed worker is replaced at once, connections wait for it', async (t) => {
  const { directory, listening, get } = await setUp(t);
  const { supervisor, call: control, leave } = await startSupervisor(directory, listening.fd);
  const before = JSON.parse((await control('GET', '/api/status')).body);
  process.kill(before.generations[0].pid, 'SIGKILL');
  t.equal(await get(), 503, 'the hub is away, the proxy is not');
  const after = JSON.parse((await control('GET', '/api/status')).body);
  t.match(after.generations, [{ generation: 2, draining: false }]);
  await supervisor.endAll();
  await leave();
});

t.test(
  'R03: a worker that hangs is killed and replaced; an old one that hangs is found again when it goes on',
  async (t) => {
    const { directory, listening, key, openTunnel, get } = await setUp(t);
    const { supervisor, limits, call: control, target, leave } = await startSupervisor(directory, listening.fd);
    await control('PUT', '/api/keys', { keys: [key.publicKey] });
    await control('POST', '/api/routes/user/anna', {
      target: target('anna.sock'),
      auth: 'ticket',
      user: 'anna',
      server: '',
    });
    const tunnel = await openTunnel();
    await supervisor.replace(limits);
    const [hung, old] = await supervisor.reports();
    if (hung === undefined || old === undefined) throw new Error('two generations were expected');
    for (const { pid } of [hung, old]) process.kill(pid, 'SIGSTOP');
    t.same(await supervisor.reports(), [], 'both are asked, neither answers');
    t.equal(await get(), 200, 'the next one serves');
    // A stopped process that is continued would go on accepting with the routes and revocations of long ago.
    t.ok(await isGone(hung.pid), 'the one that accepted is dead');
    process.kill(old.pid, 'SIGCONT');
    await supervisor.adoptMissed();
    t.match(await supervisor.reports(), [
      { generation: 3, draining: false },
      { generation: 1, draining: true, tunnels: 1 },
    ]);
    tunnel.send('\x81\x02hi');
    await tunnel.waitFor('\x81\x02hi');
    await supervisor.endAll();
    await leave();
  },
);

/** Whether the process ends within a second. */
async function isGone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      process.kill(pid, 0);
    } catch {
      return true;
    }
    await sleep(20);
  }
  process.kill(pid, 'SIGKILL');
  return false;
}

t.test(
  'a new generation on reload; the one with the fewest connections ends first when there are too many',
  async (t) => {
    const { directory, listening, key, openTunnel } = await setUp(t);
    const { supervisor, limits, call: control, target, leave } = await startSupervisor(directory, listening.fd, 2);
    await control('PUT', '/api/keys', { keys: [key.publicKey] });
    await control('POST', '/api/routes/user/anna', {
      target: target('anna.sock'),
      auth: 'ticket',
      user: 'anna',
      server: '',
    });
    const two = await Promise.all([openTunnel(), openTunnel()]);
    await supervisor.replace(limits);
    const one = await openTunnel();
    await supervisor.replace(limits);
    await supervisor.endSurplus();
    t.match(await one.closed, /\x88\x02\x03\xe9$/);
    for (const tunnel of two) t.notOk(tunnel.socket.destroyed);
    await supervisor.endAll();
    for (const tunnel of two) t.match(await tunnel.closed, /\x88\x02\x03\xe9$/);
    await leave();
  },
);

t.test('the control API says what is wrong, never a token, and keeps what it was told', async (t) => {
  const { directory, listening, key } = await setUp(t);
  const { supervisor, call: control, target, leave } = await startSupervisor(directory, listening.fd);
  const route = { target: target('anna.sock'), auth: 'ticket', user: 'anna', server: '', token: 't'.repeat(43) };
  const statusAfter = async (method: string, path: string, body?: unknown) =>
    (await control(method, path, body)).status;
  t.equal(await statusAfter('POST', '/api/routes/user/anna%40x', route), 201);
  t.equal(await statusAfter('POST', '/api/routes/user/b', { ...route, target: 'http://127.0.0.1:1' }), 400);
  t.equal(await statusAfter('POST', '/api/routes/user/b', { ...route, unknown: 1 }), 400);
  t.equal(await statusAfter('POST', '/api/routes/user/b', { ...route, token: 'short' }), 400);
  t.equal(await statusAfter('POST', '/api/routes/user/../b', route), 400);
  t.equal(await statusAfter('POST', '/api/routes/', route), 400);
  t.equal(await statusAfter('DELETE', '/api/routes/'), 400);
  t.equal(await statusAfter('DELETE', '/api/routes/user/nobody'), 404);
  t.equal(await statusAfter('PUT', '/api/keys', { keys: [{ ...key.publicKey, d: 'private' }] }), 400);
  t.equal(await statusAfter('POST', '/api/revocations', { session_id: 'x', until: 1 }), 400);
  t.equal(await statusAfter('POST', '/api/revocations', { revocations: [{ session_id: 'x', until: 1 }] }), 400);
  const revoked = (length: number) =>
    Array.from({ length }, (_, index) => ({ session_id: index.toString(16).padStart(32, '0'), until: 2 ** 33 }));
  t.equal(await statusAfter('POST', '/api/revocations', { revocations: revoked(20_001) }), 400);
  t.equal(await statusAfter('POST', '/api/revocations', { revocations: revoked(20_000) }), 204);
  const stored = () => statSync(join(directory, 'state', 'state.json')).ino;
  const before = stored();
  t.equal(await statusAfter('POST', '/api/revocations', { revocations: revoked(20_000) }), 204);
  t.equal(await statusAfter('PUT', '/api/keys', { keys: [] }), 204);
  t.equal(stored(), before, 'what is known already is not written again');
  t.equal(await statusAfter('GET', '/api/nothing'), 404);
  const routes = await control('GET', '/api/routes');
  t.notMatch(routes.body, 'ttt');
  t.match(JSON.parse(routes.body), {
    '/': { auth: 'upstream' },
    '/user/anna%40x/': { target: target('anna.sock'), auth: 'ticket', user: 'anna', server: '', invocation_id: null },
  });
  t.equal(await statusAfter('DELETE', '/api/routes/user/anna%40x/'), 204);
  rmSync(join(directory, 'state'), { recursive: true });
  const full = await control('POST', '/api/routes/user/anna', route);
  t.equal(full.status, 503, 'R07: what cannot be stored is refused with the reason');
  t.match(full.body, 'MH_ERR_PROXY_STATE');
  await supervisor.endAll();
  await leave();
});

t.test('R07: with a full disk a logout still ends what is open, and a removed route leads nowhere', async (t) => {
  const { directory, listening, key, nowSec, openTunnel, get } = await setUp(t);
  const { supervisor, call: control, target, leave } = await startSupervisor(directory, listening.fd);
  const route = { target: target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
  await control('PUT', '/api/keys', { keys: [key.publicKey] });
  await control('POST', '/api/routes/user/anna', route);
  const tunnel = await openTunnel();
  rmSync(join(directory, 'state'), { recursive: true });
  const revocation = { session_id: SESSION_ID, until: nowSec + 60 };
  t.equal((await control('POST', '/api/revocations', revocation)).status, 503, 'the hub is told, and will try again');
  t.match(await tunnel.closed, /\x88\x02\x03\xf0$/);
  t.equal(await get(), 401);
  t.equal((await control('DELETE', '/api/routes/user/anna')).status, 503);
  t.equal(await get(), 503, 'the hub answers for it, which is away');
  mkdirSync(join(directory, 'state'));
  t.equal((await control('POST', '/api/revocations', revocation)).status, 204);
  const { revocations, routes } = JSON.parse(readFileSync(join(directory, 'state', 'state.json'), 'utf8'));
  t.match({ revocations, routes }, { revocations: [{ session_id: SESSION_ID }], routes: [] }, 'both are stored now');
  await supervisor.endAll();
  await leave();
});
