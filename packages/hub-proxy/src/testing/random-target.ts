import type { Random } from './random.js';

/** What readers of paths differ about, between words and slashes. */
const PIECES = [
  '/',
  '/',
  '/',
  '//',
  'hub',
  'user',
  'lab',
  'services',
  'x',
  'a',
  '.',
  '..',
  '%2e',
  '%2E',
  '%2f',
  '%5c',
  '\\',
  ';',
  '%3b',
  '%',
  '%00',
  '%20',
  '%c0%ae',
  '%C3%BC',
  '?',
  '=',
  '#',
  '%25',
  '@',
  ':',
  '%40',
  '~',
  '[',
  '|',
  ' ',
  '{',
  '\u00e9',
  '*',
  '%61',
] as const;

/**
 * A request target of up to eleven pieces; most are ambiguous, and so refused.
 * @param words more pieces: names of users, for instance
 */
export function randomTarget(random: Random, words: readonly string[] = []): string {
  let target = '/';
  for (let length = random.below(12); length > 0; length--) {
    const index = random.below(PIECES.length + words.length);
    target += PIECES[index] ?? words[index - PIECES.length] ?? '';
  }
  return target;
}
