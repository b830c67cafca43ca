"""The ledger of leaky_parities: its entries and their oracles."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from ntklab import networks
from ntklab.boolean_kernels import dimension_bound
from ntklab.checks import Check, rounding_tolerance
from ntklab.cube import hypercube
from ntklab.edges import edge
from ntklab.leaky_parities import (
    Version,
    largest_leaky_scale,
    leaky_feed_forward,
    leaky_one_step,
    leaky_scale,
    leaky_scale_bound,
    leaky_selector,
    leaky_step_size,
    leaky_tangent_kernel,
    leaky_tolerated_error,
    losses_after_step,
    population_gradients,
    unbiased_accuracy_bound,
    worst_leaky_error,
)
from ntklab.ledger import result
from ntklab.problems import LeakyParities
from ntklab.sparse_parities import printed_scale_witness
from ntklab.weak_learning import average_tangent_kernel, label_free_run, promised_average_edge


@functools.cache
def _apply(alpha: float, repaired: Version = True) -> Any:
    """The model as `apply(theta, x)`, the same object for the same arguments."""
    return functools.partial(leaky_selector, alpha=alpha, repaired=repaired)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _kernel(theta: Array, x: Array, alpha: Any, repaired: Version) -> Array:
    """The tangent kernel with the output's feature, by forward differentiation."""
    model = functools.partial(leaky_selector, alpha=alpha, repaired=repaired)
    value, slope = model(theta, x), jax.jacfwd(model)(theta, x)
    return jnp.outer(value, value) + slope @ slope.T


@result(
    "M21",
    "Section 5, leaky parities",
    theorem="prop-leaky-moments",
    falsified_by={"coin": 0.6},
    sweep=[{"n": 2, "size": 2}, {"n": 9, "size": 9}, {"alpha": 0.9}],
)
def moments_of_leaky_parities(
    n: int = 6, size: int = 3, alpha: float = 0.2, coin: float = 0.5
) -> list[Check]:
    """A leaky parity has E x = α·x^I and labels that are uncorrelated with every affine function,
    and no affine predictor beats the null risk 1/2.

    By enumeration of the pairs (x, y); `coin` is the chance of y = 1 on the leaking examples.
    """
    problem, subset = LeakyParities(n, alpha), tuple(range(size))
    points = np.asarray(hypercube(n))
    parities = np.prod(points[:, :size], axis=1)
    leak = np.where(np.arange(n) < size, 1, -1)
    mean = (1 - alpha) * np.mean(points, axis=0) + alpha * leak
    affine = np.concatenate([np.ones((len(points), 1)), points], axis=1)
    there = np.concatenate([np.ones(1), leak])
    label = (1 - alpha) * parities @ affine / len(points) + alpha * (2 * coin - 1) * there
    second = (1 - alpha) * affine.T @ affine / len(points) + alpha * np.outer(there, there)
    gain = label @ np.linalg.solve(second, label) / 2
    error = np.max(np.abs(np.asarray(problem.moments(subset).mean) - mean))
    tolerance = rounding_tolerance()
    return [
        Check("error of E x", float(error), "<=", 0, tolerance),
        Check("largest |E y·(1, x)|", float(np.max(np.abs(label))), "<=", 0, tolerance),
        Check("loss of the best affine predictor", 0.5 - float(gain), "==", 0.5, tolerance),
    ]


def _regime(n: int, count: int, seed: int, low: float) -> tuple[Array, Array]:
    """θ with coordinates in [low/n, 2/n] and, one or more, in [3/n, 5/n]; and which are those."""
    draw = np.random.default_rng(seed)
    chosen = draw.random((count, n)) < 0.4
    chosen[np.arange(count), draw.integers(n, size=count)] = True
    theta = np.where(chosen, draw.uniform(3, 5, (count, n)), draw.uniform(low, 2, (count, n)))
    return jnp.asarray(theta / n, jnp.result_type(float)), jnp.asarray(chosen)


