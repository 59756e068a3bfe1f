import { MetalhubError } from '@metalhub/base/errors.js';
import { type ServerName, serverId, serviceUnit } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { RouteRequest } from '@metalhub/wire/proxy-api.js';
import { absentStatus, type ServerStatus } from '@metalhub/wire/spawner.js';
import { deleteServer, listStoredServers } from '../db/tables/servers.js';
import type { User } from '../db/tables/users.js';
import { parseNewServerName } from '../names/new-server-name.js';
import type { WantedProfile } from './profiles.js';
import type { ServerServices } from './server-services.js';
import { isAtRest } from './server-state.js';
import { SpawnerWatch } from './spawner-watch.js';
import { StartQueue } from './start-queue.js';
import { UserServer } from './user-server.js';

const DEFAULT_SERVER = '' as ServerName;
/** Half of the time that the spawner stays when nothing is asked of it. */
const EXPECT_EVERY_MS = 30 * SECOND_MS;

/** All users' servers: made from the database, corrected by the spawner's list, kept in step with its watch. */
export class ServerManager {
  readonly #services: ServerServices;
  readonly #watch: SpawnerWatch;
  readonly #servers = new Map<string, UserServer>();
  /** Invocations of units that this hub did not start. */
  #strangers = new Map<string, string>();
  #isSettled = false;
  #expectedMs = Number.NEGATIVE_INFINITY;

