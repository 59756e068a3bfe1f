import { parseKey, parseServerName } from '@metalhub/base/names.js';
import type { UnitProperty } from '@metalhub/systemd/unit-property.js';
import { type BusInput, Variant } from '@metalhub/systemd/variant.js';
import t from 'tap';
import { testProfile } from './testing/profile.js';
import { type ServerUnitInput, serverUnits } from './unit-properties.js';
import { dynamicAccount, type UserAccount } from './user-account.js';

const profile = testProfile('memory_max = "4G"\ncpu_quota_percent = 150');

function input(changes: Partial<ServerUnitInput> = {}): ServerUnitInput {
  return {
    key: parseKey('anna'),
    server: parseServerName(''),
    account: dynamicAccount(parseKey('anna'), 70_001),
    startId: 'a'.repeat(32),
    base: '/jupyter',
    credentialFile: '/run/metalhub-spawner/cred/anna/server.json',
    profile,
    variant: { override: 'guests', choices: { size: 'small' } },
    timeouts: {
      start_timeout_sec: 60,
      stop_timeout_sec: 20,
      memory_ceiling_bytes: null,
      cpu_ceiling_percent: 0,
      tasks_ceiling: 16_384,
    },
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

const local: UserAccount = {
  ...{ name: 'anna.smith', uid: 1001, gid: 100, home: '/srv/homes/anna', shell: '/bin/zsh', isLocal: true },
};

t.test('a local account has a session of PAM, and its own home, groups and shell', async (t) => {
  const properties = serverUnits(input({ account: local })).properties;
  const values = valuesOf(properties);
  t.match(values, {
    User: ['s', 'anna.smith'],
    DynamicUser: ['b', false],
    PAMName: ['s', 'metalhub-session'],
    Slice: ['s', 'jupyter-anna.slice'],
    WorkingDirectory: ['s', '/srv/homes/anna'],
    NoNewPrivileges: ['b', true],
    RemoveIPC: ['b', false],
    InaccessiblePaths: ['as', ['-/run/metalhub', '-/run/metalhub-spawner', '-/run/dbus']],
  });
  for (const name of ['StateDirectory', 'ExecPaths', 'SupplementaryGroups', 'Group']) t.notOk(values[name], name);
  const environment = textsIn(values['Environment']?.[1] ?? []);
  for (const line of ['HOME=/srv/homes/anna', 'USER=anna.smith', 'LOGNAME=anna.smith', 'SHELL=/bin/zsh']) {
    t.ok(environment.includes(line), line);
  }
  t.equal(properties.filter(([name]) => name === 'PAMName').length, 1);
  t.notOk(valuesOf(serverUnits(input()).properties)['PAMName'], 'a dynamic user has none');
});

t.test('of all homes only that of its own is in the unit of a local account', async (t) => {
  const profile = testProfile('mounts = [{ source = "/srv/data", write = true }]');
  const of = (home: string) => {
    const { properties } = serverUnits(input({ account: { ...local, home }, profile }));
    t.equal(properties.filter(([name]) => name === 'BindPaths').length, 1, 'one list: a second one could replace it');
    return valuesOf(properties);
  };
  const elsewhere = of('/srv/homes/anna');
  t.match(elsewhere, { ProtectHome: ['s', 'tmpfs'] });
  t.match(elsewhere['BindPaths']?.[1], [['/srv/homes/anna', '/srv/homes/anna', false], ['/srv/data']]);
  const hidden = elsewhere['TemporaryFileSystem']?.[1] as string[][];
  t.same(hidden.at(-1), ['/srv/homes', 'ro,mode=0755']);
  t.ok(hidden.some(([path, how]) => path === '/run/jupyter' && how?.includes('uid=1001,gid=100')));
  const usual = of('/home/anna')['TemporaryFileSystem']?.[1] as string[][];
  t.same(
    usual.map(([path]) => path),
    ['/dev/shm', '/run/jupyter'],
    'ProtectHome= hides /home',
  );
});

t.test(
  'an ephemeral home lies in memory, hides the kept one, and is no larger than the memory of the server',
  async (t) => {
    const mountsOf = (account: UserAccount | undefined, keys: string) => {
      const profile = testProfile(`home = "ephemeral"\n${keys}`);
      const values = valuesOf(serverUnits(input({ profile, ...(account && { account }) })).properties);
      for (const name of ['StateDirectory', 'BindPaths', 'ExecPaths']) t.notOk(values[name], name);
      return ((values['TemporaryFileSystem']?.[1] ?? []) as string[][]).slice(2);
    };
    t.same(mountsOf(undefined, 'memory_max = "1G"'), [
      ['/var/lib/metalhub/home', 'ro,mode=0755'],
      ['/var/lib/metalhub/home/anna', `mode=0700,uid=70001,gid=70001,size=${2 ** 30}`],
    ]);
    t.same(mountsOf({ ...local, home: '/home/anna' }, 'memory_max = ""'), [
      ['/home/anna', 'mode=0700,uid=1001,gid=100,size=50%'],
    ]);
    t.same(
      mountsOf(local, 'memory_max = "1G"').map(([path]) => path),
      ['/srv/homes', '/srv/homes/anna'],
    );
  },
);

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
  const unlimited = testProfile();
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
      serverUnits(
        input({
          timeouts: {
            start_timeout_sec: 60,
            stop_timeout_sec,
            memory_ceiling_bytes: null,
            cpu_ceiling_percent: 0,
            tasks_ceiling: 16_384,
          },
        }),
      ).properties,
    );
    t.ok(textsIn(Environment?.[1] ?? []).includes(`METALHUB_STOP_SEC=${seconds}`), `${stop_timeout_sec}`);
  }
});

