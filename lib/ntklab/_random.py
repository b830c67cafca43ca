"""Random arrays that compile quickly."""

import functools
import math
from typing import Any

import jax
from jax import Array
from jaxtyping import Key


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = None) -> Array:
    """The numbers of `jax.random.normal`, drawn along one axis.

    XLA spends seconds on the compilation of a draw with three axes, or with two under `jax.vmap`:
    the place of each number is computed within its rounds of hashing.
    """
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)
