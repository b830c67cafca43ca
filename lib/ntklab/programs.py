r"""A model at one row of its inputs, or at all of them, as a list of JAX's own operations, and what
of it is known by its form.

`trace` runs `apply` on a row and notes the operations. Two lists that are equal are one program:
compiled code is found again by what a model does, never by who wrote it, so that a value which a
closure reads is as current as an argument. Only the library's own networks, where they read nothing
but their arguments, are traced once. What JAX itself remembers, inside a function under
`jax.jit`, is as pure as JAX wants it.

`structure` follows each trained leaf through transposes, reshapes and scalar factors to where it is
used: as the weights of a dense layer or a convolution, as the table of an embedding, or as the bias
behind one of them. There, and only where the match is complete, the gradient of a row is a product
of what entered the layer and of what comes back to it.
"""

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.extend.core as core
import jax.numpy as jnp
import numpy as np

from ntklab import networks
from ntklab.models import Model

__all__ = ["Bias", "Program", "Site", "Step", "Structure", "backwards_only", "structure", "trace"]

#: A place: the number of a value among those that a program computes, or a constant.
Place = Any

# Calls that are looked into where a trained leaf enters, by the names that JAX gave them.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2")
# Their derivative is not that of the operations in them.
_CUSTOM = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        operation: JAX's record of it.
        inputs: a place for each of its inputs.
        outputs: a place for each of its outputs; None for one that nobody reads.
        run: the operation as a function of its inputs that are no constants of its own.
    """

    operation: Any
    inputs: tuple[Place, ...]
    outputs: tuple[int | None, ...]
    run: Callable[[Sequence[Any]], Sequence[Any]]

    @property
    def name(self) -> str:
        """The operation's name in JAX."""
        return str(self.operation.primitive.name)


@dataclass(frozen=True, eq=False)
class Program:
    """What a model does with one row, or with all of them. Equal to another one that does the same.

    Its inputs, in their order: the constants that it reads, the trained leaves, all other arrays of
    the model, the row or the rows.

    Attributes:
        steps: the operations in their order.
        kinds: shape and dtype of each place.
        trained: the places of the trained leaves.
        inputs: how many places are inputs; they are the first.
        output: where the output is.
        key: by which it is known.
    """

    steps: tuple[Step, ...]
    kinds: tuple[jax.ShapeDtypeStruct, ...]
    trained: range
    inputs: int
    output: Place
    key: Hashable = field(repr=False)
    fingerprint: int = field(repr=False)

    def __hash__(self) -> int:
        return self.fingerprint

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Program)
            and self.fingerprint == other.fingerprint
            and self.key == other.key
        )

    def kind(self, place: Place) -> jax.ShapeDtypeStruct:
        """Shape and dtype of what is at a place."""
        if isinstance(place, int):
            return self.kinds[place]
        return jax.ShapeDtypeStruct(np.shape(place.val), place.aval.dtype)

    @property
    def outputs(self) -> int:
        """K, the number of outputs at one row."""
        return math.prod(self.kind(self.output).shape)

    @functools.cached_property
    def numbers_of_a_row(self) -> int:
        """How many numbers are computed from the row."""
        of_row = {self.inputs - 1}
        for step in self.steps:
            if not of_row.isdisjoint(place for place in step.inputs if isinstance(place, int)):
                of_row |= {place for place in step.outputs if place is not None}
        return sum(math.prod(self.kinds[place].shape) for place in of_row)

    @functools.cached_property
    def backwards_only(self) -> bool:
        """Whether a part of it has a derivative that runs backwards only."""
        return any(map(_backwards_only, (step.operation for step in self.steps)))

    def run(
        self, inputs: Sequence[Any], after: Callable[[int, Any], Any] | None = None
    ) -> tuple[Any, Callable[[Place], Any]]:
        """The output `[K]`, and what is at each place; `after(place, value)` may change a value."""
        values: list[Any] = [*inputs, *[None] * (len(self.kinds) - len(inputs))]

        def at(place: Place) -> Any:
            return values[place] if isinstance(place, int) else jnp.asarray(place.val)

        for step in self.steps:
            results = step.run([at(place) for place in step.inputs])
            for place, value in zip(step.outputs, results, strict=True):
                if place is not None:
                    values[place] = value if after is None else after(place, value)
        return jnp.reshape(at(self.output), -1), at

    def outputs_at(self, constants: Sequence[Any], model: Model, x: Any) -> Any:
        """The outputs at a row or rows of the program's shape, one behind the other."""
        return self.run([*constants, *model.trained, *jax.tree.leaves(model.passed), x])[0]


