import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { EMPTY_STATE } from './proxy-state.js';
import { formatStored } from './state-format.js';
import { isThere, setUp, startSupervisor, until, WORKER } from './testing/supervisor.js';
import { SESSION_ID } from './testing/tickets.js';

// Of the whole file: half a minute is not enough on a busy machine, and one that hangs is waited for.
t.setTimeout(600_000);

t.test('R03: a killed worker is replaced at once, connections wait for it', async (t) => {
  const { directory, listening, get } = await setUp(t);
  const { supervisor, call: control, leave } = await startSupervisor(directory, listening.fd);
  const before = JSON.parse((await control('GET', '/api/status')).body);
  process.kill(before.generations[0].pid, 'SIGKILL');
  t.equal(await get(), 503, 'the hub is away, the proxy is not');
  const after = JSON.parse((await control('GET', '/api/status')).body);
  t.match(after.generations, [{ generation: 1, draining: false }]);
  t.not(after.generations[0].pid, before.generations[0].pid);
  await supervisor.endAll();
  await leave();
});

t.test(
  'R03: with two workers the other one goes on, and the one that died is replaced in its generation',
  async (t) => {
    const { directory, listening, get } = await setUp(t);
    const { supervisor, call: control, leave } = await startSupervisor(directory, listening.fd, { workers: 2 });
    const generations = async () => JSON.parse((await control('GET', '/api/status')).body).generations;
    const before = await generations();
    t.match(before, [{ generation: 1 }, { generation: 1 }]);
    t.equal(before.length, 2);
    process.kill(before[0].pid, 'SIGKILL');
    t.equal(await get(), 503, 'the hub is away, the proxy is not');
    while ((await generations()).length < 2) await new Promise((resolve) => setTimeout(resolve, 50));
    const after = await generations();
    t.match(after, [
      { generation: 1, draining: false },
      { generation: 1, draining: false },
    ]);
    t.notOk(after.some(({ pid }: { pid: number }) => pid === before[0].pid));
    const sockets = () => readdirSync(join(directory, 'gen')).filter((name) => name.endsWith('.sock'));
    await until(async () => sockets().length === 2);
    await supervisor.endAll();
    await leave();
    t.same(readdirSync(join(directory, 'gen')), []);
  },
);

