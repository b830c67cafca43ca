"""Kernels of given networks and of infinite width, against NumPy, SciPy and explicit Jacobians."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from ntklab import jacobians
from ntklab.networks import mlp, shallow, unbiased
from ntklab.tangent_kernel import (
    arc_cosine_coefficients,
    empirical_ntk,
    gram_deviation,
    infinite_ntk,
    layer_kernels,
    nngp,
    ntk_vector_product,
    relu_angle_kernels,
    standard_ntk_limit,
)


def normal(seed, *shape, dtype=None):
    dtype = jnp.dtype(dtype or jnp.result_type(float))
    # With its dtype given an array is only moved; otherwise a program is compiled for its shape.
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype), dtype)


@functools.partial(jax.jit, static_argnums=0)
def jacobian(apply, params, x):
    return jax.jacobian(lambda p: apply(p, x).reshape(x.shape[0], -1))(params)


def jacobian_kernel(apply, params, x1, x2=None):
    """The definition: the Gram matrix of explicit Jacobians, `[N1, N2, K, K]`, in float64."""
    # One program for both sets of points.
    x = x1 if x2 is None else jnp.concatenate([x1, x2])
    features = np.concatenate(
        [
            np.asarray(leaf, float).reshape(*leaf.shape[:2], -1)
            for leaf in jax.tree.leaves(jacobian(apply, params, x))
        ],
        axis=2,
    )
    left, right = features[: len(x1)], features if x2 is None else features[len(x1) :]
    return np.einsum("ikp,jlp->ijkl", left, right)


def close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.max(np.abs(expected)))


# 1e-10 in float64 and 1e-5 in float32, with smooth activations.
AGREEMENT = {"float32": 1e-5, "float64": 1e-10}

# --- the kernel of a given network --------------------------------------------------------------

MODELS = {
    "one output": (mlp((7, 6, 1), activation="tanh", b_std=0.3, w_std=1.2), 1),
    "three outputs": (mlp((7, 3), activation="erf", b_std=0.3), 3),
    "linear": (mlp((2,), b_std=0.5), 2),
    "standard": (
        mlp((6, 2), activation="gelu", parameterization="standard", b_std=0.3),
        2,
    ),
    "fan-out": (
        mlp((6, 1), activation="softplus", parameterization="ntk-fan-out", b_std=0.3),
        1,
    ),
    "two-layer": (shallow(6, activation="tanh", output_weights=np.arange(6.0)), 1),
    "pair": (unbiased(mlp((6, 2), activation="tanh", b_std=0.3)), 2),
}


@pytest.mark.parametrize("name", MODELS)
def test_networks_against_the_jacobian(name, dtype):
    network, outputs = MODELS[name]
    params = network.init(jax.random.key(0), 3, dtype=dtype)
    # Away from initialization a pair's two copies differ.
    params = jax.tree.map(
        lambda p: jnp.asarray(np.asarray(p) + 0.1 * np.asarray(normal(p.size, *p.shape)), dtype),
        params,
    )
    x1, x2 = normal(0, 5, 3, dtype=dtype), normal(1, 4, 3, dtype=dtype)
    expected = jacobian_kernel(network.apply, params, x1, x2)
    expected = expected[:, :, 0, 0] if outputs == 1 else expected
    kernel = empirical_ntk(network.apply, params, x1, x2)
    assert kernel.dtype == dtype
    close(kernel, expected, AGREEMENT[dtype.name])


def test_whole_numbers_stay_whole():
    """Tokens: the inputs of an embedding, whose kernel counts the tokens that two rows share."""

    def model(params, tokens):
        return jnp.sum(params[tokens], axis=1)

    tokens = np.array([[0, 1, 2], [2, 2, 3], [4, 4, 4]])
    counts = np.array([np.bincount(row, minlength=5) for row in tokens])
    table = jnp.ones(5)
    for inputs in (tokens, jnp.asarray(tokens)):
        kernel = empirical_ntk(model, table, inputs)
        np.testing.assert_array_equal(kernel, counts @ counts.T)
    product = ntk_vector_product(model, table, tokens, np.ones(3))
    np.testing.assert_array_equal(product, (counts @ counts.T).sum(axis=1))
    if not jax.config.jax_enable_x64:
        with pytest.raises(ValueError, match=r"^x1 must fit into int32, got 1099511627776"):
            empirical_ntk(model, table, np.array([[2**40]]))


def test_kernel_by_hand():
    """One tanh unit with scalar input, all derivatives written out."""
    params = ({"weight": jnp.full((1, 1), 0.7)}, {"weight": jnp.full((1, 1), -1.3)})
    x = np.array([[0.5], [-2.0], [1.0]])
    kernel = empirical_ntk(mlp((1, 1), activation="tanh").apply, params, jnp.asarray(x))
    a = np.tanh(0.7 * x)
    gradients = np.hstack([a, -1.3 * (1 - a**2) * x])
    close(kernel, gradients @ gradients.T, 1e-6)


@pytest.mark.parametrize("outputs", [1, 3])
def test_blocks_of_any_size_give_the_same_kernel(outputs):
    network = mlp((6, outputs), activation="tanh", b_std=0.3)
    params = network.init(jax.random.key(0), 3)
    x1, x2 = normal(0, 13, 3), normal(1, 29, 3)
    joint = jacobian_kernel(network.apply, params, jnp.concatenate([x1, x2]))
    joint = joint[:, :, 0, 0] if outputs == 1 else joint
    for right, whole in ((None, joint[:13, :13]), (x2, joint[:13, 13:])):
        for block_size in (4, 13):
            kernel = empirical_ntk(network.apply, params, x1, right, block_size=block_size)
            close(kernel, whole, 1e-5)
            if right is None:
                symmetric = kernel if outputs == 1 else kernel.transpose(0, 2, 1, 3)
                symmetric = np.asarray(symmetric).reshape(13 * outputs, -1)
                np.testing.assert_array_equal(symmetric, symmetric.T)


def test_include_output():
    for outputs in (1, 2):
        network = mlp((6, outputs), activation="tanh", b_std=0.3)
        params = network.init(jax.random.key(0), 3)
        x1, x2 = normal(0, 5, 3), normal(1, 4, 3)
        f1, f2 = np.split(np.asarray(network.apply(params, jnp.concatenate([x1, x2])), float), [5])
        expected = jacobian_kernel(network.apply, params, x1, x2)
        expected = expected + np.einsum("ik,jl->ijkl", f1, f2)
        sums = np.einsum("ijkk->ij", expected)
        expected = expected[:, :, 0, 0] if outputs == 1 else expected
        options = {"block_size": 2, "include_output": True}
        close(empirical_ntk(network.apply, params, x1, x2, **options), expected, 1e-5)
        close(empirical_ntk(network.apply, params, x1, x2, trace=True, **options), sums, 1e-5)


def test_outputs_without_an_axis():
    def apply(params, x):
        return jnp.sin(x @ params)

    params, x = normal(0, 3), normal(1, 4, 3)
    expected = jacobian_kernel(lambda p, x: apply(p, x)[:, None], params, x)[:, :, 0, 0]
    close(empirical_ntk(apply, params, x), expected, 1e-5)


def test_leaves_that_are_not_trained():
    """Integers, keys, functions, None and arrays of integers pass through, floats are trained."""

    def apply(params, x):
        noise = jax.random.normal(params["key"], (3,), x.dtype)
        z = params["scale"] * (x @ (params["w"] + noise)) * params["steps"]
        return params["activation"](z) * jnp.asarray(params["mask"][0], x.dtype)

    params = {
        "w": normal(0, 3),
        "scale": 0.5,
        "steps": 2,
        "key": jax.random.key(0),
        "activation": jnp.tanh,
        "mask": np.array([3, 1]),
        "nothing": None,
    }
    x = normal(1, 4, 3)

    def trained(p, x):
        return apply({**params, **p}, x)[:, None]

    own = {"w": params["w"], "scale": jnp.asarray(0.5)}
    expected = jacobian_kernel(trained, own, x)[:, :, 0, 0]
    close(empirical_ntk(apply, params, x), expected, 1e-5)


def test_images_through_a_convolution():
    def apply(params, x):
        z = jax.lax.conv_general_dilated(
            x, params["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.mean(jnp.tanh(z), axis=(1, 2)) @ params["w"]

    params = {"kernel": normal(0, 3, 3, 2, 4), "w": normal(1, 4, 2)}
    x1, x2 = normal(2, 5, 6, 6, 2), normal(3, 3, 6, 6, 2)
    expected = jacobian_kernel(apply, params, x1, x2)
    close(empirical_ntk(apply, params, x1, x2, block_size=2), expected, 1e-5)


class Unhashable:
    """A model that compares by value and so has no hash."""

    __hash__ = None

    def __init__(self):
        self.model = mlp((5, 1), activation="tanh").apply

    def __eq__(self, other):
        return isinstance(other, Unhashable)

    def __call__(self, params, x):
        return self.model(params, x)


def test_a_model_without_a_hash():
    params, x = mlp((5, 1)).init(jax.random.key(0), 3), normal(0, 4, 3)
    expected = empirical_ntk(mlp((5, 1), activation="tanh").apply, params, x)
    close(empirical_ntk(Unhashable(), params, x), expected, 1e-5)


def test_under_jit_and_vmap():
    network = mlp((6, 1), activation="tanh")
    keys = jax.random.split(jax.random.key(0), 3)
    x = normal(0, 7, 3)

    def kernel(key):
        return empirical_ntk(network.apply, network.init(key, 3), x, block_size=3)

    batch = jax.jit(jax.vmap(kernel))(keys)
    close(batch[1], kernel(keys[1]), 1e-5)


@pytest.mark.float64
def test_derivatives_of_the_kernel():
    """Against central differences, along a direction of both points and parameters."""
    network = mlp((4, 1), activation="tanh", b_std=0.5)
    params = network.init(jax.random.key(0), 2)
    x, dx = normal(0, 5, 2), normal(1, 5, 2)
    dp = jax.tree.map(lambda p: normal(p.size, *p.shape), params)
    weights = normal(2, 5, 5)

    @jax.jit
    def value(t):
        moved = jax.tree.map(lambda p, d: p + t * d, params, dp)
        kernel = empirical_ntk(network.apply, moved, x + t * dx, block_size=2)
        return jnp.sum(weights * kernel)

    h = 1e-5
    difference = (value(h) - value(-h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(value)(0.0), difference, rtol=1e-6)


def test_repeated_calls_do_not_compile_again():
    def apply(params, x):
        return jnp.tanh(x @ params["w"])

    x = normal(0, 6, 3)
    empirical_ntk(apply, {"w": normal(1, 3, 1)}, x)
    empirical_ntk(mlp((4, 1)).apply, mlp((4, 1)).init(jax.random.key(0), 3), x)
    before = jacobians.gram._cache_size()
    empirical_ntk(apply, {"w": normal(2, 3, 1)}, x + 1)
    empirical_ntk(mlp((4, 1)).apply, mlp((4, 1)).init(jax.random.key(1), 3), x)
    assert jacobians.gram._cache_size() == before


def test_vector_product_is_the_product_with_the_kernel():
    for outputs in (1, 2):
        network = mlp((6, outputs), activation="tanh", b_std=0.3)
        params = network.init(jax.random.key(0), 3)
        x1, x2 = normal(0, 5, 3), normal(1, 4, 3)
        for right in (None, x2):
            v = normal(2, 5 if right is None else 4, outputs)
            kernel = jacobian_kernel(network.apply, params, x1, right)
            expected = np.einsum("ijkl,jl->ik", kernel, np.asarray(v, float))
            close(ntk_vector_product(network.apply, params, x1, v, right), expected, 1e-5)


@pytest.mark.once
def test_points_sharded_over_devices():
    program = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ntklab.networks import mlp
from ntklab.tangent_kernel import empirical_ntk, infinite_ntk
mesh = jax.make_mesh((4,), ("points",), axis_types=(AxisType.Auto,))
x = jax.random.normal(jax.random.key(0), (16, 3))
split = jax.device_put(x, NamedSharding(mesh, PartitionSpec("points")))
assert len(split.devices()) == 4
network = mlp((6, 1), activation="tanh")
params = network.init(jax.random.key(1), 3)
for size in (None, 3):
    whole = empirical_ntk(network.apply, params, x, x[:5], block_size=size)
    parts = empirical_ntk(network.apply, params, split, x[:5], block_size=size)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
np.testing.assert_allclose(infinite_ntk(split, depth=2), infinite_ntk(x, depth=2), atol=1e-5)
"""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
    )
    assert run.returncode == 0, run.stderr.decode()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    dtype = jnp.dtype(dtype)
    network = mlp((6, 1), activation="tanh")
    params = network.init(jax.random.key(0), 3, dtype=dtype)
    x = normal(0, 4, 3, dtype=dtype)
    full = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    expected = empirical_ntk(network.apply, full, x.astype(jnp.float32))
    kernel = empirical_ntk(network.apply, params, x)
    assert kernel.dtype == dtype
    close(np.asarray(kernel, float), expected, 10 * float(jnp.finfo(dtype).eps))


