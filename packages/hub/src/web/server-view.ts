import type { Config } from '@metalhub/config/schema.js';
import { failureView } from '../servers/progress.js';
import type { UserServer } from '../servers/user-server.js';
import type { ServerView } from './pages/views.js';

/** What pages show of a server. */
export function serverView(server: UserServer, config: Config): ServerView {
  const { state } = server;
  const profile = config.profile.find(({ name }) => name === server.profile);
  return {
    name: server.name,
    state: state.phase,
    url: server.path,
    startedAtMs: state.phase === 'ready' ? state.startedMs : null,
    profileTitle: profile?.title ?? server.profile,
    profileDescription: profile?.description ?? '',
    ...(state.phase === 'failed' && { failure: failureView(state.failure) }),
  };
}
