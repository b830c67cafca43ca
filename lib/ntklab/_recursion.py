r"""The recursion of kernels through the layers of an infinitely wide network, in blocks of points.

For two points it carries the *deficit* $1 - \cos$ of the angle between two pre-activations, not
their cosine: near 1 a cosine has lost half of the digits of its angle. Sums of positive terms lead
from layer to layer, so that every angle keeps the accuracy of its dtype.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntklab import _validate, networks

Activation = Callable[[Array], Array]

# A block of float32 and what is computed from it stay in a processor's second cache.
BLOCK = 256
# Below this deficit the product of two unit vectors, off by 1e-7, moves the angle by 7e-7.
NEAR = 1e-2

# --- the kernels and what they add up -----------------------------------------------------------


class Layer(NamedTuple):
    r"""What layer l + 1 has for a block of pairs.

    Attributes:
        index: l.
        covariance: $\Sigma^{(l+1)}$.
        slope: $\dot\Sigma^{(l+1)}$.
        value: $\operatorname E[\sigma(u)\sigma(v)]$ under $\Sigma^{(l)}$.
    """

    index: Any
    covariance: Array
    slope: Array
    value: Array


def tangent(total: Array, layer: Layer) -> Array:
    """Θ = Σ + Σ̇ ∘ Θ of the layer before."""
    return layer.covariance[None] + layer.slope[None] * total


def covariance(total: Array, layer: Layer) -> Array:
    """Σ alone."""
    return jnp.broadcast_to(layer.covariance, total.shape)


def shares(total: Array, layer: Layer) -> Array:
    """The layers' terms of Θ, one along the first axis for each."""
    return (layer.slope[None] * total).at[layer.index].set(layer.covariance)


def growing(total: Array, layer: Layer) -> Array:
    """Θ without the first layer, the biases and the gains of the weights: standard networks."""
    return layer.value[None] + layer.slope[None] * total


def kernel(
    collect: Callable[[Array, Layer], Array],
    x1: Any,
    x2: Any,
    *,
    depth: int,
    activation: str | Activation,
    w_std: Any,
    b_std: Any,
    quadrature_order: int,
    terms: int = 1,
) -> Array:
    """The kernel `[terms, N1, N2]` that `collect` makes of the layers of all pairs of points.

    It starts with Σ of the first layer at index 0, but `growing` with nothing.
    """
    x1 = _validate.points("x1", x1)
    if x2 is not None:
        x2 = _validate.points("x2", x2)
        _validate.same_dimension("x1", x1, "x2", x2)
    depth = _validate.integer("depth", depth, at_least=0)
    w_std, b_std = _validate.gains(w_std, b_std, x1.dtype)
    order = _validate.integer("quadrature_order", quadrature_order, at_least=2)
    moments = activation_moments(activation, order)
    values, finite, doubt = _blocked(x1, x2, w_std, b_std, collect, depth, terms, moments)
    if _validate.concrete(doubt) and doubt > DOUBT:
        raise ValueError(
            f"quadrature_order must be higher for points of this size: {order} terms leave up to "
            f"{float(doubt):.0%} of a kernel open, expected at most {DOUBT:.0%}"
        )
    _validate.in_range("x1", finite, "kernel at this depth and these gains", values.dtype)
    return values


class _Side(NamedTuple):
    """Points on one side of the kernel.

    Attributes:
        unit: their directions, `[N, d]`; 0 for the point 0.
        first: their norms in the first layer.
        norms: those in each layer behind, `[depth, N]` each.
        features: what the activation's moments need of each layer, `[depth, N, …]`.
    """

    unit: Array
    first: "_Norms"
    norms: "_Norms"
    features: Any


class _Norms(NamedTuple):
    """Standard deviations of pre-activations, and their shares from weights and from biases.

    Attributes:
        deviation: r, with r² = s² + b².
        weight_share: s/r.
        bias_share: b/r.
        activation: √E σ², of the layer before; for the first the norm of the point over √d.
    """

    deviation: Array
    weight_share: Array
    bias_share: Array
    activation: Array


