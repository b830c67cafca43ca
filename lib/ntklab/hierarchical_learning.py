r"""Learning $F + \alpha\,G(F)$: a residual network beside every kernel.

The learner of AZL19, its concept class, the class that separates it from kernels, the floor under
the risk of every kernel with N samples, and training. Inputs are points of the cube
$\{-1, 1\}^d$; the source's are $x/\sqrt d$, of norm 1.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from ntklab import _extras, _random, _validate, cube
from ntklab.networks import Network

__all__ = [
    "Training",
    "composed_target",
    "draw_subset",
    "kernel_floor",
    "residual_network",
    "residual_parts",
    "sample_cube",
    "train",
]

Rows = Float[Array | np.ndarray, "N d"]


# --- the learner --------------------------------------------------------------------------------


def residual_network(
    width: int,
    outputs: int,
    *,
    w_scale: float = 1.0,
    u_scale: float = 1.0,
    factored: bool = False,
) -> Network:
    r"""$f(x) = A\bigl(\sigma(Wx + b_1) + \sigma(U\sigma(Wx + b_1) + b_2)\bigr)$ with $\sigma$ the
    ReLU; W, U, $b_1$ and $b_2$ are trained, A is not.

    At the start $W \sim N(0, 2s_W^2/d)$, $U \sim N(0, 2s_U^2/m)$, $A \sim N(0, 1/m)$ and the biases
    are 0: scales of 1 are He's. With `factored=True` it is $U = VA$ for a trained V with $V \sim
    N(0, 2s_U^2/k)$, which gives U entries of the same variance.

    Args:
        width: m, the number of units in each layer.
        outputs: k.
        w_scale: $s_W \ge 0$.
        u_scale: $s_U \ge 0$.
        factored: whether $U = VA$.

    Returns:
        `Network(init, apply)`. The parameters are a dictionary of `W` `[m, d]`, `b1` `[m]`, `U`
        `[m, m]` or `V` `[m, k]`, `b2` `[m]` and `A` `[k, m]`, whose gradient is 0.

    Raises:
        ValueError: for sizes below 1 or a negative scale.

    Source: AZL19, section 2.1; $U = VA$: section 3.

    Examples:
        >>> network = residual_network(16, 3)
        >>> params = network.init(jax.random.key(0), 8)
        >>> network.apply(params, jnp.ones((5, 8))).shape
        (5, 3)
    """
    model = _Residual(
        _validate.integer("width", width, at_least=1),
        _validate.integer("outputs", outputs, at_least=1),
        _validate.number("w_scale", w_scale, at_least=0),
        _validate.number("u_scale", u_scale, at_least=0),
        _validate.flag("factored", factored),
    )
    return Network(model.init, model)


@dataclass(frozen=True)
class _Residual:
    """The `apply` of `residual_network`: hashable, so that `jax.jit` knows it again."""

    width: int
    outputs: int
    w_scale: float
    u_scale: float
    factored: bool

    def init(self, key: Key[Array, ""], d: int, dtype: Any = None) -> dict[str, Array]:
        keys = jax.random.split(_validate.random_key("key", key), 3)
        d = _validate.integer("d", d, at_least=1)
        dtype = _validate.floating_dtype("dtype", dtype)
        m, k = self.width, self.outputs
        second = ("V", (m, k), 2 / k) if self.factored else ("U", (m, m), 2 / m)
        spreads = {
            "W": ((m, d), self.w_scale * math.sqrt(2 / d)),
            second[0]: (second[1], self.u_scale * math.sqrt(second[2])),
            "A": ((k, m), 1 / math.sqrt(m)),
        }
        drawn = {
            name: spread * _random.normal(own, shape, dtype)
            for own, (name, (shape, spread)) in zip(keys, spreads.items(), strict=True)
        }
        return {**drawn, "b1": jnp.zeros(m, dtype), "b2": jnp.zeros(m, dtype)}

    def __call__(self, params: Any, x: Array) -> Array:
        first, second = self.parts(params, x)
        return first + second

    def parts(self, params: Any, x: Array) -> tuple[Array, Array]:
        x = jnp.asarray(x)
        self._check(params, x)
        # A stays what it was: no optimizer sees a gradient of it.
        a = jax.lax.stop_gradient(params["A"]).T
        hidden = jax.nn.relu(x @ params["W"].T + params["b1"])
        first = hidden @ a
        inner = first @ params["V"].T if self.factored else hidden @ params["U"].T
        return first, jax.nn.relu(inner + params["b2"]) @ a

    def _check(self, params: Any, x: Array) -> None:
        m, k = self.width, self.outputs
        second = {"V": (m, k)} if self.factored else {"U": (m, m)}
        expected = {"A": (k, m), **second, "b1": (m,), "b2": (m,)}
        found = jax.tree.map(np.shape, params)
        others = {n: s for n, s in found.items() if n != "W"} if isinstance(found, dict) else found
        if others != expected or "W" not in found or found["W"][:1] != (m,):
            raise ValueError(
                f"params must be W [{m}, d] and {expected}, as init draws them; got shapes {found}"
            )
        if x.ndim != 2 or x.shape[1] != found["W"][1]:
            raise ValueError(
                f"x must have shape [N, {found['W'][1]}] for these parameters, got {x.shape}"
            )


def residual_parts(
    network: Network, params: Any, x: Rows
) -> tuple[Float[Array, "N k"], Float[Array, "N k"]]:
    r"""$A\sigma(Wx + b_1)$ and $A\sigma(U\sigma(Wx + b_1) + b_2)$, the two terms of a residual
    network: what it sends past its second layer, and what that layer adds.

    Args:
        network: made by `residual_network`.
        params: its parameters.
        x: points.

    Raises:
        ValueError: for any other network, or parameters of another one.

    Source: AZL19, section 3.

    Examples:
        >>> network = residual_network(16, 3)
        >>> params = network.init(jax.random.key(0), 8)
        >>> first, second = residual_parts(network, params, jnp.ones((5, 8)))
        >>> bool(jnp.allclose(first + second, network.apply(params, jnp.ones((5, 8)))))
        True
    """
    model = getattr(network, "apply", None)
    if not isinstance(model, _Residual):
        raise ValueError(f"network must be made by residual_network, got {network!r}")
    return model.parts(params, _validate.points("x", x))


# --- the class that separates -------------------------------------------------------------------


def sample_cube(
    key: Key[Array, ""], samples: int, dimension: int, *, dtype: Any = None
) -> Float[Array, "N d"]:
    r"""Independent points, uniform on $\{-1, 1\}^d$.

    Args:
        key: of the draw.
        samples: N.
        dimension: d.
        dtype: a floating-point type; JAX's default if omitted.

    Raises:
        ValueError: for sizes below 1.

    Examples:
        >>> sample_cube(jax.random.key(0), 2, 3).shape
        (2, 3)
    """
    key = _validate.random_key("key", key)
    shape = (
        _validate.integer("samples", samples, at_least=1),
        _validate.integer("dimension", dimension, at_least=1),
    )
    return _signs(key, shape, _validate.floating_dtype("dtype", dtype))


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def _signs(key: Array, shape: tuple[int, int], dtype: Any) -> Array:
    return jax.random.rademacher(key, (math.prod(shape),), dtype).reshape(shape)


def draw_subset(key: Key[Array, ""], dimension: int, sparsity: int) -> tuple[int, ...]:
    r"""A uniformly random set of k among d coordinates, in increasing order.

    Args:
        key: of the draw.
        dimension: d.
        sparsity: k.

    Raises:
        ValueError: for sizes below 1 or a sparsity above the dimension.

    Examples:
        >>> len(set(draw_subset(jax.random.key(0), 30, 4)))
        4
    """
    key = _validate.random_key("key", key)
    d, k = _sizes(dimension, sparsity)
    chosen = np.asarray(jax.random.permutation(key, d))[:k]
    return tuple(sorted(int(i) for i in chosen))


def _sizes(dimension: Any, sparsity: Any) -> tuple[int, int]:
    d = _validate.integer("dimension", dimension, at_least=1)
    k = _validate.integer("sparsity", sparsity, at_least=1)
    if k > d:
        raise ValueError(f"sparsity must be at most dimension = {d}, got {k}")
    return d, k


def composed_target(x: Rows, subset: Sequence[int], alpha: float) -> Float[Array, "N k"]:
    r"""$H(x) = F(x) + \alpha\,G(F(x))$ with $F(x) = (x_{s_1}, \dots, x_{s_k})$ and $G(h) = (\prod_j
    h_j)\,(1, \dots, 1)$: output i is $x_{s_i} + \alpha\prod_j x_{s_j}$.

    Args:
        x: points.
        subset: $S = (s_1, \dots, s_k)$, different coordinates.
        alpha: $\alpha$.

    Raises:
        ValueError: for coordinates that are not there or come twice.

    Source: AZL19, section 2.3, at $\sqrt d\,x$ in place of x.

    Examples:
        >>> composed_target(jnp.array([[1.0, -1.0, -1.0]]), (0, 2), 0.25).tolist()
        [[0.75, -1.25]]
    """
    x = _validate.points("x", x)
    cube.sorted_subset(subset, x.shape[1])
    alpha = _validate.number("alpha", alpha)
    simple = x[:, np.asarray(subset, int)]
    return simple + alpha * jnp.prod(simple, axis=1, keepdims=True)


# --- the floor ----------------------------------------------------------------------------------


def kernel_floor(samples: int, dimension: int, sparsity: int, alpha: float) -> float:
    r"""$\max\bigl(0,\ k\alpha^2(1 - N/\binom dk)\bigr)$: no kernels with N samples have a smaller
    risk on $x_{s_i} + \alpha\chi_S(x)$, $i \le k$, in mean over the sets S of k coordinates.

    The risk is $\E\norm{H(x) - R(x)}^2$. It is 0, and says nothing, for $N \ge \binom dk$. The same
    holds for all linear combinations of N features that were fixed before S.

    Args:
        samples: N.
        dimension: d, the number of coordinates that are uniform and independent.
        sparsity: k.
        alpha: $\alpha$ in (0, 1).

    Raises:
        ValueError: for sizes below 1, a sparsity above the dimension, or $\alpha$ outside (0, 1).

    Source: proved in the chapter; the sharper form of AZL19, Theorem 4.2.

    Examples:
        >>> round(kernel_floor(4096, 30, 4, 0.3), 3), kernel_floor(10, 5, 2, 0.3)
        (0.306, 0.0)
    """
    n = _validate.integer("samples", samples, at_least=1)
    d, k = _sizes(dimension, sparsity)
    alpha = _validate.probability("alpha", alpha)
    count = math.comb(d, k)
    # The quotient of integers: they may be larger than any float.
    return k * alpha**2 * ((count - n) / count) if n < count else 0.0


# --- training -----------------------------------------------------------------------------------


class Training(NamedTuple):
    """A run of Adam.

    Attributes:
        steps: after how many steps the parameters were kept, `[E + 1]`, from 0 on.
        path: the parameters then: each array with a first axis `[E + 1]`.
        params: those at the end.
    """

    steps: np.ndarray
    path: Any
    params: Any


def train(
    network: Network,
    params: Any,
    x: Rows,
    y: Float[Array | np.ndarray, "N k"],
    *,
    steps: int,
    seed: int = 0,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    evaluations: int = 1,
) -> Training:
    r"""Adam on $\frac1{|B|}\sum_{i \in B}\norm{f(x_i) - y_i}^2$, with batches B that run through
    the samples in a new random order each time, and a step size that falls to 0 as a half cosine.

    With as many samples as steps times batch size each sample is seen once.

    Args:
        network: any pair `init`, `apply`.
        params: where to start.
        x: inputs.
        y: labels.
        steps: how many, more than 0.
        seed: of the order of the samples.
        batch_size: $|B|$; all samples where there are fewer.
        learning_rate: of Adam at the first step, at its usual other settings.
        evaluations: how often the parameters are kept, at equal distances; it must divide `steps`.

    Raises:
        ValueError: for sizes below 1, or labels of another length than the inputs'.

    Examples:
        >>> x = sample_cube(jax.random.key(0), 64, 4)
        >>> network = residual_network(32, 2)
        >>> run = train(network, network.init(jax.random.key(1), 4), x, x[:, :2], steps=200)
        >>> bool(jnp.mean((network.apply(run.params, x) - x[:, :2]) ** 2) < 0.01)
        True
    """
    x, y = _validate.points("x", x), _validate.floating("y", y, ndim=2)
    if len(y) != len(x) or y.dtype != x.dtype:
        raise ValueError(
            f"y must have {len(x)} rows of {x.dtype} as x has, got {y.shape} of {y.dtype}"
        )
    steps = _validate.integer("steps", steps, at_least=1)
    evaluations = _validate.integer("evaluations", evaluations, at_least=1)
    if steps % evaluations:
        raise ValueError(f"evaluations must divide steps = {steps}, got {evaluations}")
    batch = min(_validate.integer("batch_size", batch_size, at_least=1), len(x))
    rate = _validate.number("learning_rate", learning_rate, above=0)
    generator = np.random.default_rng(_validate.integer("seed", seed, at_least=0))
    rounds = -(-steps * batch // len(x))
    order = np.concatenate([generator.permutation(len(x)) for _ in range(rounds)])
    every = steps // evaluations
    order = order[: steps * batch].reshape(evaluations, every, batch)
    # Optax relies on the promotion of integers to floating-point numbers.
    with jax.numpy_dtype_promotion("standard"):
        path = _trained(network.apply, params, x, y, jnp.asarray(order), rate)
    path = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), params, path)
    last = jax.tree.map(lambda leaf: leaf[-1], path)
    return Training(np.arange(0, steps + 1, every), path, last)


@functools.partial(jax.jit, static_argnums=0)
def _trained(apply: Any, params: Any, x: Array, y: Array, order: Array, rate: Any) -> Any:
    # Optax is imported where it is used: the library itself does without.
    with _extras.needed_by("train"):
        import optax  # type: ignore[import-untyped]

    moments = optax.scale_by_adam()
    steps = order.shape[0] * order.shape[1]

    def loss(params: Any, chosen: Array) -> Array:
        return jnp.mean(jnp.sum((apply(params, x[chosen]) - y[chosen]) ** 2, axis=1))

    def step(state: tuple[Any, Any, Array], chosen: Array) -> tuple[Any, None]:
        params, memory, t = state
        updates, memory = moments.update(jax.grad(loss)(params, chosen), memory)
        size = rate * (1 + jnp.cos(jnp.pi * t / steps)) / 2
        params = jax.tree.map(lambda p, u: p - (size * u).astype(p.dtype), params, updates)
        return (params, memory, t + 1), None

    def stretch(state: Any, part: Array) -> tuple[Any, Any]:
        state, _ = jax.lax.scan(step, state, part)
        return state, state[0]

    start = (params, moments.init(params), jnp.zeros((), x.dtype))
    return jax.lax.scan(stretch, start, order)[1]
