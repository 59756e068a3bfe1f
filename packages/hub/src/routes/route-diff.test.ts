import type { ServerName } from '@metalhub/base/names.js';
import type { RouteReport, RouteRequest } from '@metalhub/wire/proxy-api.js';
import t from 'tap';
import { diffRoutes } from './route-diff.js';

const route: RouteRequest = {
  target: 'unix+http://a',
  auth: 'ticket',
  user: 'anna',
  server: '' as ServerName,
  invocation_id: '1'.repeat(32),
  token: 'x',
};
const report: RouteReport = {
  target: 'unix+http://a',
  auth: 'ticket',
  user: 'anna',
  server: '',
  invocation_id: '1'.repeat(32),
  owner: 'hub',
  last_activity: '',
};
const never = (): boolean => false;

t.test('nothing is done when both agree', async (t) => {
  t.same(diffRoutes(new Map([['/user/anna/', route]]), new Map([['/user/anna/', report]]), never), {
    put: [],
    remove: [],
  });
});

t.test('a missing route is put, and one that leads elsewhere is replaced', async (t) => {
  t.same(diffRoutes(new Map([['/user/anna/', route]]), new Map(), never).put, ['/user/anna/']);
  for (const other of [
    { target: 'x' },
    { user: 'bert' },
    { invocation_id: '2'.repeat(32) },
    { auth: 'upstream' as const },
    { server: 'b' },
  ]) {
    const actual = new Map([['/user/anna/', { ...report, ...other }]]);
    t.same(diffRoutes(new Map([['/user/anna/', route]]), actual, never).put, ['/user/anna/'], JSON.stringify(other));
  }
});

t.test('routes of servers that are gone are removed, others are left alone', async (t) => {
  const actual = new Map([
    ['/user/anna/', report],
    ['/user/bert/', report],
    ['/', { ...report, auth: 'upstream' as const }],
    ['/services/x/', report],
  ]);
  t.same(
    diffRoutes(new Map(), actual, (prefix) => prefix === '/user/bert/'),
    { put: [], remove: ['/user/anna/'] },
  );
});

t.test('routes of another hub are left alone, also where ours wants one', async (t) => {
  const theirs = new Map([['/user/anna/', { ...report, owner: 'other' as const }]]);
  t.same(diffRoutes(new Map(), theirs, never), { put: [], remove: [] });
  t.same(diffRoutes(new Map([['/user/anna/', route]]), theirs, never), { put: ['/user/anna/'], remove: [] });
});
