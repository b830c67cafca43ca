"""Certificates are never wrong; rates, criteria and constants against NumPy, SciPy and PEPit."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from ntklab import convergence, networks
from ntklab.convergence import (
    Constants,
    certificates,
    certify,
    certify_descent,
    coherence_floor,
    constants,
    descent_factors,
    forms,
    gradient_bound,
    limit_gram,
    limit_is_definite,
    measure,
    pl_bound,
    residual_bound,
    singular_floor,
    sufficient_widths,
    time_varying_bound,
    uniform_drift_bound,
    weight_norm_bound,
)
from scipy.special import erf, expit, ndtr

SMOOTH = ("identity", "softplus", "tanh", "gelu", "erf")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def sphere(seed, n, d):
    x = normal(seed, n, d)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


# --- networks in NumPy, written out ------------------------------------------------------------


def value_and_slope(name, z):
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return {
        "identity": lambda: (z, np.ones_like(z)),
        "softplus": lambda: (np.logaddexp(z, 0), expit(z)),
        "tanh": lambda: (np.tanh(z), 1 - np.tanh(z) ** 2),
        "gelu": lambda: (z * ndtr(z), ndtr(z) + z * density),
        "erf": lambda: (erf(z), 2 / np.sqrt(np.pi) * np.exp(-(z**2))),
    }[name]()


class Model:
    """f(x) = Σ over copies of g₂ Σ a_j σ(g₁ w_j·x), its values and Jacobian at flat parameters."""

    def __init__(self, name, x, *, gains, m, a=None, copies=1):
        self.name, self.x, self.gains, self.m, self.a, self.copies = name, x, gains, m, a, copies
        self.size = m * x.shape[1] + (m if a is None else 0)

    def copy(self, theta, sign):
        n, d = self.x.shape
        W = theta[: self.m * d].reshape(self.m, d)
        a = theta[self.m * d :] if self.a is None else self.a
        g1, g2 = self.gains
        g2 = g2 * sign / np.sqrt(self.copies)
        value, slope = value_and_slope(self.name, g1 * self.x @ W.T)
        J = (g2 * slope * a)[:, :, None] * (g1 * self.x)[:, None, :]
        J = J.reshape(n, -1)
        if self.a is None:
            J = np.concatenate([J, g2 * value], axis=1)
        return g2 * value @ a, J

    def __call__(self, theta):
        parts = [
            self.copy(part, sign)
            for part, sign in zip(theta.reshape(self.copies, -1), (1, -1), strict=False)
        ]
        return sum(f for f, _ in parts), np.concatenate([J for _, J in parts], axis=1)

    def flow(self, theta, y, times):
        """The parameters of the flow of ½‖f − y‖² at the times."""

        def velocity(_, here):
            f, J = self(here)
            return -(f - y) @ J

        return scipy.integrate.solve_ivp(
            velocity, (0, times[-1]), theta, t_eval=times, method="LSODA", rtol=1e-9, atol=1e-13
        ).y.T


KINDS = ("shallow", "mlp ntk", "mlp standard", "mlp ntk-fan-out")


def make(kind, name, x, *, m=5, w_std=1.0, paired=False, seed=0):
    """A network of the library, a start, and the same in NumPy; the copies of a pair differ."""
    d = x.shape[1]
    if kind == "shallow":
        [a] = rounded(normal(seed + 7, m))
        network = networks.shallow(m, activation=name, output_weights=a)
        model = Model(name, x, gains=(1, m**-0.5), m=m, a=a, copies=1 + paired)
    else:
        parameterization = kind.split()[1]
        network = networks.mlp(
            (m, 1), activation=name, parameterization=parameterization, w_std=w_std
        )
        gains = {
            "ntk": (w_std * d**-0.5, w_std * m**-0.5),
            "standard": (1, 1),
            "ntk-fan-out": (w_std * m**-0.5, w_std),
        }[parameterization]
        model = Model(name, x, gains=gains, m=m, copies=1 + paired)
    theta = normal(seed, model.copies * model.size)
    if paired:
        network = networks.unbiased(network)
    return network, theta, model


def tree(network, theta, model):
    """Flat parameters as the library holds them, in the default dtype."""
    theta = jnp.asarray(theta, jnp.result_type(float))
    d = model.x.shape[1]

    def copy(part):
        W = part[: model.m * d].reshape(model.m, d)
        if model.a is not None:
            return W
        return ({"weight": W}, {"weight": part[model.m * d :][None]})

    parts = [copy(part) for part in theta.reshape(model.copies, -1)]
    return tuple(parts) if model.copies == 2 else parts[0]


def rounded(*arrays):
    """What is left of an array in the default dtype, in float64."""
    return [np.asarray(jnp.asarray(a, jnp.result_type(float)), float) for a in arrays]


# --- constants ---------------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMOOTH)
def test_constants_against_numpy(name, kind, paired):
    x = 1.7 * sphere(3, 3, 3)
    network, theta, model = make(kind, name, x, w_std=1.3, paired=paired)
    x, theta = rounded(x, theta)
    model.x = x
    y = normal(1, 3)
    [y] = rounded(y)
    found = constants(network, tree(network, theta, model), x, y)
    f, J = model(theta)
    values = np.linalg.svd(J, compute_uv=False)
    eps = 1e-8  # of eigvalsh(JJᵀ), squared condition numbers up to 1e4 and rounding margins
    assert values[-1] * (1 - eps) <= found.sigma_min <= values[-1]
    assert values[0] <= found.jacobian_norm <= values[0] * (1 + eps)
    assert np.linalg.norm(f - y) <= found.residual_norm <= np.linalg.norm(f - y) * (1 + eps)
    assert found.gradient_norm == pytest.approx(np.max(np.linalg.norm(J, axis=1)), rel=eps)
    assert (found.points, found.parameters) == J.shape
    [applied] = [
        np.asarray(
            network.apply(tree(network, theta, model), jnp.asarray(x, jnp.result_type(float)))
        )[:, 0]
    ]
    np.testing.assert_allclose(applied, f, atol=3e-6 * (1 + np.abs(f).max()) * 5)


def worst_ratio(model, theta, seed, steps=60):
    """‖J(θ') − J(θ)‖/‖θ' − θ‖ by Nelder–Mead over directions and distances from random starts."""
    J0 = model(theta)[1]

    def loss(move):
        length = np.linalg.norm(move)
        return -np.linalg.norm(model(theta + move)[1] - J0, 2) / length

    starts = [s * normal(seed + k, len(theta)) for k, s in enumerate((0.01, 0.1, 0.5))]
    return max(
        -scipy.optimize.minimize(loss, s, method="L-BFGS-B", options={"maxiter": steps}).fun
        for s in starts
    )


@pytest.mark.float64
@pytest.mark.parametrize("norm", [1.0, 3.0])
@pytest.mark.parametrize(
    ("kind", "paired"), [("shallow", False), ("mlp ntk", False), ("mlp standard", True)]
)
def test_no_move_exceeds_the_lipschitz_constant(kind, paired, norm):
    """One unit with its curvature at its largest: the bound is nearly reached, whatever the norm.

    A constant without the inputs' norms or the gains would fall below what is found at norm 3.
    """
    ratios = []
    for name in ("tanh", "erf", "softplus", "gelu"):
        x = norm * np.ones((1, 1))
        network, theta, model = make(kind, name, x, m=1, w_std=1.4, paired=paired)
        # Where |σ″| is largest: ±1/√2, tanh² = 1/3, 0, 0; the output weight 1.
        steep = {"tanh": np.arctanh(3**-0.5), "erf": 2**-0.5}.get(name, 0.0)
        theta = theta.reshape(model.copies, -1)
        theta[:, 0] = steep / (norm * model.gains[0])
        if model.a is None:
            theta[:, 1] = 1.0
        theta = theta.ravel()
        found = constants(network, tree(network, theta, model), x, np.zeros(1))
        ratios.append(worst_ratio(model, theta, 5) / found.lipschitz)
    assert max(ratios) <= 1 + 1e-9
    assert min(ratios) >= 0.75


@pytest.mark.float64
@given(
    name=st.sampled_from(SMOOTH),
    kind=st.sampled_from(KINDS),
    paired=st.booleans(),
    seed=st.integers(0, 2**31),
    log_norm=st.floats(-1, 1),
    log_distance=st.floats(-2, 1.5),
    w_std=st.floats(0.3, 3),
)
def test_the_lipschitz_constant_holds_at_any_distance(
    name, kind, paired, seed, log_norm, log_distance, w_std
):
    rng = np.random.default_rng(seed)
    x = 10**log_norm * rng.normal(size=(3, 2))
    network, theta, model = make(kind, name, x, m=3, w_std=w_std, paired=paired, seed=seed)
    move = rng.normal(size=len(theta)) ** 3  # a few coordinates move most
    move *= 10**log_distance / np.linalg.norm(move)
    found = constants(network, tree(network, theta, model), x, np.zeros(3))
    change = np.linalg.norm(model(theta + move)[1] - model(theta)[1], 2)
    assert change <= found.lipschitz * 10**log_distance * (1 + 1e-9) + 1e-12 * found.jacobian_norm


def test_a_wide_jacobian_has_no_smallest_singular_value():
    """p = 2 < n = 3: an svd finds σ_min > 0, and Jᵀr = 0 has a solution."""
    J = normal(0, 3, 2)
    assert np.linalg.svd(J, compute_uv=False)[-1] > 0.1
    assert singular_floor(J) == 0
    square = normal(1, 3, 5)
    expected = np.linalg.svd(square, compute_uv=False)[-1]
    assert singular_floor(square) == pytest.approx(expected, rel=1e-5)
    assert singular_floor(np.ones((2, 4))) == 0


# --- certificates ------------------------------------------------------------------------------


def hold(certificate, model, theta, y, slack=1e-6):
    """‖r_t‖ ≤ e^{−ct}‖r₀‖ and ‖θ_t − θ₀‖ ≤ radius along the flow, by SciPy.

    The slack is the solver's error over eight time constants.
    """
    times = np.linspace(0, 8 / certificate.rate, 30)
    run = model.flow(theta, y, times)
    residuals = np.array([np.linalg.norm(model(here)[0] - y) for here in run])
    distance = np.max(np.linalg.norm(run - theta, axis=1))
    decay = residuals / residuals[0] - np.exp(-certificate.rate * times)
    return np.max(decay) <= slack and distance <= certificate.radius * (1 + slack)


def near_threshold(network, theta, model, share, direction):
    """Labels for which 2L‖r₀‖ is this share of σ₀², the residual in this direction."""
    x = model.x
    found = constants(network, tree(network, theta, model), x, np.zeros(len(x)))
    f, J = model(theta)
    if direction == "bottom":
        toward = np.linalg.svd(J)[0][:, -1]
    else:
        toward = normal(direction, len(x))
        toward /= np.linalg.norm(toward)
    size = share * found.sigma_min**2 / (2 * max(found.lipschitz, 1e-3))
    return f - size * toward


@pytest.mark.float64
@pytest.mark.parametrize(
    ("name", "kind", "paired", "norm", "w_std"),
    [
        (name, kind, paired, norm, w_std)
        for (name, kind, paired), (norm, w_std) in zip(
            itertools.product(SMOOTH, KINDS, (False, True)),
            itertools.cycle([(1.0, 1.0), (3.0, 1.0), (0.4, 2.0)]),
        )
    ],
)
def test_a_certificate_is_never_wrong(name, kind, paired, norm, w_std):
    x = norm * sphere(3, 2, 2)
    for share, direction in ((0.9, "bottom"), (0.7, 1)):
        network, theta, model = make(kind, name, x, m=4, w_std=w_std, paired=paired, seed=4)
        y = near_threshold(network, theta, model, share, direction)
        certificate = certify(network, tree(network, theta, model), x, y)
        assert certificate.certified
        assert certificate.form == "sharp"
        assert hold(certificate, model, theta, y)


def slowest(model, theta, y, certificate):
    """λ_min where the flow ends over the certified rate, a rate of the tail that it must exceed."""
    end = model.flow(theta, y, [0.0, 25 / certificate.rate])[-1]
    f, J = model(end)
    if np.linalg.norm(f - y) > 1e-6 * np.linalg.norm(model(theta)[0] - y):
        return 0.0
    return np.linalg.eigvalsh(J @ J.T)[0] / certificate.rate


@pytest.mark.float64
@pytest.mark.parametrize(
    ("kind", "norm"), [("shallow", 1.0), ("shallow", 3.0), ("mlp ntk", 3.0), ("mlp standard", 0.5)]
)
def test_no_search_finds_a_wrong_certificate(kind, norm):
    """Nelder–Mead over weights and labels of a small network, for the slowest tail there is.

    It comes close to the certified rate at one unit: with L divided by 1.4, or without the norm
    of x, it falls below it.
    """
    x = norm * np.ones((1, 1))
    lowest = math.inf
    for name, m in (("tanh", 1), ("gelu", 2)):
        network, start, model = make(kind, name, x, m=m, seed=2)
        if model.a is not None:
            model.a = np.ones(m)
            network = networks.shallow(m, activation=name, output_weights=model.a)

        def height(place, network=network, model=model):
            theta, level = place[:-1], place[-1]
            if not np.all(np.abs(theta) < 6):
                return 10.0
            share = 0.3 + 0.68 / (1 + math.exp(-level))
            found = []
            for sign in (1, -1):
                y = near_threshold(network, theta, model, share, "bottom")
                if sign < 0:
                    y = 2 * model(theta)[0] - y
                certificate = certify(network, tree(network, theta, model), x, y)
                if not certificate.certified or certificate.rate < 1e-4:
                    return 10.0
                found.append(slowest(model, theta, y, certificate))
            return min(found)

        first = np.append(0.6 * np.sign(start) / (norm * model.gains[0]), 2.0)
        options = {"maxfev": 40, "xatol": 1e-3}
        found = scipy.optimize.minimize(height, first, method="Nelder-Mead", options=options)
        lowest = min(lowest, found.fun)
    assert 1 - 1e-6 <= lowest < 3


def scalar_forms(sigma, slope, rho):
    return forms(Constants(1, 1, sigma, sigma, sigma, rho, slope, sigma**2))


@given(
    sigma=st.floats(0.1, 10),
    slope=st.floats(0.01, 10),
    share=st.floats(0.01, 0.99),
    t=st.floats(0, 3),
)
def test_the_sharp_form_is_attained(sigma, slope, share, t):
    """By f = σ₀θ − Lθ²/2: the residual ρ̇ = −(c + 2Lρ)ρ in closed form, and the path's length."""
    rho = share * sigma**2 / (2 * slope)
    certificate = scalar_forms(sigma, slope, rho)["sharp"]
    assert certificate.rate == pytest.approx(sigma**2 - 2 * slope * rho, rel=1e-9)
    # θ_∞ is the smaller root of σ₀θ − Lθ²/2 = ρ₀.
    assert certificate.radius == pytest.approx(
        min(np.roots([slope / 2, -sigma, rho]).real), rel=1e-6
    )
    solved = scipy.integrate.solve_ivp(
        lambda _, theta: (sigma - slope * theta) * (rho - sigma * theta + slope * theta**2 / 2),
        (0, t),
        [0.0],
        rtol=1e-10,
        atol=1e-13,
    ).y[0, -1]
    left = rho - sigma * solved + slope * solved**2 / 2
    bound = residual_bound(t, residual_norm=rho, sigma_min=sigma, lipschitz=slope)
    assert float(bound) == pytest.approx(left, abs=1e-7 * rho)


def test_beyond_the_threshold_the_scalar_model_gets_stuck():
    """At 1.05 times the threshold the largest value of f is below its label."""
    sigma, slope = 1.5, 0.7
    for factor, certified in ((0.999, True), (1.05, False)):
        rho = factor * sigma**2 / (2 * slope)
        assert scalar_forms(sigma, slope, rho)["sharp"].certified is certified
        assert (sigma**2 / (2 * slope) > rho) is certified


@given(
    sigma=st.floats(0.1, 10),
    ratio=st.floats(1, 5),
    n=st.integers(1, 9),
    log_slope=st.floats(-8, 1),
    rho=st.floats(0, 10),
)
def test_the_forms_imply_each_other(sigma, ratio, n, log_slope, rho):
    """printed ⇒ five-eighths ⇒ frozen ⇒ sharp, with rates and radii in this order."""
    norm = ratio * sigma
    found = Constants(n, n, sigma, norm, norm, rho, 10**log_slope, sigma**2)
    sharp, frozen, eighths, printed = forms(found).values()
    order = [printed, eighths, frozen, sharp]
    for weaker, stronger in itertools.pairwise(order):
        assert stronger.certified or not weaker.certified
        if weaker.certified:
            assert stronger.rate >= weaker.rate * (1 - 1e-12)
            assert stronger.radius <= weaker.radius * (1 + 1e-12)
        else:
            assert (weaker.rate, weaker.radius) == (0, math.inf)
            assert weaker.failure is not None


def test_the_loop_by_hand():
    """n = 4, ‖J₀‖ = 2, λ₀ = 1, L = 0.01, ρ₀ = 1: each of B23's numbers from its sentence."""
    found = Constants(4, 9, 1.0, 2.0, 1.5, 1.0, 0.01, 1.0)
    printed, eighths = (forms(found)[name] for name in ("printed", "five-eighths"))
    radius = next(r for r in np.roots([0.04 - 1, 2 * 2 * 1.5]))  # R = 2·√4·(1.5 + 0.01R)
    assert printed.chain[3].measured == pytest.approx(0.01 * radius * (4 + 0.01 * radius))
    assert printed.chain[3].bound == pytest.approx(1 / 8)
    assert not printed.certified
    assert printed.failure is printed.chain[3]
    radius = 4 / 0.98  # R = 2(2 + 0.01R)
    drift = 0.01 * radius * (4 + 0.01 * radius)
    assert eighths.certified
    assert eighths.rate == pytest.approx(1 - drift)
    assert eighths.radius == pytest.approx(radius)


def test_a_label_fit_from_the_start_needs_no_move():
    x = sphere(0, 3, 2)
    network, theta, model = make("shallow", "tanh", x, m=6)
    params = tree(network, theta, model)
    y = np.asarray(network.apply(params, jnp.asarray(x, jnp.result_type(float))))[:, 0]
    certificate = certify(network, params, x, y)
    assert certificate.certified
    assert certificate.radius < 1e-3  # float32 labels are off by rounding


def test_fewer_parameters_than_points_are_not_certified():
    x, y = sphere(0, 5, 2), normal(1, 5)
    network = networks.shallow(2, activation="tanh")
    certificate = certify(network, network.init(jax.random.key(0), 2), x, y)
    assert not certificate.certified
    assert (certificate.rate, certificate.radius) == (0, math.inf)
    assert certificate.failure is certificate.chain[0]
    assert (certificate.failure.measured, certificate.failure.bound) == (4, 5)
    assert "parameters p, at least n" in str(certificate)


@pytest.mark.parametrize("x", [[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]]])
def test_a_singular_kernel_is_not_certified(x):
    """Equal inputs for any activation, antiparallel ones for an odd one, with the number in it."""
    network = networks.unbiased(networks.mlp((50, 1), activation="tanh"))
    certificate = certify(
        network, network.init(jax.random.key(0), 2), np.array(x), np.ones(2) * 1e-9
    )
    assert not certificate.certified
    assert certificate.failure is certificate.chain[1]
    assert certificate.failure.measured == 0


