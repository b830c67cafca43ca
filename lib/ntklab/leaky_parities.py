r"""Leaky parities: gradient descent learns from a biased start what no kernel has an edge on.

The model of Malach et al. with its output at −1, as printed and repaired, its regimes and scale,
one step of gradient descent under the worst gradient error, its tangent kernel, and why a start at
zero would need exponentially exact gradients.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _search, _validate
from ntklab.circuits import Circuit, FeedForward, quadratic_sigmoid
from ntklab.cube import hypercube, subset_number, walsh_hadamard
from ntklab.problems import LeakyParities, square_loss
from ntklab.sparse_parities import (
    WorstError,
    gate,
    parity_of_selection,
    selection,
    zero_of_a_factor,
)
from ntklab.weak_learning import tangent_features

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
# The model repaired, as printed, or with its parity repaired and its first term as printed.
Version = Literal[True, False, "parity"]

# The offset 5/3 of the inputs, in units of α.
_OFFSET = 5 / 3


# --- the model ----------------------------------------------------------------------------------


def leaky_selector(
    theta: Vector, x: Rows, alpha: float, *, repaired: Version = True
) -> Float[Array, " N"]:
    r"""$f_\theta(x) = -(1 - A) + \sigma_{-1,1}^{-1,1}\bigl((1 - A)\,u + A Q\bigr)$ with
    $u = \langle\theta, x + \tfrac53\alpha\mathbf 1\rangle$ and A, Q at $\xi(\theta \circ x)$.

    It is $-1 + 2u$ to first order at $\theta = 0$, and the parity $\prod_{\theta_i \ge 3/n} x_i$
    once every $\theta_i$ is in $[0, 2/n]$ or $[3/n, 5/n]$ and one is in the latter. As printed the
    first term is $\sigma_{0,2/n}^{-1,0}(\langle\theta, \mathbf 1\rangle)$, and Q has the factors
    $1 + s - s^2$.

    Args:
        theta: the n parameters.
        x: points of the cube.
        alpha: share of leaking examples, which the model knows.
        repaired: False for the model as printed; `"parity"` repairs Q and leaves the first term.

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
    theta = _validate.floating("theta", theta, ndim=1)
    x = _validate.points("x", x)
    if x.shape[1] != len(theta):
        raise ValueError(f"x must have shape [N, {len(theta)}] as theta does, got {x.shape}")
    return theta, x, _validate.probability("alpha", alpha)


def _version(repaired: Any) -> Version:
    if not isinstance(repaired, bool) and repaired != "parity":
        raise ValueError(f"repaired must be True, False or 'parity', got {repaired!r}")
    return repaired


def _model(theta: Array, x: Array, alpha: Any, repaired: Version) -> Array:
    s, weights = selection(theta * x), jnp.sum(theta)
    linear = jnp.sum(theta * x, axis=-1) + _OFFSET * alpha * weights
    switch = gate(s)
    # (1 − A) u + A Q, which is the printed sum without its cancellation.
    mixed = (1 - switch) * linear + switch * parity_of_selection(s, repaired=bool(repaired))
    first = switch - 1 if repaired is True else quadratic_sigmoid(theta.size / 2 * weights) - 1
    return first + 2 * quadratic_sigmoid((mixed + 1) / 2) - 1


_outputs = jax.jit(_model, static_argnums=3)


# --- its scale ----------------------------------------------------------------------------------


