"""Models of any library: what of them is trained, and the same in all functions that take one."""

import functools
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ntklab import descent, jacobians, models, networks, tangent_kernel, weak_learning
from ntklab.descent import descend
from ntklab.linearization import linearize
from ntklab.problems import Distribution
from ntklab.tangent_kernel import empirical_ntk, infinite_ntk, nngp, ntk_vector_product
from ntklab.weak_learning import average_tangent_kernel, label_free_run, tangent_features

# Flax and Equinox make arrays of the default dtype; they are imported where they are used.
pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
FLOAT = jnp.result_type(float)
ROUNDING = 1000 * float(jnp.finfo(FLOAT).eps)


def normal(seed, *shape, dtype=FLOAT):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


@pytest.fixture(autouse=True)
def strict_dtypes():
    """Not here: the layers of Flax and Equinox mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


X = normal(0, 4, 3)
MEMBER = Distribution(
    X, jnp.asarray([0.1, 0.2, 0.3, 0.4], FLOAT), jnp.asarray([1, -1, 0.5, 0], FLOAT)
)


# --- models, each with what its own library trains ------------------------------------------------
#
# (apply, params), and the same model as a function of what is trained alone, by the library's
# own means or written out.


def hand_written():
    fixed = {
        "steps": 2,
        "key": jax.random.key(0),
        "activation": jnp.tanh,
        "mask": np.array([3, 1]),
        "name": "mean",
        "nothing": None,
        "flag": True,
    }
    own = {"weight": normal(1, 3), "scale": 0.5, "shift": np.float64(0.25)}

    def apply(params, x):
        noise = jax.random.normal(params["key"], (3,), x.dtype)
        z = x @ (params["weight"] + noise) * params["steps"] + params["shift"]
        reduced = getattr(jnp, params["name"])(jnp.stack([z, z]), axis=0)
        mask = jnp.asarray(params["mask"][0], x.dtype)
        return params["scale"] * params["activation"](reduced) * mask * params["flag"]

    def of_trained(own, x):
        return apply({**fixed, **own}, x)

    return apply, {**fixed, **own}, of_trained, jax.tree.map(lambda v: jnp.asarray(v, FLOAT), own)


def linen_variables():
    from flax import linen

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.BatchNorm(use_running_average=True, param_dtype=FLOAT)(x)
            x = linen.Dense(5, param_dtype=FLOAT)(x)
            return linen.Dense(1, param_dtype=FLOAT)(jnp.tanh(x))

    model = Model()
    variables = model.init(jax.random.key(0), X)
    stats = {"BatchNorm_0": {"mean": normal(2, 3), "var": normal(3, 3) ** 2}}
    return model.apply, variables["params"], stats


def linen():
    apply, own, stats = linen_variables()
    of_trained = lambda p, x: apply({"params": p, "batch_stats": stats}, x)  # noqa: E731
    return apply, {"params": own, "batch_stats": stats}, of_trained, own


def linen_frozen():
    from flax.core import freeze

    apply, params, of_trained, own = linen()
    return apply, freeze(params), of_trained, own


def linen_pair():
    """`unbiased` makes a pair of the variables."""
    apply, params, of_trained, own = linen()
    pair = networks.unbiased(networks.Network(lambda key, d: params, apply))
    other = {**params, "params": jax.tree.map(lambda p: 1.1 * p, own)}

    def of_both(own, x):
        return (of_trained(own[0], x) - of_trained(own[1], x)) / jnp.asarray(math.sqrt(2), x.dtype)

    return pair.apply, (params, other), of_both, (own, other["params"])


def nnx_module():
    from flax import nnx

    class Model(nnx.Module):
        def __init__(self, rngs):
            options = {"param_dtype": FLOAT, "rngs": rngs}
            self.first = nnx.Linear(3, 5, **options)
            self.norm = nnx.BatchNorm(5, use_running_average=True, **options)
            self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)
            self.last = nnx.Linear(5, 1, **options)
            self.scale = 1.5
            self.activation = jnp.tanh
            self.norm.mean[...] = normal(2, 5, dtype=jnp.float32)
            self.norm.var[...] = normal(3, 5, dtype=jnp.float32) ** 2

        def __call__(self, x):
            x = self.dropout(self.activation(self.norm(self.first(x))))
            return self.scale * self.last(x)

    return Model(nnx.Rngs(0))


def nnx_split():
    from flax import nnx

    module = nnx_module()
    graph, state = nnx.split(module)
    graph_of_three, own, rest = nnx.split(module, nnx.Param, ...)
    return (
        lambda state, x: nnx.merge(graph, state)(x),
        state,
        lambda own, x: nnx.merge(graph_of_three, own, rest)(x),
        own,
    )


def nnx_whole():
    _, _, of_trained, own = nnx_split()
    return lambda module, x: module(x), nnx_module(), of_trained, own


def equinox_module():
    import equinox as eqx

    class Model(eqx.Module):
        mlp: eqx.nn.MLP
        scale: float
        offset: int
        key: jax.Array
        table: np.ndarray
        words: tuple
        mode: str = eqx.field(static=True)

        def __call__(self, x):
            noise = jax.random.normal(self.key, x.shape, x.dtype)
            shift = self.table[self.offset] + 0 * len(self.words[0])
            return self.scale * self.mlp(x + noise) + jnp.asarray(shift, x.dtype)

    mlp = eqx.nn.MLP(3, 1, 5, 1, activation=jnp.tanh, dtype=FLOAT, key=jax.random.key(0))
    table = np.arange(3)
    return Model(mlp, 2.0, 1, jax.random.key(1), table, ("one", None), "mode")


def equinox():
    import equinox as eqx

    module = equinox_module()
    own, rest = eqx.partition(module, eqx.is_inexact_array)
    of_trained = lambda own, x: jax.vmap(eqx.combine(own, rest))(x)  # noqa: E731
    return lambda module, x: jax.vmap(module)(x), module, of_trained, own


def equinox_in_a_dictionary():
    """By hand around a module: each leaf by the rule of where it stands."""
    apply, module, of_trained, own = equinox()
    gain = 0.7

    def outer(params, x):
        return params["gain"] * apply(params["net"], x)

    def of_both(own, x):
        return own["gain"] * of_trained(own["net"], x)

    return outer, {"net": module, "gain": gain}, of_both, {"net": own, "gain": jnp.asarray(gain)}


def equinox_state():
    """Running means in a state beside the module."""
    import equinox as eqx

    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(
        3, "batch", mode="ema", inference=True, dtype=FLOAT
    )
    state = state.set(norm.ema_state_index, (normal(2, 3), normal(3, 3) ** 2))
    state = state.set(norm.ema_first_time_index, jnp.asarray(False))
    weight = normal(4, 3)

    def normalized(norm, state, x):
        return jax.vmap(lambda row: norm(row, state)[0], axis_name="batch")(x)

    def apply(params, x):
        norm, state, weight = params
        return normalized(norm, state, x) @ weight

    def of_trained(own, x):
        return normalized(eqx.combine(own[0], norm), state, x) @ own[1]

    own = eqx.filter(norm, eqx.is_inexact_array)
    return apply, (norm, state, weight), of_trained, (own, weight)


MODELS = [
    hand_written,
    linen,
    linen_frozen,
    linen_pair,
    nnx_split,
    nnx_whole,
    equinox,
    equinox_in_a_dictionary,
    equinox_state,
]
every_model = pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
one_of_each = pytest.mark.parametrize(
    "make", [hand_written, linen, nnx_split, equinox], ids=lambda make: make.__name__
)


def outputs_and_jacobian(of_trained, own, x):
    """In float64, `[N]` and `[N, p]`, with the leaves of `own` in their order."""
    single = lambda p: jnp.ravel(of_trained(p, x))  # noqa: E731
    slopes = jax.tree.leaves(jax.jit(jax.jacobian(single))(own))
    columns = [np.asarray(leaf, float).reshape(len(x), -1) for leaf in slopes]
    return np.asarray(single(own), float), np.concatenate(columns, axis=1)


def flat(tree):
    return np.concatenate([np.ravel(np.asarray(leaf, float)) for leaf in jax.tree.leaves(tree)])


def close(actual, expected):
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(np.asarray(actual, float), expected, rtol=0, atol=ROUNDING * scale)


def split(params):
    """The trained leaves as one vector, and all others."""
    leaves, flags = jax.tree.leaves(params), jax.tree.leaves(models.trained(params))
    own = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]
    return flat(own), [leaf for leaf, flag in zip(leaves, flags, strict=True) if not flag]


def same_leaves(left, right):
    for a, b in zip(left, right, strict=True):
        if isinstance(a, jax.Array | np.ndarray):
            assert a.dtype == b.dtype
            if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                a, b = jax.random.key_data(a), jax.random.key_data(b)
            np.testing.assert_array_equal(a, b)
        else:
            assert a is b


@every_model
def test_what_is_trained(make):
    _, params, _, own = make()
    trained, _ = split(params)
    np.testing.assert_allclose(np.sort(trained), np.sort(flat(own)), rtol=1e-6)


@every_model
def test_the_same_kernel_from_every_function(make):
    apply, params, of_trained, own = make()
    f, jacobian = outputs_and_jacobian(of_trained, own, X)
    expected = jacobian @ jacobian.T
    close(empirical_ntk(apply, params, X), expected)
    close(empirical_ntk(apply, params, X, include_output=True), expected + np.outer(f, f))
    features = np.asarray(tangent_features(apply, params, X), float)
    close(features[:, 0], f)
    close(features[:, 1:] @ features[:, 1:].T, expected)
    v = normal(9, 4)
    output = jax.eval_shape(lambda x: apply(params, x), X)
    product = ntk_vector_product(apply, params, X, v.reshape(output.shape))
    assert product.shape == output.shape
    close(product.ravel(), expected @ np.asarray(v, float))


@every_model
def test_the_same_expansion(make):
    """Moved by a vector along the trained leaves, in their own order and structure."""
    apply, params, of_trained, own = make()
    leaves, treedef = jax.tree.flatten(params)
    flags = jax.tree.leaves(models.trained(params))
    moved = [
        leaf + normal(i, *np.shape(leaf)) if flag else leaf
        for i, (leaf, flag) in enumerate(zip(leaves, flags, strict=True))
    ]
    change = [a - b for a, b, flag in zip(moved, leaves, flags, strict=True) if flag]
    # The trained leaves come in the same order alone as among all others, but for names' order.
    f, _ = outputs_and_jacobian(of_trained, own, X)
    features = np.asarray(tangent_features(apply, params, X), float)
    expected = f + features[:, 1:] @ flat(change)
    tangent = linearize(apply, params)
    close(tangent(params, X).ravel(), f)
    close(tangent(jax.tree.unflatten(treedef, moved), X).ravel(), expected)


@one_of_each
def test_descent_moves_what_is_trained(make):
    apply, params, of_trained, own = make()
    f, jacobian = outputs_and_jacobian(of_trained, own, X)
    chances, labels = (np.asarray(column, float) for column in MEMBER[1:])
    for labelled in (True, False):
        residual = f - labels if labelled else f
        gradient = (chances * residual) @ jacobian
        if labelled:
            run = descend(apply, params, MEMBER, step_size=0.1, steps=1)
            close(run.gradient_norms[0], np.linalg.norm(gradient))
            start, end = run.start, run.end
            close(run.losses[0], chances @ (f**2 + 1 - 2 * f * labels) / 2)
        else:
            path = label_free_run(apply, params, MEMBER, step_size=0.1, steps=1)
            leaves, treedef = jax.tree.flatten(path)
            flags = jax.tree.leaves(models.trained(path))
            start, end = (
                jax.tree.unflatten(
                    treedef,
                    [leaf[t] if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)],
                )
                for t in range(2)
            )
        (before, others), (at_start, same), (after, still) = map(split, (params, start, end))
        close(at_start, before)
        close(np.sort(before - after), np.sort(0.1 * gradient))
        same_leaves(same, others)
        same_leaves(still, others)
        jax.eval_shape(lambda x, end=end: apply(end, x), X)


@one_of_each
def test_kernels_along_a_path(make):
    apply, params, *_ = make()
    path = label_free_run(apply, params, MEMBER, step_size=0.1, steps=1)
    run = descend(apply, params, MEMBER._replace(label_means=jnp.zeros(4)), step_size=0.1, steps=1)
    kernels = [empirical_ntk(apply, p, X, include_output=True) for p in (params, run.end)]
    features = np.asarray(average_tangent_kernel(apply, path, X).features, float)
    close(features @ features.T, np.mean(np.asarray(kernels, float), axis=0))


def test_numbers_by_hand():
    """What each rule leaves out would change the kernel."""
    import equinox as eqx
    from flax import linen, nnx

    class Scaled(eqx.Module):
        weight: jax.Array
        scale: float = 2.0

    one = jnp.ones((1, 1))
    apply = lambda model, x: model.scale * model.weight * x[:, 0]  # noqa: E731
    assert empirical_ntk(apply, Scaled(jnp.ones(())), one) == 4
    by_hand = lambda p, x: p["scale"] * p["weight"] * x[:, 0]  # noqa: E731
    assert empirical_ntk(by_hand, {"scale": 2.0, "weight": 1.0}, one) == 5

    # γ (x − μ)/√(ν + ε) + β: ((x − μ)² / (ν + ε) + 1 by γ and β, and not γ²/(ν + ε) + … by μ, ν.
    norm = linen.BatchNorm(use_running_average=True, epsilon=1.0)
    stats = {"mean": jnp.full(1, 3.0), "var": jnp.full(1, 3.0)}
    variables = {"params": {"scale": jnp.full(1, 5.0), "bias": jnp.ones(1)}, "batch_stats": stats}
    assert empirical_ntk(norm.apply, variables, one) == 2

    module = nnx.BatchNorm(1, use_running_average=True, epsilon=1.0, rngs=nnx.Rngs(0))
    module.mean[...], module.var[...] = stats["mean"], stats["var"]
    graph, state = nnx.split(module)
    assert empirical_ntk(lambda s, x: nnx.merge(graph, s)(x), state, one) == 2


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"params": {"w": 1.0}}, {"params": {"w": True}}),
        (
            {"params": {"w": 1.0}, "stats": {"m": 1.0}},
            {"params": {"w": True}, "stats": {"m": False}},
        ),
        # Not Flax's: an entry that is no mapping.
        ({"params": {"w": 1.0}, "bias": 1.0}, {"params": {"w": True}, "bias": True}),
        ({"params": 1.0, "stats": {"m": 1.0}}, {"params": True, "stats": {"m": True}}),
        # A layer of the name of a collection, inside the collection.
        (
            {"params": {"params": {"w": 1.0}, "head": {"w": 1.0}}, "cache": {}},
            {"params": {"params": {"w": True}, "head": {"w": True}}, "cache": {}},
        ),
        ([1.0, 1, True, "x", None], [True, False, False, False, None]),
        (np.float32(1), True),
        (jnp.ones(2, jnp.bfloat16), True),
        (np.ones(2, np.uint8), False),
        (jax.random.key(0), False),
        ((), ()),
    ],
)
def test_trained_by_hand(params, expected):
    assert models.trained(params) == expected


def test_constants_are_told_apart_by_type():
    """1, 1.0 and True are equal: programs compiled for one must not serve another."""

    def apply(params, x):
        return params["w"] * x[:, 0] * {int: 1, bool: 2}[type(params["n"])]

    kernels = [empirical_ntk(apply, {"w": jnp.ones(()), "n": n}, X)[0, 0] for n in (1, True)]
    assert kernels[1] == pytest.approx(4 * kernels[0])


# --- the API page ---------------------------------------------------------------------------------

RECIPES = ("Your own", "Flax, linen", "Flax, NNX", "Equinox")


def recipes():
    """The blocks of code about any model, by the words that introduce them."""
    page = (Path(__file__).parents[1] / "book" / "reference" / "api.md").read_text(encoding="utf-8")
    page = page.partition("\n## Any model\n")[2].partition("\n## ")[0] + "\n"
    pieces = re.split(r"^```python\n(.*?)^```\n", page, flags=re.MULTILINE | re.DOTALL)
    names = [text.strip().rpartition("\n\n")[2] for text in pieces[:-1:2]]
    return dict(zip(names, pieces[1::2], strict=True))


def test_the_recipes_of_the_api_page():
    """Each in the names of those before it; its kernel is that of its library's parameters."""
    import equinox as eqx
    from flax import nnx

    namespace = {}
    shown = recipes()
    assert len(shown) == len(RECIPES)
    for (introduction, code), name in zip(shown.items(), RECIPES, strict=True):
        assert introduction.startswith(name)
        exec(code, namespace)
        x, of_trained = namespace["x"], namespace["apply"]
        if name == "Your own":
            own = namespace["params"]
        elif name == "Flax, linen":
            variables = namespace["variables"]
            own, model = variables["params"], namespace["model"]
            assert set(variables) == {"params", "batch_stats"}
            of_trained = lambda p, x, m=model, v=variables: m.apply({**v, "params": p}, x)  # noqa: E731
        elif name == "Flax, NNX":
            graph, own, rest = nnx.split(namespace["model"], nnx.Param, ...)
            assert jax.tree.leaves(rest)
            of_trained = lambda p, x, g=graph, r=rest: nnx.merge(g, p, r)(x)  # noqa: E731
        else:
            own, rest = eqx.partition(namespace["module"], eqx.is_inexact_array)
            of_trained = lambda p, x, r=rest: jax.vmap(eqx.combine(p, r))(x)  # noqa: E731
        _, jacobian = outputs_and_jacobian(of_trained, own, x[:5])
        expected = jacobian @ jacobian.T
        gram = np.asarray(namespace["gram"][:5, :5])
        np.testing.assert_allclose(gram, expected, rtol=0, atol=1e-4 * np.max(expected))


