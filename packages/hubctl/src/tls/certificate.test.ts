import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MetalhubError } from '@metalhub/base/errors.js';
import t from 'tap';
import { checkCertificate, daysLeft } from './certificate.js';
import { installCertificate, isChanged } from './install.js';
import { tlsPathDropIn } from './path-drop-in.js';

const DAY_MS = 86_400_000;

interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** A chain of three made by openssl(1): root, intermediate, server; each for 30 days. */
function makeChain(directory: string): { server: Pair; intermediate: Pair; root: Pair } {
  const file = (name: string): string => join(directory, name);
  const run = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const read = (name: string): Pair => ({
    cert: readFileSync(file(`${name}.pem`), 'utf8'),
    key: readFileSync(file(`${name}.key`), 'utf8'),
  });
  run(
    'req',
    '-x509',
    ...key,
    '-days',
    '30',
    '-subj',
    '/CN=root',
    '-keyout',
    file('root.key'),
    '-out',
    file('root.pem'),
  );
  const sign = (name: string, issuer: string, extension: string): void => {
    writeFileSync(file(`${name}.ext`), extension);
    run('req', ...key, '-subj', `/CN=${name}`, '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`));
    const by = ['-CA', file(`${issuer}.pem`), '-CAkey', file(`${issuer}.key`), '-CAcreateserial', '-days', '30'];
    run(
      'x509',
      '-req',
      '-in',
      file(`${name}.csr`),
      ...by,
      '-extfile',
      file(`${name}.ext`),
      '-out',
      file(`${name}.pem`),
    );
  };
  sign('intermediate', 'root', 'basicConstraints=CA:TRUE\n');
  sign('server', 'intermediate', 'subjectAltName=DNS:hub.example.org\n');
  return { server: read('server'), intermediate: read('intermediate'), root: read('root') };
}

const directory = t.testdir();
const { server, intermediate, root } = makeChain(directory);
const now = Date.now();

function reasonOf(cert: string, key: string, nowMs = now): string {
  try {
    checkCertificate({ certFile: 'cert.pem', cert, keyFile: 'key.pem', key }, nowMs);
    return 'none';
  } catch (error) {
    return error instanceof MetalhubError ? error.message : String(error);
  }
}

t.test('a good chain passes, and it is known how long it is valid', async (t) => {
  const cert = server.cert + intermediate.cert;
  t.equal(reasonOf(cert, server.key), 'none');
  t.equal(reasonOf(cert + root.cert, server.key), 'none');
  t.equal(reasonOf(`a comment\n${server.cert}`, server.key), 'none');
  const leaf = checkCertificate({ certFile: '', cert, keyFile: '', key: server.key }, now);
  t.equal(daysLeft(leaf, now), 29);
  t.ok(leaf.checkHost('hub.example.org'));
});

t.test('each mistake names the file and what is wrong with it', async (t) => {
  const chain = server.cert + intermediate.cert;
  t.match(reasonOf('', server.key), 'cert.pem: holds no certificate');
  t.match(reasonOf(server.key, server.key), 'cert.pem: holds no certificate');
  t.match(reasonOf(server.cert.replace('MII', 'XXX'), server.key), 'cert.pem: certificate 1 cannot be read');
  t.match(reasonOf(chain, ''), 'key.pem: holds no private key');
  t.match(reasonOf(chain, server.cert), 'key.pem: holds no private key');
  t.match(reasonOf(chain, root.key), 'key.pem: is not the key of the certificate in cert.pem');
  t.match(reasonOf(intermediate.cert + server.cert, server.key), /must come first; it is number 2/);
  t.match(reasonOf(server.cert + root.cert, server.key), 'certificate 2 of the chain did not issue certificate 1');
  t.match(reasonOf(chain, server.key, now + 31 * DAY_MS), /cert\.pem: expired on \d{4}-\d\d-\d\d/);
  t.match(reasonOf(chain, server.key, now - 2 * DAY_MS), /cert\.pem: is not valid before/);
  const encrypted = execFileSync('openssl', ['pkcs8', '-topk8', '-passout', 'pass:x'], {
    input: server.key,
  }).toString();
  t.match(reasonOf(chain, encrypted), 'key.pem: is encrypted with a passphrase');
});

t.test('a good pair is installed in one file; a broken one leaves it untouched', async (t) => {
  const place = t.testdir();
  const installed = join(place, 'current.pem');
  const tls = { cert_file: join(place, 'cert.pem'), key_file: join(place, 'key.pem') };
  const config = { ...tls, min_version: '1.2', http2: true, hsts_max_age_sec: 0, redirect_listen: [] };
  await t.rejects(installCertificate(config, now, installed), { message: /cert\.pem: does not exist/ });
  writeFileSync(tls.cert_file, server.cert);
  writeFileSync(tls.key_file, server.key);
  t.equal(isChanged(config, installed), true);
  t.equal(await installCertificate(config, now, installed), 'installed');
  const before = readFileSync(installed, 'utf8');
  t.ok(before.includes(server.cert.trim()) && before.includes(server.key.trim()));
  t.equal(statSync(installed).mode & 0o017, 0, 'not for everybody');
  t.equal(isChanged(config, installed), false);
  t.equal(await installCertificate(config, now, installed), 'unchanged');
  writeFileSync(tls.cert_file, root.cert);
  t.equal(isChanged(config, installed), true);
  await t.rejects(installCertificate(config, now, installed), { code: 'MH_ERR_TLS_FILE' });
  chmodSync(tls.key_file, 0o600);
  t.equal(readFileSync(installed, 'utf8'), before);
  t.same(readdirSync(place).sort(), ['cert.pem', 'current.pem', 'key.pem']);
  t.equal(await installCertificate({ ...config, cert_file: '', key_file: '' }, now, installed), 'removed');
  t.same(readdirSync(place).sort(), ['cert.pem', 'key.pem']);
});

t.test('the files are watched, and their directories, for links that are replaced', async (t) => {
  const live = '/etc/letsencrypt/live/100%';
  const tls = { min_version: '1.2', http2: true, hsts_max_age_sec: 0, redirect_listen: [] };
  t.equal(tlsPathDropIn({ ...tls, cert_file: '', key_file: '' }), undefined);
  t.equal(
    tlsPathDropIn({ ...tls, cert_file: `${live}/fullchain.pem`, key_file: `${live}/privkey.pem` }),
    '# Written by hubctl apply from tls.cert_file and tls.key_file in metalhub.toml.\n[Path]\n' +
      'PathChanged=/etc/letsencrypt/live/100%%\nPathChanged=/etc/letsencrypt/live/100%%/fullchain.pem\n' +
      'PathChanged=/etc/letsencrypt/live/100%%/privkey.pem\n',
  );
});
