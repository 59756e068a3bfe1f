import type { AST } from 'toml-eslint-parser';

/** `login[0].allow.groups`: how a key is written in errors. */
export function keyText(path: readonly (string | number)[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

/** Line numbers (from 1) of every key of one file. */
export function keyLines(toml: AST.TOMLProgram): Map<string, number> {
  const lines = new Map<string, number>();
  const note = (path: readonly (string | number)[], line: number): void => {
    for (let length = 1; length <= path.length; length++) {
      const text = keyText(path.slice(0, length));
      if (!lines.has(text)) lines.set(text, line);
    }
  };
  const visitPair = (base: readonly (string | number)[], pair: AST.TOMLKeyValue): void => {
    const path = [...base, ...pair.key.keys.map((key) => (key.type === 'TOMLBare' ? key.name : key.value))];
    note(path, pair.loc.start.line);
    visitValue(path, pair.value);
  };
  const visitValue = (path: readonly (string | number)[], value: AST.TOMLContentNode): void => {
    if (value.type === 'TOMLInlineTable') for (const pair of value.body) visitPair(path, pair);
    if (value.type === 'TOMLArray') {
      for (const [index, element] of value.elements.entries()) {
        note([...path, index], element.loc.start.line);
        visitValue([...path, index], element);
      }
    }
  };
  for (const node of toml.body[0].body) {
    if (node.type === 'TOMLKeyValue') {
      visitPair([], node);
    } else {
      note(node.resolvedKey, node.loc.start.line);
      for (const pair of node.body) visitPair(node.resolvedKey, pair);
    }
  }
  return lines;
}
