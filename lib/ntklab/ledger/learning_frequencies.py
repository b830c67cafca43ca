"""The results that the chapter on frequencies in time proves, as checks."""

import itertools

import jax.numpy as jnp
import numpy as np

from ntklab import gradient_flow, learning_frequencies, networks, tangent_kernel
from ntklab.checks import Check, rounding_tolerance
from ntklab.ledger import Mutant, result
from ntklab.ledger._shared import scaled, unit_vectors

# --- the oracles: closed forms in NumPy ---------------------------------------------------------


def _first_layer(cosine: np.ndarray) -> np.ndarray:
    """u(π − arccos u)/2π, where rounding may have left [−1, 1]."""
    u = np.clip(cosine, -1, 1)
    return u * (np.pi - np.arccos(u)) / (2 * np.pi)


def _coefficients(k: np.ndarray) -> np.ndarray:
    """c_k of that kernel on the circle."""
    k = np.abs(k)
    even = (k**2 + 1) / (np.pi**2 * np.where(k == 1, 2.0, k**2 - 1) ** 2)
    return np.where(k == 1, 1 / 8, np.where(k % 2 == 0, even, 0.0))


def _angles(n: int) -> np.ndarray:
    return 2 * np.pi * np.arange(n) / n


# --- steps --------------------------------------------------------------------------------------


@result(
    "B23",
    "Section 3, steps to a frequency",
    theorem="thm-steps",
    exercise="ex-exponent-by-hand",
    evidence="rounding",
    falsified_by={"jitter": 0.1},
    sweep=[{"n": 64, "share": 1.6}, {"fraction": 0.3, "share": 0.3}],
    mutants=[
        Mutant.statement("the steps are those of the flow", flow=True),
        Mutant.statement("the exponent is 2 + 5/k²", excess=5.0),
        Mutant.statement("without the frequencies that n points fold", folds=0),
        Mutant.code(
            "the eigenvalues lack a twentieth",
            "learning_frequencies.circulant_eigenvalues",
            scaled(0.95),
        ),
        Mutant.code(
            "one step fewer",
            "learning_frequencies.descent_steps",
            lambda f: lambda values, **o: f(values, **o) - 1,
        ),
    ],
)
def steps_follow_the_spectrum(
    n: int = 32,
    share: float = 1.0,
    fraction: float = 0.05,
    flow: bool = False,
    excess: float = 6.0,
    folds: int = 2000,
    jitter: float = 0.0,
) -> list[Check]:
    """On n equispaced points of the circle kernel descent takes ⌈log ε/log|1 − ηλ_k|⌉ steps to the
    fraction ε of cos kω, λ_k = n Σ_l c_{k+ln}; without bias the exponent of 1/c_k at k is
    2 + 6/k² + O(1/k⁴).

    The kernel u(π − arccos u)/2π. Steps counted along descent with its Gram matrix, in NumPy, at
    the step `share`/λ_max, for k = 2, 4, 6, 8; its eigenvalues against the closed form of c_k,
    folded; the slope of log c_k between two even frequencies. With `jitter` the points are moved.
    """
    moved = _angles(n) + jitter * np.sin(np.arange(n) ** 2) * 2 * np.pi / n
    gram = _first_layer(np.cos(moved[:, None] - moved))
    values = learning_frequencies.circulant_eigenvalues(_first_layer(np.cos(_angles(n))))
    step_size, modes = share / np.max(values), np.array([2, 4, 6, 8])
    counts = []
    for k in modes:
        residual = np.cos(k * moved)
        goal, count = fraction * np.linalg.norm(residual), 0
        while np.linalg.norm(residual) > goal:
            residual, count = residual - step_size * (gram @ residual), count + 1
        counts.append(count)
    if flow:
        predicted = np.ceil(np.log(1 / fraction) / (step_size * values[modes]))
    else:
        predicted = learning_frequencies.descent_steps(
            values[modes], step_size=step_size, fraction=fraction
        )
    wrapped = n * np.arange(-folds, folds + 1)
    folded = np.sum(_coefficients(modes[:, None] + wrapped), axis=1)
    fine = learning_frequencies.circulant_eigenvalues(_first_layer(np.cos(_angles(4096)))) / 4096
    slope = np.log(fine[16] / fine[18]) / np.log(18 / 16)
    return [
        Check("steps counted less steps predicted, the largest difference",
              float(np.max(np.abs(np.array(counts) - predicted))), "==", 0),
        # What is left out of the sum is at most 2/(π² n² folds).
        Check("eigenvalues over n less the folded coefficients",
              float(np.max(np.abs(values[modes] / n - folded))), "==", 0,
              1 / (n**2 * 2000) + 1e-14),
        # The next term of the exponent, 2/k⁴, and the mean over [16, 18] in place of its middle.
        Check("k² times the exponent's excess over 2, k = 17", 17**2 * (slope - 2), "==",
              excess, 0.1),
    ]  # fmt: skip


