import t from 'tap';
import type { StartRequest } from '../clients/spawner-client.js';
import { Browser, TestHub, until } from '../testing/test-hub.js';

t.setTimeout(600_000);

const NAMES = ['anna', 'bert', 'cleo'] as const;

interface Fixture {
  test: TestHub;
  browsers: Map<string, Browser>;
  phase: (name: string) => string | undefined;
  /** Keys of the starts that the spawner was asked for, oldest first. */
  asked: () => string[];
  /** Lets the oldest start that the spawner works on succeed. */
  finishOne: () => void;
}

/** The spawner works on a start until it is told to finish; one at a time is let through to it. */
async function makeFixture(t: { teardown: (end: () => Promise<void>) => void }): Promise<Fixture> {
  const working: (() => void)[] = [];
  const test = await TestHub.open((test) => {
    for (const name of NAMES) test.pam.passwords.set(name, 'right');
    test.config = { ...test.config, server: { ...test.config.server, concurrent_starts: 1 } };
    test.spawner.onStart = (request, peer) =>
      new Promise((resolve) => void working.push(() => resolve(peer.run(request))));
  });
  t.teardown(() => test.close());
  const browsers = new Map<string, Browser>();
  for (const [index, name] of NAMES.entries()) {
    const browser = new Browser(test, `192.0.2.${index + 1}`);
    await browser.logIn(name, 'right');
    browsers.set(name, browser);
  }
  const asked = (): string[] =>
    test.spawner.requests
      .filter(({ method }) => method === 'StartServer')
      .map(({ params }) => (params as StartRequest).key);
  return {
    test,
    browsers,
    phase: (name) => test.context.servers.list().find(({ user }) => user.name === name)?.state.phase,
    asked,
    finishOne: () => working.shift()?.(),
  };
}

async function pressAll({ browsers }: Fixture, names: readonly string[] = NAMES): Promise<void> {
  for (const name of names) await browsers.get(name)?.submit('/hub/spawn');
}

t.test('a start that waits for others shows how many, until it is its turn', async (t) => {
  const fixture = await makeFixture(t);
  const { test, browsers, asked, finishOne, phase } = fixture;
  await pressAll(fixture);
  await until(() => asked().length === 1);
  t.match((await browsers.get('bert')?.get('/hub/spawn-pending/bert'))?.body, 'yours is the next start');
  t.match((await browsers.get('cleo')?.get('/hub/spawn-pending/cleo'))?.body, 'Waiting for one other start');
  finishOne();
  await until(() => asked().length === 2 && phase('anna') === 'ready');
  t.match((await browsers.get('cleo')?.get('/hub/spawn-pending/cleo'))?.body, 'yours is the next start');
  t.same(asked(), ['anna', 'bert']);
  finishOne();
  await until(() => asked().length === 3);
  finishOne();
  await until(() => NAMES.every((name) => phase(name) === 'ready'));
  t.equal(test.spawner.units.size, 3);
});

t.test('a start that waits is cancelled at once, and never comes', async (t) => {
  const fixture = await makeFixture(t);
  const { browsers, asked, finishOne, phase } = fixture;
  await pressAll(fixture);
  await until(() => asked().length === 1);
  await browsers.get('bert')?.submit('/hub/stop');
  t.equal(phase('bert'), 'stopped');
  finishOne();
  await until(() => asked().length === 2);
  t.same(asked(), ['anna', 'cleo']);
  await pressAll(fixture, ['bert']);
  finishOne();
  await until(() => asked().length === 3);
  finishOne();
  await until(() => NAMES.every((name) => phase(name) === 'ready'));
});

t.test('R06: starts that waited when the hub was killed are taken up by the next one', async (t) => {
  const fixture = await makeFixture(t);
  const { test, asked, finishOne, phase } = fixture;
  await pressAll(fixture);
  await until(() => asked().length === 1);
  await test.stop();
  // The spawner goes on alone with what it was asked for.
  finishOne();
  await until(() => test.spawner.units.size === 1);
  await test.start();
  t.ok(NAMES.every((name) => phase(name) === 'spawn' || phase(name) === 'ready'));
  await until(() => asked().length === 2);
  finishOne();
  await until(() => asked().length === 3);
  finishOne();
  await until(() => NAMES.every((name) => phase(name) === 'ready'));
  t.same(asked().sort(), [...NAMES]);
});

t.test('a start from long ago is not taken up', async (t) => {
  const fixture = await makeFixture(t);
  const { test, asked, phase } = fixture;
  await pressAll(fixture, ['anna', 'bert']);
  await until(() => asked().length === 1);
  await test.stop();
  test.clock.pass(600_000);
  await test.start();
  await until(() => phase('anna') === 'stopped' && phase('bert') === 'stopped');
  // One goes through at a time: those that waited would come before this one.
  await pressAll(fixture, ['cleo']);
  await until(() => asked().length === 2);
  t.same(asked(), ['anna', 'cleo']);
});
