import t from 'tap';
import { createHomeKinds } from './fix-home-units.js';

interface Unit {
  readonly Result: string;
  readonly ExecMainCode: number;
  readonly ExecMainStatus: number;
}

const EXITED = { Result: 'success', ExecMainCode: 1 };

/** A manager whose unit ends like these, one after the other. */
function setUp(...ends: Unit[]) {
  const calls: string[] = [];
  const done = async (call: string) => {
    calls.push(call);
    await new Promise((resolve) => setTimeout(resolve, 5));
    return { unit: '', jobPath: '', result: 'done' as const, isDeduced: false };
  };
  const manager = {
    restartUnit: () => done('restart'),
    stopUnit: () => done('stop'),
    unitProperties: async () => ends.shift() as never,
  };
  return { calls, kinds: createHomeKinds(manager) };
}

t.test('all who want to know at once, and later, share one answer', async (t) => {
  const { kinds, calls } = setUp({ ...EXITED, ExecMainStatus: 1 });
  t.notOk(kinds.isKnown);
  const all = Promise.all([kinds.find(), kinds.find(), kinds.find()]);
  t.notOk(kinds.isKnown, 'what the unit has left is not removed under it');
  t.same(await all, ['owned', 'owned', 'owned']);
  t.ok(kinds.isKnown);
  t.equal(await kinds.find(), 'owned');
  t.same(calls, ['restart', 'stop']);
});

t.test('a process that still runs, never ran or was killed says nothing, and the next asks again', async (t) => {
  const { kinds, calls } = setUp(
    { Result: 'success', ExecMainCode: 0, ExecMainStatus: 0 },
    { Result: 'signal', ExecMainCode: 2, ExecMainStatus: 9 },
    { ...EXITED, ExecMainStatus: 2 },
    { ...EXITED, ExecMainStatus: 0 },
  );
  for (let failure = 0; failure < 3; failure++) await t.rejects(kinds.find(), { code: 'MH_ERR_SPAWN_REPAIR' });
  t.notOk(kinds.isKnown);
  t.equal(await kinds.find(), 'mapped');
  t.equal(calls.length, 8);
});
