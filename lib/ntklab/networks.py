r"""Models as pairs of functions `init` and `apply`, and the parameterizations of their layers.

A `Network` is a pair: `init(key, d)` draws parameters (a pytree) for inputs in $\mathbb R^d$, and
`apply(params, x)` maps points `[N, d]` to outputs `[N, outputs]`. Nothing else in the library needs
a network to be made here: a Flax or Equinox model with such an `apply` does as well.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from ntklab import _random, _validate

__all__ = [
    "ACTIVATIONS",
    "PARAMETERIZATIONS",
    "Network",
    "TwoLayer",
    "WideLimit",
    "activation_function",
    "alternating_signs",
    "is_pure",
    "mlp",
    "shallow",
    "takes_points",
    "two_layer",
    "unbiased",
    "wide_limit",
]

type_of_activation = Callable[[Array], Array]


class Network(NamedTuple):
    """A model: `init(key, d) -> params` and `apply(params, x[N, d]) -> [N, outputs]`."""

    init: Callable[..., Any]
    apply: Callable[[Any, Array], Array]


class TwoLayer(NamedTuple):
    r"""A two-layer network at its parameters, $f(x) = g_2 \sum_j a_j\, \sigma(g_1\, w_j \cdot x)$.

    Attributes:
        activation: $\sigma$.
        weights: W, `[m, d]`.
        output_weights: a, `[m]`.
        input_gain: $g_1$.
        output_gain: $g_2$.
        trains_output: whether a is trained together with W.
    """

    activation: Callable[[Array], Array]
    weights: Array | np.ndarray
    output_weights: Array | np.ndarray
    input_gain: float
    output_gain: float
    trains_output: bool


class WideLimit(NamedTuple):
    """What decides the limit of a network as its hidden widths grow.

    Attributes:
        activation: σ.
        depth: number of hidden layers.
        outputs: number of outputs.
        parameterization: one of `PARAMETERIZATIONS`.
        w_std: the gain of the weights.
        b_std: the gain of the biases.
        output_weights: `shallow`'s, `[m]`, which are not trained; None for other networks.
        pair: whether it is an `unbiased` pair.
    """

    activation: Callable[[Array], Array]
    depth: int
    outputs: int
    parameterization: str
    w_std: float
    b_std: float
    output_weights: np.ndarray | None
    pair: bool


def _identity(z: Array) -> Array:
    return z


#: The activations that have a name.
#:
#: :meta hide-value:
ACTIVATIONS: dict[str, type_of_activation] = {
    "relu": jax.nn.relu,
    "erf": jax.scipy.special.erf,
    "tanh": jnp.tanh,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "softplus": jax.nn.softplus,
    "identity": _identity,
}

# As they are here: one that somebody adds later may read what changes.
_PURE = tuple(ACTIVATIONS.values())

#: Where the scale of a layer sits: in front of its parameters or in their initial law.
PARAMETERIZATIONS = ("ntk", "standard", "ntk-fan-out")


def activation_function(activation: str | type_of_activation) -> type_of_activation:
    r"""The activation of that name, or the callable itself.

    Names: `relu` (derivative 0 at 0), `erf`, `tanh`, `gelu` ($t\,\Phi(t)$, not its tanh
    approximation), `softplus`, `identity`.

    Args:
        activation: the name or the callable.

    Raises:
        ValueError: for an unknown name, or something that is not callable, not hashable, or not
            made of JAX operations, such as `np.tanh`.

    Examples:
        >>> float(activation_function("relu")(jnp.float32(-1.0)))
        0.0
    """
    if isinstance(activation, str):
        _validate.choice("activation", activation, tuple(ACTIVATIONS))
        return ACTIVATIONS[activation]
    if not callable(activation):
        raise ValueError(f"activation must be a name or a callable, got {activation!r}")
    try:
        hash(activation)
    except TypeError as error:
        raise ValueError(
            "activation must be hashable: compiled programs are found again by it; "
            f"got {activation!r}"
        ) from error
    _check_traceable(activation)
    return activation


@functools.lru_cache(maxsize=128)
def _check_traceable(activation: type_of_activation) -> None:
    """Raise for a function of NumPy or of plain Python: JAX cannot differentiate it."""
    try:
        # In a function of its own: JAX keeps a weak reference, which NumPy's do not allow.
        jax.eval_shape(lambda z: activation(z), jax.ShapeDtypeStruct((), jnp.result_type(float)))
    except jax.errors.JAXTypeError as error:
        raise ValueError(
            "activation must be made of JAX operations, such as jnp.tanh for np.tanh, got "
            f"{activation!r}"
        ) from error
    except Exception:  # it may want an axis: what it does to a layer shows there
        return


def _activated(activation: type_of_activation, z: Array) -> Array:
    """σ(z), of z's shape and of real numbers."""
    try:
        a = activation(z)
    except TypeError as error:
        raise ValueError(f"activation must be a function of one array: {error}") from error
    if getattr(a, "shape", None) != z.shape or not jnp.issubdtype(a.dtype, jnp.floating):
        got = f"{a.dtype}{list(a.shape)}" if hasattr(a, "dtype") else type(a).__name__
        raise ValueError(
            f"activation must give real numbers in the shape that it takes, {list(z.shape)}, "
            f"got {got}"
        )
    return a


