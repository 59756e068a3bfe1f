export interface JsonErrorPlace {
  readonly line: number;
  readonly column: number;
  /** Nothing is wrong but that more should follow. */
  readonly isCutOff: boolean;
}

/** Where a text stops being JSON, which V8 tells only for some mistakes. The text must not be JSON. */
export function jsonErrorPlace(text: string): JsonErrorPlace {
  // A beginning that can be continued stays one when it is cut shorter, so the first that cannot is found by halving.
  let good = 0;
  let bad = text.length + 1;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (canBeContinued(text.slice(0, middle))) good = middle;
    else bad = middle;
  }
  const before = text.slice(0, good).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1, isCutOff: good === text.length };
}

function canBeContinued(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const message = error instanceof Error ? error.message : '';
    if (/^(?:Unexpected end|Unterminated)/.test(message)) return true;
    return Number(/ at position (\d+)/.exec(message)?.[1] ?? Number.NaN) >= text.length;
  }
}
