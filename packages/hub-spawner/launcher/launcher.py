#!/usr/bin/python3
"""Starts the JupyterLab of the Python that runs this file on a socket that systemd made.

The unit of a user's server runs it as `<environment>/bin/python -I launcher.py`. `-I` keeps everything of the user's out of
this process until Jupyter itself reads the user's settings: no PYTHON* variables, no current directory, no ~/.local. A
broken `pip install --user` can therefore never lock its user out. Kernels and terminals are started without `-I`, so
there those packages work as usual.

It is told what to serve by the credential `server.json` ({"token", "base_url", "default_url"}, "root_dir" for another directory than the home,
"kernels" for kernels.py), never by its command line or environment, which every local user can read.

Any Python from 3.9 on; the standard library only.
"""

import collections
import errno
import importlib.util
import json
import os
import socket
import sys
import threading

# Read by the spawner (start-failure.ts). Clear of Python's 1 and 2 and of systemd's 200 and up.
EXIT_NO_JUPYTER = 100
EXIT_OLD_JUPYTER = 101
EXIT_BAD_HANDOVER = 102
EXIT_FOREIGN_FILES = 103
# Of adapter.py.
EXIT_NO_COMMAND = 104
OUR_STATUSES = range(EXIT_NO_JUPYTER, EXIT_NO_COMMAND + 1)

FIRST_PASSED_FD = 3
# Seconds that a stop may take, from unit-properties.ts: a little less than systemd waits.
STOP_VARIABLE = "METALHUB_STOP_SEC"
# For a unit of a spawner that does not set it yet.
DEFAULT_STOP_SEC = "7"
# A few milliseconds.
SAMPLE_ENTRIES = 1000
SKELETON = "/etc/skel"
# In a home while it is being filled: the next start goes on where one that was ended stopped.
SKELETON_MARK = ".metalhub-skel"
# Whoever inherits these would speak to systemd in the server's name or take descriptors that are not there.
OURS_ALONE = (
    *("LISTEN_", "NOTIFY_", "WATCHDOG_", "CREDENTIALS_DIRECTORY", "JOURNAL_STREAM", "INVOCATION_ID", "SYSTEMD_EXEC_PID"),
    STOP_VARIABLE,
)


def refuse(status, message):
    # systemd takes the prefix for the priority (error) and does not show it.
    print(f"<3>{message}", file=sys.stderr, flush=True)
    raise SystemExit(status)


def not_ours(status):
    """For what others end with: of ours, the spawner believes what they say, and may have the home repaired."""
    return 1 if status in OUR_STATUSES else status


def take_environment():
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(OURS_ALONE)}
    # So that shells which start in the home call it by its name, not by the place behind the link.
    os.environ["PWD"] = os.environ.get("HOME", os.getcwd())
    return taken


def take_socket(taken):
    if taken.get("LISTEN_PID") != str(os.getpid()) or taken.get("LISTEN_FDS") != "1":
        refuse(EXIT_BAD_HANDOVER, "metalhub: systemd passed no listening socket: this program is started by hub-spawner")
    os.set_inheritable(FIRST_PASSED_FD, False)
    listening = socket.socket(fileno=FIRST_PASSED_FD)
    listening.setblocking(False)
    return listening


def read_credential(taken):
    path = os.path.join(taken.get("CREDENTIALS_DIRECTORY", ""), "server.json")
    try:
        with open(path, encoding="utf-8") as file:
            credential = json.load(file)
        values = [credential[key] for key in ("token", "base_url", "default_url")]
        if not all(isinstance(value, str) and value for value in values):
            raise ValueError("token, base_url and default_url must be texts")
        return credential
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Not the error's text: it may quote the token.
        refuse(EXIT_BAD_HANDOVER, f"metalhub: {path} cannot be used ({type(error).__name__})")


def check_owners(home, checked_at_ms):
    """Looks at a sample of the home for files of others that came after `checked_at_ms`: the spawner, which is told by the
    status, gives them to the user and starts again. Those that it left for good are older than its look."""
    if not home or not isinstance(checked_at_ms, int):
        return
    uid = os.getuid()
    for status in sample(home, SAMPLE_ENTRIES):
        if status.st_uid != uid and status.st_ctime_ns // 1_000_000 >= checked_at_ms:
            refuse(EXIT_FOREIGN_FILES, "metalhub: there are files of others in the home; they are being given to its user")


