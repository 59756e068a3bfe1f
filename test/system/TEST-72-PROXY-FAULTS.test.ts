import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { createUser, installDeb, PAM_LOGIN } from '../lib/deb.js';
import { HostCgroup, hostPid } from '../lib/host-cgroup.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { answerAll, inParallel, openMany, slowBody, untilClosed, untilDrained } from '../lib/proxy-crowd.js';
import { openConnection, ProxyRig, requestHead, visit, visitDuring } from '../lib/proxy-rig.js';
import { start, until } from '../lib/server-start.js';
import { Visitor } from '../lib/visitor.js';

const CONFIG = '/etc/metalhub/metalhub.toml';
const MIB = 1024 * 1024;
/** Attempts to connect; METALHUB_CONNECTION_ATTEMPTS=100000 makes as many as were promised, and a tenth that says nothing. */
const ATTEMPTS = Number(process.env['METALHUB_CONNECTION_ATTEMPTS'] ?? 20_000);
const SILENT = Math.max(1500, ATTEMPTS / 10);
/** Addresses that are the machine's own: visitors from elsewhere than loopback. */
const OUTSIDE = '10.99.0.1';

t.setTimeout(900_000);

let machine: Machine;
let rig: ProxyRig;
let cookie: string;
/** Requests to the route API that never end by themselves. */
const slowBodies: Socket[] = [];

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await createUser(machine, 'bob', 'correct horse', { groups: ['metalhub-users'] });
  await createUser(machine, 'eve', 'correct horse');
  await machine.enterNetwork();
});

t.teardown(async () => {
  rig?.close();
  await machine?.stop();
});

t.test(
  'P10: no other account connects to the proxy’s or a user’s socket, nor can a unit replace its own',
  async (t) => {
    const visitor = new Visitor();
    await visitor.logIn('anna', 'correct horse');
    t.match(await start(visitor, 'anna'), { ready: true });
    const unit = 'jupyter-anna.service';
    const shown = await machine.run(['systemctl', 'show', '-P', 'MainPID', '-P', 'UID', unit]);
    const [pid = '', uid = ''] = shown.split('\n');
    const inUnit = ['nsenter', '--target', pid, '--mount', '--setuid', uid, '--setgid', uid];
    const attempt = `
import errno, os, socket, sys
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print("connected", path)
    except OSError as error:
        print(errno.errorcode[error.errno], path)`;
    const sockets = ['/run/metalhub/proxy.sock', '/run/metalhub/hub.sock', '/run/metalhub/servers/anna.sock'];
    const expected = sockets.map((path) => `EACCES ${path}\n`).join('');
    const python = ['python3', '-c', attempt, ...sockets];
    t.equal(await machine.run(python, { user: 'eve' }), expected, 'an account of the machine');
    t.equal(await machine.run(python, { user: 'bob' }), expected, 'another user of the hub');
    t.equal(await machine.run([...inUnit, ...python]), expected, 'the user’s own unit');
    const replace =
      'rm -f /run/metalhub/servers/anna.sock; mv /run/metalhub/servers /run/metalhub/x; ls -A /run/metalhub';
    const { stdout, stderr } = await machine.exec([...inUnit, 'sh', '-c', replace]);
    t.equal(stdout, '');
    t.match(stderr, /(Permission denied|Read-only file system)/);
    t.match(await machine.run(['ls', '-l', '/run/metalhub/servers/anna.sock']), /^srw-rw---- 1 root metalhub-proxy /);
    t.equal((await visitor.navigate('/user/anna/api/status')).response.status, 200, 'still hers');
    await machine.run(['systemctl', 'stop', 'jupyter-anna.socket']);
  },
);

t.test('P13: without the hub a restarted proxy has its routes, and says nothing of its inside', async (t) => {
  rig = await ProxyRig.setUp(machine);
  await rig.serve('good', answerAll, 'ticket');
  await rig.serve('garbage', (socket) => void socket.on('error', () => undefined).end('SSH-2.0-x\r\n\r\n'), 'ticket');
  cookie = rig.cookie('good');
  t.equal((await visit('/user/good/x', cookie)).status, 200);
  await machine.run(['systemctl', 'restart', 'hub-proxy.service']);
  t.equal((await visit('/user/good/x', cookie)).status, 200);
  const hub = await visit('/hub/home', '');
  t.equal(hub.status, 503);
  t.match(hub.text, 'http-equiv="refresh"');
  const garbage = await visit('/user/garbage/x', rig.cookie('garbage'), { method: 'POST', body: 'abc' });
  t.equal(garbage.status, 502);
  for (const { text } of [hub, garbage]) t.notMatch(text, /\.sock|\/run|SSH|E[A-Z]{5}/);
  t.equal((await visit('/user/good/x', '')).status, 302, 'without a ticket to the hub, which comes back');
});