@result(
    "B23",
    "Section 3, a network's steps to a frequency",
    theorem="prop-same-gates",
    exercise="ex-amplitude",
    evidence="rounding",
    falsified_by={"amplitude": 400.0},
    sweep=[{"frequency": 4}, {"width": 64, "n": 8, "frequency": 2}],
    mutants=[
        Mutant.statement("the steps are those of the flow", flow=True),
        Mutant.statement("units move a third as far", reach=1 / 3),
        Mutant.code(
            "one step fewer",
            "learning_frequencies.descent_until",
            lambda f: lambda *a, **o: (lambda end: end._replace(steps=end.steps - 1))(f(*a, **o)),
        ),
        Mutant.code(
            "the eigenvalues lack a tenth",
            "learning_frequencies.circulant_eigenvalues",
            scaled(0.9),
        ),
    ],
)
def networks_take_the_kernels_steps(
    width: int = 128,
    n: int = 16,
    frequency: int = 2,
    amplitude: float = 0.9,
    reach: float = 1.0,
    flow: bool = False,
) -> list[Check]:
    """A two-layer ReLU network in mirrored pairs takes to A·cos kω exactly the steps of its kernel,
    no unit moves further than A/(4√m c_k), and no gate flips, as long as this is below the margin
    min |w_j·x_i|.

    Descent at the step 1/λ_max of a network with equispaced directions, at `amplitude` times the
    largest A that the statement allows: its steps less those of its tangent kernel at the start,
    the longest way of a unit, and the gates that differ at the end.
    """
    network = networks.shallow(width)
    weights = learning_frequencies.mirrored_weights(width)
    x = learning_frequencies.circle_points(jnp.asarray(_angles(n), weights.dtype))
    gram = tangent_kernel.empirical_ntk(network.apply, weights, x)
    values = learning_frequencies.circulant_eigenvalues(gram[0])
    step_size, value = 1 / np.max(values), values[frequency]
    margin = float(jnp.min(jnp.abs(weights @ x.T)))
    scale = amplitude * margin * 4 * np.sqrt(width) * value / n
    y = scale * jnp.cos(frequency * jnp.asarray(_angles(n), weights.dtype))
    arrival = learning_frequencies.descent_until(
        network.apply, weights, x, y, step_size=step_size, max_steps=2000
    )
    steps = learning_frequencies.descent_steps(value, step_size=step_size)
    if flow:
        steps = np.ceil(np.log(20) / (step_size * value))
    way = float(jnp.max(jnp.linalg.norm(arrival.params - weights, axis=1)))
    flipped = int(jnp.sum((arrival.params @ x.T > 0) != (weights @ x.T > 0)))
    return [
        Check("steps of the network less steps of the kernel", arrival.steps - float(steps), "==",
              0),
        Check("longest way of a unit over the margin", way / margin, "<=", amplitude * reach,
              rounding_tolerance(10)),
        Check("gates that flipped", flipped, "==", 0),
    ]  # fmt: skip


# --- densities and inputs -----------------------------------------------------------------------


