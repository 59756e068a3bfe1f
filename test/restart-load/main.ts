import { Http2Way } from './http2-way.js';
import { Http1Way, type Method, RequestClient, type RequestsReport, type Way } from './requests.js';
import { EchoSockets, type SocketsReport } from './sockets.js';
import type { Target } from './target.js';
import { startDownload, startUpload, type Transfer, type TransferReport } from './transfers.js';

/** The load on a proxy that is being restarted, in a process of its own: it is told what to do, and says what it saw. */
export interface LoadOrder {
  readonly target: Target;
  readonly sockets: number;
  readonly messagesPerSecond: number;
  /** Clients without a pause between their requests: of each kind (GET, POST, new and kept connections, over TLS HTTP/2, too) one. */
  readonly clients: boolean;
  /** Clients on kept connections with a random pause, up to so many milliseconds. */
  readonly pausing: number;
  readonly maxPauseMs: number;
  readonly transferBytes: number;
  readonly transferRate: number;
}

export interface LoadReport {
  readonly sockets: SocketsReport;
  readonly requests: Readonly<Record<string, RequestsReport>>;
  readonly transfers: readonly TransferReport[];
}

async function run(order: LoadOrder): Promise<void> {
  const { target } = order;
  const sockets = new EchoSockets();
  await sockets.open(target, order.sockets);
  sockets.start(order.messagesPerSecond);
  const clients = new Map<string, RequestClient>();
  const { prefix } = target;
  function addClient(way: Way, method: Method, maxPauseMs = 0): void {
    const name = `${method} on ${way.name}${maxPauseMs > 0 ? ` after pauses ${clients.size}` : ''}`;
    clients.set(name, new RequestClient(way, { prefix, method, maxPauseMs }));
  }
  if (order.clients) {
    for (const method of ['GET', 'POST'] as const) {
      for (const isKeptAlive of [false, true]) addClient(new Http1Way(target, isKeptAlive), method);
      if (target.ca !== undefined) addClient(new Http2Way(target), method);
    }
  }
  for (let index = 0; index < order.pausing; index++) {
    const isHttp2 = target.ca !== undefined && index % 4 >= 2;
    const way = isHttp2 ? new Http2Way(target) : new Http1Way(target, true);
    addClient(way, index % 2 === 0 ? 'GET' : 'POST', order.maxPauseMs);
  }
  const transfers: Transfer[] =
    order.transferBytes === 0
      ? []
      : [
          startDownload(target, order.transferBytes, order.transferRate),
          startUpload(target, order.transferBytes, order.transferRate),
        ];
  process.send?.('running');

  process.once('message', () => void end());
  async function end(): Promise<void> {
    for (const transfer of transfers) transfer.hurry();
    const reports = await Promise.all(transfers.map(({ done }) => done));
    const requests = await Promise.all(
      [...clients].map(async ([name, client]): Promise<[string, RequestsReport]> => [name, await client.end()]),
    );
    const report: LoadReport = {
      sockets: await sockets.end(),
      requests: Object.fromEntries(requests),
      transfers: reports,
    };
    process.send?.(report, () => process.exit());
  }
}

// Whoever gave the order is gone.
process.once('disconnect', () => process.exit());
process.once('message', (order) => {
  run(order as LoadOrder).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
