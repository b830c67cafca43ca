"""Checks of arguments: every error names the argument, what came and what was expected.

Checks on shapes always run. Checks on values (NaN, symmetry) need concrete arrays: under
`jax.jit` the values are not known yet and these checks pass.
"""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def concrete(array: Any) -> bool:
    """Whether the values of `array` can be looked at: no JAX tracer, and all of it on this host."""
    return not isinstance(array, jax.core.Tracer) and getattr(array, "is_fully_addressable", True)


def from_numpy(values: Any, dtype: Any) -> Array:
    """What NumPy has computed, as a JAX array: NumPy converts it, no program has to be compiled."""
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    with np.errstate(over="ignore"):  # too large for 32 bits is infinite
        return jnp.asarray(np.asarray(values).astype(dtype, copy=False), dtype)


def floating(name: str, value: Any, *, ndim: int | None = None, min_ndim: int = 0) -> Array:
    """`value` as a finite floating-point array of `ndim` axes, or of no less than `min_ndim`."""
    given = getattr(value, "dtype", None)
    if isinstance(given, np.dtype) and given.kind == "f" and given.itemsize > 8:
        raise ValueError(f"{name} must be of float64 at most, got {given}")
    try:
        if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
            # The whole numbers of an array become floats before JAX can cut them to 32 bits.
            whole = value.dtype == np.bool_ or np.issubdtype(value.dtype, np.integer)
            array = from_numpy(value, float if whole else value.dtype)
        else:
            array = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{name} must be an array of numbers, got {type(value).__name__}"
        ) from error
    if jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == jnp.bool_:
        array = array.astype(jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim != ndim if ndim is not None else array.ndim < min_ndim:
        wanted = f"at least {min_ndim}" if ndim is None else f"{ndim}"
        raise ValueError(f"{name} must have {wanted} axes, got shape {array.shape}")
    # NumPy looks at the values: inside a trace a JAX operation on a concrete array is traced too.
    if concrete(array) and not np.all(np.isfinite(np.asarray(array))):
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    return array


def in_range(name: str, finite: Any, what: str, dtype: Any) -> None:
    """Raise for a result that left the range of its dtype, blamed on the argument `name`."""
    if concrete(finite) and not finite:
        raise ValueError(
            f"{name} must give a finite {what} in {dtype}, which ends at "
            f"{float(jnp.finfo(dtype).max):.2g}; got NaN or infinity in it"
        )


def whole(name: str, value: Array | np.ndarray) -> Array:
    """An array of integers as JAX holds it; one that 32 bits would cut is refused."""
    array = jnp.asarray(value)
    if concrete(array) and not np.array_equal(np.asarray(array), np.asarray(value)):
        raise ValueError(f"{name} must fit into {array.dtype}, got {np.max(np.abs(value))} in it")
    return array


def random_key(name: str, value: Any) -> Array:
    """`value` as one key of `jax.random`, of the new style or the old."""
    if isinstance(value, Array):
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.ndim == 0:
            return value
        if value.dtype == jnp.uint32 and value.ndim == 1:
            return value
    raise ValueError(f"{name} must be a single key such as jax.random.key(0), got {value!r}")


def floating_dtype(name: str, value: Any) -> Any:
    """`value` as a floating-point dtype; None is the default one."""
    if value is None:
        return jnp.result_type(float)
    try:
        dtype = jnp.dtype(value)
        # NumPy knows longer floats than JAX does.
        known = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize <= 8
    except (TypeError, ValueError, SyntaxError):  # NumPy parses a text with a comma as Python
        known = False
    if not known:
        raise ValueError(f"{name} must be a floating-point dtype, got {value!r}")
    return dtype


def points(name: str, value: Any) -> Array:
    """`value` as points `[N, d]`, with at least one point and one coordinate."""
    array = floating(name, value, ndim=2)
    if 0 in array.shape:
        raise ValueError(f"{name} must hold at least one point [N, d], got shape {array.shape}")
    return array


def same_dimension(name1: str, x1: Array | np.ndarray, name2: str, x2: Array | np.ndarray) -> None:
    """Two sets of points must have the same shape behind their first axis, and one dtype."""
    if x1.shape[1:] != x2.shape[1:]:
        raise ValueError(
            f"{name2} must have points of shape {x1.shape[1:]} as {name1} has, got {x2.shape[1:]}"
        )
    if x1.dtype != x2.dtype:
        raise ValueError(f"{name2} must have {name1}'s dtype {x1.dtype}, got {x2.dtype}")


def integer(name: str, value: Any, *, at_least: int) -> int:
    """`value` as a Python integer that is no less than `at_least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")
    return int(value)


def number(
    name: str, value: Any, *, above: float | None = None, at_least: float | None = None
) -> float:
    """`value` as a finite Python float within its lower bound."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(f"{name} must be known when a function is traced, got {value}")
    if isinstance(value, bool) or not isinstance(value, Real | np.ndarray | Array):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if isinstance(value, np.ndarray | Array):
        if value.ndim != 0 or not jnp.issubdtype(value.dtype, jnp.number):
            raise ValueError(
                f"{name} must be a single number, got {value.dtype} of shape {value.shape}"
            )
        value = value.item()
    if isinstance(value, complex):
        raise ValueError(f"{name} must be a real number, got {value!r}")
    try:
        result = float(value)
    except OverflowError as error:
        raise ValueError(f"{name} must fit into a float, got an integer beyond it") from error
    if not np.isfinite(result):
        raise ValueError(f"{name} must be finite, got {result}")
    if above is not None and not result > above:
        raise ValueError(f"{name} must be greater than {above:g}, got {result:g}")
    if at_least is not None and not result >= at_least:
        raise ValueError(f"{name} must be at least {at_least:g}, got {result:g}")
    return result


def bound(name: str, value: Any) -> float:
    """`value` as a float that is at least 0 and may be infinite, as the bound on a norm may."""
    if isinstance(value, float) and value == np.inf:
        return value
    return number(name, value, at_least=0)


def flag(name: str, value: Any) -> bool:
    """`value` as one of the two truth values; a word or a number is none."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def standard_deviations(w_std: Any, b_std: Any, dtype: Any) -> tuple[float, float]:
    """`w_std` > 0 and `b_std` >= 0 whose squares, the variances, `dtype` can hold."""
    limits = jnp.finfo(dtype)
    smallest = {"w_std": float(limits.tiny), "b_std": 0.0}
    largest = float(limits.max)
    numbers = number("w_std", w_std, above=0), number("b_std", b_std, at_least=0)
    for (name, least), std in zip(smallest.items(), numbers, strict=True):
        # The product, not the power, which raises where it overflows.
        if not least <= std * std <= largest:
            raise ValueError(
                f"{name} must have a square from {least:.2g} to {largest:.2g}, as {limits.dtype} "
                f"holds it, got {std:g}"
            )
    return numbers


def single_or_double(dtype: Any) -> Any:
    """The type to compute in: half precision is for storage."""
    return dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.dtype(jnp.float32)


def gains(w_std: Any, b_std: Any, dtype: Any) -> tuple[Array, Array]:
    """`w_std` and `b_std` as arrays, for a program that takes them as its arguments; their values
    are checked where they are known.
    """
    values = {"w_std": w_std, "b_std": b_std}
    traced = {name for name, value in values.items() if isinstance(value, jax.core.Tracer)}
    for name in traced:
        value = values[name]
        if value.ndim != 0 or not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(
                f"{name} must be a single real number, got {value.dtype} of shape {value.shape}"
            )
    known = {name: 1.0 if name in traced else value for name, value in values.items()}
    standard_deviations(known["w_std"], known["b_std"], dtype)
    wide = single_or_double(dtype)
    w_array, b_array = (
        value.astype(wide) if name in traced else from_numpy(float(value), wide)
        for name, value in values.items()
    )
    return w_array, b_array


def probability(name: str, value: Any) -> float:
    """`value` as a float in the open interval (0, 1)."""
    result = number(name, value)
    if not 0 < result < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {result:g}")
    return result


def items(name: str, values: Any) -> list[Any]:
    """What `values` holds; a single text or byte string is none."""
    try:
        # Not by its type: an array without axes has the method of an iterable, and refuses.
        held = None if isinstance(values, str | bytes) else iter(values)
    except TypeError:
        held = None
    if held is None:
        raise ValueError(f"{name} must be a sequence, got {values!r:.60}")
    return list(held)


def widths(name: str, value: Any) -> tuple[int, ...]:
    """`value` as a tuple of positive integers, at least one."""
    held = value
    if isinstance(value, np.ndarray | Array) and value.ndim == 1 and concrete(value):
        held = np.asarray(value).tolist()
    if isinstance(held, str) or not isinstance(held, Sequence) or len(held) == 0:
        raise ValueError(f"{name} must be a sequence of positive integers, got {value!r}")
    return tuple(integer(f"{name}[{i}]", width, at_least=1) for i, width in enumerate(held))


def instance(name: str, value: Any, *kinds: type) -> None:
    """Refuse what is none of these kinds, as a problem of another family."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{name} must be {wanted}, got {type(value).__name__}")


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """`value` as one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    return str(value)


def symmetric(name: str, matrix: Array | np.ndarray) -> None:
    """Refuse a square matrix that differs from its transpose by more than rounding."""
    if not concrete(matrix):
        return
    values = np.asarray(matrix)
    worst, largest = np.max(np.abs(values - values.T)), np.max(np.abs(values))
    if worst > _rounding(matrix.dtype) * largest:
        raise ValueError(f"{name} must be symmetric, got entries that differ by {worst:g}")


def positive_semidefinite(
    name: str,
    matrix: Array | np.ndarray | None,
    *,
    eigenvalues: Array | np.ndarray | None = None,
) -> None:
    """Refuse a symmetric matrix with an eigenvalue that is negative beyond rounding.

    Whoever has its eigenvalues already hands them over.
    """
    known = matrix if eigenvalues is None else eigenvalues
    if known is None or not concrete(known):
        return
    values = np.asarray(known)
    if eigenvalues is None:
        values = np.linalg.eigvalsh(values)
    smallest, scale = float(np.min(values)), float(np.max(np.abs(values)))
    if smallest < -_rounding(known.dtype) * scale:
        raise ValueError(f"{name} must be positive semidefinite, got the eigenvalue {smallest:g}")


def _rounding(dtype: Any) -> float:
    """What a kernel computed in this type may lose, relative to its largest value."""
    return 1e4 * float(jnp.finfo(dtype).eps)


def gram(name: str, value: Any) -> Array:
    """`value` as a symmetric kernel matrix `[N, N]`, of a type that has eigenvalues in JAX."""
    array = floating(name, value, ndim=2)
    if array.shape[0] != array.shape[1] or array.size == 0:
        raise ValueError(f"{name} must have shape [N, N] with N > 0, got {array.shape}")
    if array.dtype.itemsize < 4:
        raise ValueError(f"{name} must be of float32 or float64, got {array.dtype}")
    symmetric(name, array)
    return array
