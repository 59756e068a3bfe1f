import { SECOND_MS } from '@metalhub/base/time.js';
import t from 'tap';
import { parseRequestTarget } from './path.js';
import type { Route } from './proxy-state.js';
import { RouteTable } from './route-table.js';
import { openClient, type RawClient, startProxy } from './testing/proxy.js';
import { Random } from './testing/random.js';
import { randomTarget } from './testing/random-target.js';
import { ticketClaims } from './testing/tickets.js';
import { ok, startUpstream } from './testing/upstream.js';

t.setTimeout(600_000);

const ROUNDS = 100_000;
const HOSTS = [
  'hub.example.org',
  'anna.example.org',
  'ANNA.example.org.',
  'bert.example.org',
  'free.example.org',
] as const;
const WORDS = ['anna', 'Anna', 'bert', '%41nna'];

function isWhole(answer: string): boolean {
  const end = answer.indexOf('\r\n\r\n');
  const length = Number(/^content-length: (\d+)/im.exec(answer)?.[1] ?? 0);
  return end >= 0 && answer.length >= end + 4 + length;
}

/** `Host` in the form in which routes have it. */
function normal(host: string): string {
  return host.toLowerCase().replace(/\.$/, '');
}

t.test('P03 P04: 100,000 random paths and hosts: the router matched what the upstream received', async (t) => {
  const proxy = await startProxy({ hosts: ['hub.example.org', '*.example.org'] });
  /** Each upstream says who it is and what it got. */
  const say = (name: string) => (head: string, write: (text: string) => void) => {
    const [line = ''] = head.split('\r\n');
    const host = /^host: (.*)$/im.exec(head)?.[1] ?? '';
    write(ok(`<${name}|${host}|${line.split(' ')[1]}>`));
  };
  const names = ['/user/anna/', '/user/anna/lab/', 'anna.example.org/user/anna/', 'bert.example.org/user/anna/'];
  const upstreams = await Promise.all(
    names.map((name, index) =>
      startUpstream(`${proxy.directory}/servers/${index}.sock`, (head, socket) =>
        say(name)(head, (text) => socket.write(text)),
      ),
    ),
  );
  const hub = await startUpstream(proxy.hubPath, (head, socket) => {
    say('/')(head, (text) => socket.write(text));
    socket.end();
  });
  const routes = names.map((name, index): Route => {
    const slash = name.indexOf('/');
    const target = { kind: 'unix', path: `${proxy.directory}/servers/${index}.sock` } as const;
    return proxy.annasRoute({ host: slash === 0 ? null : name.slice(0, slash), prefix: name.slice(slash), target });
  });
  await proxy.setState({ routes });
  const nowSec = Math.floor(Date.now() / SECOND_MS);
  const tickets = ['/user/anna/', '/user/anna/lab/'].map((path) => proxy.key.sign(ticketClaims(nowSec, { path })));
  const cookie = (await Promise.all(tickets)).map((ticket) => `metalhub-ticket=${ticket}`).join('; ');
  const table = new RouteTable(routes, (host) => host !== 'hub.example.org');
  const random = new Random(20_261_123);
  let client: RawClient | undefined;
  let answered = 0;
  const sent = { hub: 0, server: 0, refused: 0 };
  const wrong: string[] = [];

  /** What the upstream said, or the status. */
  async function ask(target: string, host: string): Promise<string> {
    if (client === undefined || answered % 500 === 0) {
      client?.socket.destroy();
      client = openClient(proxy.port);
    }
    const { socket, received, send } = client;
    const before = received().length;
    answered++;
    send(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\n\r\n`);
    while (!isWhole(received().slice(before)) && !socket.destroyed) {
      await new Promise<void>((resolve) => {
        const go = (): void => {
          socket.off('data', go).off('close', go);
          resolve();
        };
        socket.on('data', go).on('close', go);
      });
    }
    const answer = received().slice(before);
    if (/connection: close/i.test(answer)) {
      socket.destroy();
      client = undefined;
    }
    return /<.*>/.exec(answer)?.[0] ?? answer.slice(9, 12);
  }

  for (let round = 0; round < ROUNDS; round++) {
    let target = randomTarget(random, WORDS);
    if (round % 3 === 0) target = `/user/anna${target}`;
    const host = random.pick(HOSTS);
    const parsed = parseRequestTarget(target);
    if (parsed === undefined) {
      // Most random text is refused; each refusal costs a connection.
      if (round % 500 !== 0 || target.includes(' ')) continue;
      sent.refused++;
      const status = await ask(target, host);
      if (!['400', '404', '414'].includes(status)) wrong.push(`${target} on ${host}: ${status}`);
      continue;
    }
    const route = table.findRoute(parsed.path, normal(host));
    // The hub gets a connection each.
    if (route === undefined ? sent.hub >= 200 : sent.server >= 3000) continue;
    sent[route === undefined ? 'hub' : 'server']++;
    const answer = await ask(target, host);
    const name = route === undefined ? '/' : `${route.host ?? ''}${route.prefix}`;
    const isBare = route !== undefined && !parsed.path.startsWith(route.prefix);
    const isOwn = route !== undefined && parsed.path.startsWith(`${route.prefix}.metalhub/`);
    const expected = isBare ? '302' : isOwn ? '404' : `<${name}|${normal(host)}|${target}>`;
    // What forwards to the hub refuses whatever has a dot where one could be meant as a segment.
    const isRefused = route === undefined && /\.\.|\.\/|%2e/i.test(target) && answer === '400';
    if (answer !== expected && !isRefused) wrong.push(`${target} on ${host}: ${answer}, not ${expected}`);
  }
  t.same(wrong.slice(0, 10), []);
  t.ok(sent.server > 1500 && sent.hub === 200 && sent.refused > 50, JSON.stringify(sent));
  client?.socket.destroy();
  await Promise.all([...upstreams, hub].map((upstream) => upstream.close()));
  await proxy.close();
});
