r"""A single ReLU neuron: what features fixed before it cannot fit, and how descent learns it.

Inputs are standard normal in $\R^d$. The spectrum of all neurons of one norm, the floor under every
set of features and under every norm, the best fits of a network's features without any data, and
gradient descent on the population and on samples.
"""

import functools
import math
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Key

from ntklab import _random, _validate
from ntklab.sphere import equator_density, harmonics

__all__ = [
    "CONTRACTION",
    "SMALLEST_MODULUS",
    "STEP_SIZE",
    "active_correlation",
    "active_probability",
    "degree_share",
    "descend_on_samples",
    "descent_modulus",
    "feature_count",
    "feature_floor",
    "features_needed",
    "fit_errors",
    "neuron_gradient",
    "neuron_loss",
    "norm_floor",
    "recovery_errors",
    "relu_eigenvalue",
    "share_beyond",
]

Vector = Float[Array | np.ndarray, " d"]
Rows = Float[Array | np.ndarray, "N d"]
OtherRows = Float[Array | np.ndarray, "M d"]

#: $\nu = \frac{\pi/2 - 1}{2\pi}$, the modulus of descent at a right angle.
SMALLEST_MODULUS = (math.pi / 2 - 1) / (2 * math.pi)
#: $\eta = 4\nu$, the step size for which the contraction is proved.
STEP_SIZE = 4 * SMALLEST_MODULUS
#: $\sqrt{1 - 4\nu^2}$, by which each step shrinks the distance at least.
CONTRACTION = math.sqrt(1 - 4 * SMALLEST_MODULUS**2)

# From this many dimensions on the shares of the degrees are their asymptotic series.
_ASYMPTOTIC = 256


# --- the spectrum of a neuron -------------------------------------------------------------------


def degree_share(degree: int, dimension: int) -> float:
    r"""$N(d, k)\,\lambda_k/\norm w^2$: what degree k contributes to $\E\,\mathrm{ReLU}(w \cdot x)^2
    = \tfrac12\norm w^2$, in units of $\norm w^2$.

    It is $\frac14$ for $k = 1$, 0 for all other odd degrees.

    Args:
        degree: k.
        dimension: d.

    Raises:
        ValueError: for a dimension below 2 or a negative degree.

    Source: proved in the chapter.

    Examples:
        >>> [round(degree_share(degree, 3), 5) for degree in range(5)]
        [0.1875, 0.25, 0.05859, 0.0, 0.00293]
    """
    k = _validate.integer("degree", degree, at_least=0)
    d = _validate.integer("dimension", dimension, at_least=2)
    if k % 2:
        return 0.25 if k == 1 else 0.0
    if k == 0:
        return d * (equator_density(d) / (d - 1)) ** 2
    return float(_shares(np.array([k], float), d)[0])


def _shares(k: np.ndarray, d: int) -> np.ndarray:
    """`degree_share` for even degrees from 2 on."""
    from scipy.special import beta

    # Γ(z)/Γ(z + 3/2), twice: neither overflows, and each keeps its digits for large z.
    ratios = beta((k - 1) / 2, 1.5) * beta((k + d - 2) / 2, 1.5) * 4 / math.pi
    front = d * equator_density(d) / (4 * math.pi)
    return np.asarray(front * (k + d / 2 - 1) / ((k - 1) * (k + d - 1)) * ratios)


def relu_eigenvalue(degree: int, dimension: int, weight_norm: float = 1.0) -> float:
    r"""$\lambda_k = \norm w^2\,d\,\mu_k^2$ with $\mu_k = \E\,\mathrm{ReLU}(t) P_k(t)$, where t is a
    coordinate of a uniform unit vector.

    These are, with multiplicity $N(d, k)$, the eigenvalues of the second moment of all neurons of
    one norm. Below the range of floats it is 0.

    Args:
        degree: k.
        dimension: d.
        weight_norm: $\norm w$.

    Raises:
        ValueError: for a dimension below 2, a negative degree, or a norm that is not positive.

    Source: proved in the chapter.

    Examples:
        >>> round(relu_eigenvalue(1, 10), 6)
        0.025
    """
    norm = _norm(weight_norm)
    # A fraction of integers: there may be more harmonics than a float can count.
    share = Fraction(degree_share(degree, dimension)) / harmonics(dimension, degree)
    return norm * norm * float(share)


