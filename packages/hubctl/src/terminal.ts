import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReadStream } from 'node:tty';
import { closeDescriptor } from '@metalhub/systemd/descriptors.js';
import { makeTerminalRaw } from '@metalhub/systemd/terminal-mode.js';

/** Until what the shell wrote last has come through. */
const DRAIN_MS = 2000;
const STDIN_FD = 0;
const LEAVE_ON: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'];

/** A pseudo-terminal behind the one that hubctl runs on. */
export interface Terminal {
  /** The side of the shell; closed by {@link connect}. */
  readonly slaveFd: number;
  /** From now on what is typed goes to the shell, and what it writes is shown. */
  connect(): void;
  /** Waits until all that the shell wrote is shown. */
  drained(): Promise<void>;
  /** Gives the terminal of before back as it was. */
  close(): void;
}

/** What is used of node-pty, which makes the pair; its own classes want a child process with it. */
interface Native {
  open(columns: number, rows: number): { master: number; slave: number };
  resize(fd: number, columns: number, rows: number): void;
}

export async function openTerminal(): Promise<Terminal> {
  const { stdin, stdout } = process;
  const { open, resize } = await loadNative();
  const { master: masterFd, slave: slaveFd } = open(stdout.columns || 80, stdout.rows || 24);
  const master = new ReadStream(masterFd);
  // Read by the shell's end of it: EIO. Whoever waits learns the end from the spawner.
  master.on('error', () => master.destroy());

  function follow(): void {
    resize(masterFd, stdout.columns, stdout.rows);
  }
  function restore(): void {
    if (stdin.isRaw) stdin.setRawMode(false);
  }
  function leave(signal: NodeJS.Signals): void {
    restore();
    // Its other end gets a hang-up, and the spawner ends what does not heed it.
    process.exit(signal === 'SIGHUP' ? 129 : 143);
  }

  return {
    slaveFd,
    connect() {
      // systemd hangs the terminal up before it gives it to the shell; until then its descriptor was the proof that it is ours.
      closeDescriptor(slaveFd);
      for (const signal of LEAVE_ON) process.on(signal, leave);
      process.on('exit', restore);
      // Node keeps in mind how it was before, and gives it back also when it ends by an error.
      stdin.setRawMode(true);
      makeTerminalRaw(STDIN_FD);
      stdin.pipe(master, { end: false });
      master.pipe(stdout, { end: false });
      stdout.on('resize', follow);
      // It may have changed while the shell was being started.
      follow();
    },
    async drained() {
      if (!master.destroyed) await Promise.race([once(master, 'close'), sleep(DRAIN_MS, undefined, { ref: false })]);
    },
    close() {
      for (const signal of LEAVE_ON) process.off(signal, leave);
      stdout.off('resize', follow);
      restore();
      master.destroy();
      stdin.destroy();
    },
  };
}

async function loadNative(): Promise<Native> {
  // Only here: no other command needs it.
  const module: unknown = await import('node-pty');
  const native: unknown = typeof module === 'object' && module !== null ? Reflect.get(module, 'native') : undefined;
  if (isNative(native)) return native;
  throw new TypeError('this node-pty has no open() and resize()');
}

function isNative(value: unknown): value is Native {
  if (typeof value !== 'object' || value === null) return false;
  return ['open', 'resize'].every((name) => typeof Reflect.get(value, name) === 'function');
}
