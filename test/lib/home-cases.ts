import { parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import type { ExecResult, Machine } from './machine.js';
import { connectSpawner, connectSpawnerAdmin, failureOf, type SpawnerClient, startParams } from './spawner.js';

export const HOMES = '/var/lib/private/metalhub/home';
const ANNA = `${HOMES}/anna`;
const MAPPED = '65534';
const ALL_STAGES = ['account', 'home', 'unit', 'waiting'];

/** The spawner of a machine, for what is done to homes. */
export class HomeMachine {
  readonly machine: Machine;
  spawner: SpawnerClient;

  private constructor(machine: Machine, spawner: SpawnerClient) {
    this.machine = machine;
    this.spawner = spawner;
  }

  static async connect(machine: Machine): Promise<HomeMachine> {
    return new HomeMachine(machine, await connectSpawner(machine));
  }

  async reconnect(): Promise<void> {
    this.close();
    this.spawner = await connectSpawner(this.machine);
  }

  close(): void {
    this.spawner.close();
  }

  /** The stages that the start went through. */
  async start(key: string, server = ''): Promise<string[]> {
    const stages: string[] = [];
    const onEvent = ({ stage }: { stage: string }): void => void stages.push(stage);
    await this.spawner.call('StartServer', startParams(key, { server }), { onEvent });
    return stages;
  }

  async stop(key: string, server = ''): Promise<void> {
    const params = startParams(key, { server });
    await this.spawner.call('StopServer', { key: params.key, server: params.server });
  }

  async fix(key: string, check = false) {
    const admin = await connectSpawnerAdmin(this.machine);
    return admin.call('FixHome', { key: parseKey(key), check }).finally(() => admin.close());
  }

  async uid(key: string): Promise<string> {
    return (await this.machine.run(['id', '-u', `jupyter-${key}`])).trim();
  }

  /** A piece of shell as the user, in the unit of their server: what a terminal would do. */
  async inside(unit: string, text: string): Promise<Pick<ExecResult, 'code' | 'stdout'>> {
    const key = unit.split(':')[0] ?? '';
    const uid = await this.uid(key);
    const pid = (await this.machine.run(['systemctl', 'show', '-P', 'MainPID', `jupyter-${unit}.service`])).trim();
    const user = [
      'setpriv',
      `--reuid=${uid}`,
      `--regid=${uid}`,
      '--clear-groups',
      '--inh-caps=-all',
      '--bounding-set=-all',
    ];
    const shell = ['sh', '-c', `cd /var/lib/metalhub/home/${key}; exec 2>&1; ${text}`];
    const { code, stdout } = await this.machine.exec(['nsenter', '-t', pid, '-m', ...user, ...shell]);
    return { code, stdout };
  }

  /** What does not belong to the owner, in a home. */
  async foreign(key: string, owner: string): Promise<string> {
    const not = ['(', '!', '-uid', owner, '-o', '!', '-gid', owner, ')'];
    return this.machine.run(['find', `${HOMES}/${key}`, ...not, '-printf', '%P %U:%G\\n']);
  }

  async owner(path: string): Promise<string> {
    return (await this.machine.run(['stat', '-c', '%u', path])).trim();
  }
}

/** What must hold of homes on every systemd. @param kind how this one owns homes */
export function testHomes(get: () => HomeMachine, kind: 'mapped' | 'owned'): void {
  let it: HomeMachine;
  let owner = MAPPED;

  t.test('a home that only its user has written to is started in without a repair', async (t) => {
    it = get();
    t.same(await it.start('anna'), ALL_STAGES);
    if (kind === 'owned') owner = await it.uid('anna');
    await it.inside('anna', 'echo mine >file');
    await it.stop('anna');
    t.same(await it.start('anna'), ALL_STAGES);
    t.match(await it.fix('anna', true), { kind, pass: { changed: 0, left: 0 } });
    t.equal(await it.foreign('anna', owner), '');
  });

  t.test('S08: files that root left are given to the user while their server runs, baits are not', async (t) => {
    const { machine } = it;
    await machine.shell(`mkdir -p ${ANNA}/course/deep
      echo content >${ANNA}/course/deep/notes; chmod 4755 ${ANNA}/course/deep/notes
      mknod ${ANNA}/course/device c 1 3
      echo bait >${HOMES}/../bait; ln ${HOMES}/../bait ${ANNA}/hard
      ln -s /etc/shadow ${ANNA}/soft; mkfifo ${ANNA}/pipe`);
    const append = 'echo more >>course/deep/notes';
    t.match(await it.inside('anna', append), { stdout: /denied/ });
    t.match(await it.fix('anna', true), { pass: { changed: 5, left: 2 } });
    t.match(await it.inside('anna', append), { stdout: /denied/ }, 'a check changes nothing');
    const { pass } = await it.fix('anna');
    t.match(pass, { changed: 5, left: 2 });
    t.same(pass.left_examples.map(({ path, reason }) => `${path} ${reason}`).sort(), [
      'course/device device',
      'hard hard-link',
    ]);
    t.same(await it.inside('anna', `${append} && cat course/deep/notes && stat -c "%u %a" course/deep/notes`), {
      code: 0,
      stdout: `content\nmore\n${await it.uid('anna')} 755\n`,
    });
    t.same((await it.foreign('anna', owner)).split('\n').sort(), ['', 'course/device 0:0', 'hard 0:0']);
    t.equal(await machine.run(['stat', '-c', '%U %h', '/etc/shadow', `${HOMES}/../bait`]), 'root 1\nroot 2\n');
  });

  t.test('a start sees that files came from elsewhere, repairs them and tells so', async (t) => {
    await it.stop('anna');
    t.same(await it.start('anna'), ALL_STAGES, 'what was left before is no reason');
    await it.stop('anna');
    await it.machine.shell(`echo new >${ANNA}/course/new`);
    t.same(await it.start('anna'), [...ALL_STAGES, 'repair', 'unit', 'waiting']);
    t.same(await it.inside('anna', 'cat course/new && echo more >>course/new'), { code: 0, stdout: 'new\n' });
    await it.stop('anna');
  });

  t.test('a start does not wait for an end of what keeps coming from elsewhere', async (t) => {
    const restore = `while :; do mktemp -p ${ANNA} >/dev/null; sleep 0.05; done`;
    await it.machine.run(['systemd-run', '--quiet', '--unit=restore', 'sh', '-c', restore]);
    await it.machine.shell(`until ls ${ANNA}/tmp.* >/dev/null 2>&1; do sleep 0.05; done`);
    t.same(await it.start('anna'), [...ALL_STAGES, 'repair', 'unit', 'waiting']);
    await it.machine.run(['systemctl', 'stop', 'restore']);
    await it.stop('anna');
  });

  t.test('a home restored from a backup is repaired at the next start', async (t) => {
    await it.machine.shell(`rm ${ANNA}/hard ${ANNA}/course/device
      cd ${ANNA}; echo a >one; ln one two
      cd ${HOMES}; tar -cf /srv/anna.tar anna; rm -r anna; tar -xf /srv/anna.tar; chown -R root: anna`);
    t.same(await it.start('anna'), ['account', 'home', 'repair', 'unit', 'waiting']);
    t.equal(await it.foreign('anna', owner), '', 'also a file all of whose names are in the home');
    t.same(await it.inside('anna', 'echo more >>one; cat two'), { code: 0, stdout: 'a\nmore\n' });
  });

  t.test('S07: a home that belongs to somebody is not given away, and none is changed under a server', async (t) => {
    await it.machine.run(['useradd', '--no-create-home', 'eve']);
    await it.start('bob');
    await it.stop('bob');
    await it.machine.shell(`chown -R eve: ${HOMES}/bob`);
    for (const call of [it.spawner.call('StartServer', startParams('bob')), it.fix('bob')]) {
      t.match(await failureOf(call), {
        code: 'MH_ERR_SPAWN_HOME_FOREIGN',
        message: /the account eve/,
        hint: /chown root/,
      });
    }
    await it.machine.shell(`chown root: ${ANNA}`);
    t.match(await failureOf(it.fix('anna')), {
      code: 'MH_ERR_SPAWN_REPAIR',
      hint: /systemctl stop jupyter-anna\.slice/,
    });
    await it.machine.shell(`chown ${owner}:${owner} ${ANNA}`);
    t.match(await failureOf(it.fix('zoe')), { code: 'MH_ERR_SPAWN_NO_LEASE' });
  });

  t.test('U02: while servers of one user run, restart and are repaired, none loses its files', async (t) => {
    await it.start('anna', 'second');
    await it.machine.shell(`mkdir ${ANNA}/many; cd ${ANNA}/many; seq 3000 | xargs touch`);
    const pass = it.fix('anna');
    for (let round = 0; round < 3; round++) {
      t.same(await it.inside('anna', 'echo one >>shared && echo ok'), { code: 0, stdout: 'ok\n' });
      t.same(await it.inside('anna:second', 'echo two >>shared && echo ok'), { code: 0, stdout: 'ok\n' });
    }
    t.match(await pass, { pass: { changed: 3001 } });
    for (const [restarted, other] of [
      ['', 'anna:second'],
      ['second', 'anna'],
    ] as const) {
      await it.stop('anna', restarted);
      await it.start('anna', restarted);
      t.same(await it.inside(other, 'echo more >>shared && cat many/1 && echo ok'), { code: 0, stdout: 'ok\n' });
    }
    t.same(await it.inside('anna', 'wc -l <shared'), { code: 0, stdout: '8\n' });
    t.equal(await it.foreign('anna', owner), '');
    await it.stop('anna', 'second');
    await it.stop('anna');
  });

  t.test('a pass that is killed, with hub-spawner too, is made again by the next start', async (t) => {
    await it.machine.shell(`mkdir ${ANNA}/heap; cd ${ANNA}/heap
      for i in $(seq 40); do mkdir $i; (cd $i; seq 1000 | xargs touch); done; chown -R root: ${ANNA}`);
    const lost = failureOf(it.fix('anna'));
    // Held while it is looked at, or it might be through first.
    await it.machine.shell(`until pass=$(pgrep -f '^/usr/bin/node .*hub-fix-home[.]cjs'); do sleep 0.01; done
      while kill -STOP $pass; [ -z "$(find ${ANNA} -uid ${owner} -print -quit)" ]; do kill -CONT $pass; sleep 0.01; done
      systemctl kill --signal=KILL hub-fix-home@anna.service
      systemctl kill --signal=KILL --kill-whom=main hub-spawner.service`);
    t.match((await lost).code, /MH_ERR_(WIRE_CLOSED|SPAWN_REPAIR)/);
    t.equal(await it.owner(ANNA), '0', 'the top is given last');
    await it.reconnect();
    t.same(await it.start('anna'), ['account', 'home', 'repair', 'unit', 'waiting']);
    t.equal(await it.foreign('anna', owner), '');
    await it.stop('anna');
  });
}

/** Complaints in the journal that {@link testHomes} provokes. */
export const HOME_COMPLAINTS = [
  /jupyter-anna\.service.*(status=103|exit-code|Failed to start)/,
  /files of others/,
  /hub-fix-home@anna.*(KILL|signal|Failed to start)/,
  /hub-spawner.*(KILL|signal|killed)/,
];