t.test('R03: metrics go on over restarts and killed workers, and another program can read them', async (t) => {
  const served = 'metalhub_proxy_requests_total{route="server",code="2xx"}';
  const before = await rig.metric(served);
  t.ok(before >= 2, 'of the generation before the restart, too');
  await visit('/user/good/x', cookie);
  t.equal(await rig.metric(served), before + 1);
  await machine.run(['systemctl', 'restart', 'hub-proxy.service']);
  t.equal(await rig.metric(served), before + 1);
  const [{ pid } = { pid: 0 }] = (await rig.generations()).filter(({ draining }) => !draining);
  await machine.run(['kill', '-KILL', String(pid)]);
  t.equal((await visit('/user/good/x', cookie)).status, 200, 'waits for the next worker');
  t.equal(await rig.metric(served), before + 2);
  t.equal(await rig.metric('metalhub_proxy_generations_ended_total{reason="lost"}'), 1);
  const read = `
import sys
from prometheus_client.parser import text_string_to_metric_families as parse
print(len([sample for family in parse(sys.stdin.read()) for sample in family.samples]))`;
  const count = await machine.shell(
    `curl -sSf --unix-socket /run/metalhub/proxy.sock http://proxy/metrics | python3 -c '${read}'`,
  );
  t.ok(Number(count) > 100, `${count.trim()} samples`);
});

t.test(
  'R03: the kernel kills a draining worker for its memory: its own connections are lost, no others',
  { skip: HostCgroup.missing('memory') },
  async (t) => {
    t.equal((await machine.run(['systemctl', 'show', '-P', 'OOMPolicy', 'hub-proxy.service'])).trim(), 'continue');
    const group = HostCgroup.create('memory');
    t.teardown(() => group.remove());
    group.set('memory.limit_in_bytes', '1M');
    const servers: Socket[] = [];
    await rig.serve('much', (socket) => void servers.push(socket.on('error', () => undefined).resume()), 'ticket');
    const request = requestHead('GET /user/much/x', [`Cookie: ${rig.cookie('much')}`]);
    const ask = async (): Promise<Socket> => {
      const socket = await openConnection();
      socket.resume().write(request);
      return socket;
    };
    const old = await ask();
    await until('it is there', async () => servers.length === 1);
    await machine.run(['systemctl', 'restart', 'hub-proxy.service']);
    const young = await ask();
    await until('it is there', async () => servers.length === 2);
    const draining = (await rig.generations()).find(({ draining, connections }) => draining && connections === 1);
    const supervisor = await rig.supervisor();
    const lost = 'metalhub_proxy_generations_ended_total{reason="lost"}';
    const before = await rig.metric(lost);
    const oldEnds = untilClosed(old);
    group.add(await hostPid(machine, draining?.pid ?? 0));
    // An answer takes new memory: pages that it had before do not count.
    const fill = async (): Promise<void> => {
      const [server] = servers;
      server?.write('HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n');
      for (let written = 0; written < 2000 && server?.writable === true; written++) {
        if (!server.write(Buffer.alloc(MIB))) await untilDrained(server);
      }
    };
    const during = await visitDuring('/user/good/x', cookie, Promise.all([oldEnds, fill()]));
    t.same(during.failed, []);
    t.match(group.read('memory.oom_control'), /^oom_kill [1-9]/m, 'it was the kernel');
    await until('it is counted', async () => (await rig.metric(lost)) === before + 1);
    t.ok(supervisor.isAlive);
    const answered = new Promise((resolve) => young.once('data', resolve));
    servers[1]?.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine');
    await answered;
    t.pass('the other worker’s connections go on');
  },
);

