"""The ledger of hierarchical_learning: its entries and their oracles."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntklab import hierarchical_learning, spectral_bias
from ntklab.checks import Check, rounding_tolerance
from ntklab.ledger import Mutant, result

# --- oracles ------------------------------------------------------------------------------------


@functools.lru_cache
def _cube(d: int) -> np.ndarray:
    return np.array(list(itertools.product([1.0, -1.0], repeat=d)))


def _sets(d: int, k: int) -> np.ndarray:
    return np.array(list(itertools.combinations(range(d), k)))


def _target(x: np.ndarray, subset: Any, alpha: float) -> np.ndarray:
    members = x[:, list(subset)]
    return np.asarray(members + alpha * np.prod(members, axis=1, keepdims=True))


def _parities(d: int, k: int, cosine: np.ndarray) -> np.ndarray:
    """The mean of χ_S(x)χ_S(x′) over the sets of k, a function of the cosine."""
    places = np.rint((1 - cosine) * d / 2).astype(int)
    totals = [
        sum((-1) ** i * math.comb(h, i) * math.comb(d - h, k - i) for i in range(k + 1))
        for h in range(d + 1)
    ]
    return np.asarray(np.array(totals, float)[places] / math.comb(d, k))


def _zonal(d: int, k: int) -> dict[str, Callable[[np.ndarray], Any]]:
    """Kernels of the cosine."""
    return {
        "linear": lambda c: c,
        "quadratic": lambda c: (1 + c) ** 2,
        "cubic": lambda c: (1 + c) ** 3,
        "Gaussian": lambda c: np.exp(c),
        "narrow Gaussian": lambda c: np.exp(4 * c),
        "Laplace": lambda c: np.exp(-np.sqrt(np.maximum(2 - 2 * c, 0))),
        **{f"tangent, depth {depth}": spectral_bias.deep_kernel(depth) for depth in (1, 2, 3, 4)},
        "linear and parities": lambda c: c + 1e-3 * _parities(d, k, c),
    }


def _some_parities(points: np.ndarray, d: int, k: int, n: int) -> np.ndarray:
    """The linear functions and N − d parities, which a kernel of that rank spans."""
    chosen = np.random.default_rng(7).permutation(_sets(d, k))[: n - d]
    return np.concatenate([points[:, :d], np.prod(points[:, chosen], axis=2)], axis=1)


def _features(
    points: np.ndarray, d: int, k: int, n: int, seed: int, names: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Sections K(·, x_n) of kernels at N of the points: all that their predictors are made of."""
    rng = np.random.default_rng(seed)
    samples = points[rng.choice(len(points), n)]
    cosines = (
        points
        @ samples.T
        / np.sqrt(np.sum(points**2, axis=1)[:, None] * np.sum(samples**2, axis=1))
    )
    found = {name: kernel(cosines) for name, kernel in _zonal(points.shape[1], k).items()}
    weights = rng.normal(size=(points.shape[1], 32))
    both, at = points @ weights, samples @ weights
    found["random features"] = np.maximum(both, 0) @ np.maximum(at, 0).T
    found["tangent of 32 units"] = (points @ samples.T) * (
        (both > 0).astype(float) @ (at > 0).T.astype(float)
    )
    if n > d:
        found["some parities"] = _some_parities(points, d, k, n)
    return {name: values for name, values in found.items() if not names or name in names}


def _mean_risks(
    features: dict[str, np.ndarray], points: np.ndarray, chances: np.ndarray, **sizes: Any
) -> dict[str, np.ndarray]:
    """The risks of the best predictors, for each kernel and each set."""
    return {
        name: np.sum(hierarchical_learning.class_errors(values, points, chances, **sizes), axis=1)
        for name, values in features.items()
    }


def _biased(points: np.ndarray, bias: float) -> np.ndarray:
    return np.asarray(np.prod((1 + bias * points) / 2, axis=1))


# --- the learner and its class ------------------------------------------------------------------


@result(
    "AZL19",
    "Section 3, U = VA",
    theorem="prop-decomposition",
    evidence="rounding",
    falsified_by={"coupled": False},
    sweep=[{"seed": 1}, {"width": 3, "outputs": 4, "seed": 2}],
    mutants=[
        Mutant.statement("the second bias is dropped", bias=0.0),
        Mutant.statement("the second layer sees the input, not the first output", skip=True),
        Mutant.code(
            "the first layer's output is not passed on",
            "hierarchical_learning._Residual.parts",
            lambda f: lambda self, params, x: (0 * f(self, params, x)[0], f(self, params, x)[1]),
        ),
        Mutant.code(
            "V acts on the hidden units alone",
            "hierarchical_learning._Residual.parts",
            lambda f: (
                lambda self, params, x: f(
                    self, {**params, "V": params["V"] / 2} if self.factored else params, x
                )
            ),
        ),
    ],
)
def the_network_is_two_of_its_own(
    width: int = 16,
    outputs: int = 3,
    coupled: bool = True,
    bias: float = 1.0,
    skip: bool = False,
    seed: int = 0,
) -> list[Check]:
    """With U = VA the network is SN(x) + Aσ(V SN(x) + b₂) with SN(x) = Aσ(Wx + b₁).

    At random weights and biases, against NumPy: both terms of the factored network, and the
    network of section 2.1 with U = VA put in. `coupled` makes its U another one.
    """
    rng = np.random.default_rng(seed)
    d, m, k = 5, width, outputs
    factored = hierarchical_learning.residual_network(m, k, factored=True)
    plain = hierarchical_learning.residual_network(m, k)
    shapes = {"W": (m, d), "V": (m, k), "A": (k, m), "b1": (m,), "b2": (m,)}
    params = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}
    w, v, a, b1, b2 = (np.asarray(value, float) for value in params.values())
    x = rng.normal(size=(20, d))
    first = np.maximum(x @ w.T + b1, 0) @ a.T
    inner = np.maximum(x @ w.T + b1, 0) @ a.T if not skip else x[:, :1] * np.ones((1, k))
    second = np.maximum(inner @ v.T + bias * b2, 0) @ a.T
    points = jnp.asarray(x, params["W"].dtype)
    parts = hierarchical_learning.residual_parts(factored, params, points)
    u = params["V"] @ params["A"] if coupled else rng.normal(size=(m, m))
    whole = plain.apply(
        {**{n: p for n, p in params.items() if n != "V"}, "U": jnp.asarray(u, points.dtype)}, points
    )
    size = float(np.max(np.abs(first)) + np.max(np.abs(second)))
    tolerance = rounding_tolerance(size)

    def gap(found: Any, wanted: np.ndarray) -> float:
        return float(np.max(np.abs(np.asarray(found, float) - wanted)))

    return [
        Check("gap of SN(x)", gap(parts[0], first), "==", 0, tolerance),
        Check("gap of Aσ(V SN(x) + b₂)", gap(parts[1], second), "==", 0, tolerance),
        Check("gap of the network with U = VA", gap(whole, first + second), "==", 0, tolerance),
    ]


