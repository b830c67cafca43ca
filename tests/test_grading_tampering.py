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
    "threads": "import threading, time\nfor _ in range(500): threading.Thread(target=time.sleep, args=[99]).start()",
}
# They end or spoil processes in ways that cost the others, too.
COSTLY = {"fork bomb", "closed pipes", "threads"}


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
