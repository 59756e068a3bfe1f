import { readFileSync } from 'node:fs';

/** Listening sockets, logs, the generation's own socket and its supervisor, Node's own, and checks with the hub. */
const RESERVED = 64;

/** Connections that may be open at once so that each can have a second descriptor, for its server. */
export function fittingConnections(wanted: number, descriptors: number = maxDescriptors()): number {
  return Math.max(1, Math.min(wanted, Math.floor((descriptors - RESERVED) / 2)));
}

/** The limit of this process (LimitNOFILE=). */
function maxDescriptors(): number {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return soft === undefined ? Number.MAX_SAFE_INTEGER : Number(soft);
}
