import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { hostPid } from './host-cgroup.js';
import type { Machine } from './machine.js';

/** Only files are written with these; sockets and pipes have others. */
const CALLS = 'pwrite64,pwritev,fsync,fdatasync';

/** Makes a daemon's disk fail: from outside, strace answers its writes of files with EIO instead of the kernel. */
export class DiskFault {
  readonly #strace: ChildProcess;

  private constructor(strace: ChildProcess) {
    this.#strace = strace;
  }

  /** Why a test that needs it cannot run; `false` when it can. */
  static missing(): string | false {
    const { status } = spawnSync('strace', ['-e', 'trace=fsync', '-e', 'inject=fsync:error=EIO', 'true']);
    return status === 0 ? false : 'strace is missing, or may not trace';
  }

  /** Resolves when every thread of the unit's main process is affected. */
  static async start(machine: Machine, unit: string): Promise<DiskFault> {
    const pid = Number(await machine.run(['systemctl', 'show', '-P', 'MainPID', unit]));
    const host = String(await hostPid(machine, pid));
    const what = ['-e', `trace=${CALLS}`, '-e', `inject=${CALLS}:error=EIO`, '-o', '/dev/null'];
    const strace = spawn('strace', ['-f', ...what, '-p', host], { stdio: ['ignore', 'ignore', 'pipe'] });
    for await (const line of createInterface({ input: strace.stderr })) {
      // It is said of all threads at once, when all are.
      if (line.includes('attached')) return new DiskFault(strace);
      throw new Error(`strace: ${line}`);
    }
    throw new Error('strace ended');
  }

  /** The disk is well again. */
  async end(): Promise<void> {
    if (this.#strace.exitCode !== null || this.#strace.signalCode !== null) return;
    const ended = once(this.#strace, 'exit');
    this.#strace.kill('SIGINT');
    await ended;
  }
}
