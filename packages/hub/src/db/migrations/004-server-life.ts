/** Why the hub ended a server, and what it may use for a time. */
export const serverLife = `
  ALTER TABLE servers ADD COLUMN own_end TEXT;

  -- Limits that an administrator has given a server for a time; without until_ms for as long as it runs.
  CREATE TABLE limit_grants (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    limits TEXT NOT NULL,
    -- Of the start it was given to.
    start_id TEXT NOT NULL,
    until_ms INTEGER,
    PRIMARY KEY (user_id, name)
  ) STRICT;
`;
