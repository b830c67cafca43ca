"""What a successful run of descent says of the tangent kernel at its start."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from descent_oracles import (
    EPS,
    FLOAT,
    NETWORK,
    ROUNDING,
    flat,
    loss_by_labels,
    scene,
    seeds,
    shares,
    uniform,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from ntklab import networks
from ntklab import weak_learning as wl
from ntklab.cube import hypercube
from ntklab.descent import LOGISTIC, SQUARE, descend
from ntklab.edges import edge
from ntklab.ledger import weak_learning as ledger
from ntklab.problems import SparseParities
from ntklab.sparse_parities import selector, step_size, tolerated_error
from ntklab.tangent_kernel import empirical_ntk
from ntklab.weak_learning import TurningModel

# --- the predictor of Theorem 4 -------------------------------------------------------------------


def test_features_against_the_kernel_and_differences(dtype):
    params, member = scene(5, dtype)
    features = wl.tangent_features(NETWORK.apply, params, member.points)
    assert features.dtype == dtype and features.shape == (6, 14)
    kernel = empirical_ntk(NETWORK.apply, params, member.points, include_output=True)
    rounding = 100 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(features @ features.T, kernel, atol=10 * rounding)
    np.testing.assert_allclose(
        features[:, 0], NETWORK.apply(params, member.points)[:, 0], atol=rounding
    )


@pytest.mark.parametrize(
    "tau, scale, bias, curvature", [(0.3, 2.0, 0.05, 1.0), (0.7, 0.4, 1, 0.25)]
)
def test_the_promise_is_the_best_value_of_its_parabola(tau, scale, bias, curvature):
    steps = np.linspace(0, 30, 400_001)
    slope = tau - curvature * bias * scale
    best = np.max(steps * slope - curvature / 2 * steps**2 * scale**2)
    found = wl.promised_edge(tau, scale, bias=bias, curvature=curvature)
    assert found == pytest.approx(best, rel=1e-6)


@given(st.floats(0.01, 5), st.floats(0, 3), st.floats(0, 1), st.sampled_from([(1, 1), (0.5, 0.25)]))
def test_from_null_promises_no_less_than_from_the_start(scale, bias, share, loss):
    slope, curvature = loss
    # A gradient at outputs within δ of 0 is at most (|ℓ′(0)| + L₂ δ) R.
    tau = share * (slope + curvature * bias) * scale
    unbiased = wl.promised_edge(tau, scale, curvature=curvature)
    from_start = unbiased - slope * bias - curvature * bias**2 / 2
    assert wl.promised_edge(tau, scale, bias=bias, curvature=curvature) >= from_start - 1e-9


@given(seeds, shares, st.sampled_from(["square", "logistic"]), st.booleans())
@settings(max_examples=60)
def test_theorem_4_on_random_networks_and_distributions(seed, share, name, from_null):
    params, member = scene(seed)
    loss = {"square": SQUARE, "logistic": LOGISTIC}[name]
    run = descend(NETWORK.apply, params, member, step_size=1.0, steps=0, loss=loss)
    norm = float(run.gradient_norms[0])
    found = wl.tangent_edge_from_descent(
        NETWORK.apply, run, member, accuracy=share * norm, from_null=from_null
    )
    features = np.asarray(wl.tangent_features(NETWORK.apply, params, member.points), float)
    radius = np.max(np.linalg.norm(features, axis=1))
    assert found.scale == pytest.approx(radius, rel=ROUNDING)
    if abs(share - 1) > 1e-4 and norm > 1e-4:
        assert found.stays == (share > 1)
    h = np.asarray(found.predictions, float)
    start = np.zeros(6) if from_null else features[:, 0]
    gained = loss_by_labels(start, member, name) - loss_by_labels(h, member, name)
    assert float(found.gain) == pytest.approx(gained, abs=ROUNDING)
    assert float(found.loss) == pytest.approx(loss_by_labels(h, member, name), abs=ROUNDING)
    assert float(found.loss) <= found.bound + ROUNDING
    if not found.stays:
        assert gained >= found.promised - ROUNDING
    assert found.norm <= found.norm_bound * (1 + ROUNDING)
    # h is in the kernel's space, with no more norm than reported.
    weights, *_ = np.linalg.lstsq(features, h, rcond=1e-6 if jnp.float32 == FLOAT else 1e-12)
    np.testing.assert_allclose(features @ weights, h, atol=0.01 if jnp.float32 == FLOAT else 1e-6)
    assert np.linalg.norm(weights) * radius <= found.norm * (1 + 1e-3) + 1e-3


@pytest.mark.parametrize("n, k, alpha", [(8, 3, 0.2), (2, 2, 0.01), (5, 5, 0.9)])
def test_tiny_gains_keep_their_digits(n, k, alpha):
    """s‖g‖ − s²gᵀΣg/(2‖g‖²) from closed-form moments; with C_f the gain is 1e-9 and smaller."""
    problem = SparseParities(n, k, alpha)
    member = problem.distribution(range(k))
    run = descend(
        selector,
        jnp.zeros(n),
        member,
        step_size=step_size(problem),
        steps=1,
        accuracy=tolerated_error(problem),
        estimate="smallest",
    )
    found = wl.tangent_edge_from_descent(selector, run, member, scale=48.0 * n)
    moments = problem.moments(range(k))
    g = -2 * np.asarray(moments.correlation, float)
    unit, s = g / np.linalg.norm(g), alpha / 2**k / (48 * n) ** 2
    expected = s * np.linalg.norm(g) - 2 * s**2 * unit @ np.asarray(moments.second, float) @ unit
    assert float(found.gain) == pytest.approx(expected, rel=200 * EPS)
    assert found.step == pytest.approx(s)
    assert found.norm == pytest.approx(math.hypot(1, s) * 2 * math.sqrt(n), rel=ROUNDING)
    assert found.promised == pytest.approx(alpha**2 / 4**k / (2 * (48 * n) ** 2))


def test_only_the_start_counts(no_hook):
    """The same h whatever the run did afterwards."""
    params, member = scene(7)
    runs = [
        descend(NETWORK.apply, params, member, step_size=eta, steps=steps)
        for eta, steps in ((1.0, 0), (0.3, 3))
    ]
    first, second = (
        wl.tangent_edge_from_descent(NETWORK.apply, run, member, accuracy=1e-3) for run in runs
    )
    np.testing.assert_array_equal(first.predictions, second.predictions)


@pytest.mark.parametrize("share, stays", [(0.99, False), (1.01, True)])
def test_the_norm_of_the_gradient_is_the_border(share, stays):
    params, member = scene(9)
    run = descend(NETWORK.apply, params, member, step_size=1.0, steps=0)
    tau = share * float(run.gradient_norms[0])
    found = wl.tangent_edge_from_descent(NETWORK.apply, run, member, accuracy=tau)
    assert found.stays is stays and (found.promised == 0) is stays


def test_a_model_without_features_stays_at_its_start():
    def dead(theta, x):
        return 0 * x[:, 0] + 0 * theta

    _, member = scene(0)
    run = descend(dead, 0.0, member, step_size=1.0, steps=1)
    found = wl.tangent_edge_from_descent(dead, run, member)
    assert found.stays and found.promised == 0 and float(found.gain) == 0


# --- the turning model ----------------------------------------------------------------------------


@pytest.mark.parametrize("feature, target", [((0,), (0, 1)), ((), (0, 1)), ((0, 2), (1,))])
def test_output_and_slope_move_on_a_circle(feature, target):
    model = TurningModel(feature, target, 0.7)
    points = hypercube(3)
    for angle in np.linspace(-3, 6, 61):
        f, slope = np.asarray(wl.tangent_features(model, float(angle), points), float).T
        psi, chi = (np.prod(np.asarray(points)[:, list(s)], axis=1) for s in (feature, target))
        end = np.where(psi == chi, np.pi / 2, 1.5 * np.pi)
        stopped = np.clip(angle, -np.pi / 2, end)
        np.testing.assert_allclose(f, 0.7 * psi * np.sin(stopped), atol=ROUNDING)
        np.testing.assert_allclose(slope, 0.7 * psi * np.cos(stopped), atol=ROUNDING)
        assert np.all(f**2 + slope**2 <= 0.49 + ROUNDING)
        if angle >= 1.5 * np.pi:
            np.testing.assert_allclose(f, 0.7 * chi, atol=ROUNDING)


def worst_after(model, start, member, eta, tau, steps):
    """Plain Python: all sequences of errors −τ, 0, τ."""
    worst = 0.0
    points = jnp.asarray(member.points)
    features = functools.cache(lambda theta: np.asarray(wl.tangent_features(model, theta, points)))
    chances, labels = (np.asarray(a, float) for a in member[1:])
    for errors in itertools.product((-tau, 0, tau), repeat=steps):
        theta = start
        for error in errors:
            f, slope = features(theta).T
            theta -= eta * (chances @ ((f - labels) * slope) + error)
        f = features(theta)[:, 0]
        worst = max(worst, 0.5 + chances @ (f**2 / 2 - f * labels))
    return worst


@pytest.mark.parametrize("steps, tau, eta", [(1, 0.4, 63.0), (2, 0.2, 63.0), (2, 0.4, 12.0)])
def test_worst_errors_of_one_parameter(steps, tau, eta):
    model = TurningModel((), (0, 1))
    member = uniform(2, lambda x: x[:, 0] * x[:, 1])
    found = ledger._worst_of_signs(model, -math.pi / 4, member, eta, tau, steps)
    expected = worst_after(model, -math.pi / 4, member, eta, tau, steps)
    assert found == pytest.approx(expected, abs=0.01 if jnp.float32 == FLOAT else 1e-6)


# --- runs without labels --------------------------------------------------------------------------


def test_labels_do_not_matter_and_fair_coins_do_the_same(dtype):
    params, member = scene(11, dtype)
    options = {"step_size": 0.4, "steps": 3}
    path = wl.label_free_run(NETWORK.apply, params, member, **options)
    other = wl.label_free_run(
        NETWORK.apply, params, member._replace(label_means=-member.label_means), **options
    )
    for a, b, start in zip(*map(jax.tree.leaves, (path, other, params)), strict=True):
        assert a.dtype == dtype and a.shape == (4, *start.shape)
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[0], start)
    coins = member._replace(label_means=jnp.zeros(6, dtype))
    run = descend(NETWORK.apply, params, coins, **options)
    last = jax.tree.map(lambda leaf: leaf[-1], path)
    np.testing.assert_allclose(flat(last), flat(run.end), atol=100 * float(jnp.finfo(dtype).eps))


def test_the_average_kernel_is_the_average_of_kernels():
    params, member = scene(12)
    path = wl.label_free_run(NETWORK.apply, params, member, step_size=0.4, steps=2)
    average = wl.average_tangent_kernel(NETWORK.apply, path, member.points)
    kernels = [
        empirical_ntk(
            NETWORK.apply,
            jax.tree.map(lambda leaf, t=t: leaf[t], path),
            member.points,
            include_output=True,
        )
        for t in range(3)
    ]
    mean = np.mean(kernels, axis=0)
    np.testing.assert_allclose(average.features @ average.features.T, mean, atol=ROUNDING)
    assert average.dimension == 3 * 14 and average.rank <= 6
    assert average.radius == pytest.approx(np.sqrt(np.max(np.diag(mean))), rel=ROUNDING)


def test_rank_is_at_most_the_number_of_features():
    path = wl.label_free_run(
        TurningModel((0,), (0, 1)),
        -0.4,
        SparseParities(4, 2, 0.5).distribution((0, 1)),
        step_size=7.0,
        steps=1,
    )
    average = wl.average_tangent_kernel(TurningModel((0,), (0, 1)), path, hypercube(4))
    assert average.dimension == 4 and 1 <= average.rank <= 2


@given(seeds, st.floats(0.05, 1.5))
@settings(max_examples=25)
def test_theorem_5_on_random_networks(seed, share):
    params, member = scene(seed)
    path = wl.label_free_run(NETWORK.apply, params, member, step_size=0.4, steps=2)
    features = np.stack(
        [
            wl.tangent_features(
                NETWORK.apply, jax.tree.map(lambda leaf, t=t: leaf[t], path), member.points
            )
            for t in range(3)
        ]
    ).astype(float)
    chances, labels = (np.asarray(a, float) for a in member[1:])
    sizes = [np.linalg.norm((chances * labels) @ f[:, 1:]) for f in features]
    tau = share * max(sizes[:2])
    found = wl.edge_from_label_free_run(NETWORK.apply, path, member, accuracy=tau)
    np.testing.assert_allclose(found.correlations, sizes, atol=ROUNDING)
    radius = max(np.max(np.linalg.norm(f, axis=1)) for f in features)
    assert found.scale == pytest.approx(radius, rel=ROUNDING)
    assert found.norm_bound == pytest.approx(max(radius, tau / radius), rel=ROUNDING)
    assert found.norm <= found.norm_bound * (1 + ROUNDING)
    h = np.asarray(found.predictions, float)
    gained = chances @ (h * labels - h**2 / 2)
    assert float(found.edge) == pytest.approx(gained, abs=ROUNDING)
    if share < 0.999:
        assert found.time < 2
        slopes, unit = features[found.time][:, 1:], chances * labels
        unit = unit @ slopes / np.linalg.norm(unit @ slopes)
        np.testing.assert_allclose(h, tau / radius**2 * slopes @ unit, atol=ROUNDING)
        assert gained >= tau**2 / (2 * radius**2) - ROUNDING
    if share > 1.001:
        assert found.time == 2
        np.testing.assert_allclose(h, features[2, :, 0], atol=ROUNDING)
    assert float(jnp.mean(found.edges)) >= gained / 3 - ROUNDING
    assert float(found.kernel_edge) >= gained / math.sqrt(3) - ROUNDING
    assert float(found.kernel_edge_wide) >= gained - ROUNDING
    assert found.rank <= 6


def test_promises_by_hand():
    found = wl.promised_average_edge(0.4, 0.2, 2.0, 3)
    assert found.edge == pytest.approx(0.005 / 4) and found.norm_bound == 2.0
    assert wl.promised_average_edge(0.001, 0.2, 0.1, 3) == (0.00025, pytest.approx(2.0))
    printed = wl.promised_average_edge(0.4, 0.2, 2.0, 3, printed=True)
    assert printed.edge == pytest.approx(0.005)
    assert printed.norm_bound == pytest.approx(math.sqrt(0.01) * 2)
    assert wl.promised_average_edge(0.004, 5.0, 2.0, 3, printed=True).edge == pytest.approx(0.001)


def test_the_counterexample_in_closed_form():
    """f = c x₁ + sin θ x₂ at θ = 0: w c − w²c²/2 with w = B/√(1 + c²)."""
    c = 0.01
    promise, bound = wl.promised_average_edge(c - c**2 / 2, 1.0, 1 + c, 1, printed=True)
    w = bound / math.sqrt(1 + c**2)
    by_hand = w * c - w**2 * c**2 / 2
    assert (round(promise, 4), round(by_hand, 4)) == (0.005, 0.001)
    member = uniform(2, lambda x: x[:, 0])
    features = wl.tangent_features(ledger._TwoFeatures(c), 0.0, member.points)
    assert float(edge(features, member, bound).edge) == pytest.approx(by_hand, rel=0.01)


def test_a_norm_of_the_scale_alone_is_not_enough():
    """c = 0.1, ρ = 0.4: τ just below cρ exceeds C_f² = c²; the ball of norm C_f falls short."""
    member = SparseParities(2, 2, 0.8).distribution((0, 1))
    model = TurningModel((0,), (0, 1), 0.1)
    tau = 0.0399
    promise, bound = wl.promised_average_edge(0.1 - 0.005, tau, 0.1, 1)
    features = wl.tangent_features(model, 0.0, member.points)
    assert bound == pytest.approx(0.399)
    assert float(edge(features, member, 0.1).edge) == pytest.approx(0.04 - 0.005, abs=1e-4)
    assert promise > 0.0351
    assert float(edge(features, member, bound).edge) >= promise
    found = wl.edge_from_label_free_run(model, jnp.zeros(2), member, accuracy=tau, scale=0.1)
    assert found.time == 0 and found.norm_bound == pytest.approx(0.399)
    assert found.norm == pytest.approx(0.399, rel=1e-4)
    assert float(found.edges[1]) == pytest.approx(0.0800, abs=1e-4)


# --- bad calls ------------------------------------------------------------------------------------

PARAMS, MEMBER = scene(0)
APPLY = NETWORK.apply
RUN = descend(APPLY, PARAMS, MEMBER, step_size=1.0, steps=0)
PATH = wl.label_free_run(APPLY, PARAMS, MEMBER, step_size=1.0, steps=1)
TWO = networks.mlp((3, 2)).apply
START = networks.mlp((3, 2)).init(jax.random.key(0), 2)


def run_descent(apply=APPLY, params=PARAMS, member=MEMBER, **changed):
    options = {"step_size": 1.0, "steps": 1} | changed
    return descend(apply, params, member, **options)


def label_free(apply=APPLY, params=PARAMS, member=MEMBER, **changed):
    options = {"step_size": 1.0, "steps": 1} | changed
    return wl.label_free_run(apply, params, member, **options)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: wl.tangent_features(TWO, START, MEMBER.points), "apply must return"),
        (lambda: wl.tangent_features(APPLY, PARAMS, jnp.zeros(2)), r"x must have shape \[N, 2\]"),
        (lambda: wl.promised_edge(-1.0, 1.0), "accuracy must be at least 0"),
        (lambda: wl.promised_edge(1.0, 0.0), "scale must be greater than 0"),
        (lambda: wl.promised_edge(1.0, 1.0, bias=-1.0), "bias must be at least 0"),
        (lambda: wl.promised_edge(1.0, 1.0, curvature=0.0), "curvature must be greater than 0"),
        (lambda: wl.tangent_edge_from_descent(APPLY, PARAMS, MEMBER), "run must be a Descent"),
        (
            lambda: wl.tangent_edge_from_descent(APPLY, RUN, MEMBER, accuracy=-1.0),
            "accuracy must be at least 0",
        ),
        (
            lambda: wl.tangent_edge_from_descent(APPLY, RUN, MEMBER, scale=0.01),
            "scale must be at least R₀",
        ),
        (lambda: label_free(step_size=-1.0), "step_size must be greater than 0"),
        (lambda: label_free(steps=1.5), "steps must be an integer"),
        (lambda: label_free(apply=TWO, params=START), "apply must return"),
        (
            lambda: wl.average_tangent_kernel(APPLY, PARAMS, MEMBER.points),
            "path must have an axis of T",
        ),
        (
            lambda: wl.average_tangent_kernel(TurningModel((), (0,)), jnp.zeros(()), MEMBER.points),
            "path must have an axis of T",
        ),
        (
            lambda: wl.average_tangent_kernel(APPLY, PATH, jnp.zeros(2)),
            r"x must have shape \[N, 2\]",
        ),
        (lambda: wl.promised_average_edge(-0.1, 1, 1, 1), "gamma must be at least 0"),
        (lambda: wl.promised_average_edge(0.1, -1, 1, 1), "accuracy must be at least 0"),
        (lambda: wl.promised_average_edge(0.1, 1, 0, 1), "scale must be greater than 0"),
        (lambda: wl.promised_average_edge(0.1, 1, 1, -1), "steps must be at least 0"),
        (
            lambda: wl.edge_from_label_free_run(APPLY, PATH, MEMBER, accuracy=-1.0),
            "accuracy must be at least 0",
        ),
        (
            lambda: wl.edge_from_label_free_run(APPLY, PATH, MEMBER, accuracy=0.1, scale=0.01),
            "scale must be at least",
        ),
        (
            lambda: wl.edge_from_label_free_run(
                lambda theta, x: 0 * theta * x[:, 0], jnp.zeros(2), MEMBER, accuracy=0.1
            ),
            "path must have features",
        ),
        (lambda: TurningModel(0, (1,)), "feature must be a sequence"),
        (lambda: TurningModel((), "01"), "target must be a sequence"),
        (lambda: TurningModel((0, 0), (1,)), "subset must name each coordinate once"),
        (lambda: TurningModel((), (0,), 0.0), "size must be greater than 0"),
        (lambda: TurningModel((), (4,))(0.0, jnp.ones((1, 2))), "subset must name coordinates"),
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