def mlp(
    widths: Sequence[int] | np.ndarray | Array,
    *,
    activation: str | type_of_activation = "relu",
    parameterization: str = "ntk",
    w_std: float = 1.0,
    b_std: float = 0.0,
) -> Network:
    r"""A fully connected network, $z^{(l)} = \frac{\sigma_w}{\sqrt{n_{l-1}}} W^{(l)} a^{(l-1)} +
    \sigma_b b^{(l)}$.

    Here $a^{(0)} = x$, $a^{(l)} = \sigma(z^{(l)})$, the last layer has no activation, and all
    entries of W and b start as independent standard normals. The parameterizations:

    - `ntk`: as above; the gains sit in front of the parameters.
    - `standard`: $z = W a + b$ with $W \sim N(0, \sigma_w^2/n_{l-1})$, $b \sim N(0, \sigma_b^2)$:
      the same functions in law, other gradients.
    - `ntk-fan-out`: B23's printed form, $\sigma_w/\sqrt{n_l}$ in place of
      $\sigma_w/\sqrt{n_{l-1}}$.

    Args:
        widths: hidden widths and, last, the number of outputs, such as `(1024, 1024, 1)`.
        activation: a name of `ACTIVATIONS` or any hashable callable on arrays.
        parameterization: `ntk`, `standard` or `ntk-fan-out`.
        w_std: $\sigma_w > 0$.
        b_std: $\sigma_b \ge 0$; at 0 the network has no biases.

    Returns:
        `Network(init, apply)`. `init(key, d, dtype=None)` gives a tuple with a dictionary a layer:
        `weight` `[fan_out, fan_in]` and, if `b_std > 0`, `bias` `[fan_out]`.

    Raises:
        ValueError: for widths that are not positive integers, an unknown activation or
            parameterization, `w_std <= 0` or `b_std < 0`, and squares of them beyond the dtype.

    Source: B23, section 2.2, with fan-in in place of fan-out; S24, section 14.1.

    Examples:
        >>> network = mlp((64, 1))
        >>> params = network.init(jax.random.key(0), 3)
        >>> network.apply(params, jnp.ones((5, 3))).shape
        (5, 1)
    """
    model = _DenseStack(
        _validate.widths("widths", widths),
        activation_function(activation),
        _validate.choice("parameterization", parameterization, PARAMETERIZATIONS),
        *_validate.standard_deviations(w_std, b_std, jnp.float64),
    )
    return Network(model.init, model)