@result(
    "M21",
    "Equations (17)–(19)",
    theorem="thm-leaky-regimes",
    falsified_by={"low": -2.7},
    sweep=[{"n": 3}, {"alpha": 0.9}, {"repaired": False}, {"low": -2.0}],
)
def leaky_regimes(
    n: int = 6,
    alpha: float = 0.2,
    draws: int = 40,
    repaired: Version = True,
    low: float = 0.0,
    seed: int = 0,
) -> list[Check]:
    """To first order at θ = 0 the model is −1 + 2⟨θ, x + (5/3)α·1⟩, and it is the parity of the
    coordinates with θᵢ ≥ 3/n when the others lie in [0, 2/n].

    All points of the cube, random θ in the second regime, whose lower end is `low`/n; the repaired
    model allows −2.
    """
    x = hypercube(n)
    thetas, chosen = _regime(n, draws, seed, low)

    @jax.jit
    def distances() -> tuple[Array, Array, Array]:
        def error(pair: tuple[Array, Array]) -> Array:
            parity = jnp.prod(jnp.where(pair[1], x, 1), axis=1)
            return jnp.max(jnp.abs(leaky_selector(pair[0], x, alpha, repaired=repaired) - parity))

        nowhere = jnp.zeros(n)
        slope = jax.jacfwd(lambda theta: leaky_selector(theta, x, alpha, repaired=repaired))(
            nowhere
        )
        return (
            jnp.max(jax.lax.map(error, (thetas, chosen))),
            jnp.max(jnp.abs(leaky_selector(nowhere, x, alpha, repaired=repaired) + 1)),
            jnp.max(jnp.abs(slope - 2 * (x + 5 / 3 * alpha))),
        )

    worst, start, linear = distances()
    tolerance = rounding_tolerance()
    return [
        Check("distance from the parity", float(worst), "<=", 0, tolerance),
        Check("distance of f₀ from −1", float(start), "<=", 0, tolerance),
        Check("distance of the slope at 0", float(linear), "<=", 0, tolerance),
    ]


@result(
    "M21",
    "Section 5, scale of the model",
    theorem="thm-leaky-scale",
    falsified_by={"repaired": False},
    sweep=[{"alpha": 0.95}, {"n": 4}],
)
def leaky_scale_is_linear(n: int = 16, alpha: float = 0.2, repaired: Version = True) -> Check:
    """The repaired model has scale C_f of at most √(((52 + 40α)n + 2(1 + (5/3)α)√n)² + 4).

    The largest value that a search along the gradient finds. With `repaired=False` it is the
    printed model, which exceeds the bound by a factor that grows like (5/4)ⁿ.
    """
    found, _, _ = largest_leaky_scale(n, alpha, repaired=repaired, starts=12, steps=80)
    return Check(f"largest scale found at n = {n}", float(found), "<=", leaky_scale_bound(n, alpha))


@result(
    "M21",
    "Section 5, scale of the printed model",
    theorem="prop-leaky-scale-printed",
    falsified_by={"repaired": True},
    sweep=[{"alpha": 0.9}, {"n": 8, "alpha": 0.999}],
)
def printed_leaky_scale_grows(
    n: int = 32, alpha: float = 0.2, repaired: bool = False
) -> list[Check]:
    """The first term of (18) alone gives the model a scale C_f of at least n√n, whichever H it has,
    and the printed H one of at least 2n(5/4)^(n − 1) for n ≥ 8.

    The gradient at θ = 1/n² with H repaired and as printed, and where all but one coordinate are
    half selected; x = 1. With `repaired=True` it is the repaired model at the same places.
    """
    flat, half = jnp.full(n, 1 / n**2), printed_scale_witness(n)
    places: list[tuple[str, Array, Version, float]] = [
        ("n√n, H repaired", flat, "parity", n**1.5),
        ("n√n, H printed", flat, False, n**1.5),
        ("2n(5/4)^(n−1)", half, False, 2 * n * 1.25 ** (n - 1)),
    ]
    checks = []
    for name, theta, version, bound in places:
        version = True if repaired else version
        found = float(leaky_scale(theta, jnp.ones((1, n)), alpha, repaired=version)[0])
        checks.append(Check(f"scale over {name}, n = {n}", found / bound, ">=", 1))
    return checks


