import t from 'tap';
import { ExportParser, type JournalEntry, MAX_FIELD_BYTES } from './export-parser.js';

function binaryField(name: string, value: Buffer): Buffer {
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), size, value, Buffer.from('\n')]);
}

function plain(entries: readonly JournalEntry[]): Record<string, string>[] {
  return entries.map((entry) => Object.fromEntries([...entry].map(([name, value]) => [name, value.toString()])));
}

const twoEntries = Buffer.concat([
  Buffer.from('__CURSOR=s=1;i=2\n_PID=1\n'),
  binaryField('MESSAGE', Buffer.from('a\n\nMESSAGE=b\n')),
  Buffer.from('PRIORITY=4\n\n'),
  binaryField('EMPTY', Buffer.alloc(0)),
  Buffer.from('MESSAGE=über=all\n\n'),
]);
const expected = [
  { __CURSOR: 's=1;i=2', _PID: '1', MESSAGE: 'a\n\nMESSAGE=b\n', PRIORITY: '4' },
  { EMPTY: '', MESSAGE: 'über=all' },
];

t.test('reads text and binary fields, also when a value looks like a field', async (t) => {
  t.same(plain(new ExportParser().push(twoEntries)), expected);
});

t.test('it does not matter where the stream is cut', async (t) => {
  for (let size = 1; size < twoEntries.length; size++) {
    const parser = new ExportParser();
    const entries: JournalEntry[] = [];
    for (let at = 0; at < twoEntries.length; at += size)
      entries.push(...parser.push(twoEntries.subarray(at, at + size)));
    t.same(plain(entries), expected, `${size} bytes at a time`);
  }
});

t.test('of huge fields the beginning is kept, and what follows is read', async (t) => {
  const huge = Buffer.alloc(1024 * 1024, 'x');
  const parser = new ExportParser();
  const entries = parser.push(
    Buffer.concat([
      binaryField('MESSAGE', huge),
      Buffer.from('PRIORITY=3\n\nMESSAGE='),
      huge,
      Buffer.from('\n_UID=0\n\n'),
    ]),
  );
  t.equal(entries[0]?.get('MESSAGE')?.length, MAX_FIELD_BYTES);
  t.equal(entries[0]?.get('PRIORITY')?.toString(), '3');
  t.ok((entries[1]?.get('MESSAGE')?.length ?? 0) <= MAX_FIELD_BYTES);
  t.equal(entries[1]?.get('_UID')?.toString(), '0');
});

t.test('a claim of 2^64 bytes costs nothing', async (t) => {
  const parser = new ExportParser();
  parser.push(Buffer.concat([Buffer.from('MESSAGE\n'), Buffer.alloc(8, 0xff)]));
  const before = process.memoryUsage().arrayBuffers;
  const zeros = Buffer.alloc(65_536);
  let entries = 0;
  for (let round = 0; round < 1000; round++) entries += parser.push(zeros).length;
  t.equal(entries, 0);
  t.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024, 'of 64 MB next to nothing is kept');
});

t.test('of a field that occurs twice the first counts', async (t) => {
  t.same(plain(new ExportParser().push(Buffer.from('MESSAGE=a\nMESSAGE=b\n\n'))), [{ MESSAGE: 'a' }]);
});
