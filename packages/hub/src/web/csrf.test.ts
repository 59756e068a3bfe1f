import t from 'tap';
import { Csrf, isOwnOrigin } from './csrf.js';

const PUBLIC = 'https://hub.example.org';

t.test('H03: a token is good for its own session only', async (t) => {
  const csrf = new Csrf(Buffer.alloc(32, 1));
  const expected = csrf.tokenOfSession('a'.repeat(32));
  t.ok(csrf.isValid(csrf.tokenOfSession('a'.repeat(32)), expected));
  for (const token of [
    undefined,
    '',
    null,
    7,
    expected.slice(1),
    `${expected}=`,
    csrf.tokenOfSession('b'.repeat(32)),
    csrf.tokenOfVisitor('a'.repeat(32)),
  ]) {
    t.notOk(csrf.isValid(token, expected), String(token));
  }
  t.not(new Csrf(Buffer.alloc(32, 2)).tokenOfSession('a'.repeat(32)), expected, 'another key makes another token');
});

t.test('H02: forms of other sites are recognised', async (t) => {
  const refused = [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'nonsense' },
    { origin: 'null' },
    { origin: 'https://evil.example' },
    { origin: 'https://hub.example.org.evil.com', host: 'hub.example.org' },
    { origin: 'http://hub.example.org', host: 'hub.example.org', 'x-forwarded-proto': 'https' },
    { origin: 'https://hub.example.org', 'sec-fetch-site': 'cross-site' },
    { origin: 'nonsense' },
  ];
  for (const headers of refused) t.notOk(isOwnOrigin(headers, PUBLIC), JSON.stringify(headers));
});

t.test('own forms pass, and so do programs that send neither header', async (t) => {
  t.ok(isOwnOrigin({}, PUBLIC));
  t.ok(isOwnOrigin({ origin: PUBLIC, 'sec-fetch-site': 'same-origin' }, `${PUBLIC}/`));
  t.ok(isOwnOrigin({ origin: 'http://127.0.0.1:8000', host: '127.0.0.1:8000', 'x-forwarded-proto': 'http' }, PUBLIC));
  t.ok(isOwnOrigin({ 'sec-fetch-site': 'none' }, PUBLIC));
});
