r"""Training in function space: what a model's predictions do while its parameters descend.

While the tangent kernel K does not move, the predictions f on n training points obey
$\dot f = -K(f - y)$, the gradient flow of $\tfrac12\|f - y\|^2$, and everything about them is a
filter on the eigenvalues of K: `kernel_flow` for all times, `kernel_descent` for all steps,
`kernel_heavy_ball` with momentum, `kernel_ridge` in the limit. Beside them stand the flow and the
descent of a real model, `network_flow` and `network_descent`, and the laws of trained ensembles.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from ntklab import _extras, _validate, models
from ntklab.descent import SQUARE, SmoothLoss, checked_loss
from ntklab.models import Apply

__all__ = [
    "Arrival",
    "Moments",
    "ensemble_moments",
    "flow_until",
    "gp_posterior",
    "kernel_descent",
    "kernel_flow",
    "kernel_heavy_ball",
    "kernel_loss_flow",
    "kernel_ridge",
    "logistic_margin",
    "network_descent",
    "network_flow",
    "relative_cutoff",
    "step_size_limit",
]

Gram = Float[Array | np.ndarray, "n n"]
Predictions = Array | tuple[Array, Array]
Times = ArrayLike | Sequence[float]

# --- filters on the spectrum of a fixed kernel --------------------------------------------------


def relative_cutoff(points: int, dtype: Any) -> float:
    r"""$n\,\varepsilon$: directions with an eigenvalue of at most $n\,\varepsilon\,\lambda_{\max}$
    count as eigenvalue 0, and never move.

    An eigenvalue that small is rounding: a symmetric eigensolver errs by a few units of
    $\varepsilon\,\lambda_{\max}$, and so does the kernel matrix itself.

    Args:
        points: n.
        dtype: float32 or float64, whose machine epsilon is $\varepsilon$.

    Raises:
        ValueError: for fewer points than 1, or another kind of dtype.

    Examples:
        >>> relative_cutoff(8, "float32") == 8 * 2.0**-23
        True
    """
    points = _validate.integer("points", points, at_least=1)
    return points * float(jnp.finfo(_validate.floating_dtype("dtype", dtype)).eps)


def step_size_limit(kernel: Gram) -> float:
    r"""$2/\lambda_{\max}(K)$: kernel gradient descent converges from every start exactly for the
    steps below it.

    Args:
        kernel: K, symmetric, positive semidefinite and not zero.

    Raises:
        ValueError: for NaN, another shape than `[n, n]`, or values that are not of this kind.

    Source: S24, equation (14.6), in discrete time.

    Examples:
        >>> step_size_limit(jnp.diag(jnp.array([4.0, 1.0])))
        0.5
    """
    kernel = _validate.gram("kernel", kernel)
    values = jnp.linalg.eigvalsh(kernel)
    _validate.positive_semidefinite("kernel", None, eigenvalues=values)
    if not values[-1] > 0:
        raise ValueError("kernel must not be zero: no step is too long for it")
    return 2 / float(values[-1])


def kernel_flow(
    k_train: Gram,
    y: Any,
    t: Times,
    *,
    f0: Any = None,
    k_test: Any = None,
    f0_test: Any = None,
) -> Predictions:
    r"""$f_t = f_0 + (I - e^{-Kt})(y - f_0)$, the flow $\dot f = -K(f - y)$ at any number of times.

    At other points, with $k = $ `k_test`, it carries along
    $f_t(x) = f_0(x) + k\, K^{+} (I - e^{-Kt})(y - f_0)$. One eigendecomposition serves all times;
    $t = \infty$ is the limit, also for a singular K. Eigenvalues of at most `relative_cutoff`
    times the largest count as 0, so that their directions never move.

    Args:
        k_train: K, `[N, N]`, symmetric and positive semidefinite.
        y: labels, `[N]` or `[N, outputs]`.
        t: times, a number or `[T]`, from 0 to infinity. For another loss the clock runs
            differently: $\frac1n\sum_i r_i^2$ with rate $\eta$ has $2\eta t/n$ in place of t.
        f0: predictions at time 0, of the shape of y; by default 0.
        k_test: kernel between M other points and the training points, `[M, N]`.
        f0_test: predictions at time 0 at the other points, `[M]` or `[M, outputs]`.

    Returns:
        Predictions at the training points, `[T, N]` or `[T, N, outputs]`; with `k_test` the pair
        (training points, other points). A single t drops the axis. Derivatives exist in all
        arguments, in K also where eigenvalues coincide.

    Raises:
        ValueError: for NaN, shapes or dtypes that do not fit, a K that is not symmetric or not
            positive semidefinite, a negative time, `f0_test` without `k_test`, and `k_test` with
            only one of `f0` and `f0_test`.

    Source: S24, equation (14.8), with the factor $2/n$ that it lacks.

    Examples:
        >>> k_train = jnp.array([[2.0, 1.0], [1.0, 2.0]])
        >>> kernel_flow(k_train, jnp.array([1.0, 1.0]), jnp.array([0.0, 0.1, jnp.inf])).round(3)
        Array([[0.   , 0.   ],
               [0.259, 0.259],
               [1.   , 1.   ]], dtype=float32)
    """
    problem = _problem(k_train, y, f0, k_test, f0_test)
    times, single = _times("t", t, problem.kernel.dtype)
    return _filtered(_flow_gains, problem, (times,), single)


def kernel_descent(
    k_train: Gram,
    y: Any,
    steps: Times,
    *,
    step_size: float,
    f0: Any = None,
    k_test: Any = None,
    f0_test: Any = None,
) -> Predictions:
    r"""$f_k = f_0 + (I - (I - \eta K)^k)(y - f_0)$: kernel gradient descent after any numbers of
    steps.

    It is $f_{k+1} = f_k - \eta K (f_k - y)$ on the training points, and $f_{k+1}(x) = f_k(x) -
    \eta\, k(x, X)(f_k - y)$ elsewhere. For $\eta < 2/\lambda_{\max}$ it converges to the limit of
    `kernel_flow`, whatever $\eta$ is; longer steps are refused.

    Args:
        k_train: as in `kernel_flow`.
        y: as in `kernel_flow`.
        steps: whole numbers k, one or `[T]`, from 0 to infinity.
        step_size: $\eta > 0$.
        f0: as in `kernel_flow`.
        k_test: as in `kernel_flow`.
        f0_test: as in `kernel_flow`.

    Returns:
        As `kernel_flow`, with steps in place of times.

    Raises:
        ValueError: as `kernel_flow`, for steps that are not whole, and for a step size of
            $2/\lambda_{\max}$ or more, from which the descent does not converge.

    Source: S24, equations (14.6) and (14.7), in discrete time.

    Examples:
        >>> kernel_descent(jnp.array([[2.0]]), jnp.array([1.0]), 2, step_size=0.25).tolist()
        [0.75]
    """
    problem = _problem(k_train, y, f0, k_test, f0_test)
    eta = _validate.number("step_size", step_size, above=0)
    counts, single = _times("steps", steps, problem.kernel.dtype)
    if _validate.concrete(counts):
        finite = np.asarray(counts)[np.isfinite(counts)]
        if np.any(finite != np.round(finite)):
            raise ValueError(f"steps must be whole numbers, got {steps}")
    return _filtered(_descent_gains, problem, (counts, eta), single, longest_step=eta)


def kernel_heavy_ball(
    k_train: Gram,
    y: Any,
    t: Times,
    *,
    friction: float,
    f0: Any = None,
    k_test: Any = None,
    f0_test: Any = None,
) -> Predictions:
    r"""The heavy ball $\ddot f + \gamma\,\dot f + K(f - y) = 0$, from rest.

    Along an eigenvector with $\omega^2 = \lambda - \gamma^2/4 > 0$ the residual is
    $e^{-\gamma t/2}\bigl(\cos\omega t + \tfrac{\gamma}{2\omega}\sin\omega t\bigr)$ times what it
    was; for $\lambda < \gamma^2/4$ the functions are hyperbolic.

    Args:
        k_train: as in `kernel_flow`.
        y: as in `kernel_flow`.
        t: times, a number or `[T]`, from 0 to infinity.
        friction: $\gamma \ge 0$; without friction nothing comes to rest, and infinity is refused.
        f0: as in `kernel_flow`.
        k_test: as in `kernel_flow`.
        f0_test: as in `kernel_flow`.

    Returns:
        As `kernel_flow`.

    Raises:
        ValueError: as `kernel_flow`, for negative friction, and for $t = \infty$ without any.

    Source: derived in the chapter.

    Examples:
        >>> swing = kernel_heavy_ball(jnp.eye(1), jnp.ones(1), jnp.pi, friction=0.0)
        >>> round(float(swing[0]), 3)
        2.0
    """
    problem = _problem(k_train, y, f0, k_test, f0_test)
    gamma = _validate.number("friction", friction, at_least=0)
    times, single = _times("t", t, problem.kernel.dtype)
    if gamma == 0 and _validate.concrete(times) and np.any(np.isinf(times)):
        raise ValueError("t must be finite without friction, got infinity")
    return _filtered(_heavy_ball_gains, problem, (times, gamma), single)


def kernel_ridge(
    k_train: Gram,
    y: Any,
    ridge: Times,
    *,
    f0: Any = None,
    k_test: Any = None,
    f0_test: Any = None,
) -> Predictions:
    r"""$f_0 + K(K + \rho I)^{-1}(y - f_0)$, the minimizer of $\|h - y\|^2 + \rho\,\|h -
    f_0\|_{\mathcal H}^2$; at $\rho = 0$ its limit, with $K^{+}$.

    Args:
        k_train: as in `kernel_flow`.
        y: as in `kernel_flow`.
        ridge: $\rho \ge 0$, a number or `[T]`. S24's $L_S(h) + \lambda\,\|h - h_0\|^2$ has
            $\rho = n\lambda$.
        f0: as in `kernel_flow`.
        k_test: as in `kernel_flow`.
        f0_test: as in `kernel_flow`.

    Returns:
        As `kernel_flow`, with values of $\rho$ in place of times.

    Raises:
        ValueError: as `kernel_flow`, for a negative $\rho$.

    Source: S24, section 14.2.

    Examples:
        >>> kernel_ridge(jnp.array([[2.0]]), jnp.array([1.0]), jnp.array([0.0, 2.0])).tolist()
        [[1.0], [0.5]]
    """
    problem = _problem(k_train, y, f0, k_test, f0_test)
    ridges, single = _times("ridge", ridge, problem.kernel.dtype)
    return _filtered(_ridge_gains, problem, (ridges,), single)


class _Problem(NamedTuple):
    """Arrays with an axis for the outputs, and whether the labels had it."""

    kernel: Array
    labels: Array
    start: Array
    k_test: Array | None
    start_test: Array | None
    flat: bool


def _problem(k_train: Any, y: Any, f0: Any, k_test: Any, f0_test: Any) -> _Problem:
    kernel = _validate.gram("k_train", k_train)
    points = kernel.shape[0]

    def values(name: str, value: Any, shape: tuple[int, ...]) -> Array:
        array = _like(name, value, kernel.dtype)
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
        return array.reshape(shape[0], -1)

    labels = _like("y", y, kernel.dtype)
    if labels.ndim not in (1, 2) or labels.shape[0] != points or 0 in labels.shape:
        raise ValueError(
            f"y must have shape [N] or [N, outputs] with N = {points}, got {labels.shape}"
        )
    shape = labels.shape
    start = jnp.zeros(shape, kernel.dtype) if f0 is None else f0
    if k_test is None:
        if f0_test is not None:
            raise ValueError("f0_test must come with k_test, got it alone")
        new, start_test = None, None
    else:
        new = _like("k_test", k_test, kernel.dtype)
        if new.ndim != 2 or new.shape[1] != points:
            raise ValueError(f"k_test must have shape [M, N] with N = {points}, got {new.shape}")
        if (f0 is None) != (f0_test is None):
            given, lacking = ("f0_test", "f0") if f0 is None else ("f0", "f0_test")
            raise ValueError(
                f"{lacking} must be given with {given} and k_test: a start is one function, at "
                "all points"
            )
        shape_test = (new.shape[0], *shape[1:])
        start_test = jnp.zeros(shape_test, kernel.dtype) if f0_test is None else f0_test
        start_test = values("f0_test", start_test, shape_test)
    return _Problem(
        kernel,
        labels.reshape(points, -1),
        values("f0", start, shape),
        new,
        start_test,
        len(shape) == 1,
    )


def _like(name: str, value: Any, dtype: Any) -> Array:
    """A finite array in the kernel's dtype; whole numbers are converted, other floats refused."""
    array = _validate.floating(name, value, min_ndim=1)
    if array.dtype != dtype:
        given = getattr(value, "dtype", None)
        if given is not None and jnp.issubdtype(given, jnp.floating):
            raise ValueError(f"{name} must have the kernel's dtype {dtype}, got {array.dtype}")
        array = array.astype(dtype)
    return array


