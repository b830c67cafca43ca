"""Answers to set 1, right ones in other ways and wrong ones as students write them.

heron5b1e0c77q: solutions, for instructors.
"""

import jax
import jax.numpy as jnp
import numpy as np


def right(variants):
    """Of each question three answers or more that must get full marks."""
    v1, v2, v3, v4, v5 = (variants[f"q{i}"] for i in range(1, 6))
    sign, front = v1["sign"], v1["front"]
    slope, curvature = (eval(f"lambda u: {v2[key]}", {"np": np}) for key in ("slope", "curvature"))
    leak3, power, leak5 = float(v3["slope"]), v4["power"], float(v5["slope"])

    def q1_loops(x1, x2, frequency):
        rows = []
        for x in x1.tolist():
            row = []
            for y in x2.tolist():
                near = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
                far = sum((a + b) ** 2 for a, b in zip(x, y, strict=True))
                minus, plus = (np.exp(-((frequency) ** 2) * s / 2) for s in (near, far))
                inner = sum(a * b for a, b in zip(x, y, strict=True))
                row.append(
                    front * (minus + sign * plus)
                    + frequency**2 * inner * front * (minus - sign * plus)
                )
            rows.append(row)
        return rows

    def q1_single(x1, x2, frequency):
        x1, x2 = (jnp.asarray(x * frequency, jnp.float32) for x in (x1, x2))
        minus = jnp.exp(-jnp.sum((x1[:, None] - x2) ** 2, -1) / 2)
        plus = jnp.exp(-jnp.sum((x1[:, None] + x2) ** 2, -1) / 2)
        return front * ((1 + x1 @ x2.T) * minus + sign * (1 - x1 @ x2.T) * plus)

    def q1_gradient(x1, x2, frequency):
        # The kernel of the last layer, and what its second derivative makes of the first.
        def last(u, v, c):
            minus = jnp.exp(-(u + v - 2 * c) / 2)
            return front * (minus + sign * jnp.exp(-(u + v + 2 * c) / 2))

        x1, x2 = (jnp.asarray(x, jnp.float32) * np.float32(frequency) for x in (x1, x2))
        u = jnp.sum(x1**2, 1)[:, None] + jnp.zeros((1, len(x2)), jnp.float32)
        v = jnp.sum(x2**2, 1)[None, :] + jnp.zeros((len(x1), 1), jnp.float32)
        c = x1 @ x2.T
        both = jax.vmap(jax.vmap(jax.value_and_grad(last, 2)))(u, v, c)
        return both[0] + c * both[1]

    def q2_loops(weights, signs, x, residual):
        m, n = len(weights), len(x)
        u = x @ weights.T
        s, c = slope(u), curvature(u)
        speed = np.zeros((m, x.shape[1]))
        for j in range(m):
            for i in range(n):
                speed[j] -= signs[j] * s[i, j] * residual[i] * x[i] / m**0.5
        found = np.zeros((n, n))
        for i in range(n):
            for k in range(n):
                for j in range(m):
                    change = c[i, j] * (speed[j] @ x[i]) * s[k, j]
                    change += c[k, j] * (speed[j] @ x[k]) * s[i, j]
                    found[i, k] += (x[i] @ x[k]) * signs[j] ** 2 * change / m
        return found

    def q2_features(weights, signs, x, residual):
        m, u = len(weights), x @ weights.T
        features = (signs * slope(u))[:, :, None] * x[:, None, :] / np.sqrt(m)
        speed = -np.einsum("i,imd->md", residual, features)
        moved = (signs * curvature(u) * (x @ speed.T))[:, :, None] * x[:, None, :] / np.sqrt(m)
        product = np.einsum("imd,kmd->ik", moved, features)
        return product + product.T

    def q2_single(weights, signs, x, residual):
        single = (np.float32(array) for array in (weights, signs, x, residual))
        return jnp.asarray(np.float32(q2_features(*single)))

    def q2_differences(weights, signs, x, residual):
        def kernel(step):
            speed = (signs * slope(x @ weights.T) * residual[:, None]).T @ x / len(weights) ** 0.5
            slopes = signs * slope(x @ (weights - step * speed).T)
            return x @ x.T * (slopes @ slopes.T) / len(weights)

        return (kernel(1e-4) - kernel(-1e-4)) / 2e-4

    def leaky(t, leak):
        return np.where(t > 0, t, leak * t)

    def q3_weights(width, dimension, distance, draws, seed):
        rng = np.random.default_rng([seed, 7])
        x = np.zeros(dimension)
        x[-1] = 1
        found = []
        for _ in range(draws):
            start = rng.normal(size=(width, dimension))
            move = distance / np.sqrt(width * dimension) * rng.normal(size=start.shape)
            signs = 2 * rng.integers(2, size=width) - 1
            u, v = start @ x, (start + move) @ x
            tangent = leaky(u, leak3) + np.where(u > 0, 1, leak3) * (v - u)
            found.append(float((signs @ (leaky(v, leak3) - tangent)) ** 2 / width))
        return [np.mean(found), np.sqrt(np.var(found, ddof=1) / draws)]

    def q3_jax(width, dimension, distance, draws, seed):
        keys = jax.random.split(jax.random.key(seed), 3)
        shape = (draws, width)
        u = jax.random.normal(keys[0], shape, jnp.float32)
        tau = jnp.float32(distance / np.sqrt(width * dimension))
        v = u + tau * jax.random.normal(keys[1], shape, jnp.float32)
        signs = jax.random.rademacher(keys[2], shape, jnp.float32)
        jump = jnp.where((u > 0) != (v > 0), jnp.abs(v), 0) * jnp.float32(1 - leak3)
        squares = jnp.sum(signs * jump, 1) ** 2 / jnp.float32(width)
        return jnp.stack([squares.mean(), squares.std() / jnp.float32(np.sqrt(draws))])

    def q3_other_input(width, dimension, distance, draws, seed):
        rng = np.random.default_rng(seed + 1000)
        x = rng.normal(size=dimension)
        x /= np.linalg.norm(x)
        u = rng.normal(size=(draws, width, dimension)) @ x
        scale = distance / np.sqrt(width * dimension)
        v = u + scale * rng.normal(size=(draws, width, dimension)) @ x
        error = leaky(v, leak3) - np.where(u > 0, 1, leak3) * v
        signs = np.sign(rng.normal(size=(draws, width)))
        squares = np.sum(signs * error, axis=1) ** 2 / width
        return np.array([squares.sum() / draws, squares.std(ddof=1) / draws**0.5])

    def q4_random(dimension):
        rng = np.random.default_rng(3)
        basis = np.linalg.qr(rng.normal(size=(dimension, 2)))[0].T
        while True:
            angles = rng.uniform(0, np.pi, size=power + 2)
            points = np.stack([np.cos(angles), np.sin(angles)], 1)
            if np.max(np.abs(points @ points.T) - np.eye(power + 2)) < 0.95:
                return points @ basis

    def q4_list(dimension):
        angles = [0.3 + np.pi * k / (power + 2) for k in range(power + 2)]
        return [[np.cos(a), np.sin(a), *[0.0] * (dimension - 2)] for a in angles]

    def q4_single(dimension):
        angles = -jnp.pi * jnp.arange(power + 2, dtype=jnp.float32) / (power + 2)
        plane = jnp.stack([jnp.sin(angles), jnp.cos(angles)], 1)
        return jnp.pad(plane, ((0, 0), (dimension - 2, 0)))

    def q5_numpy(x1, x2, trained):
        return _deep(x1, x2, trained, leak5)

    def q5_single(x1, x2, trained):
        x1, x2 = np.float32(x1), np.float32(x2)
        return jnp.asarray(_deep(x1, x2, trained, leak5), jnp.float32)

    def q5_pairs(x1, x2, trained):
        return [
            [float(_deep(x[None], y[None], list(trained), leak5)[0, 0]) for y in x2] for x in x1
        ]

    return {
        "q1": [q1_loops, q1_single, q1_gradient],
        "q2": [q2_loops, q2_features, q2_single, q2_differences],
        "q3": [q3_weights, q3_jax, q3_other_input],
        "q4": [q4_random, q4_list, q4_single],
        "q5": [q5_numpy, q5_single, q5_pairs],
    }


