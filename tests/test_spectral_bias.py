"""The spectrum of zonal kernels against closed forms and many digits; bounds on the flow."""

import functools
import math

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ntklab import spectral_bias as sb
from ntklab import tangent_kernel
from ntklab.sphere import harmonics
from ntklab.tangent_kernel import arc_cosine_coefficients, infinite_ntk

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
KERNELS = {
    "first layer": sb.first_layer_kernel,
    "both layers": sb.both_layers_kernel,
    "biased": sb.biased_kernel,
    "deep": sb.deep_kernel(5),
}


def sphere(n, d, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


# --- kernels ------------------------------------------------------------------------------------


def test_kernels_are_those_of_the_chapter_on_tangent_kernels():
    """`infinite_ntk` divides by the fan-in: points of norm √d, a variance of 2 in each layer."""
    d = 3
    angles = np.linspace(0, np.pi, 9)
    x = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1).astype(np.float32)
    u = np.cos(angles)
    for depth in (1, 2, 5):
        known = infinite_ntk(math.sqrt(d) * jnp.asarray(x), depth=depth, w_std=math.sqrt(2))
        assert sb.deep_kernel(depth)(u) == pytest.approx(np.asarray(known)[0] / 2, abs=2e-3)
    assert sb.deep_kernel(1)(u) == pytest.approx(2 * sb.both_layers_kernel(u), abs=1e-14)
    relu, slope = (np.asarray(k) for k in tangent_kernel.relu_angle_kernels(u))
    assert sb.first_layer_kernel(u) == pytest.approx(u * slope, abs=1e-6)
    assert sb.both_layers_kernel(u) == pytest.approx(relu + u * slope, abs=1e-6)
    assert sb.biased_kernel(u) == pytest.approx((1 + u) / 2 * slope, abs=1e-6)


def test_kernels_follow_their_inputs(dtype):
    for kernel in KERNELS.values():
        value = kernel(jnp.asarray([0.5], dtype))
        assert isinstance(value, jax.Array) and value.dtype == dtype
        value = kernel(np.asarray([0.5], dtype))
        assert isinstance(value, np.ndarray) and value.dtype == dtype
    assert sb.first_layer_kernel(1) == 0.5


def test_a_cosine_that_rounding_puts_beyond_one():
    for kernel in KERNELS.values():
        assert kernel(np.array([1 + 1e-15])) == kernel(np.array([1.0]))


# --- the spectrum -------------------------------------------------------------------------------


def test_the_circle_in_closed_form():
    """(1/π)∫ over [0, π] of (π − ω)/2π, sin ω/2π and their products with cos ω, by hand."""
    k = np.arange(65)
    even, odd = (k % 2 == 0), (k % 2 == 1) & (k > 1)
    gap = np.maximum(np.abs(k**2 - 1), 1) ** 2 * np.pi**2
    first = np.where(even, (k**2 + 1) / gap, np.where(odd, 0, 1 / 8))
    both = np.where(even, (k**2 + 3) / gap, np.where(odd, 0, 1 / 4))
    step = np.where(k == 0, 1 / 4, np.where(even, 0, 1 / (np.pi * np.maximum(k, 1)) ** 2))
    for kernel, known in (
        (sb.first_layer_kernel, first),
        (sb.both_layers_kernel, both),
        (sb.biased_kernel, (step + first) / 2),
    ):
        assert np.max(np.abs(sb.circle_eigenvalues(kernel, 64) - known)) < 1e-15


