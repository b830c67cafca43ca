"""Kernels that are not stored, or spread over devices, against those that are stored on one."""

import contextlib
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from ntklab.networks import mlp
from ntklab.operators import kernel_operator, memory_estimate, sharded_kernel
from ntklab.tangent_kernel import empirical_ntk, infinite_ntk, nngp
from scipy.sparse.linalg import LinearOperator, cg, eigsh

X = np.random.default_rng(0).normal(size=(53, 3)).astype(np.float32)


def limit(x1, x2):
    return infinite_ntk(x1, x2, depth=2, b_std=0.2)


# --- many devices ---------------------------------------------------------------------------------

# What both the processes below and this one compute. Its points are drawn by NumPy, so that all
# start from the same ones.
KERNELS = """
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ntklab.networks import mlp
from ntklab.operators import sharded_kernel
from ntklab.tangent_kernel import empirical_ntk, infinite_ntk

rng = np.random.default_rng(0)
x, y = (rng.normal(size=(n, 5)).astype(jnp.result_type(float)) for n in (48, 20))
network = mlp((33, 17, 1), b_std=0.3)
params = network.init(jax.random.key(0), 5)
tokens = rng.integers(0, 7, (48, 4)).astype(np.int32)
table = rng.normal(size=(7, 3)).astype(x.dtype)


def embedding(table, tokens):
    return jnp.tanh(jnp.sum(table[tokens], axis=1))


CASES = {
    "network": (lambda a, b: empirical_ntk(network.apply, params, a, b), x, None),
    "limit": (lambda a, b: infinite_ntk(a, b, depth=2, b_std=0.2), x, y),
    "tokens": (lambda a, b: empirical_ntk(embedding, table, a, b), tokens, None),
}


def found(devices, block_size):
    mesh = Mesh(np.asarray(devices).reshape(-1, 1), ("rows", "more"))
    return {
        name: sharded_kernel(kernel, x1, x2, mesh=mesh, block_size=block_size)
        for name, (kernel, x1, x2) in CASES.items()
    }
"""

EIGHT = """
one = found(jax.devices()[:1], 6)
for count in (2, 4, 8):
    for name, value in found(jax.devices()[:count], 6).items():
        assert len(value.addressable_shards) == count, name
        assert value.addressable_shards[0].data.shape[0] == 48 // count, name
        np.testing.assert_array_equal(value, one[name], err_msg=f"{name} on {count}")
for name, value in found(jax.devices(), 3).items():
    # Sums in another order: a few units in the last place.
    scale = 100 * float(jnp.finfo(value.dtype).eps) * float(np.max(np.abs(one[name])))
    np.testing.assert_allclose(value, one[name], rtol=0, atol=scale, err_msg=name)
"""

# Before anything else is done with JAX.
JOINED = """
import sys

import jax

port, number, folder = sys.argv[1:]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=int(number))
"""

TWO = """
assert len(jax.devices()) == 2 and len(jax.local_devices()) == 1
for name, value in found(jax.devices(), 6).items():
    [own] = value.addressable_shards
    assert not value.is_fully_addressable and own.index[0].start == int(number) * 24, name
    np.save(f"{folder}/{name}-{number}.npy", own.data)
"""


