import type { Socket } from 'node:net';
import { BINARY, encodeFrame, FrameReader } from './frames.js';
import { openConnection, parseAnswerHead, requestHead, type Target } from './target.js';
import { Times, type TimesSummary } from './times.js';

export interface SocketsReport {
  readonly open: number;
  readonly closed: number;
  readonly sent: number;
  readonly echoed: number;
  /** Lost, repeated, reordered or changed messages, and what closed a connection. */
  readonly failures: readonly string[];
  readonly times: TimesSummary;
}

const TICK_MS = 20;
const UPGRADE = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: eA=='];

/** One WebSocket that sends numbered messages, whether or not the former came back, and checks what comes. */
class EchoSocket {
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  readonly #sentMs: number[] = [];
  readonly #onFailure: (reason: string) => void;
  readonly #times: Times;
  sent = 0;
  echoed = 0;
  isClosed = false;
  isEnding = false;

  constructor(socket: Socket, times: Times, onFailure: (reason: string) => void) {
    this.#socket = socket;
    this.#times = times;
    this.#onFailure = onFailure;
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.resume();
    socket.on('end', () => this.#onGone());
    socket.on('close', () => this.#onGone());
  }

  send(): void {
    if (this.isClosed) return;
    this.#sentMs.push(performance.now());
    this.#socket.write(encodeFrame(message(this.sent++), true));
  }

  destroy(): void {
    this.isEnding = true;
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    for (const { opcode, payload } of this.#reader.push(chunk)) {
      if (opcode !== BINARY) return this.#fail(`a frame of type ${opcode}: ${payload.toString('hex').slice(0, 40)}`);
      if (!payload.equals(message(this.echoed))) {
        return this.#fail(`message ${payload.readUInt32BE(0)} where ${this.echoed} was next`);
      }
      this.echoed += 1;
      this.#times.add(performance.now() - (this.#sentMs.shift() ?? 0));
    }
  }

  #fail(reason: string): void {
    this.#onFailure(`${new Date().toISOString()} ${reason}`);
    this.isEnding = true;
    this.isClosed = true;
    this.#socket.destroy();
  }

  #onGone(): void {
    if (!this.isEnding) this.#fail('closed by the proxy');
    this.isClosed = true;
  }
}

/** Short ones, and now and then one of 20 kB; the bytes say which one it is. */
function message(sequence: number): Buffer {
  const payload = Buffer.alloc(sequence % 50 === 49 ? 20_000 : 4 + ((sequence * 37) % 200), sequence % 251);
  payload.writeUInt32BE(sequence, 0);
  return payload;
}

export class EchoSockets {
  readonly #sockets: EchoSocket[] = [];
  readonly #failures: string[] = [];
  readonly #times = new Times();
  #timer: NodeJS.Timeout | undefined;

  /** Opens more of them. @throws when one cannot be opened */
  async open(target: Target, count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      const socket = await upgrade(target);
      this.#sockets.push(new EchoSocket(socket, this.#times, (reason) => this.#failures.push(reason)));
    }
  }

  /** @param perSecond messages that each sends */
  start(perSecond: number): void {
    let next = 0;
    let owed = 0;
    let lastMs = performance.now();
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      owed += ((nowMs - lastMs) / 1000) * this.#sockets.length * perSecond;
      lastMs = nowMs;
      for (; owed >= 1; owed--) this.#sockets[next++ % this.#sockets.length]?.send();
    }, TICK_MS);
  }

  /** Waits for what is under way and ends. */
  async end(): Promise<SocketsReport> {
    clearInterval(this.#timer);
    const deadline = performance.now() + 15_000;
    const isDone = (): boolean => this.#sockets.every(({ sent, echoed, isClosed }) => isClosed || sent === echoed);
    while (!isDone() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
    const total = (count: (socket: EchoSocket) => number): number =>
      this.#sockets.reduce((sum, socket) => sum + count(socket), 0);
    const report = {
      open: total(({ isClosed }) => (isClosed ? 0 : 1)),
      closed: total(({ isClosed }) => (isClosed ? 1 : 0)),
      sent: total(({ sent }) => sent),
      echoed: total(({ echoed }) => echoed),
      failures: this.#failures,
      times: this.#times.summary(),
    };
    for (const socket of this.#sockets) socket.destroy();
    return report;
  }
}

async function upgrade(target: Target): Promise<Socket> {
  const socket = await openConnection(target);
  socket.write(requestHead(target, 'GET', 'socket', UPGRADE));
  const head = await new Promise<string>((resolve, reject) => {
    let received = '';
    const onData = (chunk: Buffer): void => {
      received += chunk.toString('latin1');
      if (!received.includes('\r\n\r\n')) return;
      socket.off('data', onData).off('close', onClose).pause();
      resolve(received);
    };
    const onClose = (): void => reject(new Error('closed before the WebSocket was open'));
    socket.on('data', onData).on('close', onClose);
  });
  if (parseAnswerHead(head).status !== 101) throw new Error(`no WebSocket: ${head.slice(0, 300)}`);
  return socket;
}
