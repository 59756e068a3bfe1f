import { type IncomingHeader, MESSAGE_TYPE } from './bus-codec.js';
import { busError, timedOut } from './bus-errors.js';
import type { BusInput, BusValue } from './variant.js';

export interface BusCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly BusInput[];
  /** The unit the call is about, for errors. */
  readonly unit?: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** The calls that wait for their reply, by serial number. Each ends exactly once. */
export interface PendingCalls {
  wait(serial: number, call: BusCall): Promise<readonly BusValue[]>;
  /** Whether it still waits. */
  has(serial: number): boolean;
  /** Takes a method return or an error; one that nobody waits for (any more) is ignored. */
  answer(reply: IncomingHeader): void;
  rejectAll(error: unknown): void;
}

interface PendingCall {
  readonly call: BusCall;
  resolve(body: readonly BusValue[]): void;
  reject(error: unknown): void;
}

export function createPendingCalls(): PendingCalls {
  const pending = new Map<number, PendingCall>();

  function wait(serial: number, call: BusCall): Promise<readonly BusValue[]> {
    const { timeoutMs, signal } = call;
    return new Promise((resolve, reject) => {
      function forget(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        pending.delete(serial);
      }
      function fail(error: unknown): void {
        forget();
        reject(error);
      }
      function onAbort(): void {
        fail(signal?.reason);
      }
      const timer = setTimeout(() => fail(timedOut(timeoutMs, call.member, call.unit ?? '')), timeoutMs);
      signal?.addEventListener('abort', onAbort, { once: true });
      pending.set(serial, {
        call,
        resolve(body) {
          forget();
          resolve(body);
        },
        reject: fail,
      });
    });
  }

  function answer(reply: IncomingHeader): void {
    const waiting = pending.get(reply.replySerial);
    if (waiting === undefined) return;
    if (reply.type === MESSAGE_TYPE.methodReturn) {
      waiting.resolve(reply.body());
    } else {
      const [text] = reply.body();
      const { member, unit } = waiting.call;
      waiting.reject(busError(reply.errorName, typeof text === 'string' ? text : '', member, unit ?? ''));
    }
  }

  function rejectAll(error: unknown): void {
    for (const { reject } of [...pending.values()]) reject(error);
  }

  return { wait, has: (serial) => pending.has(serial), answer, rejectAll };
}
