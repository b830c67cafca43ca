"""The ledger of weak_learning: its entries and their oracles."""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from ntklab import networks
from ntklab.checks import Check, rounding_tolerance
from ntklab.cube import character, hypercube, product_probabilities
from ntklab.descent import LOGISTIC, SQUARE, SmoothLoss, descend, mean_loss, population_loss
from ntklab.edges import edge
from ntklab.ledger import result
from ntklab.problems import (
    Distribution,
    DistributionArrays,
    SparseParities,
    distribution_arrays,
    square_loss,
)
from ntklab.sparse_parities import (
    selector,
    selector_scale_bound,
    step_size,
    tangent_edge,
    tolerated_error,
)
from ntklab.weak_learning import (
    TurningModel,
    edge_from_label_free_run,
    label_free_run,
    promised_average_edge,
    promised_edge,
    tangent_edge_from_descent,
    tangent_features,
)


def _uniform_parity(n: int, subset: Sequence[int], mean: float = 0.0) -> Distribution:
    """A parity of independent bits of that mean."""
    points = hypercube(n)
    return Distribution(points, product_probabilities(n, mean), character(subset, points))


def _worst_of_signs(
    model: TurningModel, start: float, member: Distribution, eta: float, tau: float, steps: int
) -> float:
    """The largest loss after `steps` steps with errors −τ, 0 or τ of the one-dimensional gradient:
    where more is more, those are the worst.
    """
    errors = tau * jnp.asarray(list(itertools.product((-1.0, 0.0, 1.0), repeat=steps)))
    losses = _losses_after(model, jnp.asarray(start), distribution_arrays(member), eta, errors)
    return float(jnp.max(losses))


@functools.partial(jax.jit, static_argnums=0)
def _losses_after(
    model: TurningModel, start: Array, data: DistributionArrays, eta: Any, errors: Array
) -> Array:
    def loss(theta: Array) -> Array:
        return mean_loss(SQUARE, model(theta, data.points), data)

    def run(sequence: Array) -> Array:
        def step(theta: Array, error: Array) -> tuple[Array, None]:
            return theta - eta * (jax.grad(loss)(theta) + error), None

        return loss(jax.lax.scan(step, start, sequence)[0])

    return jax.lax.map(run, errors)


def _named_loss(name: str) -> SmoothLoss:
    return {"square": SQUARE, "logistic": LOGISTIC}[name]


@result(
    "M21",
    "Theorem 4",
    theorem="thm-weak-learning",
    falsified_by={"excess": 8.0},
    sweep=[{"n": 2, "k": 2, "alpha": 0.02}, {"n": 6, "k": 4, "alpha": 0.9}, {"loss": "logistic"}],
)
def success_gives_an_edge(
    n: int = 8, k: int = 3, alpha: float = 0.2, loss: str = "square", excess: float = 1.0
) -> list[Check]:
    """If gradient descent with accuracy τ ensures an error below the loss at the start, the tangent
    kernel there gains τ²/(2|ℓ″|C_f²) over the start, with norm at most C_f + τ/(|ℓ″|C_f).

    The selector on a biased sparse parity: its loss after one step under five admissible estimates,
    and gain and norm of the predictor that the proof builds, over what is promised for the proved
    C_f. `excess` multiplies τ.
    """
    problem = SparseParities(n, k, alpha)
    member = problem.distribution(range(k))
    chosen = _named_loss(loss)
    # At output 0 the slope of the logistic loss is half that of the square loss.
    factor = 1.0 if loss == "square" else 2.0
    ensured = float(population_loss(member.label_means, member, chosen))
    tau = excess * tolerated_error(problem) / factor
    runs = [
        descend(
            selector,
            jnp.zeros(n),
            member,
            step_size=factor * step_size(problem),
            steps=1,
            accuracy=tau,
            estimate="smallest" if seed == 0 else "random",
            loss=chosen,
            seed=seed,
        )
        for seed in range(5)
    ]
    scale = selector_scale_bound(n)
    found = tangent_edge_from_descent(selector, runs[0], member, scale=scale)
    promise = promised_edge(tau, scale, curvature=chosen.curvature)
    bound = scale + tau / (chosen.curvature * scale)
    worst = max(float(run.losses[-1]) for run in runs)
    rounding = rounding_tolerance()
    return [
        Check("loss after the step, worst of 5", worst, "<=", ensured, rounding),
        Check("gain over the promised one", float(found.gain) / promise, ">=", 1, rounding),
        Check("norm over B", found.norm / bound, "<=", 1, rounding),
    ]


