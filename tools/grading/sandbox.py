"""A process that sees one submission and nothing else, and ends when its limits do.

judge → bwrap with a list of what is there → setpriv to a user of its own → python runner.py.
Without bubblewrap nothing is run: there is no second, weaker way.
"""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy
from project import BUILD, ROOT, Obstacle

from grading import protocol, seccomp

HERE = Path(__file__).parent
FIRST_USER = 61000
CACHE = BUILD / "grading" / "cache"
POLL = 0.1  # seconds between two looks at the memory
INODE = 1024  # bytes of the kernel's memory that a file takes, be it empty


@dataclass(frozen=True)
class Limits:
    """What a submission may use; sizes in bytes.

    `statement` and `call` are soft: they interrupt Python code. `cell`, and `grace` more than
    `call`, end the process. These are seconds of the processor, of all its processes together, and
    what waits may wait `patience` times as long. The others are seconds that pass. `frame` is for
    one answer; `judge` (its memory) and `comparing` (seconds on top of `total`) are for the judge
    itself, which calculates with answers.
    """

    statement: float = 5.0
    call: float = 4.0
    grace: float = 2.0
    cell: float = 12.0
    patience: float = 3.0
    notebook: float = 60.0
    question: float = 40.0
    total: float = 150.0
    cpu: int = 20
    memory: int = 3 << 30
    address: int = 6 << 30
    processes: int = 96
    files: int = 128
    file_size: int = 64 << 20
    scratch: int = 128 << 20
    upload: int = 10 << 20
    cells: int = 1000
    frame: int = 4 << 20
    attempts: int = 8
    judge: int = 4 << 30
    comparing: float = 60.0


def missing() -> str | None:
    """What keeps this machine from running a sandbox, in one line; None where nothing does."""
    if not sys.platform.startswith("linux"):
        return "grading needs Linux and bubblewrap; nothing was run"
    for program, package in [
        ("bwrap", "bubblewrap"),
        ("setpriv", "util-linux"),
        ("taskset", "util-linux"),
        ("choom", "util-linux"),
    ]:
        if not shutil.which(program):
            return (
                f"{program} is not installed (Debian: apt-get install {package}); nothing was run"
            )
    return None


def readable() -> list[Path]:
    """What of this machine every submission can read."""
    return [Path("/usr"), Path(sys.base_prefix).resolve(), Path(numpy.__path__[0]).parent]


def _tree() -> tuple[list[str], list[str], dict[str, str]]:
    """What is there to be read, the interpreter, and the variables that it needs."""
    binds = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib32", "lib64", "sbin"):
        place = Path("/", name)
        if place.is_symlink():
            binds += ["--symlink", os.readlink(place), str(place)]
        elif place.is_dir():
            binds += ["--ro-bind", str(place), str(place)]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    variables = {}
    base = Path(sys.base_prefix).resolve()
    if base == Path("/usr"):
        interpreter = f"/usr/bin/{version}"
    else:
        binds += ["--ro-bind", str(base), "/python"]
        interpreter = f"/python/bin/{version}"
        variables["LD_LIBRARY_PATH"] = "/python/lib"
    packages = Path(numpy.__path__[0]).parents[0]
    binds += ["--ro-bind", str(packages), "/site"]
    binds += ["--ro-bind", str(ROOT / "lib" / "ntklab"), "/course/lib/ntklab"]
    binds += ["--ro-bind", str(ROOT / "book" / "data"), "/course/book/data"]
    for name in ("__init__.py", "protocol.py", "runner.py"):
        binds += ["--ro-bind", str(HERE / name), f"/judge/grading/{name}"]
    # The interpreter's own packages (-S leaves them out) are not those that the lock names.
    return binds, [interpreter, "-I", "-S", "-X", "pycache_prefix=/cache/bytecode"], variables


