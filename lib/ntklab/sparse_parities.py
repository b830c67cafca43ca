r"""Biased sparse parities: gradient descent learns in one step what every kernel barely sees.

The selector model of Malach et al. as printed and repaired, its regimes, its scale, one step of
gradient descent under the worst gradient error, the edge of its tangent kernel in closed form, a
feed-forward network that computes it, and the training of ordinary networks on the same problem.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _search, _validate, networks
from ntklab.boolean_kernels import (
    SparseParities,
    dimension_bound,
    edge,
    edge_from_moments,
    hypercube,
    sample_sparse_parity,
    sharp_norm_bound,
    square_loss,
)
from ntklab.results import Check, result, rounding_tolerance
from ntklab.tangent_kernel import empirical_ntk

__all__ = [
    "Circuit",
    "FeedForward",
    "SparseLayer",
    "TrainingCurves",
    "WorstError",
    "feed_forward_selector",
    "gate",
    "largest_scale",
    "one_step",
    "parity_of_selection",
    "printed_scale_witness",
    "quadratic_sigmoid",
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


def quadratic_sigmoid(z: Float[Array | np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\sigma(z) = 0,\; 2z^2,\; 1 - 2(1 - z)^2,\; 1$ on $z \le 0$, $[0, \tfrac12]$,
    $[\tfrac12, 1]$, $z \ge 1$: a sigmoid in quadratic pieces, with $|\sigma'| \le 2$.

    Args:
        z: any array.

    Raises:
        ValueError: for NaN or anything that is not real numbers.

    Source: M21, section 3, the display before (9).

    Examples:
        >>> quadratic_sigmoid(jnp.array([-1.0, 0.25, 0.5, 0.75, 2.0])).tolist()
        [0.0, 0.125, 0.5, 0.875, 1.0]
    """
    z = _validate.floating("z", z, min_ndim=0)
    return _sigmoid(z)


@functools.partial(jax.jit, inline=True)
def _sigmoid(z: Array) -> Array:
    inside = jnp.clip(z, 0, 1)
    return jnp.where(inside < 0.5, 2 * inside**2, 1 - 2 * (1 - inside) ** 2)


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
    return low + (high - low) * _sigmoid((z - start) / (end - start))


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
    return _sigmoid(scaled - 2) - _sigmoid(-scaled - 2)


def gate(s: Float[Array | np.ndarray, "*places n"]) -> Float[Array, "*places"]:
    r"""$S(s) = 1 - \prod_i (1 - s_i^2)$: 1 as soon as one coordinate is selected, 0 if none is.

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
    r"""$H(s) = \prod_i \bigl(1 - 2\sigma(-s_i)\bigr)$: the product of the selected signs.

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
    s = _validate.floating("s", s, min_ndim=1)
    return _product(1 - 2 * _sigmoid(-s) if repaired else 1 + s - s**2)


def _product(factors: Array) -> Array:
    """The product over the last axis, as a tree: its derivatives need no division by a factor."""
    while (size := factors.shape[-1]) > 1:
        half = size // 2
        paired = factors[..., :half] * factors[..., half : 2 * half]
        factors = jnp.concatenate([paired, factors[..., 2 * half :]], axis=-1)
    return factors[..., 0]


def selector(theta: Vector, x: Rows, *, repaired: bool = True) -> Float[Array, " N"]:
    r"""$f_\theta(x) = \sigma_{-1,1}^{-1,1}\bigl(\langle\theta, x\rangle + \mathcal G(\theta \circ
    x)\bigr)$ with $\mathcal G(z) = S(\xi(z))\,(H(\xi(z)) - \sum_i z_i)$.

    A linear predictor $2\langle\theta, x\rangle$ near $\theta = 0$, and the parity
    $\prod_{\theta_i \ge 3/n} x_i$ once every $\theta_i$ is in $[-2/n, 2/n]$ or $[3/n, 5/n]$ and one
    is in the latter.

    Args:
        theta: the n parameters.
        x: points of the cube.
        repaired: whether H is the one of `parity_of_selection` that keeps the scale O(n).

    Raises:
        ValueError: for NaN or shapes that do not fit.

    Source: M21, equations (8)–(13).

    Examples:
        >>> x = hypercube(3)
        >>> theta = jnp.array([4 / 3, 0.2, 4 / 3])
        >>> bool(jnp.all(selector(theta, x) == x[:, 0] * x[:, 2]))
        True
    """
    theta = _validate.floating("theta", theta, min_ndim=1, max_ndim=1)
    x = _validate.points("x", x)
    if x.shape[1] != len(theta):
        raise ValueError(f"x must have shape [N, {len(theta)}] as theta does, got {x.shape}")
    return _selector(theta * x, repaired)


