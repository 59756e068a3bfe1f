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
  const end = (generation: number, started_ms: number, served: number): void => {
    writeFinalCounters(join(generations, `${generation}.sock`), {
      generation,
      pid: 7,
      started_ms,
      counters: { served },
    });
  };
  return { directory, open, end, served: (ledger: CounterLedger) => ledger.total()['served'] };
}

t.test('what generations counted stays when they end, each with its last word', async (t) => {
  const { open, end, served } = setUp(t);
  const ledger = open();
  ledger.note({ generation: 1, pid: 7, started_ms: 10, counters: { served: 5 } });
  ledger.note({ generation: 2, pid: 7, started_ms: 20, counters: { served: 100 } });
  t.equal(served(ledger), 105);
  end(1, 10, 7);
  ledger.settle('1');
  t.equal(served(ledger), 107, 'also what came after the last report');
  ledger.settle('2');
  t.equal(served(ledger), 107, 'of one that was killed what it had reported');
  ledger.note({ generation: 2, pid: 7, started_ms: 20, counters: { served: 101 } });
  t.equal(served(ledger), 108, 'it had only been slow');
});

t.test(
  'a successor goes on counting where its predecessor was, also for workers that ended between the two',
  async (t) => {
    const { open, end, served } = setUp(t);
    const first = open();
    first.count('own', 3);
    first.note({ generation: 1, pid: 7, started_ms: 10, counters: { served: 5 } });
    first.save();
    end(1, 10, 6);
    const second = open();
    t.equal(served(second), 6);
    t.equal(second.total()['own'], 3);
    second.note({ generation: 1, pid: 7, started_ms: 99, counters: { served: 1 } });
    t.equal(served(second), 7, 'numbers of generations may begin anew');
    end(1, 10, 6);
    second.settle('1');
    t.equal(served(second), 7, 'nothing is added twice');
  },
);

t.test('without the file, or with a damaged one, counting begins anew', async (t) => {
  const { directory, open, served } = setUp(t);
  const ledger = open();
  ledger.note({ generation: 1, pid: 7, started_ms: 10, counters: { served: 5 } });
  ledger.save();
  t.same(readdirSync(join(directory, 'counters')), ['counters.json']);
  writeFileSync(join(directory, 'counters', 'counters.json'), '{"own":{},"sum":{"served":-1}');
  writeFileSync(join(directory, 'counters', '7.counters'), '{"id":"7.1","counters":{"serv\\ned":1}}');
  const next = open();
  t.equal(served(next), undefined);
  rmSync(join(directory, 'counters'), { recursive: true });
  next.note({ generation: 2, pid: 7, started_ms: 1, counters: { served: 1 } });
  next.settle('2');
  t.equal(served(next), 1, 'it cannot be written: nothing fails');
});
