r"""Any model `(apply, params)`: which of its leaves are trained, its outputs, a flat view of it.

`params` is a pytree, hand-written or of a library, and `apply(params, x)` gives the outputs at the
points x. What is trained is what the model's own library trains:

- hand-written pytrees: floating-point arrays and Python floats, as `jax.grad` has it;
- Flax linen: the collection `params`. A mapping of mappings with an entry `params` is read as
  Flax's variables; running means and caches are other entries and are not trained;
- Flax NNX, states and modules: `nnx.Param` only;
- Equinox: the floating-point arrays of a module, as `equinox.filter_grad` has it. Its Python
  floats are settings, and what an `equinox.nn.State` holds is not trained either.

All other leaves reach `apply` as they are: integers, keys, functions, texts. The rules hold where a
library's object stands, at any depth: in a pair of modules each is a module.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntklab import _validate, networks

__all__ = ["trained"]

Apply = Callable[[Any, Array], Array]


def trained(params: Any) -> Any:
    """The pytree of `params` with True at the leaves that are trained and False at all others.

    Args:
        params: the parameters of any model.

    Raises:
        ValueError: for parameters that are complex or not numbers.

    Examples:
        >>> trained({"weight": jnp.ones((2, 3)), "rate": 0.5, "steps": 3, "key": jax.random.key(0)})
        {'key': False, 'rate': True, 'steps': False, 'weight': True}
        >>> trained({"params": {"scale": jnp.ones(2)}, "batch_stats": {"mean": jnp.zeros(2)}})
        {'batch_stats': {'mean': False}, 'params': {'scale': True}}
    """
    return jax.tree.unflatten(jax.tree.structure(params), _flags(params))


def view(apply: Any, params: Any, dtype: Any = None) -> "Model":
    """The model at its parameters, taken apart into what is trained and all else.

    Args:
        apply: `apply(params, x)`.
        params: a pytree; see above for what of it is trained.
        dtype: what the trained leaves are cast to, if anything.

    Raises:
        ValueError: for something that is no function, parameters that are complex, not finite or
            not numbers, and if none of them is trained.

    Examples:
        >>> power = lambda p, x: p["scale"] * x[:, 0] ** p["power"]
        >>> model = view(power, {"scale": 3.0, "power": 2})
        >>> model.flat().tolist(), model.at_flat(jnp.ones(1)).params()["power"]
        ([3.0], 2)
    """
    if not callable(apply):
        raise ValueError(f"apply must be a function of (params, x), got {apply!r}")
    leaves, treedef = jax.tree.flatten(params)
    flags = tuple(_flags(params))
    moving, passed, constants = [], [], []
    for leaf, flag in zip(leaves, flags, strict=True):
        if flag:
            array = _validate.floating("params", leaf, min_ndim=0)
            moving.append(array if dtype is None else array.astype(dtype))
        elif isinstance(leaf, Array | np.ndarray | np.generic) and not isinstance(
            leaf, str | bytes
        ):
            if not isinstance(leaf, Array) and leaf.dtype.kind in "OSUMm":
                raise ValueError(f"params must hold numbers, got an array of dtype {leaf.dtype}")
            passed.append(leaf)
            constants.append(_ARRAY)
        else:
            constants.append(_Constant(type(leaf), leaf))
    if not moving:
        raise ValueError(
            "params must have floating-point leaves to differentiate, got none "
            "(of Flax only `params` and nnx.Param are, of Equinox only arrays)"
        )
    static = _Static(apply, treedef, flags, tuple(constants))
    try:
        hash(static)
    except TypeError:
        static = _Once(apply, treedef, flags, tuple(constants))
    return Model(tuple(moving), tuple(passed), static)


def inputs(name: str, value: Any, apply: Any, *, min_ndim: int = 1) -> Array:
    """Inputs of a model `[N, ...]`: real numbers, or the whole ones of an array as they are.

    The library's own networks take whole numbers for real ones, as in a list everybody does.

    Args:
        name: of the argument, for errors.
        value: what came.
        apply: the model's.
        min_ndim: the fewest axes.

    Raises:
        ValueError: for anything but real numbers, NaN, too few axes, and where there is no input.

    Examples:
        >>> inputs("x", np.array([[1, 2]]), lambda params, x: x).dtype.kind
        'i'
    """
    array = _validate.floating(name, value, min_ndim=min_ndim)
    is_array = isinstance(value, Array | np.ndarray)
    if is_array and np.issubdtype(value.dtype, np.integer) and not networks.takes_points(apply):
        array = _validate.whole(name, value)
    if array.ndim > 0 and array.shape[0] == 0:
        raise ValueError(f"{name} must hold at least one input, got shape {array.shape}")
    return array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Model:
    """A model at its parameters: the arrays are its leaves under JAX, all else is static.

    Attributes:
        trained: the leaves that are trained.
        passed: the arrays among the leaves that are not.
        static: `apply`, the tree and its other leaves; compiled programs are found again by it.
    """

    trained: tuple[Array, ...]
    passed: tuple[Any, ...]
    static: "_Static" = field(metadata={"static": True})

    @property
    def apply(self) -> Any:
        """The function of `(params, x)` that the model was made of."""
        return self.static.apply

    def at(self, trained: tuple[Array, ...]) -> "Model":
        """The same model at other trained leaves."""
        return replace(self, trained=trained)

    def params(self) -> Any:
        """The pytree that `apply` takes, put together again."""
        moving, passed = iter(self.trained), iter(self.passed)
        constants = iter(self.static.constants)
        leaves: list[Any] = []
        for flag in self.static.trained:
            if flag:
                leaves.append(next(moving))
            else:
                constant = next(constants)
                leaves.append(next(passed) if constant is _ARRAY else constant.value)
        return jax.tree.unflatten(self.static.treedef, leaves)

    def __call__(self, x: Array) -> Any:
        """The outputs at x, whatever `apply` makes of them."""
        return self.static.apply(self.params(), x)

    def flat(self) -> Array:
        """The trained leaves as one vector, in the widest of their dtypes."""
        with jax.numpy_dtype_promotion("standard"):
            dtype = jnp.result_type(*self.trained)
        return jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in self.trained])

    def at_flat(self, vector: Array) -> "Model":
        """The model at the trained leaves that `flat` made a vector of."""
        ends = np.cumsum([leaf.size for leaf in self.trained])
        parts = jnp.split(vector, ends[:-1])
        return self.at(
            tuple(
                part.reshape(leaf.shape).astype(leaf.dtype)
                for part, leaf in zip(parts, self.trained, strict=True)
            )
        )

    def matching(self, params: Any) -> tuple[Array, ...]:
        """The trained leaves of other parameters of the same structure, shapes and dtypes."""
        leaves, treedef = jax.tree.flatten(params)
        if treedef != self.static.treedef:
            raise ValueError(f"params must have the structure {self.static.treedef}, got {treedef}")
        chosen = [leaf for leaf, flag in zip(leaves, self.static.trained, strict=True) if flag]
        arrays = []
        for leaf, own in zip(chosen, self.trained, strict=True):
            array = leaf
            if not isinstance(leaf, Array):
                array = _validate.floating("params", leaf, min_ndim=0)
            given = getattr(leaf, "dtype", None)
            if given is None or not jnp.issubdtype(given, jnp.floating):
                array = array.astype(own.dtype)  # a number, or a whole one, has no dtype of its own
            arrays.append(array)
        for what in ("shape", "dtype"):
            found, expected = (
                [getattr(array, what) for array in group] for group in (arrays, self.trained)
            )
            if found != expected:
                raise ValueError(f"params must have the {what}s {expected}, got {found}")
        return tuple(arrays)

    def output(self, name: str, x: Any, *, anew: bool = False) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the outputs at x, an array of real numbers.

        What was found before is taken from memory, by the model's function. `anew`: it is asked
        again, as that may read what has changed.

        Raises:
            ValueError: for outputs of another kind, and where `apply` itself fails.
        """
        ask = jax.jit(lambda model, x: model(x)) if anew else _abstract
        try:
            output = ask.eval_shape(self, x)
        except (TypeError, IndexError, KeyError, AttributeError, ValueError) as error:
            failure = self._failure(name, x, error)
            if failure is error:
                raise
            raise failure from error
        shape = getattr(output, "shape", None)
        if shape is None:
            raise ValueError(f"apply must return an array, got {type(output).__name__}")
        if not jnp.issubdtype(output.dtype, jnp.floating):
            raise ValueError(f"apply must return real numbers, got dtype {output.dtype}")
        return jax.ShapeDtypeStruct(shape, output.dtype)

    def batch_output(
        self, name: str, x: Any, *, single: bool = False, anew: bool = False
    ) -> jax.ShapeDtypeStruct:
        """As `output`, of a model that gives `[N]` or `[N, outputs]` for N inputs, and for one.

        One input alone shows a `squeeze`, or a sum over the batch. `single`: of one output only.
        """
        count = x.shape[0]
        output = self.output(name, x, anew=anew)
        shapes = {count: output.shape}
        if count > 1 and not networks.takes_points(self.apply):
            one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
            shapes[1] = self.output(name, one, anew=anew).shape
        for n, shape in shapes.items():
            if (
                len(shape) not in (1, 2)
                or shape[0] != n
                or 0 in shape
                or (single and shape[1:] not in ((), (1,)))
            ):
                raise ValueError(
                    f"apply must return [N] or [N, {1 if single else 'outputs'}] with N = {n}, "
                    f"got {shape}"
                )
        return output

    def _failure(self, name: str, x: Any, error: Exception) -> Exception:
        """What to raise where `apply` has raised an error."""
        given = f"{x.dtype}{list(x.shape)}"
        message = str(error).strip().partition("\n")[0]
        reason = f"{type(error).__name__}: {message}"
        if self._takes_whole_numbers(x):
            return ValueError(
                f"{name} must be an array of whole numbers for this model, such as "
                f"np.asarray(tokens); a list is read as {given}, got {reason}"
            )
        if isinstance(error, ValueError):
            return error
        if isinstance(error, jax.errors.JAXTypeError):
            return ValueError(
                f"apply must be made of JAX operations, such as jnp.tanh for np.tanh, got {reason}"
            )
        return ValueError(f"apply must take params and {name}, here {given}, got {reason}")

    def _takes_whole_numbers(self, x: Any) -> bool:
        """Whether the model fails at x only because its whole numbers are of floating point."""
        if networks.takes_points(self.apply) or not jnp.issubdtype(x.dtype, jnp.floating):
            return False
        try:
            _abstract.eval_shape(self, jax.ShapeDtypeStruct(x.shape, jnp.int32))
        except Exception:
            return False
        return True