def test_what_numpy_gives_is_taken():
    """Lists, integers, Fortran order and slices with gaps mean the same points."""
    network = mlp((6, 1), activation="tanh")
    params = network.init(jax.random.key(0), 2)
    x = np.array([[1, 2], [3, -1], [0, 1]])
    expected = empirical_ntk(network.apply, params, jnp.asarray(x, float))
    wide = np.zeros((6, 4))
    wide[::2, ::2] = x
    for points in (x, x.tolist(), np.asfortranarray(x.astype(float)), wide[::2, ::2]):
        np.testing.assert_array_equal(empirical_ntk(network.apply, params, points), expected)
        limit = infinite_ntk(jnp.asarray(x, float), depth=1)
        np.testing.assert_array_equal(infinite_ntk(points, depth=1), limit)


def test_one_of_everything():
    network = mlp((1, 1), activation="identity")
    params = ({"weight": jnp.full((1, 1), 2.0)}, {"weight": jnp.full((1, 1), 3.0)})
    x = jnp.full((1, 1), 5.0)
    assert empirical_ntk(network.apply, params, x) == (3 * 5) ** 2 + (2 * 5) ** 2


# --- the limit of infinite width ----------------------------------------------------------------


def oracle_moments(activation, q1, q2, q12):
    """E[σσ] and E[σ′σ′] by NumPy in float64, for one pair."""
    if activation == "relu":
        c = np.clip(q12 / np.sqrt(q1 * q2), -1, 1)
        theta = np.arccos(c)
        value = np.sqrt(q1 * q2) * (np.sin(theta) + (np.pi - theta) * c) / (2 * np.pi)
        return value, (np.pi - theta) / (2 * np.pi)
    determinant = (1 + 2 * q1) * (1 + 2 * q2) - 4 * q12**2
    value = 2 / np.pi * np.arcsin(2 * q12 / np.sqrt((1 + 2 * q1) * (1 + 2 * q2)))
    return value, 4 / np.pi / np.sqrt(determinant)


