r"""The Jacobian of a model in its parameters, row by row, in factors where it has them, and the
products of its rows.

A layer with weights W sees a row of the inputs at T positions: a_t enters, and with the signal b_t
that comes back the row's gradient is $\sum_t a_t \otimes b_t$. Two rows then have the product

$$\langle \textstyle\sum_t a_t \otimes b_t,\ \sum_s a'_s \otimes b'_s \rangle =
\sum_{t,s} (a_t \cdot a'_s)\,(b_t \cdot b'_s),$$

of two Gram matrices, and no gradient has to be formed. `programs.structure` says which leaves have
such factors. All others, and layers that see more positions than the product pays for, give their
gradients. One derivative backwards, by offsets behind the layers and by those other leaves, gives
both.
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

from ntklab import _validate, networks, programs
from ntklab.models import Model
from ntklab.programs import Program, Site

__all__ = ["forward", "gram", "look_at_rows", "program_of", "program_of_all", "vector_product"]

# Numbers in the rows of the Jacobian that are held at once: half a gigabyte in float32.
HELD = 2**27
# Numbers that are in work at once, while rows of the Jacobian are computed or multiplied.
WORKING = 2**24
# Rows, times outputs, of the blocks that are multiplied: the matrix product is at its best, and
# what is done with it element by element still finds it in the cache. An accelerator wants more.
BLOCK, BLOCK_THERE = 512, 2048
# Columns that a matrix product takes at once: with many more, its rate is cut by half.
COLUMNS = 8192
# Fewest rows of the Jacobian that are held at once, however long they are.
FEWEST = 8
# Entries of a filter up to which its patches are cut out one by one.
CUT = 64


class Factors(NamedTuple):
    """What a layer adds to the Jacobian at some rows.

    Attributes:
        entering: a, `[N, T, fan_in]`; of a table the rows that are looked up, `[N, T]`; of a
            convolution whose gradient is formed, a tuple of its parts, one for each of the filter's
            entries.
        signals: b, `[N, K, T, fan_out]`; None if that is the identity at T = 1.
        shift: `[N]`, a number that every a has beside these, for a bias; None without one.
    """

    entering: Any
    signals: Array | None
    shift: Array | None


class Rows(NamedTuple):
    """Rows of a Jacobian.

    Attributes:
        factors: of the layers that have them.
        gradients: `[N, K, p]`, of the p other parameters.
    """

    factors: tuple[Factors, ...]
    gradients: Array


def _block() -> int:
    return BLOCK if jax.default_backend() == "cpu" else BLOCK_THERE


@dataclass(frozen=True)
class _Plan:
    """How the rows of a program's Jacobian are computed.

    Attributes:
        program: the model.
        with_output: whether the outputs are one more column of the gradients.
        trace: whether only the sum over equal outputs is wanted.
    """

    program: Program
    with_output: bool = False
    trace: bool = False

    @property
    def dtype(self) -> Any:
        """In which products are taken: of half precision in single."""
        dtype = self.program.kind(self.program.output).dtype
        return jnp.dtype(jnp.float32) if dtype.itemsize < 4 else dtype

    def in_factors(self, uses: tuple[Site, ...]) -> bool:
        """Whether the product of Gram matrices costs less than that of gradients."""
        if uses[0].readout is not None:
            return True
        positions = sum(use.positions for use in uses)
        if positions == 1 and uses[0].kind != "table":
            return True
        outputs, fan_in, fan_out = self.program.outputs, uses[0].fan_in, uses[0].fan_out
        pairs = outputs if self.trace else outputs**2
        compared = 1 if uses[0].kind == "table" else fan_in
        return positions**2 * (compared + pairs * fan_out) < pairs * fan_in * fan_out


# --- a model, looked at ---------------------------------------------------------------------------

# Models whose outputs and rows have been looked at, at inputs of a shape.
_LOOKED_AT: dict[Any, None] = {}
# Inputs that are put together to see whether one changes what another gives.
TOGETHER = 3


def program_of(name: str, model: Model, x: Array) -> tuple[Program, tuple[Any, ...]]:
    """The program of a model at one row of x `[N, ...]`, and the constants that it reads.

    Once for each program and shape the outputs are looked at, and, where the values are known,
    whether the rows see each other.

    Args:
        name: of x, for errors.
        model: the model.
        x: the inputs.

    Raises:
        ValueError: for outputs that are not `[N]` or `[N, K]`, for N inputs and for one, and for
            rows that see each other.
    """
    try:
        program, constants = programs.trace(model, jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
    except Exception:
        model.batch_output(name, x)  # names what is wrong with the model, if that is it
        raise
    _look(name, model, program, constants, x, lambda: model.batch_output(name, x, anew=True))
    return program, constants


def program_of_all(name: str, model: Model, x: Array) -> tuple[Program, tuple[Any, ...]]:
    """The program of a model of one output at all rows of x `[N, ...]` at once, and its constants.

    Args:
        name: of x, for errors.
        model: the model.
        x: the inputs.

    Raises:
        ValueError: as `program_of`, and for several outputs.
    """
    program_of(name, model, x)
    kind = jax.ShapeDtypeStruct(x.shape, x.dtype)
    program, constants = programs.trace(model, kind, together=True)
    if program.kind(program.output).shape not in ((x.shape[0],), (x.shape[0], 1)):
        model.batch_output(name, x, single=True, anew=True)
    return program, constants


def look_at_rows(name: str, model: Model, x: Array) -> None:
    """Whether the rows of x `[N, ...]` see each other in a model that gives `[N, ...]`.

    Args:
        name: of x, for errors.
        model: the model.
        x: the inputs.

    Raises:
        ValueError: if they do.
    """
    try:
        program, constants = programs.trace(model, jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
    except Exception:
        model.output(name, jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype))
        raise
    _look(name, model, program, constants, x, lambda: None)


def _look(
    name: str,
    model: Model,
    program: Program,
    constants: tuple[Any, ...],
    x: Array,
    first: Callable[[], Any],
) -> None:
    """Look at a program once, where its values are known also at its rows; `first` goes before."""
    arrays = (x, *constants, *model.trained, *jax.tree.leaves(model.passed))
    known = all(map(_validate.concrete, arrays))
    look = (program, x.shape, known)
    if look not in _LOOKED_AT:
        first()
        if known and not networks.takes_points(model.apply):
            _see_rows_apart(name, model, program, constants, x)
        _LOOKED_AT[look] = None
        if len(_LOOKED_AT) > programs.REMEMBERED:
            del _LOOKED_AT[next(iter(_LOOKED_AT))]


def _see_rows_apart(
    name: str, model: Model, program: Program, constants: tuple[Any, ...], x: Array
) -> None:
    """Raise where an output changes with another row, or with the place that its row has.

    An output whose row stays, at its place in the batch, is computed by the same operations: if it
    changes by a bit, it has seen the row that changed. That a row stands elsewhere may change how
    it is rounded; noise, such as dropout's, changes it by more.
    """
    rows: list[np.ndarray] = list(np.asarray(x[:TOGETHER]))
    real = len(rows)
    while len(rows) < TOGETHER:
        rows.append(_another(rows[-1]))
    base = np.stack(rows)
    batches = [base]
    for j in range(TOGETHER):
        changed = base.copy()
        changed[j] = _another(base[j])
        batches.append(changed)
    shape = model.output(name, jax.ShapeDtypeStruct(base.shape, x.dtype), anew=True).shape
    if shape[:1] != (TOGETHER,):
        raise ValueError(f"apply must return [N, ...] with N = {TOGETHER}, got {shape}")
    batch = jnp.asarray(np.stack(batches))
    together, alone = (
        np.asarray(outputs, float)
        for outputs in _together_and_alone(model, program, constants, batch)
    )

    def row(i: int) -> str:
        return f"row {i}" if i < real else f"a made-up row {i}"

    same = (together[:1] == together) | (np.isnan(together[:1]) & np.isnan(together))
    for j, i in itertools.product(range(TOGETHER), range(TOGETHER)):
        if i != j and not np.all(same[1 + j, i]):
            raise ValueError(
                f"apply must treat each row of {name} by itself, got another output at {row(i)} "
                f"when {row(j)} changes (a mean over the batch, as of batch normalization in "
                "training?)"
            )
    with np.errstate(invalid="ignore"):
        off = np.max(np.abs(together[0] - alone), axis=1)
        allowed = float(jnp.finfo(program.kind(program.output).dtype).eps) ** (1 / 3)
        moved = off > allowed * np.max(np.abs(alone))
    if np.any(moved):
        i = int(np.argmax(moved))
        raise ValueError(
            f"apply must treat each row of {name} by itself, got another output at {row(i)} alone "
            f"than together with {row(int(i == 0))} (noise, as of dropout in training?)"
        )


def _another(row: np.ndarray) -> np.ndarray:
    """A row of the same kind that differs: of its own numbers, so that a model may take it."""
    if np.issubdtype(row.dtype, np.integer):
        # Not its numbers in another order, of which a mean over tokens sees nothing.
        turned = np.full_like(row, row.flat[0]) if row.size else row
    else:
        turned = row.dtype.type(0.5) * np.flip(row) + row.dtype.type(0.25)
        turned = turned.astype(row.dtype)
    if np.array_equal(turned, row):
        turned = np.zeros_like(row) if np.any(row) else np.ones_like(row)
    return turned


def _together_and_alone(
    model: Model, program: Program, constants: tuple[Any, ...], batches: Array
) -> tuple[Array, Array]:
    """The outputs of batches, and of the first one's rows one by one, `[batches, N, K]`, `[N, K]`.

    Elsewhere than at the model's parameters, where it may be made to vanish.
    """

    def elsewhere(leaf: Array) -> Array:
        size = jnp.sqrt(jnp.mean(leaf**2)) if leaf.size else 1.0
        waves = jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape) * 12.9898)
        return leaf + 0.1 * (size + 0.1) * waves

    @jax.jit  # as new as the model's function may be
    def compare(model: Model, constants: tuple[Any, ...], batches: Array) -> tuple[Array, Array]:
        moved = model.at(tuple(map(elsewhere, model.trained)))
        inputs = [*constants, *moved.trained, *jax.tree.leaves(model.passed)]
        together = jax.lax.map(lambda batch: moved(batch).reshape(batch.shape[0], -1), batches)
        return together, jax.vmap(lambda row: program.run([*inputs, row])[0])(batches[0])

    return compare(model, constants, batches)


def forward(
    function: Callable[[Any], Array], at: Any, direction: Any, *, backwards_only: bool
) -> tuple[Array, Array]:
    """A function's value, and its derivative along a direction.

    Args:
        function: the function.
        at: where.
        direction: of the same structure.
        backwards_only: whether a part of the function has a derivative backwards only
            (`jax.custom_vjp`); the one of the whole, linear in the signal, is then turned round.
    """
    if not backwards_only:
        return jax.jvp(function, (at,), (direction,))
    value, back = jax.vjp(function, at)
    _, turned = jax.vjp(lambda signal: back(signal)[0], jnp.zeros_like(value))
    return value, turned(direction)[0]


@functools.partial(jax.jit, static_argnames="program")
def vector_product(
    program: Program, constants: tuple[Any, ...], model: Model, x1: Array, x2: Array, vector: Array
) -> tuple[Array, Array]:
    """J(x1) J(x2)ᵀ v for v `[N2, K]`, one derivative backwards and one forwards, and whether it is
    finite.

    Args:
        program: the model at one row.
        constants: what it reads.
        model: the model, for its arrays.
        x1: inputs `[N1, ...]`.
        x2: inputs `[N2, ...]`.
        vector: v.
    """
    others = jax.tree.leaves(model.passed)

    def at(x: Array) -> Callable[[tuple[Array, ...]], Array]:
        def outputs(trained: tuple[Array, ...]) -> Array:
            inputs = [*constants, *trained, *others]
            return jax.vmap(lambda row: program.run([*inputs, row])[0])(x)

        return outputs

    with jax.default_matmul_precision("highest"):
        _, pullback = jax.vjp(at(x2), model.trained)
        (direction,) = pullback(vector)
        _, product = forward(
            at(x1), model.trained, direction, backwards_only=program.backwards_only
        )
    return product, jnp.all(jnp.isfinite(product))


# --- rows -----------------------------------------------------------------------------------------


def rows(plan: _Plan, inputs: Sequence[Any], x: Array) -> Rows:
    """The rows of the Jacobian at the inputs x `[N, ...]`, a chunk of them at a time."""
    one = functools.partial(_row, plan, inputs)
    count = x.shape[0]
    kind = jax.eval_shape(one, jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
    held = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(kind))
    computed = plan.program.numbers_of_a_row
    chunk = max(1, min(_block(), WORKING // max(held, plan.program.outputs * computed, 1)))
    chunks = -(-count // chunk)
    if chunks == 1:
        return jax.vmap(one)(x)
    chunk = -(-count // chunks)
    # The last row again, so that the chunks are equal: nobody reads what comes of it.
    filled = jnp.concatenate([x, jnp.broadcast_to(x[-1:], (chunks * chunk - count, *x.shape[1:]))])
    result = jax.lax.map(jax.vmap(one), filled.reshape(chunks, chunk, *x.shape[1:]))
    return jax.tree.map(lambda leaf: leaf.reshape(chunks * chunk, *leaf.shape[2:]), result)


def _row(plan: _Plan, inputs: Sequence[Any], row: Array) -> Rows:
    """One row of the Jacobian, without the axis N."""
    program, dtype = plan.program, plan.dtype
    known = programs.structure(program)
    sites = [site for uses in known.sites for site in uses]
    first = program.trained.start

    def function(offsets: list[Any], rest: list[Any]) -> tuple[Any, Any]:
        given = [*inputs, row]
        for leaf, value in zip(known.rest, rest, strict=True):
            given[first + leaf] = value
        added = {
            site.place: offset
            for site, offset in zip(sites, offsets, strict=True)
            if offset is not None
        }
        output, at = program.run(
            given, lambda place, value: value + added[place] if place in added else value
        )
        entering = [
            _entering(program, site, at, dtype, cut=len(uses) == 1 and not plan.in_factors(uses))
            for uses in known.sites
            for site in uses
        ]
        return output, entering

    offsets = [
        None if site.readout is not None else jnp.zeros(kind.shape, kind.dtype)
        for site in sites
        for kind in [program.kind(site.place)]
    ]
    output, pullback, entering = jax.vjp(
        function, offsets, [inputs[first + leaf] for leaf in known.rest], has_aux=True
    )
    if plan.program.outputs == 1:
        signals, slopes = jax.tree.map(lambda leaf: leaf[None], pullback(jnp.ones_like(output)))
    else:
        signals, slopes = jax.vmap(pullback)(jnp.eye(plan.program.outputs, dtype=output.dtype))
    found = iter(zip(sites, signals, entering, strict=True))
    factors, gradients = [], []
    for uses in known.sites:
        parts = [_factors(plan, *next(found)) for _ in uses]
        joined = parts[0] if len(parts) == 1 else _joined(parts)
        if plan.in_factors(uses):
            factors.append(joined)
        else:
            gradients += _products(plan, uses[0], joined)
    gradients += [slope.reshape(plan.program.outputs, -1).astype(dtype) for slope in slopes]
    if plan.with_output:
        gradients.append(output[:, None].astype(dtype))
    if not gradients:
        return Rows(tuple(factors), jnp.zeros((plan.program.outputs, 0), dtype))
    flat = jnp.concatenate(gradients, axis=1)
    if flat.shape[1] > COLUMNS:
        flat = jnp.pad(flat, ((0, 0), (0, -flat.shape[1] % -(-flat.shape[1] // COLUMNS))))
    return Rows(tuple(factors), flat)


def _entering(
    program: Program, site: Site, at: Callable[[Any], Any], dtype: Any, *, cut: bool
) -> tuple[Any, Array, Array | None]:
    """A `[T, fan_in]`, or the rows of a table `[T]`, and the scalar factors of the gradients with
    respect to the leaf and to the bias.

    With `cut` a convolution with a small filter gives a in parts, one for each entry of the filter:
    what gathers them into one array takes longer than to multiply them.
    """
    step = program.steps[site.step]
    value: Any = at(step.inputs[site.entering])
    parameters = step.operation.params
    if site.kind == "dense":
        kept = [i for i in range(value.ndim) if i not in site.axes]
        value = value.transpose(*kept, *site.axes).reshape(site.positions, site.fan_in)
    elif site.kind == "convolution":
        weights = program.kind(step.inputs[1]).shape
        extents = [weights[i] for i in parameters["dimension_numbers"].rhs_spec[2:]]
        if cut and math.prod(extents) <= CUT:
            parts = _cuts(value, extents, parameters)
            value = tuple(part.reshape(site.positions, -1) for part in parts)
        else:
            value = _patches(value, extents, parameters).reshape(site.positions, site.fan_in)
    else:
        value = _looked_up(value[..., 0].reshape(-1), site.fan_in, parameters["mode"])
    behind = site.readout or ()
    bias = None if site.bias is None else _scaled((*site.bias.scales, *behind), at, dtype)
    return value, _scaled((*site.scales, *behind), at, dtype), bias


def _scaled(scales: Sequence[programs.Scale], at: Callable[[Any], Any], dtype: Any) -> Array:
    factor = jnp.ones((), dtype)
    for how, place in scales:
        if how == "neg":
            factor = -factor
        else:
            value = at(place).astype(dtype)
            factor = factor * value if how == "mul" else factor / value
    return factor


def _looked_up(index: Array, size: int, mode: Any) -> Array:
    """Which rows of a table an operation of this mode takes; -1 for none."""
    if mode in (jax.lax.GatherScatterMode.CLIP, jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS):
        return jnp.clip(index, 0, size - 1).astype(jnp.int32)
    return jnp.where((index >= 0) & (index < size), index, -1).astype(jnp.int32)


def _patches(x: Array, extents: Sequence[int], parameters: Any) -> Array:
    """What a convolution multiplies with its weights: `[batch, *positions, inputs × filter]`."""
    if math.prod(extents) <= CUT:
        return jnp.stack(_cuts(x, extents, parameters), axis=-1)
    spatial = tuple(range(2, x.ndim))
    patches = jax.lax.conv_general_dilated_patches(
        x.transpose(parameters["dimension_numbers"].lhs_spec),
        extents,
        parameters["window_strides"],
        parameters["padding"],
        lhs_dilation=parameters["lhs_dilation"],
        rhs_dilation=parameters["rhs_dilation"],
        dimension_numbers=jax.lax.ConvDimensionNumbers(
            (0, 1, *spatial), (0, 1, *spatial), (0, 1, *spatial)
        ),
        precision=jax.lax.Precision.HIGHEST,
    )
    return jnp.moveaxis(patches, 1, -1)


def _cuts(x: Array, extents: Sequence[int], parameters: Any) -> list[Array]:
    """What each entry of a convolution's filter meets: `[batch, *positions, inputs]` for each."""
    numbers = parameters["dimension_numbers"]
    strides, dilation = parameters["window_strides"], parameters["rhs_dilation"]
    inner, padding = parameters["lhs_dilation"], parameters["padding"]
    x = jnp.moveaxis(x.transpose(numbers.lhs_spec), 1, -1)
    widened = [(0, 0, 0), *((*ends, d - 1) for ends, d in zip(padding, inner, strict=True))]
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [*widened, (0, 0, 0)])
    lengths = [
        (size - d * (extent - 1) - 1) // stride + 1
        for size, extent, d, stride in zip(x.shape[1:-1], extents, dilation, strides, strict=True)
    ]
    return [
        jax.lax.slice(
            x,
            (0, *starts, 0),
            (
                x.shape[0],
                *(
                    start + stride * (length - 1) + 1
                    for start, stride, length in zip(starts, strides, lengths, strict=True)
                ),
                x.shape[-1],
            ),
            (1, *strides, 1),
        )
        for starts in itertools.product(
            *(range(0, extent * d, d) for extent, d in zip(extents, dilation, strict=True))
        )
    ]


