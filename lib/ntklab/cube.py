r"""The Boolean cube: points, characters and the Walsh–Hadamard transform.

A point of the cube is a row of ±1. Points are numbered by their bits, $x_i = 1 - 2 b_i$, and so are
subsets of coordinates, which makes $\chi_S(x) = (-1)^{|S \cap b|}$: both run from 0 to $2^n - 1$.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _validate

__all__ = [
    "MAX_ENUMERATION",
    "biased_character",
    "character",
    "enumerable",
    "hypercube",
    "inverse_walsh_hadamard",
    "krawtchouk",
    "membership",
    "product_over",
    "product_probabilities",
    "signs",
    "sorted_subset",
    "subset_number",
    "sums_over_signs",
    "walsh_hadamard",
]

#: The largest n for which the $2^n$ points of the cube are listed.
MAX_ENUMERATION: int = 14


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
    return _validate.from_numpy(signs(enumerable(n)), _validate.floating_dtype("dtype", dtype))


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
    return product_over(x, membership(sorted_subset(subset, x.shape[1]), x.shape[1]))


def subset_number(subset: Sequence[int]) -> int:
    r"""$\sum_{i \in I} 2^i$: where `walsh_hadamard` and `parity_edges` keep what belongs to I.

    Examples:
        >>> subset_number((0, 2))
        5
    """
    return sum(1 << i for i in sorted_subset(subset, None))


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
    return sums_over_signs(_on_the_cube("coefficients", coefficients))


def krawtchouk(n: int) -> Float[np.ndarray, "degrees places"]:
    r"""$K_j(h) = \sum_i (-1)^i \binom hi \binom{n-h}{j-i}$, the sum of $\chi_S(x)$ over all S of j
    coordinates at a point x with h entries −1, `[n + 1, n + 1]` by j and h.

    A kernel on the cube that depends on the number of coordinates in which two points differ is
    $\sum_j \lambda_j K_j(h)$, and $\lambda_j$ is its eigenvalue at each character of degree j.

    Args:
        n: number of coordinates.

    Raises:
        ValueError: if n is below 1.

    Source: MacWilliams and Sloane (1977), chapter 5.

    Examples:
        >>> krawtchouk(2).astype(int).tolist()
        [[1, 1, 1], [2, 0, -2], [1, -1, 1]]
    """
    n = _validate.integer("n", n, at_least=1)
    # Integers of any size: the terms of the sum cancel.
    table = [
        [
            sum((-1) ** i * math.comb(h, i) * math.comb(n - h, j - i) for i in range(j + 1))
            for h in range(n + 1)
        ]
        for j in range(n + 1)
    ]
    return np.array(table, float)


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
    chances = _product_chances(enumerable(n), _mean(mean))
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


def enumerable(n: Any, closed_form: str = "") -> int:
    """N as an integer, if the $2^n$ points can be listed.

    Args:
        n: number of coordinates.
        closed_form: what serves a larger n, for the error.

    Raises:
        ValueError: if n is below 1 or above `MAX_ENUMERATION`.

    Examples:
        >>> enumerable(3)
        3
    """
    n = _validate.integer("n", n, at_least=1)
    if n > MAX_ENUMERATION:
        raise ValueError(
            f"n must be at most {MAX_ENUMERATION} to list the 2^n points, got {n}"
            + (f"; {closed_form}" if closed_form else "")
        )
    return n


def sorted_subset(subset: Any, n: int | None) -> tuple[int, ...]:
    """The coordinates of a subset in their order.

    Args:
        subset: different coordinates.
        n: which they must lie below; any if None.

    Raises:
        ValueError: for anything but a sequence, coordinates that come twice or are not below n.

    Examples:
        >>> sorted_subset([2, 0], 3)
        (0, 2)
    """
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


def signs(n: int) -> np.ndarray:
    """The points of the cube by their bits, `[2ⁿ, n]`, as integers.

    Args:
        n: number of coordinates.

    Examples:
        >>> signs(1).tolist()
        [[1], [-1]]
    """
    return 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)


def _product_chances(n: int, mean: float) -> np.ndarray:
    return np.prod((1 + mean * signs(n)) / 2, axis=1)


def membership(subset: Sequence[int], n: int) -> np.ndarray:
    """Which of n coordinates belong to the subset, `[n]`.

    A program that takes it, not the subset, is compiled once for subsets of every size.

    Args:
        subset: coordinates.
        n: number of coordinates.

    Examples:
        >>> membership((0, 2), 3).tolist()
        [True, False, True]
    """
    return np.isin(np.arange(n), subset)


@jax.jit
def product_over(x: Array, inside: Any) -> Array:
    r"""$\prod_{i \in I} x_i$ for each row of x, with I as by `membership`.

    Args:
        x: `[N, n]`.
        inside: `[n]`, which coordinates belong to I.

    Examples:
        >>> product_over(jnp.array([[2.0, 3.0, 5.0]]), membership((0, 2), 3)).tolist()
        [10.0]
    """
    return jnp.prod(jnp.where(inside, x, 1), axis=1)


@jax.jit
def _coefficients(values: Array) -> Array:
    return sums_over_signs(values) / len(values)


@jax.jit
def sums_over_signs(values: Array) -> Array:
    r"""$\sum_x f(x)\chi_S(x)$ for all S: one butterfly for each coordinate.

    Args:
        values: `[2ⁿ, ...]`, f at the points of the cube.

    Examples:
        >>> sums_over_signs(jnp.array([1.0, -1.0])).tolist()
        [0.0, 2.0]
    """
    stride = 1
    while stride < len(values):
        pairs = values.reshape(-1, 2, stride, *values.shape[1:])
        both = (pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1])
        values = jnp.stack(both, axis=1).reshape(values.shape)
        stride *= 2
    return values
