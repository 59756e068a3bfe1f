/** One header line. `name` as received, `lower` for comparing, `value` without surrounding blanks, as latin1. */
export interface HeaderField {
  readonly name: string;
  readonly lower: string;
  readonly value: string;
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;
const DELETE = 0x7f;

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const IS_TOKEN = Uint8Array.from({ length: 256 }, (_, code) => (TOKEN.test(String.fromCharCode(code)) ? 1 : 0));

/** What {@link readHeaderFields} found wrong; constant text. */
export type FieldsError = 'malformed header field' | 'too many header fields' | 'control character or bare line break';

/**
 * Reads header lines in one pass: `Name: value`, lines parted by CRLF, none folded, no blank before the colon, no control
 * characters but tabs within values.
 *
 * @param section latin1 text; the last line has no CRLF
 * @param from where the first line begins
 * @see RFC 9112 section 5
 */
export function readHeaderFields(section: string, from: number, limit: number): HeaderField[] | FieldsError {
  const fields: HeaderField[] = [];
  const end = section.length;
  for (let at = from; ; ) {
    if (fields.length === limit) return 'too many header fields';
    const nameStart = at;
    while (at < end && IS_TOKEN[section.charCodeAt(at)] === 1) at++;
    // Also a line that begins with a blank, and an empty one.
    if (at === nameStart || section.charCodeAt(at) !== COLON) return 'malformed header field';
    const name = section.slice(nameStart, at);
    do at++;
    while (section.charCodeAt(at) === SPACE);
    const valueStart = at;
    let valueEnd = at;
    for (; at < end; at++) {
      const code = section.charCodeAt(at);
      if (code > SPACE && code !== DELETE) valueEnd = at + 1;
      else if (code !== SPACE && code !== TAB) break;
    }
    if (hasTabAtEdge(section, valueStart, valueEnd, at)) return 'malformed header field';
    fields.push({ name, lower: lowerOf(name), value: section.slice(valueStart, valueEnd) });
    if (at === end) return fields;
    if (section.charCodeAt(at) !== CR || section.charCodeAt(at + 1) !== LF)
      return 'control character or bare line break';
    at += 2;
  }
}

/** One such line; `undefined` when it is anything else. */
export function parseHeaderField(line: string): HeaderField | undefined {
  const fields = readHeaderFields(line, 0, 2);
  return typeof fields === 'string' || fields.length > 1 ? undefined : fields[0];
}

/** Allowed, but llhttp takes a tab for a part of the value, and then `chunked` for something else. Nobody sends it. */
function hasTabAtEdge(section: string, valueStart: number, valueEnd: number, end: number): boolean {
  if (section.charCodeAt(valueStart) === TAB && valueStart < end) return true;
  for (let at = valueEnd; at < end; at++) if (section.charCodeAt(at) === TAB) return true;
  return false;
}

/** For answers about names, which come again and again. Bounded, since anybody can make names up. */
export class NameMemo<T> {
  readonly #known = new Map<string, T>();
  readonly #find: (name: string) => T;

  constructor(find: (name: string) => T) {
    this.#find = find;
  }

  get(name: string): T {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_NAMES || name.length > MAX_NAME_CHARACTERS) return this.#find(name);
    // A copy, also for what is found: a piece of a string keeps the whole of it, here somebody's request, in memory.
    const copy = detached(name);
    const found = this.#find(copy);
    this.#known.set(copy, found);
    return found;
  }
}

const MAX_NAMES = 512;
const MAX_NAME_CHARACTERS = 64;

const lowerNames = new NameMemo((name) => name.toLowerCase());

function lowerOf(name: string): string {
  return lowerNames.get(name);
}

/** The same latin1 text, of which nothing larger is a part. */
export function detached(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/** Members of a comma-separated list, lower-case, without empty ones. */
export function listMembers(value: string): string[] {
  if (!value.includes(',')) return value === '' ? [] : [value.toLowerCase()];
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
  for (const field of fields) if (field.lower === lower) return field.value;
  return undefined;
}
