import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { createIdleExit } from './idle-exit.js';

t.test(
  'it waits for quiet, begins anew with each request, and stays while there is something to look after',
  async (t) => {
    let isBusy = true;
    let calls = 0;
    const idle = createIdleExit({ idleMs: 60, isBusy: () => isBusy, onIdle: () => calls++ });
    await sleep(150);
    t.equal(calls, 0, 'busy');
    isBusy = false;
    for (let index = 0; index < 8; index++) {
      idle.touch();
      await sleep(20);
    }
    t.equal(calls, 0, 'asked again and again');
    await sleep(150);
    t.equal(calls, 1);
    idle.touch();
    idle.stop();
    idle.touch();
    await sleep(100);
    t.equal(calls, 1, 'stopped');
  },
);
