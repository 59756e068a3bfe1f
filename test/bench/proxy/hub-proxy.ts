import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type Contestant, freePort, type Surroundings, startPinned, untilListening } from './contestants.js';
import { callApi, expectStatus, type RouteApi } from './routes.js';

/** hub-proxy as installed: supervisor and worker, from sockets that are handed over. */
export interface HubProxy extends Contestant {
  readonly routes: RouteApi;
}

export const CONTROL_SOCKET = '/run/metalhub/proxy.sock';
export const SERVER_SOCKET = '/run/metalhub/servers/anna.sock';
export const UPSTREAM_PREFIX = '/services/bench/';

/** A ticket for its route as the Cookie line carries it, and the key it is signed with. */
export interface BenchTicket {
  readonly cookie: string;
  readonly publicKey: {
    readonly kty: string;
    readonly crv: string;
    readonly x: string | undefined;
    readonly kid: string;
  };
}

export function makeTicket(): BenchTicket {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const { x } = publicKey.export({ format: 'jwk' });
  const nowSec = Math.floor(Date.now() / 1000);
  const claims = { type: 'ticket', user: 'anna', server: '', path: '/user/anna/', session_id: 'a'.repeat(32) };
  const text = [
    { alg: 'EdDSA', kid: 'bench' },
    { ...claims, iat: nowSec, exp: nowSec + 43_200 },
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  const cookie = `metalhub-ticket=${text}.${sign(null, Buffer.from(text), privateKey).toString('base64url')}`;
  return { cookie, publicKey: { kty: 'OKP', crv: 'Ed25519', x, kid: 'bench' } };
}

export async function startHubProxy(
  around: Surroundings,
  options: {
    /** Directory with the bundles. */
    programs: string;
    ticket: BenchTicket;
    nodeFlags?: readonly string[];
    /** Speaks TLS, and nothing else. */
    isTls?: boolean;
  },
): Promise<HubProxy> {
  const { programs, ticket, nodeFlags = [], isTls = false } = options;
  const port = freePort();
  mkdirSync('/etc/metalhub', { recursive: true });
  mkdirSync('/var/lib/metalhub/proxy', { recursive: true });
  mkdirSync('/run/metalhub/servers', { recursive: true });
  mkdirSync('/run/metalhub-proxy', { recursive: true });
  const tls = isTls ? `[tls]\ncert_file = "${around.certificate}"\nkey_file = "${around.key}"\nhttp2 = false\n` : '';
  writeFileSync('/etc/metalhub/metalhub.toml', `public_url = "http${isTls ? 's' : ''}://127.0.0.1:${port}"\n${tls}`);
  mkdirSync('/var/lib/metalhub/proxy-tls', { recursive: true });
  // As hub-proxy-tls installs them.
  const pem = readFileSync(around.key, 'utf8') + readFileSync(around.certificate, 'utf8');
  writeFileSync('/var/lib/metalhub/proxy-tls/current.pem', pem, { mode: 0o600 });
  rmSync(SERVER_SOCKET, { force: true });
  rmSync(CONTROL_SOCKET, { force: true });
  symlinkSync(around.upstreamPath, SERVER_SOCKET);
  const { child, stop } = startPinned(
    around,
    'hub-proxy',
    [
      ...['systemd-socket-activate', '--fdname=public:control', '-l', `127.0.0.1:${port}`, '-l', CONTROL_SOCKET],
      ...['node', ...nodeFlags, '--max-semi-space-size=2', `${programs}/hub-proxy.cjs`],
    ],
    { MALLOC_ARENA_MAX: '2' },
  );
  await untilListening({ path: CONTROL_SOCKET });
  const call = (method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> =>
    callApi({ socketPath: CONTROL_SOCKET }, method, path, { body });
  await expectStatus(call('PUT', '/api/keys', { keys: [ticket.publicKey] }), 204);
  const target = `unix+http://${encodeURIComponent(SERVER_SOCKET)}`;
  const route = { target, auth: 'ticket', user: 'anna', server: '', token: 't'.repeat(43) };
  await expectStatus(call('POST', '/api/routes/user/anna/', route), 201);
  await expectStatus(call('POST', `/api/routes${UPSTREAM_PREFIX}`, { target, auth: 'upstream' }), 201);
  const routes: RouteApi = {
    add: async (name) => {
      await expectStatus(call('POST', `/api/routes/user/${name}/`, { ...route, user: name }), 201);
    },
    remove: async (name) => {
      await expectStatus(call('DELETE', `/api/routes/user/${name}/`), 204);
    },
    count: async () => Object.keys(JSON.parse(await expectStatus(call('GET', '/api/routes'), 200)) as object).length,
  };
  return {
    name: 'hub-proxy',
    pid: child.pid ?? 0,
    port,
    tlsPort: isTls ? port : undefined,
    prefix: '/user/anna/',
    stop,
    routes,
  };
}
