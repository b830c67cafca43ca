"""The ledger of beyond_kernels: its entries and their oracles."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from ntklab import beyond_kernels, gradient_flow, lazy_training, networks, tangent_kernel
from ntklab.checks import Check, rounding_tolerance
from ntklab.ledger import Mutant, result
from ntklab.ledger._shared import scaled, unit_vectors

# --- depth against width ------------------------------------------------------------------------


def _normals(count: int, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of a rule for `count` independent normals, exact to degree 2·nodes − 1."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / np.sum(weights)
    grid = np.stack(np.meshgrid(*[points] * count, indexing="ij"), axis=-1).reshape(-1, count)
    chance = np.stack(np.meshgrid(*[weights] * count, indexing="ij"), axis=-1)
    return grid, np.prod(chance.reshape(-1, count), axis=1)


def _enumerated(widths: tuple[int, ...], slope: float) -> float:
    """E K²/E[K]² over all masks and normal weights; units are open, or pass `slope` of it.

    K is of degree 2 in each weight, so that a rule with 3 points is exact for its square.
    """
    shapes = list(itertools.pairwise((1, *widths, 1)))
    grid, chance = _normals(sum(a * b for a, b in shapes), 3)
    pieces = np.split(grid, np.cumsum([a * b for a, b in shapes])[:-1], axis=1)
    matrices = [
        piece.reshape(-1, b, a) / math.sqrt(a) for piece, (a, b) in zip(pieces, shapes, strict=True)
    ]
    first = second = 0.0
    for mask in itertools.product((slope, 1.0), repeat=sum(widths)):
        units = np.split(np.array(mask), np.cumsum(widths))[:-1]
        forward = [np.ones((len(grid), 1))]
        for w, unit in zip(matrices, units, strict=False):
            forward.append(unit * np.einsum("nij,nj->ni", w, forward[-1]))
        back = [np.ones((len(grid), 1))]
        for w, unit in zip(matrices[::-1], units[::-1], strict=False):
            back.append(unit * np.einsum("nij,ni->nj", w, back[-1]))
        kernel = sum(
            np.sum(a**2, 1) * np.sum(s**2, 1) / fan_in
            for a, s, (fan_in, _) in zip(forward, back[::-1], shapes, strict=True)
        )
        first += float(chance @ kernel)
        second += float(chance @ kernel**2)
    return second / first**2 * 2 ** sum(widths)


def _pair_sum(widths: tuple[int, ...], plus: float, minus: float, apart: bool) -> float:
    """The formula of the statement, pair by pair."""
    layers, total = len(widths) + 1, 0.0
    for one, two in itertools.product(range(layers), repeat=2):
        low, high = sorted((one, two)) if apart else (one, one)
        outside = math.prod(1 + plus / m for m in (*widths[:low], *widths[high:]))
        grown = math.prod(1 + plus / m for m in widths[low:high])
        shrunk = math.prod(1 - minus / m for m in widths[low:high])
        total += outside * (grown + 2 * shrunk) / 3
    return total / layers**2


@result(
    "B23",
    "Section 4, depth with width: second moment",
    theorem="thm-kernel-second-moment",
    exercise="ex-second-moment-expansion",
    evidence="exact",
    falsified_by={"slope": 0.1},
    sweep=[{"widths": (4,)}, {"widths": (1, 2)}, {"widths": (2, 1, 1)}, {"widths": (1, 1, 1, 1)}],
    mutants=[
        Mutant.statement("5/m is 4.9/m", plus=4.9),
        Mutant.statement("between two layers 1 − 1/m is 1", minus=0.0),
        Mutant.statement("all layers have one fluctuation", apart=False),
        Mutant.code(
            "the gradient of the output layer is not counted",
            "beyond_kernels.kernel_second_moment",
            lambda f: lambda widths: f(widths[:-1]) if len(widths) > 1 else 1.0,
        ),
        Mutant.code(
            "the ratio is of standard deviations",
            "beyond_kernels.kernel_second_moment",
            lambda f: lambda widths: math.sqrt(f(widths)),
        ),
    ],
)
def deep_kernels_have_this_second_moment(
    widths: tuple[int, ...] = (2, 2),
    slope: float = 0.0,
    plus: float = 5.0,
    minus: float = 1.0,
    apart: bool = True,
) -> list[Check]:
    """The tangent kernel of a random bias-free ReLU network has E K²/E[K]² = (L+1)⁻² Σ over pairs
    of layers of ⅓ Π(1 + 5/m) + ⅔ Π_outside(1 + 5/m) Π_between(1 − 1/m).

    All masks of the units are enumerated, and the weights integrated by a rule that is exact for
    the polynomial K²; beside it the formula, pair by pair, and the library's recursion. `slope` is
    what a closed unit passes.
    """
    found = _enumerated(widths, slope)
    tolerance = rounding_tolerance(found)
    return [
        Check("E K²/E[K]²", found, "==", _pair_sum(widths, plus, minus, apart), tolerance),
        Check(
            "E K²/E[K]², the recursion",
            beyond_kernels.kernel_second_moment(widths),
            "==",
            found,
            tolerance,
        ),
    ]


@result(
    "B23",
    "Section 4, depth with width: fair masks",
    theorem="lem-fair-masks",
    evidence="sampled",
    level=1e-4,
    seeds=20_000,
    falsified_by={"b_std": 1.0},
    sweep=[{"seed": 1}],
    mutants=[
        Mutant.statement("E K² is a tenth larger", excess=1.1),
        Mutant.code(
            "a layer of ReLU is missing",
            "networks._activated",
            lambda f: lambda activation, z: z if z.shape[1] == 16 else f(activation, z),
        ),
    ],
)
def networks_have_fair_masks(
    widths: tuple[int, ...] = (16, 12),
    d: int = 3,
    draws: int = 20_000,
    b_std: float = 0.0,
    seed: int = 0,
    excess: float = 1.0,
) -> list[Check]:
    """The tangent kernel of a random bias-free ReLU network has the law of that of a linear network
    whose units are switched by fair coins; so E K and E K² are those of the formula.

    Real networks at one input, K as the squared norm of the gradient; both means in units of their
    standard errors, which are estimated from the same draws.
    """
    network = networks.mlp((*widths, 1), w_std=math.sqrt(2), b_std=b_std)
    x, rng = jnp.asarray(unit_vectors(seed, 1, d)), np.random.default_rng(seed)
    params = []
    for fan_in, fan_out in itertools.pairwise((d, *widths, 1)):
        drawn = {"weight": rng.normal(size=(draws, fan_out, fan_in))}
        if b_std > 0:
            drawn["bias"] = rng.normal(size=(draws, fan_out))
        params.append(jax.tree.map(jnp.asarray, drawn))
    slopes = jax.vmap(jax.grad(lambda p: network.apply(p, x)[0, 0]))(tuple(params))
    squares = [np.asarray(leaf, float).reshape(draws, -1) ** 2 for leaf in jax.tree.leaves(slopes)]
    values = sum(np.sum(part, axis=1) for part in squares) / (2 * (len(widths) + 1) / d)
    square = excess * beyond_kernels.kernel_second_moment(widths)
    scores = [
        float((np.mean(powers) - expected) / np.std(powers)) * math.sqrt(draws)
        for powers, expected in ((values, 1.0), (values**2, square))
    ]
    # Two normal scores beyond 4.2: 5e-5. The squares have a skewed law, which takes the rest.
    return [
        Check("E K − 2(L + 1)‖x‖²/d, standard errors", scores[0], "==", 0, 4.2),
        Check("E K²/E[K]² − formula, standard errors", scores[1], "==", 0, 4.2),
    ]


@result(
    "B23",
    "Section 4, depth with width: exp(5β)",
    theorem="cor-depth-width",
    evidence="exact",
    falsified_by={"tilt": 1.02},
    sweep=[
        {"widths": (1, 1, 1)},
        {"widths": (1000,)},
        {"widths": (4, 30, 8, 5), "ratio": 0.2},
        {"ratio": 2.0, "m": 8000},
    ],
    mutants=[
        Mutant.statement("the lower constant is not 1/3 but 0.35", third=0.35),
        Mutant.statement("the upper bound is exp(4.9 β)", five=4.9),
        Mutant.statement("the term 2/(3β) of the limit is 1/(3β)", halved=True),
        Mutant.code(
            "the limit has exp(4.9 β)",
            "beyond_kernels.second_moment_limit",
            lambda f: lambda s: f(s) * math.exp(-0.1 * s),
        ),
        Mutant.code(
            "5/m is 4.9/m",
            "beyond_kernels.kernel_second_moment",
            lambda f: lambda w: f(w) * math.prod((1 + 4.9 / m) / (1 + 5 / m) for m in w),
        ),
    ],
)
def fluctuations_grow_exponentially(
    widths: tuple[int, ...] = (10, 10, 10, 10),
    ratio: float = 1.0,
    m: int = 4000,
    tilt: float = 1.0,
    third: float = 1 / 3,
    five: float = 5.0,
    halved: bool = False,
) -> list[Check]:
    """The second moment lies between ⅓(1 + 2/(L+1)) Π(1 + 5/m) and Π(1 + 5/m) ≤ exp(5β), β = Σ1/m,
    and at equal widths it tends to e^{5β}/3 [1 + (2/3β)(1 − (1 − e^{−6β})/6β)] for L/m → β.

    The bounds at small and large widths, where they are attained or nearly so; the limit by
    extrapolation from two widths, m and 2m. `tilt` makes L/m another number than β.
    """
    found = beyond_kernels.kernel_second_moment(widths)
    layers, beta = len(widths) + 1, sum(1 / w for w in widths)
    product = math.prod(1 + 5 / w for w in widths)
    near, far = (
        beyond_kernels.kernel_second_moment([w] * round(tilt * ratio * w)) for w in (m, 2 * m)
    )
    s = ratio
    bracket = (1 if halved else 2) / (3 * s) * (1 - (1 - math.exp(-6 * s)) / (6 * s))
    limit = math.exp(5 * s) / 3 * (1 + bracket)
    # What the extrapolation leaves of an expansion in 1/m, whose second term is (25 s/m)²/8.
    left = 80 * (1 + s) ** 2 / m**2 * limit
    return [
        Check("E K²/E[K]², from below", found, ">=", third * (1 + 2 / layers) * product),
        Check("E K²/E[K]², from above", found, "<=", product, rounding_tolerance(product)),
        Check("the product", product, "<=", math.exp(five * beta)),
        Check("limit of E K²/E[K]²", 2 * far - near, "==", limit, left),
        Check(
            "the library's limit",
            beyond_kernels.second_moment_limit(s),
            "==",
            limit,
            rounding_tolerance(limit),
        ),
    ]


@result(
    "B23",
    "Section 4, depth with width: heavy tails",
    theorem="prop-last-layer",
    exercise="ex-draws-needed",
    evidence="exact",
    falsified_by={"slope": 0.1},
    sweep=[{"widths": (1, 4)}, {"widths": (2, 3, 1), "order": 3}, {"widths": (3,), "order": 2}],
    mutants=[
        Mutant.statement("every unit is active", chance=1.0),
        Mutant.code(
            "the moments are those of a lognormal factor",
            "beyond_kernels.last_layer_moment",
            lambda f: lambda widths, q: f(widths, 2) ** (q * (q - 1) / 2) * (1 + 1e-3),
        ),
        Mutant.code(
            "the first hidden layer is left out",
            "beyond_kernels.last_layer_moment",
            lambda f: lambda widths, q: f(widths[1:] or widths, q) * 0.99,
        ),
    ],
)
def the_last_layer_is_a_product(
    widths: tuple[int, ...] = (3, 2), order: int = 4, slope: float = 0.0, chance: float = 0.5
) -> list[Check]:
    """The output layer's part of the kernel, over its mean, is a product of independent factors
    (2/m) χ²_k, k ~ Bin(m, ½), one for each hidden layer.

    The moment of order q of each factor by enumerating masks and integrating over normal
    variables; their product against the library's. `slope` is what a closed unit passes.
    """
    moment = 1.0
    for m in widths:
        grid, weights = _normals(m, order + 1)
        total = mean = 0.0
        for mask in itertools.product((slope, 1.0), repeat=m):
            values = np.sum((np.array(mask) * grid) ** 2, axis=1) * 2 / m
            open_units = sum(unit == 1.0 for unit in mask)
            law = chance**open_units * (1 - chance) ** (m - open_units)
            total += law * float(weights @ values**order)
            mean += law * float(weights @ values)
        moment *= total
    found = beyond_kernels.last_layer_moment(widths, order)
    return [
        Check(f"E X^{order} of the product", found, "==", moment, 1e-9 * moment),
    ]


# --- long steps ---------------------------------------------------------------------------------


@result(
    "B23",
    "Section 4, large learning rates: the map",
    theorem="prop-catapult-map",
    exercise="ex-catapult-factors",
    evidence="rounding",
    falsified_by={"label": 0.1},
    sweep=[{"step": 0.5}, {"m": 1, "step": 0.7, "seed": 3}, {"m": 200, "step": 1.9, "seed": 2}],
    mutants=[
        Mutant.statement("κ' = κ − (3 − κ)φ²", four=3.0),
        Mutant.statement("φ' lacks φ²", cubic=0.0),
        Mutant.code(
            "the state lacks 1/m",
            "beyond_kernels.catapult_state",
            lambda f: lambda u, v, step: tuple(len(u) * value for value in f(u, v, step)),
        ),
        Mutant.code(
            "the path is one step late",
            "beyond_kernels.catapult",
            lambda f: (
                lambda k, p, steps: f(k, p, steps + 1)._replace(
                    kappa=f(k, p, steps + 1).kappa[1:], phi=f(k, p, steps + 1).phi[1:]
                )
            ),
        ),
    ],
)
def descent_is_a_map_of_the_plane(
    m: int = 30,
    step: float = 1.2,
    steps: int = 6,
    label: float = 0.0,
    seed: int = 0,
    four: float = 4.0,
    cubic: float = 1.0,
) -> list[Check]:
    """Gradient descent on ½f² for f = u·v/√m is φ' = φ(1 − κ + φ²), κ' = κ − (4 − κ)φ² in
    κ = η(‖u‖² + ‖v‖²)/m and φ = ηf/√m.

    Descent in the 2m weights, in NumPy, against the map and against the library's path: the
    largest gap over the steps. `label` is what the network is to learn.
    """
    u, v = np.random.default_rng(seed).normal(size=(2, m))
    if step * (u @ u + v @ v) / m > 3.9:
        u, v = u / math.sqrt(2), v / math.sqrt(2)
    path = beyond_kernels.catapult(*beyond_kernels.catapult_state(u, v, step), steps)
    kappa, phi = step * (u @ u + v @ v) / m, step * (u @ v) / m
    gaps = []
    for t in range(steps + 1):
        own = np.array([step * (u @ u + v @ v) / m, step * (u @ v) / m])
        library = np.array([float(path.kappa[t]), float(path.phi[t])])
        gaps.append([np.max(np.abs(own - [kappa, phi])), np.max(np.abs(own - library))])
        slope = step * (u @ v / math.sqrt(m) - label) / math.sqrt(m)
        u, v = u - slope * v, v - slope * u
        kappa, phi = kappa - (four - kappa) * phi**2, phi * (1 - kappa + cubic * phi**2)
    worst = np.max(gaps, axis=0)
    # Errors grow by at most κ − 1 ≤ 3 a step while φ is small.
    tolerance = rounding_tolerance() * 3.0**steps
    return [
        Check("largest gap to the map", worst[0], "==", 0, 1e-9),
        Check("largest gap to the library's path", worst[1], "==", 0, tolerance),
    ]


def _starts(low: float, high: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A grid of κ and of shares φ/(κ/2) that a network can have, without φ = 0."""
    kappas = np.linspace(low, high, count)
    shares = np.concatenate([[1e-6, 1e-3], np.linspace(0.02, 1, 25)])
    kappa, share = (part.ravel() for part in np.meshgrid(kappas, shares))
    signs = np.where(np.arange(len(share)) % 2, -1.0, 1.0)
    return kappa, signs * share * kappa / 2


