r"""What can a kernel learn on the Boolean cube, and what can none?

Characters and the Walsh–Hadamard transform, the two families of parities that the following
chapters learn, the best predictor in a ball of a kernel's space, exactly, and the bounds that hold
for every kernel: by its dimension, by the norm of its predictors, sharp and as published.

A point of the cube is a row of ±1. Points are numbered by their bits, $x_i = 1 - 2 b_i$, and so are
subsets of coordinates, which makes $\chi_S(x) = (-1)^{|S \cap b|}$: both run from 0 to $2^n - 1$.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Key

from ntklab import _validate, networks
from ntklab.results import Check, result, rounding_tolerance
from ntklab.tangent_kernel import empirical_ntk

__all__ = [
    "MAX_ENUMERATION",
    "BestPredictor",
    "Distribution",
    "LeakyParities",
    "Moments",
    "SparseParities",
    "biased_character",
    "character",
    "dimension_bound",
    "edge",
    "edge_from_moments",
    "edges",
    "example_kernels",
    "hypercube",
    "inverse_walsh_hadamard",
    "largest_mean_edge",
    "parity_edges",
    "product_probabilities",
    "published_norm_bound",
    "sample_sparse_parity",
    "sharp_norm_bound",
    "square_loss",
    "subset_number",
    "walsh_hadamard",
]

#: The largest n for which the $2^n$ points of the cube are listed.
MAX_ENUMERATION: int = 14

Kernel = Callable[[Array, Array], Array]


# --- characters ---------------------------------------------------------------------------------


def hypercube(n: int, *, dtype: Any = None) -> Float[Array, "points n"]:
    r"""All $2^n$ points of $\{-1, 1\}^n$; bit i of a point's number j gives $x_i = 1 - 2 b_i(j)$.

    Args:
        n: number of coordinates, at most `MAX_ENUMERATION`.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: if n is below 1 or too large to list the points.

    Examples:
        >>> hypercube(2).astype(int).tolist()
        [[1, 1], [-1, 1], [1, -1], [-1, -1]]
    """
    return _validate.from_numpy(_signs(_enumerable(n)), _validate.floating_dtype("dtype", dtype))


def character(subset: Sequence[int], x: Float[Array | np.ndarray, "N n"]) -> Float[Array, " N"]:
    r"""$\chi_I(x) = \prod_{i \in I} x_i$, the parity of the coordinates in I.

    Args:
        subset: I, different coordinates from 0 to n − 1; the empty one gives the constant 1.
        x: points of the cube.

    Raises:
        ValueError: for coordinates that are not there or come twice.

    Examples:
        >>> character((0, 2), jnp.array([[1.0, -1.0, -1.0]])).tolist()
        [-1.0]
    """
    x = _validate.points("x", x)
    return _product_over(x, _inside(_subset(subset, x.shape[1]), x.shape[1]))


def subset_number(subset: Sequence[int]) -> int:
    r"""$\sum_{i \in I} 2^i$: where `walsh_hadamard` and `parity_edges` keep what belongs to I.

    Examples:
        >>> subset_number((0, 2))
        5
    """
    return sum(1 << i for i in _subset(subset, None))


def walsh_hadamard(
    values: Float[Array | np.ndarray, "points *functions"],
) -> Float[Array, "points *functions"]:
    r"""$\hat f(S) = \mathbb{E}_x f(x) \chi_S(x)$ under the uniform measure, for all S at once.

    $n 2^n$ additions; with this normalization $f = \sum_S \hat f(S) \chi_S$ and
    $\mathbb{E} f^2 = \sum_S \hat f(S)^2$.

    Args:
        values: f at the points of `hypercube`; further axes are further functions.

    Returns:
        The coefficients, in the order of `subset_number`.

    Raises:
        ValueError: if the first axis is not a power of 2, or for NaN.

    Examples:
        >>> walsh_hadamard(character((0, 1), hypercube(2))).tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    return _coefficients(_on_the_cube("values", values))


def inverse_walsh_hadamard(
    coefficients: Float[Array | np.ndarray, "points *functions"],
) -> Float[Array, "points *functions"]:
    r"""$f(x) = \sum_S \hat f(S) \chi_S(x)$ at all points of the cube.

    Raises:
        ValueError: as `walsh_hadamard`.

    Examples:
        >>> inverse_walsh_hadamard(jnp.array([0.0, 0.0, 0.0, 1.0])).tolist()
        [1.0, -1.0, -1.0, 1.0]
    """
    return _sums_over_signs(_on_the_cube("coefficients", coefficients))


def product_probabilities(n: int, mean: float, *, dtype: Any = None) -> Float[Array, " points"]:
    r"""$\prod_i (1 + \mu x_i)/2$: the chances of the points when all bits are independent with
    mean $\mu$.

    Args:
        n: number of coordinates, at most `MAX_ENUMERATION`.
        mean: $\mu$ in [−1, 1].
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for such an n or a mean outside [−1, 1].

    Examples:
        >>> product_probabilities(1, 0.5).tolist()
        [0.75, 0.25]
    """
    chances = _product_chances(_enumerable(n), _mean(mean))
    return _validate.from_numpy(chances, _validate.floating_dtype("dtype", dtype))


def biased_character(
    subset: Sequence[int], x: Float[Array | np.ndarray, "N n"], mean: float
) -> Float[Array, " N"]:
    r"""$\prod_{i \in I} (x_i - \mu)/\sqrt{1 - \mu^2}$: orthonormal when the bits have mean $\mu$.

    Args:
        subset: I.
        x: points of the cube.
        mean: $\mu$ in (−1, 1); 0 gives `character`.

    Raises:
        ValueError: as `character`, and for a mean at which a bit does not vary.

    Examples:
        >>> biased_character((0,), jnp.array([[1.0], [-1.0]]), 0.6).round(6).tolist()
        [0.5, -2.0]
    """
    x = _validate.points("x", x)
    mean = _mean(mean)
    if abs(mean) == 1:
        raise ValueError(f"mean must lie strictly between -1 and 1, got {mean:g}")
    return character(subset, (x - mean) / math.sqrt(1 - mean**2))


def _enumerable(n: Any, closed_form: str = "") -> int:
    n = _validate.integer("n", n, at_least=1)
    if n > MAX_ENUMERATION:
        raise ValueError(
            f"n must be at most {MAX_ENUMERATION} to list the 2^n points, got {n}"
            + (f"; {closed_form}" if closed_form else "")
        )
    return n


def _subset(subset: Any, n: int | None) -> tuple[int, ...]:
    """Sorted coordinates, all different and, if n is given, below n."""
    if not isinstance(subset, Sequence | np.ndarray) or isinstance(subset, str):
        raise ValueError(f"subset must be a sequence of coordinates, got {subset!r}")
    chosen = sorted(_validate.integer("subset's coordinates", i, at_least=0) for i in subset)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"subset must name each coordinate once, got {tuple(subset)}")
    if n is not None and chosen and chosen[-1] >= n:
        raise ValueError(f"subset must name coordinates below n = {n}, got {chosen[-1]}")
    return tuple(chosen)


