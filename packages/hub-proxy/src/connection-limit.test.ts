import t from 'tap';
import { ConnectionLimit } from './connection-limit.js';

const PER_SOURCE = 20;
const TOTAL = 100;

function newLimit(): ConnectionLimit {
  return new ConnectionLimit({
    perSource: PER_SOURCE,
    total: TOTAL,
    isExempt: (address) => address === '198.51.100.9',
  });
}

function enterMany(limit: ConnectionLimit, address: string, count: number): number {
  let entered = 0;
  for (let index = 0; index < count; index++) if (limit.enter(address)) entered++;
  return entered;
}

t.test('P09: one source cannot take all connections, and leaves room again', async (t) => {
  const limit = newLimit();
  t.equal(enterMany(limit, '192.0.2.1', PER_SOURCE + 5), PER_SOURCE);
  t.ok(limit.enter('192.0.2.2'));
  limit.leave('192.0.2.1');
  t.ok(limit.enter('::ffff:192.0.2.1'), 'the same address in its other form has the room');
  t.notOk(limit.enter('192.0.2.1'));
});

t.test('an IPv6 source is its /64', async (t) => {
  const limit = newLimit();
  enterMany(limit, '2001:db8::1', PER_SOURCE);
  t.notOk(limit.enter('2001:db8:0:0:ffff::2'));
  t.ok(limit.enter('2001:db8:0:1::1'));
});

t.test('loopback speaks for many, up to the limit of all', async (t) => {
  const limit = newLimit();
  t.equal(enterMany(limit, '127.0.0.1', TOTAL + 5), TOTAL);
  t.equal(enterMany(newLimit(), '::ffff:198.51.100.9', TOTAL + 5), TOTAL, 'so does a trusted proxy');
});
