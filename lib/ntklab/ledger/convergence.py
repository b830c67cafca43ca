"""The ledger of convergence: its entries and their oracles."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ntklab import convergence, networks, tangent_kernel
from ntklab.checks import Check, rounding_tolerance
from ntklab.convergence import (
    Constants,
    certificates,
    certify,
    coherence_floor,
    constants,
    descent_factors,
    forms,
    gradient_bound,
    limit_gram,
    limit_is_definite,
    measure,
    pl_bound,
    residual_bound,
    singular_floor,
    sufficient_widths,
    time_varying_bound,
    uniform_drift_bound,
    weight_norm_bound,
)
from ntklab.ledger import Mutant, result
from ntklab.ledger._shared import unit_vectors
from ntklab.statistics import fit_power_law

# --- oracles -----------------------------------------------------------------------------------

# Where |σ″| of tanh is largest, 4/(3√3).
_STEEPEST = math.atanh(1 / math.sqrt(3))


class _Tanh:
    """m^{-1/2} Σ a_j tanh(w_j·x) with trained W, written out: values, Jacobian, flow."""

    def __init__(self, x: np.ndarray, a: np.ndarray) -> None:
        self.x, self.a = x, a / math.sqrt(len(a))

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = np.tanh(self.x @ weights.T)
        signals = self.a * (1 - value**2)
        return value @ self.a, (signals[:, :, None] * self.x[:, None]).reshape(len(self.x), -1)

    def gram(self, weights: np.ndarray) -> np.ndarray:
        jacobian = self(weights)[1]
        return jacobian @ jacobian.T

    def run(self, weights: Any, y: np.ndarray, time: float, steps: int) -> list[Any]:
        """The flow of ½‖f − y‖² by the classical Runge–Kutta method, whose error is O(step⁴)."""

        def velocity(at: np.ndarray) -> np.ndarray:
            values, jacobian = self(at)
            return -((values - y) @ jacobian).reshape(weights.shape)

        h = time / steps
        run = [weights]
        for _ in range(steps):
            at = run[-1]
            k1 = velocity(at)
            k2 = velocity(at + h / 2 * k1)
            k3 = velocity(at + h / 2 * k2)
            k4 = velocity(at + h * k3)
            run.append(at + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        return run


def _shallow(width: int) -> networks.Network:
    return networks.shallow(width, activation="tanh")


def _start(seed: int, width: int, x: np.ndarray) -> np.ndarray:
    """Normal weights; a single unit starts where its curvature is largest."""
    if width == 1:
        return _STEEPEST * x[:1] / np.sum(x[0] ** 2)
    return np.random.default_rng(seed).normal(size=(width, x.shape[1]))


# --- section 2.1 -------------------------------------------------------------------------------


@result(
    "B23",
    "Equation (1)",
    theorem="thm-time-varying",
    evidence="rounding",
    falsified_by={"step": 2.5},
    sweep=[{"n": 1, "width": 1}, {"n": 5, "d": 6, "width": 40}],
    mutants=[
        Mutant.statement("the exponent is 5 % larger", factor=1.05),
        Mutant.statement("the first eigenvalue for all times", frozen=True),
        Mutant.code(
            "the bound lacks its factor 2",
            "convergence.time_varying_bound",
            lambda f: lambda t, eigenvalue: f(t, eigenvalue) ** 0.5,
        ),
    ],
)
def loss_decays_with_the_eigenvalue(
    n: int = 3,
    d: int = 3,
    width: int = 30,
    step: float | None = None,
    factor: float = 1.0,
    frozen: bool = False,
) -> list[Check]:
    """Along the gradient flow L(t) ≤ L(0) exp(−2 ∫ λ_min(H_s) ds), whatever λ_min does on the way.

    The largest ratio of loss to bound along the flow of a tanh network; and one point, where H is a
    number and the bound an equality. With `step` descent takes the place of the flow, its step in
    units of 1/λ_max(H₀).
    """

    def largest(n: int, width: int) -> tuple[float, float]:
        x = unit_vectors(0, n, d)
        model = _Tanh(x, networks.alternating_signs(width))
        start = _start(1, width, x)
        # The labels lie where the slopes of the units fall.
        y = model(start)[0] + (0.3 if n == 1 else 0.5 * np.sign(np.arange(n) - 0.5))
        largest = float(np.linalg.eigvalsh(model.gram(start))[-1])
        # Descent that diverges is soon at the mercy of rounding: a few steps show it.
        steps = 160 if step is None else 8
        times: Any = np.linspace(0, 8 / largest, steps + 1)
        if step is None:
            run = model.run(start, y, float(times[-1]), steps)
        else:
            run = [start]
            for _ in range(steps):
                values, jacobian = model(run[-1])
                move = step / largest * ((values - y) @ jacobian).reshape(start.shape)
                run.append(run[-1] - move)
            times = step / largest * np.arange(steps + 1)
        losses = np.array([np.sum((model(at)[0] - y) ** 2) for at in run])
        smallest = np.array([np.linalg.eigvalsh(model.gram(at))[0] for at in run])
        if frozen:
            smallest = np.full_like(smallest, smallest[0])
        ratios = losses / losses[0] / time_varying_bound(times, smallest) ** factor
        return float(np.max(ratios)), float(ratios[-1])

    # Errors of fourth order: (8/160)⁴ times the derivatives of λ_min, which are of order 1.
    tolerance = 1e-4
    return [
        Check("largest loss over its bound", largest(n, width)[0], "<=", 1, tolerance),
        Check("the same at the end, for one point", largest(1, 1)[1], "==", 1, tolerance),
    ]


def _solve(
    velocity: Callable[[np.ndarray], np.ndarray], start: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """An ordinary differential equation by SciPy, `[T, n]`; errors below 1e-8."""
    from scipy.integrate import solve_ivp

    return np.asarray(
        solve_ivp(
            lambda _, u: velocity(u),
            (0, times[-1]),
            start,
            t_eval=times,
            method="LSODA",
            rtol=1e-10,
            atol=1e-13,
        ).y.T
    )


@result(
    "B23",
    "Section 2.1, strongly convex losses",
    theorem="thm-strongly-convex",
    evidence="rounding",
    falsified_by={"ridge": 0.0},
    sweep=[{"strength": 0.1}, {"n": 1, "strength": 3.0}, {"seed": 3}],
    mutants=[
        Mutant.statement("the exponent is 5 % larger", factor=1.05),
        Mutant.code(
            "strong convexity enters squared",
            "convergence.pl_bound",
            lambda f: lambda t, *, alpha, **rest: f(t, alpha=alpha**2 / 1.1, **rest),
        ),
        Mutant.code(
            "the eigenvalue is lost",
            "convergence.pl_bound",
            lambda f: lambda t, *, eigenvalue, **rest: f(t, **rest),
        ),
    ],
)
def strongly_convex_losses(
    strength: float = 0.8,
    ridge: float | None = None,
    n: int = 4,
    seed: int = 0,
    factor: float = 1.0,
) -> list[Check]:
    """Under an α-strongly convex loss and λ_min(H_t) ≥ c the loss falls to its minimum at the rate
    2αc.

    Cross-entropy with a ridge of strength α on the values, along u̇ = −H∇L for a random kernel; and
    ½α|u − y|² with H = c, for which the rate is exact. With `ridge=0` the loss is convex only.
    """
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n + 3))
    H, c = root @ root.T / n, 0.7
    H = H - (np.linalg.eigvalsh(H)[0] - c) * np.eye(n)
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    held = strength if ridge is None else ridge

    def loss(u: np.ndarray) -> Any:
        return np.sum(np.logaddexp(0, -y * u) + held / 2 * u**2, axis=-1)

    def slope(u: np.ndarray) -> np.ndarray:
        return -y / (1 + np.exp(np.clip(y * u, -700, 700))) + held * u

    times = np.linspace(0, 4 / strength, 30)
    run = _solve(lambda u: -H @ slope(u), -2 * y, times)
    lowest = 0.0
    if held > 0:
        lowest = float(loss(_solve(lambda u: -slope(u), 0 * y, np.array([0, 60 / held]))[-1]))
    gaps = loss(run) - lowest
    alpha = math.sqrt(2 * strength)
    bound = pl_bound(times, gap=float(gaps[0]), alpha=alpha, exponent=0.5, eigenvalue=c)
    exact = strength / 2 * np.exp(-2 * strength * c * times)
    quadratic = pl_bound(times, gap=strength / 2, alpha=alpha, exponent=0.5, eigenvalue=c)
    shown = bound**factor > 1e-7  # below it the solver's error shows
    return [
        Check(
            "largest gap over its bound",
            float(np.max((gaps / bound**factor)[shown])) if np.any(shown) else 0.0,
            "<=",
            1,
            1e-2,
        ),
        Check(
            "rate for the quadratic over 2αc",
            float(np.log(quadratic[-1] / quadratic[0]) / np.log(exact[-1] / exact[0])) * factor,
            "==",
            1,
            rounding_tolerance(),
        ),
    ]


@result(
    "B23",
    "Equation (2)",
    theorem="thm-pl",
    exercise="ex-logistic",
    evidence="rounding",
    falsified_by={"loss": "logistic"},
    sweep=[{"p": 1.5}, {"p": 2.0}, {"p": 6.0, "seed": 2}],
    mutants=[
        Mutant.statement("the exponent ν is moved by 0.1", shift=0.1),
        Mutant.statement("the constant of the transfer is 5 % larger", constant=1.05),
        Mutant.code(
            "the bound has α where α² belongs",
            "convergence.pl_bound",
            lambda f: lambda t, *, alpha, **rest: f(t, alpha=math.sqrt(alpha), **rest),
        ),
        Mutant.code(
            "the largest singular value for the smallest",
            "convergence.singular_floor",
            lambda f: lambda jacobian: float(np.linalg.norm(jacobian, 2)),
        ),
    ],
)
def pl_in_function_space(
    p: float = 3.0,
    loss: str = "power",
    shift: float = 0.0,
    constant: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """α(L − L*)^ν ≤ ‖∇_u L‖ with λ_min(H_t) ≥ c is the same inequality in parameters, with α√c, and
    gives finite time, exponential or power decay as ν is below, at or above ½.

    ‖u − y‖^p has α = p, ν = (p − 1)/p: its flow against the bound, an equality; the gradient in
    parameters of a tanh network against its bound, an equality for residuals along the lowest
    singular vector. `loss="logistic"` has no α and ν that serve everywhere.
    """
    times = np.linspace(0, 2, 21)
    beta = (p - 1) / p + shift
    if loss == "power":
        u = (
            np.exp(-2 * times)
            if p == 2
            else np.maximum(1 + p * (p - 2) * times, 0) ** (-1 / (p - 2))
        )
        gaps, alpha = u**p, p
    else:
        u = _solve(lambda u: 1 / (1 + np.exp(u)), np.array([-3.0]), 10 * times)[:, 0]
        gaps = np.logaddexp(0, -u)
        alpha = 1 / (1 + math.exp(-3.0)) / float(gaps[0]) ** beta
    bound = pl_bound(
        times if loss == "power" else 10 * times, gap=float(gaps[0]), alpha=alpha, exponent=beta
    )
    x = unit_vectors(seed, 4, 3)
    model = _Tanh(x, networks.alternating_signs(12))
    jacobian = model(np.random.default_rng(seed).normal(size=(12, 3)))[1]
    floor = singular_floor(jacobian)
    directions = np.concatenate(
        [np.linalg.svd(jacobian)[0].T, np.random.default_rng(seed).normal(size=(40, 4))]
    )
    ratios = []
    for residual in directions:
        size = np.linalg.norm(residual)
        gradient = np.linalg.norm(jacobian.T @ residual) * p * size ** (p - 2)
        ratios.append(gradient / (p * floor * (size**p) ** ((p - 1) / p)))
    return [
        Check("flow and bound apart", float(np.max(np.abs(gaps - bound))), "==", 0, 1e-6),
        Check(
            "smallest ‖∂L‖ over ασ_min(L − L*)^ν",
            float(min(ratios)),
            ">=",
            constant,
            rounding_tolerance(),
        ),
    ]


@result(
    "B23",
    "Section 2.1, gradient descent under (2)",
    theorem="thm-descent-pl",
    exercise="ex-descent-factor",
    evidence="searched",
    falsified_by={"step": 2.05},
    sweep=[{"kappa": 0.05}, {"kappa": 0.5, "seed": 1}, {"kappa": 0.02, "seed": 2}],
    mutants=[
        Mutant.statement("the factor to the power 1.5", power=1.5),
        Mutant.code(
            "μ as twice what it is",
            "convergence.descent_factors",
            lambda f: lambda condition: f(min(2 * condition, 1.0)),
        ),
    ],
)
def descent_under_pl(
    kappa: float = 0.2, step: float = 1.0, power: float = 1.0, seed: int = 0
) -> list[Check]:
    """With a gradient of Lipschitz constant ℓ and ½‖∇F‖² ≥ μ(F − F*), a step 1/ℓ multiplies the gap
    by (1 − κ)/(1 + κ/2) at most, κ = μ/ℓ.

    The worst step from any point of random functions on the line with curvature in [−1, 1] that
    have the inequality, the parabola κx²/2 among them, which attains (1 − κ)². `step` is in units
    of 1/ℓ.
    """
    rng = np.random.default_rng(seed)
    worst = (1 - step * kappa) ** 2
    grid = np.linspace(0, 5, 1001)
    for trial in range(300):
        curvature = np.append(1.0, rng.choice([-1.0, 0.0, 0.3, 1.0], size=24))
        if trial == 0:
            curvature[:] = 1.0
        slope = np.concatenate([[0], np.cumsum(np.repeat(curvature, 40)) * grid[1]])
        value = np.concatenate([[0], np.cumsum((slope[1:] + slope[:-1]) / 2) * grid[1]])
        fits = slope[1:] ** 2 / 2 >= kappa * value[1:]
        end = 1000 if np.all(fits) else int(np.argmin(fits))
        if end < 2:
            continue
        at = np.arange(1, end)
        after = np.interp(np.abs(grid[at] - step * slope[at]), grid, value)
        worst = max(worst, float(np.max(after / value[at])))
    polyak, smooth, quadratic = descent_factors(kappa)
    return [
        # The grid moves points by 0.005 at most, of lengths of order 1.
        Check("worst factor of a step", worst, "<=", smooth**power, 5e-4),
        Check("the parabola's factor", quadratic, "<=", smooth),
        Check("Polyak's factor against the sharper one", smooth, "<=", polyak),
    ]


# --- section 2.2 -------------------------------------------------------------------------------


@result(
    "B23",
    "Section 2.2, critical points",
    theorem="prop-no-bad-critical-point",
    exercise="ex-wide-jacobian",
    evidence="rounding",
    falsified_by={"width": 2},
    sweep=[{"seed": 1}, {"width": 3, "n": 6}, {"width": 200}],
    mutants=[
        Mutant.statement("the constant is 5 % larger", constant=1.05),
        Mutant.code(
            "the smallest singular value by svd",
            "convergence.singular_floor",
            lambda f: lambda jacobian: float(np.linalg.svd(jacobian, compute_uv=False)[-1]),
        ),
    ],
)
def no_bad_critical_point(
    width: int = 10, n: int = 5, seed: int = 0, constant: float = 1.0
) -> list[Check]:
    """Where σ_min(J) > 0, ‖∂L‖ ≥ σ_min(J)√(2L): every critical point is a global minimum.

    The smallest gradient over residuals in all singular directions and at random, for a tanh
    network; and a Jacobian with fewer columns than rows, which has a critical residual of any size
    though its svd shows no zero.
    """
    x = unit_vectors(seed, n, 2)
    model = _Tanh(x, networks.alternating_signs(width))
    jacobian = model(np.random.default_rng(seed + 1).normal(size=(width, 2)))[1]
    floor = singular_floor(jacobian)
    residuals = np.concatenate(
        [np.linalg.svd(jacobian)[0].T, np.random.default_rng(seed).normal(size=(50, n))]
    )
    sizes = np.linalg.norm(residuals @ jacobian, axis=1) / np.linalg.norm(residuals, axis=1)
    # σ_min from JJᵀ: half the relative error of its smallest eigenvalue, of condition up to 1e6.
    tolerance = 1e6 * float(np.finfo(float).eps) * width
    return [
        # Twelve digits: what is 0 up to rounding is 0.
        Check("smallest ‖∂L‖ over √(2L)", round(float(np.min(sizes)), 12), ">", 0),
        Check(
            "the same over σ_min(J)",
            float(np.min(sizes)) / floor if floor > 0 else 0.0,
            ">=",
            constant,
            tolerance,
        ),
        Check("σ_min(J) of n − 1 parameters", singular_floor(jacobian[:, : n - 1]), "==", 0),
    ]


def _circle(angles: Any) -> np.ndarray:
    angles = np.asarray(angles)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


_CONFIGURATIONS = (
    _circle([0.0, 0.7, 1.4, 2.0]),
    _circle([0.3, 0.3, 1.4, 2.0]),
    _circle([0.3, 0.3 + np.pi, 1.4, 2.0]),
    _circle([0.3, 0.3 + np.pi, 2.0, 2.0 + np.pi]),
    _circle(np.arange(6) * np.pi / 3),
)


@result(
    "B23",
    "Section 2.2, positive definite limit",
    theorem="thm-definite",
    exercise="ex-collapse",
    evidence="rounding",
    falsified_by={"activation": "square"},
    sweep=[{"activation": "erf"}, {"train_output": True}],
    mutants=[
        Mutant.statement("no two inputs parallel or antiparallel", parallel_only=True),
        Mutant.statement("the exponent of the collapse is moved by 0.1", exponent=0.1),
        Mutant.code(
            "the kernel is halved",
            "convergence.limit_gram",
            lambda f: lambda x, **rest: f(x, **rest) / 2,
        ),
        Mutant.code(
            "antiparallel pairs are ignored",
            "convergence.limit_is_definite",
            lambda f: lambda x, *, activation: len(np.unique(np.round(x, 9), axis=0)) == len(x),
        ),
    ],
)
def limit_is_positive_definite(
    activation: str = "relu",
    train_output: bool = False,
    parallel_only: bool = False,
    exponent: float = 0.0,
) -> list[Check]:
    """λ_min(H∞) > 0 exactly if no two inputs are positively parallel and the antiparallel pairs are
    independent (ReLU), or no two are parallel at all (tanh, erf); two inputs at angle δ leave δ/2π
    (ReLU), or order δ².

    Five configurations, criterion against eigenvalue; the collapse at δ = 0.02 against its
    constant, 18/(5√5π) for erf with the first layer trained. For σ(z) = z², four non-parallel
    inputs of the plane are one too many.
    """
    if activation == "square":
        x = _CONFIGURATIONS[0]
        smallest = float(np.linalg.eigvalsh(4 * (x @ x.T) ** 2)[0])
        return [Check("inputs not parallel, yet singular", int(smallest < 1e-9), "==", 0)]
    wrong = 0
    for points in _CONFIGURATIONS:
        gram = limit_gram(points, activation=activation, train_output=train_output)
        stated = limit_is_definite(points, activation=activation)
        if parallel_only:
            cosines = points @ points.T - np.eye(len(points))
            stated = bool(np.all(np.abs(cosines) < 1 - 1e-9))
        wrong += int(stated != bool(np.linalg.eigvalsh(gram)[0] > 1e-6))
    delta = 0.02
    pair = limit_gram(_circle([0.4, 0.4 + delta]), activation=activation, train_output=train_output)
    collapse = float(np.linalg.eigvalsh(pair)[0])
    expected = {
        ("relu", False): delta ** (1 + exponent) / (2 * np.pi),
        ("relu", True): delta ** (1 + exponent) / (2 * np.pi),
        ("erf", False): 18 / (5 * math.sqrt(5) * np.pi) * delta ** (2 + exponent),
    }[activation, train_output]
    return [
        Check("configurations judged wrongly", wrong, "==", 0),
        # The next order is δ smaller, with a factor below 4.
        Check(
            "collapse at a small angle over its constant", collapse / expected, "==", 1, 4 * delta
        ),
    ]


@result(
    "B23",
    "Equation (3)",
    theorem="prop-deviation-in-n",
    evidence="sampled",
    level=1e-3,
    seeds=20,
    falsified_by={"units": 2},
    sweep=[{"width": 1024, "seed": 5}],
    mutants=[
        Mutant.statement("the exponent is 1/2", claimed=0.5),
        Mutant.statement("the bound without its factor n", bound_exponent=0.0),
        Mutant.code(
            "the limit is doubled",
            "convergence.limit_gram",
            lambda f: lambda x, **rest: 2 * f(x, **rest),
        ),
    ],
)
def deviation_grows_with_the_points(
    width: int = 256,
    units: int | None = None,
    claimed: float = 1.0,
    bound_exponent: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """‖H₀ − H∞‖ is at most n√(log(2n²/δ)/2m) with probability 1 − δ, and at a fixed dimension the
    factor n is real.

    ReLU, first layer trained, 20 networks at each of n = 16 … 256 equispaced points of the circle,
    where the matrices are samples of one function of two inputs: the largest deviation
    over its bound at δ = 10⁻³, and the exponent in n (tolerance: a tenth, the finite n). With
    `units` a network repeats so few units.

    Loose: the bound is a union over n² entries of Hoeffding's inequality with the largest variance
    that an entry can have, then the Frobenius norm for the operator norm.
    """
    rng = np.random.default_rng(seed)
    sizes, deviations = (16, 32, 64, 128, 256), []
    most = sizes[-1]
    circle = _circle(2 * np.pi * np.arange(most) / most)
    limits = limit_gram(circle, activation="relu", train_output=False)
    for n in sizes:
        row, stride = [], most // n
        x, limit = circle[::stride], limits[::stride, ::stride]
        for _ in range(20):
            weights = rng.normal(size=(width if units is None else units, 2))
            active = (x @ weights.T > 0).astype(float)
            H = (x @ x.T) * (active @ active.T) / len(weights)
            row.append(float(np.linalg.norm(H - limit, 2)))
        deviations.append(row)
    fit = fit_power_law(sizes, deviations)
    bounds = [n**bound_exponent * math.sqrt(math.log(2e3 * n**2) / (2 * width)) for n in sizes]
    ratio = max(max(row) / bound for row, bound in zip(deviations, bounds, strict=True))
    return [
        Check("largest deviation over its bound", ratio, "<=", 1),
        Check("exponent in n", fit.exponent, "==", claimed, 0.1),
    ]


def _worst_drift(x: np.ndarray, start: np.ndarray, radius: float, steps: int) -> float:
    """The largest ‖H(W) − H(W₀)‖ that ascent finds on the sphere of this radius around W₀."""
    width = len(start)
    base = _Tanh(x, np.ones(width)).gram(start)
    best = 0.0
    for sign in (1.0, -1.0):
        move = np.zeros_like(start)
        for step in range(steps):
            z = x @ (start + move).T
            slope, curve = 1 / np.cosh(z) ** 2, -2 * np.tanh(z) / np.cosh(z) ** 2
            H = (x @ x.T) * (slope @ slope.T) / width
            values, vectors = np.linalg.eigh(sign * (H - base))
            best = max(best, float(values[-1])) if step else best
            u = vectors[:, -1] if step else np.linalg.eigh(sign * base)[1][:, -1]
            inner = (slope * u[:, None]).T @ x  # Σ_i u_i σ′(z_ij) x_i
            gradient = sign * 2 / width * ((curve * u[:, None]).T * (inner @ x.T)) @ x
            moved = 0.5 * move + radius * gradient / max(float(np.linalg.norm(gradient)), 1e-300)
            move = radius * moved / float(np.linalg.norm(moved))
    return best


@result(
    "B23",
    "Equation (4)",
    theorem="prop-drift",
    evidence="searched",
    falsified_by={"assumed_norm": 0.5},
    sweep=[{"width": 1, "n": 1, "radius": 0.02}, {"radius": 0.1}, {"input_norm": 3.0}],
    mutants=[
        Mutant.statement("exponent 3 in R, as printed", claimed=3.0),
        Mutant.statement("the bound is halved", constant=0.5),
        Mutant.code(
            "L lacks a factor 2",
            "convergence.constants",
            lambda f: lambda *a: f(*a)._replace(lipschitz=f(*a).lipschitz / 2),
        ),
    ],
)
def kernel_drift(
    width: int = 64,
    n: int = 4,
    d: int = 3,
    radius: float = 1.0,
    input_norm: float = 1.0,
    assumed_norm: float = 1.0,
    claimed: float = 1.0,
    constant: float = 1.0,
) -> list[Check]:
    """In the ball of radius R around the start ‖H − H₀‖ ≤ LR(2‖J₀‖ + LR), L = βA‖X‖max‖x‖/√m: first
    order in R, not R³.

    Gradient ascent of the drift over the sphere of radius R for tanh; the exponents in R from 0.01
    to 0.3 and in m from 16 to 256, with one tenth and 0.15 for what is beyond first order. One unit
    that starts where its curvature is largest attains the bound to first order. `assumed_norm` is
    the size of the inputs, in units of theirs, with which L is computed.
    """
    x = input_norm * unit_vectors(0, n, d)
    start = _start(1, width, x)
    found = constants(_shallow(width), start, x, np.zeros(n))
    slope = found.lipschitz * assumed_norm**2 * constant
    bound = slope * radius * (2 * found.jacobian_norm + slope * radius)
    drift = _worst_drift(x, start, radius, 40)
    unit = unit_vectors(0, 4, 3)
    radii = (0.01, 0.03, 0.1, 0.3)
    by_radius = [
        [_worst_drift(unit, _start(seed, 64, unit), r, 15) for seed in range(2)] for r in radii
    ]
    widths = (16, 64, 256)
    by_width = [
        [_worst_drift(unit, _start(seed, m, unit), 0.3, 15) for seed in range(3)] for m in widths
    ]
    return [
        Check("largest drift found over its bound", drift / bound, "<=", 1, rounding_tolerance()),
        Check("exponent in R", fit_power_law(radii, by_radius).exponent, "==", claimed, 0.1),
        Check("exponent in m", fit_power_law(widths, by_width).exponent, "==", -0.5, 0.15),
    ]


@result(
    "B23",
    "Section 2.2, uniformly on [0, T]",
    theorem="thm-uniform",
    evidence="sampled",
    level=1e-3,
    seeds=12,
    falsified_by={"gamma": 1.0},
    sweep=[{"time": 1.0}],
    mutants=[
        Mutant.statement("the exponent is −1", claimed=-1.0),
        Mutant.statement("a bound of a hundredth", constant=0.01),
        Mutant.code(
            "the limit is 20 % too large",
            "convergence.limit_gram",
            lambda f: lambda x, **rest: 1.2 * f(x, **rest),
        ),
    ],
)
def kernel_converges_uniformly(
    time: float = 4.0,
    gamma: float = 0.5,
    claimed: float = -0.5,
    constant: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """The largest ‖H_t − H∞‖ over t ≤ T vanishes like m^(−1/2), with no assumption on λ_min.

    Flows of tanh networks with m = 32, 128, 512, 12 draws each: the exponent of the supremum; and
    the drift from H₀ over LR(2‖J₀‖ + LR), R = ‖r₀‖√(T/2). With `gamma=1` the output is scaled by
    1/m, and the time with it: the mean-field scaling, in which the kernel moves at any width.

    Loose: the bound takes the shortest path in parameters that the loss allows and lets all of it
    act in the direction in which the Jacobian changes most.
    """
    n, d, widths = 3, 3, (32, 128, 512)
    x, y = unit_vectors(seed, n, d), np.array([1.0, -1.0, 1.0])
    limit = limit_gram(x, activation="tanh", train_output=False)
    suprema, ratios = [], []
    for m in widths:
        row = []
        for draw in range(12):
            start = _start(1000 * m + draw + seed, m, x)
            scale = m ** (0.5 - gamma)
            a = scale * networks.alternating_signs(m)
            model = _Tanh(x, a)
            run = model.run(start, y, time / scale**2, 16)[::4]
            grams = [model.gram(at) / scale**2 for at in run]
            row.append(max(float(np.linalg.norm(gram - limit, 2)) for gram in grams))
            network = networks.shallow(m, activation="tanh", output_weights=a)
            found = constants(network, start, x, y)
            bound = uniform_drift_bound(
                time / scale**2,
                residual_norm=found.residual_norm,
                jacobian_norm=found.jacobian_norm,
                lipschitz=found.lipschitz,
            )
            drift = max(float(np.linalg.norm(gram - grams[0], 2)) for gram in grams) * scale**2
            ratios.append(drift / (constant * bound))
        suprema.append(row)
    fit = fit_power_law(widths, suprema)
    return [
        Check("exponent of the supremum in m", fit.exponent, "==", claimed, 0.15),
        Check("largest drift over its bound", max(ratios), "<=", 1),
    ]


# --- section 2.3 -------------------------------------------------------------------------------


@result(
    "B23",
    "Section 2.3, continuous induction",
    theorem="thm-loop",
    evidence="rounding",
    falsified_by={"share": 4.0},
    sweep=[{"n": 1, "width": 1}, {"n": 1, "width": 1, "input_norm": 3.0}, {"width": 300}],
    mutants=[
        Mutant.statement("seven eighths for five", eighths=7.0),
        Mutant.statement("the radius is a third", radius_factor=1 / 3),
        Mutant.code(
            "L without the norms of the inputs, here 3",
            "convergence._lipschitz",
            lambda f: lambda copy, x: f(copy, x / np.linalg.norm(x, axis=1, keepdims=True)),
        ),
    ],
)
def continuous_induction(
    n: int = 3,
    d: int = 3,
    width: int = 60,
    share: float = 1.0,
    input_norm: float = 1.0,
    eighths: float = 5.0,
    radius_factor: float = 1.0,
) -> list[Check]:
    """If the drift over the ball of radius R = 2K‖r₀‖/λ₀ is at most ⅜λ₀, then λ_min(H_t) ≥ ⅝λ₀,
    ‖J_t‖ ≤ K and ‖θ_t − θ₀‖ ≤ R for all times.

    Labels at the edge of the hypothesis (`share` times as far beyond f₀), in the direction that
    lowers the slopes; λ_min, ‖J‖ and distance along the flow of a tanh network.

    Loose: the radius pays K for the gradient, where a residual along the lowest singular vector has
    σ₀ only, and the rate ½λ₀, where the loop ends with ⅝λ₀ at least.
    """
    x = input_norm * unit_vectors(0, n, d)
    model = _Tanh(x, networks.alternating_signs(width))
    start = _start(1, width, x)
    values, jacobian = model(start)
    toward = np.linalg.svd(jacobian)[0][:, -1]
    toward = toward * (1 if n > 1 else np.sign(toward[0]))
    network = _shallow(width)

    def certificate(size: float) -> convergence.Certificate:
        return certificates(network, start, x, values + size * toward)["five-eighths"]

    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if certificate(middle).certified else (low, middle)
    y = values + share * low * toward
    found = certificate(share * low)
    H = jacobian @ jacobian.T
    smallest, largest = np.linalg.eigvalsh(H)[[0, -1]]
    rate = float(smallest)
    steps = int(min(max(60, 12 * largest / rate), 1500))
    run = model.run(start, y, 6 / rate, steps)[:: max(steps // 30, 1)]
    along = measure(network, run, x, y)
    known = constants(network, start, x, y)
    radius = found.radius if found.certified else 2 * math.sqrt(largest) * share * low / rate
    K = known.jacobian_norm + known.lipschitz * radius
    return [
        found.chain[-1],
        Check(
            "smallest λ_min(H_t) over λ₀", float(np.min(along.eigenvalue)) / rate, ">=", eighths / 8
        ),
        Check("largest ‖J_t‖ over K", float(np.max(along.jacobian_norm)) / K, "<=", 1),
        Check(
            "largest distance over R",
            float(np.max(along.distance)) / radius / radius_factor,
            "<=",
            1,
        ),
    ]


@result(
    "B23",
    "Section 2.3, sharp form",
    theorem="thm-sharp",
    exercise="ex-threshold",
    evidence="searched",
    falsified_by={"share": 1.05},
    sweep=[{"share": 0.5, "sigma": 0.3}, {"share": 0.99, "slope": 4.0}, {"share": 0.2}],
    mutants=[
        Mutant.statement("L is 5 % smaller", factor=0.95),
        Mutant.code(
            "the bound is plainly exponential",
            "convergence.residual_bound",
            lambda f: (
                lambda t, *, residual_norm, sigma_min, lipschitz: (
                    residual_norm
                    * np.exp(-(sigma_min**2 - 2 * lipschitz * residual_norm) * np.asarray(t))
                )
            ),
        ),
        Mutant.code(
            "the certificate has L for 2L",
            "convergence._sharp",
            lambda f: lambda found: f(found._replace(lipschitz=found.lipschitz / 2)),
        ),
    ],
)
def sharp_certificate(
    share: float = 0.9, sigma: float = 1.5, slope: float = 0.7, factor: float = 1.0
) -> list[Check]:
    """If c = σ₀² − 2L‖r₀‖ > 0, then ‖r_t‖ ≤ e^(−ct)‖r₀‖ and the path is no longer than (σ₀ − √c)/L;
    for f = σ₀θ − Lθ²/2 both hold with equality, and beyond the threshold it gets stuck.

    2L‖r₀‖ is `share` of σ₀². The scalar model's residual against the sharp bound, the length of its
    path, what is left of the residual at the end; and certified tanh networks with labels at this
    share of their threshold, which must keep their rate.
    """
    rho = share * sigma**2 / (2 * slope)
    found = Constants(1, 1, sigma, sigma, sigma, rho, slope, sigma**2)
    certificate = forms(found)["sharp"]
    rate = sigma**2 - 2 * slope * rho if share < 1 else 0.05 * sigma**2
    times = np.linspace(0, 12 / rate, 60)

    def left(theta: Any) -> Any:
        return rho - sigma * theta + slope * theta**2 / 2

    theta = _solve(lambda at: (sigma - slope * at) * left(at), np.zeros(1), times)[:, 0]
    checks = [
        Check("residual at the end over the first", float(left(theta[-1])) / rho, "==", 0, 1e-5)
    ]
    if share < 1:
        bound = residual_bound(times, residual_norm=rho, sigma_min=sigma, lipschitz=factor * slope)
        checks += [
            Check(
                "residual and bound apart, over ρ₀",
                float(np.max(np.abs(left(theta) - bound))) / rho,
                "==",
                0,
                1e-6,
            ),
            Check(
                "length of the path over its bound",
                float(theta[-1]) / certificate.radius,
                "==",
                1,
                1e-4,
            ),
        ]
    x = 2 * unit_vectors(0, 2, 2)
    ratios = []
    for width, seed in itertools.product((1, 20), range(2)):
        points = x[: min(width, 2)]
        model = _Tanh(points, networks.alternating_signs(width))
        start = _start(seed, width, points)
        values, jacobian = model(start)
        network = _shallow(width)
        known = constants(network, start, points, values)
        toward = np.linalg.svd(jacobian)[0][:, -1]
        toward = toward * (1 if width > 1 else np.sign(toward[0]))
        level = min(share, 0.9)
        y = values + level * known.sigma_min**2 / (2 * known.lipschitz) * toward
        promised = certify(network, start, points, y)
        if not promised.certified:
            continue
        stiff = known.jacobian_norm**2 / promised.rate
        run = model.run(start, y, 4 / promised.rate, int(min(60 + 2 * stiff, 2000)))
        end = float(np.linalg.norm(model(run[-1])[0] - y)) / known.residual_norm
        start_size = float(np.linalg.norm(values - y)) / known.residual_norm
        ratios.append(end / start_size / math.exp(-4))
    checks.append(Check("residual of networks over e^(−ct)", max(ratios, default=0.0), "<=", 1))
    return checks


@result(
    "B23",
    "Section 2.3, width conditions",
    theorem="prop-widths",
    evidence="rounding",
    falsified_by={"width_factor": 0.25},
    sweep=[{"n": 4}],
    mutants=[
        Mutant.statement("the exponent in n is moved by 0.1", exponent=0.1),
        Mutant.code(
            "β is halved",
            "linearization.smoothness",
            lambda f: lambda activation: f(activation) / 2,
        ),
    ],
)
def sufficient_width_conditions(
    n: int = 2, width_factor: float = 3.0, exponent: float = 0.0, seed: int = 0
) -> list[Check]:
    """From m = (2ℓ‖r₀‖/λ_min(H∞))² on the sharp form certifies, from four times that the frozen,
    later the loop; for n orthonormal inputs and labels ±1 the width grows like n, where the printed
    loop asks for n².

    The four widths for orthonormal inputs against closed forms; the exponents; and paired tanh
    networks of `width_factor` times the sharp width, which the certificate must accept.
    """
    beta = 4 / (3 * math.sqrt(3))
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    slope = float(weights @ (1 / np.cosh(nodes) ** 4) / np.sum(weights))  # E tanh′(z)²
    found = {
        k: sufficient_widths(np.eye(k), residual_norm=math.sqrt(k), activation="tanh")
        for k in (n, 4 * n)
    }
    exact = 4 * beta**2 * n / slope**2
    growth = math.log(found[4 * n].sharp / found[n].sharp) / math.log(4)
    printed = math.log(found[4 * n].printed / found[n].printed) / math.log(4)
    width = int(width_factor * found[n].sharp)
    network = networks.shallow(width, activation="tanh")
    accepted = 0
    for draw in range(5):
        start = np.random.default_rng(seed + draw).normal(size=(width, n))
        values = _Tanh(np.eye(n), networks.alternating_signs(width))(start)[0]
        toward = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
        accepted += certify(network, start, np.eye(n), values + toward).certified
    return [
        # Quadrature with 128 nodes, in float32 where floats have 32 bits.
        Check("sharp width over its closed form", found[n].sharp / exact, "==", 1, 1e-4),
        Check("exponent of the sharp width in n", growth, "==", 1 + exponent, 1e-3),
        Check("exponent of the printed loop in n", printed, "==", 2, 1e-3),
        Check(
            "frozen over sharp", found[n].frozen / found[n].sharp, "==", 4, rounding_tolerance(4)
        ),
        Check("forms out of order", int(np.sum(np.diff(found[n]) > 0)), "==", 0),
        Check("draws that are certified, of 5", accepted, "==", 5),
    ]


@result(
    "B23",
    "Section 2.3, λ_min = Ω(1)",
    theorem="thm-omega-one",
    exercise="ex-fixed-dimension",
    evidence="rounding",
    falsified_by={"repeated": True},
    sweep=[{"n": 2, "d": 3}, {"n": 40, "d": 800}],
    mutants=[
        Mutant.statement("1/(4.4n) on the circle", circle=4.4),
        Mutant.statement("the floor is doubled", factor=2.0),
        Mutant.code(
            "the floor forgets how many points there are",
            "convergence.coherence_floor",
            lambda f: lambda c, *, coherence, points: f(c, coherence=coherence, points=2),
        ),
    ],
)
def smallest_eigenvalue_of_order_one(
    n: int = 20,
    d: int = 400,
    repeated: bool = False,
    circle: float = 4.0,
    factor: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """λ_min(H∞) ≥ Σ c_k max(0, 1 − (n−1)μ^k) for inputs of coherence μ, of order 1 if the dimension
    grows with n; at a fixed dimension it vanishes, whatever the inputs.

    ReLU, first layer trained: random inputs against the floor; odd numbers of equispaced points of
    the circle against 1/(4n); and in dimensions 2 and 3 the upper bound K(1) − K(cos δ) by the
    closest pair. With `repeated` two inputs are equal.
    """
    x = unit_vectors(seed, n, d)
    if n == 2:
        x[1] *= np.sign(x[0] @ x[1])
    if repeated:
        x[1] = x[0]
    mu = float(np.max(np.abs(x @ x.T - np.diag(np.diag(x @ x.T)))))
    smallest = float(np.linalg.eigvalsh(limit_gram(x, activation="relu", train_output=False))[0])
    coefficients = tangent_kernel.arc_cosine_coefficients(2000, bias=False)
    floor = factor * coherence_floor(coefficients, coherence=min(mu, 1.0), points=n)
    odd = [
        circle
        * k
        * float(
            np.linalg.eigvalsh(
                limit_gram(
                    _circle(2 * np.pi * np.arange(k) / k), activation="relu", train_output=False
                )
            )[0]
        )
        for k in (21, 101)
    ]
    above = []
    for dimension in (2, 3):
        points = unit_vectors(seed, 60, dimension)
        cosines = np.clip(points @ points.T - 2 * np.eye(60), -1, 1)
        delta = float(np.arccos(np.max(cosines)))
        gram = limit_gram(points, activation="relu", train_output=False)
        pair = 0.5 - math.cos(delta) * (math.pi - delta) / (2 * math.pi)
        above.append(float(np.linalg.eigvalsh(gram)[0]) / pair)
    # On the circle the next order is n⁻² smaller, with a factor near 25.
    return [
        Check("smallest eigenvalue", smallest, ">=", floor, rounding_tolerance()),
        Check("the floor itself, of order 1", floor, ">=", 0.1),
        Check("4n λ_min on the circle, 21 points", odd[0], "==", 1, 30 / 21**2),
        Check("4n λ_min on the circle, 101 points", odd[1], "==", 1, 30 / 101**2),
        Check("λ_min over the closest pair's bound", max(above), "<=", 1, rounding_tolerance(100)),
    ]


# --- the lemmas --------------------------------------------------------------------------------


@result(
    "B23",
    "Lemma 4.1",
    theorem="lem-weight-norm",
    evidence="sampled",
    level=1e-3,
    seeds=400,
    falsified_by={"std": 1.6},
    sweep=[{"width": 16, "d": 16}, {"widths": (4, 16, 4, 1), "width": 4}],
    mutants=[
        Mutant.statement("1.5 for the constant 3", constant=0.5),
        Mutant.code(
            "half the bound",
            "convergence.weight_norm_bound",
            lambda f: lambda width_ratio: f(width_ratio) / 2,
        ),
    ],
)
def weight_norms(
    width: int = 4,
    d: int = 4,
    widths: tuple[int, ...] | None = None,
    std: float = 1.0,
    constant: float = 1.0,
    draws: int = 400,
) -> list[Check]:
    """With probability 1 − (D+1)e^(−m/2) all weight matrices have ‖W‖ ≤ (2√A + 1)√m at the start, A
    the largest width over the smallest hidden one.

    400 draws of two hidden layers: the share beyond the bound against the probability (plus three
    standard errors of a share), and the mean norm of square matrices against √a + √b, the step of
    the proof that gives the constant.

    Loose: m/2 in the exponent comes from a deviation of √m above the mean, where the largest
    singular value of a Gaussian matrix deviates by m^(−1/6) only.
    """
    shape = widths or (d, width, width, 1)
    rng = np.random.default_rng(0)
    norms = np.zeros((draws, len(shape) - 1))
    for draw, (layer, (fan_in, fan_out)) in itertools.product(
        range(draws), enumerate(itertools.pairwise(shape))
    ):
        norms[draw, layer] = np.linalg.norm(std * rng.normal(size=(fan_out, fan_in)), 2)
    bound = constant * weight_norm_bound(max(shape) / width) * math.sqrt(width)
    share = float(np.mean(np.max(norms, axis=1) > bound))
    probability = (len(shape) - 1) * math.exp(-width / 2)
    sides = math.sqrt(shape[0]) + math.sqrt(shape[1])
    return [
        Check(
            "share of draws beyond the bound",
            share,
            "<=",
            probability,
            3 * math.sqrt(min(probability, 0.25) / draws),
        ),
        Check(
            "mean norm over √a + √b",
            float(np.mean(norms[:, 0])) / sides,
            "<=",
            1,
            3 / math.sqrt(draws) / sides,
        ),
    ]


def _gradient_norm(weights: list[np.ndarray], x: np.ndarray, activation: str) -> float:
    """‖∇f‖ of a network with fan-in gains and one output, by products of matrices."""
    gains = [1 / math.sqrt(W.shape[1]) for W in weights]
    values, slopes, a = [x], [], x
    for W, gain in zip(weights[:-1], gains, strict=False):
        z = gain * W @ a
        a = np.tanh(z) if activation == "tanh" else z
        slopes.append(1 - a**2 if activation == "tanh" else np.ones_like(z))
        values.append(a)
    total, back = 0.0, np.ones(1)
    for layer in reversed(range(len(weights))):
        total += gains[layer] ** 2 * float(np.sum(back**2) * np.sum(values[layer] ** 2))
        if layer:
            back = slopes[layer - 1] * (gains[layer] * weights[layer].T @ back)
    return math.sqrt(total)


@result(
    "B23",
    "Lemma 4.2",
    theorem="lem-gradient-norm",
    evidence="searched",
    falsified_by={"input_norm": 1.3},
    sweep=[{"depth": 1}, {"depth": 3, "q": 2.0}, {"q": 0.4}],
    mutants=[
        Mutant.statement("the exponent is D − 0.1", exponent=-0.1),
        Mutant.code(
            "√(D + 1) is lost",
            "convergence.gradient_bound",
            lambda f: lambda *, depth, **rest: f(depth=depth, **rest) / math.sqrt(depth + 1),
        ),
    ],
)
def gradient_norms(
    depth: int = 2,
    width: int = 6,
    q: float = 1.5,
    input_norm: float = 1.0,
    exponent: float = 0.0,
    seed: int = 0,
) -> list[Check]:
    """If all ‖W^(l)‖ ≤ q√m, then ‖∇f(x)‖ ≤ √(D+1) (Bq)^D for ‖x‖ = √d, and no smaller constant
    serves.

    Weights of rank one, aligned, with σ(z) = z, attain it; random weights of the same norms, with
    tanh, stay below. `input_norm` is in units of √d.
    """
    rng = np.random.default_rng(seed)
    bound = gradient_bound(depth=depth, weight_norm=q, slope=1.0) * q**exponent
    u = rng.normal(size=width)
    u /= np.linalg.norm(u)
    scale = q * math.sqrt(width)
    aligned = [scale * np.outer(u, u)] * depth + [scale * u[None]]
    x = input_norm * math.sqrt(width) * u
    found = _gradient_norm(aligned, x, "identity")
    random = []
    for _ in range(30):
        drawn = [rng.normal(size=W.shape) for W in aligned]
        drawn = [scale * W / np.linalg.norm(W, 2) for W in drawn]
        random.append(_gradient_norm(drawn, x, "tanh"))
    return [
        Check("aligned weights over the bound", found / bound, "==", 1, rounding_tolerance()),
        Check(
            "largest of all gradients over the bound",
            max(*random, found) / bound,
            "<=",
            1,
            rounding_tolerance(),
        ),
    ]


@result(
    "B23",
    "Lemma 4.3",
    theorem="lem-gradient-norm",
    evidence="sampled",
    level=1e-3,
    seeds=20,
    falsified_by={"input_norm": 12.0},
    sweep=[{"depth": 1, "width": 8}, {"depth": 3}, {"width": 64}],
    mutants=[
        Mutant.statement("a tenth of the bound", constant=0.1),
        Mutant.code(
            "weights of norm 1 for 3",
            "convergence.weight_norm_bound",
            lambda f: lambda width_ratio: f(width_ratio) / 12,
        ),
    ],
)
def gradients_in_the_ball(
    depth: int = 2,
    width: int = 24,
    input_norm: float = 1.0,
    constant: float = 1.0,
    draws: int = 20,
) -> list[Check]:
    """With probability 1 − (D+1)e^(−m/2), ‖∇f(x; θ)‖ = O(1) in the whole ball of radius √m around
    the start: at most √(D+1) (B(2√A + 2))^D.

    σ(z) = z, so that no saturation helps: from each of 20 starts all layers move by equal shares of
    the radius along their largest singular vectors, towards alignment. `input_norm` is in units of
    √d.

    Loose: the bound lets each layer take the whole radius and all matrices share their largest
    singular vectors, which at the start they do not.
    """
    rng = np.random.default_rng(1)
    found = []
    radius = math.sqrt(width)
    for _ in range(draws):
        shapes = [(width, width)] * depth + [(1, width)]
        weights = [rng.normal(size=shape) for shape in shapes]
        x = input_norm * math.sqrt(width) * unit_vectors(0, 1, width)[0]
        a = x
        for layer, W in enumerate(weights):
            left = np.linalg.svd(W)[0][:, 0] if layer < depth else np.ones(1)
            inward = a / np.linalg.norm(a)
            share = radius / math.sqrt(depth + 1)
            image = W @ inward
            left = image / np.linalg.norm(image) if np.linalg.norm(image) > 0 else left
            weights[layer] = W + share * np.outer(left, inward)
            a = weights[layer] @ a / math.sqrt(W.shape[1])
        found.append(_gradient_norm(weights, x, "identity"))
    bound = constant * gradient_bound(
        depth=depth, weight_norm=weight_norm_bound(1.0), slope=1.0, radius_ratio=1.0
    )
    return [Check("largest gradient found over its bound", max(found) / bound, "<=", 1)]
