import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { createServer, type Server } from 'node:net';
import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { serverId } from '@metalhub/base/names.js';
import { type LogLine, logsProtocol } from '@metalhub/wire/logs.js';
import { type PamOutcome, pamProtocol } from '@metalhub/wire/pam.js';
import type { ParamsOf } from '@metalhub/wire/protocol.js';
import type { RouteReport, RouteRequest } from '@metalhub/wire/proxy-api.js';
import { serveOnce } from '@metalhub/wire/serve-once.js';
import { type Handlers, type RequestContext, serveWire } from '@metalhub/wire/server.js';
import {
  absentStatus,
  baseOf,
  type ServerStatus,
  type SpawnerRequests,
  spawnerProtocol,
} from '@metalhub/wire/spawner.js';
import type { StartRequest, WatchEvent } from '../clients/spawner-client.js';

/** For tests: programs at the other end of the hub's sockets that speak the protocols and do as they are told. */

export function listen(server: Server | HttpServer, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
}

type Watcher = RequestContext<WatchEvent>;
type Starter = (
  request: StartRequest,
  peer: SpawnerPeer,
  context: RequestContext<{ stage: 'account' | 'home' | 'unit' | 'waiting' }>,
) => Promise<ServerStatus>;

/** Remembers servers as systemd would. */
export class SpawnerPeer {
  readonly requests: { method: string; params: unknown }[] = [];
  /** By id: `anna`, `anna:gpu`. */
  readonly units = new Map<string, ServerStatus>();
  readonly #watchers = new Set<Watcher>();
  readonly #sockets = new Set<{ destroy: () => void }>();
  #server: Server | undefined;
  readonly #path: string;
  readonly #log: Log;
  #invocations = 0;
  /** What a start does; by default it succeeds at once. */
  onStart: Starter = async (request, peer, context) => {
    for (const stage of ['account', 'home', 'unit', 'waiting'] as const) context.emit({ stage });
    return peer.run(request);
  };
  onLimits: (request: ParamsOf<SpawnerRequests, 'SetLimits'>) => Promise<void> = async () => undefined;
  onStop: (peer: SpawnerPeer, key: string) => Promise<void> = async () => undefined;

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  async open(): Promise<void> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    serveWire(server, spawnerProtocol, this.#handlers(), { log: this.#log });
    await listen(server, this.#path);
    this.#server = server;
  }

  /** Ends as a killed process does: all connections at once. */
  async crash(): Promise<void> {
    const server = this.#server;
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  count(method: string): number {
    return this.requests.filter((request) => request.method === method).length;
  }

  run(request: StartRequest): ServerStatus {
    const known = this.units.get(serverId(request.key, request.server));
    if (known !== undefined) return known;
    const invocation_id = String(++this.#invocations).padStart(32, '0');
    return this.change({
      ...absentStatus(request),
      active_state: 'active',
      invocation_id,
      start_id: request.start_id,
      profile: request.profile,
      started_at_ms: Date.now(),
      base: baseOf(request.base_url, request.server),
    });
  }

  change(status: ServerStatus): ServerStatus {
    const id = serverId(status.key, status.server);
    const isGone = status.active_state === 'inactive' || status.active_state === 'failed';
    if (isGone) this.units.delete(id);
    else this.units.set(id, status);
    for (const watcher of this.#watchers) watcher.emit({ change: 'changed', server: status });
    return status;
  }

  #setFrozen({ key, server }: Pick<ServerStatus, 'key' | 'server'>, frozen: boolean): ServerStatus {
    const known = this.units.get(serverId(key, server));
    if (known === undefined) throw new MetalhubError('MH_ERR_SPAWN_NOT_RUNNING');
    return this.change({ ...known, frozen });
  }

  #handlers(): Handlers<SpawnerRequests> {
    const note = (method: string, params: unknown): void => {
      this.requests.push({ method, params });
    };
    return {
      StartServer: (params, context) => {
        note('StartServer', params);
        return this.onStart(params, this, context);
      },
      StopServer: async (params) => {
        note('StopServer', params);
        await this.onStop(this, params.key);
        const known = this.units.get(serverId(params.key, params.server));
        return known === undefined ? absentStatus(params) : this.change({ ...absentStatus(params), result: 'success' });
      },
      SetLimits: async (params) => {
        note('SetLimits', params);
        await this.onLimits(params);
        return {};
      },
      Freeze: async (params) => this.#setFrozen(params, true),
      Thaw: async (params) => this.#setFrozen(params, false),
      Status: async (params) => {
        note('Status', params);
        return this.units.get(serverId(params.key, params.server)) ?? absentStatus(params);
      },
      List: async () => ({ servers: [...this.units.values()] }),
      Watch: (_params, context) => {
        note('Watch', {});
        for (const server of this.units.values()) context.emit({ change: 'snapshot', server });
        context.emit({ change: 'snapshot-end', server: null });
        this.#watchers.add(context);
        context.signal.addEventListener('abort', () => this.#watchers.delete(context));
        return new Promise(() => undefined);
      },
    };
  }
}

export function refuseStart(
  code: 'MH_ERR_SPAWN_EXITED' | 'MH_ERR_SPAWN_IDENTITY' | 'MH_ERR_SPAWN_JUPYTER_MISSING',
): never {
  throw new MetalhubError(code, { details: { result: 'exit-code', status: 1 } });
}

export class PamPeer {
  readonly attempts: { name: string; password: string; remote_host: string }[] = [];
  /** Passwords by name; the outcome for a name here wins over its password. */
  readonly passwords = new Map<string, string>();
  readonly outcomes = new Map<string, PamOutcome>();
  groups: string[] = ['metalhub-users'];
  running = 0;
  mostRunning = 0;
  delayMs = 0;

  async open(path: string, log: Log): Promise<Server> {
    const server = createServer();
    serveWire(
      server,
      pamProtocol,
      {
        Authenticate: async (params) => {
          this.attempts.push(params);
          this.mostRunning = Math.max(this.mostRunning, ++this.running);
          await new Promise((resolve) => setTimeout(resolve, this.delayMs));
          this.running--;
          const outcome = this.#outcome(params.name, params.password);
          return { outcome, groups: outcome === 'accepted' ? this.groups : [], reason: null };
        },
      },
      { log },
    );
    await listen(server, path);
    return server;
  }

  #outcome(name: string, password: string): PamOutcome {
    const known = this.passwords.get(name);
    if (known === undefined) return 'unknown_user';
    if (known !== password) return 'wrong_password';
    return this.outcomes.get(name) ?? 'accepted';
  }
}

export class LogsPeer {
  lines: LogLine[] = [];
  /** Ends after the lines as a killed process does. */
  isKilled = false;
  readonly queries: unknown[] = [];
  emitted = 0;

  async open(path: string, log: Log): Promise<Server> {
    const server = createServer((socket) => {
      void serveOnce(
        socket,
        logsProtocol,
        {
          ReadServerLog: async (params, { emit, drained }) => {
            this.queries.push(params);
            for (const line of this.lines) {
              emit(line);
              this.emitted++;
              await drained();
            }
            if (this.isKilled) socket.destroy();
            return {};
          },
        },
        { log, requestTimeoutMs: 10_000 },
      );
    });
    await listen(server, path);
    return server;
  }
}

/** The proxy's control API over a map of routes. */
export class ProxyPeer {
  readonly routes = new Map<string, RouteRequest>();
  readonly calls: string[] = [];
  /** When each route was last used, by prefix; just now when it is not here. */
  readonly activity = new Map<string, number>();
  keys: unknown[] = [];
  revocations: { session_id: string; until: number }[] = [];
  pid = 100;
  isBroken = false;
  /** It cannot store what it is told. */
  isFull = false;
  /** Requests that come before it resolves are answered after it. */
  isBusy: Promise<void> | undefined;
  #server: HttpServer | undefined;

  async open(path: string): Promise<void> {
    const server = createHttpServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => void this.#respond(request, response, Buffer.concat(chunks)));
    });
    await listen(server, path);
    this.#server = server;
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  async #respond(request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
    await this.isBusy;
    if (this.isBroken) return void request.socket.destroy();
    const sent: unknown = body.length === 0 ? undefined : JSON.parse(body.toString());
    const full = { status: 503, code: 'MH_ERR_PROXY_STATE', message: 'The disk is full.', hint: null };
    if (this.isFull && request.method !== 'GET') {
      return void response.writeHead(503, { 'content-type': 'application/json' }).end(JSON.stringify(full));
    }
    const [status, answer] = this.#answer(request.method ?? '', request.url ?? '', sent);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(answer === undefined ? '' : JSON.stringify(answer));
  }

