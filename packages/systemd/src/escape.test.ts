import t from 'tap';
import { escapeBusLabel, findUnitOfPath, unescapeBusLabel, unitObjectPath } from './escape.js';

t.test('escapeBusLabel', (t) => {
  t.test('escapes everything but letters and digits, and a digit in front', (t) => {
    t.equal(escapeBusLabel('jupyter-ada:gpu.service'), 'jupyter_2dada_3agpu_2eservice');
    t.equal(escapeBusLabel('1a1'), '_31a1');
    t.equal(escapeBusLabel(''), '_');
    t.equal(escapeBusLabel('é'), '_c3_a9');
    t.end();
  });
  t.test('is undone by unescapeBusLabel', (t) => {
    for (const name of ['', 'a', '7', 'jupyter-a_b:x-1.socket', 'dev-disk-by\\x2did.device', 'é☃']) {
      t.equal(unescapeBusLabel(escapeBusLabel(name)), name);
    }
    t.end();
  });
  t.test('keeps an incomplete escape as it stands', (t) => {
    t.equal(unescapeBusLabel('a_2'), 'a_2');
    t.equal(unescapeBusLabel('a_zz'), 'a_zz');
    t.end();
  });
  t.end();
});

t.test('findUnitOfPath gives the name back, and nothing for other objects', (t) => {
  t.equal(findUnitOfPath(unitObjectPath('jupyter-ada.service')), 'jupyter-ada.service');
  t.equal(findUnitOfPath('/org/freedesktop/systemd1/job/7'), undefined);
  t.end();
});
