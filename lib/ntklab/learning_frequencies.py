r"""Which frequencies a network learns first, how many steps each takes, and what changes that.

On equispaced points of the circle a kernel of the angle between two points has the Fourier modes as
eigenvectors: `circulant_eigenvalues` and `descent_steps` predict how many steps of descent a
frequency takes, `descent_until` counts those of a network. `local_rate_error` is for densities that
are not uniform, `fourier_features` for inputs that change the bias. What the kernel promises about
labels, before any training, is `risk_bound`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from ntklab import _validate, models
from ntklab.models import Apply

__all__ = [
    "Arrival",
    "ball_complexity",
    "circle_points",
    "circulant_eigenvalues",
    "descent_steps",
    "descent_until",
    "fourier_features",
    "interpolant_norm",
    "local_rate_error",
    "mirrored_weights",
    "risk_bound",
]


def _double(name: str, value: Any, *, ndim: int | None = None) -> np.ndarray:
    """Finite numbers in float64, also where JAX computes in 32 bits."""
    _validate.floating(name, value, ndim=ndim)
    return np.asarray(value, float)


# --- the circle ---------------------------------------------------------------------------------


def circle_points(
    angles: Float[Array | np.ndarray, " N"], *, lifted: bool = False
) -> Float[Array, "N d"]:
    r"""$(\cos\omega, \sin\omega)$; lifted, $(\cos\omega, \sin\omega, 1)/\sqrt2$, which gives every
    unit a bias.

    Args:
        angles: ω in radians.
        lifted: whether the third coordinate is there.

    Raises:
        ValueError: for NaN, or angles that have not one axis.

    Source: Basri et al. (2019).

    Examples:
        >>> circle_points(jnp.array([0.0]), lifted=True).round(3).tolist()
        [[0.7070000171661377, 0.0, 0.7070000171661377]]
    """
    angles = _validate.floating("angles", angles, ndim=1)
    rows = [jnp.cos(angles), jnp.sin(angles)]
    if _validate.flag("lifted", lifted):
        rows = [row / 2**0.5 for row in (*rows, jnp.ones_like(angles))]
    return jnp.stack(rows, axis=1)


def circulant_eigenvalues(row: Float[Array | np.ndarray, " n"]) -> Float[np.ndarray, " modes"]:
    r"""$\lambda_k = \sum_j K(2\pi j/n)\cos(2\pi jk/n)$ for $k = 0, \dots, \lfloor n/2\rfloor$: the
    eigenvalues of a kernel's Gram matrix on n equispaced points of the circle.

    The eigenvectors are $\cos k\omega$ and $\sin k\omega$ at the points. In terms of the
    coefficients $c_k$ of the kernel on the circle, $K(\omega) = \sum_{k\in\mathbb Z}
    c_k e^{ik\omega}$, it is $n\sum_{l\in\mathbb Z} c_{k + ln}$.

    Args:
        row: the kernel between the first point and all n, in their order.

    Returns:
        In float64, since eigenvalues range over many decades.

    Raises:
        ValueError: for NaN, another shape, and a row that is not the same in both directions of
            the circle, as a kernel of the angle is.

    Source: B23, section 3; Basri et al. (2019).

    Examples:
        >>> circulant_eigenvalues(np.array([2.0, 1.0, 0.0, 1.0])).tolist()
        [4.0, 2.0, 0.0]
    """
    dtype = _validate.floating("row", row, ndim=1).dtype
    values = np.asarray(row, float)
    if values.size == 0:
        raise ValueError("row must hold the kernel at one point or more, got none")
    mirrored = np.roll(values[::-1], 1)
    worst, largest = np.max(np.abs(values - mirrored)), np.max(np.abs(values))
    if worst > 1e4 * float(jnp.finfo(dtype).eps) * largest:
        raise ValueError(
            "row must be the same in both directions, row[j] = row[n - j], got entries that "
            f"differ by {worst:g}"
        )
    return np.asarray(np.fft.rfft(values).real)


def descent_steps(
    eigenvalues: Any, *, step_size: float, fraction: float = 0.05
) -> Float[np.ndarray, "..."]:
    r"""$\bigl\lceil \log\varepsilon\,/\log\abs{1 - \eta\lambda} \bigr\rceil$: the steps of kernel
    descent that bring a residual along an eigenvector down to $\varepsilon$ of its start.

    Args:
        eigenvalues: $\lambda \ge 0$, of any shape.
        step_size: $\eta > 0$.
        fraction: $\varepsilon$, in (0, 1).

    Returns:
        Whole numbers, as floats; infinity where $\lambda = 0$, 1 where $\eta\lambda = 1$.

    Raises:
        ValueError: for a negative eigenvalue, NaN, a step size that is not positive, one of
            $2/\lambda$ or more, with which descent does not converge, and a fraction outside
            (0, 1).

    Source: S24, equation (14.6), in discrete time.

    Examples:
        >>> descent_steps([1.0, 0.1, 0.0], step_size=0.5, fraction=0.25).tolist()
        [2.0, 28.0, inf]
    """
    values = _double("eigenvalues", eigenvalues)
    eta = _validate.number("step_size", step_size, above=0)
    share = _validate.probability("fraction", fraction)
    if values.size and np.min(values) < 0:
        raise ValueError(f"eigenvalues must be at least 0, got {np.min(values):g}")
    if values.size and eta * np.max(values) >= 2:
        raise ValueError(
            f"step_size must be below 2/λ = {2 / np.max(values):g}, from which descent does not "
            f"converge, got {eta:g}"
        )
    with np.errstate(divide="ignore"):
        rates = np.log1p(-np.minimum(eta * values, 2 - eta * values))
        steps = np.where(rates == 0, np.inf, np.log(share) / np.where(rates == 0, -1, rates))
    # A whole number that rounding has lifted by a few units stays what it is.
    return np.asarray(np.maximum(np.ceil(steps * (1 - 1e-13)), 1))


# --- networks on the circle ---------------------------------------------------------------------


def mirrored_weights(
    width: int,
    *,
    lifted: bool = False,
    norm: float = 2.0**0.5,
    key: Key[Array, ""] | None = None,
    dtype: Any = None,
) -> Float[Array, "width d"]:
    r"""First-layer weights in equal pairs, for `networks.shallow`, whose output weights +1, −1, …
    make their outputs cancel: $f = 0$ at the start.

    Without a key the width/2 directions are $2\pi(j + \tfrac12)/(m/2)$, equispaced on the circle,
    and the kernel on n equispaced points is circulant wherever n divides m/2; with one they are
    independent and uniform.

    Args:
        width: m, an even number.
        lifted: whether the points are lifted; biases start at 0.
        norm: of every weight vector, positive.
        key: of the random directions; None for equispaced ones.
        dtype: of the weights; None is the default one.

    Returns:
        `[m, 2]`, or `[m, 3]` for lifted points.

    Raises:
        ValueError: for a width that is not even, or a norm that is not positive.

    Source: Basri et al. (2019); M21, section 4, for the pairs.

    Examples:
        >>> mirrored_weights(4, norm=1.0).round(3).tolist()
        [[0.0, 1.0], [0.0, 1.0], [-0.0, -1.0], [-0.0, -1.0]]
    """
    width = _validate.integer("width", width, at_least=2)
    if width % 2:
        raise ValueError(f"width must be even, since units come in pairs, got {width}")
    scale = _validate.number("norm", norm, above=0)
    dtype = _validate.floating_dtype("dtype", dtype)
    if key is None:
        angles = 2 * np.pi * (np.arange(width // 2) + 0.5) / (width // 2)
    else:
        key = _validate.random_key("key", key)
        angles = 2 * np.pi * np.asarray(jax.random.uniform(key, (width // 2,)), float)
    rows = [scale * np.cos(angles), scale * np.sin(angles)]
    if _validate.flag("lifted", lifted):
        rows.append(np.zeros_like(angles))
    return _validate.from_numpy(np.repeat(np.stack(rows, axis=1), 2, axis=0), dtype)


class Arrival(NamedTuple):
    """What descent had reached when it stopped.

    Attributes:
        steps: that it took; as many as were allowed where it did not arrive.
        fraction: the norm of the residual then, over the first one.
        params: the parameters then.
    """

    steps: int
    fraction: float
    params: Any


def descent_until(
    apply: Apply,
    params: Any,
    x: Any,
    y: Any,
    *,
    step_size: float,
    fraction: float = 0.05,
    max_steps: int = 100_000,
) -> Arrival:
    r"""Gradient descent on $\tfrac12\|f(X) - y\|^2$ until the residual's norm is at most a fraction
    of its first one.

    Args:
        apply: `apply(params, x) -> [N]` or `[N, 1]`.
        params: where to start; `models` says what of it is trained.
        x: inputs `[N, ...]`.
        y: labels `[N]`.
        step_size: $\eta > 0$.
        fraction: $\varepsilon$, in (0, 1).
        max_steps: when to give up.

    Raises:
        ValueError: for a model with more than one output, labels of another shape, a step size
            that is not positive, a fraction outside (0, 1), or no first residual.

    Source: Basri et al. (2019).

    Examples:
        >>> def model(theta, x):
        ...     return theta * x
        >>> arrival = descent_until(
        ...     model, jnp.zeros(1), jnp.ones(1), jnp.ones(1), step_size=0.5, fraction=0.2
        ... )
        >>> arrival.steps, arrival.fraction
        (3, 0.125)
    """
    eta = _validate.number("step_size", step_size, above=0)
    share = _validate.probability("fraction", fraction)
    limit = _validate.integer("max_steps", max_steps, at_least=0)
    model = models.view(apply, params)
    x = models.inputs("x", x, apply)
    output = model.batch_output("x", x, single=True)
    labels = _validate.floating("y", y, ndim=1).astype(output.dtype)
    if labels.shape[0] != x.shape[0]:
        raise ValueError(f"y must have shape ({x.shape[0]},), got {labels.shape}")
    steps, first, last, end = _descend_until(model, x, labels, eta, share, limit)
    if not float(first) > 0:
        raise ValueError(f"y must differ from the outputs at the start, got a residual of {first}")
    return Arrival(int(steps), float(last) / float(first), model.at(end).params())


@jax.jit
def _descend_until(
    model: models.Model, x: Array, labels: Array, eta: Any, share: Any, limit: Any
) -> tuple[Array, Array, Array, tuple[Array, ...]]:
    def residual(trained: tuple[Array, ...]) -> Array:
        return jnp.ravel(model.at(trained)(x)) - labels

    first = jnp.linalg.norm(residual(model.trained))

    # A round looks where it stands and then steps, unless it has arrived: one forward pass each.
    def round_(state: tuple[Any, ...]) -> tuple[Any, ...]:
        count, trained, _, _ = state
        left, pull = jax.vjp(residual, trained)
        (slopes,) = pull(left)
        norm = jnp.linalg.norm(left)
        done = (norm <= share * first) | (count >= limit)
        length = jnp.where(done, 0, eta)
        moved = tuple(
            leaf - length.astype(leaf.dtype) * slope
            for leaf, slope in zip(trained, slopes, strict=True)
        )
        return count + jnp.where(done, 0, 1), moved, norm, done

    start = (jnp.zeros((), jnp.int32), model.trained, first, jnp.zeros((), bool))
    steps, end, last, _ = jax.lax.while_loop(lambda state: ~state[3], round_, start)
    return steps, first, last, end


# --- densities and inputs that are not uniform --------------------------------------------------


def local_rate_error(
    coefficients: Float[Array | np.ndarray, " modes"],
    weight: Float[Array | np.ndarray, " grid"],
    frequency: int,
) -> float:
    r"""$\sum_{l\ne0} \abs{q_l}\,\abs{c_{k+l} - c_k}$, how far the operator of a kernel is from
    multiplying $g(\omega)\cos k\omega$ by $c_k\,2\pi p(\omega)$.

    The kernel is $\sum_k c_k e^{ik\omega}$, the inputs have the density p, and $q_l$ are the
    Fourier coefficients of the weight $q = 2\pi p\,g$.

    Args:
        coefficients: $c_0, c_1, \dots$, as many as needed: to k plus half of the grid.
        weight: q at equispaced points of the circle.
        frequency: k.

    Raises:
        ValueError: for NaN, a negative frequency, or fewer coefficients than k + grid/2 + 1.

    Source: derived in the chapter; the effect is that of Basri et al. (2020).

    Examples:
        >>> round(local_rate_error(np.array([1.0, 0.5, 0.25]), np.array([1.5, 0.5]), 1), 3)
        0.25
    """
    c = _double("coefficients", coefficients, ndim=1)
    q = _double("weight", weight, ndim=1)
    k = _validate.integer("frequency", frequency, at_least=0)
    if q.size == 0:
        raise ValueError("weight must hold at least one point, got none")
    if len(c) <= k + q.size // 2:
        raise ValueError(
            f"coefficients must reach {k + q.size // 2}, the frequency plus half of the grid, got "
            f"{len(c)} of them"
        )
    modes = np.round(np.fft.fftfreq(q.size, 1 / q.size)).astype(int)
    sizes = np.abs(np.fft.fft(q)) / q.size
    return float(np.sum(sizes * np.abs(c[np.abs(k + modes)] - c[k])))


def fourier_features(
    angles: Float[Array | np.ndarray, " N"],
    frequencies: Any,
    weights: Any = None,
) -> Float[Array, "N features"]:
    r"""$\gamma(\omega) = \bigl(\sqrt{w_j}\cos b_j\omega, \sqrt{w_j}\sin b_j\omega\bigr)_j$ with
    $\sum_j w_j = 1$: unit vectors with $\gamma(\omega)\cdot\gamma(\omega') = \sum_j w_j
    \cos b_j(\omega - \omega')$.

    Args:
        angles: ω in radians.
        frequencies: b, `[p]`; whole numbers for functions on the circle.
        weights: w, `[p]`, of any positive sum; by default equal ones.

    Returns:
        `[N, 2p]`, first the cosines.

    Raises:
        ValueError: for NaN, no frequency, weights of another shape, or weights that are negative or
            all 0.

    Source: Tancik et al. (2020).

    Examples:
        >>> fourier_features(jnp.zeros(1), [1, 5]).round(3).tolist()
        [[0.7070000171661377, 0.7070000171661377, 0.0, 0.0]]
    """
    angles = _validate.floating("angles", angles, ndim=1)
    b = _double("frequencies", frequencies, ndim=1)
    if b.size == 0:
        raise ValueError("frequencies must be one or more, got none")
    w = np.ones_like(b) if weights is None else _double("weights", weights, ndim=1)
    if w.shape != b.shape or np.min(w) < 0 or not np.sum(w) > 0:
        raise ValueError(
            f"weights must be {b.size} numbers of at least 0, not all 0, one for each frequency; "
            f"got {weights!r:.60}"
        )
    phases = angles[:, None] * _validate.from_numpy(b, angles.dtype)
    roots = _validate.from_numpy(np.sqrt(w / np.sum(w)), angles.dtype)
    return jnp.concatenate([roots * jnp.cos(phases), roots * jnp.sin(phases)], axis=1)


# --- what the kernel promises -------------------------------------------------------------------


def interpolant_norm(
    gram: Float[Array | np.ndarray, "n n"], y: Float[Array | np.ndarray, " n"]
) -> float:
    r"""$\sqrt{y^{\mathsf T} H^{-1} y}$, the norm in the kernel's Hilbert space of the smallest
    function through the labels, at which training from 0 ends.

    Args:
        gram: H, symmetric and positive definite.
        y: labels.

    Raises:
        ValueError: for NaN, shapes that do not fit, or an H that is not positive definite in
            float64.

    Source: Arora et al. (2019).

    Examples:
        >>> round(interpolant_norm(np.diag([4.0, 1.0]), np.array([2.0, 1.0])), 6)
        1.414214
    """
    _validate.gram("gram", gram)
    matrix = np.asarray(gram, float)
    labels = _double("y", y, ndim=1)
    if len(labels) != len(matrix):
        raise ValueError(f"y must have shape ({len(matrix)},), got {labels.shape}")
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(matrix)[0]
        raise ValueError(
            f"gram must be positive definite, got a smallest eigenvalue of {smallest:.2g}"
        ) from None
    return float(np.linalg.norm(np.linalg.solve(factor, labels)))


def ball_complexity(gram: Float[Array | np.ndarray, "n n"], radius: float) -> float:
    r"""$\frac Rn\sqrt{\tr H}$, a bound on the empirical Rademacher complexity of the ball of radius
    R in the kernel's Hilbert space.

    Args:
        gram: H, `[n, n]`.
        radius: $R \ge 0$.

    Raises:
        ValueError: for NaN, a matrix that is not symmetric, or a negative radius.

    Source: Bartlett and Mendelson (2002); Arora et al. (2019).

    Examples:
        >>> ball_complexity(np.eye(4), 2.0)
        1.0
    """
    _validate.gram("gram", gram)
    matrix = np.asarray(gram, float)
    size = _validate.number("radius", radius, at_least=0)
    return size * float(np.sqrt(np.trace(matrix))) / len(matrix)


def risk_bound(
    gram: Float[Array | np.ndarray, "n n"],
    y: Float[Array | np.ndarray, " n"],
    *,
    delta: float = 0.05,
) -> float:
    r"""$\frac{2\lceil B\rceil}n\sqrt{\tr H} + 3\sqrt{\frac{\log(2\lceil B\rceil(\lceil
    B\rceil + 1)/\delta)}{2n}}$ with $B = \sqrt{y^{\mathsf T}H^{-1}y}$.

    With probability at least $1 - \delta$ over the sample it bounds the risk of the smallest
    interpolant, for every loss that is 1-Lipschitz in the prediction, lies in [0, 1], and is 0
    where the prediction is the label. A value of 1 or more says nothing.

    Args:
        gram: H, symmetric and positive definite.
        y: labels.
        delta: δ, in (0, 1).

    Raises:
        ValueError: as `interpolant_norm`, and for a δ outside (0, 1).

    Source: Arora et al. (2019), with every constant; proved in the chapter.

    Examples:
        >>> round(risk_bound(np.eye(4096) / 2, np.full(4096, 0.01)), 3)
        0.091
    """
    failure = _validate.probability("delta", delta)
    # Half a unit of the rounding of B does not lift it over a whole number.
    radius = max(int(np.ceil(interpolant_norm(gram, y) * (1 - 1e-12))), 1)
    count = len(np.asarray(y))
    log = np.log(2 * radius * (radius + 1) / failure)
    return 2 * ball_complexity(gram, radius) + float(3 * np.sqrt(log / (2 * count)))