def oracle_kernels(x, depth, activation, w_std, b_std):
    """Covariance, tangent kernel and the layers' shares, by loops over pairs of points."""
    n, d = x.shape
    sigma = w_std**2 * x @ x.T / d + b_std**2
    shares = [sigma]
    for _ in range(depth):
        value, slope = np.zeros((n, n)), np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                value[i, j], slope[i, j] = oracle_moments(
                    activation, sigma[i, i], sigma[j, j], sigma[i, j]
                )
        sigma = w_std**2 * value + b_std**2
        shares = [share * w_std**2 * slope for share in shares] + [sigma]
    return sigma, sum(shares), np.stack(shares)


@pytest.mark.parametrize("activation", ["relu", "erf"])
@pytest.mark.parametrize("depth", [0, 1, 2, 6])
def test_recursion_against_numpy(activation, depth, dtype):
    x = np.asarray(normal(0, 5, 3, dtype=dtype), float)
    options = {"depth": depth, "activation": activation, "w_std": 1.3, "b_std": 0.4}
    covariance, kernel, shares = oracle_kernels(x, depth, activation, 1.3, 0.4)
    points = jnp.asarray(x, dtype)
    tolerance = {"float32": 2e-3, "float64": 1e-7}[dtype.name]  # the oracle's own diagonal
    off = ~np.eye(5, dtype=bool)
    for actual, expected in (
        (nngp(points, **options), covariance),
        (infinite_ntk(points, **options), kernel),
    ):
        assert actual.dtype == dtype
        close(actual, expected, tolerance)
        close(actual[off], expected[off], {"float32": 2e-5, "float64": 1e-12}[dtype.name])
    close(layer_kernels(points, **options), shares, tolerance)
    if depth:
        limit = standard_ntk_limit(points, **options)
        layers = [oracle_kernels(x, l, activation, 1.3, 0.4)[0] for l in range(1, depth + 1)]
        scaled = [
            (layer - 0.4**2) / 1.3**2 * share / np.where(layer == 0, 1, layer)
            for layer, share in zip(layers, shares[1:], strict=True)
        ]
        close(limit, sum(scaled), tolerance)


