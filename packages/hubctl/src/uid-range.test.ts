import t from 'tap';
import { findRangeProblems, type RangeFiles } from './uid-range.js';

const NOTHING: RangeFiles = { passwd: '', group: '', subuid: '', subgid: '', loginDefs: '' };
const shipped = { uid_min: 70_000, uid_max: 99_999 };

function problems(accounts: { uid_min: number; uid_max: number }, files: Partial<RangeFiles> = {}): string[] {
  const found = findRangeProblems(accounts, { ...NOTHING, ...files });
  for (const { fix } of found) t.match(fix, /metalhub\.toml/, 'each with what to do');
  return found.map(({ state, text }) => `${state}: ${text}`);
}

t.test('the range as shipped meets nothing of a fresh Debian', async (t) => {
  const files = {
    passwd:
      'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\nanna:x:1000:1000::/home/anna:/bin/bash\n',
    group: 'root:x:0:\nnogroup:x:65534:\n',
    subuid: 'anna:100000:65536\n',
    subgid: 'anna:100000:65536\n',
    loginDefs: '# comment\nUID_MIN\t\t\t 1000\nUID_MAX\t\t\t60000\n#SUB_UID_MIN 70000\nSUB_UID_MIN 100000\n',
  };
  t.same(problems(shipped, files), []);
});

t.test('subordinate ids, whose owners could act as users, are named with who has them', async (t) => {
  t.same(problems(shipped, { subuid: 'anna:65536:65536\nbob:99999:1\ncarl:100000:65536\n' }), [
    'failed: /etc/subuid gives 65536-131071 of anna, 99999-99999 of bob: they can act as users with these numbers',
  ]);
  t.same(problems(shipped, { subgid: '1000:69999:2\n' }), [
    'failed: /etc/subgid gives 69999-70000 of 1000: they can act as users with these numbers',
  ]);
  t.same(problems(shipped, { subuid: 'anna:69999:1\nbob:100000:1\nbroken\nx:y:z\nnone:70000:0\n# c:70000:5\n' }), []);
});

t.test('accounts and groups in the range are passed over, and told', async (t) => {
  const passwd = Array.from({ length: 5 }, (_, index) => `u${index}:x:${70_010 + index}:100::/:/bin/sh`).join('\n');
  t.same(problems(shipped, { passwd, group: 'staff:x:99999:\nother:x:100000:\n' }), [
    'warning: accounts of the machine lie in it, and are passed over: u0 (70010), u1 (70011), u2 (70012) and 2 more',
    'warning: groups of the machine lie in it, and are passed over: staff (99999)',
  ]);
});

t.test('ranges of systemd’s own are refused, those of its containers warned of', async (t) => {
  t.match(problems({ uid_min: 61_000, uid_max: 61_184 }), [/^failed: 61184-65519 is for dynamic users of systemd$/]);
  t.match(problems({ uid_min: 65_535, uid_max: 70_000 }), [/^failed: 65534-65535/]);
  const loginDefs = 'SUB_UID_MIN 100000\nSUB_UID_MAX 200000\nSUB_GID_MAX 200000\n';
  t.match(problems({ uid_min: 524_288, uid_max: 600_000 }, { loginDefs }), [/^warning: 524288-1879048191/]);
  t.match(problems({ uid_min: 2_200_000_000, uid_max: 2_200_000_001 }), [/^failed: .*negative/]);
});

t.test('so are numbers that the machine gives out by itself, as login.defs says or by default', async (t) => {
  t.match(problems({ uid_min: 50_000, uid_max: 60_000 }), [/new accounts .*1000-60000/, /new groups .*1000-60000/]);
  t.match(problems({ uid_min: 90_000, uid_max: 100_000 }), [/subordinate uids/, /subordinate gids/]);
  const loginDefs = 'UID_MAX 80000\nGID_MAX 60000\n';
  t.match(problems(shipped, { loginDefs }), [/^failed: new accounts of the machine get numbers of 1000-80000/]);
});