@jax.jit
def _abstract(model: Model, x: Array) -> Any:
    """Never run: JAX remembers the shapes that it found for a model."""
    return model(x)


class _Constant(NamedTuple):
    """A leaf that is no array. With its type, since 1 == 1.0 == True."""

    kind: type
    value: Any


# Stands among the constants for an array that is not trained.
_ARRAY = _Constant(Array, None)


@dataclass(frozen=True)
class _Static:
    """The part of a model that is not arrays, hashable."""

    apply: Apply
    treedef: Any
    trained: tuple[bool, ...]
    constants: tuple[_Constant, ...]


class _Once(_Static):
    """A model that cannot be hashed is known by identity: compiled at each call, but correct."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


# --- what each library trains -------------------------------------------------------------------

_Rule = Callable[[Any], list[bool]]


def _flags(tree: Any) -> list[bool]:
    """Which leaves of a pytree are trained, in their order."""
    flags: list[bool] = []
    for node in jax.tree.leaves(tree, is_leaf=lambda node: _library_rule(node) is not None):
        rule = _library_rule(node)
        flags += [_is_real(node)] if rule is None else rule(node)
    return flags


def _library_rule(node: Any) -> _Rule | None:
    """The rule for a node that belongs to a library; one that is not imported made none."""
    nnx, equinox = sys.modules.get("flax.nnx"), sys.modules.get("equinox")
    if nnx is not None and isinstance(node, nnx.Variable | nnx.State | nnx.Module):
        return _nnx
    if equinox is not None and isinstance(node, equinox.Module):
        return _equinox
    if equinox is not None and isinstance(node, equinox.nn.State):
        return _nothing
    if isinstance(node, Mapping) and isinstance(node.get("params"), Mapping):
        return _linen if all(isinstance(entry, Mapping) for entry in node.values()) else None
    return None


def _is_real(leaf: Any) -> bool:
    is_array = isinstance(leaf, Array | np.ndarray | np.generic)
    if isinstance(leaf, complex) or (is_array and jnp.issubdtype(leaf.dtype, jnp.complexfloating)):
        raise ValueError(f"params must be real, got {leaf!r}")
    return isinstance(leaf, float) or (is_array and bool(jnp.issubdtype(leaf.dtype, jnp.floating)))


def _nothing(node: Any) -> list[bool]:
    return [False] * len(jax.tree.leaves(node))


def _linen(variables: Any) -> list[bool]:
    flags: list[bool] = []
    # One level: the collections by their names, in the order of the leaves.
    collections, _ = jax.tree_util.tree_flatten_with_path(
        variables, is_leaf=lambda node: node is not variables
    )
    for path, entry in collections:
        in_params = getattr(path[0], "key", None) == "params"
        flags += [in_params and _is_real(leaf) for leaf in jax.tree.leaves(entry)]
    return flags


def _nnx(node: Any) -> list[bool]:
    nnx = sys.modules["flax.nnx"]
    flags: list[bool] = []
    for part in jax.tree.leaves(node, is_leaf=lambda part: isinstance(part, nnx.Variable)):
        is_param = isinstance(part, nnx.Param)
        flags += [is_param and _is_real(leaf) for leaf in jax.tree.leaves(part)]
    return flags


def _equinox(module: Any) -> list[bool]:
    is_trained = sys.modules["equinox"].is_inexact_array
    return [is_trained(leaf) and _is_real(leaf) for leaf in jax.tree.leaves(module)]
