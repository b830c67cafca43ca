"""Networks: formulas by a forward pass in NumPy, laws at initialization, the paired network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from ntklab import networks
from ntklab.checks import rounding_tolerance
from ntklab.networks import activation_function, mlp, shallow, unbiased

ORACLES = {
    "relu": lambda z: np.maximum(z, 0),
    "erf": scipy.special.erf,
    "tanh": np.tanh,
    "gelu": lambda z: z * scipy.special.ndtr(z),
    "softplus": lambda z: np.logaddexp(z, 0),
    "identity": lambda z: z,
}


def points(n, d, dtype=None, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)), dtype)


def forward(params, x, gains, activation):
    """The network's formula, in NumPy and float64; `gains(fan_in, fan_out)`."""
    a = np.asarray(x, float)
    for layer in params:
        weight = np.asarray(layer["weight"], float)
        weight_gain, bias_gain = gains(weight.shape[1], weight.shape[0])
        z = weight_gain * a @ weight.T
        if "bias" in layer:
            z = z + bias_gain * np.asarray(layer["bias"], float)
        a = ORACLES[activation](z)
    return z


GAINS = {
    "ntk": lambda fan_in, fan_out: (1.3 / np.sqrt(fan_in), 0.4),
    "standard": lambda fan_in, fan_out: (1.0, 1.0),
    "ntk-fan-out": lambda fan_in, fan_out: (1.3 / np.sqrt(fan_out), 0.4),
}


@pytest.mark.parametrize("parameterization", networks.PARAMETERIZATIONS)
@pytest.mark.parametrize("widths", [(1,), (7, 5, 3)])
def test_outputs_follow_the_formula(widths, parameterization, dtype):
    network = mlp(
        widths, activation="tanh", parameterization=parameterization, w_std=1.3, b_std=0.4
    )
    params = network.init(jax.random.key(0), 4, dtype=dtype)
    x = points(6, 4, dtype)
    outputs = jax.jit(network.apply)(params, x)
    assert outputs.dtype == dtype
    assert outputs.shape == (6, widths[-1])
    expected = forward(params, x, GAINS[parameterization], "tanh")
    np.testing.assert_allclose(outputs, expected, atol=20 * jnp.finfo(dtype).eps)


@pytest.mark.parametrize("name", networks.ACTIVATIONS)
def test_activations(name, dtype):
    z = np.linspace(-5, 5, 101)
    values = activation_function(name)(jnp.asarray(z, dtype))
    assert values.dtype == dtype
    np.testing.assert_allclose(values, ORACLES[name](z), atol=20 * jnp.finfo(dtype).eps)


def test_relu_slope_at_zero_is_zero():
    assert jax.grad(activation_function("relu"))(0.0) == 0


def test_a_callable_is_an_activation():
    network = mlp((5, 1), activation=lambda z: jnp.tanh(z))
    params = network.init(jax.random.key(0), 2)
    x = points(3, 2)
    expected = mlp((5, 1), activation="tanh").apply(params, x)
    # Another function is another program, whose tanh may differ in its last digits.
    np.testing.assert_allclose(network.apply(params, x), expected, atol=rounding_tolerance())


LAWS = {
    "ntk": lambda fan_in: (1.0, 1.0),
    "ntk-fan-out": lambda fan_in: (1.0, 1.0),
    "standard": lambda fan_in: (1.5 / np.sqrt(fan_in), 0.5),
}


@pytest.mark.parametrize("parameterization", networks.PARAMETERIZATIONS)
def test_law_of_the_initialization(parameterization):
    """Mean and variance within 5 standard errors: false alarm below 1e-5 for the whole test."""
    network = mlp((40, 60, 50), parameterization=parameterization, w_std=1.5, b_std=0.5)
    params = network.init(jax.random.key(3), 30)
    for layer, fan_in in zip(params, (30, 40, 60), strict=True):
        stds = dict(zip(("weight", "bias"), LAWS[parameterization](fan_in), strict=True))
        for name, std in stds.items():
            sample = np.asarray(layer[name], float).ravel() / std
            assert abs(sample.mean()) < 5 / np.sqrt(sample.size)
            assert abs(np.mean(sample**2) - 1) < 5 * np.sqrt(2 / sample.size)


