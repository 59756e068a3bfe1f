import { chmodSync, chownSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Machine } from './machine.js';
import { TicketMaker } from './test-ticket.js';

const CONTROL = '/run/metalhub/proxy.sock';
const SESSION_ID = 'c'.repeat(32);

export interface ControlAnswer {
  readonly status: number;
  readonly text: string;
}

export interface Generation {
  readonly generation: number;
  readonly pid: number;
  readonly draining: boolean;
  readonly connections: number;
}

/** The proxy of a machine, without the hub: routes, keys and servers behind it are the test's own. */
export class ProxyRig {
  readonly #machine: Machine;
  readonly #tickets = new TicketMaker();
  readonly #root: string;
  readonly #group: number;
  readonly #servers = new Set<Server>();
  readonly #sockets = new Set<Socket>();

  private constructor(machine: Machine, root: string, group: number) {
    this.#machine = machine;
    this.#root = root;
    this.#group = group;
  }

  /** The hub is shut away: it would remove our routes and put its own keys in the place of ours. */
  static async setUp(machine: Machine): Promise<ProxyRig> {
    await machine.run(['systemctl', 'mask', '--runtime', '--now', 'hub.socket', 'hub-admin.socket', 'hub.service']);
    const group = Number((await machine.run(['getent', 'group', 'metalhub-proxy'])).split(':')[2]);
    const rig = new ProxyRig(machine, await machine.path(''), group);
    await rig.control('PUT', '/api/keys', rig.#tickets.publicKeys);
    return rig;
  }

  /** Where this process finds the control socket. */
  get controlPath(): string {
    return `${this.#root}${CONTROL}`;
  }

  async control(method: string, path: string, body?: unknown): Promise<ControlAnswer> {
    const answer = await this.send(method, path, body === undefined ? undefined : JSON.stringify(body));
    if (answer.status >= 500) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer;
  }

  send(method: string, path: string, body?: string): Promise<ControlAnswer> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      const sent = request({ socketPath: this.controlPath, method, path, agent: false, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (piece: string) => {
          text += piece;
        });
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
        answer.on('error', reject);
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }

  /**
   * A server of this process where the machine's proxy looks for those of users.
   *
   * @param auth `ticket` as our servers have it, `upstream` as services have it, which takes the other way through the proxy
   */
  async serve(name: string, onConnection: (socket: Socket) => void, auth: 'ticket' | 'upstream'): Promise<Server> {
    const path = `/run/metalhub/servers/${name}.sock`;
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      onConnection(socket);
    });
    this.#servers.add(server);
    const here = `${this.#root}${path}`;
    rmSync(here, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(here, 4096, resolve);
    });
    chownSync(here, 0, this.#group);
    chmodSync(here, 0o660);
    const target = `unix+http://${encodeURIComponent(path)}`;
    const prefix = auth === 'ticket' ? this.prefix(name) : `/services/${name}/`;
    const route = auth === 'ticket' ? { target, auth, user: name, server: '' } : { target, auth };
    const { status, text } = await this.control('POST', `/api/routes${prefix}`, route);
    if (status !== 201) throw new Error(`${status} ${text}`);
    return server;
  }

  /** Ends all its servers, and what they have open. */
  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  prefix(name: string): string {
    return `/user/${name}/`;
  }

  /** Header line of a visitor who may use the server. */
  cookie(name: string): string {
    return this.#tickets.cookie(name, SESSION_ID);
  }

  async generations(): Promise<readonly Generation[]> {
    return JSON.parse((await this.control('GET', '/api/status')).text).generations;
  }

  /** The workers that accept. */
  async workers(): Promise<ProcessWatch> {
    const accepting = (await this.generations()).filter(({ draining }) => !draining);
    return new ProcessWatch(accepting.map(({ pid }) => `${this.#root}/proc/${pid}`));
  }

  async supervisor(): Promise<ProcessWatch> {
    const pid = await this.#machine.run(['systemctl', 'show', '-P', 'MainPID', 'hub-proxy.service']);
    return new ProcessWatch([`${this.#root}/proc/${pid.trim()}`]);
  }

  /** One number of `/metrics`. @param sample with its labels, as it is written there */
  async metric(sample: string): Promise<number> {
    const { text } = await this.control('GET', '/metrics');
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `));
    return Number(line?.slice(sample.length + 1));
  }
}

/** What /proc says of processes of the machine, taken together. */
export class ProcessWatch {
  readonly #directories: readonly string[];

  constructor(directories: readonly string[]) {
    this.#directories = directories;
  }

  get count(): number {
    return this.#directories.length;
  }

  /** Memory, shared pages by share. */
  pssBytes(): number {
    const kib = this.#read('smaps_rollup').map((text) => Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0));
    return kib.reduce((sum, each) => sum + each, 0) * 1024;
  }

  /** Processor time since they started, in seconds. */
  cpuSec(): number {
    const ticks = this.#read('stat').map((text) => {
      const fields = text.replace(/^.*\) /, '').split(' ');
      return Number(fields[11]) + Number(fields[12]);
    });
    return ticks.reduce((sum, each) => sum + each, 0) / 100;
  }

  /** Whether all are there. */
  get isAlive(): boolean {
    try {
      return this.#read('stat').length === this.count;
    } catch {
      return false;
    }
  }

  #read(file: string): readonly string[] {
    return this.#directories.map((directory) => readFileSync(`${directory}/${file}`, 'utf8'));
  }
}

export const PORT = 8000;
export const HOST = `localhost:${PORT}`;

/** Head of a request as a page of this site sends it. */
export function requestHead(line: string, fields: readonly string[]): string {
  return [`${line} HTTP/1.1`, `Host: ${HOST}`, `Origin: http://${HOST}`, ...fields, '', ''].join('\r\n');
}