  #answer(method: string, url: string, body: unknown): [number, unknown?] {
    this.calls.push(`${method} ${url}`);
    const prefix = url.startsWith('/api/routes/') ? url.slice('/api/routes'.length) : undefined;
    if (method === 'GET' && url === '/api/status')
      return [200, { version: '1', pid: this.pid, routes: this.routes.size }];
    if (method === 'GET' && url === '/api/routes?exact=1')
      return [
        200,
        Object.fromEntries([...this.routes].map(([key, route]) => [key, report(route, this.activity.get(key))])),
      ];
    if (method === 'PATCH' && url === '/api/routes') {
      const { put, remove } = body as { put: { prefix: string; route: RouteRequest }[]; remove: string[] };
      for (const key of remove) this.routes.delete(key);
      for (const { prefix: key, route } of put) this.routes.set(key, route);
      return [204];
    }
    if (method === 'POST' && prefix !== undefined) return this.routes.set(prefix, body as RouteRequest) && [201];
    if (method === 'DELETE' && prefix !== undefined) return [this.routes.delete(prefix) ? 204 : 404];
    if (method === 'PUT' && url === '/api/keys') {
      this.keys = (body as { keys: unknown[] }).keys;
      return [204];
    }
    if (method === 'POST' && url === '/api/revocations') {
      this.revocations.push(...(body as { revocations: { session_id: string; until: number }[] }).revocations);
      return [204];
    }
    return [404, {}];
  }
}

function report(
  { target, auth = 'upstream', user, server, invocation_id }: RouteRequest,
  usedMs: number = Date.now(),
): RouteReport {
  return {
    target,
    auth,
    user: user ?? null,
    server: server ?? null,
    invocation_id: invocation_id ?? null,
    owner: 'hub',
    last_activity: new Date(usedMs).toISOString(),
  };
}
