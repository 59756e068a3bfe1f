import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { installDeb } from '../lib/deb.js';
import { hostPid } from '../lib/host-cgroup.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { control, endLoads, serveLoad, startLoad } from '../lib/proxy-load.js';
import {
  assertNothingLost,
  loadOrder,
  RELOADS,
  RESTARTS,
  repeat,
  supervisorPid,
  TIMEOUT_MS,
  TRANSFER_BYTES,
  untilActive,
  untilOneWorker,
  upgrade,
  WEBSOCKETS,
  type WorkerReport,
  workersOf,
} from '../lib/restarts.js';
import { until } from '../lib/server-start.js';
import type { LoadOrder, LoadReport } from '../restart-load/main.js';
import type { Target } from '../restart-load/target.js';

t.setTimeout(TIMEOUT_MS);

const DROP_IN = '/etc/metalhub/metalhub.toml.d/mistake.toml';
let machine: Machine;
let target: Target;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  // What is counted and killed here is one of each generation, whatever the machine has.
  await machine.writeFile('/etc/metalhub/metalhub.toml.d/one-worker.toml', '[proxy]\nworkers = 1\n');
  await machine.run(['systemctl', 'restart', 'hub-proxy']);
  await untilOneWorker(machine);
  const origin = 'http://127.0.0.1:8000';
  target = { port: 8000, host: '127.0.0.1:8000', origin, ...(await serveLoad(machine)) };
  await machine.enterNetwork();
});

t.afterEach(endLoads);

t.teardown(() => machine?.stop());

function order(changes: Partial<LoadOrder> = {}): LoadOrder {
  return loadOrder(target, changes);
}

/** The worker that accepts. */
async function accepting(): Promise<WorkerReport> {
  const found = (await workersOf(machine)).find(({ draining }) => !draining);
  if (found === undefined) throw new Error('no worker accepts');
  return found;
}

/** One request on a connection of its own. @returns its status, or what went wrong */
function ask(): Promise<number | string> {
  return new Promise((resolve) => {
    const headers = { host: target.host, cookie: target.cookie, connection: 'close' };
    const options = { host: '127.0.0.1', port: target.port, path: `${target.prefix}echo`, agent: false, headers };
    request(options, (response) => resolve(response.resume().statusCode ?? 0))
      .on('error', (error) => resolve(String(error)))
      .end();
  });
}

t.test(`R01: ${RESTARTS} restarts in a row fail no request, close no WebSocket and break no transfer`, async (t) => {
  const since = await machine.cursor();
  const transfer = { transferBytes: TRANSFER_BYTES };
  const load = await startLoad(order({ sockets: WEBSOCKETS, clients: true, pausing: 20, ...transfer }));
  const first = await accepting();
  const restartsSec = await repeat(t, machine, 'systemctl restart hub-proxy', RESTARTS);
  const reloadsSec = await repeat(t, machine, 'systemctl reload hub-proxy', RELOADS);
  const all = await workersOf(machine);
  const memory = all.reduce((sum, { memory_bytes }) => sum + memory_bytes, 0) / 2 ** 20;
  t.comment(`${all.length} workers use ${memory.toFixed(0)} MB together`);
  t.match(all.at(-1), { pid: first.pid, tunnels: WEBSOCKETS }, 'the first generation serves what it began with');
  const report = await load.end();
  assertNothingLost(t, report);
  const areLong = report.transfers.every(({ seconds }) => seconds > restartsSec + reloadsSec);
  t.ok(areLong, 'the transfers were under way all the time');

  await untilOneWorker(machine);
  const [newest] = await workersOf(machine);
  const pids = (await machine.run(['pgrep', '-u', 'metalhub-proxy'])).trim().split('\n').map(Number);
  t.same(pids.sort(), [await supervisorPid(machine), newest?.pid].sort(), 'one supervisor and one worker are left');
  t.equal(
    await machine.run(['ls', '/run/metalhub-proxy/gen']),
    [`${newest?.generation}.format`, `${newest?.generation}.sock`, ''].join('\n'),
  );
  for (const pid of pids) {
    const count = Number(await machine.run(['sh', '-c', `ls /proc/${pid}/fd | wc -l`]));
    t.ok(count < 60, `${count} descriptors`);
  }
  const pss = await machine.shell(
    `cat ${pids.map((pid) => `/proc/${pid}/smaps_rollup`).join(' ')} | awk '/^Pss:/{n+=$2} END{print n}'`,
  );
  t.ok(Number(pss) < 100 * 1024, `${pss.trim()} kB of memory`);
  await machine.assertCleanJournal([], since);
});

