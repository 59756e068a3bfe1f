/** Which worker: the number of its generation, and its place in it. */
export interface WorkerName {
  readonly generation: number;
  /** From 0; a worker that replaces one that died takes the next. */
  readonly index: number;
}

const PATTERN = /^([1-9][0-9]{0,14})(?:\.([1-9][0-9]{0,8}))?\.sock$/;

/** `7.sock` for the first worker of generation 7, `7.2.sock` for its third. */
export function socketName({ generation, index }: WorkerName): string {
  return index === 0 ? `${generation}.sock` : `${generation}.${index}.sock`;
}

/** `undefined` for any other file. */
export function parseSocketName(file: string): WorkerName | undefined {
  const [, generation, index] = PATTERN.exec(file) ?? [];
  return generation === undefined ? undefined : { generation: Number(generation), index: Number(index ?? 0) };
}

/** The newest generation first. */
export function compareWorkers(a: WorkerName, b: WorkerName): number {
  return b.generation - a.generation || a.index - b.index;
}
