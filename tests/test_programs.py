"""What a model does with one row, and what of it is known by its form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ntklab import models, networks, programs
from ntklab.networks import mlp

ROW = jax.ShapeDtypeStruct((3,), jnp.result_type(float))


def ones(*shape):
    return jnp.ones(shape, ROW.dtype)


def program(apply, params, row=ROW):
    return programs.trace(models.view(apply, params), row)[0]


def uses(apply, params, row=ROW):
    """The kinds of the leaves' uses, with those of their biases, and the leaves without one."""
    known = programs.structure(program(apply, params, row))
    sites = {
        group[0].leaf: (
            *(site.kind for site in group),
            *(site.bias.leaf for site in group if site.bias is not None),
        )
        for group in known.sites
    }
    return sites, known.rest


W, V = ones(3, 3), ones(3)


def test_equal_operations_are_one_program():
    """Whoever wrote them, whatever the values."""
    first = program(lambda w, x: jnp.tanh(x @ w), W)
    second = program(lambda weights, inputs: jnp.tanh(jnp.matmul(inputs, weights)), 2 * W)
    assert first == second and hash(first) == hash(second) and first is second


@pytest.mark.parametrize(
    ("apply", "params"),
    [
        (lambda w, x: jnp.sin(x @ w), W),
        (lambda w, x: jnp.tanh(x @ w) * 2, W),
        (lambda w, x: jnp.tanh(x @ w.T), W),
        (lambda w, x: jnp.tanh(x @ w), ones(3, 4)),
        (lambda w, x: jnp.tanh(x @ w), W.astype(jnp.float16)),
    ],
)
def test_other_operations_are_another_program(apply, params):
    row = jax.ShapeDtypeStruct((3,), params.dtype)
    assert program(apply, params, row) != program(lambda w, x: jnp.tanh(x @ w), W)


def test_what_a_closure_reads_is_part_of_the_program():
    factor, table = 1.0, np.ones(3)

    def apply(w, x):
        return factor * (x @ w) + jnp.asarray(table, x.dtype)

    model = models.view(apply, W)
    first, (constant,) = programs.trace(model, ROW)
    table = 2 * table
    second, (changed,) = programs.trace(model, ROW)
    assert first == second, "an array is an input of the program"
    np.testing.assert_array_equal(changed, 2 * constant)
    factor = 2.0
    assert programs.trace(model, ROW)[0] != first, "a number is written in it"


@pytest.mark.parametrize("kind", ["custom_jvp", "custom_vjp"])
def test_a_derivative_of_the_models_own_is_part_of_the_program(kind):
    factor = 1.0
    if kind == "custom_jvp":
        activation = jax.custom_jvp(jnp.tanh)
        activation.defjvp(lambda z, change: (jnp.tanh(z[0]), factor * change[0]))
    else:
        activation = jax.custom_vjp(jnp.tanh)
        activation.defvjp(lambda z: (jnp.tanh(z), None), lambda _, signal: (factor * signal,))
    model = models.view(lambda w, x: activation(x @ w), W)
    first = programs.trace(model, ROW)[0]
    assert programs.trace(model, ROW)[0] == first
    assert first.backwards_only == (kind == "custom_vjp")
    factor = 2.0
    assert programs.trace(model, ROW)[0] != first


def test_only_so_many_programs_are_kept(monkeypatch):
    monkeypatch.setattr(programs, "REMEMBERED", 2)
    monkeypatch.setattr(programs, "_KNOWN", {})
    kept = [program(lambda w, x, n=n: x @ w * n, W) for n in (1.0, 2.0, 3.0)]
    assert list(programs._KNOWN.values()) == kept[1:]


def test_nothing_of_another_trace_is_kept():
    """A program holds no array; what a function under `jax.jit` reads is the trace's own."""
    before = len(programs._KNOWN)

    @jax.jit
    def inside(w):
        traced, constants = programs.trace(models.view(lambda v, x: x @ w @ v, W), ROW)
        assert len(constants) == 1
        return traced.run([*constants, W, jnp.ones(3, ROW.dtype)])[0]

    np.testing.assert_array_equal(inside(W), [9, 9, 9])
    assert len(programs._KNOWN) == before


# --- structure ------------------------------------------------------------------------------------

IMAGE = jax.ShapeDtypeStruct((6, 6, 2), ROW.dtype)
TOKENS = jax.ShapeDtypeStruct((4,), jnp.int32)
convolve = functools.partial(
    jax.lax.conv_general_dilated,
    window_strides=(1, 1),
    padding="SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
)


