"""A class on one machine: what lies in a folder, killed batches, gradebooks, limits one by one."""

import contextlib
import csv
import io
import json
import multiprocessing
import os
import re
import resource
import signal
import stat
import struct
import subprocess
import sys
import textwrap
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from grading import __main__ as command
from grading import batch, judge, protocol, questions, sandbox, submissions
from grading.sandbox import Limits, missing
from project import ROOT, Obstacle

pytestmark = pytest.mark.once

TESTS = """
from otter.test_files import test_case
OK_FORMAT = False
name = "{name}"
points = 2
@test_case(points=1, hidden=False)
def test_{name}_public({name}):
    assert {name}(3.0) == 9.0, "a square is asked for"
@test_case(points=1, hidden=True)
def test_{name}_hidden({name}):
    import numpy as np
    from ntklab.coursework import agree, generator
    x = generator().normal(size=4)
    agree("{name}", {name}(x), x**2, rtol=1e-5)
"""
RIGHT = "def q1(x):\n    return x**2\n\n\ndef q2(x):\n    return x**2\n"
HALF = "def q1(x):\n    return x**2\n"
LIMITS = Limits(
    statement=1.0, call=1.0, grace=0.5, cell=2.0, patience=2.0, notebook=10.0, question=6.0,
    total=25.0, comparing=5.0, memory=600 << 20, cpu=6, scratch=32 << 20,
    address=(6 << 30) + 4096 * os.getpid(),
)  # fmt: skip


