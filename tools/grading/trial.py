"""`python -m grading.trial set-1 OUT [500]`: make a class that is no class, grade it, and measure.

The class is a zip as Canvas hands it out and an export of its gradebook. Of 50 students 25 have the
set's own solution, 12 a part of it, 4 nothing right, 4 handed in what is no notebook or does not
run, and 5 are hostile. Each notebook is another, so that each is graded. What each must get is
known, and looked at.
"""

import argparse
import csv
import io
import json
import os
import random
import re
import resource
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import nbformat
from project import Obstacle, run_tool, write

from grading import __main__ as command
from grading import batch, questions, submissions
from grading.sandbox import Limits, missing

#: What hostile ones add in front of a right notebook that they have spoilt.
HOSTILE = (
    "while True: pass",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "import os; os._exit(0)",
    "import os, signal; os.kill(-1, signal.SIGKILL)",
    "keep = []\nwhile True: keep.append(bytearray(64 << 20))",
    "while True: print('x' * 10**6)",
    "import time; time.sleep(10**6)",
    "sum(range(10**12))",
    "import ctypes; ctypes.string_at(0)",
    "import numpy as np; np.abs = np.all = np.allclose = lambda *a, **k: True",
    "from ntklab import coursework; coursework.check = lambda *a: 100",
    "file = open('x', 'wb')\nwhile True: file.write(bytes(1 << 20))",
)
ODD = (b"", b"%PDF-1.7", b"[" * 10**5, b'{"cells": 1}', b'{"cells": [], "metadata": {}}')


@dataclass(frozen=True)
class Student:
    """One of the class: what is handed in, and the states that are right for it."""

    number: int
    content: bytes
    kind: str
    states: frozenset[str]


def solved(folder: Path, name: str) -> list[str]:
    """The cells of the student's notebook, its answers filled in."""
    cells = [
        nbformat.read(folder / part / f"{name}.ipynb", as_version=4).cells
        for part in ("student", "instructor")
    ]
    asked, answered = ([cell.source for cell in part if cell.cell_type == "code"] for part in cells)
    answers = {
        match[1]: source
        for source in answered
        if (match := re.match(r"(?:.*\n)*?def ([qw]\d+)\(", source))
    }
    return [
        answers[match[1]] if (match := re.match(r"def (q\d+)\(", source)) else source
        for source in asked
        if "%pip" not in source
    ]