t.test('S06: the command is constant and nothing in it is expanded', async (t) => {
  const exec = valuesOf(serverUnits(input()).properties).ExecStartEx;
  const argv = ['/usr/bin/python3', '-I', '/usr/lib/metalhub/launcher.py'];
  t.same(exec, ['a(sasas)', [['/usr/bin/python3', argv, ['no-env-expand']]]]);
});

t.test('S06: a command of another program stays out of the unit, too', async (t) => {
  const profile = testProfile('command = ["/opt/app", "--socket={socket}", "$HOME", "%n"]');
  const { ExecStartEx } = valuesOf(serverUnits(input({ profile })).properties);
  const argv = ['/usr/bin/python3', '-I', '/usr/lib/metalhub/adapter.py'];
  t.same(ExecStartEx, ['a(sasas)', [['/usr/bin/python3', argv, ['no-env-expand']]]]);
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

t.test('what a profile sets reaches the unit, and what has to count between users their slice', async (t) => {
  const profile = testProfile(`
    memory_low = "512M"
    swap_max = "0"
    cpu_weight = 200
    io_weight = 50
    cpu_set = "0,9"
    variables = { OMP_NUM_THREADS = "4", LANG = "de_DE.UTF-8" }
    environment = "/opt/conda/envs/x"
    properties = { Nice = 5, LimitNOFILE = 4096 }
  `);
  const { properties, auxiliary } = serverUnits(input({ profile }));
  const values = valuesOf(properties);
  const shared = {
    MemoryLow: ['t', 512n << 20n],
    MemorySwapMax: ['t', 0n],
    CPUWeight: ['t', 200n],
    IOWeight: ['t', 50n],
  };
  t.match(values, {
    ...shared,
    AllowedCPUs: ['ay', Buffer.from([0b1, 0b10])],
    Nice: ['i', 5],
    LimitNOFILE: ['t', 4096n],
    ExecStartEx: ['a(sasas)', [['/opt/conda/envs/x/bin/python']]],
  });
  t.match(valuesOf(auxiliary[1]?.[1] ?? []), shared);
  const environment = textsIn(values['Environment']?.[1] ?? []);
  for (const line of ['OMP_NUM_THREADS=4', 'LANG=de_DE.UTF-8', 'HOME=/var/lib/metalhub/home/anna']) {
    t.ok(environment.includes(line), line);
  }
  t.match(environment, [/^LANG=/, /^OMP/]);
  t.ok(
    environment.some((line) => /^PATH=[^:]*\/\.local\/bin:\/opt\/conda\/envs\/x\/bin:\/usr\/local\/bin:/.test(line)),
  );
});

t.test('a profile without a value leaves the property out', async (t) => {
  const values = valuesOf(serverUnits(input({ profile: testProfile() })).properties);
  for (const name of [
    ...['CPUWeight', 'IOWeight', 'AllowedCPUs', 'IPAddressDeny', 'IPAddressAllow', 'PrivateNetwork'],
    ...['BindPaths', 'BindReadOnlyPaths', 'DeviceAllow', 'RootDirectory', 'RootImage', 'MountAPIVFS', 'Nice'],
  ]) {
    t.notOk(name in values, name);
  }
});

t.test('devices and mounts are bound in, devices into a /dev that stays private', async (t) => {
  const profile = testProfile(`
    devices = ["/dev/fuse"]
    mounts = [{ source = "/srv/data" }, { source = "/srv/work", target = "/work", write = true }]
  `);
  t.match(valuesOf(serverUnits(input({ profile })).properties), {
    PrivateDevices: ['b', true],
    DevicePolicy: ['s', 'closed'],
    DeviceAllow: ['a(ss)', [['/dev/fuse', 'rw']]],
    BindPaths: [
      'a(ssbt)',
      [
        ['/srv/work', '/work', false],
        ['/dev/fuse', '/dev/fuse', false],
      ],
    ],
    BindReadOnlyPaths: ['a(ssbt)', [['/srv/data', '/srv/data', false]]],
  });
});

t.test('rules for the network are told as families, bytes and prefixes', async (t) => {
  const profile = testProfile('ip_deny = ["any"]\nip_allow = ["192.0.2.77/24", "2001:db8::1"]');
  t.match(valuesOf(serverUnits(input({ profile })).properties), {
    IPAddressDeny: [
      'a(iayu)',
      [
        [2, Buffer.alloc(4), 0],
        [10, Buffer.alloc(16), 0],
      ],
    ],
    IPAddressAllow: [
      'a(iayu)',
      [
        [2, Buffer.from([192, 0, 2, 0]), 24],
        [10, Buffer.from('20010db8000000000000000000000001', 'hex'), 128],
      ],
    ],
  });
  t.match(valuesOf(serverUnits(input({ profile: testProfile('network = "none"') })).properties), {
    PrivateNetwork: ['b', true],
  });
});

t.test('each relaxation opens what it is named for, and nothing else', async (t) => {
  const of = (relax: string) => valuesOf(serverUnits(input({ profile: testProfile(`relax = [${relax}]`) })).properties);
  const strict = of('');
  const changed = (relax: string) =>
    Object.entries(of(relax))
      .filter(([name, value]) => JSON.stringify(value, bigText) !== JSON.stringify(strict[name], bigText))
      .map(([name]) => name)
      .sort();
  t.same(changed('"namespaces"'), ['RestrictNamespaces', 'SystemCallFilter']);
  t.same(changed('"ptrace"'), ['LockPersonality', 'SystemCallFilter']);
  t.same(changed('"realtime"'), ['RestrictRealtime']);
  t.notOk('SystemCallArchitectures' in of('"other-architectures"'));
  t.match(of('"namespaces"'), { NoNewPrivileges: ['b', true], CapabilityBoundingSet: ['t', 0n] });
});

t.test('in another root the launcher and the names of accounts are bound in', async (t) => {
  const profile = testProfile('root_directory = "/srv/root"');
  t.match(valuesOf(serverUnits(input({ profile })).properties), {
    RootDirectory: ['s', '/srv/root'],
    MountAPIVFS: ['b', true],
    BindReadOnlyPaths: [
      'a(ssbt)',
      [
        ['/usr/lib/metalhub', '/usr/lib/metalhub'],
        ['/run/userdb', '/run/userdb'],
      ],
    ],
  });
});

function bigText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
