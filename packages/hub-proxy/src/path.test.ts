import t from 'tap';
import { MAX_TARGET_BYTES, parseRequestTarget } from './path.js';
import { defaultRoute, type Route } from './proxy-state.js';
import { RouteTable } from './route-table.js';
import { Random } from './testing/random.js';
import { randomTarget } from './testing/random-target.js';

const REFUSED = [
  '/user/alice/../bob',
  '/user/alice/..',
  '/user/alice/./lab',
  '/.',
  '/user/alice/%2e%2e/bob',
  '/user/alice/.%2E/bob',
  '/user/alice%2f..%2f..%2fhub',
  '/user/alice%2F%2e%2e%2Fbob',
  '/user/alice/..;x=1/bob',
  '/user/alice/..%3bx/bob',
  '/user/alice%5c..%5cbob',
  '/user\\alice',
  '/user/%5calice',
  '//user/alice',
  '///',
  '/%2fevil.com',
  '/user/alice/%00',
  '/user/alice/%0d%0aSet-Cookie:x',
  '/user/alice/%7f',
  '/user/alice/%c2%80',
  '/user/alice/%zz',
  '/user/alice/%2',
  '/user/alice/%',
  '/user/alice/%c0%ae%c0%ae/bob',
  '/user/alice/%ed%a0%80',
  '/user/alice/%ff',
  '/user/alice#fragment',
  '/user/alice?x#fragment',
  '/user/al ice',
  '/user/al\u00e9',
  '/user/{alice}',
  '/user/"alice"',
  'user/alice',
  '',
  '*',
  'http://169.254.169.254/',
  'file:///etc/passwd',
  `/${'a'.repeat(16 * 1024)}`,
];

const ACCEPTED = [
  '/',
  '/user/alice/lab',
  '/user/anna%40example.org/api/contents/a%20b.ipynb',
  '/user/alice/api/contents//x',
  '/user/alice/files/%C3%BCber.txt',
  '/user/alice/files/..hidden',
  '/user/alice/files/a..b/.git/config',
  '/user/alice/%252e%252e/x',
  '/user/alice/a;b=1/c',
  '/user/alice?x=../..&y=%zz&z={}',
];

t.test('P04: paths that could mean two things are refused', async (t) => {
  for (const target of REFUSED) t.equal(parseRequestTarget(target), undefined, JSON.stringify(target).slice(0, 60));
});

t.test('P04: paths with one meaning are taken as they are', async (t) => {
  for (const target of ACCEPTED) {
    const parsed = parseRequestTarget(target);
    t.equal(`${parsed?.path}${parsed?.query}`, target, target);
  }
});

t.test('the longest target is taken, a longer one is not', async (t) => {
  t.ok(parseRequestTarget(`/${'a'.repeat(MAX_TARGET_BYTES - 1)}`));
  t.notOk(parseRequestTarget(`/${'a'.repeat(MAX_TARGET_BYTES)}`));
});

t.test(
  'P04: 100,000 random paths: what is accepted routes the same after a URL parser and after decoding',
  async (t) => {
    const route = (prefix: string): Route => ({ ...defaultRoute(), prefix });
    const table = new RouteTable(['/', '/user/alice/', '/user/bob/', '/user/alice/lab/', '/services/x/'].map(route));
    const random = new Random(20_261_122);
    let accepted = 0;
    for (let round = 0; round < 100_000; round++) {
      const target = randomTarget(random, ['alice', 'bob']);
      const parsed = parseRequestTarget(target);
      if (parsed === undefined) continue;
      accepted++;
      const { path } = parsed;
      const url = new URL(`http://host${target}`);
      if (url.pathname !== path) t.fail(`a URL parser changes ${path} to ${url.pathname}`);
      const decodedOnce = new URL(`http://host${decodeURIComponent(path).replace(/[?#%]/g, '_')}`).pathname;
      const here = table.findRoute(path, 'localhost')?.prefix ?? '';
      if (here !== '/' && !decodedOnce.startsWith(here)) t.fail(`${path} is in ${here}, decoded it is ${decodedOnce}`);
    }
    t.ok(accepted > 5_000, `${accepted} were accepted`);
  },
);