def notebook(*sources):
    cells = [
        {"cell_type": "code", "source": textwrap.dedent(source), "metadata": {}, "outputs": []}
        for source in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A set of two questions, as `make problem-sets` would build it."""
    if cause := missing():
        if os.environ.get("CI"):
            pytest.fail(cause)
        pytest.skip(cause)
    folder = tmp_path_factory.mktemp("set-1")
    for part in ("tests", "instructor"):
        (folder / part).mkdir()
    for name in ("q1", "q2"):
        place = folder / "tests" / f"{name}.py"
        place.write_text(TESTS.format(name=name), encoding="utf-8")
    (folder / "instructor" / "set-1.ipynb").write_bytes(notebook(RIGHT))
    return folder


@pytest.fixture
def grade(built, tmp_path, monkeypatch):
    """`make grade`, with these two questions."""

    def graded(place, canvas=None, column=""):
        out = tmp_path / "grades"
        settings = {"SET": "set-1", "IN": place, "OUT": out, "CANVAS": canvas or ""}
        for key, value in {**settings, "COLUMN": column}.items():
            monkeypatch.setenv(key, str(value))
        monkeypatch.setattr(command, "built", lambda name: built)
        monkeypatch.setattr(command, "Limits", lambda: LIMITS)
        assert command.main() == 0
        with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
            return {row["student"]: row for row in csv.DictReader(file)}

    return graded


# What is handed in


def test_a_folder_may_hold_anything(grade, tmp_path, capfd):
    place = tmp_path / "in"
    place.mkdir()
    (place / "emmy.ipynb").write_bytes(notebook(RIGHT))
    (place / "\x1b[2J=cmd()\u202e.ipynb").write_bytes(notebook(HALF))
    os.mkfifo(place / "pipe.ipynb")
    (place / "link.ipynb").symlink_to("/etc/passwd")
    (place / "folder").symlink_to("/etc")
    (place / "loop").symlink_to(place)
    (place / "empty.ipynb").write_bytes(b"")
    (place / "deep" / "er" / "still").mkdir(parents=True)
    (place / "deep" / "er" / "still" / "x.ipynb").write_bytes(notebook(HALF))
    (place / "Emmy.ipynb").write_bytes(notebook(HALF))
    (place / os.fsdecode(b"\xff\xfe.ipynb")).write_bytes(notebook(HALF))
    if os.geteuid() == 0:
        os.mknod(place / "device.ipynb", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
        (place / "closed.ipynb").write_bytes(notebook(RIGHT))
    rows = grade(place)
    states = {student: row["state"] for student, row in rows.items()}
    assert states.pop("emmy") == "ok"
    half = {student for student, state in states.items() if state == "partial"}
    assert {"Emmy", "deep"} < half and len(half) == 4
    for student in ("pipe", "link", "folder", "loop", "empty"):
        assert states[student] == "malformed"
    assert states.get("device", "malformed") == "malformed"
    said = capfd.readouterr()
    written = (tmp_path / "grades" / "grades.csv").read_text(encoding="utf-8")
    for text in (said.out, said.err, written):
        assert "\x1b" not in text and "\u202e" not in text
    assert len(list((tmp_path / "grades" / "feedback").iterdir())) == len(rows)


def archive(*entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries:
            made.writestr(name, content)
    return out.getvalue()


def found(tmp_path, content, largest=1000):
    place = tmp_path / "in.zip"
    place.write_bytes(content)
    return {s.student: s for s in submissions.read(place, "set-1", largest)}


def test_names_in_a_zip_lead_nowhere_and_lose_nobody(tmp_path):
    long = "x" * 10_000
    names = ["..", "a/../../b.ipynb", "/etc/x.ipynb", "C:\\x.ipynb", "//host/x.ipynb", "~/x.ipynb"]
    content = archive(
        *[(name, b"evil") for name in names],
        (f"{long}.ipynb", b"long"),
        ("emmy.ipynb", b"small"),
        ("EMMY.ipynb", b"large"),
        ("emmy/work.ipynb", b"folder"),
        ("e\u0301.ipynb", b"two signs"),
        ("\xe9.ipynb", b"one sign"),
        ("new\nline.ipynb", b"line"),
        ("zero\0byte.ipynb", b"zero"),
    )
    got = found(tmp_path, content)
    kept = {s.content for s in got.values()}
    assert {b"long", b"large", b"two signs", b"one sign", b"line"} <= kept
    read = list(submissions.read(tmp_path / "in.zip", "set-1", 1000))
    assert {b"small", b"folder"} <= {s.content for s in read}
    assert sum(s.content == b"evil" for s in read) <= 1  # of `~/x.ipynb`, a folder called ~
    assert not (tmp_path.parent / "b.ipynb").exists()


def test_archives_within_archives_end(tmp_path):
    bomb = archive(("a.ipynb", bytes(10**6)))
    for _ in range(10):
        bomb = archive(("a.zip", bomb))
    got = found(tmp_path, archive(("s/a.zip", bomb), ("t/a.ipynb", b"honest")), 5000)
    assert got["s"].content is None and got["t"].content == b"honest"


def test_a_students_zip_has_a_size_and_holds_no_other(tmp_path):
    inner = archive(("a.ipynb", b"a"))
    got = found(
        tmp_path,
        archive(("s/a.zip", archive(("b.zip", inner))), ("t/a.zip", inner + os.urandom(4000))),
    )
    assert "no notebook" in got["s"].fault and "larger" in got["t"].fault
    assert found(tmp_path, archive(("s/a.zip", inner)))["s"].content == b"a"


def test_what_the_system_leaves_behind_is_no_submission(tmp_path):
    names = ["emmy/a.ipynb", "__MACOSX/a.ipynb", "emmy/.ipynb_checkpoints/b.ipynb", ".DS_Store"]
    got = found(tmp_path, archive(*[(name, b"a") for name in names], ("empty/", b"")))
    assert {student: s.content for student, s in got.items()} == {"emmy": b"a"}
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"a")
    (read,) = submissions.read(tmp_path / "in", "set-1", 99)
    assert (read.student, read.content) == ("emmy", b"a")


def test_of_a_file_no_more_is_read_than_the_limit_and_none_of_a_pipe(tmp_path):
    with (tmp_path / "a.ipynb").open("wb") as file:
        file.truncate(1 << 40)  # none of it on the disk
    os.mkfifo(tmp_path / "pipe.ipynb")
    got = {s.student: s for s in submissions.read(tmp_path, "set-1", 1000)}
    assert "larger" in got["a"].fault and "plain" in got["pipe"].fault


def test_many_entries_in_one_students_zip_are_not_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MOST_ENTRIES", 50)
    inner = archive(*[(f"{n}.txt", b"") for n in range(60)], ("a.ipynb", b"a"))
    got = found(tmp_path, archive(("s/a.zip", inner)), 5000)
    assert "its zip has more than 50 entries" in got["s"].fault
    with pytest.raises(Obstacle, match="more than 50 entries"):
        found(tmp_path, inner)


def test_an_archive_of_too_many_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "LARGEST_ARCHIVE", 5000)
    with pytest.raises(Obstacle, match="holds more than"):
        found(tmp_path, archive(("a.ipynb", bytes(3000)), ("b.ipynb", bytes(3000))))


def test_an_entry_of_an_unknown_compression_or_encrypted_keeps_its_row(tmp_path):
    plain = archive(("s/a.ipynb", b"a" * 100))
    unknown = plain.replace(struct.pack("<H", zipfile.ZIP_DEFLATED), struct.pack("<H", 77))
    assert "cannot be unpacked" in found(tmp_path, unknown)["s"].fault
    closed = bytearray(plain)
    closed[closed.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in found(tmp_path, bytes(closed))["s"].fault


GRADESCOPE = """---
submission_5:
  :submitters:
  - :name: Emmy Noether
    :sid: '0042'
    :email: emmy@x.edu
  - :name: ! '=cmd()'
    :sid: '0043'
    :email: carl@x.edu
  :created_at: 2026-10-01 12:00:00.000000000 Z
  :score: 1.0
  :results: !ruby/hash:ActiveSupport::HashWithIndifferentAccess
    output: |
      submission_6:
        :submitters:
        - :name: Forged
    a: &a [x, x]
    b: &b [*a, *a, *a]
    c: [*b, *b, *b]
submission_6:
  :submitters:
  - :name: Niels Abel
    :sid: '0044'
    :email:
submission_7:
  :submitters: []
"""


def test_gradescopes_export_says_who_whatever_students_put_in_it(tmp_path):
    folder = "assignment_17_export"
    forged = "submission_6:\n  :submitters:\n  - :name: Thief\n    :sid: '0042'\n"
    content = archive(
        (f"{folder}/submission_metadata.yml", GRADESCOPE.replace("|\n", f"|\n{'x' * 9999}\n")),
        (f"{folder}/submission_5/mine.ipynb", b"a"),
        (f"{folder}/submission_5/submission_metadata.yml", forged),
        (f"{folder}/submission_6/set-1.ipynb", b"b"),
        (f"{folder}/submission_7/set-1.ipynb", b"c"),
    )
    place = tmp_path / "in.zip"
    place.write_bytes(content)
    got = [(s.student, s.identifiers, s.content) for s in submissions.read(place, "set-1", 99)]
    assert got == [
        ("Emmy Noether", ("0042", "emmy@x.edu"), b"a"),
        ("=cmd()", ("0043", "carl@x.edu"), b"a"),
        ("Niels Abel", ("0044",), b"b"),
        ("submission_7", ("submission_7",), b"c"),
    ]


@pytest.mark.parametrize(
    "listed",
    [
        "[]",
        "{}",
        "a: 1",
        "a: &a [*a]",
        "!!python/object/apply:os.system ['true']",
        "submission_5:\n  :submitters: !!python/object/apply:os.system ['true']",
    ],
)
def test_a_list_that_is_not_gradescopes_is_refused(tmp_path, listed):
    content = archive(("submission_metadata.yml", listed), ("submission_5/a.ipynb", b"a"))
    with pytest.raises(Obstacle, match="not what Gradescope writes"):
        found(tmp_path, content)


def test_gradescopes_list_has_a_size_and_runs_nothing(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    listed = f"submission_5:\n  :submitters:\n  - !!python/object/apply:os.mkdir ['{ran}']\n"
    content = archive(("submission_metadata.yml", listed), ("submission_5/a.ipynb", b"a"))
    assert found(tmp_path, content)["submission_5"].content == b"a"
    assert not ran.exists()
    monkeypatch.setattr(submissions, "LARGEST_METADATA", len(listed) - 1)
    with pytest.raises(Obstacle, match="cannot be read: it is larger"):
        found(tmp_path, content)


def test_references_in_gradescopes_list_are_not_followed(tmp_path):
    grown = "submission_5:\n  :submitters:\n  - &a {':name': E, ':sid': '1'}\n  - *a\n"
    content = archive(("submission_metadata.yml", grown), ("submission_5/a.ipynb", b"a"))
    assert found(tmp_path, content)["submission_5"].content == b"a"


# Gradebooks, from end to end

EXPORT = (
    "\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,"
    '"Problem Set 1 (4711)",Problem Set 2 (4712),Quiz (4713),Assignments Current Points,'
    "Final Score\r\n"
    ',,,,,Manual Posting,,,,"(read only)"\r\n'
    "    Points Possible,,,,,4.00,10.00,5.00,(read only),(read only)\r\n"
    '"Noether, Emmy",101,0042,emmy,"Ma 101, Sec. 1",,7.00,3,9.5,88\r\n'
    '"Gauß, ""Princeps"" Carl",102,0043,carl,"Ma 101, Sec. 1 and Ma 101, Sec. 2",1.00,,,9.5,88\r\n'
    '"Abel, Niels",103,0044,niels,"=HYPERLINK(""x"")",EX,,,9.5,88\r\n'
    '"Galois, Évariste",104,0045,evariste,Sec. 2,2.00,,,9.5,88\r\n'
    '"Germain, Sophie",105,0046,sophie,Sec. 2,,,,9.5,88\r\n'
    '"Student, Test",199,,0a1b2c,Sec. 2,,,,,\r\n'
)


def test_canvas_from_its_zip_to_its_gradebook(grade, tmp_path):
    content = archive(
        ("noetheremmy_101_9001_set-1.ipynb", notebook(RIGHT)),
        ("gausscarl_LATE_102_9002_set-1-2.ipynb", notebook(HALF)),
        ("abelniels_103_9003_set-1.ipynb", notebook(RIGHT)),
        ("galoisevariste_104_9004_set-1.ipynb", notebook("def (")),
    )
    (tmp_path / "submissions.zip").write_bytes(content)
    (tmp_path / "export.csv").write_bytes(EXPORT.encode())
    rows = grade(tmp_path / "submissions.zip", tmp_path / "export.csv")
    assert {row["student"]: row["state"] for row in rows.values()} == {
        "noetheremmy": "ok",
        "gausscarl": "partial",
        "abelniels": "ok",
        "galoisevariste": "ungradable",
    }
    # Excused, ungradable and not handed in: as it was. All else, too, but for the test student.
    expected = EXPORT.replace('Sec. 1",,7.00', 'Sec. 1",4,7.00').replace(
        'Sec. 2",1.00', 'Sec. 2",2'
    )
    expected = expected[: expected.index('"Student, Test"')]
    assert (tmp_path / "grades" / "canvas.csv").read_bytes().decode() == expected


def test_gradescope_from_its_export_to_canvas(grade, tmp_path):
    listed = GRADESCOPE.replace("! '=cmd()'", "Carl").replace(
        "submission_7:\n  :submitters: []\n", ""
    )
    content = archive(
        ("assignment_17_export/submission_metadata.yml", listed),
        ("assignment_17_export/submission_5/a.ipynb", notebook(HALF)),
        ("assignment_17_export/submission_6/b.ipynb", notebook(RIGHT)),
    )
    (tmp_path / "export.zip").write_bytes(content)
    (tmp_path / "export.csv").write_bytes(EXPORT.encode())
    rows = grade(tmp_path / "export.zip", tmp_path / "export.csv", "Problem Set 1 (4711)")
    assert {name: row["score"] for name, row in rows.items()} == {
        "Emmy Noether": "2",
        "Carl": "2",
        "Niels Abel": "4",
    }
    merged = (tmp_path / "grades" / "canvas.csv").read_bytes().decode()
    assert 'Sec. 1",2,7.00' in merged and 'Sec. 2",2,,' in merged and '")",EX,' in merged


# A batch that ends early

KILLED = """
import sys
from pathlib import Path
from grading import __main__ as command
from grading.sandbox import Limits
command.built = lambda name: Path(sys.argv[1])
command.Limits = lambda: Limits(address=int(sys.argv[2]))
sys.exit(command.main())
"""


def test_a_killed_batch_goes_on_and_grades_only_what_changed(built, tmp_path):
    place, out = tmp_path / "in", tmp_path / "grades"
    place.mkdir()
    for n in range(8):
        pause = "import time; time.sleep(0.7)"
        (place / f"s{n}.ipynb").write_bytes(notebook(RIGHT, f"{pause}  # {n}"))
    (place / "odd.ipynb").write_bytes(b"no notebook")
    settings = {**os.environ, "SET": "set-1", "IN": str(place), "OUT": str(out), "CANVAS": ""}
    settings["PYTHONPATH"] = str(ROOT / "tools")
    start = [sys.executable, "-c", KILLED, str(built), str(LIMITS.address)]
    first = subprocess.Popen(start, env=settings, stderr=subprocess.PIPE, encoding="utf-8")
    kept = {}
    for _ in range(600):
        time.sleep(0.1)
        kept = {path: path.stat().st_mtime_ns for path in (out / "state").glob("*.json")}
        if len(kept) >= 3 or first.poll() is not None:
            break
    first.kill()
    first.communicate()
    kept = {path: path.stat().st_mtime_ns for path in (out / "state").glob("*.json")}
    assert 3 <= len(kept) < 9 and not (out / "grades.csv").exists()
    assert not left_running()
    (place / "s0.ipynb").write_bytes(notebook(HALF))
    done = subprocess.run(start, env=settings, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "9 submissions" in done.stdout and "7 ok" in done.stdout, done.stdout
    assert re.search(r"\[#{20}\] 9/9, 0\.0 min left", done.stderr)
    now = {path: path.stat().st_mtime_ns for path in (out / "state").glob("*.json")}
    assert all(now[path] == kept[path] for path in kept)
    assert 9 <= len(now) <= 10  # the changed one may have been graded before, too
    again = subprocess.run(start, env=settings, capture_output=True, encoding="utf-8")
    assert again.returncode == 0
    assert now == {path: path.stat().st_mtime_ns for path in (out / "state").glob("*.json")}


def left_running():
    """The submissions of these tests that run: a limit that is no other's stands in their calls."""
    for _ in range(50):  # the kernel takes a moment to end them
        found = []
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = place.read_bytes().split(b"\0")
                if b"/judge/grading/runner.py" in words and str(LIMITS.address).encode() in words:
                    found.append(place)
        if not found:
            break
        time.sleep(0.1)
    return found


def test_without_bubblewrap_one_line_is_said_and_nothing_is_run(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.ipynb").write_bytes(notebook(f"open({str(tmp_path / 'ran')!r}, 'w')"))
    (tmp_path / "bin").mkdir()
    settings = {
        **os.environ,
        "SET": "set-1",
        "IN": str(tmp_path / "in"),
        "OUT": str(tmp_path / "o"),
    }
    settings |= {"PYTHONPATH": str(ROOT / "tools"), "PATH": str(tmp_path / "bin")}
    done = subprocess.run(
        [sys.executable, "-m", "grading"], env=settings, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 1 and not done.stdout
    assert re.fullmatch(r"make grade: bwrap is not installed.*nothing was run\n", done.stderr)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", ["IN", "OUT"])
def test_what_submissions_could_read_is_no_place_for_grades(name, tmp_path, monkeypatch):
    if missing():
        pytest.skip("bubblewrap is not installed")
    for key, value in {"SET": "set-1", "IN": tmp_path, "OUT": tmp_path, name: "/usr/x"}.items():
        monkeypatch.setenv(key, str(value))
    with pytest.raises(Obstacle, match="which a submission can read"):
        command.main()


def test_what_is_compiled_for_submissions_is_not_under_what_they_can_read(tmp_path, monkeypatch):
    if missing():
        pytest.skip("bubblewrap is not installed")
    for key in ("IN", "OUT"):
        monkeypatch.setenv(key, str(tmp_path))
    monkeypatch.setattr(command, "BUILD", Path("/usr/x"))
    with pytest.raises(Obstacle, match="/usr/x is under /usr"):
        command.main()


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"IN": ""}, "say SET="),
        ({"OUT": ""}, "say SET="),
        ({"IN": "nowhere"}, "IN must be a folder or a zip"),
        ({"CANVAS": "nowhere"}, "CANVAS must be Canvas' export"),
        ({}, "no submission in"),
    ],
)
def test_a_call_that_lacks_something_grades_nothing(built, changed, cause, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    settings = {"SET": "set-1", "IN": str(tmp_path / "in"), "OUT": str(tmp_path / "out")}
    for key, value in {**settings, "CANVAS": "", **changed}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(command, "built", lambda name: built)
    with pytest.raises(Obstacle, match=cause):
        command.main()
    assert not (tmp_path / "out").exists()


def test_a_set_is_one_that_is_built(tmp_path, monkeypatch):
    (tmp_path / "problem-sets" / "set-1").mkdir(parents=True)
    monkeypatch.setattr(command, "BUILD", tmp_path)
    assert command.built("set-1").name == "set-1"
    for name in ("set-2", "", "../problem-sets/set-1"):
        with pytest.raises(Obstacle, match="SET must be one of"):
            command.built(name)


def test_a_solution_that_has_not_all_points_grades_nothing(built, tmp_path):
    (tmp_path / "instructor").mkdir()
    (tmp_path / "instructor" / "set-1.ipynb").write_bytes(notebook(HALF))
    with pytest.raises(Obstacle, match=r"gets 2 of 4 points.*test_q2_public.*nothing was graded"):
        command.rehearse(tmp_path, questions.load(built / "tests"), LIMITS)


def test_grades_are_those_of_the_terms_variants(tmp_path):
    assert command.of_term(tmp_path, "").endswith("with the variants of no TERM_SEED")
    (tmp_path / "term").write_text("autumn\n", encoding="utf-8")
    assert command.of_term(tmp_path, "autumn").endswith("with the variants of autumn")
    assert command.of_term(tmp_path, "").endswith("with the variants of autumn")
    with pytest.raises(Obstacle, match="was built last with autumn, not with spring"):
        command.of_term(tmp_path, "spring")


# The judge calculates with answers: in a process of its own, with limits

HEAVY = """
from otter.test_files import test_case
OK_FORMAT = False
name = "q1"
points = 1
@test_case(points=1)
def test_q1(q1):
    import numpy as np
    x = np.asarray(q1(0))
    {work}
"""


@pytest.mark.parametrize(
    ("work", "state", "note"),
    [
        ("np.ones((len(x), len(x)))", "wrong", ""),
        ("raise SystemExit", "ungradable", "process ended"),
        ("setattr(__import__('grading.judge').judge, '_state', None)", "ungradable", "TypeError"),
        ("__import__('time').sleep(60)", "ungradable", "calculated too long"),
        ("__import__('os').kill(__import__('os').getpid(), 9)", "ungradable", "process ended"),
    ],
)
def test_what_an_answer_makes_the_judge_do_ends(built, tmp_path, work, state, note):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "q1.py").write_text(HEAVY.format(work=work), encoding="utf-8")
    heavy = notebook("import numpy as np\ndef q1(x): return np.ones(27_000)")
    given = [submissions.Submission(name, (name,), heavy) for name in ("a", "b")]
    limits = replace(LIMITS, total=4.0, comparing=1.0)
    rows = batch.run(given, questions.load(tests), tmp_path / "out", limits, tests)
    assert [row.grade.state for row in rows] == [state] * 2
    assert all(note in row.grade.note and row.grade.score == 0 for row in rows)
    # What the judge failed at is tried again by another run.
    kept = list((tmp_path / "out" / "state").glob("*.json"))
    assert len(kept) == (state != "ungradable")
    assert not left_running()


