import { parseKey, parseServerName } from '@metalhub/base/names.js';
import type { UnitProperty } from '@metalhub/systemd/unit-property.js';
import { type BusInput, Variant } from '@metalhub/systemd/variant.js';
import t from 'tap';
import type { SpawnerProfile } from './spawner-config.js';
import { type ServerUnitInput, serverUnits } from './unit-properties.js';

const profile: SpawnerProfile = {
  name: 'default',
  python: '/usr/bin/python3',
  default_url: '/lab',
  memory_max_bytes: 4 * 2 ** 30,
  memory_high_bytes: null,
  cpu_quota_percent: 150,
  tasks_max: 4096,
};

function input(changes: Partial<ServerUnitInput> = {}): ServerUnitInput {
  return {
    key: parseKey('anna'),
    server: parseServerName(''),
    uid: 70_001,
    startId: 'a'.repeat(32),
    base: '/jupyter',
    credentialFile: '/run/metalhub-spawner/cred/anna/server.json',
    profile,
    timeouts: { start_timeout_sec: 60, stop_timeout_sec: 20 },
    makesSlice: true,
    ...changes,
  };
}

function valuesOf(properties: readonly UnitProperty[]): Record<string, [string, BusInput]> {
  return Object.fromEntries(properties.map(([name, { signature, value }]) => [name, [signature, value]]));
}

function textsIn(value: BusInput): string[] {
  if (value instanceof Variant) return textsIn(value.value);
  if (Array.isArray(value)) return value.flatMap(textsIn);
  return typeof value === 'string' ? [value] : [];
}

t.test('the account, its slice, its home and its socket follow from the key', async (t) => {
  const units = serverUnits(input());
  t.equal(units.service, 'jupyter-anna.service');
  t.match(valuesOf(units.properties), {
    User: ['s', 'jupyter-anna'],
    DynamicUser: ['b', true],
    Slice: ['s', 'jupyter-anna.slice'],
    StateDirectory: ['as', ['metalhub/home/anna']],
    WorkingDirectory: ['s', '/var/lib/metalhub/home/anna'],
    ExecPaths: ['as', ['/var/lib/metalhub/home/anna']],
    Requires: ['as', ['jupyter-anna.socket']],
  });
  const [[name, socket] = ['', []]] = units.auxiliary;
  t.equal(name, 'jupyter-anna.socket');
  t.match(valuesOf(socket), {
    Listen: ['a(ss)', [['Stream', '/run/metalhub/servers/anna.sock']]],
    SocketMode: ['u', 0o660],
    SocketGroup: ['s', 'metalhub-proxy'],
    BindsTo: ['as', ['jupyter-anna.service']],
    RemoveOnStop: ['b', true],
  });
});

t.test('a named server has units of its own and shares account, slice and home', async (t) => {
  const units = serverUnits(input({ server: parseServerName('gpu-2') }));
  t.equal(units.service, 'jupyter-anna:gpu-2.service');
  t.match(valuesOf(units.properties), {
    User: ['s', 'jupyter-anna'],
    Slice: ['s', 'jupyter-anna.slice'],
    StateDirectory: ['as', ['metalhub/home/anna']],
  });
  t.match(valuesOf(units.auxiliary[0]?.[1] ?? []), {
    Listen: ['a(ss)', [['Stream', '/run/metalhub/servers/anna:gpu-2.sock']]],
  });
});

t.test('the slice is made by the first server of a user, and ends with the last', async (t) => {
  const [, slice] = serverUnits(input()).auxiliary;
  t.equal(slice?.[0], 'jupyter-anna.slice');
  t.match(valuesOf(slice?.[1] ?? []), { StopWhenUnneeded: ['b', true] });
  const of = valuesOf(serverUnits(input()).properties);
  for (const name of ['MemoryMax', 'MemoryHigh', 'CPUQuotaPerSecUSec', 'TasksMax']) {
    t.ok(of[name]);
    t.same(valuesOf(slice?.[1] ?? [])[name], of[name], `${name} counts for all servers of the user together`);
  }
  t.equal(serverUnits(input({ makesSlice: false })).auxiliary.length, 1);
});

