r"""A network near its initialization is a linear model: how good is that approximation?

The chapter's network is the two-layer one of `networks.shallow`,
$h(x; W) = m^{-1/2} \sum_j a_j \sigma(w_j \cdot x)$, expanded around $\tilde W$. The module holds
the expansion of any model, the error bounds for smooth activations and for ReLU, the exact worst
error of a ReLU network over a ball of weights, and the chapter's entries of the ledger.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _random, _validate, networks
from ntklab.results import Check, result, rounding_tolerance

__all__ = [
    "SMOOTHNESS",
    "linearize",
    "relu_error_bound",
    "relu_error_rate",
    "smooth_error_bound",
    "smoothness",
    "worst_relu_error",
    "worst_relu_weights",
]

Points = Float[Array | np.ndarray, "n d"]


# --- the expansion ------------------------------------------------------------------------------


def linearize(apply: Callable[[Any, Array], Array], params: Any) -> Callable[[Any, Array], Array]:
    r"""First-order Taylor expansion in the parameters, $f(x; \theta_0) + \langle\nabla f(x;
    \theta_0), \theta - \theta_0\rangle$.

    Args:
        apply: any differentiable model, `apply(params, x) -> outputs`.
        params: the point of expansion $\theta_0$, a pytree of floating-point arrays.

    Returns:
        A model with the signature of `apply`, affine in its parameters. One evaluation costs one
        Jacobian–vector product; no Jacobian is formed.

    Raises:
        ValueError: if `apply` is not callable; on a call, if the parameters have another structure
            or other shapes than `params`.

    Source: S24, equation (14.1) and section 14.1.3.

    Examples:
        >>> network = networks.shallow(8)
        >>> W0 = network.init(jax.random.key(0), 2)
        >>> tangent = linearize(network.apply, W0)
        >>> x = jnp.ones((3, 2))
        >>> bool(jnp.allclose(tangent(W0, x), network.apply(W0, x)))
        True
    """
    if not callable(apply):
        raise ValueError(f"apply must be a function of (params, x), got {apply!r}")
    params = jax.tree.map(lambda leaf: _validate.floating("params", leaf, min_ndim=0), params)
    structure: Any = jax.tree.structure(params)
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]

    def tangent(theta: Any, x: Array) -> Array:
        found: Any = jax.tree.structure(theta)
        if found != structure:
            raise ValueError(f"params must have the structure {structure}, got {found}")
        if (found_shapes := [jnp.shape(leaf) for leaf in jax.tree.leaves(theta)]) != shapes:
            raise ValueError(f"params must have the shapes {shapes}, got {found_shapes}")
        change = jax.tree.map(jnp.subtract, theta, params)
        value, slope = jax.jvp(lambda p: apply(p, x), (params,), (change,))
        return value + slope

    return tangent


# --- smooth activations -------------------------------------------------------------------------

#: β = sup |σ″| of each smooth activation, attained at 0 (softplus, gelu), at t = 1/√2 (erf), at
#: tanh² t = 1/3 (tanh).
SMOOTHNESS: dict[str, float] = {
    "identity": 0.0,
    "softplus": 1 / 4,
    "tanh": 4 / (3 * np.sqrt(3)),
    "gelu": np.sqrt(2 / np.pi),
    "erf": np.sqrt(8 / (np.pi * np.e)),
}


def smoothness(activation: str) -> float:
    r"""$\beta = \sup_t |\sigma''(t)|$, the smallest constant for which the activation is
    $\beta$-smooth.

    Args:
        activation: `identity`, `softplus`, `tanh`, `gelu` or `erf`.

    Raises:
        ValueError: for ReLU, whose derivative jumps, and for names that are not in `SMOOTHNESS`.

    Source: S24, Proposition 14.1, where it is a hypothesis; the values are derived in the chapter.

    Examples:
        >>> smoothness("softplus")
        0.25
    """
    if activation == "relu":
        raise ValueError("activation must be smooth; got 'relu', whose derivative jumps at 0")
    _validate.choice("activation", activation, tuple(SMOOTHNESS))
    return float(SMOOTHNESS[activation])


def smooth_error_bound(
    *,
    beta: float,
    width: int,
    radius: float,
    input_norm: float = 1.0,
    max_output_weight: float = 1.0,
) -> float:
    r"""$\frac{\beta}{2\sqrt m} \max_j|a_j|\, \|x\|^2 B^2$ bounds $|h(x; W) - h_{\tilde W}(x; W)|$
    for $\|W - \tilde W\|_F \le B$.

    It holds for every $\tilde W$, and with equality for $\sigma(t) = \beta t^2/2$, equal $a_j$
    and all changes parallel to x.

    Args:
        beta: smoothness of the activation, see `smoothness`.
        width: m.
        radius: B.
        input_norm: $\|x\|$.
        max_output_weight: $\max_j |a_j|$.

    Raises:
        ValueError: for a negative number or a width below 1.

    Source: S24, Proposition 14.1.

    Examples:
        >>> smooth_error_bound(beta=0.25, width=100, radius=2.0)
        0.05
    """
    beta = _validate.number("beta", beta, at_least=0)
    width = _validate.integer("width", width, at_least=1)
    radius = _validate.number("radius", radius, at_least=0)
    input_norm = _validate.number("input_norm", input_norm, at_least=0)
    largest = _validate.number("max_output_weight", max_output_weight, at_least=0)
    return beta * largest * input_norm**2 * radius**2 / (2 * float(np.sqrt(width)))


# --- ReLU ---------------------------------------------------------------------------------------


def relu_error_bound(*, width: int, radius: float, failure_probability: float) -> float:
    r"""$\bigl(2B^{4/3} + B\log(1/\delta)^{1/4}\bigr) m^{-1/6}$, for a ReLU network with Gaussian
    $\tilde W$ and $\|x\| \le 1$.

    With probability at least $1 - \delta$ over $\tilde W$ it bounds the error of the linearization
    at x for all W within B of $\tilde W$ at once.

    Args:
        width: m.
        radius: B, in Frobenius norm.
        failure_probability: $\delta$ in (0, 1).

    Raises:
        ValueError: for a width below 1, a negative radius, or $\delta$ outside (0, 1).

    Source: S24, Proposition 14.2 (Telgarsky 2021, Lemma 4.1).

    Examples:
        >>> round(relu_error_bound(width=4096, radius=1.0, failure_probability=0.01), 3)
        0.866
    """
    width = _validate.integer("width", width, at_least=1)
    radius = _validate.number("radius", radius, at_least=0)
    delta = _validate.probability("failure_probability", failure_probability)
    spread = float(np.log(1 / delta)) ** 0.25
    return float((2 * radius ** (4 / 3) + radius * spread) * width ** (-1 / 6))


def relu_error_rate(*, width: int, radius: float, input_norm: float = 1.0) -> float:
    r"""$\tfrac34\bigl(\tfrac14\sqrt{2/\pi}\bigr)^{1/3} \|x\|\, B^{4/3} m^{-1/6}$: what the worst
    ReLU error tends to.

    The leading term, as m grows with B fixed, of `worst_relu_error` for Gaussian $\tilde W$ and as
    many units of either sign: the exponent of Proposition 14.2 is sharp and its constant 2
    is 4.6 times too large.

    Args:
        width: m.
        radius: B.
        input_norm: $\|x\|$.

    Raises:
        ValueError: for a width below 1, a negative radius or norm.

    Source: derived in the chapter.

    Examples:
        >>> round(relu_error_rate(width=4096, radius=1.0), 4)
        0.1096
    """
    width = _validate.integer("width", width, at_least=1)
    radius = _validate.number("radius", radius, at_least=0)
    input_norm = _validate.number("input_norm", input_norm, at_least=0)
    constant = 0.75 * (0.25 * np.sqrt(2 / np.pi)) ** (1 / 3)
    return float(constant * input_norm * radius ** (4 / 3) * width ** (-1 / 6))


def worst_relu_error(
    weights: Float[Array | np.ndarray, "m d"],
    x: Points,
    radius: float,
    *,
    output_weights: Float[Array | np.ndarray, " m"] | None = None,
) -> Float[Array, " n"]:
    r"""$\max_{\|W - \tilde W\|_F \le B} |h(x; W) - h_{\tilde W}(x; W)|$ for ReLU, exactly.

    With $p_j = |\tilde w_j \cdot x|$, sorted in increasing order within one sign of $a_j = \pm 1$,

    $$\max_k \frac{\bigl(\sqrt k\, B\, \|x\| - \sum_{j \le k} p_{(j)}\bigr)_+}{\sqrt m},$$

    the larger of the two signs: only units that change sign err, each by $|w_j \cdot x|$, and k of
    them share the budget best in equal parts. Gradient ascent would not find this maximum: a
    unit that has not flipped contributes no slope.

    Args:
        weights: $\tilde W$.
        x: points; the maximum is taken at each of them.
        radius: B.
        output_weights: $a_j$, all +1 or −1; by default +1, −1, … as in `networks.shallow`.

    Returns:
        The worst error at each point.

    Raises:
        ValueError: for shapes that do not fit, NaN, a negative radius, or output weights that are
            not ±1.

    Source: derived in the chapter; it makes S24's Proposition 14.2 a statement about numbers.

    Examples:
        >>> weights = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
        >>> worst_relu_error(weights, jnp.array([[1.0, 0.0]]), 3.0).round(3).tolist()
        [1.414]
    """
    weights, x, signs = _relu_arguments(weights, x, output_weights)
    radius = _validate.number("radius", radius, at_least=0)
    return _worst_error(weights, x, jnp.asarray(signs > 0), radius)


def worst_relu_weights(
    weights: Float[Array | np.ndarray, "m d"],
    x: Float[Array | np.ndarray, " d"],
    radius: float,
    *,
    output_weights: Float[Array | np.ndarray, " m"] | None = None,
) -> Float[Array, "m d"]:
    r"""A maximizer W of `worst_relu_error` at one point x.

    The k flipped units move by $B/\sqrt k$ each, straight through their hyperplane, along
    $-\operatorname{sign}(\tilde w_j \cdot x)\, x$. Where no flip pays, $\tilde W$ comes back.

    Args:
        weights: $\tilde W$.
        x: one point.
        radius: B.
        output_weights: as in `worst_relu_error`.

    Raises:
        ValueError: as `worst_relu_error`.

    Source: derived in the chapter.

    Examples:
        >>> weights = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
        >>> worst_relu_weights(weights, jnp.array([1.0, 0.0]), 3.0).tolist()
        [[-2.0, 0.0], [-1.0, 0.0]]
    """
    point = _validate.floating("x", x, min_ndim=1, max_ndim=1)
    weights, rows, signs = _relu_arguments(weights, point[None], output_weights)
    radius = _validate.number("radius", radius, at_least=0)
    return _worst_weights(weights, rows[0], jnp.asarray(signs > 0), radius)


@jax.jit
def _worst_error(weights: Array, x: Array, positive: Array, radius: Any) -> Array:
    def at_point(point: Array) -> Array:
        gains, _ = _gains_of_signs(weights, point, positive, radius)
        return jnp.max(gains) / float(np.sqrt(len(weights)))

    return jax.lax.map(at_point, x)


@jax.jit
def _worst_weights(weights: Array, point: Array, positive: Array, radius: Any) -> Array:
    gains, orders = _gains_of_signs(weights, point, positive, radius)
    better = jnp.argmax(jnp.max(gains, axis=1))
    flips = jnp.argmax(gains[better])
    places = jnp.arange(len(weights))
    chosen = jnp.zeros(len(weights), bool).at[orders[better]].set(places < flips)
    norm = jnp.sqrt(jnp.sum(point**2))
    step = radius / jnp.sqrt(jnp.maximum(flips, 1).astype(weights.dtype))
    direction = point / jnp.where(norm > 0, norm, 1)
    side = jnp.where(weights @ point > 0, -1.0, 1.0).astype(weights.dtype)
    return weights + jnp.where(chosen, side * step, 0)[:, None] * direction


def _relu_arguments(weights: Any, x: Any, output_weights: Any) -> tuple[Array, Array, np.ndarray]:
    weights = _validate.points("weights", weights)
    x = _validate.points("x", x)
    _validate.same_dimension("weights", weights, "x", x)
    width = weights.shape[0]
    if output_weights is None:
        signs = networks.alternating_signs(width)
    else:
        signs = np.asarray(_validate.floating("output_weights", output_weights, min_ndim=1))
        if signs.shape != (width,):
            raise ValueError(f"output_weights must have shape ({width},), got {signs.shape}")
        if not np.all(np.abs(signs) == 1):
            raise ValueError(
                f"output_weights must all be +1 or -1, got values such as "
                f"{signs[np.abs(signs) != 1][0]:g}"
            )
    return weights, x, signs


def _gains_of_signs(
    weights: Array, point: Array, positive: Array, radius: Any
) -> tuple[Array, Array]:
    """√k B‖x‖ − Σ of the k smallest |w·x| for k = 0 … m, and their order; a row for each sign."""
    reach = radius * jnp.sqrt(jnp.sum(point**2))
    margins = jnp.abs(jnp.matmul(weights, point, precision="highest"))

    def one_sign(members: Array) -> tuple[Array, Array]:
        own = jnp.where(members, margins, jnp.inf)
        order = jnp.argsort(own)
        counts = jnp.sqrt(jnp.arange(len(own) + 1, dtype=own.dtype))
        costs = jnp.concatenate([jnp.zeros(1, own.dtype), jnp.cumsum(own[order])])
        return counts * reach - costs, order

    return jax.vmap(one_sign)(jnp.stack([positive, ~positive]))


# --- the ledger ---------------------------------------------------------------------------------


def _gaussian_points(seed: int, n: int, d: int) -> Array:
    x = _random.normal(jax.random.key(seed), (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@result(
    "S24",
    "Equation (14.1)",
    chapter="linearization",
    theorem="prop-linearization",
    exercise="ex-relu-constant",
    falsified_by={"kink": True},
    sweep=[{"activation": name} for name in ("erf", "softplus", "gelu", "identity")],
)
def first_order_expansion(
    activation: str = "tanh", width: int = 64, d: int = 5, kink: bool = False, seed: int = 0
) -> list[Check]:
    """Where h is differentiable, a term constant in W plus one linear in W agree with h to first
    order.

    Two checks: the printed formula against the Taylor expansion by automatic differentiation, and
    the error over the distance at a distance of 1e-3. With `kink=True` a ReLU network is expanded
    at weights orthogonal to x, where h has no derivative.
    """
    network = networks.shallow(width, activation="relu" if kink else activation)
    key, direction_key = jax.random.split(jax.random.key(seed))
    x = _gaussian_points(seed + 1, 6, d)
    W0 = network.init(key, d)
    if kink:
        # Exactly 0 at the kink, which projecting the weights off x would miss by rounding.
        x = x.at[0].set(jnp.eye(d, dtype=x.dtype)[0])
        W0 = W0.at[:, 0].set(0)
    direction = _random.normal(direction_key, W0.shape)
    direction = direction / jnp.linalg.norm(direction)
    if kink:
        direction = jnp.where(jnp.arange(width) % 2 == 0, 1.0, 0.0)[:, None] * x[0]
        direction = direction / jnp.linalg.norm(direction)
    W = W0 + 1e-3 * direction
    tangent = linearize(network.apply, W0)

    expanded = np.asarray(tangent(W, x)[:, 0])
    sigma = networks.activation_function("relu" if kink else activation)
    z = W0 @ x.T
    slope = np.asarray(jax.jit(jax.vmap(jax.vmap(jax.grad(sigma))))(z))
    signs = networks.alternating_signs(width) / np.sqrt(width)
    constant = signs @ (np.asarray(sigma(z)) - slope * np.asarray(z))
    linear = signs @ (slope * (np.asarray(W) @ np.asarray(x).T))
    formula_error = np.max(np.abs(constant + linear - expanded))
    error = np.max(np.abs(np.asarray(network.apply(W, x)[:, 0]) - expanded))
    return [
        Check(
            "formula against Taylor expansion", float(formula_error), "<=", 0, rounding_tolerance()
        ),
        Check("error over distance", float(error) / 1e-3, "<=", 1e-3, rounding_tolerance(10)),
    ]


@result(
    "S24",
    "Vanishing ReLU term",
    chapter="linearization",
    theorem="prop-linearization",
    exercise="ex-relu-constant",
    falsified_by={"activation": "softplus"},
    sweep=[{"width": 3, "d": 2}, {"width": 256, "d": 20, "seed": 5}, {"activation": "identity"}],
)
def relu_expansion_is_linear(
    activation: str = "relu", width: int = 64, d: int = 5, seed: int = 0
) -> Check:
    """For ReLU the expansion has no constant term: it is the inner product of the gradient and W.

    True for every activation with σ(t) = σ′(t) t, that is, positively homogeneous ones.
    """
    network = networks.shallow(width, activation=activation)
    x = _gaussian_points(seed + 1, 6, d)
    W0 = network.init(jax.random.key(seed), d)
    at_zero = linearize(network.apply, W0)(jnp.zeros_like(W0), x)
    return Check(
        "largest constant term", float(jnp.max(jnp.abs(at_zero))), "<=", 0, rounding_tolerance()
    )


@result(
    "S24",
    "Proposition 14.1",
    chapter="linearization",
    theorem="prop-smooth-error",
    exercise="ex-sharp-smooth",
    falsified_by={"activation": "relu", "beta": 1.0},
    sweep=[{"activation": name} for name in ("erf", "softplus", "gelu")]
    + [{"width": 4, "d": 30, "seed": 3}, {"input_norm": 3.0}],
)
def smooth_linearization_error(
    activation: str = "tanh",
    beta: float | None = None,
    width: int = 128,
    d: int = 5,
    input_norm: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """For β-smooth σ the error at distance B is at most β/(2√m) · max|a| · ‖x‖² B², at any W̃.

    Measured over random moves, moves along x and moves that push one unit through its kink, at
    distances from 1e-2 to 1e2; and the quadratic activation, for which the bound is an equality.
    """
    beta = smoothness(activation) if beta is None else beta
    network = networks.shallow(width, activation=activation)
    x = input_norm * _gaussian_points(seed + 1, 1, d)
    W0 = network.init(jax.random.key(seed), d)
    tangent = linearize(network.apply, W0)
    moves = _moves(W0, x[0], seed)

    def ratio(move: Array) -> Array:
        error = jnp.max(jnp.abs(network.apply(W0 + move, x) - tangent(W0 + move, x)))
        bound = smooth_error_bound(beta=beta, width=width, radius=1.0, input_norm=input_norm)
        return (error - rounding_tolerance(input_norm)) / (bound * jnp.sum(move**2))

    ratios = jax.jit(lambda rows: jax.lax.map(ratio, rows))(moves)
    return [
        Check("largest error over bound", float(jnp.max(ratios)), "<=", 1),
        Check(
            "the same for σ(t) = t²/2", _quadratic_ratio(width, d), "==", 1, rounding_tolerance(10)
        ),
    ]


def _moves(W0: Array, point: Array, seed: int) -> Array:
    """Changes of W at several distances: random, along x, and one unit reflected in its kink."""
    weights, x = np.asarray(W0), np.asarray(point)
    randoms = np.asarray(_random.normal(jax.random.key(seed + 2), (4, *W0.shape)))
    along = np.asarray(_random.normal(jax.random.key(seed + 3), (4, W0.shape[0], 1))) * x
    shapes = np.concatenate([randoms, along, np.broadcast_to(x, (1, *W0.shape))])
    shapes = shapes / np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    scaled = np.logspace(-2, 2, 9)[:, None, None, None] * shapes
    z = weights @ x
    nearest = np.argmin(np.abs(z))
    reflection = np.zeros_like(weights)
    reflection[nearest] = -2 * z[nearest] * x / np.sum(x**2)
    moves = np.concatenate([scaled.reshape(-1, *W0.shape), reflection[None]])
    return _validate.from_numpy(moves, W0.dtype)


def _quadratic_ratio(width: int, d: int) -> float:
    """Error over bound for σ(t) = t²/2, a_j = 1 and a move along x, in NumPy."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=d)
    W0 = rng.normal(size=(width, d))
    move = rng.normal(size=(width, 1)) * x
    error = np.sum(((W0 + move) @ x) ** 2 / 2 - (W0 @ x) ** 2 / 2 - (W0 @ x) * (move @ x))
    bound = smooth_error_bound(
        beta=1.0,
        width=width,
        radius=float(np.linalg.norm(move)),
        input_norm=float(np.linalg.norm(x)),
    )
    return float(abs(error) / np.sqrt(width) / bound)


