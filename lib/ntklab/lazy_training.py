r"""Lazy and rich training: how the scale of a model decides whether its tangent kernel moves.

A model $\alpha f$ with $f(\theta_0) = 0$ follows its linearization ever more closely as $\alpha$
grows, and leaves it as $\alpha$ shrinks. `lazy_bounds` says how closely, with the constants of
`convergence`. `relu_sum` is a student that shows both ends, `diagonal_network` one whose limit is
known in closed form at every scale.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from ntklab import _random, _validate
from ntklab.convergence import Constants
from ntklab.networks import Network, alternating_signs

__all__ = [
    "LazyBounds",
    "TeacherProblem",
    "diagonal_network",
    "diagonal_start",
    "implicit_minimizer",
    "implicit_penalty",
    "label_alignment",
    "lazy_bounds",
    "least_absolute_sum",
    "mirrored_start",
    "relative_change",
    "relu_sum",
    "scaled",
    "sparsity_bound",
    "teacher_problem",
]

# --- the scale of the output --------------------------------------------------------------------


def scaled(network: Network, scale: float) -> Network:
    r"""The network $\alpha f(x; \theta)$, with the parameters of f.

    Its tangent kernel is $\alpha^2$ times that of f. Flows are compared on the clock of f's kernel:
    a time t there is $t/\alpha^2$ for $\alpha f$.

    Args:
        network: a pair `init`, `apply`.
        scale: $\alpha > 0$.

    Raises:
        ValueError: if `network` is no such pair, or for a scale that is not positive.

    Source: S24, section 14.2; Chizat, Oyallon and Bach 2019.

    Examples:
        >>> from ntklab.networks import shallow
        >>> network = shallow(2, activation="identity")
        >>> W, x = jnp.array([[3.0], [1.0]]), jnp.ones((1, 1))
        >>> (scaled(network, 10.0).apply(W, x) / network.apply(W, x)).tolist()
        [[10.0]]
    """
    if not (isinstance(network, tuple) and len(network) == 2 and all(map(callable, network))):
        raise ValueError(f"network must be a pair (init, apply) of functions, got {network!r}")
    init, apply = network
    return Network(init, _Scaled(apply, _validate.number("scale", scale, above=0)))


@dataclass(frozen=True)
class _Scaled:
    """The `apply` of `scaled`: hashable, so that `jax.jit` knows it again."""

    apply: Callable[[Any, Array], Array]
    scale: float

    def __call__(self, params: Any, x: Array) -> Array:
        return self.scale * self.apply(params, x)


class LazyBounds(NamedTuple):
    r"""What holds along the whole flow of $\frac{1}{2\alpha^2}\|\alpha f - y\|^2$.

    Attributes:
        threshold: $\alpha_* = 2L\rho_0/\sigma_0^2$; at a scale of at most this nothing is promised:
            the rate is 0 and the bounds are infinite.
        rate: $c = \sigma_0^2(1 - \alpha_*/\alpha)$, with $\|r_t\| \le e^{-ct}\rho_0$.
        distance: R, no less than $\|\theta_t - \theta_0\|$.
        kernel_change: no less than $\|H_t - H_0\|_{\mathrm{op}}$.
        prediction_gap: no less than $\|\hat y_t - \bar y_t\|$, between the predictions
            $\hat y = \alpha f(X; \theta)$ and those of the linearized model.
    """

    threshold: float
    rate: float
    distance: float
    kernel_change: float
    prediction_gap: float


def lazy_bounds(found: Constants, scale: float) -> LazyBounds:
    r"""$R = \frac{\sigma_0}{L}\bigl(1 - \sqrt{1 - \alpha_*/\alpha}\bigr)$ and what follows from it,
    with $\alpha_* = 2L\rho_0/\sigma_0^2$.

    $\|H_t - H_0\| \le LR(2\|J_0\| + LR)$, and the predictions differ from those of the linearized
    model by at most $\rho_0/(e\,c)$ times that. All of it is $O(1/\alpha)$.

    Args:
        found: what `convergence.constants` finds for f at $\theta_0$; if $f(\theta_0) \ne 0$, with
            $\|\alpha f(\theta_0) - y\|$ as its `residual_norm`.
        scale: $\alpha > 0$.

    Raises:
        ValueError: for something that is no `Constants`, or a scale that is not positive.

    Source: derived in the chapter, after Chizat, Oyallon and Bach 2019.

    Examples:
        >>> line = Constants(1, 1, 1.0, 1.0, 1.0, 1.0, 0.5, 1.0)  # θ + θ²/4, y = 1
        >>> bounds = lazy_bounds(line, 100.0)
        >>> bounds.threshold, bounds.rate, round(bounds.distance, 5)
        (1.0, 0.99, 0.01003)
        >>> lazy_bounds(line, 1.0).distance
        inf
    """
    _validate.instance("found", found, Constants)
    alpha = _validate.number("scale", scale, above=0)
    sigma, rho, slope = found.sigma_min, found.residual_norm, found.lipschitz
    threshold = 2 * slope * rho / sigma**2 if sigma > 0 else math.inf
    if not alpha > threshold:
        return LazyBounds(threshold, 0.0, math.inf, math.inf, math.inf)
    share = threshold / alpha
    rate = sigma**2 * (1 - share)
    # (σ₀/L)(1 − √(1 − s)) without the difference, and for L = 0 as well.
    distance = 2 * rho / (alpha * sigma * (1 + math.sqrt(1 - share)))
    moved = slope * distance
    change = moved * (2 * found.jacobian_norm + moved)
    return LazyBounds(threshold, rate, distance, change, rho * change / (math.e * rate))


# --- how far a kernel has moved, and where to ---------------------------------------------------


def relative_change(before: Any, after: Any) -> float:
    r"""$\|K' - K\|_F/\|K\|_F$.

    Args:
        before: K, `[n, n]`, not zero.
        after: $K'$, `[n, n]`.

    Raises:
        ValueError: for matrices that are not Gram matrices of one size and dtype, or K = 0.

    Examples:
        >>> relative_change(jnp.eye(2), 3 * jnp.eye(2))
        2.0
    """
    first, last = _validate.gram("before", before), _validate.gram("after", after)
    if first.shape != last.shape:
        raise ValueError(f"after must have the shape {first.shape} of before, got {last.shape}")
    one, two = np.asarray(first, float), np.asarray(last, float)
    if not np.any(one):
        raise ValueError("before must not be zero: no change is relative to it")
    return float(np.linalg.norm(two - one) / np.linalg.norm(one))


def label_alignment(kernel: Any, y: Any) -> float:
    r"""$\frac{\langle\tilde K, \tilde y\tilde y^{\mathsf T}\rangle_F}{\|\tilde K\|_F\,
    \|\tilde y\tilde y^{\mathsf T}\|_F}$, from 0 to 1, which stands for $\tilde K \propto
    \tilde y\tilde y^{\mathsf T}$.

    Both are centred first, $\tilde y = Cy$ and $\tilde K = CKC$ with
    $C = I - \frac1n\mathbb 1\mathbb 1^{\mathsf T}$: else what a kernel has in common with the
    constant function, which for ReLU is most of it, would hide all else.

    Args:
        kernel: K, `[n, n]`, not constant.
        y: labels `[n]`, or `[n, outputs]` with a column for each output; not all equal.

    Raises:
        ValueError: for a K that is no Gram matrix, other shapes, or nothing left after centring.

    Source: Cortes, Mohri and Rostamizadeh 2012.

    Examples:
        >>> y = jnp.array([1.0, -1.0, 1.0, -1.0])
        >>> label_alignment(jnp.outer(y, y), y), round(label_alignment(jnp.eye(4), y), 3)
        (1.0, 0.577)
    """
    gram = np.asarray(_validate.gram("kernel", kernel), float)
    labels = np.asarray(_validate.floating("y", y, min_ndim=1), float)
    if labels.shape[:1] != gram.shape[:1] or labels.ndim > 2 or labels.size == 0:
        n = len(gram)
        raise ValueError(f"y must have shape ({n},) or ({n}, outputs), got {labels.shape}")
    labels = labels.reshape(len(gram), -1)
    centred = labels - np.mean(labels, axis=0)
    middle = gram - np.mean(gram, axis=0)
    middle = middle - np.mean(middle, axis=1, keepdims=True)
    # What centring leaves of a constant is rounding.
    for name, rest, whole in (("kernel", middle, gram), ("y", centred, labels)):
        if not np.max(np.abs(rest)) > 1e-12 * np.max(np.abs(whole)):
            raise ValueError(f"{name} must not be constant, got {np.ravel(whole)[0]:g} throughout")
    size = np.linalg.norm(centred.T @ centred) * np.linalg.norm(middle)
    return float(np.sum(centred * (middle @ centred)) / size)


# --- a student and its teacher ------------------------------------------------------------------


def relu_sum(params: Any, x: Array) -> Array:
    r"""$f(x; W, a) = \sum_j a_j (w_j \cdot x)_+$, without a factor; all weights are trained.

    Weights $\tau$ times as large give a function $\tau^2$ times as large, with a tangent kernel
    $\tau^2$ times as large: the standard deviation of the start is a scale of the output.

    Args:
        params: the pair W `[m, d]` and a `[m]`.
        x: points `[N, d]`.

    Source: Chizat, Oyallon and Bach 2019.

    Examples:
        >>> relu_sum((jnp.eye(2), jnp.array([2.0, -1.0])), jnp.array([[3.0, 4.0]])).tolist()
        [2.0]
    """
    weights, output_weights = params
    return jnp.maximum(x @ weights.T, 0) @ output_weights


def mirrored_start(
    key: Key[Array, ""], d: int, *, pairs: int, std: float, dtype: Any = None
) -> tuple[Float[Array, "m d"], Float[Array, " m"]]:
    r"""Pairs of units $(w, a)$, $(w, -a)$ for `relu_sum`, all entries of w and a from
    $N(0, \tau^2)$: the function is exactly 0.

    Args:
        key: a random key.
        d: input dimension.
        pairs: half of the number of units.
        std: $\tau > 0$.
        dtype: float32 or float64; by default the type of JAX's floats.

    Returns:
        W, `[2 pairs, d]`, and a, `[2 pairs]`; the mirrored units stand next to each other.

    Raises:
        ValueError: for something that is no key, numbers below 1, or a std that is not positive.

    Source: Chizat, Oyallon and Bach 2019; M21, section 4.1.

    Examples:
        >>> import jax
        >>> W, a = mirrored_start(jax.random.key(0), 3, pairs=2, std=0.1)
        >>> W.shape, bool(jnp.all(a[::2] == -a[1::2])), bool(jnp.all(W[::2] == W[1::2]))
        ((4, 3), True, True)
    """
    key = _validate.random_key("key", key)
    d = _validate.integer("d", d, at_least=1)
    pairs = _validate.integer("pairs", pairs, at_least=1)
    std = _validate.number("std", std, above=0)
    drawn = std * _random.normal(key, (pairs, d + 1), _validate.floating_dtype("dtype", dtype))
    twice = jnp.repeat(drawn, 2, axis=0)
    signs = _validate.from_numpy(alternating_signs(2 * pairs), drawn.dtype)
    return twice[:, :d], twice[:, d] * signs


class TeacherProblem(NamedTuple):
    r"""Points of the unit sphere, labelled by a few ReLU units.

    Attributes:
        x: points, `[N, d]`.
        y: labels $\sum_k s_k (v_k \cdot x)_+$, `[N]`, with signs $s = +1, -1, +1, \dots$
        directions: the unit vectors $v_k$, `[units, d]`.
    """

    x: Array
    y: Array
    directions: Array


def teacher_problem(seed: int, *, d: int, points: int, units: int) -> TeacherProblem:
    r"""Points uniform on the sphere with labels $y = \sum_k s_k (v_k \cdot x)_+$; the $v_k$ are
    uniform on the sphere as well.

    Args:
        seed: of points and directions.
        d: input dimension.
        points: how many.
        units: how many the teacher has.

    Raises:
        ValueError: for numbers below 1, or a negative seed.

    Source: Chizat, Oyallon and Bach 2019, whose teacher has 3 units.

    Examples:
        >>> problem = teacher_problem(0, d=3, points=5, units=2)
        >>> problem.x.shape, problem.y.shape, problem.directions.shape
        ((5, 3), (5,), (2, 3))
    """
    rng = np.random.default_rng(_validate.integer("seed", seed, at_least=0))
    d = _validate.integer("d", d, at_least=1)
    points = _validate.integer("points", points, at_least=1)
    units = _validate.integer("units", units, at_least=1)
    vectors = rng.normal(size=(units + points, d))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    directions, x = vectors[:units], vectors[units:]
    y = np.maximum(x @ directions.T, 0) @ alternating_signs(units)
    return TeacherProblem(*(_validate.from_numpy(array, float) for array in (x, y, directions)))


# --- a diagonal linear network ------------------------------------------------------------------


def diagonal_network(params: Any, x: Array) -> Array:
    r"""$f(x; u, v) = \beta \cdot x$ with $\beta = u \circ u - v \circ v$: linear in x, not in the
    parameters.

    Args:
        params: the pair u `[d]` and v `[d]`.
        x: points `[N, d]`.

    Source: Woodworth et al. 2020.

    Examples:
        >>> diagonal_network((jnp.array([2.0, 1.0]), jnp.ones(2)), jnp.eye(2)).tolist()
        [3.0, 0.0]
    """
    u, v = params
    return x @ (u**2 - v**2)


def diagonal_start(d: int, scale: float) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    r"""$u = v = \alpha\mathbb 1$, where $\beta = 0$ and the tangent kernel is $8\alpha^2$ times
    $x \cdot x'$.

    Args:
        d: input dimension.
        scale: $\alpha > 0$.

    Raises:
        ValueError: for d below 1 or a scale that is not positive.

    Source: Woodworth et al. 2020.

    Examples:
        >>> diagonal_start(2, 0.5)[1].tolist()
        [0.5, 0.5]
    """
    d = _validate.integer("d", d, at_least=1)
    entries = _validate.from_numpy(np.full(d, _validate.number("scale", scale, above=0)), float)
    return entries, entries


def implicit_penalty(beta: Any, scale: float) -> float:
    r"""$Q_\alpha(\beta) = \alpha^2\sum_i q(\beta_i/\alpha^2)$, with
    $q(z) = \int_0^z \operatorname{arsinh}\frac s2\,ds = 2 - \sqrt{4 + z^2} +
    z\operatorname{arsinh}\frac z2$.

    Near 0 it is $\|\beta\|^2/(4\alpha^2)$, far from it $\sum_i|\beta_i|\ln(|\beta_i|/\alpha^2) -
    |\beta_i|$.

    Args:
        beta: $\beta$, `[d]`.
        scale: $\alpha > 0$.

    Raises:
        ValueError: for NaN, another shape, or a scale that is not positive.

    Source: Woodworth et al. 2020.

    Examples:
        >>> round(implicit_penalty(np.ones(1), 100.0) * 4 * 100**2, 6)
        1.0
    """
    values = np.asarray(_validate.floating("beta", beta, ndim=1), float)
    square = _validate.number("scale", scale, above=0) ** 2
    z = values / square
    # 2 − √(4 + z²), without the difference of two numbers near 2.
    return float(square * np.sum(z * np.arcsinh(z / 2) - z**2 / (2 + np.sqrt(4 + z**2))))


def implicit_minimizer(x: Any, y: Any, scale: float) -> Float[np.ndarray, " d"]:
    r"""$\beta_\alpha = \arg\min\{Q_\alpha(\beta) : X\beta = y\}$, which is
    $2\alpha^2\sinh(X^{\mathsf T}\nu)$ for some $\nu$.

    $\nu$ maximizes the concave $y\cdot\nu - 2\alpha^2\sum_i\cosh(X^{\mathsf T}\nu)_i$, by Newton's
    method with steps on which no $(X^{\mathsf T}\nu)_i$ changes by more than 1. In float64.

    Args:
        x: X, `[n, d]`, with linearly independent rows.
        y: `[n]`.
        scale: $\alpha$, at least 1e-60.

    Returns:
        $\beta_\alpha$, the limit of the flow of `diagonal_network` from `diagonal_start`.

    Raises:
        ValueError: for NaN, other shapes, dependent rows, or too small a scale.
        RuntimeError: if Newton's method does not arrive.

    Source: Woodworth et al. 2020.

    Examples:
        >>> x, y = np.array([[1.0, 0.5]]), np.ones(1)
        >>> implicit_minimizer(x, y, 100.0).round(3).tolist()  # of least ℓ2 norm
        [0.8, 0.4]
        >>> implicit_minimizer(x, y, 1e-5).round(3).tolist()  # of least ℓ1 norm
        [1.0, 0.0]
    """
    matrix, labels = _linear_problem(x, y)
    square = _validate.number("scale", scale, at_least=1e-60) ** 2
    nu = np.zeros(len(labels))
    size = np.linalg.norm(labels) or 1.0
    for _ in range(2000):
        z = matrix.T @ nu
        gap = labels - 2 * square * (matrix @ np.sinh(z))
        curvature = 2 * square * (matrix * np.cosh(z)) @ matrix.T
        step = np.linalg.solve(curvature, gap)
        longest = float(np.max(np.abs(matrix.T @ step)))
        nu = nu + step / max(1.0, longest)
        # Newton's method is quadratic: behind a step this short only rounding is left.
        if longest < 1e-9 and np.linalg.norm(gap) < 1e-9 * size:
            return np.asarray(2 * square * np.sinh(matrix.T @ nu))
    raise RuntimeError(f"no minimizer within 2000 steps; the constraint is off by {gap}")


def least_absolute_sum(x: Any, y: Any) -> Float[np.ndarray, " d"]:
    r"""A $\beta$ of least $\|\beta\|_1$ among those with $X\beta = y$, by linear programming.

    Args:
        x: X, `[n, d]`, with linearly independent rows.
        y: `[n]`.

    Raises:
        ValueError: for NaN, other shapes, or dependent rows.

    Examples:
        >>> least_absolute_sum(np.array([[1.0, 0.5]]), np.ones(1)).tolist()
        [1.0, 0.0]
    """
    matrix, labels = _linear_problem(x, y)
    from scipy.optimize import linprog

    d = matrix.shape[1]
    found = linprog(np.ones(2 * d), A_eq=np.hstack([matrix, -matrix]), b_eq=labels, method="highs")
    return np.asarray(found.x[:d] - found.x[d:])


def sparsity_bound(scale: float, *, d: int, least: float) -> float:
    r"""$\frac{(1 + \delta)(\Lambda + \delta)}{\Lambda - \ln d}$ with
    $\Lambda = \ln(S/\alpha^2)$ and $\delta = d\alpha^2/S$: no less than
    $\|\beta_\alpha\|_1/S$, where S is the least possible $\|\beta\|_1$.

    For $\alpha \to 0$ it is $1 + \ln d/(2\ln\frac1\alpha)$ to first order.

    Args:
        scale: $\alpha > 0$.
        d: input dimension.
        least: $S > 0$.

    Returns:
        The bound; infinite for $\Lambda \le \ln d$.

    Raises:
        ValueError: for arguments that are not positive.

    Source: derived in the chapter, after Woodworth et al. 2020.

    Examples:
        >>> round(sparsity_bound(1e-6, d=10, least=1.0), 4), sparsity_bound(1.0, d=10, least=1.0)
        (1.0909, inf)
    """
    alpha = _validate.number("scale", scale, above=0)
    d = _validate.integer("d", d, at_least=1)
    size = _validate.number("least", least, above=0)
    logarithm = math.log(size) - 2 * math.log(alpha)
    excess = d * alpha**2 / size
    if not logarithm > math.log(d):
        return math.inf
    return (1 + excess) * (logarithm + excess) / (logarithm - math.log(d))


def _linear_problem(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """X `[n, d]` of rank n and y `[n]`, in float64."""
    matrix = np.asarray(_validate.floating("x", x, ndim=2), float)
    labels = np.asarray(_validate.floating("y", y, ndim=1), float)
    if labels.shape != matrix.shape[:1] or 0 in matrix.shape:
        raise ValueError(f"y must have shape [n] for x of shape [n, d], got {labels.shape}")
    rank = int(np.linalg.matrix_rank(matrix))
    if rank < len(matrix):
        raise ValueError(f"x must have linearly independent rows, got rank {rank} of {len(matrix)}")
    return matrix, labels
