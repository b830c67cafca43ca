r"""Losses with a bounded second derivative, and gradient descent whose gradients have errors."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _validate, jacobians, models
from ntklab.models import Apply, Model
from ntklab.problems import Distribution, DistributionArrays, distribution_arrays
from ntklab.programs import Program

__all__ = [
    "ESTIMATES",
    "LOGISTIC",
    "SQUARE",
    "Descent",
    "SmoothLoss",
    "checked_loss",
    "descend",
    "loss_decrease",
    "mean_loss",
    "mean_slope",
    "population_loss",
]


@dataclass(frozen=True)
class SmoothLoss:
    r"""A loss $\ell(\hat y, y)$ for labels y = ±1 with $|\ell''| \le \beta$ in its first argument.

    Args:
        value: $\ell$, elementwise on arrays of predictions and labels.
        curvature: $\beta > 0$, a bound that the caller vouches for.

    Raises:
        ValueError: for a value that is not a function or a curvature that is not positive.

    Source: M21, section 2.

    Examples:
        >>> huber = SmoothLoss(lambda f, y: jnp.sqrt(1 + (f - y) ** 2), 1.0)
        >>> huber.curvature
        1.0
    """

    value: Callable[[Array, Array], Array]
    curvature: float

    def __post_init__(self) -> None:
        if not callable(self.value):
            raise ValueError(f"value must be a function of (predictions, labels), got {self.value}")
        object.__setattr__(
            self, "curvature", _validate.number("curvature", self.curvature, above=0)
        )


def _square(predictions: Array, labels: Array) -> Array:
    return (predictions - labels) ** 2 / 2


def _logistic(predictions: Array, labels: Array) -> Array:
    return jax.nn.softplus(-labels * predictions)


#: $\tfrac12(\hat y - y)^2$, with $\beta = 1$.
SQUARE = SmoothLoss(_square, 1.0)


#: $\log(1 + e^{-y \hat y})$, with $\beta = \tfrac14$.
LOGISTIC = SmoothLoss(_logistic, 0.25)


def population_loss(
    predictions: Float[Array | np.ndarray, " N"],
    distribution: Distribution,
    loss: SmoothLoss = SQUARE,
) -> Float[Array, ""]:
    r"""$\mathcal L(h) = \mathbb E\,\ell(h(x), y)$ for labels ±1.

    Args:
        predictions: h at the distribution's points.
        distribution: where the loss is taken.
        loss: `SQUARE`, `LOGISTIC` or another `SmoothLoss`.

    Raises:
        ValueError: if there is not one prediction for each point, or for another kind of loss.

    Examples:
        >>> from ntklab.problems import SparseParities
        >>> member = SparseParities(4, 2, 0.1).distribution((0, 1))
        >>> round(float(population_loss(jnp.zeros(16), member, LOGISTIC)), 4)
        0.6931
    """
    data, loss = distribution_arrays(distribution), checked_loss(loss)
    h = _validate.floating("predictions", predictions, ndim=1)
    if h.shape != data.probabilities.shape:
        raise ValueError(f"predictions must have shape {data.probabilities.shape}, got {h.shape}")
    return mean_loss(loss, h.astype(data.points.dtype), data)


def checked_loss(loss: Any) -> SmoothLoss:
    """The loss, if it is one.

    Args:
        loss: `SQUARE`, `LOGISTIC` or another `SmoothLoss`.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> checked_loss(SQUARE).curvature
        1.0
    """
    _validate.instance("loss", loss, SmoothLoss)
    return loss


@functools.partial(jax.jit, static_argnums=0)
def mean_loss(loss: SmoothLoss, predictions: Array, data: DistributionArrays) -> Array:
    r"""$\mathbb E\,\ell(h(x), y)$ for arguments that are checked already, as inside a program.

    Args:
        loss: the loss.
        predictions: h at the distribution's points, `[N]`.
        data: the distribution, as `problems.distribution_arrays` returns it.

    Examples:
        >>> halves = distribution_arrays(Distribution(np.eye(2), np.full(2, 0.5), np.ones(2)))
        >>> float(mean_loss(SQUARE, jnp.zeros(2), halves))
        0.5
    """
    ones = jnp.ones_like(predictions)
    up, down = loss.value(predictions, ones), loss.value(predictions, -ones)
    mean = (up + down) / 2 + data.label_means * (up - down) / 2
    return data.probabilities @ mean


def mean_slope(loss: SmoothLoss, predictions: Array, data: DistributionArrays) -> Array:
    r"""$\mathbb E[\ell'(h(x), y) \mid x]$ at each point, `[N]`, for checked arguments.

    Args:
        loss: the loss.
        predictions: h at the distribution's points, `[N]`.
        data: the distribution, as `problems.distribution_arrays` returns it.

    Examples:
        >>> halves = distribution_arrays(Distribution(np.eye(2), np.full(2, 0.5), np.ones(2)))
        >>> mean_slope(SQUARE, jnp.zeros(2), halves).tolist()
        [-1.0, -1.0]
    """
    ones = jnp.ones_like(predictions)
    up, down = (
        jax.grad(lambda f, y=labels: jnp.sum(loss.value(f, y)))(predictions)
        for labels in (ones, -ones)
    )
    return (up + down) / 2 + data.label_means * (up - down) / 2


# Gauss–Legendre nodes: a loss that changes little is integrated along its change, since the
# difference of two losses would lose all digits of an edge of 1e-8.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


@functools.partial(jax.jit, static_argnums=0)
def loss_decrease(loss: SmoothLoss, before: Array, after: Array, data: DistributionArrays) -> Array:
    r"""$\mathcal L(\text{before}) - \mathcal L(\text{after})$, accurate however small it is.

    Args:
        loss: the loss.
        before: predictions at the distribution's points, `[N]`.
        after: other predictions there.
        data: the distribution, as `problems.distribution_arrays` returns it.

    Examples:
        >>> halves = distribution_arrays(Distribution(np.eye(2), np.full(2, 0.5), np.ones(2)))
        >>> round(float(loss_decrease(SQUARE, jnp.zeros(2), jnp.ones(2), halves)), 6)
        0.5
    """
    change = after - before
    nodes, weights = (jnp.asarray(a / 2, before.dtype) for a in (_NODES + 1, _WEIGHTS))

    def term(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        node, weight = pair
        slope = mean_slope(loss, before + node * change, data)
        return total - weight * (data.probabilities @ (slope * change)), None

    return jax.lax.scan(term, jnp.zeros((), before.dtype), (nodes, weights))[0]


#: How the gradient's estimate is chosen among the admissible ones.
ESTIMATES = ("exact", "random", "smallest")


class Descent(NamedTuple):
    r"""A run of $\tau$-approximate gradient descent.

    Attributes:
        start: parameters before the first step.
        end: parameters after the last step.
        losses: $\mathcal L(f_{\theta_t})$ for t = 0, …, T, `[T + 1]`.
        gradient_norms: $\|\nabla\mathcal L(f_{\theta_t})\|$, exact, `[T + 1]`.
        step_size: $\eta$.
        accuracy: $\tau$.
        loss: the loss that was descended.
    """

    start: Any
    end: Any
    losses: Float[Array, " steps_and_one"]
    gradient_norms: Float[Array, " steps_and_one"]
    step_size: float
    accuracy: float
    loss: SmoothLoss


def descend(
    apply: Apply,
    params: Any,
    distribution: Distribution,
    *,
    step_size: float,
    steps: int,
    accuracy: float = 0.0,
    estimate: str = "exact",
    loss: SmoothLoss = SQUARE,
    seed: int = 0,
) -> Descent:
    r"""$\theta_{t+1} = \theta_t - \eta g_t$ with $\|g_t - \nabla\mathcal L(f_{\theta_t})\| \le
    \tau$; gradients of the population loss, by enumeration.

    The estimate $g_t$ is the gradient itself (`exact`), the gradient plus an error of norm
    $\tau$ in a random direction (`random`), or the shortest admissible vector (`smallest`):
    the gradient, shortened by $\tau$, and 0 as soon as its norm is at most $\tau$.

    Args:
        apply: `apply(params, x) -> [N]` or `[N, 1]`.
        params: where to start; `models` says what of it is trained.
        distribution: whose loss is descended.
        step_size: $\eta > 0$.
        steps: T.
        accuracy: $\tau \ge 0$.
        estimate: one of `ESTIMATES`.
        loss: `SQUARE`, `LOGISTIC` or another `SmoothLoss`.
        seed: of the random errors.

    Raises:
        ValueError: for an unknown estimate, a negative accuracy, a step size that is not positive,
            a model with more than one output, whose rows see each other, or whose loss at the
            start is not finite.

    Source: M21, equations (1) and (2).

    Examples:
        >>> from ntklab.problems import SparseParities
        >>> from ntklab.sparse_parities import selector, step_size
        >>> problem = SparseParities(n=4, k=2, alpha=0.5)
        >>> run = descend(selector, jnp.zeros(4), problem.distribution((0, 1)),
        ...     step_size=step_size(problem), steps=1)
        >>> run.losses.round(6).tolist()
        [0.5, 0.0]
    """
    data, loss = distribution_arrays(distribution), checked_loss(loss)
    eta = _validate.number("step_size", step_size, above=0)
    tau = _validate.number("accuracy", accuracy, at_least=0)
    steps = _validate.integer("steps", steps, at_least=0)
    _validate.choice("estimate", estimate, ESTIMATES)
    key = jax.random.key(_validate.integer("seed", seed, at_least=0))
    model = models.view(apply, params, data.points.dtype)
    program, constants = jacobians.program_of_all("distribution.points", model, data.points)
    # Which estimate it is enters as numbers, so that all of them are one compiled program.
    errors = tuple(tau if estimate == name else 0.0 for name in ("random", "smallest"))
    end, losses, norms = _descend(
        program, constants, model, data, key, eta, errors, loss=loss, steps=steps
    )
    if _validate.concrete(losses):
        finite = np.isfinite(losses[0]) and np.isfinite(norms[0])
        _validate.in_range("distribution.points", finite, "loss at the start", losses.dtype)
    return Descent(model.params(), model.at(end).params(), losses, norms, eta, tau, loss)


@functools.partial(jax.jit, static_argnames=("program", "loss", "steps"))
def _descend(
    program: Program,
    constants: tuple[Any, ...],
    model: Model,
    data: DistributionArrays,
    key: Array,
    eta: Any,
    errors: tuple[Any, ...],
    *,
    loss: SmoothLoss,
    steps: int,
) -> tuple[tuple[Array, ...], Array, Array]:
    @jax.value_and_grad
    def objective(theta: Array) -> Array:
        outputs = program.outputs_at(constants, model.at_flat(theta), data.points)
        return mean_loss(loss, outputs, data)

    def step(theta: Array, t: Array) -> tuple[Array, tuple[Array, Array]]:
        value, slope = objective(theta)
        norm = jnp.sqrt(jnp.sum(slope**2))
        shortened = slope * jnp.maximum(0, 1 - errors[1] / jnp.where(norm > 0, norm, 1))
        direction = jax.random.normal(jax.random.fold_in(key, t), slope.shape, slope.dtype)
        chosen = shortened + errors[0] / jnp.linalg.norm(direction) * direction
        return theta - eta * chosen, (value, norm)

    end, (losses, norms) = jax.lax.scan(step, model.flat(), jnp.arange(steps))
    value, slope = objective(end)
    losses = jnp.append(losses.astype(value.dtype), value)
    norms = jnp.append(norms.astype(value.dtype), jnp.linalg.norm(slope))
    return model.at_flat(end).trained, losses, norms