@result(
    "B23",
    "Section 3, inputs of another density",
    theorem="prop-local-rate",
    exercise="ex-two-densities",
    evidence="rounding",
    falsified_by={"tilt": 0.05},
    sweep=[{"frequency": 33}, {"contrast": 0.8}],
    mutants=[
        Mutant.statement("the rate grows like the density to the power 0.9", power=0.9),
        Mutant.statement("half of the bound", constant=0.5),
        Mutant.code(
            "frequencies of one side alone",
            "learning_frequencies.local_rate_error",
            scaled(0.5),
        ),
    ],
)
def rates_follow_the_density(
    frequency: int = 65,
    contrast: float = 0.5,
    power: float = 1.0,
    constant: float = 1.0,
    tilt: float = 0.0,
) -> list[Check]:
    """Under a density p the kernel's operator multiplies g(ω) cos kω by c_k·2πp(ω), up to
    Σ_l |q_l||c_{k+l} − c_k| with the Fourier coefficients q_l of 2πpg.

    The kernel (1 + u)(π − arccos u)/4π, 2πp = 1 + `contrast`·cos ω and g = 1, on 1024 points: the
    largest error over its bound, and the exponent of the rate in the density, from the densest and
    the sparsest place. With `tilt` the kernel is no function of the angle.
    """
    angles = _angles(1024)
    cosine = np.clip(np.cos(angles), -1, 1)
    row = (1 + cosine) * (np.pi - np.arccos(cosine)) / (4 * np.pi)
    c = learning_frequencies.circulant_eigenvalues(row) / 1024
    density, mode = 1 + contrast * np.cos(angles), np.cos(frequency * angles)
    image = np.fft.ifft(np.fft.fft(row) * np.fft.fft(density * mode)).real / 1024
    image = image * (1 + tilt * np.cos(angles))
    error = np.max(np.abs(image - c[frequency] * density * mode))
    coarse = 1 + contrast * np.cos(_angles(16))
    bound = learning_frequencies.local_rate_error(c, coarse, frequency)
    dense, sparse = image[0] / mode[0], image[512] / mode[512]
    found = np.log(dense / sparse) / np.log((1 + contrast) / (1 - contrast))
    # Each of the two rates is off by at most the bound.
    slack = bound / c[frequency] * (1 / (1 + contrast) + 1 / (1 - contrast))
    return [
        Check("largest error over its bound", error / bound, "<=", constant, 1e-9),
        Check("exponent of the rate in the density", found, "==", power,
              1.1 * slack / np.log((1 + contrast) / (1 - contrast))),
    ]  # fmt: skip


@result(
    "B23",
    "Section 3, Fourier features",
    theorem="prop-fourier-features",
    exercise="ex-bandwidth",
    evidence="rounding",
    falsified_by={"gain": 1.05},
    sweep=[{"frequencies": (1, 2, 7)}, {"degree": 5}],
    mutants=[
        Mutant.statement("the law is convolved once more", extra=1),
        Mutant.statement("half of the second moment", moment=0.5),
        Mutant.code(
            "features that are not weighted",
            "learning_frequencies.fourier_features",
            lambda f: lambda angles, b, weights=None: f(angles, b),
        ),
    ],
)
def features_convolve_the_spectrum(
    frequencies: tuple[int, ...] = (1, 4),
    degree: int = 8,
    extra: int = 0,
    moment: float = 1.0,
    gain: float = 1.0,
) -> list[Check]:
    """A kernel Σ_j t_j u^j of Fourier features with the frequency law μ has the coefficients Σ_j
    t_j μ^{*j} on the circle; their sum is the kernel at 1 whatever μ is, and their second moment
    the kernel's slope at 1 times that of μ.

    The first `degree` Taylor coefficients of the ReLU kernel with bias; eigenvalues of its Gram
    matrix on 256 equispaced points against convolutions in NumPy. With `gain` the features are not
    of norm 1.
    """
    taylor = tangent_kernel.arc_cosine_coefficients(degree, bias=True)
    weights = np.arange(1.0, len(frequencies) + 1)
    angles = _angles(256)
    features = gain * np.asarray(
        learning_frequencies.fourier_features(angles, list(frequencies), weights), float
    )
    cosine = features @ features[0]
    found = learning_frequencies.circulant_eigenvalues(np.polyval(taylor[::-1], cosine)) / 256
    law = np.zeros(2 * max(frequencies) + 1)
    for b, weight in zip(frequencies, weights / np.sum(weights), strict=True):
        law[[max(frequencies) + b, max(frequencies) - b]] += weight / 2
    expected, convolved = np.zeros(129), np.ones(1)
    for _ in range(extra):
        convolved = np.convolve(convolved, law)
    for a in taylor:
        middle = len(convolved) // 2
        expected[: middle + 1] += a * convolved[middle:]
        convolved = np.convolve(convolved, law)
    # Further out there is nothing but rounding, which k² would raise.
    k = np.arange(degree * max(frequencies) + 1)
    slope = float(np.arange(degree + 1) @ taylor)
    spread = float(np.array(frequencies) ** 2 @ weights / np.sum(weights))
    tolerance = rounding_tolerance(10)
    return [
        Check("coefficients less the sum of convolutions", float(np.max(np.abs(found - expected))),
              "==", 0, tolerance),
        Check("sum of the coefficients less the kernel at 1",
              float(found[0] + 2 * np.sum(found[1:]) - np.sum(taylor)), "==", 0, 10 * tolerance),
        Check("second moment over slope at 1 and that of the law",
              float(2 * k**2 @ found[: len(k)] / (slope * spread)), "==",
            moment,
            300 * tolerance),
    ]  # fmt: skip


