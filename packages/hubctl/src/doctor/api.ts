import { request } from 'node:http';
import { errorText } from '@metalhub/base/errors.js';
import { API_ADDRESS, API_SOCKET } from '../hub-api.js';
import { type Check, failed, ok } from './check.js';

/** Nothing is said of it while it is off, as shipped. */
export const checkApi: Check = async ({ manager }) => {
  if (manager === undefined) return [];
  const names = ['ActiveState', 'UnitFileState'] as const;
  const { ActiveState, UnitFileState } = await manager.unitProperties(API_SOCKET, 'Unit', names);
  if (ActiveState !== 'active' && UnitFileState !== 'enabled') return [];
  const subject = `API at ${API_ADDRESS.host}:${API_ADDRESS.port}`;
  if (ActiveState !== 'active') {
    return [failed(subject, `${API_SOCKET} is ${String(ActiveState)}`, 'hubctl api enable, or hubctl api disable')];
  }
  try {
    const status = await getStatus();
    if (status === 200) return [ok(subject, 'answers')];
    return [failed(subject, `answers ${status}`, 'systemctl restart hub')];
  } catch (error) {
    return [failed(subject, errorText(error), 'systemctl restart hub')];
  }
};

function getStatus(): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request({ ...API_ADDRESS, path: '/hub/api', timeout: 5000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on('timeout', () => sent.destroy(new Error('the hub does not answer there')));
    sent.on('error', reject);
    sent.end();
  });
}
