import { STATUS_CODES } from 'node:http';
import type { Answer } from './pages.js';

/** An answer of the proxy's own as it goes over the connection. */
export function formatAnswer(
  answer: Answer,
  options: { isHead: boolean; close: boolean; hsts?: string | undefined },
): string {
  const lines = [`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? 'Error'}`];
  for (const [name, value] of answer.fields) lines.push(`${name}: ${value}`);
  if (options.hsts !== undefined) lines.push(`Strict-Transport-Security: ${options.hsts}`);
  lines.push(`Content-Length: ${Buffer.byteLength(answer.body)}`);
  if (options.close) lines.push('Connection: close');
  return `${lines.join('\r\n')}\r\n\r\n${options.isHead ? '' : answer.body}`;
}
