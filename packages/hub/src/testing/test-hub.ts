import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log, LogFields } from '@metalhub/base/log.js';
import type { Clock } from '@metalhub/base/time.js';
import { parseConfig } from '@metalhub/config/load.js';
import type { Config } from '@metalhub/config/schema.js';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { makeAdminApp } from '../admin-app.js';
import { makeApp } from '../app.js';
import { pamAuthenticator } from '../auth/pam.js';
import { LogsClient } from '../clients/logs-client.js';
import { ProxyClient } from '../clients/proxy-client.js';
import { SpawnerClient } from '../clients/spawner-client.js';
import { openDatabase } from '../db/open.js';
import { type Hub, openHub } from '../hub.js';
import { loadTicketKeys } from '../tickets/ticket-keys.js';
import { LogsPeer, PamPeer, ProxyPeer, SpawnerPeer } from './peers.js';

export interface LogLineSeen {
  level: string;
  message: string;
  fields: LogFields;
}

/** A log that can be looked at. */
export function memoryLog(lines: LogLineSeen[] = []): Log {
  const make = (bound: LogFields): Log => {
    const at = (level: string) => (message: string, fields?: LogFields) =>
      void lines.push({ level, message, fields: { ...bound, ...fields } });
    const levels = {
      debug: at('debug'),
      info: at('info'),
      notice: at('notice'),
      warning: at('warning'),
      error: at('error'),
      critical: at('critical'),
    };
    return { ...levels, child: (fields) => make({ ...bound, ...fields }) };
  };
  return make({});
}

export class TestClock implements Clock {
  wallMs = Date.UTC(2026, 0, 1);
  steadyMs = 1000;

  nowMs(): number {
    return this.wallMs;
  }

  monotonicMs(): number {
    return this.steadyMs;
  }

  /** Time that passes, on both. */
  pass(milliseconds: number): void {
    this.wallMs += milliseconds;
    this.steadyMs += milliseconds;
  }
}

export const DEFAULT_CONFIG = `
  [[login]]
  method = "pam"
  allow = { groups = ["metalhub-users"] }
  [hub]
  admins = { users = ["root-of-all"] }
`;

/** Everything around one hub, in a directory of its own. */
export class TestHub {
  readonly directory = mkdtempSync(join(tmpdir(), 'hub-test-'));
  readonly logLines: LogLineSeen[] = [];
  readonly log = memoryLog(this.logLines);
  readonly spawner = new SpawnerPeer(join(this.directory, 'spawner.sock'), this.log);
  readonly pam = new PamPeer();
  readonly logs = new LogsPeer();
  readonly proxy = new ProxyPeer();
  readonly clock = new TestClock();
  readonly slept: number[] = [];
  /** Accounts of the machine by name. */
  readonly accounts = new Map<string, { uid: number; gid: number; home: string }>();
  /** Groups of each user; an error is what looking them up ends with. */
  readonly groups = new Map<string, readonly string[] | Error>();
  config: Config = parseConfig([{ file: 'test.toml', text: DEFAULT_CONFIG }]);
  readonly #keys = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' });
  readonly #servers: Server[] = [];
  #hub: Hub | undefined;
  #app: FastifyInstance | undefined;
  #admin: FastifyInstance | undefined;

  static async open(prepare: (test: TestHub) => Promise<void> | void = () => undefined): Promise<TestHub> {
    const test = new TestHub();
    await test.spawner.open();
    test.#servers.push(await test.pam.open(join(test.directory, 'pam.sock'), test.log));
    test.#servers.push(await test.logs.open(join(test.directory, 'logs.sock'), test.log));
    await test.proxy.open(join(test.directory, 'proxy.sock'));
    await prepare(test);
    await test.start();
    return test;
  }

