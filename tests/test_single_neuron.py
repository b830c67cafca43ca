"""A single neuron: its spectrum, the floors, best fits without data, and descent."""

import itertools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ntklab import single_neuron as sn
from ntklab.sphere import harmonics

FLOAT = jnp.result_type(float)
EPS = float(jnp.finfo(FLOAT).eps)

seeds = st.integers(0, 2**16)


# --- the spectrum -------------------------------------------------------------------------------


def coefficients(d, max_degree):
    """E ReLU(t) P_k(t) by quadrature in the angle, on the half of the sphere where t > 0."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    angle = math.pi / 4 * (nodes + 1)
    t, density = np.cos(angle), math.pi / 4 * weights * np.sin(angle) ** (d - 2)
    normalization = 2 * np.sum(density)
    polynomials = [np.ones_like(t), t]
    for k in range(1, max_degree):
        following = (2 * k + d - 2) * t * polynomials[k] - k * polynomials[k - 1]
        polynomials.append(following / (k + d - 2))
    return [np.sum(density * t * p) / normalization for p in polynomials[: max_degree + 1]]


@pytest.mark.parametrize("d", [2, 3, 5, 10, 30])
def test_eigenvalues_by_quadrature(d):
    for k, mu in enumerate(coefficients(d, 12)):
        assert sn.relu_eigenvalue(k, d) == pytest.approx(d * mu**2, rel=1e-9, abs=1e-15)
        assert sn.degree_share(k, d) == pytest.approx(
            harmonics(d, k) * d * mu**2, rel=1e-9, abs=1e-13
        )


def test_eigenvalues_by_hand():
    """On the circle (1/2π)∫ cos θ cos kθ over the half where cos θ > 0 is 1/π, ¼, 1/(3π), 0."""
    for k, mu in enumerate((1 / math.pi, 1 / 4, 1 / (3 * math.pi), 0, -1 / (15 * math.pi))):
        assert sn.relu_eigenvalue(k, 2, 3.0) == pytest.approx(9 * 2 * mu**2, rel=1e-12)


@pytest.mark.parametrize("d", [2, 3, 7, 50])
def test_the_eigenvalues_fall(d):
    values = [sn.relu_eigenvalue(k, d) for k in (0, 1, *range(2, 40, 2))]
    assert all(a > b for a, b in itertools.pairwise(values))
    assert [sn.relu_eigenvalue(k, d) for k in (3, 5, 21)] == [0, 0, 0]


def test_an_eigenvalue_below_all_floats_is_zero():
    assert sn.relu_eigenvalue(2000, 1000) == 0


@pytest.mark.parametrize("d", [2, 3, 10, 100])
def test_features_count(d):
    for k in range(1, 9):
        evens = sum(harmonics(d, j) for j in range(0, k + 1, 2))
        assert sn.feature_count(k, d) == evens + d
    assert sn.feature_count(0, d) == 1


@pytest.mark.parametrize("d", [2, 3, 4, 30, 1000])
def test_all_shares_sum_to_a_half(d):
    """E ReLU(w·x)² = ½‖w‖², which the sum of the rest does not know."""
    assert sn.share_beyond(0, d) + sn.degree_share(0, d) == pytest.approx(0.5, rel=1e-11)
    head = sum(sn.degree_share(k, d) for k in range(61))
    assert sn.share_beyond(60, d) == pytest.approx(0.5 - head, rel=1e-8)
    assert sn.share_beyond(61, d) == sn.share_beyond(60, d)


def test_the_share_at_three_dimensions_exactly():
    """Rational there: μ_k = −P_k(0)/(2(k − 1)(k + 2)) with P_k(0) a ratio of factorials."""
    head, at_zero = Fraction(1, 4), Fraction(1)
    for k in range(0, 101, 2):
        mu = -at_zero / (2 * (k - 1) * (k + 2))
        head += (2 * k + 1) * 3 * mu**2
        at_zero *= -Fraction(k + 1, k + 2)
        if k in (2, 10, 100):
            expected = float(Fraction(1, 2) - head)
            assert sn.share_beyond(k, 3) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("d", [2, 3, 10])
def test_far_shares_join(d):
    """The asymptotic series takes over without a step: differences are single terms."""
    for k in (256 * d - 2, 256 * d, 256 * d + 2):
        term = sn.degree_share(k + 2, d)
        difference = sn.share_beyond(k, d) - sn.share_beyond(k + 2, d)
        assert difference == pytest.approx(term, rel=1e-6)


# --- the floors ---------------------------------------------------------------------------------


def oracle_floor(p, d, norm):
    mu = coefficients(d, 40)
    values = np.concatenate([np.full(harmonics(d, k), norm**2 * d * mu[k] ** 2) for k in range(41)])
    values = np.sort(values)[::-1]
    return norm**2 / 2 - np.sum(values[:p])


@pytest.mark.parametrize("d", [2, 3, 4])
@pytest.mark.parametrize("p", [0, 1, 2, 3, 4, 5, 9, 10, 25])
def test_the_floor_by_sorting(d, p):
    assert sn.feature_floor(p, d, 1.5) == pytest.approx(oracle_floor(p, d, 1.5), abs=1e-9)


def test_floors_known_beforehand():
    assert sn.feature_floor(0, 7, 2.0) == 2.0
    assert sn.feature_floor(1024, 30, 1.0) == pytest.approx(0.0100, abs=1e-4)
    needed = {5: 7.6, 10: 19.6, 20: 46, 30: 74, 40: 103, 100: 286}
    for d, bits in needed.items():
        found = math.log2(sn.features_needed(1 / 50, d, float(d)))
        assert found == pytest.approx(bits, abs=0.5 if bits > 40 else 0.1)
    for d, bits in {10: 5.8, 30: 8.8, 100: 12.2}.items():
        assert math.log2(sn.features_needed(1 / 50, d, 1.0)) == pytest.approx(bits, abs=0.05)


def test_the_floor_of_very_many_features():
    """Terms 2dc_d/(πs⁴): at d = 3, p = k²/2 and the sum is 1/(2πs³)·3/… by the integral."""
    k = 10**50
    p = sn.feature_count(k, 3)
    assert sn.feature_floor(p, 3, 1.0) == pytest.approx(3 / (6 * math.pi) / 1e150, rel=1e-9)


@settings(max_examples=30)
@given(d=st.integers(2, 60), norm=st.floats(0.5, 300), error=st.floats(1e-3, 1), data=st.data())
def test_features_needed_is_where_the_floor_passes(d, norm, error, data):
    p = sn.features_needed(error, d, norm)
    assert sn.feature_floor(p, d, norm) <= error * (1 + 1e-9)
    if p:
        assert sn.feature_floor(p - 1, d, norm) >= error * (1 - 1e-9)
    fewer = data.draw(st.integers(0, p))
    assert sn.feature_floor(fewer, d, norm) >= sn.feature_floor(p, d, norm) * (1 - 1e-12)


def test_features_needed_at_the_first_steps():
    assert sn.features_needed(0.5, 6, 1.0) == 0
    first = sn.feature_floor(1, 6, 1.0)
    assert sn.features_needed(first * 1.0001, 6, 1.0) == 1
    assert sn.features_needed(first * 0.9999, 6, 1.0) == 2
    last = sn.feature_floor(7, 6, 1.0)
    assert sn.features_needed(last * 1.0001, 6, 1.0) == 7
    assert sn.features_needed(last * 0.9999, 6, 1.0) == 8


@pytest.mark.parametrize("d", [2, 3, 5, 10])
@pytest.mark.parametrize("norm", [0.3, 1.0, 8.0])
def test_the_norm_floor_over_all_degrees(d, norm):
    error, best = 0.02, 0.0
    mu = coefficients(d, 64)
    values = [(harmonics(d, k), d * mu[k] ** 2) for k in (0, 1, *range(2, 64, 2))]
    rest = 0.5
    for number, value in values:
        if rest > 1e-6:
            room = norm * math.sqrt(rest) - math.sqrt(error)
            best = max(best, math.sqrt(rest) * room / math.sqrt(value))
        rest -= number * value
    assert sn.norm_floor(error, d, norm, radius=2.0) == pytest.approx(best / 2, rel=1e-6)


def test_the_norm_floor_at_its_ends():
    assert sn.norm_floor(1.0, 5, 1.0) == 0
    assert sn.norm_floor(1 / 50, 1000, 1e9) == math.inf
    # At least half of what the argument gives without its last Cauchy–Schwarz inequality.
    for d, plain in {10: 42, 20: 2.4e5, 30: 3e9}.items():
        assert plain <= sn.norm_floor(1 / 50, d, float(d)) <= 2 * plain


# --- best fits ----------------------------------------------------------------------------------


def test_active_correlation_by_quadrature(dtype):
    """In the plane, over the angle, where E r² = 2."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 2)), rng.normal(size=(4, 2))
    found = sn.active_correlation(jnp.asarray(a, dtype), jnp.asarray(b, dtype))
    assert found.dtype == dtype
    assert found.shape == (3, 4, 2, 2)
    angle = (np.arange(400000) + 0.5) / 400000 * 2 * math.pi
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    active = [(x @ rows.T > 0).astype(float) for rows in (a, b)]
    for i in range(3):
        for j in range(4):
            both = active[0][:, i] * active[1][:, j]
            expected = 2 * (x * both[:, None]).T @ x / len(x)
            np.testing.assert_allclose(found[i, j], expected, atol=2e-5)


