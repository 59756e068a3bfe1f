import t from 'tap';
import type { Machine } from './machine.js';
import { failureOf, type SpawnerClient, startParams } from './spawner.js';

const HOMES = '/var/lib/private/metalhub/home';

interface Started {
  readonly machine: Machine;
  readonly spawner: SpawnerClient;
}

/** What must hold of starts on every systemd. The machine has an account eve, and a server of anna's. */
export function testStarts(get: () => Started): void {
  t.test('S05: no local account finds the token anywhere while the server runs', async (t) => {
    const { machine } = get();
    const look = `
      { systemctl show jupyter-anna.service jupyter-anna.socket
        for u in service socket; do
          for i in org.freedesktop.systemd1.Unit org.freedesktop.systemd1.\${u^}; do
            busctl call org.freedesktop.systemd1 "/org/freedesktop/systemd1/unit/jupyter_2danna_2e$u" org.freedesktop.DBus.Properties GetAll s $i
          done
        done
        cat /run/systemd/transient/*
        cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true
        grep -r . /run/credentials /run/metalhub /run/metalhub-spawner /run/userdb 2>/dev/null || true
      } | tr '\\0' '\\n' | grep -a -e 'Secret[-]anna' -e METALHUB_START_ID -c`;
    const counted = await machine.exec(['bash', '-c', look], { user: 'eve' });
    t.ok(Number(counted.stdout) > 0, 'it looks in the right places');
    const found = await machine.exec(['bash', '-c', look.replace('-e METALHUB_START_ID -c', '')], { user: 'eve' });
    t.equal(found.stdout, '');
  });

  t.test('S06: the command is fixed: nothing that was sent is in it', async (t) => {
    const { machine } = get();
    const exec = await machine.run(['systemctl', 'show', '-P', 'ExecStartEx', 'jupyter-anna.service']);
    t.match(exec, 'argv[]=/usr/bin/python3 -I /usr/lib/metalhub/launcher.py ; flags=no-env-expand ;');
  });

  t.test('S07: a home that is something else is refused with a reason, and left as it is', async (t) => {
    const { machine, spawner } = get();
    // Of a user whom the machine knows; to another it would not be given in the first place.
    const known = startParams('eves');
    await spawner.call('StartServer', known);
    await spawner.call('StopServer', { key: known.key, server: known.server });
    await machine.shell(`
      install -d ${HOMES} /var/lib/metalhub/home
      ln -s /etc ${HOMES}/link
      echo content > ${HOMES}/file
      mkdir -p ${HOMES}/mounted ${HOMES}/empty
      mount --bind /srv ${HOMES}/mounted
      chown eve ${HOMES}/eves
      mkdir ${HOMES}/elsewhere && ln -s ${HOMES}/anna /var/lib/metalhub/home/astray
      mkdir /var/lib/metalhub/home/directory`);
    const look = ['sh', '-c', `stat -c '%n %u %a %F' /etc /srv ${HOMES}/* /var/lib/metalhub/home/*; ls /etc | wc -l`];
    const before = await machine.run(look);
    const reasons = {
      link: 'symbolic link',
      file: 'not a directory',
      mounted: 'something is mounted on it',
      eves: 'the account eve',
      astray: 'it is a link to',
      directory: 'it is not the link that systemd makes',
    };
    for (const [key, reason] of Object.entries(reasons)) {
      const error = await failureOf(spawner.call('StartServer', startParams(key)));
      t.equal(error.code, key === 'eves' ? 'MH_ERR_SPAWN_HOME_FOREIGN' : 'MH_ERR_SPAWN_HOME', key);
      t.match(error.message, reason);
      t.match(error.hint, /./, 'with what to do');
    }
    t.equal(await machine.run(look), before);
    await spawner.call('StartServer', startParams('empty'));
    const { key, server } = startParams('empty');
    await spawner.call('StopServer', { key, server });
  });

  t.test('S07: nor is one whose parent was replaced or opened to others', async (t) => {
    const { machine, spawner } = get();
    await machine.shell(`mv ${HOMES} ${HOMES}.real && ln -s /etc ${HOMES}`);
    t.match((await failureOf(spawner.call('StartServer', startParams('bob')))).message, 'it is not a directory');
    await machine.shell(`rm ${HOMES} && mv ${HOMES}.real ${HOMES} && chmod o+w ${HOMES}`);
    t.match(
      (await failureOf(spawner.call('StartServer', startParams('bob')))).message,
      'others than root can write to it',
    );
    await machine.shell(`chmod o-w ${HOMES}`);
  });
}