def _norm(weight_norm: Any) -> float:
    norm = _validate.number("weight_norm", weight_norm, above=0)
    if not math.isfinite(norm * norm):
        raise ValueError(f"weight_norm must have a finite square, got {norm:g}")
    return norm


def share_beyond(degree: int, dimension: int) -> float:
    r"""$\tau_K = \sum_{k > K} N(d, k)\,\lambda_k/\norm w^2$, the share of the degrees beyond K.

    Summed up to degree 256d and completed by the asymptotic series of its terms, for 9 digits.

    Args:
        degree: K.
        dimension: d.

    Raises:
        ValueError: for a dimension below 2 or a negative degree.

    Source: proved in the chapter.

    Examples:
        >>> round(share_beyond(2, 3), 6), round(1 / 256, 6)  # exact at d = 3
        (0.003906, 0.003906)
    """
    k = _validate.integer("degree", degree, at_least=0)
    d = _validate.integer("dimension", dimension, at_least=2)
    if k == 0:
        return 0.25 + _beyond(0, d)
    return _beyond(k - k % 2, d)  # the odd degrees from 3 on are empty


@functools.lru_cache(maxsize=4096)
def _beyond(even: int, d: int) -> float:
    """The share of all even degrees beyond an even one."""
    last = max(_ASYMPTOTIC * d, even)
    direct = _shares(np.arange(even + 2, last + 1, 2, dtype=float), d)
    # The terms are A(s⁻⁴ + b s⁻⁶ + …) in s = k + d/2 − 1; their sum by the midpoint rule.
    middle = last + d / 2
    curvature = (5 * d * d - 6 * d + 8) / 80 - 1 / 3
    rest = 2 * d * equator_density(d) / math.pi * (1 / 6 + curvature / middle**2) / middle**3
    return float(np.sum(direct)) + rest


# --- the floors ---------------------------------------------------------------------------------


def feature_count(degree: int, dimension: int) -> int:
    r"""How many eigenfunctions the degrees up to K have: $\binom{K + d - 1}{d - 1} + d$ for an even
    $K \ge 2$, and $1 + d$ for $K = 1$.

    Args:
        degree: K.
        dimension: d.

    Raises:
        ValueError: for a dimension below 2 or a negative degree.

    Examples:
        >>> [feature_count(degree, 3) for degree in range(5)]
        [1, 4, 9, 9, 18]
    """
    k = _validate.integer("degree", degree, at_least=0)
    d = _validate.integer("dimension", dimension, at_least=2)
    if k == 0:
        return 1
    return math.comb(k - k % 2 + d - 1, d - 1) + d


def feature_floor(features: int, dimension: int, weight_norm: float) -> float:
    r"""$\sum_{j > p} \lambda_{(j)}$: no p features, fixed before w, have a smaller mean over the
    directions of w of $\min_f \E\,(f(x) - \mathrm{ReLU}(w \cdot x))^2$.

    $\lambda_{(1)} \ge \lambda_{(2)} \ge \dots$ are the eigenvalues `relu_eigenvalue` with their
    multiplicities. Inputs are standard normal and there is no bias. Some p features attain it.

    Args:
        features: p, any integer from 0 on, as large as $10^{100}$.
        dimension: d.
        weight_norm: $\norm w$.

    Raises:
        ValueError: for a number of features that is negative or no integer, a dimension below 2,
            or a norm that is not positive and finite.

    Source: proved in the chapter, in the place of Yehudai and Shamir (2019).

    Examples:
        >>> feature_floor(0, 10, 1.0)
        0.5
        >>> round(feature_floor(1024, 30, 1.0), 4)
        0.0101
    """
    p = _validate.integer("features", features, at_least=0)
    d = _validate.integer("dimension", dimension, at_least=2)
    norm = _norm(weight_norm)
    return norm * norm * _floor(p, d)


