import { createHmac } from 'node:crypto';
import type { Key, ServerName } from '@metalhub/base/names.js';

/** Gives each start of a server its own token, which need not be stored: the start's id brings it back. */
export type ServerTokens = (key: Key, server: ServerName, startId: string) => string;

/** @returns 43 characters of base64url */
export function serverTokens(secret: Buffer): ServerTokens {
  return (key, server, startId) =>
    createHmac('sha256', secret).update(`${key}:${server}:${startId}`).digest('base64url');
}
