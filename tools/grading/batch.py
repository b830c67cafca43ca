"""A class: every submission gets its row, and what was graded once is not graded again."""

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

from project import ROOT, Obstacle, read, write

from grading import feedback, gradebook, judge, submissions
from grading.gradebook import Row
from grading.questions import Question
from grading.sandbox import Limits

HERE = Path(__file__).parent


def secret(folder: Path) -> bytes:
    """The secret of this grading, made once and kept, so that an appeal meets the same inputs."""
    place = folder / "secret"
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        write(place, secrets.token_hex(32) + "\n")
        place.chmod(0o600)
    return bytes.fromhex(read(place))


def version(tests: Path, limits: Limits) -> str:
    """Of what decides a grade: tests, judge, library and limits; another one grades anew."""
    digest = hashlib.sha256(repr(limits).encode())
    for folder, pattern in [(tests, "*.py"), (HERE, "*.py"), (ROOT / "lib", "ntklab/**/*.py")]:
        for path in sorted(folder.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _kept(place: Path) -> judge.Grade | None:
    """A grade of an earlier run; None where there is none that can be read."""
    try:
        return judge.Grade.from_data(json.loads(read(place)))
    except (OSError, ValueError, TypeError, KeyError):
        return None


class Progress:
    """A line on the screen: how far, and how long yet."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.began = total, 0, monotonic()
        self.live = sys.stderr.isatty()

    def step(self) -> None:
        """One more is done."""
        self.done += 1
        left = (monotonic() - self.began) / self.done * (self.total - self.done)
        bar = ("#" * (20 * self.done // self.total)).ljust(20, ".")
        line = f"[{bar}] {self.done}/{self.total}, {left / 60:.1f} min left"
        if self.live:
            print(f"\r{line}\x1b[K", end="\n" if self.done == self.total else "", file=sys.stderr)
        elif self.done == self.total or self.done % max(1, self.total // 10) == 0:
            print(line, file=sys.stderr)


def run(
    found: Sequence[submissions.Submission],
    questions: Sequence[Question],
    out: Path,
    limits: Limits,
    tests: Path,
) -> list[Row]:
    """Grade what is new, two at a time on two cores; keep each grade as soon as it is there."""
    state = out / "state"
    key, decided = secret(state), version(tests, limits)
    possible = sum(question.points for question in questions)
    cores = sorted(os.sched_getaffinity(0))
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(len(cores)):
        slots.put(slot)

    def one(submission: submissions.Submission) -> judge.Grade:
        nothing = [judge.Answer(question.name, question.points, 0.0, []) for question in questions]
        if submission.content is None:
            return judge.Grade("malformed", 0.0, possible, nothing, submission.fault)
        place = state / f"{hashlib.sha256((decided + submission.digest).encode()).hexdigest()}.json"
        if (kept := _kept(place)) is not None:
            return kept
        slot = slots.get()
        try:
            grade = judge.grade(submission.content, questions, key, limits, slot, cores[slot])
        finally:
            slots.put(slot)
        write(place, json.dumps(grade.as_data()) + "\n")
        return grade

    progress = Progress(len(found))
    pool = ThreadPoolExecutor(len(cores))
    grades: dict[Future[judge.Grade], int] = {}
    rows: list[Row | None] = [None] * len(found)
    try:
        grades = {pool.submit(one, submission): n for n, submission in enumerate(found)}
        for future in as_completed(grades):
            n = grades[future]
            rows[n] = Row(found[n], _result(future, questions))
            progress.step()
    finally:
        pool.shutdown(cancel_futures=True)
    return [row for row in rows if row is not None]


def _result(future: "Future[judge.Grade]", questions: Sequence[Question]) -> judge.Grade:
    """A grade; what the judge itself fails at is a row too, and no attempt of the student's."""
    try:
        return future.result()
    except Obstacle:
        raise
    except Exception as error:
        nothing = [judge.Answer(question.name, question.points, 0.0, []) for question in questions]
        possible = sum(question.points for question in questions)
        note = f"the judge failed: {type(error).__name__}"
        return judge.Grade("ungradable", 0.0, possible, nothing, note)


def report(
    rows: Sequence[Row], out: Path, title: str, canvas: Path | None, column: str, possible: float
) -> None:
    """Write the tables and the pages."""
    gradebook.plain(rows, out / "grades.csv")
    pages = out / "feedback"
    pages.mkdir(parents=True, exist_ok=True)
    index = ["file,student,identifiers"]
    for row in rows:
        name = feedback.file_name(row)
        write(pages / name, feedback.student_page(row, title))
        cells = (row.submission.student, " ".join(row.submission.identifiers))
        escaped = (gradebook.harmless(cell).replace('"', '""') for cell in cells)
        index.append(",".join([name, *(f'"{cell}"' for cell in escaped)]))
    write(out / "feedback.csv", "\n".join(index) + "\n")
    write(out / "questions.html", feedback.analysis(rows, title))
    if canvas is not None:
        write(out / "canvas.csv", gradebook.merged(canvas, rows, column or title, possible))
