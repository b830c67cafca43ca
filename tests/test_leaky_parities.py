"""Leaky parities: the model and its scale, one step from a biased start, and starts at zero."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ntklab import leaky_parities as lp
from ntklab import networks
from ntklab.cube import hypercube, subset_number
from ntklab.problems import LeakyParities, SparseParities

FLOAT = jnp.result_type(float)
EPS = float(jnp.finfo(FLOAT).eps)
seeds = st.integers(0, 2**32 - 1)
alphas = st.floats(0.01, 0.99)
VERSIONS = [True, "parity", False]


# --- an oracle in NumPy -------------------------------------------------------------------------


def sigmoid(z):
    z = np.clip(z, 0, 1)
    return np.where(z < 0.5, 2 * z**2, 4 * z - 2 * z**2 - 1)


def rescaled(z, a, b, c, d):
    return c + sigmoid((z - a) / (b - a)) * (d - c)


def oracle(theta, x, alpha, version):
    """(18) and (19) as they are printed, with the repairs by name."""
    n = len(theta)
    z = theta * x
    s = sigmoid(n * z - 2) - sigmoid(-n * z - 2)
    S = 1 - np.prod(1 - s**2, axis=1)
    factors = 1 + s - s**2 if version is False else 1 - 2 * sigmoid(-s)
    H = np.prod(factors, axis=1)
    u = (x + 5 / 3 * alpha) @ theta
    first = -(1 - S) if version is True else rescaled(theta.sum(), 0, 2 / n, -1, 0)
    return first + rescaled(u + S * (H - u), -1, 1, -1, 1)


def outcomes(n, subset, alpha):
    """(x, y, probability) of each outcome, from the definition."""
    for row in itertools.product([1.0, -1.0], repeat=n):
        yield np.array(row), math.prod(row[i] for i in subset), (1 - alpha) / 2**n
    leak = np.array([1.0 if i in subset else -1.0 for i in range(n)])
    for y in (1.0, -1.0):
        yield leak, y, alpha / 2


def loss_of(theta, subset, alpha, version):
    x, y, p = map(np.array, zip(*outcomes(len(theta), subset, alpha), strict=True))
    return float(p @ (oracle(theta, x, alpha, version) - y) ** 2 / 2)


def slope_of(theta, x, alpha, version):
    """The gradient by central differences; the model's pieces are quadratic or smooth."""
    h = 1e-6
    moves = h * np.eye(len(theta))
    ends = [[oracle(theta + sign * m, x, alpha, version) for sign in (1, -1)] for m in moves]
    return np.array([(up - down) / (2 * h) for up, down in ends]).T


# --- the model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_the_model_against_the_printed_formula(version, dtype):
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (12, 5))
    for spread in (0.1, 1.0, 4.0):
        theta = (rng.uniform(-1, 1, 5) * spread).astype(dtype)
        found = lp.leaky_selector(jnp.asarray(theta), jnp.asarray(x, dtype), 0.3, repaired=version)
        assert found.dtype == dtype
        expected = oracle(theta.astype(float), x, 0.3, version)
        np.testing.assert_allclose(found, expected, atol=2e3 * float(jnp.finfo(dtype).eps))


@settings(max_examples=25)
@given(seed=seeds, alpha=alphas, low=st.sampled_from([0.0, -2.0]))
def test_the_second_regime_is_a_parity(seed, alpha, low):
    """Exactly; the printed first term needs nonnegative coordinates, the repaired one does not."""
    rng = np.random.default_rng(seed)
    n, x = 5, hypercube(5)
    chosen = rng.random(n) < 0.5
    chosen[rng.integers(n)] = True
    theta = jnp.asarray(np.where(chosen, rng.uniform(3, 5, n), rng.uniform(low, 2, n)) / n, FLOAT)
    parity = np.prod(np.where(chosen, np.asarray(x), 1), axis=1)
    for version in VERSIONS if low == 0 else [True]:
        found = lp.leaky_selector(theta, x, alpha, repaired=version)
        np.testing.assert_allclose(found, parity, atol=200 * EPS)


