import type { Machine } from './machine.js';

/** What runs in place of JupyterLab: it answers on the socket that systemd made, in its user's unit, as hostile as it can. */
const PROGRAM = `
import os, socket, threading, time
from jupyter_server.serverapp import ServerApp

HOME = os.environ["HOME"]
BASE = "/user/mallory"
HOSTILE = [
    "Set-Cookie: metalhub-session=evil; Path=/hub/",
    "Set-Cookie: metalhub-session=evil; Path=/",
    "Set-Cookie: METALHUB-session=evil; Path=" + BASE + "/",
    "Set-Cookie: __Host-metalhub-session=evil; Path=/; Secure",
    "Set-Cookie: metalhub-ticket=evil; Path=/user/anna/",
    "Set-Cookie: metalhub-ticket=evil; Path=" + BASE + "/",
    "Set-Cookie: metalhub-session=; Path=/hub/; Max-Age=0",
    "Set-Cookie: wide=1; Path=/",
    "Set-Cookie: foreign=1; Path=/user/anna/",
    "Set-Cookie: domain=1; Domain=localhost; Path=" + BASE + "/",
    "Set-Cookie: own=1; Path=" + BASE + "/",
    'Clear-Site-Data: "*"',
    "Service-Worker-Allowed: /",
]
PAGE = """<!doctype html><title>hostile</title><h1>hostile</h1><script>
const tell = (name, value) => { document.body.append(Object.assign(document.createElement('p'), {id: name, textContent: value})); };
for (const path of ['/', '/hub', '/hub/', '/hub/home', '/user/anna/'])
  for (const name of ['metalhub-session', 'metalhub-visitor', 'metalhub-ticket']) document.cookie = name + '=planted; path=' + path;
tell('cookies', document.cookie);
navigator.serviceWorker.register('""" + BASE + """/sw.js', {scope: '/'}).then(() => tell('worker', 'registered'), (error) => tell('worker', error.name));
</script>"""
WORKER = "self.addEventListener('fetch', (event) => event.respondWith(new Response('caught')))"

def answer(status, kind, body, fields=()):
    lines = ["HTTP/1.1 " + status, "Content-Type: " + kind, "Content-Length: " + str(len(body)), *fields, *HOSTILE]
    return ("\\r\\n".join(lines) + "\\r\\n\\r\\n" + body).encode()

def respond(connection, path):
    if path.endswith("/loop"):
        connection.sendall(answer("302 Found", "text/plain", "", ["Location: " + BASE + "/loop"]))
    elif path.endswith("/garbage"):
        connection.sendall(os.urandom(4096) + b"\\r\\n\\r\\n")
    elif path.endswith("/split"):
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nContent-Length: 0\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\n")
    elif path.endswith("/endless"):
        while True:
            connection.sendall(b"X-More: " + b"x" * 4000 + b"\\r\\n")
    elif path.endswith("/switch"):
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n")
    elif path.endswith("/behind"):
        # An answer too many, for whoever uses the connection next.
        connection.sendall(answer("200 OK", "text/plain", "first") + answer("200 OK", "text/plain", "smuggled"))
        time.sleep(1)
    elif path.endswith("/sw.js"):
        connection.sendall(answer("200 OK", "text/javascript", WORKER))
    else:
        connection.sendall(answer("200 OK", "text/html", PAGE))

def talk(connection):
    try:
        head = b""
        while True:
            while b"\\r\\n\\r\\n" not in head:
                more = connection.recv(65536)
                if not more:
                    return
                head += more
            first, _, head = head.partition(b"\\r\\n\\r\\n")
            with open(HOME + "/seen", "ab") as file:
                file.write(first + b"\\n\\n")
            respond(connection, first.split(b" ")[1].decode().split("?")[0])
    except OSError:
        pass
    finally:
        connection.close()

def inherited():
    for descriptor in range(3, 64):
        try:
            found = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue
        if found.family == socket.AF_UNIX and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return found

def take_over(listening):
    while not (ServerApp.initialized() and getattr(ServerApp.instance(), "http_server", None)):
        time.sleep(0.05)
    time.sleep(0.5)
    server = ServerApp.instance()
    stopped = threading.Event()
    server.io_loop.add_callback(lambda: (server.http_server.stop(), stopped.set()))
    stopped.wait()
    listening.setblocking(True)
    open(HOME + "/taken", "w").close()
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=talk, args=(connection,), daemon=True).start()

threading.Thread(target=take_over, args=(inherited(),), daemon=True).start()
`;

/**
 * Puts a file into mallory's home by which their Jupyter server is replaced by one that is hostile. It takes effect with the
 * next start; the home must be there already.
 */
export async function plantHostileServer(machine: Machine): Promise<void> {
  const home = '/var/lib/private/metalhub/home/mallory';
  const file = `${home}/.jupyter/jupyter_server_config.py`;
  await machine.writeFile(file, PROGRAM);
  await machine.shell(`chown -R --reference=${home} ${home}/.jupyter`);
}

/** Every request head that has arrived there. */
export async function seenByHostileServer(machine: Machine): Promise<string> {
  return machine.readFile('/var/lib/private/metalhub/home/mallory/seen');
}
