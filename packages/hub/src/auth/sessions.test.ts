import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DAY_MS, HOUR_MS } from '@metalhub/base/time.js';
import t from 'tap';
import type { Database } from '../db/database.js';
import { openDatabase } from '../db/open.js';
import type { Revocation } from '../db/tables/revocations.js';
import { noteLogin, type User } from '../db/tables/users.js';
import { parseUserName } from '../names/user-name.js';
import { TestClock } from '../testing/test-hub.js';
import { Sessions } from './sessions.js';
import { steadyNow } from './steady-clock.js';

interface Fixture {
  database: Database;
  user: User;
  clock: TestClock;
  revoked: Revocation[];
  /** As after a restart: another clock base. */
  open: (base?: string) => Sessions;
  begin: (sessions: Sessions, replaces?: string) => Promise<string>;
}

async function makeFixture(test: { teardown: (end: () => Promise<void>) => void }): Promise<Fixture> {
  const directory = mkdtempSync(join(tmpdir(), 'hub-sessions-'));
  const database = await openDatabase(join(directory, 'hub.sqlite'));
  test.teardown(async () => {
    await database.close();
    rmSync(directory, { recursive: true });
  });
  const clock = new TestClock();
  const revoked: Revocation[] = [];
  const user = await database.write((transaction) =>
    noteLogin(transaction, {
      loginMethod: 'pam',
      name: parseUserName('anna'),
      isAdmin: false,
      nowMs: clock.nowMs(),
      foreignKeys: new Set(),
    }),
  );
  const open = (base = ''): Sessions =>
    new Sessions({
      database,
      wallNowMs: () => clock.nowMs(),
      steadyNowMs: steadyNow(clock),
      lifetimeSec: () => 14 * 86_400,
      base: () => base,
      onRevoked: (gone) => revoked.push(...gone),
    });
  const begin = async (sessions: Sessions, replaces?: string): Promise<string> => {
    const begun = await database.write((transaction) =>
      sessions.begin(transaction, user, { address: '192.0.2.1', replaces }),
    );
    begun.commit();
    return begun.cookie;
  };
  return { database, user, clock, revoked, open, begin };
}

t.test('a cookie finds its session until it expires', async (t) => {
  const { clock, open, begin } = await makeFixture(t);
  const sessions = open();
  const cookie = await begin(sessions);
  t.match(await sessions.find(cookie), { user: { name: 'anna' }, session: { address: '192.0.2.1' } });
  clock.pass(14 * DAY_MS - 1);
  t.ok(await sessions.find(cookie));
  clock.pass(1);
  t.notOk(await sessions.find(cookie));
});

t.test('H07: the database holds no cookie', async (t) => {
  const { database, open, begin } = await makeFixture(t);
  const cookie = await begin(open());
  const [, secret = ''] = cookie.split('.');
  const [row] = await database.all('SELECT * FROM sessions');
  t.notMatch(JSON.stringify(row), secret);
  t.same(row?.['secret_hash'], createHash('sha256').update(Buffer.from(secret, 'base64url')).digest());
  t.equal(Buffer.from(secret, 'base64url').length, 32);
});

t.test('malformed, unknown and changed cookies find nothing', async (t) => {
  const { open, begin } = await makeFixture(t);
  const sessions = open();
  const cookie = await begin(sessions);
  const [id = '', secret = ''] = cookie.split('.');
  const other = secret.startsWith('A') ? `B${secret.slice(1)}` : `A${secret.slice(1)}`;
  for (const value of [
    undefined,
    '',
    id,
    `${id}.`,
    `${id}.${other}`,
    `${'0'.repeat(32)}.${secret}`,
    `${cookie}x`,
    `${id.toUpperCase()}.${secret}`,
    "' OR 1=1 --",
  ]) {
    t.equal(await sessions.find(value), undefined, String(value).slice(0, 20));
  }
});

