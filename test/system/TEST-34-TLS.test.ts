import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import type { Browser, Page } from 'playwright-core';
import t from 'tap';
import { launchBrowser, logIn, newNotebook, newVisitor, runCell, screenshot, startServer } from '../lib/browser.js';
import { HOST, LIVE, link, renew, shown, untilShown } from '../lib/certificate.js';
import { createUser, installDeb, PAM_LOGIN } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { workersOf } from '../lib/restarts.js';
import { ServerEvents } from '../lib/server-events.js';
import { start } from '../lib/server-start.js';
import { Visitor } from '../lib/visitor.js';

t.setTimeout(900_000);

const PORT = 8443;
const BASE = `https://${HOST}:${PORT}`;
const CONFIG = '/etc/metalhub/metalhub.toml';
/** A reload may have to wait for the one that the path unit began. */
const PATIENT = { timeoutMs: 240_000 } as const;

let machine: Machine;
let browser: Browser;
let page: Page;
let serial: string;

function configure(tls = '', publicUrl = BASE): Promise<void> {
  const files = `cert_file = "${LIVE}/fullchain.pem"\nkey_file = "${LIVE}/privkey.pem"\n`;
  const proxy = '[proxy]\nlisten = ["0.0.0.0:8443"]\n';
  return machine.writeFile(CONFIG, `public_url = "${publicUrl}"\n${proxy}[tls]\n${files}${tls}\n${PAM_LOGIN}`);
}

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  for (const name of ['anna', 'bob', 'carol'])
    await createUser(machine, name, 'correct horse', { groups: ['metalhub-users'] });
  await machine.shell(`echo 127.0.0.1 ${HOST} >>/etc/hosts`);
  serial = await renew(machine, 1);
  await machine.enterNetwork();
});

t.teardown(async () => {
  await browser?.close();
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=200']));
  await machine?.stop();
});

function ca(): Promise<string> {
  return machine.readFile(`${LIVE}/fullchain.pem`);
}

t.test('hubctl apply makes the address of the configuration speak HTTPS', async (t) => {
  await configure('redirect_listen = ["127.0.0.1:8000"]\nhsts_max_age_sec = 600');
  const applied = await machine.exec(['hubctl', 'apply']);
  t.match(applied, { code: 0, stdout: 'listens on 0.0.0.0:8443, 127.0.0.1:8000' }, applied.stderr);
  t.equal((await shown(PORT)).serialNumber, serial);
  const visitor = new Visitor({ base: BASE, ca: await ca() });
  const answer = await visitor.request('/hub/login');
  t.equal(answer.status, 200);
  t.equal(answer.headers.get('strict-transport-security'), 'max-age=600');
  const plain = await new Visitor({ base: `http://${HOST}:8000` }).request('/user/anna/lab?a=b');
  t.equal(plain.status, 301);
  t.equal(plain.headers.get('location'), `${BASE}/user/anna/lab?a=b`);
  const key = await machine.run(['stat', '-c', '%U:%G %a', '/var/lib/metalhub/proxy-tls/current.pem']);
  t.equal(key.trim(), 'root:metalhub-proxy 640');
  const stolen = await machine.exec(['cat', '/var/lib/metalhub/proxy-tls/current.pem'], { user: 'anna' });
  t.equal(stolen.code, 1);
  t.match(await machine.exec(['hubctl', 'doctor']), { code: 0 });
});

t.test('curl gets pages over HTTP/2, and over HTTP/1.1 when it asks for that', async (t) => {
  const curl = (...options: string[]): Promise<string> =>
    machine.run(['curl', '-sS', '--cacert', `${LIVE}/fullchain.pem`, ...options]);
  const url = `${BASE}/hub/health`;
  const format = ['-o', '/dev/null', '-w', '%{http_version} %{http_code}'];
  t.equal(await curl('--http2', ...format, url), '2 200');
  t.equal(await curl('--http1.1', ...format, url), '1.1 200');
  t.equal(await curl('--http2', '-I', ...format, `${BASE}/hub/login`), '2 200');
  t.equal(await curl('--http2', ...format, '--parallel', ...Array<string>(50).fill(url)), '2 200'.repeat(50));
});

