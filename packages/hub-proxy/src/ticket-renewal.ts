import { request } from 'node:http';
import { object, text } from '@metalhub/base/shape.js';
import { type Clock, MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import { HUB_TICKET_RENEW_PATH, type Ticket } from '@metalhub/wire/ticket.js';

/** What the hub answers to a renewal, with status 200; anything else means no. */
export const renewalAnswerShape = object({ ticket: text({ min: 1, max: 4096 }) });

const REQUEST_TIMEOUT_MS = 10 * SECOND_MS;
const MAX_ANSWER_BYTES = 16 * 1024;
const RETRY_AFTER_MS = 5 * MINUTE_MS;
const MAX_ENTRIES = 4096;

interface Renewal {
  startedMs: number;
  /** The new one, once it is there. */
  ticket: string | undefined;
}

/** Gets new tickets for ones past half their life, in the background: no request ever waits for it. */
export class TicketRenewal {
  readonly #hubSocketPath: string;
  readonly #clock: Clock;
  readonly #renewals = new Map<string, Renewal>();

  constructor(hubSocketPath: string, clock: Clock) {
    this.#hubSocketPath = hubSocketPath;
    this.#clock = clock;
  }

  /** The successor of a ticket if the hub has given one already; else asks for it when it is time. */
  findRenewed(token: string, ticket: Ticket): string | undefined {
    const nowSec = this.#clock.nowMs() / SECOND_MS;
    if (nowSec < ticket.iat + (ticket.exp - ticket.iat) / 2) return undefined;
    const known = this.#renewals.get(token);
    if (known?.ticket !== undefined) return known.ticket;
    const nowMs = this.#clock.monotonicMs();
    if (known === undefined || nowMs - known.startedMs > RETRY_AFTER_MS) this.#renew(token, nowMs);
    return undefined;
  }

  #renew(token: string, startedMs: number): void {
    const renewal: Renewal = { startedMs, ticket: undefined };
    this.#renewals.delete(token);
    this.#renewals.set(token, renewal);
    for (const oldest of this.#renewals.keys()) {
      if (this.#renewals.size <= MAX_ENTRIES) break;
      this.#renewals.delete(oldest);
    }
    // When the hub is away nothing happens: the old ticket has hours left.
    askHub(this.#hubSocketPath, token).then(
      (ticket) => {
        renewal.ticket = ticket;
      },
      () => undefined,
    );
  }
}

function askHub(socketPath: string, ticket: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({ ticket });
    const headers = {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
      Host: 'localhost',
      'X-Metalhub-Proxy': '1',
    };
    const options = { socketPath, path: HUB_TICKET_RENEW_PATH, method: 'POST', headers, agent: false as const };
    const outgoing = request(options, (answer) => {
      const chunks: Buffer[] = [];
      let size = 0;
      answer.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) outgoing.destroy(new Error('answer too large'));
        chunks.push(chunk);
      });
      answer.on('error', reject);
      answer.on('end', () => {
        try {
          if (answer.statusCode !== 200) throw new Error('refused');
          resolve(renewalAnswerShape(JSON.parse(Buffer.concat(chunks).toString('utf8')), '').ticket);
        } catch (error) {
          reject(error instanceof Error ? error : new Error('malformed'));
        }
      });
    });
    outgoing.setTimeout(REQUEST_TIMEOUT_MS, () => outgoing.destroy(new Error('no answer')));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}
