"""The tables of the chapter `gradient_flow`."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from ntklab import gradient_flow, networks

from experiments import Experiment, Row


def train(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """What networks of independent starts predict between the points that they are trained on."""
    network = networks.mlp(
        (settings["width"], 1),
        activation=settings["activation"],
        w_std=settings["w_std"],
        b_std=settings["b_std"],
    )
    x, new = (jnp.asarray(settings[name])[:, None] for name in ("x", "x_new"))
    y = jnp.asarray(settings["y"])
    seeds = range(*task["seeds"])

    def member(key: jax.Array) -> jax.Array:
        params = network.init(key, 1)
        end = gradient_flow.network_descent(
            network.apply, params, x, y, settings["steps"], step_size=settings["step_size"]
        )
        return network.apply(end, new)[:, 0]

    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    predictions = jax.jit(jax.vmap(member))(keys)
    for seed, row in zip(seeds, predictions, strict=True):
        for place, value in zip(settings["x_new"], row, strict=True):
            yield {"seed": seed, "x": place, "prediction": f"{float(value):.4f}"}


SEEDS, BATCH = 300, 20
NEW = [round(-3 + 0.25 * i, 2) for i in range(25)]
EXPERIMENTS = [
    Experiment(
        "trained_ensemble",
        "Wide erf networks of independent starts, trained by gradient descent on five points",
        {
            "width": 4096,
            "activation": "erf",
            "w_std": 1.5,
            "b_std": 0.3,
            "x": [-1.5, -0.8, 0.0, 0.7, 1.4],
            "y": [-0.14, -1.0, 0.0, 0.99, 0.33],
            "x_new": NEW,
            "step_size": 0.1,
            "steps": 2500,
        },
        [{"seeds": (start, start + BATCH)} for start in range(0, SEEDS, BATCH)],
        train,
        {
            "seed": "of the start",
            "x": "input",
            "prediction": "of the trained network at x",
        },
        rows=len(NEW),
    )
]
