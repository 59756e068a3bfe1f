import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { socketPeerCredentials } from '@metalhub/systemd/peer.js';
import { connectWire, type WireClient } from '@metalhub/wire/client.js';
import { readFormat } from './format-file.js';
import {
  formatFilePath,
  type GenerationRequests,
  generationProtocol,
  type PlacedReport,
} from './generation-protocol.js';
import type { Delta, ProxyState } from './proxy-state.js';
import type { Settings } from './settings.js';
import { forGeneration, formatForGeneration } from './state-format.js';
import { socketName, type WorkerName } from './worker-name.js';

const START_TIMEOUT_MS = 30 * SECOND_MS;
/** jose verifies Ed25519 with WebCrypto, which Node 20 calls experimental at every start. */
const NODE_FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=2', '--expose-gc'];
const CALL_TIMEOUT_MS = 5 * SECOND_MS;

/** Where the state comes from. */
export interface StateSource {
  snapshot(): ProxyState;
  /** `undefined` when it is too long ago. */
  changesSince(version: number): readonly Delta[] | undefined;
  /** @param key of a route */
  hasRoute(key: string): boolean;
  /** Goes on above a version that a worker has, if need be: it would ignore what is older. */
  outrun(version: number): void;
}

/** A worker as its supervisor sees it, whether it started it or found it. */
export class WorkerProcess {
  readonly name: WorkerName;
  readonly #client: WireClient<GenerationRequests>;
  /** The newest form of the state that it understands. */
  readonly #format: number;
  /** Of the state it has from us, as far as we know. */
  #version: number | undefined;
  /** Of the state that an earlier supervisor gave it. */
  #earlierVersion = 0;

  private constructor(name: WorkerName, client: WireClient<GenerationRequests>, format: number) {
    this.name = name;
    this.#format = format;
    this.#client = client;
  }

  /** Finds a worker that an earlier supervisor left. @throws {MetalhubError} it does not answer */
  static async adopt(name: WorkerName, directory: string): Promise<WorkerProcess> {
    const path = join(directory, socketName(name));
    const client = await connectWire(generationProtocol(path), { path, connectTimeoutMs: 2 * SECOND_MS });
    const worker = new WorkerProcess(name, client, readFormat(path));
    try {
      worker.#earlierVersion = (await worker.report()).state_version ?? 0;
      return worker;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Starts a worker; resolves when it accepts connections on the descriptors. */
  static async start(options: {
    name: WorkerName;
    program: string;
    directory: string;
    listenFds: readonly number[];
    settings: Settings;
    state: ProxyState;
  }): Promise<WorkerProcess> {
    const { name, program, directory, listenFds, settings, state } = options;
    const path = join(directory, socketName(name));
    const args = [...NODE_FLAGS, program, String(name.generation), path, String(listenFds.length)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'pipe', ...listenFds] });
    try {
      await untilListening(child);
      const client = await connectWire(generationProtocol(path), { path });
      const format = readFormat(path);
      const params = { settings, state: formatForGeneration(state, format) };
      await client.call('Start', params, { timeoutMs: START_TIMEOUT_MS });
      const worker = new WorkerProcess(name, client, format);
      worker.#version = state.version;
      return worker;
    } catch (error) {
      child.kill('SIGKILL');
      removeSocket(directory, name);
      throw error;
    }
  }

  /** Resolves when the worker is gone, or did not answer in time, which ends the connection to it. */
  get gone(): Promise<void> {
    return this.#client.closed;
  }

  /** Brings it up to date, by what changed since the last time where that is known. */
  async update(source: StateSource): Promise<void> {
    const base = this.#version;
    if (base === undefined) source.outrun(this.#earlierVersion);
    const changes = this.#format >= 2 && base !== undefined ? source.changesSince(base) : undefined;
    if (changes?.length === 0) return;
    if (base !== undefined && changes !== undefined) {
      const params = { base, changes: changes.map((delta) => ({ ...delta, put: delta.put.map(forGeneration) })) };
      const { applied } = await this.#client.call('ChangeState', params, { timeoutMs: CALL_TIMEOUT_MS });
      this.#version = changes.at(-1)?.version;
      if (applied) return;
    }
    const state = source.snapshot();
    const params = { state: formatForGeneration(state, this.#format) };
    await this.#client.call('SetState', params, { timeoutMs: CALL_TIMEOUT_MS });
    this.#version = state.version;
  }

  async drain(timeoutMs: number): Promise<void> {
    await this.#client.call('Drain', { timeout_ms: timeoutMs }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  async end(withinMs: number): Promise<void> {
    await this.#client.call('End', { within_ms: withinMs }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** One that does not answer in time is no longer connected afterwards. */
  async report(): Promise<PlacedReport> {
    const report = await this.#client.call('Report', {}, { timeoutMs: CALL_TIMEOUT_MS });
    return { ...report, index: this.name.index };
  }
}

/** How long one that hangs may take to let the kernel connect us. */
const KILL_CONNECT_MS = SECOND_MS;

/**
 * The last resort, for one that does not answer. Whom to kill is asked of the kernel, which knows who listens on the
 * socket: a number noted earlier may belong to another process by now. Resolves when the signal is sent, or nobody is there.
 */
export function killWorker(directory: string, name: WorkerName): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ path: join(directory, socketName(name)) });
    const finish = (): void => {
      socket.destroy();
      resolve();
    };
    socket.setTimeout(KILL_CONNECT_MS, finish);
    socket.once('error', finish);
    socket.once('connect', () => {
      try {
        process.kill(socketPeerCredentials(socket).pid, 'SIGKILL');
      } catch {
        // It has just ended.
      }
      finish();
    });
  });
}

export function removeSocket(directory: string, name: WorkerName): void {
  const path = join(directory, socketName(name));
  try {
    rmSync(formatFilePath(path), { force: true });
    unlinkSync(path);
  } catch {
    // The worker removed it itself.
  }
}

/** Whether it ended, or was cut off, rather than keep silent. */
export function isConnectionLost(error: unknown): boolean {
  const code = error instanceof MetalhubError ? error.code : undefined;
  return code === 'MH_ERR_WIRE_CLOSED' || code === 'MH_ERR_WIRE_UNREACHABLE';
}

/** Whether the socket's owner has ended: only then nobody listens. */
export function isNobodyThere(error: unknown): boolean {
  const code = error instanceof Error ? systemErrorCode(error.cause) : undefined;
  return code === 'ECONNREFUSED' || code === 'ENOENT';
}

/** The worker writes one line into the pipe once its socket is there. The pipe stays open as the sign of our life. */
function untilListening(child: ChildProcess): Promise<void> {
  const pipe = child.stdio[3] as Duplex;
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => {
      clearTimeout(timer);
      reject(new MetalhubError('MH_ERR_WIRE_UNREACHABLE', { details: { peer: 'hub-proxy worker', reason } }));
    };
    const timer = setTimeout(() => fail('it did not start in time'), START_TIMEOUT_MS);
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, signal) => fail(`it ended at its start (${signal ?? code})`));
    pipe.on('error', () => pipe.destroy());
    pipe.once('data', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
