import t from 'tap';
import { basePath, basePathMistake } from './base-path.js';
import { parseConfig } from './load.js';

const ORIGIN = 'https://www.example.org';

t.test('the base is the path of the public address without the slash at its end', async (t) => {
  t.equal(basePath(ORIGIN), '');
  t.equal(basePath(`${ORIGIN}/`), '');
  t.equal(basePath(`${ORIGIN}:8443/jupyter`), '/jupyter');
  t.equal(basePath(`${ORIGIN}/jupyter/`), '/jupyter');
  t.equal(basePath('http://[::1]:8000/a.b/~c/'), '/a.b/~c');
});

t.test('a path that cannot be a base is refused with what is wrong with it', async (t) => {
  const accepted = [
    '',
    '/',
    '/jupyter',
    '/jupyter/',
    '/Jupyter_2/a-b.c~d',
    '/hub/',
    '/...',
    '/.a',
    `/${'a'.repeat(199)}`,
  ];
  for (const path of accepted) t.equal(basePathMistake(`${ORIGIN}${path}`), undefined, path);
  const refused = {
    '//': 'single slashes',
    '/a//b/': 'single slashes',
    '/./': 'single slashes',
    '/a/..': 'single slashes',
    '/a%20b/': 'letters, digits',
    '/a b/': 'letters, digits',
    '/a?b': 'letters, digits',
    '/a#b': 'letters, digits',
    '/a;b/': 'letters, digits',
    '/ü/': 'letters, digits',
    '/user/': '/user/: metalhub itself',
    '/a/services': '/services/: metalhub itself',
    [`/${'a'.repeat(200)}`]: 'longer than 200',
  };
  for (const [path, reason] of Object.entries(refused)) t.match(basePathMistake(`${ORIGIN}${path}`), reason, path);
});

t.test('the configuration takes a base, and says what is wrong with a bad one', async (t) => {
  const parse = (url: string) => parseConfig([{ file: 'a.toml', text: `public_url = "${url}"` }]);
  t.equal(parse(`${ORIGIN}/jupyter`).public_url, `${ORIGIN}/jupyter`);
  t.throws(() => parse(`${ORIGIN}/a%2fb/`), {
    code: 'MH_ERR_CONFIG_VALUE',
    message: /^a\.toml:1: public_url: .*letters, digits/,
  });
  t.throws(() => parse(`${ORIGIN}?x=1`), { code: 'MH_ERR_CONFIG_VALUE' });
  t.throws(() => parse('ftp://x/jupyter/'), { code: 'MH_ERR_CONFIG_VALUE' });
});
