const ESC = '\u001b';
const BEL = '\u0007';
const CSI = `(?:${ESC}\\[|\u009b)[0-?]*[ -/]*[@-~]`;
const OSC = `${ESC}\\][^${BEL}${ESC}]*(?:${BEL}|${ESC}\\\\)`;
const TERMINAL_SEQUENCE = new RegExp(`${CSI}|${OSC}|${ESC}[ -/]*[0-Z^-~]`, 'g');

/** Everything but tab and line feed that has no shape of its own, and what reorders the text around it. */
const INVISIBLE = /(?![\t\n])[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Makes text that others wrote harmless to read: terminal colours go, other control characters and bidirectional
 * controls become U+FFFD. static/visible-text.js does the same in the browser.
 * @see UAX 9 for the bidirectional controls, ECMA-48 for terminal sequences
 */
export function visibleText(text: string): string {
  return text.replaceAll(TERMINAL_SEQUENCE, '').replaceAll(/\r\n?/g, '\n').replaceAll(INVISIBLE, '\ufffd');
}

/** Whether a path stays on this site in every browser: `//host`, `/\host` and `/<tab>/host` do not. */
export function isLocalPath(path: string): boolean {
  return /^\/(?![/\\])[^\s\p{Cc}\\]*$/u.test(path);
}

/** A path of this site or a web address; `javascript:`, `data:` and the like are not. */
export function isWebAddress(address: string): boolean {
  return isLocalPath(address) || /^https?:\/\/[^\s\p{Cc}\\]+$/u.test(address);
}

/** Seconds in words, in the largest unit that is exact: `90 minutes`, `1 day`. */
export function lengthText(seconds: number): string {
  const units = [
    ['day', 86_400],
    ['hour', 3600],
    ['minute', 60],
    ['second', 1],
  ] as const;
  const [unit, size] = units.find(([, length]) => seconds % length === 0) ?? units[3];
  const count = seconds / size;
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
