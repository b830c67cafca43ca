r"""What is learned first: the spectrum of tangent kernels on the circle and on spheres.

Along an eigenvector of the kernel the residual decays at the rate of its eigenvalue. Under the
uniform law on a sphere the eigenfunctions of a zonal kernel, a function of the cosine between two
points, are the spherical harmonics. The module computes their eigenvalues, each with the accuracy
that it has, and bounds what the sample and the width change.

Kernels are functions of the cosine. What they are given is float64 of NumPy: one that computes with
NumPy keeps its digits, and gives NumPy arrays, also where JAX computes in 32 bits.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _validate
from ntklab.sphere import equator_density

__all__ = [
    "biased_kernel",
    "both_layers_kernel",
    "both_layers_spectrum",
    "circle_eigenvalues",
    "deep_kernel",
    "direction_error_bound",
    "eigenspace_sine",
    "eigenvalue_errors",
    "first_layer_kernel",
    "first_layer_spectrum",
    "mean_square_error_bound",
    "mode_error_bound",
    "operator_distance",
    "outlier_bound",
    "sampling_bound",
    "sphere_eigenvalues",
    "sup_error_bound",
    "taylor_coefficients",
    "taylor_eigenvalues",
    "width_error_bound",
    "zonal_gram",
]

Kernel = Callable[[Any], Any]
Points = Float[Array | np.ndarray, "_ d"]
Degrees = Float[Array | np.ndarray, " degrees"]

# Gauss–Legendre nodes of a panel, and how many of the last Legendre coefficients are its tail.
_NODES, _TAIL = 32, 4
# Panels of a kernel that jumps are halved until their width is below the rounding of θ.
_ROUNDS, _PANELS = 50, 4096
# How many units in the last place a kernel's own formula may be off by.
_ULPS = 8.0


# --- kernels ------------------------------------------------------------------------------------


def first_layer_kernel(cosine: Any) -> Any:
    r"""$K_0(u) = \frac{u\,(\pi - \arccos u)}{2\pi}$: two layers of ReLU, the first one trained.

    Args:
        cosine: u in [−1, 1], an array of NumPy or JAX, of any shape; complex in the unit disc.

    Returns:
        An array of that kind and shape.

    Raises:
        ValueError: for values outside [−1, 1] or NaN.

    Source: B23, section 3; derived in the chapter on the tangent kernel.

    Examples:
        >>> first_layer_kernel(np.array([-1.0, 0.0, 1.0])).tolist()
        [0.0, 0.0, 0.5]
    """
    u, angle, _ = _angle(cosine)
    return u * (math.pi - angle) / (2 * math.pi)


def both_layers_kernel(cosine: Any) -> Any:
    r"""$K_2(u) = \frac{2u\,(\pi - \arccos u) + \sqrt{1 - u^2}}{2\pi}$: two layers of ReLU, both
    trained.

    Args:
        cosine: as for `first_layer_kernel`.

    Raises:
        ValueError: for values outside [−1, 1] or NaN.

    Source: B23, section 3; derived in the chapter on the tangent kernel.

    Examples:
        >>> both_layers_kernel(np.array([-1.0, 0.0, 1.0])).round(4).tolist()
        [0.0, 0.1592, 1.0]
    """
    u, angle, sine = _angle(cosine)
    return (2 * u * (math.pi - angle) + sine) / (2 * math.pi)


def biased_kernel(cosine: Any) -> Any:
    r"""$K_b(u) = \frac{(1 + u)(\pi - \arccos u)}{4\pi}$: the first layer trained, with biases that
    start at 0.

    Its points are lifted to $(x, 1)/\sqrt2$, its weights to $(w_j, 0)$.

    Args:
        cosine: as for `first_layer_kernel`.

    Raises:
        ValueError: for values outside [−1, 1] or NaN.

    Source: Basri et al. (2019).

    Examples:
        >>> biased_kernel(np.array([-1.0, 0.0, 1.0])).tolist()
        [0.0, 0.125, 0.5]
    """
    u, angle, _ = _angle(cosine)
    return (1 + u) * (math.pi - angle) / (4 * math.pi)


def deep_kernel(depth: int) -> Kernel:
    r"""$\Theta_l = \Theta_{l-1}\,\kappa_0(\Sigma_{l-1}) + \Sigma_l$, $\Sigma_l =
    \kappa_1(\Sigma_{l-1})$ from $\Theta_0 = \Sigma_0 = u$: ReLU without biases, all layers trained.

    Here $\kappa_0 = (\pi - \omega)/\pi$ and $\kappa_1 = (\sin\omega + (\pi - \omega)\cos
    \omega)/\pi$ at the cosine of ω: weights have variance 2 over their fan-in, those of the output
    1, so $\Sigma_l(1) = 1$ and $\Theta_L(1) = L + 1$. For one hidden layer it is $2K_2$.

    Args:
        depth: L, the number of hidden layers.

    Returns:
        A function of the cosine, as `first_layer_kernel`.

    Raises:
        ValueError: for a depth below 1.

    Source: half of `tangent_kernel.infinite_ntk` with `w_std` √2, at points of norm √d.

    Examples:
        >>> deep_kernel(3)(np.array([0.0, 1.0])).round(4).tolist()
        [1.0604, 4.0]
    """
    depth = _validate.integer("depth", depth, at_least=1)
    return functools.partial(_deep, depth)


def _deep(depth: int, cosine: Any) -> Any:
    covariance, angle, sine = _angle(cosine)
    kernel = covariance
    for layer in range(depth):
        if layer:
            covariance, angle, sine = _angle(covariance)
        share = (math.pi - angle) / math.pi
        kernel = kernel * share
        covariance = sine / math.pi + share * covariance
        kernel = kernel + covariance
    return kernel


def _angle(cosine: Any) -> tuple[Any, Any, Any]:
    """u, its angle and the angle's sine; what rounding puts beyond ±1 is put back."""
    numpy: Any = jnp if isinstance(cosine, Array) else np
    u = cosine if isinstance(cosine, Array) else np.asarray(cosine)
    if not numpy.issubdtype(u.dtype, numpy.inexact):
        u = u.astype(float)
    if numpy.issubdtype(u.dtype, numpy.floating):
        if _validate.concrete(u) and not np.all(np.abs(np.asarray(u)) <= 1 + _rounding(u.dtype)):
            raise ValueError(
                "cosine must lie in [-1, 1], as between points of the unit sphere; got "
                f"{np.min(np.asarray(u)):g} to {np.max(np.asarray(u)):g}"
            )
        u = numpy.clip(u, -1, 1)
    return u, numpy.arccos(u), numpy.sqrt((1 - u) * (1 + u))


