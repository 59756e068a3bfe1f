/** Where in the markup a value stands. */
export type HtmlContext = { readonly kind: 'text' | 'tag' } | { readonly kind: 'attribute'; readonly name: string };

interface Position {
  mode: 'text' | 'tag' | 'attribute';
  attributeName: string;
}

/**
 * Finds the context of each value of a template from its constant parts.
 *
 * Knows only the markup that our pages use: double quotes, no comments, no inline script or style. A template that
 * does anything else, or does not end outside of every tag, is a mistake in our source.
 * @throws TypeError
 */
export function findContexts(parts: readonly string[]): HtmlContext[] {
  const position: Position = { mode: 'text', attributeName: '' };
  const contexts = parts.map((part, index) => {
    advance(position, part);
    if (index === parts.length - 1) return contextOf(position);
    if (position.mode === 'tag' && !/\s$/.test(part)) refuse('a value needs double quotes around it', part);
    return contextOf(position);
  });
  if (contexts.pop()?.kind !== 'text') refuse('the template ends inside of a tag', parts.join('…'));
  return contexts;
}

function contextOf(position: Position): HtmlContext {
  if (position.mode === 'attribute') return { kind: 'attribute', name: position.attributeName };
  return { kind: position.mode };
}

function advance(position: Position, part: string): void {
  for (let index = 0; index < part.length; index++) {
    const character = part[index];
    if (position.mode === 'text' && character === '<') {
      if (/^<(?:!--|script\b(?! [^>]*src=)|style\b)/i.test(part.slice(index)))
        refuse('comment, inline script or style', part);
      position.mode = 'tag';
    } else if (position.mode === 'tag' && character === '>') {
      position.mode = 'text';
    } else if (position.mode === 'tag' && character === "'") {
      refuse('attributes take double quotes', part);
    } else if (character === '"' && position.mode !== 'text') {
      position.attributeName = position.mode === 'tag' ? attributeBefore(part.slice(0, index)) : '';
      position.mode = position.mode === 'tag' ? 'attribute' : 'tag';
    }
  }
}

function attributeBefore(text: string): string {
  const name = /\s([a-z][a-z-]*)=$/i.exec(text)?.[1];
  if (name === undefined || name === 'style' || /^on/i.test(name)) refuse('not an attribute for our pages', text);
  return name;
}

function refuse(reason: string, part: string): never {
  throw new TypeError(`bad HTML template: ${reason}: ${part.trim().slice(-60)}`);
}
