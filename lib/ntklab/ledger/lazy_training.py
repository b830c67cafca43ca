"""The ledger of lazy_training: its entries and their oracles."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntklab import convergence, lazy_training, networks, tangent_kernel
from ntklab.checks import Check, rounding_tolerance
from ntklab.convergence import Constants, uniform_drift_bound
from ntklab.gradient_flow import kernel_flow, network_descent, network_flow
from ntklab.ledger import Mutant, result

# --- oracles -----------------------------------------------------------------------------------

# Where |σ″| of tanh is largest, 4/(3√3).
_STEEPEST = math.atanh(1 / math.sqrt(3))


class _Units:
    """m^{-1/2} Σ a_j tanh(w_j·x) with trained W, in NumPy."""

    def __init__(self, x: np.ndarray, a: np.ndarray) -> None:
        self.x, self.a = x, a / math.sqrt(len(a))

    def values(self, weights: np.ndarray) -> np.ndarray:
        return np.tanh(self.x @ weights.T) @ self.a

    def jacobian(self, weights: np.ndarray) -> np.ndarray:
        signals = self.a * (1 - np.tanh(self.x @ weights.T) ** 2)
        return (signals[:, :, None] * self.x[:, None]).reshape(len(self.x), -1)

    def gram(self, weights: np.ndarray) -> np.ndarray:
        jacobian = self.jacobian(weights)
        return jacobian @ jacobian.T

    def descend(
        self, weights: np.ndarray, y: np.ndarray, step: float, steps: int, scale: float = 1.0
    ) -> list[np.ndarray]:
        """Descent on ‖αf − y‖²/(2α²); with short steps it is the flow."""
        run = [weights]
        for _ in range(steps):
            pull = (self.values(run[-1]) - y / scale) @ self.jacobian(run[-1])
            run.append(run[-1] - step * pull.reshape(weights.shape))
        return run


def _norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2))


def _equal_units(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One point, and units that all stand where their curvature is largest, on the side where
    σ′ falls with the output: input, weights, output weights.
    """
    return np.ones((1, 1)), np.full((width, 1), _STEEPEST), np.ones(width)


