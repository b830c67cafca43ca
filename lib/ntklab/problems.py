"""Distributions of labelled points of the cube, and the two families of parities to be learned."""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from ntklab import _validate
from ntklab.cube import (
    character,
    enumerable,
    hypercube,
    membership,
    product_over,
    signs,
    sorted_subset,
    subset_number,
)

__all__ = [
    "Distribution",
    "DistributionArrays",
    "LeakyParities",
    "Moments",
    "SparseParities",
    "distribution_arrays",
    "sample_sparse_parity",
    "square_loss",
]


class Distribution(NamedTuple):
    """A distribution of (x, y) with y = ±1 on finitely many points; all that the square loss sees.

    Attributes:
        points: the inputs, `[N, n]`.
        probabilities: of the inputs, `[N]`.
        label_means: E[y | x] at each of them, `[N]`.
    """

    points: Float[Array | np.ndarray, "N n"]
    probabilities: Float[Array | np.ndarray, " N"]
    label_means: Float[Array | np.ndarray, " N"]


class DistributionArrays(NamedTuple):
    """A `Distribution` as JAX arrays of one dtype, checked: what `distribution_arrays` returns.

    Attributes:
        points: the inputs, `[N, n]`.
        probabilities: of the inputs, `[N]`.
        label_means: E[y | x] at each of them, `[N]`.
    """

    points: Array
    probabilities: Array
    label_means: Array


class Moments(NamedTuple):
    """What a linear predictor needs to know of a distribution.

    Attributes:
        mean: E[x], `[n]`.
        second: E[x xᵀ], `[n, n]`.
        correlation: E[y x], `[n]`.
        label_mean: E[y].
    """

    mean: Float[Array, " n"]
    second: Float[Array, "n n"]
    correlation: Float[Array, " n"]
    label_mean: Float[Array, ""]


@dataclass(frozen=True)
class SparseParities:
    r"""$\mathcal P^{\mathrm{bsp}}[n, k, \alpha]$: parities of k among n bits, where a share
    $\alpha$ of the inputs has bits of mean ½.

    Inputs come from $(1 - \alpha)\mathcal D_0 + \alpha \mathcal D_1$: uniform on the cube, or
    independent bits with $\mathbb E\, x_i = \tfrac12$. The label is $y = \chi_I(x)$ with
    $|I| = k$.

    Args:
        n: number of coordinates.
        k: number of coordinates in a parity, 2 ≤ k ≤ n.
        alpha: share of biased inputs, in (0, 1).

    Raises:
        ValueError: for other values, as `k must be at most n = 4, got 5`.

    Source: M21, section 3.

    Examples:
        >>> problem = SparseParities(n=10, k=3, alpha=0.2)
        >>> problem.size
        120
        >>> [round(float(c), 4) for c in problem.moments((0, 1, 2)).correlation[:4]]
        [0.05, 0.05, 0.05, 0.0125]
    """

    n: int
    k: int
    alpha: float

    def __post_init__(self) -> None:
        _validate.integer("n", self.n, at_least=2)
        _validate.integer("k", self.k, at_least=2)
        if self.k > self.n:
            raise ValueError(f"k must be at most n = {self.n}, got {self.k}")
        object.__setattr__(self, "alpha", _validate.probability("alpha", self.alpha))

    @property
    def fixed_inputs(self) -> bool:
        """True: the inputs do not depend on I."""
        return True

    @property
    def size(self) -> int:
        """C(n, k)."""
        return math.comb(self.n, self.k)

    def subsets(self) -> Iterator[tuple[int, ...]]:
        """All I with |I| = k."""
        return itertools.combinations(range(self.n), self.k)

    def distribution(self, subset: Sequence[int], *, dtype: Any = None) -> Distribution:
        """The member of I, by enumeration.

        Raises:
            ValueError: if I has not k coordinates, or n exceeds `MAX_ENUMERATION`.
        """
        subset = self._member(subset)
        enumerable(self.n, "moments(subset) has the closed form for any n")
        points = hypercube(self.n, dtype=dtype)
        uniform = 1 / len(points)
        mixed = (1 - self.alpha) * uniform + self.alpha * np.prod(
            (1 + 0.5 * signs(self.n)) / 2, axis=1
        )
        chances = _validate.from_numpy(mixed, points.dtype)
        return Distribution(points, chances, character(subset, points))

    def moments(self, subset: Sequence[int], *, dtype: Any = None) -> Moments:
        r"""First and second moments in closed form, for any n.

        $\mathbb E x_i = \alpha/2$, $\mathbb E x_i x_j = \alpha/4$, $\mathbb E y x_i =
        \alpha 2^{-(k-1)}$ for i in I and $\alpha 2^{-(k+1)}$ elsewhere,
        $\mathbb E y = \alpha 2^{-k}$.
        """
        subset = self._member(subset)
        dtype = _validate.floating_dtype("dtype", dtype)
        second = np.full((self.n, self.n), self.alpha / 4)
        np.fill_diagonal(second, 1)
        own, other = 2.0 ** (1 - self.k), 2.0 ** (-1 - self.k)
        correlation = self.alpha * np.where(membership(subset, self.n), own, other)
        mean, label_mean = np.full(self.n, self.alpha / 2), self.alpha * 2.0**-self.k
        moments = (mean, second, correlation, label_mean)
        return Moments(*(_validate.from_numpy(moment, dtype) for moment in moments))

    def edge_bound(self, uniform_edge: float) -> float:
        r"""$\alpha/2 + (1 - \alpha)\gamma_0$: the uniform part counts for $1 - \alpha$."""
        return self.alpha / 2 + (1 - self.alpha) * min(uniform_edge, 0.5)

    def sample(
        self, key: Key[Array, ""], subset: Sequence[int], count: int, *, dtype: Any = None
    ) -> tuple[Float[Array, "count n"], Float[Array, " count"]]:
        """Independent examples (x, y) of the member of I."""
        subset = self._member(subset)
        return sample_sparse_parity(key, self.n, subset, self.alpha, count, dtype=dtype)

    def _member(self, subset: Sequence[int]) -> tuple[int, ...]:
        chosen = sorted_subset(subset, self.n)
        if len(chosen) != self.k:
            raise ValueError(f"subset must have k = {self.k} coordinates, got {len(chosen)}")
        return chosen


