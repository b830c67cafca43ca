"""The judge: asks a submission in its sandbox, compares here, and believes nothing but numbers."""

import builtins
import contextlib
import hashlib
import hmac
import secrets
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, process_time
from typing import Any

from ntklab.coursework import repeatable

from grading import protocol
from grading.questions import Case, Question
from grading.sandbox import Limits, Sandbox, sandbox

STATES = ("malformed", "ungradable", "timeout", "crash", "partial", "wrong", "ok")
#: So many calls of a question may hang; the others then wait no longer.
HANGS = 2
#: The longest line of a test's message that is kept.
LONGEST_MESSAGE = 300


class Lost(BaseException):
    """A question that got no answer: no test can take it for an exception of the answer's."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True)
class Verdict:
    """What came of one test: `passed`, `wrong`, `raised`, `missing`, `timeout` or `crash`."""

    case: str
    hidden: bool
    points: float
    kind: str
    message: str


@dataclass
class Answer:
    """What came of one question."""

    name: str
    possible: float
    score: float
    verdicts: list[Verdict]


@dataclass
class Grade:
    """What came of one submission."""

    state: str
    score: float
    possible: float
    answers: list[Answer]
    note: str = ""
    seconds: float = 0.0
    processor: float = 0.0
    memory: int = 0
    processes: int = 0
    late: int = 0

    def as_data(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    @staticmethod
    def from_data(data: dict[str, Any]) -> "Grade":
        """What `as_data` gave."""
        answers = [
            Answer(**{**answer, "verdicts": [Verdict(**item) for item in answer["verdicts"]]})
            for answer in data["answers"]
        ]
        return Grade(**{**data, "answers": answers})


def seed(secret: bytes, content: bytes, question: str) -> bytes:
    """What the inputs of a question are drawn from: only who knows the secret can foresee them."""
    message = hashlib.sha256(content).digest() + question.encode()
    return hmac.new(secret, message, hashlib.sha256).digest()


class Malformed(Exception):
    """The runner found no notebook in the submission."""


@dataclass
class Examination:
    """One submission and the processes that it gets, one after another."""

    notebook: Path
    limits: Limits
    slot: int = 0
    core: int | None = None
    filling: bool = False
    skipped: set[int] = field(default_factory=set)
    processes: int = 0
    ran: int = 0
    late: int = 0
    processor: float = 0.0
    memory: int = 0
    asked: int = 0  # questions in the process that lives
    hung: int = 0  # calls of this question
    failures: list[str] = field(default_factory=list)
    box: Sandbox | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _ends: float = 0.0
    _question_ends: float = 0.0

    def __enter__(self) -> "Examination":
        self._ends = monotonic() + self.limits.total
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process that lives, if one does."""
        box, self.box = self.box, None
        self._stack.close()
        self._stack = contextlib.ExitStack()
        if box is not None:
            self.processor += box.seconds
            self.memory = max(self.memory, box.peak)

    def start(self) -> None:
        """Have a process that has run the notebook and waits to be asked.

        A cell that ends its process, or does not end itself, is left out of the next one.

        Raises:
            Malformed: if it is no notebook.
            Lost: if no process is left, or no time.
        """
        while self.box is None:
            if monotonic() >= self._ends:
                raise Lost("timeout")
            if self.processes >= self.limits.attempts:
                raise Lost(self.failures[-1])
            self.processes += 1
            cell: int | None = None
            try:
                self.box = self._stack.enter_context(
                    sandbox(self.notebook, self.slot, self.limits, self.core, filling=self.filling)
                )
                self.asked = 0
                for begun in self._cells(self.box):
                    cell = begun
            except (protocol.Ended, protocol.Broken):
                self._failed(self._why(), cell)
            except protocol.Overdue:
                self._failed("timeout", cell)

    def _why(self) -> str:
        return "timeout" if self.box is not None and self.box.too_long else "crash"

    def _failed(self, kind: str, cell: int | None) -> None:
        self.failures.append(kind)
        if cell is not None:
            self.skipped.add(cell)
        self.close()

    def _cells(self, box: Sandbox) -> Iterator[int]:
        """The cells as they begin, until all have run."""
        ends = min(monotonic() + self.limits.notebook, self._ends)
        deadline = ends
        skip = struct.pack(f"<{len(self.skipped)}I", *sorted(self.skipped))
        box.channel.send(deadline, protocol.START, 0, skip)
        for _ in range(self.limits.cells + 1):
            kind, number, payload = box.channel.receive(deadline, protocol.ANSWERS)
            if kind == protocol.CELL and number < self.limits.cells and not payload:
                box.allow(self.limits.cell)
                # One that works no more, but waits or has stopped itself, loses only itself.
                deadline = min(monotonic() + self.limits.patience * self.limits.cell, ends)
                yield number
            elif kind == protocol.MALFORMED and not payload:
                causes = {1: "no notebook can be read in it", 2: "it has too many cells"}
                raise Malformed(causes.get(number, "it is no notebook"))
            elif kind == protocol.READY and len(payload) == 4:
                self.ran = number
                self.late = struct.unpack("<I", payload)[0]
                return
            else:
                break
        raise protocol.Broken("no frame of a notebook that runs")

    def begin(self) -> None:
        """A question begins, with its own time."""
        self.start()
        self.asked += 1
        self.hung = 0
        self._question_ends = min(monotonic() + self.limits.question, self._ends)

    def call(self, name: str, *values: Any, **options: Any) -> Any:
        """What a function of the student's gives.

        Raises:
            Lost: if it gives nothing: no time is left, or its process has ended.
            AssertionError: if there is no such function, or what it gives is no number.
            Exception: of the class that it raised, without its text.
        """
        if self.box is not None and self.hung >= HANGS:
            raise Lost("timeout")
        if self.box is None:
            raise Lost(self.failures[-1] if self.failures else "crash")
        sent = [protocol.plain(value) if not isinstance(value, str) else value for value in values]
        sent += [
            protocol.plain(value) if not isinstance(value, str) else value
            for value in options.values()
        ]
        payload = protocol.encode([name, ",".join(options), *sent], several=True)
        number = secrets.randbits(64)
        seconds = self.limits.call + self.limits.grace
        deadline = min(monotonic() + self.limits.patience * seconds, self._question_ends)
        try:
            self.box.allow(seconds)
            self.box.channel.send(deadline, protocol.CALL, number, payload)
            what, echoed, answer = self.box.channel.receive(deadline, protocol.ANSWERS)
            if echoed != number:
                raise protocol.Broken("an answer to another call")
            return self._answer(name, what, answer)
        except (protocol.Ended, protocol.Broken):
            kind = self._why()
            self._failed(kind, None)
            raise Lost(kind) from None
        except protocol.Overdue:
            self._failed("timeout", None)
            raise Lost("timeout") from None

    def _answer(self, name: str, kind: int, answer: bytes) -> Any:
        if kind == protocol.RETURNED:
            values, several = protocol.decode(answer)
            return tuple(values) if several else values[0]
        if kind == protocol.NOTHING and not answer:
            return None
        if kind == protocol.LATE and not answer:
            self.hung += 1
            raise Lost("timeout")
        if kind == protocol.MISSING and not answer:
            raise _Told("missing", f"there is no function {name}")
        if kind == protocol.UNUSABLE and not answer:
            raise _Told("wrong", f"{name} must return real numbers, or arrays of them")
        if kind == protocol.RAISED and len(answer) == 1 and answer[0] < len(protocol.EXCEPTIONS):
            raise _raised(name, protocol.EXCEPTIONS[answer[0]])
        raise protocol.Broken("no answer to a call")


