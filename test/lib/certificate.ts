import { once } from 'node:events';
import { connect, type PeerCertificate } from 'node:tls';
import type { Machine } from './machine.js';

/** The name that the certificates are for. */
export const HOST = 'hub.example.org';
/** Where certbot keeps the certificates of a name. */
export const LIVE = `/etc/letsencrypt/live/${HOST}`;
const ARCHIVE = `/etc/letsencrypt/archive/${HOST}`;

export interface CertificateOptions {
  /** Days from now; negative: expired. */
  readonly days?: number;
  readonly name?: string;
}

/**
 * Renews the certificate as certbot does: new files beside the old ones, then each link is replaced.
 * @returns its serial number
 */
export async function renew(machine: Machine, number: number, options: CertificateOptions = {}): Promise<string> {
  const { days = 90, name = HOST } = options;
  const files = `-keyout ${ARCHIVE}/privkey${number}.pem -out ${ARCHIVE}/fullchain${number}.pem`;
  const names = `DNS:${name},DNS:localhost,IP:127.0.0.1`;
  const dates =
    days >= 0
      ? `-days ${days}`
      : `-not_before 20200101000000Z -not_after "$(date -u -d '${days} days' +%Y%m%d%H%M%SZ)"`;
  await machine.shell(`
    install -d -m 0700 ${ARCHIVE} ${LIVE}
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes ${dates} -subj /CN=${name} \\
      -addext subjectAltName=${names} ${files} 2>/dev/null
    chmod 600 ${ARCHIVE}/privkey${number}.pem`);
  await link(machine, number);
  const text = await machine.run(['openssl', 'x509', '-noout', '-serial', '-in', `${LIVE}/fullchain.pem`]);
  return text.trim().replace('serial=', '');
}

export async function link(machine: Machine, number: number): Promise<void> {
  await machine.shell(`
    for file in privkey fullchain; do
      rm -f ${LIVE}/$file.pem
      ln -s ${ARCHIVE}/"$file"${number}.pem ${LIVE}/$file.pem
    done`);
}

/** The certificate that a new connection to a port of this machine is shown. */
export async function shown(port: number): Promise<PeerCertificate> {
  const socket = connect({ port, host: '127.0.0.1', servername: HOST, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const certificate = socket.getPeerCertificate();
  socket.destroy();
  return certificate;
}

/** @param serial of the certificate. @throws it is not in use after three minutes */
export async function untilShown(port: number, serial: string): Promise<void> {
  for (let tries = 0; tries < 900; tries++) {
    if ((await shown(port)).serialNumber === serial) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`certificate ${serial} does not come into use`);
}
