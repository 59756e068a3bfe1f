import t from 'tap';
import { ConnectionLimit } from './connection-limit.js';
import { fittingConnections } from './descriptor-budget.js';

t.test(
  'P09: no more connections are taken than there are descriptors for, with one for the server of each',
  async (t) => {
    t.equal(fittingConnections(24_000, 65_536), 24_000);
    t.equal(fittingConnections(24_000, 256), 96);
    t.equal(fittingConnections(24_000, 10), 1);
    t.ok(fittingConnections(24_000) > 1, 'of this process');
  },
);

t.test('P09: of few connections one source has half', async (t) => {
  const limit = new ConnectionLimit({ perSource: 2048, total: 96, isExempt: () => false });
  let entered = 0;
  while (limit.enter('192.0.2.1')) entered++;
  t.equal(entered, 48);
  t.ok(limit.enter('192.0.2.2'));
});
