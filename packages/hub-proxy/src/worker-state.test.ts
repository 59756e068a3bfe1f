import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '@metalhub/base/time.js';
import t from 'tap';
import { HostList } from './host.js';
import { LiveState } from './live-state.js';
import { OpenWork } from './open-work.js';
import { type Delta, defaultRoute, EMPTY_STATE, type Route, routeIdentity, routeKey } from './proxy-state.js';
import { startFront } from './testing/front.js';
import { openClient } from './testing/proxy.js';
import { Random } from './testing/random.js';
import { TicketVerifier } from './ticket-verifier.js';
import { WorkerState } from './worker-state.js';

const NONE: Omit<Delta, 'version'> = { remove: [], put: [], keys: null, revoke: [] };
const OURS: Route = { ...defaultRoute(), prefix: '/user/anna/', target: { kind: 'unix', path: '/ours' } };
const THEIRS: Route = { ...OURS, target: { kind: 'unix', path: '/theirs' }, data: {} };

/** Fed with changes, with something open on every route that it ever served. */
function setUp(hasForeignHub: boolean) {
  const parts = { tickets: new TicketVerifier(), work: new OpenWork() };
  const hosts = new HostList(['localhost']);
  const options = { hubSocketPath: '/hub', hubPrefix: '/', hasForeignHub, hosts, clock: systemClock };
  const state = new WorkerState(options);
  const all = new LiveState(EMPTY_STATE);
  const open = new Map<string, { isTunnel: boolean }>();
  const served = () => state.table.list().map(routeIdentity).sort();
  const openAll = () => {
    for (const identity of served()) {
      if (open.has(identity)) continue;
      const item = {
        routeIdentity: identity,
        sessionId: undefined,
        isTunnel: true,
        close: () => open.delete(identity),
      };
      open.set(identity, item);
      parts.work.add({ ...item, close: () => void item.close() });
    }
  };
  return {
    open,
    served,
    all,
    start: async () => {
      await state.apply(all.snapshot(), parts);
      openAll();
    },
    change: async (changes: readonly Partial<Delta>[]) => {
      const base = all.version;
      const deltas = changes.map((change, index) => ({ ...NONE, ...change, version: base + index + 1 }));
      t.equal(await state.change(base, deltas, parts), true);
      for (const delta of deltas) all.apply(delta);
    },
    openAll,
    find: (path: string) => state.table.findRoute(path, 'localhost')?.target,
    /** As a worker that starts now. */
    fresh: async () => {
      const other = new WorkerState(options);
      await other.apply(all.snapshot(), parts);
      return other.table.list().map(routeIdentity).sort();
    },
  };
}

t.test('where two hubs have a route at one place, removing one leaves the other', async (t) => {
  const worker = setUp(false);
  await worker.start();
  await worker.change([{ put: [THEIRS] }]);
  t.match(worker.find('/user/anna/'), { path: '/theirs' });
  worker.openAll();
  await worker.change([{ put: [OURS] }]);
  t.match(worker.find('/user/anna/'), { path: '/ours' });
  t.notOk(worker.open.has(routeIdentity(THEIRS)), 'what is open there ends, as in a worker that gets the whole state');
  await worker.change([{ remove: [routeKey(THEIRS)] }]);
  t.match(worker.find('/user/anna/'), { path: '/ours' });
  await worker.change([{ put: [THEIRS] }, { remove: [routeKey(OURS)] }]);
  t.match(worker.find('/user/anna/'), { path: '/theirs' });
  await worker.change([{ remove: [routeKey(THEIRS)] }]);
  t.match(worker.find('/user/anna/'), { path: '/hub' });
});

t.test('after any changes a worker serves what one that starts now serves, and nothing else stays open', async (t) => {
  const random = new Random(6);
  for (const hasForeignHub of [false, true]) {
    const worker = setUp(hasForeignHub);
    await worker.start();
    const places = ['/', '/a/', '/b/'].flatMap((prefix) => [null, 'a.example.org'].map((host) => ({ host, prefix })));
    const routes = places.flatMap(({ host, prefix }) =>
      [null, {}].flatMap((data) =>
        // The one to our hub is never stored.
        data === null && host === null && prefix === '/'
          ? []
          : ['/x', '/y'].map((path): Route => ({ ...OURS, host, prefix, data, target: { kind: 'unix', path } })),
      ),
    );
    const some = (): Route[] => routes.filter(() => random.once(8));
    for (let round = 0; round < 500; round++) {
      const changes = Array.from({ length: 1 + random.below(2) }, () => ({
        remove: some().map(routeKey),
        put: [...new Map(some().map((route) => [routeKey(route), route])).values()],
      }));
      await worker.change(changes);
      t.same(worker.served(), await worker.fresh());
      t.same(
        [...worker.open.keys()].filter((identity) => !worker.served().includes(identity)),
        [],
      );
      worker.openAll();
    }
  }
});

t.test('a route that is gone is not reported, though its last connections go on for a moment', async (t) => {
  const { proxy, cookie } = await startFront(t, (_head, socket) => {
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
    );
    socket.on('data', (chunk) => socket.write(chunk));
  });
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: eA=='];
  const from = [`Host: localhost:${proxy.port}`, `Origin: http://localhost:${proxy.port}`, cookie];
  const client = openClient(proxy.port, ['GET /user/anna/ws HTTP/1.1', ...from, ...upgrade, '', ''].join('\r\n'));
  await client.waitFor('101');
  const keys = () => proxy.worker.report().activity.map(({ prefix }) => prefix);
  client.send('\x81\x02hi');
  await client.waitFor('\x81\x02hi');
  t.same(keys(), ['/user/anna/']);
  t.equal(await proxy.worker.changeState(1, [{ ...NONE, version: 2, remove: ['/user/anna/'] }]), true);
  for (let sent = 0; sent < 15; sent++) {
    client.send('\x81\x02ho');
    await sleep(100);
  }
  t.same(keys(), []);
});
