import { type Static, Type } from '@sinclair/typebox';
import { ACCOUNT_MODES } from './account-modes.js';
import { BYTES_PATTERN } from './bytes.js';
import { kernelRootSchema, kernelSchema } from './kernel-schema.js';
import { profileSchema } from './profile-schema.js';
import { allowTable, bytes, closed, IDLE_TIMEOUT, lifeLimit, MAX_AGE } from './schema-parts.js';

/**
 * Every key of /etc/metalhub/metalhub.toml: description, unit, range, default. The reference page and the commented
 * sample are generated from here. Keys keep their spelling inside the programs, so that one search finds both.
 */

export const loginSchema = Type.Object(
  {
    method: Type.Literal('pam', {
      description: 'How the visitor proves who they are: `pam` asks the machine for the password.',
    }),
    title: Type.String({ default: '', maxLength: 200, description: 'Text above the form; empty for none.' }),
    allow: allowTable('Who may log in. Nobody when empty.'),
    deny: allowTable('Who may not, even when allowed.'),
  },
  closed,
);

const LISTEN_ADDRESS = '^(\\[[0-9A-Fa-f:]+\\]|[0-9.]+):[0-9]{1,5}$';

export const configSchema = Type.Object(
  {
    public_url: Type.String({
      pattern: '^https?://(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/.*)?$',
      maxLength: 500,
      default: 'http://localhost:8000',
      description:
        'Address that users type. With https:// cookies are marked Secure. A path, as in https://www.example.org/jupyter/, puts everything below it: of letters, digits and . _ ~ -, without a part that is called user or services. Applied by `hubctl apply`; servers that run keep their address until they are stopped, and with another path everybody logs in again.',
    }),
    proxy: Type.Object(
      {
        listen: Type.Array(Type.String({ pattern: LISTEN_ADDRESS }), {
          minItems: 1,
          maxItems: 16,
          default: ['127.0.0.1:8000'],
          description: 'Addresses and ports to listen on, as 127.0.0.1:8000 or [::]:80. Applied by `hubctl apply`.',
        }),
        insecure: Type.Boolean({
          default: false,
          description:
            'Allows other addresses than loopback without TLS, of the route API too, which has none. Passwords, or its token, then cross the network in the clear.',
        }),
        hosts: Type.Array(
          Type.String({ pattern: '^(\\[[0-9A-Fa-f:.]+\\]|(\\*\\.)?[A-Za-z0-9.-]+)$', maxLength: 253 }),
          {
            default: [],
            maxItems: 100,
            description:
              'Host names answered besides that of public_url and localhost; *.example.org stands for all names one level below.',
          },
        ),
        trusted_proxies: Type.Array(Type.String({ pattern: '^[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?$' }), {
          default: [],
          maxItems: 200,
          description:
            'Addresses or ranges, as 192.0.2.7 or 2001:db8::/32, of web servers in front of this proxy, whose X-Forwarded-For, -Proto and -Host (or Forwarded) are believed. From everybody else these are discarded. Every account of this machine can come from a loopback address.',
        }),
        drain_timeout_sec: Type.Integer({
          minimum: 1,
          maximum: 604_800,
          default: 86_400,
          description: 'Seconds after a restart until connections that are still open are closed.',
        }),
        answer_timeout_sec: Type.Integer({
          minimum: 10,
          maximum: 86_400,
          default: 600,
          description:
            'Seconds without a byte after which a server that has not begun to answer is given up: 504. The hub has 20.',
        }),
        stream_timeout_sec: Type.Integer({
          minimum: 60,
          maximum: 604_800,
          default: 3600,
          description:
            'Seconds without a byte after which an answer that has begun is cut off. WebSockets have no limit.',
        }),
        max_generations: Type.Integer({
          minimum: 2,
          maximum: 64,
          default: 64,
          description:
            'Restarted proxies that may live beside each other; the one with the fewest connections ends first.',
        }),
        generations_memory_max: bytes(
          'Memory that they may use together, beside the newest one; at most two fifths of the machine. Same order.',
          '2G',
        ),
        workers: Type.Integer({
          minimum: 0,
          maximum: 16,
          default: 0,
          description:
            'Processes that accept connections; 0 for one, and on machines with four and more cores for two. The limits of connections and logins are those of each.',
        }),
        api_listen: Type.String({
          pattern: LISTEN_ADDRESS,
          default: '127.0.0.1:8001',
          description: 'Address of the route API for another hub, once `hubctl proxy enable-tcp` was run.',
        }),
        default_route: Type.String({
          pattern: '^(auto|hub)$',
          default: 'auto',
          description:
            'Who gets what no other route takes. auto: the other hub once `hubctl proxy enable-tcp` was run, and then nothing leads to the hub of metalhub and its servers; hub: always the hub of metalhub; with a path in public_url, what lies below it.',
        }),
        host_routing: Type.Boolean({
          default: false,
          description:
            'Routes of the route API begin with a host name, as with configurable-http-proxy --host-routing.',
        }),
        upstream_ranges: Type.Array(Type.String({ pattern: '^[0-9A-Fa-f:.]+/[0-9]{1,3}$', maxLength: 64 }), {
          default: ['127.0.0.0/8', '::1/128'],
          maxItems: 64,
          description: 'Address ranges that routes may lead to by TCP, once `hubctl proxy enable-tcp` was run.',
        }),
        upstream_ca: Type.String({
          pattern: '^(/.*)?$',
          default: '',
          description:
            'File with the certificates (PEM) that sign those of https:// targets, instead of the public ones; readable by all.',
        }),
        upstream_sockets: Type.Array(Type.String({ pattern: '^/[A-Za-z0-9/_.-]*[A-Za-z0-9_-]$', maxLength: 90 }), {
          default: [],
          maxItems: 16,
          description:
            'Directories besides that of metalhub itself, owned by root, whose sockets routes of the route API may lead to.',
        }),
        error_pages: Type.String({
          pattern: '^(/.*)?$',
          default: '',
          description:
            'Directory, owned by root, with pages shown instead of the built-in ones: 404.html, 502.html, 503.html, error.html.',
        }),
        error_target: Type.String({
          pattern: '^(https?://[A-Za-z0-9.:\\[\\]/_-]+)?$',
          default: '',
          description:
            'Address that is asked for error pages, with /404 or another number added, as with configurable-http-proxy --error-target.',
        }),
      },
      { ...closed, default: {}, description: 'The public side.' },
    ),
    tls: Type.Object(
      {
        cert_file: Type.String({
          pattern: '^(/[^\\p{Cc}]*)?$',
          maxLength: 1024,
          default: '',
          description:
            'Certificate with its chain (PEM), such as /etc/letsencrypt/live/hub.example.org/fullchain.pem. Read by root; a change of the file takes effect by itself.',
        }),
        key_file: Type.String({
          pattern: '^(/[^\\p{Cc}]*)?$',
          maxLength: 1024,
          default: '',
          description: 'Private key of the certificate (PEM, without a passphrase). Read by root only.',
        }),
        min_version: Type.String({
          pattern: '^1\\.[23]$',
          default: '1.2',
          description: 'Oldest TLS version that is spoken, 1.2 or 1.3.',
        }),
        http2: Type.Boolean({
          default: true,
          description: 'Offers HTTP/2 to browsers. WebSockets use HTTP/1.1 all the same.',
        }),
        hsts_max_age_sec: Type.Integer({
          minimum: 0,
          maximum: 63_072_000,
          default: 0,
          description:
            'Seconds for which browsers are told to refuse plain HTTP to this name (Strict-Transport-Security); 0 to tell them nothing. They cannot be told otherwise before.',
        }),
        redirect_listen: Type.Array(Type.String({ pattern: LISTEN_ADDRESS }), {
          default: [],
          maxItems: 16,
          description:
            'Addresses where plain HTTP is answered with a redirect to public_url, as 0.0.0.0:80. Applied by `hubctl apply`.',
        }),
      },
      {
        ...closed,
        default: {},
        description:
          'Encryption at the proxy itself: with cert_file and key_file every address of proxy.listen speaks HTTPS.',
      },
    ),
    limits: Type.Object(
      {
        header_bytes: Type.Integer({
          minimum: 4096,
          maximum: 65_536,
          default: 16_384,
          description: 'Size of the head of a request, cookies included.',
        }),
        header_fields: Type.Integer({
          minimum: 32,
          maximum: 1000,
          default: 100,
          description: 'Number of header fields of a request.',
        }),
        header_timeout_sec: Type.Integer({
          minimum: 1,
          maximum: 300,
          default: 10,
          description: 'Seconds for the TLS handshake, and for the head of a request from its first byte to its last.',
        }),
        idle_timeout_sec: Type.Integer({
          minimum: 1,
          maximum: 3600,
          default: 75,
          description: 'Seconds that a connection may stay open between two requests.',
        }),
        body_timeout_sec: Type.Integer({
          minimum: 1,
          maximum: 3600,
          default: 60,
          description: 'Seconds without a byte of an upload after which it is broken off.',
        }),
        connections: Type.Integer({
          minimum: 100,
          maximum: 1_000_000,
          default: 24_000,
          description:
            'Connections in all of each worker (proxy.workers); each may need a second descriptor for its server, of LimitNOFILE=65536 of hub-proxy.service.',
        }),
        connections_per_address: Type.Integer({
          minimum: 8,
          maximum: 1_000_000,
          default: 2048,
          description:
            'Connections from one IPv4 address or /64 of IPv6 to each worker (proxy.workers); a class behind one router shares an address. Loopback and proxy.trusted_proxies are exempt.',
        }),
        login_attempts_per_minute: Type.Integer({
          minimum: 1,
          maximum: 100_000,
          default: 300,
          description:
            'Login forms that one address may send through each worker (proxy.workers); twice as many at once. The hub slows wrong passwords down long before.',
        }),
      },
      { ...closed, default: {}, description: 'What one visitor may cost.' },
    ),
    hub: Type.Object(
      {
        session_lifetime_sec: Type.Integer({
          minimum: 300,
          maximum: 31_536_000,
          default: 1_209_600,
          description: 'Seconds after which a login ends, however much it is used.',
        }),
        admins: allowTable('Users with the rights of an administrator in the hub.'),
      },
      { ...closed, default: {}, description: 'Pages and logins.' },
    ),
    login: Type.Array(loginSchema, {
      default: [],
      maxItems: 16,
      description: 'Ways to log in. Nobody can when there is none.',
    }),
    accounts: Type.Object(
      {
        mode: Type.String({
          pattern: `^(${ACCOUNT_MODES.join('|')})$`,
          default: 'dynamic',
          description:
            'As whom servers run, unless their profile says something else. dynamic: an account of its own for each user, which systemd makes; local: the account of the machine that the user logged in with, with its groups, home and shell, in a session of PAM (/etc/pam.d/metalhub-session); create: an account of the machine, jupyter-<key>, that is made for each user at their first start, whatever they log in with. See docs/accounts.md.',
        }),
        privileged_groups: Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
          default: [],
          maxItems: 100,
          description:
            'With local and create: groups that give power over the machine, as sudo or docker, whose members may have servers all the same. Otherwise they are refused.',
        }),
        uid_min: Type.Integer({
          minimum: 1000,
          maximum: 4_294_000_000,
          default: 70_000,
          description: 'First uid for users.',
        }),
        uid_max: Type.Integer({
          minimum: 1000,
          maximum: 4_294_000_000,
          default: 99_999,
          description: 'Last uid for users.',
        }),
      },
      { ...closed, default: {}, description: 'Accounts that are made for users; a uid is never given twice.' },
    ),
    server: Type.Object(
      {
        start_timeout_sec: Type.Integer({
          minimum: 1,
          maximum: 3600,
          default: 60,
          description: 'Seconds a server may take to become ready.',
        }),
        stop_timeout_sec: Type.Integer({
          minimum: 1,
          maximum: 600,
          default: 10,
          description: 'Seconds between the polite and the final signal at a stop.',
        }),
        idle_timeout_sec: lifeLimit(IDLE_TIMEOUT, 0),
        max_age_sec: lifeLimit(MAX_AGE, 0),
        concurrent_starts: Type.Integer({
          minimum: 1,
          maximum: 64,
          default: 8,
          description: 'Servers that are started at once; the others wait, and users take turns.',
        }),
        named_limit: Type.Integer({
          minimum: 0,
          maximum: 100,
          default: 0,
          description:
            'Servers with a name of their own that each user may have besides the one without. They share the home; what a profile allows holds for all of a user together, too. 0 for none.',
        }),
        memory_ceiling: Type.String({
          pattern: BYTES_PATTERN,
          default: '',
          description:
            'Most memory that `hubctl limit` may give a server that runs. Bytes, with K, M, G or T for powers of 1024; empty for the memory of the machine.',
        }),
        cpu_ceiling_percent: Type.Integer({
          minimum: 0,
          maximum: 100_000,
          default: 0,
          description: 'Most processor time that it may give, in percent of one core; 0 for all cores.',
        }),
        tasks_ceiling: Type.Integer({
          minimum: 16,
          maximum: 4_000_000,
          default: 16_384,
          description: 'Most processes and threads that it may give.',
        }),
      },
      { ...closed, default: {}, description: "Users' servers." },
    ),
    profile: Type.Array(profileSchema, {
      minItems: 1,
      maxItems: 100,
      default: [{ name: 'default' }],
      description:
        'Kinds of servers. The start page offers those that the user may use, in this order, and the one that they used last before the others.',
    }),
    kernel: Type.Array(kernelSchema, {
      default: [],
      maxItems: 100,
      description: 'Kernels that JupyterLab offers beside its own.',
    }),
    kernel_root: Type.Array(kernelRootSchema, {
      default: [],
      maxItems: 100,
      description:
        'Directories whose conda and virtual environments are offered as kernels, activated when one starts. They are looked for as the user, and again when JupyterLab asks which kernels there are; only those that nobody but root or the user can change.',
    }),
  },
  closed,
);

export type Config = Static<typeof configSchema>;
export type LoginConfig = Static<typeof loginSchema>;
export type ProfileConfig = Static<typeof profileSchema>;
export type KernelConfig = Static<typeof kernelSchema>;
export type KernelRootConfig = Static<typeof kernelRootSchema>;
export type OverrideConfig = ProfileConfig['override'][number];
export type ChoiceConfig = ProfileConfig['choice'][number];
export type OptionConfig = ChoiceConfig['option'][number];
