r"""Where a constant tangent kernel stops describing training: deep nets, long steps, small starts.

`kernel_second_moment` says how random the kernel of a network is whose depth is comparable to its
widths, `kernel_shares` draws it. `catapult` follows a linear network through steps that are too
long for its kernel. `shape_bound` says how early the kernel of a linear network with a small start
has its final shape. `digits` and `after_kernel` look at data with the kernel as it is.
"""

import itertools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from ntklab import _extras, _validate
from ntklab.gradient_flow import kernel_ridge
from ntklab.tangent_kernel import empirical_ntk

__all__ = [
    "CatapultPath",
    "Digits",
    "after_kernel",
    "catapult",
    "catapult_state",
    "digits",
    "kernel_second_moment",
    "kernel_shares",
    "last_layer_moment",
    "linear_network",
    "second_moment_limit",
    "shape_bound",
]

# --- depth against width ------------------------------------------------------------------------


def kernel_second_moment(widths: Any) -> float:
    r"""$\frac{\E K^2}{(\E K)^2} = \frac1{3(L + 1)^2}\prod_i\bigl(1 + \tfrac5{m_i}\bigr)
    \sum_{l, l'}\Bigl[1 + 2\prod_{i\text{ between }l, l'}\frac{m_i - 1}{m_i + 5}\Bigr]$ for the
    tangent kernel $K = \Theta(x, x)$ of a random ReLU network.

    The network has hidden widths $m_1, \dots, m_L$, no biases, one output and normal weights in NTK
    parameterization, all trained. The sum is over pairs of its L + 1 layers of weights, the product
    over the hidden layers between the two. Input, input dimension and gain do not matter.

    Args:
        widths: of the hidden layers.

    Returns:
        The ratio, at least 1; infinite where no float can hold it.

    Raises:
        ValueError: for widths that are not positive integers, or none at all.

    Source: proved in the chapter, after Hanin and Nica 2020.

    Examples:
        >>> round(kernel_second_moment([3, 5]), 4)
        3.5556
        >>> round(kernel_second_moment([100] * 20), 3)
        2.105
    """
    sizes = _validate.widths("widths", widths)
    run, between = 1.0, 0.0
    for m in sizes:
        # The products that end at this layer, one for each layer of weights before it.
        run *= (m - 1) / (m + 5)
        between += run
        run += 1
    layers = len(sizes) + 1
    share = (layers**2 + 2 * (layers + 2 * between)) / (3 * layers**2)
    log_ratio = math.fsum(math.log1p(5 / m) for m in sizes) + math.log(share)
    return math.exp(log_ratio) if log_ratio < 709 else math.inf


def second_moment_limit(ratio: float) -> float:
    r"""$\frac{e^{5\beta}}3\Bigl[1 + \frac2{3\beta}\Bigl(1 - \frac{1 - e^{-6\beta}}{6\beta}\Bigr)
    \Bigr]$, the limit of `kernel_second_moment` for equal widths with $L/m \to \beta$.

    Args:
        ratio: $\beta \ge 0$, depth over width.

    Returns:
        The limit; infinite where no float can hold it.

    Raises:
        ValueError: for a negative ratio.

    Source: proved in the chapter, after Hanin and Nica 2020.

    Examples:
        >>> second_moment_limit(0.0), round(second_moment_limit(0.2), 3)
        (1.0, 2.168)
    """
    beta = _validate.number("ratio", ratio, at_least=0)
    c = 6 * beta
    # The mean of exp(−c|u − v|) over the unit square; its difference cancels near c = 0.
    near = 1 - c / 3 + c**2 / 12 - c**3 / 60 + c**4 / 360
    mean = near if c < 1e-2 else 2 * (c + math.expm1(-c)) / c**2
    log_limit = 5 * beta + math.log((1 + 2 * mean) / 3)
    return math.exp(log_limit) if log_limit < 709 else math.inf


def last_layer_moment(widths: Any, order: int) -> float:
    r"""$\E K_{L+1}^q/(\E K_{L+1})^q = \prod_i\E X_i^q$ for the last layer's part of the kernel,
    with $X_i = \frac2{m_i}\chi^2_{k_i}$ and $k_i$ the number of active units, $\mathrm{Bin}(m_i,
    \frac12)$.

    Args:
        widths: of the hidden layers.
        order: q, at least 0.

    Returns:
        The moment; infinite where no float can hold it.

    Raises:
        ValueError: for widths that are not positive integers, or a negative order.

    Source: proved in the chapter.

    Examples:
        >>> round(last_layer_moment([5], 2), 6), round(last_layer_moment([100] * 20, 4), 1)
        (2.0, 281.0)
    """
    sizes = _validate.widths("widths", widths)
    q = _validate.integer("order", order, at_least=0)
    log_moment = math.fsum(_log_layer_moment(m, q) for m in sizes)
    return math.exp(log_moment) if log_moment < 709 else math.inf


