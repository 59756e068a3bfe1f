import { MetalhubError } from '@metalhub/base/errors.js';
import t from 'tap';
import { kernelsOf } from './kernel-access.js';
import { parseConfig } from './load.js';
import { asksForGroups, profilesOf } from './profile-access.js';
import type { Config } from './schema.js';

const parse = (text: string): Config => parseConfig([{ file: 'x.toml', text }]);

/** The error of a configuration, as `key: reason`. */
function mistakeOf(text: string): string {
  try {
    parse(text);
    return '';
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    return `${error.details['key']}: ${error.details['reason'] ?? error.code}`;
  }
}

const kernelWith = (keys: string): string => mistakeOf(`[[kernel]]\nname = "k"\ntitle = "K"\n${keys}`);
const rootWith = (keys: string): string => mistakeOf(`[[kernel_root]]\nname = "r"\npath = "/opt/conda"\n${keys}`);

t.test('kernels have an environment or a command that is told where to connect', async (t) => {
  t.equal(kernelWith('environment = "/opt/x"'), '');
  t.equal(kernelWith('environment = "~/x"\nactivate = "/opt/x.sh"\nlogo = "/opt/x.svg"'), '');
  t.equal(kernelWith('command = ["/opt/R", "{connection_file}"]\nvariables = { A = "b" }'), '');
  t.equal(kernelWith(''), 'kernel[0]: needs environment, command or both');
  t.match(
    kernelWith('command = ["R", "{connection_file}"]'),
    /^kernel\[0\]\.command: must begin with the absolute path/,
  );
  t.match(kernelWith('command = ["/opt/R"]'), /^kernel\[0\]\.command: must have \{connection_file\}/);
  t.match(kernelWith('environment = "x"'), /^kernel\[0\]\.environment: /);
  t.match(kernelWith('environment = "/x\\n"'), /^kernel\[0\]\.environment: /);
  t.match(kernelWith('environment = "/x"\nvariables = { "A=B" = "c" }'), /^kernel\[0\]\.variables\.A=B: /);
  t.match(kernelWith('envronment = "/x"'), /^kernel\[0\]\.envronment: MH_ERR_CONFIG_UNKNOWN_KEY/);
});

t.test('roots are absolute or below the home, and their title has known words', async (t) => {
  t.equal(rootWith('title = "{language} in {environment}: {kernel}"'), '');
  t.match(rootWith('title = "{env}"'), /^kernel_root\[0\]\.title: has \{env\}/);
  t.match(mistakeOf('[[kernel_root]]\nname = "r"\npath = "opt"'), /^kernel_root\[0\]\.path: /);
  t.match(mistakeOf('[[kernel_root]]\nname = "r"'), 'kernel_root[0].path: is missing');
});

t.test('names are unique among both, and profiles are there', async (t) => {
  const kernel = '[[kernel]]\nname = "r"\ntitle = "K"\nenvironment = "/x"\n';
  t.equal(rootWith(kernel), 'kernel_root[0].name: "r" is used twice');
  t.equal(rootWith('profiles = ["default", "gpu"]'), 'kernel_root[0].profiles[1]: there is no profile "gpu"');
});

t.test('kernels are offered by user, group and profile', async (t) => {
  const config = parse(`
    [[profile]]
    name = "lab"
    [[profile]]
    name = "course"
    [[kernel_root]]
    name = "conda"
    path = "/opt/conda"
    [[kernel_root]]
    name = "teaching"
    path = "/opt/teaching"
    allow = { users = ["bob"], groups = ["staff"] }
    [[kernel]]
    name = "matlab"
    title = "Matlab"
    environment = "/opt/matlab"
    profiles = ["course"]
  `);
  t.same(kernelsOf(config, { name: 'anna', groups: ['users'] }, 'lab'), ['conda']);
  t.same(kernelsOf(config, { name: 'anna', groups: ['staff'] }, 'lab'), ['conda', 'teaching']);
  t.same(kernelsOf(config, { name: 'bob', groups: [] }, 'course'), ['matlab', 'conda', 'teaching']);
  t.equal(asksForGroups(config), true);
});

t.test('roles are those of hub.admins as it stands', async (t) => {
  const config = parse(`
    [hub]
    admins = { users = ["anna"], groups = ["wheel"] }
    [[profile]]
    name = "everybody"
    allow = { roles = ["user"] }
    [[profile.override]]
    name = "large"
    roles = ["admin"]
    [[profile]]
    name = "maintenance"
    allow = { users = ["cleo"], roles = ["admin"] }
  `);
  const offered = (name: string, groups: string[] = []) =>
    profilesOf(config, { name, groups }).map((profile) => [profile.name, profile.override]);
  const everything = [
    ['everybody', 'large'],
    ['maintenance', undefined],
  ];
  t.same(offered('anna'), everything);
  t.same(offered('bob', ['wheel']), everything);
  t.same(offered('bob', ['users']), [['everybody', undefined]]);
  t.same(offered('cleo'), [
    ['everybody', undefined],
    ['maintenance', undefined],
  ]);
  t.equal(asksForGroups(config), true, 'who is an administrator may depend on them');
  t.match(mistakeOf('[[profile]]\nname = "x"\nallow = { roles = ["root"] }'), /^profile\[0\]\.allow\.roles\[0\]: /);
  t.match(mistakeOf('[hub]\nadmins = { roles = ["admin"] }'), /^hub\.admins\.roles: MH_ERR_CONFIG_UNKNOWN_KEY/);
});
