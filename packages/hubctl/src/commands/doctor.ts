import { errorText } from '@metalhub/base/errors.js';
import { connectManager, type Manager } from '@metalhub/systemd/manager.js';
import type { Command } from '../command.js';
import { print } from '../command.js';
import { checkLeases, checkUidRange } from '../doctor/accounts.js';
import { checkApi } from '../doctor/api.js';
import { type Check, type DoctorContext, type Finding, failed } from '../doctor/check.js';
import { checkFaillock } from '../doctor/faillock.js';
import { checkConfig, checkPamService, checkSecrets } from '../doctor/files.js';
import { checkJupyter } from '../doctor/jupyter.js';
import { checkDisk, checkHardLinks, checkNameService, checkSystemd } from '../doctor/machine.js';
import { checkHub, checkPublicAddress } from '../doctor/service.js';
import { checkTls } from '../doctor/tls.js';
import { checkSockets, checkUnits } from '../doctor/units.js';
import { printable } from '../output.js';

const CHECKS: readonly Check[] = [
  checkSystemd,
  checkNameService,
  checkHardLinks,
  checkConfig,
  checkUidRange,
  checkSecrets,
  checkTls,
  checkPamService,
  checkFaillock,
  checkUnits,
  checkSockets,
  checkHub,
  checkPublicAddress,
  checkApi,
  checkLeases,
  checkJupyter,
  checkDisk,
];

export const doctor: Command = {
  name: 'doctor',
  operands: [],
  summary: 'look for what keeps users from working, and say how to mend it',
  async run(context) {
    const manager = await findManager();
    try {
      const isRoot = process.getuid?.() === 0;
      const findings = await examine({ admin: context.admin, spawnerSocket: context.spawnerSocket, manager, isRoot });
      const bad = findings.filter(({ state }) => state === 'failed').length;
      print(context, { ok: bad === 0, findings }, () => describe(findings, bad));
      return bad === 0 ? 0 : 1;
    } finally {
      manager?.close();
    }
  },
};

async function findManager(): Promise<Manager | undefined> {
  try {
    return await connectManager();
  } catch {
    return undefined;
  }
}

async function examine(context: DoctorContext): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const check of CHECKS) {
    try {
      findings.push(...(await check(context)));
    } catch (error) {
      findings.push(
        failed(check.name, `could not be looked at: ${errorText(error)}`, 'journalctl -p warning -b -n 50'),
      );
    }
  }
  return findings;
}

const MARKS = { ok: 'ok     ', failed: 'FAILED ', warning: 'warning', skipped: 'skipped' } as const;

function describe(findings: readonly Finding[], bad: number): string {
  const lines = findings.flatMap(({ subject, state, text, fix }) => [
    `${MARKS[state]}  ${printable(subject)}: ${printable(text)}`,
    ...(fix === undefined ? [] : [`         → ${printable(fix)}`]),
  ]);
  return [...lines, bad === 0 ? 'Nothing is wrong.' : `${bad} of ${findings.length} checks failed.`].join('\n');
}
