r"""Kernels that are too large for one array: spread over devices, on a disk, or not stored at all.

An $N \times N$ kernel of 50,000 points in float32 takes 10 GB. `sharded_kernel` spreads it over
devices, `stored_kernel` writes it to a disk. Eigenvalues and regression need no more than its
products with vectors, which SciPy's iterations ask a `LinearOperator` for. `memory_estimate` tells
beforehand what a call will take.
"""

import hashlib
import itertools
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
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

__all__ = [
    "MemoryEstimate",
    "kernel_operator",
    "leading_eigenpairs",
    "memory_estimate",
    "progress_line",
    "regression_weights",
    "sharded_kernel",
    "stored_kernel",
]

#: `kernel(x1, x2) -> [N1, N2]`.
Kernel = Callable[[Any, Any], Any]
#: Called with the numbers of blocks that are done and of all.
Progress = Callable[[int, int], None]

# --- many devices -------------------------------------------------------------------------------


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
    kernel: Kernel,
    x: Any,
    x2: Any = None,
    *,
    block_size: int = 2000,
    progress: Progress | None = None,
) -> "LinearOperator":
    r"""$v \mapsto K v$ with $K_{ij} = k(x_i, x'_j)$, for `scipy.sparse.linalg`'s iterations.

    A product computes each block of K, for `x2=None` on and above the diagonal and then used
    twice, and forgets it: memory for two blocks, not for K. It does not depend on the size of the
    blocks but by rounding.

    Args:
        kernel: `kernel(x1, x2) -> [N1, N2]`, symmetric, such as
            `lambda a, b: infinite_ntk(a, b, depth=3)` or
            `lambda a, b: empirical_ntk(apply, params, a, b)`.
        x: points `[N, ...]`.
        x2: points `[N2, ...]`; by default x.
        block_size: points in a block.
        progress: called after each block with the numbers of those that are done and of all in a
            product, such as `progress_line("product")`.

    Returns:
        A `LinearOperator` `[N, N2]` in the dtype of the points, or JAX's own for tokens, for
        vectors `[N2]` and matrices `[N2, k]`; for several columns each block is computed once.

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
    _checked_progress(progress)
    left = _points("x", x)
    right = left if x2 is None else _points("x2", x2)
    _validate.same_dimension("x", left, "x2", right)
    size = _validate.integer("block_size", block_size, at_least=1)
    pairs = _pairs(len(left), len(right), size, x2 is None)
    whole = jnp.issubdtype(left.dtype, jnp.integer)
    dtype = np.dtype(jnp.result_type(float) if whole else left.dtype)

    def multiplied(block: Array, vectors: np.ndarray) -> np.ndarray:
        # Where the block is: on an accelerator it need not leave.
        return np.asarray(jnp.matmul(block, vectors, precision="highest"))

    def product(vectors: np.ndarray, turned: bool) -> np.ndarray:
        vectors = np.asarray(vectors, dtype)
        result = np.zeros((len(right if turned else left), *vectors.shape[1:]), dtype)
        for done, (rows, columns) in enumerate(pairs, start=1):
            block = jnp.asarray(kernel(left[rows], right[columns]))
            expected = rows.stop - rows.start, columns.stop - columns.start
            if block.shape != expected:
                raise ValueError(f"kernel must give blocks {list(expected)}, got {block.shape}")
            if turned or (x2 is None and rows != columns):
                result[columns] += multiplied(block.T, vectors[rows])
            if not turned:
                result[rows] += multiplied(block, vectors[columns])
            if progress is not None:
                progress(done, len(pairs))
        return result

    def forth(vectors: np.ndarray) -> np.ndarray:
        return product(vectors, False)

    def back(vectors: np.ndarray) -> np.ndarray:
        return product(vectors, x2 is not None)

    return LinearOperator(
        (len(left), len(right)), matvec=forth, matmat=forth, rmatvec=back, rmatmat=back, dtype=dtype
    )


def _checked_progress(progress: Any) -> None:
    if progress is not None and not callable(progress):
        raise ValueError(f"progress must be a function of two numbers, got {progress!r}")


def _pairs(n1: int, n2: int, most: int, symmetric: bool) -> list[tuple[slice, slice]]:
    """Blocks of at most `most` rows and columns; of a symmetric kernel those of the upper half."""
    rows, columns = (
        [slice(start, min(start + size, n)) for start in range(0, n, size)]
        for n in (n1, n2)
        for size in [math.ceil(n / math.ceil(n / most))]
    )
    pairs = itertools.product(range(len(rows)), range(len(columns)))
    return [(rows[i], columns[j]) for i, j in pairs if not symmetric or i <= j]


def leading_eigenpairs(
    operator: "LinearOperator", count: int, *, tolerance: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""The largest eigenvalues $\lambda_1 \ge \lambda_2 \ge \dots$ of a symmetric operator and
    their eigenvectors, by Lanczos iterations (SciPy's `eigsh`) from a fixed start.

    Args:
        operator: such as a `kernel_operator`, `[N, N]`.
        count: how many, fewer than N.
        tolerance: of the eigenvalues, relative; by default the root of the dtype's epsilon. Their
            errors are far smaller, as they go with the square of the vectors'.

    Returns:
        `[count]` and `[N, count]`, in the dtype of the operator.

    Raises:
        ValueError: for an operator that is not square, a count below 1 or not below N, a tolerance
            that is not positive, and if the iterations do not converge.

    Examples:
        >>> from scipy.sparse.linalg import aslinearoperator
        >>> values, vectors = leading_eigenpairs(aslinearoperator(np.diag([1.0, 5, 3, 2])), 2)
        >>> values.round(6).tolist(), np.abs(vectors[1]).round(6).tolist()
        ([5.0, 3.0], [1.0, 0.0])
    """
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    n = _square(operator)
    count = _validate.integer("count", count, at_least=1)
    if count >= n:
        raise ValueError(f"count must be below the operator's {n} rows, got {count}")
    tolerance = _tolerance(tolerance, operator.dtype)
    start = np.random.default_rng(0).normal(size=n).astype(operator.dtype)
    try:
        values, vectors = eigsh(operator, k=count, v0=start, tol=tolerance)
    except ArpackNoConvergence as error:
        raise ValueError(
            f"count must be such that the iterations converge, got {count}, of which "
            f"{len(error.eigenvalues)} have; fewer of them, or a larger tolerance, may do"
        ) from error
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]


