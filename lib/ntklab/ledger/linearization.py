"""The ledger of linearization: its entries and their oracles."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntklab import _random, _validate, networks
from ntklab.checks import Check, rounding_tolerance
from ntklab.ledger import result
from ntklab.linearization import (
    linearize,
    relu_error_bound,
    smooth_error_bound,
    smoothness,
    worst_relu_error,
)


def _gaussian_points(seed: int, n: int, d: int) -> Array:
    x = _random.normal(jax.random.key(seed), (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@result(
    "S24",
    "Equation (14.1)",
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