# --- compiled once --------------------------------------------------------------------------------


@one_of_each
def test_other_values_do_not_compile_again(make):
    apply, params, *_ = make()
    leaves, treedef = jax.tree.flatten(params)
    flags = jax.tree.leaves(models.trained(params))
    moved = jax.tree.unflatten(
        treedef, [1.5 * a if flag else a for a, flag in zip(leaves, flags, strict=True)]
    )
    programs = [
        jacobians.gram,
        jacobians.vector_product,
        weak_learning._features,
        weak_learning._label_free_run,
        descent._descend,
    ]
    counts = []
    for p in (params, moved):
        empirical_ntk(apply, p, X)
        shape = jax.eval_shape(lambda x, p=p: apply(p, x), X).shape
        ntk_vector_product(apply, p, X, jnp.ones(shape, FLOAT))
        tangent_features(apply, p, X)
        descend(apply, p, MEMBER, step_size=0.1, steps=1)
        label_free_run(apply, p, MEMBER, step_size=0.1, steps=1)
        counts.append([program._cache_size() for program in programs])
    assert counts[0] == counts[1]


# --- what no function takes -----------------------------------------------------------------------


def functions(x=X, member=MEMBER):
    """The six that take a model, as functions of it."""

    def product(apply, params):
        return ntk_vector_product(apply, params, x, jnp.ones(len(x)))

    return {
        "empirical_ntk": lambda apply, params: empirical_ntk(apply, params, x),
        "ntk_vector_product": product,
        "linearize": lambda apply, params: linearize(apply, params)(params, x),
        "descend": lambda apply, params: descend(apply, params, member, step_size=0.1, steps=1),
        "tangent_features": lambda apply, params: tangent_features(apply, params, x),
        "label_free_run": lambda apply, params: label_free_run(
            apply, params, member, step_size=0.1, steps=1
        ),
    }