def test_active_correlation_in_space():
    d = 5
    a = np.zeros((1, d))
    a[0, 0] = 2
    np.testing.assert_allclose(sn.active_correlation(a, a)[0, 0], np.eye(d) / 2, atol=1e-7)
    np.testing.assert_allclose(sn.active_correlation(a, -a)[0, 0], 0, atol=1e-7)
    right = np.roll(a, 1, axis=1)
    expected = np.eye(d) / 4
    expected[0, 1] = expected[1, 0] = 1 / (2 * math.pi)
    np.testing.assert_allclose(sn.active_correlation(a, right)[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("tangent", [False, True])
def test_best_fits_against_least_squares(tangent, dtype):
    """Least squares over a grid of angles in the plane."""
    rng = np.random.default_rng(1)
    weights, targets = rng.normal(size=(3, 2)), rng.normal(size=(5, 2))
    angle = (np.arange(100000) + 0.5) / 100000 * 2 * math.pi
    x = math.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    active = (x @ weights.T > 0).astype(float)
    features = np.maximum(x @ weights.T, 0)
    if tangent:
        features = (active[:, :, None] * x[:, None]).reshape(len(x), -1)
    values = np.maximum(x @ targets.T, 0)
    fitted = features @ np.linalg.lstsq(features, values, rcond=None)[0]
    found = sn.fit_errors(jnp.asarray(weights, dtype), jnp.asarray(targets, dtype), tangent=tangent)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.mean((values - fitted) ** 2, axis=0), atol=2e-5)


def test_a_feature_fits_itself():
    weights = np.random.default_rng(2).normal(size=(7, 6))
    np.testing.assert_allclose(sn.fit_errors(weights, 3 * weights), 0, atol=1e-5)
    np.testing.assert_allclose(sn.fit_errors(weights, 3 * weights, tangent=True), 0, atol=1e-5)
    # Twice the same feature is no second one.
    twice = np.concatenate([weights, 2 * weights])
    targets = np.random.default_rng(3).normal(size=(4, 6))
    expected = sn.fit_errors(weights, targets)
    np.testing.assert_allclose(sn.fit_errors(twice, targets), expected, rtol=1e-4)


def test_random_features_stay_above_the_floor():
    """Their mean over directions; 300 of them, with four standard errors to spare."""
    rng = np.random.default_rng(4)
    errors = np.asarray(sn.fit_errors(rng.normal(size=(64, 8)), rng.normal(size=(300, 8))))
    norms = np.sum(np.random.default_rng(4).normal(size=(364, 8))[64:] ** 2, axis=1)
    assert np.all(errors >= 0)
    relative = errors / norms
    spread = 4 * np.std(relative) / math.sqrt(300)
    assert np.mean(relative) + spread > sn.feature_floor(64, 8, 1.0)


# --- descent ------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(seed=seeds)
def test_loss_and_gradient_in_the_plane(seed):
    w, v = np.random.default_rng(seed).normal(size=(2, 2))
    angle = (np.arange(200000) + 0.5) / 200000 * 2 * math.pi
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    active = x @ w > 0
    gaps = np.maximum(x @ w, 0) - np.maximum(x @ v, 0)
    gradient = 2 * np.mean((gaps * active)[:, None] * x, axis=0)  # E r² = 2
    w, v = jnp.asarray(w, FLOAT), jnp.asarray(v, FLOAT)
    np.testing.assert_allclose(sn.neuron_gradient(w, v), gradient, atol=1e-4)
    assert float(sn.neuron_loss(w, v)) == pytest.approx(np.mean(gaps**2), abs=1e-4)


def test_the_gradient_is_that_of_the_loss(dtype):
    w = jnp.asarray([0.3, -1.0, 2.0, 0.1], dtype)
    v = jnp.asarray([1.0, 0.5, -0.2, 0.0], dtype)
    found = sn.neuron_gradient(w, v)
    assert found.dtype == sn.neuron_loss(w, v).dtype == dtype
    rounding = 100 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(found, jax.grad(sn.neuron_loss)(w, v), atol=rounding)
    np.testing.assert_allclose(sn.neuron_gradient(v, v), 0, atol=rounding)
    np.testing.assert_allclose(sn.neuron_gradient(2 * v, v), v / 2, atol=rounding)
    # Opposite neurons share no active input.
    np.testing.assert_allclose(sn.neuron_gradient(-v, v), -v / 2, atol=rounding)
    np.testing.assert_array_equal(sn.neuron_gradient(0 * v, v), 0)


def test_constants():
    assert pytest.approx(0.0908, abs=5e-5) == sn.SMALLEST_MODULUS
    assert pytest.approx(0.363, abs=5e-4) == sn.STEP_SIZE
    assert pytest.approx(0.983, abs=5e-4) == sn.CONTRACTION
    assert sn.descent_modulus(math.pi / 2) == pytest.approx(sn.SMALLEST_MODULUS)
    assert sn.descent_modulus(0) == 0.5
    assert sn.descent_modulus(float(np.float32(np.pi))) == 0


def test_active_probability_by_hand():
    assert sn.active_probability(3, 2) == 0.5
    assert sn.active_probability(5, 6) == 0
    assert sn.active_probability(0, 1) == 0
    assert sn.active_probability(199, 100) == 0.5


def test_descent_on_samples_step_by_step(dtype):
    rng = np.random.default_rng(5)
    x, v, w = rng.normal(size=(12, 3)), rng.normal(size=3), rng.normal(size=3)
    y = np.maximum(x @ v, 0)
    given = [jnp.asarray(array, dtype) for array in (x, y, w)]
    found = sn.descend_on_samples(*given, step_size=0.3, steps=7)
    assert found.dtype == dtype
    for _ in range(7):
        w = w - 0.3 * ((np.maximum(x @ w, 0) - y) * (x @ w > 0)) @ x / 12
    np.testing.assert_allclose(found, w, atol=100 * float(jnp.finfo(dtype).eps))
    still = sn.descend_on_samples(given[0], given[1], 0 * given[2], step_size=0.3, steps=50)
    np.testing.assert_array_equal(still, 0)


def test_recovery_takes_enough_samples():
    few, many = (
        np.asarray(sn.recovery_errors(jax.random.key(0), n, 10, pool=60)) for n in (12, 60)
    )
    assert few.shape == (20,)
    assert np.all(many < 1e-3)
    assert np.all(few > 1e-2)
    short = sn.recovery_errors(jax.random.key(0), 20, 5, runs=2, steps=0, dtype=jnp.float32)
    assert short.dtype == jnp.float32
    # No step has been made: the distance of a start of norm about 1/10 from a unit vector.
    assert np.all(np.abs(np.asarray(short) - 1) < 0.3)


def test_samples_outside_the_pool_count_for_nothing():
    key = jax.random.key(3)
    base = {"runs": 2, "pool": 30, "steps": 40}
    assert not np.allclose(
        sn.recovery_errors(key, 10, 4, **base), sn.recovery_errors(key, 30, 4, **base)
    )


# --- bad calls ----------------------------------------------------------------------------------

W = np.ones((3, 4))
V = np.ones(4)
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sn.feature_floor(-1, 3, 1.0), "features must be at least 0, got -1"),
        (lambda: sn.feature_floor(2.0, 3, 1.0), r"features must be an integer, got 2\.0"),
        (lambda: sn.feature_floor(True, 3, 1.0), "features must be an integer, got True"),
        (lambda: sn.feature_floor(4, 1, 1.0), "dimension must be at least 2, got 1"),
        (lambda: sn.feature_floor(4, 2.5, 1.0), r"dimension must be an integer, got 2\.5"),
        (lambda: sn.feature_floor(4, 3, 0.0), "weight_norm must be greater than 0, got 0"),
        (lambda: sn.feature_floor(4, 3, -1), "weight_norm must be greater than 0, got -1"),
        (lambda: sn.feature_floor(4, 3, math.nan), "weight_norm must be finite, got nan"),
        (lambda: sn.feature_floor(4, 3, math.inf), "weight_norm must be finite, got inf"),
        (lambda: sn.feature_floor(4, 3, 1e200), "weight_norm must have a finite square"),
        (lambda: sn.feature_floor(4, 3, "1"), "weight_norm must be a number, got '1'"),
        (lambda: sn.features_needed(0.0, 3, 1.0), "error must be greater than 0, got 0"),
        (lambda: sn.features_needed(math.nan, 3, 1.0), "error must be finite"),
        (lambda: sn.features_needed(1e-300, 3, 1e100), "error must be a float above 0 in units"),
        (lambda: sn.features_needed(0.1, 1, 1.0), "dimension must be at least 2"),
        (lambda: sn.features_needed(0.1, 3, -2.0), "weight_norm must be greater than 0"),
        (lambda: sn.norm_floor(-1.0, 3, 1.0), "error must be greater than 0"),
        (lambda: sn.norm_floor(0.1, 3, 1.0, radius=0.0), "radius must be greater than 0"),
        (lambda: sn.norm_floor(0.1, 0, 1.0), "dimension must be at least 2"),
        (lambda: sn.degree_share(0.5, 3), "degree must be an integer"),
        (lambda: sn.degree_share(2, 1), "dimension must be at least 2"),
        (lambda: sn.relu_eigenvalue(2, 3, 0.0), "weight_norm must be greater than 0"),
        (lambda: sn.share_beyond(-2, 3), "degree must be at least 0"),
        (lambda: sn.share_beyond(2, 1), "dimension must be at least 2"),
        (lambda: sn.feature_count(-2, 3), "degree must be at least 0"),
        (lambda: sn.feature_count(2, 1), "dimension must be at least 2"),
        (lambda: sn.active_correlation(V, W), "first must have 2 axes"),
        (lambda: sn.active_correlation(W, np.ones((2, 3))), "second must have points of shape"),
        (lambda: sn.active_correlation(W, 0 * W), "second must have no row that is 0"),
        (lambda: sn.fit_errors(np.zeros((1, 4)), W), "weights must have no row that is 0"),
        (lambda: sn.fit_errors(W, np.full((1, 4), np.nan)), "targets must be finite"),
        (lambda: sn.fit_errors(W, W, tangent=1), "tangent must be True or False, got 1"),
        (lambda: sn.descent_modulus(-0.1), "angle must be at least 0"),
        (lambda: sn.descent_modulus(3.2), "angle must be at most π"),
        (lambda: sn.neuron_loss(W, V), "w must have 1 axes"),
        (lambda: sn.neuron_gradient(V, np.ones(3)), "v must have w's shape"),
        (lambda: sn.neuron_gradient(V.astype(np.float32), V.astype(np.float16)), "v must have w"),
        (lambda: sn.active_probability(-1, 2), "samples must be at least 0"),
        (lambda: sn.active_probability(2, 0), "dimension must be at least 1"),
        (
            lambda: sn.descend_on_samples(W, np.ones(2), V, step_size=0.1, steps=1),
            r"y and w must have the shapes \(3,\) and \(4,\)",
        ),
        (
            lambda: sn.descend_on_samples(
                W.astype(np.float32), np.ones(3, np.float16), V, step_size=0.1, steps=1
            ),
            "x, y and w must have one dtype",
        ),
        (
            lambda: sn.descend_on_samples(W, np.ones(3), V, step_size=0.0, steps=1),
            "step_size must be greater than 0",
        ),
        (
            lambda: sn.descend_on_samples(W, np.ones(3), V, step_size=0.1, steps=-1),
            "steps must be at least 0",
        ),
        (lambda: sn.recovery_errors(KEY, 0, 3), "samples must be at least 1"),
        (lambda: sn.recovery_errors(KEY, 4, 0), "dimension must be at least 1"),
        (lambda: sn.recovery_errors(KEY, 4, 3, runs=0), "runs must be at least 1"),
        (lambda: sn.recovery_errors(KEY, 4, 3, pool=3), "pool must be at least 4"),
        (lambda: sn.recovery_errors(0, 4, 3), "key must be a single key"),
        (lambda: sn.recovery_errors(KEY, 4, 3, dtype=int), "dtype must be a floating-point"),
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
