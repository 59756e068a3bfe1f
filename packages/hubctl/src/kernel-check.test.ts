import { chmodSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '@metalhub/config/load.js';
import { keyText } from '@metalhub/config/positions.js';
import t from 'tap';
import { checkKernels, findUnsafe } from './kernel-check.js';

async function findingsOf(text: string): Promise<string[]> {
  const unsafe = (path: string): string | undefined => (path.includes('open') ? `${path} is open` : undefined);
  const found = await checkKernels(parseConfig([{ file: 'x.toml', text }]), {
    exists: (path) => !path.includes('missing'),
    hasGroup: async (name) => name === 'staff',
    findUnsafe: unsafe,
  });
  return found.map(({ path, reason }) => `${keyText(path)}: ${reason}`);
}

t.test('kernels that fit the machine, or are of each user, are not spoken of', async (t) => {
  const kernel = '[[kernel]]\nname = "k"\ntitle = "K"\nenvironment = "/opt/x"\nlogo = "/opt/x.svg"\n';
  t.same(
    await findingsOf(`${kernel}allow = { groups = ["staff"] }\n[[kernel_root]]\nname = "r"\npath = "~/missing"`),
    [],
  );
});

t.test('what is missing, hidden or open to others is told', async (t) => {
  const kernel =
    '[[kernel]]\nname = "k"\ntitle = "K"\ncommand = ["/missing/R", "{connection_file}"]\nlogo = "/tmp/x.svg"\n';
  const roots = ['/missing', '/home/bob/envs', '/open'].map(
    (path, at) => `[[kernel_root]]\nname = "r${at}"\npath = "${path}"`,
  );
  t.same(await findingsOf(`${kernel}${roots.join('\n')}\nallow = { groups = ["stuff"] }`), [
    'kernel_root[2].allow.groups[0]: there is no group stuff',
    'kernel[0].command[0]: /missing/R does not exist',
    'kernel[0].logo: servers do not see /tmp/x.svg, unless a profile mounts it there',
    'kernel_root[0].path: /missing does not exist',
    'kernel_root[1].path: servers do not see /home/bob/envs, unless a profile mounts it there',
    'kernel_root[2].path: no kernels are offered: /open is open',
  ]);
});

t.test(
  'a place that others can write to, or above it, is found also behind a link',
  { skip: process.getuid?.() !== 0 },
  async (t) => {
    const place = join(t.testdir(), 'a', 'b');
    mkdirSync(place, { recursive: true });
    const link = join(t.testdirName, 'link');
    symlinkSync(place, link);
    t.equal(findUnsafe('/usr'), undefined);
    const before = findUnsafe(link);
    chmodSync(place, 0o1777);
    t.equal(findUnsafe(link), `${place} can be written by others than root`, `before: ${before}`);
    const open = join(t.testdirName, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    symlinkSync('/usr', join(open, 'usr'));
    t.equal(findUnsafe(join(open, 'usr')), `${open} can be written by others than root`, 'who can replace the link');
  },
);
