import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MetalhubError } from '@metalhub/base/errors.js';
import t from 'tap';
import { loadConfig, loadLogin, parseConfig } from './load.js';

const parse = (text: string) => parseConfig([{ file: 'm.toml', text }]);

function failure(text: string): { code: string; message: string } {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof MetalhubError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: 'none', message: '' };
}

t.test('an empty file gives the defaults, and nobody may log in', async (t) => {
  const config = parse('');
  t.strictSame(config.proxy.listen, ['127.0.0.1:8000']);
  t.strictSame(config.login, []);
  t.equal(config.profile[0]?.python, '/usr/bin/python3');
  t.throws(() => Object.assign(config.proxy, { insecure: true }), 'the configuration is frozen');
});

t.test('mistakes name file, line and key', async (t) => {
  t.match(failure('public_url = "http://a"\n[proxy]\nlisen = []'), {
    code: 'MH_ERR_CONFIG_UNKNOWN_KEY',
    message: 'm.toml:3: proxy.lisen: unknown key',
  });
  t.match(failure('[[login]]\nmethod = "pam"\n\nallow = { grups = ["x"] }'), {
    code: 'MH_ERR_CONFIG_UNKNOWN_KEY',
    message: 'm.toml:4: login[0].allow.grups: unknown key',
  });
  t.match(failure('[accounts]\nuid_min = "a"'), {
    code: 'MH_ERR_CONFIG_VALUE',
    message: 'm.toml:2: accounts.uid_min: must be of type integer, not "a"',
  });
  t.match(failure('[[profile]]\ntitle = "x"'), {
    code: 'MH_ERR_CONFIG_VALUE',
    message: 'm.toml:1: profile[0].name: is missing',
  });
  t.match(failure('[proxy\n'), { code: 'MH_ERR_CONFIG_SYNTAX', message: /^m\.toml:[12]: syntax error: / });
});

t.test('A07: a misspelt allow list refuses instead of admitting everybody', async (t) => {
  t.equal(failure('[[login]]\nmethod = "pam"\nalow = { groups = ["x"] }').code, 'MH_ERR_CONFIG_UNKNOWN_KEY');
});

t.test('a public address without TLS needs a word of consent', async (t) => {
  t.match(failure('[proxy]\nlisten = ["0.0.0.0:80"]'), { code: 'MH_ERR_CONFIG_VALUE', message: /insecure = true/ });
  t.equal(failure('[proxy]\nlisten = ["0.0.0.0:80"]\ninsecure = true').code, 'none');
  t.equal(failure('[proxy]\nlisten = ["[::1]:80", "127.3.2.1:90"]').code, 'none');
  t.match(failure('[proxy]\nlisten = ["127.0.0.1:70000"]'), { message: /70000 is not a port/ });
});

t.test('so does a public address of the route API, which has no TLS', async (t) => {
  for (const address of ['0.0.0.0:8001', '[::]:8001', '192.0.2.1:8001']) {
    t.match(failure(`[proxy]\napi_listen = "${address}"`), {
      code: 'MH_ERR_CONFIG_VALUE',
      message: /m\.toml:2: proxy\.api_listen: .*not a loopback address.*insecure = true/,
    });
    t.equal(failure(`[proxy]\napi_listen = "${address}"\ninsecure = true`).code, 'none');
  }
  const tls = 'public_url = "https://a"\n[tls]\ncert_file = "/c"\nkey_file = "/k"\n';
  t.match(failure(`${tls}[proxy]\napi_listen = "0.0.0.0:8001"`), { message: /proxy\.api_listen/ }, 'TLS is not for it');
  for (const address of ['[::1]:8001', '127.3.2.1:90']) {
    t.equal(failure(`[proxy]\napi_listen = "${address}"`).code, 'none', address);
  }
  t.match(failure('[proxy]\napi_listen = "127.0.0.1:0"'), { message: /0 is not a port/ });
});

t.test('ranges of upstreams are ranges', async (t) => {
  for (const good of ['10.0.0.0/8', '2001:db8::/32']) {
    t.equal(failure(`[proxy]\nupstream_ranges = ["${good}"]`).code, 'none', good);
  }
  for (const bad of ['10.0.0.0/33', '10.0.0/8', '2001:db8::/129', '10.0.0.0']) {
    t.equal(failure(`[proxy]\nupstream_ranges = ["${bad}"]`).code, 'MH_ERR_CONFIG_VALUE', bad);
  }
});

t.test('values that contradict each other are refused', async (t) => {
  t.match(failure('[accounts]\nuid_min = 9000\nuid_max = 8000'), { message: /uid_max: must not be less/ });
  t.match(failure('[[profile]]\nname = "a"\n[[profile]]\nname = "a"'), { message: /m\.toml:4: .*used twice/ });
  t.match(failure('[[profile]]\nname = "a"\nmemory_max = "1K"'), { message: /memory_max: must lie between/ });
});

