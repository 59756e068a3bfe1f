/** One header line. `name` as received, `lower` for comparing, `value` without surrounding blanks, as latin1. */
export interface HeaderField {
  readonly name: string;
  readonly lower: string;
  readonly value: string;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
// Everything below a space but tab, CR and LF; the last two are checked by position.
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/;
const BARE_LINE_BREAK = /\r(?!\n)|(?<!\r)\n/;

export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** True for a head or trailer section whose lines may be split at CRLF without changing their meaning. */
export function hasOnlyCleanLines(section: string): boolean {
  return !CONTROL.test(section) && !BARE_LINE_BREAK.test(section);
}

/**
 * Splits `Name: value`; `undefined` for a folded line, a blank before the colon or a name that is no token.
 * @see RFC 9112 section 5
 */
export function parseHeaderField(line: string): HeaderField | undefined {
  const colon = line.indexOf(':');
  const name = line.slice(0, Math.max(colon, 0));
  if (!TOKEN.test(name)) return undefined;
  return { name, lower: name.toLowerCase(), value: trimBlanks(line, colon + 1) };
}

/** Not a regular expression: one with a lazy middle is quadratic in a value full of blanks. */
function trimBlanks(line: string, from: number): string {
  let start = from;
  let end = line.length;
  while (start < end && isBlank(line.charCodeAt(start))) start++;
  while (end > start && isBlank(line.charCodeAt(end - 1))) end--;
  return line.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Members of a comma-separated list, lower-case, without empty ones. */
export function listMembers(value: string): string[] {
  return value
    .split(',')
    .map((member) => member.trim().toLowerCase())
    .filter((member) => member !== '');
}

/** How an upstream that maps names to variables would see the name: `X_Forwarded_For` is `x-forwarded-for`. */
export function foldedName(lower: string): string {
  return lower.includes('_') ? lower.replaceAll('_', '-') : lower;
}

export function findField(fields: readonly HeaderField[], lower: string): string | undefined {
  return fields.find((field) => field.lower === lower)?.value;
}
