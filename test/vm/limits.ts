import { equal, match, ok } from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createUser, PAM_LOGIN } from '../lib/deb.js';
import { JupyterServer } from '../lib/jupyter.js';
import { outcomeOf, press, unitProperty, until } from '../lib/server-start.js';
import { Visitor } from '../lib/visitor.js';

/**
 * What only a kernel with the controllers of cgroup v2 shows: limits that hold. Runs as root inside the machine that
 * scripts/vm-test boots, with what Node brings: there is nothing else there.
 */

const MIB = 2 ** 20;
const SLICES = '/sys/fs/cgroup/jupyter.slice';
const CONFIG = `${PAM_LOGIN}
[server]
memory_ceiling = "1G"
start_timeout_sec = 300
[[profile]]
name = "small"
allow = { users = ["anna"] }
memory_max = "400M"
tasks_max = 120
cpu_quota_percent = 40
[[profile]]
name = "closed"
allow = { users = ["bob"] }
ip_deny = ["any"]
`;
/** Everything takes ten times as long as on a real processor. */
const PATIENCE_MS = 300_000;

/** This machine, as helpers of the other tests know machines. */
const here = {
  run(argv: readonly string[], { input = '' }: { input?: string | Uint8Array } = {}): Promise<string> {
    const [program = '', ...rest] = argv;
    return new Promise((resolve, reject) => {
      const child = execFile(program, rest, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${argv.join(' ')}: ${error.message}\n${stdout}${stderr}`));
      });
      child.stdin?.end(input);
    });
  },
  path: async (path: string): Promise<string> => path,
};

const visitors = new Map<string, Visitor>();

/** A file of the control group of a user's server. */
function ofServer(user: string, file: string): Promise<string> {
  return readFile(`${SLICES}/jupyter-${user}.slice/jupyter-${user}.service/${file}`, 'utf8');
}

async function counted(text: Promise<string>, name: string): Promise<number> {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await text)?.[1]);
}

async function logIn(user: string): Promise<Visitor> {
  const visitor = new Visitor();
  await visitor.logIn(user, 'correct horse');
  visitors.set(user, visitor);
  return visitor;
}

async function page(user: string): Promise<string> {
  return (await visitors.get(user)?.navigate('/hub/home'))?.text ?? '';
}

/** Share of a processor that a busy program of the server gets, in seconds of the machine. */
async function busyShare(server: JupyterServer): Promise<number> {
  const code = `
import time
begin, used = time.monotonic(), time.process_time()
while time.monotonic() - begin < 5:
    pass
print((time.process_time() - used) / (time.monotonic() - begin))`;
  return Number(await server.python(code, PATIENCE_MS));
}

before(
  async () => {
    await writeFile('/etc/metalhub/metalhub.toml', CONFIG);
    // Jupyter gives a kernel up that says nothing for a minute.
    await mkdir('/etc/jupyter', { recursive: true });
    const slow = { MappingKernelManager: { kernel_info_timeout: 600 } };
    await writeFile('/etc/jupyter/jupyter_server_config.json', JSON.stringify(slow));
    for (const user of ['anna', 'bob']) await createUser(here, user, 'correct horse', { groups: ['metalhub-users'] });
    await here.run(['hubctl', 'apply']);
    for (const user of ['anna', 'bob']) {
      const visitor = await logIn(user);
      await press(visitor, 'spawn');
      const isReady = async (): Promise<boolean> =>
        (await outcomeOf(visitor, user).catch(() => undefined))?.['ready'] === true;
      await until(`the server of ${user}`, isReady, PATIENCE_MS);
    }
  },
  { timeout: 2 * PATIENCE_MS },
);

after(async () => {
  console.log((await here.run(['journalctl', '--no-pager', '-n', '40', '-p', 'warning'])).replace(/^/gm, '# '));
});

void test('U05: what takes too much memory dies in its own unit; the server stays, and its user is told', async () => {
  const pid = await unitProperty(here, 'jupyter-anna.service', 'MainPID');
  const server = await JupyterServer.ofHub(here, 'anna');
  const hog = server.python('x = b"x" * (600 << 20)', 60_000).then(
    () => 'it got it',
    (error: unknown) => String(error),
  );
  await until(
    'the kernel ends it',
    async () => (await counted(ofServer('anna', 'memory.events'), 'oom_kill')) > 0,
    PATIENCE_MS,
  );
  match(await hog, /no end after|closed the kernel/);
  equal(await unitProperty(here, 'jupyter-anna.service', 'MainPID'), pid);
  equal(await unitProperty(here, 'jupyter-anna.service', 'ActiveState'), 'active');
  await until(
    'the page says so',
    async () => (await page('anna')).includes('a kernel perhaps, was ended'),
    PATIENCE_MS,
  );
  match(await here.run(['journalctl', '-u', 'jupyter-anna.service']), /a program of this server was ended/);
  const other = await JupyterServer.ofHub(here, 'anna');
  equal(await other.python('print(6 * 7)', PATIENCE_MS), '42', 'a new kernel');
});

void test('U05: more processes than allowed cannot be made, and others notice nothing', async () => {
  const server = await JupyterServer.ofHub(here, 'anna');
  const code = `
import errno, subprocess
made = []
try:
    for _ in range(300):
        made.append(subprocess.Popen(["sleep", "600"]))
except OSError as error:
    print(errno.errorcode[error.errno], len(made) < 120, open("/sys/fs/cgroup" + open("/proc/self/cgroup").read()[3:-1] + "/pids.current").read())`;
  match(await server.python(code, PATIENCE_MS), /^EAGAIN True 120$/);
  ok((await counted(ofServer('anna', 'pids.events'), 'max')) > 0);
  const bob = await JupyterServer.ofHub(here, 'bob');
  equal((await bob.shell('sleep 0.1 & wait; echo fine', PATIENCE_MS)).output, 'fine\n');
  await server.python('for one in made: one.kill(); one.wait()', PATIENCE_MS);
});

void test('a share of the processor is kept to, and a live change of limits holds at once', async () => {
  const server = await JupyterServer.ofHub(here, 'anna');
  const before = await busyShare(server);
  ok(before < 0.55, `${before} of a processor`);
  ok((await counted(ofServer('anna', 'cpu.stat'), 'nr_throttled')) > 0);
  await here.run(['hubctl', 'limit', 'anna', 'cpu=100%', 'memory=900M']);
  const after = await busyShare(server);
  ok(after > 0.65, `${after} of a processor`);
  equal(Number(await ofServer('anna', 'memory.max')), 900 * MIB);
  equal(await server.python('x = b"x" * (500 << 20); print(len(x) >> 20); del x', PATIENCE_MS), '500');
});

void test('a frozen server uses no processor at all, and goes on', async () => {
  const used = (): Promise<number> => counted(ofServer('anna', 'cpu.stat'), 'usage_usec');
  const server = await JupyterServer.ofHub(here, 'anna');
  const busy = server.python('import time; t = time.monotonic()\nwhile time.monotonic() - t < 10: pass', PATIENCE_MS);
  await sleep(3000);
  await here.run(['hubctl', 'freeze', 'anna']);
  match(await ofServer('anna', 'cgroup.events'), /^frozen 1$/m);
  const frozen = await used();
  await sleep(3000);
  equal(await used(), frozen);
  await here.run(['hubctl', 'thaw', 'anna']);
  await until('it goes on', async () => (await used()) > frozen, PATIENCE_MS);
  await busy;
});

void test('IPAddressDeny: without a way out there is none, not even on loopback', async (t) => {
  const listener = spawn('python3', ['-m', 'http.server', '--bind', '127.0.0.1', '8099'], { stdio: 'ignore' });
  t.after(() => listener.kill());
  const ask = `
import socket
try:
    socket.create_connection(("127.0.0.1", 8099), timeout=5).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)`;
  const anna = await JupyterServer.ofHub(here, 'anna');
  await until('it listens', async () => (await anna.python(ask, PATIENCE_MS)) === 'connected', PATIENCE_MS);
  const bob = await JupyterServer.ofHub(here, 'bob');
  match(await bob.python(ask, PATIENCE_MS), /TimeoutError|PermissionError/);
});

void test('R03: OOMPolicy=continue: a worker of the proxy that is killed for its memory takes nobody along', async () => {
  const unit = 'hub-proxy.service';
  const group = `/sys/fs/cgroup/system.slice/${unit}`;
  const pid = await unitProperty(here, unit, 'MainPID');
  const restarts = await unitProperty(here, unit, 'NRestarts');
  await here.run(['choom', '-n', '-900', '-p', pid]);
  const kills = (): Promise<number> => counted(readFile(`${group}/memory.events`, 'utf8'), 'oom_kill');
  const bytes = Number(await readFile(`${group}/memory.current`, 'utf8'));
  await here.run(['systemctl', 'set-property', '--runtime', unit, `MemoryMax=${Math.floor(bytes * 0.6)}`]);
  await until('the kernel kills one', async () => (await kills()) > 0, PATIENCE_MS);
  await here.run(['systemctl', 'set-property', '--runtime', unit, 'MemoryMax=50%']);
  await until('a visitor is answered', async () => (await page('anna')) !== '', PATIENCE_MS);
  equal(await unitProperty(here, unit, 'MainPID'), pid);
  equal(await unitProperty(here, unit, 'NRestarts'), restarts);
});