@result(
    "B23",
    "Section 4, large learning rates: the catapult",
    theorem="thm-catapult",
    exercise="ex-catapult-height",
    evidence="searched",
    falsified_by={"high": 4.02},
    sweep=[{"low": 2.0, "high": 2.2}, {"low": 3.9, "high": 3.99}, {"low": 0.01, "high": 0.05}],
    mutants=[
        Mutant.statement("the last curvature is below 1.9/η", last=1.9),
        Mutant.statement("Σφ² is at most κ₀/(4.2 − κ₀)", four=4.2),
        Mutant.statement("the loss rises first iff φ₀² < κ₀ − 1.9", edge=1.9),
        Mutant.code(
            "κ falls by half",
            "beyond_kernels.catapult",
            lambda f: (
                lambda k, p, steps: f(k, p, steps)._replace(kappa=(k + f(k, p, steps).kappa) / 2)
            ),
        ),
        Mutant.code(
            "φ is a hundredth too large behind the start",
            "beyond_kernels.catapult",
            lambda f: (
                lambda k, p, steps: f(k, p, steps)._replace(
                    phi=f(k, p, steps).phi * np.where(np.arange(steps + 1) > 0, 1.1, 1)[:, None]
                )
            ),
        ),
    ],
)
def long_steps_find_flat_minima(
    low: float = 0.1,
    high: float = 3.9,
    count: int = 39,
    steps: int = 4000,
    last: float = 2.0,
    four: float = 4.0,
    edge: float = 2.0,
) -> list[Check]:
    """From κ₀ < 4 descent always converges, with Σφ² ≤ κ₀/(4 − κ₀), κ falling all the time and to
    at most 2; the loss rises at the first step iff φ₀² < κ₀ − 2.

    A grid of starts that includes the edge |φ| = κ/2 and starts near 0, followed for thousands of
    steps by the library: the largest of each quantity.
    """
    kappa, phi = _starts(low, high, count)
    path = beyond_kernels.catapult(jnp.asarray(kappa), jnp.asarray(phi), steps)
    kappas, phis = np.asarray(path.kappa, float), np.asarray(path.phi, float)
    start, first = np.asarray(path.kappa[0], float), np.asarray(path.phi[0], float)
    total = np.sum(np.minimum(phis**2, 1e6), axis=0)
    rises = np.abs(phis[1]) > np.abs(first) * (1 + 1e-6)
    predicted = first**2 < (start - edge) - 1e-5
    # Starts on the line itself, up to the rounding of both sides, belong to neither.
    unsure = np.abs(first**2 - (start - 2)) < 1e-4
    # Near κ = 2 convergence is slow, like 1/√t; what is left beyond 2 is of the order φ².
    tail = min(1.0, float(np.max(phis[-1] ** 2)))
    # A start whose φ meets 0 exactly stops there, at any κ: none of the grid does.
    return [
        # At κ = 2, φ falls like 1/√(4t).
        Check("largest |φ| at the end", np.max(np.abs(phis[-1])), "==", 0, 1 / math.sqrt(steps)),
        Check("largest κ at the end", np.max(kappas[-1]), "<=", last, 10 * tail + 1e-5),
        Check("largest Σφ²(4 − κ₀)/κ₀", np.max(total * (four - start) / start), "<=", 1, 1e-4),
        Check("largest rise of κ", np.max(np.diff(np.minimum(kappas, 1e9), axis=0)), "==", 0, 1e-5),
        Check(
            "starts at which the first step is another than said",
            float(np.sum((rises != predicted) & ~unsure)),
            "==",
            0,
        ),
    ]


