r"""Tangent kernels: of a given network, and their limit as the widths grow.

`empirical_ntk` takes any differentiable model; `infinite_ntk` and `nngp` follow the recursion in
depth for `networks.mlp`. The chapter's entries of the ledger are at the end.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from ntklab import _recursion, _validate, models, networks
from ntklab.models import Model
from ntklab.networks import DenseModel, Network

__all__ = [
    "arc_cosine_coefficients",
    "empirical_ntk",
    "gram_deviation",
    "infinite_ntk",
    "layer_kernels",
    "limit_nngp",
    "limit_ntk",
    "nngp",
    "ntk_vector_product",
    "relu_angle_kernels",
    "standard_ntk_limit",
]

Points = Float[Array | np.ndarray, "_ d"]
Activation = Callable[[Array], Array]
# A number, or what JAX traces: derivatives by it are taken.
Gain = float | Array

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
    w_std: Gain = 1.0,
    b_std: Gain = 0.0,
    quadrature_order: int = 128,
) -> Float[Array, "N1 N2"]:
    r"""The limit of the tangent kernel of `networks.mlp` as all hidden widths grow.

    $$\Theta^{(1)} = \Sigma^{(1)}, \qquad
    \Theta^{(l+1)} = \Sigma^{(l+1)} + \dot\Sigma^{(l+1)} \circ \Theta^{(l)},$$

    with $\Sigma^{(1)} = \sigma_w^2\, x \cdot x'/d + \sigma_b^2$,
    $\Sigma^{(l+1)} = \sigma_w^2 \operatorname E[\sigma(u)\sigma(v)] + \sigma_b^2$,
    $\dot\Sigma^{(l+1)} = \sigma_w^2 \operatorname E[\sigma'(u)\sigma'(v)]$ and $(u, v)$ Gaussian
    with covariance $\Sigma^{(l)}$. ReLU and erf have closed forms; any other activation is expanded
    in Hermite polynomials, whose coefficients come from quadrature, and Mehler's formula sums them.

    *ReLU* is accurate to 5e-7 of $\sqrt{\Theta(x, x)\,\Theta(x', x')}$ in float32, at every angle:
    what is carried through the layers is $1 - \cos$. *Other activations*: on the diagonal as
    accurate as the quadrature, 1e-10 for smooth ones at standard deviations from 1e-3 to 1e6, and
    off it up to what the first n terms leave, whose share of a kernel is at most
    $\varepsilon\,|\cos|^n$, with $\varepsilon$ what they leave of $\operatorname E\sigma^2$ or
    $\operatorname E\sigma'^2$: at a kink from slope 0 to slope 1 about $0.25/\sqrt n$. More than
    5 % raises an error.

    Args:
        x1: points `[N1, d]`.
        x2: points `[N2, d]`; by default x1.
        depth: number of hidden layers; 0 is the linear model.
        activation: a name of `networks.ACTIVATIONS` or a differentiable callable.
        w_std: $\sigma_w > 0$; a number, or a traced one: a program serves all gains, and there
            are derivatives by them.
        b_std: $\sigma_b \ge 0$, likewise.
        quadrature_order: n, the terms of the expansion.

    Returns:
        `[N1, N2]`, in the dtype of the points; half precision is computed in float32. First and
        second derivatives are finite at equal and opposite points, too. Where the kernel has a
        cone (ReLU at x = x′) the gradient is the mean over directions.

    Raises:
        ValueError: for points that are not `[N, d]` or have NaN, an unknown activation or one that
            is not finite and elementwise, a negative depth or standard deviation, a quadrature
            order below 2 or one that leaves more than 5 % of a kernel open, or a kernel beyond the
            range of its dtype. Under `jax.jit` those two are NaN or infinite.

    Source: S24, section 14.1.2 and B23, section 2.2, from Jacot et al. (2018); closed forms of
    Cho and Saul (2009) and Williams (1997).

    Examples:
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]]) * jnp.sqrt(2)
        >>> infinite_ntk(x, depth=1).round(3).tolist()
        [[1.0, 0.159], [0.159, 1.0]]
    """
    return _recursion.kernel(
        _recursion.tangent,
        x1,
        x2,
        depth=depth,
        activation=activation,
        w_std=w_std,
        b_std=b_std,
        quadrature_order=quadrature_order,
    )[0]


def nngp(
    x1: Any,
    x2: Any = None,
    *,
    depth: int,
    activation: str | Activation = "relu",
    w_std: Gain = 1.0,
    b_std: Gain = 0.0,
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
    return _recursion.kernel(
        _recursion.covariance,
        x1,
        x2,
        depth=depth,
        activation=activation,
        w_std=w_std,
        b_std=b_std,
        quadrature_order=quadrature_order,
    )[0]


def layer_kernels(
    x1: Any,
    x2: Any = None,
    *,
    depth: int,
    activation: str | Activation = "relu",
    w_std: Gain = 1.0,
    b_std: Gain = 0.0,
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
    depth = _validate.integer("depth", depth, at_least=0)
    return _recursion.kernel(
        _recursion.shares,
        x1,
        x2,
        depth=depth,
        activation=activation,
        w_std=w_std,
        b_std=b_std,
        quadrature_order=quadrature_order,
        terms=depth + 1,
    )


def standard_ntk_limit(
    x1: Any,
    x2: Any = None,
    *,
    depth: int,
    activation: str | Activation = "relu",
    w_std: Gain = 1.0,
    b_std: Gain = 0.0,
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
    return _recursion.kernel(
        _recursion.growing,
        x1,
        x2,
        depth=depth,
        activation=activation,
        w_std=w_std,
        b_std=b_std,
        quadrature_order=quadrature_order,
    )[0]


def limit_ntk(network: Network, x1: Any, x2: Any = None, *, quadrature_order: int = 128) -> Array:
    r"""The limit of `empirical_ntk` of this network as its hidden widths grow: activation, gains
    and depth are the network's own, so that no other network's limit is taken for it.

    Args:
        network: made by `networks.mlp` in the NTK parameterization, or by `networks.shallow`, whose
            limit is $\frac1m \sum_j a_j^2$ times the first term of `layer_kernels` at
            $\sqrt d\,x$; or the `networks.unbiased` pair of one, which has the same kernel.
        x1: points `[N1, d]`.
        x2: points `[N2, d]`; by default x1.
        quadrature_order: as in `infinite_ntk`.

    Returns:
        `[N1, N2]` for one output, and `[N1, N2, outputs, outputs]` for several, which are
        independent: the same kernel for each, 0 between them.

    Raises:
        ValueError: for a network of another kind or parameterization, naming it, and as
            `infinite_ntk`.

    Source: as `infinite_ntk`; S24, equation (14.2); the pair: S24, end of section 14.2.

    Examples:
        >>> network = networks.mlp((512, 512, 1), w_std=2**0.5)
        >>> x = jnp.array([[1.0, 1.0]])
        >>> limit_ntk(network, x).round(4).tolist() == [[6.0]]
        True
    """
    limit = networks.wide_limit(network)
    if limit.parameterization != "ntk":
        why = {
            "standard": "whose kernel grows with the width: standard_ntk_limit has its limit",
            "ntk-fan-out": "whose gains depend on the ratios of the widths",
        }
        raise ValueError(
            "network must be in the ntk parameterization to have a limit, got "
            f"{limit.parameterization!r}, {why[limit.parameterization]}"
        )
    options: dict[str, Any] = {
        "depth": limit.depth,
        "activation": limit.activation,
        "w_std": limit.w_std,
        "b_std": limit.b_std,
        "quadrature_order": quadrature_order,
    }
    if limit.output_weights is None:
        return _between_outputs(infinite_ntk(x1, x2, **options), limit.outputs)
    # The weights of `shallow` have no gain 1/√d, and those behind them are not trained.
    x1, x2 = (x if x is None else _validate.points(name, x) for name, x in _named(x1, x2))
    x1, x2 = (x if x is None else math.sqrt(x.shape[1]) * x for x in (x1, x2))
    return float(np.mean(limit.output_weights**2)) * layer_kernels(x1, x2, **options)[0]


def limit_nngp(network: Network, x1: Any, x2: Any = None, *, quadrature_order: int = 128) -> Array:
    r"""The limit of the covariance of this network's outputs at initialization: `nngp` with the
    network's own activation, gains and depth.

    Args:
        network: made by `networks.mlp`, in the NTK or the standard parameterization, which are one
            in law; or the `networks.unbiased` pair of one, whose outputs are 0.
        x1: points `[N1, d]`.
        x2: points `[N2, d]`; by default x1.
        quadrature_order: as in `infinite_ntk`.

    Returns:
        An array of the shape of `limit_ntk`'s.

    Raises:
        ValueError: for a network of another kind or parameterization, naming it, and as `nngp`.

    Source: as `nngp`.

    Examples:
        >>> network = networks.mlp((512, 1), w_std=2**0.5)
        >>> x = jnp.array([[1.0, 1.0]])
        >>> limit_nngp(network, x).round(4).tolist() == [[2.0]]
        True
        >>> limit_nngp(networks.unbiased(network), x).tolist()
        [[0.0]]
    """
    limit = networks.wide_limit(network)
    if limit.parameterization == "ntk-fan-out" or limit.output_weights is not None:
        got = "shallow, whose output weights are fixed"
        if limit.output_weights is None:
            got = "'ntk-fan-out', whose gains depend on the ratios of the widths"
        raise ValueError(
            "network must be an mlp in the ntk or the standard parameterization for its outputs to "
            f"have a known limit, got {got}"
        )
    kernel = nngp(
        x1,
        x2,
        depth=limit.depth,
        activation=limit.activation,
        w_std=limit.w_std,
        b_std=limit.b_std,
        quadrature_order=quadrature_order,
    )
    return _between_outputs(jnp.zeros_like(kernel) if limit.pair else kernel, limit.outputs)


def _named(x1: Any, x2: Any) -> tuple[tuple[str, Any], ...]:
    return ("x1", x1), ("x2", x2)


def _between_outputs(kernel: Array, outputs: int) -> Array:
    if outputs == 1:
        return kernel
    return kernel[:, :, None, None] * jnp.eye(outputs, dtype=kernel.dtype)[None, None]


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
    wide = cosine.astype(_validate.single_or_double(cosine.dtype))
    sides = 1 - wide, 1 + wide
    kernels = 1 - _recursion.arc_cosine_deficit(*sides), _recursion.angle_share(*sides)
    first, zeroth = (kernel.astype(cosine.dtype) / 2 for kernel in kernels)
    return first, zeroth


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
