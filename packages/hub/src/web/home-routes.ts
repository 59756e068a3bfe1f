import { parseServerName } from '@metalhub/base/names.js';
import { optional, text } from '@metalhub/base/shape.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { OfferedProfile } from '@metalhub/config/profile-access.js';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { HubContext } from '../context.js';
import { encodeUserName, findServerAddress } from '../names/server-url.js';
import type { WantedProfile } from '../servers/profiles.js';
import { isAtRest } from '../servers/server-state.js';
import type { UserServer } from '../servers/user-server.js';
import { findNextPath, nextQuery } from './next-url.js';
import { renderHomePage } from './pages/home-page.js';
import { renderPendingPage } from './pages/pending-page.js';
import { choiceField, hasChoice } from './pages/server-parts.js';
import { renderSpawnPage } from './pages/spawn-page.js';
import { profileViews, serverView } from './server-view.js';
import { findVisitor, readForm, requireOwnForm, requireVisitor, type Visitor } from './visitor.js';

const serverFields = { server: optional(text({ max: 100 })), next: optional(text({ max: 8192 })) };
const profileField = optional(text({ min: 1, max: 63 }));
/** Most servers end within this; for the others the home page shows that they are about to. */
const STOP_PATIENCE_MS = 5 * SECOND_MS;

/** Of requests that nobody made by hand: home.js sends it. Sec-Fetch-Dest would say so only over TLS. */
const REFRESH_FIELD = 'x-refresh';

interface NextQuery {
  Querystring: { next?: unknown; server?: unknown; new?: unknown };
}

export function addHomeRoutes(app: FastifyInstance, context: HubContext): void {
  app.get('/', async (_request, reply) => reply.redirect(`${context.base()}/hub/`, 302));
  app.get('/hub', async (_request, reply) => reply.redirect(`${context.base()}/hub/`, 301));

  app.get('/hub/', async (request, reply) => {
    const visitor = await findVisitor(context, request);
    return reply.redirect(`${context.base()}${visitor === undefined ? '/hub/login' : '/hub/home'}`, 302);
  });

  app.get('/hub/home', async (request, reply) => {
    const visitor = await requireVisitor(context, request, reply);
    if (visitor === undefined) return reply;
    const { user, csrfToken } = visitor;
    const servers = context.servers.listOf(user);
    const isRefresh = request.headers[REFRESH_FIELD] !== undefined;
    // An open page that asks for itself again and again would keep hub-spawner there for ever.
    if (!isRefresh) for (const server of servers) context.servers.expectStart(server);
    const newServers = Math.max(0, context.config().server.named_limit - servers.length + 1);
    // What is offered matters for what can be started only, and may have to be asked of a directory. A page that is there
    // takes no more than the servers of this one.
    const isAsked = servers.some(({ state }) => isAtRest(state)) || (newServers > 0 && !isRefresh);
    const profiles = isAsked ? await context.profiles.of(user) : [];
    const views = servers.map((server) => serverView(server, context.config(), profiles, context.clock.nowMs()));
    return reply.type('text/html').send(
      renderHomePage({
        base: context.base(),
        user: user.name,
        isAdmin: user.isAdmin,
        csrfToken,
        servers: views,
        hasChoice: hasChoice(profiles),
        newServers,
      }),
    );
  });

  app.get<NextQuery>('/hub/spawn', async (request, reply) => {
    const visitor = await requireVisitor(context, request, reply);
    if (visitor === undefined) return reply;
    const { server: name = '', new: isNew } = request.query;
    const server =
      isNew !== undefined && typeof name === 'string'
        ? context.servers.preview(visitor.user, name)
        : context.servers.get(visitor.user, parseServerName(name));
    const next = findNextPath(request.query.next, context.base());
    if (server.state.phase === 'ready') return reply.redirect(next ?? server.path, 303);
    if (server.state.phase === 'spawn') return reply.redirect(pendingPath(context, server, next), 303);
    context.servers.expectStart(server);
    return await showSpawnPage(context, reply, visitor, server, next);
  });

  app.post('/hub/spawn', async (request, reply) => {
    const visitor = await requireVisitor(context, request, reply, `${context.base()}/hub/home`);
    if (visitor === undefined) return reply;
    requireOwnForm(context, request, visitor);
    const offered = await context.profiles.of(visitor.user);
    const fields = readForm(request.body, { ...serverFields, profile: profileField, ...choiceFields(offered) });
    const server = await context.servers.startOwn(visitor.user, fields.server ?? '', wantedOf(fields, offered));
    return reply.redirect(pendingPath(context, server, findNextPath(fields.next, context.base())), 303);
  });

  app.post('/hub/delete', async (request, reply) => {
    const visitor = await requireVisitor(context, request, reply, `${context.base()}/hub/home`);
    if (visitor === undefined) return reply;
    requireOwnForm(context, request, visitor);
    const fields = readForm(request.body, serverFields);
    await context.servers.remove(context.servers.get(visitor.user, parseServerName(fields.server ?? '')));
    return reply.redirect(`${context.base()}/hub/home`, 303);
  });

  app.post('/hub/stop', async (request, reply) => {
    const visitor = await requireVisitor(context, request, reply, `${context.base()}/hub/home`);
    if (visitor === undefined) return reply;
    requireOwnForm(context, request, visitor);
    const fields = readForm(request.body, serverFields);
    const server = context.servers.get(visitor.user, parseServerName(fields.server ?? ''));
    await stopWithin(server, STOP_PATIENCE_MS);
    return reply.redirect(`${context.base()}/hub/home`, 303);
  });

  app.get<NextQuery>('/hub/spawn-pending/*', async (request, reply) => {
    const visitor = await requireVisitor(context, request, reply);
    if (visitor === undefined) return reply;
    const path = request.url.split('?', 1)[0] ?? '';
    const address = findServerAddress(path.replace('/hub/spawn-pending/', '/user/'));
    if (address?.name !== visitor.user.name) return reply.callNotFound();
    const server = context.servers.get(visitor.user, address.maybeServer);
    const next = findNextPath(request.query.next, context.base());
    if (server.state.phase === 'ready') return reply.redirect(next ?? server.path, 303);
    if (server.state.phase === 'stop') return reply.redirect(`${context.base()}/hub/home`, 303);
    if (server.state.phase === 'stopped') return await showSpawnPage(context, reply, visitor, server, next);
    const view = serverView(server, context.config(), [], context.clock.nowMs());
    const { user, csrfToken } = visitor;
    const page = { base: context.base(), user: user.name, csrfToken, server: view, next: next ?? '' };
    const pending = { ...page, progressUrl: progressPath(context, server), events: server.progress };
    return reply.type('text/html').send(renderPendingPage(pending));
  });
}

