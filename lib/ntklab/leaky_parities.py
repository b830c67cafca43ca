r"""Leaky parities: gradient descent learns from a biased start what no kernel has an edge on.

The model of Malach et al. with its output at −1, as printed and repaired, its regimes and scale,
one step of gradient descent under the worst gradient error, its tangent kernel, and why a start at
zero would need exponentially exact gradients.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from ntklab import _search, _validate, networks
from ntklab.boolean_kernels import (
    LeakyParities,
    dimension_bound,
    edge,
    hypercube,
    square_loss,
    subset_number,
    walsh_hadamard,
)
from ntklab.results import Check, result, rounding_tolerance
from ntklab.sparse_parities import (
    Circuit,
    FeedForward,
    WorstError,
    gate,
    parity_of_selection,
    printed_scale_witness,
    quadratic_sigmoid,
    selection,
    zero_of_a_factor,
)
from ntklab.weak_learning import (
    average_tangent_kernel,
    label_free_run,
    promised_average_edge,
    tangent_features,
)

__all__ = [
    "largest_leaky_scale",
    "leaky_feed_forward",
    "leaky_one_step",
    "leaky_scale",
    "leaky_scale_bound",
    "leaky_selector",
    "leaky_step_size",
    "leaky_tangent_kernel",
    "leaky_tolerated_error",
    "losses_after_step",
    "population_gradients",
    "unbiased_accuracy_bound",
    "worst_leaky_error",
]

Vector = Float[Array | np.ndarray, " n"]
Rows = Float[Array | np.ndarray, "N n"]

# The offset 5/3 of the inputs, in units of α.
_OFFSET = 5 / 3


# --- the model ----------------------------------------------------------------------------------


def leaky_selector(
    theta: Vector, x: Rows, alpha: float, *, repaired: bool | str = True
) -> Float[Array, " N"]:
    r"""$f_\theta(x) = -(1 - S) + \sigma_{-1,1}^{-1,1}\bigl((1 - S)\,u + S H\bigr)$ with
    $u = \langle\theta, x + \tfrac53\alpha\mathbf 1\rangle$ and S, H at $\xi(\theta \circ x)$.

    It is $-1 + 2u$ to first order at $\theta = 0$, and the parity $\prod_{\theta_i \ge 3/n} x_i$
    once every $\theta_i$ is in $[0, 2/n]$ or $[3/n, 5/n]$ and one is in the latter. As printed the
    first term is $\sigma_{0,2/n}^{-1,0}(\langle\theta, \mathbf 1\rangle)$, and H has the factors
    $1 + s - s^2$.

    Args:
        theta: the n parameters.
        x: points of the cube.
        alpha: share of leaking examples, which the model knows.
        repaired: False for the model as printed; `"parity"` repairs H and leaves the first term.

    Raises:
        ValueError: for NaN, shapes that do not fit, or alpha outside (0, 1).

    Source: M21, equations (17)–(19), and the repairs in the chapters.

    Examples:
        >>> x = hypercube(3)
        >>> leaky_selector(jnp.zeros(3), x, 0.2)[:2].tolist()
        [-1.0, -1.0]
        >>> theta = jnp.array([4 / 3, 0.2, 4 / 3])
        >>> bool(jnp.all(leaky_selector(theta, x, 0.2) == x[:, 0] * x[:, 2]))
        True
    """
    theta, x, alpha = _arguments(theta, x, alpha)
    return _outputs(theta, x, alpha, _version(repaired))


def _arguments(theta: Any, x: Any, alpha: Any) -> tuple[Array, Array, float]:
    theta = _validate.floating("theta", theta, min_ndim=1, max_ndim=1)
    x = _validate.points("x", x)
    if x.shape[1] != len(theta):
        raise ValueError(f"x must have shape [N, {len(theta)}] as theta does, got {x.shape}")
    return theta, x, _validate.probability("alpha", alpha)


def _version(repaired: Any) -> bool | str:
    if not isinstance(repaired, bool) and repaired != "parity":
        raise ValueError(f"repaired must be True, False or 'parity', got {repaired!r}")
    return repaired


def _model(theta: Array, x: Array, alpha: Any, repaired: bool | str) -> Array:
    s, weights = selection(theta * x), jnp.sum(theta)
    linear = jnp.sum(theta * x, axis=-1) + _OFFSET * alpha * weights
    switch = gate(s)
    # (1 − S) u + S H, which is the printed sum without its cancellation.
    mixed = (1 - switch) * linear + switch * parity_of_selection(s, repaired=bool(repaired))
    first = switch - 1 if repaired is True else quadratic_sigmoid(theta.size / 2 * weights) - 1
    return first + 2 * quadratic_sigmoid((mixed + 1) / 2) - 1


_outputs = jax.jit(_model, static_argnums=3)


# --- its scale ----------------------------------------------------------------------------------


def leaky_scale(
    theta: Vector, x: Rows, alpha: float, *, repaired: bool | str = True
) -> Float[Array, " N"]:
    r"""$\sqrt{\|\nabla_\theta f_\theta(x)\|^2 + f_\theta(x)^2}$ at the points x; $C_f$ is its
    supremum over $\theta$ and x.

    Args:
        theta: the parameters.
        x: points of the cube.
        alpha: of the model.
        repaired: as in `leaky_selector`.

    Raises:
        ValueError: as `leaky_selector`.

    Source: M21, section 2.

    Examples:
        >>> round(float(leaky_scale(jnp.zeros(4), jnp.ones((1, 4)), 0.3)[0]) ** 2, 3)
        37.0
    """
    theta, x, alpha = _arguments(theta, x, alpha)
    return _scales(theta, x, alpha, _version(repaired))


@functools.partial(jax.jit, static_argnums=3)
def _scales(theta: Array, x: Array, alpha: Any, repaired: bool | str) -> Array:
    return jax.vmap(lambda point: _scale_at(theta, point, alpha, repaired))(x)


def _scale_at(theta: Array, x: Array, alpha: Any, repaired: bool | str) -> Array:
    value, slope = jax.value_and_grad(lambda place: _model(place, x, alpha, repaired))(theta)
    # A square root has no derivative at 0.
    return jnp.sqrt(jnp.sum(slope**2) + value**2 + jnp.finfo(theta.dtype).tiny)


def leaky_scale_bound(n: int, alpha: float) -> float:
    r"""$C_f \le \sqrt{\bigl((52 + 40\alpha)\,n + 2(1 + \tfrac53\alpha)\sqrt n\bigr)^2 + 4}$ for the
    repaired model.

    Args:
        n: number of coordinates.
        alpha: of the model.

    Raises:
        ValueError: for n below 1, or alpha outside (0, 1).

    Source: proved in the chapter.

    Examples:
        >>> round(leaky_scale_bound(16, 0.3), 1)
        1036.0
    """
    n = _validate.integer("n", n, at_least=1)
    alpha = _validate.probability("alpha", alpha)
    slope = (52 + 40 * alpha) * n + 2 * (1 + _OFFSET * alpha) * math.sqrt(n)
    return math.hypot(slope, 2)


def largest_leaky_scale(
    n: int,
    alpha: float,
    *,
    repaired: bool | str = True,
    starts: int = 24,
    steps: int = 150,
    seed: int = 0,
    dtype: Any = None,
) -> tuple[Float[Array, ""], Float[Array, " n"], Float[Array, " n"]]:
    r"""The largest `leaky_scale` that a search along its gradient finds, with its $\theta$ and x.

    One third of the climbs start at random within reach of the sigmoids, for random x; one third
    near $n\theta_i = \tfrac52$ with the last factor of H held at 0, where the output is not
    saturated; one third at $\theta_i$ of the order of $1/n^2$, where the first printed term rises.

    Args:
        n: number of coordinates.
        alpha: of the model.
        repaired: as in `leaky_selector`.
        starts: how many climbs.
        steps: of each climb.
        seed: of the random starts.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for n, starts or steps below 1, or alpha outside (0, 1).

    Examples:
        >>> found, theta, x = largest_leaky_scale(4, 0.2, starts=6, steps=20)
        >>> 8 < float(found) < leaky_scale_bound(4, 0.2)
        True
    """
    n = _validate.integer("n", n, at_least=1)
    alpha = _validate.probability("alpha", alpha)
    starts = _validate.integer("starts", starts, at_least=1)
    steps = _validate.integer("steps", steps, at_least=1)
    repaired = _version(repaired)
    dtype = _validate.floating_dtype("dtype", dtype)
    return _climb(jax.random.key(seed), n, alpha, starts, steps, repaired, dtype)


@functools.partial(jax.jit, static_argnums=(1, 3, 4, 5, 6))
def _climb(
    key: Array, n: int, alpha: Any, starts: int, steps: int, repaired: bool | str, dtype: Any
) -> tuple[Array, Array, Array]:
    place_key, sign_key = jax.random.split(key)
    kind = (jnp.arange(starts) % 3)[:, None]
    # In units of 1/n.
    anywhere = jax.random.uniform(place_key, (starts, n), dtype, -3.2, 3.2)
    half = jnp.abs(anywhere) / 3.2 + 2
    half = half.at[:, -1].set(zero_of_a_factor(bool(repaired)))
    small = jnp.abs(anywhere) / 1.6 / n
    first = jnp.where(kind == 0, half, jnp.where(kind == 1, small, anywhere)) / n
    signs = jax.random.rademacher(sign_key, (starts, n), dtype)
    x = jnp.where(kind == 2, signs, jnp.ones_like(signs))
    held = (kind == 0) & (jnp.arange(n) == n - 1)
    pace = jnp.where(kind == 1, 1 / n, 1.0).astype(dtype) / n

    def height(theta: Array, point: Array) -> Array:
        return jnp.log(_scale_at(theta, point, alpha, repaired))

    heights = jax.vmap(jax.value_and_grad(height))
    best, where = _search.climb(lambda places: heights(places, x), first, held, pace, steps)
    chosen = jnp.argmax(best)
    return jnp.exp(best[chosen]), where[chosen], x[chosen]


# --- one step of gradient descent ---------------------------------------------------------------


def leaky_step_size(problem: LeakyParities) -> float:
    r"""$\eta = \tfrac{3}{4\alpha n}$, which brings $n\theta_i$ to 4 on I and to 1 off it.

    Source: M21, Claim 6, corrected in the chapter; printed is $\eta = 1$.

    Examples:
        >>> round(leaky_step_size(LeakyParities(n=10, alpha=0.2)), 6)
        0.375
    """
    return 3 / (4 * problem.alpha * problem.n)


def leaky_tolerated_error(problem: LeakyParities) -> float:
    r"""$\tau = \tfrac43\alpha$, the largest gradient error under which the step finds the parity.

    Source: M21, Claim 6.

    Examples:
        >>> round(leaky_tolerated_error(LeakyParities(n=10, alpha=0.3)), 6)
        0.4
    """
    return 4 * problem.alpha / 3


def leaky_one_step(
    problem: LeakyParities,
    subset: Sequence[int],
    *,
    error: Vector | None = None,
    step_size: float | None = None,
    dtype: Any = None,
) -> Float[Array, " n"]:
    r"""$\theta^{(1)} = -\eta\,(\nabla\mathcal L(f_0) + e)$ with $-\nabla\mathcal L(f_0) =
    2\alpha(x^I + \tfrac53\mathbf 1)$, for any n.

    Args:
        problem: the family.
        subset: I.
        error: e, the gradient's error; none if omitted.
        step_size: $\eta$; `leaky_step_size(problem)` if omitted.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for a subset that is no member, or an error of another shape.

    Source: M21, Claim 6.

    Examples:
        >>> problem = LeakyParities(n=4, alpha=0.25)
        >>> (4 * leaky_one_step(problem, (0, 1))).round(5).tolist()
        [4.0, 4.0, 1.0, 1.0]
    """
    gradient = -2 * problem.alpha * (problem.leak(subset, dtype=dtype) + _OFFSET)
    if error is not None:
        given = _validate.floating("error", error, min_ndim=1, max_ndim=1)
        if given.shape != gradient.shape:
            raise ValueError(f"error must have shape {gradient.shape}, got {given.shape}")
        gradient = gradient + given.astype(gradient.dtype)
    size = leaky_step_size(problem)
    if step_size is not None:
        size = _validate.number("step_size", step_size)
    return -size * gradient


def losses_after_step(
    problem: LeakyParities, *, step_size: float | None = None, repaired: bool | str = True
) -> Float[Array, " members"]:
    """The loss after one exact step on every member, by enumeration, in the order of
    `problem.subsets()`.

    Args:
        problem: with n at most `MAX_ENUMERATION`.
        step_size: as in `leaky_one_step`.
        repaired: as in `leaky_selector`.

    Raises:
        ValueError: if n is too large to enumerate.

    Source: M21, Claim 6.

    Examples:
        >>> losses_after_step(LeakyParities(n=3, alpha=0.2)).round(5).tolist()
        [0.2, 0.2, 0.2, 0.2]
    """
    points, _, leaks = _members(problem)
    size = leaky_step_size(problem)
    if step_size is not None:
        size = _validate.number("step_size", step_size)
    return _losses(size, leaks, points, problem.alpha, _version(repaired))


def _members(problem: LeakyParities) -> tuple[Array, np.ndarray, Array]:
    """The cube, the numbers of the subsets, and x^I of each."""
    if not isinstance(problem, LeakyParities):
        raise ValueError(f"problem must be LeakyParities, got {type(problem).__name__}")
    with jax.ensure_compile_time_eval():
        points = hypercube(problem.n)  # first: it refuses an n whose subsets take long to count
        numbers = np.array([subset_number(subset) for subset in problem.subsets()])
        # The bits of x^I are set off I.
        leaks = np.asarray(points)[len(points) - 1 - numbers]
        return points, numbers, _validate.from_numpy(leaks, points.dtype)


@functools.partial(jax.jit, static_argnums=4)
def _losses(size: Any, leaks: Array, points: Array, alpha: Any, repaired: bool | str) -> Array:
    def one(leak: Array) -> Array:
        theta = size * 2 * alpha * (leak + _OFFSET)
        errors = _model(theta, points, alpha, repaired) - jnp.prod(
            jnp.where(leak > 0, points, 1), axis=1
        )
        # On the leaking examples, ½ E (f ± 1)² = ½ (f² + 1).
        leaking = (_model(theta, leak, alpha, repaired) ** 2 + 1) / 2
        return (1 - alpha) * jnp.mean(errors**2) / 2 + alpha * leaking

    return jax.lax.map(one, leaks)


def worst_leaky_error(
    problem: LeakyParities,
    subset: Sequence[int],
    norm: float,
    *,
    step_size: float | None = None,
    starts: int = 16,
    steps: int = 40,
    seed: int = 0,
    repaired: bool | str = True,
    dtype: Any = None,
) -> WorstError:
    r"""The gradient error of a given norm that leaves the largest loss after the step, searched.

    Gradient ascent of the exact loss over the sphere of that radius, from all 2n axes and from
    random directions.

    Args:
        problem: the family, with n at most `MAX_ENUMERATION`.
        subset: I.
        norm: of the error; `leaky_tolerated_error(problem)` is what the step is proved to stand.
        step_size: as in `leaky_one_step`.
        starts: random directions besides the axes.
        steps: of the ascent.
        seed: of the random directions.
        repaired: as in `leaky_selector`.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for a negative norm, or an n too large to enumerate.

    Source: M21, Claim 6, where the error is any of norm at most τ.

    Examples:
        >>> problem = LeakyParities(n=4, alpha=0.25)
        >>> tau = leaky_tolerated_error(problem)
        >>> round(float(worst_leaky_error(problem, (0, 1), tau).loss), 5)
        0.25
        >>> float(worst_leaky_error(problem, (0, 1), 1.5 * tau).loss) > 0.26
        True
    """
    norm = _validate.number("norm", norm, at_least=0)
    starts = _validate.integer("starts", starts, at_least=0)
    steps = _validate.integer("steps", steps, at_least=0)
    member = problem.distribution(subset, dtype=dtype)
    start = leaky_one_step(problem, subset, step_size=step_size, dtype=dtype)
    # A step of size 1 from the gradient 0 is the error's part of the step.
    size = leaky_step_size(problem) if step_size is None else step_size
    first = _search.sphere_starts(problem.n, starts, seed, start.dtype)
    loss, direction = _attack(
        first, start, size * norm, member, problem.alpha, steps, _version(repaired)
    )
    return WorstError(loss, norm * direction)


@functools.partial(jax.jit, static_argnums=(5, 6))
def _attack(
    first: Array, start: Array, reach: Any, member: Any, alpha: Any, steps: int, repaired: Any
) -> tuple[Array, Array]:
    def loss(direction: Array) -> Array:
        theta = start - reach * direction
        return square_loss(_model(theta, member.points, alpha, repaired), member)

    return _search.climb_sphere(loss, first, steps)


def leaky_tangent_kernel(
    x1: Rows, x2: Float[Array | np.ndarray, "M n"], alpha: float, *, printed: bool = False
) -> Float[Array, "N M"]:
    r"""$1 + 4\langle x + \tfrac53\alpha\mathbf 1, x' + \tfrac53\alpha\mathbf 1\rangle$, the tangent
    kernel at $\theta = 0$, with the output's feature.

    Args:
        x1: points of the cube.
        x2: more points.
        alpha: of the model.
        printed: give $1 + \tfrac{100}{9}\alpha^2 + 4\langle x, x'\rangle$ instead, as published.

    Raises:
        ValueError: for points that do not fit, or alpha outside (0, 1).

    Source: M21, Claim 7, corrected in the chapter.

    Examples:
        >>> x = jnp.ones((1, 10))
        >>> round(float(leaky_tangent_kernel(x, x, 0.3)[0, 0]), 3)
        91.0
    """
    x1, x2 = _validate.points("x1", x1), _validate.points("x2", x2)
    _validate.same_dimension("x1", x1, "x2", x2)
    alpha = _validate.probability("alpha", alpha)
    return _affine_kernel(x1, x2, alpha, printed)


@functools.partial(jax.jit, static_argnums=3)
def _affine_kernel(x1: Array, x2: Array, alpha: Any, printed: bool) -> Array:
    if printed:
        return 1 + 100 / 9 * alpha**2 + 4 * x1 @ x2.T
    return 1 + 4 * (x1 + _OFFSET * alpha) @ (x2 + _OFFSET * alpha).T


# --- a network that computes the model ----------------------------------------------------------


def leaky_feed_forward(n: int, alpha: float) -> FeedForward:
    r"""The repaired model as a feed-forward network of depth $O(\log n)$ with $O(n)$ edges, for
    every $\theta$.

    As `sparse_parities.feed_forward_selector`. New is $\langle\theta, \mathbf 1\rangle$: each
    $\theta_i = (\theta_i x_i)\,x_i$ is a product, right while $|n\theta_i| \le 3$, and elsewhere
    $1 - S = 0$ switches the sum off.

    Args:
        n: number of inputs.
        alpha: of the model.

    Raises:
        ValueError: for n below 1, or alpha outside (0, 1).

    Source: M21, Separation 4, which claims it; constructed in the chapter.

    Examples:
        >>> network = leaky_feed_forward(16, 0.2)
        >>> network.depth, network.edges
        (17, 805)
    """
    n = _validate.integer("n", n, at_least=1)
    alpha = _validate.probability("alpha", alpha)
    circuit = Circuit(n)
    z, parity, closed = circuit.selection()
    # n θ_i/3 from z_i and x_i, then u/8: in [−1, 1] wherever 1 − S is not 0.
    weights = [circuit.product(circuit.unit([(u, n / 3)]), i) for i, u in enumerate(z)]
    eighth = circuit.unit(
        [(u, 1 / 8) for u in z] + [(w, 3 * _OFFSET * alpha / (8 * n)) for w in weights]
    )
    linear, masked = circuit.product(closed, eighth), circuit.product(closed, parity)
    # f = −(1 − S) + 2σ((P + 1)/2) − 1 with P = (1 − S) u + H − (1 − S) H.
    half = circuit.unit([(linear, 4.0), (parity, 0.5), (masked, -0.5)], 0.5, sigmoid=True)
    circuit.unit([(half, 2.0), (closed, -1.0)], -1.0)
    return circuit.network()


# --- a start at zero ----------------------------------------------------------------------------


def unbiased_accuracy_bound(problem: LeakyParities) -> float:
    r"""$(1 - \alpha)/\sqrt{|\mathcal P|}$: from an unbiased start gradient descent can leave it on
    all members only if $\tau/R_0$ is smaller, where $R_0 = \sup_x \|\nabla f_{\theta_0}(x)\| \le
    C_f$.

    It holds for models with any number of parameters.

    Source: proved in the chapter, after M21, Separation 5.

    Examples:
        >>> round(unbiased_accuracy_bound(LeakyParities(n=10, alpha=0.2)), 4)
        0.0251
    """
    return (1 - problem.alpha) / math.sqrt(problem.size)


def population_gradients(
    apply: Any, params: Any, problem: LeakyParities
) -> tuple[Float[Array, " members"], Float[Array, ""]]:
    r"""$\|\nabla\mathcal L_I(f_\theta)\|$ for every member at once, and $R_0 = \max_x \|\nabla
    f_\theta(x)\|$.

    With $g = f\,\nabla f$ the gradient is $(1 - \alpha)\bigl(\mathbb E_{\mathcal U}\, g - \hat
    {\nabla f}(I)\bigr) + \alpha\, g(x^I)$: one Walsh–Hadamard transform.

    Args:
        apply: a model with one output, `apply(params, x)`.
        params: its parameters.
        problem: with n at most `MAX_ENUMERATION`.

    Raises:
        ValueError: if n is too large to enumerate.

    Examples:
        >>> problem = LeakyParities(n=3, alpha=0.25)
        >>> model = lambda theta, x: leaky_selector(theta, x, 0.25)
        >>> norms, largest = population_gradients(model, jnp.zeros(3), problem)
        >>> float(jnp.min(norms)) > 1
        True
    """
    points, numbers, _ = _members(problem)
    features = tangent_features(apply, params, points)
    return _gradient_norms(
        features[:, 0], features[:, 1:], jnp.asarray(numbers), jnp.asarray(problem.alpha)
    )


@jax.jit
def _gradient_norms(
    values: Array, slopes: Array, numbers: Array, alpha: Any
) -> tuple[Array, Array]:
    products = values[:, None] * slopes
    smooth = jnp.mean(products, axis=0) - walsh_hadamard(slopes)[numbers]
    gradients = (1 - alpha) * smooth + alpha * products[len(values) - 1 - numbers]
    largest = jnp.max(jnp.sum(slopes**2, axis=1))
    return jnp.sqrt(jnp.sum(gradients**2, axis=1)), jnp.sqrt(largest)


# --- the ledger ---------------------------------------------------------------------------------


@functools.cache
def _apply(alpha: float, repaired: bool | str = True) -> Any:
    """The model as `apply(theta, x)`, the same object for the same arguments."""
    return functools.partial(leaky_selector, alpha=alpha, repaired=repaired)


@functools.partial(jax.jit, static_argnums=3)
def _kernel(theta: Array, x: Array, alpha: Any, repaired: bool | str) -> Array:
    """The tangent kernel with the output's feature, by forward differentiation."""
    value, slope = _model(theta, x, alpha, repaired), jax.jacfwd(_model)(theta, x, alpha, repaired)
    return jnp.outer(value, value) + slope @ slope.T