@functools.partial(jax.jit, static_argnums=1)
def _selector(z: Array, repaired: bool) -> Array:
    """The model as a function of z = θ ∘ x alone."""
    s, total = _selection(z), jnp.sum(z, axis=-1)
    switch = gate(s)
    # (1 − S)⟨θ, x⟩ + S H, which is the printed sum without its cancellation.
    mixed = (1 - switch) * total + switch * parity_of_selection(s, repaired=repaired)
    return 2 * _sigmoid((mixed + 1) / 2) - 1


# --- its scale ----------------------------------------------------------------------------------


def selector_scale(z: Float[Array | np.ndarray, "*places n"], *, repaired: bool = True) -> Array:
    r"""$\sqrt{\|\nabla_\theta f_\theta(x)\|^2 + f_\theta(x)^2}$ at $z = \theta \circ x$; $C_f$ is
    its supremum.

    Since x only has signs, the norm of the gradient depends on z alone.

    Args:
        z: $\theta \circ x$; further axes are further places.
        repaired: which H.

    Raises:
        ValueError: for NaN or a scalar.

    Source: M21, section 2.

    Examples:
        >>> selector_scale(jnp.zeros(4)).tolist()
        4.0
    """
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
    r"""$C_f \le \sqrt{(2\sqrt n + 48 n)^2 + 1}$ for the repaired selector.

    Raises:
        ValueError: for n below 1.

    Source: proved in the chapter.

    Examples:
        >>> round(selector_scale_bound(16), 1)
        776.0
    """
    n = _validate.integer("n", n, at_least=1)
    return math.hypot(2 * math.sqrt(n) + 48 * n, 1)


