import { optional, text } from '@metalhub/base/shape.js';
import { isNobodyAllowed } from '@metalhub/config/login-rules.js';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { LoginResult } from '../auth/login-service.js';
import type { HubContext } from '../context.js';
import { clientAddress } from './client-address.js';
import { cookieOptions, SESSION_COOKIE } from './cookies.js';
import { findNextPath } from './next-url.js';
import { renderLoginPage } from './pages/login-page.js';
import { renderLogoutPage } from './pages/logout-page.js';
import { findVisitor, isVisitorTokenValid, readForm, requireOwnForm, requireVisitor, visitorToken } from './visitor.js';

/** hub-pam refuses what is longer than PAM takes; this only bounds what is passed on. */
const MAX_PASSWORD_LENGTH = 16 * 1024;
const loginFields = {
  username: optional(text({ max: 1024 })),
  password: optional(text({ max: MAX_PASSWORD_LENGTH })),
  next: optional(text({ max: 8192 })),
};

interface LoginQuery {
  Querystring: { next?: unknown; notice?: unknown };
}

export function addLoginRoutes(app: FastifyInstance, context: HubContext): void {
  app.get<LoginQuery>('/hub/login', async (request, reply) => {
    const next = findNextPath(request.query.next, context.base());
    if ((await findVisitor(context, request)) !== undefined) return reply.redirect(next ?? homeOf(context), 303);
    const notice = request.query.notice === 'logged-out' ? { notice: 'You are logged out.' } : {};
    return showForm(context, request, reply, { next: next ?? '', name: '', ...notice });
  });

  app.post('/hub/login', async (request, reply) => {
    const fields = readForm(request.body, loginFields);
    const next = findNextPath(fields.next, context.base());
    const name = fields.username ?? '';
    const form = { next: next ?? '', name };
    if (!isVisitorTokenValid(context, request, fields.csrf)) {
      reply.code(403);
      return showForm(context, request, reply, { ...form, error: 'This page was too old. Please log in again.' });
    }
    const before = await findVisitor(context, request);
    const result = await context.login.logIn({
      name,
      password: fields.password ?? '',
      address: clientAddress(request.headers),
      replaces: before?.session.id,
    });
    if (result.kind !== 'accepted') return showFailure(context, request, reply, { ...form, result });
    reply.setCookie(SESSION_COOKIE, result.cookie, {
      ...cookieOptions(context.config().public_url),
      maxAge: context.config().hub.session_lifetime_sec,
    });
    return reply.redirect(next ?? homeOf(context), 303);
  });

  app.get('/hub/logout', async (request, reply) => {
    const visitor = await requireVisitor(context, request, reply, homeOf(context));
    if (visitor === undefined) return reply;
    return reply
      .type('text/html')
      .send(renderLogoutPage({ base: context.base(), user: visitor.user.name, csrfToken: visitor.csrfToken }));
  });

  app.post('/hub/logout', async (request, reply) => {
    const visitor = await findVisitor(context, request);
    if (visitor !== undefined) {
      requireOwnForm(context, request, visitor);
      await context.sessions.end(visitor);
      context.log.notice('user logged out', { user: visitor.user.name, sessionId: visitor.session.id });
    }
    reply.clearCookie(SESSION_COOKIE, cookieOptions(context.config().public_url));
    return reply.redirect(`${context.base()}/hub/login?notice=logged-out`, 303);
  });
}

function homeOf(context: HubContext): string {
  return `${context.base()}/hub/home`;
}

type Refusal = Exclude<LoginResult, { kind: 'accepted' }>;

function showFailure(
  context: HubContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { result, next, name }: { result: Refusal; next: string; name: string },
): FastifyReply {
  const { status, error } = explain(result);
  reply.code(status);
  if (result.kind === 'throttled') reply.header('retry-after', result.retryAfterSec);
  return showForm(context, request, reply, { next, name, error });
}

/** One answer for everything that says whether a name exists or a password was right. */
function explain(result: Refusal): { status: number; error: string } {
  switch (result.kind) {
    case 'refused':
      return { status: 403, error: 'Name or password is wrong, or this account may not log in here.' };
    case 'account-expired':
      return { status: 403, error: 'This account has expired. Please ask the administrator.' };
    case 'password-expired':
      return {
        status: 403,
        error:
          'The password is right but has to be changed first: log in to the machine itself, over SSH for instance.',
      };
    case 'throttled':
      return { status: 429, error: `Too many failed attempts. Please try again in ${waitText(result.retryAfterSec)}.` };
    case 'busy':
      return { status: 503, error: 'Too many people are logging in at this moment. Please try again.' };
    case 'failed':
      return {
        status: 503,
        error: 'The password could not be checked. Please try again later, or tell the administrator.',
      };
  }
}

function waitText(seconds: number): string {
  if (seconds < 90) return `${seconds} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}

function showForm(
  context: HubContext,
  request: FastifyRequest,
  reply: FastifyReply,
  page: { next: string; name: string; error?: string; notice?: string },
): FastifyReply {
  const config = context.config();
  const page_ = {
    ...page,
    base: context.base(),
    name: page.name.slice(0, 256),
    csrfToken: visitorToken(context, request, reply),
    title: config.login[0]?.title ?? '',
    nobodyMayLogIn: isNobodyAllowed(config),
  };
  return reply.type('text/html').send(renderLoginPage(page_));
}
