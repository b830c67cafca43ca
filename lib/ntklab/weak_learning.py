r"""When gradient descent succeeds, the tangent kernel at its start has an edge: when and how large.

Approximate gradient descent with exact population gradients and chosen errors; the predictor in the
tangent kernel's ball that a run leads to; the run that needs no labels and the average of the
tangent kernels along it; models on which the guarantees are attained.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _validate, jacobians, models
from ntklab.cube import character, subset_number
from ntklab.descent import (
    SQUARE,
    Descent,
    SmoothLoss,
    loss_decrease,
    mean_loss,
    mean_slope,
)
from ntklab.edges import edge
from ntklab.models import Apply, Model
from ntklab.problems import Distribution, DistributionArrays, distribution_arrays
from ntklab.programs import Program

__all__ = [
    "AverageKernel",
    "LabelFreeEdge",
    "Promise",
    "TangentPredictor",
    "TurningModel",
    "average_tangent_kernel",
    "edge_from_label_free_run",
    "label_free_run",
    "promised_average_edge",
    "promised_edge",
    "tangent_edge_from_descent",
    "tangent_features",
]


# --- losses -------------------------------------------------------------------------------------


# --- approximate gradient descent ---------------------------------------------------------------


# --- the predictor that a run leads to ----------------------------------------------------------


def tangent_features(apply: Apply, params: Any, x: Any) -> Float[Array, "N p_and_one"]:
    r"""$\phi_\theta(x) = [f_\theta(x), \nabla_\theta f_\theta(x)]$, whose kernel is
    `empirical_ntk(…, include_output=True)`.

    Written out, for models with few parameters: edges are better conditioned from features than
    from their kernel.

    Args:
        apply: `apply(params, x) -> [N]` or `[N, 1]`.
        params: a pytree; `models` says what of it is trained.
        x: inputs `[N, ...]`.

    Raises:
        ValueError: for NaN, a model with more than one output, or one whose rows see each other.

    Source: M21, equation (5).

    Examples:
        >>> from ntklab.cube import hypercube
        >>> from ntklab.sparse_parities import selector
        >>> tangent_features(selector, jnp.zeros(2), hypercube(2)[:1]).tolist()
        [[0.0, 2.0, 2.0]]
    """
    x = models.inputs("x", x, apply)
    return _finite_features(models.view(apply, params, _floating(x)), "x", x)


def _floating(x: Array) -> Any:
    """The dtype of the points, which trained leaves take too; None for whole numbers."""
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else None


def _finite_features(model: Model, name: str, x: Array) -> Array:
    program, constants = jacobians.program_of_all(name, model, x)
    features, finite = _features(program, constants, model, x)
    _validate.in_range(name, finite, "tangent feature", features.dtype)
    return features


@functools.partial(jax.jit, static_argnames="program")
def _features(
    program: Program, constants: tuple[Any, ...], model: Model, x: Array
) -> tuple[Array, Array]:
    flat = model.flat()

    def outputs(theta: Array) -> Array:
        return program.outputs_at(constants, model.at_flat(theta), x)

    values = outputs(flat)
    slopes = jax.jacrev(outputs)(flat).astype(values.dtype)
    features = jnp.concatenate([values[:, None], slopes], axis=1)
    return features, jnp.all(jnp.isfinite(features))


def promised_edge(
    accuracy: float, scale: float, *, bias: float = 0.0, curvature: float = 1.0
) -> float:
    r"""$\frac{(\tau - \beta\delta R)_+^2}{2 \beta R^2}$, what success with accuracy $\tau$ promises
    over the null prediction.

    With $\delta = 0$ it is the guarantee of an unbiased start, $\tau^2/(2 \beta R^2)$.

    Args:
        accuracy: $\tau$, below which gradient errors do no harm.
        scale: R, either $R_0 = \sup_x\|\phi_{\theta_0}(x)\|$ or $C_f$.
        bias: $\delta = \sup_x |f_{\theta_0}(x)|$.
        curvature: $\beta$, 1 for the square loss.

    Raises:
        ValueError: for a negative accuracy or bias, or a scale or curvature that is not positive.

    Source: M21, Theorem 4; with a bias, proved in the chapter.

    Examples:
        >>> promised_edge(0.2, 2.0), promised_edge(0.2, 2.0, bias=0.1)
        (0.005, 0.0)
    """
    tau = _validate.number("accuracy", accuracy, at_least=0)
    radius = _validate.number("scale", scale, above=0)
    delta = _validate.number("bias", bias, at_least=0)
    smooth = _validate.number("curvature", curvature, above=0)
    return max(0.0, tau - smooth * delta * radius) ** 2 / (2 * smooth * radius**2)


class TangentPredictor(NamedTuple):
    r"""The predictor h in the tangent kernel's space that the proof of the theorem builds.

    Attributes:
        predictions: h at the distribution's points, `[N]`.
        loss: $\mathcal L(h)$.
        gain: what h gains over where it starts from: $f_{\theta_0}$, or 0 with `from_null`.
        promised: the least gain that the theorem promises.
        bound: the bound on the loss: that of where h starts from, less `promised`.
        norm: $\|w\| R_0$, the norm that h uses.
        norm_bound: B, what the theorem allows.
        scale: R, the features' scale that was used.
        step: s, the length of the step along the gradient.
        stays: whether the gradient at the start is at most $\tau$, so that $h = f_{\theta_0}$.
    """

    predictions: Float[Array, " N"]
    loss: Float[Array, ""]
    gain: Float[Array, ""]
    promised: float
    bound: float
    norm: float
    norm_bound: float
    scale: float
    step: float
    stays: bool


def tangent_edge_from_descent(
    apply: Apply,
    run: Descent,
    distribution: Distribution,
    *,
    accuracy: float | None = None,
    scale: float | None = None,
    from_null: bool = False,
) -> TangentPredictor:
    r"""The predictor $h = f_{\theta_0} - s\,\langle g/\|g\|, \nabla f_{\theta_0}\rangle$ with
    $s = \tau/(\beta R^2)$, and the bound on its loss.

    If $\|g\| = \|\nabla\mathcal L(f_{\theta_0})\| > \tau$ then $\mathcal L(h) \le
    \mathcal L(f_{\theta_0}) - \frac{\tau^2}{2 \beta R^2}$, with norm at most $R +
    \frac{\tau}{\beta R}$. Otherwise the estimate 0 is admissible at every step, no error below
    $\mathcal L(f_{\theta_0})$ is ensured, and $h = f_{\theta_0}$.

    With `from_null=True` the step is taken from the null prediction: $h = -s\,\langle v/\|v\|,
    \nabla f_{\theta_0}\rangle$ with $v = \mathbb E\,\ell'(0, y)\nabla f_{\theta_0}$ and
    $s = (\tau/(\beta R) - \delta)_+/R$, whose gain over the loss of predicting 0 is at least
    `promised_edge(…, bias=δ)`.

    Args:
        apply: the model of the run.
        run: from `descend`; its start, loss and accuracy are what counts.
        distribution: that of the run.
        accuracy: $\tau$; the run's if omitted.
        scale: R, at least $R_0$, such as $C_f$; $R_0$ if omitted, the local form.
        from_null: whether h starts from 0 instead of $f_{\theta_0}$.

    Raises:
        ValueError: for a negative accuracy, or a scale below $R_0$.

    Source: M21, Theorem 4 and equation (15); proved in the chapter.

    Examples:
        >>> from ntklab.descent import descend
        >>> from ntklab.problems import SparseParities
        >>> from ntklab.sparse_parities import selector, step_size, tolerated_error
        >>> problem = SparseParities(n=4, k=2, alpha=0.5)
        >>> member = problem.distribution((0, 1))
        >>> run = descend(selector, jnp.zeros(4), member, step_size=step_size(problem), steps=1,
        ...     accuracy=tolerated_error(problem), estimate="smallest")
        >>> found = tangent_edge_from_descent(selector, run, member)
        >>> found.stays, bool(found.gain >= found.promised)
        (False, True)
    """
    from_null = _validate.flag("from_null", from_null)
    if not isinstance(run, Descent):
        raise ValueError(f"run must be a Descent, got {type(run).__name__}")
    data, loss = distribution_arrays(distribution), run.loss
    tau = _validate.number("accuracy", run.accuracy if accuracy is None else accuracy, at_least=0)
    model = models.view(apply, run.start, data.points.dtype)
    features = np.asarray(_finite_features(model, "distribution.points", data.points))
    local = _radius(features)
    radius = local if scale is None else _validate.number("scale", scale, above=0)
    if radius < local * (1 - 1e-5):
        raise ValueError(f"scale must be at least R₀ = {local:g}, got {radius:g}")
    start, slopes = features[:, 0], features[:, 1:]
    bias = float(np.max(np.abs(start))) if from_null else 0.0
    gradient = np.asarray(_expected(loss, start, slopes, data))
    stays = bool(np.linalg.norm(gradient) <= tau)
    origin = np.zeros_like(start) if from_null else start
    direction = np.asarray(_expected(loss, origin, slopes, data))
    size = float(np.linalg.norm(direction))
    s = max(0.0, tau / (loss.curvature * radius) - bias) / radius if radius > 0 else 0.0
    moved = origin - (s / size if size > 0 else 0.0) * (slopes @ direction)
    h = _validate.from_numpy(start if stays else moved, features.dtype)
    constant = 0.0 if from_null and not stays else 1.0
    promised = 0.0
    if not stays and radius > 0:
        promised = promised_edge(tau, radius, bias=bias, curvature=loss.curvature)
    before = start if stays else origin
    allowed = s * radius if from_null else radius + s * radius
    return TangentPredictor(
        predictions=h,
        loss=mean_loss(loss, h, data),
        gain=loss_decrease(loss, origin, h, data),
        promised=promised,
        bound=float(mean_loss(loss, before, data)) - promised,
        norm=math.hypot(constant, 0.0 if stays else s) * local,
        norm_bound=max(allowed, radius) if stays else allowed,
        scale=radius,
        step=0.0 if stays else s,
        stays=stays,
    )


def _radius(features: Any) -> float:
    return float(np.sqrt(np.max(np.sum(np.asarray(features) ** 2, axis=1))))


@functools.partial(jax.jit, static_argnums=0)
def _expected(
    loss: SmoothLoss, predictions: Array, slopes: Array, data: DistributionArrays
) -> Array:
    """E ℓ′(h(x), y) ∇f(x)."""
    return (data.probabilities * mean_slope(loss, predictions, data)) @ slopes


# --- a run that needs no labels -----------------------------------------------------------------


def label_free_run(
    apply: Apply,
    params: Any,
    distribution: Distribution,
    *,
    step_size: float,
    steps: int,
) -> Any:
    r"""$\theta_{t+1} = \theta_t - \eta\,\mathbb E_x f_{\theta_t}(x)\nabla f_{\theta_t}(x)$:
    gradient descent as if labels were fair coins.

    For the square loss $\nabla\mathcal L = \mathbb E f\nabla f - \mathbb E y\nabla f$; the first
    term takes inputs only. The label means of the distribution are not used.

    Args:
        apply: `apply(params, x) -> [N]` or `[N, 1]`.
        params: $\theta_0$; `models` says what of it is trained.
        distribution: of which the inputs count.
        step_size: $\eta > 0$.
        steps: T.

    Returns:
        The path $\theta_0, \dots, \theta_T$: the pytree with an axis of T + 1 in front of its
        trained leaves.

    Raises:
        ValueError: for a step size that is not positive, a model with more than one output, whose
            rows see each other, or whose first step is not finite.

    Source: M21, Theorem 5, whose proof it is; worked out in the chapter.

    Examples:
        >>> from ntklab.problems import SparseParities
        >>> model = TurningModel(feature=(), target=(0, 1))
        >>> member = SparseParities(2, 2, 0.5).distribution((0, 1))
        >>> path = label_free_run(model, -math.pi / 4, member, step_size=2.0, steps=2)
        >>> path.round(3).tolist()
        [-0.785, 0.215, -0.202]
    """
    data = distribution_arrays(distribution)
    eta = _validate.number("step_size", step_size, above=0)
    steps = _validate.integer("steps", steps, at_least=0)
    model = models.view(apply, params, data.points.dtype)
    program, constants = jacobians.program_of_all("distribution.points", model, data.points)
    path, finite = _label_free_run(
        program, constants, model, data.points, data.probabilities, eta, steps=steps
    )
    _validate.in_range("distribution.points", finite, "first step", data.points.dtype)
    return model.at(path).params()


@functools.partial(jax.jit, static_argnames=("program", "steps"))
def _label_free_run(
    program: Program,
    constants: tuple[Any, ...],
    model: Model,
    points: Array,
    probabilities: Array,
    eta: Any,
    *,
    steps: int,
) -> tuple[tuple[Array, ...], Array]:
    flat = model.flat()

    def energy(theta: Array) -> Array:
        return probabilities @ program.outputs_at(constants, model.at_flat(theta), points) ** 2 / 2

    def step(theta: Array, _: None) -> tuple[Array, Array]:
        moved = theta - eta * jax.grad(energy)(theta)
        return moved, moved

    _, later = jax.lax.scan(step, flat, None, length=steps)
    path = jnp.concatenate([flat[None], later])
    leaves = jax.vmap(lambda theta: model.at_flat(theta).trained)(path)
    return leaves, jnp.all(jnp.isfinite(path[:2]))


class AverageKernel(NamedTuple):
    r"""The average $K = \frac{1}{T+1}\sum_t \mathrm{NTK}_{\theta_t}$ of tangent kernels along a
    path, with the output feature.

    Attributes:
        features: $[\phi_{\theta_0}, \dots, \phi_{\theta_T}]/\sqrt{T+1}$, `[N, (T+1)(p+1)]`.
        rank: of the features at the points, up to rounding.
        dimension: (T+1)(p+1), which the rank cannot exceed.
        radius: $\sup_x \sqrt{K(x, x)}$ over the points.
    """

    features: Float[Array, "N dimension"]
    rank: int
    dimension: int
    radius: float


def average_tangent_kernel(apply: Apply, path: Any, x: Any) -> AverageKernel:
    r"""The kernel $K = \mathbb E_{\theta\sim\mathcal W}\mathrm{NTK}_\theta$, $\mathcal W$ uniform
    on the points of a path.

    Args:
        apply: `apply(params, x) -> [N]` or `[N, 1]`.
        path: parameters with an axis of T + 1 in front, as `label_free_run` returns them.
        x: inputs `[N, ...]`.

    Returns:
        Features, which `edge` takes, with their rank, dimension and radius.

    Raises:
        ValueError: for leaves of different lengths, NaN, or a model with more than one output.

    Source: M21, Theorem 5.

    Examples:
        >>> from ntklab.cube import hypercube
        >>> from ntklab.sparse_parities import selector
        >>> kernel = average_tangent_kernel(selector, jnp.zeros((3, 2)), hypercube(2))
        >>> kernel.rank, kernel.dimension
        (2, 9)
    """
    return _average(_features_along(apply, path, "x", models.inputs("x", x, apply)))


def _average(stacked: np.ndarray) -> AverageKernel:
    steps, count, size = stacked.shape
    features = stacked.transpose(1, 0, 2).reshape(count, steps * size)
    features = features / np.asarray(math.sqrt(steps), features.dtype)
    rank = int(np.linalg.matrix_rank(features))
    return AverageKernel(
        _validate.from_numpy(features, features.dtype), rank, steps * size, _radius(features)
    )


def _features_along(apply: Any, path: Any, name: str, x: Array) -> np.ndarray:
    """Features at every point of a path, `[T + 1, N, p + 1]`."""
    model = models.view(apply, path, _floating(x))
    # By NumPy: JAX would compile a program for each of the slices.
    leaves = [np.asarray(leaf) for leaf in model.trained]
    lengths = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            f"path must have an axis of T + 1 in front of every leaf, got lengths {sorted(lengths)}"
        )
    steps = [
        model.at(tuple(_validate.from_numpy(leaf[t], leaf.dtype) for leaf in leaves))
        for t in range(lengths.pop())
    ]
    return np.stack([np.asarray(_finite_features(step, name, x)) for step in steps])


class Promise(NamedTuple):
    r"""What success from any start promises to the kernels along the label-free run.

    Attributes:
        edge: $\gamma'$.
        norm_bound: B.
    """

    edge: float
    norm_bound: float


def promised_average_edge(
    gamma: float, accuracy: float, scale: float, steps: int, *, printed: bool = False
) -> Promise:
    r"""$\gamma' = \frac{1}{T+1}\min\{\gamma, \frac{\tau^2}{2C_f^2}\}$ and $B = \max\{C_f,
    \tau/C_f\}$.

    With `printed=True` the source's $\gamma' = \min\{\frac{\gamma}{T+1}, \frac{\tau^2}{2C_f^2}\}$
    and $B = \sqrt{2\gamma'}\,C_f$, which no proof can reach.

    Args:
        gamma: $\gamma$, what gradient descent ensures below the loss ½ of the null prediction.
        accuracy: $\tau$.
        scale: $C_f$.
        steps: T.
        printed: whether to give the source's values.

    Raises:
        ValueError: for values that are negative, or a scale of 0.

    Source: M21, Theorem 5, and its correction in the chapter.

    Examples:
        >>> promised_average_edge(0.4, 0.2, 1.0, 1)
        Promise(edge=0.010000000000000002, norm_bound=1.0)
    """
    printed = _validate.flag("printed", printed)
    gamma = _validate.number("gamma", gamma, at_least=0)
    tau = _validate.number("accuracy", accuracy, at_least=0)
    radius = _validate.number("scale", scale, above=0)
    steps = _validate.integer("steps", steps, at_least=0)
    local = tau**2 / (2 * radius**2)
    if printed:
        value = min(gamma / (steps + 1), local)
        return Promise(value, math.sqrt(2 * value) * radius)
    return Promise(min(gamma, local) / (steps + 1), max(radius, tau / radius))


class LabelFreeEdge(NamedTuple):
    r"""Edges of the tangent kernels along a label-free run, with the predictor that proves them.

    Attributes:
        correlations: $\|\mathbb E\,y\nabla f_{\theta_t}\|$ for t = 0, …, T, `[T + 1]`.
        time: the t whose kernel holds the predictor: that of the largest correlation before T if
            it exceeds $\tau$, and T otherwise.
        predictions: the predictor $h_t$, `[N]`.
        edge: its edge.
        norm: $\|w_t\| R$, at most `norm_bound`.
        norm_bound: $B = \max\{R, \tau/R\}$.
        edges: exact, of the ball B of each kernel, `[T + 1]`; their mean is the guarantee's left
            side.
        kernel_edge: exact, of the ball B of the average kernel.
        kernel_edge_wide: exact, of the ball $\sqrt{T+1}\,B$ of the average kernel.
        rank: of the average kernel.
        scale: R, that of the features.
    """

    correlations: Float[Array, " steps_and_one"]
    time: int
    predictions: Float[Array, " N"]
    edge: Float[Array, ""]
    norm: float
    norm_bound: float
    edges: Float[Array, " steps_and_one"]
    kernel_edge: Float[Array, ""]
    kernel_edge_wide: Float[Array, ""]
    rank: int
    scale: float


def edge_from_label_free_run(
    apply: Apply,
    path: Any,
    distribution: Distribution,
    *,
    accuracy: float,
    scale: float | None = None,
) -> LabelFreeEdge:
    r"""Which kernel along the label-free run has an edge, and what the average kernel makes of it.

    If $c_t = \|\mathbb E\,y\nabla f_{\theta_t}\| > \tau$ for some t < T then $h_t = s\,\langle
    \mathbb E\,y\nabla f/c_t, \nabla f_{\theta_t}\rangle$ with $s = \tau/R^2$ has an edge of at
    least $\tau^2/(2R^2)$. Otherwise the label-free gradients were admissible estimates throughout,
    and $h_T = f_{\theta_T}$ is what gradient descent with accuracy $\tau$ may end with.

    Args:
        apply: `apply(params, x) -> [N]` or `[N, 1]`.
        path: from `label_free_run`.
        distribution: with its labels; the square loss.
        accuracy: $\tau$.
        scale: R, a bound on the features' norm along the path, such as $C_f$; the largest one
            on the path if omitted.

    Raises:
        ValueError: for a negative accuracy, a path of another form, or a scale that is too small.

    Source: M21, Theorem 5; corrected and proved in the chapter.

    Examples:
        >>> from ntklab.cube import hypercube
        >>> model = TurningModel(feature=(), target=(0, 1))
        >>> points = hypercube(2)
        >>> member = Distribution(points, jnp.full(4, 0.25), points[:, 0] * points[:, 1])
        >>> path = label_free_run(model, -math.pi / 4, member, step_size=12.0, steps=1)
        >>> found = edge_from_label_free_run(model, path, member, accuracy=0.1)
        >>> found.edges.round(4).tolist(), found.time
        ([0.0, 0.5], 1)
    """
    data = distribution_arrays(distribution)
    tau = _validate.number("accuracy", accuracy, at_least=0)
    stacked = _features_along(apply, path, "distribution.points", data.points)
    local = max(_radius(features) for features in stacked)
    radius = local if scale is None else _validate.number("scale", scale, above=0)
    if radius < local * (1 - 1e-5):
        raise ValueError(f"scale must be at least {local:g}, the largest norm of the features")
    if radius == 0:
        raise ValueError("path must have features that are not 0 everywhere")
    weights = np.asarray(data.probabilities) * np.asarray(data.label_means)
    directions = weights @ stacked[:, :, 1:]
    correlations = np.linalg.norm(directions, axis=1)
    last = len(stacked) - 1
    time = last if last == 0 else int(np.argmax(correlations[:-1]))
    if time < last and float(correlations[time]) > tau:
        size = tau / radius**2
        h = size * (stacked[time, :, 1:] @ directions[time]) / correlations[time]
    else:
        time, size, h = last, 1.0, stacked[last, :, 0]
    predictions = _validate.from_numpy(h, stacked.dtype)
    bound = max(radius, tau / radius)
    found = [edge(features, distribution, bound).edge for features in stacked]
    average = _average(stacked)
    balls = (bound, bound * math.sqrt(last + 1))
    narrow, wide = (edge(average.features, distribution, ball).edge for ball in balls)
    return LabelFreeEdge(
        correlations=_validate.from_numpy(correlations, stacked.dtype),
        time=time,
        predictions=predictions,
        edge=loss_decrease(SQUARE, np.zeros_like(h), predictions, data),
        norm=size * _radius(stacked[time]),
        norm_bound=bound,
        edges=_validate.from_numpy(np.stack(found), stacked.dtype),
        kernel_edge=narrow,
        kernel_edge_wide=wide,
        rank=average.rank,
        scale=radius,
    )


# --- a model on which the guarantees are attained -----------------------------------------------


@dataclass(frozen=True)
class TurningModel:
    r"""$f_\theta(x) = c\,\psi(x)\sin\bigl(\mathrm{clip}(\theta, -\tfrac\pi2, \pi - \tfrac\pi2
    \psi(x)\chi(x))\bigr)$: one parameter that turns a feature $\psi$ into the answer $\chi$.

    $(f_\theta, \partial_\theta f_\theta)$ moves on a circle of radius c, so $C_f = c$ exactly.
    Where feature and answer agree it stops at a quarter turn, elsewhere half a turn later: at
    $\theta \ge 3\pi/2$ the model is $c\,\chi$. Until $\theta = \pi/2$ all inputs turn together,
    and its tangent kernel knows $\psi$ only.

    Args:
        feature: coordinates whose product is $\psi$; none for the constant 1.
        target: coordinates whose product is $\chi$.
        size: $c > 0$.

    Raises:
        ValueError: for coordinates that come twice, or a size that is not positive.

    Source: the chapter's.

    Examples:
        >>> from ntklab.cube import hypercube
        >>> model = TurningModel(feature=(0,), target=(0, 1))
        >>> model(jnp.asarray(1.5 * math.pi), hypercube(2)).round(5).tolist()
        [1.0, -1.0, -1.0, 1.0]
    """

    feature: tuple[int, ...]
    target: tuple[int, ...]
    size: float = 1.0

    def __post_init__(self) -> None:
        for name in ("feature", "target"):
            chosen = getattr(self, name)
            if not isinstance(chosen, Sequence) or isinstance(chosen, str):
                raise ValueError(f"{name} must be a sequence of coordinates, got {chosen!r}")
            subset_number(chosen)
            object.__setattr__(self, name, tuple(int(i) for i in chosen))
        object.__setattr__(self, "size", _validate.number("size", self.size, above=0))

    def __call__(
        self, theta: Float[Array | np.ndarray, ""] | float, x: Float[Array | np.ndarray, "N n"]
    ) -> Float[Array, " N"]:
        """The outputs at the points x."""
        x = _validate.points("x", x)
        angle = _validate.floating("theta", theta, ndim=0).astype(x.dtype)
        feature = character(self.feature, x)
        agreement = feature * character(self.target, x)
        stopped = jnp.clip(angle, -math.pi / 2, math.pi - math.pi / 2 * agreement)
        return self.size * feature * jnp.sin(stopped)
