import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { findAccountByUid } from '@metalhub/systemd/accounts.js';
import { closeDescriptor, receiveDescriptors, stopReading } from '@metalhub/systemd/descriptors.js';
import { type PeerCredentials, socketPeerCredentials } from '@metalhub/systemd/peer.js';
import type { EventOf, ParamsOf, ResultOf } from '@metalhub/wire/protocol.js';
import type { RequestContext } from '@metalhub/wire/server.js';
import type { SpawnerAdminRequests } from '@metalhub/wire/spawner-admin.js';
import type { CommandStreams } from '../commands/command-unit.js';
import { type CommandStart, startCommand } from '../commands/start-command.js';
import { requireOwnTerminal } from '../commands/terminal.js';
import type { SpawnerContext } from '../context.js';
import { createTurns } from '../turns.js';

type Params<M extends keyof SpawnerAdminRequests> = ParamsOf<SpawnerAdminRequests, M>;
type Result = ResultOf<SpawnerAdminRequests, 'Exec'>;
type Request = RequestContext<EventOf<SpawnerAdminRequests, 'Exec'>>;

/** The caller has them in its hands. */
const DESCRIPTORS_TIMEOUT_MS = 5 * SECOND_MS;
const PROGRAM_LOG_LENGTH = 128;

/** One caller at a time: waiting takes a thread. */
const inTurn = createTurns();

/** Runs a command as a user. It ends when the caller goes. */
export function answerExec(context: SpawnerContext, params: Params<'Exec'>, request: Request, socket: Socket) {
  const { command } = params;
  if (command.length === 0) throw new MetalhubError('MH_ERR_SPAWN_NAME', { details: { what: 'command' } });
  return runCommand(
    context,
    socket,
    request,
    { ...params, wordsOf: () => command },
    3,
    ([input = -1, output = -1, error = -1]) => {
      return { kind: 'descriptors', fds: [input, output, error] };
    },
  );
}

/** Like {@link answerExec} with the login shell, as JupyterLab's terminals start it. */
export function answerShell(context: SpawnerContext, params: Params<'Shell'>, request: Request, socket: Socket) {
  const wordsOf: CommandStart['wordsOf'] = ({ shell }) => [shell, '-l'];
  return runCommand(context, socket, request, { ...params, wordsOf }, 1, async ([fd = -1], { uid }) => {
    return { kind: 'terminal', path: await requireOwnTerminal(fd, uid), term: params.term };
  });
}

export async function answerAttachCommand(
  context: SpawnerContext,
  { key, id }: Params<'AttachCommand'>,
  { signal }: Pick<Request, 'signal'>,
): Promise<Result> {
  return context.commands.wait(key, id, signal);
}

export async function answerSignalCommand(
  context: SpawnerContext,
  { key, id, signal }: Params<'SignalCommand'>,
): Promise<Record<string, never>> {
  await context.manager.killUnit(context.commands.require(key, id), 'all', constants.signals[signal]);
  return {};
}

async function runCommand(
  context: SpawnerContext,
  socket: Socket,
  { emit, signal }: Request,
  start: Omit<CommandStart, 'streams'> & { readonly claimed: string | null },
  count: number,
  streamsOf: (fds: readonly number[], peer: PeerCredentials) => CommandStreams | Promise<CommandStreams>,
): Promise<Result> {
  const { key, claimed } = start;
  const peer = socketPeerCredentials(socket);
  const account = (await findAccountByUid(peer.uid))?.name ?? null;
  const fds = await takeDescriptors(socket, count, () => emit({ event: 'descriptors', id: null }));
  let started: Awaited<ReturnType<typeof startCommand>>;
  try {
    started = await startCommand(context, { ...start, streams: await streamsOf(fds, peer) }, signal);
  } finally {
    // systemd has its copies.
    for (const fd of fds) closeDescriptor(fd);
  }
  const { id, unit, words, uid, profile } = started;
  const who = { peer: `uid=${peer.uid} pid=${peer.pid}`, account, ...(claimed !== null && { claimed }) };
  const program = words[0]?.slice(0, PROGRAM_LOG_LENGTH) ?? '';
  // Of its words only the first: the others may hold secrets.
  context.log.notice('command started', { user: key, unit, uid, profile, program, words: words.length, ...who });
  emit({ event: 'started', id });
  try {
    const end = await context.commands.wait(key, id, signal);
    context.log.notice('command ended', { user: key, unit, status: end.status, result: end.result, ...who });
    return end;
  } catch (error) {
    if (signal.aborted) context.log.notice('command left by its caller', { user: key, unit, ...who });
    throw error;
  }
}

function takeDescriptors(socket: Socket, count: number, ask: () => void): Promise<number[]> {
  return inTurn(async () => {
    const readOn = stopReading(socket);
    try {
      ask();
      return await receiveDescriptors(socket, count, DESCRIPTORS_TIMEOUT_MS);
    } catch (cause) {
      throw new MetalhubError('MH_ERR_SPAWN_DESCRIPTORS', { details: { reason: errorText(cause) }, cause });
    } finally {
      readOn();
    }
  });
}
