import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import koffi from 'koffi';
import { type Credentials, createConversation } from './conversation.js';
import { PAM_CONV_ERR, PAM_SUCCESS, type PamResult } from './outcome.js';

const PAM_TTY = 3;
const PAM_RHOST = 4;
const PAM_BUF_ERR = 5;
const PAM_FAIL_DELAY = 10;
const PAM_SILENT = 0x8000;
const PAM_DISALLOW_NULL_AUTHTOK = 0x0001;
const PR_SET_DUMPABLE = 4;
const LOG_PID = 1;
const LOG_AUTHPRIV = 10 << 3;
// syslog(3) keeps the pointer.
const SYSLOG_IDENTIFIER = cString('hub-pam');
const POINTER_BYTES = 8;
/** `struct pam_response`: a pointer and an int, padded. */
const RESPONSE_BYTES = 16;
/** Modules expect a thread's usual stack; koffi's own is 256 KiB. Only touched pages cost memory. */
const STACK_BYTES = 8 * 1024 * 1024;

type Native = ReturnType<typeof bindLibraries>;

export interface PamRequest extends Credentials {
  /** Name of the file in /etc/pam.d. */
  readonly service: string;
  /** Where the visitor is, for modules that care; empty for unknown. */
  readonly remoteHost: string;
  /** Called once the password is in libpam's hands, on this thread, which is idle from then on. */
  readonly onPasswordTaken: () => void;
}

/**
 * Prepares this process for secrets (no core dump, no reading of its memory by other processes of its account) and gives
 * the modules' own log lines our name instead of `node`.
 *
 * Must come before anything else that calls into a library through koffi, since it also sets the size of its stacks.
 * @throws {MH_ERR_PAM_LIBRARY}
 */
export function prepareProcess(): void {
  koffi.config({ async_stack_size: STACK_BYTES });
  const libc = load('libc.so.6');
  libc.func('void openlog(const void *ident, int option, int facility)')(SYSLOG_IDENTIFIER, LOG_PID, LOG_AUTHPRIV);
  const prctl = libc.func('int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)');
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) !== 0) throw libraryError('prctl(PR_SET_DUMPABLE) failed');
}

/**
 * Ends the process without waiting for a thread that is stuck in a module, which `process.exit` would do; and without
 * the exit handlers that modules leave behind.
 */
export function endProcess(status: number): void {
  load('libc.so.6').func('void _exit(int status)')(status);
}

/**
 * Has libpam check one name and password: authentication, then the state of the account. No session is opened.
 *
 * libpam runs on a thread of its own, so time-outs and the caller's going away are noticed. It is not told to delay the
 * answer to a wrong password: the hub gives all failures the same duration.
 * @throws {MH_ERR_PAM_LIBRARY} libpam is not there
 */
export async function runPam(request: PamRequest): Promise<PamResult> {
  const native = bindLibraries();
  const conversation = koffi.register(
    createConversationCallback(native, request),
    koffi.pointer(koffi.proto('int', ['int', 'void *', 'void *', 'void *'])),
  );
  const noDelay = koffi.register(() => undefined, koffi.pointer(koffi.proto('void', ['int', 'uint', 'void *'])));
  const conv = Buffer.alloc(2 * POINTER_BYTES);
  conv.writeBigUInt64LE(conversation);
  const out = Buffer.alloc(POINTER_BYTES);
  const resultOf = (phase: PamResult['phase'], code: number): PamResult => ({
    phase,
    code,
    text: native.strerror(null, code),
  });

  const started = native.start(cString(request.service), request.name, conv, out);
  if (started !== PAM_SUCCESS) return resultOf('start', started);
  const handle = out.readBigUInt64LE();
  // PAM_TTY must not be empty for pam_access and pam_time; like `ssh` and `cron` it names the way in.
  const items: [number, Buffer | bigint][] = [
    [PAM_TTY, cString('metalhub')],
    [PAM_FAIL_DELAY, noDelay],
  ];
  if (request.remoteHost !== '') items.push([PAM_RHOST, cString(request.remoteHost)]);
  for (const [item, value] of items) {
    const code = native.setItem(handle, item, value);
    if (code !== PAM_SUCCESS) return resultOf('start', code);
  }
  const authenticated = await inBackground(native.authenticate, handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
  const checked =
    authenticated === PAM_SUCCESS
      ? await inBackground(native.accountManagement, handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK)
      : authenticated;
  const result = resultOf(authenticated === PAM_SUCCESS ? 'account' : 'authenticate', checked);
  await inBackground(native.end, handle, checked);
  return result;
}

/** A C string in UTF-8, with its NUL. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf8');
}

function createConversationCallback(native: Native, request: PamRequest) {
  const converse = createConversation(request);
  return (count: number, messages: bigint, responses: bigint): number => {
    // Whatever is thrown here would reach libpam as 0, which is success.
    try {
      const styles = Array.from({ length: Math.max(0, Math.min(count, 64)) }, (_, index) => {
        // Linux-PAM passes an array of pointers to messages.
        const message: bigint = koffi.decode(messages, index * POINTER_BYTES, 'void *');
        return koffi.decode.int(message);
      });
      const answers = converse(styles);
      if (answers === undefined) return PAM_CONV_ERR;
      const block = allocateResponses(native, answers);
      if (block === null) return PAM_BUF_ERR;
      koffi.encode(responses, 'void *', block);
      if (answers.includes(request.password)) request.onPasswordTaken();
      return PAM_SUCCESS;
    } catch {
      return PAM_CONV_ERR;
    }
  };
}

/** Memory of libc's, because libpam and its modules free it; they overwrite the texts before. */
function allocateResponses(native: Native, answers: readonly (Buffer | null)[]): bigint | null {
  const block = native.calloc(answers.length, RESPONSE_BYTES);
  if (block === null) return null;
  for (const [index, answer] of answers.entries()) {
    if (answer === null) continue;
    const copy = native.strdup(answer);
    if (copy === null) return null;
    koffi.encode(block, index * RESPONSE_BYTES, 'void *', copy);
  }
  return block;
}

function bindLibraries() {
  const pam = load('libpam.so.0');
  const libc = load('libc.so.6');
  try {
    return {
      start: pam.func('int pam_start(const void *service, const void *user, const void *conv, void *handle)'),
      setItem: pam.func('int pam_set_item(void *handle, int item, const void *value)'),
      authenticate: pam.func('int pam_authenticate(void *handle, int flags)'),
      accountManagement: pam.func('int pam_acct_mgmt(void *handle, int flags)'),
      end: pam.func('int pam_end(void *handle, int status)'),
      strerror: pam.func('const char *pam_strerror(void *handle, int code)'),
      calloc: libc.func('void *calloc(size_t count, size_t size)') as (count: number, size: number) => bigint | null,
      strdup: libc.func('void *strdup(const void *text)') as (text: Buffer) => bigint | null,
    };
  } catch (cause) {
    throw libraryError(errorText(cause), cause);
  }
}

function load(library: string): ReturnType<typeof koffi.load> {
  try {
    return koffi.load(library);
  } catch (cause) {
    throw libraryError(errorText(cause), cause);
  }
}

function inBackground(
  call: ReturnType<ReturnType<typeof koffi.load>['func']>,
  handle: bigint,
  value: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(handle, value, (error: unknown, code: number) => {
      if (error === null || error === undefined) resolve(code);
      else reject(libraryError(errorText(error), error));
    });
  });
}

function libraryError(reason: string, cause?: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_PAM_LIBRARY', { details: { reason }, cause });
}
