"""Parities, their moments, the best predictor in a ball, and the bounds for every kernel."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from ntklab import boolean_kernels as bk
from ntklab import networks
from ntklab.cube import (
    biased_character,
    character,
    hypercube,
    inverse_walsh_hadamard,
    product_probabilities,
    subset_number,
    walsh_hadamard,
)
from ntklab.edges import edge, edge_from_moments, edges, parity_edges
from ntklab.problems import (
    Distribution,
    LeakyParities,
    SparseParities,
    sample_sparse_parity,
    square_loss,
)

FLOAT = jnp.result_type(float)
EPS = float(jnp.finfo(FLOAT).eps)
# A Gram matrix squares the condition number of its features.
KERNEL_DIGITS = 1e4 * EPS
seeds = st.integers(0, 2**32 - 1)


def cube(n):
    """Points by their bits, without the library."""
    return np.array([[1 - 2 * (j >> i & 1) for i in range(n)] for j in range(2**n)], float)


def parity(subset, x):
    return math.prod(x[i] for i in subset)


def subsets(n, least=0):
    return [s for k in range(least, n + 1) for s in itertools.combinations(range(n), k)]


def uniform(n, subset, dtype=FLOAT):
    x = cube(n)
    labels = np.array([parity(subset, row) for row in x])
    return Distribution(*(jnp.asarray(a, dtype) for a in (x, np.full(2**n, 2.0**-n), labels)))


# --- characters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 6])
def test_points_and_characters_by_their_bits(n, dtype):
    points = hypercube(n, dtype=dtype)
    assert points.dtype == dtype
    np.testing.assert_array_equal(points, cube(n))
    for subset in subsets(n):
        number = subset_number(subset)
        assert number == sum(2**i for i in subset)
        signs = [(-1) ** (number & j).bit_count() for j in range(2**n)]
        np.testing.assert_array_equal(character(subset, points), signs)


def test_whole_numbers_beyond_32_bits_keep_their_size(no_hook):
    assert float(character((0,), np.array([[2**40]]))[0]) == 2.0**40


@pytest.mark.parametrize("x", [[[10**400]], np.ma.array([[1.0]], mask=[[True]])])
def test_what_is_no_array_of_numbers_is_named(x, no_hook):
    with pytest.raises(ValueError, match=r"^x must be an array of numbers"):
        character((0,), x)


@pytest.mark.parametrize("problem", [SparseParities(3, 2, 0.3), LeakyParities(3, 0.3)])
def test_edges_of_traced_features(problem):
    features = hypercube(3)
    traced = jax.jit(lambda phi: edges(phi, problem, 1.0))(features)
    np.testing.assert_allclose(traced, edges(features, problem, 1.0), atol=10 * EPS)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("axes", [(), (3,), (2, 2)])
def test_transform_against_the_dense_matrix(n, axes, dtype):
    f = np.random.default_rng(n).normal(size=(2**n, *axes)).astype(dtype)
    dense = np.array([[(-1.0) ** (s & j).bit_count() for j in range(2**n)] for s in range(2**n)])
    found = walsh_hadamard(jnp.asarray(f, f.dtype))
    assert found.dtype == dtype
    rounding = 10 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(found, np.tensordot(dense, f, 1) / 2**n, atol=rounding)
    np.testing.assert_allclose(inverse_walsh_hadamard(found), f, atol=rounding)
    np.testing.assert_allclose(
        np.sum(np.asarray(found) ** 2, axis=0), np.mean(f**2, axis=0), rtol=10 * rounding
    )


def test_product_probabilities_by_hand(dtype):
    chances = product_probabilities(4, 0.5, dtype=dtype)
    assert chances.dtype == dtype
    expected = [math.prod(0.75 if v > 0 else 0.25 for v in x) for x in cube(4)]
    np.testing.assert_allclose(chances, expected, rtol=10 * float(jnp.finfo(dtype).eps))
    assert product_probabilities(3, 1.0).tolist() == [1.0] + [0.0] * 7


@settings(max_examples=20)
@given(mean=st.floats(-0.95, 0.95), n=st.sampled_from([1, 4]))
def test_biased_characters_are_orthonormal(mean, n):
    points = hypercube(n)
    chances = np.asarray(product_probabilities(n, mean), float)
    phi = np.array([np.asarray(biased_character(s, points, mean), float) for s in subsets(n)])
    # Values reach ((1 + μ)/(1 − μ))^{n/2}, which scales the rounding.
    scale = ((1 + abs(mean)) / (1 - abs(mean))) ** n
    np.testing.assert_allclose((phi * chances) @ phi.T, np.eye(2**n), atol=50 * EPS * scale)


# --- problems -----------------------------------------------------------------------------------


def law(problem, subset):
    """(x, y, probability) of each outcome, from the definition."""
    n, alpha, x = problem.n, problem.alpha, cube(problem.n)
    for row in x:
        chance = (1 - alpha) / 2**n
        if isinstance(problem, SparseParities):
            chance += alpha * math.prod(0.75 if v > 0 else 0.25 for v in row)
        yield row, parity(subset, row), chance
    if isinstance(problem, LeakyParities):
        leak = np.array([1.0 if i in subset else -1.0 for i in range(n)])
        yield leak, 1.0, alpha / 2
        yield leak, -1.0, alpha / 2


def expected_moments(outcomes):
    mean = sum(p * x for x, _, p in outcomes)
    second = sum(p * np.outer(x, x) for x, _, p in outcomes)
    return mean, second, sum(p * y * x for x, y, p in outcomes), sum(p * y for _, y, p in outcomes)


@settings(max_examples=6)
@given(alpha=st.floats(1e-3, 1 - 1e-3), n=st.integers(2, 5), k=st.integers(2, 6))
def test_moments_and_distributions_against_the_definition(alpha, n, k):
    for problem in (SparseParities(n, min(k, n), alpha), LeakyParities(n, alpha)):
        members = list(problem.subsets())
        assert len(members) == len(set(members)) == problem.size
        for subset in members:
            outcomes = list(law(problem, subset))
            moments = problem.moments(subset)
            for found, expected in zip(moments, expected_moments(outcomes), strict=True):
                np.testing.assert_allclose(found, expected, atol=20 * EPS)
            points, chances, means = problem.distribution(subset)
            for x, chance, mean in zip(
                np.asarray(points), np.asarray(chances), np.asarray(means), strict=True
            ):
                here = [(y, p) for z, y, p in outcomes if np.array_equal(x, z)]
                assert chance == pytest.approx(sum(p for _, p in here), abs=20 * EPS)
                total = sum(p for _, p in here)
                assert mean == pytest.approx(sum(y * p for y, p in here) / total, abs=20 * EPS)


def test_moments_of_six_bits():
    for problem in (SparseParities(6, 3, 0.3), LeakyParities(6, 0.3)):
        for subset in problem.subsets():
            expected = expected_moments(list(law(problem, subset)))
            for found, value in zip(problem.moments(subset), expected, strict=True):
                np.testing.assert_allclose(found, value, atol=20 * EPS)


@pytest.mark.parametrize("problem", [SparseParities(5, 2, 0.3), LeakyParities(5, 0.3)])
def test_samples_have_the_moments(problem):
    """Each of 46 averages of products in [−1, 1] within 5.5 standard errors of 1/√count: a chance
    of 46 · 4e-8."""
    count, subset = 40_000, (1, 3)
    x, y = (np.asarray(a, float) for a in problem.sample(jax.random.key(0), subset, count))
    assert set(np.unique(x)) | set(np.unique(y)) == {-1.0, 1.0}
    found = (np.mean(x, axis=0), x.T @ x / count, y @ x / count, np.mean(y))
    for value, expected in zip(found, problem.moments(subset), strict=True):
        np.testing.assert_allclose(value, expected, atol=5.5 / math.sqrt(count))
    if isinstance(problem, LeakyParities):
        leak = np.array([-1, 1, -1, 1, -1])
        inside = np.all(x == leak, axis=1)
        share = problem.alpha + (1 - problem.alpha) / 32
        assert np.mean(inside) == pytest.approx(share, abs=5 / math.sqrt(count))
        assert np.all(y[~inside] == x[~inside, 1] * x[~inside, 3])
    else:
        np.testing.assert_array_equal(y, x[:, 1] * x[:, 3])


@pytest.mark.parametrize("alpha, mean", [(0.0, 0.0), (1.0, 0.5)])
def test_samples_at_the_ends_of_alpha(alpha, mean):
    """Bits of the share alone: 6 standard errors for 7 means and 21 products."""
    x, y = sample_sparse_parity(jax.random.key(1), 7, (0, 6), alpha, 30_000)
    x = np.asarray(x, float)
    np.testing.assert_allclose(np.mean(x, axis=0), mean, atol=6 / math.sqrt(30_000))
    products = (x.T @ x / len(x))[np.triu_indices(7, 1)]
    np.testing.assert_allclose(products, mean**2, atol=6 / math.sqrt(30_000))
    np.testing.assert_array_equal(y, x[:, 0] * x[:, 6])


def test_alpha_may_be_traced():
    draw = functools.partial(sample_sparse_parity, jax.random.key(0), 4, (0, 1))
    x, _ = jax.jit(lambda alpha: draw(alpha, 50))(jnp.asarray(0.25))
    np.testing.assert_array_equal(x, draw(0.25, 50)[0])


# --- the best predictor in a ball ---------------------------------------------------------------


def random_case(seed, N, p, decay, share=1.0):
    """Features with singular values over `decay` decades, chances and label means; NumPy."""
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(N, p)) * 10.0 ** -np.linspace(0, decay, p)
    chances = rng.exponential(size=N) * (rng.uniform(size=N) < share)
    chances[0] += 0.1
    labels = np.where(rng.uniform(size=N) < 0.7, np.sign(rng.normal(size=N)), rng.uniform(-1, 1, N))
    return phi, chances / chances.sum(), labels


def as_distribution(chances, labels, dtype=FLOAT):
    points = np.arange(len(chances))[:, None] + 1.0
    return Distribution(*(jnp.asarray(a, dtype) for a in (points, chances, labels)))


def dual_value(phi, chances, labels, bound, multiplier):
    """An upper bound of the edge for every multiplier ≥ 0: weak duality, by least squares."""
    radius = np.sqrt(np.max(np.sum(phi**2, axis=1)))
    rows = np.sqrt(chances)[:, None] * phi
    rows = np.vstack([rows, np.sqrt(multiplier) * np.eye(phi.shape[1])])
    aim = np.concatenate([np.sqrt(chances) * labels, np.zeros(phi.shape[1])])
    w = np.linalg.lstsq(rows, aim, rcond=1e-14)[0]
    value = (aim @ aim - np.sum((rows @ w - aim) ** 2)) / 2
    return value + (multiplier * (bound / radius) ** 2 / 2 if multiplier > 0 else 0)


@pytest.mark.float64
@settings(max_examples=40)
@given(
    seed=seeds,
    shape=st.sampled_from([(8, 3), (8, 20), (16, 6)]),
    decay=st.floats(0, 3),
    log_bound=st.floats(-4, 4),
    share=st.sampled_from([1.0, 0.6]),
)
def test_edge_is_certified_by_duality(seed, shape, decay, log_bound, share):
    """A feasible predictor with the edge's value, and a multiplier that no predictor beats."""
    phi, chances, labels = random_case(seed, *shape, decay, share)
    bound, distribution = 10.0**log_bound, as_distribution(chances, labels)
    best = edge(jnp.asarray(phi), distribution, bound)
    h = np.asarray(best.predictions)
    rows = phi[chances > 0]
    w = np.linalg.lstsq(rows, h[chances > 0], rcond=1e-12)[0]
    np.testing.assert_allclose(rows @ w, h[chances > 0], atol=1e-9)
    radius = np.sqrt(np.max(np.sum(phi**2, axis=1)))
    assert np.linalg.norm(w) * radius <= bound * (1 + 1e-8)
    assert float(best.norm) <= bound * (1 + 1e-10)
    primal = chances @ (h * labels - h**2 / 2)
    assert float(best.edge) == pytest.approx(primal, abs=1e-10)
    assert float(best.loss) == pytest.approx(chances @ (1 + h**2 - 2 * h * labels) / 2, abs=1e-10)
    assert float(best.multiplier) >= 0
    assert dual_value(phi, chances, labels, bound, float(best.multiplier)) - primal <= 1e-10