def _mean(mean: Any) -> float:
    value = _validate.number("mean", mean)
    if abs(value) > 1:
        raise ValueError(f"mean must lie between -1 and 1, got {value:g}")
    return value


def _on_the_cube(name: str, values: Any) -> Array:
    array = _validate.floating(name, values, min_ndim=1)
    if len(array) == 0 or len(array) & (len(array) - 1):
        raise ValueError(f"{name} must have a value for each of 2^n points, got {len(array)}")
    return array


def _signs(n: int) -> np.ndarray:
    """The points of the cube, by their bits."""
    return 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)


def _product_chances(n: int, mean: float) -> np.ndarray:
    return np.prod((1 + mean * _signs(n)) / 2, axis=1)


def _inside(subset: Sequence[int], n: int) -> np.ndarray:
    """Which coordinates belong to the subset. One program serves subsets of every size."""
    return np.isin(np.arange(n), subset)


@jax.jit
def _product_over(x: Array, inside: Any) -> Array:
    return jnp.prod(jnp.where(inside, x, 1), axis=1)


@jax.jit
def _coefficients(values: Array) -> Array:
    return _sums_over_signs(values) / len(values)


@jax.jit
def _sums_over_signs(values: Array) -> Array:
    """Σ_x f(x) χ_S(x): one butterfly for each coordinate."""
    stride = 1
    while stride < len(values):
        pairs = values.reshape(-1, 2, stride, *values.shape[1:])
        both = (pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1])
        values = jnp.stack(both, axis=1).reshape(values.shape)
        stride *= 2
    return values


# --- learning problems --------------------------------------------------------------------------


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
        _enumerable(self.n, "moments(subset) has the closed form for any n")
        points = hypercube(self.n, dtype=dtype)
        uniform = 1 / len(points)
        mixed = (1 - self.alpha) * uniform + self.alpha * _product_chances(self.n, 0.5)
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
        correlation = self.alpha * np.where(_inside(subset, self.n), own, other)
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
        chosen = _subset(subset, self.n)
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
        leak = np.where(_inside(self._member(subset), self.n), 1, -1)
        return _validate.from_numpy(leak, _validate.floating_dtype("dtype", dtype))

    def distribution(self, subset: Sequence[int], *, dtype: Any = None) -> Distribution:
        """The member of I, by enumeration.

        Raises:
            ValueError: if I has fewer than two coordinates, or n exceeds `MAX_ENUMERATION`.
        """
        subset = self._member(subset)
        _enumerable(self.n, "moments(subset) has the closed form for any n")
        points = hypercube(self.n, dtype=dtype)
        # The bits of x^I are set off I.
        gathered = 2**self.n - 1 - subset_number(subset)
        share = (1 - self.alpha) / len(points)
        chances = np.full(len(points), share)
        chances[gathered] += self.alpha
        labels = share / chances * np.prod(_signs(self.n)[:, list(subset)], axis=1)
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
        leak = np.where(_inside(self._member(subset), self.n), 1, -1)
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
        inside = _inside(self._member(subset), self.n)
        return _leaky_sample(
            key, inside, self.alpha, count, _validate.floating_dtype("dtype", dtype)
        )

    def _member(self, subset: Sequence[int]) -> tuple[int, ...]:
        chosen = _subset(subset, self.n)
        if len(chosen) < 2:
            raise ValueError(f"subset must have at least 2 coordinates, got {len(chosen)}")
        return chosen


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
    return x, jnp.where(leaking, coins, _product_over(uniform, inside))


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
    _, probabilities, label_means = _checked(distribution)
    h = _validate.floating("predictions", predictions, min_ndim=1, max_ndim=1)
    if h.shape != probabilities.shape:
        raise ValueError(f"predictions must have shape {probabilities.shape}, got {h.shape}")
    return _square_loss(h, probabilities, label_means)


@jax.jit
def _square_loss(h: Array, probabilities: Array, label_means: Array) -> Array:
    return 0.5 + probabilities @ (h**2 / 2 - h * label_means)


def _checked(distribution: Any) -> tuple[Array, Array, Array]:
    if not isinstance(distribution, Distribution):
        raise ValueError(f"distribution must be a Distribution, got {type(distribution).__name__}")
    points = _validate.points("distribution.points", distribution.points)
    columns = []
    for name in ("probabilities", "label_means"):
        column = getattr(distribution, name)
        column = _validate.floating(f"distribution.{name}", column, min_ndim=1, max_ndim=1)
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
    return points, probabilities, label_means


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
    subset = _subset(subset, n)
    count = _validate.integer("count", count, at_least=1)
    if _validate.concrete(alpha):
        alpha = _validate.number("alpha", alpha)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must lie between 0 and 1, got {alpha:g}")
    dtype = _validate.floating_dtype("dtype", dtype)
    return _sparse_sample(key, _inside(subset, n), alpha, count, dtype)


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
    return x, _product_over(x, inside)


# --- the best predictor in a ball ---------------------------------------------------------------


class BestPredictor(NamedTuple):
    r"""The minimizer of the square loss in $\mathcal F(K, B)$.

    Attributes:
        edge: $\gamma = \tfrac12 - L$, what it gains over predicting 0.
        loss: its loss L.
        norm: $\|w\| R$, at most B.
        predictions: its values at the distribution's points, `[N]`.
        multiplier: $\mu \ge 0$ of the norm constraint; 0 where the constraint is slack.
    """

    edge: Float[Array, ""]
    loss: Float[Array, ""]
    norm: Float[Array, ""]
    predictions: Float[Array, " N"]
    multiplier: Float[Array, ""]


