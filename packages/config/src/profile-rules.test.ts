import { MetalhubError } from '@metalhub/base/errors.js';
import t from 'tap';
import { parseConfig } from './load.js';
import { mergeSettings, parseCpuSet } from './profile-settings.js';

/** The error of a configuration with one profile, as `line: key`. */
function mistakeOf(text: string): string {
  try {
    parseConfig([{ file: 'x.toml', text: `[[profile]]\nname = "x"\n${text}\n` }]);
    return '';
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    return `${error.details['line']}: ${error.details['key']}`;
  }
}

t.test('a profile with everything is accepted, and its parts have no defaults of their own', async (t) => {
  const { profile } = parseConfig([
    {
      file: 'x.toml',
      text: `
        [[profile]]
        name = "gpu"
        allow = { groups = ["gpu"] }
        environment = "/opt/conda/envs/torch"
        memory_max = "16G"
        memory_low = "1G"
        swap_max = "0"
        cpu_weight = 200
        cpu_set = "0-3,6"
        io_weight = 50
        variables = { OMP_NUM_THREADS = "4" }
        devices = ["/dev/nvidia0"]
        ip_allow = ["192.0.2.0/24", "2001:db8::1"]
        ip_deny = ["any"]
        mounts = [{ source = "/srv/data" }, { source = "/srv/work", target = "/work", write = true }]
        relax = ["namespaces", "ptrace"]
        properties = { Nice = 5, LimitNOFILE = 65536 }
        [[profile.override]]
        name = "staff"
        groups = ["staff"]
        memory_max = "32G"
        [[profile.choice]]
        name = "size"
        title = "Size"
        [[profile.choice.option]]
        name = "small"
        title = "Small"
        memory_max = "2G"
      `,
    },
  ]);
  t.match(profile[0], { network: 'full', python: '/usr/bin/python3', mounts: [{ target: '', write: false }, {}] });
  t.same(profile[0]?.override, [{ name: 'staff', users: [], groups: ['staff'], roles: [], memory_max: '32G' }]);
  const [option] = profile[0]?.choice[0]?.option ?? [];
  t.same(option, { name: 'small', title: 'Small', allow: { users: [], groups: [], roles: [] }, memory_max: '2G' });
});

t.test('S03: a mistake is named by line and key, also in what lies within a profile', async (t) => {
  t.equal(mistakeOf('memory_max = "1M"'), '3: profile[0].memory_max');
  t.equal(mistakeOf('memory_low = "9999T"'), '3: profile[0].memory_low');
  t.equal(mistakeOf('cpu_set = "3-1"'), '3: profile[0].cpu_set');
  t.equal(mistakeOf('cpu_set = "a"'), '3: profile[0].cpu_set');
  t.equal(mistakeOf('cpu_weight = 10001'), '3: profile[0].cpu_weight');
  t.equal(mistakeOf('network = "lms"'), '3: profile[0].network');
  t.equal(mistakeOf('relax = ["namespaces", "root"]'), '3: profile[0].relax[1]');
  t.equal(mistakeOf('devices = ["/etc/shadow"]'), '3: profile[0].devices[0]');
  t.equal(mistakeOf('devices = ["/dev/../etc/shadow"]'), '3: profile[0].devices[0]');
  t.equal(mistakeOf('ip_deny = ["any", "192.0.2.0/33"]'), '3: profile[0].ip_deny[1]');
  t.equal(mistakeOf('properties = { User = "root" }'), '3: profile[0].properties.User');
  t.equal(mistakeOf('properties = { ExecStartPre = 1 }'), '3: profile[0].properties.ExecStartPre');
  t.equal(mistakeOf('environment = "/opt/a"\npython = "/opt/b/bin/python"'), '4: profile[0].python');
  t.equal(mistakeOf('root_directory = "/a"\nroot_image = "/b"'), '4: profile[0].root_image');
  t.equal(
    mistakeOf('[[profile.override]]\nname = "a"\nusers = ["u"]\nmemory_max = "1M"'),
    '6: profile[0].override[0].memory_max',
  );
  const choice =
    '[[profile.choice]]\nname = "size"\ntitle = "Size"\n[[profile.choice.option]]\nname = "s"\ntitle = "S"\n';
  t.equal(mistakeOf(`${choice}memory_max = "1M"`), '9: profile[0].choice[0].option[0].memory_max');
  t.equal(mistakeOf(`${choice}memory = "1G"`), '9: profile[0].choice[0].option[0].memory');
  t.equal(
    mistakeOf(`${choice}[[profile.choice.option]]\nname = "s"\ntitle = "T"`),
    '10: profile[0].choice[0].option[1].name',
  );
});

