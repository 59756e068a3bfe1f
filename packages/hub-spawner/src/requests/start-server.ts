import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { accountName, type ServerId, serverId, serviceUnit, socketUnit, userSlice } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { ParamsOf } from '@metalhub/wire/protocol.js';
import type { RequestContext } from '@metalhub/wire/server.js';
import { baseOf, type ServerStatus, type SpawnerRequests } from '@metalhub/wire/spawner.js';
import type { SpawnerContext, StartStage } from '../context.js';
import { isRunFull, removeCredential, runIsFull, writeCredential } from '../credentials.js';
import { isHomeDiskFull } from '../home.js';
import { UNTOUCHED_HOME } from '../home-repair.js';
import { hookUnits, isProgram } from '../hooks.js';
import { type Kernels, kernelsNamed } from '../kernel-shape.js';
import type { Lease } from '../lease-table.js';
import { localName } from '../local-account.js';
import { findMissingPath } from '../missing-path.js';
import type { StartRun } from '../operations.js';
import { prepareAccount } from '../prepare-account.js';
import { isOfOther } from '../server-owner.js';
import { readSocketOwnership, type ServerUnit } from '../server-units.js';
import { getProfile, type SpawnerConfig, type SpawnerProfile } from '../spawner-config.js';
import { explainFailedStart, isForeignFilesFound, isNamespaceFailure } from '../start-failure.js';
import { serverUnits } from '../unit-properties.js';
import type { UserAccount } from '../user-account.js';
import { isOurHome } from '../user-unit.js';
import { resetFailed, stopServer, stopUnits } from './stop-server.js';

type Params = ParamsOf<SpawnerRequests, 'StartServer'>;

// Beyond the unit's own time-outs, in which systemd ends the job by itself.
const JOB_SLACK_MS = 30 * SECOND_MS;

interface Start {
  readonly context: SpawnerContext;
  readonly params: Params;
  readonly id: ServerId;
  readonly unit: string;
  readonly lease: Lease;
  readonly account: UserAccount;
  readonly profile: SpawnerProfile;
  /** What of them is in the credential. */
  readonly kernels: Kernels | undefined;
  readonly config: SpawnerConfig;
  readonly run: StartRun<StartStage>;
}

/** Starts a server, joins a start that is under way, or adopts what runs already. */
export async function answerStartServer(
  context: SpawnerContext,
  params: Params,
  { emit }: Pick<RequestContext<{ stage: StartStage }>, 'emit'>,
): Promise<ServerStatus> {
  const { key, server, identity } = params;
  const id = serverId(key, server);
  const config = context.readConfig();
  const { override, choices } = params;
  const profile = getProfile(config, params.profile, { override, choices });
  const kernels = kernelsNamed(config.kernels, params.kernels ?? []);
  const { uid_min: min, uid_max: max } = config.accounts;
  // Noted before the lease is looked up: from then on it cannot be released.
  const leaveKey = context.keysInUse.enter(key);
  try {
    // Before anything else: also what runs already is shown to nobody but the identity that it is leased to.
    const lease = await context.leases.lease(key, identity, { min, max });
    return await context.operations.start(
      id,
      (stage) => emit({ stage }),
      async (run) => {
        const leave = await context.slots.enter(run.signal);
        try {
          const unit = serviceUnit(id);
          return await startServer({ context, params, id, unit, lease, profile, kernels, config, run });
        } finally {
          leave();
        }
      },
    );
  } finally {
    leaveKey();
  }
}

async function startServer(asked: Omit<Start, 'account'>): Promise<ServerStatus> {
  const { context, params, run, unit } = asked;
  run.stage('account');
  const running = await findRunning(asked);
  if (running !== undefined) return running;
  const account = await prepareAccount({ ...asked, signal: run.signal });
  const start = { ...asked, account };
  run.signal.throwIfAborted();
  run.stage('home');
  const startedMs = context.clock.monotonicMs();
  const { status, isNewHome } = await startInHome(start);
  context.log.notice('server started', {
    user: params.key,
    server: params.server,
    unit,
    uid: account.uid,
    ...(account.isLocal && { account: account.name }),
    profile: params.profile,
    isNewHome,
    durationMs: Math.round(context.clock.monotonicMs() - startedMs),
  });
  return status;
}

