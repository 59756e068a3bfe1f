import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '@metalhub/base/errors.js';
import { type BusCall, createPendingCalls } from './bus-calls.js';
import {
  decodeHeader,
  type EncodedMessage,
  encodeMessage,
  type IncomingHeader,
  MESSAGE_TYPE,
  NO_AUTO_START,
} from './bus-codec.js';
import { unavailable } from './bus-errors.js';
import { createFrameReader } from './bus-frames.js';
import { sendDescriptors } from './descriptors.js';
import type { BusValue } from './variant.js';

const BUS_NAME = 'org.freedesktop.DBus';
const BUS_PATH = '/org/freedesktop/DBus';
const MAX_SERIAL = 0xffffffff;
const CONNECT_TIMEOUT_MS = 5000;
/** Between two attempts to send descriptors to a bus that is busy. */
const RETRY_MS = 5;

export interface BusSignal {
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly BusValue[];
}

export interface BusOptions {
  readonly socketPath: string;
  /** The service whose signals are wanted; those of anybody else are dropped unread. */
  readonly peer: string;
  readonly onSignal: (signal: BusSignal) => void;
  /** The peer left the bus (`undefined`) or came (back) to it. */
  readonly onPeer: (owner: string | undefined) => void;
  /** Once, when an established connection ended by itself. */
  readonly onEnd: (reason: string) => void;
}

/** One connection to a message bus. */
export interface Bus {
  /** The peer's unique name, `undefined` while it is not on the bus. */
  peerOwner(): string | undefined;
  /** @throws {MH_ERR_SYSTEMD_UNAVAILABLE} {MH_ERR_SYSTEMD_TIMEOUT} and what error replies map to */
  call(call: BusCall): Promise<readonly BusValue[]>;
  addMatch(rule: string): Promise<void>;
  close(): void;
}

/**
 * Connects, authenticates and says Hello.
 *
 * @throws {MH_ERR_SYSTEMD_UNAVAILABLE}
 * @see https://dbus.freedesktop.org/doc/dbus-specification.html
 */
