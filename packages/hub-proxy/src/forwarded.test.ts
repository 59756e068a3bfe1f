import t from 'tap';
import { AddressRanges } from './address-ranges.js';
import { readForwarded } from './forwarded.js';
import type { HeaderField } from './header-fields.js';

const trusted = new AddressRanges(['10.0.0.0/8', '2001:db8::/32', '127.0.0.1']);
const isTrusted = (address: string): boolean => trusted.allows(address);

function read(...lines: readonly string[]) {
  const fields = lines.map((line): HeaderField => {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    return { name, lower: name.toLowerCase(), value: line.slice(colon + 1).trim() };
  });
  return readForwarded(fields, isTrusted);
}

t.test('addresses and ranges', async (t) => {
  for (const address of ['10.1.2.3', '127.0.0.1', '::ffff:10.1.2.3', '2001:db8:1::9', '2001:db8::1%eth0'])
    t.ok(trusted.allows(address), address);
  for (const address of ['11.0.0.1', '127.0.0.2', '2001:db9::1', 'unknown', ''])
    t.notOk(trusted.allows(address), address);
  t.notOk(new AddressRanges([]).allows('127.0.0.1'));
});

t.test('P05: the list is believed from its end, as far as trusted servers wrote it', async (t) => {
  t.equal(read('X-Forwarded-For: 192.0.2.1').address, '192.0.2.1');
  t.equal(read('X-Forwarded-For: 203.0.113.9, 192.0.2.1').address, '192.0.2.1', 'the visitor wrote the first one');
  t.equal(read('X-Forwarded-For: 203.0.113.9, 192.0.2.1, 10.0.0.2').address, '192.0.2.1');
  t.equal(read('X-Forwarded-For: 203.0.113.9', 'X-Forwarded-For: 192.0.2.1').address, '192.0.2.1', 'in two lines');
  t.equal(read('X-Forwarded-For: 203.0.113.9, unknown').address, undefined);
  t.equal(read('X-Forwarded-For: 10.0.0.7').address, '10.0.0.7', 'a visitor from among the trusted ones');
  t.equal(read('X-Forwarded-For: [2001:DB9::1]:4711').address, '2001:db9::1');
  t.equal(read('X-Forwarded-For: 192.0.2.1:80').address, '192.0.2.1');
  t.equal(read('X-Forwarded-For: ::ffff:192.0.2.1').address, '192.0.2.1');
  t.equal(read('X_Forwarded_For: 192.0.2.1').address, undefined, 'not another spelling');
});

t.test('scheme and host are the last ones', async (t) => {
  const { proto, host } = read('X-Forwarded-Proto: http, HTTPS', 'X-Forwarded-Host: a.example, hub.example.org');
  t.equal(proto, 'https');
  t.equal(host, 'hub.example.org');
});

t.test('Forwarded is read when there is none of the others', async (t) => {
  const line = 'Forwarded: for=203.0.113.9, for="[2001:db9::1]:80";proto=https;host="hub.example.org"';
  t.match(read(line), { address: '2001:db9::1', proto: 'https', host: 'hub.example.org' });
  t.match(read('forwarded: For=192.0.2.1;Proto=http'), { address: '192.0.2.1', proto: 'http' });
  t.match(read('X-Forwarded-Proto: http', line), { address: undefined, proto: 'http', host: undefined });
  for (const bad of ['Forwarded: for', 'Forwarded: for="192.0.2.1', 'Forwarded: ;', 'Forwarded: for=1 2']) {
    t.match(read(bad), { address: undefined, proto: undefined, host: undefined }, bad);
  }
});
