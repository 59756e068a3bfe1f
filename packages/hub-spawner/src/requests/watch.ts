import type { EventOf } from '@metalhub/wire/protocol.js';
import type { RequestContext } from '@metalhub/wire/server.js';
import type { SpawnerRequests } from '@metalhub/wire/spawner.js';
import type { SpawnerContext } from '../context.js';

/** Tells of all servers, then of every change, until the caller is gone. */
export async function answerWatch(
  { watch }: SpawnerContext,
  { emit, signal }: RequestContext<EventOf<SpawnerRequests, 'Watch'>>,
): Promise<Record<string, never>> {
  await watch.refreshAll();
  // No pause between the snapshot and the listening, in which a change could be lost.
  for (const server of watch.list()) emit({ change: 'snapshot', server });
  emit({ change: 'snapshot-end', server: null });
  const stop = watch.listen((server) => emit({ change: 'changed', server }));
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  stop();
  return {};
}