@dataclass(frozen=True)
class LeakyParities:
    r"""$\mathcal P^{\mathrm{lp}}[n, \alpha]$: parities of any two or more bits, whose inputs leak
    the subset.

    A share $1 - \alpha$ of the examples has uniform x and $y = \chi_I(x)$; the rest has
    $x = x^I$, with $x^I_i = 1$ for i in I and −1 elsewhere, and a label that is a fair coin.

    Args:
        n: number of coordinates.
        alpha: share of leaking examples, in (0, 1).

    Raises:
        ValueError: for n below 2 or $\alpha$ outside (0, 1).

    Source: M21, section 5.

    Examples:
        >>> LeakyParities(n=10, alpha=0.2).size
        1013
        >>> LeakyParities(n=3, alpha=0.5).moments((0, 1)).mean.tolist()
        [0.5, 0.5, -0.5]
    """

    n: int
    alpha: float

    def __post_init__(self) -> None:
        _validate.integer("n", self.n, at_least=2)
        object.__setattr__(self, "alpha", _validate.probability("alpha", self.alpha))

    @property
    def fixed_inputs(self) -> bool:
        """False: where the inputs gather tells I."""
        return False

    @property
    def size(self) -> int:
        """2ⁿ − n − 1."""
        return int(2**self.n - self.n - 1)

    def subsets(self) -> Iterator[tuple[int, ...]]:
        """All I with |I| ≥ 2, the small ones first."""
        sizes = range(2, self.n + 1)
        return itertools.chain.from_iterable(
            itertools.combinations(range(self.n), size) for size in sizes
        )

    def leak(self, subset: Sequence[int], *, dtype: Any = None) -> Float[Array, " n"]:
        """x^I, the input at which the leaking examples gather."""
        leak = np.where(membership(self._member(subset), self.n), 1, -1)
        return _validate.from_numpy(leak, _validate.floating_dtype("dtype", dtype))

    def distribution(self, subset: Sequence[int], *, dtype: Any = None) -> Distribution:
        """The member of I, by enumeration.

        Raises:
            ValueError: if I has fewer than two coordinates, or n exceeds `MAX_ENUMERATION`.
        """
        subset = self._member(subset)
        enumerable(self.n, "moments(subset) has the closed form for any n")
        points = hypercube(self.n, dtype=dtype)
        # The bits of x^I are set off I.
        gathered = 2**self.n - 1 - subset_number(subset)
        share = (1 - self.alpha) / len(points)
        chances = np.full(len(points), share)
        chances[gathered] += self.alpha
        labels = share / chances * np.prod(signs(self.n)[:, list(subset)], axis=1)
        return Distribution(
            points,
            _validate.from_numpy(chances, points.dtype),
            _validate.from_numpy(labels, points.dtype),
        )

    def moments(self, subset: Sequence[int], *, dtype: Any = None) -> Moments:
        r"""First and second moments in closed form, for any n.

        $\mathbb E x = \alpha x^I$, $\mathbb E x x^{\mathsf T} = (1 - \alpha)\mathrm{Id} +
        \alpha x^I (x^I)^{\mathsf T}$; labels are uncorrelated with every affine function.
        """
        dtype = _validate.floating_dtype("dtype", dtype)
        leak = np.where(membership(self._member(subset), self.n), 1, -1)
        second = (1 - self.alpha) * np.eye(self.n) + self.alpha * np.outer(leak, leak)
        moments = (self.alpha * leak, second, np.zeros(self.n), np.zeros(()))
        return Moments(*(_validate.from_numpy(moment, dtype) for moment in moments))

    def edge_bound(self, uniform_edge: float) -> float:
        r"""$(1 - \alpha)\gamma_0$: on the leaking examples no predictor is better than 0."""
        return (1 - self.alpha) * min(uniform_edge, 0.5)

    def sample(
        self, key: Key[Array, ""], subset: Sequence[int], count: int, *, dtype: Any = None
    ) -> tuple[Float[Array, "count n"], Float[Array, " count"]]:
        """Independent examples (x, y) of the member of I."""
        key = _validate.random_key("key", key)
        count = _validate.integer("count", count, at_least=1)
        inside = membership(self._member(subset), self.n)
        return _leaky_sample(
            key, inside, self.alpha, count, _validate.floating_dtype("dtype", dtype)
        )

    def _member(self, subset: Sequence[int]) -> tuple[int, ...]:
        chosen = sorted_subset(subset, self.n)
        if len(chosen) < 2:
            raise ValueError(f"subset must have at least 2 coordinates, got {len(chosen)}")
        return chosen


