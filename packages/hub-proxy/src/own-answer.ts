import { STATUS_CODES } from 'node:http';
import type { Answer } from './pages.js';

/** An answer of the proxy's own as it goes over the connection. */
export function formatAnswer(answer: Answer, options: { isHead: boolean; close: boolean }): string {
  const lines = [`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? 'Error'}`];
  for (const [name, value] of answer.fields) lines.push(`${name}: ${value}`);
  lines.push(`Content-Length: ${Buffer.byteLength(answer.body)}`);
  if (options.close) lines.push('Connection: close');
  return `${lines.join('\r\n')}\r\n\r\n${options.isHead ? '' : answer.body}`;
}
