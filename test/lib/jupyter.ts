import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import type { Machine } from './machine.js';
import { tokenOf } from './spawner.js';

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Talks to a user's Jupyter server the way the proxy does: through its socket, with its token. */
export class JupyterServer {
  readonly #socketPath: string;
  readonly #base: string;
  readonly #token: string;
  #kernel: string | undefined;

  private constructor(socketPath: string, base: string, token: string) {
    this.#socketPath = socketPath;
    this.#base = base;
    this.#token = token;
  }

  static async of(machine: Pick<Machine, 'run' | 'path'>, key: string, server = ''): Promise<JupyterServer> {
    const id = server === '' ? key : `${key}:${server}`;
    const base = server === '' ? `/user/${key}/` : `/user/${key}/${server}/`;
    return new JupyterServer(await machine.path(`/run/metalhub/servers/${id}.sock`), base, tokenOf(key));
  }

  /** A server that the hub has started: its token is in what root can read. */
  static async ofHub(machine: Pick<Machine, 'run' | 'path'>, key: string, server = ''): Promise<JupyterServer> {
    const id = server === '' ? key : `${key}:${server}`;
    const file = `/run/credentials/jupyter-${id}.service/server.json`;
    const { token, base_url } = JSON.parse(await machine.run(['cat', file])) as { token: string; base_url: string };
    return new JupyterServer(await machine.path(`/run/metalhub/servers/${id}.sock`), base_url, token);
  }

  /** @param path below the server's address, such as `api/status` */
  request(path: string, options: { method?: string; body?: unknown; token?: string | null } = {}): Promise<Answer> {
    const token = options.token === undefined ? this.#token : options.token;
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          socketPath: this.#socketPath,
          path: `${this.#base}${path}`,
          method: options.method ?? 'GET',
          headers: { ...(token !== null && { authorization: `token ${token}` }), 'content-type': 'application/json' },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
          );
        },
      );
      sent.once('error', reject);
      sent.end(body);
    });
  }

  /** Sends one message over a WebSocket of the server and returns the first answer. */
  async echo(path: string, message: string): Promise<string> {
    const socket = new WebSocket(`ws://localhost${this.#base}${path}`, {
      createConnection: () => connect(this.#socketPath),
    });
    try {
      return await new Promise<string>((resolve, reject) => {
        socket.once('error', reject);
        socket.once('open', () => socket.send(message));
        socket.once('message', (data) => resolve(String(data)));
      });
    } finally {
      socket.close();
    }
  }

  /** Runs Python in a kernel of the server (one for all calls) and returns what it printed. @throws its exception */
  async python(code: string, timeoutMs = 60_000): Promise<string> {
    this.#kernel ??= await this.#startKernel();
    const socket = new WebSocket(`ws://localhost${this.#base}api/kernels/${this.#kernel}/channels`, {
      headers: { authorization: `token ${this.#token}` },
      createConnection: () => connect(this.#socketPath),
    });
    const session = randomUUID();
    const id = randomUUID();
    const header = { msg_id: id, msg_type: 'execute_request', username: '', session, version: '5.3' };
    const content = { code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false };
    try {
      return await new Promise<string>((resolve, reject) => {
        let output = '';
        const timer = setTimeout(() => reject(new Error(`no end after ${timeoutMs} ms: ${output}`)), timeoutMs);
        socket.once('error', reject);
        socket.once('close', (code) =>
          reject(new Error(`the server closed the kernel's channel (${code}): ${output}`)),
        );
        socket.once('open', () => {
          socket.send(
            JSON.stringify({ header, parent_header: {}, metadata: {}, content, channel: 'shell', buffers: [] }),
          );
        });
        socket.on('message', (data) => {
          const message = JSON.parse(String(data));
          if (message.parent_header?.msg_id !== id) return;
          if (message.msg_type === 'stream') output += message.content.text;
          if (message.msg_type === 'error')
            reject(new Error(`${message.content.ename}: ${message.content.evalue}\n${output}`));
          if (message.msg_type === 'status' && message.content.execution_state === 'idle') {
            clearTimeout(timer);
            resolve(output.trimEnd());
          }
        });
      });
    } finally {
      socket.close();
    }
  }

  /** Runs a piece of shell in the user's unit; both outputs, then the exit code. */
  async shell(text: string, timeoutMs = 60_000): Promise<{ code: number; output: string }> {
    const printed = await this.python(
      `import subprocess, json
result = subprocess.run(["bash", "-c", ${JSON.stringify(text)}], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
print(json.dumps({"code": result.returncode, "output": result.stdout}))`,
      timeoutMs,
    );
    return JSON.parse(printed.split('\n').at(-1) ?? '');
  }

  /** Has the following calls run in a new kernel of this name. */
  async useKernel(name: string): Promise<void> {
    this.#kernel = await this.#startKernel(name);
  }

  async #startKernel(name = 'python3'): Promise<string> {
    const answer = await this.request('api/kernels', { method: 'POST', body: { name } });
    if (answer.status !== 201) throw new Error(`no kernel: ${answer.status} ${answer.text}`);
    return JSON.parse(answer.text).id;
  }
}
