import t from 'tap';
import { kernelsNamed, kernelsShape } from './kernel-shape.js';
import { extractOf } from './testing/profile.js';

const { kernels } = extractOf(`
  [[kernel]]
  name = "r"
  title = "R"
  command = ["/opt/R/bin/R", "-f", "{connection_file}"]
  allow = { groups = ["stat"] }
  [[kernel_root]]
  name = "own"
  path = "~/.conda/envs"
  [[kernel_root]]
  name = "conda"
  path = "/opt/conda"
  profiles = ["default"]
`);

t.test('a server is told the kernels that were named, and not who else is offered them', async (t) => {
  t.same(kernelsNamed(kernels, ['conda', 'r']), {
    static: [
      {
        name: 'r',
        title: 'R',
        environment: '',
        command: ['/opt/R/bin/R', '-f', '{connection_file}'],
        language: 'python',
        activate: '',
        logo: '',
        variables: {},
      },
    ],
    roots: [{ name: 'conda', path: '/opt/conda', title: '{kernel} ({environment})', include: ['*'], exclude: [] }],
  });
  t.equal(kernelsNamed(kernels, []), undefined, 'nothing is looked for without any');
  t.same(kernelsShape(kernels, ''), kernels, 'as it stands in the extract');
});

t.test('S03: the hub can name kernels of root\u2019s configuration only', async (t) => {
  t.throws(() => kernelsNamed(kernels, ['own', '/opt/evil']), { code: 'MH_ERR_SPAWN_KERNEL' });
});