# A family of parities.
ParityProblem = SparseParities | LeakyParities


@functools.partial(jax.jit, static_argnames=("count", "dtype"))
def _leaky_sample(
    key: Array, inside: Any, alpha: Any, count: int, dtype: Any
) -> tuple[Array, Array]:
    which, inputs, labels = jax.random.split(key, 3)
    leaking = jax.random.bernoulli(which, alpha, (count,))
    uniform = jax.random.rademacher(inputs, (count * len(inside),), dtype)
    uniform = uniform.reshape(count, len(inside))
    leak = jnp.where(inside, 1, -1).astype(dtype)
    x = jnp.where(leaking[:, None], leak, uniform)
    coins = jax.random.rademacher(labels, (count,), dtype)
    return x, jnp.where(leaking, coins, product_over(uniform, inside))


def square_loss(
    predictions: Float[Array | np.ndarray, " N"], distribution: Distribution
) -> Float[Array, ""]:
    r"""$\tfrac12 \mathbb E (h(x) - y)^2 = \tfrac12 + \mathbb E\bigl[\tfrac12 h(x)^2 - h(x)\,
    \mathbb E[y|x]\bigr]$ for labels ±1.

    Args:
        predictions: h at the distribution's points.
        distribution: where the loss is taken.

    Raises:
        ValueError: if there is not one prediction for each point.

    Examples:
        >>> member = SparseParities(4, 2, 0.1).distribution((0, 1))
        >>> float(square_loss(jnp.zeros(16), member))
        0.5
    """
    _, probabilities, label_means = distribution_arrays(distribution)
    h = _validate.floating("predictions", predictions, ndim=1)
    if h.shape != probabilities.shape:
        raise ValueError(f"predictions must have shape {probabilities.shape}, got {h.shape}")
    return _square_loss(h, probabilities, label_means)


