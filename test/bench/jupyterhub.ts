import type { Machine } from '../lib/machine.js';
import { readEvents } from '../lib/visitor.js';

const HUB_URL = 'http://127.0.0.1:8100';
const HUB_TOKEN = 'f'.repeat(64);
const UP_MS = 60_000;
const PAUSE_MS = 200;

/** The unit that all of it runs in, but for the users' servers. */
export const JUPYTERHUB_UNIT = 'bench-jupyterhub.service';

/**
 * Debian's JupyterHub, with servers as transient units of dynamic users: what systemdspawner makes of each start is one call
 * of systemd-run, and the hub then asks the server's port again and again until it answers.
 */
const CONFIG = `
import asyncio, json, os
from jupyterhub.spawner import Spawner
from jupyterhub.utils import random_port

async def systemd(*arguments):
    process = await asyncio.create_subprocess_exec(*arguments)
    return await process.wait()

class UnitSpawner(Spawner):
    @property
    def unit(self):
        return f'bench-server-{self.user.name}.service'

    async def start(self):
        self.port = random_port()
        file = f'/run/bench-{self.user.name}.env'
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as environment:
            for name, value in self.get_env().items():
                environment.write(f'{name}={json.dumps(value)}\\n')
        home = f'bench/home/{self.user.name}'
        properties = [f'StateDirectory={home}', f'WorkingDirectory=/var/lib/{home}', f'EnvironmentFile={file}', 'DynamicUser=yes',
                      'PrivateTmp=yes', 'PrivateDevices=yes', 'ProtectHome=yes', 'NoNewPrivileges=yes', 'KillMode=mixed']
        await systemd('systemd-run', '--quiet', '--collect', f'--unit={self.unit}', f'--setenv=HOME=/var/lib/{home}',
                      *(f'--property={each}' for each in properties), '/usr/bin/jupyterhub-singleuser', *self.get_args())
        while await self.poll() is not None:
            await asyncio.sleep(1)
        return ('127.0.0.1', self.port)

    async def poll(self):
        return None if await systemd('systemctl', '--quiet', 'is-active', self.unit) == 0 else 0

    async def stop(self, now=False):
        await systemd('systemctl', 'stop', self.unit)

c.JupyterHub.spawner_class = UnitSpawner
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

/** Starts it in the machine, whose network must have been entered, and makes its users. */
export async function startJupyterhub(machine: Machine, users: readonly string[]): Promise<void> {
  await machine.writeFile('/etc/bench/jupyterhub_config.py', CONFIG);
  await machine.shell(
    `mkdir -p /var/lib/bench && systemd-run --unit=${JUPYTERHUB_UNIT} --working-directory=/var/lib/bench jupyterhub -f /etc/bench/jupyterhub_config.py`,
  );
  const endMs = Date.now() + UP_MS;
  while (!(await isUp())) {
    if (Date.now() > endMs) throw new Error('JupyterHub did not come up');
    await pause();
  }
  for (const user of users) await ask('POST', `/users/${user}`);
}

/** Milliseconds from the request until the server answers. */
export async function startTheirs(user: string): Promise<number> {
  const begin = performance.now();
  const started = await ask('POST', `/users/${user}/server`);
  if (started.status !== 201) await untilReady(await ask('GET', `/users/${user}/server/progress`));
  const response = await fetch(`${HUB_URL}/user/${user}/api/status`, { headers: HEADERS });
  if (response.status !== 200) throw new Error(`JupyterHub's server answered ${response.status}`);
  return performance.now() - begin;
}

export async function stopTheirs(user: string): Promise<void> {
  for (let status = 0; status !== 204; ) {
    ({ status } = await ask('DELETE', `/users/${user}/server`));
    if (status !== 204) await pause();
  }
}

/** @throws when the events of a start end without a server */
export async function untilReady(response: Response): Promise<void> {
  for await (const event of readEvents(response)) {
    if (event['failed'] === true) throw new Error(`start failed: ${JSON.stringify(event)}`);
    if (event['ready'] === true) return;
  }
  throw new Error('the progress ended before the server was ready');
}

const HEADERS = { authorization: `token ${HUB_TOKEN}` };

function ask(method: string, path: string): Promise<Response> {
  return fetch(`${HUB_URL}/hub/api${path}`, { method, headers: HEADERS });
}

async function isUp(): Promise<boolean> {
  return ask('GET', '/').then(
    (response) => response.ok,
    () => false,
  );
}

async function pause(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