@dataclass(frozen=True)
class _DenseStack:
    """The `apply` of `mlp`: hashable, so that `jax.jit` knows it again."""

    widths: tuple[int, ...]
    activation: type_of_activation
    parameterization: str
    w_std: float
    b_std: float

    def init(self, key: Key[Array, ""], d: int, dtype: Any = None) -> Any:
        key = _validate.random_key("key", key)
        d = _validate.integer("d", d, at_least=1)
        dtype = _validate.floating_dtype("dtype", dtype)
        standard = self.parameterization == "standard"
        _validate.standard_deviations(self.w_std, self.b_std, dtype)
        names = ("weight", "bias") if self.b_std > 0 else ("weight",)
        arrays: list[tuple[tuple[int, ...], float]] = []
        for fan_in, fan_out in zip((d, *self.widths[:-1]), self.widths, strict=True):
            arrays.append(((fan_out, fan_in), self.w_std / math.sqrt(fan_in) if standard else 1.0))
            if self.b_std > 0:
                arrays.append(((fan_out,), self.b_std if standard else 1.0))
        drawn = _normals(key, tuple(arrays), dtype)
        return tuple(
            dict(zip(names, drawn[start : start + len(names)], strict=True))
            for start in range(0, len(drawn), len(names))
        )

    def __call__(self, params: Any, x: Array) -> Array:
        return _outputs(self, params, jnp.asarray(x))

    def outputs(self, params: Any, x: Array) -> Array:
        activations = _dense_inputs(x, self._check_params(params))
        for index, layer in enumerate(params):
            fan_out, fan_in = layer["weight"].shape
            z = activations @ layer["weight"].T
            _validate.standard_deviations(self.w_std, self.b_std, z.dtype)
            weight_gain, bias_gain = self._gains(fan_in, fan_out)
            z = weight_gain * z
            if self.b_std > 0:
                z = z + bias_gain * layer["bias"][None, :]
            activations = _activated(self.activation, z) if index < len(params) - 1 else z
        return activations

    def two_layer(self, params: Any) -> TwoLayer:
        d = self._check_params(params)
        if len(self.widths) != 2 or self.widths[1] != 1:
            raise ValueError(f"network must have widths (m, 1), got {self.widths}")
        if self.b_std > 0:
            raise ValueError(f"network must have no biases, b_std = 0; got b_std = {self.b_std:g}")
        weights, output_weights = params[0]["weight"], params[1]["weight"][0]
        gains = self._gains(d, self.widths[0])[0], self._gains(self.widths[0], 1)[0]
        return TwoLayer(self.activation, weights, output_weights, *gains, True)

    def _check_params(self, params: Any) -> int:
        """The input dimension; parameters of another network are refused, not used in part."""
        names = {"weight", "bias"} if self.b_std > 0 else {"weight"}
        found = jax.tree.map(np.shape, params)
        try:
            fans = (found[0]["weight"][1], *self.widths)
            expected = tuple(
                {"weight": (fan_out, fan_in), "bias": (fan_out,)}
                for fan_in, fan_out in itertools.pairwise(fans)
            )
            fits = tuple(found) == tuple({n: layer[n] for n in names} for layer in expected)
        except (IndexError, KeyError, TypeError):
            fits = False
        if not fits:
            raise ValueError(
                f"params must be {len(self.widths)} layers of {' and '.join(sorted(names))} with "
                f"widths {self.widths}, as init draws them; got shapes {found}"
            )
        return int(fans[0])

    def _gains(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        if self.parameterization == "standard":
            return 1.0, float(self.b_std > 0)
        fan = fan_out if self.parameterization == "ntk-fan-out" else fan_in
        return float(self.w_std / np.sqrt(fan)), self.b_std


def alternating_signs(width: int) -> Float[np.ndarray, " width"]:
    """The output weights +1, -1, +1, … of `shallow`: both signs equally often.

    Args:
        width: how many.

    Raises:
        ValueError: for a width below 1.

    Examples:
        >>> alternating_signs(3).tolist()
        [1.0, -1.0, 1.0]
    """
    width = _validate.integer("width", width, at_least=1)
    return np.where(np.arange(width) % 2 == 0, 1.0, -1.0)


def shallow(
    width: int,
    *,
    activation: str | type_of_activation = "relu",
    output_weights: Any = None,
) -> Network:
    r"""The two-layer network of S24, $h(x; W) = m^{-1/2} \sum_j a_j \sigma(w_j \cdot x)$; only W is
    trained.

    Args:
        width: m, the number of units.
        activation: a name of `ACTIVATIONS` or any hashable callable on arrays.
        output_weights: $a$, `[m]`; by default the signs $+1, -1, +1, \dots$

    Returns:
        `Network(init, apply)`; the parameters are the array W, `[m, d]`, drawn standard normal,
        and `apply` gives `[N_points, 1]`.

    Raises:
        ValueError: for a width below 1, an unknown activation, or output weights of another shape.

    Source: S24, section 14.1.

    Examples:
        >>> network = shallow(4)
        >>> W = network.init(jax.random.key(0), 2)
        >>> W.shape, network.apply(W, jnp.ones((3, 2))).shape
        ((4, 2), (3, 1))
    """
    width = _validate.integer("width", width, at_least=1)
    if output_weights is None:
        weights = alternating_signs(width)
    else:
        weights = np.asarray(_validate.floating("output_weights", output_weights, min_ndim=1))
        if weights.shape != (width,):
            raise ValueError(f"output_weights must have shape ({width},), got {weights.shape}")
    model = _Shallow(activation_function(activation), width, weights.astype(float).tobytes())
    return Network(model.init, model)


@dataclass(frozen=True)
class _Shallow:
    """The `apply` of `shallow`; the output weights as bytes, which are quick to hash."""

    activation: type_of_activation
    width: int
    output_weights: bytes

    def init(self, key: Key[Array, ""], d: int, dtype: Any = None) -> Float[Array, "m d"]:
        key = _validate.random_key("key", key)
        d = _validate.integer("d", d, at_least=1)
        dtype = _validate.floating_dtype("dtype", dtype)
        return _random.normal(key, (self.width, d), dtype)

    def __call__(self, params: Any, x: Array) -> Array:
        return _outputs(self, params, jnp.asarray(x))

    def outputs(self, params: Any, x: Array) -> Array:
        x = _dense_inputs(x, self._check_params(params))
        z = x @ params.T
        a = np.frombuffer(self.output_weights) / np.sqrt(self.width)
        output = _activated(self.activation, z) @ jnp.asarray(a, dtype=z.dtype)
        return output[:, None]

    def two_layer(self, params: Any) -> TwoLayer:
        self._check_params(params)
        a = np.frombuffer(self.output_weights)
        return TwoLayer(self.activation, params, a, 1.0, 1 / math.sqrt(self.width), False)

    def _check_params(self, params: Any) -> int:
        """The input dimension."""
        if np.ndim(params) != 2 or len(params) != self.width:
            raise ValueError(
                f"params must be an array [{self.width}, d], got {jax.tree.map(np.shape, params)}"
            )
        return int(params.shape[1])


def unbiased(network: Network) -> Network:
    r"""The paired network $(f(\theta) - f(\theta'))/\sqrt2$, with $\theta' = \theta$ at
    initialization.

    Its output starts at exactly 0 (compiled together with what is around it, a pair of pairs may be
    off by rounding) and its tangent kernel is the original's: the two copies add
    $\tfrac12 \Theta$ each. Both copies are trained.

    Args:
        network: any pair `init`, `apply`.

    Returns:
        `Network(init, apply)` with parameters `(theta, theta_prime)`.

    Raises:
        ValueError: if `network` is not such a pair.

    Source: S24, end of section 14.2; M21, section 4 (unbiased initialization).

    Examples:
        >>> network = unbiased(mlp((16, 1)))
        >>> params = network.init(jax.random.key(0), 3)
        >>> float(jnp.max(jnp.abs(network.apply(params, jnp.ones((5, 3))))))
        0.0
    """
    if not (isinstance(network, tuple) and len(network) == 2 and all(map(callable, network))):
        raise ValueError(f"network must be a pair (init, apply) of functions, got {network!r}")
    original_init, apply = network

    def init(key: Key[Array, ""], d: int, **options: Any) -> Any:
        params = original_init(key, d, **options)
        return params, params

    return Network(init, _Pair(apply))


@dataclass(frozen=True)
class _Pair:
    """The `apply` of `unbiased`."""

    apply: Callable[[Any, Array], Array]

    def __call__(self, params: Any, x: Array) -> Array:
        plus, minus = _two_copies(params)
        return (self.apply(plus, x) - self.apply(minus, x)) * float(np.sqrt(0.5))


def _two_copies(params: Any) -> tuple[Any, Any]:
    if not isinstance(params, tuple | list) or len(params) != 2:
        raise ValueError(
            "params must be the pair (theta, theta_prime), got "
            f"{type(params).__name__} of {len(jax.tree.leaves(params))} arrays"
        )
    return params[0], params[1]


def takes_points(apply: Any) -> bool:
    """Whether a model is one of the networks made here: of points `[N, d]`, each by itself.

    Args:
        apply: the model's function.

    Examples:
        >>> takes_points(unbiased(mlp((4, 1))).apply), takes_points(lambda params, x: x)
        (True, False)
    """
    return isinstance(apply, _DenseStack | _Shallow) or (
        isinstance(apply, _Pair) and takes_points(apply.apply)
    )


def is_pure(apply: Any) -> bool:
    """Whether a model is one of the networks made here whose activation has a name: its function
    reads nothing but its arguments, so that a program of it need not be traced again.

    Args:
        apply: the model's function.

    Examples:
        >>> is_pure(mlp((4, 1)).apply), is_pure(mlp((4, 1), activation=lambda z: z).apply)
        (True, False)
    """
    if isinstance(apply, _Pair):
        return is_pure(apply.apply)
    return isinstance(apply, _DenseStack | _Shallow) and apply.activation in _PURE


def two_layer(network: Network, params: Any) -> tuple[TwoLayer, ...]:
    r"""A `shallow` network or an `mlp((m, 1))` without biases as a sum of `TwoLayer` networks: one,
    or the two copies of an `unbiased` pair, whose gains $g_2$ then are $\pm 1/\sqrt2$ times the
    original's.

    Args:
        network: the pair that `shallow`, `mlp` or `unbiased` has made.
        params: its parameters.

    Raises:
        ValueError: for any other network, naming it, and for parameters of another network.

    Examples:
        >>> network = shallow(4, activation="tanh")
        >>> [part] = two_layer(network, network.init(jax.random.key(0), 2))
        >>> part.input_gain, part.output_gain, part.trains_output
        (1.0, 0.5, False)
    """
    apply = getattr(network, "apply", None)
    if isinstance(apply, _Shallow | _DenseStack):
        return (apply.two_layer(params),)
    if isinstance(apply, _Pair) and isinstance(apply.apply, _Shallow | _DenseStack):
        plus, minus = map(apply.apply.two_layer, _two_copies(params))
        gain = math.sqrt(0.5) * plus.output_gain
        return plus._replace(output_gain=gain), minus._replace(output_gain=-gain)
    raise ValueError(
        "network must be made by shallow, by mlp((m, 1)) without biases, or be the unbiased pair "
        f"of one of them; got {network!r}"
    )


def wide_limit(network: Network) -> WideLimit:
    """What `tangent_kernel.limit_ntk` has to know of a network.

    Args:
        network: the pair that `mlp`, `shallow` or `unbiased` has made.

    Raises:
        ValueError: for any other network, naming it.

    Examples:
        >>> limit = wide_limit(unbiased(mlp((64, 64, 2), b_std=0.1)))
        >>> limit.depth, limit.outputs, limit.b_std, limit.pair
        (2, 2, 0.1, True)
    """
    apply = getattr(network, "apply", None)
    pair = isinstance(apply, _Pair)
    while isinstance(apply, _Pair):
        apply = apply.apply
    if isinstance(apply, _DenseStack):
        depth, gains = len(apply.widths) - 1, (apply.w_std, apply.b_std)
        outputs, parameterization = apply.widths[-1], apply.parameterization
        return WideLimit(apply.activation, depth, outputs, parameterization, *gains, None, pair)
    if isinstance(apply, _Shallow):
        weights = np.frombuffer(apply.output_weights)
        return WideLimit(apply.activation, 1, 1, "ntk", 1.0, 0.0, weights, pair)
    raise ValueError(
        "network must be made by mlp or shallow, or be the unbiased pair of one of them, for its "
        f"limit to be known; got {network!r}"
    )


def _outputs(model: Any, params: Any, x: Array) -> Array:
    """Of a model made of dense layers: as one program, where nothing is traced.

    An activation of somebody else's may read what changes, and is run as it is.
    """
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, x)))
    if traced or not is_pure(model):
        return model.outputs(params, x)
    return _compiled_outputs(model, params, x)


@functools.partial(jax.jit, static_argnums=0)
def _compiled_outputs(model: Any, params: Any, x: Array) -> Array:
    return model.outputs(params, x)


@functools.partial(jax.jit, static_argnames=("arrays", "dtype"))
def _normals(
    key: Key[Array, ""], arrays: tuple[tuple[tuple[int, ...], float], ...], dtype: Any
) -> list[Array]:
    """Independent normals, an array for each shape and standard deviation.

    One draw for all, and one program: compiling takes longer than all that follows it.
    """
    sizes = [math.prod(shape) for shape, _ in arrays]
    drawn = jnp.split(_random.normal(key, (sum(sizes),), dtype), np.cumsum(sizes)[:-1])
    return [part.reshape(shape) * std for part, (shape, std) in zip(drawn, arrays, strict=True)]


def _dense_inputs(x: Any, fan_in: int) -> Array:
    x = jnp.asarray(x)
    if x.ndim != 2 or x.shape[1] != fan_in:
        raise ValueError(f"x must have shape [N, {fan_in}] for these parameters, got {x.shape}")
    return x
