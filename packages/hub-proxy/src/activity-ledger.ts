import { join } from 'node:path';
import { list, object, type Shaped } from '@metalhub/base/shape.js';
import { routeActivityShape } from './generation-protocol.js';
import { MAX_ROUTES } from './proxy-state.js';
import { readRunFile, writeRunFile } from './run-file.js';

const FILE = 'activity.json';
const fileShape = object({ activity: list(routeActivityShape, MAX_ROUTES + 1) });

type RouteActivity = Shaped<typeof routeActivityShape>;

/** When each route was last used, by generations that have ended, too. It outlives the supervisor in a file below /run. */
export class ActivityLedger {
  readonly #file: string;
  /** By the route's key, milliseconds since the epoch. */
  readonly #lastMs = new Map<string, number>();

  constructor(directory: string) {
    this.#file = join(directory, FILE);
  }

  load(): void {
    this.note(readRunFile(this.#file, fileShape)?.activity ?? []);
  }

  save(): void {
    writeRunFile(this.#file, { activity: [...this.#lastMs].map(([prefix, last_ms]) => ({ prefix, last_ms })) });
  }

  /** The newest time counts. */
  note(activity: readonly RouteActivity[]): void {
    for (const { prefix, last_ms } of activity) {
      if (last_ms > (this.#lastMs.get(prefix) ?? -1)) this.#lastMs.set(prefix, last_ms);
    }
  }

  find(key: string): number | undefined {
    return this.#lastMs.get(key);
  }

  forget(key: string): void {
    this.#lastMs.delete(key);
  }

  keepOnly(isThere: (key: string) => boolean): void {
    for (const key of this.#lastMs.keys()) if (!isThere(key)) this.#lastMs.delete(key);
  }
}
