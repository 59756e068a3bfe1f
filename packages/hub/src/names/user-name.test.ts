import t from 'tap';
import { isUserName, parseUserName } from './user-name.js';

t.test('names are any text that a URL segment can hold', async (t) => {
  for (const name of [
    'anna',
    'Anna Müller',
    'anna@example.org',
    'a'.repeat(256),
    '日本語',
    'a;b',
    '...',
    '-x',
    '%2e%2e',
    '𝔘nicode',
  ]) {
    t.equal(parseUserName(name), name, name.slice(0, 20));
  }
});

t.test('white space around a name goes, and nothing else is changed', async (t) => {
  t.equal(parseUserName(' anna\n'), 'anna');
  t.equal(parseUserName('ANNA'), 'ANNA');
  t.equal(parseUserName('a\u0308'), 'a\u0308');
});

t.test('H12: what is no name is refused', async (t) => {
  const bad = [
    '',
    ' ',
    '.',
    '..',
    '..;x',
    'a/b',
    'a\\b',
    'a\nb',
    'a\0',
    '\u001b[31m',
    'a\u2028b',
    '\ud800',
    'a'.repeat(257),
    7,
    null,
  ];
  for (const value of bad)
    t.throws(
      () => parseUserName(value),
      { code: 'MH_ERR_HUB_NAME_REFUSED' },
      Buffer.from(String(value)).toString('hex').slice(0, 40),
    );
  t.notOk(isUserName(' anna'));
});
