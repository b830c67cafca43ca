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


# --- the concept class --------------------------------------------------------------------------


def test_complexities_of_known_series():
    """Of the sine: sinh R + R cosh R. Of z²: C_α = (CR)² + (CR)² log(1/α)/2."""
    sine = np.array([0 if i % 2 == 0 else (-1) ** (i // 2) / math.factorial(i) for i in range(40)])
    for radius in (0.5, 1.0, 3.0):
        wanted = math.sinh(radius) + radius * math.cosh(radius)
        assert hl.series_complexity(sine, radius=radius) == pytest.approx(wanted, rel=20 * EPS)
        assert hl.series_complexity(sine, radius=radius, constant=3.0) == pytest.approx(
            3 * wanted, rel=20 * EPS
        )
    square = np.array([0.0, 0.0, 1.0])
    assert hl.width_complexity(square, 0.1, radius=2.0, constant=3.0) == pytest.approx(
        36 * (1 + math.log(10) / 2), rel=1e-12
    )
    assert hl.width_complexity(np.array([-5.0]), 0.1, radius=2.0, constant=3.0) == 10


def sum_by_hand(f, x):
    """Σ_i a φ(⟨w, x⟩) for each output, one term after the other."""
    k, p = f.signs.shape
    return np.array(
        [
            [
                sum(
                    f.signs[r, i] * np.polyval(f.coefficients[r, i, ::-1], f.directions[r, i] @ row)
                    for i in range(p)
                )
                for r in range(k)
            ]
            for row in x
        ]
    )


def random_sum(seed, k=3, p=2, d=4, degree=3):
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(k, p, d))
    return hl.SmoothSum(
        generator.choice([-1.0, 1.0], (k, p)),
        directions / np.linalg.norm(directions, axis=2, keepdims=True),
        generator.normal(size=(k, p, degree + 1)),
    )


def test_sums_of_smooth_functions_by_hand(dtype):
    f = random_sum(0)
    x = np.random.default_rng(1).normal(size=(5, 4))
    points = jnp.asarray(x, dtype)
    rounding = 100 * float(jnp.finfo(dtype).eps)
    assert f(points).dtype == dtype
    assert np.allclose(f(points), sum_by_hand(f, x), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0])
def test_bounds_of_norm_and_slope(radius):
    """A thousand points of the ball and their neighbours, for five functions."""
    for seed in range(5):
        f = random_sum(seed)
        x = np.random.default_rng(seed).normal(size=(1000, 4))
        x *= radius / np.linalg.norm(x, axis=1, keepdims=True)
        values = sum_by_hand(f, x)
        steps = 1e-5 * np.random.default_rng(9).normal(size=x.shape)
        slopes = np.linalg.norm(sum_by_hand(f, x + steps) - values, axis=1)
        assert np.max(np.linalg.norm(values, axis=1)) <= f.norm_bound(radius)
        largest = np.max(slopes / np.linalg.norm(steps, axis=1))
        assert largest <= 1.001 * f.lipschitz_bound(radius)
        assert f.norm_bound(radius) == pytest.approx(
            math.sqrt(3)
            * 2
            * max(
                sum((i + 1) * radius**i * abs(c) for i, c in enumerate(row))
                for row in f.coefficients.reshape(6, 4)
            )
        )


def test_the_separating_class_as_a_concept_class(dtype):
    """H = F + αG(F) at points of norm 1 is `composed_target` at points of the cube."""
    x = hl.sample_cube(jax.random.key(0), 9, 6, dtype=dtype)
    simple = hl.coordinate_functions(6, (4, 0, 5))
    composed = hl.polarized_product(3)
    values = simple(x / math.sqrt(6))
    whole = values + 0.25 * composed(values)
    rounding = 100 * float(jnp.finfo(dtype).eps)
    assert np.allclose(whole, hl.composed_target(x, (4, 0, 5), 0.25), rtol=0, atol=rounding)
    assert simple.complexity() == pytest.approx(2 * math.sqrt(6), rel=1e-14)
    assert composed.signs.shape == (3, 8)
    # (k + 1) k^(k/2)/(2ᵏ k!), and k^(k/2) times that at the radius √k.
    assert composed.complexity() == pytest.approx(4 * 3**1.5 / 48, rel=1e-14)
    assert composed.complexity(math.sqrt(3)) == pytest.approx(4 * 27 / 48, rel=1e-14)


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


def second_moment(d, k, alpha):
    """The eigenvalues of the mean of h hᵀ over all h = x_s + αχ_S with s ∈ S, by enumeration."""
    x = np.array(list(itertools.product([1.0, -1.0], repeat=d)))
    functions = [
        x[:, s] + alpha * np.prod(x[:, chosen], axis=1)
        for chosen in map(list, itertools.combinations(range(d), k))
        for s in chosen
    ]
    matrix = np.array(functions) / math.sqrt(len(functions) * 2**d)
    return np.linalg.svd(matrix, compute_uv=False) ** 2


@pytest.mark.parametrize(("d", "k"), [(3, 2), (5, 2), (6, 3), (6, 5), (7, 4)])
@pytest.mark.parametrize("alpha", [0.1, 0.7, 0.999])
def test_the_best_floor_by_enumeration(d, k, alpha):
    eigenvalues = second_moment(d, k, alpha)
    count = math.comb(d, k)
    for n in (0, 1, 2, d - 1, d, d + 1, count - 1, count, count + d - 1, count + d, 10**6):
        left = k * float(np.sum(eigenvalues[n:]))
        assert hl.best_floor(n, d, k, alpha) == pytest.approx(left, rel=1e-10, abs=1e-12)
        if n:
            assert hl.kernel_floor(n, d, k, alpha) <= left + 1e-12


def test_features_are_required_by_hand():
    """C(5, 2)(1 − ε/(2 · ¼)) at ε = 0.1 is 8."""
    assert hl.features_required(5, 2, 0.5, 0.1) == 8
    assert hl.features_required(5, 2, 0.5, 0.10001) == 8
    assert hl.features_required(5, 2, 0.5, 0.0999) == 9
    assert hl.features_required(5, 2, 0.5, 0.6) == 0
    needed = hl.features_required(30, 4, 0.3, 0.01)
    assert hl.kernel_floor(needed, 30, 4, 0.3) <= 0.01 < hl.kernel_floor(needed - 1, 30, 4, 0.3)


def errors_by_least_squares(features, points, probabilities, d, k, alpha):
    root = np.sqrt(probabilities)
    rows = []
    for chosen in itertools.combinations(range(d), k):
        target = points[:, list(chosen)] + alpha * np.prod(points[:, list(chosen)], axis=1)[:, None]
        fit = np.linalg.lstsq(root[:, None] * features, root[:, None] * target, rcond=None)[0]
        rows.append(probabilities @ (features @ fit - target) ** 2)
    return np.array(rows)


def test_errors_of_the_class_by_least_squares(dtype):
    """Signs that depend on each other, a coordinate that is no sign, and features that repeat."""
    generator = np.random.default_rng(0)
    x = np.array(list(itertools.product([1.0, -1.0], repeat=4)))
    points = np.concatenate([x, generator.normal(size=(16, 1))], axis=1)
    probabilities = generator.uniform(0.5, 1.5, 16)
    probabilities /= np.sum(probabilities)
    features = generator.normal(size=(16, 5))
    features = np.concatenate([features, features[:, :1]], axis=1)
    arguments = [a.astype(dtype) for a in (features, points, probabilities)]
    found = hl.class_errors(*arguments, dimension=4, sparsity=3, alpha=0.4)
    wanted = errors_by_least_squares(features, points, probabilities, 4, 3, 0.4)
    rounding = 1e3 * float(jnp.finfo(dtype).eps)
    assert np.allclose(found, wanted, rtol=rounding, atol=rounding)


def kernel(cosine):
    return np.exp(1.5 * cosine) + cosine**3


def test_eigenvalues_on_the_cube_by_enumeration():
    x = np.array(list(itertools.product([1.0, -1.0], repeat=6)))
    gram = kernel(x @ x.T / 6) / 64
    eigenvalues = hl.cube_eigenvalues(kernel, 6)
    all_of_them = np.repeat(eigenvalues, [math.comb(6, j) for j in range(7)])
    assert np.allclose(np.sort(all_of_them), np.linalg.eigvalsh(gram), rtol=0, atol=1e-13)
    for j in range(7):
        parity = np.prod(x[:, :j], axis=1)
        assert np.allclose(gram @ parity, eigenvalues[j] * parity, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("d", "k", "n"), [(5, 2, 3), (6, 3, 12), (6, 6, 4), (7, 4, 40)])
def test_risks_of_kernels_by_enumeration(d, k, n):
    """In mean over all sets: the best weights by least squares, and ridge by its definition."""
    x = np.array(list(itertools.product([1.0, -1.0], repeat=d)))
    samples = np.random.default_rng(3).choice([-1.0, 1.0], (n, d))
    sections = kernel(x @ samples.T / d)
    uniform = np.full(2**d, 2.0**-d)
    errors = errors_by_least_squares(sections, x, uniform, d, k, 0.6)
    best = float(np.mean(np.sum(errors, axis=1)))
    assert hl.best_risk(samples, kernel, k, 0.6) == pytest.approx(best, abs=1e-7)
    sets = np.array(list(itertools.combinations(range(d), k)))
    assert np.allclose(
        hl.target_risks(samples, kernel, sets, 0.6), np.sum(errors, axis=1), rtol=0, atol=1e-7
    )
    ridges = np.array([0.01, 1.0])
    found = hl.ridge_risks(samples, kernel, k, 0.6, ridges)
    for ridge, risk in zip(ridges, found, strict=True):
        risks = []
        for chosen in itertools.combinations(range(d), k):
            both = [
                a[:, list(chosen)] + 0.6 * np.prod(a[:, list(chosen)], axis=1)[:, None]
                for a in (samples, x)
            ]
            gram = kernel(samples @ samples.T / d) + ridge * np.eye(n)
            errors = sections @ np.linalg.solve(gram, both[0]) - both[1]
            risks.append(np.mean(np.sum(errors**2, axis=1)))
        assert risk == pytest.approx(np.mean(risks), rel=1e-9)


# --- what the theorem asks and promises ---------------------------------------------------------


def test_the_published_samples_by_hand():
    assert hl.sample_complexity(8, 3, 0.5) == 9 * 8 * 256
    d = 10**10
    assert hl.sample_complexity(d, 4, d**-0.1) == pytest.approx(16 * float(d) ** 1.8, rel=1e-12)


@pytest.mark.parametrize(("k", "factor"), [(1, 1), (2, 1), (3, 9), (4, 1), (4, 16)])
def test_the_separating_dimension_by_logarithms(k, factor):
    """log C(d, k) by its product: it changes sign within a few parts in a million of the answer."""

    def surplus(d):
        below = 0.9 * k * math.log(d) + k / 2 * math.log(factor) + math.log(1000)
        return sum(math.log((d - j) / (j + 1)) for j in range(k)) - below

    found = hl.separating_dimension(k, factor=factor)
    assert surplus(found * (1 - 1e-9)) < 0 < surplus(found * (1 + 1e-9))
    # Without lower orders: d^(k/10) = 1000 k! c^(k/2).
    assert found == pytest.approx(
        (1000 * math.factorial(k) * factor ** (k / 2)) ** (10 / k), rel=1e-3
    )


def test_alternating_by_normal_equations():
    generator = np.random.default_rng(2)
    x, labels = generator.normal(size=(12, 3)), generator.normal(size=(12, 2))
    chances = generator.uniform(0.5, 1.5, 12)
    found = hl.alternate(x, chances, labels, lambda f: 0.3 * f**2, rounds=3)
    assert found.shape == (4, 12, 2) and not np.any(found[0])
    weighted = x.T * chances
    for before, after in itertools.pairwise(found):
        weights = np.linalg.solve(weighted @ x, weighted @ (labels - 0.3 * before**2))
        assert np.allclose(after, x @ weights, rtol=0, atol=1e3 * EPS)


def flow(u, v, y):
    """The gradient flow of ½(uv − y)², by small steps of Runge and Kutta."""
    w = np.array([u, v])

    def slope(w):
        return -(w[0] * w[1] - y) * w[::-1]

    for _ in range(20000):
        one = slope(w)
        two = slope(w + 0.005 * one)
        three = slope(w + 0.005 * two)
        four = slope(w + 0.01 * three)
        w = w + 0.01 / 6 * (one + 2 * two + 2 * three + four)
    return w


@pytest.mark.parametrize(
    ("u", "v", "y"),
    [(2.0, 0.0, 1.0), (0.3, -1.0, 0.5), (-1.0, 0.2, 3.0), (0.1, 2.0, -1.0), (0.5, 0.5, 1.0)],
)
def test_where_the_flow_ends_and_what_is_nearest(u, v, y):
    end, nearest = hl.descent_and_nearest(u, v, y)
    assert np.allclose(end, flow(u, v, y), rtol=0, atol=1e-6)
    grid = np.exp(np.linspace(-4, 4, 200_001))
    grid = np.concatenate([-grid, grid])
    least = np.min((grid - u) ** 2 + (y / grid - v) ** 2)
    assert np.prod(nearest) == pytest.approx(y, rel=1e-12)
    gap = np.sum((nearest - [u, v]) ** 2)
    assert gap == pytest.approx(least, abs=1e-6) and gap <= least + 1e-12


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
ONE = np.ones((1, 1, 1))
SQUARE = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
CLASS = {"features": SQUARE, "points": SQUARE, "probabilities": np.full(4, 0.25)}
CLASS |= {"dimension": 2, "sparsity": 2, "alpha": 0.5}
ALTERNATE = {"x": POINTS, "probabilities": np.ones(5), "labels": np.ones((5, 2))}
ALTERNATE |= {"compose": np.sin, "rounds": 1}


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
        (lambda: hl.series_complexity(np.ones(0)), "coefficients must be at least one"),
        (lambda: hl.series_complexity(np.ones(2), radius=0), "radius must be greater than 0"),
        (lambda: hl.series_complexity(np.ones(2), constant=0), "constant must be greater than 0"),
        (lambda: hl.width_complexity(np.ones((2, 2)), 0.5), "coefficients must have 1 axes"),
        (lambda: hl.width_complexity(np.ones(2), 1.5), "alpha must lie strictly"),
        (lambda: hl.SmoothSum(np.ones(2), ONE, ONE), "signs must have 2 axes"),
        (lambda: hl.SmoothSum(ONE[0], ONE, np.ones((2, 1, 1))), "coefficients must have shape"),
        (lambda: hl.SmoothSum(2 * ONE[0], ONE, ONE), "signs must be 1 or -1"),
        (lambda: hl.SmoothSum(ONE[0], 2 * ONE, ONE), "directions must have norm 1, got 2"),
        (lambda: hl.SmoothSum(ONE[0], ONE, ONE)(POINTS), r"x must have shape \[N, 1\]"),
        (lambda: hl.coordinate_functions(3, ()), "subset must have at least one"),
        (lambda: hl.coordinate_functions(3, (3,)), "subset must name coordinates below"),
        (lambda: hl.polarized_product(0), "sparsity must be at least 1"),
        (lambda: hl.polarized_product(15), "n must be at most 14"),
        (lambda: hl.best_floor(-1, 5, 2, 0.5), "features must be at least 0"),
        (lambda: hl.best_floor(1, 5, 5, 0.5), "sparsity must be from 2 to dimension - 1 = 4"),
        (lambda: hl.best_floor(1, 5, 1, 0.5), "sparsity must be from 2 to dimension - 1 = 4"),
        (lambda: hl.best_floor(1, 5, 2, 1.5), "alpha must lie strictly"),
        (lambda: hl.features_required(5, 6, 0.5, 0.1), "sparsity must be at most dimension"),
        (lambda: hl.features_required(5, 2, 0.5, 0.0), "error must be greater than 0"),
        (lambda: hl.class_errors(**{**CLASS, "features": POINTS}), "features and probabilities"),
        (lambda: hl.class_errors(**{**CLASS, "dimension": 3}), "dimension must be at most the"),
        (lambda: hl.class_errors(**{**CLASS, "sparsity": 3}), "sparsity must be at most dimension"),
        (lambda: hl.class_errors(**{**CLASS, "probabilities": np.ones(4)}), "probabilities must"),
        (lambda: hl.cube_eigenvalues(lambda c: c[:1], 3), "kernel must give a finite number"),
        (lambda: hl.cube_eigenvalues(lambda c: c * np.nan, 3), "kernel must give a finite number"),
        (lambda: hl.cube_eigenvalues(np.exp, 0), "dimension must be at least 1"),
        (lambda: hl.best_risk(2 * POINTS, np.exp, 2, 0.5), "x must hold points of the cube"),
        (lambda: hl.best_risk(POINTS, np.exp, 1, 0.5), "sparsity must be at least 2"),
        (lambda: hl.best_risk(POINTS, np.exp, 4, 0.5), "sparsity must be at most the dimension"),
        (lambda: hl.target_risks(POINTS, np.exp, np.ones((1, 2)), 0.5), "subsets must be integers"),
        (
            lambda: hl.target_risks(POINTS, np.exp, np.array([0, 1]), 0.5),
            "subsets must be integers",
        ),
        (lambda: hl.target_risks(POINTS, np.exp, np.array([[0, 3]]), 0.5), "subsets must name coo"),
        (lambda: hl.target_risks(POINTS, np.exp, np.array([[-1, 1]]), 0.5), "subsets must name co"),
        (lambda: hl.target_risks(POINTS, np.exp, np.array([[1, 1]]), 0.5), "subsets must name eac"),
        (
            lambda: hl.target_risks(POINTS, np.exp, np.array([[1]]), 0.5),
            "sparsity must be at least",
        ),
        (lambda: hl.ridge_risks(POINTS, np.exp, 2, 0.0, np.ones(1)), "alpha must lie strictly"),
        (lambda: hl.ridge_risks(POINTS, np.exp, 2, 0.5, np.zeros(1)), "ridges must be one or more"),
        (lambda: hl.sample_complexity(5, 6, 0.5), "sparsity must be at most dimension"),
        (lambda: hl.sample_complexity(5, 2, 2.0), "alpha must lie strictly"),
        (lambda: hl.separating_dimension(0), "sparsity must be at least 1"),
        (lambda: hl.separating_dimension(4, factor=0), "factor must be at least 1"),
        (lambda: hl.alternate(**{**ALTERNATE, "labels": POINTS[:2]}), "probabilities and labels"),
        (lambda: hl.alternate(**{**ALTERNATE, "probabilities": -np.ones(5)}), "probabilities must"),
        (lambda: hl.alternate(**{**ALTERNATE, "rounds": -1}), "rounds must be at least 0"),
        (lambda: hl.descent_and_nearest(1.0, -1.0, 1.0), "v must differ from u"),
        (lambda: hl.descent_and_nearest(1.0, 0.0, 0.0), "product must not be 0"),
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
