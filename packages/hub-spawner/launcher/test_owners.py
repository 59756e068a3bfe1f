"""The launcher's look at who owns the files in a home."""

import contextlib
import importlib.util
import io
import os
import pathlib
import shutil
import tempfile
import time
import unittest
from unittest import mock

from test_launcher import LauncherCase

spec = importlib.util.spec_from_file_location("launcher", pathlib.Path(__file__).with_name("launcher.py"))
launcher = importlib.util.module_from_spec(spec)
spec.loader.exec_module(launcher)


class OwnersTest(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.home)
        os.makedirs(f"{self.home}/course/deep")
        pathlib.Path(f"{self.home}/course/deep/notes").write_text("")

    def check(self, checked_at_ms, uid=os.getuid()):
        with mock.patch.object(launcher.os, "getuid", lambda: uid), contextlib.redirect_stderr(io.StringIO()):
            launcher.check_owners(self.home, checked_at_ms)

    def test_files_of_others_that_came_later_refuse_the_start(self):
        with self.assertRaises(SystemExit) as refusal:
            self.check(0, uid=os.getuid() + 1)
        self.assertEqual(refusal.exception.code, launcher.EXIT_FOREIGN_FILES)

    def test_those_that_were_left_before_and_ones_own_do_not(self):
        self.check(0)
        self.check(int(time.time() * 1000) + 10_000, uid=os.getuid() + 1)
        self.check(None, uid=os.getuid() + 1)

    def test_the_sample_is_bounded_and_sees_what_is_near_the_top_first(self):
        self.assertEqual(len(list(launcher.sample(self.home, 1000))), 3)
        for name in range(20):
            pathlib.Path(f"{self.home}/{name}").write_text("")
        inodes = {status.st_ino for status in launcher.sample(self.home, 21)}
        self.assertEqual(inodes, {entry.inode() for entry in os.scandir(self.home)})
        self.assertEqual(list(launcher.sample(f"{self.home}/none", 5)), [])


class StatusTest(LauncherCase):
    def test_no_code_of_the_user_ends_with_the_status_that_has_the_home_repaired(self):
        settings = self.home / ".jupyter"
        settings.mkdir()
        for status, seen in [(launcher.EXIT_FOREIGN_FILES, 1), (7, 7)]:
            (settings / "jupyter_server_config.py").write_text(f"raise SystemExit({status})\n")
            process = self.start()
            output = process.communicate(timeout=60)[0]
            self.assertEqual(process.returncode, seen, output)


del LauncherCase

if __name__ == "__main__":
    unittest.main()
