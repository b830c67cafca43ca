"""Run every check of the repository, go on after a failure, and close with counts and budgets.

`python tools/check.py [PART ...]`; all parts without arguments. Two parts run at a time, and each
shows its output as a whole when it ends.
"""

import argparse
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from project import BUILD, ROOT, chapters, one_pass, record, run_tool, timings

REPORTS = BUILD / "reports"
WORKERS = 2  # parts at a time, each of which keeps about one processor core busy
# Seconds on two processor cores: for executing a chapter, for the tests with each chapter there is,
# and for the book.
CHAPTER_BUDGET, TESTS_OF_A_CHAPTER, BOOK_BUDGET = 60, 120, 300


@dataclass(frozen=True)
class Outcome:
    """What one check came to, and all that it printed."""

    name: str
    seconds: float
    passed: int
    failed: int
    skipped: int
    output: str

    @property
    def verdict(self) -> str:
        """In a few words; what was skipped is named, for it was not checked."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return (f"{self.failed} failed" if self.failed else "passed") + skipped


@dataclass(frozen=True)
class Part:
    """One check: its command, run by this Python; with pytest, its tests are counted.

    `after` names the parts whose results it uses; where they are asked for too, it waits for them.
    """

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()

    @property
    def report(self) -> Path | None:
        """Where pytest counts; None for a command that passes or fails as a whole."""
        return REPORTS / f"{self.name}.xml" if "pytest" in self.command else None

    def run(self, needed: Sequence[Future[Outcome]]) -> Outcome:
        """Run the command when what it needs has ended, well or not."""
        wait(needed)
        extra = []
        if self.report:
            # An earlier run's counts must not stand in for a run that never came to its tests.
            self.report.unlink(missing_ok=True)
            extra = [f"--junitxml={self.report}"]
        say(f"... {self.name}")
        start = perf_counter()
        done = subprocess.run(
            [sys.executable, *self.command, *extra],
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        seconds = perf_counter() - start
        passed, failed, skipped = count(self.report) if self.report else (0, 0, 0)
        if done.returncode and not failed:
            failed = 1
        elif not done.returncode and not self.report:
            passed = 1
        return Outcome(self.name, seconds, passed, failed, skipped, done.stdout)


def say(text: str) -> None:
    """Print a line, or a block, in one piece: parts that run side by side share the screen."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


PYTEST = ["-m", "pytest", "-q"]
EVERYWHERE = ["-m", "not (site or colab or once)"]
UNIT_TESTS = ["tests", *EVERYWHERE]
REPOSITORY = "tests/test_repository.py"
# The examples of the docstrings, and the failing cases that the errata show.
DOCTEST = ["--doctest-modules", "--doctest-glob=*.md", "book/reference/errata.md"]
# The unit tests compile thousands of programs to run each once on a few numbers. The chapters,
# which compute at length, keep the better half of the optimizations.
UNIT, BOOK = one_pass(level=0), one_pass(level=1)
X64 = {"JAX_ENABLE_X64": "1"}
# The longest first, after what they wait for: both workers end together.
PARTS = [
    Part("book", ["tools/book.py", "--as-stored"]),
    Part("unit64", [*PYTEST, *UNIT_TESTS, "--ignore=tests/test_ledger.py"], UNIT | X64),
    # The copies that `book` has made, each run once, with nbval.
    Part("notebooks", [*PYTEST, "tests/test_colab.py"], BOOK, after=("book",)),
    Part("ledger", [*PYTEST, "tests/test_ledger.py", *EVERYWHERE], UNIT | X64),
    Part("unit32", [*PYTEST, *UNIT_TESTS, "lib", *DOCTEST], UNIT),
    Part("site", [*PYTEST, "tests", "-m", "site"], after=("book",)),
    # What does not depend on the floating-point mode: of the library, and of the repository.
    Part("once", [*PYTEST, "tests", "-m", "once", f"--ignore={REPOSITORY}"], UNIT | X64),
    Part("tools", [*PYTEST, REPOSITORY], UNIT),
    Part("types", ["-m", "mypy"]),
    Part("lint", ["-m", "ruff", "check", "--quiet", "."]),
    Part("format", ["-m", "ruff", "format", "--check", "."]),
]


def count(report: Path) -> tuple[int, int, int]:
    """The tests that passed, failed and were skipped, as pytest's report counts them."""
    if not report.exists():
        return 0, 0, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    total = failed = skipped = 0
    for suite in suites:
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
        total += int(suite.get("tests", 0))
    return total - failed - skipped, failed, skipped


def print_budgets() -> None:
    """Measured seconds against what is allowed; to be read, never asserted."""
    budgets = {f"chapter {path.stem}": CHAPTER_BUDGET for path in chapters()}
    budgets |= {"make book": BOOK_BUDGET, "make test": TESTS_OF_A_CHAPTER * len(chapters())}
    measured = timings()
    if {"rendering", *(f"chapter {path.stem}" for path in chapters())} <= measured.keys():
        # From nothing all chapters are executed, as many at a time as there are cores.
        executing = sum(measured[f"chapter {path.stem}"] for path in chapters())
        measured["make book"] = executing / (os.cpu_count() or 1) + measured["rendering"]
    print(f"\n{'':<28}{'measured':>10}{'budget':>10}")
    for name, budget in budgets.items():
        seconds = measured.get(name)
        shown = "-" if seconds is None else f"{seconds:.1f} s"
        over = "  over" if seconds is not None and seconds > budget else ""
        print(f"{name:<28}{shown:>10}{budget:>8} s{over}")


def run_all(parts: Sequence[Part]) -> list[Outcome]:
    """Run the parts, begun in their order, and show each one's output when it ends."""
    begun: dict[str, Future[Outcome]] = {}
    pool = ThreadPoolExecutor(WORKERS)
    try:
        for part in parts:
            needed = [begun[name] for name in part.after if name in begun]
            begun[part.name] = pool.submit(part.run, needed)
        for future in as_completed(begun.values()):
            outcome = future.result()
            say(f"\n=== {outcome.name}: {outcome.verdict}\n{outcome.output}")
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt nothing more is begun
    return [future.result() for future in begun.values()]


def main() -> int:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = " ".join(part.name for part in PARTS)
    parser.add_argument("part", nargs="*", help=names)
    asked = parser.parse_args().part
    if unknown := set(asked) - {part.name for part in PARTS}:
        parser.error(f"no such part: {', '.join(unknown)}; there are {names}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    start = perf_counter()
    outcomes = run_all([part for part in PARTS if not asked or part.name in asked])
    seconds = perf_counter() - start
    if not asked:
        record({"make test": seconds})
    print("=== summary")
    for outcome in outcomes:
        print(f"{outcome.name:<12}{outcome.seconds:>8.1f} s   {outcome.verdict}")
    print_budgets()
    passed, failed, skipped = (
        sum(getattr(outcome, key) for outcome in outcomes)
        for key in ("passed", "failed", "skipped")
    )
    unchecked = f", {skipped} skipped" if skipped else ""
    print(f"\n{passed} passed, {failed} failed in {seconds:.1f}s{unchecked}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_tool("test", main))
