r"""The best predictor in a ball of a kernel's space, exactly: its edge over predicting 0."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntklab import _validate
from ntklab.cube import enumerable, hypercube, subset_number, sums_over_signs
from ntklab.problems import (
    Distribution,
    LeakyParities,
    ParityProblem,
    SparseParities,
    distribution_arrays,
)

__all__ = [
    "BestPredictor",
    "edge",
    "edge_from_moments",
    "edges",
    "parity_edges",
]

# A kernel as a function: K(x1, x2), `[N1, N2]`.
Kernel = Callable[[Array, Array], Array]


class BestPredictor(NamedTuple):
    r"""The minimizer of the square loss in $\mathcal F(K, B)$.

    Attributes:
        edge: $\gamma = \tfrac12 - L$, what it gains over predicting 0.
        loss: its loss L.
        norm: $\|w\| R$, at most B.
        predictions: its values at the distribution's points, `[N]`.
        multiplier: $\nu \ge 0$ of the norm constraint; 0 where the constraint is slack.
    """

    edge: Float[Array, ""]
    loss: Float[Array, ""]
    norm: Float[Array, ""]
    predictions: Float[Array, " N"]
    multiplier: Float[Array, ""]


def edge(
    kernel: Kernel | Float[Array | np.ndarray, "N p"],
    distribution: Distribution,
    norm_bound: float = math.inf,
) -> BestPredictor:
    r"""The best predictor in $\mathcal F(K, B) = \{\langle w, \phi(\cdot)\rangle : \|w\| R \le
    B\}$, exactly.

    With $\Sigma = \mathbb E\, \phi\phi^{\mathsf T}$ and $c = \mathbb E\, y\phi$ it minimizes
    $\tfrac12 w^{\mathsf T}\Sigma w - c \cdot w$ over a ball. In the eigenbasis of $\Sigma$ the
    solution is $w_i = c_i/(\lambda_i + \nu)$, and the multiplier $\nu$ solves one equation in one
    unknown: Newton's method, to the last digits. The edge is $\sup \bigl(\mathbb E\, hy -
    \tfrac12\mathbb E\, h^2\bigr)$.

    Args:
        kernel: a function K(x1, x2) → `[N1, N2]`, or the features φ at the distribution's points,
            `[N, p]`.
        distribution: inputs with their label means.
        norm_bound: B ≥ 0; `inf` for the whole space. $R^2$ is the largest K(x, x) over the points.

    Returns:
        Edge, loss, norm, predictions, multiplier. A kernel's values are taken as known to 16 units
        in the last place of $R^2$: directions with $\lambda_i \le 16\,\mathrm{eps}\,R^2$ count
        as not reached, and hide an edge of at most $4 B \sqrt{\mathrm{eps}}$, 0.0014 B in float32.
        Features are better conditioned: theirs are those below
        $(N\,\mathrm{eps})^2 \lambda_1$.

    Raises:
        ValueError: for a negative or NaN bound, features or a kernel of another shape, NaN, a
            kernel that is not symmetric or not positive semidefinite.

    Source: M21, equations (6) and (7); square loss, labels ±1.

    Examples:
        >>> member = SparseParities(n=4, k=2, alpha=0.5).distribution((0, 1))
        >>> best = edge(lambda x1, x2: x1 @ x2.T, member)
        >>> round(float(best.edge), 4)
        0.0556
        >>> bool(edge(member.points, member, norm_bound=0.1).norm <= 0.1 + 1e-6)
        True
    """
    points, probabilities, label_means = distribution_arrays(distribution)
    norm_bound = _validate.bound("norm_bound", norm_bound)
    spectrum = _checked_spectrum(*_features_or_gram(kernel, points), probabilities)
    return _best(spectrum, probabilities, label_means, norm_bound)


def edges(
    kernel: Kernel | Float[Array | np.ndarray, "points p"],
    problem: ParityProblem,
    norm_bound: float = math.inf,
) -> Float[Array, " members"]:
    """The edge on every member of a learning problem, in the order of `problem.subsets()`.

    Args:
        kernel: a function K(x1, x2), or the features at the points of the cube.
        problem: with n at most `MAX_ENUMERATION`.
        norm_bound: B, as for `edge`.

    Raises:
        ValueError: as `edge`, and if n is too large to enumerate.

    Examples:
        >>> edges(lambda x1, x2: x1 @ x2.T, LeakyParities(3, 0.2)).round(6).tolist()
        [0.0, 0.0, 0.0, 0.0]
    """
    _validate.instance("problem", problem, SparseParities, LeakyParities)
    enumerable(problem.n, "dimension_bound and sharp_norm_bound hold for any n")
    norm_bound = _validate.bound("norm_bound", norm_bound)
    points = _cube(problem.n, kernel)
    features, gram = _features_or_gram(kernel, points)
    if problem.fixed_inputs:
        first = next(iter(problem.subsets()))
        member = problem.distribution(first, dtype=points.dtype)
        chances = distribution_arrays(member).probabilities
        numbers = np.array([subset_number(subset) for subset in problem.subsets()])
        spectrum = _checked_spectrum(features, gram, chances)
        return _solve_alike(spectrum, chances, numbers, norm_bound)
    _validate.positive_semidefinite("kernel", gram)
    with jax.ensure_compile_time_eval():  # known, even where the kernel is traced
        members = [problem.distribution(subset, dtype=points.dtype) for subset in problem.subsets()]
        probabilities = np.stack([np.asarray(member.probabilities) for member in members])
        labels = np.stack([np.asarray(member.label_means) for member in members])
    return _solve_each(features, gram, probabilities, labels, norm_bound)


def parity_edges(
    kernel: Kernel | Float[Array | np.ndarray, "points p"], n: int, norm_bound: float = math.inf
) -> Float[Array, " subsets"]:
    r"""The edge on all $2^n$ parities under uniform inputs, indexed by `subset_number`.

    One eigendecomposition and one Walsh–Hadamard transform of its eigenvectors serve them all.

    Args:
        kernel: a function K(x1, x2), or the features at the points of `hypercube(n)`.
        n: number of coordinates.
        norm_bound: B, as for `edge`.

    Raises:
        ValueError: as `edge`, and if n exceeds `MAX_ENUMERATION`.

    Examples:
        >>> parity_edges(hypercube(2), 2).round(6).tolist()
        [0.0, 0.5, 0.5, 0.0]
    """
    n = enumerable(n, "dimension_bound and sharp_norm_bound hold for any n")
    norm_bound = _validate.bound("norm_bound", norm_bound)
    points = _cube(n, kernel)
    uniform = _validate.from_numpy(np.full(len(points), 1 / len(points)), points.dtype)
    spectrum = _checked_spectrum(*_features_or_gram(kernel, points), uniform)
    return _solve_alike(spectrum, uniform, np.arange(len(points)), norm_bound)


def edge_from_moments(
    second: Float[Array | np.ndarray, "p p"],
    correlation: Float[Array | np.ndarray, " p"],
    radius: float = math.inf,
) -> Float[Array, ""]:
    r"""$\max_{\|w\| \le \rho} \; c \cdot w - \tfrac12 w^{\mathsf T}\Sigma w$: the edge where
    features have known moments, for any n.

    Args:
        second: $\Sigma = \mathbb E\,\phi\phi^{\mathsf T}$.
        correlation: $c = \mathbb E\,y\phi$, in the range of $\Sigma$.
        radius: $\rho = B/R$.

    Raises:
        ValueError: for shapes that do not fit, a matrix that is not symmetric or not positive
            semidefinite, a negative radius.

    Examples:
        >>> float(edge_from_moments(jnp.eye(2), jnp.array([0.3, 0.4])))
        0.125
        >>> round(float(edge_from_moments(jnp.eye(2), jnp.array([0.3, 0.4]), 0.1)), 4)
        0.045
    """
    sigma = _validate.floating("second", second, ndim=2)
    c = _validate.floating("correlation", correlation, ndim=1)
    if sigma.shape != (len(c), len(c)):
        raise ValueError(f"second must have shape {(len(c), len(c))}, got {sigma.shape}")
    _validate.symmetric("second", sigma)
    _validate.positive_semidefinite("second", sigma)
    return _solve_moments(sigma, c.astype(sigma.dtype), _validate.bound("radius", radius))


@jax.jit
def _solve_moments(sigma: Array, c: Array, radius: Any) -> Array:
    found, vectors = jnp.linalg.eigh(sigma)
    cutoff = len(c) * jnp.finfo(found.dtype).eps * jnp.max(jnp.abs(found))
    unreached = found <= cutoff
    values = jnp.where(unreached, 0, found)
    along = vectors.T @ c
    targets = jnp.where(unreached, 0, along / jnp.sqrt(jnp.where(unreached, 1, values)))
    spectrum = _Spectrum(values, vectors, unreached, jnp.ones((), sigma.dtype), found)
    return _solve(spectrum, targets, radius)[1]


class _Spectrum(NamedTuple):
    """Eigenpairs of the kernel's operator, √P K √P, and R.

    `unreached` marks eigenvalues that are 0 up to rounding; `found` are all of them as computed.
    """

    values: Array
    vectors: Array
    unreached: Array
    radius: Array
    found: Array


def _cube(n: int, kernel: Any) -> Array:
    """The points of the cube, in the dtype of features if there are features."""
    dtype = None if callable(kernel) else getattr(kernel, "dtype", None)
    follows = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
    return hypercube(n, dtype=jax.dtypes.canonicalize_dtype(dtype) if follows else None)


def _features_or_gram(kernel: Any, points: Array) -> tuple[Array | None, Array | None]:
    """Features [N, p] or the Gram matrix [N, N]; exactly one of the two."""
    if callable(kernel):
        gram = _validate.floating("kernel", kernel(points, points), ndim=2)
        if gram.shape != (len(points), len(points)):
            raise ValueError(
                f"kernel must return shape {(len(points), len(points))}, got {gram.shape}"
            )
        _validate.symmetric("kernel", gram)
        if _validate.concrete(gram):
            least = float(np.min(np.diagonal(np.asarray(gram))))
            if least < 0:
                raise ValueError(f"kernel must have K(x, x) at least 0, got {least:g}")
        return None, gram.astype(points.dtype)
    features = _validate.floating("kernel", kernel, ndim=2)
    if len(features) != len(points):
        raise ValueError(
            f"kernel must be a function or features of {len(points)} points, got {features.shape}"
        )
    return features.astype(points.dtype), None


def _checked_spectrum(
    features: Array | None, gram: Array | None, probabilities: Array
) -> _Spectrum:
    """The spectrum of a kernel, refused if it shows that it is none."""
    spectrum = _spectrum(features, gram, probabilities)
    if gram is not None:
        _validate.positive_semidefinite("kernel", gram, eigenvalues=spectrum.found)
    return spectrum


@jax.jit
def _spectrum(features: Array | None, gram: Array | None, probabilities: Array) -> _Spectrum:
    roots = jnp.sqrt(probabilities)
    if features is not None:
        vectors, singular, _ = jnp.linalg.svd(roots[:, None] * features, full_matrices=False)
        radius = jnp.sqrt(jnp.max(jnp.sum(features**2, axis=1)))
        # Singular values are accurate to eps, their squares only where they are not that small.
        unreached = singular <= len(roots) * jnp.finfo(singular.dtype).eps * jnp.max(singular)
        values = jnp.where(unreached, 0, singular**2)
        return _Spectrum(values, vectors, unreached, radius, values)
    assert gram is not None
    values, vectors = jnp.linalg.eigh(roots[:, None] * gram * roots)
    largest = jnp.max(jnp.diagonal(gram))
    # Entries known to c units in the last place of R² leave eigenvalues known to c eps R²,
    # whatever the number of points: ‖√P E √P‖ ≤ max |E|.
    unreached = values <= 16 * jnp.finfo(values.dtype).eps * largest
    reached = jnp.where(unreached, 0, values)
    return _Spectrum(reached, vectors, unreached, jnp.sqrt(largest), values)


# Steps taken, ν, its bracket, whether the last step moved it.
_Search = tuple[Array, Array, Array, Array, Array]


def _shifted(spectrum: _Spectrum, nu: Array) -> Array:
    """λ + ν, and 1 in the directions that are not reached."""
    return jnp.where(spectrum.unreached, 1, spectrum.values + nu)


@jax.jit
def _solve(spectrum: _Spectrum, targets: Array, norm_bound: Any) -> tuple[Array, Array, Array]:
    """Multiplier, edge and norm; `targets` are the coordinates of y in the eigenbasis."""
    values, radius = spectrum.values, spectrum.radius
    t2 = jnp.where(spectrum.unreached, 0, targets**2)

    def square_norm(nu: Array) -> Array:
        return jnp.sum(values * t2 / _shifted(spectrum, nu) ** 2)

    reach = jnp.asarray(norm_bound, values.dtype) / jnp.where(radius > 0, radius, 1)
    tight = square_norm(jnp.zeros((), values.dtype)) > reach**2
    # ‖w(ν)‖ ≤ ‖c‖/ν gives the upper end, where the norm is at most B/R.
    finite = jnp.where(jnp.isfinite(reach) & (reach > 0), reach, 1)
    top = jnp.sqrt(jnp.sum(values * t2)) / finite

    def newton(state: _Search) -> _Search:
        # 1/‖w(ν)‖ is nearly straight in ν: a few steps are enough, bisection guards the rest.
        count, nu, low, high, _ = state
        safe = _shifted(spectrum, nu)
        square, cubic = jnp.sum(values * t2 / safe**2), jnp.sum(values * t2 / safe**3)
        norm = jnp.sqrt(square)
        low, high = jnp.where(norm > finite, nu, low), jnp.where(norm > finite, high, nu)
        step = (norm / finite - 1) * square / jnp.where(cubic > 0, cubic, 1)
        inside = (nu + step >= low) & (nu + step <= high)
        moved = jnp.where(inside, nu + step, (low + high) / 2)
        return count + 1, moved, low, high, jnp.abs(moved - nu) > 4 * eps * moved

    def going(state: _Search) -> Array:
        return (state[0] < 100) & state[4] & tight

    zero, eps = jnp.zeros((), values.dtype), jnp.finfo(values.dtype).eps
    start = (jnp.zeros((), int), zero, zero, top, jnp.ones((), bool))
    _, solved, *_ = jax.lax.while_loop(going, newton, start)
    nu = jnp.where(tight, solved, 0)
    shrunk = values / _shifted(spectrum, nu)
    gain = jnp.sum(t2 * shrunk * (1 - shrunk / 2))
    norm = jnp.sqrt(square_norm(nu)) * radius
    nothing = reach == 0
    return nu, jnp.where(nothing, 0, gain), jnp.where(nothing, 0, norm)


@jax.jit
def _best(
    spectrum: _Spectrum, probabilities: Array, label_means: Array, norm_bound: Any
) -> BestPredictor:
    roots = jnp.sqrt(probabilities)
    targets = spectrum.vectors.T @ (roots * label_means)
    multiplier, gain, norm = _solve(spectrum, targets, norm_bound)
    shrunk = spectrum.values / _shifted(spectrum, multiplier)
    weighted = spectrum.vectors @ (shrunk * targets)
    # At a point of probability 0 the loss says nothing about h; report 0.
    predictions = jnp.where(roots > 0, weighted / jnp.where(roots > 0, roots, 1), 0)
    return BestPredictor(gain, 0.5 - gain, norm, predictions, multiplier)


@jax.jit
def _solve_alike(spectrum: _Spectrum, probabilities: Array, numbers: Any, norm_bound: Any) -> Array:
    """Edges on the parities of these numbers, whose inputs are the same."""
    # ⟨√P χ_I, v⟩ for all I in one transform.
    targets = sums_over_signs(jnp.sqrt(probabilities)[:, None] * spectrum.vectors)[numbers]
    return _solve_many(spectrum, targets, norm_bound)


@jax.jit
def _solve_many(spectrum: _Spectrum, targets: Array, norm_bound: Any) -> Array:
    one = lambda row: _solve(spectrum, row, norm_bound)[1]  # noqa: E731
    if targets.size <= 2**18:
        return jax.vmap(one)(targets)
    return jax.lax.map(one, targets, batch_size=256)


@jax.jit
def _solve_each(
    features: Array | None,
    gram: Array | None,
    probabilities: Array,
    labels: Array,
    norm_bound: Any,
) -> Array:
    """Edges where inputs differ from member to member: each has a spectrum of its own."""

    def one(member: tuple[Array, Array]) -> Array:
        chances, means = member
        spectrum = _spectrum(features, gram, chances)
        targets = spectrum.vectors.T @ (jnp.sqrt(chances) * means)
        return _solve(spectrum, targets, norm_bound)[1]

    return jax.lax.map(one, (probabilities, labels))
