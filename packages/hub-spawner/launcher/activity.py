"""What goes on in a Jupyter server, told as its unit's status: hub-spawner reads it (activity-text.ts). Part of launcher.py."""

import os
import time

# Between two looks.
LOOK_SEC = 5


def activity_text(app, now):
    """What goes on in the server without anybody looking, as hub-spawner reads it (activity-text.ts): `Busy`, or since
    when nothing does. Requests do not count here: the proxy sees them."""
    settings = app.web_app.settings
    times = [settings["started"], app.kernel_manager.last_kernel_activity]
    times += [settings[name] for name in settings if name.endswith("_last_activity") and name != "api_last_activity"]
    terminals = getattr(settings.get("terminal_manager"), "terminals", {})
    times += [getattr(terminal, "last_activity", None) for terminal in terminals.values()]
    for kernel_id in app.kernel_manager.list_kernel_ids():
        kernel = app.kernel_manager.get_kernel(kernel_id)
        if kernel.execution_state == "busy":
            return "Busy"
        times.append(kernel.last_activity)
    last = max(moment.timestamp() for moment in times if moment is not None)
    # What writes something now and then is at work: told once, not each time.
    if last > now - 2 * LOOK_SEC:
        return "Busy"
    return time.strftime("Idle since %Y-%m-%dT%H:%M:%SZ", time.gmtime(last))


def memory_events_file(own="/proc/self/cgroup", root="/sys/fs/cgroup"):
    """Where the kernel counts what it ended in this unit for want of memory; None on machines that do not count."""
    try:
        with open(own, encoding="ascii") as file:
            path = next(line.rstrip("\n")[3:] for line in file if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    events = f"{root}{path}/memory.events"
    return events if os.path.exists(events) else None


def count_oom_kills(events):
    with open(events, encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))


class MemoryWatch:
    """Knows when a kernel, or another program of the server, was ended because the memory was used up. The unit goes on
    (OOMPolicy=continue); Jupyter only sees that a kernel died."""

    def __init__(self, events, warn):
        self.events = events
        self.warn = warn
        self.seen = count_oom_kills(events) if events else 0
        self.last = None

    def look(self, now):
        count = count_oom_kills(self.events) if self.events else 0
        if count > self.seen:
            self.last = now
            self.warn("a program of this server was ended: all the memory that the server may use was used up")
        self.seen = count

    def text(self):
        return time.strftime("; out of memory at %Y-%m-%dT%H:%M:%SZ", time.gmtime(self.last)) if self.last else ""


def report(find_app, tell, warn):
    """Looks every few seconds, and tells what has changed."""
    from tornado.ioloop import PeriodicCallback

    told = ""
    memory = MemoryWatch(memory_events_file(), warn)

    def look():
        nonlocal told
        try:
            now = time.time()
            memory.look(now)
            text = activity_text(find_app(), now) + memory.text()
            if text != told:
                tell(text)
                told = text
        except Exception:
            # An extension of the user's may have replaced any of it; then only the proxy knows.
            pass

    # Not all servers of the machine in the same moment.
    PeriodicCallback(look, LOOK_SEC * 1000, jitter=0.2).start()
