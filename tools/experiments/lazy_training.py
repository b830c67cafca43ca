"""What the chapter on lazy training reads: one student at many scales, many widths at three."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ntklab import convergence, lazy_training, networks
from ntklab.gradient_flow import (
    flow_until,
    kernel_descent,
    kernel_flow,
    network_descent,
    network_flow,
)
from ntklab.tangent_kernel import empirical_ntk

from experiments import Experiment, Row

STD = (0.01, 0.0316, 0.1, 0.316, 1.0)


def student(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """One student after its descent, beside kernel descent with the kernel of its start."""
    n, d, steps = settings["n"], settings["d"], settings["steps"]
    for seed in range(*task["seeds"]):
        problem = lazy_training.teacher_problem(
            seed, d=d, points=2 * n, units=settings["teacher_units"]
        )
        x, x_new, y, y_new = *jnp.split(problem.x, 2), *jnp.split(problem.y, 2)
        start = lazy_training.mirrored_start(
            jax.random.key(seed), d, pairs=settings["pairs"], std=task["std"]
        )
        step = min(settings["longest_step"], settings["step"] / task["std"] ** 2)
        model = lazy_training.relu_sum
        end = network_descent(model, start, x, y, steps, step_size=step / n)
        before, after = (empirical_ntk(model, place, x) for place in (start, end))
        across = empirical_ntk(model, start, x_new, x)
        lazy, lazy_new = kernel_descent(before, y, steps, step_size=step / n, k_test=across)
        limit = kernel_flow(before, y, jnp.inf, k_test=across)[1]
        values = {
            "train": half_mean_square(model(end, x), y),
            "test": half_mean_square(model(end, x_new), y_new),
            "lazy_train": half_mean_square(lazy, y),
            "lazy_test": half_mean_square(lazy_new, y_new),
            "limit_test": half_mean_square(limit, y_new),
            "zero": half_mean_square(0 * y_new, y_new),
            "moved": lazy_training.relative_change(before, after),
            "aligned_before": lazy_training.label_alignment(before, y),
            "aligned_after": lazy_training.label_alignment(after, y),
            "found": directions_found(problem.directions, end),
        }
        yield {
            "std": task["std"],
            "seed": seed,
            **{name: f"{float(value):.4g}" for name, value in values.items()},
        }


def half_mean_square(predictions: Any, labels: Any) -> float:
    """The loss of the experiment."""
    return float(jnp.mean((predictions - labels) ** 2)) / 2


def directions_found(directions: Any, params: Any) -> float:
    """The cosine between a teacher's unit and the student's nearest, for the worst unit."""
    weights = np.asarray(params[0], float)
    units = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return float(np.min(np.max(np.asarray(directions, float) @ units.T, axis=1)))


def movement(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """How far the kernel has moved when the loss is down to a share of its first value."""
    m, d, n = task["m"], settings["d"], settings["n"]
    network = networks.unbiased(
        networks.mlp((*[m] * task["depth"], 1), activation=task["activation"])
    )
    scale = 1.0 if task["scaling"] == "ntk" else settings["first_width_scale"] / np.sqrt(m)
    model = lazy_training.scaled(network, scale).apply
    for seed in range(*task["seeds"]):
        rng = np.random.default_rng(seed)
        drawn = rng.normal(size=(n, d))
        x = jnp.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * np.sqrt(d))
        y = jnp.asarray(networks.alternating_signs(n))
        start = network.init(jax.random.key(seed + 1000 * m), d)
        target = settings["share"] * float(jnp.sum(y**2)) / 2
        end = flow_until(model, start, x, y, target, rtol=1e-5).params
        before, after = (empirical_ntk(network.apply, place, x) for place in (start, end))
        values = {
            "moved": lazy_training.relative_change(before, after),
            "aligned_before": lazy_training.label_alignment(before, y),
            "aligned_after": lazy_training.label_alignment(after, y),
        }
        yield {
            **{name: value for name, value in task.items() if name != "seeds"},
            "seed": seed,
            **{name: f"{float(value):.4g}" for name, value in values.items()},
        }


def bounded(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """Bounds for a scaled network, and what is measured along its flow."""
    network = networks.unbiased(networks.shallow(settings["m"], activation="tanh"))
    y = jnp.asarray(networks.alternating_signs(settings["n"]))
    for seed in range(*task["seeds"]):
        drawn = np.random.default_rng(seed).normal(size=(settings["n"], settings["d"]))
        x = jnp.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
        start = network.init(jax.random.key(seed), settings["d"])
        found = convergence.constants(network, start, x, y)
        scale = task["ratio"] * lazy_training.lazy_bounds(found, 1.0).threshold
        bounds = lazy_training.lazy_bounds(found, scale)
        before = empirical_ntk(network.apply, start, x)
        times = np.linspace(0, settings["spans"], 65) / found.sigma_min**2
        # The scaled network is the network with smaller labels.
        path = network_flow(network.apply, start, x, y / scale, times, rtol=1e-11)
        outputs = scale * jax.vmap(network.apply, in_axes=(0, None))(path, x)[:, :, 0]
        gap = jnp.linalg.norm(outputs - kernel_flow(before, y, times), axis=1)
        after = jax.lax.map(lambda place, x=x: empirical_ntk(network.apply, place, x), path)
        squares = [jnp.sum((leaf - leaf[0]) ** 2, axis=(1, 2)) for leaf in path]
        values = {
            "distance": np.sqrt(np.max(sum(squares))),
            "distance_bound": bounds.distance,
            "change": np.max(np.linalg.norm(np.asarray(after - before), 2, axis=(1, 2))),
            "change_bound": bounds.kernel_change,
            "gap": np.max(gap),
            "gap_bound": bounds.prediction_gap,
        }
        yield {
            "ratio": task["ratio"],
            "seed": seed,
            **{name: f"{float(value):.4g}" for name, value in values.items()},
        }


EXPERIMENTS = [
    Experiment(
        "lazy_bounds",
        "A paired network above the threshold of its scale, beside what a theorem promises for it",
        {"n": 4, "d": 10, "m": 256, "spans": 8.0},
        [{"ratio": ratio, "seeds": (0, 10)} for ratio in (1.05, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0)],
        bounded,
        {
            "ratio": "scale over the threshold",
            "seed": "of the points and the start",
            "distance": "largest distance of the parameters from their start",
            "distance_bound": "its bound",
            "change": "largest operator norm of the kernel's change",
            "change_bound": "its bound",
            "gap": "largest distance of the predictions from those of the linearized network",
            "gap_bound": "its bound",
        },
        precision="float64",
    ),
    Experiment(
        "lazy_to_rich",
        "A student of 50 mirrored ReLU units taught by 3, from starts of five standard deviations",
        {
            "d": 100,
            "n": 1000,
            "teacher_units": 3,
            "pairs": 25,
            "steps": 10_000,
            "step": 0.1,
            "longest_step": 10.0,
        },
        [{"std": std, "seeds": (seed, seed + 1)} for seed in range(10) for std in STD],
        student,
        {
            "std": "standard deviation of all weights at the start",
            "seed": "of the teacher, the points and the start",
            "train": "half the mean square error on the training points at the end",
            "test": "half the mean square error on as many new points",
            "lazy_train": "train, of as many steps of descent with the kernel of the start",
            "lazy_test": "test, of the same",
            "limit_test": "test, of that descent's limit",
            "zero": "half the mean square of the labels of the new points",
            "moved": "Frobenius norm of the kernel's change over that of the kernel of the start",
            "aligned_before": "alignment of the kernel of the start with the labels",
            "aligned_after": "alignment of the kernel of the end",
            "found": "cosine between a unit of the teacher and the nearest of the student, least",
        },
    ),
    Experiment(
        "kernel_movement_in_width",
        "How far the kernel moves until the loss is down to a hundredth, at three scalings",
        {"n": 6, "d": 6, "share": 0.01, "first_width_scale": 2.0},
        [
            {
                "scaling": scaling,
                "depth": depth,
                "activation": activation,
                "m": m,
                "seeds": (0, 10),
            }
            for m in (32, 64, 128, 256, 512)
            for depth, scalings in ((1, ("ntk", "mean-field")), (2, ("ntk", "mup")))
            for scaling in scalings
            for activation in ("tanh", "relu")
        ],
        movement,
        {
            "scaling": "ntk; mean-field and mup divide the output further by sqrt(m)/2",
            "depth": "number of hidden layers of the paired network in NTK parameterization",
            "activation": "of the hidden layers",
            "m": "width of all of them",
            "seed": "of the points; with the width, of the start",
            "moved": "Frobenius norm of the kernel's change over that of the kernel of the start",
            "aligned_before": "alignment of the kernel of the start with the labels",
            "aligned_after": "alignment of the kernel of the end",
        },
        precision="float64",
    ),
]
