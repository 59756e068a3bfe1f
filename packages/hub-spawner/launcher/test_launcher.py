"""Tests of launcher.py against the Jupyter of the Python that runs them: python3 -m unittest test_launcher (not as root)."""

import contextlib
import http.client
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

LAUNCHER = pathlib.Path(__file__).with_name("launcher.py")
TOKEN = "Secret-token-of-a-test-0123456789abcdefghij"
BASE_URL = "/user/z%C3%B6e/"
READY_WITHIN_SEC = 60

spec = importlib.util.spec_from_file_location("launcher", LAUNCHER)
launcher = importlib.util.module_from_spec(spec)
spec.loader.exec_module(launcher)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class LauncherCase(unittest.TestCase):
    """A directory with what systemd gives a unit: a listening socket, a notify socket, a credential, a home."""

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="launcher-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.home = self.dir / "home"
        for directory in (self.home, self.dir / "credentials", self.dir / "runtime"):
            directory.mkdir(mode=0o700)
        self.give({"token": TOKEN, "base_url": BASE_URL, "default_url": "/lab/tree/notes"})
        self.socket_path = str(self.dir / "server.sock")
        self.listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listening.close)
        self.listening.bind(self.socket_path)
        self.listening.listen()
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notified.close)
        self.notified.bind(str(self.dir / "notify"))
        self.notified.settimeout(READY_WITHIN_SEC)

    def give(self, credential):
        content = credential if isinstance(credential, str) else json.dumps(credential)
        (self.dir / "credentials" / "server.json").write_text(content)

    program = LAUNCHER

    def start(self, python=sys.executable, listen_fds="1", **environment):
        variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "LISTEN_FDS": listen_fds,
            "LISTEN_FDNAMES": "server",
            "NOTIFY_SOCKET": str(self.dir / "notify"),
            "CREDENTIALS_DIRECTORY": str(self.dir / "credentials"),
            "JUPYTER_RUNTIME_DIR": str(self.dir / "runtime"),
            **environment,
        }
        descriptor = self.listening.fileno()

        # As systemd does it: descriptor 3, and LISTEN_PID is the process itself. The shell replaces itself.
        command = f'exec 3<&{descriptor} {descriptor}<&-; LISTEN_PID=$$ exec "$0" -I "$1"'
        if descriptor == 3:
            command = 'LISTEN_PID=$$ exec "$0" -I "$1"'
        process = subprocess.Popen(
            ["/bin/bash", "-c", command, str(python), str(self.program)],
            env=variables,
            cwd=self.home,
            pass_fds=[descriptor],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        # As systemd does it: all that is left of the unit.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def assert_refused(self, process, status, *words):
        output, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, status, output)
        for word in words:
            self.assertIn(word, output)
        self.assertIn("<3>metalhub: ", output)
        self.assertNotIn(TOKEN, output)
        self.assertNotIn("Traceback", output)

    def get(self, path, token=TOKEN):
        connection = UnixConnection(self.socket_path)
        self.addCleanup(connection.close)
        connection.request("GET", path, headers={} if token is None else {"Authorization": f"token {token}"})
        answer = connection.getresponse()
        return answer, answer.read().decode()


class SkeletonTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="skeleton-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.skeleton = self.dir / "skel"
        (self.skeleton / ".config" / "app").mkdir(parents=True)
        (self.skeleton / ".bashrc").write_text("# shell")
        (self.skeleton / ".config" / "app" / "rc").write_text("deep")
        (self.skeleton / "run").write_text("#!/bin/sh")
        (self.skeleton / "run").chmod(0o4755)
        (self.skeleton / "link").symlink_to("/etc/passwd")
        os.mkfifo(self.skeleton / "pipe")
        self.home = self.dir / "home"
        self.home.mkdir(mode=0o700)

    def fill(self, **options):
        with mock.patch("sys.stderr") as stderr:
            launcher.fill_new_home(str(self.home), options.get("state", str(self.home)), str(self.skeleton))
        return "".join(str(call.args[0]) for call in stderr.write.call_args_list)

    def names(self):
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))

    def test_a_new_home_gets_all_of_it_once(self):
        self.assertEqual(self.fill(), "")
        everything = [".bashrc", ".config", ".config/app", ".config/app/rc", "link", "run"]
        self.assertEqual(self.names(), everything)
        self.assertEqual((self.home / "run").stat().st_mode & 0o7777, 0o700)
        self.assertEqual((self.home / ".bashrc").stat().st_mode & 0o7777, 0o600)
        self.assertEqual(os.readlink(self.home / "link"), "/etc/passwd")
        (self.home / ".bashrc").unlink()
        self.fill()
        self.assertNotIn(".bashrc", self.names(), "what the user removed stays away")

    def test_a_home_with_anything_in_it_and_one_of_an_account_of_the_machine_are_left_alone(self):
        self.fill(state="")
        self.fill(state=str(self.dir / "other"))
        self.assertEqual(self.names(), [])
        (self.home / "mine").write_text("")
        self.fill()
        self.assertEqual(self.names(), ["mine"])

    def test_a_home_that_the_spawner_says_is_to_be_filled_is_filled_as_well(self):
        with mock.patch.dict(os.environ, {"HOME": str(self.home), "STATE_DIRECTORY": "/x"}):
            self.assertEqual([launcher.own_home({}), launcher.own_home({"fill_home": True})], ["/x", str(self.home)])

    def test_by_the_name_of_the_link_to_it_a_home_is_the_same(self):
        (self.dir / "link").symlink_to(self.home)
        self.fill(state=str(self.dir / "link"))
        self.assertIn(".bashrc", self.names())

    def test_goes_on_where_it_was_ended_and_overwrites_nothing(self):
        for count in range(1, 4):
            shutil.rmtree(self.home)
            self.home.mkdir()
            os_link = os.link
            links = []

            def link(source, target, links=links, count=count, os_link=os_link):
                os_link(source, target)
                links.append(target)
                if len(links) == count:
                    raise KeyboardInterrupt

            with mock.patch("os.link", link):
                try:
                    self.fill()
                except KeyboardInterrupt:
                    pass
            shell = self.home / ".bashrc"
            if shell.exists():
                shell.write_text("# changed meanwhile")
            self.assertEqual(self.fill(), "")
            self.assertEqual(self.names(), [".bashrc", ".config", ".config/app", ".config/app/rc", "link", "run"])
            self.assertIn(shell.read_text(), ("# shell", "# changed meanwhile"))
            self.assertEqual((self.home / ".config/app/rc").read_text(), "deep")
            self.assertEqual((self.home / "run").read_text(), "#!/bin/sh")

    def test_what_cannot_be_copied_is_told_and_keeps_nothing_else_away(self):
        real = open

        def deny(path, *args, **options):
            if str(path).endswith("skel/.bashrc"):
                raise PermissionError(13, "Permission denied")
            return real(path, *args, **options)

        with mock.patch("builtins.open", deny):
            output = self.fill()
        self.assertIn("<4>metalhub: ", output)
        self.assertIn(".bashrc could not be copied to the new home: Permission denied", output)
        self.assertEqual(self.names(), [".config", ".config/app", ".config/app/rc", "link", "run"])

    def test_a_full_disk_ends_it_until_the_next_start(self):
        with mock.patch("os.symlink", side_effect=OSError(28, "No space left on device")):
            self.assertIn("could not be filled from", self.fill())
        self.assertIn(".metalhub-skel", self.names())
        self.assertEqual(self.fill(), "")
        self.assertIn("link", self.names())
        self.assertNotIn(".metalhub-skel", self.names())

    def test_a_machine_without_skeleton_leaves_the_home_empty(self):
        shutil.rmtree(self.skeleton)
        self.assertEqual(self.fill(), "")
        self.assertEqual(self.names(), [])


