import t from 'tap';
import { ERROR_MESSAGES, isErrorCode, MetalhubError, systemErrorCode } from './errors.js';

t.test('fills the message from details and leaves a mark where one is missing', async (t) => {
  const error = new MetalhubError('MH_ERR_HUB_NO_SUCH_USER', { details: { user: 'anna' }, hint: 'log in first' });
  t.equal(error.message, 'no such user: anna');
  t.equal(error.hint, 'log in first');
  t.equal(new MetalhubError('MH_ERR_HUB_NO_SUCH_USER').message, 'no such user: ?');
});

t.test('codes have one form and are known', async (t) => {
  for (const code of Object.keys(ERROR_MESSAGES)) t.match(code, /^MH_ERR_[A-Z0-9_]+$/);
  t.ok(isErrorCode('MH_ERR_INTERNAL'));
  t.notOk(isErrorCode('toString'));
  t.equal(systemErrorCode(Object.assign(new Error('x'), { code: 'ENOENT' })), 'ENOENT');
  t.equal(systemErrorCode('ENOENT'), undefined);
});