def trace(
    model: Model, x: jax.ShapeDtypeStruct, *, together: bool = False
) -> tuple[Program, tuple[Any, ...]]:
    """The program of a model at one row, and the constants that it reads.

    Args:
        model: the model; its arrays may be traced themselves.
        x: shape and dtype of one row of the inputs, or of all of them.
        together: whether x is all of them.

    Raises:
        Exception: whatever `apply` raises.
    """
    if not networks.is_pure(model.apply):
        return _traced(model.static, model.trained, model.passed, x, together)
    kinds = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, weak_type=getattr(leaf, "weak_type", False)
        ),
        (model.trained, model.passed),
    )
    settings = tuple(getattr(jax.config, name) for name in _SETTINGS)
    return _traced_once(model.static, kinds, x, together, settings)


# What decides which operations a function becomes, or whether they are refused.
_SETTINGS = ("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion")


@functools.lru_cache(maxsize=256)
def _traced_once(
    static: Any,
    kinds: tuple[Any, Any],
    x: jax.ShapeDtypeStruct,
    together: bool,
    settings: Hashable,
) -> tuple[Program, tuple[Any, ...]]:
    """`trace` of a model whose function reads nothing but its arguments; JAX's settings decide what
    it may do with them.
    """
    return _traced(static, *kinds, x, together)


def _traced(
    static: Any,
    trained: Sequence[Any],
    passed: Sequence[Any],
    x: jax.ShapeDtypeStruct,
    together: bool,
) -> tuple[Program, tuple[Any, ...]]:
    """A program that is found by tracing the model anew, with arrays or their shapes and dtypes."""

    def output(trained: Any, passed: Any, x: Any) -> Any:
        # A function of its own each time: JAX remembers what it traced.
        model = Model(tuple(trained), tuple(passed), static)
        return _array(model(x if together else x[None]))

    with jax.default_matmul_precision("highest"):
        closed = jax.make_jaxpr(output)(trained, passed, x)
    constants = tuple(closed.consts)
    leaves = len(trained)
    arrays = (*constants, *trained, *jax.tree.leaves(passed))
    if any(isinstance(array, jax.core.Tracer) for array in arrays):
        # Within another function's trace, which remembers what it compiles.
        return _taken_apart(closed.jaxpr, leaves, object()), constants
    key = (leaves, *_key_of_all(closed.jaxpr))
    known = _KNOWN.pop(key, None)
    program = _taken_apart(closed.jaxpr, leaves, key) if known is None else known
    _KNOWN[key] = program
    if len(_KNOWN) > REMEMBERED:
        del _KNOWN[next(iter(_KNOWN))]
    return program, constants


def _array(output: Any) -> Any:
    if not hasattr(output, "shape"):
        raise TypeError(f"apply must return an array, got {type(output).__name__}")
    return output


# The programs that were met last, by their keys, and how many of them are kept.
_KNOWN: dict[Hashable, Program] = {}
REMEMBERED = 256


def _taken_apart(jaxpr: Any, leaves: int, key: Hashable) -> Program:
    builder = _Builder()
    inputs = [builder.new(variable.aval) for variable in (*jaxpr.constvars, *jaxpr.invars)]
    first = len(jaxpr.constvars)
    trained = range(first, first + leaves)
    [output] = builder.flatten(jaxpr, inputs, set(trained))
    steps, kinds = tuple(builder.steps), tuple(builder.kinds)
    return Program(steps, kinds, trained, len(inputs), output, key, hash(key))


