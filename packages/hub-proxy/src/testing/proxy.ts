import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log, LogFields } from '@metalhub/base/log.js';
import type { Clock } from '@metalhub/base/time.js';
import type { ProxyState, Route } from '../proxy-state.js';
import type { Settings } from '../settings.js';
import { Worker } from '../worker.js';
import { makeHubKey, type TestHubKey } from './tickets.js';

/** A clock that stands at a time of the test's choosing and goes on from there. */
export class TestClock implements Clock {
  offsetMs = 0;
  /** By how much somebody has set the wall clock. */
  jumpMs = 0;
  nowMs(): number {
    return Date.now() + this.offsetMs + this.jumpMs;
  }
  monotonicMs(): number {
    return performance.now() + this.offsetMs;
  }
}

/** Keeps what is logged. */
export class TestLog implements Log {
  readonly lines: { level: string; message: string; fields: LogFields | undefined }[] = [];
  #write(level: string) {
    return (message: string, fields?: LogFields): void => void this.lines.push({ level, message, fields });
  }
  debug = this.#write('debug');
  info = this.#write('info');
  notice = this.#write('notice');
  warning = this.#write('warning');
  error = this.#write('error');
  critical = this.#write('critical');
  child(): Log {
    return this;
  }
}

/** A worker in this process, on a free port of its own, with its sockets in a directory that goes with it. */
export interface TestProxy {
  readonly port: number;
  readonly directory: string;
  readonly hubPath: string;
  readonly serverPath: string;
  readonly worker: Worker;
  readonly clock: TestClock;
  readonly log: TestLog;
  readonly key: TestHubKey;
  readonly ended: Promise<void>;
  setState(changes: Partial<ProxyState>): Promise<void>;
  annasRoute(changes?: Partial<Route>): Route;
  close(): Promise<void>;
}

export async function startProxy(changes: Partial<Settings> = {}): Promise<TestProxy> {
  const directory = mkdtempSync(join(tmpdir(), 'hub-proxy-'));
  mkdirSync(join(directory, 'servers'));
  const hubPath = join(directory, 'hub.sock');
  const serverPath = join(directory, 'servers', 'anna.sock');
  const key = await makeHubKey();
  const clock = new TestClock();
  const log = new TestLog();
  let onEmpty: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    onEmpty = resolve;
  });
  const settings: Settings = {
    hosts: ['localhost', '127.0.0.1', '[::1]', 'hub.example.org'],
    public_origin: 'http://hub.example.org',
    public_host: 'hub.example.org',
    is_secure: false,
    drain_timeout_ms: 60_000,
    hub_socket_path: hubPath,
    ...changes,
  };
  const annasRoute = (routeChanges: Partial<Route> = {}): Route => ({
    prefix: '/user/anna/',
    host: null,
    target: { kind: 'unix', path: serverPath },
    auth: 'ticket',
    user: 'anna',
    server: '' as Route['server'],
    invocation_id: 'b'.repeat(32),
    token: 't'.repeat(43),
    data: null,
    ...routeChanges,
  });
  let state: ProxyState = { version: 1, routes: [annasRoute()], keys: [key.publicKey], revocations: [] };
  const worker = await Worker.create({ generation: 1, settings, state, log, clock, onEmpty: () => onEmpty() });
  const server = await worker.listen({ host: '127.0.0.1', port: 0 });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    directory,
    hubPath,
    serverPath,
    worker,
    clock,
    log,
    key,
    ended,
    annasRoute,
    setState: (stateChanges) => {
      state = { ...state, ...stateChanges, version: state.version + 1 };
      return worker.setState(state);
    },
    close: async () => {
      worker.end(0);
      for (const socket of clients) socket.destroy();
      await ended;
      await worker.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const clients = new Set<Socket>();

/** A client that sends exact bytes. */
export interface RawClient {
  readonly socket: Socket;
  send(bytes: string): void;
  received(): string;
  /** Resolves when the text has come; fails when the connection ends before. */
  waitFor(text: string): Promise<void>;
  readonly closed: Promise<string>;
}

export function openClient(port: number, bytes = ''): RawClient {
  const socket = connect({ port, host: '127.0.0.1' });
  clients.add(socket);
  let all = '';
  const waiting = new Set<() => void>();
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    all += text;
    for (const check of waiting) check();
  });
  socket.on('error', () => undefined);
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => {
      clients.delete(socket);
      resolve(all);
    });
  });
  if (bytes !== '') socket.write(bytes, 'latin1');
  return {
    socket,
    send: (more) => void socket.write(more, 'latin1'),
    received: () => all,
    closed,
    waitFor: (text) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (!all.includes(text)) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        void closed.then((got) =>
          reject(new Error(`closed before ${JSON.stringify(text)}; got ${JSON.stringify(got)}`)),
        );
        check();
      }),
  };
}

/** Sends bytes, and returns all that comes until the proxy closes. */
export function exchangeBytes(port: number, bytes: string): Promise<string> {
  return openClient(port, bytes).closed;
}

/** One request that asks for the connection to be closed. */
export function ask(port: number, line: string, fields: readonly string[] = [], body = ''): Promise<string> {
  const head = [`${line} HTTP/1.1`, `Host: 127.0.0.1:${port}`, 'Connection: close', ...fields, '', ''].join('\r\n');
  return exchangeBytes(port, head + body);
}

export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);
}

export function fieldOf(answer: string, name: string): string | undefined {
  const head = answer.split('\r\n\r\n', 1)[0] ?? '';
  const line = head.split('\r\n').find((candidate) => candidate.toLowerCase().startsWith(`${name.toLowerCase()}:`));
  return line?.slice(name.length + 1).trim();
}
