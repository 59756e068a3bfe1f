/** Servers and logins of before have no base: public_url had no path. */
export const base = `
  -- Path of public_url when the server was last started: what it was told then it keeps until it ends.
  ALTER TABLE servers ADD COLUMN base TEXT NOT NULL DEFAULT '';
  -- The same when the session began: its cookie belongs there.
  ALTER TABLE sessions ADD COLUMN base TEXT NOT NULL DEFAULT '';
`;