@pytest.mark.float64
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bound", [0.03, 1.0, 5.0])
def test_edge_against_the_secular_equation(seed, bound):
    """Brent's method on ‖w(μ)‖ = B/R, in the weights' own coordinates."""
    phi, chances, labels = random_case(seed, 12, 5, 1.0)
    second, c = phi.T @ (chances[:, None] * phi), phi.T @ (chances * labels)
    reach = bound / np.sqrt(np.max(np.sum(phi**2, axis=1)))
    at = lambda mu: np.linalg.solve(second + mu * np.eye(5), c)  # noqa: E731
    mu = 0.0
    if np.linalg.norm(at(0.0)) > reach:
        gap = lambda mu: np.linalg.norm(at(mu)) - reach  # noqa: E731
        mu = scipy.optimize.brentq(gap, 0, np.linalg.norm(c) / reach, xtol=1e-15, rtol=1e-14)
    w = at(mu)
    expected = c @ w - w @ second @ w / 2
    distribution = as_distribution(chances, labels)
    best = edge(jnp.asarray(phi), distribution, bound)
    assert float(best.edge) == pytest.approx(expected, abs=1e-10)
    assert float(best.multiplier) == pytest.approx(mu, abs=1e-9)
    np.testing.assert_allclose(best.predictions, phi @ w, atol=1e-9)
    moments = edge_from_moments(jnp.asarray(second), jnp.asarray(c), reach)
    assert float(moments) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("bound", [0.0, 0.02, 1.0, 30.0, math.inf])