def _times(name: str, value: Any, dtype: Any) -> tuple[Array, bool]:
    """Numbers from 0 to infinity as `[T]`, and whether it was a single one."""
    try:
        array = value if isinstance(value, Array) else np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise TypeError
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"{name} must be numbers, got {value!r:.60}") from None
    if array.ndim > 1:
        raise ValueError(f"{name} must be a number or have one axis, got shape {array.shape}")
    if _validate.concrete(array):
        numbers = np.asarray(array, float)
        if not np.all(numbers >= 0):
            raise ValueError(f"{name} must be at least 0, got {np.min(numbers):g}")
        array = _validate.from_numpy(numbers, dtype)
    return jnp.asarray(array).astype(dtype).reshape(-1), array.ndim == 0


# A filter: eigenvalues [n] and its parameters, the first of shape [T], to the shares [T, n] of the
# residual that are removed at the training points, and those shares over the eigenvalues.
_Gains = Callable[[Array, tuple[Array, ...]], tuple[Array, Array]]


def _one_minus_exp(x: Array) -> Array:
    """(1 − e^(−x))/x, with all digits and derivatives also near 0."""
    near = jnp.abs(x) < 0.1
    small, large = jnp.where(near, x, 0), jnp.where(near, 1, x)
    series = jnp.ones_like(small)
    for k in range(11, 1, -1):
        series = 1 - small / k * series
    return jnp.where(near, series, -jnp.expm1(-large) / large)


