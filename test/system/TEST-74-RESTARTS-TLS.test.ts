import t from 'tap';
import { HOST, LIVE, link, renew, untilShown } from '../lib/certificate.js';
import { installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { endLoads, serveLoad, startLoad } from '../lib/proxy-load.js';
import {
  assertNothingLost,
  loadOrder,
  RELOADS,
  RESTARTS,
  repeat,
  TIMEOUT_MS,
  TRANSFER_BYTES,
  untilOneWorker,
  upgrade,
  WEBSOCKETS,
} from '../lib/restarts.js';
import type { Target } from '../restart-load/target.js';

const PORT = 8443;
const CONFIG = `public_url = "https://${HOST}:${PORT}"
[proxy]
listen = ["0.0.0.0:${PORT}"]
workers = 1
[tls]
cert_file = "${LIVE}/fullchain.pem"
key_file = "${LIVE}/privkey.pem"
[[login]]
method = "pam"
allow = { groups = ["metalhub-users"] }
`;

t.setTimeout(TIMEOUT_MS);

let machine: Machine;
let target: Target;
/** Of the certificates that come into use one after the other. */
const serials: string[] = [];

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await machine.shell(`echo 127.0.0.1 ${HOST} >>/etc/hosts`);
  let ca = '';
  for (let number = 1; number <= 5; number++) {
    serials.push(await renew(machine, number));
    ca += await machine.readFile(`${LIVE}/fullchain.pem`);
  }
  await link(machine, 1);
  await machine.writeFile('/etc/metalhub/metalhub.toml', CONFIG);
  await machine.run(['hubctl', 'apply']);
  const origin = `https://${HOST}:${PORT}`;
  target = { port: PORT, host: `${HOST}:${PORT}`, origin, ca, ...(await serveLoad(machine)) };
  await machine.enterNetwork();
});

t.afterEach(endLoads);

t.teardown(() => machine?.stop());

t.test(`R01: over TLS, ${RESTARTS} restarts, reloads and renewed certificates lose nothing`, async (t) => {
  const since = await machine.cursor();
  const sizes = { sockets: WEBSOCKETS, pausing: 20, transferBytes: TRANSFER_BYTES };
  const load = await startLoad(loadOrder(target, { clients: true, ...sizes }));
  const restartsSec = await repeat(t, machine, 'systemctl restart hub-proxy', RESTARTS);
  const reloadsSec = await repeat(t, machine, 'systemctl reload hub-proxy', RELOADS);
  for (const [index, serial] of serials.entries()) {
    if (index === 0) continue;
    await link(machine, index + 1);
    await untilShown(PORT, serial);
  }
  const report = await load.end();
  assertNothingLost(t, report);
  const areLong = report.transfers.every(({ seconds }) => seconds > restartsSec + reloadsSec);
  t.ok(areLong, 'the transfers were under way all the time');
  await untilOneWorker(machine);
  await machine.assertCleanJournal([], since);
});

t.test('R01: an upgrade of the package under the same load over TLS', async (t) => {
  const load = await startLoad(loadOrder(target, { sockets: WEBSOCKETS, clients: true, pausing: 20 }));
  await upgrade(t, machine);
  assertNothingLost(t, await load.end());
});