@result(
    "M21",
    "Section 5, leaky parities",
    chapter="leaky_parities",
    theorem="prop-leaky-moments",
    falsified_by={"coin": 0.6},
    sweep=[{"n": 2, "size": 2}, {"n": 9, "size": 9}, {"alpha": 0.9}],
)
def moments_of_leaky_parities(
    n: int = 6, size: int = 3, alpha: float = 0.2, coin: float = 0.5
) -> list[Check]:
    """A leaky parity has E x = α·x^I and labels that are uncorrelated with every affine function,
    and no affine predictor beats the null risk 1/2.

    By enumeration of the pairs (x, y); `coin` is the chance of y = 1 on the leaking examples.
    """
    problem, subset = LeakyParities(n, alpha), tuple(range(size))
    points = np.asarray(hypercube(n))
    parities = np.prod(points[:, :size], axis=1)
    leak = np.where(np.arange(n) < size, 1, -1)
    mean = (1 - alpha) * np.mean(points, axis=0) + alpha * leak
    affine = np.concatenate([np.ones((len(points), 1)), points], axis=1)
    there = np.concatenate([np.ones(1), leak])
    label = (1 - alpha) * parities @ affine / len(points) + alpha * (2 * coin - 1) * there
    second = (1 - alpha) * affine.T @ affine / len(points) + alpha * np.outer(there, there)
    gain = label @ np.linalg.solve(second, label) / 2
    error = np.max(np.abs(np.asarray(problem.moments(subset).mean) - mean))
    tolerance = rounding_tolerance()
    return [
        Check("error of E x", float(error), "<=", 0, tolerance),
        Check("largest |E y·(1, x)|", float(np.max(np.abs(label))), "<=", 0, tolerance),
        Check("loss of the best affine predictor", 0.5 - float(gain), "==", 0.5, tolerance),
    ]