t.test('P12: old versions, renegotiation, foreign names and plain HTTP are refused', async (t) => {
  const client = async (...options: string[]): Promise<string> => {
    const argv = ['openssl', 's_client', '-connect', '127.0.0.1:8443', '-servername', HOST, ...options];
    const { stdout, stderr } = await machine.exec(argv, { input: 'R\n' });
    return stdout + stderr;
  };
  for (const version of ['-tls1', '-tls1_1']) {
    t.match(await client(version, '-cipher', 'DEFAULT:@SECLEVEL=0'), /Cipher is \(NONE\)/, version);
  }
  t.match(await client('-tls1_2', '-cipher', 'AES128-SHA'), /Cipher is \(NONE\)/, 'no forward secrecy');
  t.match(await client('-tls1_2'), /no renegotiation|unexpected message|handshake failure/i);
  t.match(await client('-tls1_3'), 'TLS_AES_');
  const status = (...options: string[]): Promise<string> =>
    machine.run(['curl', '-sk', '-o', '/dev/null', '-w', '%{http_code}', ...options]);
  t.equal(await status('--resolve', 'evil.example:8443:127.0.0.1', 'https://evil.example:8443/hub/health'), '421');
  t.equal(await status('-H', 'Host: evil.example', `${BASE}/hub/health`), '421');
  t.match(await machine.run(['curl', '-s', '-i', `http://${HOST}:8443/`]), /^HTTP\/1.1 400 [\s\S]*https:\/\//);
});

t.test('P12: a broken, foreign or expired certificate does not come into use, and it is said why', async (t) => {
  const reload = ['systemctl', 'reload', 'hub-proxy'];
  const wrong: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
    ['broken', () => machine.shell(`rm ${LIVE}/fullchain.pem; echo nothing >${LIVE}/fullchain.pem`), /no certificate/],
    ['missing', () => machine.run(['rm', `${LIVE}/fullchain.pem`]), /fullchain\.pem: does not exist/],
    ['expired', () => renew(machine, 2, { days: -1 }), /fullchain\.pem: expired on \d{4}/],
    [
      'without its key',
      async () => {
        await renew(machine, 3);
        await machine.shell(`ln -sf /etc/letsencrypt/archive/${HOST}/privkey1.pem ${LIVE}/privkey.pem`);
      },
      /privkey\.pem: is not the key of the certificate/,
    ],
  ];
  for (const [what, replace, reason] of wrong) {
    const since = await machine.cursor();
    await replace();
    t.not((await machine.exec(reload, PATIENT)).code, 0, `${what}: the reload says that it failed`);
    await machine.waitForEntry({ since, unit: 'hub-proxy.service' }, reason);
    t.equal((await shown(PORT)).serialNumber, serial, `${what}: the old one stays in use`);
    const doctor = await machine.exec(['hubctl', 'doctor']);
    t.equal(doctor.code, 1);
    t.match(doctor.stdout, reason);
    const applied = await machine.exec(['hubctl', 'apply']);
    t.equal(applied.code, 1, what);
    t.match(applied.stderr, reason);
    t.match(await machine.exec(['hubctl', 'config', 'check']), { code: 1, stderr: reason });
  }
  await machine.run(['systemctl', 'restart', 'hub-proxy']);
  t.equal((await shown(PORT)).serialNumber, serial, 'after a restart, too');
  await link(machine, 1);
  t.match(await machine.exec(reload, PATIENT), { code: 0 });
  t.equal((await shown(PORT)).serialNumber, serial);
});

t.test(
  'a disk that takes no new certificate leaves the old one in use, and lets the proxy start with it',
  async (t) => {
    const directory = '/var/lib/metalhub/proxy-tls';
    await machine.shell(`mount --bind ${directory} ${directory}; mount -o remount,bind,ro ${directory}`);
    const since = await machine.cursor();
    await renew(machine, 9);
    t.match(await machine.exec(['systemctl', 'restart', 'hub-proxy'], PATIENT), { code: 0 });
    t.equal((await shown(PORT)).serialNumber, serial);
    await machine.waitForEntry(
      { since, unit: 'hub-proxy.service' },
      /certificate cannot be used[\s\S]*read-only file system/i,
    );
    await machine.run(['umount', directory]);
    await link(machine, 1);
    t.match(await machine.exec(['systemctl', 'reload', 'hub-proxy'], PATIENT), { code: 0 });
    t.equal((await shown(PORT)).serialNumber, serial);
  },
);

