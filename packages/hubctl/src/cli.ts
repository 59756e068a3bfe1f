import { parseArgs } from 'node:util';
import { MetalhubError } from '@metalhub/base/errors.js';
import { spawnerAdminProtocol } from '@metalhub/wire/spawner-admin.js';
import { AdminClient } from './admin-client.js';
import { type Command, type Context, OPTIONS } from './command.js';
import { apiDisable, apiEnable } from './commands/api.js';
import { apply } from './commands/apply.js';
import { configCheck, configShow } from './commands/config.js';
import { doctor } from './commands/doctor.js';
import { exec } from './commands/exec.js';
import { fixHome } from './commands/fix-home.js';
import { freeze, thaw } from './commands/freeze.js';
import { leases, leasesAdopt, leasesRelease } from './commands/leases.js';
import { limit } from './commands/limit.js';
import { logs } from './commands/logs.js';
import { proxyStatus } from './commands/proxy-status.js';
import { proxyDisableTcp, proxyEnableTcp } from './commands/proxy-tcp.js';
import { routes } from './commands/routes.js';
import { servers, start, stop } from './commands/servers.js';
import { shell } from './commands/shell.js';
import { status } from './commands/status.js';
import { users } from './commands/users.js';
import { printable } from './output.js';

export const COMMANDS: readonly Command[] = [
  status,
  users,
  servers,
  start,
  stop,
  limit,
  freeze,
  thaw,
  logs,
  exec,
  shell,
  routes,
  leases,
  leasesRelease,
  leasesAdopt,
  fixHome,
  apiEnable,
  apiDisable,
  proxyStatus,
  proxyEnableTcp,
  proxyDisableTcp,
  configCheck,
  configShow,
  apply,
  doctor,
];

/** sysexits' EX_CONFIG, as the daemons use it too. */
const EXIT_CONFIG = 78;
const EXIT_USAGE = 2;
const MAX_UID = 4_294_967_293;

export interface Streams {
  stdout: (text: string) => void;
  stderr: (text: string) => void;
}

/**
 * Runs one command line.
 * @returns the exit status: 0 fine, 1 failure, 2 usage, 78 bad configuration; with `exec` and `shell` that of the command
 */
export async function runCli(
  argv: readonly string[],
  admin: AdminClient,
  version: string,
  streams: Streams,
  spawnerSocket: string = spawnerAdminProtocol.path,
  proxy: AdminClient = AdminClient.forProxy(),
): Promise<number> {
  const { own, words } = splitWords(argv);
  const json = own.includes('--json');
  let failureStatus: number | undefined;
  try {
    const { values, positionals } = parse(own);
    if (values.version === true) streams.stdout(`hubctl ${version}\n`);
    if (values.version === true) return 0;
    if (values.help === true || positionals.length === 0) {
      (values.help === true ? streams.stdout : streams.stderr)(usage());
      return values.help === true ? 0 : EXIT_USAGE;
    }
    const { command, operands } = findCommand(positionals, words);
    checkOptions(command, values);
    failureStatus = command.failureStatus;
    const context: Context = {
      admin,
      spawnerSocket,
      proxy,
      json: values.json === true,
      follow: values.follow === true,
      lines: parseLines(values.lines),
      server: values.server ?? '',
      profile: values.profile,
      choices: parseChoices(values.choice),
      homeIsGone: values['home-is-gone'] === true,
      check: values.check === true,
      login: values.login,
      uid: parseUid(values.uid),
      words,
      forSec: parseDuration(values.for),
      ...streams,
    };
    return await command.run(context, operands);
  } catch (error) {
    const status = report(error, json, streams);
    return status === EXIT_USAGE ? status : (failureStatus ?? status);
  }
}

/** What is behind the first `--` is not hubctl's to read. */
function splitWords(argv: readonly string[]): { own: readonly string[]; words: readonly string[] } {
  const at = argv.indexOf('--');
  return at < 0 ? { own: argv, words: [] } : { own: argv.slice(0, at), words: argv.slice(at + 1) };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        json: { type: 'boolean' },
        follow: { type: 'boolean', short: 'f' },
        lines: { type: 'string', short: 'n' },
        server: { type: 'string', short: 's' },
        profile: { type: 'string', short: 'p' },
        choice: { type: 'string', multiple: true },
        'home-is-gone': { type: 'boolean' },
        check: { type: 'boolean' },
        login: { type: 'string' },
        uid: { type: 'string' },
        for: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw usageError(error instanceof Error ? error.message : 'bad arguments');
  }
}

