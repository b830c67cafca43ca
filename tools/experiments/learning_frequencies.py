"""The tables of the chapter `learning_frequencies`."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ntklab import learning_frequencies, networks
from ntklab.tangent_kernel import infinite_ntk

from experiments import Experiment, Row


def arrive(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """How many steps a deep network takes to a frequency, from each of its starts."""
    points, frequency = settings["points"], task["frequency"]
    angles = jnp.asarray(2 * np.pi * np.arange(points) / points, jnp.float32)
    x = learning_frequencies.circle_points(angles)
    kernel = infinite_ntk(x, depth=settings["depth"], w_std=settings["w_std"])
    largest = np.max(learning_frequencies.circulant_eigenvalues(kernel[0]))
    shape = (*[task["width"]] * settings["depth"], 1)
    network = networks.unbiased(networks.mlp(shape, w_std=settings["w_std"]))
    y = settings["amplitude"] * jnp.cos(frequency * angles)
    for seed in range(*task["seeds"]):
        arrival = learning_frequencies.descent_until(
            network.apply,
            network.init(jax.random.key(seed), 2),
            x,
            y,
            step_size=float(settings["share"] / largest),
            fraction=settings["fraction"],
            max_steps=settings["max_steps"],
        )
        yield {
            "width": task["width"],
            "frequency": frequency,
            "seed": seed,
            "steps": arrival.steps,
            "left": f"{arrival.fraction:.4f}",
        }


WIDTHS, FREQUENCIES, SEEDS = (64, 256), (1, 2, 3, 4, 6, 8, 12, 16), 3
EXPERIMENTS = [
    Experiment(
        "deep_frequencies",
        "Steps of gradient descent until deep ReLU networks have learned a frequency on the circle",
        {
            "points": 128,
            "depth": 5,
            "w_std": 2.0**0.5,
            "amplitude": 0.05,
            "share": 1.0,
            "fraction": 0.05,
            "max_steps": 10_000,
        },
        [
            {"width": width, "frequency": frequency, "seeds": (seed, seed + 1)}
            for width in WIDTHS
            for seed in range(SEEDS)
            for frequency in FREQUENCIES
        ],
        arrive,
        {
            "width": "of each of the hidden layers",
            "frequency": "of the target, in turns of the circle",
            "seed": "of the start",
            "steps": "until the residual is down to the fraction, or all that were allowed",
            "left": "of the residual's norm then, over the first one",
        },
    )
]
