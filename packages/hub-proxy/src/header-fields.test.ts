import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { readHeaderFields } from './header-fields.js';
import { parseHost } from './host.js';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Bytes that stay in use when of so many heads of half a megabyte only `keep` saw a part. */
function keptOf(keep: (head: string, index: number) => void): number {
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < 60; index++) {
    const line = `X-Made-Up-By-Somebody-${index}: name-of-somebody-${index}.example.org`;
    keep(Buffer.from(`${line}\r\nX: ${'a'.repeat(500_000)}`).toString('latin1'), index);
  }
  collectGarbage();
  return process.memoryUsage().heapUsed - before;
}

t.test('what is remembered of names and hosts does not keep the requests that they came in', async (t) => {
  const names = keptOf((head) => void readHeaderFields(head, 0, 2));
  t.ok(names < 2_000_000, `names: ${names} bytes`);
  const hosts = keptOf((head) => {
    const host = head.slice(head.indexOf('name-of'), head.indexOf('\r\n'));
    t.equal(parseHost(host)?.name, host);
  });
  t.ok(hosts < 2_000_000, `hosts: ${hosts} bytes`);
});
