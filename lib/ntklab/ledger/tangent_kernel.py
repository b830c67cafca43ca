"""The ledger of tangent_kernel: its entries and their oracles."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Key

from ntklab import _recursion, _validate, networks
from ntklab.checks import Check, rounding_tolerance
from ntklab.ledger import Mutant, result
from ntklab.ledger._shared import unit_vectors
from ntklab.statistics import fit_power_law
from ntklab.tangent_kernel import (
    arc_cosine_coefficients,
    empirical_ntk,
    gram_deviation,
    infinite_ntk,
    layer_kernels,
    nngp,
    relu_angle_kernels,
    standard_ntk_limit,
)


def _points(x: np.ndarray) -> Array:
    return _validate.from_numpy(x, jnp.result_type(float))


def _distance(a: Any, b: Any) -> float:
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))))


def _normal_density(z: float) -> float:
    return float(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def _over_draws(
    measure: Callable[[Key[Array, ""]], Any], seed: int, draws: int
) -> list[np.ndarray]:
    """What `measure` gives for each of so many keys, in float64, as a list of its outputs."""
    keys = jax.random.split(jax.random.key(seed), draws)
    drawn = jax.jit(lambda keys: jax.lax.map(measure, keys))(keys)
    return [np.asarray(leaf, float) for leaf in jax.tree.leaves(drawn)]


def _over_networks(
    measure: Callable[[Any, Any], Array],
    widths: tuple[int, ...],
    *,
    d: int,
    draws: int,
    seed: int,
    weight_scale: float = 1.0,
    **options: Any,
) -> np.ndarray:
    """What `measure(apply, params)` gives for networks in NTK parameterization, or with fan-out
    gains, whose normal parameters NumPy draws: in a tenth of the time that JAX takes.
    """
    rng = np.random.default_rng(seed)
    network = networks.mlp(widths, **options)

    def drawn(*shape: int) -> Array:
        return _points(weight_scale * rng.normal(size=(draws, *shape)))

    params = tuple(
        {"weight": drawn(fan_out, fan_in)}
        | ({"bias": drawn(fan_out)} if options.get("b_std") else {})
        for fan_in, fan_out in itertools.pairwise((d, *widths))
    )
    one = lambda params: measure(network.apply, params)  # noqa: E731
    return np.asarray(jax.jit(lambda params: jax.lax.map(one, params))(params), float)


def _standard_error(values: np.ndarray) -> Any:
    """Of the mean over the first axis."""
    return np.std(values, axis=0, ddof=1) / np.sqrt(len(values))


def _score(values: np.ndarray, expected: Any, bias: float = 0.0) -> float:
    """How many standard errors the worst mean over draws is off, beyond a share `bias` of it."""
    error = np.abs(np.mean(values, axis=0) - expected) - bias * np.abs(expected)
    return float(np.max(np.maximum(error, 0) / _standard_error(values)))


def _numpy_activation(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The activation and its derivative, written out."""
    from scipy.special import erf, expit

    if name == "relu":
        return np.maximum(z, 0), (z > 0).astype(float)
    if name == "erf":
        return erf(z), 2 / np.sqrt(np.pi) * np.exp(-(z**2))
    if name == "tanh":
        return np.tanh(z), 1 - np.tanh(z) ** 2
    assert name == "softplus"
    return np.logaddexp(0, z), expit(z)


