"""Losses, and gradient descent with errors, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from descent_oracles import NETWORK, ROUNDING, flat, loss_by_labels, scene, seeds, shares
from hypothesis import given, settings
from ntklab import networks
from ntklab import weak_learning as wl
from ntklab.descent import LOGISTIC, SQUARE, SmoothLoss, descend, population_loss
from ntklab.problems import SparseParities
from ntklab.sparse_parities import selector
from ntklab.weak_learning import TurningModel

# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, loss", [("square", SQUARE), ("logistic", LOGISTIC)])
def test_population_loss_label_by_label(name, loss, dtype):
    _, member = scene(0, dtype)
    h = np.random.default_rng(1).normal(size=6)
    found = population_loss(jnp.asarray(h, dtype), member, loss)
    assert found.dtype == dtype
    expected = loss_by_labels(h, member, name)
    assert float(found) == pytest.approx(expected, rel=50 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("loss", [SQUARE, LOGISTIC])
def test_curvature_is_attained_and_not_exceeded(loss):
    places = jnp.linspace(-6, 6, 2001)
    second = jax.vmap(jax.grad(jax.grad(lambda f: loss.value(f, jnp.ones(())))))(places)
    assert float(jnp.max(jnp.abs(second))) == pytest.approx(loss.curvature, rel=1e-5)


# --- descent --------------------------------------------------------------------------------------


def turning_gradient(theta, member):
    """∇L of the turning model with ψ = x₁, χ = x₁x₂, by hand."""
    x, chances, labels = (np.asarray(a, float) for a in member)
    end = np.pi - np.pi / 2 * x[:, 1]
    inside = (theta > -np.pi / 2) & (theta < end)
    f = x[:, 0] * np.sin(np.clip(theta, -np.pi / 2, end))
    slope = x[:, 0] * np.cos(theta) * inside
    return chances @ ((f - labels) * slope), 0.5 + chances @ (f**2 / 2 - f * labels)


def test_descent_step_by_step(dtype):
    model = TurningModel((0,), (0, 1))
    member = SparseParities(2, 2, 0.6).distribution((0, 1), dtype=dtype)
    run = descend(model, jnp.asarray(0.1, dtype), member, step_size=0.7, steps=9)
    assert run.losses.dtype == run.end.dtype == dtype
    theta, losses, norms = 0.1, [], []
    for t in range(10):
        slope, loss = turning_gradient(theta, member)
        losses.append(loss)
        norms.append(abs(slope))
        if t < 9:
            theta -= 0.7 * slope
    rounding = 100 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(run.losses, losses, atol=rounding)
    np.testing.assert_allclose(run.gradient_norms, norms, atol=rounding)
    assert float(run.end) == pytest.approx(theta, abs=rounding)
    assert (run.step_size, run.accuracy, float(run.start)) == (0.7, 0.0, pytest.approx(0.1))


def one_step(seed, tau, estimate, loss=SQUARE):
    """The estimate that a step took, the gradient, and the run."""
    params, member = scene(seed)
    exact = descend(NETWORK.apply, params, member, step_size=0.5, steps=1, loss=loss)
    run = descend(
        NETWORK.apply,
        params,
        member,
        step_size=0.5,
        steps=1,
        accuracy=tau,
        estimate=estimate,
        loss=loss,
        seed=seed % 1000,
    )
    start = flat(params)
    return (start - flat(run.end)) / 0.5, (start - flat(exact.end)) / 0.5, run


@given(seeds, shares)
@settings(max_examples=25)
def test_random_errors_have_norm_tau(seed, tau):
    taken, gradient, run = one_step(seed, tau, "random")
    assert np.linalg.norm(taken - gradient) == pytest.approx(tau, abs=ROUNDING)
    assert float(run.gradient_norms[0]) == pytest.approx(np.linalg.norm(gradient), abs=ROUNDING)


@given(seeds, shares)
@settings(max_examples=25)
def test_the_smallest_estimate_is_the_nearest_to_zero(seed, tau):
    taken, gradient, _ = one_step(seed, tau, "smallest")
    size = np.linalg.norm(gradient)
    expected = gradient * max(0, 1 - tau / size)
    np.testing.assert_allclose(taken, expected, atol=ROUNDING * max(1, size))


def test_a_run_that_may_stay_stays():
    params, member = scene(3)
    norm = float(descend(NETWORK.apply, params, member, step_size=1, steps=0).gradient_norms[0])
    run = descend(
        NETWORK.apply,
        params,
        member,
        step_size=1.0,
        steps=3,
        accuracy=1.01 * norm,
        estimate="smallest",
    )
    np.testing.assert_array_equal(flat(run.end), flat(params))
    assert len(set(run.losses.tolist())) == 1


def test_random_errors_follow_the_seed():
    ends = [
        flat(
            descend(
                NETWORK.apply,
                *scene(0),
                step_size=0.5,
                steps=1,
                accuracy=0.1,
                estimate="random",
                seed=seed,
            ).end
        )
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert np.max(np.abs(ends[0] - ends[2])) > 1e-3


def test_gradient_of_the_selector_in_closed_form():
    problem = SparseParities(6, 3, 0.3)
    run = descend(selector, jnp.zeros(6), problem.distribution((0, 2, 5)), step_size=1.0, steps=0)
    expected = 2 * np.linalg.norm([0.3 / 4] * 3 + [0.3 / 16] * 3)
    assert float(run.gradient_norms[0]) == pytest.approx(expected, rel=1e-5)


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
        (lambda: SmoothLoss(1.0, 1.0), "value must be a function"),
        (lambda: SmoothLoss(jnp.subtract, 0.0), "curvature must be greater than 0"),
        (lambda: population_loss(jnp.zeros(5), MEMBER), r"predictions must have shape \(6,\)"),
        (lambda: population_loss(jnp.zeros(6), None), "distribution must be Distribution"),
        (lambda: population_loss(jnp.zeros(6), MEMBER, abs), "loss must be SmoothLoss"),
        (lambda: run_descent(step_size=0.0), "step_size must be greater than 0"),
        (lambda: run_descent(steps=-1), "steps must be at least 0"),
        (lambda: run_descent(accuracy=-0.1), "accuracy must be at least 0"),
        (lambda: run_descent(estimate="worst"), "estimate must be one of exact, random, smallest"),
        (lambda: run_descent(seed=-1), "seed must be at least 0"),
        (lambda: run_descent(loss="square"), "loss must be SmoothLoss"),
        (lambda: run_descent(apply=3), "apply must be a function"),
        (lambda: run_descent(apply=TWO, params=START), r"apply must return \[N\] or \[N, 1\]"),
        (lambda: run_descent(params=()), "params must have floating-point leaves"),
        (
            lambda: run_descent(params=jax.tree.map(lambda a: a * jnp.nan, PARAMS)),
            "params must be fin",
        ),
        (lambda: run_descent(member=PARAMS), "distribution must be Distribution"),
        (
            lambda: run_descent(member=MEMBER._replace(label_means=2 * jnp.ones(6))),
            "distribution.label_means must lie",
        ),
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
