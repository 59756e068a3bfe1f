import { METHODS } from 'node:http';
import t from 'tap';
import { makeRequest, makeResponse } from './testing/message-maker.js';
import { Random } from './testing/random.js';
import { NodeReader, type ReadRequest, readNodeResponse, readOurResponse, readOurs } from './testing/readers.js';

const ROUNDS = 12_000;
const SEED = 20_261_122;

t.test('P01 P02 P06: llhttp reads every request that is accepted in the same way', { timeout: 110_000 }, async (t) => {
  const random = new Random(SEED);
  const node = new NodeReader();
  let accepted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const text = makeRequest(random);
    const ours = readOurs(text);
    if (ours.requests.length === 0) continue;
    const theirs = await node.read(text);
    for (const [index, request] of ours.requests.entries()) {
      accepted++;
      const other = theirs.requests[index];
      // Whoever refuses does not misunderstand; but only what is known to be refused.
      if (other === undefined && isRefusedByNode(request)) break;
      if (JSON.stringify(other) === JSON.stringify(request)) continue;
      t.same(other, request, JSON.stringify(text));
    }
  }
  t.ok(accepted > ROUNDS / 10, `${accepted} requests were accepted`);
});

/** Methods that llhttp does not know. */
function isRefusedByNode({ method }: ReadRequest): boolean {
  return !METHODS.includes(method);
}

t.test('P01: a request means the same wherever its bytes are cut', { timeout: 110_000 }, async (t) => {
  const random = new Random(SEED + 1);
  for (let round = 0; round < ROUNDS / 4; round++) {
    const text = makeRequest(random);
    const whole = readOurs(text);
    for (const size of [1, 2, 3, 7, 16]) {
      const cut = readOurs(text, size);
      if (JSON.stringify(cut.requests) !== JSON.stringify(whole.requests)) t.same(cut, whole, JSON.stringify(text));
    }
  }
  t.pass('none differed');
});

t.test('P14: llhttp reads every answer that is passed on in the same way', { timeout: 110_000 }, async (t) => {
  const random = new Random(SEED + 2);
  let accepted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const text = makeResponse(random);
    const method = random.pick(['GET', 'GET', 'HEAD']);
    const ours = readOurResponse(text, method);
    if (ours === undefined) continue;
    accepted++;
    const theirs = await readNodeResponse(text.slice(0, ours.end), method);
    if (JSON.stringify(theirs) !== JSON.stringify(ours.read))
      t.same(theirs, ours.read, `${method} ${JSON.stringify(text)}`);
  }
  t.ok(accepted > ROUNDS / 8, `${accepted} answers were accepted`);
});