@pytest.mark.float64
@pytest.mark.parametrize("activation", ["relu", "erf"])
@pytest.mark.parametrize("depth", [1, 6, 30])
def test_diagonal_is_exact(activation, depth):
    """To 1e-12 of the recursion of the diagonal, also between duplicates in different arrays."""
    w_std, b_std = (np.sqrt(2), 0.1) if activation == "relu" else (1.5, 0.1)
    x = np.asarray(normal(1, 6, 3))
    q = w_std**2 * np.sum(x**2, axis=1) / 3 + b_std**2
    kernel = q
    for _ in range(depth):
        if activation == "relu":
            value, slope = q / 2, 0.5
        else:
            value = 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q))
            slope = 4 / np.pi / np.sqrt(1 + 4 * q)
        q = w_std**2 * value + b_std**2
        kernel = q + w_std**2 * slope * kernel
    options = {"depth": depth, "activation": activation, "w_std": w_std, "b_std": b_std}
    for right in (None, jnp.asarray(x.copy())):
        actual = jnp.diagonal(infinite_ntk(jnp.asarray(x), right, **options))
        np.testing.assert_allclose(actual, kernel, rtol=1e-12)
        np.testing.assert_allclose(
            jnp.diagonal(nngp(jnp.asarray(x), right, **options)), q, rtol=1e-12
        )


