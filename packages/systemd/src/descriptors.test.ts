import { once } from 'node:events';
import { closeSync, mkdtempSync, readSync, writeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { closeDescriptor, openPipe, receiveDescriptors, sendDescriptors, stopReading } from './descriptors.js';

async function connectedPair(t: Test): Promise<{ near: Socket; far: Socket }> {
  const path = join(mkdtempSync(join(tmpdir(), 'metalhub-descriptors-')), 'socket');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const near = connect(path);
  const [far] = (await once(server, 'connection')) as [Socket];
  t.teardown(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return { near, far };
}

t.test('descriptors arrive as copies, and what is sent before and after them as usual', async (t) => {
  const { near, far } = await connectedPair(t);
  const texts: string[] = [];
  far.on('data', (chunk) => texts.push(chunk.toString()));
  near.write('before');
  await once(far, 'data');
  const readOn = stopReading(far);
  const { readFd, writeFd } = openPipe();
  const received = receiveDescriptors(far, 2, 5000);
  t.equal(sendDescriptors(near, Buffer.alloc(1), [readFd, writeFd]), 1);
  const [itsRead = -1, itsWrite = -1] = await received;
  closeDescriptor(readFd);
  closeDescriptor(writeFd);
  writeSync(itsWrite, 'through the copies');
  const text = Buffer.alloc(64);
  t.equal(text.toString('utf8', 0, readSync(itsRead, text)), 'through the copies');
  closeSync(itsRead);
  closeSync(itsWrite);
  near.write('after');
  readOn();
  await once(far, 'data');
  t.strictSame(texts, ['before', 'after']);
});

t.test('too few and too many are refused, and none of them stays open', async (t) => {
  for (const [sent, wanted] of [
    [1, 3],
    [4, 3],
    [3, 1],
  ] as const) {
    const { near, far } = await connectedPair(t);
    stopReading(far);
    const { readFd, writeFd } = openPipe();
    sendDescriptors(
      near,
      Buffer.alloc(1),
      Array.from({ length: sent }, () => writeFd),
    );
    await t.rejects(receiveDescriptors(far, wanted, 5000), { code: 'MH_ERR_SYSTEMD_LIBRARY' }, `${sent} for ${wanted}`);
    closeDescriptor(writeFd);
    t.equal(readSync(readFd, Buffer.alloc(1)), 0, 'nobody can write to the pipe any more');
    closeDescriptor(readFd);
  }
});

t.test('a peer that sends bytes alone, ends, or says nothing is refused in time', async (t) => {
  const { near, far } = await connectedPair(t);
  stopReading(far);
  await t.rejects(receiveDescriptors(far, 1, 20), { message: /poll/ });
  near.write('x');
  await t.rejects(receiveDescriptors(far, 1, 5000), { message: /recvmsg/ });
  near.destroy();
  await t.rejects(receiveDescriptors(far, 1, 5000), { message: /recvmsg/ });
});
