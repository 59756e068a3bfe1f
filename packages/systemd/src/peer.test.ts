import { once } from 'node:events';
import { mkdtempSync, openSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { findSocketFd, peerCredentials, socketPeerCredentials } from './peer.js';

t.test('socketPeerCredentials', async (t) => {
  const path = join(mkdtempSync(join(tmpdir(), 'metalhub-peer-')), 's');
  const server = createServer().listen(path);
  await once(server, 'listening');
  const client = connect(path);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  t.same(socketPeerCredentials(accepted), { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  accepted.destroy();
  t.equal(findSocketFd(accepted), undefined);
  t.throws(() => socketPeerCredentials(accepted), { code: 'MH_ERR_SYSTEMD_LIBRARY', details: { reason: 'EBADF' } });
  client.destroy();
  server.close();
});

t.test('peerCredentials refuses what has no peer', async (t) => {
  t.throws(() => peerCredentials(openSync('/dev/null', 'r')), {
    code: 'MH_ERR_SYSTEMD_LIBRARY',
    details: { reason: 'ENOTSOCK' },
  });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const client = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1');
  await once(client, 'connect');
  t.throws(() => socketPeerCredentials(client), { code: 'MH_ERR_SYSTEMD_LIBRARY' }, 'a TCP peer has no uid');
  client.destroy();
  server.close();
});