def _rounding(dtype: Any) -> float:
    """What a cosine between computed points may be off by."""
    return 1e3 * float(jnp.finfo(dtype).eps)


def zonal_gram(kernel: Kernel, x1: Points, x2: Points | None = None) -> Any:
    r"""$K(x_i \cdot x'_j)$ for points of the unit sphere.

    Args:
        kernel: a function of the cosine.
        x1: points `[N1, d]` of norm 1, of NumPy or JAX.
        x2: points `[N2, d]`; by default x1, and then $x_i \cdot x_i$ is 1 exactly.

    Returns:
        `[N1, N2]`, of the kind of the points.

    Raises:
        ValueError: for points off the unit sphere, of different dimensions or kinds, or a kernel
            that `sphere_eigenvalues` would refuse.

    Examples:
        >>> zonal_gram(first_layer_kernel, np.eye(2)).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    left = _on_sphere("x1", x1)
    right = left if x2 is None else _on_sphere("x2", x2)
    _validate.same_dimension("x1", left, "x2", right)
    cosines = (left @ right.T).clip(-1, 1)
    if x2 is None:
        numpy: Any = jnp if isinstance(left, Array) else np
        cosines = numpy.where(np.eye(len(left), dtype=bool), numpy.ones_like(cosines), cosines)
    return _values(kernel, cosines)


def _on_sphere(name: str, x: Any) -> Any:
    points: Any = _validate.points(name, x)
    if isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating):
        points = x  # JAX would cut it to 32 bits
    if _validate.concrete(points):
        norms = np.linalg.norm(np.asarray(points), axis=1)
        worst = norms[np.argmax(np.abs(norms - 1))]
        if abs(worst - 1) > _rounding(points.dtype):
            raise ValueError(f"{name} must lie on the unit sphere, got a point of norm {worst:g}")
    return points


def _values(kernel: Kernel, cosines: Any) -> Any:
    """The kernel at these cosines, of their shape, real and finite."""
    if not callable(kernel):
        raise ValueError(f"kernel must be a function of the cosine, got {kernel!r:.60}")
    try:
        values = kernel(cosines)
    except TypeError as error:
        raise ValueError(f"kernel must take an array of cosines, got the error: {error}") from error
    if not isinstance(values, Array):
        values = np.asarray(values)
    if np.shape(values) != np.shape(cosines):
        raise ValueError(
            "kernel must be zonal, with a value for each cosine: shape "
            f"{np.shape(cosines)}, got {np.shape(values)}"
        )
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"kernel must give real numbers, got dtype {values.dtype}")
    if _validate.concrete(values):
        finite = np.isfinite(np.asarray(values))
        if not np.all(finite):
            where = float(np.asarray(cosines)[~finite].flat[0])
            raise ValueError(f"kernel must be finite on [-1, 1], got NaN or infinity at {where:g}")
    return values


# --- the spectrum of a zonal kernel -------------------------------------------------------------


def circle_eigenvalues(kernel: Kernel, max_frequency: int) -> Degrees:
    r"""$\sigma_k = \frac1\pi\int_0^\pi K(\cos\omega)\cos k\omega\;d\omega$, the eigenvalue of
    $\cos k\omega$ and $\sin k\omega$ under the uniform law on the circle.

    `sphere_eigenvalues` in dimension 2.

    Args:
        kernel: as for `sphere_eigenvalues`.
        max_frequency: the largest k.

    Returns:
        `[max_frequency + 1]`.

    Raises:
        ValueError: as `sphere_eigenvalues`.

    Source: B23, section 3.

    Examples:
        >>> (math.pi**2 * circle_eigenvalues(first_layer_kernel, 4)).round(5).tolist()
        [1.0, 1.2337, 0.55556, 0.0, 0.07556]
    """
    top = _validate.integer("max_frequency", max_frequency, at_least=0)
    return _eigenvalues(kernel, 2, top)


def sphere_eigenvalues(kernel: Kernel, dimension: int, max_degree: int) -> Degrees:
    r"""$\sigma_k = c_d\int_0^\pi K(\cos\omega)\,P_k(\cos\omega)\sin^{d-2}\omega\;d\omega$ with
    $c_d = \frac{\Gamma(d/2)}{\sqrt\pi\,\Gamma((d-1)/2)}$ and $P_k(1) = 1$: the eigenvalues of a
    zonal kernel under the uniform probability law on $S^{d-1}$.

    Each has the multiplicity `sphere.harmonics(dimension, degree)`. The angle is cut into panels
    with 32 Gauss–Legendre nodes each, halved where the kernel is not a polynomial of that degree to
    rounding: kinks and jumps cost panels, not digits. In ω ReLU kernels of every depth are
    analytic, both ends included.

    The *absolute* error is near $\varepsilon\max|K|/\sqrt{N(d, k)}$, with ε that of the kernel's
    values; `eigenvalue_errors` computes it. An eigenvalue below it has no correct digit: see
    `taylor_eigenvalues`, and `first_layer_spectrum` for closed forms.

    Args:
        kernel: a function of the cosine, `[...] -> [...]`, of NumPy or JAX.
        dimension: d.
        max_degree: the largest k.

    Returns:
        `[max_degree + 1]`, of the kind and type of the kernel's values.

    Raises:
        ValueError: for a dimension below 2, a negative degree, or a kernel that is not a function,
            not finite at ±1 or between, or not zonal: with another shape than its argument's, or
            with values that depend on more than the cosine.

    Source: B23, section 3.

    Examples:
        >>> sphere_eigenvalues(both_layers_kernel, 5, 3).round(9).tolist()
        [0.2109375, 0.1, 0.015625, 0.0]
    """
    d = _validate.integer("dimension", dimension, at_least=2)
    return _eigenvalues(kernel, d, _validate.integer("max_degree", max_degree, at_least=0))


def _eigenvalues(kernel: Kernel, d: int, top: int) -> Degrees:
    panels = _panels(kernel, d, top)
    weighted = panels.weights * panels.values
    found = np.array([weighted @ P for P in _polynomials(panels.angles, d, top)])
    if panels.of_jax:
        return _validate.from_numpy(found, panels.dtype)
    return found.astype(panels.dtype)


def eigenvalue_errors(kernel: Kernel, dimension: int, max_degree: int) -> Float[np.ndarray, " k"]:
    r"""A bound on the absolute error of each value of `sphere_eigenvalues`.

    With the weights $w_i$ of the nodes, $\sum_i w_i\,\abs{P_k(u_i)}\,\delta_i$, where $\delta_i$
    adds up the rounding of the sum and of the kernel's formula, what the kernel changes when $u_i$
    moves by a unit in the last place, and the tail of its expansion on the panel. It knows nothing
    of a kernel whose formula loses more than a few digits, as a difference of large terms does.

    Args:
        kernel: as for `sphere_eigenvalues`.
        dimension: d; 2 for `circle_eigenvalues`.
        max_degree: the largest k.

    Returns:
        `[max_degree + 1]`, in float64.

    Raises:
        ValueError: as `sphere_eigenvalues`.

    Source: derived in the chapter.

    Examples:
        >>> errors = eigenvalue_errors(first_layer_kernel, 10, 50)
        >>> bool(errors[0] < 1e-14), bool(errors[50] < 1e-18)
        (True, True)
    """
    d = _validate.integer("dimension", dimension, at_least=2)
    top = _validate.integer("max_degree", max_degree, at_least=0)
    panels = _panels(kernel, d, top)
    eps = float(jnp.finfo(panels.dtype).eps)
    u = np.cos(panels.angles)
    moved = np.nextafter(u.astype(panels.dtype), np.zeros((), panels.dtype)).astype(float)
    sensitivity = np.abs(np.asarray(_values(kernel, moved), float) - panels.values)
    # A node's weight and polynomial are off by a few units, and by one for each step of the
    # recurrence, of which the polynomials' envelope, √(∫P²), keeps the scale.
    error = _ULPS * eps * np.abs(panels.values) + sensitivity + panels.tails
    double = float(np.finfo(float).eps)
    found = []
    for k, P in enumerate(_polynomials(panels.angles, d, top)):
        envelope = math.sqrt(float(panels.weights @ P**2))
        size = math.sqrt(float(panels.weights @ panels.values**2))
        found.append(
            float(panels.weights @ (np.abs(P) * error)) + (k + 8) * double * size * envelope
        )
    return np.array(found)


class _Panels(NamedTuple):
    """Nodes in ω with their weights under the uniform law, and the kernel there."""

    angles: np.ndarray
    weights: np.ndarray
    values: np.ndarray
    tails: np.ndarray  # of the panel's expansion, at each of its nodes
    dtype: Any
    of_jax: bool


@functools.lru_cache(maxsize=1)
def _legendre() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes and weights on [−1, 1], and what gives the last coefficients of an expansion."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    last = np.arange(_NODES - _TAIL, _NODES)
    values = np.polynomial.legendre.legvander(nodes, _NODES - 1)[:, last]
    return nodes, weights, values * weights[:, None] * (last + 0.5)


def _panels(kernel: Kernel, d: int, top: int) -> _Panels:
    """Panels on which the kernel is a polynomial of degree 31 in ω, up to rounding."""
    _values(kernel, np.array([1.0, -1.0]))
    nodes, weights, last = _legendre()
    # A panel sees four oscillations of P_k at most, and no more than the width of sin^(d−2).
    first = 8 + top // 8 + math.isqrt(d)
    edges = math.pi * np.arange(first + 1) / first
    left, right = edges[:-1], edges[1:]
    done: list[tuple[np.ndarray, ...]] = []
    count, dtype, of_jax, scale = 0, None, False, 0.0
    for turn in range(_ROUNDS):
        middle, half = (left + right) / 2, (right - left) / 2
        angles = middle[:, None] + half[:, None] * nodes
        given = _values(kernel, np.cos(angles).ravel())
        values = np.asarray(given, float).reshape(angles.shape)
        if turn == 0:
            dtype, of_jax, scale = given.dtype, isinstance(given, Array), float(np.max(abs(values)))
            again = np.asarray(_values(kernel, np.cos(angles).ravel()[::-1]), float)[::-1]
            worst = float(np.max(np.abs(again - values.ravel())))
            if worst > _rounding(dtype) * scale:
                raise ValueError(
                    "kernel must be zonal, a function of the cosine alone; got values that differ "
                    f"by {worst:g} when the same cosines come in another order"
                )
        eps = float(jnp.finfo(dtype).eps)
        tails = np.max(np.abs(values @ last), axis=1)
        # What a panel may contribute: noise near the ends grows like the inverse of its width.
        coarse = tails * half / math.pi > 8 * eps * scale
        count += len(left)
        if turn == _ROUNDS - 1 or count > _PANELS:
            coarse = np.zeros_like(coarse)
        kept = ~coarse
        done.append(
            (
                angles[kept].ravel(),
                (half[kept, None] * weights).ravel(),
                values[kept].ravel(),
                np.repeat(tails[kept], _NODES),
            )
        )
        if not np.any(coarse):
            break
        left, right = (
            np.concatenate([left[coarse], middle[coarse]]),
            np.concatenate([middle[coarse], right[coarse]]),
        )
    angles, lengths, values, tails = map(np.concatenate, zip(*done, strict=True))
    density = equator_density(d) * np.sin(angles) ** (d - 2)
    return _Panels(angles, lengths * density, values, tails, dtype, of_jax)


def _polynomials(angles: np.ndarray, d: int, top: int) -> Any:
    """P_0, …, P_top at the cosines of these angles, with P_k(1) = 1."""
    if d == 2:
        yield from (np.cos(k * angles) for k in range(top + 1))
        return
    u = np.cos(angles)
    before, now = np.ones_like(u), u
    yield before
    for k in range(1, top + 1):
        yield now
        before, now = now, ((2 * k + d - 2) * u * now - k * before) / (k + d - 2)


# --- values too small for a quadrature ----------------------------------------------------------


def first_layer_spectrum(dimension: int, max_degree: int) -> Float[np.ndarray, " degrees"]:
    r"""$\frac{(k + d - 2)\,s_{k+1} + k\,s_{k-1}}{2(2k + d - 2)}$, the eigenvalues of $K_0$, with
    $s_k = 2\mu_k^2$, $\mu_0 = \frac12$, $\mu_k = \pm\frac{\Gamma(d/2)\,\Gamma(k/2)}{2\pi\,
    \Gamma((k+d)/2)}$ for odd k and 0 else, the coefficients of the step $1(u > 0)$.

    Each value has a relative error near 1e-13, however small it is.

    Args:
        dimension: d.
        max_degree: the largest k.

    Raises:
        ValueError: for a dimension below 2 or a negative degree.

    Source: derived in the chapter.

    Examples:
        >>> (math.pi**2 * first_layer_spectrum(2, 4)).round(5).tolist()
        [1.0, 1.2337, 0.55556, 0.0, 0.07556]
    """
    d = _validate.integer("dimension", dimension, at_least=2)
    top = _validate.integer("max_degree", max_degree, at_least=0)
    k = np.arange(top + 1)
    step = 2 * _step_coefficients(d, top + 1) ** 2
    below = np.concatenate([[0.0], step[:top]])
    # For d = 2 and k = 0 the quotient is 0/0, and the recurrence reads u P_0 = P_1.
    front = np.where(k == 0, 1.0, (k + d - 2) / np.maximum(2 * k + d - 2, 1))
    return (front * step[1:] + (1 - front) * below) / 2


def both_layers_spectrum(dimension: int, max_degree: int) -> Float[np.ndarray, " degrees"]:
    r"""`first_layer_spectrum` $+\, d\,\nu_k^2$, the eigenvalues of $K_2$, with $\nu_0 =
    \frac{c_d}{d-1}$, $\nu_1 = \frac1{2d}$, $\nu_k = \pm\frac{\Gamma(d/2)\,\Gamma((k-1)/2)}{4\pi\,
    \Gamma((k+d+1)/2)}$ for even k and 0 else, the coefficients of ReLU.

    Args:
        dimension: d.
        max_degree: the largest k.

    Raises:
        ValueError: for a dimension below 2 or a negative degree.

    Source: derived in the chapter.

    Examples:
        >>> both_layers_spectrum(5, 4).round(9).tolist()
        [0.2109375, 0.1, 0.015625, 0.0, 0.000518799]
    """
    first = first_layer_spectrum(dimension, max_degree)
    return first + dimension * _relu_coefficients(dimension, max_degree) ** 2


def _step_coefficients(d: int, top: int) -> np.ndarray:
    """|μ_k| = Γ(d/2) Γ(k/2)/(2π Γ((k + d)/2)) of the step for odd k; ½ at 0, 0 for other k."""
    from scipy.special import gammaln

    k = np.arange(top + 1)
    log = gammaln(d / 2) + gammaln(np.maximum(k, 1) / 2) - gammaln((k + d) / 2)
    return np.where(k == 0, 0.5, np.where(k % 2 == 1, np.exp(log) / (2 * math.pi), 0))


def _relu_coefficients(d: int, top: int) -> np.ndarray:
    """|ν_k| = Γ(d/2) Γ((k − 1)/2)/(4π Γ((k + d + 1)/2)) of ReLU for even k ≥ 2; 1/2d at 1."""
    from scipy.special import gammaln

    k = np.arange(top + 1)
    log = gammaln(d / 2) + gammaln(np.maximum(k - 1, 1) / 2) - gammaln((k + d + 1) / 2)
    rest = np.where(k % 2 == 0, np.exp(log) / (4 * math.pi), 0)
    return np.where(k == 0, equator_density(d) / (d - 1), np.where(k == 1, 1 / (2 * d), rest))


def _log_front(d: int, k: np.ndarray) -> np.ndarray:
    """Log of c_d 2^(−k) Γ((d−1)/2)/Γ(k + (d−1)/2), from Rodrigues' formula."""
    from scipy.special import gammaln

    half = (d - 1) / 2
    return math.log(equator_density(d)) - k * math.log(2) + gammaln(half) - gammaln(k + half)