def test_the_printed_first_term_fails_for_negative_coordinates():
    theta, x = jnp.array([4.0, -2.0, -2.0]) / 3, hypercube(3)
    assert float(jnp.max(jnp.abs(lp.leaky_selector(theta, x, 0.2) - x[:, 0]))) < 1e-5
    printed = lp.leaky_selector(theta, x, 0.2, repaired="parity")
    np.testing.assert_allclose(printed, x[:, 0] - 1, atol=1e-5)


# --- its scale ----------------------------------------------------------------------------------


@pytest.mark.float64
@pytest.mark.parametrize("version", VERSIONS)
def test_scale_against_differences(version):
    rng = np.random.default_rng(1)
    x = rng.choice([-1.0, 1.0], (12, 5))
    for _ in range(3):
        theta = rng.uniform(-3, 3, 5) / 5
        expected = np.sqrt(
            np.sum(slope_of(theta, x, 0.3, version) ** 2, axis=1)
            + oracle(theta, x, 0.3, version) ** 2
        )
        found = lp.leaky_scale(jnp.asarray(theta), jnp.asarray(x), 0.3, repaired=version)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=30)
@given(seed=seeds, alpha=alphas, spread=st.floats(0.1, 8))
def test_the_scale_bound_holds_at_random_places(seed, alpha, spread):
    rng = np.random.default_rng(seed)
    theta = jnp.asarray(rng.uniform(-spread, spread, 5) / 5, FLOAT)
    found = lp.leaky_scale(theta, hypercube(5)[:12], alpha)
    assert float(jnp.max(found)) <= lp.leaky_scale_bound(5, alpha)


def test_the_scale_bound_by_hand():
    assert lp.leaky_scale_bound(4, 0.3) == pytest.approx(math.hypot(64 * 4 + 3 * 2, 2))


@pytest.mark.float64
def test_the_pieces_of_the_bound():
    """‖∇S‖ ≤ 4n and ‖∇H‖ ≤ 8n, by differences, at random and at single half selected places."""
    rng = np.random.default_rng(2)

    def pieces(theta):
        n = len(theta)
        s = sigmoid(n * theta - 2) - sigmoid(-n * theta - 2)
        return np.array([1 - np.prod(1 - s**2), np.prod(1 - 2 * sigmoid(-s))])

    largest = np.zeros(2)
    for n in (1, 2, 6):
        for trial in range(200):
            theta = rng.uniform(-3, -2, n) * (rng.random(n) < 0.5) / n
            if trial < 50:
                theta = np.zeros(n)
                theta[0] = -(2 + (trial + 0.5) / 50) / n
            h = 1e-7
            moves = h * np.eye(n)
            slope = np.array([(pieces(theta + m) - pieces(theta - m)) / (2 * h) for m in moves])
            largest = np.maximum(largest, np.linalg.norm(slope, axis=0) / n)
    assert np.all(largest <= [4, 8 + 1e-4])
    assert largest[1] > 7.8  # nearly attained by one coordinate with s = −½


def test_the_search_climbs_to_sixteen_n():
    """From one coordinate with s = −½: slope 8n of H, doubled by the outer sigmoid."""
    found, theta, x = lp.largest_leaky_scale(4, 0.2, starts=6, steps=40)
    assert found.dtype == theta.dtype == x.dtype == FLOAT
    assert float(found) == pytest.approx(64, rel=0.02)
    here = lp.leaky_scale(theta, x[None], 0.2)[0]
    assert float(here) == pytest.approx(float(found), rel=1e-3)


