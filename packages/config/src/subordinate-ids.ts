/** Numbers that an account may act as in a user namespace of its own: a line of subuid(5) or subgid(5). */
export interface Delegation {
  readonly name: string;
  readonly first: number;
  readonly last: number;
}

/** Reads `name:first:count` lines; what is no such line gives nothing. */
export function parseDelegations(text: string): Delegation[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .flatMap((line) => {
      const [name = '', first = '', count = ''] = line.split(':');
      return /^[0-9]+$/.test(first) && /^[1-9][0-9]*$/.test(count)
        ? [{ name, first: Number(first), last: Number(first) + Number(count) - 1 }]
        : [];
    });
}
