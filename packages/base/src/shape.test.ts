import t from 'tap';
import { boolean, integer, list, nullable, object, oneOf, optional, ShapeError, text, tolerant } from './shape.js';

const shape = object({
  name: text({ pattern: /^[a-z]+$/, min: 1, max: 5 }),
  count: integer(0, 10),
  kind: oneOf('a', 'b'),
  tags: optional(list(text({ max: 2 }), 2)),
  note: nullable(text({ max: 9 })),
  flag: optional(boolean()),
});
const good = { name: 'anna', count: 3, kind: 'a', note: null };

t.test('takes what fits, and only that', async (t) => {
  t.strictSame(shape(good, ''), good);
  t.strictSame(shape({ ...good, tags: ['x'], flag: true }, ''), { ...good, tags: ['x'], flag: true });
});

t.test('S03: refuses a whole message for one unknown key, wrong type or number out of range', async (t) => {
  const bad: [string, unknown][] = [
    ['an unknown key', { ...good, ExecStartPre: '/bin/sh' }],
    ['a key of the prototype', JSON.parse('{"name":"anna","count":3,"kind":"a","note":null,"__proto__":{"x":1}}')],
    ['a missing key', { name: 'anna', count: 3, kind: 'a' }],
    ['null instead of an object', null],
    ['a list instead of an object', [good]],
    ['a number as text', { ...good, count: '3' }],
    ['NaN', { ...good, count: Number.NaN }],
    ['a fraction', { ...good, count: 1.5 }],
    ['too large a number', { ...good, count: 1e30 }],
    ['a negative number', { ...good, count: -1 }],
    ['another choice', { ...good, kind: 'c' }],
    ['too long a text', { ...good, name: 'annaanna' }],
    ['an empty text', { ...good, name: '' }],
    ['too long a list', { ...good, tags: ['a', 'b', 'c'] }],
    ['undefined where null is meant', { ...good, note: undefined }],
  ];
  for (const [what, value] of bad) t.throws(() => shape(value, ''), ShapeError, what);
});

t.test('names the place', async (t) => {
  t.throws(() => shape({ ...good, tags: ['a', 'bbb'] }, ''), { message: 'tags[1]: expected at most 2 characters' });
});

t.test('a tolerant shape leaves out what it does not know, at any depth, and is as strict otherwise', async (t) => {
  const inner = object({ list: list(shape, 3) });
  const later = { list: [{ ...good, added: 1 }], added: { more: true } };
  t.throws(() => inner(later, ''), ShapeError);
  t.strictSame(tolerant(inner)(later, ''), { list: [good] });
  t.throws(() => tolerant(inner)({ list: [{ ...good, count: 'many', added: 1 }] }, ''), ShapeError);
  t.throws(() => inner(later, ''), ShapeError, 'only there');
});
