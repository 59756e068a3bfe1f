import t from 'tap';
import { listenDropIn, listensOn } from './listen-drop-in.js';

t.test('a drop-in replaces what the unit says, and is left out when it would say the same', async (t) => {
  t.equal(listenDropIn(['127.0.0.1:8000']), undefined);
  t.match(
    listenDropIn(['127.0.0.1:8000', '[::1]:8000']),
    /\nListenStream=\nListenStream=127.0.0.1:8000\nListenStream=\[::1\]:8000\n/,
  );
});

t.test('what the unit listens on is compared whatever the order and the spelling', async (t) => {
  const loaded = [
    ['Stream', '[::1]:80'],
    ['Stream', '127.0.0.1:8000'],
  ];
  t.ok(listensOn(loaded, ['127.0.0.1:8000', '[0:0::1]:80']));
  t.notOk(listensOn(loaded, ['127.0.0.1:8000']));
  t.notOk(listensOn(loaded, ['127.0.0.1:8000', '[::1]:81']));
  t.notOk(listensOn(loaded, ['127.0.0.1:8000', '[::]:80']));
  t.notOk(listensOn([], ['127.0.0.1:8000']));
});
