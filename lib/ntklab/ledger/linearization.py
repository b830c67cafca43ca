"""The ledger of linearization: its entries and their oracles."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntklab import _random, _validate, networks
from ntklab.checks import Check, rounding_tolerance
from ntklab.ledger import Mutant, result
from ntklab.ledger._shared import scaled
from ntklab.linearization import (
    linearize,
    relu_error_bound,
    relu_error_rate,
    smooth_error_bound,
    smoothness,
    worst_relu_error,
)


def _gaussian_points(seed: int, n: int, d: int) -> Array:
    x = _random.normal(jax.random.key(seed), (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def _without_value(linearized: Any) -> Any:
    """The expansion without its constant, the value at the start."""
    return lambda apply, start: (
        lambda params, x: linearized(apply, start)(params, x) - apply(start, x)
    )


def _scaled_slope(factor: float) -> Callable[[Any], Any]:
    """The expansion with its slope multiplied."""

    def make(linearized: Any) -> Any:
        return lambda apply, start: (
            lambda params, x: (
                (1 - factor) * apply(start, x) + factor * linearized(apply, start)(params, x)
            )
        )

    return make


@result(
    "S24",
    "Equation (14.1)",
    theorem="prop-linearization",
    exercise="ex-relu-constant",
    evidence="rounding",
    falsified_by={"kink": True},
    sweep=[{"activation": name} for name in ("erf", "softplus", "gelu", "identity")],
    mutants=[
        Mutant.statement("there is no constant term", offset=0.0),
        Mutant.statement("the error falls with the power 2.2 of the distance", order=2.2),
        Mutant.code("the value at the start is missing", "linearization.linearize", _without_value),
        Mutant.code("the slope is 5 % too small", "linearization.linearize", _scaled_slope(0.95)),
    ],
)
def first_order_expansion(
    activation: str = "tanh",
    width: int = 64,
    d: int = 5,
    kink: bool = False,
    offset: float = 1.0,
    order: float = 2.0,
    seed: int = 0,
) -> list[Check]:
    """Where h is differentiable, a term constant in W plus one linear in W agree with h to first
    order.

    Two checks: the printed formula against the Taylor expansion by automatic differentiation, and
    the error at distance 0.1 against that at 0.2, which halving the distance divides by four
    (a tenth is left to the third order). With `kink=True` a ReLU network is expanded at weights
    orthogonal to x, where h has no derivative. `offset` multiplies the constant term, `order` is
    the power of the distance with which the error falls.
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
    if kink:
        direction = jnp.where(jnp.arange(width) % 2 == 0, 1.0, 0.0)[:, None] * x[0]
    direction = direction / jnp.linalg.norm(direction)
    tangent = linearize(network.apply, W0)

    def error(distance: float) -> float:
        W = W0 + distance * direction
        return float(jnp.max(jnp.abs(network.apply(W, x) - tangent(W, x))))

    W = W0 + direction
    sigma = networks.activation_function("relu" if kink else activation)
    z = W0 @ x.T
    slope = np.asarray(jax.jit(jax.vmap(jax.vmap(jax.grad(sigma))))(z))
    signs = networks.alternating_signs(width) / np.sqrt(width)
    constant = offset * signs @ (np.asarray(sigma(z)) - slope * np.asarray(z))
    linear = signs @ (slope * (np.asarray(W) @ np.asarray(x).T))
    formula_error = np.max(np.abs(constant + linear - np.asarray(tangent(W, x)[:, 0])))
    allowed = 1.1 * 0.5**order * error(0.2)
    rounding = rounding_tolerance(0.1)
    return [
        Check("formula against Taylor expansion", formula_error, "==", 0, rounding_tolerance()),
        Check("error at half the distance", error(0.1), "<=", allowed, rounding),
    ]


def _squared_relu(z: Array) -> Array:
    """Homogeneous of degree 2."""
    return jnp.maximum(z, 0) ** 2