SPECIAL = np.array([[1.0, -2.0], [-1.0, 2.0], [1.0, -2.0], [0.0, 0.0], [-0.0, 3.0], [0.0, -3.0]])


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
@pytest.mark.parametrize("b_std", [0.0, 0.3])
def test_special_points(activation, b_std, dtype):
    """Equal, opposite and zero points: no NaN, not in gradients either, symmetric, positive."""
    x = jnp.asarray(SPECIAL, dtype)

    def total(x1, x2):
        kernel = infinite_ntk(x1, x2, depth=2, activation=activation, b_std=b_std)
        return jnp.sum(kernel), kernel

    gradient, values = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(x, x)
    values = np.asarray(values, float)
    assert np.all(np.isfinite(values))
    assert all(np.all(np.isfinite(np.asarray(g))) for g in gradient)
    np.testing.assert_allclose(values, values.T, atol=1e-6)
    assert values[0, 2] == values[0, 0] == values[2, 2]
    assert np.linalg.eigvalsh(values).min() > -1e-5
    if b_std == 0:
        assert not np.any(values[3])


def test_opposite_points_under_one_relu_layer():
    x = jnp.array([[3.0, 0.0]])
    for opposite in (-x, jnp.array([[-3.0, 0.0]])):
        assert infinite_ntk(x, opposite, depth=1) == 0
        assert nngp(x, opposite, depth=1) == 0
    zeros = infinite_ntk(jnp.array([[0.0, 1.0]]), jnp.array([[-0.0, 1.0]]), depth=1)
    assert zeros == pytest.approx(0.5, rel=4 * float(jnp.finfo(zeros.dtype).eps))


@pytest.mark.float64
@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_gradient_against_differences(activation):
    """Away from equal and opposite points; 1e-9 is the scale of h² and of rounding over h."""
    x1, x2, direction = normal(0, 3, 2), normal(1, 4, 2), normal(2, 3, 2)

    def value(t):
        kernel = infinite_ntk(x1 + t * direction, x2, depth=2, activation=activation, b_std=0.1)
        return jnp.sum(kernel)

    value = jax.jit(value)
    h = 1e-5
    difference = (value(h) - value(-h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(value)(0.0), difference, rtol=1e-7)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e10, 1e17])
def test_relu_kernels_are_homogeneous(scale):
    """K(cx, c′x′) = cc′ K(x, x′) without biases, also where q q′ leaves float32's range."""
    x = normal(0, 5, 3, dtype=jnp.float32)
    base = np.asarray(infinite_ntk(x, depth=3), float)
    scaled = np.asarray(infinite_ntk(scale * x, x, depth=3), float) / scale
    np.testing.assert_allclose(scaled, base, rtol=0, atol=1e-3 * np.max(base))
    scaled = np.asarray(infinite_ntk(scale * x, depth=3), float) / scale**2
    np.testing.assert_allclose(scaled, base, rtol=0, atol=1e-5 * np.max(base))


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_kernels_are_positive_and_rotation_invariant(seed):
    x = normal(seed, 7, 3)
    rotation = jnp.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0])
    for activation in ("relu", "erf"):
        options = {"depth": 2, "activation": activation, "b_std": 0.2}
        kernel = np.asarray(infinite_ntk(x, **options), float)
        assert np.linalg.eigvalsh(kernel).min() > -1e-5
        np.testing.assert_allclose(kernel, kernel.T, atol=1e-6)
        rotated = infinite_ntk(x @ rotation, **options)
        np.testing.assert_allclose(rotated, kernel, atol=2e-3)


def test_identity_is_linear_regression():
    """With σ(z) = z every layer adds w^{2(L+1)} x·x′/d."""
    x = normal(0, 4, 3)
    linear = np.asarray(x @ x.T, float) / 3
    options = {"depth": 2, "activation": "identity", "w_std": 1.1}
    close(nngp(x, **options), 1.1**6 * linear, 1e-5)
    close(infinite_ntk(x, **options), 3 * 1.1**6 * linear, 1e-5)


