/** Few pieces are cheaper written one by one than copied. */
const MAX_PIECES = 8;

/** Many pieces as one: chunks of one byte would otherwise wait to be written in hundreds of bytes each. */
export function joined(pieces: Buffer[]): Buffer[] {
  return pieces.length > MAX_PIECES ? [Buffer.concat(pieces)] : pieces;
}
