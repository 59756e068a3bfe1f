import t from 'tap';
import { lifeSpan } from './life-span.js';

const startedMs = 1_000_000;

t.test('a server without limits runs for ever', async (t) => {
  t.equal(lifeSpan({ idleSec: 0, ageSec: 0 }, { startedMs, activeMs: startedMs }), undefined);
});

t.test('the idle time begins with the last use, the age with the start; what ends first counts', async (t) => {
  const limits = { idleSec: 100, ageSec: 1000 };
  t.match(lifeSpan(limits, { startedMs, activeMs: startedMs + 5000 }), { reason: 'idle', endsMs: startedMs + 105_000 });
  t.match(lifeSpan(limits, { startedMs, activeMs: startedMs + 950_000 }), {
    reason: 'age',
    endsMs: startedMs + 1_000_000,
    limitSec: 1000,
  });
});

t.test('what was used before the start does not count', async (t) => {
  t.match(lifeSpan({ idleSec: 10, ageSec: 0 }, { startedMs, activeMs: 5 }), { endsMs: startedMs + 10_000 });
});

t.test('nobody is idle while it is not known when they were last there', async (t) => {
  t.equal(lifeSpan({ idleSec: 1, ageSec: 0 }, { startedMs, activeMs: undefined }), undefined);
  t.match(lifeSpan({ idleSec: 1, ageSec: 9 }, { startedMs, activeMs: undefined }), { reason: 'age' });
});

t.test('the warning comes ten minutes before, or with the last quarter of a short time', async (t) => {
  const day = lifeSpan({ idleSec: 0, ageSec: 86_400 }, { startedMs, activeMs: undefined });
  t.equal(Number(day?.endsMs) - Number(day?.warnMs), 600_000);
  const short = lifeSpan({ idleSec: 0, ageSec: 40 }, { startedMs, activeMs: undefined });
  t.equal(Number(short?.endsMs) - Number(short?.warnMs), 10_000);
});
