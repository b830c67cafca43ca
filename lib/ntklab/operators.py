r"""Kernels that are too large to be stored: their products with vectors, and what a call will take.

An $N \times N$ kernel of 50,000 points in float32 takes 10 GB. Eigenvalues and regression need no
more than its products with vectors, which SciPy's iterations ask a `LinearOperator` for.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from ntklab import _validate

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["MemoryEstimate", "kernel_operator", "memory_estimate"]


def kernel_operator(
    kernel: Callable[[Any, Any], Any],
    x: Any,
    *,
    block_size: int = 2000,
    progress: Callable[[int, int], None] | None = None,
) -> "LinearOperator":
    r"""$v \mapsto K v$ with $K_{ij} = k(x_i, x_j)$, for `scipy.sparse.linalg`'s `eigsh` and `cg`.

    A product computes each block of K on and above the diagonal, uses it twice and forgets it:
    memory for two blocks, not for K. It does not depend on the size of the blocks but by rounding.

    Args:
        kernel: `kernel(x1, x2) -> [N1, N2]`, symmetric, such as
            `lambda a, b: infinite_ntk(a, b, depth=3)` or
            `lambda a, b: empirical_ntk(apply, params, a, b)`.
        x: points `[N, ...]`.
        block_size: points in a block.
        progress: called after each block with the numbers of those that are done and of all in a
            product.

    Returns:
        A `LinearOperator` `[N, N]` in the dtype of the points, for vectors `[N]` and matrices
        `[N, k]`.

    Raises:
        ValueError: for a kernel or a progress that cannot be called, points with NaN, a block size
            below 1, and, in a product, for blocks of another shape than `[N1, N2]`.

    Examples:
        >>> from ntklab.tangent_kernel import infinite_ntk
        >>> from scipy.sparse.linalg import eigsh
        >>> x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
        >>> operator = kernel_operator(lambda a, b: infinite_ntk(a, b, depth=1), x, block_size=100)
        >>> bool(np.all(eigsh(operator, k=3, return_eigenvectors=False) > 1))
        True
    """
    from scipy.sparse.linalg import LinearOperator

    if not callable(kernel):
        raise ValueError(f"kernel must be a function of two sets of points, got {kernel!r}")
    if progress is not None and not callable(progress):
        raise ValueError(f"progress must be a function of two numbers, got {progress!r}")
    points = _validate.floating("x", x, min_ndim=1)
    n = len(points)
    if n == 0:
        raise ValueError(f"x must hold at least one point, got shape {points.shape}")
    block_size = _validate.integer("block_size", block_size, at_least=1)
    size = math.ceil(n / math.ceil(n / block_size))
    blocks = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    pairs = [(rows, columns) for i, rows in enumerate(blocks) for columns in blocks[i:]]

    def product(vectors: np.ndarray) -> np.ndarray:
        vectors = np.asarray(vectors, points.dtype)
        result = np.zeros(vectors.shape, points.dtype)
        for done, (rows, columns) in enumerate(pairs, start=1):
            block = np.asarray(kernel(points[rows], points[columns]))
            expected = rows.stop - rows.start, columns.stop - columns.start
            if block.shape != expected:
                raise ValueError(f"kernel must give blocks {list(expected)}, got {block.shape}")
            result[rows] += block @ vectors[columns]
            if rows != columns:
                result[columns] += block.T @ vectors[rows]
            if progress is not None:
                progress(done, len(pairs))
        return result

    return LinearOperator(
        (n, n), matvec=product, matmat=product, rmatvec=product, dtype=np.dtype(points.dtype)
    )


class MemoryEstimate(NamedTuple):
    """Bytes that a call will take on its device.

    Attributes:
        arguments: of its arrays.
        result: of what it returns.
        temporary: of what it holds meanwhile.
    """

    arguments: int
    result: int
    temporary: int


def memory_estimate(function: Callable[..., Any], *arguments: Any) -> MemoryEstimate:
    """The memory of `function(*arguments)` as one program: it is compiled and not run.

    Args:
        function: made of JAX operations.
        arguments: arrays, or `jax.ShapeDtypeStruct`s, which take no memory themselves.

    Raises:
        ValueError: for a function that cannot be called, and on a device that tells no memory.

    Examples:
        >>> from ntklab.tangent_kernel import infinite_ntk
        >>> x = jax.ShapeDtypeStruct((1000, 20), np.float32)
        >>> estimate = memory_estimate(lambda x: infinite_ntk(x, depth=1), x)
        >>> estimate.arguments, estimate.result
        (80000, 4000000)
    """
    if not callable(function):
        raise ValueError(f"function must be callable, got {function!r}")
    analysis = jax.jit(function).lower(*arguments).compile().memory_analysis()
    if analysis is None:
        raise ValueError("function must run on a device that tells its memory, got none")
    return MemoryEstimate(
        analysis.argument_size_in_bytes,
        analysis.output_size_in_bytes,
        analysis.temp_size_in_bytes,
    )