def arguments(
    notebook: Path, slot: int, limits: Limits, filling: bool = False
) -> tuple[list[str], list[str]]:
    """The options of bwrap, to be read from a file, and the command that runs inside."""
    binds, interpreter, variables = _tree()
    variables |= {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "JAX_PLATFORMS": "cpu",
        "NTKLAB_STATIC": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "JAX_COMPILATION_CACHE_DIR": "/cache/compiled",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # The place of these would be part of every key.
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
        # What a notebook computes it computes once: compiling is what takes time.
        "XLA_FLAGS": "--xla_backend_optimization_level=1",
    }
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    options += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    user = FIRST_USER + slot
    if os.geteuid() == 0:
        # As root it may read what it binds; inside, setpriv gives all of that up.
        options += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        options += ["--cap-add", "CAP_SETPCAP"]
        drop = ["--reuid", str(user), "--regid", str(user), "--clear-groups"]
    else:
        options += ["--unshare-user", "--uid", str(user), "--gid", str(user)]
        options += ["--disable-userns", "--cap-drop", "ALL"]
        drop = []
    options += ["--hostname", "grading"]
    for folder in (
        "/course",
        "/course/lib",
        "/course/book",
        "/judge",
        "/judge/grading",
        "/submission",
        "/cache",
    ):
        options += ["--perms", "0755", "--dir", folder]
    options += binds
    for name in ("bytecode", "compiled"):
        place = CACHE / name
        place.mkdir(parents=True, exist_ok=True)
        if filling and os.geteuid() == 0:
            os.chown(place, user, user)
        options += ["--bind" if filling else "--ro-bind", str(place), f"/cache/{name}"]
    options += ["--ro-bind", str(notebook), "/submission/notebook.ipynb"]
    options += ["--dev", "/dev", "--size", str(16 << 20), "--perms", "1777", "--tmpfs", "/dev/shm"]
    options += ["--size", "4096", "--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts"]
    options += ["--size", str(limits.scratch), "--perms", "1777", "--tmpfs", "/tmp"]
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    for name, value in variables.items():
        options += ["--setenv", name, value]
    command = [
        "/usr/bin/setpriv",
        *drop,
        "--no-new-privs",
        "--inh-caps=-all",
        "--ambient-caps=-all",
    ]
    if os.geteuid() == 0:
        command += ["--bounding-set=-all"]
    command += [*interpreter, *([] if filling else ["-B"]), "/judge/grading/runner.py"]
    command += [str(limits.cpu), str(limits.address), str(limits.processes)]
    command += [str(limits.files), str(limits.file_size)]
    command += [str(limits.statement), str(limits.call), str(limits.patience), str(limits.cells)]
    command += [str(limits.frame)]
    return options, command


def descendants(process: int) -> Iterator[int]:
    """A process and all that it has started, by the kernel's own list."""
    waiting = [process]
    while waiting:
        current = waiting.pop()
        yield current
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{current}/task"):
                with open(f"/proc/{current}/task/{thread}/children", encoding="ascii") as file:
                    waiting += map(int, file.read().split())


def resident(process: int) -> int:
    """The bytes of memory that a process holds, shared ones too; 0 for one that is gone."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def stored(process: int) -> int:
    """The bytes of memory that the files hold which a process can write; their names, too."""
    held = 0
    for place in ("tmp", "dev/shm"):
        with contextlib.suppress(OSError):
            told = os.statvfs(f"/proc/{process}/root/{place}")
            held += (told.f_blocks - told.f_bfree) * told.f_frsize
            held += (told.f_files - told.f_ffree) * INODE
    return held


def processor(process: int) -> tuple[float, float]:
    """The seconds of the processor that a process has used, and those of children waited for."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            numbers = file.read().rpartition(")")[2].split()
        user, system, of_children, theirs = map(int, numbers[11:15])
    except (OSError, ValueError):
        return 0.0, 0.0
    tick = os.sysconf("SC_CLK_TCK")
    return (user + system) / tick, (of_children + theirs) / tick


