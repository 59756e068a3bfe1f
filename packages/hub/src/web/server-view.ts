import type { OfferedChoice, OfferedProfile } from '@metalhub/config/profile-access.js';
import type { Config } from '@metalhub/config/schema.js';
import type { OwnEnd } from '../db/tables/servers.js';
import type { LifeSpan } from '../servers/life-span.js';
import { type Choices, chosenOption } from '../servers/profiles.js';
import { failureView } from '../servers/progress.js';
import { isAtRest } from '../servers/server-state.js';
import type { UserServer } from '../servers/user-server.js';
import type { ChoiceView, EndView, ProfileView, ServerView } from './pages/views.js';

/** What the start page offers: the profile of the server's last start is chosen, or the first. */
export function profileViews(server: UserServer, profiles: readonly OfferedProfile[]): ProfileView[] {
  const chosen = chosenOf(server, profiles);
  return profiles.map((profile) => ({
    name: profile.name,
    title: profile.title,
    description: profile.description,
    isChosen: profile === chosen,
    choices: profile.choices.map((choice) => choiceView(choice, server.remembered.choices[profile.name] ?? {})),
  }));
}

/** What pages show of a server. @param profiles what it may be started with */
export function serverView(
  server: UserServer,
  config: Config,
  profiles: readonly OfferedProfile[],
  nowMs: number,
): ServerView {
  const { state, lifeSpan: span } = server;
  const outOfMemoryMs = server.lastStatus?.out_of_memory_ms ?? null;
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
    isFrozen: server.isFrozen,
    ...(state.phase === 'failed' && { failure: failureView(state.failure) }),
    ...(state.phase === 'stopped' && state.own !== undefined && { ended: endView(state.own) }),
    ...(outOfMemoryMs !== null && state.phase === 'ready' && { outOfMemoryMs }),
    ...(span !== undefined && nowMs >= span.warnMs && { ending: spanView(span) }),
  };
}

function choiceView(choice: OfferedChoice, before: Choices): ChoiceView {
  const chosen = chosenOption(choice, before);
  const options = choice.options.map(({ name, title }) => ({ name, title, isChosen: name === chosen?.name }));
  return { name: choice.name, title: choice.title, options };
}

function chosenOf(server: UserServer, profiles: readonly OfferedProfile[]): OfferedProfile | undefined {
  return profiles.find(({ name }) => name === server.profile) ?? profiles[0];
}

function endView({ reason, at_ms: atMs, limit_sec: limitSec }: OwnEnd): EndView {
  return { reason, atMs, limitSec };
}

function spanView({ reason, endsMs: atMs, limitSec }: LifeSpan): EndView {
  return { reason, atMs, limitSec };
}
