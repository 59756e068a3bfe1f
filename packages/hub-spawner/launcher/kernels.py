"""The kernels of root's configuration, [[kernel]] and [[kernel_root]], offered in a user's server. Part of launcher.py.

They are kernelspecs in the server's private runtime directory, which JUPYTER_PATH names: JupyterLab finds them there, and so
does what runs in its terminals. Whenever Jupyter asks which kernels there are, the environments are looked for again, in a
thread of its own, so that an environment that was just made is offered and a file system that hangs holds nobody up for long.
"""

import fnmatch
import glob
import hashlib
import json
import os
import re
import shutil
import sys
import threading
import time
import unicodedata

ACTIVATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "activate.py")
# So long an answer waits for a look.
PATIENCE_SEC = 2
# Between two looks; a look that took long waits ten times as long for the next.
PAUSE_SEC = 2
# What a look is bounded by: names in a root, kernels of an environment, all kernels, bytes of a kernel.json, files with it.
MAX_NAMES = 2000
MAX_KERNELS_EACH = 20
MAX_KERNELS = 500
MAX_SPEC_BYTES = 1 << 16
MAX_RESOURCES = 16
MAX_TITLE = 200
# What nb_conda_kernels calls them: notebooks that were made with it find their kernels.
SHORT_NAMES = {"python3": "py", "python2": "py", "ir": "r"}
GROUP_WRITE, OTHERS_WRITE, STICKY = 0o020, 0o002, 0o1000