def test_the_search_climbs_beyond_sixteen_n_where_the_gate_opens():
    """All but one coordinate at −2/n, one in two thirds of its rise: 18.6n is there to be found."""
    found, theta, x = lp.largest_leaky_scale(3, 0.999, starts=12, steps=80)
    assert 18.3 * 3 < float(found) < 19 * 3
    slope = slope_of(np.asarray(theta, float), np.asarray(x, float)[None], 0.999, True)[0]
    value = oracle(np.asarray(theta, float), np.asarray(x, float)[None], 0.999, True)[0]
    assert math.hypot(np.linalg.norm(slope), value) == pytest.approx(float(found), rel=1e-3)


@pytest.mark.parametrize("version", ["parity", False])
def test_the_printed_first_term_is_steep(version):
    n = 64
    theta, x = jnp.full(n, 1 / n**2), jnp.ones((1, n))
    found = float(lp.leaky_scale(theta, x, 0.2, repaired=version)[0])
    u = (1 + 1 / 3) / n
    slope, value = n + 2 * (1 - u) * (1 + 1 / 3), float(rescaled(u, -1, 1, -1, 1)) - 0.5
    expected = math.hypot(math.sqrt(n) * slope, value)
    assert found == pytest.approx(expected, rel=1e-3)


# --- one step -----------------------------------------------------------------------------------


@pytest.mark.float64
@settings(max_examples=10)
@given(alpha=alphas, data=st.data())
def test_the_gradient_at_the_start_from_the_definition(alpha, data):
    subset = data.draw(st.sampled_from([(0, 1), (1, 3, 4), (0, 1, 2, 3, 4)]))
    x, y, p = map(np.array, zip(*outcomes(5, subset, alpha), strict=True))
    residual = oracle(np.zeros(5), x, alpha, True) - y
    gradient = (p * residual) @ slope_of(np.zeros(5), x, alpha, True)
    found = -lp.leaky_one_step(LeakyParities(5, alpha), subset, step_size=1.0)
    np.testing.assert_allclose(found, gradient, atol=1e-5)


def test_the_step_by_hand(dtype):
    problem = LeakyParities(6, 0.1)
    found = lp.leaky_one_step(problem, (1, 4), dtype=dtype)
    assert found.dtype == dtype
    rounding = 20 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(6 * found, [1, 4, 1, 1, 4, 1], rtol=rounding)
    error = np.array([0, lp.leaky_tolerated_error(problem), 0, 0, 0, 0], dtype)
    moved = lp.leaky_one_step(problem, (1, 4), error=error, dtype=dtype)
    np.testing.assert_allclose(6 * moved, [1, 3, 1, 1, 4, 1], rtol=rounding)
    printed = lp.leaky_one_step(problem, (1, 4), step_size=1.0, dtype=dtype)
    expected = np.where(np.isin(np.arange(6), (1, 4)), 16 / 30, 4 / 30)
    np.testing.assert_allclose(printed, expected, rtol=rounding)