def test_a_judge_that_is_late_is_not_asked_again():
    """Its answer would be taken for the next submission's."""
    spawn = multiprocessing.get_context("spawn")
    ends, _kept = spawn.Pipe()
    process = spawn.Process(target=time.sleep, args=(60,))
    process.start()
    limits = replace(LIMITS, total=0.1, comparing=0.1)
    worker = batch.Worker(Path(), limits, 0, 0, "", process, ends)
    assert worker.grade(b"", b"") == "it calculated too long with an answer"
    assert (worker.process, worker.ends) == (None, None) and process.exitcode == -signal.SIGKILL


# Limits, each for itself: what ends at a tight one goes through at a wide one

BURN = """
import os, signal, time
def burn(seconds, deaf=False):
    if deaf:  # an `except` has gaps: on its way back to the `try`
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    end = time.process_time() + seconds
    while time.process_time() < end: pass
    return 1
"""
# Of each limit: a tight value, a wide one, what is lost at the tight one, and a notebook whose
# `found` returns 1 if it comes through.
EACH = {
    "statement": (0.4, 5.0, "raised", [BURN, "x = burn(1.5)", "def found(): return x"]),
    "call": (0.4, 5.0, "timeout", [BURN, "def found(): return burn(1.5)"]),
    "grace": (0.3, 9.0, "timeout", [BURN, "def found(): return burn(3, deaf=True)"]),
    "cell": (1.0, 9.0, "raised", [BURN, "x = burn(3, deaf=True)", "def found(): return x"]),
    "patience": (1.2, 9.0, "timeout", ["import time\ndef found(): time.sleep(3); return 1"]),
    "notebook": (2.0, 60.0, "timeout", ["import time"] + ["time.sleep(0.7)"] * 6
        + ["def found(): return 1"]),
    "question": (1.5, 40.0, "timeout", ["import time\ndef found(): time.sleep(1); return 1"]),
    "total": (2.0, 60.0, "timeout", ["import time\ndef found(): time.sleep(1.2); return 1"]),
    "cpu": (2, 20, "crash", [BURN, "def found(): return burn(2.5)"]),
    "memory": (150 << 20, 900 << 20, "crash", ["""
        import time
        def found():
            a = b'1' * (300 << 20)
            time.sleep(0.5)
            return len(a) >> 28
        """]),
    "address": (2 << 30, 6 << 30, "raised", ["""
        import mmap
        def found(): return len(mmap.mmap(-1, 3 << 30)) >> 31
        """]),
    "processes": (16, 96, "raised", ["""
        import os, time
        def found():
            for _ in range(20):
                if not os.fork(): time.sleep(9); os._exit(0)
            return 1
        """]),
    "files": (32, 128, "raised", ["""
        import os
        def found(): return len([os.open('/dev/null', 0) for _ in range(40)]) // 40
        """]),
    "file_size": (1 << 20, 64 << 20, "raised", ["""
        def found(): return open('a', 'wb').write(bytes(2 << 20)) >> 21
        """]),
    "scratch": (1 << 20, 64 << 20, "raised", ["""
        def found(): return open('a', 'wb').write(bytes(2 << 20)) >> 21
        """]),
    "frame": (1000, 4 << 20, "wrong", ["def found(): return [1] * 1000"]),
    "attempts": (2, 8, "crash", ["import os"] + ["os._exit(0)"] * 3 + ["def found(): return 1"]),
}  # fmt: skip
WIDE = Limits(
    statement=9.0, call=9.0, grace=9.0, cell=20.0, patience=5.0, notebook=90.0, question=90.0,
    total=120.0, cpu=60, memory=2 << 30, address=6 << 30, attempts=8,
)  # fmt: skip


