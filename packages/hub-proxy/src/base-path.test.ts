import { SECOND_MS } from '@metalhub/base/time.js';
import t from 'tap';
import { defaultRoute, type Route } from './proxy-state.js';
import { RouteTable } from './route-table.js';
import { NO_ROUTING, type Settings } from './settings.js';
import { ask, exchangeBytes, fieldOf, startProxy, statusOf, type TestProxy } from './testing/proxy.js';
import { ticketClaims } from './testing/tickets.js';
import { ok, type RecordingUpstream, startUpstream } from './testing/upstream.js';

const PAGE = ['Sec-Fetch-Mode: navigate', 'Accept: text/html'];
const PREFIX = '/jupyter/user/anna/';

interface Setup {
  proxy: TestProxy;
  hub: RecordingUpstream;
  server: RecordingUpstream;
  annas: Route;
}

/** A proxy below /jupyter/, with Anna's server there. */
async function setUp(
  t: { teardown(end: () => Promise<void>): void },
  settings: Partial<Settings> = {},
): Promise<Setup> {
  const proxy = await startProxy({ base_path: '/jupyter', ...settings });
  const hub = await startUpstream(proxy.hubPath, (_head, socket) => socket.end(ok('the hub')));
  const server = await startUpstream(proxy.serverPath, (_head, socket) => void socket.write(ok('the server')));
  t.teardown(async () => {
    await hub.close();
    await server.close();
    await proxy.close();
  });
  const annas = proxy.annasRoute({ prefix: PREFIX });
  await proxy.setState({ routes: [annas] });
  return { proxy, hub, server, annas };
}

async function ticketFor(proxy: TestProxy, path: string): Promise<string> {
  const claims = ticketClaims(Math.floor(proxy.clock.nowMs() / SECOND_MS), { path });
  return `Cookie: metalhub-ticket=${await proxy.key.sign(claims)}`;
}

t.test('what lies below the base goes where its route says, with its path as it came', async (t) => {
  const { proxy, hub, server } = await setUp(t);
  for (const path of ['/jupyter', '/jupyter/', '/jupyter/hub/home?x=1', '/jupyter/user/bob/', '/jupyter/x%20y']) {
    t.match(await ask(proxy.port, `GET ${path}`), 'the hub', path);
    t.match(hub.received(), `GET ${path} HTTP/1.1`);
  }
  const ticket = await ticketFor(proxy, PREFIX);
  t.match(await ask(proxy.port, `GET ${PREFIX}lab`, [ticket]), 'the server');
  t.match(server.received(), `GET ${PREFIX}lab HTTP/1.1`);
  t.equal(fieldOf(await ask(proxy.port, `GET ${PREFIX.slice(0, -1)}`, PAGE), 'location'), PREFIX);
});

t.test('outside of it there is nothing, and the hub does not hear of it', async (t) => {
  const { proxy, hub } = await setUp(t);
  for (const path of ['/hub/login', '/user/anna/', '/jupyterx/hub/', '/Jupyter/', '/jupyter%2fhub', '/favicon.ico']) {
    const page = await ask(proxy.port, `GET ${path}`, PAGE);
    t.equal(statusOf(page), 404, path);
    t.match(page, 'href="/jupyter/"');
    const json = await ask(proxy.port, `GET ${path}`);
    t.match(json, '{"status":404,"message":"nothing is here"}', path);
  }
  t.equal(statusOf(await ask(proxy.port, 'POST /', ['Content-Length: 0'])), 404);
  const upgrade = ['Upgrade: websocket', 'Sec-WebSocket-Key: eA==', 'Sec-WebSocket-Version: 13'];
  const head = ['GET / HTTP/1.1', `Host: 127.0.0.1:${proxy.port}`, 'Connection: Upgrade', ...upgrade, '', ''];
  t.equal(statusOf(await exchangeBytes(proxy.port, head.join('\r\n'))), 404);
  t.equal(hub.connections, 0);
});

t.test('the root alone leads to the base', async (t) => {
  const { proxy } = await setUp(t, { routing: { ...NO_ROUTING, error_pages: [{ status: 0, html: 'own page' }] } });
  for (const method of ['GET', 'HEAD']) {
    const answer = await ask(proxy.port, `${method} /`, PAGE);
    t.equal(statusOf(answer), 302, 'also where the administrator has pages for errors');
    t.equal(fieldOf(answer, 'location'), '/jupyter/');
  }
  t.match(await ask(proxy.port, 'GET /x', PAGE), 'own page');
});

