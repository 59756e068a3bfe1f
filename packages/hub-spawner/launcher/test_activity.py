"""Tests of what activity.py tells of the server: python3 -m unittest test_activity."""

import datetime
import importlib.util
import pathlib
import shutil
import tempfile
import unittest
from unittest import mock

spec = importlib.util.spec_from_file_location("activity", pathlib.Path(__file__).with_name("activity.py"))
activity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(activity)


class ActivityTest(unittest.TestCase):
    def text(self, now, states=(), terminal=None, api=None):
        moment = datetime.datetime.fromtimestamp
        utc = datetime.timezone.utc
        kernels = {str(n): mock.Mock(execution_state=state, last_activity=moment(at, utc)) for n, (state, at) in enumerate(states)}
        manager = mock.Mock(last_kernel_activity=None)
        manager.list_kernel_ids.return_value = list(kernels)
        manager.get_kernel = kernels.__getitem__
        settings = {"started": moment(1000, utc)}
        if terminal is not None:
            settings["terminal_last_activity"] = moment(terminal, utc)
        if api is not None:
            settings["api_last_activity"] = moment(api, utc)
        return activity.activity_text(mock.Mock(web_app=mock.Mock(settings=settings), kernel_manager=manager), now)

    def test_a_kernel_that_computes_is_at_work_however_long(self):
        self.assertEqual(self.text(99_000, [("idle", 1200), ("busy", 1100)]), "Busy")

    def test_idle_is_counted_from_the_last_sign_of_a_kernel_or_terminal_or_from_the_start(self):
        self.assertEqual(self.text(99_000), "Idle since 1970-01-01T00:16:40Z")
        self.assertEqual(self.text(99_000, [("idle", 3600)]), "Idle since 1970-01-01T01:00:00Z")
        self.assertEqual(self.text(99_000, [("idle", 3600)], terminal=7200), "Idle since 1970-01-01T02:00:00Z")

    def test_requests_do_not_count_the_proxy_sees_them(self):
        self.assertEqual(self.text(99_000, api=98_999), "Idle since 1970-01-01T00:16:40Z")

    def test_what_writes_again_and_again_is_at_work(self):
        self.assertEqual(self.text(99_000, [("idle", 98_995)]), "Busy")


class MemoryTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="activity-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def write(self, kills):
        (self.dir / "memory.events").write_text(f"low 0\nhigh 3\nmax 9\noom 2\noom_kill {kills}\noom_group_kill 0\n")

    def test_the_file_is_that_of_the_own_unit(self):
        (self.dir / "unit").mkdir()
        (self.dir / "own").write_text("3:cpu:/x\n0::/unit\n")
        places = (str(self.dir / "own"), str(self.dir))
        self.assertIsNone(activity.memory_events_file(*places), "a machine that does not count")
        (self.dir / "unit" / "memory.events").write_text("")
        self.assertEqual(activity.memory_events_file(*places), f"{self.dir}/unit/memory.events")
        self.assertIsNone(activity.memory_events_file(str(self.dir / "absent"), str(self.dir)))

    def test_what_is_ended_for_want_of_memory_is_logged_once_and_told_from_then_on(self):
        self.write(1)
        warn = mock.Mock()
        watch = activity.MemoryWatch(str(self.dir / "memory.events"), warn)
        watch.look(1000)
        self.assertEqual(watch.text(), "", "what was before this start is not news")
        self.write(3)
        watch.look(2000)
        watch.look(3000)
        self.assertEqual(warn.call_count, 1)
        self.assertEqual(watch.text(), "; out of memory at 1970-01-01T00:33:20Z")

    def test_without_counting_there_is_nothing_to_tell(self):
        watch = activity.MemoryWatch(None, mock.Mock())
        watch.look(1000)
        self.assertEqual(watch.text(), "")


if __name__ == "__main__":
    unittest.main()