def outcome(place, limits):
    """What two calls of `found` come to: 1, or how the second was lost."""
    with judge.Examination(place, limits) as examination:
        try:
            examination.begin()
            examination.call("found")
            found = examination.call("found")
        except judge.Lost as lost:
            return lost.kind
        except judge._Told as told:
            return told.kind
        except Exception as error:
            assert "from_submission" in error.__dict__
            return "raised"
    return 1 if protocol.np.all(protocol.np.asarray(found) == 1) else found


@pytest.mark.parametrize("limit", EACH)
def test_each_limit_ends_what_goes_through_without_it(built, limit, tmp_path):
    tight, wide, lost, cells = EACH[limit]
    place = tmp_path / "notebook"
    place.write_bytes(notebook(*cells))
    short = {"call": 1.0} if limit in ("grace", "patience") else {}
    short |= {"statement": 1.0} if limit == "cell" else {}
    short |= {"attempts": 1} if limit == "notebook" else {}
    assert outcome(place, replace(WIDE, **{**short, limit: tight})) == lost
    assert outcome(place, replace(WIDE, **{**short, limit: wide})) == 1


@pytest.mark.parametrize(("limit", "tight", "wide"), [("upload", 300, 9000), ("cells", 3, 9)])
def test_a_notebook_has_a_size_and_so_many_cells(built, limit, tight, wide):
    asked = questions.load(built / "tests")
    content = notebook(*["1"] * 5, RIGHT)
    assert judge.grade(content, asked, b"", replace(WIDE, **{limit: tight})).state == "malformed"
    assert judge.grade(content, asked, b"", replace(WIDE, **{limit: wide})).state == "ok"


