import { parseIdentity, parseKey, parseServerName } from '@metalhub/base/names.js';
import { absentStatus } from '@metalhub/wire/spawner.js';
import t from 'tap';
import type { Lease } from './lease-table.js';
import { isOfOther } from './server-owner.js';
import type { ServerUnit } from './server-units.js';

const key = parseKey('anna');
const lease: Lease = { key, uid: 70_001, identity: parseIdentity('pam:anna.smith'), since: '2026' };
const dynamic: ServerUnit = {
  ownership: 'ours',
  status: absentStatus({ key, server: parseServerName('') }),
  ...{ mainPid: 812, account: 'jupyter-anna', isLocal: false, uid: 70_001 },
  controlGroup: '/x',
  environment: new Map(),
};
const made: ServerUnit = { ...dynamic, isLocal: true };

t.test('a server of the key\u2019s account, or of the account of the login, is its user\u2019s', async (t) => {
  for (const unit of [dynamic, made, { ...made, account: 'anna.smith', uid: 1001 }])
    t.notOk(isOfOther(unit, lease), unit.account);
});

t.test('one that runs as the uid of a lease that was lost is shown to nobody', async (t) => {
  for (const unit of [dynamic, made]) {
    t.ok(isOfOther({ ...unit, uid: 70_002 }, lease));
    t.notOk(isOfOther({ ...unit, uid: 70_002, mainPid: 0 }, lease), 'none runs: it can be started anew');
    t.notOk(isOfOther({ ...unit, uid: 0xffff_ffff }, lease), 'systemd does not know yet');
  }
});

t.test('one of another account of the machine is another\u2019s', async (t) => {
  for (const account of ['bob', 'jupyter-bob']) t.ok(isOfOther({ ...made, account }, lease), account);
  t.notOk(isOfOther({ ...made, ownership: 'absent', account: '' }, lease));
});
