"""Kernel filters against the matrix exponential, ODE solvers and scikit-learn; models in flow."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from ntklab import gradient_flow, networks
from ntklab.descent import LOGISTIC, SQUARE
from ntklab.gradient_flow import (
    ensemble_moments,
    flow_until,
    gp_posterior,
    kernel_descent,
    kernel_flow,
    kernel_heavy_ball,
    kernel_loss_flow,
    kernel_ridge,
    logistic_margin,
    network_descent,
    network_flow,
    relative_cutoff,
    step_size_limit,
)

N, M, RANK = 6, 3, 4
TIMES = np.array([0.0, 1e-9, 0.1, 3.0, 50.0, np.inf])


def kernels(rank=RANK, seed=0):
    """A kernel at N + M points, cut into K and k; singular if the rank is below N."""
    features = np.random.default_rng(seed).normal(size=(N + M, rank))
    kernel = features @ features.T
    return kernel[:N, :N], kernel[N:, :N]


def problem(seed=1, outputs=2):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(n, outputs)) for n in (N, N, M))  # y, f0, f0_test


# --- the flow of a fixed kernel -----------------------------------------------------------------


@pytest.mark.parametrize("rank", [RANK, 8])
def test_the_flow_is_the_matrix_exponential(rank, dtype):
    kernel, cross = kernels(rank)
    y, f0, f0_test = problem()
    train, test = kernel_flow(
        *(jnp.asarray(a, dtype) for a in (kernel, y)),
        TIMES,
        f0=f0.astype(dtype),
        k_test=cross.astype(dtype),
        f0_test=f0_test.astype(dtype),
    )
    assert train.dtype == test.dtype == dtype
    assert train.shape == (6, N, 2) and test.shape == (6, M, 2)
    inverse = np.linalg.pinv(kernel, rcond=1e-10, hermitian=True)
    # Errors of eigh, ε λmax, over the smallest eigenvalue that moves.
    smallest = np.linalg.svd(kernel, compute_uv=False)[min(rank, N) - 1]
    rounding = 100 * float(jnp.finfo(dtype).eps) * np.linalg.norm(kernel, 2) / smallest
    for i, t in enumerate(TIMES):
        decay = scipy.linalg.expm(-kernel * min(t, 1e6))
        moved = (np.eye(N) - decay) @ (y - f0)
        np.testing.assert_allclose(train[i], f0 + moved, atol=rounding)
        np.testing.assert_allclose(test[i], f0_test + cross @ inverse @ moved, atol=rounding)


@pytest.mark.float64
def test_the_flow_solves_its_equation():
    """The same equation given to diffrax, at tolerances that leave 1e-8."""
    kernel, cross = kernels(8)
    y, f0, f0_test = problem(outputs=1)
    times = np.array([0.0, 0.01, 0.3, 2.0, 20.0])
    stacked = jnp.asarray(np.concatenate([kernel, cross]))

    def field(t, f, args):
        return -stacked @ (f[:N] - jnp.asarray(y))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Dopri8(),
        0.0,
        20.0,
        None,
        jnp.asarray(np.concatenate([f0, f0_test])),
        saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
        stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-12),
        max_steps=100_000,
    ).ys
    found = kernel_flow(kernel, y, times, f0=f0, k_test=cross, f0_test=f0_test)
    np.testing.assert_allclose(found[0], solution[:, :N], rtol=0, atol=1e-8)
    np.testing.assert_allclose(found[1], solution[:, N:], rtol=0, atol=1e-8)


def test_shapes_follow_labels_and_times(dtype):
    kernel, cross = (jnp.asarray(a, dtype) for a in kernels())
    y = jnp.ones(N, dtype)
    assert kernel_flow(kernel, y, 1.0).shape == (N,)
    assert kernel_flow(kernel, y[:, None], 1.0).shape == (N, 1)
    assert kernel_flow(kernel, y, jnp.ones(5)).shape == (5, N)
    train, test = kernel_flow(kernel, y, jnp.ones(5), k_test=cross)
    assert (train.shape, test.shape) == ((5, N), (5, M))
    assert kernel_flow(kernel, np.ones(N, int), 1).dtype == dtype


def test_a_start_stays_where_nothing_is_known():
    """Directions of eigenvalue 0 keep f0, at every time, and so does a kernel that is 0."""
    kernel, _ = kernels()
    y, f0, _ = problem(outputs=1)
    null = scipy.linalg.null_space(kernel, rcond=1e-10)
    ends = kernel_flow(kernel, y, TIMES, f0=f0)
    for end in ends:
        np.testing.assert_allclose(np.asarray(end)[:, 0] @ null, f0[:, 0] @ null, atol=1e-4)
    assert kernel_flow(np.zeros((2, 2)), np.ones(2), [1.0, np.inf]).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("factor", "moves"), [(0.5, False), (4.0, True)])
def test_the_cutoff_is_where_it_is_said_to_be(factor, moves, dtype):
    small = factor * relative_cutoff(2, dtype)
    end = kernel_flow(jnp.diag(jnp.asarray([1, small], dtype)), jnp.ones(2, dtype), jnp.inf)
    assert end.tolist() == [1.0, float(moves)]


def test_a_slow_direction_keeps_its_digits(dtype):
    """λt = 1e-5: the share that moves is λt(1 − λt/2), to all digits and not to those of 1."""
    kernel = jnp.diag(jnp.asarray([1, 1e-5], dtype))
    moved = kernel_flow(kernel, jnp.ones(2, dtype), 1.0)[1]
    assert float(moved) == pytest.approx(1e-5 * (1 - 0.5e-5), rel=8 * float(jnp.finfo(dtype).eps))


def test_it_is_a_function_to_jit_map_and_differentiate():
    kernel, cross = (jnp.asarray(a) for a in kernels(8))
    y = jnp.asarray(problem(outputs=1)[0][:, 0])
    plain = kernel_flow(kernel, y, jnp.arange(3.0))
    np.testing.assert_allclose(jax.jit(kernel_flow)(kernel, y, jnp.arange(3.0)), plain, rtol=1e-5)
    mapped = jax.vmap(lambda t: kernel_flow(kernel, y, t))(jnp.arange(3.0))
    np.testing.assert_allclose(mapped, plain, rtol=1e-5)
    velocity = jax.jacfwd(lambda t: kernel_flow(kernel, y, t))(0.5)
    residual = kernel_flow(kernel, y, 0.5) - y
    np.testing.assert_allclose(velocity, -kernel @ residual, rtol=1e-3, atol=1e-4)
    slopes = jax.jacrev(lambda y: kernel_flow(kernel, y, jnp.inf, k_test=cross)[1])(y)
    np.testing.assert_allclose(slopes, jnp.linalg.solve(kernel, cross.T).T, rtol=2e-2, atol=1e-3)


@pytest.mark.float64
@pytest.mark.parametrize("t", [0.3, 2.0, np.inf])
@pytest.mark.parametrize("case", ["distinct", "singular", "equal", "nearly equal"])
def test_the_derivative_in_the_kernel(t, case):
    """Against differences along changes that keep the rank, also where eigenvalues coincide."""
    kernel, cross = kernels(8 if case == "distinct" else RANK)
    if "equal" in case:  # to all digits, or to twelve, which would leave a quotient with four
        kernel = np.eye(N) + 1e-12 * ("nearly" in case) * np.diag(np.arange(N))
    y = problem(outputs=1)[0][:, 0]
    rng = np.random.default_rng(5)
    change = rng.normal(size=(N, N))
    change = kernel @ (change + change.T) @ kernel / np.linalg.norm(kernel) ** 2

    def total(kernel):
        return sum(jnp.sum(jnp.sin(f)) for f in kernel_flow(kernel, y, t, k_test=cross))

    slope = jnp.sum(jax.grad(total)(jnp.asarray(kernel)) * change)
    step = 1e-5
    difference = (total(kernel + step * change) - total(kernel - step * change)) / (2 * step)
    assert float(slope) == pytest.approx(float(difference), rel=1e-6, abs=1e-7)


BAD = [
    ({"k_train": np.ones((2, 3))}, r"k_train must have shape \[N, N\]"),
    ({"k_train": np.array([[1.0, 2.0], [0.0, 1.0]])}, "k_train must be symmetric, .* by 2"),
    ({"k_train": np.array([[1.0, np.nan], [np.nan, 1.0]])}, "k_train must be finite"),
    ({"k_train": np.diag([1.0, -0.5])}, "k_train must be positive semidefinite, .* -0.5"),
    ({"k_train": np.eye(2, dtype=np.float16)}, "k_train must be of float32 or float64"),
    ({"y": np.ones(3)}, r"y must have shape \[N\] .* with N = 2, got \(3,\)"),
    ({"y": np.ones((2, 1, 1))}, "y must have shape"),
    ({"y": np.array([1.0, np.inf])}, "y must be finite"),
    ({"f0": np.ones((2, 1))}, r"f0 must have shape \(2,\)"),
    ({"k_test": np.ones((4, 3))}, r"k_test must have shape \[M, N\] with N = 2"),
    ({"f0_test": np.ones(4)}, "f0_test must come with k_test"),
    ({"k_test": np.ones((4, 2)), "f0_test": np.ones(4)}, "f0 must be given with f0_test"),
    ({"k_test": np.ones((4, 2)), "f0": np.ones(2)}, "f0_test must be given with f0"),
    (
        {"k_test": np.ones((4, 2)), "f0": np.ones(2), "f0_test": np.ones(3)},
        r"f0_test must have shape \(4,\)",
    ),
]
BAD_TIMES = [
    (-0.1, "t must be at least 0, got -0.1"),
    ([1.0, np.nan], "t must be at least 0, got nan"),
    (np.ones((2, 2)), "t must be a number or have one axis"),
    ("soon", "t must be numbers"),
    (None, "t must be numbers"),
]


@pytest.mark.parametrize(("changed", "message"), BAD)
@pytest.mark.parametrize("name", ["flow", "descent", "heavy_ball", "ridge", "loss_flow"])
def test_bad_problems_are_named(name, changed, message, no_hook):
    extra = {"descent": {"step_size": 0.1}, "heavy_ball": {"friction": 1.0}}.get(name, {})
    if name == "loss_flow":
        extra = {"loss": SQUARE}
    arguments = {"k_train": np.eye(2), "y": np.ones(2), **changed}
    k_train, y = arguments.pop("k_train"), arguments.pop("y")
    with pytest.raises(ValueError, match=f"^{message}"):
        getattr(gradient_flow, f"kernel_{name}")(k_train, y, 1, **extra, **arguments)


@pytest.mark.parametrize(("t", "message"), BAD_TIMES)
def test_bad_times_are_named(t, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        kernel_flow(np.eye(2), np.ones(2), t)


@pytest.mark.float64
def test_dtypes_must_agree(no_hook):
    with pytest.raises(ValueError, match=r"^y must have the kernel's dtype float32, got float64"):
        kernel_flow(jnp.eye(2, dtype="float32"), jnp.ones(2, "float64"), 1.0)


# --- descent, heavy ball, ridge -----------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_descent_step_by_step(share, dtype):
    """At half of the limit the largest direction is learned in one step: its factor is 0."""
    kernel, cross = kernels()
    y, f0, f0_test = problem()
    eta = share * step_size_limit(kernel)
    counts = np.array([0, 1, 2, 7, 300])
    found = kernel_descent(
        jnp.asarray(kernel, dtype),
        jnp.asarray(y, dtype),
        counts,
        step_size=eta,
        f0=jnp.asarray(f0, dtype),
        k_test=jnp.asarray(cross, dtype),
        f0_test=jnp.asarray(f0_test, dtype),
    )
    f, f_test, path = f0, f0_test, {}
    for k in range(301):
        path[k] = f, f_test
        f, f_test = f - eta * kernel @ (f - y), f_test - eta * cross @ (f - y)
    rounding = 2000 * float(jnp.finfo(dtype).eps)
    for i, k in enumerate(counts):
        for place, values in zip(found, path[k], strict=True):
            np.testing.assert_allclose(place[i], values, atol=rounding)


def test_the_limit_by_hand(dtype):
    kernel = jnp.asarray([[2, 1], [1, 2]], dtype)  # eigenvalues 1 and 3
    rounding = 50 * float(jnp.finfo(dtype).eps)
    assert step_size_limit(kernel) == pytest.approx(2 / 3, rel=rounding)


def test_beyond_the_limit_descent_is_refused():
    kernel = np.diag([4.0, 1.0])
    assert kernel_descent(kernel, np.ones(2), np.inf, step_size=0.499).tolist() == [1, 1]
    for step_size in (0.5, 0.51):
        with pytest.raises(ValueError, match=r"^step_size must be below .*, 0\.5, .* got 0\.5"):
            kernel_descent(kernel, np.ones(2), 10, step_size=step_size)
    with pytest.raises(ValueError, match=r"^steps must be whole"):
        kernel_descent(kernel, np.ones(2), 1.5, step_size=0.1)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.ones((2, 3)), r"must have shape \[N, N\]"),
        (np.full((2, 2), np.nan), "must be finite"),
        (np.triu(np.ones((2, 2))), "must be symmetric"),
        (np.zeros((2, 2)), "must not be zero"),
        (-np.eye(2), "must be positive semidefinite"),
    ],
)
def test_a_bad_kernel_has_no_limit(kernel, message, no_hook):
    with pytest.raises(ValueError, match=f"^kernel {message}"):
        step_size_limit(kernel)


@pytest.mark.float64
@pytest.mark.parametrize("friction", [0.0, 0.3, "critical", 20.0])
def test_the_heavy_ball_against_scipy(friction):
    kernel, cross = kernels()
    y, f0, f0_test = (a[:, 0] for a in problem(outputs=1))
    if friction == "critical":
        friction = 2 * np.sqrt(np.linalg.eigvalsh(kernel)[-1])
    times = np.array([0.0, 0.01, 0.5, 2.0, 9.0])
    stacked = np.concatenate([kernel, cross])

    def field(t, state):
        f, velocity = np.split(state, 2)
        return np.concatenate([velocity, -friction * velocity - stacked @ (f[:N] - y)])

    start = np.concatenate([f0, f0_test, np.zeros(N + M)])
    path = scipy.integrate.solve_ivp(
        field, (0, 9), start, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-12
    ).y.T
    found = kernel_heavy_ball(
        kernel, y, times, friction=friction, f0=f0, k_test=cross, f0_test=f0_test
    )
    np.testing.assert_allclose(np.concatenate(found, axis=1), path[:, : N + M], atol=1e-8)


def test_a_ball_with_friction_ends_where_the_flow_ends():
    kernel, cross = kernels()
    y = problem(outputs=1)[0]
    ends = [
        kernel_heavy_ball(kernel, y, np.inf, friction=friction, k_test=cross)[1]
        for friction in (0.1, 30.0)
    ]
    expected = kernel_flow(kernel, y, np.inf, k_test=cross)[1]
    for end in ends:
        np.testing.assert_allclose(end, expected, atol=1e-4)
    with pytest.raises(ValueError, match=r"^t must be finite without friction"):
        kernel_heavy_ball(kernel, y, np.inf, friction=0.0)
    with pytest.raises(ValueError, match=r"^friction must be at least 0"):
        kernel_heavy_ball(kernel, y, 1.0, friction=-1.0)


def test_ridge_solves_its_normal_equations(dtype):
    kernel, cross = kernels()
    y, f0, f0_test = problem()
    ridges = np.array([0.0, 0.5, 10.0])
    train, test = kernel_ridge(
        jnp.asarray(kernel, dtype),
        jnp.asarray(y, dtype),
        ridges,
        f0=jnp.asarray(f0, dtype),
        k_test=jnp.asarray(cross, dtype),
        f0_test=jnp.asarray(f0_test, dtype),
    )
    rounding = 1000 * float(jnp.finfo(dtype).eps)
    for i, ridge in enumerate(ridges):
        inverse = np.linalg.pinv(kernel + ridge * np.eye(N), rcond=1e-10)
        np.testing.assert_allclose(train[i], f0 + kernel @ inverse @ (y - f0), atol=rounding)
        np.testing.assert_allclose(test[i], f0_test + cross @ inverse @ (y - f0), atol=rounding)


# --- Gaussian processes and ensembles -----------------------------------------------------------


@pytest.mark.float64
@pytest.mark.parametrize("noise", [1e-6, 0.1])
def test_the_posterior_is_scikit_learns(noise):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF

    rng = np.random.default_rng(0)
    x, new, y = rng.uniform(-1, 1, (N, 2)), rng.uniform(-1, 1, (M, 2)), rng.normal(size=(N, 2))
    rbf = RBF(0.7)
    model = GaussianProcessRegressor(rbf, alpha=noise, optimizer=None).fit(x, y[:, 0])
    mean, covariance = model.predict(new, return_cov=True)
    found = gp_posterior(rbf(x), y, rbf(new, x), rbf(new), noise=noise)
    np.testing.assert_allclose(found.mean[:, 0], mean, atol=1e-9)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-9)
    np.testing.assert_allclose(
        kernel_ridge(rbf(x), y[:, 0], noise, k_test=rbf(new, x))[1], mean, atol=1e-9
    )


def joint_kernels(seed):
    kernel = np.cov(np.random.default_rng(seed).normal(size=(N + M, 40)))
    return kernel[:N, :N], kernel[N:, :N], kernel[N:, N:]


@pytest.mark.parametrize("t", [0.0, 0.7, np.inf])
def test_the_ensemble_by_pushing_the_start_through(t, dtype):
    """The flow is affine in its start, so the covariance of the start becomes B Q Bᵀ."""
    ntk, ntk_test, _ = joint_kernels(0)
    nngp, nngp_test, nngp_new = joint_kernels(1)
    y = problem(outputs=1)[0][:, 0]
    found = ensemble_moments(
        *(jnp.asarray(a, dtype) for a in (ntk, y)),
        t,
        **{
            name: jnp.asarray(array, dtype)
            for name, array in {
                "ntk_test": ntk_test,
                "nngp_train": nngp,
                "nngp_test": nngp_test,
                "nngp_new": nngp_new,
            }.items()
        },
    )
    decay = scipy.linalg.expm(-ntk * min(t, 1e6))
    response = ntk_test @ np.linalg.solve(ntk, np.eye(N) - decay)
    push = np.concatenate([-response, np.eye(M)], axis=1)
    start = np.block([[nngp, nngp_test.T], [nngp_test, nngp_new]])
    rounding = 200 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(found.mean, response @ y, atol=rounding)
    np.testing.assert_allclose(found.covariance, push @ start @ push.T, atol=rounding)


def test_one_kernel_for_both_gives_the_posterior():
    kernel, cross, new = joint_kernels(0)
    y = problem(outputs=1)[0][:, 0]
    trained = ensemble_moments(
        kernel, y, np.inf, ntk_test=cross, nngp_train=kernel, nngp_test=cross, nngp_new=new
    )
    posterior = gp_posterior(kernel, y, cross, new)
    np.testing.assert_allclose(trained.mean, posterior.mean, atol=1e-4)
    np.testing.assert_allclose(trained.covariance, posterior.covariance, atol=1e-4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"nngp_new": np.eye(2)}, r"nngp_new must have shape \(3, 3\)"),
        ({"nngp_test": np.ones((3, 5))}, r"nngp_test must have shape \(3, 6\)"),
        ({"nngp_train": np.eye(5)}, r"nngp_train must have shape \(6, 6\)"),
        ({"t": np.ones(2)}, r"t must be one time, got shape \(2,\)"),
        ({"ntk_test": np.ones((3, 5))}, "k_test must have shape"),
    ],
)
def test_bad_ensembles_are_named(changed, message, no_hook):
    kernel, cross, new = joint_kernels(0)
    arguments = {"t": 1.0, "ntk_test": cross, "nngp_train": kernel, "nngp_test": cross}
    arguments |= {"nngp_new": new} | changed
    with pytest.raises(ValueError, match=f"^{message}"):
        ensemble_moments(kernel, np.ones(N), arguments.pop("t"), **arguments)
    with pytest.raises(ValueError, match=r"^k_new must have shape \(3, 3\)"):
        gp_posterior(kernel, np.ones(N), cross, np.eye(2))


# --- other losses -------------------------------------------------------------------------------


@pytest.mark.float64
def test_the_loss_flow_of_the_square_is_the_closed_form():
    kernel, cross = kernels()
    y, f0, f0_test = problem()
    arguments = {"f0": f0, "k_test": cross, "f0_test": f0_test}
    times = np.array([3.0, 0.0, 0.2])  # in any order
    found = kernel_loss_flow(kernel, y, times, loss=SQUARE, rtol=1e-10, **arguments)
    for place, values in zip(found, kernel_flow(kernel, y, times, **arguments), strict=True):
        np.testing.assert_allclose(place, values, atol=1e-8)


@pytest.mark.float64
def test_one_margin_three_ways():
    """Lambert's function, the equation that it solves, and the flow in function space."""
    times = np.array([0.0, 0.1, 3.0, 500.0])
    u = np.asarray(logistic_margin(2.0, times, start=-0.5))
    np.testing.assert_allclose(u + np.exp(u), 2 * times - 0.5 + np.exp(-0.5), rtol=1e-13)
    label = -np.ones(1)
    f = kernel_loss_flow(2 * np.eye(1), label, times, loss=LOGISTIC, f0=np.full(1, 0.5), rtol=1e-10)
    np.testing.assert_allclose(-f[:, 0], u, atol=1e-7)