  get context() {
    if (this.#hub === undefined) throw new Error('the hub is not open');
    return this.#hub.context;
  }

  get app(): FastifyInstance {
    if (this.#app === undefined) throw new Error('the hub is not open');
    return this.#app;
  }

  get admin(): FastifyInstance {
    if (this.#admin === undefined) throw new Error('the hub is not open');
    return this.#admin;
  }

  async start(): Promise<void> {
    this.#hub = await openHub({
      config: () => this.config,
      database: await openDatabase(join(this.directory, 'hub.sqlite')),
      authenticator: pamAuthenticator({ path: join(this.directory, 'pam.sock') }),
      spawner: new SpawnerClient({ path: join(this.directory, 'spawner.sock') }),
      logs: new LogsClient({ path: join(this.directory, 'logs.sock') }),
      proxy: new ProxyClient({ socketPath: join(this.directory, 'proxy.sock') }),
      ticketKeys: await loadTicketKeys(Buffer.from(this.#keys)),
      serverTokenKey: Buffer.alloc(32, 1),
      cookieKey: Buffer.alloc(32, 2),
      clock: this.clock,
      log: this.log,
      version: '1.2.3',
      groupsOf: async ({ name }) => {
        const groups = this.groups.get(name) ?? [];
        if (groups instanceof Error) throw groups;
        return groups;
      },
      findAccount: async (name) => this.accounts.get(name),
      sleep: async (milliseconds) => {
        this.slept.push(milliseconds);
        this.clock.pass(milliseconds);
        await new Promise((resolve) => setTimeout(resolve, Math.min(milliseconds, 20)));
      },
    });
    this.#app = await makeApp(
      this.context,
      new Map([['a.css', { body: Buffer.from('a{}'), type: 'text/css', etag: '"1"' }]]),
    );
    this.#admin = await makeAdminApp(this.context);
  }

  /** While it is stopped. */
  loseDatabase(): void {
    for (const end of ['', '-wal', '-shm']) rmSync(join(this.directory, `hub.sqlite${end}`), { force: true });
  }

  /** As `systemctl restart hub` does. */
  async stop(): Promise<void> {
    await this.#app?.close();
    await this.#admin?.close();
    await this.#hub?.close();
    this.#hub = undefined;
  }

  async close(): Promise<void> {
    if (this.#hub !== undefined) await this.stop();
    await this.spawner.crash();
    await this.proxy.close();
    for (const server of this.#servers.splice(0)) server.close();
    rmSync(this.directory, { recursive: true });
  }
}

/** A browser: keeps cookies, fills in forms. */
export class Browser {
  readonly cookies = new Map<string, string>();
  readonly #app: () => FastifyInstance;
  readonly #base: () => string;
  readonly address: string;

  constructor(test: TestHub, address = '192.0.2.7') {
    this.#app = () => test.app;
    this.#base = () => test.context.base();
    this.address = address;
  }

  get headers(): Record<string, string> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    return {
      host: 'localhost:8000',
      accept: 'text/html',
      'x-forwarded-for': this.address,
      ...(cookie !== '' && { cookie }),
    };
  }

  async get(url: string, headers: Record<string, string> = {}): Promise<LightMyRequestResponse> {
    return this.#keep(await this.#app().inject({ method: 'GET', url, headers: { ...this.headers, ...headers } }));
  }

  async post(
    url: string,
    fields: Record<string, string>,
    headers: Record<string, string> = {},
  ): Promise<LightMyRequestResponse> {
    const type = {
      'content-type': 'application/x-www-form-urlencoded',
      origin: 'http://localhost:8000',
      'sec-fetch-site': 'same-origin',
    };
    const payload = new URLSearchParams(fields).toString();
    return this.#keep(
      await this.#app().inject({ method: 'POST', url, headers: { ...this.headers, ...type, ...headers }, payload }),
    );
  }

  /** The token of the form in a page. */
  async token(page: string): Promise<string> {
    const { body } = await this.get(page);
    return /name="csrf" value="([^"]+)"/.exec(body)?.[1] ?? '';
  }

  async logIn(username: string, password: string, next = ''): Promise<LightMyRequestResponse> {
    const form = `${this.#base()}/hub/login`;
    const csrf = await this.token(form);
    return await this.post(form, { username, password, next, csrf });
  }

  async submit(url: string, fields: Record<string, string> = {}): Promise<LightMyRequestResponse> {
    const csrf = await this.token(`${this.#base()}/hub/home`);
    return await this.post(`${this.#base()}${url}`, { csrf, server: '', ...fields });
  }

  #keep(response: LightMyRequestResponse): LightMyRequestResponse {
    for (const { name, value } of response.cookies) {
      if (value === '') this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return response;
  }
}

/** Waits for something that another part brings about; a test that waits in vain fails by its own time limit. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  // Long: a machine with much to do takes seconds for what is done at once otherwise.
  const endMs = performance.now() + 20_000;
  while (performance.now() < endMs) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('it did not happen within twenty seconds');
}
