import type { Command } from '../command.js';
import { print } from '../command.js';
import { formatTable, formatTime } from '../output.js';

interface Route {
  target: string;
  auth: string;
  user: string | null;
  server: string | null;
  last_activity: string;
}

export const routes: Command = {
  name: 'routes',
  operands: [],
  summary: 'list what the proxy serves, never with a token',
  async run(context) {
    const value = (await context.admin.get('/admin/routes')) as Record<string, Route>;
    const rows = Object.entries(value).map(([prefix, route]) => ({
      prefix,
      user: route.user,
      checked_by: route.auth === 'ticket' ? 'proxy' : 'target',
      target: decodeURIComponent(route.target),
      last_activity: formatTime(route.last_activity),
    }));
    print(context, value, () => formatTable(['prefix', 'user', 'checked_by', 'target', 'last_activity'], rows));
    return 0;
  },
};