def _numpy_relu_gradients(
    params: Any, x: np.ndarray, w_std: float, b_std: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Gradients of a ReLU network by hand-written back-propagation: of each layer, last to first,
    those by its weights and by its biases, `[N, outputs, parameters]`.
    """
    weights = [np.asarray(layer["weight"], float) for layer in params]
    biases = [np.asarray(layer.get("bias", 0.0), float) for layer in params]
    gains = [w_std / np.sqrt(weight.shape[1]) for weight in weights]
    activations, slopes = [x], []
    for weight, bias, gain in zip(weights[:-1], biases, gains, strict=False):
        z = gain * activations[-1] @ weight.T + b_std * bias
        slopes.append(z > 0)
        activations.append(np.maximum(z, 0))
    outputs = len(weights[-1])
    signal = np.broadcast_to(np.eye(outputs), (len(x), outputs, outputs))
    gradients = []
    for index in reversed(range(len(weights))):
        by_weight = gains[index] * signal[..., None] * activations[index][:, None, None, :]
        gradients.append((by_weight.reshape(len(x), outputs, -1), b_std * signal))
        if index > 0:
            signal = gains[index] * (signal @ weights[index]) * slopes[index - 1][:, None, :]
    return gradients


@result(
    "S24",
    "Equation (14.2)",
    theorem="prop-shallow-kernel",
    exercise="ex-output-layer",
    evidence="rounding",
    falsified_by={"train_output": True},
    sweep=[{"activation": "erf"}, {"activation": "softplus", "width": 3, "d": 7}],
    mutants=[
        Mutant.statement("|a| in place of a²", power=1.0),
        Mutant.statement("the output layer adds nothing", output_share=0.0),
        Mutant.code(
            "the output weights given are not used",
            "networks.shallow",
            lambda f: lambda width, activation, output_weights: f(width, activation=activation),
        ),
        Mutant.code(
            "σ′ is taken at −z",
            "networks._Shallow.outputs",
            lambda f: lambda self, W, x: -f(self, -W, x),
        ),
    ],
)
def shallow_tangent_kernel(
    activation: str = "relu",
    width: int = 50,
    d: int = 4,
    train_output: bool = False,
    power: float = 2.0,
    output_share: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """The tangent kernel of the two-layer network is x·x′ times the mean of a² σ′(w·x) σ′(w·x′);
    training a as well adds the mean of σ(w·x) σ(w·x′).

    Both formulas, in NumPy, against the library's kernel, for output weights a_j that are normal.
    `train_output=True` trains the a_j where the first formula takes them as fixed.
    """
    x = unit_vectors(seed, 9, d)
    a = np.random.default_rng(seed + 1).normal(size=width)
    network = networks.shallow(width, activation=activation, output_weights=a)
    W = network.init(jax.random.key(seed), d)
    values, slopes = _numpy_activation(activation, x @ np.asarray(W, float).T)
    first = (x @ x.T) * ((slopes * np.abs(a) ** power) @ slopes.T) / width
    sigma = networks.activation_function(activation)

    def apply(params: tuple[Array, Array], x: Array) -> Array:
        return sigma(x @ params[0].T) @ params[1] / np.sqrt(width)

    points = _points(x)
    both = empirical_ntk(apply, (W, _points(a)), points)
    alone = both if train_output else empirical_ntk(network.apply, W, points)
    second = first + output_share * values @ values.T / width
    # Sums of `width` terms of order a²: they weigh no more than the largest of them.
    tolerance = rounding_tolerance(float(np.max(a**2)))
    return [
        Check("W trained: formula against kernel", _distance(alone, first), "==", 0, tolerance),
        Check("W, a trained: formula against kernel", _distance(both, second), "==", 0, tolerance),
    ]


@result(
    "S24",
    "Equation (14.3)",
    theorem="prop-layerwise",
    exercise="ex-output-layer",
    evidence="rounding",
    falsified_by={"frozen_layer": 1},
    sweep=[{"widths": (7, 1), "b_std": 0.0}, {"widths": (5, 9, 3, 1), "d": 11}],
    mutants=[
        Mutant.statement("biases add nothing", bias_share=0.0),
        Mutant.statement("two different outputs have no kernel", between_outputs=0.0),
        Mutant.code(
            "the biases behind dense layers are forgotten",
            "jacobians._factors",
            lambda f: lambda *arguments: f(*arguments)._replace(shift=None),
        ),
        Mutant.code(
            "two outputs are exchanged in one of the two rows",
            "jacobians.product",
            lambda f: lambda *arguments: f(*arguments)[..., ::-1],
        ),
    ],
)
def tangent_kernel_of_deep_network(
    widths: tuple[int, ...] = (32, 24, 2),
    d: int = 4,
    b_std: float = 0.4,
    frozen_layer: int | None = None,
    bias_share: float = 1.0,
    between_outputs: float = 1.0,
) -> list[Check]:
    """The tangent kernel of outputs k and k′ is the sum over layers of (σ_w² a·a′ + σ_b²) s_k·s_k′,
    the inner product of the gradients with respect to all weights and biases.

    Gradients by hand-written back-propagation in NumPy against `empirical_ntk`, for two outputs,
    with biases: of the network, whose layers it knows by their form, and of the same network as a
    function that hides them, so that it forms their gradients. With `frozen_layer` one layer is
    not trained, and its share is missing.
    """
    w_std, x = 1.3, unit_vectors(3, 11, d)
    network = networks.mlp(widths, w_std=w_std, b_std=b_std)
    params = network.init(jax.random.key(5), d)
    shares = _numpy_relu_gradients(params, x, w_std, b_std)
    if frozen_layer is not None:
        del shares[len(widths) - 1 - frozen_layer]
    oracle = np.zeros((11, 11, widths[-1], widths[-1]))
    for by_weight, by_bias in shares:
        oracle += np.einsum("ikp,jlp->ijkl", by_weight, by_weight)
        oracle += bias_share * np.einsum("ikp,jlp->ijkl", by_bias, by_bias)
    oracle = oracle * np.where(np.eye(widths[-1]), 1, between_outputs)
    if widths[-1] == 1:
        oracle = oracle[:, :, 0, 0]

    def hidden(params: Any, x: Array) -> Array:
        # Times the tanh of 0 plus 1: no product of a matrix and a number, to its reader.
        moved = jax.tree.map(lambda leaf: leaf * (1 + jnp.tanh(0 * leaf)), params)
        return network.apply(moved, x)

    return [
        Check(
            f"{how} against NumPy",
            _distance(empirical_ntk(apply, params, _points(x)), oracle),
            "==",
            0,
            rounding_tolerance(float(np.max(np.abs(oracle)))),
        )
        for how, apply in (
            ("by products of Gram matrices", network.apply),
            ("by gradients", hidden),
        )
    ]


@result(
    "S24",
    "Limit kernel",
    theorem="thm-arc-cosine",
    exercise="ex-orthant",
    evidence="rounding",
    falsified_by={"anisotropy": 1.1},
    sweep=[{"norms": (0.3, 2.0)}],
    mutants=[
        Mutant.statement("ω in place of π − ω", reflected=True),
        Mutant.statement("sin ω is left out", sine=0.0),
        Mutant.statement("the norms are left out", norm_power=0.0),
        Mutant.code(
            "E[σσ] lacks its cosine",
            "_recursion.arc_cosine_deficit",
            lambda f: (
                lambda deficit, surplus: (
                    f(deficit, surplus) - deficit * _recursion.angle_share(deficit, surplus)
                )
            ),
        ),
        Mutant.code(
            "the two expectations are halved once more",
            "tangent_kernel.relu_angle_kernels",
            lambda f: lambda cosine: tuple(value / 2 for value in f(cosine)),
        ),
        Mutant.code(
            "the derivative kernel of the first layer is left out",
            "_recursion.shares",
            lambda f: lambda total, layer: f(total, layer._replace(slope=layer.slope**0)),
        ),
    ],
)
def relu_closed_form(
    anisotropy: float = 1.0,
    norms: tuple[float, float] = (1.0, 1.7),
    reflected: bool = False,
    sine: float = 1.0,
    norm_power: float = 1.0,
) -> list[Check]:
    """For ReLU, Gaussian weights and inputs at the angle ω, E[σ′σ′] = (π − ω)/2π and
    E[σσ] = ‖x‖‖x′‖ (sin ω + (π − ω) cos ω)/2π; the limit of the tangent kernel is x·x′ E[σ′σ′] for
    trained W, and E[σσ] more for both layers.

    At eight angles both formulas against integrals over one of the two normals, the mean over the
    other in closed form; and the library's kernels against the formulas. `anisotropy` stretches
    the weights along one axis.
    """
    from scipy.integrate import quad
    from scipy.special import ndtr

    angles, (r, s) = np.linspace(0.1, 3.0, 8), norms
    both, cosine = angles if reflected else np.pi - angles, np.cos(angles)
    orthant = both / (2 * np.pi)
    values = (sine * np.sin(angles) + both * cosine) / (2 * np.pi)
    slopes_integral, values_integral = [], []
    for c, rest in zip(cosine, anisotropy * np.sin(angles), strict=True):
        # Given z > 0 of x, the other's is normal with mean c z and this standard deviation.
        def slope(z: float, t: float = c / rest) -> float:
            return _normal_density(z) * float(ndtr(t * z))

        def value(z: float, c: float = c, rest: float = rest) -> float:
            t = c * z / rest
            mean = c * z * float(ndtr(t)) + rest * _normal_density(t)
            return z * mean * _normal_density(z)

        slopes_integral.append(quad(slope, 0, np.inf)[0])
        values_integral.append(quad(value, 0, np.inf)[0])
    size = (r * s) ** norm_power
    formulas = [size * cosine * orthant, size * (values + cosine * orthant)]
    # The gain 1/√d of the first layer makes points of these norms of points √2 times as long.
    pair = np.sqrt(2) * np.stack([s * cosine, s * np.sin(angles)], axis=1)
    first = np.sqrt(2) * np.array([[r, 0.0]])
    x1, x2 = _points(first), _points(pair)
    limits = [layer_kernels(x1, x2, depth=1)[0, 0], infinite_ntk(x1, x2, depth=1)[0]]
    library = relu_angle_kernels(_points(cosine))
    tolerance = rounding_tolerance()
    named = {
        "E[σ′σ′]: formula against integral": (slopes_integral, orthant),
        "E[σσ]: formula against integral": (values_integral, values),
        "E[σ′σ′]: library against formula": (library[1], orthant),
        "E[σσ]: library against formula": (library[0], values),
        "Θ, W trained: library against formula": (limits[0], formulas[0]),
        "Θ, W, a trained: library against formula": (limits[1], formulas[1]),
    }
    return [Check(what, _distance(*two), "==", 0, tolerance) for what, two in named.items()]


@result(
    "S24",
    "Convergence in width",
    theorem="thm-concentration",
    exercise="ex-variance",
    evidence="sampled",
    level=1e-4,
    seeds=8000,
    falsified_by={"tail": 1.5},
    sweep=[{"width": 10, "seed": 2}, {"width": 200, "draws": 2000}],
    mutants=[
        Mutant.statement("the variance is 2/m, that of signs a = ±1", variance=2.0),
        Mutant.statement("the variance falls like m to the power −0.9", exponent=0.9),
        Mutant.statement("p in place of p(1 − p)", bernoulli=False),
        Mutant.code(
            "the gain divides by m + 1",
            "networks._DenseStack._gains",
            lambda f: lambda self, fan_in, fan_out: f(self, fan_in + 1, fan_out),
        ),
        Mutant.code(
            "the kernel with a fixed output layer has no factor x·x′",
            "jacobians._entering",
            lambda f: (
                lambda *arguments, **cut: (lambda a, *scales: (a / a[:, :1], *scales))(
                    *f(*arguments, **cut)
                )
            ),
        ),
    ],
)
def finite_width_moments(
    width: int = 40,
    draws: int = 8000,
    tail: float | None = None,
    variance: float = 3.0,
    exponent: float = 1.0,
    bernoulli: bool = True,
    seed: int = 0,
) -> list[Check]:
    """At width m the kernel has the limit's mean and a variance of exactly 1/m times that of one
    unit, so 3/m at a unit x with both layers trained.

    Mean and variance of `empirical_ntk` over draws of the network: E Θ = 1 and m Var Θ = 3 at a
    point; for two points at 60 degrees and the first layer trained E Θ = x·x′ p and
    m Var Θ = (x·x′)² p(1 − p) with p = 1/3. Tolerances: five standard errors, the fourth moments in
    closed form. `tail` replaces the Gaussian output weights by Student's t with so few degrees of
    freedom that a² has no mean.
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
    both = np.asarray(jax.vmap(lambda p: empirical_ntk(deep.apply, p, point)[0, 0])(params), float)
    first = np.asarray(jax.vmap(lambda w: empirical_ntk(shallow.apply, w, pair)[0, 1])(W), float)
    # One unit Y = 1(z > 0)(z² + a²) is 0 or χ²₂ with even odds: E(Y − 1)⁴ = 117 before averaging,
    # so m² times the fourth moment of the mean is 117/m + 27 (1 − 1/m), less 9 for the variance.
    spread = np.sqrt((90 / width + 18) / draws)
    p = 1 / 3
    one = p * (1 - p) / 4
    scale = width**exponent
    return [
        Check("mean of Θ(x, x)", np.mean(both), "==", 1, 5 * np.sqrt(3 / (width * draws))),
        Check("m Var Θ(x, x)", scale * np.var(both), "==", variance, 5 * spread),
        Check(
            "mean of Θ(x, x′) at 60°, W trained",
            np.mean(first),
            "==",
            p / 2,
            5 * np.sqrt(one / (width * draws)),
        ),
        Check(
            "m Var Θ(x, x′) at 60°, W trained",
            scale * np.var(first),
            "==",
            one if bernoulli else p / 4,
            5 * one * np.sqrt(2.5 / draws),
        ),
    ]


def _unit_kernels(
    x: np.ndarray, activation: str, train_output: bool, units: int, seed: int
) -> np.ndarray:
    """The contributions Y of single units to the Gram matrix, `[units, n, n]`, in NumPy."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(units, x.shape[1])) @ x.T
    values, slopes = _numpy_activation(activation, z)
    Y = (x @ x.T) * slopes[:, :, None] * slopes[:, None, :]
    if train_output:
        Y = Y * rng.normal(size=(units, 1, 1)) ** 2 + values[:, :, None] * values[:, None, :]
    return Y


@result(
    "B23",
    "Section 2.2, concentration",
    theorem="thm-concentration",
    exercise="ex-concentration",
    evidence="sampled",
    level=1e-4,
    seeds=600,
    falsified_by={"copies": 2},
    sweep=[{"activation": "erf"}, {"train_output": False}, {"depth": 2, "widths": (16, 128)}],
    mutants=[
        Mutant.statement("the exponent is −0.4", exponent=0.4),
        Mutant.statement("the exponent is −0.6", exponent=0.6),
        Mutant.statement("the constant C² is the sum of the mean squares", centered=False),
        Mutant.code(
            "the deviations are a thousand times as large",
            "tangent_kernel.gram_deviation",
            lambda f: lambda *a, **k: 1000 * f(*a, **k),
        ),
        Mutant.code(
            "the deviations grow like (m/64)^0.1 beside",
            "tangent_kernel.gram_deviation",
            lambda f: lambda *a, **k: f(*a, **k) * (np.array([k["widths"]]).T / 64) ** 0.1,
        ),
        Mutant.code(
            "the network's first gain is left out",
            "networks._DenseStack._gains",
            lambda f: lambda self, i, o: (f(self, i, o)[0] * (2 if i == 4 else 1), 0.0),
        ),
    ],
)
def concentration_rate(
    widths: tuple[int, int] = (32, 256),
    draws: int = 600,
    depth: int = 1,
    activation: str = "relu",
    train_output: bool = True,
    copies: int = 1,
    exponent: float = 0.5,
    centered: bool = True,
    seed: int = 0,
) -> list[Check]:
    """The Gram matrix at initialization approaches its limit exactly like C/√m in root mean square,
    C² the sum of the variances of one unit's entries; √m times its operator norm converges in law.

    m E‖H_m − H∞‖²_F over C² at two widths, for networks of the library and units drawn in NumPy;
    with both layers trained also the mean of √m ‖H_m − H∞‖ against that of the norm of a Gaussian
    matrix with the covariance of Y, and the exponent that a power law gives to it. At `depth` above
    1 the exponent is measured, not proved here. Tolerances: five standard errors, and 1/m for the
    mean of the norm, which an expansion in 1/√m gives (its odd terms vanish, as the norm is even).
    With `copies` = 2 every unit is there twice, so that units are not independent.
    """
    n, d = 6, 4
    x = unit_vectors(seed, n, d)
    scaled = _points(np.sqrt(d) * x)
    options: dict[str, Any] = {"depth": depth, "activation": activation}
    checks = []
    if depth == 1:
        Y = _unit_kernels(x, activation, train_output, 50_000, seed + 1)
        mean = np.mean(Y, axis=0)
        squares_of_units = np.sum((Y - mean if centered else Y) ** 2, axis=(1, 2))
        C2, C2_error = np.mean(squares_of_units), _standard_error(squares_of_units)
        limit = infinite_ntk(scaled, **options)
        if not train_output:
            limit = layer_kernels(scaled, **options)[0]
        for width in widths:
            network = networks.mlp((width, 1), activation=activation)
            alone = networks.shallow(width, activation=activation)

            def deviation(
                key: Key[Array, ""],
                width: int = width,
                apply: Any = network.apply,
                apply_alone: Any = alone.apply,
            ) -> Array:
                drawn = jax.random.normal(key, (width // copies * (d + 1),), scaled.dtype)
                drawn = jnp.tile(drawn.reshape(-1, d + 1), (copies, 1))
                W, a = drawn[:, :d], drawn[:, d:].T
                if not train_output:
                    return empirical_ntk(apply_alone, W, scaled / np.sqrt(d)) - limit
                return empirical_ntk(apply, ({"weight": W}, {"weight": a}), scaled) - limit

            (deviations,) = _over_draws(deviation, seed + width, draws)
            squares = width ** (2 * exponent) * np.sum(deviations**2, axis=(1, 2)) / C2
            tolerance = 5 * np.hypot(_standard_error(squares), C2_error / C2)
            checks.append(
                Check(f"m E‖H_m − H∞‖²_F / C² at m = {width}", np.mean(squares), "==", 1, tolerance)
            )
    if train_output:
        norms = gram_deviation(
            jax.random.key(seed), scaled, widths=widths, draws=draws, **options
        ) * np.sqrt(copies)
        if depth == 1:
            some = 10_000
            weights = np.random.default_rng(seed + 2).normal(size=(draws, some)) / np.sqrt(some)
            matrices = weights @ (Y[:some] - mean).reshape(some, -1)
            gaussian = np.linalg.norm(matrices.reshape(-1, n, n), ord=2, axis=(1, 2))
            # Its covariance is that of some units only; the norm goes with the root of it.
            errors = _standard_error(squares_of_units[:some]) / np.mean(squares_of_units) / 2
            errors = np.hypot(errors, _standard_error(gaussian) / np.mean(gaussian))
            for width, row in zip(widths, norms, strict=True):
                relative = width**exponent * row / np.mean(gaussian)
                checks.append(
                    Check(
                        f"mean of √m ‖H_m − H∞‖ over its limit at m = {width}",
                        np.mean(relative),
                        "==",
                        1,
                        5 * np.hypot(_standard_error(relative), errors) + 1 / width,
                    )
                )
        fit = fit_power_law(widths, norms)
        checks.append(
            Check(
                "exponent of ‖H_m − H∞‖ in m",
                fit.exponent,
                "==",
                -exponent,
                # 95 % are 2 standard errors; 1/m at the smaller width moves the exponent.
                2.5 * (fit.upper - fit.lower) / 2 + 1 / widths[0] / np.log(widths[1] / widths[0]),
            )
        )
    return checks


@result(
    "B23",
    "Section 2.2, equation (3)",
    theorem="thm-concentration",
    exercise="ex-concentration",
    evidence="sampled",
    level=1e-4,
    seeds=2000,
    falsified_by={"norm": 1.3},
    sweep=[{"n": 8, "spread": 0.0}, {"width": 16}, {"n": 8}],
    mutants=[
        Mutant.statement("the bound is half as large", constant=0.5),
        Mutant.statement("the factor n is left out", points_power=0.0),
        Mutant.statement("the exponent is −0.6", exponent=0.6),
        Mutant.code(
            "the first layer counts twice",
            "jacobians._entering",
            lambda f: (
                lambda *arguments, **cut: (lambda a, *scales: (1.5 * a, *scales))(
                    *f(*arguments, **cut)
                )
            ),
        ),
        Mutant.code(
            "the limit lacks its factor ½",
            "_recursion.angle_share",
            lambda f: lambda deficit, surplus: 2 * f(deficit, surplus),
        ),
    ],
)
def concentration_bound(
    n: int = 1,
    width: int = 256,
    spread: float = 1.0,
    norm: float = 1.0,
    failure_probability: float = 0.05,
    draws: int = 2000,
    constant: float = 1.0,
    points_power: float = 1.0,
    exponent: float = 0.5,
    seed: int = 0,
) -> list[Check]:
    """For ReLU, W trained, a_j = ±1 and unit inputs, ‖H_m − H∞‖ ≤ n √(log(2n²/δ)/2m) with
    probability at least 1 − δ.

    The (1 − δ) quantile of ‖H_m − H∞‖ over 2000 networks. One point comes closest: there it is
    √(log 40/2) against 1.96/2, in units of 1/√m. `spread` = 0 takes n equal points, for which
    the factor n is real; `norm` makes inputs longer than 1.
    """
    d = 3
    apart = unit_vectors(seed, n, d)
    x = apart[:1] + spread * (apart - apart[:1])
    x = norm * x / np.linalg.norm(x, axis=1, keepdims=True)
    points = _points(x)
    limit = layer_kernels(np.sqrt(d) * points, depth=1)[0]
    network = networks.shallow(width)

    def deviation(key: Key[Array, ""]) -> Array:
        return empirical_ntk(network.apply, network.init(key, d), points) - limit

    (deviations,) = _over_draws(deviation, seed + width, draws)
    norms = np.linalg.norm(deviations, ord=2, axis=(1, 2))
    bound = np.sqrt(np.log(2 * n**2 / failure_probability) / 2) / width**exponent
    quantile = np.quantile(norms, 1 - failure_probability)
    return [
        Check(
            f"{1 - failure_probability:.0%} quantile of ‖H_m − H∞‖, n = {n}",
            quantile,
            "<=",
            constant * n**points_power * bound,
        )
    ]


@result(
    "S24",
    "Universality",
    theorem="thm-universal",
    exercise="ex-odd",
    evidence="rounding",
    falsified_by={"bias": False},
    sweep=[{"degree": 12}, {"degree": 200}],
    mutants=[
        Mutant.statement("coefficients fall like k to the power −1.4", power=1.4),
        Mutant.statement("the constant is a fifth larger", constant=1.2),
        Mutant.statement("an error as if cos 2φ were regressed", frequency=2),
        Mutant.code(
            "the lift lacks its factor ½",
            "tangent_kernel._fair_binomial",
            lambda f: lambda k, n: f(k, n) * 2.0**n * 0.6**n,
        ),
        Mutant.code(
            "odd coefficients from 3 on are left out",
            "tangent_kernel.arc_cosine_coefficients",
            lambda f: (
                lambda degree, bias: (
                    f(degree, bias=bias)
                    * ((np.arange(degree + 1) % 2 == 0) | (np.arange(degree + 1) < 3))
                )
            ),
        ),
        Mutant.code(
            "the derivative kernel is left out",
            "_recursion.shares",
            lambda f: lambda total, layer: f(total, layer._replace(slope=layer.slope**0)),
        ),
    ],
)
def lifted_kernel_is_universal(
    bias: bool = True,
    degree: int = 40,
    power: float = 1.5,
    constant: float = 1.0,
    frequency: int = 3,
) -> list[Check]:
    """With a constant coordinate added every Taylor coefficient c_k of the ReLU kernel is positive,
    and kernel regression learns a function on the circle that it does not see without.

    The smallest of (k + 1)^(3/2) c_k up to a degree against its limit 1/(4π^(3/2)), which the
    square root at t = 1 gives; the library's c_k against Cauchy's integral in NumPy. And the
    relative root mean square error over the circle of kernel regression on cos 3φ from equispaced
    points: the interpolant mixes the frequencies 3 + jn in proportion to their eigenvalues, so the
    error is known; without the constant coordinate these are all odd, and the fit is 0.
    """

    def kernel(t: np.ndarray, lifted: bool) -> np.ndarray:
        s = (1 + t) / 2 if lifted else t
        return s * (np.pi - np.arccos(s)) / (2 * np.pi)

    # The coefficients are the Fourier coefficients on a circle inside the disc of convergence.
    radius, samples = 0.98, 4096
    circle = radius * np.exp(2j * np.pi * np.arange(samples) / samples)
    degrees = np.arange(degree + 1)
    cauchy = np.fft.fft(kernel(circle, bias)).real[: degree + 1] / samples / radius**degrees
    coefficients = arc_cosine_coefficients(degree, bias=bias)
    first = 0 if bias else 1
    smallest = np.min(((degrees + 1.0) ** power * coefficients)[first:])

    def points(phi: np.ndarray, lifted: bool) -> Array:
        columns = [np.cos(phi), np.sin(phi)] + ([np.ones_like(phi)] if lifted else [])
        # The gain 1/√d, and the length of the lifted points.
        return _points(np.sqrt(len(columns) / (2 if lifted else 1)) * np.stack(columns, axis=1))

    def error(n: int, lifted: bool) -> float:
        grid, nodes = (2 * np.pi * np.arange(count) / count for count in (480, n))
        places = points(nodes, lifted)
        on_nodes = np.asarray(layer_kernels(places, depth=1)[0], float)
        on_grid = np.asarray(layer_kernels(points(grid, lifted), places, depth=1)[0], float)
        # Where an eigenvalue is 0 its rounding must not be inverted.
        inverse = np.linalg.pinv(on_nodes, rcond=rounding_tolerance(), hermitian=True)
        fit = on_grid @ (inverse @ np.cos(3 * nodes))
        return float(np.sqrt(2 * np.mean((fit - np.cos(3 * grid)) ** 2)))

    # Eigenvalues of the lifted kernel on 480 points: beyond, frequencies are mixed on them too.
    wheel = np.cos(2 * np.pi * np.arange(480) / 480)
    eigenvalues = np.fft.fft(kernel(wheel.clip(-1, 1), True)).real
    checks = [
        Check("smallest (k + 1)^(3/2) c_k", smallest, ">=", constant / (4 * np.pi**1.5)),
        Check(
            "c_k, library against Cauchy's integral",
            _distance(coefficients, cauchy),
            "==",
            0,
            # The integral's rounding, over the radius to the degree.
            1e-14 / radius**degree,
        ),
    ]
    for n in (12, 24):
        shares = eigenvalues[(frequency + n * np.arange(480 // n)) % 480]
        shares = shares / np.sum(shares)
        expected = np.sqrt((1 - shares[0]) ** 2 + np.sum(shares[1:] ** 2))
        found, allowed = error(n, bias), rounding_tolerance(10)
        checks.append(Check(f"error on cos 3φ from {n} points", found, "==", expected, allowed))
    checks.append(Check("the same without the coordinate", error(12, False), "==", 1, allowed))
    return checks


@result(
    "B23",
    "Section 2.2, smallest eigenvalue",
    theorem="thm-positive-definite",
    exercise="ex-odd",
    evidence="rounding",
    falsified_by={"angle": 0.0},
    sweep=[
        {"n": 12, "d": 3, "angle": None},
        {"n": 3, "d": 2, "angle": 0.05},
        {"angle": 0.02},
        {"n": 12, "d": 3, "angle": None, "train_output": True},
    ],
    mutants=[
        Mutant.statement("the bound is twice as large", constant=2.0),
        Mutant.statement("one pair counts, not n − 1", pairs=False),
        Mutant.code(
            "the derivative kernel is left out",
            "_recursion.shares",
            lambda f: lambda total, layer: f(total, layer._replace(slope=layer.slope**0)),
        ),
        Mutant.code(
            "the coefficients lack a factor ½",
            "tangent_kernel.arc_cosine_coefficients",
            lambda f: lambda degree, bias: 2 * f(degree, bias=bias),
        ),
    ],
)
def gram_matrix_is_positive_definite(
    n: int = 2,
    d: int = 2,
    angle: float | None = 0.1,
    train_output: bool = False,
    constant: float = 1.0,
    pairs: bool = True,
    seed: int = 0,
) -> list[Check]:
    """If no two of n unit inputs are parallel, λ_min of the ReLU limit's Gram matrix is positive:
    at least the sum over even k of c_k (1 − (n − 1) ρᵏ) where that is positive, ρ = max |x·x′|.

    λ_min for the first layer trained, or both, against the bound: for points at equal steps of
    `angle`, where two come close, and for random ones where it is None.
    """
    if angle is None:
        x = unit_vectors(seed, n, d)
    else:
        steps = angle * np.arange(n)
        x = np.stack([np.cos(steps), np.sin(steps)], axis=1)
    rho = np.max(np.abs(x @ x.T) - np.eye(n) * 2)
    even = np.arange(0, 40_001, 2)
    coefficients = arc_cosine_coefficients(40_000, bias=False)[even]
    shares = (1 - ((n - 1) if pairs else 1) * rho**even).clip(0)
    # All of them add up to ¼: of those beyond each counts at least like the last one here.
    beyond = max(1 / 4 - np.sum(coefficients), 0.0)
    bound = constant * (coefficients @ shares + beyond * shares[-1])
    points = _points(np.sqrt(d) * x)
    limit = infinite_ntk(points, depth=1) if train_output else layer_kernels(points, depth=1)[0]
    smallest = np.linalg.eigvalsh(np.asarray(limit, float))[0]
    # Entries up to 1 are rounded: n of them weigh so much in an eigenvalue.
    rounding = 4 * n * float(jnp.finfo(limit.dtype).eps)
    return [Check(f"λ_min(H∞) of {n} points", smallest, ">=", max(bound, rounding))]


@result(
    "S24",
    "Deep recursion",
    theorem="thm-recursion",
    exercise="ex-depth",
    evidence="sampled",
    level=1e-4,
    seeds=240,
    falsified_by={"weight_scale": 1.1},
    sweep=[
        {"activation": "erf", "w_std": 1.5, "b_std": 0.3},
        {"activation": "tanh", "b_std": 0.5},
        {"depth": 1},
    ],
    mutants=[
        Mutant.statement("different outputs share the kernel", between_outputs=1.0),
        Mutant.statement("the outputs are not Gaussian: E f⁴ = 2 (E f²)²", fourth_moment=2.0),
        Mutant.statement("kernels converge like m to the power −0.25", exponent=0.25),
        Mutant.code(
            "the kernel has a random factor 1 ± 0.8",
            "tangent_kernel.empirical_ntk",
            lambda f: (
                lambda apply, params, x: (
                    f(apply, params, x)
                    * (1 + 0.8 * jnp.sign(jax.tree.leaves(params)[0].ravel()[0]))
                )
            ),
        ),
        Mutant.code(
            "layers do not add their covariance",
            "_recursion.tangent",
            lambda f: lambda total, layer: layer.slope[None] * total,
        ),
        Mutant.code(
            "σ_w is missing in the network",
            "networks._DenseStack._gains",
            lambda f: lambda self, fan_in, fan_out: (1 / np.sqrt(fan_in), self.b_std),
        ),
    ],
)
def recursion_against_networks(
    activation: str = "relu",
    depth: int = 2,
    w_std: float = 1.4,
    b_std: float = 0.2,
    widths: tuple[int, int] = (16, 128),
    draws: int = 240,
    weight_scale: float = 1.0,
    between_outputs: float = 0.0,
    fourth_moment: float = 3.0,
    exponent: float = 0.5,
    seed: int = 0,
) -> list[Check]:
    """The recursion over layers gives the limit of the tangent kernel, one for each output and none
    between two, and the covariance of the outputs, which become Gaussian and independent.

    For networks of two outputs: the mean of the kernel at the larger width, in standard errors
    beyond a share 2/m for the bias of finite width; the factor by which the root mean square
    distance from the limit falls between two widths, as 1/√m does; and for 64 outputs the mean of
    their products, their fourth moment, and the mean of products of two squares. The
    theorem needs parameters of variance 1; here they are drawn with the standard deviation
    `weight_scale`.
    """
    d, n, outputs = 3, 4, 64
    x = _points(np.sqrt(d) * unit_vectors(seed, n, d))
    options: dict[str, Any] = {"activation": activation, "w_std": w_std, "b_std": b_std}
    limit = np.asarray(infinite_ntk(x, depth=depth, **options), float)
    covariance = np.asarray(nngp(x, depth=depth, **options), float)
    between = np.where(np.eye(2), 1, between_outputs)
    target = limit[:, :, None, None] * between

    def draw(measure: Callable[[Any, Any], Array], outputs: int, width: int) -> np.ndarray:
        return _over_networks(
            measure,
            (*[width] * depth, outputs),
            d=d,
            draws=draws,
            seed=seed + 1,
            weight_scale=weight_scale,
            **options,
        )

    distances = []
    for width in widths:
        kernels = draw(lambda apply, params: empirical_ntk(apply, params, x), 2, width)
        distances.append(np.sum((kernels - target) ** 2, axis=(1, 2, 3, 4)))
    f = draw(lambda apply, params: apply(params, x), outputs, widths[1])
    products = np.einsum("sik,sjk->sij", f, f) / outputs
    first = f[:, 0] / np.sqrt(covariance[0, 0])
    fourth = np.mean(first**4, axis=1)
    # All pairs of two different outputs.
    pairs = (np.sum(first**2, axis=1) ** 2 - np.sum(first**4, axis=1)) / (outputs * (outputs - 1))
    ratio = np.sqrt(np.mean(distances[1]) / np.mean(distances[0]))
    spread = np.hypot(*(_standard_error(s) / np.mean(s) / 2 for s in distances)) * ratio
    growth = widths[1] / widths[0]
    bias = 2 / widths[1]
    return [
        Check("mean of Θ_kk′, in standard errors off", _score(kernels, target, bias), "==", 0, 5),
        Check(
            "‖Θ_kk′ − limit‖, larger width over smaller",
            ratio,
            "==",
            growth**-exponent,
            # Terms of higher order in 1/m weigh most at the smaller width.
            5 * spread + 1 / widths[0],
        ),
        Check(
            "mean of f f′, in standard errors off", _score(products, covariance, bias), "==", 0, 5
        ),
        Check(
            "E f⁴ over (E f²)²",
            float(np.mean(fourth)),
            "==",
            fourth_moment,
            5 * _standard_error(fourth) + 20 / widths[1],
        ),
        Check(
            "E f_k² f_k′² over E f_k² E f_k′²",
            np.mean(pairs),
            "==",
            1,
            5 * _standard_error(pairs) + 10 / widths[1],
        ),
    ]


@result(
    "S24",
    "Standard parameterization",
    theorem="prop-standard",
    exercise="ex-first-layer",
    evidence="sampled",
    level=1e-4,
    seeds=200,
    falsified_by={"parameterization": "ntk"},
    sweep=[{"seed": 3}, {"activation": "erf", "depth": 1}],
    mutants=[
        Mutant.statement("the kernel grows like m to the power 0.9", growth=0.9),
        Mutant.statement("distances fall like 1/m", exponent=1.0),
        Mutant.statement("predictions do not converge", exponent=0.0),
        Mutant.code(
            "the limit keeps the first layer",
            "tangent_kernel.standard_ntk_limit",
            lambda f: lambda x, **options: f(x, **options) + layer_kernels(x, **options)[0],
        ),
        Mutant.code(
            "the initial law is a tenth too narrow",
            "networks._normals",
            lambda f: (
                lambda key, arrays, dtype: f(
                    key, tuple((shape, 0.9 * std) for shape, std in arrays), dtype
                )
            ),
        ),
    ],
)
def standard_kernel_grows(
    parameterization: str = "standard",
    activation: str = "relu",
    depth: int = 2,
    widths: tuple[int, int] = (16, 128),
    draws: int = 200,
    growth: float = 1.0,
    exponent: float = 0.5,
    seed: int = 0,
) -> list[Check]:
    """In standard (fan-in) parameterization the tangent kernel grows like the width, Θ_std/m tends
    to Θ⋆ without the first layer, and so do the predictions of ridgeless regression.

    The mean trace against m tr Θ⋆ + d tr Θ₁, Θ₁ the first layer's share under NTK gains, which is
    exact for ReLU at every width; and the factors by which the root mean square distances of
    Θ_std/m from Θ⋆, and of the predictions from those with Θ⋆, fall between two widths, as 1/√m
    does. Tolerances: five standard errors, and the terms of higher order, which weigh 2/m, or 1/m
    in a factor.
    """
    d, n = 2, 4
    angles = np.random.default_rng(seed).permutation(2 * np.pi * np.arange(n + 3) / (n + 3))
    points = np.sqrt(d) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x = _points(points)
    y = np.array([1.0, -1.0, 1.0, -1.0])
    options: dict[str, Any] = {"depth": depth, "activation": activation}
    limit = np.asarray(standard_ntk_limit(x, **options), float)
    first = np.asarray(layer_kernels(x, **options)[0], float)

    def predictions(kernels: np.ndarray) -> np.ndarray:
        weights = np.linalg.solve(kernels[..., :n, :n], y[:, None])
        return (kernels[..., n:, :n] @ weights)[..., 0]

    checks, squares = [], []
    for width in widths:
        network = networks.mlp(
            (*[width] * depth, 1), activation=activation, parameterization=parameterization
        )

        def kernel(key: Key[Array, ""], network: networks.Network = network) -> Array:
            return empirical_ntk(network.apply, network.init(key, d), x)

        (kernels,) = _over_draws(kernel, seed + width, draws)
        expected = width**growth * np.trace(limit) + d * np.trace(first)
        traces = np.trace(kernels, axis1=1, axis2=2) / expected
        bias = 0.0 if activation == "relu" else 2 / width
        allowed = 5 * _standard_error(traces) + bias
        what = f"mean of tr Θ_std over m tr Θ⋆ + d tr Θ₁, m = {width}"
        checks.append(Check(what, np.mean(traces), "==", 1, allowed))
        off = predictions(kernels / width) - predictions(limit)
        squares.append((np.sum((kernels / width - limit) ** 2, (1, 2)), np.sum(off**2, axis=1)))
    for what, smaller, larger in zip(("Θ_std/m", "predictions"), *squares, strict=True):
        # Medians: a nearly singular Gram matrix at the smaller width gives predictions any size.
        ratio = np.sqrt(np.median(larger) / np.median(smaller))
        # A median's error is 1.25 times a mean's for normal values; logarithms of squares have a
        # longer tail to the left: 1.6.
        error = np.hypot(*(1.6 * _standard_error(np.log(each)) / 2 for each in (smaller, larger)))
        growth_of_width = widths[1] / widths[0]
        checks.append(
            Check(
                f"distance of {what} from the limit, larger width over smaller",
                ratio,
                "==",
                growth_of_width**-exponent,
                5 * error * ratio + 1 / widths[0],
            )
        )
    return checks


def _one_faulty_gain(gains: Any, weight: float = 1, bias: float = 1) -> Any:
    """The gains of a layer from 48 to 12 units times these, in NTK parameterization only."""

    def faulty(self: Any, fan_in: int, fan_out: int) -> tuple[float, float]:
        by_weight, by_bias = gains(self, fan_in, fan_out)
        if (fan_in, fan_out) == (48, 12) and self.parameterization == "ntk":
            by_weight, by_bias = weight * by_weight, bias * by_bias
        return by_weight, by_bias

    return faulty


@result(
    "B23",
    "Section 2.2, two parameterizations",
    theorem="prop-equal-in-law",
    exercise="ex-step-sizes",
    evidence="sampled",
    level=1e-4,
    seeds=200,
    falsified_by={"parameterization": "ntk-fan-out"},
    sweep=[{"widths": (5, 40, 3), "b_std": 0.0}, {"activation": "tanh", "w_std": 2.0}],
    mutants=[
        Mutant.statement("m/σ_w in place of m/σ_w²", weight_power=1.0),
        Mutant.statement("the biases' share stays as it is", bias_power=0.0),
        Mutant.statement("all rates are η", rates=False),
        Mutant.code(
            "the standard law is three times too wide",
            "networks._normals",
            lambda f: (
                lambda key, arrays, dtype: f(
                    key,
                    tuple((shape, std if std == 1 else 3 * std) for shape, std in arrays),
                    dtype,
                )
            ),
        ),
        Mutant.code(
            "one gain is 0.3 of what it should be",
            "networks._DenseStack._gains",
            lambda f: _one_faulty_gain(f, weight=0.3),
        ),
        Mutant.code(
            "one gain of the biases is five times as large",
            "networks._DenseStack._gains",
            lambda f: _one_faulty_gain(f, bias=5),
        ),
    ],
)
def parameterizations_equal_in_law(
    parameterization: str = "ntk",
    widths: tuple[int, ...] = (48, 12, 2),
    activation: str = "relu",
    w_std: float = 1.3,
    b_std: float = 0.4,
    draws: int = 200,
    weight_power: float = 2.0,
    bias_power: float = 2.0,
    rates: bool = True,
    seed: int = 0,
) -> list[Check]:
    """NTK and standard parameterization define the same random function at the start; the standard
    kernel weighs the layers' shares by m/σ_w² and the biases' by 1/σ_b², and a step of size η
    becomes one with the rates ησ_w²/m and ησ_b².

    First, second and fourth moments of all parameters that the two draw, in standard errors from
    those of N(0, 1) and of N(0, σ_w²/fan-in), N(0, σ_b²); outputs with the gains absorbed into the
    parameters; the kernel against the weighed sum of the shares; and outputs after one step of
    gradient descent on ½‖f‖². The fan-out gains belong to another law as soon as a layer's two
    sides differ.
    """
    d, eta = 6, 0.1
    options: dict[str, Any] = {"activation": activation, "w_std": w_std, "b_std": b_std}
    ntk = networks.mlp(widths, parameterization=parameterization, **options)
    standard = networks.mlp(widths, parameterization="standard", **options)
    x = _points(unit_vectors(seed, 7, d))
    fans = (d, *widths[:-1])
    scale = [{"weight": w_std / np.sqrt(fan), "bias": b_std} for fan in fans]

    def scaled(params: Any, power: float, at_least: float = 0.0) -> Any:
        """Each array times its layer's gain to this power."""
        return tuple(
            {name: value * float(gain[name] ** power) for name, value in layer.items()}
            for layer, gain in zip(params, scale, strict=True)
        )

    checks, keys = [], jax.random.split(jax.random.key(seed), draws)
    for name, network, power in (("NTK", ntk, 0), ("standard", standard, -1)):
        drawn = scaled(jax.vmap(functools.partial(network.init, d=d))(keys), power)
        scores = []
        for leaf in jax.tree.leaves(drawn):
            z = np.asarray(leaf, float).ravel()
            # Var z = 1, Var z² = 2, Var z⁴ = 96 for a standard normal z.
            for order, mean, variance in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):
                scores.append(abs(np.mean(z**order) - mean) / np.sqrt(variance / z.size))
        what = f"moments of the {name} law, in standard errors off"
        checks.append(Check(what, max(scores), "==", 0, 5))
    params = ntk.init(jax.random.key(seed), d)
    absorbed = scaled(params, 1)
    jacobians = [
        jax.jit(jax.jacrev(network.apply))(at, x)
        for network, at in ((ntk, params), (standard, absorbed))
    ]
    outputs = [ntk.apply(params, x), standard.apply(absorbed, x)]
    kernel = np.asarray(empirical_ntk(standard.apply, absorbed, x), float)
    shares = np.zeros((7, 7, widths[-1], widths[-1]))
    for layer, fan in zip(jacobians[0], fans, strict=True):
        for name, leaf in layer.items():
            rows = np.asarray(leaf, float).reshape(7, widths[-1], -1)
            weight = fan / w_std**weight_power if name == "weight" else b_std**-bias_power
            shares += weight * np.einsum("ikp,jlp->ijkl", rows, rows)
    moved = []
    for at, jacobian, f, power in zip(
        (params, absorbed), jacobians, outputs, (0, 2 if rates else 0), strict=True
    ):
        gradient = jax.tree.map(lambda leaf, f=f: jnp.tensordot(f, leaf, 2), jacobian)
        moved.append(jax.tree.map(lambda p, g: p - eta * g, at, scaled(gradient, power)))
    after = [ntk.apply(moved[0], x), standard.apply(moved[1], x)]
    return [
        *checks,
        Check("difference of the outputs", _distance(*outputs), "==", 0, rounding_tolerance()),
        Check(
            "Θ_std against the weighed shares, relative",
            _distance(kernel, shares) / np.max(np.abs(kernel)),
            "==",
            0,
            rounding_tolerance(),
        ),
        Check("the same after one step", _distance(*after), "==", 0, rounding_tolerance()),
    ]


