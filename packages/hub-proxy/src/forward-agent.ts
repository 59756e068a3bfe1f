import { Agent, type ClientRequestArgs } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Opens a connection for each request that {@link HubForward} sends on, and closes it when the visitor goes away: the
 * library does so only once there is an answer. Until then a service would compute for nobody.
 */
export class ForwardAgent extends Agent {
  /** Whose request it is, by its header fields: all that the library lets through of it. */
  readonly #visitors = new WeakMap<object, Duplex>();

  constructor() {
    super({ keepAlive: false });
  }

  /** @param fields the very object that is given to the library */
  bind(fields: object, visitor: Duplex): void {
    this.#visitors.set(fields, visitor);
  }

  override createConnection(
    options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    const visitor = this.#visitors.get(options.headers ?? {});
    // A second attempt, for which it is too late. Whoever asked for the connection listens to it a moment later.
    if (visitor?.destroyed === true) {
      const none = new Socket();
      setImmediate(() => none.destroy());
      return none;
    }
    const connection = super.createConnection(options, callback);
    visitor?.once('close', () => connection?.destroy());
    return connection;
  }
}
