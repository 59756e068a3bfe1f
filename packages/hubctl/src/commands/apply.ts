import { MetalhubError } from '@metalhub/base/errors.js';
import { loadConfig } from '@metalhub/config/load.js';
import { connectManager, type Manager } from '@metalhub/systemd/manager.js';
import { requireJobDone } from '@metalhub/systemd/manager-jobs.js';
import type { Command, Context } from '../command.js';
import { print, requireRoot } from '../command.js';
import { keptAddresses, type ServerAddress } from '../kept-addresses.js';
import { applyListen } from '../listen-socket.js';
import { missingAddresses } from '../missing-addresses.js';
import { applyTcp, checkApiAddress, isTcpEnabled } from '../proxy-tcp.js';
import { applyTlsPath } from '../tls/apply-path.js';
import { checkCertificate } from '../tls/certificate.js';
import { readCertificateFiles } from '../tls/install.js';

/** Reloaded in this order when active; what is not active reads the file when it starts. */
const RELOADED = ['hub-spawner.service', 'hub.service', 'hub-proxy.service'];

export const apply: Command = {
  name: 'apply',
  operands: [],
  summary: 'check the configuration and make it take effect',
  async run(context) {
    const config = loadConfig();
    requireRoot('apply');
    // Before anything is changed: without a certificate the addresses would have nobody to answer there.
    if (config.tls.cert_file !== '') checkCertificate(readCertificateFiles(config.tls), Date.now());
    if (isTcpEnabled()) checkApiAddress(config);
    const manager = await connectManager();
    try {
      const done: string[] = [];
      const listening = await applyListen(manager, [...config.proxy.listen, ...config.tls.redirect_listen]);
      if (listening !== undefined) done.push(listening);
      if (isTcpEnabled() && (await applyTcp(manager, config, true)))
        done.push('restarted hub-proxy.service with its TCP');
      const watching = await applyTlsPath(manager, config.tls);
      if (watching !== undefined) done.push(watching);
      for (const unit of RELOADED) {
        if (!(await isActive(manager, unit))) continue;
        requireJobDone(await manager.reloadOrRestartUnit(unit, 'replace'));
        done.push(`reloaded ${unit}`);
      }
      const missing = missingAddresses(config.proxy.listen);
      const warnings = [
        ...missing.map((address) => `no interface has the address of ${address}`),
        ...((await isActive(manager, 'hub.service')) ? await findKeptAddresses(context, config.public_url) : []),
      ];
      print(context, { done, warnings }, () => [...done, ...warnings.map((text) => `warning: ${text}`)].join('\n'));
      return 0;
    } finally {
      manager.close();
    }
  },
};

/** Nothing when the hub does not answer: what it says is no part of what is applied. */
async function findKeptAddresses({ admin }: Context, publicUrl: string): Promise<string[]> {
  try {
    const { servers } = (await admin.get('/admin/servers')) as { servers: ServerAddress[] };
    return keptAddresses(servers, publicUrl);
  } catch (error) {
    if (error instanceof MetalhubError) return [];
    throw error;
  }
}

async function isActive(manager: Manager, unit: string): Promise<boolean> {
  const [status] = await manager.listUnitsByPatterns([], [unit]);
  return status?.activeState === 'active';
}
