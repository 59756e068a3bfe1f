import { MetalhubError } from '@metalhub/base/errors.js';
import t from 'tap';
import { usesMode } from './account-modes.js';
import { parseConfig } from './load.js';

const LOGIN = '[[login]]\nmethod = "pam"\n';

function mistakeOf(text: string): string {
  try {
    parseConfig([{ file: 'x.toml', text }]);
    return '';
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    return `${error.details['line']}: ${error.details['key']}`;
  }
}

t.test('modes and groups of accounts are checked, with the place of a mistake', async (t) => {
  t.equal(mistakeOf(`${LOGIN}[accounts]\nmode = "local"\nprivileged_groups = ["sudo"]`), '');
  t.equal(mistakeOf(`${LOGIN}[accounts]\nmode = "system"`), '4: accounts.mode');
  t.equal(mistakeOf(`${LOGIN}[accounts]\nprivileged_groups = ["adm", "sudoers"]`), '4: accounts.privileged_groups[1]');
  t.equal(mistakeOf(`${LOGIN}[[profile]]\nname = "x"\naccount_mode = "root"`), '5: profile[0].account_mode');
  t.equal(mistakeOf('[accounts]\nuid_min = 80000\nuid_max = 70000'), '3: accounts.uid_max');
});

t.test('a user has either a dynamic or a created account', async (t) => {
  t.equal(mistakeOf('[accounts]\nmode = "create"'), '');
  t.equal(mistakeOf('[[profile]]\nname = "x"\naccount_mode = "create"'), '', 'accounts.mode is nobody\u2019s');
  t.equal(
    mistakeOf(
      '[accounts]\nmode = "create"\n[[profile]]\nname = "x"\naccount_mode = "dynamic"\n[[profile]]\nname = "y"',
    ),
    '5: profile[0].account_mode',
  );
  const local = '[[profile]]\nname = "x"\naccount_mode = "local"\n[[profile]]\nname = "y"';
  t.equal(mistakeOf(`${LOGIN}[accounts]\nmode = "create"\n${local}`), '');
});

t.test('local accounts need logins that have one', async (t) => {
  t.equal(mistakeOf('[accounts]\nmode = "local"'), '2: accounts.mode');
  t.equal(mistakeOf('[[profile]]\nname = "x"\naccount_mode = "local"'), '3: profile[0].account_mode');
  const override = '[[profile]]\nname = "x"\n[[profile.override]]\nname = "staff"\naccount_mode = "local"';
  t.equal(mistakeOf(override), '5: profile[0].override[0].account_mode');
  t.equal(mistakeOf(`${LOGIN}${override}`), '');
});

t.test('which modes are in use is told by accounts, profiles and their overrides', async (t) => {
  const of = (text: string) => parseConfig([{ file: 'x.toml', text }]);
  t.equal(usesMode(of(''), 'dynamic'), true);
  t.equal(usesMode(of(''), 'local', 'create'), false);
  t.equal(usesMode(of('[accounts]\nmode = "create"'), 'create'), true);
  const override = '[[profile]]\nname = "x"\n[[profile.override]]\nname = "staff"\naccount_mode = "local"';
  t.equal(usesMode(of(`${LOGIN}${override}`), 'local'), true);
});
