import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import { PUBLIC_URL } from './browser.js';

const SILENCE_MS = 120_000;

interface Cookie {
  value: string;
  path: string;
}

/**
 * A visitor without a browser: keeps cookies by path, follows redirects itself, fills forms of pages.
 * Each comes from a loopback address of its own, so that one visitor's failures do not slow the next one down.
 */
export class Visitor {
  readonly #base: string;
  readonly #cookies = new Map<string, Cookie>();
  readonly #address: string;
  readonly #ca: string | undefined;

  /** @param options.ca certificate that is trusted, for an address with https:// */
  constructor(options: { base?: string; address?: string; ca?: string } = {}) {
    this.#base = options.base ?? PUBLIC_URL;
    this.#address = options.address ?? nextAddress();
    this.#ca = options.ca;
  }

  /** One request, no redirect followed. */
  async request(path: string, init: RequestInit = {}): Promise<Response> {
    const url = new URL(path, this.#base);
    const headers = new Headers(init.headers);
    const cookie = this.cookieHeader(url.pathname);
    if (cookie !== '') headers.set('cookie', cookie);
    const response = await send(
      url,
      { localAddress: this.#address, ca: this.#ca },
      init.method ?? 'GET',
      headers,
      init.body ?? undefined,
    );
    for (const line of response.headers.getSetCookie()) this.#store(line);
    return response;
  }

  /** A page navigation as a browser makes it, through redirects. */
  async navigate(path: string, init: RequestInit = {}): Promise<{ response: Response; text: string; path: string }> {
    let next = path;
    let current = init;
    for (let hop = 0; hop < 10; hop++) {
      const headers = new Headers(current.headers);
      headers.set('accept', 'text/html');
      headers.set('sec-fetch-mode', 'navigate');
      headers.set('sec-fetch-dest', 'document');
      headers.set('sec-fetch-site', current.method === 'POST' ? 'same-origin' : 'none');
      const response = await this.request(next, { ...current, headers });
      const location = response.headers.get('location');
      if (location === null) return { response, text: await response.text(), path: next };
      await response.body?.cancel();
      const url = new URL(location, new URL(next, this.#base));
      next = url.pathname + url.search;
      current = {};
    }
    throw new Error(`too many redirects from ${path}`);
  }

  /** Posts a form of this site the way its page would. */
  async submit(
    path: string,
    fields: Readonly<Record<string, string>>,
  ): Promise<{ response: Response; text: string; path: string }> {
    return this.navigate(path, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: new URL(this.#base).origin },
      body: new URLSearchParams(fields).toString(),
    });
  }

  /** @returns the page after the attempt */
  async logIn(
    username: string,
    password: string,
    next = '',
  ): Promise<{ response: Response; text: string; path: string }> {
    const page = await this.navigate(`/hub/login${next === '' ? '' : `?next=${encodeURIComponent(next)}`}`);
    return this.submit('/hub/login', { csrf: fieldOf(page.text, 'csrf'), next, username, password });
  }

  cookieHeader(path: string): string {
    const matching = [...this.#cookies].filter(([, cookie]) => path.startsWith(cookie.path));
    return matching.map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ');
  }

  #store(line: string): void {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
    const [name = '', ...value] = pair.split('=');
    const attribute = (wanted: string): string | undefined =>
      attributes.find((text) => text.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1);
    const path = attribute('path') ?? '/';
    const expires = attribute('expires');
    const isGone = attribute('max-age') === '0' || (expires !== undefined && Date.parse(expires) <= Date.now());
    if (isGone) this.#cookies.delete(`${name} ${path}`);
    else this.#cookies.set(`${name} ${path}`, { value: value.join('='), path });
  }
}

let visitors = 0;

function nextAddress(): string {
  visitors += 1;
  return `127.1.${Math.floor(visitors / 250)}.${(visitors % 250) + 1}`;
}

/** What fetch cannot do: choose the address that a request comes from. */
async function send(
  url: URL,
  from: { localAddress: string; ca: string | undefined },
  method: string,
  headers: Headers,
  body: unknown,
): Promise<Response> {
  const message = await new Promise<IncomingMessage>((resolve, reject) => {
    const { localAddress, ca } = from;
    const path = url.pathname + url.search;
    const options = { host: '127.0.0.1', port: url.port, path, method, localAddress, agent: false } as const;
    const sent =
      url.protocol === 'https:'
        ? httpsRequest({ ...options, servername: url.hostname, ...(ca === undefined ? {} : { ca }) }, resolve)
        : httpRequest(options, resolve);
    sent.setHeader('host', url.host);
    for (const [name, value] of headers) sent.setHeader(name, value);
    // Silence is what some faults look like, and a test of one must end.
    sent.setTimeout(SILENCE_MS, () =>
      sent.destroy(new Error(`${method} ${url.pathname}: silence for ${SILENCE_MS} ms`)),
    );
    sent.on('error', reject);
    sent.end(typeof body === 'string' ? body : undefined);
  });
  const received = new Headers();
  for (let index = 0; index < message.rawHeaders.length; index += 2) {
    received.append(message.rawHeaders[index] ?? '', message.rawHeaders[index + 1] ?? '');
  }
  const status = message.statusCode ?? 0;
  const hasBody = status !== 204 && status !== 304;
  if (!hasBody) message.resume();
  return new Response(hasBody ? (Readable.toWeb(message) as ReadableStream) : null, { status, headers: received });
}

/** Value of a hidden field on a page. @throws when there is none */
export function fieldOf(page: string, name: string): string {
  const input = new RegExp(`<input[^>]*name="${name}"[^>]*>`).exec(page)?.[0] ?? '';
  const value = /value="([^"]*)"/.exec(input)?.[1];
  if (value === undefined) throw new Error(`no field ${name} on the page: ${page.slice(0, 300)}`);
  return value.replaceAll('&amp;', '&').replaceAll('&quot;', '"').replaceAll('&#39;', "'");
}

/** Data of server-sent events, as they come. */
export async function* readEvents(response: Response): AsyncGenerator<Record<string, unknown>> {
  const decoder = new TextDecoder();
  let buffer = '';
  for await (const chunk of response.body ?? []) {
    buffer += decoder.decode(chunk as Uint8Array, { stream: true });
    for (let end = buffer.indexOf('\n\n'); end >= 0; end = buffer.indexOf('\n\n')) {
      const data = buffer
        .slice(0, end)
        .split('\n')
        .filter((line) => line.startsWith('data:'));
      buffer = buffer.slice(end + 2);
      if (data.length > 0) yield JSON.parse(data.map((line) => line.slice(5)).join('\n')) as Record<string, unknown>;
    }
  }
}