/**
 * Deals with what has the unit's name already: nothing (`undefined`), our own server in any state, or a stranger.
 * @throws {MH_ERR_SPAWN_UNIT_FOREIGN}
 */
async function findRunning(start: Omit<Start, 'account'>): Promise<ServerStatus | undefined> {
  const { context, params, id, unit, lease, run } = start;
  const { key, server } = params;
  const found = await context.watch.refresh(key, server);
  if (found.ownership === 'foreign' || isOfOther(found, lease)) throw foreign(unit);
  const socket = await readSocketOwnership(context.manager, key, server);
  if (socket === 'foreign') throw foreign(socketUnit(id));
  if (found.ownership === 'absent') {
    if (socket === 'ours') await stopUnits(context, id);
    return undefined;
  }
  switch (found.status.active_state) {
    case 'active':
    case 'reloading':
    case 'refreshing':
      await removeCredential(id);
      return found.status;
    case 'activating':
      return adoptStart(start);
    default:
      // Failed, or on its way out.
      await stopServer(context, key, server);
      run.signal.throwIfAborted();
      return undefined;
  }
}

/** A start that an earlier process of ours began: systemd went on with it alone. The token that it left is removed. */
async function adoptStart(start: Omit<Start, 'account'>): Promise<ServerStatus> {
  const { context, params, id, unit, run } = start;
  run.stage('waiting');
  const cancel = onAbort(run.signal, () => stopUnits(context, id));
  try {
    const status = await context.watch.waitFor(
      params.key,
      params.server,
      ({ active_state }) => active_state !== 'activating',
    );
    run.signal.throwIfAborted();
    if (status.active_state === 'active') return status;
    await resetFailed(context, unit);
    throw await explain(start, status);
  } finally {
    await cancel();
    await removeCredential(id);
  }
}

/**
 * Once more, after a repair, when the launcher finds files in the home that are not its user's. It does not look again then:
 * whoever keeps writing into a home, as a backup that is being restored, would lock its user out. The next start looks.
 */
async function startInHome(start: Start, isSuspect = false): Promise<{ status: ServerStatus; isNewHome: boolean }> {
  const { context, params, account, profile, run } = start;
  const { signal } = run;
  const onRepair = (): void => run.stage('repair');
  const home = isOurHome(account, profile)
    ? await context.homes.prepare(params.key, account.uid, { signal, isSuspect, onRepair })
    : UNTOUCHED_HOME;
  try {
    const status = await startUnits(start, isSuspect ? undefined : home.checkedAtMs);
    await home.confirm();
    return { status, isNewHome: home !== UNTOUCHED_HOME && home.checkedAtMs === undefined };
  } catch (error) {
    if (isSuspect || !isForeignFilesFound(error)) throw error;
  } finally {
    home.leave();
  }
  return startInHome(start, true);
}

/** @param checkedAtMs `undefined`: the launcher shall not look into the home */
async function startUnits(start: Start, checkedAtMs: number | undefined): Promise<ServerStatus> {
  const { context, params, id, account, profile, kernels, config, run } = start;
  const { key, server, start_id: startId, token, base_url, override, choices } = params;
  const { default_url, root_dir, command } = profile;
  const credential = {
    token,
    base_url,
    default_url,
    home_checked_at_ms: checkedAtMs ?? null,
    ...((profile.home === 'ephemeral' || profile.account_mode === 'create') && { fill_home: true }),
    ...(root_dir !== '' && { root_dir }),
    ...(command.length > 0 && { command }),
    ...(command.length === 0 && kernels !== undefined && { kernels }),
  };
  const credentialFile = await writeCredential(id, credential);
  try {
    run.stage('unit');
    const makesSlice = await context.slices.claim(key);
    try {
      run.signal.throwIfAborted();
      const timeouts = config.server;
      const base = baseOf(base_url, server);
      await runStartJob(
        start,
        serverUnits({
          ...{ key, server, account, startId, base, credentialFile, profile, timeouts, makesSlice },
          variant: { override, choices },
        }),
      );
    } finally {
      context.slices.release(key);
    }
    const status = await confirmStarted(start);
    if (!makesSlice) await context.slices.raise(key, profile);
    return status;
  } finally {
    await removeCredential(id);
  }
}

