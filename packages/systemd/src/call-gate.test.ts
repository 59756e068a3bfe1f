import t from 'tap';
import { createCallGate } from './call-gate.js';

t.test('so many are at work at once, in the order they came, also when some fail', async (t) => {
  const gate = createCallGate(3);
  const began: number[] = [];
  let atWork = 0;
  let most = 0;
  const work = (index: number) => async () => {
    began.push(index);
    most = Math.max(most, ++atWork);
    await new Promise((resolve) => setTimeout(resolve, 2));
    atWork--;
    if (index % 4 === 0) throw new Error('failed');
    return index;
  };
  const numbers = Array.from({ length: 20 }, (_, index) => index);
  const ends = await Promise.allSettled(numbers.map((index) => gate.run(work(index))));
  t.equal(most, 3);
  t.same(began, numbers);
  t.same(
    ends.map(({ status }) => status === 'rejected'),
    numbers.map((index) => index % 4 === 0),
  );
  t.equal(await gate.run(async () => 'again'), 'again');
});