def run_together(scripts, *, devices):
    """Processes that run a script and its arguments each, on simulated devices, in this one's
    precision.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": str(int(jax.config.jax_enable_x64)),
    }
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
                    env=environment,
                    encoding="utf-8",
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
            for script, *arguments in scripts
        ]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0, output


def test_eight_devices_give_what_one_gives_to_the_last_digit():
    """And blocks of another size what rounding allows."""
    run_together([(KERNELS + EIGHT,)], devices=8)


def test_two_processes_give_what_one_gives_to_the_last_digit(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = JOINED + KERNELS + TWO
    run_together([(script, port, number, tmp_path) for number in range(2)], devices=1)
    namespace = {}
    exec(KERNELS, namespace)
    for name, one in namespace["found"](jax.devices()[:1], 6).items():
        parts = [np.load(tmp_path / f"{name}-{number}.npy") for number in range(2)]
        np.testing.assert_array_equal(np.concatenate(parts), one, err_msg=name)


MESH = Mesh(jax.devices()[:1], ("rows",))


@pytest.mark.parametrize("block_size", [None, 53, 1])
def test_a_sharded_kernel_is_the_kernel(block_size, dtype):
    """Against NumPy, and against the kernels without a mesh; several outputs, too."""

    def gaussian(a, b):
        return jnp.exp(-jnp.sum((a[:, None] - b[None]) ** 2, axis=2))

    x, y = X.astype(dtype), X[:7].astype(dtype) + 1
    wide = x.astype(float)
    exact = np.exp(-np.sum((wide[:, None] - wide[None]) ** 2, axis=2))
    kernel = sharded_kernel(gaussian, x, mesh=MESH, block_size=block_size)
    assert kernel.dtype == dtype and kernel.sharding.spec == PartitionSpec("rows")
    tolerance = 100 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(kernel, exact, rtol=0, atol=tolerance)
    network = mlp((8, 2))
    params = network.init(jax.random.key(0), 3, dtype=dtype)
    for one in (
        lambda a, b: empirical_ntk(network.apply, params, a, b),
        lambda a, b: nngp(a, b, depth=2),
    ):
        kernel = sharded_kernel(one, x, y, mesh=MESH, block_size=block_size)
        expected = one(x, y)
        scale = tolerance * float(jnp.max(jnp.abs(expected)))
        np.testing.assert_allclose(kernel, expected, rtol=0, atol=scale)


def test_what_a_kernel_reads_is_current():
    scale = 1.0
    kernel = lambda a, b: scale * (a @ b.T)  # noqa: E731
    before = sharded_kernel(kernel, X, mesh=MESH)
    scale = 3.0
    np.testing.assert_allclose(sharded_kernel(kernel, X, mesh=MESH), 3 * before, rtol=1e-6)


# --- without the matrix ---------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [1000, 20, 18, 1])
def test_products_do_not_depend_on_the_blocks(block_size):
    """Of a kernel by NumPy, with blocks that divide the points and that do not."""
    rows = []

    def kernel(x1, x2):
        rows.append(len(x1))
        return np.exp(np.asarray(x1) @ np.asarray(x2).T)

    operator = kernel_operator(kernel, X, block_size=block_size)
    stored = np.exp(X.astype(float) @ X.T.astype(float))
    vectors = np.random.default_rng(1).normal(size=(53, 2)).astype(np.float32)
    assert operator.dtype == np.float32
    for v in (vectors, vectors[:, 0]):
        exact = stored @ v
        np.testing.assert_allclose(operator @ v, exact, rtol=0, atol=1e-5 * np.max(stored))
    assert max(rows) <= block_size
    blocks = -(-53 // max(rows))
    # The blocks on and above the diagonal, once for each of the two products.
    assert len(rows) == 2 * blocks * (blocks + 1) // 2


def test_eigenvalues_and_regression_without_the_matrix():
    network = mlp((32, 1))
    params = network.init(jax.random.key(0), 3, dtype=jnp.float32)
    y = np.sin(X[:, 0])
    for kernel in (limit, lambda a, b: empirical_ntk(network.apply, params, a, b)):
        stored = np.asarray(kernel(X, X), float)
        operator = kernel_operator(kernel, X, block_size=20)
        found = eigsh(operator, k=4, return_eigenvectors=False)
        exact = np.linalg.eigvalsh(stored)
        np.testing.assert_allclose(np.sort(found), exact[-4:], rtol=1e-4)
        # CG stops at a residual of 1e-4, which the ridge turns into at most 1e-2 of ‖y‖.
        ridged = LinearOperator((53, 53), lambda v, k=operator: k @ v + 0.01 * v, dtype=np.float32)
        weights, failed = cg(ridged, y, rtol=1e-4, maxiter=1000)
        assert failed == 0
        expected = np.linalg.solve(stored + 0.01 * np.eye(53), y)
        error = np.linalg.norm(weights - expected)
        assert error < 1e-2 * np.linalg.norm(y)


def test_progress_is_told():
    told = []
    operator = kernel_operator(
        limit, X, block_size=20, progress=lambda *numbers: told.append(numbers)
    )
    operator @ np.ones(53, np.float32)
    assert told == [(i, 6) for i in range(1, 7)]


@pytest.mark.once
def test_memory_estimates():
    """The result in full, and of temporary memory no second kernel."""

    def estimate(n):
        points = jax.ShapeDtypeStruct((n, 4), jnp.float32)
        return memory_estimate(lambda x: infinite_ntk(x, depth=2), points)

    small, large = estimate(1024), estimate(4096)
    assert large.arguments == 4096 * 4 * 4
    assert large.result == 4096**2 * 4
    assert large.temporary < 0.2 * large.result
    assert large.temporary < 8 * small.temporary


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: kernel_operator(3, X), "kernel"),
        (lambda: kernel_operator(limit, X * np.nan), "x"),
        (lambda: kernel_operator(limit, X[:0]), "x"),
        (lambda: kernel_operator(limit, X, block_size=0), "block_size"),
        (lambda: kernel_operator(limit, X, progress=3), "progress"),
        (lambda: kernel_operator(lambda a, b: np.ones(3), X) @ np.ones(53), "kernel"),
        (lambda: memory_estimate(3), "function"),
        (lambda: sharded_kernel(3, X, mesh=MESH), "kernel"),
        (lambda: sharded_kernel(lambda a, b: a, X, mesh=MESH), "kernel"),
        (lambda: sharded_kernel(lambda a, b: np.asarray(a) @ b.T, X, mesh=MESH), "kernel"),
        (lambda: sharded_kernel(lambda a, b: a @ b.T / 0, X, mesh=MESH), "x1"),
        (lambda: sharded_kernel(limit, X[:0], mesh=MESH), "x1"),
        (lambda: sharded_kernel(limit, X * np.nan, mesh=MESH), "x1"),
        (lambda: sharded_kernel(limit, X, X[:, :2], mesh=MESH), "x2"),
        (lambda: sharded_kernel(limit, X, mesh=None), "mesh"),
        (lambda: sharded_kernel(limit, X, mesh=jax.devices()), "mesh"),
        (lambda: sharded_kernel(limit, X, mesh=MESH.abstract_mesh), "mesh"),
        (lambda: sharded_kernel(limit, X, mesh=Mesh([], ("rows",))), "mesh"),
        (lambda: sharded_kernel(limit, X, mesh=MESH, block_size=2), "block_size"),
        (lambda: sharded_kernel(limit, X, mesh=MESH, block_size=0), "block_size"),
        (lambda: sharded_kernel(limit, X, mesh=Mesh(jax.devices()[:1] * 2, ("rows",))), "mesh"),
    ],
)
def test_bad_call(call, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        call()
