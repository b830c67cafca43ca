"""Rows of Jacobians and their products, for models of many kinds, against stored Jacobians."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ntklab import jacobians, models
from ntklab.networks import mlp
from ntklab.statistics import fit_power_law
from ntklab.tangent_kernel import empirical_ntk, ntk_vector_product

FLOAT = jnp.result_type(float)
# Sums of a few hundred products, relative to the largest entry.
ROUNDING = 500 * float(jnp.finfo(FLOAT).eps)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), FLOAT)


def tokens(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 11, shape), jnp.int32)


def stored(apply, params, x1, x2):
    """The definition: the product of two whole Jacobians, in float64, `[N1, N2, K, K]`."""
    model = models.view(apply, params)

    @jax.jit
    def jacobian(x):
        return jax.jacrev(lambda p: model.at(p)(x).reshape(x.shape[0], -1))(model.trained)

    left, right = (
        np.concatenate(
            [np.asarray(leaf, float).reshape(*leaf.shape[:2], -1) for leaf in jacobian(x)], axis=2
        )
        for x in (x1, x2)
    )
    return np.einsum("ikp,jlp->ijkl", left, right)


# --- models of many kinds -------------------------------------------------------------------------

convolve = functools.partial(
    jax.lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC")
)


def dense(p, x):
    for w, b in zip(p["w"], p["b"], strict=True):
        x = jax.nn.softplus(x @ w + b)
    return x @ p["v"] * p["scale"]


def convolutional(p, x):
    x = jnp.tanh(convolve(x, p["k"], (1, 1), "SAME") + p["b"])
    x = jnp.tanh(convolve(x, p["l"], (2, 1), [(1, 0), (0, 1)], rhs_dilation=(1, 2)) * p["g"])
    return jnp.mean(x, axis=(1, 2)) @ p["v"]


def transposed(p, x):
    x = jax.lax.conv_transpose(x, p["k"], (2, 2), "SAME")
    return jnp.sum(jnp.tanh(convolve(x, p["l"], (3, 3), [(1, 2), (0, -1)])), axis=(1, 2))


def grouped(p, x):
    """Groups, and weights that are standardized."""
    x = jnp.tanh(convolve(x, p["k"], (1, 1), "SAME", feature_group_count=2))
    w = p["l"]
    w = (w - jnp.mean(w, axis=(0, 1, 2))) / jnp.std(w, axis=(0, 1, 2))
    return jnp.sum(jnp.tanh(convolve(x, w, (1, 1), "VALID")), axis=(1, 2))


def attention(p, t):
    x = p["table"][t] + p["place"]
    mean = jnp.mean(x, axis=-1, keepdims=True)
    y = (x - mean) / jnp.sqrt(jnp.var(x, axis=-1, keepdims=True) + 1e-3) * p["g"] + p["c"]
    q, k, v = (jnp.einsum("ntd,dhk->nthk", y, p[name]) for name in "qkv")
    weights = jax.nn.softmax(jnp.einsum("nthk,nshk->nhts", q, k + p["b"]))
    x = x + jnp.einsum("nthk,hkd->ntd", jnp.einsum("nhts,nshk->nthk", weights, v), p["o"])
    x = x + jnp.tanh(x @ p["w"] + p["e"]) @ p["u"]
    return jnp.mean(x, axis=1) @ p["r"]


def tied(p, t):
    return (jnp.tanh(jnp.sum(p["table"][t], axis=1)) @ p["table"].T)[:, :2]


def missing_rows(p, t):
    """Looked up beyond the end: filled with zeros, of no gradient."""
    return jnp.sum(jnp.take(p, 2 * t, axis=0, mode="fill", fill_value=0), axis=1)


def twice(p, x):
    return jnp.tanh(jnp.tanh(x @ p["w"]) @ p["w"]) @ p["v"]


def twice_turned(p, x):
    return jnp.tanh(jnp.tanh(x @ p["w"]) @ p["w"].T) @ p["v"]


def scanned(p, x):
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, p["w"])[0] @ p["v"]


def branching(p, x):
    def one(r):
        return jax.lax.cond(r[0] > 0, lambda: jnp.tanh(r @ p["w"]), lambda: r @ p["u"])

    return jax.vmap(one)(x)


def backwards(p, x):
    """A dense layer and an activation with derivatives of their own."""
    layer = jax.custom_vjp(lambda w, x: x @ w)
    layer.defvjp(lambda w, x: (x @ w, (w, x)), lambda held, s: (held[1].T @ s, s @ held[0].T))
    sine = jax.custom_vjp(jnp.sin)
    sine.defvjp(lambda z: (jnp.sin(z), z), lambda z, s: (s * jnp.cos(z),))
    return sine(layer(p["w"], sine(x @ p["u"]))) @ p["v"]


def recomputed(p, x):
    return jax.checkpoint(lambda p, x: jnp.tanh(x @ p["w"] + p["b"]))(p, x) @ p["v"]


def normalized(p, x):
    """A gain in front of a direction."""
    w = p["w"] / jnp.sqrt(jnp.sum(p["w"] ** 2, axis=0)) * p["g"]
    return jnp.tanh(x @ w) @ p["v"]


def scaled_by_a_leaf(p, x):
    return jnp.tanh(p["s"] * x @ (p["s"] * p["w"]) - p["b"]) @ p["v"] + p["c"]


def many_outputs(p, x):
    return jnp.tanh(x @ p["w"]) @ p["v"]


def flax_linen():
    from flax import linen

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.Conv(4, (3, 3), param_dtype=FLOAT)(x)
            x = linen.LayerNorm(param_dtype=FLOAT)(jnp.tanh(x))
            x = linen.MultiHeadDotProductAttention(2, param_dtype=FLOAT)(
                x.reshape(x.shape[0], -1, 4)
            )
            return linen.Dense(2, param_dtype=FLOAT)(jnp.mean(x, axis=1))

    model = Model()
    return model.apply, model.init(jax.random.key(0), normal(0, 1, 4, 4, 2)), (4, 4, 2)


def flax_nnx():
    from flax import nnx

    class Model(nnx.Module):
        def __init__(self, rngs):
            options = {"param_dtype": FLOAT, "rngs": rngs}
            self.first = nnx.Linear(3, 5, **options)
            self.norm = nnx.LayerNorm(5, **options)
            self.last = nnx.Linear(5, 1, **options)

        def __call__(self, x):
            return self.last(jnp.tanh(self.norm(self.first(x))))

    graph, state = nnx.split(Model(nnx.Rngs(0)))
    return lambda state, x: nnx.merge(graph, state)(x), state, (3,)


def equinox():
    import equinox as eqx

    module = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(2, 3, 3, dtype=FLOAT, key=jax.random.key(0)),
            eqx.nn.Lambda(jnp.tanh),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.MLP(12, 2, 5, 1, dtype=FLOAT, key=jax.random.key(1)),
        ]
    )
    return lambda module, x: jax.vmap(module)(x), module, (2, 4, 4)


N = normal
KINDS = {
    "dense": (
        dense,
        {"w": [N(0, 3, 5), N(1, 5, 4)], "b": [N(2, 5), N(3, 4)], "v": N(4, 4), "scale": 2.0},
        (3,),
    ),
    "convolutional": (
        convolutional,
        {"k": N(0, 3, 3, 2, 4), "b": N(1, 4), "l": N(2, 3, 2, 4, 5), "g": N(3, 5), "v": N(4, 5, 2)},
        (6, 7, 2),
    ),
    "transposed": (transposed, {"k": N(0, 3, 3, 2, 3), "l": N(1, 9, 8, 3, 2)}, (6, 6, 2)),
    "grouped": (grouped, {"k": N(0, 3, 3, 1, 4), "l": N(1, 3, 3, 4, 2)}, (5, 5, 2)),
    "attention": (
        attention,
        {
            "table": N(0, 11, 8), "place": N(1, 5, 8), "g": N(2, 8), "c": N(3, 8),
            "q": N(4, 8, 2, 4), "k": N(5, 8, 2, 4), "v": N(6, 8, 2, 4), "b": N(7, 2, 4),
            "o": N(8, 2, 4, 8), "w": N(9, 8, 16), "e": N(10, 16), "u": N(11, 16, 8),
            "r": N(12, 8, 1),
        },
        5,
    ),
    "tied": (tied, {"table": N(0, 11, 4)}, 3),
    "missing rows": (missing_rows, N(0, 11, 4), 3),
    "a table of long rows": (lambda p, t: jnp.sum(jnp.sin(p[t]), 1) @ N(1, 9), N(0, 11, 9), 2),
    "twice": (twice, {"w": N(0, 4, 4), "v": N(1, 4, 2)}, (4,)),
    "twice turned": (twice_turned, {"w": N(0, 4, 4), "v": N(1, 4, 2)}, (4,)),
    "scanned": (scanned, {"w": N(0, 3, 4, 4), "v": N(1, 4, 2)}, (4,)),
    "branching": (branching, {"w": N(0, 4, 2), "u": N(1, 4, 2)}, (4,)),
    "backwards": (backwards, {"u": N(0, 4, 5), "w": N(1, 5, 5), "v": N(2, 5, 2)}, (4,)),
    "recomputed": (recomputed, {"w": N(0, 4, 4), "b": N(1, 4), "v": N(2, 4)}, (4,)),
    "normalized": (normalized, {"w": N(0, 4, 5), "g": N(1, 5), "v": N(2, 5, 2)}, (4,)),
    "scaled by a leaf": (
        scaled_by_a_leaf,
        {"s": 1.5, "w": N(0, 4, 4), "b": N(1, 4), "v": N(2, 4, 2), "c": 0.5},
        (4,),
    ),
    "many outputs": (many_outputs, {"w": N(0, 4, 3), "v": N(1, 3, 7)}, (4,)),
    "flax linen": flax_linen,
    "flax nnx": flax_nnx,
    "equinox": equinox,
}  # fmt: skip


@pytest.fixture
def libraries():
    """The layers of Flax and Equinox mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.once
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", KINDS)
def test_the_kernel_is_that_of_stored_jacobians(name, libraries):
    kind = KINDS[name]
    apply, params, shape = kind() if callable(kind) else kind
    draw = functools.partial(tokens) if isinstance(shape, int) else normal
    shape = (shape,) if isinstance(shape, int) else shape
    x1, x2 = draw(20, 7, *shape), draw(21, 4, *shape)
    joint = stored(apply, params, x1, jnp.concatenate([x1, x2]))
    scale = np.max(np.abs(joint))
    for right, expected in ((None, joint[:, :7]), (x2, joint[:, 7:])):
        whole = expected[:, :, 0, 0] if expected.shape[2] == 1 else expected
        for block_size in (None, 3):
            kernel = empirical_ntk(apply, params, x1, right, block_size=block_size)
            np.testing.assert_allclose(kernel, whole, rtol=0, atol=ROUNDING * scale)
            if right is None:
                turned = np.asarray(kernel)
                turned = turned.T if turned.ndim == 2 else turned.transpose(1, 0, 3, 2)
                np.testing.assert_array_equal(kernel, turned)
        trace = empirical_ntk(apply, params, x1, right, trace=True)
        sums = np.einsum("ijkk->ij", expected)
        np.testing.assert_allclose(trace, sums, rtol=0, atol=ROUNDING * scale * len(expected[0, 0]))
    vector = normal(22, 4, joint.shape[2])
    output = apply(params, x2)
    product = ntk_vector_product(apply, params, x1, vector.reshape(output.shape), x2)
    expected = np.einsum("ijkl,jl->ik", joint[:, 7:], np.asarray(vector, float))
    np.testing.assert_allclose(
        np.asarray(product, float).reshape(expected.shape),
        expected,
        rtol=0,
        atol=4 * ROUNDING * scale,
    )


