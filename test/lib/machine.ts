import { AssertionError } from 'node:assert';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { findComplaint, type JournalEntry, type JournalQuery, journalArguments, parseJournalEntry } from './journal.js';
import { enterNetworkNamespace, leaveNetworkNamespace } from './network.js';
import { projectFile } from './project.js';

export type { JournalEntry, JournalQuery } from './journal.js';

export type ImageName = 'bare' | 'bookworm' | 'jupyter' | 'jupyterhub' | 'front' | 'builder';

export interface BootOptions {
  readonly image: ImageName;
  /** `private` (the default): loopback only, reached with `enterNetwork()`. `host`: the host's network and apt sources. */
  readonly network?: 'private' | 'host';
  readonly name?: string;
  /** `FROM[:TO]`: directories of the host that appear in the machine. */
  readonly binds?: readonly string[];
}

export interface ExecOptions {
  /** An account of the machine; root otherwise. */
  readonly user?: string;
  readonly input?: string | Uint8Array;
  /** Ends the command, and what it started, after this time. Default: one minute. */
  readonly timeoutMs?: number;
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const EXEC_TIMEOUT_MS = 60_000;
/** The first boot of an image may have to make it. */
const BOOT_TIMEOUT_MS = 20 * 60_000;
const TIMED_OUT = 124;

/** Boots a Debian machine on a throw-away disk. It ends with `stop()`, and in any case with this process. */
export async function bootMachine(options: BootOptions): Promise<Machine> {
  const argv = ['boot', options.image, '--network', options.network ?? 'private', '--owner', String(process.pid)];
  if (options.name !== undefined) argv.push('--name', options.name);
  for (const bind of options.binds ?? []) argv.push('--bind', bind);
  return new Machine(await script(argv, BOOT_TIMEOUT_MS));
}

export class Machine implements AsyncDisposable {
  readonly name: string;
  #stopped = false;

  constructor(name: string) {
    this.name = name;
  }

  /** Runs a command as it would run in a root shell there, with a clean environment. Does not throw when it fails. */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const timeoutMs = options.timeoutMs ?? EXEC_TIMEOUT_MS;
    const user = options.user === undefined ? [] : ['--user', options.user];
    // The limit is kept inside: ended from here, only the way in would end, not the command.
    const limit = ['timeout', '--kill-after=5', String(timeoutMs / 1000)];
    const result = await collect(
      ['exec', this.name, ...user, '--', ...limit, ...argv],
      options.input ?? '',
      timeoutMs + 10_000,
    );
    if (result.code === TIMED_OUT)
      throw new Error(`${this.name}: no end after ${timeoutMs} ms: ${describe(argv, result)}`);
    return result;
  }

  /** Runs a command; returns what it printed on standard output. @throws when it fails, with all that it printed */
  async run(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    const result = await this.exec(argv, options);
    if (result.code !== 0) throw new Error(`${this.name}: exit code ${result.code}: ${describe(argv, result)}`);
    return result.stdout;
  }

  /** Runs a piece of shell, which stops at the first failure. @throws when it fails */
  async shell(text: string, options: Omit<ExecOptions, 'input'> = {}): Promise<string> {
    return this.run(['bash', '-euo', 'pipefail', '-c', text], options);
  }

  /** Host's pid of the machine's PID 1; another one after a reboot. */
  async leader(): Promise<number> {
    return Number(await script(['pid', this.name]));
  }

  /** Where the host sees a file of the machine. NOTE: absolute symbolic links on the way lead into the host. */
  async path(path: string): Promise<string> {
    return `${await script(['root', this.name])}${path}`;
  }

  /** Makes or replaces a file, and the directories it lies in. */
  async writeFile(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
    const store = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"';
    await this.run(['sh', '-c', store, 'sh', path, mode.toString(8)], { input: content });
  }

  async readFile(path: string): Promise<string> {
    return this.run(['cat', '--', path]);
  }