/** A field for each choice of each profile: a form carries those of all of them. */
function choiceFields(offered: readonly OfferedProfile[]): Record<string, typeof profileField> {
  const names = offered.flatMap(({ name, choices }) => choices.map((choice) => choiceField(name, choice.name)));
  return Object.fromEntries(names.map((name) => [name, profileField]));
}

/** The profile, and what was chosen in it; of one alone the form does not say its name. */
function wantedOf(
  fields: Readonly<Record<string, string | undefined>>,
  offered: readonly OfferedProfile[],
): WantedProfile {
  const [only] = offered;
  const profile = fields['profile'] ?? (offered.length === 1 ? only?.name : undefined);
  const chosen = offered.find(({ name }) => name === profile);
  const choices = Object.fromEntries(
    (chosen?.choices ?? []).flatMap(({ name }) => {
      const option = fields[choiceField(profile ?? '', name)];
      return option === undefined ? [] : [[name, option]];
    }),
  );
  return { profile, choices };
}

async function showSpawnPage(
  context: HubContext,
  reply: FastifyReply,
  { user, csrfToken }: Visitor,
  server: UserServer,
  next: string | undefined,
): Promise<FastifyReply> {
  const offered = await context.profiles.of(user);
  const page = {
    base: context.base(),
    user: user.name,
    csrfToken,
    next: next ?? '',
    server: serverView(server, context.config(), offered, context.clock.nowMs()),
    profiles: profileViews(server, offered),
  };
  return reply.type('text/html').send(renderSpawnPage(page));
}

export function pendingPath(context: HubContext, server: UserServer, next: string | undefined): string {
  const name = server.name === '' ? '' : `/${server.name}`;
  return `${context.base()}/hub/spawn-pending/${encodeUserName(server.user.name)}${name}${nextQuery(next)}`;
}

function progressPath(context: HubContext, server: UserServer): string {
  const user = `${context.base()}/hub/api/users/${encodeUserName(server.user.name)}`;
  return server.name === '' ? `${user}/server/progress` : `${user}/servers/${server.name}/progress`;
}

/** @throws {MetalhubError} it failed within the time */
async function stopWithin(server: UserServer, milliseconds: number): Promise<void> {
  const stopped = server.stop();
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  // A failure that comes later is logged by the server itself.
  stopped.catch(() => undefined);
  await Promise.race([stopped, enough]);
  clearTimeout(timer);
}