def test_a_bad_margin_is_named():
    for arguments, message in (((0.0, 1.0), "kernel must be pos"), ((1.0, -1.0), "t must be at")):
        with pytest.raises(ValueError, match=f"^{message}"):
            logistic_margin(*arguments)


# --- a model ------------------------------------------------------------------------------------


def linear(theta, x):
    """Features (1, x, x²): the flow is that of a fixed kernel."""
    return jnp.stack([jnp.ones_like(x), x, x**2], axis=1) @ theta


POINTS = np.array([-1.0, 0.2, 0.5, 1.0])
LABELS = np.array([1.0, -1.0, 0.5, 2.0])
FEATURES = np.stack([np.ones(4), POINTS, POINTS**2], axis=1)


def test_a_linear_models_flow_is_its_kernels(dtype):
    theta = jnp.asarray([0.3, -1.0, 0.5], dtype)
    x, y = jnp.asarray(POINTS, dtype), jnp.asarray(LABELS, dtype)
    times = [2.0, 0.0, 0.5]
    found = network_flow(linear, theta, x, y, times)
    assert found.dtype == dtype
    start = FEATURES @ np.asarray(theta, float)
    expected = [
        LABELS + scipy.linalg.expm(-FEATURES @ FEATURES.T * t) @ (start - LABELS) for t in times
    ]
    tolerance = 1e-7 if dtype == jnp.float64 else 1e-4
    np.testing.assert_allclose(found @ FEATURES.T.astype(dtype), expected, atol=tolerance)
    np.testing.assert_allclose(network_flow(linear, theta, x, y, 2.0), found[0], atol=tolerance)