@result(
    "S24",
    "Proposition 14.2",
    chapter="linearization",
    theorem="prop-relu-error",
    exercise="ex-relu-ball",
    falsified_by={"input_norm": 12.0},
    sweep=[
        {"width": 64},
        {"width": 1024, "radius": 0.1},
        {"radius": 8.0, "seed": 7},
        {"input_norm": 0.3, "d": 2},
        {"failure_probability": 0.5},
    ],
)
def relu_linearization_error(
    width: int = 4096,
    d: int = 5,
    radius: float = 1.0,
    failure_probability: float = 0.01,
    input_norm: float = 1.0,
    draws: int = 100,
    seed: int = 0,
) -> list[Check]:
    """With probability 1 − δ the worst ReLU error over the ball is at most
    (2 B^(4/3) + B log(1/δ)^(1/4)) m^(−1/6).

    The exact worst error over the ball, for independent draws of the weights: the share of draws
    beyond the bound against δ, and the worst draw against the bound.
    """
    keys = jax.random.split(jax.random.key(seed), draws)
    x = input_norm * _gaussian_points(seed + 1, 1, d)

    def error(key: Array) -> Array:
        return worst_relu_error(_random.normal(key, (width, d)), x, radius)[0]

    errors = np.asarray(jax.lax.map(error, keys))
    bound = relu_error_bound(width=width, radius=radius, failure_probability=failure_probability)
    beyond = float(np.mean(errors > bound))
    return [
        Check("share of draws beyond the bound", beyond, "<=", failure_probability),
        Check("worst error over all draws", float(errors.max()), "<=", bound),
    ]