def _finite(t: Array, rate: Array) -> Array:
    """Times as they are up to 1000 spans of the slowest rate, where e^(−1000) is 0 in any case.

    Infinity itself would turn derivatives, 0 in the limit, into 0 · ∞.
    """
    return jnp.where(rate > 0, jnp.minimum(t, 1000 / jnp.where(rate > 0, rate, 1)), t)


def _flow_gains(values: Array, parameters: tuple[Array, ...]) -> tuple[Array, Array]:
    t = _finite(parameters[0][:, None], jnp.min(values))
    test = t * _one_minus_exp(values * t)
    return values * test, test


def _descent_gains(values: Array, parameters: tuple[Array, ...]) -> tuple[Array, Array]:
    steps, eta = parameters
    k, contraction = steps[:, None], eta * values
    # (1 − ηλ)^k: by log1p where ηλ is small, by its sign and modulus where it is not.
    short = contraction < 0.5
    slow = -jnp.expm1(k * jnp.log1p(-jnp.where(short, contraction, 0)))
    base = jnp.where(short, 0.5, 1 - contraction)
    modulus = jnp.where(base == 0, 0, jnp.exp(k * jnp.log(jnp.where(base == 0, 1, jnp.abs(base)))))
    sign = jnp.where((base < 0) & (jnp.mod(k, 2) == 1), -1, 1)
    train = jnp.where(k == 0, 0, jnp.where(short, slow, 1 - sign * modulus))
    return train, train / values


def _heavy_ball_gains(values: Array, parameters: tuple[Array, ...]) -> tuple[Array, Array]:
    times, gamma = parameters
    # Directions that swing lose the rate γ/2, slow ones at least λ/γ.
    slowest = jnp.where(gamma > 0, jnp.min(values) / jnp.where(gamma > 0, gamma, 1), 0)
    t = _finite(times[:, None], jnp.minimum(gamma / 2, slowest))
    square = values - gamma**2 / 4
    swings = square > 0
    omega = jnp.sqrt(jnp.where(swings, square, 1))
    swing = jnp.exp(-gamma * t / 2) * (
        jnp.cos(omega * t) + gamma / (2 * omega) * jnp.sin(omega * t)
    )
    kappa = jnp.sqrt(jnp.where(square < 0, -square, 0))
    creep = jnp.exp(-values * t / jnp.where(swings, 1, gamma / 2 + kappa)) * (
        (1 + jnp.exp(-2 * kappa * t)) / 2 + gamma * t / 2 * _one_minus_exp(2 * kappa * t)
    )
    train = 1 - jnp.where(swings, swing, creep)
    return train, train / values


