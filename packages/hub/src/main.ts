import { dirname, join } from 'node:path';
import { MetalhubError } from '@metalhub/base/errors.js';
import { SECOND_MS, systemClock } from '@metalhub/base/time.js';
import { findAccount } from '@metalhub/systemd/accounts.js';
import { takeSystemdEnvironment } from '@metalhub/systemd/environment.js';
import { releaseMemoryWhenIdle } from '@metalhub/systemd/idle-memory.js';
import { findListenFd, requireListenFd } from '@metalhub/systemd/listen-fds.js';
import { notifyReady, notifyReloading, notifyStopping, startWatchdog } from '@metalhub/systemd/notify.js';
import { makeAdminApp } from './admin-app.js';
import { MAX_API_CONNECTIONS, makeApiApp } from './api/api-app.js';
import { makeApp } from './app.js';
import { pamAuthenticator } from './auth/pam.js';
import { LogsClient } from './clients/logs-client.js';
import { ProxyClient } from './clients/proxy-client.js';
import { SpawnerClient } from './clients/spawner-client.js';
import { ConfigHolder } from './config-holder.js';
import { openDatabase } from './db/open.js';
import { openHub } from './hub.js';
import { Listener } from './listener.js';
import { openLog } from './log.js';
import { machineGroups } from './machine-groups.js';
import { readSecrets } from './secrets.js';
import { readStaticFiles } from './web/static-files.js';

declare const METALHUB_VERSION: string;

const EXIT_FAILURE = 1;
const EXIT_CONFIG = 78;
/** A login may wait for a slow directory server; the unit's TimeoutStopSec= is longer. */
const DRAIN_MS = 20 * SECOND_MS;
const STATE_DIRECTORY = '/var/lib/metalhub/hub';

async function main(): Promise<void> {
  const log = openLog();
  logWarnings(log);
  try {
    await run(log);
  } catch (error) {
    const known = error instanceof MetalhubError ? error : undefined;
    const isConfig = known?.code.startsWith('MH_ERR_CONFIG_') === true;
    log.critical('hub cannot start', { err: error, ...(known?.hint !== undefined && { hint: known.hint }) });
    process.exitCode = isConfig ? EXIT_CONFIG : EXIT_FAILURE;
  }
}

async function run(log: ReturnType<typeof openLog>): Promise<void> {
  const stateDirectory = takeSystemdEnvironment().stateDirectories[0] ?? STATE_DIRECTORY;
  const config = new ConfigHolder();
  const publicFd = requireListenFd('hub');
  const adminFd = requireListenFd('admin');
  // Off unless an administrator has enabled hub-api.socket.
  const apiFd = findListenFd('api');
  const files = readStaticFiles(join(dirname(process.argv[1] ?? '.'), 'static'));
  const hub = await openHub({
    config: () => config.current,
    database: await openDatabase(join(stateDirectory, 'hub.sqlite')),
    authenticator: pamAuthenticator(),
    spawner: new SpawnerClient(),
    logs: new LogsClient(),
    proxy: new ProxyClient(),
    ...(await readSecrets()),
    clock: systemClock,
    log,
    version: METALHUB_VERSION,
    findAccount,
    groupsOf: machineGroups,
  });
  const app = await makeApp(hub.context, files);
  const adminApp = await makeAdminApp(hub.context);
  const listeners = [
    await Listener.open(app.server, { fd: publicFd }),
    await Listener.open(adminApp.server, { fd: adminFd }),
  ];
  if (apiFd !== undefined) {
    const apiApp = await makeApiApp(hub.context);
    listeners.push(await Listener.open(apiApp.server, { fd: apiFd }, MAX_API_CONNECTIONS));
  }
  const watchdog = startWatchdog();
  releaseMemoryWhenIdle();
  process.on('SIGHUP', () => {
    notifyReloading();
    const isLoaded = config.reload(log);
    notifyReady(isLoaded ? 'Serving' : 'Serving; the new configuration was refused');
  });
  process.once('SIGTERM', () => void stop()); // it never rejects
  notifyReady('Serving');
  log.info('hub started', { version: METALHUB_VERSION, api: apiFd !== undefined });

  async function stop(): Promise<void> {
    notifyStopping();
    hub.context.streams.close();
    await Promise.all(listeners.map((listener) => listener.drain(DRAIN_MS)));
    await hub.close().catch((error: unknown) => log.error('database could not be closed', { err: error }));
    watchdog.stop();
    log.info('hub stopped');
    // Starts that are under way belong to the spawner by now; their connections would keep this process.
    process.exit(0);
  }
}

/** Node's own way is text on stderr. That Ed25519 is called experimental is known, and nobody's business. */
function logWarnings(log: ReturnType<typeof openLog>): void {
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    if (warning.name !== 'ExperimentalWarning') log.warning('warning of the runtime', { err: warning });
  });
  // The process ends after it, and systemd starts the next one.
  process.on('uncaughtExceptionMonitor', (error) =>
    log.critical('hub ends because of a mistake in it', { err: error }),
  );
}

void main(); // it reports its own failure
