import { SECOND_MS } from '@metalhub/base/time.js';
import t from 'tap';
import { makeHubKey, SESSION_ID, ticketClaims } from './testing/tickets.js';
import { TicketVerifier } from './ticket-verifier.js';

t.test('a ticket stays verified while the keys are the same, and is not known without its key', async (t) => {
  const [key, other] = await Promise.all([makeHubKey(), makeHubKey()]);
  const ticket = await key.sign(ticketClaims(Math.floor(Date.now() / SECOND_MS)));
  const verifier = new TicketVerifier();
  await verifier.setKeys([key.publicKey]);
  t.equal(verifier.findVerified(ticket), undefined);
  const verified = await verifier.verifyTicket(ticket);
  t.match(verified, { session_id: SESSION_ID });
  await verifier.setKeys([{ ...key.publicKey }]);
  t.equal(verifier.findVerified(ticket), verified, 'its signature is not checked again');
  const late = verifier.verifyTicket(`${ticket}`);
  await verifier.setKeys([other.publicKey]);
  await late;
  t.equal(verifier.findVerified(ticket), undefined);
  t.equal(await verifier.verifyTicket(ticket), undefined);
  // The later call wins, whichever import is done first.
  await Promise.all([verifier.setKeys([key.publicKey]), verifier.setKeys([other.publicKey])]);
  t.equal(await verifier.verifyTicket(ticket), undefined);
});