t.test(
  'R07: without a task for a new worker visitors wait, and it comes by itself when there is one',
  { skip: HostCgroup.missing('pids') },
  async (t) => {
    const group = HostCgroup.create('pids');
    t.teardown(() => group.remove());
    const pid = Number(await machine.run(['systemctl', 'show', '-P', 'MainPID', 'hub-proxy.service']));
    const supervisor = await rig.supervisor();
    group.add(await hostPid(machine, pid));
    group.set('pids.max', '1');
    const since = await machine.cursor();
    for (const { pid: worker } of await rig.generations()) await machine.exec(['kill', '-KILL', String(worker)]);
    const waiting = visit('/user/good/x', cookie);
    await machine.waitForEntry({ since, unit: 'hub-proxy.service' }, /no worker could be started: .* EAGAIN/);
    await sleep(3000);
    t.ok(supervisor.isAlive, 'the supervisor goes on');
    t.equal((await rig.send('GET', '/api/status')).status, 200, 'and answers');
    group.set('pids.max', 'max');
    t.equal((await waiting).status, 200, 'who came meanwhile is answered');
  },
);

t.test('hanging, dying and missing servers harm nobody else', async (t) => {
  const hanging: Socket[] = [];
  await rig.serve('hanging', (socket) => void hanging.push(socket.on('error', () => undefined)), 'ticket');
  const dying = (socket: Socket): void => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'));
  };
  await rig.serve('dying', dying, 'ticket');
  const away = await rig.serve('away', answerAll, 'ticket');
  await new Promise((resolve) => away.close(resolve));
  const before = await rig.metric('metalhub_proxy_upstream_errors_total{route="server",kind="broken"}');
  const waiting = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const socket = await openConnection();
      socket.write(requestHead('GET /user/hanging/x', [`Cookie: ${rig.cookie('hanging')}`]));
      return socket;
    }),
  );
  const broken = Promise.all(Array.from({ length: 50 }, () => visit('/user/dying/x', rig.cookie('dying'))));
  const during = await visitDuring('/user/good/x', cookie, broken);
  t.same(during.failed, []);
  t.comment(`${during.count} visits meanwhile, the slowest ${during.maxMs.toFixed(0)} ms`);
  t.ok(
    (await broken).every(({ status, text }) => status === 0 && text === 'half'),
    'cut off in the middle',
  );
  t.equal((await visit('/user/away/x', rig.cookie('away'))).status, 503);
  t.equal(await rig.metric('metalhub_proxy_upstream_errors_total{route="server",kind="broken"}'), before + 50);
  for (let tries = 0; tries < 300 && hanging.length < 200; tries++) await sleep(100);
  t.equal(hanging.length, 200);
  const gone = Promise.all(hanging.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
  for (const socket of hanging) socket.on('end', () => socket.end()).resume();
  for (const socket of waiting) socket.destroy();
  await gone;
  t.pass('who goes away takes the request to the server along');
});

t.test('P09: slow heads, slow bodies and silent connections are ended in time and hold nobody up', async (t) => {
  const workers = await rig.workers();
  const memory = workers.pssBytes();
  const begin = performance.now();
  const silent = await openMany(SILENT, (index) => ({ localAddress: `127.2.${index % 200}.1` }));
  const slow = await openMany(300, () => ({}));
  for (const socket of slow) socket.write('GET /user/good/x HTTP/1.1\r\n');
  const dribbling = await openMany(200, () => ({}));
  for (const socket of dribbling) {
    socket.write(requestHead('PUT /user/good/x', [`Cookie: ${cookie}`, 'Content-Length: 100000']));
  }
  let isOver = false;
  const drip = async (): Promise<void> => {
    while (!isOver) {
      for (const socket of slow) if (socket.writable) socket.write('X');
      for (const socket of dribbling) if (socket.writable) socket.write('x');
      await sleep(1000);
    }
  };
  const dripping = drip();
  const ended = Promise.all([...silent, ...slow].map((socket) => untilClosed(socket)));
  const during = await visitDuring('/user/good/x', cookie, ended);
  const took = (performance.now() - begin) / 1000;
  t.comment(
    `${during.count} visits meanwhile, p99 ${during.p99Ms.toFixed(0)} ms, all ended after ${took.toFixed(1)} s`,
  );
  t.same(during.failed, []);
  t.ok(took < 40, 'ten seconds each, and the time to open them all');
  const grown = (workers.pssBytes() - memory) / MIB;
  t.comment(`the worker grew by ${grown.toFixed(1)} MiB`);
  t.ok(grown < 32 + SILENT * 0.01, 'ten kilobytes each');
  isOver = true;
  await dripping;
  for (const socket of dribbling) socket.destroy();
});

