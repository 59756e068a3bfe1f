import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { Listener } from '../listener.js';
import { refuseStart } from '../testing/peers.js';
import { Browser, TestHub, until } from '../testing/test-hub.js';

interface Fixture {
  test: TestHub;
  anna: Browser;
  listener: Listener;
  /** Opens a stream over a real connection. */
  open: (url: string) => Promise<IncomingMessage>;
}

async function makeFixture(t: { teardown: (end: () => Promise<void>) => void }): Promise<Fixture> {
  const test = await TestHub.open((test) => void test.pam.passwords.set('anna', 'right'));
  const path = join(test.directory, 'hub.sock');
  const listener = await Listener.open(test.app.server, { path });
  t.teardown(async () => {
    await listener.drain(0);
    await test.close();
  });
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  const open = (url: string): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      request({ socketPath: path, path: url, headers: anna.headers, agent: false }, resolve).on('error', reject).end();
    });
  return { test, anna, listener, open };
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function events(text: string): Record<string, unknown>[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('data: '))
    .map((block) => JSON.parse(block.slice('data: '.length)) as Record<string, unknown>);
}

const URL_OF_ANNA = '/hub/api/users/anna/server/progress';

t.test('each reader gets all steps from the beginning, then the end', async (t) => {
  const { test, anna, open } = await makeFixture(t);
  let finish = (): void => undefined;
  test.spawner.onStart = (request, peer, context) => {
    context.emit({ stage: 'account' });
    return new Promise((resolve) => {
      finish = () => {
        context.emit({ stage: 'unit' });
        resolve(peer.run(request));
      };
    });
  };
  await anna.submit('/hub/spawn');
  const first = await open(URL_OF_ANNA);
  t.match(first.headers, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    'x-frame-options': 'DENY',
  });
  await until(() => test.spawner.count('StartServer') === 1);
  const second = await open(URL_OF_ANNA);
  finish();
  const texts = await Promise.all([readAll(first), readAll(second)]);
  for (const text of texts) {
    t.same(
      events(text).map(({ stage }) => stage),
      ['requested', 'account', 'unit', 'route', 'ready'],
    );
    t.match(events(text).at(-1), {
      progress: 100,
      ready: true,
      message: 'Server ready at /user/anna/',
      html_message: 'Server ready at <a href="/user/anna/">/user/anna/</a>',
      url: '/user/anna/',
    });
  }
  t.same(events(await readAll(await open(URL_OF_ANNA))).length, 1, 'afterwards the end alone');
});

t.test('a failed start ends the stream with the reason', async (t) => {
  const { test, anna, open } = await makeFixture(t);
  test.spawner.onStart = async () => refuseStart('MH_ERR_SPAWN_EXITED');
  await anna.submit('/hub/spawn');
  t.match(events(await readAll(await open(URL_OF_ANNA))).at(-1), {
    progress: 100,
    failed: true,
    failure: { message: 'The server ended before it was ready (exit-code, status 1).', logLines: [] },
  });
});

t.test('there is no stream of a server that is not starting, nor of too many', async (t) => {
  const { test, anna, open } = await makeFixture(t);
  const stopped = await open(URL_OF_ANNA);
  t.equal(stopped.statusCode, 400);
  t.match(JSON.parse(await readAll(stopped)), { message: 'bad request: anna is not starting' });
  test.spawner.onStart = () => new Promise(() => undefined);
  await anna.submit('/hub/spawn');
  const streams: IncomingMessage[] = [];
  for (let count = 0; count < 16; count++) streams.push(await open(URL_OF_ANNA));
  const tooMany = await open(URL_OF_ANNA);
  t.equal(tooMany.statusCode, 503);
  tooMany.resume();
  for (const stream of streams) stream.destroy();
  await until(async () => {
    const stream = await open(URL_OF_ANNA);
    const isOpen = stream.statusCode === 200;
    stream.destroy();
    return isOpen;
  });
});

t.test('R06: a hub that stops ends its streams, answers what is under way, and accepts no more', async (t) => {
  const { test, anna, listener, open } = await makeFixture(t);
  test.spawner.onStart = () => new Promise(() => undefined);
  await anna.submit('/hub/spawn');
  // Accepted, but its request is still on the way: the next answer proves that it was accepted before.
  const early = connect(join(test.directory, 'hub.sock'));
  await once(early, 'connect');
  const stream = await open(URL_OF_ANNA);
  const beganMs = performance.now();
  test.context.streams.close();
  const drained = listener.drain(5000);
  early.write('GET /hub/health HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const [answer] = (await once(early, 'data')) as [Buffer];
  t.match(answer.toString(), /^HTTP\/1\.1 200 OK\r\n/);
  t.match(answer.toString(), '\r\nconnection: close\r\n');
  await readAll(stream);
  early.destroy();
  await drained;
  t.ok(performance.now() - beganMs < 1000);
  await t.rejects(open('/hub/health'));
});

t.test('R06: a login that is being checked is answered before the hub ends', async (t) => {
  const { test, listener } = await makeFixture(t);
  test.pam.delayMs = 200;
  const visitor = new Browser(test);
  const csrf = await visitor.token('/hub/login');
  const body = new URLSearchParams({ username: 'anna', password: 'right', csrf }).toString();
  const headers = {
    ...visitor.headers,
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': body.length,
  };
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request(
      { socketPath: join(test.directory, 'hub.sock'), path: '/hub/login', method: 'POST', headers, agent: false },
      resolve,
    );
    sent.on('error', reject).end(body);
  });
  await until(() => test.pam.running === 1);
  const drained = listener.drain(5000);
  const answer = await answered;
  t.equal(answer.statusCode, 303);
  answer.resume();
  await drained;
});