def test_chunks_and_pieces_give_the_same_kernel(monkeypatch):
    """Where little is held, computed or multiplied at once."""
    for name in ("attention", "convolutional", "many outputs"):
        apply, params, shape = KINDS[name]
        x = tokens(0, 7, shape) if isinstance(shape, int) else normal(0, 7, *shape)
        expected = empirical_ntk(apply, params, x)
        for limit, value in (("WORKING", 2000), ("COLUMNS", 10), ("BLOCK", 3), ("HELD", 1)):
            with monkeypatch.context() as patch:
                patch.setattr(jacobians, limit, value)
                patch.setattr(jacobians, "FEWEST", 2)
                jax.clear_caches()
                kernel = empirical_ntk(apply, params, x)
            scale = float(jnp.max(jnp.abs(expected)))
            np.testing.assert_allclose(kernel, expected, rtol=0, atol=ROUNDING * scale)
        jax.clear_caches()


def test_in_vmap_and_jit():
    keys = jax.random.split(jax.random.key(0), 3)
    x = normal(0, 7, 3)

    def kernel(key):
        p = {"w": jax.random.normal(key, (3, 4), FLOAT), "v": jnp.ones(4, FLOAT)}
        return empirical_ntk(lambda p, x: jnp.tanh(x @ p["w"]) @ p["v"], p, x, block_size=3)

    batch = jax.jit(jax.vmap(kernel))(keys)
    np.testing.assert_allclose(batch[1], kernel(keys[1]), rtol=0, atol=ROUNDING * 10)


