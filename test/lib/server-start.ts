import { createUser, installDeb, PAM_LOGIN } from './deb.js';
import { bootMachine, type Machine } from './machine.js';
import { fieldOf, readEvents, Visitor } from './visitor.js';

/** Everything that a visitor's start of a server ended with: the last event of its progress stream. */
export type Outcome = Record<string, unknown>;

const RETRY_MS = 200;
const PATIENCE_MS = 90_000;

/** A machine with the package installed, and a visitor who is logged in as its user anna. */
export async function bootWithAnna(): Promise<{ machine: Machine; visitor: Visitor }> {
  const machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await machine.enterNetwork();
  const visitor = new Visitor();
  await visitor.logIn('anna', 'correct horse');
  return { machine, visitor };
}

/** Presses a button of the home page. */
export async function press(visitor: Visitor, action: 'spawn' | 'stop'): Promise<void> {
  const home = await visitor.navigate('/hub/home');
  await visitor.submit(`/hub/${action}`, { csrf: fieldOf(home.text, 'csrf'), next: '', server: '' });
}

/** Follows a start to its end as the page does: a stream that breaks off is opened again. */
export async function outcomeOf(visitor: Visitor, user: string): Promise<Outcome> {
  const headers = { accept: 'text/event-stream' };
  const endMs = performance.now() + PATIENCE_MS;
  while (performance.now() < endMs) {
    try {
      const response = await visitor.request(`/hub/api/users/${user}/server/progress`, { headers });
      if (response.status === 200) {
        for await (const event of readEvents(response))
          if (event['ready'] === true || event['failed'] === true) return event;
      }
    } catch {
      // The hub or the proxy went away in the middle; the start goes on.
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  throw new Error('the start neither succeeded nor failed');
}

export async function start(visitor: Visitor, user: string): Promise<Outcome> {
  await press(visitor, 'spawn');
  return outcomeOf(visitor, user);
}

/** A property of a unit, as `systemctl show` prints it. */
export async function unitProperty(machine: Pick<Machine, 'run'>, unit: string, name: string): Promise<string> {
  return (await machine.run(['systemctl', 'show', '--property', name, '--value', unit])).trim();
}

/** Waits until something of the machine is so. @throws after a while, with what was waited for */
export async function until(what: string, isSo: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * Makes a program of ours the "Python" of the only profile.
 * @param script of bash; `exec /usr/bin/python3 "$@"` goes on to the real one
 */
export async function useProgram(machine: Machine, script: string, startTimeoutSec = 60): Promise<void> {
  await machine.writeFile('/opt/odd/python', `#!/bin/bash\n${script}\n`, 0o755);
  const lines = [
    PAM_LOGIN,
    `[server]\nstart_timeout_sec = ${startTimeoutSec}`,
    '[[profile]]\nname = "odd"\npython = "/opt/odd/python"',
  ];
  await machine.writeFile('/etc/metalhub/metalhub.toml', `${lines.join('\n')}\n`);
  await machine.run(['hubctl', 'apply']);
}