@dataclass
class Sandbox:
    """One process in its sandbox, and the pipes to it."""

    channel: protocol.Channel
    monitor: "subprocess.Popen[bytes]"
    first: int  # the name space's process 1, by a descriptor: its number may be another's by then
    inside: int
    limits: Limits
    began: float = field(default_factory=monotonic)
    peak: int = 0
    holds: int = 0
    seconds: float = 0.0  # of the processor, of all that ran in it
    worked: dict[int, float] = field(default_factory=dict)  # of these, of each process itself
    until: float = math.inf
    too_large: bool = False
    too_long: bool = False
    ended: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, stop: threading.Event) -> None:
        """End it when all of its processes together hold, or have worked, too much."""
        while not stop.wait(POLL):
            self.look()
            self.too_large = self.holds > self.limits.memory
            self.too_long = self.seconds > self.until
            if self.too_large or self.too_long:
                self.kill()
                return

    def look(self) -> None:
        """Take the memory and the seconds of all its processes."""
        found = list(descendants(self.inside))
        self.holds = sum(map(resident, found)) + stored(self.inside)
        self.peak = max(self.peak, self.holds)
        counted = 0.0
        for process in found:
            own, children = processor(process)
            counted += own + children
            self.worked[process] = max(own, self.worked.get(process, 0.0))
        # Children that nobody waits for are counted by no one else. Neither sum is too large.
        # A list first: two threads look.
        self.seconds = max(self.seconds, counted, sum(list(self.worked.values())))

    def allow(self, seconds: float) -> None:
        """From now on, so many seconds of the processor and no more."""
        self.look()
        self.until = self.seconds + seconds

    def kill(self) -> None:
        """End process 1 of the name space, and with it all the others."""
        with self.lock, contextlib.suppress(ProcessLookupError):
            if not self.ended:
                self.look()
                signal.pidfd_send_signal(self.first, signal.SIGKILL)


@contextlib.contextmanager
def sandbox(
    notebook: Path,
    slot: int,
    limits: Limits,
    core: int | None = None,
    *,
    filling: bool = False,
) -> Iterator[Sandbox]:
    """Start a sandbox with one notebook in it; nothing of it is left afterwards.

    What Python and JAX compile they find in `CACHE`. Only a notebook of the course's own may fill
    it (`filling=True`).

    Raises:
        Obstacle: if bwrap does not come as far as the command.
    """
    if cause := missing():
        raise Obstacle(cause)
    options, command = arguments(notebook, slot, limits, filling)
    open_here: list[int] = []

    def as_file(content: bytes) -> int:
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            file.seek(0)
            descriptor = os.dup(file.fileno())
        open_here.append(descriptor)
        return descriptor

    def pipe() -> tuple[int, int]:
        ends = os.pipe()
        open_here.extend(ends)
        return ends

    stop = threading.Event()
    monitor = watcher = None
    box = None
    try:
        filter_file = as_file(seccomp.program())
        info_read, info_write = pipe()
        questions_read, questions_write = pipe()
        answers_read, answers_write = pipe()
        options += ["--seccomp", str(filter_file), "--info-fd", str(info_write)]
        options_file = as_file(b"".join(option.encode() + b"\0" for option in options))
        outside = ["taskset", "-c", str(core)] if core is not None else []
        outside += ["choom", "-n", "1000", "--"]  # the first to go where memory is short
        monitor = subprocess.Popen(
            # Names of places on this machine go by a file: command lines can be read inside.
            [*outside, "bwrap", "--args", str(options_file), "--", *command],
            stdin=questions_read,
            stdout=answers_write,
            stderr=subprocess.PIPE,
            pass_fds=[filter_file, info_write, options_file],
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
            start_new_session=True,
        )
        for descriptor in (questions_read, answers_write, info_write, filter_file, options_file):
            os.close(descriptor)
            open_here.remove(descriptor)
        with open(info_read, "rb", closefd=False) as info:
            told = info.read()
        if not told:
            _, errors = monitor.communicate(timeout=10)
            said = errors.decode(errors="replace").strip().splitlines() or ["bwrap failed"]
            raise Obstacle(f"no sandbox can be made here: {said[-1]}")
        inside = int(json.loads(told)["child-pid"])
        first = os.pidfd_open(inside)
        open_here.append(first)
        channel = protocol.Channel(answers_read, questions_write, limits.frame)
        box = Sandbox(channel, monitor, first, inside, limits)
        watcher = threading.Thread(target=box.watch, args=[stop], daemon=True)
        watcher.start()
        yield box
    finally:
        stop.set()
        if box is not None:
            box.kill()
        elif monitor is not None:
            monitor.kill()
        if watcher is not None:
            watcher.join()
        if monitor is not None:
            _, _, usage = os.wait4(monitor.pid, 0) if monitor.returncode is None else (0, 0, None)
            monitor.returncode = monitor.returncode or 0
            if monitor.stderr:
                monitor.stderr.close()
            if box is not None and usage is not None:
                box.seconds = max(box.seconds, usage.ru_utime + usage.ru_stime)
        if box is not None:
            box.ended = True
        for descriptor in open_here:
            os.close(descriptor)
