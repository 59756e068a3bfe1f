"""Tests of kernels.py and activate.py, with the jupyter_client of the Python that runs them: python3 -m unittest test_kernels"""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

HERE = pathlib.Path(__file__).parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kernels = load("kernels")
ROOT = {"name": "conda", "title": "{kernel} ({environment})", "include": ["*"], "exclude": []}
KERNEL = {"environment": "", "command": [], "language": "python", "activate": "", "logo": "", "variables": {}}


def eventually(check):
    """Looks follow each other at a distance that depends on how long they take."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class EnvironmentCase(unittest.TestCase):
    """A directory with environments as conda and venv lay them out; what is warned of is kept."""

    def setUp(self):
        # Not below /tmp's own kind of directory: what lies above an environment counts.
        self.dir = pathlib.Path(os.path.realpath(tempfile.mkdtemp(prefix="kernels-")))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.home = self.dir / "home"
        self.home.mkdir()
        self.conda = self.dir / "conda"
        (self.conda / "envs").mkdir(parents=True)
        self.warnings = []

    def make_conda(self, path, kernel="python3", **spec):
        (path / "conda-meta").mkdir(parents=True)
        (path / "bin").mkdir()
        (path / "bin" / "python").symlink_to(sys.executable)
        self.make_kernel(path, kernel, **spec)
        return path

    def make_kernel(self, path, kernel, **spec):
        directory = path / "share/jupyter/kernels" / kernel
        directory.mkdir(parents=True)
        argv = [str(path / "bin/python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (directory / "kernel.json").write_text(
            json.dumps({"argv": argv, "display_name": "Python 3 (ipykernel)", "language": "python", **spec})
        )
        (directory / "logo-64x64.png").write_bytes(b"png")

    def find(self, roots=(), static=()):
        wanted = {"roots": [{**ROOT, **root} for root in roots], "static": [{**KERNEL, **kernel} for kernel in static]}
        return kernels.Finder(wanted, str(self.home), self.warnings.append).find()

    def titles(self, **root):
        found = self.find([{"path": str(self.conda), **root}])
        return {name: kernel["spec"]["display_name"] for name, kernel in found.items()}


class FinderTest(EnvironmentCase):
    def test_finds_an_installation_and_its_environments_by_the_names_that_nb_conda_kernels_gives_them(self):
        self.make_conda(self.conda)
        self.make_conda(self.conda / "envs" / "Torch 2")
        self.make_conda(self.conda / "envs" / "stat", "ir", display_name="R", language="R", argv=["R", "{connection_file}"])
        (self.conda / "envs" / "no environment").mkdir()
        (self.conda / "envs" / "file").write_text("")
        expected = {"conda-root-py": "Python 3 (base)", "conda-env-torch_2-py": "Python 3 (Torch 2)", "conda-env-stat-r": "R (stat)"}
        self.assertEqual(self.titles(), expected)
        self.assertEqual(list(self.titles(path=str(self.conda / "envs"))), ["conda-env-torch_2-py", "conda-env-stat-r"])
        self.assertEqual(self.titles(path=str(self.conda / "envs/stat")), {"conda-env-stat-r": "R (stat)"})
        self.assertEqual(self.titles(include=["s*", "b*"], exclude=["base"], title="{language}/{environment}"), {"conda-env-stat-r": "R/stat"})
        self.assertEqual(self.warnings, [])

    def test_a_kernel_is_started_by_what_it_says_in_its_activated_environment(self):
        path = self.make_conda(self.conda / "envs" / "x", argv=["python3.11", "-m", "k", "{connection_file}", "{resource_dir}/a"], env={"A": "1"})
        kernel = self.find([{"path": str(self.conda / "envs")}])["conda-env-x-py"]
        resources = f"{path}/share/jupyter/kernels/python3"
        program = [f"{path}/bin/python", "-m", "k", "{connection_file}", f"{resources}/a"]
        self.assertEqual(kernel["spec"]["argv"], [sys.executable, "-I", kernels.ACTIVATE, str(path), "", *program])
        self.assertEqual(kernel["spec"]["env"], {"A": "1"})
        self.assertEqual(kernel["resources"], {"logo-64x64.png": f"{resources}/logo-64x64.png"})

    def test_a_venv_needs_no_kernel_json_only_an_ipykernel_that_it_sees(self):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(self.dir / "envs/work")], check=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.dir / "envs/bare")], check=True)
        found = self.find([{"path": str(self.dir / "envs")}])
        self.assertEqual(list(found), ["venv-work-py"])
        self.assertEqual(found["venv-work-py"]["spec"]["display_name"], "Python 3 (work)")
        self.assertIn("logo-64x64.png", found["venv-work-py"]["resources"])
        (site,) = (self.dir / "envs/bare/lib").glob("python3*/site-packages")
        (site / "ipykernel").mkdir()
        (site / "ipykernel/__init__.py").write_text("")
        self.assertEqual(list(self.find([{"path": str(self.dir / "envs")}])), ["venv-bare-py", "venv-work-py"])

    def test_environments_of_the_user_are_looked_for_below_their_home(self):
        self.assertEqual(self.find([{"path": "~/.conda/envs"}]), {})
        self.make_conda(self.home / ".conda/envs/mine")
        self.assertEqual(list(self.find([{"path": "~/.conda/envs"}])), ["conda-env-mine-py"])
        self.assertEqual(self.warnings, [])

    def test_of_two_with_one_name_the_second_gets_one_of_its_own(self):
        self.make_conda(self.conda / "envs/x")
        self.make_conda(self.home / ".conda/envs/x")
        found = self.find([{"path": "~/.conda/envs"}, {"path": str(self.conda / "envs")}])
        self.assertEqual(len(found), 2)
        first, second = found
        self.assertEqual(first, "conda-env-x-py")
        self.assertRegex(second, "^conda-env-x-py-[0-9a-f]{8}$")

    def test_what_others_could_have_put_there_is_not_offered(self):
        path = self.make_conda(self.conda / "envs/x")
        self.assertEqual(len(self.titles(path=str(self.conda / "envs"))), 1)
        for place in (path, path / "bin", path / "share/jupyter/kernels", self.conda / "envs", self.conda):
            for mode in (0o777, 0o1777):
                place.chmod(mode)
                is_above = place == self.conda and mode == 0o1777
                self.assertEqual(len(self.titles(path=str(self.conda / "envs"))), 1 if is_above else 0, f"{place} {mode:o}")
            place.chmod(0o755)
        self.assertIn(f"no kernels of {path} are offered: {path}/bin can be written by others than root and the user", self.warnings)
        with mock.patch.object(os, "getuid", return_value=os.getuid() + 1):
            self.assertEqual(self.titles(path=str(self.conda / "envs")), {})
        self.assertRegex(self.warnings[-1], f"belongs to uid {os.getuid()}, not to root or to the user")
        finder = kernels.Finder({"static": [], "roots": []}, "", self.warnings.append)
        finder.groups = {0}
        (self.conda / "envs").chmod(0o775)
        self.assertFalse(finder.is_trusted(str(path)))
        user, group = os.getuid(), os.getgid()
        for uid, is_own in ((group, True), (group + 1, False)):
            with mock.patch.object(os, "getuid", return_value=uid):
                finder = kernels.Finder({"static": [], "roots": []}, "", self.warnings.append)
            finder.owners.add(user)
            self.assertEqual(finder.is_trusted(str(path)), is_own, "a primary group that others share is not the user's own")

    def test_a_root_that_cannot_be_read_hides_no_other_kernel(self):
        self.make_conda(self.conda / "envs/x")
        denied = mock.patch.object(os, "scandir", side_effect=PermissionError(13, "Permission denied"))
        with denied:
            found = self.find([{"path": str(self.conda / "envs")}], [{"name": "plain", "title": "Plain", "command": ["/opt/R", "x"]}])
        self.assertEqual(list(found), ["plain"])
        self.assertEqual(self.warnings, [f"{self.conda}/envs cannot be looked at: Permission denied"])

    def test_a_kernel_file_of_nothing_but_brackets_is_left_out(self):
        path = self.make_conda(self.conda / "envs/x")
        self.make_kernel(path, "deep")
        (path / "share/jupyter/kernels/deep/kernel.json").write_text("[" * 60_000)
        self.assertEqual(list(self.find([{"path": str(self.conda / "envs")}])), ["conda-env-x-py"])

    def test_places_may_end_with_a_slash_and_programs_name_their_environment(self):
        path = self.make_conda(self.conda / "envs/x", argv=["{prefix}/bin/k", "{connection_file}"])
        static = {"name": "x", "title": "X", "environment": f"{path}/"}
        found = self.find([{"path": f"{self.conda}/envs/"}], [static])
        wrapper = [sys.executable, "-I", kernels.ACTIVATE, str(path), "", f"{path}/bin/k", "{connection_file}"]
        self.assertEqual([kernel["spec"]["argv"] for kernel in found.values()], [wrapper, wrapper])

    def test_damaged_and_hostile_kernel_files_are_left_out_and_data_stay_data(self):
        path = self.make_conda(self.conda / "envs/x", display_name="{kernel}\n\u202e{environment}" + "x" * 300)
        for index, text in enumerate(["", "[]", "{", '{"argv": []}', '{"argv": "sh", "display_name": "a", "language": "b"}', " " * 70_000]):
            directory = path / f"share/jupyter/kernels/k{index}"
            directory.mkdir()
            (directory / "kernel.json").write_text(text)
        (path / "share/jupyter/kernels/k0/kernel.json").unlink()
        os.symlink("kernel.json", path / "share/jupyter/kernels/k0/kernel.json")
        found = self.find([{"path": str(self.conda / "envs")}])
        self.assertEqual(list(found), ["conda-env-x-py"])
        title = found["conda-env-x-py"]["spec"]["display_name"]
        self.assertEqual((title[:21], len(title)), ("{kernel}{environment}", kernels.MAX_TITLE))
        self.assertEqual(len(self.warnings), 6)

    def test_a_look_is_bounded(self):
        for index in range(30):
            self.make_conda(self.conda / f"envs/e{index:02}")
        with mock.patch.object(kernels, "MAX_NAMES", 20):
            self.assertLessEqual(len(self.titles(path=str(self.conda / "envs"))), 20)
        with mock.patch.object(kernels, "MAX_KERNELS", 10):
            self.assertEqual(len(self.titles(path=str(self.conda / "envs"))), 10)
        self.assertEqual(len(self.warnings), 2)

    def test_static_kernels_say_what_they_are(self):
        path = self.make_conda(self.conda / "envs/x")
        self.make_kernel(path, "ir", display_name="R", language="R", argv=["R"], env={"A": "1", "B": "1"})
        command = ["/opt/R", "{connection_file}"]
        found = self.find(
            static=[
                {"name": "plain", "title": "Plain", "command": command, "language": "r", "logo": "/l.svg", "variables": {"A": "$x"}},
                {"name": "inner", "title": "Inner", "environment": str(path), "language": "r", "variables": {"A": "2"}},
                {"name": "cvmfs", "title": "C", "environment": str(path), "activate": "/cvmfs/start.sh", "logo": "/l.PNG"},
                {"name": "own", "title": "Own", "command": ["~/bin/k", "{connection_file}"], "activate": "/a.sh"},
                {"name": "gone", "title": "Gone", "environment": "/cvmfs/not/mounted"},
            ]
        )
        self.assertEqual(list(found), ["plain", "inner", "cvmfs", "own"])
        self.assertEqual(found["plain"]["spec"], {"argv": command, "display_name": "Plain", "language": "r", "env": {"A": "$$x"}})
        self.assertEqual(found["plain"]["resources"], {"logo-svg.svg": "/l.svg"})
        wrapper = [sys.executable, "-I", kernels.ACTIVATE]
        self.assertEqual(found["inner"]["spec"]["argv"], [*wrapper, str(path), "", "R"])
        self.assertEqual(found["inner"]["spec"]["env"], {"A": "2", "B": "1"})
        self.assertEqual(found["cvmfs"]["spec"]["argv"][3:6], [str(path), "/cvmfs/start.sh", f"{path}/bin/python"])
        self.assertEqual(found["cvmfs"]["resources"], {"logo-64x64.png": "/l.PNG"})
        self.assertEqual(found["own"]["spec"]["argv"], [*wrapper, "", "/a.sh", f"{self.home}/bin/k", "{connection_file}"])
        self.assertEqual(self.warnings, ["kernel gone: /cvmfs/not/mounted has no kernel for python"])


class OfferedTest(EnvironmentCase):
    def offer(self):
        from jupyter_client.kernelspec import KernelSpecManager

        for name in ("find_kernel_specs", "get_kernel_spec"):
            patch = mock.patch.object(KernelSpecManager, name, getattr(KernelSpecManager, name))
            patch.start()
            self.addCleanup(patch.stop)
        environment = {"JUPYTER_RUNTIME_DIR": str(self.dir / "run"), "HOME": str(self.home), "JUPYTER_PATH": "/more"}
        patch = mock.patch.dict(os.environ, environment)
        patch.start()
        self.addCleanup(patch.stop)
        for name, value in (("PAUSE_SEC", 0), ("PATIENCE_SEC", 60)):
            patch = mock.patch.object(kernels, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        wanted = {"static": [], "roots": [{**ROOT, "path": str(self.conda / "envs")}]}
        return kernels.offer(wanted, self.warnings.append), KernelSpecManager

    def test_jupyter_lists_them_and_follows_what_comes_and_goes(self):
        path = self.make_conda(self.conda / "envs/one")
        _, manager = self.offer()
        self.assertEqual(os.environ["JUPYTER_PATH"], f"{self.dir}/run/metalhub:/more")
        ours = lambda: {name for name in manager().get_all_specs() if name.startswith("conda-")}
        self.assertEqual(ours(), {"conda-env-one-py"})
        spec = manager().get_kernel_spec("conda-env-One-py")
        self.assertTrue(os.path.isfile(os.path.join(spec.resource_dir, "logo-64x64.png")))
        self.make_conda(self.conda / "envs/two")
        eventually(lambda: self.assertEqual(ours(), {"conda-env-one-py", "conda-env-two-py"}))
        shutil.rmtree(path)
        (self.conda / "envs/two/share/jupyter/kernels/python3/logo-64x64.png").unlink()
        eventually(lambda: self.assertEqual(ours(), {"conda-env-two-py"}))
        spec = manager().get_kernel_spec("conda-env-two-py")
        self.assertEqual(os.listdir(spec.resource_dir), ["kernel.json"])
        self.assertFalse((self.home / ".local").exists())
        self.assertEqual(self.warnings, [])

    def test_a_file_system_that_hangs_holds_an_answer_up_once(self):
        offered, manager = self.offer()
        release = threading.Event()
        self.addCleanup(release.set)
        offered.finder.find = lambda: release.wait(60) and {}
        with mock.patch.object(kernels, "PATIENCE_SEC", 0.3):
            began = time.monotonic()
            manager().find_kernel_specs()
            self.assertGreater(time.monotonic() - began, 0.29)
            began = time.monotonic()
            for _ in range(20):
                manager().find_kernel_specs()
            self.assertLess(time.monotonic() - began, 6)

    def test_without_room_for_a_thread_kernels_are_looked_for_later(self):
        self.make_conda(self.conda / "envs/one")
        _, manager = self.offer()
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
            self.assertNotIn("conda-env-one-py", manager().find_kernel_specs())
        self.assertIn("conda-env-one-py", manager().find_kernel_specs())

    def test_a_look_that_fails_is_told_and_keeps_what_is_known(self):
        self.make_conda(self.conda / "envs/one")
        offered, manager = self.offer()
        self.assertIn("conda-env-one-py", manager().find_kernel_specs())
        offered.finder.find = mock.Mock(side_effect=OSError(5, "Input/output error"))

        def is_told():
            self.assertIn("conda-env-one-py", manager().find_kernel_specs())
            self.assertIn("Input/output error", "".join(self.warnings))

        eventually(is_told)


class ActivateTest(EnvironmentCase):
    def run_in(self, environment, script="", **variables):
        """The environment of a program that is started so."""
        program = [sys.executable, "-I", "-c", "import os, json, sys; json.dump([dict(os.environ), sys.argv[1:]], sys.stdout)"]
        words = ["a b", "$HOME", "-x", ""]
        result = subprocess.run(
            [sys.executable, "-I", str(HERE / "activate.py"), str(environment), str(script), *program, *words],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.home), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
        self.output, _, answer = result.stdout.rpartition("[{")
        seen, argv = json.loads("[{" + answer)
        self.assertEqual(argv, words)
        return seen

    def test_a_conda_environment_is_activated_as_conda_does_it(self):
        (self.conda / "bin").mkdir()
        (self.conda / "bin/conda").write_text("")
        (self.conda / "condabin").mkdir()
        path = self.make_conda(self.conda / "envs/x")
        for directory in ("etc/conda/activate.d", "etc/conda/env_vars.d"):
            (path / directory).mkdir(parents=True)
        (path / "etc/conda/env_vars.d/a.json").write_text('{"PACKAGE": "p", "BOTH": "package"}')
        state = {"BOTH": "state", "GONE": "***unset***", "MANY": "a b\n$c", "BAD=": "x", "NUMBER": 1}
        (path / "conda-meta/state").write_text(json.dumps({"version": 1, "env_vars": state}))
        activate = path / "etc/conda/activate.d"
        (activate / "10-first.sh").write_text('export ORDER=first WORDS=$#; set -eu; set -- changed; cd /; false || true\n')
        (activate / "20-second.sh").write_text('export ORDER="$ORDER second $CONDA_PREFIX $MANY" UNSET="$NOT_THERE"; echo hello\nfalse\n')
        (activate / "30.fish").write_text("exit 1\n")
        seen = self.run_in(path, GONE="1", CONDA_SHLVL="3", PATH=f"/usr/bin:{path}/bin:/bin")
        expected = {
            "PATH": f"{path}/bin:{self.conda}/condabin:/usr/bin:/bin",
            "CONDA_PREFIX": str(path),
            "CONDA_DEFAULT_ENV": "x",
            "CONDA_PROMPT_MODIFIER": "(x) ",
            "CONDA_SHLVL": "1",
            "CONDA_EXE": f"{self.conda}/bin/conda",
            "CONDA_PYTHON_EXE": f"{self.conda}/bin/python",
            "PACKAGE": "p",
            "BOTH": "state",
            "MANY": "a b\n$c",
            "ORDER": f"first second {path} a b\n$c",
            "WORDS": "0",
            "UNSET": "",
            "HOME": str(self.home),
        }
        self.assertEqual({name: seen.get(name) for name in expected}, expected)
        for name in ("GONE", "NUMBER", "BAD="):
            self.assertNotIn(name, seen)
        self.assertEqual(self.output, "hello\n")

    def test_an_environment_elsewhere_is_named_by_its_path_and_damaged_files_stop_nothing(self):
        path = self.make_conda(self.dir / "else")
        (path / "conda-meta/state").write_text("{")
        seen = self.run_in(path)
        self.assertEqual((seen["CONDA_DEFAULT_ENV"], seen["PATH"]), (str(path), f"{path}/bin:/usr/bin:/bin"))
        self.assertNotIn("CONDA_EXE", seen)

    def test_a_venv_is_activated_by_its_own_script_and_without_one_all_the_same(self):
        path = self.dir / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
        with open(path / "bin/activate", "a") as file:
            file.write("export ADDED=yes\n")
        for added in ("yes", None):
            seen = self.run_in(path, PYTHONHOME="/nonexistent")
            self.assertEqual((seen["VIRTUAL_ENV"], seen["PATH"]), (str(path), f"{path}/bin:/usr/bin:/bin"))
            self.assertEqual(seen.get("ADDED"), added)
            self.assertNotIn("PYTHONHOME", seen)
            if added:
                (path / "bin/activate").unlink()

    def test_a_script_of_the_administrator_is_sourced_after_the_environment(self):
        script = self.dir / "start.sh"
        script.write_text('export SAID="$CONDA_DEFAULT_ENV"\n')
        self.assertEqual(self.run_in(self.make_conda(self.conda / "envs/x"), script)["SAID"], "x")
        self.assertEqual(self.run_in("", script, CONDA_DEFAULT_ENV="none")["SAID"], "none")

    def test_a_program_that_is_not_there_is_named(self):
        words = [sys.executable, "-I", str(HERE / "activate.py"), "", "", "/nonexistent"]
        result = subprocess.run(words, capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stderr), (127, "<3>metalhub: /nonexistent cannot be run: No such file or directory\n"))


if __name__ == "__main__":
    unittest.main()
