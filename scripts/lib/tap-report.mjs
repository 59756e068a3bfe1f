// Reads TAP on standard input, prints what failed, with its diagnosis; with --titles also the top-level tests as they end.
// The last line is "N passed, N failed"; exit status 1 unless something passed and nothing failed.
import { createInterface } from 'node:readline';

const titles = process.argv.includes('--titles');
/** Subtest names, outermost first: where in the stream we are. */
const path = [];
/** Indentation of the diagnosis that is being printed, undefined outside of one. */
let diagnosis;
let totals;
/** The last result was a failure: a diagnosis that follows is shown. */
let failing = false;

for await (const line of createInterface({ input: process.stdin })) {
  const indent = line.length - line.trimStart().length;
  const text = line.trim();
  if (diagnosis !== undefined) {
    console.log(line);
    if (indent === diagnosis && text === '...') diagnosis = undefined;
    continue;
  }
  readLine(line, indent, text);
}
report();

function readLine(line, indent, text) {
  const depth = indent / 4;
  const subtest = /^# Subtest: (.*)/.exec(text);
  if (subtest) path.splice(depth, path.length, subtest[1]);
  const point = /^(not )?ok \d+(?: - )?(.*)/.exec(text);
  if (point) readPoint(depth, point[1] === undefined, point[2]);
  if (text === '---' && failing) diagnosis = indent;
  if (text.startsWith('Bail out!')) console.log(line);
  const found = /^# (\{ total: .* \})$/.exec(text);
  if (found && indent === 0) totals = countsOf(found[1]);
}

function readPoint(depth, passed, name) {
  failing = !passed && !/# (todo|skip)/i.test(name);
  if (failing) console.log(`\nFAILED ${[...path.slice(0, depth), name].join(' > ')}`);
  else if (titles && depth === 0) console.log(`  ${name}`);
}

function countsOf(text) {
  const count = (key) => Number(new RegExp(`${key}: (\\d+)`).exec(text)?.[1] ?? 0);
  return { passed: count('pass'), failed: count('fail') };
}

function report() {
  // Without totals the run was cut off.
  const { passed, failed } = totals ?? { passed: 0, failed: 1 };
  if (totals === undefined) console.log('the tests ended without a result');
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = passed > 0 && failed === 0 ? 0 : 1;
}
