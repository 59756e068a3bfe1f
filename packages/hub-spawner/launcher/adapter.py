#!/usr/bin/python3
"""Runs any program that speaks HTTP as a user's server, on the socket that systemd made.

The unit of a profile with `command` runs it as `python3 -I adapter.py`. The credential `server.json` names the command; in
its words `{socket}` and `{port}` stand for where the program shall listen, `{base_url}` for the path below which it is
reached. Bytes are passed on both ways as they are, WebSockets too. With `{fd}` instead, the program takes the socket itself,
and this process becomes it.

The standard library only, as launcher.py, whose hand-over it shares.
"""

import asyncio
import errno
import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys

spec = importlib.util.spec_from_file_location("launcher", pathlib.Path(__file__).with_name("launcher.py"))
launcher = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
spec.loader.exec_module(launcher)

# Only this process may look again and again whether its program is there.
LOOK_EVERY_SEC = 0.02
CHUNK = 1 << 16
TCP_LISTEN = "0A"
# Where one may listen for connections to 127.0.0.1, as /proc/net writes it, the nearest first.
PLACES = (("tcp", "0100007F"), ("tcp6", "0000000000000000FFFF00000100007F"), ("tcp", "0" * 8), ("tcp6", "0" * 32))


def read_command(credential):
    command = credential.get("command")
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        launcher.refuse(launcher.EXIT_BAD_HANDOVER, "metalhub: the credential names no command")
    return command


def fill_in(command, values):
    """Only these words are replaced, so that braces of any other meaning stay."""
    filled = []
    for word in command:
        for name, value in values.items():
            word = word.replace("{" + name + "}", value)
        filled.append(word)
    return filled


def mentions(command, name):
    return any("{" + name + "}" in word for word in command)


def become(command, base_url, listening, notify_socket):
    """The program takes the socket as systemd hands it over. That it accepts is not seen; the socket lets visitors wait."""
    os.set_blocking(listening.fileno(), True)
    os.set_inheritable(listening.fileno(), True)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = "1"
    words = fill_in(command, {"fd": str(listening.fileno()), "base_url": base_url})
    # Afterwards it is too late: the start would count as done.
    if not os.access(words[0], os.X_OK):
        code = errno.EACCES if os.path.lexists(words[0]) else errno.ENOENT
        refuse_command(words[0], OSError(code, os.strerror(code)))
    launcher.notify(notify_socket, "READY=1")
    try:
        os.execv(words[0], words)
    except OSError as error:
        refuse_command(words[0], error)


def refuse_command(program, error):
    launcher.refuse(launcher.EXIT_NO_COMMAND, f"metalhub: {program} cannot be executed: {error.strerror}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens_as_us(port):
    """Whether it is our own program that has the port: any account of the machine could have been faster."""
    return nearest_owners(listeners(port)) == {os.getuid()}


def nearest_owners(found):
    """To whom the kernel hands a connection to 127.0.0.1, whatever others listen beside them."""
    owners = {}
    for table, address, uid in found:
        owners.setdefault((table, address), set()).add(uid)
    return next((owners[place] for place in PLACES if place in owners), set())


def listeners(port):
    """Where whose programs listen on the port: the table's name, the address as it is there, the uid."""
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/self/net/{name}", encoding="ascii") as table:
                rows = [line.split() for line in table]
        except FileNotFoundError:
            # A kernel without IPv6.
            continue
        for row in rows[1:]:
            address, _, number = row[1].partition(":")
            if number == f"{port:04X}" and row[3] == TCP_LISTEN:
                yield name, address, int(row[7])


class Adapter:
    def __init__(self, child, connect, is_trusted):
        self.child = child
        self.connect = connect
        self.is_trusted = is_trusted
        self.is_stopping = False

    async def run(self, listening, notify_socket, stop_sec):
        loop = asyncio.get_running_loop()
        # systemd signals the program as well; it is given the time to end in its own way.
        loop.add_signal_handler(signal.SIGTERM, self.stop, loop, stop_sec)
        ended = loop.run_in_executor(None, self.child.wait)
        await asyncio.wait({ended, asyncio.ensure_future(self.wait_until_there())}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            server = await asyncio.start_server(self.pass_on, sock=listening)
            launcher.notify(notify_socket, "READY=1")
            await ended
            server.close()
        # The executor's thread is done; nothing else is worth waiting for.
        os._exit(self.status(ended.result()))

    def status(self, code):
        if self.is_stopping:
            return 0
        if code < 0:
            return 128 - code
        return launcher.not_ours(code)

    def stop(self, loop, stop_sec):
        self.is_stopping = True
        loop.call_later(stop_sec, os._exit, 0)

    async def reach(self):
        """A connection to the program. Who has its port in its place gets nothing of what a visitor says."""
        from_program, to_program = await self.connect()
        if not self.is_trusted():
            to_program.transport.abort()
            raise ConnectionRefusedError(errno.ECONNREFUSED, "its port is somebody else's")
        return from_program, to_program

    async def wait_until_there(self):
        while True:
            try:
                _, writer = await self.reach()
                writer.close()
                return
            except OSError:
                pass
            await asyncio.sleep(LOOK_EVERY_SEC)

    async def pass_on(self, from_visitor, to_visitor):
        try:
            from_program, to_program = await self.reach()
        except OSError as error:
            launcher.warn(f"the program does not answer: {error.strerror}")
            to_visitor.transport.abort()
            return
        try:
            await asyncio.gather(copy(from_visitor, to_program), copy(from_program, to_visitor))
        except OSError:
            # One side is gone: so the other one goes.
            pass
        finally:
            to_program.transport.abort()
            to_visitor.transport.abort()


async def copy(source, target):
    while chunk := await source.read(CHUNK):
        target.write(chunk)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()
        await target.drain()


def main():
    taken = launcher.take_environment()
    listening = launcher.take_socket(taken)
    credential = launcher.read_credential(taken)
    command = read_command(credential)
    base_url = credential["base_url"]
    notify_socket = taken.get("NOTIFY_SOCKET")
    launcher.fill_new_home(os.environ.get("HOME"), launcher.own_home(credential))
    if mentions(command, "fd"):
        become(command, base_url, listening, notify_socket)
    path = os.path.join(os.environ.get("JUPYTER_RUNTIME_DIR", "/run/jupyter"), "program.sock")
    port = free_port()
    uses_port = mentions(command, "port")
    words = fill_in(command, {"socket": path, "port": str(port), "base_url": base_url})
    try:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    except OSError as error:
        refuse_command(words[0], error)

    def connect():
        if uses_port:
            return asyncio.open_connection("127.0.0.1", port)
        return asyncio.open_unix_connection(path)

    adapter = Adapter(child, connect, lambda: not uses_port or listens_as_us(port))
    stop_sec = float(taken.get(launcher.STOP_VARIABLE, launcher.DEFAULT_STOP_SEC))
    asyncio.run(adapter.run(listening, notify_socket, stop_sec))


if __name__ == "__main__":
    main()