def _norms(activation: Array, w_std: Array, b_std: Array) -> _Norms:
    s = w_std * activation
    largest = jax.lax.stop_gradient(jnp.maximum(s, b_std))
    largest = jnp.where(largest > 0, largest, 1)
    r = largest * _sqrt((s / largest) ** 2 + (b_std / largest) ** 2)
    divisor = jnp.where(r > 0, r, 1)
    return _Norms(r, jnp.where(r > 0, s / divisor, 1), b_std / divisor, activation)


def _side(x: Array, w_std: Array, b_std: Array, depth: int, moments: "Moments") -> _Side:
    # Squares of what has been divided by the largest neither overflow nor vanish.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=1))
    scaled = x / jnp.where(largest > 0, largest, 1)[:, None]
    norm = _sqrt(jnp.sum(scaled**2, axis=1))
    unit = scaled / jnp.where(norm > 0, norm, 1)[:, None]
    first = _norms(norm / math.sqrt(x.shape[1]) * largest, w_std, b_std)

    def layer(r: Array, _: None) -> tuple[Array, tuple[_Norms, Any]]:
        deviation, features = moments.point(r)
        norms = _norms(deviation, w_std, b_std)
        return norms.deviation, (norms, features)

    _, (norms, features) = jax.lax.scan(layer, first.deviation, length=depth)
    return _Side(unit, first, norms, features)


@functools.partial(jax.jit, static_argnames=("collect", "depth", "terms", "moments"))
def _blocked(
    x1: Array,
    x2: Array | None,
    w_std: Array,
    b_std: Array,
    collect: Callable[[Array, Layer], Array],
    depth: int,
    terms: int,
    moments: "Moments",
) -> tuple[Array, Array, Array]:
    """The kernel, whether it is finite, and the largest doubt about it.

    With `x2=None` the blocks on and above the diagonal are computed, and written twice.
    """
    symmetric = x2 is None
    dtype = _validate.single_or_double(x1.dtype)
    w_std, b_std = w_std.astype(dtype), b_std.astype(dtype)
    left = _side(x1.astype(dtype), w_std, b_std, depth, moments)
    right = left if x2 is None else _side(x2.astype(dtype), w_std, b_std, depth, moments)
    n1, n2 = len(left.unit), len(right.unit)
    rows, columns = (math.ceil(n / math.ceil(n / BLOCK)) for n in (n1, n2))

    # Derivatives compute a block again: what it holds would be kept for all blocks.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def block(start: Array) -> tuple[Array, Array, Array]:
        sides = _cut(left, start[0], rows), _cut(right, start[1], columns)
        diagonal = (start[0] == start[1]) if symmetric else None
        values, doubt = _block(*sides, diagonal, w_std, b_std, collect, depth, terms, moments)
        values = values.astype(x1.dtype)
        return values, jnp.all(jnp.isfinite(values)), doubt

    if n1 <= rows and n2 <= columns:
        return block(jnp.zeros(2, jnp.int32))

    def step(kernel: Array, start: Array) -> tuple[Array, tuple[Array, Array]]:
        values, finite, doubt = block(start)
        zero = jnp.zeros((), start.dtype)
        kernel = jax.lax.dynamic_update_slice(kernel, values, (zero, start[0], start[1]))
        if symmetric:
            mirrored = values.transpose(0, 2, 1)
            kernel = jax.lax.dynamic_update_slice(kernel, mirrored, (zero, start[1], start[0]))
        return kernel, (finite, doubt)

    # Column by column: where the last block overlaps its neighbour, its own diagonal comes last.
    starts = [(i, j) for j in _starts(n2, columns) for i in _starts(n1, rows)]
    pairs = [(i, j) for i, j in starts if not symmetric or i <= j]
    empty = jnp.zeros((terms, n1, n2), x1.dtype)
    kernel, (finite, doubt) = jax.lax.scan(step, empty, jnp.asarray(pairs, jnp.int32))
    return kernel, jnp.all(finite), jnp.max(doubt)


def _starts(size: int, block: int) -> list[int]:
    """Starts of equal blocks that cover `range(size)`; the last may overlap its neighbour."""
    return [min(start, size - block) for start in range(0, size, block)]