@pytest.mark.float64
def test_a_linear_models_modified_flow_and_heavy_ball():
    theta = jnp.asarray([0.3, -1.0, 0.5])
    gram, eta = FEATURES.T @ FEATURES, 0.1
    target = np.linalg.lstsq(FEATURES, LABELS)[0]
    found = network_flow(linear, theta, POINTS, LABELS, 1.5, step_size=eta)
    # ∇(L + η/4 ‖∇L‖²) = (A + η/2 A²)(θ − θ*).
    decay = scipy.linalg.expm(-1.5 * (gram + eta / 2 * gram @ gram))
    np.testing.assert_allclose(found, target + decay @ (np.asarray(theta) - target), atol=1e-7)
    ball = network_flow(linear, theta, POINTS, LABELS, [0.5, 1.5], friction=0.4)
    expected = kernel_heavy_ball(
        FEATURES @ FEATURES.T, LABELS, [0.5, 1.5], friction=0.4, f0=FEATURES @ np.asarray(theta)
    )
    np.testing.assert_allclose(ball @ FEATURES.T, expected, atol=1e-7)


def test_descent_of_a_model_in_numpy(dtype):
    theta = jnp.asarray([0.3, -1.0, 0.5], dtype)
    x, y = jnp.asarray(POINTS, dtype), jnp.asarray(LABELS, dtype)
    found = network_descent(linear, theta, x, y, np.array([7, 0, 3]), step_size=0.1)
    path, here = [], np.asarray(theta, float)
    for _ in range(8):
        path.append(here)
        here = here - 0.1 * FEATURES.T @ (FEATURES @ here - LABELS)
    rounding = 100 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(found, [path[7], path[0], path[3]], atol=rounding)
    np.testing.assert_allclose(
        network_descent(linear, theta, x, y, 3, step_size=0.1), path[3], atol=rounding
    )


