import t from 'tap';
import { renderManPage, renderReference, renderSample } from './document.js';
import { parseConfig } from './load.js';
import { profileSchema } from './profile-schema.js';

t.test('the shipped file is valid and lets one group in', async (t) => {
  const config = parseConfig([{ file: 'metalhub.toml', text: renderSample() }]);
  t.strictSame(config.login[0]?.allow, { users: [], groups: ['metalhub-users'] });
});

t.test('every default shown in the shipped file is one that the schema accepts', async (t) => {
  const uncommented = renderSample().replace(/^# ([a-z_]+ = |\[)/gm, '$1');
  t.same(parseConfig([{ file: 'metalhub.toml', text: uncommented }]).profile[0]?.name, 'default');
});

t.test('every key has a description', async (t) => {
  for (const key of ['proxy.drain_timeout_sec', 'profile.memory_max', 'login.allow']) t.match(renderReference(), key);
  for (const key of Object.keys(profileSchema.properties)) {
    const text = key === 'override' || key === 'choice' ? `[[profile.${key}]]` : `### \`profile.${key}\``;
    t.ok(renderReference().includes(text), key);
  }
  t.notMatch(renderReference(), /profile\.override\.memory_max/, 'but once');
  t.notMatch(renderReference(), /undefined/);
  t.notMatch(renderManPage(), /undefined/);
});
