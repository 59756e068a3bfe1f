import { Type } from '@sinclair/typebox';
import { allowTable, bytes, closed } from './schema-parts.js';

export const profileSchema = Type.Object(
  {
    name: Type.String({
      pattern: '^[a-z0-9][a-z0-9_-]{0,62}$',
      examples: ['default'],
      description: 'Short name, unique.',
    }),
    title: Type.String({ default: 'JupyterLab', minLength: 1, maxLength: 200, description: 'What users see.' }),
    description: Type.String({ default: '', maxLength: 1000, description: 'A sentence for users, below the title.' }),
    allow: allowTable('Who may use it. Everybody who may log in when empty.'),
    python: Type.String({
      pattern: '^/[^\\s\\p{Cc}%$"\'\\\\]+$',
      maxLength: 1024,
      default: '/usr/bin/python3',
      description: "Absolute path of the environment's Python; its JupyterLab is started.",
    }),
    default_url: Type.String({
      pattern: '^/[\\x21-\\x7e]*$',
      maxLength: 512,
      default: '/lab',
      description: "Page opened first, below the server's address.",
    }),
    memory_max: bytes('Memory at which the server is killed (MemoryMax=).', '4G'),
    memory_high: bytes('Memory at which the server is slowed down (MemoryHigh=).', ''),
    cpu_quota_percent: Type.Integer({
      minimum: 0,
      maximum: 100_000,
      default: 0,
      description: 'Processor time in percent of one core (CPUQuota=); 0 for no limit.',
    }),
    tasks_max: Type.Integer({
      minimum: 16,
      maximum: 4_000_000,
      default: 4096,
      description: 'Processes and threads (TasksMax=).',
    }),
  },
  closed,
);
