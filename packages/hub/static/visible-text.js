// @ts-check
const ESC = '\u001b';
const BEL = '\u0007';
const CSI = `(?:${ESC}\\[|\u009b)[0-?]*[ -/]*[@-~]`;
const OSC = `${ESC}\\][^${BEL}${ESC}]*(?:${BEL}|${ESC}\\\\)`;
const TERMINAL_SEQUENCE = new RegExp(`${CSI}|${OSC}|${ESC}[ -/]*[0-Z^-~]`, 'g');
const INVISIBLE = /(?![\t\n])[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Takes terminal colours out of text and makes control characters visible, as src/web/pages/text.ts does.
 * @param {unknown} value
 */
export function visibleText(value) {
  return String(value ?? '')
    .replaceAll(TERMINAL_SEQUENCE, '')
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(INVISIBLE, '\ufffd');
}
