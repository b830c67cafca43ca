"""The tables of the chapter `sparse_parities`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ntklab import sparse_parities

from experiments import Experiment, Row


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


def wait(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """When the runs of one alpha first have a test loss below a quarter."""
    seeds = range(*task["seeds"])
    curves = sparse_parities.train_on_parity(seeds=seeds, alpha=task["alpha"], **settings)
    for seed, losses in zip(seeds, np.asarray(curves.losses), strict=True):
        below = curves.steps[losses < 0.25]
        yield {"alpha": task["alpha"], "seed": seed, "step": int(below[0]) if len(below) else "inf"}


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
        rows=16,
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
        rows=30,
    ),
    Experiment(
        "parity_linearized",
        "The expansions of the same networks at their starts, on the same data",
        {**FIGURE_2, "batch_size": 1024, "steps": 6000, "evaluations": 30, "linearized": True},
        [
            {"alpha": alpha, "learning_rate": rate, "seeds": (0, 4)}
            for alpha in (0.5, 0.25)
            for rate in (1e-2, 1e-3, 1e-4)
        ],
        train,
        {"alpha": "share of biased inputs", "learning_rate": "of Adam", **MEASURED},
        rows=30,
    ),
    Experiment(
        "parity_waiting",
        "When the networks of Figure 2 first have a test loss below a quarter, in 40 000 steps",
        {**FIGURE_2, "batch_size": 1024, "steps": 40_000, "evaluations": 200},
        [{"alpha": alpha, "seeds": (0, 20)} for alpha in (0.5, 0.375, 0.25, 0.1875, 0.125)],
        wait,
        {
            "alpha": "share of biased inputs",
            "seed": MEASURED["seed"],
            "step": "the first of the evaluations, one in 200 steps, below a quarter; or inf",
        },
    ),
]
