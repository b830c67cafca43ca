"""What the chapter on hierarchical learning reads: a residual network beside kernels."""

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ntklab import cube, hierarchical_learning, spectral_bias
from ntklab.hierarchical_learning import (
    composed_target,
    residual_network,
    residual_parts,
    sample_cube,
)
from ntklab.networks import Network
from ntklab.spectral_bias import Kernel
from ntklab.tangent_kernel import empirical_ntk
from scipy import linalg

from experiments import Experiment, Row

# --- the residual network -----------------------------------------------------------------------

#: What all tables of the network share, unless a task has another value.
TRAINING: dict[str, Any] = {
    "d": 30,
    "k": 4,
    "alpha": 0.3,
    "samples": 4096,
    "m": 256,
    "w_scale": 0.3,
    "u_scale": 0.15,
    "steps": 6000,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "test_points": 65536,
}


def training(*varied: str) -> dict[str, Any]:
    """What the tasks of a table leave as it is."""
    return {name: value for name, value in TRAINING.items() if name not in varied}


class Trained(NamedTuple):
    """A network after its descent, and what it was to learn.

    Attributes:
        network: its `init` and `apply`, for points of the cube divided by `norm`.
        subset: the coordinates of the target.
        x: the samples, and their labels.
        y: the labels.
        new: fresh points of the cube.
        run: its parameters on the way.
    """

    network: Network
    subset: tuple[int, ...]
    x: jax.Array
    y: jax.Array
    new: jax.Array
    run: hierarchical_learning.Training


def descent(chosen: dict[str, Any], seed: int, *, evaluations: int = 1) -> Trained:
    """A network trained on samples of a random target."""
    keys = jax.random.split(jax.random.key(seed), 4)
    d, k = chosen["d"], chosen["k"]
    subset = hierarchical_learning.draw_subset(keys[0], d, k)
    # One pass over fresh samples where a task has none of its own.
    samples = chosen["samples"] or chosen["steps"] * chosen["batch_size"]
    x, new = sample_cube(keys[1], samples, d), sample_cube(keys[2], chosen["test_points"], d)
    y = composed_target(x, subset, chosen["alpha"])
    network = residual_network(chosen["m"], k, w_scale=chosen["w_scale"], u_scale=chosen["u_scale"])
    run = hierarchical_learning.train(
        network,
        network.init(keys[3], d),
        x,
        y,
        steps=chosen["steps"],
        seed=seed,
        batch_size=chosen["batch_size"],
        learning_rate=chosen["learning_rate"],
        evaluations=evaluations,
    )
    return Trained(network, subset, x, y, new, run)


def risk(network: Network, params: Any, x: jax.Array, y: jax.Array) -> float:
    """The mean of the squared distance, over at most 65,536 of the points."""
    return float(jnp.mean(jnp.sum((network.apply(params, x[:65536]) - y[:65536]) ** 2, axis=1)))