def test_files_count_as_memory_be_they_empty(built, tmp_path, monkeypatch):
    place = tmp_path / "notebook"
    place.write_bytes(
        notebook(
            """
            import os
            def found():
                for n in range(20_000): os.close(os.open(f'{n}', os.O_CREAT))
                return 1
            """,
            "def full(): return open('a', 'wb').write(bytes(16 << 20))",
        )
    )
    with judge.Examination(place, WIDE) as examination:
        examination.begin()
        before = sandbox.stored(examination.box.inside)
        assert examination.call("found") == 1
        after = sandbox.stored(examination.box.inside)
        assert after - before >= 20_000 * sandbox.INODE
        assert examination.call("full") == 16 << 20
        assert sandbox.stored(examination.box.inside) - after >= 16 << 20
        monkeypatch.setattr(sandbox, "stored", lambda process: 1 << 50)
        examination.box.look()
        assert examination.box.holds > 1 << 50


def test_no_limit_of_the_kernel_is_left_open(built, tmp_path):
    place = tmp_path / "notebook"
    place.write_bytes(notebook("import resource\ndef found(n): return list(resource.getrlimit(n))"))
    limits = Limits()
    with judge.Examination(place, limits) as examination:
        examination.begin()
        for name, value in {
            resource.RLIMIT_CPU: limits.cpu,
            resource.RLIMIT_AS: limits.address,
            resource.RLIMIT_NPROC: limits.processes,
            resource.RLIMIT_NOFILE: limits.files,
            resource.RLIMIT_FSIZE: limits.file_size,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_MSGQUEUE: 0,
            resource.RLIMIT_MEMLOCK: 0,
        }.items():
            assert examination.call("found", name).tolist() == [value, value]