def edge(
    kernel: Kernel | Float[Array | np.ndarray, "N p"],
    distribution: Distribution,
    norm_bound: float = math.inf,
) -> BestPredictor:
    r"""The best predictor in $\mathcal F(K, B) = \{\langle w, \phi(\cdot)\rangle : \|w\| R \le
    B\}$, exactly.

    With $\Sigma = \mathbb E\, \phi\phi^{\mathsf T}$ and $c = \mathbb E\, y\phi$ it minimizes
    $\tfrac12 w^{\mathsf T}\Sigma w - c \cdot w$ over a ball. In the eigenbasis of $\Sigma$ the
    solution is $w_i = c_i/(\lambda_i + \mu)$, and the multiplier $\mu$ solves one equation in one
    unknown: Newton's method, to the last digits. The edge is $\sup \bigl(\mathbb E\, hy -
    \tfrac12\mathbb E\, h^2\bigr)$.

    Args:
        kernel: a function K(x1, x2) → `[N1, N2]`, or the features φ at the distribution's points,
            `[N, p]`.
        distribution: inputs with their label means.
        norm_bound: B ≥ 0; `inf` for the whole space. $R^2$ is the largest K(x, x) over the points.

    Returns:
        Edge, loss, norm, predictions, multiplier. A kernel's values are taken as known to 16 units
        in the last place of $R^2$: directions with $\lambda_i \le 16\,\mathrm{eps}\,R^2$ count
        as not reached, and hide an edge of at most $4 B \sqrt{\mathrm{eps}}$, 0.0014 B in float32.
        Features are better conditioned: theirs are those below
        $(N\,\mathrm{eps})^2 \lambda_1$.

    Raises:
        ValueError: for a negative or NaN bound, features or a kernel of another shape, NaN, a
            kernel that is not symmetric or not positive semidefinite.

    Source: M21, equations (6) and (7); square loss, labels ±1.

    Examples:
        >>> member = SparseParities(n=4, k=2, alpha=0.5).distribution((0, 1))
        >>> best = edge(lambda x1, x2: x1 @ x2.T, member)
        >>> round(float(best.edge), 4)
        0.0556
        >>> bool(edge(member.points, member, norm_bound=0.1).norm <= 0.1 + 1e-6)
        True
    """
    _, probabilities, label_means = checked = _checked(distribution)
    features, gram = _features_or_gram(kernel, checked[0])
    _nonnegative_diagonal(gram)
    best, least, largest = _best(
        features, gram, probabilities, label_means, _norm_bound(norm_bound)
    )
    _positive("kernel", least, largest)
    return best


def edges(
    kernel: Kernel | Float[Array | np.ndarray, "points p"],
    problem: ParityProblem,
    norm_bound: float = math.inf,
) -> Float[Array, " members"]:
    """The edge on every member of a learning problem, in the order of `problem.subsets()`.

    Args:
        kernel: a function K(x1, x2), or the features at the points of the cube.
        problem: with n at most `MAX_ENUMERATION`.
        norm_bound: B, as for `edge`.

    Raises:
        ValueError: as `edge`, and if n is too large to enumerate.

    Examples:
        >>> edges(lambda x1, x2: x1 @ x2.T, LeakyParities(3, 0.2)).round(6).tolist()
        [0.0, 0.0, 0.0, 0.0]
    """
    if not isinstance(problem, ParityProblem):
        raise ValueError(
            f"problem must be SparseParities or LeakyParities, got {type(problem).__name__}"
        )
    _enumerable(problem.n, "dimension_bound and sharp_norm_bound hold for any n")
    norm_bound = _norm_bound(norm_bound)
    points = _cube(problem.n, kernel)
    factor, gram = _features_or_gram(kernel, points)
    _nonnegative_diagonal(gram)
    if problem.fixed_inputs:
        first = next(iter(problem.subsets()))
        chances = problem.distribution(first, dtype=points.dtype).probabilities
        numbers = np.array([subset_number(subset) for subset in problem.subsets()])
        found, least, largest = _solve_alike(factor, gram, chances, numbers, norm_bound)
    else:
        with jax.ensure_compile_time_eval():  # known, even where the kernel is traced
            members = [
                problem.distribution(subset, dtype=points.dtype) for subset in problem.subsets()
            ]
            probabilities = np.stack([np.asarray(member.probabilities) for member in members])
            labels = np.stack([np.asarray(member.label_means) for member in members])
        found, least, largest = _solve_each(factor, gram, probabilities, labels, norm_bound)
    _positive("kernel", least, largest)
    return found


def parity_edges(
    kernel: Kernel | Float[Array | np.ndarray, "points p"], n: int, norm_bound: float = math.inf
) -> Float[Array, " subsets"]:
    r"""The edge on all $2^n$ parities under uniform inputs, indexed by `subset_number`.

    One eigendecomposition and one Walsh–Hadamard transform of its eigenvectors serve them all.

    Args:
        kernel: a function K(x1, x2), or the features at the points of `hypercube(n)`.
        n: number of coordinates.
        norm_bound: B, as for `edge`.

    Raises:
        ValueError: as `edge`, and if n exceeds `MAX_ENUMERATION`.

    Examples:
        >>> parity_edges(hypercube(2), 2).round(6).tolist()
        [0.0, 0.5, 0.5, 0.0]
    """
    n = _enumerable(n, "dimension_bound and sharp_norm_bound hold for any n")
    norm_bound = _norm_bound(norm_bound)
    features, gram = _features_or_gram(kernel, _cube(n, kernel))
    _nonnegative_diagonal(gram)
    found, least, largest = _solve_parities(features, gram, norm_bound)
    _positive("kernel", least, largest)
    return found


def edge_from_moments(
    second: Float[Array | np.ndarray, "p p"],
    correlation: Float[Array | np.ndarray, " p"],
    radius: float = math.inf,
) -> Float[Array, ""]:
    r"""$\max_{\|w\| \le \rho} \; c \cdot w - \tfrac12 w^{\mathsf T}\Sigma w$: the edge where
    features have known moments, for any n.

    Args:
        second: $\Sigma = \mathbb E\,\phi\phi^{\mathsf T}$.
        correlation: $c = \mathbb E\,y\phi$, in the range of $\Sigma$.
        radius: $\rho = B/R$.

    Raises:
        ValueError: for shapes that do not fit, a matrix that is not symmetric or not positive
            semidefinite, a negative radius.

    Examples:
        >>> float(edge_from_moments(jnp.eye(2), jnp.array([0.3, 0.4])))
        0.125
        >>> round(float(edge_from_moments(jnp.eye(2), jnp.array([0.3, 0.4]), 0.1)), 4)
        0.045
    """
    sigma = _validate.floating("second", second, min_ndim=2, max_ndim=2)
    c = _validate.floating("correlation", correlation, min_ndim=1, max_ndim=1)
    if sigma.shape != (len(c), len(c)):
        raise ValueError(f"second must have shape {(len(c), len(c))}, got {sigma.shape}")
    _symmetric("second", sigma)
    found, least, largest = _solve_moments(
        sigma, c.astype(sigma.dtype), _norm_bound(radius, "radius")
    )
    _positive("second", least, largest)
    return found


@jax.jit
def _solve_moments(sigma: Array, c: Array, radius: Any) -> tuple[Array, Array, Array]:
    values, vectors = jnp.linalg.eigh(sigma)
    least, largest = values[0], values[-1]
    cutoff = len(c) * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    unreached = values <= cutoff
    values = jnp.where(unreached, 0, values)
    along = vectors.T @ c
    targets = jnp.where(unreached, 0, along / jnp.sqrt(jnp.where(unreached, 1, values)))
    spectrum = _Spectrum(values, vectors, unreached, jnp.ones((), sigma.dtype), least)
    return _solve(spectrum, targets, radius)[1], least, largest


