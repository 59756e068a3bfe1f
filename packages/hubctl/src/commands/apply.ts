import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { loadConfig } from '@metalhub/config/load.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import { connectManager, type Manager } from '@metalhub/systemd/manager.js';
import type { JobOutcome } from '@metalhub/systemd/manager-jobs.js';
import type { Command } from '../command.js';
import { print } from '../command.js';
import { LISTEN_DROP_IN, listenDropIn } from '../listen-drop-in.js';

/** Reloaded in this order when active; what is not active reads the file when it starts. */
const RELOADED = ['hub-spawner.service', 'hub.service', 'hub-proxy.service'];

export const apply: Command = {
  name: 'apply',
  operands: [],
  summary: 'check the configuration and make it take effect',
  async run(context) {
    const config = loadConfig();
    if (process.getuid?.() !== 0) {
      throw new MetalhubError('MH_ERR_CLI_USAGE', { details: { reason: 'apply changes units: run it as root' } });
    }
    const manager = await connectManager();
    try {
      const done: string[] = [];
      if (await replaceDropIn(listenDropIn(config.proxy.listen))) {
        await manager.reloadConfiguration();
        // Takes the proxy along (Requires=), as a restart and not as a stop: open connections go on.
        await finishJob(manager.restartUnit('hub-proxy.socket', 'replace'));
        await finishJob(manager.startUnit('hub-proxy.service', 'replace'));
        done.push(`hub-proxy.socket listens on ${config.proxy.listen.join(', ')}`);
      }
      for (const unit of RELOADED) {
        if (!(await isActive(manager, unit))) continue;
        await finishJob(manager.reloadOrRestartUnit(unit, 'replace'));
        done.push(`reloaded ${unit}`);
      }
      print(context, { done }, () => done.join('\n'));
      return 0;
    } finally {
      manager.close();
    }
  },
};

/** @returns whether anything changed */
async function replaceDropIn(wanted: string | undefined): Promise<boolean> {
  const present = readIfThere(LISTEN_DROP_IN);
  if (present === wanted) return false;
  if (wanted === undefined) rmSync(LISTEN_DROP_IN);
  else {
    mkdirSync(dirname(LISTEN_DROP_IN), { recursive: true, mode: 0o755 });
    await writeFileAtomic(LISTEN_DROP_IN, wanted, { mode: 0o644 });
  }
  return true;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function isActive(manager: Manager, unit: string): Promise<boolean> {
  const [status] = await manager.listUnitsByPatterns([], [unit]);
  return status?.activeState === 'active';
}

async function finishJob(job: Promise<JobOutcome>): Promise<void> {
  const { unit, result } = await job;
  if (result === 'done') return;
  const hint = `see: journalctl -u ${unit} -n 20`;
  throw new MetalhubError('MH_ERR_SYSTEMD_JOB_FAILED', { details: { unit, result }, hint });
}
