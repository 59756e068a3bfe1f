import t from 'tap';
import { findNextPath, nextQuery } from './next-url.js';

t.test('paths of this site are kept with query and fragment', async (t) => {
  for (const next of [
    '/',
    '/hub/home',
    '/user/bob/lab?x=1#y',
    '/user/a%20b/',
    '/user/anna/lab/tree/a%2Fb?x=//evil',
    '/hub/ticket?path=/user/x/',
  ]) {
    t.equal(findNextPath(next, ''), next);
  }
});

t.test('H01: nothing leads off the site', async (t) => {
  const corpus = [
    ...[
      '//evil',
      '///evil',
      '////evil',
      '/\\evil',
      '\\\\evil',
      '/\\/evil',
      '/\t/evil',
      '/%09/evil\t',
      '\t//evil',
      '/\n/evil',
      '/\r\n/evil',
    ],
    ...[
      'https:evil',
      'https://evil',
      'http:///evil.com',
      'https://hub@evil',
      '//hub//evil',
      'https://hub.example.org//evil.com',
    ],
    ...[
      'javascript:alert(1)',
      'data:text/html,x',
      'hub/home',
      '',
      ' /hub/home',
      '/..//evil',
      '/./..//evil',
      '/%2e%2e//evil',
      '/x/..//evil',
    ],
    ...[
      '/hub/\r\nSet-Cookie: x=1',
      '/hub/home\0',
      '/ü',
      '//localhost:8000/hub',
      'https://localhost:8000/',
      '/hub/home\u2028',
      '/a b',
    ],
    ...[`/${'a'.repeat(5000)}`, undefined, null, 7, ['/hub/home'], {}],
  ];
  for (const next of corpus) {
    const found = findNextPath(next, '');
    // What a browser makes of the Location header.
    const lands = new URL(found ?? '/', 'https://hub.example.org');
    t.equal(lands.origin, 'https://hub.example.org', encodeURIComponent(String(next)).slice(0, 60));
    t.ok(found === undefined || !found.startsWith('//'));
  }
  t.equal(findNextPath('//evil', ''), undefined);
  t.equal(findNextPath('/\\evil', ''), undefined);
  t.equal(findNextPath('/..//evil', ''), undefined);
});

t.test('H01: with a base nothing leads out of it, however it is written', async (t) => {
  for (const next of [
    '/jupyter/',
    '/jupyter/hub/home',
    '/jupyter/user/a%20b/lab?x=/../#y',
    '/jupyter/..x/',
    '/x/../jupyter/',
  ])
    t.match(findNextPath(next, '/jupyter'), /^\/jupyter\//, next);
  for (const next of [
    ...[
      '/',
      '/hub/home',
      '/jupyter',
      '/jupyterx/',
      '/Jupyter/',
      '/jupyter?x',
      '/jupyter/../admin',
      '/jupyter/%2e%2E/admin',
    ],
    ...[
      '/jupyter/./..',
      '//jupyter/',
      '/\\jupyter/',
      'https://evil/jupyter/',
      'jupyter/',
      '/jupyter/..',
      '/jupyter\t/..',
    ],
  ]) {
    t.equal(findNextPath(next, '/jupyter'), undefined, next);
  }
});

t.test('an address with a path to go on to carries it encoded', async (t) => {
  t.equal(nextQuery('/user/a?b=c&d'), '?next=%2Fuser%2Fa%3Fb%3Dc%26d');
  t.equal(nextQuery(undefined), '');
});
