import { randomInt } from 'node:crypto';
import { MetalhubError } from '@metalhub/base/errors.js';
import { parseIdentity, parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import {
  addLease,
  findLease,
  formatLeases,
  freeUids,
  type Lease,
  NO_LEASES,
  parseLeases,
  releaseLease,
} from './lease-table.js';

function lease(key: string, uid: number, identity = `pam:${key}`): Lease {
  return { key: parseKey(key), uid, identity: parseIdentity(identity), since: '2026-01-01T00:00:00.000Z' };
}

t.test('a table survives being written and read, with any identity', async (t) => {
  const table = [lease('anna', 70_000, 'pam:Ånna "the 1st" \\ 名前'), lease('u2abc', 70_001)].reduce(
    addLease,
    NO_LEASES,
  );
  t.same(parseLeases(formatLeases(table)), table);
  const released = releaseLease(table, lease('u2abc', 70_001), '2026-02-01T00:00:00.000Z');
  t.same(parseLeases(formatLeases(released)), released);
  t.same([...released.byKey.keys()], ['anna']);
  t.ok(released.uids.has(70_001), 'the uid stays taken');
});

t.test('whatever is done to the file, it is read as it was written or not at all', async (t) => {
  const table = [lease('anna', 70_000), lease('bob', 70_001), lease('cleo', 70_002)].reduce(addLease, NO_LEASES);
  const content = formatLeases(table);
  for (let length = 0; length < content.trimEnd().length; length++) {
    t.throws(() => parseLeases(content.slice(0, length)), { code: 'MH_ERR_SPAWN_LEASES' }, `cut at ${length}`);
  }
  const damages = [
    content.replace('"version": 1', '"version": 2'),
    content.replace('"bob"', '"anna"'),
    content.replace('70001', '70000'),
    content.replace('70001', '0'),
    content.replace('"bob"', '"root me"'),
    content.replace('"identity"', '"identify"'),
    '[]',
    'null',
    '\0'.repeat(content.length),
  ];
  for (const damaged of damages) t.throws(() => parseLeases(damaged), { code: 'MH_ERR_SPAWN_LEASES' });
});

t.test('a damaged file is named with the place, and nothing of it is repeated', async (t) => {
  const secret = 'pam:secret name';
  const content = formatLeases(
    [lease('anna', 70_000, secret), lease('bob', 70_001, secret)].reduce(addLease, NO_LEASES),
  );
  const damages: [string, string][] = [
    [content.replace('"uid": 70001', '"uid": 70001 70002'), '/x: line 12, column 17: it is not JSON'],
    [content.replace('"key": "bob"', 'key: "bob"'), '/x: line 11, column 4: it is not JSON'],
    [content.replaceAll(secret, '\\x'), '/x: line 7, column 18: it is not JSON'],
    [content.slice(0, 40), '/x: line 5, column 7: it ends too early'],
    ['', '/x: line 1, column 1: it ends too early'],
    [content.replace('70001', '1'), '/x: leases[1].uid: expected a whole number from 1000 to 4294967293'],
    [content.replace('70001', '70000'), '/x: uid 70000 is in it twice'],
  ];
  for (const [damaged, reason] of damages) {
    try {
      parseLeases(damaged, '/x');
      t.fail(`read: ${reason}`);
    } catch (error) {
      t.match(error, { code: 'MH_ERR_SPAWN_LEASES', details: { file: '/x', reason }, hint: /backup/ });
      t.notMatch(`${error}${JSON.stringify(error)}`, 'secret');
    }
  }
  const table = releaseLease(parseLeases(content), lease('bob', 70_001), '2026-02-01T00:00:00.000Z');
  const reused = formatLeases(addLease(table, lease('cleo', 70_001)));
  t.throws(() => parseLeases(reused), { message: /uid 70001 is in it twice/ }, 'a released uid given again');
});

t.test('a key is found for the identity it was leased to, and refused to any other', async (t) => {
  const table = addLease(NO_LEASES, lease('anna', 70_000));
  t.equal(findLease(table, parseKey('anna'), parseIdentity('pam:anna'))?.uid, 70_000);
  t.equal(findLease(table, parseKey('bob'), parseIdentity('pam:bob')), undefined);
  for (const identity of ['oidc:anna', 'pam:Anna', 'pam:anna ', 'pam:ann']) {
    t.throws(() => findLease(table, parseKey('anna'), parseIdentity(identity)), { code: 'MH_ERR_SPAWN_IDENTITY' });
  }
});

t.test('no uid is ever leased twice or outside the range, however the range moves', async (t) => {
  for (let round = 0; round < 200; round++) {
    let table = NO_LEASES;
    let count = 0;
    for (let change = 0; change < 4; change++) {
      const min = 1000 + randomInt(60);
      const range = { min, max: min + randomInt(30) };
      for (let index = 0; index < randomInt(40); index++) {
        const uid = freeUids(table, range).next().value;
        if (uid === undefined) {
          for (let taken = range.min; taken <= range.max; taken++) t.ok(table.uids.has(taken));
          break;
        }
        if (table.uids.has(uid) || uid < range.min || uid > range.max) t.fail(`uid ${uid} in ${JSON.stringify(range)}`);
        table = addLease(table, lease(`k${count++}`, uid));
      }
    }
    t.equal(table.uids.size, table.byKey.size);
  }
});

t.test('uids are given in ascending order, gaps only when the end of the range is reached', async (t) => {
  const table = [lease('a', 70_003), lease('b', 70_001)].reduce(addLease, NO_LEASES);
  t.same([...freeUids(table, { min: 70_000, max: 70_005 })], [70_004, 70_005, 70_000, 70_002]);
  t.same([...freeUids(table, { min: 80_000, max: 80_001 })], [80_000, 80_001]);
});

t.test('the error says what to do and repeats nothing of the identity', async (t) => {
  const table = addLease(NO_LEASES, lease('anna', 70_000, 'pam:secret name'));
  try {
    findLease(table, parseKey('anna'), parseIdentity('oidc:anna'));
    t.fail('it was found');
  } catch (error) {
    t.ok(error instanceof MetalhubError && error.hint !== undefined);
    t.notMatch(JSON.stringify(error), 'secret name');
  }
});
