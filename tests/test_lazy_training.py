"""Lazy bounds against models solved by hand, and implicit minimizers against other solvers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from ntklab import convergence, lazy_training, networks
from ntklab.convergence import Constants
from ntklab.gradient_flow import network_flow
from ntklab.lazy_training import (
    diagonal_network,
    diagonal_start,
    implicit_minimizer,
    implicit_penalty,
    label_alignment,
    lazy_bounds,
    least_absolute_sum,
    mirrored_start,
    relative_change,
    relu_sum,
    scaled,
    sparsity_bound,
    teacher_problem,
)
from ntklab.tangent_kernel import empirical_ntk

LINE = Constants(1, 1, 2.0, 2.0, 2.0, 3.0, 0.5, 4.0)


# --- the scale of the output --------------------------------------------------------------------


def test_a_scaled_network_has_a_scaled_output_and_kernel(dtype):
    network = networks.shallow(8, activation="tanh")
    params = network.init(jax.random.key(0), 3, dtype=dtype)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), dtype)
    large = scaled(network, 3.0)
    np.testing.assert_array_equal(large.init(jax.random.key(0), 3, dtype=dtype), params)
    assert large.apply(params, x).dtype == dtype
    rounding = 100 * float(jnp.finfo(dtype).eps)
    one, nine = (empirical_ntk(n.apply, params, x) for n in (network, large))
    np.testing.assert_allclose(nine, 9 * one, rtol=rounding, atol=rounding)
    np.testing.assert_allclose(
        large.apply(params, x), 3 * network.apply(params, x), rtol=rounding, atol=rounding
    )
    assert large.apply == scaled(network, 3.0).apply and hash(large.apply) == hash(
        scaled(network, 3.0).apply
    )


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scale", [0.8, 2.0, 50.0])
def test_bounds_of_a_parabola(scale, sign):
    """f = σ₀θ ± Lθ²/2 from θ = 0 to αf = ρ₀, solved by hand."""
    sigma, slope, rho = LINE.sigma_min, LINE.lipschitz, LINE.residual_norm
    bounds = lazy_bounds(LINE, scale)
    threshold = 2 * slope * rho / sigma**2
    assert bounds.threshold == pytest.approx(threshold)
    root = math.sqrt(sigma**2 + sign * 2 * slope * rho / scale)
    distance = abs(root - sigma) / slope
    change = abs(root**2 - sigma**2)
    assert bounds.rate == pytest.approx(sigma**2 * (1 - threshold / scale))
    if sign < 0:
        # The parabola that flattens needs all of the distance and ends at all of the rate.
        assert bounds.distance == pytest.approx(distance)
        assert bounds.rate == pytest.approx(root**2)
    else:
        assert bounds.distance > distance
    assert change <= bounds.kernel_change
    if scale > 10:
        assert bounds.kernel_change < 1.03 * change


def test_no_promise_below_the_threshold_and_all_of_it_for_a_linear_model():
    for scale in (0.1, 0.75):
        assert lazy_bounds(LINE, scale)[1:] == (0.0, math.inf, math.inf, math.inf)
    assert lazy_bounds(LINE, 0.7501).rate > 0
    line = LINE._replace(lipschitz=0.0)
    assert lazy_bounds(line, 0.01) == (0.0, 4.0, 150.0, 0.0, 0.0)
    singular = LINE._replace(sigma_min=0.0)
    assert lazy_bounds(singular, 1e6).distance == math.inf
    assert lazy_bounds(singular, 1e6).threshold == math.inf


def test_the_gap_to_the_linearized_parabola_is_below_its_bound():
    """Both flows in closed form: u of the parabola by its residual, ū by the exponential."""
    sigma, slope, rho = LINE.sigma_min, LINE.lipschitz, LINE.residual_norm
    scale = 20.0
    t = np.linspace(0, 5, 400)
    c = sigma**2 - 2 * slope * rho / scale
    # ρ̇ = −(c + 2Lρ/α)ρ, a logistic equation.
    left = c * rho / ((c + 2 * slope * rho / scale) * np.exp(c * t) - 2 * slope * rho / scale)
    gap = np.max(np.abs(left - rho * np.exp(-(sigma**2) * t)))
    bound = lazy_bounds(LINE, scale).prediction_gap
    assert 0.35 * bound < gap <= bound


@pytest.mark.float64
def test_bounds_hold_on_a_network_beside_its_linearization():
    x = np.random.default_rng(0).normal(size=(3, 6))
    x, y = jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True)), jnp.array([1.0, -1.0, 1.0])
    network = networks.unbiased(networks.shallow(64, activation="tanh"))
    params = network.init(jax.random.key(1), 6)
    found = convergence.constants(network, params, x, y)
    scale = 1.5 * lazy_bounds(found, 1.0).threshold
    bounds = lazy_bounds(found, scale)
    times = np.linspace(0, 8, 9)
    path = network_flow(scaled(network, scale).apply, params, x, y, times / scale**2)
    start = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    first = np.asarray(empirical_ntk(network.apply, params, x))
    values, vectors = np.linalg.eigh(first)
    for i, t in enumerate(times):
        place = jax.tree.map(lambda leaf, i=i: leaf[i], path)
        flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(place)])
        outputs = scale * np.asarray(network.apply(place, x))[:, 0]
        lazy = vectors @ ((1 - np.exp(-values * t)) * (vectors.T @ np.asarray(y)))
        kernel = np.asarray(empirical_ntk(network.apply, place, x))
        assert np.linalg.norm(flat - start) <= bounds.distance
        assert np.linalg.norm(kernel - first, 2) <= bounds.kernel_change
        assert np.linalg.norm(outputs - lazy) <= bounds.prediction_gap
        assert np.linalg.norm(outputs - y) <= np.sqrt(3) * np.exp(-bounds.rate * t) + 1e-9


# --- kernels ------------------------------------------------------------------------------------


def test_change_and_alignment_by_hand(dtype):
    before = jnp.asarray([[2, 1], [1, 2]], dtype)
    after = jnp.asarray([[2, 4], [4, 2]], dtype)
    assert relative_change(before, after) == pytest.approx(math.sqrt(18 / 10))
    y = jnp.asarray([1, 0], dtype)
    # Centred, both are multiples of (1, −1)(1, −1)ᵀ: only its sign is left.
    assert label_alignment(before, y) == pytest.approx(1)
    assert label_alignment(jnp.eye(4, dtype=dtype), jnp.asarray([1, 0, 0, 0], dtype)) == (
        pytest.approx(1 / math.sqrt(3))
    )


def test_alignment_ignores_constants():
    rng = np.random.default_rng(0)
    factor, y = rng.normal(size=(5, 5)), rng.normal(size=5)
    kernel = factor @ factor.T
    centre = np.eye(5) - 1 / 5
    expected = (
        y
        @ centre
        @ kernel
        @ centre
        @ y
        / (y @ centre @ y * np.linalg.norm(centre @ kernel @ centre))
    )
    assert label_alignment(kernel, y) == pytest.approx(expected, rel=1e-5)
    assert label_alignment(7 * kernel + 100, 3 * y - 50) == pytest.approx(expected, rel=1e-3)


def test_alignment_of_several_outputs():
    rng = np.random.default_rng(0)
    factor, y = rng.normal(size=(6, 6)), rng.normal(size=(6, 2))
    kernel, centre = factor @ factor.T, np.eye(6) - 1 / 6
    middle, target = centre @ kernel @ centre, centre @ y @ y.T @ centre
    expected = np.sum(middle * target) / np.linalg.norm(middle) / np.linalg.norm(target)
    assert label_alignment(kernel, y) == pytest.approx(expected, rel=1e-5)
    alone = label_alignment(kernel, y[:, 0])
    assert label_alignment(kernel, y[:, :1]) == pytest.approx(alone, rel=1e-5)


# --- student and teacher ------------------------------------------------------------------------


def test_a_mirrored_start_is_zero_and_normal(dtype):
    weights, outputs = mirrored_start(jax.random.key(0), 4, pairs=500, std=0.5, dtype=dtype)
    assert weights.shape == (1000, 4) and weights.dtype == outputs.dtype == dtype
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 4)), dtype)
    # Partners follow each other, so that their sum is 0 in any order that keeps pairs together.
    kept = np.asarray(jnp.maximum(x @ weights.T, 0) * outputs).reshape(7, 500, 2)
    np.testing.assert_array_equal(np.sum(kept, axis=2), 0)
    assert np.max(np.abs(relu_sum((weights, outputs), x))) < 500 * float(jnp.finfo(dtype).eps)
    # 2500 normals: the standard deviation of their mean square is √(2/2500), of 4.5 of which one
    # true start in 100,000 is outside.
    drawn = np.concatenate([np.ravel(weights[::2]), np.asarray(outputs[::2])]) / 0.5
    assert abs(np.mean(drawn**2) - 1) < 4.5 * math.sqrt(2 / drawn.size)


def test_a_scale_of_the_weights_is_a_scale_of_the_output():
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.normal(size=(6, 3))), jnp.asarray(rng.normal(size=6))
    x = jnp.asarray(rng.normal(size=(4, 3)))
    larger = jax.tree.map(lambda leaf: 3 * leaf, params)
    np.testing.assert_allclose(relu_sum(larger, x), 9 * relu_sum(params, x), rtol=1e-5)
    one, nine = (empirical_ntk(relu_sum, place, x) for place in (params, larger))
    np.testing.assert_allclose(nine, 9 * one, rtol=1e-4)


def test_a_teacher_labels_points_of_the_sphere():
    problem = teacher_problem(3, d=5, points=40, units=3)
    x, v = (np.asarray(a, float) for a in (problem.x, problem.directions))
    for vectors in (x, v):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    y = sum(s * np.maximum(x @ v[k], 0) for k, s in enumerate((1, -1, 1)))
    np.testing.assert_allclose(problem.y, y, atol=1e-5)
    other = teacher_problem(4, d=5, points=40, units=3)
    assert not np.allclose(problem.x, other.x)


# --- the diagonal network -----------------------------------------------------------------------


def test_the_diagonal_network_by_hand(dtype):
    u, v = jnp.asarray([2, 1], dtype), jnp.asarray([1, 3], dtype)
    x = jnp.asarray([[1, 1], [0, 2]], dtype)
    np.testing.assert_array_equal(diagonal_network((u, v), x), [3 - 8, -16])
    start = diagonal_start(3, 0.5)
    x = jnp.asarray([[1, 2, 3], [0, 1, 0]], start[0].dtype)
    np.testing.assert_array_equal(diagonal_network(start, x), 0)
    np.testing.assert_allclose(empirical_ntk(diagonal_network, start, x), 8 * 0.25 * (x @ x.T))


def test_the_penalty_is_an_integral():
    for scale in (0.3, 2.0):
        beta = np.array([1.5, -0.2])
        integral = sum(
            scale**2 * scipy.integrate.quad(lambda s: math.asinh(s / 2), 0, b / scale**2)[0]
            for b in beta
        )
        # The argument passes through float32 where JAX's floats are.
        assert implicit_penalty(beta, scale) == pytest.approx(integral, rel=1e-6)


@pytest.mark.float64
@pytest.mark.parametrize("scale", [0.05, 0.5, 3.0])
def test_the_minimizer_against_a_general_solver(scale):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(3, 7)), rng.normal(size=3)
    beta = implicit_minimizer(x, y, scale)
    np.testing.assert_allclose(x @ beta, y, atol=1e-12)
    # Over the affine space of solutions, from another of them.
    particular = np.linalg.pinv(x) @ y
    kernel = np.linalg.svd(x)[2][3:].T
    found = scipy.optimize.minimize(
        lambda z: implicit_penalty(particular + kernel @ z, scale),
        np.zeros(4),
        jac=lambda z: kernel.T @ np.arcsinh((particular + kernel @ z) / (2 * scale**2)),
        method="BFGS",
        options={"gtol": 1e-9},
    )
    np.testing.assert_allclose(beta, particular + kernel @ found.x, atol=1e-6)


def test_the_minimizer_at_extreme_scales():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 9)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    least = np.linalg.pinv(x.astype(float)) @ y.astype(float)
    np.testing.assert_allclose(implicit_minimizer(x, y, 1e3), least, rtol=1e-6)
    sparse = least_absolute_sum(x, y)
    assert np.sum(np.abs(sparse) > 1e-9) == 4
    np.testing.assert_allclose(implicit_minimizer(x, y, 1e-30), sparse, atol=1e-6)
    assert np.all(implicit_minimizer(x, 0 * y, 1.0) == 0)


def test_the_least_absolute_sum_by_vertices():
    """Every solution with two nonzero entries, one of which is best."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 5)).astype(np.float32), rng.normal(size=2).astype(np.float32)
    sums = [
        np.sum(np.abs(np.linalg.solve(x[:, [i, j]].astype(float), y)))
        for i in range(5)
        for j in range(i)
    ]
    found = least_absolute_sum(x, y)
    np.testing.assert_allclose(x @ found, y, atol=1e-6)
    assert np.sum(np.abs(found)) == pytest.approx(min(sums), rel=1e-6)