def _log_layer_moment(m: int, q: int) -> float:
    """Log E X^q, from E k(k + 2)⋯(k + 2q − 2) by the law of k."""
    active = np.arange(1, m + 1)
    logs = np.cumsum(np.log((m + 1 - active) / active)) - m * math.log(2)
    for j in range(q):
        logs = logs + np.log(2 * (active + 2 * j) / m)
    if q == 0:
        return 0.0
    largest = float(np.max(logs))
    return largest + math.log(float(np.sum(np.exp(logs - largest))))


def kernel_shares(seed: int, widths: Any, draws: int) -> Float[Array, "draws layers"]:
    r"""$K_l/\E K_l$ for the layers $l = 1, \dots, L + 1$ of independent random ReLU networks, where
    $K_l = \norm{\nabla_{W^{(l)}} f(x)}^2$; their mean over l is $K/\E K$.

    The networks are those of `kernel_second_moment`, at an input of one coordinate: their law is
    the same at every other.

    Args:
        seed: of the weights.
        widths: of the hidden layers.
        draws: how many networks.

    Returns:
        An array of JAX's default floating-point type.

    Raises:
        ValueError: for a negative seed, widths that are not positive integers, or no draws.

    Examples:
        >>> shares = kernel_shares(0, [10, 10], 1000)
        >>> shares.shape, abs(float(jnp.mean(shares)) - 1) < 0.2
        ((1000, 3), True)
    """
    rng = np.random.default_rng(_validate.integer("seed", seed, at_least=0))
    sizes = _validate.widths("widths", widths)
    draws = _validate.integer("draws", draws, at_least=1)
    weights = sum(a * b for a, b in itertools.pairwise((1, *sizes, 1)))
    block = max(1, 20_000_000 // weights)
    parts = [_shares(rng, sizes, min(block, draws - start)) for start in range(0, draws, block)]
    return _validate.from_numpy(np.concatenate(parts), float)


def _shares(rng: np.random.Generator, sizes: tuple[int, ...], draws: int) -> np.ndarray:
    forward: np.ndarray = np.ones((draws, 1), np.float32)
    masks, weights = [], []
    norms = [np.ones(draws)]  # ‖a‖²/m of each layer
    for fan_in, fan_out in itertools.pairwise((1, *sizes)):
        w = rng.standard_normal((draws, fan_out, fan_in), np.float32)
        z = math.sqrt(2 / fan_in) * np.matmul(w, forward[:, :, None])[:, :, 0]
        forward = np.maximum(z, 0)
        masks.append(z > 0)
        weights.append(w)
        norms.append(np.mean(forward**2, axis=1))
    weights.append(rng.standard_normal((draws, 1, sizes[-1]), np.float32))
    signal: np.ndarray = np.ones((draws, 1), np.float32)
    shares = [norms[-1]]
    for m, mask, w, norm in zip(
        sizes[::-1], masks[::-1], weights[:0:-1], norms[-2::-1], strict=True
    ):
        back = np.matmul(signal[:, None, :], w)[:, 0, :]
        signal = math.sqrt(2 / m) * np.where(mask, back, 0)
        shares.append(norm * np.sum(signal**2, axis=1))
    return np.stack(shares[::-1], axis=1)


# --- long steps ---------------------------------------------------------------------------------


class CatapultPath(NamedTuple):
    r"""A path of `catapult`, step by step along the first axis.

    Attributes:
        kappa: $\kappa = \eta\lambda$, step size times tangent kernel.
        phi: $\varphi = \eta f/\sqrt m$, the output in its natural unit.
    """

    kappa: Float[Array, "steps_and_one ..."]
    phi: Float[Array, "steps_and_one ..."]


def catapult_state(u: Any, v: Any, step_size: float) -> tuple[float, float]:
    r"""$\kappa = \frac\eta m(\norm u^2 + \norm v^2)$ and $\varphi = \frac\eta m\,u \cdot v$ of the
    network $f(x) = \frac1{\sqrt m}\,(u \cdot v)\,x$ at $x = 1$.

    Args:
        u: first layer, `[m]`.
        v: second layer, `[m]`.
        step_size: $\eta > 0$.

    Raises:
        ValueError: for NaN, two lengths, or a step size that is not positive.

    Source: Lewkowycz et al. 2020.

    Examples:
        >>> catapult_state([1.0, 2.0], [1.0, 0.0], 0.5)
        (1.5, 0.25)
    """
    first = np.asarray(_validate.floating("u", u, ndim=1), float)
    second = np.asarray(_validate.floating("v", v, ndim=1), float)
    if second.shape != first.shape or first.size == 0:
        raise ValueError(f"v must have u's shape [m], m > 0, got {second.shape} for {first.shape}")
    scale = _validate.number("step_size", step_size, above=0) / len(first)
    return float(scale * (first @ first + second @ second)), float(scale * (first @ second))


def catapult(kappa: Any, phi: Any, steps: int) -> CatapultPath:
    r"""$\varphi' = \varphi\,(1 - \kappa + \varphi^2)$, $\kappa' = \kappa - (4 - \kappa)\,
    \varphi^2$: gradient descent on $\tfrac12 f^2$ for a two-layer linear network.

    Args:
        kappa: $\kappa_0 > 0$, of any shape.
        phi: $\varphi_0$ with $\abs{\varphi_0} \le \frac12\kappa_0$, as every network has it; the
            two are broadcast against each other.
        steps: how many.

    Returns:
        $\kappa$ and $\varphi$ after 0, …, `steps` steps, infinite from where they leave the range
        of a float.

    Raises:
        ValueError: for a kappa that is not positive, a phi that no network has at this kappa,
            shapes that do not fit, or a negative number of steps.

    Source: Lewkowycz et al. 2020.

    Examples:
        >>> path = catapult(3.0, 0.01, 40)
        >>> [round(float(abs(path.phi[t])), 2) for t in (0, 5, 9, 40)]
        [0.01, 0.31, 0.06, 0.0]
        >>> round(float(path.kappa[40]), 2)
        0.22
    """
    given = _validate.floating("kappa", kappa), _validate.floating("phi", phi)
    steps = _validate.integer("steps", steps, at_least=0)
    try:
        k, p = (np.array(a, float) for a in np.broadcast_arrays(*map(np.asarray, given)))
    except ValueError as error:
        shapes = [array.shape for array in given]
        raise ValueError(f"phi must have a shape that fits kappa's, got {shapes}") from error
    if not np.all(k > 0):
        raise ValueError(f"kappa must be greater than 0, got {np.min(k):g}")
    # Rounding of the type that came: a network with u = v has equality.
    rounding = 1 + 8 * float(jnp.finfo(given[1].dtype).eps)
    if not np.all(2 * np.abs(p) <= rounding * k):
        worst = np.argmax(2 * np.abs(p) - k)
        raise ValueError(
            f"phi must be at most kappa/2 in absolute value, got {p.flat[worst]:g} at "
            f"kappa = {k.flat[worst]:g}"
        )
    path = np.empty((2, steps + 1, *k.shape))
    path[:, 0] = k, p
    for t in range(steps):
        # What has left every bounded set grows like a cube; from here on only in one direction.
        gone = ~(np.maximum(k, np.abs(p)) < 1e40)
        k, p = np.where(gone, 0, k), np.where(gone, 0, p)
        k, p = k - (4 - k) * p**2, p * (1 - k + p**2)
        k, p = np.where(gone, np.inf, k), np.where(gone, np.inf, p)
        path[:, t + 1] = k, p
    dtype = jnp.promote_types(given[0].dtype, given[1].dtype)
    return CatapultPath(*(_validate.from_numpy(array, dtype) for array in path))


# --- small starts -------------------------------------------------------------------------------


def linear_network(params: Any, x: Array) -> Array:
    r"""$f(x; W, a) = a \cdot Wx$, linear in x, not in the parameters.

    Args:
        params: the pair W `[m, d]` and a `[m]`.
        x: points `[N, d]`.

    Examples:
        >>> linear_network((2 * jnp.eye(2), jnp.array([1.0, 3.0])), jnp.ones((1, 2))).tolist()
        [8.0]
    """
    weights, output_weights = params
    return x @ (weights.T @ output_weights)


def shape_bound(start_norm: float, output_norm: float) -> float:
    r"""$\frac\rho{\norm a} + \frac{3\rho^2}{\norm a^2}$, no less than the distance of
    $M/\norm a^2$ from $I + ee\T$, where $x\T Mx'$ is the tangent kernel of
    `linear_network`.

    It holds at all times of the flow of $\tfrac12\norm{Xw - y}^2$, $w = W\T a$, with $X\T X = I$
    and the direction e of $X\T y$.

    Args:
        start_norm: $\rho = \sqrt{\norm{W_0}_F^2 + \norm{a_0}^2}$.
        output_norm: $\norm a$ at the time.

    Raises:
        ValueError: for a negative start norm, or an output norm that is not positive.

    Source: proved in the chapter, after Atanasov, Bordelon and Pehlevan 2022.

    Examples:
        >>> round(shape_bound(1e-3, 0.1), 4)
        0.0103
    """
    rho = _validate.number("start_norm", start_norm, at_least=0)
    share = rho / _validate.number("output_norm", output_norm, above=0)
    return share + 3 * share**2


# --- an instrument ------------------------------------------------------------------------------


class Digits(NamedTuple):
    """Images of handwritten digits, some to train on and the others.

    Attributes:
        x: images to train on, `[n, 64]`, each of norm 8.
        y: 0.9 for the digit that is shown and −0.1 for the nine others, `[n, 10]`.
        digit: which is shown, `[n]`.
        x_new: the other images.
        y_new: their labels.
        digit_new: their digits.
    """

    x: Float[Array, "n 64"]
    y: Float[Array, "n 10"]
    digit: Int[Array, " n"]
    x_new: Float[Array, "N 64"]
    y_new: Float[Array, "N 10"]
    digit_new: Int[Array, " N"]


def digits(seed: int, train: int) -> Digits:
    """The 1797 images of scikit-learn's digits, 8 by 8 pixels, in a random order.

    Args:
        seed: of the order.
        train: how many are to train on, from 1 to 1796.

    Raises:
        ValueError: for a negative seed, or another number of images.
        ModuleNotFoundError: without the extra `book`.

    Source: scikit-learn's copy of Alpaydin and Kaynak's data (1998).

    Examples:
        >>> found = digits(0, 300)
        >>> found.x.shape, found.y_new.shape, round(float(jnp.linalg.norm(found.x[0])), 3)
        ((300, 64), (1497, 10), 8.0)
    """
    seed = _validate.integer("seed", seed, at_least=0)
    n = _validate.integer("train", train, at_least=1)
    with _extras.needed_by("ntklab.beyond_kernels.digits"):
        from sklearn.datasets import load_digits
    images, shown = load_digits(return_X_y=True)
    if n >= len(images):
        raise ValueError(f"train must be below {len(images)}, the number of images, got {n}")
    order = np.random.default_rng(seed).permutation(len(images))
    images, shown = images[order] - np.mean(images), shown[order]
    x = 8 * images / np.linalg.norm(images, axis=1, keepdims=True)
    y = np.eye(10)[shown] - 0.1
    arrays = [_validate.from_numpy(a, float) for a in (x, y)] + [
        jnp.asarray(shown.astype(np.int32))
    ]
    return Digits(*(a[:n] for a in arrays), *(a[n:] for a in arrays))


def after_kernel(
    apply: Any, params: Any, x: Any, y: Any, x_new: Any, *, ridge: float = 0.0
) -> Float[Array, "N ..."]:
    r"""$\bar\Theta(x_*, X)\,(\bar\Theta(X, X) + \varrho I)^{-1}y$: regression with the tangent
    kernel of a model as it is, in mean over its outputs.

    Args:
        apply: `apply(params, x) -> [N]` or `[N, outputs]`.
        params: where the kernel is taken, before, while or after the model is trained.
        x: inputs `[n, ...]`.
        y: labels, of the shape of the outputs.
        x_new: inputs $x_*$.
        ridge: $\varrho \ge 0$ in units of the kernel's mean diagonal.

    Raises:
        ValueError: as `empirical_ntk` and `kernel_ridge` do, and for a negative ridge.

    Examples:
        >>> def model(theta, x):
        ...     return x @ theta
        >>> after_kernel(model, jnp.zeros(2), jnp.eye(2), jnp.ones(2), jnp.ones((1, 2))).tolist()
        [2.0]
    """
    share = _validate.number("ridge", ridge, at_least=0)
    # In mean over the outputs or by their sum, the regression is the same.
    kernel, across = (
        empirical_ntk(apply, params, one, two, trace=True) for one, two in ((x, None), (x_new, x))
    )
    strength = share * float(jnp.mean(jnp.diagonal(kernel)))
    predictions = kernel_ridge(kernel, y, strength, k_test=across)
    return predictions[1]
