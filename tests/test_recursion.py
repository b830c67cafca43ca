"""The recursion behind the infinite kernels: angles, blocks, derivatives, gains, quadrature."""

import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from ntklab import _recursion, networks
from ntklab.tangent_kernel import (
    infinite_ntk,
    layer_kernels,
    limit_nngp,
    limit_ntk,
    nngp,
    standard_ntk_limit,
)

Exact = np.longdouble


def normal(seed, *shape):
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values, jnp.result_type(float))


# --- angles -------------------------------------------------------------------------------------


def test_the_polynomials_of_the_angle():
    """Against arccos in extended precision; the fits' errors, as the module states them."""
    m = np.linspace(0, 1, 4001, dtype=Exact)[1:]
    theta = 2 * np.arcsin(np.sqrt(m / 2))
    angle, segment = (
        np.polynomial.polynomial.polyval(m, np.asarray(c, Exact))
        for c in (_recursion.ANGLE, _recursion.SEGMENT)
    )
    pi = Exact("3.14159265358979323846")
    assert np.max(np.abs(np.sqrt(m) * angle - theta / pi)) < 1.4e-9
    exact = (np.sin(theta) - theta * (1 - m)) / pi
    assert np.max(np.abs(m ** Exact(1.5) * segment - exact)) < 1e-10


def angle_between(x, y):
    """To the last digits, however small: by the sides of the triangle of two unit vectors."""
    x, y = x / np.sqrt(x @ x), y / np.sqrt(y @ y)
    return 2 * np.arctan2(np.sqrt(np.sum((x - y) ** 2)), np.sqrt(np.sum((x + y) ** 2)))


def relu_oracle(x, y, depth, w_std, b_std):
    """Θ and Σ for ReLU by angles in extended precision, for one pair."""
    pi = Exact("3.14159265358979323846")
    w2, b2 = Exact(w_std) ** 2, Exact(b_std) ** 2
    # A bias is one more coordinate.
    x, y = (np.append(np.sqrt(w2 / len(p)) * np.asarray(p, Exact), np.sqrt(b2)) for p in (x, y))
    q1, q2, angle = x @ x, y @ y, angle_between(x, y)
    sigma = kernel = np.sqrt(q1 * q2) * np.cos(angle)
    for _ in range(depth):
        root = np.sqrt(q1 * q2)
        value = root * (np.sin(angle) + (pi - angle) * np.cos(angle)) / (2 * pi)
        sigma = w2 * value + b2
        kernel = sigma + w2 * (pi - angle) / (2 * pi) * kernel
        q1, q2 = w2 * q1 / 2 + b2, w2 * q2 / 2 + b2
        angle = np.arccos(np.clip(sigma / np.sqrt(q1 * q2), -1, 1))
    return float(kernel), float(sigma), float(q1)


ANGLES = np.concatenate([10.0 ** np.arange(-8, 0.3, 0.5), np.pi - 10.0 ** np.arange(-8, 0.3, 0.5)])


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("b_std", [0.0, 0.1])
@pytest.mark.parametrize("length", [1.0, 1.0001, 3.0])
def test_every_angle(depth, b_std, length, dtype):
    """From 1e-8 to π − 1e-8, in float32 to 5e-7 of the diagonal, as the docstring says."""
    w_std = 1.5
    b_std = float(np.asarray(b_std, dtype))
    x = np.array([[1.0, 0.0]], dtype)
    y = (length * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)).astype(dtype)
    exact = np.array([relu_oracle(x[0], point, depth, w_std, b_std) for point in y])
    scale = relu_oracle(x[0], x[0], depth, w_std, b_std)[0] * length
    # At depth 3 the oracle's arccos of a small angle has lost digits of its own.
    tolerance = {"float32": 5e-7, "float64": 1e-14 if depth == 1 else 1e-11}[dtype.name]
    options = {"depth": depth, "w_std": w_std, "b_std": b_std}
    for function, column in ((infinite_ntk, 0), (nngp, 1)):
        values = np.asarray(function(x, y, **options), float)[0]
        assert np.max(np.abs(values - exact[:, column])) < tolerance * scale
        values = np.asarray(function(y, x, **options), float)[:, 0]
        assert np.max(np.abs(values - exact[:, column])) < tolerance * scale


