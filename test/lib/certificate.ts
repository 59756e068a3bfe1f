import type { Machine } from './machine.js';

/** Where certbot keeps the certificates of a name. */
export const LIVE = '/etc/letsencrypt/live/hub.example.org';
const ARCHIVE = '/etc/letsencrypt/archive/hub.example.org';

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
  const { days = 90, name = 'hub.example.org' } = options;
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
