"""Networks of gates: their sigmoid, what they count, how far they are from a model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ntklab.circuits import quadratic_sigmoid
from ntklab.sparse_parities import (
    feed_forward_selector,
    selector,
)

NAN = np.array([np.nan, 0.0, 0.0])
NETWORK = feed_forward_selector(2)


def test_the_sigmoid_by_its_pieces(dtype):
    z = np.array([-3, 0, 0.1, 0.5, 0.6, 1, 7])
    values = quadratic_sigmoid(jnp.asarray(z, dtype))
    np.testing.assert_allclose(
        values, [0, 0, 0.02, 0.5, 0.68, 1, 1], atol=4 * float(jnp.finfo(dtype).eps)
    )


def test_the_sigmoid_has_slope_at_most_two():
    z = jnp.linspace(-0.5, 1.5, 401)
    slope = jax.vmap(jax.grad(quadratic_sigmoid))(z)
    assert float(jnp.max(slope)) == pytest.approx(2, rel=1e-6)
    assert float(jnp.min(slope)) >= 0


def test_the_largest_difference_is_found_in_and_out_of_the_regimes():
    network = feed_forward_selector(4)
    near = network.largest_difference(lambda t, x: network.apply(t, x) + 0.25, draws=3)
    assert near == pytest.approx(0.25, abs=1e-6)
    seen = []
    network.largest_difference(lambda t, x: seen.append(4 * np.abs(t)) or network.apply(t, x))
    reached = np.concatenate(seen)
    assert len(seen) == 20 and np.min(reached) < 2 and np.max(reached) > 8


def test_the_network_counts_what_it_holds():
    network = feed_forward_selector(6)
    assert network.edges == sum(len(layer.sources) for layer in network.layers)
    assert network.units == sum(len(layer.biases) for layer in network.layers)
    reached = network.inputs
    for layer in network.layers:
        assert layer.sources.max() < reached  # edges come from earlier layers only
        assert sorted(set(layer.targets.tolist())) == list(range(len(layer.biases)))
        reached += len(layer.biases)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quadratic_sigmoid("x"), "z must"),
        (lambda: quadratic_sigmoid(NAN), "z must be finite"),
        (lambda: NETWORK.apply(np.ones(3), np.ones((1, 2))), "theta must have 2 coordinates"),
        (lambda: NETWORK.apply(np.ones(2), np.ones((1, 3))), "x must have 2 coordinates"),
        (lambda: NETWORK.apply(NAN[:2], np.ones((1, 2))), "theta must be finite"),
        (lambda: NETWORK.largest_difference(selector, draws=0), "draws must be at least 1"),
    ],
)
def test_bad_calls_are_named(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