def _floor(p: int, d: int) -> float:
    if p == 0:
        return 0.5
    if p <= d + 1:
        return (d + 1 - p) / d / 4 + _beyond(0, d)
    k = _first_even(lambda even: feature_count(even, d) >= p)
    left = Fraction(feature_count(k, d) - p, harmonics(d, k))
    return float(left) * degree_share(k, d) + _beyond(k, d)


def _first_even(holds: Any) -> int:
    """The first even number from 2 on for which a monotone condition holds."""
    above = 1
    while not holds(2 * above):
        above *= 2
    below = above // 2  # it fails there, or is 0
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if holds(2 * middle) else (middle, above)
    return 2 * above


def features_needed(error: float, dimension: int, weight_norm: float) -> int:
    r"""The smallest p for which `feature_floor` is at most an error.

    With fewer features the mean error over the directions of w is larger than this, whatever the
    features are. It is exact up to the rounding of the floor.

    Args:
        error: the mean square error, more than 0.
        dimension: d.
        weight_norm: $\norm w$.

    Raises:
        ValueError: for an error that is not positive, a dimension below 2, or a norm that is not
            positive and finite.

    Examples:
        >>> features_needed(1 / 50, 10, 1.0), features_needed(1 / 50, 10, 10.0)
        (57, 798670)
    """
    wanted = _validate.number("error", error, above=0)
    d = _validate.integer("dimension", dimension, at_least=2)
    norm = _norm(weight_norm)
    share = wanted / (norm * norm)
    if share >= 0.5:
        return 0
    if not share > 0:
        raise ValueError(f"error must be a float above 0 in units of ‖w‖², got {wanted:g}")
    spare = share - _beyond(0, d)
    if spare >= 0:
        return max(1, d + 1 - math.floor(4 * d * spare))
    k = _first_even(lambda even: _beyond(even, d) <= share)
    spare = (share - _beyond(k, d)) / degree_share(k, d)
    return feature_count(k, d) - math.floor(Fraction(spare) * harmonics(d, k))


