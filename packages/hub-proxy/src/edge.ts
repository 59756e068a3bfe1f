import type { Clock } from '@metalhub/base/time.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { AddressRanges } from './address-ranges.js';
import type { EdgeSettings } from './edge-settings.js';
import { readForwarded } from './forwarded.js';
import { LOCAL_HOSTS, parseHost } from './host.js';
import { LoginRate } from './login-rate.js';
import { decodePath } from './path.js';
import type { Refusal, RequestHead } from './request-head.js';
import type { Settings } from './settings.js';

/** How a connection reached the proxy. */
export interface Arrival {
  /** Address of the peer, in its plain form. */
  readonly peer: string;
  /** Whether it is encrypted here, not by somebody in front. */
  readonly isEncrypted: boolean;
  /** No other connection of this worker has it. `undefined` where several visitors share one: behind a server in front. */
  readonly name: string | undefined;
  /** One of many requests at a time (HTTP/2), each of which comes as if on a connection of its own. */
  readonly isStream: boolean;
}

/** Who sent a request, and which address they typed. */
export interface Visitor {
  readonly address: string;
  readonly proto: 'http' | 'https';
  /** As received, but with the host that the visitor typed. */
  readonly head: RequestHead;
}

export interface Timeouts {
  readonly headMs: number;
  readonly idleMs: number;
  readonly bodyMs: number;
}

/** What holds for every connection of a worker, before anything is forwarded. */
export class Edge {
  readonly timeouts: Timeouts;
  readonly maxHeadBytes: number;
  readonly maxHeadFields: number;
  readonly logins: LoginRate;
  readonly #settings: Settings;
  readonly #trusted: AddressRanges;
  readonly #hsts: string | undefined;

  constructor(settings: Settings, clock: Clock) {
    const edge: EdgeSettings = settings.edge ?? {};
    this.#settings = settings;
    this.#trusted = new AddressRanges(edge.trusted_proxies ?? []);
    this.timeouts = {
      headMs: edge.header_timeout_ms ?? 10 * SECOND_MS,
      idleMs: edge.idle_timeout_ms ?? 75 * SECOND_MS,
      bodyMs: edge.body_timeout_ms ?? 60 * SECOND_MS,
    };
    this.maxHeadBytes = edge.header_bytes ?? 16 * 1024;
    this.maxHeadFields = edge.header_fields ?? 100;
    this.logins = new LoginRate(edge.login_attempts_per_minute ?? 300, clock);
    const maxAgeSec = edge.tls?.hsts_max_age_sec ?? 0;
    this.#hsts = maxAgeSec > 0 ? `max-age=${maxAgeSec}` : undefined;
  }

  isTrusted(address: string): boolean {
    return this.#trusted.allows(address);
  }

  /** A trusted server in front is asked about its visitor; what anybody else says of themselves does not count. */
  identify(head: RequestHead, arrival: Arrival): Visitor | Refusal {
    const { peer } = arrival;
    if (!this.#trusted.allows(peer)) return { address: peer, proto: this.#proto(head, arrival), head };
    const said = readForwarded(head.fields, (address) => this.#trusted.allows(address));
    const host = said.host === undefined ? head.host : parseHost(said.host);
    if (host === undefined) return { status: 400, reason: 'no valid host from a trusted proxy' };
    const seen = said.host === undefined ? head : { ...head, host };
    const proto = said.proto === 'https' || said.proto === 'http' ? said.proto : this.#proto(seen, arrival);
    return { address: said.address ?? peer, proto, head: seen };
  }

  /** Value of Strict-Transport-Security for an answer to this visitor. Never for the machine's own names. */
  hstsFor(visitor: Visitor, arrival: Arrival): string | undefined {
    return arrival.isEncrypted && !LOCAL_HOSTS.includes(visitor.head.host.name) ? this.#hsts : undefined;
  }

  /** Without TLS of our own, and https in the public address, somebody in front encrypts. */
  #proto(head: RequestHead, arrival: Arrival): 'http' | 'https' {
    if (arrival.isEncrypted) return 'https';
    const { is_secure, public_host, edge } = this.#settings;
    const isBehindTls = (edge?.tls ?? null) === null;
    return isBehindTls && is_secure && head.host.name === public_host ? 'https' : 'http';
  }
}

/** Whether a request is a login form on its way to the hub, whose router reads `%6C` as `l`. @param base of the hub's addresses */
export function isLoginAttempt({ method, path }: RequestHead, base: string): boolean {
  if (method !== 'POST') return false;
  const login = `${base}/hub/login`;
  return path === login || (path.includes('%') && decodePath(path) === login);
}
