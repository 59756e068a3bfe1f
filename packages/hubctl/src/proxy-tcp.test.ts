import { parseConfig } from '@metalhub/config/load.js';
import t from 'tap';
import { checkApiAddress } from './proxy-tcp.js';

const check = (text: string) => () => checkApiAddress(parseConfig([{ file: 'metalhub.toml', text }]));

t.test('the route API cannot have an address that visitors have', async (t) => {
  t.doesNotThrow(check('[proxy]\nlisten = ["127.0.0.1:8000"]\n'), 'as shipped');
  t.throws(
    check('[proxy]\nlisten = ["127.0.0.1:8000", "127.0.0.1:8001"]\n'),
    { code: 'MH_ERR_CLI_LISTEN', message: /127\.0\.0\.1:8001 twice/ },
    'its default is taken',
  );
  t.doesNotThrow(check('[proxy]\nlisten = ["127.0.0.1:8001"]\napi_listen = "127.0.0.1:8002"\n'));
});
