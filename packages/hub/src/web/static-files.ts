import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { FastifyInstance } from 'fastify';

export interface StaticFile {
  readonly body: Buffer;
  readonly type: string;
  readonly etag: string;
}

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
};

/** Reads all of them at once: an upgrade may replace the files while this process still serves its own pages. */
export function readStaticFiles(directory: string): Map<string, StaticFile> {
  const files = new Map<string, StaticFile>();
  for (const name of readdirSync(directory)) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const body = readFileSync(join(directory, name));
    files.set(name, { body, type, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"` });
  }
  return files;
}

export function addStaticRoutes(app: FastifyInstance, files: ReadonlyMap<string, StaticFile>): void {
  app.get<{ Params: { name: string } }>('/hub/static/:name', async (request, reply) => {
    const file = files.get(request.params.name);
    if (file === undefined) return reply.callNotFound();
    // Asked for again each time, answered by 304: after an upgrade no page meets an old style sheet.
    reply.header('cache-control', 'no-cache').header('etag', file.etag);
    const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
    if (known?.includes(file.etag) === true) return reply.code(304).send();
    return reply.type(file.type).send(file.body);
  });
}