# --- cost -----------------------------------------------------------------------------------------


def compiled(apply, params, x, **options):
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    kernel = jax.jit(lambda params, x: empirical_ntk(apply, params, x, **options))
    return kernel.lower(shapes, x).compile()


@pytest.mark.once
@pytest.mark.parametrize("kind", ["dense", "gradients"])
def test_memory_is_bounded_by_the_block(kind):
    """It grows with the rows that are held, not with all of them times the parameters."""
    network = mlp((64, 64, 1), activation="tanh")
    params = network.init(jax.random.key(0), 8)

    def apply(params, x):
        hidden = jax.tree.map(lambda leaf: leaf * (1 + 0 * leaf), params)
        return network.apply(params if kind == "dense" else hidden, x)

    def temporary(n, block_size):
        x = jax.ShapeDtypeStruct((n, 8), FLOAT)
        program = compiled(apply, params, x, block_size=block_size)
        return program.memory_analysis().temp_size_in_bytes

    small, large = temporary(128, 16), temporary(512, 16)
    kernels = 2 * 512**2 * FLOAT.itemsize  # the result, and as much to write it
    assert large < small + kernels
    assert temporary(128, 128) > 2 * small
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert large - kernels < 512 * parameters * FLOAT.itemsize / 4


@pytest.mark.once
def test_signals_are_computed_once_and_half_of_the_blocks(monkeypatch):
    """Blocks are counted by the loop over them, rows by the programs that compute them."""
    rows, starts = [], []
    compute, scan = jacobians.rows, jax.lax.scan

    def counted(plan, inputs, x):
        rows.append(len(x))
        return compute(plan, inputs, x)

    def counting(f, init, xs, *args, **kwargs):
        starts.append(len(xs))
        return scan(f, init, xs, *args, **kwargs)

    network = mlp((4, 1), activation="tanh")
    params, x = network.init(jax.random.key(0), 3), normal(0, 160, 3)
    monkeypatch.setattr(jacobians, "rows", counted)
    monkeypatch.setattr(jacobians, "BLOCK", 16)
    monkeypatch.setattr(jax.lax, "scan", counting)
    jax.clear_caches()
    empirical_ntk(network.apply, params, x)
    assert rows == [160] and starts[-1] == 10 * 11 // 2
    rows.clear()
    empirical_ntk(network.apply, params, x, x)
    assert rows == [160, 160] and starts[-1] == 100