@pytest.mark.parametrize(("d", "scale"), [(3, 1e-3), (50, 1e-6), (4000, 1e-12)])
def test_the_sparsity_bound_holds_where_it_is_hardest(d, scale):
    x = np.ones((1, d))
    bound = sparsity_bound(scale, d=d, least=1.0)
    logarithm = -2 * math.log(scale)
    excesses = []
    for c in np.linspace(0.1, math.log(d), 12):
        x[0, 1:] = 1 - c / logarithm
        excesses.append(np.sum(np.abs(implicit_minimizer(x, np.ones(1), scale))) - 1)
    assert 0.3 * (bound - 1) < max(excesses) <= bound - 1


def test_the_sparsity_bound_by_hand_and_without_a_promise():
    assert sparsity_bound(math.exp(-5), d=1, least=1.0) == pytest.approx(
        (1 + math.exp(-10)) * (10 + math.exp(-10)) / 10
    )
    assert sparsity_bound(0.5, d=4, least=1.0) == math.inf
    # Only the ratio of ℓ and α² counts.
    assert sparsity_bound(0.01, d=7, least=3.0) == pytest.approx(
        sparsity_bound(0.02, d=7, least=12.0)
    )


# --- bad arguments ------------------------------------------------------------------------------

NETWORK = networks.shallow(2)
KEY = jax.random.key(0)
EYE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: scaled(NETWORK.apply, 1.0), "network"),
        (lambda: scaled(NETWORK, 0.0), "scale"),
        (lambda: scaled(NETWORK, math.nan), "scale"),
        (lambda: lazy_bounds((1.0,), 1.0), "found"),
        (lambda: lazy_bounds(LINE, -1.0), "scale"),
        (lambda: relative_change(np.zeros((2, 2)), EYE), "before"),
        (lambda: relative_change(np.ones((2, 3)), EYE), "before"),
        (lambda: relative_change(EYE, np.eye(3)), "after"),
        (lambda: relative_change(EYE, np.triu(np.ones((2, 2)))), "after"),
        (lambda: label_alignment(EYE, np.ones(3)), "y"),
        (lambda: label_alignment(EYE, np.ones(2)), "y"),
        (lambda: label_alignment(EYE, np.ones((2, 0))), "y"),
        (lambda: label_alignment(EYE, np.ones((2, 1, 1))), "y"),
        (lambda: label_alignment(np.ones((2, 2)), np.array([1.0, -1.0])), "kernel"),
        (lambda: label_alignment(np.full((2, 2), np.nan), np.array([1.0, -1.0])), "kernel"),
        (lambda: mirrored_start(0, 2, pairs=1, std=1.0), "key"),
        (lambda: mirrored_start(KEY, 0, pairs=1, std=1.0), "d"),
        (lambda: mirrored_start(KEY, 2, pairs=0, std=1.0), "pairs"),
        (lambda: mirrored_start(KEY, 2, pairs=1, std=0.0), "std"),
        (lambda: mirrored_start(KEY, 2, pairs=1, std=1.0, dtype=int), "dtype"),
        (lambda: teacher_problem(-1, d=2, points=3, units=1), "seed"),
        (lambda: teacher_problem(0, d=0, points=3, units=1), "d"),
        (lambda: teacher_problem(0, d=2, points=0, units=1), "points"),
        (lambda: teacher_problem(0, d=2, points=3, units=0), "units"),
        (lambda: diagonal_start(0, 1.0), "d"),
        (lambda: diagonal_start(2, 0.0), "scale"),
        (lambda: implicit_penalty(np.ones((2, 2)), 1.0), "beta"),
        (lambda: implicit_penalty(np.array([np.inf]), 1.0), "beta"),
        (lambda: implicit_penalty(np.ones(2), 0.0), "scale"),
        (lambda: implicit_minimizer(np.ones(2), np.ones(2), 1.0), "x"),
        (lambda: implicit_minimizer(np.ones((2, 3)), np.ones(2), 1.0), "x"),
        (lambda: implicit_minimizer(np.ones((1, 3)), np.ones(2), 1.0), "y"),
        (lambda: implicit_minimizer(np.ones((1, 3)), np.array([np.nan]), 1.0), "y"),
        (lambda: implicit_minimizer(np.ones((1, 3)), np.ones(1), 0.0), "scale"),
        (lambda: implicit_minimizer(np.ones((1, 3)), np.ones(1), 1e-61), "scale"),
        (lambda: least_absolute_sum(np.ones((2, 3)), np.ones(2)), "x"),
        (lambda: least_absolute_sum(np.ones((1, 3)), np.ones(3)), "y"),
        (lambda: sparsity_bound(0.0, d=2, least=1.0), "scale"),
        (lambda: sparsity_bound(0.1, d=0, least=1.0), "d"),
        (lambda: sparsity_bound(0.1, d=2, least=0.0), "least"),
    ],
)
def test_a_bad_argument_is_named(call, name, no_hook):
    with pytest.raises(ValueError, match=rf"^{name} must"):
        call()


def test_a_minimizer_that_is_not_found_says_so(monkeypatch):
    monkeypatch.setattr(lazy_training.np.linalg, "solve", lambda a, b: 0 * b)
    with pytest.raises(RuntimeError, match="no minimizer"):
        implicit_minimizer(np.array([[1.0, 2.0]]), np.ones(1), 1e-3)
