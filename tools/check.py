"""Run every check of the repository, go on after a failure, and close with counts and budgets.

`python tools/check.py [PART ...]`; all parts without arguments.
"""

import argparse
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from project import BUILD, ROOT, chapters, record, timings

REPORTS = BUILD / "reports"
CHAPTER_BUDGET, BOOK_BUDGET, TEST_BUDGET = 60, 240, 480  # seconds on two processor cores


@dataclass(frozen=True)
class Part:
    """One check: its command, run by this Python; with pytest, its tests are counted."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def report(self) -> Path | None:
        """Where pytest counts; None for a command that passes or fails as a whole."""
        return REPORTS / f"{self.name}.xml" if "pytest" in self.command else None

    def run(self) -> "Outcome":
        """Run the command, its output going straight through."""
        extra = []
        if self.report:
            # An earlier run's counts must not stand in for a run that never came to its tests.
            self.report.unlink(missing_ok=True)
            extra = [f"--junitxml={self.report}"]
        print(f"\n=== {self.name}", flush=True)
        start = perf_counter()
        code = subprocess.run(
            [sys.executable, *self.command, *extra],
            cwd=ROOT,
            env={**os.environ, **self.environment},
        ).returncode
        seconds = perf_counter() - start
        passed, failed = count(self.report) if self.report else (0, 0)
        if code and not failed:
            failed = 1
        elif not code and not self.report:
            passed = 1
        return Outcome(self.name, seconds, passed, failed)


@dataclass(frozen=True)
class Outcome:
    """What one check came to."""

    name: str
    seconds: float
    passed: int
    failed: int


PYTEST = ["-m", "pytest", "-q"]
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-sanitize-with=tools/nbval.cfg"]
# The examples of the docstrings, and the failing cases that the errata show.
DOCTEST = ["--doctest-modules", "--doctest-glob=*.md", "book/reference/errata.md"]
PARTS = [
    Part("lint", ["-m", "ruff", "check", "--quiet", "."]),
    Part("format", ["-m", "ruff", "format", "--check", "."]),
    Part("types", ["-m", "mypy"]),
    Part(
        "unit64",
        [*PYTEST, "-n", "2", "tests", "-m", "not (site or colab or once)"],
        {"JAX_ENABLE_X64": "1"},
    ),
    Part(
        "unit32",
        [*PYTEST, "-n", "2", "tests", "lib", *DOCTEST, "-m", "not (site or colab or once)"],
    ),
    # Alone on the processor: players that play, and scripts that are watched.
    Part("once", [*PYTEST, "tests", "-m", "once"], {"JAX_ENABLE_X64": "1"}),
    Part("ledger", ["-m", "ntklab.results"]),
    # The kernel's own libraries warn; what a chapter writes to stderr is a fault of its own.
    Part("notebooks", [*PYTEST, "book", *NBVAL, "-o", "filterwarnings=default"]),
    Part("book", ["tools/book.py"]),
    Part("site", [*PYTEST, "tests", "-m", "site"]),
    Part("colab", [*PYTEST, "tests", "-m", "colab"]),
]


def count(report: Path) -> tuple[int, int]:
    """The tests that passed and that failed, as pytest's report counts them."""
    if not report.exists():
        return 0, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    total = failed = 0
    for suite in suites:
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        total += int(suite.get("tests", 0)) - int(suite.get("skipped", 0))
    return total - failed, failed


def print_budgets() -> None:
    """Measured seconds against what is allowed; to be read, never asserted."""
    budgets = {f"chapter {path.stem}": CHAPTER_BUDGET for path in chapters()}
    budgets |= {"make book": BOOK_BUDGET, "make test": TEST_BUDGET}
    measured = timings()
    print(f"\n{'':<28}{'measured':>10}{'budget':>10}")
    for name, budget in budgets.items():
        seconds = measured.get(name)
        shown = "-" if seconds is None else f"{seconds:.1f} s"
        over = "  over" if seconds is not None and seconds > budget else ""
        print(f"{name:<28}{shown:>10}{budget:>8} s{over}")


def main() -> int:
    """Run the parts asked for, in the order of PARTS."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = " ".join(part.name for part in PARTS)
    parser.add_argument("part", nargs="*", help=names)
    asked = parser.parse_args().part
    if unknown := set(asked) - {part.name for part in PARTS}:
        parser.error(f"no such part: {', '.join(unknown)}; there are {names}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    start = perf_counter()
    outcomes = [part.run() for part in PARTS if not asked or part.name in asked]
    if not asked:
        record({"make test": perf_counter() - start})
    print("\n=== summary")
    for outcome in outcomes:
        verdict = f"{outcome.failed} failed" if outcome.failed else "passed"
        print(f"{outcome.name:<12}{outcome.seconds:>8.1f} s   {verdict}")
    print_budgets()
    passed, failed = (sum(getattr(o, key) for o in outcomes) for key in ("passed", "failed"))
    print(f"\n{passed} passed, {failed} failed in {sum(o.seconds for o in outcomes):.1f}s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