t.test('P09: without descriptors nothing crashes or spins, and all is well again within 30 seconds', async (t) => {
  const dropIn = '/run/systemd/system/hub-proxy.service.d/few.conf';
  await machine.writeFile(dropIn, '[Service]\nLimitNOFILE=256\n');
  await machine.shell('systemctl daemon-reload; systemctl restart hub-proxy.service');
  const workers = await rig.workers();
  const since = await machine.cursor();
  const arrived: Socket[] = [];
  await rig.serve('holding', (socket) => void arrived.push(socket.on('error', () => undefined).resume()), 'ticket');
  const sockets = await openMany(400, () => ({}));
  for (const socket of sockets) {
    if (socket.writable) socket.write(requestHead('GET /user/holding/x', [`Cookie: ${rig.cookie('holding')}`]));
  }
  const held = (): Socket[] => sockets.filter((socket) => !socket.destroyed);
  // Until all that came are taken or refused.
  let before = '';
  const counts = (): string => `${held().length} ${arrived.length}`;
  for (let tries = 0; tries < 60 && before !== counts(); tries++) {
    before = counts();
    await sleep(500);
  }
  const cpu = workers.cpuSec();
  await sleep(3000);
  const load = (workers.cpuSec() - cpu) / 3;
  t.comment(`${held().length} of 400 connections held; the worker took ${(load * 100).toFixed(0)} % of a core`);
  t.ok(load < 0.5, 'no busy loop');
  // As many as there are descriptors for, with one for the server of each.
  t.ok(held().length >= 96 && held().length <= 96 * workers.count);
  t.equal(arrived.length, held().length);
  t.ok(workers.isAlive, 'no crash');
  const answered = held().map((socket) => new Promise((resolve) => socket.once('data', resolve)));
  for (const socket of arrived) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine');
  await Promise.all(answered);
  t.pass('who came in is served');
  for (const socket of sockets) socket.destroy();
  const begin = performance.now();
  while ((await visit('/user/good/x', cookie)).status !== 200 && performance.now() - begin < 30_000) await sleep(100);
  t.comment(`served again after ${(performance.now() - begin).toFixed(0)} ms`);
  t.equal((await visit('/user/good/x', cookie)).status, 200);
  t.notMatch(
    (await machine.journal({ since, unit: 'hub-proxy.service' })).map(({ message }) => message).join('\n'),
    /ended unexpectedly|uncaught/i,
  );
  await machine.shell(`rm ${dropIn}; systemctl daemon-reload; systemctl restart hub-proxy.service`);
});

t.test('a flooded route API keeps its size and disturbs no visitor', async (t) => {
  const supervisor = await rig.supervisor();
  const memory = supervisor.pssBytes();
  const statuses = new Map<string, number>();
  const note = (what: string | number): void => void statuses.set(String(what), (statuses.get(String(what)) ?? 0) + 1);
  let peak = 0;
  const watch = setInterval(() => {
    peak = Math.max(peak, supervisor.pssBytes());
  }, 250);
  const big = 'x'.repeat(8 * MIB);
  const reads = inParallel(2000, 32, async () => note((await rig.send('GET', '/api/routes')).status));
  const bodies = inParallel(100, 16, async () => {
    const answer = await rig.send('POST', '/api/routes/user/flood', `{"target":"${big}"}`).catch(() => undefined);
    note(answer?.status === 413 || answer === undefined ? 'big body refused' : `big body ${answer.status}`);
  });
  slowBodies.push(...(await Promise.all(Array.from({ length: 300 }, () => slowBody(rig.controlPath)))));
  const during = await visitDuring('/user/good/x', cookie, Promise.all([reads, bodies]));
  clearInterval(watch);
  t.comment(`${during.count} visits meanwhile, p99 ${during.p99Ms.toFixed(0)} ms; ${JSON.stringify([...statuses])}`);
  t.same(during.failed, []);
  t.equal(statuses.get('200'), 2000);
  t.equal(statuses.get('big body refused'), 100);
  t.comment(`the supervisor had ${(memory / MIB).toFixed(0)} MiB, at most ${(peak / MIB).toFixed(0)} MiB`);
  t.ok(peak - memory < 128 * MIB);
  t.equal((await rig.send('GET', '/api/status')).status, 200);
});

