import { WebSocket } from 'ws';
import { PUBLIC_URL } from './browser.js';
import type { Visitor } from './visitor.js';

/** A WebSocket of a visitor to a user's Jupyter server, through the proxy: its event stream. */
export class ServerEvents {
  readonly #socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  static async open(visitor: Visitor, user: string): Promise<ServerEvents> {
    const path = `/user/${user}/api/events/subscribe`;
    const url = new URL(path, PUBLIC_URL.replace('http:', 'ws:'));
    const socket = new WebSocket(url, { headers: { cookie: visitor.cookieHeader(path), origin: PUBLIC_URL } });
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    socket.on('error', () => undefined);
    return new ServerEvents(socket);
  }

  /** Whether the other end still answers, within 5 s. */
  async answers(): Promise<boolean> {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), 5000);
      this.#socket.once('pong', () => {
        clearTimeout(timer);
        resolve(true);
      });
      this.#socket.ping();
    });
  }

  close(): void {
    this.#socket.close();
  }
}
