import t from 'tap';
import { defaultRoute, EMPTY_STATE, type ProxyState, type Route } from './proxy-state.js';
import { formatForGeneration, formatStored, parseState, parseStored, STATE_FORMAT } from './state-format.js';

const socket = '/run/metalhub/servers/anna.sock';
const annas: Route = {
  ...defaultRoute(),
  prefix: '/user/anna/',
  target: { kind: 'unix', path: socket },
  auth: 'ticket',
  user: 'anna',
  server: '' as Route['server'],
  invocation_id: 'b'.repeat(32),
  token: 't'.repeat(43),
};
/** As the first version wrote it, and as its workers take it. */
const OLD = {
  version: 7,
  routes: [
    {
      prefix: '/user/anna/',
      socket_path: socket,
      auth: 'ticket',
      user: 'anna',
      server: '',
      invocation_id: 'b'.repeat(32),
      token: 't'.repeat(43),
    },
  ],
  keys: [],
  revocations: [{ session_id: 'c'.repeat(32), until: 9 }],
};
const NEW: ProxyState = { ...EMPTY_STATE, version: 7, routes: [annas], revocations: OLD.revocations };

t.test('a state of the first version is understood', async (t) => {
  t.same(parseState(JSON.parse(JSON.stringify(OLD)), ''), NEW);
  t.same(parseStored(JSON.stringify(OLD)), NEW);
});

t.test('a state comes back from the disk as it was written', async (t) => {
  const foreign: Route = {
    ...defaultRoute(),
    prefix: '/user/bert/',
    host: 'bert.example.org',
    target: { kind: 'tcp', host: '10.0.0.7', port: 8888, tls: true, base_path: '/x' },
    data: { target: 'https://10.0.0.7:8888/x', jupyterhub: true, nested: { a: [1] } },
  };
  const state = { ...NEW, routes: [annas, foreign] };
  t.same(parseStored(formatStored(state)), state);
});

t.test('a form that this version does not know is an error, not a guess', async (t) => {
  t.throws(() => parseState({ ...NEW, format: STATE_FORMAT + 1 }, ''), { name: 'ShapeError' });
  t.throws(() => parseStored(formatStored(NEW).replace('"format":2', '"format":3')), { name: 'ShapeError' });
});

t.test('a generation of the first version gets what it understands, and no more', async (t) => {
  const routes: Route[] = [
    annas,
    { ...annas, prefix: '/b/', target: { kind: 'tcp', host: '10.0.0.7', port: 1, tls: false } },
    { ...annas, prefix: '/c/', host: 'c.example.org' },
    { ...annas, prefix: '/d/', target: { kind: 'unix', path: socket, base_path: '/x' } },
  ];
  t.same(JSON.parse(JSON.stringify(formatForGeneration({ ...NEW, routes }, 1))), OLD);
});

t.test('a generation needs no words of a foreign hub', async (t) => {
  const routes = [{ ...annas, data: { target: 'x' } }];
  const sent = JSON.parse(JSON.stringify(formatForGeneration({ ...NEW, routes }, STATE_FORMAT)));
  t.same(parseState(sent, '').routes, [{ ...annas, data: {} }]);
});