class RefusalTest(LauncherCase):
    def environment_with(self, **modules):
        """A virtual environment without anything, plus modules with the given source."""
        root = self.dir / "env"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
        (site,) = (root / "lib").glob("python3*/site-packages")
        for name, source in modules.items():
            (site / name).mkdir()
            (site / name / "__init__.py").write_text(source)
        return root / "bin" / "python"

    def test_without_a_socket(self):
        self.assert_refused(self.start(listen_fds="0"), launcher.EXIT_BAD_HANDOVER, "no listening socket")
        self.assert_refused(self.start(listen_fds="2"), launcher.EXIT_BAD_HANDOVER, "no listening socket")

    def test_with_a_credential_that_is_missing_or_damaged(self):
        damaged = [
            "{",
            f'"{TOKEN}"',
            json.dumps([TOKEN]),
            json.dumps({"token": TOKEN}),
            json.dumps({"token": 7, "base_url": TOKEN, "default_url": TOKEN}),
            json.dumps({"token": "", "base_url": TOKEN, "default_url": TOKEN}),
        ]
        for content in damaged:
            self.give(content)
            self.assert_refused(self.start(), launcher.EXIT_BAD_HANDOVER, "server.json cannot be used")
        (self.dir / "credentials" / "server.json").unlink()
        self.assert_refused(self.start(), launcher.EXIT_BAD_HANDOVER, "FileNotFoundError")

    def test_without_jupyter(self):
        python = self.environment_with()
        self.assert_refused(self.start(python), launcher.EXIT_NO_JUPYTER, "has no JupyterLab", f"{python} -m pip install")

    def test_with_a_jupyter_server_but_no_jupyterlab(self):
        python = self.environment_with(jupyter_server='__version__ = "2.15.0"\n')
        (serverapp,) = (self.dir / "env" / "lib").glob("python3*/site-packages/jupyter_server")
        (serverapp / "serverapp.py").write_text("")
        self.assert_refused(self.start(python), launcher.EXIT_NO_JUPYTER, "has no JupyterLab")

    def test_with_jupyter_server_1(self):
        for version in ("1.24.0", "0.9", "unknown"):
            shutil.rmtree(self.dir / "env", ignore_errors=True)
            python = self.environment_with(jupyter_server=f'__version__ = "{version}"\n')
            self.assert_refused(self.start(python), launcher.EXIT_OLD_JUPYTER, version, "version 2 or later is needed")

    def test_a_broken_environment_shows_its_own_error(self):
        python = self.environment_with(jupyter_server="import not_there_at_all\n")
        process = self.start(python)
        output, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertIn("not_there_at_all", output)

    def test_what_to_install_depends_on_the_python(self):
        with mock.patch.object(sys, "executable", "/usr/bin/python3"):
            self.assertEqual(launcher.how_to_install(), "install it with: apt install jupyterlab")
        with mock.patch.object(sys, "executable", "/opt/x/bin/python"):
            self.assertEqual(launcher.how_to_install(), "install it with: /opt/x/bin/python -m pip install --upgrade jupyterlab")


