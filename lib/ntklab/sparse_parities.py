r"""Biased sparse parities: gradient descent learns in one step what every kernel barely sees.

The selector model of Malach et al. as printed and repaired, its regimes, its scale, one step of
gradient descent under the worst gradient error, the edge of its tangent kernel in closed form, a
feed-forward network that computes it, and the training of ordinary networks on the same problem.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _extras, _search, _validate, networks
from ntklab.circuits import Circuit, FeedForward, quadratic_sigmoid
from ntklab.edges import edge_from_moments
from ntklab.linearization import linearize
from ntklab.problems import SparseParities, sample_sparse_parity, square_loss

__all__ = [
    "TrainingCurves",
    "WorstError",
    "feed_forward_selector",
    "gate",
    "largest_scale",
    "one_step",
    "parity_of_selection",
    "printed_scale_witness",
    "rescaled_sigmoid",
    "selection",
    "selector",
    "selector_scale",
    "selector_scale_bound",
    "step_size",
    "tangent_edge",
    "tolerated_error",
    "train_on_parity",
    "worst_gradient_error",
    "zero_of_a_factor",
]

Vector = Float[Array | np.ndarray, " n"]
Rows = Float[Array | np.ndarray, "N n"]

# --- the selector model -------------------------------------------------------------------------


def rescaled_sigmoid(
    z: Float[Array | np.ndarray, "*shape"],
    *,
    start: float,
    end: float,
    low: float,
    high: float,
) -> Float[Array, "*shape"]:
    r"""$\sigma_{a,b}^{c,d}(z) = c + (d - c)\,\sigma\bigl(\tfrac{z - a}{b - a}\bigr)$: rises from c
    at a to d at b.

    Args:
        z: any array.
        start: a.
        end: b, above a.
        low: c, the value up to a.
        high: d, the value from b on.

    Raises:
        ValueError: if b is not above a.

    Source: M21, section 3.

    Examples:
        >>> rescaled_sigmoid(jnp.array([-2.0, 0.0, 1.0]), start=-1, end=1, low=-1, high=1).tolist()
        [-1.0, 0.0, 1.0]
    """
    z = _validate.floating("z", z, min_ndim=0)
    start, end = _validate.number("start", start), _validate.number("end", end)
    if end <= start:
        raise ValueError(f"end must be above start = {start:g}, got {end:g}")
    low, high = _validate.number("low", low), _validate.number("high", high)
    return low + (high - low) * quadratic_sigmoid((z - start) / (end - start))


def selection(z: Float[Array | np.ndarray, "*places n"]) -> Float[Array, "*places n"]:
    r"""$\xi(z)_i = \sigma(n z_i - 2) - \sigma(-n z_i - 2)$: 0 up to $|z_i| = 2/n$, the sign of
    $z_i$ from $3/n$ on.

    Args:
        z: $\theta \circ x$, with n coordinates on the last axis.

    Raises:
        ValueError: for NaN or a scalar.

    Source: M21, equation (13).

    Examples:
        >>> selection(jnp.array([0.5, -1.5, 1.0, 0.625])).tolist()
        [0.0, -1.0, 1.0, 0.5]
    """
    z = _validate.floating("z", z, min_ndim=1)
    return _selection(z)


def _selection(z: Array) -> Array:
    scaled = z.shape[-1] * z
    return quadratic_sigmoid(scaled - 2) - quadratic_sigmoid(-scaled - 2)


def gate(s: Float[Array | np.ndarray, "*places n"]) -> Float[Array, "*places"]:
    r"""$A(s) = 1 - \prod_i (1 - s_i^2)$: 1 as soon as one coordinate is selected, 0 if none is.

    Args:
        s: a selection, entries in [−1, 1].

    Raises:
        ValueError: for NaN or a scalar.

    Source: M21, equation (11).

    Examples:
        >>> gate(jnp.array([[0.0, 0.0], [0.0, -1.0], [0.5, 0.0]])).tolist()
        [0.0, 1.0, 0.25]
    """
    return 1 - _product(1 - _validate.floating("s", s, min_ndim=1) ** 2)


def parity_of_selection(
    s: Float[Array | np.ndarray, "*places n"], *, repaired: bool = True
) -> Float[Array, "*places"]:
    r"""$Q(s) = \prod_i \bigl(1 - 2\sigma(-s_i)\bigr)$: the product of the selected signs.

    With `repaired=False` the printed factors $1 + s_i - s_i^2$: the same on {−1, 0, 1}, but up to
    5/4 in between.

    Args:
        s: a selection, entries in [−1, 1].
        repaired: whether to use the factors that stay in [−1, 1].

    Raises:
        ValueError: for NaN or a scalar.

    Source: M21, equation (12), and its repair in the chapter.

    Examples:
        >>> parity_of_selection(jnp.array([-1.0, 0.0, 1.0])).tolist()
        -1.0
        >>> parity_of_selection(jnp.full(4, 0.5), repaired=False).tolist() == 1.25**4
        True
    """
    repaired = _validate.flag("repaired", repaired)
    s = _validate.floating("s", s, min_ndim=1)
    return _product(1 - 2 * quadratic_sigmoid(-s) if repaired else 1 + s - s**2)


def _product(factors: Array) -> Array:
    """The product over the last axis, as a tree: its derivatives need no division by a factor."""
    while (size := factors.shape[-1]) > 1:
        half = size // 2
        paired = factors[..., :half] * factors[..., half : 2 * half]
        factors = jnp.concatenate([paired, factors[..., 2 * half :]], axis=-1)
    return factors[..., 0]


def selector(theta: Vector, x: Rows, *, repaired: bool = True) -> Float[Array, " N"]:
    r"""$f_\theta(x) = \sigma_{-1,1}^{-1,1}\bigl(\langle\theta, x\rangle + \mathcal G(\theta \circ
    x)\bigr)$ with $\mathcal G(z) = A(\xi(z))\,(Q(\xi(z)) - \sum_i z_i)$.

    A linear predictor $2\langle\theta, x\rangle$ near $\theta = 0$, and the parity
    $\prod_{\theta_i \ge 3/n} x_i$ once every $\theta_i$ is in $[-2/n, 2/n]$ or $[3/n, 5/n]$ and one
    is in the latter.

    Args:
        theta: the n parameters.
        x: points of the cube.
        repaired: whether Q is the one of `parity_of_selection` that keeps the scale O(n).

    Raises:
        ValueError: for NaN or shapes that do not fit.

    Source: M21, equations (8)–(13).

    Examples:
        >>> from ntklab.cube import hypercube
        >>> x = hypercube(3)
        >>> theta = jnp.array([4 / 3, 0.2, 4 / 3])
        >>> bool(jnp.all(selector(theta, x) == x[:, 0] * x[:, 2]))
        True
    """
    repaired = _validate.flag("repaired", repaired)
    theta = _validate.floating("theta", theta, ndim=1)
    x = _validate.points("x", x)
    if x.shape[1] != len(theta):
        raise ValueError(f"x must have shape [N, {len(theta)}] as theta does, got {x.shape}")
    return _selector(theta * x, repaired)


@functools.partial(jax.jit, static_argnums=1)
def _selector(z: Array, repaired: bool) -> Array:
    """The model as a function of z = θ ∘ x alone."""
    s, total = _selection(z), jnp.sum(z, axis=-1)
    switch = gate(s)
    # (1 − A)⟨θ, x⟩ + A Q, which is the printed sum without its cancellation.
    mixed = (1 - switch) * total + switch * parity_of_selection(s, repaired=repaired)
    return 2 * quadratic_sigmoid((mixed + 1) / 2) - 1


# --- its scale ----------------------------------------------------------------------------------


def selector_scale(z: Float[Array | np.ndarray, "*places n"], *, repaired: bool = True) -> Array:
    r"""$\sqrt{\|\nabla_\theta f_\theta(x)\|^2 + f_\theta(x)^2}$ at $z = \theta \circ x$; $C_f$ is
    its supremum.

    Since x only has signs, the norm of the gradient depends on z alone.

    Args:
        z: $\theta \circ x$; further axes are further places.
        repaired: which Q.

    Raises:
        ValueError: for NaN or a scalar.

    Source: M21, section 2.

    Examples:
        >>> selector_scale(jnp.zeros(4)).tolist()
        4.0
    """
    repaired = _validate.flag("repaired", repaired)
    z = _validate.floating("z", z, min_ndim=1)
    return _scale(z, repaired)


@functools.partial(jax.jit, static_argnums=1)
def _scale(z: Array, repaired: bool) -> Array:
    rows = jax.vmap(functools.partial(_scale_at, repaired=repaired))(z.reshape(-1, z.shape[-1]))
    return rows.reshape(z.shape[:-1])


def _scale_at(z: Array, repaired: bool) -> Array:
    value, slope = jax.value_and_grad(lambda place: _selector(place, repaired))(z)
    # A square root has no derivative at 0, where both vanish.
    return jnp.sqrt(jnp.sum(slope**2) + value**2 + jnp.finfo(z.dtype).tiny)


def selector_scale_bound(n: int) -> float:
    r"""$C_f \le \sqrt{(2\sqrt n + \tfrac{64}3 n)^2 + 1}$ for the repaired selector.

    Raises:
        ValueError: for n below 1.

    Source: proved in the chapter.

    Examples:
        >>> round(selector_scale_bound(16), 1)
        349.3
    """
    n = _validate.integer("n", n, at_least=1)
    return math.hypot(2 * math.sqrt(n) + 64 / 3 * n, 1)


def printed_scale_witness(n: int, *, dtype: Any = None) -> Float[Array, " n"]:
    r"""A place $z$ where the printed selector's gradient exceeds $(5/4)^{n-1} n$.

    All but one coordinate are half selected, $n z_i = 5/2$ and $\xi_i = \tfrac12$, which puts 5/4
    into each factor of Q; the last one has $\xi = (1 - \sqrt 5)/2$, where its own factor
    $1 + s - s^2$ crosses 0 with slope $\sqrt 5$, so that the output is not saturated.

    Args:
        n: number of coordinates.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for n below 2.

    Source: derived in the chapter; it refutes $C_f = O(n)$ of M21, section 3.

    Examples:
        >>> bool(selector_scale(printed_scale_witness(16), repaired=False) > 16 * 1.25**15)
        True
    """
    n = _validate.integer("n", n, at_least=2)
    z = np.full(n, 2.5)
    z[-1] = zero_of_a_factor(repaired=False)
    return _validate.from_numpy(z / n, _validate.floating_dtype("dtype", dtype))


def largest_scale(
    n: int,
    *,
    repaired: bool = True,
    starts: int = 64,
    steps: int = 200,
    seed: int = 0,
    dtype: Any = None,
) -> tuple[Float[Array, ""], Float[Array, " n"]]:
    r"""The largest `selector_scale` that a search which follows the gradient finds, and its place.

    From `starts` random places it climbs $\log\sqrt{\|\nabla f\|^2 + f^2}$ along its gradient, in
    steps that shrink from 0.3/n to 0.0003/n in the largest coordinate. In half of the climbs the
    last coordinate stays where its factor of Q is 0: there the output is not saturated, however
    large the other factors are, and elsewhere a flat output has no slope to follow.

    Args:
        n: number of coordinates.
        repaired: which Q.
        starts: how many climbs.
        steps: of each climb.
        seed: of the random starts.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for n, starts or steps below 1.

    Examples:
        >>> found, place = largest_scale(4, starts=8, steps=20)
        >>> 8 < float(found) < selector_scale_bound(4)
        True
    """
    repaired = _validate.flag("repaired", repaired)
    n = _validate.integer("n", n, at_least=1)
    starts = _validate.integer("starts", starts, at_least=1)
    steps = _validate.integer("steps", steps, at_least=1)
    dtype = _validate.floating_dtype("dtype", dtype)
    return _climb(jax.random.key(seed), n, starts, steps, repaired, dtype)


def zero_of_a_factor(repaired: bool) -> float:
    r"""The $n z_i$ at which a factor of Q is 0: $\xi = -\tfrac12$, or $(1 - \sqrt 5)/2$ as printed.

    Args:
        repaired: which factor, as in `parity_of_selection`.

    Examples:
        >>> zero_of_a_factor(repaired=True)
        -2.5
    """
    repaired = _validate.flag("repaired", repaired)
    modulus = 0.5 if repaired else (math.sqrt(5) - 1) / 2
    # ξ = −σ(w) at n z = −2 − w, and 1 − 2(1 − w)² is the modulus.
    return -2 - (1 - math.sqrt((1 - modulus) / 2))


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4, 5))
def _climb(
    key: Array, n: int, starts: int, steps: int, repaired: bool, dtype: Any
) -> tuple[Array, Array]:
    pinned = (jnp.arange(starts) % 2 == 0)[:, None] & (jnp.arange(n) == n - 1)
    # In units of 1/n: all within reach of the sigmoids, the pinned climbs half selected at first.
    first = jax.random.uniform(key, (starts, n), dtype, -3.2, 3.2)
    first = jnp.where(jnp.any(pinned, axis=1, keepdims=True), jnp.abs(first) / 3.2 + 2, first)
    first = jnp.where(pinned, zero_of_a_factor(repaired), first) / n
    logarithm = jax.vmap(jax.value_and_grad(lambda z: jnp.log(_scale_at(z, repaired))))
    best, where = _search.climb(logarithm, first, pinned, 1 / n, steps)
    chosen = jnp.argmax(best)
    return jnp.exp(best[chosen]), where[chosen]


# --- one step of gradient descent ---------------------------------------------------------------


def step_size(problem: SparseParities) -> float:
    r"""$\eta = 2^k/(\alpha n)$, the step after which the parity is found.

    Source: M21, Claim 1.

    Examples:
        >>> step_size(SparseParities(n=10, k=3, alpha=0.2))
        4.0
    """
    _validate.instance("problem", problem, SparseParities)
    return 2**problem.k / (problem.alpha * problem.n)


def tolerated_error(problem: SparseParities) -> float:
    r"""$\tau = \alpha/2^k$, the largest gradient error under which the step still finds it.

    Source: M21, Claim 1.

    Examples:
        >>> tolerated_error(SparseParities(n=10, k=3, alpha=0.2))
        0.025
    """
    _validate.instance("problem", problem, SparseParities)
    return problem.alpha / 2**problem.k


def one_step(
    problem: SparseParities,
    subset: Sequence[int],
    *,
    error: Vector | None = None,
    step_scale: float = 1.0,
    dtype: Any = None,
) -> Float[Array, " n"]:
    r"""$\theta^{(1)} = -\eta\,(\nabla\mathcal L(f_0) + e)$ with
    $\nabla\mathcal L(f_0) = -2\,\mathbb E\,yx$, for any n.

    Without error $n\theta^{(1)}_i$ is 4 on I and 1 off I.

    Args:
        problem: the family.
        subset: I.
        error: e, the gradient's error; none if omitted.
        step_scale: multiplies the step size.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for a subset that is no member, or an error of another shape.

    Source: M21, Claim 1.

    Examples:
        >>> problem = SparseParities(n=4, k=2, alpha=0.5)
        >>> (4 * one_step(problem, (0, 1))).tolist()
        [4.0, 4.0, 1.0, 1.0]
    """
    _validate.instance("problem", problem, SparseParities)
    gradient = -2 * problem.moments(subset, dtype=dtype).correlation
    if error is not None:
        given = _validate.floating("error", error, ndim=1)
        if given.shape != gradient.shape:
            raise ValueError(f"error must have shape {gradient.shape}, got {given.shape}")
        gradient = gradient + given.astype(gradient.dtype)
    return -_validate.number("step_scale", step_scale) * step_size(problem) * gradient


class WorstError(NamedTuple):
    """What an adversary of bounded norm achieves against the step.

    Attributes:
        loss: the population loss after the step.
        error: the gradient's error that leads to it.
    """

    loss: Float[Array, ""]
    error: Float[Array, " n"]


def worst_gradient_error(
    problem: SparseParities,
    subset: Sequence[int],
    norm: float,
    *,
    starts: int = 32,
    steps: int = 60,
    seed: int = 0,
    repaired: bool = True,
    dtype: Any = None,
) -> WorstError:
    r"""The gradient error of a given norm that leaves the largest loss after the step, searched.

    Gradient ascent of the exact loss, by enumeration, over the sphere of that radius: from all
    2n axes, along which a single coordinate suffers most, and from random directions.

    Args:
        problem: the family, with n at most `MAX_ENUMERATION`.
        subset: I.
        norm: of the error; `tolerated_error(problem)` is what the step is proved to stand.
        starts: random directions besides the axes.
        steps: of the ascent.
        seed: of the random directions.
        repaired: which Q.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for a negative norm, or an n too large to enumerate.

    Source: M21, Claim 1, where the error is any of norm at most τ.

    Examples:
        >>> problem = SparseParities(n=4, k=2, alpha=0.5)
        >>> tau = tolerated_error(problem)
        >>> float(worst_gradient_error(problem, (0, 1), tau).loss)
        0.0
        >>> float(worst_gradient_error(problem, (0, 1), 2 * tau).loss) > 0.01
        True
    """
    repaired = _validate.flag("repaired", repaired)
    _validate.instance("problem", problem, SparseParities)
    norm = _validate.number("norm", norm, at_least=0)
    starts = _validate.integer("starts", starts, at_least=0)
    steps = _validate.integer("steps", steps, at_least=0)
    member = problem.distribution(subset, dtype=dtype)
    start = one_step(problem, subset, dtype=dtype)
    first = _search.sphere_starts(problem.n, starts, seed, start.dtype)
    loss, direction = _attack(first, start, step_size(problem) * norm, member, steps, repaired)
    return WorstError(loss, norm * direction)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _attack(
    first: Array, start: Array, reach: Any, member: Any, steps: int, repaired: bool
) -> tuple[Array, Array]:
    def loss(direction: Array) -> Array:
        theta = start - reach * direction
        return square_loss(_selector(theta * member.points, repaired), member)

    return _search.climb_sphere(loss, first, steps)


def tangent_edge(problem: SparseParities, norm_bound: float = math.inf) -> float:
    r"""The edge, for any n, of the selector's tangent kernel $4\langle x, x'\rangle$ at $\theta=0$.

    By symmetry the best linear predictor has one weight on I and one off I. With
    $c = 1 - \alpha/4$ and $e = \mathbb E\,yx$ the edge without a norm bound is
    $\frac{1}{2c}\bigl(\|e\|^2 - \frac{(\alpha/4)(\mathbf 1\cdot e)^2}{c + n\alpha/4}\bigr)$.

    Args:
        problem: the family; the edge is the same on all its members.
        norm_bound: B; $R = 2\sqrt n$.

    Raises:
        ValueError: for a negative bound.

    Source: M21, Claim 2, which bounds it between $\alpha^2/4^k$ and $\alpha/2$.

    Examples:
        >>> round(tangent_edge(SparseParities(n=10, k=3, alpha=0.2)), 4)
        0.0035
    """
    _validate.instance("problem", problem, SparseParities)
    if norm_bound != math.inf:
        norm_bound = _validate.number("norm_bound", norm_bound, at_least=0)
    n, k, alpha = problem.n, problem.k, problem.alpha
    counts = np.sqrt([k, n - k] if k < n else [k])
    second = (1 - alpha / 4) * np.eye(len(counts)) + alpha / 4 * np.outer(counts, counts)
    correlation = counts * alpha * np.array([2.0 ** (1 - k), 2.0 ** (-1 - k)])[: len(counts)]
    # h = ⟨v, x⟩ = ⟨v/2, 2x⟩: ‖v‖√n ≤ B.
    return float(edge_from_moments(second, correlation, norm_bound / math.sqrt(n)))


# --- a network that computes the selector -------------------------------------------------------


def feed_forward_selector(n: int) -> FeedForward:
    r"""The repaired `selector` as a feed-forward network: depth $O(\log n)$, $O(n)$ edges, equal
    for every $\theta$.

    Products of numbers in [−1, 1] cost four sigmoid units, since
    $v^2 = 2\sigma(v/2) + 2\sigma(-v/2)$ there, and binary trees multiply n of them. The product
    $(1 - A)\langle\theta, x\rangle$ has one unbounded factor: where $1 - A \ne 0$ all
    $|n\theta_i| < 3$, so $|\langle\theta, x\rangle| < 3$ and a third of it is in range; elsewhere
    the four units cancel.

    Args:
        n: number of inputs.

    Raises:
        ValueError: for n below 1.

    Source: M21, Remark 11, carried out for the repaired model.

    Examples:
        >>> network = feed_forward_selector(16)
        >>> network.depth, network.edges
        (17, 580)
    """
    n = _validate.integer("n", n, at_least=1)
    circuit = Circuit(n)
    z, parity, closed = circuit.selection()
    third = circuit.unit([(u, 1 / 3) for u in z])
    linear, masked = circuit.product(closed, third), circuit.product(closed, parity)
    # f = 2σ((P + 1)/2) − 1 with P = (1 − A)⟨θ, x⟩ + Q − (1 − A) Q.
    half = [(linear, 1.5), (parity, 0.5), (masked, -0.5)]
    circuit.unit([(circuit.unit(half, 0.5, sigmoid=True), 2.0)], -1.0)
    return circuit.network()


# --- training ordinary networks -----------------------------------------------------------------


class TrainingCurves(NamedTuple):
    """Test performance along training.

    Attributes:
        steps: after how many steps it was measured, `[E]`.
        losses: square loss ½ E (f − y)², `[seeds, E]`.
        accuracies: share of inputs with the right sign, `[seeds, E]`.
    """

    steps: Float[np.ndarray, " E"]
    losses: Float[Array, "seeds E"]
    accuracies: Float[Array, "seeds E"]


def train_on_parity(
    *,
    n: int,
    k: int,
    alpha: float,
    steps: int,
    seeds: Sequence[int],
    width: int = 128,
    batch_size: int = 4096,
    learning_rate: float = 0.01,
    evaluations: int = 30,
    test_size: int = 8192,
    linearized: bool = False,
) -> TrainingCurves:
    r"""Train two-layer ReLU networks with Adam on fresh batches of a biased sparse parity.

    All seeds run as one vectorized program, spread over the devices if there are several. A seed
    gives the start, the batches and the test inputs; the subset is $\{1, \dots, k\}$, without loss
    of generality.

    Args:
        n: number of coordinates.
        k: size of the parity.
        alpha: share of biased inputs, in [0, 1).
        steps: number of steps.
        seeds: one run each; their number must be a multiple of the number of devices.
        width: hidden units.
        batch_size: examples a step, drawn anew each time.
        learning_rate: of Adam, at its usual other settings.
        evaluations: how often to measure, at equal distances; it must divide `steps`.
        test_size: examples of each measurement.
        linearized: whether to train the networks' first-order expansions at their starts instead,
            on the same batches.

    Raises:
        ValueError: for sizes that do not fit, as `k must be at most n = 8, got 9`.

    Source: M21, Figure 2.

    Examples:
        >>> curves = train_on_parity(n=8, k=2, alpha=0.5, steps=20, seeds=[0], evaluations=2)
        >>> curves.steps.tolist(), curves.losses.shape
        ([10, 20], (1, 2))
    """
    n, k = _validate.integer("n", n, at_least=1), _validate.integer("k", k, at_least=1)
    if k > n:
        raise ValueError(f"k must be at most n = {n}, got {k}")
    alpha = _validate.number("alpha", alpha, at_least=0)
    if alpha >= 1:
        raise ValueError(f"alpha must be below 1, got {alpha:g}")
    steps = _validate.integer("steps", steps, at_least=1)
    evaluations = _validate.integer("evaluations", evaluations, at_least=1)
    if steps % evaluations:
        raise ValueError(f"evaluations must divide steps = {steps}, got {evaluations}")
    rate = _validate.number("learning_rate", learning_rate, above=0)
    sizes = (
        _validate.integer("width", width, at_least=1),
        _validate.integer("batch_size", batch_size, at_least=1),
        _validate.integer("test_size", test_size, at_least=1),
    )
    linearized = _validate.flag("linearized", linearized)
    numbers = [_validate.integer("seeds", seed, at_least=0) for seed in seeds]
    devices = len(jax.devices())
    if not numbers or len(numbers) % devices:
        raise ValueError(f"seeds must be a multiple of {devices} devices, got {len(numbers)}")
    keys = jnp.stack([jax.random.key(seed) for seed in numbers])
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("seeds",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seeds"))
    every = steps // evaluations
    train = _training_program(n, k, every, evaluations, rate, *sizes, linearized)
    # Optax relies on the promotion of integers to floating-point numbers.
    with jax.numpy_dtype_promotion("standard"):
        losses, accuracies = train(jax.device_put(keys, spread), jnp.asarray(alpha))
    return TrainingCurves(np.arange(every, steps + 1, every), losses, accuracies)


@functools.lru_cache(maxsize=8)
def _training_program(
    n: int,
    k: int,
    every: int,
    evaluations: int,
    rate: float,
    width: int,
    batch: int,
    test: int,
    linearized: bool,
) -> Any:
    # Optax is imported where it is used: the library itself does without.
    with _extras.needed_by("train_on_parity"):
        import optax  # type: ignore[import-untyped]

    network = networks.mlp((width, 1), parameterization="standard", w_std=math.sqrt(2), b_std=0.1)
    optimizer = optax.adam(rate)

    def run(key: Array, alpha: Array) -> tuple[Array, Array]:
        start_key, test_key, data_key = jax.random.split(key, 3)
        params = network.init(start_key, n)
        model = linearize(network.apply, params) if linearized else network.apply

        def loss(params: Any, x: Array, y: Array) -> Array:
            return jnp.mean((model(params, x)[:, 0] - y) ** 2) / 2

        x_test, y_test = sample_sparse_parity(test_key, n, range(k), alpha, test)

        def step(state: tuple[Any, Any], batch_key: Array) -> tuple[Any, None]:
            params, moments = state
            x, y = sample_sparse_parity(batch_key, n, range(k), alpha, batch)
            updates, moments = optimizer.update(jax.grad(loss)(params, x, y), moments)
            return (optax.apply_updates(params, updates), moments), None

        def stretch(state: tuple[Any, Any], number: Array) -> tuple[Any, tuple[Array, Array]]:
            keys = jax.random.split(jax.random.fold_in(data_key, number), every)
            state, _ = jax.lax.scan(step, state, keys)
            outputs = model(state[0], x_test)[:, 0]
            right = jnp.mean((outputs * y_test > 0).astype(outputs.dtype))
            return state, (jnp.mean((outputs - y_test) ** 2) / 2, right)

        state = (params, optimizer.init(params))
        _, measured = jax.lax.scan(stretch, state, jnp.arange(evaluations))
        return measured

    # Kept, so that another alpha, or other seeds, find the program compiled.
    return jax.jit(jax.vmap(run, (0, None)))
