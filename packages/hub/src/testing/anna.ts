import { Browser, TestHub } from './test-hub.js';

export interface AnnasHub {
  readonly test: TestHub;
  readonly anna: Browser;
  /** Of Anna's server. */
  readonly phase: () => string;
}

/** A hub where Anna is logged in; others may log in, too. */
export async function openWithAnna(t: { teardown: (end: () => Promise<void>) => void }): Promise<AnnasHub> {
  const test = await TestHub.open(
    (test) => void test.pam.passwords.set('anna', 'right').set('bert', 'right').set('root-of-all', 'right'),
  );
  t.teardown(() => test.close());
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  return { test, anna, phase: () => phaseOf(test) };
}

/** Of Anna's server. */
export function phaseOf(test: TestHub): string {
  return test.context.servers.list().find(({ user }) => user.name === 'anna')?.state.phase ?? 'none';
}