@pytest.mark.parametrize("shape", [(8, 3), (8, 20)])
def test_kernel_and_features_agree(shape, bound):
    """Rank 3 among 8 points, and more features than points."""
    phi, chances, labels = random_case(3, *shape, 0.5)
    distribution = as_distribution(chances, labels)
    phi = jnp.asarray(phi, FLOAT)
    by_features = edge(phi, distribution, bound)
    by_kernel = edge(lambda x1, x2: phi @ phi.T, distribution, bound)
    for a, b in zip(by_features, by_kernel, strict=True):
        np.testing.assert_allclose(a, b, rtol=KERNEL_DIGITS, atol=1e4 * EPS)


def test_ends_of_the_norm_bound():
    phi, chances, labels = random_case(0, 8, 3, 0.0)
    distribution = as_distribution(chances, labels)
    free = edge(jnp.asarray(phi, FLOAT), distribution)
    solution = np.linalg.lstsq(np.sqrt(chances)[:, None] * phi, np.sqrt(chances) * labels)[0]
    h = phi @ solution
    assert float(free.edge) == pytest.approx(chances @ h**2 / 2, abs=100 * EPS)
    assert float(free.multiplier) == 0
    norm = np.linalg.norm(solution) * np.sqrt(np.max(np.sum(phi**2, axis=1)))
    assert float(free.norm) == pytest.approx(norm, rel=100 * EPS)
    np.testing.assert_allclose(free.predictions, h, atol=100 * EPS)
    for factor, slack in ((1 + 1e-3, True), (1 - 1e-3, False)):
        near = edge(jnp.asarray(phi, FLOAT), distribution, factor * norm)
        assert (float(near.multiplier) == 0) == slack
        assert float(near.edge) == pytest.approx(float(free.edge), abs=1e-5)
    nothing = edge(jnp.asarray(phi, FLOAT), distribution, 0)
    assert (float(nothing.edge), float(nothing.norm)) == (0, 0)
    assert float(nothing.loss) == 0.5