async function runStartJob(start: Start, units: ReturnType<typeof serverUnits>): Promise<void> {
  const { context, params, id, config, run, unit } = start;
  const { start_timeout_sec, stop_timeout_sec } = config.server;
  const jobTimeoutMs = (start_timeout_sec + 2 * stop_timeout_sec) * SECOND_MS + JOB_SLACK_MS;
  const stopListening = context.watch.listen((status) => {
    if (status.key !== params.key || status.server !== params.server || status.active_state !== 'activating') return;
    stopListening();
    run.stage('waiting');
  });
  const job = context.manager.startTransientUnit(units.service, 'fail', units.properties, units.auxiliary, {
    jobTimeoutMs,
  });
  const cancel = onAbort(run.signal, () => stopUnits(context, id));
  try {
    await job;
  } catch (error) {
    throw await translateCallError(error, unit);
  } finally {
    stopListening();
    await cancel();
  }
  run.signal.throwIfAborted();
}

/** What the job's end says is not believed before the unit says the same. */
async function confirmStarted(start: Start): Promise<ServerStatus> {
  const { context, params, unit, account } = start;
  const found = await context.watch.refresh(params.key, params.server);
  if (found.ownership === 'ours' && found.status.active_state === 'active') {
    const wrong = differenceFromAccount(found, start);
    if (wrong === undefined) return found.status;
    await stopServer(context, params.key, params.server);
    throw new MetalhubError('MH_ERR_SPAWN_ACCOUNT', {
      details: { account: account.name, uid: account.uid, reason: wrong },
      hint: 'the server was stopped; look for another account or record of the same name',
    });
  }
  const { status } = found;
  if (status.active_state === 'failed') await resetFailed(context, unit);
  const error = await explain(start, status);
  if (isForeignFilesFound(error)) context.log.info('files of others found in the home', { user: params.key });
  else context.log.warning('server did not start', { user: params.key, server: params.server, unit, err: error });
  throw error;
}

async function explain(start: Omit<Start, 'account'>, status: ServerStatus): Promise<MetalhubError> {
  if (await isRunFull()) return runIsFull();
  const { unit, profile, config, params } = start;
  const isLocal = profile.account_mode !== 'dynamic';
  // Other homes do not lie there.
  const isDiskFull = !isLocal && profile.home === 'kept' && (await isHomeDiskFull());
  return explainFailedStart({
    unit,
    ...(isLocal && {
      localAccount: profile.account_mode === 'create' ? accountName(params.key) : localName(params.identity),
    }),
    python: profile.python,
    program: profile.command[0],
    timeoutSec: config.server.start_timeout_sec,
    status,
    isDiskFull,
    missingPath: isNamespaceFailure(status) ? await findMissingPath(profile) : undefined,
    hooks: {
      programs: profile.before_start.filter(isProgram),
      units: hookUnits(params.key, profile.before_start),
    },
  });
}

function differenceFromAccount(found: ServerUnit, { params, account, unit }: Start): string | undefined {
  if (found.mainPid <= 0) return 'it has no main process';
  if (found.account !== account.name) return `it runs as ${found.account}`;
  if (found.uid !== account.uid) return `it runs as uid ${found.uid}`;
  const expected = `/jupyter.slice/${userSlice(params.key)}/${unit}`;
  return found.controlGroup === expected ? undefined : `it runs in ${found.controlGroup}`;
}

/** Runs the action when the signal is aborted; the returned function ends that and waits for an action begun. */
function onAbort(signal: AbortSignal, action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  const listener = (): void => {
    running = action();
  };
  signal.addEventListener('abort', listener, { once: true });
  return async () => {
    signal.removeEventListener('abort', listener);
    await running;
  };
}

async function translateCallError(error: unknown, unit: string): Promise<unknown> {
  if (!(error instanceof MetalhubError)) return error;
  if (error.code === 'MH_ERR_SYSTEMD_UNIT_EXISTS') return foreign(unit, error);
  // A unit whose file does not fit is dropped, and then not known.
  const isFull = /no space left|disk quota/i.test(errorText(error)) || systemErrorCode(error) === 'ENOSPC';
  return isFull || (await isRunFull()) ? runIsFull(error) : error;
}

function foreign(unit: string, cause?: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_UNIT_FOREIGN', {
    details: { unit },
    hint: `see "systemctl cat ${unit}": units called jupyter-* are metalhub's, rename or remove it`,
    cause,
  });
}
