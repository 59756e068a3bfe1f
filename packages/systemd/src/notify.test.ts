import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { notifyReady, notifyReloading, notifyStatus, notifyStopping, startWatchdog } from './notify.js';
import { receiveDatagrams } from './receive-datagrams.js';

const path = join(mkdtempSync(join(tmpdir(), 'metalhub-notify-')), 'notify');
// Before the first use of the functions, which take the variables once.
process.env.NOTIFY_SOCKET = path;
process.env.WATCHDOG_USEC = '100000';

t.test('messages reach the notify socket', async (t) => {
  const receiver = await receiveDatagrams(path);
  t.teardown(() => receiver.close());
  const next = async (): Promise<string> => (await receiver.next()).toString();

  t.ok(notifyReady());
  t.equal(await next(), 'READY=1');
  t.equal(process.env.NOTIFY_SOCKET, undefined, 'no child inherits it');

  notifyStatus('3 servers\nREADY=0\u0000');
  t.equal(await next(), 'STATUS=3 servers READY=0 ', 'a line break in a text makes no assignment');

  notifyStopping('draining');
  t.equal(await next(), 'STOPPING=1\nSTATUS=draining');

  notifyReloading();
  t.match(await next(), /^RELOADING=1\nMONOTONIC_USEC=[0-9]+$/);

  const watchdog = startWatchdog();
  t.equal(watchdog.intervalMs, 50);
  t.equal(await next(), 'WATCHDOG=1');
  t.equal(await next(), 'WATCHDOG=1');
  watchdog.stop();
});

t.test('a notify socket that is gone is an error', (t) => {
  t.throws(() => notifyReady(), { code: 'MH_ERR_SYSTEMD_LIBRARY' });
  t.end();
});
