import { parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { hookProperties, hookUnits } from './hooks.js';

const key = parseKey('anna');

function valuesOf(before_start: string[], after_stop: string[]): Record<string, unknown> {
  const properties = hookProperties(key, { before_start, after_stop });
  return Object.fromEntries(properties.map(([name, { value }]) => [name, value]));
}

t.test('S04: programs run in the unit, in order, without a shell and without any of root’s powers', async (t) => {
  t.same(valuesOf(['/etc/metalhub/hooks/a', '/etc/metalhub/hooks/b'], ['/etc/metalhub/hooks/c']), {
    ExecStartPreEx: [
      ['/etc/metalhub/hooks/a', ['/etc/metalhub/hooks/a'], ['no-env-expand']],
      ['/etc/metalhub/hooks/b', ['/etc/metalhub/hooks/b'], ['no-env-expand']],
    ],
    ExecStopPostEx: [['/etc/metalhub/hooks/c', ['/etc/metalhub/hooks/c'], ['ignore-failure', 'no-env-expand']]],
  });
});

t.test('units are instances for the key, needed before the start, and started after any end', async (t) => {
  t.same(valuesOf(['quota@.service'], ['report@.service']), {
    Requires: ['quota@anna.service'],
    After: ['quota@anna.service'],
    OnSuccess: ['report@anna.service'],
    OnFailure: ['report@anna.service'],
  });
  t.same(hookUnits(key, ['/bin/true', 'a-b@.service']), ['a-b@anna.service']);
});

t.test('without hooks there is nothing to say', async (t) => {
  t.same(valuesOf([], []), {});
});
