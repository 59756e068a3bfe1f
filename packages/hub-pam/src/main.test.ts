import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { encodeFrame, FrameDecoder } from '@metalhub/wire/frame.js';
import { pamProtocol } from '@metalhub/wire/pam.js';
import t from 'tap';

const MAIN = new URL('./main.js', import.meta.url).pathname;

interface Instance {
  readonly connection: Socket;
  readonly child: ChildProcess;
  /** Everything it answered until it closed the connection, and how it ended. */
  readonly end: Promise<{ messages: unknown[]; code: number | null; log: string }>;
}

/** Starts the program as systemd does for a connection: descriptor 3 is one end of a pair of sockets. */
function startInstance(): Instance {
  const command = 'LISTEN_FDS=1 LISTEN_FDNAMES=connection LISTEN_PID=$$ exec "$0" "$1"';
  const child = spawn('/bin/sh', ['-c', command, process.execPath, MAIN], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  const connection = child.stdio[3] as Socket;
  const decoder = new FrameDecoder(pamProtocol.maxFrameBytes);
  const messages: unknown[] = [];
  let log = '';
  connection.on('data', (chunk: Buffer) => messages.push(...decoder.push(chunk)));
  connection.on('error', () => undefined);
  child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const end = new Promise<{ messages: unknown[]; code: number | null; log: string }>((resolve) => {
    child.once('close', (code) => resolve({ messages, code, log }));
  });
  return { connection, child, end };
}

function request(params: object, id = 1): Buffer {
  return encodeFrame({ id, method: 'Authenticate', params });
}

const attempt = { name: 'a\nb', password: 'tell-tale', remote_host: '192.0.2.1' };

const refusedFrames: Record<string, Buffer> = {
  'a length of 10 MB': Buffer.from([0, 0x98, 0x96, 0x80]),
  'a length of 4 GB': Buffer.from([0xff, 0xff, 0xff, 0xff]),
  'a password of 64 KB': request({ ...attempt, password: 'tell-tale'.repeat(7300) }),
  'a password of 20 KB': request({ ...attempt, password: 'tell-tale'.repeat(2300) }),
  'an empty frame': Buffer.from([0, 0, 0, 0]),
  'text that is not JSON': Buffer.concat([Buffer.from([0, 0, 0, 9]), Buffer.from('tell-tale')]),
  'invalid UTF-8': Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from([0x22, 0xff, 0x22])]),
  'one key too many': request({ ...attempt, service: 'su' }),
  'a key too few': request({ name: 'anna', password: 'tell-tale' }),
  'another type': request({ ...attempt, name: ['anna'] }),
  'an address that is none': request({ ...attempt, remote_host: 'evil host' }),
  'an unknown method': encodeFrame({ id: 1, method: 'Shell', params: attempt }),
  'a method of Object.prototype': encodeFrame({ id: 1, method: 'HasOwnProperty', params: attempt }),
  'two requests at once': Buffer.concat([request(attempt, 1), request(attempt, 2)]),
  'a request and a byte more': Buffer.concat([request(attempt), Buffer.from([0])]),
};

for (const [what, frame] of Object.entries(refusedFrames)) {
  t.test(`M01: ${what} is refused without an answer, and the process ends`, async (t) => {
    const instance = startInstance();
    instance.connection.write(frame);
    const { messages, code, log } = await instance.end;
    t.same(messages, []);
    t.equal(code, 0);
    t.match(log, /connection refused/);
    t.notMatch(log, 'tell-tale', 'no secret in the log');
  });
}

t.test('M01: a truncated frame ends the process when its sender goes', async (t) => {
  const instance = startInstance();
  instance.connection.end(request(attempt).subarray(0, 20));
  t.match(await instance.end, { messages: [], code: 0 });
});

t.test('M01: a frame in single bytes is answered, and the connection closed', async (t) => {
  const instance = startInstance();
  for (const byte of request(attempt)) instance.connection.write(Buffer.from([byte]));
  const { messages, code, log } = await instance.end;
  t.match(messages, [{ id: 1, result: { outcome: 'malformed', groups: [] } }]);
  t.equal(code, 0);
  t.match(log, '"outcome":"malformed"');
  t.notMatch(log, 'tell-tale');
});

t.test('M01: NUL, line breaks, bad surrogates and 10 kB come back as malformed, without PAM', async (t) => {
  const cases = [
    { name: 'anna', password: 'a\0b' },
    { name: 'an\0na', password: 'tell-tale' },
    { name: 'anna', password: 'tell\ntale' },
    { name: 'anna', password: '\ud800' },
    { name: 'anna', password: 'x'.repeat(10_000) },
    { name: 'n'.repeat(300), password: 'tell-tale' },
  ];
  for (const { name, password } of cases) {
    const instance = startInstance();
    instance.connection.write(request({ name, password, remote_host: '' }));
    t.match((await instance.end).messages, [{ result: { outcome: 'malformed' } }]);
  }
});

t.test('started by hand it says that it cannot be', async (t) => {
  const child = spawn(process.execPath, [MAIN], { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const code = await new Promise((resolve) => child.once('close', resolve));
  t.equal(code, 1);
  t.match(text, /connection/);
});