def sample(home, count):
    """The status of so many entries, those nearest to the top first."""
    waiting = collections.deque([home])
    while waiting:
        try:
            with os.scandir(waiting.popleft()) as entries:
                for entry in entries:
                    if count == 0:
                        return
                    count -= 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    yield entry.stat(follow_symlinks=False)
        except OSError:
            # Not readable: its own status was enough.
            pass


def own_home(credential):
    """The home when it is metalhub's to fill: one that systemd made for a dynamic user, or that the spawner says is."""
    return os.environ.get("HOME") if credential.get("fill_home") is True else os.environ.get("STATE_DIRECTORY")


def fill_new_home(home, state_directory, skeleton=SKELETON):
    """Gives a new home what new accounts of the machine get. It runs as the user, who may do all this anyway; what is
    there already is never touched, and no failure keeps the server from starting."""
    # Homes of accounts of the machine are the machine's to fill.
    if not home or not state_directory or os.path.realpath(home) != os.path.realpath(state_directory):
        return
    mark = os.path.join(home, SKELETON_MARK)
    try:
        if not os.path.lexists(mark):
            with os.scandir(home) as entries:
                if any(entries):
                    return
            if not os.path.isdir(skeleton):
                return
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        copy_missing(skeleton, home, mark + ".part")
        remove_if_there(mark + ".part")
        os.unlink(mark)
    except OSError as error:
        warn(f"the home could not be filled from {skeleton}: {error.strerror}")


def copy_missing(source, target, temporary):
    with os.scandir(source) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            try:
                copy_entry(entry, os.path.join(target, entry.name), temporary)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                warn(f"{entry.path} could not be copied to the new home: {error.strerror}")


def copy_entry(entry, target, temporary):
    if entry.is_dir(follow_symlinks=False):
        if not os.path.lexists(target):
            os.mkdir(target, 0o700)
        if not os.path.islink(target):
            copy_missing(entry.path, target, temporary)
    elif os.path.lexists(target):
        return
    elif entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
    elif entry.is_file(follow_symlinks=False):
        # Complete or not there at all, whenever this process ends.
        remove_if_there(temporary)
        with open(entry.path, "rb") as original, open(temporary, "xb") as copy:
            while chunk := original.read(1 << 20):
                copy.write(chunk)
            os.fchmod(copy.fileno(), 0o600 | (os.fstat(original.fileno()).st_mode & 0o100))
        # Unlike a rename it replaces nothing.
        os.link(temporary, target)
        os.unlink(temporary)