def _regime(n: int, count: int, seed: int, low: float) -> tuple[Array, Array]:
    """θ with coordinates in [low/n, 2/n] and, one or more, in [3/n, 5/n]; and which are those."""
    draw = np.random.default_rng(seed)
    chosen = draw.random((count, n)) < 0.4
    chosen[np.arange(count), draw.integers(n, size=count)] = True
    theta = np.where(chosen, draw.uniform(3, 5, (count, n)), draw.uniform(low, 2, (count, n)))
    return jnp.asarray(theta / n, jnp.result_type(float)), jnp.asarray(chosen)


@result(
    "M21",
    "Equations (17)–(19)",
    chapter="leaky_parities",
    theorem="thm-leaky-regimes",
    falsified_by={"low": -2.7},
    sweep=[{"n": 3}, {"alpha": 0.9}, {"repaired": False}, {"low": -2.0}],
)
def leaky_regimes(
    n: int = 6,
    alpha: float = 0.2,
    draws: int = 40,
    repaired: bool | str = True,
    low: float = 0.0,
    seed: int = 0,
) -> list[Check]:
    """To first order at θ = 0 the model is −1 + 2⟨θ, x + (5/3)α·1⟩, and it is the parity of the
    coordinates with θᵢ ≥ 3/n when the others lie in [0, 2/n].

    All points of the cube, random θ in the second regime, whose lower end is `low`/n; the repaired
    model allows −2.
    """
    x = hypercube(n)
    thetas, chosen = _regime(n, draws, seed, low)

    @jax.jit
    def distances() -> tuple[Array, Array, Array]:
        def error(pair: tuple[Array, Array]) -> Array:
            parity = jnp.prod(jnp.where(pair[1], x, 1), axis=1)
            return jnp.max(jnp.abs(_model(pair[0], x, alpha, repaired) - parity))

        nowhere = jnp.zeros(n)
        slope = jax.jacfwd(lambda theta: _model(theta, x, alpha, repaired))(nowhere)
        return (
            jnp.max(jax.lax.map(error, (thetas, chosen))),
            jnp.max(jnp.abs(_model(nowhere, x, alpha, repaired) + 1)),
            jnp.max(jnp.abs(slope - 2 * (x + _OFFSET * alpha))),
        )

    worst, start, linear = distances()
    tolerance = rounding_tolerance()
    return [
        Check("distance from the parity", float(worst), "<=", 0, tolerance),
        Check("distance of f₀ from −1", float(start), "<=", 0, tolerance),
        Check("distance of the slope at 0", float(linear), "<=", 0, tolerance),
    ]


