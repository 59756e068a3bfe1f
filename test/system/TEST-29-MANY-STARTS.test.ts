import t from 'tap';
import { PAM_LOGIN } from '../lib/deb.js';
import type { Machine } from '../lib/machine.js';
import { orderServer } from '../lib/server-order.js';
import { bootWithAnna, until } from '../lib/server-start.js';

const STARTS = 200;
const AT_ONCE = 8;
/** Servers of the random rounds, and how many of these there are. */
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] as const;
const ROUNDS = Number(process.env['METALHUB_KILL_ROUNDS'] ?? 4);
const SEED = Number(process.env['METALHUB_SEED'] ?? 4711);

/** A server as small as one can be: ready, and gone, within as many milliseconds as its profile allows. */
const STUB = `#!/usr/bin/python3 -I
import os, random, signal, socket, time
most = int(os.environ["STUB_MS"]) / 1000
time.sleep(random.random() * most)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.sigwait([signal.SIGTERM])
time.sleep(random.random() * most)
`;

/** Ways for a daemon to go, at once or one after the other. */
const ENDS: readonly (readonly string[])[] = [
  ['kill', '--signal=KILL', 'hub.service'],
  ['kill', '--signal=KILL', 'hub-spawner.service'],
  ['kill', '--signal=KILL', 'hub.service', 'hub-spawner.service'],
  ['restart', 'hub.service'],
  ['restart', 'hub-spawner.service'],
];

t.setTimeout(600_000 + ROUNDS * 60_000);

let machine: Machine;
let socketPath: string;
let seed = SEED;

t.before(async () => {
  ({ machine } = await bootWithAnna());
  await machine.writeFile('/opt/stub/python', STUB, 0o755);
  const profile = (name: string, ms: number): string =>
    `[[profile]]\nname = "${name}"\npython = "/opt/stub/python"\ntasks_max = 16384\nvariables = { STUB_MS = "${ms}" }`;
  const server = `[server]\nconcurrent_starts = ${AT_ONCE}`;
  await machine.writeFile(
    '/etc/metalhub/metalhub.toml',
    [PAM_LOGIN, server, profile('quick', 0), profile('slow', 800), ''].join('\n'),
  );
  await machine.run(['hubctl', 'apply']);
  socketPath = await machine.path('/run/metalhub/admin.sock');
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=200']));
  await machine?.stop();
});

/** Below the limit; the same numbers for the same seed. */
function random(limit: number): number {
  seed = (seed * 48_271) % 2_147_483_647;
  return seed % limit;
}

/** Resolves with the status: for a start when it is recorded, for a stop when it is over; 0 when the hub went away. */
async function ask(action: 'start' | 'stop', server: string, profile: string): Promise<number> {
  const order = { user: 'anna', server, ...(action === 'start' && { profile }) };
  const answer = await orderServer(socketPath, action, order).catch(() => undefined);
  // Broken off when the hub is killed.
  answer?.on('error', () => undefined).resume();
  return answer?.statusCode ?? 0;
}

/** What the hub says of each server. */
async function states(): Promise<Map<string, string>> {
  const { servers } = JSON.parse(await machine.run(['hubctl', 'servers', '--json'])) as {
    servers: { name: string; state: string }[];
  };
  return new Map(servers.map(({ name, state }) => [name, state]));
}

async function linesOf(script: string): Promise<string[]> {
  return (await machine.shell(script)).split('\n').filter((line) => line !== '');
}

/** Names of servers whose units of this kind are in this state. */
async function units(type: 'service' | 'socket', state: string): Promise<string[]> {
  const pattern = `jupyter-anna:*.${type}`;
  const lines = await linesOf(`systemctl list-units --all --plain --no-legend --state=${state} '${pattern}'`);
  return lines.map((line) => /^jupyter-anna:([^.]*)/.exec(line)?.[1] ?? line).sort();
}

interface Truth {
  readonly states: ReadonlyMap<string, string>;
  /** Of the servers that run, by systemd's word. */
  readonly invocations: ReadonlyMap<string, string>;
  /** Where somebody says otherwise than systemd. */
  readonly differences: readonly string[];
}