def regression_weights(
    operator: "LinearOperator",
    y: Any,
    *,
    ridge: float,
    tolerance: float | None = None,
    most_products: int = 1000,
) -> np.ndarray:
    r"""$\alpha = (K + \rho I)^{-1} y$ by conjugate gradients (SciPy's `cg`), a product with K
    a step.

    The predictions of kernel ridge regression elsewhere are $K(x', x)\,\alpha$, the product of
    `kernel_operator(kernel, x', x)` with it.

    Args:
        operator: K, such as a `kernel_operator`, symmetric and positive semidefinite, `[N, N]`.
        y: `[N]` or `[N, k]`; all columns share the products.
        ridge: $\rho > 0$. The number of steps grows with $\sqrt{\lambda_1/\rho}$.
        tolerance: how small the residual becomes, relative to y; by default the root of the
            dtype's epsilon.
        most_products: after which the iterations give up.

    Returns:
        An array of y's shape, in the dtype of the operator.

    Raises:
        ValueError: for an operator that is not square, targets of another length, a ridge or a
            tolerance that is not positive, and if the residual, computed anew at the end, is not
            that small, as where rounding in K is larger than the ridge.

    Examples:
        >>> from scipy.sparse.linalg import aslinearoperator
        >>> operator = aslinearoperator(np.diag([1.0, 3.0]))
        >>> regression_weights(operator, [2.0, 8.0], ridge=1.0).round(6).tolist()
        [1.0, 2.0]
    """
    from scipy.sparse.linalg import LinearOperator, cg

    n, dtype = _square(operator), operator.dtype
    targets: Any = np.asarray(_validate.floating("y", y, min_ndim=1)).astype(dtype)
    if targets.shape[0] != n or targets.ndim > 2 or targets.size == 0:
        raise ValueError(f"y must have shape [{n}] or [{n}, k], got {targets.shape}")
    rho = dtype.type(_validate.number("ridge", ridge, above=0))
    tolerance = _tolerance(tolerance, dtype)
    most = _validate.integer("most_products", most_products, at_least=1)

    def ridged(flat: np.ndarray) -> np.ndarray:
        columns = flat.reshape(targets.shape)
        return (operator @ columns + rho * columns).ravel()

    # All columns as one long vector: the operator's eigenvalues are the same, and so are the steps.
    system = LinearOperator((targets.size,) * 2, matvec=ridged, dtype=dtype)
    weights, _ = cg(system, targets.ravel(), rtol=tolerance, maxiter=most)
    residual = np.linalg.norm(system @ weights - targets.ravel())
    allowed = 2 * tolerance * np.linalg.norm(targets)  # cg's own residual drifts from the true one
    if not residual <= allowed:
        raise ValueError(
            f"ridge must be larger for a residual of {allowed:.2g} within {most} products in "
            f"{dtype}, got {ridge:g}, which leaves {residual:.2g}"
        )
    return weights.reshape(targets.shape)


