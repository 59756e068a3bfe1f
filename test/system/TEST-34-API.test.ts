import t from 'tap';
import { createUser, installDeb } from '../lib/deb.js';
import { listening } from '../lib/listening.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { Visitor } from '../lib/visitor.js';

const API = 'http://127.0.0.1:8081';

t.setTimeout(900_000);

let machine: Machine;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await createUser(machine, 'eve', 'battery staple');
  await machine.enterNetwork();
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=60']));
  await machine?.stop();
});

/** Status, headers and body, as any account of the machine gets them; `''` when nothing listens. */
async function ask(path: string, args: readonly string[] = []): Promise<string> {
  const argv = ['curl', '-s', '-i', '--max-time', '10', ...args, `${API}${path}`];
  return (await machine.exec(argv, { user: 'eve' })).stdout;
}

t.test('as shipped nothing listens for the API', async (t) => {
  t.same(await listening(machine), ['127.0.0.1:8000']);
  t.equal((await machine.exec(['systemctl', 'is-active', 'hub-api.socket'])).stdout.trim(), 'inactive');
  await machine.run(['systemctl', 'restart', 'hub']);
  t.same(await listening(machine), ['127.0.0.1:8000'], 'nor after a restart');
  t.notMatch(await machine.run(['hubctl', 'doctor']), '8081');
});

t.test('it is turned on by one command, and nobody’s request fails meanwhile', async (t) => {
  const load = machine.shell(
    `
    failed=0; count=0
    until [ -e /run/enough ]; do
      [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 http://127.0.0.1:8000/hub/login)" = 200 ] || failed=$((failed + 1))
      count=$((count + 1))
    done
    echo "$failed of $count"`,
    { timeoutMs: 120_000 },
  );
  t.equal(await machine.run(['hubctl', 'api', 'enable']), 'the API of the hub listens on 127.0.0.1:8081\n');
  t.same(await listening(machine), ['127.0.0.1:8000', '127.0.0.1:8081'], 'on loopback only');
  await machine.run(['systemctl', 'restart', 'hub']);
  t.match(await ask('/hub/api'), /^HTTP\/1.1 200 /);
  await machine.run(['touch', '/run/enough']);
  t.match(await load, /^0 of [1-9][0-9]*\n$/);
  t.match(await machine.run(['hubctl', 'doctor']), /ok +API at 127\.0\.0\.1:8081: answers/);
});

t.test('the first questions of JupyterHub’s clients are answered without a token', async (t) => {
  for (const path of ['/hub/api', '/hub/api/']) {
    const answer = await ask(path);
    t.match(answer, /^HTTP\/1.1 200 /);
    t.match(answer, /^x-jupyterhub-version: [0-9.]+\+metalhub\r$/im);
    t.match(JSON.parse(answer.split('\r\n\r\n')[1] ?? ''), { version: /^[0-9.]+\+metalhub$/ });
  }
  for (const path of ['/hub/health', '/hub/api/health']) t.match(await ask(path), /^HTTP\/1.1 200 .*\r\n\r\n$/s);
  const parse = 'import packaging.version, sys; print(packaging.version.Version(sys.argv[1]).major)';
  const { version } = JSON.parse((await ask('/hub/api')).split('\r\n\r\n')[1] ?? '');
  t.equal(await machine.run(['python3', '-c', parse, version]), '5\n', 'Python can read it');
});

t.test('S01: no page, no login and nothing of the proxy’s is to be had there', async (t) => {
  const visitor = new Visitor();
  t.equal((await visitor.logIn('anna', 'correct horse')).path, '/hub/home');
  const like = ['-H', 'X-Forwarded-For: 192.0.2.1', '-H', 'X-Metalhub-Proxy: 1', '-H', 'Accept: text/html'];
  for (const path of [
    '/',
    '/hub/',
    '/hub/login',
    '/hub/home',
    '/hub/api/users',
    '/user/anna/',
    '/admin/users',
    '/hub/static/metalhub.css',
  ]) {
    const answer = await ask(path, like);
    t.match(answer, /^HTTP\/1.1 404 .*\r\ncontent-type: application\/json/is, path);
    t.notMatch(answer, /set-cookie|location:|<html/i, path);
  }
  t.match(await ask('/hub/internal/ticket-renew', [...like, '-d', '{}']), /^HTTP\/1.1 4\d\d /);
  t.match(await ask('/hub/login', ['-d', 'username=anna&password=correct+horse']), /^HTTP\/1.1 4\d\d /);
});

