import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { ask } from './testing/proxy.js';
import { setUp, startSupervisor, until } from './testing/supervisor.js';
import { SESSION_ID } from './testing/tickets.js';

// Of the whole file: half a minute is not enough on a busy machine, and one that hangs is waited for.
t.setTimeout(600_000);

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

t.test(
  'a new generation on reload; the one with the fewest connections ends first when there are too many',
  async (t) => {
    const { directory, listening, key, openTunnel } = await setUp(t);
    const {
      supervisor,
      limits,
      call: control,
      target,
      leave,
    } = await startSupervisor(directory, listening.fd, { maxGenerations: 2 });
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

t.test(
  'R04: with three generations alive, activity and counts come from the oldest, and a logout reaches it',
  async (t) => {
    const { directory, listening, key, nowSec, openTunnel } = await setUp(t);
    const { supervisor, limits, call: control, target, leave } = await startSupervisor(directory, listening.fd);
    await control('PUT', '/api/keys', { keys: [key.publicKey] });
    const route = { target: target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
    await control('POST', '/api/routes/user/anna', route);
    const tunnels = [await openTunnel()];
    for (let reload = 0; reload < 2; reload++) {
      await supervisor.replace(limits);
      tunnels.push(await openTunnel());
    }
    const [oldest, middle, newest] = tunnels as [(typeof tunnels)[0], (typeof tunnels)[0], (typeof tunnels)[0]];
    const status = JSON.parse((await control('GET', '/api/status')).body);
    t.match(status.generations, [
      { generation: 3, draining: false, tunnels: 1 },
      { generation: 2, draining: true, tunnels: 1 },
      { generation: 1, draining: true, tunnels: 1, deadline: /Z$/, memory_bytes: Number },
    ]);
    const { deadline, draining_since: since } = status.generations[2];
    t.equal(Date.parse(deadline) - Date.parse(since), 60_000, 'drain_timeout');
    const lastActivity = async () =>
      Date.parse(JSON.parse((await control('GET', '/api/routes')).body)['/user/anna'].last_activity);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const beforeMs = Date.now();
    t.ok((await lastActivity()) < beforeMs);
    oldest?.send('\x81\x02hi');
    await oldest?.waitFor('\x81\x02hi');
    t.ok((await lastActivity()) >= beforeMs, 'a message in the oldest generation');
    t.equal((await control('POST', '/api/revocations', { session_id: SESSION_ID, until: nowSec + 60 })).status, 204);
    for (const tunnel of [oldest, middle, newest]) t.match(await tunnel?.closed, /\x88\x02\x03\xf0$/);
    await supervisor.endAll();
    await leave();
  },
);

t.test(
  'earlier generations end before their time when all together use too much memory, the newest never',
  async (t) => {
    const { directory, listening, key, openTunnel, get } = await setUp(t);
    const { supervisor, limits, call: control, target, leave } = await startSupervisor(directory, listening.fd);
    await control('PUT', '/api/keys', { keys: [key.publicKey] });
    const route = { target: target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
    await control('POST', '/api/routes/user/anna', route);
    const earlier = await openTunnel();
    await supervisor.replace(limits);
    await supervisor.endSurplus();
    t.notOk(earlier.socket.destroyed, 'there is room');
    const newest = await openTunnel();
    await supervisor.replace({ ...limits, maxMemoryBytes: 1 });
    const last = await openTunnel();
    await supervisor.endSurplus();
    for (const tunnel of [earlier, newest]) t.match(await tunnel.closed, /\x88\x02\x03\xe9$/);
    await supervisor.endSurplus();
    t.equal(await get(), 200);
    t.notOk(last.socket.destroyed);
    await supervisor.endAll();
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
  const stored = () => statSync(join(directory, 'state', 'state.journal')).mtimeMs;
  const before = stored();
  t.equal(await statusAfter('POST', '/api/revocations', { revocations: revoked(20_000) }), 204);
  t.equal(await statusAfter('PUT', '/api/keys', { keys: [] }), 204);
  t.equal(stored(), before, 'what is known already is not written again');
  t.equal(await statusAfter('GET', '/api/nothing'), 404);
  const routes = await control('GET', '/api/routes?exact=1');
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
  const { revocations, routes } = JSON.parse(readFileSync(join(directory, 'state', 'state.json'), 'utf8')).state;
  t.match({ revocations, routes }, { revocations: [{ session_id: SESSION_ID }], routes: [] }, 'both are stored now');
  await supervisor.endAll();
  await leave();
});

for (const basePath of ['', '/jupyter']) {
  t.test(`the activity of the hub's own route at ${basePath}/ is known`, async (t) => {
    const { directory, listening } = await setUp(t);
    const { supervisor, leave } = await startSupervisor(directory, listening.fd, { basePath });
    await supervisor.reports();
    t.equal(supervisor.findActivity(`${basePath}/`), undefined);
    await ask(listening.port, `GET ${basePath}/hub/health`);
    await supervisor.reports();
    t.ok(supervisor.findActivity(`${basePath}/`), 'also while the hub is away');
    await supervisor.endAll();
    await leave();
  });
}

t.test(
  'when a route was last used is known after a restart, though the generation that served it has ended',
  async (t) => {
    const { directory, listening, key, get } = await setUp(t);
    const first = await startSupervisor(directory, listening.fd);
    await first.call('PUT', '/api/keys', { keys: [key.publicKey] });
    const route = { target: first.target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
    await first.call('POST', '/api/routes/user/anna', route);
    const beforeMs = Date.now();
    t.equal(await get(), 200);
    const usedMs = Date.now();
    await first.leave();
    const second = await startSupervisor(directory, listening.fd);
    await until(async () => JSON.parse((await second.call('GET', '/api/status')).body).generations.length === 1);
    t.same([first.isServed, second.isServed], [false, true], 'nobody waits for the start of the second');
    await second.leave();
    const third = await startSupervisor(directory, listening.fd);
    const { last_activity } = JSON.parse((await third.call('GET', '/api/routes')).body)['/user/anna'];
    t.ok(Date.parse(last_activity) >= beforeMs && Date.parse(last_activity) <= usedMs, last_activity);
    await third.supervisor.endAll();
    await third.leave();
  },
);
