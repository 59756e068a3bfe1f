import t from 'tap';
import { cookieValues, isHubCookie, mayServerSetCookie, withoutHubCookies } from './cookies.js';
import type { HeaderField } from './header-fields.js';

const cookie = (value: string): HeaderField => ({ name: 'Cookie', lower: 'cookie', value });

t.test('the hub’s cookies are taken out, all others pass in their order', async (t) => {
  const fields = [
    cookie('a=1; metalhub-session=s; _xsrf=2|3'),
    cookie('METALHUB-ticket=t; __Host-metalhub-x=1; b="q; w"'),
  ];
  t.equal(withoutHubCookies(fields), 'a=1; _xsrf=2|3; b="q; w"');
  t.equal(withoutHubCookies([cookie('metalhub-ticket=t')]), undefined);
  t.ok(isHubCookie('__Secure-metalhub-session'));
  t.notOk(isHubCookie('jupyterhub-session-id'));
});

t.test('of many tickets only the first few are looked at', async (t) => {
  const many = cookie(Array.from({ length: 50 }, (_, index) => `metalhub-ticket=${index}`).join('; '));
  t.same(cookieValues([many], 'metalhub-ticket'), ['0', '1', '2', '3']);
});

t.test('U06: a server sets cookies for its own path only', async (t) => {
  const allowed = [
    'username-localhost-8888="x"; HttpOnly; Path=/user/anna/',
    '_xsrf=2; Path=/user/anna/lab',
    '_xsrf=2; Path=/user/anna',
    'a=b',
  ];
  const refused = [
    'metalhub-session=x; Path=/user/anna/',
    'metalhub-ticket=x',
    'Metalhub-Ticket=x; Path=/user/anna/',
    '__Host-metalhub-session=x; Path=/',
    'a=b; Path=/',
    'a=b; path=/hub/',
    'a=b; Path=/user/',
    'a=b; Path=/user/annabel/',
    'a=b; Path=/user/anna/; Domain=example.org',
    'a=b; Path=/user/anna/; Path=/',
    '=metalhub-ticket',
    'novalue',
  ];
  for (const line of allowed) t.ok(mayServerSetCookie(line, '/user/anna/'), line);
  for (const line of refused) t.notOk(mayServerSetCookie(line, '/user/anna/'), line);
});
