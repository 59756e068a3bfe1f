import { installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { fieldOf, Visitor } from '../lib/visitor.js';
import { median, spread } from './figures.js';

/**
 * M04: how long a refused login takes, by the reason of the refusal, with a name and an address of its own for each
 * try. Prints medians and how often one of two random tries of different reasons was the faster: 0.50 says nothing.
 */
const TRIES = Number(process.argv[2] ?? 200);
const AT_ONCE = 8;
const KINDS = ['wrong', 'unknown', 'locked', 'denied'] as const;
type Kind = (typeof KINDS)[number];

async function makeAccounts(machine: Machine): Promise<void> {
  const lines: string[] = [];
  for (let index = 0; index < TRIES; index++) {
    for (const kind of ['wrong', 'locked', 'denied']) {
      lines.push(`${kind}${index}:right-password::::/nonexistent:/bin/bash`);
    }
  }
  await machine.run(['newusers'], { input: `${lines.join('\n')}\n`, timeoutMs: 300_000 });
  await machine.shell(
    `for i in $(seq 0 ${TRIES - 1}); do echo "wrong$i"; echo "locked$i"; done | paste -sd, | xargs -I{} gpasswd --members {} metalhub-users
     for i in $(seq 0 ${TRIES - 1}); do usermod --lock "locked$i"; done`,
    { timeoutMs: 300_000 },
  );
}

async function refusedAfter(kind: Kind, index: number): Promise<number> {
  const visitor = new Visitor();
  const page = await visitor.navigate('/hub/login');
  const password = kind === 'wrong' || kind === 'unknown' ? 'wrong-password' : 'right-password';
  const fields = { csrf: fieldOf(page.text, 'csrf'), next: '', username: `${kind}${index}`, password };
  const begin = performance.now();
  const { response } = await visitor.submit('/hub/login', fields);
  const ms = performance.now() - begin;
  if (response.status !== 403) throw new Error(`${kind}${index}: answered ${response.status}`);
  return ms;
}

/** Share of pairs in which the first is the smaller (the Mann-Whitney statistic, scaled). */
function smallerShare(first: readonly number[], second: readonly number[]): number {
  const wins = first.reduce((sum, a) => sum + second.filter((b) => a < b).length, 0);
  return wins / (first.length * second.length);
}

async function main(): Promise<void> {
  await using machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await makeAccounts(machine);
  await machine.enterNetwork();
  const times: Record<Kind, number[]> = { wrong: [], unknown: [], locked: [], denied: [] };
  // In turn, so that a machine that slows down slows all of them.
  const queue = Array.from({ length: TRIES }, (_, index) => KINDS.map((kind) => ({ kind, index }))).flat();
  async function work(): Promise<void> {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      times[next.kind].push(await refusedAfter(next.kind, next.index));
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  console.log(`refused logins, ms, ${TRIES} tries each      min  median     max   faster than "wrong"`);
  for (const kind of KINDS) {
    const share = smallerShare(times[kind], times.wrong).toFixed(3);
    console.log(`${kind.padEnd(34)}${spread(times[kind])}   ${share}`);
  }
  const medians = KINDS.map((kind) => median(times[kind]));
  console.log(`medians differ by ${(Math.max(...medians) - Math.min(...medians)).toFixed(1)} ms`);
}

await main();