/** What hub, systemd, proxy and the file system say of the servers: all must say the same. */
async function compare(): Promise<Truth> {
  const known = await states();
  const ready = [...known].filter(([, state]) => state === 'ready').map(([name]) => name);
  const routes = JSON.parse(await machine.run(['hubctl', 'routes', '--json'])) as Record<
    string,
    { invocation_id: string | null }
  >;
  const routed = Object.entries(routes).filter(([prefix]) => prefix.startsWith('/user/'));
  const active = await units('service', 'active');
  const shown = active.map((name) => `'jupyter-anna:${name}.service'`).join(' ');
  const ids = active.length === 0 ? [] : await linesOf(`systemctl show -P InvocationID ${shown}`);
  const invocations = new Map(active.map((name, index) => [name, ids[index] ?? '']));
  const changing = [...known].filter(([, state]) => state !== 'ready' && state !== 'stopped');
  const wanted: readonly (readonly [who: string, says: readonly string[]])[] = [
    ['hub', ready],
    ['routes', routed.map(([prefix]) => prefix.split('/')[3] ?? '')],
    ['services', await units('service', 'loaded')],
    ['sockets', await units('socket', 'active')],
    ['files', (await linesOf('ls /run/metalhub/servers')).map((file) => file.replace(/^anna:|\.sock$/g, ''))],
  ];
  const lists = wanted.filter(([, says]) => [...says].sort().join() !== active.join());
  const differences = [
    ...changing.map(([name, state]) => `${name} is in state ${state}`),
    ...lists.map(([who, says]) => `${who}: ${[...says].sort().join()} where systemd has ${active.join()}`),
    ...routed
      .filter(([prefix, { invocation_id }]) => invocation_id !== invocations.get(prefix.split('/')[3] ?? ''))
      .map(([prefix]) => `the route ${prefix} leads to an earlier start`),
    ...(await linesOf('ls /run/metalhub-spawner/cred 2>/dev/null || true')).map((name) => `a token of ${name} is left`),
  ];
  return { states: known, invocations, differences };
}

/** Waits until all agree. @throws with who does not */
async function agreement(): Promise<Truth> {
  let truth = await compare();
  const isSo = async (): Promise<boolean> => {
    truth = await compare();
    return truth.differences.length === 0;
  };
  await until('hub, proxy and systemd agree', isSo, 60_000).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${truth.differences.join('; ')}`);
  });
  return truth;
}

/** One or two orders to one server, after each other. @returns what it must come to; `undefined` when the hub went away over one */
async function order(name: string, isRunning: boolean): Promise<string | undefined> {
  const first = isRunning ? 'stop' : 'start';
  const orders = random(3) === 0 ? ([first, isRunning ? 'start' : 'stop'] as const) : ([first] as const);
  const pauses = orders.map(() => random(400));
  let wanted: string | undefined;
  for (const [index, action] of orders.entries()) {
    await new Promise((resolve) => setTimeout(resolve, pauses[index]));
    const status = await ask(action, name, 'slow');
    if (status !== 200) return undefined;
    wanted = action === 'start' ? 'ready' : 'stopped';
  }
  return wanted;
}

t.test(
  `R06: hub and spawner are killed and restarted at any point of starts and stops: none is lost, none is left`,
  async (t) => {
    t.comment(`METALHUB_SEED=${SEED}`);
    let before = await agreement();
    for (let round = 1; round <= ROUNDS; round++) {
      const chosen = NAMES.filter(() => random(3) > 0);
      const orders = chosen.map(async (name) => [name, await order(name, before.invocations.has(name))] as const);
      const ends = Array.from({ length: 1 + random(2) }, () => ENDS[random(ENDS.length)] ?? []);
      for (const end of ends) {
        await new Promise((resolve) => setTimeout(resolve, random(900)));
        // A spawner that nobody needs is not there to be killed.
        await machine.exec(['systemctl', ...end]);
      }
      const done = await Promise.all(orders);
      const after = await agreement();
      const what = `round ${round} of seed ${SEED}: ${ends.map((end) => end.join(' ')).join(', ')}`;
      for (const [name, wanted] of done) {
        if (wanted !== undefined) t.equal(after.states.get(name), wanted, `${what}: ${name}`);
      }
      const untouched = NAMES.filter((name) => !chosen.includes(name));
      t.same(
        untouched.map((name) => after.invocations.get(name)),
        untouched.map((name) => before.invocations.get(name)),
        `${what}: nothing happened to the others`,
      );
      before = after;
    }
  },
);

t.test(
  'S11: two hundred starts at once, then the hub is killed: so many at a time, all run, none is unknown',
  async (t) => {
    const names = Array.from({ length: STARTS }, (_, index) => `s${index}`);
    const taken = await Promise.all(names.map((name) => ask('start', name, 'quick')));
    t.same([...new Set(taken)], [200], 'all are taken');
    await machine.run(['systemctl', 'kill', '--signal=KILL', 'hub.service']);
    let most = 0;
    const isOver = async (): Promise<boolean> => {
      most = Math.max(most, (await units('service', 'activating')).length);
      const known = await states();
      return names.every((name) => known.get(name) === 'ready' || known.get(name) === 'failed');
    };
    await until('all have started or failed', isOver, 300_000);
    // Those that the spawner was working on when the hub was killed, and the first ones of the next hub.
    t.ok(most <= 2 * AT_ONCE, `at most ${most} at a time`);
    const { invocations } = await agreement();
    t.same(
      names.filter((name) => !invocations.has(name)),
      [],
      'none has failed',
    );
    t.notMatch(await machine.run(['journalctl', '--no-pager', '-t', 'hub']), 'the database knows nothing of');
  },
);