@pytest.mark.parametrize("jitter", [1e-3, 1e-6])
def test_cholesky_of_points_on_a_line(jitter):
    """Regression needs a factorization of a nearly singular kernel; with cosines in place of
    deficits that of 1000 points fails at the smaller jitter.
    """
    x = np.linspace(-1, 1, 1000, dtype=np.float32)[:, None]
    kernel = infinite_ntk(x, depth=3, w_std=2**0.5, b_std=0.1)
    np.testing.assert_array_equal(kernel, kernel.T)
    scale = jitter * float(jnp.mean(jnp.diagonal(kernel)))
    regular = kernel + scale * jnp.eye(1000, dtype=kernel.dtype)
    assert bool(jnp.all(jnp.isfinite(jnp.linalg.cholesky(regular))))


@pytest.mark.parametrize("seed", range(5))
def test_opposite_points_have_no_kernel(seed, dtype):
    """Exactly 0 under one ReLU layer, and rounding where lengths differ."""
    x = np.random.default_rng(seed).normal(size=(1, 7)).astype(dtype)
    assert infinite_ntk(x, -x, depth=1) == 0
    assert nngp(x, -x, depth=1) == 0
    scaled = infinite_ntk(x, (-0.37 * x).astype(dtype), depth=1)
    assert abs(float(scaled[0, 0])) < 4 * float(jnp.finfo(dtype).eps)


