import { parseKey, parseServerName, serverId } from '@metalhub/base/names.js';
import t from 'tap';
import { createOperations, createSlots } from './operations.js';

const id = serverId(parseKey('anna'), parseServerName(''));

function gate(): { open: () => void; opened: Promise<void> } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

t.test('starts of one server share one run, and hear of the stages that went before', async (t) => {
  const operations = createOperations<number, string>();
  const { open, opened } = gate();
  let runs = 0;
  const run = async ({ stage }: { stage: (name: string) => void }): Promise<number> => {
    stage('one');
    await opened;
    stage('two');
    return ++runs;
  };
  const heard: [string[], string[]] = [[], []];
  const first = operations.start(id, (stage) => heard[0].push(stage), run);
  await Promise.resolve();
  await Promise.resolve();
  const second = operations.start(id, (stage) => heard[1].push(stage), run);
  t.ok(operations.isPending(id));
  open();
  t.same(await Promise.all([first, second]), [1, 1]);
  t.same(heard, [
    ['one', 'two'],
    ['one', 'two'],
  ]);
  t.notOk(operations.isPending(id));
  t.equal(operations.size, 0);
});

t.test('a stop aborts the start, waits for its end and only then runs', async (t) => {
  const operations = createOperations<string, string>();
  const order: string[] = [];
  const start = operations.start(
    id,
    () => {},
    async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      order.push('start ended');
      throw signal.reason;
    },
  );
  const failed = t.rejects(start, { code: 'MH_ERR_SPAWN_CANCELLED' });
  await Promise.resolve();
  await Promise.resolve();
  const stop = operations.stop(id, async () => {
    order.push('stop ran');
    return 'stopped';
  });
  t.equal(await stop, 'stopped');
  await failed;
  t.same(order, ['start ended', 'stop ran']);
});

t.test('a start waits for a stop, stops share one run, and what was asked last holds', async (t) => {
  const operations = createOperations<string, string>();
  const { open, opened } = gate();
  const order: string[] = [];
  const stop = (): Promise<string> =>
    operations.stop(id, async () => {
      await opened;
      order.push('stopped');
      return 'stopped';
    });
  const start = (): Promise<string> =>
    operations.start(
      id,
      () => {},
      async () => {
        order.push('started');
        return 'started';
      },
    );
  const all = Promise.all([stop(), stop(), start(), start()]);
  open();
  t.same(await all, ['stopped', 'stopped', 'started', 'started']);
  t.same(order, ['stopped', 'started']);
});

t.test('a failed start is over: the next one runs', async (t) => {
  const operations = createOperations<string, string>();
  await t.rejects(
    operations.start(
      id,
      () => {},
      async () => Promise.reject(new Error('no')),
    ),
  );
  t.equal(
    await operations.start(
      id,
      () => {},
      async () => 'yes',
    ),
    'yes',
  );
});

t.test('so many run at once, the rest in order, and who gives up leaves the queue', async (t) => {
  const slots = createSlots(2, 2);
  const never = new AbortController();
  const leave = await slots.enter(never.signal);
  await slots.enter(never.signal);
  const order: string[] = [];
  const givesUp = new AbortController();
  const third = slots.enter(givesUp.signal);
  const fourth = slots.enter(never.signal).then((leaveFourth) => {
    order.push('fourth');
    return leaveFourth;
  });
  await t.rejects(slots.enter(never.signal), { code: 'MH_ERR_BUSY' });
  givesUp.abort(new Error('gave up'));
  await t.rejects(third, { message: 'gave up' });
  t.same(order, []);
  leave();
  leave();
  (await fourth)();
  const last = await slots.enter(never.signal);
  last();
  t.same(order, ['fourth']);
});
