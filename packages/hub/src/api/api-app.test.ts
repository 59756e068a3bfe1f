import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { HUB_TICKET_RENEW_PATH } from '@metalhub/wire/ticket.js';
import t from 'tap';
import { Listener } from '../listener.js';
import { Browser, memoryLog, TestHub } from '../testing/test-hub.js';
import { makeApiApp } from './api-app.js';

t.test('the first questions of JupyterHub’s clients are answered without a token', async (t) => {
  const app = await makeApiApp({ base: () => '', log: memoryLog() });
  for (const method of ['GET', 'HEAD'] as const) {
    for (const url of ['/hub/api', '/hub/api/', '/hub/api?x=1', '/hub/api/health']) {
      const { statusCode, headers, body } = await app.inject({ method, url });
      t.equal(statusCode, 200, `${method} ${url}`);
      // As Python's packaging reads a version: anything else ends jupyterhub-singleuser.
      t.match(headers['x-jupyterhub-version'], /^\d+(\.\d+)*(\+[a-z0-9]+(\.[a-z0-9]+)*)?$/);
      if (method === 'GET' && !url.endsWith('health'))
        t.match(JSON.parse(body), { version: /^[5-9]\.\d+\.\d+\+metalhub$/ });
    }
  }
  t.match(await app.inject('/hub/health'), { statusCode: 200, body: '' });
  const below = await makeApiApp({ base: () => '/jupyter', log: memoryLog() });
  for (const url of ['/jupyter/hub/api', '/hub/api']) t.equal((await below.inject(url)).statusCode, 200, url);
});

t.test('programs get errors as JupyterHub’s API tells them', async (t) => {
  const app = await makeApiApp({ base: () => '', log: memoryLog() });
  for (const [method, url] of [
    ['GET', '/hub/api/users'],
    ['POST', '/hub/api'],
    ['GET', '/hub/api/%zz'],
  ] as const) {
    const { statusCode, headers, body } = await app.inject({ method, url, headers: { accept: 'text/html' } });
    t.ok(statusCode === 404 || statusCode === 400, url);
    t.match(headers, { 'content-type': /^application\/json/, 'x-content-type-options': 'nosniff' });
    t.match(JSON.parse(body), { status: statusCode, message: /./, code: /^MH_ERR_/ });
  }
});

t.test('S01: there is no page, no form and nothing of the proxy’s on the API’s socket', async (t) => {
  const test = await TestHub.open((test) => void test.pam.passwords.set('anna', 'correct horse'));
  t.teardown(() => test.close());
  const browser = new Browser(test);
  await browser.logIn('anna', 'correct horse');
  t.equal((await browser.get('/hub/home')).statusCode, 200, 'who is logged in');
  const app = await makeApiApp(test.context);
  const pages = ['', 'login', 'logout', 'home', 'spawn', 'stop', 'ticket', 'spawn-pending/anna', 'static/a.css'];
  const paths = [...pages, 'internal/ticket', 'api/users/anna/server/progress', 'admin'].map((path) => `/hub/${path}`);
  const likeTheProxy = { ...browser.headers, 'x-forwarded-proto': 'https', 'x-metalhub-proxy': '1' };
  for (const url of ['/', '/admin/users', HUB_TICKET_RENEW_PATH, ...paths]) {
    for (const method of ['GET', 'POST'] as const) {
      const { statusCode, headers } = await app.inject({ method, url, headers: likeTheProxy });
      t.ok([400, 404].includes(statusCode), `${method} ${url}`);
      t.notOk(headers['set-cookie']);
      t.notOk(headers.location);
    }
  }
});

t.test('the API is at the public address too', async (t) => {
  const test = await TestHub.open();
  t.teardown(() => test.close());
  t.match(JSON.parse((await test.app.inject('/hub/api')).body), { version: /\+metalhub$/ });
  t.match((await test.app.inject('/hub/api/')).headers, { 'x-jupyterhub-version': /^5\./ });
  t.equal((await test.app.inject('/hub/health')).statusCode, 200);
  t.notOk((await test.app.inject('/hub/login')).headers['x-jupyterhub-version']);
});

t.test('local programs cannot use up the descriptors of the hub', async (t) => {
  const path = join(t.testdir(), 'api.sock');
  const app = await makeApiApp({ base: () => '', log: memoryLog() });
  const listener = await Listener.open(app.server, { path }, 3);
  const held = await Promise.all(Array.from({ length: 3 }, () => open(path)));
  const surplus = await open(path);
  await new Promise((resolve) => surplus.once('close', resolve));
  t.pass('a connection too many is closed');
  held[0]?.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(await statusOf(path), 200, 'one that ends makes room');
  for (const socket of held) socket.destroy();
  await listener.drain(1000);
});

t.test('nobody keeps a connection by sending a request byte by byte', async (t) => {
  const path = join(t.testdir(), 'a.sock');
  const app = await makeApiApp({ base: () => '', log: memoryLog() }, 500);
  const listener = await Listener.open(app.server, { path });
  const socket = await open(path);
  const text = 'GET /hub/api HTTP/1.1\r\nhost: a\r\nx: ';
  let sent = 0;
  const dribble = setInterval(() => socket.write(text[sent++] ?? 'x'), 20);
  t.teardown(() => clearInterval(dribble));
  const beganMs = performance.now();
  await new Promise((resolve) => socket.once('close', resolve));
  t.ok(performance.now() - beganMs < 5000, 'it is ended');
  t.ok(sent > 5, 'while it sent');
  await listener.drain(1000);
});

function open(path: string) {
  return new Promise<ReturnType<typeof connect>>((resolve) => {
    const socket = connect(path, () => resolve(socket));
    socket.on('error', () => socket.destroy());
    socket.resume();
  });
}

function statusOf(socketPath: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: '/hub/api' }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', reject);
    sent.end();
  });
}