@pytest.mark.parametrize("bound", [0.0, 1.0, math.inf])
def test_the_zero_kernel_has_no_edge(bound):
    distribution = uniform(3, (0, 1))
    for kernel in (lambda x1, x2: x1 @ x2.T * 0, jnp.zeros((8, 2))):
        best = edge(kernel, distribution, bound)
        assert float(best.edge) == 0 and float(best.norm) == 0
        np.testing.assert_array_equal(best.predictions, np.zeros(8))


def test_one_feature_by_hand(dtype):
    """φ = χ_I scaled by 3: R = 3, h = tχ_I with t ≤ B, edge t − t²/2."""
    distribution = uniform(3, (0, 1), dtype)
    phi = 3 * distribution.label_means[:, None]
    for bound, t in ((0.25, 0.25), (1.0, 1.0), (2.0, 1.0)):
        best = edge(phi, distribution, bound)
        assert best.edge.dtype == best.predictions.dtype == dtype
        rounding = 20 * float(jnp.finfo(dtype).eps)
        assert float(best.edge) == pytest.approx(t - t**2 / 2, abs=rounding)
        assert float(best.norm) == pytest.approx(t, abs=rounding)
        np.testing.assert_allclose(best.predictions, t * distribution.label_means, atol=rounding)


def test_edge_can_be_compiled_and_is_silent_off_the_support():
    phi, chances, labels = random_case(5, 8, 3, 0.0, share=0.5)
    assert np.any(chances == 0)
    distribution = as_distribution(chances, labels)
    phi = jnp.asarray(phi, FLOAT)
    plain = edge(phi, distribution, 1.0)
    compiled = jax.jit(lambda phi, d: edge(phi, d, 1.0))(phi, distribution)
    for a, b in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(a, b, atol=100 * EPS)
    assert np.all(np.asarray(plain.predictions)[chances == 0] == 0)


@pytest.mark.float64
@pytest.mark.parametrize("bound", [0.3, 3.0])
def test_what_rounding_hides_in_single_precision(bound):
    """4 B √eps, for a kernel whose spectrum passes through the cutoff."""
    kernel = lambda x1, x2: jnp.exp((x1 @ x2.T - 8) / 8)  # noqa: E731
    for subset in ((0, 1), tuple(range(6)), tuple(range(8))):
        exact = edge(kernel, uniform(8, subset), bound).edge
        rounded = edge(kernel, uniform(8, subset, jnp.float32), bound).edge
        hidden = 4 * bound * math.sqrt(jnp.finfo(jnp.float32).eps)
        assert abs(float(exact) - float(rounded)) <= hidden


def some_kernel(n, seed=0, p=6):
    """Features and the same kernel as a function of points."""
    mix = jnp.asarray(np.random.default_rng(seed).normal(size=(n, p)), FLOAT)
    features = lambda x: jnp.tanh(x @ mix)  # noqa: E731
    return features, lambda x1, x2: features(x1) @ features(x2).T


@pytest.mark.parametrize("problem", [SparseParities(5, 3, 0.4), LeakyParities(4, 0.4)])
@pytest.mark.parametrize("bound", [0.7, math.inf])
def test_edges_member_by_member(problem, bound):
    features, kernel = some_kernel(problem.n)
    together = edges(kernel, problem, bound)
    alone = [edge(kernel, problem.distribution(s), bound).edge for s in problem.subsets()]
    np.testing.assert_allclose(together, np.array(alone), atol=500 * EPS)
    by_features = edges(features(hypercube(problem.n)), problem, bound)
    np.testing.assert_allclose(together, by_features, atol=2e4 * EPS)


@pytest.mark.parametrize("bound", [0.7, math.inf])
def test_parity_edges_one_by_one(bound):
    features, kernel = some_kernel(4)
    together = parity_edges(kernel, 4, bound)
    for subset in subsets(4):
        alone = edge(kernel, uniform(4, subset), bound).edge
        assert float(together[subset_number(subset)]) == pytest.approx(float(alone), abs=500 * EPS)
    by_features = parity_edges(features(hypercube(4)), 4, bound)
    np.testing.assert_allclose(together, by_features, atol=2e4 * EPS)


@pytest.mark.parametrize("n", [3, 8])
def test_parity_edges_of_the_linear_kernel(n):
    """λ = 1 on single bits, R² = n: h = tx_i with t ≤ B/√n."""
    for bound, t in ((1.0, 1 / math.sqrt(n)), (10.0, 1.0)):
        found = np.asarray(parity_edges(lambda x1, x2: x1 @ x2.T, n, bound))
        expected = np.zeros(2**n)
        expected[2 ** np.arange(n)] = t - t**2 / 2
        np.testing.assert_allclose(found, expected, atol=200 * EPS)


@pytest.mark.float64
@pytest.mark.parametrize("n", [4, 10])
def test_parity_edges_of_a_product_kernel(n):
    """Π(1 + ρx_ix'_i)/(1 + ρ): eigenvalue ρ^|S|/(1 + ρ)ⁿ on χ_S, R = 1."""
    rho, bound = 0.4, 0.9
    kernel = lambda x1, x2: jnp.prod((1 + rho * x1[:, None] * x2) / (1 + rho), axis=2)  # noqa: E731
    found = np.asarray(parity_edges(kernel, n, bound))
    sizes = np.array([s.bit_count() for s in range(2**n)])
    t = np.minimum(1, bound * np.sqrt(rho**sizes / (1 + rho) ** n))
    np.testing.assert_allclose(found, t - t**2 / 2, atol=1e-10)