export async function connectBus(options: BusOptions): Promise<Bus> {
  const connection = new BusConnection(await openSocket(options.socketPath), options);
  const timer = setTimeout(() => connection.end('the bus did not answer'), CONNECT_TIMEOUT_MS);
  try {
    await connection.start();
    return connection;
  } catch (error) {
    connection.end(errorText(error), error);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

class BusConnection implements Bus {
  readonly #socket: Socket;
  readonly #options: BusOptions;
  readonly #pending = createPendingCalls();
  readonly #reader = createFrameReader();
  readonly #authenticated: Promise<void>;
  #onAuthenticated: (error?: unknown) => void = () => undefined;
  #state: 'authenticating' | 'negotiating' | 'starting' | 'open' | 'ended' = 'authenticating';
  #serial = 0;
  #peerOwner: string | undefined;

  constructor(socket: Socket, options: BusOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#authenticated = new Promise((resolve, reject) => {
      this.#onAuthenticated = (error) => (error === undefined ? resolve() : reject(error));
    });
    socket.on('error', (error) => this.end(error.message, error));
    socket.on('close', () => this.end('the bus closed the connection'));
    socket.on('data', (chunk) => this.#onData(chunk));
  }

  async start(): Promise<void> {
    const uid = String(process.getuid?.() ?? 0);
    this.#socket.write(`\0AUTH EXTERNAL ${Buffer.from(uid).toString('hex')}\r\n`);
    await this.#authenticated;
    await this.#callBus('Hello');
    await this.addMatch(nameOwnerRule(this.#options.peer));
    const owner = await this.#callBus('GetNameOwner', this.#options.peer).catch(() => []);
    this.#setPeer(owner[0]);
    this.#state = 'open';
  }

  peerOwner(): string | undefined {
    return this.#peerOwner;
  }

  async call(call: BusCall): Promise<readonly BusValue[]> {
    if (this.#state === 'ended') throw unavailable('not connected');
    call.signal?.throwIfAborted();
    this.#serial = this.#serial === MAX_SERIAL ? 1 : this.#serial + 1;
    const serial = this.#serial;
    // Encoded first: a value that does not fit its type is the caller's error, and nothing was sent.
    const message = encodeMessage({ ...call, type: MESSAGE_TYPE.methodCall, serial, flags: NO_AUTO_START });
    const reply = this.#pending.wait(serial, call);
    if (message.descriptors.length === 0) this.#write(message.bytes);
    else void this.#writeWithDescriptors(message, serial); // it deals with its own failures
    return reply;
  }

  /** What is said in one turn goes out in one piece: the dozen properties of a unit are asked for one by one. */
  #write(bytes: Buffer): void {
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      process.nextTick(() => this.#socket.uncork());
    }
    this.#socket.write(bytes);
  }

  /**
   * Node's own writes and this one must not mix: it waits until Node has none, and gives Node what did not fit. A caller whose
   * call has failed may close its descriptors: from then on their numbers may mean other files, and nothing is sent.
   */
  async #writeWithDescriptors({ bytes, descriptors }: EncodedMessage, serial: number): Promise<void> {
    try {
      for (; this.#pending.has(serial); await sleep(RETRY_MS)) {
        const sent = this.#socket.writableLength > 0 ? 0 : sendDescriptors(this.#socket, bytes, descriptors);
        if (sent > 0 && sent < bytes.length) this.#socket.write(bytes.subarray(sent));
        if (sent > 0) return;
      }
    } catch (error) {
      this.end(errorText(error), error);
    }
  }

  async addMatch(rule: string): Promise<void> {
    await this.#callBus('AddMatch', rule);
  }

  close(): void {
    // Not a loss to report.
    if (this.#state === 'open') this.#state = 'starting';
    this.end('closed');
  }

  end(reason: string, cause?: unknown): void {
    if (this.#state === 'ended') return;
    const wasOpen = this.#state === 'open';
    this.#state = 'ended';
    this.#socket.destroy();
    const error = unavailable(reason, cause);
    this.#onAuthenticated(error);
    this.#pending.rejectAll(error);
    if (wasOpen) this.#options.onEnd(reason);
  }

  #callBus(member: string, argument?: string): Promise<readonly BusValue[]> {
    const body = argument === undefined ? {} : { signature: 's', body: [argument] };
    const to = { destination: BUS_NAME, path: BUS_PATH, interface: BUS_NAME };
    return this.call({ ...to, member, ...body, timeoutMs: CONNECT_TIMEOUT_MS });
  }

  #onData(chunk: Buffer): void {
    try {
      this.#reader.push(chunk);
      if (this.#state === 'authenticating' || this.#state === 'negotiating') this.#onLine(this.#reader.readLine());
      else this.#readMessages();
    } catch (error) {
      this.end(errorText(error), error);
    }
  }

  #onLine(line: string | undefined): void {
    if (line === undefined) return;
    if (this.#state === 'authenticating') {
      if (!line.startsWith('OK ')) return this.end(`the bus refused to authenticate us: ${line}`);
      this.#state = 'negotiating';
      this.#socket.write('NEGOTIATE_UNIX_FD\r\n');
      return;
    }
    // Every bus that systemd is on passes them; those that others send us are lost as Node reads, and closed.
    if (line !== 'AGREE_UNIX_FD') return this.end(`the bus passes no descriptors: ${line}`);
    this.#state = 'starting';
    this.#socket.write('BEGIN\r\n');
    this.#onAuthenticated();
  }

  #readMessages(): void {
    for (let bytes = this.#reader.readMessage(); bytes !== undefined; bytes = this.#reader.readMessage()) {
      try {
        this.#onMessage(decodeHeader(bytes));
      } catch {
        // Of a type that dbus-next cannot decode. We ask for nothing of that kind, so it is a stranger's.
      }
    }
  }

  #onMessage(header: IncomingHeader): void {
    if (header.type === MESSAGE_TYPE.methodReturn || header.type === MESSAGE_TYPE.error) {
      this.#pending.answer(header);
    } else if (header.type === MESSAGE_TYPE.signal) {
      this.#onSignal(header);
    }
  }

  /**
   * Any local account may send any signal straight to our unique name, match rules notwithstanding. The bus fills in
   * the sender, so that only it decides whom to believe.
   */
  #onSignal(header: IncomingHeader): void {
    const { sender, path, interface: interfaceName, member } = header;
    if (sender === BUS_NAME && member === 'NameOwnerChanged') {
      const [name, , owner] = header.body();
      if (name === this.#options.peer) this.#setPeer(owner);
    } else if (this.#peerOwner !== undefined && sender === this.#peerOwner) {
      this.#options.onSignal({ path, interface: interfaceName, member, body: header.body() });
    }
  }

  #setPeer(owner: BusValue | undefined): void {
    this.#peerOwner = typeof owner === 'string' && owner !== '' ? owner : undefined;
    if (this.#state === 'open') this.#options.onPeer(this.#peerOwner);
  }
}

function openSocket(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    function onError(error: Error): void {
      reject(unavailable(`${path}: ${error.message}`, error));
    }
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      resolve(socket);
    });
  });
}

function nameOwnerRule(name: string): string {
  return `type='signal',sender='${BUS_NAME}',path='${BUS_PATH}',interface='${BUS_NAME}',member='NameOwnerChanged',arg0='${name}'`;
}
