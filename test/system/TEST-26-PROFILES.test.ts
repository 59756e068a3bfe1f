import t from 'tap';
import { JupyterServer } from '../lib/jupyter.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { connectSpawner, failureOf, installSpawner, type SpawnerClient, startParams } from '../lib/spawner.js';

const CONFIG = '/etc/metalhub/metalhub.toml';
const PROFILES = `
[[profile]]
name = "full"
environment = "/opt/venv"
memory_max = "2G"
memory_low = "256M"
swap_max = "0"
cpu_weight = 200
cpu_set = "0"
io_weight = 50
tasks_max = 1000
variables = { OMP_NUM_THREADS = "4" }
root_dir = "work"
devices = ["/dev/fuse"]
ip_deny = ["any"]
ip_allow = ["127.0.0.2"]
mounts = [{ source = "/srv/data" }, { source = "/srv/shared", target = "/shared", write = true }]
properties = { Nice = 5, LimitNOFILE = 4096 }
[[profile.override]]
name = "staff"
groups = ["staff"]
memory_max = "3G"
[[profile.choice]]
name = "size"
title = "Size"
[[profile.choice.option]]
name = "small"
title = "Small"
tasks_max = 200
[[profile]]
name = "relaxed"
relax = ["namespaces", "ptrace"]
network = "none"
[[profile]]
name = "rooted"
root_directory = "/srv/root"
[[profile]]
name = "app"
command = ["/usr/bin/python3", "/opt/app.py", "{socket}", "{base_url}"]
[[profile]]
name = "port"
command = ["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", "/srv", "{port}"]
[[profile]]
name = "no-app"
command = ["/opt/none", "{fd}"]
`;

/** Tornado serves pages and WebSockets on a socket of its own. */
const APP = `
import asyncio, sys, tornado.httpserver, tornado.netutil, tornado.web, tornado.websocket
path, base = sys.argv[1:]
class Page(tornado.web.RequestHandler):
    def get(self): self.write("hello from " + self.request.uri)
class Echo(tornado.websocket.WebSocketHandler):
    def check_origin(self, origin): return True
    def on_message(self, message): self.write_message(message[::-1])
async def main():
    application = tornado.web.Application([(base + "ws", Echo), (base + ".*", Page)])
    tornado.httpserver.HTTPServer(application).add_socket(tornado.netutil.bind_unix_socket(path))
    await asyncio.Event().wait()
asyncio.run(main())
`;

t.setTimeout(900_000);

let machine: Machine;
let spawner: SpawnerClient;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installSpawner(machine);
  await machine.shell(`
    python3 -m venv --without-pip --system-site-packages /opt/venv
    /opt/venv/bin/python -m ipykernel install --prefix=/opt/venv >/dev/null
    chmod 666 /dev/fuse
    mkdir -p /srv/data /srv/shared /srv/root && echo data >/srv/data/file && chmod 1777 /srv/shared
    mount --bind / /srv/root
    systemd-run --quiet --unit=web1 python3 -m http.server 8991 --bind 127.0.0.1 --directory /srv/data
    systemd-run --quiet --unit=web2 python3 -m http.server 8992 --bind 127.0.0.2 --directory /srv/data
    cat >>${CONFIG} <<'END'\n${PROFILES}\nEND`);
  await machine.writeFile('/opt/app.py', APP);
  await machine.run(['systemctl', 'reload-or-restart', 'hub-spawner']);
  spawner = await connectSpawner(machine);
});

t.teardown(async () => {
  spawner?.close();
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=60']));
  await machine?.stop();
});

async function show(unit: string, names: readonly string[]): Promise<Record<string, string>> {
  const text = await machine.run(['systemctl', 'show', unit, ...names.map((name) => `--property=${name}`)]);
  return Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map((line) => line.split(/=(.*)/s).slice(0, 2)),
  );
}

t.test('limits, environment, devices, network and mounts of a profile are those of the unit', async (t) => {
  await spawner.call('StartServer', startParams('anna', { profile: 'full' }));
  const limits = {
    MemoryMax: '2147483648',
    MemoryLow: '268435456',
    MemorySwapMax: '0',
    CPUWeight: '200',
    IOWeight: '50',
  };
  t.match(await show('jupyter-anna.slice', Object.keys(limits)), limits);
  const own = { ...limits, AllowedCPUs: '0', Nice: '5', LimitNOFILE: '4096', TasksMax: '1000' };
  t.match(await show('jupyter-anna.service', Object.keys(own)), own);

  const anna = await JupyterServer.of(machine, 'anna');
  t.equal(await anna.python('import sys; print(sys.prefix)'), '/opt/venv');
  t.match(JSON.parse((await anna.request('api/contents')).text), { path: '', type: 'directory', content: [] });
  const { output } = await anna.shell(`
    echo $OMP_NUM_THREADS; command -v python; nice; ulimit -n
    cat /srv/data/file; touch /srv/data/no; echo mine >/shared/file && cat /shared/file; stat -c %U /shared/file
    exec 3<>/dev/fuse && echo fuse; ls /dev/net; ls -d ~/work
    curl -s -m 3 http://127.0.0.2:8992/file; curl -s -m 2 http://127.0.0.1:8991/file || echo blocked`);
  t.match(output, '4\n/opt/venv/bin/python\n5\n4096\n');
  t.match(output, /data\ntouch: .*Read-only file system\nmine\njupyter-anna\n/);
  t.match(output, /fuse\nls: cannot access '\/dev\/net'.*\n\/var\/lib\/metalhub\/home\/anna\/work\n/);
  t.match(output, 'data\nblocked\n');
  await spawner.call('StopServer', startParamsOf('anna'));
});

