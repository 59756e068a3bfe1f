/** The Python of a profile, override or option: that of its environment, when it names one. */
export function pythonOf<P extends string | undefined>(environment: string | undefined, python: P): P | string {
  return environment ? `${environment.replace(/\/+$/, '')}/bin/python` : python;
}
