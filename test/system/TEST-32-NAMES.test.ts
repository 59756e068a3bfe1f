import { randomUUID } from 'node:crypto';
import t from 'tap';
import { type RawData, WebSocket } from 'ws';
import { PUBLIC_URL } from '../lib/browser.js';
import { installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { press, start } from '../lib/server-start.js';
import { Visitor } from '../lib/visitor.js';

t.setTimeout(900_000);

const PASSWORD = 'correct horse';
const HOMES = '/var/lib/private/metalhub/home';
/** Each as typed and as it is written in addresses. */
const NAMES: readonly [name: string, encoded: string][] = [
  ['anna.k@example.org', 'anna.k@example.org'],
  ['Jürgen', 'J%C3%BCrgen'],
  ["o'neil", 'o%27neil'],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a name, and stays one
  ['$(id) %n;${HOME}', '%24%28id%29%20%25n%3B%24%7BHOME%7D'],
  ['12345', '12345'],
  ['hub', 'hub'],
  ['x'.repeat(200), 'x'.repeat(200)],
];

let machine: Machine;

interface UserReport {
  name: string;
  key: string;
}

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await addAccounts([...NAMES.map(([name]) => name), 'same.name', 'same_name', 'Same-Name']);
  await machine.enterNetwork();
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=100']));
  await machine?.stop();
});

/** Writes accounts as a directory service would serve them: useradd refuses such names, the name service does not. */
async function addAccounts(names: readonly string[]): Promise<void> {
  const hash = await machine.run(['perl', '-e', 'print crypt($ARGV[0], q($6$metalhub$))', PASSWORD]);
  const program = [
    'import json, re, sys',
    'given = json.load(sys.stdin)',
    'with open("/etc/passwd", "a") as passwd, open("/etc/shadow", "a") as shadow:',
    '    for number, name in enumerate(given["names"]):',
    '        passwd.write(f"{name}:x:{5000 + number}:100::/nonexistent:/bin/bash\\n")',
    '        shadow.write(f"{name}:{given[\'hash\']}:20000:0:99999:7:::\\n")',
    'group = open("/etc/group").read()',
    'members = ",".join(given["names"])',
    'open("/etc/group", "w").write(re.sub(r"(?m)^(metalhub-users:.*:)$", lambda line: line[1] + members, group))',
  ].join('\n');
  await machine.run(['python3', '-c', program], { input: JSON.stringify({ names, hash }) });
}

async function keyOf(name: string): Promise<string> {
  const { users } = JSON.parse(await machine.run(['hubctl', 'users', '--json'])) as { users: UserReport[] };
  const user = users.find((report) => report.name === name);
  if (user === undefined) throw new Error(`hubctl users does not know ${name}`);
  return user.key;
}

/** Starts a kernel and asks it who it is, over its WebSocket, as a page of the server would. */
async function askKernel(visitor: Visitor, encoded: string): Promise<Record<string, unknown>> {
  const path = `/user/${encoded}/api/kernels`;
  const answer = await visitor.request(path, { method: 'POST', headers: { origin: PUBLIC_URL } });
  if (answer.status !== 201) throw new Error(`no kernel: ${answer.status} ${await answer.text()}`);
  const { id } = (await answer.json()) as { id: string };
  const socket = new WebSocket(`${PUBLIC_URL.replace('http', 'ws')}${path}/${id}/channels`, {
    origin: PUBLIC_URL,
    headers: { cookie: visitor.cookieHeader(path) },
  });
  const header = {
    msg_id: randomUUID(),
    msg_type: 'kernel_info_request',
    username: '',
    session: randomUUID(),
    version: '5.3',
  };
  const message = { header, parent_header: {}, metadata: {}, content: {}, channel: 'shell', buffers: [] };
  try {
    return await new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error('no kernel_info_reply in 30 seconds')), 30_000).unref();
      socket.once('error', reject);
      socket.once('open', () => socket.send(JSON.stringify(message)));
      socket.on('message', (data: RawData) => {
        const reply = JSON.parse(data.toString()) as { msg_type: string; content: Record<string, unknown> };
        if (reply.msg_type === 'kernel_info_reply') resolve(reply.content);
      });
    });
  } finally {
    socket.close();
  }
}

