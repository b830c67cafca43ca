"""The cube and its parities once more, in NumPy and by definition: what the tests compare with."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from ntklab.problems import (
    Distribution,
)

FLOAT = jnp.result_type(float)
EPS = float(jnp.finfo(FLOAT).eps)
# A Gram matrix squares the condition number of its features.
KERNEL_DIGITS = 1e4 * EPS
seeds = st.integers(0, 2**32 - 1)


def cube(n):
    """Points by their bits, without the library."""
    return np.array([[1 - 2 * (j >> i & 1) for i in range(n)] for j in range(2**n)], float)


def parity(subset, x):
    return math.prod(x[i] for i in subset)


def subsets(n, least=0):
    return [s for k in range(least, n + 1) for s in itertools.combinations(range(n), k)]


def uniform(n, subset, dtype=FLOAT):
    x = cube(n)
    labels = np.array([parity(subset, row) for row in x])
    return Distribution(*(jnp.asarray(a, dtype) for a in (x, np.full(2**n, 2.0**-n), labels)))
