import type { Random } from './random.js';

/** Messages that are right, nearly right, or wrong in the ways that parsers disagree about; in latin1. */

/** Follows a request: whether it is seen as a request of its own says where the first one was taken to end. */
export const SENTINEL = 'GET /sentinel HTTP/1.1\r\nHost: localhost\r\n\r\n';

export function makeRequest(random: Random): string {
  const method = often(random, 'GET', [
    'POST',
    'PUT',
    'HEAD',
    'DELETE',
    'OPTIONS',
    'PATCH',
    'get',
    'FOO',
    'M-SEARCH',
    'GE T',
    'A1',
    '',
  ]);
  const version = often(random, 'HTTP/1.1', [
    'HTTP/1.0',
    'HTTP/1.2',
    'HTTP/2.0',
    'http/1.1',
    'HTTP/1.1 ',
    'HTTP/01.1',
    '',
  ]);
  const blank = often(random, ' ', ['  ', '\t', '', '\x0b']);
  const lines = [`${method}${blank}${makeTarget(random)} ${version}`];
  if (!random.once(20))
    lines.push(
      makeField(
        random,
        'Host',
        often(random, 'localhost', ['localhost:8000', 'LOCALHOST', 'a@b', '', 'localhost.', 'a b', 'x/y', '[::1]']),
      ),
    );
  for (let count = random.below(4); count > 0; count--) lines.push(makeAnyField(random));
  const { fields, body } = makeBody(random);
  lines.splice(1 + random.below(lines.length), 0, ...fields);
  if (random.once(12))
    lines.push(
      makeField(random, 'Connection', 'Upgrade'),
      makeField(random, 'Upgrade', often(random, 'websocket', ['h2c', 'WebSocket', 'websocket, h2c'])),
    );
  return mutate(random, joinLines(random, lines) + body) + (random.once(3) ? '' : SENTINEL);
}

export function makeResponse(random: Random): string {
  const version = often(random, 'HTTP/1.1', ['HTTP/1.0', 'HTTP/1.2', 'HTTP/2', 'http/1.1', 'ICY']);
  const status = often(random, '200', [
    '204',
    '304',
    '404',
    '206',
    '500',
    '100',
    '103',
    '199',
    '99',
    '2000',
    '0200',
    '',
  ]);
  const reason = often(random, ' OK', ['', ' ', ' Not\tFound', ' \xe4', ' a\x01b']);
  const lines = [`${version}${often(random, ' ', ['  ', '\t', ''])}${status}${reason}`];
  for (let count = random.below(3); count > 0; count--) lines.push(makeAnyField(random));
  const { fields, body } = makeBody(random);
  lines.splice(1 + random.below(lines.length), 0, ...fields);
  return mutate(random, joinLines(random, lines) + body);
}

function makeTarget(random: Random): string {
  let target = often(random, '/', ['', '//', '*', 'http://localhost/', 'localhost:80', '/user/anna/', 'user/']);
  for (let count = random.below(6); count > 0; count--) {
    target += random.pick([
      'a',
      'user',
      '/',
      '/anna/',
      '.',
      '..',
      '%2e',
      '%2f',
      '%41',
      '%00',
      '%zz',
      ';x',
      '?',
      '=&',
      '#',
      '%5c',
      '\\',
      '~',
      '@',
      ':',
      '%C3%BC',
      '\xfc',
      ' ',
      '[',
      '"',
      '%25',
      '+',
      '*',
      '|',
      '{',
    ]);
  }
  return target;
}

function makeAnyField(random: Random): string {
  const name = random.pick([
    'X',
    'Accept',
    'cookie',
    'x_y',
    'X-Forwarded-For',
    'TE',
    'Trailer',
    'Keep-Alive',
    'Content-Type',
    'Expect',
    'Connection',
    'Sec-WebSocket-Key',
    'X!#$%',
    'Content-length',
    'Transfer-encoding',
    'Set-Cookie',
    'X Y',
    'X\x80',
    '',
  ]);
  const value = random.pick([
    '',
    'a',
    'a b',
    'a\tb',
    'a, b',
    ' a ',
    '\xe4\xff',
    '"q"',
    'a;b=c',
    'close',
    'keep-alive',
    'chunked',
    '0',
    '5',
    'a\x00b',
    'a\x7f',
    'a\x0bb',
    'x'.repeat(300),
    '100-continue',
  ]);
  return makeField(random, name, value);
}