@result(
    "S24",
    "Vanishing ReLU term",
    theorem="prop-linearization",
    exercise="ex-relu-constant",
    evidence="rounding",
    falsified_by={"activation": "softplus"},
    sweep=[{"width": 3, "d": 2}, {"width": 256, "d": 20, "seed": 5}, {"activation": "identity"}],
    mutants=[
        Mutant.statement("homogeneous of any degree will do", activation=_squared_relu),
        Mutant.statement("the derivative at W̃ is h(W̃)/2", share=0.5),
        Mutant.code("the value at the start is missing", "linearization.linearize", _without_value),
        Mutant.code("the slope is 5 % too small", "linearization.linearize", _scaled_slope(0.95)),
        Mutant.code("the expansion is 0", "linearization.linearize", _scaled_slope(0.0)),
    ],
)
def relu_expansion_is_linear(
    activation: Any = "relu", width: int = 64, d: int = 5, share: float = 1.0, seed: int = 0
) -> list[Check]:
    """For ReLU the expansion has no constant term: it is the inner product of the gradient and W.

    True for every activation with σ(t) = σ′(t) t, that is, positively homogeneous ones. Two checks:
    the expansion at W = 0, its constant term; and at 2W̃, twice the network at W̃. `share`
    multiplies the latter.
    """
    network = networks.shallow(width, activation=activation)
    x = _gaussian_points(seed + 1, 6, d)
    W0 = network.init(jax.random.key(seed), d)
    tangent = linearize(network.apply, W0)
    constant = float(jnp.max(jnp.abs(tangent(jnp.zeros_like(W0), x))))
    doubled = tangent(2 * W0, x) - 2 * share * network.apply(W0, x)
    return [
        Check("largest constant term", constant, "==", 0, rounding_tolerance()),
        Check(
            "at 2W̃, distance from 2h(W̃)",
            float(jnp.max(jnp.abs(doubled))),
            "==",
            0,
            rounding_tolerance(),
        ),
    ]


