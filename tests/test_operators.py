"""Kernels that are not stored, or spread over devices, against those that are stored on one."""

import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg
from benchmark import worker
from jax.sharding import Mesh, PartitionSpec
from ntklab.networks import mlp
from ntklab.operators import (
    kernel_operator,
    leading_eigenpairs,
    memory_estimate,
    progress_line,
    regression_weights,
    sharded_kernel,
    stored_kernel,
)
from ntklab.tangent_kernel import empirical_ntk, infinite_ntk, nngp
from project import ROOT
from scipy.sparse.linalg import ArpackNoConvergence, aslinearoperator

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


def test_products_of_two_sets_of_points(dtype):
    """Rectangular, to both sides, against NumPy; and tokens, which stay whole."""
    x, y = X.astype(dtype), X[:7].astype(dtype) + 1
    kernel = lambda a, b: np.exp(np.asarray(a) @ np.asarray(b).T)  # noqa: E731
    stored = np.exp(x.astype(float) @ y.T.astype(float))
    operator = kernel_operator(kernel, x, y, block_size=20)
    assert operator.shape == (53, 7) and operator.dtype == dtype
    tolerance = 1e-5 * np.max(stored)
    for count in ((), (2,)):
        v, w = (np.random.default_rng(n).normal(size=(n, *count)).astype(dtype) for n in (7, 53))
        np.testing.assert_allclose(operator @ v, stored @ v, rtol=0, atol=tolerance)
        np.testing.assert_allclose(operator.T @ w, stored.T @ w, rtol=0, atol=10 * tolerance)
    tokens = np.arange(12, dtype=np.int32).reshape(6, 2) % 5
    table = jnp.eye(5)
    counts = kernel_operator(lambda a, b: jnp.sum(table[a], 1) @ jnp.sum(table[b], 1).T, tokens)
    hot = np.eye(5)[tokens].sum(1)
    np.testing.assert_allclose(counts @ np.ones(6), hot @ hot.T @ np.ones(6), rtol=1e-6)


NETWORK = mlp((32, 1))


def gram(x1, x2):
    params = NETWORK.init(jax.random.key(0), 3, dtype=jnp.asarray(x1).dtype)
    return empirical_ntk(NETWORK.apply, params, x1, x2)


@pytest.mark.parametrize("kernel", [limit, gram])
def test_eigenvalues_and_regression_without_the_matrix(kernel, dtype):
    """Against LAPACK on the matrix, with blocks of two sizes; ten targets share the products."""
    x, y = X.astype(dtype), np.sin(X[:, :1] * np.arange(1, 11)).astype(dtype)
    x_test = x[:9] + dtype.type(0.1)
    stored = np.asarray(kernel(x, x), float)
    exact, vectors = np.linalg.eigh(stored)
    fine = float(jnp.finfo(dtype).eps) ** 0.5
    solved = np.linalg.solve(stored + 0.1 * np.eye(53), y)
    predicted = np.asarray(kernel(x_test, x), float) @ solved
    found = []
    for block_size in (20, 53):
        blocks = []
        operator = kernel_operator(
            kernel, x, block_size=block_size, progress=lambda *_, b=blocks: b.append(1)
        )
        values, modes = leading_eigenpairs(operator, 3)
        assert values.dtype == modes.dtype == dtype
        np.testing.assert_allclose(values, exact[:-4:-1], rtol=fine)
        np.testing.assert_allclose(
            np.abs(np.sum(modes * vectors[:, :-4:-1], axis=0)), 1, rtol=0, atol=fine
        )
        blocks.clear()
        weights = regression_weights(operator, y, ridge=0.1)
        # No more steps than directions, and one product to see what is left.
        assert len(blocks) <= 2 * 54 * (6 if block_size == 20 else 1)
        assert weights.shape == y.shape and weights.dtype == dtype
        # The ridge turns a residual of 2·fine into at most 10 times as much.
        np.testing.assert_array_less(
            np.linalg.norm(weights - solved), 20 * fine * np.linalg.norm(y)
        )
        column = regression_weights(operator, y[:, 0], ridge=0.1)
        error = np.linalg.norm(column - solved[:, 0])
        assert error < 20 * fine * np.linalg.norm(y[:, 0])
        predictions = kernel_operator(kernel, x_test, x, block_size=block_size) @ weights
        largest = np.linalg.norm(np.asarray(kernel(x_test, x)), 2)
        error = np.linalg.norm(predictions - predicted)
        assert error < 20 * fine * largest * np.linalg.norm(y)
        found.append(values)
    np.testing.assert_allclose(*found, rtol=100 * float(jnp.finfo(dtype).eps))


