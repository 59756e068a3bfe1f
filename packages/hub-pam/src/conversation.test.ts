import t from 'tap';
import { createConversation, ERROR_MESSAGE, PROMPT_ECHO_OFF, PROMPT_ECHO_ON, TEXT_INFO } from './conversation.js';

const credentials = { name: Buffer.from('anna\0'), password: Buffer.from('secret\0') };

t.test('hidden prompts get the password, visible ones the name, messages nothing', async (t) => {
  const answers = createConversation(credentials)([TEXT_INFO, PROMPT_ECHO_ON, ERROR_MESSAGE, PROMPT_ECHO_OFF]);
  t.same(answers, [null, credentials.name, null, credentials.password]);
  t.equal(answers?.[3], credentials.password, 'the very buffer that is wiped later');
});

t.test('binary prompts, nothing at all and too much at once end the conversation', async (t) => {
  const converse = createConversation(credentials);
  t.equal(converse([7]), undefined);
  t.equal(converse([PROMPT_ECHO_OFF, 5]), undefined);
  t.equal(converse([]), undefined);
  t.equal(converse(Array.from({ length: 33 }, () => TEXT_INFO)), undefined);
});

t.test('a module that asks for ever is left', async (t) => {
  const converse = createConversation(credentials);
  for (let round = 0; round < 8; round++) t.ok(converse([PROMPT_ECHO_OFF]));
  t.equal(converse([PROMPT_ECHO_OFF]), undefined);
});
