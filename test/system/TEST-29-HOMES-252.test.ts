import t from 'tap';
import { HOME_COMPLAINTS, HOMES, HomeMachine, testHomes } from '../lib/home-cases.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { failureOf, installSpawner } from '../lib/spawner.js';
import { installStubs } from '../lib/stub-jupyter.js';

t.setTimeout(900_000);

let old: Machine;
let young: Machine;
let it: HomeMachine;

t.before(async () => {
  [old, young] = await Promise.all([bootMachine({ image: 'bookworm' }), bootMachine({ image: 'jupyter' })]);
  await installStubs(old);
  await installSpawner(old);
  await installSpawner(young);
  it = await HomeMachine.connect(old);
});

t.teardown(async () => {
  it?.close();
  await old?.stop();
  await young?.stop();
});

t.test('this is systemd 252', async (t) => {
  t.match(await old.run(['systemctl', '--version']), /^systemd 252 /);
});

testHomes(() => it, 'owned');

async function move(from: Machine, to: Machine): Promise<void> {
  const archive = await from.shell(`cd ${HOMES}; tar --numeric-owner -cf - anna | base64 -w0`);
  await to.run(['sh', '-c', `mkdir -p ${HOMES}; cd ${HOMES}; rm -rf anna; base64 -d | tar --numeric-owner -xf -`], {
    input: archive,
  });
}

t.test('a home moves from systemd 252 to 257 and back, and all in it is its user’s', async (t) => {
  await old.shell(`rm -r ${HOMES}/anna/heap ${HOMES}/anna/many`);
  const there = await HomeMachine.connect(young);
  t.teardown(() => there.close());
  // Another user is first there, so that the numbers differ.
  await there.start('zoe');
  await there.stop('zoe');
  await there.start('anna');
  await there.stop('anna');
  t.not(await there.uid('anna'), await it.uid('anna'));
  await move(old, young);
  // Its number is another user's there: somebody must say that the files are not theirs.
  const refused = await failureOf(there.start('anna'));
  t.equal(refused.code, 'MH_ERR_SPAWN_HOME_FOREIGN');
  t.match(refused.hint, `chown root:root ${HOMES}/anna`);
  await young.run(['chown', 'root:root', `${HOMES}/anna`]);
  t.same(await there.start('anna'), ['account', 'home', 'repair', 'unit', 'waiting']);
  t.equal(await there.foreign('anna', '65534'), '');
  t.same(await there.inside('anna', 'cat file && echo there >file'), { code: 0, stdout: 'mine\n' });
  await there.stop('anna');

  await move(young, old);
  t.same(await it.start('anna'), ['account', 'home', 'repair', 'unit', 'waiting']);
  t.equal(await it.foreign('anna', await it.uid('anna')), '');
  t.same(await it.inside('anna', 'cat file && echo back >file'), { code: 0, stdout: 'there\n' });
  await it.stop('anna');
});

t.test('the journal holds no other complaint', async () => {
  await old.assertCleanJournal([...HOME_COMPLAINTS, /Unknown (key|system call group)/]);
});
