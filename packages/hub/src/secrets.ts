import { MetalhubError } from '@metalhub/base/errors.js';
import { readCredential, readCredentialText } from '@metalhub/systemd/credentials.js';
import { loadTicketKeys, type TicketKeys } from './tickets/ticket-keys.js';

const MIN_KEY_BYTES = 32;

export interface Secrets {
  ticketKeys: TicketKeys;
  serverTokenKey: Buffer;
  cookieKey: Buffer;
}

/** Reads what systemd handed over with `LoadCredential=`. @throws {MH_ERR_SYSTEMD_CREDENTIAL} */
export async function readSecrets(): Promise<Secrets> {
  return {
    ticketKeys: await loadTicketKeys(readCredential('ticket-key')),
    serverTokenKey: readKey('server-token-key'),
    cookieKey: readKey('cookie-key'),
  };
}

/** A line of base64url. */
function readKey(name: string): Buffer {
  const key = Buffer.from(readCredentialText(name), 'base64url');
  if (key.length >= MIN_KEY_BYTES) return key;
  throw new MetalhubError('MH_ERR_SYSTEMD_CREDENTIAL', {
    details: { name, reason: `it is shorter than ${MIN_KEY_BYTES} bytes` },
    hint: `delete /etc/metalhub/secrets/${name}, then: dpkg-reconfigure metalhub`,
  });
}
