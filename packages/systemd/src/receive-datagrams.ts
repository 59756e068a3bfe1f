// For tests: Node cannot receive UNIX datagrams, Python can.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const RECEIVER = `
import signal, socket, sys
path = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind('\\0' + path[1:] if path.startswith('@') else path)
print('ready', flush=True)
if sys.argv[2:] == ['deaf']:
    signal.pause()
while True:
    print(s.recv(1 << 20).hex(), flush=True)
`;

export interface DatagramReceiver {
  /** Waits for the next datagram. */
  next(): Promise<Buffer>;
  /** Returns when nobody listens any more. */
  close(): Promise<void>;
}

/** @param mode `deaf` never reads, so that the queue fills */
export async function receiveDatagrams(path: string, mode: 'reading' | 'deaf' = 'reading'): Promise<DatagramReceiver> {
  const child = spawn('python3', ['-c', RECEIVER, path, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  await lines.next();
  return {
    async next() {
      const { value } = await lines.next();
      return Buffer.from(String(value), 'hex');
    },
    async close() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}