@result(
    "M21",
    "Claim 6",
    theorem="thm-leaky-step",
    exercise="ex-best-offset",
    falsified_by={"error_scale": 1.5},
    sweep=[{"alpha": 0.9}, {"alpha": 0.01, "size": 6}, {"repaired": False}],
)
def leaky_step_learns(
    n: int = 6,
    size: int = 3,
    alpha: float = 0.2,
    error_scale: float = 1.0,
    repaired: Version = True,
) -> list[Check]:
    """One step of size 3/(4αn) from θ = 0 with any gradient error of norm at most 4α/3 reaches
    loss α on every leaky parity.

    The loss without error on all members, and after the worst error that gradient ascent finds on
    one; and, for n = 1024 in closed form, how far an error can bring a coordinate from 4/n on the
    subset and 1/n off it, in units of 1/n. `error_scale` multiplies the error.
    """
    problem, subset = LeakyParities(n, alpha), tuple(range(size))
    losses = losses_after_step(problem, repaired=repaired)
    norm = error_scale * leaky_tolerated_error(problem)
    worst = worst_leaky_error(problem, subset, norm, starts=4, steps=20, repaired=repaired)
    large = LeakyParities(1024, alpha)
    inside = jnp.arange(1024) < 300
    error = jnp.zeros(1024).at[0].set(error_scale * leaky_tolerated_error(large))
    moved = 1024 * leaky_one_step(large, range(300), error=error) - jnp.where(inside, 4, 1)
    tolerance = rounding_tolerance()
    spread = float(jnp.max(jnp.abs(losses - alpha)))
    return [
        Check("distance of the loss from α, all members", spread, "<=", 0, tolerance),
        Check("loss after the worst error", float(worst.loss), "<=", alpha, tolerance),
        Check(
            "n·|θ − target|, n = 1024",
            float(jnp.max(jnp.abs(moved))),
            "<=",
            1,
            rounding_tolerance(10),
        ),
    ]


@result(
    "M21",
    "Claim 6, printed step",
    theorem="prop-leaky-step-printed",
    falsified_by={"step_size": None},
    sweep=[{"alpha": 0.4}, {"repaired": False}],
)
def printed_leaky_step_fails(
    n: int = 6,
    alpha: float = 0.9,
    step_size: float | None = 1.0,
    repaired: Version = True,
) -> list[Check]:
    """The step η = 1 selects every coordinate when αn ≥ 9/4, which leaves loss 1 on every member
    but that of all n bits.

    By enumeration on all members. `None` is the corrected step size.
    """
    problem = LeakyParities(n, alpha)
    losses = losses_after_step(problem, step_size=step_size, repaired=repaired)
    tolerance = rounding_tolerance()
    return [
        Check("smallest loss, |I| < n", float(jnp.min(losses[:-1])), "==", 1, tolerance),
        Check("largest loss, |I| < n", float(jnp.max(losses[:-1])), "==", 1, tolerance),
        Check("loss, |I| = n", float(losses[-1]), "==", alpha, tolerance),
    ]