def _factors(plan: _Plan, site: Site, signal: Array | None, entering: Any) -> Factors:
    """A and b of a site at one row, in the type of the products."""
    value, scale, shift = entering
    dtype = plan.dtype
    if site.kind != "table":
        value = jax.tree.map(lambda part: part.astype(dtype) * scale, value)
    if signal is None:
        return Factors(value, None, shift)
    order = sorted(
        (i for i, label in enumerate(site.labels) if label is not None),
        key=lambda i: site.labels[i] or ("", 0),
    )
    # Axes of length 1 that have no label stand anywhere.
    order = [*(i for i, label in enumerate(site.labels) if label is None), *order]
    signal = signal.transpose(0, *(i + 1 for i in order))
    signal = signal.reshape(-1, site.positions, site.fan_out).astype(dtype)
    if site.kind == "table":
        # A row that is not there has no gradient.
        signal = jnp.where((value >= 0)[None, :, None], signal * scale, 0)
    return Factors(value, signal, shift)


def _joined(parts: Sequence[Factors]) -> Factors:
    """The uses of one leaf are positions of one layer: its gradient is the sum of theirs."""
    return Factors(
        jnp.concatenate([part.entering for part in parts]),
        jnp.concatenate([part.signals for part in parts if part.signals is not None], axis=1),
        None,
    )


