import { parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { extractOf, testProfile } from './testing/profile.js';
import { profileUnits, renderUnit } from './unit-file.js';
import { dynamicAccount } from './user-account.js';
import { userUnitProperties } from './user-unit.js';

function linesOf(keys: string): string[] {
  const key = parseKey('anna');
  const input = { key, account: dynamicAccount(key, 70_001), profile: testProfile(keys) };
  return renderUnit(userUnitProperties(input)).split('\n');
}

t.test('the sandbox of a profile is written as a unit file has it', async (t) => {
  const lines = linesOf(
    'network = "none"\ndevices = ["/dev/fuse"]\nip_deny = ["any"]\nip_allow = ["192.0.2.0/24", "::1"]',
  );
  t.same(lines.slice(0, 2), ['[Service]', 'ExecStart=/bin/true']);
  for (const line of [
    ...['DynamicUser=yes', 'PrivateNetwork=yes', 'RestrictNamespaces=yes', 'CapabilityBoundingSet=', 'UMask=077'],
    ...['SystemCallFilter=@system-service @sandbox', 'DeviceAllow=/dev/fuse rw', 'ProtectSystem=strict'],
    ...['IPAddressDeny=0.0.0.0/0', 'IPAddressDeny=0000:0000:0000:0000:0000:0000:0000:0000/0'],
    ...['IPAddressAllow=192.0.2.0/24', 'IPAddressAllow=0000:0000:0000:0000:0000:0000:0000:0001/128'],
  ]) {
    t.ok(lines.includes(line), line);
  }
  t.ok(linesOf('relax = ["namespaces"]').includes('RestrictNamespaces=no'));
  t.notOk(
    lines.some((line) => /MemoryMax|BindPaths|TemporaryFileSystem/.test(line)),
    'what is not judged is left out',
  );
});

t.test('overrides and options are judged, too, where their sandbox is another than the profile\u2019s', async (t) => {
  const { profile } = extractOf(`
    [[profile]]
    name = "plain"
    relax = ["realtime"]
    [[profile.override]]
    name = "debuggers"
    groups = ["debuggers"]
    relax = ["namespaces", "ptrace"]
    [[profile.override]]
    name = "rich"
    groups = ["rich"]
    memory_max = "8G"
    [[profile.choice]]
    name = "net"
    title = "Network"
    [[profile.choice.option]]
    name = "off"
    title = "Off"
    network = "none"`);
  const units = profileUnits(profile);
  t.same(Object.keys(units), ['plain', 'plain/debuggers', 'plain/net/off']);
  t.match(units['plain'], /RestrictNamespaces=yes/);
  t.match(units['plain/debuggers'], /RestrictNamespaces=no/);
  t.match(units['plain/net/off'], /PrivateNetwork=yes/);
  t.notMatch(units['plain'], /PrivateNetwork/);
});