@result(
    "S24",
    "Residual in the RKHS",
    chapter="linearization",
    theorem="prop-residual",
    exercise="ex-rkhs-norm",
    falsified_by={"model": "network"},
    sweep=[{"activation": "erf", "width": 3}, {"width": 2, "d": 4, "n": 30}],
)
def residual_in_tangent_space(
    model: str = "tangent", activation: str = "tanh", width: int = 4, d: int = 3, n: int = 40
) -> list[Check]:
    """The change of the linearized network is a function in the RKHS of the tangent kernel, of norm
    ≤ ‖W − W̃‖.

    At n > md points the values of such a function lie in the range of the kernel's Gram matrix,
    and the norm of the smallest interpolant is at most the distance moved. The change of the
    network itself, `model="network"`, leaves that range.
    """
    _validate.choice("model", model, ("tangent", "network"))
    network = networks.shallow(width, activation=activation)
    key, move_key = jax.random.split(jax.random.key(0))
    W0 = network.init(key, d)
    W = W0 + _random.normal(move_key, W0.shape)
    x = _gaussian_points(1, n, d)
    function = linearize(network.apply, W0) if model == "tangent" else network.apply
    change = (np.asarray(function(W, x), float) - np.asarray(network.apply(W0, x), float))[:, 0]
    jacobian = np.asarray(jax.jit(jax.jacobian(lambda p: network.apply(p, x)[:, 0]))(W0), float)
    features = jacobian.reshape(n, -1)
    coefficients = np.linalg.lstsq(features, change, rcond=1e-6)[0]
    outside = float(np.linalg.norm(features @ coefficients - change) / np.linalg.norm(change))
    norm = float(np.linalg.norm(coefficients))
    distance = float(np.linalg.norm(np.asarray(W) - np.asarray(W0)))
    return [
        Check("part outside the tangent space", outside, "<=", 0, rounding_tolerance(10)),
        Check("RKHS norm of the change", norm, "<=", distance, 1e-3),
    ]


