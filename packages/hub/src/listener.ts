import type { Server as HttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';

/** A connection that has sent nothing by then is not about to. */
const SILENT_MS = 1000;

/**
 * Accepts on a socket of systemd's and hands the connections to an HTTP server.
 *
 * The listening descriptor is not the HTTP server's, because closing that one ends connections on which a request may
 * be on its way. What is not accepted any more waits in the socket for the next process.
 */
export class Listener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(http: HttpServer) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      http.emit('connection', socket);
    });
  }

  /**
   * @param where an inherited descriptor, or for tests the path of a socket to make
   * @param maxConnections what comes beyond is closed at once
   */
  static async open(
    http: HttpServer,
    where: { fd: number } | { path: string },
    maxConnections?: number,
  ): Promise<Listener> {
    const listener = new Listener(http);
    if (maxConnections !== undefined) listener.#server.maxConnections = maxConnections;
    await new Promise<void>((resolve, reject) => {
      // Later errors concern one connection that could not be accepted.
      listener.#server.on('error', reject);
      listener.#server.listen(where, resolve);
    });
    return listener;
  }

  /** Accepts no more, lets the requests that are here be answered, and ends what is left at the deadline. */
  async drain(deadlineMs: number): Promise<void> {
    this.#server.close();
    const silent = setTimeout(() => {
      for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    }, SILENT_MS);
    let late: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      late = setTimeout(resolve, deadlineMs);
    });
    const ends = [...this.#sockets].map(
      (socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())),
    );
    await Promise.race([Promise.all(ends), deadline]);
    clearTimeout(silent);
    clearTimeout(late);
    for (const socket of this.#sockets) socket.destroy();
  }
}
