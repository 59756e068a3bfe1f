import { existsSync } from 'node:fs';
import { Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A worker that starts late, or dies, while a file of the test's directory says so. */
const socketPath = process.argv[3] ?? '';
const directory = dirname(dirname(socketPath));

while (existsSync(join(directory, `hold-${basename(socketPath)}`))) await sleep(20);

if (existsSync(join(directory, 'die'))) {
  const write = Socket.prototype.write;
  let answers = 0;
  Socket.prototype.write = function (this: Socket, ...sent: Parameters<Socket['write']>) {
    // The first answer says that it accepts.
    if (Buffer.isBuffer(sent[0]) && ++answers > 1) process.kill(process.pid, 'SIGKILL');
    return write.apply(this, sent);
  } as Socket['write'];
}

await import('../worker-main.js');
