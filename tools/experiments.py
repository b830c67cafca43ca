"""Compute what is too long for a notebook into book/data/, row by row.

`python tools/experiments.py [NAME ...]`; all experiments without arguments. Each writes a table,
NAME.csv, and beside it NAME.json with the settings, seeds, versions and the command. A run that was
interrupted goes on where it stopped; a table made with other settings is refused, not extended.
"""

import argparse
import csv
import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ntklab import sparse_parities
from project import ROOT
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
        tasks: what is computed at once; each task's columns identify its rows.
        compute: the rows of a task.
        columns: what each column of the table means.
        precision: the floating-point type.
    """

    name: str
    about: str
    settings: dict[str, Any]
    tasks: Sequence[Row]
    compute: Callable[..., Iterator[Row]]
    columns: dict[str, str]
    precision: str = "float32"

    @property
    def table(self) -> Path:
        """Where the rows are."""
        return DATA / f"{self.name}.csv"

    @property
    def provenance(self) -> Path:
        """Where it is written how the rows were made."""
        return DATA / f"{self.name}.json"


def train(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """Training curves of one task: a value of alpha or a batch size, and some seeds."""
    varied = {name: value for name, value in task.items() if name != "seeds"}
    arguments = {**settings, **varied}
    samples = arguments.pop("samples", None)
    if samples is not None:
        arguments["steps"] = samples // arguments["batch_size"]
    seeds = range(*task["seeds"])
    curves = sparse_parities.train_on_parity(seeds=seeds, **arguments)
    for seed, losses, accuracies in zip(seeds, curves.losses, curves.accuracies, strict=True):
        for step, loss, accuracy in zip(curves.steps, losses, accuracies, strict=True):
            yield {
                **varied,
                "seed": seed,
                "step": int(step),
                "loss": f"{float(loss):.5f}",
                "accuracy": f"{float(accuracy):.4f}",
            }


def search_scale(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """The largest scale of the selector that climbs along the gradient find."""
    found, _ = sparse_parities.largest_scale(
        task["n"], repaired=task["model"] == "repaired", **settings
    )
    yield {**task, "scale": f"{float(found):.6g}"}


MEASURED = {
    "seed": "of the start, the batches and the test inputs",
    "step": "of Adam",
    "loss": "square loss, half the mean of (f - y) squared, on the test inputs",
    "accuracy": "share of the test inputs whose sign is right",
}
FIGURE_2 = {"n": 128, "k": 7, "width": 128, "learning_rate": 0.01, "test_size": 8192}
EXPERIMENTS = [
    Experiment(
        "selector_scale",
        "The largest gradient of the selector model, printed and repaired, found by search",
        {"starts": 32, "steps": 200, "seed": 0},
        [{"n": n, "model": "printed"} for n in (2, 4, 8, 16, 32, 64, 128)]
        + [{"n": n, "model": "repaired"} for n in (2, 4, 8, 16, 32, 64, 128, 256, 512)],
        search_scale,
        {
            "n": "number of coordinates",
            "model": "printed or repaired",
            "scale": "the largest value found of the norm of (gradient, output)",
        },
        precision="float64",
    ),
    Experiment(
        "parity_batch_sizes",
        "Which batch size learns a biased sparse parity, at equal numbers of samples",
        {**FIGURE_2, "alpha": 0.5, "samples": 2**23, "evaluations": 16},
        [
            {"batch_size": size, "seeds": (start, start + 2)}
            for size in (4096, 2048, 1024, 512, 256)
            for start in (0, 2)
        ],
        train,
        {"batch_size": "examples a step", **MEASURED},
    ),
    Experiment(
        "parity_training",
        "Two-layer ReLU networks on biased sparse parities: M21, Figure 2",
        {**FIGURE_2, "batch_size": 1024, "steps": 6000, "evaluations": 30},
        [
            {"alpha": alpha, "seeds": (start, start + 4)}
            for start in range(0, 20, 4)
            for alpha in (0.5, 0.375, 0.25, 0.125, 0.0)
        ],
        train,
        {"alpha": "share of biased inputs", **MEASURED},
    ),
]


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
    """The rows computed so far."""
    if not experiment.table.exists():
        return []
    with experiment.table.open(newline="") as file:
        return list(csv.DictReader(file))


def is_done(task: Row, rows: Sequence[Row]) -> bool:
    """Whether the task stands in the table: with its last seed it has all before it."""
    wanted = {name: str(value) for name, value in task.items() if name != "seeds"}
    if "seeds" in task:
        wanted["seed"] = str(task["seeds"][1] - 1)
    return any(wanted.items() <= row.items() for row in rows)


def run(experiment: Experiment) -> None:
    """Compute the tasks that are missing, a task's rows written in one piece."""
    described = description(experiment)
    if experiment.provenance.exists():
        stored = json.loads(experiment.provenance.read_text())
        if {name: stored.get(name) for name in described} != described:
            sys.exit(
                f"{experiment.provenance.name}: made with other settings; to compute it anew, "
                f"remove it and {experiment.table.name}"
            )
        versions_then = stored["versions"]
        if versions_then != versions():
            print(f"{experiment.name}: the rows so far were made with {versions_then}")
    DATA.mkdir(exist_ok=True)
    described["versions"] = versions()
    rows = stored_rows(experiment)
    missing = [task for task in experiment.tasks if not is_done(task, rows)]
    if not missing:
        print(f"{experiment.name}: complete, {len(rows)} rows")
        return
    experiment.provenance.write_text(json.dumps(described, indent=1) + "\n")
    for task in tqdm(missing, desc=experiment.name, unit="task"):
        with jax.enable_x64(experiment.precision == "float64"):
            computed = list(experiment.compute(experiment.settings, task))
        with experiment.table.open("a", newline="") as file:
            writer = csv.DictWriter(file, experiment.columns, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerows(computed)


def main() -> None:
    """Run the experiments asked for, in the order of EXPERIMENTS."""
    names = [experiment.name for experiment in EXPERIMENTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=" ".join(names))
    asked = parser.parse_args().name
    if unknown := set(asked) - set(names):
        parser.error(f"no such experiment: {', '.join(unknown)}; there are {' '.join(names)}")
    for experiment in EXPERIMENTS:
        if not asked or experiment.name in asked:
            run(experiment)


if __name__ == "__main__":
    main()