@pytest.mark.parametrize("seed", range(8))
def test_rounding_does_not_make_a_singular_kernel_definite(seed):
    """Two equal inputs among four: eigvalsh finds about ±1e-17 in place of 0."""
    x = sphere(seed, 4, 3)
    x[3] = x[0]
    network, theta, model = make("mlp ntk", "softplus", x, m=9, seed=seed)
    assert constants(network, tree(network, theta, model), x, np.zeros(4)).sigma_min == 0


def test_sizes_beyond_floats_are_not_certified():
    network = networks.shallow(3, activation="softplus")
    huge = 1e30 * jnp.ones((3, 2))
    certificate = certify(network, huge, np.eye(2) * 1e30, np.ones(2))
    assert not certificate.certified


def test_a_certificate_reads_well():
    network = networks.shallow(3, activation="identity")
    certificate = certify(network, jnp.zeros((3, 2)), np.eye(2), np.ones(2))
    assert bool(certificate)
    assert str(certificate).startswith("certified (sharp): rate 1, radius 1.41\nholds: parameters")


@pytest.mark.float64
@pytest.mark.parametrize("m", [16, 100])
def test_a_posteriori(m):
    """Along a run that no certificate covered from the start, one fires, and stays true."""
    x, y = sphere(1, 4, 10), np.sign(normal(2, 4))
    network = networks.unbiased(networks.shallow(m, activation="tanh"))
    model = Model("tanh", x, gains=(1, m**-0.5), m=m, a=networks.alternating_signs(m), copies=2)
    start = normal(m, model.size)
    theta = np.concatenate([start, start])
    assert not certify(network, tree(network, theta, model), x, y).certified
    run = model.flow(theta, y, np.linspace(0, 150, 16))
    fired = [certify(network, tree(network, here, model), x, y) for here in run]
    first = next(k for k, certificate in enumerate(fired) if certificate.certified)
    assert all(certificate.certified for certificate in fired[first:])
    assert hold(fired[first], model, run[first], y)