def offer(wanted, warn):
    """Has Jupyter offer the kernels of the credential; `begin` of what it returns looks for the first time."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_core.paths import jupyter_runtime_dir

    directory = os.path.join(jupyter_runtime_dir(), "metalhub")
    offered = Offered(Finder(wanted, os.environ.get("HOME", ""), warn), os.path.join(directory, "kernels"), warn)
    os.environ["JUPYTER_PATH"] = os.pathsep.join([directory, *filter(None, [os.environ.get("JUPYTER_PATH")])])
    for name in ("find_kernel_specs", "get_kernel_spec"):
        setattr(KernelSpecManager, name, after(offered.refresh, getattr(KernelSpecManager, name)))
    return offered


def after(action, method):
    def wrapper(self, *args, **options):
        action()
        return method(self, *args, **options)

    return wrapper


class Offered:
    """The kernelspecs in the directory, kept as the finder finds them."""

    def __init__(self, finder, directory, warn):
        self.finder = finder
        self.directory = directory
        self.warn = warn
        self.written = {}
        self.next_look = 0
        self.patience = 0
        # Set while no look is under way.
        self.done = threading.Event()
        self.done.set()

    def begin(self):
        if self.done.is_set() and time.monotonic() >= self.next_look:
            self.done.clear()
            self.patience = PATIENCE_SEC
            try:
                threading.Thread(target=self.look, daemon=True).start()
            except RuntimeError as error:
                # No task or no memory is left in the unit; there may be at the next question.
                self.done.set()
                self.warn(f"kernels could not be looked for: {error}")

    def refresh(self):
        self.begin()
        # A file system that hangs holds the server up once, not at each question.
        patience, self.patience = self.patience, 0
        self.done.wait(patience)

    def look(self):
        began = time.monotonic()
        try:
            self.write(self.finder.find())
        except Exception as error:
            self.warn(f"kernels could not be looked for: {error}")
        finally:
            ended = time.monotonic()
            self.next_look = ended + max(PAUSE_SEC, 10 * (ended - began))
            self.done.set()

    def write(self, found):
        for name in [name for name in self.written if self.written[name] != found.get(name)]:
            shutil.rmtree(os.path.join(self.directory, name), ignore_errors=True)
            del self.written[name]
        staged = f"{self.directory}.new"
        for name, kernel in found.items():
            if name in self.written:
                continue
            shutil.rmtree(staged, ignore_errors=True)
            os.makedirs(staged, mode=0o700)
            with open(os.path.join(staged, "kernel.json"), "x", encoding="utf-8") as file:
                json.dump(kernel["spec"], file)
            for link, target in kernel["resources"].items():
                os.symlink(target, os.path.join(staged, link))
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            os.rename(staged, os.path.join(self.directory, name))
            self.written[name] = kernel


class Finder:
    """Finds the kernels that are there now. It runs as the user and looks at nothing that they could not look at."""

    def __init__(self, wanted, home, warn):
        self.wanted = wanted
        self.home = home
        self.tell = warn
        self.told = set()
        self.owners = {0, os.getuid()}
        # Of its own a user has one that is numbered as they are; another they share.
        self.groups = {0, *({os.getgid()} & {os.getuid()})}

    def warn(self, message):
        """Once each: the next look is soon."""
        if message not in self.told:
            self.told.add(message)
            self.tell(message)

    def find(self):
        """Kernelspecs by name: `spec` is what stands in kernel.json, `resources` are links to files beside it."""
        found = {}
        for kernel in self.wanted["static"]:
            spec = self.static_kernel(kernel)
            if spec is not None:
                found[kernel["name"]] = spec
        for root in self.wanted["roots"]:
            for name, path in self.environments(root):
                for kernel_name, kernel in environment_kernels(path, self.warn):
                    if len(found) == MAX_KERNELS:
                        self.warn(f"there are more than {MAX_KERNELS} kernels: only the first are offered")
                        return found
                    kernel["spec"]["argv"] = activated(path, "", kernel["spec"]["argv"])
                    kernel["spec"]["display_name"] = title_of(kernel["spec"], root["title"], name)
                    found[free_name(found, kernel_id(path, name, kernel_name), path)] = kernel
        return found

    def static_kernel(self, kernel):
        environment, activate, logo = (self.place(kernel[key]) for key in ("environment", "activate", "logo"))
        command = kernel["command"]
        if command:
            spec = {"argv": [self.place(command[0]), *command[1:]], "language": kernel["language"]}
            result = {"spec": spec, "resources": {}}
        else:
            choices = [found for _, found in environment_kernels(environment, self.warn)]
            language = kernel["language"].lower()
            result = next((one for one in choices if one["spec"]["language"].lower() == language), None)
            if result is None:
                self.warn(f"kernel {kernel['name']}: {environment} has no kernel for {kernel['language']}")
                return None
        spec = result["spec"]
        spec["display_name"] = kernel["title"]
        # Jupyter puts its own variables in where there is a $.
        variables = {name: value.replace("$", "$$") for name, value in kernel["variables"].items()}
        spec["env"] = {**spec.get("env", {}), **variables}
        if environment or activate:
            spec["argv"] = activated(environment, activate, spec["argv"])
        if logo:
            link = "logo-svg.svg" if logo.lower().endswith(".svg") else "logo-64x64.png"
            others = {name: target for name, target in result["resources"].items() if not name.startswith("logo-")}
            result["resources"] = {**others, link: logo}
        return result

    def place(self, path):
        path = os.path.join(self.home, path[2:]) if path.startswith("~/") else path
        return path.rstrip("/") if path.strip("/") else path

    def environments(self, root):
        """Names and paths of the environments in a root: itself, if it is one, and then those in its `envs`, or else those
        in it."""
        # By their own names, as conda does it: an environment may know itself by that, and users theirs.
        path = self.place(root["path"])
        if not os.path.isdir(path) or not self.is_trusted(path):
            return
        candidates = []
        directory = path
        if is_environment(path):
            is_named = not is_conda(path) or os.path.basename(os.path.dirname(path)) == "envs"
            candidates.append((os.path.basename(path) if is_named else "base", path))
            directory = os.path.join(path, "envs")
        names = self.names_in(directory) if directory == path or self.is_trusted(directory) else []
        candidates += [(name, os.path.join(directory, name)) for name in names]
        for name, place in candidates:
            if is_wanted(name, root) and is_environment(place) and self.is_trusted(place):
                yield name, place

    def names_in(self, directory):
        names = []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if len(names) == MAX_NAMES:
                        self.warn(f"{directory} has more than {MAX_NAMES} entries: not all of them are looked at")
                        break
                    names.append(entry.name)
        except OSError as error:
            # One that this user may not read, or that is out of order: the others count.
            self.warn(f"{directory} cannot be looked at: {error.strerror}")
        return sorted(names)

    def is_trusted(self, path):
        """Whether nobody but root and the user can put programs there; all that lies above it counts, too."""
        if not os.path.isdir(path):
            return False
        inner = [os.path.join(path, *parts) for parts in (("bin",), ("share", "jupyter", "kernels"), ("etc", "conda", "activate.d"))]
        # Also behind links, which are those of what lies above them.
        places = {path, os.path.realpath(path)}
        above = {place for start in places for place in parents(start)}
        for place in (*places, *sorted(above), *inner):
            reason = self.mistrust(place, may_be_sticky=place in above)
            if reason is not None:
                self.warn(f"no kernels of {path} are offered: {place} {reason}")
                return False
        return True

    def mistrust(self, place, may_be_sticky):
        try:
            status = os.stat(place)
        except OSError:
            # Not there, or nothing that can be reached.
            return None
        if status.st_uid not in self.owners:
            return f"belongs to uid {status.st_uid}, not to root or to the user"
        is_shared = status.st_mode & OTHERS_WRITE or (status.st_mode & GROUP_WRITE and status.st_gid not in self.groups)
        if is_shared and not (may_be_sticky and status.st_mode & STICKY):
            return "can be written by others than root and the user"
        return None


def parents(path):
    return {path[:end] or "/" for end, letter in enumerate(path) if letter == "/"} - {path}


def is_wanted(name, root):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in root["include"]) and not any(
        fnmatch.fnmatchcase(name, pattern) for pattern in root["exclude"]
    )


def is_conda(path):
    return os.path.isdir(os.path.join(path, "conda-meta"))


def is_environment(path):
    return is_conda(path) or os.path.isfile(os.path.join(path, "pyvenv.cfg"))


def environment_kernels(path, warn):
    """Names and kernels of an environment, not activated yet: those of its kernel.json files, or that of an ipykernel
    without any."""
    directory = os.path.join(path, "share", "jupyter", "kernels")
    found = []
    try:
        names = sorted(os.listdir(directory))[:MAX_KERNELS_EACH]
    except OSError:
        names = []
    for name in names:
        place = os.path.join(directory, name)
        spec = read_spec(os.path.join(place, "kernel.json"), warn)
        if spec is not None:
            found.append((name.lower(), in_environment(spec, path, place)))
    if not any(kernel["spec"]["language"] == "python" for _, kernel in found):
        ipykernel = find_ipykernel(path)
        if ipykernel is not None:
            argv = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            spec = {"argv": argv, "display_name": "Python 3", "language": "python", "metadata": {"debugger": True}}
            found.append(("python3", in_environment(spec, path, os.path.join(ipykernel, "resources"))))
    return found


def read_spec(file_name, warn):
    """What stands in a kernel.json, or None; only what Jupyter takes from it."""
    try:
        with open(file_name, "rb") as file:
            spec = json.loads(file.read(MAX_SPEC_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        warn(f"{file_name} cannot be used: {error}")
        return None
    argv = spec.get("argv") if isinstance(spec, dict) else None
    texts = [spec.get("display_name"), spec.get("language")] if argv else []
    if not isinstance(argv, list) or not argv or not all(isinstance(text, str) for text in (*argv, *texts)):
        warn(f"{file_name} cannot be used: argv, display_name or language is missing")
        return None
    kept = {key: spec[key] for key in ("argv", "display_name", "language")}
    for key, kind in (("env", dict), ("metadata", dict), ("interrupt_mode", str)):
        if isinstance(spec.get(key), kind):
            kept[key] = spec[key]
    if not all(isinstance(value, str) for value in kept.get("env", {}).values()):
        del kept["env"]
    return kept


def in_environment(spec, path, directory):
    places = {"{resource_dir}": directory, "{prefix}": path}
    argv = spec["argv"]
    for placeholder, value in places.items():
        argv = [word.replace(placeholder, value) for word in argv]
    program, *words = argv
    if re.fullmatch(r"python[0-9.]*", program):
        # Not the server's, by which Jupyter would replace it.
        program = os.path.join(path, "bin", "python")
    return {"spec": {**spec, "argv": [program, *words]}, "resources": resources_of(directory)}


def activated(environment, script, argv):
    return [sys.executable, "-I", ACTIVATE, environment, script, *argv]


def resources_of(directory):
    """Logos, and what belongs to the kernel's page; served to nobody but the user."""
    try:
        with os.scandir(directory) as entries:
            files = sorted(entry.name for entry in entries if entry.name != "kernel.json" and entry.is_file())
    except OSError:
        return {}
    return {name: os.path.join(directory, name) for name in files[:MAX_RESOURCES]}


