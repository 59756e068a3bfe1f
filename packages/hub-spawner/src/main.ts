import { createServer, type Server, type Socket } from 'node:net';
import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { accountName, findServerOfUnit, isAccountOf, type Key, serverId, serviceUnit } from '@metalhub/base/names.js';
import { MINUTE_MS, systemClock } from '@metalhub/base/time.js';
import { findAccount, findAccountByUid } from '@metalhub/systemd/accounts.js';
import { createLog } from '@metalhub/systemd/journal.js';
import { requireListenFd } from '@metalhub/systemd/listen-fds.js';
import { connectManager, type Manager } from '@metalhub/systemd/manager.js';
import { notifyReady, notifyStopping, startWatchdog } from '@metalhub/systemd/notify.js';
import { type PeerCredentials, socketPeerCredentials } from '@metalhub/systemd/peer.js';
import { type ServeOptions, serveConnection } from '@metalhub/wire/server.js';
import { type ServerStatus, spawnerProtocol } from '@metalhub/wire/spawner.js';
import { spawnerAdminProtocol } from '@metalhub/wire/spawner-admin.js';
import { requireAdministrator } from './admin-peer.js';
import { createCommandTable } from './commands/command-table.js';
import type { SpawnerContext, StartStage } from './context.js';
import { createAccountMaker, runCreateAccount } from './created-account.js';
import { listCredentials, removeCredential } from './credentials.js';
import { spawnerAdminHandlers, spawnerHandlers } from './dispatch.js';
import { createHomeKinds, runFixHome } from './fix-home-units.js';
import { createHomeMarkers } from './home-marker.js';
import { createHomeRepairs } from './home-repair.js';
import { findHomes } from './homes.js';
import { createIdleExit } from './idle-exit.js';
import { createKeyCounter } from './key-counter.js';
import type { LeaseTable } from './lease-table.js';
import { createLeaseStore } from './leases.js';
import { createOperations, createSlots } from './operations.js';
import { resetFailed } from './requests/stop-server.js';
import { createServerWatch } from './server-watch.js';
import { readSpawnerConfig } from './spawner-config.js';
import { readTakenUids } from './uid-taken.js';
import { unpublishAccount } from './user-records.js';
import { createUserSlices } from './user-slices.js';

declare const METALHUB_VERSION: string;

const HUB_ACCOUNT = 'metalhub';
/** The hub has its own, smaller number, and lets users take turns (server.concurrent_starts). */
const STARTS_AT_ONCE = 64;
const STARTS_WAITING = 1000;

async function main(log: Log): Promise<void> {
  const fd = requireListenFd('spawner');
  const adminFd = requireListenFd('spawner-admin');
  readSpawnerConfig();
  const hub = await findAccount(HUB_ACCOUNT);
  const manager = await connectManager({ log });
  const context = createContext(log, manager);
  await context.watch.start();
  await cleanUp(context);
  await context.commands.adopt();

  const connections = new Set<Socket>();
  const idle = createIdleExit({
    idleMs: MINUTE_MS,
    // An administrator's request may wait for a repair, which takes as long as it takes.
    isBusy: () =>
      context.operations.size > 0 ||
      context.keysInUse.size > 0 ||
      context.commands.size > 0 ||
      context.watch.list().length > 0,
    onIdle: () => leave('idle'),
  });
  const handlers = spawnerHandlers(context);
  const hubUids = [0, ...(hub === undefined ? [] : [hub.uid])];
  const servers = [
    openServer(fd, async (socket) => {
      const peer = await checkPeer(socket, async ({ uid }) => requireUid(uid, hubUids), log);
      if (peer !== undefined) await serveConnection(socket, spawnerProtocol, handlers, optionsOf(peer));
    }),
    openServer(adminFd, async (socket) => {
      const peer = await checkPeer(socket, requireAdministrator, log);
      if (peer === undefined) return;
      await serveConnection(socket, spawnerAdminProtocol, spawnerAdminHandlers(context, peer, socket), optionsOf(peer));
    }),
  ];

  function openServer(listening: number, serve: (socket: Socket) => Promise<void>): Server {
    const server = createServer((socket) => {
      connections.add(socket);
      idle.touch();
      void serve(socket).finally(() => connections.delete(socket)); // it deals with its own failures
    });
    server.on('error', (err) => log.error('listening failed', { err }));
    return server.listen({ fd: listening });
  }

  function optionsOf(peer: string): ServeOptions {
    return { log, describePeer: () => peer, onActivity: idle.touch };
  }

  function leave(reason: string): void {
    log.info('leaving', { reason });
    notifyStopping(reason);
    // systemd keeps its copy of the listening sockets: who connects from now on is answered by the next process.
    for (const server of servers) server.close();
    context.commands.leave();
    for (const socket of connections) socket.destroy();
    idle.stop();
    watchdog.stop();
    context.watch.stop();
    manager.close();
  }

  const watchdog = startWatchdog();
  process.once('SIGTERM', () => leave('stopped'));
  process.once('SIGINT', () => leave('stopped'));
  notifyReady(`version ${METALHUB_VERSION}`);
}

