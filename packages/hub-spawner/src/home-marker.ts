import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode } from '@metalhub/base/errors.js';
import type { Key } from '@metalhub/base/names.js';
import { integer, object, type Shaped, ShapeError, text } from '@metalhub/base/shape.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import type { HomeTop } from './home.js';

const MARKERS_DIRECTORY = '/var/lib/metalhub/spawner/homes';

const number = text({ pattern: /^[0-9]+$/, max: 24 });

const markerShape = object({
  /** Whose it was found to be. */
  uid: integer(1, 4_294_967_293),
  /** Which directory: one that was moved here or restored is another. */
  inode: number,
  born_ns: number,
  /** On the disk. */
  owner: integer(0, 4_294_967_295),
  /** Milliseconds since the epoch when the last complete pass over it began. */
  checked_at_ms: integer(0, Number.MAX_SAFE_INTEGER),
});
export type HomeMarker = Shaped<typeof markerShape>;

/** Says of each home that everything in it was seen to be its user's, and when. A pass that was interrupted leaves none. */
export interface HomeMarkers {
  find(key: Key): Promise<HomeMarker | undefined>;
  write(key: Key, marker: HomeMarker): Promise<void>;
  remove(key: Key): Promise<void>;
}

export function createHomeMarkers(directory: string = MARKERS_DIRECTORY): HomeMarkers {
  const pathOf = (key: Key): string => join(directory, `${key}.json`);
  return {
    async find(key) {
      try {
        return markerShape(JSON.parse(await readFile(pathOf(key), 'utf8')), '');
      } catch (error) {
        // A damaged one is none: then the home is looked at once more.
        if (systemErrorCode(error) === 'ENOENT' || error instanceof ShapeError || error instanceof SyntaxError) return;
        throw error;
      }
    },
    async write(key, marker) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await writeFileAtomic(pathOf(key), `${JSON.stringify(marker)}\n`, { mode: 0o600 });
    },
    async remove(key) {
      await rm(pathOf(key), { force: true });
    },
  };
}

export function markerOf(uid: number, top: HomeTop, checkedAtMs: number): HomeMarker {
  return { uid, inode: top.inode, born_ns: top.bornNs, owner: top.uid, checked_at_ms: checkedAtMs };
}

/** Whether it was written of this directory, in the state that it is in. */
export function fits({ inode, born_ns, owner, uid }: HomeMarker, top: HomeTop, leasedUid: number): boolean {
  return inode === top.inode && born_ns === top.bornNs && owner === top.uid && uid === leasedUid;
}
