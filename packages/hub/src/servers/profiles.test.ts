import { parseConfig } from '@metalhub/config/load.js';
import t from 'tap';
import { findUserByName } from '../db/tables/users.js';
import { Browser, DEFAULT_CONFIG, memoryLog, TestHub, until } from '../testing/test-hub.js';
import { Profiles } from './profiles.js';

const PROFILES = `
  [[profile]]
  name = "staff"
  title = "Large"
  description = "For everybody who teaches."
  allow = { groups = ["staff"] }
  [[profile]]
  name = "small"
  title = "Small"
  [[profile]]
  name = "bobs"
  title = "Workbench"
  allow = { users = ["bob"] }
`;

async function openTest(t: { teardown: (end: () => Promise<void>) => void }, text = PROFILES): Promise<TestHub> {
  const test = await TestHub.open((test) => {
    for (const name of ['anna', 'bob']) test.pam.passwords.set(name, 'right');
    test.config = parseConfig([{ file: 'test.toml', text: DEFAULT_CONFIG + text }]);
  });
  t.teardown(() => test.close());
  return test;
}

async function logIn(test: TestHub, name: string): Promise<Browser> {
  const browser = new Browser(test);
  await browser.logIn(name, 'right');
  return browser;
}

/** Values of the offered profiles, the chosen one marked. */
function offersOf(page: string): string[] {
  return [...page.matchAll(/<input type="radio" name="profile" value="([^"]+)"[^>]*?( checked)?>/g)].map(
    ([, name, checked]) => `${name}${checked === undefined ? '' : '*'}`,
  );
}

const startedProfiles = (test: TestHub): unknown[] =>
  test.spawner.requests
    .filter(({ method }) => method === 'StartServer')
    .map(({ params }) => (params as { profile: string }).profile);

t.test('the start page offers what the user or one of their groups may use, in the order of the file', async (t) => {
  const test = await openTest(t);
  const anna = await logIn(test, 'anna');
  t.same(offersOf((await anna.get('/hub/spawn')).body), [], 'one alone is no choice');
  t.match((await anna.get('/hub/home')).body, /Small[\s\S]*<form method="post" action="\/hub\/spawn"/);
  test.groups.set('anna', ['users', 'staff']);
  const page = (await anna.get('/hub/spawn')).body;
  t.same(offersOf(page), ['staff*', 'small']);
  t.match(page, 'For everybody who teaches.');
  t.match((await anna.get('/hub/home')).body, '<a class="button primary" href="/hub/spawn">Start</a>');
  t.same(offersOf((await (await logIn(test, 'bob')).get('/hub/spawn')).body), ['small*', 'bobs']);
});

t.test('what was used last is chosen the next time, also after a restart of the hub', async (t) => {
  const test = await openTest(t);
  test.groups.set('anna', ['staff']);
  const anna = await logIn(test, 'anna');
  await anna.submit('/hub/spawn', { profile: 'small' });
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'ready'));
  t.match((await test.admin.inject('/admin/servers')).json(), { servers: [{ profile: 'small', state: 'ready' }] });
  await anna.submit('/hub/stop');
  await test.stop();
  await test.start();
  t.same(offersOf((await anna.get('/hub/spawn')).body), ['staff', 'small*']);
  await anna.submit('/hub/spawn');
  await until(() => startedProfiles(test).length === 2);
  t.same(startedProfiles(test), ['small', 'small'], 'and started when nothing else is asked for');
});

t.test('S03: what a user may not use is not started for them, whoever asks', async (t) => {
  const test = await openTest(t);
  const anna = await logIn(test, 'anna');
  for (const profile of ['staff', 'bobs']) {
    t.equal((await anna.submit('/hub/spawn', { profile })).statusCode, 403, profile);
    const payload = { user: 'anna', profile };
    const answer = await test.admin.inject({ method: 'POST', url: '/admin/servers/start', payload });
    t.match([answer.statusCode, answer.json()], [403, { code: 'MH_ERR_HUB_PROFILE' }], 'an administrator');
  }
  t.equal((await anna.submit('/hub/spawn', { profile: 'none' })).statusCode, 400);
  t.equal((await anna.submit('/hub/spawn', { profile: 'small', memory_max: '1T' })).statusCode, 400);
  t.same(startedProfiles(test), []);
});

t.test('a profile that was taken away falls back to one that is left', async (t) => {
  const test = await openTest(t);
  test.groups.set('anna', ['staff']);
  const anna = await logIn(test, 'anna');
  await anna.submit('/hub/spawn', { profile: 'staff' });
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'ready'));
  test.groups.set('anna', []);
  t.equal((await anna.submit('/hub/spawn')).statusCode, 303, 'what runs goes on');
  await anna.submit('/hub/stop');
  await anna.submit('/hub/spawn');
  await until(() => startedProfiles(test).length === 2);
  t.same(startedProfiles(test), ['staff', 'small']);
});

