import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { MetalhubError } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { connectWire, type WireClient } from '@metalhub/wire/client.js';
import {
  formatFilePath,
  type GenerationRequests,
  generationProtocol,
  type WorkerReport,
} from './generation-protocol.js';
import type { ProxyState } from './proxy-state.js';
import type { Settings } from './settings.js';
import { formatForGeneration } from './state-format.js';

const START_TIMEOUT_MS = 30 * SECOND_MS;
/** jose verifies Ed25519 with WebCrypto, which Node 20 calls experimental at every start. */
const NODE_FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=2', '--expose-gc'];
const CALL_TIMEOUT_MS = 10 * SECOND_MS;

/** A worker as its supervisor sees it, whether it started it or found it. */
export class Generation {
  readonly number: number;
  readonly pid: number;
  readonly #client: WireClient<GenerationRequests>;
  readonly #format: number;
  /** Of a worker that this supervisor started: after its end its pid may be somebody else's. */
  readonly #child: ChildProcess | undefined;

  private constructor(
    number: number,
    pid: number,
    client: WireClient<GenerationRequests>,
    format: number,
    child?: ChildProcess,
  ) {
    this.number = number;
    this.pid = pid;
    this.#client = client;
    this.#format = format;
    this.#child = child;
  }

  /** Finds a worker that an earlier supervisor left. @throws {MetalhubError} nobody answers there */
  static async adopt(number: number, socketPath: string): Promise<Generation> {
    const client = await connectWire(generationProtocol(socketPath), {
      path: socketPath,
      connectTimeoutMs: 2 * SECOND_MS,
    });
    try {
      const { pid } = await client.call('Report', {}, { timeoutMs: CALL_TIMEOUT_MS });
      return new Generation(number, pid, client, readFormat(socketPath));
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Starts a worker; resolves when it accepts connections on the descriptors. */
  static async start(options: {
    number: number;
    program: string;
    socketPath: string;
    listenFds: readonly number[];
    settings: Settings;
    state: ProxyState;
  }): Promise<Generation> {
    const { number, program, socketPath, listenFds, settings, state } = options;
    const args = [...NODE_FLAGS, program, String(number), socketPath, String(listenFds.length)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'pipe', ...listenFds] });
    try {
      await untilListening(child);
      const client = await connectWire(generationProtocol(socketPath), { path: socketPath });
      const format = readFormat(socketPath);
      const params = { settings, state: formatForGeneration(state, format) };
      await client.call('Start', params, { timeoutMs: START_TIMEOUT_MS });
      return new Generation(number, child.pid ?? 0, client, format, child);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Resolves when the worker is gone, or did not answer in time, which ends the connection to it. */
  get gone(): Promise<void> {
    return this.#client.closed;
  }

  async setState(state: ProxyState): Promise<void> {
    const params = { state: formatForGeneration(state, this.#format) };
    await this.#client.call('SetState', params, { timeoutMs: CALL_TIMEOUT_MS });
  }

  async drain(timeoutMs: number): Promise<void> {
    await this.#client.call('Drain', { timeout_ms: timeoutMs }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  async end(withinMs: number): Promise<void> {
    await this.#client.call('End', { within_ms: withinMs }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  report(): Promise<WorkerReport> {
    return this.#client.call('Report', {}, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** The last resort, for one that does not answer. */
  kill(): void {
    if (this.#child !== undefined) {
      this.#child.kill('SIGKILL');
      return;
    }
    try {
      process.kill(this.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  }
}

/** Workers of the first version wrote no such file. */
function readFormat(socketPath: string): number {
  try {
    const format = Number(readFileSync(formatFilePath(socketPath), 'utf8'));
    return Number.isSafeInteger(format) && format > 0 ? format : 1;
  } catch {
    return 1;
  }
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