def multiplications(jaxpr):
    """Of the matrix products in a program, loops with all their turns."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (left, _), _ = eqn.params["dimension_numbers"]
            summed = (eqn.invars[0].aval.shape[axis] for axis in left)
            total += math.prod(eqn.outvars[0].aval.shape) * math.prod(summed)
        times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        for value in eqn.params.values():
            for part in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(part, "jaxpr", part)
                total += times * multiplications(inner) if hasattr(inner, "eqns") else 0
    return total


# Points, width and hidden layers: where the products of pairs decide, and where the signals do.
SIZES = {
    "points": [(4096, 32, 2), (8192, 32, 2), (16384, 32, 2)],
    "width": [(8192, 32, 2), (8192, 64, 2), (8192, 128, 2)],
    "depth": [(8192, 64, 2), (8192, 64, 4), (8192, 64, 8)],
    "width of few points": [(64, 256, 2), (64, 512, 2), (64, 1024, 2)],
}


@pytest.mark.once
@pytest.mark.parametrize(("grown", "least", "most"), [
    ("points", 1.85, 2), ("width", 0.9, 1), ("depth", 0.9, 1), ("width of few points", 1.7, 2),
])  # fmt: skip
def test_cost_grows_as_theory_says(grown, least, most):
    """N²/2 · (d + 2mL) multiplications for pairs, and for the signals at each point one a parameter
    forwards and, between hidden layers, one back.
    """
    d = 16

    def counted(n, m, depth):
        network = mlp((*[m] * depth, 1))
        params = jax.eval_shape(lambda key: network.init(key, d), jax.random.key(0))
        kernel = jax.make_jaxpr(lambda params, x: empirical_ntk(network.apply, params, x))
        return multiplications(kernel(params, jax.ShapeDtypeStruct((n, d), FLOAT)).jaxpr)

    def theory(n, m, depth):
        # Blocks on the diagonal are computed whole.
        pairs = n**2 / 2 * (1 + 1 / -(-n // jacobians.BLOCK))
        return pairs * (d + 2 * m * depth) + n * (d * m + 2 * (depth - 1) * m**2 + m)

    sizes = SIZES[grown]
    axis = 0 if grown == "points" else 1 if grown.startswith("width") else 2
    costs = [[counted(*size)] for size in sizes]
    exponent = fit_power_law([size[axis] for size in sizes], costs).exponent
    assert least < exponent < most + 0.01
    np.testing.assert_allclose(np.ravel(costs), [theory(*size) for size in sizes], rtol=0.01)


@pytest.mark.once
@pytest.mark.parametrize(("n", "m", "d", "outputs"), [
    (2000, 256, 64, 1), (4000, 128, 64, 1), (4000, 1024, 784, 1), (1000, 256, 64, 4),
])  # fmt: skip
def test_temporary_memory_is_that_of_result_and_signals(n, m, d, outputs):
    """Three hidden layers: what enters the four, and the signals behind the three."""
    network = mlp((m, m, m, outputs))
    params = jax.eval_shape(lambda key: network.init(key, d), jax.random.key(0))
    program = compiled(network.apply, params, jax.ShapeDtypeStruct((n, d), FLOAT))
    taken = program.memory_analysis()
    result = n**2 * outputs**2 * FLOAT.itemsize
    signals = n * (d + 3 * m + 3 * m * outputs) * FLOAT.itemsize
    assert taken.output_size_in_bytes - result < 100  # and whether it is finite
    assert taken.temp_size_in_bytes <= 1.2 * (result + signals)


# --- rows that see each other ---------------------------------------------------------------------

X, W = normal(0, 5, 3), normal(1, 3, 2)


def noisy(w, x):
    return x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape).astype(x.dtype) @ w


COUPLED = {
    "a mean": (lambda w, x: x @ w - jnp.mean(x @ w, axis=0), X),
    "a very small mean": (lambda w, x: x @ w - 1e-3 * jnp.mean(x @ w, axis=0), X),
    "rows behind": (lambda w, x: jnp.cumsum(x @ w, axis=0), X),
    "rows before": (lambda w, x: jax.lax.cumsum(x @ w, reverse=True), X),
    "a softmax over rows": (lambda w, x: jax.nn.softmax(x @ w, axis=0), X),
    "tokens": (lambda w, t: jnp.sum(w[t], 1) - jnp.mean(w[t], (0, 1)), tokens(0, 4, 2) % 3),
    "noise": (noisy, X),
    "noise on tokens": (
        lambda w, t: jnp.sum(noisy(jnp.ones((2, 2), FLOAT), w[t]), 1),
        tokens(0, 4, 2) % 3,
    ),
    "the place": (lambda w, x: x @ w * jnp.arange(1, len(x) + 1, dtype=x.dtype)[:, None], X),
}  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("name", COUPLED)
def test_rows_that_see_each_other_are_named(name, count, no_hook):
    apply, x = COUPLED[name]
    x = x[:count]
    product = functools.partial(ntk_vector_product, vector=jnp.ones((count, 2)))
    message = r"^apply must treat each row of x1 by itself, got .* row \d .* row \d"
    for function in (empirical_ntk, product):
        with pytest.raises(ValueError, match=message):
            function(apply, W, x)


def test_batch_normalization_in_training_is_named(no_hook, libraries):
    from flax import linen

    norm = linen.BatchNorm(use_running_average=False, param_dtype=FLOAT)
    variables = norm.init(jax.random.key(0), X)

    def apply(variables, x):
        return norm.apply(variables, x, mutable=["batch_stats"])[0]

    with pytest.raises(ValueError, match=r"^apply must treat each row of x1 by itself"):
        empirical_ntk(apply, variables, X)


@pytest.mark.parametrize(
    "apply",
    [
        lambda w, x: jnp.tanh(x @ w) - jnp.tanh(x @ W),  # 0 at these parameters
        lambda w, x: jnp.tanh(1e-6 * x @ w) - 1e-6 * jnp.tanh(x @ W),
        lambda w, x: 1e8 + x @ w,
        lambda w, x: jnp.where(x[:, :1] > 0, jnp.nan, 1) * (x @ w),
    ],
)
def test_rows_that_only_round_differently_are_apart(apply):
    """At the same place nothing changes by a bit; elsewhere it is looked at away from 0."""
    model = models.view(apply, W)
    jacobians.program_of("x1", model, X)
    jacobians.program_of("x1", model, X[:1])


# --- what a function reads ------------------------------------------------------------------------


def test_a_value_that_a_closure_reads_is_current():
    scale = 1.0

    def apply(w, x):
        return scale * x @ w

    before = empirical_ntk(apply, W, X), ntk_vector_product(apply, W, X, jnp.ones((5, 2)))
    scale = 10.0
    after = empirical_ntk(apply, W, X), ntk_vector_product(apply, W, X, jnp.ones((5, 2)))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, 100 * one, rtol=1e-5)


def test_an_object_that_changed_is_current():
    """Bound methods and activations; NNX modules that are updated in place are such objects."""

    class Model:
        def __init__(self):
            self.power = 1

        def apply(self, w, x):
            return (x @ w) ** self.power

    model, network = Model(), mlp((4, 1), activation=lambda z: slope * z)
    slope, params = 1.0, mlp((4, 1)).init(jax.random.key(0), 3)
    before = empirical_ntk(model.apply, W, X), empirical_ntk(network.apply, params, X)
    output = network.apply(params, X)
    model.power, slope = 2, 3.0
    squares = stored(lambda w, x: (x @ w) ** 2, W, X, X)
    after = empirical_ntk(model.apply, W, X), empirical_ntk(network.apply, params, X)
    np.testing.assert_allclose(after[0], squares, rtol=0, atol=ROUNDING * np.max(squares))
    assert not np.allclose(before[0], after[0])
    np.testing.assert_allclose(after[1], 9 * before[1], rtol=1e-5)
    np.testing.assert_allclose(network.apply(params, X), 3 * output, rtol=1e-5)


def test_a_module_that_is_updated_in_place(libraries):
    from flax import nnx

    module = nnx.Linear(3, 1, param_dtype=FLOAT, rngs=nnx.Rngs(0))
    module.scale = 1.0
    apply = lambda module, x: module.scale * module(x)  # noqa: E731
    before = empirical_ntk(apply, module, X)
    module.scale = 2.0
    np.testing.assert_allclose(empirical_ntk(apply, module, X), 4 * before, rtol=1e-5)


def test_a_derivative_of_the_models_own_is_current():
    slope = 1.0
    activation = jax.custom_jvp(jnp.tanh)
    activation.defjvp(lambda z, change: (jnp.tanh(z[0]), slope * change[0]))
    apply = lambda w, x: activation(x @ w)  # noqa: E731
    before = empirical_ntk(apply, W, X)
    slope = 10.0
    np.testing.assert_allclose(empirical_ntk(apply, W, X), 100 * before, rtol=1e-5)


# --- types ----------------------------------------------------------------------------------------


def test_ranks_need_not_be_promoted():
    network = mlp(np.array([4, 2]), activation="tanh", b_std=0.5)
    params = network.init(jax.random.key(0), 3, dtype=FLOAT)
    options = {"include_output": True, "block_size": 2}
    expected = empirical_ntk(network.apply, params, X, **options)
    jax.clear_caches()
    with jax.numpy_rank_promotion("raise"):
        kernel = empirical_ntk(network.apply, params, X, **options)
        empirical_ntk(network.apply, params, X, trace=True)
        ntk_vector_product(network.apply, params, X, jnp.ones((5, 2), FLOAT))
    np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-4)


def test_half_precision_is_multiplied_in_single():
    """2048 products of 8 and 8 are beyond float16; the signal divides them by 16²."""
    x = jnp.full((2, 2048), 8, jnp.float16)
    kernel = empirical_ntk(lambda w, x: x @ w / 16, jnp.zeros(2048, jnp.float16), x)
    assert kernel.dtype == jnp.float16
    np.testing.assert_array_equal(kernel, np.full((2, 2), 512))


@pytest.mark.parametrize("value", [np.ones((2, 3), np.longdouble)])
def test_longer_floats_are_named(value, no_hook):
    with pytest.raises(ValueError, match=r"^x1 must be of float64 at most, got float"):
        empirical_ntk(lambda w, x: x @ w, W, value)
    with pytest.raises(ValueError, match=r"^params must be of float64 at most, got float"):
        empirical_ntk(lambda w, x: x @ w[0], value, X)