def norm_floor(error: float, dimension: int, weight_norm: float, *, radius: float = 1.0) -> float:
    r"""$\max_K \frac{\norm w\sqrt{\tau_K}\,(\sqrt{\tau_K} - \sqrt{\varepsilon}/\norm w)}
    {R\sqrt{\lambda^*_{K+}}}$: no kernel with $\E\,K(x, x) \le R^2$, fixed before w, has functions
    of a smaller norm with the mean error $\varepsilon$.

    $\lambda^*_{K+}$ is the largest eigenvalue beyond degree K at norm 1, $\tau_K$ the share of all
    of them, `share_beyond`. Norm and error are root mean square and mean over the directions of w.

    Args:
        error: $\varepsilon$, more than 0.
        dimension: d.
        weight_norm: $\norm w$.
        radius: R.

    Returns:
        The norm; infinite where no float can hold it.

    Raises:
        ValueError: for an error, a norm or a radius that is not positive, or a dimension below 2.

    Source: proved in the chapter, in the place of Yehudai and Shamir (2019).

    Examples:
        >>> round(norm_floor(1 / 50, 10, 10.0), 1)
        50.8
    """
    wanted = _validate.number("error", error, above=0)
    d = _validate.integer("dimension", dimension, at_least=2)
    norm = _norm(weight_norm)
    radius = _validate.number("radius", radius, above=0)
    accuracy = math.sqrt(wanted) / norm
    best = _log_norm(0.5, accuracy, math.log(degree_share(0, d)))
    best = max(best, _log_norm(0.25 + _beyond(0, d), accuracy, -math.log(4 * d)))
    if math.sqrt(_beyond(0, d)) > accuracy:
        # Beyond the last degree whose share is above the accuracy the bound is negative.
        last = _first_even(lambda even: math.sqrt(_beyond(even, d)) <= accuracy)
        best = max(best, _peak(last // 2, accuracy, d))
    total = best + math.log(norm / radius)
    return math.exp(total) if total < 709 else math.inf


def _log_norm(share: float, accuracy: float, log_eigenvalue: float) -> float:
    room = math.sqrt(share) - accuracy
    if room <= 0:
        return -math.inf
    return math.log(share) / 2 + math.log(room) - log_eigenvalue / 2


def _peak(steps: int, accuracy: float, d: int) -> float:
    """The largest bound over the even degrees below 2·steps: it rises, then falls."""

    @functools.cache
    def at(step: int) -> float:
        degree = 2 * step + 2  # the first beyond
        eigenvalue = math.log(degree_share(degree, d)) - math.log(harmonics(d, degree))
        return _log_norm(_beyond(2 * step, d), accuracy, eigenvalue)

    below, above = 0, steps - 1
    while below < above:
        middle = (below + above) // 2
        below, above = (middle + 1, above) if at(middle) < at(middle + 1) else (below, middle)
    return at(below)


# --- best fits without data ---------------------------------------------------------------------


def active_correlation(first: Rows, second: OtherRows) -> Float[Array, "N M d d"]:
    r"""$\E\bigl[\mathbf 1(a \cdot x > 0)\,\mathbf 1(b \cdot x > 0)\, xx\T\bigr] =
    \frac{\pi - \omega}{2\pi} I + \frac{\hat a\hat b\T + \hat b\hat a\T - \cos\omega\,
    (\hat a\hat a\T + \hat b\hat b\T)}{2\pi\sin\omega}$ at the angle $\omega$ of a and b.

    Its eigenvalues are $\frac{\pi - \omega \pm \sin\omega}{2\pi}$ and $\frac{\pi - \omega}{2\pi}$.

    Args:
        first: rows a `[N, d]`, none of them 0.
        second: rows b `[M, d]`, none of them 0.

    Returns:
        A matrix for each pair.

    Raises:
        ValueError: for NaN, rows of two lengths, or a row that is 0.

    Source: proved in the chapter.

    Examples:
        >>> active_correlation(jnp.eye(2)[:1], -jnp.eye(2)[1:])[0, 0].round(3).tolist()
        [[0.25, -0.159], [-0.159, 0.25]]
    """
    a, b, dtype = _two_sets("first", first, "second", second)
    return _validate.from_numpy(_correlations(_units(a), _units(b)), dtype)


def _two_sets(
    name1: str, first: Any, name2: str, second: Any
) -> tuple[np.ndarray, np.ndarray, Any]:
    one, two = _validate.points(name1, first), _validate.points(name2, second)
    _validate.same_dimension(name1, one, name2, two)
    # In double precision: the Gram matrices of many features are badly conditioned.
    a, b = np.asarray(one, float), np.asarray(two, float)
    for name, rows in ((name1, a), (name2, b)):
        if not np.all(np.any(rows, axis=1)):
            raise ValueError(f"{name} must have no row that is 0")
    return a, b, one.dtype


def _units(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _angles(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles of unit vectors and their sines."""
    cosines = np.clip(a @ b.T, -1, 1)
    return np.arccos(cosines), np.sqrt(1 - cosines**2)


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    angles, sines = _angles(a, b)
    cosines = np.cos(angles)[:, :, None, None]
    mixed = np.einsum("id,je->ijde", a, b)
    own = np.einsum("id,ie->ide", a, a)[:, None] + np.einsum("jd,je->jde", b, b)[None]
    # Of parallel vectors the numerator is 0, and so is the limit.
    parallel = sines < 1e-7
    weights = np.where(parallel, 0, 1 / (2 * np.pi * np.where(parallel, 1, sines)))
    plane = mixed + np.swapaxes(mixed, 2, 3) - cosines * own
    share = (np.pi - angles) / (2 * np.pi)
    return np.asarray(
        share[:, :, None, None] * np.eye(a.shape[1]) + weights[:, :, None, None] * plane
    )


def fit_errors(weights: Rows, targets: OtherRows, *, tangent: bool = False) -> Float[Array, " M"]:
    r"""$\tfrac12\norm w^2 - c_w\T G^{+} c_w$: the error of the best combination of the features of
    a two-layer network, for each neuron w, with no data at all.

    The features are $\mathrm{ReLU}(w_j \cdot x)$, whose Gram matrix $G$ under the standard normal
    law is the arc-cosine kernel of the weights; with `tangent=True` the $md$ features
    $\mathbf 1(w_j \cdot x > 0)\,x$ of the tangent kernel, which contain them.

    Args:
        weights: of the hidden units, `[m, d]`, none of them 0.
        targets: the neurons w, `[M, d]`, none of them 0.
        tangent: whether the features are those of the tangent kernel.

    Raises:
        ValueError: for NaN, rows of two lengths, or a row that is 0.

    Source: proved in the chapter.

    Examples:
        >>> w = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
        >>> fit_errors(w, jnp.array([[2.0, 0.0], [0.0, 1.0]])).round(4).tolist()
        [0.0, 0.3987]
    """
    features, neurons, dtype = _two_sets("weights", weights, "targets", targets)
    tangent = _validate.flag("tangent", tangent)
    units, aims = _units(features), _units(neurons)
    angles, sines = _angles(units, aims)
    if tangent:
        m, d = units.shape
        gram = np.swapaxes(_correlations(units, units), 1, 2).reshape(m * d, m * d)
        toward = (np.pi - angles)[:, :, None] * aims[None] + sines[:, :, None] * units[:, None]
        inner = np.swapaxes(toward, 1, 2).reshape(m * d, -1) / (2 * np.pi)
    else:
        gram, inner = _arc_cosine(*_angles(units, units)), _arc_cosine(angles, sines)
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-12 * values[-1]
    caught = np.sum((vectors[:, kept].T @ inner) ** 2 / values[kept, None], axis=0)
    errors = np.sum(neurons**2, axis=1) * np.maximum(0.5 - caught, 0)
    return _validate.from_numpy(errors, dtype)


def _arc_cosine(angles: np.ndarray, sines: np.ndarray) -> np.ndarray:
    """E ReLU(a·x)ReLU(b·x) of unit vectors."""
    return np.asarray((sines + (np.pi - angles) * np.cos(angles)) / (2 * np.pi))


# --- descent ------------------------------------------------------------------------------------


def descent_modulus(angle: float) -> float:
    r"""$\frac{\pi - \omega - \sin\omega}{2\pi}$, a lower bound of $\inner{\nabla L(w)}{w - v}/
    \norm{w - v}^2$ at the angle $\omega$ of w and v.

    Args:
        angle: $\omega$ in $[0, \pi]$.

    Raises:
        ValueError: for an angle outside.

    Source: proved in the chapter.

    Examples:
        >>> round(descent_modulus(math.pi / 2), 4), descent_modulus(0.0)
        (0.0908, 0.5)
    """
    theta = _validate.number("angle", angle, at_least=0)
    if theta > math.pi * (1 + 1e-6):
        raise ValueError(f"angle must be at most π, got {theta:g}")
    return max(0.0, (math.pi - theta - math.sin(theta)) / (2 * math.pi))


def neuron_loss(w: Vector, v: Vector) -> Float[Array, ""]:
    r"""$L(w) = \tfrac12\E\,(\mathrm{ReLU}(w \cdot x) - \mathrm{ReLU}(v \cdot x))^2$ for standard
    normal x.

    Args:
        w: weights of the neuron.
        v: those of the neuron that it is to learn.

    Raises:
        ValueError: for NaN or two lengths.

    Examples:
        >>> float(neuron_loss(jnp.zeros(3), jnp.array([0.0, 2.0, 0.0])))
        1.0
    """
    w, v = _pair(w, v)
    w_norm, v_norm, theta = _polar(w, v)
    product = (jnp.sin(theta) + (math.pi - theta) * jnp.cos(theta)) / (2 * math.pi)
    return (w_norm**2 + v_norm**2) / 4 - w_norm * v_norm * product


def neuron_gradient(w: Vector, v: Vector) -> Float[Array, " d"]:
    r"""$\nabla L(w) = \tfrac12(w - v) + \tfrac1{2\pi}(\omega\,v - \norm v\sin\omega\;\hat w)$ at
    the angle $\omega$ of w and v.

    At $w = 0$ the loss has no gradient; it is 0 there, as automatic differentiation has it with
    $\mathrm{ReLU}'(0) = 0$.

    Args:
        w: weights of the neuron.
        v: those of the neuron that it is to learn.

    Raises:
        ValueError: for NaN or two lengths.

    Source: proved in the chapter.

    Examples:
        >>> neuron_gradient(jnp.array([2.0, 0.0]), jnp.array([0.0, 2.0])).round(3).tolist()
        [0.682, -0.5]
    """
    w, v = _pair(w, v)
    w_norm, v_norm, theta = _polar(w, v)
    unit = w / jnp.where(w_norm > 0, w_norm, 1)
    turned = (theta * v - v_norm * jnp.sin(theta) * unit) / (2 * math.pi)
    return jnp.where(w_norm > 0, (w - v) / 2 + turned, 0)


def _pair(w: Any, v: Any) -> tuple[Array, Array]:
    w, v = _validate.floating("w", w, ndim=1), _validate.floating("v", v, ndim=1)
    if v.shape != w.shape or v.dtype != w.dtype:
        raise ValueError(
            f"v must have w's shape {w.shape} and dtype {w.dtype}, got {v.shape} of {v.dtype}"
        )
    return w, v


def _polar(w: Array, v: Array) -> tuple[Array, Array, Array]:
    """Both norms and the angle, without the arc cosine, which loses half of the digits at 0."""
    w_norm, v_norm = jnp.linalg.norm(w), jnp.linalg.norm(v)
    apart, together = w * v_norm - v * w_norm, w * v_norm + v * w_norm
    return w_norm, v_norm, 2 * jnp.arctan2(jnp.linalg.norm(apart), jnp.linalg.norm(together))


def active_probability(samples: int, dimension: int) -> float:
    r"""$\Prob(\mathrm{Bin}(n, \tfrac12) \ge d)$: that d or more of n samples are active, without
    which the labels of a neuron do not determine it.

    Args:
        samples: n.
        dimension: d.

    Raises:
        ValueError: for a negative number of samples or a dimension below 1.

    Source: proved in the chapter.

    Examples:
        >>> active_probability(4, 2), active_probability(1, 2)
        (0.6875, 0.0)
    """
    n = _validate.integer("samples", samples, at_least=0)
    d = _validate.integer("dimension", dimension, at_least=1)
    return float(Fraction(sum(math.comb(n, j) for j in range(d, n + 1)), 2**n))


def descend_on_samples(
    x: Rows, y: Float[Array | np.ndarray, " N"], w: Vector, *, step_size: float, steps: int
) -> Float[Array, " d"]:
    r"""Gradient descent $w \leftarrow w - \eta\nabla\hat L(w)$ on
    $\hat L(w) = \frac1{2n}\sum_i(\mathrm{ReLU}(w \cdot x_i) - y_i)^2$.

    Args:
        x: inputs.
        y: labels.
        w: the start. At 0 nothing ever moves.
        step_size: $\eta$.
        steps: how many.

    Raises:
        ValueError: for NaN, shapes or dtypes that do not fit, or a negative number of steps.

    Examples:
        >>> x = jax.random.normal(jax.random.key(0), (40, 3))
        >>> v = jnp.array([1.0, 2.0, 0.0])
        >>> w = descend_on_samples(x, jax.nn.relu(x @ v), -v, step_size=0.5, steps=400)
        >>> bool(jnp.linalg.norm(w - v) < 1e-3)
        True
    """
    x, w = _validate.points("x", x), _validate.floating("w", w, ndim=1)
    y = _validate.floating("y", y, ndim=1)
    if y.shape != x.shape[:1] or w.shape != x.shape[1:]:
        raise ValueError(
            f"y and w must have the shapes {x.shape[:1]} and {x.shape[1:]} for these x, "
            f"got {y.shape} and {w.shape}"
        )
    if not x.dtype == y.dtype == w.dtype:
        raise ValueError(f"x, y and w must have one dtype, got {x.dtype}, {y.dtype}, {w.dtype}")
    step_size = _validate.number("step_size", step_size, above=0)
    steps = _validate.integer("steps", steps, at_least=0)
    return _descend(x, y, w, jnp.ones(len(y), bool), jnp.asarray(step_size, x.dtype), steps)


@functools.partial(jax.jit, static_argnums=5)
def _descend(
    x: Array, y: Array, w: Array, used: Bool[Array, " N"], step_size: Array, steps: int
) -> Array:
    weights = used.astype(x.dtype) / jnp.sum(used).astype(x.dtype)

    def loss(w: Array) -> Array:
        return jnp.sum(weights * (jax.nn.relu(x @ w) - y) ** 2) / 2

    return jax.lax.fori_loop(0, steps, lambda _, w: w - step_size * jax.grad(loss)(w), w)


def recovery_errors(
    key: Key[Array, ""],
    samples: int,
    dimension: int,
    *,
    runs: int = 20,
    pool: int | None = None,
    step_size: float = 0.5,
    steps: int = 2000,
    dtype: Any = None,
) -> Float[Array, " runs"]:
    r"""$\norm{w - v}/\norm v$ after descent on n samples of a neuron $v$, for independent runs.

    Each run has its own samples, neuron and start: normal, with $\E\norm v^2 = 1$ and
    $\E\norm{w_0}^2 = \tfrac1{100}$.

    Args:
        key: of all draws.
        samples: n.
        dimension: d.
        runs: how many.
        pool: samples drawn, of which the first n are used; n if omitted. One pool for several n
            needs one compilation.
        step_size: of descent.
        steps: of descent.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for samples, runs or a dimension below 1, or a pool smaller than n.

    Examples:
        >>> errors = recovery_errors(jax.random.key(0), 40, 4, runs=3)
        >>> bool(jnp.all(errors < 1e-3))
        True
    """
    key = _validate.random_key("key", key)
    n = _validate.integer("samples", samples, at_least=1)
    d = _validate.integer("dimension", dimension, at_least=1)
    runs = _validate.integer("runs", runs, at_least=1)
    pool = n if pool is None else _validate.integer("pool", pool, at_least=n)
    step_size = _validate.number("step_size", step_size, above=0)
    steps = _validate.integer("steps", steps, at_least=0)
    dtype = _validate.floating_dtype("dtype", dtype)
    used = jnp.arange(pool) < n
    return _recover(key, used, jnp.asarray(step_size, dtype), d, runs, steps)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _recover(key: Array, used: Array, step_size: Array, d: int, runs: int, steps: int) -> Array:
    keys, dtype = jax.random.split(key, 3), step_size.dtype
    x = _random.normal(keys[0], (runs, len(used), d), dtype)
    v = _random.normal(keys[1], (runs, d), dtype) / math.sqrt(d)
    w = _random.normal(keys[2], (runs, d), dtype) / (10 * math.sqrt(d))

    def run(x: Array, v: Array, w: Array) -> Array:
        found = _descend(x, jax.nn.relu(x @ v), w, used, step_size, steps)
        return jnp.linalg.norm(found - v) / jnp.linalg.norm(v)

    return jax.vmap(run)(x, v, w)
