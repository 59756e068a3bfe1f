import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@metalhub/base/time.js';
import { serveWire } from '@metalhub/wire/server.js';
import t from 'tap';
import { CounterLedger, writeFinalCounters } from './counter-ledger.js';
import { generationProtocol } from './generation-protocol.js';
import { OldWorkers } from './old-workers.js';
import { StateStore } from './state-store.js';
import { TestLog } from './testing/proxy.js';

const NAME = { generation: 1, index: 0 };
const REPORT = { generation: 1, pid: 2, draining: true, started_ms: 3, connections: 1, tunnels: 1, activity: [] };

function setUp(t: { teardown(end: () => void): void }) {
  const directory = mkdtempSync(join(tmpdir(), 'old-workers-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const gen = join(directory, 'gen');
  mkdirSync(gen);
  const log = new TestLog();
  const ledger = new CounterLedger(gen);
  ledger.load();
  const state = StateStore.open(join(directory, 'state.json'), log);
  return {
    gen,
    ledger,
    old: new OldWorkers({ directory: gen, clock: systemClock, log, ledger, state }),
    socketPath: join(gen, '1.sock'),
  };
}

t.test('a worker that ended as it should is counted once, also when it is looked for twice', async (t) => {
  const { old, ledger, socketPath, gen } = setUp(t);
  writeFinalCounters(socketPath, REPORT);
  const lost = old.adoptLost(NAME);
  t.same(await old.adoptMissed(), []);
  t.equal(await lost, undefined);
  t.match(ledger.total(), { 'generations_ended|drained': 1 });
  t.notOk('generations_ended|lost' in ledger.total());
  t.same(readdirSync(gen), []);
});

t.test(
  'a worker that lives is connected once, however many look for it, and is missed again when it goes',
  async (t) => {
    const { old, socketPath, ledger } = setUp(t);
    const open = new Set<{ destroy(): void }>();
    let connections = 0;
    const server = createServer((socket) => {
      connections++;
      open.add(socket);
      socket.on('close', () => open.delete(socket));
    });
    const handlers = {
      Start: async () => ({}),
      SetState: async () => ({}),
      ChangeState: async () => ({ applied: true }),
      Drain: async () => ({}),
      End: async () => ({}),
      Report: async () => REPORT,
    };
    serveWire(server, generationProtocol(socketPath), handlers, { log: new TestLog() });
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    const lost = old.adoptLost(NAME);
    const found = await Promise.all([old.adoptMissed(), old.adoptMissed(), lost]);
    t.equal(connections, 1);
    t.equal(old.list().length, 1);
    t.equal(found[0][0], old.list()[0]);
    const gone = old.list().map((worker) => worker.gone);
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of open) socket.destroy();
    });
    await Promise.all(gone);
    writeFinalCounters(socketPath, REPORT);
    for (let tries = 0; ledger.total()['generations_ended|drained'] === undefined && tries < 100; tries++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    t.same(old.list(), []);
    t.equal(ledger.total()['generations_ended|drained'], 1);
  },
);
