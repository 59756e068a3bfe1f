import type { ServerResponse } from 'node:http';
import { MetalhubError } from '@metalhub/base/errors.js';

const MAX_STREAMS = 1024;
const MAX_PER_OWNER = 16;

/** Answers that stay open: bounded, and ended when the hub stops, so that their readers connect to the next one. */
export class StreamRegistry {
  readonly #owners = new Map<ServerResponse, string>();
  #isClosed = false;

  /**
   * To be asked before work is begun whose progress is to be shown.
   * @param owner who is bounded
   * @throws {MH_ERR_BUSY}
   */
  requireRoom(owner: string, most = MAX_PER_OWNER): void {
    const ofOwner = [...this.#owners.values()].filter((value) => value === owner).length;
    if (this.#isClosed || this.#owners.size >= MAX_STREAMS || ofOwner >= most) {
      throw new MetalhubError('MH_ERR_BUSY', { details: { reason: 'too many streams are open' } });
    }
  }

  /** @throws {MH_ERR_BUSY} */
  add(response: ServerResponse, owner: string, most = MAX_PER_OWNER): void {
    this.requireRoom(owner, most);
    this.#owners.set(response, owner);
    response.once('close', () => this.#owners.delete(response));
  }

  close(): void {
    this.#isClosed = true;
    for (const response of this.#owners.keys()) response.end();
  }
}