def network_risk(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """The risk of a trained network, on fresh points and on its samples."""
    chosen = settings | task
    for seed in range(*task["seeds"]):
        found = descent(chosen, seed)
        y_new = composed_target(found.new, found.subset, chosen["alpha"])
        values = {
            "risk": risk(found.network, found.run.params, found.new, y_new),
            "train": risk(found.network, found.run.params, found.x, found.y),
        }
        yield {
            **{name: value for name, value in task.items() if name != "seeds"},
            "seed": seed,
            **{name: f"{value:.4g}" for name, value in values.items()},
        }


def learning_order(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """What the network's terms are on the way: their part along the coordinates and the parity."""
    chosen = settings | task
    for seed in range(*task["seeds"]):
        found = descent(chosen, seed, evaluations=settings["evaluations"])
        s = np.asarray(found.subset)
        columns = np.asarray(with_parities(np.asarray(found.new), s[None]))
        solve = np.linalg.inv(columns.T @ columns) @ columns.T
        target = np.zeros((len(solve), len(s)))
        target[s, range(len(s))], target[-1] = 1, chosen["alpha"]
        for place, step in enumerate(found.run.steps):
            if step > settings["early"] and step % settings["later"]:
                continue
            params = jax.tree.map(lambda leaf, place=place: leaf[place], found.run.path)
            terms = residual_parts(found.network, params, found.new)
            first, second = (solve @ np.asarray(term) for term in terms)
            rest = np.asarray(terms[0] + terms[1]) - columns @ (first + second)
            wrong = np.sum((first + second - target) ** 2, axis=1)
            rests = float(np.mean(np.sum(rest**2, axis=1)))
            values = {
                "risk": float(np.sum(wrong)) + rests,
                "first_own": np.mean(first[s, range(len(s))]),
                "second_own": np.mean(second[s, range(len(s))]),
                "first_parity": np.mean(first[-1]),
                "second_parity": np.mean(second[-1]),
                "linear_error": np.sum(wrong[:-1]),
                "parity_error": wrong[-1],
                "rest": rests,
            }
            yield {
                "alpha": task["alpha"],
                "seed": seed,
                "step": int(step),
                **{name: f"{float(value):.4g}" for name, value in values.items()},
            }


def tangent_solution(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """A trained network beside the solution of least norm in the tangent space at its start."""
    chosen = settings | task
    for seed in range(*task["seeds"]):
        found = descent(chosen, seed)
        network, start = found.network, jax.tree.map(lambda leaf: leaf[0], found.run.path)
        y_new = composed_target(found.new, found.subset, chosen["alpha"])
        kernel = output_gram(network, start, found.x, found.x)
        factor = linalg.cho_factor(kernel, lower=True, check_finite=False)
        residual = np.asarray(found.y - network.apply(start, found.x), float).ravel()
        weights = linalg.cho_solve(factor, residual, check_finite=False)
        parts = jnp.split(found.new, len(found.new) // 1024)
        change = [output_gram(network, start, part, found.x) @ weights for part in parts]
        off = np.asarray(y_new - network.apply(start, found.new), float).ravel()
        off -= np.concatenate(change)
        moved = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), found.run.params, start)
        values = {
            "risk": risk(network, found.run.params, found.new, y_new),
            "train": risk(network, found.run.params, found.x, found.y),
            "distance": float(jnp.sqrt(sum(jax.tree.leaves(moved)))),
            "tangent_risk": chosen["k"] * np.mean(off**2),
            "tangent_train": chosen["k"] * np.mean((kernel @ weights - residual) ** 2),
            "tangent_distance": np.sqrt(weights @ residual),
        }
        yield {
            **{name: value for name, value in task.items() if name != "seeds"},
            "seed": seed,
            **{name: f"{float(value):.4g}" for name, value in values.items()},
        }


def output_gram(network: Network, params: Any, x1: Any, x2: Any) -> np.ndarray:
    """The tangent kernel between all outputs at all points; outputs vary fastest."""
    kernel = np.asarray(empirical_ntk(network.apply, params, x1, x2), float)
    n1, n2, k, _ = kernel.shape
    return kernel.transpose(0, 2, 1, 3).reshape(n1 * k, n2 * k)


RISK = {
    "seed": "of the target, the samples and the start",
    "risk": "mean squared distance of the outputs from the target, at fresh points",
    "train": "the same at the samples",
}


# --- kernels on the cube ------------------------------------------------------------------------


def kernel_function(name: str, setting: float, d: int, k: int) -> Kernel:
    """A kernel as a function of the cosine of two points of the cube; 1 at 1."""

    def degree_k(cosine: Any) -> Any:
        places = np.rint((1 - cosine) * d / 2).astype(int)
        return cube.krawtchouk(d)[k][places] / math.comb(d, k)

    kernel: Kernel = {
        "NTK": lambda c: spectral_bias.deep_kernel(int(setting))(c) / (setting + 1),
        "RBF": lambda c: np.exp(-setting * (1 - c)),
        "polynomial": lambda c: ((1 + c) / 2) ** setting,
        "linear": lambda c: c,
        "linear and degree k": lambda c: (c + setting * degree_k(c)) / (1 + setting),
    }[name]
    return kernel


def kernel_risk(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """The risk of kernel regression in mean over targets, with the best ridge."""
    d, k, n = settings["d"], settings["k"], task["samples"]
    kernel = kernel_function(task["kernel"], task["setting"], d, k)
    large = n > settings["float64_to"]
    ridges = settings["large_ridges" if large else "ridges"]
    for seed in range(*task["seeds"]):
        rng = np.random.default_rng(seed)
        x = rng.choice([-1.0, 1.0], (n, d)).astype(np.float32 if large else np.float64)
        sets = np.array([rng.permutation(d)[:k] for _ in range(settings["targets"])])
        risks = [
            mean_risk(regression_errors(kernel, x, sets, ridge), sets, settings["alpha"])
            for ridge in ridges
        ]
        best = int(np.argmin([mean for mean, _ in risks]))
        yield {
            "samples": n,
            "kernel": task["kernel"],
            "setting": task["setting"],
            "seed": seed,
            "ridge": ridges[best],
            "risk": f"{risks[best][0]:.5g}",
            "spread": f"{risks[best][1]:.2g}",
        }


def regression_errors(kernel: Kernel, x: np.ndarray, sets: np.ndarray, ridge: float) -> np.ndarray:
    """Mean products over the cube of the errors of kernel regression, as `mean_risk` has them.

    By one factorization, where `hierarchical_learning.ridge_risks` takes all eigenvectors: for more
    samples, at some of the targets.

    A kernel that depends on the disagreements alone has the characters as eigenfunctions. So has
    the mean over x of K(x, x_n) K(x, x_m), with the squares of the eigenvalues: all is exact.
    """
    d, k = x.shape[1], sets.shape[1]
    columns = with_parities(x, sets)
    gram = np.concatenate([*blocks(kernel(1 - 2 * np.arange(d + 1) / d), x)])
    gram[np.diag_indices(len(x))] += ridge
    factor = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    weights = linalg.cho_solve(factor, columns, check_finite=False)
    spectrum = hierarchical_learning.cube_eigenvalues(kernel, d)
    squares = spectrum**2 @ cube.krawtchouk(d)
    second = np.concatenate([block @ weights for block in blocks(squares, x)])
    # A prediction's mean product with a label: the eigenvalue of its degree times weights · label.
    products = (weights.T @ columns) * spectrum[np.repeat([1, k], [d, len(sets)])]
    return np.asarray(weights.T @ second - products - products.T + np.eye(len(products)))


def feature_risk(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """Linear regression over random ReLU features, with the best ridge, and the time that it takes.

    The time is that of the features at the samples, their products and one solution for one target.
    """
    d, k, n, features = settings["d"], settings["k"], task["samples"], task["features"]
    for seed in range(*task["seeds"]):
        rng = np.random.default_rng(seed)
        x, new = (rng.choice([-1.0, 1.0], (size, d)) for size in (n, settings["test_points"]))
        sets = np.array([rng.permutation(d)[:k] for _ in range(settings["targets"])])
        weights, biases = rng.normal(size=(d, features)) / np.sqrt(d), rng.normal(size=features)
        scale = 1 / np.sqrt(features)
        columns, labels = with_parities(x, sets), with_parities(new, sets)
        began = time.process_time()
        phi = scale * np.maximum(x @ weights + biases, 0)
        products, answers = phi.T @ phi, phi.T @ columns
        seconds = time.process_time() - began
        phi_new = scale * np.maximum(new @ weights + biases, 0)
        risks = []
        for ridge in settings["ridges"]:
            began = time.process_time()
            shifted = products + ridge * np.eye(features)
            factor = linalg.cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
            spent = time.process_time() - began
            off = phi_new @ linalg.cho_solve(factor, answers, check_finite=False) - labels
            risks.append(mean_risk(off.T @ off / len(off), sets, settings["alpha"]))
        best = int(np.argmin([mean for mean, _ in risks]))
        yield {
            "features": features,
            "samples": n,
            "seed": seed,
            "ridge": settings["ridges"][best],
            "risk": f"{risks[best][0]:.5g}",
            "spread": f"{risks[best][1]:.2g}",
            "seconds": f"{seconds + spent:.3g}",
        }


def with_parities(x: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """The columns x_1, …, x_d and the parity of each set."""
    return np.concatenate([x, np.prod(x[:, sets], axis=2)], axis=1)


def blocks(values: np.ndarray, x: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of the Gram matrix, some at a time: values are given by the number of disagreements."""
    values = values.astype(x.dtype)
    for first in range(0, len(x), 1024):
        inner = x[first : first + 1024] @ x.T
        yield values[((x.shape[1] - inner) / 2).astype(np.int8)]


def mean_risk(errors: np.ndarray, sets: np.ndarray, alpha: float) -> tuple[float, float]:
    """The risk in mean over the sets, and the standard error of this mean.

    `errors` holds the mean products of the errors at the labels x_1, …, x_d and the parity of each
    set: predictions are linear in the labels, and these are x_i + alpha times the parity.
    """
    parity = len(errors) - len(sets) + np.arange(len(sets))
    risks = sum(
        errors[place, place] + 2 * alpha * errors[place, parity] + alpha**2 * errors[parity, parity]
        for place in sets.T
    )
    return float(np.mean(risks)), float(np.std(risks, ddof=1) / np.sqrt(len(sets)))


KERNELS: list[tuple[str, float]] = [
    *(("NTK", depth) for depth in (1, 2, 3, 4)),
    *(("RBF", inverse) for inverse in (0.1, 0.3, 1.0)),
    *(("polynomial", degree) for degree in (2, 3, 4, 6)),
    ("linear", 0),
    ("linear and degree k", 0.1),
]
FEW_KERNELS: list[tuple[str, float]] = [
    ("NTK", 1),
    ("RBF", 0.1),
    ("linear and degree k", 0.1),
]
ROUGH_KERNELS: list[tuple[str, float]] = [("NTK", 1), ("linear and degree k", 0.1)]

EXPERIMENTS = [
    Experiment(
        "resnet_samples",
        "A residual network trained on N samples",
        training("samples"),
        [
            {"samples": samples, "seeds": (5 * i, 5 * i + 5)}
            for i, samples in enumerate((256, 512, 1024, 2048, 4096, 8192, 16384))
        ],
        network_risk,
        {"samples": "N", **RISK},
    ),
    Experiment(
        "kernel_samples",
        "Kernel regression on N samples: its risk in mean over targets, exact in x; the ridge is "
        "the best for this mean. Above 4096 samples two ridges, fewer draws and float32: an NTK's "
        "risk at 8192 is 0.32324 in float64",
        {
            "d": 30,
            "k": 4,
            "alpha": 0.3,
            "targets": 64,
            "ridges": [1e-4, 0.03, 0.1, 0.3, 1.0, 3.0],
            "large_ridges": [1e-3, 1.0],
            "float64_to": 4096,
        },
        [
            {"samples": samples, "kernel": kernel, "setting": setting, "seeds": seeds}
            for samples, kernels, seeds in (
                *((samples, KERNELS, (0, 5)) for samples in (256, 512, 1024, 2048)),
                (4096, FEW_KERNELS, (0, 5)),
                # In float32 the smooth kernels' small eigenvalues are rounding.
                (8192, ROUGH_KERNELS, (0, 2)),
                (16384, ROUGH_KERNELS, (0, 1)),
                (4096, [kernel for kernel in KERNELS if kernel not in FEW_KERNELS], (0, 1)),
            )
            for kernel, setting in kernels
        ],
        kernel_risk,
        {
            "samples": "N",
            "kernel": "its name; with c the cosine of two points and e the mean of the k-fold "
            "products of their coordinates' products",
            "setting": "the depth of the NTK; g of exp(−g (1 − c)); the degree of (1 + c) to a "
            "power; none of c; t of c + t e",
            "seed": "of the samples and the targets",
            "ridge": "over the kernel's value at two equal points",
            "risk": "squared distance of the outputs from the target, in mean over points and "
            "targets",
            "spread": "its standard error over targets",
        },
    ),
    Experiment(
        "resnet_starts",
        "A residual network trained from starts of other scales",
        training("w_scale", "u_scale"),
        [
            {"w_scale": w, "u_scale": u, "seeds": (3 * i, 3 * i + 3)}
            for i, (w, u) in enumerate(
                [
                    *((w, w / 2) for w in (0.03, 0.1, 0.3, 1.0, 3.0)),
                    *((1.0, 1.0), (0.3, 1.0), (1.0, 0.15)),
                    *((w, w / 2) for w in (0.01, 0.003)),
                ]
            )
        ],
        network_risk,
        {"w_scale": "of W, over He's", "u_scale": "of U, over He's", **RISK},
    ),
    Experiment(
        "resnet_small_start",
        "A residual network trained on N samples from a tenth of the start of `resnet_samples`",
        training("samples", "w_scale", "u_scale") | {"w_scale": 0.03, "u_scale": 0.015},
        [
            {"samples": samples, "seeds": (5 * i + 100, 5 * i + 105)}
            for i, samples in enumerate((256, 512, 1024, 2048, 4096))
        ],
        network_risk,
        {"samples": "N", **RISK},
    ),
    Experiment(
        "resnet_alpha",
        "A residual network trained on samples that it sees once",
        training("alpha", "steps", "samples") | {"samples": None},
        [
            {"alpha": alpha, "steps": steps, "seeds": (5 * i, 5 * i + 5)}
            for i, (alpha, steps) in enumerate(
                (alpha, steps)
                for steps in (1000, 6000)
                for alpha in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)
            )
        ],
        network_risk,
        {"alpha": "of the target", "steps": "of Adam", **RISK},
    ),
    Experiment(
        "resnet_learning_order",
        "The terms of a residual network on the way: first A relu(W x + b1), second what it adds",
        training("alpha", "test_points")
        | {"test_points": 8192, "evaluations": 300, "early": 600, "later": 300},
        [{"alpha": alpha, "seeds": (i, i + 1)} for i in range(3) for alpha in (0.0, 0.3)],
        learning_order,
        {
            "alpha": "of the target",
            "seed": RISK["seed"],
            "step": "of Adam",
            "risk": "squared distance of the outputs from the target: the three errors' sum",
            "first_own": "coefficient in the first term of the coordinate that an output has in F; "
            "mean over outputs",
            "second_own": "the same in the second term",
            "first_parity": "coefficient in the first term of the product G; mean over outputs",
            "second_parity": "the same in the second term",
            "linear_error": "squared distance of the outputs' coefficients of all coordinates from "
            "those of F",
            "parity_error": "squared distance of the outputs' coefficients of G from alpha",
            "rest": "what in the outputs is neither linear nor along G",
        },
        rows=49,
    ),
    Experiment(
        "resnet_tangent",
        "A trained residual network beside the interpolation of least norm in the tangent space "
        "at the same start",
        training("samples", "w_scale", "u_scale", "test_points") | {"test_points": 4096},
        [
            {"samples": n, "w_scale": w, "u_scale": u, "seeds": (3 * i, 3 * i + 3)}
            for i, (n, w, u) in enumerate(
                (n, w, u) for n in (1024, 2048) for w, u in ((0.3, 0.15), (1.0, 1.0))
            )
        ],
        tangent_solution,
        {
            "samples": "N",
            "w_scale": "of W, over He's",
            "u_scale": "of U, over He's",
            **RISK,
            "distance": "of the parameters from their start",
            "tangent_risk": "of the linearized network",
            "tangent_train": "of the linearized network",
            "tangent_distance": "its least distance at which it interpolates",
        },
    ),
    Experiment(
        "resnet_widths",
        "Residual networks of other widths",
        training("m"),
        [
            {"m": m, "seeds": (10 * i, 10 * i + seeds)}
            for i, (m, seeds) in enumerate(
                [*((m, 5) for m in (4, 8, 16, 32, 64, 128, 256)), (512, 3), (1024, 1)]
            )
        ],
        network_risk,
        {"m": "units in each layer", **RISK},
    ),
    Experiment(
        "feature_regression",
        "Linear regression over random ReLU features: its risk in mean over targets",
        {
            "d": 30,
            "k": 4,
            "alpha": 0.3,
            "targets": 64,
            "test_points": 8192,
            "ridges": [1e-4, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
        },
        [
            {"features": features, "samples": n, "seeds": (2 * i, 2 * i + 2)}
            for i, (features, n) in enumerate(
                [
                    *((features, 16384) for features in (64, 256, 1024, 2048, 4096)),
                    *((4096, n) for n in (256, 1024, 4096)),
                ]
            )
        ],
        feature_risk,
        {
            "features": "D",
            "samples": "N",
            "seed": "of the samples, the features and the targets",
            "ridge": "over the mean of the features' squares at a point, about",
            "risk": "squared distance of the outputs from the target at fresh points, in mean over "
            "targets",
            "spread": "its standard error over targets",
            "seconds": "of one core, for one ridge",
        },
    ),
    Experiment(
        "resnet_toy",
        "The toy of the source, 15 outputs and 800 epochs; d = 40, the width, the numbers of "
        "samples, Adam with its rate and its batches, and the start are a guess",
        training("d", "k", "m", "samples", "steps") | {"d": 40, "k": 15, "m": 200},
        [
            {"samples": n, "steps": 800 * n // 64, "seeds": (i, i + 1)}
            for i, n in enumerate((2000, 20000, 10000))
        ],
        network_risk,
        {"samples": "N", "steps": "of Adam: 800 epochs", **RISK},
    ),
]
