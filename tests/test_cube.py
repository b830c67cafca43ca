"""Points, characters and the Walsh–Hadamard transform, against their definitions."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cube_oracles import EPS, cube, subsets
from hypothesis import given, settings
from hypothesis import strategies as st
from ntklab.cube import (
    biased_character,
    character,
    hypercube,
    inverse_walsh_hadamard,
    krawtchouk,
    product_probabilities,
    subset_number,
    walsh_hadamard,
)
from ntklab.edges import edges
from ntklab.problems import (
    LeakyParities,
    SparseParities,
)


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


@pytest.mark.parametrize("n", [1, 2, 5])
def test_krawtchouk_polynomials_sum_the_characters(n):
    found = krawtchouk(n)
    for j in range(n + 1):
        total = sum(
            np.prod(cube(n)[:, list(subset)], axis=1)
            for subset in itertools.combinations(range(n), j)
        )
        minus = np.sum(cube(n) < 0, axis=1)
        np.testing.assert_array_equal(found[j][minus], total)


def test_krawtchouk_polynomials_are_whole_where_their_terms_cancel():
    """At n = 40 the terms reach 1e22; half of the signs are −1 at h = 20, and only squares stay."""
    assert krawtchouk(40)[20, 20] == math.comb(20, 10)
    assert not np.any(krawtchouk(40)[1::2, 20])


def test_a_wrong_size_of_krawtchouk_polynomials_is_named():
    with pytest.raises(ValueError, match=r"^n must be at least 1"):
        krawtchouk(0)


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
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