@result(
    "S24",
    "Proposition 14.1",
    theorem="prop-smooth-error",
    exercise="ex-sharp-smooth",
    evidence="searched",
    falsified_by={"activation": "relu", "beta": 1.0},
    sweep=[{"activation": name} for name in ("erf", "softplus", "gelu")]
    + [{"width": 4, "d": 30, "seed": 3}, {"input_norm": 3.0}, {"output_weight": 2.5}],
    mutants=[
        *(
            Mutant.statement(f"β of {name} is {beta}", activation=name, beta=beta)
            for name, beta in (("tanh", 0.7), ("erf", 0.9), ("softplus", 0.23), ("gelu", 0.75))
        ),
        Mutant.statement("the width has the power −0.6", width_power=-0.6),
        Mutant.statement("the distance has the power 1.9", distance_power=1.9),
        Mutant.statement("the norm of x is not squared", norm_power=1.0),
        Mutant.code("half the bound", "linearization.smooth_error_bound", scaled(0.5)),
        Mutant.code("without the ½ of Taylor", "linearization.smooth_error_bound", scaled(2.0)),
        Mutant.code(
            "the output weights do not matter",
            "linearization.smooth_error_bound",
            lambda bound: lambda **named: bound(**{**named, "max_output_weight": 1.0}),
        ),
    ],
)
def smooth_linearization_error(
    activation: str = "tanh",
    beta: float | None = None,
    width: int = 16,
    d: int = 5,
    input_norm: float = 1.0,
    output_weight: float = 1.0,
    width_power: float = -0.5,
    distance_power: float = 2.0,
    norm_power: float = 2.0,
    reach: float = 0.3,
    seed: int = 0,
) -> list[Check]:
    """For β-smooth σ the error at distance B is at most β/(2√m) · max|a| · ‖x‖² B², at any W̃.

    The largest ratio of error to bound over random moves of all units, moves along x, one unit
    pushed through 0, at distances from 0.1 to 100; and the searched worst case: the unit with the
    largest |a| alone, started where |σ″| is largest, moved along x so that its pre-activation
    changes by `reach`. Then the quadratic activation, for which the bound is an equality. `beta` is
    another constant than the activation's, the powers are those of the bound.
    """
    beta = smoothness(activation) if beta is None else beta
    weights = networks.alternating_signs(width)
    weights[0] = output_weight
    network = networks.shallow(width, activation=activation, output_weights=weights)
    x = input_norm * _gaussian_points(seed + 1, 1, d)
    start = np.array(network.init(jax.random.key(seed), d))
    point = np.asarray(x[0])
    lone = np.zeros_like(start)
    lone[0] = reach * point / input_norm**2
    # Such that the lone unit passes the place of the largest |σ″| after a third of its way, where
    # the error weighs σ″ on average.
    place = _steepest(activation) - reach / 3
    start[0] += (place - start[0] @ point) * point / input_norm**2
    W0 = _validate.from_numpy(start, x.dtype)
    moves = np.concatenate([lone[None], _moves(start, point, seed)])
    tangent = linearize(network.apply, W0)

    def error(move: Array) -> Array:
        return jnp.max(jnp.abs(network.apply(W0 + move, x) - tangent(W0 + move, x)))

    errors = jax.jit(lambda rows: jax.lax.map(error, rows))(_validate.from_numpy(moves, x.dtype))
    distances = np.linalg.norm(moves, axis=(1, 2))
    unit = smooth_error_bound(
        beta=beta,
        width=width,
        radius=1.0,
        input_norm=input_norm,
        max_output_weight=float(np.max(np.abs(weights))),
    )
    bounds = unit * distances**distance_power
    bounds *= width ** (width_power + 0.5) * input_norm ** (norm_power - 2)
    ratios = (np.asarray(errors, float) - rounding_tolerance(0.1 * input_norm)) / bounds
    return [
        Check("largest error over bound", float(np.max(ratios)), "<=", 1),
        Check(
            "the same for σ(t) = t²/2",
            _quadratic_ratio(width, d, distance_power),
            "==",
            1,
            rounding_tolerance(10),
        ),
    ]


def _steepest(activation: str) -> float:
    """Where |σ″| is largest, on a fine grid."""
    grid = np.linspace(-3, 3, 2401)
    second = jax.jit(jax.vmap(jax.grad(jax.grad(networks.activation_function(activation)))))
    return float(grid[np.argmax(np.abs(second(jnp.asarray(grid, jnp.result_type(float)))))])


def _moves(weights: np.ndarray, x: np.ndarray, seed: int) -> np.ndarray:
    """Changes of W at several distances: random, along x, and one unit reflected in its kink."""
    rng = np.random.default_rng(seed + 2)
    randoms = rng.normal(size=(4, *weights.shape))
    along = rng.normal(size=(4, len(weights), 1)) * x
    shapes = np.concatenate([randoms, along, np.broadcast_to(x, (1, *weights.shape))])
    shapes = shapes / np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    scaled = np.logspace(-1, 2, 7)[:, None, None, None] * shapes
    z = weights @ x
    nearest = np.argmin(np.abs(z))
    reflection = np.zeros_like(weights)
    reflection[nearest] = -2 * z[nearest] * x / np.sum(x**2)
    return np.concatenate([scaled.reshape(-1, *weights.shape), reflection[None]])


