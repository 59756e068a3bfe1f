import { type ErrorDetails, isErrorCode, MetalhubError } from '@metalhub/base/errors.js';

/** How an error crosses a socket: code and text unchanged, without stack or cause. */
export interface ErrorFrame {
  code: string;
  message: string;
  details: ErrorDetails;
  hint: string | null;
}

/** Anything that is not ours becomes MH_ERR_INTERNAL without its text: it may hold what the peer must not see. */
export function toErrorFrame(error: unknown): ErrorFrame {
  const known = error instanceof MetalhubError ? error : new MetalhubError('MH_ERR_INTERNAL');
  return { code: known.code, message: known.message, details: known.details, hint: known.hint ?? null };
}

export function fromErrorFrame(frame: unknown): MetalhubError {
  if (typeof frame !== 'object' || frame === null) {
    return new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: 'error is not an object' } });
  }
  const { code, message, details, hint } = frame as Record<string, unknown>;
  if (!isErrorCode(code) || typeof message !== 'string') {
    return new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: 'error without a known code' } });
  }
  return new MetalhubError(code, {
    message: message.slice(0, 1024),
    details: plainDetails(details),
    hint: typeof hint === 'string' ? hint.slice(0, 1024) : undefined,
  });
}

function plainDetails(value: unknown): ErrorDetails {
  if (typeof value !== 'object' || value === null) return {};
  const plain = Object.entries(value).filter((entry): entry is [string, string | number | boolean] =>
    ['string', 'number', 'boolean'].includes(typeof entry[1]),
  );
  return Object.fromEntries(plain.slice(0, 32));
}