t.test('S01: accounts that hold connections there take nothing from visitors', async (t) => {
  const hold = `
import socket, time
held = []
try:
    for _ in range(2000):
        held.append(socket.create_connection(("127.0.0.1", 8081)))
except OSError:
    pass
open("/tmp/held", "w").write(str(len(held)))
time.sleep(600)
`;
  const asEve = ['systemd-run', '--unit=holder', '--uid=eve', '--property=LimitNOFILE=4096'];
  await machine.run([...asEve, 'python3', '-c', hold]);
  await machine.shell('until [ -s /tmp/held ]; do sleep 0.1; done', { timeoutMs: 30_000 });
  t.ok(Number(await machine.readFile('/tmp/held')) > 256, 'more than are let in were tried');
  const used = Number(await machine.shell('ls /proc/$(systemctl show -P MainPID hub)/fd | wc -l'));
  t.ok(used < 400, `${used} descriptors are used`);
  t.equal((await new Visitor().request('/hub/login')).status, 200);
  await machine.run(['systemctl', 'stop', 'holder']);
  await machine.shell(`until curl -sf --max-time 5 ${API}/hub/api >/dev/null; do sleep 0.2; done`, {
    timeoutMs: 30_000,
  });
});

t.test('a port that something else has keeps nobody from the pages, and is named', async (t) => {
  await machine.run(['hubctl', 'api', 'disable']);
  await machine.run(['systemd-run', '--unit=squatter', 'python3', '-m', 'http.server', '--bind', '127.0.0.1', '8081']);
  await machine.shell('until ss -Hltn | grep -q 8081; do sleep 0.1; done', { timeoutMs: 30_000 });
  const refused = await machine.exec(['hubctl', 'api', 'enable']);
  t.match(refused, { code: 1, stderr: /hub-api\.socket.*\n.*ss -ltnp/ });
  t.equal((await machine.run(['systemctl', 'is-active', 'hub'])).trim(), 'active');
  t.equal((await new Visitor().request('/hub/login')).status, 200);
  t.match(
    (await machine.exec(['hubctl', 'doctor'])).stdout,
    /FAILED +API at 127\.0\.0\.1:8081: hub-api\.socket is failed/,
  );
  await machine.run(['systemctl', 'stop', 'squatter']);
  await machine.run(['hubctl', 'api', 'enable']);
  t.match(await ask('/hub/api'), /^HTTP\/1.1 200 /);
});

t.test('it comes back with a reboot, and plain systemctl can turn it off and on', async (t) => {
  await machine.reboot();
  await machine.shell(`until curl -sf --max-time 5 ${API}/hub/api >/dev/null; do sleep 0.2; done`, {
    timeoutMs: 60_000,
  });
  await machine.run(['systemctl', 'disable', '--now', 'hub-api.socket']);
  await machine.run(['systemctl', 'restart', 'hub']);
  t.same(await listening(machine), ['127.0.0.1:8000']);
  await machine.run(['systemctl', 'enable', 'hub-api.socket']);
  await machine.run(['systemctl', 'restart', 'hub']);
  t.same(await listening(machine), ['127.0.0.1:8000', '127.0.0.1:8081']);
  t.equal(await machine.run(['hubctl', 'api', 'disable']), 'the API of the hub does not listen\n');
  t.same(await listening(machine), ['127.0.0.1:8000']);
});

t.test('only root turns it on', async (t) => {
  t.match(await machine.exec(['hubctl', 'api', 'enable'], { user: 'eve' }), { code: 2, stderr: /root/ });
});

t.test('a purge leaves no link to it', async (t) => {
  await machine.run(['hubctl', 'api', 'enable']);
  await machine.assertCleanJournal([/hub-api\.socket/]);
  await machine.run(['apt-get', '-q', '-y', '-o', 'Dpkg::Use-Pty=0', 'purge', 'metalhub'], { timeoutMs: 180_000 });
  t.equal(await machine.shell("find /etc/systemd/system -name '*hub*'"), '');
  t.same(await listening(machine), []);
});
