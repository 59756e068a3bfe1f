import { once } from 'node:events';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { closeDescriptor, openPipe } from '@metalhub/systemd/descriptors.js';

/** Until what the command wrote last has come through. */
const DRAIN_MS = 2000;

/** Standard input, output and error as a command of somebody else's can have them. */
export interface PassedStreams {
  readonly fds: readonly number[];
  /** The command has its copies: a reader shall see the end when the command ends. */
  handedOver(): void;
  /** Waits until all that the command wrote is printed. */
  drained(): Promise<void>;
  close(): void;
}

/**
 * Pipes and files are passed on as they are. A terminal is not: whoever has it could read what is typed later, and change
 * its settings. The command gets a pipe instead.
 */
export function passStandardStreams(): PassedStreams {
  const near: Socket[] = [];
  const far: number[] = [];
  const outputs: Promise<unknown>[] = [];

  function throughPipe(fd: number): number {
    const { readFd, writeFd } = openPipe();
    if (fd === 0) {
      const toCommand = new Socket({ fd: writeFd, readable: false, writable: true });
      // A command need not read what it is given.
      toCommand.on('error', () => process.stdin.destroy());
      process.stdin.pipe(toCommand);
      near.push(toCommand);
    } else {
      const fromCommand = new Socket({ fd: readFd, readable: true, writable: false });
      fromCommand.pipe(fd === 1 ? process.stdout : process.stderr, { end: false });
      outputs.push(once(fromCommand, 'close').catch(() => undefined));
      near.push(fromCommand);
    }
    const passed = fd === 0 ? readFd : writeFd;
    far.push(passed);
    return passed;
  }

  const fds = [0, 1, 2].map((fd) => (isatty(fd) ? throughPipe(fd) : fd));
  return {
    fds,
    handedOver() {
      for (const fd of far.splice(0)) closeDescriptor(fd);
    },
    async drained() {
      if (outputs.length > 0) await Promise.race([Promise.all(outputs), sleep(DRAIN_MS, undefined, { ref: false })]);
    },
    close() {
      for (const socket of near) socket.destroy();
      // Touched only where it is a terminal: Node would make a pipe non-blocking for everybody who has it.
      if (isatty(0)) process.stdin.destroy();
    },
  };
}