@result(
    "M21",
    "Claim 7",
    theorem="thm-leaky-tangent-kernel",
    falsified_by={"start": 1.0},
    sweep=[{"n": 3, "size": 2}, {"alpha": 0.9, "size": 6}, {"repaired": False}],
)
def tangent_kernel_has_no_edge(
    n: int = 6,
    size: int = 3,
    alpha: float = 0.2,
    start: float = 0.0,
    repaired: Version = True,
) -> list[Check]:
    """At θ = 0 the tangent kernel is 1 + 4⟨x + (5/3)α·1, x′ + (5/3)α·1⟩, which has edge 0 on every
    leaky parity, whatever the norm.

    The kernel by automatic differentiation, the edge in the whole space by enumeration. With
    `start` > 0 the kernel is taken where that many units of 4/n select the coordinates of I.
    """
    member, x = LeakyParities(n, alpha).distribution(range(size)), hypercube(n)
    theta = jnp.where(jnp.arange(n) < size, 4 * start / n, 0.0)
    kernel = _kernel(theta, x, alpha, repaired)
    distance = jnp.max(jnp.abs(kernel - leaky_tangent_kernel(x, x, alpha)))
    best = float(edge(lambda *_: kernel, member).edge)
    tolerance = rounding_tolerance()
    scale = 4 * n * (1 + 5 / 3 * alpha) ** 2
    return [
        Check("distance from the formula", float(distance), "<=", 0, scale * tolerance),
        Check("edge in the whole space", best, "<=", 0, tolerance),
    ]


@result(
    "M21",
    "Claim 7, printed kernel",
    theorem="prop-leaky-kernel-printed",
    falsified_by={"with_offset": False},
    sweep=[{"alpha": 0.9}],
)
def printed_kernel_is_off(n: int = 6, alpha: float = 0.2, with_offset: bool = True) -> Check:
    """The printed kernel 1 + (100/9)α² + 4⟨x, x′⟩ differs from the tangent kernel at θ = 0 by as
    much as (40/3)αn + (100/9)α²(n − 1).

    The largest difference over all pairs of points, by automatic differentiation.
    `with_offset=False` leaves (5/3)α·1 out of the model.
    """
    x = hypercube(n)

    # The offset is 5α/3 in each coordinate: with α = 1e-12 it is gone.
    kernel = _kernel(jnp.zeros(n), x, alpha if with_offset else 1e-12, True)
    off = jnp.max(jnp.abs(kernel - leaky_tangent_kernel(x, x, alpha, printed=True)))
    promised = 40 / 3 * alpha * n + 100 / 9 * alpha**2 * (n - 1)
    return Check("largest difference", float(off), "==", promised, rounding_tolerance(promised))


@result(
    "M21",
    "Separation 3",
    theorem="cor-separation-three",
    falsified_by={"alpha_of_epsilon": 2.0},
    sweep=[{"epsilon": 0.01}, {"epsilon": 0.45}],
)
def separation_without_an_edge(epsilon: float = 0.1, alpha_of_epsilon: float = 1.0) -> list[Check]:
    """On the leaky parity of two bits with α = ε one step with gradient accuracy 4ε/3 reaches loss
    ε, while the tangent kernel at the start has edge 0.

    The loss after the worst gradient error, and the exact edge. `alpha_of_epsilon=2` is the printed
    choice of α.
    """
    problem = LeakyParities(2, alpha_of_epsilon * epsilon)
    member = problem.distribution((0, 1))
    norm = leaky_tolerated_error(problem)
    worst = worst_leaky_error(problem, (0, 1), norm, starts=4, steps=20)
    kernel = functools.partial(leaky_tangent_kernel, alpha=problem.alpha)
    tolerance = rounding_tolerance()
    accuracy = norm / leaky_scale_bound(2, problem.alpha) / epsilon
    return [
        Check("loss after the worst error", float(worst.loss), "==", epsilon, tolerance),
        Check("edge of the tangent kernel", float(edge(kernel, member).edge), "<=", 0, tolerance),
        Check("accuracy τ/(C_f ε)", accuracy, ">=", 1 / 150),
    ]


