import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { loadAndKeepConfig, loadConfigOrCopy } from './startup-config.js';
import { TestLog } from './testing/proxy.js';

t.test('R02: a bad configuration at the start means the last good one, and says where the mistake is', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'proxy-config-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const places = {
    file: join(directory, 'metalhub.toml'),
    dropInDirectories: [join(directory, 'd')],
    copy: join(directory, 'copy'),
  };
  const log = new TestLog();
  writeFileSync(places.file, 'public_url = "http://one.example"\n');
  t.equal((await loadConfigOrCopy(places, log)).public_url, 'http://one.example');
  writeFileSync(places.file, 'public_url = "http://two.example"\n[proxy]\nlissen = []\n');
  t.equal((await loadConfigOrCopy(places, log)).public_url, 'http://one.example');
  t.equal(log.lines[0]?.level, 'critical');
  t.match(String(log.lines[0]?.fields?.['err']), /metalhub\.toml:3: proxy\.lissen/);
  await t.rejects(loadAndKeepConfig(places, log), { code: 'MH_ERR_CONFIG_UNKNOWN_KEY' }, 'a reload refuses it');
  t.equal((await loadConfigOrCopy(places, log)).public_url, 'http://one.example', 'the copy is still the good one');
  rmSync(places.copy);
  await t.rejects(loadConfigOrCopy(places, log), { code: 'MH_ERR_CONFIG_UNKNOWN_KEY' });
  writeFileSync(places.copy, '{"sources":[{"file":"x","text":"proxy = 1"}]}');
  await t.rejects(loadConfigOrCopy(places, log), { code: 'MH_ERR_CONFIG_UNKNOWN_KEY' }, 'a damaged copy is no copy');
});
