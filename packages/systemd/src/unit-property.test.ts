import t from 'tap';
import { allowList, bindMounts, envStrv, execStartEx, pairs, str, strv } from './unit-property.js';

t.test('properties carry their types', (t) => {
  t.match(execStartEx(['/bin/a', 'b']), [
    'ExecStartEx',
    { signature: 'a(sasas)', value: [['/bin/a', ['/bin/a', 'b'], ['no-env-expand']]] },
  ]);
  t.match(allowList('SystemCallFilter', ['@x']), ['SystemCallFilter', { signature: '(bas)', value: [true, ['@x']] }]);
  t.match(envStrv('Environment', { A: '1', B: '' }), ['Environment', { value: ['A=1', 'B='] }]);
  t.match(bindMounts('BindPaths', [{ source: '/a', destination: '/b' }]), [
    'BindPaths',
    { value: [['/a', '/b', false, 0x4000n]] },
  ]);
  t.end();
});

t.test('a control character is refused in every text, since it could become a line of the unit file', (t) => {
  const error = { code: 'MH_ERR_SYSTEMD_CALL' };
  t.throws(() => str('Description', 'x\nExecStopPost=/bin/sh'), error);
  t.throws(() => strv('StateDirectory', ['a', 'b\r']), error);
  t.throws(() => pairs('LoadCredential', [['a', 'b\u0000']]), error);
  t.throws(() => execStartEx(['/bin/a', 'b\nc']), error);
  t.end();
});