t.test('nobody is in a group that cannot be looked up, and who may start nothing is told so', async (t) => {
  const test = await openTest(t, '[[profile]]\nname = "staff"\nallow = { groups = ["staff"] }');
  const anna = await logIn(test, 'anna');
  for (const groups of [[], new Error('no answer from the directory')]) {
    test.groups.set('anna', groups);
    const page = (await anna.get('/hub/spawn')).body;
    t.match(page, 'no kind of server that you may start');
    t.notMatch(page, '>Start<');
    t.equal((await anna.submit('/hub/spawn')).statusCode, 403);
  }
  t.match(
    test.logLines.map(({ message }) => message),
    ['user logged in', 'groups of a user could not be looked up'],
  );
  test.groups.set('anna', ['staff']);
  t.match((await anna.get('/hub/spawn')).body, '>Start<');
});

t.test('groups are looked up once for all who wait for them, and for two users at a time', async (t) => {
  const test = await openTest(t);
  const users = [];
  for (const name of ['anna', 'bob', 'cleo']) {
    test.pam.passwords.set(name, 'right');
    await logIn(test, name);
    const user = await findUserByName(test.context.database, name);
    if (user !== undefined) users.push(user);
  }
  const asked: string[] = [];
  const answers: (() => void)[] = [];
  const groupsOf = async ({ name }: { name: string }): Promise<string[]> => {
    asked.push(name);
    await new Promise<void>((resolve) => void answers.push(resolve));
    return ['staff'];
  };
  const profiles = new Profiles(() => test.config, groupsOf, memoryLog());
  const all = [...users, ...users].map((user) => profiles.of(user));
  await until(() => asked.length === 2);
  await new Promise((resolve) => setImmediate(resolve));
  t.same(asked, ['anna', 'bob']);
  answers.shift()?.();
  await until(() => asked.length === 3);
  for (const answer of answers) answer();
  for (const offered of await Promise.all(all)) t.equal(offered[0]?.name, 'staff');
  t.same(asked, ['anna', 'bob', 'cleo']);
  const [anna] = users;
  if (anna === undefined) throw new Error('no user');
  const later = profiles.of(anna);
  await until(() => asked.length === 4);
  for (const answer of answers) answer();
  await later;
});

t.test('an open home page asks for no groups while there is nothing to start', async (t) => {
  const test = await openTest(t);
  const anna = await logIn(test, 'anna');
  const failures = () => test.logLines.filter(({ message }) => message.startsWith('groups of a user')).length;
  test.groups.set('anna', new Error('no answer from the directory'));
  await anna.get('/hub/home');
  t.equal(failures(), 1);
  await anna.submit('/hub/spawn');
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'ready'));
  const before = failures();
  t.match((await anna.get('/hub/home')).body, /Small[\s\S]*>Open</);
  t.equal(failures(), before);
  await anna.submit('/hub/stop');
  const { body } = await anna.get('/hub/home');
  t.ok(failures() > before);
  t.match(body, '>Start<');
});

const CHOICES = `
  [[profile]]
  name = "lab"
  title = "Laboratory"
  [[profile.override]]
  name = "staff"
  groups = ["staff"]
  memory_max = "8G"
  [[profile.override]]
  name = "all"
  groups = ["staff", "students"]
  memory_max = "2G"
  [[profile.choice]]
  name = "size"
  title = "Size"
  [[profile.choice.option]]
  name = "small"
  title = "2 GB"
  [[profile.choice.option]]
  name = "large"
  title = "16 GB"
  allow = { groups = ["staff"] }
  [[profile.choice.option]]
  name = "medium"
  title = "4 GB"
  [[profile.choice]]
  name = "gpu"
  title = "GPU"
  [[profile.choice.option]]
  name = "one"
  title = "One"
  allow = { groups = ["staff"] }
`;

const lastStart = (test: TestHub) =>
  test.spawner.requests.findLast(({ method }) => method === 'StartServer')?.params as
    | { profile: string; server: string; override?: string; kernels?: string[]; choices?: Record<string, string> }
    | undefined;

t.test('choices are offered, sent to the spawner and remembered', async (t) => {
  const test = await openTest(t, CHOICES);
  const anna = await logIn(test, 'anna');
  const page = (await anna.get('/hub/spawn')).body;
  t.match(page, /<label for="choice\.lab\.size"><bdi>Size<\/bdi><\/label>\n<select name="choice\.lab\.size"/);
  const options = (text: string) =>
    [...text.matchAll(/<option value="([a-z]+)" (selected)?>/g)].map(([, name, mark]) => `${name}${mark ? '*' : ''}`);
  t.same(options(page), ['small*', 'medium']);
  t.match((await anna.get('/hub/home')).body, 'href="/hub/spawn">Start</a>');
  await anna.submit('/hub/spawn', { 'choice.lab.size': 'medium' });
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'ready'));
  t.match(lastStart(test), { profile: 'lab', choices: { size: 'medium' }, override: undefined });
  t.match((await test.admin.inject('/admin/servers')).json(), { servers: [{ choices: { size: 'medium' } }] });
  await anna.submit('/hub/stop');
  await test.stop();
  await test.start();
  t.same(options((await anna.get('/hub/spawn')).body), ['small', 'medium*']);
  const payload = { user: 'anna' };
  await test.admin.inject({ method: 'POST', url: '/admin/servers/start', payload });
  t.match(lastStart(test)?.choices, { size: 'medium' });
});

