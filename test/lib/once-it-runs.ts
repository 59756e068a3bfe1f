/**
 * A caller to whom something happens before it has heard that its command runs gives up, with 125. Then it is tried again, with
 * a longer pause after the command's start, and another command line: the first one may still be ending.
 */
export async function onceItRuns<T extends { code: number }>(attempt: (pauseSec: number) => Promise<T>): Promise<T> {
  for (const pauseSec of [0.2, 1, 5]) {
    const result = await attempt(pauseSec);
    if (result.code !== 125) return result;
  }
  return await attempt(20);
}
