"""The ledger of boolean_kernels: its entries and their oracles."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from ntklab import networks
from ntklab.boolean_kernels import (
    dimension_bound,
    example_kernels,
    kernel_of_model,
    largest_mean_edge,
    published_norm_bound,
    sharp_norm_bound,
)
from ntklab.checks import Check, rounding_tolerance
from ntklab.cube import character, hypercube, inverse_walsh_hadamard, subset_number
from ntklab.edges import edge, edges, parity_edges
from ntklab.ledger import result
from ntklab.problems import LeakyParities, ParityProblem, SparseParities, square_loss
from ntklab.tangent_kernel import empirical_ntk


@result(
    "M21",
    "Equations (3)–(5)",
    theorem="prop-output-feature",
    falsified_by={"output_feature": False},
    sweep=[{"n": 3, "width": 5}, {"seed": 1}],
)
def linear_model_of_the_expansion(
    n: int = 5, width: int = 12, output_feature: bool = True, seed: int = 0
) -> list[Check]:
    """The first-order expansion of a model is a linear predictor in the features (output,
    gradient), and their kernel is the product of the outputs plus the gradients' inner product.

    On all points of the cube: the expansion at a random distance against the linear predictor
    (1, θ − θ*), and the features' Gram matrix against `empirical_ntk`. Without the output feature
    no weights give the model itself.
    """
    network = networks.mlp((width, 1), activation="tanh")
    key, step_key = jax.random.split(jax.random.key(seed))
    start, x = network.init(key, n), hypercube(n)
    flat, unravel = ravel_pytree(start)
    step = 0.1 * jax.random.normal(step_key, flat.shape)

    def outputs(theta: Array) -> Array:
        return jnp.ravel(network.apply(unravel(theta), x))

    @jax.jit
    def expansion() -> tuple[Array, Array, Array]:
        return *jax.jvp(outputs, (flat,), (step,)), jax.jacobian(outputs)(flat)

    values, change, slopes = map(np.asarray, expansion())
    features = np.concatenate([values[:, None], slopes], axis=1)
    weights = np.concatenate([np.ones(1), np.asarray(step)])
    if not output_feature:
        features, weights = features[:, 1:], weights[1:]
    kernel = np.asarray(empirical_ntk(network.apply, start, x, include_output=True))
    linear_error = np.max(np.abs(features @ weights - values - change))
    kernel_error = np.max(np.abs(features @ features.T - kernel))
    tolerance = rounding_tolerance(float(np.max(kernel)))
    return [
        Check("expansion against linear predictor", float(linear_error), "<=", 0, tolerance),
        Check("Gram matrix against the kernel", float(kernel_error), "<=", 0, tolerance),
    ]


@result(
    "M21",
    "Null risk",
    theorem="prop-null-risk",
    falsified_by={"label_scale": 2.0},
    sweep=[{"alpha": 0.9}, {"n": 4, "k": 4}],
)
def null_risk_is_one_half(
    n: int = 6, k: int = 3, alpha: float = 0.3, label_scale: float = 1.0, seed: int = 0
) -> list[Check]:
    """For labels ±1 predicting 0 has square loss 1/2, and the best multiple of a predictor h has
    edge (E hy)²/(2 E h²).

    The loss straight from the law of (x, y), every label by itself, for h = 0 and for the best
    multiple of a random h, found on a grid of step 1e-3.
    """
    points, chances, means = map(np.asarray, SparseParities(n, k, alpha).distribution(range(k)))
    h = np.asarray(jax.random.normal(jax.random.key(seed), (len(points),)))

    def loss(predictions: np.ndarray) -> Any:
        positive = (1 + means) / 2
        up, down = predictions - label_scale, predictions + label_scale
        return np.sum(chances * (positive * up**2 + (1 - positive) * down**2), axis=-1) / 2

    best = np.sum(chances * h * means) / np.sum(chances * h**2)
    grid = best + np.linspace(-0.2, 0.2, 401)
    found = 0.5 - np.min(loss(grid[:, None] * h))
    promised = np.sum(chances * h * means) ** 2 / (2 * np.sum(chances * h**2))
    return [
        Check("loss of predicting 0", float(loss(0 * h)), "==", 0.5, rounding_tolerance()),
        Check(
            "edge of the best multiple", float(found), "==", float(promised), rounding_tolerance()
        ),
    ]


@functools.partial(jax.jit, static_argnames="problem")
def _losses_after_one_pass(
    problem: SparseParities, keys: Array, order: Array, norm_bound: Any
) -> Array:
    """Losses of the averaged iterates of projected descent, one run for each key."""
    subset, steps, n = range(problem.k), len(order), problem.n
    member, radius = problem.distribution(subset), math.sqrt(n)
    step = norm_bound / (n * math.sqrt(2 * steps))

    def run(key: Array) -> Array:
        x, y = problem.sample(key, subset, steps)

        def update(w: Array, example: tuple[Array, Array]) -> tuple[Array, Array]:
            features, label = example
            moved = w - step * (features @ w - label) * features
            size = jnp.sqrt(jnp.sum(moved**2))
            return moved * jnp.minimum(1, norm_bound / radius / jnp.maximum(size, 1e-30)), w

        _, path = jax.lax.scan(update, jnp.zeros(n), (x[order], y[order]))
        return square_loss(member.points @ jnp.mean(path, axis=0), member)

    return jax.vmap(run)(keys)


@result(
    "M21",
    "Equation (6), samples and steps",
    theorem="thm-ball-is-learnable",
    falsified_by={"distinct": 4},
    sweep=[{"norm_bound": 0.2}, {"norm_bound": 4.0, "steps": 128}, {"k": 3, "seed": 5}],
)
def ball_is_learnable(
    n: int = 8,
    k: int = 2,
    alpha: float = 0.8,
    norm_bound: float = 2.0,
    steps: int = 1024,
    distinct: int | None = None,
    runs: int = 100,
    seed: int = 0,
) -> Check:
    """One pass of stochastic gradient descent over T ≥ 2B² samples has a mean loss within
    √2 B/√T + B²/T of the best in F(K, B).

    Averaged iterates of projected descent with step B/(R²√(2T)) on the linear kernel, over `runs`
    draws of the samples; the tolerance is four standard errors. With `distinct` the pass goes round
    and round so few different examples.
    """
    problem = SparseParities(n, k, alpha)
    member = problem.distribution(range(k))
    keys = jax.random.split(jax.random.key(seed), runs)
    order = jnp.arange(steps) % (distinct or steps)
    losses = _losses_after_one_pass(problem, keys, order, norm_bound)
    best = edge(member.points, member, norm_bound).loss
    bound = math.sqrt(2 / steps) * norm_bound + norm_bound**2 / steps
    error = 4 * float(jnp.std(losses)) / math.sqrt(runs)
    excess = float(jnp.mean(losses) - best)
    return Check("mean loss above the best", excess, "<=", bound, error)


@functools.partial(jax.jit, static_argnames="batches")
def _gradient_errors(key: Array, order: Array, batches: int) -> tuple[Array, Array, Array, Array]:
    """Square errors of gradients on samples; E‖g‖², ‖E g‖² and sup ‖g‖² of one sample's."""
    problem, subset = SparseParities(8, 3, 0.5), (0, 1, 2)
    points, chances, means = map(jnp.asarray, problem.distribution(subset))
    network = networks.mlp((8, 1), activation="tanh")
    key, data_key = jax.random.split(key)
    flat, unravel = ravel_pytree(network.init(key, 8))

    def outputs(theta: Array, x: Array) -> Array:
        return jnp.ravel(network.apply(unravel(theta), x))

    values, slopes = outputs(flat, points), jax.jacobian(outputs)(flat, points)
    exact = (chances * (values - means)) @ slopes
    # E ‖(f − y)∇f‖² with E (f − y)² = f² − 2 f E[y|x] + 1 at each point.
    power = chances @ ((values**2 - 2 * values * means + 1) * jnp.sum(slopes**2, axis=1))
    largest = jnp.max((jnp.abs(values) + 1) ** 2 * jnp.sum(slopes**2, axis=1))

    def error(key: Array) -> Array:
        x, y = (column[order] for column in problem.sample(key, subset, len(order)))
        residuals = outputs(flat, x) - y
        slope = jax.grad(lambda theta: outputs(theta, x) @ residuals)(flat) / len(order)
        return jnp.sum((slope - exact) ** 2)

    errors = jax.lax.map(error, jax.random.split(data_key, batches), batch_size=100)
    return errors, power, jnp.sum(exact**2), largest