@pytest.mark.float64
def test_descent_certificates_are_never_wrong():
    certified = 0
    for seed, step in itertools.product(range(6), (0.01, 0.2, 0.6, 1.2)):
        x = (1.0, 1.5)[seed % 2] * sphere(seed, 3, 2)
        name = ("tanh", "erf", "softplus")[seed % 3]
        network, theta, model = make("shallow", name, x, m=8, seed=seed, paired=seed % 4 == 3)
        y = near_threshold(network, theta, model, (0.3, 0.9)[seed % 2], seed)
        certificate = certify_descent(network, tree(network, theta, model), x, y, step=step)
        if not certificate.certified:
            continue
        certified += 1
        here, first = theta, np.linalg.norm(model(theta)[0] - y)
        for k in range(400):
            f, J = model(here)
            bound = (1 - step * certificate.rate) ** k * first
            assert np.linalg.norm(f - y) <= bound * (1 + 1e-9) + 1e-12
            assert np.linalg.norm(here - theta) <= certificate.radius * (1 + 1e-9)
            here = here - step * (f - y) @ J
    assert certified >= 10


@pytest.mark.float64
def test_descent_with_a_small_step_is_the_flow():
    x = sphere(0, 3, 2)
    network, theta, model = make("shallow", "tanh", x, m=8)
    y = near_threshold(network, theta, model, 0.7, 1)
    params = tree(network, theta, model)
    flow = certify(network, params, x, y)
    descent = certify_descent(network, params, x, y, step=1e-7)
    assert descent.rate == pytest.approx(flow.rate, rel=1e-4)
    assert descent.radius == pytest.approx(flow.radius, rel=1e-4)
    too_long = certify_descent(network, params, x, y, step=3.0)
    assert too_long.failure is too_long.chain[2]