t.test('a ceiling of memory is a size that a server can run with, or none', async (t) => {
  for (const size of ['63M', '1025T', '0']) {
    const message = /memory_ceiling: must lie between 64M and 1024T/;
    t.match(failure(`[server]\nmemory_ceiling = "${size}"`), { code: 'MH_ERR_CONFIG_VALUE', message }, size);
  }
  for (const size of ['', '64M', '1024T']) {
    t.equal(failure(`[server]\nmemory_ceiling = "${size}"`).code, 'none', size);
  }
});

t.test('drop-ins are merged by name over all directories, /etc wins and /dev/null masks', async (t) => {
  const root = t.testdir({
    'metalhub.toml': 'public_url = "http://main"\n[proxy]\ninsecure = false',
    usr: { '10-a.toml': '[proxy]\ninsecure = true', '20-b.toml': 'public_url = "http://usr"', '30-c.toml': 'x = 1' },
  });
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc', '20-b.toml'), 'public_url = "http://etc"');
  symlinkSync('/dev/null', join(root, 'etc', '30-c.toml'));
  const dropInDirectories = [join(root, 'usr'), join(root, 'missing'), join(root, 'etc')];
  const config = loadConfig({ file: join(root, 'metalhub.toml'), dropInDirectories });
  t.equal(config.public_url, 'http://etc');
  t.equal(config.proxy.insecure, true);
});

t.test('a mistake in a drop-in names the drop-in', async (t) => {
  const sources = [
    { file: 'm.toml', text: '[proxy]\ninsecure = false' },
    { file: 'd/10.toml', text: '\n[proxy]\ninsecure = 3' },
  ];
  t.throws(() => parseConfig(sources), { message: /^d\/10\.toml:3: proxy\.insecure/ });
});

t.test('a missing main file is named', async (t) => {
  t.throws(() => loadConfig({ file: join(t.testdirName, 'none.toml'), dropInDirectories: [] }), {
    code: 'MH_ERR_CONFIG_FILE',
  });
});

t.test('loadLogin reads the login tables as loadConfig does, and no more', async (t) => {
  const login = '[[login]]\nmethod = "pam"\nallow = { groups = ["staff"] }\n';
  const root = t.testdir({
    'good.toml': `${login}[proxy]\ninsecure = true`,
    'other.toml': `${login}[prxy]\n`,
    'bad.toml': login.replace('groups', 'grups'),
    'none.toml': '',
  });
  const options = (name: string) => ({ file: join(root, name), dropInDirectories: [] });
  t.same(loadLogin(options('good.toml')), loadConfig(options('good.toml')).login);
  t.same(loadLogin(options('other.toml')), loadLogin(options('good.toml')), 'the rest is for others to refuse');
  t.same(loadLogin(options('none.toml')), []);
  t.throws(() => loadLogin(options('bad.toml')), { code: 'MH_ERR_CONFIG_UNKNOWN_KEY' });
  t.throws(() => loadLogin(options('missing.toml')), { code: 'MH_ERR_CONFIG_FILE' });
});

t.test('TLS needs both files and an https address, and then allows any address', async (t) => {
  const files = '[tls]\ncert_file = "/c"\nkey_file = "/k"\n';
  const https = 'public_url = "https://hub.example.org"\n';
  t.equal(failure(`${https}${files}[proxy]\nlisten = ["0.0.0.0:443"]`).code, 'none');
  t.match(failure(`${https}[tls]\ncert_file = "/c"`).message, 'm.toml:2: tls.key_file: is needed');
  t.match(failure(`${https}[tls]\nkey_file = "/c"`).message, 'tls.cert_file: is needed');
  t.match(failure(files).message, 'public_url: must begin with https://');
  t.match(failure(`${https}[tls]\nredirect_listen = ["0.0.0.0:80"]`).message, 'nothing to redirect to');
  t.match(failure(`${https}${files}redirect_listen = ["127.0.0.1:8000"]`).message, 'is also in proxy.listen');
  t.match(failure(`${https}${files}redirect_listen = ["127.0.0.1:0"]`).message, 'is not a port');
  t.match(failure(`${https}[tls]\ncert_file = "relative"`).message, 'does not have the right form');
});

t.test('trusted proxies are addresses and ranges', async (t) => {
  for (const good of ['192.0.2.1', '10.0.0.0/8', '2001:db8::/32', '::1']) {
    t.equal(failure(`[proxy]\ntrusted_proxies = ["${good}"]`).code, 'none', good);
  }
  for (const bad of ['10.0.0.0/33', '10.0.0', 'nginx', '2001:db8::/129', '10.0.0.0/']) {
    t.equal(failure(`[proxy]\ntrusted_proxies = ["${bad}"]`).code, 'MH_ERR_CONFIG_VALUE', bad);
  }
});
