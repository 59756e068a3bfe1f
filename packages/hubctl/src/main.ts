import { AdminClient } from './admin-client.js';
import { runCli } from './cli.js';

declare const METALHUB_VERSION: string;

// A closed pipe (hubctl logs | head) is the reader's way to say enough.
process.stdout.on('error', () => process.exit(0));

const streams = {
  stdout: (text: string) => void process.stdout.write(text),
  stderr: (text: string) => void process.stderr.write(text),
};
void runCli(process.argv.slice(2), new AdminClient(), METALHUB_VERSION, streams).then((status) => {
  process.exitCode = status;
});
