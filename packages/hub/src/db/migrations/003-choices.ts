/** Servers of before have chosen nothing. */
export const choices = `
  -- What was chosen in each profile at its last start: JSON, {"profile": {"choice": "option"}}.
  ALTER TABLE servers ADD COLUMN choices TEXT NOT NULL DEFAULT '{}';
`;