# --- widths and runs ---------------------------------------------------------------------------


@pytest.mark.float64
@pytest.mark.parametrize("rho", [0.3, 2.0])
def test_the_sufficient_widths_are_where_the_forms_begin_to_hold(rho):
    x = sphere(0, 4, 6) * np.array([[1.0], [2.0], [0.7], [1.0]])
    widths = sufficient_widths(x, residual_norm=rho, activation="erf", output_weight=1.3)
    H = 1.3**2 * limit_gram(x, activation="erf", train_output=False)
    values = np.linalg.eigvalsh(H)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    steep = 1.3 * convergence.linearization.smoothness("erf") * np.linalg.norm(norms * x, 2)
    names = ("printed", "five-eighths", "frozen", "sharp")
    for name, width in zip(names, widths, strict=True):
        for m, certified in ((width * 1.001, True), (width * 0.999, False)):
            found = Constants(
                4,
                99,
                values[0] ** 0.5,
                values[-1] ** 0.5,
                np.max(np.diag(H)) ** 0.5,
                rho,
                steep / m**0.5,
                values[0],
            )
            assert forms(found)[name].certified is certified


def test_the_table_of_widths():
    """n = 4, tanh, d = 10, y = ±1: the sharp and the frozen form, median of three data sets."""
    found = [
        sufficient_widths(sphere(seed, 4, 10), residual_norm=2.0, activation="tanh")
        for seed in range(3)
    ]
    sharp, frozen = np.median([w.sharp for w in found]), np.median([w.frozen for w in found])
    assert sharp == pytest.approx(568, rel=2e-3)
    assert frozen == pytest.approx(4 * sharp)
    singular = sufficient_widths(np.ones((2, 2)), residual_norm=1.0, activation="tanh")
    assert singular.sharp > 1e6