def find_ipykernel(path):
    """The package's directory. Without running the environment's Python, which would take longer than everything else."""
    if not os.access(os.path.join(path, "bin", "python"), os.X_OK):
        return None
    places = [f"{glob.escape(path)}/lib/python3*/site-packages"]
    base = base_of(path)
    if base is not None:
        base = glob.escape(base)
        places += [f"{base}/lib/python3*/site-packages", f"{base}/lib/python3*/dist-packages", f"{base}/local/lib/python3*/dist-packages"]
    for place in places:
        for package in glob.glob(f"{place}/ipykernel"):
            if os.path.isfile(os.path.join(package, "__init__.py")):
                return package
    return None


def base_of(path):
    """Prefix of the Python whose packages a virtual environment sees beside its own."""
    try:
        with open(os.path.join(path, "pyvenv.cfg"), encoding="utf-8") as file:
            lines = [line.partition("=") for line in file.read(MAX_SPEC_BYTES).splitlines()]
    except (OSError, ValueError):
        return None
    settings = {key.strip().lower(): value.strip() for key, _, value in lines}
    if settings.get("include-system-site-packages", "").lower() != "true":
        return None
    return os.path.dirname(settings["home"]) if settings.get("home") else None


def title_of(spec, title, environment):
    values = {
        "{kernel}": spec["display_name"].removesuffix(" (ipykernel)"),
        "{language}": spec["language"],
        "{environment}": environment,
    }
    text = re.sub(r"\{[a-z]+\}", lambda match: values.get(match[0], match[0]), title)
    return "".join(letter for letter in text if letter.isprintable())[:MAX_TITLE]


def kernel_id(path, environment, kernel):
    short = SHORT_NAMES.get(kernel, kernel)
    if not is_conda(path):
        return clean(f"venv-{environment}-{short}")
    return clean(f"conda-root-{short}" if environment == "base" else f"conda-env-{environment}-{short}")


def clean(name):
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9._-]", "_", plain.lower())[:200]


def free_name(found, name, path):
    """The second of a name is told by its path, whatever else there is."""
    return name if name not in found else f"{name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
