import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type Settings as Http2Settings,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { EdgeSettings } from '../edge-settings.js';
import type { Settings } from '../settings.js';
import { makeCertificate, tlsSettings } from './certificates.js';
import { type Front, startFront } from './front.js';

/** Of the fronts below. */
export const certificate = makeCertificate();
const tls = tlsSettings(certificate);
const opened = new Set<TLSSocket>();

type TestAnswer = (head: string, socket: Socket) => void;

/** A front that speaks HTTP/2 over TLS. */
export async function startHttp2Front(
  t: { teardown(end: () => Promise<void>): void },
  answer?: TestAnswer,
  changes: Partial<typeof tls> = {},
  limits: EdgeSettings = {},
  settings: Partial<Settings> = {},
): Promise<Front> {
  const edge = { ...limits, tls: { ...tls, ...changes } };
  const origin = { is_secure: true, public_origin: 'https://hub.example.org' };
  const front = await startFront(t, answer, { ...origin, edge, ...settings });
  // Runs before the proxy is closed, which would wait for them.
  t.teardown(async () => {
    for (const socket of opened) socket.destroy();
    opened.clear();
  });
  return front;
}

/** Node's own client. */
export function openSession(front: Front, settings: Http2Settings = {}): ClientHttp2Session {
  const { port } = front.proxy;
  const options = { port, host: '127.0.0.1', ca: certificate.cert, servername: 'hub.example.org' };
  const socket = connectTls({ ...options, ALPNProtocols: ['h2'] });
  const session = connect(`https://127.0.0.1:${port}`, { createConnection: () => socket, settings });
  session.on('error', () => undefined);
  // A session that was told to go away would wait for the other side.
  opened.add(socket);
  return session;
}

/** Of one stream. */
export interface Answer {
  readonly status: number;
  readonly fields: Record<string, unknown>;
  readonly body: string;
  readonly trailers: Record<string, unknown>;
  readonly interim: number[];
  /** HTTP/2 error code of the stream. */
  readonly code: number;
}

/** Begins a request of Anna's. */
export function start(
  session: ClientHttp2Session,
  front: Front,
  fields: OutgoingHttpHeaders = {},
  endStream = false,
): ClientHttp2Stream {
  const cookie = front.cookie.slice('Cookie: '.length);
  const all = { ':path': '/user/anna/x', ':authority': 'hub.example.org', cookie, ...fields };
  return session.request(all, { endStream });
}

/** Resolves when the stream is closed, whether by an answer or an error. */
export function finish(stream: ClientHttp2Stream): Promise<Answer> {
  const chunks: Buffer[] = [];
  const interim: number[] = [];
  let fields: Record<string, unknown> = {};
  let trailers: Record<string, unknown> = {};
  stream.on('headers', (info) => interim.push(Number(info[':status'])));
  stream.on('response', (received) => {
    fields = { ...received };
  });
  stream.on('trailers', (received) => {
    trailers = { ...received };
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => undefined);
  return new Promise((resolve) => {
    stream.on('close', () => {
      const body = Buffer.concat(chunks).toString('latin1');
      resolve({ status: Number(fields[':status'] ?? 0), fields, body, trailers, interim, code: stream.rstCode ?? 0 });
    });
  });
}

export function request(
  session: ClientHttp2Session,
  front: Front,
  fields: OutgoingHttpHeaders = {},
  body?: string,
): Promise<Answer> {
  const stream = start(session, front, fields, body === undefined);
  if (body !== undefined) stream.end(body);
  return finish(stream);
}
