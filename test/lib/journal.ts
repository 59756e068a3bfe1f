/** One entry of a machine's journal. */
export interface JournalEntry {
  readonly cursor: string;
  readonly message: string;
  /** 0 (emergency) to 7 (debug). */
  readonly priority: number;
  readonly identifier: string;
  /** The unit it came from; for what systemd says about a unit, that unit. */
  readonly unit: string;
  /** All fields, as journalctl's JSON has them; of a field that occurs more than once the first. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface JournalQuery {
  readonly unit?: string;
  readonly identifier?: string;
  /** Only what came after this cursor (`Machine.cursor()`). */
  readonly since?: string;
}

/** Programs of ours: their warnings fail a test. */
const OUR_PROGRAMS = new Set(['hub', 'hub-proxy', 'hub-spawner', 'hub-pam', 'hub-logs', 'hubctl']);
/** Units of ours: systemd's warnings about them fail a test. */
const OUR_UNITS = /^(?:hub(?:-[a-z]+)*(?:@.*)?|metalhub(?:-[a-z]+)*(?:@.*)?|jupyter(?:-.*)?)\.[a-z]+$/;
const WARNING = 4;
/** How a process ends that would leave a core, were cores kept. */
const CORE_SIGNALS = new Set([
  '3',
  '4',
  '5',
  '6',
  '7',
  '8',
  '11',
  '31',
  'ABRT',
  'BUS',
  'FPE',
  'ILL',
  'SEGV',
  'SYS',
  'TRAP',
]);

export function journalArguments(query: JournalQuery): string[] {
  return [
    'journalctl',
    '--output=json',
    '--all',
    '--quiet',
    '--no-pager',
    ...(query.unit === undefined ? [] : [`--unit=${query.unit}`]),
    ...(query.identifier === undefined ? [] : [`--identifier=${query.identifier}`]),
    ...(query.since === undefined ? [] : [`--after-cursor=${query.since}`]),
  ];
}

/** @param line one line of `journalctl --output=json` */
export function parseJournalEntry(line: string): JournalEntry {
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(JSON.parse(line) as Record<string, unknown>))
    fields[name] = fieldText(value);
  return {
    cursor: fields['__CURSOR'] ?? '',
    message: fields['MESSAGE'] ?? '',
    priority: Number(fields['PRIORITY'] ?? 6),
    identifier: fields['SYSLOG_IDENTIFIER'] ?? fields['_COMM'] ?? '',
    unit: fields['UNIT'] ?? fields['OBJECT_SYSTEMD_UNIT'] ?? fields['_SYSTEMD_UNIT'] ?? '',
    fields,
  };
}

/** What is wrong about the entry, for `Machine.assertCleanJournal`; `undefined` when nothing is. */
export function findComplaint(entry: JournalEntry): string | undefined {
  const reason = entry.fields['METALHUB_REASON'];
  const said = reason === undefined ? entry.message : `${entry.message} (${reason})`;
  const text = `${entry.identifier} [${entry.unit}] <${entry.priority}> ${said}`;
  const fromManager = entry.fields['_PID'] === '1' || entry.identifier === 'systemd';
  if (isCrash(entry, fromManager)) return `crash: ${text}`;
  if (entry.priority > WARNING || (fromManager && isDrainingProxy(entry))) return undefined;
  return OUR_PROGRAMS.has(entry.identifier) || (fromManager && OUR_UNITS.test(entry.unit)) ? text : undefined;
}

/** The workers that a restart leaves to finish are meant to be there; systemd cannot know. */
function isDrainingProxy({ unit, message }: JournalEntry): boolean {
  return unit === 'hub-proxy.service' && /Found left-over process|usually indicates unclean termination/.test(message);
}

function isCrash(entry: JournalEntry, fromManager: boolean): boolean {
  if (entry.identifier === 'systemd-coredump') return true;
  if (!fromManager) return false;
  const code = entry.fields['EXIT_CODE'];
  return code === 'dumped' || (code === 'killed' && CORE_SIGNALS.has(entry.fields['EXIT_STATUS'] ?? ''));
}

/** A field is a string; an array of bytes when it is not UTF-8; an array of these when it occurs more than once. */
function fieldText(value: unknown): string {
  if (!Array.isArray(value)) return value === null ? '' : String(value);
  return typeof value[0] === 'number' ? Buffer.from(value as number[]).toString() : fieldText(value[0]);
}
