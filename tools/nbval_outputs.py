"""A plugin for pytest: the notebooks whose outputs nbval confirms need no second execution.

`pytest -p nbval_outputs book --nbval`: where every cell of a notebook passes, its committed outputs
go to the book's cache, and the time of its cells to the budgets.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from project import ROOT, record

from book import forget_stale_outputs, keep_outputs


class Confirmed:
    """Collects, notebook by notebook, what nbval says of its cells."""

    def __init__(self) -> None:
        self.seconds: defaultdict[Path, float] = defaultdict(float)
        self.refuted: set[Path] = set()

    def pytest_sessionstart(self) -> None:
        """What is kept belongs to the library as it is now, should a file change meanwhile."""
        forget_stale_outputs()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """A notebook that runs in part is not confirmed."""
        self.refuted.update(_notebook(item.nodeid) for item in items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of one cell."""
        notebook = _notebook(report.nodeid)
        self.seconds[notebook] += report.duration  # the first cell's includes the kernel's start
        if not report.passed:
            self.refuted.add(notebook)

    def pytest_sessionfinish(self) -> None:
        """Keep the outputs that no cell has refuted."""
        for notebook, seconds in self.seconds.items():
            if notebook not in self.refuted:
                keep_outputs(notebook, seconds)
                record({f"chapter {notebook.stem}": seconds})


def _notebook(nodeid: str) -> Path:
    return ROOT / nodeid.split("::")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Register with pytest."""
    config.pluginmanager.register(Confirmed())