def _products(plan: _Plan, site: Site, factors: Factors) -> list[Array]:
    """Σ_t a_t ⊗ b_t, `[K, fan_in × fan_out]`, and the bias's Σ_t b_t."""
    signals = factors.signals
    assert signals is not None
    count = signals.shape[0]
    if site.kind == "table":
        table = jnp.zeros((count, site.fan_in, site.fan_out), signals.dtype)
        # The signal of a row that is not there is 0.
        gradient = table.at[:, jnp.maximum(factors.entering, 0)].add(signals)
        result = [gradient.reshape(count, -1)]
    else:
        result = [
            jnp.einsum("ti,kto->kio", part, signals, precision="highest").reshape(count, -1)
            for part in jax.tree.leaves(factors.entering)
        ]
    if factors.shift is not None:
        result.append(factors.shift * jnp.sum(signals, axis=1))
    return result


# --- products -------------------------------------------------------------------------------------


def _dot(left: Array, right: Array) -> Array:
    """`left @ right.T`, in pieces of the columns: long thin products are slow."""
    columns = left.shape[1]
    pieces = -(-columns // COLUMNS)
    if pieces == 1 or columns % pieces:
        return jnp.matmul(left, right.T, precision="highest")
    width = columns // pieces

    def add(total: Array, start: Array) -> tuple[Array, None]:
        parts = (jax.lax.dynamic_slice_in_dim(x, start, width, axis=1) for x in (left, right))
        one, other = parts
        return total + jnp.matmul(one, other.T, precision="highest"), None

    empty = jnp.zeros((left.shape[0], right.shape[0]), left.dtype)
    return jax.lax.scan(add, empty, jnp.arange(0, columns, width))[0]


def product(plan: _Plan, left: Rows, right: Rows) -> Array:
    """J Jᵀ of two sets of rows: `[N1, N2]` for one output or the trace, else `[N1, N2, K, K]`."""
    outputs = plan.program.outputs
    n1, n2 = (next(leaf.shape[0] for leaf in jax.tree.leaves(side)) for side in (left, right))
    flat = plan.trace or outputs == 1
    total: Any = None  # [N1, N2], or [N1, K, N2, K]
    on_diagonal: Any = None  # [N1, N2], what all outputs have for themselves
    for a, b in zip(left.factors, right.factors, strict=True):
        if a.signals is None:
            value = _same_positions(a, b)
            on_diagonal = value if on_diagonal is None else on_diagonal + value
        else:
            value = _layer(plan, a, b)
            total = value if total is None else total + value
    if left.gradients.shape[2]:
        rows_of = (n1, -1) if flat else (n1 * outputs, -1)
        others = (n2, -1) if flat else (n2 * outputs, -1)
        value = _dot(left.gradients.reshape(rows_of), right.gradients.reshape(others))
        value = value if flat else value.reshape(n1, outputs, n2, outputs)
        total = value if total is None else total + value
    if flat:
        if on_diagonal is not None:
            on_diagonal = outputs * on_diagonal if plan.trace else on_diagonal
            total = on_diagonal if total is None else total + on_diagonal
        return jnp.zeros((n1, n2), plan.dtype) if total is None else total
    if total is None:
        total = jnp.zeros((n1, outputs, n2, outputs), plan.dtype)
    total = total.transpose(0, 2, 1, 3)
    if on_diagonal is not None:
        same = jnp.eye(outputs, dtype=plan.dtype)
        total = total + on_diagonal[:, :, None, None] * same[None, None]
    return total


def _same_positions(a: Factors, b: Factors) -> Array:
    """A · a′ of layers with one position, `[N1, N2]`."""
    gram = _dot(a.entering[:, 0], b.entering[:, 0])
    if a.shift is not None and b.shift is not None:
        gram = gram + a.shift[:, None] * b.shift[None, :]
    return gram


def _layer(plan: _Plan, a: Factors, b: Factors) -> Array:
    """The product of two Gram matrices: `[N1, N2]`, or `[N1, K, N2, K]`."""
    assert a.signals is not None and b.signals is not None
    outputs = plan.program.outputs
    (n1, _, positions, units), n2 = a.signals.shape, b.signals.shape[0]
    flat = plan.trace or outputs == 1
    if positions == 1 and a.entering.ndim == 3:
        gram = _same_positions(a, b)
        if flat:
            return gram * _dot(a.signals.reshape(n1, -1), b.signals.reshape(n2, -1))
        signals = _dot(a.signals.reshape(n1 * outputs, -1), b.signals.reshape(n2 * outputs, -1))
        return gram[:, None, :, None] * signals.reshape(n1, outputs, n2, outputs)

    def block(one: Factors) -> Array:
        """Some rows of the left side against all of the right one."""
        assert one.signals is not None and b.signals is not None
        count = one.entering.shape[0]
        if one.entering.ndim == 2:
            equal = one.entering.reshape(-1, 1) == b.entering.reshape(1, -1)
            gram = equal.astype(plan.dtype)
        else:
            gram = _dot(
                one.entering.reshape(count * positions, -1), b.entering.reshape(n2 * positions, -1)
            )
        gram = gram.reshape(count, 1, positions, n2, 1, positions)
        if one.shift is not None and b.shift is not None:
            shifts = one.shift[:, None] * b.shift[None, :]
            gram = gram + shifts.reshape(count, 1, 1, n2, 1, 1)
        if flat:
            # Outputs side by side: one longer product for all of them.
            sides = [
                s.transpose(0, 2, 1, 3).reshape(s.shape[0] * positions, -1)
                for s in (one.signals, b.signals)
            ]
            signals = _dot(*sides).reshape(count, 1, positions, n2, 1, positions)
            return jnp.sum(gram * signals, axis=(1, 2, 4, 5))
        sides = [s.reshape(-1, units) for s in (one.signals, b.signals)]
        signals = _dot(*sides).reshape(count, outputs, positions, n2, outputs, positions)
        return jnp.sum(gram * signals, axis=(2, 5))

    pairs = n2 * positions**2 * (1 if flat else outputs**2)
    step = max(1, min(n1, WORKING // pairs))
    if step == n1:
        return block(a)
    pieces = -(-n1 // step)
    filled = jax.tree.map(
        lambda leaf: jnp.pad(leaf, [(0, pieces * step - n1)] + [(0, 0)] * (leaf.ndim - 1)), a
    )
    parts = jax.tree.map(lambda leaf: leaf.reshape(pieces, step, *leaf.shape[1:]), filled)
    result = jax.lax.map(block, parts)
    return result.reshape(pieces * step, *result.shape[2:])[:n1]


# --- the kernel -----------------------------------------------------------------------------------

#: A kernel that is being written, and whether it has been finite so far.
_State = tuple[Array, Array]


@functools.partial(jax.jit, static_argnames=("program", "include_output", "trace", "block_size"))
def gram(
    program: Program,
    constants: tuple[Any, ...],
    model: Model,
    x1: Array,
    x2: Array | None,
    *,
    include_output: bool = False,
    trace: bool = False,
    block_size: int | None = None,
) -> tuple[Array, Array]:
    """J(x1) J(x2)ᵀ, `[N1, N2]` or `[N1, N2, K, K]`, and whether it is finite.

    Rows of the Jacobian are computed once, as far as `HELD` or `block_size` allows to hold them.
    With x2=None only pairs of blocks above the diagonal are multiplied, and each is written twice.

    Args:
        program: the model at one row.
        constants: what it reads.
        model: the model, for its arrays.
        x1: inputs `[N1, ...]`.
        x2: inputs `[N2, ...]`, or None for x1.
        include_output: whether f(x) f(x′) is added.
        trace: whether the result is summed over equal outputs.
        block_size: inputs whose rows are held at once.
    """
    plan = _Plan(program, include_output, trace)
    inputs = (*constants, *model.trained, *jax.tree.leaves(model.passed))
    compute = functools.partial(rows, plan, inputs)
    symmetric = x2 is None
    right = x1 if x2 is None else x2
    n1, n2 = x1.shape[0], right.shape[0]
    outputs, dtype = program.outputs, program.kind(program.output).dtype
    shape = (n1, n2) if trace or outputs == 1 else (n1, n2, outputs, outputs)
    tile = max(1, _block() // (1 if trace else outputs))

    one = functools.partial(_row, plan, inputs)
    row = jax.eval_shape(one, jax.ShapeDtypeStruct(x1.shape[1:], x1.dtype))
    length = max(1, sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(row)))
    most = max(FEWEST, HELD // length) if block_size is None else block_size

    def write(
        state: _State, left: Rows, right: Rows, origin: Array, blocks: _Blocks, mirrored: bool
    ) -> _State:
        """Multiply pairs of blocks of two sides, which begin at `origin` in the kernel."""

        def step(state: _State, start: Array) -> tuple[_State, None]:
            kernel, finite = state
            corner = origin + start
            value = product(
                plan,
                _part(left, start[0], blocks.sizes[0]),
                _part(right, start[1], blocks.sizes[1]),
            ).astype(dtype)
            rest = [jnp.zeros_like(corner[0])] * (len(shape) - 2)
            if mirrored:
                if blocks.sizes[0] == blocks.sizes[1]:
                    # A block on the diagonal is its own transpose, to the last digit.
                    value = jax.lax.cond(
                        corner[0] == corner[1], _mirrored, lambda value: value, value
                    )
                kernel = jax.lax.dynamic_update_slice(
                    kernel, _transposed(value), (corner[1], corner[0], *rest)
                )
            kernel = jax.lax.dynamic_update_slice(kernel, value, (corner[0], corner[1], *rest))
            return (kernel, finite & jnp.all(jnp.isfinite(value))), None

        return jax.lax.scan(step, state, jnp.asarray(blocks.starts, jnp.int32))[0]

    with jax.default_matmul_precision("highest"):
        if max(n1, n2) <= min(most, tile):
            left = _part(compute(x1), 0, n1)
            value = product(plan, left, left if symmetric else _part(compute(right), 0, n2))
            value = (_mirrored(value) if symmetric else value).astype(dtype)
            return value, jnp.all(jnp.isfinite(value))

        state: _State = (jnp.zeros(shape, dtype), jnp.asarray(True))
        nowhere = jnp.zeros(2, jnp.int32)
        if max(n1, n2) <= most:
            left = compute(x1)
            other = left if symmetric else compute(right)
            return write(state, left, other, nowhere, _blocks(n1, n2, tile, symmetric), symmetric)

        def across(state: _State, start: Array) -> tuple[_State, None]:
            left, other = (
                compute(jax.lax.dynamic_slice_in_dim(x, at, size))
                for x, at, size in zip((x1, right), start, held.sizes, strict=True)
            )
            return write(
                state, left, other, start, _blocks(*held.sizes, tile, False), symmetric
            ), None

        def along(state: _State, start: Array) -> tuple[_State, None]:
            left = compute(jax.lax.dynamic_slice_in_dim(x1, start[0], held.sizes[0]))
            blocks = _blocks(*held.sizes, tile, True)
            return write(state, left, left, start, blocks, True), None

        held = _blocks(n1, n2, most, symmetric)
        apart = [start for start in held.starts if not symmetric or start[0] != start[1]]
        if apart:
            state, _ = jax.lax.scan(across, state, jnp.asarray(apart, jnp.int32))
        if symmetric:
            # Last, so that both halves of what two of them share come from the same product.
            same = [start for start in held.starts if start[0] == start[1]]
            state, _ = jax.lax.scan(along, state, jnp.asarray(same, jnp.int32))
        return state


class _Blocks(NamedTuple):
    """Equal blocks that cover a matrix; the last may overlap its neighbour.

    Attributes:
        starts: of each block, its first row and column.
        sizes: of all blocks.
    """

    starts: list[tuple[int, int]]
    sizes: tuple[int, int]


def _blocks(n1: int, n2: int, most: int, upper: bool) -> _Blocks:
    """Blocks of at most `most` rows and columns; `upper`: only those on or above the diagonal."""

    def along(n: int) -> tuple[list[int], int]:
        count = -(-n // most)
        size = -(-n // count)
        return [min(k * size, n - size) for k in range(count)], size

    (rows, height), (columns, width) = along(n1), along(n2)
    starts = [(i, j) for i in rows for j in columns if not upper or i <= j]
    return _Blocks(starts, (height, width))


def _part(side: Rows, start: Any, size: int) -> Rows:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), side)


def _transposed(value: Array) -> Array:
    return jnp.swapaxes(value if value.ndim == 2 else value.transpose(0, 1, 3, 2), 0, 1)


def _mirrored(value: Array) -> Array:
    """A square block with what stands above its diagonal below it too."""
    # Looked up, not chosen from the block and its transpose: a compiler may compute these twice,
    # and round differently.
    n = value.shape[0]
    outputs = 1 if value.ndim == 2 else value.shape[2]
    place = jnp.arange(n)[:, None] * outputs + jnp.arange(outputs)[None, :]
    first, second = place[:, None, :, None], place[None, :, None, :]
    low, high = jnp.minimum(first, second), jnp.maximum(first, second)
    (i, k), (j, m) = divmod(low, outputs), divmod(high, outputs)
    return value.reshape(-1)[((i * n + j) * outputs + k) * outputs + m].reshape(value.shape)
