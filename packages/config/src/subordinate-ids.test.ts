import t from 'tap';
import { parseDelegations } from './subordinate-ids.js';

t.test('delegations are read, and what is none is passed over', async (t) => {
  const text = '# comment\nanna:100000:65536\n1001:70000:1\n\nbob:1:0\neve:x:5\ncut:5\n';
  t.same(parseDelegations(text), [
    { name: 'anna', first: 100_000, last: 165_535 },
    { name: '1001', first: 70_000, last: 70_000 },
  ]);
});