class EnvironmentTest(unittest.TestCase):
    def test_takes_what_is_systemds_and_leaves_the_rest(self):
        given = {"LISTEN_FDS": "1", "LISTEN_PIDFDID": "2", "NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "CREDENTIALS_DIRECTORY": "/c"}
        given["METALHUB_STOP_SEC"] = "17"
        with mock.patch.dict(os.environ, {**given, "HOME": "/home/x", "LANG": "C.UTF-8"}, clear=True):
            self.assertEqual(launcher.take_environment(), given)
            self.assertEqual(dict(os.environ), {"HOME": "/home/x", "LANG": "C.UTF-8", "PWD": "/home/x"})


class StartTest(LauncherCase):
    def start_until_ready(self, **environment):
        process = self.start(**environment)
        try:
            self.assertEqual(self.notified.recv(4096), b"READY=1")
        except socket.timeout:
            self.fail(f"not ready: {self.stop(process)}")
        return process

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        return process.communicate(timeout=30)[0]

    def test_a_stop_that_hangs_ends_when_the_unit_says_so(self):
        settings = self.home / ".jupyter"
        settings.mkdir()
        (settings / "jupyter_server_config.py").write_text(
            "import asyncio\nfrom jupyter_server.serverapp import ServerApp\n"
            "async def hang(self):\n    await asyncio.sleep(60)\n"
            "ServerApp._cleanup = hang\n"
        )
        for seconds in (1, 9):
            process = self.start_until_ready(METALHUB_STOP_SEC=str(seconds))
            began = time.monotonic()
            self.stop(process)
            self.assertEqual(process.returncode, 0)
            self.assertLess(abs(time.monotonic() - began - seconds), 1.5)

    def test_serves_on_the_inherited_socket_from_the_moment_it_says_so(self):
        process = self.start_until_ready()
        answer, _ = self.get(f"{BASE_URL}api/status")
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.get(f"{BASE_URL}api/status", None)[0].status, 403)
        self.assertEqual(self.get(f"{BASE_URL}api/status", "wrong")[0].status, 403)
        answer, _ = self.get(BASE_URL)
        self.assertEqual((answer.status, answer.getheader("Location").rstrip("?")), (302, f"{BASE_URL}lab/tree/notes"))
        answer, page = self.get(f"{BASE_URL}lab")
        self.assertEqual(answer.status, 200)
        self.assertIn('"quitButton": false', page)
        self.assertIn('"token": ""', page)
        self.assertNotIn(TOKEN, page)
        output = self.stop(process)
        self.assertEqual(process.returncode, 0, output)
        self.assertNotIn(TOKEN, output)
        self.assertTrue(os.path.exists(self.socket_path), "systemd's socket is not its to remove")

    def test_shows_the_token_to_nobody_who_may_look_at_processes(self):
        process = self.start_until_ready()
        for name in ("cmdline", "environ"):
            self.assertNotIn(TOKEN.encode(), pathlib.Path(f"/proc/{process.pid}/{name}").read_bytes())

    def test_looks_up_no_node_and_has_the_path_back_for_the_users_own_code(self):
        programs = self.dir / "bin"
        programs.mkdir()
        for name in ("node", "nodejs"):
            (programs / name).write_text(f"#!/bin/sh\necho $0 >> {self.dir}/ran\n")
            (programs / name).chmod(0o755)
        settings = self.home / ".jupyter"
        settings.mkdir()
        (settings / "jupyter_server_config.py").write_text(
            f"import os, json\njson.dump(dict(os.environ), open({str(self.dir / 'seen')!r}, 'w'))\n"
        )
        self.start_until_ready(PATH=f"{programs}:/usr/bin:/bin")
        self.assertFalse((self.dir / "ran").exists())
        seen = json.loads((self.dir / "seen").read_text())
        self.assertEqual(seen["PATH"], f"{programs}:/usr/bin:/bin")
        self.assertFalse([name for name in seen if name.startswith(launcher.OURS_ALONE)])

    def test_is_not_kept_from_starting_by_packages_of_the_user(self):
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        for place in (self.home / ".local/lib" / version / "site-packages", self.home, self.dir / "path"):
            for name in ("jupyter_server", "tornado", "json"):
                (place / name).mkdir(parents=True)
                (place / name / "__init__.py").write_text("raise SystemExit(77)\n")
        self.start_until_ready(PYTHONPATH=str(self.dir / "path"), PYTHONSTARTUP="/nonexistent")
        self.assertEqual(self.get(f"{BASE_URL}api/status")[0].status, 200)

    def test_settings_of_the_user_count_but_not_against_the_hubs(self):
        settings = self.home / ".jupyter"
        settings.mkdir()
        (settings / "jupyter_server_config.json").write_text(
            json.dumps(
                {
                    "ServerApp": {"sock": "/elsewhere", "base_url": "/", "terminals_enabled": False, "quit_button": True, "port": 9123},
                    "IdentityProvider": {"token": ""},
                    "KernelManager": {"transport": "tcp"},
                }
            )
        )
        self.start_until_ready()
        self.assertEqual(self.get(f"{BASE_URL}api/status", None)[0].status, 403)
        self.assertEqual(self.get(f"{BASE_URL}api/status")[0].status, 200)
        self.assertIn('"quitButton": false', self.get(f"{BASE_URL}lab")[1])
        self.assertEqual(self.get(f"{BASE_URL}api/terminals")[0].status, 404, "their own choice")

    def test_kernels_open_no_port(self):
        self.start_until_ready()
        connection = UnixConnection(self.socket_path)
        self.addCleanup(connection.close)
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        connection.request("POST", f"{BASE_URL}api/kernels", body='{"name": "python3"}', headers=headers)
        self.assertEqual(connection.getresponse().status, 201)
        (file,) = (self.dir / "runtime").glob("kernel-*.json")
        self.assertEqual(json.loads(file.read_text())["transport"], "ipc")


if __name__ == "__main__":
    unittest.main()
