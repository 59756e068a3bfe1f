import { loadavg } from 'node:os';
import { installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { fieldOf, Visitor } from '../lib/visitor.js';
import { median, spread } from './figures.js';
import { rankTest, shapeTest } from './separable.js';

/**
 * M04: what a refused login looks like and how long it takes, by the reason of the refusal. Each try has a name and an
 * address of its own, so that no penalty is in the way. Ends with a verdict for each of the three criteria.
 */
const TRIES = Number(process.argv[2] ?? 200);
/** Few enough that two cores check them all well within the time that the hub gives to each. */
const AT_ONCE = Number(process.argv[3] ?? 4);
const MAX_DIFFERENCE_MS = 20;
const MIN_P = 0.01;
/** Later than this, the hub gave the try a second share of its time (FAILURE_FLOOR_MS). */
const LATE_MS = 3_000;

/** Names are equally long, so that pages are. */
const KINDS = {
  pass: { what: 'wrong password', password: 'wrong password' },
  none: { what: 'unknown user', password: 'wrong password' },
  lock: { what: 'locked user', password: 'right password' },
  deny: { what: 'denied user', password: 'right password' },
} as const;
type Kind = keyof typeof KINDS;
const NAMES = ['pass', 'none', 'lock', 'deny'] as const satisfies readonly Kind[];
/** Made anew by every answer. */
const VOLATILE = ['date', 'x-request-id', 'set-cookie'];

interface Try {
  readonly kind: Kind;
  readonly index: number;
}

interface Outcome {
  readonly ms: number;
  /** Status, headers and page, without what is the visitor's own. */
  readonly answer: string;
}

function nameOf({ kind, index }: Try): string {
  return `${kind}${String(index).padStart(4, '0')}`;
}

async function makeAccounts(machine: Machine): Promise<void> {
  const names = (kind: Kind): string[] => Array.from({ length: TRIES }, (_, index) => nameOf({ kind, index }));
  const known = [...names('pass'), ...names('lock'), ...names('deny')];
  const lines = known.map((name) => `${name}:right password::::/nonexistent:/bin/bash`);
  await machine.run(['newusers'], { input: `${lines.join('\n')}\n`, timeoutMs: 600_000 });
  const members = [...names('pass'), ...names('lock')].join(',');
  await machine.run(['gpasswd', '--members', members, 'metalhub-users'], { timeoutMs: 300_000 });
  await machine.run(['xargs', '-n1', 'usermod', '--lock'], { input: names('lock').join('\n'), timeoutMs: 300_000 });
}

async function refuse(attempt: Try): Promise<Outcome> {
  const visitor = new Visitor();
  const username = nameOf(attempt);
  const page = await visitor.navigate('/hub/login');
  const csrf = fieldOf(page.text, 'csrf');
  const begin = performance.now();
  const { password } = KINDS[attempt.kind];
  const { response, text } = await visitor.submit('/hub/login', { csrf, next: '', username, password });
  const ms = performance.now() - begin;
  if (response.status === 429 || response.status === 503) throw new Error(`${username}: answered ${response.status}`);
  const headers = [...response.headers].filter(([field]) => !VOLATILE.includes(field));
  const body = text.replaceAll(username, 'NAME').replaceAll(csrf, 'TOKEN');
  return { ms, answer: JSON.stringify({ status: response.status, headers, body }) };
}

/** One of each kind after the other in an order of chance, so that no kind always meets the same company. */
function makeQueue(): Try[] {
  return Array.from({ length: TRIES }, (_, index) => shuffled(NAMES.map((kind) => ({ kind, index })))).flat();
}

function shuffled<T>(values: readonly T[]): T[] {
  return values
    .map((value) => ({ value, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);
}

function report(outcomes: Record<Kind, Outcome[]>): boolean {
  const times = (kind: Kind): number[] => outcomes[kind].map(({ ms }) => ms);
  console.log(`refused logins, ms, ${TRIES} tries each             min  median     max   over ${LATE_MS}`);
  for (const kind of NAMES) {
    const late = times(kind).filter((ms) => ms > LATE_MS).length;
    console.log(`${KINDS[kind].what.padEnd(40)}${spread(times(kind), 1)}${String(late).padStart(8)}`);
  }
  const answers = new Set(NAMES.flatMap((kind) => outcomes[kind].map(({ answer }) => answer)));
  const medians = NAMES.map((kind) => median(times(kind)));
  const difference = Math.max(...medians) - Math.min(...medians);
  const pairs = NAMES.flatMap((first, index) => NAMES.slice(index + 1).map((second) => [first, second] as const));
  console.log('\nhow likely is the difference by chance alone          by rank   by shape');
  const chances = pairs.flatMap(([first, second]) => {
    const found = [rankTest(times(first), times(second)), shapeTest(times(first), times(second))];
    const what = `${KINDS[first].what} / ${KINDS[second].what}`;
    console.log(`${what.padEnd(50)}${found.map((p) => p.toFixed(4).padStart(11)).join('')}`);
    return found;
  });
  const smallest = Math.min(...chances);
  // Of this many comparisons of equal things, one is expected to fall below by chance: Bonferroni's correction.
  const corrected = Math.min(1, smallest * chances.length);
  console.log();
  return [
    verdict(answers.size === 1, `same status, headers and page: ${answers.size} different answers`),
    verdict(difference < MAX_DIFFERENCE_MS, `medians differ by ${difference.toFixed(1)} ms (< ${MAX_DIFFERENCE_MS})`),
    verdict(
      corrected >= MIN_P,
      `not separable at p < ${MIN_P}: smallest p ${smallest.toFixed(4)}, of ${chances.length} comparisons ${corrected.toFixed(4)}`,
    ),
  ].every(Boolean);
}

function verdict(isMet: boolean, what: string): boolean {
  console.log(`${isMet ? 'met    ' : 'NOT MET'}  ${what}`);
  return isMet;
}

async function main(): Promise<void> {
  await using machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await makeAccounts(machine);
  await machine.enterNetwork();
  const outcomes: Record<Kind, Outcome[]> = { pass: [], none: [], lock: [], deny: [] };
  // Not counted: the hub and the page cache are cold. Names that nobody has.
  for (let index = 0; index < 4; index++) await refuse({ kind: 'none', index: TRIES + index });
  const queue = makeQueue();
  const before = loadavg();
  async function work(): Promise<void> {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      outcomes[next.kind].push(await refuse(next));
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const load = [...before.slice(0, 1), ...loadavg().slice(0, 2)].map((value) => value.toFixed(1));
  console.log(
    `load of this computer before ${load[0]}, after ${load[1]} (five minutes: ${load[2]}); ${AT_ONCE} at once\n`,
  );
  if (!report(outcomes)) process.exitCode = 1;
}

await main();