t.test('a ticket is asked for, and set, below the base', async (t) => {
  const { proxy } = await setUp(t);
  const asked = await ask(proxy.port, `GET ${PREFIX}lab?a=1`, PAGE);
  const location = new URL(fieldOf(asked, 'location') ?? '', 'http://hub.example.org');
  t.equal(location.pathname, '/jupyter/hub/ticket');
  t.match(Object.fromEntries(location.searchParams), { path: PREFIX, next: `${PREFIX}lab?a=1` });
  t.match(fieldOf(asked, 'set-cookie'), `Path=${PREFIX};`);
  t.equal(statusOf(await ask(proxy.port, `GET ${PREFIX}lab`, [await ticketFor(proxy, '/user/anna/')])), 401);
});

t.test('pages of the proxy lead below the base', async (t) => {
  const { proxy, server, annas } = await setUp(t, { edge: { login_attempts_per_minute: 1 } });
  const login = () => ask(proxy.port, 'POST /jupyter/hub/login', ['Content-Length: 0']);
  t.equal(statusOf(await login()), 200);
  t.equal(statusOf(await login()), 200);
  const late = await login();
  t.equal(statusOf(late), 429, 'the login form is limited where it is');
  t.match(late, 'href="/jupyter/hub/login"');
  const ticket = await ticketFor(proxy, PREFIX);
  await server.close();
  const away = await ask(proxy.port, `GET ${PREFIX}lab`, [...PAGE, ticket]);
  t.equal(statusOf(away), 503);
  t.match(away, 'href="/jupyter/hub/home"');
  await proxy.setState({ routes: [{ ...annas, user: 'bob' }] });
  t.match(await ask(proxy.port, `GET ${PREFIX}lab`, [...PAGE, ticket]), /403[\s\S]*href="\/jupyter\/hub\/home"/);
});

t.test('a server of before the base was set is served where it was', async (t) => {
  const { proxy, annas } = await setUp(t);
  await proxy.setState({ routes: [{ ...annas, prefix: '/user/anna/' }] });
  t.match(await ask(proxy.port, 'GET /user/anna/lab', [await ticketFor(proxy, '/user/anna/')]), 'the server');
  const asked = await ask(proxy.port, 'GET /user/anna/lab', PAGE);
  t.match(fieldOf(asked, 'location'), /^\/jupyter\/hub\/ticket\?path=%2Fuser%2Fanna%2F&/);
});

t.test('another hub has all paths, whatever the base is', async (t) => {
  const routing = { ...NO_ROUTING, foreign_hub: true };
  const { proxy, server, annas } = await setUp(t, { routing });
  t.equal(statusOf(await ask(proxy.port, 'GET /')), 503, 'until it has said where they lead');
  const theirs: Route = { ...annas, prefix: '/', auth: 'upstream', user: null, server: null, token: null, data: {} };
  await proxy.setState({ routes: [{ ...theirs, target: { kind: 'unix', path: server.path } }] });
  for (const path of ['/', '/hub/login', '/jupyter/', '/x']) {
    t.match(await ask(proxy.port, `GET ${path}`), 'the server', path);
  }
});

t.test('beside another hub ours keeps its place, and the other may have the root', async (t) => {
  const { proxy, annas } = await setUp(t);
  const theirs: Route = { ...annas, auth: 'upstream', user: null, server: null, token: null, data: {} };
  await proxy.setState({ routes: ['/', '/jupyter/'].map((prefix) => ({ ...theirs, prefix })) });
  t.match(await ask(proxy.port, 'GET /'), 'the server');
  t.match(await ask(proxy.port, 'GET /elsewhere'), 'the server');
  t.match(await ask(proxy.port, 'GET /jupyter/hub/home'), 'the hub');
});

t.test('a host of its own shares the hub’s base with the others, and nothing else', async (t) => {
  const at = (prefix: string, host: string | null = null): Route => ({ ...defaultRoute(), prefix, host });
  const routes = [defaultRoute('/hub.sock', '/jupyter/'), at(PREFIX), at('/', null), at('/own/', 'anna.example.org')];
  const table = new RouteTable(routes, (host) => host === 'bob.example.org', '/jupyter/');
  const find = (path: string, host: string) => table.findRoute(path, host)?.prefix;
  t.equal(find('/own/x', 'anna.example.org'), '/own/');
  for (const host of ['anna.example.org', 'bob.example.org']) {
    t.equal(find('/jupyter/hub/home', host), '/jupyter/');
    t.equal(find('/jupyter', host), '/jupyter/');
    t.equal(find(`${PREFIX}lab`, host), '/jupyter/', 'asks the hub, not the server of another host');
    for (const path of ['/', '/x', '/jupyterx/']) t.equal(find(path, host), undefined, path);
  }
});
