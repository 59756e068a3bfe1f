import t from 'tap';
import { findHint } from './hints.js';
import { redactLine } from './redact.js';

const TOKEN = 'q3VtZ2VoZWltLXRva2VuLWRlcy1zZXJ2ZXJzLTAxMjM';

t.test('H07: secrets do not get into the lines that are shown', async (t) => {
  const lines = [
    `Jupyter Server is running at http+unix://x/user/anna/lab?token=${TOKEN}`,
    `plain ${TOKEN} in the middle`,
    'Authorization: Bearer abc.def-ghi',
    'authorization=token abcdefgh',
    '{"password": "hunter2hunter2"}',
    'api_key=sk-1234567890abcdef',
    'postgres://anna:hunter2hunter2@db/x',
    'cookie secret 0123456789abcdef0123456789abcdef',
    'AKIAabcdefghijklmnopqrstuvwxyz0123456789ABCDEF',
  ];
  for (const line of lines) {
    const shown = redactLine(line, [TOKEN]);
    t.match(shown, '[removed]', line);
    t.notMatch(shown, /hunter2|abc\.def|abcdefgh$|sk-123|0123456789abcdef0/);
    t.notOk(shown.includes(TOKEN));
  }
});

t.test('ordinary lines stay readable', async (t) => {
  const lines = [
    "ModuleNotFoundError: No module named 'jupyterlab'",
    'File "/usr/lib/python3/dist-packages/jupyter_server/serverapp.py", line 2874, in launch_instance',
    '[I 2026-11-22 17:54:13.716 ServerApp] Serving notebooks from local directory: /var/lib/metalhub/home/anna',
    'jupyter_server.services.kernels.kernelmanager.AsyncMappingKernelManager',
  ];
  for (const line of lines) t.equal(redactLine(line, [TOKEN, '']), line);
});

t.test('hints come from what was written last, then from the error', async (t) => {
  t.match(
    findHint('MH_ERR_SPAWN_EXITED', ['Permission denied', 'OSError: [Errno 28] No space left on device']),
    /disk is full/,
  );
  t.match(
    findHint('MH_ERR_SPAWN_EXITED', ["ModuleNotFoundError: No module named 'jupyterlab'"]),
    /apt install jupyterlab/,
  );
  t.match(findHint('MH_ERR_SPAWN_EXITED', ["No module named 'numpy'"]), /\.local/);
  t.match(findHint('MH_ERR_SPAWN_TIMEOUT', ['all is well']), /busy/);
  t.equal(findHint('MH_ERR_SPAWN_EXITED', []), null);
});