@result(
    "B23",
    "Section 4, large learning rates: divergence",
    theorem="thm-catapult-diverges",
    exercise="ex-chebyshev",
    evidence="searched",
    falsified_by={"low": 3.98},
    sweep=[{"low": 4.5, "high": 12.0}],
    mutants=[
        Mutant.statement("the angle is doubled, not tripled", times=2.0),
        Mutant.statement("at 4 there is still convergence", at_four=3.99),
        Mutant.code(
            "κ is repelled by 4.02, not by 4",
            "beyond_kernels.catapult",
            lambda f: lambda k, p, steps: f(k - 0.02, 0.99 * p, steps),
        ),
    ],
)
def longer_steps_diverge(
    low: float = 4.01,
    high: float = 4.4,
    count: int = 9,
    steps: int = 4000,
    times: float = 3.0,
    at_four: float = 4.0,
) -> list[Check]:
    """From κ₀ > 4 descent diverges unless φ meets 0; at κ₀ = 4, κ stays and φ_t = 2cos(3^t ω).

    A grid of starts with φ ≠ 0 for thousands of steps: the share of them that is not infinite in
    the end. At 4 the angle after five steps, against the library's path.
    """
    kappa, phi = _starts(low, high, count)
    path = beyond_kernels.catapult(jnp.asarray(kappa), jnp.asarray(phi), steps)
    stayed = np.mean(np.isfinite(np.asarray(path.kappa[-1], float)))
    angles = np.linspace(0.1, 1.5, 15)
    tripled = beyond_kernels.catapult(
        jnp.full(15, at_four), jnp.asarray(np.cos(angles) * at_four / 2), 5
    )
    expected = 2 * np.cos(angles * times**5)
    gap = np.max(np.abs(np.asarray(tripled.phi[-1], float) - expected))
    # An error of the angle grows threefold a step, and once more where the cosine is flat.
    tolerance = rounding_tolerance() * 3.0**5
    return [
        Check("share of starts that stay finite", float(stayed), "==", 0),
        Check("largest gap to 2cos(3⁵ω)", float(gap), "==", 0, tolerance),
        Check(
            "largest |κ − 4|",
            float(np.max(np.abs(np.asarray(tripled.kappa, float) - 4))),
            "==",
            0,
            tolerance,
        ),
    ]


