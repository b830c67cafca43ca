"""The ledger of gradient_flow: its entries and their oracles."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntklab import _validate, gradient_flow, networks, tangent_kernel
from ntklab.checks import Check, rounding_tolerance
from ntklab.descent import LOGISTIC, SmoothLoss
from ntklab.ledger import Mutant, result


def _kernels(seed: int, n: int, rank: int, new: int = 3) -> tuple[np.ndarray, ...]:
    """Gaussian features at n and at new points, labels, and a start at both."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n + new, rank)) / np.sqrt(rank)
    y, start = rng.normal(size=n), rng.normal(size=n + new)
    return features[:n], features[n:], y, start[:n], start[n:]


def _distance(found: Any, expected: Any) -> float:
    return float(np.max(np.abs(np.asarray(found, float) - np.asarray(expected, float))))


def _solver_error() -> float:
    """Several times what the tolerances of `network_flow` leave by default."""
    return 1e-7 if jnp.result_type(float) == jnp.float64 else 1e-4


# --- the dynamics -------------------------------------------------------------------------------


def _tanh_network(width: int, seed: int) -> tuple[networks.Network, Any, Array, Array]:
    """A network with two trained layers, and five points of a wave on the line."""
    network = networks.mlp((width, 1), activation="tanh", b_std=0.5)
    x = jnp.linspace(-1, 1, 5)[:, None]
    return network, network.init(jax.random.key(seed), 1), x, jnp.sin(3 * x)


@functools.lru_cache
def _mean_square(n: int) -> SmoothLoss:
    return SmoothLoss(lambda f, y: (f - y) ** 2 / n, 2 / n)


@result(
    "S24",
    "Equations (14.4) and (14.5)",
    theorem="prop-prediction-dynamics",
    exercise="ex-two-layers-one-point",
    evidence="rounding",
    falsified_by={"frozen": True},
    sweep=[{"seed": 1}, {"loss": "logistic"}],
    mutants=[
        Mutant.statement("the 2 of the loss is dropped", factor=1.0),
        Mutant.code(
            "the flow runs a tenth too fast",
            "gradient_flow.network_flow",
            lambda f: lambda *a, **k: f(*a[:4], 1.1 * np.asarray(a[4]), **k),
        ),
    ],
)
def predictions_follow_the_kernel(
    loss: str = "square",
    width: int = 16,
    factor: float = 2.0,
    frozen: bool = False,
    seed: int = 0,
) -> list[Check]:
    """Under gradient flow every prediction moves by dh(x)/dt = −(2η/n) Σᵢ (h(xᵢ) − yᵢ) k_t(xᵢ, x),
    with the tangent kernel of the current weights.

    The equation integrated from 0 to 3, by Gauss's rule on ten nodes, at five training points and
    two others: the change of the network's own outputs along its flow against the integral of the
    right-hand side; for the logistic loss with its slopes in place of 2(h − y)/n. With
    `frozen=True` the kernel stays what it was at the start.
    """
    _validate.choice("loss", loss, ("square", "logistic"))
    network, params, x, y = _tanh_network(width, seed)
    square = loss == "square"
    labels = y if square else jnp.sign(y + 0.1)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    times = np.concatenate([1.5 * (nodes + 1), [0.0, 3.0]])
    path = gradient_flow.network_flow(
        network.apply,
        params,
        x,
        labels,
        times,
        loss=_mean_square(len(x)) if square else LOGISTIC,
    )
    everywhere = jnp.concatenate([x, jnp.asarray([[-1.4], [0.3]], x.dtype)])
    outputs, kernels = _along(path, everywhere, x, apply=network.apply)
    h, k = (np.asarray(array, float) for array in (outputs, kernels))
    targets = np.asarray(labels[:, 0], float)
    if square:
        slopes = factor / len(x) * (h[:, : len(x)] - targets)
    else:
        slopes = -targets / (1 + np.exp(targets * h[:, : len(x)]))
    if frozen:
        k = np.broadcast_to(k[-2], k.shape)
    rates = -np.einsum("tij,tj->ti", k, slopes)
    moved = h[-1] - h[-2]
    return [
        Check(
            "integrated rate less the change of the outputs",
            _distance(1.5 * weights @ rates[:-2], moved),
            "==",
            0,
            _solver_error(),
        )
    ]


