"""Answers to set 4, right ones in other ways and wrong ones as students write them.

heron5b1e0c77q: solutions, for instructors.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np


def right(variants):
    """Of each question three answers or more that must get full marks."""
    v1, v2, v3, v4, v5, v6 = (variants[f"q{i}"] for i in range(1, 7))
    clean, start, mean = 1 - 2 * float(v1["noise"]), float(v3["start"]), float(v5["mean"])
    member = eval(f"lambda sizes: {v4['member']}")

    def q1_recursion(means, degree):
        """Over the bits, without an array."""
        means = [float(m) for m in means]

        def catch(k, left):
            if left < 0:
                return 0.0
            if (k, left) not in seen:
                m = means[k] if k < len(means) else 0
                seen[k, left] = (
                    m**2 * catch(k + 1, left) + (1 - m**2) * catch(k + 1, left - 1)
                    if k < len(means)
                    else 1.0
                )
            return seen[k, left]

        seen = {}
        return 0.5 * clean**2 * catch(0, degree)

    def q1_polynomial(means, degree):
        roots = np.polynomial.Polynomial([1.0])
        for m in means:
            roots = roots * np.polynomial.Polynomial([m * m, 1 - m * m])
        return np.array(sum(roots.coef[: degree + 1]) * clean**2 / 2)

    def q1_single(means, degree):
        squares = jnp.asarray(means, jnp.float32) ** 2
        law = jnp.zeros(len(means) + 1, jnp.float32).at[0].set(1)
        for s in squares:
            law = s * law + (1 - s) * jnp.concatenate([jnp.zeros(1, jnp.float32), law[:-1]])
        return jnp.sum(law[: degree + 1]) * jnp.float32(clean**2 / 2)

    def q2_loops(weights, biases, outer):
        n = weights.shape[1]
        points = list(itertools.product((1, -1), repeat=n))
        rows = []
        for x in points:
            u = np.array([float(np.dot(w, x) + b) for w, b in zip(weights, biases, strict=True)])
            inner = outer * _at(v2["slope"], u)
            rows.append(np.concatenate([np.outer(inner, x).ravel(), inner, _at(v2["value"], u)]))
        found = [0.0] * (n + 1)
        for chosen in itertools.product((0, 1), repeat=n):
            chi = np.array(
                [math.prod(v for v, c in zip(x, chosen, strict=True) if c) for x in points]
            )
            found[sum(chosen)] += float(np.sum((chi @ np.array(rows) / 2**n) ** 2))
        return found

    def q2_gradient(weights, biases, outer):
        """By automatic differentiation and a transform bit by bit, in single precision."""
        n = weights.shape[1]
        params = tuple(jnp.asarray(p, jnp.float32) for p in (weights, biases, outer))
        value = eval(f"lambda u: {v2['value']}", {"np": jnp})

        def network(params, x):
            w, b, a = params
            return a @ value(w @ x + b)

        points = jnp.asarray(list(itertools.product((1, -1), repeat=n)), jnp.float32)
        parts = jax.vmap(jax.grad(network), (None, 0))(params, points)
        flat = jnp.concatenate([part.reshape(2**n, -1) for part in parts], 1)
        table = flat.reshape((2,) * n + (-1,))
        for axis in range(n):
            plus, minus = jnp.take(table, 0, axis), jnp.take(table, 1, axis)
            table = jnp.stack([plus + minus, plus - minus], axis) / 2
        squares = jnp.sum(table**2, -1).ravel()
        sizes = np.array([sum(c) for c in itertools.product((0, 1), repeat=n)])
        return jnp.stack([jnp.sum(squares[sizes == k]) for k in range(n + 1)])

    def q2_pairs(weights, biases, outer):
        """By noise: the energies are coefficients of E ⟨∇f(x), ∇f(x ∘ z)⟩ in the bits z."""
        n = weights.shape[1]
        x = np.array(list(itertools.product((1, -1), repeat=n)))
        u = x @ weights.T + biases
        inner, value = outer * _at(v2["slope"], u), _at(v2["value"], u)
        gram = (x @ x.T + 1) * (inner @ inner.T) + value @ value.T
        differ = (n - x @ x.T) // 2
        kernel = np.bincount(differ.ravel(), gram.ravel(), minlength=n + 1) / 4**n
        krawtchouk = [
            [
                sum((-1) ** j * math.comb(h, j) * math.comb(n - h, k - j) for j in range(k + 1))
                for h in range(n + 1)
            ]
            for k in range(n + 1)
        ]
        return np.array(krawtchouk) @ kernel

    def q3_transfer(subset, n, rho, alpha):
        step = np.array([[1 + rho, 1 - rho], [1 - rho, 1 + rho]]) / 2
        chosen, sign = set(np.asarray(subset).tolist()), np.array([1.0, -1.0])
        # What stands before a bit and what comes after it, each with the signs of its own.
        before, after = [np.array([1 + start, 1 - start]) / 2], [np.ones(2)]
        for i in range(n - 1):
            before.append(step @ (before[-1] * (sign if i in chosen else 1)))
        for i in range(n - 1, 0, -1):
            after.append(step.T @ (after[-1] * (sign if i in chosen else 1)))
        after = after[::-1]
        here = [before[i] * after[i] * (1 if i in chosen else sign) for i in range(n)]
        return [alpha * float(h.sum()) for h in here]

    def q3_counts(subset, n, rho, alpha):
        """Whether a step of the chain counts: an odd number of bits after it."""
        found = np.empty(n)
        for i in range(n):
            there = np.zeros(n, int)
            there[np.asarray(subset)] = 1
            there[i] ^= 1
            after = np.cumsum(there[::-1])[::-1] % 2
            found[i] = alpha * start ** after[0] * rho ** int(after[1:].sum())
        return found

    def q3_single(subset, n, rho, alpha):
        return jnp.asarray(q3_counts(subset, n, np.float32(rho), np.float32(alpha)), jnp.float32)

    def characters(n):
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return (1 - 2 * (bits @ bits.T % 2))[member(bits.sum(1))]

    def q4_other_point(n, epsilon):
        """All of it at another point, in single precision."""
        law = np.full(2**n, (1 - epsilon) / 2**n, np.float32)
        law[5] += np.float32(epsilon)
        chi = characters(n)
        return np.float32(np.stack([law, chi[:, 5] @ chi / len(chi)]))

    def q4_eigenvector(n, epsilon):
        law = np.full(2**n, (1 - epsilon) / 2**n)
        law[-1] = law[-1] + epsilon
        chi = characters(n)
        _, vectors = np.linalg.eigh((chi * law) @ chi.T)
        return [law.tolist(), (-3 * vectors[:, -1] @ chi).tolist()]

    def q4_two_points(n, epsilon):
        """With mass at x and −x where that correlates the targets as much, else at one point."""
        chi = characters(n)
        law = jnp.full(2**n, (1 - epsilon) / 2**n)
        ends = (
            jnp.array([0, 2**n - 1])
            if np.all(chi[:, 0] * chi[0, 0] == chi[:, -1] * chi[0, -1])
            else jnp.array([0])
        )
        law = law.at[ends].add(epsilon / len(ends))
        return jnp.stack([law, jnp.asarray(chi[:, 0] @ chi, law.dtype)])

    def q5_trials(n, k, alpha, samples, trials, seed):
        """One trial after the other, another set, another order of the draws."""
        rng = np.random.default_rng([seed, 11])
        hits = 0
        for _ in range(trials):
            leaks = rng.uniform(size=samples) < alpha
            x = rng.choice([-1, 1], size=(samples, n))
            biased = np.where(rng.uniform(size=(samples, n)) < (1 + mean) / 2, 1, -1)
            x[leaks] = biased[leaks]
            y = x[:, n - k :].prod(1)
            g = np.abs(y @ x)
            hits += bool(g[n - k :].min() > g[: n - k].max())
        share = hits / trials
        return [share, math.sqrt(share * (1 - share) / trials)]

    def q5_jax(n, k, alpha, samples, trials, seed):
        keys = jax.random.split(jax.random.key(seed), 2)
        kinds = jax.random.bernoulli(keys[0], alpha, (trials, samples, 1))
        up = jnp.where(kinds, jnp.float32((1 + mean) / 2), jnp.float32(0.5))
        x = 2 * (jax.random.uniform(keys[1], (trials, samples, n), jnp.float32) < up) - 1
        g = jnp.abs(jnp.sum(jnp.prod(x[..., :k], -1, keepdims=True) * x, 1))
        hits = jnp.min(g[:, :k], 1) > jnp.max(g[:, k:], 1)
        share = jnp.mean(hits.astype(jnp.float32))
        return jnp.stack([share, jnp.sqrt(share * (1 - share) / trials)])

    def q5_unbiased(n, k, alpha, samples, trials, seed):
        """With the trace divided by N, and n − 1 in the standard error."""
        rng = np.random.default_rng(seed + 5)
        hits = []
        for _ in range(trials):
            bias = mean * (rng.random((samples, 1)) < alpha)
            x = np.sign((1 + bias) / 2 - rng.random((samples, n)))
            g = np.rint((np.prod(x[:, :k], 1, keepdims=True) * x).sum(0)) / samples
            hits.append(
                sorted(abs(g))[-k:] == sorted(abs(g[:k])) and min(abs(g[:k])) > max(abs(g[k:]))
            )
        return np.array([np.mean(hits), np.std(hits, ddof=1) / np.sqrt(trials)])

    def q6_gegenbauer(dimension, features):
        return _floor(v6, dimension, features)

    def q6_single(dimension, features):
        return jnp.float32(_floor(v6, dimension, features))

    def q6_moments(dimension, features):
        """By the moments of t: E |t|^s is a quotient of Gammas, and P_k a polynomial."""
        d, odd, power = dimension, int(v6["odd"]), int(v6["power"])

        def moment(s):
            return math.exp(
                math.lgamma((s + 1) / 2) + math.lgamma(d / 2) - math.lgamma((s + d) / 2)
            ) / math.sqrt(math.pi)

        levels = []
        for k in range(odd, 46, 2):
            # Rodrigues: E φ P_k = c E φ^(k) (1 − t²)^k, as a quotient of consecutive degrees.
            if k == odd:
                a = moment(power + k)
            else:
                a *= (power - k + 2) / (power + k + d - 2)
            count = math.comb(k + d - 1, k) - (math.comb(k + d - 3, k - 2) if k > 1 else 0)
            levels.append((a * a, count))
        rest, error = features, moment(2 * power)
        for level, count in sorted(levels)[::-1]:
            error -= level * min(rest, count)
            rest -= min(rest, count)
        return [error][0]

    return {
        "q1": [q1_recursion, q1_polynomial, q1_single],
        "q2": [q2_loops, q2_gradient, q2_pairs],
        "q3": [q3_transfer, q3_counts, q3_single],
        "q4": [q4_other_point, q4_eigenvector, q4_two_points],
        "q5": [q5_trials, q5_jax, q5_unbiased],
        "q6": [q6_gegenbauer, q6_single, q6_moments],
    }


def _at(text, u):
    return eval(text, {"np": np, "u": u})


def _floor(variant, d, features, *, squared=2, alone=False, spread=None, degree_order=False):
    """The floor by a fine sum over angles and Gegenbauer's recursion; and what may be wrong."""
    odd, power = int(variant["odd"]), int(variant["power"])
    cells = 20_000
    angle = (np.arange(cells) + 0.5) * np.pi / 2 / cells
    t, law = np.cos(angle), np.sin(angle) ** (d - 2)
    law = law / law.sum()
    table = [np.ones(cells), t]
    for k in range(1, 46):
        table.append(((2 * k + d - 2) * t * table[k] - k * table[k - 1]) / (k + d - 2))
    error, rest, levels = float(law @ t ** (2 * power)), int(features), []
    for k in range(0 if degree_order else odd, 46, 1 if degree_order else 2):
        count = math.comb(k + d - 1, k) - (math.comb(k + d - 3, k - 2) if k > 1 else 0)
        if spread:
            count = spread(k, d)
        size = abs(law @ (t**power * table[k])) if k % 2 == odd else 0.0
        levels.append((size**squared, 1 if alone else count))
    for level, count in levels if degree_order else sorted(levels, reverse=True):
        error -= level * min(rest, count)
        rest -= min(rest, count)
    return error


