import t from 'tap';
import { clientAddress } from './client-address.js';
import { cookieOptions, cookieValues } from './cookies.js';

t.test('H04: every value of a cookie is seen, a few at most', async (t) => {
  t.same(cookieValues('metalhub-session=a; x=y; metalhub-session=b', 'metalhub-session'), ['a', 'b']);
  t.same(cookieValues('metalhub-session=a;metalhub-session=a', 'metalhub-session'), ['a']);
  t.same(cookieValues('xmetalhub-session=a; metalhub-sessions=b', 'metalhub-session'), []);
  t.same(cookieValues(undefined, 'metalhub-session'), []);
  const many = Array.from({ length: 200 }, (_, index) => `metalhub-session=${index}`).join('; ');
  t.equal(cookieValues(many, 'metalhub-session').length, 4);
});

t.test('cookies are Secure exactly when the public address is', async (t) => {
  t.match(cookieOptions('https://hub.example.org'), { secure: true, httpOnly: true, sameSite: 'lax', path: '/hub/' });
  t.match(cookieOptions('http://localhost:8000'), { secure: false });
});

t.test('cookies go to the hub alone, not to what else the site has', async (t) => {
  for (const url of ['https://www.example.org/jupyter', 'https://www.example.org/jupyter/'])
    t.match(cookieOptions(url), { path: '/jupyter/hub/' });
});

t.test('P05: the address is the one that the proxy wrote', async (t) => {
  t.equal(clientAddress({ 'x-forwarded-for': '192.0.2.1' }), '192.0.2.1');
  t.equal(clientAddress({ 'x-forwarded-for': '10.0.0.1, 192.0.2.1' }), '192.0.2.1');
  t.equal(clientAddress({ 'x-forwarded-for': '::ffff:192.0.2.1' }), '192.0.2.1');
  t.equal(clientAddress({ 'x-forwarded-for': '2001:DB8::1' }), '2001:db8::1');
  for (const header of ['', 'evil', '1.2.3.4.5', '<img>', '192.0.2.1, x'])
    t.equal(clientAddress({ 'x-forwarded-for': header }), '');
  t.equal(clientAddress({}), '');
});
