import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { AdminClient } from './admin-client.js';
import { COMMANDS, runCli, usage } from './cli.js';

/** A peer that speaks the hub's administration API. */
type Answer = (request: IncomingMessage, response: ServerResponse) => void;
let answer: Answer = (_request, response) => response.end('{}');
let server: Server;
let path: string;

t.before(async () => {
  path = join(t.testdir(), 'admin.sock');
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
t.teardown(() => void server.close());

async function run(...argv: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const out = { stdout: '', stderr: '' };
  const status = await runCli(argv, new AdminClient(path), '9.9', {
    stdout: (text) => void (out.stdout += text),
    stderr: (text) => void (out.stderr += text),
  });
  return { status, ...out };
}

const json =
  (value: unknown, status = 200): Answer =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };

t.test('a wrong command line exits with 2 and says what is wrong', async (t) => {
  for (const argv of [
    ['frobnicate'],
    ['start'],
    ['status', 'x'],
    ['status', '-f'],
    ['logs', 'a', '-n', 'x'],
    ['--no'],
  ]) {
    const { status, stdout, stderr } = await run(...argv);
    t.equal(status, 2, argv.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /hubctl: .+\n.*hubctl --help/);
  }
  t.match(await run('start', '--json'), { status: 2, stdout: /"code":"MH_ERR_CLI_USAGE"/, stderr: '' });
});

t.test('help and version', async (t) => {
  t.match(await run('--help'), { status: 0, stdout: usage() });
  t.match(await run('--version'), { status: 0, stdout: 'hubctl 9.9\n' });
  for (const { name } of COMMANDS) t.match(usage(), `hubctl ${name}`);
});

t.test('lists are tables for people and JSON for programs', async (t) => {
  const users = [{ name: 'an\u001bna', method: 'pam', key: 'anna', admin: false, last_login: null, server: null }];
  answer = json({ users });
  t.match(await run('users'), { status: 0, stdout: /an\\u\{1b\}na +pam +jupyter-anna +no +- +-\n$/ });
  const { stdout } = await run('users', '--json');
  t.strictSame(JSON.parse(stdout), { users });
});

t.test('start asks for a profile and for options of its choices', async (t) => {
  let body = '';
  answer = (request, response) => {
    request.on('data', (chunk) => (body += chunk)).once('end', () => response.end('{"ready":true}\n'));
  };
  const { status } = await run('start', 'anna', '-p', 'lab', '--choice', 'size=large', '--choice=gpu=one');
  t.equal(status, 0);
  t.same(JSON.parse(body), { user: 'anna', server: '', profile: 'lab', choices: { size: 'large', gpu: 'one' } });
  for (const choice of ['size', 'size=', '=x', 'a=b=c', 'size=La']) {
    t.match(await run('start', 'anna', '--choice', choice), { status: 2, stderr: /like size=large/ }, choice);
  }
  t.match(await run('stop', 'anna', '--choice', 'a=b'), { status: 2, stderr: /no option --choice/ });
});

t.test('start shows progress and fails with reason, log and hint', async (t) => {
  const events = [
    { progress: 0, message: 'Preparing' },
    {
      failed: true,
      message: 'Jupyter is missing',
      failure: { message: 'x', hint: 'apt install jupyterlab', logLines: ['boom'] },
    },
  ];
  answer = (request, response) => {
    t.equal(`${request.method} ${request.url}`, 'POST /admin/servers/start');
    for (const event of events) response.write(`${JSON.stringify(event)}\n`);
    response.end();
  };
  t.match(await run('start', 'anna'), {
    status: 1,
    stdout: 'Preparing\nJupyter is missing\n',
    stderr: /boom\napt install jupyterlab/,
  });
});

t.test('a start whose stream breaks is not called a success', async (t) => {
  answer = (_request, response) => response.end('{"progress": 10, "message": "Preparing"}\n');
  t.match(await run('start', 'anna'), { status: 1, stderr: /hubctl servers/ });
});

t.test("the hub's own errors keep their hint", async (t) => {
  answer = json(
    { status: 404, code: 'MH_ERR_HUB_NO_SUCH_USER', message: 'no such user: bob', hint: 'they log in first' },
    404,
  );
  t.match(await run('stop', 'bob'), { status: 1, stderr: 'hubctl: no such user: bob\n        they log in first\n' });
});

t.test('logs that break off say why, and what to do', async (t) => {
  answer = (_request, response) => {
    const line = { time_ms: 0, identifier: 'jupyter', message: 'hello' };
    const error = { status: 503, code: 'MH_ERR_WIRE_UNREACHABLE', message: 'hub-logs is gone', hint: 'start it' };
    response.end(`${JSON.stringify(line)}\n${JSON.stringify(error)}\n`);
  };
  t.match(await run('logs', 'bob'), {
    status: 1,
    stdout: /jupyter: hello\n$/,
    stderr: 'hubctl: hub-logs is gone\n        start it\n',
  });
});

t.test('a hub that does not run is named with what to do', async (t) => {
  const out = { stderr: '' };
  const status = await runCli(['users'], new AdminClient(`${path}.none`), '9.9', {
    stdout: () => {},
    stderr: (text) => void (out.stderr += text),
  });
  t.equal(status, 1);
  t.match(out.stderr, 'systemctl start metalhub.target');
});

t.test('proxy status lists workers by generation, also when only the hub may be asked', async (t) => {
  const worker = {
    generation: 2,
    pid: 812,
    draining: false,
    started: new Date().toISOString(),
    connections: 12,
    tunnels: 4,
  };
  const old = {
    ...worker,
    generation: 1,
    pid: 540,
    draining: true,
    started: new Date(Date.now() - 7_260_000).toISOString(),
    deadline: '2030-01-02T03:04:05.000Z',
    connections: 500,
    tunnels: 499,
    memory_bytes: 31 * 2 ** 20,
  };
  const status = {
    version: '1.2',
    pid: 7,
    routes: 3,
    uptime_sec: 61,
    generations: [worker, old],
    hub_reachable: false,
  };
  answer = (request, response) => json(request.url === '/api/status' ? status : {}, 200)(request, response);
  const lines: string[] = [];
  const streams = { stdout: (text: string) => void lines.push(text), stderr: (text: string) => void lines.push(text) };
  const proxy = AdminClient.forProxy(path);
  t.equal(await runCli(['proxy', 'status'], new AdminClient(`${path}.none`), '9.9', streams, undefined, proxy), 0);
  t.match(lines.join(''), /^hub-proxy 1\.2, running for 1m 1s \(process 7\), 3 routes; the hub cannot be reached$/m);
  t.match(lines.join(''), /^2 +812 +accepting +0s +12 +4 +- +-$/m);
  t.match(lines.join(''), /^1 +540 +draining +2h 1m +500 +499 +31 MB +2030-01-02 /m);
  const none = AdminClient.forProxy(`${path}.none`);
  lines.length = 0;
  t.equal(await runCli(['proxy', 'status'], new AdminClient(path), '9.9', streams, undefined, none), 1);
  t.match(lines.join(''), /hub-proxy cannot be reached/);
});
