import t from 'tap';
import { visibleText } from './text.js';

t.test('the browser cleans text as the server does', async (t) => {
  const script: unknown = await import(new URL('../../../static/visible-text.js', import.meta.url).href);
  const clean = (script as { visibleText: typeof visibleText }).visibleText;
  for (let code = 0; code < 0x3000; code++) {
    const text = `a${String.fromCharCode(code)}[1;31mb\u001b${String.fromCharCode(code)}c`;
    if (clean(text) !== visibleText(text)) t.equal(clean(text), visibleText(text), `U+${code.toString(16)}`);
  }
  t.equal(clean('\u001b[31m\u202ex\r\ny\u001b]0;t\u0007'), '\ufffdx\ny');
});
