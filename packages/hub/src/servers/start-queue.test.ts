import t from 'tap';
import { inTurns, StartQueue } from './start-queue.js';

const never = new AbortController().signal;
const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test('users take turns, those who had one after those who had none', async (t) => {
  const waiting = [1, 1, 1, 2, 3, 2].map((owner, index) => ({ owner, index }));
  const order = (turns: [number, number][]) => inTurns(waiting, new Map(turns)).map(({ index }) => index);
  t.same(order([]), [0, 3, 4, 1, 5, 2]);
  t.same(order([[1, 1]]), [3, 4, 0, 5, 1, 2]);
});

t.test('so many go at once, the others are told how many come before them', async (t) => {
  const queue = new StartQueue(() => 2);
  const told: string[] = [];
  const gone: number[] = [];
  const leave = new Map<number, () => void>();
  for (const owner of [1, 2, 3, 4]) {
    void queue
      .enter(owner, never, (ahead) => told.push(`${owner}: ${ahead}`))
      .then((left) => {
        gone.push(owner);
        leave.set(owner, left);
      });
  }
  await turn();
  t.same(gone, [1, 2]);
  t.same(told, ['3: 0', '4: 1']);
  leave.get(2)?.();
  leave.get(2)?.();
  await turn();
  t.same(gone, [1, 2, 3], 'a place is given up once');
  t.same(told, ['3: 0', '4: 1', '4: 0']);
});

t.test('many starts of one user keep nobody else waiting', async (t) => {
  const queue = new StartQueue(() => 1);
  const gone: string[] = [];
  const enter = (owner: number, name: string) =>
    queue
      .enter(owner, never, () => undefined)
      .then((leave) => {
        gone.push(name);
        setImmediate(leave);
      });
  await Promise.all([enter(1, 'a1'), enter(1, 'a2'), enter(1, 'a3'), enter(2, 'b1'), enter(3, 'c1')]);
  t.same(gone, ['a1', 'b1', 'c1', 'a2', 'a3']);
});

t.test('who gives up while waiting is passed over', async (t) => {
  const queue = new StartQueue(() => 1);
  const leave = await queue.enter(1, never, () => undefined);
  const stop = new AbortController();
  const told: number[] = [];
  const second = queue.enter(2, stop.signal, () => undefined);
  const third = queue.enter(3, never, (ahead) => told.push(ahead));
  stop.abort(new Error('cancelled'));
  await t.rejects(second, { message: 'cancelled' });
  t.same(told, [1, 0]);
  leave();
  await third;
  await t.rejects(
    queue.enter(4, stop.signal, () => undefined),
    { message: 'cancelled' },
    'nor is one that comes too late',
  );
});

t.test('a limit that is raised lets more go with the next one', async (t) => {
  let limit = 1;
  const queue = new StartQueue(() => limit);
  const leave = await queue.enter(1, never, () => undefined);
  const others = [2, 3].map((owner) => queue.enter(owner, never, () => undefined));
  limit = 2;
  leave();
  t.equal((await Promise.all(others)).length, 2);
});
