import t from 'tap';
import { takeSystemdEnvironment } from './environment.js';

t.test('takeSystemdEnvironment', (t) => {
  t.test('takes what a child must not inherit, and leaves the rest', (t) => {
    const environment = {
      NOTIFY_SOCKET: '@n',
      WATCHDOG_USEC: '2000000',
      WATCHDOG_PID: '7',
      LISTEN_FDS: '2',
      LISTEN_PID: '7',
      LISTEN_PIDFDID: '99',
      LISTEN_FDNAMES: 'hub:hub-admin',
      CREDENTIALS_DIRECTORY: '/run/credentials/hub.service',
      JOURNAL_STREAM: '8:77',
      PATH: '/bin',
    };
    const taken = takeSystemdEnvironment(environment);
    t.match(taken, { notifySocket: '@n', watchdogUsec: 2_000_000, watchdogPid: 7, listenPid: 7, listenFdCount: 2 });
    t.same(taken.listenFdNames, ['hub', 'hub-admin']);
    t.same(Object.keys(environment), ['CREDENTIALS_DIRECTORY', 'JOURNAL_STREAM', 'PATH']);
    t.end();
  });
  t.test('returns the first result again', (t) => {
    const environment: NodeJS.ProcessEnv = { NOTIFY_SOCKET: '/run/n' };
    const first = takeSystemdEnvironment(environment);
    environment.NOTIFY_SOCKET = '/other';
    t.equal(takeSystemdEnvironment(environment), first);
    t.end();
  });
  t.test('ignores empty values and numbers that are none', (t) => {
    const taken = takeSystemdEnvironment({
      NOTIFY_SOCKET: '',
      LISTEN_FDS: '-1',
      LISTEN_PID: '1e3',
      STATE_DIRECTORY: '',
    });
    t.match(taken, { notifySocket: undefined, listenPid: undefined, listenFdCount: 0, stateDirectories: [] });
    t.end();
  });
  t.end();
});