def remove_if_there(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def warn(message):
    print(f"<4>metalhub: {message}", file=sys.stderr, flush=True)


def how_to_install():
    if sys.executable == "/usr/bin/python3":
        return "install it with: apt install jupyterlab"
    return f"install it with: {sys.executable} -m pip install --upgrade jupyterlab"


def check_jupyter():
    """Refuses before the long imports when there is nothing to import."""
    try:
        import jupyter_server
    except ModuleNotFoundError as error:
        if error.name != "jupyter_server":
            raise
        refuse_no_jupyter()
    version = str(getattr(jupyter_server, "__version__", "unknown"))
    if not version.split(".")[0].isdigit() or int(version.split(".")[0]) < 2:
        refuse(
            EXIT_OLD_JUPYTER,
            f"metalhub: {sys.executable} has Jupyter Server {version}; version 2 or later is needed; "
            f"{how_to_install()}",
        )
    # Only looked for: importing it would take most of a second.
    if importlib.util.find_spec("jupyterlab") is None:
        refuse_no_jupyter()


def refuse_no_jupyter():
    refuse(EXIT_NO_JUPYTER, f"metalhub: {sys.executable} has no JupyterLab; {how_to_install()}")


def import_lab():
    """Imports JupyterLab without `node` in PATH: it would be run for a setting of yarn's, a third of the start."""
    path = os.environ.get("PATH")
    os.environ["PATH"] = "/nonexistent"
    try:
        from jupyter_server import serverapp
        from jupyterlab.labapp import LabApp
    finally:
        if path is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = path
    return LabApp, serverapp


def load_beside(name):
    """A file of ours beside this one, which `-I` keeps from being found by its name."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"metalhub_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notify(address, text):
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(text.encode(), address)


def adopt(serverapp, listening, when_accepting):
    """Has Jupyter listen on the inherited socket in place of one that it would make."""

    def bind_unix_socket(*_args, **_options):
        # Called from the event loop, just before the server begins to accept: what is queued now runs just after.
        IOLoop.current().add_callback(when_accepting)
        return listening

    from tornado.ioloop import IOLoop

    serverapp.bind_unix_socket = bind_unix_socket


def end_in_time(serverapp, patience_sec):
    """Jupyter waits without limit for a kernel that is just starting when it is told to stop; nobody else should."""
    signal_stop = serverapp.ServerApp._signal_stop

    def signal_stop_in_time(self, *args):
        timer = threading.Timer(patience_sec, os._exit, (0,))
        timer.daemon = True
        timer.start()
        signal_stop(self, *args)

    serverapp.ServerApp._signal_stop = signal_stop_in_time


def keep_token_from_pages(lab_app):
    """JupyterLab writes the token into its page, and from there into addresses; the proxy adds it, no browser needs it."""
    initialize_handlers = lab_app.initialize_handlers

    def initialize_without_token(self):
        initialize_handlers(self)
        page_config = self.serverapp.web_app.settings.get("page_config_data", {})
        if page_config.get("token"):
            page_config["token"] = ""

    lab_app.initialize_handlers = initialize_without_token


def find_root_dir(home, wanted):
    """What the file browser shows; below the home it is made, elsewhere it is the administrator's to make."""
    path = os.path.join(home, wanted)
    if not os.path.isabs(wanted):
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
        except OSError as error:
            warn(f"{path} cannot be made: {error.strerror}")
            return home
    return path


def arguments(credential):
    """These win over the user's own configuration files. They stay within this process: /proc shows only `-I launcher.py`."""
    settings = {
        # Only a name: the socket is there already.
        "ServerApp.sock": "/adopted",
        # Jupyter's own defaults: with others, which users may have from elsewhere, it refuses to start on a socket.
        "ServerApp.port": 8888,
        "ServerApp.file_to_run": "",
        "ServerApp.base_url": credential["base_url"],
        "LabApp.default_url": credential["default_url"],
        "IdentityProvider.token": credential["token"],
        "ServerApp.open_browser": False,
        "LabApp.open_browser": False,
        # Who may come in under which name is checked by the proxy, the only one that can connect.
        "ServerApp.allow_remote_access": True,
        "ServerApp.trust_xheaders": True,
        # Kernel channels as sockets in the private runtime directory; as TCP ports every local user could reach them.
        "KernelManager.transport": "ipc",
        # A server is ended by the hub's Stop, which also tells the user how to get a new one.
        "ServerApp.quit_button": False,
    }
    home = os.environ.get("HOME")
    if home:
        settings["ServerApp.root_dir"] = find_root_dir(home, credential.get("root_dir", ""))
    return [f"--{name}={value}" for name, value in settings.items()]


def main():
    if sys.argv[1:] == ["--check"]:
        # For `hubctl doctor`: refuses as a start would, without starting anything.
        check_jupyter()
        import_lab()
        return
    taken = take_environment()
    listening = take_socket(taken)
    credential = read_credential(taken)
    check_jupyter()
    check_owners(os.environ.get("HOME"), credential.get("home_checked_at_ms"))
    fill_new_home(os.environ.get("HOME"), own_home(credential))
    lab_app, serverapp = import_lab()
    address = taken.get("NOTIFY_SOCKET")
    wanted = credential.get("kernels")
    kernels = load_beside("kernels").offer(wanted, warn) if wanted else None

    def when_accepting():
        notify(address, "READY=1")
        if kernels:
            kernels.begin()
        load_beside("activity").report(serverapp.ServerApp.instance, lambda text: notify(address, f"STATUS={text}"), warn)

    adopt(serverapp, listening, when_accepting)
    end_in_time(serverapp, float(taken.get(STOP_VARIABLE, DEFAULT_STOP_SEC)))
    keep_token_from_pages(lab_app)
    sys.argv = ["jupyter-lab"]
    try:
        lab_app.launch_instance(arguments(credential))
    except SystemExit as end:
        # From here on the user's own code runs, too: settings, extensions.
        end.code = not_ours(end.code)
        raise


if __name__ == "__main__":
    main()