@result(
    "M21",
    "Section 5, scale of the model",
    chapter="leaky_parities",
    theorem="thm-leaky-scale",
    falsified_by={"repaired": False},
    sweep=[{"alpha": 0.95}, {"n": 4}],
)
def leaky_scale_is_linear(n: int = 16, alpha: float = 0.2, repaired: bool | str = True) -> Check:
    """The repaired model has scale C_f of at most √(((52 + 40α)n + 2(1 + (5/3)α)√n)² + 4).

    The largest value that a search along the gradient finds. With `repaired=False` it is the
    printed model, which exceeds the bound by a factor that grows like (5/4)ⁿ.
    """
    found, _, _ = largest_leaky_scale(n, alpha, repaired=repaired, starts=12, steps=80)
    return Check(f"largest scale found at n = {n}", float(found), "<=", leaky_scale_bound(n, alpha))


@result(
    "M21",
    "Section 5, scale of the printed model",
    chapter="leaky_parities",
    theorem="prop-leaky-scale-printed",
    falsified_by={"repaired": True},
    sweep=[{"alpha": 0.9}, {"n": 8, "alpha": 0.999}],
)
def printed_leaky_scale_grows(
    n: int = 32, alpha: float = 0.2, repaired: bool = False
) -> list[Check]:
    """The first term of (18) alone gives the model a scale C_f of at least n√n, whichever H it has,
    and the printed H one of at least 2n(5/4)^(n − 1) for n ≥ 8.

    The gradient at θ = 1/n² with H repaired and as printed, and where all but one coordinate are
    half selected; x = 1. With `repaired=True` it is the repaired model at the same places.
    """
    flat, half = jnp.full(n, 1 / n**2), printed_scale_witness(n)
    places: list[tuple[str, Array, bool | str, float]] = [
        ("n√n, H repaired", flat, "parity", n**1.5),
        ("n√n, H printed", flat, False, n**1.5),
        ("2n(5/4)^(n−1)", half, False, 2 * n * 1.25 ** (n - 1)),
    ]
    checks = []
    for name, theta, version, bound in places:
        version = True if repaired else version
        found = float(leaky_scale(theta, jnp.ones((1, n)), alpha, repaired=version)[0])
        checks.append(Check(f"scale over {name}, n = {n}", found / bound, ">=", 1))
    return checks


