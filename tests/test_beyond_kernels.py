"""Depth against width, long steps, small starts, and the kernel as an instrument."""

import itertools
import math
import sys
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ntklab import _extras, networks
from ntklab import beyond_kernels as bk
from ntklab.tangent_kernel import empirical_ntk

FLOAT = jnp.result_type(float)
EPS = float(jnp.finfo(FLOAT).eps)


# --- depth against width ------------------------------------------------------------------------


def pair_sum(widths):
    """The second moment as a double sum over layers of weights, in fractions."""
    layers = len(widths) + 1
    total = Fraction(0)
    for first, second in itertools.product(range(layers), repeat=2):
        low, high = sorted((first, second))
        outside = math.prod(Fraction(m + 5, m) for m in [*widths[:low], *widths[high:]])
        plus = math.prod(Fraction(m + 5, m) for m in widths[low:high])
        minus = math.prod(Fraction(m - 1, m) for m in widths[low:high])
        total += outside * (plus + 2 * minus) / 3
    return total / layers**2


def test_second_moments_known_beforehand():
    assert bk.kernel_second_moment([3, 5]) == pytest.approx(32 / 9, rel=1e-14)
    for depth, value in {5: 1.187, 10: 1.430, 20: 2.105}.items():
        assert bk.kernel_second_moment([100] * depth) == pytest.approx(value, abs=5e-4)
    for m in (1, 2, 17, 10**6):
        assert bk.kernel_second_moment((m,)) == pytest.approx(1 + 3 / m, rel=1e-14)
    # Of one unit a layer, all active or not: 6^L, when every pair has only its first term.
    assert bk.kernel_second_moment([1] * 4) == pytest.approx(6**4 / 3 * (1 + 2 / 5), rel=1e-14)


@given(widths=st.lists(st.integers(1, 40), min_size=1, max_size=7))
def test_the_second_moment_is_the_double_sum(widths):
    found = bk.kernel_second_moment(np.array(widths))
    assert found == pytest.approx(float(pair_sum(widths)), rel=1e-13)
    assert bk.kernel_second_moment(widths[::-1]) == pytest.approx(found, rel=1e-13)


@pytest.mark.parametrize("widths", [(1,), (3,), (2, 1), (1, 2), (2, 2), (1, 1, 1, 1), (2, 1, 1)])
def test_the_second_moment_by_enumeration(widths):
    """All masks, and weights −√3, 0, √3, which have the moments of a normal up to the fifth."""
    shapes = list(itertools.pairwise((1, *widths, 1)))
    count = sum(a * b for a, b in shapes)
    points = np.array([-math.sqrt(3), 0.0, math.sqrt(3)])
    grid = np.stack(np.meshgrid(*[points] * count, indexing="ij"), axis=-1).reshape(-1, count)
    chance = np.prod(np.where(grid == 0, 2 / 3, 1 / 6), axis=1)
    moments = np.zeros(2)
    for mask in itertools.product((0.0, 1.0), repeat=sum(widths)):
        units, left = np.split(np.array(mask), np.cumsum(widths))[:-1], grid
        matrices = []
        for fan_in, fan_out in shapes:
            matrices.append(left[:, : fan_in * fan_out].reshape(-1, fan_out, fan_in))
            left = left[:, fan_in * fan_out :]
        # Gains: a factor 2/fan_in for each matrix, in the layer itself too.
        total = 0.0
        for layer, (fan_in, _) in enumerate(shapes):
            others = math.prod(2 / f for i, (f, _) in enumerate(shapes) if i != layer)
            forward, back = np.ones((len(grid), 1)), np.ones((len(grid), 1))
            for w, unit in zip(matrices[:layer], units[:layer], strict=True):
                forward = unit * np.einsum("nij,nj->ni", w, forward)
            for w, unit in zip(matrices[:layer:-1], units[layer:][::-1], strict=True):
                back = unit * np.einsum("nij,ni->nj", w, back)
            total = total + others * 2 / fan_in * np.sum(forward**2, 1) * np.sum(back**2, 1)
        moments += np.array([chance @ total, chance @ total**2]) / 2 ** sum(widths)
    assert bk.kernel_second_moment(widths) == pytest.approx(moments[1] / moments[0] ** 2, rel=1e-12)