t.test('R08: a jump of the clock ends no session and revives none', async (t) => {
  const { clock, open, begin } = await makeFixture(t);
  const sessions = open();
  const cookie = await begin(sessions);
  clock.pass(13.5 * DAY_MS);
  clock.wallMs += DAY_MS;
  t.ok(await sessions.find(cookie), 'a day forth, half a day before its end');
  await sessions.deleteExpired();
  clock.wallMs -= 2 * DAY_MS;
  t.ok(await sessions.find(cookie), 'a day back');
  clock.pass(DAY_MS);
  t.notOk(await sessions.find(cookie), 'its time is over');
  clock.wallMs -= 3 * DAY_MS;
  t.notOk(await sessions.find(cookie));
  t.notOk(await open().find(cookie), 'not even after a restart with the clock set back');
});

t.test('R08: a restart with a clock that is a day ahead deletes nothing', async (t) => {
  const { clock, open, begin } = await makeFixture(t);
  const cookie = await begin(open());
  clock.pass(13.5 * DAY_MS);
  clock.wallMs += DAY_MS;
  const wrong = open();
  await wrong.deleteExpired();
  clock.wallMs -= DAY_MS;
  t.ok(await open().find(cookie));
});

t.test('R09: a machine that boots without the right time keeps the logins made after it came', async (t) => {
  const { clock, open, begin } = await makeFixture(t);
  clock.wallMs = 1000;
  const sessions = open();
  clock.wallMs = Date.UTC(2026, 10, 22);
  const cookie = await begin(sessions);
  t.ok(await sessions.find(cookie));
  t.ok(await open().find(cookie), 'also after a restart');
  clock.pass(14 * DAY_MS);
  t.notOk(await sessions.find(cookie));
});

t.test('a login ends the session that the browser had, and the oldest of too many', async (t) => {
  const { clock, revoked, open, begin } = await makeFixture(t);
  const sessions = open();
  const first = await begin(sessions);
  const second = await begin(sessions, first.split('.')[0]);
  t.not(first.split('.')[0], second.split('.')[0], 'never the same id again');
  t.notOk(await sessions.find(first));
  t.same(
    revoked.map(({ sessionId }) => sessionId),
    [first.split('.')[0]],
  );
  for (let count = 0; count < 64; count++) {
    clock.pass(1);
    await begin(sessions);
  }
  t.notOk(await sessions.find(second));
  t.equal(revoked.at(-1)?.sessionId, second.split('.')[0]);
});

t.test('ending a session revokes its tickets for longer than one could live', async (t) => {
  const { clock, database, revoked, open, begin } = await makeFixture(t);
  const sessions = open();
  const cookie = await begin(sessions);
  const login = await sessions.find(cookie);
  if (login === undefined) throw new Error('no session');
  await sessions.end(login);
  t.notOk(await sessions.find(cookie));
  t.same(revoked, [{ sessionId: login.session.id, untilMs: clock.nowMs() + 36 * HOUR_MS }]);
  t.equal((await database.all('SELECT * FROM revocations')).length, 1, 'kept for a proxy that is away');
});

t.test('a logout also ends what began before the path of public_url changed, and only that', async (t) => {
  const { database, revoked, open, begin } = await makeFixture(t);
  const before = open();
  const old = await begin(before);
  const after = open('/jupyter');
  const phone = await begin(after);
  const desk = await begin(after);
  t.ok(await after.find(old), 'until then it goes on, with what is open in the servers of that time');
  const login = await after.find(desk);
  if (login === undefined) throw new Error('no session');
  await after.end(login);
  t.notOk(await after.find(desk));
  t.notOk(await after.find(old));
  t.ok(await after.find(phone), 'another browser stays logged in');
  const ids = [desk, old].map((cookie) => cookie.split('.')[0]);
  t.same(
    revoked.map(({ sessionId }) => sessionId),
    ids,
  );
  t.equal((await database.all('SELECT * FROM revocations')).length, 2);
});

t.test('R07: a read-only database keeps nobody out who is logged in', async (t) => {
  const { clock, database, open, begin } = await makeFixture(t);
  const sessions = open();
  const cookie = await begin(sessions);
  await database.execute('PRAGMA query_only = ON');
  clock.pass(DAY_MS);
  t.ok(await sessions.find(cookie));
  await t.rejects(begin(sessions), { code: 'MH_ERR_HUB_DATABASE', message: /read-only/ });
  await database.execute('PRAGMA query_only = OFF');
  t.ok(await begin(sessions));
});
