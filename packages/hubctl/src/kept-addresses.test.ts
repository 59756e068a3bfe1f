import t from 'tap';
import { keptAddresses } from './kept-addresses.js';

const at = (url: string, name = '') => ({ user: 'anna', name, url: `https://www.example.org${url}` });

t.test('servers that were started below another path are named', async (t) => {
  const servers = [at('/user/anna/'), at('/jupyter/user/anna/gpu/', 'gpu'), at('/jupyter/lab/user/anna/')];
  const of = (path: string) => keptAddresses(servers, `https://www.example.org${path}`);
  const plain = 'the server of anna stays at /user/anna/ until it is stopped';
  const named = 'the server gpu of anna stays at /jupyter/user/anna/gpu/ until it is stopped';
  const deep = 'the server of anna stays at /jupyter/lab/user/anna/ until it is stopped';
  t.same(of(''), [named, deep]);
  t.same(of('/'), [named, deep]);
  t.same(of('/jupyter'), [plain, deep]);
  t.same(of('/jupyter/lab/'), [plain, named]);
  t.same(of('/j'), [plain, named, deep]);
});
