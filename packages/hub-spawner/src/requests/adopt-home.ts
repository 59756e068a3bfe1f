import { privateHomePath } from '@metalhub/base/names.js';
import type { ParamsOf, ResultOf } from '@metalhub/wire/protocol.js';
import type { SpawnerAdminRequests } from '@metalhub/wire/spawner-admin.js';
import { chooseUid, findRecordUid, refusal, requireOwnUid, type UidSource } from '../adoption.js';
import type { SpawnerContext } from '../context.js';
import { machineLookups } from '../user-records.js';

type Params = ParamsOf<SpawnerAdminRequests, 'AdoptHome'>;

/** Says whose a home is that no lease names. The home itself is not touched. */
export async function answerAdoptHome(
  context: SpawnerContext,
  { key, identity, uid: given }: Params,
  peer: string,
): Promise<ResultOf<SpawnerAdminRequests, 'AdoptHome'>> {
  const { uid_min: min, uid_max: max } = context.readConfig().accounts;
  const range = { min, max };
  let source: UidSource | undefined;
  const { uid } = await context.leases.adopt(key, identity, range, async ({ table, homes = [] }) => {
    const home = homes.find((found) => found.key === key);
    if (home === undefined)
      throw refusal(key, `there is no ${privateHomePath(key)}`, 'a user without a home needs no adoption');
    if (!home.isDirectory) throw refusal(key, `${privateHomePath(key)} is not a directory`);
    const record = await findRecordUid(key, machineLookups);
    const chosen = chooseUid(key, { given, record, home }, table, range);
    if (chosen.uid !== undefined) await requireOwnUid(key, chosen.uid, homes, machineLookups);
    source = chosen.source;
    return chosen.uid;
  });
  if (source === undefined) throw refusal(key, `uid ${uid} is leased to it already`, 'see: hubctl leases');
  context.log.notice('home adopted', { user: key, uid, source, peer });
  return { key, uid, source };
}