def told(process):
    """What the kernel says of a process."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def test_each_wall_stands_by_itself(built, tmp_path):
    """Many things need two of them to fall; here each is looked at from outside."""
    place = tmp_path / "notebook"
    place.write_bytes(
        notebook(
            """
            import os
            def writable(): return [not os.statvfs(p).f_flag & os.ST_RDONLY for p in PLACES]
            PLACES = ['/', '/usr', '/site', '/course/lib/ntklab', '/course/book/data', '/dev',
                '/judge/grading/runner.py', '/submission/notebook.ipynb', '/cache/bytecode',
                '/cache/compiled', '/dev/pts', '/tmp', '/dev/shm']
            def shared(): v = os.statvfs('/dev/shm'); return v.f_blocks * v.f_frsize
            def terminals(): return len(os.listdir('/dev/pts'))
            """
        )
    )
    core = min(os.sched_getaffinity(0))
    with judge.Examination(place, Limits(), slot=7, core=core) as examination:
        examination.begin()
        box = examination.box
        first, runner, *others = sandbox.descendants(box.inside)
        assert first == box.inside and not others
        for space in ("pid", "net", "ipc", "uts", "mnt", "cgroup"):
            ours, its = (os.stat(f"/proc/{p}/ns/{space}").st_ino for p in ("self", runner))
            assert its != ours, space
        for process, most in ((first, 0b111 << 6), (runner, 0)):  # setgid, setuid, setpcap
            status = told(process)
            for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert not int(status[kind][0], 16) & ~most, (process, kind)
            assert status["NoNewPrivs"] == ["1"]
        status = told(runner)
        assert os.geteuid() or not int(status["CapBnd"][0], 16)
        assert status["Seccomp"] == ["2"]
        if os.geteuid() == 0:
            assert status["Uid"] == status["Gid"] == [str(sandbox.FIRST_USER + 7)] * 4
            assert status["Groups"] == []
        assert os.sched_getaffinity(runner) == {core}
        score = Path(f"/proc/{runner}/oom_score_adj").read_text(encoding="utf-8")
        assert int(score) == 1000
        # No terminal of the judge's is theirs, nor is a signal that is sent to its session.
        assert os.getsid(box.monitor.pid) == box.monitor.pid != os.getsid(0)
        assert os.getsid(runner) == first
        assert examination.call("writable").tolist() == [False] * 11 + [True] * 2
        assert examination.call("shared") == 16 << 20
        assert box.channel.largest == Limits().frame
        assert examination.call("terminals") == 0


def test_what_a_submission_stores_in_shared_memory_counts(built, tmp_path):
    place = tmp_path / "notebook"
    place.write_bytes(
        notebook("def found(): return open('/dev/shm/a', 'wb').write(bytes(8 << 20))")
    )
    with judge.Examination(place, WIDE) as examination:
        examination.begin()
        before = sandbox.stored(examination.box.inside)
        assert examination.call("found") == 8 << 20
        assert sandbox.stored(examination.box.inside) - before >= 8 << 20


CHILDREN = """
    import os, signal, time
    def burn(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end: pass
    def ended():
        for _ in range(100):  # too short to be seen alive
            if not (child := os.fork()): burn(0.02); os._exit(0)
            os.waitpid(child, 0)
        return 1
    def ignored():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(6):
            if not (child := os.fork()): burn(0.5); os._exit(0)
            try: os.waitpid(child, 0)
            except ChildProcessError: pass
        return 1
    def living():
        children = []
        for _ in range(3):
            if not (child := os.fork()): burn(0.6); time.sleep(9)
            children.append(child)
        time.sleep(15)
        return 1
    """


@pytest.mark.parametrize("which", ["ended", "ignored", "living"])
def test_the_work_of_children_counts(built, which, tmp_path):
    place = tmp_path / "notebook"
    place.write_bytes(notebook(CHILDREN))
    limits = replace(WIDE, call=0.5, grace=0.5, patience=40.0, cpu=60)
    with judge.Examination(place, limits) as examination:
        examination.begin()
        with pytest.raises(judge.Lost, match="timeout"):
            examination.call(which)
        assert examination.failures == ["timeout"]


@pytest.mark.parametrize(
    ("patience", "stubborn"),
    [
        (40.0, "burn(4, deaf=True)"),  # works too much
        (2.0, "while True:\n    try: time.sleep(9)\n    except BaseException: pass"),  # waits
    ],
)
def test_a_cell_that_does_not_end_is_left_out(built, patience, stubborn, tmp_path):
    place = tmp_path / "notebook"
    place.write_bytes(notebook(BURN, stubborn, "def found(): return 1"))
    limits = replace(WIDE, statement=0.4, cell=1.0, patience=patience, notebook=25.0)
    began = time.monotonic()
    with judge.Examination(place, limits) as examination:
        examination.begin()
        assert examination.skipped == {1} and examination.failures == ["timeout"]
        assert examination.call("found") == 1
    assert time.monotonic() - began < 20


def test_the_time_of_all_is_that_of_the_cells_too(built, tmp_path):
    place = tmp_path / "notebook"
    place.write_bytes(notebook("import time", *["time.sleep(0.7)"] * 6))
    began = time.monotonic()
    with (
        judge.Examination(place, replace(WIDE, total=2.0)) as examination,
        pytest.raises(judge.Lost, match="timeout"),
    ):
        examination.start()
    assert time.monotonic() - began < 4


def test_who_has_no_process_left_keeps_what_was_answered(built):
    half = "import os\ndef q2(x): return 9.0 if getattr(x, 'ndim', 0) == 0 else os._exit(0)"
    first, second = questions.load(built / "tests")
    limits = replace(WIDE, attempts=1)
    grade = judge.grade(notebook(RIGHT, half), [first, second], b"", limits)
    assert [answer.score for answer in grade.answers] == [2, 1]
    whole = replace(second, all_or_nothing=True)
    grade = judge.grade(notebook(RIGHT, half), [first, whole], b"", limits)
    assert [answer.score for answer in grade.answers] == [2, 0]


# What is kept of a batch, and what it needs


def test_the_secret_is_the_instructors_and_stays(tmp_path):
    first = batch.secret(tmp_path / "state")
    assert batch.secret(tmp_path / "state") == first and len(first) == 32
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "secret").stat().st_mode) == 0o600


def test_what_decides_a_grade_makes_another_version(tmp_path, monkeypatch):
    parts = [tmp_path / "tests" / "q1.py", tmp_path / "judge" / "judge.py"]
    parts += [tmp_path / "lib" / "ntklab" / "deep" / "a.py"]
    for place in parts:
        place.parent.mkdir(parents=True)
        place.write_text("a", encoding="utf-8")
    monkeypatch.setattr(batch, "HERE", tmp_path / "judge")
    monkeypatch.setattr(batch, "ROOT", tmp_path)

    def version(limits=WIDE):
        return batch.version(tmp_path / "tests", limits)

    assert version() == version()
    seen = [version(), version(LIMITS)]
    for place in parts:
        place.write_text("b", encoding="utf-8")
        seen.append(version())
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"answers": 3}', '{"answers": [{}]}'])
def test_a_grade_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert batch._kept(tmp_path / "a.json") is None


def test_two_of_one_name_have_two_pages_and_no_formula(tmp_path):
    given = submissions.Submission('="a",b', ("17",), b"")
    graded = judge.Grade("ok", 1.0, 1.0, [])
    rows = [batch.Row(given, graded)] * 2
    batch.report(rows, tmp_path, "set-1", None, "", 1.0)
    assert len(list((tmp_path / "feedback").iterdir())) == 2
    with (tmp_path / "feedback.csv").open(encoding="utf-8", newline="") as file:
        assert [row["student"] for row in csv.DictReader(file)] == ['\'="a",b'] * 2


@pytest.mark.parametrize("program", ["bwrap", "setpriv", "taskset", "choom"])
def test_each_program_that_is_missing_is_named(program, monkeypatch):
    monkeypatch.setattr(sandbox.sys, "platform", "linux")
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None if name == program else name)
    assert re.match(f"{program} is not installed .*nothing was run$", missing())
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: name)
    assert "needs Linux" in missing()


# Of the batch, of one judge: each is killed while what it has started hears of nothing.
ORPHANS = {
    "judge": """
import sys
from pathlib import Path
from grading import batch
from grading.sandbox import Limits
batch.Worker(Path(sys.argv[1]), Limits(), 0, 0, sys.argv[1]).grade(b"", b"")
""",
    "submission": """
import sys
from pathlib import Path
from grading import judge
from grading.sandbox import Limits, Sandbox
Sandbox.allow = lambda *_: Path(sys.argv[1], "busy").touch()
with judge.Examination(Path(sys.argv[1], "notebook"), Limits()) as examination:
    examination.start()
""",
}


@pytest.mark.parametrize("which", ORPHANS)
def test_nothing_outlives_its_parent(built, which, tmp_path):
    busy = tmp_path / "busy"
    text = f"import time\nopen({str(busy)!r}, 'w').close()\ntime.sleep(120)\n"
    (tmp_path / "q1.py").write_text(text, encoding="utf-8")
    (tmp_path / "notebook").write_bytes(notebook("import time; time.sleep(120)"))
    settings = {**os.environ, "PYTHONPATH": str(ROOT / "tools")}
    started = subprocess.Popen([sys.executable, "-c", ORPHANS[which], tmp_path], env=settings)
    for _ in range(600):
        time.sleep(0.1)
        if busy.exists() or started.poll() is not None:
            break
    processes = list(sandbox.descendants(started.pid))
    assert busy.exists() and len(processes) > 1
    started.kill()
    started.wait()
    for _ in range(50):
        left = [p for p in processes if Path(f"/proc/{p}").exists() and told(p)["State"][0] != "Z"]
        if not left:
            break
        time.sleep(0.1)
    for process in left:
        os.kill(process, 9)
    assert not left


def test_a_drip_of_bytes_is_overdue(built, tmp_path):
    """A frame that comes byte by byte keeps nobody waiting beyond the deadline."""
    place = tmp_path / "notebook"
    place.write_bytes(
        notebook(
            """
            import os, struct, time
            def found():
                for byte in struct.pack('<4sBQI', b'ntk1', 32, 0, 10):
                    for fd in range(3, 9):
                        try: os.write(fd, bytes([byte]))
                        except OSError: pass
                    time.sleep(0.5)
            """
        )
    )
    limits = replace(WIDE, call=0.5, grace=0.5, patience=2.0, question=3.0)
    began = time.monotonic()
    with judge.Examination(place, limits) as examination:
        examination.begin()
        with pytest.raises(judge.Lost):
            examination.call("found")
    assert time.monotonic() - began < 8