def _ridge_gains(values: Array, parameters: tuple[Array, ...]) -> tuple[Array, Array]:
    test = 1 / (values + parameters[0][:, None])
    return values * test, test


def _filtered(
    gains: _Gains,
    problem: _Problem,
    parameters: tuple[Any, ...],
    single: bool,
    *,
    longest_step: float | None = None,
) -> Predictions:
    dtype = problem.kernel.dtype
    arrays = tuple(jnp.asarray(parameter, dtype) for parameter in parameters)
    train, test, values = _predictions(gains, problem, arrays)
    if _validate.concrete(values):
        _validate.positive_semidefinite("k_train", None, eigenvalues=values)
        largest = float(values[-1])
        if longest_step is not None and longest_step * largest >= 2:
            raise ValueError(
                f"step_size must be below 2 over the largest eigenvalue, {2 / largest:.4g}, for "
                f"the descent to converge; got {longest_step:.4g}"
            )

    def shaped(values: Array) -> Array:
        values = values[:, :, 0] if problem.flat else values
        return values[0] if single else values

    return shaped(train) if test is None else (shaped(train), shaped(test))


@functools.partial(jax.jit, static_argnums=0)
def _predictions(
    gains: _Gains, problem: _Problem, parameters: tuple[Array, ...]
) -> tuple[Array, Array | None, Array]:
    with jax.default_matmul_precision("highest"):
        residual = problem.labels - problem.start
        moved, weights, values = _spectral(gains, problem.kernel, residual, parameters)
        test = None
        if problem.k_test is not None and problem.start_test is not None:
            test = problem.start_test + jnp.einsum("mn,tno->tmo", problem.k_test, weights)
        return problem.start + moved, test, values


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _spectral(
    gains: _Gains, kernel: Array, residual: Array, parameters: tuple[Array, ...]
) -> tuple[Array, Array, Array]:
    """V g Vᵀ r for both gains of a filter, `[T, n, outputs]`, and the eigenvalues."""
    values, vectors = jnp.linalg.eigh(kernel)
    moved, weights = _apply(_kept_gains(gains, values, parameters), vectors, residual)
    return moved, weights, values


def _apply(pair: tuple[Array, Array], vectors: Array, residual: Array) -> tuple[Array, Array]:
    first, second = (
        jnp.einsum("in,tn,no->tio", vectors, gain, vectors.T @ residual) for gain in pair
    )
    return first, second


def _kept(values: Array) -> tuple[Array, Array]:
    """Which eigenvalues are above the cutoff, and the eigenvalues with harmless ones elsewhere."""
    kept = values > relative_cutoff(len(values), values.dtype) * jnp.max(values)
    return kept, jnp.where(kept, values, jnp.where(jnp.any(kept), jnp.max(values), 1))


def _kept_gains(gains: _Gains, values: Array, parameters: tuple[Array, ...]) -> tuple[Array, Array]:
    kept, safe = _kept(values)
    removed, over = gains(safe, parameters)
    return jnp.where(kept, removed, 0), jnp.where(kept, over, 0)


@_spectral.defjvp
def _spectral_jvp(gains: _Gains, primals: Any, tangents: Any) -> Any:
    """By divided differences (Daleckii and Krein), which coinciding eigenvalues do not disturb.

    d(V g(λ) Vᵀ) = V (G ∘ Vᵀ dK V) Vᵀ with G_ij = (g(λ_i) − g(λ_j))/(λ_i − λ_j), the derivative of
    g where the two agree. Eigenvalues below the cutoff stand for 0, where g is 0.
    """
    kernel, residual, parameters = primals
    d_kernel, d_residual, d_parameters = tangents
    values, vectors = jnp.linalg.eigh(kernel)
    kept, safe = _kept(values)
    level = jnp.where(kept, values, 0)
    rotated = vectors.T @ ((d_kernel + d_kernel.T) / 2) @ vectors
    gap = level[:, None] - level[None, :]
    # Closer than the root of ε the slope in the middle is as good as the difference.
    close = jnp.abs(gap) <= jnp.finfo(values.dtype).eps ** 0.5 * jnp.maximum(
        level[:, None], level[None, :]
    )
    both, one = kept[:, None] & kept[None, :], jnp.where(close, 1, gap)
    middle = jnp.where(both, (safe[:, None] + safe[None, :]) / 2, safe[:, None])

    at_values = _kept_gains(gains, values, parameters)
    along = jax.jvp(lambda p: _kept_gains(gains, values, p), (parameters,), (d_parameters,))[1]
    slopes = jax.jvp(
        lambda v: gains(v, parameters), (middle.ravel(),), (jnp.ones_like(middle.ravel()),)
    )[1]
    coordinates, d_coordinates = vectors.T @ residual, vectors.T @ d_residual

    def change(gain: Array, d_gain: Array, slope: Array) -> Array:
        quotient = (gain[:, :, None] - gain[:, None, :]) / one
        divided = jnp.where(close, jnp.where(both, slope.reshape(-1, *gap.shape), 0), quotient)
        inner = jnp.einsum("tij,ij,jo->tio", divided, rotated, coordinates)
        inner += gain[:, :, None] * d_coordinates + d_gain[:, :, None] * coordinates
        return jnp.einsum("ni,tio->tno", vectors, inner)

    changes = tuple(map(change, at_values, along, slopes))
    primal = _apply(at_values, vectors, residual)
    return (*primal, values), (*changes, jnp.diag(rotated))


# --- Gaussian processes and ensembles -----------------------------------------------------------


class Moments(NamedTuple):
    """Mean and covariance at M points of what a random start is trained to.

    Attributes:
        mean: `[M]` or `[M, outputs]`.
        covariance: `[M, M]`, the same for every output.
    """

    mean: Array
    covariance: Array


