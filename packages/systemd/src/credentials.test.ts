import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { findCredential, readCredential, readCredentialText } from './credentials.js';

const directory = mkdtempSync(join(tmpdir(), 'metalhub-credentials-'));
process.env.CREDENTIALS_DIRECTORY = directory;
writeFileSync(join(directory, 'cookie-secret'), 'abc\n');
mkdirSync(join(directory, 'folder'));

t.test('a credential is read as it is, or as text without its last line break', (t) => {
  t.equal(readCredential('cookie-secret').toString(), 'abc\n');
  t.equal(readCredentialText('cookie-secret'), 'abc');
  t.end();
});

t.test('a missing one names the file and the setting', (t) => {
  t.equal(findCredential('none'), undefined);
  t.throws(() => readCredential('none'), {
    code: 'MH_ERR_SYSTEMD_CREDENTIAL',
    details: { reason: `${join(directory, 'none')} does not exist` },
    hint: /LoadCredential=none:/,
  });
  t.end();
});

t.test('one that is there and cannot be read is an error, not a missing one', (t) => {
  t.throws(() => findCredential('folder'), { code: 'MH_ERR_SYSTEMD_CREDENTIAL', details: { reason: /EISDIR/ } });
  t.end();
});

t.test('names that lead elsewhere are refused', (t) => {
  for (const name of ['', '../x', '/etc/shadow', '.', 'a/b']) {
    t.throws(() => findCredential(name), { code: 'MH_ERR_SYSTEMD_CREDENTIAL' });
  }
  t.end();
});
