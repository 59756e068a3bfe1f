import type { Machine } from './machine.js';

const UNIT = 'process-sampler.service';
const RESULT = '/run/process-sampler';

/** Reads what every process shows of itself, over and over, and keeps each text once. Ends by SIGTERM. */
const PROGRAM = `
import os, signal, sys, time
seen = set()
ending = False
def end(*_):
    global ending
    ending = True
signal.signal(signal.SIGTERM, end)
own = str(os.getpid())
while not ending:
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid == own:
            continue
        for name in ("cmdline", "environ"):
            try:
                with open("/proc/" + pid + "/" + name, "rb") as file:
                    seen.add(file.read())
            except OSError:
                pass
    time.sleep(0.01)
with open("${RESULT}.new", "wb") as file:
    file.write(b"\\n".join(text.replace(b"\\0", b" ") for text in seen))
os.rename("${RESULT}.new", "${RESULT}")
`;

/** Command lines and environments of all processes that live while `work` runs, the short-lived ones of each moment included. */
export async function sampleProcesses(machine: Machine, work: () => Promise<void>): Promise<string> {
  await machine.writeFile('/opt/process-sampler.py', PROGRAM);
  await machine.run(['rm', '-f', RESULT]);
  await machine.run(['systemd-run', '--quiet', `--unit=${UNIT}`, '/usr/bin/python3', '/opt/process-sampler.py']);
  try {
    await work();
  } finally {
    await machine.run(['systemctl', 'stop', UNIT]);
  }
  return machine.readFile(RESULT);
}