/** Of those that were answered. */
function slowestMs({ requests }: LoadReport): number {
  return Math.max(...Object.values(requests).map(({ times }) => times.max));
}

/** Kills a process; then how many milliseconds it took until the condition held, a piece of shell. */
async function killUntil(pid: number, condition: string): Promise<number> {
  const text = `kill -KILL ${pid}; s=$(date +%s%N); until ${condition}; do sleep 0.01; done; echo $(( ($(date +%s%N) - s) / 1000000 ))`;
  return Number(await machine.shell(text));
}

t.test('R01: an upgrade of the package under the same load', async (t) => {
  const load = await startLoad(order({ sockets: WEBSOCKETS, clients: true, pausing: 20 }));
  await upgrade(t, machine);
  assertNothingLost(t, await load.end());
});

t.test('R01: a reload ends when the new generation accepts, however late the supervisor hears of it', async (t) => {
  const before = (await accepting()).generation;
  const pid = await supervisorPid(machine);
  await machine.shell(`kill -STOP ${pid}; (sleep 2; kill -CONT ${pid}) & systemctl reload hub-proxy`);
  t.equal((await accepting()).generation, before + 1);
});

t.test('R03: kill -9 of the supervisor loses nothing, and there is a new one within a second', async (t) => {
  const load = await startLoad(order({ sockets: 20, clients: true }));
  for (let round = 0; round < 3; round++) {
    const pid = await supervisorPid(machine);
    const unit = 'systemctl show --value --property=MainPID hub-proxy.service';
    const tookMs = await killUntil(
      pid,
      `n=$(${unit}); [ $n != 0 ] && [ $n != ${pid} ] && systemctl -q is-active hub-proxy`,
    );
    t.comment(`another supervisor serves after ${tookMs} ms`);
    const routes = JSON.parse(await control(machine, 'GET', '/api/routes'));
    t.match(routes, { [target.prefix.replace(/\/$/, '')]: { auth: 'ticket' } }, 'routes are intact');
  }
  const report = await load.end();
  assertNothingLost(t, report);
  t.comment(`the slowest request took ${slowestMs(report)} ms`);
});

/**
 * Asks the route API for something while its supervisor is told to end.
 * @returns the answer's status, or what went wrong; `undefined` when this process was held up for too long to tell
 */
async function askAtTheEnd(pid: number): Promise<number | string | undefined> {
  const socketPath = await machine.path('/run/metalhub/proxy.sock');
  const ended = await hostPid(machine, pid);
  return new Promise((resolve) => {
    const path = '/api/routes/services/late/';
    const headers = { 'content-type': 'application/json', expect: '100-continue' };
    let begin = Number.POSITIVE_INFINITY;
    let waitedMs = 0;
    const finish = (outcome: number | string): void => resolve(waitedMs < 1000 ? outcome : undefined);
    const sent = request({ socketPath, path, method: 'POST', agent: false, headers }, (response) => {
      finish(response.resume().statusCode ?? 0);
    });
    // It waits two seconds for answers: on a machine that takes as long to store what was asked, that tells nothing.
    sent.on('error', (error) => resolve(performance.now() - begin < 1500 ? String(error) : undefined));
    // It has the head, and waits for the body.
    sent.on('continue', () => {
      begin = performance.now();
      process.kill(ended, 'SIGTERM');
      setTimeout(() => {
        waitedMs = performance.now() - begin;
        sent.end('{"target":"unix+http://%2Frun%2Fmetalhub%2Fservers%2Fx.sock"}');
      }, 300);
    });
    sent.flushHeaders();
  });
}

