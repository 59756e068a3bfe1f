/**
 * The mount points in the text of /proc/self/mountinfo.
 * @see proc_pid_mountinfo(5), whose octal escapes are undone
 */
export function parseMountPoints(mountInfo: string): Set<string> {
  const points = new Set<string>();
  for (const line of mountInfo.split('\n')) {
    const point = line.split(' ')[4];
    if (point !== undefined)
      points.add(
        point.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8))),
      );
  }
  return points;
}