def wrong(variants):
    """Of each question six wrong answers or more, with a part of what must be said about them."""
    v1, v2, v3, v4, v5, v6 = (variants[f"q{i}"] for i in range(1, 7))
    answers = right(variants)
    noise, start, mean = float(v1["noise"]), float(v3["start"]), float(v5["mean"])
    clean = 1 - 2 * noise

    q1 = answers["q1"][1]

    def q1_bent(ones=lambda m: 1 - m**2, factor=clean**2 / 2, first=0):
        def bent(means, degree):
            law = np.ones(1)
            for p in ones(np.asarray(means)):
                law = np.convolve(law, [1 - p, p])
            return factor * np.sum(law[: max(degree + 1 - first, 0)])

        return bent

    first = [
        (lambda means, degree: None, "None"),
        (q1_bent(lambda m: m**2), "coins are exchanged|off"),
        (q1_bent(factor=clean / 2), "another power|off"),
        (q1_bent(factor=0.5), "flips of the labels are missing|off"),
        (q1_bent(factor=(1 - noise) ** 2 / 2), "off by|factor"),
        (q1_bent(factor=clean**2), "half in front|off"),
        (q1_bent(first=1), "exactly D bits|off"),
        (q1_bent(lambda m: np.sqrt(1 - m**2)), "squares of coefficients|off"),
        (q1_bent(lambda m: 0 * m + 1 - np.mean(m) ** 2), "mean of its own|off"),
        (q1_bent(lambda m: 1 - np.abs(m)), "off by"),
        (lambda means, degree: q1(means, degree) if len(means) < 7 else clean**2 / 2, "off"),
        (lambda means, degree: np.array([q1(means, degree)]), "single number"),
        (lambda means, degree: 0.32, "off by"),
    ]

    def q2_bent(pick=lambda parts: parts, change=lambda e, n: e, norm=lambda s: s):
        def bent(weights, biases, outer):
            n = weights.shape[1]
            bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
            x = 1 - 2 * bits
            u = x @ weights.T + biases
            inner = outer * _at(v2["slope"], u)
            parts = [
                (inner[:, :, None] * x[:, None, :]).reshape(2**n, -1),
                inner,
                _at(v2["value"], u),
            ]
            chi = 1 - 2 * (bits @ bits.T % 2)
            squares = norm(np.sum((chi @ np.concatenate(pick(parts), 1) / 2**n) ** 2, 1))
            return change(np.bincount(bits.sum(1), squares, n + 1), n)

        return bent

    q2 = q2_bent()
    second = [
        (q2_bent(lambda p: [p[0], p[2]]), "biases are trained"),
        (q2_bent(lambda p: p[:2]), "output weights are trained"),
        (q2_bent(lambda p: p[1:]), "first layer is trained"),
        (q2_bent(lambda p: p[:1]), "only the first layer"),
        (q2_bent(change=lambda e, n: e * 4**n), "must be means"),
        (q2_bent(change=lambda e, n: e * 2**n), "power of the number of inputs"),
        (q2_bent(norm=np.sqrt), "squared before"),
        (q2_bent(change=lambda e, n: e[::-1]), "from the other end"),
        (
            q2_bent(change=lambda e, n: e / [math.comb(n, k) for k in range(n + 1)]),
            "sums over the sets",
        ),
        (q2_bent(change=lambda e, n: e[1:]), "shape"),
        (q2_bent(change=lambda e, n: np.append(0, e[:-1])), "off by|sum"),
        (q2_bent(lambda p: [p[0] / 2, p[1], p[2]]), "off by"),
        (lambda w, b, a: q2(w, 0 * b, a), "off by"),
        (lambda w, b, a: q2(w, b, np.ones_like(a)), "off by"),
        (lambda w, b, a: np.zeros(w.shape[1] + 1), "has a gradient|off"),
    ]

    def q3_bent(mu=start, scale=lambda a: a, sort=True, drop=True, pair=0, share=False):
        def bent(subset, n, rho, alpha):
            found = np.zeros(n)
            for i in range(n):
                places = [int(j) for j in subset]
                if i in places and drop:
                    places.remove(i)
                elif i not in places:
                    places.append(i)
                places = sorted(places) if sort else places
                value = scale(alpha)
                if share:
                    found[i] = value * math.prod(mu * rho**j for j in places)
                    continue
                if len(places) % 2:
                    value *= mu * rho ** places.pop(pair)
                for left, right in zip(places[::2], places[1::2], strict=True):
                    value *= rho ** abs(right - left)
                found[i] = value
            return found

        return bent

    q3 = q3_bent()
    third = [
        (q3_bent(scale=lambda a: 1.0), "share of the inputs"),
        (q3_bent(scale=lambda a: 1 - a), "shares of the two kinds"),
        (q3_bent(drop=False), "drops out|off"),
        (q3_bent(mu=0.0), "does not start fair"),
        (q3_bent(share=True), "not independent"),
        (q3_bent(scale=lambda a: -a), "gradient of a loss"),
        (q3_bent(sort=False), "off by"),
        (q3_bent(pair=-1), "off by"),
        (q3_bent(mu=2 * start), "off by|factor"),
        (lambda s, n, rho, alpha: q3(s, n, abs(rho), alpha), "off by"),
        (lambda s, n, rho, alpha: q3(np.asarray(s) + 1, n, rho, alpha), "off by|shape"),
        (lambda s, n, rho, alpha: q3(s, 3, rho, alpha), "shape"),
        (lambda s, n, rho, alpha: q3(s, n, (1 + rho) / 2, alpha), "off by"),
        (lambda s, n, rho, alpha: np.full(n, alpha * rho), "off by"),
    ]

    q4 = answers["q4"][0]

    def q4_law(law, feature):
        def bent(n, epsilon):
            point = np.zeros(2**n)
            point[0] = 1
            return np.stack([law(point, epsilon), feature(n, epsilon)])

        return bent

    def top(n, epsilon):
        return np.asarray(q4(n, epsilon), float)[1] * 0 + np.eye(2**n)[0]

    leak = [lambda point, e: (1 - e) / len(point) + e * point, top]
    fourth = [
        (q4_law(lambda point, e: 0 * point + 1 / len(point), top), "not above|larger"),
        (q4_law(lambda point, e: (1 - 2 * e) / len(point) + 2 * e * point, top), "than epsilon"),
        (q4_law(lambda point, e: (1 - e / 2) / len(point) + e / 2 * point, top), "larger mean"),
        (q4_law(lambda point, e: 1 / len(point) + e * point, top), "sum to 1|no law"),
        (q4_law(lambda point, e: point, top), "than epsilon"),
        (q4_law(leak[0], lambda n, e: np.ones(2**n)), "not above|larger|refute"),
        (q4_law(leak[0], lambda n, e: np.arange(2.0**n)), "not above|larger|refute"),
        (q4_law(leak[0], lambda n, e: np.zeros(2**n)), "the feature is 0"),
        (lambda n, epsilon: np.asarray(q4(n, epsilon)).T, "shape"),
        (lambda n, epsilon: np.asarray(q4(n, epsilon))[::-1], "sum to 1|no law|epsilon"),
        (lambda n, epsilon: q4(4, epsilon), "shape"),
        (lambda n, epsilon: q4(n, 0.2), "than epsilon|larger"),
        (lambda n, epsilon: q4(n, -epsilon), "probabilities|no law|not above"),
    ]
    if v4["member"] == "sizes >= 1":
        fourth.append((q4_law(*leak), "larger mean"))  # the constant is no target and costs

    def q5_bent(**bend):
        def bent(n, k, alpha, samples, trials, seed):
            rng = np.random.default_rng(bend.get("seed", seed))
            shape = (1 if bend.get("once") else trials, samples, n)
            kinds = shape if bend.get("by_bit") else (*shape[:2], 1)
            leaked = rng.random(kinds) < bend.get("share", lambda a: a)(alpha)
            bias = np.where(leaked, bend.get("mean", mean), 0.0)
            x = np.where(rng.random(shape) < (1 + bias) / 2, 1, -1)
            y = np.prod(x[:, :, : bend.get("bits", lambda k: k)(k)], 2)
            g = np.sum(y[:, :, None] * x, 1)
            g = g if bend.get("signed") else np.abs(g)
            least, most = g[:, :k].min(1), g[:, k:].max(1)
            if bend.get("largest"):
                least = g[:, :k].max(1)
            found = least >= most if bend.get("ties") else least > most
            share = np.mean(found)
            return np.array([share, bend.get("error", _share_error)(share, trials)])

        return bent

    q5 = answers["q5"][0]
    fifth = [
        (q5_bent(seed=1), "same draws"),
        (q5_bent(seed=None), "two results"),
        (q5_bent(ties=True), "tie must be a failure"),
        (q5_bent(by_bit=True), "one kind in all|too"),
        (q5_bent(mean=0.5), "another mean|too"),
        (q5_bent(share=lambda a: 1 - a), "shares of the two kinds|too small"),
        (q5_bent(largest=True), "too large"),
        (q5_bent(bits=lambda k: k + 1), "too|rise"),
        (q5_bent(once=True), "too|rise"),
        (q5_bent(error=lambda p, n: np.sqrt(p * (1 - p))), "spread of one trial"),
        (q5_bent(error=lambda p, n: p * (1 - p) / n), "a variance"),
        (q5_bent(error=lambda p, n: 1.96 * _share_error(p, n)), "half an interval"),
        (q5_bent(error=lambda p, n: np.sqrt(p / n)), "over seeds"),
        (lambda *given: q5(*given)[0], "shape"),
        (lambda n, k, a, samples, trials, seed: [1 / (1 + 9 / samples + 1e-9 * seed), 0.01], "too"),
    ]
    if mean < 0:
        fifth.append((q5_bent(signed=True), "sizes that are compared|too"))

    def q6_bent(**bend):
        return lambda dimension, features: _floor(v6, dimension, features, **bend)

    q6 = answers["q6"][0]
    power = int(v6["power"])
    sixth = [
        (q6_bent(squared=1), "square of a coefficient|off"),
        (q6_bent(alone=True), "multiplicities"),
        (q6_bent(degree_order=True), "nothing is to be gained|off"),
        (q6_bent(spread=lambda k, d: math.comb(k + d - 1, k)), "off by"),
        (q6_bent(spread=lambda k, d: 2 * k + 1), "off by"),
        (lambda dimension, features: q6(dimension, features + 1), "one feature more|off"),
        (lambda dimension, features: q6(dimension, 0) - q6(dimension, features), "catch|off"),
        (lambda dimension, features: q6(dimension, features) / 2, "off|factor"),
        (lambda dimension, features: math.sqrt(q6(dimension, features)), "off"),
        (lambda dimension, features: q6(3, features), "off"),
        (lambda dimension, features: [q6(dimension, features)], "single number"),
        (lambda dimension, features: complex(q6(dimension, features)), "complex"),
    ]
    if power:
        sixth.append(
            (
                lambda dimension, features: dimension**power * q6(dimension, features),
                "norm|off|factor",
            )
        )
    return {"q1": first, "q2": second, "q3": third, "q4": fourth, "q5": fifth, "q6": sixth}


def _share_error(share, trials):
    return np.sqrt(share * (1 - share) / trials)
