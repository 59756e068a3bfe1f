const UNIT_PATH_PREFIX = '/org/freedesktop/systemd1/unit/';

/**
 * Escapes a unit name into one element of a D-Bus object path.
 *
 * @see bus_label_escape() in systemd's src/basic/bus-label.c
 */
export function escapeBusLabel(text: string): string {
  if (text === '') return '_';
  let label = '';
  for (const [index, byte] of Buffer.from(text, 'utf8').entries()) {
    label += isPlain(byte, index) ? String.fromCharCode(byte) : `_${byte.toString(16).padStart(2, '0')}`;
  }
  return label;
}

/** The reverse of {@link escapeBusLabel}; an incomplete escape is kept as it stands, as systemd does. */
export function unescapeBusLabel(label: string): string {
  if (label === '_') return '';
  const bytes: number[] = [];
  for (let index = 0; index < label.length; index++) {
    const hex = label[index] === '_' ? label.slice(index + 1, index + 3) : '';
    if (/^[0-9a-f]{2}$/i.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      index += 2;
    } else {
      bytes.push(label.charCodeAt(index));
    }
  }
  return Buffer.from(bytes).toString('utf8');
}

/** The object path that systemd gives a unit, loaded or not. */
export function unitObjectPath(unit: string): string {
  return UNIT_PATH_PREFIX + escapeBusLabel(unit);
}

/** The unit's name, `undefined` when the path is not that of a unit. */
export function findUnitOfPath(path: string): string | undefined {
  return path.startsWith(UNIT_PATH_PREFIX) ? unescapeBusLabel(path.slice(UNIT_PATH_PREFIX.length)) : undefined;
}

function isPlain(byte: number, index: number): boolean {
  const isLetter = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
  const isDigit = byte >= 0x30 && byte <= 0x39;
  return isLetter || (isDigit && index > 0);
}
