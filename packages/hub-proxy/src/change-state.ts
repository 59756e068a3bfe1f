import type { LiveState } from './live-state.js';
import type { Change } from './state-changes.js';
import type { ChangeKind, StateStore } from './state-store.js';
import type { Supervisor } from './supervisor.js';

/**
 * Changes the state on the disk and in all generations; without a change nothing is written or sent. What takes something
 * away the generations get even when it cannot be written.
 *
 * @returns whether anything changed
 * @throws as {@link StateStore.update}
 */
export async function changeState(
  { store, supervisor }: { readonly store: StateStore; readonly supervisor: Supervisor },
  make: (state: LiveState) => Change | undefined,
  kind: ChangeKind = 'allow',
): Promise<boolean> {
  let isChanged: boolean;
  try {
    isChanged = await store.update(make, kind);
  } catch (error) {
    if (kind === 'take away') await supervisor.pushState();
    throw error;
  }
  // Who made the same change a moment ago may still be sending it.
  await (isChanged ? supervisor.pushState() : supervisor.pushed());
  return isChanged;
}