for (const [name, encoded] of NAMES) {
  const shown = name.length > 40 ? `a name of ${name.length} characters` : name;
  t.test(`S06: ${shown} logs in, starts a server and reaches its kernel, and systemd sees the key only`, async (t) => {
    const visitor = new Visitor();
    const home = await visitor.logIn(name, PASSWORD);
    t.equal(home.response.status, 200);
    t.equal(home.path, '/hub/home');
    const event = await start(visitor, encoded);
    t.match(event, { ready: true });
    const status = await visitor.navigate(`/user/${encoded}/api/status`);
    t.equal(status.response.status, 200);
    t.hasProp(JSON.parse(status.text), 'kernels', 'it is the server that answers');
    t.match(await askKernel(visitor, encoded), { status: 'ok', implementation: 'ipython' });

    const key = await keyOf(name);
    t.match(key, /^[a-z][a-z0-9_]{0,22}$/);
    const unit = `jupyter-${key}.service`;
    const units = await machine.run(['systemctl', 'list-units', '--all', '--plain', '--no-legend', 'jupyter-*']);
    t.match(units, unit);
    const seen = units + (await machine.run(['systemctl', 'show', '--all', unit, `jupyter-${key}.socket`]));
    t.strictSame(traces(seen, name, encoded, key), [], 'nothing of the name is in systemd');
    const processes = await machine.run(['ps', '-eo', 'args', 'ww']);
    t.strictSame(traces(processes, name, encoded, key), [], 'nor among the processes');
    t.equal((await machine.exec(['test', '-d', `${HOMES}/${key}`])).code, 0, 'the home bears the key too');
    await press(visitor, 'stop');
    t.equal((await machine.exec(['systemctl', 'is-active', unit])).stdout.trim(), 'inactive');
  });
}

/** Words of systemd's own, which say nothing about whose unit it is. */
const COMMON_WORDS: readonly string[] = ['hub', '12345'];

/** What of a name is in a text; a key may contain its name. */
function traces(text: string, name: string, encoded: string, key: string): string[] {
  const others = text.replaceAll(key, '');
  const wanted = [
    `user/${name}`,
    `user/${encoded}`,
    `pam:${name}`,
    ...(COMMON_WORDS.includes(name) ? [] : [name, encoded]),
  ];
  return wanted.filter((word) => others.includes(word));
}

t.test('A11: names that look the same as keys get keys, homes and files of their own', async (t) => {
  const keys: string[] = [];
  for (const name of ['same.name', 'same_name', 'Same-Name']) {
    const visitor = new Visitor();
    t.equal((await visitor.logIn(name, PASSWORD)).path, '/hub/home');
    t.match(await start(visitor, name), { ready: true }, name);
    keys.push(await keyOf(name));
    const path = `/user/${name}/api/contents`;
    await visitor.navigate(path);
    const listing = (await (await visitor.request(path)).json()) as { content: { name: string }[] };
    t.strictSame(
      listing.content.map((file) => file.name),
      [],
      `${name} sees no file of the others`,
    );
    const body = JSON.stringify({ type: 'file', format: 'text', content: name });
    const headers = { origin: PUBLIC_URL, 'content-type': 'application/json' };
    t.equal((await visitor.request(`${path}/of-${name}.txt`, { method: 'PUT', headers, body })).status, 201);
    await press(visitor, 'stop');
  }
  t.equal(new Set(keys).size, 3, keys.join(' '));
  t.equal(keys[0], 'same_name', 'the first to come has the plain one');
  for (const [index, name] of ['same.name', 'same_name', 'Same-Name'].entries()) {
    t.equal(await machine.readFile(`${HOMES}/${keys[index]}/of-${name}.txt`), name);
  }
});

t.test('a path that is another spelling of a name is not served as that name', async (t) => {
  const visitor = new Visitor();
  await visitor.logIn('Jürgen', PASSWORD);
  for (const path of [
    '/user/j%C3%BCrgen/api/status',
    '/user/J%c3%bcrgen/api/status',
    '/user/Ju%CC%88rgen/api/status',
  ]) {
    t.not((await visitor.navigate(path)).response.status, 200, path);
  }
});

t.test('the journal has no unexpected warnings', async () => {
  await machine.assertCleanJournal([]);
});