SIX = list(functions())
W = normal(1, 3)


@pytest.mark.parametrize("function", SIX)
@pytest.mark.parametrize(
    "apply",
    [
        lambda p, x: x @ p - jnp.mean(x @ p),
        lambda p, x: jnp.cumsum(x @ p)[:, None],
        lambda p, x: x @ p * jax.random.normal(jax.random.key(0), (len(x),), x.dtype),
    ],
    ids=["a mean", "rows behind", "noise"],
)
def test_rows_that_see_each_other_are_named(function, apply, no_hook):
    message = r"^apply must treat each row of (x1?|distribution.points) by itself, got .* row \d"
    with pytest.raises(ValueError, match=message):
        functions()[function](apply, W)


def test_a_linearized_model_of_matrices_looks_at_its_rows(no_hook):
    """Of any number of axes; and a model that takes no single row is named."""
    apart = lambda p, x: x[:, :, None] * p  # noqa: E731
    assert linearize(apart, W)(W, X).shape == (*X.shape, 3)
    coupled = lambda p, x: apart(p, x) - jnp.mean(apart(p, x), axis=0)  # noqa: E731
    tangent = linearize(coupled, W)
    for _ in range(2):
        # In a program values are not known; they are where it is called without one.
        assert jax.jit(tangent)(W, X).shape == (*X.shape, 3)
        with pytest.raises(ValueError, match=r"^apply must treat each row of x by itself"):
            tangent(W, X)
    with pytest.raises(ValueError, match=r"^apply must take params and x"):
        linearize(lambda p, x: jnp.add(x @ p, jnp.ones(len(X), x.dtype)[: len(x) + 3]), W)(W, X)


