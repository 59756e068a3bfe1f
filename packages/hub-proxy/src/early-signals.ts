/**
 * Imported first: from here on no signal that asks for something ends the process by default, long before there is anybody
 * to answer it. Loading the rest of the program takes a few hundred milliseconds.
 */
const seen = new Set<NodeJS.Signals>();
const NOTED = ['SIGHUP', 'SIGWINCH', 'SIGUSR2'] as const;

const note = (signal: NodeJS.Signals): void => void seen.add(signal);

// A stop that ends everything is followed by SIGTERM; SIGTERM alone leaves nothing undone.
const leave = (): void => {
  if (!seen.has('SIGUSR2') && !seen.has('SIGWINCH')) process.exit(0);
};

for (const signal of NOTED) process.on(signal, note);
process.on('SIGTERM', leave);

/** What came so far, to be answered now; from here on the caller's own handlers are the only ones. */
export function takeEarlySignals(): ReadonlySet<NodeJS.Signals> {
  for (const signal of NOTED) process.off(signal, note);
  process.off('SIGTERM', leave);
  return seen;
}
