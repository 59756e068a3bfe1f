import type { Key } from '@metalhub/base/names.js';
import type { ParamsOf, ResultOf } from '@metalhub/wire/protocol.js';
import { LEASES_PER_PAGE, type LeaseRow, type SpawnerAdminRequests } from '@metalhub/wire/spawner-admin.js';
import type { SpawnerContext } from '../context.js';
import { areLeasesLost, type LeaseSurvey } from '../leases.js';

type Params = ParamsOf<SpawnerAdminRequests, 'ListLeases'>;
type Result = ResultOf<SpawnerAdminRequests, 'ListLeases'>;

interface Sources {
  readonly leases: Pick<SpawnerContext['leases'], 'survey'>;
  readonly watch: Pick<SpawnerContext['watch'], 'list'>;
}

/**
 * Lists all that was ever leased, and the homes that nothing was leased for, to one connection. Its first page looks at
 * everything, in the queue in which starts wait; the others are of the same list.
 */
export function createLeaseLister({ leases, watch }: Sources): (params: Params) => Promise<Result> {
  let kept: { rows: readonly LeaseRow[]; lost: boolean } | undefined;

  async function look(): Promise<NonNullable<typeof kept>> {
    const survey = await leases.survey();
    const rows = leaseRows(survey, new Set(watch.list().map(({ key }) => key)));
    return { rows, lost: areLeasesLost(survey.table, survey.homes ?? []) };
  }

  return async ({ offset }) => {
    const { rows, lost } = offset === 0 || kept === undefined ? await look() : kept;
    const end = offset + LEASES_PER_PAGE;
    const next = end < rows.length ? end : null;
    kept = next === null ? undefined : { rows, lost };
    return { leases: rows.slice(offset, end), next, lost };
  };
}

/** Pure core: by uid, then what has none by key. */
export function leaseRows({ table, homes = [] }: LeaseSurvey, running: ReadonlySet<Key>): LeaseRow[] {
  const withHome = new Set(homes.map(({ key }) => key));
  const presence = (key: Key) => ({ home: withHome.has(key), running: running.has(key) });
  const leased = [...table.byKey.values()].map(
    (lease): LeaseRow => ({ ...lease, state: 'leased', released: null, ...presence(lease.key) }),
  );
  // What the key has now belongs to whom it is leased to now.
  const released = table.released.map(
    (lease): LeaseRow => ({ ...lease, state: 'released', home: false, running: false }),
  );
  const unleased = homes
    .filter(({ key, isUsed }) => isUsed && !table.byKey.has(key))
    .map(({ key }): LeaseRow => {
      return { key, state: 'unleased', uid: null, identity: null, since: null, released: null, ...presence(key) };
    });
  return [
    ...[...leased, ...released].sort((a, b) => (a.uid ?? 0) - (b.uid ?? 0)),
    ...unleased.sort((a, b) => (a.key < b.key ? -1 : 1)),
  ];
}