t.test('of two groups with different limits the first override in the file counts, and options by group', async (t) => {
  const test = await openTest(t, CHOICES);
  test.groups.set('anna', ['students', 'staff']);
  test.groups.set('bob', ['students']);
  for (const [name, override, choices] of [
    ['anna', 'staff', { size: 'small', gpu: 'one' }],
    ['bob', 'all', { size: 'small' }],
  ] as const) {
    await (await logIn(test, name)).submit('/hub/spawn');
    await until(() =>
      test.context.servers.list().some(({ user, state }) => user.name === name && state.phase === 'ready'),
    );
    t.match(lastStart(test), { override });
    t.same(lastStart(test)?.choices, choices);
  }
});

t.test('kernels are those of the user, their groups and the profile, and are not asked for by them', async (t) => {
  const test = await openTest(
    t,
    `${PROFILES}
    [[kernel_root]]
    name = "conda"
    path = "/opt/conda"
    [[kernel_root]]
    name = "teaching"
    path = "/opt/teaching"
    allow = { groups = ["staff"] }
    profiles = ["staff", "bobs"]`,
  );
  test.groups.set('bob', ['staff']);
  for (const [name, profile, kernels] of [
    ['anna', 'small', ['conda']],
    ['bob', 'bobs', ['conda', 'teaching']],
  ] as const) {
    const browser = await logIn(test, name);
    t.equal((await browser.submit('/hub/spawn', { profile, kernels: 'teaching' })).statusCode, 400);
    await browser.submit('/hub/spawn', { profile });
    await until(() =>
      test.context.servers.list().some(({ user, state }) => user.name === name && state.phase === 'ready'),
    );
    t.same(lastStart(test)?.kernels, kernels);
  }
});

t.test('who makes another server chooses its kind after its name, and each remembers its own', async (t) => {
  const test = await openTest(t, `${CHOICES}\n[[profile]]\nname = "small"\n[server]\nnamed_limit = 1`);
  const anna = await logIn(test, 'anna');
  t.match(
    (await anna.get('/hub/home')).body,
    /<form method="get" action="\/hub\/spawn"[\s\S]*name="new"[\s\S]*name="server"/,
  );
  const page = (await anna.get('/hub/spawn?new=yes&server=gpu')).body;
  t.same(offersOf(page), ['lab*', 'small']);
  t.match(page, '<input type="hidden" name="server" value="gpu">');
  t.equal(test.context.servers.list().length, 0, 'looking makes nothing');
  await anna.submit('/hub/spawn', { server: 'gpu', profile: 'lab', 'choice.lab.size': 'medium' });
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'ready'));
  t.match(lastStart(test), { profile: 'lab', choices: { size: 'medium' }, server: 'gpu' });
  await anna.submit('/hub/stop', { server: 'gpu' });
  await anna.submit('/hub/spawn', { profile: 'small' });
  await until(() => lastStart(test)?.profile === 'small');
  t.same(offersOf((await anna.get('/hub/spawn?new=yes&server=gpu')).body), ['lab*', 'small'], 'one that is there');
  t.match(await anna.get('/hub/spawn?new=yes&server=other'), { statusCode: 409, body: /No more than 1 named server/ });
  t.equal((await anna.get('/hub/spawn?new=yes&server=A')).statusCode, 400);
  t.equal((await anna.get('/hub/spawn?new=yes&server=a&server=b')).statusCode, 400);
  t.equal((await anna.get('/hub/spawn?server=none')).statusCode, 404);
});

t.test('the kind of another server is chosen also while all that somebody has runs', async (t) => {
  const test = await openTest(t, '[[profile]]\nname = "lab"\n[[profile]]\nname = "small"\n[server]\nnamed_limit = 1');
  const anna = await logIn(test, 'anna');
  await anna.submit('/hub/spawn', { profile: 'lab' });
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'ready'));
  t.match((await anna.get('/hub/home')).body, /<form method="get" action="\/hub\/spawn"[\s\S]*name="new"/);
});

t.test('S03: an option that the user may not take, or that is not there, starts nothing', async (t) => {
  const test = await openTest(t, CHOICES);
  const anna = await logIn(test, 'anna');
  for (const fields of [{ 'choice.lab.size': 'large' }, { 'choice.lab.size': 'x' }, { 'choice.lab.gpu': 'one' }]) {
    t.equal((await anna.submit('/hub/spawn', fields)).statusCode, 400, JSON.stringify(fields));
  }
  const payload = { user: 'anna', choices: { siez: 'medium' } };
  const answer = await test.admin.inject({ method: 'POST', url: '/admin/servers/start', payload });
  t.match([answer.statusCode, answer.json()], [400, { code: 'MH_ERR_SPAWN_CHOICE', message: /siez/ }], 'nor a choice');
  t.equal(lastStart(test), undefined);
});
