import t from 'tap';
import { HOME_COMPLAINTS, HOMES, HomeMachine, testHomes } from '../lib/home-cases.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { installSpawner } from '../lib/spawner.js';

t.setTimeout(600_000);

let machine: Machine;
let it: HomeMachine;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installSpawner(machine);
  it = await HomeMachine.connect(machine);
});

t.teardown(async () => {
  it?.close();
  await machine?.stop();
});

testHomes(() => it, 'mapped');

t.test('a home of an earlier systemd keeps its kind, and one of this systemd keeps its', async (t) => {
  const uid = await it.uid('anna');
  for (const owner of [uid, '65534']) {
    await machine.shell(`chown -hR ${owner}:${owner} ${HOMES}/anna; echo >${HOMES}/anna/roots`);
    t.match(await it.start('anna'), ['account', 'home', 'repair']);
    t.equal(await it.owner(`${HOMES}/anna`), owner);
    t.equal(await it.foreign('anna', owner), '');
    t.same(await it.inside('anna', 'echo >roots && echo ok'), { code: 0, stdout: 'ok\n' });
    t.match(await it.fix('anna', true), { kind: owner === uid ? 'owned' : 'mapped', pass: { changed: 0 } });
    await it.stop('anna');
  }
});

t.test('nothing is left of the passes, and the journal holds no other complaint', async (t) => {
  const left = await machine.shell(
    `ls -A ${HOMES} /run/metalhub-fix-home /run/metalhub-spawner/fix-home | grep -v :$ | xargs`,
  );
  t.equal(left, 'anna bob\n');
  await machine.assertCleanJournal(HOME_COMPLAINTS);
});
