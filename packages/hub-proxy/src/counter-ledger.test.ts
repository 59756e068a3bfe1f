import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { CounterLedger, writeFinalCounters } from './counter-ledger.js';

function setUp(t: { teardown(end: () => void): void }) {
  const directory = mkdtempSync(join(tmpdir(), 'ledger-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const generations = join(directory, 'gen');
  mkdirSync(generations);
  const open = (): CounterLedger => {
    const ledger = new CounterLedger(generations);
    ledger.load();
    return ledger;
  };
  const end = (generation: number, started_ms: number, served: number, last_ms = 0): void => {
    writeFinalCounters(join(generations, `${generation}.sock`), {
      generation,
      pid: 7,
      started_ms,
      counters: { served },
      activity: [{ prefix: '/user/anna/', last_ms }],
    });
  };
  return { directory, generations, open, end, served: (ledger: CounterLedger) => ledger.total()['served'] };
}

t.test('what generations counted stays when they end, each with its last word', async (t) => {
  const { open, end, served } = setUp(t);
  const ledger = open();
  ledger.note([{ generation: 1, pid: 7, started_ms: 10, counters: { served: 5 } }]);
  ledger.note([{ generation: 2, pid: 7, started_ms: 20, counters: { served: 100 } }]);
  t.equal(served(ledger), 105);
  end(1, 10, 7);
  ledger.settle('1');
  t.equal(served(ledger), 107, 'also what came after the last report');
  ledger.settle('2');
  t.equal(served(ledger), 107, 'of one that was killed what it had reported');
  ledger.note([{ generation: 2, pid: 7, started_ms: 20, counters: { served: 101 } }]);
  t.equal(served(ledger), 108, 'it had only been slow');
});

t.test(
  'a successor goes on counting where its predecessor was, also for workers that ended between the two',
  async (t) => {
    const { open, end, served } = setUp(t);
    const first = open();
    first.count('own', 3);
    first.note([{ generation: 1, pid: 7, started_ms: 10, counters: { served: 5 } }]);
    first.save();
    end(1, 10, 6);
    const second = open();
    t.equal(served(second), 6);
    t.equal(second.total()['own'], 3);
    second.note([{ generation: 1, pid: 7, started_ms: 99, counters: { served: 1 } }]);
    t.equal(served(second), 7, 'numbers of generations may begin anew');
    end(1, 10, 6);
    second.settle('1');
    t.equal(served(second), 7, 'nothing is added twice');
  },
);

t.test('a worker that has just ended counts before anybody has looked after it: nothing ever goes back', async (t) => {
  const { open, end, served } = setUp(t);
  const ledger = open();
  ledger.note([{ generation: 1, pid: 7, started_ms: 10, counters: { served: 5 } }]);
  end(1, 10, 7);
  ledger.note([]);
  t.equal(served(ledger), 7);
  ledger.settle('1');
  t.equal(served(ledger), 7);
});

t.test('one that ends while a successor starts has ended once, in order', async (t) => {
  const { generations, open, end } = setUp(t);
  open();
  end(1, 10, 7);
  // It writes its last word, then removes its socket.
  writeFileSync(join(generations, '1.sock'), '');
  const ledger = open();
  ledger.settle('1');
  t.match(ledger.total(), { served: 7, 'generations_ended|drained': 1 });
  t.equal(ledger.total()['generations_ended|lost'], undefined);
});

t.test('when a route was last used is known after all who used it, and their supervisor, have ended', async (t) => {
  const { open, end } = setUp(t);
  const first = open();
  first.note([{ generation: 1, pid: 7, started_ms: 10, activity: [{ prefix: '/user/anna/', last_ms: 50 }] }]);
  end(1, 10, 7, 60);
  first.settle('1');
  const second = open();
  t.equal(second.activity.find('/user/anna/'), 60);
  end(2, 10, 7, 40);
  second.settle('2');
  t.equal(second.activity.find('/user/anna/'), 60, 'the newest time counts');
  second.activity.note([{ prefix: '/user/bob/', last_ms: 70 }]);
  second.activity.keepOnly((key) => key === '/user/bob/');
  second.save();
  const third = open();
  t.equal(third.activity.find('/user/anna/'), undefined, 'of routes that are gone nothing is kept');
  t.equal(third.activity.find('/user/bob/'), 70);
});

t.test('without the file, or with a damaged one, counting begins anew', async (t) => {
  const { directory, open, served } = setUp(t);
  const ledger = open();
  ledger.note([{ generation: 1, pid: 7, started_ms: 10, counters: { served: 5 } }]);
  ledger.save();
  t.same(readdirSync(join(directory, 'counters')).sort(), ['activity.json', 'counters.json']);
  writeFileSync(join(directory, 'counters', 'counters.json'), '{"own":{},"sum":{"served":-1}');
  writeFileSync(join(directory, 'counters', 'activity.json'), '{"activity":[{"prefix":7}]}');
  writeFileSync(join(directory, 'counters', '7.counters'), '{"id":"7.1","counters":{"serv\\ned":1}}');
  const next = open();
  t.equal(served(next), undefined);
  rmSync(join(directory, 'counters'), { recursive: true });
  next.note([{ generation: 2, pid: 7, started_ms: 1, counters: { served: 1 } }]);
  next.settle('2');
  t.equal(served(next), 1, 'it cannot be written: nothing fails');
});