def test_other_activations_against_a_double_integral():
    """SciPy's adaptive integral over the two normals, for tanh and its derivative."""
    q1, q2, q12 = 0.8, 1.7, -0.6
    x = np.linalg.cholesky([[q1, q12], [q12, q2]])
    density = lambda s, t: np.exp(-(s**2 + t**2) / 2) / (2 * np.pi)  # noqa: E731
    slope = lambda z: 1 - np.tanh(z) ** 2  # noqa: E731

    def expectation(f):
        return scipy.integrate.dblquad(
            lambda t, s: f(x[0, 0] * s) * f(x[1, 0] * s + x[1, 1] * t) * density(s, t),
            *(-8, 8, -8, 8),
            epsabs=1e-9,
        )[0]

    points = jnp.asarray(x * np.sqrt(2))
    value, derivative = expectation(np.tanh), expectation(slope)
    options = {"depth": 1, "activation": "tanh"}
    tolerance = 1e-8 if jax.config.jax_enable_x64 else 1e-6
    assert nngp(points, **options)[0, 1] == pytest.approx(value, abs=tolerance)
    kernel = infinite_ntk(points, **options)[0, 1]
    assert kernel == pytest.approx(value + derivative * q12, abs=tolerance)


@pytest.mark.float64
@pytest.mark.parametrize(
    ("variance", "order", "accuracy"), [(1, 128, 1e-14), (1e-6, 64, 1e-14), (10, 256, 1e-10)]
)
def test_quadrature_of_a_smooth_activation(variance, order, accuracy):
    """Against erf's closed form, relative to the largest entry."""
    d = 4
    x = normal(0, 6, d)
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True) * np.sqrt(variance * d)
    options = {"depth": 1, "quadrature_order": order}
    by_quadrature = infinite_ntk(x, activation=lambda z: jax.scipy.special.erf(z), **options)
    closed = infinite_ntk(x, activation="erf", **options)
    error = float(jnp.max(jnp.abs(by_quadrature - closed)) / jnp.max(closed))
    assert error < accuracy


def kink(z):
    """ReLU, but unknown to the library: it takes the quadrature."""
    return jnp.maximum(z, 0)


@pytest.mark.parametrize("order", [32, 127, 128])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_quadrature_of_a_kink(order, scale):
    """Against ReLU's closed form, whatever the variance: what n terms leave is 0.13/√n."""
    x = normal(0, 6, 2)
    x = scale * x / jnp.linalg.norm(x, axis=1, keepdims=True) * np.sqrt(2)
    by_quadrature = infinite_ntk(x, depth=1, activation=kink, quadrature_order=order)
    error = np.abs(np.asarray(by_quadrature - infinite_ntk(x, depth=1))) / scale**2
    assert np.max(error) < 0.13 / np.sqrt(order)
    # The rule's own error on the diagonal: the derivative jumps midway between two nodes.
    assert np.max(np.diag(error)) < 2e-4


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 2), (-0.5, 2)])
@pytest.mark.parametrize("place", [-0.7, 0.2, 1.0])
def test_a_kink_anywhere(a, b, place):
    """Slope a, then b, against the normal law; a node weighs at most 1 % there."""
    above = float(scipy.stats.norm.sf(place))
    step = functools.partial(two_slopes, a=a, b=b, place=place)
    x = np.sqrt(2) * np.array([[1.0, 0.0], [0.0, 1.0]])
    slopes = layer_kernels(x, depth=1, activation=step)[0]
    assert slopes[0, 0] == pytest.approx(a**2 * (1 - above) + b**2 * above, abs=0.01 * b**2)


def two_slopes(z, *, a, b, place):
    return jnp.where(z > place, b * (z - place), a * (z - place))


def test_quadrature_refuses_what_it_cannot_resolve(no_hook):
    close = 30 * np.array([[1.0, 1.0], [1.0, 1.01]])
    with pytest.raises(ValueError, match=r"^quadrature_order must be higher"):
        infinite_ntk(close, depth=2, activation="tanh", quadrature_order=8)
    with pytest.raises(ValueError, match=r"^quadrature_order must be higher"):
        nngp(1500 * normal(0, 3, 2), depth=1, activation=lambda z: jnp.sin(z))


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus"])
def test_a_callable_gives_the_kernel_of_its_name(activation):
    from ntklab.networks import activation_function

    x = normal(0, 4, 3)
    named = infinite_ntk(x, depth=2, activation=activation)
    function = activation_function(activation)
    np.testing.assert_array_equal(infinite_ntk(x, depth=2, activation=function), named)
    again = infinite_ntk(x, depth=2, activation=lambda z: function(z))
    np.testing.assert_allclose(again, named, rtol=1e-6)


def test_relu_angle_kernels(dtype):
    """Against integrals over the plane's angle, which the closed forms are not computed from."""
    theta = np.linspace(0, np.pi, 9)
    # 2π E[σσ] = 2 ∫ (cos φ)₊ (cos(φ − θ))₊ dφ for radius r with E r² = 2.
    grid = np.linspace(-np.pi, np.pi, 200_001)[:-1] + np.pi / 200_000
    first = [np.mean(np.maximum(np.cos(grid), 0) * np.maximum(np.cos(grid - t), 0)) for t in theta]
    zeroth = [np.mean((np.cos(grid) > 0) & (np.cos(grid - t) > 0)) for t in theta]
    values = relu_angle_kernels(jnp.asarray(np.cos(theta), dtype))
    tolerance = {"float32": 1e-6, "float64": 1e-9}[dtype.name]
    np.testing.assert_allclose(values[0], 2 * np.array(first), atol=tolerance)
    np.testing.assert_allclose(values[1], zeroth, atol=2e-5)
    assert values[0].dtype == values[1].dtype == dtype
    assert values[0][-1] == values[1][-1] == 0