@result(
    "B23",
    "Section 2.2, NTK parameterization",
    theorem="thm-recursion",
    evidence="sampled",
    level=1e-4,
    seeds=600,
    falsified_by={"parameterization": "ntk-fan-out"},
    sweep=[{"b_std": 0.0}, {"activation": "tanh"}],
    mutants=[
        Mutant.statement("outputs grow like m to the power 0.1", growth=0.1),
        Mutant.statement("biases add nothing", b_share=0.0),
        Mutant.code(
            "the gain divides by fan-in + 2",
            "networks._DenseStack._gains",
            lambda f: lambda self, fan_in, fan_out: f(self, fan_in + 2, fan_out),
        ),
        Mutant.code(
            "the covariance lacks the last layer",
            "_recursion.kernel",
            lambda f: lambda *points, depth, **options: f(*points, depth=depth - 1, **options),
        ),
    ],
)
def output_scale_is_stable(
    parameterization: str = "ntk",
    b_std: float = 1.0,
    activation: str = "relu",
    widths: tuple[int, ...] = (8, 64),
    draws: int = 600,
    growth: float = 0.0,
    b_share: float = 1.0,
    seed: int = 0,
) -> list[Check]:
    """With fan-in gains the outputs at initialization keep their scale as the widths grow.

    E f² against Σ^{(L+1)} at two widths, two hidden layers, one unit input, 32 outputs; for ReLU
    the two are equal at every width. Tolerances: five standard errors, and 1/m for other
    activations. The printed fan-out gains with biases let it grow like the width.
    """
    d = 10
    x = _points(unit_vectors(seed, 1, d))
    options: dict[str, Any] = {"activation": activation, "b_std": b_std}
    limit = float(nngp(x, depth=2, activation=activation, b_std=b_share * b_std)[0, 0])
    checks = []
    for width in widths:
        f = _over_networks(
            lambda apply, params: apply(params, x)[0],
            (width, width, 32),
            d=d,
            draws=draws,
            seed=seed + width,
            parameterization=parameterization,
            **options,
        )
        squares = np.mean(f**2, axis=1) / (limit * (width / widths[0]) ** (2 * growth))
        allowed = 5 * _standard_error(squares) + (0 if activation == "relu" else 1 / width)
        what = f"E f² over its limit at m = {width}"
        checks.append(Check(what, np.mean(squares), "==", 1, allowed))
    return checks


