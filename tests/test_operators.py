"""Kernels that are not stored, against those that are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ntklab.networks import mlp
from ntklab.operators import kernel_operator, memory_estimate
from ntklab.tangent_kernel import empirical_ntk, infinite_ntk
from scipy.sparse.linalg import LinearOperator, cg, eigsh

X = np.random.default_rng(0).normal(size=(53, 3)).astype(np.float32)


def limit(x1, x2):
    return infinite_ntk(x1, x2, depth=2, b_std=0.2)


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
    ],
)
def test_bad_call(call, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        call()