def test_parameters_are_independent():
    """No two arrays share their numbers, as they would if keys were used twice."""
    params = mlp((9, 9, 9), b_std=1.0).init(jax.random.key(0), 9)
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    assert len(np.unique(values)) == len(values)


def test_no_biases_without_their_deviation():
    params = mlp((4, 1)).init(jax.random.key(0), 2)
    assert [set(layer) for layer in params] == [{"weight"}, {"weight"}]


@given(
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    d=st.integers(1, 4),
    n=st.integers(1, 3),
    bias=st.booleans(),
)
def test_shapes(widths, d, n, bias):
    network = mlp(widths, b_std=float(bias))
    params = jax.eval_shape(lambda key: network.init(key, d), jax.random.key(0))
    shapes = [layer["weight"].shape for layer in params]
    assert shapes == list(zip(widths, (d, *widths[:-1]), strict=True))
    x = jax.ShapeDtypeStruct((n, d), jnp.float32)
    params = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, jnp.float32), params)
    assert jax.eval_shape(network.apply, params, x).shape == (n, widths[-1])


def test_jit_vmap_and_grad_go_through():
    network = mlp((5, 1), activation="tanh", b_std=0.1)
    keys = jax.random.split(jax.random.key(0), 3)
    x = points(4, 2)
    params = jax.jit(jax.vmap(lambda key: network.init(key, 2)))(keys)
    outputs = jax.jit(jax.vmap(network.apply, in_axes=(0, None)))(params, x)
    one = network.init(keys[1], 2)
    np.testing.assert_allclose(outputs[1], network.apply(one, x), atol=1e-6)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(network.apply(p, x))))(one)
    assert jax.tree.structure(gradient) == jax.tree.structure(one)


def test_equal_networks_are_compiled_once():
    traced = []

    @functools.partial(jax.jit, static_argnums=0)
    def outputs(apply, params, x):
        traced.append(apply)
        return apply(params, x)

    x = points(3, 2)
    for make in (lambda: mlp((4, 1)), lambda: shallow(4), lambda: unbiased(mlp((4, 1)))):
        before = len(traced)
        for _ in range(2):
            network = make()
            outputs(network.apply, network.init(jax.random.key(0), 2), x)
        assert len(traced) == before + 1


# --- the two-layer network of S24 ---------------------------------------------------------------


def test_shallow_formula(dtype):
    output_weights = np.array([0.5, -2.0, 1.0])
    network = shallow(3, activation="tanh", output_weights=output_weights)
    W = network.init(jax.random.key(0), 2, dtype=dtype)
    x = points(5, 2, dtype)
    outputs = network.apply(W, x)
    assert outputs.dtype == dtype
    expected = np.tanh(np.asarray(x, float) @ np.asarray(W, float).T) @ output_weights / np.sqrt(3)
    np.testing.assert_allclose(outputs[:, 0], expected, atol=20 * jnp.finfo(dtype).eps)


def test_shallow_signs_alternate():
    W = jnp.ones((3, 1))
    np.testing.assert_allclose(shallow(3).apply(W, jnp.ones((1, 1))), [[1 / np.sqrt(3)]], rtol=1e-6)
    assert shallow(4).apply(jnp.ones((4, 1)), jnp.ones((1, 1))) == 0


def test_shallow_initialization_is_standard_normal():
    W = np.asarray(shallow(200).init(jax.random.key(1), 50), float)
    assert abs(W.mean()) < 5 / np.sqrt(W.size)
    assert abs(np.mean(W**2) - 1) < 5 * np.sqrt(2 / W.size)


# --- the paired network -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network",
    [
        mlp((6, 3), b_std=0.5),
        shallow(6),
        unbiased(mlp((6, 1))),
        networks.Network(lambda key, d: jax.random.normal(key, (d,)), lambda p, x: jnp.sin(x @ p)),
    ],
    ids=["mlp", "shallow", "pair", "function"],
)
def test_paired_network(network):
    pair = unbiased(network)
    params = pair.init(jax.random.key(0), 2)
    x = points(5, 2)
    assert not np.any(np.asarray(pair.apply(params, x)))
    plus = jax.tree.map(lambda p: p + 0.1, params[0])
    expected = (network.apply(plus, x) - network.apply(params[1], x)) / float(np.sqrt(2))
    np.testing.assert_allclose(pair.apply((plus, params[1]), x), expected, atol=1e-6)