def _smooth_sum(kind: str, degree: int, radius: float, seed: int) -> Any:
    """Functions of the concept class: random ones, and those for which its bounds are close."""
    if kind == "product":
        return hierarchical_learning.polarized_product(degree)
    k, p, d = (3, 2, 4) if kind == "random" else (2, 2, 2)
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(k, p, d))
    signs: np.ndarray = rng.choice([-1.0, 1.0], (k, p))
    coefficients = rng.normal(size=(k, p, degree + 1))
    if kind == "aligned":
        directions = np.broadcast_to(directions[:1, :1], (k, p, d))
        signs = np.ones((k, p))
        coefficients = np.zeros((k, p, degree + 1))
        coefficients[:, :, degree] = 1 / radius**degree
    directions = directions / np.linalg.norm(directions, axis=2, keepdims=True)
    return hierarchical_learning.SmoothSum(signs, directions, coefficients)


@result(
    "AZL19",
    "Section 2.2, norm and Lipschitz bounds",
    theorem="prop-smooth-bounds",
    exercise="ex-radius",
    evidence="searched",
    falsified_by={"kind": "aligned", "degree": 12, "stretch": 1.1},
    sweep=[
        {"kind": "aligned", "degree": 0},
        {"kind": "aligned", "degree": 12, "radius": 2.0},
        {"kind": "product", "degree": 6, "radius": math.sqrt(6)},
        {"kind": "random", "degree": 4, "radius": 0.5, "seed": 1},
    ],
    mutants=[
        Mutant.statement("the constant is a half", constant=0.5),
        Mutant.statement("R is dropped from C_s, as it is printed", with_radius=False),
        Mutant.statement("the norm lacks √k", outputs_power=0.0),
        Mutant.code(
            "terms of the series are not weighted with i + 1",
            "hierarchical_learning.series_complexity",
            lambda f: lambda c, **k: f(np.asarray(c) / np.arange(1, len(c) + 1), **k),
        ),
        Mutant.code(
            "the norm's bound counts one term of each sum",
            "hierarchical_learning.SmoothSum.norm_bound",
            lambda f: lambda self, radius=1.0: f(self, radius) / np.shape(self.signs)[1],
        ),
    ],
)
def smooth_sums_are_bounded(
    kind: str = "random",
    degree: int = 2,
    radius: float = 1.0,
    stretch: float = 1.0,
    constant: float = 1.0,
    with_radius: bool = True,
    outputs_power: float = 0.5,
    seed: int = 0,
) -> list[Check]:
    """Where ‖x‖ ≤ R a function of the class has norm at most √k p C_s(F, R) and Lipschitz constant
    at most √k p C_s(F, R)/R, with C = 1 in C_s(F, R) = C Σ (i + 1) Rⁱ |c_i|.

    The largest norm and slope at 300 points of the sphere of radius R, among them the directions
    of the class and the corners. `stretch` puts the points at another radius.
    """
    function = _smooth_sum(kind, degree, radius, seed)
    k = len(function.signs)
    d = function.directions.shape[2]
    rng = np.random.default_rng(seed)
    corners = np.array(list(itertools.product([1.0, -1.0], repeat=d)))
    x = np.concatenate([rng.normal(size=(300, d)), function.directions.reshape(-1, d), corners])
    x *= stretch * radius / np.linalg.norm(x, axis=1, keepdims=True)
    z = np.einsum("kpd,nd->nkp", function.directions, x)
    powers = np.arange(function.coefficients.shape[2])
    terms = function.coefficients * z[..., None] ** powers
    values = np.sum(function.signs * np.sum(terms, axis=3), axis=2)
    slopes = function.coefficients[:, :, 1:] * powers[1:] * z[..., None] ** powers[:-1]
    jacobians = np.einsum(
        "kp,nkp,kpd->nkd", function.signs, np.sum(slopes, axis=3), function.directions
    )
    at = radius if with_radius else 1.0
    bound = constant * function.norm_bound(at)
    slope_bound = constant * function.lipschitz_bound(at)
    steepest = float(np.max(np.linalg.norm(jacobians, 2, axis=(1, 2))))
    found = float(np.max(np.linalg.norm(values, axis=1)))
    tolerance = rounding_tolerance(found)
    return [
        Check("largest norm of F", found, "<=", k ** (outputs_power - 0.5) * bound, tolerance),
        Check(
            "largest slope of F", steepest, "<=", slope_bound, rounding_tolerance(max(steepest, 1))
        ),
    ]