def taylor_coefficients(kernel: Kernel, count: int) -> Float[np.ndarray, " count"]:
    r"""$b_j = \frac{1}{M r^j}\sum_{l<M} K(r e^{2\pi i l/M})\,e^{-2\pi i jl/M}$ with
    $r = e^{-34/M}$: the coefficients of $K(u) = \sum_j b_j u^j$.

    For M = 16 `count` what wraps around is $e^{-34} = 2\cdot10^{-15}$ times coefficients beyond M.
    The kernel must be analytic in the open disc and its formula right for complex numbers there.

    Args:
        kernel: a function of the cosine that takes complex arrays of NumPy.
        count: how many coefficients.

    Returns:
        `[count]`, with absolute errors near $10^{-14}\max|K|$.

    Raises:
        ValueError: for a count below 1, or a kernel that is not finite, does not give complex
            numbers, or is another function on the real line.

    Source: Cauchy's formula.

    Examples:
        >>> taylor_coefficients(np.exp, 4).round(12).tolist()
        [1.0, 1.0, 0.5, 0.166666666667]
    """
    count = _validate.integer("count", count, at_least=1)
    size = 16 * max(count, 64)
    radius = math.exp(-34 / size)
    circle = radius * np.exp(2j * np.pi * np.arange(size) / size)
    real = np.array([-0.7, 0.0, 0.4, 0.8])
    try:
        values = np.asarray(kernel(circle))
        wrong = values.shape != circle.shape or not np.iscomplexobj(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"kernel must take complex arrays, got the error: {error}") from error
    if wrong or not np.all(np.isfinite(values)):
        raise ValueError("kernel must give finite complex numbers for complex ones, got others")
    known = np.asarray(_values(kernel, real), float)
    terms = np.fft.fft(values).real / size
    j = np.arange(size // 2)
    sums = (terms[j] / radius**j) @ (real[None, :] ** j[:, None])
    worst = float(np.max(np.abs(sums - known)))
    if worst > 1e-8 * float(np.max(np.abs(values))):
        raise ValueError(
            "kernel must be analytic, with a formula that holds for complex numbers too; got a "
            f"Taylor series that misses it by {worst:g} on the real line"
        )
    return terms[:count] / radius ** np.arange(count)


def taylor_eigenvalues(
    coefficients: Float[Array | np.ndarray, " terms"], dimension: int, max_degree: int
) -> Float[np.ndarray, " degrees"]:
    r"""$\sigma_k = c_d\,\frac{\Gamma(\frac{d-1}2)}{\Gamma(k + \frac{d-1}2)}\sum_{j \equiv k\,(2)}
    b_j\,\frac{j!}{(j - k)!\,2^k}\,\mathrm B\bigl(\tfrac{j-k+1}2, k + \tfrac{d-1}2\bigr)$ for
    $K(u) = \sum_j b_j u^j$.

    The terms of a positive definite kernel are nonnegative: nothing cancels, and small values are
    as accurate as their coefficients. What the series is cut off at is lost: for a ReLU kernel in
    many dimensions nothing, in three dimensions most of the digits.

    Args:
        coefficients: $b_0, b_1, \dots$, of degree `max_degree` at least.
        dimension: d.
        max_degree: the largest k.

    Raises:
        ValueError: for a dimension below 2, a negative degree, NaN, or too few coefficients.

    Source: derived in the chapter.

    Examples:
        >>> taylor_eigenvalues(np.array([0.0, 0.0, 1.0]), 3, 2).round(6).tolist()
        [0.333333, 0.0, 0.133333]
    """
    from scipy.special import betaln, gammaln

    d = _validate.integer("dimension", dimension, at_least=2)
    top = _validate.integer("max_degree", max_degree, at_least=0)
    _validate.floating("coefficients", coefficients, ndim=1)
    a = np.asarray(coefficients, float)
    if len(a) <= top:
        raise ValueError(
            f"coefficients must reach degree {top}, as max_degree does; got {len(a)} of them"
        )
    found = []
    for k in range(top + 1):
        j = np.arange(k, len(a), 2)
        log = (
            gammaln(j + 1)
            - gammaln(j - k + 1)
            + betaln((j - k + 1) / 2, k + (d - 1) / 2)
            + float(_log_front(d, np.array([k]))[0])
        )
        found.append(float(np.sum(a[j] * np.exp(log))))
    return np.array(found)


# --- what the training set, the sample and the width change -------------------------------------


def outlier_bound(kernel: Kernel, share: float) -> float:
    r"""$\frac{K(1)}{\delta\,K(0)}$: how many eigenvalues of a Gram matrix can be δλ₁ or more.

    It holds for kernels with nonnegative Taylor coefficients and unit inputs, any number of them in
    any dimension, since then $\lambda_1 \ge n K(0)$ while the trace is $nK(1)$. With δ = 1 it
    bounds trace/λ₁.

    Args:
        kernel: a function of the cosine.
        share: δ in (0, 1].

    Raises:
        ValueError: for a share outside (0, 1], or a kernel with $K(0) \le 0$, as of the first layer
            alone, of which this says nothing.

    Source: B23, section 3, after Murray et al. (2023); proved in the chapter.

    Examples:
        >>> round(outlier_bound(both_layers_kernel, 1.0), 4)  # 2π
        6.2832
    """
    share = _validate.number("share", share, above=0)
    if share > 1:
        raise ValueError(f"share must be at most 1, got {share:g}")
    top, zero = (float(value) for value in np.asarray(_values(kernel, np.array([1.0, 0.0]))))
    if zero <= 0:
        raise ValueError(f"kernel must be positive at cosine 0, got {zero:g}")
    return top / (share * zero)


def direction_error_bound(t: Any, eigenvalue: float, *, drift: float, residual: float) -> Any:
    r"""$\varepsilon\norm{\hat r_0}\,\frac{1 - e^{-\lambda_i t}}{\lambda_i}$ bounds
    $\abs{\inner{v_i}{\hat r_t} - e^{-\lambda_i t}\inner{v_i}{\hat r_0}}$ if the kernel stays within
    ε.

    For $\lambda_i = 0$ it is its limit $\varepsilon t\norm{\hat r_0}$.

    Args:
        t: times, a number or an array.
        eigenvalue: $\lambda_i$.
        drift: $\varepsilon \ge \norm{H_s - H}_{\mathrm{op}}$ for all $s \le t$.
        residual: $\norm{\hat r_0}$.

    Raises:
        ValueError: for a negative number or NaN.

    Source: B23, equation (6); proved in the chapter.

    Examples:
        >>> float(direction_error_bound(2.0, 0.0, drift=0.1, residual=3.0).round(6))
        0.6
    """
    drift = _validate.number("drift", drift, at_least=0)
    residual = _validate.number("residual", residual, at_least=0)
    return drift * residual * _accumulated(t, eigenvalue)


def _accumulated(t: Any, rate: float) -> Any:
    """∫₀ᵗ e^(−rate s) ds."""
    times = _times(t)
    rate = _validate.number("eigenvalue", rate, at_least=0)
    return times if rate == 0 else -np.expm1(-rate * times) / rate


def _times(t: Any) -> np.ndarray:
    times = np.asarray(_validate.floating("t", t), float)
    if np.any(times < 0):
        raise ValueError(f"t must be at least 0, got {np.min(times):g}")
    return times


def operator_distance(kernel: Kernel, x: Points) -> float:
    r"""$\Delta = \norm{T_n - T}_{\mathrm{HS}} = \bigl(\norm{H/n}_F^2 - \E K(u)^2\bigr)^{1/2}$, how
    far n points of the sphere are from the uniform law as the kernel sees it.

    The norm is that of operators on the kernel's Hilbert space. It bounds the distance of every
    eigenvalue of $H/n$ from the one that it estimates.

    Args:
        kernel: a function of the cosine.
        x: points `[n, d]` of norm 1, d at least 2.

    Raises:
        ValueError: for points off the unit sphere, or as `sphere_eigenvalues`.

    Source: proved in the chapter.

    Examples:
        >>> round(operator_distance(first_layer_kernel, np.array([[0.0, 1.0]])), 4)
        0.4494
    """
    gram = np.asarray(zonal_gram(kernel, x), float)
    second = sphere_eigenvalues(lambda u: kernel(u) ** 2, np.shape(x)[1], 0)
    return math.sqrt(max(float(np.mean(gram**2)) - float(second[0]), 0.0))


def sampling_bound(points: int, *, largest: float, tau: float) -> float:
    r"""$\kappa\,\frac{1 + \sqrt\tau}{\sqrt n}$ bounds $\norm{T_n - T}_{\mathrm{HS}}$ with
    probability $1 - e^{-\tau}$ over n independent points of any law.

    Args:
        points: n.
        largest: $\kappa = \sup_x K(x, x)$.
        tau: $\tau \ge 0$.

    Raises:
        ValueError: for fewer points than 1, or a negative number.

    Source: McDiarmid's inequality; proved in the chapter.

    Examples:
        >>> sampling_bound(100, largest=0.5, tau=1.0)
        0.1
    """
    n = _validate.integer("points", points, at_least=1)
    largest = _validate.number("largest", largest, at_least=0)
    tau = _validate.number("tau", tau, at_least=0)
    return largest * (1 + math.sqrt(tau)) / math.sqrt(n)


def eigenspace_sine(gram: Any, functions: Any, eigenvalue: float, first: int) -> float:
    r"""The sine of the largest angle in $\mathcal H$ between an eigenspace of T and that of $T_n$
    spanned by as many eigenvectors.

    With eigenfunctions φ of eigenvalue σ at the points, and eigenvectors $v_j$ of H with
    eigenvalues $\lambda_j$, the cosines are the singular values of $\sqrt{\sigma/\lambda_j}\;v_j
    \cdot \phi_l$.

    Args:
        gram: H, `[n, n]`.
        functions: $\phi_l(x_i)$, `[n, r]`, orthonormal under the law of the points.
        eigenvalue: σ, that of these functions under T.
        first: the place of the first of the r eigenvectors, in decreasing order and from 0.

    Raises:
        ValueError: for a matrix that is not a Gram matrix, other shapes, an eigenvalue that is not
            positive, or places beyond n.

    Source: proved in the chapter.

    Examples:
        >>> eigenspace_sine(np.eye(2), np.array([[1.0], [0.0]]), 1.0, 1)
        0.0
    """
    _validate.gram("gram", gram)
    _validate.floating("functions", functions, ndim=2)
    H, phi = np.asarray(gram, float), np.asarray(functions, float)
    sigma = _validate.number("eigenvalue", eigenvalue, above=0)
    start = _validate.integer("first", first, at_least=0)
    n, r = phi.shape
    if n != len(H) or r == 0 or start + r > n:
        raise ValueError(
            f"functions must have shape [{len(H)}, r] with first + r at most {len(H)}, got "
            f"{phi.shape} and first = {start}"
        )
    values, vectors = np.linalg.eigh(H)
    place = n - 1 - start - np.arange(r)
    if values[place[-1]] <= 0:
        raise ValueError(f"gram must be positive on these vectors, got {values[place[-1]]:g}")
    inner = np.sqrt(sigma / values[place])[:, None] * (vectors[:, place].T @ phi)
    smallest = float(np.linalg.norm(inner, -2))
    return math.sqrt(max(1 - smallest**2, 0.0))


def mode_error_bound(t: Any, eigenvalue: float, *, distance: float, norm: float) -> Any:
    r"""$\Delta\norm{r_0}_{\mathcal H}\,\frac{1 - e^{-\sigma_i t}}{\sqrt{\sigma_i}}$ bounds
    $\abs{\inner{r_t}{\phi_i} - e^{-\sigma_i t}\inner{r_0}{\phi_i}}$ off the training set.

    Args:
        t: times of the flow of $\frac1{2n}\sum r^2$.
        eigenvalue: $\sigma_i$; for 0 the bound is 0.
        distance: $\Delta \ge \norm{T_n - T}$.
        norm: $\norm{r_0}_{\mathcal H}$.

    Raises:
        ValueError: for a negative number or NaN.

    Source: B23, equation (8); proved in the chapter.

    Examples:
        >>> float(mode_error_bound(1e9, 0.25, distance=0.1, norm=1.0))
        0.2
    """
    size = _validate.number("distance", distance, at_least=0)
    size *= _validate.number("norm", norm, at_least=0)
    held = _accumulated(t, eigenvalue)
    return size * math.sqrt(eigenvalue) * held


def mean_square_error_bound(t: Any, *, distance: float, norm: float) -> Any:
    r"""$\sqrt{2t/e}\,\Delta\norm{r_0}_{\mathcal H}$ bounds $\norm{r_t - e^{-Tt}r_0}_{L^2}$.

    Args:
        t: as for `mode_error_bound`.
        distance: as for `mode_error_bound`.
        norm: as for `mode_error_bound`.

    Raises:
        ValueError: for a negative number or NaN.

    Source: B23, equation (7); proved in the chapter.

    Examples:
        >>> float(mean_square_error_bound(0.0, distance=0.1, norm=1.0))
        0.0
    """
    size = _validate.number("distance", distance, at_least=0)
    size *= _validate.number("norm", norm, at_least=0)
    return size * np.sqrt(2 * _times(t) / math.e)


def sup_error_bound(t: Any, *, distance: float, norm: float, largest: float) -> Any:
    r"""$\sqrt\kappa\,t\,\Delta\norm{r_0}_{\mathcal H}$ bounds $\sup_x\abs{r_t(x) -
    (e^{-Tt}r_0)(x)}$.

    Args:
        t: as for `mode_error_bound`.
        distance: as for `mode_error_bound`.
        norm: as for `mode_error_bound`.
        largest: $\kappa = \sup_x K(x, x)$.

    Raises:
        ValueError: for a negative number or NaN.

    Source: B23, equation (7); proved in the chapter.

    Examples:
        >>> float(sup_error_bound(10.0, distance=0.1, norm=1.0, largest=0.25))
        0.5
    """
    size = _validate.number("distance", distance, at_least=0)
    size *= _validate.number("norm", norm, at_least=0)
    return size * math.sqrt(_validate.number("largest", largest, at_least=0)) * _times(t)


def width_error_bound(t: Any, *, deviation: float, residual: float, largest: float) -> Any:
    r"""$q\,\varepsilon\,(t + \tfrac12\kappa t^2)$ bounds what a kernel within ε of K changes in
    $r_t(x)$, at every x.

    Args:
        t: times of the flow of $\frac1{2n}\sum r^2$.
        deviation: $\varepsilon \ge \sup\abs{K_m - K}$.
        residual: q, the root mean square of the residuals at the start.
        largest: $\kappa = \sup_x K(x, x)$.

    Raises:
        ValueError: for a negative number or NaN.

    Source: B23, equation (7); proved in the chapter.

    Examples:
        >>> float(width_error_bound(2.0, deviation=0.1, residual=1.0, largest=0.5))
        0.3
    """
    size = _validate.number("deviation", deviation, at_least=0)
    size *= _validate.number("residual", residual, at_least=0)
    times = _times(t)
    return size * (times + _validate.number("largest", largest, at_least=0) * times**2 / 2)