# --- alignment ----------------------------------------------------------------------------------


@result(
    "B23",
    "Section 4, alignment with the target",
    theorem="prop-alignment-speed",
    exercise="ex-alignment-mixture",
    evidence="rounding",
    falsified_by={"paired": False},
    sweep=[{"activation": "tanh", "seed": 1}],
    mutants=[
        Mutant.statement("the rate is A‖K‖, without the factor 2", factor=1.0),
        Mutant.statement("the norm is that of the kernel before centring", centred=False),
        Mutant.code(
            "the alignment is not centred",
            "lazy_training.label_alignment",
            lambda f: (
                lambda kernel, y: float(
                    y @ kernel @ y / (y @ y * jnp.linalg.norm(kernel)) + 0 * f(kernel, y)
                )
            ),
        ),
        Mutant.code(
            "the kernel lacks a tenth",
            "tangent_kernel.empirical_ntk",
            scaled(0.9),
        ),
    ],
)
def alignment_is_speed(
    n: int = 12,
    d: int = 4,
    m: int = 40,
    activation: str = "relu",
    paired: bool = True,
    seed: int = 0,
    factor: float = 2.0,
    centred: bool = True,
) -> list[Check]:
    """At a start with f = 0 and for labels that sum to 0, the loss falls at the relative rate
    2 A ‖K̃‖_F, where K̃ is the centred tangent kernel and A its alignment with the labels.

    The rate as ‖∇L‖²/L by automatic differentiation, against the kernel, its norm and the
    alignment. Without the pair, f is not 0.
    """
    network = networks.mlp((m, 1), activation=activation)
    if paired:
        network = networks.unbiased(network)
    x = jnp.asarray(unit_vectors(seed, n, d))
    y = jnp.asarray(networks.alternating_signs(n)) + x[:, 0]
    y = y - jnp.mean(y)
    params = network.init(jax.random.key(seed), d)

    def loss(params: object) -> jax.Array:
        return jnp.sum((network.apply(params, x)[:, 0] - y) ** 2) / 2

    value, slope = jax.value_and_grad(loss)(params)
    rate = float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope)) / value)
    kernel = tangent_kernel.empirical_ntk(network.apply, params, x)
    middle = np.asarray(kernel, float)
    if centred:
        middle = middle - np.mean(middle, axis=0)
        middle = middle - np.mean(middle, axis=1, keepdims=True)
    predicted = factor * lazy_training.label_alignment(kernel, y) * float(np.linalg.norm(middle))
    return [Check("rate ‖∇L‖²/L", rate, "==", predicted, rounding_tolerance(rate))]