def _deep(x1, x2, trained, leak, *, gain=None, cross=1.0, last=0, per_dimension=True, clip=True):
    """The kernel layer by layer, the sum at the end; and what may be wrong with it."""
    gain = 2 / (1 + leak**2) if gain is None else gain
    second = np.sqrt(np.outer(np.sum(x1**2, 1), np.sum(x2**2, 1)))
    scale = x1.shape[1] if per_dimension else 1
    layers, slopes = [gain * (x1 @ x2.T) / scale], []
    size = gain * second / scale
    for _ in trained[1:]:
        cosine = layers[-1] / size
        angle = np.arccos(np.clip(cosine, -1, 1) if clip else cosine)
        relu = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        other = (np.sin(angle) - angle * np.cos(angle)) / (2 * np.pi)
        slopes.append(
            gain * ((1 + leak**2) * (np.pi - angle) + 2 * cross * leak * angle) / (2 * np.pi)
        )
        layers.append(gain * size * ((1 + leak**2) * relu - 2 * cross * leak * other))
        size = size * gain * (1 + leak**2) / 2
    total = 0
    for layer, train in enumerate(trained):
        product = layers[layer]
        for factor in slopes[layer : len(slopes) - last]:
            product = product * factor
        total = total + train * product
    return total


def wrong(variants):
    """Of each question six wrong answers or more, with a part of what must be said about them."""
    v1, v2, v3, v4, v5 = (variants[f"q{i}"] for i in range(1, 6))
    answers = right(variants)
    sign, front = v1["sign"], v1["front"]
    slope, curvature = (eval(f"lambda u: {v2[key]}", {"np": np}) for key in ("slope", "curvature"))
    leak3, power, leak5 = float(v3["slope"]), v4["power"], float(v5["slope"])

    def q1_parts(x1, x2, frequency):
        minus = np.exp(-(frequency**2) * np.sum((x1[:, None] - x2) ** 2, -1) / 2)
        plus = np.exp(-(frequency**2) * np.sum((x1[:, None] + x2) ** 2, -1) / 2)
        return front * (minus + sign * plus), front * (minus - sign * plus), x1 @ x2.T

    def q1_mixed(pick):
        return lambda x1, x2, frequency: pick(*q1_parts(x1, x2, frequency), frequency)

    q1 = answers["q1"][0]
    deviation = r"not the kernel of a network|off by more|in every entry"
    first = [
        (lambda x1, x2, frequency: None, "None"),
        (lambda x1, x2, frequency: ..., "nothing is filled in"),
        (q1_mixed(lambda a, b, inner, w: w**2 * inner * b), "output layer is missing"),
        (q1_mixed(lambda a, b, inner, w: a), "first layer is missing"),
        (q1_mixed(lambda a, b, inner, w: a + inner * b), "derivative .* has a factor"),
        (q1_mixed(lambda a, b, inner, w: a + w * inner * b), "each of the two derivatives"),
        (q1_mixed(lambda a, b, inner, w: a + w**2 * b), "product of the inputs"),
        (lambda x1, x2, frequency: np.asarray(q1(x2, x1, frequency)), "must have shape"),
        (lambda x1, x2, frequency: np.array(q1(x1, x2, frequency)) * 2, "factor in every entry"),
        (lambda x1, x2, frequency: np.array(q1(x1, x2, frequency)) + 0j, "complex"),
        (lambda x1, x2, frequency: np.array(q1(x1, x2, frequency)) + 0.05, deviation),
        (lambda x1, x2, frequency: np.array(q1(x1, x2, 1.0)), deviation),
        (lambda x1, x2, frequency: q1(np.abs(x1), x2, frequency), deviation),
        (lambda x1, x2, frequency: np.zeros((3, 1)), "must have shape|not the kernel"),
        (lambda x1, x2, frequency: np.full((len(x1), len(x2)), np.nan), "finite"),
    ]

    def q2_bent(change):
        def q2(weights, signs, x, residual):
            m, u = len(weights), x @ weights.T
            speed = -(signs * slope(u) * residual[:, None]).T @ x / np.sqrt(m)
            half = x @ x.T * ((signs**2 * curvature(u) * (x @ speed.T)) @ slope(u).T) / m
            return change(half, m)

        return q2

    q2 = answers["q2"][1]
    second = [
        (q2_bent(lambda half, m: -half - half.T), "down the loss"),
        (q2_bent(lambda half, m: half), "not symmetric"),
        (q2_bent(lambda half, m: (half + half.T) * np.sqrt(m)), "power of the width"),
        (q2_bent(lambda half, m: (half + half.T) * m), "power of the width"),
        (q2_bent(lambda half, m: 2 * (half + half.T)), "a half in front"),
        (q2_bent(lambda half, m: (half + half.T) / 3), "factor in every entry"),
        (lambda w, a, x, r: q2(w, np.sign(a), x, r), "off by more|every entry"),
        (lambda w, a, x, r: q2(w, a, x, np.abs(r)), "proportional|off by more"),
        (lambda w, a, x, r: q2(w, a, x, np.ones_like(r)), "proportional"),
        (lambda w, a, x, r: np.diag(q2(w, a, x, r)), "shape"),
        (lambda w, a, x, r: np.zeros((len(x), len(x))), "the kernel of this network moves"),
        (lambda w, a, x, r: q2(w[:, ::-1], a, x, r), "off by more|every entry"),
    ]

    def q3_bent(**bend):
        def q3(width, dimension, distance, draws, seed):
            rng = np.random.default_rng(bend.get("seed", seed))
            u = rng.normal(size=(draws, width))
            scale = distance / np.sqrt(width * (1 if bend.get("all_moves") else dimension))
            v = u + scale * rng.normal(size=(draws, width))
            signs = rng.choice([-1.0, 1.0], size=(draws, width))
            if bend.get("equal_signs"):
                signs = np.ones_like(signs)
            error = np.where((u > 0) != (v > 0), np.abs(v), 0) * bend.get("jump", 1 - leak3)
            values = np.sum(signs * error, 1) / (1 if bend.get("no_width") else np.sqrt(width))
            values = np.abs(values) if bend.get("absolute") else values**2
            spread = values.std(ddof=1) * bend.get("spread", lambda n: 1 / np.sqrt(n))(draws)
            return np.array([values.mean(), spread])

        return q3

    q3 = answers["q3"][0]
    third = [
        (q3_bent(seed=1), "same draws"),
        (q3_bent(seed=None), "two results"),
        (q3_bent(no_width=True), "factor of the width"),
        (q3_bent(absolute=True), "too large|root"),
        (q3_bent(equal_signs=True), "too large|factor of the width"),
        (q3_bent(all_moves=True), "too large|root"),
        (q3_bent(jump=1.0), "leaky ReLU|too large|too small|not that of ReLU"),
        (q3_bent(spread=lambda n: 1.0), "spread of one draw"),
        (q3_bent(spread=lambda n: 1 / n), "falls too fast"),
        (q3_bent(spread=lambda n: 1.96 / np.sqrt(n)), "half an interval"),
        (q3_bent(spread=lambda n: np.sqrt(2 / n)), "not the spread"),
        (lambda *given: q3(*given)[0], "shape"),
        (
            lambda w, d, b, n, seed: [0.01 * b + 1e-6 * seed * b, 0.001 * b + 1e-7 * seed * b],
            "q3's",
        ),
    ]

    def q4_plane(count, spread=np.pi):
        def q4(dimension):
            angles = spread * np.arange(count) / count
            return np.pad(
                np.stack([np.cos(angles), np.sin(angles)], 1), ((0, 0), (0, dimension - 2))
            )

        return q4

    def q4_frame(dimension):
        return np.eye(dimension)

    def q4_antipodal(dimension):
        return np.concatenate([np.eye(dimension), -np.eye(dimension)])

    fourth = [
        (q4_frame, "not singular"),
        (q4_antipodal, "parallel"),
        (q4_plane(power + 1), "not singular"),
        (q4_plane(power + 3), "more vectors than it needs"),
        (q4_plane(power + 2, 2 * np.pi), "parallel" if power % 2 == 0 else "^$"),
        (lambda dimension: 2 * q4_plane(power + 2)(dimension), "norm 1"),
        (lambda dimension: q4_plane(power + 2)(dimension).T, "shape"),
        (lambda dimension: q4_plane(power + 2)(3), "shape"),
        (lambda dimension: q4_plane(power + 2)(dimension)[[0, 0, 1, 2]], "parallel"),
        (lambda dimension: 5, "shape"),
    ]
    if power % 2:
        del fourth[4]  # an odd number of directions on the whole circle is right

    def q5_bent(**bend):
        return lambda x1, x2, trained: _deep(x1, x2, list(trained), leak5, **bend)

    q5 = answers["q5"][0]
    fifth = [
        (
            lambda x1, x2, trained: _deep(x1, x2, list(trained)[::-1], leak5),
            "frozen, not the|from the",
        ),
        (lambda x1, x2, trained: _deep(x1, x2, [*[*trained][1:], 0], leak5), "off|frozen|same"),
        (lambda x1, x2, trained: _deep(x1, x2, [1] * len(trained), leak5), "off|trained"),
        (q5_bent(cross=0.0), "cross terms|off|factor"),
        (q5_bent(cross=-1.0), "cross terms|off"),
        (q5_bent(gain=np.sqrt(2 / (1 + leak5**2))), "off|gain|factor"),
        (q5_bent(gain=1.0), "off|gain|factor"),
        (q5_bent(gain=2.0), "off|gain|factor"),
        (q5_bent(per_dimension=False), "dimension|off"),
        (q5_bent(last=1), "off|factor|gain"),
        (lambda x1, x2, trained: q5(x1, x2, trained).T, "shape"),
        (lambda x1, x2, trained: q5(x1, x1, trained), "shape|off"),
        (lambda x1, x2, trained: _deep(x1, x2, list(trained), 0.0), "ReLU|off"),
        (lambda x1, x2, trained: q5(x1, x2, [*trained, 0]), "off"),
    ]
    return {"q1": first, "q2": second, "q3": third, "q4": fourth, "q5": fifth}
