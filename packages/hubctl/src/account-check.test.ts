import { parseConfig } from '@metalhub/config/load.js';
import t from 'tap';
import { checkAccounts } from './account-check.js';

function check(toml: string, groups: readonly string[] = [], files: readonly string[] = []) {
  const text = `[[login]]\nmethod = "pam"\n${toml}`;
  const machine = { hasGroup: async (name: string) => groups.includes(name) };
  return checkAccounts(parseConfig([{ file: 'x.toml', text }]), machine, (path) => files.includes(path));
}

t.test('a group that is not there is a warning', async (t) => {
  const toml = '[accounts]\nprivileged_groups = ["adm", "sudo"]';
  t.same(await check(toml, ['adm', 'sudo']), []);
  const path = ['accounts', 'privileged_groups', 1];
  t.same(await check(toml, ['adm']), [{ isProblem: false, path, reason: 'there is no group sudo' }]);
});

t.test('without the service of PAM no local account could start a server', async (t) => {
  for (const toml of ['[accounts]\nmode = "local"', '[[profile]]\nname = "x"\naccount_mode = "local"']) {
    t.match(await check(toml), [{ isProblem: true, path: ['accounts', 'mode'] }]);
    t.same(await check(toml, [], ['/etc/pam.d/metalhub-session']), []);
  }
  t.same(await check(''), []);
});
