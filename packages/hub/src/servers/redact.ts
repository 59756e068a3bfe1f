/** What shows that a text is a secret, for lines that a user or an administrator gets to see. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [
    /((?:token|password|passwd|secret|cookie|api_key|apikey|authorization)["']?\s*[=:]\s*["']?(?:bearer |token |basic )?)[^\s"'&;,]+/gi,
    '$1[removed]',
  ],
  [/(authorization\s*:?\s*)(?:bearer|token|basic)\s+\S+/gi, '$1[removed]'],
  [/(:\/\/[^\s/:@]+:)[^\s/@]+@/g, '$1[removed]@'],
  [/\b[0-9a-f]{32,}\b/gi, '[removed]'],
  // 40 and more characters of base64url with all three kinds of characters: keys and tokens, hardly ever words.
  [/(?<![\w/.-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*[0-9])[\w-]{40,}(?![\w/.-])/g, '[removed]'],
];

/** Takes out what is known to be secret, and what looks it. */
export function redactLine(line: string, secrets: readonly string[]): string {
  let text = line;
  for (const secret of secrets) {
    if (secret.length >= 8) text = text.replaceAll(secret, '[removed]');
  }
  for (const [pattern, replacement] of PATTERNS) text = text.replace(pattern, replacement);
  return text;
}
