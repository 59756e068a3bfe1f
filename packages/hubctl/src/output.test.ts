import t from 'tap';
import { formatDuration, formatTable, printable } from './output.js';

t.test('D02, H05: escapes of a terminal and turns of direction are shown, not obeyed', async (t) => {
  t.equal(printable('\u001b]0;x\u0007a\u202eb\nc'), '\\u{1b}]0;x\\u{7}a\\u{202e}b\\u{a}c');
  t.equal(printable('Jürgen Müller'), 'Jürgen Müller');
  t.notMatch(formatTable(['name'], [{ name: '\u001b[31mroot' }]), '\u001b');
});

t.test('columns are as wide as their cells', async (t) => {
  t.equal(formatTable(['name', 'last_login'], [{ name: 'anna', last_login: null }]), 'NAME  LAST LOGIN\nanna  -');
});

t.test('durations show two units', async (t) => {
  t.equal(formatDuration(0), '0s');
  t.equal(formatDuration(59.9), '59s');
  t.equal(formatDuration(3 * 86_400 + 4 * 3600 + 5), '3d 4h');
});