@result(
    "M21",
    "Separation 4",
    theorem="cor-separation-four",
    falsified_by={"sparse": 3},
    sweep=[{"exponent": 3.0}, {"power": 4, "sizes": (128, 1024)}],
)
def separation_from_every_kernel(
    exponent: float = 1.0,
    power: int = 2,
    sizes: Sequence[int] = (64, 256, 1024),
    sparse: int | None = None,
) -> list[Check]:
    """With α = ε = n^(−a) gradient descent needs accuracy τ/C_f of the order ε/n for loss ε, while
    kernels of polynomial dimension or norm, random ones too, have an edge below 2^(−n/4).

    nτ/(C_f ε) for the proved C_f, and the bounds for dimension and norm n^power. With `sparse` only
    parities of so many bits are asked for, of which there are too few.
    """
    checks = []
    for n in sizes:
        epsilon = n**-exponent
        problem = LeakyParities(n, epsilon)
        size = problem.size if sparse is None else math.comb(n, sparse)
        accuracy = n * leaky_tolerated_error(problem) / leaky_scale_bound(n, epsilon) / epsilon
        # As logarithms: at n = 1024 the bounds leave the range of numbers.
        log_size = math.log2(size)
        by_dimension = power * math.log2(n) - 1 - log_size
        by_norm = power * math.log2(n) - log_size / 2
        checks += [
            Check(f"nτ/(C_f ε) at n = {n}", accuracy, ">=", 1 / 75),
            Check(f"log₂ edge, p = n^{power}, n = {n}", by_dimension, "<=", -n / 4),
            Check(f"log₂ edge, B = n^{power}, n = {n}", by_norm, "<=", -n / 4),
        ]
    return checks


@result(
    "M21",
    "Separation 4, the network",
    theorem="prop-leaky-network",
    falsified_by={"repaired": "parity"},
    sweep=[{"n": 1}, {"n": 5, "alpha": 0.9}],
)
def network_computes_the_model(
    n: int = 16, alpha: float = 0.2, draws: int = 10, repaired: Version = True, seed: int = 0
) -> list[Check]:
    """A feed-forward network of depth 2 log₂ n + 9, rounded up, with 50n + 5 edges computes the
    repaired model.

    The largest difference over random θ, in the regimes and far outside, and random x. With
    `repaired="parity"` it is compared with the printed first term.
    """
    network = leaky_feed_forward(n, alpha)
    model = functools.partial(leaky_selector, alpha=alpha, repaired=repaired)
    worst = network.largest_difference(model, draws=draws, seed=seed)
    return [
        Check("difference from the model", worst, "<=", 0, rounding_tolerance()),
        Check("edges", network.edges, "<=", 50 * n + 5),
        Check("depth", network.depth, "<=", 2 * math.ceil(math.log2(n)) + 9),
    ]


@result(
    "M21",
    "Separation 5",
    theorem="cor-separation-five",
    exercise="ex-parseval-attained",
    falsified_by={"offset": -1.0},
    sweep=[{"alpha": 0.8}, {"width": 4, "seed": 1}],
)
def separation_by_the_start(
    n: int = 6, alpha: float = 0.2, width: int = 16, offset: float = 0.0, seed: int = 0
) -> list[Check]:
    """Unbiased gradient descent can improve on loss 1/2 on all leaky parities only if τ/C_f is
    below √((1 − α)p/|P|), with any model; from a biased start τ/C_f of the order α/n is enough.

    The smallest norm of a population gradient over all members, over R₀, for a two-layer ReLU
    network that starts at the constant `offset`: an error of that norm keeps it there. And the
    accuracy that the biased model of the chapter stands, over α/n.
    """
    problem = LeakyParities(n, alpha)
    norms, largest, p = _gradients_of_a_network(problem, width, offset, seed)
    smallest = float(jnp.min(norms) / largest)
    by_theorem_four = math.sqrt(2 * problem.edge_bound(dimension_bound(p, problem.size)))
    accuracy = n * leaky_tolerated_error(problem) / leaky_scale_bound(n, alpha) / alpha
    # R₀ ≤ C_f: a smaller τ/R₀ is a smaller τ/C_f.
    return [
        Check("smallest gradient over R₀", smallest, "<=", by_theorem_four, rounding_tolerance()),
        Check(
            "smallest gradient over R₀, sharper",
            smallest,
            "<=",
            unbiased_accuracy_bound(problem),
            rounding_tolerance(),
        ),
        Check("accuracy of the biased start, n·τ/(C_f α)", accuracy, ">=", 1 / 75),
    ]


