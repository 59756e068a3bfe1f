import t from 'tap';
import { serverName } from './service.js';

t.test('TLS is asked for the name of the public address, and for none when that is a number', async (t) => {
  t.equal(serverName(new URL('https://hub.example.org:8443')), 'hub.example.org');
  for (const url of ['https://192.0.2.1', 'https://192.0.2.1:8443', 'https://[2001:db8::1]', 'https://[::1]:8443']) {
    t.equal(serverName(new URL(url)), '', url);
  }
});
