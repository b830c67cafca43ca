"""Hierarchical learning: the learner, its targets, the floor under every kernel, and training."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ntklab import hierarchical_learning as hl
from ntklab.networks import mlp

FLOAT = jnp.result_type(float)
EPS = float(jnp.finfo(FLOAT).eps)


# --- the learner --------------------------------------------------------------------------------


@pytest.mark.parametrize("factored", [False, True])
def test_the_network_by_numpy(factored, dtype):
    network = hl.residual_network(7, 3, w_scale=0.5, u_scale=2.0, factored=factored)
    params = network.init(jax.random.key(0), 5, dtype=dtype)
    generator = np.random.default_rng(0)
    params["b1"], params["b2"] = (jnp.asarray(generator.normal(size=7), dtype) for _ in range(2))
    p = {name: np.asarray(value, float) for name, value in params.items()}
    x = generator.normal(size=(11, 5))
    hidden = np.maximum(x @ p["W"].T + p["b1"], 0)
    u = p["V"] @ p["A"] if factored else p["U"]
    first = hidden @ p["A"].T
    second = np.maximum(hidden @ u.T + p["b2"], 0) @ p["A"].T
    points = jnp.asarray(x, dtype)
    rounding = 200 * float(jnp.finfo(dtype).eps)
    got = hl.residual_parts(network, params, points)
    assert all(part.dtype == dtype for part in got)
    assert np.allclose(got[0], first, rtol=rounding, atol=rounding)
    assert np.allclose(got[1], second, rtol=rounding, atol=rounding)
    both = network.apply(params, points)
    assert np.allclose(both, first + second, rtol=rounding, atol=2 * rounding)


def test_the_output_layer_has_no_gradient():
    network = hl.residual_network(8, 2)
    params = network.init(jax.random.key(0), 4)
    slopes = jax.grad(lambda p: jnp.sum(network.apply(p, jnp.ones((3, 4))) ** 2))(params)
    assert not np.any(slopes["A"])
    assert all(np.any(slopes[name]) for name in ("W", "U", "b1", "b2"))


@pytest.mark.parametrize("factored", [False, True])
def test_the_start_has_its_variances(factored):
    """Means of squares over 10,000 numbers and more are within 5 standard errors, √(2/n)."""
    m, d, k = 200, 60, 50
    network = hl.residual_network(m, k, w_scale=0.5, u_scale=3.0, factored=factored)
    params = network.init(jax.random.key(3), d)
    expected = {"W": 0.25 * 2 / d, "A": 1 / m}
    expected |= {"V": 9 * 2 / k} if factored else {"U": 9 * 2 / m}
    for name, variance in expected.items():
        squares = np.asarray(params[name], float) ** 2
        assert np.mean(squares) / variance == pytest.approx(1, abs=5 * math.sqrt(2 / squares.size))
    assert not np.any(params["b1"]) and not np.any(params["b2"])
    u = np.asarray(params["V"] @ params["A"] if factored else params["U"], float)
    # The entries of VA depend on each other: its squares vary as those of k + m rows.
    assert np.mean(u**2) * m / 18 == pytest.approx(1, abs=0.1)


# --- the class that separates -------------------------------------------------------------------


def test_points_are_signs(dtype):
    x = np.asarray(hl.sample_cube(jax.random.key(0), 4000, 5, dtype=dtype))
    assert x.dtype == dtype and set(np.unique(x)) == {-1, 1}
    gram = x.T.astype(float) @ x / 4000
    assert np.max(np.abs(gram - np.eye(5))) < 5 / math.sqrt(4000)
    assert np.max(np.abs(np.mean(x, axis=0))) < 5 / math.sqrt(4000)


def test_subsets_are_uniform():
    """10 sets, 400 draws: chi-squared with 9 degrees of freedom is below 34 but once in 10,000."""
    drawn = [hl.draw_subset(key, 5, 2) for key in jax.random.split(jax.random.key(1), 400)]
    counts = [drawn.count(pair) for pair in itertools.combinations(range(5), 2)]
    assert sum(counts) == 400
    assert sum((count - 40) ** 2 / 40 for count in counts) < 34


def test_the_target_by_hand(dtype):
    x = jnp.asarray([[1, -1, 1, -1], [-1, -1, -1, 1]], dtype)
    got = hl.composed_target(x, (3, 0, 1), 0.5)
    assert got.dtype == dtype
    assert got.tolist() == [[-0.5, 1.5, -0.5], [1.5, -0.5, -0.5]]


# --- the floor ----------------------------------------------------------------------------------


def test_the_floor_by_hand():
    """kα²(1 − N/C(d, k)) at C(5, 2) = 10 and C(30, 4) = 27,405."""
    assert hl.kernel_floor(4, 5, 2, 0.5) == pytest.approx(0.3, rel=1e-14)
    assert hl.kernel_floor(4096, 30, 4, 0.3) == pytest.approx(0.30619, abs=5e-6)
    assert hl.kernel_floor(9, 5, 2, 0.5) > 0
    assert hl.kernel_floor(10, 5, 2, 0.5) == hl.kernel_floor(11, 5, 2, 0.5) == 0
    assert hl.kernel_floor(1, 3, 3, 0.5) == 0
    assert hl.kernel_floor(1, 10**6, 500, 0.5) == pytest.approx(125, rel=1e-14)


# --- training -----------------------------------------------------------------------------------


def adam(params, x, y, order, rate):
    """Kingma and Ba's Algorithm 1 in NumPy, on ‖xw − y‖² of batches of rows."""
    w, first, second = params, np.zeros_like(params), np.zeros_like(params)
    for t, chosen in enumerate(order):
        slope = 2 * x[chosen].T @ (x[chosen] @ w - y[chosen]) / len(chosen)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        move = first / (1 - 0.9 ** (t + 1)) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
        w = w - rate * (1 + math.cos(math.pi * t / len(order))) / 2 * move
    return w


