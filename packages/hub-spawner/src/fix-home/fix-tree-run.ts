import { fixTree, isFurtherThread } from './fix-tree.js';

/** For tests and measurements: one pass over any tree, in a process that can be killed. Arguments: directory, name, uid, `check`, `alone`. */
async function main(): Promise<void> {
  const [, , root = '', name = '', uid, ...flags] = process.argv;
  const goal = { uid: Number(uid), gid: Number(uid), isCheck: flags.includes('check') };
  process.stdout.write('begun\n');
  const result = await fixTree({ ...goal, root, name, isAlone: flags.includes('alone') });
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

if (!isFurtherThread()) await main();
