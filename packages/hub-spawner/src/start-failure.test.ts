import { parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { findMissingPath } from './missing-path.js';
import { explainFailedStart, isForeignFilesFound, isNamespaceFailure } from './start-failure.js';
import { testProfile } from './testing/profile.js';

function explain(result: string | null, exit_status: number | null, python = '/usr/bin/python3', isDiskFull = false) {
  const status = { key: parseKey('anna'), result, exit_status };
  return explainFailedStart({ unit: 'jupyter-anna.service', python, timeoutSec: 60, status, isDiskFull });
}

const cases = [
  { result: 'timeout', status: null, code: 'MH_ERR_SPAWN_TIMEOUT', message: '60 seconds' },
  { result: 'oom-kill', status: 9, code: 'MH_ERR_SPAWN_OOM', message: 'memory' },
  { result: 'exit-code', status: 100, code: 'MH_ERR_SPAWN_JUPYTER_MISSING', message: 'not installed' },
  { result: 'exit-code', status: 101, code: 'MH_ERR_SPAWN_JUPYTER_OLD', message: 'too old' },
  { result: 'exit-code', status: 104, code: 'MH_ERR_SPAWN_COMMAND', message: 'executed' },
  { result: 'exit-code', status: 203, code: 'MH_ERR_SPAWN_COMMAND', message: 'executed' },
  { result: 'exit-code', status: 238, code: 'MH_ERR_SPAWN_HOME', message: '/var/lib/private/metalhub/home/anna' },
  { result: 'exit-code', status: 1, code: 'MH_ERR_SPAWN_EXITED', message: '(exit-code, status 1)' },
  // A signal's number is not an exit status: SIGUSR1 to SIGSYS are below 100, but real-time signals need not be.
  { result: 'signal', status: 100, code: 'MH_ERR_SPAWN_EXITED', message: '(signal, status 100)' },
  { result: 'success', status: 0, code: 'MH_ERR_SPAWN_EXITED', message: '(success, status 0)' },
  { result: 'resources', status: null, code: 'MH_ERR_SPAWN_NOT_STARTED', message: 'no task' },
  { result: null, status: null, code: 'MH_ERR_SPAWN_NOT_STARTED', message: 'its socket or its slice failed' },
  { result: null, status: 1, code: 'MH_ERR_SPAWN_EXITED', message: '(unknown, status 1)' },
];

for (const { result, status, code, message } of cases) {
  t.test(`${result} with status ${status} is ${code}`, async (t) => {
    const error = explain(result, status);
    t.equal(error.code, code);
    t.match(error.message, message);
    t.match(error.hint, /./);
  });
}

t.test('what keeps an account of the machine from a server is named', async (t) => {
  const explainLocal = (exit_status: number, localAccount?: string) => {
    const status = { key: parseKey('anna'), result: 'exit-code', exit_status };
    const failed = { unit: 'jupyter-anna.service', python: '/x', timeoutSec: 60, status, isDiskFull: false };
    return explainFailedStart({ ...failed, localAccount });
  };
  t.match(explainLocal(224, 'anna.smith'), {
    code: 'MH_ERR_SPAWN_PAM',
    message: /anna\.smith/,
    hint: /metalhub-session/,
  });
  t.match(explainLocal(226, 'anna.smith'), { code: 'MH_ERR_SPAWN_HOME', message: /of anna\.smith.*not there/ });
  t.match(explainLocal(200, 'anna.smith'), { code: 'MH_ERR_SPAWN_HOME', message: /may not go into/ });
  for (const status of [200, 224, 226]) t.match(explainLocal(status), { code: 'MH_ERR_SPAWN_EXITED' }, `${status}`);
});

t.test('files of others are found by the launcher only, not by whatever program a profile names', async (t) => {
  const status = { key: parseKey('anna'), result: 'exit-code', exit_status: 103 };
  const failed = { unit: 'jupyter-anna.service', python: '/x', timeoutSec: 60, status, isDiskFull: false };
  t.ok(isForeignFilesFound(explainFailedStart(failed)));
  t.equal(explainFailedStart({ ...failed, program: '/usr/bin/code-server' }).code, 'MH_ERR_SPAWN_EXITED');
});

t.test('a missing Jupyter is installed the way its Python was', async (t) => {
  t.equal(explain('exit-code', 100).hint, 'install it with: apt install jupyterlab');
  t.equal(
    explain('exit-code', 101, '/opt/x/bin/python').hint,
    'install it with: /opt/x/bin/python -m pip install --upgrade jupyterlab',
  );
});

t.test('on a full disk that is the reason, unless there is a better one', async (t) => {
  for (const status of [1, 238]) t.equal(explain('exit-code', status, undefined, true).code, 'MH_ERR_SPAWN_DISK_FULL');
  t.equal(explain('exit-code', 100, undefined, true).code, 'MH_ERR_SPAWN_JUPYTER_MISSING');
});

t.test('a mount that is gone is named', async (t) => {
  const status = { key: parseKey('anna'), result: 'exit-code', exit_status: 226 };
  const failed = { unit: 'jupyter-anna.service', python: '/x', timeoutSec: 60, status, isDiskFull: false };
  const error = explainFailedStart({ ...failed, missingPath: '/srv/data' });
  t.match(error, { code: 'MH_ERR_SPAWN_MOUNT', message: '/srv/data, which the profile mounts, is not there' });
  t.match(explainFailedStart(failed), { code: 'MH_ERR_SPAWN_EXITED', hint: /could not set the server up/ });
  t.ok(isNamespaceFailure(status));
  t.notOk(isNamespaceFailure({ ...status, exit_status: 1 }), 'otherwise no path is looked for');
  t.notOk(isNamespaceFailure({ ...status, result: 'timeout' }));
});

t.test('of the paths that a profile needs, the missing one is found', async (t) => {
  const needs = (path: string) => findMissingPath(testProfile(`mounts = [{ source = "${path}" }]`));
  t.equal(await needs('/usr/bin'), undefined);
  t.equal(await needs('/usr/not-there'), '/usr/not-there');
  t.equal(await needs('/home/nobody-here'), undefined, 'this process sees no homes');
  t.equal(await needs('/dev/shm/none'), undefined, 'nor what is in /dev');
  t.equal(await findMissingPath(testProfile('devices = ["/dev/none"]')), undefined);
});

t.test('a hook that failed is named, with the log of what ran it', async (t) => {
  const hooks = { programs: ['/etc/metalhub/hooks/a'], units: ['quota@anna.service'] };
  const explain = (result: string | null, exit_status: number | null) =>
    explainFailedStart({
      unit: 'jupyter-anna.service',
      python: '/usr/bin/python3',
      timeoutSec: 60,
      status: { key: parseKey('anna'), result, exit_status },
      isDiskFull: false,
      hooks,
    });
  t.match(explain('exit-code', null), {
    code: 'MH_ERR_SPAWN_HOOK',
    message: /hooks\/a$/,
    hint: /-u jupyter-anna\.service$/,
  });
  t.match(explain('success', null), { code: 'MH_ERR_SPAWN_HOOK', message: /quota/ });
  t.match(explain(null, null), {
    code: 'MH_ERR_SPAWN_HOOK',
    message: /quota/,
    hint: /journalctl -u quota@anna\.service$/,
  });
  t.equal(explain('exit-code', 1).code, 'MH_ERR_SPAWN_EXITED', 'the server itself');
  t.equal(explain('resources', null).code, 'MH_ERR_SPAWN_NOT_STARTED');
});