def test_training_by_numpy(dtype):
    generator = np.random.default_rng(0)
    x, y, w = (generator.normal(size=size) for size in ((10, 3), (10, 2), (3, 2)))
    shuffler = np.random.default_rng(7)
    order = np.concatenate([shuffler.permutation(10) for _ in range(5)])
    wanted = adam(w, x, y, order[:48].reshape(12, 4), 0.1)
    network = mlp((2,))._replace(apply=lambda p, x: x @ p)
    arrays = [jnp.asarray(a, dtype) for a in (w, x, y)]
    run = hl.train(
        network, *arrays, steps=12, seed=7, batch_size=4, learning_rate=0.1, evaluations=3
    )
    assert run.steps.tolist() == [0, 4, 8, 12]
    assert run.path.shape == (4, 3, 2) and run.params.dtype == dtype
    rounding = 1e4 * float(jnp.finfo(dtype).eps)
    assert np.allclose(run.params, wanted, rtol=rounding, atol=rounding)
    assert np.array_equal(run.path[0], arrays[0]) and np.array_equal(run.path[-1], run.params)


# --- what is wrong is named ---------------------------------------------------------------------


NETWORK = hl.residual_network(4, 2)
PARAMS = NETWORK.init(jax.random.key(0), 3)
POINTS = jnp.ones((5, 3))
TRAIN = {"network": NETWORK, "params": PARAMS, "x": POINTS, "y": jnp.ones((5, 2)), "steps": 4}
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hl.residual_network(0, 2), "width must be at least 1, got 0"),
        (lambda: hl.residual_network(4, 0), "outputs must be at least 1"),
        (lambda: hl.residual_network(4, 2, w_scale=-1), "w_scale must be at least 0"),
        (lambda: hl.residual_network(4, 2, u_scale=-1), "u_scale must be at least 0"),
        (lambda: hl.residual_network(4, 2, factored=1), "factored must be True or False"),
        (lambda: NETWORK.init(0, 3), "key must be a single key"),
        (lambda: NETWORK.init(KEY, 0), "d must be at least 1"),
        (lambda: NETWORK.init(KEY, 3, dtype=int), "dtype must be a floating-point"),
        (lambda: NETWORK.apply({"W": POINTS}, POINTS), "params must be W"),
        (lambda: NETWORK.apply([POINTS], POINTS), "params must be W"),
        (lambda: NETWORK.apply(PARAMS, jnp.ones((5, 4))), r"x must have shape \[N, 3\]"),
        (lambda: hl.residual_parts(mlp((2, 1)), PARAMS, POINTS), "network must be made by"),
        (lambda: hl.residual_parts(NETWORK, PARAMS, POINTS[0]), "x must have 2 axes"),
        (lambda: hl.sample_cube(0, 2, 2), "key must be a single key"),
        (lambda: hl.sample_cube(KEY, 0, 2), "samples must be at least 1"),
        (lambda: hl.sample_cube(KEY, 2, 0), "dimension must be at least 1"),
        (lambda: hl.sample_cube(KEY, 2, 2, dtype=int), "dtype must be a floating-point"),
        (lambda: hl.draw_subset(KEY, 3, 4), "sparsity must be at most dimension = 3, got 4"),
        (lambda: hl.composed_target(POINTS, (0, 3), 0.5), "subset must name coordinates below"),
        (lambda: hl.composed_target(POINTS, (0, 0), 0.5), "subset must name each coordinate once"),
        (lambda: hl.composed_target(POINTS, (0, 1), None), "alpha must be a number"),
        (lambda: hl.kernel_floor(0, 5, 2, 0.5), "samples must be at least 1, got 0"),
        (lambda: hl.kernel_floor(4, 0, 2, 0.5), "dimension must be at least 1"),
        (lambda: hl.kernel_floor(4, 5, 0, 0.5), "sparsity must be at least 1"),
        (lambda: hl.kernel_floor(4, 5, 6, 0.5), "sparsity must be at most dimension = 5, got 6"),
        (lambda: hl.kernel_floor(4, 5, 2, 1.0), "alpha must lie strictly between 0 and 1"),
        (lambda: hl.kernel_floor(4, 5, 2, 0.0), "alpha must lie strictly between 0 and 1"),
        (lambda: hl.kernel_floor(4.5, 5, 2, 0.5), "samples must be an integer"),
        (lambda: hl.train(**{**TRAIN, "y": jnp.ones((4, 2))}), "y must have 5 rows"),
        (lambda: hl.train(**{**TRAIN, "steps": 0}), "steps must be at least 1"),
        (lambda: hl.train(**TRAIN, evaluations=3), "evaluations must divide steps = 4, got 3"),
        (lambda: hl.train(**TRAIN, batch_size=0), "batch_size must be at least 1"),
        (lambda: hl.train(**TRAIN, learning_rate=0), "learning_rate must be greater than 0"),
        (lambda: hl.train(**TRAIN, seed=-1), "seed must be at least 0"),
    ],
)
def test_bad_arguments_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=message):
        call()
