import { errorText } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import type { BusSignal } from './bus.js';
import { findUnitOfPath } from './escape.js';
import type { BusValue } from './variant.js';

/** Something happened to a unit. */
export interface UnitChange {
  readonly unit: string;
  /** `loaded` and `unloaded` are about systemd's memory (UnitNew, UnitRemoved), not about running. */
  readonly kind: 'loaded' | 'unloaded' | 'changed';
  /**
   * With `changed`: the changed properties of the interface `org.freedesktop.systemd1.Unit` (`ActiveState`,
   * `SubState`, `InvocationID` …). Those of `…Service` are not watched; ask for them.
   */
  readonly properties: Readonly<Record<string, BusValue>>;
}

export type UnitListener = (change: UnitChange) => void;

export interface UnitEvents {
  /** @param pattern as in `systemctl list-units`, with `*` and `?` only */
  add(pattern: string, listener: UnitListener): () => void;
  /** Takes every signal of systemd's. */
  dispatch(signal: BusSignal): void;
}

export function createUnitEvents(log: Log | undefined): UnitEvents {
  const listeners = new Set<{ matches: RegExp; listener: UnitListener }>();

  function add(pattern: string, listener: UnitListener): () => void {
    const entry = { matches: globToRegExp(pattern), listener };
    listeners.add(entry);
    return () => listeners.delete(entry);
  }

  function dispatch(signal: BusSignal): void {
    const change = listeners.size === 0 ? undefined : unitChangeOf(signal);
    if (change === undefined) return;
    for (const { matches, listener } of [...listeners]) {
      if (!matches.test(change.unit)) continue;
      try {
        listener(change);
      } catch (error) {
        // A listener's bug must not take the connection along, which answers everybody else.
        log?.error('listener for unit changes failed', { unit: change.unit, err: error, reason: errorText(error) });
      }
    }
  }

  return { add, dispatch };
}

function unitChangeOf(signal: BusSignal): UnitChange | undefined {
  const { path, member, body } = signal;
  if (member === 'UnitNew' || member === 'UnitRemoved') {
    const [unit] = body;
    const kind = member === 'UnitNew' ? 'loaded' : 'unloaded';
    return typeof unit === 'string' ? { unit, kind, properties: {} } : undefined;
  }
  if (member !== 'PropertiesChanged') return undefined;
  const unit = findUnitOfPath(path);
  const properties = body[1];
  if (unit === undefined || !isDictionary(properties)) return undefined;
  return { unit, kind: 'changed', properties };
}

function isDictionary(value: BusValue | undefined): value is { readonly [key: string]: BusValue } {
  return typeof value === 'object' && !Array.isArray(value) && !Buffer.isBuffer(value);
}

function globToRegExp(pattern: string): RegExp {
  const source = pattern.replace(/[\\^$.*+?()[\]{}|]/g, (character) => {
    if (character === '*') return '.*';
    return character === '?' ? '.' : `\\${character}`;
  });
  return new RegExp(`^${source}$`, 's');
}
