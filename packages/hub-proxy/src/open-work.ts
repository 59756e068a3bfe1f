/** Something that a removed route or a revoked session must end: a tunnel, or an answer still being sent. */
export interface OpenItem {
  readonly routeIdentity: string;
  readonly sessionId: string | undefined;
  readonly isTunnel: boolean;
  /** Called every few seconds: gives up what stands still. */
  checkStall?(nowMs: number): void;
  /** @param code WebSocket close code; anything but a tunnel is cut */
  close(code: number): void;
}

/** All that is under way in this worker. */
export class OpenWork {
  readonly #items = new Set<OpenItem>();

  /** @returns takes it out again */
  add(item: OpenItem): () => void {
    this.#items.add(item);
    return () => void this.#items.delete(item);
  }

  get tunnelCount(): number {
    let count = 0;
    for (const item of this.#items) if (item.isTunnel) count++;
    return count;
  }

  checkStalls(nowMs: number): void {
    for (const item of this.#items) item.checkStall?.(nowMs);
  }

  closeWhere(matches: (item: OpenItem) => boolean, code: number): number {
    const matching = [...this.#items].filter(matches);
    for (const item of matching) item.close(code);
    return matching.length;
  }

  /** Closes all tunnels one by one, evenly over the time given. */
  closeTunnelsWithin(milliseconds: number, code: number): void {
    const tunnels = [...this.#items].filter(({ isTunnel }) => isTunnel);
    for (const [index, tunnel] of tunnels.entries()) {
      const delayMs = Math.floor((milliseconds * index) / tunnels.length);
      setTimeout(() => tunnel.close(code), delayMs).unref();
    }
  }
}