def jitted(p, x):
    return jax.jit(lambda p, x: jnp.tanh(x @ (0.5 * p["w"]).T + p["b"]))(p, x)


def remembered(p, x):
    return jax.checkpoint(lambda p, x: jnp.tanh(x @ p["w"] + p["b"]))(p, x)


def own(w, x):
    f = jax.custom_vjp(lambda w, x: x @ w)
    f.defvjp(lambda w, x: (x @ w, (w, x)), lambda held, s: (held[1].T @ s, s @ held[0].T))
    return f(w, x)


@pytest.mark.parametrize(
    ("apply", "params", "row", "sites"),
    [
        (lambda w, x: x @ w, W, ROW, {0: ("dense",)}),
        (lambda w, x: x @ w, V, ROW, {0: ("dense",)}),
        (lambda w, x: x @ w.T / 3, W, ROW, {0: ("dense",)}),
        (lambda w, x: x @ jnp.reshape(-w, (3, 3)), ones(9), ROW, {0: ("dense",)}),
        (lambda w, x: jnp.einsum("nd,dhk->nhk", x, w)[:, 0], ones(3, 2, 4), ROW, {0: ("dense",)}),
        (lambda p, x: x @ p["w"] + p["b"], {"b": V, "w": W}, ROW, {1: ("dense", 0)}),
        (lambda p, x: x @ p["w"] / 2 - p["b"], {"b": V, "w": W}, ROW, {1: ("dense",)}),
        (lambda p, x: 3 * p["b"] + (x @ p["w"]) / 2, {"b": V, "w": W}, ROW, {1: ("dense", 0)}),
        (jitted, {"b": V, "w": W}, ROW, {1: ("dense", 0)}),
        (remembered, {"b": V, "w": W}, ROW, {1: ("dense", 0)}),
        (lambda w, x: jnp.tanh(x @ w) @ w, W, ROW, {0: ("dense", "dense")}),
        (lambda p, x: jax.vmap(lambda r: p["w"] @ r + p["b"])(x), {"b": V, "w": W}, ROW, None),
        (lambda k, x: convolve(x, k)[:, 0, 0], ones(3, 3, 2, 4), IMAGE, {0: ("convolution",)}),
        (
            lambda p, x: jnp.sum(convolve(x, p["k"]) + p["b"], (1, 2)),
            {"b": ones(4), "k": ones(3, 3, 2, 4)},
            IMAGE,
            {1: ("convolution", 0)},
        ),
        (lambda table, t: jnp.sum(table[t], axis=1), ones(5, 3), TOKENS, {0: ("table",)}),
    ],
)
def test_what_is_matched(apply, params, row, sites):
    expected = {1: ("dense", 0)} if sites is None else sites
    found, rest = uses(apply, params, row)
    assert found == expected
    covered = set(found) | {leaf for use in found.values() for leaf in use if isinstance(leaf, int)}
    assert covered | set(rest) == set(range(len(jax.tree.leaves(params))))
    assert not covered & set(rest)


@pytest.mark.parametrize(
    ("apply", "params", "row"),
    [
        (lambda w, x: x @ w + w[0], W, ROW),  # used elsewhere too
        (lambda w, x: jnp.tanh(x @ w) @ w.T, W, ROW),  # twice, not alike
        (lambda w, x: x @ w + jnp.sum(w), W, ROW),
        (lambda w, x: x @ (w * jnp.arange(3, dtype=w.dtype)), W, ROW),  # no scalar factor
        (lambda w, x: x @ (w / jnp.sum(w)), W, ROW),
        (lambda w, x: x @ jnp.stack([w, w]).sum(0), W, ROW),
        (lambda w, x: x @ (w @ w), W, ROW),
        (lambda w, x: jnp.einsum("nh,hk->nhk", x, w)[:, 0], W, ROW),  # a batch dimension
        (lambda w, x: x * w, V, ROW),
        (lambda w, x: x @ jnp.broadcast_to(w, (3, 3)), V, ROW),
        (own, W, ROW),
        (lambda w, x: jax.lax.scan(lambda h, v: (h @ v, None), x, w)[0], ones(2, 3, 3), ROW),
        (
            lambda w, x: jax.vmap(lambda r: jax.lax.cond(r[0] > 0, lambda: r @ w, lambda: r))(x),
            W,
            ROW,
        ),
        (
            lambda k, x: convolve(x, k, feature_group_count=2)[:, 0, 0],
            ones(3, 3, 1, 4),
            IMAGE,
        ),
        (lambda table, t: table[t, 0], ones(5, 3), TOKENS),
        (lambda table, t: jnp.sum(table[t] @ table.T, axis=1), ones(5, 3), TOKENS),
    ],
)
def test_what_cannot_be_matched_for_certain(apply, params, row):
    assert uses(apply, params, row) == ({}, (0,))