def test_pair_keeps_the_kernel():
    network = mlp((6, 2), activation="tanh", b_std=0.5)
    pair = unbiased(network)
    x = points(5, 2)

    def kernel(model, params):
        jacobian = jax.jit(jax.jacobian(lambda p: model.apply(p, x)))(params)
        rows = [np.asarray(leaf).reshape(10, -1) for leaf in jax.tree.leaves(jacobian)]
        return sum(row @ row.T for row in rows)

    key = jax.random.key(0)
    np.testing.assert_allclose(
        kernel(pair, pair.init(key, 2)), kernel(network, network.init(key, 2)), atol=1e-5
    )


def test_points_in_any_form(no_hook):
    """What NumPy makes an array of, be it a list or an object that knows how."""

    class Table:
        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 3), dtype)

    for network in (mlp((4, 1)), shallow(4)):
        params = network.init(jax.random.key(0), 3)
        expected = network.apply(params, jnp.ones((2, 3)))
        for x in (Table(), [[1.0] * 3] * 2):
            np.testing.assert_allclose(network.apply(params, x), expected, rtol=1e-6)


# --- bad input ----------------------------------------------------------------------------------


class Unhashable:
    __hash__ = None

    def __call__(self, t):
        return t


WEIGHTS = ({"weight": np.ones((3, 2), np.float32)}, {"weight": np.ones((1, 3), np.float32)})
POINTS = np.ones((4, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: mlp(()), "widths"),
        (lambda: mlp("12"), "widths"),
        (lambda: mlp(3), "widths"),
        (lambda: mlp((3, 0)), r"widths\[1\]"),
        (lambda: mlp((3, -1, 1)), r"widths\[1\]"),
        (lambda: mlp((2.0, 1)), r"widths\[0\]"),
        (lambda: mlp((True, 1)), r"widths\[0\]"),
        (lambda: mlp((3, 1), activation="swish"), "activation"),
        (lambda: mlp((3, 1), activation=3), "activation"),
        (lambda: mlp((3, 1), activation=Unhashable()), "activation"),
        (lambda: mlp((3, 1), parameterization="mup"), "parameterization"),
        (lambda: mlp((3, 1), parameterization=["ntk"]), "parameterization"),
        (lambda: mlp((3, 1), w_std=0.0), "w_std"),
        (lambda: mlp((3, 1), w_std=-1), "w_std"),
        (lambda: mlp((3, 1), w_std=np.nan), "w_std"),
        (lambda: mlp((3, 1), w_std=np.ones(2)), "w_std"),
        (lambda: mlp((3, 1), w_std="1"), "w_std"),
        (lambda: mlp((3, 1), w_std=1j), "w_std"),
        (lambda: mlp((3, 1), w_std=True), "w_std"),
        (lambda: mlp((3, 1), w_std=10**400), "w_std"),
        (lambda: mlp((3, 1), b_std=-0.1), "b_std"),
        (lambda: mlp((3, 1), b_std=np.inf), "b_std"),
        (lambda: jax.jit(lambda s: mlp((3, 1), w_std=s).init(jax.random.key(0), 1))(1.0), "w_std"),
        (lambda: mlp((3, 1)).init(jax.random.key(0), 0), "d"),
        (lambda: mlp((3, 1)).init(jax.random.key(0), 2.0), "d"),
        (lambda: mlp((3, 1)).init(jax.random.key(0), 2, dtype=int), "dtype"),
        (lambda: mlp((3, 1)).init(jax.random.key(0), 2, dtype="single precision"), "dtype"),
        (lambda: mlp((3, 1)).init(0, 2), "key"),
        (lambda: mlp((3, 1), b_std=1.0).apply(WEIGHTS, POINTS), "params"),
        (lambda: mlp((3, 1)).apply(({"weight": jnp.ones((3, 2)), "bias": 0},), POINTS), "params"),
        (lambda: mlp((3, 2)).apply(WEIGHTS, POINTS), "params"),
        (lambda: mlp((3, 3, 1)).apply(WEIGHTS, POINTS), "params"),
        (lambda: mlp((3,)).apply(WEIGHTS, POINTS), "params"),
        (lambda: mlp((3, 1)).apply((), POINTS), "params"),
        (lambda: mlp((3, 1)).apply(None, POINTS), "params"),
        (lambda: mlp((3, 1)).apply(jnp.ones((3, 2)), POINTS), "params"),
        (lambda: shallow(3).apply(jnp.ones((4, 2)), POINTS), "params"),
        (lambda: shallow(3).apply(jnp.ones(3), POINTS), "params"),
        (lambda: unbiased(mlp((3, 1))).apply((*WEIGHTS, WEIGHTS), POINTS), "params"),
        (lambda: unbiased(mlp((3, 1))).apply(jnp.ones(2), POINTS), "params"),
        (lambda: shallow(0), "width"),
        (lambda: shallow(3, activation="swish"), "activation"),
        (lambda: shallow(3, output_weights=[1.0, 2.0]), "output_weights"),
        (lambda: shallow(3, output_weights=[1.0, 2.0, np.nan]), "output_weights"),
        (lambda: shallow(3, output_weights=["x"] * 3), "output_weights"),
        (lambda: shallow(3).init(jax.random.key(0), 0), "d"),
        (lambda: shallow(3).init(None, 2), "key"),
        (lambda: unbiased(mlp((3, 1)).apply), "network"),
        (lambda: unbiased((1, 2)), "network"),
        (lambda: activation_function("swish"), "activation"),
        (lambda: activation_function(None), "activation"),
    ],
)
def test_bad_input(call, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        call()


@pytest.mark.parametrize("network", [mlp((3, 1)), shallow(3), unbiased(mlp((3, 1)))])
@pytest.mark.parametrize("shape", [(2,), (4, 3), (4, 2, 1)])
def test_bad_points(network, shape, no_hook):
    params = network.init(jax.random.key(0), 2)
    for apply in (network.apply, jax.jit(network.apply)):
        with pytest.raises(ValueError, match=r"^x must have shape \[N, 2\]"):
            apply(params, jnp.ones(shape))


def test_old_style_keys_work(no_hook):
    with jax.numpy_dtype_promotion("standard"):
        params = mlp((3, 1)).init(jax.random.PRNGKey(0), 2)
    np.testing.assert_array_equal(
        params[0]["weight"], mlp((3, 1)).init(jax.random.key(0), 2)[0]["weight"]
    )


# --- two layers, taken apart -------------------------------------------------------------------


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("kind", ["shallow", *networks.PARAMETERIZATIONS])
def test_two_layers_put_together_again(kind, paired):
    """g₂ Σ a_j tanh(g₁ w_j·x), summed over the parts, is the network, whatever its gains."""
    if kind == "shallow":
        network = networks.shallow(4, activation="tanh", output_weights=np.arange(1.0, 5))
    else:
        network = networks.mlp((4, 1), activation="tanh", parameterization=kind, w_std=1.7)
    if paired:
        network = networks.unbiased(network)
    params = network.init(jax.random.key(0), 3)
    moved = jax.tree.map(lambda a: a + jnp.cos(jnp.arange(a.size)).reshape(a.shape), params)
    params = (params[0], moved[1]) if paired else params
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(jnp.result_type(float))
    parts = networks.two_layer(network, params)
    total = sum(
        part.output_gain
        * np.tanh(part.input_gain * x @ np.asarray(part.weights).T)
        @ np.asarray(part.output_weights)
        for part in parts
    )
    assert len(parts) == 1 + paired
    assert all(part.trains_output == (kind != "shallow") for part in parts)
    np.testing.assert_allclose(network.apply(params, jnp.asarray(x))[:, 0], total, atol=1e-5)


def take_apart(network, params=None):
    params = network.init(jax.random.key(0), 2) if params is None else params
    return networks.two_layer(network, params)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: take_apart(networks.mlp((3, 3, 1))), r"network must have widths \(m, 1\)"),
        (lambda: take_apart(networks.mlp((3, 2))), r"network must have widths \(m, 1\)"),
        (lambda: take_apart(networks.mlp((3, 1), b_std=0.1)), "network must have no biases"),
        (
            lambda: take_apart(networks.unbiased(networks.unbiased(networks.shallow(3)))),
            "network must be made by",
        ),
        (lambda: networks.two_layer(lambda p, x: x, None), "network must be made by"),
        (lambda: take_apart(networks.shallow(3), np.ones((4, 2))), "params must"),
        (lambda: take_apart(networks.mlp((3, 1)), np.ones((3, 2))), "params must"),
    ],
)
def test_other_networks_are_not_taken_apart(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