@functools.partial(jax.jit, static_argnames="apply")
def _along(path: Any, everywhere: Array, x: Array, *, apply: Any) -> tuple[Array, Array]:
    """Outputs, and tangent kernels with the training points, along a path of parameters."""

    def at(params: Any) -> tuple[Array, Array]:
        kernel = tangent_kernel.empirical_ntk(apply, params, everywhere, x)
        return apply(params, everywhere)[:, 0], kernel

    return jax.lax.map(at, path)


@result(
    "S24",
    "Equations (14.6) and (14.7)",
    theorem="prop-kernel-descent",
    exercise="ex-early-stopping",
    evidence="rounding",
    falsified_by={"bend": 0.01},
    sweep=[{"rank": 3}, {"share": 0.95}, {"n": 2, "seed": 1}],
    mutants=[
        Mutant.statement("the 2 of the loss is dropped", factor=1.0),
        Mutant.statement("the mean over the points becomes a sum", mean=False),
        Mutant.code(
            "one step fewer",
            "gradient_flow.kernel_descent",
            lambda f: lambda k, y, steps, **o: f(k, y, np.maximum(np.asarray(steps) - 1, 0), **o),
        ),
    ],
)
def kernel_descent_is_descent_in_features(
    n: int = 6,
    rank: int = 9,
    share: float = 0.5,
    factor: float = 2.0,
    mean: bool = True,
    bend: float = 0.0,
    seed: int = 0,
) -> list[Check]:
    """The gradient of L_S in the RKHS is (2/n) Σᵢ (h(xᵢ) − yᵢ) k(xᵢ, ·), and descent along it is
    descent on the weights of the kernel's features.

    In NumPy: the slope of L_S along a random function of the RKHS against the inner product with
    that gradient; and 40 steps of descent on weights, at `share` of the largest stable step,
    against `kernel_descent` on and off the training set. `bend` makes the model h + bend·h².
    """
    features, others, y, start, start_new = _kernels(seed, n, rank)
    kernel = features @ features.T
    scale = factor / n if mean else factor
    rng = np.random.default_rng(seed + 1)
    h, g = rng.normal(size=(2, rank))  # two functions, by their weights
    gradient = scale * (features @ h - y)  # the coefficients of k(xᵢ, ·)

    def loss(weights: np.ndarray) -> float:
        return float(np.mean((features @ weights - y) ** 2))

    slope = (loss(h + g) - loss(h - g)) / 2  # exact, since the loss is quadratic
    eta = share * n / np.linalg.eigvalsh(kernel)[-1]  # 2η/n is below 2/λmax
    steps = np.array([1, 5, 40])
    found = gradient_flow.kernel_descent(
        kernel,
        y,
        steps,
        step_size=eta * scale if mean else eta * scale / n,
        f0=start,
        k_test=others @ features.T,
        f0_test=start_new,
    )
    everywhere, first = np.concatenate([features, others]), np.concatenate([start, start_new])
    weights, path = np.zeros(rank), []
    for _ in range(steps[-1]):
        linear = features @ weights
        residual = start + linear + bend * linear**2 - y
        weights = weights - eta * 2 / n * features.T @ (residual * (1 + 2 * bend * linear))
        linear_everywhere = everywhere @ weights
        path.append(first + linear_everywhere + bend * linear_everywhere**2)
    expected = np.stack([path[step - 1] for step in steps])
    return [
        Check(
            "slope of L_S less the inner product with its gradient",
            slope - float(gradient @ features @ g),
            "==",
            0,
            1e-12 * float(np.sum(np.abs(gradient))) * n,
        ),
        Check(
            "descent in function space less descent on weights",
            _distance(np.concatenate(found, axis=1), expected),
            "==",
            0,
            rounding_tolerance(10),
        ),
    ]


