import t from 'tap';
import * as names from './names.js';

t.test('S02: only a key is a key', async (t) => {
  for (const good of ['a', 'anna', 'u2345', 'anna_b', 'a'.repeat(23)]) t.ok(names.isKey(good), good);
  const bad = ['', 'root ', '0', '65534', '+root', '-x', '..', '.', 'a/b', 'a.b', 'a@b', 'a%n', 'é', 'a'.repeat(24)];
  for (const name of [...bad, 'anna\n', 'an\0na', 'Anna', 'a-b', '_a', null, 7, ['anna'], { length: 1 }]) {
    t.notOk(names.isKey(name), JSON.stringify(name));
    t.throws(() => names.parseKey(name), { code: 'MH_ERR_SPAWN_NAME' });
  }
});

t.test('S02: only a server name is a server name', async (t) => {
  for (const good of ['', 'lab', '0', 'a-b', 'a'.repeat(31)]) t.ok(names.isServerName(good), good);
  for (const bad of ['-a', 'A', 'a_b', 'a.b', 'a\n', 'a'.repeat(32), 'é', null]) t.notOk(names.isServerName(bad));
});

t.test('units of servers are told from all others', async (t) => {
  const anna = names.parseKey('anna');
  const gpu = names.parseServerName('gpu');
  const id = names.serverId(anna, gpu);
  t.equal(names.serviceUnit(id), 'jupyter-anna:gpu.service');
  t.strictSame(names.findServerOfUnit('jupyter-anna:gpu.service'), { key: 'anna', server: 'gpu' });
  t.strictSame(names.findServerOfUnit('jupyter-anna.socket'), { key: 'anna', server: '' });
  for (const foreign of [
    'jupyter-anna.slice',
    'jupyter.slice',
    'ssh.service',
    'jupyter-a-b.service',
    'jupyter-anna:.service',
  ]) {
    t.equal(names.findServerOfUnit(foreign), undefined, foreign);
  }
});

t.test('units of commands are those of no server', async (t) => {
  const unit = names.commandUnit(names.parseKey('anna'), '0123abcd');
  t.equal(unit, 'jupyter-anna-exec-0123abcd.service');
  t.equal(names.findServerOfUnit(unit), undefined);
  t.strictSame(names.findCommandOfUnit(unit), { key: 'anna', id: '0123abcd' });
  for (const foreign of ['jupyter-anna.service', 'jupyter-anna-exec-x.service', 'jupyter-a-b-exec-0123abcd.service']) {
    t.equal(names.findCommandOfUnit(foreign), undefined, foreign);
  }
});

t.test('an account name fits the limit of a dynamic user', async (t) => {
  t.ok(names.accountName(names.parseKey('a'.repeat(23))).length <= 31);
});

t.test('an identity may hold any text but control characters', async (t) => {
  t.equal(names.parseIdentity('pam:Jürgen Müller@uni.example'), 'pam:Jürgen Müller@uni.example');
  for (const bad of ['anna', ':anna', 'pam:', 'pam:a\nb', 'PAM:a', `pam:${'a'.repeat(513)}`]) {
    t.throws(() => names.parseIdentity(bad), { code: 'MH_ERR_SPAWN_NAME' }, JSON.stringify(bad).slice(0, 40));
  }
});