class _Builder:
    """Takes a nest of JAX's programs apart into one list of steps."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.kinds: list[jax.ShapeDtypeStruct] = []

    def new(self, aval: Any) -> int:
        self.kinds.append(jax.ShapeDtypeStruct(aval.shape, aval.dtype))
        return len(self.kinds) - 1

    def flatten(self, jaxpr: Any, places: Sequence[Place], followed: set[int]) -> list[Place]:
        """Append the steps of `jaxpr`; calls that a followed place enters are looked into."""
        of = dict(zip((*jaxpr.constvars, *jaxpr.invars), places, strict=True))

        def place(atom: Any) -> Place:
            return atom if isinstance(atom, core.Literal) else of[atom]

        read = {
            atom
            for atoms in (*(eqn.invars for eqn in jaxpr.eqns), jaxpr.outvars)
            for atom in atoms
            if not isinstance(atom, core.Literal)
        }
        for eqn in jaxpr.eqns:
            inputs = tuple(place(atom) for atom in eqn.invars)
            enters = any(isinstance(p, int) and p in followed for p in inputs)
            inner = _open(eqn) if enters and eqn.primitive.name in _CALLS else None
            if inner is not None:
                of.update(zip(eqn.outvars, self.flatten(inner, inputs, followed), strict=True))
                continue
            outputs = tuple(self.new(v.aval) if v in read else None for v in eqn.outvars)
            of.update(
                (variable, output)
                for variable, output in zip(eqn.outvars, outputs, strict=True)
                if output is not None
            )
            self.steps.append(Step(eqn, inputs, outputs, _runner(jaxpr, eqn, read)))
            if enters and eqn.primitive.name in _FOLLOWED:
                followed.update(p for p in outputs if p is not None)
        return [place(atom) for atom in jaxpr.outvars]


def _open(eqn: Any) -> Any:
    """The program inside a call, if it reads nothing but the call's inputs."""
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    if getattr(inner, "consts", None):
        return None
    inner = getattr(inner, "jaxpr", inner)
    return None if inner is None or inner.constvars else inner


