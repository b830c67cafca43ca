"""The best predictor in a ball: certified by duality, and by closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from cube_oracles import EPS, FLOAT, KERNEL_DIGITS, cube, seeds, subsets, uniform
from hypothesis import given, settings
from hypothesis import strategies as st
from ntklab.cube import (
    hypercube,
    subset_number,
)
from ntklab.edges import edge, edge_from_moments, edges, parity_edges
from ntklab.problems import (
    Distribution,
    LeakyParities,
    SparseParities,
)


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


# --- bad calls ----------------------------------------------------------------------------------

X, KEY = np.ones((2, 3)), jax.random.key(0)
MEMBER = SparseParities(3, 2, 0.5).distribution((0, 1))
LINEAR = lambda x1, x2: x1 @ x2.T  # noqa: E731
WRONG_SIDE = lambda x1, x2: x1 @ x2.T + x1[:, :1]  # noqa: E731


@pytest.mark.parametrize(
    "call, message",
    [
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
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
