"""The ledger of tangent_kernel: its entries and their oracles."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Key

from ntklab import _validate, networks
from ntklab.checks import Check, rounding_tolerance
from ntklab.ledger import result
from ntklab.networks import DenseModel
from ntklab.statistics import fit_power_law
from ntklab.tangent_kernel import (
    empirical_ntk,
    gram_deviation,
    infinite_ntk,
    nngp,
    relu_angle_kernels,
    standard_ntk_limit,
)


def _sphere(seed: int, n: int, d: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _distance(a: Any, b: Any) -> float:
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))))


def _normal_density(z: float) -> float:
    return float(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def _trace(kernel: Array) -> float:
    """Over points and, if there are several, outputs."""
    diagonal = jnp.diagonal(kernel)
    return float(jnp.sum(diagonal if kernel.ndim == 2 else jnp.diagonal(diagonal)))


def _numpy_relu_gradients(params: Any, x: np.ndarray) -> np.ndarray:
    """Gradients of a bias-free ReLU network by hand-written back-propagation, `[N, parameters]`."""
    weights = [np.asarray(layer["weight"], dtype=float) for layer in params]
    activations, masks = [x], []
    for weight in weights[:-1]:
        z = activations[-1] @ weight.T / np.sqrt(weight.shape[1])
        masks.append(z > 0)
        activations.append(np.maximum(z, 0))
    signal = np.ones((len(x), 1))
    gradients = []
    for index in reversed(range(len(weights))):
        weight = weights[index]
        outer = signal[:, :, None] * activations[index][:, None, :] / np.sqrt(weight.shape[1])
        gradients.append(outer.reshape(len(x), -1))
        if index > 0:
            signal = (signal @ weight) / np.sqrt(weight.shape[1]) * masks[index - 1]
    return np.concatenate(gradients, axis=1)


@result(
    "S24",
    "Equation (14.2)",
    theorem="prop-shallow-kernel",
    exercise="ex-output-layer",
    falsified_by={"train_output": True},
    sweep=[{"activation": "erf"}, {"activation": "softplus", "width": 3, "d": 7}],
)
def shallow_tangent_kernel(
    activation: str = "relu", width: int = 50, d: int = 4, train_output: bool = False, seed: int = 0
) -> Check:
    """The tangent kernel of the two-layer network is x·x′ times the mean of a² σ′(w·x) σ′(w·x′).

    Against the library's kernel. `train_output=True` trains the a_j too, which adds the mean of
    σ(w·x) σ(w·x′).
    """
    x = jnp.asarray(_sphere(seed, 9, d), jnp.result_type(float))
    network = networks.shallow(width, activation=activation)
    W = network.init(jax.random.key(seed), d)
    sigma = networks.activation_function(activation)
    slopes = np.asarray(jax.vmap(jax.vmap(jax.grad(sigma)))(x @ W.T))
    formula = np.asarray(x @ x.T) * (slopes @ slopes.T) / width
    if train_output:
        signs = jnp.asarray(networks.alternating_signs(width), x.dtype)

        def apply(params: tuple[Array, Array], x: Array) -> Array:
            return sigma(x @ params[0].T) @ params[1] / np.sqrt(width)

        kernel = empirical_ntk(apply, (W, signs), x)
    else:
        kernel = empirical_ntk(network.apply, W, x)
    return Check(
        "formula against kernel", _distance(kernel, formula), "<=", 0, rounding_tolerance()
    )


@result(
    "S24",
    "Equation (14.3)",
    theorem="prop-layerwise",
    exercise="ex-output-layer",
    falsified_by={"dropped_layer": 1},
    sweep=[{"widths": (7, 1)}, {"widths": (5, 9, 3, 1), "d": 11}],
)
def tangent_kernel_of_deep_network(
    widths: tuple[int, ...] = (32, 24, 1), d: int = 4, dropped_layer: int | None = None
) -> list[Check]:
    """The tangent kernel is the Gram matrix of the gradients with respect to all parameters.

    Gradients by hand-written back-propagation in NumPy against both routes of `empirical_ntk`.
    With `dropped_layer` one layer is kept frozen, and its share is missing.
    """
    x = _sphere(3, 11, d)
    network = networks.mlp(widths)
    params = network.init(jax.random.key(5), d)
    gradients = _numpy_relu_gradients(params, x)
    if dropped_layer is not None:
        sizes = [layer["weight"].size for layer in params][::-1]
        starts = np.cumsum([0, *sizes])[len(widths) - 1 - dropped_layer]
        gradients[:, starts : starts + params[dropped_layer]["weight"].size] = 0
    oracle = gradients @ gradients.T
    points = jnp.asarray(x, jnp.result_type(float))
    return [
        Check(
            f"{method} route against NumPy",
            _distance(empirical_ntk(network.apply, params, points, method=method), oracle),
            "<=",
            0,
            rounding_tolerance(),
        )
        for method in ("layerwise", "jacobian")
    ]


@result(
    "S24",
    "Limit kernel",
    theorem="thm-arc-cosine",
    exercise="ex-orthant",
    falsified_by={"anisotropy": 3.0},
    sweep=[{"seed": 3}, {"seed": 8}],
)
def relu_closed_form(anisotropy: float = 1.0, draws: int = 400_000, seed: int = 0) -> list[Check]:
    """For ReLU and Gaussian weights k∞(x, x′) = x·x′ (π − θ)/2π, with θ the angle between x and x′.

    Monte Carlo over weights at eight angles for both E[σ′σ′] and E[σσ], and for the first a
    numerical integral over one of the two normals. Tolerance 5 standard errors (false alarm below
    1e-5). `anisotropy` stretches the weights along one axis.
    """
    from scipy.integrate import quad
    from scipy.special import ndtr

    rng = np.random.default_rng(seed)
    angles = np.linspace(0.1, 3.0, 8)
    w = rng.normal(size=(draws, 2)) * np.array([1.0, anisotropy])
    z1 = w[:, :1]
    z2 = w @ np.stack([np.cos(angles), np.sin(angles)])
    covariance = np.cos(angles)
    first, zeroth = (np.asarray(k) for k in relu_angle_kernels(jnp.asarray(covariance)))
    slopes = np.mean((z1 > 0) & (z2 > 0), axis=0)
    values = np.mean(np.maximum(z1, 0) * np.maximum(z2, 0), axis=0)
    # Given z₁ > 0, z₂ is normal with mean cos θ z₁ and the standard deviation of the rest.
    slants = covariance / (anisotropy * np.sin(angles))
    orthant = [
        quad(lambda z, s=slant: _normal_density(z) * ndtr(s * z), 0, np.inf)[0] for slant in slants
    ]
    return [
        Check("E[σ′σ′], sampled", _distance(slopes, zeroth), "<=", 0, 2.5 / np.sqrt(draws)),
        Check("E[σσ], sampled", _distance(values, first), "<=", 0, 5.6 / np.sqrt(draws)),
        Check("E[σ′σ′], integral", _distance(orthant, zeroth), "<=", 0, rounding_tolerance()),
    ]


@result(
    "S24",
    "Convergence in width",
    theorem="thm-concentration",
    exercise="ex-variance",
    falsified_by={"tail": 1.5},
    sweep=[{"width": 10, "seed": 2}, {"width": 200, "draws": 2000}],
)
def finite_width_moments(
    width: int = 40, draws: int = 8000, tail: float | None = None, seed: int = 0
) -> list[Check]:
    """At width m the kernel has mean k∞ and a variance of exactly 1/m times that of one unit, so
    3/m at a unit x with both layers trained.

    Mean and variance of `empirical_ntk` over draws of the network: E K = 1 and m Var K = 3 at a
    point; for two points at 60 degrees and trained first layer m Var = (x·x′)² p(1 − p) with
    p = 1/3. Tolerances: five standard errors, the fourth moments in closed form. `tail` replaces
    the Gaussian output weights by Student's t with so few degrees of freedom that a² has no mean.
    """
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(draws, width, 2))
    shape = (draws, 1, width)
    output = rng.normal(size=shape) if tail is None else rng.standard_t(tail, size=shape)
    W, a = (_validate.from_numpy(weights, float) for weights in (hidden, output))
    pair = _validate.from_numpy([[1, 0], [0.5, np.sqrt(0.75)]], float)
    # The gain 1/√d of the first layer makes unit points of those of norm √2.
    deep, shallow = networks.mlp((width, 1)), networks.shallow(width)
    params = ({"weight": W}, {"weight": a})
    point = np.sqrt(2) * pair[:1]
    both = np.asarray(jax.vmap(lambda p: empirical_ntk(deep.apply, p, point)[0, 0])(params))
    first = np.asarray(jax.vmap(lambda w: empirical_ntk(shallow.apply, w, pair)[0, 1])(W))
    # One unit Y = 1(z > 0)(z² + a²) is 0 or χ²₂ with even odds: E(Y − 1)⁴ = 117 before averaging,
    # so m² times the fourth moment of the mean is 117/m + 27 (1 − 1/m), less 9 for the variance.
    spread = np.sqrt((90 / width + 18) / draws)
    p = 1 / 3
    return [
        Check("mean of K(x, x)", float(np.mean(both)), "==", 1, 5 * np.sqrt(3 / (width * draws))),
        Check("m Var K(x, x)", float(width * np.var(both, dtype=float)), "==", 3, 5 * spread),
        Check(
            "m Var K(x, x′) at 60°, first layer",
            float(width * np.var(first, dtype=float)),
            "==",
            p * (1 - p) / 4,
            5 * p * (1 - p) / 4 * np.sqrt(2.5 / draws),
        ),
    ]


@result(
    "B23",
    "Section 2.2, concentration",
    theorem="thm-concentration",
    exercise="ex-concentration",
    falsified_by={"shared_units": True},
    sweep=[{"depth": 2, "widths": (64, 128, 256, 512)}, {"activation": "erf"}],
)
def concentration_rate(
    widths: tuple[int, ...] = (64, 128, 256, 512),
    draws: int = 20,
    depth: int = 1,
    activation: str = "relu",
    shared_units: bool = False,
) -> list[Check]:
    """The Gram matrix at initialization approaches its limit like m to the power −1/2.

    ‖H₀ − H∞‖ in operator norm for 20 networks at each of four widths; the 95 % interval of the
    fitted exponent reaches above −0.6 and below −0.4. With `shared_units=True` each network
    repeats 16 units, so that more width brings no more independent ones.
    """
    x = jnp.asarray(np.sqrt(4) * _sphere(0, 8, 4), jnp.result_type(float))
    if shared_units:
        deviations = np.tile(
            gram_deviation(jax.random.key(0), x, widths=(16,), draws=draws), (len(widths), 1)
        )
    else:
        deviations = gram_deviation(
            jax.random.key(0), x, widths=widths, draws=draws, depth=depth, activation=activation
        )
    fit = fit_power_law(widths, deviations)
    return [
        Check("lower end of the exponent's interval", fit.lower, "<=", -0.5, 0.1),
        Check("upper end of the exponent's interval", fit.upper, ">=", -0.5, 0.1),
        Check("fitted exponent", fit.exponent, "==", -0.5, 0.15),
    ]


@result(
    "S24",
    "Universality",
    theorem="thm-universal",
    exercise="ex-odd",
    falsified_by={"bias": False},
    sweep=[{"degree": 12}, {"degree": 80}],
)
def tweaked_kernel_is_universal(bias: bool = True, degree: int = 40) -> list[Check]:
    """With a constant coordinate added, every Taylor coefficient of the ReLU kernel is positive, so
    the kernel is universal.

    The smallest of (k + 1)^{3/2} c_k up to a degree, with c_k by Cauchy's integral in NumPy; and
    the kernel's quadratic form on cos 3φ over 48 points of the circle, which vanishes without the
    constant coordinate: no function of its RKHS has that component.
    """

    def kernel(t: np.ndarray) -> np.ndarray:
        s = (1 + t) / 2 if bias else t
        return s * (np.pi - np.arccos(s)) / (2 * np.pi)

    # The coefficients are the Fourier coefficients on a circle inside the disc of convergence.
    radius, samples = 0.9, 1024
    circle = radius * np.exp(2j * np.pi * np.arange(samples) / samples)
    degrees = np.arange(degree + 1)
    coefficients = np.fft.fft(kernel(circle)).real[: degree + 1] / samples / radius**degrees
    if not bias:
        coefficients = coefficients[1:]
        degrees = degrees[1:]
    points = 2 * np.pi * np.arange(48) / 48
    cosine = np.clip(np.cos(points[:, None] - points[None, :]), -1, 1)
    wave = np.cos(3 * points) / np.linalg.norm(np.cos(3 * points))
    scaled = np.min((degrees + 1) ** 1.5 * coefficients)
    # A value of the kernel is at most 1/2 and rounded; the division by the radius magnifies that.
    unit = float(np.finfo(float).eps)
    rounding = unit * (degree + 1) ** 1.5 / radius**degree
    return [
        Check("smallest scaled coefficient", scaled, ">=", 0.04, rounding),
        Check("quadratic form on cos 3φ", wave @ kernel(cosine) @ wave, ">=", 0.01, 48 * unit),
    ]


@result(
    "S24",
    "Deep recursion",
    theorem="thm-recursion",
    exercise="ex-depth",
    falsified_by={"weight_scale": 1.5},
    sweep=[
        {"activation": "erf", "w_std": 1.5, "b_std": 0.3},
        {"activation": "tanh", "b_std": 0.5},
        {"depth": 1},
    ],
)
def recursion_against_monte_carlo(
    activation: str = "relu",
    depth: int = 2,
    w_std: float = 1.4,
    b_std: float = 0.2,
    width: int = 128,
    draws: int = 64,
    weight_scale: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """The recursion over layers gives the limit of the tangent kernel and of the covariance of the
    outputs.

    The mean of finite networks' kernels, and of products of their 64 outputs, over draws.
    Tolerances: 5 standard errors, estimated from the draws, plus 6/width for the bias of finite
    width. The theorem needs parameters of variance 1; here they are drawn with the standard
    deviation `weight_scale`.
    """
    d, outputs = 3, 64
    x = jnp.asarray(np.sqrt(d) * _sphere(seed, 5, d), jnp.result_type(float))
    options: dict[str, Any] = {"activation": activation, "w_std": w_std, "b_std": b_std}
    hidden = [width] * depth
    network, single = (networks.mlp((*hidden, count), **options) for count in (outputs, 1))

    def drawn(network: networks.Network, key: Key[Array, ""]) -> Any:
        return jax.tree.map(lambda leaf: weight_scale * leaf, network.init(key, d))

    def sample(key: Key[Array, ""]) -> tuple[Array, Array]:
        f = network.apply(drawn(network, key), x)
        params = drawn(single, jax.random.fold_in(key, 1))
        return empirical_ntk(single.apply, params, x), f @ f.T / outputs

    limits = infinite_ntk(x, depth=depth, **options), nngp(x, depth=depth, **options)
    samples = jax.lax.map(sample, jax.random.split(jax.random.key(seed), draws))
    checks = []
    for name, values, limit in zip(("tangent kernel", "covariance"), samples, limits, strict=True):
        error = np.abs(np.asarray(jnp.mean(values, axis=0) - limit))
        allowed = 5 * np.asarray(jnp.std(values, axis=0)) / np.sqrt(draws)
        allowed = allowed + 6 / width * np.asarray(jnp.abs(limit))
        checks.append(Check(f"{name}: error over tolerance", np.max(error / allowed), "<=", 1))
    return checks


@result(
    "S24",
    "Standard parameterization",
    theorem="prop-standard",
    exercise="ex-first-layer",
    falsified_by={"parameterization": "ntk"},
    sweep=[{"seed": 3}, {"activation": "erf", "depth": 1}],
)
def standard_kernel_grows(
    parameterization: str = "standard",
    activation: str = "relu",
    depth: int = 2,
    width: int = 256,
    seed: int = 0,
) -> list[Check]:
    """In standard (fan-in) parameterization the tangent kernel grows like the width, but Θ/m
    converges and so do regression's predictions.

    The growth of the mean diagonal from m to 4m; and the predictions of ridgeless regression with
    the finite kernel at width 4m against the limit's.
    """
    d, n = 6, 8
    x = jnp.asarray(np.sqrt(d) * _sphere(seed, n + 4, d), jnp.result_type(float))
    y = np.sign(np.random.default_rng(seed + 1).normal(size=n))

    def kernel(m: int) -> np.ndarray:
        network = networks.mlp(
            (*[m] * depth, 1), activation=activation, parameterization=parameterization
        )
        keys = jax.random.split(jax.random.key(seed), 4)
        one = lambda key: empirical_ntk(network.apply, network.init(key, d), x)  # noqa: E731
        return np.asarray(jnp.mean(jax.lax.map(one, keys), axis=0), dtype=float)

    def predictions(kernel: np.ndarray) -> np.ndarray:
        return kernel[n:, :n] @ np.linalg.solve(kernel[:n, :n], y)

    small, large = kernel(width), kernel(4 * width)
    limit = np.asarray(standard_ntk_limit(x, depth=depth, activation=activation), dtype=float)
    error = _distance(predictions(large), predictions(limit))
    return [
        Check("growth of the diagonal, m to 4m", np.trace(large) / np.trace(small), "==", 4, 0.4),
        Check("predictions against the limit's", error, "<=", 0, 0.15),
    ]


@result(
    "B23",
    "Section 2.2, two parameterizations",
    theorem="prop-equal-in-law",
    exercise="ex-step-sizes",
    falsified_by={"parameterization": "ntk-fan-out"},
    sweep=[{"widths": (5, 40, 3), "b_std": 0.0}, {"activation": "tanh", "w_std": 2.0}],
)
def parameterizations_equal_in_law(
    parameterization: str = "ntk",
    widths: tuple[int, ...] = (48, 12, 2),
    activation: str = "relu",
    w_std: float = 1.3,
    b_std: float = 0.4,
) -> list[Check]:
    """NTK and standard parameterization define the same random function at the start, with
    different gradients.

    Absorbing the gains into the parameters changes no output; it turns standard normals into the
    law that `standard` draws from, N(0, σ_w²/fan-in) for weights; and the tangent kernels differ.
    The fan-out gains belong to another law as soon as a layer's two sides differ.
    """
    d = 6
    options: dict[str, Any] = {"activation": activation, "w_std": w_std, "b_std": b_std}
    ntk = networks.mlp(widths, parameterization=parameterization, **options)
    standard = networks.mlp(widths, parameterization="standard", **options)
    x = jnp.asarray(_sphere(0, 7, d), jnp.result_type(float))
    params = ntk.init(jax.random.key(0), d)
    assert isinstance(ntk.apply, DenseModel)
    _, layers = ntk.apply.layerwise(params, x, None)
    absorbed = tuple(
        {
            name: value * (layer.weight_gain if name == "weight" else layer.bias_gain)
            for name, value in parameters.items()
        }
        for parameters, layer in zip(params, layers, strict=True)
    )
    fans = (d, *widths[:-1])
    law = [w_std / np.sqrt(fan) for fan in fans]
    gains = [layer.weight_gain for layer in layers]
    same = _distance(ntk.apply(params, x), standard.apply(absorbed, x))
    traces = [
        _trace(empirical_ntk(standard.apply, absorbed, x)),
        _trace(empirical_ntk(ntk.apply, params, x)),
    ]
    return [
        Check("difference of the outputs", same, "<=", 0, rounding_tolerance()),
        Check("largest ratio of standard deviations", np.max(np.divide(gains, law)), "==", 1, 1e-6),
        Check("ratio of the tangent kernels' traces", traces[0] / traces[1], ">=", 1.5),
    ]


@result(
    "B23",
    "Section 2.2, NTK parameterization",
    theorem="thm-recursion",
    falsified_by={"parameterization": "ntk-fan-out"},
    sweep=[{"b_std": 0.0}, {"activation": "tanh"}],
)
def output_scale_is_stable(
    parameterization: str = "ntk",
    b_std: float = 1.0,
    activation: str = "relu",
    draws: int = 200,
    seed: int = 0,
) -> Check:
    """With fan-in gains the outputs at initialization keep their scale as the widths grow.

    The ratio of root mean squared outputs at widths 128 and 16, two hidden layers, one unit input;
    sampling error below 0.15 at 200 draws. The printed fan-out gains with biases let it grow
    like the square root of the width.
    """
    x = jnp.asarray(_sphere(seed, 1, 10), jnp.result_type(float))

    def scale(width: int) -> float:
        network = networks.mlp(
            (width, width, 1), activation=activation, parameterization=parameterization, b_std=b_std
        )
        keys = jax.random.split(jax.random.key(seed), draws)
        outputs = jax.lax.map(lambda key: network.apply(network.init(key, 10), x)[0, 0], keys)
        return float(jnp.sqrt(jnp.mean(outputs**2)))

    return Check("growth of the outputs, width 16 to 128", scale(128) / scale(16), "==", 1, 0.25)


@result(
    "B23",
    "Section 2.2, fan-out gains",
    theorem="prop-fan-out",
    exercise="ex-fan-out",
    falsified_by={"activation": "tanh"},
    sweep=[{"depth": 1, "width": 16}, {"d": 1, "b_std": 0.3}],
)
def fan_out_gains(
    activation: str = "relu",
    depth: int = 2,
    width: int = 64,
    d: int = 10,
    b_std: float = 1.0,
    draws: int = 500,
) -> list[Check]:
    """With the printed fan-out gains a ReLU network without biases is √d times the one with fan-in
    gains, and its tangent kernel d times; with biases E f² is at least σ_b² m/2.

    One draw of the parameters for both gains; and the mean of f² over 500 networks in units of
    m σ_b²/2. Its expectation at these arguments is 3/2 + 5/(2m), with a standard error of 0.1.
    """
    options: dict[str, Any] = {"activation": activation}
    widths = (*[width] * depth, 1)
    fan_in = networks.mlp(widths, **options)
    fan_out = networks.mlp(widths, parameterization="ntk-fan-out", **options)
    biased = networks.mlp(widths, parameterization="ntk-fan-out", b_std=b_std, **options)
    x = jnp.asarray(_sphere(0, 5, d), jnp.result_type(float))
    params = fan_in.init(jax.random.key(0), d)

    def squares(key: Key[Array, ""]) -> Array:
        return biased.apply(biased.init(key, d), x[:1])[0, 0] ** 2

    @functools.partial(jax.jit, static_argnums=0)
    def output_and_kernel(apply: Any, params: Any) -> tuple[Array, Array]:
        return apply(params, x), empirical_ntk(apply, params, x)

    f_out, kernel_out = output_and_kernel(fan_out.apply, params)
    f_in, kernel_in = output_and_kernel(fan_in.apply, params)
    mean = float(jnp.mean(jax.lax.map(squares, jax.random.split(jax.random.key(1), draws))))
    return [
        Check(
            "outputs against √d times fan-in's",
            _distance(f_out, np.sqrt(d) * np.asarray(f_in)),
            "<=",
            0,
            rounding_tolerance(),
        ),
        Check(
            "kernel against d times fan-in's",
            _distance(kernel_out, d * np.asarray(kernel_in)),
            "<=",
            0,
            rounding_tolerance(d),
        ),
        Check("mean of f² over m σ_b²/2", 2 * mean / (width * b_std**2), ">=", 1),
    ]