def _square(operator: Any) -> int:
    shape: Any = getattr(operator, "shape", ())
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"operator must be square, got {operator!r:.80}")
    return int(shape[0])


def _tolerance(tolerance: float | None, dtype: Any) -> float:
    if tolerance is None:
        return float(np.finfo(dtype).eps) ** 0.5
    return _validate.number("tolerance", tolerance, above=0)


# --- on a disk ----------------------------------------------------------------------------------


def stored_kernel(
    path: str | os.PathLike[str],
    kernel: Kernel,
    x1: Any,
    x2: Any = None,
    *,
    block_size: int = 4000,
    progress: Progress | None = None,
) -> np.memmap:
    r"""$K_{ij} = k(x_i, x'_j)$, written to a file block by block.

    Stop it at any time, by whatever means: called again it goes on behind the last whole block.
    `<path>.part` is the array in work, `<path>` appears when it is whole, and `<path>.json` says
    which blocks are, of which points and of which kernel. For `x2=None` blocks on and above the
    diagonal are computed and written twice.

    Args:
        path: ending in `.npy`, for `numpy.load(path, mmap_mode="r")`.
        kernel: `kernel(x1, x2) -> [N1, N2]`, or `[N1, N2, K, K]` for several outputs, such as
            `lambda a, b: empirical_ntk(apply, params, a, b)`.
        x1: points `[N1, ...]`.
        x2: points `[N2, ...]`; by default x1, of a symmetric kernel.
        block_size: rows and columns of a block; two blocks are in memory.
        progress: called after each block with the numbers of those that are done and of all, such
            as `progress_line("kernel")`.

    Returns:
        The whole array, mapped from the file and read-only.

    Raises:
        ValueError: for a path that does not end so or where something else stands, too little room
            on the disk, and as `kernel_operator`; for points, a kernel (by its values at some
            points), or a block size other than those that the file was begun with.

    Examples:
        >>> import tempfile
        >>> from ntklab.tangent_kernel import infinite_ntk
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gram = stored_kernel(
        ...         Path(folder) / "gram.npy", lambda a, b: infinite_ntk(a, b, depth=1), x,
        ...         block_size=20,
        ...     )
        ...     gram.shape, bool(np.all(gram == gram.T))
        ((50, 50), True)
    """
    whole = Path(path)
    part, record = (whole.with_name(whole.name + ending) for ending in (".part", ".json"))
    if whole.suffix != ".npy" or not whole.parent.is_dir():
        raise ValueError(
            f"path must be a file ending in .npy in a folder that is there, got {path}"
        )
    _checked_kernel(kernel)
    _checked_progress(progress)
    left = _points("x1", x1)
    right = left if x2 is None else _points("x2", x2)
    _validate.same_dimension("x1", left, "x2", right)
    size = _validate.integer("block_size", block_size, at_least=1)
    few = left[:TOGETHER], right[-TOGETHER:]
    sample = np.asarray(kernel(*few))
    _checked_block(sample, *few)
    shape, dtype = (len(left), len(right), *sample.shape[2:]), sample.dtype
    asked = {
        "x1": _fingerprint(left),
        "x2": None if x2 is None else _fingerprint(right),
        "block_size": size,
        "shape": list(shape),
        "dtype": str(dtype),
        "sample": sample.astype(float).ravel().tolist(),
    }
    pairs = _pairs(len(left), len(right), size, x2 is None)
    done = _begun(whole, part, record, asked)
    if not whole.exists():
        if done and part.exists():
            array = np.lib.format.open_memmap(part, mode="r+")
        else:
            done = []
            _write_whole(record, json.dumps(asked | {"done": done}))
            needed = math.prod(shape) * dtype.itemsize
            part.unlink(missing_ok=True)
            room = shutil.disk_usage(whole.parent).free
            if room < needed:
                raise ValueError(
                    f"path must have room for {needed:,} bytes, got {room:,} at {path}"
                )
            array = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"path must hold {dtype}{list(shape)} as begun, got another {part}")
        for number, (rows, columns) in enumerate(pairs):
            if number in done:
                continue
            block = np.asarray(kernel(left[rows], right[columns]))
            _checked_block(block, left[rows], right[columns])
            _validate.in_range("x1", bool(np.all(np.isfinite(block))), "kernel", block.dtype)
            if x2 is None and rows == columns:
                upper = np.triu(np.ones(block.shape[:2], bool))
                upper = np.expand_dims(upper, tuple(range(2, block.ndim)))
                block = np.where(upper, block, _turned(block))
            array[rows, columns] = block
            if x2 is None and rows != columns:
                array[columns, rows] = _turned(block)
            # First the block, then the word that it is there.
            array.flush()
            done.append(number)
            _write_whole(record, json.dumps(asked | {"done": done}))
            if progress is not None:
                progress(len(done), len(pairs))
        del array
        part.replace(whole)
    return np.lib.format.open_memmap(whole, mode="r")


