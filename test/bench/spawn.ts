import { createUser, installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { fieldOf, readEvents, Visitor } from '../lib/visitor.js';
import { median, ratios, spread } from './figures.js';

/**
 * From the press of Start until the server answers, beside a bare jupyter-lab process and Debian's JupyterHub, in turn
 * on one machine; then what the daemons of both hubs need when nobody works. Prints, judges nothing.
 */
const ROUNDS = Number(process.argv[2] ?? 5);
const HUB_URL = 'http://127.0.0.1:8100';
const HUB_TOKEN = 'f'.repeat(64);

const DAEMONS = ['hub.service', 'hub-proxy.service', 'hub-spawner.service'];

const JUPYTERHUB_CONFIG = `
c.JupyterHub.bind_url = '${HUB_URL}'
c.JupyterHub.hub_port = 8181
c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:8182'
c.JupyterHub.authenticator_class = 'dummy'
c.Authenticator.allow_all = True
c.JupyterHub.db_url = 'sqlite:////var/lib/bench/jupyterhub.sqlite'
c.JupyterHub.cookie_secret_file = '/var/lib/bench/cookie_secret'
c.ConfigurableHTTPProxy.pid_file = '/var/lib/bench/proxy.pid'
c.JupyterHub.services = [{'name': 'bench', 'api_token': '${HUB_TOKEN}'}]
c.JupyterHub.load_roles = [{'name': 'bench', 'services': ['bench'], 'scopes': ['admin:users', 'admin:servers', 'access:servers']}]
`;

/** Runs as the user: starts the process, connects until it answers, prints milliseconds, ends it. */
const BARE = `
import http.client, os, signal, socket, subprocess, sys, time
path = '/tmp/bench-%d.sock' % os.getpid()
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
begin = time.monotonic()
process = subprocess.Popen(['jupyter-lab', '--no-browser', '--ServerApp.sock=' + path, '--ServerApp.token='],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while True:
    try:
        connection = Connection('localhost')
        connection.request('GET', '/api/status')
        if connection.getresponse().status == 200:
            break
    except OSError:
        pass
    if process.poll() is not None or time.monotonic() - begin > 60:
        sys.exit('jupyter-lab did not start')
    time.sleep(0.005)
print((time.monotonic() - begin) * 1000)
process.send_signal(signal.SIGKILL)
`;

async function prepare(machine: Machine): Promise<void> {
  await installDeb(machine);
  await machine.shell(OWN_FILES);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await machine.writeFile('/etc/bench/jupyterhub_config.py', JUPYTERHUB_CONFIG);
  await machine.writeFile('/etc/bench/bare.py', BARE);
  await machine.shell(
    'mkdir -p /var/lib/bench && systemd-run --unit=bench-jupyterhub --working-directory=/var/lib/bench jupyterhub -f /etc/bench/jupyterhub_config.py',
  );
  await machine.enterNetwork();
  const deadline = Date.now() + 60_000;
  while (!(await isUp())) {
    if (Date.now() > deadline) throw new Error('JupyterHub did not come up');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await jupyterhub('POST', '/users/anna');
}

/**
 * Gives the machine its own copy of Node and of the libraries it maps: pages of the image would be shared with every Node
 * that this computer runs at the time, and the proportional size would be too good by as much.
 */
const OWN_FILES = `
files=$(for pid in $(systemctl show --property=MainPID --value hub.service hub-proxy.service); do awk '$6 ~ /^\\/usr/ { print $6 }' /proc/$pid/maps; done | sort -u)
for file in $files; do cp -a "$file" "$file.own" && mv "$file.own" "$file"; done
systemctl daemon-reexec
systemctl restart hub.service hub-proxy.service`;

async function isUp(): Promise<boolean> {
  return jupyterhub('GET', '/').then(
    (response) => response.ok,
    () => false,
  );
}

function jupyterhub(method: string, path: string): Promise<Response> {
  return fetch(`${HUB_URL}/hub/api${path}`, { method, headers: { authorization: `token ${HUB_TOKEN}` } });
}

async function startMetalhub(visitor: Visitor): Promise<number> {
  const home = await visitor.navigate('/hub/home');
  const csrf = fieldOf(home.text, 'csrf');
  const begin = performance.now();
  await visitor.submit('/hub/spawn', { csrf, next: '', server: '' });
  await untilReady(
    await visitor.request('/hub/api/users/anna/server/progress', { headers: { accept: 'text/event-stream' } }),
  );
  // The ticket is fetched as a browser would, then the server itself must answer.
  const { response } = await visitor.navigate('/user/anna/api/status');
  if (response.status !== 200) throw new Error(`the server answered ${response.status}`);
  return performance.now() - begin;
}

async function stopMetalhub(visitor: Visitor): Promise<void> {
  const home = await visitor.navigate('/hub/home');
  await visitor.submit('/hub/stop', { csrf: fieldOf(home.text, 'csrf'), server: '' });
}

async function startJupyterhub(): Promise<number> {
  const begin = performance.now();
  const started = await jupyterhub('POST', '/users/anna/server');
  if (started.status !== 201) await untilReady(await jupyterhub('GET', '/users/anna/server/progress'));
  const response = await fetch(`${HUB_URL}/user/anna/api/status`, { headers: { authorization: `token ${HUB_TOKEN}` } });
  if (response.status !== 200) throw new Error(`JupyterHub's server answered ${response.status}`);
  return performance.now() - begin;
}

async function stopJupyterhub(): Promise<void> {
  for (let status = 0; status !== 204; ) {
    ({ status } = await jupyterhub('DELETE', '/users/anna/server'));
    if (status !== 204) await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function untilReady(response: Response): Promise<void> {
  for await (const event of readEvents(response)) {
    if (event['failed'] === true) throw new Error(`start failed: ${JSON.stringify(event)}`);
    if (event['ready'] === true) return;
  }
  throw new Error('the progress ended before the server was ready');
}

async function startBare(machine: Machine): Promise<number> {
  return Number(await machine.run(['python3', '/etc/bench/bare.py'], { user: 'anna' }));
}

/** Proportional set size in MB of all processes of the units. */
async function memoryOf(machine: Machine, units: readonly string[]): Promise<number> {
  const script = `for unit in "$@"; do
    group=$(systemctl show --value --property=ControlGroup "$unit")
    [ -n "$group" ] || continue
    for pid in $(cat "/sys/fs/cgroup$group/cgroup.procs"); do cat "/proc/$pid/smaps_rollup"; done
  done | awk '/^Pss:/ { sum += $2 } END { print sum / 1000 }'`;
  return Number(await machine.run(['sh', '-c', script, 'sh', ...units]));
}

async function main(): Promise<void> {
  await using machine = await bootMachine({ image: 'jupyterhub' });
  await prepare(machine);
  const visitor = new Visitor();
  await visitor.logIn('anna', 'correct horse');
  const times: Record<'metalhub' | 'bare' | 'jupyterhub', number[]> = { metalhub: [], bare: [], jupyterhub: [] };
  // The first round warms the page cache and is not counted.
  for (let round = 0; round <= ROUNDS; round++) {
    const metalhub = await startMetalhub(visitor);
    await stopMetalhub(visitor);
    const bare = await startBare(machine);
    const hub = await startJupyterhub();
    await stopJupyterhub();
    if (round === 0) continue;
    times.metalhub.push(metalhub);
    times.bare.push(bare);
    times.jupyterhub.push(hub);
  }
  console.log(`start of one server until it answers, ms, ${ROUNDS} rounds        min  median     max`);
  console.log(`metalhub, from the press of Start             ${spread(times.metalhub)}`);
  console.log(`bare jupyter-lab process                      ${spread(times.bare)}`);
  console.log(`JupyterHub, from the request                  ${spread(times.jupyterhub)}`);
  console.log(`metalhub / bare process                       ${spread(ratios(times.metalhub, times.bare), 2)}`);
  console.log(`metalhub / JupyterHub                         ${spread(ratios(times.metalhub, times.jupyterhub), 2)}`);
  await idleMemory(machine);
  await exposure(machine, visitor);
}

async function idleMemory(machine: Machine): Promise<void> {
  // hub-spawner leaves a minute after the last request.
  await new Promise((resolve) => setTimeout(resolve, 75_000));
  const samples = { metalhub: [] as number[], jupyterhub: [] as number[] };
  for (let round = 0; round < 3; round++) {
    samples.metalhub.push(await memoryOf(machine, DAEMONS));
    samples.jupyterhub.push(await memoryOf(machine, ['bench-jupyterhub.service']));
  }
  const [ours, theirs] = [median(samples.metalhub), median(samples.jupyterhub)];
  console.log(
    `\nmemory of all daemons at idle, MB (PSS): metalhub ${ours.toFixed(0)}, JupyterHub and its proxy ${theirs.toFixed(0)}`,
  );
  console.log(`ratio ${(ours / theirs).toFixed(2)}`);
  // Its proxy is a Node too, and takes a quarter of the shared pages on itself: without it nobody does.
  await machine.run(['systemctl', 'stop', 'bench-jupyterhub.service']);
  console.log(`without JupyterHub on the machine: ${(await memoryOf(machine, DAEMONS)).toFixed(0)}`);
  for (const unit of ['hub.service', 'hub-proxy.service']) {
    console.log(`  ${unit.padEnd(20)}${(await memoryOf(machine, [unit])).toFixed(1)}`);
  }
  const active = ['systemctl', 'list-units', '--plain', '--no-legend', '--state=active', '--type=service', 'hub*'];
  const names = (await machine.run(active))
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[0]);
  console.log(`running: ${names.join(', ')}`);
}

/** What systemd-analyze finds in each unit as it is loaded: 0.0 (nothing to reach) to 10.0. */
async function exposure(machine: Machine, visitor: Visitor): Promise<void> {
  await startMetalhub(visitor);
  console.log('\nexposure by systemd-analyze security');
  const units = ['hub-proxy', 'hub', 'hub-spawner', 'hub-pam@bench', 'hub-logs@bench', 'jupyter-anna'];
  for (const unit of units) {
    const report = await machine.run(['systemd-analyze', 'security', '--no-pager', `${unit}.service`]);
    console.log(`  ${unit.padEnd(20)}${/exposure level for \S+: ([0-9.]+)/.exec(report)?.[1] ?? '?'}`);
  }
}

await main();