def gp_posterior(
    k_train: Gram,
    y: Any,
    k_test: Any,
    k_new: Any,
    *,
    noise: float = 0.0,
) -> Moments:
    r"""$k\,(K + \rho I)^{-1} y$ and $K_{**} - k\,(K + \rho I)^{-1} k^{\mathsf T}$: a Gaussian
    process of mean 0 and kernel K after n observations.

    Args:
        k_train: K, `[N, N]`.
        y: observations, `[N]` or `[N, outputs]`.
        k_test: k, between M new points and the old ones, `[M, N]`.
        k_new: $K_{**}$, between the new points, `[M, M]`.
        noise: the variance $\rho \ge 0$ of the observations' noise; at 0 the inverse is $K^{+}$.

    Raises:
        ValueError: as `kernel_flow`; for a `k_new` that is not symmetric, or negative noise.

    Source: S24, section 14.2, on the mean.

    Examples:
        >>> one = jnp.ones((1, 1))
        >>> posterior = gp_posterior(2 * one, jnp.ones(1), one, 2 * one)
        >>> posterior.mean.tolist(), posterior.covariance.tolist()
        ([0.5], [[1.5]])
    """
    mean = kernel_ridge(k_train, y, noise, k_test=k_test)[1]
    k_new = _square("k_new", k_new, k_test, mean.dtype)
    k_test = _like("k_test", k_test, mean.dtype)
    explained = kernel_ridge(k_train, k_test.T, noise, k_test=k_test)[1]
    return Moments(mean, k_new - explained)


def ensemble_moments(
    ntk_train: Gram,
    y: Any,
    t: float,
    *,
    ntk_test: Any,
    nngp_train: Gram,
    nngp_test: Any,
    nngp_new: Any,
) -> Moments:
    r"""$A_t y$ and $Q_{**} - A_t Q_{*}^{\mathsf T} - Q_{*} A_t^{\mathsf T} + A_t Q A_t^{\mathsf
    T}$, with $A_t = \Theta_{*}\Theta^{+}(I - e^{-\Theta t})$: infinitely wide networks trained for
    time t.

    Each member starts at a Gaussian process with covariance Q, the kernel `nngp` of its outputs,
    and moves along the kernel flow of $\Theta$, its `ntk`. Only with $\Theta = Q$, where the
    output weights alone are trained, does the limit $t \to \infty$ have the posterior's
    covariance.

    Args:
        ntk_train: $\Theta$, `[N, N]`.
        y: labels, `[N]` or `[N, outputs]`.
        t: one time, from 0 to infinity.
        ntk_test: $\Theta_{*}$, `[M, N]`.
        nngp_train: Q, `[N, N]`.
        nngp_test: $Q_{*}$, `[M, N]`.
        nngp_new: $Q_{**}$, `[M, M]`.

    Raises:
        ValueError: as `kernel_flow`, and for kernels whose shapes do not fit.

    Source: Lee et al. 2019, section 2.3.

    Examples:
        >>> one = jnp.ones((1, 1))
        >>> ensemble_moments(2 * one, jnp.ones(1), jnp.inf, ntk_test=one, nngp_train=one,
        ...     nngp_test=one, nngp_new=one).covariance.tolist()
        [[0.25]]
    """
    mean = kernel_flow(ntk_train, y, t, k_test=ntk_test)[1]
    if mean.ndim > jnp.ndim(y):
        raise ValueError(f"t must be one time, got shape {jnp.shape(t)}")
    nngp_train = _validate.gram("nngp_train", nngp_train)
    ntk_test = _like("ntk_test", ntk_test, mean.dtype)
    nngp_test = _like("nngp_test", nngp_test, mean.dtype)
    for name, array, like in (
        ("nngp_train", nngp_train, jnp.asarray(ntk_train)),
        ("nngp_test", nngp_test, ntk_test),
    ):
        if array.shape != like.shape:
            raise ValueError(f"{name} must have shape {like.shape}, got {array.shape}")
    nngp_new = _square("nngp_new", nngp_new, nngp_test, mean.dtype)
    return Moments(
        mean, _ensemble_covariance(ntk_train, t, ntk_test, nngp_train, nngp_test, nngp_new)
    )


def _ensemble_covariance(
    ntk_train: Any, t: Any, ntk_test: Array, nngp_train: Array, nngp_test: Array, nngp_new: Array
) -> Array:
    identity = jnp.eye(len(nngp_train), dtype=ntk_test.dtype)
    response = kernel_flow(ntk_train, identity, t, k_test=ntk_test)[1]  # A_t, [M, N]
    with jax.default_matmul_precision("highest"):
        cross = response @ nngp_test.T
        return nngp_new - cross - cross.T + response @ nngp_train @ response.T


def _square(name: str, value: Any, k_test: Any, dtype: Any) -> Array:
    """A kernel matrix between the points of `k_test`."""
    array = _validate.gram(name, value)
    if array.dtype != dtype:
        raise ValueError(f"{name} must have the kernel's dtype {dtype}, got {array.dtype}")
    if len(array) != len(k_test):
        raise ValueError(f"{name} must have shape {(len(k_test),) * 2}, got {array.shape}")
    return array


# --- other losses, in function space ------------------------------------------------------------


