/** What a worker does with any connection, whatever is spoken on it. */
export interface OpenConnection {
  /** For a worker that ends: closes at once when nothing is under way. */
  closeIfIdle(): void;
  destroy(): void;
}
