import t from 'tap';
import { findInputRefusal } from './credentials.js';

t.test('names that accounts have are asked about', async (t) => {
  for (const name of ['anna', 'Anna.Müller', 'anna@example.org', 'EXAMPLE\\anna', 'a b', '%n', 'x'.repeat(255)]) {
    t.equal(findInputRefusal(name, 'secret'), undefined, name);
  }
});

t.test('M01: names that no account can have never reach PAM', async (t) => {
  const names = [
    '',
    '-x',
    '+x',
    'a:b',
    'a/b',
    '..',
    '.',
    ' zq',
    'a\n',
    'a\0b',
    'a\x1b[m',
    'a\x7f',
    'a\u0085',
    'a\u2028',
    'a\ud800',
  ];
  for (const [index, name] of [...names, 'x'.repeat(256), 'ü'.repeat(128)].entries()) {
    const answer = findInputRefusal(name, 'secret');
    t.equal(answer?.outcome, 'malformed', `name ${index}`);
    if (name.trim() !== '' && !/^[.x]/.test(name))
      t.notOk(answer?.reason?.includes(name), 'the reason does not repeat it');
  }
});

t.test('M01: passwords that C would cut, or nobody can type, never reach PAM', async (t) => {
  for (const password of ['a\0b', 'a\nb', 'a\r', '\ud800', 'x'.repeat(513), 'ü'.repeat(257), 'x'.repeat(10_000)]) {
    t.equal(findInputRefusal('anna', password)?.outcome, 'malformed', JSON.stringify(password.slice(0, 20)));
  }
});

t.test('passwords may be long, in any script, and with blanks', async (t) => {
  for (const password of ['x'.repeat(512), 'ü'.repeat(256), 'pässwörd ☃ 𝄞', ' ', '\t', '%s%n']) {
    t.equal(findInputRefusal('anna', password), undefined, password);
  }
});

t.test('an empty password is a wrong one without asking', async (t) => {
  t.match(findInputRefusal('anna', ''), { outcome: 'wrong_password', groups: [] });
});
