import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SPAWNER_CONFIG = '/usr/lib/metalhub/hub-spawner-config.cjs';
/** As shipped it is 1.5; without the sandbox a unit with `DynamicUser=` has about 8. */
export const EXPOSURE_LIMIT = 2;

/** How much of the system a profile's servers could reach, 0 to 10, as `systemd-analyze security` says. */
export interface Exposure {
  /** Also `profile/override` and `profile/choice/option`, where their sandbox is another. */
  readonly profile: string;
  readonly exposure: number;
}

/** Of each profile in the configuration; `undefined` when it cannot be found out. */
export function findExposures(): Exposure[] | undefined {
  const { status, stdout } = spawnSync(process.execPath, [SPAWNER_CONFIG, '--units'], { encoding: 'utf8' });
  if (status !== 0) return undefined;
  const units = JSON.parse(stdout) as Record<string, string>;
  const directory = mkdtempSync(join(tmpdir(), 'metalhub-exposure-'));
  try {
    return Object.entries(units).flatMap(([profile, text]) => {
      const file = join(directory, 'jupyter-profile.service');
      writeFileSync(file, text);
      const argv = ['security', '--offline=true', '--no-pager', file];
      const result = spawnSync('/usr/bin/systemd-analyze', argv, { encoding: 'utf8', env: { LC_ALL: 'C.UTF-8' } });
      const exposure = parseExposure(result.stdout ?? '');
      return exposure === undefined ? [] : [{ profile, exposure }];
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The number in the last line of its answer. */
export function parseExposure(text: string): number | undefined {
  const match = /Overall exposure level for \S+: ([0-9]+\.[0-9]+)/.exec(text);
  return match === null ? undefined : Number(match[1]);
}
