import t from 'tap';
import { LoginGate } from './login-gate.js';

const LIMITS = {
  perName: 1,
  perAddress: 2,
  total: 3,
  waitingPerName: 1,
  waitingPerAddress: 3,
  waitingTotal: 4,
  maxWaitMs: 10_000,
};

function isPending(promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([promise.then(() => false), new Promise<boolean>((resolve) => setImmediate(resolve, true))]);
}

t.test('one password at a time is checked of a name, a few of an address', async (t) => {
  const gate = new LoginGate(LIMITS);
  const leave = await gate.enter('anna', '1');
  const second = gate.enter('anna', '2');
  t.ok(await isPending(second));
  await gate.enter('bert', '1');
  const third = gate.enter('cora', '1');
  t.ok(await isPending(third), 'two of the address run already');
  leave();
  (await second)();
  (await third)();
});

t.test('who cannot run yet does not hold up the others', async (t) => {
  const gate = new LoginGate(LIMITS);
  const leave = await gate.enter('anna', '1');
  const waiting = gate.enter('anna', '2');
  t.notOk(await isPending(gate.enter('bert', '3')));
  leave();
  await waiting;
});

t.test('more than may wait are sent away', async (t) => {
  const gate = new LoginGate(LIMITS);
  const leave = await gate.enter('anna', '1');
  const waiting = gate.enter('anna', '2');
  await t.rejects(gate.enter('anna', '3'), { code: 'MH_ERR_BUSY' });
  t.ok(await isPending(waiting));
  leave();
  await waiting;
});

t.test('waiting ends', async (t) => {
  const gate = new LoginGate({ ...LIMITS, maxWaitMs: 5 });
  const leave = await gate.enter('anna', '1');
  await t.rejects(gate.enter('anna', '1'), { code: 'MH_ERR_BUSY' });
  leave();
  leave();
  await gate.enter('anna', '1');
});

t.test('without an address only the name and the total are bounded', async (t) => {
  const gate = new LoginGate(LIMITS);
  const leave = await gate.enter('anna', undefined);
  await gate.enter('bert', undefined);
  await gate.enter('cora', undefined);
  const waiting = ['dora', 'emil', 'fred', 'gina'].map((name) => gate.enter(name, undefined));
  t.ok(await isPending(Promise.race(waiting)), 'three run');
  await t.rejects(gate.enter('hans', undefined), { code: 'MH_ERR_BUSY' }, 'four wait, more than of one address');
  leave();
  for (const enter of waiting) (await enter)();
});
