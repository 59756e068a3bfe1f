import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { debPath } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';

t.setTimeout(300_000);

const LIST = '/etc/apt/sources.list.d/metalhub.list';
const KEYRING = '/usr/share/keyrings/metalhub-archive-keyring.gpg';
let machine: Machine;

t.before(async () => {
  // The package lies in build/deb of the checkout.
  const tree = dirname(dirname(dirname(debPath())));
  await promisify(execFile)(`${tree}/scripts/build-repo`, [debPath()]);
  machine = await bootMachine({ image: 'jupyter', binds: [`${tree}/build/repo:/srv/published`] });
  await machine.shell('cp -r /srv/published /srv/repo && : >/etc/apt/sources.list');
});

t.teardown(async () => {
  await machine?.stop();
});

t.test('apt refuses the repository without its key', async (t) => {
  await machine.writeFile(LIST, 'deb file:/srv/repo trixie main\n');
  const result = await machine.exec(['apt-get', '-q', 'update']);
  t.not(result.code, 0);
  t.match(result.stderr, /NO_PUBKEY|not signed/);
  t.not((await install()).code, 0);
});

t.test('apt refuses a package that is not the one that was signed', async (t) => {
  await machine.run(['install', '-m', '0644', '/srv/repo/metalhub-archive-keyring.gpg', KEYRING]);
  await machine.writeFile(LIST, `deb [signed-by=${KEYRING}] file:/srv/repo trixie main\n`);
  await machine.run(['apt-get', '-q', 'update']);
  await machine.shell('cd /srv/repo/pool && cp metalhub_*.deb /srv/kept.deb && echo x >>"$(echo metalhub_*.deb)"');
  t.not((await install()).code, 0);
  t.not((await machine.exec(['dpkg', '-s', 'metalhub'])).code, 0, 'not installed');
  await machine.shell('cd /srv/repo/pool && cp /srv/kept.deb "$(echo metalhub_*.deb)"');
});

t.test('apt install metalhub installs it from there, by name', async (t) => {
  const result = await install();
  t.equal(result.code, 0, result.stderr);
  t.equal((await machine.run(['systemctl', 'is-active', 'metalhub.target'])).trim(), 'active');
  t.match(await machine.run(['apt-cache', 'policy', 'metalhub']), /file:\/srv\/repo trixie\/main/);
});

function install(): ReturnType<Machine['exec']> {
  return machine.exec(['apt-get', '-q', '-y', '-o', 'Dpkg::Use-Pty=0', 'install', 'metalhub'], { timeoutMs: 180_000 });
}
