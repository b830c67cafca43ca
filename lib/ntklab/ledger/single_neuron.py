"""The ledger of single_neuron: its entries and their oracles."""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntklab import _validate, single_neuron, sphere
from ntklab.checks import Check, rounding_tolerance
from ntklab.ledger import Mutant, result

# --- oracles ------------------------------------------------------------------------------------


def _product(cosines: np.ndarray) -> np.ndarray:
    """E ReLU(a·x)ReLU(b·x) of unit vectors, under the standard normal law."""
    cosines = np.clip(cosines, -1, 1)
    angles = np.arccos(cosines)
    return np.asarray((np.sin(angles) + (np.pi - angles) * cosines) / (2 * np.pi))


@functools.lru_cache
def _directions(dimension: int, arc: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Directions and weights: a quadrature rule for the circle, an arc of it, or the sphere."""
    if dimension == 2:
        angles = 2 * np.pi * arc * (np.arange(360) + 0.5) / 360
        return np.stack([np.cos(angles), np.sin(angles)], axis=1), np.full(360, 1 / 360)
    heights, weights = np.polynomial.legendre.leggauss(20)
    angles = 2 * np.pi * np.arange(40) / 40
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii = np.sqrt(1 - heights**2)
    points = np.concatenate(
        [radii[:, None, None] * around, np.broadcast_to(heights[:, None, None], (20, 40, 1))],
        axis=2,
    )
    return points.reshape(-1, 3), np.repeat(weights / 80, 40)


@functools.lru_cache
def _coefficients(dimension: int, max_degree: int, slope: float = 0.0) -> tuple[float, ...]:
    """E φ(t)P_k(t) for φ = ReLU with a slope on the negative side, by Gauss's rule in the angle."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    angles = np.pi / 4 * (nodes + 1)
    t = np.cos(angles)
    density = weights * np.sin(angles) ** (dimension - 2)
    density = density / (2 * np.sum(density))
    last, present = np.zeros_like(t), np.ones_like(t)
    found = []
    for k in range(max_degree + 1):
        half = float(np.sum(density * t * present))
        found.append(half + slope * (-1) ** (k + 1) * half)
        factor = k + dimension - 2
        following = t * present * (2 * k + dimension - 2) - k * last
        last, present = present, following / factor if factor else t * present
    return tuple(found)


def _spectrum(dimension: int, max_degree: int) -> list[tuple[int, float]]:
    """Multiplicities and eigenvalues at norm 1, by degree, without the empty degrees."""
    mu = _coefficients(dimension, max_degree)
    degrees = [0, 1, *range(2, max_degree + 1, 2)]
    return [
        (
            math.comb(k + dimension - 1, k) - (math.comb(k + dimension - 3, k - 2) if k > 1 else 0),
            dimension * mu[k] ** 2,
        )
        for k in degrees
    ]


# --- the floors ---------------------------------------------------------------------------------


@result(
    "S24",
    "Section 14.3, one ReLU: features",
    theorem="thm-feature-floor",
    exercise="ex-best-features",
    evidence="rounding",
    falsified_by={"arc": 0.2},
    sweep=[
        {"features": 3},
        {"features": 12, "weight_norm": 5.0},
        {"features": 9, "dimension": 3},
        {"features": 6, "spaced": False, "seed": 1},
    ],
    mutants=[
        Mutant.statement("p − 1 eigenvalues are left out, not p", left_out=-1),
        Mutant.statement("the floor grows with ‖w‖, not its square", power=1.0),
        Mutant.code(
            "the linear functions are not counted",
            "single_neuron.feature_count",
            lambda f: lambda degree, d: f(degree, d) - d,
        ),
        Mutant.code(
            "the shares lack a tenth",
            "single_neuron.degree_share",
            lambda f: lambda degree, d: 0.9 * f(degree, d),
        ),
    ],
)
def features_have_a_floor(
    features: int = 7,
    dimension: int = 2,
    weight_norm: float = 1.0,
    arc: float = 1.0,
    spaced: bool = True,
    left_out: int = 0,
    power: float = 2.0,
    seed: int = 0,
) -> list[Check]:
    """No p features, fixed before the neuron, fit the neurons of one norm better than Σ_{j>p} λ_(j)
    in mean over their directions, and some p features are as good.

    The mean error of p ReLU features, equispaced or random, by their Gram matrices in NumPy and
    a quadrature rule for the directions; and the floor beside what the p largest eigenvalues of
    the neurons' own Gram matrix leave. With `arc` below 1 directions and features lie on a part
    of the circle.
    """
    points, weights = _directions(dimension, arc)
    if spaced and dimension == 2:
        angles = 2 * np.pi * arc * np.arange(features) / features
        units = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    else:
        units = np.random.default_rng(seed).normal(size=(features, dimension))
        units /= np.linalg.norm(units, axis=1, keepdims=True)
    inner = _product(units @ points.T)
    caught = np.sum(inner * (np.linalg.pinv(_product(units @ units.T)) @ inner), axis=0)
    mean = weight_norm**2 * float(0.5 - weights @ caught)
    root = np.sqrt(weights)
    eigenvalues = np.linalg.eigvalsh(root[:, None] * _product(points @ points.T) * root)
    left = weight_norm**2 * float(np.sum(eigenvalues[: len(points) - features]))
    floor = single_neuron.feature_floor(features + left_out, dimension, 1.0) * weight_norm**power
    # The arc-cosine kernel has a kink of third order, for which the rules are this exact.
    rule = 2e-6 if dimension == 2 else 2e-4
    return [
        Check("mean error of p ReLU features", mean, ">=", floor, rule * weight_norm**2),
        Check("what the best p features leave", left, "==", floor, rule * weight_norm**2),
    ]


@result(
    "S24",
    "Section 14.3, one ReLU: spectrum",
    theorem="prop-relu-spectrum",
    exercise="ex-circle-spectrum",
    evidence="rounding",
    falsified_by={"slope": 0.1},
    sweep=[{"dimension": 2}, {"dimension": 3, "weight_norm": 4.0}, {"dimension": 40}],
    mutants=[
        Mutant.statement("the factor d is dropped", factor=False),
        Mutant.statement("the norm is not squared", power=1.0),
        Mutant.code(
            "the shares of the even degrees are a hundredth too large",
            "single_neuron._shares",
            lambda f: lambda k, d: 1.01 * f(k, d),
        ),
        Mutant.code(
            "degree 3 has a share",
            "single_neuron.degree_share",
            lambda f: lambda degree, d: f(2 if degree == 3 else degree, d),
        ),
    ],
)
def neurons_have_this_spectrum(
    dimension: int = 10,
    weight_norm: float = 2.0,
    factor: bool = True,
    power: float = 2.0,
    slope: float = 0.0,
) -> list[Check]:
    """The neurons of one norm have the eigenvalues λ_k = ‖w‖² d μ_k², N(d, k) times, with μ_k = 0
    for odd k ≥ 3, and they sum to ‖w‖²/2.

    μ_k by Gauss's rule, for degrees up to 12, against the closed form; the sum of the closed form.
    `slope` is the slope of the activation on the negative side.
    """
    scale = weight_norm**power * (dimension if factor else 1)
    expected = scale * np.array(_coefficients(dimension, 12, slope)) ** 2
    found = [single_neuron.relu_eigenvalue(k, dimension, weight_norm) for k in range(13)]
    counts = [sphere.harmonics(dimension, k) for k in range(13)]
    total = float(np.dot(found, counts)) + weight_norm**2 * single_neuron.share_beyond(
        12, dimension
    )
    # A hundredth of the share of a degree, relative to all; Gauss's rule is exact to 1e-12.
    gaps = np.abs(np.array(found) - expected) * counts / weight_norm**2
    return [
        Check("largest gap of a degree's share", float(np.max(gaps)), "==", 0, 1e-10),
        Check("sum of all eigenvalues", total, "==", weight_norm**2 / 2, 1e-8 * weight_norm**2),
    ]


def _shrunk(kernel: list[float], spectrum: list[tuple[int, float]], ridge: float) -> Any:
    """Error and mean square norm of the ridge fits by a kernel with these eigenvalues."""
    error = norm = 0.0
    for (number, value), own in zip(spectrum, kernel, strict=True):
        kept = own / (own + ridge)
        error += number * value * (1 - kept) ** 2
        norm += number * value / own * kept**2
    return error, norm


@result(
    "S24",
    "Section 14.3, one ReLU: norms",
    theorem="thm-norm-floor",
    exercise="ex-attained-norm",
    evidence="rounding",
    falsified_by={"radius": 2.0},
    sweep=[
        {"dimension": 3, "ridge": 1e-3},
        {"dimension": 10, "ridge": 3e-4},
        {"dimension": 10, "weight_norm": 10.0, "ridge": 1e-5, "power": 0.5},
    ],
    mutants=[
        Mutant.statement("the norm is at least twice that", times=2.0),
        Mutant.statement("the accuracy is ε, not its root", root=False),
        Mutant.code(
            "each eigenvalue counts by its square",
            "single_neuron._log_norm",
            lambda f: lambda share, accuracy, value: f(share, accuracy, 2 * value),
        ),
        Mutant.code(
            "the neuron's norm comes in twice",
            "single_neuron.norm_floor",
            lambda f: lambda e, d, w, **k: f(e, d, w, **k) * max(w, 2),
        ),
    ],
)
def norms_have_a_floor(
    dimension: int = 2,
    weight_norm: float = 1.0,
    ridge: float = 1e-2,
    power: float = 0.5,
    radius: float = 1.0,
    times: float = 1.0,
    root: bool = True,
) -> list[Check]:
    """A kernel with E K(x, x) ≤ R², fixed before the neuron, needs functions of norm at least
    ‖w‖√τ(√τ − √ε/‖w‖)/(R√λ) for the mean error ε, where τ is the share of all degrees beyond some
    K and λ their largest eigenvalue.

    For the kernel whose eigenvalues are a power of the neurons' own, ½ being the best, the ridge
    fits of all neurons, by degree up to 60 with coefficients from Gauss's rule: their norm against
    the bound at their error. `radius` is the kernel's R, the bound's is 1.
    """
    spectrum = _spectrum(dimension, 60)
    kernel = [value**power for _, value in spectrum]
    scale = radius**2 / sum(number * own for (number, _), own in zip(spectrum, kernel, strict=True))
    error, norm = _shrunk([scale * own for own in kernel], spectrum, ridge * scale)
    error += 0.5 - sum(number * value for number, value in spectrum)
    accuracy = error if root else error**2
    bound = single_neuron.norm_floor(accuracy * weight_norm**2, dimension, weight_norm)
    return [Check("norm of the fits", weight_norm * math.sqrt(norm), ">=", times * bound)]


@result(
    "S24",
    "Section 14.3, one ReLU: where the exponential is",
    theorem="thm-exponential",
    exercise="ex-exponential-begins",
    evidence="exact",
    falsified_by={"odd": 1},
    sweep=[
        {"dimension": 2, "degree": 2},
        {"dimension": 10, "degree": 10},
        {"dimension": 2, "degree": 200},
        {"dimension": 100, "degree": 100},
        {"dimension": 100, "degree": 20000},
        {"dimension": 3000, "degree": 40},
    ],
    mutants=[
        Mutant.statement("the lower bound is a twentieth larger", lower=1.05),
        Mutant.statement("the lower bound falls as K^-2.9", low_power=2.9),
        Mutant.statement("the upper bound falls as K^-1.6", high_power=1.6),
        Mutant.statement("the upper bound is a fifth smaller", upper=0.8),
        Mutant.code(
            "the density at the equator is that of another dimension",
            "sphere.equator_density",
            lambda f: lambda d: f(d + 3) if d < 10 else 1.2 * f(d),
        ),
        Mutant.code(
            "the shares fall as k^-3.9",
            "single_neuron._shares",
            lambda f: lambda k, d: f(k, d) * k**0.1,
        ),
    ],
)
def shares_beyond_a_degree(
    dimension: int = 1000,
    degree: int = 20,
    odd: int = 0,
    lower: float = 1.0,
    upper: float = 1.0,
    low_power: float = 3.0,
    high_power: float = 1.5,
) -> list[Check]:
    """Beyond an even degree K ≥ 2 there is at least d c_d/(3π(K + d/2 + 1)³) and at most
    √2/(6π^{3/2}) K^{−3/2} of ‖w‖², for every d.

    Both bounds, up to their constants, from the closed form of the shares. `odd` makes K odd.
    """
    found = single_neuron.share_beyond(degree, dimension)
    at = degree + odd
    equator = math.exp(math.lgamma(dimension / 2) - math.lgamma((dimension - 1) / 2))
    low = dimension * equator / math.sqrt(math.pi) / (3 * math.pi)
    high = math.sqrt(2) / (6 * math.pi**1.5)
    return [
        Check(
            "share beyond K, from below",
            found,
            ">=",
            lower * low / (at + dimension / 2 + 1) ** low_power,
        ),
        Check("share beyond K, from above", found, "<=", upper * high / at**high_power),
    ]


@result(
    "S24",
    "Section 14.3, one ReLU of norm 1",
    theorem="prop-quadratic-kernel",
    evidence="exact",
    falsified_by={"weight_norm": 2.0},
    sweep=[{"dimension": 2}, {"dimension": 10}, {"dimension": 1000}],
    mutants=[
        Mutant.statement("the error is at most 1/100", error=0.01),
        Mutant.statement("the norm is at most √d", growth=0.5),
        Mutant.code(
            "degree 2 is not fitted",
            "single_neuron.share_beyond",
            lambda f: lambda degree, d: f(0, d),
        ),
        Mutant.code(
            "eigenvalues without their root",
            "single_neuron.relu_eigenvalue",
            lambda f: lambda degree, d, norm=1.0: f(degree, d, norm) ** 0.5,
        ),
    ],
)
def quadratics_fit_a_unit_neuron(
    dimension: int = 100, weight_norm: float = 1.0, error: float = 0.02, growth: float = 1.0
) -> list[Check]:
    """One kernel with E K(x, x) = 1 fits every neuron of norm 1 up to the error 1/50 by functions
    of norm at most d, in every dimension.

    The kernel has the degrees 0, 1 and 2 with eigenvalues √λ_k over Σ N√λ. Its error is what the
    degrees beyond 2 hold; its norm is computed with coefficients from Gauss's rule, and from the
    library's eigenvalues.
    """
    spectrum = _spectrum(dimension, 2)
    norm = weight_norm * sum(number * math.sqrt(value) for number, value in spectrum)
    own = [single_neuron.relu_eigenvalue(k, dimension, weight_norm) for k in range(3)]
    found = sum(n * math.sqrt(value) for (n, _), value in zip(spectrum, own, strict=True))
    left = weight_norm**2 * single_neuron.share_beyond(2, dimension)
    return [
        Check("error of the best quadratic fit", left, "<=", error),
        Check("norm of the fits", found, "<=", dimension**growth),
        Check("the two norms' ratio", found / norm, "==", 1, 1e-9),
    ]


# --- best fits ----------------------------------------------------------------------------------


@result(
    "S24",
    "Section 14.3, one ReLU: the tangent kernel's features",
    theorem="prop-best-fit",
    evidence="rounding",
    falsified_by={"stretch": 1.1},
    sweep=[{"seed": 1}, {"dimension": 5, "units": 6, "seed": 2}],
    mutants=[
        Mutant.statement("the cosine term is dropped", cosine=0.0),
        Mutant.code(
            "the Gram matrix lacks the part in the plane",
            "single_neuron._correlations",
            lambda f: lambda a, b: f(a, b) * np.eye(a.shape[1]),
        ),
        Mutant.code(
            "the tangent kernel's features are those of the last layer",
            "single_neuron.fit_errors",
            lambda f: lambda weights, targets, tangent=False: f(weights, targets),
        ),
    ],
)
def tangent_features_fit_in_closed_form(
    dimension: int = 2, units: int = 3, stretch: float = 1.0, cosine: float = 1.0, seed: int = 0
) -> list[Check]:
    """Best fits of a neuron by a network's last-layer features and by its tangent kernel's follow
    from closed forms of their Gram matrices.

    E 1(a·x > 0)1(b·x > 0)xxᵀ and both best fits against NumPy's least squares on a grid of angles
    in the plane that holds all weights, with an orthogonal complement of inputs that the tangent
    features multiply. `stretch` makes the inputs longer along one axis.
    """
    rng = np.random.default_rng(seed)
    flat, aims = rng.normal(size=(units, 2)), rng.normal(size=(4, 2))
    angles = 2 * np.pi * (np.arange(40000) + 0.5) / 40000
    x = math.sqrt(2) * np.stack([stretch * np.cos(angles), np.sin(angles)], axis=1)
    active = (x @ flat.T > 0).astype(float)
    values = np.maximum(x @ aims.T, 0)

    def error(features: np.ndarray) -> np.ndarray:
        fitted = features @ np.linalg.lstsq(features, values, rcond=None)[0]
        return np.asarray(np.mean((values - fitted) ** 2, axis=0))

    tangent = (active[:, :, None] * x[:, None]).reshape(len(x), -1)
    # Inputs outside the plane have mean 0 given those in it: their features do not help.
    turn = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0][:2]
    weights, targets = flat @ turn, aims @ turn
    plain = np.asarray(single_neuron.fit_errors(weights, targets), float)
    kernel = np.asarray(single_neuron.fit_errors(weights, targets, tangent=True), float)
    pair = np.asarray(single_neuron.active_correlation(weights[:1], weights[1:2])[0, 0], float)
    a, b = flat[0] / np.linalg.norm(flat[0]), flat[1] / np.linalg.norm(flat[1])
    angle = math.acos(float(a @ b))
    plane = np.outer(a, b) + np.outer(b, a)
    plane = plane - cosine * math.cos(angle) * (np.outer(a, a) + np.outer(b, b))
    formula = (math.pi - angle) * np.eye(2) + plane / math.sin(angle)
    grid = (active[:, :1] * active[:, 1:2] * x).T @ x / len(x)
    # The grid sees each kink of the features within 1/40000 of a turn.
    fine = 1e-4
    return [
        Check("gap of the matrix in the plane", _gap(turn @ pair @ turn.T, grid), "==", 0, fine),
        Check("gap of its formula", _gap(formula / (2 * math.pi), grid), "==", 0, fine),
        Check(
            "gap of the last layer's fits", _gap(plain, error(np.maximum(x @ flat.T, 0))),
            "==", 0, fine,
        ),
        Check("gap of the tangent kernel's fits", _gap(kernel, error(tangent)), "==", 0, fine),
    ]  # fmt: skip