def test_edges_follow_the_features(dtype):
    features = jnp.asarray(cube(3), dtype)
    assert parity_edges(features, 3, 1.0).dtype == dtype
    for problem in (SparseParities(3, 2, 0.5), LeakyParities(3, 0.5)):
        assert edges(features, problem, 1.0).dtype == dtype


@pytest.mark.parametrize("k", [2, 5])
def test_edge_from_moments_for_many_bits(k):
    """Linear predictors on sparse parities, B = ∞: c'Σ⁻¹c/2 by Sherman–Morrison."""
    n, alpha = 200, 0.3
    moments = SparseParities(n, k, alpha).moments(range(k))
    found = float(edge_from_moments(moments.second, moments.correlation))
    u, v = 1 - alpha / 4, alpha / 4
    squares = alpha**2 * (k * 4.0 ** (1 - k) + (n - k) * 4.0 ** (-1 - k))
    total = alpha * (k * 2.0 ** (1 - k) + (n - k) * 2.0 ** (-1 - k))
    expected = (squares / u - v * total**2 / (u * (u + n * v))) / 2
    assert found == pytest.approx(expected, rel=1e3 * EPS)
    smaller = SparseParities(8, k, alpha)
    moments = smaller.moments(range(k))
    points = smaller.distribution(range(k))
    radius = 0.01
    by_moments = edge_from_moments(moments.second, moments.correlation, radius)
    by_points = edge(points.points, points, radius * math.sqrt(8)).edge
    assert float(by_moments) == pytest.approx(float(by_points), abs=100 * EPS)
    assert 0 < float(by_moments) < expected


# --- bounds for every kernel --------------------------------------------------------------------

LARGE = np.flatnonzero([s.bit_count() >= 2 for s in range(16)])


@settings(max_examples=30)
@given(
    seed=seeds,
    p=st.sampled_from([1, 3, 7]),
    decay=st.floats(0, 2),
    tilt=st.floats(0, 1),
    log_bound=st.floats(-2, 2),
)
def test_no_kernel_beats_the_bounds(seed, p, decay, tilt, log_bound):
    """Random features of four bits, tilted towards large parities, which suit the family best."""
    rng, bound = np.random.default_rng(seed), 10.0**log_bound
    phi = rng.normal(size=(16, p)) * 10.0 ** -np.linspace(0, decay, p)
    coefficients = np.array(walsh_hadamard(phi), float)
    coefficients[np.setdiff1d(np.arange(16), LARGE)] *= 1 - tilt
    phi = inverse_walsh_hadamard(jnp.asarray(coefficients, FLOAT))
    found = np.asarray(parity_edges(phi, 4, bound), float)[LARGE]
    rounding, size = 1e3 * EPS, len(LARGE)
    largest = bk.largest_mean_edge(bound, size, dimension=p)
    assert np.mean(found) <= largest + rounding
    assert largest <= min(bk.dimension_bound(p, size), bk.largest_mean_edge(bound, size))
    for problem in (SparseParities(4, 2, 0.3), LeakyParities(4, 0.3)):
        mean = float(jnp.mean(edges(phi, problem, bound)))
        assert mean <= problem.edge_bound(bk.dimension_bound(p, problem.size)) + rounding
        assert mean <= problem.edge_bound(bk.sharp_norm_bound(bound, problem.size)) + rounding


@pytest.mark.parametrize("size", [1, 11, 1000, math.comb(128, 7)])
@pytest.mark.parametrize("bound", [0.0, 0.1, 1.0, 30.0, 1e6, math.inf])
def test_the_norm_bounds_are_ordered(size, bound):
    published = bk.published_norm_bound(bound, size)
    sharp, largest = bk.sharp_norm_bound(bound, size), bk.largest_mean_edge(bound, size)
    assert largest <= sharp <= published <= 0.5
    assert sharp <= 2 * largest
    b = min(1, bound / math.sqrt(size))
    assert largest == pytest.approx(b - b**2 / 2, rel=1e-12)


@given(
    log_bound=st.floats(-3, 6),
    size=st.integers(1, 10**9),
    p=st.integers(0, 10**9),
)
def test_largest_mean_edge_is_the_dual_minimum(log_bound, size, p):
    """min over s ≥ 0 of [(p/|P|)/(1 + s) + sB²/p]/2, by a search over log s."""
    bound, p = 10.0**log_bound, min(p, size)
    value = bk.largest_mean_edge(bound, size, dimension=p)
    if p == 0:
        assert value == 0
        return
    s = np.concatenate([[0.0], np.logspace(-8, 20, 40_001)])
    dual = ((p / size) / (1 + s) + s * bound**2 / p) / 2
    assert value == pytest.approx(np.min(dual), rel=1e-6, abs=1e-15)


def test_dimension_bound_by_hand():
    assert bk.dimension_bound(10, 120) == 10 / 240
    assert bk.dimension_bound(0, 7) == 0
    assert bk.dimension_bound(8, 7) == 0.5


def test_what_a_mixture_leaves_of_an_edge():
    assert SparseParities(4, 2, 0.5).edge_bound(0.1) == pytest.approx(0.25 + 0.05)
    assert SparseParities(4, 2, 0.5).edge_bound(7.0) == pytest.approx(0.5)
    assert LeakyParities(4, 0.25).edge_bound(0.1) == pytest.approx(0.075)
    assert LeakyParities(4, 0.25).edge_bound(7.0) == pytest.approx(0.375)


