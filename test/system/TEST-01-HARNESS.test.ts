import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import t from 'tap';
import { bootMachine, type Machine } from '../lib/machine.js';
import { projectFile } from '../lib/project.js';

const run = promisify(execFile);
const RUN = process.env['METALHUB_RUN'] ?? '/var/tmp/metalhub-machines';
/** What a machine of a killed owner may take to disappear. */
const SWEEP_TIMEOUT_MS = 30_000;

t.setTimeout(900_000);

const machines: Machine[] = [];
let owner: ChildProcess | undefined;

t.teardown(async () => {
  owner?.kill('SIGKILL');
  await Promise.all(machines.map((machine) => machine.stop()));
});

async function listed(): Promise<string[]> {
  const { stdout } = await run(projectFile('scripts/machine'), ['list']);
  return stdout.split('\n').map((line) => line.split(/\s/)[0] ?? '');
}

/** Text of the same file of every process; one that ends meanwhile has none. */
function ofProcesses(file: string): string[] {
  const pids = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
  return pids.flatMap((pid) => {
    try {
      return [`${pid}: ${readFileSync(`/proc/${pid}/${file}`, 'utf8').replaceAll('\0', ' ')}`];
    } catch {
      return [];
    }
  });
}

/** What the host still has of a machine, by the machine's name. */
async function traces(name: string): Promise<string[]> {
  const mounts = ofProcesses('mountinfo').filter((text) => text.includes(`${RUN}/${name}/`));
  return [
    ...ofProcesses('cmdline').filter((text) => text.includes(name)),
    ...ofProcesses('cgroup').filter((text) => text.includes(name)),
    ...mounts.map((text) => `mounts in the view of ${text.split(':')[0]}`),
    ...(existsSync(`${RUN}/${name}`) ? [`${RUN}/${name}`] : []),
    ...((await listed()).includes(name) ? ['in the list of machines'] : []),
  ];
}

/** A process that boots a machine and then lives on until it is killed. */
async function startOwner(): Promise<{ process: ChildProcess; name: string }> {
  const program = `
    const { bootMachine } = await import(${JSON.stringify(new URL('../lib/machine.js', import.meta.url).href)});
    console.log((await bootMachine({ image: 'bare' })).name);
    setInterval(() => {}, 60_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  owner = child;
  for await (const name of createInterface({ input: child.stdout })) return { process: child, name };
  throw new Error('no machine was booted');
}

async function waitUntilGone(name: string): Promise<string[]> {
  const deadline = performance.now() + SWEEP_TIMEOUT_MS;
  let left = await traces(name);
  while (left.length > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    left = await traces(name);
  }
  return left;
}

t.test('three machines live at once, each with a disk, names and a network of its own', async (t) => {
  machines.push(...(await Promise.all([1, 2, 3].map(() => bootMachine({ image: 'bare' })))));
  const names = machines.map(({ name }) => name);
  t.equal(new Set(names).size, 3);
  const running = await listed();
  for (const name of names) t.ok(running.includes(name), `${name} is listed`);
  await Promise.all(machines.map((machine) => machine.run(['sh', '-c', `echo ${machine.name} >/etc/mark`])));
  await Promise.all(machines.map((machine) => machine.run(['useradd', machine.name.slice(0, 32)])));
  for (const machine of machines) {
    t.equal(await machine.readFile('/etc/mark'), `${machine.name}\n`, 'nobody else wrote on its disk');
    const others = names.filter((name) => name !== machine.name);
    const accounts = await machine.readFile('/etc/passwd');
    t.equal(
      others.some((name) => accounts.includes(name.slice(0, 32))),
      false,
      'nor made an account',
    );
    t.match((await machine.exec(['systemctl', 'is-system-running'])).stdout, 'running');
  }
  const networks = await Promise.all(machines.map((machine) => machine.run(['readlink', '/proc/1/ns/net'])));
  t.equal(new Set(networks).size, 3);
});

t.test('a stopped machine leaves nothing, and its neighbours go on', async (t) => {
  const [first, ...others] = machines;
  t.not((await traces(first?.name ?? '')).length, 0, 'what is looked for is there while it runs');
  await first?.stop();
  // Who has just been killed is a process until its parent has asked for it.
  t.strictSame(await waitUntilGone(first?.name ?? ''), []);
  for (const machine of others) t.equal((await machine.exec(['true'])).code, 0);
});

t.test('kill -9 of the process that owns a machine leaves no process, mount or directory', async (t) => {
  const { process: child, name } = await startOwner();
  t.not((await traces(name)).length, 0, 'what is looked for is there while it runs');
  child.kill('SIGKILL');
  await once(child, 'exit');
  const begin = performance.now();
  t.strictSame(await waitUntilGone(name), []);
  t.comment(`gone after ${(performance.now() - begin).toFixed(0)} ms`);
  for (const machine of machines.slice(1)) t.equal((await machine.exec(['true'])).code, 0, 'others go on');
});