t.test('a command has a program and one place to listen', async (t) => {
  const line = (words: string) => mistakeOf(`command = [${words}]`);
  for (const words of ['"code"', '"/usr/bin/code"', '"/x", "{socket}", "{port}"', '"{socket}"', '"/{port}", "{fd}"']) {
    t.equal(line(words), '3: profile[0].command', words);
  }
  t.equal(line('"/x", "--listen=127.0.0.1:{port}", "--base={base_url}"'), '');
});

t.test('S04: variables that choose what is run, or are metalhub\u2019s own, cannot be set', async (t) => {
  const refused = ['LD_PRELOAD', 'LD_LIBRARY_PATH', 'PATH', 'HOME', 'PYTHONPATH', 'NODE_OPTIONS', 'BASH_ENV', 'IFS'];
  for (const name of [...refused, 'METALHUB_START_ID', 'NOTIFY_SOCKET', 'CREDENTIALS_DIRECTORY']) {
    t.equal(mistakeOf(`variables = { ${name} = "x" }`), `3: profile[0].variables.${name}`);
  }
  for (const name of ['1A', 'A=B', 'A\\nB', '']) t.match(mistakeOf(`variables = { "${name}" = "x" }`), /^3: /, name);
  t.equal(mistakeOf('variables = { A = "x\\ny" }'), '3: profile[0].variables.A');
  t.equal(mistakeOf('variables = { A = "x", LANG = "de_DE.UTF-8" }'), '');
});

t.test('nothing can be mounted over the system, the sandbox or metalhub', async (t) => {
  for (const target of [
    ...['/', '/etc', '/usr/', '/proc', '/run/metalhub/servers', '/var/lib/metalhub/home/anna', '/dev'],
    ...['//', '//etc', '/usr//lib/metalhub', '//run/metalhub', '/var//lib///private/', '/var/run/metalhub'],
    ...['/usr/lib', '/var', '/var/lib/', '/lib/metalhub'],
  ]) {
    t.equal(mistakeOf(`mounts = [{ source = "/srv", target = "${target}" }]`), '3: profile[0].mounts[0]', target);
  }
  t.equal(mistakeOf('mounts = [{ source = "/srv/../etc" }]'), '3: profile[0].mounts[0]');
  t.equal(mistakeOf('mounts = [{ source = "/srv/a" }, { source = "/srv/b", target = "/opt/b" }]'), '');
  for (const target of ['/var/lib/metalhub-data', '/usr/lib/python3', '/var/lib/x', '/runs', '/opt//b/']) {
    t.equal(mistakeOf(`mounts = [{ source = "/srv", target = "${target}" }]`), '', target);
  }
});

t.test('layers replace each other, but mounts and variables are added', async (t) => {
  const variables: Readonly<Record<string, string>> = { A: '1', B: '1' };
  const base = { memory_max: '1G', cpu_weight: 1, mounts: ['a'], variables };
  t.same(mergeSettings(base, { memory_max: '2G', mounts: ['b'] }, { variables: { B: '2' } }), {
    memory_max: '2G',
    cpu_weight: 1,
    mounts: ['a', 'b'],
    variables: { A: '1', B: '2' },
  });
  t.same(base.mounts, ['a']);
});

t.test('sets of processors are read as systemd reads them', async (t) => {
  t.same(parseCpuSet('0-2,5,1'), [0, 1, 2, 5]);
  t.same(parseCpuSet(''), []);
  t.equal(parseCpuSet('2-1'), undefined);
});