def printed_scale_witness(n: int, *, dtype: Any = None) -> Float[Array, " n"]:
    r"""A place $z$ where the printed selector's gradient exceeds $(5/4)^{n-1} n$.

    All but one coordinate are half selected, $n z_i = 5/2$ and $\xi_i = \tfrac12$, which puts 5/4
    into each factor of H; the last one has $\xi = (1 - \sqrt 5)/2$, where its own factor
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
    last coordinate stays where its factor of H is 0: there the output is not saturated, however
    large the other factors are, and elsewhere a flat output has no slope to follow.

    Args:
        n: number of coordinates.
        repaired: which H.
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
    n = _validate.integer("n", n, at_least=1)
    starts = _validate.integer("starts", starts, at_least=1)
    steps = _validate.integer("steps", steps, at_least=1)
    dtype = _validate.floating_dtype("dtype", dtype)
    return _climb(jax.random.key(seed), n, starts, steps, repaired, dtype)


def zero_of_a_factor(repaired: bool) -> float:
    r"""The $n z_i$ at which a factor of H is 0: $\xi = -\tfrac12$, or $(1 - \sqrt 5)/2$ as printed.

    Args:
        repaired: which factor, as in `parity_of_selection`.

    Examples:
        >>> zero_of_a_factor(repaired=True)
        -2.5
    """
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
    return 2**problem.k / (problem.alpha * problem.n)


def tolerated_error(problem: SparseParities) -> float:
    r"""$\tau = \alpha/2^k$, the largest gradient error under which the step still finds it.

    Source: M21, Claim 1.

    Examples:
        >>> tolerated_error(SparseParities(n=10, k=3, alpha=0.2))
        0.025
    """
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
    gradient = -2 * problem.moments(subset, dtype=dtype).correlation
    if error is not None:
        given = _validate.floating("error", error, min_ndim=1, max_ndim=1)
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
        repaired: which H.
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
    $c = 1 - \alpha/4$ and $b = \mathbb E\,yx$ the edge without a norm bound is
    $\frac{1}{2c}\bigl(\|b\|^2 - \frac{(\alpha/4)(\mathbf 1\cdot b)^2}{c + n\alpha/4}\bigr)$.

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
    if norm_bound != math.inf:
        norm_bound = _validate.number("norm_bound", norm_bound, at_least=0)
    n, k, alpha = problem.n, problem.k, problem.alpha
    counts = np.sqrt([k, n - k] if k < n else [k])
    second = (1 - alpha / 4) * np.eye(len(counts)) + alpha / 4 * np.outer(counts, counts)
    correlation = counts * alpha * np.array([2.0 ** (1 - k), 2.0 ** (-1 - k)])[: len(counts)]
    # h = ⟨v, x⟩ = ⟨v/2, 2x⟩: ‖v‖√n ≤ B.
    return float(edge_from_moments(second, correlation, norm_bound / math.sqrt(n)))


# --- a network that computes the selector -------------------------------------------------------


class FeedForward(NamedTuple):
    """A sparse feed-forward network whose units are linear or `quadratic_sigmoid`.

    Attributes:
        layers: one for each depth; an edge may skip layers.
        inputs: n; the first n edges are trainable, all other weights are fixed.
    """

    layers: tuple["SparseLayer", ...]
    inputs: int

    @property
    def depth(self) -> int:
        """Layers between the inputs and the output."""
        return len(self.layers)

    @property
    def edges(self) -> int:
        """Number of edges, trainable and fixed."""
        return sum(len(layer.weights) for layer in self.layers)

    @property
    def units(self) -> int:
        """Number of units, without the inputs."""
        return sum(len(layer.biases) for layer in self.layers)

    def apply(self, theta: Vector, x: Rows) -> Float[Array, " N"]:
        """The output at the points x, with θ on the trainable edges.

        Raises:
            ValueError: for NaN or shapes that do not fit.
        """
        theta = _validate.floating("theta", theta, min_ndim=1, max_ndim=1)
        x = _validate.points("x", x)
        for name, shape in (("theta", theta.shape), ("x", x.shape[1:])):
            if shape != (self.inputs,):
                raise ValueError(f"{name} must have {self.inputs} coordinates, got {shape}")
        return _propagate(self.layers, theta, x)

    def largest_difference(
        self, model: Callable[[Array, Array], Array], *, draws: int = 20, seed: int = 0
    ) -> float:
        """From a model of the same θ and x: over random θ, in its regimes and far outside, and 64
        random points of the cube.

        Args:
            model: outputs for θ and the points, as `selector`.
            draws: of θ, whose coordinates are of the order of 4/n.
            seed: of θ and x.

        Raises:
            ValueError: for less than one draw.
        """
        draws = _validate.integer("draws", draws, at_least=1)
        draw, n = np.random.default_rng(_validate.integer("seed", seed, at_least=0)), self.inputs
        x = jnp.asarray(draw.choice([-1.0, 1.0], (64, n)), jnp.result_type(float))
        differences = []
        for _ in range(draws):
            place = draw.uniform(-4, 4, n) / n * math.exp(draw.normal())
            theta = jnp.asarray(place, x.dtype)
            differences.append(jnp.max(jnp.abs(self.apply(theta, x) - model(theta, x))))
        return float(max(differences))


class SparseLayer(NamedTuple):
    """The edges into one layer, from any earlier unit, and the layer's units.

    Attributes:
        sources: number of the unit that each edge leaves, inputs first.
        targets: number, within the layer, of the unit that it enters.
        weights: of the edges.
        biases: of the layer's units.
        sigmoid: whether a unit is a `quadratic_sigmoid`; else it is linear.
    """

    sources: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    sigmoid: np.ndarray


@jax.jit
def _propagate(layers: tuple[SparseLayer, ...], theta: Array, x: Array) -> Array:
    values = x.T
    for number, layer in enumerate(layers):
        weights = theta if number == 0 else layer.weights.astype(x.dtype)
        start = jnp.broadcast_to(layer.biases.astype(x.dtype)[:, None], (len(layer.biases), len(x)))
        z = start.at[layer.targets].add(weights[:, None] * values[layer.sources])
        values = jnp.concatenate([values, jnp.where(layer.sigmoid[:, None], _sigmoid(z), z)])
    return values[-1]


class Circuit:
    """A network under construction: units with their incoming edges, sorted into layers at the end.

    A unit is named by its number; the inputs are units 0 to n − 1.

    Args:
        inputs: n.
    """

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.incoming: list[list[tuple[int, float]]] = [[] for _ in range(inputs)]
        self.biases = [0.0] * inputs
        self.sigmoid = [False] * inputs
        self.depths = [0] * inputs

    def unit(
        self, incoming: list[tuple[int, float]], bias: float = 0.0, *, sigmoid: bool = False
    ) -> int:
        """Add a unit with these (source, weight) edges, and give its number."""
        self.incoming.append(incoming)
        self.biases.append(bias)
        self.sigmoid.append(sigmoid)
        self.depths.append(1 + max(self.depths[source] for source, _ in incoming))
        return len(self.incoming) - 1

    def square_terms(self, incoming: list[tuple[int, float]]) -> list[int]:
        """Two units of which 2(first + second) = v², where v comes in and |v| ≤ 1."""
        halves = [(source, weight / 2) for source, weight in incoming]
        flipped = [(source, -weight) for source, weight in halves]
        return [self.unit(halves, sigmoid=True), self.unit(flipped, sigmoid=True)]

    def product(self, a: int, b: int) -> int:
        """A·b = ((a + b)/2)² − ((a − b)/2)², exact for a, b in [−1, 1], and for a = 0."""
        plus = self.square_terms([(a, 0.5), (b, 0.5)])
        minus = self.square_terms([(a, 0.5), (b, -0.5)])
        return self.unit([*((u, 2.0) for u in plus), *((u, -2.0) for u in minus)])

    def product_tree(self, factors: list[int]) -> int:
        """The product of all factors, in a binary tree."""
        while len(factors) > 1:
            pairs = zip(factors[::2], factors[1::2], strict=False)
            rest = factors[-1:] if len(factors) % 2 else []
            factors = [self.product(a, b) for a, b in pairs] + rest
        return factors[0]

    def selection(self) -> tuple[list[int], int, int]:
        """Units of the products θ_i x_i, of H, and of 1 − S."""
        n = self.inputs
        z = [self.unit([(i, 1.0)]) for i in range(n)]
        up = [self.unit([(u, float(n))], -2.0, sigmoid=True) for u in z]
        down = [self.unit([(u, -float(n))], -2.0, sigmoid=True) for u in z]
        s = [self.unit([(a, 1.0), (b, -1.0)]) for a, b in zip(up, down, strict=True)]
        signs = [self.unit([(self.unit([(u, -1.0)], sigmoid=True), -2.0)], 1.0) for u in s]
        unselected = [
            self.unit([(half, -2.0) for half in self.square_terms([(u, 1.0)])], 1.0) for u in s
        ]
        return z, self.product_tree(signs), self.product_tree(unselected)

    def network(self) -> FeedForward:
        """The network of all units so far; the last one is the output."""
        depths = np.array(self.depths)
        # The place of each unit among the values, layer behind layer.
        order = np.argsort(depths, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        layers = []
        for depth in range(1, depths.max() + 1):
            members = np.flatnonzero(depths == depth)
            edges = [
                (place[source], target, weight)
                for target, unit in enumerate(members)
                for source, weight in self.incoming[unit]
            ]
            sources, targets, weights = (np.array(column) for column in zip(*edges, strict=True))
            biases = np.array([self.biases[unit] for unit in members])
            sigmoid = np.array([self.sigmoid[unit] for unit in members])
            layers.append(SparseLayer(sources, targets, weights, biases, sigmoid))
        return FeedForward(tuple(layers), self.inputs)


def feed_forward_selector(n: int) -> FeedForward:
    r"""The repaired `selector` as a feed-forward network: depth $O(\log n)$, $O(n)$ edges, equal
    for every $\theta$.

    Products of numbers in [−1, 1] cost four sigmoid units, since
    $v^2 = 2\sigma(v/2) + 2\sigma(-v/2)$ there, and binary trees multiply n of them. The product
    $(1 - S)\langle\theta, x\rangle$ has one unbounded factor: where $1 - S \ne 0$ all
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
    # f = 2σ((P + 1)/2) − 1 with P = (1 − S)⟨θ, x⟩ + H − (1 − S) H.
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
    numbers = [_validate.integer("seeds", seed, at_least=0) for seed in seeds]
    devices = len(jax.devices())
    if not numbers or len(numbers) % devices:
        raise ValueError(f"seeds must be a multiple of {devices} devices, got {len(numbers)}")
    keys = jnp.stack([jax.random.key(seed) for seed in numbers])
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("seeds",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seeds"))
    every = steps // evaluations
    train = _training_program(n, k, every, evaluations, rate, *sizes)
    # Optax relies on the promotion of integers to floating-point numbers.
    with jax.numpy_dtype_promotion("standard"):
        losses, accuracies = train(jax.device_put(keys, spread), jnp.asarray(alpha))
    return TrainingCurves(np.arange(every, steps + 1, every), losses, accuracies)


@functools.lru_cache(maxsize=8)
def _training_program(
    n: int, k: int, every: int, evaluations: int, rate: float, width: int, batch: int, test: int
) -> Any:
    # Optax is imported where it is used: the library itself does without.
    import optax  # type: ignore[import-untyped]

    network = networks.mlp((width, 1), parameterization="standard", w_std=math.sqrt(2), b_std=0.1)
    optimizer = optax.adam(rate)

    def loss(params: Any, x: Array, y: Array) -> Array:
        return jnp.mean((network.apply(params, x)[:, 0] - y) ** 2) / 2

    def run(key: Array, alpha: Array) -> tuple[Array, Array]:
        start_key, test_key, data_key = jax.random.split(key, 3)
        params = network.init(start_key, n)
        x_test, y_test = sample_sparse_parity(test_key, n, range(k), alpha, test)

        def step(state: tuple[Any, Any], batch_key: Array) -> tuple[Any, None]:
            params, moments = state
            x, y = sample_sparse_parity(batch_key, n, range(k), alpha, batch)
            updates, moments = optimizer.update(jax.grad(loss)(params, x, y), moments)
            return (optax.apply_updates(params, updates), moments), None

        def stretch(state: tuple[Any, Any], number: Array) -> tuple[Any, tuple[Array, Array]]:
            keys = jax.random.split(jax.random.fold_in(data_key, number), every)
            state, _ = jax.lax.scan(step, state, keys)
            outputs = network.apply(state[0], x_test)[:, 0]
            right = jnp.mean((outputs * y_test > 0).astype(outputs.dtype))
            return state, (jnp.mean((outputs - y_test) ** 2) / 2, right)

        state = (params, optimizer.init(params))
        _, measured = jax.lax.scan(stretch, state, jnp.arange(evaluations))
        return measured

    # Kept, so that another alpha, or other seeds, find the program compiled.
    return jax.jit(jax.vmap(run, (0, None)))


# --- the ledger ---------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=(0, 1))
def _regime(n: int, count: int, key: Array, stretch: Any) -> tuple[Array, Array]:
    """θ with coordinates in [−2/n, 2/n] and, one or more, in [3/n, 5/n]; and which are those."""
    choose, low, high, always = jax.random.split(key, 4)
    chosen = jax.random.bernoulli(choose, 0.4, (count, n))
    one = jax.random.randint(always, (count, 1), 0, n)
    chosen = chosen | (jnp.arange(n) == one)
    rest = jax.random.uniform(low, (count, n), minval=-2.0, maxval=2.0) * stretch
    selected = jax.random.uniform(high, (count, n), minval=3.0, maxval=5.0)
    return jnp.where(chosen, selected, rest) / n, chosen


@result(
    "M21",
    "Equations (8)–(13)",
    chapter="sparse_parities",
    theorem="thm-regimes",
    falsified_by={"stretch": 1.4},
    sweep=[{"n": 3}, {"n": 12, "draws": 20}, {"repaired": False}],
)
def two_regimes(
    n: int = 8, draws: int = 60, repaired: bool = True, stretch: float = 1.0, seed: int = 0
) -> list[Check]:
    """The selector is twice a linear predictor to first order at 0, and exactly the parity of the
    coordinates with θᵢ ≥ 3/n when the others lie in [−2/n, 2/n].

    All points of the cube, random θ in the second regime; the expansion by automatic
    differentiation. `stretch` widens the interval of the coordinates that should not be selected.
    """
    x, pairs = hypercube(n), _regime(n, draws, jax.random.key(seed), stretch)

    @jax.jit
    def distances() -> tuple[Array, Array]:
        def error(pair: tuple[Array, Array]) -> Array:
            parity = jnp.prod(jnp.where(pair[1], x, 1), axis=1)
            return jnp.max(jnp.abs(selector(pair[0], x, repaired=repaired) - parity))

        slope = jax.jacfwd(lambda theta: selector(theta, x, repaired=repaired))(jnp.zeros(n))
        return jnp.max(jax.lax.map(error, pairs)), jnp.max(jnp.abs(slope - 2 * x))

    worst, linear = distances()
    # H multiplies n factors that are each right up to a few units in the last place.
    tolerance = rounding_tolerance()
    return [
        Check("distance from the parity", float(worst), "<=", 0, tolerance),
        Check("distance of the slope at 0 from 2x", float(linear), "<=", 0, tolerance),
    ]


@result(
    "M21",
    "Section 3, scale of the model",
    chapter="sparse_parities",
    theorem="thm-scale",
    exercise="ex-scale-attained",
    falsified_by={"repaired": False},
    sweep=[{"n": 8}, {"n": 2}, {"n": 24}, {"n": 64, "starts": 8}],
)
def scale_is_linear(n: int = 16, repaired: bool = True, starts: int = 16) -> Check:
    """The repaired selector has scale C_f of at most √((2√n + 48n)² + 1).

    The largest value that a search along the gradient finds. With `repaired=False` it is the
    printed model, which exceeds the bound by a factor that grows like (5/4)ⁿ.
    """
    found, _ = largest_scale(n, repaired=repaired, starts=starts, steps=100)
    return Check(f"largest scale found at n = {n}", float(found), "<=", selector_scale_bound(n))


@result(
    "M21",
    "Section 3, scale of the printed model",
    chapter="sparse_parities",
    theorem="thm-printed-scale",
    falsified_by={"repaired": True},
    sweep=[{"sizes": (4, 6, 9)}],
)
def printed_scale_grows(sizes: Sequence[int] = (12, 24), repaired: bool = False) -> list[Check]:
    """The selector as printed has scale C_f of at least n(5/4)^(n − 1), not O(n).

    The gradient at an explicit place, by automatic differentiation. With `repaired=True` it is the
    repaired model at the same place.
    """
    return [
        Check(
            f"scale at n = {n} over n(5/4)^(n−1)",
            float(selector_scale(printed_scale_witness(n), repaired=repaired))
            / (n * 1.25 ** (n - 1)),
            ">=",
            1,
        )
        for n in sizes
    ]


@result(
    "M21",
    "Claim 1",
    chapter="sparse_parities",
    theorem="thm-one-step",
    exercise="ex-larger-step",
    falsified_by={"error_scale": 1.5},
    sweep=[
        {"n": 4, "k": 4, "alpha": 0.9},
        {"n": 8, "k": 2, "alpha": 0.01},
        {"repaired": False},
    ],
)
def one_step_learns(
    n: int = 8, k: int = 3, alpha: float = 0.2, error_scale: float = 1.0, repaired: bool = True
) -> list[Check]:
    """One step of size 2ᵏ/(αn) from θ = 0 with any gradient error of norm at most α/2ᵏ reaches
    loss 0 on every biased sparse parity.

    The loss after the worst error that gradient ascent finds among axes and random directions, by
    enumeration; and, for n = 1024 in closed form, how far the worst error can bring a coordinate
    from 4/n on the subset and 1/n off it, in units of 1/n. `error_scale` multiplies the error.
    """
    problem = SparseParities(n, k, alpha)
    norm = error_scale * tolerated_error(problem)
    worst = worst_gradient_error(problem, range(k), norm, starts=8, steps=30, repaired=repaired)
    large = SparseParities(1024, 10, alpha)
    target = np.where(np.arange(1024) < 10, 4, 1)
    # Against one coordinate alone: no error of this norm moves any coordinate further.
    error = np.zeros(1024)
    error[0] = error_scale * tolerated_error(large)
    moved = np.max(np.abs(1024 * np.asarray(one_step(large, range(10), error=error)) - target))
    rounding = rounding_tolerance(10)
    return [
        Check("loss after the worst error", float(worst.loss), "<=", 0, rounding_tolerance()),
        Check("n·|θ − target|, n = 1024", float(moved), "<=", 1, rounding),
    ]


@result(
    "M21",
    "Claim 2",
    chapter="sparse_parities",
    theorem="thm-tangent-edge",
    falsified_by={"start": 1.0},
    sweep=[{"n": 3, "k": 3}, {"n": 9, "k": 2, "alpha": 0.9}, {"alpha": 0.01}],
)
def tangent_kernel_of_the_selector(
    n: int = 7, k: int = 3, alpha: float = 0.2, start: float = 0.0
) -> list[Check]:
    """At θ = 0 the selector's tangent kernel is 4⟨x, x′⟩, whose edge is at most α/2 for every B and
    at least α²/4ᵏ for B = n.

    The kernel by automatic differentiation; the edges on one member by enumeration, against the
    closed form. With `start` > 0 the kernel is taken where that many units of 1/n select each of
    the coordinates of I.
    """
    problem, subset = SparseParities(n, k, alpha), tuple(range(k))
    member = problem.distribution(subset)
    x = hypercube(n)
    theta = _validate.from_numpy(np.where(np.arange(n) < k, 4 * start / n, 0.0), x.dtype)
    kernel = empirical_ntk(selector, theta, x, include_output=True)
    distance = np.max(np.abs(np.asarray(kernel) - 4 * np.asarray(x) @ np.asarray(x).T))
    best = float(edge(lambda *_: kernel, member).edge)
    in_ball = float(edge(lambda *_: kernel, member, n).edge)
    tolerance = rounding_tolerance()
    return [
        Check("distance from 4⟨x, x′⟩", float(distance), "<=", 0, 4 * n * tolerance),
        Check("edge in the whole space", best, "<=", alpha / 2, tolerance),
        Check("edge for B = n", in_ball, ">=", alpha**2 / 4**k, tolerance),
        Check("edge, closed form", best, "==", tangent_edge(problem), tolerance),
    ]


@result(
    "M21",
    "Separation 1",
    chapter="sparse_parities",
    theorem="cor-separation-one",
    exercise="ex-exact-gap",
    falsified_by={"excess": 3.0},
    sweep=[{"gamma": 0.01}, {"gamma": 0.4}],
)
def separation_on_two_bits(gamma: float = 0.1, excess: float = 1.0) -> list[Check]:
    """On the parity of two bits with α = 2γ one step with gradient accuracy γ/2 reaches loss 0,
    while the tangent kernel at the start has an edge of at most γ.

    The loss after the worst gradient error, the exact edge, which is 4γ²/(4 + 2γ), and that the
    accuracy is within a constant of C_f γ. `excess` multiplies the gradient error.
    """
    problem = SparseParities(2, 2, 2 * gamma)
    norm = excess * tolerated_error(problem)
    worst = worst_gradient_error(problem, (0, 1), norm, starts=16, steps=30)
    exact = tangent_edge(problem)
    tolerance = rounding_tolerance()
    return [
        Check("loss after one step", float(worst.loss), "<=", 0, tolerance),
        Check("edge of the tangent kernel", exact, "<=", gamma, tolerance),
        Check("edge of the tangent kernel", exact, "==", 4 * gamma**2 / (4 + 2 * gamma), tolerance),
        Check("accuracy over γ", tolerated_error(problem) / gamma, "==", 0.5, tolerance),
    ]


@result(
    "M21",
    "Separation 2",
    chapter="sparse_parities",
    theorem="cor-separation-two",
    falsified_by={"k_of_log": 0.3},
    sweep=[{"exponent": 2.0, "sizes": (2**12, 2**16)}, {"exponent": 0.5, "sizes": (2**8,)}],
)
def separation_in_n(
    exponent: float = 1.0,
    sizes: Sequence[int] = (2**10, 2**12, 2**14),
    k_of_log: float = 1.0,
) -> list[Check]:
    """With k = log₂ n and α = γ = n^(−a) gradient descent needs accuracy τ/C_f of the order γ/n²,
    while kernels of polynomial dimension or norm have an edge below γ.

    n²τ/(C_f γ) for the proved C_f, and the bounds for dimension p = n² and norm B = n² over γ, from
    where n is large enough. `k_of_log` multiplies k: of shorter parities there are too few.
    """
    checks = []
    for n in sizes:
        gamma = n**-exponent
        problem = SparseParities(n, max(2, round(k_of_log * math.log2(n))), gamma)
        accuracy = tolerated_error(problem) / selector_scale_bound(n)
        by_dimension = problem.edge_bound(dimension_bound(n**2, problem.size))
        by_norm = problem.edge_bound(sharp_norm_bound(float(n**2), problem.size))
        checks += [
            Check(f"n²τ/(C_f γ) at n = {n}", n**2 * accuracy / gamma, ">=", 1 / 51),
            Check(f"edge over γ, p = n², n = {n}", by_dimension / gamma, "<=", 1),
            Check(f"edge over γ, B = n², n = {n}", by_norm / gamma, "<=", 1),
        ]
    return checks


@result(
    "M21",
    "Remark 11",
    chapter="sparse_parities",
    theorem="thm-network",
    falsified_by={"printed": True},
    sweep=[{"n": 1}, {"n": 5}, {"n": 64}],
)
def network_computes_the_selector(
    n: int = 8, draws: int = 20, printed: bool = False, seed: int = 0
) -> list[Check]:
    """A feed-forward network of depth 2 log₂ n + 9, rounded up, with at most 36n + 4 edges computes
    the selector.

    The largest difference over random θ, in the regimes and far outside, and random x. With
    `printed=True` it is compared with the printed model, whose factors exceed 1.
    """
    network = feed_forward_selector(n)
    model = functools.partial(selector, repaired=not printed)
    worst = network.largest_difference(model, draws=draws, seed=seed)
    return [
        Check("difference from the selector", worst, "<=", 0, rounding_tolerance()),
        Check("edges", network.edges, "<=", 36 * n + 4),
        Check("depth", network.depth, "<=", 2 * math.ceil(math.log2(n)) + 9),
    ]


@result(
    "M21",
    "Section 3, biased sparse parities",
    chapter="sparse_parities",
    theorem="prop-moments",
    falsified_by={"wrong_size": True},
    sweep=[{"n": 2, "k": 2}, {"n": 9, "k": 9}, {"alpha": 0.9}],
)
def moments_of_biased_parities(
    n: int = 8, k: int = 3, alpha: float = 0.2, wrong_size: bool = False
) -> list[Check]:
    """Under a biased sparse parity E xᵢ = α/2, E xᵢxⱼ = α/4, and E yxᵢ is α/2^(k−1) on the subset
    and α/2^(k+1) off it.

    By enumeration of the cube. With `wrong_size=True` the labels are the parity of one more bit.
    """
    problem = SparseParities(n, k, alpha)
    mean, second, correlation, _ = map(np.asarray, problem.moments(range(k)))
    points, chances, labels = map(np.asarray, problem.distribution(range(k)))
    if wrong_size:
        labels = labels * points[:, k % n]
    weighted = chances[:, None] * points
    pairs = (
        ("E x", mean - np.sum(weighted, axis=0)),
        ("E x xᵀ", second - points.T @ weighted),
        ("E y x", correlation - labels @ weighted),
    )
    return [
        Check(f"error of {name}", float(np.max(np.abs(e))), "<=", 0, rounding_tolerance())
        for name, e in pairs
    ]


@result(
    "M21",
    "Figure 2",
    chapter="sparse_parities",
    theorem="cor-separation-two",
    falsified_by={"alpha": 0.0},
)
def ordinary_network_learns(
    n: int = 32, k: int = 5, alpha: float = 0.5, steps: int = 450, seeds: int = 4
) -> Check:
    """A two-layer ReLU network trained with Adam on a biased sparse parity goes below the loss that
    bounds every kernel with as many features as it has parameters.

    Mean test loss over the seeds after training, 64 units on batches of 1024, plus four standard
    errors. The tolerance is the standard error of 2048 test losses of mean ¼: where they lie
    between 0 and 2, as for outputs in [−1, 1], they deviate by at most √(¼ · 7/4). Without bias the
    mean stays above the bound: most runs have learned nothing after as many steps.
    """
    test_size = 2048
    curves = train_on_parity(
        n=n,
        k=k,
        alpha=alpha,
        steps=steps,
        seeds=range(seeds),
        width=64,
        batch_size=1024,
        evaluations=15,
        test_size=test_size,
    )
    last = np.asarray(curves.losses)[:, -1]
    high = float(np.mean(last) + 4 * np.std(last) / math.sqrt(seeds))
    # The kernel bound at alpha = 0.5, so that a run without bias is held against the same number.
    problem = SparseParities(n, k, alpha or 0.5)
    features = 64 * n + 64 + 64 + 1 + 1
    bound = 0.5 - problem.edge_bound(dimension_bound(features, problem.size))
    known_to = math.sqrt(7) / 4 / math.sqrt(test_size)
    return Check("mean test loss + 4 standard errors", high, "<=", bound, known_to)