def test_the_limit_of_the_second_moment():
    for s in (0.01, 0.2, 1.0, 2.0):
        m = 4000
        found = bk.kernel_second_moment([m] * round(s * m))
        assert found == pytest.approx(bk.second_moment_limit(s), rel=20 * (s + 0.1) / m)
    # Both forms of the mean over the square, by Simpson's rule.
    for s in (0.3, 0.0016, 0.0017):
        grid = np.linspace(0, 1, 2001)
        weights = np.full(2001, 2 / 3) + np.where(np.arange(2001) % 2, 2 / 3, 0)
        weights[[0, -1]] = 1 / 3
        mean = np.sum(weights * 2 * (1 - grid) * np.exp(-6 * s * grid)) / 2000
        expected = math.exp(5 * s) / 3 * (1 + 2 * mean)
        assert bk.second_moment_limit(s) == pytest.approx(expected, rel=1e-12)
    assert bk.second_moment_limit(0) == 1
    assert bk.second_moment_limit(200.0) == math.inf
    assert bk.kernel_second_moment([1] * 1000) == math.inf


@pytest.mark.parametrize("m", [1, 2, 5])
def test_moments_of_the_last_layer_by_enumeration(m):
    for q in range(4):
        expected = Fraction(0)
        for k in range(m + 1):
            rising = math.prod(k + 2 * j for j in range(q))
            expected += Fraction(math.comb(m, k), 2**m) * Fraction(2, m) ** q * rising
        assert bk.last_layer_moment([m], q) == pytest.approx(float(expected), rel=1e-12)
        assert bk.last_layer_moment([m, 3], q) == pytest.approx(
            float(expected) * bk.last_layer_moment([3], q), rel=1e-12
        )
    assert bk.last_layer_moment([m], 2) == pytest.approx(1 + 5 / m, rel=1e-12)
    assert bk.last_layer_moment([2000], 2) == pytest.approx(1 + 5 / 2000, rel=1e-11)
    assert bk.last_layer_moment([1] * 500, 4) == math.inf


def test_shares_are_those_of_a_network():
    """The same weights in `networks.mlp`, whose kernel is taken by automatic differentiation."""
    widths, draws = (4, 3), 5
    found = np.asarray(bk.kernel_shares(7, widths, draws), float)
    rng = np.random.default_rng(7)
    shapes = itertools.pairwise((1, *widths, 1))
    weights = [rng.standard_normal((draws, b, a), np.float32) for a, b in shapes]
    network = networks.mlp((*widths, 1), w_std=math.sqrt(2))
    for draw in range(draws):
        params = tuple({"weight": jnp.asarray(w[draw], FLOAT)} for w in weights)
        gradient = jax.grad(lambda p: network.apply(p, jnp.ones((1, 1), FLOAT))[0, 0])(params)
        expected = [float(jnp.sum(layer["weight"] ** 2)) / 2 for layer in gradient]
        np.testing.assert_allclose(found[draw], expected, rtol=1e-5)


def test_shares_have_their_moments():
    """Second moments of all pairs of layers, at five standard errors of their own samples."""
    widths, draws = (8, 6), 40_000
    shares = np.asarray(bk.kernel_shares(1, widths, draws), float)
    assert shares.shape == (draws, 3)
    products = shares[:, :, None] * shares[:, None, :]
    every = (1 + 5 / 8) * (1 + 5 / 6)
    expected = np.full((3, 3), every)
    expected[0, 1] = expected[1, 0] = (1 + 1 / 8) * (1 + 5 / 6)
    expected[1, 2] = expected[2, 1] = (1 + 5 / 8) * (1 + 1 / 6)
    expected[0, 2] = expected[2, 0] = (every + 2 * (1 - 1 / 8) * (1 - 1 / 6)) / 3
    errors = np.std(products, axis=0) / math.sqrt(draws)
    assert np.all(np.abs(np.mean(products, axis=0) - expected) < 5 * errors)
    assert np.all(np.abs(np.mean(shares, axis=0) - 1) < 5 * np.std(shares, axis=0) / 200)


def test_shares_are_drawn_in_blocks():
    """More weights than a block holds: 60 networks of 3 · 10⁵."""
    shares = np.asarray(bk.kernel_shares(0, [600, 500], 70))
    assert shares.shape == (70, 3)
    assert len(np.unique(shares[:, 0])) == 70
    assert np.all(np.abs(np.mean(shares, axis=0) - 1) < 0.1)


# --- long steps ---------------------------------------------------------------------------------


