r"""Tangent kernels: of a given network, and their limit as the widths grow.

`empirical_ntk` takes any differentiable model; `infinite_ntk` and `nngp` follow the recursion in
depth for `networks.mlp`. The chapter's entries of the ledger are at the end.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from ntklab import _validate, models, networks
from ntklab.models import Model
from ntklab.networks import DenseModel

__all__ = [
    "arc_cosine_coefficients",
    "empirical_ntk",
    "gram_deviation",
    "infinite_ntk",
    "layer_kernels",
    "nngp",
    "ntk_vector_product",
    "relu_angle_kernels",
    "standard_ntk_limit",
]

Points = Float[Array | np.ndarray, "_ d"]
Activation = Callable[[Array], Array]

# --- the kernel of a given network --------------------------------------------------------------

METHODS = ("auto", "layerwise", "jacobian")
# Points in a block: signals of 512 points at width 1024 are 2 MB a layer; 16 gradients of a
# million parameters are 64 MB, enough to keep the matrix units busy.
LAYERWISE_BLOCK = 512
JACOBIAN_BLOCK = 16
# Columns a block of the Jacobian route meets at once, in units of its rows.
COLUMNS_PER_ROW = 8


def empirical_ntk(
    apply: Callable[[Any, Array], Array],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    include_output: bool = False,
    method: str = "auto",
    block_size: int | None = None,
) -> Array:
    r"""The tangent kernel $\Theta_{kl}(x, x') = \langle\nabla_\theta f_k(x; \theta), \nabla_\theta
    f_l(x'; \theta)\rangle$ of a model at its parameters.

    Two routes lead to the same matrix. The *layerwise* one serves models made of dense layers
    (`networks.DenseModel`): with activations $A_l$ and back-propagated signals $B_l$,
    $\Theta = \sum_l \sigma_{w,l}^2\, (A_l A_l'^{\mathsf T}) \circ (B_l B_l'^{\mathsf T}) +
    \sigma_{b,l}^2\, B_l B_l'^{\mathsf T}$, and no gradient with respect to a weight is ever formed.
    The *Jacobian* one serves everything else: the gradients of a block of rows are pushed through
    the linearized model. Either way memory is bounded by the blocks; with `x2=None` those below the
    diagonal are mirrored, not computed. In float64 and with smooth activations the routes agree to
    1e-10, in float32 to 1e-5; a ReLU whose sign flips near 0 can move single entries by more.

    Args:
        apply: `apply(params, x) -> [N, outputs]` or `[N]`; each row of the output may depend on
            the same row of x only. A function of Flax or Equinox will do.
        params: a pytree; `models` says which of its leaves are trained. All others (integers,
            keys, functions, running means) are passed through.
        x1: inputs `[N1, ...]`, of any number of axes. The whole numbers of an array, such as the
            tokens of a sentence, stay whole for any model but the library's own networks.
        x2: inputs `[N2, ...]`; by default x1.
        include_output: add $f_k(x) f_l(x')$, the kernel of M21's features (output, gradient).
        method: `auto` (layerwise where the model allows), `layerwise` or `jacobian`.
        block_size: points held at once, layerwise (default 512), or gradients held at once, on
            the Jacobian route (default 16, but always those of all outputs at one point); less
            memory the smaller it is.

    Returns:
        `[N1, N2]` for one output, `[N1, N2, outputs, outputs]` for several, in the dtype of the
        model's output. Matrix products are asked for at the highest precision.

    Raises:
        ValueError: for inputs or parameters with NaN, shapes that do not fit, outputs that are not
            `[N]` or `[N, outputs]` for N inputs and for one, no trained parameters, an `apply` that
            is not made of JAX operations, a kernel beyond the range of its dtype, an unknown
            method, a block size below 1, or `method="layerwise"` for a model that is not made of
            dense layers.

    Source: S24, equations (14.2) and (14.3); B23, section 2.1; `include_output`: M21, (5).

    Examples:
        >>> network = networks.mlp((32, 1))
        >>> params = network.init(jax.random.key(0), 3)
        >>> x = jax.random.normal(jax.random.key(1), (5, 3))
        >>> empirical_ntk(network.apply, params, x).shape
        (5, 5)
        >>> def model(params, x):
        ...     return jnp.tanh(x @ params["w"])
        >>> empirical_ntk(model, {"w": jnp.ones((3, 2))}, x, x[:2]).shape
        (5, 2, 2, 2)
    """
    model, x1, x2 = _model_arguments(apply, params, x1, x2)
    _validate.choice("method", method, METHODS)
    if not isinstance(include_output, bool):
        raise ValueError(f"include_output must be True or False, got {include_output!r}")
    layerwise = isinstance(apply, DenseModel) if method == "auto" else method == "layerwise"
    if layerwise and not isinstance(apply, DenseModel):
        raise ValueError(
            "method must be 'auto' or 'jacobian' for a model that is not made of dense layers, "
            "got 'layerwise'"
        )
    if block_size is None:
        block_size = LAYERWISE_BLOCK if layerwise else JACOBIAN_BLOCK
    block_size = _validate.integer("block_size", block_size, at_least=1)
    output = model.batch_output("x1", x1)
    kernel, finite = _blocked_ntk(model, x1, x2, include_output, layerwise, block_size)
    _validate.in_range("x1", finite, "kernel", kernel.dtype)
    return kernel if output.shape[1:] not in ((), (1,)) else kernel[:, :, 0, 0]


def ntk_vector_product(
    apply: Callable[[Any, Array], Array], params: Any, x1: Any, vector: Any, x2: Any = None
) -> Array:
    r"""$\Theta(x_1, x_2)\, v$ without the kernel: one vector–Jacobian and one Jacobian–vector
    product.

    Args:
        apply: as in `empirical_ntk`.
        params: as in `empirical_ntk`.
        x1: inputs `[N1, ...]`.
        vector: $v$, of the shape of `apply(params, x2)`: `[N2]` or `[N2, outputs]`.
        x2: inputs `[N2, ...]`; by default x1.

    Returns:
        An array of the shape of `apply(params, x1)`.

    Raises:
        ValueError: as `empirical_ntk`, and for a vector of another shape than the outputs.

    Source: S24, equation (14.3).

    Examples:
        >>> network = networks.mlp((32, 1))
        >>> params = network.init(jax.random.key(0), 3)
        >>> x = jax.random.normal(jax.random.key(1), (5, 3))
        >>> ntk_vector_product(network.apply, params, x, jnp.ones((5, 1))).shape
        (5, 1)
    """
    model, x1, x2 = _model_arguments(apply, params, x1, x2)
    right = x1 if x2 is None else x2
    expected = model.batch_output("x1" if x2 is None else "x2", right)
    vector = _validate.floating("vector", vector, min_ndim=1)
    if vector.shape != expected.shape:
        raise ValueError(
            f"vector must have the shape {expected.shape} of the outputs at x2, got {vector.shape}"
        )
    product, finite = _vector_product(model, x1, right, vector.astype(expected.dtype))
    _validate.in_range("x1", finite, "product", product.dtype)
    return product


def _model_arguments(
    apply: Any, params: Any, x1: Any, x2: Any
) -> tuple[Model, Array, Array | None]:
    model = models.view(apply, params)
    x1 = models.inputs("x1", x1, apply)
    if x2 is not None:
        x2 = models.inputs("x2", x2, apply)
        _validate.same_dimension("x1", x1, "x2", x2)
    return model, x1, x2


@jax.jit
def _vector_product(model: Model, x1: Array, x2: Array, vector: Array) -> tuple[Array, Array]:
    with jax.default_matmul_precision("highest"):
        _, pullback = jax.vjp(lambda p: model.at(p)(x2), model.trained)
        (direction,) = pullback(vector)
        product = jax.jvp(lambda p: model.at(p)(x1), (model.trained,), (direction,))[1]
    return product, jnp.all(jnp.isfinite(product))


@functools.partial(jax.jit, static_argnames=("include_output", "layerwise", "block_size"))
def _blocked_ntk(
    model: Model,
    x1: Array,
    x2: Array | None,
    include_output: bool,
    layerwise: bool,
    block_size: int,
) -> tuple[Array, Array]:
    """The kernel `[N1, N2, K, K]`, and whether it is finite; with `x2=None` blocks below the
    diagonal are mirrored.
    """
    symmetric = x2 is None
    right = x1 if x2 is None else x2
    output = model.output("x1", x1)
    outputs = output.shape[1] if output.ndim == 2 else 1
    block = _layerwise_block if layerwise else _jacobian_block
    rows = max(1, block_size if layerwise else block_size // outputs)
    n1, n2 = x1.shape[0], right.shape[0]
    columns = rows
    if not layerwise:
        # Wide blocks share the work on their rows; a symmetric kernel needs enough of them for
        # nearly half to lie below the diagonal.
        widest = max(1, n2 // (COLUMNS_PER_ROW * rows)) if symmetric else COLUMNS_PER_ROW
        columns = rows * min(COLUMNS_PER_ROW, widest)

    def compute(left: Array, right: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            kernel = block(model, left, right)
            if include_output:
                f1, f2 = (_two_axes(model(x)) for x in (left, right))
                kernel = kernel + f1[:, None, :, None] * f2[None, :, None, :]
        return kernel

    if n1 <= rows and n2 <= columns:
        kernel = compute(x1, right)
        return kernel, jnp.all(jnp.isfinite(kernel))

    rows, columns = min(rows, n1), min(columns, n2)
    row_starts, column_starts = _starts(n1, rows), _starts(n2, columns)
    pairs = [(i, j) for i in row_starts for j in column_starts if not symmetric or j + columns > i]

    def step(kernel: Array, start: Array) -> tuple[Array, None]:
        left = jax.lax.dynamic_slice_in_dim(x1, start[0], rows)
        values = compute(left, jax.lax.dynamic_slice_in_dim(right, start[1], columns))
        corner = (start[0], start[1], *jnp.zeros(2, start.dtype))
        return jax.lax.dynamic_update_slice(kernel, values, corner), None

    empty = jnp.zeros((n1, n2, outputs, outputs), output.dtype)
    kernel, _ = jax.lax.scan(step, empty, jnp.asarray(pairs, dtype=jnp.int32))
    if symmetric:
        matrices = kernel.transpose(2, 3, 0, 1)
        mirrored = jnp.triu(matrices, 1).transpose(1, 0, 3, 2)
        kernel = (jnp.triu(matrices) + mirrored).transpose(2, 3, 0, 1)
    return kernel, jnp.all(jnp.isfinite(kernel))


def _starts(size: int, block: int) -> list[int]:
    """Starts of equal blocks that cover `range(size)`; the last may overlap its neighbour."""
    return [min(start, size - block) for start in range(0, size, block)]


def _two_axes(output: Array) -> Array:
    return output[:, None] if output.ndim == 1 else output


def _layerwise_block(model: Model, left: Array, right: Array) -> Array:
    dense, params = model.apply, model.params()
    assert isinstance(dense, DenseModel)
    layers1, signals1 = _signals(dense, params, left)
    layers2, signals2 = _signals(dense, params, right)
    kernel = jnp.zeros((), left.dtype)
    for layer1, layer2, b1, b2 in zip(layers1, layers2, signals1, signals2, strict=True):
        activations = layer1.weight_gain**2 * (layer1.inputs @ layer2.inputs.T)
        gram = activations + layer1.bias_gain**2
        if b1.shape[0] == 1:
            kernel = kernel + (gram * (b1[0] @ b2[0].T))[:, :, None, None]
        else:
            kernel = kernel + gram[:, :, None, None] * jnp.einsum("kiw,ljw->ijkl", b1, b2)
    return kernel


def _signals(
    model: DenseModel, params: Any, x: Array
) -> tuple[tuple[networks.DenseLayer, ...], tuple[Array, ...]]:
    """The layers, and the derivative of each output by each pre-activation, `[K, N, width]`."""
    zeros = tuple(jnp.zeros((x.shape[0], n), x.dtype) for n in model.offset_widths(params))
    output, pullback, layers = jax.vjp(
        lambda offsets: model.layerwise(params, x, offsets), zeros, has_aux=True
    )
    ones = jnp.ones(output.shape[0], output.dtype)
    units = ones[None, :, None] * jnp.eye(output.shape[1], dtype=output.dtype)[:, None, :]
    (signals,) = jax.vmap(pullback)(units)
    return layers, signals


def _jacobian_block(model: Model, left: Array, right: Array) -> Array:
    def outputs(p: tuple[Array, ...], x: Array) -> Array:
        return _two_axes(model.at(p)(x))

    def gradients(row: Array) -> tuple[Array, ...]:
        """The gradients of all outputs at one input, each leaf `[K, ...]`."""
        return jax.jacrev(lambda p: outputs(p, row[None])[0])(model.trained)

    _, pushforward = jax.linearize(lambda p: outputs(p, right), model.trained)
    kernel = jax.vmap(jax.vmap(pushforward))(jax.vmap(gradients)(left))
    return kernel.transpose(0, 2, 1, 3)


# --- the limit of infinite width ----------------------------------------------------------------


def infinite_ntk(
    x1: Any,
    x2: Any = None,
    *,
    depth: int,
    activation: str | Activation = "relu",
    w_std: float = 1.0,
    b_std: float = 0.0,
    quadrature_order: int = 128,
) -> Float[Array, "N1 N2"]:
    r"""The limit of the tangent kernel of `networks.mlp` as all hidden widths grow.

    $$\Theta^{(1)} = \Sigma^{(1)}, \qquad
    \Theta^{(l+1)} = \Sigma^{(l+1)} + \dot\Sigma^{(l+1)} \circ \Theta^{(l)},$$

    with $\Sigma^{(1)} = \sigma_w^2\, x \cdot x'/d + \sigma_b^2$,
    $\Sigma^{(l+1)} = \sigma_w^2 \operatorname E[\sigma(u)\sigma(v)] + \sigma_b^2$,
    $\dot\Sigma^{(l+1)} = \sigma_w^2 \operatorname E[\sigma'(u)\sigma'(v)]$ and $(u, v)$ Gaussian
    with covariance $\Sigma^{(l)}$. ReLU and erf have closed forms. Any other activation is expanded
    in Hermite polynomials, whose coefficients come from Gauss–Hermite quadrature, and Mehler's
    formula sums them. Its accuracy with n nodes, measured against the closed forms at depth 1: for
    erf 1e-14 at pre-activation variance 1 and 3e-3 at variance 10 (5e-6 with n = 256); at a
    kink from slope a to slope b at most $0.63\,|b^2 - a^2|/\sqrt n$ on the diagonal and
    $1.26\,|b - a|\,(|b - a| + \min(|a|, |b|))/\sqrt n$ off it (for ReLU, with its kink at 0 and
    an even n, $0.09/\sqrt n$), whatever the variance. An order that is too low for the variances
    at hand raises an error.

    Args:
        x1: points `[N1, d]`.
        x2: points `[N2, d]`; by default x1.
        depth: number of hidden layers; 0 is the linear model.
        activation: a name of `networks.ACTIVATIONS` or a differentiable callable.
        w_std: $\sigma_w > 0$.
        b_std: $\sigma_b \ge 0$.
        quadrature_order: nodes of the quadrature and terms of the expansion.

    Returns:
        `[N1, N2]`, in the dtype of the points. Equal and opposite points are recognized as such:
        no NaN there, not in gradients either. Where the kernel has a cone (ReLU at x = x′) the
        gradient is the mean over directions.

    Raises:
        ValueError: for points that are not `[N, d]` or have NaN, an unknown activation or one that
            is not finite and elementwise, a negative depth or standard deviation, a quadrature
            order below 2, one for which doubling it changes a diagonal entry by more than 3 %, or
            a kernel beyond the range of its dtype.

    Source: S24, section 14.1.2 and B23, section 2.2, from Jacot et al. (2018); closed forms of
    Cho and Saul (2009) and Williams (1997).

    Examples:
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]]) * jnp.sqrt(2)
        >>> infinite_ntk(x, depth=1).round(3).tolist()
        [[1.0, 0.159], [0.159, 1.0]]
    """
    layers = _layers(x1, x2, depth, activation, w_std, b_std, quadrature_order)
    return _in_range(*_tangent(layers))


def nngp(
    x1: Any,
    x2: Any = None,
    *,
    depth: int,
    activation: str | Activation = "relu",
    w_std: float = 1.0,
    b_std: float = 0.0,
    quadrature_order: int = 128,
) -> Float[Array, "N1 N2"]:
    r"""The covariance $\Sigma^{(L+1)}$ of the outputs of `networks.mlp` at initialization, at
    infinite width.

    Arguments, result and errors as for `infinite_ntk`; $\Sigma$ is defined there.

    Source: Neal (1996), Lee et al. (2018), Matthews et al. (2018); B23, section 1.

    Examples:
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]]) * jnp.sqrt(2)
        >>> nngp(x, depth=1).round(3).tolist()
        [[0.5, 0.159], [0.159, 0.5]]
    """
    layers = _layers(x1, x2, depth, activation, w_std, b_std, quadrature_order)
    return _in_range(layers.covariance, layers.finite)[-1]


def layer_kernels(
    x1: Any,
    x2: Any = None,
    *,
    depth: int,
    activation: str | Activation = "relu",
    w_std: float = 1.0,
    b_std: float = 0.0,
    quadrature_order: int = 128,
) -> Float[Array, "layers N1 N2"]:
    r"""What each layer's parameters add to `infinite_ntk`: $\Sigma^{(l)} \circ \dot\Sigma^{(l+1)}
    \circ \dots \circ \dot\Sigma^{(L+1)}$.

    Arguments and errors as for `infinite_ntk`, whose value is the sum over the first axis.

    Source: the recursion of S24, section 14.1.2, and B23, section 2.2, unrolled.

    Examples:
        >>> x = jnp.array([[1.0, 1.0]])
        >>> layer_kernels(x, depth=1).ravel().tolist()
        [0.5, 0.5]
    """
    layers = _layers(x1, x2, depth, activation, w_std, b_std, quadrature_order)
    return _in_range(*_layer_shares(layers))


def standard_ntk_limit(
    x1: Any,
    x2: Any = None,
    *,
    depth: int,
    activation: str | Activation = "relu",
    w_std: float = 1.0,
    b_std: float = 0.0,
    quadrature_order: int = 128,
) -> Float[Array, "N1 N2"]:
    r"""$\lim_{m\to\infty} \Theta_{\mathrm{standard}}/m$ for hidden layers of one width m in
    standard parameterization.

    $\sum_{l \ge 2} \operatorname E[\sigma(u)\sigma(v)]_{l} \circ \dot\Sigma^{(l+1)} \circ \dots
    \circ \dot\Sigma^{(L+1)}$: the weights behind the first hidden layer grow with m, all else is
    lost in the division.

    Arguments and errors as for `infinite_ntk`, but `depth` is at least 1.

    Source: derived in the chapter; S24, section 14.2 (fan-in parameterizations).

    Examples:
        >>> x = jnp.array([[1.0, 1.0]])
        >>> standard_ntk_limit(x, depth=1).tolist()
        [[0.5]]
    """
    depth = _validate.integer("depth", depth, at_least=1)
    layers = _layers(x1, x2, depth, activation, w_std, b_std, quadrature_order)
    return _in_range(*_growing_part(layers, b_std**2, w_std**2))


def _in_range(kernel: Array, finite: Array) -> Array:
    _validate.in_range("x1", finite, "kernel at this depth and these gains", kernel.dtype)
    return kernel


@jax.jit
def _layer_shares(layers: "_Layers") -> tuple[Array, Array]:
    shares = _propagated(layers.covariance, layers.derivative)
    return shares, jnp.all(jnp.isfinite(shares))


@jax.jit
def _growing_part(layers: "_Layers", b_var: Any, w_var: Any) -> tuple[Array, Array]:
    grams = (layers.covariance - b_var) / w_var
    part = jnp.sum(_propagated(grams, layers.derivative)[1:], axis=0)
    return part, layers.finite & jnp.all(jnp.isfinite(part))


class _Layers(NamedTuple):
    """Covariances of the layers' pre-activations, and derivative kernels: each `[depth + 1, N1,
    N2]`, the first derivative kernel 1; and whether all of them are finite.
    """

    covariance: Array
    derivative: Array
    finite: Array


# Variances of the points on both sides, covariances, and which pairs are opposite.
_State = tuple[Array, Array, Array, Array]


@jax.jit
def _tangent(layers: _Layers) -> tuple[Array, Array]:
    def step(kernel: Array, layer: tuple[Array, Array]) -> tuple[Array, None]:
        covariance, derivative = layer
        return covariance + derivative * kernel, None

    start = jnp.zeros_like(layers.covariance[0])
    kernel, _ = jax.lax.scan(step, start, (layers.covariance, layers.derivative))
    return kernel, jnp.all(jnp.isfinite(kernel))


def _propagated(kernels: Array, derivatives: Array) -> Array:
    """Each layer's kernel times the derivative kernels of all layers behind it."""

    def step(behind: Array, layer: tuple[Array, Array]) -> tuple[Array, Array]:
        kernel, derivative = layer
        return behind * derivative, kernel * behind

    return jax.lax.scan(step, jnp.ones_like(kernels[0]), (kernels, derivatives), reverse=True)[1]


def _layers(
    x1: Any,
    x2: Any,
    depth: int,
    activation: str | Activation,
    w_std: float,
    b_std: float,
    quadrature_order: int,
) -> _Layers:
    """Covariances and derivative kernels of all layers, 1 … depth + 1."""
    x1 = _validate.points("x1", x1)
    x2 = x1 if x2 is None else _validate.points("x2", x2)
    _validate.same_dimension("x1", x1, "x2", x2)
    depth = _validate.integer("depth", depth, at_least=0)
    w_std, b_std = _validate.standard_deviations(w_std, b_std, x1.dtype)
    w_var, b_var = w_std**2, b_std**2
    order = _validate.integer("quadrature_order", quadrature_order, at_least=2)
    moments, finer = _moments(activation, order), _moments(activation, 2 * order)
    if moments is not finer and _validate.concrete(x1) and _validate.concrete(x2):
        _check_quadrature(jnp.concatenate([x1, x2]), depth, (moments, finer), w_var, b_var, order)
    return _recursion(x1, x2, depth, moments, w_var, b_var)


# Doubling the order may change the diagonal by this share: a kink costs 0.03 at order 7.
QUADRATURE_TOLERANCE = 0.03


def _check_quadrature(
    x: Array, depth: int, rules: tuple["_Moments", "_Moments"], w_var: float, b_var: float, n: int
) -> None:
    """Raise where two orders of quadrature disagree on the diagonal of the kernel."""
    coarse, fine = (np.asarray(_diagonal(x, depth, moments, w_var, b_var)) for moments in rules)
    with np.errstate(all="ignore"):  # where both overflow there is nothing to compare
        error = float(np.max(np.abs(coarse - fine) / np.maximum(fine, jnp.finfo(x.dtype).tiny)))
    if error > QUADRATURE_TOLERANCE:
        raise ValueError(
            f"quadrature_order must be higher for points of this size: {n} and {2 * n} nodes "
            f"disagree by {error:.0%}, expected at most {QUADRATURE_TOLERANCE:.0%}"
        )


@functools.partial(jax.jit, static_argnames=("depth", "moments", "w_var", "b_var"))
def _diagonal(x: Array, depth: int, moments: "_Moments", w_var: float, b_var: float) -> Array:
    """The diagonal of the tangent kernel, point by point."""
    q = w_var / x.shape[1] * jnp.sum(x**2, axis=1) + b_var

    def layer(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        q, kernel = state
        value, derivative = jax.vmap(
            lambda v: tuple(
                m[0, 0] for m in moments.pair(v[None], v[None], jnp.ones((1, 1), v.dtype))
            )
        )(q)
        q = w_var * value + b_var
        return (q, q + w_var * derivative * kernel), None

    return jax.lax.scan(layer, (q, q), length=depth)[0][1]


@functools.partial(jax.jit, static_argnames=("depth", "moments", "w_var", "b_var"))
def _recursion(
    x1: Array, x2: Array, depth: int, moments: "_Moments", w_var: float, b_var: float
) -> _Layers:
    scale = w_var / x1.shape[1]
    q1, q2 = (scale * jnp.sum(x**2, axis=1) + b_var for x in (x1, x2))
    q12 = scale * jnp.matmul(x1, x2.T, precision="highest") + b_var
    equal, opposite = _same_rows(x1, x2), _same_rows(x1, -x2)
    if b_var > 0:
        opposite = jnp.zeros_like(opposite)
    first = _snapped(q1, q2, q12, equal, opposite)
    # Opposite points stay recognizable in the first layer only.
    nowhere = jnp.zeros_like(opposite)

    def layer(state: _State, _: None) -> tuple[_State, tuple[Array, Array]]:
        q1, q2, covariance, opposite = state
        cosine = _cosine(q1, q2, covariance, equal, opposite)
        value, derivative = moments.pair(q1, q2, cosine)
        q1, q2 = (w_var * moments.variance(q) + b_var for q in (q1, q2))
        covariance = _snapped(q1, q2, w_var * value + b_var, equal, nowhere)
        return (q1, q2, covariance, nowhere), (covariance, w_var * derivative)

    # A loop, not `depth` copies of one program: a hundred layers compile as fast as two.
    _, (covariance, derivative) = jax.lax.scan(layer, (q1, q2, first, opposite), length=depth)
    covariance = jnp.concatenate([first[None], covariance])
    derivative = jnp.concatenate([jnp.ones_like(first)[None], derivative])
    finite = jnp.all(jnp.isfinite(covariance)) & jnp.all(jnp.isfinite(derivative))
    return _Layers(covariance, derivative, finite)


def _same_rows(x1: Array, x2: Array) -> Array:
    """`[N1, N2]`: which rows agree bit for bit, by a 64-bit fingerprint of each row.

    Cosines near 1 lose half their digits in the angle; for equal points the angle is known to be 0.
    """
    prints = [_fingerprint(x, seed) for seed in (0, 1) for x in (x1, x2)]
    first = prints[0][:, None] == prints[1][None, :]
    return first & (prints[2][:, None] == prints[3][None, :])


def _fingerprint(x: Array, seed: int) -> Array:
    # One of the two zeros (XLA takes x + 0.0 for x); integer sums do not depend on their order.
    x = jax.lax.stop_gradient(jnp.where(x == 0, 0, x))
    bits = x.view(f"uint{8 * x.dtype.itemsize}")
    if x.dtype.itemsize > 4:
        bits = jax.lax.bitcast_convert_type(bits, jnp.uint32).reshape(x.shape[0], -1)
    bits = bits.astype(jnp.uint32)
    odd = np.random.default_rng(seed).integers(0, 2**31, bits.shape[1], dtype=np.uint32) * 2 + 1
    mixed = (bits ^ (bits >> 15)) * jnp.asarray(odd)
    return jnp.sum(
        (mixed ^ (mixed >> 13)) * jnp.asarray(odd[::-1].copy()), axis=1, dtype=jnp.uint32
    )


def _sqrt(q: Array) -> Array:
    """√q, with gradient 0 where it vanishes."""
    positive = q > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, q, 1)), 0)


def _root(q1: Array, q2: Array) -> Array:
    """√q1 √q2′: the product under one root would overflow in float32 at inputs of size 1e10."""
    return _sqrt(q1)[:, None] * _sqrt(q2)[None, :]


def _snapped(q1: Array, q2: Array, q12: Array, equal: Array, opposite: Array) -> Array:
    root = _root(q1, q2)
    return jnp.where(equal, root, jnp.where(opposite, -root, q12))


def _cosine(q1: Array, q2: Array, q12: Array, equal: Array, opposite: Array) -> Array:
    root = _root(q1, q2)
    cosine = jnp.where(root > 0, q12 / jnp.where(root > 0, root, 1), 0)
    return jnp.where(equal, 1, jnp.where(opposite, -1, jnp.clip(cosine, -1, 1)))


class _Moments(NamedTuple):
    """E[σ(u)²] from a variance; E[σ(u)σ(v)] and E[σ′(u)σ′(v)] from two variances and a cosine."""

    variance: Callable[[Array], Array]
    pair: Callable[[Array, Array, Array], tuple[Array, Array]]


def _moments(activation: str | Activation, order: int) -> _Moments:
    """Closed forms for ReLU and erf, quadrature for the rest."""
    function = networks.activation_function(activation)
    if function is networks.ACTIVATIONS["relu"]:
        return _RELU
    if function is networks.ACTIVATIONS["erf"]:
        return _ERF
    return _hermite_moments(function, order)


# --- ReLU


@jax.custom_jvp
def _angle_share(cosine: Array) -> Array:
    """(π − ω)/π, with ω the angle: 1 for equal directions, 0 for opposite ones."""
    return jnp.arccos(-cosine) / np.pi  # exactly 0 at cosine -1, and 1 at cosine 1


@_angle_share.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (cosine,), (change,) = primals, tangents
    # The derivative 1/(π sin ω) is infinite at ω = 0 and π, where the kernel has a cone: the mean
    # over directions is 0 there.
    inside = jnp.abs(cosine) < 1
    sine = jnp.sqrt(jnp.where(inside, 1 - cosine**2, 1))
    return _angle_share(cosine), jnp.where(inside, change / (np.pi * sine), 0)


@jax.custom_jvp
def _arc_cosine(cosine: Array) -> Array:
    """(sin ω + (π − ω) cos ω)/π, the arc-cosine kernel of order 1; its derivative is order 0."""
    sine = jnp.sqrt(jnp.maximum(1 - cosine**2, 0))
    return sine / np.pi + _angle_share(cosine) * cosine


@_arc_cosine.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (cosine,), (change,) = primals, tangents
    return _arc_cosine(cosine), _angle_share(cosine) * change


def relu_angle_kernels(cosine: Any) -> tuple[Array, Array]:
    r"""$\operatorname E[\sigma(u)\sigma(v)]$ and $\operatorname E[\sigma'(u)\sigma'(v)]$ for ReLU
    and standard normals u, v of correlation cos ω.

    $\frac{\sin\omega + (\pi - \omega)\cos\omega}{2\pi}$ and $\frac{\pi - \omega}{2\pi}$: half the
    arc-cosine kernels of order 1 and 0.

    Args:
        cosine: correlations in [−1, 1], any shape.

    Returns:
        Two arrays of that shape. The derivative of the second is taken as 0 at ±1.

    Raises:
        ValueError: for values outside [−1, 1] or NaN.

    Source: S24, section 14.1.2; Cho and Saul (2009).

    Examples:
        >>> [round(float(value), 4) for value in relu_angle_kernels(0.0)]
        [0.1592, 0.25]
    """
    cosine = _validate.floating("cosine", cosine, min_ndim=0)
    if _validate.concrete(cosine) and np.any(np.abs(np.asarray(cosine)) > 1):
        raise ValueError(
            f"cosine must lie in [-1, 1], got values up to {np.max(np.abs(np.asarray(cosine))):g}"
        )
    return _arc_cosine(cosine) / 2, _angle_share(cosine) / 2


def _relu_pair(q1: Array, q2: Array, cosine: Array) -> tuple[Array, Array]:
    return _root(q1, q2) * _arc_cosine(cosine) / 2, _angle_share(cosine) / 2


_RELU = _Moments(lambda q: q / 2, _relu_pair)


# --- erf


def _erf_pair(q1: Array, q2: Array, cosine: Array) -> tuple[Array, Array]:
    # With s = 1 + 2q and r = 2 q₁₂ / √(s s′) these are 2/π arcsin r and 4/π / √(s s′ (1 − r²)),
    # where 1 − r² is written so that nothing cancels at cosine 1 and nothing overflows.
    s1, s2 = 1 + 2 * q1[:, None], 1 + 2 * q2[None, :]
    share1, share2 = 2 * q1[:, None] / s1, 2 * q2[None, :] / s2
    rest = 1 / s1 + share1 / s2 + share1 * share2 * (1 - cosine) * (1 + cosine)
    scale = jnp.sqrt(s1) * jnp.sqrt(s2)
    sine = 2 * _root(q1, q2) * cosine / scale
    return 2 / np.pi * jnp.arctan2(sine, jnp.sqrt(rest)), 4 / np.pi / (scale * jnp.sqrt(rest))


def _erf_variance(q: Array) -> Array:
    return 2 / np.pi * jnp.arctan2(2 * q, jnp.sqrt(1 + 4 * q))


_ERF = _Moments(_erf_variance, _erf_pair)


# --- any other activation


@functools.lru_cache(maxsize=64)
def _hermite_moments(function: Activation, order: int) -> _Moments:
    """Cached, so that the compiled recursion is found again."""
    _check_elementwise(function)
    projection, nodes = _hermite_projection(order)

    def coefficients(sigma: Activation, q: Array) -> Array:
        """a_k(q) = E[σ(√q z) he_k(z)], `[N, order]`."""
        values = sigma(_sqrt(q)[:, None] * jnp.asarray(nodes, q.dtype))
        return jnp.matmul(values, jnp.asarray(projection, q.dtype), precision="highest")

    def derivative(z: Array) -> Array:
        return jax.jvp(function, (z,), (jnp.ones_like(z),))[1]

    def pair(q1: Array, q2: Array, cosine: Array) -> tuple[Array, Array]:
        return (
            _mehler(coefficients(function, q1), coefficients(function, q2), cosine),
            _mehler(coefficients(derivative, q1), coefficients(derivative, q2), cosine),
        )

    return _Moments(lambda q: jnp.sum(coefficients(function, q) ** 2, axis=1), pair)


def _check_elementwise(function: Activation) -> None:
    """Raise for a callable that is no finite function of one number."""
    places = np.linspace(-8, 8, 17)
    try:
        with jax.ensure_compile_time_eval():
            values = np.asarray(function(_validate.from_numpy(places, float)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"activation must act on each number of an array: {error}") from error
    if values.shape != places.shape:
        raise ValueError(
            f"activation must act on each number of an array, got shape {values.shape} from "
            f"{places.shape}"
        )
    if not np.all(np.isfinite(values)):
        place = places[np.argmin(np.isfinite(values))]
        raise ValueError(f"activation must be finite, got NaN or infinity at {place:g}")


def _mehler(a1: Array, a2: Array, cosine: Array) -> Array:
    """Σ_k a_k a_k′ cosᵏ, by Horner's rule."""

    def step(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        left, right = pair
        return total * cosine + left[:, None] * right[None, :], None

    return jax.lax.scan(step, jnp.zeros_like(cosine), (a1.T, a2.T), reverse=True)[0]


@functools.lru_cache(maxsize=8)
def _hermite_projection(order: int) -> tuple[np.ndarray, np.ndarray]:
    """`[order, order]` weights w_i he_k(z_i) and the nodes z_i of Gauss–Hermite quadrature.

    he_k are the Hermite polynomials orthonormal under the standard normal law. With as many terms
    as nodes, Σ_k a_k² is the quadrature of σ²: the kernel's diagonal has the rule's full accuracy.
    """
    # SciPy is imported where it is used: it would add a half to the time that importing JAX takes.
    from scipy.special import roots_hermitenorm

    nodes, weights = roots_hermitenorm(order)
    # √w_i he_k(z_i) is bounded, he_k(z_i) alone overflows at high order: recur on the former.
    table = np.zeros((order, order))
    table[0] = np.sqrt(weights / np.sqrt(2 * np.pi))
    if order > 1:
        table[1] = nodes * table[0]
    for k in range(1, order - 1):
        table[k + 1] = (nodes * table[k] - np.sqrt(k) * table[k - 1]) / np.sqrt(k + 1)
    return (table * table[0]).T, nodes


# --- concentration and universality -------------------------------------------------------------


def gram_deviation(
    key: Key[Array, ""],
    x: Any,
    *,
    widths: Sequence[int],
    draws: int,
    depth: int = 1,
    activation: str = "relu",
    w_std: float = 1.0,
    b_std: float = 0.0,
) -> Float[np.ndarray, "widths draws"]:
    r"""$\|H_0 - H_\infty\|_{\mathrm{op}}$ for `draws` independent networks at each width.

    Args:
        key: every width and draw gets its own from it.
        x: points `[N, d]` of the Gram matrices.
        widths: widths m; all `depth` hidden layers have it.
        draws: networks a width.
        depth: hidden layers, at least 1.
        activation: a name of `networks.ACTIVATIONS`.
        w_std: as in `networks.mlp`.
        b_std: as in `networks.mlp`.

    Returns:
        `[len(widths), draws]`, a NumPy array.

    Raises:
        ValueError: for widths, draws or a depth below 1, and as `infinite_ntk`.

    Source: B23, equation (3).

    Examples:
        >>> x = jnp.eye(3)
        >>> gram_deviation(jax.random.key(0), x, widths=(16, 64), draws=3).shape
        (2, 3)
    """
    key = _validate.random_key("key", key)
    x = _validate.points("x", x)
    widths = _validate.widths("widths", widths)
    draws = _validate.integer("draws", draws, at_least=1)
    depth = _validate.integer("depth", depth, at_least=1)
    limit = infinite_ntk(x, depth=depth, activation=activation, w_std=w_std, b_std=b_std)
    rows = []
    for width, width_key in zip(widths, jax.random.split(key, len(widths)), strict=True):
        network = networks.mlp(
            (*[width] * depth, 1), activation=activation, w_std=w_std, b_std=b_std
        )

        def difference(draw_key: Key[Array, ""], network: networks.Network = network) -> Array:
            params = network.init(draw_key, x.shape[1], dtype=x.dtype)
            return empirical_ntk(network.apply, params, x) - limit

        rows.append(
            jax.jit(lambda keys, f=difference: jax.lax.map(f, keys))(
                jax.random.split(width_key, draws)
            )
        )
    # NumPy's norm: JAX would compile an eigenvalue routine anew for each width.
    return np.stack([np.linalg.norm(np.asarray(row), ord=2, axis=(1, 2)) for row in rows])


def arc_cosine_coefficients(max_degree: int, *, bias: bool) -> Float[np.ndarray, " degrees"]:
    r"""Taylor coefficients in $t = x \cdot x'$ of the ReLU kernel $s\,(\pi - \arccos s)/2\pi$ on
    unit vectors.

    Without bias $s = t$: degrees 3, 5, … are missing. With bias the points are lifted to
    $(x, 1)/\sqrt2$, so $s = (1 + t)/2$, and every coefficient is positive: the kernel is universal.

    Args:
        max_degree: highest degree.
        bias: whether the points are lifted.

    Returns:
        Coefficients of degrees 0 to `max_degree`, accurate to about 1e-15.

    Raises:
        ValueError: for a negative degree, or a bias that is not True or False.

    Source: S24, section 14.1.2 (Telgarsky 2021, Theorem 4.1).

    Examples:
        >>> arc_cosine_coefficients(4, bias=False).round(4).tolist()
        [0.0, 0.25, 0.1592, 0.0, 0.0265]
    """
    bias = _validate.flag("bias", bias)
    max_degree = _validate.integer("max_degree", max_degree, at_least=0)
    if not isinstance(bias, bool):
        raise ValueError(f"bias must be True or False, got {bias!r}")
    # arcsin s = Σ c_k s^{2k+1}, so the kernel is s/4 + Σ c_k s^{2k+2}/2π. Powers (1 + t)ʲ/2ʲ add to
    # degree i a binomial weight that peaks at j = 2i: 16 i + 200 terms leave less than 1e-16.
    from scipy.special import gammaln

    terms = max_degree // 2 + 1 if not bias else 8 * max_degree + 100
    k = np.arange(terms)
    log_c = gammaln(2 * k + 1) - 2 * gammaln(k + 1) - k * np.log(4)
    coefficients = np.zeros(2 * terms + 2)
    coefficients[1] = 1 / 4
    coefficients[2 * k + 2] = np.exp(log_c) / (2 * k + 1) / (2 * np.pi)
    if not bias:
        return coefficients[: max_degree + 1] if max_degree < len(coefficients) else coefficients
    powers = np.arange(len(coefficients))
    degrees = np.arange(max_degree + 1)[:, None]
    return _fair_binomial(degrees, powers[None, :]) @ coefficients


def _fair_binomial(k: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The probability of k heads in n tosses of a fair coin; 0 for k > n."""
    from scipy.special import gammaln

    log_choices = gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)
    return np.where(k <= n, np.exp(log_choices - n * np.log(2)), 0)
