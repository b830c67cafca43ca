"""Networks made of gates, with their depth and edges counted."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _validate

__all__ = [
    "Circuit",
    "FeedForward",
    "SparseLayer",
    "quadratic_sigmoid",
]

Vector = Float[Array | np.ndarray, " n"]
Rows = Float[Array | np.ndarray, "N n"]


def quadratic_sigmoid(z: Float[Array | np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\sigma(z) = 0,\; 2z^2,\; 1 - 2(1 - z)^2,\; 1$ on $z \le 0$, $[0, \tfrac12]$,
    $[\tfrac12, 1]$, $z \ge 1$: a sigmoid in quadratic pieces, with $|\sigma'| \le 2$.

    Args:
        z: any array.

    Raises:
        ValueError: for NaN or anything that is not real numbers.

    Source: M21, section 3, the display before (9).

    Examples:
        >>> quadratic_sigmoid(jnp.array([-1.0, 0.25, 0.5, 0.75, 2.0])).tolist()
        [0.0, 0.125, 0.5, 0.875, 1.0]
    """
    z = _validate.floating("z", z, min_ndim=0)
    return _sigmoid(z)


@functools.partial(jax.jit, inline=True)
def _sigmoid(z: Array) -> Array:
    inside = jnp.clip(z, 0, 1)
    return jnp.where(inside < 0.5, 2 * inside**2, 1 - 2 * (1 - inside) ** 2)


class FeedForward(NamedTuple):
    """A sparse feed-forward network whose units are linear or `quadratic_sigmoid`.

    Attributes:
        layers: one for each depth; an edge may skip layers.
        inputs: n; the first n edges are trainable, all other weights are fixed.
    """

    layers: tuple["SparseLayer", ...]
    inputs: int

    @property
    def depth(self) -> int:
        """Layers between the inputs and the output."""
        return len(self.layers)

    @property
    def edges(self) -> int:
        """Number of edges, trainable and fixed."""
        return sum(len(layer.weights) for layer in self.layers)

    @property
    def units(self) -> int:
        """Number of units, without the inputs."""
        return sum(len(layer.biases) for layer in self.layers)

    def apply(self, theta: Vector, x: Rows) -> Float[Array, " N"]:
        """The output at the points x, with θ on the trainable edges.

        Raises:
            ValueError: for NaN or shapes that do not fit.
        """
        theta = _validate.floating("theta", theta, ndim=1)
        x = _validate.points("x", x)
        for name, shape in (("theta", theta.shape), ("x", x.shape[1:])):
            if shape != (self.inputs,):
                raise ValueError(f"{name} must have {self.inputs} coordinates, got {shape}")
        return _propagate(self.layers, theta, x)

    def largest_difference(
        self, model: Callable[[Array, Array], Array], *, draws: int = 20, seed: int = 0
    ) -> float:
        """From a model of the same θ and x: over random θ, in its regimes and far outside, and 64
        random points of the cube.

        Args:
            model: outputs for θ and the points, as `selector`.
            draws: of θ, whose coordinates are of the order of 4/n.
            seed: of θ and x.

        Raises:
            ValueError: for less than one draw.
        """
        draws = _validate.integer("draws", draws, at_least=1)
        draw, n = np.random.default_rng(_validate.integer("seed", seed, at_least=0)), self.inputs
        x = jnp.asarray(draw.choice([-1.0, 1.0], (64, n)), jnp.result_type(float))
        differences = []
        for _ in range(draws):
            place = draw.uniform(-4, 4, n) / n * math.exp(draw.normal())
            theta = jnp.asarray(place, x.dtype)
            differences.append(jnp.max(jnp.abs(self.apply(theta, x) - model(theta, x))))
        return float(max(differences))


class SparseLayer(NamedTuple):
    """The edges into one layer, from any earlier unit, and the layer's units.

    Attributes:
        sources: number of the unit that each edge leaves, inputs first.
        targets: number, within the layer, of the unit that it enters.
        weights: of the edges.
        biases: of the layer's units.
        sigmoid: whether a unit is a `quadratic_sigmoid`; else it is linear.
    """

    sources: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    sigmoid: np.ndarray


