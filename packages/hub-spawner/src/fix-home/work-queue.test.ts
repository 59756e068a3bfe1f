import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { openWorkQueue, QUEUE_BYTES } from './work-queue.js';

/** A thread that takes until the end. Before each wait for more it is held up, as by a machine that has other things to do. */
const SLOW_TAKER = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { memory, url } = workerData;
  const wait = Atomics.wait;
  const held = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait = (...words) => {
    parentPort.postMessage('waiting');
    wait(held, 0, 0, 100);
    return wait(...words);
  };
  import(url).then(({ openWorkQueue }) => {
    const queue = openWorkQueue(memory);
    queue.join();
    for (let next = queue.take(); next !== undefined; next = queue.take()) parentPort.postMessage(next);
    parentPort.postMessage('ended');
  });
`;

async function startSlowTaker(t: Test, memory: SharedArrayBuffer) {
  const url = new URL('work-queue.js', import.meta.url).href;
  const worker = new Worker(SLOW_TAKER, { eval: true, workerData: { memory, url } });
  t.teardown(() => worker.terminate());
  const said: unknown[] = [];
  worker.on('message', (message) => said.push(message));
  await new Promise((resolve) => worker.once('message', resolve));
  return {
    /** What it says next. */
    next: () => new Promise<unknown>((resolve) => worker.once('message', resolve)),
    /** @returns whether it came to its end */
    hasEnded: () =>
      new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), 30_000);
        worker.once('exit', () => {
          clearTimeout(timer);
          resolve(said.includes('ended'));
        });
      }),
  };
}

t.test('who is about to wait hears of the end, and of a failure', async (t) => {
  for (const isFailure of [false, true]) {
    const memory = new SharedArrayBuffer(QUEUE_BYTES);
    const queue = openWorkQueue(memory);
    queue.join();
    const taker = await startSlowTaker(t, memory);
    if (isFailure) queue.fail();
    else t.equal(queue.take(), undefined);
    t.ok(await taker.hasEnded(), isFailure ? 'a failure' : 'the end');
  }
});

t.test('who is about to wait takes what is offered meanwhile; more than is waited for is not taken', async (t) => {
  const memory = new SharedArrayBuffer(QUEUE_BYTES);
  const queue = openWorkQueue(memory);
  queue.join();
  t.notOk(queue.offer(6, 1));
  const taker = await startSlowTaker(t, memory);
  t.ok(queue.offer(7, 2));
  t.notOk(queue.offer(8, 2));
  t.same(await taker.next(), { fd: 7, depth: 2 });
  t.equal(queue.take(), undefined);
  t.ok(await taker.hasEnded());
});
