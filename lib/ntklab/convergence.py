r"""Why training converges: from the kernel's smallest eigenvalue to a certificate for a network.

With residuals $r = f - y$, Jacobian J and $H = JJ^{\mathsf T}$, the flow of $\frac12\|r\|^2$ is
$\dot r = -H r$. As long as $\lambda_{\min}(H_t)$ stays away from 0 the residual decays; while it
decays the weights move little; while they move little the kernel keeps its smallest eigenvalue.
`certify` closes this circle for two-layer networks, with every constant computed. The module
further holds rates under Polyak–Łojasiewicz inequalities, when the limit kernel is positive
definite, and what bounds the kernel's drift.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ntklab import _validate, linearization, networks, tangent_kernel
from ntklab.checks import Check
from ntklab.networks import Network, TwoLayer

__all__ = [
    "SLOPES",
    "Certificate",
    "Constants",
    "DescentFactors",
    "Measurements",
    "Widths",
    "certificates",
    "certify",
    "certify_descent",
    "coherence_floor",
    "constants",
    "descent_factors",
    "forms",
    "gradient_bound",
    "limit_gram",
    "limit_is_definite",
    "measure",
    "pl_bound",
    "residual_bound",
    "singular_floor",
    "sufficient_widths",
    "time_varying_bound",
    "uniform_drift_bound",
    "weight_norm_bound",
]


#: B = sup |σ′| of each smooth activation; for gelu at t = √2, where σ″ = 0.
SLOPES: dict[str, float] = {
    "identity": 1.0,
    "softplus": 1.0,
    "tanh": 1.0,
    "gelu": 0.5 * (1 + math.erf(1.0)) + math.exp(-1.0) / math.sqrt(math.pi),
    "erf": 2 / math.sqrt(math.pi),
}

_EPS = float(np.finfo(float).eps)
# What a library function for σ or σ′ may be off by, in units of the last place of its largest
# values: they promise one or two.
_ULPS = 8.0


# --- the constants of a network ----------------------------------------------------------------


class Constants(NamedTuple):
    r"""What the argument needs to know about a network at its parameters; rounding is allowed for.

    Attributes:
        points: n.
        parameters: p, how many are trained.
        sigma_min: no more than $\sigma_{\min}(J)$; 0 if J may have lost its rank.
        jacobian_norm: no less than $\|J\|$.
        gradient_norm: no less than $\max_i \|\nabla_\theta f(x_i)\|$.
        residual_norm: no less than $\|r\|$.
        lipschitz: L with $\|J(\theta') - J(\theta)\| \le L\|\theta' - \theta\|$ for every
            $\theta'$, this $\theta$ being the one at hand.
        eigenvalue: $\lambda_{\min}(JJ^{\mathsf T})$ as computed, rounding not deducted.
    """

    points: int
    parameters: int
    sigma_min: float
    jacobian_norm: float
    gradient_norm: float
    residual_norm: float
    lipschitz: float
    eigenvalue: float


def constants(network: Network, params: Any, x: Any, y: Any) -> Constants:
    r"""The constants of the argument for a two-layer network, in float64 and on the safe side.

    With $\tilde x = g_1 x$ for the gain $g_1$ in front of the first layer and $g_2$ in front of
    the second, $B = \sup|\sigma'|$, $\beta = \sup|\sigma''|$, $A = \max_j |a_j|$ and
    $N = \|\operatorname{diag}(\|\tilde x_i\|)\tilde X\|_{\mathrm{op}}$,

    $$
    L = g_2\,\beta A N \quad\text{(W trained)}, \qquad
    L = \tfrac{g_2}{2}\Bigl(\beta A N + \sqrt{\beta^2A^2N^2 + 4B^2\|\tilde X\|^2_{\mathrm{op}}}
    \Bigr) \quad\text{(both layers)},
    $$

    and for an unbiased pair the larger L of its copies, whose $g_2$ has the factor $1/\sqrt2$.

    Args:
        network: as for `certify`.
        params: its parameters.
        x: points `[n, d]`.
        y: labels `[n]`.

    Raises:
        ValueError: as `certify`.

    Source: derived in the chapter.

    Examples:
        >>> network = networks.shallow(1, activation="identity")
        >>> found = constants(network, jnp.ones((1, 2)), jnp.array([[3.0, 4.0]]), jnp.zeros(1))
        >>> found.lipschitz, round(found.sigma_min, 9), round(found.residual_norm, 9)
        (0.0, 5.0, 7.0)
    """
    copies, x, y = _arguments(network, params, x, y)
    with np.errstate(all="ignore"):
        return _constants(copies, x, y)


class _Copy(NamedTuple):
    """One `TwoLayer` network in NumPy, with the name of its activation."""

    name: str
    weights: np.ndarray
    output_weights: np.ndarray
    input_gain: float
    output_gain: float
    trains_output: bool


def _arguments(
    network: Any, params: Any, x: Any, y: Any
) -> tuple[tuple[_Copy, ...], np.ndarray, np.ndarray]:
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, x, y))):
        raise ValueError("params, x and y must be known numbers, got some that jax.jit traces")
    copies = tuple(map(_copy, networks.two_layer(network, params)))
    x = np.asarray(_validate.points("x", x), float)
    y = np.asarray(_validate.floating("y", y, ndim=1), float)
    if len(y) != len(x):
        raise ValueError(f"y must have shape ({len(x)},), a label for each point; got {y.shape}")
    if x.shape[1] != copies[0].weights.shape[1]:
        raise ValueError(
            f"x must have points of {copies[0].weights.shape[1]} coordinates as params have, got "
            f"shape {x.shape}"
        )
    return copies, x, y


def _copy(copy: TwoLayer) -> _Copy:
    known = {networks.ACTIVATIONS[name]: name for name in SLOPES}
    name = known.get(copy.activation)
    if name is None:
        named = [key for key, value in networks.ACTIVATIONS.items() if value is copy.activation]
        raise ValueError(
            f"activation must be smooth and have a name, one of {', '.join(SLOPES)}; got "
            f"{named[0] if named else copy.activation!r}"
        )
    weights, output_weights = (
        np.asarray(_validate.floating("params", array, ndim=ndim), float)
        for array, ndim in ((copy.weights, 2), (copy.output_weights, 1))
    )
    gains = float(copy.input_gain), float(copy.output_gain)
    return _Copy(name, weights, output_weights, *gains, copy.trains_output)


def _value_and_slope(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """σ and σ′ in float64."""
    if name == "identity":
        return z, np.ones_like(z)
    if name == "tanh":
        return np.tanh(z), 1 / np.cosh(z) ** 2
    # SciPy is imported where it is used: it would add a half to the time that importing JAX takes.
    from scipy.special import erf, expit, ndtr

    if name == "erf":
        return erf(z), SLOPES["erf"] * np.exp(-(z**2))
    if name == "softplus":
        return np.logaddexp(0, z), expit(z)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return z * ndtr(z), ndtr(z) + z * density


class _Features(NamedTuple):
    """What the Jacobian of a copy consists of: rows signals ⊗ x̃ and, if a is trained, values."""

    outputs: np.ndarray  # [n]
    sizes: np.ndarray  # [n]: the sum of the moduli of an output's terms
    signals: np.ndarray  # [n, m]: g₂ a_j σ′(z_ij)
    values: np.ndarray  # [n, m]: g₂ σ(z_ij), without columns if a is fixed


def _features(copy: _Copy, x: np.ndarray) -> _Features:
    value, slope = _value_and_slope(copy.name, copy.input_gain * (x @ copy.weights.T))
    value = copy.output_gain * value
    signals = copy.output_gain * slope * copy.output_weights
    kept = value if copy.trains_output else value[:, :0]
    sizes = np.abs(value) @ np.abs(copy.output_weights)
    return _Features(value @ copy.output_weights, sizes, signals, kept)


def _gram(
    features: Sequence[_Features], copies: Sequence[_Copy], x: np.ndarray
) -> Float[np.ndarray, "n n"]:
    """J Jᵀ of all copies without a Jacobian: (X̃X̃ᵀ) ∘ (S Sᵀ) + F Fᵀ."""
    gram = np.zeros((len(x), len(x)))
    for part, copy in zip(features, copies, strict=True):
        signals = copy.input_gain * part.signals
        gram += (x @ x.T) * (signals @ signals.T) + part.values @ part.values.T
    return gram


def _constants(copies: Sequence[_Copy], x: np.ndarray, y: np.ndarray) -> Constants:
    features = [_features(copy, x) for copy in copies]
    gram = _gram(features, copies, x)
    residual = sum(part.outputs for part in features) - y
    n, (width, d) = len(x), copies[0].weights.shape
    parameters = sum(
        copy.weights.size + part.values.shape[1]
        for copy, part in zip(copies, features, strict=True)
    )
    trace = float(np.trace(gram))
    eigenvalues = np.linalg.eigvalsh(gram) if np.isfinite(trace) else np.full(n, np.nan)
    # An entry of the Gram matrix is a sum of at most 2(m + d + 2) products: each is off by no more
    # than so many units of the last place of √(H_ii H_jj), the matrix by so many of its trace. The
    # eigenvalues of a symmetric matrix come out with an error of a few n units of its norm.
    terms = 2 * (width + d + 2)
    of_gram = (terms + 8 * n) * _EPS * trace
    of_jacobian, of_outputs = map(
        math.fsum, zip(*(_errors(copy, x) for copy in copies), strict=True)
    )
    sizes = math.fsum(float(np.linalg.norm(part.sizes)) for part in features)
    of_outputs += (terms + 2) * _EPS * (sizes + float(np.linalg.norm(y)))
    up = 1 + (terms + 8 * n) * _EPS
    smallest = float(eigenvalues[0]) - of_gram
    sigma_min = math.sqrt(smallest) - of_jacobian if smallest > 0 else 0.0
    return Constants(
        points=n,
        parameters=parameters,
        sigma_min=max(sigma_min, 0.0) if parameters >= n else 0.0,
        jacobian_norm=math.sqrt(max(float(eigenvalues[-1]) + of_gram, 0.0)) + of_jacobian,
        gradient_norm=math.sqrt(float(np.max(np.diag(gram))) + of_gram) + of_jacobian,
        residual_norm=up * float(np.linalg.norm(residual)) + of_outputs,
        lipschitz=up * max(_lipschitz(copy, x) for copy in copies),
        eigenvalue=float(eigenvalues[0]),
    )


def _errors(copy: _Copy, x: np.ndarray) -> tuple[float, float]:
    """What J, in Frobenius norm, and the outputs may be off by: from z = w·x̃, and from σ and σ′."""
    slope, curvature = SLOPES[copy.name], linearization.smoothness(copy.name)
    norms = abs(copy.input_gain) * np.linalg.norm(x, axis=1)
    of_z = (x.shape[1] + 3) * _EPS * np.outer(norms, np.linalg.norm(copy.weights, axis=1))
    of_slope = curvature * of_z + _ULPS * _EPS * slope
    size = np.abs(_value_and_slope(copy.name, copy.input_gain * (x @ copy.weights.T))[0])
    of_value = slope * of_z + _ULPS * _EPS * size
    signals = of_slope * np.abs(copy.output_weights) * norms[:, None]
    of_jacobian = np.hypot(np.linalg.norm(signals), copy.trains_output * np.linalg.norm(of_value))
    outputs = np.linalg.norm((of_value + 4 * _EPS * size) @ np.abs(copy.output_weights))
    gain = abs(copy.output_gain)
    return gain * float(of_jacobian), gain * float(outputs)


def _lipschitz(copy: _Copy, x: np.ndarray) -> float:
    """L of one copy, see `constants`."""
    inputs = copy.input_gain * x
    norms = np.linalg.norm(inputs, axis=1, keepdims=True)
    largest = float(np.max(np.abs(copy.output_weights)))
    curved = linearization.smoothness(copy.name) * largest * _norm(norms * inputs)
    if not copy.trains_output:
        return abs(copy.output_gain) * curved
    mixed = SLOPES[copy.name] * _norm(inputs)
    return abs(copy.output_gain) * (curved + math.hypot(curved, 2 * mixed)) / 2


def _norm(matrix: np.ndarray) -> float:
    """The operator norm; NaN if an entry is not finite."""
    return float(np.linalg.norm(matrix, 2)) if np.all(np.isfinite(matrix)) else math.nan


def singular_floor(jacobian: Any) -> float:
    r"""No more than $\lambda_{\min}(JJ^{\mathsf T})^{1/2}$, rounding deducted; 0 for fewer columns
    than rows.

    The smallest singular value that `svd` returns is that of the smaller side: positive for a J
    with p < n, for which $J^{\mathsf T}r = 0$ has a solution $r \ne 0$.

    Args:
        jacobian: J, `[n, p]`, a row for each residual.

    Raises:
        ValueError: for NaN or another number of axes.

    Examples:
        >>> round(singular_floor([[3.0, 0.0], [0.0, 4.0]]), 6), singular_floor([[3.0], [4.0]])
        (3.0, 0.0)
    """
    J = np.asarray(_validate.points("jacobian", jacobian), float)
    n, p = J.shape
    if p < n:
        return 0.0
    gram = J @ J.T
    smallest = np.linalg.eigvalsh(gram)[0] - (p + 8 * n) * _EPS * np.trace(gram)
    return math.sqrt(smallest) if smallest > 0 else 0.0


# --- the certificate ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificate:
    r"""Whether training is proved to converge, and the argument that proves it.

    Attributes:
        form: the argument: `sharp`, `frozen`, `five-eighths`, `printed`, or `descent`.
        certified: whether all inequalities of the chain hold.
        rate: c with $\|r_t\| \le e^{-ct}\|r_0\|$ for all $t \ge 0$; for descent with step η,
            $\|r_k\| \le (1 - \eta c)^k \|r_0\|$. 0 if uncertified.
        radius: how far the parameters move at most, $\|\theta_t - \theta_0\|$; infinite if
            uncertified.
        chain: the inequalities in the order of the argument.
    """

    form: str
    certified: bool
    rate: float
    radius: float
    chain: tuple[Check, ...]

    @property
    def failure(self) -> Check | None:
        """The first inequality of the chain that fails, if one does."""
        return next((check for check in self.chain if not check.holds), None)

    def __bool__(self) -> bool:
        return self.certified

    def __str__(self) -> str:
        if self.certified:
            head = f"certified ({self.form}): rate {self.rate:.3g}, radius {self.radius:.3g}"
        else:
            failure = self.failure
            what = "a number is not finite" if failure is None else failure.what
            head = f"not certified ({self.form}): {what}"
        return "\n".join([head, *map(str, self.chain)])


def certify(network: Network, params: Any, x: Any, y: Any) -> Certificate:
    r"""Does the gradient flow of $\frac12\|f(X; \theta) - y\|^2$ from these parameters reach 0, and
    how fast? With $c = \sigma_0^2 - 2L\|r_0\| > 0$ it does, at the rate c and within the radius
    $2\|r_0\|/(\sigma_0 + \sqrt c)$.

    The strongest of the forms of `certificates`. It is rigorous: a certified network converges,
    whatever its inputs' norms, gains and starting function; everything is computed in float64 and
    rounding deducted. That it does not certify proves nothing.

    Args:
        network: `networks.shallow` (W trained), `networks.mlp((m, 1), b_std=0)` (both layers
            trained) or the `networks.unbiased` pair of one of them, with a smooth activation that
            has a name: `identity`, `softplus`, `tanh`, `gelu`, `erf`.
        params: where training starts, or where it is now: the certificate then holds from there.
        x: points `[n, d]`.
        y: labels `[n]`.

    Raises:
        ValueError: for any other network or activation, naming what it is; for parameters of
            another network; for shapes that do not match; for NaN. Fewer parameters than points, or
            a singular Gram matrix, are not errors: the certificate's chain has their numbers.

    Source: derived in the chapter; the argument it sharpens is B23, section 2.3.

    Examples:
        >>> network = networks.unbiased(networks.shallow(4096, activation="tanh"))
        >>> params = network.init(jax.random.key(0), 2)
        >>> found = certify(network, params, jnp.eye(2), jnp.array([1.0, -1.0]))
        >>> found.certified, 0.3 < found.rate < 0.5
        (True, True)
    """
    forms = certificates(network, params, x, y).values()
    certified = [form for form in forms if form.certified]
    if not certified:
        return next(iter(forms))
    return max(certified, key=lambda form: (form.rate, -form.radius))


def certificates(network: Network, params: Any, x: Any, y: Any) -> dict[str, Certificate]:
    r"""The four forms of the argument side by side, the strongest first.

    With $\sigma_0 = \sigma_{\min}(J_0)$, $\lambda_0 = \sigma_0^2$ and $\rho_0 = \|r_0\|$:

    - `sharp`: $c = \lambda_0 - 2L\rho_0 > 0$; rate c, radius $(\sigma_0 - \sqrt c)/L$.
    - `frozen`: the residual's rate is frozen at the edge of the ball, $R = \rho_0/(\sigma_0 - LR)$,
      which needs $4L\rho_0 \le \lambda_0$; rate $(\sigma_0 - LR)^2$.
    - `five-eighths`: B23's loop with $K = \|J_0\| + LR$, $R = 2K\rho_0/\lambda_0$, and a drift
      $LR(2\|J_0\| + LR) \le \frac38\lambda_0$, so that $\lambda_{\min}(H_t) \ge \frac58\lambda_0 >
      \frac12\lambda_0$; rate $\lambda_0$ less the drift.
    - `printed`: the same with $K = \sqrt n\,(\max_i\|\nabla f(x_i)\| + LR)$ and the drift within
      $\frac18\lambda_0$, as printed; rate $\frac12\lambda_0$.

    Arguments and errors as for `certify`.

    Source: B23, section 2.3 (`printed`); derived in the chapter.

    Examples:
        >>> network = networks.shallow(3, activation="identity")
        >>> found = certificates(network, jnp.zeros((3, 2)), jnp.eye(2), jnp.ones(2))
        >>> {name: form.certified for name, form in found.items()}
        {'sharp': True, 'frozen': True, 'five-eighths': True, 'printed': True}
    """
    return forms(constants(network, params, x, y))


def forms(found: Constants) -> dict[str, Certificate]:
    """What `certificates` makes of the constants of a network.

    Args:
        found: from `constants`, or assumed.

    Examples:
        >>> assumed = Constants(1, 1, 2.0, 2.0, 2.0, 0.5, 1.0, 4.0)
        >>> {name: round(form.rate, 2) for name, form in forms(assumed).items()}
        {'sharp': 3.0, 'frozen': 2.91, 'five-eighths': 0.0, 'printed': 0.0}
    """
    made = (_sharp(found), _frozen(found), _five_eighths(found), _printed(found))
    return {form.form: form for form in made}


def _certificate(form: str, chain: list[Check], rate: float, radius: float) -> Certificate:
    certified = bool(all(chain) and 0 < rate < math.inf and radius < math.inf)
    # Last roundings: a few operations on positive numbers.
    rate, radius = float(rate) * (1 - 16 * _EPS), float(radius) * (1 + 16 * _EPS)
    return Certificate(
        form, certified, rate if certified else 0.0, radius if certified else math.inf, tuple(chain)
    )


def _start(found: Constants) -> list[Check]:
    return [
        Check("parameters p, at least n", found.parameters, ">=", found.points),
        Check("σ₀² = λ_min(H₀), rounding deducted", found.sigma_min**2, ">", 0),
    ]


def _root_radius(rho: float, sigma: float, root: float) -> float:
    """2ρ₀/(σ₀ + root), infinite if J has lost its rank."""
    return 2 * rho / (sigma + root) if sigma > 0 else math.inf


def _sharp(found: Constants) -> Certificate:
    sigma, rho, slope = found.sigma_min, found.residual_norm, found.lipschitz
    rate = sigma**2 - 2 * slope * rho
    radius = _root_radius(rho, sigma, math.sqrt(rate)) if rate > 0 else math.inf
    chain = [
        *_start(found),
        Check("2L‖r₀‖, less than σ₀²", 2 * slope * rho, "<", sigma**2),
        Check("LR, what σ_min(J) can lose on the way", slope * radius, "<", sigma),
    ]
    return _certificate("sharp", chain, rate, radius)


def _frozen(found: Constants) -> Certificate:
    sigma, rho, slope = found.sigma_min, found.residual_norm, found.lipschitz
    inner = sigma**2 - 4 * slope * rho
    radius = _root_radius(rho, sigma, math.sqrt(inner)) if inner >= 0 else math.inf
    chain = [
        *_start(found),
        Check("4L‖r₀‖, at most σ₀²", 4 * slope * rho, "<=", sigma**2),
        Check("LR, what σ_min(J) can lose on the way", slope * radius, "<", sigma),
    ]
    return _certificate("frozen", chain, max(sigma - slope * radius, 0) ** 2, radius)


def _five_eighths(found: Constants) -> Certificate:
    return _loop("five-eighths", found, found.jacobian_norm, 1.0, 3 / 8)


def _printed(found: Constants) -> Certificate:
    return _loop("printed", found, found.gradient_norm, math.sqrt(found.points), 1 / 8)


def _loop(form: str, found: Constants, norm: float, points: float, share: float) -> Certificate:
    """B23's loop, ‖J_t‖ ≤ K = points (norm + LR) and R = 2K‖r₀‖/λ₀ solved for R."""
    rho, slope, eigenvalue = found.residual_norm, found.lipschitz, found.sigma_min**2
    travel = 2 * points * rho / eigenvalue if eigenvalue > 0 else math.inf
    radius = travel * norm / (1 - travel * slope) if travel * slope < 1 else math.inf
    drift = (
        slope * radius * (2 * found.jacobian_norm + slope * radius)
        if radius < math.inf
        else math.inf
    )
    chain = [
        *_start(found),
        Check("change of K per change of R, less than 1", travel * slope, "<", 1),
        Check(f"drift of H in the ball, at most {share:g} λ₀", drift, "<=", share * eigenvalue),
    ]
    rate = eigenvalue / 2 if form == "printed" else eigenvalue - drift
    return _certificate(form, chain, rate, radius)


def certify_descent(network: Network, params: Any, x: Any, y: Any, *, step: float) -> Certificate:
    r"""Does gradient descent with step η converge? With $K = g_2\|a\| B\|\tilde X\|$, $q = 1 -
    \frac12\eta K^2 > 0$ and $s = q\sigma_0 - \frac12\eta LK\|r_0\| > 0$, $s^2 > 2qL\|r_0\|$ is
    enough.

    Then $\|r_k\| \le (1 - \eta c)^k \|r_0\|$ with $c = (s^2 - 2qL\|r_0\|)/q$. As η → 0 it is
    `certify`.

    Args:
        network: `networks.shallow` or its `networks.unbiased` pair: with the output layer trained
            no K bounds the Jacobian everywhere.
        params: as for `certify`.
        x: points `[n, d]`.
        y: labels `[n]`.
        step: η > 0.

    Raises:
        ValueError: as `certify`, for a trained output layer, or a step that is not positive.

    Source: derived in the chapter.

    Examples:
        >>> network = networks.shallow(3, activation="identity")
        >>> start, x, y = jnp.zeros((3, 2)), jnp.eye(2), jnp.ones(2)
        >>> certify_descent(network, start, x, y, step=1.0).certified
        True
        >>> certify_descent(network, start, x, y, step=2.5).failure.what
        'ηK², less than 2'
    """
    step = _validate.number("step", step, above=0)
    copies, x, y = _arguments(network, params, x, y)
    if copies[0].trains_output:
        raise ValueError("network must have a fixed output layer, got one that trains it")
    with np.errstate(all="ignore"):
        found = _constants(copies, x, y)
        largest = max(
            abs(copy.output_gain * copy.input_gain)
            * float(np.linalg.norm(copy.output_weights))
            * SLOPES[copy.name]
            for copy in copies
        )
        # The copies' Jacobians stand side by side: their squared norms add.
        norm = largest * math.sqrt(len(copies)) * _norm(x) * (1 + 64 * len(x) * _EPS)
    sigma, rho, slope = found.sigma_min, found.residual_norm, found.lipschitz
    q = 1 - step * norm**2 / 2
    bracket = q * sigma - step * slope * norm * rho / 2
    gap = bracket**2 - 2 * q * slope * rho
    fits = q > 0 and bracket > 0 and gap > 0
    chain = [
        *_start(found),
        Check("ηK², less than 2", step * norm**2, "<", 2),
        Check("ηLK‖r₀‖/2, less than qσ₀", step * slope * norm * rho / 2, "<", q * sigma),
        Check("2qL‖r₀‖, less than (qσ₀ − ηLK‖r₀‖/2)²", 2 * q * slope * rho, "<", bracket**2),
    ]
    rate = gap / q if fits else 0.0
    radius = 2 * rho / (bracket + math.sqrt(gap)) if fits else math.inf
    return _certificate("descent", chain, rate, radius)


def residual_bound(
    t: Any, *, residual_norm: float, sigma_min: float, lipschitz: float
) -> np.ndarray:
    r"""$\|r_t\| \le \frac{c\rho_0 e^{-ct}}{c + 2L\rho_0(1 - e^{-ct})}$ with $c = \sigma_0^2 -
    2L\rho_0 > 0$ along the flow.

    An equality for $f(\theta) = \sigma_0\theta - \frac12L\theta^2$ and a label $y = \rho_0$.

    Args:
        t: times, at least 0.
        residual_norm: $\rho_0$.
        sigma_min: $\sigma_0$.
        lipschitz: L.

    Raises:
        ValueError: for negative numbers or times, or $c \le 0$.

    Source: derived in the chapter.

    Examples:
        >>> residual_bound([0.0, 1e9], residual_norm=2.0, sigma_min=3.0, lipschitz=1.0).tolist()
        [2.0, 0.0]
    """
    t = _times(t)
    rho = _validate.number("residual_norm", residual_norm, at_least=0)
    sigma = _validate.number("sigma_min", sigma_min, above=0)
    slope = _validate.number("lipschitz", lipschitz, at_least=0)
    c = sigma**2 - 2 * slope * rho
    if c <= 0:
        raise ValueError(f"sigma_min must exceed √(2L‖r₀‖), got σ₀² − 2L‖r₀‖ = {c:g}")
    decay = np.exp(-c * t)
    return np.asarray(c * rho * decay / (c + 2 * slope * rho * (1 - decay)))


def _times(t: Any) -> np.ndarray:
    times = np.asarray(_validate.floating("t", t, min_ndim=0), float)
    if np.any(times < 0):
        raise ValueError(f"t must be at least 0, got {np.min(times):g}")
    return times


class Widths(NamedTuple):
    """From which width on each form certifies, with the limit kernel in place of the one at the
    start: see `sufficient_widths`.
    """

    printed: float
    five_eighths: float
    frozen: float
    sharp: float


def sufficient_widths(
    x: Any, *, residual_norm: float, activation: str, output_weight: float = 1.0
) -> Widths:
    r"""The smallest m for which each form of `certificates` holds for `networks.shallow`, if $H_0$
    were $H_\infty$: $m = (2\ell\rho_0/\lambda_\infty)^2$ for the sharp one, $\ell = \beta A N$.

    $L = \ell/\sqrt m$, $\|J_0\| = \|H_\infty\|^{1/2}$, $\max_i\|\nabla f(x_i)\| = \max_i
    (H_\infty)_{ii}^{1/2}$.

    Args:
        x: points `[n, d]`.
        residual_norm: $\rho_0 = \|r_0\|$.
        activation: a smooth one, by name.
        output_weight: A, the size of the output weights.

    Raises:
        ValueError: for other points or numbers, or an activation that is not smooth.

    Source: B23, section 2.3 (the two conditions on m); derived in the chapter.

    Examples:
        >>> found = sufficient_widths(jnp.eye(2), residual_norm=1.0, activation="tanh")
        >>> found.frozen / found.sharp
        4.0
    """
    points = np.asarray(_validate.points("x", x), float)
    rho = _validate.number("residual_norm", residual_norm, above=0)
    largest = _validate.number("output_weight", output_weight, above=0)
    curvature = linearization.smoothness(activation)
    H = largest**2 * limit_gram(points, activation=activation, train_output=False)
    eigenvalues = np.linalg.eigvalsh(H)
    smallest, norm = float(eigenvalues[0]), math.sqrt(eigenvalues[-1])
    if smallest <= 0:
        return Widths(*[math.inf] * 4)
    steep = curvature * largest * _norm(np.linalg.norm(points, axis=1, keepdims=True) * points)
    sharp = (2 * steep * rho / smallest) ** 2
    # The loop: s = LR solves s(2‖J₀‖ + s) = share λ, and L follows from R = 2K‖r₀‖/λ.
    loops = []
    gradient = math.sqrt(float(np.max(np.diag(H))))
    for start, points_factor, share in (
        (gradient, math.sqrt(len(points)), 1 / 8),
        (norm, 1.0, 3 / 8),
    ):
        s = share * smallest / (norm + math.sqrt(norm**2 + share * smallest))
        lipschitz = s * smallest / (2 * rho * points_factor * (start + s))
        loops.append((steep / lipschitz) ** 2)
    return Widths(loops[0], loops[1], 4 * sharp, sharp)


# --- along a run -------------------------------------------------------------------------------


class Measurements(NamedTuple):
    r"""What the argument speaks of, at each of the parameters of a run, as NumPy arrays `[T]`.

    Attributes:
        residual_norm: $\|r_t\|$.
        eigenvalue: $\lambda_{\min}(H_t)$.
        jacobian_norm: $\|J_t\|$.
        distance: $\|\theta_t - \theta_0\|$.
        jacobian_change: $\|J_t - J_0\|$.
        drift: $\|H_t - H_0\|$.
    """

    residual_norm: np.ndarray
    eigenvalue: np.ndarray
    jacobian_norm: np.ndarray
    distance: np.ndarray
    jacobian_change: np.ndarray
    drift: np.ndarray


def measure(network: Network, run: Sequence[Any], x: Any, y: Any) -> Measurements:
    """Residual, smallest eigenvalue, norms and distances along a run of a two-layer network.

    Args:
        network: as for `certify`.
        run: parameters, the first of them the start.
        x: points `[n, d]`.
        y: labels `[n]`.

    Raises:
        ValueError: as `certify`, or for an empty run.

    Examples:
        >>> network = networks.shallow(1, activation="identity")
        >>> run = [jnp.zeros((1, 1)), jnp.full((1, 1), 3.0)]
        >>> found = measure(network, run, jnp.ones((1, 1)), jnp.ones(1))
        >>> found.residual_norm.tolist(), found.distance.tolist(), found.drift.tolist()
        ([1.0, 2.0], [0.0, 3.0], [0.0, 0.0])
    """
    run = _validate.items("run", run)
    if not run:
        raise ValueError("run must hold the parameters at the start at least, got none")
    rows = []
    first: tuple[list[_Features], np.ndarray, list[np.ndarray]] | None = None
    for params in run:
        copies, points, labels = _arguments(network, params, x, y)
        features = [_features(copy, points) for copy in copies]
        gram = _gram(features, copies, points)
        trained = [copy.weights for copy in copies]
        trained += [copy.output_weights for copy in copies if copy.trains_output]
        first = first or (features, gram, trained)
        change = [
            now._replace(signals=now.signals - then.signals, values=now.values - then.values)
            for now, then in zip(features, first[0], strict=True)
        ]
        eigenvalues = np.linalg.eigvalsh(gram)
        moved = _gram(change, copies, points)
        rows.append(
            (
                np.linalg.norm(sum(part.outputs for part in features) - labels),
                eigenvalues[0],
                math.sqrt(max(eigenvalues[-1], 0)),
                math.sqrt(
                    sum(np.sum((a - b) ** 2) for a, b in zip(trained, first[2], strict=True))
                ),
                math.sqrt(max(np.linalg.eigvalsh(moved)[-1], 0)),
                np.linalg.norm(gram - first[1], 2),
            )
        )
    return Measurements(*np.array(rows, float).T)


def time_varying_bound(t: Any, eigenvalue: Any) -> Float[np.ndarray, " T"]:
    r"""$\exp\bigl(-2\int_0^t \lambda_{\min}(H_s)\,ds\bigr)$ bounds the loss over its first value.

    The integral is that of the cubic spline through the values.

    Args:
        t: increasing times, the first 0, four at least.
        eigenvalue: $\lambda_{\min}(H_t)$ there.

    Raises:
        ValueError: for other times or shapes.

    Source: B23, section 2.1.

    Examples:
        >>> times = [0.0, 0.5, 1.0, 2.0]
        >>> [round(float(b), 6) for b in time_varying_bound(times, [0.5] * 4)]
        [1.0, 0.606531, 0.367879, 0.135335]
    """
    times = np.asarray(_validate.floating("t", t, ndim=1), float)
    values = np.asarray(_validate.floating("eigenvalue", eigenvalue, ndim=1), float)
    if len(times) < 4 or times[0] != 0 or np.any(np.diff(times) <= 0):
        raise ValueError(f"t must be four or more increasing times from 0 on, got {times}")
    if values.shape != times.shape:
        raise ValueError(f"eigenvalue must have shape {times.shape} as t has, got {values.shape}")
    from scipy.interpolate import CubicSpline

    integral = CubicSpline(times, values).antiderivative()
    return np.exp(-2 * (integral(times) - integral(0)))


def uniform_drift_bound(
    time: float, *, residual_norm: float, jacobian_norm: float, lipschitz: float
) -> float:
    r"""$\sup_{t \le T}\|H_t - H_0\| \le LR(2\|J_0\| + LR)$ with $R = \|r_0\|\sqrt{T/2}$.

    It needs no smallest eigenvalue: every gradient flow has $\|\theta_t - \theta_0\|^2 \le
    t\,(L_0 - L_t)$ for its loss $L_t$.

    Args:
        time: T.
        residual_norm: $\|r_0\|$.
        jacobian_norm: $\|J_0\|$.
        lipschitz: the L of `constants`.

    Raises:
        ValueError: for negative numbers.

    Source: derived in the chapter; B23, section 2.2 (uniformly on [0, T]).

    Examples:
        >>> uniform_drift_bound(2.0, residual_norm=1.0, jacobian_norm=1.0, lipschitz=0.5)
        1.25
    """
    time = _validate.number("time", time, at_least=0)
    rho = _validate.number("residual_norm", residual_norm, at_least=0)
    norm = _validate.number("jacobian_norm", jacobian_norm, at_least=0)
    slope = _validate.number("lipschitz", lipschitz, at_least=0)
    moved = slope * rho * math.sqrt(time / 2)
    return moved * (2 * norm + moved)


# --- Polyak–Łojasiewicz ------------------------------------------------------------------------


def pl_bound(
    t: Any, *, gap: float, alpha: float, exponent: float, eigenvalue: float = 1.0
) -> np.ndarray:
    r"""How far above its infimum the loss is at most, under $\|\nabla_u L\| \ge \alpha g^\beta$ and
    $\lambda_{\min}(H_t) \ge c$: the solution of $\dot g = -\alpha^2 c\, g^{2\beta}$.

    $\bigl(g_0^{1-2\beta} - (1-2\beta)\alpha^2ct\bigr)_+^{1/(1-2\beta)}$ for $\beta < \frac12$,
    which is 0 in finite time; $g_0e^{-\alpha^2ct}$ for $\beta = \frac12$;
    $\bigl(g_0^{-(2\beta-1)} + (2\beta-1)\alpha^2ct\bigr)^{-1/(2\beta-1)}$ for $\beta > \frac12$.
    Equalities for $L(u) = |u|^p$ on the line, $\beta = (p-1)/p$, $\alpha = p$, c = 1.

    An α-strongly convex loss has $\beta = \frac12$ with $\sqrt{2\alpha}$ for α: $e^{-2\alpha ct}$.

    Args:
        t: times, at least 0.
        gap: $g_0 = L(u_0) - \inf L$.
        alpha: α > 0.
        exponent: β > 0.
        eigenvalue: c ≥ 0.

    Raises:
        ValueError: for numbers out of range.

    Source: B23, equation (2), which states the convergence without rates.

    Examples:
        >>> pl_bound([0.0, 1.0], gap=1.0, alpha=1.0, exponent=1.0).tolist()
        [1.0, 0.5]
        >>> pl_bound(2.0, gap=1.0, alpha=1.0, exponent=0.25).tolist()
        0.0
    """
    t = _times(t)
    gap = _validate.number("gap", gap, at_least=0)
    alpha = _validate.number("alpha", alpha, above=0)
    beta = _validate.number("exponent", exponent, above=0)
    c = _validate.number("eigenvalue", eigenvalue, at_least=0)
    speed = alpha**2 * c * t
    if gap == 0:
        return np.zeros_like(speed)
    if beta == 0.5:
        return np.asarray(gap * np.exp(-speed))
    # (1 + k g^k s)^(−1/k) with k = 2β − 1, without the poles of g^(−k).
    k = 2 * beta - 1
    base = np.maximum(1 + k * gap**k * speed, 0)
    with np.errstate(divide="ignore"):
        return np.asarray(gap * base ** (-1 / k))


class DescentFactors(NamedTuple):
    r"""By what a step of gradient descent with $\eta = 1/\ell$ multiplies the gap of a function
    whose gradient is ℓ-Lipschitz and which has $\frac12\|\nabla F\|^2 \ge \mu(F - F_\star)$.

    Attributes:
        polyak: no more than $1 - \kappa$, κ = μ/ℓ.
        smooth: no more than $(1 - \kappa)/(1 + \kappa/2)$ either.
        quadratic: $(1 - \kappa)^2$, attained by $\frac\mu2 x^2$: no bound is smaller.
    """

    polyak: float
    smooth: float
    quadratic: float


def descent_factors(condition: float) -> DescentFactors:
    r"""Rates of gradient descent under the Polyak–Łojasiewicz inequality, κ = μ/ℓ.

    Args:
        condition: κ in (0, 1]; B23's μ is twice the usual one, κ = μ/(2ℓ) there.

    Raises:
        ValueError: for κ outside (0, 1].

    Source: B23, section 2.1, which quotes the first; derived in the chapter.

    Examples:
        >>> [round(factor, 4) for factor in descent_factors(0.2)]
        [0.8, 0.7273, 0.64]
    """
    kappa = _validate.number("condition", condition, above=0)
    if kappa > 1:
        raise ValueError(f"condition must be at most 1, got {kappa:g}")
    return DescentFactors(1 - kappa, (1 - kappa) / (1 + kappa / 2), (1 - kappa) ** 2)


# --- the limit kernel --------------------------------------------------------------------------


def limit_gram(x: Any, *, activation: str, train_output: bool) -> Float[np.ndarray, "n n"]:
    r"""$H_\infty$ of a two-layer network with standard normal rows $w$: $x\cdot x'\,\E
    \sigma'(w\cdot x)\sigma'(w\cdot x')$, with both layers trained plus $\E\sigma(w\cdot
    x)\sigma(w\cdot x')$.

    The limit of `networks.shallow`, and of `networks.mlp((m, 1))` at the points $\sqrt d\,x$.

    Args:
        x: points `[n, d]`.
        activation: a name of `networks.ACTIVATIONS`.
        train_output: whether the output layer is trained too.

    Raises:
        ValueError: for other points or an unknown activation.

    Source: B23, section 2.2.

    Examples:
        >>> limit_gram([[1.0, 0.0]], activation="relu", train_output=True).round(6).tolist()
        [[1.0]]
    """
    x = _validate.points("x", x)
    points = np.asarray(x, float)
    _validate.choice("activation", activation, tuple(networks.ACTIVATIONS))
    scaled = _validate.from_numpy(math.sqrt(points.shape[1]) * points, x.dtype)
    second, first = np.asarray(
        tangent_kernel.layer_kernels(scaled, depth=1, activation=activation), float
    )
    gram = second + first if train_output else second
    return (gram + gram.T) / 2


def limit_is_definite(x: Any, *, activation: str) -> bool:
    r"""Whether $\lambda_{\min}(H_\infty) > 0$, decided by directions alone, for inputs of one norm.

    - `relu`, `softplus`, `gelu`: no two inputs are equal, and one input each of all antiparallel
      pairs $\{x, -x\}$ together are linearly independent.
    - `tanh`, `erf`: no two inputs are equal or antiparallel.
    - `identity`: the inputs are linearly independent.

    The answer is the same for the first layer trained and for both. ReLU's also holds for inputs
    of different norms, with *positively parallel* for *equal*.

    Args:
        x: points `[n, d]`, none of them 0, of one norm unless the activation is `relu`.
        activation: a name of `networks.ACTIVATIONS`.

    Raises:
        ValueError: for other points or an unknown activation.

    Source: B23, section 2.2 (no two inputs parallel); derived in the chapter.

    Examples:
        >>> pair = [[1.0, 0.0], [-1.0, 0.0]]
        >>> limit_is_definite(pair, activation="relu"), limit_is_definite(pair, activation="erf")
        (True, False)
    """
    x = _validate.points("x", x)
    points = np.asarray(x, float)
    _validate.choice("activation", activation, tuple(networks.ACTIVATIONS))
    norms = np.linalg.norm(points, axis=1)
    if np.any(norms == 0):
        raise ValueError("x must hold no point 0, where every kernel without biases vanishes")
    if activation != "relu" and np.ptp(norms) > 1e-6 * np.max(norms):
        raise ValueError(
            f"x must hold points of one norm for {activation}, got {np.min(norms):g} to "
            f"{np.max(norms):g}"
        )
    unit = points / norms[:, None]
    # Two inputs count as parallel if their directions differ by rounding: 1 − cos ~ ε, not ε².
    upper = np.triu_indices(len(unit), 1)
    gaps = np.array(
        [
            np.linalg.norm(unit[i] - sign * unit[j])
            for sign in (1, -1)
            for i, j in zip(*upper, strict=True)
        ]
    ).reshape(2, -1)
    close = gaps < 16 * float(jnp.finfo(x.dtype).eps)
    if activation == "identity":
        return bool(np.linalg.matrix_rank(unit) == len(unit))
    if np.any(close[0]):
        return False
    if activation in ("tanh", "erf"):
        return not np.any(close[1])
    pairs = unit[upper[0][close[1]]]
    return len(pairs) == 0 or bool(np.linalg.matrix_rank(pairs) == len(pairs))


def coherence_floor(coefficients: Any, *, coherence: float, points: int) -> float:
    r"""$\lambda_{\min} \ge \sum_k c_k \max(0, 1 - (n-1)\mu^k)$ for the Gram matrix of a kernel
    $\sum_k c_k (x\cdot x')^k$, $c_k \ge 0$, on n unit inputs with $|x_i\cdot x_j| \le \mu$.

    Args:
        coefficients: $c_0, c_1, \dots$, as many as are known.
        coherence: $\mu$ in [0, 1].
        points: n.

    Raises:
        ValueError: for a negative coefficient or numbers out of range.

    Source: derived in the chapter; B23, section 2.3 ($\lambda_{\min} = \Omega(1)$).

    Examples:
        >>> coherence_floor([0.0, 0.25, 0.25], coherence=0.5, points=3)
        0.125
    """
    values = np.asarray(_validate.floating("coefficients", coefficients, ndim=1), float)
    if np.any(values < 0):
        raise ValueError(f"coefficients must be numbers [degrees] of at least 0, got {values}")
    mu = _validate.number("coherence", coherence, at_least=0)
    if mu > 1:
        raise ValueError(f"coherence must be at most 1, got {mu:g}")
    n = _validate.integer("points", points, at_least=1)
    powers = mu ** np.arange(len(values))
    return float(values @ np.maximum(1 - (n - 1) * powers, 0))


# --- depth: Lemmas 4.1 to 4.3 ------------------------------------------------------------------


def weight_norm_bound(width_ratio: float) -> float:
    r"""$2\sqrt{A_w} + 1$ bounds every $\|W^{(l)}_0\|_{\mathrm{op}}/\sqrt m$ at once, with
    probability at least $1 - (D+1)e^{-m/2}$.

    Args:
        width_ratio: $A_w = \max_l m_l/m \ge 1$, over the input and all layers, with m the smallest
            hidden width.

    Raises:
        ValueError: for a ratio below 1.

    Source: B23, Lemma 4.1.

    Examples:
        >>> weight_norm_bound(1.0)
        3.0
    """
    return 2 * math.sqrt(_validate.number("width_ratio", width_ratio, at_least=1)) + 1


def gradient_bound(
    *, depth: int, weight_norm: float, slope: float, radius_ratio: float = 0.0
) -> float:
    r"""$\|\nabla_\theta f(x;\theta)\| \le \sqrt{D+1}\,\bigl(B(q + R/\sqrt m)\bigr)^D$ for all
    $\theta$ in the ball of radius R around weights of norm $\|W^{(l)}_0\| \le q\sqrt m$.

    For fan-in gains without biases, $\|x\| = \sqrt d$, $\sigma(0) = 0$ and $|\sigma'| \le B$; m is
    the smallest hidden width. An equality for σ(z) = Bz, equal widths and aligned W of rank 1.

    Args:
        depth: D hidden layers.
        weight_norm: q, with `weight_norm_bound` at initialization.
        slope: B.
        radius_ratio: $R/\sqrt m$.

    Raises:
        ValueError: for a depth below 1 or negative numbers.

    Source: B23, Lemmas 4.2 and 4.3.

    Examples:
        >>> round(gradient_bound(depth=1, weight_norm=3.0, slope=1.0, radius_ratio=1.0), 2)
        5.66
    """
    depth = _validate.integer("depth", depth, at_least=1)
    q = _validate.number("weight_norm", weight_norm, at_least=0)
    slope = _validate.number("slope", slope, at_least=0)
    ratio = _validate.number("radius_ratio", radius_ratio, at_least=0)
    return math.sqrt(depth + 1) * (slope * (q + ratio)) ** depth