@pytest.mark.parametrize("kind", KINDS)
def test_measurements_against_numpy(kind):
    x = sphere(3, 3, 2)
    network, theta, model = make(kind, "erf", x, w_std=1.3, paired=True)
    moved = theta + 0.4 * normal(9, len(theta))
    x, theta, moved, y = rounded(x, theta, moved, normal(1, 3))
    model.x = x
    run = [tree(network, place, model) for place in (theta, moved)]
    found = measure(network, run, x, y)
    (f, J), (_, J0) = model(moved), model(theta)
    assert found.residual_norm[1] == pytest.approx(np.linalg.norm(f - y))
    assert found.eigenvalue[1] == pytest.approx(np.linalg.eigvalsh(J @ J.T)[0])
    assert found.jacobian_norm[1] == pytest.approx(np.linalg.norm(J, 2))
    assert found.distance.tolist() == [0, pytest.approx(np.linalg.norm(moved - theta))]
    assert found.jacobian_change[1] == pytest.approx(np.linalg.norm(J - J0, 2))
    assert found.drift.tolist() == [0, pytest.approx(np.linalg.norm(J @ J.T - J0 @ J0.T, 2))]


def test_the_time_varying_bound():
    """∫ of 1 + cos t, by hand; the spline's error is of fourth order in the step 0.05."""
    t = np.linspace(0, 4, 81)
    found = time_varying_bound(t, 1 + np.cos(t))
    np.testing.assert_allclose(found, np.exp(-2 * (t + np.sin(t))), rtol=1e-5)


@pytest.mark.float64
def test_the_uniform_bound_on_a_run():
    x, y = sphere(0, 3, 2), normal(1, 3)
    network, theta, model = make("mlp ntk", "tanh", x, m=20)
    times = np.linspace(0, 5, 9)
    params = [tree(network, here, model) for here in model.flow(theta, y, times)]
    found = constants(network, params[0], x, y)
    drift = measure(network, params, x, y).drift
    for t, value in zip(times, drift, strict=True):
        assert value <= 1e-9 + uniform_drift_bound(
            float(t),
            residual_norm=found.residual_norm,
            jacobian_norm=found.jacobian_norm,
            lipschitz=found.lipschitz,
        )
    assert uniform_drift_bound(
        8.0, residual_norm=3.0, jacobian_norm=2.0, lipschitz=0.5
    ) == pytest.approx(3 * (4 + 3))


