import t from 'tap';
import { parseActivity } from './activity-text.js';

const at = Date.UTC(2026, 10, 23, 3, 20, 0);

t.test('a server says whether something is at work in it, or since when not', async (t) => {
  t.same(parseActivity('Busy'), { busy: true, idle_since_ms: null, out_of_memory_ms: null });
  const idle = { busy: false, idle_since_ms: at, out_of_memory_ms: null };
  t.same(parseActivity('Idle since 2026-11-23T03:20:00Z'), idle);
});

t.test('and when it last ran out of memory', async (t) => {
  t.same(parseActivity('Busy; out of memory at 2026-11-23T03:20:00Z'), {
    busy: true,
    idle_since_ms: null,
    out_of_memory_ms: at,
  });
});

t.test('whatever else it says is taken for nothing', async (t) => {
  const nothing = { busy: null, idle_since_ms: null, out_of_memory_ms: null };
  const texts = ['', 'busy', 'Idle', 'Idle since 2026-11-23', 'Idle since 2026-99-23T03:20:00Z', 'Busy\nIdle'];
  for (const text of [...texts, 'Busy; out of memory']) t.same(parseActivity(text), nothing, text);
});