@result(
    "M21",
    "Equation (2), gradients from samples",
    theorem="prop-gradient-accuracy",
    falsified_by={"copies": 8},
    sweep=[{"samples": 16}, {"samples": 512, "seed": 1}],
)
def gradient_accuracy_from_samples(
    samples: int = 128, copies: int = 1, batches: int = 2000, seed: int = 2
) -> list[Check]:
    """The gradient on m independent samples has a mean square error of at most G²/m, where G
    bounds |loss′| times the norm of the model's gradient, and with probability 1 − δ an error of at
    most (1 + √(2 log 1/δ)) G/√m.

    A tanh network on biased sparse parities with n = 8; the error against the exact gradient, and
    against its variance over m; the share of batches beyond the second bound at δ = 0.1. With
    `copies` each example comes that many times. Tolerances are four standard errors.
    """
    order = jnp.arange(samples) // copies
    errors, power, drift, largest = _gradient_errors(jax.random.key(seed), order, batches)
    mean, margin = float(jnp.mean(errors)), 4 * float(jnp.std(errors)) / math.sqrt(batches)
    variance = float(power - drift) / samples
    reach = (1 + math.sqrt(2 * math.log(10))) ** 2 * float(largest) / samples
    beyond = float(jnp.mean(errors > reach))
    return [
        Check("mean square error", mean, "<=", float(largest) / samples, margin),
        Check("mean square error against variance / m", mean, "==", variance, margin),
        Check("share of batches beyond", beyond, "<=", 0.1, 4 * math.sqrt(0.09 / batches)),
    ]


