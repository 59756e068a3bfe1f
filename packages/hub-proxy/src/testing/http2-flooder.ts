import { FLOODS, flood } from './http2-floods.js';
import { openFrameClient } from './http2-frames.js';

/** In a process of its own, so that only others are slowed down by it: `node http2-flooder.js FLOOD PORT COOKIE MILLISECONDS`. */

const [name = '', port = '', cookie = '', forMs = ''] = process.argv.slice(2);
const chosen = FLOODS.find((candidate) => candidate.name === name);
if (chosen === undefined) throw new Error(`no flood is called ${name}`);
const client = await openFrameClient({ port: Number(port), ...chosen });
process.send?.(await flood(client, chosen, cookie, Number(forMs)));
process.exit();
