"""The two families of parities: their laws, moments and samples."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cube_oracles import EPS, cube, parity
from hypothesis import given, settings
from hypothesis import strategies as st
from ntklab.problems import (
    LeakyParities,
    SparseParities,
    sample_sparse_parity,
    square_loss,
)


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


# --- bad calls ----------------------------------------------------------------------------------

X, KEY = np.ones((2, 3)), jax.random.key(0)
MEMBER = SparseParities(3, 2, 0.5).distribution((0, 1))
LINEAR = lambda x1, x2: x1 @ x2.T  # noqa: E731
WRONG_SIDE = lambda x1, x2: x1 @ x2.T + x1[:, :1]  # noqa: E731


@pytest.mark.parametrize(
    "call, message",
    [
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
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
