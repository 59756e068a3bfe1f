import { MetalhubError } from '@metalhub/base/errors.js';
import type { LogFields } from '@metalhub/base/log.js';
import t from 'tap';
import { cleanText, isSecretKey, journalFields } from './journal-fields.js';

function fieldsOf(fields: LogFields, priority = 6, isRoot = false): Record<string, string> {
  return Object.fromEntries(journalFields({ identifier: 'hub', priority, message: 'said', fields }, isRoot));
}

t.test('journalFields', (t) => {
  t.test('maps names to fields', (t) => {
    t.same(
      fieldsOf({ user: 'ada', clientId: 'c', requestId: 'r', durationMs: 3, ok: true, nothing: undefined, none: null }),
      {
        MESSAGE: 'said',
        PRIORITY: '6',
        SYSLOG_IDENTIFIER: 'hub',
        METALHUB_USER: 'ada',
        METALHUB_CLIENT_ID: 'c',
        METALHUB_REQUEST_ID: 'r',
        METALHUB_DURATION_MS: '3',
        METALHUB_OK: 'true',
      },
    );
    t.end();
  });
  t.test('names the unit as the object only when root, from whom alone journald takes it', (t) => {
    t.equal(fieldsOf({ unit: 'jupyter-a.service' }, 6, true).OBJECT_SYSTEMD_UNIT, 'jupyter-a.service');
    t.equal(fieldsOf({ unit: 'jupyter-a.service' }).OBJECT_SYSTEMD_UNIT, undefined);
    t.equal(fieldsOf({ unit: 'jupyter-a.service' }).METALHUB_UNIT, 'jupyter-a.service');
    t.end();
  });
  t.test('cannot be made to forge fields or lines', (t) => {
    const fields = fieldsOf({ user: 'a\nPRIORITY=0', 'x\nMESSAGE': 'y', text: 'r\u001b[31m\u202e\r\n' });
    t.equal(fields.METALHUB_USER, 'a\\nPRIORITY=0');
    t.equal(fields.METALHUB_X_MESSAGE, 'y');
    t.equal(fields.METALHUB_TEXT, 'r\\x1b[31m\\u202e\\x0d\\n');
    t.equal(fields.MESSAGE, 'said');
    t.end();
  });
  t.test('bounds texts, lists, depth and the number of fields', (t) => {
    const deep: Record<string, unknown> = {};
    deep.self = deep;
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`k${index}`, index]));
    t.ok(Buffer.byteLength(fieldsOf({ user: 'ü'.repeat(9999) }).METALHUB_USER ?? '') <= 256);
    t.ok(Buffer.byteLength(fieldsOf({ text: '☃'.repeat(99_999) }).METALHUB_TEXT ?? '') <= 4096);
    t.ok((fieldsOf({ deep }).METALHUB_DEEP ?? '').length < 200);
    t.ok(Object.keys(fieldsOf(many)).length < 60);
    t.end();
  });
  t.test('redacts secrets, also inside objects', (t) => {
    const fields = fieldsOf({
      token: 'a',
      headers: { authorization: 'Bearer x', cookie: 'y', host: 'h' },
      tokenId: 't1',
    });
    t.equal(fields.METALHUB_TOKEN, '[redacted]');
    t.equal(fields.METALHUB_HEADERS, '{"authorization":"[redacted]","cookie":"[redacted]","host":"h"}');
    t.equal(fields.METALHUB_TOKEN_ID, 't1');
    t.end();
  });
  t.test('shows an error with its code; its frames from priority error on', (t) => {
    const err = new MetalhubError('MH_ERR_SYSTEMD_NO_SUCH_UNIT', {
      details: { unit: 'a\nb' },
      cause: new TypeError('why\n    at fake'),
    });
    const warned = fieldsOf({ err }, 4);
    t.equal(warned.METALHUB_ERROR, 'MH_ERR_SYSTEMD_NO_SUCH_UNIT');
    t.equal(warned.MESSAGE, 'said: unit a\\nb is not loaded');
    t.match(fieldsOf({ err }, 3).MESSAGE, /is not loaded\n {4}at .*\ncaused by TypeError: why[^\n]*\n {4}at /s);
    t.end();
  });
  t.test('takes what is thrown and is no error', (t) => {
    t.match(fieldsOf({ err: 'text' }, 3), { MESSAGE: 'said: text', METALHUB_ERROR: 'unknown' });
    t.match(fieldsOf({ err: { type: 'RangeError', message: 'm', stack: 's' } }), { METALHUB_ERROR: 'RangeError' });
    t.end();
  });
  t.end();
});

t.test('isSecretKey knows secrets by their words', (t) => {
  for (const key of [
    'password',
    'newPassword',
    'access_token',
    'Set-Cookie',
    'clientSecret',
    'code',
    'authCode',
    'Authorization',
    'tokenHash',
  ]) {
    t.ok(isSecretKey(key), key);
  }
  for (const key of ['user', 'tokenId', 'cookieName', 'exitCode', 'statusCode', 'codeServer', 'unit', '']) {
    t.notOk(isSecretKey(key), key);
  }
  t.end();
});

t.test('cleanText cuts between characters', (t) => {
  const cut = cleanText('é'.repeat(100), 20);
  t.ok(Buffer.byteLength(cut) <= 20);
  t.match(cut, /^é+…$/);
  t.equal(cleanText('short', 20), 'short');
  t.end();
});