# --- blocks -------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_recursion, "BLOCK", 7)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_blocks_give_the_whole(activation, request):
    """Sizes that 7 divides and does not divide; near, equal and opposite points among them."""
    x = np.array(normal(0, 23, 3))
    x[5], x[17], x[20], x[11] = x[2] * 1.001, x[2], -x[3], x[3] + 1e-3
    x1, x2 = jnp.asarray(x), jnp.asarray(x[4:18])
    options = {"depth": 2, "activation": activation, "w_std": 0.9, "b_std": 0.1}
    kinds = infinite_ntk, nngp, layer_kernels, standard_ntk_limit
    whole = [(f(x1, **options), f(x1, x2, **options)) for f in kinds]
    request.getfixturevalue("small_blocks")
    tolerance = 20 * float(jnp.finfo(x1.dtype).eps) * float(jnp.max(whole[0][0]))
    for function, (square, oblong) in zip(kinds, whole, strict=True):
        blocked = function(x1, **options)
        np.testing.assert_allclose(blocked, square, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(blocked, np.swapaxes(blocked, -1, -2))
        np.testing.assert_allclose(function(x1, x2, **options), oblong, rtol=0, atol=tolerance)


def test_half_of_the_blocks_are_computed(small_blocks, monkeypatch):
    counted = []
    scan = jax.lax.scan

    def counting(f, init, xs=None, **options):
        if isinstance(xs, jax.Array) and xs.ndim == 2 and xs.shape[1] == 2:
            counted.append(len(xs))
        return scan(f, init, xs, **options)

    monkeypatch.setattr(jax.lax, "scan", counting)
    x = normal(0, 70, 2)
    infinite_ntk(x, depth=1), infinite_ntk(x, x, depth=1)
    assert counted == [55, 100]


def test_gradients_through_blocks(small_blocks):
    """The same as of entries one by one, which fit into a block."""
    x = normal(0, 16, 2)
    weights = normal(1, 16, 16)
    options = {"depth": 2, "b_std": 0.2}
    blocked = jax.grad(lambda x: jnp.sum(weights * infinite_ntk(x, **options)))(x)

    def entry(x, i, j):
        return infinite_ntk(x[i][None], x[j][None], **options)[0, 0]

    i, j = (jnp.asarray(index.ravel()) for index in np.indices((16, 16)))
    entries = jax.grad(lambda x: weights.ravel() @ jax.vmap(entry, (None, 0, 0))(x, i, j))(x)
    np.testing.assert_allclose(blocked, entries, rtol=1e-3, atol=1e-4)


# --- derivatives --------------------------------------------------------------------------------


def test_hessian_of_the_diagonal():
    """For ReLU at depth 1 and d = 2, Θ(x, x) = ‖x‖²/2: the identity."""
    x = jnp.asarray([0.3, -0.7])
    hessian = jax.hessian(lambda x: infinite_ntk(x[None], depth=1)[0, 0])(x)
    np.testing.assert_allclose(hessian, np.eye(2), atol=1e-5)
    hessian = jax.hessian(lambda x: infinite_ntk(x[None], x[None], depth=1)[0, 0])(x)
    np.testing.assert_allclose(hessian, np.eye(2), atol=1e-5)


def test_mixed_derivative_at_equal_points():
    """∂²Σ/∂x∂x′ at x = x′ is E[σ′²] I/d, the covariance of the network's slope."""
    x = jnp.asarray([0.3, -0.7])
    mixed = jax.jacfwd(jax.grad(lambda x, y: nngp(x[None], y[None], depth=1)[0, 0]), argnums=1)
    np.testing.assert_allclose(mixed(x, x), np.eye(2) / 4, atol=1e-5)


@pytest.mark.float64
@pytest.mark.parametrize("y", [(0.0, 1.0), (0.5, -0.2)])
def test_second_derivatives_against_differences(y):
    """Also at a right angle, where both halves of ReLU's formula meet."""
    x, y, step = jnp.asarray([1.0, 0.0]), jnp.asarray([y]), jnp.asarray([3e-6, 1e-5])
    gradient = jax.jit(jax.grad(lambda x: infinite_ntk(x[None], y, depth=2)[0, 0]))
    change = jax.jit(lambda x: jax.jvp(gradient, (x,), (step,))[1])(x)
    np.testing.assert_allclose(change, (gradient(x + step) - gradient(x - step)) / 2, atol=1e-13)


@pytest.mark.parametrize(("activation", "b_std"), [("relu", 0.0), ("relu", 0.3), ("tanh", 0.0)])
def test_second_derivatives_are_finite(activation, b_std):
    """At equal, opposite and zero points."""
    x = jnp.asarray([[1.0, -2.0], [-1.0, 2.0], [0.0, 0.0]])
    options = {"depth": 1, "activation": activation, "b_std": b_std, "quadrature_order": 16}
    gradient = jax.grad(lambda x, y: jnp.sum(infinite_ntk(x, y, **options)))
    step = jnp.ones_like(x)
    for moved in ((step, 0 * step), (step, step)):
        change = jax.jit(lambda x, y, moved=moved: jax.jvp(gradient, (x, y), moved)[1])(x, x)
        assert np.all(np.isfinite(np.asarray(change)))


# --- gains as arguments of a program ------------------------------------------------------------


def test_one_program_for_all_gains():
    x = normal(0, 6, 3)
    nngp(x, depth=2, w_std=1.0, b_std=0.0)
    before = _recursion._blocked._cache_size()
    for w_std in np.linspace(0.5, 2, 4):
        for b_std in np.linspace(0, 1, 3):
            nngp(x, depth=2, w_std=float(w_std), b_std=float(b_std))
    assert _recursion._blocked._cache_size() == before


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_derivatives_by_the_gains(activation):
    """Against differences; at b_std = 0 the derivative by it is 0, Σ being a function of b²."""
    x = normal(0, 4, 3)
    options = {"depth": 1, "activation": activation, "quadrature_order": 16}
    gradient = jax.jit(
        jax.grad(lambda gains: jnp.sum(infinite_ntk(x, w_std=gains[0], b_std=gains[1], **options)))
    )
    h = 1e-5 if jax.config.jax_enable_x64 else 1e-2
    found = gradient(jnp.asarray([1.3, 0.4]))
    for k, step in enumerate(h * np.eye(2)):
        values = [
            float(
                jnp.sum(
                    infinite_ntk(x, w_std=1.3 + s * step[0], b_std=0.4 + s * step[1], **options)
                )
            )
            for s in (1, -1)
        ]
        assert found[k] == pytest.approx((values[0] - values[1]) / (2 * h), rel=50 * h**1.5)
    assert gradient(jnp.asarray([1.3, 0.0]))[1] == 0


def test_gains_by_marginal_likelihood():
    """The example of the API page ends at a likelihood that single steps of the gains lower."""
    page = (Path(__file__).parents[1] / "book" / "reference" / "api.md").read_text(encoding="utf-8")
    chapter = page.partition("## Chapter: `tangent_kernel`")[2].partition("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)
    namespace = {}
    exec(code, namespace)
    loss, found = jax.jit(namespace["loss"]), namespace["log_gains"]
    assert float(loss(found)) < float(loss(jnp.zeros_like(found))) - 1
    for step in 0.1 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]):
        assert float(loss(found + jnp.asarray(step, found.dtype))) > float(loss(found)) - 0.3


