"""The selector, printed and repaired; one step, its worst error; the network; the training."""

import itertools
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ntklab import networks, sparse_parities
from ntklab.cube import hypercube
from ntklab.edges import edge
from ntklab.problems import LeakyParities, SparseParities, square_loss
from ntklab.sparse_parities import (
    feed_forward_selector,
    gate,
    largest_scale,
    one_step,
    parity_of_selection,
    printed_scale_witness,
    rescaled_sigmoid,
    selection,
    selector,
    selector_scale,
    selector_scale_bound,
    step_size,
    tangent_edge,
    tolerated_error,
    train_on_parity,
    worst_gradient_error,
    zero_of_a_factor,
)

# --- an oracle: the source's formulas, number by number -----------------------------------------


def sigma(z):
    if z <= 0:
        return 0.0
    if z <= 0.5:
        return 2 * z**2
    if z <= 1:
        return 4 * z - 2 * z**2 - 1
    return 1.0


def oracle(theta, x, repaired=True):
    """Equations (9)–(13) as they are printed, or with the repaired factors."""
    n = len(theta)
    z = [t * b for t, b in zip(theta, x, strict=True)]
    s = [sigma(n * v - 2) - sigma(-n * v - 2) for v in z]
    switch = 1 - math.prod(1 - v**2 for v in s)
    parity = math.prod(1 - 2 * sigma(-v) if repaired else 1 + v - v**2 for v in s)
    inner = sum(z) + switch * (parity - sum(z))
    return -1 + 2 * sigma((inner + 1) / 2)


@pytest.mark.parametrize("repaired", [True, False])
def test_the_selector_is_the_printed_formula(dtype, repaired):
    generator = np.random.default_rng(0)
    theta = generator.uniform(-4, 4, (30, 5)) / 5
    x = np.asarray(hypercube(5), float)
    model = jax.jit(lambda t: selector(t, jnp.asarray(x, dtype), repaired=repaired))
    for row in theta:
        values = model(jnp.asarray(row, dtype))
        assert values.dtype == dtype
        expected = [oracle(row, point, repaired) for point in x]
        # Rounding in θ is amplified by the model's scale, at most 50 n, and the printed 4 (5/4)ⁿ.
        np.testing.assert_allclose(values, expected, atol=300 * float(jnp.finfo(dtype).eps))


def test_a_rescaled_sigmoid_takes_its_values():
    z = jnp.array([-1.0, 2.0, 3.0, 4.0, 9.0])
    values = rescaled_sigmoid(z, start=2, end=4, low=5, high=-1)
    np.testing.assert_allclose(values, [5, 5, 2, -1, -1], atol=1e-5)


def test_selection_and_gate_and_parity_by_hand():
    z = jnp.array([4.0, -2.5, 1.0, -9.0]) / 4
    np.testing.assert_allclose(selection(z), [1, -0.5, 0, -1], atol=1e-6)
    s = jnp.array([1.0, -0.5, 0.0, 0.5])
    assert float(gate(s[1:])) == pytest.approx(1 - 0.75**2)
    assert float(parity_of_selection(s)) == 0  # 1 − 2σ(½) = 0
    assert float(parity_of_selection(s, repaired=False)) == pytest.approx(1 * 0.25 * 1 * 1.25)


@pytest.mark.parametrize("repaired", [True, False])
def test_on_signs_the_parity_is_the_product(repaired):
    for signs in itertools.product([-1.0, 0.0, 1.0], repeat=3):
        expected = math.prod(v for v in signs if v)
        assert float(parity_of_selection(jnp.array(signs), repaired=repaired)) == expected


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=6))
def test_repaired_factors_stay_in_range(signs):
    assert abs(float(parity_of_selection(jnp.array(signs)))) <= 1


# --- the scale ----------------------------------------------------------------------------------


@pytest.mark.float64
@pytest.mark.parametrize("repaired", [True, False])
def test_the_scale_is_the_norm_of_gradient_and_value(repaired):
    generator = np.random.default_rng(1)
    theta, x = generator.uniform(-3, 3, 6) / 6, np.sign(generator.normal(size=6))
    steps = 1e-6 * np.eye(6)
    slope = [
        (oracle(theta + e, x, repaired) - oracle(theta - e, x, repaired)) / 2e-6 for e in steps
    ]
    expected = math.hypot(*slope, oracle(theta, x, repaired))
    found = selector_scale(jnp.asarray(theta * x), repaired=repaired)
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.float64
@given(st.lists(st.floats(-3.5, 3.5), min_size=12, max_size=12))
def test_no_place_exceeds_the_proved_scale(z):
    assert float(selector_scale(jnp.array(z) / 12)) <= selector_scale_bound(12)


