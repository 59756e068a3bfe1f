import t from 'tap';
import { describeLimits, parseLimits } from './limit.js';

t.test('limits are typed as in systemd, one word each', async (t) => {
  t.same(parseLimits(['memory=8G', 'cpu=250%', 'tasks=500']), {
    memory_max_bytes: 8 * 2 ** 30,
    cpu_quota_percent: 250,
    tasks_max: 500,
  });
  t.same(parseLimits(['memory=1536M']), { memory_max_bytes: 1536 * 2 ** 20 });
});

t.test('what is no limit is refused, and named', async (t) => {
  const wrong = [
    'memory',
    'memory=',
    'memory=-1',
    'memory=1e30',
    'memory=infinity',
    'cpu=2',
    'cpu=0%',
    'disk=1G',
    'default',
  ];
  for (const word of wrong) t.throws(() => parseLimits(['tasks=20', word]), { code: 'MH_ERR_CLI_USAGE' }, word);
});

t.test('they are shown as they were typed, with their end', async (t) => {
  t.equal(
    describeLimits({ memory_max_bytes: 1536 * 2 ** 20, cpu_quota_percent: 50, until: null }),
    'memory 1536M, cpu 50%',
  );
  t.match(describeLimits({ tasks_max: 20, until: '2026-11-23T14:00:00.000Z' }), /^tasks 20 until 2026-11-23/);
});
