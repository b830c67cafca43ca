"""The expansion, its error bounds, and the exact worst error of a ReLU network over a ball."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from ntklab import linearization, networks
from ntklab.linearization import (
    linearize,
    relu_error_bound,
    relu_error_rate,
    smooth_error_bound,
    smoothness,
    worst_relu_error,
    worst_relu_weights,
)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def signs_of(width):
    return np.where(np.arange(width) % 2 == 0, 1.0, -1.0)


def relu_error(W, W0, x):
    """|h(x; W) − h_W0(x; W)| for ReLU at one point, by the definition."""
    linear = (W0 @ x > 0) * (W @ x)
    return abs(signs_of(len(W)) @ (np.maximum(W @ x, 0) - linear)) / np.sqrt(len(W))


# --- the expansion ------------------------------------------------------------------------------


def test_linearize_follows_the_formula(dtype):
    W0, W, x = (jnp.asarray(normal(s, n, 3), dtype) for s, n in ((0, 6), (1, 6), (2, 4)))
    tangent = linearize(networks.shallow(6, activation="tanh").apply, W0)
    values = tangent(W, x)
    assert values.dtype == dtype
    W0, W, x = (np.asarray(array, float) for array in (W0, W, x))
    z = x @ W0.T
    terms = np.tanh(z) + (1 - np.tanh(z) ** 2) * (x @ (W - W0).T)
    expected = terms @ signs_of(6) / np.sqrt(6)
    np.testing.assert_allclose(values[:, 0], expected, atol=50 * jnp.finfo(dtype).eps)


def test_linearize_takes_any_pytree():
    def apply(params, x):
        return jnp.exp(params["a"]) * x + params["b"][0] ** 2

    params = {"a": jnp.zeros(()), "b": [jnp.full((), 3.0)]}
    tangent = linearize(apply, params)
    moved = {"a": jnp.full((), 0.5), "b": [jnp.full((), 4.0)]}
    assert tangent(moved, jnp.full((), 2.0)) == 2 + 9 + 2 * 0.5 + 6 * 1


def test_linearize_of_an_affine_model_is_the_model():
    def apply(params, x):
        return x @ params + 1

    tangent = linearize(apply, jnp.asarray(normal(0, 3)))
    x, params = jnp.asarray(normal(1, 5, 3)), jnp.asarray(normal(2, 3))
    np.testing.assert_allclose(tangent(params, x), apply(params, x), rtol=1e-5)


# --- smooth activations -------------------------------------------------------------------------


@pytest.mark.float64
@pytest.mark.parametrize("name", linearization.SMOOTHNESS)
def test_smoothness_is_the_largest_second_derivative(name):
    """On a grid of step 1e-4; between its points σ″ changes by less than 1e-8 near its maximum."""
    sigma = networks.activation_function(name)
    grid = jnp.linspace(-6, 6, 120_001)
    second = jax.jit(jax.vmap(jax.grad(jax.grad(sigma))))(grid)
    assert smoothness(name) == pytest.approx(float(jnp.max(jnp.abs(second))), abs=1e-7)


@given(
    name=st.sampled_from(["erf", "tanh", "softplus", "gelu"]),
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 5),
    log_radius=st.floats(-2, 2),
    norm=st.floats(0.1, 10),
)
def test_smooth_bound_holds(name, seed, width, log_radius, norm):
    """In float64 by NumPy: activations and slopes written out here."""
    from scipy.special import erf, expit, ndtr

    density = lambda t: np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    value, slope = {
        "erf": (erf, lambda t: 2 / np.sqrt(np.pi) * np.exp(-(t**2))),
        "tanh": (np.tanh, lambda t: 1 - np.tanh(t) ** 2),
        "softplus": (lambda t: np.logaddexp(t, 0), expit),
        "gelu": (lambda t: t * ndtr(t), lambda t: ndtr(t) + t * density(t)),
    }[name]
    rng = np.random.default_rng(seed)
    x, W0, move, a = (rng.normal(size=s) for s in ((3,), (width, 3), (width, 3), (width,)))
    x *= norm / np.linalg.norm(x)
    move *= 10**log_radius / np.linalg.norm(move)
    z, change = W0 @ x, move @ x
    error = abs(a @ (value(z + change) - value(z) - slope(z) * change)) / np.sqrt(width)
    bound = smooth_error_bound(
        beta=smoothness(name),
        width=width,
        radius=float(10**log_radius),
        input_norm=norm,
        max_output_weight=float(np.max(np.abs(a))),
    )
    assert error <= bound * (1 + 1e-9) + 1e-13 * (1 + norm * 10**log_radius)


@given(
    seed=st.integers(0, 2**32 - 1),
    beta=st.floats(0.1, 10),
    a=st.floats(0.1, 10),
    N=st.integers(1, 9),
)
def test_smooth_bound_is_attained(seed, beta, a, N):
    """By σ(t) = βt²/2, equal output weights and changes along x."""
    rng = np.random.default_rng(seed)
    x, W0 = rng.normal(size=3), rng.normal(size=(N, 3))
    move = rng.normal(size=(N, 1)) * x
    sigma = lambda t: beta * t**2 / 2  # noqa: E731
    z, change = W0 @ x, move @ x
    error = a * np.sum(sigma(z + change) - sigma(z) - beta * z * change) / np.sqrt(N)
    bound = smooth_error_bound(
        beta=beta,
        width=N,
        radius=float(np.linalg.norm(move)),
        input_norm=float(np.linalg.norm(x)),
        max_output_weight=a,
    )
    scale = beta * a * np.sum((np.abs(z) + np.abs(change)) ** 2)
    assert error == pytest.approx(bound, abs=1e-13 * scale)


# --- ReLU ---------------------------------------------------------------------------------------


def test_relu_bound_by_hand():
    bound = relu_error_bound(width=64, radius=8.0, failure_probability=float(np.exp(-16)))
    assert bound == pytest.approx((2 * 16 + 8 * 2) / 2)


def brute_force(W0, x, radius):
    """Every set of units of one sign, with the budget split by Cauchy–Schwarz or not spent."""
    to_kink, best = np.abs(W0 @ x), 0.0
    for sign in (1, -1):
        members = np.flatnonzero(signs_of(len(W0)) == sign)
        for size in range(len(members) + 1):
            for chosen in itertools.combinations(members, size):
                spent = np.sqrt(size) * radius * np.linalg.norm(x)
                best = max(best, spent - to_kink[list(chosen)].sum())
    return best / np.sqrt(len(W0))


@pytest.mark.parametrize("width", [1, 2, 5, 10])
@pytest.mark.parametrize("radius", [0.0, 0.3, 3.0])
def test_worst_error_against_every_subset(width, radius, dtype):
    W0, x = jnp.asarray(normal(width, width, 3), dtype), jnp.asarray(normal(9, 4, 3), dtype)
    worst = worst_relu_error(W0, x, radius)
    assert worst.dtype == dtype
    expected = [brute_force(np.asarray(W0, float), np.asarray(p, float), radius) for p in x]
    np.testing.assert_allclose(worst, expected, atol=100 * jnp.finfo(dtype).eps)


@pytest.mark.parametrize("seed", range(3))
def test_no_optimizer_finds_a_larger_error(seed):
    """SLSQP on the ball from random starts and from moves towards each subset of flips."""
    width, radius = 4, 1.5
    W0, x = normal(seed, width, 2), normal(seed + 50, 2)
    worst = float(worst_relu_error(W0, x[None], radius)[0])
    direction = x / np.linalg.norm(x)
    starts = [radius * normal(s, width, 2) / 3 for s in range(8)]
    starts += [
        -radius / np.sqrt(sum(flips)) * np.outer(flips * np.sign(W0 @ x), direction) * 0.99
        for flips in itertools.product([0, 1], repeat=width)
        if any(flips)
    ]
    found = max(
        -scipy.optimize.minimize(
            lambda m: -relu_error(W0 + m.reshape(W0.shape), W0, x),
            start.ravel(),
            method="SLSQP",
            constraints={"type": "ineq", "fun": lambda m: radius**2 - m @ m},
            options={"maxiter": 100},
        ).fun
        for start in starts
    )
    assert found <= worst * (1 + 1e-3)
    assert found >= worst * (1 - 1e-2)


@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.sampled_from([1, 2, 7]),
    log_radius=st.floats(-2, 2),
    flip=st.booleans(),
)
def test_worst_weights_attain_the_worst_error(seed, width, log_radius, flip):
    """Within the ball, to rounding, for either sign of the output weights."""
    W0, x, radius = normal(seed, width, 3), normal(seed + 1, 3), float(10**log_radius)
    output_weights = signs_of(width) * (-1 if flip else 1)
    W0, x = W0.astype(jnp.result_type(float)), x.astype(jnp.result_type(float))
    W = worst_relu_weights(W0, x, radius, output_weights=output_weights)
    W = np.asarray(W, float)
    W0, x = W0.astype(float), x.astype(float)
    worst = float(worst_relu_error(W0, x[None], radius, output_weights=output_weights)[0])
    eps = 200 * float(jnp.finfo(jnp.result_type(float)).eps)
    assert np.linalg.norm(W - W0) <= radius + eps * (1 + radius)
    assert relu_error(W, W0, x) == pytest.approx(worst, abs=eps * (1 + radius) * width)


def test_worst_weights_stay_where_no_flip_pays():
    W0 = np.array([[1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(worst_relu_weights(W0, np.array([1.0, 0.0]), 0.5), W0)
    np.testing.assert_array_equal(worst_relu_weights(W0, np.zeros(2), 5.0), W0)
    assert worst_relu_error(W0, np.zeros((1, 2)), 5.0) == 0


def test_worst_error_grows_with_the_ball_and_not_with_the_batch():
    W0, x = normal(0, 30, 4), normal(1, 5, 4)
    errors = [np.asarray(worst_relu_error(W0, x, radius)) for radius in (0.1, 1.0, 2.0, 10.0)]
    assert np.all(np.diff(errors, axis=0) >= 0)
    assert np.all(errors[-1] > errors[0])
    alone = [worst_relu_error(W0, point[None], 1.0)[0] for point in x]
    np.testing.assert_allclose(errors[1], alone, rtol=1e-5)


@pytest.mark.once
def test_rate_is_the_limit_of_the_worst_error():
    """N = 10⁶, B = 1, both signs.

    The worst k is about (B/2g)^{2/3} (N/…)^{2/3} ≈ 4000 units, with g = ½√(2/π) the density of
    |w·x| near 0 among the units of one sign per N; the sum of the k smallest of them has a
    relative standard deviation of order 1/√k ≈ 0.016, and the larger of two signs is taken: 5 %
    is three deviations.
    """
    width = 10**6
    W0 = normal(0, width, 1)
    for norm in (1.0, 2.0):
        worst = float(worst_relu_error(W0, np.full((1, 1), norm), 1.0)[0])
        rate = relu_error_rate(width=width, radius=1.0, input_norm=norm)
        assert worst / rate == pytest.approx(1, abs=0.05)


def test_rate_from_the_quantiles_of_the_distances_to_the_kink():
    """The continuous problem max_k √k B − ∫₀^k (quantile of |w·x|), solved on a grid."""
    width, radius = 10**9, 2.0
    k = np.arange(1, 10**7, 10.0)
    density = 0.5 * width * np.sqrt(2 / np.pi)
    value = np.max(np.sqrt(k) * radius - k**2 / (2 * density)) / np.sqrt(width)
    assert relu_error_rate(width=width, radius=radius) == pytest.approx(value, rel=1e-8)


def test_the_proof_of_the_bound():
    """Its two halves at the threshold c = B^{2/3} m^{-1/3}: |w·x| below c, by Hoeffding at most
    M = cm√(2/π) + √(m log(1/δ)/2) of them, and beyond them √q B − cq ≤ B²/4c.
    """
    for width, radius, delta in itertools.product((64, 4096, 10**6), (0.1, 1, 8), (0.01, 0.5)):
        c = radius ** (2 / 3) * width ** (-1 / 3)
        flips = c * width * np.sqrt(2 / np.pi) + np.sqrt(width * np.log(1 / delta) / 2)
        error = (np.sqrt(flips) * radius + radius**2 / (4 * c)) / np.sqrt(width)
        first = 1.15 * radius ** (4 / 3) / width ** (1 / 6)
        sharper = first + 0.85 * radius * (np.log(1 / delta) / width) ** (1 / 4)
        bound = relu_error_bound(width=width, radius=float(radius), failure_probability=delta)
        assert error <= sharper <= bound


def test_bounds_work_under_jit(no_hook):
    W0, x = jnp.asarray(normal(0, 6, 3)), jnp.asarray(normal(1, 4, 3))
    jitted = jax.jit(worst_relu_error, static_argnums=2)(W0, x, 1.0)
    np.testing.assert_allclose(jitted, worst_relu_error(W0, x, 1.0), rtol=1e-5)
    jitted = jax.jit(worst_relu_weights, static_argnums=2)(W0, x[0], 1.0)
    np.testing.assert_allclose(jitted, worst_relu_weights(W0, x[0], 1.0), rtol=1e-5)
    with pytest.raises(ValueError, match=r"^x must have points of shape"):
        jax.jit(worst_relu_error, static_argnums=2)(W0, x[:, :2], 1.0)


# --- bad input ----------------------------------------------------------------------------------

W, X = np.ones((4, 2)), np.ones((3, 2))


def call_tangent(params, moved):
    return linearize(lambda p, x: x, params)(moved, jnp.ones(2))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: linearize(None, jnp.ones(2)), "apply"),
        (lambda: linearize(len, {"w": jnp.array([np.nan])}), "params"),
        (lambda: linearize(len, {"w": "weights"}), "params"),
        (lambda: call_tangent({"w": jnp.ones(2)}, {"v": jnp.ones(2)}), "params"),
        (lambda: call_tangent({"w": jnp.ones(2)}, [jnp.ones(2)]), "params"),
        (lambda: call_tangent({"w": jnp.ones(2)}, {"w": jnp.ones(3)}), "params"),
        (lambda: smoothness("relu"), "activation"),
        (lambda: smoothness("swish"), "activation"),
        (lambda: smoothness(3), "activation"),
        (lambda: smooth_error_bound(beta=-1.0, width=4, radius=1.0), "beta"),
        (lambda: smooth_error_bound(beta="1", width=4, radius=1.0), "beta"),
        (lambda: smooth_error_bound(beta=1.0, width=0, radius=1.0), "width"),
        (lambda: smooth_error_bound(beta=1.0, width=4.0, radius=1.0), "width"),
        (lambda: smooth_error_bound(beta=1.0, width=4, radius=-1.0), "radius"),
        (lambda: smooth_error_bound(beta=1.0, width=4, radius=1.0, input_norm=-1), "input_norm"),
        (
            lambda: smooth_error_bound(beta=1.0, width=4, radius=1.0, max_output_weight=np.nan),
            "max_output_weight",
        ),
        (lambda: relu_error_bound(width=0, radius=1.0, failure_probability=0.1), "width"),
        (lambda: relu_error_bound(width=4, radius=np.inf, failure_probability=0.1), "radius"),
        *[
            (
                lambda p=p: relu_error_bound(width=4, radius=1.0, failure_probability=p),
                "failure_probability",
            )
            for p in (0.0, 1.0, -0.1, np.nan)
        ],
        (lambda: relu_error_rate(width=True, radius=1.0), "width"),
        (lambda: relu_error_rate(width=4, radius=-1.0), "radius"),
        (lambda: relu_error_rate(width=4, radius=1.0, input_norm=-1.0), "input_norm"),
        (lambda: worst_relu_error(np.ones(4), X, 1.0), "weights"),
        (lambda: worst_relu_error(np.full((4, 2), np.nan), X, 1.0), "weights"),
        (lambda: worst_relu_error(W, np.ones(2), 1.0), "x"),
        (lambda: worst_relu_error(W, np.ones((3, 5)), 1.0), "x"),
        (lambda: worst_relu_error(W, X, -1.0), "radius"),
        (lambda: worst_relu_error(W, X, np.ones(3)), "radius"),
        (lambda: worst_relu_error(W, X, 1.0, output_weights=np.ones(3)), "output_weights"),
        (lambda: worst_relu_error(W, X, 1.0, output_weights=np.full(4, 0.5)), "output_weights"),
        (lambda: worst_relu_weights(W, X, 1.0), "x"),
        (lambda: worst_relu_weights(W, np.ones(3), 1.0), "x"),
        (lambda: worst_relu_weights(W, np.ones(2), np.nan), "radius"),
        (lambda: worst_relu_weights(W[:, None], np.ones(2), 1.0), "weights"),
    ],
)
def test_bad_input(call, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        call()
