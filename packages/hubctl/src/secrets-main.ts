import { errorText } from '@metalhub/base/errors.js';
import { ensureSecrets } from './secrets.js';

/** `hub-secrets [DIRECTORY]`: the package's installation calls it. Prints the names of the secrets it made, never more. */
async function main(): Promise<void> {
  for (const name of await ensureSecrets(process.argv[2])) process.stdout.write(`made ${name}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`hub-secrets: ${errorText(error)}\n`);
  process.exitCode = 1;
});
