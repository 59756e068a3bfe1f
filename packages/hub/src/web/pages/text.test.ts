import t from 'tap';
import { isLocalPath, isWebAddress, visibleText } from './text.js';

t.test('visibleText', async (t) => {
  t.test('keeps letters of all scripts, tabs and line ends', async (t) => {
    t.equal(visibleText('Übung\t数学 שלום 👩‍🔬\nx'), 'Übung\t数学 שלום 👩‍🔬\nx');
  });

  t.test('turns carriage returns into line ends, so that nothing overwrites a line', async (t) => {
    t.equal(visibleText('50%\r100%\r\nend'), '50%\n100%\nend');
  });

  t.test('does not swallow text after an unfinished terminal sequence', async (t) => {
    t.equal(visibleText('a\u001b]0;title and all the rest'), 'a\ufffd]0;title and all the rest');
  });

  t.test('takes time in proportion to a hostile text', async (t) => {
    const startMs = performance.now();
    visibleText('\u001b]'.repeat(500_000));
    visibleText(`\u001b[${'0'.repeat(1_000_000)}`);
    t.ok(performance.now() - startMs < 2000);
  });
});

t.test('isLocalPath', async (t) => {
  t.test('H01: refuses everything that could lead to another site', async (t) => {
    const bad = [
      '//evil',
      '///evil',
      '/\\evil',
      '/\t/evil',
      '\\\\evil',
      'https:evil',
      'https://hub@evil',
      'javascript:x',
      '/a\r\nb',
      '',
      'a',
    ];
    for (const path of bad) t.notOk(isLocalPath(path), JSON.stringify(path));
    t.notOk(isWebAddress('https://a.example\\@evil.example'));
  });

  t.test('accepts paths with query and fragment', async (t) => {
    for (const path of ['/', '/user/anna/lab/tree/a%20b?x=/y#z', '/hub//x']) t.ok(isLocalPath(path), path);
  });
});
