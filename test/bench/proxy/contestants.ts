import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { callApi, expectStatus, type RouteApi } from './routes.js';

/** A proxy under test, running. */
export interface Contestant {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  /** `undefined` when it does not speak TLS. */
  readonly tlsPort: number | undefined;
  /** Prefix of its route to the upstream, with both slashes. */
  readonly prefix: string;
  readonly stop: () => Promise<void>;
  /** `undefined` when routes cannot be changed while it runs. */
  readonly routes?: RouteApi;
}

export interface Surroundings {
  /** For files of this run. */
  readonly directory: string;
  readonly upstreamPath: string;
  /** The core that a proxy may use. */
  readonly core: number;
  readonly certificate: string;
  readonly key: string;
  readonly chpProgram: string;
}

let lastPort = 18_000;
export function freePort(): number {
  return ++lastPort;
}

/** Starts a program on the proxies' core. */
export function startPinned(
  around: Surroundings,
  name: string,
  command: readonly string[],
  environment: Record<string, string> = {},
): { child: ChildProcess; stop: () => Promise<void> } {
  const logFile = join(around.directory, `${name}.log`);
  const script = 'exec "$@" >"$LOG" 2>&1';
  const child = spawn('taskset', ['-c', String(around.core), 'sh', '-c', script, 'sh', ...command], {
    stdio: 'ignore',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: around.directory, LOG: logFile, ...environment },
  });
  let isStopping = false;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.once('exit', (code) => {
    if (isStopping) return;
    console.error(readFileSync(logFile, 'utf8').slice(-2000));
    throw new Error(`${name} ended with ${code}`);
  });
  return {
    child,
    stop: async () => {
      isStopping = true;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(timer);
    },
  };
}

export async function untilListening(where: { port: number } | { path: string }): Promise<void> {
  const deadlineMs = performance.now() + 20_000;
  for (;;) {
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = connect('port' in where ? { port: where.port, host: '127.0.0.1' } : where);
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (isThere) return;
    if (performance.now() > deadlineMs) throw new Error(`nobody listens on ${JSON.stringify(where)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const PREFIX = '/user/anna/';

export async function startNginx(around: Surroundings, moreRoutes = 0): Promise<Contestant> {
  const [port, tlsPort] = [freePort(), freePort()];
  const file = join(around.directory, 'nginx.conf');
  const proxied = `proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Real-IP $remote_addr; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;`;
  const more = Array.from({ length: moreRoutes }, (_, index) => `location /user/u${index}/ { ${proxied} }`);
  writeFileSync(
    file,
    `daemon off; user root; worker_processes 1; error_log stderr; pid ${around.directory}/nginx.pid; 
events { worker_connections 40000; }
http { access_log off; client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
  client_body_temp_path ${around.directory}/nginx-body; proxy_temp_path ${around.directory}/nginx-proxy;
  proxy_read_timeout 1d; keepalive_requests 100000000;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream upstream { server unix:${around.upstreamPath}; keepalive 64; keepalive_requests 100000000; }
  server { listen 127.0.0.1:${port} backlog=4096; listen 127.0.0.1:${tlsPort} ssl backlog=4096;
    ssl_certificate ${around.certificate}; ssl_certificate_key ${around.key};
    location ${PREFIX} { ${proxied} }
    ${more.join('\n    ')}
  } }
`,
  );
  const { child, stop } = startPinned(around, 'nginx', ['nginx', '-c', file]);
  await untilListening({ port });
  return { name: 'nginx', pid: child.pid ?? 0, port, tlsPort, prefix: PREFIX, stop };
}

export async function startHaproxy(around: Surroundings): Promise<Contestant> {
  const [port, tlsPort] = [freePort(), freePort()];
  const file = join(around.directory, 'haproxy.cfg');
  const pem = join(around.directory, 'haproxy.pem');
  writeFileSync(pem, readFileSync(around.certificate, 'utf8') + readFileSync(around.key, 'utf8'));
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 9800
defaults
  mode http
  timeout connect 10s
  timeout client 1d
  timeout server 1d
  timeout tunnel 1d
  option forwardfor
  http-reuse always
frontend front
  bind 127.0.0.1:${port} backlog 4096
  bind 127.0.0.1:${tlsPort} ssl crt ${pem} alpn http/1.1 backlog 4096
  acl anna path_beg ${PREFIX}
  use_backend anna if anna
backend anna
  http-request set-header X-Forwarded-Proto http
  server anna unix@${around.upstreamPath} pool-max-conn 64
`,
  );
  const { child, stop } = startPinned(around, 'haproxy', ['haproxy', '-db', '-f', file]);
  await untilListening({ port });
  return { name: 'HAProxy', pid: child.pid ?? 0, port, tlsPort, prefix: PREFIX, stop };
}

export async function startCaddy(around: Surroundings): Promise<Contestant> {
  const [port, tlsPort] = [freePort(), freePort()];
  const file = join(around.directory, 'Caddyfile');
  writeFileSync(
    file,
    `{
  admin off
  auto_https off
}
http://:${port} {
  bind 127.0.0.1
  handle ${PREFIX}* {
    reverse_proxy unix/${around.upstreamPath}
  }
}
https://:${tlsPort} {
  bind 127.0.0.1
  tls ${around.certificate} ${around.key}
  handle ${PREFIX}* {
    reverse_proxy unix/${around.upstreamPath}
  }
}
`,
  );
  const command = ['caddy', 'run', '--adapter', 'caddyfile', '--config', file];
  const { child, stop } = startPinned(around, 'caddy', command, { GOMAXPROCS: '1' });
  await untilListening({ port });
  return { name: 'Caddy', pid: child.pid ?? 0, port, tlsPort, prefix: PREFIX, stop };
}

export async function startChp(around: Surroundings, isTls: boolean): Promise<Contestant> {
  const [port, apiPort] = [freePort(), freePort()];
  const command = [
    ...['node', around.chpProgram, '--ip', '127.0.0.1', '--port', String(port), '--log-level', 'error'],
    ...['--api-ip', '127.0.0.1', '--api-port', String(apiPort)],
    ...(isTls ? ['--ssl-cert', around.certificate, '--ssl-key', around.key] : []),
  ];
  const { child, stop } = startPinned(around, `chp${isTls ? '-tls' : ''}`, command, {
    CONFIGPROXY_AUTH_TOKEN: 'bench',
  });
  await untilListening({ port });
  await untilListening({ port: apiPort });
  const target = `unix+http://${encodeURIComponent(around.upstreamPath)}`;
  const call = (method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> =>
    callApi({ port: apiPort }, method, path, { body, token: 'bench' });
  const routes: RouteApi = {
    add: async (name) => {
      await expectStatus(call('POST', `/api/routes/user/${name}`, { target }), 201);
    },
    remove: async (name) => {
      await expectStatus(call('DELETE', `/api/routes/user/${name}`), 204);
    },
    count: async () => Object.keys(JSON.parse(await expectStatus(call('GET', '/api/routes'), 200)) as object).length,
  };
  await routes.add('anna');
  const tlsPort = isTls ? port : undefined;
  return { name: 'configurable-http-proxy', pid: child.pid ?? 0, port, tlsPort, prefix: PREFIX, stop, routes };
}
