import t from 'tap';
import { LoginRate } from './login-rate.js';
import { TestClock } from './testing/proxy.js';

t.test('one address may send so many logins, others are not affected, and room comes back evenly', async (t) => {
  const clock = new TestClock();
  const rate = new LoginRate(60, clock);
  for (let count = 0; count < 120; count++) t.ok(rate.take('192.0.2.1'), `login ${count}`);
  t.notOk(rate.take('192.0.2.1'));
  t.ok(rate.take('192.0.2.2'));
  clock.offsetMs += 5000;
  let again = 0;
  while (again < 20 && rate.take('::ffff:192.0.2.1')) again++;
  t.equal(again, 5);
});

t.test('an IPv6 visitor is their /64', async (t) => {
  const rate = new LoginRate(1, new TestClock());
  t.ok(rate.take('2001:db8::1'));
  t.ok(rate.take('2001:db8::2'));
  t.notOk(rate.take('2001:db8::3'));
  t.ok(rate.take('2001:db8:0:1::3'));
});