def notebook(cells: Sequence[str], number: int) -> bytes:
    """A notebook with these cells, unlike that of any other number."""
    made: list[dict[str, Any]] = [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": []}
        for source in ["from ntklab import coursework", *cells, f"# {number}"]
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def spoilt(names: Sequence[str]) -> str:
    """A cell after which these questions are answered wrong by a factor."""
    return "import numpy as np\n" + "\n".join(
        f"{name} = (lambda right: lambda *a, **k: 2.5 * np.asarray(right(*a, **k), float))({name})"
        for name in names
    )


def members(folder: Path, name: str, count: int) -> Iterator[Student]:
    """The class, by a fixed mix."""
    cells = solved(folder, name)
    names = [question.name for question in questions.load(folder / "tests")]
    draw = random.Random(name)
    for number in range(count):
        part = 50 * number // count
        if part < 25:
            yield Student(number, notebook(cells, number), "right", frozenset({"ok"}))
        elif part < 37:
            some = draw.sample(names, draw.randrange(1, len(names)))
            content = notebook([*cells, spoilt(some)], number)
            yield Student(number, content, "partly right", frozenset({"partial"}))
        elif part < 41:
            content = notebook([*cells, spoilt(names)], number)
            yield Student(number, content, "wrong", frozenset({"wrong", "partial"}))
        elif part < 45:
            odd = [*ODD, notebook(["def ("], number).replace(b"from ntklab import", b"(")]
            content = odd[number % len(odd)]
            yield Student(number, content, "odd", frozenset({"malformed", "ungradable"}))
        else:
            content = notebook([*cells, spoilt(names), HOSTILE[number % len(HOSTILE)]], number)
            states = frozenset({"wrong", "partial", "timeout", "crash"})
            yield Student(number, content, "hostile", states)


def handed_in(students: Sequence[Student], name: str, out: Path) -> Path:
    """The zip that Canvas would give, and beside it the export of the gradebook."""
    place = out / "submissions.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for student in students:
            number = student.number
            archive.writestr(
                f"student{number}_{1000 + number}_{9000 + number}_{name}.ipynb", student.content
            )
    return place


def export(students: Sequence[Student], possible: float, out: Path) -> Path:
    """Canvas' gradebook of the class, without a grade."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(
        [
            "Student",
            "ID",
            "SIS User ID",
            "SIS Login ID",
            "Section",
            "Problem set (1)",
            "Final Score",
        ]
    )
    table.writerow(["    Points Possible", "", "", "", "", f"{possible:.2f}", "(read only)"])
    for student in students:
        number = student.number
        keys = [1000 + number, f"{number:05}", f"s{number}"]
        table.writerow([f"Student, {number}", *keys, "A, 1", "", ""])
    write(out / "export.csv", "\ufeff" + text.getvalue())
    return out / "export.csv"


def main() -> int:
    """Make the class, grade it, look at the grades, say what it took."""
    parser = argparse.ArgumentParser(prog="python -m grading.trial", description=__doc__)
    parser.add_argument("set")
    parser.add_argument("out", type=Path)
    parser.add_argument("count", nargs="?", type=int, default=500)
    given = parser.parse_args()
    if cause := missing():
        raise Obstacle(cause)
    folder, limits = command.built(given.set), Limits()
    asked = questions.load(folder / "tests")
    given.out.mkdir(parents=True, exist_ok=True)
    if any(given.out.iterdir()):
        raise Obstacle(f"{given.out}: must be a new folder, or an empty one")
    students = list(members(folder, given.set, given.count))
    place = handed_in(students, given.set, given.out)
    possible = sum(question.points for question in asked)
    gradebook = export(students, possible, given.out)
    found = list(submissions.read(place, given.set, limits.upload))
    command.rehearse(folder, asked, limits)
    began = monotonic()
    rows = batch.run(found, asked, given.out / "grades", limits, folder / "tests")
    batch.report(rows, given.out / "grades", given.set, gradebook, "Problem set", possible)
    passed = monotonic() - began
    grades = {row.submission.student: row.grade for row in rows}
    wrong = []
    for student in students:
        grade = grades[f"student{student.number}"]
        low = student.kind in ("right", "partly right") and grade.score == 0
        if grade.state not in student.states or low:
            wrong.append(f"student{student.number} ({student.kind}): {grade.state}")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(grade.processor for grade in grades.values())
    states = Counter(row.grade.state for row in rows)
    print(f"{len(rows)} submissions: {', '.join(f'{n} {s}' for s, n in states.most_common())}")
    for kind in dict.fromkeys(student.kind for student in students):
        of_kind = [grades[f"student{s.number}"] for s in students if s.kind == kind]
        each = sum(grade.processor for grade in of_kind) / len(of_kind)
        longest = max(grade.seconds for grade in of_kind)
        print(f"  {len(of_kind)} {kind}: {each:.2f} CPU s each, the longest {longest:.0f} s")
    peak = max(grade.memory for grade in grades.values()) >> 20
    print(
        f"{passed / 60:.1f} min on {len(os.sched_getaffinity(0))} cores; {seconds / len(rows):.2f} "
        f"CPU s a submission, the judge included; memory of a submission at most {peak} MB, of a "
        f"process of the judge's {max(one.ru_maxrss for one in used) >> 10} MB"
    )
    if wrong:
        raise Obstacle(f"{len(wrong)} have not what they deserve: {'; '.join(wrong[:10])}")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool("grade", main))
