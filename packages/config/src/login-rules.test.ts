import t from 'tap';
import { parseConfig } from './load.js';
import { isNobodyAllowed } from './login-rules.js';

t.test('nobody can log in before a way to log in names somebody', async (t) => {
  const check = (text: string): boolean => isNobodyAllowed(parseConfig([{ file: 'test.toml', text }]));
  t.ok(check(''));
  t.ok(check('[[login]]\nmethod = "pam"\n'));
  t.ok(check('[[login]]\nmethod = "pam"\ndeny = { users = ["anna"] }\n'));
  t.notOk(check('[[login]]\nmethod = "pam"\nallow = { users = ["anna"] }\n'));
  t.notOk(check('[[login]]\nmethod = "pam"\nallow = { groups = ["metalhub-users"] }\n'));
});