def _cut(side: _Side, start: Array, size: int) -> _Side:
    def points(array: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(array, start, size)

    def layers(array: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(array, start, size, axis=1)

    behind = jax.tree.map(layers, (side.norms, side.features))
    return _Side(points(side.unit), jax.tree.map(points, side.first), *behind)


def _block(
    left: _Side,
    right: _Side,
    diagonal: Array | None,
    w_std: Array,
    b_std: Array,
    collect: Callable[[Array, Layer], Array],
    depth: int,
    terms: int,
    moments: "Moments",
) -> tuple[Array, Array]:
    deficit, surplus = _directions(left.unit, right.unit, diagonal)
    deficit, surplus = _with_bias(left.first, right.first, deficit, surplus)
    first = _outer(left.first.deviation, right.first.deviation) * (1 - deficit)
    total = jnp.zeros((terms, *first.shape), first.dtype)
    if collect is not growing:
        total = total.at[0].set(first)

    def layer(
        state: tuple[Array, Array, Array], here: tuple[Array, _Norms, Any, _Norms, Any]
    ) -> tuple[tuple[Array, Array, Array], Array]:
        total, deficit, surplus = state
        index, norms1, features1, norms2, features2 = here
        deficit, slope, doubt = moments.pair(features1, features2, deficit, surplus)
        value = _outer(norms1.activation, norms2.activation) * (1 - deficit)
        deficit, surplus = _with_bias(norms1, norms2, deficit, 2 - deficit)
        sigma = _outer(norms1.deviation, norms2.deviation) * (1 - deficit)
        total = collect(total, Layer(index, sigma, w_std**2 * slope, value))
        return (total, deficit, surplus), doubt

    # A loop, not `depth` copies of one program: a hundred layers compile as fast as two, and each
    # is one pass over a block.
    behind = (jnp.arange(1, depth + 1), left.norms, left.features, right.norms, right.features)
    (total, _, _), doubts = jax.lax.scan(layer, (total, deficit, surplus), behind)
    return total, jnp.max(doubts, initial=0)


def _with_bias(
    norms1: _Norms, norms2: _Norms, deficit: Array, surplus: Array
) -> tuple[Array, Array]:
    """1 − cos and 1 + cos behind the biases, from those before them.

    With the shares as unit vectors (p, β) the cosine is p p′ cos + β β′: nothing cancels in
    1 − p p′ − β β′ = ((p − p′)² + (β − β′)²)/2.
    """
    weights = _outer(norms1.weight_share, norms2.weight_share)
    apart = _apart(norms1.weight_share, norms2.weight_share)
    biases = _apart(norms1.bias_share, norms2.bias_share)
    together = _apart(norms1.bias_share, -norms2.bias_share)
    return weights * deficit + (apart + biases) / 2, weights * surplus + (apart + together) / 2


def _outer(left: Array, right: Array) -> Array:
    return left[:, None] * right[None, :]


def _apart(left: Array, right: Array) -> Array:
    return (left[:, None] - right[None, :]) ** 2


def _sqrt(q: Array) -> Array:
    """√q, with gradient 0 where it vanishes."""
    positive = q > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, q, 1)), 0)


# --- angles of the points -----------------------------------------------------------------------


def _directions(unit1: Array, unit2: Array, diagonal: Array | None) -> tuple[Array, Array]:
    """1 − cos and 1 + cos of all pairs of unit vectors, `[N1, N2]`.

    ‖u − u′‖²/2 and ‖u + u′‖²/2 where one of them is small, and 1 ∓ u·u′ elsewhere. With
    `diagonal` both sides are the same points, and that entry of the block is 0.
    """
    cosine = jnp.matmul(unit1, unit2.T, precision="highest")
    cosine = cosine + jax.lax.stop_gradient(jnp.clip(cosine, -1, 1) - cosine)
    deficit, surplus = 1 - cosine, 1 + cosine
    same = jnp.zeros(cosine.shape, bool)
    if diagonal is not None:
        same = jnp.eye(len(unit1), dtype=bool) & diagonal
        # Its value is known; its derivatives are those of 1 − cos, which at 0 do not vanish all.
        deficit = deficit - jax.lax.stop_gradient(jnp.where(same, deficit, 0))
        surplus = surplus + jax.lax.stop_gradient(jnp.where(same, 2 - surplus, 0))
        # A product of matrices need not be symmetric in its last digits.
        deficit, surplus = jax.lax.cond(
            diagonal, lambda *both: tuple(map(_symmetric, both)), lambda *both: both,
            deficit, surplus,
        )  # fmt: skip
    near = jax.lax.stop_gradient(jnp.minimum(deficit, surplus) < NEAR) & ~same
    return jax.lax.cond(
        jnp.any(near),
        lambda *state: _differences(unit1, unit2, *state),
        lambda near, deficit, surplus: (deficit, surplus),
        near, deficit, surplus,
    )  # fmt: skip