def test_losses_inside_a_trace():
    """All that they are made of is known there too."""
    problem = LeakyParities(4, 0.2)
    traced = jax.jit(lambda: lp.losses_after_step(problem))()
    np.testing.assert_allclose(traced, lp.losses_after_step(problem), rtol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_all_members_have_loss_alpha(version):
    losses = lp.losses_after_step(LeakyParities(6, 0.3), repaired=version)
    np.testing.assert_allclose(losses, 0.3, atol=200 * EPS)
    assert len(losses) == 2**6 - 6 - 1


def test_ten_bits_on_all_members():
    losses = lp.losses_after_step(LeakyParities(10, 0.05))
    assert len(losses) == 1013
    np.testing.assert_allclose(losses, 0.05, atol=200 * EPS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("alpha", [0.01, 0.2, 0.9])
def test_losses_of_any_step_against_the_oracle(version, alpha):
    problem = LeakyParities(6, alpha)
    found = lp.losses_after_step(problem, step_size=1.0, repaired=version)
    for number, subset in enumerate(problem.subsets()):
        if number % 9 == 0 or len(subset) == 6:
            theta = np.where(np.isin(np.arange(6), subset), 16, 4) * alpha / 3
            expected = loss_of(theta, subset, alpha, version)
            assert float(found[number]) == pytest.approx(expected, abs=2e3 * EPS)


def test_the_printed_step_of_the_source():
    """The case of the errata: n = 10, α = 0.2, three bits."""
    theta = np.where(np.arange(10) < 3, 16, 4) * 0.2 / 3
    assert loss_of(theta, (0, 1, 2), 0.2, False) == pytest.approx(0.547, abs=5e-4)


@settings(max_examples=10)
@given(seed=seeds, alpha=alphas)
def test_any_error_up_to_tau_is_survived(seed, alpha):
    rng = np.random.default_rng(seed)
    problem, subset = LeakyParities(6, alpha), (0, 2, 3)
    direction = rng.normal(size=6) if seed % 2 else np.eye(6)[seed % 6]
    error = direction / np.linalg.norm(direction) * lp.leaky_tolerated_error(problem)
    theta = lp.leaky_one_step(problem, subset, error=jnp.asarray(error, FLOAT))
    found = loss_of(np.asarray(theta, float), subset, alpha, True)
    assert found == pytest.approx(alpha, abs=200 * EPS)


def test_the_worst_error_is_found_and_belongs_to_its_loss():
    problem, subset = LeakyParities(6, 0.2), (0, 1, 2)
    tau = lp.leaky_tolerated_error(problem)
    search = functools.partial(lp.worst_leaky_error, problem, subset, starts=4, steps=20)
    assert float(search(tau).loss) == pytest.approx(0.2, abs=1e-5)
    worst = search(1.5 * tau)
    assert worst.loss.dtype == worst.error.dtype == FLOAT
    assert np.linalg.norm(worst.error) == pytest.approx(1.5 * tau, rel=1e-5)
    # No longer selecting a bit of I on any input costs ½ on the uniform part at least.
    assert float(worst.loss) > 0.39
    theta = np.asarray(lp.leaky_one_step(problem, subset, error=worst.error), float)
    assert loss_of(theta, subset, 0.2, True) == pytest.approx(float(worst.loss), abs=1e-4)


# --- the tangent kernel and the network ---------------------------------------------------------


@pytest.mark.float64
@pytest.mark.parametrize("version", VERSIONS)
def test_the_tangent_kernel_by_differences(version):
    x = np.asarray(hypercube(4))
    slope, value = slope_of(np.zeros(4), x, 0.3, version), oracle(np.zeros(4), x, 0.3, version)
    expected = np.outer(value, value) + slope @ slope.T
    found = lp.leaky_tangent_kernel(x, x, 0.3)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_printed_kernel_by_hand(dtype):
    x = jnp.asarray([[1, 1, 1], [1, -1, -1]], dtype)
    printed = lp.leaky_tangent_kernel(x, x, 0.3, printed=True)
    np.testing.assert_allclose(printed, [[14, -2], [-2, 14]], rtol=1e-6)
    corrected = lp.leaky_tangent_kernel(x, x[:1], 0.3)
    assert corrected.dtype == dtype
    # x + ½: (1.5, 1.5, 1.5) and (1.5, −0.5, −0.5).
    np.testing.assert_allclose(corrected, [[28], [1 + 4 * 0.75]], rtol=1e-6)


@settings(max_examples=15)
@given(seed=seeds, spread=st.floats(0.1, 20))
def test_the_network_equals_the_model(seed, spread):
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-spread, spread, 5) / 5
    x = rng.choice([-1.0, 1.0], (12, 5))
    found = lp.leaky_feed_forward(5, 0.3).apply(jnp.asarray(theta, FLOAT), jnp.asarray(x, FLOAT))
    np.testing.assert_allclose(found, oracle(theta, x, 0.3, True), atol=2e3 * EPS)


@pytest.mark.parametrize("n", [1, 2, 3, 16, 33])
def test_the_size_of_the_network(n):
    network = lp.leaky_feed_forward(n, 0.3)
    assert network.edges == 50 * n + 5
    assert network.depth == 2 * math.ceil(math.log2(n)) + 9


# --- a start at zero ----------------------------------------------------------------------------


def gradient_norms(values, slopes, alpha):
    """By the definition, a member at a time."""
    n = int(math.log2(len(values)))
    points = np.asarray(hypercube(n), float)
    for subset in LeakyParities(n, alpha).subsets():
        parity = np.prod(points[:, list(subset)], axis=1)
        uniform = ((values - parity)[:, None] * slopes).mean(axis=0)
        leak = np.where(np.isin(np.arange(n), subset), 1, -1)
        there = int(np.flatnonzero((points == leak).all(axis=1))[0])
        yield np.linalg.norm((1 - alpha) * uniform + alpha * values[there] * slopes[there])


def test_population_gradients_against_the_definition():
    problem = LeakyParities(4, 0.3)
    network = networks.mlp((3, 1), b_std=1.0)
    params = network.init(jax.random.key(0), 4)
    points = hypercube(4)
    values = np.asarray(network.apply(params, points), float)[:, 0]
    jacobian = jax.jacobian(lambda p: network.apply(p, points)[:, 0])(params)
    leaves = [np.asarray(leaf, float).reshape(16, -1) for leaf in jax.tree.leaves(jacobian)]
    slopes = np.concatenate(leaves, axis=1)
    norms, largest = lp.population_gradients(network.apply, params, problem)
    np.testing.assert_allclose(norms, list(gradient_norms(values, slopes, 0.3)), rtol=2e3 * EPS)
    assert float(largest) == pytest.approx(np.linalg.norm(slopes, axis=1).max(), rel=100 * EPS)


@settings(max_examples=20)
@given(seed=seeds, alpha=alphas, p=st.integers(1, 40))
def test_parseval_bounds_the_gradients_of_any_unbiased_model(seed, alpha, p):
    """Linear models with random features, that is all tangent kernels, at weights 0."""
    features = jnp.asarray(np.random.default_rng(seed).normal(size=(16, p)), FLOAT)
    problem = LeakyParities(4, alpha)
    norms = lp._gradient_norms(
        jnp.zeros(16, FLOAT),
        features,
        jnp.asarray([subset_number(s) for s in problem.subsets()]),
        jnp.asarray(alpha, FLOAT),
    )[0]
    radius = float(jnp.max(jnp.linalg.norm(features, axis=1)))
    mean = float(jnp.sqrt(jnp.mean(norms**2)))
    assert mean <= radius * lp.unbiased_accuracy_bound(problem) * (1 + 100 * EPS)


def test_all_parities_as_features_attain_the_bound():
    problem = LeakyParities(4, 0.3)
    chosen = np.array([np.isin(range(4), subset) for subset in problem.subsets()])

    def apply(theta, x):
        return jnp.prod(jnp.where(chosen, x[:, None], 1.0), axis=2) @ theta

    norms, largest = lp.population_gradients(apply, jnp.zeros(problem.size), problem)
    bound = lp.unbiased_accuracy_bound(problem)
    np.testing.assert_allclose(norms / largest, bound, rtol=100 * EPS)
    assert bound == pytest.approx(0.7 / math.sqrt(11))


# --- bad calls ----------------------------------------------------------------------------------

X = np.ones((3, 4))
PROBLEM = LeakyParities(4, 0.5)
OTHER = SparseParities(4, 2, 0.5)
LARGE = LeakyParities(40, 0.5)  # to count its subsets takes days: refused before that


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lp.leaky_selector(np.ones(3), X, 0.2), r"x must have shape \[N, 3\]"),
        (lambda: lp.leaky_selector(np.ones((1, 4)), X, 0.2), "theta must have 1 axes"),
        (lambda: lp.leaky_selector(np.full(4, np.nan), X, 0.2), "theta must be finite"),
        (lambda: lp.leaky_selector(np.ones(4), X, 1.0), "alpha must lie strictly"),
        (lambda: lp.leaky_selector(np.ones(4), X, 0.2, repaired="H"), "repaired must be True, F"),
        (lambda: lp.leaky_step_size(OTHER), "problem must be LeakyParities, got SparseParities"),
        (lambda: lp.leaky_tolerated_error(OTHER), "problem must be LeakyParities, got Sparse"),
        (lambda: lp.leaky_one_step(OTHER, (0, 1)), "problem must be LeakyParities, got Sparse"),
        (lambda: lp.worst_leaky_error(OTHER, (0, 1), 0.1), "problem must be LeakyParities"),
        (lambda: lp.unbiased_accuracy_bound(OTHER), "problem must be LeakyParities, got Sparse"),
        (lambda: lp.leaky_scale(np.ones(4), np.ones(4), 0.2), "x must have 2 axes"),
        (lambda: lp.leaky_scale(np.ones(4), X, 0.2, repaired=1), "repaired must be True, F"),
        (lambda: lp.leaky_scale_bound(0, 0.2), "n must be at least 1"),
        (lambda: lp.leaky_scale_bound(3, 0.0), "alpha must lie strictly"),
        (lambda: lp.largest_leaky_scale(0, 0.2), "n must be at least 1"),
        (lambda: lp.largest_leaky_scale(3, 2.0), "alpha must lie strictly"),
        (lambda: lp.largest_leaky_scale(3, 0.2, starts=0), "starts must be at least 1"),
        (lambda: lp.largest_leaky_scale(3, 0.2, steps=0), "steps must be at least 1"),
        (lambda: lp.largest_leaky_scale(3, 0.2, repaired="no"), "repaired must be True, F"),
        (lambda: lp.largest_leaky_scale(3, 0.2, dtype=int), "dtype must be a floating-point"),
        (lambda: lp.leaky_one_step(PROBLEM, (1,)), "subset must have at least 2 coordinates"),
        (lambda: lp.leaky_one_step(PROBLEM, (1, 4)), "subset must name coordinates below n = 4"),
        (lambda: lp.leaky_one_step(PROBLEM, (0, 1), error=np.ones(3)), r"error must have shape"),
        (lambda: lp.leaky_one_step(PROBLEM, (0, 1), step_size=math.inf), "step_size must be fin"),
        (lambda: lp.losses_after_step(LARGE), "n must be at most 14"),
        (lambda: lp.losses_after_step(PROBLEM, step_size=math.nan), "step_size must be finite"),
        (lambda: lp.losses_after_step(PROBLEM, repaired=None), "repaired must be True, F"),
        (lambda: lp.losses_after_step((4, 0.5)), "problem must be LeakyParities, got tuple"),
        (lambda: lp.worst_leaky_error(PROBLEM, (0, 1), -1.0), "norm must be at least 0"),
        (lambda: lp.worst_leaky_error(PROBLEM, (0, 1), 1.0, starts=-1), "starts must be at least"),
        (lambda: lp.worst_leaky_error(PROBLEM, (0, 1), 1.0, steps=-1), "steps must be at least 0"),
        (lambda: lp.worst_leaky_error(LARGE, (0, 1), 1.0), r"n must be .*moments\(subset\)"),
        (lambda: lp.leaky_tangent_kernel(X, np.ones((2, 3)), 0.2), "x2 must have points of shape"),
        (lambda: lp.leaky_tangent_kernel(X, X, -0.2), "alpha must lie strictly"),
        (lambda: lp.leaky_feed_forward(0, 0.2), "n must be at least 1"),
        (lambda: lp.leaky_feed_forward(3, 1.2), "alpha must lie strictly"),
        (lambda: lp.population_gradients(lambda t, x: x @ t, jnp.ones(20), LARGE), "n must be at"),
        (
            lambda: lp.population_gradients(lambda t, x: x @ t, jnp.ones(4), None),
            "problem must be LeakyParities, got NoneType",
        ),
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
