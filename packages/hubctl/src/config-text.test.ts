import { renderSample } from '@metalhub/config/document.js';
import { parseConfig } from '@metalhub/config/load.js';
import t from 'tap';
import { formatConfig } from './config-text.js';
import { listenDropIn } from './listen-drop-in.js';

t.test('what is shown means the same when it is read again', async (t) => {
  const config = parseConfig([
    { file: 'a', text: `${renderSample()}\n[[profile]]\nname = "x"\ntitle = "a\\"b\\u007f"` },
  ]);
  t.strictSame(parseConfig([{ file: 'b', text: formatConfig(config) }]), config);
});

t.test('a drop-in is written only for other addresses than those shipped', async (t) => {
  t.equal(listenDropIn(['127.0.0.1:8000']), undefined);
  t.match(
    listenDropIn(['[::1]:80', '10.0.0.1:80']),
    'ListenStream=\nListenStream=[::1]:80\nListenStream=10.0.0.1:80\n',
  );
});
