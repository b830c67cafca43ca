"""Compare the library's speed with public tools', as ratios measured in one run.

Seconds differ between machines, so each comparison alternates its two sides and reports the ratio
of their medians. To add one: write a generator of `Ratio`s, and list it in BENCHMARKS.
"""

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


def kernel_times(points: int = 256, width: int = 256) -> Iterator[Ratio]:
    """Tangent kernels of one network with three hidden layers, by different routes."""
    import jax
    from ntklab import networks, tangent_kernel

    network = networks.mlp((width, width, width, 1))
    params = network.init(jax.random.key(0), 32)
    x = jax.random.normal(jax.random.key(1), (points, 32))

    def kernel(*others: jax.Array, method: str = "auto") -> Callable[[], object]:
        return lambda: jax.block_until_ready(
            tangent_kernel.empirical_ntk(network.apply, params, x, *others, method=method)
        )

    def stored_jacobian() -> object:
        jacobian = jax.jacobian(lambda p: network.apply(p, x)[:, 0])(params)
        rows = [leaf.reshape(points, -1) for leaf in jax.tree.leaves(jacobian)]
        return jax.block_until_ready(sum(row @ row.T for row in rows))

    routes = {
        "layerwise route / whole Jacobian": (kernel(), stored_jacobian, 0.2),
        "blocks of gradients / whole Jacobian": (kernel(method="jacobian"), stored_jacobian, 2.0),
        "one set of points / the same set twice": (
            kernel(method="jacobian"),
            kernel(x, method="jacobian"),
            0.9,
        ),
    }
    for title, (ours, reference, target) in routes.items():
        yield Ratio(title, *alternate(ours, reference, repeats=3), target)


def signal_times(points: int = 512, width: int = 1024) -> Iterator[Ratio]:
    """The layerwise route's signals, one derivative by zeros added to the pre-activations, against
    back-propagation by hand.
    """
    import jax
    import jax.numpy as jnp
    from ntklab import networks, tangent_kernel

    network = networks.mlp((width, width, width, 1))
    model = network.apply
    assert isinstance(model, networks.DenseModel)
    params = network.init(jax.random.key(0), width)
    x = jax.random.normal(jax.random.key(1), (points, width))

    @jax.jit
    def by_derivative(params: Any) -> Any:
        return tangent_kernel._signals(model, params, x)[1]

    @jax.jit
    def by_hand(params: Any) -> Any:
        weights = [layer["weight"] / layer["weight"].shape[1] ** 0.5 for layer in params]
        activations, masks = x, []
        for weight in weights[:-1]:
            z = activations @ weight.T
            masks.append(z > 0)
            activations = jnp.maximum(z, 0)
        signals = [jnp.ones((points, 1))]
        for weight, mask in zip(weights[:0:-1], masks[::-1], strict=True):
            signals.append(signals[-1] @ weight * mask)
        return signals[::-1]

    ours, reference = alternate(
        lambda: jax.block_until_ready(by_derivative(params)),
        lambda: jax.block_until_ready(by_hand(params)),
        repeats=7,
    )
    yield Ratio("layerwise signals / hand-written ReLU", ours, reference, target=1.25)


BENCHMARKS: list[Callable[[], Iterable[Ratio]]] = [import_time, kernel_times, signal_times]


def main() -> None:
    """Print one line for each comparison."""
    print(f"{'':<44}{'ours':>10} {'reference':>10} {'ratio':>6}   target")
    for benchmark in BENCHMARKS:
        for ratio in benchmark():
            print(ratio, flush=True)


if __name__ == "__main__":
    main()
