import { MetalhubError } from '@metalhub/base/errors.js';
import { isServerName, type ServerName } from '@metalhub/base/names.js';

/**
 * What lies below a user's own server, at `/user/anna/<word>`: a server of that name would take the address away from it.
 * Jupyter's own handlers, those of usual extensions, and what JupyterHub's proxies use.
 */
const TAKEN = new Set([
  ...['api', 'custom', 'edit', 'files', 'hub', 'kernelspecs', 'lab', 'login', 'logout', 'metrics', 'nbclassic'],
  ...['nbconvert', 'nbextensions', 'notebooks', 'consoles', 'static', 'terminals', 'tree', 'view', 'doc', 'desktop'],
  ...['git', 'jupyterlab-settings', 'lsp', 'nbgitpuller', 'nbgrader', 'formgrader', 'proxy', 'rstudio', 'shiny'],
  ...['oauth_callback', 'services', 'user', 'voila', 'vscode'],
]);

/** The name of a server that a user makes. @throws {MH_ERR_HUB_SERVER_NAME} */
export function parseNewServerName(text: string): ServerName {
  if (text === '' || !isServerName(text)) {
    throw refusal(text, 'use small letters, digits and hyphens, at most 31, the first no hyphen');
  }
  if (TAKEN.has(text)) throw refusal(text, 'a page of your own server has that address');
  return text;
}

function refusal(text: string, reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_HUB_SERVER_NAME', { details: { server: `"${text.slice(0, 40)}"`, reason } });
}
