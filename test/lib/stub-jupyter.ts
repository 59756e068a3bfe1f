import type { Machine } from './machine.js';

/** Debian 12 has no JupyterLab. This does what the launcher expects of it: it listens. It runs `~/at-start`, too. */
const STUBS = {
  'jupyter_server/__init__.py': '__version__ = "2.0"\n',
  'jupyter_server/serverapp.py':
    'class ServerApp:\n    instance = None\n    def _signal_stop(self, *args):\n        pass\n',
  'jupyterlab/__init__.py': '',
  'jupyterlab/labapp.py': `import os, subprocess
from jupyter_server import serverapp
class LabApp:
    def initialize_handlers(self):
        pass
    @staticmethod
    def launch_instance(arguments):
        listening = serverapp.bind_unix_socket()
        listening.setblocking(True)
        start = os.path.expanduser("~/at-start")
        if os.path.exists(start):
            subprocess.run([start])
        while True:
            listening.accept()
`,
  'tornado/__init__.py': '',
  'tornado/ioloop.py': `class IOLoop:
    current = staticmethod(lambda: IOLoop())
    def add_callback(self, action):
        action()
class PeriodicCallback:
    def __init__(self, *args, **options):
        pass
    def start(self):
        pass
`,
};

/** Without it no server starts there. */
export async function installStubs(machine: Machine): Promise<void> {
  for (const [path, text] of Object.entries(STUBS))
    await machine.writeFile(`/usr/lib/python3/dist-packages/${path}`, text);
}
