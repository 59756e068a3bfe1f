import type { Key } from '@metalhub/base/names.js';
import type { ParamsOf, ResultOf } from '@metalhub/wire/protocol.js';
import { LEASES_PER_PAGE, type LeaseRow, type SpawnerAdminRequests } from '@metalhub/wire/spawner-admin.js';
import type { SpawnerContext } from '../context.js';
import { areLeasesLost, type LeaseSurvey } from '../leases.js';

/** All that was ever leased, and the homes that nothing was leased for. */
export async function answerListLeases(
  { leases, watch }: SpawnerContext,
  { offset }: ParamsOf<SpawnerAdminRequests, 'ListLeases'>,
): Promise<ResultOf<SpawnerAdminRequests, 'ListLeases'>> {
  const survey = await leases.survey();
  const rows = leaseRows(survey, new Set(watch.list().map(({ key }) => key)));
  const end = offset + LEASES_PER_PAGE;
  return {
    leases: rows.slice(offset, end),
    next: end < rows.length ? end : null,
    lost: areLeasesLost(survey.table, survey.homes ?? []),
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