@result(
    "AZL19",
    "Section 4, constants of the class",
    theorem="prop-separation-constants",
    exercise="ex-polarization",
    evidence="exact",
    falsified_by={"repeated": True},
    sweep=[{"sparsity": 2}, {"sparsity": 1}, {"sparsity": 7, "dimension": 9, "constant": 3.0}],
    mutants=[
        Mutant.statement("half of the signs are enough", share=0.5),
        Mutant.statement("R is dropped from C_s(G)", radius_power=0.0),
        Mutant.statement("C_s(F) is C√d", factor=1.0),
        Mutant.code(
            "the terms lack 1/k!",
            "hierarchical_learning.polarized_product",
            lambda f: (
                lambda k: hierarchical_learning.SmoothSum(
                    f(k).signs, f(k).directions, f(k).coefficients * max(2, math.factorial(k))
                )
            ),
        ),
        Mutant.code(
            "the logarithm stands without its root",
            "hierarchical_learning.width_complexity",
            lambda f: lambda c, alpha, **k: f(c, math.exp(-(math.log(alpha) ** 2)), **k),
        ),
    ],
)
def the_class_has_these_constants(
    sparsity: int = 4,
    dimension: int = 6,
    constant: float = 1.0,
    alpha: float = 0.1,
    share: float = 1.0,
    radius_power: float = 1.0,
    factor: float = 2.0,
    repeated: bool = False,
) -> list[Check]:
    """The product of k numbers is a sum of 2ᵏ k-th powers with C_s(G, √k) = C(k + 1)kᵏ/(2ᵏ k!) and
    C_α(G, √k) = Cᵏ(kᵏ + (k log(1/α))^(k/2))/(2ᵏ k!), and √d x_i has C_s = 2C√d.

    The sum against the product at points of a box, with integer arithmetic where the points are
    signs; the constants of the library's series against these formulas. `share` leaves out the
    last of the signs; `repeated` has one coordinate twice.
    """
    k, r = sparsity, math.sqrt(sparsity)
    g = hierarchical_learning.polarized_product(k)
    kept = math.ceil(share * 2**k)
    g = hierarchical_learning.SmoothSum(
        g.signs[:, :kept], g.directions[:, :kept], g.coefficients[:, :kept]
    )
    h = np.random.default_rng(0).uniform(-2, 2, (50, k))
    h = np.concatenate([h, _cube(k)])
    product = np.prod(h, axis=1) * (h[:, 0] if repeated else 1)
    gap = float(np.max(np.abs(np.asarray(g(h), float) - product[:, None])))
    front = constant / (2**k * math.factorial(k))
    wide = constant**k / (2**k * math.factorial(k))
    series = g.coefficients[0, 0]
    width = hierarchical_learning.width_complexity(series, alpha, radius=r, constant=constant)
    f = hierarchical_learning.coordinate_functions(dimension, range(min(k, dimension)))
    own, simple = g.complexity(r, constant=constant), f.complexity(constant=constant)
    expected = front * (k + 1) * r ** (k + k * radius_power)
    spread = wide * (k**k + (k * math.log(1 / alpha)) ** (k / 2))
    return [
        Check("gap of 2ᵏ powers from the product", gap, "==", 0, rounding_tolerance(2**k)),
        Check("C_s(G, √k)", own, "==", expected, rounding_tolerance(expected)),
        Check("C_α(G, √k)", width, "==", spread, rounding_tolerance(spread)),
        Check(
            "C_s(F, 1)",
            simple,
            "==",
            factor * constant * math.sqrt(dimension),
            rounding_tolerance(simple),
        ),
    ]


# --- the floor ----------------------------------------------------------------------------------


