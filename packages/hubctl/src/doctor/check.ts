import type { Manager } from '@metalhub/systemd/manager.js';
import type { AdminClient } from '../admin-client.js';

export interface Finding {
  /** What was looked at, e.g. `unit hub.service`. */
  subject: string;
  state: 'ok' | 'failed' | 'warning' | 'skipped';
  /** What was seen, one line. */
  text: string;
  /** What to do about it; only when it is not ok. */
  fix?: string;
}

export interface DoctorContext {
  admin: AdminClient;
  spawnerSocket: string;
  /** `undefined` when systemd cannot be reached, which is a finding of its own. */
  manager: Manager | undefined;
  isRoot: boolean;
}

export type Check = (context: DoctorContext) => Promise<Finding[]>;

export function ok(subject: string, text: string): Finding {
  return { subject, state: 'ok', text };
}

export function failed(subject: string, text: string, fix: string): Finding {
  return { subject, state: 'failed', text, fix };
}

export function warning(subject: string, text: string, fix: string): Finding {
  return { subject, state: 'warning', text, fix };
}

export function skipped(subject: string, text: string): Finding {
  return { subject, state: 'skipped', text, fix: 'run hubctl doctor as root' };
}
