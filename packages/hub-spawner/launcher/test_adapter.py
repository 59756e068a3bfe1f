"""Tests of adapter.py with programs that really listen: python3 -m unittest test_adapter (not as root)."""

import asyncio
import contextlib
import importlib.util
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import unittest
from unittest import mock

from test_launcher import BASE_URL, TOKEN, LauncherCase

ADAPTER = pathlib.Path(__file__).with_name("adapter.py")

spec = importlib.util.spec_from_file_location("adapter", ADAPTER)
adapter = importlib.util.module_from_spec(spec)
spec.loader.exec_module(adapter)

# Answers with its path, its own words and how it was started; `Upgrade:` gets an echo of bytes, as a WebSocket has it.
PROGRAM = """
import os, socket, sys
words = sys.argv[1:]
how = next(word for word in words if word.startswith("listen="))[7:]
if how == "fd":
    listening = socket.socket(fileno=int(words[1]))
elif how.startswith("/"):
    listening = socket.socket(socket.AF_UNIX); listening.bind(how); listening.listen()
else:
    listening = socket.socket(); listening.bind(("127.0.0.1", int(how))); listening.listen()
while True:
    connection, _ = listening.accept()
    if os.fork():
        connection.close()
        continue
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        chunk = connection.recv(65536)
        if not chunk: os._exit(0)
        head += chunk
    if b"upgrade: echo" in head.lower():
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: echo\\r\\nConnection: Upgrade\\r\\n\\r\\n")
        while chunk := connection.recv(65536): connection.sendall(chunk)
        connection.sendall(b"end")
    else:
        body = repr((head.split()[1].decode(), words, sorted(os.environ))).encode()
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % len(body) + body)
    os._exit(0)
"""