def leaky_scale(
    theta: Vector, x: Rows, alpha: float, *, repaired: Version = True
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
def _scales(theta: Array, x: Array, alpha: Any, repaired: Version) -> Array:
    return jax.vmap(lambda point: _scale_at(theta, point, alpha, repaired))(x)


def _scale_at(theta: Array, x: Array, alpha: Any, repaired: Version) -> Array:
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
    repaired: Version = True,
    starts: int = 24,
    steps: int = 150,
    seed: int = 0,
    dtype: Any = None,
) -> tuple[Float[Array, ""], Float[Array, " n"], Float[Array, " n"]]:
    r"""The largest `leaky_scale` that a search along its gradient finds, with its $\theta$ and x.

    One quarter of the climbs start at random within reach of the sigmoids, for random x; one
    near $n\theta_i = \tfrac52$ with the last factor of Q held at 0, where the output is not
    saturated; one at $\theta_i$ of the order of $1/n^2$, where the first printed term rises; and
    one at $n\theta_i \approx -2$ for all but one coordinate, whose bit is −1 and which is nearly
    selected, where u is as low as it can be and the gate opens.

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
    key: Array, n: int, alpha: Any, starts: int, steps: int, repaired: Version, dtype: Any
) -> tuple[Array, Array, Array]:
    place_key, sign_key = jax.random.split(key)
    kind = (jnp.arange(starts) % 4)[:, None]
    # In units of 1/n.
    anywhere = jax.random.uniform(place_key, (starts, n), dtype, -3.2, 3.2)
    half = jnp.abs(anywhere) / 3.2 + 2
    half = half.at[:, -1].set(zero_of_a_factor(bool(repaired)))
    small = jnp.abs(anywhere) / 1.6 / n
    # Where P = 0 and the others' u is −2(1 + 5α/3): the outer step is steepest there.
    depth = 2 * (1 + _OFFSET * alpha)
    opened = 3 - jnp.sqrt((1 - jnp.sqrt(depth / (1 + depth))) / 2)
    low = jnp.where(jnp.arange(n) == n - 1, -opened, -2) - 0.05 * jnp.abs(anywhere) / n
    first = jnp.select([kind == 0, kind == 1, kind == 2], [half, small, anywhere], low) / n
    signs = jax.random.rademacher(sign_key, (starts, n), dtype)
    ones = jnp.ones_like(signs)
    x = jnp.select([kind == 2, kind == 3], [signs, ones.at[:, -1].set(-1)], ones)
    held = (kind == 0) & (jnp.arange(n) == n - 1)
    pace = jnp.select([kind == 1, kind == 3], [1 / n, 0.1], 1.0).astype(dtype) / n

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
    _validate.instance("problem", problem, LeakyParities)
    return 3 / (4 * problem.alpha * problem.n)


def leaky_tolerated_error(problem: LeakyParities) -> float:
    r"""$\tau = \tfrac43\alpha$, the largest gradient error under which the step finds the parity.

    Source: M21, Claim 6.

    Examples:
        >>> round(leaky_tolerated_error(LeakyParities(n=10, alpha=0.3)), 6)
        0.4
    """
    _validate.instance("problem", problem, LeakyParities)
    return 4 * problem.alpha / 3


def leaky_one_step(
    problem: LeakyParities,
    subset: Sequence[int],
    *,
    error: Vector | None = None,
    step_size: float | None = None,
    dtype: Any = None,
) -> Float[Array, " n"]:
    r"""$\theta^{(1)} = -\eta\,(\nabla L(f_0) + e)$ with $-\nabla L(f_0) =
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
    _validate.instance("problem", problem, LeakyParities)
    gradient = -2 * problem.alpha * (problem.leak(subset, dtype=dtype) + _OFFSET)
    if error is not None:
        given = _validate.floating("error", error, ndim=1)
        if given.shape != gradient.shape:
            raise ValueError(f"error must have shape {gradient.shape}, got {given.shape}")
        gradient = gradient + given.astype(gradient.dtype)
    size = leaky_step_size(problem)
    if step_size is not None:
        size = _validate.number("step_size", step_size)
    return -size * gradient


def losses_after_step(
    problem: LeakyParities, *, step_size: float | None = None, repaired: Version = True
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
    _validate.instance("problem", problem, LeakyParities)
    with jax.ensure_compile_time_eval():
        points = hypercube(problem.n)  # first: it refuses an n whose subsets take long to count
        numbers = np.array([subset_number(subset) for subset in problem.subsets()])
        # The bits of x^I are set off I.
        leaks = np.asarray(points)[len(points) - 1 - numbers]
        return points, numbers, _validate.from_numpy(leaks, points.dtype)


@functools.partial(jax.jit, static_argnums=4)
def _losses(size: Any, leaks: Array, points: Array, alpha: Any, repaired: Version) -> Array:
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
    repaired: Version = True,
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
    _validate.instance("problem", problem, LeakyParities)
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
    printed = _validate.flag("printed", printed)
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
    $1 - A = 0$ switches the sum off.

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
    # n θ_i/3 from z_i and x_i, then u/8: in [−1, 1] wherever 1 − A is not 0.
    weights = [circuit.product(circuit.unit([(u, n / 3)]), i) for i, u in enumerate(z)]
    eighth = circuit.unit(
        [(u, 1 / 8) for u in z] + [(w, 3 * _OFFSET * alpha / (8 * n)) for w in weights]
    )
    linear, masked = circuit.product(closed, eighth), circuit.product(closed, parity)
    # f = −(1 − A) + 2σ((P + 1)/2) − 1 with P = (1 − A) u + Q − (1 − A) Q.
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
    _validate.instance("problem", problem, LeakyParities)
    return (1 - problem.alpha) / math.sqrt(problem.size)


def population_gradients(
    apply: Any, params: Any, problem: LeakyParities
) -> tuple[Float[Array, " members"], Float[Array, ""]]:
    r"""$\|\nabla L_I(f_\theta)\|$ for every member at once, and $R_0 = \max_x \|\nabla
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
