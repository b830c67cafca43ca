"""Steps on the circle against hand counts and loops in NumPy; bounds against enumeration."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ntklab import learning_frequencies as lf
from ntklab import networks
from ntklab.tangent_kernel import empirical_ntk

ANGLES = 2 * np.pi * np.arange(16) / 16


def eps(dtype):
    return float(jnp.finfo(dtype).eps)


# --- the circle ---------------------------------------------------------------------------------


def test_points_lie_on_their_sphere(dtype):
    angles = jnp.asarray(ANGLES, dtype)
    for lifted, d in ((False, 2), (True, 3)):
        x = lf.circle_points(angles, lifted=lifted)
        assert x.shape == (16, d) and x.dtype == dtype
        np.testing.assert_allclose(np.sum(np.square(x), axis=1), 1, atol=8 * eps(dtype))
    # Between lifted points the cosine is (1 + cos ω)/2.
    gram = np.asarray(lf.circle_points(angles, lifted=True), float)
    np.testing.assert_allclose(gram @ gram[0], (1 + np.cos(ANGLES)) / 2, atol=8 * eps(dtype))


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_circulant_eigenvalues_are_those_of_the_matrix(n, dtype):
    angles = 2 * np.pi * np.arange(n) / n
    row = np.exp(np.cos(angles)) + 0.3 * np.cos(2 * angles)
    found = lf.circulant_eigenvalues(jnp.asarray(row, dtype))
    matrix = np.array([np.roll(row, j) for j in range(n)])
    # Each frequency but 0 and n/2 has a cosine and a sine.
    doubled = np.concatenate([found, found[1 : (n + 1) // 2]])
    np.testing.assert_allclose(
        np.sort(doubled), np.linalg.eigvalsh(matrix), atol=40 * n * eps(dtype)
    )
    for k in range(n // 2 + 1):
        mode = np.cos(k * angles)
        np.testing.assert_allclose(matrix @ mode, found[k] * mode, atol=40 * n * eps(dtype))


def test_eigenvalues_on_points_fold_the_coefficients():
    # K = Σ c_k e^{ikω} with c_k = 2^{-|k|}: frequencies 3 and 5 fall together on 8 points.
    angles = 2 * np.pi * np.arange(8) / 8
    row = sum(0.5 ** abs(k) * np.cos(k * angles) for k in range(-60, 61))
    expected = 8 * sum(0.5 ** abs(3 + 8 * fold) for fold in range(-7, 8))
    assert lf.circulant_eigenvalues(row)[3] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("fraction", [0.5, 0.05, 0.001])
def test_steps_are_those_of_a_loop(fraction):
    eta, values = 0.7, np.array([1.0, 0.3, 0.04, 2.5, 1 / 0.7])
    for value, steps in zip(
        values, lf.descent_steps(values, step_size=eta, fraction=fraction), strict=True
    ):
        left, count = 1.0, 0
        while abs(left) > fraction * (1 + 1e-12):
            left, count = left * (1 - eta * value), count + 1
        assert steps == count


def test_steps_where_the_fraction_is_met_exactly():
    steps = lf.descent_steps(np.array([1.0, 3.0]), step_size=0.5, fraction=2.0**-10)
    assert steps.tolist() == [10, 10]
    assert lf.descent_steps(0.0, step_size=1.0) == np.inf


# --- networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lifted", [False, True])
def test_mirrored_networks_start_at_zero_with_a_circulant_kernel(lifted, dtype):
    weights = lf.mirrored_weights(64, lifted=lifted, norm=3.0, dtype=dtype)
    assert weights.shape == (64, 3 if lifted else 2) and weights.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 3, rtol=8 * eps(dtype))
    np.testing.assert_array_equal(weights[::2], weights[1::2])
    assert len(np.unique(np.asarray(weights), axis=0)) == 32
    network = networks.shallow(64)
    x = lf.circle_points(jnp.asarray(ANGLES, dtype), lifted=lifted)
    assert float(jnp.max(jnp.abs(network.apply(weights, x)))) < 64 * eps(dtype)
    gram = np.asarray(empirical_ntk(network.apply, weights, x), float)
    row = gram[0]
    np.testing.assert_allclose(gram, [np.roll(row, j) for j in range(16)], atol=200 * eps(dtype))


def test_random_directions_are_uniform():
    weights = np.asarray(lf.mirrored_weights(4096, key=jax.random.key(0)), float)
    angles = np.arctan2(weights[::2, 1], weights[::2, 0])
    # Means of cos kω over 2048 draws have a standard deviation of 0.016; level 1e-4 in four.
    for k in (1, 2):
        assert abs(np.mean(np.cos(k * angles))) < 0.067
        assert abs(np.mean(np.sin(k * angles))) < 0.067


@pytest.mark.parametrize("columns", [False, True])
def test_descent_stops_at_the_first_step_that_suffices(columns, dtype):
    """A linear model: the loop in NumPy."""
    features = np.array([[1.0, 0.2], [0.3, 0.8], [0.1, -0.4]])
    y = features @ [1.0, -2.0]

    def apply(params, x):
        return x @ (params[:, None] if columns else params)

    weights, count, left = np.zeros(2), 0, -y
    while np.linalg.norm(left) > 0.1 * np.linalg.norm(y):
        weights, count = weights - 0.2 * features.T @ left, count + 1
        left = features @ weights - y
    run = {"step_size": 0.2, "fraction": 0.1}
    data = (jnp.zeros(2, dtype), jnp.asarray(features, dtype), jnp.asarray(y, dtype))
    found = lf.descent_until(apply, *data, **run)
    assert found.steps == count
    assert found.fraction == pytest.approx(
        np.linalg.norm(left) / np.linalg.norm(y), rel=1e4 * eps(dtype)
    )
    np.testing.assert_allclose(found.params, weights, rtol=1e4 * eps(dtype))
    stopped = lf.descent_until(apply, *data, **run, max_steps=count - 1)
    assert stopped.steps == count - 1 and stopped.fraction > 0.1
    unmoved = lf.descent_until(apply, *data, **run, max_steps=0)
    assert unmoved.steps == 0 and unmoved.fraction == 1


# --- densities and inputs -----------------------------------------------------------------------


def test_the_error_of_the_local_rate_by_hand():
    c = np.array([1.0, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.1])
    angles = 2 * np.pi * np.arange(8) / 8
    # q = 1 + 0.6 cos ω − 0.4 sin 2ω: |q_{±1}| = 0.3, |q_{±2}| = 0.2.
    q = 1 + 0.6 * np.cos(angles) - 0.4 * np.sin(2 * angles)
    expected = 0.3 * (0.1 + 0.1) + 0.2 * (0.3 + 0.15)
    assert lf.local_rate_error(c, q, 3) == pytest.approx(expected, rel=1e-12)
    # Frequencies below 0 are those above: c_{1−2} = c_1.
    expected = 0.3 * (0.3 + 0.2) + 0.2 * (0.0 + 0.3)
    assert lf.local_rate_error(c, q, 1) == pytest.approx(expected, rel=1e-12)
    assert lf.local_rate_error(c, np.ones(8), 2) == pytest.approx(0, abs=1e-15)


def test_features_are_unit_vectors_with_the_stated_kernel(dtype):
    angles = jnp.asarray(ANGLES, dtype)
    features = lf.fourier_features(angles, [1, 3, 4], [1.0, 2.0, 5.0])
    assert features.shape == (16, 6) and features.dtype == dtype
    gaps = ANGLES[:, None] - ANGLES
    expected = (np.cos(gaps) + 2 * np.cos(3 * gaps) + 5 * np.cos(4 * gaps)) / 8
    gram = np.asarray(features, float) @ np.asarray(features, float).T
    np.testing.assert_allclose(gram, expected, atol=80 * eps(dtype))
    equal = lf.fourier_features(angles, [1, 3])
    np.testing.assert_array_equal(equal, lf.fourier_features(angles, [1, 3], [7, 7]))


# --- what the kernel promises -------------------------------------------------------------------


def _gram(n=5, seed=0):
    features = np.random.default_rng(seed).normal(size=(n, n + 2))
    return features @ features.T, features


def test_the_interpolant_is_the_shortest(dtype):
    gram, features = _gram()
    y = np.arange(5.0) - 1
    shortest = np.linalg.lstsq(features, y, rcond=None)[0]
    found = lf.interpolant_norm(jnp.asarray(gram, dtype), jnp.asarray(y, dtype))
    condition = np.linalg.cond(gram)
    assert found == pytest.approx(np.linalg.norm(shortest), rel=4 * condition * eps(dtype))


def test_the_complexity_of_a_ball_bounds_the_enumerated_one():
    gram, _ = _gram()
    signs = np.array(list(itertools.product((-1, 1), repeat=5)))
    suprema = np.sqrt(np.einsum("si,ij,sj->s", signs, gram, signs))  # of Σ ε_i f(x_i), ‖f‖ = 1
    exact = 3 * np.mean(suprema) / 5
    assert exact <= lf.ball_complexity(gram, 3.0) <= 1.2 * exact
    assert lf.ball_complexity(4 * np.eye(9), 2.0) == pytest.approx(2 * 6 / 9)


def test_the_bound_has_every_constant():
    # B = 3.2, so ⌈B⌉ = 4; tr H = 100; 1/δ = 10.
    found = lf.risk_bound(np.eye(100), np.full(100, 0.32), delta=0.1)
    expected = 2 * 4 / 10 + 3 * math.sqrt(math.log(2 * 4 * 5 * 10) / 200)
    assert found == pytest.approx(expected, rel=1e-12)
    # A norm that is a whole number is not lifted to the next one by rounding.
    whole = lf.risk_bound(np.eye(100), np.full(100, 0.3), delta=0.1)
    assert whole == pytest.approx(0.6 + 3 * math.sqrt(math.log(240) / 200), rel=1e-12)
    # Labels of 0 still pay for the ball of radius 1.
    zero = lf.risk_bound(np.eye(100), np.zeros(100), delta=0.1)
    assert zero == pytest.approx(0.2 + 3 * math.sqrt(math.log(40) / 200), rel=1e-12)


# --- bad calls ----------------------------------------------------------------------------------


def line(params, x):
    return x @ params


TWO = (jnp.zeros(2), jnp.ones((3, 2)), jnp.ones(3))
BAD = [
    ("angles", lf.circle_points, (np.ones((2, 2)),), {}),
    ("angles", lf.circle_points, (np.array([np.nan]),), {}),
    ("lifted", lf.circle_points, (np.ones(2),), {"lifted": 1}),
    ("row", lf.circulant_eigenvalues, (np.ones((2, 2)),), {}),
    ("row", lf.circulant_eigenvalues, (np.zeros(0),), {}),
    ("row", lf.circulant_eigenvalues, (np.array([1.0, np.inf]),), {}),
    ("row", lf.circulant_eigenvalues, (np.array([2.0, 1.0, 0.5]),), {}),
    ("eigenvalues", lf.descent_steps, ([-0.1],), {"step_size": 1.0}),
    ("eigenvalues", lf.descent_steps, ([np.nan],), {"step_size": 1.0}),
    ("step_size", lf.descent_steps, ([1.0],), {"step_size": 2.0}),
    ("step_size", lf.descent_steps, ([1.0],), {"step_size": 0.0}),
    ("fraction", lf.descent_steps, ([1.0],), {"step_size": 1.0, "fraction": 1.0}),
    ("width", lf.mirrored_weights, (5,), {}),
    ("width", lf.mirrored_weights, (0,), {}),
    ("norm", lf.mirrored_weights, (4,), {"norm": 0.0}),
    ("lifted", lf.mirrored_weights, (4,), {"lifted": "yes"}),
    ("key", lf.mirrored_weights, (4,), {"key": 3}),
    ("dtype", lf.mirrored_weights, (4,), {"dtype": "int32"}),
    ("step_size", lf.descent_until, (line, *TWO), {"step_size": -1.0}),
    ("fraction", lf.descent_until, (line, *TWO), {"step_size": 1.0, "fraction": 0.0}),
    ("max_steps", lf.descent_until, (line, *TWO), {"step_size": 1.0, "max_steps": 0.5}),
    ("apply", lf.descent_until, (lambda p, x: jnp.outer(x @ p, p), *TWO), {"step_size": 1.0}),
    ("y", lf.descent_until, (line, *TWO[:2], jnp.ones(2)), {"step_size": 1.0}),
    ("y", lf.descent_until, (line, *TWO[:2], jnp.ones((3, 1))), {"step_size": 1.0}),
    ("y", lf.descent_until, (line, *TWO[:2], jnp.zeros(3)), {"step_size": 1.0}),
    ("x", lf.descent_until, (line, jnp.zeros(2), np.full((3, 2), np.nan), jnp.ones(3)),
     {"step_size": 1.0}),
    ("coefficients", lf.local_rate_error, (np.ones((2, 2)), np.ones(4), 1), {}),
    ("coefficients", lf.local_rate_error, (np.ones(3), np.ones(4), 1), {}),
    ("weight", lf.local_rate_error, (np.ones(9), np.ones((4, 1)), 1), {}),
    ("weight", lf.local_rate_error, (np.ones(9), np.ones(0), 1), {}),
    ("frequency", lf.local_rate_error, (np.ones(9), np.ones(4), -1), {}),
    ("angles", lf.fourier_features, (np.ones((2, 1)), [1]), {}),
    ("frequencies", lf.fourier_features, (np.ones(2), []), {}),
    ("frequencies", lf.fourier_features, (np.ones(2), [[1]]), {}),
    ("weights", lf.fourier_features, (np.ones(2), [1, 2], [1.0]), {}),
    ("weights", lf.fourier_features, (np.ones(2), [1, 2], [1.0, -1.0]), {}),
    ("weights", lf.fourier_features, (np.ones(2), [1, 2], [0.0, 0.0]), {}),
    ("gram", lf.interpolant_norm, (np.ones((2, 3)), np.ones(2)), {}),
    ("gram", lf.interpolant_norm, (np.ones((2, 2)), np.ones(2)), {}),
    ("gram", lf.interpolant_norm, (np.diag([1.0, -1.0]), np.ones(2)), {}),
    ("y", lf.interpolant_norm, (np.eye(2), np.ones(3)), {}),
    ("gram", lf.ball_complexity, (np.triu(np.ones((2, 2))), 1.0), {}),
    ("radius", lf.ball_complexity, (np.eye(2), -1.0), {}),
    ("delta", lf.risk_bound, (np.eye(2), np.ones(2)), {"delta": 0.0}),
    ("y", lf.risk_bound, (np.eye(2), np.ones((2, 1))), {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "arguments", "options"), BAD)
def test_a_bad_argument_is_named(name, function, arguments, options, no_hook):
    with pytest.raises(ValueError, match=rf"^{name} must"):
        function(*arguments, **options)
