import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

export interface AtomicWriteOptions {
  /** Permission bits of the new file, whatever the umask is. */
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * Replaces a file so that a reader, also one after a power cut, finds either the old content or the new one.
 *
 * Two concurrent writers do not mix; the last rename wins. A symbolic link at `path` is replaced, not followed.
 *
 * @throws the system error of the step that failed; the old file is then untouched
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  options: AtomicWriteOptions,
): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  // Opened 0600: the content is nobody's to read before owner and mode are right.
  const file = await open(temporary, 'wx', 0o600);
  try {
    await fillAndClose(file, data, options);
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  await syncDirectory(directory);
}

/** Makes renames and removals in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function fillAndClose(file: FileHandle, data: string | Uint8Array, options: AtomicWriteOptions): Promise<void> {
  try {
    await file.writeFile(data);
    // The owner first: changing it would clear setuid and setgid bits of the mode.
    if (options.uid !== undefined || options.gid !== undefined) await file.chown(options.uid ?? -1, options.gid ?? -1);
    await file.chmod(options.mode);
    await file.sync();
  } finally {
    await file.close();
  }
}
