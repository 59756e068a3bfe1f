// biome-ignore assist/source/organizeImports: signals may come while the rest is being loaded.
import { takeEarlySignals } from './early-signals.js';
import { existsSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { SECOND_MS, systemClock } from '@metalhub/base/time.js';
import { basePath } from '@metalhub/config/base-path.js';
import type { Config } from '@metalhub/config/schema.js';
import { findCredential, readCredentialText } from '@metalhub/systemd/credentials.js';
import { takeSystemdEnvironment } from '@metalhub/systemd/environment.js';
import { releaseMemoryWhenIdle } from '@metalhub/systemd/idle-memory.js';
import { listenFds, requireListenFd } from '@metalhub/systemd/listen-fds.js';
import { notifyReady, notifyReloading, notifyStopping, startWatchdog } from '@metalhub/systemd/notify.js';
import type { FastifyInstance } from 'fastify';
import { AddressRanges } from './address-ranges.js';
import { createControlApi, createForeignApi } from './control-api.js';
import { GENERATION_DIRECTORY } from './generation-protocol.js';
import { memoryCeiling, workerCount } from './generation-limits.js';
import { createProxyLog } from './log.js';
import type { RouteRules } from './route-api.js';
import { ALLOWED_TARGETS } from './route-target.js';
import { hasForeignHub, loadRouting } from './routing.js';
import { removeRunFile, writeRunFile } from './run-file.js';
import { makeSettings } from './settings.js';
import { CONFIG_PLACES, loadAndKeepConfig, loadConfigOrCopy } from './startup-config.js';
import { StateStore } from './state-store.js';
import { Supervisor, type SupervisorLimits } from './supervisor.js';
import { loadTlsMaterial, TLS_PLACES } from './tls-material.js';

declare const METALHUB_VERSION: string;

const STATE_FILE = '/var/lib/metalhub/proxy/state.json';
/** There while a supervisor serves; one that is killed leaves it. */
const SERVING_FILE = '/run/metalhub-proxy/serving';
/** The unit's ExecReload= waits for it. */
const RELOADING_FILE = '/run/metalhub-proxy/reloading';
const WORKER_PROGRAM = 'hub-proxy-worker.cjs';
/** What the route API has under way may be finished; a caller that does not end must not hold up a restart. */
const CLOSE_API_MS = 2 * SECOND_MS;
/** Of the credential; the file below /etc/metalhub/secrets has the same name. */
const API_TOKEN = 'proxy-api-token';
const EXIT_FAILURE = 1;
const EXIT_CONFIG = 78;

const log = createProxyLog();

async function main(): Promise<void> {
  takeSystemdEnvironment();
  const controlFd = requireListenFd('control');
  const publicFds = listenFds().get('public') ?? [];
  if (publicFds.length === 0) throw new MetalhubError('MH_ERR_SYSTEMD_LISTEN_FDS', { details: { name: 'public' } });
  const apiFds = listenFds().get('api') ?? [];
  // Not whether it listens: a port that is taken must not make our own hub public.
  const hasApi = findCredential(API_TOKEN) !== undefined;
  if (hasApi && apiFds.length === 0) log.error('the route API for another hub does not listen: its port may be taken');
  const config = await loadConfigOrCopy(CONFIG_PLACES, log);
  const store = StateStore.open(STATE_FILE, log);
  const supervisor = new Supervisor(
    {
      workerProgram: join(process.argv[1] ?? '', '..', WORKER_PROGRAM),
      generationDirectory: GENERATION_DIRECTORY,
      listenFds: publicFds,
      clock: systemClock,
      log,
      state: store,
    },
    await limitsOf(config, hasApi),
  );
  await supervisor.adopt();
  let rules = rulesOf(config, hasApi);
  const parts = { store, supervisor, rules: () => rules, log, clock: systemClock, version: METALHUB_VERSION };
  const control = createControlApi(parts);
  const apis = [control];
  const serve = async (): Promise<void> => {
    await listenOn(control, controlFd);
    if (hasApi) {
      const token = readCredentialText(API_TOKEN);
      for (const fd of apiFds) {
        const api = createForeignApi(parts, token);
        apis.push(api);
        await listenOn(api, fd);
      }
    }
    writeRunFile(SERVING_FILE, {});
    notifyReady('serving');
    startWatchdog();
  };
  const takeConfig = async (): Promise<void> => {
    const changed = await loadAndKeepConfig(CONFIG_PLACES, log);
    await supervisor.replace(await limitsOf(changed, hasApi));
    rules = rulesOf(changed, hasApi);
  };
  const closeControl = async (): Promise<void> => {
    await served;
    removeRunFile(SERVING_FILE);
    await Promise.race([Promise.all(apis.map((api) => api.close())), sleep(CLOSE_API_MS)]);
    await store.close();
  };
  // After a crash the workers that were left serve as they did. Whoever restarts it waits until what has changed is in force.
  const isBack = existsSync(SERVING_FILE) && (await supervisor.isServed());
  if (!isBack) await supervisor.start();
  const served = serve();
  const begun = isBack ? served.then(() => supervisor.start()) : served;
  // From here on changes of the state are taken: whatever ends this process must let them be finished.
  handleSignals(supervisor, takeConfig, closeControl, begun);
  // Only now, so that there is no moment without a handler.
  for (const signal of takeEarlySignals()) process.kill(process.pid, signal);
  await begun;
  releaseMemoryWhenIdle();
}

async function listenOn(api: FastifyInstance, fd: number): Promise<void> {
  await api.ready();
  await new Promise<void>((resolve, reject) => {
    api.server.once('error', reject);
    api.server.listen({ fd }, () => {
      api.server.off('error', reject);
      resolve();
    });
  });
}

function rulesOf(config: Config, hasApi: boolean): RouteRules {
  return {
    allowed: {
      ...ALLOWED_TARGETS,
      socketDirectories: config.proxy.upstream_sockets,
      ranges: hasApi ? new AddressRanges(config.proxy.upstream_ranges) : undefined,
    },
    hubPrefix: `${basePath(config.public_url)}/`,
    hasForeignHub: hasForeignHub(config, hasApi),
    hostRouting: config.proxy.host_routing,
  };
}

async function limitsOf(config: Config, hasApi: boolean): Promise<SupervisorLimits> {
  const tls = await loadTlsMaterial(config, TLS_PLACES, log);
  return {
    settings: makeSettings(config, ALLOWED_TARGETS.hubSocketPath, tls, loadRouting(config, hasApi, log)),
    workers: workerCount(config.proxy.workers, availableParallelism()),
    maxGenerations: config.proxy.max_generations,
    maxMemoryBytes: memoryCeiling(config.proxy.generations_memory_max, totalmem()),
  };
}

function handleSignals(
  supervisor: Supervisor,
  takeConfig: () => Promise<void>,
  closeControl: () => Promise<void>,
  begun: Promise<void>,
): void {
  let isLeaving = false;
  let reloading = begun;

  /** Ours is the main process only: the workers stay (KillMode=process). */
  async function leave(how: () => Promise<void>): Promise<void> {
    if (isLeaving) return;
    isLeaving = true;
    notifyStopping();
    await Promise.all([how(), closeControl()]);
    process.exit(0);
  }

  async function reload(): Promise<void> {
    notifyReloading();
    writeRunFile(RELOADING_FILE, {});
    try {
      await takeConfig();
      notifyReady('serving');
    } catch (error) {
      log.error('the reload failed: the former configuration stays in force', { err: error });
      notifyReady('serving with the former configuration: the reload failed');
    }
  }

  const failed = (error: unknown): void => fail(error);
  process.on('SIGTERM', () => void leave(async () => supervisor.leave()).catch(failed));
  process.on('SIGINT', () => void leave(async () => supervisor.leave()).catch(failed));
  // Who ends all workers must know them: those that are being started are waited for.
  // Sent by hub-proxy-stop when the unit is stopped, not restarted.
  process.on('SIGUSR2', () => void leave(() => begun.then(() => supervisor.endAll())).catch(failed));
  // Sent by hub-proxy-stop when the listening socket is replaced: nobody may hold the old one any more.
  process.on('SIGWINCH', () => void leave(() => begun.then(() => supervisor.drainAll())).catch(failed));
  process.on('SIGHUP', () => {
    reloading = reloading.then(() => (isLeaving ? undefined : reload()));
  });
}

function fail(error: unknown): void {
  const isConfig = error instanceof MetalhubError && error.code.startsWith('MH_ERR_CONFIG_');
  log.critical('hub-proxy cannot run', { err: error, reason: errorText(error) });
  process.exit(isConfig ? EXIT_CONFIG : EXIT_FAILURE);
}

main().catch(fail);
