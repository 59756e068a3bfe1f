import { DAY_MS, MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import t from 'tap';
import { TestClock } from '../testing/test-hub.js';
import { Penalties } from './penalties.js';
import { addressBlock, isLocal, Throttle } from './throttle.js';

const RULES = { perFailureMs: 5 * SECOND_MS, enforceFromMs: 15 * SECOND_MS, capMs: 10 * MINUTE_MS, maxEntries: 100 };

t.test('penalties', async (t) => {
  await t.test('count once enough of them add up, until all has passed', async (t) => {
    const clock = new TestClock();
    const penalties = new Penalties(RULES, clock);
    t.notOk(penalties.add('a'));
    t.notOk(penalties.add('a'));
    t.equal(penalties.blockedForMs('a'), 0, 'two mistakes are nothing');
    t.ok(penalties.add('a'), 'the third begins the block');
    t.equal(penalties.blockedForMs('a'), 15 * SECOND_MS);
    t.notOk(penalties.add('a'), 'and says so once');
    clock.pass(19 * SECOND_MS);
    t.equal(penalties.blockedForMs('a'), SECOND_MS, 'also when less is left than it takes to begin one');
    clock.pass(SECOND_MS);
    t.equal(penalties.blockedForMs('a'), 0);
    t.equal(penalties.size, 0);
  });

  await t.test('fade between mistakes that are far apart', async (t) => {
    const clock = new TestClock();
    const penalties = new Penalties(RULES, clock);
    for (let mistakes = 0; mistakes < 100; mistakes++) {
      penalties.add('a');
      clock.pass(6 * SECOND_MS);
    }
    t.equal(penalties.blockedForMs('a'), 0);
  });

  await t.test('H11: are capped at ten minutes', async (t) => {
    const penalties = new Penalties(RULES, new TestClock());
    for (let failures = 0; failures < 1000; failures++) penalties.add('a');
    t.equal(penalties.blockedForMs('a'), 10 * MINUTE_MS);
  });

  await t.test('H11: are bounded in number', async (t) => {
    const penalties = new Penalties(RULES, new TestClock());
    for (let name = 0; name < 10_000; name++) penalties.add(`name ${name}`);
    t.equal(penalties.size, 100);
  });

  await t.test('R08: neither free nor lock anybody when the wall clock jumps', async (t) => {
    for (const jumpMs of [DAY_MS, -DAY_MS]) {
      const clock = new TestClock();
      const penalties = new Penalties(RULES, clock);
      for (let failures = 0; failures < 3; failures++) penalties.add('a');
      clock.wallMs += jumpMs;
      t.equal(penalties.blockedForMs('a'), 15 * SECOND_MS);
      clock.pass(15 * SECOND_MS);
      t.equal(penalties.blockedForMs('a'), 0);
    }
  });

  await t.test('outlive a restart', async (t) => {
    const clock = new TestClock();
    const before = new Penalties(RULES, clock);
    for (let failures = 0; failures < 4; failures++) before.add('a');
    before.add('b');
    const after = new Penalties(RULES, clock);
    after.restore(before.snapshot(10));
    t.equal(after.blockedForMs('a'), 20 * SECOND_MS);
    t.equal(after.blockedForMs('b'), 0);
    t.same(
      before.snapshot(1).map(({ subject }) => subject),
      ['a'],
    );
  });
});

t.test('the throttle', async (t) => {
  const stranger = (name: string, address: string) => ({ name, address, isKnown: false });
  const owner = (name: string, address: string) => ({ name, address, isKnown: true });

  await t.test('H11: slows one address that tries many names', async (t) => {
    const throttle = new Throttle(new TestClock());
    for (let name = 0; name < 9; name++) throttle.noteFailure(stranger(`name ${name}`, '192.0.2.1'));
    t.ok(throttle.blockedForMs(stranger('anna', '192.0.2.1')) > 0);
    t.equal(throttle.blockedForMs(stranger('anna', '192.0.2.2')), 0);
    t.equal(throttle.blockedForMs(owner('anna', '192.0.2.1')), 0, 'those who have logged in from there may');
  });

  await t.test('H11: slows many addresses that try one name, but not its owner', async (t) => {
    const throttle = new Throttle(new TestClock());
    for (let host = 0; host < 1000; host++) throttle.noteFailure(stranger('anna', `192.0.2.${host}`));
    t.ok(throttle.blockedForMs(stranger('anna', '198.51.100.1')) > 0);
    t.equal(throttle.blockedForMs(owner('anna', '198.51.100.1')), 0, 'from where she has logged in before');
    t.equal(throttle.blockedForMs(stranger('bert', '198.51.100.1')), 0);
  });

  await t.test('H11: a known address is no way to guess on', async (t) => {
    const throttle = new Throttle(new TestClock());
    for (let tries = 0; tries < 3; tries++) throttle.noteFailure(owner('anna', '192.0.2.1'));
    t.ok(throttle.blockedForMs(owner('anna', '192.0.2.1')) > 0);
    t.equal(throttle.blockedForMs(owner('bert', '192.0.2.1')), 0);
    t.equal(throttle.blockedForMs(stranger('anna', '192.0.2.9')), 0);
  });

  await t.test('H11: an owner who logs in makes no room for those who guess', async (t) => {
    const throttle = new Throttle(new TestClock());
    for (let host = 0; host < 5; host++) throttle.noteFailure(stranger('anna', `192.0.2.${host}`));
    throttle.noteSuccess(owner('anna', '198.51.100.1'));
    t.ok(throttle.blockedForMs(stranger('anna', '203.0.113.1')) > 0);
  });

  await t.test('forgives the name that logs in, not the address', async (t) => {
    const throttle = new Throttle(new TestClock());
    for (let tries = 0; tries < 9; tries++) throttle.noteFailure(stranger('anna', '192.0.2.1'));
    throttle.noteSuccess(stranger('anna', '192.0.2.1'));
    t.equal(throttle.blockedForMs(stranger('anna', '192.0.2.2')), 0);
    t.ok(throttle.blockedForMs(stranger('anna', '192.0.2.1')) > 0);
  });

  await t.test('H11: the own address of the machine stands for everybody, so only names count there', async (t) => {
    for (const address of ['127.0.0.1', '::1']) {
      const throttle = new Throttle(new TestClock());
      for (let name = 0; name < 100; name++) throttle.noteFailure(stranger(`name ${name}`, address));
      t.equal(throttle.addresses.size, 0);
      t.equal(throttle.blockedForMs(stranger('anna', address)), 0, address);
      for (let tries = 0; tries < 3; tries++) throttle.noteFailure(stranger('anna', address));
      t.ok(throttle.blockedForMs(stranger('anna', address)) > 0, 'the name is slowed down all the same');
    }
    t.notOk(isLocal('127.1.2.3'), 'others are of test machines and containers');
  });

  await t.test('takes an IPv6 network as one address', async (t) => {
    t.equal(addressBlock('2001:db8:1:2::5'), '2001:db8:1:2::/64');
    t.equal(addressBlock('2001:DB8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
    t.equal(addressBlock('2001:db8::1'), '2001:db8:0:0::/64');
    t.equal(addressBlock('::1'), '0:0:0:0::/64');
    t.equal(addressBlock('fe80::1%eth0'), 'fe80:0:0:0::/64');
    t.equal(addressBlock('192.0.2.1'), '192.0.2.1');
    t.equal(addressBlock(''), '');
  });
});
