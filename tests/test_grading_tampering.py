"""Hostile and odd notebooks: none gains a point, reads what is not its own, or loses its row."""

# ruff: noqa: E501 (small programs, one a line)

import json
import os
import textwrap
from pathlib import Path
from time import monotonic

import pytest
from grading import judge, questions
from grading.sandbox import Limits, missing

pytestmark = pytest.mark.once

CANARY = "canary5d1f77"
TESTS = f'''
from otter.test_files import test_case
OK_FORMAT = False
name = "{{name}}"
points = 2
@test_case(points=1, hidden=False)
def test_{{name}}_public({{name}}):
    assert {{name}}(3.0) == 9.0, "a square is asked for"
@test_case(points=1, hidden=True)
def test_{{name}}_hidden({{name}}):
    """{CANARY}"""
    import numpy as np
    from ntklab.coursework import agree, generator
    x = generator().normal(size=4)
    agree("{{name}}", {{name}}(x), x**2, rtol=1e-5)
'''
LIMITS = Limits(
    statement=1.0,
    call=1.0,
    grace=0.7,
    cell=2.5,
    notebook=25.0,
    question=20.0,
    total=60.0,
    memory=600 << 20,
    cpu=8,
    scratch=32 << 20,
    cells=50,
)
RIGHT = "def q1(x):\n    return x**2\n"
SECOND = "def q2(x):\n    return x**2\n"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    if cause := missing():
        if os.environ.get("CI"):
            pytest.fail(cause)
        pytest.skip(cause)
    folder = tmp_path_factory.mktemp("tests")
    for name in ("q1", "q2"):
        (folder / f"{name}.py").write_text(TESTS.format(name=name), encoding="utf-8")
    return questions.load(folder)


