import { chownSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '@metalhub/base/log.js';
import { parseKey } from '@metalhub/base/names.js';
import t, { type Test } from 'tap';
import type { HomePlaces } from './home.js';
import { createHomeMarkers } from './home-marker.js';
import { createHomeRepairs, type HomeKind, type PassRequest } from './home-repair.js';

const UID = 70_001;
const MAPPED = 65_534;
const key = parseKey('anna');
const skip = process.getuid?.() === 0 ? false : 'only root can make what belongs to others';
const nothing = (): void => {};
const log: Log = {
  ...{ debug: nothing, info: nothing, notice: nothing, warning: nothing, error: nothing, critical: nothing },
  child: () => log,
};

/** A home whose passes do what hub-fix-home's do to the top directory, on a machine of this kind. */
function setUp(t: Test, options: { kind?: HomeKind; runs?: boolean; onPass?: () => void | Promise<void> } = {}) {
  const root = t.testdir({ private: { home: {} }, home: {}, mountinfo: '', protected: '1\n' });
  const home = join(root, 'private/home/anna');
  const places: HomePlaces = {
    directory: home,
    link: join(root, 'home/anna'),
    mountInfo: join(root, 'mountinfo'),
    protectedHardlinks: join(root, 'protected'),
  };
  const markers = join(root, 'markers');
  const passes: Omit<PassRequest, 'signal'>[] = [];
  const repairs = createHomeRepairs({
    log,
    clock: { nowMs: () => 1000, monotonicMs: () => 0 },
    markers: createHomeMarkers(markers),
    manager: {
      listUnitsByPatterns: async () =>
        options.runs === true
          ? [{ name: 'x', description: '', loadState: 'loaded', activeState: 'active', subState: '', jobId: 0 }]
          : [],
    },
    ownerOf: async (uid) => (uid === 1000 ? 'the account eve' : undefined),
    findKind: async () => options.kind ?? 'mapped',
    placesOf: () => places,
    runPass: async ({ signal, ...pass }) => {
      await options.onPass?.();
      await new Promise((resolve) => setTimeout(resolve, 20));
      signal.throwIfAborted();
      passes.push(pass);
      if (!pass.isCheck) chownSync(home, pass.owner, pass.owner);
      const found = { seen: 1, changed: 0, left: 0, left_examples: [], duration_ms: 1 };
      return { id: '0'.repeat(32), begun_at_ms: 2000, pass: found };
    },
  });
  return {
    ...{ home, passes, markers },
    make(uid: number): void {
      mkdirSync(home);
      writeFileSync(join(home, 'file'), '');
      chownSync(home, uid, uid);
    },
    prepare: (isSuspect = false, { signal } = new AbortController()) =>
      repairs.prepare(key, UID, { signal, isSuspect, onRepair: nothing }),
    fix: (isCheck = false, { signal } = new AbortController()) => repairs.fix(key, UID, { isCheck, signal }),
  };
}

t.test('a home that systemd makes needs no pass, nor does it later', { skip }, async (t) => {
  const { prepare, make, passes } = setUp(t);
  const first = await prepare();
  t.equal(first.checkedAtMs, undefined);
  make(MAPPED);
  await first.confirm();
  first.leave();
  t.equal((await prepare()).checkedAtMs, 1000);
  t.same(passes, []);
});

t.test('a server that runs is not given up when a new home cannot be marked', { skip }, async (t) => {
  const { prepare, make, passes, markers } = setUp(t);
  const first = await prepare();
  make(MAPPED);
  writeFileSync(markers, 'no directory can be made here');
  await first.confirm();
  first.leave();
  rmSync(markers);
  await prepare();
  t.equal(passes.length, 1, 'the next start looks at it');
});

t.test('one that nobody has looked at, or another directory in its place, is passed over once', { skip }, async (t) => {
  const { prepare, make, home, passes } = setUp(t);
  make(MAPPED);
  for (let start = 0; start < 2; start++) (await prepare()).leave();
  t.same(passes, [{ key, owner: MAPPED, isCheck: false, isAlone: true }]);
  renameSync(home, `${home}.old`);
  make(MAPPED);
  for (let start = 0; start < 2; start++) (await prepare()).leave();
  t.equal(passes.length, 2);
  t.equal((await prepare(true)).checkedAtMs, 2000);
  t.equal(passes.length, 3, 'and when somebody has seen files of others');
});

for (const { kind, top, owner } of [
  { kind: 'mapped', top: 0, owner: MAPPED },
  { kind: 'mapped', top: 70_999, owner: MAPPED },
  { kind: 'mapped', top: UID, owner: UID },
  { kind: 'owned', top: 0, owner: UID },
  { kind: 'owned', top: MAPPED, owner: UID },
  { kind: 'owned', top: UID, owner: UID },
] as const) {
  t.test(`what belongs to ${top} is given to ${owner} where homes are ${kind}`, { skip }, async (t) => {
    const { fix, make, passes } = setUp(t, { kind });
    make(top);
    t.equal((await fix()).kind, owner === UID ? 'owned' : 'mapped');
    t.match(passes, [{ owner }]);
  });
}

t.test("S07: an account's directory is given to nobody else", { skip }, async (t) => {
  const { fix, prepare, make, passes } = setUp(t);
  make(1000);
  for (const call of [() => fix(), async () => void (await prepare())]) {
    await t.rejects(call(), { code: 'MH_ERR_SPAWN_HOME_FOREIGN', details: { owner: 'the account eve' } });
  }
  t.same(passes, []);
});

t.test('while something of the user runs the top is not changed, and the pass knows of it', { skip }, async (t) => {
  const { fix, make, passes, home } = setUp(t, { runs: true });
  make(0);
  await t.rejects(fix(), { code: 'MH_ERR_SPAWN_REPAIR', hint: /systemctl stop jupyter-anna.slice/ });
  t.same(passes, []);
  chownSync(home, MAPPED, MAPPED);
  await fix();
  t.match(passes, [{ isAlone: false }]);
});

t.test('a start waits for a pass, and a pass knows of a start that is under way', { skip }, async (t) => {
  const { fix, prepare, make, passes } = setUp(t);
  make(MAPPED);
  const order: string[] = [];
  const pass = fix().then(() => order.push('pass'));
  const start = await prepare();
  order.push('start');
  await pass;
  t.same(order, ['pass', 'start']);
  await fix();
  start.leave();
  await fix();
  t.same(
    passes.map(({ isAlone }) => isAlone),
    [true, false, true],
  );
});

t.test('who waits for a pass can leave, and who comes later waits for it all the same', { skip }, async (t) => {
  let finish = nothing;
  let tellBegun = nothing;
  const end = new Promise<void>((resolve) => (finish = resolve));
  const begun = new Promise<void>((resolve) => (tellBegun = resolve));
  const { fix, prepare, make, passes } = setUp(t, {
    onPass: () => {
      tellBegun();
      return end;
    },
  });
  make(MAPPED);
  const order: string[] = [];
  const first = fix().then(() => order.push('pass'));
  await begun;
  const [start, check] = [new AbortController(), new AbortController()];
  const left: Promise<unknown>[] = [prepare(false, start), fix(true, check)];
  const last = prepare().then(({ leave }) => {
    order.push('start');
    leave();
  });
  for (const abort of [start, check]) abort.abort(new Error('gone'));
  for (const promise of left) await t.rejects(promise, { message: 'gone' });
  t.same(order, []);
  finish();
  await Promise.all([first, last]);
  t.same(order, ['pass', 'start']);
  t.equal(passes.length, 1);
});

t.test(
  'a pass that was interrupted is made again by the next start; a check changes nothing of that',
  { skip },
  async (t) => {
    const abort = new AbortController();
    const onPass = (): void => {
      if (passes.length === 1) abort.abort(new Error('gone'));
    };
    const { fix, prepare, make, passes } = setUp(t, { onPass });
    make(MAPPED);
    (await prepare()).leave();
    await t.rejects(fix(false, abort), { message: 'gone' });
    t.equal(passes.length, 1);
    (await prepare()).leave();
    t.equal(passes.length, 2);
  },
);
