import { WebSocket } from 'ws';
import { PUBLIC_URL } from './browser.js';
import type { Visitor } from './visitor.js';

/** A WebSocket of a visitor to a user's Jupyter server, through the proxy: its event stream. */
export class ServerEvents {
  readonly #socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** @param options.base address with https://, and the certificate that is trusted for it */
  static async open(
    visitor: Visitor,
    user: string,
    options: { base?: string; ca?: string } = {},
  ): Promise<ServerEvents> {
    const base = options.base ?? PUBLIC_URL;
    // Gets the ticket for the server, as the page around it does.
    const { response } = await visitor.navigate(`/user/${user}/api/status`);
    if (response.status !== 200) throw new Error(`the server of ${user} answers ${response.status}`);
    const path = `/user/${user}/api/events/subscribe`;
    const url = new URL(path, base.replace(/^http/, 'ws'));
    const { host, hostname } = url;
    // Only the machine itself knows its public name.
    url.hostname = '127.0.0.1';
    const headers = { cookie: visitor.cookieHeader(path), origin: base, host };
    const tls = options.ca === undefined ? {} : { ca: options.ca, servername: hostname };
    const socket = new WebSocket(url, { headers, ...tls });
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