def _begun(whole: Path, part: Path, record: Path, asked: dict[str, Any]) -> list[int]:
    """The blocks that are done of what was begun before, if it is what is asked for now."""
    if not record.exists():
        for file in (whole, part):
            if file.exists():
                raise ValueError(f"path must be new, or begun by this function, got {file}")
        return []
    found = json.loads(record.read_text(encoding="utf-8"))
    for name in ("x1", "x2", "block_size", "shape", "dtype"):
        if found[name] != asked[name]:
            argument = name if name in ("x1", "x2", "block_size") else "kernel"
            raise ValueError(
                f"{argument} must be what {record.name} was begun with ({name} {found[name]}), got "
                f"{asked[name]}; remove that file to begin anew"
            )
    before, now = np.asarray(found["sample"]), np.asarray(asked["sample"])
    rounding = float(np.finfo(asked["dtype"]).eps) ** 0.5
    if np.max(np.abs(before - now)) > rounding * np.max(np.abs(before)):
        raise ValueError(
            f"kernel must be what {record.name} was begun with ({before[0]:g} between two points), "
            f"got {now[0]:g}; remove that file to begin anew"
        )
    return list(found["done"])


def _fingerprint(points: Array) -> str:
    values = np.ascontiguousarray(points)
    head = f"{values.dtype}{values.shape}".encode()
    return hashlib.sha256(head + values.tobytes()).hexdigest()


def _turned(block: np.ndarray) -> np.ndarray:
    """K(x′, x) of K(x, x′): the outputs change sides, too."""
    return block.transpose(1, 0, *reversed(range(2, block.ndim)))


def _write_whole(file: Path, text: str) -> None:
    """A file that is at each moment the old one or the new one."""
    new = file.with_name(file.name + ".part")
    with new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


# --- what a call will take ----------------------------------------------------------------------


def progress_line(what: str, stream: Any = None) -> Progress:
    """A line that tells how far a computation is and how long it will take, written over and over;
    where nobody watches, as in a job's log, a new line each time a tenth is done.

    Args:
        what: is computed.
        stream: a text file to write to; by default the standard error.

    Returns:
        For the argument `progress` of this module's functions.

    Examples:
        >>> progress = progress_line("kernel", sys.stdout)
        >>> for done in range(1, 5):
        ...     progress(done, 4)
        kernel: 1 of 4 blocks
        kernel: 2 of 4 blocks, ... s to go
        kernel: 3 of 4 blocks, ... s to go
        kernel: 4 of 4 blocks, 0 s to go
    """
    if not isinstance(what, str):
        raise ValueError(f"what must be a text, got {what!r}")
    out = sys.stderr if stream is None else stream
    # Done when it began, and when that was.
    begun: list[tuple[int, float]] = []
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        if not begun or done <= begun[0][0]:  # the first, or the first of the next product
            begun[:], told[:] = [(done, time.monotonic())], []
        first, start = begun[0]
        line = f"{what}: {done} of {total} blocks"
        if done > first:
            left = (time.monotonic() - start) / (done - first) * (total - done)
            line += f", {left:.0f} s to go"
        if out.isatty():
            out.write(f"\r{line:<70}" + ("\n" if done == total else ""))
        elif 10 * done // total not in told:
            told.append(10 * done // total)
            out.write(f"{line}\n")
        out.flush()

    return progress


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
