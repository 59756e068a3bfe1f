import { chmodSync, rmSync, unlinkSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { SECOND_MS, systemClock } from '@metalhub/base/time.js';
import { releaseMemoryWhenIdle } from '@metalhub/systemd/idle-memory.js';
import type { Handlers } from '@metalhub/wire/server.js';
import { serveWire } from '@metalhub/wire/server.js';
import { writeFinalCounters } from './counter-ledger.js';
import { writeFormat } from './format-file.js';
import { formatFilePath, type GenerationRequests, generationProtocol } from './generation-protocol.js';
import { createProxyLog } from './log.js';
import { readOwnMemory } from './own-memory.js';
import { Worker } from './worker.js';

/** The pipe to the supervisor; its end means that there is none any more. Listening sockets follow. */
const LIVENESS_FD = 3;
const FIRST_LISTEN_FD = 4;
const SUPERVISOR_LOST_DRAIN_MS = 24 * 3600 * SECOND_MS;
/**
 * Without a supervisor the worker goes on accepting for so long: at a restart, or after a crash, the next one is on its way
 * and lets it drain once its own worker accepts, so nobody waits for the start of two processes.
 */
const HANDOVER_MS = 20 * SECOND_MS;
/** When the supervisor ends, this connection may end a moment before the pipe does. */
const CONTROL_LOST_MS = 100;

/** Arguments: generation number, path of its socket, number of listening descriptors. */
function main(): void {
  const [generation = 0, listenFdCount = 0] = [process.argv[2], process.argv[4]].map(Number);
  const socketPath = process.argv[3] ?? '';
  const log = createProxyLog().child({ generation });
  let worker: Worker | undefined;
  let drainTimeoutMs = SUPERVISOR_LOST_DRAIN_MS;

  function leave(): void {
    if (worker !== undefined) writeFinalCounters(socketPath, worker.report());
    try {
      rmSync(formatFilePath(socketPath), { force: true });
      unlinkSync(socketPath);
    } catch {
      // The next supervisor removes what is left.
    }
    log.debug('worker ends');
    process.exit(0);
  }

  const handlers: Handlers<GenerationRequests> = {
    async Start({ settings, state }) {
      if (worker !== undefined) throw new MetalhubError('MH_ERR_WIRE_FORBIDDEN');
      drainTimeoutMs = settings.drain_timeout_ms;
      const started = await Worker.create({ generation, settings, state, log, clock: systemClock, onEmpty: leave });
      for (let index = 0; index < listenFdCount; index++) await started.listen({ fd: FIRST_LISTEN_FD + index });
      worker = started;
      return {};
    },
    async SetState({ state }) {
      await worker?.setState(state);
      return {};
    },
    async ChangeState({ base, changes }) {
      return { applied: (await worker?.changeState(base, changes)) ?? false };
    },
    async Drain({ timeout_ms }) {
      // What this supervisor says holds when it is gone, too.
      drainTimeoutMs = timeout_ms;
      drain(timeout_ms);
      return {};
    },
    async End({ within_ms }) {
      end(within_ms);
      return {};
    },
    async Report() {
      if (worker === undefined) throw new MetalhubError('MH_ERR_WIRE_FORBIDDEN');
      return { ...worker.report(), memory_bytes: await readOwnMemory() };
    },
  };

  function drain(timeoutMs: number): void {
    if (worker === undefined) leave();
    else worker.drain(timeoutMs);
  }

  function end(withinMs: number): void {
    if (worker === undefined) leave();
    else worker.end(withinMs);
  }

  /**
   * A supervisor that lives, but is no longer connected, has given this worker up for hanging: what was said since then, who
   * was logged out for instance, has not been heard. Another worker accepts by now.
   */
  function onControlLost(): void {
    setTimeout(() => {
      if (!liveness.destroyed && worker !== undefined) drain(drainTimeoutMs);
    }, CONTROL_LOST_MS);
  }

  const liveness = new Socket({ fd: LIVENESS_FD, readable: true, writable: true });
  liveness.on('close', () => {
    if (worker === undefined) leave();
    setTimeout(() => drain(drainTimeoutMs), HANDOVER_MS);
  });
  liveness.on('error', () => liveness.destroy());
  liveness.resume();

  // At shutdown systemd signals every process that is left.
  process.on('SIGTERM', () => end(0));
  // From hub-proxy-stop, when the listening socket is replaced and no supervisor is left to say it.
  process.on('SIGWINCH', () => drain(drainTimeoutMs));
  process.on('SIGINT', () => undefined);
  process.on('SIGHUP', () => undefined);

  releaseMemoryWhenIdle();
  const control = createServer((socket) => socket.on('close', onControlLost));
  serveWire(control, generationProtocol(socketPath), handlers, { log, messageTimeoutMs: 60 * SECOND_MS });
  control.once('error', (error) => {
    log.critical('a worker cannot listen to its supervisor', { err: error, reason: errorText(error) });
    process.exit(1);
  });
  control.listen(socketPath, () => {
    chmodSync(socketPath, 0o600);
    writeFormat(socketPath);
    liveness.write('listening\n');
  });
}

main();