class _Spectrum(NamedTuple):
    """Eigenpairs of the kernel's operator, √P K √P, and R.

    `unreached` marks eigenvalues that are 0 up to rounding; `least` is the smallest one as found.
    """

    values: Array
    vectors: Array
    unreached: Array
    radius: Array
    least: Array


def _norm_bound(value: Any, name: str = "norm_bound") -> float:
    if isinstance(value, float) and value == math.inf:
        return value
    return _validate.number(name, value, at_least=0)


def _symmetric(name: str, matrix: Array) -> None:
    if not _validate.concrete(matrix):
        return
    values = np.asarray(matrix)
    worst, largest = np.max(np.abs(values - values.T)), np.max(np.abs(values))
    if worst > 1e4 * float(jnp.finfo(matrix.dtype).eps) * largest:
        raise ValueError(f"{name} must be symmetric, got entries that differ by {worst:g}")


def _positive(name: str, least: Array, largest: Array) -> None:
    """An error if the smallest eigenvalue is negative beyond rounding."""
    if not _validate.concrete(least):
        return
    smallest, scale = float(least), max(float(largest), -float(least))
    if smallest < -1e4 * float(jnp.finfo(least.dtype).eps) * scale:
        raise ValueError(f"{name} must be positive semidefinite, got the eigenvalue {smallest:g}")


def _cube(n: int, kernel: Any) -> Array:
    """The points of the cube, in the dtype of features if there are features."""
    dtype = None if callable(kernel) else getattr(kernel, "dtype", None)
    follows = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
    return hypercube(n, dtype=jax.dtypes.canonicalize_dtype(dtype) if follows else None)


def _features_or_gram(kernel: Any, points: Array) -> tuple[Array | None, Array | None]:
    """Features [N, p] or the Gram matrix [N, N]; exactly one of the two."""
    if callable(kernel):
        gram = _validate.floating("kernel", kernel(points, points), min_ndim=2, max_ndim=2)
        if gram.shape != (len(points), len(points)):
            raise ValueError(
                f"kernel must return shape {(len(points), len(points))}, got {gram.shape}"
            )
        _symmetric("kernel", gram)
        return None, gram.astype(points.dtype)
    features = _validate.floating("kernel", kernel, min_ndim=2, max_ndim=2)
    if len(features) != len(points):
        raise ValueError(
            f"kernel must be a function or features of {len(points)} points, got {features.shape}"
        )
    return features.astype(points.dtype), None


def _nonnegative_diagonal(gram: Array | None) -> None:
    if gram is not None and _validate.concrete(gram):
        least = float(np.min(np.diagonal(np.asarray(gram))))
        if least < 0:
            raise ValueError(f"kernel must have K(x, x) at least 0, got {least:g}")


@jax.jit
def _spectrum(features: Array | None, gram: Array | None, probabilities: Array) -> _Spectrum:
    roots = jnp.sqrt(probabilities)
    if features is not None:
        vectors, singular, _ = jnp.linalg.svd(roots[:, None] * features, full_matrices=False)
        radius = jnp.sqrt(jnp.max(jnp.sum(features**2, axis=1)))
        # Singular values are accurate to eps, their squares only where they are not that small.
        unreached = singular <= len(roots) * jnp.finfo(singular.dtype).eps * jnp.max(singular)
        values = jnp.where(unreached, 0, singular**2)
        return _Spectrum(values, vectors, unreached, radius, jnp.zeros((), values.dtype))
    assert gram is not None
    values, vectors = jnp.linalg.eigh(roots[:, None] * gram * roots)
    largest = jnp.max(jnp.diagonal(gram))
    # Entries known to c units in the last place of R² leave eigenvalues known to c eps R²,
    # whatever the number of points: ‖√P E √P‖ ≤ max |E|.
    unreached = values <= 16 * jnp.finfo(values.dtype).eps * largest
    reached = jnp.where(unreached, 0, values)
    return _Spectrum(reached, vectors, unreached, jnp.sqrt(largest), values[0])


# Steps taken, μ, its bracket, whether the last step moved it.
_Search = tuple[Array, Array, Array, Array, Array]


def _shifted(spectrum: _Spectrum, mu: Array) -> Array:
    """λ + μ, and 1 in the directions that are not reached."""
    return jnp.where(spectrum.unreached, 1, spectrum.values + mu)


@jax.jit
def _solve(spectrum: _Spectrum, targets: Array, norm_bound: Any) -> tuple[Array, Array, Array]:
    """Multiplier, edge and norm; `targets` are the coordinates of y in the eigenbasis."""
    values, radius = spectrum.values, spectrum.radius
    t2 = jnp.where(spectrum.unreached, 0, targets**2)

    def square_norm(mu: Array) -> Array:
        return jnp.sum(values * t2 / _shifted(spectrum, mu) ** 2)

    reach = jnp.asarray(norm_bound, values.dtype) / jnp.where(radius > 0, radius, 1)
    tight = square_norm(jnp.zeros((), values.dtype)) > reach**2
    # ‖w(μ)‖ ≤ ‖c‖/μ gives the upper end, where the norm is at most B/R.
    finite = jnp.where(jnp.isfinite(reach) & (reach > 0), reach, 1)
    top = jnp.sqrt(jnp.sum(values * t2)) / finite

    def newton(state: _Search) -> _Search:
        # 1/‖w(μ)‖ is nearly straight in μ: a few steps are enough, bisection guards the rest.
        count, mu, low, high, _ = state
        safe = _shifted(spectrum, mu)
        square, cubic = jnp.sum(values * t2 / safe**2), jnp.sum(values * t2 / safe**3)
        norm = jnp.sqrt(square)
        low, high = jnp.where(norm > finite, mu, low), jnp.where(norm > finite, high, mu)
        step = (norm / finite - 1) * square / jnp.where(cubic > 0, cubic, 1)
        inside = (mu + step >= low) & (mu + step <= high)
        moved = jnp.where(inside, mu + step, (low + high) / 2)
        return count + 1, moved, low, high, jnp.abs(moved - mu) > 4 * eps * moved

    def going(state: _Search) -> Array:
        return (state[0] < 100) & state[4] & tight

    zero, eps = jnp.zeros((), values.dtype), jnp.finfo(values.dtype).eps
    start = (jnp.zeros((), int), zero, zero, top, jnp.ones((), bool))
    _, solved, *_ = jax.lax.while_loop(going, newton, start)
    mu = jnp.where(tight, solved, 0)
    shrunk = values / _shifted(spectrum, mu)
    gain = jnp.sum(t2 * shrunk * (1 - shrunk / 2))
    norm = jnp.sqrt(square_norm(mu)) * radius
    nothing = reach == 0
    return mu, jnp.where(nothing, 0, gain), jnp.where(nothing, 0, norm)


