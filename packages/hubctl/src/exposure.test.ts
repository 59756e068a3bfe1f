import t from 'tap';
import { parseExposure } from './exposure.js';

t.test('the exposure is read from the last line of systemd-analyze, whatever stands before', async (t) => {
  const line = '→ Overall exposure level for jupyter-profile.service: 1.5 OK 🙂';
  t.equal(parseExposure(`✓ PrivateTmp= Service has its own /tmp 0.2\n\n${line}\n`), 1.5);
  t.equal(parseExposure('Failed to load unit'), undefined);
});