t.test('R03: a supervisor that came back after a crash ends in order also while its workers start', async (t) => {
  const program = '/usr/lib/metalhub/hub-proxy-worker.cjs';
  const wait = `const { existsSync } = require('node:fs');
    (function go() { existsSync('/run/hold') ? setTimeout(go, 50) : require('./held-worker.cjs'); })();`;
  await machine.run(['mv', program, '/usr/lib/metalhub/held-worker.cjs']);
  await machine.writeFile(program, wait);
  const load = await startLoad(order({ sockets: 20, clients: true }));
  let outcome: number | string | undefined;
  for (let tries = 0; outcome === undefined && tries < 5; tries++) {
    const before = await accepting();
    await machine.writeFile('/run/hold', '');
    const pid = await supervisorPid(machine);
    await machine.run(['kill', '-KILL', String(pid)]);
    await until('another supervisor', async () => ![0, pid].includes(await supervisorPid(machine)));
    await untilActive(machine);
    t.equal((await accepting()).pid, before.pid, 'it serves, and none of its own workers has started');
    outcome = await askAtTheEnd(await supervisorPid(machine));
    await machine.run(['rm', '/run/hold']);
    await untilActive(machine);
  }
  t.equal(outcome, 201, 'what was asked of it is answered');
  t.match(JSON.parse(await control(machine, 'GET', '/api/routes')), { '/services/late': {} }, 'and true');
  await control(machine, 'DELETE', '/api/routes/services/late/');
  await machine.run(['mv', '/usr/lib/metalhub/held-worker.cjs', program]);
  assertNothingLost(t, await load.end());
});

t.test('R03: kill -9 of a worker loses its connections only, and the next one is there within a second', async (t) => {
  const old = await startLoad(order({ sockets: 20 }));
  await machine.run(['systemctl', 'restart', 'hub-proxy']);
  const current = await startLoad(order({ sockets: 20, clients: true }));
  const { pid } = await accepting();
  const curl = `curl -s -o /dev/null -w %{http_code} -b '${target.cookie}' http://${target.host}${target.prefix}echo`;
  t.comment(`answered again after ${await killUntil(pid, `[ "$(${curl})" = 200 ]`)} ms`);
  // Somebody else than the four clients may have been the first to be answered.
  await sleep(1000);
  const report = await current.end();
  t.match(report.sockets, { closed: 20 }, 'those of the killed one are gone');
  for (const [name, { answered, failures }] of Object.entries(report.requests)) {
    const wasCut = failures.every((failure) => /ended after|ECONNRESET|EPIPE/.test(failure));
    t.ok(answered > 0 && failures.length <= 1 && wasCut, `no more than what it was answering is lost: ${name}`);
    t.comment(`${name}: ${failures.join() || 'nothing lost'}`);
  }
  t.comment(`the slowest request took ${slowestMs(report)} ms`);
  t.not((await accepting()).pid, pid);
  const third = await startLoad(order({ sockets: 5, clients: true }));
  const earlier = (await workersOf(machine)).find(({ tunnels }) => tunnels === 20);
  t.equal(earlier?.draining, true);
  await killUntil(earlier?.pid ?? 0, `[ ! -e /proc/${earlier?.pid} ]`);
  t.match((await old.end()).sockets, { closed: 20 }, 'out of memory, say, while draining');
  assertNothingLost(t, await third.end());
});

t.test(
  'R03: a supervisor that is stopped is replaced by the watchdog, a stopped worker by its supervisor',
  async (t) => {
    await machine.writeFile('/run/systemd/system/hub-proxy.service.d/watchdog.conf', '[Service]\nWatchdogSec=3\n');
    await machine.run(['systemctl', 'daemon-reload']);
    await machine.run(['systemctl', 'restart', 'hub-proxy']);
    const load = await startLoad(order({ sockets: 20, clients: true }));
    const supervisor = await supervisorPid(machine);
    await machine.run(['kill', '-STOP', String(supervisor)]);
    await until('another supervisor', async () => ![0, supervisor].includes(await supervisorPid(machine)));
    await untilActive(machine);
    assertNothingLost(t, await load.end());

    const second = await startLoad(order({ sockets: 20 }));
    const { pid } = await accepting();
    await machine.run(['kill', '-STOP', String(pid)]);
    const begin = performance.now();
    t.equal(await ask(), 200, 'a visitor waits until there is another worker');
    t.comment(`answered after ${Math.round(performance.now() - begin)} ms`);
    await machine.run(['kill', '-CONT', String(pid)]);
    assertNothingLost(t, await second.end());
    await machine.run(['rm', '/run/systemd/system/hub-proxy.service.d/watchdog.conf']);
    await machine.run(['systemctl', 'daemon-reload']);
  },
);