# --- Polyak–Łojasiewicz ------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.2, 0.4, 0.499, 0.5, 0.501, 0.75, 1.0, 1.5])
def test_the_bound_solves_its_equation(beta):
    """ġ = −α² c g^{2β} by SciPy; below ½ the solution is 0 from some time on."""
    alpha, c, gap = 1.3, 0.6, 0.8
    times = np.linspace(0, 3, 13)
    solved = scipy.integrate.solve_ivp(
        lambda _, g: -(alpha**2) * c * np.maximum(g, 0) ** (2 * beta),
        (0, 3),
        [gap],
        t_eval=times,
        rtol=1e-9,
        atol=1e-11,
    ).y[0]
    bound = pl_bound(times, gap=gap, alpha=alpha, exponent=beta, eigenvalue=c)
    np.testing.assert_allclose(bound, np.maximum(solved, 0), atol=2e-6)


@pytest.mark.parametrize("p", [1.25, 1.5, 2.0, 3.0, 6.0])
def test_powers_attain_the_bound(p):
    """L = |u|^p, u̇ = −p u^{p−1}: |u|^p in closed form."""
    t = np.linspace(0, 2, 9)
    u = np.exp(-2 * t) if p == 2 else np.maximum(1 + p * (p - 2) * t, 0) ** (-1 / (p - 2))
    bound = pl_bound(t, gap=1.0, alpha=p, exponent=(p - 1) / p)
    np.testing.assert_allclose(bound, u**p, atol=1e-6)


def test_the_bound_at_the_minimum():
    assert pl_bound(1.0, gap=0.0, alpha=1.0, exponent=2.0) == 0
    assert pl_bound(0.0, gap=0.7, alpha=1.0, exponent=0.3) == pytest.approx(0.7)


@pytest.mark.parametrize("kappa", [0.05, 0.2, 0.6, 1.0])
def test_descent_on_functions_with_the_inequality(kappa):
    """f = ½(ℓ x² in |x| < r, then curvature −s …): no step does worse than the factors say.

    One-dimensional functions with piecewise constant curvature in [−1, 1], ℓ = 1, drawn at random;
    κ is measured on a grid.
    """
    rng = np.random.default_rng(int(100 * kappa))
    worst = 0.0
    for _ in range(200):
        curvature = np.append(1.0, rng.choice([-1.0, 0.0, 0.3, 1.0], size=24))
        x = np.linspace(0, 5, 25 * 40 + 1)
        second = np.repeat(curvature, 40)
        slope = np.concatenate([[0], np.cumsum(second) * x[1]])
        value = np.concatenate([[0], np.cumsum((slope[1:] + slope[:-1]) / 2) * x[1]])
        inside = slope[1:] ** 2 / 2 >= kappa * value[1:]
        end = len(inside) if np.all(inside) else int(np.argmin(inside))
        if end < 2 or np.any(slope[1:end] < 0):
            continue
        start = np.arange(1, end)
        after = np.abs(x[start] - slope[start])
        stepped = np.interp(after, x, value)
        worst = max(worst, float(np.max(stepped / value[start])))
    polyak, smooth, quadratic = descent_factors(kappa)
    assert quadratic <= smooth <= polyak
    assert worst <= smooth + 1e-3


@pytest.mark.float64
@pytest.mark.filterwarnings("ignore")  # PEPit's own, and its solvers'
@pytest.mark.parametrize("kappa", [0.2, 0.5])
def test_the_factors_against_performance_estimation(kappa):
    """PEPit's worst case over all functions that fit the interpolation conditions.

    With the inequality at the two iterates its optimum is our factor; demanded at the middle of
    the step as well it leaves less, and at the third point of the proof no more than the factor
    that is derived there.
    """
    from PEPit import PEP
    from PEPit.functions import SmoothFunction

    def worst(third):
        problem = PEP()
        function = problem.declare_function(SmoothFunction, L=1.0)
        lowest = function(function.stationary_point())
        start = problem.set_initial_point()
        end = start - function.gradient(start)
        thirds = {
            "none": [],
            "middle": [(start + end) / 2],
            "proof": [end + function.gradient(end) / 2],
        }
        for point in [start, end, *thirds[third]]:
            gap = function(point) - lowest
            problem.add_constraint(function.gradient(point) ** 2 >= 2 * kappa * gap)
            problem.add_constraint(gap >= 0)
        problem.set_initial_condition(function(start) - lowest <= 1)
        problem.set_performance_metric(function(end) - lowest)
        return problem.solve(verbose=0)

    polyak, smooth, quadratic = descent_factors(kappa)
    assert worst("none") == pytest.approx(smooth, abs=1e-4)  # the solver's accuracy
    assert quadratic - 1e-4 <= worst("middle") <= smooth - 0.01 < polyak
    assert quadratic - 1e-4 <= worst("proof") <= (1 - kappa) / (1 + 5 * kappa / 8) + 1e-4


# --- the limit kernel --------------------------------------------------------------------------