@pytest.mark.float64
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=6))
def test_gate_and_parity_are_as_steep_as_the_proof_of_the_scale_says(signs):
    """|∇A|² ≤ (64/3) A (1 − A) and |∇Q|² ≤ 64 (1 − |Q|)^(3/2), in units of n²."""
    s = np.array(signs)
    rise = np.sqrt(8 * np.minimum(abs(s), 1 - abs(s)))
    others = [np.delete(s, i) for i in range(len(s))]
    factor = np.vectorize(lambda v: 1 - 2 * sigma(-v))
    opened, parity = float(gate(s)), float(parity_of_selection(s))
    slopes = 2 * s * rise * [np.prod(1 - rest**2) for rest in others]
    assert np.sum(slopes**2) <= 64 / 3 * opened * (1 - opened) + 1e-12
    steep = np.where(s < 0, 8 * np.minimum(abs(s), 1 - abs(s)), 0)
    slopes = steep * rise * [np.prod(factor(rest)) if len(rest) else 1 for rest in others]
    assert np.sum(slopes**2) <= 64 * (1 - abs(parity)) ** 1.5 + 1e-12


@pytest.mark.float64
def test_the_search_attains_sixteen_n():
    """The lower bound of the exercise, which a random search would miss."""
    found, place = largest_scale(12, starts=8, steps=100)
    assert float(found) == pytest.approx(float(selector_scale(place)), rel=1e-9)
    assert 16 * 12 * (1 - 1e-3) <= float(found) <= selector_scale_bound(12)
    by_hand = jnp.zeros(12).at[:2].set(jnp.array([4.0, -2.5]) / 12)
    assert float(selector_scale(by_hand)) == pytest.approx(16 * 12)


@pytest.mark.float64
@pytest.mark.parametrize("n", [2, 3, 4, 8, 16, 40])
def test_the_printed_scale_grows_as_proved(n):
    value = float(selector_scale(printed_scale_witness(n), repaired=False))
    assert value >= n * 1.25 ** (n - 1)
    # The limit 2 · 4√((1 − φ)/2) · √5 of the constant.
    phi = (math.sqrt(5) - 1) / 2
    limit = 8 * math.sqrt((1 - phi) / 2) * math.sqrt(5)
    if n == 40:
        assert value / (n * 1.25 ** (n - 1)) == pytest.approx(limit, rel=1e-3)


@pytest.mark.float64
def test_the_witness_at_512_in_exact_arithmetic():
    """Where floating point saturates: H = 0 exactly, the rest of the derivative in decimals."""
    from decimal import Decimal, getcontext

    getcontext().prec = 80
    n, phi = 512, (Decimal(5).sqrt() - 1) / 2
    rise = 4 * n * ((1 - phi) / 2).sqrt()  # ξ′ at the last coordinate
    closed = phi * Decimal("0.75") ** (n - 1)  # 1 − S
    total = Decimal("2.5") * (n - 1) / n - (3 - ((1 - phi) / 2).sqrt()) / n
    inner = closed * total
    slope = (
        closed + 2 * inner * rise + (1 - closed) * Decimal("1.25") ** (n - 1) * (1 + 2 * phi) * rise
    )
    gradient = 2 * (1 - abs(inner)) * slope
    assert gradient > n * Decimal("1.25") ** (n - 1)
    small = 16
    assert float(gradient.log10()) > 51
    assert float(selector_scale(printed_scale_witness(small), repaired=False)) > small


# --- one step -----------------------------------------------------------------------------------


@pytest.mark.float64
@pytest.mark.parametrize(("n", "k", "alpha"), [(4, 2, 0.5), (6, 3, 0.1), (5, 5, 0.9)])
def test_one_step_is_descent_on_the_exact_loss(n, k, alpha):
    """Closed-form gradient against automatic differentiation of the enumerated loss, all I."""
    problem = SparseParities(n, k, alpha)

    @jax.jit
    def slope(labels):
        member = problem.distribution(range(k))._replace(label_means=labels)
        return jax.grad(lambda t: square_loss(selector(t, member.points), member))(jnp.zeros(n))

    for subset in problem.subsets():
        member = problem.distribution(subset)
        theta = one_step(problem, subset)
        np.testing.assert_allclose(
            theta, -step_size(problem) * slope(member.label_means), atol=1e-12
        )
        values = selector(theta, member.points)
        np.testing.assert_allclose(values, member.label_means, atol=1e-12)