def _runner(jaxpr: Any, eqn: Any, read: set[Any]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """The operation as a function; JAX runs it as a program of one line."""
    variables = _variables(eqn)
    wanted = [v for v in eqn.outvars if v in read]
    debug = jaxpr.debug_info
    single = jaxpr.replace(
        constvars=[],
        invars=variables,
        outvars=wanted,
        eqns=[eqn],
        effects=eqn.effects,
        debug_info=debug and debug._replace(arg_names=None, result_paths=None),
    )
    closed: Any = vars(core)["ClosedJaxpr"]  # which JAX 0.12 has under an alias, unseen by mypy
    function = core.jaxpr_as_fun(closed(single, []))

    def run(inputs: Sequence[Any]) -> Sequence[Any]:
        given = {
            variable: value
            for variable, value in zip(eqn.invars, inputs, strict=True)
            if not isinstance(variable, core.Literal)
        }
        results = iter(function(*[given[variable] for variable in variables]))
        return [next(results) if variable in read else None for variable in eqn.outvars]

    return run


# --- how a program is known again -----------------------------------------------------------------


def _key_of_all(jaxpr: Any) -> tuple[Hashable, ...]:
    """All that a program does, with its derivatives, as something that can be compared.

    A derivative of the model's own is held by a function that is new in each trace: it is known by
    what it does. It is followed once; a derivative of it, which no kernel needs, may have its own.
    """
    rules: list[tuple[Any, Any]] = []
    key = _key_of(jaxpr, rules)
    if not rules:
        return (key,)
    kinds = [
        [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in _variables(eqn)]
        for _, eqn in rules
    ]

    def derivatives(values: list[Any]) -> list[Any]:
        return [_derivative(*rule, given) for rule, given in zip(rules, values, strict=True)]

    derived = jax.make_jaxpr(derivatives)(kinds)
    return key, _key_of(derived.jaxpr, []), tuple(map(_key_of_constant, derived.consts))


def _derivative(jaxpr: Any, eqn: Any, values: Sequence[Any]) -> Any:
    """The derivative of one operation at some values, along ones."""
    run, variables = _runner(jaxpr, eqn, set(eqn.outvars)), _variables(eqn)
    given = dict(zip(variables, values, strict=True))
    moving = [v for v in variables if jnp.issubdtype(v.aval.dtype, jnp.floating)]

    def function(values: list[Any]) -> list[Any]:
        inside = {**given, **dict(zip(moving, values, strict=True))}
        results = run([inside.get(v) if v in variables else None for v in eqn.invars])
        return [r for r in results if jnp.issubdtype(r.dtype, jnp.floating)]

    at = [given[v] for v in moving]
    if eqn.primitive.name == "custom_jvp_call":
        return jax.jvp(function, (at,), (at,))[1]
    outputs, pullback = jax.vjp(function, at)
    return pullback(outputs)


def _variables(eqn: Any) -> list[Any]:
    return list(dict.fromkeys(v for v in eqn.invars if not isinstance(v, core.Literal)))


def _key_of(jaxpr: Any, rules: list[tuple[Any, Any]]) -> Hashable:
    """The operations of a program; those with a derivative of their own are appended to `rules`."""
    numbers: dict[Any, int] = {}

    def number(variable: Any) -> int:
        return numbers.setdefault(variable, len(numbers))

    def atom(value: Any) -> Hashable:
        if isinstance(value, core.Literal):
            held = np.asarray(value.val)
            return (held.tobytes(), held.shape, value.aval)
        return number(value)

    parts: list[Hashable] = [(number(v), v.aval) for v in (*jaxpr.constvars, *jaxpr.invars)]
    for eqn in jaxpr.eqns:
        custom = eqn.primitive.name in _CUSTOM
        if custom:
            rules.append((jaxpr, eqn))
        parameters = tuple(
            (name, _key_of_parameter(value, rules))
            for name, value in sorted(eqn.params.items())
            if not custom or hasattr(value, "eqns") or isinstance(value, int)
        )
        parts.append(
            (
                eqn.primitive.name,
                tuple(map(atom, eqn.invars)),
                tuple((number(v), v.aval) for v in eqn.outvars),
                parameters,
            )
        )
    parts.append(tuple(map(atom, jaxpr.outvars)))
    return tuple(parts)


def _key_of_parameter(value: Any, rules: list[tuple[Any, Any]]) -> Hashable:
    if hasattr(value, "eqns"):
        constants = getattr(value, "consts", None) or ()
        return (_key_of(getattr(value, "jaxpr", value), rules), tuple(map(_Same, constants)))
    if isinstance(value, tuple | list):
        return tuple(_key_of_parameter(held, rules) for held in value)
    if isinstance(value, dict):
        return tuple((name, _key_of_parameter(held, rules)) for name, held in sorted(value.items()))
    if isinstance(value, np.ndarray):
        return (value.tobytes(), value.shape, str(value.dtype))
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return (type(value), value)


@dataclass(frozen=True, eq=False)
class _Same:
    """Something that is known by identity, and kept, so that the identity stays its own."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _key_of_constant(value: Any) -> Hashable:
    held = np.asarray(value)
    return (held.tobytes(), held.shape, str(held.dtype))


def backwards_only(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a part of a function, at such arguments, has a derivative that runs backwards only.

    Args:
        function: the function.
        arguments: pytrees of arrays, or their shapes and dtypes.
    """
    closed = jax.make_jaxpr(lambda *arguments: function(*arguments))(*arguments)
    return any(map(_backwards_only, closed.jaxpr.eqns))


def _backwards_only(eqn: Any) -> bool:
    """Whether an operation, or one that it calls, is `jax.custom_vjp`'s."""
    if "custom_vjp" in eqn.primitive.name:
        return True
    for value in eqn.params.values():
        for held in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(held, "jaxpr", held)
            if any(map(_backwards_only, getattr(inner, "eqns", ()))):
                return True
    return False


# --- what is known of a program by its form -------------------------------------------------------

# Operations behind which a trained leaf is still the same numbers, in another order, times a scale.
_FOLLOWED = (
    "transpose",
    "reshape",
    "squeeze",
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
    "copy_p",
    "mul",
    "div",
    "neg",
)

#: A scalar factor: `(what is done to 1, the place of the scalar)`, as `("div", 7)`.
Scale = tuple[str, Place]

#: What an axis behind a layer is: one of its positions or one of its units; None has length 1.
Label = tuple[str, int] | None


@dataclass(frozen=True)
class _View:
    """A trained leaf at a place: the same numbers.

    Attributes:
        leaf: which leaf.
        history: how it came there, to tell whether two uses see it alike.
        scales: its scalar factors.
        axes: which of the leaf's axes is where; None after a reshape that mixes them.
        spread: whether a number stands in several entries.
    """

    leaf: int
    history: tuple[Any, ...]
    scales: tuple[Scale, ...]
    axes: tuple[int | None, ...] | None
    spread: bool = False


@dataclass(frozen=True)
class Bias:
    """The bias of a site.

    Attributes:
        leaf: which trained leaf it is.
        scales: its scalar factors.
    """

    leaf: int
    scales: tuple[Scale, ...]


@dataclass(frozen=True)
class Site:
    """Where a trained leaf is used: the gradient of a row is Σ_t a_t ⊗ b_t over positions t.

    a_t is what enters, b_t what comes back.

    Attributes:
        leaf: which leaf.
        kind: `dense`, `convolution` or `table`.
        step: the operation.
        entering: the input of the step that a is made of.
        axes: of a dense layer, the axes of that input which are summed over.
        scales: scalar factors of the leaf's gradient, between the leaf and `place`.
        place: where the signal b is taken.
        labels: what the axes there are.
        positions: T.
        fan_in: the length of a_t; of a table, its number of rows.
        fan_out: the length of b_t.
        signature: equal for two uses of one leaf whose a and b have the same order.
        bias: the bias that is added before `place`.
        readout: the scalar factors behind `place` if the K outputs follow, each from its own unit.
    """

    leaf: int
    kind: str
    step: int
    entering: int
    axes: tuple[int, ...]
    scales: tuple[Scale, ...]
    place: int
    labels: tuple[Label, ...]
    positions: int
    fan_in: int
    fan_out: int
    signature: Hashable
    bias: Bias | None = None
    readout: tuple[Scale, ...] | None = None


@dataclass(frozen=True)
class Structure:
    """What of a program is known by its form.

    Attributes:
        sites: by leaf, all of its uses, where each of them is known and sees the leaf alike.
        rest: the trained leaves that are neither there nor the bias of a site, but are read.
    """

    sites: tuple[tuple[Site, ...], ...]
    rest: tuple[int, ...]


@functools.lru_cache(maxsize=64)
def structure(program: Program) -> Structure:
    """Where the trained leaves of a program are used, as far as that can be told for certain."""
    return _Reader(program).read()


class _Reader:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.views: dict[int, _View] = {
            place: _View(leaf, (), (), tuple(range(len(program.kind(place).shape))))
            for leaf, place in enumerate(program.trained)
        }
        self.uses: dict[int, list[Site]] = {}
        self.biases: dict[int, list[int]] = {}  # by leaf, the steps that may add it to a site
        self.unknown: set[int] = set()
        self.readers: dict[int, list[int]] = {}  # by place, the steps that read it; -1: the end
        for index, step in enumerate(program.steps):
            for place in step.inputs:
                if isinstance(place, int):
                    self.readers.setdefault(place, []).append(index)
        if isinstance(program.output, int):
            self.readers.setdefault(program.output, []).append(-1)

    def shape(self, place: Place) -> tuple[int, ...]:
        return tuple(self.program.kind(place).shape)

    def read(self) -> Structure:
        for index, step in enumerate(self.program.steps):
            self.follow(index, step)
        if isinstance(self.program.output, int) and self.program.output in self.views:
            self.unknown.add(self.views[self.program.output].leaf)
        known = {
            leaf: uses
            for leaf, uses in self.uses.items()
            if leaf not in self.unknown
            and leaf not in self.biases
            and len({use.signature for use in uses}) == 1
        }
        added: set[int] = set()
        sites = []
        for uses in known.values():
            if len(uses) == 1:
                use = self.behind(uses[0], added)
                added |= set() if use.bias is None else {use.bias.leaf}
                uses = [use]
            sites.append(tuple(uses))
        read = [leaf for leaf, place in enumerate(self.program.trained) if self.readers.get(place)]
        return Structure(
            tuple(sites), tuple(leaf for leaf in read if leaf not in known and leaf not in added)
        )

    def follow(self, index: int, step: Step) -> None:
        """What a step does to the leaves that enter it."""
        entering = [
            (k, self.views[place])
            for k, place in enumerate(step.inputs)
            if isinstance(place, int) and place in self.views
        ]
        if len(entering) == 1:
            k, view = entering[0]
            moved = self.moved(step, k, view)
            if moved is not None:
                if step.outputs[0] is not None:
                    self.views[step.outputs[0]] = moved
                return
            site = self.site(index, step, k, view)
            if site is not None:
                self.uses.setdefault(view.leaf, []).append(site)
                return
            if step.name in ("add", "add_any") and view.axes is not None:
                self.biases.setdefault(view.leaf, []).append(index)
                return
        self.unknown |= {view.leaf for _, view in entering}

    def moved(self, step: Step, k: int, view: _View) -> _View | None:
        """The leaf behind a step that changes its order or scale only."""
        name, parameters = step.name, step.operation.params
        before = self.shape(step.inputs[k])
        after = tuple(step.operation.outvars[0].aval.shape)
        axes = view.axes
        if name in ("copy", "copy_p"):
            return view
        if name == "convert_element_type":
            return view if _is_real(step) else None
        if name in ("mul", "div", "neg"):
            scale = self.scale(step, k)
            if scale is None or before != after:
                return None
            return replace(view, scales=(*view.scales, scale))
        if name == "transpose":
            permutation = tuple(parameters["permutation"])
            moved = None if axes is None else tuple(axes[i] for i in permutation)
            return replace(view, axes=moved, history=(*view.history, ("transpose", permutation)))
        if name in ("reshape", "squeeze") and _in_order(step):
            places = _long_axes(before, after)
            history = view.history
            if _long(before) != _long(after) or axes is None:
                moved, history = None, (*view.history, ("reshape", after))
            else:
                moved = tuple(None if i is None else axes[i] for i in places)
            return replace(view, axes=moved, history=history)
        if name == "broadcast_in_dim" and len(step.inputs) == 1:
            where = tuple(parameters["broadcast_dimensions"])
            spread = view.spread or math.prod(after) != math.prod(before)
            moved = None
            if axes is not None:
                from_axis = dict(zip(where, range(len(before)), strict=True))
                moved = tuple(
                    axes[from_axis[i]] if i in from_axis and before[from_axis[i]] == n else None
                    for i, n in enumerate(after)
                )
            return replace(view, axes=moved, spread=spread)
        return None

    def scale(self, step: Step, k: int) -> Scale | None:
        """By which scalar a step scales its input k."""
        if step.name == "neg":
            return ("neg", None)
        other = step.inputs[1 - k]
        if step.inputs[0] == step.inputs[1] or (step.name == "div" and k == 1):
            return None
        if isinstance(other, int) and self.shape(other) != ():
            maker = self.maker(other)
            if maker is None or maker.name != "broadcast_in_dim":
                return None
            other = maker.inputs[0]
        return (step.name, other) if self.shape(other) == () else None

    def maker(self, place: int) -> Step | None:
        return next((step for step in self.program.steps if place in step.outputs), None)

    def site(self, index: int, step: Step, k: int, view: _View) -> Site | None:
        """The use of a leaf as the weights of a layer, if the step is one."""
        if view.spread or step.outputs[0] is None:
            return None
        parameters = step.operation.params
        leaf, out = self.shape(step.inputs[k]), self.shape(step.outputs[0])
        make = functools.partial(
            Site, view.leaf, step=index, scales=view.scales, place=step.outputs[0]
        )
        if step.name == "dot_general":
            contracted, batched = parameters["dimension_numbers"]
            if any(batched) or not _is_real(step):
                return None
            summed = tuple(contracted[k])
            units = len(leaf) - len(summed)
            positions = tuple(("position", i) for i in range(len(out) - units))
            labels = tuple(("unit", i) for i in range(units))
            fan_out = math.prod(leaf) // math.prod(leaf[i] for i in summed)
            return make(
                "dense",
                entering=1 - k,
                axes=tuple(contracted[1 - k]),
                labels=(*positions, *labels) if k == 1 else (*labels, *positions),
                positions=math.prod(out) // fan_out,
                fan_in=math.prod(leaf[i] for i in summed),
                fan_out=fan_out,
                signature=("dense", view.history, leaf, summed),
            )
        if step.name == "conv_general_dilated" and k == 1:
            if parameters["feature_group_count"] != 1 or parameters["batch_group_count"] != 1:
                return None
            numbers = parameters["dimension_numbers"]
            unit = numbers.out_spec[1]
            fan_out = leaf[numbers.rhs_spec[0]]
            return make(
                "convolution",
                entering=0,
                axes=(),
                labels=tuple(
                    ("unit", 0) if i == unit else ("position", numbers.out_spec.index(i))
                    for i in range(len(out))
                ),
                positions=math.prod(out) // fan_out,
                fan_in=math.prod(leaf) // fan_out,
                fan_out=fan_out,
                signature=("convolution", view.history, leaf, tuple(numbers.rhs_spec)),
            )
        if step.name == "gather" and k == 0 and view.history == ():
            numbers = parameters["dimension_numbers"]
            if (
                tuple(numbers.collapsed_slice_dims) != (0,)
                or tuple(numbers.start_index_map) != (0,)
                or len(getattr(numbers, "operand_batching_dims", ())) > 0
                or tuple(parameters["slice_sizes"]) != (1, *leaf[1:])
                or view.axes != tuple(range(len(leaf)))
            ):
                return None
            offset = tuple(numbers.offset_dims)
            fan_out = math.prod(leaf[1:])
            return make(
                "table",
                entering=1,
                axes=(),
                labels=tuple(
                    ("unit", offset.index(i)) if i in offset else ("position", i)
                    for i in range(len(out))
                ),
                positions=math.prod(out) // fan_out,
                fan_in=leaf[0],
                fan_out=fan_out,
                signature=("table",),
            )
        return None

    def behind(self, site: Site, taken: set[int]) -> Site:
        """The site with the bias that is added behind it, and whether the outputs follow."""
        place, labels, scales, index = self.chain(site.place, site.labels)
        if index >= 0:
            bias, added = self.bias(index, place, labels), self.program.steps[index].outputs[0]
            if bias is not None and bias.leaf not in taken and added is not None:
                site = replace(
                    site,
                    bias=bias,
                    place=added,
                    labels=labels,
                    scales=(*site.scales, *scales),
                )
                place, labels, scales, index = self.chain(site.place, site.labels)
        outputs = self.program.outputs
        if index == -1 and site.positions == 1 and site.fan_out == outputs:
            ordered = [label for label in labels if label is not None and label[0] == "unit"]
            if ordered == sorted(ordered):
                site = replace(site, readout=scales)
        return site

    def chain(
        self, place: int, labels: tuple[Label, ...]
    ) -> tuple[int, tuple[Label, ...], tuple[Scale, ...], int]:
        """Where a value goes while nobody else reads it and only its order and scale change.

        Returns the last place, its labels, the scales on the way, and the step that reads it: -1
        for the output, -2 for several readers.
        """
        scales: list[Scale] = []
        while True:
            readers = self.readers.get(place, [])
            if len(readers) != 1:
                return place, labels, tuple(scales), -2
            if readers[0] == -1:
                return place, labels, tuple(scales), -1
            step = self.program.steps[readers[0]]
            k = step.inputs.index(place)
            if step.inputs.count(place) != 1 or step.outputs[0] is None:
                return place, labels, tuple(scales), -2
            before, after = self.shape(place), self.shape(step.outputs[0])
            moved: tuple[Label, ...] | None = None
            if step.name in ("mul", "div", "neg"):
                scale = self.scale(step, k)
                if scale is not None and before == after:
                    scales.append(scale)
                    moved = labels
            elif step.name in ("copy", "copy_p") or (
                step.name == "convert_element_type" and _is_real(step)
            ):
                moved = labels
            elif step.name == "transpose":
                moved = tuple(labels[i] for i in step.operation.params["permutation"])
            elif (
                step.name in ("reshape", "squeeze", "broadcast_in_dim")
                and len(step.inputs) == 1
                and _long(before) == _long(after)
                and _in_order(step)
            ):
                moved = tuple(None if i is None else labels[i] for i in _long_axes(before, after))
            if moved is None:
                return place, labels, tuple(scales), readers[0]
            place, labels = step.outputs[0], moved

    def bias(self, index: int, place: int, labels: tuple[Label, ...]) -> Bias | None:
        """The leaf that a step adds to each unit, at all positions alike, and nowhere else."""
        step = self.program.steps[index]
        if step.name not in ("add", "add_any") or step.outputs[0] is None:
            return None
        other = step.inputs[1 - step.inputs.index(place)]
        view = self.views.get(other) if isinstance(other, int) else None
        if view is None or view.leaf in self.unknown or view.leaf in self.uses:
            return None
        if self.biases.get(view.leaf) != [index] or view.axes is None:
            return None
        out, own = self.shape(step.outputs[0]), self.shape(self.program.trained[view.leaf])
        if out != self.shape(place):
            return None
        axes = view.axes if self.shape(other) != () else (None,) * len(out)
        if len(axes) != len(out):
            return None
        for n, axis, label in zip(out, axes, labels, strict=True):
            by_unit = label is not None and label[0] == "unit"
            if n > 1 and by_unit != (axis is not None):
                return None
        units = math.prod(n for n, axis in zip(out, axes, strict=True) if axis is not None)
        return Bias(view.leaf, view.scales) if units == math.prod(own) else None


def _is_real(step: Step) -> bool:
    """Whether a step takes and gives real numbers."""
    atoms = (*step.operation.invars, *step.operation.outvars)
    return all(jnp.issubdtype(atom.aval.dtype, jnp.floating) for atom in atoms)


def _long(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _long_axes(before: Sequence[int], after: Sequence[int]) -> tuple[int | None, ...]:
    """For each axis behind a reshape, which one before it: those of length 1 are left out."""
    long = (i for i, n in enumerate(before) if n != 1)
    return tuple(None if n == 1 else next(long, None) for n in after)


def _in_order(step: Step) -> bool:
    """Whether a reshape or a broadcast keeps the order of the axes."""
    parameters = step.operation.params
    if step.name == "broadcast_in_dim":
        where = list(parameters["broadcast_dimensions"])
        return where == sorted(where)
    return step.name == "squeeze" or parameters.get("dimensions") is None