@result(
    "M21",
    "Claim 6",
    chapter="leaky_parities",
    theorem="thm-leaky-step",
    exercise="ex-best-offset",
    falsified_by={"error_scale": 1.5},
    sweep=[{"alpha": 0.9}, {"alpha": 0.01, "size": 6}, {"repaired": False}],
)
def leaky_step_learns(
    n: int = 6,
    size: int = 3,
    alpha: float = 0.2,
    error_scale: float = 1.0,
    repaired: bool | str = True,
) -> list[Check]:
    """One step of size 3/(4αn) from θ = 0 with any gradient error of norm at most 4α/3 reaches
    loss α on every leaky parity.

    The loss without error on all members, and after the worst error that gradient ascent finds on
    one; and, for n = 1024 in closed form, how far an error can bring a coordinate from 4/n on the
    subset and 1/n off it, in units of 1/n. `error_scale` multiplies the error.
    """
    problem, subset = LeakyParities(n, alpha), tuple(range(size))
    losses = losses_after_step(problem, repaired=repaired)
    norm = error_scale * leaky_tolerated_error(problem)
    worst = worst_leaky_error(problem, subset, norm, starts=4, steps=20, repaired=repaired)
    large = LeakyParities(1024, alpha)
    inside = jnp.arange(1024) < 300
    error = jnp.zeros(1024).at[0].set(error_scale * leaky_tolerated_error(large))
    moved = 1024 * leaky_one_step(large, range(300), error=error) - jnp.where(inside, 4, 1)
    tolerance = rounding_tolerance()
    spread = float(jnp.max(jnp.abs(losses - alpha)))
    return [
        Check("distance of the loss from α, all members", spread, "<=", 0, tolerance),
        Check("loss after the worst error", float(worst.loss), "<=", alpha, tolerance),
        Check(
            "n·|θ − target|, n = 1024",
            float(jnp.max(jnp.abs(moved))),
            "<=",
            1,
            rounding_tolerance(10),
        ),
    ]


