import type { Config, ProfileConfig } from '@metalhub/config/schema.js';
import { failureView } from '../servers/progress.js';
import { isAtRest } from '../servers/server-state.js';
import type { UserServer } from '../servers/user-server.js';
import type { ProfileView, ServerView } from './pages/views.js';

/** What the start page offers: the profile of the server's last start is chosen, or the first. */
export function profileViews(server: UserServer, profiles: readonly ProfileConfig[]): ProfileView[] {
  const chosen = chosenOf(server, profiles);
  return profiles.map((profile) => ({
    name: profile.name,
    title: profile.title,
    description: profile.description,
    isChosen: profile === chosen,
  }));
}

/** What pages show of a server. @param profiles what it may be started with */
export function serverView(server: UserServer, config: Config, profiles: readonly ProfileConfig[]): ServerView {
  const { state } = server;
  const profile = isAtRest(state)
    ? chosenOf(server, profiles)
    : config.profile.find(({ name }) => name === server.profile);
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

function chosenOf(server: UserServer, profiles: readonly ProfileConfig[]): ProfileConfig | undefined {
  return profiles.find(({ name }) => name === server.profile) ?? profiles[0];
}
