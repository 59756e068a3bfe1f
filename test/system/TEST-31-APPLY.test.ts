import t from 'tap';
import { PAM_LOGIN } from '../lib/deb.js';
import { listening } from '../lib/listening.js';
import type { Machine } from '../lib/machine.js';
import { ServerEvents } from '../lib/server-events.js';
import { bootWithAnna, start } from '../lib/server-start.js';
import { Visitor } from '../lib/visitor.js';

t.setTimeout(900_000);

const CONFIG = '/etc/metalhub/metalhub.toml';
let machine: Machine;
let visitor: Visitor;
let events: ServerEvents;

t.before(async () => {
  ({ machine, visitor } = await bootWithAnna());
  t.match(await start(visitor, 'anna'), { ready: true });
  events = await ServerEvents.open(visitor, 'anna');
});

t.teardown(async () => {
  events?.close();
  await machine?.stop();
});

async function apply(listen: readonly string[]) {
  const proxy = `[proxy]\nlisten = ${JSON.stringify(listen)}\ninsecure = true\n`;
  await machine.writeFile(CONFIG, `public_url = "http://localhost:8000"\n${PAM_LOGIN}${proxy}`);
  return machine.exec(['hubctl', 'apply']);
}

async function health(port = 8000): Promise<number> {
  return (await new Visitor({ base: `http://localhost:${port}` }).request('/hub/health')).status;
}

for (const listen of [['0.0.0.0:8000'], ['[::]:8000'], ['127.0.0.1:8000', '127.0.0.1:8001'], ['127.0.0.1:8000']]) {
  t.test(`the proxy moves to ${listen.join(' and ')}, and open connections go on`, async (t) => {
    const since = await machine.cursor();
    const applied = await apply(listen);
    t.match(applied, { code: 0, stdout: `hub-proxy.socket listens on ${listen.join(', ')}` }, applied.stderr);
    t.same(await listening(machine), listen.map((address) => address.replace('[::]', '*')).sort());
    for (const address of listen) t.equal(await health(Number(address.split(':').at(-1))), 200, address);
    t.ok(await events.answers(), 'the WebSocket of before is open');
    t.equal((await visitor.navigate('/user/anna/api/status')).response.status, 200);
    const again = await machine.exec(['hubctl', 'apply']);
    t.match(again, { code: 0 });
    t.notMatch(again.stdout, 'hub-proxy.socket', 'nothing to do the second time');
    // systemd says so at the reload that comes before the restart.
    await machine.assertCleanJournal([/Socket unit configuration has changed while unit has been running/], since);
  });
}

t.test('an address that cannot be bound is refused, and the old one serves again', async (t) => {
  await machine.run(['systemd-run', '--unit=taken', 'python3', '-m', 'http.server', '--bind', '127.0.0.1', '8002']);
  for (let tries = 0; tries < 300 && !(await listening(machine)).includes('127.0.0.1:8002'); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const wanted = ['127.0.0.1:8001', '127.0.0.1:8002'];
  // Also more often than systemd's start limit of 5 in 10 s.
  for (const attempt of ['first', 'second', 'third']) {
    const applied = await apply(wanted);
    t.equal(applied.code, 1, attempt);
    t.match(
      applied.stderr,
      'the proxy cannot listen on 127.0.0.1:8001, 127.0.0.1:8002; those of before are in force again',
    );
    t.same(await listening(machine), ['127.0.0.1:8000', '127.0.0.1:8002']);
    t.equal(await health(), 200);
    t.ok(await events.answers());
  }
  await machine.run(['systemctl', 'stop', 'taken.service']);
  t.match(await apply(wanted), { code: 0 });
  t.same(await listening(machine), wanted, 'once it is free the same command succeeds');
  t.match(await apply(['127.0.0.1:8000']), { code: 0 });
});

t.test('a run that was interrupted before the restart is finished by the next one', async (t) => {
  const dropIn = '/etc/systemd/system/hub-proxy.socket.d/50-metalhub-listen.conf';
  await machine.writeFile(dropIn, '[Socket]\nListenStream=\nListenStream=127.0.0.1:8003\n');
  await machine.run(['systemctl', 'daemon-reload']);
  t.match(await apply(['127.0.0.1:8003']), { code: 0 });
  t.same(await listening(machine), ['127.0.0.1:8003']);
  t.match(await apply(['127.0.0.1:8000']), { code: 0 });
  t.equal(await health(), 200);
  t.ok(await events.answers());
});

t.test('a socket that was stopped on purpose is not started', async (t) => {
  await machine.run(['systemctl', 'stop', 'hub-proxy.socket', 'hub-proxy.service']);
  t.match(await apply(['127.0.0.1:8001']), { code: 0, stdout: 'when it is started' });
  t.same(
    (await listening(machine)).filter((address) => address !== ''),
    [],
  );
  await machine.run(['systemctl', 'start', 'hub-proxy.socket']);
  t.equal(await health(8001), 200);
});

t.test('an address that no interface has is listened on, in case it comes, and warned of', async (t) => {
  const applied = await apply(['127.0.0.1:8000', '192.0.2.99:8005']);
  t.match(applied, { code: 0, stdout: 'warning: no interface has the address of 192.0.2.99:8005' });
  t.same(await listening(machine), ['127.0.0.1:8000', '192.0.2.99:8005']);
  const back = await apply(['127.0.0.1:8000']);
  t.notMatch(back.stdout, 'warning');
});
