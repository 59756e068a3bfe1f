import type { Config } from '@metalhub/config/schema.js';
import { failureView } from '../servers/progress.js';
import type { UserServer } from '../servers/user-server.js';
import type { ServerView } from './pages/views.js';

/** What pages show of a server. */
export function serverView(server: UserServer, config: Config): ServerView {
  const { state, profile } = server;
  return {
    name: server.name,
    state: state.phase,
    url: server.path,
    startedAtMs: state.phase === 'ready' ? state.startedMs : null,
    profileTitle: config.profile.find(({ name }) => name === profile)?.title ?? profile,
    ...(state.phase === 'failed' && { failure: failureView(state.failure) }),
  };
}