@jax.jit
def _best(
    features: Array | None,
    gram: Array | None,
    probabilities: Array,
    label_means: Array,
    norm_bound: Any,
) -> tuple[BestPredictor, Array, Array]:
    """The best predictor; the smallest and the largest eigenvalue."""
    spectrum, roots = _spectrum(features, gram, probabilities), jnp.sqrt(probabilities)
    targets = spectrum.vectors.T @ (roots * label_means)
    multiplier, gain, norm = _solve(spectrum, targets, norm_bound)
    shrunk = spectrum.values / _shifted(spectrum, multiplier)
    weighted = spectrum.vectors @ (shrunk * targets)
    # At a point of probability 0 the loss says nothing about h; report 0.
    predictions = jnp.where(roots > 0, weighted / jnp.where(roots > 0, roots, 1), 0)
    best = BestPredictor(gain, 0.5 - gain, norm, predictions, multiplier)
    return best, spectrum.least, jnp.max(spectrum.values)


@jax.jit
def _solve_alike(
    features: Array | None, gram: Array | None, probabilities: Array, numbers: Any, norm_bound: Any
) -> tuple[Array, Array, Array]:
    """Edges on parities of the same inputs; the smallest and the largest eigenvalue."""
    spectrum = _spectrum(features, gram, probabilities)
    # ⟨√P χ_I, v⟩ for all I in one transform.
    targets = _sums_over_signs(jnp.sqrt(probabilities)[:, None] * spectrum.vectors)[numbers]
    found = _solve_many(spectrum, targets, norm_bound)
    return found, spectrum.least, jnp.max(spectrum.values)


@jax.jit
def _solve_many(spectrum: _Spectrum, targets: Array, norm_bound: Any) -> Array:
    one = lambda row: _solve(spectrum, row, norm_bound)[1]  # noqa: E731
    if targets.size <= 2**18:
        return jax.vmap(one)(targets)
    return jax.lax.map(one, targets, batch_size=256)


@jax.jit
def _solve_parities(
    features: Array | None, gram: Array | None, norm_bound: Any
) -> tuple[Array, Array, Array]:
    """Edges on all parities; the smallest and the largest eigenvalue. One compilation."""
    some = gram if features is None else features
    assert some is not None
    uniform = jnp.full(len(some), 1 / len(some), some.dtype)
    spectrum = _spectrum(features, gram, uniform)
    targets = _sums_over_signs(spectrum.vectors) / math.sqrt(len(some))
    found = _solve_many(spectrum, targets, norm_bound)
    return found, spectrum.least, jnp.max(spectrum.values)


@jax.jit
def _solve_each(
    features: Array | None,
    gram: Array | None,
    probabilities: Array,
    labels: Array,
    norm_bound: Any,
) -> tuple[Array, Array, Array]:
    """Edges where inputs differ from member to member; the extreme eigenvalues for uniform ones.

    Each member has a spectrum of its own.
    """

    def one(member: tuple[Array, Array]) -> Array:
        chances, means = member
        spectrum = _spectrum(features, gram, chances)
        targets = spectrum.vectors.T @ (jnp.sqrt(chances) * means)
        return _solve(spectrum, targets, norm_bound)[1]

    uniform = jnp.full_like(probabilities[0], 1 / probabilities.shape[1])
    spectrum = _spectrum(features, gram, uniform)
    found = jax.lax.map(one, (probabilities, labels))
    return found, spectrum.least, jnp.max(spectrum.values)


# --- bounds for every kernel --------------------------------------------------------------------


def dimension_bound(dimension: int, size: int) -> float:
    r"""$\min\{\tfrac12, \tfrac{p}{2|\mathcal P|}\}$: mean edge, over orthonormal targets, of any
    kernel with p features.

    Args:
        dimension: p, or the rank of the kernel.
        size: $|\mathcal P|$, the number of targets.

    Raises:
        ValueError: for a negative dimension or no target.

    Source: M21, Claims 3 and 8; proved in the chapter.

    Examples:
        >>> dimension_bound(10, 120)
        0.041666666666666664
    """
    dimension = _validate.integer("dimension", dimension, at_least=0)
    return min(0.5, dimension / (2 * _validate.integer("size", size, at_least=1)))


def published_norm_bound(norm_bound: float, size: int) -> float:
    r"""$\min\{\tfrac12, \tfrac32 B^{2/3} |\mathcal P|^{-1/3}\}$: mean edge of $\mathcal F(K, B)$
    for any kernel.

    The rate of the source, which leaves its constant open; 3/2 is what the chapter's proof gives.

    Args:
        norm_bound: B.
        size: $|\mathcal P|$.

    Raises:
        ValueError: for a negative B or no target.

    Source: M21, Claims 3 and 8.

    Examples:
        >>> round(published_norm_bound(1.0, 1000), 3)
        0.15
    """
    norm_bound = _norm_bound(norm_bound)
    size = _validate.integer("size", size, at_least=1)
    return min(0.5, 1.5 * norm_bound ** (2 / 3) * size ** (-1 / 3))


def sharp_norm_bound(norm_bound: float, size: int) -> float:
    r"""$\min\{\tfrac12, B/\sqrt{|\mathcal P|}\}$: mean edge of $\mathcal F(K, B)$ for any kernel.

    Smaller than `published_norm_bound` wherever one of the two is below ½, and at most twice
    `largest_mean_edge`.

    Args:
        norm_bound: B.
        size: $|\mathcal P|$.

    Raises:
        ValueError: for a negative B or no target.

    Source: proved in the chapter.

    Examples:
        >>> round(sharp_norm_bound(1.0, 1000), 4)
        0.0316
    """
    norm_bound = _norm_bound(norm_bound)
    return min(0.5, norm_bound / math.sqrt(_validate.integer("size", size, at_least=1)))


def largest_mean_edge(norm_bound: float, size: int, dimension: int | None = None) -> float:
    r"""$b - \tfrac12 b^2$ with $b = \min\{1, B/\sqrt{|\mathcal P|}\}$: the largest mean edge that
    any kernel has with norm at most B, and there is one that has it.

    With p features: $\tfrac{B}{\sqrt{|\mathcal P|}} - \tfrac{B^2}{2p}$ while
    $B\sqrt{|\mathcal P|} \le p \le |\mathcal P|$, and the `dimension_bound` when the norm is
    larger.

    Args:
        norm_bound: B; `inf` leaves the dimension.
        size: $|\mathcal P|$, the number of orthonormal targets.
        dimension: p; none for kernels of any dimension.

    Raises:
        ValueError: for a negative B, no target, or a negative dimension.

    Source: proved in the chapter.

    Examples:
        >>> round(largest_mean_edge(1.0, 1000), 4)
        0.0311
        >>> largest_mean_edge(1.0, 1000, dimension=20) == dimension_bound(20, 1000)
        True
    """
    norm_bound = _norm_bound(norm_bound)
    size = _validate.integer("size", size, at_least=1)
    p = size
    if dimension is not None:
        p = min(p, _validate.integer("dimension", dimension, at_least=0))
    if p <= norm_bound * math.sqrt(size):
        return p / (2 * size)
    return norm_bound / math.sqrt(size) - norm_bound**2 / (2 * p)


