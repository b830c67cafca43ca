"""The bounds for every kernel, and kernels to hold against them."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cube_oracles import EPS, FLOAT, cube, parity, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from ntklab import boolean_kernels as bk
from ntklab import networks
from ntklab.cube import (
    hypercube,
    inverse_walsh_hadamard,
    subset_number,
    walsh_hadamard,
)
from ntklab.edges import edges, parity_edges
from ntklab.problems import (
    LeakyParities,
    SparseParities,
    sample_sparse_parity,
)

# --- bounds for every kernel ----------------------------------------------------------------------

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


def test_sign_rank_bound_by_hand():
    """One row of N signs has norm √N, rows that are all alike have √(MN), orthogonal ones √N."""
    row = np.array([[1.0, -1, -1, 1, 1, 1]])
    for repeated in (row, np.repeat(row, 5, axis=0), np.outer([1, -1, 1], row)):
        assert bk.sign_rank_bound(repeated) == pytest.approx(1)
    characters = np.array([[parity(subset, x) for x in cube(4)] for subset in ((0,), (1, 2), (3,))])
    assert bk.sign_rank_bound(characters) == pytest.approx(math.sqrt(3))


# --- example kernels ------------------------------------------------------------------------------


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


def test_narrow_tangent_kernels_have_their_rank():
    """A bias-free network with m hidden units has nm + m gradients; on the cube, at most nm
    dimensions: every output is in the span of its unit's gradients."""
    n = 6
    network = networks.mlp((2, 1))
    params = network.init(jax.random.key(3), n)
    kernel = bk.kernel_of_model(network.apply, lambda: params)
    found = float(jnp.mean(parity_edges(kernel, n)))
    assert found == pytest.approx(2 * n / 2 ** (n + 1), abs=1e4 * EPS)


# --- bad calls ------------------------------------------------------------------------------------

X, KEY = np.ones((2, 3)), jax.random.key(0)
MEMBER = SparseParities(3, 2, 0.5).distribution((0, 1))
LINEAR = lambda x1, x2: x1 @ x2.T  # noqa: E731
WRONG_SIDE = lambda x1, x2: x1 @ x2.T + x1[:, :1]  # noqa: E731


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bk.dimension_bound(-1, 5), "dimension must be at least 0"),
        (lambda: bk.dimension_bound(1, 0), "size must be at least 1"),
        (lambda: bk.published_norm_bound(-1.0, 5), "norm_bound must be at least 0"),
        (lambda: bk.sharp_norm_bound(1.0, 0), "size must be at least 1"),
        (lambda: bk.sharp_norm_bound(math.nan, 1), "norm_bound must be finite"),
        (lambda: bk.largest_mean_edge(1.0, 0), "size must be at least 1"),
        (lambda: bk.largest_mean_edge(1.0, 3, dimension=-1), "dimension must be at least 0"),
        (lambda: bk.sign_rank_bound(np.ones(3)), "signs must have 2 axes"),
        (lambda: bk.sign_rank_bound(np.ones((0, 3))), "signs must be a matrix of entries"),
        (lambda: bk.sign_rank_bound(np.array([[1.0, 0.5]])), "signs must be a matrix of entries"),
        (lambda: bk.example_kernels(1), "n must be at least 2"),
        (lambda: bk.example_kernels(3, seed=-1), "seed must be at least 0"),
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
