import type { StallLimits } from './stall.js';

/** A client's connection; what of it a removed route or a revoked session must end is a tunnel, or an answer being sent. */
export interface OpenItem {
  /** Of the route that is used at the moment, `undefined` while none is. */
  readonly routeIdentity: string | undefined;
  readonly sessionId: string | undefined;
  readonly isTunnel: boolean;
  /** Called every few seconds: gives up what stands still. */
  checkStall?(nowMs: number, limits: StallLimits): void;
  /** @param code WebSocket close code; anything but a tunnel is cut */
  close(code: number): void;
}

/** All that is under way in this worker. */
export class OpenWork {
  readonly #items = new Set<OpenItem>();

  add(item: OpenItem): void {
    this.#items.add(item);
  }

  delete(item: OpenItem): void {
    this.#items.delete(item);
  }

  get tunnelCount(): number {
    let count = 0;
    for (const item of this.#items) if (item.isTunnel) count++;
    return count;
  }

  checkStalls(nowMs: number, limits: StallLimits): void {
    for (const item of this.#items) if (isUnderWay(item)) item.checkStall?.(nowMs, limits);
  }

  /** Looks at what is under way only. */
  closeWhere(matches: (item: OpenItem & { readonly routeIdentity: string }) => boolean, code: number): number {
    const matching = [...this.#items].filter((item) => isUnderWay(item) && matches(item));
    for (const item of matching) item.close(code);
    return matching.length;
  }

  /** Closes all tunnels one by one, evenly over the time given. */
  closeTunnelsWithin(milliseconds: number, code: number): void {
    const tunnels = [...this.#items].filter(({ isTunnel }) => isTunnel);
    for (const [index, tunnel] of tunnels.entries()) {
      const delayMs = Math.floor((milliseconds * index) / tunnels.length);
      setTimeout(() => tunnel.isTunnel && tunnel.close(code), delayMs).unref();
    }
  }
}

function isUnderWay(item: OpenItem): item is OpenItem & { readonly routeIdentity: string } {
  return item.routeIdentity !== undefined;
}