@pytest.mark.parametrize("function", SIX)
def test_what_a_model_reads_is_current(function):
    """A number and an array of its function, and an object that it is bound to."""
    scale, shift = 1.0, jnp.zeros(len(W), W.dtype)

    def apply(p, x):
        return jnp.tanh(x @ (p + shift)) * scale

    def alone(p, x, scale=scale, shift=shift):
        return jnp.tanh(x @ (p + shift)) * scale

    def found(apply):
        leaves = jax.tree.leaves(functions()[function](apply, W))
        return [np.asarray(leaf) for leaf in leaves if isinstance(leaf, jax.Array)]

    before = found(apply)
    for new in ({"scale": 2.0}, {"scale": 2.0, "shift": jnp.ones(len(W), W.dtype)}):
        scale, shift = new["scale"], new.get("shift", shift)
        after = found(apply)
        # As a function that nobody has seen before.
        expected = found(functools.partial(alone, **new))
        for one, other in zip(after, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        pairs = zip(after, before, strict=True)
        assert any(not np.allclose(one, other, rtol=1e-3) for one, other in pairs)
        before = after


@pytest.mark.parametrize("function", SIX)
@pytest.mark.parametrize(
    ("apply", "params", "message"),
    [
        (None, W, "apply must be a function"),
        (lambda x: x, W, "apply must take params and"),
        (lambda p, x: x @ p["v"], {"w": W}, r"apply must take params and .*KeyError: 'v'"),
        (lambda p, x: (x @ p, x), W, "apply must return an array, got tuple"),
        (lambda p, x: {"output": x @ p}, W, "apply must return an array, got dict"),
        (lambda p, x: None, W, "apply must return an array, got NoneType"),
        (lambda p, x: jnp.sum(x @ p), W, r"apply must return \[N"),
        (lambda p, x: (x @ p)[:3], W, r"apply must return \[N"),
        (lambda p, x: (x @ p).astype(int), W, "apply must return real numbers, got dtype int"),
        (lambda p, x: x @ p > 0, W, "apply must return real numbers, got dtype bool"),
        (lambda p, x: x @ p * (1 + 1j), W, "apply must return real numbers, got dtype complex"),
        (lambda p, x: np.tanh(x @ p), W, "apply must be made of JAX operations, such as jnp.tanh"),
        (lambda p, x: x @ p if x[0, 0] > 0 else -x @ p, W, "apply must be made of JAX operations"),
        (lambda p, x: x @ p * math.tanh(p[0]), W, "apply must be made of JAX operations"),
        (lambda p, x: x @ p, 1j * W, "params must be real"),
        (lambda p, x: x @ p["w"], {"w": W, "z": 1j}, "params must be real"),
        (lambda p, x: x @ p, W * np.nan, "params must be finite"),
        (lambda p, x: x @ p, np.array([0.5, 1, 2], object), "params must hold numbers, got an arr"),
        (lambda p, x: x @ p["w"], {"w": W, "n": np.array(["x"])}, "params must hold numbers"),
        (lambda p, x: x @ p, np.arange(3), "params must have floating-point leaves"),
        (lambda p, x: x[:, 0], (), "params must have floating-point leaves"),
        (lambda p, x: x[:, 0], {"params": {}, "batch_stats": {"m": 1.0}}, "params must have float"),
        (lambda p, x: x[:, 0] * jnp.sqrt(p[0] - 100), W, "must give"),
    ],
)
def test_a_bad_model_is_named(function, apply, params, message, no_hook):
    with pytest.raises(ValueError, match=message):
        functions()[function](apply, params)


@pytest.mark.parametrize("function", [name for name in SIX if name != "linearize"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_squeeze_over_the_batch(function, count, no_hook):
    """For two inputs its outputs look right; for one they are a scalar."""
    x = X[:count]
    member = Distribution(x, jnp.full(count, 1 / count, FLOAT), jnp.ones(count, FLOAT))
    with pytest.raises(ValueError, match=r"^apply must return \[N\] or .* with N = 1, got \(\)"):
        functions(x, member)[function](lambda p, x: (x @ p).squeeze(), W[:, None])


def test_the_expansion_of_one_input_and_of_a_batch(no_hook):
    apply = lambda p, x: (x @ p).squeeze()  # noqa: E731
    params = W[:, None]
    tangent = linearize(apply, params)
    np.testing.assert_allclose(tangent(params, X[0]), X[0] @ W, rtol=1e-5)
    np.testing.assert_allclose(tangent(params, X[:2]), X[:2] @ W, rtol=1e-5)
    with pytest.raises(
        ValueError, match=r"^apply must return \[N, \.\.\.\] for inputs \[N, \.\.\."
    ):
        tangent(params, X[:1])


def embedding(params, tokens):
    return jnp.sum(params[tokens], axis=1)


@pytest.mark.parametrize(
    "function", ["empirical_ntk", "ntk_vector_product", "linearize", "tangent_features"]
)
def test_tokens(function, no_hook):
    """Whole numbers stay whole in an array; those of a list become real, an error says."""
    tokens = [[0, 1, 2], [2, 2, 3], [4, 4, 4]]
    table = jnp.arange(5.0)
    with pytest.raises(ValueError, match=r"^x1? must be an array of whole numbers for this model"):
        functions(tokens)[function](embedding, table)
    for array in (np.array(tokens), jnp.asarray(tokens), np.array(tokens, np.uint8)):
        result = functions(array)[function](embedding, table)
        counts = np.array([np.bincount(row, minlength=5) for row in tokens])
        expected = {
            "empirical_ntk": counts @ counts.T,
            "ntk_vector_product": (counts @ counts.T).sum(axis=1),
            "linearize": counts @ np.arange(5),
            "tangent_features": np.column_stack([counts @ np.arange(5), counts]),
        }[function]
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("function", SIX)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_inputs_that_overflow(function, dtype, no_hook):
    """Finite inputs whose outputs, kernel or loss leave the range of their dtype."""
    largest = float(jnp.finfo(dtype).max)
    x = jnp.asarray(np.full((2, 3), 0.9 * largest**0.5), dtype)
    member = Distribution(x, jnp.full(2, 0.5, dtype), jnp.ones(2, dtype))
    params = jnp.ones(3, dtype)
    quadratic = lambda p, x: jnp.sum((x * p) ** 2, axis=1)  # noqa: E731
    with pytest.raises(ValueError, match=r" must give "):
        functions(x, member)[function](quadratic, params)


def test_half_precision_passes():
    for dtype in ("float16", "bfloat16"):
        x = X.astype(dtype)
        for function in ("empirical_ntk", "ntk_vector_product", "linearize", "tangent_features"):
            if function == "ntk_vector_product":
                result = ntk_vector_product(lambda p, x: x @ p, W.astype(dtype), x, jnp.ones(4))
            else:
                result = functions(x)[function](lambda p, x: x @ p, W.astype(dtype))
            assert result.dtype == dtype and np.all(np.isfinite(np.asarray(result, float)))


@pytest.mark.parametrize(
    "x",
    [X * np.nan, X[:0], "x", X * 1j, np.array([[0.5]], object), [[1.0], [1.0, 2.0]], None],
    ids=["NaN", "empty", "text", "complex", "object", "ragged", "None"],
)
@pytest.mark.parametrize(
    "function", ["empirical_ntk", "ntk_vector_product", "linearize", "tangent_features"]
)
def test_bad_inputs_are_named(function, x, no_hook):
    apply = lambda p, x: x @ p  # noqa: E731
    calls = {
        "empirical_ntk": lambda: empirical_ntk(apply, W, x),
        "ntk_vector_product": lambda: ntk_vector_product(apply, W, x, jnp.ones(4)),
        "linearize": lambda: linearize(apply, W)(W, x),
        "tangent_features": lambda: tangent_features(apply, W, x),
    }
    with pytest.raises(ValueError, match=r"^x1? must"):
        calls[function]()


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ({"w": W}, "params must have the structure"),
        ({"w": W[:2], "n": 2}, "params must have the shapes"),
        ({"w": W.astype(jnp.float16), "n": 2}, "params must have the dtypes"),
        ({"w": "x", "n": 2}, "params must be an array of numbers"),
        ({"w": W * jnp.nan, "n": 2}, "params must be finite"),
    ],
)
def test_where_an_expansion_is_evaluated(theta, message, no_hook):
    tangent = linearize(lambda p, x: x @ p["w"] * p["n"], {"w": W, "n": 2})
    with pytest.raises(ValueError, match=f"^{message}"):
        tangent(theta, X)


def test_a_whole_number_in_place_of_a_trained_one():
    tangent = linearize(lambda p, x: x[:, 0] * p, 0.5)
    np.testing.assert_array_equal(tangent(2, X), 2 * X[:, 0])


# --- activations and gains ------------------------------------------------------------------------

ACTIVATED = {
    "mlp": lambda f: networks.mlp((3, 1), activation=f),
    "shallow": lambda f: networks.shallow(3, activation=f),
    "infinite_ntk": lambda f: infinite_ntk(X, depth=1, activation=f),
    "nngp": lambda f: nngp(X, depth=1, activation=f),
}


def step(z):
    return z if z > 0 else 0 * z


@pytest.mark.parametrize("function", ACTIVATED)
@pytest.mark.parametrize("activation", [np.tanh, math.tanh, step])
def test_activations_of_numpy_are_named(function, activation, no_hook):
    with pytest.raises(ValueError, match=r"^activation must be made of JAX operations"):
        ACTIVATED[function](activation)


@pytest.mark.parametrize("function", ACTIVATED)
@pytest.mark.parametrize(
    "activation",
    [
        jnp.tanh,
        jax.nn.silu,
        jnp.frompyfunc(lambda z: jnp.sin(z), 1, 1),
        functools.partial(jnp.maximum, 0),
    ],
    ids=["tanh", "silu", "ufunc", "partial"],
)
def test_activations_of_jax_are_taken(function, activation):
    result = ACTIVATED[function](activation)
    if function in ("mlp", "shallow"):
        result = result.apply(result.init(jax.random.key(0), 3), X)
    assert np.all(np.isfinite(result))


@pytest.mark.parametrize("make", [networks.mlp, networks.shallow])
@pytest.mark.parametrize("activation", [jnp.sum, lambda z: z > 0, lambda z: (z, z), jnp.add])
def test_activations_of_another_shape_are_named(make, activation, no_hook):
    network = make((3, 1) if make is networks.mlp else 3, activation=activation)
    with pytest.raises(ValueError, match=r"^activation must"):
        network.apply(network.init(jax.random.key(0), 3), X)


LIMITS = [infinite_ntk, nngp, tangent_kernel.layer_kernels, tangent_kernel.standard_ntk_limit]


@pytest.mark.parametrize("function", LIMITS)
@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_gains_and_inputs_beyond_the_dtype(function, activation, no_hook):
    options = {"depth": 2, "activation": activation}
    for name, value in (("w_std", 1e200), ("w_std", 1e-200), ("b_std", 1e200)):
        with pytest.raises(ValueError, match=f"^{name} must have a square"):
            function(X, **options, **{name: value})
    half = X.astype(jnp.float16)
    for name, value in (("w_std", 300.0), ("w_std", 1e-3), ("b_std", 300.0)):
        with pytest.raises(ValueError, match=f"^{name} must have a square .* float16"):
            function(half, **options, **{name: value})
    if activation == "relu":
        with pytest.raises(ValueError, match=r"^x1 must give a finite kernel"):
            function(jnp.full((2, 3), 3000, jnp.float16), **options)


def test_a_kernel_that_grows_beyond_the_dtype(no_hook):
    """For erf the covariance stays bounded while the tangent kernel grows 6.4 times a layer."""
    options = {"depth": 200, "activation": "erf", "w_std": 10.0}
    x = X.astype(jnp.float32)
    assert np.all(np.isfinite(nngp(x, **options)))
    for function in (f for f in LIMITS if f is not nngp):
        with pytest.raises(ValueError, match=r"^x1 must give a finite kernel at this depth"):
            function(x, **options)


@pytest.mark.parametrize("parameterization", networks.PARAMETERIZATIONS)
def test_gains_of_a_network_beyond_the_dtype(parameterization, no_hook):
    make = functools.partial(networks.mlp, (3, 1), parameterization=parameterization)
    for name in ("w_std", "b_std"):
        with pytest.raises(ValueError, match=f"^{name} must have a square"):
            make(**{name: 1e200})
        network = make(**{"b_std": 1.0, name: 1e30})
        with pytest.raises(ValueError, match=f"^{name} must have a square .* float32"):
            network.init(jax.random.key(0), 3, dtype=jnp.float32)
        params = make(b_std=1.0).init(jax.random.key(0), 3, dtype=jnp.float32)
        with pytest.raises(ValueError, match=f"^{name} must have a square .* float32"):
            network.apply(params, X.astype(jnp.float32))