@pytest.mark.float64
@given(
    st.sampled_from([2, 3, 17, 128, 1024]),
    st.integers(2, 10),
    st.floats(0.01, 0.99),
    st.integers(0, 2**31),
)
def test_any_admissible_error_leaves_the_bands_intact(n, k, alpha, seed):
    k = min(k, n)
    problem = SparseParities(n, k, alpha)
    generator = np.random.default_rng(seed)
    error = generator.normal(size=n) * (generator.random(n) < generator.random())
    norm = np.linalg.norm(error)
    error = error / norm * tolerated_error(problem) if norm > 0 else error
    theta = n * np.asarray(one_step(problem, range(k), error=error))
    assert np.all((theta[:k] >= 3 - 1e-9) & (theta[:k] <= 5 + 1e-9))
    assert np.all((theta[k:] >= -1e-9) & (theta[k:] <= 2 + 1e-9))


def test_the_worst_error_inside_a_trace():
    def search():
        return worst_gradient_error(PROBLEM, (0, 1), 0.2, starts=2, steps=3).loss

    np.testing.assert_allclose(jax.jit(search)(), search(), rtol=1e-5)


@pytest.mark.float64
def test_the_adversary_uses_its_budget_and_wins_beyond_it():
    problem = SparseParities(5, 2, 0.4)
    tau = tolerated_error(problem)
    losses = []
    for scale in (0.0, 1.0, 1.6, 3.0):
        worst = worst_gradient_error(problem, (1, 3), scale * tau, starts=4, steps=20)
        assert float(jnp.linalg.norm(worst.error)) == pytest.approx(scale * tau, abs=1e-12)
        theta = one_step(problem, (1, 3), error=worst.error)
        member = problem.distribution((1, 3))
        again = square_loss(selector(theta, member.points), member)
        assert float(worst.loss) == pytest.approx(float(again), abs=1e-12)
        losses.append(float(worst.loss))
    assert losses[0] == losses[1] == 0
    assert 0.01 < losses[2] < losses[3]


# --- the tangent kernel -------------------------------------------------------------------------


@pytest.mark.float64
@pytest.mark.parametrize(("n", "k"), [(2, 2), (5, 2), (7, 7), (8, 4)])
@pytest.mark.parametrize("bound", [math.inf, 0.05, 1.0])
def test_the_closed_form_edge_is_the_enumerated_one(n, k, bound):
    problem = SparseParities(n, k, 0.3)
    subset = tuple(range(n - k, n))
    best = edge(lambda x1, x2: 4 * x1 @ x2.T, problem.distribution(subset), bound)
    assert tangent_edge(problem, bound) == pytest.approx(float(best.edge), abs=1e-10)


@pytest.mark.float64
@given(st.integers(2, 4000), st.integers(2, 12), st.floats(0.001, 0.999))
def test_the_edge_lies_between_its_bounds(n, k, alpha):
    k = min(k, n)
    problem = SparseParities(n, k, alpha)
    free = tangent_edge(problem)
    b = alpha * np.where(np.arange(n) < k, 2.0 ** (1 - k), 2.0 ** (-1 - k))
    c = 1 - alpha / 4
    formula = (b @ b - alpha / 4 * b.sum() ** 2 / (c + n * alpha / 4)) / (2 * c)
    assert free == pytest.approx(formula, rel=1e-8)
    assert free <= alpha / 2
    assert tangent_edge(problem, n) >= 2 * alpha**2 / 4**k * (1 - 1e-9)


# --- the network --------------------------------------------------------------------------------


@pytest.mark.float64
@pytest.mark.parametrize("n", [1, 2, 3, 7, 16])
def test_the_network_equals_the_selector(n):
    network = feed_forward_selector(n)
    generator = np.random.default_rng(n)
    x = jnp.asarray(np.sign(generator.normal(size=(40, n))))
    both = jax.jit(lambda t: network.apply(t, x) - selector(t, x))
    for spread in (1.0, 4.0, 40.0):
        theta = jnp.asarray(generator.uniform(-spread, spread, n) / n)
        assert float(jnp.max(jnp.abs(both(theta)))) <= 1e-12
    assert network.edges == 36 * n + 4
    assert network.depth == 2 * math.ceil(math.log2(n)) + 9 if n > 1 else 9