t.test('an override and a chosen option change what they name, and only root\u2019s are known', async (t) => {
  const params = startParams('anna', { profile: 'full', override: 'staff', choices: { size: 'small' } });
  await spawner.call('StartServer', params);
  const changed = { MemoryMax: '3221225472', TasksMax: '200', CPUWeight: '200' };
  t.match(await show('jupyter-anna.service', Object.keys(changed)), changed);
  await spawner.call('StopServer', startParamsOf('anna'));
  const wrong = startParams('anna', { profile: 'full', choices: { size: 'huge' } });
  t.match(await failureOf(spawner.call('StartServer', wrong)), { code: 'MH_ERR_SPAWN_CHOICE' });
});

t.test('relaxations allow what they are named for, and no more privileges', async (t) => {
  await spawner.call('StartServer', startParams('bob', { profile: 'relaxed' }));
  const bob = await JupyterServer.of(machine, 'bob');
  const { output } = await bob.shell(`
    unshare --user --map-root-user --mount sh -c 'mount -t tmpfs x /mnt && echo mounted'
    gdb -batch -ex run --args /bin/true 2>&1 | grep -o 'exited normally'
    sed -n 's/^NoNewPrivs:\\t//p; s/^CapBnd:\\t//p' /proc/self/status | tr '\\n' ' '
    ls /sys/class/net; curl -s -m 2 http://127.0.0.1:8991/file || echo unreachable`);
  t.match(output, /mounted\nexited normally\n0000000000000000 1 lo\nunreachable\n/);
  await spawner.call('StopServer', startParamsOf('bob'));
});

t.test('a server runs in another root with its name and its home', async (t) => {
  await spawner.call('StartServer', startParams('cleo', { profile: 'rooted' }));
  const cleo = await JupyterServer.of(machine, 'cleo');
  const { output } = await cleo.shell('id -un; cd && pwd && touch kept && ls -d /srv/root/usr /usr/bin/python3');
  t.match(
    output,
    /^jupyter-cleo\n\/var\/lib\/metalhub\/home\/cleo\nls: cannot access '\/srv\/root\/usr'.*\n\/usr\/bin\/python3\n/,
  );
  await spawner.call('StopServer', startParamsOf('cleo'));
});

t.test('any program that speaks HTTP is a server, with pages and WebSockets', async (t) => {
  await spawner.call('StartServer', startParams('emil', { profile: 'app' }));
  const app = await JupyterServer.of(machine, 'emil');
  t.same(await app.request('some/page?x=1'), { status: 200, text: 'hello from /user/emil/some/page?x=1' });
  t.equal(await app.echo('ws', 'stressed'), 'desserts');
  await machine.run(['systemctl', 'kill', '--signal=SIGKILL', 'jupyter-emil.service']);
  await machine.shell(
    'for i in $(seq 100); do test -S /run/metalhub/servers/emil.sock || exit 0; sleep 0.1; done; exit 1',
  );
  await spawner.call('StartServer', startParams('fred', { profile: 'port' }));
  const port = await JupyterServer.of(machine, 'fred');
  t.equal((await port.request('')).status, 404, 'http.server looks below /srv for /user/fred/');
  await spawner.call('StopServer', startParamsOf('fred'));
  t.match(await failureOf(spawner.call('StartServer', startParams('fred', { profile: 'no-app' }))), {
    code: 'MH_ERR_SPAWN_COMMAND',
    hint: /\/opt\/none/,
  });
});

t.test('a mount that has gone is named when a start fails over it', async (t) => {
  await machine.run(['mv', '/srv/data', '/srv/moved']);
  const failure = await failureOf(spawner.call('StartServer', startParams('anna', { profile: 'full' })));
  t.match(failure, { code: 'MH_ERR_SPAWN_MOUNT', details: { path: '/srv/data' }, hint: /metalhub\.toml/ });
});

function startParamsOf(key: string) {
  const params = startParams(key);
  return { key: params.key, server: params.server };
}
