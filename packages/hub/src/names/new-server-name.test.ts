import t from 'tap';
import { parseNewServerName } from './new-server-name.js';

t.test('a server is named in small letters, digits and hyphens', async (t) => {
  for (const name of ['gpu', 'a', '2024-course', 'x'.repeat(31)]) t.equal(parseNewServerName(name), name);
  for (const name of ['', 'GPU', '-a', 'a b', 'a_b', 'a/b', '..', 'é', 'x'.repeat(32)]) {
    t.throws(() => parseNewServerName(name), { code: 'MH_ERR_HUB_SERVER_NAME' }, name);
  }
});

t.test("a name that would hide a page of the user's own server is refused", async (t) => {
  for (const name of ['lab', 'tree', 'api', 'files', 'static']) {
    t.throws(
      () => parseNewServerName(name),
      { code: 'MH_ERR_HUB_SERVER_NAME', message: /a page of your own server/ },
      name,
    );
  }
});