t.test('R03: workers that hang are replaced, and keep their connections when they go on', async (t) => {
  const { directory, listening, key, openTunnel, get } = await setUp(t);
  const { supervisor, limits, call: control, target, leave } = await startSupervisor(directory, listening.fd);
  await control('PUT', '/api/keys', { keys: [key.publicKey] });
  const route = { target: target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
  await control('POST', '/api/routes/user/anna', route);
  const tunnels = [await openTunnel()];
  await supervisor.replace(limits);
  tunnels.push(await openTunnel());
  const pids = (await supervisor.reports()).map(({ pid }) => pid);
  t.equal(pids.length, 2);
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  t.teardown(() => {
    for (const pid of pids.filter(isThere)) process.kill(pid, 'SIGKILL');
  });
  t.same(await supervisor.reports(), [], 'both are asked, neither answers');
  t.equal(await get(), 200, 'the next one serves');
  for (const pid of pids) process.kill(pid, 'SIGCONT');
  await until(async () => {
    await supervisor.adoptMissed();
    return (await supervisor.reports()).length === 3;
  });
  t.match(await supervisor.reports(), [
    { generation: 2, draining: false },
    { generation: 2, draining: true, tunnels: 1, pid: pids[0] },
    { generation: 1, draining: true, tunnels: 1, pid: pids[1] },
  ]);
  for (const tunnel of tunnels) {
    tunnel.send('\x81\x02hi');
    await tunnel.waitFor('\x81\x02hi');
  }
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  await supervisor.endAll();
  await leave();
  // A child that has ended is there until it is looked at.
  await until(async () => !pids.some(isThere));
  t.pass('a stop also ends those that hang');
});

t.test('R03: a worker that its supervisor has given up stops to accept by itself', async (t) => {
  const { directory, listening } = await setUp(t);
  const gen = join(directory, 'gen');
  const { supervisor, leave } = await startSupervisor(directory, listening.fd);
  const [first] = await supervisor.reports();
  const pid = first?.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  renameSync(join(gen, '1.sock'), join(gen, 'real'));
  t.same(await supervisor.reports(), []);
  process.kill(pid, 'SIGCONT');
  // Nobody can tell it anything any more; without a connection to serve it ends.
  await until(async () => !isThere(pid));
  await until(async () => (await supervisor.reports()).length === 1);
  t.match(await supervisor.reports(), [{ generation: 1, draining: false }]);
  await supervisor.endAll();
  await leave();
});

t.test(
  'R07: a worker that cannot make its socket says why; the reload fails, and the former one goes on',
  async (t) => {
    const { directory, listening, get } = await setUp(t);
    const { supervisor, limits, leave } = await startSupervisor(directory, listening.fd);
    const before = await supervisor.reports();
    const taken = join(directory, 'gen', '2.sock');
    mkdirSync(taken);
    await t.rejects(supervisor.replace(limits), {
      code: 'MH_ERR_WIRE_UNREACHABLE',
      details: { reason: 'it ended at its start (1)' },
    });
    t.match(await supervisor.reports(), [{ generation: 1, draining: false, pid: before[0]?.pid }]);
    t.equal(await get(), 503, 'the hub is away, the proxy is not');
    const { stderr } = spawnSync(process.execPath, [WORKER, '2', taken, '0'], {
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    t.match(stderr, /a worker cannot listen to its supervisor.*EADDRINUSE/);
    rmdirSync(taken);
    await supervisor.replace(limits);
    await supervisor.endAll();
    await leave();
  },
);

t.test('R07: a logout reaches workers that know a newer state than a supervisor whose files are lost', async (t) => {
  const { directory, listening, key, nowSec, openTunnel, get } = await setUp(t);
  mkdirSync(join(directory, 'state'));
  // Far above the time, from which versions go on.
  writeFileSync(join(directory, 'state', 'state.json'), formatStored({ ...EMPTY_STATE, version: 2 ** 45 }));
  const first = await startSupervisor(directory, listening.fd);
  await first.call('PUT', '/api/keys', { keys: [key.publicKey] });
  const route = { target: first.target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
  await first.call('POST', '/api/routes/user/anna', route);
  await first.leave();
  const tunnel = await openTunnel();
  rmSync(join(directory, 'state'), { recursive: true });
  const second = await startSupervisor(directory, listening.fd);
  t.match(await tunnel.closed, /\x88\x02\x03\xe9$/, 'without a route there is no tunnel');
  await second.call('PUT', '/api/keys', { keys: [key.publicKey] });
  await second.call('POST', '/api/routes/user/anna', route);
  t.equal(await get(), 200);
  await second.call('POST', '/api/revocations', { session_id: SESSION_ID, until: nowSec + 60 });
  t.equal(await get(), 401);
  await second.supervisor.endAll();
  await second.leave();
});

t.test('a worker that loses its supervisor drains as that one said, not as its own settings do', async (t) => {
  const { directory, listening, key, openTunnel } = await setUp(t);
  const { supervisor, limits, call, target, leave } = await startSupervisor(directory, listening.fd);
  await call('PUT', '/api/keys', { keys: [key.publicKey] });
  const route = { target: target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
  await call('POST', '/api/routes/user/anna', route);
  await openTunnel();
  await supervisor.replace({ ...limits, settings: { ...limits.settings, drain_timeout_ms: 120_000 } });
  const drainMs = async () => {
    const { deadline_ms, draining_since_ms } = (await supervisor.reports())[1] ?? {};
    return (deadline_ms ?? 0) - (draining_since_ms ?? 0);
  };
  t.equal(await drainMs(), 120_000);
  // Told to drain by nobody who knows for how long.
  process.kill((await supervisor.reports())[1]?.pid ?? 0, 'SIGWINCH');
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(await drainMs(), 120_000);
  await supervisor.endAll();
  await leave();
});
