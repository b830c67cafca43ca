"""What the chapter on convergence reads: how wide networks must be for their kernels to hold."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from ntklab import _search, convergence, networks
from ntklab.gradient_flow import network_flow
from ntklab.tangent_kernel import empirical_ntk

from experiments import Experiment, Row


def follow(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """The kernel along the flows of networks of one width on data sets of one size."""
    n, m, d = task["n"], task["m"], settings["d"]
    network = networks.shallow(m, activation="tanh")
    for seed in range(*task["seeds"]):
        rng = np.random.default_rng(seed % settings["data_sets"])
        x = rng.normal(size=(n, d))
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        y = np.sign(rng.normal(size=n))
        limit = convergence.limit_gram(x, activation="tanh", train_output=False)
        smallest = float(np.linalg.eigvalsh(limit)[0])
        times = np.concatenate([[0], np.geomspace(0.05, settings["horizon"] / smallest, 40)])
        start = network.init(jax.random.key(seed), d)
        path = network_flow(network.apply, start, jnp.asarray(x), jnp.asarray(y), times, rtol=1e-5)
        found = convergence.measure(network, list(path), x, y)
        lipschitz = convergence.constants(network, start, x, y).lipschitz
        moved = found.distance[1:] * lipschitz
        values = {
            "start": found.eigenvalue[0] / smallest,
            "lowest": np.min(found.eigenvalue) / smallest,
            "left": found.residual_norm[-1] / found.residual_norm[0],
            "moved": np.max(found.jacobian_change[1:] / moved),
        }
        yield {"n": n, "m": m, "seed": seed, **{k: f"{v:.4g}" for k, v in values.items()}}


def sphere(seed: int, n: int, d: int) -> jax.Array:
    """Random points of norm 1."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    return jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def drift_of_run(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """How far the kernel is from its start at the end of a run."""
    x, y = sphere(0, settings["n"], settings["d"]), jnp.array([1.0, -1.0, 1.0, -1.0])
    network = networks.shallow(task["m"], activation=task["activation"])
    for seed in range(*task["seeds"]):
        start = network.init(jax.random.key(seed), settings["d"])
        end = network_flow(network.apply, start, x, y, settings["time"], rtol=1e-5)
        change = empirical_ntk(network.apply, end, x) - empirical_ntk(network.apply, start, x)
        drift = float(np.linalg.norm(np.asarray(change), 2))
        yield {
            **{k: v for k, v in task.items() if k != "seeds"},
            "seed": seed,
            "drift": f"{drift:.4g}",
        }


def drift_in_ball(settings: dict[str, Any], task: Row) -> Iterator[Row]:
    """The largest drift that gradient ascent finds at each of several distances."""
    depth, m, d = task["depth"], task["m"], settings["d"]
    x = np.sqrt(d) * sphere(0, settings["n"], d)
    network = networks.mlp((*[m] * depth, 1), activation="tanh")
    for seed in range(*task["seeds"]):
        start = network.init(jax.random.key(seed), d)
        flat, unravel = jax.flatten_util.ravel_pytree(start)

        def gram(place: jax.Array, unravel: Any = unravel) -> jax.Array:
            J = jax.jacobian(lambda p: network.apply(unravel(p), x)[:, 0])(place)
            return J @ J.T

        first = gram(flat)

        @jax.jit
        def climb(radius: Any, starts: jax.Array, flat: Any = flat, first: Any = first) -> Any:
            def height(direction: jax.Array) -> jax.Array:
                return jnp.max(
                    jnp.abs(jnp.linalg.eigvalsh(gram(flat + radius * direction) - first))
                )

            return _search.climb_sphere(height, starts, settings["steps"])[0]

        starts = jax.random.normal(jax.random.key(seed + 100), (3, len(flat)))
        for radius in settings["radii"]:
            found = float(climb(radius, starts))
            yield {"depth": depth, "m": m, "seed": seed, "radius": radius, "drift": f"{found:.4g}"}


EXPERIMENTS = [
    Experiment(
        "kernel_drift_of_runs",
        "How far the tangent kernel moves on a run, for a smooth activation and for ReLU",
        {"n": 4, "d": 3, "time": 8.0},
        [
            {"activation": activation, "m": m, "seeds": (0, 10)}
            for m in (64, 256, 1024, 4096, 16384)
            for activation in ("tanh", "relu")
        ],
        drift_of_run,
        {
            "activation": "of two-layer networks with trained first layer and signs in equal parts",
            "m": "width",
            "seed": "of the start",
            "drift": "operator norm of the change of the Gram matrix up to time 8",
        },
        precision="float64",
    ),
    Experiment(
        "kernel_drift_in_balls",
        "The largest change of the tangent kernel that gradient ascent finds within a distance",
        {"n": 3, "d": 3, "steps": 40, "radii": [0.03, 0.1, 0.3, 1.0]},
        [{"depth": depth, "m": m, "seeds": (0, 3)} for depth in (1, 2, 3) for m in (8, 32, 128)],
        drift_in_ball,
        {
            "depth": "number of hidden layers of tanh networks in NTK parameterization",
            "m": "width of all of them",
            "seed": "of the start",
            "radius": "distance from the start",
            "drift": "largest operator norm found of the change of the Gram matrix",
        },
        rows=4,
        precision="float64",
    ),
    Experiment(
        "kernel_minima",
        "The smallest eigenvalue of the kernel along the gradient flow of two-layer tanh networks",
        {"d": 10, "data_sets": 3, "horizon": 12},
        [
            {"n": n, "m": m, "seeds": (0, 12)}
            for n in (4, 8, 16, 32)
            for m in (8, 16, 32, 64, 128, 256)
        ],
        follow,
        {
            "n": "number of points, uniform on the sphere, with labels 1 or -1",
            "m": "width; the first layer is trained",
            "seed": "of the start; modulo 3, of the data",
            "start": "smallest eigenvalue at the start over that of the limit kernel",
            "lowest": "the lowest value of the smallest eigenvalue on the way, over the same",
            "left": "norm of the residual at the end over that at the start",
            "moved": "largest change of the Jacobian over L times the distance moved",
        },
        precision="float64",
    ),
]