/** A connection to the proxy that has been made. */
export function openConnection(options: { localAddress?: string; host?: string } = {}): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: PORT, host: '127.0.0.1', ...options });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      socket.on('error', () => socket.destroy());
      resolve(socket);
    });
  });
}

export interface Timed {
  readonly status: number;
  readonly text: string;
  readonly ms: number;
}

/** One request on a connection of its own, as a visitor who came just now. Status 0: the connection failed. */
export function visit(
  path: string,
  cookie: string,
  options: { method?: string; body?: string; localAddress?: string; host?: string } = {},
): Promise<Timed> {
  const { method = 'GET', body, host = '127.0.0.1', localAddress } = options;
  const begin = performance.now();
  return new Promise((resolve) => {
    const headers = { host: HOST, cookie, origin: `http://${HOST}`, accept: 'text/html' };
    const from = localAddress === undefined ? {} : { localAddress };
    const sent = request({ host, port: PORT, method, path, agent: false, headers, ...from }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => {
        text += piece;
      });
      answer.on('error', () => resolve({ status: 0, text, ms: performance.now() - begin }));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text, ms: performance.now() - begin }));
    });
    sent.on('error', (error) => resolve({ status: 0, text: error.message, ms: performance.now() - begin }));
    sent.end(body);
  });
}

/** Visits a path again and again while something else goes on; resolves with what was seen. */
export async function visitDuring(path: string, cookie: string, work: Promise<unknown>): Promise<VisitSummary> {
  const seen: Timed[] = [];
  let isOver = false;
  const stop = (): void => {
    isOver = true;
  };
  work.then(stop, stop);
  do {
    seen.push(await visit(path, cookie));
    await new Promise((resolve) => setTimeout(resolve, 20));
  } while (!isOver);
  await work;
  const times = seen.map(({ ms }) => ms).sort((a, b) => a - b);
  return {
    count: seen.length,
    failed: seen.filter(({ status }) => status !== 200).map(({ status, text }) => `${status} ${text.slice(0, 80)}`),
    p99Ms: times[Math.floor((times.length - 1) * 0.99)] ?? 0,
    maxMs: times.at(-1) ?? 0,
  };
}

export interface VisitSummary {
  readonly count: number;
  readonly failed: readonly string[];
  readonly p99Ms: number;
  readonly maxMs: number;
}
