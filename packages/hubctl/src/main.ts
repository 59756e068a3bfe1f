import { AdminClient } from './admin-client.js';
import { runCli } from './cli.js';

declare const METALHUB_VERSION: string;

let isPrinting = false;

// Not before it is needed: Node makes a pipe non-blocking, also for the command that "hubctl exec" hands it to.
const streams = {
  stdout(text: string): void {
    // A closed pipe (hubctl logs | head) is the reader's way to say enough.
    if (!isPrinting) process.stdout.on('error', () => process.exit(0));
    isPrinting = true;
    process.stdout.write(text);
  },
  stderr: (text: string) => void process.stderr.write(text),
};
void runCli(process.argv.slice(2), new AdminClient(), METALHUB_VERSION, streams).then((status) => {
  process.exitCode = status;
});