def notebook(*sources):
    cells = [
        {"cell_type": "code", "source": textwrap.dedent(source), "metadata": {}, "outputs": []}
        for source in sources
    ]
    return json.dumps(
        {
            "cells": cells,
            "metadata": {"kernelspec": {"name": "odd"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    ).encode()


def graded(asked, content, limits=LIMITS):
    return judge.grade(content, asked, b"secret", limits)


# Each is a cell before a right q2: whatever it does, q1 gets nothing, and q2 where it can be asked.
HOSTILE = {
    "replaced checker": "import ntklab.coursework as c; c.agree = c.check = lambda *a, **k: True",
    "fake scores": "open('results.json', 'w').write('{\"score\": 100}')",
    "patched compare": "import numpy as np; np.abs = np.all = lambda *a, **k: True",
    "lying object": """
        class Yes(float):
            def __eq__(self, other): return True
            __le__ = __lt__ = __ge__ = __gt__ = __eq__
        def q1(x): return Yes(0)
        """,
    "lying array": """
        import numpy as np
        class Yes(np.ndarray):
            def __array_ufunc__(self, *a, **k): return np.True_
            def __eq__(self, other): return True
        def q1(x): return np.zeros(np.shape(x)).view(Yes)
        """,
    "text": "def q1(x): return 'right'",
    "nothing": "def q1(x): return None",
    "complex": "def q1(x): return x * 1j",
    "deep list": "def q1(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
    "huge answer": "import numpy as np\ndef q1(x): return np.zeros(10**7)",
    "exception with inputs": "def q1(x): raise ValueError(x)",
    "assertion raised": "def q1(x): raise AssertionError('passed')",
    "exit in a function": "import os\ndef q1(x): os._exit(0)",
    "exit in a cell": "import os; os._exit(0)",
    "system exit": "import sys; sys.exit(0)",
    "killed by itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "kill all": "import os, signal; os.kill(-1, signal.SIGKILL)",
    "segmentation fault": "import ctypes; ctypes.string_at(0)",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "loop in a cell": "while True: pass",
    "loop that catches": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "loop in C": "sum(range(10**12))",
    "sleep": "import time; time.sleep(10**6)",
    "loop in a function": "def q1(x):\n    while True: pass",
    "memory": "a = bytearray(2 << 30)\nfor i in range(0, len(a), 4096): a[i] = 1",
    "memory of children": """
        import os, time
        for _ in range(8):
            if not os.fork():
                a = bytearray(300 << 20)
                for i in range(0, len(a), 4096): a[i] = 1
                time.sleep(100)
        time.sleep(100)
        """,
    "endless output": "while True: print('x' * 10**6)",
    "large file": "f = open('x', 'wb')\nwhile True: f.write(b'0' * 10**6)",
    "all descriptors": "import os\nkeep = []\nwhile True: keep.append(os.open('/dev/null', 0))",
    "shadowed library": "open('numpy.py', 'w').write('1/0'); import os, sys; sys.path.insert(0, os.getcwd())",
    "forged frames": """
        import os, struct
        for fd in range(3, 30):
            try: os.write(fd, struct.pack('<4sBQI', b'ntk1', 32, 0, 0) * 50)
            except OSError: pass
        """,
    "forged length": """
        import os, struct
        for fd in range(3, 30):
            try: os.write(fd, struct.pack('<4sBQI', b'ntk1', 17, 0, 2**32 - 1))
            except OSError: pass
        """,
    "closed pipes": "import os; os.closerange(0, 128)",
    "no alarm": "import signal; signal.signal(14, signal.SIG_IGN)\nwhile True: pass",
    "compile bomb": "x = " + "(" * 150 + "1" + ")" * 150,
    "power": "x = 9 ** 9 ** 9",
    "lone surrogate": "x = '\ud800'",
    "injection": "def q1(x): raise type('<script>', (Exception,), {})('=cmd()\x1b[2J')",
    "recursion": "import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "printed as feedback": """
        import os, sys
        for stream in (sys.stdout, sys.stderr, sys.__stdout__): print('{"score": 100}', file=stream, flush=True)
        for fd in (0, 1, 2): os.write(fd, b'q1: 2 of 2')
        """,
    "questions to nobody": "x = input('a')",
    "huge integer": "x = 10 ** 10 ** 8",
    "huge integer returned": "def q1(x): return 10 ** 5000",
    "not a number": "import numpy as np\ndef q1(x): return np.full(np.shape(x), np.nan)",
    "payload in a NaN": "import struct\ndef q1(x): return struct.unpack('<d', b'\\x01secret\\x7f')[0] if 0 else struct.unpack('<d', b'secret\\xf8\\x7f')[0]",
    "endless representation": """
        class Deep:
            def __repr__(self): return repr(self)
            __str__ = __float__ = __index__ = __repr__
        def q1(x): return Deep()
        """,
    "array of itself": """
        class Deep:
            def __array__(self, *a, **k): return __import__('numpy').asarray(self)
        def q1(x): return Deep()
        """,
    "lying shape": """
        import numpy as np
        class Liar(np.ndarray):
            shape = property(lambda self: (4,))
            ndim = size = property(lambda self: 2**62)
            def tobytes(self, *a): return b'0' * 2**20
            def __array__(self, *a, **k): return np.zeros(4, complex)
        def q1(x): return np.zeros(3).view(Liar)
        """,
    "lying length": """
        class Long:
            def __len__(self): return 10**18
            def __getitem__(self, k): return self
        def q1(x): return Long()
        """,
    "lying class": """
        class Liar:
            __class__ = property(lambda self: float)
            def __float__(self): raise SystemExit
        def q1(x): return Liar()
        """,
    "lying tuple": """
        class Endless(tuple):
            def __iter__(self):
                while True: yield 9.0
        def q1(x): return Endless()
        """,
    "too many values": "def q1(x): return (9.0,) * 10**6",
    "many dimensions": "import numpy as np\ndef q1(x): return np.full((1,) * 32, 9.0)",
    "array at address 0": """
        class Wild:
            __array_interface__ = {'shape': (4,), 'typestr': '<f8', 'data': (8, False), 'version': 3}
        def q1(x): return Wild()
        """,
    "lying exception": """
        class Meta(type):
            __mro__ = property(lambda cls: [cls] * 3)
            __module__ = __name__ = 'builtins'
        def q1(x): raise Meta('Error', (Exception,), {})()
        """,
    "exception that is no exception": "def q1(x):\n    class A(BaseException): pass\n    raise A",
    "abort": "import os; os.abort()",
    "fault handler": "import faulthandler; faulthandler.enable(); faulthandler._sigsegv()",
    "stack overflow in C": "import sys; sys.setrecursionlimit(10**8)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
    "stopped by itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "kill the judge": "import os, signal\nfor p in (1, os.getppid()): os.kill(p, signal.SIGKILL)",
    "a thread that stays": """
        import threading
        def spin():
            global q1
            while True:
                def q1(x): return float('nan')
        threading.Thread(target=spin, daemon=True).start()
        """,
    "at the exit": "import atexit, os; atexit.register(os.system, 'sleep 100')",
    "time bomb": """
        import os
        class Bomb:
            def __del__(self): os._exit(0)
        def q1(x):
            Bomb()
            return 9.0
        """,
    "no garbage collected": "import gc; gc.disable(); gc.set_threshold(0)\nfor _ in range(10**5): a = []; a.append(a)",
    "runner rewritten": """
        import gc, types
        for f in gc.get_objects():
            if type(f) is types.FunctionType and f.__name__ in ('called', 'class_code'):
                f.__code__ = (lambda *a: (35, b'')).__code__
        """,
    "builtins gone": "import builtins; builtins.__dict__.clear()",
    "modules gone": "import sys; sys.modules.clear()",
    "names gone": "import sys; sys.modules['__main__'] = None; q1 = None; del q1",
    "traced": "import sys; sys.settrace(lambda *a: 1 / 0); sys.setprofile(lambda *a: None)",
    "frames of the runner": """
        import sys
        frame = sys._getframe()
        while frame:
            if 'channel' in frame.f_locals:
                frame.f_locals['channel'].send(1e18, 17, 1, bytes(4))
            frame = frame.f_back
        """,
    "half a frame": """
        import os, struct
        for fd in range(3, 30):
            try: os.write(fd, struct.pack('<4sBQI', b'ntk1', 32, 0, 1000) + b'0' * 500)
            except OSError: pass
        """,
    "timer that rings on": """
        import signal
        def ring(*_): raise KeyboardInterrupt
        signal.signal(signal.SIGVTALRM, ring)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.001, 0.001)
        """,
    "unseen children": """
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if not os.fork():
                end = time.monotonic() + 0.05
                while time.monotonic() < end: pass
                os._exit(0)
            time.sleep(0.05)
        """,
    "pipes full": """
        import fcntl, os
        keep = []
        while True:
            a, b = os.pipe(); keep.append(a)
            os.set_blocking(b, False)
            try: fcntl.fcntl(b, 1031, 1 << 20)
            except OSError: pass
            try:
                while True: os.write(b, bytes(1 << 16))
            except BlockingIOError: pass
        """,
    "sockets full": "import socket\nkeep = []\nwhile True:\n    a, b = socket.socketpair(); keep += [a, b]; a.setblocking(False); a.send(bytes(10**5))",
    "empty files": "import os\nn = 0\nwhile True:\n    os.close(os.open(f'{n}', os.O_CREAT)); n += 1",
    "shared memory": "open('/dev/shm/a', 'wb').write(bytes(64 << 20))",
    "memory of maps": "import mmap\nkeep = []\nwhile True: keep.append(mmap.mmap(-1, 64 << 20)); keep[-1].write(bytes(64 << 20))",
    "memory of arrays": "import numpy as np\nkeep = []\nwhile True: keep.append(np.ones(2**23))",
    "memory of texts": "x = 'x'\nwhile True: x += x",
    "endless recursion of a parser": "import ast; ast.literal_eval('-' * 10**6 + '1')",
    "many signs in a row": "x = " + "-" * 10**5 + "1",
    "long sum": "x = " + "+".join(["1"] * 10**5),
    "many names": "\n".join(f"x{n} = {n}" for n in range(10**5)),
    "slow pattern": "import re; re.match('(a+)+$', 'a' * 40 + 'b')",
    "magic after spaces": "x = (\n" + " " * 10**5 + "\n%",
    "lowest priority": "import os; os.nice(19)",
    "higher priority": "import os; os.nice(-20)",
    "everything removed": "import shutil; shutil.rmtree('/', ignore_errors=True)",
    "place gone": "import os; os.mkdir('a'); os.chdir('a'); os.rmdir('a'); os.environ.clear()",
    "child that keeps the pipes": "import os, time\nif not os.fork():\n    os.setsid(); time.sleep(10**4)",
    "result files": """
        import os
        for place in ('/autograder/results/results.json', '/submission/results.json', 'results.json', '/judge/x'):
            try:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                open(place, 'w').write('{"score": 100, "tests": []}')
            except OSError: pass
        """,
    "otter's names": """
        import sys, types
        otter = types.ModuleType('otter'); otter.Notebook = lambda *a, **k: None
        sys.modules['otter'] = sys.modules['otter.test_files'] = otter
        grader = check_results_ = 100
        """,
    "threads": "import threading, time\nfor _ in range(500): threading.Thread(target=time.sleep, args=[99]).start()",
}
# They end or spoil processes in ways that cost the others, too.
COSTLY = {
    "fork bomb",
    "closed pipes",
    "threads",
    "runner rewritten",
    "frames of the runner",
    "timer that rings on",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_gains_no_point_and_keeps_its_row(asked, kind):
    began = monotonic()
    grade = graded(asked, notebook(SECOND, HOSTILE[kind]))
    assert grade.state in judge.STATES
    assert grade.answers[0].score == 0, grade.answers[0]
    if kind not in COSTLY:
        assert grade.answers[1].score == 2, grade
        assert grade.state == "partial"
    assert monotonic() - began < LIMITS.total + 10
    texts = [verdict.message for answer in grade.answers for verdict in answer.verdicts]
    assert not [text for text in texts if "<" in text or "=cmd" in text or CANARY in text]


# Each is a function that counts what it found; a sandbox that holds finds nothing.
PROBES = {
    "tests in files": f"""
        import os
        def found():
            hits = 0
            for parent, folders, names in os.walk('/'):
                folders[:] = set(folders) - {{"usr", "python", "site", "dev", "sys", "cache"}}
                for name in names:
                    try: hits += {CANARY[:6]!r} + {CANARY[6:]!r} in open(os.path.join(parent, name)).read()
                    except Exception: pass
            return hits
        """,
    "other places": """
        import os
        places = ['/work', '/root', '/home', '/etc/passwd', '/etc/shadow', '/proc/1', '/var', '/run',
                  '/course/tools', '/course/book/problem-sets', '/sys/kernel', '/boot', '/mnt']
        def found(): return sum(map(os.path.exists, places))
        """,
    "variables": "import os\ndef found(): return sum(k in os.environ for k in ('SET', 'IN', 'OUT', 'USER'))",
    "sockets": """
        import socket
        def found():
            made = 0
            for family in (2, 10, 16, 17, 38, 40, 31, 29):
                for kind in (1, 2, 3):
                    try: socket.socket(family, kind); made += 1
                    except OSError: pass
            return made
        """,
    "capabilities": """
        import os, ctypes
        libc = ctypes.CDLL(None)
        def found():
            return (os.getuid() == 0) + (os.getgid() == 0) + (libc.setuid(0) == 0) + len(os.getgroups())
        """,
    "calls of the system": """
        import ctypes, os
        libc = ctypes.CDLL(None)
        def found():
            return sum([libc.unshare(0x10000000) == 0, libc.mount(b'a', b'/tmp', b'tmpfs', 0, 0) == 0,
                libc.ptrace(0, 0, 0, 0) == 0, libc.shmget(0, 4096, 0o1600) >= 0,
                libc.memfd_create(b'a', 0) >= 0, libc.chroot(b'/tmp') == 0])
        """,
    "other cores": """
        import os
        def found():
            try: os.sched_setaffinity(0, range(64))
            except OSError: return 0
            return 1
        """,
    "writable places": """
        import os
        def found():
            hits = 0
            for place in ('/', '/judge', '/course/lib/ntklab', '/site', '/submission', '/cache/bytecode',
                          '/cache/compiled', '/usr', '/dev'):
                try: open(os.path.join(place, 'x'), 'w'); hits += 1
                except OSError: pass
            return hits
        """,
    "its own memory": f"""
        import os
        # The pattern is kept shifted by one, so that looking for it does not put it there.
        decoy = {"".join(chr(ord(c) + 2) for c in CANARY)!r}.encode()
        shifted = {"".join(chr(ord(c) + 1) for c in CANARY)!r}.encode()
        up = bytes((n + 1) % 256 for n in range(256))
        def count(table, pattern):
            hits = 0
            with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:
                for line in maps:
                    bounds, rights = line.split()[:2]
                    low, high = (int(n, 16) for n in bounds.split('-'))
                    if 'r' not in rights or 'w' not in rights: continue
                    try:
                        memory.seek(low)
                        hits += (memory.read(min(high - low, 1 << 28)).translate(table)).count(pattern)
                    except (OSError, ValueError, OverflowError): pass
            return hits
        def found():
            if not os.path.exists('/proc/self'): return 0
            # That it sees anything: the decoy stands there as it is.
            return count(up, shifted) if count(None, decoy) else 99
        """,
    "memory of others": """
        import os
        def found():
            hits = 0
            if not os.path.exists('/proc/self'): return 0
            for process in filter(str.isdigit, os.listdir('/proc')):
                if int(process) == os.getpid(): continue
                for what in ('mem', 'environ', 'maps', 'fd/0', 'root/etc/passwd', 'cwd/x', 'fd'):
                    place = f'/proc/{process}/{what}'
                    try: hits += bool(os.listdir(place) if what == 'fd' else open(place, 'rb').read(10))
                    except OSError: pass
            return hits
        """,
    "descriptors": """
        import os, stat
        def found():
            hits, pipes = 0, 0
            for fd in range(1000):
                try: is_ = os.fstat(fd)
                except OSError: continue
                null = stat.S_ISCHR(is_.st_mode) and is_.st_rdev == os.makedev(1, 3)
                pipes += stat.S_ISFIFO(is_.st_mode)
                hits += not null and not stat.S_ISFIFO(is_.st_mode)
            return hits + (pipes != 2)
        """,
    "command lines": f"""
        import os
        def found():
            hits = 0
            if not os.path.exists('/proc/self'): return 0
            for process in filter(str.isdigit, os.listdir('/proc')):
                try: text = open(f'/proc/{{process}}/cmdline').read()
                except OSError: continue
                hits += {str(Path(__file__).parents[1])!r} in text or '/tmp/' in text or 'secret' in text
            return hits
        """,
    "terminals": """
        import os, fcntl
        def found():
            hits = 0
            for place in ('/dev/ptmx', '/dev/pts/ptmx', '/dev/tty', '/dev/console', '/dev/kmsg', '/dev/mem', '/dev/sda'):
                try: os.open(place, os.O_RDWR); hits += 1
                except OSError: pass
            try: os.openpty(); hits += 1
            except OSError: pass
            return hits
        """,
    "devices made": """
        import os, stat
        def found():
            hits = 0
            for kind, device in ((stat.S_IFBLK, os.makedev(8, 0)), (stat.S_IFCHR, os.makedev(1, 1))):
                try: os.mknod('device', kind | 0o666, device); hits += 1
                except OSError: pass
            return hits
        """,
    "the kernel's switches": """
        import os
        def found():
            hits = 0
            for place in ('/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern', '/proc/sys/vm/drop_caches',
                          '/proc/kcore', '/proc/self/oom_score_adj', '/proc/kmsg', '/sys/power/state'):
                try:
                    file = os.open(place, os.O_WRONLY if place != '/proc/kcore' else os.O_RDONLY)
                    if 'oom' in place: os.write(file, b'-1000')
                    hits += 1
                except OSError: pass
            return hits
        """,
    "programs of root": """
        import ctypes, os, subprocess
        def found():
            hits = 0
            for program in ('su', 'sudo', 'mount', 'passwd', 'newgrp', 'chsh', 'pkexec', 'bwrap'):
                for place in ('/usr/bin', '/bin', '/usr/sbin'):
                    path = os.path.join(place, program)
                    if not os.path.exists(path): continue
                    done = subprocess.run([path, '-c', 'id -u'] if program == 'su' else [path, '--version'],
                                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
                    hits += done.stdout.strip() == '0'
            libc = ctypes.CDLL(None)  # no new privileges, and nothing in the bounding set
            return hits + (libc.prctl(39, 0, 0, 0, 0) != 1) + sum(libc.prctl(23, n, 0, 0, 0) == 1 for n in range(41))
        """,
    "the judge's packages": """
        import importlib.util
        def found():
            hits = 0
            for name in ('grading.judge', 'grading.questions', 'problem_sets', 'project', 'otter'):
                try: hits += importlib.util.find_spec(name) is not None
                except ModuleNotFoundError: pass
            return hits
        """,
    "packages of the interpreter": """
        import sys, numpy
        def found():
            theirs = [place for place in sys.path if place.endswith('-packages')]
            return len(theirs) + (not numpy.__file__.startswith('/site/'))
        """,
    "the network": """
        import urllib.request, subprocess
        def found():
            hits = 0
            for call in (lambda: urllib.request.urlopen('http://127.0.0.1:8000', timeout=1),
                         lambda: subprocess.run(['bash', '-c', 'echo > /dev/tcp/127.0.0.1/22'], check=True,
                                                stderr=subprocess.DEVNULL)):
                try: call(); hits += 1
                except Exception: pass
            return hits
        """,
    "frames of the judge": f"""
        import sys, gc
        def found():
            return sum({CANARY[:6]!r} + {CANARY[6:]!r} in str(o) for o in gc.get_objects() if type(o) in (str, dict))
        """,
    "limits raised": """
        import resource
        def found():
            raised = 0
            for name in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE,
                         resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
                raised += resource.getrlimit(name)[1] == resource.RLIM_INFINITY
                try: resource.setrlimit(name, (-1, -1)); raised += 1
                except (ValueError, OSError): pass
            return raised
        """,
}


@pytest.mark.parametrize("kind", PROBES)
def test_it_finds_nothing(asked, kind, tmp_path):
    place = tmp_path / "notebook"
    place.write_bytes(notebook(PROBES[kind]))
    with judge.Examination(place, Limits()) as examination:
        examination.begin()
        assert examination.call("found") == 0


ODD = {
    "right": (notebook(RIGHT, SECOND), "ok", 4),
    "magics": (notebook("%pip install x\n!ls\n" + RIGHT, SECOND), "ok", 4),
    "duplicated cells": (notebook(RIGHT, RIGHT, SECOND, "1/0"), "ok", 4),
    "a syntax error": (notebook("def (", RIGHT, SECOND), "ok", 4),
    "single precision": (
        notebook(RIGHT, "import numpy as np\ndef q2(x): return np.float32(x) ** 2"),
        "ok",
        4,
    ),
    "lists": (
        notebook(RIGHT, "def q2(x):\n  return [v*v for v in x] if hasattr(x, 'shape') else x*x"),
        "ok",
        4,
    ),
    "in place": (notebook(RIGHT, "def q2(x):\n    x *= x\n    return x"), "ok", 4),
    "a name in wide letters": (notebook("def \uff51\uff11(x): return x**2", SECOND), "ok", 4),
    "100,000 cells": (notebook(*["1"] * 100_000), "malformed", 0),
    "100,000 empty cells": (notebook(*[""] * 100_000), "malformed", 0),
    "duplicate keys": (
        notebook(RIGHT, SECOND).replace(b'"cells":', b'"cells": [1, 2], "cells":', 1),
        "ok",
        4,
    ),
    "an integer of a million digits": (
        notebook(RIGHT).replace(b'"nbformat": 4', b'"nbformat": ' + b"9" * 10**6),
        "malformed",
        0,
    ),
    "not a number in JSON": (
        notebook(RIGHT, SECOND).replace(b'"nbformat": 4', b'"nbformat": NaN'),
        "ok",
        4,
    ),
    "a byte order mark": (b"\xef\xbb\xbf" + notebook(RIGHT, SECOND), "ok", 4),
    "format 3": (
        json.dumps(
            {"worksheets": [{"cells": [{"cell_type": "code", "input": [RIGHT, SECOND]}]}]}
        ).encode(),
        "ok",
        4,
    ),
    "a reference in its metadata": (
        notebook(RIGHT, SECOND).replace(
            b'"name": "odd"', b'"name": "!!python/object/apply:os._exit [0]", "a": "*b", "<<": "&b"'
        ),
        "ok",
        4,
    ),
    "a large output": (
        notebook(RIGHT, SECOND).replace(
            b'"outputs": []', b'"outputs": ["' + b"x" * (4 << 20) + b'"]', 1
        ),
        "ok",
        4,
    ),
    "an answer for each kind of end": (
        notebook("import os\ndef q1(x): os._exit(0)", "import os; os._exit(0)", SECOND),
        "partial",
        2,
    ),
    "a deleted cell": (notebook(RIGHT), "partial", 2),
    "nothing right": (notebook("def q1(x): return 0.0"), "wrong", 0),
    "no notebook": (b"\x00\xff", "malformed", 0),
    "deep JSON": (b"[" * 10**6, "malformed", 0),
    "too many cells": (notebook(*["1"] * 51), "malformed", 0),
    "too large": (b" " * (LIMITS.upload + 1), "malformed", 0),
    "nothing runs": (notebook("def ("), "ungradable", 0),
    "no cell": (notebook(), "ungradable", 0),
    "only a hang": (notebook("def q1(x):\n    while True: pass"), "timeout", 0),
    "only an exit": (notebook("import os\ndef q1(x): os._exit(0)"), "crash", 0),
}


@pytest.mark.parametrize("kind", ODD)
def test_the_state_is_what_happened(asked, kind):
    content, state, score = ODD[kind]
    grade = graded(asked, content)
    assert (grade.state, grade.score, grade.possible) == (state, score, 4), grade


def test_nothing_is_left_running(asked):
    source = "import os, time\nfor _ in range(3):\n    if not os.fork():\n        os.setsid()\n        time.sleep(999)"
    graded(asked, notebook(source, SECOND))
    uids = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            uids.append(place.stat().st_uid)
        except OSError:
            continue
    assert not [uid for uid in uids if 61000 <= uid < 61064]
