import { routeRequestShape } from '@metalhub/wire/proxy-api.js';
import t from 'tap';
import { makeRoute, parsePrefix, parseTarget } from './route-target.js';
import { formatTarget, type Target } from './target.js';

const unix = (path: string): Target => ({ kind: 'unix', path });

t.test('B8: only the hub’s socket and sockets directly in the servers’ directory are targets', async (t) => {
  t.same(parseTarget('unix+http://%2Frun%2Fmetalhub%2Fservers%2Fanna.sock'), unix('/run/metalhub/servers/anna.sock'));
  t.same(
    parseTarget('http+unix://%2Frun%2Fmetalhub%2Fservers%2Fanna%3Alab.sock/'),
    unix('/run/metalhub/servers/anna:lab.sock'),
  );
  t.same(parseTarget('unix+http://%2frun%2fmetalhub%2fhub.sock'), unix('/run/metalhub/hub.sock'));
  const refused = [
    'http://127.0.0.1:8888',
    'unix+http://%2Frun%2Fmetalhub%2Fspawner.sock',
    'unix+http://%2Frun%2Fmetalhub%2Fservers%2F..%2Fspawner.sock',
    'unix+http://%2Frun%2Fmetalhub%2Fservers%2Fa%2Fb.sock',
    'unix+http://%2Frun%2Fmetalhub%2Fservers%2F.hidden.sock',
    'unix+http://%2Frun%2Fmetalhub%2Fservers%2Fa%00.sock',
    'unix+http://%2Frun%2Fmetalhub%2Fservers%2Fa.sock/%2e%2e/path',
    'unix+http://%2Frun%2Fmetalhub%2Fservers%2Fa.sock/path?x',
    'unix+http://%2Frun%2Fmetalhub%2Fservers%2Fa.sock@evil',
    'unix+http://%2Fetc%2Fpasswd',
    'unix+http://%zz',
    '',
  ];
  for (const target of refused) t.throws(() => parseTarget(target), { code: 'MH_ERR_PROXY_TARGET' }, target);
  const hub = unix('/run/metalhub/hub.sock');
  t.same(parseTarget(formatTarget(hub)), hub);
});

t.test('a prefix is canonical, or it is refused', async (t) => {
  t.equal(parsePrefix('/user/anna'), '/user/anna/');
  t.equal(parsePrefix('/user/anna%40x/'), '/user/anna%40x/');
  for (const prefix of [
    '/user//anna/',
    '/user/../x/',
    '/a;Path=/',
    '/a,b/',
    '/a b/',
    '/%2e%2e/',
    '/%zz/',
    'x',
    '/a?b',
    '/a%2fb/%2e/',
  ]) {
    t.throws(() => parsePrefix(prefix), { code: 'MH_ERR_PROXY_ROUTE' }, prefix);
  }
});

t.test('a ticket route names its user and server, and the hub keeps its own prefix', async (t) => {
  const target = 'unix+http://%2Frun%2Fmetalhub%2Fservers%2Fanna.sock';
  const request = (fields: object) => routeRequestShape({ target, ...fields }, '');
  t.match(makeRoute({ prefix: '/user/anna/', host: null }, request({ auth: 'ticket', user: 'anna', server: '' })), {
    prefix: '/user/anna/',
    token: null,
  });
  t.throws(() => makeRoute({ prefix: '/user/anna/', host: null }, request({ auth: 'ticket', user: 'anna' })), {
    code: 'MH_ERR_PROXY_ROUTE',
  });
  const withPath = routeRequestShape({ target: `${target}/x`, auth: 'ticket', user: 'anna', server: '' }, '');
  t.throws(() => makeRoute({ prefix: '/user/anna/', host: null }, withPath), { code: 'MH_ERR_PROXY_ROUTE' });
  t.throws(() => makeRoute({ prefix: '/', host: null }, request({})), { code: 'MH_ERR_PROXY_ROUTE' });
  const hub = formatTarget(unix('/run/metalhub/hub.sock'));
  t.throws(
    () => makeRoute({ prefix: '/x/', host: null }, request({ target: hub, auth: 'ticket', user: 'a', server: '' })),
    {
      code: 'MH_ERR_PROXY_ROUTE',
    },
  );
});
