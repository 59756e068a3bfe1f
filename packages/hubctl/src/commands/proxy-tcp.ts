import { loadConfig } from '@metalhub/config/load.js';
import { connectManager } from '@metalhub/systemd/manager.js';
import { PROXY_API_TOKEN_FILE } from '@metalhub/wire/proxy-api.js';
import { type Command, print, requireRoot } from '../command.js';
import { applyTcp, checkApiAddress } from '../proxy-tcp.js';
import { jupyterhubLines } from '../proxy-tcp-drop-in.js';
import { ensureSecret } from '../secrets.js';

export const proxyEnableTcp: Command = {
  name: 'proxy enable-tcp',
  operands: [],
  summary: 'let another hub, such as JupyterHub, use the proxy: TCP targets and the route API on TCP',
  async run(context) {
    requireRoot('proxy enable-tcp');
    const config = loadConfig();
    checkApiAddress(config);
    await ensureSecret('proxy-api-token');
    const manager = await connectManager();
    try {
      const isChanged = await applyTcp(manager, config, true);
      const { api_listen, default_route, upstream_ranges } = config.proxy;
      const lines = jupyterhubLines(api_listen);
      const value = { changed: isChanged, api: api_listen, token_file: PROXY_API_TOKEN_FILE, jupyterhub_config: lines };
      print(context, value, () =>
        [
          `The route API listens on ${api_listen}; its token is in ${PROXY_API_TOKEN_FILE}.`,
          `Routes may lead to ${upstream_ranges.join(', ') || 'no address: set proxy.upstream_ranges'}.`,
          default_route === 'auto'
            ? 'Nothing leads to the hub of metalhub any more, new connections to its servers are refused; disable-tcp undoes it.'
            : 'The hub of metalhub keeps everything but the routes added here (proxy.default_route).',
          '',
          'For jupyterhub_config.py:',
          ...lines.map((line) => `  ${line}`),
        ].join('\n'),
      );
      return 0;
    } finally {
      manager.close();
    }
  },
};

export const proxyDisableTcp: Command = {
  name: 'proxy disable-tcp',
  operands: [],
  summary: 'take that back: sockets of this machine only, and our own hub',
  async run(context) {
    requireRoot('proxy disable-tcp');
    const config = loadConfig();
    const manager = await connectManager();
    try {
      const changed = await applyTcp(manager, config, false);
      print(context, { changed }, () => 'The proxy uses sockets of this machine only.');
      return 0;
    } finally {
      manager.close();
    }
  },
};
