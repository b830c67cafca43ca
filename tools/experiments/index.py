"""What the landing page shows: a network, and the kernel of its start, on the same examples."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ntklab import lazy_training
from ntklab.gradient_flow import kernel_descent, network_descent
from ntklab.tangent_kernel import empirical_ntk

from experiments import Experiment, Row


def one_direction(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """Gradient descent on a target of one direction, by a network and in its tangent space."""
    model = lazy_training.relu_sum
    for seed in range(*task["seeds"]):
        rng = np.random.default_rng(seed)
        drawn = rng.normal(size=(settings["n"] + settings["shown"], settings["d"]))
        # A last coordinate that never changes gives the units their biases.
        x, x_new = jnp.split(
            jnp.asarray(np.pad(drawn, ((0, 0), (0, 1)), constant_values=settings["bias"])),
            [settings["n"]],
        )
        along = drawn[settings["n"] :, 0]
        y = jnp.sin(settings["frequency"] * x[:, 0])
        start = lazy_training.mirrored_start(
            jax.random.key(seed), settings["d"] + 1, pairs=settings["pairs"], std=settings["std"]
        )
        step = settings["step_size"] / settings["n"]
        path = network_descent(model, start, x, y, settings["steps"], step_size=step)
        network = jax.lax.map(lambda params, x_new=x_new: model(params, x_new), path)
        _, kernel = kernel_descent(
            empirical_ntk(model, start, x),
            y,
            settings["steps"],
            step_size=step,
            k_test=empirical_ntk(model, start, x_new, x),
        )
        for place, count in enumerate(settings["steps"]):
            for point in range(settings["shown"]):
                yield {
                    "seed": seed,
                    "step": count,
                    "point": point,
                    "along": f"{along[point]:.3f}",
                    "by_kernel": f"{float(kernel[place, point]):.3f}",
                    "by_network": f"{float(network[place, point]):.3f}",
                }


STEPS = [0, 20, 50, 100, 200, 400, 600, 800, 1000, 1200, 1400, 1600, 2000, 2400, 3000]
SHOWN = 400
EXPERIMENTS = [
    Experiment(
        "opening",
        "A network and gradient descent in its tangent space on a target of one direction",
        {
            "n": 4000,
            "d": 30,
            "pairs": 64,
            "std": 0.05,
            "bias": 2.0,
            "frequency": 2.0,
            "step_size": 0.05,
            "steps": STEPS,
            "shown": SHOWN,
        },
        [{"seeds": (0, 1)}],
        one_direction,
        {
            "seed": "of points and of the start",
            "step": "of gradient descent",
            "point": "number of a fresh point",
            "along": "its coordinate along the direction that the target depends on",
            "by_kernel": "prediction of gradient descent in the tangent space of the start",
            "by_network": "prediction of the network",
        },
        rows=len(STEPS) * SHOWN,
    ),
]
