"""Compare the library's speed with public tools', as ratios measured in one run.

Seconds differ between machines, so each comparison alternates its two sides and reports the ratio
of their medians. To add one: write a generator of `Ratio`s, and list it in BENCHMARKS.
"""

import functools
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

from project import chapters


@dataclass(frozen=True)
class Ratio:
    """One comparison: the seconds of ours over those of the reference."""

    title: str
    ours: float
    reference: float
    target: float

    def __str__(self) -> str:
        """A line of the table."""
        ratio = self.ours / self.reference
        verdict = "met" if ratio < self.target else "missed"
        seconds = f"{self.ours:8.3f} s {self.reference:8.3f} s"
        return f"{self.title:<44}{seconds} {ratio:6.2f}   < {self.target:g} {verdict}"


def alternate(
    ours: Callable[[], object], reference: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """The median seconds of two functions that take turns, after one unmeasured turn each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for function, measured in zip((ours, reference), seconds, strict=True):
            start = perf_counter()
            function()
            if turn:
                measured.append(perf_counter() - start)
    return median(seconds[0]), median(seconds[1])


def run_python(statement: str) -> None:
    """Run one statement in a new interpreter."""
    subprocess.run([sys.executable, "-c", statement], check=True)


def import_time() -> Iterator[Ratio]:
    """Importing all of the library that computes against JAX alone, each in a new interpreter."""
    modules = ", ".join(path.stem for path in chapters())
    statement = f"from ntklab import networks, ledger, {modules}"
    ours, reference = alternate(
        lambda: run_python(statement), lambda: run_python("import jax"), repeats=7
    )
    yield Ratio("import of the library / of jax", ours, reference, target=1.2)


def kernel_times(points: int = 1000, width: int = 1024) -> Iterator[Ratio]:
    """Tangent kernels of a network with three hidden layers, by its form, against the products of
    matrices in it, the same network written out, and one whose form is hidden.
    """
    import jax
    import jax.numpy as jnp
    from ntklab import networks, tangent_kernel

    network = networks.mlp((width, width, width, 1))
    params = network.init(jax.random.key(0), width)
    x = jax.random.normal(jax.random.key(1), (points, width))

    def written_out(params: Any, x: jax.Array) -> jax.Array:
        for index, layer in enumerate(params):
            x = x @ layer["weight"].T / jnp.sqrt(layer["weight"].shape[1])
            x = jax.nn.relu(x) if index < len(params) - 1 else x
        return x

    def kernel(apply: Callable[..., Any], *others: jax.Array) -> Callable[[], object]:
        return lambda: jax.block_until_ready(
            tangent_kernel.empirical_ntk(apply, params, x, *others)
        )

    @jax.jit
    def products(x: jax.Array) -> jax.Array:
        return functools.reduce(jnp.add, (x @ x.T / (k + 1) for k in range(7)))

    for title, ours, reference, target in (
        ("kernel / 7 products of its size", kernel(network.apply), lambda: products(x), 2.0),
        ("written out / a network of ours", kernel(written_out), kernel(network.apply), 1.2),
        ("points / the same points twice", kernel(network.apply), kernel(network.apply, x), 0.9),
    ):
        yield Ratio(title, *alternate(ours, reference, repeats=5), target)


def other_models(points: int = 128) -> Iterator[Ratio]:
    """A convolutional network, and gradients that have no form, against stored Jacobians."""
    import jax
    import jax.numpy as jnp
    from ntklab import tangent_kernel

    keys = jax.random.split(jax.random.key(0), 5)
    images = jax.random.normal(keys[0], (points, 16, 16, 3))
    vectors = jax.random.normal(keys[1], (points, 64))

    def convolutional(params: Any, x: jax.Array) -> jax.Array:
        for kernel in params[:-1]:
            x = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jnp.tanh(x)
        return jnp.mean(x, axis=(1, 2)) @ params[-1]

    def scanned(params: Any, x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, params)[0][:, 0]

    filters = [
        jax.random.normal(keys[2], (3, 3, 3, 16)) / 5,
        jax.random.normal(keys[3], (3, 3, 16, 16)) / 12,
        jax.random.normal(keys[4], (16, 1)),
    ]
    stack = jax.random.normal(keys[2], (4, 64, 64)) / 8

    for title, apply, params, x, target in (
        ("convolutions / a stored Jacobian", convolutional, filters, images, 1.0),
        ("a scan over layers / a stored Jacobian", scanned, stack, vectors, 1.3),
    ):

        @jax.jit
        def stored(params: Any, x: jax.Array, apply: Any = apply) -> jax.Array:
            def single(row: jax.Array) -> Any:
                return jax.grad(lambda p: apply(p, row[None]).sum())(params)

            rows = jax.tree.leaves(jax.vmap(single)(x))
            flat = jnp.concatenate([leaf.reshape(points, -1) for leaf in rows], axis=1)
            return flat @ flat.T

        def ours(apply: Any = apply, params: Any = params, x: jax.Array = x) -> object:
            return jax.block_until_ready(tangent_kernel.empirical_ntk(apply, params, x))

        def reference(stored: Any = stored, params: Any = params, x: jax.Array = x) -> object:
            return jax.block_until_ready(stored(params, x))

        yield Ratio(title, *alternate(ours, reference, repeats=5), target)


BENCHMARKS: list[Callable[[], Iterable[Ratio]]] = [import_time, kernel_times, other_models]


def main() -> None:
    """Print one line for each comparison."""
    print(f"{'':<44}{'ours':>10} {'reference':>10} {'ratio':>6}   target")
    for benchmark in BENCHMARKS:
        for ratio in benchmark():
            print(ratio, flush=True)


if __name__ == "__main__":
    main()
