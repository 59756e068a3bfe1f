import type { ServerName } from '@metalhub/base/names.js';
import { BASE_URL_PATTERN } from '@metalhub/wire/spawner.js';
import t from 'tap';
import { encodeUserName, findServerAddress, serverPath } from './server-url.js';
import { parseUserName } from './user-name.js';

const NAMES = [
  'anna',
  'Anna Müller',
  "o'neil!(x)*",
  'anna@example.org',
  'a~b',
  'a%2fb',
  'a;b=c&d',
  '日本語',
  '𝔘',
  '<img>',
  'a#b?c',
  '{{7*7}}',
  '...',
];

t.test('names are encoded as browsers send them and as the spawner accepts them', async (t) => {
  for (const text of NAMES) {
    const path = serverPath(parseUserName(text), '' as ServerName);
    t.match(path, BASE_URL_PATTERN, text);
    t.equal(new URL(path, 'http://localhost').pathname, path, 'a browser leaves it alone');
    t.same(findServerAddress(path), { name: text, maybeServer: '' });
  }
});

t.test('the longest name fits into what is passed on', async (t) => {
  const path = serverPath(parseUserName('𝔘'.repeat(128)), 'x'.repeat(31) as ServerName);
  t.match(path, BASE_URL_PATTERN);
  t.ok(path.length < 4096);
});

t.test('@ and ~ stay, other characters are escaped in upper case', async (t) => {
  t.equal(encodeUserName(parseUserName('a@b~c')), 'a@b~c');
  t.equal(encodeUserName(parseUserName("ü'(")), '%C3%BC%27%28');
});

t.test('only the canonical spelling of a name is an address', async (t) => {
  t.equal(findServerAddress('/user/%61nna/'), undefined);
  t.equal(findServerAddress('/user/a%40b/'), undefined);
  t.equal(findServerAddress('/user/%c3%bc/'), undefined);
  t.equal(findServerAddress('/user/a%2Fb/'), undefined);
  t.equal(findServerAddress('/user/%zz/'), undefined);
  t.equal(findServerAddress('/user//x'), undefined);
  t.equal(findServerAddress('/hub/home'), undefined);
});

t.test('the segment behind the name may be a server', async (t) => {
  t.same(findServerAddress('/user/anna/gpu/lab?x=1'), { name: 'anna', maybeServer: 'gpu' });
  t.same(findServerAddress('/user/anna/GPU/'), { name: 'anna', maybeServer: '' });
  t.same(findServerAddress('/user/anna'), { name: 'anna', maybeServer: '' });
  t.same(findServerAddress('/user/anna?next=/user/x/'), { name: 'anna', maybeServer: '' });
});
