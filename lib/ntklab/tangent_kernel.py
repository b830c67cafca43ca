r"""Tangent kernels: of a given network, and their limit as the widths grow.

`empirical_ntk` takes any differentiable model; `infinite_ntk` and `nngp` follow the recursion in
depth for `networks.mlp`. The chapter's entries of the ledger are at the end.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from ntklab import _recursion, _validate, jacobians, models, networks
from ntklab.models import Model
from ntklab.networks import Network

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


def empirical_ntk(
    apply: Callable[[Any, Array], Array],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    include_output: bool = False,
    trace: bool = False,
    block_size: int | None = None,
) -> Array:
    r"""The tangent kernel $\Theta_{kl}(x, x') = \langle\nabla_\theta f_k(x; \theta), \nabla_\theta
    f_l(x'; \theta)\rangle$ of a model at its parameters.

    The operations of the model at one row are followed. A leaf that serves as the weights of a
    layer adds $\sum_{t,s} (a_t \cdot a'_s)(b_t \cdot b'_s)$, where $a_t$ enters the layer at its
    position t and the signal $b_t$ comes back to it; no gradient with respect to it is formed
    unless that is cheaper, as in a convolution. So it is for dense layers, `einsum`, attention,
    convolutions and embeddings, under `jax.jit` and `jax.checkpoint` too, and for biases behind
    them. Whatever else is done with a leaf (scales, shared weights, `scan`, `cond`, operations with
    `custom_vjp`) gives its gradients, one backward pass for all. Memory is bounded: rows of half a
    gigabyte are held at once, and matrix products run over blocks of them.

    The model is traced at each call: what its function reads besides `params` counts as it is then.
    What JAX remembers of a function under `jax.jit` does not change, as JAX has it.

    Args:
        apply: `apply(params, x) -> [N, outputs]` or `[N]`; each row of the output may depend on
            the same row of x only. A function of Flax or Equinox will do.
        params: a pytree; `models` says which of its leaves are trained. All others (integers,
            keys, functions, running means) are passed through.
        x1: inputs `[N1, ...]`, of any number of axes. The whole numbers of an array, such as the
            tokens of a sentence, stay whole for any model but the library's own networks.
        x2: inputs `[N2, ...]`; by default x1.
        include_output: add $f_k(x) f_l(x')$, the kernel of M21's features (output, gradient).
        trace: give the sum over equal outputs, $\sum_k \Theta_{kk}(x, x')$, at the cost of one
            output's kernel or little more. Divided by the number of outputs it is their mean.
        block_size: inputs whose rows of the Jacobian are held at once; by default as many as half
            a gigabyte holds. Less memory the smaller it is.

    Returns:
        `[N1, N2]` for one output or the trace, `[N1, N2, outputs, outputs]` for several, in the
        dtype of the model's output; exactly symmetric for `x2=None`. Matrix products are asked for
        at the highest precision; those of half precision are taken in float32.

    Raises:
        ValueError: for inputs or parameters with NaN, shapes that do not fit, outputs that are not
            `[N]` or `[N, outputs]` for N inputs and for one, no trained parameters, an `apply` that
            is not made of JAX operations or whose rows see each other (looked for in the first
            three, once a model, and not under `jax.jit`), a kernel beyond the range of its dtype,
            or a block size below 1.

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
        >>> empirical_ntk(model, {"w": jnp.ones((3, 2))}, x, x[:2], trace=True).shape
        (5, 2)
    """
    model, x1, x2 = _model_arguments(apply, params, x1, x2)
    include_output = _validate.flag("include_output", include_output)
    trace = _validate.flag("trace", trace)
    if block_size is not None:
        block_size = _validate.integer("block_size", block_size, at_least=1)
    program, constants = jacobians.program_of("x1", model, x1)
    kernel, finite = jacobians.gram(
        program,
        constants,
        model,
        x1,
        x2,
        include_output=include_output,
        trace=trace,
        block_size=block_size,
    )
    _validate.in_range("x1", finite, "kernel", kernel.dtype)
    return kernel


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
    name, right = ("x1", x1) if x2 is None else ("x2", x2)
    program, constants = jacobians.program_of(name, model, right)
    output = program.kind(program.output)
    shape = output.shape[1:]
    vector = _validate.floating("vector", vector, min_ndim=1)
    expected = (right.shape[0], *shape)
    if vector.shape != expected:
        raise ValueError(
            f"vector must have the shape {expected} of the outputs at x2, got {vector.shape}"
        )
    signal = vector.astype(output.dtype).reshape(expected[0], -1)
    product, finite = jacobians.vector_product(program, constants, model, x1, right, signal)
    _validate.in_range("x1", finite, "product", product.dtype)
    return product.reshape(x1.shape[0], *shape)


def _model_arguments(
    apply: Any, params: Any, x1: Any, x2: Any
) -> tuple[Model, Array, Array | None]:
    model = models.view(apply, params)
    x1 = models.inputs("x1", x1, apply)
    if x2 is not None:
        x2 = models.inputs("x2", x2, apply)
        _validate.same_dimension("x1", x1, "x2", x2)
    return model, x1, x2


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
