"""A class: every submission gets its row, and what was graded once is not graded again."""

import contextlib
import ctypes
import hashlib
import json
import multiprocessing
import os
import resource
import secrets
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

from project import ROOT, Obstacle, read, write

from grading import feedback, gradebook, judge, submissions
from grading.gradebook import Row
from grading.questions import Question, load
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
    """A line on the screen: how far, and how long yet, by what this run has graded itself."""

    def __init__(self, total: int, kept: int = 0) -> None:
        self.total, self.kept, self.done, self.began = total, kept, kept, monotonic()
        self.live = sys.stderr.isatty()

    def step(self) -> None:
        """One more is done."""
        self.done += 1
        each = (monotonic() - self.began) / (self.done - self.kept)
        left = each * (self.total - self.done)
        bar = ("#" * (20 * self.done // self.total)).ljust(20, ".")
        line = f"[{bar}] {self.done}/{self.total}, {left / 60:.1f} min left"
        if self.live:
            print(f"\r{line}\x1b[K", end="\n" if self.done == self.total else "", file=sys.stderr)
        elif self.done == self.total or self.done % max(1, self.total // 10) == 0:
            print(line, file=sys.stderr)


def _work(ends: Connection, tests: Path, limits: Limits, slot: int, core: int, folder: str) -> None:
    """A process of the judge's: grade what comes, until nothing comes any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it does not outlive the batch
    # Soft alone: what it starts has limits of its own.
    resource.setrlimit(
        resource.RLIMIT_AS, (limits.judge, resource.getrlimit(resource.RLIMIT_AS)[1])
    )
    tempfile.tempdir = folder
    asked = load(tests)
    ends.send("")  # from now on its time counts
    with contextlib.suppress(EOFError):
        while True:
            content, key = ends.recv()
            answer: judge.Grade | Obstacle | str
            try:
                answer = judge.grade(content, asked, key, limits, slot, core)
            except Obstacle as obstacle:
                answer = obstacle
            except Exception as error:
                answer = type(error).__name__
            ends.send(answer)


@dataclass
class Worker:
    """The judge in a process of its own: what an answer makes it calculate has limits, too."""

    tests: Path
    limits: Limits
    slot: int
    core: int
    folder: str
    process: SpawnProcess | None = None
    ends: Connection | None = None

    def grade(self, content: bytes, key: bytes) -> judge.Grade | str:
        """A grade; the reason where the judge has failed at it.

        Raises:
            Obstacle: if no sandbox can be made.
        """
        fresh = self.process is None
        if self.process is None or self.ends is None:
            spawn = multiprocessing.get_context("spawn")
            self.ends, theirs = spawn.Pipe()
            settings = (theirs, self.tests, self.limits, self.slot, self.core, self.folder)
            self.process = spawn.Process(target=_work, args=settings)
            self.process.start()
            theirs.close()
        try:
            if fresh:
                self.ends.recv()
            self.ends.send((content, key))
            if not self.ends.poll(self.limits.total + self.limits.comparing):
                self.stop()
                return "it calculated too long with an answer"
            answer = self.ends.recv()
        except (EOFError, OSError):
            self.stop()
            return "its process ended"
        if isinstance(answer, Obstacle):
            raise answer
        graded: judge.Grade | str = answer
        return graded

    def stop(self) -> None:
        """End the process, and with it a sandbox that it may have."""
        if self.process is not None and self.ends is not None:
            self.process.kill()
            self.process.join()
            self.ends.close()
        self.process = self.ends = None


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

    def nothing(kind: str, note: str) -> judge.Grade:
        empty = [judge.Answer(question.name, question.points, 0.0, []) for question in questions]
        return judge.Grade(kind, 0.0, possible, empty, note)

    def place(submission: submissions.Submission) -> Path:
        named = hashlib.sha256((decided + submission.digest).encode()).hexdigest()
        return state / f"{named}.json"

    grades: dict[int, judge.Grade] = {}
    for n, submission in enumerate(found):
        if submission.content is None:
            grades[n] = nothing("malformed", submission.fault)
        elif (kept := _kept(place(submission))) is not None:
            grades[n] = kept
    progress = Progress(len(found), len(grades))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="grading-"))
        workers: SimpleQueue[Worker] = SimpleQueue()
        cores = sorted(os.sched_getaffinity(0))
        for slot, core in enumerate(cores):
            worker = Worker(tests, limits, slot, core, folder)
            stack.callback(worker.stop)
            workers.put(worker)

        def one(submission: submissions.Submission) -> judge.Grade:
            worker = workers.get()
            try:
                grade = worker.grade(submission.content or b"", key)
            finally:
                workers.put(worker)
            if isinstance(grade, str):
                # Its row it has; it is not kept, so that another run tries again.
                return nothing("ungradable", f"the judge failed: {grade}")
            write(place(submission), json.dumps(grade.as_data()) + "\n")
            return grade

        pool = ThreadPoolExecutor(len(cores))
        stack.callback(pool.shutdown, cancel_futures=True)
        alike: dict[Path, list[int]] = {}
        for n in range(len(found)):
            if n not in grades:
                alike.setdefault(place(found[n]), []).append(n)
        # Equal notebooks are graded once.
        new = {pool.submit(one, found[rows[0]]): rows for rows in alike.values()}
        for future in as_completed(new):
            for n in new[future]:
                grades[n] = future.result()
                progress.step()
    return [Row(submission, grades[n]) for n, submission in enumerate(found)]


def report(
    rows: Sequence[Row], out: Path, title: str, canvas: Path | None, column: str, possible: float
) -> None:
    """Write the tables and the pages."""
    gradebook.plain(rows, out / "grades.csv")
    pages = out / "feedback"
    pages.mkdir(parents=True, exist_ok=True)
    index = ["file,student,identifiers"]
    taken: Counter[str] = Counter()
    for row in rows:
        # Two rows of one name have two pages.
        name = feedback.file_name(row)
        taken[name] += 1
        if taken[name] > 1:
            name = f"{taken[name]}-{name}"
        write(pages / name, feedback.student_page(row, title))
        cells = (row.submission.student, " ".join(row.submission.identifiers))
        escaped = (gradebook.harmless(cell).replace('"', '""') for cell in cells)
        index.append(",".join([name, *(f'"{cell}"' for cell in escaped)]))
    write(out / "feedback.csv", "\n".join(index) + "\n")
    write(out / "questions.html", feedback.analysis(rows, title))
    if canvas is not None:
        write(out / "canvas.csv", gradebook.merged(canvas, rows, column or title, possible))
