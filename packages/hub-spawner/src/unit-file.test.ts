import { parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { testProfile } from './testing/profile.js';
import { renderUnit } from './unit-file.js';
import { userUnitProperties } from './user-unit.js';

function linesOf(keys: string): string[] {
  const input = { key: parseKey('anna'), uid: 70_001, profile: testProfile(keys) };
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
