import t from 'tap';
import { nameServiceSources } from './machine.js';

t.test('reads the sources of a name service database', async (t) => {
  const file = '# passwd: no\npasswd:  files systemd # x\ngroup: files [SUCCESS=merge] systemd\nshadow: files';
  t.strictSame(nameServiceSources(file, 'passwd'), ['files', 'systemd']);
  t.strictSame(nameServiceSources(file, 'group'), ['files', 'systemd']);
  t.strictSame(nameServiceSources(file, 'hosts'), []);
});