@jax.jit
def _propagate(layers: tuple[SparseLayer, ...], theta: Array, x: Array) -> Array:
    values = x.T
    for number, layer in enumerate(layers):
        weights = theta if number == 0 else layer.weights.astype(x.dtype)
        start = jnp.broadcast_to(layer.biases.astype(x.dtype)[:, None], (len(layer.biases), len(x)))
        z = start.at[layer.targets].add(weights[:, None] * values[layer.sources])
        values = jnp.concatenate([values, jnp.where(layer.sigmoid[:, None], _sigmoid(z), z)])
    return values[-1]


class Circuit:
    """A network under construction: units with their incoming edges, sorted into layers at the end.

    A unit is named by its number; the inputs are units 0 to n − 1.

    Args:
        inputs: n.
    """

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.incoming: list[list[tuple[int, float]]] = [[] for _ in range(inputs)]
        self.biases = [0.0] * inputs
        self.sigmoid = [False] * inputs
        self.depths = [0] * inputs

    def unit(
        self, incoming: list[tuple[int, float]], bias: float = 0.0, *, sigmoid: bool = False
    ) -> int:
        """Add a unit with these (source, weight) edges, and give its number."""
        self.incoming.append(incoming)
        self.biases.append(bias)
        self.sigmoid.append(sigmoid)
        self.depths.append(1 + max(self.depths[source] for source, _ in incoming))
        return len(self.incoming) - 1

    def square_terms(self, incoming: list[tuple[int, float]]) -> list[int]:
        """Two units of which 2(first + second) = v², where v comes in and |v| ≤ 1."""
        halves = [(source, weight / 2) for source, weight in incoming]
        flipped = [(source, -weight) for source, weight in halves]
        return [self.unit(halves, sigmoid=True), self.unit(flipped, sigmoid=True)]

    def product(self, a: int, b: int) -> int:
        """A·b = ((a + b)/2)² − ((a − b)/2)², exact for a, b in [−1, 1], and for a = 0."""
        plus = self.square_terms([(a, 0.5), (b, 0.5)])
        minus = self.square_terms([(a, 0.5), (b, -0.5)])
        return self.unit([*((u, 2.0) for u in plus), *((u, -2.0) for u in minus)])

    def product_tree(self, factors: list[int]) -> int:
        """The product of all factors, in a binary tree."""
        while len(factors) > 1:
            pairs = zip(factors[::2], factors[1::2], strict=False)
            rest = factors[-1:] if len(factors) % 2 else []
            factors = [self.product(a, b) for a, b in pairs] + rest
        return factors[0]

    def selection(self) -> tuple[list[int], int, int]:
        """Units of the products θ_i x_i, of H, and of 1 − S."""
        n = self.inputs
        z = [self.unit([(i, 1.0)]) for i in range(n)]
        up = [self.unit([(u, float(n))], -2.0, sigmoid=True) for u in z]
        down = [self.unit([(u, -float(n))], -2.0, sigmoid=True) for u in z]
        s = [self.unit([(a, 1.0), (b, -1.0)]) for a, b in zip(up, down, strict=True)]
        signs = [self.unit([(self.unit([(u, -1.0)], sigmoid=True), -2.0)], 1.0) for u in s]
        unselected = [
            self.unit([(half, -2.0) for half in self.square_terms([(u, 1.0)])], 1.0) for u in s
        ]
        return z, self.product_tree(signs), self.product_tree(unselected)

    def network(self) -> FeedForward:
        """The network of all units so far; the last one is the output."""
        depths = np.array(self.depths)
        # The place of each unit among the values, layer behind layer.
        order = np.argsort(depths, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        layers = []
        for depth in range(1, depths.max() + 1):
            members = np.flatnonzero(depths == depth)
            edges = [
                (place[source], target, weight)
                for target, unit in enumerate(members)
                for source, weight in self.incoming[unit]
            ]
            sources, targets, weights = (np.array(column) for column in zip(*edges, strict=True))
            biases = np.array([self.biases[unit] for unit in members])
            sigmoid = np.array([self.sigmoid[unit] for unit in members])
            layers.append(SparseLayer(sources, targets, weights, biases, sigmoid))
        return FeedForward(tuple(layers), self.inputs)
