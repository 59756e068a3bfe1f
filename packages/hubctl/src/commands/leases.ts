import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { IDENTITY_PATTERN, isKey, type Key, parseIdentity } from '@metalhub/base/names.js';
import type { LeaseRow, UID_SOURCES } from '@metalhub/wire/spawner-admin.js';
import type { Command, Context } from '../command.js';
import { print } from '../command.js';
import { formatTable, formatTime, printable } from '../output.js';
import { ANSWER_TIMEOUT_MS, askSpawner, listLeases, type SpawnerAdminClient } from '../spawner-admin.js';

const STATES = { leased: 'leased', released: 'released', unleased: 'no lease' } as const;

export const leases: Command = {
  name: 'leases',
  operands: [],
  summary: 'list the uids leased to users, and homes without a lease',
  async run(context) {
    const value = await askSpawner(context.spawnerSocket, listLeases);
    const rows = value.leases.map((row) => ({
      key: row.key,
      uid: row.uid,
      login: row.identity,
      state: STATES[row.state],
      since: formatTime(row.released ?? row.since),
      home: row.home,
      running: row.running,
    }));
    print(context, value, () => {
      const table = formatTable(['key', 'uid', 'login', 'state', 'since', 'home', 'running'], rows);
      return value.lost ? `${table}\n${LOST}` : table;
    });
    return 0;
  },
};

const LOST = 'The leases are lost: no new user is let in. See ADOPTING HOMES in hubctl(1).';

export const leasesRelease: Command = {
  name: 'leases release',
  operands: ['key'],
  summary: 'free a key for another login; its uid is never given again',
  options: ['home-is-gone'],
  async run(context, [text]) {
    const key = keyOf(text);
    const params = { key, home_is_gone: context.homeIsGone };
    const value = await askSpawner(context.spawnerSocket, (spawner) =>
      spawner.call('ReleaseLease', params, { timeoutMs: ANSWER_TIMEOUT_MS }),
    );
    print(context, value, () => `released ${key}; uid ${value.uid} stays taken`);
    return 0;
  },
};

interface Adoption {
  key: Key;
  login: string | null;
  uid: number | null;
  source: (typeof UID_SOURCES)[number] | null;
  error: string | null;
}

export const leasesAdopt: Command = {
  name: 'leases adopt',
  operands: ['key'],
  isOptional: true,
  summary: 'lease uids for homes that have none: one, or all whose login is known',
  options: ['login', 'uid'],
  async run(context, [text]) {
    const key = text === undefined ? undefined : keyOf(text);
    if (key === undefined && (context.login !== undefined || context.uid !== undefined)) {
      throw usage('--login and --uid are for one home: name its key');
    }
    if (context.login !== undefined) checkLogin(context.login);
    const done = await askSpawner(context.spawnerSocket, (spawner) => adopt(context, spawner, key));
    print(context, { adopted: done }, () =>
      done.length === 0 ? 'every home has a lease' : done.map(describe).join('\n'),
    );
    return done.some(({ error }) => error !== null) ? 1 : 0;
  },
};

async function adopt(context: Context, spawner: SpawnerAdminClient, wanted: Key | undefined): Promise<Adoption[]> {
  const homes = (await listLeases(spawner)).leases.filter(({ state }) => state === 'unleased');
  const chosen = wanted === undefined ? homes : [{ key: wanted }];
  const logins = context.login === undefined ? await loginsByKey(context) : new Map<string, string>();
  const done: Adoption[] = [];
  for (const { key } of chosen as readonly Pick<LeaseRow, 'key'>[]) {
    const login = context.login ?? logins.get(key);
    if (login !== undefined) done.push(await adoptOne(spawner, key, login, context.uid));
    else
      done.push({ key, login: null, uid: null, source: null, error: `whose it is is not known: add --login pam:NAME` });
  }
  return done;
}

/** Failures of one home are told with it, and keep none of the others waiting. */
async function adoptOne(
  spawner: SpawnerAdminClient,
  key: Key,
  login: string,
  wantedUid: number | undefined,
): Promise<Adoption> {
  try {
    const params = { key, identity: parseIdentity(login), uid: wantedUid ?? null };
    const { uid, source } = await spawner.call('AdoptHome', params, { timeoutMs: ANSWER_TIMEOUT_MS });
    return { key, login, uid, source, error: null };
  } catch (error) {
    if (!(error instanceof MetalhubError) || error.code.startsWith('MH_ERR_WIRE_')) throw error;
    const hint = error.hint === undefined ? '' : `; ${error.hint}`;
    return { key, login, uid: null, source: null, error: `${error.message}${hint}` };
  }
}

const SOURCES = {
  record: 'its uid, from its account record',
  owner: 'its uid, from the owner of the home',
  given: 'as you said',
  new: 'a new uid',
} as const;

function describe({ key, login, uid, source, error }: Adoption): string {
  if (error !== null || source === null) return `${key}: ${printable(error ?? 'left')}`;
  return `${key}: leased to ${printable(login ?? '')}, uid ${uid} (${SOURCES[source]})`;
}

/** The hub knows who has which key. Without it only `--login` can say. */
async function loginsByKey(context: Context): Promise<Map<string, string>> {
  try {
    const { users } = (await context.admin.get('/admin/users')) as {
      users: { key: string; method: string; name: string }[];
    };
    return new Map(users.map(({ key, method, name }) => [key, `${method}:${name}`]));
  } catch (error) {
    context.stderr(`hubctl: the hub cannot be asked who the users are: ${printable(errorText(error))}\n`);
    return new Map();
  }
}

function keyOf(text: string | undefined): Key {
  if (isKey(text)) return text;
  throw usage(`${printable(text ?? '')} is not a key: "hubctl leases" lists them`);
}

function checkLogin(login: string): void {
  if (!IDENTITY_PATTERN.test(login)) throw usage('--login takes METHOD:NAME, as pam:anna');
}

function usage(reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_CLI_USAGE', { details: { reason }, hint: 'hubctl --help lists the commands' });
}
