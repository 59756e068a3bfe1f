import { spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import t from 'tap';

const CHILD = `
import { readFileSync } from 'node:fs';
import { listenFds, requireListenFd } from '${new URL('listen-fds.js', import.meta.url).href}';
const attempt = (name) => { try { return requireListenFd(name); } catch (e) { return [e.code, e.hint, e.details.found]; } };
const flags = () => Number.parseInt(/flags:\\s*(\\d+)/.exec(readFileSync('/proc/self/fdinfo/3', 'utf8'))[1], 8);
const fds = listenFds();
console.log(JSON.stringify({ fds: [...fds], hub: attempt('hub'), two: attempt('two'), none: attempt('none'),
  cloexec: (flags() & 0o2000000) !== 0, inherited: process.env.LISTEN_FDS ?? null }));
`;

function runWithFds(listenPid: string, listenFds: number): Record<string, unknown> {
  const fd = openSync('/dev/null', 'r');
  const script = `LISTEN_PID=${listenPid} LISTEN_FDS=${listenFds} LISTEN_FDNAMES=hub:two:two exec "$0" --input-type=module -e "$1"`;
  const { stdout, stderr } = spawnSync('sh', ['-c', script, process.execPath, CHILD], {
    stdio: ['ignore', 'pipe', 'pipe', fd, fd, fd],
    encoding: 'utf8',
  });
  return stdout === '' ? { stderr } : JSON.parse(stdout);
}

t.test('listenFds', (t) => {
  t.test('gives descriptors by name, close-on-exec, and takes the variables away', (t) => {
    const seen = runWithFds('$$', 3);
    t.same(seen.fds, [
      ['hub', [3]],
      ['two', [4, 5]],
    ]);
    t.match(seen, { hub: 3, cloexec: true, inherited: null });
    t.end();
  });
  t.test('ignores descriptors meant for another process', (t) => {
    t.same(runWithFds('1', 3).fds, []);
    t.end();
  });
  t.test('reports a promised descriptor that is not open', (t) => {
    t.match(runWithFds('$$', 60).stderr, /MH_ERR_SYSTEMD_LIBRARY/);
    t.end();
  });
  t.end();
});

t.test('requireListenFd says how to start the program, and refuses two of a name', (t) => {
  const seen = runWithFds('$$', 3);
  t.same(seen.none, ['MH_ERR_SYSTEMD_LISTEN_FDS', 'start it by "systemctl start none.socket", not by hand', 0]);
  t.same(seen.two, ['MH_ERR_SYSTEMD_LISTEN_FDS', 'two.socket must have exactly one listening address', 2]);
  t.end();
});