def test_what_does_not_converge_is_named(monkeypatch):
    # Rounding in products with this kernel, of norm 50, is above a ridge of 1e-9.
    operator = kernel_operator(lambda a, b: jnp.exp(0.01 * a @ b.T), X)
    y = np.random.default_rng(0).normal(size=53).astype(np.float32)
    message = "^ridge must be larger .* within 60 products in float32, got 1e-09, which leaves"
    with pytest.raises(ValueError, match=message):
        regression_weights(operator, y, ridge=1e-9, most_products=60)
    with pytest.raises(ValueError, match=r"^ridge must be larger .* within 1 products"):
        regression_weights(operator, y, ridge=0.1, most_products=1)

    def fails(*args, **kwargs):
        raise ArpackNoConvergence("no", np.ones(1), np.ones((53, 1)))

    monkeypatch.setattr(scipy.sparse.linalg, "eigsh", fails)
    message = "^count must be such that the iterations converge, got 3, of which 1 have"
    with pytest.raises(ValueError, match=message):
        leading_eigenpairs(operator, 3)


def test_progress_is_told():
    told = []
    operator = kernel_operator(
        limit, X, block_size=20, progress=lambda *numbers: told.append(numbers)
    )
    operator @ np.ones(53, np.float32)
    assert told == [(i, 6) for i in range(1, 7)]


def test_a_line_of_progress(capsys, no_hook):
    """Each tenth where nobody watches, begun anew with each product; rewritten on a terminal."""
    progress = progress_line("product")
    for _ in range(2):
        for done in range(1, 101):
            progress(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22 and lines[0] == lines[11] == "product: 1 of 100 blocks"
    assert lines[-1] == "product: 100 of 100 blocks, 0 s to go"

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    progress = progress_line("kernel", terminal)
    for done in (3, 4):  # of a file that was begun before
        progress(done, 4)
    first, second = terminal.getvalue().split("\r")[1:]
    assert first.rstrip() == "kernel: 3 of 4 blocks"
    assert second.endswith("\n") and len(first) == len(second) - 1
    with pytest.raises(ValueError, match=r"^what must"):
        progress_line(3)


# --- on a disk ------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [1000, 20, 18])
def test_a_stored_kernel_is_the_kernel(tmp_path, block_size, dtype):
    """Of one and two sets of points, and of several outputs; exactly symmetric."""
    x, y = X.astype(dtype), X[:7].astype(dtype) + 1
    network = mlp((8, 8, 2))
    params = network.init(jax.random.key(0), 3, dtype=dtype)
    outputs = lambda a, b: empirical_ntk(network.apply, params, a, b)  # noqa: E731
    rounding = 100 * float(jnp.finfo(dtype).eps)
    for name, kernel in (("limit", limit), ("outputs", outputs)):
        for right in (None, y):
            path = tmp_path / f"{name}-{right is None}.npy"
            found = stored_kernel(path, kernel, x, right, block_size=block_size)
            exact = np.asarray(kernel(x, x if right is None else right))
            assert found.dtype == dtype and not found.flags.writeable
            scale = rounding * np.max(np.abs(exact))
            np.testing.assert_allclose(found, exact, rtol=0, atol=scale)
            np.testing.assert_array_equal(np.load(path, mmap_mode="r"), found)
            if right is None:
                turned = found.transpose(1, 0, *reversed(range(2, found.ndim)))
                # A pair of outputs at one point is computed once.
                atol = scale if found.ndim == 4 else 0
                np.testing.assert_allclose(found, turned, rtol=0, atol=atol)
            assert {file.name for file in tmp_path.glob(f"{path.name}*")} == {
                path.name,
                f"{path.name}.json",
            }


def test_a_stored_kernel_is_symmetric_where_rounding_is_not(tmp_path):
    rounded = lambda a, b: a @ b.T + 1e-6 * jnp.arange(len(a), dtype=a.dtype)[:, None]  # noqa: E731
    found = stored_kernel(tmp_path / "k.npy", rounded, X, block_size=20)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found, X @ X.T, rtol=0, atol=1e-4)