@result(
    "B23",
    "Section 2.2, fan-out gains",
    theorem="prop-fan-out",
    exercise="ex-fan-out",
    evidence="sampled",
    level=1e-4,
    seeds=1000,
    falsified_by={"activation": "tanh"},
    sweep=[{"depth": 1, "width": 16}, {"d": 1, "b_std": 0.3}],
    mutants=[
        Mutant.statement("E f² is at least σ_b² m", constant=2.0),
        Mutant.statement("the factor of the outputs is d", output_power=1.0),
        Mutant.code(
            "the gains are those of fan-in",
            "networks._DenseStack._gains",
            lambda f: lambda self, fan_in, fan_out: f(self, fan_in, fan_in),
        ),
        Mutant.code(
            "the biases have no gain",
            "networks._DenseStack._gains",
            lambda f: lambda self, fan_in, fan_out: (f(self, fan_in, fan_out)[0], 0.0),
        ),
    ],
)
def fan_out_gains(
    activation: str = "relu",
    depth: int = 2,
    width: int = 64,
    d: int = 10,
    b_std: float = 1.0,
    draws: int = 1000,
    constant: float = 1.0,
    output_power: float = 0.5,
) -> list[Check]:
    """With the printed fan-out gains a ReLU network without biases is √d times the one with fan-in
    gains, and its tangent kernel d times; with biases E f² is at least σ_b² m/2.

    One draw of the parameters for both gains; and the mean of f² over 1000 networks in units of
    m σ_b²/2, against the bound and against its exact value, 3/2 + 5/(2m) at these arguments.
    """
    options: dict[str, Any] = {"activation": activation}
    widths = (*[width] * depth, 1)
    fan_in = networks.mlp(widths, **options)
    fan_out = networks.mlp(widths, parameterization="ntk-fan-out", **options)
    x = _points(unit_vectors(0, 5, d))
    params = fan_in.init(jax.random.key(0), d)
    f_out, f_in = (np.asarray(n.apply(params, x), float) for n in (fan_out, fan_in))
    kernels = [np.asarray(empirical_ntk(n.apply, params, x), float) for n in (fan_out, fan_in)]
    f = _over_networks(
        lambda apply, params: apply(params, x[:1])[0, 0],
        widths,
        d=d,
        draws=draws,
        seed=1,
        parameterization="ntk-fan-out",
        b_std=b_std,
        **options,
    )
    # Of one pre-activation: 1/m + σ_b² in the first layer, half of it and σ_b² in the next.
    variance = 1 / width + b_std**2
    for _ in range(depth - 1):
        variance = variance / 2 + b_std**2
    unit = width * b_std**2 / 2
    exact = (width * variance / 2 + b_std**2) / unit
    squares = f**2 / unit
    mean = float(np.mean(squares))
    allowed = 5 * float(_standard_error(squares))
    return [
        Check(
            "outputs against √d times fan-in's",
            _distance(f_out, d**output_power * f_in),
            "==",
            0,
            rounding_tolerance(),
        ),
        Check(
            "kernel against d times fan-in's",
            _distance(kernels[0], d * kernels[1]),
            "==",
            0,
            rounding_tolerance(d),
        ),
        Check("E f² over m σ_b²/2", mean, "==", exact, allowed),
        Check("E f² over m σ_b²/2, against its bound", mean, ">=", constant),
    ]


