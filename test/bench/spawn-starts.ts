import { createUser } from '../lib/deb.js';
import type { Machine } from '../lib/machine.js';
import { press } from '../lib/server-start.js';
import { fieldOf, Visitor } from '../lib/visitor.js';
import { ratios, spread } from './figures.js';
import { startTheirs, stopTheirs, untilReady } from './jupyterhub.js';

const PASSWORD = 'correct horse';
export const USERS = Array.from({ length: 30 }, (_, index) => `user${index + 1}`);

/** Runs as a user: starts so many processes at once, connects to each until it answers, prints milliseconds, ends them. */
const BARE = `
import http.client, os, signal, socket, subprocess, sys, time
class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('localhost')
        self.path = path
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)
def answers(path):
    try:
        connection = Connection(path)
        connection.request('GET', '/api/status')
        return connection.getresponse().status == 200
    except OSError:
        return False
begin = time.monotonic()
silent = {}
for number in range(int(sys.argv[1])):
    path = '/tmp/bench-%d-%d.sock' % (os.getpid(), number)
    silent[path] = subprocess.Popen(['jupyter-lab', '--no-browser', '--ServerApp.sock=' + path, '--ServerApp.token='],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
processes = list(silent.values())
while silent:
    silent = {path: process for path, process in silent.items() if not answers(path)}
    if any(process.poll() is not None for process in processes) or time.monotonic() - begin > 300:
        sys.exit('jupyter-lab did not start')
    time.sleep(0.005)
print((time.monotonic() - begin) * 1000)
for process in processes:
    process.send_signal(signal.SIGKILL)
`;

/** What the rounds need besides both hubs. */
export async function prepareStarts(machine: Machine): Promise<void> {
  for (const user of USERS) await createUser(machine, user, PASSWORD, { groups: ['metalhub-users'] });
  await machine.writeFile('/etc/bench/bare.py', BARE);
}

export async function logInAll(): Promise<Visitor[]> {
  const visitors: Visitor[] = [];
  for (const user of USERS) {
    const visitor = new Visitor();
    await visitor.logIn(user, PASSWORD);
    visitors.push(visitor);
  }
  return visitors;
}

/**
 * So many starts at once until the last server answers, beside as many bare jupyter-lab processes and JupyterHub, in turn.
 * The first round warms the page cache and is not counted.
 */
export async function compareStarts(
  machine: Machine,
  visitors: readonly Visitor[],
  count: number,
  rounds: number,
): Promise<void> {
  const users = USERS.slice(0, count);
  const ours: number[] = [];
  const bare: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const starts = users.map((user, index) => prepareStart(visitors[index], user));
    const ready = await Promise.all(starts);
    const oursMs = await slowest(ready.map((start) => start()));
    await Promise.all(visitors.slice(0, count).map((visitor) => press(visitor, 'stop')));
    const argv = ['python3', '/etc/bench/bare.py', String(count)];
    const bareMs = Number(await machine.run(argv, { user: users[0] ?? '', timeoutMs: 330_000 }));
    const theirsMs = await slowest(users.map((user) => startTheirs(user)));
    await Promise.all(users.map((user) => stopTheirs(user)));
    if (round === 0) continue;
    ours.push(oursMs);
    bare.push(bareMs);
    theirs.push(theirsMs);
  }
  const what = count === 1 ? 'one start until it answers' : `${count} starts at once until all answer`;
  console.log(`\n${`${what}, ms, ${rounds} rounds`.padEnd(50)}     min  median     max`);
  console.log(`metalhub, from the press of Start                 ${spread(ours)}`);
  console.log(`bare jupyter-lab, from the start of the process   ${spread(bare)}`);
  console.log(`JupyterHub with servers as units, from the request${spread(theirs)}`);
  console.log(`metalhub / bare                                   ${spread(ratios(ours, bare), 2)}`);
  console.log(`metalhub / JupyterHub                             ${spread(ratios(ours, theirs), 2)}`);
}

/** Ends what is under way of a start so far that only the press of the button is left. @returns presses it */
async function prepareStart(visitor = new Visitor(), user: string): Promise<() => Promise<number>> {
  const home = await visitor.navigate('/hub/home');
  const csrf = fieldOf(home.text, 'csrf');
  return async () => {
    const begin = performance.now();
    await visitor.submit('/hub/spawn', { csrf, next: '', server: '' });
    const headers = { accept: 'text/event-stream' };
    await untilReady(await visitor.request(`/hub/api/users/${user}/server/progress`, { headers }));
    // The ticket is fetched as a browser would, then the server itself must answer.
    const { response } = await visitor.navigate(`/user/${user}/api/status`);
    if (response.status !== 200) throw new Error(`the server answered ${response.status}`);
    return performance.now() - begin;
  };
}

/** All begin now, so the slowest says how long all took. */
async function slowest(times: readonly Promise<number>[]): Promise<number> {
  return Math.max(...(await Promise.all(times)));
}
