import { connect, isIP, type NetConnectOpts } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { AddressRanges, AddressRefused } from './address-ranges.js';
import { SharedReader } from './shared-reader.js';
import type { Target, TcpTarget } from './target.js';
import { UpstreamConnection } from './upstream-connection.js';

const MAX_WAIT_MS = 10 * SECOND_MS;
const RETRY_MS = 25;

export interface UpstreamOptions {
  readonly ranges: AddressRanges;
  /** Certificates (PEM) that sign those of encrypted upstreams, instead of the public ones. */
  readonly ca: string | undefined;
}

/** Sockets of this machine only. */
export const NO_TCP: UpstreamOptions = { ranges: new AddressRanges([]), ca: undefined };

/**
 * Connects to what a route leads to. Encrypted upstreams must show a certificate for the name in the target.
 *
 * A full backlog makes connect(2) fail with EAGAIN on UNIX sockets instead of waiting, so waiting is done here; nothing
 * of a request has been written then.
 *
 * @param isGone whether the client no longer waits
 */
export async function connectUpstream(
  target: Target,
  isGone: () => boolean,
  options: UpstreamOptions = NO_TCP,
): Promise<UpstreamConnection> {
  const { socket, reader } = await connectSocket(
    target,
    isGone,
    options,
    isEncrypted(target) ? undefined : SharedReader,
  );
  return new UpstreamConnection(socket, reader);
}

/** The same as a plain stream. */
export async function connectStream(
  target: Target,
  isGone: () => boolean,
  options: UpstreamOptions,
  maxWaitMs = MAX_WAIT_MS,
): Promise<Duplex> {
  const { socket } = await connectSocket(target, isGone, options, undefined, maxWaitMs);
  socket.on('error', () => socket.destroy());
  return socket;
}

interface Connected {
  readonly socket: Duplex;
  readonly reader: SharedReader | undefined;
}

function connectSocket(
  target: Target,
  isGone: () => boolean,
  options: UpstreamOptions,
  Reader: typeof SharedReader | undefined,
  maxWaitMs = MAX_WAIT_MS,
): Promise<Connected> {
  const startedMs = performance.now();
  return new Promise((resolve, reject) => {
    function attempt(): void {
      if (isGone()) return reject(new Error('aborted'));
      if (!isAllowed(target, options)) return reject(new AddressRefused());
      const reader = Reader && new Reader();
      const socket = open(target, options, reader);
      const fail = (error: Error): void => {
        clearTimeout(timer);
        socket.destroy();
        const canWait = systemErrorCode(error) === 'EAGAIN' && performance.now() - startedMs < maxWaitMs;
        if (canWait) setTimeout(attempt, RETRY_MS);
        else reject(error);
      };
      const timer = setTimeout(() => fail(new Error('no connection in time')), maxWaitMs);
      socket.once('error', fail);
      socket.once(isEncrypted(target) ? 'secureConnect' : 'connect', () => {
        clearTimeout(timer);
        socket.off('error', fail);
        if (isGone()) {
          socket.on('error', () => undefined);
          socket.destroy();
          reject(new Error('aborted'));
        } else resolve({ socket, reader });
      });
    }
    attempt();
  });
}

function isEncrypted(target: Target): target is TcpTarget {
  return target.kind === 'tcp' && target.tls;
}

/** A name is looked at when its addresses are known. */
function isAllowed(target: Target, { ranges }: UpstreamOptions): boolean {
  return target.kind === 'unix' || isIP(target.host) === 0 || ranges.allows(target.host);
}

function open(target: Target, { ca, ranges }: UpstreamOptions, reader: SharedReader | undefined): Duplex {
  const onread = reader && { onread: reader.options };
  if (target.kind === 'unix') return connect({ path: target.path, allowHalfOpen: true, ...onread });
  const { host, port } = target;
  const where: NetConnectOpts = { host, port, allowHalfOpen: true, noDelay: true, lookup: ranges.lookup };
  if (!target.tls) return connect({ ...where, ...onread });
  return connectTls({
    ...where,
    ...(isIP(host) === 0 && { servername: host }),
    ...(ca !== undefined && { ca }),
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
  });
}