@result(
    "S24",
    "Step size of kernel gradient descent",
    theorem="prop-step-limit",
    exercise="ex-step-schedule",
    evidence="rounding",
    falsified_by={"share": 1.02},
    sweep=[{"share": 0.01}, {"share": 0.5}, {"n": 2, "seed": 1}],
    mutants=[
        Mutant.statement("the limit is 4/λmax", constant=2.0),
        Mutant.statement("the limit is 2/λmin", eigenvalue=0),
        Mutant.code(
            "the limit lacks its factor 2",
            "gradient_flow.step_size_limit",
            lambda f: lambda kernel: f(kernel) / 2,
        ),
    ],
)
def steps_below_the_limit_shrink(
    n: int = 6, share: float = 0.99, constant: float = 1.0, eigenvalue: int = -1, seed: int = 0
) -> list[Check]:
    """Every step η < 2/λ_max of kernel gradient descent shrinks the residual of an invertible
    kernel, the part along an eigenvector by |1 − ηλ|.

    The largest ratio of two consecutive norms over 30 steps, from the residual that shrinks least
    and from a random one, and the factor along the top eigenvector. `share` is in units of
    `constant` times the limit.
    """
    features, *_ = _kernels(seed, n, 2 * n)
    kernel = features @ features.T
    values, vectors = np.linalg.eigh(kernel)
    limit = constant * gradient_flow.step_size_limit(kernel)
    eta = share * limit * values[-1] / values[eigenvalue]
    slowest = np.argmax(np.abs(1 - eta * values))
    ratios = []
    for residual in (vectors[:, slowest], np.random.default_rng(seed + 1).normal(size=n)):
        for _ in range(30):
            moved = residual - eta * kernel @ residual
            ratios.append(np.linalg.norm(moved) / np.linalg.norm(residual))
            residual = moved
    top = vectors[:, -1] - eta * kernel @ vectors[:, -1]
    # λmax, from which the limit comes, is known to a few units in the last place.
    tolerance = rounding_tolerance() / 10
    return [
        Check("largest ratio of consecutive norms", float(max(ratios)), "<", 1),
        Check(
            "factor along the top eigenvector",
            float(vectors[:, -1] @ top),
            "==",
            1 - 2 * share,
            tolerance,
        ),
    ]


@result(
    "S24",
    "Gradient descent on the coefficients",
    theorem="prop-representer",
    exercise="ex-preconditioned",
    evidence="rounding",
    falsified_by={"related": False},
    sweep=[{"rank": 9}, {"start": 3.0, "seed": 1}, {"share": 0.95}],
    mutants=[
        Mutant.statement("the same trajectory as kernel descent", power=1.0),
        Mutant.statement("the exponent 2 becomes 1.9", power=1.9),
        Mutant.code(
            "the limit is reached by half",
            "gradient_flow.kernel_flow",
            lambda f: lambda *a, **k: tuple(half / 2 for half in f(*a, **k)),
        ),
        Mutant.code(
            "one step fewer",
            "gradient_flow.kernel_descent",
            lambda f: lambda k, y, steps, **o: f(k, y, np.asarray(steps) - 1, **o),
        ),
    ],
)
def descent_on_coefficients(
    n: int = 6,
    rank: int = 4,
    start: float = 1.0,
    share: float = 0.5,
    power: float = 2.0,
    related: bool = True,
    seed: int = 0,
) -> list[Check]:
    """Gradient descent on α, h = Σ αᵢ k(xᵢ, ·), follows dr/dt = −K² r and not −K r: the same limit
    function from every α₀, on another trajectory, with steps below 2/λ_max².

    In NumPy, K of the given rank: descent on α against kernel descent with K² and k K; its limit
    at new points, from a random α₀ of size `start`, against that of the kernel flow from 0; and
    after 200 short steps the logarithms of what is left along the smallest and the largest
    eigenvalue, whose ratio is (λ_min/λ_max)². With `related=False` the kernel between new and old
    points has nothing to do with K, so that both together are no positive semidefinite kernel.
    """
    features, others, y, *_ = _kernels(seed, n, rank)
    kernel = features @ features.T
    values, vectors = np.linalg.eigh(kernel)
    rng = np.random.default_rng(seed + 1)
    cross = others @ features.T if related else rng.normal(size=(3, n))
    first = start * rng.normal(size=n)

    def descend(eta: float, steps: int) -> np.ndarray:
        alpha = first
        for _ in range(steps):
            alpha = alpha - eta * kernel @ (kernel @ alpha - y)
        return alpha

    eta, steps = share * 2 / values[-1] ** 2, [1, 7, 50]
    found = gradient_flow.kernel_descent(
        kernel @ kernel,
        y,
        steps,
        step_size=eta,
        f0=kernel @ first,
        k_test=cross @ kernel,
        f0_test=cross @ first,
    )
    path = [descend(eta, step) for step in steps]
    expected = np.stack([np.concatenate([kernel @ a, cross @ a]) for a in path])
    # The limit in closed form: the part of α₀ in the null space of K stays.
    inverse = np.linalg.pinv(kernel, rcond=1e-10)
    end = first + inverse @ (y - kernel @ first)
    limit = gradient_flow.kernel_flow(kernel, y, np.inf, k_test=cross)[1]

    short = 0.01 / values[-1] ** 2
    ends = vectors[:, [n - min(rank, n), -1]]
    left = np.log(
        np.abs(ends.T @ (kernel @ descend(short, 200) - y)) / np.abs(ends.T @ (kernel @ first - y))
    )
    expected_ratio = (values[n - min(rank, n)] / values[-1]) ** power
    return [
        Check(
            "descent on α less kernel descent with K²",
            _distance(np.concatenate(found, axis=1), expected),
            "==",
            0,
            rounding_tolerance(100),
        ),
        Check(
            "limit from α₀ less the limit of the kernel flow",
            _distance(cross @ end, limit),
            "==",
            0,
            rounding_tolerance(100),
        ),
        # log(1 − x) = −x(1 + x/2 + …) with x = ηλ² of at most 0.01.
        Check(
            "ratio of the logarithms over (λ_min/λ_max)²",
            float(left[0] / left[1]) / expected_ratio,
            "==",
            1,
            0.006,
        ),
    ]