def _random_units(width: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four points of a sphere and pairs of equal units with opposite output weights."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, 6))
    weights = np.repeat(rng.normal(size=(width // 2, 6)), 2, axis=0)
    a = np.where(np.arange(width) % 2 == 0, 1.0, -1.0)
    return x / np.linalg.norm(x, axis=1, keepdims=True), weights, a


def _found(x: np.ndarray, weights: np.ndarray, a: np.ndarray, y: np.ndarray) -> Constants:
    network = networks.shallow(len(a), activation="tanh", output_weights=a)
    return convergence.constants(network, weights, x, y)


# --- the kernel in a given time ----------------------------------------------------------------


def _drift_shares(
    widths: tuple[int, ...],
    random: bool,
    step: float,
    steps: int,
    speed: float,
    root: float,
    exponent: float,
    doubled: float,
    seed: int,
) -> list[float]:
    """The largest ‖H_k − H_0‖ over its bound along the descent of each width."""
    shares = []
    for width in widths:
        x, weights, a = _random_units(width, seed) if random else _equal_units(width)
        units = _Units(x, a)
        y = units.values(weights) + (1.0 if not random else np.array([1.0, -1.0, 1.0, -1.0]))
        found = _found(x, weights, a, y)
        found = found._replace(lipschitz=found.lipschitz * width ** (0.5 - exponent))
        first = units.gram(weights)
        pace = step / _norm(first)
        run = units.descend(weights, y, speed * pace, steps)
        bounds = [
            uniform_drift_bound(
                doubled * k * pace * root**2,
                residual_norm=found.residual_norm,
                jacobian_norm=found.jacobian_norm,
                lipschitz=found.lipschitz,
            )
            for k in range(1, steps + 1)
        ]
        drifts = [_norm(units.gram(place) - first) for place in run[1:]]
        shares.append(float(np.max(np.array(drifts) / bounds)))
    return shares


@result(
    "S24",
    "Constancy of the kernel in width",
    theorem="cor-constant-kernel",
    exercise="ex-constancy",
    evidence="searched",
    falsified_by={"speed": 2.0},
    sweep=[{"random": True, "widths": (4, 64)}, {"random": True, "widths": (16,), "seed": 1}],
    mutants=[
        Mutant.statement("the square root of t/2 is that of t/4", root=math.sqrt(0.5)),
        Mutant.statement("L falls like m to the -0.6", exponent=0.6),
        Mutant.code(
            "the bound lacks the factor 2 of its first term",
            "convergence.uniform_drift_bound",
            lambda f: lambda t, *, jacobian_norm, **k: f(t, jacobian_norm=jacobian_norm / 2, **k),
        ),
    ],
)
def kernel_is_constant_in_width(
    widths: tuple[int, ...] = (1, 32, 1024),
    random: bool = False,
    speed: float = 1.0,
    root: float = 1.0,
    exponent: float = 0.5,
    seed: int = 0,
) -> list[Check]:
    """Up to time t the flow of ½‖r‖² changes the kernel by at most LR(2‖J₀‖ + LR) with
    R = ‖r₀‖√(t/2), and L is of order m^{-1/2}: on [0, t] the kernel becomes constant.

    The largest share of the bound along a flow, by descent with short steps, at each width: units
    that all stand where tanh″ is largest, taught by one point to change their output by 1; with
    `random=True` pairs of normal units on four points. `speed=2` descends on ‖r‖².
    """
    shares = _drift_shares(widths, random, 0.01, 300, speed, root, exponent, 1.0, seed)
    return [
        Check(f"‖H_t − H₀‖ over its bound, m = {m}", share, "<=", 1)
        for m, share in zip(widths, shares, strict=True)
    ]


@result(
    "S24",
    "k_{w_0} against k_{w_100}",
    theorem="cor-hundred-steps",
    evidence="searched",
    falsified_by={"speed": 190.0},
    sweep=[
        {"random": True, "widths": (4, 64)},
        {"random": True, "widths": (16,), "seed": 1, "step": 0.5},
        {"step": 0.03},
    ],
    mutants=[
        Mutant.statement("the square root of ηT is that of ηT/4", root=0.5),
        Mutant.statement("L falls like m to the -0.6", exponent=0.6),
        Mutant.code(
            "the bound lacks the factor 2 of its first term",
            "convergence.uniform_drift_bound",
            lambda f: lambda t, *, jacobian_norm, **k: f(t, jacobian_norm=jacobian_norm / 2, **k),
        ),
    ],
)
def kernel_after_a_hundred_steps(
    widths: tuple[int, ...] = (1, 32, 1024),
    random: bool = False,
    step: float = 0.0126,
    speed: float = 1.0,
    root: float = 1.0,
    exponent: float = 0.5,
    seed: int = 0,
) -> list[Check]:
    """After T steps of descent, each of which lowers the loss by at least ½η‖∇L‖², the kernel has
    changed by at most LR(2‖J₀‖ + LR) with R = ‖r₀‖√(ηT), which vanishes like m^{-1/2}.

    The largest share of the bound over the first hundred steps, of `step` over λ_max each, for the
    units of `kernel_is_constant_in_width`. With `speed=190` the step is 2.4 over λ_max, on which
    the loss rises.
    """
    shares = _drift_shares(widths, random, step, 100, speed, root, exponent, 2.0, seed)
    return [
        Check(f"‖H_k − H₀‖ over its bound, k up to 100, m = {m}", share, "<=", 1)
        for m, share in zip(widths, shares, strict=True)
    ]


# --- the scale of the output -------------------------------------------------------------------


def _parabola(
    sigma: float, slope: float, label: float, scale: float, offset: float
) -> dict[str, float]:
    """α(f₀ + σθ + sLθ²/2) from 0 to its label, in closed form and by its logistic equation:
    how far parameter and kernel go, and how far the output strays from that of its line.
    """
    rho = abs(scale * offset - label)
    inner = sigma**2 + 2 * slope * (label / scale - offset)
    if inner <= 0:  # stuck at the vertex
        return {"distance": sigma / abs(slope), "change": sigma**2, "gap": rho, "rate": 0.0}
    end = math.sqrt(inner)
    distance, change = abs(end - sigma) / abs(slope), abs(end**2 - sigma**2)
    # ρ̇ = −(c + bρ)ρ with the eigenvalue c + bρ, which is end² at the end and σ² at the start.
    c, b = end**2, (sigma**2 - end**2) / rho
    t = np.linspace(0, 12 / min(c, sigma**2), 2001)
    left = c * rho / ((c + b * rho) * np.exp(c * t) - b * rho)
    gap = float(np.max(np.abs(left - rho * np.exp(-(sigma**2) * t))))
    return {"distance": distance, "change": change, "gap": gap, "rate": min(c, sigma**2)}


@result(
    "S24",
    "Scaling of the output",
    theorem="thm-lazy",
    exercise="ex-parabola",
    evidence="rounding",
    falsified_by={"offset": -0.05},
    sweep=[
        {"scale": 0.4},
        {"scale": 100.0, "bend": 1.0},
        {"scale": 1.3, "bend": 1.0},
        {"width": 64, "scale": 60.0},
    ],
    mutants=[
        Mutant.statement("the constant L is halved", constant=0.5),
        Mutant.statement("α to the 1.1", exponent=1.1),
        Mutant.code(
            "the change of the kernel lacks its factor 2",
            "lazy_training.lazy_bounds",
            lambda f: lambda *a: (lambda b: b._replace(kernel_change=b.kernel_change / 2))(f(*a)),
        ),
        Mutant.code(
            "the rate is that of the start",
            "lazy_training.lazy_bounds",
            lambda f: lambda found, a: f(found, a)._replace(rate=found.sigma_min**2),
        ),
    ],
)
def scaled_models_are_lazy(
    scale: float = 10.0,
    bend: float = -1.0,
    width: int = 0,
    offset: float = 0.0,
    constant: float = 1.0,
    exponent: float = 1.0,
) -> list[Check]:
    """With f(θ₀) = 0 and α > α* = 2L‖y‖/σ₀² the flow of ‖αf − y‖²/(2α²) stays within
    (σ₀/L)(1 − √(1 − α*/α)) of its start, its kernel within O(1/α) of H₀, its predictions within
    O(1/α) of the linearized model's, and its residual shrinks at least at the rate σ₀²(1 − α*/α).

    The parabola f₀ + σ₀θ + bend·Lθ²/2 in closed form, with σ₀ = 2, L = ½ and y = 3, where α* = ¾;
    with a `width` pairs of tanh units, along their flow. The bounds take f₀ for 0; `offset` is f₀.

    Loose: the gap of the predictions is bounded as if the kernel had changed at once by all that it
    changes; along a parabola this costs a factor 2.3 at all scales. `scale=0.4`, below α*, gives
    infinite bounds, which hold.
    """
    alpha = scale**exponent
    if width:
        return _lazy_units(scale, alpha, width, constant)
    sigma, slope, label = 2.0, 0.5, 3.0
    found = Constants(1, 1, sigma, sigma, sigma, label, constant * slope, sigma**2)
    bounds = lazy_training.lazy_bounds(found, alpha)
    met = _parabola(sigma, bend * slope, label, scale, offset)
    return _lazy_checks(met, bounds, 10 * float(np.finfo(float).eps))


def _lazy_checks(
    met: dict[str, float], bounds: lazy_training.LazyBounds, rounding: float
) -> list[Check]:
    """Shares of the bounds; of an infinite bound nothing."""
    return [
        Check("‖θ_t − θ₀‖ over R", met["distance"] / bounds.distance, "<=", 1, rounding),
        Check("‖H_t − H₀‖ over its bound", met["change"] / bounds.kernel_change, "<=", 1, rounding),
        Check("‖ŷ_t − ȳ_t‖ over its bound", met["gap"] / bounds.prediction_gap, "<=", 1, rounding),
        Check(
            "rate over that which is met", bounds.rate / max(met["rate"], 1e-9), "<=", 1, rounding
        ),
    ]


def _lazy_units(scale: float, alpha: float, width: int, constant: float) -> list[Check]:
    x, weights, a = _random_units(width, 0)
    y, units = np.array([1.0, -1.0, 1.0, -1.0]), _Units(x, a)
    found = _found(x, weights, a, y)
    found = found._replace(lipschitz=constant * found.lipschitz)
    bounds = lazy_training.lazy_bounds(found, alpha)
    first = units.gram(weights)
    values, vectors = np.linalg.eigh(first)
    step = 0.02 / values[-1]
    run = units.descend(weights, y, step, 1500, scale)
    times = step * np.arange(len(run))
    shares = 1 - np.exp(-values * times[:, None])
    lazy = (shares * (vectors.T @ y)) @ vectors.T
    outputs = np.array([scale * units.values(place) for place in run])
    norms = np.linalg.norm(outputs - y, axis=1)
    met = {
        "distance": max(float(np.linalg.norm(place - weights)) for place in run),
        "change": max(_norm(units.gram(place) - first) for place in run[::50]),
        # Short steps are the flow up to half their length times λ_max, of ‖y‖ = 2.
        "gap": float(np.max(np.linalg.norm(outputs - lazy, axis=1))) - 0.01,
        "rate": float(np.min(-np.log(norms[1:] / norms[0]) / times[1:])),
    }
    return _lazy_checks(met, bounds, 0.0)


@result(
    "S24",
    "Scaling by ε",
    theorem="prop-epsilon",
    exercise="ex-epsilon",
    evidence="rounding",
    falsified_by={"shift": 0.01},
    sweep=[{"epsilon": 0.01}, {"epsilon": 3.0, "seed": 1}],
    mutants=[
        Mutant.statement("the clock runs with ε to the 1.9", clock=1.9),
        Mutant.statement("the start is forgotten at once", bias=0.0),
        Mutant.code(
            "the output is scaled by ε to the 1.1",
            "lazy_training.scaled",
            lambda f: lambda network, scale: f(network, scale**1.1),
        ),
    ],
)
def small_outputs_forget_their_start(
    epsilon: float = 0.1,
    shift: float = 0.0,
    clock: float = 2.0,
    bias: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """A model scaled by ε starts at εf₀ with the kernel ε²K, and its linearization is at time t/ε²
    the flow from 0 plus ε times what the unscaled flow keeps of its start; it is lazy from
    ε > 2L‖εf₀ − y‖/σ₀² on.

    A network of two layers of tanh: output and kernel of the scaled one over ε and ε², less those
    of the original, and its kernel flow at t/ε² less (I − e^{−Kt})y + εe^{−Kt}f₀ by eigenvectors,
    on four training points and two others. `shift` is added to the scaled output.
    """
    network = networks.mlp((16, 1), activation="tanh", b_std=0.5)
    params = network.init(jax.random.key(seed), 3)
    x = jnp.asarray(np.random.default_rng(seed).normal(size=(6, 3)))
    small = lazy_training.scaled(network, epsilon)
    first = np.asarray(network.apply(params, x), float)[:, 0]
    start = np.asarray(small.apply(params, x)[:, 0] + shift)
    kernel = np.asarray(tangent_kernel.empirical_ntk(network.apply, params, x), float)
    scaled = tangent_kernel.empirical_ntk(small.apply, params, x)
    y, t = np.array([1.0, -1.0, 1.0, 1.0]), 0.7
    flows = kernel_flow(
        scaled[:4, :4],
        y,
        t / epsilon**clock,
        f0=start[:4],
        k_test=scaled[4:, :4],
        f0_test=start[4:],
    )
    values, vectors = np.linalg.eigh(kernel[:4, :4])
    decay = (vectors * np.exp(-values * t)) @ vectors.T
    across = kernel[4:, :4] @ (vectors / values) @ vectors.T
    after = y - decay @ y
    kept = bias * epsilon * (decay @ first[:4])
    shared = bias * epsilon * (first[4:] - across @ (first[:4] - decay @ first[:4]))
    expected = np.concatenate([after + kept, across @ after + shared])
    # The smallest eigenvalue divides the errors of the kernel.
    scale = float(np.max(kernel) / values[0]) * max(1.0, float(np.max(np.abs(expected))))
    return [
        Check(
            "output over ε, less f₀",
            float(np.max(np.abs(start / epsilon - first))),
            "==",
            0,
            rounding_tolerance(),
        ),
        Check(
            "kernel over ε², less K",
            float(np.max(np.abs(np.asarray(scaled) / epsilon**2 - kernel))),
            "==",
            0,
            rounding_tolerance(float(np.max(kernel))),
        ),
        Check(
            "flow at t/ε² less its closed form",
            float(np.max(np.abs(np.concatenate([np.asarray(f) for f in flows]) - expected))),
            "==",
            0,
            rounding_tolerance(scale),
        ),
    ]


# --- starts at zero ----------------------------------------------------------------------------


@result(
    "M21",
    "Section 4.1, paired units",
    theorem="prop-paired",
    exercise="ex-pairs",
    evidence="rounding",
    falsified_by={"apart": 1e-3},
    sweep=[{"outputs": 2, "depth": 2}, {"activation": "relu", "seed": 1}],
    mutants=[
        Mutant.statement("without 1/√2 the kernel is the same", gain=math.sqrt(2)),
        Mutant.code(
            "the second copy starts elsewhere",
            "networks.unbiased",
            lambda f: (
                lambda network: networks.Network(
                    lambda key, d: (
                        network.init(key, d),
                        network.init(jax.random.fold_in(key, 1), d),
                    ),
                    f(network).apply,
                )
            ),
        ),
    ],
)
def paired_networks_start_at_zero(
    activation: str = "tanh",
    outputs: int = 1,
    depth: int = 1,
    apart: float = 0.0,
    gain: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """(f(θ) − f(θ′))/√2 with θ′ = θ is exactly 0 everywhere, and its tangent kernel is that of f.

    The largest output at five points, without tolerance, and the largest entry of the difference of
    the two kernels. `apart` is added to every weight of the second copy.
    """
    network = networks.mlp((*[6] * depth, outputs), activation=activation, b_std=1.0)
    pair = networks.unbiased(network)
    key = jax.random.key(seed)
    x = jnp.asarray(np.random.default_rng(seed).normal(size=(5, 3)))
    theta, other = pair.init(key, 3)
    both = theta, jax.tree.map(lambda leaf: leaf + apart, other)
    kernel = tangent_kernel.empirical_ntk(network.apply, theta, x)
    paired = gain**2 * tangent_kernel.empirical_ntk(pair.apply, both, x)
    change = float(jnp.max(jnp.abs(paired - kernel)))
    scale = float(jnp.max(jnp.abs(kernel)))
    return [
        Check("largest output", float(jnp.max(jnp.abs(pair.apply(both, x)))), "==", 0),
        Check("kernel less that of f", change, "==", 0, rounding_tolerance(scale)),
    ]


@result(
    "S24",
    "Symmetric initialization",
    theorem="prop-paired",
    evidence="rounding",
    falsified_by={"uneven": 1e-3},
    sweep=[{"pairs": 1}, {"std": 10.0, "seed": 1}],
    mutants=[
        Mutant.statement("the kernel is that of one half", copies=1.0),
        Mutant.statement("scaled by τ in place of τ²", power=1.0),
        Mutant.code(
            "the partner's weights are mirrored as well",
            "lazy_training.mirrored_start",
            lambda f: lambda *a, **k: (lambda w, a: (w * jnp.sign(a)[:, None], a))(*f(*a, **k)),
        ),
    ],
)
def mirrored_units_start_at_zero(
    pairs: int = 4,
    std: float = 0.1,
    uneven: float = 0.0,
    copies: float = 2.0,
    power: float = 2.0,
    seed: int = 0,
) -> list[Check]:
    """Units (w, a) and (w, −a) cancel, and the tangent kernel is twice that of one of each pair, of
    order τ² in the standard deviation of the weights.

    Outputs at five points over the sum of the units' sizes, and the kernel over τ², less twice that
    of half of the units drawn with τ = 1. `uneven` is added to the first output weight.
    """
    key = jax.random.key(seed)
    weights, a = lazy_training.mirrored_start(key, 3, pairs=pairs, std=std)
    a = a.at[0].add(uneven)
    x = jnp.asarray(np.random.default_rng(seed).normal(size=(5, 3)))
    drawn = lazy_training.mirrored_start(key, 3, pairs=pairs, std=1.0)
    half, outer = (np.asarray(leaf, float)[::2] for leaf in drawn)
    z = np.asarray(x, float) @ half.T
    active = (z > 0) * outer
    points = np.asarray(x @ x.T, float)
    expected = copies * (points * (active @ active.T) + np.maximum(z, 0) @ np.maximum(z, 0).T)
    found = tangent_kernel.empirical_ntk(lazy_training.relu_sum, (weights, a), x)
    change = np.max(np.abs(np.asarray(found, float) / std**power - expected))
    sizes = float(jnp.max(jnp.maximum(x @ weights.T, 0) @ jnp.abs(a)))
    return [
        Check(
            "largest output over the sum of its terms",
            float(jnp.max(jnp.abs(lazy_training.relu_sum((weights, a), x)))) / sizes,
            "==",
            0,
            2 * pairs * float(jnp.finfo(x.dtype).eps),
        ),
        Check(
            "kernel over τ² less twice that of half",
            float(change),
            "==",
            0,
            rounding_tolerance(float(np.max(expected))),
        ),
    ]


# --- mean field --------------------------------------------------------------------------------


@result(
    "S24",
    "Mean-field and μP scalings",
    theorem="prop-mean-field",
    exercise="ex-mean-field",
    evidence="rounding",
    falsified_by={"replicated": False},
    sweep=[{"copies": 2, "activation": "relu"}, {"seed": 1}],
    mutants=[
        Mutant.statement("an output over m to the 0.9", exponent=0.4),
        Mutant.statement("the step does not grow with the width", pace=0.0),
        Mutant.code(
            "the output is scaled by α to the 0.9",
            "lazy_training.scaled",
            lambda f: lambda network, scale: f(network, scale**0.9),
        ),
    ],
)
def mean_field_ignores_the_width(
    copies: int = 4,
    activation: str = "tanh",
    replicated: bool = True,
    exponent: float = 0.5,
    pace: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """In NTK parameterization divided by √m, trained with steps m times as long, a two-layer
    network whose units are copies of those of a narrower one stays equal to it, so that its kernel
    moves as much; undivided, its threshold α* falls like m^{-1/2}.

    Six units and `copies` times as many: outputs at five points after 30 steps, the wide network's
    less the narrow one's, and α* of the narrow paired tanh network over √copies times that of the
    wide one. With `replicated=False` the wide network's units are drawn independently.
    """
    x = jnp.asarray(np.random.default_rng(seed).normal(size=(5, 3)))
    y = jnp.asarray(np.array([1.0, -1.0, 1.0, -1.0, 1.0]))
    few, many = 6, 6 * copies
    start = networks.mlp((few, 1), activation=activation).init(jax.random.key(seed), 3)
    first, last = (np.asarray(layer["weight"]) for layer in start)
    wide: Any = (
        {"weight": jnp.asarray(np.repeat(first, copies, axis=0))},
        {"weight": jnp.asarray(np.repeat(last, copies, axis=1))},
    )
    if not replicated:
        wide = networks.mlp((many, 1), activation=activation).init(jax.random.key(seed + 1), 3)
    outputs = []
    for width, params in ((few, start), (many, wide)):
        network = networks.mlp((width, 1), activation=activation)
        model = lazy_training.scaled(network, float(width) ** -exponent).apply
        step = 0.02 * (width / few) ** pace * few
        end = network_descent(model, params, x, y, 30, step_size=step)
        outputs.append(np.asarray(model(end, x), float))
    thresholds = []
    for width, params in ((few, start), (many, wide)):
        pair = networks.unbiased(networks.mlp((width, 1), activation="tanh"))
        found = convergence.constants(pair, (params, params), x[:3], y[:3])
        thresholds.append(lazy_training.lazy_bounds(found, 1.0).threshold)
    return [
        Check(
            "outputs after 30 steps, wide less narrow",
            float(np.max(np.abs(outputs[1] - outputs[0]))),
            "==",
            0,
            # Thirty steps, each of which may pass on the rounding of the one before.
            30 * rounding_tolerance(),
        ),
        Check(
            "α* at 6 units over √copies times α* of all",
            thresholds[0] / (math.sqrt(copies) * thresholds[1]),
            "==",
            1,
            1e-3,
        ),
    ]


# --- a diagonal linear network -----------------------------------------------------------------


def _sparse_problem(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal points, labelled by two of their coordinates."""
    x = np.random.default_rng(seed).normal(size=(n, d)) / math.sqrt(d)
    return x, x[:, 0] - 0.5 * x[:, 1]


@result(
    "M21",
    "Section 4.1, paired units of Woodworth et al.",
    theorem="thm-implicit",
    exercise="ex-implicit",
    evidence="rounding",
    falsified_by={"uneven": 1.05},
    sweep=[{"scale": 0.03}, {"scale": 2.0}, {"n": 3, "d": 5, "seed": 1}],
    mutants=[
        Mutant.statement("α is 5 % larger", factor=1.05),
        Mutant.statement("the ℓ1 norm at every scale", factor=0.01),
        Mutant.code(
            "sinh lacks its factor 2",
            "lazy_training.implicit_minimizer",
            lambda f: lambda x, y, scale: f(x, y, scale / math.sqrt(2)),
        ),
        Mutant.code(
            "the penalty lacks its logarithm",
            "lazy_training.implicit_penalty",
            lambda f: lambda beta, scale: float(np.sum(np.asarray(beta) ** 2)) / (4 * scale**2),
        ),
    ],
)
def paired_diagonal_networks_minimize_q(
    scale: float = 0.3,
    n: int = 5,
    d: int = 12,
    factor: float = 1.0,
    uneven: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """From u = v = α·1 the gradient flow of ½‖X(u² − v²) − y‖² ends at the minimizer of Q_α among
    all β with Xβ = y, which is 2α² sinh(Xᵀν).

    The flow in u and v up to a time at which nothing moves any more, against Newton's method for ν;
    the part of arsinh(β/2α²) outside of the span of the rows of X; and Q_α at the flow's limit less
    the smallest Q_α at points 0.01 away from it, relatively, in directions that keep Xβ. `uneven`
    is the start of v over that of u.
    """
    x, y = _sparse_problem(n, d, seed)
    double = jnp.result_type(float) == jnp.float64
    found = lazy_training.implicit_minimizer(x, y, factor * scale)
    # Near the limit the kernel is 4X diag(√(β² + 4α⁴))Xᵀ: 40 spans of its slowest rate.
    gram = 4 * (x * np.sqrt(found**2 + 4 * scale**4)) @ x.T
    u, v = lazy_training.diagonal_start(d, scale)
    end = network_flow(
        lazy_training.diagonal_network,
        (u, uneven * v),
        x,
        y,
        40 / float(np.linalg.eigvalsh(gram)[0]),
        rtol=1e-13 if double else 1e-5,
        atol=1e-15 if double else 1e-6,
    )
    limit = np.asarray(end[0], float) ** 2 - np.asarray(end[1], float) ** 2
    tolerance = 1e-10 if double else 1e-3
    size = float(np.max(np.abs(limit)))
    potential = np.arcsinh(limit / (2 * (factor * scale) ** 2))
    outside = potential - np.linalg.pinv(x) @ (x @ potential)
    kernel = np.linalg.svd(x)[2][n:]
    nearby = [
        lazy_training.implicit_penalty(limit + sign * 0.01 * size * row, scale)
        for row in kernel
        for sign in (1, -1)
    ]
    here = lazy_training.implicit_penalty(limit, scale)
    return [
        Check(
            "β of the flow less the minimizer",
            float(np.max(np.abs(limit - found))),
            "==",
            0,
            tolerance * size,
        ),
        Check(
            "arsinh(β/2α²) outside of the rows of X",
            float(np.max(np.abs(outside))),
            "==",
            0,
            # The potential's slope is at most 1/(2α²).
            tolerance * (1 + size / (2 * scale**2)),
        ),
        Check(
            "Q of the flow's limit less the least nearby",
            here - min(nearby),
            "<=",
            0,
            1e-10 if double else 1e-5,
        ),
    ]


@result(
    "M21",
    "Section 4.1, large paired weights",
    theorem="prop-kernel-limit",
    evidence="exact",
    falsified_by={"start": 0.8},
    sweep=[{"scale": 30.0}, {"scale": 0.5}, {"n": 5, "d": 12}, {"n": 2, "d": 4, "scale": 1.0}],
    mutants=[
        Mutant.statement("1/24 is 1/30", constant=30.0),
        Mutant.statement("α to the −4.1", exponent=4.1),
        Mutant.code(
            "the flow starts at 0.9 α",
            "lazy_training.implicit_minimizer",
            lambda f: lambda x, y, scale: f(x, y, 0.9 * scale),
        ),
    ],
)
def large_starts_find_the_least_norm(
    scale: float = 3.0,
    n: int = 1,
    d: int = 2001,
    start: float = 1.0,
    constant: float = 24.0,
    exponent: float = 4.0,
) -> list[Check]:
    """The minimizer of Q_α is within (Σᵢ βᵢ⁶)^{1/2}/(24α⁴) of the solution of least ℓ2 norm, which
    the kernel of the start finds.

    The distance over its bound for one equation in which a coordinate counts as much as a fifth of
    two thousand others together, where nearly all of β³ keeps the equation; with `n=5` for normal
    equations. `start` is the flow's α over the bound's.
    """
    if n == 1:
        x = np.full((1, d), math.sqrt(5 / (d - 1)))
        x[0, 0] = 1.0
        y = np.ones(1)
    else:
        x, y = _sparse_problem(n, d, 0)
    beta = lazy_training.implicit_minimizer(x, y, start * scale)
    least = np.linalg.pinv(x) @ y
    bound = math.sqrt(np.sum(beta**6)) / (constant * scale**exponent)
    # Two solutions are compared, each with an error of some units in the last place.
    rounding = 1e-14 * float(np.linalg.norm(least)) / bound
    distance = float(np.linalg.norm(beta - least)) / bound
    return [Check("distance from the least ℓ2 norm over its bound", distance, "<=", 1, rounding)]


@result(
    "M21",
    "Section 4.1, small paired weights",
    theorem="thm-sparse-limit",
    exercise="ex-sparse",
    evidence="searched",
    falsified_by={"start": 0.5},
    sweep=[{"d": 30, "scale": 1e-6}, {"d": 2, "scale": 1e-3}, {"scale": 1e-30}, {"n": 5, "d": 12}],
    mutants=[
        Mutant.statement("half of ln d", constant=0.5),
        Mutant.statement("Λ to the −1.1", exponent=1.1),
        Mutant.code(
            "Λ lacks its factor 2",
            "lazy_training.sparsity_bound",
            lambda f: lambda scale, **k: f(scale**2, **k),
        ),
    ],
)
def small_starts_find_the_least_sum(
    d: int = 20_000,
    scale: float = 1e-50,
    n: int = 1,
    start: float = 1.0,
    constant: float = 1.0,
    exponent: float = 1.0,
) -> list[Check]:
    """With Λ = ln(S/α²) and δ = dα²/S the minimizer of Q_α has an ℓ1 norm of at most
    S(1 + δ)(Λ + δ)/(Λ − ln d), where S is the least possible one: an excess of ln d/(2 ln(1/α)).

    The relative excess over its bound, for the equation β₁ + s(β₂ + … + β_d) = 1 whose solution of
    least ℓ1 norm is the first unit vector, at the worst of 8 values of s; with `n=5` for normal
    equations. `start` is the exponent of α from which the flow starts.
    """
    shares = []
    logarithm = -2 * math.log(scale)
    for c in np.linspace(0.3, 4, 8) if n == 1 else (0.0,):
        if n == 1:
            x = np.full((1, d), 1 - max(math.log(d) - c, 0.1) / (start * logarithm))
            x[0, 0] = 1.0
            y, least = np.ones(1), 1.0
        else:
            x, y = _sparse_problem(n, d, 0)
            least = float(np.sum(np.abs(lazy_training.least_absolute_sum(x, y))))
        beta = lazy_training.implicit_minimizer(x, y, scale**start)
        bound = lazy_training.sparsity_bound(scale, d=d, least=least) - 1
        bound *= constant * logarithm ** (1 - exponent)
        shares.append((float(np.sum(np.abs(beta))) / least - 1) / bound)
    return [Check("excess of the ℓ1 norm over its bound", max(shares), "<=", 1)]