def _gap(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(found - expected)))


# --- descent ------------------------------------------------------------------------------------


def _planar_gradient(w: np.ndarray, v: np.ndarray, stretch: float) -> np.ndarray:
    """∇L by Gauss's rule between the angles at which one of the two neurons switches."""
    lines = np.array([w, v]) * np.array([stretch, 1.0])
    turns = np.arctan2(lines[:, 1], lines[:, 0])
    edges = np.sort(np.concatenate([turns + np.pi / 2, turns - np.pi / 2]) % (2 * np.pi))
    edges = np.append(edges, edges[0] + 2 * np.pi)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    total = np.zeros(2)
    for low, high in itertools.pairwise(edges):
        angles = (high - low) / 2 * nodes + (high + low) / 2
        x = np.stack([stretch * np.cos(angles), np.sin(angles)], axis=1)
        gaps = (np.maximum(x @ w, 0) - np.maximum(x @ v, 0)) * (x @ w > 0)
        # E r² = 2, and the angle is uniform.
        total += (high - low) / 2 * (weights * gaps) @ x / np.pi
    return total


def _around(angles: np.ndarray, ratios: np.ndarray) -> Array:
    """Neurons w in the plane at these angles from v = e₁, of these norms: all combinations."""
    angle, ratio = (grid.ravel() for grid in np.meshgrid(angles, ratios))
    points = ratio[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _validate.from_numpy(points, float)


def _gradients(points: Array) -> np.ndarray:
    v = jnp.asarray([1.0, 0.0], points.dtype)
    found = jax.jit(jax.vmap(lambda w: single_neuron.neuron_gradient(w, v)))(points)
    return np.asarray(found, float)


@result(
    "S24",
    "Section 14.3, one ReLU: descent's inequalities",
    theorem="lem-neuron-gradient",
    evidence="searched",
    falsified_by={"stretch": 1.2},
    sweep=[{"angle": 0.05}, {"angle": 2.5}],
    mutants=[
        Mutant.statement("the modulus has 2 sin ω", sines=0.5),
        Mutant.statement("the gradient is at most 0.45 ‖w − v‖", length=0.45),
        Mutant.code(
            "the gradient lacks the part along w",
            "single_neuron.neuron_gradient",
            lambda f: lambda w, v: (w - v) / 2 + (f(w, v) - (w - v) / 2) * 0.5,
        ),
        Mutant.code(
            "the modulus lacks its sine",
            "single_neuron.descent_modulus",
            lambda f: lambda angle: (math.pi - angle) / (2 * math.pi),
        ),
    ],
)
def gradient_points_to_the_neuron(
    angle: float = math.pi / 2, stretch: float = 1.0, sines: float = 1.0, length: float = 0.5
) -> list[Check]:
    """The loss of one neuron on another has ⟨∇L(w), w − v⟩ ≥ (π − ω − sin ω)/(2π) ‖w − v‖² and
    ‖∇L(w)‖ ≤ ½‖w − v‖ at the angle ω.

    At one angle, the worst of 400 lengths of w from 0.01 to 100 times ‖v‖, and the closed form of
    the gradient against Gauss's rule. `stretch` makes the inputs of that rule longer along v.
    """
    points = _around(np.array([angle]), np.logspace(-2, 2, 400))
    gradients, away = _gradients(points), np.asarray(points, float) - np.array([1.0, 0.0])
    squares = np.sum(away**2, axis=1)
    moduli = np.sum(gradients * away, axis=1) / squares
    lengths = np.sqrt(np.sum(gradients**2, axis=1) / squares)
    v = np.array([1.0, 0.0])
    rule = [_planar_gradient(w, v, stretch) for w in np.asarray(points, float)[::40]]
    bound = single_neuron.descent_modulus(angle)
    if sines != 1:
        bound = (math.pi - angle - sines * math.sin(angle)) / (2 * math.pi)
    tolerance = rounding_tolerance()
    return [
        Check("smallest modulus", float(np.min(moduli)), ">=", bound, tolerance),
        Check("longest gradient", float(np.max(lengths)), "<=", length, tolerance),
        Check(
            "gap of the gradient", _gap(gradients[::40], np.array(rule)), "==", 0, 100 * tolerance
        ),
    ]


@result(
    "S24",
    "Section 14.3, one ReLU: descent",
    theorem="thm-neuron-descent",
    exercise="ex-angle-falls",
    evidence="searched",
    falsified_by={"radius": 1.05},
    sweep=[{"radius": 0.5}, {"radius": 0.9}],
    mutants=[
        Mutant.statement("the ball is half as large again", radius=1.5),
        Mutant.statement("every step size contracts", step=12.0),
        Mutant.statement("every step shrinks the distance to nine tenths", factor=0.9),
        Mutant.code(
            "the gradient is taken at the neuron that is to be learned",
            "single_neuron.neuron_gradient",
            lambda f: lambda w, v: f(v, w),
        ),
        Mutant.code(
            "the gradient is a third as long",
            "single_neuron.neuron_gradient",
            lambda f: lambda w, v: f(w, v) / 3,
        ),
    ],
)
def descent_learns_a_neuron(
    radius: float = 1.0, step: float = 1.0, factor: float = single_neuron.CONTRACTION
) -> list[Check]:
    """From ‖w₀ − v‖ < ‖v‖, descent with the step size η = 4ν shrinks the distance from v by
    √(1 − 4ν²) = 0.983 at least in every step, where ν = (π/2 − 1)/(2π); at a start near 0 at a
    right angle it shrinks by √((1 − η/4)² + (η/2π)²) = 0.911 only.

    The largest ratio of distances over a grid of the ball in the plane of w and v, to which all
    dimensions reduce, and that at the start named; and the distance after 120 steps from the worst
    of them. `step` is in units of η.
    """
    size = step * single_neuron.STEP_SIZE
    angles, lengths = np.linspace(0, 2 * np.pi, 90, endpoint=False), np.linspace(0.01, 0.999, 40)
    away = np.asarray(_around(angles, lengths), float) * radius
    points = _validate.from_numpy(away + np.array([1.0, 0.0]), float)
    moved = away - size * _gradients(points)
    ratios = np.linalg.norm(moved, axis=1) / np.linalg.norm(away, axis=1)
    corner = _validate.from_numpy(np.array([[0.0, 1e-5]]), float)
    at_corner = np.array([[-1.0, 0.0]]) - size * _gradients(corner)
    v = jnp.asarray([1.0, 0.0], points.dtype)

    def one(_: Any, w: Array) -> Array:
        return w - jnp.asarray(size, w.dtype) * single_neuron.neuron_gradient(w, v)

    start = points[np.argmax(ratios)]
    end = jax.jit(lambda w: jax.lax.fori_loop(0, 120, one, w))(start)
    expected = math.hypot(1 - size / 4, size / (2 * math.pi))
    return [
        Check("largest ratio of distances", float(np.max(ratios)), "<=", factor),
        Check(
            "ratio near 0 at a right angle",
            float(np.linalg.norm(at_corner)),
            "==",
            expected,
            1e-4,
        ),
        Check("distance after 120 steps", float(jnp.linalg.norm(end - v)), "==", 0, 1e-5),
    ]


@result(
    "S24",
    "Section 14.3, one ReLU: a start at 0",
    theorem="prop-trap",
    exercise="ex-kink",
    evidence="rounding",
    falsified_by={"start": 1e-3},
    sweep=[{"dimension": 20, "seed": 1}],
    mutants=[
        Mutant.statement("with ReLU'(0) = 1", slope=1.0),
        Mutant.statement("0 is a local minimum", minimum=True),
        Mutant.code(
            "descent begins a little off",
            "single_neuron.descend_on_samples",
            lambda f: lambda x, y, w, **k: f(x, y, w + 1e-3, **k),
        ),
    ],
)
def zero_is_a_trap(
    dimension: int = 5,
    start: float = 0.0,
    slope: float = 0.0,
    minimum: bool = False,
    seed: int = 0,
) -> list[Check]:
    """With ReLU'(0) = 0 descent never leaves w₀ = 0, although the loss falls from there in every
    direction but −v.

    500 steps on 8d samples from `start` in every coordinate; and the slope of the population loss
    at 0 along directions at nine angles from v below π, against −‖v‖(sin ω + (π − ω)cos ω)/(2π).
    """
    keys = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(keys[0], (8 * dimension, dimension))
    v = jax.random.normal(keys[1], (dimension,))
    y, first = jax.nn.relu(x @ v), jnp.full(dimension, start, x.dtype)
    if slope:
        first = first + single_neuron.STEP_SIZE * slope * (y @ x) / len(y)
    end = single_neuron.descend_on_samples(
        x, y, first, step_size=single_neuron.STEP_SIZE, steps=500
    )
    angles, length = np.linspace(0, 2.7, 9), float(jnp.linalg.norm(v))
    unit = np.asarray(v, float) / length
    other = np.linalg.qr(np.stack([unit, np.ones(dimension)], axis=1))[0][:, 1]
    along = np.cos(angles)[:, None] * unit + np.sin(angles)[:, None] * other
    steps = _validate.from_numpy(along, x.dtype)
    losses = jax.vmap(lambda w: single_neuron.neuron_loss(w, v))(steps)
    # L(su) = L(0) + s·slope + s²/4 for a unit vector u, at s = 1.
    slopes = np.asarray(losses, float) - length**2 / 4 - 1 / 4
    expected = -length * (np.sin(angles) + (np.pi - angles) * np.cos(angles)) / (2 * np.pi)
    tolerance = rounding_tolerance(length**2)
    return [
        Check("distance from 0 after 500 steps", float(jnp.linalg.norm(end)), "==", 0),
        Check("gap of the slopes at 0", _gap(slopes, expected), "==", 0, tolerance),
        Check("largest slope at 0", float(np.max(slopes)) * (-1 if minimum else 1), "<", 0, 1e-4),
    ]


@result(
    "S24",
    "Section 14.3, one ReLU: too few samples",
    theorem="prop-few-samples",
    exercise="ex-active",
    evidence="sampled",
    level=1e-3,
    seeds=200,
    falsified_by={"active": 8},
    sweep=[{"samples": 12}, {"samples": 18, "seed": 1}],
    mutants=[
        Mutant.statement("half of the probability", share=0.5),
        Mutant.statement("d active samples are too few", active=8),
        Mutant.code(
            "all samples count as active",
            "single_neuron.active_probability",
            lambda f: lambda n, d: f(n // 2, d),
        ),
        Mutant.code(
            "recovery is reported for all",
            "single_neuron.recovery_errors",
            lambda f: lambda *a, **k: f(*a, **k) * 0,
        ),
    ],
)
def few_active_samples_do_not_suffice(
    samples: int = 16,
    dimension: int = 8,
    active: int = 7,
    share: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """With fewer than d active samples a neuron has others beside it that agree on all n samples,
    so descent recovers it with probability at most P(Bin(n, ½) ≥ d).

    A neuron with so many active samples, and the largest distance on all samples of another one,
    along the direction that its active samples see least; and the share of 200 runs that recover
    theirs up to 1 %, with a tolerance that is exceeded with probability 0.001 by Hoeffding's
    inequality.
    """
    rng = np.random.default_rng(seed)
    v = rng.normal(size=dimension)
    x = rng.normal(size=(samples, dimension))
    signs = np.where(np.arange(samples) < active, 1, -1) * np.sign(x @ v)
    x = x * signs[:, None]
    unseen = np.linalg.svd(x[:active])[2][-1]
    other = v + 0.5 * unseen * np.min(np.abs(x @ v)) / np.max(np.abs(x @ unseen))
    apart = float(np.linalg.norm(other - v))
    gap = _gap(np.maximum(x @ other, 0), np.maximum(x @ v, 0)) / apart
    runs = 200
    errors = single_neuron.recovery_errors(
        jax.random.key(seed), samples, dimension, runs=runs, steps=1500
    )
    recovered = float(np.mean(np.asarray(errors) < 0.01))
    bound = share * single_neuron.active_probability(samples, dimension)
    return [
        Check("gap of the other neuron, per distance", gap, "==", 0, 1e-12),
        Check(
            "share of runs that recover",
            recovered,
            "<=",
            bound,
            math.sqrt(math.log(1e3) / (2 * runs)),
        ),
    ]