@pytest.mark.float64
def test_biased_bits_have_mean_one_half():
    """A million of them, at the level of 5 standard deviations, and as many fair ones."""
    for alpha, mean in ((1.0, 0.5), (0.0, 0.0)):
        x, _ = sample_sparse_parity(jax.random.key(3), 8, (0,), alpha, 2**17)
        deviation = np.sqrt((1 - mean**2) / x.size)
        assert abs(float(jnp.mean(x)) - mean) < 5 * deviation


def test_published_bound_by_hand():
    assert bk.published_norm_bound(8.0, 10**9) == pytest.approx(1.5 * 4 / 1000)
    assert bk.published_norm_bound(1.0, 1) == 0.5
    assert bk.dimension_bound(10, 4) == 0.5


@pytest.mark.parametrize("n", [4, 6])
@pytest.mark.parametrize("bound", [0.5, 3.0, math.inf])
def test_bent_features_reach_every_parity_alike(n, bound):
    """p characters times a bent function: K(x, x) = p, every edge B/2^(n/2) − B²/2p."""
    x = cube(n)
    bent = np.prod(
        [np.where((a < 0) & (b < 0), -1, 1) for a, b in zip(x.T[::2], x.T[1::2], strict=True)],
        axis=0,
    )
    p = 2 ** (n - 1) + 1
    features = jnp.asarray(bent[:, None], FLOAT) * inverse_walsh_hadamard(jnp.eye(2**n))[:, :p]
    found = parity_edges(features, n, bound)
    expected = bk.largest_mean_edge(bound, 2**n, dimension=p)
    np.testing.assert_allclose(found, expected, atol=500 * EPS)


def test_indicators_have_the_same_edge_on_every_parity():
    found = parity_edges(jnp.eye(64)[:, [3, 17, 20, 63]], 6)
    np.testing.assert_allclose(found, 4 / 128, atol=100 * EPS)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.95])
def test_memorization_with_the_leaking_input_among_the_points(alpha):
    """(1 − α)(p − 1)/2^(n+1) + ½(1 − α)² 4⁻ⁿ/((1 − α)2⁻ⁿ + α), and the printed value elsewhere."""
    n, chosen, problem = 4, [0, 6, 9], LeakyParities(4, alpha)
    found = np.asarray(edges(jnp.eye(16)[:, chosen], problem))
    hit = ((1 - alpha) / 16) ** 2 / 2 / ((1 - alpha) / 16 + alpha)
    for subset, value in zip(problem.subsets(), found, strict=True):
        leaking = 15 - subset_number(subset)
        count = len(chosen) - (leaking in chosen)
        expected = (1 - alpha) * count / 2 ** (n + 1) + hit * (leaking in chosen)
        assert value == pytest.approx(expected, abs=100 * EPS)


@pytest.mark.parametrize("alpha", [0.1, 0.7])
def test_what_the_leak_costs_a_kernel(alpha):
    """(1 − α)/2 · [‖Πχ‖² − (Πχ)(x^I)²/((1 − α)/α + Π(x^I, x^I))], Π the projection's kernel."""
    n, problem = 4, LeakyParities(4, alpha)
    phi = np.random.default_rng(0).normal(size=(16, 5))
    basis = np.linalg.qr(phi)[0] * 4  # orthonormal under the uniform measure
    for subset, value in zip(
        problem.subsets(), edges(jnp.asarray(phi, FLOAT), problem), strict=True
    ):
        chi = np.array([parity(subset, row) for row in cube(n)])
        projected = basis @ (basis.T @ chi) / 16
        leak = 15 - subset_number(subset)
        cost = projected[leak] ** 2 / ((1 - alpha) / alpha + basis[leak] @ basis[leak])
        expected = (1 - alpha) / 2 * (np.mean(projected**2) - cost)
        assert float(value) == pytest.approx(expected, abs=500 * EPS)


# --- example kernels ----------------------------------------------------------------------------


def test_example_kernels_are_kernels():
    n, x = 4, hypercube(4)
    for name, kernel in bk.example_kernels(n).items():
        gram = np.asarray(kernel(x, x), float)
        np.testing.assert_allclose(gram, gram.T, atol=100 * EPS * gram.max(), err_msg=name)
        assert np.linalg.eigvalsh(gram)[0] >= -200 * EPS * gram.max(), name
        part = kernel(x[:3], x[5:7])
        np.testing.assert_allclose(part, gram[:3, 5:7], atol=100 * EPS * gram.max(), err_msg=name)


