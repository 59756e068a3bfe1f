import { fileURLToPath } from 'node:url';
import type { LogLine } from '@metalhub/wire/logs.js';
import type { PamAnswer } from '@metalhub/wire/pam.js';
import type { Machine } from './machine.js';

const DIRECTORY = '/opt/wire-caller';

/** Makes requests from a list on standard input, one connection each, and prints one line of JSON per answer. */
const PROGRAM = `
import { connectWire } from '@metalhub/wire/client.js';
import { logsProtocol } from '@metalhub/wire/logs.js';
import { pamProtocol } from '@metalhub/wire/pam.js';
const protocols = { Authenticate: pamProtocol, ReadServerLog: logsProtocol };
let input = '';
for await (const chunk of process.stdin) input += chunk;
for (const { method, params, abortMs } of JSON.parse(input)) {
  const start = performance.now();
  const answer = { events: [] };
  try {
    const client = await connectWire(protocols[method]);
    const options = { onEvent: (event) => answer.events.push(event) };
    if (abortMs !== undefined) options.signal = AbortSignal.timeout(abortMs);
    answer.result = await client.call(method, params, options);
    await client.closed;
  } catch (error) {
    answer.error = { code: error.code ?? error.name, message: error.message };
  }
  console.log(JSON.stringify({ ...answer, ms: performance.now() - start }));
}
`;

export interface WireCall {
  readonly method: 'Authenticate' | 'ReadServerLog';
  readonly params: object;
  /** The caller goes away after this time. */
  readonly abortMs?: number;
}

export interface WireAnswer<R> {
  readonly result?: R;
  readonly error?: { readonly code: string | number; readonly message: string };
  readonly events: readonly LogLine[];
  readonly ms: number;
}

/** What `bootMachine()` must bind for {@link callWire}. */
export function wireBinds(): string[] {
  const packages = fileURLToPath(new URL('../../../packages', import.meta.url));
  return ['base', 'wire'].map((name) => `${packages}/${name}:${DIRECTORY}/node_modules/@metalhub/${name}`);
}

/** Makes the calls one after the other on the machine, with our own client, as the account the daemons expect or another. */
export async function callWire<R = PamAnswer>(
  machine: Machine,
  calls: readonly WireCall[],
  user = 'metalhub',
): Promise<WireAnswer<R>[]> {
  await machine.writeFile(`${DIRECTORY}/caller.mjs`, PROGRAM);
  const options = { user, input: JSON.stringify(calls), timeoutMs: 300_000 };
  const text = await machine.run(['node', `${DIRECTORY}/caller.mjs`], options);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as WireAnswer<R>);
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