  constructor(services: Omit<ServerServices, 'onRest' | 'queue'>) {
    const queue = new StartQueue(() => services.config().server.concurrent_starts);
    this.#services = { ...services, queue, onRest: () => this.#watch.adjust() };
    this.#watch = new SpawnerWatch({
      spawner: services.spawner,
      isNeeded: () => this.list().some(({ state }) => !isAtRest(state)),
      onSnapshot: (servers) => this.#takeSnapshot(servers),
      onChange: (server) => this.#takeChange(server),
      sleep: services.sleep,
      clock: services.clock,
      log: services.log,
    });
  }

  /** Whether what is known of the servers is true, not only remembered. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  get isSpawnerReachable(): boolean | null {
    return this.#watch.isReachable;
  }

  /** Reads the database, then begins to ask the spawner. @throws {MH_ERR_HUB_DATABASE} */
  async open(): Promise<void> {
    for (const stored of await listStoredServers(this.#services.database)) {
      this.#add(new UserServer(this.#services, stored.user, stored.name, stored));
    }
    this.#watch.adjust();
  }

  close(): void {
    this.#watch.close();
    this.#services.queue.close();
  }

  /** The servers that run, are about to, or failed. */
  list(): UserServer[] {
    return [...this.#servers.values()];
  }

  /** @throws {MH_ERR_HUB_NO_SUCH_SERVER} a named one that was never started */
  get(user: User, name: ServerName = DEFAULT_SERVER): UserServer {
    const server = this.find(user, name);
    if (server !== undefined) return server;
    throw new MetalhubError('MH_ERR_HUB_NO_SUCH_SERVER', { details: { user: user.name, server: name } });
  }

  /** Every user has the default server, whether or not it ever ran. */
  find(user: User, name: ServerName = DEFAULT_SERVER): UserServer | undefined {
    const known = this.#servers.get(idOf(user, name));
    return known ?? (name === DEFAULT_SERVER ? new UserServer(this.#services, user, name) : undefined);
  }

  /**
   * A named server as its user could start it, before it is: known to nobody until {@link startOwn}.
   * @throws {MH_ERR_HUB_SERVER_NAME} {MH_ERR_HUB_SERVER_LIMIT}
   */
  preview(user: User, name: string): UserServer {
    const known = this.listOf(user).find((server) => server.name === name);
    if (known !== undefined) return known;
    const parsed = parseNewServerName(name);
    this.#requireRoom(user, this.#services.config().server.named_limit);
    return new UserServer(this.#services, user, parsed);
  }

  /** All of a user's, the default server first. */
  listOf(user: User): UserServer[] {
    const named = this.list().filter((server) => server.user.id === user.id && server.name !== DEFAULT_SERVER);
    return [this.get(user), ...named];
  }

  /**
   * Starts a server, or joins a start.
   * @param wanted without a profile, that of the server's last start, or the first that the user may use
   * @throws {MH_ERR_HUB_DATABASE} {MH_ERR_SPAWN_PROFILE} {MH_ERR_SPAWN_CHOICE} {MH_ERR_HUB_PROFILE} {MH_ERR_HUB_NO_PROFILE} nothing was started
   */
  start(user: User, name: ServerName = DEFAULT_SERVER, wanted: WantedProfile = {}): Promise<UserServer> {
    return this.#start(user, name, wanted, Number.POSITIVE_INFINITY);
  }

  async #start(user: User, name: ServerName, wanted: WantedProfile, limit: number): Promise<UserServer> {
    const known = this.#servers.get(idOf(user, name));
    if (known?.state.phase === 'spawn' || known?.state.phase === 'ready') return known;
    const chosen = await this.#services.profiles.choose(user, wanted, known?.remembered);
    const server = this.#servers.get(idOf(user, name)) ?? this.#make(user, name, limit);
    const accepted = server.start(chosen);
    this.#watch.adjust();
    await accepted;
    this.#watch.adjust();
    return server;
  }

  /** Counts and adds at once: many may be asked for together. @throws {MH_ERR_HUB_SERVER_LIMIT} */
  #make(user: User, name: ServerName, limit: number): UserServer {
    if (name !== DEFAULT_SERVER) this.#requireRoom(user, limit);
    return this.#add(new UserServer(this.#services, user, name));
  }

  #requireRoom(user: User, limit: number): void {
    if (this.listOf(user).length > limit) throw new MetalhubError('MH_ERR_HUB_SERVER_LIMIT', { details: { limit } });
  }

  /**
   * Somebody looks at a Start button. The spawner is there on demand only, and would take a third of the whole start to
   * come: asked something now, it is up when the button is pressed, and leaves again when it is not.
   */
  expectStart({ user, name, state }: UserServer): void {
    const { clock, spawner, log } = this.#services;
    const nowMs = clock.monotonicMs();
    if (!isAtRest(state) || this.#watch.isReachable === true || nowMs - this.#expectedMs < EXPECT_EVERY_MS) return;
    this.#expectedMs = nowMs;
    // What it says was not asked for; when it cannot be reached, the start will tell.
    void spawner.getStatus({ key: user.key, server: name }).catch((error: unknown) => {
      log.debug('hub-spawner could not be called ahead', { err: error });
    });
  }

  /**
   * Starts a server that its user wants, a new named one too.
   * @throws {MH_ERR_HUB_SERVER_NAME} {MH_ERR_HUB_SERVER_LIMIT} {MH_ERR_HUB_DATABASE}
   */
  async startOwn(user: User, name: string, wanted: WantedProfile = {}): Promise<UserServer> {
    const known = this.listOf(user).find((server) => server.name === name);
    const limit = this.#services.config().server.named_limit;
    return await this.#start(user, known?.name ?? parseNewServerName(name), wanted, limit);
  }

  /**
   * Forgets a named server; what lies in the home stays.
   * @throws {MH_ERR_HUB_SERVER_ACTIVE} {MH_ERR_HUB_BAD_REQUEST} it is the default server {MH_ERR_HUB_DATABASE}
   */
  async remove(server: UserServer): Promise<void> {
    const { user, name } = server;
    if (name === DEFAULT_SERVER) {
      throw new MetalhubError('MH_ERR_HUB_BAD_REQUEST', { details: { reason: 'only named servers are deleted' } });
    }
    if (!isAtRest(server.state)) throw new MetalhubError('MH_ERR_HUB_SERVER_ACTIVE');
    const id = idOf(user, name);
    if (this.#servers.get(id) !== server) return;
    // First: who starts one of this name meanwhile gets another, whose row comes after the deletion.
    this.#servers.delete(id);
    server.isForgotten = true;
    try {
      await this.#services.database.write((transaction) => deleteServer(transaction, user.id, name));
    } catch (error) {
      server.isForgotten = false;
      this.#add(server);
      throw error;
    }
    this.#services.onForgotten(server);
    this.#services.log.notice('server deleted', { user: user.name, server: name });
  }

  /** Lets the processes of a server stand still, or go on. @throws {MH_ERR_SPAWN_NOT_RUNNING} */
  async setFrozen(server: UserServer, isFrozen: boolean): Promise<void> {
    const { spawner, log } = this.#services;
    server.seen(await spawner.setFrozen({ key: server.user.key, server: server.name }, isFrozen), true);
    log.notice(isFrozen ? 'server frozen' : 'server thawed', { user: server.user.name, server: server.name });
  }

  /** Routes of servers that run, by prefix. */
  wantedRoutes(): Map<string, RouteRequest> {
    const routes = new Map<string, RouteRequest>();
    for (const { path, wantedRoute } of this.#servers.values()) {
      if (wantedRoute !== undefined) routes.set(path, wantedRoute);
    }
    return routes;
  }

  /** A route that is not wanted but must stay: it may lead to a server that runs. */
  isProtected(prefix: string, invocationId: string | null): boolean {
    if (!this.isSettled) return true;
    if (invocationId !== null && [...this.#strangers.values()].includes(invocationId)) return true;
    return this.list().some((server) => server.isProvisional && server.path === prefix);
  }

  #takeSnapshot(statuses: readonly ServerStatus[]): void {
    const seen = new Set<UserServer>();
    const strangers = new Map<string, string>();
    for (const status of statuses) {
      const server = this.#findServerOf(status);
      server?.seen(status);
      if (server !== undefined) seen.add(server);
      if (server === undefined || isAtRest(server.state)) this.#noteStranger(strangers, status);
    }
    for (const server of this.list()) {
      if (seen.has(server) || isAtRest(server.state)) continue;
      server.seen(absentStatus({ key: server.user.key, server: server.name }));
    }
    this.#strangers = strangers;
    this.#isSettled = true;
    this.#services.routes.request();
  }

  #takeChange(status: ServerStatus): void {
    this.#findServerOf(status)?.seen(status);
    this.#watch.adjust();
  }

  #findServerOf({ key, server: name }: ServerStatus): UserServer | undefined {
    return this.list().find((server) => server.user.key === key && server.name === name);
  }

  /**
   * A unit that runs without this database knowing of its start: the database was lost, or is an older copy. Whose it
   * is only the spawner's lease can tell, which is asked when its user presses Start.
   */
  #noteStranger(strangers: Map<string, string>, status: ServerStatus): void {
    if (status.invocation_id === null) return;
    const unit = serviceUnit(serverId(status.key, status.server));
    if (!this.#strangers.has(unit)) {
      this.#services.log.warning('a server runs that the database knows nothing of; it is left alone', { unit });
    }
    strangers.set(unit, status.invocation_id);
  }

  #add(server: UserServer): UserServer {
    const id = idOf(server.user, server.name);
    const present = this.#servers.get(id);
    if (present !== undefined) return present;
    this.#servers.set(id, server);
    return server;
  }
}

function idOf(user: User, name: ServerName): string {
  return `${user.id}/${name}`;
}