@pytest.mark.parametrize(
    "apply",
    [
        lambda p, x: x @ p["w"] + jnp.tanh(p["b"]),
        lambda p, x: jnp.tanh(x @ p["w"]) + p["b"],
        lambda p, x: x @ p["w"] + p["b"] + jnp.sum(p["b"]),
        lambda p, x: (x @ p["w"] + p["b"]) * jnp.sum(x @ p["w"]),
        lambda p, x: jnp.stack([x, x], 1) @ p["w"] + jnp.stack([p["b"], 2 * p["b"]]),
        lambda p, x: (jnp.stack([x, x, x], 1) @ p["w"] + p["b"][:, None])[:, 0],
        lambda p, x: (lambda z: z + p["b"] + jnp.sin(z))(x @ p["w"]),
    ],
)
def test_what_is_no_bias_of_a_layer(apply):
    """Behind an activation, used twice, another at each position, behind what others read."""
    sites, rest = uses(lambda p, x: apply(p, x).reshape(x.shape[0], -1), {"b": V, "w": W})
    assert rest == (0,) and set(sites) <= {1}


def test_the_readout_is_known():
    network = mlp((4, 2), b_std=0.5)
    params = network.init(jax.random.key(0), 3)
    known = programs.structure(program(network.apply, params))
    assert [site.readout is not None for (site,) in known.sites] == [False, True]
    # Units that the output mixes, or has in another order, are none.
    for mixed in (lambda z: jnp.cumsum(z, axis=1), lambda z: z[:, ::-1], lambda z: jnp.tanh(z)):
        known = programs.structure(program(lambda w, x, f=mixed: f(x @ w), W))
        assert [site.readout for (site,) in known.sites] == [None]


def test_leaves_that_nobody_reads_are_left_out():
    assert uses(lambda p, x: x @ p["w"], {"a": ones(7, 7), "w": W}) == ({1: ("dense",)}, ())


def test_a_network_of_ours_is_traced_once_and_nobody_elses(monkeypatch):
    """Nor is a network with an activation that may read what changes."""
    traced = []
    outputs = networks._DenseStack.outputs

    def counted(self, params, x):
        traced.append(self.activation)
        return outputs(self, params, x)

    monkeypatch.setattr(networks._DenseStack, "outputs", counted)
    programs._traced_once.cache_clear()
    gain = [1.0]

    def read(z):
        return gain[0] * z

    row = jax.ShapeDtypeStruct((3,), jnp.result_type(float))
    found = {}
    for activation in ("erf", read):
        network = networks.mlp((4, 1), activation=activation)
        params = network.init(jax.random.key(0), 3)
        model = models.view(network.apply, params)
        found[activation] = [programs.trace(model, row)[0] for _ in range(2)]
        gain[0] = 2.0
        found[activation].append(programs.trace(model, row)[0])
        gain[0] = 1.0
    assert found["erf"][0] is found["erf"][1] is found["erf"][2]
    assert found[read][0] == found[read][1] != found[read][2]
    assert traced == [networks.ACTIVATIONS["erf"], read, read, read]


def test_what_is_traced_once_is_found_again_by_all_that_decides_it():
    network = networks.mlp((4, 1), activation="erf")
    params = network.init(jax.random.key(0), 3)
    row = jax.ShapeDtypeStruct((3,), jnp.result_type(float))

    def program(network=network, params=params, row=row):
        return programs.trace(models.view(network.apply, params), row)[0]

    first = program()
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), params)
    assert program(params=half, row=jax.ShapeDtypeStruct((3,), jnp.float16)) != first
    assert program(networks.mlp((4, 1), activation="erf", w_std=2.0)) != first
    assert program(networks.unbiased(network), (params, params)) != first
    with pytest.raises(ValueError, match="x must"):
        program(row=jax.ShapeDtypeStruct((2,), jnp.result_type(float)))
    # A setting under which the same function is an error, or another program.
    with jax.numpy_dtype_promotion("strict"):
        program()
    with jax.numpy_rank_promotion("raise"):
        program()
    assert program() is first
