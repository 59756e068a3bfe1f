import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { FrontUse } from './testing/flooded-front.js';
import { FLOODS, type FloodResult } from './testing/http2-floods.js';

const TESTING = join(import.meta.dirname, 'testing');
/** Unless it is cut off, which takes about one. */
const FLOOD_MS = 60_000;
/** For what goes on. */
const SHORT_MS = 1000;
/** A front that is held up for a second must not take the other visitor for idle. */
const LIMITS = { body_timeout_ms: 1000, idle_timeout_ms: 5000 };
/** What goes on is held up by windows and time-outs; its connection costs no more than any other. */
const GOES_ON = new Set([
  'answers that are not taken',
  'answers in chunks of one byte that are not taken',
  'PING, and the answers are not read',
]);
/**
 * Bodies byte by byte took 104 before they were bounded, and 22 to 38 since, since what has been sent ahead waits in pieces
 * of a byte each; of the others at most 15 were seen. How late memory is given back depends on how busy the machine is.
 */
const MOST_MIB = 64;

t.setTimeout(600_000);

let front: ChildProcess;
let port: number;
let cookie: string;

t.before(async () => {
  front = fork(join(TESTING, 'flooded-front.js'), [JSON.stringify(LIMITS)], { stdio: 'ignore' });
  const [told] = (await once(front, 'message')) as [{ port: number; cookie: string }];
  port = told.port;
  cookie = told.cookie;
});

t.teardown(() => front.disconnect());

async function use(): Promise<FrontUse> {
  front.send('?');
  const [answer] = (await once(front, 'message')) as [FrontUse];
  return answer;
}

/** How long one request of somebody else takes, in milliseconds; infinite when it fails. */
function visit(session: ClientHttp2Session): Promise<number> {
  const begin = performance.now();
  return new Promise((resolve) => {
    const stream = session.request({ ':path': '/user/anna/x', ':authority': 'hub.example.org', cookie });
    let status = 0;
    stream.on('response', (fields) => {
      status = Number(fields[':status']);
    });
    stream.on('error', () => undefined);
    stream.on('close', () => resolve(status === 200 ? performance.now() - begin : Number.POSITIVE_INFINITY));
    stream.resume();
  });
}

for (const { name } of FLOODS) {
  t.test(`P09: over HTTP/2, ${name}: bounded, and others are served`, async (t) => {
    const other = connect(`https://127.0.0.1:${port}`, { servername: 'hub.example.org', rejectUnauthorized: false });
    other.on('error', () => undefined);
    t.teardown(() => other.destroy());
    await visit(other);
    const before = await use();
    const flooder = fork(join(TESTING, 'http2-flooder.js'), [
      name,
      String(port),
      cookie,
      String(GOES_ON.has(name) ? SHORT_MS : FLOOD_MS),
    ]);
    const ended = once(flooder, 'exit');
    let result: FloodResult | undefined;
    flooder.once('message', (said) => {
      result = said as FloodResult;
    });
    let peakMib = 0;
    const visits: number[] = [];
    do {
      visits.push(await visit(other));
      peakMib = Math.max(peakMib, (await use()).rssMib);
      await sleep(20);
    } while (flooder.exitCode === null && flooder.signalCode === null);
    await ended;
    const after = await use();
    const { sentBytes = 0, tookMs = 1, isCutOff = false } = result ?? {};
    const cpuPercent = ((after.cpuMs - before.cpuMs) / tookMs) * 100;
    t.comment(
      `${isCutOff ? `cut off after ${(tookMs / 1000).toFixed(2)} s` : 'goes on'}, ${(sentBytes / 1e6).toFixed(1)} MB; ` +
        `${(after.cpuMs - before.cpuMs).toFixed(0)} ms of CPU (${cpuPercent.toFixed(0)} % of a core), at most ${(peakMib - before.rssMib).toFixed(0)} MiB more; ` +
        `${after.servers - before.servers} connections to the server; ` +
        `${visits.length} visits, the slowest ${Math.max(...visits).toFixed(0)} ms; ${after.refusals.at(-1)}`,
    );
    t.equal(isCutOff, !GOES_ON.has(name), 'cut off');
    t.ok(peakMib - before.rssMib < MOST_MIB, 'memory');
    t.ok(after.servers - before.servers < 500, 'requests that reached the server');
    t.ok(visits.every(Number.isFinite), 'others are served');
    let open = after;
    for (let tries = 0; tries < 2000 && open.connections > 1; tries++) {
      await sleep(20);
      open = await use();
    }
    // The other visitor's may have ended, too.
    t.ok(open.connections <= 1, 'nothing is left of it');
  });
}
