"""What the chapter on the end of the theory reads: long steps of a network, and digits."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ntklab import beyond_kernels, lazy_training, networks
from ntklab.gradient_flow import network_descent
from ntklab.tangent_kernel import empirical_ntk

from experiments import Experiment, Row


def long_steps(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """Gradient descent of a two-layer ReLU network with steps in units of its first kernel."""
    n, d, m = settings["n"], settings["d"], task["m"]
    network = networks.mlp((m, 1))
    early = np.arange(settings["watched"] + 1)
    for seed in range(*task["seeds"]):
        rng = np.random.default_rng(seed)
        drawn = rng.normal(size=(n, d))
        x = jnp.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * np.sqrt(d))
        y = jnp.asarray(rng.choice([-1.0, 1.0], size=n))
        start = network.init(jax.random.key(seed + 1000 * m), d)
        largest = float(jnp.linalg.eigvalsh(empirical_ntk(network.apply, start, x))[-1])
        step = task["kappa"] / largest
        counts = np.append(early, settings["steps"])
        path = network_descent(network.apply, start, x, y, counts, step_size=step)
        outputs = jax.lax.map(lambda place, x=x: network.apply(place, x)[:, 0], path)
        losses = np.asarray(jnp.sum((outputs - y) ** 2, axis=1), float) / 2
        end = jax.tree.map(lambda leaf: leaf[-1], path)
        finite = all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(end))
        finite = finite and np.isfinite(losses[-1])
        last = np.inf
        if finite:
            last = step * float(jnp.linalg.eigvalsh(empirical_ntk(network.apply, end, x))[-1])
        values = {
            "first": losses[0],
            "highest": np.max(np.where(np.isfinite(losses), losses, np.inf)),
            "loss": losses[-1] if finite else np.inf,
            "last_kappa": last,
        }
        yield {
            "m": m,
            "kappa": task["kappa"],
            "seed": seed,
            **{name: f"{float(value):.4g}" for name, value in values.items()},
        }


def read_digits(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """A network on digits beside regression with its tangent kernel, while it is trained."""
    shape = (*[settings["m"]] * settings["depth"], 10)
    network = networks.unbiased(networks.mlp(shape, w_std=settings["w_std"]))
    model = lazy_training.scaled(network, task["factor"]).apply
    for seed in range(*task["seeds"]):
        data = beyond_kernels.digits(seed, settings["n"])
        params = network.init(jax.random.key(seed), 64)
        first = empirical_ntk(network.apply, params, data.x, trace=True)
        done = 0
        for steps in settings["steps"]:
            while done < steps:
                chunk = min(settings["chunk"], steps - done)
                # The kernel grows: each stretch has steps that suit the kernel at its beginning.
                kernel = empirical_ntk(model, params, data.x, trace=True)
                largest = float(jnp.linalg.eigvalsh(kernel)[-1]) / 10
                params = network_descent(
                    model, params, data.x, data.y, chunk, step_size=settings["kappa"] / largest
                )
                done += chunk
            now = empirical_ntk(network.apply, params, data.x, trace=True)
            fitted = beyond_kernels.after_kernel(
                network.apply, params, data.x, data.y, data.x_new, ridge=settings["ridge"]
            )
            outputs = model(params, data.x_new)
            trained = model(params, data.x)
            values: dict[str, Any] = {
                "train_loss": jnp.sum((trained - data.y) ** 2) / jnp.sum(data.y**2),
                "moved": lazy_training.relative_change(first, now),
                "aligned": lazy_training.label_alignment(now, data.y),
                "kernel_accuracy": jnp.mean(jnp.argmax(fitted, axis=1) == data.digit_new),
                "kernel_error": jnp.mean(jnp.sum((fitted - data.y_new) ** 2, axis=1)),
                "network_accuracy": jnp.mean(jnp.argmax(outputs, axis=1) == data.digit_new),
                "network_error": jnp.mean(jnp.sum((outputs - data.y_new) ** 2, axis=1)),
            }
            yield {
                "factor": task["factor"],
                "seed": seed,
                "step": steps,
                **{name: f"{float(value):.4g}" for name, value in values.items()},
            }


KAPPAS = (0.5, 1.0, 1.5, 1.9, 2.1, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 10.0)
STEPS = [0, 25, 50, 100, 200, 400, 800]
EXPERIMENTS = [
    Experiment(
        "catapult_phases",
        "Gradient descent of a two-layer ReLU network on random labels, by the length of its steps",
        {"n": 20, "d": 10, "steps": 4000, "watched": 100},
        [{"m": m, "kappa": kappa, "seeds": (0, 10)} for m in (64, 1024) for kappa in KAPPAS],
        long_steps,
        {
            "m": "width",
            "kappa": "step size times the largest eigenvalue of the kernel of the start",
            "seed": "of points, labels and, with the width, the start",
            "first": "the loss at the start",
            "highest": "the largest loss in the first steps and at the end",
            "loss": "the loss at the end",
            "last_kappa": "step size times the largest eigenvalue of the kernel of the end",
        },
    ),
    Experiment(
        "digits_training",
        "A network on digits at two scales of its output, and regression with its tangent kernel",
        {
            "n": 300,
            "m": 256,
            "depth": 2,
            "w_std": 2.0**0.5,
            "kappa": 0.5,
            "chunk": 25,
            "steps": STEPS,
            "ridge": 1e-3,
        },
        [
            {"factor": factor, "seeds": (seed, seed + 1)}
            for seed in range(5)
            for factor in (1.0, 0.03)
        ],
        read_digits,
        {
            "factor": "of the output",
            "seed": "of the images' order and of the start",
            "step": "of gradient descent",
            "train_loss": "squared error on the training images, over that of predicting 0",
            "moved": "Frobenius norm of the kernel's change over that of the kernel of the start",
            "aligned": "alignment of the kernel with the labels",
            "kernel_accuracy": "share of new images that regression with the kernel gets right",
            "kernel_error": "its squared error on new images, summed over the ten outputs",
            "network_accuracy": "share of new images that the network gets right",
            "network_error": "its squared error on new images",
        },
        rows=len(STEPS),
    ),
]