@result(
    "M21",
    "Claim 6, printed step",
    chapter="leaky_parities",
    theorem="prop-leaky-step-printed",
    falsified_by={"step_size": None},
    sweep=[{"alpha": 0.4}, {"repaired": False}],
)
def printed_leaky_step_fails(
    n: int = 6,
    alpha: float = 0.9,
    step_size: float | None = 1.0,
    repaired: bool | str = True,
) -> list[Check]:
    """The step η = 1 selects every coordinate when αn ≥ 9/4, which leaves loss 1 on every member
    but that of all n bits.

    By enumeration on all members. `None` is the corrected step size.
    """
    problem = LeakyParities(n, alpha)
    losses = losses_after_step(problem, step_size=step_size, repaired=repaired)
    tolerance = rounding_tolerance()
    return [
        Check("smallest loss, |I| < n", float(jnp.min(losses[:-1])), "==", 1, tolerance),
        Check("largest loss, |I| < n", float(jnp.max(losses[:-1])), "==", 1, tolerance),
        Check("loss, |I| = n", float(losses[-1]), "==", alpha, tolerance),
    ]


@result(
    "M21",
    "Claim 7",
    chapter="leaky_parities",
    theorem="thm-leaky-tangent-kernel",
    falsified_by={"start": 1.0},
    sweep=[{"n": 3, "size": 2}, {"alpha": 0.9, "size": 6}, {"repaired": False}],
)
def tangent_kernel_has_no_edge(
    n: int = 6,
    size: int = 3,
    alpha: float = 0.2,
    start: float = 0.0,
    repaired: bool | str = True,
) -> list[Check]:
    """At θ = 0 the tangent kernel is 1 + 4⟨x + (5/3)α·1, x′ + (5/3)α·1⟩, which has edge 0 on every
    leaky parity, whatever the norm.

    The kernel by automatic differentiation, the edge in the whole space by enumeration. With
    `start` > 0 the kernel is taken where that many units of 4/n select the coordinates of I.
    """
    member, x = LeakyParities(n, alpha).distribution(range(size)), hypercube(n)
    theta = jnp.where(jnp.arange(n) < size, 4 * start / n, 0.0)
    kernel = _kernel(theta, x, alpha, repaired)
    distance = jnp.max(jnp.abs(kernel - leaky_tangent_kernel(x, x, alpha)))
    best = float(edge(lambda *_: kernel, member).edge)
    tolerance = rounding_tolerance()
    scale = 4 * n * (1 + _OFFSET * alpha) ** 2
    return [
        Check("distance from the formula", float(distance), "<=", 0, scale * tolerance),
        Check("edge in the whole space", best, "<=", 0, tolerance),
    ]


