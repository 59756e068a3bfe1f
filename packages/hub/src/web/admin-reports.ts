import type { ServerLimits } from '@metalhub/wire/spawner.js';
import type { HubContext } from '../context.js';
import type { User } from '../db/tables/users.js';
import type { Choices } from '../servers/profiles.js';
import type { UserServer } from '../servers/user-server.js';

export interface ServerReport {
  user: string;
  key: string;
  /** `''` is the default server. */
  name: string;
  state: string;
  profile: string;
  /** What was chosen in it: names of options by the name of the choice. */
  choices: Choices;
  /** ISO 8601, UTC; null unless it runs. */
  started_at: string | null;
  url: string;
  unit: string;
  frozen: boolean;
  /** What an administrator has given it for a time; `until` is null for as long as it runs. */
  limits: (ServerLimits & { until: string | null }) | null;
  /** Why the hub has stopped it by itself. */
  ended: 'idle' | 'age' | null;
  failure: { code: string; message: string; hint: string | null } | null;
}

export interface UserReport {
  name: string;
  method: string;
  key: string;
  admin: boolean;
  created: string;
  last_login: string | null;
  server: { state: string; started_at: string | null } | null;
}

/** Bodies of the administrators' API. */
export function serverReport(server: UserServer, { config, grants }: HubContext): ServerReport {
  const { state, user } = server;
  const grant = grants.find(server);
  const failure = state.phase === 'failed' ? state.failure : undefined;
  return {
    user: user.name,
    key: user.key,
    name: server.name,
    state: state.phase,
    profile: server.profile,
    choices: server.remembered.choices[server.profile] ?? {},
    started_at: startedAt(server),
    url: `${new URL(config().public_url).origin}${server.path}`,
    unit: server.unit,
    frozen: server.isFrozen,
    limits: grant === undefined ? null : { ...grant.limits, until: isoTime(grant.untilMs) },
    ended: (state.phase === 'stopped' && state.own?.reason) || null,
    failure: failure === undefined ? null : { code: failure.code, message: failure.message, hint: failure.hint },
  };
}

export function userReport(user: User, server: UserServer | undefined): UserReport {
  return {
    name: user.name,
    method: user.loginMethod,
    key: user.key,
    admin: user.isAdmin,
    created: new Date(user.createdMs).toISOString(),
    last_login: user.lastLoginMs === null ? null : new Date(user.lastLoginMs).toISOString(),
    server: server === undefined ? null : { state: server.state.phase, started_at: startedAt(server) },
  };
}

function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

function startedAt({ state }: UserServer): string | null {
  return state.phase === 'ready' ? new Date(state.startedMs).toISOString() : null;
}