@result(
    "M21",
    "Section 5, memorization",
    theorem="prop-memorization",
    falsified_by={"hit": True},
    sweep=[{"n": 4, "p": 1}, {"alpha": 0.9}, {"p": 200}],
)
def memorization_edge(
    n: int = 8, p: int = 40, alpha: float = 0.1, hit: bool = False, seed: int = 0
) -> list[Check]:
    """Indicators of p inputs have edge (1 − α)p/2^(n+1) on a leaky parity whose leaking input is
    not among them, and an edge of p/2^(n+1) on every parity of uniform inputs.

    A random member of the family, p random points; the smallest edge over all parities. With
    `hit=True` the leaking input is one of them: there the label is nearly a coin, and the edge
    falls below.
    """
    generator = np.random.default_rng(seed)
    problem = LeakyParities(n, alpha)
    subset = generator.choice(n, size=n // 2, replace=False).tolist()
    leaking = 2**n - 1 - subset_number(subset)
    others = np.delete(np.arange(2**n), leaking)
    chosen = generator.choice(others, size=p, replace=False)
    if hit:
        chosen[0] = leaking
    indicators = np.eye(2**n)[:, chosen]
    found = float(edge(indicators, problem.distribution(subset)).edge)
    least = float(jnp.min(parity_edges(indicators, n)))
    share, tolerance = p / 2 ** (n + 1), rounding_tolerance(0.1)
    return [
        Check("edge on the leaky parity", found, "==", (1 - alpha) * share, tolerance),
        Check("smallest edge, uniform inputs", least, "==", share, tolerance),
    ]


def _the_answer(label: Any) -> Array:
    """A single feature: the labels themselves."""
    return jnp.asarray(label)[:, None]


def _below_both_bounds(
    mean: float, problem: ParityProblem, norm_bound: float, dimension: int
) -> list[Check]:
    by_norm = problem.edge_bound(published_norm_bound(norm_bound, problem.size))
    by_dimension = problem.edge_bound(dimension_bound(dimension, problem.size))
    tolerance = rounding_tolerance()
    return [
        Check(f"mean edge, norm at most {norm_bound:g}", mean, "<=", by_norm, tolerance),
        Check(f"mean edge, {dimension} dimensions", mean, "<=", by_dimension, tolerance),
    ]


@result(
    "M21",
    "Claim 3",
    theorem="thm-every-kernel-sparse",
    exercise="ex-flat-subspace",
    falsified_by={"knows_subset": True},
    sweep=[
        {"kernel": "cubic", "norm_bound": 10.0},
        {"kernel": "tangent, depth 2"},
        {"kernel": "tangent, trained", "k": 3},
    ],
)
def every_kernel_on_sparse_parities(
    kernel: str = "random features",
    n: int = 8,
    k: int = 4,
    alpha: float = 0.2,
    norm_bound: float = 1.0,
    knows_subset: bool = False,
) -> list[Check]:
    """For every kernel some biased sparse parity has an edge of at most α/2 plus the smaller of
    p/(2|P|) and 3B^(2/3)/(2|P|^(1/3)).

    The mean edge over all subsets, exactly, which is at least the smallest one; p is the kernel's
    rank on the cube. With `knows_subset=True` the kernel is chosen after the subset.
    """
    problem = SparseParities(n, k, alpha)
    chosen = example_kernels(n)[kernel]
    rank = int(jnp.linalg.matrix_rank(chosen(hypercube(n), hypercube(n))))
    if knows_subset:
        member = problem.distribution(range(k))
        mean = float(edge(_the_answer(member.label_means), member, norm_bound).edge)
        rank = 1
    else:
        mean = float(jnp.mean(edges(chosen, problem, norm_bound)))
    return _below_both_bounds(mean, problem, norm_bound, rank)


@result(
    "M21",
    "Claim 8",
    theorem="thm-every-kernel-leaky",
    falsified_by={"knows_subset": True},
    sweep=[{"n": 5, "width": 3}, {"alpha": 0.9}, {"norm_bound": 0.5}],
)
def every_random_kernel_on_leaky_parities(
    n: int = 6,
    width: int = 2,
    alpha: float = 0.2,
    norm_bound: float = 1.0,
    draws: int = 4,
    knows_subset: bool = False,
) -> list[Check]:
    """For every random kernel of rank p some leaky parity has a mean edge of at most the smaller of
    p/(2|P|) and 3B^(2/3)/(2|P|^(1/3)).

    Tangent kernels of narrow ReLU networks at several random starts; the mean edge over draws and
    subsets. With `knows_subset=True` the kernel is chosen after the subset.
    """
    problem = LeakyParities(n, alpha)
    network = networks.mlp((width, 1))
    points = hypercube(n)
    member = problem.distribution(range(n))
    means, rank = [], 0
    for draw in range(draws):
        start = functools.partial(network.init, jax.random.key(draw), n)
        kernel = kernel_of_model(network.apply, start)
        rank = max(rank, int(jnp.linalg.matrix_rank(kernel(points, points))))
        if knows_subset:
            means.append(float(edge(_the_answer(member.label_means), member).edge))
        else:
            means.append(float(jnp.mean(edges(kernel, problem, norm_bound))))
    rank = 1 if knows_subset else rank
    return _below_both_bounds(float(np.mean(means)), problem, norm_bound, rank)


@result(
    "M21",
    "Claims 3 and 8, sharper",
    theorem="thm-sharp-norm",
    exercise="ex-sharp-norm-attained",
    falsified_by={"knows_subset": True},
    sweep=[
        {"kernel": "cubic", "norm_bound": 0.1},
        {"kernel": "random features", "norm_bound": 10.0},
        {"kernel": "tangent, depth 3"},
        {"kernel": "tangent, trained", "norm_bound": 0.5},
        {"norm_bound": 40.0},
    ],
)
def sharper_norm_bound(
    kernel: str = "Gaussian", n: int = 8, norm_bound: float = 2.0, knows_subset: bool = False
) -> list[Check]:
    """For every kernel the mean edge of F(K, B) over orthonormal targets is at most b − b²/2 with
    b = min(1, B/√|P|), which is at most B/√|P|; the sum of the targets' own kernels attains it.

    All parities of two or more of n uniform bits, exactly. With `knows_subset=True` the kernel is
    chosen after the parity.
    """
    points = hypercube(n)
    sizes = np.array([number.bit_count() for number in range(2**n)])
    targets = np.flatnonzero(sizes >= 2)
    if knows_subset:
        label = character(range(n), points)
        measured = parity_edges(_the_answer(label), n, norm_bound)[-1]
    else:
        chosen = example_kernels(n)[kernel]
        measured = np.mean(np.asarray(parity_edges(chosen, n, norm_bound))[targets])
    characters = inverse_walsh_hadamard(np.eye(2**n)[:, targets])
    attained = np.mean(np.asarray(parity_edges(characters, n, norm_bound))[targets])
    largest = largest_mean_edge(norm_bound, len(targets))
    bound = sharp_norm_bound(norm_bound, len(targets))
    tolerance = rounding_tolerance()
    return [
        Check("mean edge over all parities", float(measured), "<=", largest, tolerance),
        Check("the parities' own kernel", float(attained), "==", largest, tolerance),
        Check("B/√|P|", bound, ">=", largest),
    ]