@pytest.mark.parametrize(
    ("kernel", "known"),
    [
        (lambda u: np.exp(u), lambda k: float(mp.besseli(k, 1))),
        (lambda u: 0.19 / (1.81 - 1.8 * u), lambda k: 0.9**k),  # Poisson's kernel
        (
            # A kink inside: max(0, 1 − ω), whose panels must be cut at ω = 1.
            lambda u: np.maximum(0, 1 - np.arccos(u)),
            lambda k: (1 - math.cos(k)) / (np.pi * k**2) if k else 1 / (2 * np.pi),
        ),
        (
            lambda u: np.sign(u),  # a jump
            lambda k: 2 / (np.pi * k) * (-1) ** (k // 2) if k % 2 else 0.0,
        ),
    ],
)
def test_other_kernels_on_the_circle(kernel, known):
    found = sb.circle_eigenvalues(kernel, 64)
    exact = np.array([known(k) for k in range(65)])
    errors = sb.eigenvalue_errors(kernel, 2, 64)
    assert np.all(np.abs(found - exact) <= errors + 1e-17)
    assert np.max(errors) < 2e-13 and np.max(np.abs(found - exact)) < 5e-15


def mp_kernel(depth):
    """Θ of `deep_kernel` in mpmath's precision."""

    def kernel(angle):
        covariance = value = mp.cos(angle)
        for _ in range(depth):
            omega = mp.acos(covariance)
            share = (mp.pi - omega) / mp.pi
            covariance = mp.sin(omega) / mp.pi + share * covariance
            value = value * share + covariance
        return value

    return kernel


@functools.lru_cache
def mp_nodes(digits):
    """192 nodes on [−1, 1] with their weights."""
    return mp.calculus.quadrature.GaussLegendre(mp.mp).calc_nodes(7, int(3.4 * digits))


def mp_eigenvalues(kernel, d, degrees, digits):
    """c_d ∫ K P_k sin^(d−2) by Gauss–Legendre with many digits."""
    with mp.workdps(digits):
        front = mp.gamma(mp.mpf(d) / 2) / mp.sqrt(mp.pi) / mp.gamma(mp.mpf(d - 1) / 2)
        nodes = mp_nodes(digits)
        totals = dict.fromkeys(degrees, mp.mpf(0))
        for node, weight in nodes:
            angle = mp.pi * (node + 1) / 2
            u = mp.cos(angle)
            term = front * mp.pi / 2 * weight * kernel(angle) * mp.sin(angle) ** (d - 2)
            before, now = mp.mpf(1), u
            for k in range(max(degrees) + 1):
                if k in totals:
                    totals[k] += term * (before if k == 0 else now)
                if k:
                    following = (2 * k + d - 2) * u * now - k * before
                    before, now = now, following / (k + d - 2)
        return [float(totals[k]) for k in degrees]


@pytest.mark.float64
@pytest.mark.parametrize(("d", "depth"), [(3, 2), (10, 5), (30, 3), (100, 4)])
def test_the_sphere_against_many_digits(d, depth):
    degrees = [0, 1, 2, 3, 7, 20, 50]
    known = np.array(mp_eigenvalues(mp_kernel(depth), d, degrees, 60))
    kernel = sb.deep_kernel(depth)
    found = sb.sphere_eigenvalues(kernel, d, 50)[degrees]
    errors = sb.eigenvalue_errors(kernel, d, 50)[degrees]
    assert np.all(np.abs(found - known) <= errors)
    # What an eigenvalue may at most be, times a few hundred units in the last place.
    most = (depth + 1) / np.sqrt([float(harmonics(d, k)) for k in degrees])
    assert np.all(errors <= 200 * np.finfo(float).eps * most)
    if d >= 30:
        series = sb.taylor_eigenvalues(sb.taylor_coefficients(kernel, 2048), d, 50)[degrees]
        assert series == pytest.approx(known, rel=2e-12, abs=0)


@pytest.mark.parametrize("d", [2, 3, 5, 10, 30, 100])
def test_closed_forms_quadrature_and_series_agree(d):
    for kernel, spectrum in (
        (sb.first_layer_kernel, sb.first_layer_spectrum),
        (sb.both_layers_kernel, sb.both_layers_spectrum),
    ):
        known = spectrum(d, 50)
        errors = sb.eigenvalue_errors(kernel, d, 50)
        assert np.all(np.abs(sb.sphere_eigenvalues(kernel, d, 50) - known) <= errors)
        assert np.all(known[3::2] == 0) and np.all(known[0::2] > 0)
    if d >= 30:
        series = sb.taylor_eigenvalues(arc_cosine_coefficients(4000, bias=False), d, 50)
        assert series == pytest.approx(sb.first_layer_spectrum(d, 50), rel=1e-9, abs=0)


def test_closed_forms_by_hand():
    """K₂ in five dimensions; and in many digits where floats have none left."""
    known = [0.2109375, 0.1, 0.015625, 0, 0.00051879883]
    assert sb.both_layers_spectrum(5, 4) == pytest.approx(known, rel=1e-8)
    with mp.workdps(60):
        d, k = 100, 50

        def kernel(angle):
            return mp.cos(angle) * (mp.pi - angle) / (2 * mp.pi)

        [exact] = mp_eigenvalues(kernel, d, [k], 60)
    assert sb.first_layer_spectrum(d, k)[k] == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize("d", [2, 3, 8, 40])
def test_the_trace(d):
    """Σ N(d, k) σ_k = K(1), for a kernel whose spectrum ends."""

    def kernel(u):
        return 0.5 + u + 0.25 * u**4

    eigenvalues = sb.sphere_eigenvalues(kernel, d, 6)
    counts = np.array([float(harmonics(d, k)) for k in range(7)])
    # The error of the largest count is what the others cannot show.
    errors = counts @ sb.eigenvalue_errors(kernel, d, 6)
    assert counts @ eigenvalues == pytest.approx(1.75, abs=errors)
    assert sb.taylor_eigenvalues(np.array([0.5, 1, 0, 0, 0.25]), d, 4) == pytest.approx(
        eigenvalues[:5], abs=1e-14
    )


def test_eigenvalues_are_those_of_many_points():
    """The matrix on equispaced points of the circle is circulant; its eigenvalues converge."""
    n = 512
    angles = 2 * np.pi * np.arange(n) / n
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    gram = sb.zonal_gram(sb.biased_kernel, x)
    rows = np.fft.rfft(gram[0]).real / n
    assert rows[:9] == pytest.approx(sb.circle_eigenvalues(sb.biased_kernel, 8), abs=2e-6)


def test_the_spectrum_follows_the_kernel(dtype):
    def kernel(u):
        return jnp.exp(jnp.asarray(u, dtype))

    found = sb.sphere_eigenvalues(kernel, 4, 3)
    assert isinstance(found, jax.Array) and found.dtype == dtype and found.shape == (4,)
    exact = [float(2 * mp.besseli(k + 1, 1)) for k in range(4)]
    assert np.asarray(found) == pytest.approx(exact, abs=20 * float(jnp.finfo(dtype).eps))
    errors = sb.eigenvalue_errors(kernel, 4, 3)
    assert np.all(np.abs(np.asarray(found, float) - exact) <= errors + float(jnp.finfo(dtype).eps))
    narrow = sb.circle_eigenvalues(lambda u: np.exp(u).astype(np.float32), 2)
    assert isinstance(narrow, np.ndarray) and narrow.dtype == np.float32


def test_an_accuracy_that_is_worse_is_said():
    """A formula that loses half of the digits near 1 shows in the errors."""

    def rough(u):
        return np.sqrt(2 - 2 * u)

    assert sb.eigenvalue_errors(rough, 2, 0) > sb.eigenvalue_errors(np.exp, 2, 0) / 3


@pytest.mark.parametrize("depth", [1, 3])
def test_taylor_coefficients(depth):
    found = sb.taylor_coefficients(sb.deep_kernel(depth), 64)
    assert np.min(found) > -1e-12
    if depth == 1:
        both = sb.taylor_coefficients(sb.both_layers_kernel, 64)
        assert found == pytest.approx(2 * both, abs=1e-12)
    first = sb.taylor_coefficients(sb.first_layer_kernel, 40)
    assert first == pytest.approx(arc_cosine_coefficients(39, bias=False), abs=1e-13)


# --- bounds -------------------------------------------------------------------------------------


def test_outliers():
    gram = sb.zonal_gram(sb.both_layers_kernel, sphere(200, 6))
    eigenvalues = np.linalg.eigvalsh(gram)
    bound = sb.outlier_bound(sb.both_layers_kernel, 1.0)
    assert bound == pytest.approx(2 * math.pi)
    assert np.sum(eigenvalues) / eigenvalues[-1] <= bound
    assert sb.outlier_bound(sb.both_layers_kernel, 0.1) == pytest.approx(20 * math.pi)


@given(st.integers(0, 1000), st.sampled_from([2, 3, 10]))
def test_the_distance_bounds_every_eigenvalue(seed, d):
    x = sphere(12, d, seed)
    gram = sb.zonal_gram(sb.first_layer_kernel, x)
    found = np.sort(np.linalg.eigvalsh(gram))[::-1] / 12
    counts = [min(12, harmonics(d, k)) for k in range(41)]
    known = np.sort(np.repeat(sb.first_layer_spectrum(d, 40), counts))[::-1][:12]
    distance = sb.operator_distance(sb.first_layer_kernel, x)
    # Hoffman and Wielandt: all of them together.
    assert np.linalg.norm(found - known) <= distance
    assert distance <= sb.sampling_bound(12, largest=0.5, tau=20.0)


def test_the_distance_by_hand():
    """One point: ‖T₁ − T‖² = K(1)² − E K²; for K = u in three dimensions 1 − 1/3."""
    point = np.array([[0.0, 0.0, 1.0]])
    assert sb.operator_distance(lambda u: u, point) == pytest.approx(math.sqrt(2 / 3))
    # The six points of the octahedron see a linear kernel exactly.
    x = np.concatenate([np.eye(3), -np.eye(3)])
    assert sb.operator_distance(lambda u: u, x) == pytest.approx(0, abs=1e-7)


def test_the_distance_falls_at_its_rate():
    """E Δ² = (K(1)² − E K²)/n; the mean over 200 draws within four of its standard errors."""
    one = sb.operator_distance(sb.both_layers_kernel, sphere(1, 3)) ** 2
    squares = [
        sb.operator_distance(sb.both_layers_kernel, sphere(10, 3, s)) ** 2 for s in range(200)
    ]
    error = np.std(squares) / math.sqrt(200)
    assert abs(np.mean(squares) - one / 10) <= 4 * error


def test_the_sine_between_eigenspaces():
    """For K = u in the plane both spaces are the linear functions: 0, but not for one vector."""
    x = sphere(30, 2)
    gram = sb.zonal_gram(lambda u: u, x)
    assert sb.eigenspace_sine(gram, math.sqrt(2) * x, 0.5, 0) == pytest.approx(0, abs=1e-6)
    values, vectors = np.linalg.eigh(gram)
    # One function against one eigenvector: the cosine is √(σ/λ) u·φ.
    cosine = math.sqrt(0.5 / values[-1]) * abs(vectors[:, -1] @ (math.sqrt(2) * x[:, 0]))
    sine = sb.eigenspace_sine(gram, math.sqrt(2) * x[:, :1], 0.5, 0)
    assert sine == pytest.approx(math.sqrt(1 - cosine**2), abs=1e-9)


def test_bounds_by_hand():
    t = np.array([0.0, 3.0])
    rounding = {"rel": 10 * EPS}
    direction = sb.direction_error_bound(t, 2.0, drift=0.1, residual=5.0)
    assert direction == pytest.approx([0, 0.25 * (1 - math.exp(-6))], **rounding)
    mode = sb.mode_error_bound(t, 0.25, distance=0.1, norm=2.0)
    assert mode == pytest.approx([0, 0.4 * (1 - math.exp(-0.75))], **rounding)
    assert sb.mode_error_bound(t, 0.0, distance=0.1, norm=2.0) == pytest.approx([0, 0])
    square = sb.mean_square_error_bound(t, distance=0.1, norm=2.0)
    assert square == pytest.approx([0, 0.2 * math.sqrt(6 / math.e)], **rounding)
    sup = sb.sup_error_bound(t, distance=0.1, norm=2.0, largest=4.0)
    assert sup == pytest.approx([0, 1.2], **rounding)
    width = sb.width_error_bound(t, deviation=0.1, residual=2.0, largest=4.0)
    assert width == pytest.approx([0, 0.2 * (3 + 18)], **rounding)
    assert sb.sampling_bound(25, largest=2.0, tau=4.0) == pytest.approx(1.2)


# --- bad arguments ------------------------------------------------------------------------------


def bad_order(u):
    """Depends on its neighbours, as a kernel that is normalized by its largest value does."""
    return np.asarray(u) * np.arange(np.size(u)).reshape(np.shape(u))


SPECTRA = [
    (3.0, "kernel must be a function"),
    (lambda x, y: x, "kernel must take an array"),
    (lambda u: 1.0, "kernel must be zonal, with a value"),
    (lambda u: np.outer(u, u), "kernel must be zonal, with a value"),
    (lambda u: np.sum(u), "kernel must be zonal, with a value"),
    (bad_order, "kernel must be zonal, a function of the cosine alone"),
    (lambda u: np.asarray(u) + 0j, "kernel must give real numbers"),
    (lambda u: np.where(np.asarray(u) == 1, np.inf, u), r"kernel must be finite .* at 1"),
    (lambda u: np.where(np.asarray(u) == -1, np.nan, u), r"kernel must be finite .* at -1"),
    (lambda u: np.where(abs(np.asarray(u)) < 0.1, np.nan, u), r"kernel must be finite"),
]


@pytest.mark.parametrize(("kernel", "message"), SPECTRA)
def test_a_bad_kernel_is_named(kernel, message, no_hook):
    for call in (
        lambda: sb.circle_eigenvalues(kernel, 3),
        lambda: sb.sphere_eigenvalues(kernel, 3, 3),
        lambda: sb.eigenvalue_errors(kernel, 3, 3),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            call()


K2 = sb.both_layers_kernel
TWO = {"distance": 0.1, "norm": 1.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sb.circle_eigenvalues(K2, -1), "max_frequency must be at least 0"),
        (lambda: sb.circle_eigenvalues(K2, 2.0), "max_frequency must be an integer"),
        (lambda: sb.sphere_eigenvalues(K2, 1, 2), "dimension must be at least 2"),
        (lambda: sb.sphere_eigenvalues(K2, 3, -1), "max_degree must be at least 0"),
        (lambda: sb.eigenvalue_errors(K2, 1, 2), "dimension must be at least 2"),
        (lambda: sb.eigenvalue_errors(K2, 3, -2), "max_degree must be at least 0"),
        (lambda: sb.first_layer_spectrum(1, 2), "dimension must be at least 2"),
        (lambda: sb.both_layers_spectrum(3, -1), "max_degree must be at least 0"),
        (lambda: sb.deep_kernel(0), "depth must be at least 1"),
        (lambda: sb.first_layer_kernel(np.array([1.1])), r"cosine must lie in \[-1, 1\]"),
        (lambda: sb.both_layers_kernel(np.array([np.nan])), r"cosine must lie in \[-1, 1\]"),
        (lambda: sb.biased_kernel(jnp.array([-2.0])), r"cosine must lie in \[-1, 1\]"),
        (lambda: sb.deep_kernel(2)(np.array([1.5])), r"cosine must lie in \[-1, 1\]"),
        (lambda: sb.taylor_coefficients(K2, 0), "count must be at least 1"),
        (lambda: sb.taylor_coefficients(np.abs, 4), "kernel must give finite complex"),
        (lambda: sb.taylor_coefficients(np.conj, 4), "kernel must be analytic"),
        (lambda: sb.taylor_coefficients(lambda u: u / 0.0, 4), "kernel must give finite complex"),
        (lambda: sb.taylor_coefficients(math.exp, 4), "kernel must take complex"),
        (lambda: sb.taylor_eigenvalues(np.ones(3), 3, 3), "coefficients must reach degree 3"),
        (lambda: sb.taylor_eigenvalues(np.ones((3, 1)), 3, 1), "coefficients must have 1 axes"),
        (lambda: sb.taylor_eigenvalues(np.ones(3), 1, 1), "dimension must be at least 2"),
        (lambda: sb.taylor_eigenvalues(np.ones(3), 3, -1), "max_degree must be at least 0"),
        (lambda: sb.zonal_gram(K2, np.ones((2, 2))), "x1 must lie on the unit sphere"),
        (lambda: sb.zonal_gram(K2, np.eye(2), 1.01 * np.eye(2)), "x2 must lie on the unit sphere"),
        (lambda: sb.zonal_gram(K2, np.eye(2), np.eye(3)), "x2 must have points of shape"),
        (lambda: sb.zonal_gram(np.sum, np.eye(2)), "kernel must be zonal"),
        (lambda: sb.operator_distance(K2, np.ones((2, 2))), "x1 must lie on the unit sphere"),
        (lambda: sb.outlier_bound(K2, 0.0), "share must be greater than 0"),
        (lambda: sb.outlier_bound(K2, 1.5), "share must be at most 1"),
        (lambda: sb.outlier_bound(sb.first_layer_kernel, 1.0), "kernel must be positive"),
        (lambda: sb.direction_error_bound(-1.0, 1.0, drift=1, residual=1), "t must be at least"),
        (lambda: sb.direction_error_bound(1.0, -1.0, drift=1, residual=1), "eigenvalue must"),
        (lambda: sb.direction_error_bound(1.0, 1.0, drift=-1, residual=1), "drift must"),
        (lambda: sb.direction_error_bound(1.0, 1.0, drift=1, residual=-1), "residual must"),
        (lambda: sb.sampling_bound(0, largest=1.0, tau=1.0), "points must be at least 1"),
        (lambda: sb.sampling_bound(1, largest=-1.0, tau=1.0), "largest must be at least 0"),
        (lambda: sb.sampling_bound(1, largest=1.0, tau=-1.0), "tau must be at least 0"),
        (lambda: sb.mode_error_bound(1.0, -1.0, **TWO), "eigenvalue must be at least 0"),
        (lambda: sb.mode_error_bound(np.nan, 1.0, **TWO), "t must be finite"),
        (lambda: sb.mode_error_bound(1.0, 1.0, distance=-1, norm=1), "distance must"),
        (lambda: sb.mode_error_bound(1.0, 1.0, distance=1, norm=-1), "norm must"),
        (lambda: sb.mean_square_error_bound(-1.0, **TWO), "t must be at least 0"),
        (lambda: sb.mean_square_error_bound(1.0, distance=-1, norm=1), "distance must"),
        (lambda: sb.mean_square_error_bound(1.0, distance=1, norm=-1), "norm must"),
        (lambda: sb.sup_error_bound(1.0, **TWO, largest=-1.0), "largest must be at least 0"),
        (lambda: sb.sup_error_bound(1.0, distance=-1, norm=1, largest=1), "distance must"),
        (lambda: sb.sup_error_bound(1.0, distance=1, norm=-1, largest=1), "norm must"),
        (
            lambda: sb.width_error_bound(1.0, deviation=-1.0, residual=1, largest=1),
            "deviation must be at least 0",
        ),
        (lambda: sb.width_error_bound(1.0, deviation=1, residual=-1, largest=1), "residual must"),
        (lambda: sb.width_error_bound(1.0, deviation=1, residual=1, largest=-1), "largest must"),
        (lambda: sb.eigenspace_sine(np.ones((2, 3)), np.ones((2, 1)), 1.0, 0), "gram must"),
        (lambda: sb.eigenspace_sine(np.eye(2), np.ones((3, 1)), 1.0, 0), "functions must have"),
        (lambda: sb.eigenspace_sine(np.eye(2), np.ones((2, 1)), 1.0, 2), "functions must have"),
        (lambda: sb.eigenspace_sine(np.eye(2), np.ones((2, 1)), 0.0, 0), "eigenvalue must"),
        (lambda: sb.eigenspace_sine(np.eye(2), np.ones((2, 1)), 1.0, -1), "first must be"),
        (
            lambda: sb.eigenspace_sine(np.ones((2, 2)), np.ones((2, 2)), 1.0, 0),
            "gram must be positive on these vectors",
        ),
    ],
)
def test_a_bad_argument_is_named(call, message, no_hook):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=f"^{message}"):
        call()