@result(
    "M21",
    "Claim 7, printed kernel",
    chapter="leaky_parities",
    theorem="prop-leaky-kernel-printed",
    falsified_by={"with_offset": False},
    sweep=[{"alpha": 0.9}],
)
def printed_kernel_is_off(n: int = 6, alpha: float = 0.2, with_offset: bool = True) -> Check:
    """The printed kernel 1 + (100/9)α² + 4⟨x, x′⟩ differs from the tangent kernel at θ = 0 by as
    much as (40/3)αn + (100/9)α²(n − 1).

    The largest difference over all pairs of points, by automatic differentiation.
    `with_offset=False` leaves (5/3)α·1 out of the model.
    """
    x = hypercube(n)

    kernel = _kernel(jnp.zeros(n), x, alpha if with_offset else 0.0, True)
    off = jnp.max(jnp.abs(kernel - leaky_tangent_kernel(x, x, alpha, printed=True)))
    promised = 40 / 3 * alpha * n + 100 / 9 * alpha**2 * (n - 1)
    return Check("largest difference", float(off), "==", promised, rounding_tolerance(promised))


@result(
    "M21",
    "Separation 3",
    chapter="leaky_parities",
    theorem="cor-separation-three",
    falsified_by={"alpha_of_epsilon": 2.0},
    sweep=[{"epsilon": 0.01}, {"epsilon": 0.45}],
)
def separation_without_an_edge(epsilon: float = 0.1, alpha_of_epsilon: float = 1.0) -> list[Check]:
    """On the leaky parity of two bits with α = ε one step with gradient accuracy 4ε/3 reaches loss
    ε, while the tangent kernel at the start has edge 0.

    The loss after the worst gradient error, and the exact edge. `alpha_of_epsilon=2` is the printed
    choice of α.
    """
    problem = LeakyParities(2, alpha_of_epsilon * epsilon)
    member = problem.distribution((0, 1))
    norm = leaky_tolerated_error(problem)
    worst = worst_leaky_error(problem, (0, 1), norm, starts=4, steps=20)
    kernel = functools.partial(leaky_tangent_kernel, alpha=problem.alpha)
    tolerance = rounding_tolerance()
    accuracy = norm / leaky_scale_bound(2, problem.alpha) / epsilon
    return [
        Check("loss after the worst error", float(worst.loss), "==", epsilon, tolerance),
        Check("edge of the tangent kernel", float(edge(kernel, member).edge), "<=", 0, tolerance),
        Check("accuracy τ/(C_f ε)", accuracy, ">=", 1 / 150),
    ]


@result(
    "M21",
    "Separation 4",
    chapter="leaky_parities",
    theorem="cor-separation-four",
    falsified_by={"sparse": 3},
    sweep=[{"exponent": 3.0}, {"power": 4, "sizes": (128, 1024)}],
)
def separation_from_every_kernel(
    exponent: float = 1.0,
    power: int = 2,
    sizes: Sequence[int] = (64, 256, 1024),
    sparse: int | None = None,
) -> list[Check]:
    """With α = ε = n^(−a) gradient descent needs accuracy τ/C_f of the order ε/n for loss ε, while
    kernels of polynomial dimension or norm, random ones too, have an edge below 2^(−n/4).

    nτ/(C_f ε) for the proved C_f, and the bounds for dimension and norm n^power. With `sparse` only
    parities of so many bits are asked for, of which there are too few.
    """
    checks = []
    for n in sizes:
        epsilon = n**-exponent
        problem = LeakyParities(n, epsilon)
        size = problem.size if sparse is None else math.comb(n, sparse)
        accuracy = n * leaky_tolerated_error(problem) / leaky_scale_bound(n, epsilon) / epsilon
        # As logarithms: at n = 1024 the bounds leave the range of numbers.
        log_size = math.log2(size)
        by_dimension = power * math.log2(n) - 1 - log_size
        by_norm = power * math.log2(n) - log_size / 2
        checks += [
            Check(f"nτ/(C_f ε) at n = {n}", accuracy, ">=", 1 / 75),
            Check(f"log₂ edge, p = n^{power}, n = {n}", by_dimension, "<=", -n / 4),
            Check(f"log₂ edge, B = n^{power}, n = {n}", by_norm, "<=", -n / 4),
        ]
    return checks


@result(
    "M21",
    "Separation 4, the network",
    chapter="leaky_parities",
    theorem="prop-leaky-network",
    falsified_by={"repaired": "parity"},
    sweep=[{"n": 1}, {"n": 5, "alpha": 0.9}],
)
def network_computes_the_model(
    n: int = 16, alpha: float = 0.2, draws: int = 10, repaired: bool | str = True, seed: int = 0
) -> list[Check]:
    """A feed-forward network of depth 2 log₂ n + 9, rounded up, with 50n + 5 edges computes the
    repaired model.

    The largest difference over random θ, in the regimes and far outside, and random x. With
    `repaired="parity"` it is compared with the printed first term.
    """
    network = leaky_feed_forward(n, alpha)
    model = functools.partial(leaky_selector, alpha=alpha, repaired=repaired)
    worst = network.largest_difference(model, draws=draws, seed=seed)
    return [
        Check("difference from the model", worst, "<=", 0, rounding_tolerance()),
        Check("edges", network.edges, "<=", 50 * n + 5),
        Check("depth", network.depth, "<=", 2 * math.ceil(math.log2(n)) + 9),
    ]