function findCommand(
  positionals: readonly string[],
  rest: readonly string[],
): { command: Command; operands: string[] } {
  // `leases release` is one of `leases`, too: the longest name counts.
  const command = COMMANDS.filter(({ name }) => name === positionals.slice(0, name.split(' ').length).join(' ')).sort(
    (a, b) => b.name.length - a.name.length,
  )[0];
  if (command === undefined) throw usageError(`no such command: ${printable(positionals.slice(0, 2).join(' '))}`);
  const operands = [...positionals.slice(command.name.split(' ').length), ...(command.takesWords === true ? [] : rest)];
  const lacksWords = command.takesWords === true && rest.length === 0;
  const isLeftOut = command.isOptional === true && operands.length === 0;
  const isMore = command.isRepeated === true && operands.length > command.operands.length;
  if ((operands.length !== command.operands.length && !isLeftOut && !isMore) || lacksWords) {
    throw usageError(`usage: hubctl ${synopsis(command)}`);
  }
  return { command, operands };
}

function checkOptions(command: Command, values: Readonly<Record<string, unknown>>): void {
  for (const option of OPTIONS) {
    if (values[option] !== undefined && command.options?.includes(option) !== true) {
      throw usageError(`hubctl ${command.name} has no option --${option}`);
    }
  }
}

function parseLines(text: string | undefined): number {
  if (text === undefined) return 50;
  if (!/^[0-9]{1,5}$/.test(text) || Number(text) > 10_000) throw usageError('--lines takes a number from 0 to 10000');
  return Number(text);
}

function parseChoices(texts: readonly string[] | undefined): Readonly<Record<string, string>> | undefined {
  if (texts === undefined) return undefined;
  const pairs = texts.map(
    (text) => /^([a-z0-9][a-z0-9_-]{0,62})=([a-z0-9][a-z0-9_-]{0,62})$/.exec(text)?.slice(1) ?? [],
  );
  if (pairs.some(({ length }) => length === 0))
    throw usageError('--choice takes a choice and its option, like size=large');
  return Object.fromEntries(pairs);
}

function parseUid(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-9]{4,10}$/.test(text) || Number(text) > MAX_UID) throw usageError('--uid takes a number from 1000 on');
  return Number(text);
}

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

function parseDuration(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, count, unit] = /^([1-9][0-9]{0,7})([smhd])$/.exec(text) ?? [];
  if (unit === undefined) throw usageError('--for takes a time like 90m, 2h or 1d');
  return Number(count) * SECONDS[unit as keyof typeof SECONDS];
}

function synopsis(command: Command): string {
  const flags: Readonly<Record<string, string>> = {
    follow: ' [-f]',
    'home-is-gone': ' [--home-is-gone]',
    check: ' [--check]',
  };
  const options = (command.options ?? []).map((option) => flags[option] ?? ` [--${option} …]`);
  const operands = command.operands.map((operand) =>
    command.isOptional === true ? ` [<${operand}>]` : ` <${operand}>`,
  );
  const words = command.takesWords === true ? ' -- <command…>' : '';
  const more = command.isRepeated === true ? ' …' : '';
  return `${command.name}${operands.join('')}${more}${options.join('')}${words}`;
}

export function usage(): string {
  const width = Math.max(...COMMANDS.map((command) => synopsis(command).length));
  const rows = COMMANDS.map((command) => `  hubctl ${synopsis(command).padEnd(width)}  ${command.summary}`);
  return ['Usage:', ...rows, '', 'Every command takes --json. See hubctl(1).', ''].join('\n');
}

function usageError(reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_CLI_USAGE', { details: { reason }, hint: 'hubctl --help lists the commands' });
}

function report(error: unknown, json: boolean, { stdout, stderr }: Streams): number {
  const known = error instanceof MetalhubError ? error : new MetalhubError('MH_ERR_INTERNAL', { cause: error });
  if (json)
    stdout(`${JSON.stringify({ error: { code: known.code, message: known.message, hint: known.hint ?? null } })}\n`);
  else {
    stderr(`hubctl: ${printable(known.message)}\n`);
    if (known.hint !== undefined) stderr(`        ${printable(known.hint)}\n`);
    if (known.code === 'MH_ERR_INTERNAL' && error instanceof Error) stderr(`${error.stack ?? ''}\n`);
  }
  if (known.code === 'MH_ERR_CLI_USAGE') return EXIT_USAGE;
  return known.code.startsWith('MH_ERR_CONFIG_') ? EXIT_CONFIG : 1;
}
