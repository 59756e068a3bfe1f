import type { ProgressEvent } from '../web/pages/views.js';
import { queuedEvent, type StartStage, stageEvent } from './progress.js';

export type ProgressListener = (event: ProgressEvent) => void;

/** The steps of one start and those who look on. */
export class ProgressFeed {
  readonly #listeners = new Set<ProgressListener>();
  #steps: ProgressEvent[] = [];

  /** Oldest first; at most one per stage. */
  get steps(): readonly ProgressEvent[] {
    return this.#steps;
  }

  begin(): void {
    this.#steps = [];
    this.step('requested');
  }

  step(stage: StartStage): void {
    // A start that is asked for again goes through its stages again; what is behind it has been said.
    if (this.#steps.some((event) => event.stage === stage)) return;
    this.#tell(stageEvent(stage));
  }

  /** How many starts come first; each time it replaces what was said before. */
  queued(ahead: number): void {
    const event = queuedEvent(ahead);
    this.#steps = this.#steps.filter(({ stage }) => stage !== event.stage);
    this.#tell(event);
  }

  #tell(event: ProgressEvent): void {
    this.#steps.push(event);
    for (const listener of this.#listeners) listener(event);
  }

  /** The last event of a start: nobody needs to look on any more. */
  finish(event: ProgressEvent): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener(event);
  }

  /** @returns the function that ends it */
  follow(listener: ProgressListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