def _symmetric(square: Array) -> Array:
    return jnp.triu(square) + jnp.triu(square, 1).T


def _differences(
    unit1: Array, unit2: Array, near: Array, deficit: Array, surplus: Array
) -> tuple[Array, Array]:
    # Most rows have one such pair at most, such as a point that both sides share.
    smaller = jnp.where(near, jnp.minimum(deficit, surplus), jnp.inf)
    closest = jnp.argmin(jax.lax.stop_gradient(smaller), axis=1)
    chosen = near & (jnp.arange(len(unit2))[None] == closest[:, None])
    pair = _of_differences(unit1, unit2[closest])
    deficit, surplus = _replaced(chosen, pair[0][:, None], pair[1][:, None], deficit, surplus)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def row(here: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
        point, near, deficit, surplus = here
        return jax.lax.cond(
            jnp.any(near),
            lambda: _replaced(near, *_of_differences(point[None], unit2), deficit, surplus),
            lambda: (deficit, surplus),
        )

    return jax.lax.map(row, (unit1, near & ~chosen, deficit, surplus))


def _of_differences(unit1: Array, unit2: Array) -> tuple[Array, Array]:
    """1 − cos and 1 + cos, row by row: one of them by a difference, the other is 2 less it."""
    opposite = jax.lax.stop_gradient(jnp.sum(unit1 * unit2, axis=1) < 0)
    sign = jnp.where(opposite, -1, 1).astype(unit1.dtype)
    small = jnp.sum((unit1 - sign[:, None] * unit2) ** 2, axis=1) / 2
    return jnp.where(opposite, 2 - small, small), jnp.where(opposite, small, 2 - small)


def _replaced(
    where: Array, deficits: Array, surpluses: Array, deficit: Array, surplus: Array
) -> tuple[Array, Array]:
    return jnp.where(where, deficits, deficit), jnp.where(where, surpluses, surplus)


# --- activations --------------------------------------------------------------------------------


class Moments(NamedTuple):
    """Gaussian expectations of an activation σ.

    Attributes:
        point: from standard deviations r `[N]` of u to √E[σ(u)²], and to whatever `pair` needs.
        pair: from that of two sides, 1 − cos and 1 + cos to
            1 − E[σ(u)σ(v)]/√(E[σ(u)²] E[σ(v)²]), to E[σ′(u)σ′(v)] and to a bound on the share of
            the latter two that is open.
    """

    point: Callable[[Array], tuple[Array, Any]]
    pair: Callable[[Any, Any, Array, Array], tuple[Array, Array, Array]]


def activation_moments(activation: str | Activation, order: int) -> Moments:
    """Closed forms for ReLU and erf, quadrature for the rest."""
    function = networks.activation_function(activation)
    if function is networks.ACTIVATIONS["relu"]:
        return RELU
    if function is networks.ACTIVATIONS["erf"]:
        return ERF
    return _hermite_moments(function, order)


def _certain(like: Array) -> Array:
    return jnp.zeros((), like.dtype)


# --- ReLU
#
# With m = min(1 − cos, 1 + cos) and θ = arccos(1 − m) ≤ π/2, both expectations follow from
# θ/π = √m P(m) and (sin θ − θ cos θ)/π = m^{3/2} R(m). The derivative of the latter by m is the
# former; θ = √(2m) Σ c_k (m/2)^k with c_k = (2k)!/(4^k k!² (2k + 1)) gives the coefficients
# √2/π c_k/2^k of P, and those over k + 3/2 of R.

TAYLOR_TERMS = 120


def _angle_series() -> tuple[np.ndarray, np.ndarray]:
    """Taylor coefficients of P and R."""
    k = np.arange(TAYLOR_TERMS)
    c = np.array([math.comb(2 * i, i) / 4**i / (2 * i + 1) for i in k.tolist()])
    angle = math.sqrt(2) / math.pi * c / 2.0**k
    return angle, angle / (k + 1.5)


def _economized(taylor: np.ndarray, degree: int) -> tuple[float, ...]:
    """The interpolation at Chebyshev's points of [0, 1]: close to the best of its degree."""
    x = (1 + np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))) / 2
    values = np.polynomial.polynomial.polyval(x, taylor)
    fit = np.polynomial.Chebyshev.fit(x, values, degree, domain=[0, 1])
    return tuple(fit.convert(kind=np.polynomial.Polynomial).coef.tolist())