t.test('a certificate that ends soon is warned of', async (t) => {
  const soon = await renew(machine, 4, { days: 10 });
  await untilShown(PORT, soon);
  const doctor = await machine.exec(['hubctl', 'doctor']);
  t.equal(doctor.code, 0);
  t.match(doctor.stdout, /warning {2}certificate in use: valid for 9 more days/);
  serial = await renew(machine, 5);
  await untilShown(PORT, serial);
});

t.test('in a real browser: HTTP/2 for pages, a kernel over a WebSocket, cookies for HTTPS only', async (t) => {
  browser = await launchBrowser({ args: [`--host-resolver-rules=MAP ${HOST} 127.0.0.1`] });
  const anna = await newVisitor(browser, BASE);
  page = await anna.newPage();
  await logIn(page, 'anna', 'correct horse');
  await page.waitForURL(/\/hub\/home/);
  await startServer(page);
  const protocol = (): Promise<string> =>
    page.evaluate(() => {
      const [entry] = performance.getEntriesByType('navigation');
      return entry === undefined || !('nextHopProtocol' in entry) ? '' : String(entry.nextHopProtocol);
    });
  t.equal(await protocol(), 'h2');
  await newNotebook(page);
  t.equal(await runCell(page, 'print(6 * 7)'), '42');
  await screenshot(page, 'tls-notebook');
  const cookies = await anna.cookies();
  t.ok(cookies.filter(({ name }) => name.startsWith('metalhub')).every(({ secure }) => secure));
});

t.test('a renewed certificate comes into use by itself, and nobody notices: nothing is lost under load', async (t) => {
  const trust = await ca();
  const visitor = new Visitor({ base: BASE, ca: trust });
  await visitor.logIn('bob', 'correct horse');
  t.match(await start(visitor, 'bob'), { ready: true });
  const events = await ServerEvents.open(visitor, 'bob', { base: BASE, ca: trust });
  t.teardown(() => events.close());
  const cookie = visitor.cookieHeader('/user/bob/api/status');
  const load = startLoad(cookie);
  t.equal(await runCell(page, 'print("before")'), 'before');
  for (const number of [6, 7, 8]) {
    serial = await renew(machine, number);
    await untilShown(PORT, serial);
  }
  const { answered, failures } = await load.stop();
  t.ok(answered > 100, `${answered} requests were answered`);
  t.same(failures, []);
  t.ok(await events.answers(), 'the WebSocket of before is open');
  t.equal(await runCell(page, 'print("after")'), 'after');
});

