import { CONFIG_FILE } from '@metalhub/config/load.js';
import type { Config } from '@metalhub/config/schema.js';
import { parseDelegations } from '@metalhub/config/subordinate-ids.js';
import { readIfThere } from './files.js';

export interface RangeProblem {
  /** `failed`: a uid may belong to two; `warning`: to be known. */
  readonly state: 'failed' | 'warning';
  readonly text: string;
  readonly fix: string;
}

/** Text of files of the machine, `''` for one that is not there. */
export interface RangeFiles {
  readonly passwd: string;
  readonly group: string;
  readonly subuid: string;
  readonly subgid: string;
  readonly loginDefs: string;
}

interface Span {
  readonly first: number;
  readonly last: number;
}

const FILES = ['passwd', 'group', 'subuid', 'subgid', 'login.defs'] as const;
/** Names shown of each kind: of a directory with thousands the first say it. */
const MAX_SHOWN = 3;

/** @see https://systemd.io/UIDS-GIDS/ */
const SYSTEMD_RANGES: readonly (Span & { use: string; state: RangeProblem['state'] })[] = [
  { first: 60_001, last: 60_577, use: 'systemd-homed and users of containers', state: 'failed' },
  { first: 61_184, last: 65_519, use: 'dynamic users of systemd', state: 'failed' },
  { first: 65_534, last: 65_535, use: 'nobody', state: 'failed' },
  { first: 524_288, last: 1_879_048_191, use: 'containers of systemd', state: 'warning' },
  {
    first: 2_147_352_576,
    last: 4_294_967_295,
    use: 'nobody: many programs take such a number for a negative one',
    state: 'failed',
  },
];

/** What of the machine's meets the range from which users get their uids; in nothing else may one of them be used. Pure. */
export function findRangeProblems(
  { uid_min: first, uid_max: last }: Pick<Config['accounts'], 'uid_min' | 'uid_max'>,
  files: RangeFiles,
): RangeProblem[] {
  const range = { first, last };
  const move = `set accounts.uid_min and uid_max in ${CONFIG_FILE} to numbers that nothing else uses (70000 to 99999 as shipped), then hubctl apply; uids already given stay`;
  const problems: RangeProblem[] = [];
  for (const { use, state, ...span } of SYSTEMD_RANGES) {
    if (meets(range, span)) problems.push({ state, text: `${spanText(span)} is for ${use}`, fix: move });
  }
  for (const { name, ...span } of allocations(files.loginDefs)) {
    if (meets(range, span)) {
      problems.push({
        state: 'failed',
        text: `new ${name} of the machine get numbers of ${spanText(span)} (/etc/login.defs)`,
        fix: move,
      });
    }
  }
  for (const table of ['subuid', 'subgid'] as const) {
    const found = parseDelegations(files[table]).filter((span) => meets(range, span));
    if (found.length === 0) continue;
    const shown = shorten(found.map((span) => `${spanText(span)} of ${span.name}`));
    problems.push({
      state: 'failed',
      text: `/etc/${table} gives ${shown}: they can act as users with these numbers`,
      fix: `take the lines out of /etc/${table} when nobody uses them, or ${move}`,
    });
  }
  for (const [table, what] of [
    ['passwd', 'accounts'],
    ['group', 'groups'],
  ] as const) {
    const found = entries(files[table]).filter(({ id }) => id >= first && id <= last);
    if (found.length === 0) continue;
    problems.push({
      state: 'warning',
      text: `${what} of the machine lie in it, and are passed over: ${shorten(found.map(({ name, id }) => `${name} (${id})`))}`,
      fix: `nothing while uids are left; else ${move}`,
    });
  }
  return problems;
}

export function readRangeFiles(): RangeFiles {
  const [passwd = '', group = '', subuid = '', subgid = '', loginDefs = ''] = FILES.map((name) =>
    readIfThere(`/etc/${name}`),
  );
  return { passwd, group, subuid, subgid, loginDefs };
}

function meets(one: Span, other: Span): boolean {
  return one.first <= other.last && other.first <= one.last;
}

function spanText({ first, last }: Span): string {
  return `${first}-${last}`;
}

function shorten(texts: readonly string[]): string {
  const more = texts.length - MAX_SHOWN;
  return `${texts.slice(0, MAX_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** Lines of passwd(5) and group(5), names with control characters left to whoever prints them. */
function entries(text: string): { name: string; id: number }[] {
  return rows(text).flatMap(([name = '', , id = '']) => (/^[0-9]+$/.test(id) ? [{ name, id: Number(id) }] : []));
}

function rows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

/** What useradd(8) gives out by itself; its own defaults where login.defs(5) is silent. */
function allocations(loginDefs: string): (Span & { name: string })[] {
  const values = new Map(
    loginDefs.split('\n').map((line) => {
      const [name = '', value = ''] = line.trim().split(/\s+/);
      return [name, Number(value)] as const;
    }),
  );
  const span = (name: string, prefix: string, first: number, last: number) => ({
    name,
    first: values.get(`${prefix}_MIN`) ?? first,
    last: values.get(`${prefix}_MAX`) ?? last,
  });
  return [
    span('accounts', 'UID', 1000, 60_000),
    span('groups', 'GID', 1000, 60_000),
    span('subordinate uids', 'SUB_UID', 100_000, 600_100_000),
    span('subordinate gids', 'SUB_GID', 100_000, 600_100_000),
  ];
}
