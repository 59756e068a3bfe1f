import type { Command } from '../command.js';
import { print } from '../command.js';
import { formatTable, formatTime } from '../output.js';

interface User {
  name: string;
  method: string;
  key: string;
  admin: boolean;
  last_login: string | number | null;
  server: { state: string } | null;
}

export const users: Command = {
  name: 'users',
  operands: [],
  summary: 'list everybody who has logged in',
  async run(context) {
    const value = (await context.admin.get('/admin/users')) as { users: User[] };
    const rows = value.users.map((user) => ({
      name: user.name,
      login: user.method,
      account: `jupyter-${user.key}`,
      admin: user.admin,
      last_login: formatTime(user.last_login),
      server: user.server?.state ?? null,
    }));
    print(context, value, () => formatTable(['name', 'login', 'account', 'admin', 'last_login', 'server'], rows));
    return 0;
  },
};
