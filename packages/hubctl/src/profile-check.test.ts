import { parseConfig } from '@metalhub/config/load.js';
import { keyText } from '@metalhub/config/positions.js';
import t from 'tap';
import { checkProfiles, type ProfileMachine } from './profile-check.js';

const machine: ProfileMachine = {
  memoryBytes: 8 * 2 ** 30,
  processors: 4,
  exists: (path) => !path.includes('missing'),
  isDevice: (path) => path.startsWith('/dev/'),
  hasGroup: async (name) => name === 'staff',
};

/** What is found, as `key: reason`, problems with a mark. */
async function findingsOf(keys: string): Promise<string[]> {
  const config = parseConfig([{ file: 'x.toml', text: `[[profile]]\nname = "x"\n${keys}` }]);
  const found = await checkProfiles(config, machine);
  return found.map(({ isProblem, path, reason }) => `${isProblem ? '! ' : ''}${keyText(path)}: ${reason}`);
}

t.test('a profile that fits the machine is not spoken of', async (t) => {
  t.same(await findingsOf('memory_max = "8G"\ncpu_set = "0-3"\nallow = { groups = ["staff"] }'), []);
});

t.test('paths that are missing are problems, wherever they stand', async (t) => {
  t.same(await findingsOf('python = "/missing/python"'), ['! profile[0].python: /missing/python does not exist']);
  t.same(await findingsOf('environment = "/missing/"'), [
    '! profile[0].environment: /missing/bin/python does not exist',
  ]);
  t.same(await findingsOf('command = ["/missing", "{socket}"]'), ['! profile[0].command[0]: /missing does not exist']);
  t.same(await findingsOf('mounts = [{ source = "/srv" }, { source = "/missing" }]'), [
    '! profile[0].mounts[1]: /missing does not exist',
  ]);
  t.same(await findingsOf('devices = ["/dev/null", "/dev/missing"]'), [
    '! profile[0].devices[1]: /dev/missing does not exist',
  ]);
  t.same(await findingsOf('python = "/missing"\nroot_directory = "/srv/root"'), [], 'there it may well be');
  const override = '[[profile.override]]\nname = "o"\nroot_image = "/missing"\n';
  t.same(await findingsOf(override), ['! profile[0].override[0].root_image: /missing does not exist']);
  const choice = '[[profile.choice]]\nname = "e"\ntitle = "E"\n[[profile.choice.option]]\nname = "a"\ntitle = "A"\n';
  t.same(await findingsOf(`${choice}environment = "/missing"`), [
    '! profile[0].choice[0].option[0].environment: /missing/bin/python does not exist',
  ]);
  const program = 'command = ["/missing", "{socket}"]';
  t.same(await findingsOf(`${choice}${program}\nroot_image = "/srv/root.raw"`), []);
  t.same(await findingsOf(`root_directory = "/srv/root"\n${choice}${program}\nroot_directory = ""`), [
    '! profile[0].choice[0].option[0].command[0]: /missing does not exist',
  ]);
});

t.test('limits above the machine, groups that nobody has and open ports are warnings', async (t) => {
  t.same(await findingsOf('memory_max = "9G"\ncpu_quota_percent = 401'), [
    'profile[0].memory_max: 9G is more than the machine has (8192M)',
    'profile[0].cpu_quota_percent: 401 is more than the 4 processors of the machine have',
  ]);
  t.same(await findingsOf('cpu_set = "2-4"'), ['! profile[0].cpu_set: the machine has no processor 4']);
  t.same(await findingsOf('allow = { groups = ["staff", "stuff"] }'), [
    'profile[0].allow.groups[1]: there is no group stuff',
  ]);
  const port = 'command = ["/usr/bin/app", "{port}"]';
  t.same(await findingsOf(port), ['profile[0].command: every account of the machine can reach {port}']);
  t.same(await findingsOf(`${port}\nnetwork = "none"`), []);
});
