import type { Config } from '@metalhub/config/schema.js';

type Value = string | number | boolean | readonly Value[] | { readonly [key: string]: Value };
type Table = { readonly [key: string]: Value };

/** The configuration as TOML that says the same: `hubctl config show > file` can be used again. */
export function formatConfig(config: Config): string {
  const lines: string[] = [];
  const tables: [string, Value][] = [];
  for (const [key, value] of Object.entries(config as unknown as Table)) {
    if (isTable(value) || isTableList(value)) tables.push([key, value]);
    else lines.push(`${key} = ${inline(value)}`);
  }
  for (const [key, value] of tables) {
    for (const table of isTableList(value) ? value : [value as Table]) {
      lines.push('', isTableList(value) ? `[[${key}]]` : `[${key}]`);
      for (const [name, entry] of Object.entries(table)) lines.push(`${name} = ${inline(entry)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function isTable(value: Value): value is Table {
  return typeof value === 'object' && !Array.isArray(value);
}

function isTableList(value: Value): value is readonly Table[] {
  return Array.isArray(value) && value.length > 0 && value.every(isTable);
}

function inline(value: Value): string {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  if (isTable(value)) {
    const pairs = Object.entries(value).map(([key, entry]) => `${key} = ${inline(entry)}`);
    return `{ ${pairs.join(', ')} }`;
  }
  // TOML's basic strings escape what JSON's do, and DEL besides.
  return JSON.stringify(value).replaceAll('\u007f', '\\u007f');
}
