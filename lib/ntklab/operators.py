r"""Kernels that are too large for one array: spread over devices, or not stored at all.

An $N \times N$ kernel of 50,000 points in float32 takes 10 GB. `sharded_kernel` spreads it over
devices. Eigenvalues and regression need no more than its products with vectors, which SciPy's
iterations ask a `LinearOperator` for. `memory_estimate` tells beforehand what a call will take.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.extend.core as core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ntklab import _validate

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["MemoryEstimate", "kernel_operator", "memory_estimate", "sharded_kernel"]

#: `kernel(x1, x2) -> [N1, N2]`.
Kernel = Callable[[Any, Any], Any]


def sharded_kernel(
    kernel: Kernel, x1: Any, x2: Any = None, *, mesh: Mesh, block_size: int | None = None
) -> Array:
    r"""$K_{ij} = k(x_i, x'_j)$ with its rows spread over the devices of a mesh, in their order.

    Every device computes its own rows against all of x2, `block_size` of them at a time, by the
    same program, be it a processor, a GPU or a TPU. Nothing is exchanged. With the same
    `block_size` the kernel is the same to the last digit on any number of devices of one kind.

    Args:
        kernel: `kernel(x1, x2) -> [N1, N2, ...]`, made of JAX operations, such as
            `lambda a, b: empirical_ntk(apply, params, a, b)`.
        x1: points `[N1, ...]`, on every process the same; N1 is a multiple of the devices.
        x2: points `[N2, ...]`; by default x1.
        mesh: the devices, along any number of axes; of several processes after
            `jax.distributed.initialize`.
        block_size: rows that a device computes at once; it divides the rows of a device, which are
            its default. The less of them, the more often a kernel such as `empirical_ntk` computes
            anew what it needs of x2.

    Returns:
        An array with the sharding `NamedSharding(mesh, P(mesh.axis_names))`. A process sees the
        rows of its own devices, in `.addressable_shards`.

    Raises:
        ValueError: for a kernel that is no function of JAX operations or gives another shape, no
            mesh, a number of points that its devices do not divide, a block size that does not
            divide the rows of a device, and as `kernel` does for its arguments.

    Examples:
        >>> from ntklab.tangent_kernel import infinite_ntk
        >>> x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
        >>> mesh = Mesh(jax.devices(), ("rows",))
        >>> kernel = sharded_kernel(lambda a, b: infinite_ntk(a, b, depth=1), x, mesh=mesh)
        >>> kernel.shape, kernel.sharding.spec == PartitionSpec("rows")
        ((6, 6), True)
    """
    _checked_kernel(kernel)
    left = _points("x1", x1)
    right = left if x2 is None else _points("x2", x2)
    _validate.same_dimension("x1", left, "x2", right)
    if not isinstance(mesh, Mesh) or len(set(mesh.devices.flat)) != mesh.size or mesh.size == 0:
        raise ValueError(f"mesh must be a jax.sharding.Mesh of different devices, got {mesh!r}")
    rows, left_over = divmod(len(left), mesh.size)
    if left_over:
        raise ValueError(
            f"x1 must hold a multiple of {mesh.size} points, one share for each device of mesh, "
            f"got {len(left)}"
        )
    size = rows
    if block_size is not None:
        size = _validate.integer("block_size", block_size, at_least=1)
        if rows % size:
            raise ValueError(f"block_size must divide the {rows} rows of a device, got {size}")
    # A few pairs alone, where the kernel can look at values; it cannot in the program below.
    few = left[:TOGETHER], right[:TOGETHER]
    _checked_block(kernel(*few), *few)
    block = jax.ShapeDtypeStruct((size, *left.shape[1:]), left.dtype)
    try:
        closed = jax.make_jaxpr(lambda a, b: jnp.asarray(kernel(a, b)))(block, right)
    except jax.errors.JAXTypeError as error:
        raise ValueError(
            "kernel must be made of JAX operations, got "
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        ) from error
    _checked_block(closed.out_avals[0], block, right)
    by_rows, whole = PartitionSpec(mesh.axis_names), PartitionSpec()

    def of_device(constants: list[Any], left: Array, right: Array) -> Array:
        one = core.jaxpr_as_fun(vars(core)["ClosedJaxpr"](closed.jaxpr, constants))
        blocks = left.reshape(-1, size, *left.shape[1:])
        # A loop also over a single block: its program is then the same as that of many.
        values = jax.lax.map(lambda block: one(block, right)[0], blocks)
        return values.reshape(-1, *values.shape[2:])

    spread = jax.shard_map(
        of_device, mesh=mesh, in_specs=(whole, by_rows, whole), out_specs=by_rows, check_vma=False
    )

    def placed(value: Any, spec: PartitionSpec) -> Any:
        # What spans several processes already is moved by the program.
        if not getattr(value, "is_fully_addressable", True):
            return value
        return jax.device_put(value, NamedSharding(mesh, spec))

    @jax.jit
    def program(constants: list[Any], left: Array, right: Array) -> tuple[Array, Array]:
        values = spread(constants, left, right)
        return values, jnp.all(jnp.isfinite(values))

    # What the kernel reads enters as arguments: a compiler would fold it into constants.
    constants = [placed(constant, whole) for constant in closed.consts]
    values, finite = program(constants, placed(left, by_rows), placed(right, whole))
    if not isinstance(finite, jax.core.Tracer):
        finite = finite.addressable_data(0)
    _validate.in_range("x1", finite, "kernel", values.dtype)
    return values


# Points that are looked at alone.
TOGETHER = 3


def _checked_kernel(kernel: Any) -> None:
    if not callable(kernel):
        raise ValueError(f"kernel must be a function of two sets of points, got {kernel!r}")


def _points(name: str, x: Any) -> Array:
    """Points `[N, ...]`; the whole numbers of an array, such as tokens, stay whole."""
    points = _validate.floating(name, x, min_ndim=1)
    if isinstance(x, Array | np.ndarray) and np.issubdtype(x.dtype, np.integer):
        points = _validate.whole(name, x)
    if len(points) == 0:
        raise ValueError(f"{name} must hold at least one point, got shape {points.shape}")
    return points


def _checked_block(block: Any, left: Any, right: Any) -> None:
    shape, expected = np.shape(block), (left.shape[0], right.shape[0])
    if shape[:2] != expected:
        raise ValueError(f"kernel must give blocks {list(expected)}, got {shape}")


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

    _checked_kernel(kernel)
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