# --- the closed form ----------------------------------------------------------------------------


@result(
    "S24",
    "Equation (14.8)",
    theorem="thm-kernel-flow",
    exercise="ex-solve-the-flow",
    evidence="rounding",
    falsified_by={"drift": 0.02},
    sweep=[{"rank": 3}, {"t": 0.3, "eta": 4.0}, {"n": 2, "seed": 1}],
    mutants=[
        Mutant.statement("as printed, without 2/n", printed=True),
        Mutant.statement("the start is forgotten off the training set", remember=False),
        Mutant.code(
            "the exponent lacks a tenth",
            "gradient_flow.kernel_flow",
            lambda f: lambda k, y, t, **o: f(k, y, 0.9 * t, **o),
        ),
        Mutant.code(
            "K in place of its inverse off the training set",
            "gradient_flow._flow_gains",
            lambda f: (
                lambda values, parameters: (
                    f(values, parameters)[0],
                    f(values, parameters)[0] * values,
                )
            ),
        ),
    ],
)
def flow_in_closed_form(
    n: int = 6,
    rank: int = 9,
    t: float = 2.0,
    eta: float = 1.0,
    printed: bool = False,
    remember: bool = True,
    drift: float = 0.0,
    seed: int = 0,
) -> list[Check]:
    """The solution of (14.7) is h_t(x) = h₀(x) + k(x, X) K⁺ (I − e^{−2ηtK/n})(y − h₀(X)), also for
    a singular K.

    Against SciPy's solution of (14.7) to 1e-11, at n training points and three others, from a
    random start. `drift` lets the kernel grow by that share until t.
    """
    from scipy.integrate import solve_ivp

    features, others, y, start, start_new = _kernels(seed, n, rank)
    everywhere = np.concatenate([features, others])
    kernel = everywhere @ features.T

    def rate(time: float, h: np.ndarray) -> np.ndarray:
        grown = (1 + drift * time / t) * kernel
        return -2 * eta / n * grown @ (h[:n] - y)

    first = np.concatenate([start, start_new])
    solution = solve_ivp(rate, (0, t), first, method="DOP853", rtol=1e-11, atol=1e-11)
    found = gradient_flow.kernel_flow(
        kernel[:n],
        y,
        eta * t if printed else 2 * eta * t / n,
        f0=start,
        k_test=kernel[n:],
        f0_test=start_new if remember else np.zeros_like(start_new),
    )
    return [
        Check(
            "closed form less the solution of (14.7)",
            _distance(np.concatenate(found), solution.y[:, -1]),
            "==",
            0,
            rounding_tolerance() + 1e-11,
        )
    ]


