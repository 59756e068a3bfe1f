import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { serveWire } from '@metalhub/wire/server.js';
import { type HomePass, spawnerAdminProtocol } from '@metalhub/wire/spawner-admin.js';
import t, { type Test } from 'tap';
import { AdminClient } from '../admin-client.js';
import { runCli } from '../cli.js';

const nothing = (): void => {};
const log: Log = {
  ...{ debug: nothing, info: nothing, notice: nothing, warning: nothing, error: nothing, critical: nothing },
  child: () => log,
};

/** hubctl against a spawner that finds this, while the hub does not run. */
async function setUp(t: Test, pass: HomePass) {
  // Not in the test's directory: the path of a socket may have 107 bytes.
  const directory = mkdtempSync(join(tmpdir(), 'hubctl-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const asked: unknown[] = [];
  const refuse = async (): Promise<never> => {
    throw new MetalhubError('MH_ERR_INTERNAL');
  };
  const handlers = {
    ...{ ListLeases: refuse, ReleaseLease: refuse, AdoptHome: refuse },
    ...{ Exec: refuse, Shell: refuse, AttachCommand: refuse, SignalCommand: refuse },
    FixHome: async (params: { key: HomeKey; check: boolean }) => {
      asked.push(params);
      return { key: params.key, kind: 'mapped' as const, pass };
    },
  };
  const spawner = createServer();
  serveWire(spawner, spawnerAdminProtocol, handlers, { log });
  const path = join(directory, 's');
  await new Promise<void>((resolve) => spawner.listen(path, resolve));
  t.teardown(() => void spawner.close());
  return {
    asked,
    run: async (...argv: string[]) => {
      const out = { stdout: '', stderr: '' };
      const streams = {
        stdout: (text: string) => void (out.stdout += text),
        stderr: (text: string) => void (out.stderr += text),
      };
      return { status: await runCli(argv, new AdminClient(join(directory, 'none')), '9.9', streams, path), ...out };
    },
  };
}

type HomeKey = Parameters<Parameters<typeof serveWire<typeof spawnerAdminProtocol.requests>>[2]['FixHome']>[0]['key'];

t.test('fix-home tells what was given to the user, and names what was left and why', async (t) => {
  const left_examples = [{ path: 'a\u202eb', reason: 'hard-link' as const }];
  const { run, asked } = await setUp(t, { seen: 1000, changed: 12, left: 3, left_examples, duration_ms: 1234 });
  const done = await run('fix-home', 'anna');
  t.equal(done.status, 0);
  t.match(done.stdout, /^anna: 1000 files, 12 given to the user, 3 left as they are \(1\.2 s\)$/m);
  t.match(done.stdout, /^ {2}left: a\\u\{202e\}b: it has another name outside of the home\n {2}and 2 more$/m);
  t.same(asked, [{ key: 'anna', check: false }]);
});

t.test('with --check nothing is asked to be changed, and the status says whether something should be', async (t) => {
  const pass = { seen: 10, changed: 1, left: 0, left_examples: [], duration_ms: 1 };
  const { run, asked } = await setUp(t, pass);
  t.match(await run('fix-home', 'anna', '--check'), { status: 1, stdout: /1 not the user's/ });
  t.match(JSON.parse((await run('fix-home', 'anna', '--check', '--json')).stdout), { key: 'anna', pass });
  t.same(asked, Array(2).fill({ key: 'anna', check: true }));
  t.match(await (await setUp(t, { ...pass, changed: 0 })).run('fix-home', 'anna', '--check'), { status: 0 });
  t.match(
    await run('fix-home', 'An na'),
    { status: 1, stderr: /hub cannot be reached/ },
    'only a key is known without it',
  );
  t.match(await run('fix-home'), { status: 2 });
});