def descend(u, v, step, steps):
    """Descent on ½f² for f = u·v/√m, in the weights."""
    states = []
    for _ in range(steps + 1):
        states.append((step * (u @ u + v @ v) / len(u), step * (u @ v) / len(u)))
        f = u @ v / math.sqrt(len(u))
        u, v = u - step * f * v / math.sqrt(len(u)), v - step * f * u / math.sqrt(len(u))
    return np.array(states)


@pytest.mark.parametrize("step", [0.5, 1.1, 1.5])
def test_the_map_is_descent_in_the_weights(step, dtype):
    u, v = np.random.default_rng(3).normal(size=(2, 30))
    expected = descend(u, v, step, 12)
    kappa, phi = bk.catapult_state(u, v, step)
    assert (kappa, phi) == pytest.approx(tuple(expected[0]), rel=10 * EPS)
    path = bk.catapult(jnp.asarray(kappa, dtype), jnp.asarray(phi, dtype), 12)
    assert path.kappa.dtype == path.phi.dtype == dtype
    rounding = 1e5 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(path.kappa, expected[:, 0], atol=rounding)
    np.testing.assert_allclose(path.phi, expected[:, 1], atol=rounding)


def test_starts_are_broadcast_and_divergence_is_infinite():
    kappas = np.array([1.0, 3.0, 4.5])
    path = bk.catapult(kappas, 0.1, 200)
    assert path.phi.shape == (201, 3)
    for i, kappa in enumerate(kappas):
        alone = bk.catapult(float(kappa), 0.1, 200)
        np.testing.assert_array_equal(path.kappa[:, i], alone.kappa)
    assert np.all(np.isinf(path.kappa[-1, 2])) and np.all(np.isinf(path.phi[-1, 2]))
    assert not np.any(np.isnan(path.phi))
    np.testing.assert_allclose(path.phi[-1, :2], 0, atol=1e-6)
    assert np.all(np.asarray(path.kappa[-1, :2]) < 2)


def test_the_map_at_its_edges():
    # κ = 4 stays, and φ = 2 cos ω has its angle tripled.
    path = bk.catapult(4.0, 2 * math.cos(0.3), 5)
    np.testing.assert_allclose(path.kappa, 4, atol=20 * EPS)
    np.testing.assert_allclose(
        path.phi, 2 * np.cos(0.3 * 3.0 ** np.arange(6)), atol=500 * 3**5 * EPS
    )
    still = bk.catapult(7.0, 0.0, 3)
    np.testing.assert_array_equal(still.kappa, 7)
    # u = v: κ = 2φ for all time, in the type of a network in float32 too.
    edge = bk.catapult(jnp.float32(0.7), jnp.float32(0.35), 3)
    np.testing.assert_allclose(edge.kappa, 2 * edge.phi, rtol=1e-6)


# --- small starts -------------------------------------------------------------------------------


def test_a_linear_network_and_its_kernel(dtype):
    rng = np.random.default_rng(0)
    weights, output, x = rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=(5, 4))
    params = jnp.asarray(weights, dtype), jnp.asarray(output, dtype)
    points = jnp.asarray(x, dtype)
    rounding = 200 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(
        bk.linear_network(params, points), x @ weights.T @ output, atol=rounding
    )
    matrix = weights.T @ weights + output @ output * np.eye(4)
    found = empirical_ntk(bk.linear_network, params, points)
    np.testing.assert_allclose(found, x @ matrix @ x.T, atol=20 * rounding)


def test_the_shape_bound_by_hand():
    assert bk.shape_bound(0.0, 3.0) == 0
    assert bk.shape_bound(0.5, 2.0) == 0.25 + 3 / 16


# --- an instrument ------------------------------------------------------------------------------


def test_digits_are_split():
    found = bk.digits(3, 100)
    assert found.x.shape == (100, 64) and found.x_new.shape == (1697, 64)
    assert found.x.dtype == found.y_new.dtype == FLOAT
    every = np.concatenate([found.x, found.x_new])
    np.testing.assert_allclose(np.linalg.norm(every, axis=1), 8, rtol=1e-5)
    labels = np.concatenate([found.digit, found.digit_new])
    np.testing.assert_array_equal(np.bincount(labels)[:3], [178, 182, 177])
    np.testing.assert_allclose(np.concatenate([found.y, found.y_new]), np.eye(10)[labels] - 0.1)
    # As many different images as there are, and another order for another seed.
    assert len(np.unique(every.round(4), axis=0)) == 1797
    assert not np.array_equal(found.digit, bk.digits(4, 100).digit)
    np.testing.assert_array_equal(found.x, bk.digits(3, 100).x)