# --- concentration and universality -------------------------------------------------------------


def test_gram_deviation_is_the_operator_norm():
    """With the networks drawn again from the same keys, and norms from singular values."""
    key, x = jax.random.key(3), normal(0, 4, 3)
    deviations = gram_deviation(key, x, widths=(5, 9), draws=2, activation="tanh", b_std=0.2)
    assert deviations.shape == (2, 2)
    limit = infinite_ntk(x, depth=1, activation="tanh", b_std=0.2)
    for row, width, width_key in zip(deviations, (5, 9), jax.random.split(key, 2), strict=True):
        network = mlp((width, 1), activation="tanh", b_std=0.2)
        for value, draw_key in zip(row, jax.random.split(width_key, 2), strict=True):
            kernel = jacobian_kernel(network.apply, network.init(draw_key, 3), x)[:, :, 0, 0]
            norm = np.linalg.svd(kernel - np.asarray(limit, float))[1][0]
            assert value == pytest.approx(norm, rel=1e-3)


@pytest.mark.parametrize("bias", [True, False])
def test_arc_cosine_coefficients(bias):
    """Against Cauchy's integral on the circle of radius 0.9, by the discrete Fourier transform."""
    samples, radius, degree = 4096, 0.9, 30
    t = radius * np.exp(2j * np.pi * np.arange(samples) / samples)
    s = (1 + t) / 2 if bias else t
    values = s * (np.pi - np.arccos(s)) / (2 * np.pi)
    cauchy = np.fft.fft(values).real[: degree + 1] / samples / radius ** np.arange(degree + 1)
    coefficients = arc_cosine_coefficients(degree, bias=bias)
    np.testing.assert_allclose(coefficients, cauchy, atol=1e-13)
    if bias:
        assert np.all(coefficients > 0)
    else:
        assert not np.any(coefficients[3::2])


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 300])
def test_arc_cosine_coefficients_of_any_degree(degree):
    for bias in (True, False):
        coefficients = arc_cosine_coefficients(degree, bias=bias)
        assert coefficients.shape == (degree + 1,)
        np.testing.assert_allclose(
            coefficients[:3], arc_cosine_coefficients(40, bias=bias)[: degree + 1][:3], atol=1e-15
        )


# --- bad input ----------------------------------------------------------------------------------

NETWORK = mlp((3, 1))
PARAMS = NETWORK.init(jax.random.key(0), 2)
X = np.ones((4, 2))


def tuple_model(params, x):
    return x, x


BAD_MODELS = [
    (lambda f: f(None, PARAMS, X), "apply"),
    (lambda f: f(tuple_model, PARAMS, X), "apply"),
    (lambda f: f(lambda p, x: p * jnp.ones(()), 1.0, X), "apply"),
    (lambda f: f(lambda p, x: p * jnp.ones((4, 2, 2)), 1.0, X), "apply"),
    (lambda f: f(lambda p, x: p * jnp.ones(3), 1.0, X), "apply"),
    (lambda f: f(lambda p, x: jnp.ones(4, int), 1.0, X), "apply"),
    (lambda f: f(lambda p, x: p * jnp.ones((4, 0)), 1.0, X), "apply"),
    (lambda f: f(NETWORK.apply, jax.tree.map(lambda p: p * np.nan, PARAMS), X), "params"),
    (lambda f: f(NETWORK.apply, {"w": np.array([1, 2])}, X), "params"),
    (lambda f: f(NETWORK.apply, (), X), "params"),
    (lambda f: f(lambda p, x: x @ p, np.array([1j, 1]), X), "params"),
    (lambda f: f(NETWORK.apply, PARAMS, X * np.nan), "x1"),
    (lambda f: f(NETWORK.apply, PARAMS, X[:0]), "x1"),
    (lambda f: f(NETWORK.apply, PARAMS, 3.0), "x1"),
    (lambda f: f(NETWORK.apply, PARAMS, "x"), "x1"),
    (lambda f: f(NETWORK.apply, PARAMS, X * 1j), "x1"),
    (lambda f: f(NETWORK.apply, PARAMS, np.ones((4, 3))), "x"),
    (lambda f: f(NETWORK.apply, PARAMS, X, x2=np.ones((4, 3))), "x2"),
    (lambda f: f(NETWORK.apply, PARAMS, X, x2=X * np.inf), "x2"),
    (lambda f: f(NETWORK.apply, PARAMS, X, x2=X.astype(np.float16)), "x2"),
]