@result(
    "S24",
    "Matrix exponential",
    theorem="thm-kernel-flow",
    exercise="ex-solve-the-flow",
    evidence="rounding",
    falsified_by={"asymmetry": 0.02},
    sweep=[{"t": 0.1}, {"rank": 3}, {"n": 1, "rank": 1}],
    mutants=[
        Mutant.statement("singular values in place of eigenvalues", values="singular"),
        Mutant.code(
            "the exponent lacks its sign",
            "gradient_flow._flow_gains",
            lambda f: lambda values, parameters: tuple(-gain for gain in f(-values, parameters)),
        ),
    ],
)
def exponential_by_eigenvalues(
    n: int = 5,
    rank: int = 8,
    t: float = 1.0,
    values: str = "eigenvalues",
    asymmetry: float = 0.0,
    seed: int = 0,
) -> list[Check]:
    """The exponential of a symmetric A = −ηtK is found by exponentiating its eigenvalues, not its
    singular values as the source says.

    e^{−tK} as `kernel_flow` takes it, from the labels 0 and the columns of I, against the power
    series I + A + A²/2 + …, summed in NumPy. `asymmetry` adds a skew-symmetric part to A in the
    series, of which an eigensolver for symmetric matrices sees the lower triangle.
    """
    _validate.choice("values", values, ("eigenvalues", "singular"))
    features, *_ = _kernels(seed, n, rank)
    kernel = features @ features.T
    skew = np.triu(np.full((n, n), asymmetry), 1)
    matrix = -t * kernel + skew - skew.T
    series, term = np.eye(n), np.eye(n)
    for k in range(1, 60):
        term = term @ matrix / k
        series = series + term
    if values == "singular":
        left, singular, right = np.linalg.svd(matrix)
        exponential: Any = left @ np.diag(np.exp(singular)) @ right
    else:
        seen = np.tril(kernel) + np.tril(kernel, -1).T + (skew + skew.T) / t
        exponential = gradient_flow.kernel_flow(seen, np.zeros((n, n)), t, f0=np.eye(n))
    return [
        Check(
            "e^A less its power series",
            _distance(exponential, series),
            "==",
            0,
            rounding_tolerance(),
        )
    ]


@result(
    "S24",
    "Limit of (14.8) on the training set",
    theorem="cor-interpolation",
    exercise="ex-early-stopping",
    evidence="rounding",
    falsified_by={"rank": 5},
    sweep=[{"seed": 1}, {"n": 3}, {"t": 3.0}],
    mutants=[
        Mutant.statement("the rate is 1.1 λmin", rate=1.1),
        Mutant.code(
            "the exponent lacks a tenth",
            "gradient_flow.kernel_flow",
            lambda f: lambda k, y, t, **o: f(k, y, 0.9 * t, **o),
        ),
    ],
)
def labels_are_reached(
    n: int = 6, rank: int = 12, t: float = 1.0, rate: float = 1.0, seed: int = 0
) -> list[Check]:
    """If K is invertible the predictions on the training set tend to the labels, with the residual
    at most e^{−λ_min t} times what it was.

    The prediction at t = ∞ less the labels, from a random start; and the residual at time t/λ_min
    over that bound, from a random start and from the smallest eigenvector, which attains it. With
    fewer features than points K is singular.
    """
    features, _, y, start, _ = _kernels(seed, n, rank)
    kernel = features @ features.T
    values, vectors = np.linalg.eigh(kernel)
    smallest = values[np.argmax(values > 1e-10)]
    starts = np.stack([start - y, vectors[:, 0]], axis=1)
    labels = np.stack([y, 0 * y], axis=1)
    path = gradient_flow.kernel_flow(
        kernel, labels, np.array([t / smallest, np.inf]), f0=labels + starts
    )
    left = np.linalg.norm(np.asarray(path[0], float) - labels, axis=0)
    ratios = left / np.linalg.norm(starts, axis=0) * np.exp(rate * t)
    return [
        Check(
            "prediction at infinity less the labels",
            _distance(path[1][:, 0], y),
            "==",
            0,
            rounding_tolerance(),
        ),
        Check(
            "largest residual over its bound",
            float(np.max(ratios)),
            "<=",
            1,
            rounding_tolerance(float(np.exp(t))),
        ),
        Check(
            "the same from the smallest eigenvector",
            float(ratios[1]),
            "==",
            1,
            rounding_tolerance(float(np.exp(t))),
        ),
    ]


