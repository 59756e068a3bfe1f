import { createHash } from 'node:crypto';
import { constants, fstatSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { ShapeError } from '@metalhub/base/shape.js';
import { syncDirectory } from '@metalhub/systemd/files.js';
import { type Delta, deltaShape } from './proxy-state.js';

const SUM_CHARACTERS = 16;
const MODE = 0o600;

/** One line of the journal: a checksum, then the change in JSON. */
export function formatLine(delta: Delta): string {
  const text = JSON.stringify(delta);
  return `${checksum(text)} ${text}\n`;
}

export interface ReadJournal {
  readonly deltas: readonly Delta[];
  /** Bytes at the end without a line's end: of a write that a power loss cut off, which was never acknowledged. */
  readonly tornBytes: number;
}

/** @throws {ShapeError} a whole line is damaged */
export function readJournal(bytes: Buffer): ReadJournal {
  const deltas: Delta[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = bytes.indexOf(0x0a, at);
    if (end < 0) return { deltas, tornBytes: bytes.length - at };
    const delta = parseLine(bytes.toString('utf8', at, end));
    if (delta === undefined) throw new ShapeError(`journal: damaged at byte ${at}`);
    deltas.push(delta);
    at = end + 1;
  }
  return { deltas, tornBytes: 0 };
}

function parseLine(line: string): Delta | undefined {
  const text = line.slice(SUM_CHARACTERS + 1);
  if (line[SUM_CHARACTERS] !== ' ' || line.slice(0, SUM_CHARACTERS) !== checksum(text)) return undefined;
  try {
    return deltaShape(JSON.parse(text), 'change');
  } catch {
    return undefined;
  }
}

function notEnoughSpace(): Error {
  return Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
}

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, SUM_CHARACTERS);
}

/** The file that changes are appended to. */
export class JournalFile {
  readonly #path: string;
  #file: FileHandle | undefined;
  #size: number;

  /** @param size that is whole; what lies behind it is cut off */
  constructor(path: string, size: number) {
    this.#path = path;
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  /** False when somebody removed or replaced it: what is appended would be lost, or would lie behind nothing. */
  isInPlace(): boolean {
    try {
      const { ino, size } = statSync(this.#path);
      return size >= this.#size && (this.#file === undefined || fstatSync(this.#file.fd).ino === ino);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return this.#file === undefined && this.#size === 0;
      throw error;
    }
  }

  /** Resolves when the lines are on the disk, for which the file was opened (O_DSYNC). @throws the system error; then none of them counts */
  async append(lines: string): Promise<void> {
    const bytes = Buffer.from(lines);
    try {
      const file = await this.#open();
      const { bytesWritten } = await file.write(bytes, 0, bytes.length, this.#size);
      // On a disk that is just getting full the system writes what fits, and says no more than how much that was.
      if (bytesWritten < bytes.length) throw notEnoughSpace();
      this.#size += bytes.length;
    } catch (error) {
      // What was written of it must not be read again.
      await this.close();
      throw error;
    }
  }

  /** Empties it. */
  async clear(): Promise<void> {
    this.#size = 0;
    await this.close();
    await this.#open();
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => undefined);
  }

  async #open(): Promise<FileHandle> {
    if (this.#file !== undefined) return this.#file;
    const file = await open(this.#path, constants.O_CREAT | constants.O_RDWR | constants.O_DSYNC, MODE);
    try {
      await file.truncate(this.#size);
      await file.sync();
      await syncDirectory(dirname(this.#path));
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#file = file;
    return file;
  }
}