@functools.cache
def _network(width: int, offset: float) -> tuple[Any, Any]:
    network = networks.unbiased(networks.mlp((width, 1), b_std=1.0))
    return network.init, lambda params, x: network.apply(params, x)[:, 0] + offset


def _gradients_of_a_network(
    problem: LeakyParities, width: int, offset: float, seed: int
) -> tuple[Array, Array, int]:
    init, apply = _network(width, offset)
    params = init(jax.random.key(seed), problem.n)
    norms, largest = population_gradients(apply, params, problem)
    return norms, largest, ravel_pytree(params)[0].size


@result(
    "M21",
    "Separation 5, sharper",
    theorem="thm-unbiased-gradient",
    exercise="ex-parseval-attained",
    falsified_by={"offset": -0.5, "claimed_bias": 0.0},
    sweep=[{"offset": 0.0}, {"offset": 1.0, "alpha": 0.8}, {"width": 4, "seed": 2}],
)
def gradients_of_parities_are_small(
    n: int = 6,
    alpha: float = 0.2,
    width: int = 16,
    offset: float = -0.1,
    claimed_bias: float | None = None,
    seed: int = 0,
) -> list[Check]:
    """If |f| ≤ δ at the start, the population gradients over all leaky parities have a root mean
    square of at most R₀(δ + (1 − α)/√|P|), whatever the number of parameters.

    A two-layer ReLU network whose output starts at `offset`, δ = |offset|, by enumeration of the
    cube and of all members. `claimed_bias` is a δ that is not one.
    """
    problem = LeakyParities(n, alpha)
    norms, largest, _ = _gradients_of_a_network(problem, width, offset, seed)
    bias = abs(offset) if claimed_bias is None else claimed_bias
    bound = bias + unbiased_accuracy_bound(problem)
    found = float(jnp.sqrt(jnp.mean(norms**2)) / largest)
    return [
        Check("root mean square gradient over R₀", found, "<=", bound, rounding_tolerance()),
    ]


@result(
    "M21",
    "Theorem 5 on leaky parities",
    theorem="prop-label-free-step",
    falsified_by={"steps": 0},
    sweep=[{"alpha": 0.05, "size": 6}, {"n": 3, "size": 2}],
)
def label_free_step_finds_the_parity(
    n: int = 6, size: int = 3, alpha: float = 0.2, steps: int = 1
) -> list[Check]:
    """The run without labels takes the same first step as gradient descent, and the average of the
    tangent kernels along it, of rank at most 2(n + 1), has edge at least (1 − α)²/2 on the member
    whose inputs it saw, where the kernel at the start has none.

    Edges by enumeration, for B = C_f as proved; `steps=0` leaves the run where it starts.
    """
    problem, subset = LeakyParities(n, alpha), tuple(range(size))
    member, apply = problem.distribution(subset), _apply(alpha)
    path = label_free_run(
        apply, jnp.zeros(n), member, step_size=leaky_step_size(problem), steps=steps
    )
    kernel = average_tangent_kernel(apply, path, hypercube(n))
    scale = leaky_scale_bound(n, alpha)
    found = float(edge(kernel.features, member, scale).edge)
    promised = promised_average_edge(max(0.5 - alpha, 0), leaky_tolerated_error(problem), scale, 1)
    distance = jnp.max(jnp.abs(n * (path[-1] - leaky_one_step(problem, subset))))
    tolerance = rounding_tolerance()
    return [
        Check("n·|θ − that with labels|", float(distance), "<=", 0, 10 * tolerance),
        Check("rank", kernel.rank, "<=", 2 * (n + 1)),
        Check("edge of the average kernel", found, ">=", (1 - alpha) ** 2 / 2, tolerance),
        Check("the same, promised", found, ">=", promised.edge, tolerance),
    ]