# Of degree 8 they are off by 1.4e-9 and 1e-10, a sixtieth of float32's unit in the last place.
ANGLE, SEGMENT = (_economized(series, 8) for series in _angle_series())


def _angle(m: Array) -> Array:
    """θ/π."""
    if m.dtype == jnp.float64:
        return 2 / np.pi * jnp.arcsin(_sqrt(m / 2))
    return _sqrt(m) * _horner(ANGLE, m)


def _segment(m: Array) -> Array:
    """(sin θ − θ cos θ)/π."""
    if m.dtype == jnp.float64:
        return _sqrt(m * (2 - m)) / np.pi - _angle(m) * (1 - m)
    return m * _sqrt(m) * _horner(SEGMENT, m)


def _horner(coefficients: tuple[float, ...], m: Array) -> Array:
    total = jnp.full_like(m, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * m + coefficient
    return total


def angle_share(deficit: Array, surplus: Array) -> Array:
    """(π − ω)/π of the angle ω with 1 − cos ω and 1 + cos ω: 1 for equal directions.

    Where it has a cone, at ω = 0 and π, the derivative is the mean over directions, 0.
    """
    # No minimum: at a right angle its derivative would be that of neither side.
    acute = deficit <= surplus
    share = _angle(jnp.where(acute, deficit, surplus))
    return jnp.where(acute, 1 - share, share)


def arc_cosine_deficit(deficit: Array, surplus: Array) -> Array:
    """1 − (sin ω + (π − ω) cos ω)/π, one less the arc-cosine kernel of order 1."""
    acute = deficit <= surplus
    segment = _segment(jnp.where(acute, deficit, surplus))
    return jnp.where(acute, deficit, 1) - segment


def _relu_pair(_: Any, __: Any, deficit: Array, surplus: Array) -> tuple[Array, Array, Array]:
    slope = angle_share(deficit, surplus) / 2
    return arc_cosine_deficit(deficit, surplus), slope, _certain(slope)


RELU = Moments(lambda r: (math.sqrt(0.5) * r, ()), _relu_pair)


# --- erf
#
# With g² = 2q/(1 + 2q) = 1 − h² and ρ = g g′ cos the expectations are 2/π arcsin ρ and
# 4/π h h′/√(1 − ρ²), where 1 − ρ² = h² + g² h′² + g² g′² (1 − cos)(1 + cos).


class _ErfFeatures(NamedTuple):
    deviation: Array
    activation: Array
    large: Array
    small: Array


def _erf_point(r: Array) -> tuple[Array, _ErfFeatures]:
    h = 1 / _norms(r, jnp.asarray(math.sqrt(2), r.dtype), jnp.ones((), r.dtype)).deviation
    g = math.sqrt(2) * r * h
    variance = 2 / np.pi * jnp.arctan2(g**2, h * jnp.sqrt(1 + g**2))
    deviation = _sqrt(variance)
    return deviation, _ErfFeatures(r, deviation, g, h)


def _erf_pair(
    f1: _ErfFeatures, f2: _ErfFeatures, deficit: Array, surplus: Array
) -> tuple[Array, Array, Array]:
    both = _outer(f1.large, f2.large)
    own = f1.small[:, None] ** 2 + _outer(f1.large, f2.small) ** 2
    rest = own + both**2 * deficit * surplus
    root = _sqrt(rest)
    value = 2 / np.pi * jnp.arctan2(both * (1 - deficit), root)
    slope = 4 / np.pi * _outer(f1.small, f2.small) / jnp.where(rest > 0, root, 1)
    same = _equal(f1.deviation, f2.deviation, deficit)
    return _value_deficit(value, f1.activation, f2.activation, same), slope, _certain(slope)


ERF = Moments(_erf_point, _erf_pair)


def _equal(r1: Array, r2: Array, deficit: Array) -> Array:
    return (deficit == 0) & (r1[:, None] == r2[None, :])


def _value_deficit(value: Array, t1: Array, t2: Array, same: Array) -> Array:
    """1 − value/(t t′); 0 for equal pairs, whose derivatives are those of the quotient."""
    product = _outer(t1, t2)
    quotient = jnp.where(product > 0, value / jnp.where(product > 0, product, 1), 1)
    deficit = 1 - quotient
    known = jnp.where(same, 0, jnp.clip(deficit, 0, 2))
    return deficit - jax.lax.stop_gradient(deficit - known)


# --- any other activation
#
# E[σ(u)σ(v)] = Σ a_k a′_k cos^k with a_k = E[σ(r z) he_k(z)] (Mehler), and likewise for σ′. The
# coefficients come from the trapezoidal rule in a variable t with t = A asinh(r z) + B z: its
# nodes are dense enough for he_k, and for σ, which changes where |r z| is of order 1. What the
# first K terms leave of E σ² is known (Parseval): behind them at most √(left left′) |cos|^K of a
# kernel is open, nothing at equal points. At a kernel's largest the whole of it is added.

# The share of a kernel that may be open.
DOUBT = 0.05
# Nodes lie within 12 standard deviations: what is beyond weighs 1e-32.
REACH = 12.0
# Nodes that a unit of asinh(r z) gets, and of √K z: errors of 1e-16 for tanh, and of 1e-12.
PER_SCALE, PER_WAVE = 6.0, 0.7
# Coefficients that are computed with twice as many nodes, too.
COMPARED = 8


class _HermiteFeatures(NamedTuple):
    """Of σ and σ′: coefficients `[N, K]`, √E σ², the share of E σ² that they leave, and how far
    two rules are apart.
    """

    deviation: Array
    value: "_Expansion"
    slope: "_Expansion"


class _Expansion(NamedTuple):
    coefficients: Array
    norm: Array
    left: Array
    doubt: Array


@functools.lru_cache(maxsize=64)
def _hermite_moments(function: Activation, order: int) -> Moments:
    """Cached, so that the compiled recursion is found again."""
    check_elementwise(function)

    def derivative(z: Array) -> Array:
        # Backwards: an activation may have a rule for this direction alone.
        value, pullback = jax.vjp(function, z)
        return pullback(jnp.ones_like(value))[0]

    def point(r: Array) -> tuple[Array, _HermiteFeatures]:
        functions = (function, derivative)
        value, slope = (_Expansion(*parts) for parts in _expansions(functions, r, order))
        return value.norm, _HermiteFeatures(r, value, slope)

    def pair(
        f1: _HermiteFeatures, f2: _HermiteFeatures, deficit: Array, surplus: Array
    ) -> tuple[Array, Array, Array]:
        same = _equal(f1.deviation, f2.deviation, deficit)
        value, doubt1 = _mehler(f1.value, f2.value, deficit, same)
        slope, doubt2 = _mehler(f1.slope, f2.slope, deficit, same)
        doubt = jnp.maximum(doubt1, doubt2)
        # Under `jax.jit` nothing can be raised.
        known = jnp.where(doubt > DOUBT, jnp.nan, slope)
        value_deficit = _value_deficit(value, f1.value.norm, f2.value.norm, same)
        return value_deficit, known, jnp.max(doubt)

    return Moments(point, pair)


def _expansions(
    functions: tuple[Activation, ...], r: Array, order: int
) -> list[tuple[Array, Array, Array, Array]]:
    nodes = 4 * order + 256
    z, weights = _nodes(r, order, nodes)
    fine_z, fine_weights = _nodes(r, order, 2 * nodes)
    found = []
    for function in functions:
        values = function(r[:, None] * z)
        fine = function(r[:, None] * fine_z)
        coefficients = _hermite_coefficients(weights * values, z, order)
        few = _hermite_coefficients(fine_weights * fine, fine_z, COMPARED)
        square, fine_square = jnp.sum(weights * values**2, 1), jnp.sum(fine_weights * fine**2, 1)
        divisor = jnp.where(fine_square > 0, fine_square, 1)
        left = jnp.maximum(square - jnp.sum(coefficients**2, axis=1), 0)
        apart = jnp.sum((coefficients[:, : few.shape[1]] - few[:, :order]) ** 2, axis=1)
        doubt = jnp.abs(square - fine_square) / divisor + jnp.sqrt(apart / divisor) / 2
        found.append((coefficients, _sqrt(square), left, jax.lax.stop_gradient(doubt)))
    return found


def _nodes(r: Array, order: int, nodes: int) -> tuple[Array, Array]:
    """Nodes z and weights `[N, nodes]` of the rule for E[f(z)]; constants to a derivative."""
    r = jax.lax.stop_gradient(jnp.where(r > 0, r, 1))[:, None]
    wave = PER_WAVE * math.sqrt(order)
    end = PER_SCALE * jnp.arcsinh(r * REACH) + wave * REACH
    half = nodes // 2
    t = end * jnp.asarray((np.arange(half) + 0.5) / half, r.dtype)[None]
    # Below the root of the concave function Newton's steps never pass it.
    z = jnp.minimum(jnp.sinh(t / (2 * PER_SCALE)) / r, t / (2 * wave))

    def density(z: Array) -> Array:
        return PER_SCALE * r / jnp.sqrt(1 + (r * z) ** 2) + wave

    for _ in range(8):
        z = z + (t - PER_SCALE * jnp.arcsinh(r * z) - wave * z) / density(z)
    weights = end / half * jnp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) / density(z)
    both = jnp.concatenate([-z[:, ::-1], z], axis=1)
    return both, jnp.concatenate([weights[:, ::-1], weights], axis=1)


