import { randomBytes } from 'node:crypto';
import { MetalhubError } from '@metalhub/base/errors.js';
import { object, optional, type Shape, ShapeError, text } from '@metalhub/base/shape.js';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Login } from '../auth/sessions.js';
import type { HubContext } from '../context.js';
import { cookieOptions, cookieValues, SESSION_COOKIE, VISITOR_COOKIE } from './cookies.js';
import { isOwnOrigin } from './csrf.js';
import { nextQuery } from './next-url.js';

/** Somebody who is logged in, and the token for the forms of their pages. */
export interface Visitor extends Login {
  readonly csrfToken: string;
}

/** Who sends the request; `undefined` when they are not logged in. */
export async function findVisitor(context: HubContext, request: FastifyRequest): Promise<Visitor | undefined> {
  const values = cookieValues(request.headers.cookie, SESSION_COOKIE);
  const found: Login[] = [];
  for (const value of values) {
    const login = await context.sessions.find(value);
    if (login !== undefined) found.push(login);
  }
  const [login, ...others] = found;
  if (values.length > 1)
    context.log.warning('several session cookies came with one request', { requestId: request.id });
  // Two that are valid: one of them was planted, and nothing says which.
  if (login === undefined || others.length > 0) return undefined;
  return { ...login, csrfToken: context.csrf.tokenOfSession(login.session.id) };
}

/** Sends those who are not logged in to the login page, which leads back. */
export async function requireVisitor(
  context: HubContext,
  request: FastifyRequest,
  reply: FastifyReply,
  next: string = request.originalUrl,
): Promise<Visitor | undefined> {
  const visitor = await findVisitor(context, request);
  if (visitor === undefined) await reply.redirect(`${context.base()}/hub/login${nextQuery(next)}`, 303);
  return visitor;
}

/** The token for the login form, bound to a cookie that is set when the browser has none. */
export function visitorToken(context: HubContext, request: FastifyRequest, reply: FastifyReply): string {
  const [known] = cookieValues(request.headers.cookie, VISITOR_COOKIE);
  if (known !== undefined && /^[0-9a-f]{32}$/.test(known)) return context.csrf.tokenOfVisitor(known);
  const fresh = randomBytes(16).toString('hex');
  reply.setCookie(VISITOR_COOKIE, fresh, cookieOptions(context.config().public_url));
  return context.csrf.tokenOfVisitor(fresh);
}

export function isVisitorTokenValid(context: HubContext, request: FastifyRequest, token: unknown): boolean {
  if (!isOwnOrigin(request.headers, context.config().public_url)) return false;
  return cookieValues(request.headers.cookie, VISITOR_COOKIE).some((value) =>
    context.csrf.isValid(token, context.csrf.tokenOfVisitor(value)),
  );
}

/**
 * Makes sure that a form was sent from a page of ours, by its visitor.
 * @throws {MH_ERR_HUB_CSRF}
 */
export function requireOwnForm(context: HubContext, request: FastifyRequest, visitor: Visitor): void {
  const token = (request.body as { csrf?: unknown } | undefined | null)?.csrf;
  const isOwn = isOwnOrigin(request.headers, context.config().public_url);
  if (isOwn && context.csrf.isValid(token, visitor.csrfToken)) return;
  throw new MetalhubError('MH_ERR_HUB_CSRF', { hint: 'go back, load the page again, then repeat what you did' });
}

/** Fields of a form, closed and bounded. @throws {MH_ERR_HUB_BAD_REQUEST} */
export function readForm<S extends Record<string, Shape<unknown>>>(body: unknown, shapes: S) {
  return readShape(object({ ...shapes, csrf: optional(text({ max: 128 })) }), { ...(body as object | null) });
}

/** @throws {MH_ERR_HUB_BAD_REQUEST} */
export function readShape<T>(shape: Shape<T>, value: unknown): T {
  try {
    return shape(value, '');
  } catch (cause) {
    if (!(cause instanceof ShapeError)) throw cause;
    throw new MetalhubError('MH_ERR_HUB_BAD_REQUEST', { details: { reason: cause.message }, cause });
  }
}
