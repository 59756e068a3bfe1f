import t from 'tap';
import { allowsTally, pamLines, tallyDirectory } from './faillock.js';

const files: Record<string, string> = {
  '/etc/pam.d/metalhub':
    '# how\n@include common-auth\naccount substack common-account\n-session include nothing-there\n',
  '/etc/pam.d/common-auth': 'auth required pam_unix.so # not pam_faillock.so\n@include /etc/site/extra\n',
  '/etc/site/extra': 'auth required \\\n  pam_faillock.so preauth dir=/srv/tally\n',
  '/etc/pam.d/common-account': '\naccount required pam_unix.so\n',
  '/etc/pam.d/loop': '@include loop\nauth required pam_deny.so\n',
};
const read = (path: string): string => files[path] ?? '';

t.test('reads a PAM service with all that it includes', async (t) => {
  t.match(pamLines('metalhub', read), [
    /^auth required pam_unix\.so$/,
    /^auth required +pam_faillock\.so preauth dir=\/srv\/tally$/,
    /^account required pam_unix\.so$/,
  ]);
  t.equal(pamLines('metalhub', read).length, 3);
  t.ok(pamLines('loop', read).length < 100, 'files that include themselves end');
});

t.test('finds where failures are counted', async (t) => {
  t.equal(tallyDirectory('auth required pam_faillock.so dir=/a', 'dir = /b'), '/a');
  t.equal(tallyDirectory('auth required pam_faillock.so', '# dir = /c\ndir = /b\n'), '/b');
  t.equal(tallyDirectory('auth required pam_faillock.so', ''), '/run/faillock');
});

t.test('a unit lets it count only with its capabilities and with a place to write to', async (t) => {
  const all = 0b1100_0101n;
  const unit = (CapabilityBoundingSet: bigint, ...ReadWritePaths: string[]) => ({
    CapabilityBoundingSet,
    ReadWritePaths,
    SystemCallFilter: [true, ['read', 'fchown', 'setreuid']],
  });
  t.ok(allowsTally(unit(all, '/run/faillock'), '/run/faillock'));
  t.ok(allowsTally(unit(all | (1n << 20n), '/x', '-/run'), '/run/faillock'));
  t.notOk(allowsTally(unit(all), '/run/faillock'));
  t.notOk(allowsTally(unit(all, '/run/fail'), '/run/faillock'));
  t.notOk(allowsTally(unit(0n, '/run/faillock'), '/run/faillock'));
  t.notOk(allowsTally({ ...unit(all, '/run/faillock'), SystemCallFilter: [true, ['read']] }, '/run/faillock'));
  t.ok(allowsTally({ ...unit(all, '/run/faillock'), SystemCallFilter: [false, ['reboot']] }, '/run/faillock'));
  for (const bit of [0n, 2n, 6n, 7n]) t.notOk(allowsTally(unit(all & ~(1n << bit), '/run/faillock'), '/run/faillock'));
});
