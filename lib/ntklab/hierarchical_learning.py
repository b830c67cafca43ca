r"""Learning $F + \alpha\,G(F)$: a residual network beside every kernel.

The learner of AZL19, its concept class, the class that separates it from kernels, the floor under
the risk of every kernel with N samples, and training. Inputs are points of the cube
$\{-1, 1\}^d$; the source's are $x/\sqrt d$, of norm 1.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Key

from ntklab import _extras, _random, _validate, cube
from ntklab.networks import Network

__all__ = [
    "SmoothSum",
    "Training",
    "alternate",
    "best_floor",
    "best_risk",
    "class_errors",
    "composed_target",
    "coordinate_functions",
    "cube_eigenvalues",
    "descent_and_nearest",
    "draw_subset",
    "features_required",
    "kernel_floor",
    "polarized_product",
    "residual_network",
    "residual_parts",
    "ridge_risks",
    "sample_complexity",
    "sample_cube",
    "separating_dimension",
    "series_complexity",
    "target_risks",
    "train",
    "width_complexity",
]

Rows = Float[Array | np.ndarray, "N d"]
Series = Float[Array | np.ndarray, " degrees"]
Kernel = Callable[[np.ndarray], Any]


# --- the learner --------------------------------------------------------------------------------


def residual_network(
    width: int,
    outputs: int,
    *,
    w_scale: float = 1.0,
    u_scale: float = 1.0,
    factored: bool = False,
) -> Network:
    r"""$f(x) = A\bigl(\sigma(Wx + b_1) + \sigma(U\sigma(Wx + b_1) + b_2)\bigr)$ with $\sigma$ the
    ReLU; W, U, $b_1$ and $b_2$ are trained, A is not.

    At the start $W \sim N(0, 2s_W^2/d)$, $U \sim N(0, 2s_U^2/m)$, $A \sim N(0, 1/m)$ and the biases
    are 0: scales of 1 are He's. With `factored=True` it is $U = VA$ for a trained V with $V \sim
    N(0, 2s_U^2/k)$, which gives U entries of the same variance.

    Args:
        width: m, the number of units in each layer.
        outputs: k.
        w_scale: $s_W \ge 0$.
        u_scale: $s_U \ge 0$.
        factored: whether $U = VA$.

    Returns:
        `Network(init, apply)`. The parameters are a dictionary of `W` `[m, d]`, `b1` `[m]`, `U`
        `[m, m]` or `V` `[m, k]`, `b2` `[m]` and `A` `[k, m]`, whose gradient is 0.

    Raises:
        ValueError: for sizes below 1 or a negative scale.

    Source: AZL19, section 2.1; $U = VA$: section 3.

    Examples:
        >>> network = residual_network(16, 3)
        >>> params = network.init(jax.random.key(0), 8)
        >>> network.apply(params, jnp.ones((5, 8))).shape
        (5, 3)
    """
    model = _Residual(
        _validate.integer("width", width, at_least=1),
        _validate.integer("outputs", outputs, at_least=1),
        _validate.number("w_scale", w_scale, at_least=0),
        _validate.number("u_scale", u_scale, at_least=0),
        _validate.flag("factored", factored),
    )
    return Network(model.init, model)


@dataclass(frozen=True)
class _Residual:
    """The `apply` of `residual_network`: hashable, so that `jax.jit` knows it again."""

    width: int
    outputs: int
    w_scale: float
    u_scale: float
    factored: bool

    def init(self, key: Key[Array, ""], d: int, dtype: Any = None) -> dict[str, Array]:
        keys = jax.random.split(_validate.random_key("key", key), 3)
        d = _validate.integer("d", d, at_least=1)
        dtype = _validate.floating_dtype("dtype", dtype)
        m, k = self.width, self.outputs
        second = ("V", (m, k), 2 / k) if self.factored else ("U", (m, m), 2 / m)
        spreads = {
            "W": ((m, d), self.w_scale * math.sqrt(2 / d)),
            second[0]: (second[1], self.u_scale * math.sqrt(second[2])),
            "A": ((k, m), 1 / math.sqrt(m)),
        }
        drawn = {
            name: spread * _random.normal(own, shape, dtype)
            for own, (name, (shape, spread)) in zip(keys, spreads.items(), strict=True)
        }
        return {**drawn, "b1": jnp.zeros(m, dtype), "b2": jnp.zeros(m, dtype)}

    def __call__(self, params: Any, x: Array) -> Array:
        first, second = self.parts(params, x)
        return first + second

    def parts(self, params: Any, x: Array) -> tuple[Array, Array]:
        x = jnp.asarray(x)
        self._check(params, x)
        return _residual_parts(params, x)

    def _check(self, params: Any, x: Array) -> None:
        m, k = self.width, self.outputs
        second = {"V": (m, k)} if self.factored else {"U": (m, m)}
        expected = {"A": (k, m), **second, "b1": (m,), "b2": (m,)}
        found = jax.tree.map(np.shape, params)
        others = {n: s for n, s in found.items() if n != "W"} if isinstance(found, dict) else found
        if others != expected or "W" not in found or found["W"][:1] != (m,):
            raise ValueError(
                f"params must be W [{m}, d] and {expected}, as init draws them; got shapes {found}"
            )
        if x.ndim != 2 or x.shape[1] != found["W"][1]:
            raise ValueError(
                f"x must have shape [N, {found['W'][1]}] for these parameters, got {x.shape}"
            )


@jax.jit
def _residual_parts(params: dict[str, Array], x: Array) -> tuple[Array, Array]:
    # A stays what it was: no optimizer sees a gradient of it.
    a = jax.lax.stop_gradient(params["A"]).T
    hidden = jax.nn.relu(x @ params["W"].T + params["b1"])
    first = hidden @ a
    inner = first @ params["V"].T if "V" in params else hidden @ params["U"].T
    return first, jax.nn.relu(inner + params["b2"]) @ a


def residual_parts(
    network: Network, params: Any, x: Rows
) -> tuple[Float[Array, "N k"], Float[Array, "N k"]]:
    r"""$A\sigma(Wx + b_1)$ and $A\sigma(U\sigma(Wx + b_1) + b_2)$, the two terms of a residual
    network: what it sends past its second layer, and what that layer adds.

    Args:
        network: made by `residual_network`.
        params: its parameters.
        x: points.

    Raises:
        ValueError: for any other network, or parameters of another one.

    Source: AZL19, section 3.

    Examples:
        >>> network = residual_network(16, 3)
        >>> params = network.init(jax.random.key(0), 8)
        >>> first, second = residual_parts(network, params, jnp.ones((5, 8)))
        >>> bool(jnp.allclose(first + second, network.apply(params, jnp.ones((5, 8)))))
        True
    """
    model = getattr(network, "apply", None)
    if not isinstance(model, _Residual):
        raise ValueError(f"network must be made by residual_network, got {network!r}")
    return model.parts(params, _validate.points("x", x))


# --- the concept class --------------------------------------------------------------------------


def series_complexity(coefficients: Series, *, radius: float = 1.0, constant: float = 1.0) -> float:
    r"""$C_s(\phi, R) = C\sum_i (i + 1)\,R^i\abs{c_i}$ for $\phi(z) = \sum_i c_i z^i$ on
    $\abs z \le R$.

    Args:
        coefficients: $c_0, c_1, \dots$, as many as count.
        radius: R.
        constant: C.

    Raises:
        ValueError: for NaN, no coefficient, or a radius or constant that is not positive.

    Source: AZL19, section 2.2, which drops $R^i$; with it Allen-Zhu and Li (2019), who have
    $(i + 1)^{1.75}$.

    Examples:
        >>> series_complexity(jnp.array([0.0, 0.0, 1.0])), series_complexity(
        ...     jnp.array([0.0, 0.0, 1.0]), radius=2.0)
        (3.0, 12.0)
    """
    c, r, front = _series(coefficients, radius, constant)
    degrees = np.arange(len(c))
    return front * float(np.sum((degrees + 1) * r**degrees * np.abs(c)))


def width_complexity(
    coefficients: Series, alpha: float, *, radius: float = 1.0, constant: float = 1.0
) -> float:
    r"""$C_\alpha(\phi, R) = \sum_i \bigl((CR)^i + (CR\sqrt{\log(1/\alpha)/i})^i\bigr)
    \abs{c_i}$, which enters the width that is needed.

    At $i = 0$ both terms are 1.

    Args:
        coefficients: $c_0, c_1, \dots$, as many as count.
        alpha: $\alpha$ in (0, 1).
        radius: R.
        constant: C.

    Raises:
        ValueError: as `series_complexity`, and for $\alpha$ outside (0, 1).

    Source: AZL19, section 2.2, which drops R.

    Examples:
        >>> width_complexity(jnp.array([0.0, 1.0]), math.exp(-4.0))
        3.0
    """
    c, r, front = _series(coefficients, radius, constant)
    alpha = _validate.probability("alpha", alpha)
    degrees = np.arange(len(c))
    spread = np.sqrt(math.log(1 / alpha) / np.maximum(degrees, 1))
    terms = (front * r) ** degrees + (front * r * spread) ** degrees
    return float(np.sum(terms * np.abs(c)))


def _series(coefficients: Any, radius: Any, constant: Any) -> tuple[np.ndarray, float, float]:
    c = np.asarray(_validate.floating("coefficients", coefficients, ndim=1), float)
    if len(c) == 0:
        raise ValueError("coefficients must be at least one, got none")
    r = _validate.number("radius", radius, above=0)
    return c, r, _validate.number("constant", constant, above=0)


@dataclass(frozen=True, eq=False)
class SmoothSum:
    r"""$F_r(x) = \sum_{i \le p} a_{r,i}\,\phi_{r,i}(\inner{w_{r,i}}{x})$ for $r \le k$, with
    polynomials $\phi_{r,i}$, signs $a_{r,i}$ and unit vectors $w_{r,i}$.

    Args:
        signs: $a$, `[k, p]`.
        directions: $w$, `[k, p, d]`.
        coefficients: those of $\phi_{r,i}$, from degree 0 on, `[k, p, degrees]`.

    Raises:
        ValueError: for shapes that do not fit, signs other than ±1, or directions of another norm.

    Source: AZL19, section 2.2.

    Examples:
        >>> square = SmoothSum(np.ones((1, 1)), np.array([[[0.6, 0.8]]]), np.array([[[0, 0, 1.0]]]))
        >>> square(jnp.array([[1.0, 0.0]])).round(2).tolist(), square.complexity()
        ([[0.36]], 3.0)
    """

    signs: Float[Array | np.ndarray, "k p"]
    directions: Float[Array | np.ndarray, "k p d"]
    coefficients: Float[Array | np.ndarray, "k p degrees"]

    def __post_init__(self) -> None:
        arrays = {
            name: np.asarray(_validate.floating(name, getattr(self, name), ndim=axes), float)
            for name, axes in (("signs", 2), ("directions", 3), ("coefficients", 3))
        }
        shape = arrays["signs"].shape
        for name, array in arrays.items():
            if array.shape[:2] != shape or 0 in array.shape:
                raise ValueError(f"{name} must have shape {[*shape]} in front, got {array.shape}")
            object.__setattr__(self, name, array)
        if np.any(np.abs(arrays["signs"]) != 1):
            raise ValueError("signs must be 1 or -1")
        norms = np.linalg.norm(arrays["directions"], axis=2)
        if np.max(np.abs(norms - 1)) > 1e-4:
            raise ValueError(f"directions must have norm 1, got {norms.max():g}")

    def __call__(self, x: Rows) -> Float[Array, "N k"]:
        """The values at the points x."""
        x = _validate.points("x", x)
        if x.shape[1] != np.shape(self.directions)[2]:
            raise ValueError(
                f"x must have shape [N, {np.shape(self.directions)[2]}], got {x.shape}"
            )
        z = np.einsum("kpd,nd->nkp", self.directions, np.asarray(x, float))
        total = np.zeros_like(z)
        for degree in reversed(range(np.shape(self.coefficients)[2])):
            total = total * z + np.asarray(self.coefficients)[:, :, degree]
        return _validate.from_numpy(np.sum(np.asarray(self.signs) * total, axis=2), x.dtype)

    def complexity(self, radius: float = 1.0, *, constant: float = 1.0) -> float:
        r"""$\max_{r,i} C_s(\phi_{r,i}, R)$ for $\norm x \le R$."""
        rows = np.reshape(self.coefficients, (-1, np.shape(self.coefficients)[2]))
        return max(series_complexity(row, radius=radius, constant=constant) for row in rows)

    def norm_bound(self, radius: float = 1.0) -> float:
        r"""$\sqrt k\,p\,C_s(F, R) \ge \norm{F(x)}$ for $\norm x \le R$, with $C = 1$."""
        k, p = np.shape(self.signs)
        return math.sqrt(k) * p * self.complexity(radius)

    def lipschitz_bound(self, radius: float = 1.0) -> float:
        r"""$\sqrt k\,p\,C_s(F, R)/R$, a Lipschitz constant of F on $\norm x \le R$, with
        $C = 1$.
        """
        return self.norm_bound(radius) / radius


def coordinate_functions(dimension: int, subset: Sequence[int]) -> SmoothSum:
    r"""$F_i(x) = \sqrt d\,x_{s_i}$, for points x of norm 1: $p_F = 1$ and $C_s(F, 1) =
    2C\sqrt d$.

    Args:
        dimension: d.
        subset: $s_1, \dots, s_k$, different coordinates.

    Raises:
        ValueError: for coordinates that are not there, come twice, or are none.

    Source: AZL19, section 2.3.

    Examples:
        >>> coordinate_functions(4, (1, 3))(jnp.array([[0.5, -0.5, 0.5, 0.5]])).tolist()
        [[-1.0, 1.0]]
    """
    d = _validate.integer("dimension", dimension, at_least=1)
    cube.sorted_subset(subset, d)
    k = len(subset)
    if k == 0:
        raise ValueError("subset must have at least one coordinate, got none")
    directions = np.eye(d)[np.asarray(subset, int)][:, None]
    coefficients = np.broadcast_to(np.array([0.0, math.sqrt(d)]), (k, 1, 2))
    return SmoothSum(np.ones((k, 1)), directions, coefficients)


def polarized_product(sparsity: int) -> SmoothSum:
    r"""$G_i(h) = \prod_{j \le k} h_j = \frac{1}{2^k k!}\sum_{\varepsilon \in \{-1, 1\}^k}
    \bigl(\prod_j \varepsilon_j\bigr) \inner\varepsilon h^k$ for all $i \le k$: $p_G = 2^k$.

    With unit vectors $\varepsilon/\sqrt k$ the terms are $\phi(z) = \frac{k^{k/2}}{2^k k!}
    z^k$.

    Args:
        sparsity: k, at most `cube.MAX_ENUMERATION`.

    Raises:
        ValueError: for k below 1 or too large to list the signs.

    Source: AZL19, sections 2.3 and 4.

    Examples:
        >>> polarized_product(3)(jnp.array([[2.0, 3.0, 5.0]])).round(3).tolist()
        [[30.0, 30.0, 30.0]]
    """
    k = _validate.integer("sparsity", sparsity, at_least=1)
    epsilon = cube.signs(cube.enumerable(k)).astype(float)
    coefficients = np.zeros(k + 1)
    coefficients[k] = k ** (k / 2) / (2**k * math.factorial(k))
    shape = (k, 2**k)
    return SmoothSum(
        np.broadcast_to(np.prod(epsilon, axis=1), shape),
        np.broadcast_to(epsilon / math.sqrt(k), (*shape, k)),
        np.broadcast_to(coefficients, (*shape, k + 1)),
    )


# --- the class that separates -------------------------------------------------------------------


def sample_cube(
    key: Key[Array, ""], samples: int, dimension: int, *, dtype: Any = None
) -> Float[Array, "N d"]:
    r"""Independent points, uniform on $\{-1, 1\}^d$.

    Args:
        key: of the draw.
        samples: N.
        dimension: d.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for sizes below 1.

    Examples:
        >>> sample_cube(jax.random.key(0), 2, 3).shape
        (2, 3)
    """
    key = _validate.random_key("key", key)
    shape = (
        _validate.integer("samples", samples, at_least=1),
        _validate.integer("dimension", dimension, at_least=1),
    )
    return _signs(key, shape, _validate.floating_dtype("dtype", dtype))


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def _signs(key: Array, shape: tuple[int, int], dtype: Any) -> Array:
    return jax.random.rademacher(key, (math.prod(shape),), dtype).reshape(shape)


def draw_subset(key: Key[Array, ""], dimension: int, sparsity: int) -> tuple[int, ...]:
    r"""A uniformly random set of k among d coordinates, in increasing order.

    Args:
        key: of the draw.
        dimension: d.
        sparsity: k.

    Raises:
        ValueError: for sizes below 1 or a sparsity above the dimension.

    Examples:
        >>> len(set(draw_subset(jax.random.key(0), 30, 4)))
        4
    """
    key = _validate.random_key("key", key)
    d, k = _sizes(dimension, sparsity)
    chosen = np.asarray(jax.random.permutation(key, d))[:k]
    return tuple(sorted(int(i) for i in chosen))


def _sizes(dimension: Any, sparsity: Any) -> tuple[int, int]:
    d = _validate.integer("dimension", dimension, at_least=1)
    k = _validate.integer("sparsity", sparsity, at_least=1)
    if k > d:
        raise ValueError(f"sparsity must be at most dimension = {d}, got {k}")
    return d, k


def composed_target(x: Rows, subset: Sequence[int], alpha: float) -> Float[Array, "N k"]:
    r"""$H(x) = F(x) + \alpha\,G(F(x))$ with $F(x) = (x_{s_1}, \dots, x_{s_k})$ and $G(h) = (\prod_j
    h_j)\,(1, \dots, 1)$: output i is $x_{s_i} + \alpha\prod_j x_{s_j}$.

    Args:
        x: points.
        subset: $S = (s_1, \dots, s_k)$, different coordinates.
        alpha: $\alpha$.

    Raises:
        ValueError: for coordinates that are not there or come twice.

    Source: AZL19, section 2.3, at $\sqrt d\,x$ in place of x.

    Examples:
        >>> composed_target(jnp.array([[1.0, -1.0, -1.0]]), (0, 2), 0.25).tolist()
        [[0.75, -1.25]]
    """
    x = _validate.points("x", x)
    cube.sorted_subset(subset, x.shape[1])
    alpha = _validate.number("alpha", alpha)
    simple = x[:, np.asarray(subset, int)]
    return simple + alpha * jnp.prod(simple, axis=1, keepdims=True)


# --- the floor ----------------------------------------------------------------------------------


def kernel_floor(samples: int, dimension: int, sparsity: int, alpha: float) -> float:
    r"""$\max\bigl(0,\ k\alpha^2(1 - N/\binom dk)\bigr)$: no kernels with N samples have a smaller
    risk on $x_{s_i} + \alpha\chi_S(x)$, $i \le k$, in mean over the sets S of k coordinates.

    The risk is $\E\norm{H(x) - R(x)}^2$. It is 0, and says nothing, for $N \ge \binom dk$. The same
    holds for all linear combinations of N features that were fixed before S.

    Args:
        samples: N.
        dimension: d, the number of coordinates that are uniform and independent.
        sparsity: k.
        alpha: $\alpha$ in (0, 1).

    Raises:
        ValueError: for sizes below 1, a sparsity above the dimension, or $\alpha$ outside (0, 1).

    Source: proved in the chapter; the sharper form of AZL19, Theorem 4.2.

    Examples:
        >>> round(kernel_floor(4096, 30, 4, 0.3), 3), kernel_floor(10, 5, 2, 0.3)
        (0.306, 0.0)
    """
    n = _validate.integer("samples", samples, at_least=1)
    d, k = _sizes(dimension, sparsity)
    alpha = _validate.probability("alpha", alpha)
    count = math.comb(d, k)
    # The quotient of integers: they may be larger than any float.
    return k * alpha**2 * ((count - n) / count) if n < count else 0.0


def best_floor(features: int, dimension: int, sparsity: int, alpha: float) -> float:
    r"""$k\sum_{j > N} \lambda_{(j)}$: what the best N features leave of the risk, in mean over
    the ordered sets S; no N features leave less.

    $\lambda_{(1)} \ge \lambda_{(2)} \ge \dots$ are the eigenvalues of the second moment of the
    functions $x_{s_i} + \alpha\chi_S$: $\frac1d + \alpha^2/\binom dk$ once, both roots
    $\lambda_\pm$ of $\lambda^2 - \bigl(\frac1d + \alpha^2/\tbinom dk\bigr)\lambda +
    \frac{\alpha^2}{d \binom dk}\bigl(1 - \frac{d - k}{k(d - 1)}\bigr)$ with multiplicity
    $d - 1$, and $\alpha^2/\binom dk$ with $\binom dk - d$. From $N = d$ to $\binom dk$ it is
    `kernel_floor` plus $k(d - 1)\lambda_-$.

    Args:
        features: N, which may be 0.
        dimension: d.
        sparsity: k, at least 2 and below d.
        alpha: $\alpha$ in (0, 1).

    Raises:
        ValueError: for negative features, a sparsity that is not from 2 to d − 1, or $\alpha$
            outside (0, 1).

    Source: proved in the chapter.

    Examples:
        >>> round(best_floor(60, 10, 3, 0.3), 4), round(kernel_floor(60, 10, 3, 0.3), 4)
        (0.15, 0.135)
    """
    n = _validate.integer("features", features, at_least=0)
    d, k = _sizes(dimension, sparsity)
    if not 2 <= k < d:
        raise ValueError(f"sparsity must be from 2 to dimension - 1 = {d - 1}, got {k}")
    square = _validate.probability("alpha", alpha) ** 2
    count = math.comb(d, k)
    each = square / count
    total = 1 / d + each
    product = each / d * (1 - (d - k) / (k * (d - 1)))
    larger = (total + math.sqrt(total**2 - 4 * product)) / 2
    smaller = product / larger
    kept, left = n, 0.0
    for value, times in ((total, 1), (larger, d - 1), (each, count - d), (smaller, d - 1)):
        left += value * max(times - kept, 0)
        kept = max(kept - times, 0)
    return k * left


def features_required(dimension: int, sparsity: int, alpha: float, error: float) -> int:
    r"""The smallest D with $k\alpha^2(1 - D/\binom dk) \le \varepsilon$: no fewer features,
    fixed before S, reach the risk $\varepsilon$ in mean over S, with any number of samples.

    Args:
        dimension: d.
        sparsity: k.
        alpha: $\alpha$ in (0, 1).
        error: $\varepsilon > 0$.

    Raises:
        ValueError: for sizes below 1, a sparsity above the dimension, $\alpha$ outside (0, 1) or
            an error that is not positive.

    Source: AZL19, section 5, with the constants of the chapter.

    Examples:
        >>> features_required(30, 4, 0.3, 0.01), math.comb(30, 4)
        (26644, 27405)
    """
    d, k = _sizes(dimension, sparsity)
    alpha = _validate.probability("alpha", alpha)
    error = _validate.number("error", error, above=0)
    share = Fraction(error) / (k * Fraction(alpha) ** 2)
    return max(0, math.ceil(math.comb(d, k) * (1 - share)))


def class_errors(
    features: Float[Array | np.ndarray, "points N"],
    points: Float[Array | np.ndarray, "points all"],
    probabilities: Float[Array | np.ndarray, " points"],
    *,
    dimension: int,
    sparsity: int,
    alpha: float,
) -> Float[np.ndarray, "sets k"]:
    r"""$\min_{g \in V}\E\,(x_{s_i} + \alpha\chi_S(x) - g(x))^2$ for the span V of the
    features, for each set S of k of the first d coordinates and each of its members.

    Args:
        features: their values at the points.
        points: of a finite distribution, whose first d coordinates are signs.
        probabilities: of the points.
        dimension: d.
        sparsity: k.
        alpha: $\alpha$.

    Returns:
        Sets in the order of `itertools.combinations`, in double precision.

    Raises:
        ValueError: for shapes that do not fit, probabilities that are not positive with sum 1, or
            a sparsity above the dimension.

    Examples:
        >>> x = cube.hypercube(3)
        >>> class_errors(x, x, np.full(8, 1 / 8), dimension=3, sparsity=2, alpha=0.5)[0].tolist()
        [0.25, 0.25]
    """
    x = np.asarray(_validate.points("points", points), float)
    values = np.asarray(_validate.points("features", features), float)
    chances = np.asarray(_validate.floating("probabilities", probabilities, ndim=1), float)
    d, k = _sizes(dimension, sparsity)
    if values.shape[0] != len(x) or chances.shape != (len(x),):
        raise ValueError(
            f"features and probabilities must have a row for each of {len(x)} points, got "
            f"{values.shape} and {chances.shape}"
        )
    if d > x.shape[1]:
        raise ValueError(f"dimension must be at most the points' {x.shape[1]}, got {d}")
    if np.any(chances <= 0) or abs(np.sum(chances) - 1) > 1e-4:
        raise ValueError("probabilities must be positive with sum 1")
    alpha = _validate.number("alpha", alpha)
    root = np.sqrt(chances / np.sum(chances))[:, None]
    basis, singular, _ = np.linalg.svd(root * values, full_matrices=False)
    basis = basis[:, singular > 1e-10 * max(singular[0], 1e-300)]
    sets = np.array(list(itertools.combinations(range(d), k)))
    parities = np.prod(x[:, sets], axis=2)
    simple, hard = basis.T @ (root * x[:, :d]), basis.T @ (root * parities)
    together = chances @ (x[:, sets] * parities[:, :, None]).reshape(len(x), -1)
    whole = 1 + alpha**2 + 2 * alpha * together.reshape(sets.shape)
    caught = np.sum((simple[:, sets] + alpha * hard[:, :, None]) ** 2, axis=0)
    return np.asarray(np.maximum(whole - caught, 0))


def cube_eigenvalues(kernel: Kernel, dimension: int) -> Float[np.ndarray, " degrees"]:
    r"""$\lambda_j = 2^{-d}\sum_h f(1 - 2h/d)\,K_h(j)$, the eigenvalue of $f(\inner x{x'}/d)$ at
    the $\binom dj$ characters of degree j of the cube, for $j = 0, \dots, d$.

    Args:
        kernel: f, a function of the cosine, as `spectral_bias.deep_kernel` gives.
        dimension: d.

    Raises:
        ValueError: for a dimension below 1, or values that are not finite numbers.

    Examples:
        >>> cube_eigenvalues(lambda cosine: cosine**2, 3).round(4).tolist()
        [0.3333, 0.0, 0.2222, 0.0]
    """
    d = _validate.integer("dimension", dimension, at_least=1)
    return np.asarray(cube.krawtchouk(d).T @ _profile(kernel, d) / 2.0**d)


def _profile(kernel: Kernel, d: int) -> np.ndarray:
    """The kernel at 0, …, d coordinates that differ."""
    values = np.asarray(kernel(1 - 2 * np.arange(d + 1) / d), float)
    if values.shape != (d + 1,) or not np.all(np.isfinite(values)):
        raise ValueError(f"kernel must give a finite number for each cosine, got {values!r:.80}")
    return values


class _Moments(NamedTuple):
    """Means over all targets, and over the cube; all are `[N, N]`.

    Attributes:
        differ: in how many coordinates two samples differ.
        labels: of the products of two labels.
        mixed: of a label and the mean over x of the target times the kernel's section.
        sections: of two such means.
        gram: the mean over x of two sections.
    """

    differ: np.ndarray
    labels: np.ndarray
    mixed: np.ndarray
    sections: np.ndarray
    gram: np.ndarray


def _moments(x: np.ndarray, kernel: Kernel, k: int, alpha: float) -> _Moments:
    d = x.shape[1]
    eigenvalues, differ = cube_eigenvalues(kernel, d), _differences(x)
    linear = 1 - 2 * differ / d
    parity = alpha**2 * cube.krawtchouk(d)[k][differ] / math.comb(d, k)
    # Σ over S and s ∈ S of x_s χ_S(x′): the product of the others, summed, depends on their signs.
    minus = np.sum(x < 0, axis=1, keepdims=True) - (x < 0)
    others = cube.krawtchouk(d - 1)[k - 1][minus] * x
    cross = alpha * (x @ others.T) / (k * math.comb(d, k))
    one, many = eigenvalues[1], eigenvalues[k]
    return _Moments(
        differ,
        linear + parity + cross + cross.T,
        one * linear + many * parity + many * cross + one * cross.T,
        one**2 * linear + many**2 * parity + one * many * (cross + cross.T),
        _section_products(x, eigenvalues),
    )


def _samples(x: Any, sparsity: Any, alpha: Any) -> tuple[np.ndarray, int, float]:
    points = np.asarray(_validate.points("x", x), float)
    if np.any(np.abs(points) != 1):
        raise ValueError("x must hold points of the cube, with entries 1 and -1")
    k = _validate.integer("sparsity", sparsity, at_least=2)
    if k > points.shape[1]:
        raise ValueError(f"sparsity must be at most the dimension {points.shape[1]}, got {k}")
    return points, k, _validate.probability("alpha", alpha)


def target_risks(
    x: Rows, kernel: Kernel, subsets: Int[Array | np.ndarray, "sets k"], alpha: float
) -> Float[np.ndarray, " sets"]:
    r"""$k(1 + \alpha^2) - \sum_i b_i\T G^{+} b_i$: the risk of the best $\sum_n w_{i,n} K(x, x_n)$
    for each of these targets, under the uniform law on the cube; exact, with weights that no label
    could tell.

    $G_{nm} = \E_x K(x, x_n)K(x, x_m)$ and $b_{i,n} = \lambda_1 x_{n,s_i} +
    \alpha\lambda_k\chi_S(x_n)$, with the kernel's eigenvalues.

    Args:
        x: N samples, of the cube.
        kernel: a function of the cosine.
        subsets: sets S of k coordinates, at least 2.
        alpha: $\alpha$ in (0, 1).

    Raises:
        ValueError: for points off the cube, coordinates that are not there or come twice in a set,
            fewer than 2 of them, or $\alpha$ outside (0, 1).

    Source: proved in the chapter.

    Examples:
        >>> x = sample_cube(jax.random.key(0), 40, 10)
        >>> target_risks(x, lambda cosine: cosine, np.array([[0, 1, 2]]), 0.5).round(6).tolist()
        [0.75]
    """
    members = np.asarray(subsets)
    if members.ndim != 2 or members.size == 0 or members.dtype.kind not in "iu":
        raise ValueError(f"subsets must be integers [sets, k], got {members.dtype} {members.shape}")
    points, k, alpha = _samples(x, members.shape[1], alpha)
    if np.min(members) < 0 or np.max(members) >= points.shape[1]:
        raise ValueError(f"subsets must name coordinates below {points.shape[1]}")
    if not np.all(np.diff(np.sort(members, axis=1), axis=1)):
        raise ValueError("subsets must name each coordinate once")
    eigenvalues = cube_eigenvalues(kernel, points.shape[1])
    factor = _inverse_root(_section_products(points, eigenvalues))
    parity = alpha * eigenvalues[k] * (factor @ np.prod(points[:, members], axis=2))
    simple = eigenvalues[1] * (factor @ points)
    caught = np.sum((simple[:, members] + parity[:, :, None]) ** 2, axis=(0, 2))
    return np.asarray(k * (1 + alpha**2) - caught)


def _section_products(x: np.ndarray, eigenvalues: np.ndarray) -> np.ndarray:
    """E_x K(x, x_n) K(x, x_m): the kernel of the squares of the eigenvalues."""
    polynomials = cube.krawtchouk(x.shape[1])
    return np.asarray((eigenvalues**2 @ polynomials)[_differences(x)])


def _differences(x: np.ndarray) -> np.ndarray:
    """In how many coordinates any two points of the cube differ."""
    return np.rint((x.shape[1] - x @ x.T) / 2).astype(int)


def _inverse_root(gram: np.ndarray) -> np.ndarray:
    """Rows R with RᵀR the pseudoinverse."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-12 * values[-1]
    return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T)


def best_risk(x: Rows, kernel: Kernel, sparsity: int, alpha: float) -> float:
    r"""$k\,(1 + \alpha^2 - \tr G^{+}M)$: the mean of `target_risks` over all sets S, with
    $M = \E_{S,i}\,b_i b_i\T$ a sum over degrees, however many sets there are.

    Args:
        x: N samples, of the cube.
        kernel: a function of the cosine.
        sparsity: k, at least 2.
        alpha: $\alpha$ in (0, 1).

    Raises:
        ValueError: for points off the cube, k below 2 or above d, or $\alpha$ outside (0, 1).

    Source: proved in the chapter.

    Examples:
        >>> x = sample_cube(jax.random.key(0), 40, 10)
        >>> found = best_risk(x, lambda cosine: np.exp(cosine), 3, 0.3)
        >>> kernel_floor(40, 10, 3, 0.3) <= found < 3 * (1 + 0.3**2)
        True
    """
    points, k, alpha = _samples(x, sparsity, alpha)
    found = _moments(points, kernel, k, alpha)
    factor = _inverse_root(found.gram)
    return float(k * (1 + alpha**2 - np.sum(factor * (factor @ found.sections))))


def ridge_risks(
    x: Rows,
    kernel: Kernel,
    sparsity: int,
    alpha: float,
    ridges: Float[Array | np.ndarray, " ridges"],
) -> Float[np.ndarray, " ridges"]:
    r"""The risk of $R_i(x) = \sum_n w_{i,n} K(x, x_n)$ with $w_i = (K + \rho I)^{-1} y_i$, in
    mean over all ordered sets S: exact, without test points.

    Args:
        x: N samples, of the cube.
        kernel: a function of the cosine.
        sparsity: k, at least 2.
        alpha: $\alpha$ in (0, 1).
        ridges: $\rho > 0$.

    Raises:
        ValueError: as `best_risk`, and for ridges that are not positive.

    Source: proved in the chapter.

    Examples:
        >>> x = sample_cube(jax.random.key(0), 40, 10)
        >>> best, far = ridge_risks(x, lambda cosine: np.exp(cosine), 3, 0.3, np.array([0.1, 1e9]))
        >>> bool(best < far), round(float(far), 4), round(3 * (1 + 0.3**2), 4)
        (True, 3.27, 3.27)
    """
    points, k, alpha = _samples(x, sparsity, alpha)
    rho = np.asarray(_validate.floating("ridges", ridges, ndim=1), float)
    if len(rho) == 0 or np.any(rho <= 0):
        raise ValueError(f"ridges must be one or more positive numbers, got {rho}")
    found = _moments(points, kernel, k, alpha)
    values, vectors = np.linalg.eigh(_profile(kernel, points.shape[1])[found.differ])
    linear = np.sum(vectors * (found.mixed @ vectors), axis=0)
    both = (vectors.T @ found.gram @ vectors) * (vectors.T @ found.labels @ vectors)
    factors = 1 / (np.maximum(values, 0) + rho[:, None])
    square = np.sum((factors @ both) * factors, axis=1)
    return np.asarray(k * (1 + alpha**2 - 2 * factors @ linear + square))


# --- what the theorem asks and promises ---------------------------------------------------------


def sample_complexity(dimension: int, sparsity: int, alpha: float) -> float:
    r"""$k^2 d/\alpha^8$, the samples of the residual network up to the constants and logarithms
    that the source does not give.

    Args:
        dimension: d.
        sparsity: k.
        alpha: $\alpha$ in (0, 1).

    Raises:
        ValueError: for sizes below 1, a sparsity above the dimension, or $\alpha$ outside (0, 1).

    Source: AZL19, section 4.

    Examples:
        >>> round(sample_complexity(30, 4, 0.3))
        7315958
    """
    d, k = _sizes(dimension, sparsity)
    return k**2 * d / _validate.probability("alpha", alpha) ** 8


def separating_dimension(sparsity: int, *, factor: int = 1) -> int:
    r"""The smallest d with $N^{k/2} \le \frac{1}{1000}\binom dk$ for $N = c\,d^{1.8}$: from
    where on Theorem 4.2 covers the samples of corollary (b).

    Args:
        sparsity: k.
        factor: c; $k^2$ where the sample complexity keeps its $k^2$.

    Raises:
        ValueError: for a sparsity or a factor below 1.

    Source: AZL19, section 4, corollaries (a) and (b), at $\alpha = d^{-0.1}$.

    Examples:
        >>> f"{separating_dimension(4):.2e}", f"{separating_dimension(4, factor=16):.1e}"
        ('8.92e+10', '9.4e+16')
    """
    k = _validate.integer("sparsity", sparsity, at_least=1)
    c = _validate.integer("factor", factor, at_least=1)

    def covered(d: int) -> bool:
        # The tenth powers of both sides are integers: nothing is rounded.
        return bool((1000**10 * c ** (5 * k)) * d ** (9 * k) <= math.comb(d, k) ** 10)

    largest = 1
    while not covered(largest):
        largest *= 2
    smallest = largest // 2
    while largest - smallest > 1:
        middle = (smallest + largest) // 2
        smallest, largest = (smallest, middle) if covered(middle) else (middle, largest)
    return largest


def alternate(
    x: Rows,
    probabilities: Float[Array | np.ndarray, " N"],
    labels: Float[Array | np.ndarray, "N k"],
    compose: Callable[[np.ndarray], Any],
    *,
    rounds: int,
) -> Float[np.ndarray, "rounds_and_one N k"]:
    r"""$F_0 = 0$, $F_{t+1} = P\bigl(H - C(F_t)\bigr)$: the simple part again and again, each time
    without what the last one says of the composed part.

    P is the orthogonal projection onto the linear functions of x, for each output.

    Args:
        x: the points of a finite distribution.
        probabilities: of the points.
        labels: $H$ at the points.
        compose: $C = \alpha G$, on values `[N, k]`.
        rounds: how many.

    Returns:
        $F_0, \dots, F_T$ at the points, in double precision.

    Raises:
        ValueError: for shapes that do not fit, probabilities that are not positive, or a negative
            number of rounds.

    Source: the chapter's reading of AZL19, section 7 (b).

    Examples:
        >>> x = np.array([[1.0], [-2.0]])
        >>> found = alternate(x, np.full(2, 0.5), 1.5 * x, lambda f: f / 2, rounds=3)
        >>> found[:, 0, 0].tolist()  # F = x, up to (−½)ᵗ
        [0.0, 1.5, 0.75, 1.125]
    """
    points = np.asarray(_validate.points("x", x), float)
    chances = np.asarray(_validate.floating("probabilities", probabilities, ndim=1), float)
    h = np.asarray(_validate.floating("labels", labels, ndim=2), float)
    if len(chances) != len(points) or len(h) != len(points):
        raise ValueError(
            f"probabilities and labels must have a row for each of {len(points)} points, got "
            f"{chances.shape} and {h.shape}"
        )
    if np.any(chances <= 0):
        raise ValueError("probabilities must be positive")
    rounds = _validate.integer("rounds", rounds, at_least=0)
    root = np.sqrt(chances)[:, None]
    solve = points @ np.linalg.pinv(root * points)
    found = [np.zeros_like(h)]
    for _ in range(rounds):
        found.append(solve @ (root * (h - np.asarray(compose(found[-1]), float))))
    return np.stack(found)


def descent_and_nearest(
    u: float, v: float, product: float
) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    r"""Where the gradient flow of $\tfrac12(uv - y)^2$ ends, and the solution of $uv = y$ that is
    nearest to its start.

    The flow keeps $u^2 - v^2$. The nearest solution is a root of $t^4 - ut^3 + vyt - y^2$.

    Args:
        u: first weight at the start.
        v: second.
        product: y, not 0.

    Returns:
        Both solutions (u, v).

    Raises:
        ValueError: for y = 0, and for weights of one absolute value whose product has not y's sign:
            from there the flow runs into 0.

    Source: proved in the chapter, for AZL19, section 6.

    Examples:
        >>> end, nearest = descent_and_nearest(2.0, 0.0, 1.0)
        >>> end.round(3).tolist(), nearest.round(3).tolist()
        ([2.058, 0.486], [2.107, 0.475])
    """
    u, v = _validate.number("u", u), _validate.number("v", v)
    y = _validate.number("product", product)
    kept = u**2 - v**2
    if y == 0:
        raise ValueError("product must not be 0")
    if kept == 0 and u * v * y <= 0:
        raise ValueError(f"v must differ from u in absolute value, got {u:g} and {v:g}")
    larger = math.sqrt((abs(kept) + math.hypot(kept, 2 * y)) / 2)
    if kept > 0:  # the larger weight keeps its sign
        larger = math.copysign(larger, u)
        end = np.array([larger, y / larger])
    else:
        larger = math.copysign(larger, v)
        end = np.array([y / larger, larger])
    roots = np.roots([1, -u, 0, v * y, -(y**2)])
    real = np.real(roots[np.abs(np.imag(roots)) < 1e-7 * np.abs(roots)])
    candidates = np.stack([real, y / real], axis=1)
    gaps = np.sum((candidates - np.array([u, v])) ** 2, axis=1)
    return end, candidates[int(np.argmin(gaps))]


# --- training -----------------------------------------------------------------------------------


class Training(NamedTuple):
    """A run of Adam.

    Attributes:
        steps: after how many steps the parameters were kept, `[E + 1]`, from 0 on.
        path: the parameters then: each array with a first axis `[E + 1]`.
        params: those at the end.
    """

    steps: np.ndarray
    path: Any
    params: Any


def train(
    network: Network,
    params: Any,
    x: Rows,
    y: Float[Array | np.ndarray, "N k"],
    *,
    steps: int,
    seed: int = 0,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    evaluations: int = 1,
) -> Training:
    r"""Adam on $\frac1{|B|}\sum_{i \in B}\norm{f(x_i) - y_i}^2$, with batches B that run through
    the samples in a new random order each time, and a step size that falls to 0 as a half cosine.

    With as many samples as steps times batch size each sample is seen once.

    Args:
        network: any pair `init`, `apply`.
        params: where to start.
        x: inputs.
        y: labels.
        steps: how many, more than 0.
        seed: of the order of the samples.
        batch_size: $|B|$; all samples where there are fewer.
        learning_rate: of Adam at the first step, at its usual other settings.
        evaluations: how often the parameters are kept, at equal distances; it must divide `steps`.

    Raises:
        ValueError: for sizes below 1, or labels of another length than the inputs'.

    Examples:
        >>> x = sample_cube(jax.random.key(0), 64, 4)
        >>> network = residual_network(32, 2)
        >>> run = train(network, network.init(jax.random.key(1), 4), x, x[:, :2], steps=200)
        >>> bool(jnp.mean((network.apply(run.params, x) - x[:, :2]) ** 2) < 0.01)
        True
    """
    x, y = _validate.points("x", x), _validate.floating("y", y, ndim=2)
    if len(y) != len(x) or y.dtype != x.dtype:
        raise ValueError(
            f"y must have {len(x)} rows of {x.dtype} as x has, got {y.shape} of {y.dtype}"
        )
    steps = _validate.integer("steps", steps, at_least=1)
    evaluations = _validate.integer("evaluations", evaluations, at_least=1)
    if steps % evaluations:
        raise ValueError(f"evaluations must divide steps = {steps}, got {evaluations}")
    batch = min(_validate.integer("batch_size", batch_size, at_least=1), len(x))
    rate = _validate.number("learning_rate", learning_rate, above=0)
    generator = np.random.default_rng(_validate.integer("seed", seed, at_least=0))
    rounds = -(-steps * batch // len(x))
    order = np.concatenate([generator.permutation(len(x)) for _ in range(rounds)])
    every = steps // evaluations
    order = order[: steps * batch].reshape(evaluations, every, batch)
    # Optax relies on the promotion of integers to floating-point numbers.
    with jax.numpy_dtype_promotion("standard"):
        path = _trained(network.apply, params, x, y, jnp.asarray(order), rate)
    path = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), params, path)
    last = jax.tree.map(lambda leaf: leaf[-1], path)
    return Training(np.arange(0, steps + 1, every), path, last)


@functools.partial(jax.jit, static_argnums=0)
def _trained(apply: Any, params: Any, x: Array, y: Array, order: Array, rate: Any) -> Any:
    # Optax is imported where it is used: the library itself does without.
    with _extras.needed_by("train"):
        import optax  # type: ignore[import-untyped]

    moments = optax.scale_by_adam()
    steps = order.shape[0] * order.shape[1]

    def loss(params: Any, chosen: Array) -> Array:
        return jnp.mean(jnp.sum((apply(params, x[chosen]) - y[chosen]) ** 2, axis=1))

    def step(state: tuple[Any, Any, Array], chosen: Array) -> tuple[Any, None]:
        params, memory, t = state
        updates, memory = moments.update(jax.grad(loss)(params, chosen), memory)
        size = rate * (1 + jnp.cos(jnp.pi * t / steps)) / 2
        params = jax.tree.map(lambda p, u: p - (size * u).astype(p.dtype), params, updates)
        return (params, memory, t + 1), None

    def stretch(state: Any, part: Array) -> tuple[Any, Any]:
        state, _ = jax.lax.scan(step, state, part)
        return state, state[0]

    start = (params, moments.init(params), jnp.zeros((), x.dtype))
    return jax.lax.scan(stretch, start, order)[1]
