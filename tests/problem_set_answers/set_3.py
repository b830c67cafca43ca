"""Answers to set 3, right ones in other ways and wrong ones as students write them.

heron5b1e0c77q: solutions, for instructors.
"""

import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.linalg
import scipy.special
from ntklab import spectral_bias


def right(variants):
    """Of each question three answers or more that must get full marks."""
    v1, v2, v3, v4, v5 = (variants[f"q{i}"] for i in range(1, 6))
    a, b = v1["first"], v1["second"]
    first, second, slope = v2["first"], v2["second"], float(v3["slope"])

    def q1_grid(correlation, weights):
        largest = []
        for weight in weights.tolist():
            root = np.array([weight**0.5, 1.0])
            gram = np.array([[1.0, correlation], [correlation, 1.0]])
            values, vectors = np.linalg.eigh(gram * np.outer(root, root))
            parts = vectors[1] * (vectors.T @ (root * [-a, b]))
            times = np.append(0, np.geomspace(1e-6, 50, 30000))
            largest.append(np.max(np.abs(np.exp(-np.outer(times, values)) @ parts)))
        return largest

    def q1_exponential(correlation, weights):
        found = []
        for weight in weights:
            matrix = np.array([[weight, correlation], [correlation * weight, 1.0]])
            times = np.append(0, np.geomspace(1e-3, 8, 1500)) / weight**0.5
            left = scipy.linalg.expm(-times[:, None, None] * matrix) @ np.array([-a, b])
            found.append(np.abs(left[:, 1]).max())
        return np.array(found)

    def q1_single(correlation, weights):
        weights, c = np.asarray(weights, np.float32), np.float32(correlation)
        gap = np.sqrt((1 - weights) ** 2 + 4 * c**2 * weights)
        fast = (1 + weights + gap) / 2
        slow = weights * (1 - c**2) / fast
        push = np.maximum(c * weights * np.float32(a) - np.float32(b), np.float32(1e-6))
        quick, lasting = -(push + slow * np.float32(b)), push + fast * np.float32(b)
        time = np.maximum(np.log(-quick * fast / (lasting * slow)), 0) / (gap + np.float32(1e-9))
        peak = (quick * np.exp(-fast * time) + lasting * np.exp(-slow * time)) / (
            gap + np.float32(1e-9)
        )
        return jnp.asarray(np.where(push < 1e-5, np.float32(b), peak))

    def q2_loops(frequencies):
        found = []
        for k in frequencies.tolist():
            if k == 0:
                found.append(first / 2 + second / 2)
            elif k == 2:
                found.append(first / 4 + second / 8)
            elif k % 2 == 0:
                found.append(0)
            else:
                far = (k * k - 4) ** 2 * k * k * np.pi**2
                found.append((8 * first * (k * k + 4) + 32 * second) / far)
        return found

    def q2_shifts(frequencies):
        k = np.abs(frequencies)

        def relu(k):  # the coefficients of (sin ω + (π - ω) cos ω)/2π
            k = np.abs(k)
            even = np.where(k % 2 == 0, 2 / np.pi**2 / np.where(k == 1, 9, k**2 - 1) ** 2, 0)
            return np.where(k == 1, 1 / 8, even)

        inner = 2 * (relu(k + 1) + relu(k - 1))
        safe = np.where(k % 2 == 1, k, 1)
        outer = np.where(k % 2 == 1, 32 / (np.pi * safe * (safe - 2) * (safe + 2)) ** 2, 0)
        outer = outer + np.where(k == 0, 0.5, 0) + np.where(k == 2, 0.125, 0)
        return first * inner + second * outer

    def q2_single(frequencies):
        k = jnp.asarray(frequencies, jnp.float32)
        inverse = jnp.where(k % 2 == 1, 1 / jnp.maximum(k, 1), 0)
        share = 1 / (1 - 4 * inverse**2) / jnp.float32(np.pi)
        odd = (8 * first * (1 + 4 * inverse**2) + 32 * second * inverse**2) * share**2 * inverse**4
        low = jnp.where(k == 0, (first + second) / 2, jnp.where(k == 2, first / 4 + second / 8, 0))
        return odd + low

    def q3_networks(points, width, frequency, time, draws, seed):
        rng, left = np.random.default_rng([3, seed]), []
        angles = 2 * np.pi / points * np.arange(points)
        x = np.stack([np.cos(angles), np.sin(angles)], 1)
        wave = np.cos(frequency * angles)
        wave = wave / np.linalg.norm(wave)
        for _ in range(draws):
            w, signs = rng.normal(size=(width, 2)), rng.choice([-1, 1], size=width)
            gates = np.where(x @ w.T > 0, 1.0, slope) * signs
            jacobian = (gates[:, :, None] * x[:, None, :]).reshape(points, -1) / width**0.5
            values, vectors = np.linalg.eigh(jacobian @ jacobian.T)
            left.append((wave @ vectors) ** 2 @ np.exp(-time * values))
        return np.mean(left), np.std(left, ddof=1) / draws**0.5

    def q3_single(points, width, frequency, time, draws, seed):
        angles = jnp.asarray(2 * np.pi * np.arange(points) / points, jnp.float32)
        turns = np.random.default_rng(seed).uniform(-np.pi, np.pi, size=(draws, width, 1))
        gates = jnp.where(jnp.cos(angles - jnp.float32(turns)) > 0, 1, jnp.float32(slope))
        gram = jnp.einsum("dji,djk->dik", gates, gates) / width
        values, vectors = jnp.linalg.eigh(gram * jnp.cos(angles[:, None] - angles))
        wave = jnp.cos(frequency * angles)
        shares = jnp.einsum("i,dik->dk", wave / jnp.linalg.norm(wave), vectors) ** 2
        left = jnp.sum(shares * jnp.exp(-jnp.float32(time) * values), 1)
        return jnp.stack([left.mean(), left.std() / jnp.float32((draws - 1) ** 0.5)])

    def q3_steps(points, width, frequency, time, draws, seed):
        rng = np.random.default_rng(seed + 17)
        angles = 2 * np.pi * np.arange(points) / points
        x = np.stack([np.cos(angles), np.sin(angles)])
        gates = np.where(rng.normal(size=(draws, width, 2)) @ x > 0, 1.0, slope)
        gram = np.swapaxes(gates, 1, 2) @ gates / width * (x.T @ x)
        wave = np.sin(frequency * angles + np.pi / 2) / (points / 2) ** 0.5
        left, h = np.tile(wave[:, None], (draws, 1, 1)), time / 150
        for _ in range(150):  # Taylor's series to the fourth order in each step
            term = left
            for order in range(1, 5):
                term = -h / order * (gram @ term)
                left = left + term
        shares = left[:, :, 0] @ wave
        return [float(shares.mean()), float(shares.std(ddof=1) / np.sqrt(draws))]

    def clock(count):
        return {"count": count}.get(v4["clock"], v4["clock"])

    def q4_loops(coefficients, count, frequency, times):
        top, own, total, squares = len(coefficients) - 1, 0.0, 0.0, 0.0
        for wave in range(-top, top + 1):
            if (wave - frequency) % count == 0:
                rate = float(coefficients[abs(wave)])
                own += rate * (wave == frequency)
                total += rate
                squares += rate**2
        found = []
        for time in times.tolist():
            s = 1 - np.exp(-clock(count) * total * time)
            found.append(0.5 - s * own / total + s**2 * squares / total**2 / 2)
        return found

    def q4_outputs(coefficients, count, frequency, times):
        size = 4 * (len(coefficients) + frequency)
        fine, points = (2 * np.pi * np.arange(k) / k for k in (size, count))
        k = np.arange(len(coefficients))
        factors = coefficients * np.where(k > 0, 2, 1)
        near = np.cos((fine[:, None] - points)[..., None] * k) @ factors
        gram = np.cos((points[:, None] - points)[..., None] * k) @ factors
        y, found = np.cos(frequency * points), []
        for time in times:
            decay = scipy.linalg.expm(-clock(count) / count * time * gram)
            outputs = near @ np.linalg.lstsq(gram, y - decay @ y, rcond=1e-10)[0]
            found.append(np.mean((outputs - np.cos(frequency * fine)) ** 2))
        return np.array(found)

    def q4_single(coefficients, count, frequency, times):
        both = jnp.asarray(coefficients, jnp.float32)
        both = jnp.concatenate([both, jnp.zeros(frequency, jnp.float32)])
        both = jnp.concatenate([both[:0:-1], both])
        waves = jnp.arange(len(both)) - len(both) // 2
        rates = jnp.where((waves - frequency) % count == 0, both, 0)
        total = jnp.sum(rates)
        decay = jnp.exp(-clock(count) * total * jnp.asarray(times, jnp.float32))
        made = (1 - decay)[:, None] * rates / total
        return jnp.sum((made - (waves == frequency)) ** 2, 1) / 2

    kinds = {"np.maximum(u, 0)": (0.5, 0.5, 0), "1.0 * (u > 0)": (0, 1, 0)}
    kinds |= {"np.abs(u)": (1, 0, 1), "np.sign(u)": (-1, 2, 2)}

    def q5_quad(dimension, times):
        def target(angle):
            return eval(v5["values"], {"np": np, "u": np.cos(angle)})

        def mean(f):
            parts = [(0, np.pi / 2), (np.pi / 2, np.pi)]
            return sum(
                scipy.integrate.quad_vec(
                    lambda s: f(s) * np.sin(s) ** (dimension - 2), *part, epsabs=1e-13
                )[0]
                for part in parts
            )

        one, h = mean(lambda s: 1.0), dimension / 2 - 1
        k = np.arange(16 if dimension > 6 else 40)

        def harmonics(s):
            binom = scipy.special.binom(k + 2 * h - 1, k)
            return scipy.special.eval_gegenbauer(k, h, np.cos(s)) / binom

        norms = mean(lambda s: harmonics(s) ** 2) / one
        parts = mean(lambda s: harmonics(s) * target(s)) / one
        kernel = spectral_bias.both_layers_kernel
        rates = mean(lambda s: harmonics(s) * kernel(np.cos(s))) / one
        learned = (1 - np.exp(-2 * np.outer(times, np.maximum(rates, 0)))) @ (parts**2 / norms)
        return mean(lambda s: target(s) ** 2) / one - learned

    def energies(d, top):
        """By Gamma functions: step μ_k, ReLU ν_k; |u| = 2 ReLU - u, sign = 2 step - 1."""
        k, log = np.arange(top + 1), scipy.special.gammaln
        mu, nu = np.zeros(top + 1), np.zeros(top + 1)
        odd, even = k[1::2], k[2::2]
        mu[odd] = np.exp(log(d / 2) + log(odd / 2) - log((odd + d) / 2)) / (2 * np.pi)
        nu[even] = np.exp(log(d / 2) + log((even - 1) / 2) - log((even + d + 1) / 2)) / (4 * np.pi)
        mu[0], nu[1] = 0.5, 1 / (2 * d)
        nu[0] = np.exp(log(d / 2) - log((d - 1) / 2)) / np.sqrt(np.pi) / (d - 1)
        part = {
            "np.maximum(u, 0)": nu,
            "1.0 * (u > 0)": mu,
            "np.abs(u)": 2 * nu - (k == 1) / d,
            "np.sign(u)": 2 * mu - (k == 0),
        }[v5["values"]]
        binom = scipy.special.binom
        return part, binom(k + d - 1, d - 1) - np.where(k > 1, binom(k + d - 3, d - 1), 0)

    def whole(d):
        values = ("np.maximum(u, 0)", 0.5 / d), ("1.0 * (u > 0)", 0.5), ("np.abs(u)", 1 / d)
        return dict(values).get(v5["values"], 1.0)

    def q5_gamma(dimension, times):
        part, counts = energies(dimension, 300)
        rates = spectral_bias.both_layers_spectrum(dimension, 300)
        learned = counts * part**2 * (1 - np.exp(-2 * times[:, None] * rates))
        return (whole(dimension) - learned.sum(1)).tolist()

    def q5_single(dimension, times):
        part, counts = energies(dimension, 60)
        rates = jnp.asarray(spectral_bias.both_layers_spectrum(dimension, 60), jnp.float32)
        shares = jnp.asarray(counts * part**2, jnp.float32)
        gone = -jnp.expm1(-2 * jnp.asarray(times, jnp.float32)[:, None] * rates)
        return jnp.float32(whole(dimension)) - gone @ shares

    return {
        "q1": [q1_grid, q1_exponential, q1_single],
        "q2": [q2_loops, q2_shifts, q2_single],
        "q3": [q3_networks, q3_single, q3_steps],
        "q4": [q4_loops, q4_outputs, q4_single],
        "q5": [q5_quad, q5_gamma, q5_single],
    }