KILLED = """
import os
import pathlib
import signal
import sys

import numpy as np
from ntklab.operators import stored_kernel
from ntklab.tangent_kernel import infinite_ntk

where, folder = sys.argv[1:]
x = np.load(f"{folder}/x.npy")
left = {"kernel": 4, "flush": 3, "word": 3}[where]


def counted(function):
    def call(*arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call


kernel = lambda a, b: infinite_ntk(a, b, depth=2, b_std=0.2)
if where == "kernel":
    kernel = counted(kernel)
elif where == "flush":
    np.memmap.flush = counted(np.memmap.flush)
else:
    pathlib.Path.replace = counted(pathlib.Path.replace)
stored_kernel(f"{folder}/k.npy", kernel, x, block_size=14)
"""


@pytest.mark.parametrize("where", ["kernel", "flush", "word"])
def test_a_killed_computation_goes_on(where, tmp_path):
    """Killed while a block is computed, when it is written, and before the word that it is."""
    np.save(tmp_path / "x.npy", X)
    command = [sys.executable, "-c", KILLED, where, str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    path = tmp_path / "k.npy"
    assert not path.exists() and path.with_name("k.npy.part").exists()
    computed, told = [], []

    def kernel(a, b):
        computed.append(a.shape)
        return limit(a, b)

    def run():
        return stored_kernel(
            path, kernel, X, block_size=14, progress=lambda *numbers: told.append(numbers)
        )

    found = run()
    # Of ten blocks; besides them a few points, by which the kernel is known again.
    done = {"kernel": 3, "flush": 3, "word": 2}[where]
    assert len(computed) == 1 + 10 - done
    assert told == [(number, 10) for number in range(done + 1, 11)]
    again = stored_kernel(tmp_path / "again.npy", limit, X, block_size=14)
    np.testing.assert_array_equal(found, again)
    run()
    assert len(computed) == 2 + 10 - done


def test_other_inputs_are_named(tmp_path, no_hook):
    """Than those that the file was begun with."""
    path = tmp_path / "k.npy"

    class Stopped(Exception):
        pass

    def stop(done, total):
        raise Stopped

    with pytest.raises(Stopped):
        stored_kernel(path, limit, X, block_size=20, progress=stop)
    other = lambda a, b: infinite_ntk(a, b, depth=2, b_std=0.21)  # noqa: E731
    moved = X.copy()
    moved[30, 0] += 1e-3

    def refused(name):
        options = {"block_size": 20}
        arguments = {"kernel": limit, "x1": X, "x2": None} | {
            "kernel": {"kernel": other},
            "x1": {"x1": moved},
            "x2": {"x2": X},
        }.get(name, {})
        if name == "block_size":
            options = {"block_size": 27}
        with pytest.raises(ValueError, match=f"^{name} must be what k.npy.json was begun with"):
            stored_kernel(path, *arguments.values(), **options)

    for name in ("kernel", "x1", "x2", "block_size"):
        refused(name)
    whole = stored_kernel(path, limit, X, block_size=20)
    for name in ("kernel", "x1", "x2", "block_size"):
        refused(name)
    np.testing.assert_allclose(whole, limit(X, X), rtol=1e-4)
    strange = tmp_path / "strange.npy"
    np.save(strange, X)
    with pytest.raises(ValueError, match=r"^path must be new, or begun by this function, got"):
        stored_kernel(strange, limit, X)
    np.testing.assert_array_equal(np.load(strange), X)


def test_a_full_disk_is_named_before(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=53**2 * 4 - 1))
    with pytest.raises(ValueError, match=r"^path must have room for 11,236 bytes, got 11,235"):
        stored_kernel(tmp_path / "k.npy", limit, X)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=53**2 * 4))
    stored_kernel(tmp_path / "k.npy", limit, X)


