import t from 'tap';
import { parseSocketName, socketName } from './worker-name.js';

t.test('the name of a socket says which worker it is, and any other file is none', async (t) => {
  for (const name of [
    { generation: 1, index: 0 },
    { generation: 42, index: 13 },
  ]) {
    t.same(parseSocketName(socketName(name)), name);
  }
  t.equal(socketName({ generation: 7, index: 0 }), '7.sock', 'as in the first versions');
  for (const file of ['0.sock', '7.0.sock', '7.sock.tmp', '07.sock', '7.1.2.sock', 'x.sock', '7']) {
    t.equal(parseSocketName(file), undefined, file);
  }
});