def test_trees_and_columns_of_outputs():
    network = networks.mlp((3, 1), activation="tanh")
    params = network.init(jax.random.key(0), 1)
    x = jnp.asarray(POINTS)[:, None]
    path = network_descent(network.apply, params, x, LABELS, [0, 2], step_size=0.1)
    assert path[0]["weight"].shape == (2, 3, 1)
    np.testing.assert_array_equal(path[1]["weight"][0], params[1]["weight"])


@pytest.mark.float64
def test_the_flow_stops_at_its_target():
    """One point, one parameter: L = ½ e^(−2t), so ½ e^(−3) is reached at time 1.5."""
    arrival = flow_until(
        lambda theta, x: theta * x, jnp.zeros(1), jnp.ones(1), jnp.ones(1), 0.5 * np.exp(-3)
    )
    assert float(arrival.time) == pytest.approx(1.5, abs=1e-6)
    assert float(arrival.params[0]) == pytest.approx(1 - np.exp(-1.5), abs=1e-6)


def test_a_flow_that_cannot_arrive_says_so():
    x, y = np.array([1.0, 1.0]), np.array([0.0, 2.0])  # no theta fits both: L rests at 1

    def slope(theta, x):
        return theta * x

    with pytest.raises(RuntimeError, match=r"come down to 0\.5; it is at 1 at time .*, at rest"):
        flow_until(slope, jnp.zeros(1), jnp.asarray(x), y, 0.5)
    with pytest.raises(ValueError, match=r"^target must be below the first loss, 2, got 3"):
        flow_until(slope, jnp.zeros(1), jnp.asarray(x), y, 3.0)
    with pytest.raises(RuntimeError, match=r"up to time 1e\+04 must take at most max_steps = 5"):
        network_flow(slope, jnp.zeros(1), jnp.asarray(x), y, 1e4, max_steps=5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"apply": "model"}, "apply must be a function"),
        ({"apply": lambda theta, x: x[:2]}, r"apply must return \[N\]"),
        ({"params": {}}, "params must have floating-point leaves"),
        ({"params": np.array([np.nan, 0, 0])}, "params must be finite"),
        ({"y": np.ones(3)}, r"y must have shape \(4,\)"),
        ({"loss": "square"}, "loss must be SmoothLoss"),
        ({"t": np.inf}, "t must be finite"),
        ({"t": -1.0}, "t must be at least 0"),
        ({"t": []}, "t must be finite, and at least one"),
        ({"step_size": -0.1}, "step_size must be at least 0"),
        ({"step_size": 0.1, "friction": 1.0}, "friction must be None"),
        ({"friction": -1.0}, "friction must be at least 0"),
        ({"rtol": 0.0}, "rtol must be greater than 0"),
        ({"atol": -1.0}, "atol must be greater than 0"),
        ({"max_steps": 0}, "max_steps must be at least 1"),
    ],
)
def test_bad_trainings_are_named(changed, message, no_hook):
    arguments = {"apply": linear, "params": np.ones(3), "x": POINTS, "y": LABELS, "t": 1.0}
    with pytest.raises(ValueError, match=f"^{message}"):
        network_flow(**arguments | changed)


@pytest.mark.parametrize("steps", [-1, 1.5, np.ones((2, 2), int), np.inf])
def test_bad_steps_are_named(steps, no_hook):
    with pytest.raises(ValueError, match=r"^steps must be whole numbers of at least 0"):
        network_descent(linear, np.ones(3), POINTS, LABELS, steps, step_size=0.1)
