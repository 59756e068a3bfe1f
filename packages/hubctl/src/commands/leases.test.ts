import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { parseIdentity, parseKey } from '@metalhub/base/names.js';
import { type Handlers, serveWire } from '@metalhub/wire/server.js';
import { type LeaseRow, type SpawnerAdminRequests, spawnerAdminProtocol } from '@metalhub/wire/spawner-admin.js';
import t, { type Test } from 'tap';
import { AdminClient } from '../admin-client.js';
import { runCli } from '../cli.js';

const nothing = (): void => {};
const log: Log = {
  ...{ debug: nothing, info: nothing, notice: nothing, warning: nothing, error: nothing, critical: nothing },
  child: () => log,
};
const since = '2026-01-01T00:00:00.000Z';

function leased(key: string, uid: number, changes: Partial<LeaseRow> = {}): LeaseRow {
  const fields = { state: 'leased', since, released: null, home: true, running: false } as const;
  return { ...fields, key: parseKey(key), uid, identity: parseIdentity(`pam:${key}`), ...changes };
}

function unleased(key: string): LeaseRow {
  return { ...leased(key, 0), state: 'unleased', uid: null, identity: null, since: null };
}

/** hubctl against a spawner that has these leases, and a hub that knows these users. */
async function setUp(t: Test, rows: readonly LeaseRow[], handlers: Partial<Handlers<SpawnerAdminRequests>> = {}) {
  // Not in the test's directory: the path of a socket may have 107 bytes.
  const directory = mkdtempSync(join(tmpdir(), 'hubctl-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const asked: unknown[] = [];
  const refuse = async (): Promise<never> => {
    throw new MetalhubError('MH_ERR_INTERNAL');
  };
  const spawner = createServer();
  serveWire(
    spawner,
    spawnerAdminProtocol,
    {
      ListLeases: async ({ offset }) => {
        const end = offset + 2;
        return { leases: rows.slice(offset, end), next: end < rows.length ? end : null, lost: rows.length === 1 };
      },
      ReleaseLease: refuse,
      Exec: refuse,
      Shell: refuse,
      AttachCommand: refuse,
      SignalCommand: refuse,
      FixHome: refuse,
      AdoptHome: async (params) => {
        asked.push(params);
        if (params.key === 'eve')
          throw new MetalhubError('MH_ERR_SPAWN_ADOPT', { details: { key: 'eve', reason: 'no' } });
        const source: 'owner' | 'given' = params.uid === null ? 'owner' : 'given';
        return { key: params.key, uid: params.uid ?? 70_009, source };
      },
      ...handlers,
    },
    { log },
  );
  const hub = createHttpServer((_request, response) =>
    response.end(
      JSON.stringify({
        users: [
          { name: 'An na', method: 'pam', key: 'anna' },
          { name: 'eve', method: 'pam', key: 'eve' },
        ],
      }),
    ),
  );
  const at = await Promise.all([listen(t, spawner, join(directory, 's')), listen(t, hub, join(directory, 'h'))]);
  return {
    asked,
    run: async (...argv: string[]) => {
      const out = { stdout: '', stderr: '' };
      const streams = {
        stdout: (text: string) => void (out.stdout += text),
        stderr: (text: string) => void (out.stderr += text),
      };
      return { status: await runCli(argv, new AdminClient(at[1]), '9.9', streams, at[0]), ...out };
    },
  };
}

async function listen(t: Test, server: Server, path: string): Promise<string> {
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => void server.close());
  return path;
}

t.test('leases lists all pages, for people and for programs', async (t) => {
  const rows = [
    leased('anna', 70_000, { running: true, identity: parseIdentity('pam:an\u202ena') }),
    leased('bob', 70_001, { state: 'released', released: since, home: false }),
    leased('cleo', 70_002),
    unleased('dora'),
    unleased('eve'),
  ];
  const { run } = await setUp(t, rows);
  const { status, stdout } = await run('leases');
  t.equal(status, 0);
  t.match(stdout, /^KEY +UID +LOGIN +STATE +SINCE +HOME +RUNNING$/m);
  t.match(stdout, /^anna +70000 +pam:an\\u\{202e\}na +leased .* yes +yes$/m);
  t.match(stdout, /^bob +70001 +pam:bob +released .* no +no$/m);
  t.match(stdout, /^eve +- +- +no lease +- +yes +no$/m);
  t.same(JSON.parse((await run('leases', '--json')).stdout), { leases: rows, lost: false });
  t.match(await (await setUp(t, [unleased('anna')])).run('leases'), { stdout: /leases are lost.*ADOPTING HOMES/ });
});

t.test('release passes on what was vouched for, and tells why it is refused', async (t) => {
  const asked: unknown[] = [];
  const { run } = await setUp(t, [], {
    ReleaseLease: async (params) => {
      asked.push(params);
      if (params.key === 'anna')
        throw new MetalhubError('MH_ERR_SPAWN_NO_LEASE', { details: { key: 'anna' }, hint: 'do this' });
      return { key: params.key, uid: 70_001, identity: parseIdentity('pam:bob') };
    },
  });
  t.match(await run('leases', 'release', 'bob'), { status: 0, stdout: 'released bob; uid 70001 stays taken\n' });
  t.match(await run('leases', 'release', 'bob', '--home-is-gone', '--json'), { status: 0, stdout: /"uid": 70001/ });
  t.same(asked, [
    { key: 'bob', home_is_gone: false },
    { key: 'bob', home_is_gone: true },
  ]);
  t.match(await run('leases', 'release', 'anna'), {
    status: 1,
    stdout: '',
    stderr: 'hubctl: no uid is leased to key anna\n        do this\n',
  });
  for (const argv of [['Bob'], [], ['a', 'b'], ['bob', '--uid', '70000']]) {
    t.match(await run('leases', 'release', ...argv), { status: 2, stderr: /hubctl --help/ }, argv.join(' '));
  }
});

t.test('adopt leases every home whose login the hub knows, and names the others', async (t) => {
  const { run, asked } = await setUp(t, [leased('zoe', 70_000), unleased('anna'), unleased('dora'), unleased('eve')]);
  const { status, stdout } = await run('leases', 'adopt');
  t.equal(status, 1, 'not all is done');
  t.match(stdout, /^anna: leased to pam:An na, uid 70009 \(its uid, from the owner of the home\)$/m);
  t.match(stdout, /^dora: whose it is is not known: add --login pam:NAME$/m);
  t.match(stdout, /^eve: the home of key eve cannot be adopted: no$/m);
  t.same(asked, [
    { key: 'anna', identity: 'pam:An na', uid: null },
    { key: 'eve', identity: 'pam:eve', uid: null },
  ]);
  t.match(await (await setUp(t, [leased('zoe', 70_000)])).run('leases', 'adopt'), {
    status: 0,
    stdout: /every home has a lease/,
  });
});

t.test('one home can be adopted with a login and a uid that only the administrator knows', async (t) => {
  const { run, asked } = await setUp(t, [unleased('dora')]);
  const done = await run('leases', 'adopt', 'dora', '--login', 'pam:Dora', '--uid', '70123');
  t.match(done, { status: 0, stdout: 'dora: leased to pam:Dora, uid 70123 (as you said)\n' });
  t.same(asked, [{ key: 'dora', identity: 'pam:Dora', uid: 70_123 }]);
  for (const argv of [
    ['--login', 'pam:x'],
    ['dora', '--uid', '999'],
    ['dora', '--uid', 'x'],
    ['dora', '--login', 'x'],
  ]) {
    t.equal((await run('leases', 'adopt', ...argv)).status, 2, argv.join(' '));
  }
});

t.test('a spawner that cannot be reached is named with what to do', async (t) => {
  const out = { stderr: '' };
  const streams = { stdout: nothing, stderr: (text: string) => void (out.stderr += text) };
  const status = await runCli(['leases'], new AdminClient('/nowhere'), '9.9', streams, join(t.testdir(), 'none'));
  t.equal(status, 1);
  t.match(out.stderr, /hub-spawner cannot be reached.*\n +systemctl start metalhub.target/);
});