function createContext(log: Log, manager: Manager): SpawnerContext {
  const operations = createOperations<ServerStatus, StartStage>();
  const onFailed = (status: ServerStatus): void => {
    const id = serverId(status.key, status.server);
    // A start explains its own failure, and a stop expects it; both reset it.
    if (operations.isPending(id)) return;
    const unit = serviceUnit(id);
    const { result, exit_status: exitStatus } = status;
    log.warning('server failed', { user: status.key, server: status.server, unit, result, exitStatus });
    void resetFailed({ manager }, unit).catch((err: unknown) => log.warning('failed unit is left', { unit, err }));
  };
  const kinds = createHomeKinds(manager);
  const leases = createLeaseStore({ clock: systemClock, log, readTakenUids, findHomes });
  return {
    log,
    clock: systemClock,
    manager,
    operations,
    watch: createServerWatch({ manager, log, onFailed }),
    slices: createUserSlices({ manager, log }),
    commands: createCommandTable({ manager, log }),
    slots: createSlots(STARTS_AT_ONCE, STARTS_WAITING),
    leases,
    accounts: createAccountMaker({
      make: (lease) => runCreateAccount(manager, lease),
      unpublish: (lease) => unpublishAccount(lease),
    }),
    homes: createHomeRepairs({
      ...{ log, clock: systemClock, manager, markers: createHomeMarkers() },
      ownerOf: async (uid, key) => describeOwner(uid, key, (await leases.survey()).table),
      findKind: () => kinds.find(),
      runPass: (pass) => runFixHome(manager, kinds, pass),
    }),
    keysInUse: createKeyCounter(),
    readConfig: () => readSpawnerConfig(),
  };
}

/** Whose number it is: an account's that is not the key's own, or one that was ever leased to another key. */
async function describeOwner(uid: number, key: Key, { byKey, released }: LeaseTable): Promise<string | undefined> {
  const lease = [...byKey.values(), ...released].find((other) => other.uid === uid && other.key !== key);
  if (lease !== undefined) return `uid ${uid}, which was leased to ${lease.key}`;
  const account = await findAccountByUid(uid);
  if (account === undefined || (account.name === accountName(key) && isAccountOf(key, account))) return undefined;
  return `uid ${uid}, the account ${account.name}`;
}

/** File permission admits the hub's group only; whoever else gets here has left it or was given the socket. */
function requireUid(uid: number, allowed: readonly number[]): void {
  if (!allowed.includes(uid)) throw new MetalhubError('MH_ERR_WIRE_FORBIDDEN');
}

/** Who is at the other end, `undefined` when they may not ask: then the connection is closed. */
async function checkPeer(
  socket: Socket,
  check: (peer: PeerCredentials) => Promise<void>,
  log: Log,
): Promise<string | undefined> {
  // It may break while the account is looked up.
  socket.on('error', () => socket.destroy());
  let peer: string | undefined;
  try {
    const credentials = socketPeerCredentials(socket);
    peer = `uid=${credentials.uid} pid=${credentials.pid}`;
    await check(credentials);
    return socket.destroyed ? undefined : peer;
  } catch (err) {
    const isRefusal = err instanceof MetalhubError && err.code === 'MH_ERR_WIRE_FORBIDDEN';
    const reason = isRefusal ? { reason: 'not an account that may ask' } : { err };
    log.warning('connection refused', { ...reason, ...(peer !== undefined && { peer }) });
    socket.destroy();
    return undefined;
  }
}

/** What a process of ours that was killed in the middle of starts left: tokens that nobody needs any more. */
async function cleanUp({ watch, operations, log }: SpawnerContext): Promise<void> {
  for (const name of await listCredentials()) {
    const server = findServerOfUnit(`jupyter-${name}.service`);
    if (server === undefined) continue;
    const { key, server: serverName } = server;
    const id = serverId(key, serverName);
    void watch
      .waitFor(key, serverName, ({ active_state }) => active_state !== 'activating')
      // Not that of a start which has been asked for since.
      .then(() => (operations.isPending(id) ? undefined : removeCredential(id)))
      .catch((err: unknown) => log.warning('credential is left', { user: key, err }));
  }
}

const log = createLog({ identifier: 'hub-spawner' });
main(log).catch((err: unknown) => {
  log.critical('hub-spawner cannot start', { err });
  // Not exitCode alone: an open connection to the bus would keep the process.
  process.exit(err instanceof MetalhubError && err.code === 'MH_ERR_CONFIG_FILE' ? 78 : 1);
});
