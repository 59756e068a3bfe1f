import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { MAX_CHANGES } from './generation-protocol.js';
import { LiveState } from './live-state.js';
import {
  type Delta,
  defaultRoute,
  EMPTY_STATE,
  MAX_REVOCATIONS,
  MAX_ROUTES,
  type ProxyState,
  type Route,
} from './proxy-state.js';
import { addRevocations, type Change, changeRoutes, putRoute, removeRoute, setKeys } from './state-changes.js';
import { formatForGeneration, parseState, STATE_FORMAT } from './state-format.js';
import { StateStore } from './state-store.js';
import { TestLog } from './testing/proxy.js';

function makeDirectory(t: { teardown(end: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'proxy-state-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const annas = {
  ...defaultRoute(),
  prefix: '/user/anna/',
  target: { kind: 'unix', path: '/run/metalhub/servers/anna.sock' } as const,
  token: 't'.repeat(43),
};
const KEY = { kty: 'OKP', crv: 'Ed25519', x: 'x'.repeat(43), kid: 'k' } as const;

/** At a time when versions count from 1. */
function openStore(path: string, log = new TestLog()): StateStore {
  return StateStore.open(path, log, 0);
}

function reopened(path: string): ProxyState {
  return openStore(path).snapshot();
}

t.test('what was stored is there after a restart, for its owner only', async (t) => {
  const directory = makeDirectory(t);
  const path = join(directory, 'state.json');
  const store = openStore(path);
  t.equal(await store.update((state) => putRoute(state, annas)), true);
  t.equal(await store.update((state) => putRoute(state, { ...annas })), false);
  t.same(reopened(path), { ...EMPTY_STATE, version: 1, routes: [annas] });
  for (const name of readdirSync(directory)) t.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
});

t.test('changes made at once come one after the other, none is lost', async (t) => {
  const path = join(makeDirectory(t), 'state.json');
  const store = openStore(path);
  const added = Array.from({ length: 20 }, (_, index) =>
    store.update((state) => putRoute(state, { ...annas, prefix: `/user/u${index}/` })),
  );
  t.same(await Promise.all(added), Array(20).fill(true));
  t.equal(reopened(path).routes.length, 20);
  t.equal(store.live.version, 20);
  t.equal(store.changesSince(17)?.length, 3);
  t.same(store.changesSince(20), []);
  t.equal(store.changesSince(21), undefined);
});

t.test('the journal is folded into the file before it grows without end', async (t) => {
  const directory = makeDirectory(t);
  const path = join(directory, 'state.json');
  const store = openStore(path);
  for (let round = 0; round < 30; round++) {
    const routes = Array.from({ length: 100 }, (_, index) => ({ ...annas, prefix: `/u/${index}/r${round}/` }));
    const before = Array.from({ length: 100 }, (_, index) => `/u/${index}/r${round - 1}/`);
    await store.update((state) => changeRoutes(state, routes, before));
  }
  const bytes = statSync(path).size + statSync(join(directory, 'state.journal')).size;
  t.ok(bytes < 600_000, `${bytes} bytes for 100 routes after 3000 changes`);
  const state = reopened(path);
  t.equal(state.routes.length, 100);
  t.match(state.routes[0]?.prefix, /r29\/$/);
  t.equal(state.version, 30);
});

t.test('a power loss between the file and its journal takes nothing away', async (t) => {
  const directory = makeDirectory(t);
  const [path, journal] = [join(directory, 'state.json'), join(directory, 'state.journal')];
  const store = openStore(path);
  await store.update((state) => putRoute(state, annas));
  const older = readFileSync(journal);
  const many = Array.from({ length: 2000 }, (_, index) => ({ ...annas, prefix: `/user/u${index}/` }));
  await store.update((state) => changeRoutes(state, many, ['/user/anna/']));
  t.equal(statSync(journal).size, 0, 'it was folded in');
  writeFileSync(journal, older);
  t.same(reopened(path), store.snapshot());
});

t.test('a damaged file is set aside under a name of its own, loudly', async (t) => {
  const directory = makeDirectory(t);
  const path = join(directory, 'state.json');
  const damaged = ['{"version":', '{"version":1,"routes":[{"prefix":"../"}],"keys":[],"revocations":[]}', '[]', ''];
  for (const text of damaged) {
    writeFileSync(path, text);
    const log = new TestLog();
    t.same(openStore(path, log).snapshot(), EMPTY_STATE);
    t.equal(log.lines[0]?.level, 'error');
  }
  t.same(
    readdirSync(directory).sort(),
    damaged.map((_, index) => `state.json.damaged-${index + 1}`),
  );
  t.equal(readFileSync(join(directory, 'state.json.damaged-1'), 'utf8'), damaged[0]);
});

t.test('R07: files cut off or damaged at any byte are never taken for something else', async (t) => {
  const source = makeDirectory(t);
  const store = openStore(join(source, 'state.json'));
  const many = Array.from({ length: 3 }, (_, index) => ({ ...annas, prefix: `/user/u${index}/` }));
  await store.update((state) => changeRoutes(state, many, []));
  await store.compact();
  const states = [store.snapshot()];
  const steps: ((state: LiveState) => Change | undefined)[] = [
    (state) => putRoute(state, annas),
    (state) => removeRoute(state, '/user/u1/'),
    (state) => addRevocations(state, [{ session_id: 'a'.repeat(32), until: 2 ** 33 }], 50),
  ];
  for (const step of steps) {
    await store.update(step);
    states.push(store.snapshot());
  }
  await store.close();
  const whole = {
    json: readFileSync(join(source, 'state.json')),
    journal: readFileSync(join(source, 'state.journal')),
  };
  const directory = makeDirectory(t);
  const path = join(directory, 'state.json');
  const journalPath = join(directory, 'state.journal');
  let wrong = 0;

  /** @param allowed indexes into `states` that may come out; anything else must have been set aside */
  function check(json: Buffer, journal: Buffer, allowed: readonly number[], canBeEmpty: boolean): void {
    writeFileSync(path, json);
    writeFileSync(journalPath, journal);
    const log = new TestLog();
    const state = JSON.stringify(openStore(path, log).snapshot());
    const isSetAside = log.lines.some(({ level }) => level === 'error');
    const names = readdirSync(directory).filter((name) => name.includes('damaged'));
    const isRight = isSetAside
      ? canBeEmpty && names.length > 0 && state === JSON.stringify(EMPTY_STATE)
      : allowed.some((index) => JSON.stringify(states[index]) === state);
    if (!isRight) wrong++;
    for (const name of names) rmSync(join(directory, name));
  }

  for (let at = 0; at < whole.json.length; at++) {
    const flipped = Buffer.from(whole.json);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    check(flipped, whole.journal, [], true);
    // Without its last line break it is whole.
    check(whole.json.subarray(0, at), whole.journal, at === whole.json.length - 1 ? [3] : [], true);
  }
  t.equal(wrong, 0, 'the file');
  const lineEnds = [...whole.journal].flatMap((byte, at) => (byte === 0x0a ? [at + 1] : []));
  for (let at = 0; at < whole.journal.length; at++) {
    const linesBefore = lineEnds.filter((end) => end <= at).length;
    const flipped = Buffer.from(whole.journal);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    // Damage of the very last line break looks like a write that was cut off.
    check(whole.json, flipped, at === whole.journal.length - 1 ? [2] : [], true);
    check(whole.json, whole.journal.subarray(0, at), [linesBefore], false);
  }
  t.equal(wrong, 0, 'the journal');
  t.equal(lineEnds.length, 3);
});

t.test('R07: what cannot be written has not happened, and works again later', async (t) => {
  const directory = makeDirectory(t);
  const path = join(directory, 'absent', 'state.json');
  const store = openStore(path);
  await t.rejects(
    store.update((state) => putRoute(state, annas)),
    { code: 'MH_ERR_PROXY_STATE', details: { reason: 'ENOENT: no such file or directory' } },
  );
  t.equal(store.live.routeCount, 0);
  t.equal(store.changesSince(0), undefined, 'whoever saw it meanwhile gets the whole state');
  mkdirSync(join(directory, 'absent'));
  await store.update((state) => putRoute(state, annas));
  t.same(reopened(path), store.snapshot());
  await t.rejects(
    store.update(() => {
      throw new Error('refused');
    }),
  );
  await store.update((state) => removeRoute(state, '/user/anna/'));
  t.same(reopened(path).routes, []);
});

t.test('R07: what takes rights away counts although it cannot be written, and is written later', async (t) => {
  const directory = join(makeDirectory(t), 'later');
  const path = join(directory, 'state.json');
  const store = openStore(path);
  const revoke = (state: LiveState) => addRevocations(state, [{ session_id: 'a'.repeat(32), until: 2 ** 33 }], 10);
  const both = await Promise.allSettled([
    store.update((state) => putRoute(state, annas)),
    store.update(revoke, 'take away'),
    store.update((state) => removeRoute(state, '/user/anna/'), 'take away'),
  ]);
  t.same(
    both.map(({ status }) => status),
    ['rejected', 'rejected', 'rejected'],
  );
  t.equal(store.live.revocationCount, 1);
  t.equal(store.live.routeCount, 0);
  mkdirSync(directory);
  await store.update(revoke, 'take away');
  t.equal(reopened(path).revocations.length, 1, 'when it is asked for again');
});

t.test(
  'R07: versions only grow, over restarts with a full disk, over lost files, and when the clock goes back',
  async (t) => {
    const directory = makeDirectory(t);
    const path = join(directory, 'state.json');
    const atMs = Date.now();
    const first = StateStore.open(path, new TestLog(), atMs);
    await first.update((state) => putRoute(state, annas));
    const stored = first.live.version;
    t.ok(stored > atMs);
    rmSync(directory, { recursive: true });
    await t.rejects(first.update((state) => removeRoute(state, '/user/anna/'), 'take away'));
    const given = first.live.version;
    t.ok(given > stored);
    t.ok(StateStore.open(path, new TestLog(), atMs + 1000).live.version > given, 'lost files');
    const second = StateStore.open(path, new TestLog(), atMs - 1000);
    second.outrun(given);
    t.ok(second.live.version > given, 'a worker of the earlier one said so');
    t.equal(second.changesSince(given), undefined);
    mkdirSync(directory);
    await second.update((state) => putRoute(state, annas));
    const { version } = second.live;
    const third = StateStore.open(path, new TestLog(), atMs - 1000);
    t.equal(third.live.version, version, 'and it is on the disk');
    third.outrun(version + 10);
    await third.update((state) => removeRoute(state, '/user/anna/'));
    t.same(openStore(path).snapshot(), third.snapshot());
  },
);

t.test('a version that jumps while a change is written is on the disk with the next', async (t) => {
  const path = join(makeDirectory(t), 'state.json');
  const store = openStore(path);
  for (const isWhole of [false, true]) {
    if (isWhole) store.outrun(store.live.version + 5);
    const writing = store.update((state) => putRoute(state, { ...annas, prefix: `/at/${state.version}/` }));
    // Past the microtasks in which the change is made.
    await new Promise((resolve) => setImmediate(resolve));
    store.outrun(store.live.version + 5);
    await writing;
    const jumped = store.live.version;
    for (let count = 0; count < 8; count++) {
      await store.update((state) => putRoute(state, { ...annas, prefix: `/at/${state.version}/` }));
    }
    t.equal(store.changesSince(jumped)?.length, 8, 'whoever has that version gets all that came since');
    t.same(reopened(path), store.snapshot());
  }
});

t.test('of changes without end the latest are kept, as many as a worker takes at once', async (t) => {
  const store = openStore(join(makeDirectory(t), 'state.json'));
  const change = (count: number) =>
    Promise.all(Array.from({ length: count }, () => store.update((state) => ({ remove: [`/${state.version}/`] }))));
  for (let round = 0; round < 5; round++) await change(2000);
  const { version } = store.live;
  t.equal(version, 10_000);
  t.equal(store.changesSince(version - 1)?.[0]?.version, version);
  t.equal(store.changesSince(version - MAX_CHANGES)?.length, MAX_CHANGES);
  t.equal(store.changesSince(version - MAX_CHANGES - 1), undefined);
});

t.test('R07: a change that fails when it is made again fails alone, and the store goes on', async (t) => {
  const directory = join(makeDirectory(t), 'later');
  const store = openStore(join(directory, 'state.json'));
  const revoke = (state: LiveState) => addRevocations(state, [{ session_id: 'a'.repeat(32), until: 2 ** 33 }], 10);
  let calls = 0;
  const once = () => {
    if (calls++ > 0) throw new Error('only once');
    return { keys: [] };
  };
  const all = await Promise.allSettled([store.update(once, 'take away'), store.update(revoke, 'take away')]);
  t.match(all, [{ reason: { message: 'only once' } }, { reason: { code: 'MH_ERR_PROXY_STATE' } }]);
  t.equal(store.live.revocationCount, 1);
  mkdirSync(directory);
  t.equal(await store.update((state) => putRoute(state, annas)), true);
});

function next(state: LiveState, change: Change | undefined): LiveState {
  const none: Delta = { version: state.version + 1, remove: [], put: [], keys: null, revoke: [] };
  if (change !== undefined) state.apply({ ...none, ...change });
  return state;
}

t.test('routes are replaced by place, revocations by session, and old ones are forgotten', async (t) => {
  const state = new LiveState(EMPTY_STATE);
  next(state, putRoute(state, annas));
  next(state, putRoute(state, { ...annas, token: null }));
  t.same(state.snapshot().routes, [{ ...annas, token: null }]);
  t.equal(removeRoute(state, '/user/bob/'), undefined);
  next(state, removeRoute(state, '/user/anna/'));
  t.same(state.snapshot().routes, []);
  const [a, b] = ['a'.repeat(32), 'b'.repeat(32)];
  next(state, addRevocations(state, [{ session_id: a, until: 100 }], 50));
  next(
    state,
    addRevocations(
      state,
      [
        { session_id: b, until: 90 },
        { session_id: a, until: 120 },
        { session_id: b, until: 70 },
      ],
      50,
    ),
  );
  t.equal(state.findRevocation(a), 120);
  t.equal(state.findRevocation(b), 90);
  state.forget(100);
  t.same(state.snapshot().revocations, [{ session_id: a, until: 120 }]);
});

function revocations(count: number, until: number, digit: string) {
  return Array.from({ length: count }, (_, index) => ({
    session_id: `${digit}${index.toString(16).padStart(31, '0')}`,
    until,
  }));
}

t.test('too many revocations: the past ones go, then the oldest', async (t) => {
  const lasting = revocations(MAX_REVOCATIONS - 10, 200, 'a');
  const state = new LiveState({ ...EMPTY_STATE, revocations: lasting });
  next(state, { revoke: revocations(20, 90, 'b') });
  state.forget(100);
  t.same(state.snapshot().revocations, lasting, 'none that still counts');
  next(state, { revoke: revocations(11, 200, 'c') });
  state.forget(100);
  t.equal(state.revocationCount, MAX_REVOCATIONS);
  t.equal(state.findRevocation(lasting[0]?.session_id ?? ''), undefined);
  t.equal(state.findRevocation(lasting[1]?.session_id ?? ''), 200);
});

t.test('a worker takes the state however many sessions were revoked', async (t) => {
  const store = openStore(join(makeDirectory(t), 'state.json'));
  for (const digit of ['a', 'b', 'c']) {
    const more = revocations(20_000, 2 ** 33, digit);
    await store.update((state) => addRevocations(state, more, 50), 'take away');
  }
  const sent = JSON.parse(JSON.stringify(formatForGeneration(store.snapshot(), STATE_FORMAT)));
  t.equal(parseState(sent, '').revocations.length, MAX_REVOCATIONS);
});

t.test('of many routes at once only those that are new count, and each once', async (t) => {
  const make = (count: number, token: string) =>
    Array.from({ length: count }, (_, index) => ({ ...annas, prefix: `/u/${index}/`, token: token.repeat(43) }));
  const state = new LiveState({ ...EMPTY_STATE, routes: make(MAX_ROUTES - 1, 'a') });
  t.equal(changeRoutes(state, make(MAX_ROUTES - 1, 'b'), [])?.put?.length, MAX_ROUTES - 1, 'all replaced');
  const [one, two, three] = ['/1/', '/2/', '/3/'].map((prefix) => ({ ...annas, prefix })) as [Route, Route, Route];
  t.same(changeRoutes(state, [two, one, two], ['/u/0/']), { remove: ['/u/0/'], put: [two, one] });
  t.throws(() => changeRoutes(state, [one, two, three], ['/u/0/', '/u/0/']), { code: 'MH_ERR_PROXY_ROUTE' });
  t.throws(() => changeRoutes(state, [one, two], []), { code: 'MH_ERR_PROXY_ROUTE' });
  const [first] = make(1, 'a');
  t.equal(first && changeRoutes(state, [first], ['/u/0/']), undefined, 'what is put is not removed');
});

t.test('what changes nothing is no change', async (t) => {
  const a = 'a'.repeat(32);
  const state = new LiveState({ ...EMPTY_STATE, keys: [KEY], revocations: [{ session_id: a, until: 100 }] });
  t.equal(setKeys(state, [{ ...KEY }]), undefined);
  t.same(setKeys(state, [{ ...KEY, kid: 'other' }])?.keys?.length, 1);
  t.equal(addRevocations(state, [], 50), undefined);
  t.equal(addRevocations(state, [{ session_id: a, until: 90 }], 50), undefined, 'a revocation is never shortened');
  t.equal(addRevocations(state, [{ session_id: 'b'.repeat(32), until: 40 }], 50), undefined, 'past already');
  t.ok(addRevocations(state, [{ session_id: a, until: 101 }], 50));
  t.same(setKeys(state, []), { keys: [] });
});