def _quadratic_ratio(width: int, d: int, power: float) -> float:
    """Error over bound, with that power of the distance, for σ(t) = t²/2, a_j = 1 and a move along
    x, in NumPy.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=d)
    W0 = rng.normal(size=(width, d))
    move = rng.normal(size=(width, 1)) * x
    error = np.sum(((W0 + move) @ x) ** 2 / 2 - (W0 @ x) ** 2 / 2 - (W0 @ x) * (move @ x))
    distance = float(np.linalg.norm(move))
    bound = smooth_error_bound(
        beta=1.0, width=width, radius=distance, input_norm=float(np.linalg.norm(x))
    )
    return float(abs(error) / np.sqrt(width) / (bound * distance ** (power - 2)))


@result(
    "S24",
    "Proposition 14.2",
    theorem="prop-relu-error",
    exercise="ex-relu-ball",
    evidence="sampled",
    level=1e-4,
    seeds=100,
    falsified_by={"std": 0.0, "width": 2**16, "d": 1, "draws": 4},
    sweep=[
        {"width": 64},
        {"width": 1024, "radius": 0.1},
        {"radius": 8.0, "seed": 7},
        {"input_norm": 0.3, "d": 2},
        {"failure_probability": 0.5},
        {"width": 2**18, "d": 1, "draws": 4, "failure_probability": 0.5},
    ],
    mutants=[
        Mutant.statement("the constants are a tenth", constant=0.1),
        Mutant.statement("the width has the power −1/6 − 0.1", power=-1 / 6 - 0.1),
        Mutant.statement("the radius has the power 4/3 − 1", radius=64.0, radius_power=1 / 3),
        Mutant.code("the bound is a tenth", "linearization.relu_error_bound", scaled(0.1)),
        Mutant.code("units cross twice as easily", "linearization.worst_relu_error", scaled(4.0)),
    ],
)
def relu_linearization_error(
    width: int = 4096,
    d: int = 5,
    radius: float = 1.0,
    failure_probability: float = 0.01,
    input_norm: float = 1.0,
    std: float = 1.0,
    constant: float = 1.0,
    power: float = -1 / 6,
    radius_power: float = 4 / 3,
    draws: int = 100,
    seed: int = 0,
) -> list[Check]:
    """With probability 1 − δ the worst ReLU error over the ball is at most
    1.15 B^(4/3) m^(−1/6) + 0.85 B (log 1/δ)^(1/4) m^(−1/4), and so at most the published
    (2 B^(4/3) + B (log 1/δ)^(1/4)) m^(−1/6).

    The exact worst error over the ball, for independent draws of the weights: the share of draws
    beyond each bound, up to four standard errors of a share δ; and the mean error, which a bound
    for more than half of the draws exceeds where δ is at most ½. `std` is that of the weights,
    `constant` multiplies both bounds, `power` and `radius_power` are those of their first terms.

    Loose: a union over units without their signs costs a factor of 2.6, and the published constant
    another 1.7 to 2; the rate itself is the next entry.
    """
    keys = jax.random.split(jax.random.key(seed), draws)
    x = input_norm * _gaussian_points(seed + 1, 1, d)

    def error(key: Array) -> Array:
        return worst_relu_error(std * _random.normal(key, (width, d)), x, radius)[0]

    errors = np.asarray(jax.lax.map(error, keys))
    delta = failure_probability
    change = radius ** (radius_power - 4 / 3) * width ** (power + 1 / 6)
    spread = 0.85 * radius * math.log(1 / delta) ** 0.25 * width**-0.25
    ours = constant * (1.15 * radius ** (4 / 3) * width ** (-1 / 6) * change + spread * change)
    published = relu_error_bound(width=width, radius=radius, failure_probability=delta)
    published *= constant * change
    sampling = 4 * math.sqrt(delta * (1 - delta) / draws)
    checks = [
        Check(f"share of draws beyond {name}", np.mean(errors > bound), "<=", delta, sampling)
        for name, bound in (("the chapter's bound", ours), ("the published bound", published))
    ]
    return [*checks, Check("mean worst error", float(np.mean(errors)), "<=", ours)]


@result(
    "S24",
    "Proposition 14.2, sharp rate",
    theorem="prop-relu-error",
    exercise="ex-relu-ball",
    evidence="sampled",
    level=1e-4,
    seeds=16,
    falsified_by={"signs": "equal"},
    sweep=[
        {"radius": 4.0, "seed": 1},
        {"input_norm": 3.0, "seed": 2},
        {"input_norm": 0.2, "radius": 2.0, "seed": 3},
    ],
    mutants=[
        Mutant.statement("the constant is that for equal signs", constant=2 ** (1 / 3)),
        Mutant.statement("the width has the power −1/6 + 0.1", power=-1 / 6 + 0.1),
        Mutant.statement("the radius has the power 4/3 − 0.1", radius_power=4 / 3 - 0.1),
        Mutant.statement("the error does not grow with x", norm_power=0.0),
        Mutant.code("half the rate", "linearization.relu_error_rate", scaled(0.5)),
        Mutant.code(
            "the worst error ignores the norm of x",
            "linearization.worst_relu_error",
            lambda worst: (
                lambda weights, x, radius, **named: worst(
                    weights, x / jnp.linalg.norm(x), radius, **named
                )
            ),
        ),
    ],
)
def relu_error_attains_its_rate(
    width: int = 2**16,
    radius: float = 1.0,
    input_norm: float = 1.0,
    signs: str = "balanced",
    constant: float = 1.0,
    power: float = -1 / 6,
    radius_power: float = 4 / 3,
    norm_power: float = 1.0,
    draws: int = 16,
    seed: int = 0,
) -> list[Check]:
    """With as many units of either sign the worst ReLU error over the ball is asymptotically
    C ‖x‖ B^(4/3) m^(−1/6), with C = ¾ (¼ √(2/π))^(1/3).

    The mean over draws of the exact worst error, over the rate, at m = 2¹⁶ and at m/16 (one input
    dimension, since the distances to the kink alone count): 1 up to four standard errors of the
    mean and 1.5 and 3 % for the next order. `constant` and the powers are those of the rate.
    """
    _validate.choice("signs", signs, ("balanced", "equal"))
    checks = []
    for m, next_order in ((width, 0.015), (width // 16, 0.03)):
        keys = jax.random.split(jax.random.key(seed), draws)
        x = jnp.full((1, 1), input_norm)
        chosen = networks.alternating_signs(m) if signs == "balanced" else np.ones(m)

        errors = np.array(
            [
                worst_relu_error(_random.normal(key, (m, 1)), x, radius, output_weights=chosen)[0]
                for key in keys
            ],
            float,
        )
        rate = constant * relu_error_rate(width=m, radius=radius, input_norm=input_norm)
        # The statement's powers, where they are not those of the library.
        rate *= m ** (power + 1 / 6) * radius ** (radius_power - 4 / 3)
        rate *= input_norm ** (norm_power - 1)
        ratios = errors / rate
        sampling = 4 * float(np.std(ratios, ddof=1)) / math.sqrt(draws)
        name = "mean worst error over the rate"
        checks.append(Check(f"{name}, m = {m}", np.mean(ratios), "==", 1, sampling + next_order))
    return checks


@result(
    "S24",
    "Residual in the RKHS",
    theorem="prop-residual",
    exercise="ex-rkhs-norm",
    evidence="rounding",
    falsified_by={"model": "network"},
    sweep=[
        {"activation": "erf", "width": 3},
        {"width": 2, "d": 4, "n": 30},
        {"activation": "relu", "width": 3, "d": 4, "subspace": 2},
        {"subspace": 1},
    ],
    mutants=[
        Mutant.statement("the norm is at most half the distance", share=0.5),
        Mutant.statement("the norm is the distance moved", strict=False, subspace=2),
        Mutant.code("the slope is 5 % too small", "linearization.linearize", _scaled_slope(0.95)),
        Mutant.code("the slope is 5 % too large", "linearization.linearize", _scaled_slope(1.05)),
        Mutant.code("the value at the start is missing", "linearization.linearize", _without_value),
    ],
)
def residual_in_tangent_space(
    model: str = "tangent",
    activation: str = "tanh",
    width: int = 4,
    d: int = 3,
    n: int = 40,
    subspace: int | None = None,
    strict: bool = True,
    share: float = 1.0,
) -> list[Check]:
    """The change of the linearized network is a function in the RKHS of the tangent kernel, of norm
    ≤ ‖W − W̃‖; every function of the RKHS is such a change, for a W at the distance of its norm.

    At n > md points the values of such a function lie in the range of the kernel's Gram matrix, and
    the norm of the smallest interpolant is the part of the move that the inputs see: all of it, or,
    with inputs in a `subspace` of that dimension, its projection. The converse: Σ c_i Θ(·, x_i)
    with random c, of norm √(cᵀHc) = 2, against the change after moving by Σ c_i φ(x_i), at other
    points. The change of the network itself, `model="network"`, leaves that range. `share`
    multiplies the distance, with `strict=False` the norm is claimed to equal it.
    """
    _validate.choice("model", model, ("tangent", "network"))
    network = networks.shallow(width, activation=activation)
    key, move_key = jax.random.split(jax.random.key(0))
    W0 = network.init(key, d)
    W = W0 + _random.normal(move_key, W0.shape)
    seen = (jnp.arange(d) < (d if subspace is None else subspace)).astype(W0.dtype)
    x, others = _gaussian_points(1, n, d) * seen, _gaussian_points(2, 7, d) * seen
    function = linearize(network.apply, W0) if model == "tangent" else network.apply

    def change(end: Array, points: Array) -> np.ndarray:
        before = np.asarray(network.apply(W0, points), float)
        return (np.asarray(function(end, points), float) - before)[:, 0]

    def features(points: Array) -> np.ndarray:
        slopes = jax.jit(jax.jacobian(lambda p: network.apply(p, points)[:, 0]))(W0)
        return np.asarray(slopes, float).reshape(len(points), -1)

    here, there, moved = features(x), features(others), change(W, x)
    coefficients = np.linalg.lstsq(here, moved, rcond=1e-6)[0]
    outside = float(np.linalg.norm(here @ coefficients - moved) / np.linalg.norm(moved))
    norm = float(np.linalg.norm(coefficients))
    steps = np.asarray(W, float) - np.asarray(W0, float)
    distance = share * float(np.linalg.norm(steps))
    visible = float(np.linalg.norm(steps * np.asarray(seen))) if strict else distance

    c = np.random.default_rng(0).normal(size=n)
    c *= 2 / np.linalg.norm(here.T @ c)  # so far that the network bends
    reached = np.asarray(W0, float) + (here.T @ c).reshape(W0.shape)
    converse = change(_validate.from_numpy(reached, W0.dtype), others) - there @ (here.T @ c)
    length = float(np.sqrt(c @ (here @ here.T) @ c))
    # Least squares loses the square root of rcond's inverse at most: here the features are few
    # and generic, and 20 times the rounding of a sum of n terms is enough.
    rounding = rounding_tolerance(20)
    return [
        Check("part outside the tangent space", outside, "==", 0, rounding_tolerance(10)),
        Check("RKHS norm of the change", norm, "<=", distance, rounding),
        Check("the same, against the part of the move seen", norm, "==", visible, rounding),
        Check(
            "converse: distance from the function",
            float(np.max(np.abs(converse))),
            "==",
            0,
            rounding_tolerance(),
        ),
        Check(
            "converse: distance moved over the norm",
            float(np.linalg.norm(here.T @ c)) / length,
            "==",
            1,
            rounding_tolerance(),
        ),
    ]


@result(
    "S24",
    "Norm of the initialization",
    theorem="prop-initial-norm",
    exercise="ex-at-zero",
    evidence="sampled",
    level=1e-4,
    seeds=400,
    falsified_by={"signs": "equal", "activation": "softplus"},
    sweep=[
        {"width": 16, "d": 3},
        {"width": 256, "d": 2, "seed": 4},
        {"activation": "softplus", "seed": 2},
    ],
    mutants=[
        Mutant.statement("the variance of ‖W̃‖² is md", variance=1.0),
        Mutant.statement("the bound stays put", growth=1.0),
        Mutant.statement("the error grows with the bound", error_growth=2.0),
        Mutant.code(
            "weights are 10 % too large",
            "networks._Shallow.init",
            lambda init: lambda self, key, d, dtype=None: 1.1 * init(self, key, d, dtype),
        ),
        Mutant.code(
            "the bound lacks the width",
            "linearization.smooth_error_bound",
            lambda bound: lambda **named: bound(**{**named, "width": 1}),
        ),
    ],
)
def initialization_norm(
    activation: str = "tanh",
    width: int = 64,
    d: int = 10,
    signs: str = "random",
    variance: float = 2.0,
    growth: float = 2.0,
    error_growth: float = 1.0,
    draws: int = 400,
    seed: int = 0,
) -> list[Check]:
    """E‖W̃‖² = md with variance 2md, so Proposition 14.1 promises less and less at W = 0, while with
    random signs the error there stays put.

    Over draws of the library's networks: mean and variance of ‖W̃‖² (tolerances: four standard
    errors; that of a sample variance of nearly normal values is √(2/draws) of it); the bound at
    W = 0 for the distances drawn, and the root mean square of the error there, each at 4m over its
    value at m (tolerances: four standard errors of a quotient of two means, or of two root mean
    squares of nearly normal values). `signs="equal"` takes all a_j = 1. `variance`, `growth` and
    `error_growth` are those claimed.
    """
    _validate.choice("signs", signs, ("random", "equal"))
    rng = np.random.default_rng(seed)
    point = _gaussian_points(seed + 1, 1, d)
    beta = smoothness(activation)
    squares, bounds, errors = [], [], []
    for m in (width, 4 * width):
        base = networks.shallow(m, activation=activation)
        keys = jax.random.split(jax.random.key(seed + m), draws)
        weights = jax.jit(jax.vmap(lambda key, base=base: base.init(key, d)))(keys)
        square = np.asarray(jnp.sum(weights**2, axis=(1, 2)), float)
        a = rng.choice([-1.0, 1.0], (draws, m)) if signs == "random" else np.ones((draws, m))
        squares.append(square)
        bounds.append(
            np.mean(
                [
                    smooth_error_bound(beta=beta, width=m, radius=float(radius))
                    for radius in np.sqrt(square)
                ]
            )
        )
        errors.append(_errors_at_zero(activation, weights, point, a))
    tolerance = 4 * math.sqrt(2 * width * d / draws)
    share = 4 / math.sqrt(draws)
    spread = float(np.var(squares[0], ddof=1)) / (width * d)
    bound_growth = float(bounds[1] / bounds[0])
    measured = float(np.sqrt(np.mean(errors[1] ** 2) / np.mean(errors[0] ** 2)))
    return [
        Check("mean of ‖W̃‖²", float(np.mean(squares[0])), "==", width * d, tolerance),
        Check("variance of ‖W̃‖² over md", spread, "==", variance, 2 * math.sqrt(2) * share),
        Check(
            "growth of the bound at W = 0, m to 4m",
            bound_growth,
            "==",
            growth,
            2 * math.sqrt(2 / (width * d)) * share,
        ),
        Check("growth of the error at W = 0, m to 4m", measured, "==", error_growth, share),
    ]


def _errors_at_zero(
    activation: str, weights: Array, point: Array, output_weights: np.ndarray
) -> np.ndarray:
    """h(0) minus its expansion there, for each draw of weights and output weights."""
    signs = _validate.from_numpy(output_weights, weights.dtype)
    sigma = networks.activation_function(activation)

    def error(W: Array, a: Array) -> Array:
        apply = lambda V, x: sigma(x @ V.T) @ a / math.sqrt(len(a))  # noqa: E731
        zero = jnp.zeros_like(W)
        return (apply(zero, point) - linearize(apply, W)(zero, point))[0]

    return np.asarray(jax.jit(jax.vmap(error))(weights, signs), float)
