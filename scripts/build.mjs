// Builds every program into one file under build/lib, laid out as it is installed in /usr/lib/metalhub.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { aheadOfTime } from './lib/ahead-of-time.mjs';
import { bundledPackages, thirdPartyText } from './lib/third-party.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(root, 'build', 'lib');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const programs = {
  hub: 'packages/hub/src/main.ts',
  'hub-proxy': 'packages/hub-proxy/src/main.ts',
  'hub-proxy-worker': 'packages/hub-proxy/src/worker-main.ts',
  'hub-spawner': 'packages/hub-spawner/src/main.ts',
  'hub-spawner-config': 'packages/hub-spawner/src/config-main.ts',
  'hub-fix-home': 'packages/hub-spawner/src/fix-home/main.ts',
  'hub-pam': 'packages/hub-pam/src/main.ts',
  'hub-logs': 'packages/hub-logs/src/main.ts',
  hubctl: 'packages/hubctl/src/main.ts',
  'hub-secrets': 'packages/hubctl/src/secrets-main.ts',
  'hub-proxy-tls': 'packages/hubctl/src/tls/main.ts',
};
/**
 * What our dependencies load and nothing of ours calls: routes without schemas need no compilers, WebSockets pass the proxy
 * as bytes, and only tests inject requests. Together a sixth of each daemon's memory.
 */
const leftOut = ['@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler', 'light-my-request', 'ws'];
const present = Object.entries(programs).filter(([, entry]) => existsSync(join(root, entry)));

// --no-types: only the bundles, for a quick try.
if (!process.argv.includes('--no-types')) {
  execFileSync(join(root, 'node_modules/.bin/tsc'), ['-b'], { cwd: root, stdio: 'inherit' });
}
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

/** Our own packages from their sources: their compiled form may be missing, or be that of an hour ago. */
const fromSources = {
  name: 'from-sources',
  setup({ onResolve }) {
    onResolve({ filter: /^@metalhub\// }, ({ path }) => {
      const [, name, file] = /^@metalhub\/([a-z-]+)\/(.+)\.js$/.exec(path);
      return { path: join(root, 'packages', name, 'src', `${file}.ts`) };
    });
  },
};

const { metafile, warnings } = await build({
  absWorkingDir: root,
  entryPoints: Object.fromEntries(present),
  outdir: out,
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  // CommonJS loads faster than ESM and is what most dependencies are.
  format: 'cjs',
  minifySyntax: true,
  legalComments: 'none',
  sourcemap: false,
  metafile: true,
  external: ['koffi', 'sqlite3', 'node-pty'],
  plugins: [fromSources, aheadOfTime],
  // 8 MB in each of hub-proxy's workers, loaded by @fastify/reply-from and never used.
  alias: {
    undici: './packages/hub-proxy/src/no-undici.ts',
    ...Object.fromEntries(leftOut.map((name) => [name, './scripts/lib/left-out.cjs'])),
  },
  define: { METALHUB_VERSION: JSON.stringify(version) },
  logLevel: 'warning',
});

if (warnings.length > 0) process.exit(1);
for (const [program] of present) {
  // One character beyond Latin-1, and V8 keeps two bytes for each of its characters.
  const text = readFileSync(join(out, `${program}.cjs`), 'utf8');
  const at = text.search(/[^\0-\xff]/);
  if (at >= 0)
    throw new Error(`${program}: write it as an entity or an escape: ${text.slice(Math.max(0, at - 60), at + 20)}`);
}

// Native packages cannot be bundled: only what is loaded at run time comes along.
const modules = join(out, 'node_modules');
const copied = [];
const copyPackage = (name, keep) => {
  copied.push(join('node_modules', name));
  const from = join(root, 'node_modules', name);
  for (const part of ['package.json', ...keep]) {
    cpSync(join(from, part), join(modules, name, part), { recursive: true, dereference: true });
  }
};
const arch = `linux-${process.arch}`;
copyPackage('koffi', ['index.cjs', 'src/koffi/index.cjs', 'src/koffi/src/static.cjs']);
copyPackage(`@koromix/koffi-${arch}`, ['index.js', `${arch.replace('-', '_')}/koffi.node`]);
copyPackage('sqlite3', ['lib', 'build/Release/node_sqlite3.node']);
copyPackage('node-pty', [
  ...['index', 'utils', 'unixTerminal', 'terminal', 'eventEmitter2'].map((name) => `lib/${name}.js`),
  'build/Release/pty.node',
]);
copyPackage('bindings', ['bindings.js']);
copyPackage('file-uri-to-path', ['index.js']);

const extras = [
  'packages/hub-spawner/launcher/launcher.py',
  'packages/hub-spawner/launcher/activity.py',
  'packages/hub-spawner/launcher/adapter.py',
  'packages/hub-spawner/launcher/activate.py',
  'packages/hub-spawner/launcher/kernels.py',
  'packages/hub-spawner/launcher/run-command',
  'packages/hub-proxy/hub-proxy-stop',
];
for (const extra of extras) {
  if (existsSync(join(root, extra))) cpSync(join(root, extra), join(out, extra.split('/').at(-1)));
}

cpSync(join(root, 'packages/hub/static'), join(out, 'static'), { recursive: true });

// The package carries it in its documentation.
const bundled = bundledPackages(Object.keys(metafile.inputs));
writeFileSync(join(root, 'build', 'third-party-licenses.txt'), thirdPartyText(root, [...bundled, ...copied]));