@result(
    "S24",
    "Deep recursion, other activations",
    theorem="lem-mehler",
    exercise="ex-orthant",
    evidence="rounding",
    falsified_by={"scale": 1.05},
    sweep=[{"variances": (0.2, 2.0)}],
    mutants=[
        Mutant.statement("1 + q in place of 1 + 2q", doubling=1.0),
        Mutant.statement("the second formula lacks a factor 2", second=0.5),
        Mutant.code(
            "the series is one in c²",
            "_recursion._mehler",
            lambda f: (
                lambda left, right, deficit, same: f(left, right, deficit * (2 - deficit), same)
            ),
        ),
        Mutant.code(
            "E[σ′σ′] of erf is √ of what it should be",
            "_recursion.ERF",
            lambda rule: rule._replace(
                pair=lambda *arguments: (
                    rule.pair(*arguments)[0],
                    jnp.sqrt(rule.pair(*arguments)[1]),
                    rule.pair(*arguments)[2],
                )
            ),
        ),
    ],
)
def expectations_in_closed_form(
    variances: tuple[float, float] = (1.0, 0.4),
    scale: float = 1.0,
    doubling: float = 2.0,
    second: float = 1.0,
) -> list[Check]:
    """For jointly normal (u, v) with variances q, q′ and correlation c, E[σ(u)σ(v)] is the sum of
    g_k g′_k c^k over the Hermite coefficients; for erf both expectations are elementary.

    At eight correlations: erf's two formulas against integrals over a product grid of 120 × 120
    Gauss–Hermite nodes, and the library's kernels of depth 1 for erf, by formula, and for tanh, by
    the series, against such integrals. `scale` stretches the normals of the integrals.
    """
    from scipy.special import roots_hermitenorm

    nodes, weights = roots_hermitenorm(120)
    weights = weights / np.sum(weights)
    u0, w0 = scale * nodes[:, None], scale * nodes[None, :]
    both = weights[:, None] * weights[None, :]
    correlations = np.linspace(-0.9, 0.9, 8)  # without 0, by which the library's is divided
    (q1, q2), d = variances, 2
    # The gain 1/√d of the first layer: points of these variances.
    x1 = _points(np.sqrt(d * q1) * np.array([[1.0, 0.0]]))
    rest = np.sqrt(1 - correlations**2)
    x2 = _points(np.sqrt(d * q2) * np.stack([correlations, rest], axis=1))

    def integrals(name: str) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for c in correlations:
            u, v = np.sqrt(q1) * u0, np.sqrt(q2) * (c * u0 + np.sqrt(1 - c**2) * w0)
            pairs = zip(_numpy_activation(name, u), _numpy_activation(name, v), strict=True)
            found.append([np.sum(both * left * right) for left, right in pairs])
        values, slopes = np.array(found).T
        return values, slopes

    def library(name: str) -> tuple[np.ndarray, np.ndarray]:
        layers = np.asarray(layer_kernels(x1, x2, depth=1, activation=name), float)[:, 0]
        return layers[1], layers[0] / (np.sqrt(q1 * q2) * correlations)

    cross = 2 * np.sqrt(q1 * q2) * correlations
    product = (1 + doubling * q1) * (1 + doubling * q2)
    formulas = (
        2 / np.pi * np.arcsin(cross / np.sqrt(product)),
        second * 4 / np.pi / np.sqrt(product - cross**2),
    )
    checks = []
    exact = {name: integrals(name) for name in ("erf", "tanh")}
    # Gauss–Hermite rules of these orders leave 1e-9 for variances up to 2.
    tolerance = 1e-8 + rounding_tolerance(10)
    for place, what in enumerate(("E[σσ]", "E[σ′σ′]")):
        checks.append(
            Check(
                f"erf, {what}: formula against integral",
                _distance(formulas[place], exact["erf"][place]),
                "==",
                0,
                tolerance,
            )
        )
        for name in ("erf", "tanh"):
            found = library(name)[place]
            checks.append(
                Check(
                    f"{name}, {what}: library against integral",
                    _distance(found, exact[name][place]),
                    "==",
                    0,
                    tolerance,
                )
            )
    return checks
