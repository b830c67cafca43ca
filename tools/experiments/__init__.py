"""What is too long for a notebook: tables of the chapters, computed into book/data/ task by task.

`python -m experiments [NAME ...]`; all experiments without arguments. Each writes a table,
NAME.csv, and beside it NAME.json with the settings, seeds, versions and the command. A run that was
interrupted goes on where it stopped; a table made with other settings is refused, not extended.

A chapter's experiments are the list EXPERIMENTS of the module here that has the chapter's name.
"""

import argparse
import csv
import importlib
import importlib.metadata
import io
import json
import pkgutil
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from project import ROOT, Obstacle, read, write
from tqdm import tqdm  # type: ignore[import-untyped]

DATA = ROOT / "book" / "data"

Row = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """A table and how to compute it.

    Attributes:
        name: of its files.
        about: what it measures, in a sentence.
        settings: what all rows share; passed to `compute`.
        tasks: what is computed at once; each task's columns identify its rows. `seeds` are the
            first and the one after the last of the column `seed`.
        compute: the rows of a task.
        columns: what each column of the table means.
        rows: how many a task has, for each of its seeds if it has seeds.
        precision: the floating-point type.
    """

    name: str
    about: str
    settings: dict[str, Any]
    tasks: Sequence[Row]
    compute: Callable[[dict[str, Any], Row], Iterator[Row]]
    columns: dict[str, str]
    rows: int = 1
    precision: str = "float32"

    def size(self, task: Row) -> int:
        """How many rows a task has."""
        return self.rows * len(range(*task.get("seeds", (0, 1))))

    @property
    def table(self) -> Path:
        """Where the rows are."""
        return DATA / f"{self.name}.csv"

    @property
    def provenance(self) -> Path:
        """Where it is written how the rows were made."""
        return DATA / f"{self.name}.json"


def all_experiments() -> list[Experiment]:
    """Those of all chapters."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [
        importlib.import_module(f"{__name__}.{name}") for name in names if name != "__main__"
    ]
    return [experiment for module in modules for experiment in module.EXPERIMENTS]


def versions() -> dict[str, str]:
    """The versions that numbers can depend on."""
    found = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "optax")}
    return {"python": platform.python_version(), **found, "machine": platform.machine()}


def description(experiment: Experiment) -> dict[str, Any]:
    """What stands beside the table; from JSON and back, so that it compares with a stored one."""
    described = {
        "about": experiment.about,
        "command": f"make experiments EXPERIMENT={experiment.name}",
        "settings": experiment.settings,
        "tasks": list(experiment.tasks),
        "columns": experiment.columns,
        "precision": experiment.precision,
    }
    return dict(json.loads(json.dumps(described)))


def stored_rows(experiment: Experiment) -> list[Row]:
    """The rows of the table that are whole.

    The last line of a table that was cut has no end, or lacks entries: it is left out.
    """
    if not experiment.table.exists():
        return []
    lines = read(experiment.table).splitlines(keepends=True)
    head, *entries = list(csv.reader(line for line in lines if line.endswith("\n"))) or [[]]
    if head and head != list(experiment.columns):
        raise Obstacle(f"{experiment.table}: has other columns; to compute it anew, remove it")
    return [
        dict(zip(head, values, strict=True))
        for values in entries
        if len(values) == len(head) and all(values)
    ]


def rows_of(task: Row, rows: Sequence[Row]) -> list[Row]:
    """The rows among these that belong to a task."""
    fixed = {name: str(value) for name, value in task.items() if name != "seeds"}
    seeds = {str(seed) for seed in range(*task["seeds"])} if "seeds" in task else None
    return [
        row
        for row in rows
        if fixed.items() <= row.items() and (seeds is None or row["seed"] in seeds)
    ]


def finished(experiment: Experiment) -> list[list[Row] | None]:
    """For each task the rows that the table has of it; None unless it has them all."""
    stored = stored_rows(experiment)
    found: list[list[Row] | None] = []
    for task in experiment.tasks:
        rows = rows_of(task, stored)
        found.append(rows if len(rows) == experiment.size(task) else None)
    return found


def store(experiment: Experiment, tasks: Sequence[list[Row] | None]) -> None:
    """Write the table anew, with the rows of the tasks that are finished, in the tasks' order."""
    text = io.StringIO()
    writer = csv.DictWriter(text, experiment.columns, lineterminator="\n")
    writer.writeheader()
    for rows in tasks:
        writer.writerows(rows or [])
    write(experiment.table, text.getvalue())


def stored_provenance(experiment: Experiment) -> dict[str, Any] | None:
    """How the stored rows were made; None if there are none yet."""
    anew = f"to compute it anew, remove it and {experiment.table.name}"
    if not experiment.provenance.exists():
        if experiment.table.exists():
            raise Obstacle(f"{experiment.table}: nothing says how it was made; remove it")
        return None
    try:
        stored = json.loads(read(experiment.provenance))
    except ValueError as error:
        raise Obstacle(f"{experiment.provenance}: not whole ({error}); {anew}") from error
    described = description(experiment)
    if {name: stored.get(name) for name in described} != described:
        raise Obstacle(f"{experiment.provenance}: made with other settings; {anew}")
    return dict(stored)


def run(experiment: Experiment) -> None:
    """Compute the tasks that are missing, each stored as a whole when it ends."""
    stored = stored_provenance(experiment)
    tasks = finished(experiment)
    if None not in tasks:
        print(f"{experiment.name}: complete, {sum(len(rows or []) for rows in tasks)} rows")
        return
    if stored and stored["versions"] != versions():
        print(f"{experiment.name}: the rows so far were made with {stored['versions']}")
    DATA.mkdir(exist_ok=True)
    described = {**description(experiment), "versions": versions()}
    write(experiment.provenance, json.dumps(described, indent=1) + "\n")
    missing = [index for index, rows in enumerate(tasks) if rows is None]
    for index in tqdm(missing, desc=experiment.name, unit="task"):
        task = experiment.tasks[index]
        with jax.enable_x64(experiment.precision == "float64"):
            computed = list(experiment.compute(experiment.settings, task))
        if len(computed) != experiment.size(task):
            raise ValueError(
                f"{experiment.name}: {task} must have {experiment.size(task)} rows, "
                f"got {len(computed)}"
            )
        # Another run may have stored tasks of its own meanwhile.
        tasks = finished(experiment)
        tasks[index] = computed
        store(experiment, tasks)


def main() -> int:
    """Run the experiments asked for, those of a chapter in the order of its list."""
    experiments = all_experiments()
    names = [experiment.name for experiment in experiments]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=" ".join(names))
    asked = parser.parse_args().name
    if unknown := set(asked) - set(names):
        parser.error(f"no such experiment: {', '.join(unknown)}; there are {' '.join(names)}")
    for experiment in experiments:
        if not asked or experiment.name in asked:
            run(experiment)
    return 0
