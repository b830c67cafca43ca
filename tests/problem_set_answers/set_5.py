"""Answers to set 5, right ones in other ways and wrong ones as students write them.

heron5b1e0c77q: solutions, for instructors.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def right(variants):
    """Of each question three answers or more that must get full marks."""
    v1, v2, v3, v4, v5 = (variants[f"q{i}"] for i in range(1, 6))
    decay, ceiling = float(v1["decay"]), float(v2["ceiling"])
    slope, keep, share = float(v3["slope"]), float(v4["keep"]), float(v5["share"])

    def q1_direct(kappa, phi, target, steps):
        """In κ and φ themselves."""
        keep = 1 - decay
        for _ in range(steps):
            psi = phi - target
            square = keep**2 + psi**2
            kappa, phi = (
                square * kappa - 4 * keep * psi * phi,
                square * phi - keep * psi * kappa,
            )
        return [kappa, phi]

    def q1_weights(kappa, phi, target, steps):
        """With a network of two units that has these numbers, in single precision."""
        kappa, phi = np.float32(kappa), np.float32(phi)
        size = math.sqrt(kappa)
        angle = math.asin(max(-1, min(1, 2 * phi / kappa))) / 2 if kappa else 0.0
        u = np.float32([size * math.cos(angle), size * math.sin(angle)])
        v = u[::-1]
        for _ in range(steps):
            psi = np.float32(u @ v / 2 - target)
            u, v = (
                np.float32(1 - decay) * u - psi * v,
                np.float32(1 - decay) * v - psi * u,
            )
        return jnp.asarray([(u @ u + v @ v) / 2, u @ v / 2], jnp.float32)

    def q1_matrix(kappa, phi, target, steps):
        """A step is a matrix that acts on u and v."""
        moments = np.array([[kappa / 2, phi], [phi, kappa / 2]])
        for _ in range(steps):
            psi = moments[0, 1] - target
            step = np.array([[1 - decay, -psi], [-psi, 1 - decay]])
            moments = step @ moments @ step.T
        return np.array([np.trace(moments), moments[0, 1]])

    def q2_middle(kappa):
        return [0.0, (2 + ceiling) / 3]

    def q2_negative(kappa):
        return jnp.array([-0.5 * kappa, -ceiling], jnp.float32)

    def q2_other(kappa):
        return np.array([0.2 * kappa, 0.3 + 0.7 * ceiling])

    def q3_loops(widths, draws, seed):
        rng = np.random.default_rng([seed, 3])
        logs = []
        for _ in range(draws):
            a = np.array([1.0, 1.0, 1.0])
            for width in widths:
                z = rng.standard_normal((int(width), len(a))) @ a / math.sqrt(len(a))
                a = math.sqrt(2 / (1 + slope**2)) * np.maximum(z, 0)
                a += math.sqrt(2 / (1 + slope**2)) * slope * np.minimum(z, 0)
            logs.append(math.log(float(a @ a) / len(a)))
        mean = sum(logs) / draws
        spread = sum((value - mean) ** 2 for value in logs) / (draws - 1)
        return [mean, math.sqrt(spread / draws)]

    def q3_jax(widths, draws, seed):
        key = jax.random.key(seed)
        a = jnp.ones((draws, 3), jnp.float32)
        gain = jnp.float32(2 / (1 + slope**2))
        for width in np.asarray(widths).tolist():
            key, sub = jax.random.split(key)
            w = jax.random.normal(sub, (draws, width, a.shape[1]), jnp.float32)
            z = jnp.einsum("nij,nj->ni", w, a) * jnp.sqrt(gain / a.shape[1])
            a = jnp.where(z > 0, z, jnp.float32(slope) * z)
        # g/m ‖a‖² over its mean, g/3 ‖x‖² = g.
        logs = jnp.log(jnp.mean(a**2, 1))
        return jnp.stack([jnp.mean(logs), jnp.std(logs) / jnp.float32(math.sqrt(draws))])

    def q3_products(widths, draws, seed):
        """Layer by layer: given the one below, the units of a layer are independent normals."""
        rng = np.random.default_rng(seed + 17)
        logs = np.zeros(draws)
        for width in widths:
            z = rng.normal(size=(draws, width))
            square = np.where(z > 0, 1, slope**2) * z**2
            logs += np.log(2 * square.sum(1) / (1 + slope**2) / width)
        return np.array([np.mean(logs), np.std(logs, ddof=1) / draws**0.5])

    def q4_traces(widths, slope):
        return _moment(widths, slope, keep)

    def q4_single(widths, slope):
        return jnp.float32(_moment(np.asarray(widths).tolist(), float(slope), keep))

    def q4_matrix(widths, slope):
        """Pairs of layers through products of matrices of two by two."""
        ratio = 2 * (1 + slope**4) / (keep * (1 + slope**2) ** 2)
        inside = [
            ratio / m * np.array([[1, 2], [1, 2]]) + (1 - 1 / m) * np.eye(2)
            for m in map(int, widths)
        ]
        total = 0.0
        for low in range(len(inside) + 1):
            for high in range(low, len(inside) + 1):
                state = np.array([1.0, 0.0])
                for step in inside[low:high]:
                    state = step @ state
                factor = 1.0
                for step in inside[:low] + inside[high:]:
                    factor *= step[0, 0] + step[1, 0] * 2  # a left eigenvector: (1, 2)
                total += (1 + (high > low)) * factor * state[0]
        return np.array(total / (len(inside) + 1) ** 2)

    def q5_series(depth, dimension, start, target):
        """Term by term: 1/(b − v) = Σ v^k b^(−k−1) with v = s^L, between start and end."""
        end = (share * target) ** (1 / depth)
        time = math.log(end / start) / target if depth == 2 else 0.0
        for k in range(400):
            power = 2 - depth + depth * k
            if power:
                time += (end**power - start**power) / power / target ** (k + 1)
        return _with_kernel(time, depth, dimension, end)

    def q5_runge_kutta(depth, dimension, start, target):
        """The inverse function of the output's logarithm, by Simpson's rule in single digits."""
        end = (share * target) ** (1 / depth)
        grid = np.linspace(math.log(start), math.log(end), 4001)
        s = np.exp(grid)
        values = 1 / (s ** (depth - 2) * (target - s**depth))
        simpson = values[0] + values[-1] + 4 * values[1::2].sum() + 2 * values[2:-1:2].sum()
        time = float(simpson * (grid[1] - grid[0]) / 3)
        return jnp.asarray(_with_kernel(time, depth, dimension, end), jnp.float32)

    def q5_scaled(depth, dimension, start, target):
        """In units of the target, with the output as the variable."""
        low, high = start**depth / target, share
        nodes, weights = np.polynomial.legendre.leggauss(60)
        edges = np.geomspace(low, high, 60)
        total = 0.0
        for left, right in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            v = (left + right) / 2 + (right - left) / 2 * nodes
            total += (right - left) / 2 * weights @ (v ** (2 / depth - 2) / (1 - v))
        time = total / depth * target ** (2 / depth - 2)
        return np.array(_with_kernel(time, depth, dimension, (share * target) ** (1 / depth)))

    return {
        "q1": [q1_direct, q1_weights, q1_matrix],
        "q2": [q2_middle, q2_negative, q2_other],
        "q3": [q3_loops, q3_jax, q3_products],
        "q4": [q4_traces, q4_single, q4_matrix],
        "q5": [q5_series, q5_runge_kutta, q5_scaled],
    }


def _with_kernel(time, depth, dimension, end):
    values = np.array([depth, *[1] * (dimension - 1)]) * end ** (2 * depth - 2)
    return [time, float(values[0]), float(values[0] / np.sqrt(np.sum(values**2)))]


def _moment(widths, slope, keep, *, c=None, layers=None, minus=1.0, thirds=2, output=False):
    """The second moment by the two factors, from running products; and what may be wrong."""
    c = 2 * (1 + slope**4) / (1 + slope**2) ** 2 / keep if c is None else c
    shared = np.append(1.0, np.cumprod([1 + (3 * c - 1) / m for m in widths]))
    between = np.append(1.0, np.cumprod([1 - minus / m for m in widths]))
    if output:
        return float(shared[-1])
    place = np.arange(len(shared))
    low, high = np.minimum.outer(place, place), np.maximum.outer(place, place)
    inside = (shared[high] / shared[low] + thirds * _ratio(between, low, high)) / (1 + thirds)
    total = np.sum(shared[-1] * shared[low] / shared[high] * inside)
    return float(total / (len(shared) if layers is None else layers) ** 2)


def _ratio(between, low, high):
    """Products over the layers between, also where a width is 1 and a factor 0."""
    below = between[low]
    return np.where(low == high, 1.0, between[high] / np.where(below == 0, 1.0, below))


def wrong(variants):
    """Of each question six wrong answers or more, with a part of what must be said about them."""
    v1, v2, v3, v4, v5 = (variants[f"q{i}"] for i in range(1, 6))
    answers = right(variants)
    decay, ceiling = float(v1["decay"]), float(v2["ceiling"])
    slope3, keep, share = float(v3["slope"]), float(v4["keep"]), float(v5["share"])

    def q1_bent(weight=decay, label=1.0, turns=False, sign=1, extra=0, square=True):
        def bent(kappa, phi, target, steps):
            for _ in range(steps + extra):
                psi = sign * (phi - label * target)
                one = 1 - weight
                if not square:
                    kappa, phi = (
                        one * kappa + psi**2 * kappa - 4 * psi * phi,
                        one * phi + psi**2 * phi - psi * kappa,
                    )
                    continue
                if turns:
                    # u first, and then v with the new u; u·u = v·v at the start is assumed.
                    u, v = kappa / 2, kappa / 2
                    uu = one**2 * u - 2 * one * psi * phi + psi**2 * v
                    uv = one * phi - psi * v
                    kappa, phi = (
                        uu + one**2 * v - 2 * one * psi * uv + psi**2 * uu,
                        one * uv - psi * uu,
                    )
                    continue
                kappa, phi = (
                    (one**2 + psi**2) * kappa - 4 * one * psi * phi,
                    (one**2 + psi**2) * phi - one * psi * kappa,
                )
            return np.array([kappa, phi])

        return bent

    q1 = answers["q1"][0]
    first = [
        (lambda kappa, phi, target, steps: None, "None"),
        (q1_bent(label=0.0), "label is missing|something|off"),
        (q1_bent(weight=0.0), "decay is missing|off"),
        (q1_bent(weight=2 * decay), "decay enters twice|off"),
        (q1_bent(turns=True), "at once|off"),
        (q1_bent(sign=-1), "goes down|off"),
        (q1_bent(label=-1.0), "other sign|off"),
        (q1_bent(extra=1), "without a step"),
        (q1_bent(square=False), "off"),
        (lambda *given: q1(*given)[::-1], "without a step"),
        (lambda *given: q1(*given)[0], "shape"),
        (lambda kappa, phi, target, steps: q1(kappa, phi, target, min(steps, 1)), "off"),
        (lambda kappa, phi, target, steps: q1(kappa, 2 * phi, target, steps), "without a step"),
        (lambda kappa, phi, target, steps: np.array([kappa, phi]), "off"),
    ]

    second = [
        (lambda kappa: [kappa / 2, 0.0], "falls at each"),
        (lambda kappa: [kappa / 2, 0.9], "falls at each|converges"),
        (lambda kappa: [kappa / 2, 1.0], "falls at each|converges, slowly"),
        (lambda kappa: [kappa / 2, 1.5], "larger than allowed"),
        (lambda kappa: [kappa / 2, -ceiling], "not stay bounded|converges"),
        (lambda kappa: [kappa, ceiling], "no network has"),
        (lambda kappa: [0.5, ceiling], "no network has"),
        (lambda kappa: [kappa / 2, (1 + ceiling) / 2, 0], "shape"),
        (lambda kappa: (1 + ceiling) / 2, "shape"),
        (lambda kappa: [[kappa / 2], [ceiling]], "shape"),
        (lambda kappa: [kappa / 2, ceiling if kappa < 0.5 else 0.9], "falls|converges"),
        (lambda kappa: [np.inf, 1.0], "finite"),
        (lambda kappa: [ceiling, kappa / 2], "no network has"),
    ]

    def q3_bent(**bend):
        def bent(widths, draws, seed):
            rng = np.random.default_rng(bend.get("seed", seed))
            alpha = bend.get("alpha", slope3)
            gain = bend.get("gain", 2 / (1 + alpha**2))
            count = 1 if bend.get("one") else draws
            logs, means = np.zeros(count), np.ones(count)
            for width in widths[: len(widths) - bend.get("less", 0)]:
                z = rng.normal(size=(count, width))
                squares = gain * np.mean(np.where(z > 0, z, alpha * z) ** 2, 1)
                logs, means = logs + np.log(np.maximum(squares, 1e-30)), means * squares
            logs = np.log(bend.get("base", math.e)) ** -1 * logs * bend.get("power", 1.0)
            logs = logs + bend.get("shift", 0.0)
            if bend.get("plain"):
                logs = means
            error = bend.get("error", lambda s, n: s / np.sqrt(n))(np.std(logs), draws)
            if bend.get("outside"):
                return [np.log(np.mean(means)), np.std(means) / np.sqrt(draws)]
            return [np.mean(logs), error]

        return bent

    q3 = answers["q3"][2]
    third = [
        (q3_bent(seed=1), "same draws"),
        (q3_bent(seed=None), "two results"),
        (q3_bent(outside=True), "first come the logarithms|above 0|too"),
        (q3_bent(plain=True), "above 0|too large"),
        (q3_bent(alpha=0.0), "too small|off"),
        (q3_bent(gain=1.0), "gain is missing|too|off"),
        (q3_bent(gain=(2 / (1 + slope3**2)) ** 2), "gain is there twice|above 0|off"),
        (q3_bent(power=0.5), "a kernel is a square|too"),
        (q3_bent(base=10.0), "natural one|too"),
        (q3_bent(less=1), "a layer is missing|too"),
        (q3_bent(shift=math.log(3)), "wrong mean|above 0"),
        (q3_bent(error=lambda s, n: s), "spread of one network"),
        (q3_bent(error=lambda s, n: s**2 / n), "a variance"),
        (q3_bent(error=lambda s, n: s / n), "falls too fast"),
        (q3_bent(error=lambda s, n: 1.96 * s / np.sqrt(n)), "half an interval"),
        (q3_bent(one=True), "above 0|error"),
        (lambda *given: q3(*given)[0], "shape"),
        (lambda widths, draws, seed: [-0.5 - 1e-3 * seed % 7, 0.02 + 1e-6 * seed % 3], "too|error"),
    ]

    def q4_bent(**bend):
        return lambda widths, slope: _moment(widths, slope, keep, **bend)

    q4 = answers["q4"][0]
    fourth = [
        (lambda widths, slope: _moment(widths, slope, 1.0), "dropout is missing|noise|off"),
        (lambda widths, slope: _moment(widths, 0.0, keep), "leak is missing|off|noise"),
        (q4_bent(c=1.0), "fourth powers|off|noise"),
        (lambda widths, slope: _moment(widths, slope, keep, c=1 / keep), "that of its square|off"),
        (lambda widths, slope: _moment(widths, slope, keep**2), "off|noise"),
        (lambda widths, slope: _moment(widths, slope, keep, layers=len(widths)), "one layer|noise"),
        (q4_bent(output=True), "only the output|off|noise"),
        (q4_bent(minus=0.0), "off|noise"),
        (q4_bent(thirds=1), "off|noise"),
        (lambda widths, slope: q4(widths, slope) - 1, "second moment, not the variance|noise"),
        (lambda widths, slope: math.sqrt(q4(widths, slope)), "square of a root|noise"),
        (lambda widths, slope: q4(widths[:1], slope), "off"),
        (lambda widths, slope: q4(widths, abs(slope)) if slope != -1 else 0.0, "off"),
        (lambda widths, slope: [q4(widths, slope)], "single number"),
        (lambda widths, slope: 1 + 3 / widths[0], "off|noise"),
    ]

    def q5_bent(speed=0, time=lambda t, L: t, root=True, loss=False, top=0, power=0, shape=None):
        def bent(depth, dimension, start, target):
            fraction = 1 - math.sqrt(1 - share) if loss else share
            end = (fraction * target) ** (1 / depth) if root else share * target
            grid = np.linspace(math.log(start), math.log(end), 4001)
            s = np.exp((grid[1:] + grid[:-1]) / 2)
            passed = np.sum(np.diff(grid) / (s ** (depth - 2 + speed) * (target - s**depth)))
            end = (share * target) ** (1 / depth)
            return [
                time(passed, depth),
                (depth + top) * end ** (2 * depth - 2 + power),
                shape(depth, dimension) if shape else depth / math.sqrt(depth**2 + dimension - 1),
            ]

        return bent

    q5 = answers["q5"][0]
    fifth = [
        (q5_bent(time=lambda t, L: t / 2), "a half in front|not that of descent"),
        (q5_bent(speed=1), "as there are other layers|not that of descent"),
        (q5_bent(time=lambda t, L: t / L), "not move like one|a half in front|not that of"),
        (q5_bent(time=lambda t, L: t * L), "equation|not that of descent"),
        (q5_bent(root=False), "power of s|not that of descent"),
        (q5_bent(loss=True), "not the loss|not that of descent"),
        (q5_bent(top=1), "first layer is counted twice"),
        (q5_bent(top=-1), "first layer is missing"),
        (q5_bent(power=2), "own weights"),
        (
            lambda depth, dimension, start, target: (
                np.array(q5(depth, dimension, start, target))
                / [1, (share * target) ** (1 - 1 / depth), 1]
            ),
            "stands squared",
        ),
        (q5_bent(shape=lambda L, d: L / (L**2 + d - 1)), "norm is a root"),
        (q5_bent(shape=lambda L, d: 1.0), "largest eigenvalue"),
        (q5_bent(shape=lambda L, d: L / (L + d - 1)), "not the trace"),
        (q5_bent(shape=lambda L, d: L / math.sqrt(L**2 + d)), "other directions"),
        (lambda depth, dimension, start, target: q5(2, dimension, start, target), "off|time|every"),
        (lambda depth, dimension, start, target: q5(depth, dimension, start, target)[:1], "shape"),
    ]
    return {"q1": first, "q2": second, "q3": third, "q4": fourth, "q5": fifth}
