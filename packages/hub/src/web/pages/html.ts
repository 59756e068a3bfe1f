import { findContexts, type HtmlContext } from './html-context.js';
import { isWebAddress, visibleText } from './text.js';

/** Markup made by {@link html}; nothing else is ever put into a page unescaped. */
export class Html {
  readonly #markup: string;

  private constructor(markup: string) {
    this.#markup = markup;
  }

  /** For {@link html} alone. */
  static fromTemplate(parts: TemplateStringsArray, values: readonly HtmlValue[]): Html {
    const contexts = contextsOf(parts);
    let markup = parts[0] ?? '';
    for (const [index, value] of values.entries()) {
      markup += Html.#render(value, contexts[index] ?? { kind: 'text' }) + (parts[index + 1] ?? '');
    }
    return new Html(markup);
  }

  static #render(value: HtmlValue, context: HtmlContext): string {
    if (value instanceof Flag) {
      if (context.kind === 'tag') return value.on ? value.name : '';
    } else if (context.kind === 'text') {
      if (value === undefined) return '';
      if (value instanceof Html) return value.#markup;
      if (Array.isArray(value)) return value.map((entry) => Html.#render(entry, context)).join('');
      return escapeMarkup(visibleText(String(value)));
    } else if (context.kind === 'attribute' && (typeof value === 'string' || typeof value === 'number')) {
      return escapeMarkup(attributeText(context.name, String(value)));
    }
    throw new TypeError(`this value cannot stand here in a template (${context.kind})`);
  }

  toString(): string {
    return this.#markup;
  }
}

type FlagName = 'autofocus' | 'checked' | 'hidden' | 'open' | 'selected';

/** An attribute without a value, there or not. */
export class Flag {
  readonly name: FlagName;
  readonly on: boolean;

  constructor(name: FlagName, on: boolean) {
    this.name = name;
    this.on = on;
  }
}

export type HtmlValue = string | number | Html | Flag | undefined | readonly (string | Html)[];

/**
 * Template tag for markup. Strings are escaped for where they stand: in text also freed of control characters, in
 * `href`, `src` and `action` replaced by `#` unless they are a path or a web address. `undefined` gives nothing.
 * @throws TypeError for a template that cannot be made safe, which is a mistake in our source
 */
export function html(parts: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return Html.fromTemplate(parts, values);
}

export function flag(name: FlagName, on: boolean): Flag {
  return new Flag(name, on);
}

const knownContexts = new WeakMap<TemplateStringsArray, HtmlContext[]>();

function contextsOf(parts: TemplateStringsArray): HtmlContext[] {
  const known = knownContexts.get(parts);
  if (known !== undefined) return known;
  const contexts = findContexts(parts);
  knownContexts.set(parts, contexts);
  return contexts;
}

function attributeText(name: string, value: string): string {
  if (name !== 'href' && name !== 'src' && name !== 'action') return value;
  return isWebAddress(value) ? value : '#';
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};

function escapeMarkup(text: string): string {
  return text.replaceAll(/[&<>"'`]/g, (character) => ENTITIES[character] ?? '');
}
