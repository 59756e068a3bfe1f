/** Times are milliseconds since the epoch. Never edited after a release: later changes are further migrations. */
export const init = `
  CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    login_method TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    admin INTEGER NOT NULL CHECK (admin IN (0, 1)),
    created_ms INTEGER NOT NULL,
    last_login_ms INTEGER,
    -- A name stands alone in URLs: the same name from another login method is refused, not mixed up.
    UNIQUE (name)
  ) STRICT;

  CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    secret_hash BLOB NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    address TEXT NOT NULL
  ) STRICT;
  CREATE INDEX sessions_by_user ON sessions (user_id);
  CREATE INDEX sessions_by_expiry ON sessions (expires_ms);

  -- Sessions that ended while tickets made from them may still be valid; pushed to the proxy.
  CREATE TABLE revocations (
    session_id TEXT PRIMARY KEY,
    until_ms INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE servers (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    profile TEXT NOT NULL,
    -- Set while the server is wanted; its token is derived from it.
    start_id TEXT,
    requested_ms INTEGER,
    started_ms INTEGER,
    failure TEXT,
    PRIMARY KEY (user_id, name)
  ) STRICT;

  -- Addresses from which a user has logged in before: those stay usable while others guess at the name.
  CREATE TABLE login_sources (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, address)
  ) STRICT;

  -- Penalties of failed logins over a restart; subjects are hashes.
  CREATE TABLE penalties (
    scope TEXT NOT NULL,
    subject TEXT NOT NULL,
    remaining_ms INTEGER NOT NULL,
    enforced INTEGER NOT NULL CHECK (enforced IN (0, 1)),
    stored_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, subject)
  ) STRICT;
`;
