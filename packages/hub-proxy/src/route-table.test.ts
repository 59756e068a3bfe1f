import t from 'tap';
import { defaultRoute } from './proxy-state.js';
import { RouteTable } from './route-table.js';

const table = new RouteTable(
  ['/', '/user/anna/', '/user/anna/lab2/', '/user/anna%40x/'].map((prefix) => ({ ...defaultRoute(), prefix })),
);

t.test('the longest prefix that ends at a slash wins', async (t) => {
  const expected = {
    '/': '/',
    '/hub/home': '/',
    '/user/anna/lab': '/user/anna/',
    '/user/anna/lab2/tree': '/user/anna/lab2/',
    '/user/anna/lab2': '/user/anna/lab2/',
    '/user/anna/lab22': '/user/anna/',
    '/user/anna': '/user/anna/',
    '/user/annabel/': '/',
    '/user/anna%40x/': '/user/anna%40x/',
    '/user/anna@x/': '/',
    '/user/%61nna/lab': '/',
    '/user//anna/': '/',
  };
  for (const [path, prefix] of Object.entries(expected))
    t.equal(table.findRoute(path, 'localhost')?.prefix, prefix, path);
});

t.test('a path of thousands of slashes costs no more than the deepest prefix', async (t) => {
  t.equal(table.findRoute(`/user/anna/${'a/'.repeat(4000)}`, 'localhost')?.prefix, '/user/anna/');
});
