import type { FastifyInstance } from 'fastify';
import { JUPYTERHUB_VERSION } from './version.js';

/** What clients of JupyterHub ask first, before they show a token. No visitor's login is needed or looked at. */
export function addApiRoutes(app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    if (isApiPath(request.url)) reply.header('x-jupyterhub-version', JUPYTERHUB_VERSION);
  });
  for (const path of ['/hub/api', '/hub/api/']) app.get(path, async () => ({ version: JUPYTERHUB_VERSION }));
  for (const path of ['/hub/health', '/hub/api/health']) app.get(path, async (_request, reply) => reply.send(''));
}

/** Answers there are for programs: JSON, errors too. */
export function isApiPath(url: string): boolean {
  return /^\/hub\/api(?:[/?]|$)/.test(url);
}
