import t from 'tap';
import { openDatagramSender } from './datagram.js';
import { receiveDatagrams } from './receive-datagrams.js';

t.test('openDatagramSender', (t) => {
  t.test('reaches an abstract socket', async (t) => {
    const name = `@metalhub-test-${process.pid}`;
    const receiver = await receiveDatagrams(name);
    t.teardown(() => receiver.close());
    const sender = openDatagramSender(name, { maxWaitMs: 100 });
    t.equal(sender.send(Buffer.from('hello'), true), 'sent');
    t.equal((await receiver.next()).toString(), 'hello');
    sender.close();
  });
  t.test('waits no longer than told for a receiver that does not read', async (t) => {
    const name = `@metalhub-test-${process.pid}-full`;
    const receiver = await receiveDatagrams(name, 'deaf');
    t.teardown(() => receiver.close());
    const sender = openDatagramSender(name, { maxWaitMs: 60 });
    let result = 'sent';
    for (let count = 0; result === 'sent' && count < 10_000; count++) result = sender.send(Buffer.from('x'), false);
    t.equal(result, 'congested');
    const startMs = performance.now();
    t.equal(sender.send(Buffer.from('x'), true), 'congested');
    t.ok(performance.now() - startMs >= 50);
    sender.close();
  });
  t.test('refuses a path that does not fit, or is relative', (t) => {
    for (const path of ['', 'relative', `/${'x'.repeat(107)}`]) {
      t.throws(() => openDatagramSender(path, { maxWaitMs: 1 }), { code: 'MH_ERR_SYSTEMD_LIBRARY' });
    }
    t.end();
  });
  t.end();
});
