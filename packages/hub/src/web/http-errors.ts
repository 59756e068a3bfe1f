import type { ErrorCode, MetalhubError } from '@metalhub/base/errors.js';

/** HTTP status of each error that can reach a visitor; 500 for all others. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  MH_ERR_BUSY: 503,
  MH_ERR_WIRE_UNREACHABLE: 503,
  MH_ERR_WIRE_CLOSED: 503,
  MH_ERR_WIRE_TIMEOUT: 504,
  MH_ERR_SPAWN_NAME: 400,
  MH_ERR_SPAWN_PROFILE: 400,
  MH_ERR_SPAWN_CHOICE: 400,
  MH_ERR_SPAWN_ALREADY_PENDING: 409,
  MH_ERR_SPAWN_NOT_RUNNING: 409,
  MH_ERR_SPAWN_LIMIT: 400,
  MH_ERR_LOGS_JOURNAL: 503,
  MH_ERR_PROXY_UNREACHABLE: 503,
  MH_ERR_PROXY_STATE: 503,
  MH_ERR_HUB_DATABASE: 503,
  MH_ERR_HUB_NO_SUCH_USER: 404,
  MH_ERR_HUB_NO_SUCH_SERVER: 404,
  MH_ERR_HUB_SERVER_NAME: 400,
  MH_ERR_HUB_SERVER_LIMIT: 409,
  MH_ERR_HUB_SERVER_ACTIVE: 409,
  MH_ERR_HUB_SERVER_FROZEN: 423,
  MH_ERR_HUB_NAME_REFUSED: 400,
  MH_ERR_HUB_LOGIN_REFUSED: 403,
  MH_ERR_HUB_THROTTLED: 429,
  MH_ERR_HUB_CSRF: 403,
  MH_ERR_HUB_FORBIDDEN: 403,
  MH_ERR_HUB_PROFILE: 403,
  MH_ERR_HUB_NO_PROFILE: 403,
  MH_ERR_HUB_BAD_REQUEST: 400,
  MH_ERR_HUB_NOT_FOUND: 404,
};

const TITLES: Readonly<Record<number, string>> = {
  400: 'This request makes no sense',
  403: 'Not allowed',
  404: 'Nothing here',
  405: 'Nothing here',
  409: 'Not possible as it is',
  413: 'Too much at once',
  423: 'Paused',
  429: 'Too many attempts',
  500: 'Something went wrong',
  503: 'Not possible right now',
  504: 'No answer',
};

export function statusOf(error: MetalhubError): number {
  return STATUS[error.code] ?? 500;
}

export function titleOf(status: number): string {
  return TITLES[status] ?? TITLES[status < 500 ? 400 : 500] ?? 'Error';
}

/** JSON for programs, as JupyterHub's REST API answers, with our code. */
export interface ErrorBody {
  status: number;
  message: string;
  code: string;
  hint: string | null;
}

export function errorBody(error: MetalhubError): ErrorBody {
  return { status: statusOf(error), message: error.message, code: error.code, hint: error.hint ?? null };
}
