import t from 'tap';
import { missingAddresses } from './missing-addresses.js';

const interfaces = {
  lo: [{ address: '127.0.0.1' }, { address: '::1' }],
  eth0: [{ address: '192.0.2.7' }, { address: '2001:db8::7' }, { address: 'fe80::1' }],
  down: undefined,
};

t.test('names the addresses that no interface has', async (t) => {
  const here = ['127.0.0.1:80', '127.5.0.1:80', '[::1]:80', '0.0.0.0:80', '[::]:80', '192.0.2.7:443'];
  t.same(missingAddresses([...here, '[2001:DB8:0:0::7]:80', '[0:0::0]:80'], interfaces), []);
  const strange = ['192.0.2.70:80', '[2001:db8::8]:80', '1.2.3.4:80'];
  t.same(missingAddresses([...here, ...strange], interfaces), strange);
});