@result(
    "M21",
    "Theorem 4, local form",
    theorem="cor-local-weak-learning",
    exercise="ex-best-step",
    falsified_by={"curvature_share": 0.05},
    sweep=[
        {"activation": "relu", "share": 0.3},
        {"loss": "logistic", "share": 0.999},
        {"activation": "relu", "k": 3, "seed": 2},
    ],
)
def local_form_on_networks(
    activation: str = "tanh",
    loss: str = "square",
    k: int = 2,
    share: float = 0.9,
    curvature_share: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """Whatever the model does elsewhere, the guarantee holds with R₀, the largest norm of the
    features at the start, in place of C_f.

    Unbiased two-layer networks with 16 units on biased sparse parities, n = 6, with τ that share
    of the gradient's norm: gain and norm of the predictor over what is promised, and for the square
    loss its gain against the exact optimum in its ball. `curvature_share` understates |ℓ″|.
    """
    network = networks.unbiased(networks.mlp((16, 1), activation=activation, b_std=0.5))
    member = SparseParities(6, k, 0.5).distribution(range(k))
    params = network.init(jax.random.key(seed), 6)
    smooth = _named_loss(loss)
    claimed = SmoothLoss(smooth.value, curvature_share * smooth.curvature)
    run = descend(network.apply, params, member, step_size=1.0, steps=0, loss=claimed)
    tau = share * float(run.gradient_norms[0])
    found = tangent_edge_from_descent(network.apply, run, member, accuracy=tau)
    rounding = rounding_tolerance()
    checks = [
        Check("gain over the promised one", float(found.gain) / found.promised, ">=", 1, rounding),
        Check("norm over B", found.norm / found.norm_bound, "<=", 1, rounding),
    ]
    if loss == "square":
        features = tangent_features(network.apply, params, member.points)
        best = edge(features, member, found.norm_bound)
        ratio = float(found.gain / best.edge)
        checks.append(Check("gain over the exact optimum", ratio, "<=", 1, rounding))
    return checks


@result(
    "M21",
    "Theorem 4, nearly unbiased start",
    theorem="cor-nearly-unbiased",
    exercise="ex-bias-compared",
    falsified_by={"distance": 2.0},
    sweep=[
        {"activation": "relu", "distance": 0.02},
        {"distance": 0.0},
        {"loss": "logistic"},
        {"seed": 3, "distance": 0.01},
    ],
)
def nearly_unbiased_start(
    distance: float = 0.02, activation: str = "tanh", loss: str = "square", seed: int = 0
) -> list[Check]:
    """If |f| ≤ δ < τ/(|ℓ″|R₀) at the start, the tangent kernel gains (τ − |ℓ″|δR₀)²/(2|ℓ″|R₀²) over
    the null prediction.

    Paired two-layer networks whose copies start that `distance` apart, n = 6, τ at 0.95 of the
    gradient's norm; the step is taken from the null prediction. Its gain, also less the promise,
    and the promise against the one for a step from the worst output of that size.
    """
    smooth = _named_loss(loss)
    network = networks.unbiased(networks.mlp((16, 1), activation=activation, b_std=0.5))
    member = SparseParities(6, 2, 0.5).distribution((0, 1))
    plus, minus = network.init(jax.random.key(seed), 6)
    flat, unravel = ravel_pytree(minus)
    moved = flat + distance * jax.random.normal(jax.random.key(seed + 1), flat.shape)
    run = descend(
        network.apply, (plus, unravel(moved)), member, step_size=1.0, steps=0, loss=smooth
    )
    tau = 0.95 * float(run.gradient_norms[0])
    found = tangent_edge_from_descent(network.apply, run, member, accuracy=tau, from_null=True)
    bias = float(jnp.max(jnp.abs(network.apply(run.start, jnp.asarray(member.points)))))
    slope = 1.0 if loss == "square" else 0.5
    worst = bias * (slope + smooth.curvature * bias / 2)
    from_start = promised_edge(tau, found.scale, curvature=smooth.curvature) - worst
    rounding = rounding_tolerance()
    return [
        Check("gain over the null prediction", float(found.gain), ">", 0),
        Check("gain less the promise", float(found.gain) - found.promised, ">=", 0, rounding * 0.1),
        Check("norm less B", found.norm - found.norm_bound, "<=", 0, rounding),
        Check("promise from the start", from_start, "<=", found.promised, rounding),
    ]


@result(
    "M21",
    "Section 4.1, biased start",
    theorem="prop-biased-start",
    falsified_by={"mean": 0.6},
    sweep=[{"bias": 0.02}, {"bias": 0.9, "share": 0.5}],
)
def biased_start_without_an_edge(
    bias: float = 0.3, share: float = 0.9, mean: float = 0.0
) -> list[Check]:
    """From a start with |f| = δ gradient descent can ensure loss 0 with any accuracy
    τ < δ√(1 − δ²)C_f although the tangent kernel there has edge 0.

    The turning model on the parity of two uniform bits, C_f = 1: its loss after the worst error
    of norm τ, the share of the threshold, and the exact edge in the whole space. With `mean` the
    bits are biased.
    """
    model, member = TurningModel((), (0, 1)), _uniform_parity(2, (0, 1), mean)
    start = -math.asin(bias)
    slope = bias * math.sqrt(1 - bias**2)
    tau = share * slope
    worst = _worst_of_signs(model, start, member, 2 * math.pi / (slope - tau), tau, 1)
    features = tangent_features(model, start, member.points)
    found = float(edge(features, member).edge)
    rounding = rounding_tolerance()
    return [
        Check("loss after the worst error", worst, "<=", 0, rounding),
        Check("edge of the tangent kernel", found, "<=", 0, rounding),
    ]


@result(
    "M21",
    "Section 4.1, tightness",
    theorem="prop-quadratic-gap",
    exercise="ex-tolerated-accuracy",
    falsified_by={"share": 1.1},
    sweep=[{"alpha": 0.01}, {"alpha": 0.9, "share": 0.999}],
)
def guarantee_is_attained(alpha: float = 0.2, share: float = 0.99) -> list[Check]:
    """No larger edge can be promised than τ²/(2C_f²): there is a model with C_f = 1 that gradient
    descent trains to loss 0 with every accuracy τ < α/2, and whose tangent kernel has edge α²/8.

    The turning model on the parity of two biased bits, loss after the worst error and exact edge
    in the whole space; C_f on a grid; and the exact edge of the selector there, α²/(4 + α), against
    α/2. `share` is τ in units of α/2.
    """
    problem = SparseParities(2, 2, alpha)
    member = problem.distribution((0, 1))
    model, slope = TurningModel((0,), (0, 1)), alpha / 2
    tau = share * slope
    eta = 2 * math.pi / (slope * max(1 - share, 1e-3))
    worst = _worst_of_signs(model, 0.0, member, eta, tau, 1)
    found = float(edge(tangent_features(model, 0.0, member.points), member).edge)
    angles = jnp.linspace(-2.0, 5.0, 71)
    along = jax.vmap(lambda angle: tangent_features(model, angle, member.points))(angles)
    scale = float(jnp.max(jnp.sum(along**2, axis=2)))
    rounding = rounding_tolerance()
    return [
        Check("loss after the worst error", worst, "<=", 0, rounding),
        Check("C_f² on a grid", scale, "==", 1, rounding),
        Check("edge over τ²/2", found / promised_edge(tau, 1), "==", share**-2, 10 * rounding),
        Check(
            "edge of the selector", tangent_edge(problem), "==", alpha**2 / (4 + alpha), rounding
        ),
    ]


@result(
    "M21",
    "Theorem 5",
    theorem="thm-average-kernel",
    exercise="ex-norm-needed",
    falsified_by={"start": -1.56},
    sweep=[
        {"steps": 3, "accuracy": 0.1},
        {"feature": (0,), "start": 0.0, "alpha": 0.8, "accuracy": 0.3},
        {"feature": (0,), "start": -0.5, "alpha": 0.8, "accuracy": 0.3},
        {"feature": (0,), "start": 0.0, "alpha": 0.8, "accuracy": 0.03, "size": 0.1},
    ],
)
def average_kernel_has_an_edge(
    start: float = -math.pi / 4,
    accuracy: float = 0.4,
    steps: int = 1,
    feature: tuple[int, ...] = (),
    alpha: float = 0.0,
    size: float = 1.0,
) -> list[Check]:
    """If gradient descent with accuracy τ ensures an edge γ, the tangent kernels along T steps
    without labels have mean edge at least min(γ, τ²/(2C_f²))/(T + 1) for B = max(C_f, τ/C_f), and
    their average kernel, of rank at most (T + 1)(p + 1), that times √(T + 1).

    The turning model, C_f exact: loss after the worst errors, exact edges at each point, and of
    the average kernel in the balls of B and √(T + 1) B.
    """
    model = TurningModel(feature, (0, 1), size)
    member = (
        SparseParities(2, 2, alpha).distribution((0, 1)) if alpha else _uniform_parity(2, (0, 1))
    )
    run = descend(model, start, member, step_size=1.0, steps=0)
    slope = float(run.gradient_norms[0])
    eta = 2 * math.pi / max(slope - steps * accuracy, 0.1 * size)
    gamma = size - size**2 / 2
    worst = _worst_of_signs(model, start, member, eta, accuracy, steps)
    path = label_free_run(model, start, member, step_size=eta, steps=steps)
    found = edge_from_label_free_run(model, path, member, accuracy=accuracy, scale=size)
    promise, bound = promised_average_edge(gamma, accuracy, size, steps)
    narrow, wide = math.sqrt(steps + 1) * promise, (steps + 1) * promise
    rounding = rounding_tolerance()
    return [
        Check("loss after the worst errors", worst, "<=", 0.5 - gamma, rounding),
        Check("mean edge", float(jnp.mean(found.edges)), ">=", promise, rounding),
        Check("edge of the average kernel", float(found.kernel_edge), ">=", narrow, rounding),
        Check("… in the larger ball", float(found.kernel_edge_wide), ">=", wide, rounding),
        Check("norm of the predictor", found.norm, "<=", bound, rounding),
        Check("rank", found.rank, "<=", 2 * (steps + 1)),
    ]


@dataclass(frozen=True)
class _TwoFeatures:
    """f = c x₁ + sin θ · x₂, of which only x₁ is of use, and cannot be trained."""

    c: float

    def __call__(self, theta: Array, x: Array) -> Array:
        return self.c * x[:, 0] + jnp.sin(theta) * x[:, 1]


@result(
    "M21",
    "Theorem 5, as printed",
    theorem="prop-average-kernel-printed",
    falsified_by={"c": 0.5},
    sweep=[{"c": 0.001}, {"c": 0.1}, {"accuracy": 0.7}],
)
def printed_average_kernel_fails(
    c: float = 0.01, accuracy: float = 1.0, places: int = 61
) -> list[Check]:
    """The printed Theorem 5 fails: for f = c·x₁ + sin θ·x₂ and y = x₁ one tiny step of gradient
    descent ensures the edge γ = c − c²/2 − 10⁻⁶/2, and no θ and no average over θ has the promised
    edge in the promised ball.

    The worst loss over the errors of norm τ on a grid, the largest exact edge over a grid of θ for
    B = √(2γ′)C_f, and that of the average kernel over the whole circle, over the printed γ′.
    """
    model, member = _TwoFeatures(c), _uniform_parity(2, (0,))
    eta = 1e-3 / accuracy
    gamma = c - c**2 / 2 - 0.5e-6
    points = jnp.asarray(member.points)
    # The gradient at θ = 0 is 0: one step ends in [−ητ, ητ].
    ends = eta * accuracy * jnp.linspace(-1.0, 1.0, 11)
    losses = jax.vmap(lambda end: square_loss(model(end, points), member))(ends)
    promise, bound = promised_average_edge(gamma, accuracy, 1 + c, 1, printed=True)
    angles = jnp.linspace(-math.pi / 2, math.pi / 2, places)
    along = jax.vmap(lambda angle: tangent_features(model, angle, points))(angles)
    best = jnp.max(jax.lax.map(lambda features: edge(features, member, bound).edge, along))
    average = jnp.concatenate(list(along), axis=1) / math.sqrt(places)
    mixed = edge(average, member, bound).edge
    rounding = rounding_tolerance()
    return [
        Check("loss after the worst error", float(jnp.max(losses)), "<=", 0.5 - gamma, rounding),
        Check("largest edge over the promised one", float(best) / promise, "<", 1),
        Check("edge of the average kernel over it", float(mixed) / promise, "<", 1),
    ]