def kernel_loss_flow(
    k_train: Gram,
    y: Any,
    t: Times,
    *,
    loss: SmoothLoss,
    f0: Any = None,
    k_test: Any = None,
    f0_test: Any = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> Predictions:
    r"""$\dot f = -K\,\nabla_f \sum_i \ell(f_i, y_i)$, kernel gradient flow for any loss.

    The integral $c_t = -\int_0^t \nabla\ell(f_s)\,ds$ is what is computed, by Dormand and
    Prince's method of order 5 with steps that adapt; then $f_t = f_0 + K c_t$, and $f_0(x) +
    k\,c_t$ at other points. For the square loss `kernel_flow` has the same in closed form.

    Args:
        k_train: as in `kernel_flow`.
        y: labels, `[N]` or `[N, outputs]`; what the loss takes.
        t: finite times, a number or `[T]`, at least 0.
        loss: `SQUARE`, `LOGISTIC` or another `SmoothLoss`.
        f0: as in `kernel_flow`.
        k_test: as in `kernel_flow`.
        f0_test: as in `kernel_flow`.
        rtol: relative tolerance of a step; by default 1e-8 in float64 and 1e-5 in float32.
        atol: absolute tolerance of a step; by default a tenth of `rtol`.
        max_steps: after which the solver gives up.

    Returns:
        As `kernel_flow`.

    Raises:
        ValueError: as `kernel_flow`, and for tolerances that are not positive.
        RuntimeError: if `max_steps` do not suffice.

    Source: derived in the chapter; S24, equation (14.7), for any loss.

    Examples:
        >>> from ntklab.descent import LOGISTIC
        >>> f = kernel_loss_flow(jnp.eye(1), jnp.ones(1), 1.0, loss=LOGISTIC)
        >>> round(float(f[0]), 3)  # f + exp(f) = t + 1
        0.443
    """
    problem = _problem(k_train, y, f0, k_test, f0_test)
    loss = checked_loss(loss)
    times, single = _finite_times(t, problem.kernel.dtype)
    _validate.positive_semidefinite("k_train", problem.kernel)
    solver = _solver(rtol, atol, max_steps, problem.kernel.dtype)
    weights, success = _loss_flow(problem, times, solver, loss=loss)
    _check_success(success, solver, times)
    with jax.default_matmul_precision("highest"):
        train = problem.start + jnp.einsum("mn,tno->tmo", problem.kernel, weights)
        test = None
        if problem.k_test is not None and problem.start_test is not None:
            test = problem.start_test + jnp.einsum("mn,tno->tmo", problem.k_test, weights)

    def shaped(values: Array) -> Array:
        values = values[:, :, 0] if problem.flat else values
        return values[0] if single else values

    return shaped(train) if test is None else (shaped(train), shaped(test))


def logistic_margin(kernel: ArrayLike, t: Times, *, start: ArrayLike = 0.0) -> Float[Array, "..."]:
    r"""The u with $u + e^{u} = Kt + u_0 + e^{u_0}$: one point's margin $yf$ under the logistic
    loss.

    The flow is $\dot u = K/(1 + e^u)$. The margin grows like $\log(Kt)$ and has no limit, and the
    weights, which move by $(u - u_0)/\sqrt K$, leave every ball.

    Args:
        kernel: $K > 0$.
        t: times, at least 0.
        start: $u_0$.

    Raises:
        ValueError: for a kernel that is not positive, a negative time, or NaN.

    Source: derived in the chapter.

    Examples:
        >>> round(float(logistic_margin(1.0, 1.0)), 3)
        0.443
    """
    from scipy.special import wrightomega

    kernel, t, start = (
        _validate.floating(name, value, min_ndim=0)
        for name, value in (("kernel", kernel), ("t", t), ("start", start))
    )
    gain, times, first = (np.asarray(array, float) for array in (kernel, t, start))
    if not np.all(gain > 0):
        raise ValueError(f"kernel must be positive, got {np.min(gain):g}")
    if not np.all(times >= 0):
        raise ValueError(f"t must be at least 0, got {np.min(times):g}")
    # ω(c) solves ω + log ω = c: e^u is ω(c), and log ω = c − ω loses digits only where ω is large.
    level = gain * times + first + np.exp(first)
    return _validate.from_numpy(np.log(wrightomega(level)), kernel.dtype)


# --- the flow and the descent of a model --------------------------------------------------------


class Arrival(NamedTuple):
    """Where a flow first meets its target.

    Attributes:
        time: when.
        params: the parameters then.
    """

    time: Float[Array, ""]
    params: Any


class _Solver(NamedTuple):
    rtol: float
    atol: float
    max_steps: int


def network_flow(
    apply: Apply,
    params: Any,
    x: Any,
    y: Any,
    t: Times,
    *,
    loss: SmoothLoss = SQUARE,
    step_size: float = 0.0,
    friction: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> Any:
    r"""$\dot\theta = -\nabla L(\theta)$ with $L(\theta) = \sum_i \ell(f(x_i; \theta), y_i)$: a
    model's gradient flow.

    Solved by Dormand and Prince's method of order 5 with steps that adapt to the tolerances.
    `step_size` $\eta > 0$ asks for the flow of $L + \frac\eta4\|\nabla L\|^2$, which gradient
    descent with that step follows to $O(\eta^2)$. `friction` $\gamma$ asks for the heavy ball
    $\ddot\theta + \gamma\,\dot\theta = -\nabla L$ from rest.

    Args:
        apply: `apply(params, x) -> [N]` or `[N, outputs]`.
        params: where to start, a pytree; `models` says what of it is trained.
        x: training points `[N, ...]`, what `apply` takes.
        y: labels, of the shape of the outputs; `[N]` also for one output `[N, 1]`.
        t: finite times, a number or `[T]`, at least 0.
        loss: `SQUARE`, $\tfrac12(\hat y - y)^2$, or another `SmoothLoss`.
        step_size: $\eta \ge 0$ of the modified flow.
        friction: $\gamma \ge 0$, not together with `step_size`.
        rtol: relative tolerance of a step; by default 1e-8 in float64 and 1e-5 in float32.
        atol: absolute tolerance of a step; by default a tenth of `rtol`.
        max_steps: after which the solver gives up.

    Returns:
        The parameters at the times, each trained leaf with a first axis `[T]`; a single t has none.

    Raises:
        ValueError: for shapes that do not fit, negative or infinite times, tolerances that are not
            positive, or friction together with a step size.
        RuntimeError: if `max_steps` do not suffice.

    Source: S24, equation (14.4); the modified flow: Barrett and Dherin 2021.

    Examples:
        >>> def model(theta, x):
        ...     return theta * x
        >>> x, y = jnp.ones(1), jnp.ones(1)
        >>> theta = network_flow(model, jnp.zeros(1), x, y, jnp.array([0.0, 1.0]))
        >>> theta[:, 0].round(3).tolist()  # 1 - exp(-t)
        [0.0, 0.632]
    """
    model, x, labels, loss = _training(apply, params, x, y, loss)
    eta = _validate.number("step_size", step_size, at_least=0)
    gamma = None if friction is None else _validate.number("friction", friction, at_least=0)
    if gamma is not None and eta > 0:
        raise ValueError(f"friction must be None for a modified flow, got {friction}")
    times, single = _finite_times(t, labels.dtype)
    solver = _solver(rtol, atol, max_steps, labels.dtype)
    trained, success = _network_flow(
        model,
        x,
        labels,
        times,
        solver,
        eta,
        0.0 if gamma is None else gamma,
        loss=loss,
        modified=eta > 0,
        heavy=gamma is not None,
    )
    _check_success(success, solver, times)
    return model.at(tuple(leaf[0] for leaf in trained) if single else trained).params()


def flow_until(
    apply: Apply,
    params: Any,
    x: Any,
    y: Any,
    target: float,
    *,
    loss: SmoothLoss = SQUARE,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> Arrival:
    r"""The first time at which the gradient flow of L has brought it down to a target.

    The solver watches $L(\theta_t) - $ `target` while it steps, and finds the place of its zero.

    Args:
        apply: as in `network_flow`.
        params: as in `network_flow`.
        x: as in `network_flow`.
        y: as in `network_flow`.
        target: a value of L, below its first one.
        loss: as in `network_flow`.
        rtol: as in `network_flow`.
        atol: as in `network_flow`.
        max_steps: as in `network_flow`.

    Raises:
        ValueError: as `network_flow`, and for a target that is not below the first loss.
        RuntimeError: if the flow comes to rest above the target, or `max_steps` do not suffice.

    Source: S24, equation (14.4).

    Examples:
        >>> def model(theta, x):
        ...     return theta * x
        >>> arrival = flow_until(model, jnp.zeros(1), jnp.ones(1), jnp.ones(1), 0.5 / jnp.e**2)
        >>> round(float(arrival.time), 3)
        1.0
    """
    model, x, labels, loss = _training(apply, params, x, y, loss)
    target = _validate.number("target", target)
    solver = _solver(rtol, atol, max_steps, labels.dtype)
    first = float(_total_loss(loss, model, x, labels))
    if not target < first:
        raise ValueError(f"target must be below the first loss, {first:.4g}, got {target:.4g}")
    time, trained, value, success = _flow_until(model, x, labels, target, solver, loss=loss)
    if not bool(success):
        raise RuntimeError(
            f"the flow must come down to {target:.4g}; it is at {float(value):.4g} at time "
            f"{float(time):.4g}, at rest or after {max_steps} steps"
        )
    return Arrival(time, model.at(trained).params())


def network_descent(
    apply: Apply,
    params: Any,
    x: Any,
    y: Any,
    steps: Times,
    *,
    step_size: float,
    loss: SmoothLoss = SQUARE,
) -> Any:
    r"""$\theta_{k+1} = \theta_k - \eta\,\nabla L(\theta_k)$, gradient descent on the L of
    `network_flow`.

    It promises nothing: with a long step it diverges, to infinity or NaN.

    Args:
        apply: as in `network_flow`.
        params: as in `network_flow`.
        x: as in `network_flow`.
        y: as in `network_flow`.
        steps: whole numbers, one or `[T]`, at least 0.
        step_size: $\eta > 0$.
        loss: as in `network_flow`.

    Returns:
        The parameters after those steps, each trained leaf with a first axis `[T]`; a single
        number of steps has none.

    Raises:
        ValueError: as `network_flow`, and for steps that are not whole numbers.

    Source: S24, section 14.2.

    Examples:
        >>> def model(theta, x):
        ...     return theta * x
        >>> network_descent(
        ...     model, jnp.zeros(1), jnp.ones(1), jnp.ones(1), 2, step_size=0.5
        ... ).tolist()
        [0.75]
    """
    model, x, labels, loss = _training(apply, params, x, y, loss)
    eta = _validate.number("step_size", step_size, above=0)
    counts = np.asarray(steps)
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or np.any(counts < 0):
        raise ValueError(f"steps must be whole numbers of at least 0, got {steps!r:.60}")
    rows = counts.reshape(-1)
    order = np.argsort(rows, kind="stable")
    gaps = np.diff(rows[order], prepend=0)
    trained = _network_descent(model, x, labels, jnp.asarray(gaps), eta, loss=loss)
    places = np.argsort(order)
    chosen = places[0] if counts.ndim == 0 else places
    return model.at(tuple(leaf[chosen] for leaf in trained)).params()


def _training(
    apply: Any, params: Any, x: Any, y: Any, loss: Any
) -> tuple[models.Model, Array, Array, SmoothLoss]:
    """A model and its data as arrays that fit: the labels in the shape of the outputs."""
    model = models.view(apply, params)
    loss = checked_loss(loss)
    x = models.inputs("x", x, apply)
    output = model.batch_output("x", x)
    labels = _like("y", y, output.dtype)
    if labels.shape != output.shape and (*labels.shape, 1) != output.shape:
        raise ValueError(
            f"y must have shape {output.shape}, as the outputs have, got {labels.shape}"
        )
    return model, x, labels.reshape(output.shape), loss


def _finite_times(t: Any, dtype: Any) -> tuple[Array, bool]:
    times, single = _times("t", t, dtype)
    if _validate.concrete(times) and not (times.size and np.all(np.isfinite(times))):
        raise ValueError(f"t must be finite, and at least one time, got {t!r:.60}")
    return times, single


def _solver(rtol: Any, atol: Any, max_steps: Any, dtype: Any) -> _Solver:
    by_default = 1e-8 if dtype == jnp.float64 else 1e-5
    rtol = by_default if rtol is None else _validate.number("rtol", rtol, above=0)
    atol = rtol / 10 if atol is None else _validate.number("atol", atol, above=0)
    return _Solver(rtol, atol, _validate.integer("max_steps", max_steps, at_least=1))


def _check_success(success: Array, solver: _Solver, times: Array) -> None:
    if _validate.concrete(success) and not bool(success):
        raise RuntimeError(
            f"the flow up to time {float(jnp.max(times)):.4g} must take at most max_steps = "
            f"{solver.max_steps} finite steps, and did not"
        )


def _total_loss(loss: SmoothLoss, model: models.Model, x: Array, labels: Array) -> Array:
    return jnp.sum(loss.value(model(x), labels))


def _solved(
    field: Callable[[Array], Array], start: Array, times: Array, solver: _Solver
) -> tuple[Array, Array]:
    """The states of an autonomous flow at the times, and whether the solver arrived."""
    with _extras.needed_by(__name__):
        import diffrax

    order = jnp.argsort(times)
    rtol, atol, max_steps = solver
    # One array, not a tree: a state of few leaves is what makes the program small.
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, state, args: field(state)),
        diffrax.Dopri5(),
        t0=0,
        t1=jnp.max(times),
        dt0=None,
        y0=start,
        saveat=diffrax.SaveAt(ts=times[order]),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=max_steps,
        throw=False,
    )
    return solution.ys[jnp.argsort(order)], solution.result == diffrax.RESULTS.successful


@functools.partial(jax.jit, static_argnames=("solver", "loss"))
def _loss_flow(
    problem: _Problem, times: Array, solver: _Solver, *, loss: SmoothLoss
) -> tuple[Array, Array]:
    slope = jax.grad(lambda f: jnp.sum(loss.value(f, problem.labels)))

    def field(weights: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            return -slope(problem.start + problem.kernel @ weights)

    return _solved(field, jnp.zeros_like(problem.labels), times, solver)


@functools.partial(jax.jit, static_argnames=("solver", "loss", "modified", "heavy"))
def _network_flow(
    model: models.Model,
    x: Array,
    labels: Array,
    times: Array,
    solver: _Solver,
    eta: Any,
    gamma: Any,
    *,
    loss: SmoothLoss,
    modified: bool,
    heavy: bool,
) -> tuple[tuple[Array, ...], Array]:
    start = model.flat()
    slope = jax.grad(lambda theta: _total_loss(loss, model.at_flat(theta), x, labels))

    def descent(theta: Array) -> Array:
        if not modified:
            return -slope(theta)
        # ∇(L + η/4 ‖∇L‖²) = ∇L + η/2 ∇²L ∇L.
        steepest = slope(theta)
        return -steepest - eta / 2 * jax.jvp(slope, (theta,), (steepest,))[1]

    def ball(state: Array) -> Array:
        theta, velocity = state
        return jnp.stack([velocity, -slope(theta) - gamma * velocity])

    if heavy:
        states, success = _solved(ball, jnp.stack([start, jnp.zeros_like(start)]), times, solver)
        states = states[:, 0]
    else:
        states, success = _solved(descent, start, times, solver)
    return jax.vmap(lambda theta: model.at_flat(theta).trained)(states), success


@functools.partial(jax.jit, static_argnames=("solver", "loss"))
def _flow_until(
    model: models.Model,
    x: Array,
    labels: Array,
    target: Any,
    solver: _Solver,
    *,
    loss: SmoothLoss,
) -> tuple[Array, tuple[Array, ...], Array, Array]:
    with _extras.needed_by(__name__):
        import diffrax
        import optimistix

    def objective(theta: Array) -> Array:
        return _total_loss(loss, model.at_flat(theta), x, labels)

    rtol, atol, max_steps = solver
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, theta, args: -jax.grad(objective)(theta)),
        diffrax.Dopri5(),
        t0=0,
        t1=jnp.inf,
        dt0=None,
        y0=model.flat(),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        event=diffrax.Event(
            [
                lambda t, y, args, **_: objective(y) - target,
                diffrax.steady_state_event(),
            ],
            optimistix.Newton(rtol, atol),
        ),
        max_steps=max_steps,
        throw=False,
    )
    end = solution.ys[-1]
    reached = (solution.result == diffrax.RESULTS.event_occurred) & solution.event_mask[0]
    return solution.ts[-1], model.at_flat(end).trained, objective(end), reached


@functools.partial(jax.jit, static_argnames="loss")
def _network_descent(
    model: models.Model, x: Array, labels: Array, gaps: Array, eta: Any, *, loss: SmoothLoss
) -> tuple[Array, ...]:
    slope = jax.grad(lambda trained: _total_loss(loss, model.at(trained), x, labels))

    def step(_: Any, trained: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(p - eta * g for p, g in zip(trained, slope(trained), strict=True))

    def record(trained: tuple[Array, ...], gap: Array) -> tuple[tuple[Array, ...], Any]:
        trained = jax.lax.fori_loop(0, gap, step, trained)
        return trained, trained

    stored: tuple[Array, ...] = jax.lax.scan(record, model.trained, gaps)[1]
    return stored