# --- kernels to hold against the bounds ---------------------------------------------------------


def example_kernels(n: int, *, seed: int = 0) -> dict[str, Kernel]:
    r"""The kernels that the chapter holds against the bounds, by name.

    Linear, polynomial and Gaussian kernels, random ReLU features, tangent kernels of ReLU networks
    with one to four hidden layers at their random start, and that of a network which was trained on
    the parity of the first two coordinates.

    Args:
        n: number of coordinates.
        seed: for weights.

    Raises:
        ValueError: for n below 2.

    Examples:
        >>> sorted(example_kernels(4))[:3]
        ['Gaussian', 'cubic', 'linear']
    """
    n = _validate.integer("n", n, at_least=2)
    keys = jax.random.split(jax.random.key(_validate.integer("seed", seed, at_least=0)), 7)
    directions = jax.random.normal(keys[0], (n, 64)) / math.sqrt(n)

    def random_features(x1: Array, x2: Array) -> Array:
        return jax.nn.relu(x1 @ directions) @ jax.nn.relu(x2 @ directions).T / 64

    def gaussian(x1: Array, x2: Array) -> Array:
        return jnp.exp((x1 @ x2.T - n) / n)

    def trained() -> Any:
        return _trained(networks.mlp((64, 1)), keys[5], n)

    kernels: dict[str, Kernel] = {
        "linear": lambda x1, x2: x1 @ x2.T / n,
        "cubic": lambda x1, x2: ((1 + x1 @ x2.T) / (n + 1)) ** 3,
        "Gaussian": gaussian,
        "random features": random_features,
    }
    for depth in (1, 2, 3, 4):
        network = networks.mlp((64,) * depth + (1,))
        start = functools.partial(network.init, keys[depth], n)
        kernels[f"tangent, depth {depth}"] = _tangent_kernel(network.apply, start)
    kernels["tangent, trained"] = _tangent_kernel(networks.mlp((64, 1)).apply, trained)
    return kernels


def _tangent_kernel(apply: Any, params: Callable[[], Any]) -> Kernel:
    """The kernel of a model at parameters that are computed where the kernel is used."""

    def kernel(x1: Array, x2: Array) -> Array:
        others = None if x2 is x1 else x2
        return empirical_ntk(apply, params(), x1, others, include_output=True)

    return kernel


def _trained(network: networks.Network, key: Key[Array, ""], n: int) -> Any:
    """A network after gradient descent on the parity of the first two coordinates."""
    start, data = jax.random.split(key)
    x, y = sample_sparse_parity(data, n, (0, 1), 0.0, 512)

    @jax.jit
    def descend(params: Any) -> Any:
        def loss(p: Any) -> Array:
            return jnp.mean((network.apply(p, x)[:, 0] - y) ** 2) / 2

        def step(p: Any, _: None) -> tuple[Any, None]:
            slope = jax.grad(loss)(p)
            return jax.tree.map(lambda leaf, change: leaf - 0.5 * change, p, slope), None

        return jax.lax.scan(step, params, None, length=400)[0]

    return descend(network.init(start, n))


# --- the ledger ---------------------------------------------------------------------------------


@result(
    "M21",
    "Equations (3)–(5)",
    chapter="boolean_kernels",
    theorem="prop-output-feature",
    falsified_by={"output_feature": False},
    sweep=[{"n": 3, "width": 5}, {"seed": 1}],
)
def linear_model_of_the_expansion(
    n: int = 5, width: int = 12, output_feature: bool = True, seed: int = 0
) -> list[Check]:
    """The first-order expansion of a model is a linear predictor in the features (output,
    gradient), and their kernel is the product of the outputs plus the gradients' inner product.

    On all points of the cube: the expansion at a random distance against the linear predictor
    (1, θ − θ*), and the features' Gram matrix against `empirical_ntk`. Without the output feature
    no weights give the model itself.
    """
    network = networks.mlp((width, 1), activation="tanh")
    key, step_key = jax.random.split(jax.random.key(seed))
    start, x = network.init(key, n), hypercube(n)
    flat, unravel = ravel_pytree(start)
    step = 0.1 * jax.random.normal(step_key, flat.shape)

    def outputs(theta: Array) -> Array:
        return jnp.ravel(network.apply(unravel(theta), x))

    @jax.jit
    def expansion() -> tuple[Array, Array, Array]:
        return *jax.jvp(outputs, (flat,), (step,)), jax.jacobian(outputs)(flat)

    values, change, slopes = map(np.asarray, expansion())
    features = np.concatenate([values[:, None], slopes], axis=1)
    weights = np.concatenate([np.ones(1), np.asarray(step)])
    if not output_feature:
        features, weights = features[:, 1:], weights[1:]
    kernel = np.asarray(empirical_ntk(network.apply, start, x, include_output=True))
    linear_error = np.max(np.abs(features @ weights - values - change))
    kernel_error = np.max(np.abs(features @ features.T - kernel))
    tolerance = rounding_tolerance(float(np.max(kernel)))
    return [
        Check("expansion against linear predictor", float(linear_error), "<=", 0, tolerance),
        Check("Gram matrix against the kernel", float(kernel_error), "<=", 0, tolerance),
    ]


@result(
    "M21",
    "Null risk",
    chapter="boolean_kernels",
    theorem="prop-null-risk",
    falsified_by={"label_scale": 2.0},
    sweep=[{"alpha": 0.9}, {"n": 4, "k": 4}],
)
def null_risk_is_one_half(
    n: int = 6, k: int = 3, alpha: float = 0.3, label_scale: float = 1.0, seed: int = 0
) -> list[Check]:
    """For labels ±1 predicting 0 has square loss 1/2, and the best multiple of a predictor h has
    edge (E hy)²/(2 E h²).

    The loss straight from the law of (x, y), every label by itself, for h = 0 and for the best
    multiple of a random h, found on a grid of step 1e-3.
    """
    points, chances, means = map(np.asarray, SparseParities(n, k, alpha).distribution(range(k)))
    h = np.asarray(jax.random.normal(jax.random.key(seed), (len(points),)))

    def loss(predictions: np.ndarray) -> Any:
        positive = (1 + means) / 2
        up, down = predictions - label_scale, predictions + label_scale
        return np.sum(chances * (positive * up**2 + (1 - positive) * down**2), axis=-1) / 2

    best = np.sum(chances * h * means) / np.sum(chances * h**2)
    grid = best + np.linspace(-0.2, 0.2, 401)
    found = 0.5 - np.min(loss(grid[:, None] * h))
    promised = np.sum(chances * h * means) ** 2 / (2 * np.sum(chances * h**2))
    return [
        Check("loss of predicting 0", float(loss(0 * h)), "==", 0.5, rounding_tolerance()),
        Check(
            "edge of the best multiple", float(found), "==", float(promised), rounding_tolerance()
        ),
    ]