class _Told(AssertionError):
    """What the judge itself has to say about an answer."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _raised(name: str, kind: str) -> Exception:
    """An exception of the class that the student's function raised, marked as such."""
    cls = getattr(builtins, kind)
    if not issubclass(cls, Exception) or cls in (StopIteration, AssertionError):
        return _Told("raised", f"{name} raised {kind}")
    error = cls(f"{name} raised {kind}")
    error.__dict__["from_submission"] = kind
    return error


def _verdict(case: Case, examination: Examination) -> Verdict:
    """Run one test."""

    def remote(name: str) -> Callable[..., Any]:
        return lambda *values, **options: examination.call(name, *values, **options)

    kind, message = "passed", case.success
    try:
        case.test(*[remote(name) for name in case.functions])
    except _Told as told:
        kind, message = told.kind, str(told)
    except AssertionError as error:
        # A message that begins with a line break is NumPy's, with both arrays in it.
        first = str(error).split("\n", 1)[0].strip()[:LONGEST_MESSAGE]
        kind, message = "wrong", first or case.failure or "the answer is off"
    except Lost as lost:
        kind = lost.kind
        message = {
            "timeout": "no answer within the time that a question has",
            "crash": "the process ended before it answered",
        }[kind]
    except Exception as error:
        kind = "wrong"
        message = "the answer has a form with which the test cannot calculate"
        if thrown := getattr(error, "from_submission", None):
            kind, message = "raised", f"the answer raised {thrown}"
    return Verdict(case.name, case.hidden, float(case.points or 0), kind, message)