@pytest.mark.parametrize(("call", "name"), BAD_MODELS)
def test_bad_model(call, name, no_hook):
    def product(apply, params, x1, x2=None):
        return ntk_vector_product(apply, params, x1, np.ones((4, 1)), x2=x2)

    for function in (empirical_ntk, product):
        with pytest.raises(ValueError, match=f"^{name} must"):
            call(function)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"trace": 1}, "trace"),
        ({"block_size": 0}, "block_size"),
        ({"block_size": 2.0}, "block_size"),
        ({"include_output": "no"}, "include_output"),
    ],
)
def test_bad_option(options, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        empirical_ntk(NETWORK.apply, PARAMS, X, **options)


@pytest.mark.parametrize("vector", [np.ones(4), np.ones((3, 1)), np.ones((4, 2)), "v", None])
def test_bad_vector(vector, no_hook):
    with pytest.raises(ValueError, match=r"^vector must"):
        ntk_vector_product(NETWORK.apply, PARAMS, X, vector)


BAD_LIMITS = [
    ((np.ones(3),), {}, "x1"),
    ((np.ones((3, 0)),), {}, "x1"),
    ((X * np.nan,), {}, "x1"),
    ((None,), {}, "x1"),
    ((X, np.ones((4, 3))), {}, "x2"),
    ((X, X.astype(np.float16)), {}, "x2"),
    ((X,), {"depth": -1}, "depth"),
    ((X,), {"depth": 1.0}, "depth"),
    ((X,), {"depth": True}, "depth"),
    ((X,), {"activation": "swish"}, "activation"),
    ((X,), {"activation": 3}, "activation"),
    ((X,), {"activation": Unhashable()}, "activation"),
    ((X,), {"activation": jnp.log}, "activation"),
    ((X,), {"activation": jnp.sum}, "activation"),
    ((X,), {"activation": lambda z: z @ jnp.ones((2, 2), z.dtype)}, "activation"),
    ((X,), {"w_std": 0.0}, "w_std"),
    ((X,), {"w_std": np.nan}, "w_std"),
    ((X,), {"b_std": -1.0}, "b_std"),
    ((X,), {"b_std": "1"}, "b_std"),
    ((X,), {"quadrature_order": 1}, "quadrature_order"),
    ((X,), {"quadrature_order": 64.0}, "quadrature_order"),
]


@pytest.mark.parametrize(("arguments", "options", "name"), BAD_LIMITS)
@pytest.mark.parametrize("function", [infinite_ntk, nngp, layer_kernels, standard_ntk_limit])
def test_bad_limit(function, arguments, options, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        function(*arguments, **{"depth": 1, **options})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: standard_ntk_limit(X, depth=0), "depth"),
        (lambda: relu_angle_kernels(1.5), "cosine"),
        (lambda: relu_angle_kernels(np.nan), "cosine"),
        (lambda: relu_angle_kernels("1"), "cosine"),
        (lambda: gram_deviation(0, X, widths=(2,), draws=1), "key"),
        (lambda: gram_deviation(jax.random.key(0), X[0], widths=(2,), draws=1), "x"),
        (lambda: gram_deviation(jax.random.key(0), X, widths=(), draws=1), "widths"),
        (lambda: gram_deviation(jax.random.key(0), X, widths=(0,), draws=1), r"widths\[0\]"),
        (lambda: gram_deviation(jax.random.key(0), X, widths=(2,), draws=0), "draws"),
        (lambda: gram_deviation(jax.random.key(0), X, widths=(2,), draws=1, depth=0), "depth"),
        (lambda: arc_cosine_coefficients(-1, bias=True), "max_degree"),
        (lambda: arc_cosine_coefficients(2.0, bias=True), "max_degree"),
        (lambda: arc_cosine_coefficients(2, bias="no"), "bias"),
    ],
)
def test_bad_call(call, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        call()


def test_under_jit_shapes_are_checked_and_values_are_not(no_hook):
    nan = np.full((4, 2), np.nan)
    kernel = jax.jit(lambda x: empirical_ntk(NETWORK.apply, PARAMS, x))
    limit = jax.jit(lambda x: infinite_ntk(x, depth=1))
    for function in (kernel, limit):
        assert function(jnp.asarray(nan)).shape == (4, 4)
        with pytest.raises(ValueError, match=r"^x1? must"):
            function(jnp.ones((4, 3, 1)))