@result(
    "AZL19",
    "Theorem 4.2, in mean over the targets",
    theorem="thm-kernel-floor",
    evidence="exact",
    falsified_by={"bias": 0.8},
    sweep=[
        {"samples": 9},
        {"sparsity": 4, "samples": 12},
        {"dimension": 8, "sparsity": 4, "samples": 50, "seed": 1},
        {"dimension": 9, "sparsity": 2, "samples": 35, "alpha": 0.9, "seed": 2},
    ],
    mutants=[
        Mutant.statement("it holds for every target", every=True),
        Mutant.statement("half of the samples count", count=0.5),
        Mutant.statement("the floor is a tenth higher", times=1.1),
        Mutant.statement("the square of α is its power 1.9", power=1.9),
        Mutant.code(
            "sets are counted in their orders",
            "hierarchical_learning.kernel_floor",
            lambda f: lambda n, d, k, alpha: f(max(1, n // math.factorial(k)), d, k, alpha),
        ),
        Mutant.code(
            "the factor k is dropped twice over",
            "hierarchical_learning.kernel_floor",
            lambda f: lambda n, d, k, alpha: k * f(n, d, k, alpha),
        ),
    ],
)
def kernels_have_a_floor(
    dimension: int = 9,
    sparsity: int = 3,
    samples: int = 60,
    alpha: float = 0.3,
    bias: float = 0.0,
    seed: int = 0,
    every: bool = False,
    count: float = 1.0,
    times: float = 1.0,
    power: float = 2.0,
) -> list[Check]:
    """For every kernel and all N samples, the mean over the sets S of the risk of the best
    Σ_n w_{i,n} K_i(x, x_n) for x_{s_i} + αχ_S is at least kα²(1 − N/C(d, k)).

    By enumeration of the cube and of all sets: the smallest mean among 13 kernels, the mean for the
    kernel of x and N − d parities, and that for x and the mean of all parities. `bias` is the mean
    of the coordinates, `every` takes the target that is fitted best.
    """
    d, k = dimension, sparsity
    points = _cube(d)
    features = _features(points, d, k, samples, seed)
    risks = _mean_risks(
        features, points, _biased(points, bias), dimension=d, sparsity=k, alpha=alpha
    )
    found = {name: float(np.min(r) if every else np.mean(r)) for name, r in risks.items()}
    n = max(1, round(count * samples))
    floor = hierarchical_learning.kernel_floor(n, d, k, alpha) * times * alpha ** (power - 2)
    # The features' span is cut where singular values are 1e-10 of the largest.
    tolerance = 1e-8
    checks = [
        Check(
            f"smallest mean risk of {len(found)} kernels",
            min(found.values()),
            ">=",
            floor,
            tolerance,
        ),
        Check(
            "mean risk, linear and all parities",
            found["linear and parities"],
            ">=",
            floor,
            tolerance,
        ),
    ]
    if "some parities" in found:
        checks.append(
            Check("mean risk, some parities", found["some parities"], ">=", floor, tolerance)
        )
    return checks


def _extended(d: int, others: int, dependent: bool) -> tuple[np.ndarray, np.ndarray]:
    """Points whose first d coordinates are uniform signs, and others with a law of their own."""
    base = _cube(d)
    second = np.linspace(-1, 1, 3)[:, None] * np.ones(others)
    points = np.concatenate([np.repeat(base, 3, axis=0), np.tile(second, (len(base), 1))], axis=1)
    law = np.array([0.6, 0.1, 0.3])
    chances = np.tile(law, len(base)) / len(base)
    if dependent:  # the others are products of some of the first
        points[:, d:] *= np.prod(points[:, :2], axis=1, keepdims=True)
    return points, chances


@result(
    "AZL19",
    "Definition 4.1",
    theorem="thm-kernel-floor",
    evidence="exact",
    falsified_by={"bias": 0.8},
    sweep=[
        {"dependent": True},
        {"dimension": 9, "sparsity": 4, "samples": 12},
        {"dimension": 7, "sparsity": 2, "samples": 18, "others": 1, "seed": 1},
    ],
    mutants=[
        Mutant.statement("all coordinates count, not the uniform ones", all_of_them=True),
        Mutant.statement("the floor is a tenth higher", times=1.1),
        Mutant.code(
            "the floor counts half of the samples",
            "hierarchical_learning.kernel_floor",
            lambda f: lambda n, d, k, alpha: f(max(1, n // 2), d, k, alpha),
        ),
    ],
)
def other_coordinates_do_not_help(
    dimension: int = 7,
    sparsity: int = 3,
    samples: int = 25,
    others: int = 2,
    dependent: bool = False,
    bias: float = 0.0,
    seed: int = 0,
    all_of_them: bool = False,
    times: float = 1.0,
) -> list[Check]:
    """The floor of d₁ uniform coordinates holds whatever the law of the others is, and also if they
    depend on the uniform ones.

    As above, on the cube times three points of any chances; `dependent` multiplies the others with
    a parity of the first. The kernels see all coordinates. `bias` is the mean of the first.
    """
    d, k = dimension, sparsity
    points, chances = _extended(d, others, dependent)
    chances = chances * _biased(points[:, :d], bias) * 2**d
    features = _features(points, d, k, samples, seed)
    sizes: dict[str, Any] = {"dimension": d, "sparsity": k, "alpha": 0.3}
    risks = _mean_risks(features, points, chances, **sizes)
    size = d + others if all_of_them else d
    floor = times * hierarchical_learning.kernel_floor(samples, size, k, 0.3)
    least = min(float(np.mean(risk)) for risk in risks.values())
    return [Check(f"smallest mean risk of {len(risks)} kernels", least, ">=", floor, 1e-8)]


@result(
    "AZL19",
    "Theorem 4.2",
    theorem="cor-most-targets",
    exercise="ex-markov",
    evidence="exact",
    falsified_by={"hindsight": True},
    sweep=[
        {"level": 0.99, "samples": 80},
        {"dimension": 8, "sparsity": 4, "samples": 40, "level": 0.6},
        {"printed_samples": 5, "seed": 1},
    ],
    mutants=[
        Mutant.statement("it holds for all targets", count=0.0),
        Mutant.statement("half of the samples count", count=0.5),
        Mutant.statement("99 % of the targets have the risk kα²", printed_level=1.0001),
        Mutant.code(
            "the best fit stops at a tenth of the way to the parity",
            "hierarchical_learning.class_errors",
            lambda f: lambda *a, **k: 0.1 * f(*a, **k),
        ),
        Mutant.code(
            "the risk is that of one output",
            "hierarchical_learning.target_risks",
            lambda f: lambda x, kernel, sets, alpha: f(x, kernel, sets, alpha) / len(sets[0]),
        ),
    ],
)
def most_targets_are_missed(
    dimension: int = 9,
    sparsity: int = 3,
    samples: int = 50,
    level: float = 0.98,
    printed_samples: int = 18,
    printed_level: float = 0.9,
    count: float = 1.0,
    hindsight: bool = False,
    seed: int = 0,
) -> list[Check]:
    """With N ≤ C(d, k)/1000 samples the best fit by any kernel has a risk above α²/16, and even of
    0.9 kα², for 99 % of the targets; in general at most a share N/(γC(d, k)) of the targets has a
    risk below (1 − γ)kα².

    All 18,564 sets of 6 among 18 coordinates with N = 18 samples, for the kernel of x and all
    parities, by its eigenvalues. By enumeration at a small d, with γ as `level`: the targets that
    the kernel of x and N − d parities fits. With `hindsight` this kernel has the target's own
    parity.
    """
    d, k, alpha = 18, 6, 0.3
    x = np.random.default_rng(seed).choice([-1.0, 1.0], (printed_samples, d))
    risks = hierarchical_learning.target_risks(
        x, lambda c: c + 1e-3 * _parities(d, k, c), _sets(d, k), alpha
    )
    points = _cube(dimension)
    chances = np.full(len(points), 1 / len(points))
    small: dict[str, Any] = {"dimension": dimension, "sparsity": sparsity, "alpha": alpha}
    errors = hierarchical_learning.class_errors(
        _some_parities(points, dimension, sparsity, samples), points, chances, **small
    )
    if hindsight:
        for place, subset in enumerate(_sets(dimension, sparsity)):
            own = np.concatenate([points, np.prod(points[:, subset], axis=1)[:, None]], axis=1)
            errors[place] = hierarchical_learning.class_errors(own, points, chances, **small)[place]
    fitted = np.sum(errors, axis=1) < (1 - level) * sparsity * alpha**2
    bound = count * samples / (level * math.comb(dimension, sparsity))
    above = float(np.mean(risks >= printed_level * k * alpha**2))
    return [
        Check("share of targets above α²/16", float(np.mean(risks > alpha**2 / 16)), ">=", 0.99),
        Check("share of targets from 0.9 kα² on", above, ">=", 0.99),
        Check("share of targets below (1 − γ)kα²", float(np.mean(fitted)), "<=", bound),
    ]


@result(
    "AZL19",
    "Theorem 4.2, a choice among kernels",
    theorem="prop-kernel-choice",
    evidence="exact",
    falsified_by={"counted": 1},
    sweep=[
        {"kernels": 2, "samples": 30},
        {"kernels": 1, "samples": 60},
        {"dimension": 9, "sparsity": 4, "kernels": 5, "samples": 25},
    ],
    mutants=[
        Mutant.statement("the choice costs nothing", power=0.0),
        Mutant.statement("the choice costs the root of its size", power=0.5),
        Mutant.code(
            "the floor is twice as high",
            "hierarchical_learning.kernel_floor",
            lambda f: lambda *a: 2 * f(*a),
        ),
    ],
)
def a_choice_multiplies_the_samples(
    dimension: int = 9,
    sparsity: int = 3,
    kernels: int = 4,
    samples: int = 18,
    counted: int | None = None,
    power: float = 1.0,
) -> list[Check]:
    """Whoever chooses among J kernels for each target has in mean at least the risk
    kα²(1 − JN/C(d, k)).

    J kernels of x and N − d parities each, no parity twice: for each target the best of them, by
    enumeration. `counted` is the J of the bound.
    """
    d, k, alpha = dimension, sparsity, 0.3
    points = _cube(d)
    order = np.random.default_rng(5).permutation(_sets(d, k))
    chances = np.full(len(points), 1 / len(points))
    risks = []
    for part in range(kernels):
        own = order[part * (samples - d) : (part + 1) * (samples - d)]
        features = np.concatenate([points, np.prod(points[:, own], axis=2)], axis=1)
        errors = hierarchical_learning.class_errors(
            features, points, chances, dimension=d, sparsity=k, alpha=alpha
        )
        risks.append(np.sum(errors, axis=1))
    mean = float(np.mean(np.min(risks, axis=0)))
    size = round((kernels if counted is None else counted) ** power * samples)
    floor = hierarchical_learning.kernel_floor(size, d, k, alpha)
    return [Check("mean risk of the best of J", mean, ">=", floor, 1e-9)]


@result(
    "AZL19",
    "Section 5",
    theorem="thm-best-features",
    evidence="rounding",
    falsified_by={"fixed_order": True},
    sweep=[
        {"dimension": 5, "sparsity": 2, "features": 9, "alpha": 0.9},
        {"dimension": 6, "sparsity": 5, "features": 6},
        {"dimension": 7, "sparsity": 4, "features": 3},
    ],
    mutants=[
        Mutant.statement("no room for the linear functions is lost", room=0.0),
        Mutant.statement("the best features number one more", more=1),
        Mutant.code(
            "one eigenvalue is taken for another",
            "hierarchical_learning.best_floor",
            lambda f: lambda n, d, k, alpha: f(n, d, k, alpha) - 0.01 * k * alpha**2,
        ),
        Mutant.code(
            "the floor forgets the factor k",
            "hierarchical_learning.best_floor",
            lambda f: lambda n, d, k, alpha: f(n, d, k, alpha) / k,
        ),
    ],
)
def the_best_features_are_known(
    dimension: int = 6,
    sparsity: int = 3,
    features: int = 12,
    alpha: float = 0.3,
    fixed_order: bool = False,
    more: int = 0,
    room: float = 1.0,
) -> list[Check]:
    """The best N features, fixed before S, leave the risk k Σ_{j>N} λ_(j) in mean over the ordered
    sets, and from N = d to C(d, k) that is kα²(1 − N/C(d, k)) + k(d − 1)λ₋.

    The library's floor against the singular values of all functions x_{s_i} + αχ_S, by enumeration;
    the risk of the leading singular functions as features; the second form with λ₋ from NumPy's
    roots. In a `fixed_order` only the first output counts, which is the smallest coordinate's.
    """
    d, k, n = dimension, sparsity, features
    points = _cube(d)
    functions = np.stack([_target(points, subset, alpha) for subset in _sets(d, k)])
    if fixed_order:
        functions = np.repeat(functions[:, :, :1], k, axis=2)
    rows = np.moveaxis(functions, 1, 2).reshape(-1, len(points))
    rows = rows / math.sqrt(len(rows) * len(points))
    _, values, vectors = np.linalg.svd(rows, full_matrices=False)
    left = k * float(np.sum(values[n + more :] ** 2))
    chances = np.full(len(points), 1 / len(points))
    sizes: dict[str, Any] = {"dimension": d, "sparsity": k, "alpha": alpha}
    errors = hierarchical_learning.class_errors(vectors[:n].T, points, chances, **sizes)
    floor = hierarchical_learning.best_floor(n, d, k, alpha)
    count = math.comb(d, k)
    each = alpha**2 / count
    product = each / d * (1 - (d - k) / (k * (d - 1)))
    least = float(np.min(np.roots([1, -(1 / d + each), product]).real))
    checks = [
        Check("what N singular functions leave", left, "==", floor, 1e-9),
        Check(
            "mean risk of the best features",
            float(np.mean(np.sum(errors, axis=1))),
            "==",
            floor,
            1e-9,
        ),
    ]
    if d <= n <= count:
        expected = k * alpha**2 * (1 - n / count) + room * k * (d - 1) * least
        checks.append(Check("the floor from N = d on", floor, "==", expected, 1e-9))
    return checks


@result(
    "AZL19",
    "Section 5.1",
    theorem="cor-feature-count",
    evidence="exact",
    falsified_by={"hindsight": True},
    sweep=[
        {"dimension": 9, "sparsity": 4},
        {"dimension": 8, "sparsity": 2, "alpha": 0.9, "error": 0.2},
    ],
    mutants=[
        Mutant.statement("half as many features are enough", count=0.5),
        Mutant.statement("the error is compared with α², not kα²", outputs=False),
        Mutant.code(
            "the error counts k times",
            "hierarchical_learning.features_required",
            lambda f: lambda d, k, alpha, error: f(d, k, alpha, error * k),
        ),
    ],
)
def features_are_as_many_as_parities(
    dimension: int = 8,
    sparsity: int = 3,
    alpha: float = 0.3,
    error: float = 0.05,
    count: float = 1.0,
    outputs: bool = True,
    hindsight: bool = False,
) -> list[Check]:
    """A mean risk of ε needs at least C(d, k)(1 − ε/(kα²)) features, with any number of samples,
    and d more are enough.

    The coordinates and as many parities as it takes, one more at a time, by enumeration, against
    the smallest number that is needed and that number and d. With `hindsight` each target comes
    with its own parity, and no other one is needed.
    """
    d, k = dimension, sparsity
    points = _cube(d)
    chances = np.full(len(points), 1 / len(points))
    sets = np.random.default_rng(2).permutation(_sets(d, k))
    parities = np.prod(points[:, sets], axis=2)
    sizes: dict[str, Any] = {"dimension": d, "sparsity": k, "alpha": alpha}

    def risk(number: int) -> float:
        features = np.concatenate([points, parities[:, :number]], axis=1)
        errors = hierarchical_learning.class_errors(features, points, chances, **sizes)
        return float(np.mean(np.sum(errors, axis=1)))

    # The risk falls as parities come in: the smallest number is found by halving.
    low, high = -1, len(sets)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if risk(middle) <= error + 1e-9 else (middle, high)
    if hindsight:
        high = 1
    scale = error if outputs else error * k
    needed = hierarchical_learning.features_required(d, k, alpha, scale) * count
    return [
        Check("features used", d + high, ">=", needed),
        Check("features used", d + high, "<=", needed + d),
    ]


@result(
    "AZL19",
    "Section 4, corollary (c)",
    theorem="prop-linear-fit",
    evidence="exact",
    falsified_by={"bias": 0.5},
    sweep=[{"dimension": 5, "sparsity": 2, "alpha": 0.9}, {"dimension": 8, "sparsity": 4}],
    mutants=[
        Mutant.statement("the risk is α², as it is printed", outputs=False),
        Mutant.statement("the risk is kα^1.9", power=1.9),
        Mutant.code(
            "the composed part enters once, not in every output",
            "hierarchical_learning.composed_target",
            lambda f: lambda x, subset, alpha: f(x, subset, alpha / math.sqrt(len(subset))),
        ),
    ],
)
def learning_the_simple_part_leaves_this(
    dimension: int = 7,
    sparsity: int = 3,
    alpha: float = 0.3,
    bias: float = 0.0,
    outputs: bool = True,
    power: float = 2.0,
) -> list[Check]:
    """Under the uniform law F itself and the best linear fit have the risk kα², for every S.

    By enumeration: the mean of ‖H − F‖² for the library's target, and the smallest and the largest
    best linear fit over all sets, in units of kα². `bias` is the mean of the coordinates.
    """
    d, k = dimension, sparsity
    points = _cube(d)
    chances = _biased(points, bias)
    subset = tuple(range(d - k, d))
    target = np.asarray(
        hierarchical_learning.composed_target(jnp.asarray(points), subset, alpha), float
    )
    own = float(chances @ np.sum((target - points[:, list(subset)]) ** 2, axis=1))
    errors = hierarchical_learning.class_errors(
        points, points, chances, dimension=d, sparsity=k, alpha=alpha
    )
    risks = np.sum(errors, axis=1)
    scale = (k if outputs else 1) * alpha**power
    tolerance = rounding_tolerance(2.0)
    return [
        Check("risk of F", own / scale, "==", 1, tolerance),
        Check("smallest risk of a linear fit", float(np.min(risks)) / scale, "==", 1, tolerance),
        Check("largest risk of a linear fit", float(np.max(risks)) / scale, "==", 1, tolerance),
    ]


@result(
    "AZL19",
    "Section 4, kernel regression on the cube",
    theorem="prop-exact-risk",
    exercise="ex-ridge",
    evidence="rounding",
    falsified_by={"bias": 0.3},
    sweep=[
        {"dimension": 5, "sparsity": 2, "samples": 6, "kernel": "tangent, depth 3"},
        {"dimension": 6, "sparsity": 4, "samples": 30, "kernel": "cubic", "seed": 1},
        {"dimension": 6, "sparsity": 6, "samples": 8, "kernel": "linear and parities"},
    ],
    mutants=[
        Mutant.statement("F and the parity do not mix in the mean", mixed=False),
        Mutant.code(
            "the eigenvalues are those of another degree",
            "hierarchical_learning.cube_eigenvalues",
            lambda f: lambda kernel, d: np.roll(f(kernel, d), 1),
        ),
        Mutant.code(
            "the mean over the cube of two sections is the kernel",
            "hierarchical_learning._section_products",
            lambda f: lambda x, values: f(x, np.sqrt(np.abs(values))),
        ),
    ],
)
def kernel_risks_are_sums_over_degrees(
    dimension: int = 6,
    sparsity: int = 3,
    samples: int = 20,
    kernel: str = "Gaussian",
    alpha: float = 0.6,
    ridge: float = 0.1,
    bias: float = 0.0,
    seed: int = 0,
    mixed: bool = True,
) -> list[Check]:
    """The mean over all targets of the risk of kernel regression, and that of the best weights,
    follow from the kernel's eigenvalues on the cube, without a test point.

    By enumeration of the cube and of all sets with NumPy's least squares, against the library.
    `bias` is the mean of the coordinates, `mixed` whether the mean of x_sχ_S is taken along.
    """
    d, k = dimension, sparsity
    points, function = _cube(d), _zonal(d, k)[kernel]
    chances = _biased(points, bias)
    x = np.random.default_rng(seed).choice([-1.0, 1.0], (samples, d))
    sections, gram = function(points @ x.T / d), function(x @ x.T / d)
    root = np.sqrt(chances)[:, None]
    best, regression = [], []
    for subset in _sets(d, k):
        labels, values = _target(x, subset, alpha), _target(points, subset, alpha)
        weights = np.linalg.solve(gram + ridge * np.eye(samples), labels)
        regression.append(np.sum(chances @ (sections @ weights - values) ** 2))
        fit = np.linalg.lstsq(root * sections, root * values, rcond=1e-9)[0]
        best.append(np.sum(chances @ (sections @ fit - values) ** 2))
    plain = 0.0
    if not mixed:  # what the products x_s χ_S add to the quadratic form of the labels
        for subset in _sets(d, k):
            parts = _target(x, subset, 0.0), alpha * np.prod(x[:, subset], axis=1)[:, None]
            kept = [np.linalg.solve(gram + ridge * np.eye(samples), part) for part in parts]
            products = (sections @ kept[0]) * (sections @ (kept[1] * np.ones((1, k))))
            plain += 2 * float(np.sum(chances @ products)) / len(_sets(d, k))
    found = hierarchical_learning.ridge_risks(x, function, k, alpha, np.array([ridge]))
    least = hierarchical_learning.best_risk(x, function, k, alpha)
    scale = float(np.mean(regression)) - plain
    return [
        Check("risk of kernel regression", float(found[0]), "==", scale, rounding_tolerance(1e2)),
        Check("risk of the best weights", least, "==", float(np.mean(best)), 1e-5),
    ]


# --- what the theorem promises, and in what order things are learned ----------------------------


@result(
    "AZL19",
    "Section 4, corollaries (a) and (b)",
    theorem="prop-corollaries",
    evidence="exact",
    falsified_by={"exponent": 0.11},
    sweep=[{"sparsity": 2}, {"sparsity": 3, "factor": 9}, {"sparsity": 4, "factor": 16}],
    mutants=[
        Mutant.statement("the samples are d^1.7", power=1.7),
        Mutant.statement("α⁴ is at most α^3.9 for every constant", constant_power=0.0),
        Mutant.code(
            "the samples grow with k, not k²",
            "hierarchical_learning.sample_complexity",
            lambda f: lambda d, k, alpha: f(d, k, alpha) / k,
        ),
        Mutant.code(
            "the thousandth is forgotten",
            "hierarchical_learning.separating_dimension",
            lambda f: lambda k, factor=1: f(k, factor=factor) // 1000 ** (10 // k),
        ),
    ],
)
def the_corollaries_need_these_dimensions(
    sparsity: int = 4,
    factor: int = 1,
    exponent: float = 0.1,
    power: float = 1.8,
    constant: float = 2.0,
    constant_power: float = 100.0,
) -> list[Check]:
    """At α = d^(−0.1) the samples k²d/α⁸ are k²d^1.8, their power k/2 is at most C(d, k)/1000 from
    (1000 k! c^(k/2))^(10/k) dimensions on, and Cα⁴ ≤ α^3.9 from d = C^100 on.

    The samples at d = 10⁶ against k²d^1.8; the two sides of (b) at the dimension that the library
    finds and at the one before, as integers, and that dimension over its formula; the logarithm of
    d at which Cα⁴ and α^3.9 meet.
    """
    d, k, c = 10**6, sparsity, factor
    samples = hierarchical_learning.sample_complexity(d, k, d**-exponent)
    found = hierarchical_learning.separating_dimension(k, factor=c)
    formula = (1000 * math.factorial(k) * c ** (k / 2)) ** (10 / k)

    def surplus(size: int) -> float:
        """The logarithm of C(d, k)/1000 over N^(k/2), to first order in a difference of 0."""
        left, right = math.comb(size, k) ** 10, 1000**10 * c ** (5 * k) * size ** (9 * k)
        return float((left - right) > 0 or left == right)

    meeting = math.log(constant) / 0.1  # of log 1/α, where C α⁴ = α^3.9
    return [
        Check("samples over k²d^1.8", samples / (k**2 * d**power), "==", 1, 1e-9),
        Check("whether (b) is covered there", surplus(found), "==", 1),
        Check("whether it is covered before", surplus(found - 1), "==", 0),
        Check("dimension over its formula", found / formula, "==", 1, 1e-3),
        Check(
            "log d where Cα⁴ = α^3.9",
            meeting / exponent,
            "==",
            constant_power * math.log(constant),
            1e-9,
        ),
    ]


def _composed(kind: str, alpha: float) -> Callable[[np.ndarray], np.ndarray]:
    """αG, whose Lipschitz constant is α times 1, or k for the product on the box of side 2."""
    if kind == "linear":
        return lambda f: alpha * f
    if kind == "absolute":
        return lambda f: alpha * np.abs(f)
    return lambda f: alpha * np.prod(np.clip(f, -1, 1), axis=1, keepdims=True) * np.ones_like(f)


@result(
    "AZL19",
    "Theorem 3.1, the scale of the error",
    theorem="thm-alternation",
    exercise="ex-third-round",
    evidence="searched",
    falsified_by={"outside": 0.5},
    sweep=[
        {"kind": "linear", "alpha": 0.8},
        {"kind": "absolute", "alpha": 0.5, "bias": 0.0},
        {"kind": "absolute", "alpha": 0.9, "bias": 0.9, "sparsity": 1},
        {"sparsity": 3, "bias": 0.6, "alpha": 0.3},
    ],
    mutants=[
        Mutant.statement("the error falls as κ^1.1t", rate=1.1),
        Mutant.statement("the risk falls one round earlier", earlier=1),
        Mutant.statement("κ is half of α times the slope of G", slope=0.5),
        Mutant.code(
            "what the composed part says is not taken out",
            "hierarchical_learning.alternate",
            lambda f: lambda x, p, h, compose, rounds: f(x, p, h, lambda g: 0 * g, rounds=rounds),
        ),
        Mutant.code(
            "what the composed part says is added",
            "hierarchical_learning.alternate",
            lambda f: (
                lambda x, p, h, compose, rounds: f(x, p, h, lambda g: -compose(g), rounds=rounds)
            ),
        ),
    ],
)
def alternation_contracts(
    kind: str = "product",
    alpha: float = 0.4,
    sparsity: int = 2,
    bias: float = 0.4,
    dimension: int = 5,
    outside: float = 0.0,
    rate: float = 1.0,
    earlier: int = 0,
    slope: float = 1.0,
) -> list[Check]:
    """If F lies in a space with the projection P, and αG shrinks distances by κ, the rounds
    F_{t+1} = P(H − αG(F_t)) from F₀ = 0 have ‖F_t − F‖ ≤ κᵗ‖F‖, and the risk of F_{t+1} + αG(F_t)
    is at most κ^(2t+2)‖F‖²: of the order α⁴ in the second round.

    Four rounds on the cube with coordinates of mean `bias`: the largest ratio of distance and
    bound, and of risk and bound. `outside` adds to F what no linear function has.
    """
    d, k = dimension, sparsity
    points = _cube(d)
    chances = _biased(points, bias)
    simple = points[:, :k] + outside * np.prod(points, axis=1, keepdims=True)
    compose = _composed(kind, alpha)
    kappa = slope * alpha * (k if kind == "product" else 1)
    labels = simple + compose(simple)
    found = hierarchical_learning.alternate(points, chances, labels, compose, rounds=4)

    def norm(values: np.ndarray) -> float:
        return math.sqrt(float(chances @ np.sum(values**2, axis=1)))

    size = norm(simple)
    distances = [norm(f - simple) / (kappa ** (rate * t) * size) for t, f in enumerate(found)]
    risks = [
        (norm(labels - after - compose(before)) / size) ** 2 / kappa ** (2 * t + 2 + 2 * earlier)
        for t, (before, after) in enumerate(itertools.pairwise(found))
    ]
    tolerance = rounding_tolerance(1 / kappa**10)
    return [
        Check("largest ‖F_t − F‖ over κᵗ‖F‖", max(distances), "<=", 1, tolerance),
        Check("largest risk over its bound", max(risks), "<=", 1, tolerance),
    ]


@result(
    "AZL19",
    "Section 7 (b), F before G(F)",
    theorem="prop-flow-order",
    evidence="rounding",
    falsified_by={"sign": -1.0},
    sweep=[
        {"kernel": "tangent, depth 1"},
        {"kernel": "cubic", "dimension": 30, "sparsity": 4},
        {"kernel": "tangent, depth 4", "dimension": 30, "sparsity": 4},
    ],
    mutants=[
        Mutant.statement("the bound has C(d, k + 1)", more=1),
        Mutant.statement("the bound is a half", constant=0.5),
        Mutant.code(
            "the eigenvalues are not divided by the points",
            "hierarchical_learning.cube_eigenvalues",
            lambda f: lambda kernel, d: 2.0 * f(kernel, d),
        ),
        Mutant.code(
            "the polynomials are transposed",
            "cube.krawtchouk",
            lambda f: lambda n: f(n).T,
        ),
    ],
)
def parities_come_last(
    kernel: str = "parities",
    dimension: int = 10,
    sparsity: int = 3,
    sign: float = 1.0,
    constant: float = 1.0,
    more: int = 0,
) -> list[Check]:
    """Under the flow of a kernel f(⟨x, x′⟩/d) on the population a parity of k coordinates is
    learned at the rate λ_k ≤ f(1)/C(d, k), since the eigenvalues sum to f(1).

    The sum of the library's eigenvalues with their multiplicities, and the largest rate at degree
    k. `parities` is the kernel of the parities of size k alone, `sign` multiplies the kernel's
    constant, so that it need not be positive semidefinite.
    """
    d, k = dimension, sparsity
    functions = {"parities": lambda c: _parities(d, k, c) + 0.01 * sign, **_zonal(d, k)}
    function = functions[kernel]
    eigenvalues = hierarchical_learning.cube_eigenvalues(function, d)
    counts = np.array([math.comb(d, j) for j in range(d + 1)], float)
    top = float(function(np.ones(1))[0])
    total = float(eigenvalues @ counts)
    bound = constant * top / math.comb(d, k + more)
    return [
        Check("sum of the eigenvalues over f(1)", total / top, "==", 1, 1e-6),
        Check("rate of a parity", float(eigenvalues[k]), "<=", bound, 1e-12),
    ]


@result(
    "AZL19",
    "Section 6, minimum norm",
    theorem="prop-not-nearest",
    exercise="ex-invariant",
    evidence="rounding",
    falsified_by={"u": 0.5, "v": 0.5},
    sweep=[{"u": 0.1, "v": -1.0}, {"u": -3.0, "v": 0.5, "product": 2.0}],
    mutants=[
        Mutant.statement("the flow keeps u² + v²", kept_sign=1.0),
        Mutant.statement("the nearest solution keeps u² − v²", nearest=True),
        Mutant.code(
            "the nearest solution is that of y = −uv",
            "hierarchical_learning.descent_and_nearest",
            lambda f: lambda u, v, y: (f(u, v, y)[0], 1.1 * f(u, v, y)[1]),
        ),
        Mutant.code(
            "the flow ends where another one does",
            "hierarchical_learning.descent_and_nearest",
            lambda f: lambda u, v, y: (f(1.1 * u, v, y)[0], f(u, v, y)[1]),
        ),
    ],
)
def descent_passes_the_nearest_solution(
    u: float = 2.0,
    v: float = 0.0,
    product: float = 1.0,
    kept_sign: float = -1.0,
    nearest: bool = False,
) -> list[Check]:
    """From a start with |u| ≠ |v| the gradient flow of ½(uv − y)² keeps u² − v², and so ends at a
    solution that is not the nearest one.

    The library's end of the flow against Runge and Kutta's method, the nearest solution against a
    grid, and how much farther the one is than the other.
    """
    y = product

    def slope(w: np.ndarray) -> np.ndarray:
        return np.asarray(-(w[0] * w[1] - y) * w[::-1])

    w = start = np.array([u, v])
    for _ in range(4000):
        one = slope(w)
        two = slope(w + 0.0025 * one)
        three = slope(w + 0.0025 * two)
        w = w + 0.005 / 6 * (one + 2 * two + 2 * three + slope(w + 0.005 * three))
    end, near = hierarchical_learning.descent_and_nearest(u, v, y)
    line = np.exp(np.linspace(-6, 6, 120_001))
    line = np.concatenate([-line, line])
    least = math.sqrt(float(np.min((line - u) ** 2 + (y / line - v) ** 2)))
    far, close = (float(np.linalg.norm(point - start)) for point in (end, near))
    at = near if nearest else end
    kept = (at[0] ** 2 + kept_sign * at[1] ** 2) - (u**2 + kept_sign * v**2)
    # The grid's spacing is 1e-4 of its points, the distance is flat at its minimum.
    return [
        Check("gap of the flow's end", float(np.max(np.abs(w - end))), "==", 0, 1e-6),
        Check("change of u² − v²", float(kept), "==", 0, 1e-9),
        Check("distance of the nearest solution", close, "==", least, 1e-6),
        Check("distance of the flow's end", far, ">", close + 1e-6),
    ]