@result(
    "B23",
    "Section 4, silent alignment",
    theorem="thm-silent-alignment",
    exercise="ex-silent-time",
    evidence="searched",
    falsified_by={"whitened": False},
    sweep=[{"rho": 0.3}, {"rho": 1e-3, "ask": 1e-2}, {"adverse": False, "seed": 1}],
    mutants=[
        Mutant.statement("the distance is at most 0.9 ρ/‖a‖", first=0.9),
        Mutant.statement("ρ/‖a‖ has the exponent 1.1", power=1.1),
        Mutant.statement("‖a‖² is at least 1.05 εb at the loss (1 − ε)²b²/2", share=1.05),
        Mutant.code(
            "the bound is of half of the start",
            "beyond_kernels.shape_bound",
            lambda f: lambda rho, size: f(rho / 2, size),
        ),
        Mutant.code(
            "the output layer is not trained",
            "beyond_kernels.linear_network",
            lambda f: lambda params, x: f((params[0], jax.lax.stop_gradient(params[1])), x),
        ),
    ],
)
def kernels_align_silently(
    rho: float = 0.01,
    d: int = 3,
    n: int = 8,
    m: int = 4,
    ask: float = 0.05,
    adverse: bool = True,
    whitened: bool = True,
    seed: int = 0,
    first: float = 1.0,
    power: float = 1.0,
    share: float = 1.0,
) -> list[Check]:
    """Along the flow of a two-layer linear network on whitened inputs, ‖M/‖a‖² − (I + eeᵀ)‖ is at
    most ρ/‖a‖ + 3ρ²/‖a‖²; and ‖a‖² ≥ εb − ρ²/2 as soon as the loss is down to (1 − ε)²b²/2.

    The library's flow from a start of norm ρ, whose first layer is (nearly) orthogonal to the
    target in the adverse case: the largest ratio to the bound over the times with ‖a‖ ≥ 2ρ, and
    ‖a‖² at the time of that loss.
    """
    rng = np.random.default_rng(seed)
    x = np.linalg.qr(rng.normal(size=(n, d)))[0]
    if not whitened:
        x = x * np.array([1.0, 0.6, *[0.3] * (d - 2)])
    target = rng.normal(size=d)
    beta = target / np.linalg.norm(target)
    weights, output = rng.normal(size=(m, d)), rng.normal(size=m)
    if adverse:
        across = np.linalg.svd(beta[None])[2][1]
        output = output / np.linalg.norm(output)
        weights = np.outer(output, across)
        output = 0.02 * output
    size = math.sqrt(np.sum(weights**2) + np.sum(output**2))
    start = jnp.asarray(rho * weights / size), jnp.asarray(rho * output / size)
    points, labels = jnp.asarray(x), jnp.asarray(x @ beta)
    model = beyond_kernels.linear_network
    times = np.linspace(0, 3 * math.log(10 / rho) + 5, 300)
    path = gradient_flow.network_flow(model, start, points, labels, times, rtol=1e-9)
    layers, outputs = np.asarray(path[0], float), np.asarray(path[1], float)
    sizes = np.linalg.norm(outputs, axis=1)
    shape = np.eye(d) + np.outer(beta, beta)
    matrices = np.einsum("tmi,tmj->tij", layers, layers) / sizes[:, None, None] ** 2 + np.eye(d)
    distances = np.linalg.norm(matrices - shape, 2, axis=(1, 2))
    late = sizes >= 2 * rho
    if first == power == 1:
        bounds = np.array([beyond_kernels.shape_bound(rho, float(size)) for size in sizes])
    else:
        bounds = first * (rho / sizes) ** power + 3 * (rho / sizes) ** 2
    ratios = (distances / bounds)[late]
    function = np.einsum("tmi,tm->ti", layers, outputs)
    losses = np.sum((function @ x.T - x @ beta) ** 2, axis=1) / 2
    # The norm b of the target is 1. The loss falls all the time: the first time, if any.
    place = int(np.argmax(losses <= (1 - ask) ** 2 / 2))
    reached = float(sizes[place] ** 2)
    return [
        Check("largest distance over its bound", float(np.max(ratios, initial=0)), "<=", 1, 1e-4),
        Check("‖a‖² when the loss has fallen", reached, ">=", share * ask - rho**2 / 2),
    ]


