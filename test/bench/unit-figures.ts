import type { Machine } from '../lib/machine.js';

/** Proportional set size in MB of all processes of the units. */
export async function memoryOf(machine: Machine, units: readonly string[]): Promise<number> {
  const script = `for unit in "$@"; do
    group=$(systemctl show --value --property=ControlGroup "$unit")
    [ -n "$group" ] || continue
    for pid in $(cat "/sys/fs/cgroup$group/cgroup.procs"); do cat "/proc/$pid/smaps_rollup"; done
  done | awk '/^Pss:/ { sum += $2 } END { print sum / 1000 }'`;
  return Number(await machine.run(['sh', '-c', script, 'sh', ...units]));
}

/** Milliseconds of CPU that the unit has used since it was started. */
export async function cpuOf(machine: Machine, unit: string): Promise<number> {
  const group = (await machine.run(['systemctl', 'show', '--value', '--property=ControlGroup', unit])).trim();
  const stat = await machine.readFile(`/sys/fs/cgroup${group}/cpu.stat`);
  return Number(/^usage_usec (\d+)/m.exec(stat)?.[1]) / 1000;
}
