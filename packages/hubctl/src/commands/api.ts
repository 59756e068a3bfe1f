import { MetalhubError } from '@metalhub/base/errors.js';
import { connectManager, type Manager } from '@metalhub/systemd/manager.js';
import { requireJobDone } from '@metalhub/systemd/manager-jobs.js';
import { type Command, type Context, print, requireRoot } from '../command.js';
import { API_SERVICE, API_SOCKET } from '../hub-api.js';

export const apiEnable: Command = {
  name: 'api enable',
  operands: [],
  summary: "have the hub's API listen on 127.0.0.1:8081, for programs that need TCP",
  run: (context) => change(context, true),
};

export const apiDisable: Command = {
  name: 'api disable',
  operands: [],
  summary: 'have it listen there no more',
  run: (context) => change(context, false),
};

/**
 * systemd hands a daemon its sockets when it starts, and takes none back: so the hub is restarted, which nobody notices,
 * as its requests wait in the other sockets meanwhile.
 */
async function change(context: Context, isOn: boolean): Promise<number> {
  requireRoot(isOn ? 'api enable' : 'api disable');
  const manager = await connectManager();
  try {
    await manager.setUnitFileEnabled(API_SOCKET, isOn);
    await manager.reloadConfiguration();
    if (!isOn) await stopSocket(manager);
    const { activeState: hub } = await stateOf(manager, API_SERVICE);
    // It was stopped by somebody, who decides when it starts.
    const isRestarted = hub !== 'inactive';
    if (isRestarted) requireJobDone(await manager.restartUnit(API_SERVICE, 'replace'));
    const isListening = (await stateOf(manager, API_SOCKET)).activeState === 'active';
    if (isRestarted && isOn && !isListening) throw notListening();
    print(context, { enabled: isOn, listening: isListening }, () => describe(isOn, isListening));
    return 0;
  } finally {
    manager.close();
  }
}

function describe(isOn: boolean, isListening: boolean): string {
  if (isListening) return 'the API of the hub listens on 127.0.0.1:8081';
  return isOn ? 'the API of the hub will listen when the hub is started' : 'the API of the hub does not listen';
}

async function stopSocket(manager: Manager): Promise<void> {
  try {
    await manager.stopUnit(API_SOCKET, 'replace');
  } catch (error) {
    if (!(error instanceof MetalhubError) || error.code !== 'MH_ERR_SYSTEMD_NO_SUCH_UNIT') throw error;
  }
}

async function stateOf(manager: Manager, unit: string): Promise<{ activeState: string }> {
  const [status] = await manager.listUnitsByPatterns([], [unit]);
  return { activeState: status?.activeState ?? 'inactive' };
}

function notListening(): MetalhubError {
  return new MetalhubError('MH_ERR_SYSTEMD_JOB_FAILED', {
    details: { unit: API_SOCKET, result: 'failed' },
    hint: `something else may listen on 127.0.0.1:8081 (ss -ltnp); see: journalctl -u ${API_SOCKET} -n 20`,
  });
}
