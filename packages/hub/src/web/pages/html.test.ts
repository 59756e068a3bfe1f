import t from 'tap';
import { flag, html } from './html.js';

t.test('html', async (t) => {
  t.test('H05: escapes markup and quotes in text and in attributes', async (t) => {
    const payload = `"><img src=x onerror='alert(1)'>&amp;\`{{7*7}}`;
    const escaped = '&quot;&gt;&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;amp;&#96;{{7*7}}';
    t.equal(html`<p title="${payload}">${payload}</p>`.toString(), `<p title="${escaped}">${escaped}</p>`);
  });

  t.test('H05: shows bidirectional and other control characters in text instead of obeying them', async (t) => {
    t.equal(html`<bdi>${'a\u202eb\u2066c\u0000d\u0085e'}</bdi>`.toString(), '<bdi>a\ufffdb\ufffdc\ufffdd\ufffde</bdi>');
  });

  t.test('H05: takes terminal sequences out of text', async (t) => {
    const colours = '\u001b[1;31mred\u001b[0m \u001b]8;;http://evil.example\u0007link\u001b]8;;\u001b\\ \u001b(Bend';
    t.equal(html`<pre>${colours}</pre>`.toString(), '<pre>red link end</pre>');
  });

  t.test('keeps every character of an attribute, since forms send it back', async (t) => {
    t.equal(html`<input value="${'a\u202e b'}">`.toString(), '<input value="a\u202e b">');
  });

  t.test('H05: links only to paths and web addresses', async (t) => {
    for (const bad of [
      'javascript:alert(1)',
      ' javascript:alert(1)',
      'data:text/html,x',
      '//evil.example',
      '/\\evil',
      '/\t/evil',
      '',
    ]) {
      t.equal(html`<a href="${bad}">x</a>`.toString(), '<a href="#">x</a>', JSON.stringify(bad));
    }
    t.equal(html`<a href="${'/user/a/?b=1&c=2'}">x</a>`.toString(), '<a href="/user/a/?b=1&amp;c=2">x</a>');
    t.equal(
      html`<form action="${'https://a.example/x'}"></form>`.toString(),
      '<form action="https://a.example/x"></form>',
    );
  });

  t.test('does not escape what it has made itself, alone or in a list', async (t) => {
    const items = ['<a>', 'b'].map((text) => html`<li>${text}</li>`);
    t.equal(html`<ul>${items}</ul>${undefined}${3}`.toString(), '<ul><li>&lt;a&gt;</li><li>b</li></ul>3');
  });

  t.test('writes flags or leaves them out', async (t) => {
    t.equal(
      html`<p ${flag('hidden', true)}>a</p><p ${flag('hidden', false)}>b</p>`.toString(),
      '<p hidden>a</p><p >b</p>',
    );
  });

  t.test('refuses what looks like its own markup but is not', async (t) => {
    const forged = Object.assign(Object.create(Object.getPrototypeOf(html`<b></b>`)), { markup: '<script>' });
    t.throws(() => html`<p>${forged}</p>`, TypeError);
  });

  t.test('refuses values where escaping would not make them safe', async (t) => {
    const value = 'x';
    t.throws(() => html`<p title=${value}>`, TypeError, 'no quotes');
    t.throws(() => html`<p title='${value}'>`, TypeError, 'single quotes');
    t.throws(() => html`<${value}>`, TypeError, 'name of an element');
    t.throws(() => html`<p ${value}>`, TypeError, 'name of an attribute');
    t.throws(() => html`<p style="${value}">`, TypeError, 'style');
    t.throws(() => html`<p onclick="${value}">`, TypeError, 'handler');
    t.throws(() => html`<script>${value}</script>`, TypeError, 'script');
    t.throws(() => html`<style>${value}</style>`, TypeError, 'style sheet');
    t.throws(() => html`<!-- ${value} -->`, TypeError, 'comment');
    t.throws(() => html`<p title="${html`<b></b>`}">`, TypeError, 'markup in an attribute');
    t.throws(() => html`<p title="${value}`, TypeError, 'unfinished');
  });
});