# --- training -----------------------------------------------------------------------------------


def test_seeds_in_one_program_are_the_seeds_one_by_one():
    settings = {"n": 8, "k": 2, "alpha": 0.5, "steps": 20, "evaluations": 2, "width": 8}
    settings |= {"batch_size": 32, "test_size": 64}
    together = train_on_parity(seeds=[0, 3], **settings)
    alone = train_on_parity(seeds=[3], **settings)
    assert together.steps.tolist() == [10, 20]
    np.testing.assert_allclose(together.losses[1], alone.losses[0], atol=1e-4)
    assert not np.allclose(together.losses[0], together.losses[1], atol=1e-3)
    assert np.all((together.accuracies >= 0) & (together.accuracies <= 1))


@pytest.mark.parametrize("linearized", [False, True])
def test_training_follows_optax_by_hand(linearized):
    """Twice two steps of Adam by its formula, in NumPy, on the batches that the keys give."""
    from ntklab.boolean_kernels import sample_sparse_parity

    settings = {"n": 6, "k": 2, "alpha": 0.25, "steps": 4, "evaluations": 2, "width": 4}
    settings |= {"batch_size": 16, "test_size": 256}
    curves = train_on_parity(seeds=[5], learning_rate=0.05, linearized=linearized, **settings)
    start, test, data = jax.random.split(jax.random.key(5), 3)
    network = networks.mlp((4, 1), parameterization="standard", w_std=math.sqrt(2), b_std=0.1)
    flat, unravel = jax.flatten_util.ravel_pytree(network.init(start, 6))

    def model(theta, x):
        return network.apply(unravel(theta), x)[:, 0]

    def loss(theta, x, y):
        outputs = model(theta, x)
        if linearized:
            outputs = model(flat, x) + jax.jacrev(lambda t: model(t, x))(flat) @ (theta - flat)
        return jnp.mean((outputs - y) ** 2) / 2

    first, second = np.zeros(len(flat)), np.zeros(len(flat))
    theta = np.asarray(flat, float)
    alpha = jnp.asarray(0.25)
    stretches = [jax.random.split(jax.random.fold_in(data, number), 2) for number in (0, 1)]
    for t, key in enumerate((key for keys in stretches for key in keys), start=1):
        x, y = sample_sparse_parity(key, 6, (0, 1), alpha, 16)
        slope = np.asarray(jax.grad(loss)(jnp.asarray(theta, flat.dtype), x, y), float)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        scale = np.sqrt(second / (1 - 0.999**t)) + 1e-8
        theta = theta - 0.05 * first / (1 - 0.9**t) / scale
    x, y = sample_sparse_parity(test, 6, (0, 1), alpha, 256)
    expected = float(loss(jnp.asarray(theta, flat.dtype), x, y))
    assert float(curves.losses[0, 1]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.once
def test_seeds_spread_over_devices():
    """Four simulated devices give what one device gives."""
    program = (
        "import jax; from ntklab.sparse_parities import train_on_parity; "
        "c = train_on_parity(n=8, k=2, alpha=0.5, steps=20, evaluations=1, width=8, "
        "batch_size=32, test_size=64, seeds=range(4)); "
        "print(len(jax.devices()), len(c.losses.sharding.device_set), "
        "*(f'{float(v):.4f}' for v in c.losses[:, 0]))"
    )
    outputs = []
    for count in (1, 4):
        flags = os.environ.get("XLA_FLAGS", "")
        flags = f"{flags} --xla_force_host_platform_device_count={count}"
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        outputs.append(done.stdout.split())
    assert outputs[0][:2] == ["1", "1"]
    assert outputs[1][:2] == ["4", "4"]
    np.testing.assert_allclose(
        [float(v) for v in outputs[0][2:]], [float(v) for v in outputs[1][2:]], atol=2e-3
    )


# --- bad calls ----------------------------------------------------------------------------------

PROBLEM = SparseParities(4, 2, 0.5)
NAN = np.array([np.nan, 0.0, 0.0])
TRAINING = {"n": 8, "k": 2, "alpha": 0.5, "steps": 4, "seeds": [0], "evaluations": 2}
OTHER = LeakyParities(4, 0.5)
BAD_CALLS = [
    (lambda: step_size(OTHER), "problem must be SparseParities, got LeakyParities"),
    (lambda: tolerated_error(OTHER), "problem must be SparseParities, got LeakyParities"),
    (lambda: one_step(OTHER, (0, 1)), "problem must be SparseParities, got LeakyParities"),
    (lambda: worst_gradient_error(OTHER, (0, 1), 0.1), "problem must be SparseParities"),
    (lambda: tangent_edge(OTHER), "problem must be SparseParities, got LeakyParities"),
    (lambda: selector(np.zeros(3), np.ones((1, 3)), repaired="no"), "repaired must be True or F"),
    (lambda: selector_scale(np.zeros(3), repaired=1), "repaired must be True or False, got 1"),
    (lambda: parity_of_selection(np.zeros(3), repaired=None), "repaired must be True or False"),
    (lambda: largest_scale(4, repaired="yes"), "repaired must be True or False"),
    (lambda: zero_of_a_factor(0), "repaired must be True or False, got 0"),
    (
        lambda: worst_gradient_error(PROBLEM, (0, 1), 0.1, repaired="no"),
        "repaired must be True or False",
    ),
    (lambda: rescaled_sigmoid(NAN[1:], start=1, end=1, low=0, high=1), "end must be above start"),
    (lambda: selection(1.0), "z must have"),
    (lambda: gate(NAN), "s must be finite"),
    (lambda: parity_of_selection(2.0), "s must have"),
    (lambda: selector(np.zeros(3), np.ones((2, 4))), r"x must have shape \[N, 3\]"),
    (lambda: selector(NAN, np.ones((2, 3))), "theta must be finite"),
    (lambda: selector_scale(NAN), "z must be finite"),
    (lambda: selector_scale_bound(0), "n must be at least 1"),
    (lambda: printed_scale_witness(1), "n must be at least 2"),
    (lambda: largest_scale(0), "n must be at least 1"),
    (lambda: largest_scale(2, starts=0), "starts must"),
    (lambda: largest_scale(2, steps=0), "steps must"),
    (lambda: one_step(PROBLEM, (0,)), "subset must have k = 2"),
    (lambda: one_step(PROBLEM, (0, 7)), "subset must name coordinates below n = 4"),
    (lambda: one_step(PROBLEM, (0, 1), error=np.zeros(3)), r"error must have shape \(4,\)"),
    (lambda: worst_gradient_error(PROBLEM, (0, 1), -1.0), "norm must be at least 0"),
    (
        lambda: worst_gradient_error(SparseParities(20, 2, 0.5), (0, 1), 0.1),
        "n must be at most 14.*closed form",
    ),
    (lambda: tangent_edge(PROBLEM, -1.0), "norm_bound must be at least 0"),
    (lambda: feed_forward_selector(0), "n must be at least 1"),
    (lambda: feed_forward_selector(2).largest_difference(selector, draws=0), "draws must be at"),
    (lambda: feed_forward_selector(2).apply(np.zeros(3), np.ones((1, 2))), "theta must have 2"),
    (lambda: feed_forward_selector(2).apply(np.zeros(2), np.ones((1, 3))), "x must have 2"),
    (lambda: SparseParities(3, 4, 0.5), "k must be at most n = 3, got 4"),
    (lambda: SparseParities(3, 2, 1.0), "alpha must lie strictly between 0 and 1"),
    (lambda: train_on_parity(**TRAINING | {"k": 9}), "k must be at most n = 8, got 9"),
    (lambda: train_on_parity(**TRAINING | {"alpha": 1.0}), "alpha must be below 1"),
    (lambda: train_on_parity(**TRAINING | {"alpha": -0.1}), "alpha must be at least 0"),
    (lambda: train_on_parity(**TRAINING | {"evaluations": 3}), "evaluations must divide steps = 4"),
    (lambda: train_on_parity(**TRAINING | {"seeds": []}), "seeds must be a multiple"),
    (lambda: train_on_parity(**TRAINING | {"learning_rate": 0}), "learning_rate must be greater"),
    (lambda: train_on_parity(**TRAINING | {"width": 0}), "width must be at least 1"),
    (lambda: train_on_parity(**TRAINING | {"linearized": 1}), "linearized must be True or False"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_a_bad_call_is_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_step_and_tolerance_are_the_claimed_ones():
    problem = SparseParities(n=16, k=4, alpha=0.25)
    assert step_size(problem) == 2**4 / (0.25 * 16)
    assert tolerated_error(problem) == 0.25 / 2**4
    assert sparse_parities.__all__ == sorted(sparse_parities.__all__)