@functools.partial(jax.jit, static_argnames="problem")
def _losses_after_one_pass(
    problem: SparseParities, keys: Array, order: Array, norm_bound: Any
) -> Array:
    """Losses of the averaged iterates of projected descent, one run for each key."""
    subset, steps, n = range(problem.k), len(order), problem.n
    member, radius = problem.distribution(subset), math.sqrt(n)
    step = norm_bound / (n * math.sqrt(2 * steps))

    def run(key: Array) -> Array:
        x, y = problem.sample(key, subset, steps)

        def update(w: Array, example: tuple[Array, Array]) -> tuple[Array, Array]:
            features, label = example
            moved = w - step * (features @ w - label) * features
            size = jnp.sqrt(jnp.sum(moved**2))
            return moved * jnp.minimum(1, norm_bound / radius / jnp.maximum(size, 1e-30)), w

        _, path = jax.lax.scan(update, jnp.zeros(n), (x[order], y[order]))
        return square_loss(member.points @ jnp.mean(path, axis=0), member)

    return jax.vmap(run)(keys)


@result(
    "M21",
    "Equation (6), samples and steps",
    chapter="boolean_kernels",
    theorem="thm-ball-is-learnable",
    falsified_by={"distinct": 4},
    sweep=[{"norm_bound": 0.2}, {"norm_bound": 4.0, "steps": 128}, {"k": 3, "seed": 5}],
)
def ball_is_learnable(
    n: int = 8,
    k: int = 2,
    alpha: float = 0.8,
    norm_bound: float = 2.0,
    steps: int = 1024,
    distinct: int | None = None,
    runs: int = 100,
    seed: int = 0,
) -> Check:
    """One pass of stochastic gradient descent over T ≥ 2B² samples has a mean loss within
    √2 B/√T + B²/T of the best in F(K, B).

    Averaged iterates of projected descent with step B/(R²√(2T)) on the linear kernel, over `runs`
    draws of the samples; the tolerance is four standard errors. With `distinct` the pass goes round
    and round so few different examples.
    """
    problem = SparseParities(n, k, alpha)
    member = problem.distribution(range(k))
    keys = jax.random.split(jax.random.key(seed), runs)
    order = jnp.arange(steps) % (distinct or steps)
    losses = _losses_after_one_pass(problem, keys, order, norm_bound)
    best = edge(member.points, member, norm_bound).loss
    bound = math.sqrt(2 / steps) * norm_bound + norm_bound**2 / steps
    error = 4 * float(jnp.std(losses)) / math.sqrt(runs)
    excess = float(jnp.mean(losses) - best)
    return Check("mean loss above the best", excess, "<=", bound, error)


@functools.partial(jax.jit, static_argnames="batches")
def _gradient_errors(key: Array, order: Array, batches: int) -> tuple[Array, Array, Array, Array]:
    """Square errors of gradients on samples; E‖g‖², ‖E g‖² and sup ‖g‖² of one sample's."""
    problem, subset = SparseParities(8, 3, 0.5), (0, 1, 2)
    points, chances, means = map(jnp.asarray, problem.distribution(subset))
    network = networks.mlp((8, 1), activation="tanh")
    key, data_key = jax.random.split(key)
    flat, unravel = ravel_pytree(network.init(key, 8))

    def outputs(theta: Array, x: Array) -> Array:
        return jnp.ravel(network.apply(unravel(theta), x))

    values, slopes = outputs(flat, points), jax.jacobian(outputs)(flat, points)
    exact = (chances * (values - means)) @ slopes
    # E ‖(f − y)∇f‖² with E (f − y)² = f² − 2 f E[y|x] + 1 at each point.
    power = chances @ ((values**2 - 2 * values * means + 1) * jnp.sum(slopes**2, axis=1))
    largest = jnp.max((jnp.abs(values) + 1) ** 2 * jnp.sum(slopes**2, axis=1))

    def error(key: Array) -> Array:
        x, y = (column[order] for column in problem.sample(key, subset, len(order)))
        residuals = outputs(flat, x) - y
        slope = jax.grad(lambda theta: outputs(theta, x) @ residuals)(flat) / len(order)
        return jnp.sum((slope - exact) ** 2)

    errors = jax.lax.map(error, jax.random.split(data_key, batches), batch_size=100)
    return errors, power, jnp.sum(exact**2), largest


@result(
    "M21",
    "Equation (2), gradients from samples",
    chapter="boolean_kernels",
    theorem="prop-gradient-accuracy",
    falsified_by={"copies": 8},
    sweep=[{"samples": 16}, {"samples": 512, "seed": 1}],
)
def gradient_accuracy_from_samples(
    samples: int = 128, copies: int = 1, batches: int = 2000, seed: int = 2
) -> list[Check]:
    """The gradient on m independent samples has a mean square error of at most G²/m, where G
    bounds |loss′| times the norm of the model's gradient, and with probability 1 − δ an error of at
    most (1 + √(2 log 1/δ)) G/√m.

    A tanh network on biased sparse parities with n = 8; the error against the exact gradient, and
    against its variance over m; the share of batches beyond the second bound at δ = 0.1. With
    `copies` each example comes that many times. Tolerances are four standard errors.
    """
    order = jnp.arange(samples) // copies
    errors, power, drift, largest = _gradient_errors(jax.random.key(seed), order, batches)
    mean, margin = float(jnp.mean(errors)), 4 * float(jnp.std(errors)) / math.sqrt(batches)
    variance = float(power - drift) / samples
    reach = (1 + math.sqrt(2 * math.log(10))) ** 2 * float(largest) / samples
    beyond = float(jnp.mean(errors > reach))
    return [
        Check("mean square error", mean, "<=", float(largest) / samples, margin),
        Check("mean square error against variance / m", mean, "==", variance, margin),
        Check("share of batches beyond", beyond, "<=", 0.1, 4 * math.sqrt(0.09 / batches)),
    ]


