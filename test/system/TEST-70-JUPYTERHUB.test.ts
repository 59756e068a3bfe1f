import { randomUUID } from 'node:crypto';
import t from 'tap';
import { WebSocket } from 'ws';
import { PUBLIC_URL } from '../lib/browser.js';
import { createUser, installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { until } from '../lib/server-start.js';
import { fieldOf, Visitor } from '../lib/visitor.js';

t.setTimeout(900_000);

const SERVICE_TOKEN = 'a'.repeat(64);
/** Debian's JupyterHub as it comes, with PAM and local accounts, on its own ports; the last three lines are hubctl's. */
const CONFIG = `
c = get_config()
c.Authenticator.allow_all = True
c.JupyterHub.cleanup_servers = False
c.JupyterHub.log_level = 'DEBUG'
c.JupyterHub.services = [{'name': 'tester', 'api_token': '${SERVICE_TOKEN}'}]
c.JupyterHub.load_roles = [{'name': 'tester', 'services': ['tester'], 'scopes': ['admin:users', 'admin:servers', 'access:servers', 'proxy']}]
`;

let machine: Machine;
let visitor: Visitor;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyterhub' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await machine.enterNetwork();
  visitor = new Visitor();
});

t.teardown(async () => {
  await machine?.stop();
});

function api(method: string, path: string, body?: unknown): Promise<Response> {
  const headers = { authorization: `token ${SERVICE_TOKEN}`, 'content-type': 'application/json' };
  return visitor.request(path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
}

/** Routes as the other hub sees them. */
async function routes(): Promise<Record<string, { target: string; last_activity: string; jupyterhub?: boolean }>> {
  const token = (await machine.readFile('/etc/metalhub/secrets/proxy-api-token')).trim();
  const headers = { authorization: `token ${token}` };
  return (await (await fetch('http://127.0.0.1:8001/api/routes', { headers })).json()) as never;
}

const hubAnswers = async (): Promise<boolean> => (await visitor.request('/hub/api/')).status === 200;

/** A kernel of anna's, through the proxy. */
class Kernel {
  readonly socket: WebSocket;
  closed: number | undefined;
  constructor(id: string) {
    const url = new URL(`/user/anna/api/kernels/${id}/channels`, PUBLIC_URL.replace('http:', 'ws:'));
    this.socket = new WebSocket(url, { headers: { authorization: `token ${SERVICE_TOKEN}` } });
    this.socket.on('close', (code) => (this.closed = code));
    this.socket.on('error', () => undefined);
  }

  static async open(): Promise<Kernel> {
    const answer = await api('POST', '/user/anna/api/kernels', { name: 'python3' });
    const kernel = new Kernel(((await answer.json()) as { id: string }).id);
    await new Promise<void>((resolve, reject) => kernel.socket.once('open', resolve).once('error', reject));
    return kernel;
  }

  /** What the code printed. */
  run(code: string): Promise<string> {
    const id = randomUUID();
    const header = { msg_id: id, msg_type: 'execute_request', username: '', session: id, version: '5.3' };
    const content = { code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false };
    return new Promise((resolve, reject) => {
      let output = '';
      const timer = setTimeout(() => reject(new Error(`no end: ${output}`)), 60_000);
      const listen = (data: unknown): void => {
        const message = JSON.parse(String(data));
        if (message.parent_header?.msg_id !== id) return;
        if (message.msg_type === 'stream') output += message.content.text;
        if (message.msg_type !== 'status' || message.content.execution_state !== 'idle') return;
        clearTimeout(timer);
        this.socket.off('message', listen);
        resolve(output.trim());
      };
      this.socket.on('message', listen);
      this.socket.send(
        JSON.stringify({ header, parent_header: {}, metadata: {}, content, channel: 'shell', buffers: [] }),
      );
    });
  }
}

t.test('hubctl proxy enable-tcp gives JupyterHub what it needs, and drops nobody', async (t) => {
  const loop =
    'ok=0; bad=0; while [ ! -e /run/stop ]; do if curl -sf -o /dev/null http://127.0.0.1:8000/hub/login || [ $? = 22 ]; then ok=$((ok+1)); else bad=$((bad+1)); fi; done; echo $ok $bad >/run/result';
  await machine.run(['systemd-run', '--unit=looper', 'bash', '-c', loop]);
  const enabled = await machine.run(['hubctl', '--json', 'proxy', 'enable-tcp']);
  await machine.shell('touch /run/stop; while [ ! -e /run/result ]; do sleep 0.1; done');
  t.match(await machine.readFile('/run/result'), /^[1-9]\d* 0\n$/, 'requests meanwhile');
  const { jupyterhub_config: lines, token_file: file } = JSON.parse(enabled);
  t.equal(lines.length, 3);
  t.equal((await machine.run(['stat', '-c', '%U %a', file])).trim(), 'root 600');
  await machine.writeFile('/etc/jupyterhub/jupyterhub_config.py', CONFIG + lines.join('\n'));
  // What its users' servers run must outlive it, as it would with any spawner that is not a child of the hub's unit.
  await machine.writeFile('/etc/systemd/system/jupyterhub.service.d/keep.conf', '[Service]\nKillMode=process\n');
  t.match(JSON.parse(await machine.run(['hubctl', '--json', 'proxy', 'enable-tcp'])), { changed: false });
  const security = ['systemd-analyze', 'security', '--no-pager', '--threshold=12', 'hub-proxy.service'];
  t.match(await machine.exec(security), { code: 0 }, 'D04: exposure of at most 1.2');
});

t.test('without a hub there is a page that tries again by itself, and never ours', async (t) => {
  const { response, text } = await visitor.navigate('/hub/login');
  t.equal(response.status, 503);
  t.match(text, /http-equiv="refresh"/);
  const forProgram = await visitor.request('/hub/api', { headers: { accept: 'application/json' } });
  t.match(await forProgram.json(), { status: 503 });
});

t.test('JupyterHub starts on it: log in, spawn', async (t) => {
  await machine.shell('systemctl daemon-reload; systemctl start jupyterhub.service');
  await until('the hub answers', hubAnswers);
  t.match(await routes(), { '/': { target: 'http://127.0.0.1:8081', jupyterhub: true, hub: true } });
  const page = await visitor.navigate('/hub/login');
  const form = { username: 'anna', password: 'correct horse', _xsrf: fieldOf(page.text, '_xsrf') };
  const after = await visitor.submit('/hub/login', form);
  t.match(after.path, /^\/(?:hub\/spawn-pending|user)\/anna/, after.text.slice(0, 500));
  await until('the server runs', async () => '/user/anna' in (await routes()));
  await until('the server answers', async () => (await api('GET', '/user/anna/api/status')).status === 200);
  const lab = await visitor.navigate('/user/anna/lab');
  t.equal(lab.response.status, 200);
  t.match(lab.text, 'jupyter-config-data', 'the page, after OAuth between the server and its hub');
});

t.test('a kernel’s WebSocket outlives a restart of the proxy, and of the hub', async (t) => {
  const kernel = await Kernel.open();
  t.equal(await kernel.run('x = 41; print(x)'), '41');
  const before = (await routes())['/user/anna']?.last_activity ?? '';
  await machine.run(['systemctl', 'restart', 'hub-proxy.service']);
  t.equal(await kernel.run('x += 1; print(x)'), '42', 'the same connection');
  t.equal(kernel.closed, undefined);
  t.equal((await api('GET', '/user/anna/api/status')).status, 200, 'the route is there at once');
  t.ok(((await routes())['/user/anna']?.last_activity ?? '') > before, 'activity of the old generation counts');
  await machine.run(['systemctl', 'restart', 'jupyterhub.service']);
  t.equal(await kernel.run('x += 1; print(x)'), '43');
  await machine.run(['systemctl', 'restart', 'hub-proxy.service']);
  await until('the hub answers', hubAnswers);
  t.equal(await kernel.run('x += 1; print(x)'), '44');
  t.equal((await api('POST', '/hub/api/proxy')).status, 200, 'the hub compares all routes');
  t.ok('/user/anna' in (await routes()));
  kernel.socket.terminate();
});

t.test('stopping a server takes its route away, and ends what is open', async (t) => {
  const kernel = await Kernel.open();
  t.equal(await kernel.run('print(1)'), '1');
  const stopped = await api('DELETE', '/hub/api/users/anna/server');
  t.ok([202, 204].includes(stopped.status), String(stopped.status));
  await until('no route', async () => !('/user/anna' in (await routes())));
  await until('closed', async () => kernel.closed !== undefined);
  const { response, path } = await visitor.navigate('/user/anna/lab');
  t.match(path, /^\/hub\//, 'the hub answers for servers that do not run');
  t.not(response.status, 502);
});

t.test('a damaged file of routes is set aside, and the hub brings them back', async (t) => {
  const since = await machine.cursor();
  // As after a power loss on a disk that lied.
  await machine.shell(
    'systemctl stop hub-proxy.socket hub-proxy.service; cd /var/lib/metalhub/proxy; ls; for f in state.json state.journal; do [ ! -s $f ] || printf X | dd of=$f bs=1 seek=40 conv=notrunc status=none; done; systemctl start hub-proxy.socket hub-proxy.service',
  );
  await machine.waitForEntry({ since }, /the stored routes were damaged/);
  t.match(await machine.run(['ls', '/var/lib/metalhub/proxy']), /state\.(?:json|journal)\.damaged-1/);
  t.equal((await api('POST', '/hub/api/proxy').catch(() => undefined))?.status, 503, 'no route to the hub yet');
  const direct = await fetch('http://127.0.0.1:8081/hub/api/proxy', {
    method: 'POST',
    headers: { authorization: `token ${SERVICE_TOKEN}` },
  });
  t.equal(direct.status, 200);
  t.ok(await hubAnswers());
});

t.test('disable-tcp brings our own hub back', async (t) => {
  await machine.run(['systemctl', 'stop', 'jupyterhub.service']);
  await machine.run(['hubctl', 'proxy', 'disable-tcp']);
  t.equal((await visitor.request('/hub/health')).status, 200);
  t.notMatch(await machine.run(['ss', '-Hltn']), ':8001');
  const own = new Visitor();
  const home = await own.logIn('anna', 'correct horse');
  t.equal(home.response.status, 200);
  t.equal(
    (await machine.run(['systemctl', 'show', '-p', 'PrivateNetwork', '--value', 'hub-proxy.service'])).trim(),
    'yes',
  );
});
