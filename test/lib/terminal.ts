import { type IPty, spawn } from 'node-pty';
import type { Machine } from './machine.js';
import { projectFile } from './project.js';

const PATIENCE_MS = 60_000;

/** A program of the machine on a terminal, driven as a person at a keyboard would. */
export class TerminalProgram {
  readonly ended: Promise<number>;
  readonly #pty: IPty;
  #shown = '';
  #notify: () => void = () => undefined;

  constructor(machine: Machine, argv: readonly string[], size: { columns: number; rows: number }) {
    const { columns: cols, rows } = size;
    const words = ['exec', machine.name, '--', 'env', 'TERM=xterm-256color', ...argv];
    this.#pty = spawn(projectFile('scripts/machine'), words, { cols, rows });
    this.#pty.onData((text) => {
      this.#shown += text;
      this.#notify();
    });
    this.ended = new Promise((resolve) => {
      this.#pty.onExit(({ exitCode, signal }) =>
        resolve(signal === undefined || signal === 0 ? exitCode : 128 + signal),
      );
    });
  }

  /** Waits until that is shown; what was shown up to there is forgotten, and returned. */
  async see(pattern: RegExp): Promise<string> {
    const deadlineMs = Date.now() + PATIENCE_MS;
    for (;;) {
      const match = pattern.exec(this.#shown);
      if (match !== null) {
        const seen = this.#shown.slice(0, match.index + match[0].length);
        this.#shown = this.#shown.slice(seen.length);
        return seen;
      }
      const leftMs = deadlineMs - Date.now();
      if (leftMs <= 0) throw new Error(`nothing like ${pattern} on the terminal: ${JSON.stringify(this.#shown)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#notify = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  type(text: string): void {
    this.#pty.write(text);
  }

  resize(columns: number, rows: number): void {
    this.#pty.resize(columns, rows);
  }
}