@result(
    "M21",
    "Section 5, memorization",
    chapter="boolean_kernels",
    theorem="prop-memorization",
    falsified_by={"hit": True},
    sweep=[{"n": 4, "p": 1}, {"alpha": 0.9}, {"p": 200}],
)
def memorization_edge(
    n: int = 8, p: int = 40, alpha: float = 0.1, hit: bool = False, seed: int = 0
) -> list[Check]:
    """Indicators of p inputs have edge (1 − α)p/2^(n+1) on a leaky parity whose leaking input is
    not among them, and an edge of p/2^(n+1) on every parity of uniform inputs.

    A random member of the family, p random points; the smallest edge over all parities. With
    `hit=True` the leaking input is one of them: there the label is nearly a coin, and the edge
    falls below.
    """
    generator = np.random.default_rng(seed)
    problem = LeakyParities(n, alpha)
    subset = generator.choice(n, size=n // 2, replace=False).tolist()
    leaking = 2**n - 1 - subset_number(subset)
    others = np.delete(np.arange(2**n), leaking)
    chosen = generator.choice(others, size=p, replace=False)
    if hit:
        chosen[0] = leaking
    indicators = np.eye(2**n)[:, chosen]
    found = float(edge(indicators, problem.distribution(subset)).edge)
    least = float(jnp.min(parity_edges(indicators, n)))
    share, tolerance = p / 2 ** (n + 1), rounding_tolerance(0.1)
    return [
        Check("edge on the leaky parity", found, "==", (1 - alpha) * share, tolerance),
        Check("smallest edge, uniform inputs", least, "==", share, tolerance),
    ]


def _the_answer(label: Any) -> Array:
    """A single feature: the labels themselves."""
    return jnp.asarray(label)[:, None]


def _below_both_bounds(
    mean: float, problem: ParityProblem, norm_bound: float, dimension: int
) -> list[Check]:
    by_norm = problem.edge_bound(published_norm_bound(norm_bound, problem.size))
    by_dimension = problem.edge_bound(dimension_bound(dimension, problem.size))
    tolerance = rounding_tolerance()
    return [
        Check(f"mean edge, norm at most {norm_bound:g}", mean, "<=", by_norm, tolerance),
        Check(f"mean edge, {dimension} dimensions", mean, "<=", by_dimension, tolerance),
    ]


@result(
    "M21",
    "Claim 3",
    chapter="boolean_kernels",
    theorem="thm-every-kernel-sparse",
    exercise="ex-flat-subspace",
    falsified_by={"knows_subset": True},
    sweep=[
        {"kernel": "cubic", "norm_bound": 10.0},
        {"kernel": "tangent, depth 2"},
        {"kernel": "tangent, trained", "k": 3},
    ],
)
def every_kernel_on_sparse_parities(
    kernel: str = "random features",
    n: int = 8,
    k: int = 4,
    alpha: float = 0.2,
    norm_bound: float = 1.0,
    knows_subset: bool = False,
) -> list[Check]:
    """For every kernel some biased sparse parity has an edge of at most α/2 plus the smaller of
    p/(2|P|) and 3B^(2/3)/(2|P|^(1/3)).

    The mean edge over all subsets, exactly, which is at least the smallest one; p is the kernel's
    rank on the cube. With `knows_subset=True` the kernel is chosen after the subset.
    """
    problem = SparseParities(n, k, alpha)
    chosen = example_kernels(n)[kernel]
    rank = int(jnp.linalg.matrix_rank(chosen(hypercube(n), hypercube(n))))
    if knows_subset:
        member = problem.distribution(range(k))
        mean = float(edge(_the_answer(member.label_means), member, norm_bound).edge)
        rank = 1
    else:
        mean = float(jnp.mean(edges(chosen, problem, norm_bound)))
    return _below_both_bounds(mean, problem, norm_bound, rank)


@result(
    "M21",
    "Claim 8",
    chapter="boolean_kernels",
    theorem="thm-every-kernel-leaky",
    falsified_by={"knows_subset": True},
    sweep=[{"n": 5, "width": 3}, {"alpha": 0.9}, {"norm_bound": 0.5}],
)
def every_random_kernel_on_leaky_parities(
    n: int = 6,
    width: int = 2,
    alpha: float = 0.2,
    norm_bound: float = 1.0,
    draws: int = 4,
    knows_subset: bool = False,
) -> list[Check]:
    """For every random kernel of rank p some leaky parity has a mean edge of at most the smaller of
    p/(2|P|) and 3B^(2/3)/(2|P|^(1/3)).

    Tangent kernels of narrow ReLU networks at several random starts; the mean edge over draws and
    subsets. With `knows_subset=True` the kernel is chosen after the subset.
    """
    problem = LeakyParities(n, alpha)
    network = networks.mlp((width, 1))
    points = hypercube(n)
    member = problem.distribution(range(n))
    means, rank = [], 0
    for draw in range(draws):
        start = functools.partial(network.init, jax.random.key(draw), n)
        kernel = _tangent_kernel(network.apply, start)
        rank = max(rank, int(jnp.linalg.matrix_rank(kernel(points, points))))
        if knows_subset:
            means.append(float(edge(_the_answer(member.label_means), member).edge))
        else:
            means.append(float(jnp.mean(edges(kernel, problem, norm_bound))))
    rank = 1 if knows_subset else rank
    return _below_both_bounds(float(np.mean(means)), problem, norm_bound, rank)


@result(
    "M21",
    "Claims 3 and 8, sharper",
    chapter="boolean_kernels",
    theorem="thm-sharp-norm",
    exercise="ex-sharp-norm-attained",
    falsified_by={"knows_subset": True},
    sweep=[
        {"kernel": "cubic", "norm_bound": 0.1},
        {"kernel": "random features", "norm_bound": 10.0},
        {"kernel": "tangent, depth 3"},
        {"kernel": "tangent, trained", "norm_bound": 0.5},
        {"norm_bound": 40.0},
    ],
)
def sharper_norm_bound(
    kernel: str = "Gaussian", n: int = 8, norm_bound: float = 2.0, knows_subset: bool = False
) -> list[Check]:
    """For every kernel the mean edge of F(K, B) over orthonormal targets is at most b − b²/2 with
    b = min(1, B/√|P|), which is at most B/√|P|; the sum of the targets' own kernels attains it.

    All parities of two or more of n uniform bits, exactly. With `knows_subset=True` the kernel is
    chosen after the parity.
    """
    points = hypercube(n)
    sizes = np.array([number.bit_count() for number in range(2**n)])
    targets = np.flatnonzero(sizes >= 2)
    if knows_subset:
        label = character(range(n), points)
        measured = parity_edges(_the_answer(label), n, norm_bound)[-1]
    else:
        chosen = example_kernels(n)[kernel]
        measured = np.mean(np.asarray(parity_edges(chosen, n, norm_bound))[targets])
    characters = inverse_walsh_hadamard(np.eye(2**n)[:, targets])
    attained = np.mean(np.asarray(parity_edges(characters, n, norm_bound))[targets])
    largest = largest_mean_edge(norm_bound, len(targets))
    bound = sharp_norm_bound(norm_bound, len(targets))
    tolerance = rounding_tolerance()
    return [
        Check("mean edge over all parities", float(measured), "<=", largest, tolerance),
        Check("the parities' own kernel", float(attained), "==", largest, tolerance),
        Check("B/√|P|", bound, ">=", largest),
    ]
