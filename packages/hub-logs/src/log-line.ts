import type { LogLine } from '@metalhub/wire/logs.js';
import type { JournalEntry } from './export-parser.js';

const MAX_MESSAGE_CHARACTERS = 4096;
const MAX_IDENTIFIER_CHARACTERS = 256;
const MAX_LINES_PER_ENTRY = 100;
const DEFAULT_PRIORITY = 6;

// CSI, OSC, the other strings, and the two- and three-byte sequences of ECMA-48, complete or cut off.
const ESCAPE_SEQUENCES =
  /\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~]?)/g;
// Controls, and what reorders or breaks a line on the reader's screen.
const INVISIBLE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
// Programs whose word counts more than a user's.
const RESERVED_IDENTIFIER = /^\W*(?:systemd|kernel|hub$|hub-|metalhub)/i;

/**
 * Turns an entry into lines for people: no control characters, each cut to its bound, at least one.
 *
 * A user's process may name itself as it likes, but not as systemd or one of our daemons: those are believed only when
 * root wrote the entry.
 */
export function toLogLines(entry: JournalEntry): LogLine[] {
  const line = { time_ms: timeOf(entry), priority: priorityOf(entry), identifier: identifierOf(entry) };
  const texts = textOf(entry, 'MESSAGE').split('\n').slice(0, MAX_LINES_PER_ENTRY);
  return texts.map((text) => ({ ...line, message: cut(cleanLine(text), MAX_MESSAGE_CHARACTERS) }));
}

/** One line as a terminal would show it in the end: without colours, and only what came after the last return. */
export function cleanLine(text: string): string {
  const plain = text.replace(ESCAPE_SEQUENCES, '').replaceAll('\t', '    ');
  const shown = plain.split('\r').findLast((part) => part !== '') ?? '';
  return shown.replace(INVISIBLE, '');
}

function identifierOf(entry: JournalEntry): string {
  const given = textOf(entry, 'SYSLOG_IDENTIFIER') || textOf(entry, '_COMM');
  const identifier = cut(cleanLine(given).replace(/[^ -~]/g, '?'), MAX_IDENTIFIER_CHARACTERS);
  return textOf(entry, '_UID') !== '0' && RESERVED_IDENTIFIER.test(identifier) ? 'server' : identifier;
}

function priorityOf(entry: JournalEntry): number {
  const priority = textOf(entry, 'PRIORITY');
  return /^[0-7]$/.test(priority) ? Number(priority) : DEFAULT_PRIORITY;
}

function timeOf(entry: JournalEntry): number {
  const microseconds = textOf(entry, '__REALTIME_TIMESTAMP');
  return /^[0-9]{1,16}$/.test(microseconds) ? Math.floor(Number(microseconds) / 1000) : 0;
}

function textOf(entry: JournalEntry, field: string): string {
  return entry.get(field)?.toString('utf8') ?? '';
}

function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  // Not in the middle of a pair of surrogates.
  return `${text.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