def quadrature_gram(x, name, train_output):
    """E over w in two dimensions on a 120 × 120 Gauss–Hermite grid (for smooth σ)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    w = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    mass = np.outer(weights, weights).ravel()
    value, slope = value_and_slope(name, w @ x.T)
    gram = (x @ x.T) * (slope.T @ (mass[:, None] * slope))
    return gram + value.T @ (mass[:, None] * value) if train_output else gram


@pytest.mark.parametrize("train_output", [False, True])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_limit_gram_against_quadrature(name, train_output):
    x = sphere(0, 4, 2) * np.array([[1.0], [0.5], [1.2], [1.0]])
    [x] = rounded(x)
    found = limit_gram(x, activation=name, train_output=train_output)
    np.testing.assert_allclose(found, quadrature_gram(x, name, train_output), atol=3e-6)


def test_the_limit_gram_of_relu():
    x = np.array([[1.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(
        limit_gram(x, activation="relu", train_output=False), np.diag([0.5, 2.0]), atol=1e-6
    )
    both = limit_gram(x, activation="relu", train_output=True)
    np.testing.assert_allclose(both, [[1.0, 1 / np.pi], [1 / np.pi, 4.0]], atol=1e-6)


def circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


CONFIGURATIONS = {
    "generic": circle([0.0, 0.7, 2.0]),
    "equal": circle([0.3, 0.3, 2.0]),
    "one pair": circle([0.3, 0.3 + np.pi, 2.0]),
    "two pairs": circle([0.3, 0.3 + np.pi, 2.0, 2.0 + np.pi]),
    "three pairs in the plane": circle(np.arange(6) * np.pi / 3),
    "three pairs in space": np.concatenate([np.eye(3), -np.eye(3)]),
}


@pytest.mark.float64
@pytest.mark.parametrize("train_output", [False, True])
@pytest.mark.parametrize("name", ["relu", "softplus", "gelu", "tanh", "erf"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_criterion_against_the_eigenvalue(configuration, name, train_output):
    """Zero means 1e-9, four orders below the smallest nonzero one here."""
    x = CONFIGURATIONS[configuration]
    smallest = np.linalg.eigvalsh(limit_gram(x, activation=name, train_output=train_output))[0]
    assert limit_is_definite(x, activation=name) is bool(smallest > 1e-9)
    assert smallest > 1e-7 or smallest < 1e-9


def test_the_criterion_for_other_inputs():
    assert limit_is_definite(np.eye(2), activation="identity")
    assert not limit_is_definite(circle([0.0, 0.7, 2.0]), activation="identity")
    assert not limit_is_definite(np.array([[1.0, 2.0], [2.0, 4.0]]), activation="relu")
    assert limit_is_definite(np.array([[1.0, 2.0], [-3.0, -6.0]]), activation="relu")


def test_the_coherence_floor():
    """Below the smallest eigenvalue for random inputs; equal to it for orthogonal ones."""
    coefficients = [0.1, 0.3, 0.2, 0.0, 0.15]
    for seed, (n, d) in enumerate([(3, 9), (5, 60), (8, 400)]):
        x = sphere(seed, n, d)
        t = x @ x.T
        mu = float(np.max(np.abs(t - np.eye(n))))
        H = sum(c * t**k for k, c in enumerate(coefficients))
        floor = coherence_floor(coefficients, coherence=mu, points=n)
        assert 0.05 < floor <= np.linalg.eigvalsh(H)[0]
    assert coherence_floor(coefficients, coherence=0.0, points=3) == pytest.approx(0.65)
    assert coherence_floor(coefficients, coherence=1.0, points=2) == 0
    assert coherence_floor(coefficients, coherence=1.0, points=1) == pytest.approx(0.75)


# --- depth -------------------------------------------------------------------------------------


def deep_gradient_norm(weights, x, slope):
    """‖∇f‖ of the network σ(z) = slope·z with fan-in gains, by products of matrices."""
    matrices = [W / np.sqrt(W.shape[1]) for W in weights]
    total, activation = 0.0, x
    for index, W in enumerate(weights):
        back = np.ones((1, 1))
        for later in reversed(matrices[index + 1 :]):
            back = slope * back @ later
        total += np.sum(back**2) * np.sum(activation**2) / W.shape[1]
        activation = slope * matrices[index] @ activation
    return np.sqrt(total)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_aligned_weights_attain_the_gradient_bound(depth):
    m, q, slope = 5, 1.3, 0.7
    u = sphere(0, 1, m)[0]
    weights = [q * np.sqrt(m) * np.outer(u, u) for _ in range(depth)]
    weights.append(q * np.sqrt(m) * u[None])
    found = deep_gradient_norm(weights, np.sqrt(m) * u, slope)
    assert found == pytest.approx(gradient_bound(depth=depth, weight_norm=q, slope=slope))


def test_random_weights_stay_below_the_bounds():
    for seed, (d, m, depth) in enumerate([(3, 8, 1), (8, 8, 2), (4, 20, 3)]):
        widths = [d] + [m] * depth + [1]
        weights = [
            normal(seed + 9 * l, b, a) for l, (a, b) in enumerate(itertools.pairwise(widths))
        ]
        q = max(np.linalg.norm(W, 2) for W in weights) / np.sqrt(m)
        assert q <= weight_norm_bound(1.0)
        x = np.sqrt(d) * sphere(seed, 1, d)[0]
        found = deep_gradient_norm(weights, x, 1.0)
        assert found <= gradient_bound(depth=depth, weight_norm=q, slope=1.0)


def test_the_printed_numbers_of_the_gradient_bound():
    q = weight_norm_bound(1.0)
    found = [
        gradient_bound(depth=depth, weight_norm=q, slope=1.0, radius_ratio=1.0)
        for depth in (1, 2, 3)
    ]
    assert [round(bound, 1) for bound in found] == [5.7, 27.7, 128.0]


# --- bad input ---------------------------------------------------------------------------------

NETWORK = networks.shallow(3, activation="tanh")
W, X, Y = np.ones((3, 2)), np.eye(2), np.ones(2)


def certify_mlp(widths=(3, 1), d=2, **options):
    network = networks.mlp(widths, **{"activation": "tanh", **options})
    return certify(network, network.init(jax.random.key(0), d), X, Y)


def certify_shallow(activation):
    return certify(networks.shallow(3, activation=activation), W, X, Y)


def nested():
    network = networks.unbiased(networks.unbiased(NETWORK))
    return certify(network, network.init(jax.random.key(0), 2), X, Y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: certify_shallow("relu"), "activation must be smooth and have a name.*.relu"),
        (lambda: certify_mlp(activation="relu"), "activation must .*.relu"),
        (lambda: certify_shallow(jnp.sin), "activation must .*sin"),
        (lambda: certify_mlp(b_std=0.5), "network must have no biases.*0.5"),
        (lambda: certify_mlp((3, 3, 1)), r"network must have widths \(m, 1\).*\(3, 3, 1\)"),
        (lambda: certify_mlp((3, 2)), r"network must have widths \(m, 1\)"),
        (lambda: certify_mlp((3,)), r"network must have widths \(m, 1\)"),
        (nested, "network must be made by"),
        (lambda: certify(lambda p, x: x, W, X, Y), "network must be made by"),
        (lambda: certify(networks.Network(len, jnp.tanh), W, X, Y), "network must be made by"),
        (
            lambda: certify(networks.unbiased(networks.Network(len, lambda p, x: x)), (W, W), X, Y),
            "network must be made by",
        ),
        (lambda: certify(NETWORK, np.ones((4, 2)), X, Y), "params must"),
        (lambda: certify(NETWORK, (W, W), X, Y), "params must"),
        (lambda: certify(networks.unbiased(NETWORK), W, X, Y), "params must"),
        (lambda: certify(networks.mlp((3, 1), activation="tanh"), W, X, Y), "params must"),
        (lambda: certify(NETWORK, np.full((3, 2), np.nan), X, Y), "params must"),
        (lambda: certify(NETWORK, W, np.ones(2), Y), "x must"),
        (lambda: certify(NETWORK, W, np.ones((2, 3)), Y), "x must have points of 2"),
        (lambda: certify(NETWORK, W, X * np.nan, Y), "x must"),
        (lambda: certify(NETWORK, W, X, np.ones(3)), r"y must have shape \(2,\)"),
        (lambda: certify(NETWORK, W, X, np.ones((2, 1))), "y must"),
        (lambda: certify(NETWORK, W, X, np.array([1, np.inf])), "y must"),
        (lambda: jax.jit(lambda p: certify(NETWORK, p, X, Y).rate)(W), "params, x and y must"),
        (lambda: certificates(NETWORK, W, X, np.ones(3)), "y must"),
        (lambda: certify_descent(NETWORK, W, X, Y, step=0.0), "step must"),
        (
            lambda: certify_descent(
                networks.mlp((3, 1), activation="tanh"),
                ({"weight": W}, {"weight": np.ones((1, 3))}),
                X,
                Y,
                step=0.1,
            ),
            "network must have a fixed output layer",
        ),
        (lambda: measure(NETWORK, [], X, Y), "run must"),
        (lambda: measure(NETWORK, [W, np.ones((4, 2))], X, Y), "params must"),
        (lambda: singular_floor(np.ones(3)), "jacobian must"),
        (lambda: residual_bound(-1.0, residual_norm=1, sigma_min=3, lipschitz=1), "t must"),
        (lambda: residual_bound(1.0, residual_norm=1, sigma_min=1, lipschitz=1), "sigma_min must"),
        (lambda: residual_bound(1.0, residual_norm=-1, sigma_min=1, lipschitz=1), "residual_norm"),
        (lambda: time_varying_bound(np.arange(4.0), np.ones(3)), "eigenvalue must"),
        (lambda: time_varying_bound(np.array([0.0, 2, 1, 3]), np.ones(4)), "t must"),
        (lambda: time_varying_bound(np.arange(1.0, 5), np.ones(4)), "t must"),
        (
            lambda: uniform_drift_bound(-1, residual_norm=1, jacobian_norm=1, lipschitz=1),
            "time must",
        ),
        (lambda: pl_bound(1.0, gap=-1, alpha=1, exponent=1), "gap must"),
        (lambda: pl_bound(1.0, gap=1, alpha=0, exponent=1), "alpha must"),
        (lambda: pl_bound(1.0, gap=1, alpha=1, exponent=0), "exponent must"),
        (lambda: pl_bound(-1.0, gap=1, alpha=1, exponent=1), "t must"),
        (lambda: descent_factors(0.0), "condition must"),
        (lambda: descent_factors(1.1), "condition must"),
        (lambda: limit_gram(X, activation="sin", train_output=True), "activation must"),
        (lambda: limit_gram(np.ones(2), activation="relu", train_output=True), "x must"),
        (lambda: limit_is_definite(np.zeros((1, 2)), activation="relu"), "x must hold no point 0"),
        (
            lambda: limit_is_definite(np.diag([1.0, 2.0]), activation="tanh"),
            "x must hold points of one norm",
        ),
        (lambda: coherence_floor([-1.0], coherence=0.5, points=2), "coefficients must"),
        (lambda: coherence_floor([1.0], coherence=1.5, points=2), "coherence must"),
        (lambda: coherence_floor([1.0], coherence=0.5, points=0), "points must"),
        (lambda: weight_norm_bound(0.5), "width_ratio must"),
        (lambda: gradient_bound(depth=0, weight_norm=1, slope=1), "depth must"),
        (lambda: sufficient_widths(X, residual_norm=0, activation="tanh"), "residual_norm must"),
        (lambda: sufficient_widths(X, residual_norm=1, activation="relu"), "activation must"),
    ],
)
def test_bad_input(call, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
