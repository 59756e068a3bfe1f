import t from 'tap';
import { withoutBase, withoutBaseIfAny } from './without-base.js';

t.test('the base is taken off what lies below it, and nothing else', async (t) => {
  t.equal(withoutBase('/jupyter/hub/login?next=/jupyter/hub/', '/jupyter'), '/hub/login?next=/jupyter/hub/');
  t.equal(withoutBase('/jupyter/', '/jupyter'), '/');
  t.equal(withoutBase('/jupyter', '/jupyter'), '/');
  t.equal(withoutBase('/jupyter?a=1', '/jupyter'), '/?a=1');
  t.equal(withoutBase('/hub/login', ''), '/hub/login');
  for (const url of [
    '/',
    '/hub/login',
    '/jupyterx/hub/login',
    '/Jupyter/hub/login',
    '/jupyter%2fhub',
    '//jupyter/hub',
  ]) {
    t.equal(withoutBase(url, '/jupyter'), '/elsewhere', url);
    t.equal(withoutBaseIfAny(url, '/jupyter'), undefined, url);
  }
});

t.test('the way of the proxy itself has no base: proxies of before and after a change ask the same hub', async (t) => {
  t.equal(withoutBase('/hub/internal/ticket-renew', '/jupyter'), '/hub/internal/ticket-renew');
});
