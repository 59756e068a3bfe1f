import { type IncomingMessage, request } from 'node:http';
import { request as secureRequest } from 'node:https';
import { isIP } from 'node:net';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { basePath } from '@metalhub/config/base-path.js';
import type { Config } from '@metalhub/config/schema.js';
import { findConfig } from '../find-config.js';
import { type Check, type Finding, failed, ok } from './check.js';

/** The way of a visitor's request: proxy, then hub. */
export const checkPublicAddress: Check = async () => {
  const config = findConfig();
  if (config === undefined) return [];
  return Promise.all(config.proxy.listen.map((address) => checkAddress(address, config)));
};

async function checkAddress(address: string, config: Config): Promise<Finding> {
  const subject = `address ${address}`;
  const colon = address.lastIndexOf(':');
  const host = address
    .slice(0, colon)
    .replace(/^\[|\]$/g, '')
    .replace(/^0\.0\.0\.0$/, '127.0.0.1');
  try {
    const status = await getStatus(host, Number(address.slice(colon + 1)), config);
    if (status === 200) return ok(subject, 'answers, and so does the hub behind it');
    return failed(subject, `the hub's health page answers ${status}`, 'journalctl -u hub -u hub-proxy -n 20');
  } catch (error) {
    return failed(subject, errorText(error), 'hubctl apply, then systemctl start hub-proxy.socket');
  }
}

/** Whose certificate it is, is looked at elsewhere. */
function getStatus(host: string, port: number, { public_url, tls: { cert_file } }: Config): Promise<number> {
  const publicUrl = new URL(public_url);
  const path = `${basePath(public_url)}/hub/health`;
  const options = { host, port, path, headers: { host: publicUrl.host }, timeout: 10_000, agent: false } as const;
  return new Promise((resolve, reject) => {
    const take = (response: IncomingMessage): void => {
      response.resume();
      resolve(response.statusCode ?? 0);
    };
    const tls = { rejectUnauthorized: false, servername: serverName(publicUrl) };
    const sent = cert_file !== '' ? secureRequest({ ...options, ...tls }, take) : request(options, take);
    sent.on('timeout', () => sent.destroy(new Error('no answer within 10 s')));
    sent.on('error', reject);
    sent.end();
  });
}

/** An address is no name to ask for in TLS, with a port or in brackets as little as without. */
export function serverName({ hostname }: URL): string {
  return isIP(hostname.replace(/^\[|\]$/g, '')) === 0 ? hostname : '';
}

export const checkHub: Check = async ({ admin }) => {
  try {
    const status = (await admin.get('/admin/status')) as { proxy: { reachable: boolean; error?: string } };
    const findings = [ok('hub', 'answers')];
    if (status.proxy.reachable && status.proxy.error === undefined) return [...findings, ok('hub to proxy', 'answers')];
    return [...findings, failed('hub to proxy', status.proxy.error ?? 'no answer', 'journalctl -u hub-proxy -n 20')];
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    return [failed('hub', error.message, error.hint ?? 'journalctl -u hub -n 20')];
  }
};