@result(
    "S24",
    "Norm of the initialization",
    chapter="linearization",
    theorem="prop-initial-norm",
    exercise="ex-at-zero",
    falsified_by={"std": 1.1},
    sweep=[{"width": 16, "d": 3}, {"width": 500, "d": 2, "seed": 4}],
)
def initialization_norm(
    width: int = 64, d: int = 10, std: float = 1.0, draws: int = 400, seed: int = 0
) -> list[Check]:
    """E‖W̃‖² = md, so Proposition 14.1 promises less and less at W = 0 while the error there stays
    put.

    The mean of ‖W̃‖² over draws (tolerance: four standard errors, the variance is 2md); the
    growth of the bound at W = 0 from m to 4m; and the growth of the error's standard
    deviation there, which has none (tolerance: four standard errors).
    """
    rng = np.random.default_rng(seed)
    norms = np.sum((std * rng.normal(size=(draws, width, d))) ** 2, axis=(1, 2))
    tolerance = 4 * np.sqrt(2 * width * d / draws)

    def bound(n: int) -> float:
        return smooth_error_bound(beta=1.0, width=n, radius=float(np.sqrt(n * d)))

    def error_std(n: int) -> float:
        z = rng.normal(size=(draws, n))
        terms = np.tanh(z) - (1 - np.tanh(z) ** 2) * z
        signs = networks.alternating_signs(n)
        return float(np.std(terms @ signs / np.sqrt(n)))

    growth = error_std(4 * width) / error_std(width)
    return [
        Check("mean of ‖W̃‖²", norms.mean(), "==", width * d, tolerance),
        Check(
            "growth of the bound at W = 0, m to 4m", bound(4 * width) / bound(width), "==", 2, 1e-9
        ),
        Check("growth of the error at W = 0, m to 4m", growth, "==", 1, 4 / np.sqrt(draws)),
    ]