class AdapterTest(LauncherCase):
    program = ADAPTER

    def give_command(self, *words):
        (self.dir / "program.py").write_text(PROGRAM)
        credential = {"token": TOKEN, "base_url": BASE_URL, "default_url": "/", "command": list(words)}
        (self.dir / "credentials" / "server.json").write_text(json.dumps(credential))

    def give_program(self, *words):
        self.give_command(sys.executable, str(self.dir / "program.py"), *words)

    def await_ready(self):
        self.assertEqual(self.notified.recv(100), b"READY=1")

    def upgraded(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        self.addCleanup(connection.close)
        connection.connect(self.socket_path)
        connection.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        self.assertIn(b"101", connection.recv(1000))
        return connection

    def test_a_program_on_a_socket_is_reached_as_it_is(self):
        self.give_program("listen={socket}", "--base={base_url}", "{kept} {}")
        self.start()
        self.await_ready()
        answer, body = self.get(f"{BASE_URL}page?x=1")
        path, words, variables = eval(body)
        self.assertEqual((answer.status, path), (200, f"{BASE_URL}page?x=1"))
        self.assertEqual(words, [f"listen={self.dir}/runtime/program.sock", f"--base={BASE_URL}", "{kept} {}"])
        self.assertFalse([name for name in variables if name.startswith(("LISTEN_", "NOTIFY_", "CREDENTIALS_"))])

    def test_a_program_on_a_port_is_reached_and_has_it_to_itself(self):
        self.give_program("listen={port}")
        self.start()
        self.await_ready()
        self.assertEqual(self.get("/")[0].status, 200)

    def test_a_program_that_takes_the_socket_becomes_the_main_process(self):
        self.give_program("listen=fd", "{fd}")
        process = self.start()
        self.await_ready()
        _, words, variables = eval(self.get("/")[1])
        self.assertEqual(words[1], "3")
        self.assertIn("LISTEN_FDS", variables)
        self.assertIn(b"program.py", pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes())

    def test_websockets_pass_both_ways_with_megabytes_and_half_closes(self):
        self.give_program("listen={socket}")
        self.start()
        self.await_ready()
        connections = [self.upgraded() for _ in range(20)]
        for number, connection in enumerate(connections):
            sent = os.urandom(1 << 18) + bytes([number])
            received = b""
            connection.settimeout(0.0)
            rest = sent
            deadline = time.monotonic() + 20
            while len(received) < len(sent) and time.monotonic() < deadline:
                try:
                    rest = rest[connection.send(rest):] if rest else rest
                except BlockingIOError:
                    pass
                try:
                    received += connection.recv(1 << 16)
                except BlockingIOError:
                    time.sleep(0.001)
            self.assertEqual(received, sent)
            connection.settimeout(20)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(connection.recv(100), b"end")
            self.assertEqual(connection.recv(100), b"")

    def test_a_program_that_ends_ends_the_unit_with_its_status(self):
        for command, status in [("exit 7", 7), ("exit 100", 1), ("kill -9 $$", 137)]:
            self.give_command("/bin/sh", "-c", f"{command}; : {{socket}}")
            process = self.start()
            process.communicate(timeout=20)
            self.assertEqual(process.returncode, status)

    def test_a_stop_waits_for_the_program_but_not_for_long(self):
        self.give_program("listen={socket}")
        process = self.start(METALHUB_STOP_SEC="0.5")
        self.await_ready()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        self.assertEqual(process.returncode, 0)
        self.assertLess(time.monotonic() - began, 5)

    def test_somebody_elses_port_is_not_taken_for_the_programs(self):
        self.give_command("/bin/sleep", "{port}")
        process = self.start()
        self.notified.settimeout(1)
        with self.assertRaises(TimeoutError if sys.version_info >= (3, 10) else socket.timeout):
            self.notified.recv(100)
        self.assertIsNone(process.poll())

    def test_a_program_that_listens_on_all_addresses_of_ipv6_is_its_users(self):
        for family, address in [
            (socket.AF_INET, "127.0.0.1"),
            (socket.AF_INET, "0.0.0.0"),
            (socket.AF_INET6, "::"),
            (socket.AF_INET6, "::ffff:127.0.0.1"),
        ]:
            with socket.socket(family) as listening:
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                listening.bind((address, 0))
                port = listening.getsockname()[1]
                self.assertFalse(adapter.listens_as_us(port), f"{address}, not yet")
                listening.listen()
                self.assertTrue(adapter.listens_as_us(port), address)
                with mock.patch.object(adapter.os, "getuid", lambda: 12345):
                    self.assertFalse(adapter.listens_as_us(port), f"{address}, of another user")

    def test_who_listens_nearest_has_the_port(self):
        loopback, everywhere, everywhere_6 = ("tcp", "0100007F"), ("tcp", "0" * 8), ("tcp6", "0" * 32)
        self.assertEqual(adapter.nearest_owners([(*everywhere_6, 2), (*everywhere, 1)]), {1})
        self.assertEqual(adapter.nearest_owners([(*everywhere, 1), (*loopback, 2)]), {2})
        self.assertEqual(adapter.nearest_owners([(*everywhere, 1), (*everywhere, 2)]), {1, 2})
        self.assertEqual(adapter.nearest_owners([("tcp", "0100000A", 1)]), set())

    def test_who_has_the_port_in_the_programs_place_is_told_nothing(self):
        async def visit(is_trusted):
            told = asyncio.get_running_loop().create_future()

            async def listen(reader, writer):
                told.set_result(await reader.read())
                writer.close()

            path = str(self.dir / f"program-{is_trusted}")
            program = await asyncio.start_unix_server(listen, path)
            passing = adapter.Adapter(None, lambda: asyncio.open_unix_connection(path), lambda: is_trusted)
            door = await asyncio.start_unix_server(passing.pass_on, path + ".door")
            reader, writer = await asyncio.open_unix_connection(path + ".door")
            with contextlib.suppress(OSError):
                writer.write(b"GET /?token=secret")
                writer.write_eof()
                await reader.read()
            try:
                return await asyncio.wait_for(told, 30)
            finally:
                for end in (writer, program, door):
                    end.close()

        self.assertEqual(asyncio.run(visit(True)), b"GET /?token=secret")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(asyncio.run(visit(False)), b"")
        self.assertIn("its port is somebody else's", said.getvalue())

    def test_what_cannot_be_executed_is_named(self):
        self.give_command("/nowhere/program", "{socket}")
        self.assert_refused(self.start(), 104, "/nowhere/program cannot be executed: No such file")
        self.give_command("/nowhere/program", "{fd}")
        self.assert_refused(self.start(), 104, "/nowhere/program cannot be executed: No such file")

    def test_without_a_command_it_refuses(self):
        self.assert_refused(self.start(), 102, "names no command")


del LauncherCase

if __name__ == "__main__":
    unittest.main()