# --- an instrument ------------------------------------------------------------------------------


@result(
    "S24",
    "Section 14.3, the empirical kernel, locally",
    theorem="prop-one-step",
    exercise="ex-one-step",
    evidence="searched",
    falsified_by={"activation": "erf", "m": 1, "step": 0.1, "trained": 0},
    sweep=[{"m": 1, "step": 0.1, "trained": 0}],
    mutants=[
        Mutant.statement("the constant is a third, not a half", constant=1 / 3),
        Mutant.statement("the bound has η^2.1", power=2.1),
        Mutant.code(
            "the kernel is a twentieth too small",
            "tangent_kernel.ntk_vector_product",
            scaled(0.95),
        ),
        Mutant.code(
            "the step is a twentieth longer",
            "gradient_flow.network_descent",
            lambda f: lambda *a, step_size, **k: f(*a, step_size=1.05 * step_size, **k),
        ),
    ],
)
def one_step_is_the_kernels(
    m: int = 20,
    d: int = 3,
    n: int = 5,
    step: float = 1.0,
    trained: int = 10,
    activation: str = "tanh",
    seed: int = 0,
    constant: float = 0.5,
    power: float = 2.0,
) -> list[Check]:
    """At any time one step of descent changes the function by −ηΘ_t(x, X)r_t, up to ½η²B‖∇L‖²,
    where B bounds the second derivative of f(x; ·): β‖x‖²/√m for `shallow`.

    A network that has been trained for some steps; the kernel's product with the residual against
    one more step, at the training points and at new ones. With one unit, one point, and its
    pre-activation where |σ''| is largest, the bound is nearly attained.
    """
    network = networks.shallow(m, activation=activation)
    x, x_new = jnp.asarray(unit_vectors(seed, n, d)), jnp.asarray(unit_vectors(seed + 1, 50, d))
    params = network.init(jax.random.key(seed), d)
    if m == 1:
        # tanh'' is extreme where tanh² = 1/3; the only point is the training point.
        x = x_new = x[:1]
        params = math.atanh(math.sqrt(1 / 3)) * x - 1e-3 * x
    y = jnp.asarray(networks.alternating_signs(len(x)))
    params = gradient_flow.network_descent(network.apply, params, x, y, trained, step_size=0.1)
    residual = network.apply(params, x) - y[:, None]
    slope = jax.grad(lambda w: jnp.sum((network.apply(w, x)[:, 0] - y) ** 2) / 2)(params)
    after = gradient_flow.network_descent(network.apply, params, x, y, 1, step_size=step)
    curvature = 4 / (3 * math.sqrt(3)) / math.sqrt(m)
    bound = constant * step**power * curvature * float(jnp.sum(slope**2))
    # Of two outputs of size 1, each a sum of a few terms.
    checks = []
    for name, points in (("training points", x), ("new points", x_new)):
        change = network.apply(after, points) - network.apply(params, points)
        product = tangent_kernel.ntk_vector_product(network.apply, params, points, residual, x)
        error = float(jnp.max(jnp.abs(change + step * product)))
        checks.append(
            Check(f"error at the {name}", error, "<=", bound, 8 * float(jnp.finfo(x.dtype).eps))
        )
    return checks
