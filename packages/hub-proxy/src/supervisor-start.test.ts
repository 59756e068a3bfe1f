import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { LATE_WORKER, setUp, startSupervisor, until } from './testing/supervisor.js';
import { SESSION_ID } from './testing/tickets.js';

// Of the whole file: half a minute is not enough on a busy machine.
t.setTimeout(600_000);

/** One worker, and a generation of two whose second one waits until `release` is called. */
async function setUpLate(t: Parameters<typeof setUp>[0]) {
  const all = await setUp(t);
  const { directory, listening, key } = all;
  const started = await startSupervisor(directory, listening.fd, { workerProgram: LATE_WORKER });
  const { supervisor, limits, target, call } = started;
  await call('PUT', '/api/keys', { keys: [key.publicKey] });
  const route = { target: target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
  await call('POST', '/api/routes/user/anna', route);
  const [before] = await supervisor.reports();
  const hold = join(directory, 'hold-2.1.sock');
  writeFileSync(hold, '');
  const replaced = supervisor.replace({ ...limits, workers: 2 });
  await until(async () => (await supervisor.reports()).length === 2);
  const [first] = await supervisor.reports();
  return { ...all, ...started, replaced, before, first, release: () => rmSync(hold) };
}

t.test('P05: a logout reaches a worker that accepts while others of its generation are still starting', async (t) => {
  const { supervisor, leave, call, replaced, release, get, nowSec, before, first } = await setUpLate(t);
  t.match([before, first], [{ generation: 1 }, { generation: 2, draining: false }]);
  t.equal(await get(), 200);
  const revocation = { session_id: SESSION_ID, until: nowSec + 60 };
  t.equal((await call('POST', '/api/revocations', revocation)).status, 204);
  // Now only the new one accepts.
  process.kill(before?.pid ?? 0, 'SIGSTOP');
  t.equal(await get(), 401);
  process.kill(before?.pid ?? 0, 'SIGCONT');
  release();
  await replaced;
  t.match(await supervisor.reports(), [{ generation: 2 }, { generation: 2 }]);
  await supervisor.endAll();
  await leave();
});

t.test('R03: a worker that dies while others of its generation are starting is replaced', async (t) => {
  const { supervisor, leave, call, replaced, release, first } = await setUpLate(t);
  process.kill(first?.pid ?? 0, 'SIGKILL');
  await until(async () => (await supervisor.reports()).length === 1);
  release();
  await replaced;
  const accepting = async () => (await supervisor.reports()).filter(({ draining }) => !draining);
  await until(async () => (await accepting()).length === 2);
  t.match(await accepting(), [{ generation: 2 }, { generation: 2 }]);
  await supervisor.endSurplus();
  const metrics = (await call('GET', '/metrics')).body;
  t.match(metrics, '\nmetalhub_proxy_generations_started_total 4\n', 'each worker counts');
  t.match(metrics, '\nmetalhub_proxy_generations_ended_total{reason="lost"} 1\n');
  await supervisor.endAll();
  await leave();
});

t.test('R03: a generation of which nobody is left when it is complete is none: the former one goes on', async (t) => {
  const { supervisor, limits, leave, replaced, release, directory, get, call } = await setUpLate(t);
  release();
  await replaced;
  writeFileSync(join(directory, 'hold-3.1.sock'), '');
  const failed = t.rejects(supervisor.replace({ ...limits, workers: 2 }), { code: 'MH_ERR_WIRE_CLOSED' });
  await until(async () => (await supervisor.reports())[0]?.generation === 3);
  const [third] = await supervisor.reports();
  process.kill(third?.pid ?? 0, 'SIGKILL');
  // The other one will when it is told that the keys are gone.
  writeFileSync(join(directory, 'die'), '');
  await call('PUT', '/api/keys', { keys: [] });
  rmSync(join(directory, 'hold-3.1.sock'));
  await failed;
  rmSync(join(directory, 'die'));
  await until(async () => (await supervisor.reports()).length === 2);
  t.match(await supervisor.reports(), [
    { generation: 2, draining: false },
    { generation: 2, draining: false },
  ]);
  t.equal(await get(), 401, 'which says that there are no keys');
  await supervisor.endAll();
  await leave();
});

t.test('R03: workers that die before they have the newest state are not replaced by ever more', async (t) => {
  const { directory, listening } = await setUp(t);
  const { supervisor, leave, call, target, log } = await startSupervisor(directory, listening.fd, {
    workerProgram: LATE_WORKER,
  });
  const route = { target: target('anna.sock'), auth: 'ticket', user: 'anna', server: '' };
  const [first] = await supervisor.reports();
  writeFileSync(join(directory, 'die'), '');
  process.kill(first?.pid ?? 0, 'SIGKILL');
  const deaths = () => log.lines.filter(({ message }) => message.startsWith('a worker ended')).length;
  for (let change = 0; deaths() < 4 && change < 500; change++) {
    await call('POST', `/api/routes/user/u${change}`, route);
    await sleep(20);
  }
  rmSync(join(directory, 'die'));
  await until(async () => (await supervisor.reports()).length > 0);
  // Longer than any pause that there was.
  await sleep(3000);
  t.match(await supervisor.reports(), [{ generation: 1, draining: false }]);
  t.equal((await supervisor.reports()).length, 1);
  await supervisor.endAll();
  await leave();
});
