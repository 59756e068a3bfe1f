import { execFileSync, spawn } from 'node:child_process';
import { chownSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { FixTreeResult } from './fix-tree.js';

const RUN = fileURLToPath(new URL('fix-tree-run.js', import.meta.url));
const TARGET = 70_123;
const isRoot = process.getuid?.() === 0;

t.setTimeout(600_000);

/** Makes what a hostile user, a backup and root may leave, all by chance: arguments are the directory, a seed and a size. */
const HOSTILE = `
import os, random, socket, stat, sys
base, seed, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
os.makedirs(base + '/outside/dir'); os.mkdir(base + '/homes'); os.mkdir(base + '/homes/anna')
baits = []
for i in range(5):
    path = base + f'/outside/bait{i}'
    open(path, 'w').close(); os.chmod(path, 0o4755 if i % 2 else 0o600); baits.append(path)
open(base + '/outside/dir/deep', 'w').close()
owners = [(0, 0), (12345, 12345), (65534, 65534), (${TARGET}, ${TARGET}), (${TARGET}, ${TARGET}), (${TARGET}, 0), (0, ${TARGET})]
directories, files = [base + '/homes/anna'], []
odd = [lambda p: os.symlink('/etc/shadow', p), lambda p: os.symlink(base + '/outside/dir', p), lambda p: os.symlink('nowhere', p),
       lambda p: os.mkfifo(p), lambda p: os.mknod(p, stat.S_IFCHR | 0o666, os.makedev(1, 3)),
       lambda p: os.mknod(p, stat.S_IFBLK | 0o600, os.makedev(7, 250)), lambda p: os.link(chance.choice(baits), p)]
def bind(p):
    here = os.getcwd(); os.chdir(os.path.dirname(p))
    socket.socket(socket.AF_UNIX).bind(os.path.basename(p)); os.chdir(here)
odd.append(bind)
for i in range(size):
    path = os.fsencode(chance.choice(directories)) + b'/' + chance.choice([b'f', b' x', b'.h', b'n\\n', b'\\xff', b'..a', 'ä'.encode()]) + str(i).encode()
    path = os.fsdecode(path)
    kind = chance.random()
    if kind < 0.1: os.mkdir(path); directories.append(path)
    elif kind < 0.15: chance.choice(odd)(path); 
    elif kind < 0.2 and files: os.link(chance.choice(files), path)
    else: open(path, 'w').close(); files.append(path)
    if os.lstat(path).st_ino in [os.lstat(b).st_ino for b in baits]: continue
    os.lchown(path, *chance.choice(owners))
    if not os.path.islink(path) and chance.random() < 0.2: os.chmod(path, chance.choice([0o4755, 0o2755, 0o6711, 0o2770, 0o1777, 0]))
deep = base + '/homes/anna'
for i in range(60): deep += '/d'; os.mkdir(deep); os.chown(deep, 0, 0)
os.chown(base + '/homes/anna', 0, 0)
`;

interface Entry {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly links: number;
  readonly inode: number;
  readonly ctimeNs: bigint;
  readonly isDirectory: boolean;
  readonly isDevice: boolean;
  readonly isLink: boolean;
}

/** By paths as bytes, one per character. */
function look(path: string, entries = new Map<string, Entry>()): Map<string, Entry> {
  const status = lstatSync(Buffer.from(path, 'latin1'), { bigint: true });
  const isDirectory = status.isDirectory();
  entries.set(path, {
    uid: Number(status.uid),
    gid: Number(status.gid),
    mode: Number(status.mode),
    links: Number(status.nlink),
    inode: Number(status.ino),
    ctimeNs: status.ctimeNs,
    isDirectory,
    isLink: status.isSymbolicLink(),
    isDevice: status.isBlockDevice() || status.isCharacterDevice(),
  });
  if (isDirectory) {
    for (const name of readdirSync(Buffer.from(path, 'latin1'), 'latin1' as BufferEncoding))
      look(`${path}/${name}`, entries);
  }
  return entries;
}

function plant(t: Test, seed: number, size: number): { base: string; homes: string; home: string } {
  const base = t.testdir();
  execFileSync('python3', ['-c', HOSTILE, base, String(seed), String(size)]);
  return { base, homes: join(base, 'homes'), home: join(base, 'homes', 'anna') };
}

function start(homes: string, ...flags: string[]) {
  return spawn(process.execPath, [RUN, homes, 'anna', String(TARGET), ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function fix(homes: string, ...flags: string[]): Promise<FixTreeResult> {
  const child = start(homes, ...flags);
  let text = '';
  for await (const chunk of child.stdout) text += String(chunk);
  return JSON.parse(text.slice(text.indexOf('\n'))) as FixTreeResult;
}

function isTheirs({ uid, gid }: Entry): boolean {
  return uid === TARGET && gid === TARGET;
}

/** What a complete pass must make of the entries. */
function expected(before: ReadonlyMap<string, Entry>, isAlone: boolean): Map<string, 'same' | 'given' | 'left'> {
  const names = new Map<number, number>();
  for (const { inode } of before.values()) names.set(inode, (names.get(inode) ?? 0) + 1);
  return new Map(
    [...before].map(([path, entry]) => {
      if (isTheirs(entry)) return [path, 'same'];
      const isShared = !entry.isDirectory && entry.links > (isAlone ? (names.get(entry.inode) ?? 0) : 1);
      return [path, entry.isDevice || isShared ? 'left' : 'given'];
    }),
  );
}

function compare(
  t: Test,
  before: ReadonlyMap<string, Entry>,
  after: ReadonlyMap<string, Entry>,
  isAlone: boolean,
): void {
  const wrong: string[] = [];
  for (const [path, outcome] of expected(before, isAlone)) {
    const [old, now] = [before.get(path), after.get(path)];
    if (old === undefined || now === undefined) wrong.push(`${path}: gone`);
    else if (outcome !== 'given') {
      if (now.uid !== old.uid || now.gid !== old.gid || now.mode !== old.mode || now.ctimeNs !== old.ctimeNs)
        wrong.push(`${path}: touched`);
    } else {
      const mode = old.isLink ? old.mode : old.mode & ~0o6000;
      if (!isTheirs(now) || now.mode !== mode) wrong.push(`${path}: ${now.uid}:${now.gid} ${now.mode.toString(8)}`);
    }
  }
  t.same(wrong.slice(0, 5), []);
}

t.test(
  'S08: hostile trees, killed at random points and gone on with, end right and nothing outside is touched',
  { skip: !isRoot },
  async (t) => {
    for (let seed = 1; seed <= 6; seed++) {
      const { base, homes, home } = plant(t, seed, 3000);
      const isAlone = seed % 2 === 0;
      const flags = isAlone ? ['alone'] : [];
      const before = look(home);
      const outside = look(join(base, 'outside'));
      const wanted = expected(before, isAlone);
      for (let attempt = 0; attempt < 3; attempt++) {
        const child = start(homes, ...flags);
        const ended = new Promise((resolve) => child.once('close', resolve));
        // It says when it begins; the whole takes some 20 ms from there.
        await new Promise((resolve) => child.stdout.once('data', resolve));
        setTimeout(() => child.kill('SIGKILL'), (seed * 5 + attempt * 7) % 20);
        await ended;
        const left = [...look(home)].filter(([path, entry]) => wanted.get(path) === 'given' && !isTheirs(entry));
        t.ok(left.length === 0 || left.some(([path]) => path === home), `seed ${seed}: the top is given last`);
        t.comment(`killed with ${left.length} of ${before.size} left`);
      }
      const wouldBe = await fix(homes, 'check', ...flags);
      const half = look(home);
      const done = await fix(homes, ...flags);
      const after = look(home);
      t.same(look(join(base, 'outside')), outside, `seed ${seed}: nothing outside is touched`);
      compare(t, before, after, isAlone);
      t.equal(done.seen, before.size);
      const outcomes = expected(half, isAlone);
      const inodes = (what: string) =>
        new Set([...outcomes].filter(([, outcome]) => outcome === what).map(([path]) => half.get(path)?.inode)).size;
      t.equal(done.changed, inodes('given'), `seed ${seed}: only what differs is changed`);
      t.equal(wouldBe.changed, done.changed, 'as a check has said');
      t.equal(wouldBe.left, done.left);
      t.same(await fix(homes, ...flags), { ...done, changed: 0 }, 'a second pass changes nothing');
    }
  },
);

t.test('a home that is a link, a file, or not there is refused', { skip: !isRoot }, async (t) => {
  const homes = t.testdir({ elsewhere: { file: '' }, link: t.fixture('symlink', 'elsewhere'), file: '' });
  for (const [name, reason] of [
    ['link', 'it is not a directory'],
    ['file', 'it is not a directory'],
    ['none', 'it does not exist'],
  ] as const) {
    const { fixTree } = await import('./fix-tree.js');
    await t.rejects(fixTree({ root: homes, name, uid: TARGET, gid: TARGET, isCheck: false, isAlone: true }), {
      code: 'MH_ERR_SPAWN_HOME',
      message: new RegExp(reason),
    });
  }
  t.not(lstatSync(join(homes, 'elsewhere', 'file')).uid, TARGET);
});

/** What the user's processes may do meanwhile: exchange directories and links, and move a bait about. */
const CHURN = `
import os, sys
home, outside = sys.argv[1], sys.argv[2]
os.chdir(home)
for i in range(20): os.makedirs(f'churn/a{i}/x', exist_ok=True); os.symlink(outside, f'churn/l{i}')
print('ready', flush=True)
while True:
    for i in range(20):
        for one, other in ((f'churn/a{i}', f'churn/t{i}'), (f'churn/l{i}', f'churn/a{i}'), (f'churn/a{i}', f'churn/l{i}'), (f'churn/t{i}', f'churn/a{i}')):
            try: os.rename(one, other)
            except OSError: pass
        try: os.rename('stolen', f'churn/a{i}/stolen'); os.rename(f'churn/a{i}/stolen', 'stolen')
        except OSError: pass
`;

t.test('S08: whatever a running server does meanwhile, nothing outside is touched', { skip: !isRoot }, async (t) => {
  const { base, homes, home } = plant(t, 99, 2000);
  execFileSync('ln', [join(base, 'outside', 'bait0'), join(home, 'stolen')]);
  const churn = spawn('python3', ['-c', CHURN, home, join(base, 'outside')], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => churn.once('close', resolve));
  await new Promise((resolve) => churn.stdout.once('data', resolve));
  // A rename of a link changes the time, and nothing else.
  const ownersOutside = () =>
    [...look(join(base, 'outside'))].map(([path, { uid, gid, mode, links }]) => ({ path, uid, gid, mode, links }));
  const outside = ownersOutside();
  for (let pass = 0; pass < 6; pass++) {
    await fix(homes);
    chownSync(join(home, 'churn'), 0, 0);
  }
  churn.kill('SIGKILL');
  await ended;
  t.same(ownersOutside(), outside);
});

t.test('many files are shared out among threads, and all are counted', { skip: !isRoot }, async (t) => {
  const homes = t.testdir({ anna: {} });
  for (let directory = 0; directory < 25; directory++) {
    mkdirSync(join(homes, 'anna', String(directory)));
    for (let file = 0; file < 999; file++) writeFileSync(join(homes, 'anna', String(directory), String(file)), '');
  }
  t.match(await fix(homes, 'check'), { seen: 25_001, changed: 25_001, left: 0 });
  t.match(await fix(homes, 'alone'), { seen: 25_001, changed: 25_001, left: 0 });
  t.match(await fix(homes, 'check'), { seen: 25_001, changed: 0, left: 0 });
});