def test_digits_name_the_extra_that_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(_extras.MissingExtra, match="book"):
        bk.digits(0, 10)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_regression_with_the_kernel_as_it_is(ridge):
    rng = np.random.default_rng(5)
    network = networks.mlp((6, 3), activation="tanh")
    params = network.init(jax.random.key(0), 4)
    x, x_new = (jnp.asarray(rng.normal(size=(n, 4)), FLOAT) for n in (7, 2))
    y = jnp.asarray(rng.normal(size=(7, 3)), FLOAT)

    def flat_jacobian(points):
        jacobian = jax.jacobian(network.apply)(params, points)
        leaves = [
            np.asarray(leaf, float).reshape(len(points), 3, -1)
            for leaf in jax.tree.leaves(jacobian)
        ]
        return np.concatenate(leaves, axis=2).reshape(len(points), -1)

    rows, rows_new = flat_jacobian(x), flat_jacobian(x_new)
    kernel = rows @ rows.T
    strength = ridge * np.mean(np.diag(kernel))
    weights = np.linalg.solve(kernel + strength * np.eye(7), np.asarray(y, float))
    found = bk.after_kernel(network.apply, params, x, y, x_new, ridge=ridge)
    np.testing.assert_allclose(found, rows_new @ rows.T @ weights, atol=1e6 * EPS)


# --- bad calls ----------------------------------------------------------------------------------

EYE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bk.kernel_second_moment([]), "widths must be a sequence of positive integers"),
        (lambda: bk.kernel_second_moment(5), "widths must be a sequence of positive integers"),
        (lambda: bk.kernel_second_moment([4, 0]), r"widths\[1\] must be at least 1, got 0"),
        (lambda: bk.kernel_second_moment([-3]), r"widths\[0\] must be at least 1, got -3"),
        (lambda: bk.kernel_second_moment([2.5]), r"widths\[0\] must be an integer, got 2\.5"),
        (lambda: bk.second_moment_limit(-0.1), "ratio must be at least 0"),
        (lambda: bk.second_moment_limit(math.nan), "ratio must be finite"),
        (lambda: bk.last_layer_moment([0], 2), r"widths\[0\] must be at least 1"),
        (lambda: bk.last_layer_moment([3], -1), "order must be at least 0"),
        (lambda: bk.last_layer_moment([3], 0.5), "order must be an integer"),
        (lambda: bk.kernel_shares(-1, [3], 2), "seed must be at least 0"),
        (lambda: bk.kernel_shares(0, [3, 0], 2), r"widths\[1\] must be at least 1"),
        (lambda: bk.kernel_shares(0, [3], 0), "draws must be at least 1"),
        (lambda: bk.catapult(0.0, 0.0, 1), "kappa must be greater than 0, got 0"),
        (lambda: bk.catapult([1.0, -2.0], 0.0, 1), "kappa must be greater than 0, got -2"),
        (lambda: bk.catapult(math.nan, 0.0, 1), "kappa must be finite"),
        (
            lambda: bk.catapult([9.0, 1.0], -0.6, 1),
            r"phi must be at most kappa/2 in absolute value, got -0\.6 at kappa = 1",
        ),
        (lambda: bk.catapult(1.0, math.inf, 1), "phi must be finite"),
        (lambda: bk.catapult(np.ones(2), np.zeros(3), 1), "phi must have a shape that fits"),
        (lambda: bk.catapult(1.0, 0.0, -1), "steps must be at least 0"),
        (lambda: bk.catapult_state(np.ones(2), np.ones(3), 0.1), "v must have u's shape"),
        (lambda: bk.catapult_state(np.ones(2), np.ones(2), 0.0), "step_size must be greater"),
        (lambda: bk.catapult_state(np.ones((2, 1)), np.ones(2), 0.1), "u must have 1 axes"),
        (lambda: bk.shape_bound(-1.0, 1.0), "start_norm must be at least 0"),
        (lambda: bk.shape_bound(1.0, 0.0), "output_norm must be greater than 0"),
        (lambda: bk.digits(0, 0), "train must be at least 1"),
        (lambda: bk.digits(0, 1797), "train must be below 1797, the number of images, got 1797"),
        (lambda: bk.digits(-1, 10), "seed must be at least 0"),
        (
            lambda: bk.after_kernel(
                bk.linear_network,
                (np.eye(2), np.ones(2)),
                np.eye(2),
                np.ones(2),
                np.eye(2),
                ridge=-1,
            ),
            "ridge must be at least 0",
        ),
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
