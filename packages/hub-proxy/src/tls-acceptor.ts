import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type SecureVersion, type Server, type TLSSocket } from 'node:tls';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { plainAddress } from './address-ranges.js';
import type { TlsSettings } from './edge-settings.js';
import type { OpenConnection } from './open-connection.js';
import { formatAnswer } from './own-answer.js';
import { page } from './pages.js';
import type { RefusalLog } from './refusal-log.js';
import { makeTicketKey, TICKET_KEY_LIFETIME_MS, ticketKeyLeftMs } from './tls-material.js';

/** First byte of a TLS record that begins a handshake. @see RFC 8446 section 5.1 */
const HANDSHAKE = 0x16;
const FIRST_LETTER = 0x41;
const LAST_LETTER = 0x5a;
const LINGER_MS = 2000;

/**
 * Of TLS 1.2 only what has forward secrecy and authenticated encryption (the "intermediate" list of Mozilla); TLS 1.3 has
 * nothing else.
 */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

export interface TlsAcceptorOptions {
  readonly settings: TlsSettings;
  /** For the handshake, its first byte included. */
  readonly timeoutMs: number;
  readonly publicOrigin: string;
  readonly refusals: RefusalLog;
  /** @returns who looks after the connection from now on */
  readonly onSecure: (socket: TLSSocket) => OpenConnection;
}

/** Turns accepted connections into encrypted ones. */
export class TlsAcceptor {
  readonly #options: TlsAcceptorOptions;
  /** Never listens: it is handed connections that somebody else accepted. */
  readonly #server: Server;
  readonly #pending = new Map<string, PendingConnection>();
  #keyTimer: NodeJS.Timeout;

  constructor(options: TlsAcceptorOptions) {
    this.#options = options;
    const { pem, ticket_key, min_version, http2 } = options.settings;
    this.#server = createServer({
      key: pem,
      cert: pem,
      minVersion: `TLSv${min_version}` as SecureVersion,
      ciphers: CIPHERS,
      honorCipherOrder: false,
      ALPNProtocols: http2 ? ['h2', 'http/1.1'] : ['http/1.1'],
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION,
      ticketKeys: Buffer.from(ticket_key, 'base64'),
      // Otherwise made from the command line, in which each generation has a number of its own.
      sessionIdContext: 'hub-proxy',
      handshakeTimeout: options.timeoutMs,
    });
    this.#server.on('secureConnection', (socket: TLSSocket) => this.#take(socket));
    this.#server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      // Whoever just goes away, as browsers do from a connection that they do not need, is not worth a line.
      const code = systemErrorCode(error) ?? 'unknown';
      const peer = plainAddress(socket.remoteAddress ?? 'unknown');
      // OpenSSL's name of what is wrong; there are a few dozen.
      if (code !== 'ECONNRESET') this.#options.refusals.note(400, `TLS handshake failed: ${code}`, peer);
      socket.destroy();
    });
    const { ticket_key_ms = Date.now() } = options.settings;
    this.#keyTimer = this.#renewKeyIn(ticketKeyLeftMs(ticket_key_ms, Date.now()));
  }

  accept(socket: Socket): OpenConnection {
    const { timeoutMs, publicOrigin, refusals } = this.#options;
    const key = connectionKey(socket);
    const pending = new PendingConnection(socket, {
      timeoutMs,
      publicOrigin,
      refusals,
      onHandshake: () => {
        this.#pending.set(key, pending);
        // Who closes now will not finish the handshake; half-open it would be waited for.
        socket.allowHalfOpen = false;
        this.#server.emit('connection', socket);
      },
    });
    socket.once('close', () => this.#pending.delete(key));
    return pending;
  }

  close(): void {
    clearTimeout(this.#keyTimer);
  }

  /** By one of this worker's own: another worker does not take up sessions from then on. */
  #renewKeyIn(milliseconds: number): NodeJS.Timeout {
    const renew = (): void => {
      this.#server.setTicketKeys(makeTicketKey());
      this.#keyTimer = this.#renewKeyIn(TICKET_KEY_LIFETIME_MS);
    };
    return setTimeout(renew, milliseconds).unref();
  }

  #take(socket: TLSSocket): void {
    const key = connectionKey(socket);
    const pending = this.#pending.get(key);
    this.#pending.delete(key);
    if (pending === undefined) return void socket.destroy();
    socket.allowHalfOpen = true;
    pending.succeed(this.#options.onSecure(socket));
  }
}

/** Tells connections apart: a TLS socket does not say which one is below it. */
function connectionKey({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return `${localAddress}|${localPort}|${remoteAddress}|${remotePort}`;
}

interface PendingOptions {
  readonly timeoutMs: number;
  readonly publicOrigin: string;
  readonly refusals: RefusalLog;
  readonly onHandshake: () => void;
}

/** A connection from its first byte to the end of the handshake; then it passes on to whoever speaks on it. */
class PendingConnection implements OpenConnection {
  readonly #socket: Socket;
  readonly #options: PendingOptions;
  #timer: NodeJS.Timeout;
  #next: OpenConnection | undefined;

  constructor(socket: Socket, options: PendingOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#timer = setTimeout(() => socket.destroy(), options.timeoutMs);
    socket.once('data', this.#onFirstBytes);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => clearTimeout(this.#timer));
    socket.once('end', this.#onEarlyEnd);
  }

  /** A handshake that has begun may be finished. */
  closeIfIdle(): void {
    this.#next?.closeIfIdle();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  succeed(next: OpenConnection): void {
    clearTimeout(this.#timer);
    this.#next = next;
  }

  readonly #onEarlyEnd = (): void => void this.#socket.destroy();

  readonly #onFirstBytes = (bytes: Buffer): void => {
    const first = bytes[0] ?? 0;
    this.#socket.off('end', this.#onEarlyEnd);
    this.#socket.pause();
    if (first === HANDSHAKE) {
      this.#socket.unshift(bytes);
      this.#options.onHandshake();
    } else if (first >= FIRST_LETTER && first <= LAST_LETTER) this.#explain();
    else this.#socket.destroy();
  };

  /** A browser that was sent to http:// with the port of https://. */
  #explain(): void {
    const { publicOrigin, refusals } = this.#options;
    refusals.note(400, 'plain HTTP on an encrypted address', plainAddress(this.#socket.remoteAddress ?? 'unknown'));
    const answer = page(400, {
      title: 'This address is encrypted',
      paragraphs: ['The address must begin with https://.'],
      link: { href: `${publicOrigin}/`, text: publicOrigin },
    });
    this.#socket.resume();
    this.#socket.end(formatAnswer(answer, { isHead: false, close: true }));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
  }
}