def _hermite_coefficients(weighted: Array, z: Array, order: int) -> Array:
    """Σ_i weighted_i he_k(z_i), `[N, order]`, with the polynomials orthonormal under the normal
    law: he_{k+1} = (z he_k − √k he_{k−1})/√(k + 1).
    """

    def step(state: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], Array]:
        last, here = state
        following = (z * here - jnp.sqrt(k) * last) / jnp.sqrt(k + 1)
        return (here, following), jnp.sum(weighted * here, axis=1)

    start = jnp.zeros_like(z), jnp.ones_like(z)
    return jax.lax.scan(step, start, jnp.arange(order, dtype=z.dtype))[1].T


def _mehler(f1: _Expansion, f2: _Expansion, deficit: Array, same: Array) -> tuple[Array, Array]:
    """The expectation of a product, and the share of it that is open."""
    cosine = 1 - deficit

    def step(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        left, right = pair
        return total * cosine + _outer(left, right), None

    pairs = f1.coefficients.T, f2.coefficients.T
    value = jax.lax.scan(step, jnp.zeros_like(cosine), pairs, reverse=True)[0]
    behind = jnp.abs(cosine) ** f1.coefficients.shape[1]
    value = value + _outer(_sqrt(f1.left), _sqrt(f2.left)) * jnp.where(cosine > 0, behind, 0)
    norms = _outer(f1.norm, f2.norm)
    shares = _outer(_sqrt(f1.left), _sqrt(f2.left)) / jnp.where(norms > 0, norms, 1)
    doubt = jnp.where(same, 0, shares * behind) + (f1.doubt[:, None] + f2.doubt[None]) / 2
    return value, jax.lax.stop_gradient(doubt)


def check_elementwise(function: Activation) -> None:
    """Raise for a callable that is no finite function of one number."""
    places = np.linspace(-8, 8, 17)
    try:
        with jax.ensure_compile_time_eval():
            values = np.asarray(function(_validate.from_numpy(places, float)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"activation must act on each number of an array: {error}") from error
    if values.shape != places.shape:
        raise ValueError(
            f"activation must act on each number of an array, got shape {values.shape} from "
            f"{places.shape}"
        )
    if not np.all(np.isfinite(values)):
        place = places[np.argmin(np.isfinite(values))]
        raise ValueError(f"activation must be finite, got NaN or infinity at {place:g}")