def test_traced_gains_that_are_none(no_hook):
    x = np.ones((3, 2), np.float32)
    for name, value in (("w_std", jnp.ones(2)), ("b_std", jnp.ones((), int))):
        with pytest.raises(ValueError, match=f"^{name} must be a single real number"):
            jax.jit(lambda v, name=name: nngp(x, depth=1, **{name: v}))(value)


# --- other activations at large and small scales ------------------------------------------------


@pytest.mark.parametrize("scale", [1e-3, 30.0, 1e4])
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "gelu"])
def test_the_diagonal_at_every_scale(name, scale):
    """Where pre-activations are large, the slope lives where they are small: SciPy's integrals."""
    sigma, slope = {
        "tanh": (np.tanh, lambda u: np.cosh(np.clip(u, -300, 300)) ** -2.0),
        "sigmoid": (
            lambda u: (1 + np.tanh(u / 2)) / 2,
            lambda u: np.cosh(np.clip(u / 2, -300, 300)) ** -2.0 / 4,
        ),
        "softplus": (lambda u: np.logaddexp(0, u), lambda u: (1 + np.tanh(u / 2)) / 2),
        "gelu": (
            lambda u: u * scipy.special.ndtr(u),
            lambda u: scipy.special.ndtr(u) + u * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi),
        ),
    }[name]

    def expectation(f):
        edges = sorted({*np.linspace(-12 * scale, 12 * scale, 9), -20, -4, -1, 0, 1, 4, 20})
        edges = [edge for edge in edges if abs(edge) <= 12 * scale]
        density = lambda u: np.exp(-((u / scale) ** 2) / 2) / (scale * np.sqrt(2 * np.pi))  # noqa: E731
        return sum(
            scipy.integrate.quad(lambda u: f(u) ** 2 * density(u), *pair, epsrel=1e-11)[0]
            for pair in itertools.pairwise(edges)
        )

    activation = jax.nn.sigmoid if name == "sigmoid" else name
    value = expectation(sigma)
    tolerance = 1e-9 if jax.config.jax_enable_x64 else 1e-5
    options = {"depth": 1, "activation": activation}
    assert nngp([[scale]], **options)[0, 0] == pytest.approx(value, rel=tolerance)
    exact = value + scale**2 * expectation(slope)
    assert infinite_ntk([[scale]], **options)[0, 0] == pytest.approx(exact, rel=tolerance)


def test_what_the_series_leaves_open(no_hook):
    """Large pre-activations: distant points are resolved, close ones refused, or NaN in a jit."""
    x = 30 * np.array([[1.0, 1.0], [1.0, -0.9]])
    by_series = infinite_ntk(x, depth=1, activation=lambda z: jax.scipy.special.erf(z))
    closed = infinite_ntk(x, depth=1, activation="erf")
    np.testing.assert_allclose(by_series, closed, rtol=1e-4)
    close = 30 * np.array([[1.0, 1.0], [1.0, 1.001]])
    options = {"depth": 1, "activation": "tanh"}
    with pytest.raises(ValueError, match=r"^quadrature_order must be higher .* 128 terms leave"):
        infinite_ntk(close, **options)
    jitted = jax.jit(lambda x: infinite_ntk(x, **options))(jnp.asarray(close))
    assert np.array_equal(np.isnan(jitted), ~np.eye(2, dtype=bool))