@result(
    "M21",
    "Separation 5",
    chapter="leaky_parities",
    theorem="cor-separation-five",
    exercise="ex-parseval-attained",
    falsified_by={"offset": -1.0},
    sweep=[{"alpha": 0.8}, {"width": 4, "seed": 1}],
)
def separation_by_the_start(
    n: int = 6, alpha: float = 0.2, width: int = 16, offset: float = 0.0, seed: int = 0
) -> list[Check]:
    """Unbiased gradient descent can improve on loss 1/2 on all leaky parities only if τ/C_f is
    below √((1 − α)p/|P|), with any model; from a biased start τ/C_f of the order α/n is enough.

    The smallest norm of a population gradient over all members, over R₀, for a two-layer ReLU
    network that starts at the constant `offset`: an error of that norm keeps it there. And the
    accuracy that the biased model of the chapter stands, over α/n.
    """
    problem = LeakyParities(n, alpha)
    norms, largest, p = _gradients_of_a_network(problem, width, offset, seed)
    smallest = float(jnp.min(norms) / largest)
    by_theorem_four = math.sqrt(2 * problem.edge_bound(dimension_bound(p, problem.size)))
    accuracy = n * leaky_tolerated_error(problem) / leaky_scale_bound(n, alpha) / alpha
    # R₀ ≤ C_f: a smaller τ/R₀ is a smaller τ/C_f.
    return [
        Check("smallest gradient over R₀", smallest, "<=", by_theorem_four, rounding_tolerance()),
        Check(
            "smallest gradient over R₀, sharper",
            smallest,
            "<=",
            unbiased_accuracy_bound(problem),
            rounding_tolerance(),
        ),
        Check("accuracy of the biased start, n·τ/(C_f α)", accuracy, ">=", 1 / 75),
    ]


@functools.cache
def _network(width: int, offset: float) -> tuple[Any, Any]:
    network = networks.unbiased(networks.mlp((width, 1), b_std=1.0))
    return network.init, lambda params, x: network.apply(params, x)[:, 0] + offset


def _gradients_of_a_network(
    problem: LeakyParities, width: int, offset: float, seed: int
) -> tuple[Array, Array, int]:
    init, apply = _network(width, offset)
    params = init(jax.random.key(seed), problem.n)
    norms, largest = population_gradients(apply, params, problem)
    return norms, largest, ravel_pytree(params)[0].size


@result(
    "M21",
    "Separation 5, sharper",
    chapter="leaky_parities",
    theorem="thm-unbiased-gradient",
    exercise="ex-parseval-attained",
    falsified_by={"offset": -0.5, "claimed_bias": 0.0},
    sweep=[{"offset": 0.0}, {"offset": 1.0, "alpha": 0.8}, {"width": 4, "seed": 2}],
)
def gradients_of_parities_are_small(
    n: int = 6,
    alpha: float = 0.2,
    width: int = 16,
    offset: float = -0.1,
    claimed_bias: float | None = None,
    seed: int = 0,
) -> list[Check]:
    """If |f| ≤ δ at the start, the population gradients over all leaky parities have a root mean
    square of at most R₀(δ + (1 − α)/√|P|), whatever the number of parameters.

    A two-layer ReLU network whose output starts at `offset`, δ = |offset|, by enumeration of the
    cube and of all members. `claimed_bias` is a δ that is not one.
    """
    problem = LeakyParities(n, alpha)
    norms, largest, _ = _gradients_of_a_network(problem, width, offset, seed)
    bias = abs(offset) if claimed_bias is None else claimed_bias
    bound = bias + unbiased_accuracy_bound(problem)
    found = float(jnp.sqrt(jnp.mean(norms**2)) / largest)
    return [
        Check("root mean square gradient over R₀", found, "<=", bound, rounding_tolerance()),
    ]


@result(
    "M21",
    "Theorem 5 on leaky parities",
    chapter="leaky_parities",
    theorem="prop-label-free-step",
    falsified_by={"steps": 0},
    sweep=[{"alpha": 0.05, "size": 6}, {"n": 3, "size": 2}],
)
def label_free_step_finds_the_parity(
    n: int = 6, size: int = 3, alpha: float = 0.2, steps: int = 1
) -> list[Check]:
    """The run without labels takes the same first step as gradient descent, and the average of the
    tangent kernels along it, of rank at most 2(n + 1), has edge at least (1 − α)²/2 on the member
    whose inputs it saw, where the kernel at the start has none.

    Edges by enumeration, for B = C_f as proved; `steps=0` leaves the run where it starts.
    """
    problem, subset = LeakyParities(n, alpha), tuple(range(size))
    member, apply = problem.distribution(subset), _apply(alpha)
    path = label_free_run(
        apply, jnp.zeros(n), member, step_size=leaky_step_size(problem), steps=steps
    )
    kernel = average_tangent_kernel(apply, path, hypercube(n))
    scale = leaky_scale_bound(n, alpha)
    found = float(edge(kernel.features, member, scale).edge)
    promised = promised_average_edge(max(0.5 - alpha, 0), leaky_tolerated_error(problem), scale, 1)
    distance = jnp.max(jnp.abs(n * (path[-1] - leaky_one_step(problem, subset))))
    tolerance = rounding_tolerance()
    return [
        Check("n·|θ − that with labels|", float(distance), "<=", 0, 10 * tolerance),
        Check("rank", kernel.rank, "<=", 2 * (n + 1)),
        Check("edge of the average kernel", found, ">=", (1 - alpha) ** 2 / 2, tolerance),
        Check("the same, promised", found, ">=", promised.edge, tolerance),
    ]