/** Requests back to back, half of them on new connections, each of which any certificate of these may serve. */
function startLoad(cookie: string): { stop(): Promise<{ answered: number; failures: string[] }> } {
  const failures: string[] = [];
  let answered = 0;
  let isOver = false;
  const kept = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (agent: Agent | false): Promise<void> =>
    new Promise((resolve) => {
      const to = {
        host: '127.0.0.1',
        port: 8443,
        servername: HOST,
        rejectUnauthorized: false,
        path: '/user/bob/api/status',
      };
      const sent = request({ ...to, agent, headers: { host: `${HOST}:8443`, cookie } }, (response) => {
        if (response.statusCode !== 200) failures.push(`status ${response.statusCode}`);
        else answered++;
        response.resume();
        response.on('close', resolve);
      });
      sent.on('error', (error) => {
        failures.push(error.message);
        resolve();
      });
      sent.end();
    });
  const loop = async (agent: Agent | false): Promise<void> => {
    while (!isOver) {
      await ask(agent);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const loops = [loop(kept), loop(kept), loop(false), loop(false)];
  return {
    stop: async () => {
      isOver = true;
      await Promise.all(loops);
      kept.destroy();
      return { answered, failures };
    },
  };
}

t.test(
  'below a path, with TLS at the proxy itself: HTTP/2, a kernel, cookies of that path, HSTS, the redirect',
  async (t) => {
    await configure('redirect_listen = ["127.0.0.1:8000"]\nhsts_max_age_sec = 600', `${BASE}/jupyter/`);
    const applied = await machine.exec(['hubctl', 'apply'], PATIENT);
    t.equal(applied.code, 0, applied.stderr);
    const carol = await newVisitor(browser, BASE);
    t.teardown(() => carol.close());
    const work = await carol.newPage();
    const answered: string[] = [];
    work.on('response', (response) => answered.push(new URL(response.url()).pathname));
    await logIn(work, 'carol', 'correct horse', '/jupyter');
    await work.waitForURL(`${BASE}/jupyter/hub/home`);
    await startServer(work);
    t.match(work.url(), `${BASE}/jupyter/user/carol/lab`);
    await newNotebook(work);
    t.equal(await runCell(work, 'print(6 * 7)'), '42');
    t.same(
      answered.filter((path) => path !== '/jupyter' && !path.startsWith('/jupyter/')),
      [],
    );
    const cookies = (await carol.cookies()).filter(({ name }) => name.startsWith('metalhub'));
    t.ok(cookies.length >= 2 && cookies.every(({ path, secure }) => path.startsWith('/jupyter/') && secure));
    const trust = await ca();
    const visitor = new Visitor({ base: BASE, ca: trust });
    const login = await visitor.request('/jupyter/hub/login');
    t.equal(login.status, 200);
    t.equal(login.headers.get('strict-transport-security'), 'max-age=600');
    for (const path of ['/hub/login', '/user/carol/']) t.equal((await visitor.request(path)).status, 404, path);
    t.equal((await visitor.request('/')).headers.get('location'), '/jupyter/');
    const curl = ['curl', '-sS', '--cacert', `${LIVE}/fullchain.pem`, '--http2', '-o', '/dev/null'];
    const format = ['-w', '%{http_version} %{http_code}'];
    t.equal(await machine.run([...curl, ...format, `${BASE}/jupyter/hub/health`]), '2 200');
    const plain = await new Visitor({ base: `http://${HOST}:8000` }).request('/jupyter/user/carol/lab?a=b');
    t.equal(plain.status, 301);
    t.equal(plain.headers.get('location'), `${BASE}/jupyter/user/carol/lab?a=b`);
    t.match(await machine.exec(['hubctl', 'doctor']), { code: 0 });
    await machine.run(['hubctl', 'stop', 'carol']);
    await configure();
    t.match(await machine.exec(['hubctl', 'apply'], PATIENT), { code: 0 });
  },
);

t.test('P09: 5,000 idle TLS connections cost little, and leave others alone', async (t) => {
  const idle: TLSSocket[] = [];
  t.teardown(() => {
    for (const socket of idle) socket.destroy();
  });
  await machine.writeFile('/etc/metalhub/metalhub.toml.d/limits.toml', '[limits]\nheader_timeout_sec = 300\n');
  t.match(await machine.exec(['systemctl', 'reload', 'hub-proxy'], PATIENT), { code: 0 });
  const accepting = (await workersOf(machine)).filter(({ draining }) => !draining);
  const resident = async (): Promise<number> => {
    const sizes = await Promise.all(accepting.map(({ pid }) => machine.readFile(`/proc/${pid}/status`)));
    return sizes.reduce((sum, status) => sum + Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024, 0);
  };
  const before = await resident();
  for (let batch = 0; batch < 100; batch++) {
    const opened = Array.from({ length: 50 }, async (_, index) => {
      // Loopback is exempt from the limit per address.
      const localAddress = `127.2.${Math.floor(index / 10)}.${batch + 1}`;
      const below = connectPlain({ port: 8443, host: '127.0.0.1', localAddress });
      const socket = connect({ socket: below, servername: HOST, rejectUnauthorized: false });
      socket.on('error', () => undefined);
      idle.push(socket);
      await once(socket, 'secureConnect');
    });
    await Promise.all(opened);
  }
  const grown = (await resident()) - before;
  t.comment(`${Math.round(before)} MiB, and ${Math.round(grown)} MiB for 5,000 idle TLS connections`);
  t.ok(grown < 450, `${grown} MiB more`);
  const visitor = new Visitor({ base: BASE, ca: await ca() });
  t.equal((await visitor.request('/hub/health')).status, 200);
});
