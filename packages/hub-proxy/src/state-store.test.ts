import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import {
  defaultRoute,
  EMPTY_STATE,
  type ProxyState,
  withKeys,
  withoutRoute,
  withRevocations,
  withRoute,
} from './proxy-state.js';
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

t.test('what was stored is there after a restart, for its owner only', async (t) => {
  const path = join(makeDirectory(t), 'state.json');
  const store = StateStore.open(path, new TestLog());
  await store.update((state) => withRoute(state, annas));
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.same(StateStore.open(path, new TestLog()).state, { ...EMPTY_STATE, version: 1, routes: [annas] });
});

t.test('changes made at once come one after the other, none is lost', async (t) => {
  const path = join(makeDirectory(t), 'state.json');
  const store = StateStore.open(path, new TestLog());
  await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      store.update((state) => withRoute(state, { ...annas, prefix: `/user/u${index}/` })),
    ),
  );
  t.equal(StateStore.open(path, new TestLog()).state.routes.length, 20);
  t.equal(store.state.version, 20);
});

t.test('a damaged file is set aside under a name of its own, loudly', async (t) => {
  const directory = makeDirectory(t);
  const path = join(directory, 'state.json');
  const damaged = ['{"version":', '{"version":1,"routes":[{"prefix":"../"}],"keys":[],"revocations":[]}', '[]', ''];
  for (const text of damaged) {
    writeFileSync(path, text);
    const log = new TestLog();
    t.same(StateStore.open(path, log).state, EMPTY_STATE);
    t.equal(log.lines[0]?.level, 'error');
  }
  t.same(
    readdirSync(directory).sort(),
    damaged.map((_, index) => `state.json.damaged-${index + 1}`),
  );
  t.equal(readFileSync(join(directory, 'state.json.damaged-1'), 'utf8'), damaged[0]);
});

t.test('R07: what cannot be written has not happened, and works again later', async (t) => {
  const directory = makeDirectory(t);
  const path = join(directory, 'absent', 'state.json');
  const store = StateStore.open(path, new TestLog());
  await t.rejects(
    store.update((state) => withRoute(state, annas)),
    { code: 'MH_ERR_PROXY_STATE', details: { reason: 'ENOENT: no such file or directory' } },
  );
  t.same(store.state, EMPTY_STATE);
  const good = StateStore.open(join(directory, 'state.json'), new TestLog());
  await t.rejects(
    good.update(() => {
      throw new Error('refused');
    }),
  );
  await good.update((state) => withRoute(state, annas));
  t.equal(good.state.routes.length, 1);
  chmodSync(directory, 0o700);
});

t.test('R07: what takes rights away counts although it cannot be written, and is written later', async (t) => {
  const directory = join(makeDirectory(t), 'later');
  const path = join(directory, 'state.json');
  const store = StateStore.open(path, new TestLog());
  const revoke = (state: ProxyState) => withRevocations(state, [{ session_id: 'a'.repeat(32), until: 50 }], 10);
  await t.rejects(store.update(revoke, 'take away'), { code: 'MH_ERR_PROXY_STATE' });
  t.equal(store.state.revocations.length, 1);
  mkdirSync(directory);
  await store.update(revoke, 'take away');
  t.equal(StateStore.open(path, new TestLog()).state.revocations.length, 1, 'when it is asked for again');
});

t.test('routes are replaced by prefix, revocations by session, and old ones are forgotten', async (t) => {
  const once = withRoute(EMPTY_STATE, annas);
  const twice = withRoute(once, { ...annas, token: null });
  t.same(twice.routes, [{ ...annas, token: null }]);
  t.equal(withoutRoute(twice, '/user/bob/'), undefined);
  t.same(withoutRoute(twice, '/user/anna/')?.routes, []);
  const [a, b] = ['a'.repeat(32), 'b'.repeat(32)];
  const revoked = withRevocations(EMPTY_STATE, [{ session_id: a, until: 100 }], 50);
  t.same(revoked.revocations, [{ session_id: a, until: 100 }]);
  t.same(withRevocations(revoked, [{ session_id: b, until: 300 }], 200).revocations, [{ session_id: b, until: 300 }]);
  const twiceInOne = [
    { session_id: b, until: 90 },
    { session_id: a, until: 120 },
    { session_id: b, until: 70 },
  ];
  t.same(withRevocations(revoked, twiceInOne, 50).revocations, [
    { session_id: a, until: 120 },
    { session_id: b, until: 90 },
  ]);
});

t.test('what changes nothing leaves the very same state', async (t) => {
  const key = { kty: 'OKP', crv: 'Ed25519', x: 'x'.repeat(43), kid: 'k' } as const;
  const a = 'a'.repeat(32);
  const state = withRevocations(withKeys(EMPTY_STATE, [key]), [{ session_id: a, until: 100 }], 50);
  t.equal(withKeys(state, [{ ...key }]), state);
  t.not(withKeys(state, [{ ...key, kid: 'other' }]), state);
  t.equal(withRevocations(state, [], 50), state);
  t.equal(withRevocations(state, [{ session_id: a, until: 90 }], 50), state, 'a revocation is never shortened');
  t.equal(withRevocations(state, [{ session_id: 'b'.repeat(32), until: 40 }], 50), state, 'past already');
  t.not(withRevocations(state, [{ session_id: a, until: 101 }], 50), state);
  t.same(withKeys(state, []).keys, []);
});