def wrong(variants):
    """Of each question six wrong answers or more, with a part of what must be said about them."""
    v1, v2, v3, v4, v5 = (variants[f"q{i}"] for i in range(1, 6))
    a, b = v1["first"], v1["second"]
    first, second, slope = v2["first"], v2["second"], float(v3["slope"])
    answers = right(variants)

    def q1_bent(matrix, what=lambda times, left: np.max(np.abs(left[:, 1]))):
        def q1(correlation, weights):
            gram, found = np.array([[1.0, correlation], [correlation, 1.0]]), []
            for weight in weights.tolist():
                bent = matrix(gram, weight)
                times = np.append(0, np.geomspace(1e-3, 20, 3000)) / weight**0.5
                values, vectors = np.linalg.eig(bent)
                parts = vectors * np.linalg.solve(vectors, np.array([-a, b]))
                left = np.exp(-np.outer(times, values)) @ parts.T
                found.append(what(times, left))
            return np.array(found)

        return q1

    def right_matrix(gram, weight):
        return gram * np.array([weight, 1.0])

    q1 = answers["q1"][0]
    one = [
        (lambda correlation, weights: None, "None"),
        (lambda correlation, weights: np.full(len(weights), b), "error at the start"),
        (
            q1_bent(lambda gram, w: gram * np.array([[w], [1.0]])),
            "columns of K|error at the start|must not fall",
        ),
        (
            q1_bent(lambda gram, w: gram * np.sqrt(np.outer([w, 1.0], [w, 1.0]))),
            "only has the same eigenvalues",
        ),
        (q1_bent(lambda gram, w: gram * np.array([w**2, 1.0])), "not squared"),
        (
            q1_bent(lambda gram, w: gram * np.array([1.0, w])),
            "other example|not fall|error at the start",
        ),
        (
            q1_bent(right_matrix, lambda times, left: times[np.argmax(np.abs(left[:, 1]))]),
            "not its time|correlation 0",
        ),
        (
            q1_bent(right_matrix, lambda times, left: np.max(np.linalg.norm(left, axis=1))),
            "correlation 0",
        ),
        (lambda correlation, weights: 0 * weights + b + correlation * a, "limit of a large"),
        (lambda correlation, weights: q1(correlation, 0 * weights + 3.0), "off by|error at"),
        (lambda correlation, weights: np.array(q1(correlation, weights)) - b, "correlation 0"),
        (lambda correlation, weights: q1(correlation, weights)[0], "single number|shape"),
        (
            lambda correlation, weights: np.array(q1(correlation, weights)) ** 2 / 2,
            "correlation 0|off by",
        ),
    ]

    def q2_bent(change):
        def q2(frequencies):
            k = np.asarray(frequencies, float)
            odd, safe = k % 2 == 1, np.where(k % 2 == 1, k, 1.0)
            inner = 8 * (safe**2 + 4) / (np.pi * safe * (safe**2 - 4)) ** 2
            inner = np.where(odd, inner, np.select([k == 0, k == 2], [0.5, 0.25]))
            outer = 32 / (np.pi * safe * (safe**2 - 4)) ** 2
            outer = np.where(odd, outer, np.select([k == 0, k == 2], [0.5, 0.125]))
            return change(k, inner, outer)

        return q2

    def q2_relu(frequencies):
        k = np.asarray(frequencies, float)
        even = (k**2 + 3) / (np.pi * np.where(k == 1, 9, k**2 - 1)) ** 2
        return np.where(k == 1, 0.25, np.where(k % 2 == 0, even, 0))

    def q2_quadrature(frequencies):
        nodes, weights = np.polynomial.legendre.leggauss(300)
        angles = np.pi / 2 * (1 + nodes)
        sine, cosine, rest = np.sin(angles), np.cos(angles), np.pi - angles
        kernel = first * 4 * cosine * (sine + rest * cosine)
        kernel += second * (3 * sine * cosine + rest * (1 + 2 * cosine**2))
        return np.cos(np.outer(frequencies, angles)) @ (kernel * weights) / (4 * np.pi)

    q2 = answers["q2"][0]
    total = r"add up|quotient|\bq2\b"
    two = [
        (lambda k: ..., "nothing is filled in"),
        (q2_relu, "not 0 at a frequency"),
        (q2_quadrature, "high"),
        (q2_bent(lambda k, i, o: first * i / 4 + second * o), "has a factor" if first else "^$"),
        (q2_bent(lambda k, i, o: first * i / 2 + second * o), "each of the two" if first else "^$"),
        (
            q2_bent(lambda k, i, o: (1 - first) * i + (1 - second) * o)
            if first + second < 2
            else q2_bent(lambda k, i, o: i),
            "layer is not what is missing",
        ),
        (
            q2_bent(lambda k, i, o: i + o) if first + second < 2 else q2_bent(lambda k, i, o: o),
            "should not be|not what is missing",
        ),
        (
            q2_bent(lambda k, i, o: (first * i + second * o) * np.where(k == 0, 1, 2)),
            "only k = 0 is counted once",
        ),
        (lambda k: q2(k + 1), total),
        (lambda k: np.array(q2(k)) * np.where(k == 2, 0, 1), "is 0 at a frequency"),
        (lambda k: np.array(q2(k)) + 1e-4, "not 0"),
        (lambda k: 2 * np.pi * np.array(q2(k)), "factor in every entry|add up"),
        (lambda k: np.sqrt(np.array(q2(k))), total),
        (lambda k: np.array(q2(k))[:1], "shape"),
    ]
    two = [(answer, said) for answer, said in two if said != "^$"]

    def q3_bent(**bend):
        def q3(points, width, frequency, time, draws, seed):
            rng = np.random.default_rng(bend.get("seed", seed))
            angles = 2 * np.pi * np.arange(points) / points
            wave = np.cos(frequency * angles)
            wave = wave if bend.get("long") else wave / np.linalg.norm(wave)
            turns = rng.uniform(0, 2 * np.pi, size=(draws, width, 1))
            gates = np.where(np.cos(angles - turns) > 0, 1.0, bend.get("slope", slope))
            grams = np.swapaxes(gates, 1, 2) @ gates / (1 if bend.get("sum") else width)
            grams = grams * np.cos(angles[:, None] - angles)
            if bend.get("limit"):
                grams = np.broadcast_to(grams.mean(0), grams.shape)
            values, vectors = np.linalg.eigh(grams)
            shares = (wave @ vectors) ** 2
            time = time / points if bend.get("mean_loss") else time
            left = np.sum(shares * np.exp(-values * time * bend.get("twice", 1)), -1)
            if bend.get("outside"):
                left = np.exp(-time * np.sum(shares * values, -1))
            left = bend.get("of", lambda x: x)(left)
            spread = left.std(ddof=1) * bend.get("spread", lambda n: 1 / np.sqrt(n))(draws)
            return np.array([left.mean(), spread])

        return q3

    q3 = answers["q3"][1]
    three = [
        (q3_bent(seed=1), "same draws"),
        (q3_bent(seed=None), "two results"),
        (q3_bent(limit=True), "limit kernel predicts|above 0"),
        (q3_bent(outside=True), "outside of the mean|limit kernel|too small"),
        (q3_bent(twice=2, of=np.sqrt), "norm of what is left"),
        (q3_bent(of=np.square), "the square|too small"),
        (q3_bent(mean_loss=True), "not a mean over the points"),
        (q3_bent(sum=True), "mean over the units"),
        (q3_bent(long=True), "time 0|norm 1"),
        (q3_bent(slope=1.0), "too|above 0|slope"),
        (q3_bent(spread=lambda n: 1.0), "spread of one network"),
        (q3_bent(spread=lambda n: 1 / n), "too many draws"),
        (q3_bent(spread=lambda n: 1.96 / np.sqrt(n)), "half an interval"),
        (q3_bent(spread=lambda n: np.sqrt(3 / n)), "not the spread|half an interval"),
        (lambda *given: q3(*given)[0], "single number|shape"),
        (lambda n, m, k, t, d, seed: [np.exp(-t) + 1e-9 * seed, 0.01 + 1e-9 * seed], "q3"),
    ]

    def q4_bent(**bend):
        def q4(coefficients, count, frequency, times):
            top = len(coefficients) - 1
            waves = np.arange(-top, top + 1)
            if bend.get("one_side"):
                waves = waves[waves >= 0]
            same = (waves - frequency) % count == 0
            rates = np.where(same, coefficients[np.abs(waves)], 0)
            if bend.get("no_alias"):
                rates = rates * (waves == frequency)
            total = np.sum(rates)
            rate = {"count": count}.get(v4["clock"], v4["clock"]) * total
            s = 1 - np.exp(-rate * bend.get("clock", lambda n: 1.0)(count) * times)
            own = np.sum(rates * (waves == frequency)) / total
            others = np.sum((rates / total) ** 2) - own**2
            found = ((1 - s * own) ** 2 + s**2 * others) / 2
            return bend.get("end", lambda e, s, own, o: e)(found, s, own, others)

        return q4

    q4 = answers["q4"][0]
    four = [
        (lambda *given: None, "None"),
        (q4_bent(end=lambda e, s, own, o: (1 - s) ** 2 / 2), "error on the points"),
        (q4_bent(end=lambda e, s, own, o: 2 * e), "mean of a squared wave|at the start"),
        (q4_bent(clock=lambda n: n), "another loss"),
        (q4_bent(clock=lambda n: 1 / n), "another loss"),
        (q4_bent(clock=lambda n: 2), "another loss, by a factor of 2"),
        (q4_bent(clock=lambda n: 1 / 2), "another loss, by half"),
        (q4_bent(end=lambda e, s, own, o: (1 - s * own) ** 2 / 2), "points add"),
        (q4_bent(no_alias=True), "q4 on|on the points"),
        (q4_bent(one_side=True), "q4 on"),
        (q4_bent(end=lambda e, s, own, o: ((1 - s) ** 2 + s**2 * o) / 2), "own share"),
        (lambda c, n, k, t: q4(c, n, k % n, t), "at frequency"),
        (q4_bent(end=lambda e, s, own, o: e - (own == 0) / 2), "at frequency"),
        (lambda c, n, k, t: q4(c, n, k, t[:1]), "shape"),
        (lambda c, n, k, t: np.sqrt(q4(c, n, k, t)), "q4"),
        (lambda c, n, k, t: q4(c, n, k, 0 * t + t[-1]), "start and late|q4"),
    ]

    def q5_bent(**bend):
        def q5(d, times):
            nodes, weights = np.polynomial.legendre.leggauss(200)
            angles = np.pi / 4 * np.concatenate([nodes + 1, nodes + 3])
            u = np.cos(angles)
            law = np.tile(weights, 2) * np.sin(angles) ** (d - 2)
            law = law / law.sum()
            target = eval(v5["values"], {"np": np, "u": u})
            top = bend.get("top", 60)
            spectrum = bend.get("spectrum", spectral_bias.both_layers_spectrum)
            rates = spectrum(d, top)
            binom, k = scipy.special.binom, np.arange(top + 1)
            counts = binom(k + d - 1, d - 1) - np.where(k > 1, binom(k + d - 3, d - 1), 0)
            old, new, parts = 0 * u, 0 * u + 1, []
            for j in range(top + 1):
                parts.append(law @ (target * new))
                old, new = new, ((2 * j + d - 2) * u * new - j * old) / (j + d - 2)
            energy = np.array(parts) ** 2 * counts ** bend.get("power", 1)
            rates = rates * counts if bend.get("all") else rates
            decay = np.exp(-bend.get("double", 2) * np.outer(times, rates))
            if bend.get("sum"):
                return decay @ energy
            return law @ target**2 - (1 - decay) @ energy

        return q5

    q5 = answers["q5"][1]
    floor = v5["values"] in ("1.0 * (u > 0)", "np.sign(u)")
    five = [
        (lambda d, times: None, "None"),
        (q5_bent(double=1), "so is the factor"),
        (
            q5_bent(spectrum=spectral_bias.first_layer_spectrum),
            "not trained alone|so is the factor",
        ),
        (q5_bent(power=0), "more than one"),
        (q5_bent(power=0, sum=True), "more than one|start|time 0"),
        (q5_bent(power=2), "norm of the one direction|must fall"),
        (q5_bent(all=True), "do not add up"),
        (q5_bent(top=10, sum=True), "above 10 are missing|late|time 0"),
        (q5_bent(top=20, sum=True), "above 20|late" if not floor else "20|q5"),
        (lambda d, times: np.sqrt(q5(d, times)), "mean square|off by"),
        (lambda d, times: np.array(q5(d, times)) * d, "mean square"),
        (lambda d, times: q5(3, times), "dimension|time 0"),
        (lambda d, times: q5(d, times)[0], "single number|shape"),
        (lambda d, times: np.exp(-times / d), "time 0|q5 in dimension"),
    ]
    return {"q1": one, "q2": two, "q3": three, "q4": four, "q5": five}