# --- what the kernel promises -------------------------------------------------------------------


@result(
    "B23",
    "Section 3, reference [29]: what the kernel promises",
    theorem="thm-promise",
    exercise="ex-promise",
    evidence="sampled",
    level=0.05,
    seeds=1,
    falsified_by={"start": 2.0},
    sweep=[{"seed": 1}, {"labels": "square"}, {"d": 40}],
    mutants=[
        Mutant.statement("half of the complexity", constant=0.5),
        Mutant.statement("the norm is that of the labels", inverse=False),
        Mutant.code(
            "the ball is a fifth smaller",
            "learning_frequencies.ball_complexity",
            scaled(0.8),
        ),
        Mutant.code(
            "the norm lacks a tenth",
            "learning_frequencies.interpolant_norm",
            scaled(0.9),
        ),
    ],
)
def the_kernel_promises(
    n: int = 96,
    d: int = 10,
    labels: str = "linear",
    constant: float = 1.0,
    inverse: bool = True,
    start: float = 0.0,
    seed: int = 0,
) -> list[Check]:
    """Trained from 0 an infinitely wide network ends at the interpolant of norm B = √(yᵀH⁻¹y), and
    with probability 1 − δ its risk is at most 2⌈B⌉√(tr H)/n + 3√(log(2⌈B⌉(⌈B⌉+1)/δ)/2n).

    The kernel u(π − arccos u)/2π on the sphere. The Rademacher complexity of the unit ball on 10
    points, by all 1024 signs, over its bound; the norm of the end of the kernel flow, from `start`
    times k(z, ·) at another point z; its risk for min(1, |f − y|) on 2000 other points.

    Loose: the risk. The bound counts every function of the ball, of which most are far worse than
    the interpolant of these labels, and its second term alone is 0.5 at n = 96 whatever is learned.
    """
    x, new = unit_vectors(seed, n, d), unit_vectors(seed + 1000, 2000, d)
    gram, cross = _first_layer(x @ x.T), _first_layer(new @ x.T)
    label = (lambda z: z[:, 0]) if labels == "linear" else (lambda z: z[:, 0] ** 2)
    y, y_new = label(x), label(new)
    few = gram[:10, :10]
    signs = np.array(list(itertools.product((-1, 1), repeat=10)))
    complexity = float(np.mean(np.sqrt(np.einsum("si,ij,sj->s", signs, few, signs)))) / 10
    dtype = jnp.result_type(float)
    # Where training starts: a function that is not of the span of the k(x_i, ·).
    place = new[:1]
    ends = gradient_flow.kernel_flow(
        jnp.asarray(gram, dtype), jnp.asarray(y, dtype), jnp.inf,
        f0=jnp.asarray(start * _first_layer(x @ place[0]), dtype),
        k_test=jnp.asarray(cross, dtype),
        f0_test=jnp.asarray(start * _first_layer(new @ place[0]), dtype),
    )  # fmt: skip
    assert isinstance(ends, tuple)
    # The end is the start plus a combination of the k(x_i, ·): its coefficients, and its norm.
    moved = np.asarray(ends[0], float) - start * _first_layer(x @ place[0])
    parts = np.append(np.linalg.solve(gram, moved), start)
    both = np.concatenate([x, place])
    norm = float(np.sqrt(parts @ _first_layer(both @ both.T) @ parts))
    expected = learning_frequencies.interpolant_norm(gram if inverse else np.eye(n), y)
    risk = float(np.mean(np.minimum(1, np.abs(np.asarray(ends[1], float) - y_new))))
    return [
        Check("complexity of the unit ball over its bound",
              complexity / learning_frequencies.ball_complexity(few, 1.0), "<=", constant),
        Check("norm of the end of the flow over B", norm / expected, "==", 1,
              rounding_tolerance(float(np.linalg.cond(gram)))),
        Check("risk", risk, "<=", learning_frequencies.risk_bound(gram, y)),
    ]  # fmt: skip
