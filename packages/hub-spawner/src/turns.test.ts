import t from 'tap';
import { createTurns } from './turns.js';

t.test('actions run one after the other, whatever becomes of them', async (t) => {
  const inTurn = createTurns();
  const calls: string[] = [];
  const act = (name: string) => async () => {
    calls.push(`${name} begins`);
    await new Promise((resolve) => setTimeout(resolve, 5));
    calls.push(`${name} ends`);
    if (name === 'a') throw new Error(name);
    return name;
  };
  const [a, b] = [inTurn(act('a')), inTurn(act('b'))];
  await t.rejects(a, { message: 'a' });
  t.equal(await b, 'b');
  t.same(calls, ['a begins', 'a ends', 'b begins', 'b ends']);
});

t.test('who leaves the queue is not run, and lets nobody pass those before', async (t) => {
  const inTurn = createTurns();
  const calls: string[] = [];
  let finish = (): void => undefined;
  const first = inTurn(() => new Promise<void>((resolve) => (finish = resolve)));
  const stop = new AbortController();
  const second = inTurn(async () => calls.push('second'), stop.signal);
  const third = inTurn(async () => calls.push('third'));
  stop.abort(new Error('stopped'));
  await t.rejects(second, { message: 'stopped' });
  await new Promise((resolve) => setTimeout(resolve, 5));
  t.same(calls, []);
  finish();
  await Promise.all([first, third]);
  t.same(calls, ['third']);
  await t.rejects(
    inTurn(async () => calls.push('fourth'), stop.signal),
    { message: 'stopped' },
  );
  t.same(calls, ['third']);
});
