r"""A network near its initialization is a linear model: how good is that approximation?

The chapter's network is the two-layer one of `networks.shallow`,
$h(x; W) = m^{-1/2} \sum_j a_j \sigma(w_j \cdot x)$, expanded around $\tilde W$. The module holds
the expansion of any model, the error bounds for smooth activations and for ReLU, the exact worst
error of a ReLU network over a ball of weights, and the chapter's entries of the ledger.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _validate, jacobians, models, networks, programs
from ntklab.models import Model

__all__ = [
    "SMOOTHNESS",
    "linearize",
    "relu_error_bound",
    "relu_error_rate",
    "smooth_error_bound",
    "smoothness",
    "worst_relu_error",
    "worst_relu_weights",
]

Points = Float[Array | np.ndarray, "n d"]


# --- the expansion ------------------------------------------------------------------------------


def linearize(apply: Callable[[Any, Array], Array], params: Any) -> Callable[[Any, Array], Array]:
    r"""First-order Taylor expansion in the parameters, $f(x; \theta_0) + \langle\nabla f(x;
    \theta_0), \theta - \theta_0\rangle$.

    Args:
        apply: any differentiable model, `apply(params, x) -> outputs`; for inputs of several axes
            `[N, ...]` the outputs are `[N, ...]` too.
        params: the point of expansion $\theta_0$, a pytree; `models` says what of it is trained.

    Returns:
        A model with the signature of `apply`, affine in what is trained; all other leaves are
        those of `params`. One evaluation costs one Jacobian–vector product; no Jacobian is formed.

    Raises:
        ValueError: if `apply` is not callable or nothing is trained; on a call, for parameters of
            another structure, other shapes or dtypes than `params`, inputs with NaN, outputs that
            are no real array, or beyond the range of their dtype, and for an `apply` whose rows
            see each other (looked for once, and not under `jax.jit`).

    Source: S24, equation (14.1) and section 14.1.3.

    Examples:
        >>> network = networks.shallow(8)
        >>> W0 = network.init(jax.random.key(0), 2)
        >>> tangent = linearize(network.apply, W0)
        >>> x = jnp.ones((3, 2))
        >>> bool(jnp.allclose(tangent(W0, x), network.apply(W0, x)))
        True
    """
    model = models.view(apply, params)
    # Of inputs, by shape and dtype and whether their values are known, whose outputs have been
    # looked at: whether a part of the model has a derivative backwards only.
    known: dict[Any, bool] = {}

    def tangent(theta: Any, x: Any) -> Array:
        moved = model.matching(theta)
        if not isinstance(x, Array) or _kind(x) not in known:
            x = models.inputs("x", x, apply, min_ndim=0)
            output = model.output("x", x)
            if x.ndim > 1 and output.shape[:1] != x.shape[:1]:
                raise ValueError(
                    f"apply must return [N, ...] for inputs [N, ...], here {x.shape}, got "
                    f"{output.shape}"
                )
            if x.ndim > 1:
                jacobians.look_at_rows("x", model, x)
            known[_kind(x)] = programs.backwards_only(Model.__call__, model, x)
        change = tuple(map(jnp.subtract, moved, model.trained))
        value, slope = jacobians.forward(
            lambda p: model.at(p)(x),
            model.trained,
            change,
            backwards_only=known[_kind(x)],
        )
        result = value + slope
        if _validate.concrete(result) and not np.all(np.isfinite(result)):
            for leaf in moved:
                _validate.floating("params", leaf, min_ndim=0)
            models.inputs("x", x, apply, min_ndim=0)
            _validate.in_range("x", False, "expansion", result.dtype)
        return result

    return tangent


def _kind(x: Array) -> tuple[Any, ...]:
    return x.shape, x.dtype, _validate.concrete(x)


# --- smooth activations -------------------------------------------------------------------------

#: β = sup |σ″| of each smooth activation, attained at 0 (softplus, gelu), at t = 1/√2 (erf), at
#: tanh² t = 1/3 (tanh).
SMOOTHNESS: dict[str, float] = {
    "identity": 0.0,
    "softplus": 1 / 4,
    "tanh": 4 / (3 * np.sqrt(3)),
    "gelu": np.sqrt(2 / np.pi),
    "erf": np.sqrt(8 / (np.pi * np.e)),
}


def smoothness(activation: str) -> float:
    r"""$\beta = \sup_t |\sigma''(t)|$, the smallest constant for which the activation is
    $\beta$-smooth.

    Args:
        activation: `identity`, `softplus`, `tanh`, `gelu` or `erf`.

    Raises:
        ValueError: for ReLU, whose derivative jumps, and for names that are not in `SMOOTHNESS`.

    Source: S24, Proposition 14.1, where it is a hypothesis; the values are derived in the chapter.

    Examples:
        >>> smoothness("softplus")
        0.25
    """
    if activation == "relu":
        raise ValueError("activation must be smooth; got 'relu', whose derivative jumps at 0")
    _validate.choice("activation", activation, tuple(SMOOTHNESS))
    return float(SMOOTHNESS[activation])


def smooth_error_bound(
    *,
    beta: float,
    width: int,
    radius: float,
    input_norm: float = 1.0,
    max_output_weight: float = 1.0,
) -> float:
    r"""$\frac{\beta}{2\sqrt m} \max_j|a_j|\, \|x\|^2 B^2$ bounds $|h(x; W) - h_{\tilde W}(x; W)|$
    for $\|W - \tilde W\|_F \le B$.

    It holds for every $\tilde W$, and with equality for $\sigma(t) = \beta t^2/2$, equal $a_j$
    and all changes parallel to x.

    Args:
        beta: smoothness of the activation, see `smoothness`.
        width: m.
        radius: B.
        input_norm: $\|x\|$.
        max_output_weight: $\max_j |a_j|$.

    Raises:
        ValueError: for a negative number or a width below 1.

    Source: S24, Proposition 14.1.

    Examples:
        >>> smooth_error_bound(beta=0.25, width=100, radius=2.0)
        0.05
    """
    beta = _validate.number("beta", beta, at_least=0)
    width = _validate.integer("width", width, at_least=1)
    radius = _validate.number("radius", radius, at_least=0)
    input_norm = _validate.number("input_norm", input_norm, at_least=0)
    largest = _validate.number("max_output_weight", max_output_weight, at_least=0)
    return beta * largest * input_norm**2 * radius**2 / (2 * float(np.sqrt(width)))


# --- ReLU ---------------------------------------------------------------------------------------


def relu_error_bound(*, width: int, radius: float, failure_probability: float) -> float:
    r"""$\bigl(2B^{4/3} + B\log(1/\delta)^{1/4}\bigr) m^{-1/6}$, for a ReLU network with Gaussian
    $\tilde W$ and $\|x\| \le 1$.

    With probability at least $1 - \delta$ over $\tilde W$ it bounds the error of the linearization
    at x for all W within B of $\tilde W$ at once.

    Args:
        width: m.
        radius: B, in Frobenius norm.
        failure_probability: $\delta$ in (0, 1).

    Raises:
        ValueError: for a width below 1, a negative radius, or $\delta$ outside (0, 1).

    Source: S24, Proposition 14.2 (Telgarsky 2021, Lemma 4.1).

    Examples:
        >>> round(relu_error_bound(width=4096, radius=1.0, failure_probability=0.01), 3)
        0.866
    """
    width = _validate.integer("width", width, at_least=1)
    radius = _validate.number("radius", radius, at_least=0)
    delta = _validate.probability("failure_probability", failure_probability)
    spread = float(np.log(1 / delta)) ** 0.25
    return float((2 * radius ** (4 / 3) + radius * spread) * width ** (-1 / 6))


def relu_error_rate(*, width: int, radius: float, input_norm: float = 1.0) -> float:
    r"""$\tfrac34\bigl(\tfrac14\sqrt{2/\pi}\bigr)^{1/3} \|x\|\, B^{4/3} m^{-1/6}$: what the worst
    ReLU error tends to.

    The leading term, as m grows with B fixed, of `worst_relu_error` for Gaussian $\tilde W$ and as
    many units of either sign: the exponent of Proposition 14.2 is sharp and its constant 2
    is 4.6 times too large.

    Args:
        width: m.
        radius: B.
        input_norm: $\|x\|$.

    Raises:
        ValueError: for a width below 1, a negative radius or norm.

    Source: derived in the chapter.

    Examples:
        >>> round(relu_error_rate(width=4096, radius=1.0), 4)
        0.1096
    """
    width = _validate.integer("width", width, at_least=1)
    radius = _validate.number("radius", radius, at_least=0)
    input_norm = _validate.number("input_norm", input_norm, at_least=0)
    constant = 0.75 * (0.25 * np.sqrt(2 / np.pi)) ** (1 / 3)
    return float(constant * input_norm * radius ** (4 / 3) * width ** (-1 / 6))


def worst_relu_error(
    weights: Float[Array | np.ndarray, "m d"],
    x: Points,
    radius: float,
    *,
    output_weights: Float[Array | np.ndarray, " m"] | None = None,
) -> Float[Array, " n"]:
    r"""$\max_{\|W - \tilde W\|_F \le B} |h(x; W) - h_{\tilde W}(x; W)|$ for ReLU, exactly.

    With $p_j = |\tilde w_j \cdot x|$, sorted in increasing order within one sign of $a_j = \pm 1$,

    $$\max_k \frac{\bigl(\sqrt k\, B\, \|x\| - \sum_{j \le k} p_{(j)}\bigr)_+}{\sqrt m},$$

    the larger of the two signs: only units that change sign err, each by $|w_j \cdot x|$, and k of
    them share the budget best in equal parts. Gradient ascent would not find this maximum: a
    unit that has not flipped contributes no slope.

    Args:
        weights: $\tilde W$.
        x: points; the maximum is taken at each of them.
        radius: B.
        output_weights: $a_j$, all +1 or −1; by default +1, −1, … as in `networks.shallow`.

    Returns:
        The worst error at each point.

    Raises:
        ValueError: for shapes that do not fit, NaN, a negative radius, or output weights that are
            not ±1.

    Source: derived in the chapter; it makes S24's Proposition 14.2 a statement about numbers.

    Examples:
        >>> weights = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
        >>> worst_relu_error(weights, jnp.array([[1.0, 0.0]]), 3.0).round(3).tolist()
        [1.414]
    """
    weights, x, signs = _relu_arguments(weights, x, output_weights)
    radius = _validate.number("radius", radius, at_least=0)
    return _worst_error(weights, x, jnp.asarray(signs > 0), radius)


def worst_relu_weights(
    weights: Float[Array | np.ndarray, "m d"],
    x: Float[Array | np.ndarray, " d"],
    radius: float,
    *,
    output_weights: Float[Array | np.ndarray, " m"] | None = None,
) -> Float[Array, "m d"]:
    r"""A maximizer W of `worst_relu_error` at one point x.

    The k flipped units move by $B/\sqrt k$ each, straight through their hyperplane, along
    $-\operatorname{sign}(\tilde w_j \cdot x)\, x$. Where no flip pays, $\tilde W$ comes back.

    Args:
        weights: $\tilde W$.
        x: one point.
        radius: B.
        output_weights: as in `worst_relu_error`.

    Raises:
        ValueError: as `worst_relu_error`.

    Source: derived in the chapter.

    Examples:
        >>> weights = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
        >>> worst_relu_weights(weights, jnp.array([1.0, 0.0]), 3.0).tolist()
        [[-2.0, 0.0], [-1.0, 0.0]]
    """
    point = _validate.floating("x", x, ndim=1)
    weights, rows, signs = _relu_arguments(weights, point[None], output_weights)
    radius = _validate.number("radius", radius, at_least=0)
    return _worst_weights(weights, rows[0], jnp.asarray(signs > 0), radius)


@jax.jit
def _worst_error(weights: Array, x: Array, positive: Array, radius: Any) -> Array:
    def at_point(point: Array) -> Array:
        gains, _ = _gains_of_signs(weights, point, positive, radius)
        return jnp.max(gains) / float(np.sqrt(len(weights)))

    return jax.lax.map(at_point, x)


@jax.jit
def _worst_weights(weights: Array, point: Array, positive: Array, radius: Any) -> Array:
    gains, orders = _gains_of_signs(weights, point, positive, radius)
    better = jnp.argmax(jnp.max(gains, axis=1))
    flips = jnp.argmax(gains[better])
    places = jnp.arange(len(weights))
    chosen = jnp.zeros(len(weights), bool).at[orders[better]].set(places < flips)
    norm = jnp.sqrt(jnp.sum(point**2))
    step = radius / jnp.sqrt(jnp.maximum(flips, 1).astype(weights.dtype))
    direction = point / jnp.where(norm > 0, norm, 1)
    side = jnp.where(weights @ point > 0, -1.0, 1.0).astype(weights.dtype)
    return weights + jnp.where(chosen, side * step, 0)[:, None] * direction


def _relu_arguments(weights: Any, x: Any, output_weights: Any) -> tuple[Array, Array, np.ndarray]:
    weights = _validate.points("weights", weights)
    x = _validate.points("x", x)
    _validate.same_dimension("weights", weights, "x", x)
    width = weights.shape[0]
    if output_weights is None:
        signs = networks.alternating_signs(width)
    else:
        signs = np.asarray(_validate.floating("output_weights", output_weights, min_ndim=1))
        if signs.shape != (width,):
            raise ValueError(f"output_weights must have shape ({width},), got {signs.shape}")
        if not np.all(np.abs(signs) == 1):
            raise ValueError(
                f"output_weights must all be +1 or -1, got values such as "
                f"{signs[np.abs(signs) != 1][0]:g}"
            )
    return weights, x, signs


def _gains_of_signs(
    weights: Array, point: Array, positive: Array, radius: Any
) -> tuple[Array, Array]:
    """√k B‖x‖ − Σ of the k smallest |w·x| for k = 0 … m, and their order; a row for each sign."""
    reach = radius * jnp.sqrt(jnp.sum(point**2))
    to_kink = jnp.abs(jnp.matmul(weights, point, precision="highest"))

    def one_sign(members: Array) -> tuple[Array, Array]:
        own = jnp.where(members, to_kink, jnp.inf)
        order = jnp.argsort(own)
        counts = jnp.sqrt(jnp.arange(len(own) + 1, dtype=own.dtype))
        costs = jnp.concatenate([jnp.zeros(1, own.dtype), jnp.cumsum(own[order])])
        return counts * reach - costs, order

    return jax.vmap(one_sign)(jnp.stack([positive, ~positive]))