def test_an_activation_with_a_rule_for_one_direction():
    @jax.custom_vjp
    def sigma(z):
        return jnp.tanh(z)

    sigma.defvjp(lambda z: (jnp.tanh(z), z), lambda z, g: (g / jnp.cosh(z) ** 2,))
    x = normal(0, 4, 3)
    named = infinite_ntk(x, depth=2, activation="tanh", quadrature_order=32)
    found = infinite_ntk(x, depth=2, activation=sigma, quadrature_order=32)
    np.testing.assert_allclose(found, named, rtol=1e-5)


def test_half_precision_is_computed_in_single():
    x = np.asarray(300 * normal(0, 4, 3)).astype(np.float16)
    half = nngp(x, depth=3)
    single = nngp(x.astype(np.float32), depth=3)
    assert half.dtype == jnp.float16
    np.testing.assert_allclose(np.asarray(half, float), single, rtol=1e-3)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_ranks_are_never_promoted(activation):
    x = normal(0, 5, 3)
    with jax.numpy_rank_promotion("raise"):
        options = {"depth": 2, "activation": activation, "b_std": 0.2, "quadrature_order": 24}
        assert infinite_ntk(x, x[:3], **options).shape == (5, 3)
        assert layer_kernels(x, **options).shape == (3, 5, 5)


# --- the limit of a network ---------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_limit_is_the_networks_own(outputs):
    x1, x2 = normal(0, 4, 3), normal(1, 5, 3)
    gains = {"w_std": 1.4, "b_std": 0.3}
    network = networks.mlp((16, 16, outputs), activation="erf", **gains)
    for function, fixed in ((limit_ntk, infinite_ntk), (limit_nngp, nngp)):
        found = function(network, x1, x2)
        expected = np.asarray(fixed(x1, x2, depth=2, activation="erf", **gains))
        if outputs == 2:
            assert found.shape == (4, 5, 2, 2)
            assert not np.any(found[:, :, 0, 1])
            np.testing.assert_array_equal(found[:, :, 1, 1], expected)
            found = found[:, :, 0, 0]
        np.testing.assert_array_equal(found, expected)
    pair = networks.unbiased(networks.unbiased(network))
    np.testing.assert_array_equal(limit_ntk(pair, x1, x2), limit_ntk(network, x1, x2))
    assert not np.any(limit_nngp(pair, x1, x2))


def test_the_limit_of_a_shallow_network():
    """x·x′ (π − ω)/2π times the mean of a²; here ω is 60 degrees."""
    network = networks.shallow(4, output_weights=[1.0, 3.0, -1.0, 1.0])
    x = np.array([[2.0, 0.0], [0.5, np.sqrt(0.75)]])
    kernel = limit_ntk(network, x)
    np.testing.assert_allclose(kernel, 3 * np.array([[2, 1 / 3], [1 / 3, 1 / 2]]), rtol=1e-5)
    np.testing.assert_array_equal(limit_ntk(networks.unbiased(network), x), kernel)


def test_networks_without_a_known_limit(no_hook):
    x = np.ones((2, 3))
    own = networks.Network(lambda key, d: jnp.ones(d), lambda p, x: x @ p)
    for network in (own, networks.unbiased(own), None):
        for function in (limit_ntk, limit_nngp):
            with pytest.raises(ValueError, match=r"^network must be made by mlp or shallow"):
                function(network, x)
    for parameterization in ("standard", "ntk-fan-out"):
        network = networks.mlp((4, 1), parameterization=parameterization)
        with pytest.raises(ValueError, match=f"^network must .* got '{parameterization}'"):
            limit_ntk(network, x)
    with pytest.raises(ValueError, match=r"^network must .* got 'ntk-fan-out'"):
        limit_nngp(network, x)
    with pytest.raises(ValueError, match=r"^network must .* got shallow"):
        limit_nngp(networks.shallow(4), x)
    standard = networks.mlp((4, 1), parameterization="standard", w_std=1.2)
    np.testing.assert_array_equal(limit_nngp(standard, x), nngp(x, depth=1, w_std=1.2))