def _asked(question: Question, examination: Examination, draw: bytes) -> list[Verdict]:
    """The verdicts of one question.

    Whoever finds the process spoilt by an earlier question gets one of its own.
    """
    while True:
        try:
            examination.begin()
        except Lost as lost:
            message = "the notebook left no process that could be asked"
            return [
                Verdict(case.name, case.hidden, float(case.points or 0), lost.kind, message)
                for case in question.cases
            ]
        first, failed = examination.asked == 1, len(examination.failures)
        with repeatable(draw):
            verdicts = [_verdict(case, examination) for case in question.cases]
        spoilt = len(examination.failures) > failed and not first
        if not spoilt or examination.processes >= examination.limits.attempts:
            return verdicts


def _state(answers: Sequence[Answer]) -> str:
    score, possible = (sum(getattr(a, key) for a in answers) for key in ("score", "possible"))
    if score >= possible:
        return "ok"
    if score > 0:
        return "partial"
    kinds = {verdict.kind for answer in answers for verdict in answer.verdicts}
    return next((kind for kind in ("timeout", "crash") if kind in kinds), "wrong")


def grade(
    content: bytes,
    questions: Sequence[Question],
    secret: bytes,
    limits: Limits,
    slot: int = 0,
    core: int | None = None,
    *,
    filling: bool = False,
) -> Grade:
    """Grade one notebook, whatever it does."""
    possible = sum(question.points for question in questions)
    began, used = monotonic(), process_time()

    def nothing(state: str, note: str) -> Grade:
        empty = [Answer(question.name, question.points, 0.0, []) for question in questions]
        return Grade(state, 0.0, possible, empty, note)

    if len(content) > limits.upload:
        return nothing("malformed", f"it is larger than {limits.upload >> 20} MB")
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        # A name that tells nothing: the place of a mount can be seen inside.
        place = Path(folder, "notebook")
        place.write_bytes(content)
        place.chmod(0o444)
        with Examination(place, limits, slot, core, filling) as examination:
            graded: Grade
            try:
                answers = []
                with contextlib.suppress(Lost):
                    examination.start()
                for question in questions:
                    verdicts = _asked(question, examination, seed(secret, content, question.name))
                    got = sum(item.points for item in verdicts if item.kind == "passed")
                    if question.all_or_nothing and got < question.points:
                        got = 0.0
                    answers.append(Answer(question.name, question.points, got, verdicts))
                score = sum(answer.score for answer in answers)
                graded = Grade(_state(answers), score, possible, answers)
                if not examination.ran and not examination.failures:
                    graded = nothing("ungradable", "no statement of it ran")
                elif examination.skipped:
                    left_out = ", ".join(str(cell + 1) for cell in sorted(examination.skipped))
                    graded.note = f"run without code cells {left_out}, which ended the process"
            except Malformed as malformed:
                graded = nothing("malformed", str(malformed))
    graded.seconds = monotonic() - began
    # In a process of its own, as in a batch, the judge's part is what this process has used.
    graded.processor = examination.processor + process_time() - used
    graded.memory = examination.memory
    graded.processes, graded.late = examination.processes, examination.late
    return graded
