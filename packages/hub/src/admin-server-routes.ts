import { parseServerName } from '@metalhub/base/names.js';
import { integer, nullable, object, optional, text } from '@metalhub/base/shape.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { serverLimitsShape } from '@metalhub/wire/spawner.js';
import type { FastifyInstance } from 'fastify';
import type { HubContext } from './context.js';
import type { User } from './db/tables/users.js';
import { type ServerReport, serverReport } from './web/admin-reports.js';
import { readShape } from './web/visitor.js';

const MAX_FOR_SEC = 366 * 24 * 3600;
const which = { user: text({ min: 1, max: 256 }), server: optional(text({ max: 31 })) };
/** `null` for limits gives back. */
const limitBody = object({
  ...which,
  limits: nullable(serverLimitsShape),
  for_sec: nullable(integer(1, MAX_FOR_SEC)),
});

/** What administrators change of servers that run. */
export function addAdminServerRoutes(
  app: FastifyInstance,
  context: HubContext,
  getUser: (name: string) => Promise<User>,
): void {
  app.post('/admin/servers/limit', async (request): Promise<ServerReport> => {
    const { user, server: name, limits, for_sec } = readShape(limitBody, request.body);
    const server = context.servers.get(await getUser(user), parseServerName(name ?? ''));
    if (limits === null) await context.grants.takeBack(server);
    else await context.grants.give(server, limits, for_sec === null ? null : for_sec * SECOND_MS);
    return serverReport(server, context);
  });

  for (const [action, isFrozen] of [
    ['freeze', true],
    ['thaw', false],
  ] as const) {
    app.post(`/admin/servers/${action}`, async (request): Promise<ServerReport> => {
      const { user, server: name } = readShape(object(which), request.body);
      const server = context.servers.get(await getUser(user), parseServerName(name ?? ''));
      await context.servers.setFrozen(server, isFrozen);
      return serverReport(server, context);
    });
  }
}