# --- the limit ----------------------------------------------------------------------------------


@result(
    "S24",
    "Ridgeless regression",
    theorem="thm-ridgeless",
    exercise="ex-early-stopping",
    evidence="rounding",
    falsified_by={"penalty": "h"},
    sweep=[{"rank": 9}, {"rank": 1}, {"n": 3, "rank": 5, "seed": 1}],
    mutants=[
        Mutant.statement("ρ = λ in place of nλ", mean=False),
        Mutant.statement("the distance is of order λ^1.1", order=1.1),
        Mutant.code(
            "twice the ridge",
            "gradient_flow.kernel_ridge",
            lambda f: lambda k, y, ridge, **o: f(k, y, 2 * np.asarray(ridge), **o),
        ),
        Mutant.code(
            "the flow stops early",
            "gradient_flow.kernel_flow",
            lambda f: lambda k, y, t, **o: f(k, y, 3.0, **o),
        ),
    ],
)
def flow_ends_ridgeless(
    n: int = 6,
    rank: int = 4,
    penalty: str = "h - h0",
    mean: bool = True,
    order: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """The flow ends at lim_{λ→0} argmin L_S(h) + λ‖h − h₀‖², of all best fits the one nearest to h₀
    in the norm of the RKHS.

    In NumPy, on the weights of the kernel's features: the minimizer for λ against `kernel_ridge`;
    the best fit of least norm against the flow at t = ∞, both at new points; and how the distance
    of the minimizer from the limit shrinks when λ, small against every eigenvalue that is not 0,
    is halved. With `penalty="h"` the penalty is ‖h‖² instead.
    """
    _validate.choice("penalty", penalty, ("h - h0", "h"))
    features, others, y, _, _ = _kernels(seed, n, rank)
    weights0 = np.random.default_rng(seed + 1).normal(size=rank)
    kernel, cross = features @ features.T, others @ features.T
    start, start_new = features @ weights0, others @ weights0
    values = np.linalg.eigvalsh(kernel)
    small = 0.02 * values[np.argmax(values > 1e-10)] / n

    def minimizer(strength: float) -> np.ndarray:
        """At the new points, of the mean square plus the penalty, by stacked least squares."""
        target = weights0 if penalty == "h - h0" else 0 * weights0
        rows = np.concatenate([features / np.sqrt(n), np.sqrt(strength) * np.eye(rank)])
        goal = np.concatenate([y / np.sqrt(n), np.sqrt(strength) * target])
        return others @ np.linalg.lstsq(rows, goal, rcond=None)[0]

    options: dict[str, Any] = {"f0": start, "k_test": cross, "f0_test": start_new}
    strengths = np.array([0.3, small, small / 2])
    ridges = n * strengths if mean else strengths
    found = gradient_flow.kernel_ridge(kernel, y, ridges, **options)[1]
    limit = gradient_flow.kernel_flow(kernel, y, np.inf, **options)[1]
    nearest = weights0 + np.linalg.pinv(features, rcond=1e-8) @ (y - start)
    far, near = (_distance(minimizer(strength), limit) for strength in strengths[1:])
    return [
        Check(
            "minimizer for λ = 0.3 less kernel ridge regression",
            _distance(found[0], minimizer(0.3)),
            "==",
            0,
            rounding_tolerance(10),
        ),
        Check(
            "nearest best fit less the end of the flow",
            _distance(limit, others @ nearest),
            "==",
            0,
            rounding_tolerance(10),
        ),
        # The distance is a sum of λ/(λᵢ(λᵢ + nλ)) with nλ at most 2 % of λᵢ, and rounding is
        # small against it.
        Check(
            "shrinking of the distance when λ is halved",
            far / near,
            "==",
            2**order,
            0.04,
        ),
    ]


@result(
    "S24",
    "Gaussian process regression",
    theorem="prop-ensemble",
    exercise="ex-ensemble-in-time",
    evidence="rounding",
    falsified_by={"trained": "all layers"},
    sweep=[{"activation": "erf"}, {"b_std": 1.0}],
    mutants=[
        Mutant.statement("the prior mean is dropped", prior=0.0),
        Mutant.code(
            "the ensemble keeps its first covariance",
            "gradient_flow._ensemble_covariance",
            lambda f: lambda *arrays: arrays[-1],
        ),
        Mutant.code(
            "the posterior lacks what the observations explain",
            "gradient_flow.gp_posterior",
            lambda f: (
                lambda k, y, k_test, k_new, **o: f(k, y, k_test, k_new, **o)._replace(
                    covariance=jnp.asarray(k_new)
                )
            ),
        ),
    ],
)
def trained_networks_and_the_posterior(
    trained: str = "last layer",
    activation: str = "relu",
    b_std: float = 0.5,
    prior: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """The mean of the limit is the posterior mean of a Gaussian process with prior mean h₀; where
    only output weights are trained, infinitely wide networks are the whole posterior.

    Five points on the line and three others. The end of the kernel flow from a random function h₀
    against the conditional mean, in NumPy; and the covariance of infinitely wide trained networks,
    by `ensemble_moments` and by sending the unit vectors through the flow, against the posterior
    covariance with their output kernel. With all layers trained the tangent kernel is another.
    """
    _validate.choice("trained", trained, ("last layer", "all layers"))
    x = jnp.asarray([-1.5, -0.8, 0.0, 0.7, 1.4, -2.2, 0.4, 2.0])[:, None]
    y = np.sin(2 * np.asarray(x[:5, 0], float))
    options: dict[str, Any] = {
        "depth": 1,
        "activation": activation,
        "w_std": 1.5,
        "b_std": b_std,
    }
    nngp = np.asarray(tangent_kernel.nngp(x, **options))
    both = tangent_kernel.infinite_ntk(x, **options) if trained == "all layers" else nngp
    ntk = np.asarray(both)
    start = np.random.default_rng(seed).normal(size=8)
    kernel = ntk.astype(float)
    conditional = prior * start[5:] + kernel[5:, :5] @ np.linalg.solve(
        kernel[:5, :5], y - prior * start[:5]
    )
    end = gradient_flow.kernel_flow(
        ntk[:5, :5],
        y.astype(ntk.dtype),
        np.inf,
        f0=start[:5].astype(ntk.dtype),
        k_test=ntk[5:, :5],
        f0_test=start[5:].astype(ntk.dtype),
    )[1]
    moments = gradient_flow.ensemble_moments(
        ntk[:5, :5],
        y.astype(ntk.dtype),
        np.inf,
        ntk_test=ntk[5:, :5],
        nngp_train=nngp[:5, :5],
        nngp_test=nngp[5:, :5],
        nngp_new=nngp[5:, 5:],
    )
    unit = np.eye(8, dtype=ntk.dtype)
    pushed = np.asarray(
        gradient_flow.kernel_flow(
            ntk[:5, :5], 0 * unit[:5], np.inf, f0=unit[:5], k_test=ntk[5:, :5], f0_test=unit[5:]
        )[1],
        float,
    )
    posterior = gradient_flow.gp_posterior(
        nngp[:5, :5], y.astype(ntk.dtype), nngp[5:, :5], nngp[5:, 5:]
    )
    tolerance = rounding_tolerance(100)  # the kernels' condition is about 100
    return [
        Check("end of the flow less the posterior mean", _distance(end, conditional), "==", 0,
              tolerance),
        Check("covariance of the networks less their start pushed through the flow",
              _distance(moments.covariance, pushed @ nngp.astype(float) @ pushed.T), "==", 0,
              tolerance),
        Check("covariance of the networks less the posterior's",
              _distance(moments.covariance, posterior.covariance), "==", 0, tolerance),
    ]  # fmt: skip


# --- discrete time ------------------------------------------------------------------------------


@result(
    "S24",
    "Gradient flow as the limit of descent",
    theorem="prop-modified-flow",
    exercise="ex-step-schedule",
    evidence="rounding",
    falsified_by={"share": 2.6},
    sweep=[{"seed": 1}],
    mutants=[
        Mutant.statement("η/2 in place of η/4", coefficient=0.5),
        Mutant.statement("the distance is of order η^1.1", order=1.1),
        Mutant.statement("the constant 1/(2e) is halved", constant=0.5),
        Mutant.code(
            "the modified flow is the flow",
            "gradient_flow.network_flow",
            lambda f: lambda *a, step_size=0.0, **k: f(*a, **k),
        ),
        Mutant.code(
            "one step fewer",
            "gradient_flow.kernel_descent",
            lambda f: lambda k, y, steps, **o: f(k, y, np.maximum(np.asarray(steps) - 1, 0), **o),
        ),
    ],
)
def descent_meets_its_flow(
    width: int = 16,
    share: float = 0.1,
    coefficient: float = 0.25,
    order: float = 1.0,
    constant: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """Descent with step η stays within O(η) of the gradient flow, for a fixed kernel within
    (ηλ/(2e)) e^{ηλ} of the first residual, and within O(η²) of the flow of L + (η/4)‖∇L‖².

    One eigenvalue with ηλ = 0.5, 0.1, 0.02: the largest distance over all steps, over its bound,
    and how close the smallest comes to ηλ/(2e). A network of 16 tanh units on five points, at the
    time 2/λ_max: how the distances of its outputs from those of the two flows shrink when η =
    `share`/λ_max is halved. Beyond 2/λ_max there is no such rate.
    """
    one, ratios = np.ones((1, 1)), []
    for rate in (0.5, 0.1, 0.02):
        steps = np.arange(1, int(4 / rate))
        descent = gradient_flow.kernel_descent(one, one[0], steps, step_size=rate)
        flow = gradient_flow.kernel_flow(one, one[0], rate * steps)
        gap = np.asarray(descent, float) - np.asarray(flow, float)
        ratios.append(np.max(np.abs(gap)) / (constant * rate / (2 * np.e)))
    bounds = np.exp([0.5, 0.1, 0.02])

    network, params, x, y = _tanh_network(width, seed)
    kernel = tangent_kernel.empirical_ntk(network.apply, params, x)
    scale = gradient_flow.step_size_limit(kernel) / 2
    train = (network.apply, params, x, y)
    # The smaller distance is 5e-5; by default float32 has tolerances of 1e-5.
    solver: Any = {"rtol": 1e-6 if jnp.result_type(float) == jnp.float32 else 1e-8}
    distances = []
    for halving in (1, 2):
        eta = share * scale / halving
        steps_taken = round(2 / share) * halving
        ends = (
            gradient_flow.network_descent(*train, steps_taken, step_size=eta),
            gradient_flow.network_flow(*train, eta * steps_taken, **solver),
            gradient_flow.network_flow(
                *train, eta * steps_taken, step_size=4 * coefficient * eta, **solver
            ),
        )
        discrete, plain, modified = (network.apply(end, x) for end in ends)
        distances.append([_distance(discrete, plain), _distance(discrete, modified)])
    first, second = np.log2(distances[0]) - np.log2(distances[1])
    return [
        Check("largest distance over its bound", float(np.max(ratios / bounds)), "<=", 1, 1e-3),
        # The next term is ηλ times a number of order 1.
        Check("distance over ηλ/(2e) at ηλ = 0.02", float(ratios[-1]), "==", 1, 0.02),
        # At η = 0.1/λmax terms of the next order are some percent of the leading one.
        Check("order of the distance from the flow", float(first), "==", order, 0.05),
        Check("order of the distance from the modified flow", float(second), "==", 2 * order, 0.1),
    ]
