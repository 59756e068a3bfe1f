import { parseConfig } from '@metalhub/config/load.js';
import t from 'tap';
import { ConfigHolder } from './config-holder.js';
import { type LogLineSeen, memoryLog } from './testing/test-hub.js';

t.test('a bad configuration is refused with its place, and the old one stays', async (t) => {
  let text = 'public_url = "http://a"';
  const holder = new ConfigHolder(() => parseConfig([{ file: '/etc/metalhub/metalhub.toml', text }]));
  const lines: LogLineSeen[] = [];
  const log = memoryLog(lines);
  const bad = ['public_url = ', '[hub]\nsession_lifetime = 5', '[hub]\nsession_lifetime_sec = 5'];
  for (text of bad) t.notOk(holder.reload(log));
  t.equal(holder.current.public_url, 'http://a');
  t.match(
    lines.map(({ fields }) => fields['reason']),
    [
      /^\/etc\/metalhub\/metalhub\.toml:1: /,
      /metalhub\.toml:2: hub\.session_lifetime: unknown key/,
      /metalhub\.toml:2: hub\.session_lifetime_sec: /,
    ],
  );
  text = 'public_url = "http://b"';
  t.ok(holder.reload(log));
  t.equal(holder.current.public_url, 'http://b');
});

t.test('a bad configuration at the start is an error', async (t) => {
  t.throws(() => new ConfigHolder(() => parseConfig([{ file: 'x', text: 'x = 1' }])), {
    code: 'MH_ERR_CONFIG_UNKNOWN_KEY',
  });
});
