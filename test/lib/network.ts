import { closeSync, openSync } from 'node:fs';
import { globalAgent } from 'node:http';
import { globalAgent as globalTlsAgent } from 'node:https';
import koffi from 'koffi';

const CLONE_NEWNET = 0x40000000;
const UNDICI_DISPATCHER = Symbol.for('undici.globalDispatcher.1');

/** The network namespace in which this process began; stays open until it ends. */
let ownNetwork: number | undefined;

/**
 * Moves the main thread of this process into a network namespace: what it opens from now on (fetch, http, ws, and
 * the children it spawns, such as a browser) sees that network. What is open already stays where it is.
 *
 * @param file `/proc/<pid>/ns/net`
 * @see setns(2)
 */
export function enterNetworkNamespace(file: string): void {
  ownNetwork ??= openSync('/proc/self/ns/net', 'r');
  const fd = openSync(file, 'r');
  try {
    switchTo(fd);
  } finally {
    closeSync(fd);
  }
}

/** Back to the network in which the process began. */
export function leaveNetworkNamespace(): void {
  if (ownNetwork !== undefined) switchTo(ownNetwork);
}

function switchTo(fd: number): void {
  const setns = koffi.load('libc.so.6').func('int setns(int fd, int nstype)');
  if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`setns failed: errno ${koffi.errno()}`);
  forgetConnections();
}

/** Every machine is 127.0.0.1: a connection kept alive to another one must not be used again. */
function forgetConnections(): void {
  globalAgent.destroy();
  globalTlsAgent.destroy();
  const holder = globalThis as { [UNDICI_DISPATCHER]?: Dispatcher };
  const dispatcher = holder[UNDICI_DISPATCHER];
  if (dispatcher === undefined) return; // fetch has not been used yet
  holder[UNDICI_DISPATCHER] = new (dispatcher.constructor as new () => Dispatcher)();
  void dispatcher.destroy(); // what it still does ends with an error there, where it was asked for
}

interface Dispatcher {
  destroy(): Promise<void>;
}