function makeField(random: Random, name: string, value: string): string {
  const colon = often(random, ': ', [':', ' : ', ' :', ':\t', ':  ', '', ':\x0c']);
  return `${often(random, '', [' ', '\t'])}${name}${colon}${value}${often(random, '', [' ', '\t', ' \t '])}`;
}

function makeBody(random: Random): { fields: string[]; body: string } {
  const content = 'x'.repeat(random.below(20));
  const length = (value: string): string =>
    makeField(random, random.pick(['Content-Length', 'content-length', 'Content-Length', 'Content_Length']), value);
  const coding = (value: string): string =>
    makeField(
      random,
      random.pick(['Transfer-Encoding', 'transfer-encoding', 'Transfer-Encoding', 'Transfer_Encoding']),
      value,
    );
  switch (random.below(6)) {
    case 0:
    case 1:
      return { fields: [], body: '' };
    case 2: {
      const wrong: [string, ...string[]] = [
        `+${content.length}`,
        `0${content.length}`,
        `${content.length},${content.length}`,
        `0x${content.length}`,
        `-${content.length}`,
        `${content.length} ${content.length}`,
        `${content.length + 1}`,
        '',
        '99999999999999999999',
        `${content.length};`,
      ];
      const fields = [length(often(random, String(content.length), wrong))];
      if (random.once(12)) fields.push(length(String(random.below(5))));
      return { fields, body: content };
    }
    case 3:
    case 4:
      return {
        fields: [
          coding(
            often(random, 'chunked', [
              'Chunked',
              'chunked, identity',
              'identity, chunked',
              'gzip, chunked',
              'chunked,',
              ',chunked',
              'xchunked',
              'chunked;q=1',
              '',
              'identity',
              '"chunked"',
              '\x0bchunked',
            ]),
          ),
        ],
        body: makeChunks(random),
      };
    default:
      return {
        fields: [length(String(content.length)), coding('chunked')],
        body: random.once(2) ? content : makeChunks(random),
      };
  }
}

function makeChunks(random: Random): string {
  const end = (): string => often(random, '\r\n', ['\n', '\r', '\r\r\n', ' \r\n'], 25);
  let text = '';
  for (let count = random.below(4); count > 0; count--) {
    const data = 'd'.repeat(1 + random.below(17));
    const hex = data.length.toString(16);
    const size = often(
      random,
      hex,
      [
        hex.toUpperCase(),
        `0${hex}`,
        `${hex};a=b`,
        `${hex} `,
        `0x${hex}`,
        `+${hex}`,
        `${hex};a="\r\n"`,
        `${hex} ;a`,
        `-${hex}`,
        `fffffffffffffff${hex}`,
        '',
        `0000000000000000000${hex}`,
      ],
      12,
    );
    text += `${size}${end()}${data}${end()}`;
  }
  text += `${often(random, '0', ['00', '0;x', '000000000000000000', '-0', ''], 15)}${end()}`;
  if (random.once(6)) text += `${makeAnyField(random)}${end()}`;
  return text + end();
}

function joinLines(random: Random, lines: readonly string[]): string {
  let text = '';
  for (const line of lines)
    text += line + often(random, '\r\n', ['\n', '\r', '\r\r\n', '\r\n ', '\r\n\t', '\n\r\n'], 60);
  return text + often(random, '\r\n', ['\n', '\r', '\r\n\r\n', ''], 40);
}

/** Now and then one byte is lost, doubled or another. */
function mutate(random: Random, text: string): string {
  if (!random.once(6) || text.length === 0) return text;
  const at = random.below(text.length);
  const byte = random.pick(['\0', '\t', '\n', '\r', ' ', ':', ',', ';', '0', 'A', '\x7f', '\x80', '\xff', '/', '\x0b']);
  return (
    text.slice(0, at) + random.pick(['', byte, byte + text.charAt(at), text.charAt(at).repeat(2)]) + text.slice(at + 1)
  );
}

function often<T>(random: Random, usual: T, others: readonly [T, ...T[]], times = 30): T {
  return random.once(times) ? random.pick(others) : usual;
}
