// A message bus with systemd on it, for tests: just enough of both to answer calls and to misbehave on demand.
import { createServer, type Socket } from 'node:net';
import { decodeHeader, encodeMessage, type IncomingHeader, MESSAGE_TYPE, type OutgoingMessage } from './bus-codec.js';
import { createFrameReader } from './bus-frames.js';
import type { BusInput, BusValue } from './variant.js';

const MANAGER = { path: '/org/freedesktop/systemd1', interface: 'org.freedesktop.systemd1.Manager' };

export interface FakeReply {
  readonly signature?: string;
  readonly body?: readonly BusInput[];
  /** D-Bus name of an error. */
  readonly error?: string;
}

/** Answers a call to the object at a path; `undefined` for no answer at all. */
export type FakeHandler = (body: readonly BusValue[], path: string) => FakeReply | undefined;

export interface FakeSystemd {
  /** Members called, in order, without those of the bus itself. */
  readonly calls: string[];
  answer(member: string, handler: FakeHandler): void;
  /** Sends a signal of the manager's, from systemd unless another sender is given. */
  emit(member: string, signature: string, body: readonly BusInput[], sender?: string): void;
  emitFrom(path: string, interfaceName: string, member: string, signature: string, body: readonly BusInput[]): void;
  sendRaw(bytes: Buffer): void;
  /** As on a re-execution: leaves the bus and comes back under another name. */
  changeOwner(): void;
  leaveBus(): void;
  dropConnections(): void;
  /** Reads nothing until it is called again. */
  setStuck(isStuck: boolean): void;
  close(): Promise<void>;
}

export async function startFakeSystemd(socketPath: string): Promise<FakeSystemd> {
  const handlers = new Map<string, FakeHandler>();
  const sockets = new Set<Socket>();
  const calls: string[] = [];
  let owner = ':1.1';
  let serial = 0;

  function send(message: Omit<OutgoingMessage, 'serial'>, to: Iterable<Socket> = sockets): void {
    const { bytes } = encodeMessage({ ...message, serial: ++serial });
    for (const socket of to) socket.write(bytes);
  }

  function setOwner(name: string): void {
    const body = ['org.freedesktop.systemd1', owner, name];
    owner = name;
    const from = { sender: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus' };
    send({ type: MESSAGE_TYPE.signal, ...from, member: 'NameOwnerChanged', signature: 'sss', body });
  }

  handlers.set('Hello', () => ({ signature: 's', body: [':1.99'] }));
  handlers.set('AddMatch', () => ({}));
  handlers.set('Subscribe', () => ({}));
  handlers.set('GetNameOwner', () =>
    owner === '' ? { error: 'org.freedesktop.DBus.Error.NameHasNoOwner' } : { signature: 's', body: [owner] },
  );

  function onCall(socket: Socket, call: IncomingHeader): void {
    if (call.interface !== 'org.freedesktop.DBus') calls.push(call.member);
    const handler = handlers.get(call.member) ?? (() => ({ error: 'org.freedesktop.DBus.Error.UnknownMethod' }));
    const reply = handler(call.body(), call.path);
    if (reply === undefined) return;
    const type = reply.error === undefined ? MESSAGE_TYPE.methodReturn : MESSAGE_TYPE.error;
    const content = reply.error === undefined ? reply : { errorName: reply.error, signature: 's', body: ['no'] };
    const { error: _, ...rest } = { error: '', ...content };
    send({ type, sender: owner, replySerial: call.serial, ...rest }, [socket]);
  }

  const server = createServer((socket) => {
    const reader = createFrameReader();
    let isOpen = false;
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (chunk) => {
      reader.push(chunk);
      for (let line = isOpen ? undefined : reader.readLine(); line !== undefined; line = reader.readLine()) {
        isOpen = line === 'BEGIN';
        if (isOpen) break;
        socket.write(line === 'NEGOTIATE_UNIX_FD' ? 'AGREE_UNIX_FD\r\n' : 'OK 0123\r\n');
      }
      if (!isOpen) return;
      for (let bytes = reader.readMessage(); bytes !== undefined; bytes = reader.readMessage()) {
        onCall(socket, decodeHeader(bytes));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));

  return {
    calls,
    answer: (member, handler) => void handlers.set(member, handler),
    emit: (member, signature, body, sender = owner) =>
      send({ type: MESSAGE_TYPE.signal, sender, ...MANAGER, member, signature, body }),
    emitFrom: (path, interfaceName, member, signature, body) =>
      send({ type: MESSAGE_TYPE.signal, sender: owner, path, interface: interfaceName, member, signature, body }),
    sendRaw(bytes) {
      for (const socket of sockets) socket.write(bytes);
    },
    changeOwner() {
      setOwner('');
      setOwner(`:1.${++serial}`);
    },
    leaveBus: () => setOwner(''),
    dropConnections() {
      for (const socket of sockets) socket.destroy();
    },
    setStuck(isStuck) {
      for (const socket of sockets) {
        if (isStuck) socket.pause();
        else socket.resume();
      }
    },
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
