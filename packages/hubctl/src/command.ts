import { MetalhubError } from '@metalhub/base/errors.js';
import type { AdminClient } from './admin-client.js';

export interface Context {
  admin: AdminClient;
  /** Where hub-spawner listens to administrators. */
  spawnerSocket: string;
  /** The proxy's control API, for root only. */
  proxy: AdminClient;
  /** `--json`: one JSON value (or one per line where a command streams), stable keys, nothing else on stdout. */
  json: boolean;
  follow: boolean;
  lines: number;
  /** `--server NAME`; `''` is the default server. */
  server: string;
  /** `--profile NAME`; `undefined` for the usual one. */
  profile: string | undefined;
  /** `--choice CHOICE=OPTION`, perhaps several; names of options by the name of the choice. */
  choices: Readonly<Record<string, string>> | undefined;
  homeIsGone: boolean;
  /** Only look. */
  check: boolean;
  /** `--login METHOD:NAME`. */
  login: string | undefined;
  uid: number | undefined;
  /** What follows `--`. */
  words: readonly string[];
  /** `--for`, in seconds. */
  forSec: number | undefined;
  stdout: (text: string) => void;
  stderr: (text: string) => void;
}

/** What some commands take beside `--json`, as typed. */
export const OPTIONS = [
  'follow',
  'lines',
  'server',
  'profile',
  'choice',
  'home-is-gone',
  'check',
  'login',
  'uid',
  'for',
] as const;

export interface Command {
  /** As typed, e.g. `config check`. */
  name: string;
  /** Names of what follows it, e.g. `['user']`; all are needed. */
  operands: readonly string[];
  /** The operands may be left out, all together. */
  isOptional?: boolean;
  /** The last one may be given more than once. */
  isRepeated?: boolean;
  summary: string;
  /** A command line of its own follows behind `--`. */
  takesWords?: boolean;
  /** The exit status of a failure of hubctl's own; 1 unless given. */
  failureStatus?: number;
  /** Options of its own beside `--json`. */
  options?: readonly (typeof OPTIONS)[number][];
  /** Resolves with the exit status. */
  run(context: Context, operands: readonly string[]): Promise<number>;
}

/** Prints the value as JSON, or what `human` makes of it. */
export function print(context: Context, value: unknown, human: () => string): void {
  context.stdout(`${context.json ? JSON.stringify(value, null, 2) : human()}\n`);
}

/** @param command as typed, e.g. `api enable` @throws {MH_ERR_CLI_USAGE} */
export function requireRoot(command: string): void {
  if (process.getuid?.() === 0) return;
  throw new MetalhubError('MH_ERR_CLI_USAGE', { details: { reason: `${command} changes units: run it as root` } });
}
