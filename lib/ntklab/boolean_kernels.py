r"""What can a kernel learn on the Boolean cube, and what can none?

The bounds that hold for every kernel, by its dimension and by the norm of its predictors, sharp and
as published; and kernels to hold against them.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from ntklab import _validate, networks
from ntklab.edges import Kernel
from ntklab.problems import sample_sparse_parity
from ntklab.tangent_kernel import empirical_ntk

__all__ = [
    "dimension_bound",
    "example_kernels",
    "kernel_of_model",
    "largest_mean_edge",
    "published_norm_bound",
    "sharp_norm_bound",
    "sign_rank_bound",
]


# --- bounds for every kernel --------------------------------------------------------------------


def dimension_bound(dimension: int, size: int) -> float:
    r"""$\min\{\tfrac12, \tfrac{p}{2|\mathcal P|}\}$: mean edge, over orthonormal targets, of any
    kernel with p features.

    Args:
        dimension: p, or the rank of the kernel.
        size: $|\mathcal P|$, the number of targets.

    Raises:
        ValueError: for a negative dimension or no target.

    Source: M21, Claims 3 and 8; proved in the chapter.

    Examples:
        >>> dimension_bound(10, 120)
        0.041666666666666664
    """
    dimension = _validate.integer("dimension", dimension, at_least=0)
    return min(0.5, dimension / (2 * _validate.integer("size", size, at_least=1)))


def published_norm_bound(norm_bound: float, size: int) -> float:
    r"""$\min\{\tfrac12, \tfrac32 B^{2/3} |\mathcal P|^{-1/3}\}$: mean edge of $\mathcal F(K, B)$
    for any kernel.

    The rate of the source, which leaves its constant open; 3/2 is what the chapter's proof gives.

    Args:
        norm_bound: B.
        size: $|\mathcal P|$.

    Raises:
        ValueError: for a negative B or no target.

    Source: M21, Claims 3 and 8.

    Examples:
        >>> round(published_norm_bound(1.0, 1000), 3)
        0.15
    """
    norm_bound = _validate.bound("norm_bound", norm_bound)
    size = _validate.integer("size", size, at_least=1)
    return min(0.5, 1.5 * norm_bound ** (2 / 3) * size ** (-1 / 3))


def sharp_norm_bound(norm_bound: float, size: int) -> float:
    r"""$\min\{\tfrac12, B/\sqrt{|\mathcal P|}\}$: mean edge of $\mathcal F(K, B)$ for any kernel.

    Smaller than `published_norm_bound` wherever one of the two is below ½, and at most twice
    `largest_mean_edge`.

    Args:
        norm_bound: B.
        size: $|\mathcal P|$.

    Raises:
        ValueError: for a negative B or no target.

    Source: proved in the chapter.

    Examples:
        >>> round(sharp_norm_bound(1.0, 1000), 4)
        0.0316
    """
    norm_bound = _validate.bound("norm_bound", norm_bound)
    return min(0.5, norm_bound / math.sqrt(_validate.integer("size", size, at_least=1)))


def largest_mean_edge(norm_bound: float, size: int, dimension: int | None = None) -> float:
    r"""$\bar B - \tfrac12 \bar B^2$ with $\bar B = \min\{1, B/\sqrt{|\mathcal P|}\}$: the largest
    mean edge that any kernel has with norm at most B, and there is one that has it.

    With p features: $\tfrac{B}{\sqrt{|\mathcal P|}} - \tfrac{B^2}{2p}$ while
    $B\sqrt{|\mathcal P|} \le p \le |\mathcal P|$, and the `dimension_bound` when the norm is
    larger.

    Args:
        norm_bound: B; `inf` leaves the dimension.
        size: $|\mathcal P|$, the number of orthonormal targets.
        dimension: p; none for kernels of any dimension.

    Raises:
        ValueError: for a negative B, no target, or a negative dimension.

    Source: proved in the chapter.

    Examples:
        >>> round(largest_mean_edge(1.0, 1000), 4)
        0.0311
        >>> largest_mean_edge(1.0, 1000, dimension=20) == dimension_bound(20, 1000)
        True
    """
    norm_bound = _validate.bound("norm_bound", norm_bound)
    size = _validate.integer("size", size, at_least=1)
    p = size
    if dimension is not None:
        p = min(p, _validate.integer("dimension", dimension, at_least=0))
    if p <= norm_bound * math.sqrt(size):
        return p / (2 * size)
    return norm_bound / math.sqrt(size) - norm_bound**2 / (2 * p)


def sign_rank_bound(signs: Float[Array | np.ndarray, "M N"]) -> float:
    r"""$\sqrt{MN}/\|A\|$ of a matrix A of signs: no fewer features have a predictor with the signs
    of each row.

    A row is a target, a column an input, $\|A\|$ the largest singular value. For M orthonormal
    targets under uniform inputs it is $\sqrt M$.

    Args:
        signs: A, every entry −1 or 1.

    Raises:
        ValueError: for another shape, no entry, or an entry that is no sign.

    Source: Forster 2002; proved in the chapter.

    Examples:
        >>> round(sign_rank_bound(jnp.array([[1.0, 1.0], [1.0, -1.0]])), 6)
        1.414214
    """
    signs = np.asarray(_validate.floating("signs", signs, ndim=2), float)
    if signs.size == 0 or not np.all(np.abs(signs) == 1):
        raise ValueError(f"signs must be a matrix of entries −1 and 1, got {signs!r:.80}")
    return math.sqrt(signs.size) / float(np.linalg.norm(signs, 2))


# --- kernels to hold against the bounds ---------------------------------------------------------


def example_kernels(n: int, *, seed: int = 0) -> dict[str, Kernel]:
    r"""The kernels that the chapter holds against the bounds, by name.

    Linear, polynomial and Gaussian kernels, random ReLU features, tangent kernels of ReLU networks
    with one to four hidden layers at their random start, and that of a network which was trained on
    the parity of the first two coordinates.

    Args:
        n: number of coordinates.
        seed: for weights.

    Raises:
        ValueError: for n below 2.

    Examples:
        >>> sorted(example_kernels(4))[:3]
        ['Gaussian', 'cubic', 'linear']
    """
    n = _validate.integer("n", n, at_least=2)
    keys = jax.random.split(jax.random.key(_validate.integer("seed", seed, at_least=0)), 7)
    directions = jax.random.normal(keys[0], (n, 64)) / math.sqrt(n)

    def random_features(x1: Array, x2: Array) -> Array:
        return jax.nn.relu(x1 @ directions) @ jax.nn.relu(x2 @ directions).T / 64

    def gaussian(x1: Array, x2: Array) -> Array:
        return jnp.exp((x1 @ x2.T - n) / n)

    def trained() -> Any:
        return _trained(networks.mlp((64, 1)), keys[5], n)

    kernels: dict[str, Kernel] = {
        "linear": lambda x1, x2: x1 @ x2.T / n,
        "cubic": lambda x1, x2: ((1 + x1 @ x2.T) / (n + 1)) ** 3,
        "Gaussian": gaussian,
        "random features": random_features,
    }
    for depth in (1, 2, 3, 4):
        network = networks.mlp((64,) * depth + (1,))
        start = functools.partial(network.init, keys[depth], n)
        kernels[f"tangent, depth {depth}"] = kernel_of_model(network.apply, start)
    kernels["tangent, trained"] = kernel_of_model(networks.mlp((64, 1)).apply, trained)
    return kernels


def kernel_of_model(apply: Any, params: Callable[[], Any]) -> Kernel:
    r"""$f_\theta(x)f_\theta(x') + \langle\nabla f_\theta(x), \nabla f_\theta(x')\rangle$ of a
    model, at parameters that are computed where the kernel is used.

    Args:
        apply: `apply(params, x) -> [N]` or `[N, 1]`.
        params: gives the parameters.

    Examples:
        >>> kernel = kernel_of_model(lambda w, x: x @ w, lambda: jnp.zeros(2))
        >>> kernel(jnp.eye(2), jnp.eye(2)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    def kernel(x1: Array, x2: Array) -> Array:
        others = None if x2 is x1 else x2
        return empirical_ntk(apply, params(), x1, others, include_output=True)

    return kernel


def _trained(network: networks.Network, key: Key[Array, ""], n: int) -> Any:
    """A network after gradient descent on the parity of the first two coordinates."""
    start, data = jax.random.split(key)
    x, y = sample_sparse_parity(data, n, (0, 1), 0.0, 512)

    @jax.jit
    def descend(params: Any) -> Any:
        def loss(p: Any) -> Array:
            return jnp.mean((network.apply(p, x)[:, 0] - y) ** 2) / 2

        def step(p: Any, _: None) -> tuple[Any, None]:
            slope = jax.grad(loss)(p)
            return jax.tree.map(lambda leaf, change: leaf - 0.5 * change, p, slope), None

        return jax.lax.scan(step, params, None, length=400)[0]

    return descend(network.init(start, n))