t.test('limits of the profile are set, and are infinity where it has none', async (t) => {
  t.match(valuesOf(serverUnits(input()).properties), {
    MemoryMax: ['t', 4n << 30n],
    MemoryHigh: ['t', 0xffff_ffff_ffff_ffffn],
    CPUQuotaPerSecUSec: ['t', 1_500_000n],
    TasksMax: ['t', 4096n],
    TimeoutStartUSec: ['t', 60_000_000n],
    TimeoutStopUSec: ['t', 20_000_000n],
  });
  const unlimited = { ...profile, cpu_quota_percent: 0 };
  t.match(valuesOf(serverUnits(input({ profile: unlimited })).properties), {
    CPUQuotaPerSecUSec: ['t', 0xffff_ffff_ffff_ffffn],
  });
});

t.test('the launcher ends a server that hangs in its stop before systemd kills it', async (t) => {
  for (const [stop_timeout_sec, seconds] of [
    [600, 597],
    [10, 7],
    [2, 1],
    [1, 0.5],
  ] as const) {
    const { Environment } = valuesOf(
      serverUnits(input({ timeouts: { start_timeout_sec: 60, stop_timeout_sec } })).properties,
    );
    t.ok(textsIn(Environment?.[1] ?? []).includes(`METALHUB_STOP_SEC=${seconds}`), `${stop_timeout_sec}`);
  }
});

t.test('S06: the command is constant and nothing in it is expanded', async (t) => {
  const exec = valuesOf(serverUnits(input()).properties).ExecStartEx;
  const argv = ['/usr/bin/python3', '-I', '/usr/lib/metalhub/launcher.py'];
  t.same(exec, ['a(sasas)', [['/usr/bin/python3', argv, ['no-env-expand']]]]);
});

t.test('S06: whatever the names are, only plain characters reach systemd', async (t) => {
  const letters = 'abcdefghijklmnopqrstuvwxyz0123456789_';
  for (let round = 0; round < 200; round++) {
    const pick = (count: number) =>
      Array.from({ length: count }, () => letters[Math.floor(Math.random() * letters.length)]).join('');
    const key = parseKey(`k${pick(round % 23)}`);
    const server = parseServerName(round % 2 === 0 ? '' : `s${pick(round % 30).replaceAll('_', '-')}`);
    const units = serverUnits(input({ key, server }));
    const properties = [...units.properties, ...units.auxiliary.flatMap(([, more]) => more)];
    for (const text of properties.flatMap(([, value]) => textsIn(value))) {
      if (!/^[A-Za-z0-9@:._/=, +-]*$/.test(text)) t.fail(`${JSON.stringify(text)} reaches systemd`);
    }
  }
});

t.test('paths of sockets are short enough for the longest names', async (t) => {
  const units = serverUnits(input({ key: parseKey('k'.repeat(23)), server: parseServerName('s'.repeat(31)) }));
  const [, [[, socket]]] = valuesOf(units.auxiliary[0]?.[1] ?? []).Listen as [string, [[string, string]]];
  t.ok(Buffer.byteLength(socket) <= 107, socket);
});

t.test('the sandbox is on', async (t) => {
  const values = valuesOf(serverUnits(input()).properties);
  for (const name of [
    'NoNewPrivileges',
    'PrivateTmp',
    'PrivateDevices',
    'PrivateIPC',
    'RestrictSUIDSGID',
    'LockPersonality',
  ]) {
    t.same(values[name], ['b', true], name);
  }
  t.match(values, {
    ProtectHome: ['s', 'yes'],
    ProtectSystem: ['s', 'strict'],
    ProtectProc: ['s', 'invisible'],
    CapabilityBoundingSet: ['t', 0n],
    AmbientCapabilities: ['t', 0n],
    RestrictNamespaces: ['t', 0n],
    SystemCallFilter: ['(bas)', [true, ['@system-service', '@sandbox']]],
    InaccessiblePaths: ['as', ['-/run/metalhub', '-/run/metalhub-spawner']],
  });
});
