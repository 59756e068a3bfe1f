import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Machine } from './machine.js';

const ROOT = '/sys/fs/cgroup';
type Controller = 'memory' | 'pids';

/**
 * A limit of the kernel for processes of a machine. Machines have no controllers of their own; where the host has those of
 * cgroup v1, a process can be put under one of them from outside, and systemd in the machine does not notice.
 */
export class HostCgroup {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Why a test that needs the controller cannot run; `false` when it can. */
  static missing(controller: Controller): string | false {
    const root = `${ROOT}/${controller}`;
    const isThere = existsSync(`${root}/cgroup.procs`) && !existsSync(`${root}/cgroup.controllers`);
    try {
      accessSync(root, constants.W_OK);
    } catch {
      return `the host has no ${controller} controller that may be used`;
    }
    return isThere ? false : `the host has no ${controller} controller of cgroup v1`;
  }

  static create(controller: Controller): HostCgroup {
    const directory = `${ROOT}/${controller}/metalhub-test-${process.pid}`;
    mkdirSync(directory);
    return new HostCgroup(directory);
  }

  set(file: string, value: string): void {
    writeFileSync(`${this.#directory}/${file}`, value);
  }

  read(file: string): string {
    return readFileSync(`${this.#directory}/${file}`, 'utf8');
  }

  /** @param pid as the host sees it */
  add(pid: number): void {
    this.set('cgroup.procs', String(pid));
  }

  /** What is in it goes back to where the others are. */
  async remove(): Promise<void> {
    // What was killed is in it until its memory is given back, and what is in it may have made others meanwhile.
    for (let tries = 0; ; tries++) {
      for (const pid of this.read('cgroup.procs').split('\n').filter(Boolean)) {
        try {
          writeFileSync(`${this.#directory}/../cgroup.procs`, pid);
        } catch {
          // It has just ended.
        }
      }
      try {
        return rmdirSync(this.#directory);
      } catch (error) {
        if (tries === 400) throw error;
        await sleep(50);
      }
    }
  }
}

/** The host's number of a process of the machine. @throws when there is none */
export async function hostPid(machine: Machine, pid: number): Promise<number> {
  const space = (of: string): string => readlinkSync(`/proc/${of}/ns/pid`);
  const wanted = space(String(await machine.leader()));
  for (const candidate of readdirSync('/proc')) {
    if (!/^\d+$/.test(candidate)) continue;
    try {
      const status = readFileSync(`/proc/${candidate}/status`, 'utf8');
      const inner = /^NSpid:.*\s(\d+)$/m.exec(status)?.[1];
      if (Number(inner) === pid && space(candidate) === wanted) return Number(candidate);
    } catch {
      // It has just ended.
    }
  }
  throw new Error(`${machine.name}: the host sees no process ${pid}`);
}