t.test(
  `P09: ${ATTEMPTS} connections are attempted: each source has its share, others are served, all recovers`,
  async (t) => {
    await machine.run(['ip', 'route', 'add', 'local', '10.99.0.0/16', 'dev', 'lo']);
    await machine.writeFile(
      CONFIG,
      `[proxy]\nlisten = ["0.0.0.0:8000"]\ninsecure = true\nhosts = ["${OUTSIDE}"]\n${PAM_LOGIN}`,
    );
    // Until the last of its steps is done two generations might accept, each with a share for everybody.
    await machine.run(['hubctl', 'apply']);
    t.equal((await visit('/user/good/x', cookie, { host: OUTSIDE, localAddress: OUTSIDE })).status, 200);
    const workers = await rig.workers();
    const memory = workers.pssBytes();
    let peak = memory;
    const watch = setInterval(() => {
      peak = Math.max(peak, workers.pssBytes());
    }, 500);
    const attacker = { host: OUTSIDE, localAddress: '10.99.1.1' };
    const share = 2048 * workers.count;
    // A request under way: a connection that says nothing would be closed after ten seconds.
    const holding = requestHead('GET /user/holding/x', [`Cookie: ${rig.cookie('holding')}`]);
    const held = await openMany(share + 1000, () => attacker, holding);
    const open = (): number => held.filter((socket) => !socket.destroyed).length;
    for (let tries = 0; tries < 300 && open() > share; tries++) await sleep(100);
    // With several workers one may have got fewer than it would take.
    t.ok(open() <= share && open() > share / 2, `one source has its share, and no more: ${open()} of ${share}`);
    let attempted = held.length;
    const rest = inParallel(ATTEMPTS - held.length, 200, async (index) => {
      attempted++;
      const source = index % 2 === 0 ? attacker : { host: OUTSIDE, localAddress: `10.99.2.${(index % 250) + 1}` };
      const socket = await openConnection(source).catch(() => undefined);
      if (index % 10 === 0) await sleep(20);
      socket?.resetAndDestroy();
    });
    const begin = performance.now();
    const during = await visitDuring('/user/good/x', cookie, rest);
    const took = (performance.now() - begin) / 1000;
    clearInterval(watch);
    t.comment(
      `${attempted} attempts in ${took.toFixed(1)} s; ${during.count} visits meanwhile, p99 ${during.p99Ms.toFixed(0)} ms`,
    );
    t.comment(`the worker had ${(memory / MIB).toFixed(0)} MiB, at most ${(peak / MIB).toFixed(0)} MiB`);
    t.same(during.failed, []);
    t.ok(peak - memory < 256 * MIB);
    t.ok((await rig.metric('metalhub_proxy_connections_refused_total{reason="source"}')) >= 1000);
    for (const socket of held) socket.destroy();
    for (let tries = 0; tries < 300 && (await rig.metric('metalhub_proxy_open_connections')) > 0; tries++)
      await sleep(100);
    t.equal(await rig.metric('metalhub_proxy_open_connections'), 0, 'nothing is left');
    t.equal((await visit('/user/good/x', cookie, attacker)).status, 200);
  },
);

t.test('requests to the route API that do not end are given up', async (t) => {
  for (let tries = 0; tries < 900 && !slowBodies.every((socket) => socket.destroyed); tries++) await sleep(100);
  t.equal(slowBodies.filter((socket) => !socket.destroyed).length, 0);
});

t.test('the journal holds no more than the refusals', async () => {
  await machine.assertCleanJournal([
    /request refused|more requests were refused/,
    /\[hub\.|hub-admin/,
    // Killed, and without a task for the next one.
    /a worker ended or hangs, and is replaced/,
    /no worker could be started: .* EAGAIN/,
    // Another address was configured: hubctl apply restarts the socket.
    /Socket unit configuration has changed while unit has been running/,
  ]);
});
