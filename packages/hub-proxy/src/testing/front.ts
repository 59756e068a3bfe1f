import type { Socket } from 'node:net';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { Settings } from '../settings.js';
import { startProxy, type TestProxy } from './proxy.js';
import { SESSION_ID, ticketClaims } from './tickets.js';
import { ok, type RecordingUpstream, startUpstream } from './upstream.js';

/** A worker with both kinds of upstream, for tests of what goes through it. */
export interface Front {
  readonly proxy: TestProxy;
  /** Anna's, behind a ticket. */
  readonly server: RecordingUpstream;
  readonly hub: RecordingUpstream;
  /** Header line with a valid ticket. */
  readonly cookie: string;
  /** The same for another login of Anna's. */
  signIn(sessionId: string): Promise<string>;
}

export async function startFront(
  t: { teardown(end: () => Promise<void>): void },
  answer: (head: string, socket: Socket) => void = (_head, socket) => void socket.write(ok('fine')),
  settings: Partial<Settings> = {},
): Promise<Front> {
  const proxy = await startProxy(settings);
  const server = await startUpstream(proxy.serverPath, answer);
  const hub = await startUpstream(proxy.hubPath, (head, socket) => {
    answer(head, socket);
    socket.end();
  });
  t.teardown(async () => {
    await server.close();
    await hub.close();
    await proxy.close();
  });
  const signIn = async (sessionId: string): Promise<string> => {
    const claims = ticketClaims(Math.floor(Date.now() / SECOND_MS), { session_id: sessionId });
    return `Cookie: metalhub-ticket=${await proxy.key.sign(claims)}`;
  };
  return { proxy, server, hub, cookie: await signIn(SESSION_ID), signIn };
}
