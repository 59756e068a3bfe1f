import t from 'tap';
import { hiddenParent, homeMistake } from './local-home.js';

t.test('a home of the machine is a directory that is for users', async (t) => {
  for (const home of ['/home/anna', '/home/EXAMPLE.ORG/anna', '/srv/homes/anna', '/data/anna', '/var/lib/x/anna'])
    t.equal(homeMistake(home), undefined, home);
  const places = ['/etc/anna', '/root/anna', '/run/user/1001', '/usr/games/x', '/proc/1', '/var/spool/mail', '/tmp/x'];
  for (const home of [...places, '/var/lib/private/metalhub/home/bob', '/var/lib/metalhub/hub', '/var/lib/systemd/x'])
    t.match(homeMistake(home), /of the system/, home);
  const odd = [
    '',
    '/',
    '/home',
    '/home/',
    '/home//x',
    '/home/../etc/x',
    '/home/.',
    'home/anna',
    '/home/a:b',
    '/home/%h',
  ];
  for (const home of [...odd, '/home/a b', '/home/$x', '/home/a\nb', `/home/${'a'.repeat(1100)}`])
    t.match(homeMistake(home), /absolute path/, JSON.stringify(home));
});

t.test('the directory of the homes is hidden when it holds nothing else', async (t) => {
  t.equal(hiddenParent('/srv/homes/anna'), '/srv/homes');
  t.equal(hiddenParent('/srv/homes/staff/anna'), '/srv/homes/staff');
  for (const home of ['/home/anna', '/home/staff/anna']) t.equal(hiddenParent(home), undefined, 'by ProtectHome=');
  for (const home of ['/data/anna', '/srv/anna', '/var/lib/anna', '/var/www/anna'])
    t.equal(hiddenParent(home), undefined, home);
});