@pytest.mark.float64
@pytest.mark.parametrize(("n", "starts"), [(3, 1), (5, 3), (8, 2), (10, 1)])
def test_no_example_kernel_beats_the_bounds(n, starts):
    """All parities, size by size, at every start; the biased problem at the first."""
    cube = hypercube(n)
    sizes = np.array([number.bit_count() for number in range(2**n)])
    problem = SparseParities(n, max(2, n // 2), 0.3)
    for seed, (name, kernel) in itertools.product(range(starts), bk.example_kernels(n).items()):
        if seed:
            if not name.startswith(("random features", "tangent, depth")):
                continue
            kernel = bk.example_kernels(n, seed=seed)[name]
        gram = kernel(cube, cube)
        cutoff = 1e-11 * float(gram.max())
        rank = int(np.linalg.matrix_rank(np.asarray(gram), cutoff, hermitian=True))
        bound = (1.0, 10.0, math.inf)[(seed + len(name)) % 3]
        known = functools.partial(lambda gram, x1, x2: gram, gram)
        found = np.asarray(parity_edges(known, n, bound))
        for size in range(n + 1):
            mean, count = np.mean(found[sizes == size]), math.comb(n, size)
            assert mean <= bk.largest_mean_edge(bound, count, dimension=rank) + 1e-9, (name, size)
        if seed == 0:
            mean = float(jnp.mean(edges(known, problem, bound)))
            largest = bk.largest_mean_edge(bound, problem.size, dimension=rank)
            assert mean <= problem.edge_bound(largest) + 1e-9, name


def test_example_kernels_have_seeds():
    x = hypercube(3)
    first, again, other = (bk.example_kernels(3, seed=s) for s in (0, 0, 1))
    for name in ("random features", "tangent, depth 2"):
        values = [np.asarray(kernels[name](x, x)) for kernels in (first, again, other)]
        np.testing.assert_array_equal(values[0], values[1])
        assert np.max(np.abs(values[0] - values[2])) > 0.01


@pytest.mark.parametrize("name", ["tangent, depth 1", "tangent, trained"])
def test_one_hidden_layer_sees_no_large_odd_parity(name):
    """Its features are even functions and linear ones; deeper networks do see them."""
    odd = np.array([s.bit_count() % 2 == 1 and s.bit_count() > 1 for s in range(32)])
    found = np.asarray(parity_edges(bk.example_kernels(5)[name], 5))
    assert np.max(found[odd]) <= 1e4 * EPS
    assert np.min(found[~odd]) >= 0.49
    deeper = np.asarray(parity_edges(bk.example_kernels(5)["tangent, depth 2"], 5))
    assert np.min(deeper) >= 0.49


def test_the_trained_kernel_prefers_its_own_parity():
    edges = np.asarray(parity_edges(bk.example_kernels(6)["tangent, trained"], 6, 1.0))
    pairs = [subset_number(s) for s in itertools.combinations(range(6), 2)]
    others = [number for number in pairs if number != 3]
    assert edges[3] > 1.5 * np.max(edges[others])


# --- bad calls ----------------------------------------------------------------------------------

X, KEY = np.ones((2, 3)), jax.random.key(0)
MEMBER = SparseParities(3, 2, 0.5).distribution((0, 1))
LINEAR = lambda x1, x2: x1 @ x2.T  # noqa: E731
WRONG_SIDE = lambda x1, x2: x1 @ x2.T + x1[:, :1]  # noqa: E731


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: hypercube(0), "n must be at least 1"),
        (lambda: hypercube(15), "n must be at most 14 to list"),
        (lambda: hypercube(2.0), "n must be an integer"),
        (lambda: hypercube(2, dtype=int), "dtype must be a floating-point"),
        (lambda: character((3,), X), "subset must name coordinates below n = 3, got 3"),
        (lambda: character((1, 1), X), "subset must name each coordinate once"),
        (lambda: character((-1,), X), "subset's coordinates must be at least 0"),
        (lambda: character("01", X), "subset must be a sequence"),
        (lambda: character(3, X), "subset must be a sequence"),
        (lambda: character((0,), np.full((1, 1), np.nan)), "x must be finite"),
        (lambda: character((0,), np.ones(3)), "x must have 2 axes"),
        (lambda: subset_number((0.5,)), "subset's coordinates must be an integer"),
        (lambda: walsh_hadamard(np.ones(3)), r"values must have a value for each of 2\^n"),
        (lambda: walsh_hadamard(np.array([1, np.nan])), "values must be finite"),
        (lambda: walsh_hadamard(np.ones(())), "values must have at least 1 axes"),
        (lambda: inverse_walsh_hadamard(np.ones(6)), "coefficients must have a value"),
        (lambda: product_probabilities(3, 1.5), "mean must lie between -1 and 1"),
        (lambda: product_probabilities(20, 0.5), "n must be at most 14"),
        (lambda: biased_character((0,), X, 1.0), "mean must lie strictly between"),
        (lambda: biased_character((0,), X, math.nan), "mean must be finite"),
        (lambda: SparseParities(4, 5, 0.5), "k must be at most n = 4, got 5"),
        (lambda: SparseParities(4, 1, 0.5), "k must be at least 2"),
        (lambda: SparseParities(1, 1, 0.5), "n must be at least 2"),
        (lambda: SparseParities(4, 2, 0.0), "alpha must lie strictly between 0 and 1"),
        (lambda: SparseParities(4, 2, 1.0), "alpha must lie strictly between 0 and 1"),
        (lambda: SparseParities(4, 2, math.nan), "alpha must be finite"),
        (lambda: SparseParities(4, 2, 0.5).moments((0, 1, 2)), "subset must have k = 2"),
        (
            lambda: SparseParities(40, 2, 0.5).distribution((0, 1)),
            r"n must be at most 14 .*moments\(subset\) has the closed form",
        ),
        (lambda: LeakyParities(1, 0.5), "n must be at least 2"),
        (lambda: LeakyParities(4, 1.5), "alpha must lie strictly between"),
        (lambda: LeakyParities(4, 0.5).leak((1,)), "subset must have at least 2 coordinates"),
        (
            lambda: LeakyParities(40, 0.5).distribution((0, 1)),
            r"n must be at most 14 .*moments\(subset\) has the closed form",
        ),
        (lambda: LeakyParities(4, 0.5).sample(KEY, (0, 1), 0), "count must be at least 1"),
        (lambda: LeakyParities(4, 0.5).sample(0, (0, 1), 3), "key must be a single key"),
        (lambda: sample_sparse_parity(KEY, 4, (0, 4), 0.5, 9), "subset must name"),
        (lambda: sample_sparse_parity(KEY, 4, (0,), 1.5, 9), "alpha must lie between 0 and 1"),
        (lambda: sample_sparse_parity(KEY, 4, (0,), 0.5, 0), "count must be at least 1"),
        (lambda: square_loss(np.ones(7), MEMBER), r"predictions must have shape \(8,\)"),
        (lambda: square_loss(np.ones(8), X), "distribution must be Distribution"),
        (
            lambda: square_loss(np.ones(8), MEMBER._replace(probabilities=np.ones(8))),
            "distribution.probabilities must be at least 0 with sum 1",
        ),
        (
            lambda: square_loss(np.ones(8), MEMBER._replace(label_means=np.full(8, 2.0))),
            "distribution.label_means must lie between -1 and 1",
        ),
        (
            lambda: square_loss(np.ones(8), MEMBER._replace(label_means=np.ones(3))),
            r"distribution.label_means must have shape \(8,\)",
        ),
        (lambda: edge(LINEAR, MEMBER, -1.0), "norm_bound must be at least 0"),
        (lambda: edge(LINEAR, MEMBER, math.nan), "norm_bound must be finite"),
        (lambda: edge(LINEAR, MEMBER, "big"), "norm_bound must be a number"),
        (lambda: edge(WRONG_SIDE, MEMBER), "kernel must be symmetric"),
        (lambda: edge(lambda x1, x2: -LINEAR(x1, x2), MEMBER), r"kernel must have K\(x, x\)"),
        (
            lambda: edge(lambda x1, x2: 1 - LINEAR(x1, x2) / 3, MEMBER),
            "kernel must be positive semidefinite, got the eigenvalue",
        ),
        (lambda: edge(lambda x1, x2: LINEAR(x1, x2) * math.nan, MEMBER), "kernel must be fin"),
        (lambda: edge(lambda x1, x2: x1, MEMBER), r"kernel must return shape \(8, 8\)"),
        (lambda: edge(np.ones((7, 2)), MEMBER), "kernel must be a function or features of 8"),
        (lambda: edge(np.ones(8), MEMBER), "kernel must have 2 axes"),
        (lambda: edge(np.full((8, 1), np.inf), MEMBER), "kernel must be finite"),
        (lambda: edges(LINEAR, LeakyParities(15, 0.5)), "n must be .*dimension_bound and sharp"),
        (lambda: edges(LINEAR, LeakyParities(3, 0.5), -1), "norm_bound must be at least 0"),
        (lambda: edges(LINEAR, MEMBER), "problem must be SparseParities or LeakyParities"),
        (
            lambda: edges(lambda x1, x2: 1 - LINEAR(x1, x2) / 3, LeakyParities(3, 0.5)),
            "kernel must be positive semidefinite",
        ),
        (lambda: parity_edges(LINEAR, 128), "n must be .*dimension_bound and sharp_norm_bound"),
        (
            lambda: parity_edges(np.ones((8, 1)), 4),
            "kernel must be a function or features of 16",
        ),
        (lambda: parity_edges(WRONG_SIDE, 3), "kernel must be symmetric"),
        (lambda: edge_from_moments(np.eye(3), np.ones(2)), r"second must have shape \(2, 2\)"),
        (lambda: edge_from_moments(X[:, :2] * [[1, 2]], np.ones(2)), "second must be symmetric"),
        (lambda: edge_from_moments(-np.eye(2), np.ones(2)), "second must be positive semidef"),
        (lambda: edge_from_moments(np.eye(2), np.ones(2), -1.0), "radius must be at least 0"),
        (lambda: bk.dimension_bound(-1, 5), "dimension must be at least 0"),
        (lambda: bk.dimension_bound(1, 0), "size must be at least 1"),
        (lambda: bk.published_norm_bound(-1.0, 5), "norm_bound must be at least 0"),
        (lambda: bk.sharp_norm_bound(1.0, 0), "size must be at least 1"),
        (lambda: bk.sharp_norm_bound(math.nan, 1), "norm_bound must be finite"),
        (lambda: bk.largest_mean_edge(1.0, 0), "size must be at least 1"),
        (lambda: bk.largest_mean_edge(1.0, 3, dimension=-1), "dimension must be at least 0"),
        (lambda: bk.example_kernels(1), "n must be at least 2"),
        (lambda: bk.example_kernels(3, seed=-1), "seed must be at least 0"),
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_narrow_tangent_kernels_have_their_rank():
    """A bias-free network with m hidden units has nm + m gradients; on the cube, at most nm
    dimensions: every output is in the span of its unit's gradients."""
    n = 6
    network = networks.mlp((2, 1))
    params = network.init(jax.random.key(3), n)
    kernel = bk.kernel_of_model(network.apply, lambda: params)
    found = float(jnp.mean(parity_edges(kernel, n)))
    assert found == pytest.approx(2 * n / 2 ** (n + 1), abs=1e4 * EPS)