t.test('R02: ten restarts in five seconds, and a signal in the middle of a start, keep the service', async (t) => {
  const load = await startLoad(order({ sockets: 20, clients: true }));
  await machine.shell(
    'for _ in $(seq 10); do systemctl restart --no-block hub-proxy; sleep 0.5; done; systemctl restart hub-proxy',
  );
  // As soon as the new process takes SIGHUP at all, long before it can answer it.
  const since = await machine.cursor();
  const told = await machine.shell(`
    systemctl kill --kill-whom=main --signal=TERM hub-proxy
    for _ in $(seq 3000); do
      pid=$(cat /sys/fs/cgroup/system.slice/hub-proxy.service/cgroup.procs | sort -n | tail -n 1)
      if grep -q 'hub-proxy.cjs' /proc/$pid/cmdline 2>/dev/null && [ $(( 0x$(sed -n 's/^SigCgt:.*\\(.\\)$/\\1/p' /proc/$pid/status) & 1 )) = 1 ]; then
        kill -HUP $pid; systemctl show --value --property=ActiveState hub-proxy; exit
      fi
    done`);
  t.equal(told.trim(), 'activating');
  await machine.waitForEntry({ unit: 'hub-proxy.service', since }, /Reloaded|new generation accepts/);
  await untilActive(machine);
  const ended = (await machine.journal({ since, unit: 'hub-proxy.service' })).filter(({ message }) =>
    /status=1\/HUP/.test(message),
  );
  t.same(ended, [], 'it was not ended by it');
  assertNothingLost(t, await load.end());
});

t.test(
  'R02: with a configuration it cannot start with, visitors wait, old connections go on, and it mends itself',
  async (t) => {
    const load = await startLoad(order({ sockets: 20 }));
    await machine.writeFile(DROP_IN, '[proxy]\nlisen = ["127.0.0.1:8000"]\n');
    // Without the copy of the last good one there is nothing to fall back to.
    await machine.run(['rm', '/var/lib/metalhub/proxy/config-copy.json']);
    const since = await machine.cursor();
    await machine.exec(['systemctl', 'restart', 'hub-proxy']);
    t.equal(await ask(), 200, 'the workers that were there go on for a while');
    const entry = await machine.waitForEntry({ identifier: 'hub-proxy', since }, /lisen/);
    t.match(entry.message, /mistake\.toml:2: proxy\.lisen: unknown key/);
    await until(
      'nobody accepts any more',
      async () =>
        (await machine.exec(['sh', '-c', `! timeout 2 curl -s -o /dev/null http://${target.host}/`])).code === 0,
    );
    const waiting = ask();
    await sleep(3000);
    await machine.run(['rm', DROP_IN]);
    t.equal(await waiting, 200, 'who came meanwhile is answered');
    t.equal((await machine.exec(['systemctl', 'is-active', 'hub-proxy.socket'])).code, 0);
    assertNothingLost(t, await load.end());
  },
);

t.test('R05: a stop ends every generation and the listening; systemctl kill ends every process', async (t) => {
  await untilOneWorker(machine);
  const loads = [await startLoad(order({ sockets: 20 }))];
  for (let restart = 0; restart < 2; restart++) {
    await machine.run(['systemctl', 'restart', 'hub-proxy']);
    loads.push(await startLoad(order({ sockets: 20 })));
  }
  const before = await workersOf(machine);
  t.equal(before.length, 3);
  await machine.run(['systemctl', 'kill', 'hub-proxy.service']);
  for (const { pid } of before)
    await until('gone', async () => (await machine.exec(['test', '!', '-e', `/proc/${pid}`])).code === 0);
  for (const load of loads) t.match((await load.end()).sockets, { closed: 20 });
  await until('it is back', async () => (await ask()) === 200);

  const more = [await startLoad(order({ sockets: 20 }))];
  await machine.run(['systemctl', 'restart', 'hub-proxy']);
  more.push(await startLoad(order({ sockets: 20 })));
  const begin = performance.now();
  await machine.run(['systemctl', 'stop', 'hub-proxy.socket', 'hub-proxy.service']);
  const tookMs = performance.now() - begin;
  t.ok(tookMs < 30_000, `stopped after ${Math.round(tookMs)} ms`);
  t.match(await ask(), /ECONNREFUSED/);
  t.equal((await machine.exec(['pgrep', '-u', 'metalhub-proxy'])).code, 1, 'no process of any generation is left');
  for (const load of more) t.match((await load.end()).sockets, { closed: 20, failures: [/03e9/] }, 'closed with 1001');
  await machine.run(['systemctl', 'start', 'hub-proxy.socket', 'hub-proxy.service']);
  t.equal(await ask(), 200);
});