# --- what a call will take ------------------------------------------------------------------------


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


@pytest.mark.once
def test_the_page_on_large_kernels_runs(tmp_path, monkeypatch, capsys):
    """Its code for one process, at 60 points in place of 50,000."""
    page = (ROOT / "book" / "reference" / "large_kernels.md").read_text(encoding="utf-8")
    cells = [cell for cell in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)]
    assert len(cells) == 5 and "points = 50_000" in cells[0]
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for cell in cells:
        if "jax.distributed" not in cell:
            exec(cell.replace("points = 50_000", "points = 60"), namespace)
    exact = np.asarray(namespace["kernel"](namespace["x"], namespace["x"]), float)
    scale = np.max(exact)
    np.testing.assert_allclose(namespace["gram"], exact, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(namespace["values"], np.linalg.eigvalsh(exact)[:-6:-1], rtol=1e-3)
    assert namespace["predictions"].shape == (100,)
    printed = capsys.readouterr()
    assert "MemoryEstimate(" in printed.out and "kernel: 1 of 1 blocks" in printed.err


@pytest.mark.once
def test_an_estimate_is_what_a_process_grows_by():
    """By a fifth more or less, of 180 MB; what others have freed is given back before."""
    network, points = mlp((32, 32, 1)), np.zeros((6000, 8), np.float32) + 1
    params = network.init(jax.random.key(0), 8, dtype=jnp.float32)
    kernel = lambda params, x: empirical_ntk(network.apply, params, x)  # noqa: E731
    estimate = memory_estimate(kernel, params, points)
    program = jax.jit(kernel).lower(params, points).compile()
    grown = worker.memory(lambda: program(params, points))
    if grown is None:
        pytest.skip("nobody counts the memory of a process here")
    assert grown == pytest.approx(estimate.result + estimate.temporary, rel=0.2)


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
        (lambda: kernel_operator(limit, X, X[:, :2]), "x2"),
        (lambda: leading_eigenpairs(3, 1), "operator"),
        (lambda: leading_eigenpairs(kernel_operator(limit, X, X[:5]), 1), "operator"),
        (lambda: leading_eigenpairs(aslinearoperator(np.eye(3)), 3), "count"),
        (lambda: leading_eigenpairs(aslinearoperator(np.eye(3)), 0), "count"),
        (lambda: leading_eigenpairs(aslinearoperator(np.eye(3)), 1, tolerance=0), "tolerance"),
        (lambda: regression_weights(np.ones((3, 2)), np.ones(3), ridge=1), "operator"),
        (lambda: regression_weights(aslinearoperator(np.eye(3)), np.ones(2), ridge=1), "y"),
        (lambda: regression_weights(aslinearoperator(np.eye(3)), [1, np.nan, 1], ridge=1), "y"),
        (lambda: regression_weights(aslinearoperator(np.eye(3)), np.ones(3), ridge=0), "ridge"),
        (lambda: stored_kernel("k.txt", limit, X), "path"),
        (lambda: stored_kernel("nowhere/k.npy", limit, X), "path"),
        (lambda: stored_kernel("k.npy", 3, X), "kernel"),
        (lambda: stored_kernel("k.npy", lambda a, b: a, X[:2]), "kernel"),
        (lambda: stored_kernel("k.npy", limit, X * np.nan), "x1"),
        (lambda: stored_kernel("k.npy", lambda a, b: a @ b.T / 0, X), "x1"),
        (lambda: stored_kernel("k.npy", limit, X, X[:, :2]), "x2"),
        (lambda: stored_kernel("k.npy", limit, X, block_size=0), "block_size"),
        (lambda: stored_kernel("k.npy", limit, X, progress=3), "progress"),
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
def test_bad_call(call, name, no_hook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^{name} must"):
        call()
