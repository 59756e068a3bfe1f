import { MetalhubError } from '@metalhub/base/errors.js';
import { type Shape, ShapeError } from '@metalhub/base/shape.js';

/** @throws {MH_ERR_WIRE_MALFORMED} */
export function checked<T>(shape: Shape<T>, body: unknown): T {
  try {
    return shape(body, '');
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: error.message }, cause: error });
  }
}