@jax.jit
def _square_loss(h: Array, probabilities: Array, label_means: Array) -> Array:
    return 0.5 + probabilities @ (h**2 / 2 - h * label_means)


def distribution_arrays(distribution: Any) -> DistributionArrays:
    """A distribution as JAX arrays of one dtype, once its columns fit together.

    Args:
        distribution: as NumPy or JAX arrays.

    Raises:
        ValueError: for anything but a `Distribution`, columns of other lengths, probabilities that
            are negative or do not sum to 1, label means outside [-1, 1].

    Examples:
        >>> halves = Distribution(np.eye(2), np.array([0.5, 0.5]), np.zeros(2))
        >>> distribution_arrays(halves).probabilities.tolist()
        [0.5, 0.5]
    """
    _validate.instance("distribution", distribution, Distribution)
    points = _validate.points("distribution.points", distribution.points)
    columns = []
    for name in ("probabilities", "label_means"):
        column = getattr(distribution, name)
        column = _validate.floating(f"distribution.{name}", column, ndim=1)
        if len(column) != len(points):
            raise ValueError(
                f"distribution.{name} must have shape ({len(points)},), got {column.shape}"
            )
        columns.append(column.astype(points.dtype))
    probabilities, label_means = columns
    if _validate.concrete(label_means):
        worst = np.max(np.abs(np.asarray(label_means)))
        if worst > 1 + 1e-4:
            raise ValueError(
                f"distribution.label_means must lie between -1 and 1 for labels ±1, got {worst:g}"
            )
    if _validate.concrete(probabilities):
        total, least = np.sum(np.asarray(probabilities)), np.min(np.asarray(probabilities))
        if least < 0 or abs(total - 1) > 1e-4:
            raise ValueError(
                f"distribution.probabilities must be at least 0 with sum 1, got minimum "
                f"{least:g} and sum {total:g}"
            )
    return DistributionArrays(points, probabilities, label_means)


def sample_sparse_parity(
    key: Key[Array, ""],
    n: int,
    subset: Sequence[int],
    alpha: Any,
    count: int,
    *,
    dtype: Any = None,
) -> tuple[Float[Array, "count n"], Float[Array, " count"]]:
    r"""Examples of a member of `SparseParities`, with $\alpha$ from 0 (uniform inputs) to 1.

    One random byte a bit: it is below 128 with chance ½ and below 192 with chance ¾, exactly.

    Args:
        key: a key of `jax.random`.
        n: number of coordinates.
        subset: I.
        alpha: share of biased inputs, a number or a traced value; the problem itself leaves out 0
            and 1, an experiment needs them.
        count: number of examples.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for a subset that does not fit n, no example, or $\\alpha$ outside [0, 1].

    Examples:
        >>> x, y = sample_sparse_parity(jax.random.key(0), 8, (0, 1), 0.5, 100)
        >>> x.shape, bool(jnp.all(y == x[:, 0] * x[:, 1]))
        ((100, 8), True)
    """
    key = _validate.random_key("key", key)
    n = _validate.integer("n", n, at_least=1)
    subset = sorted_subset(subset, n)
    count = _validate.integer("count", count, at_least=1)
    if _validate.concrete(alpha):
        alpha = _validate.number("alpha", alpha)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must lie between 0 and 1, got {alpha:g}")
    dtype = _validate.floating_dtype("dtype", dtype)
    return _sparse_sample(key, membership(subset, n), alpha, count, dtype)


@functools.partial(jax.jit, static_argnames=("count", "dtype"))
def _sparse_sample(
    key: Array, inside: Any, alpha: Any, count: int, dtype: Any
) -> tuple[Array, Array]:
    n = len(inside)
    which, bits = jax.random.split(key)
    biased = jax.random.bernoulli(which, alpha, (count,))
    below = jnp.where(biased, 192, 128).astype(jnp.uint8)
    # Words, since generating single bytes takes seven times as long; along one axis, which
    # compiles quickly.
    words = jax.random.bits(bits, (count * -(-n // 4),), jnp.uint32)
    bytes_ = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(count, -1)[:, :n]
    x = jnp.where(bytes_ < below[:, None], 1, -1).astype(dtype)
    return x, product_over(x, inside)