  /** Where the journal ends now, for `JournalQuery.since`. */
  async cursor(): Promise<string> {
    const text = await this.run(['journalctl', '--lines=0', '--show-cursor', '--quiet']);
    return /^-- cursor: (.*)$/m.exec(text)?.[1] ?? '';
  }

  async journal(query: JournalQuery = {}): Promise<JournalEntry[]> {
    // Entries are on their way to the journal for a moment after they were sent.
    await this.run(['journalctl', '--sync']);
    const text = await this.run(journalArguments(query));
    return text.split('\n').filter(Boolean).map(parseJournalEntry);
  }

  /** Waits for the first entry that matches; without `since` it may have come already. */
  async waitForEntry(query: JournalQuery, match: RegExp, timeoutMs = EXEC_TIMEOUT_MS): Promise<JournalEntry> {
    const seconds = String(timeoutMs / 1000);
    const argv = ['exec', this.name, '--', 'timeout', seconds, ...journalArguments(query), '--follow', '--lines=all'];
    const follower = spawn(projectFile('scripts/machine'), argv, { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      for await (const line of createInterface({ input: follower.stdout })) {
        const entry = parseJournalEntry(line);
        if (match.test(entry.message)) return entry;
      }
    } finally {
      follower.kill();
    }
    throw new Error(`${this.name}: nothing in the journal like ${match} within ${timeoutMs} ms`);
  }

  /**
   * Fails on warnings and worse of our programs, on systemd's about our units, and on crashes of any unit.
   *
   * @param allow what a test provokes: matched against `<program> [<unit>] <<priority>> <message>`
   */
  async assertCleanJournal(allow: readonly RegExp[] = [], since?: string): Promise<void> {
    const entries = await this.journal(since === undefined ? {} : { since });
    const complaints = entries.map(findComplaint).filter((text) => text !== undefined);
    const unexpected = complaints.filter((text) => !allow.some((pattern) => pattern.test(text)));
    if (unexpected.length === 0) return;
    throw new AssertionError({ message: `the journal of ${this.name} is not clean:\n${unexpected.join('\n')}` });
  }

  /** From now on this process, and what it spawns, sees the machine's network, with its 127.0.0.1. */
  async enterNetwork(): Promise<void> {
    enterNetworkNamespace(`/proc/${await this.leader()}/ns/net`);
  }

  leaveNetwork(): void {
    leaveNetworkNamespace();
  }

  /** A reboot, or, when hard, a power cut. Disk and network (and who has entered it) stay. Returns when it is up again. */
  async reboot(options: { readonly hard?: boolean } = {}): Promise<void> {
    await script(['reboot', this.name, ...(options.hard === true ? ['--hard'] : [])], 2 * EXEC_TIMEOUT_MS);
  }

  /** Ends the machine as by a power cut and removes its disk. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.leaveNetwork();
    await script(['stop', this.name, '--now']);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

async function script(argv: readonly string[], timeoutMs = EXEC_TIMEOUT_MS): Promise<string> {
  const result = await collect(argv, '', timeoutMs);
  if (result.code !== 0) throw new Error(`scripts/machine: exit code ${result.code}: ${describe(argv, result)}`);
  return result.stdout.trim();
}

/** Runs scripts/machine and gathers what it prints. */
async function collect(argv: readonly string[], input: string | Uint8Array, timeoutMs: number): Promise<ExecResult> {
  const child = spawn(projectFile('scripts/machine'), argv, { timeout: timeoutMs, killSignal: 'SIGKILL' });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => {}); // a command need not read what it is given
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const result = {
    code: code ?? -1,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
  if (code === null) throw new Error(`scripts/machine was killed: ${describe(argv, result)}`);
  return result;
}

function describe(argv: readonly string[], result: ExecResult): string {
  return `${argv.join(' ')}\n${result.stdout}${result.stderr}`;
}
