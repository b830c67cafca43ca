"""The tests of a set, as otter writes them, without otter.

`tests/q1.py` of a built set holds functions under `@test_case(...)`. Each takes functions of the
student's by their names, calls them with arrays and scalars, and raises an AssertionError where an
answer is off.
"""

import inspect
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from project import Obstacle, read


@dataclass(frozen=True)
class Case:
    """One test of a question."""

    name: str
    points: float | None
    hidden: bool
    success: str
    failure: str
    test: Callable[..., None]

    @property
    def functions(self) -> list[str]:
        """The functions of the student's that it calls."""
        return list(inspect.signature(self.test).parameters)


@dataclass(frozen=True)
class Question:
    """One question: its tests in their order, each with its points."""

    name: str
    cases: tuple[Case, ...]
    all_or_nothing: bool

    @property
    def points(self) -> float:
        """The most that an answer can get."""
        return sum(case.points or 0 for case in self.cases)


def _decorator(
    name: str | None = None,
    points: float | None = None,
    hidden: bool = False,
    success_message: str | None = None,
    failure_message: str | None = None,
) -> Callable[[Callable[..., None]], Case]:
    """What a generated test file knows as `otter.test_files.test_case`."""

    def made(test: Callable[..., None]) -> Case:
        called = name or test.__name__
        return Case(called, points, hidden, success_message or "", failure_message or "", test)

    return made


_IMPORTING = threading.Lock()


def _executed(path: Path) -> dict[str, Any]:
    """The names of a test file, run with a stub in place of otter."""
    package, module = types.ModuleType("otter"), types.ModuleType("otter.test_files")
    module.__dict__["test_case"] = _decorator
    stubs = {"otter": package, "otter.test_files": module}
    names: dict[str, Any] = {"__name__": path.stem}
    with _IMPORTING:
        kept = {name: sys.modules.get(name) for name in stubs}
        sys.modules.update(stubs)
        try:
            exec(compile(read(path), path.name, "exec"), names)
        finally:
            for name, before in kept.items():
                del sys.modules[name]
                if before is not None:
                    sys.modules[name] = before
    return names


def _shared(points: Any, cases: list[Case]) -> list[Case]:
    """Points for all: what a question has beyond those of its tests, the others share evenly."""
    if isinstance(points, list):
        return [replace(case, points=value) for case, value in zip(cases, points, strict=True)]
    given = sum(case.points for case in cases if case.points is not None)
    open_ones = sum(case.points is None for case in cases)
    total = points if points is not None else given or 1
    share = max(total - given, 0) / open_ones if open_ones else 0
    return [replace(case, points=share) if case.points is None else case for case in cases]


def load(folder: Path) -> list[Question]:
    """The questions of a built set, in the order of their numbers.

    Raises:
        Obstacle: if there are none, or one that is not of this form.
    """
    paths = sorted(folder.glob("q*.py"), key=lambda path: (len(path.stem), path.stem))
    if not paths:
        raise Obstacle(f"no tests in {folder}: run make problem-sets first")
    questions = []
    for path in paths:
        try:
            names = _executed(path)
        except Exception as error:
            raise Obstacle(f"{path} does not run: {type(error).__name__}: {error}") from error
        cases = [value for value in names.values() if isinstance(value, Case)]
        if names.get("OK_FORMAT") is not False or not cases:
            raise Obstacle(f"{path} is no test file of otter's with OK_FORMAT = False")
        shared = _shared(names.get("points"), cases)
        whole = bool(names.get("all_or_nothing", False))
        questions.append(Question(str(names.get("name", path.stem)), tuple(shared), whole))
    return questions
