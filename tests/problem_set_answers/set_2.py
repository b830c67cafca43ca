"""Answers to set 2, right ones in other ways and wrong ones as students write them.

heron5b1e0c77q: solutions, for instructors.
"""

from fractions import Fraction
from math import comb, lgamma, log

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.linalg


def right(variants):
    """Of each question three answers or more that must get full marks."""
    v1, v2, v3, v4, v5 = (variants[f"q{i}"] for i in range(1, 6))
    slope, power = float(v1["slope"]), v2["power"]
    degree, factor = v4["degree"], v5["factor"]

    def q1_fractions(widths):
        means = []
        for m in widths.tolist():
            total = 0.0
            for k in range(m + 1):
                weight = Fraction(comb(m, k), 2**m)
                a, b = k / m + slope**2 * (1 - k / m), slope**2 * k / m + 1 - k / m
                gram = np.array([[a, -slope], [-slope, b]])
                total += float(weight) * np.linalg.eigvalsh(gram)[0]
            means.append(total)
        return means

    def q1_single(widths):
        means = []
        for m in widths:
            k = np.arange(m + 1, dtype=np.float32)
            logs = [lgamma(m + 1) - lgamma(j + 1) - lgamma(m - j + 1) for j in range(m + 1)]
            law = np.exp(np.float32(logs) - np.float32(m * log(2)))
            half = np.float32(1 - slope**2) * (k / np.float32(m) - np.float32(0.5))
            root = np.sqrt(half**2 + np.float32(slope**2))
            means.append(np.sum(law * (np.float32((1 + slope**2) / 2) - root)))
        return jnp.asarray(means, jnp.float32)

    def q1_unit_by_unit(widths):
        laws, law = {}, np.ones(1)
        for m in range(1, int(max(widths)) + 1):
            law = (np.append(law, 0) + np.append(0, law)) / 2
            laws[m] = law
        found = []
        for m in widths:
            share = np.arange(m + 1) / m
            top = (1 + slope**2) / 2 + np.sqrt(((1 - slope**2) * (share - 0.5)) ** 2 + slope**2)
            found.append(np.sum(laws[m] * (1 + slope**2 - top)))
        return np.array(found)

    def q2_closed(sigma, lipschitz, start, targets):
        c = sigma**2 - 2 * lipschitz * start
        rows = []
        for end in targets.tolist():
            ends, a = (end, start), 2 * lipschitz
            if a == 0:
                powers = {1: start - end, 3: 1 / end - 1 / start, 4: (end**-2 - start**-2) / 2}
                time = powers[power] / c
            elif c == 0:
                if power == 1:
                    time = log(start / end) / a
                else:
                    time = (end ** (1 - power) - start ** (1 - power)) / (a * (power - 1))
            else:
                low, high = (log(x / (c + a * x)) for x in ends)
                if power == 1:
                    time = log((c + a * start) / (c + a * end)) / a
                elif power == 3:
                    time = (1 / end - 1 / start) / c - a / c**2 * (high - low)
                else:
                    time = (end**-2 - start**-2) / (2 * c) - a / c**2 * (1 / end - 1 / start)
                    time += a**2 / c**3 * (high - low)
            root = (sigma**2 - a * (start - end)) ** 0.5
            rows.append([time, (sigma - root) / lipschitz if a else (start - end) / sigma])
        return rows

    def q2_grid(sigma, lipschitz, start, targets):
        found = np.zeros((len(targets), 2))
        for place, end in enumerate(targets):
            rho = np.geomspace(start, end, 4001)
            root = np.sqrt(sigma**2 - 2 * lipschitz * (start - rho))
            found[place, 0] = -np.trapezoid(rho ** (1 - power) / root**2, rho)
            found[place, 1] = -np.trapezoid(1 / root, rho)
        return found

    def q2_single(sigma, lipschitz, start, targets):
        ends = jnp.asarray(targets, jnp.float32)
        nodes, weights = (jnp.float32(x) for x in np.polynomial.legendre.leggauss(60))
        half = jnp.log(jnp.float32(start) / ends) / 2
        rho = ends * jnp.exp(half * (1 + nodes[:, None]))
        rate = jnp.float32(sigma**2 - 2 * lipschitz * start) + jnp.float32(2 * lipschitz) * rho
        way = jnp.float32(start) - ends
        root = jnp.sqrt(jnp.float32(sigma**2) - jnp.float32(2 * lipschitz) * way)
        times = half * jnp.sum(weights[:, None] * rho ** (2 - power) / rate, 0)
        return jnp.stack([times, 2 * way / (jnp.float32(sigma) + root)], axis=1)

    def q3_flow(width, scale, label, draws, seed):
        rng, shape = np.random.default_rng([5, seed]), (draws, width)
        a, u = eval(v3["law"], {"rng": rng, "np": np, "shape": shape}), rng.normal(size=shape)
        front = scale / np.sqrt(width)

        def speed(state):  # of |a|² + |u|² and of a·u
            pull = -front / scale**2 * (front * state[1] - label)
            return pull * np.stack([4 * state[1], state[0]])

        first = state = np.stack([np.sum(a**2 + u**2, 1), np.sum(a * u, 1)])
        for _ in range(400):
            middle = state + 0.05 / 2 * speed(state)
            state = state + 0.05 * speed(middle)
        change = state[0] / first[0] - 1
        return change.mean(), change.std() / np.sqrt(draws - 1)

    def q3_single(width, scale, label, draws, seed):
        keys, shape = jax.random.split(jax.random.key(seed)), (draws, width)
        rng = np.random.default_rng(seed)
        a = jnp.float32(eval(v3["law"], {"rng": rng, "np": np, "shape": shape}))
        u = jax.random.normal(keys[0], shape, jnp.float32)
        p, q = jnp.sum((a + u) ** 2, 1) / 2, jnp.sum((a - u) ** 2, 1) / 2
        goal = jnp.float32(2 * np.sqrt(width) * label / scale)
        change = jnp.sqrt(goal**2 + 4 * p * q) / (p + q) - 1
        return jnp.stack([change.mean(), change.std(ddof=1) / jnp.float32(np.sqrt(draws))])

    def q3_in_space(width, scale, label, draws, seed):
        rng, changes = np.random.default_rng(seed), []
        x = np.array([0.6, 0.0, -0.8])
        for _ in range(draws):
            a = eval(v3["law"], {"rng": rng, "np": np, "shape": width})
            u = rng.normal(size=(width, 3)) @ x
            # a·u runs to its end along a hyperbola: a = (p + q)/√2, u = (p - q)/√2.
            p, q = (a + u) / 2**0.5, (a - u) / 2**0.5
            both = p @ p * (q @ q)
            goal = label * width**0.5 / scale
            grown = goal + (goal**2 + both) ** 0.5
            changes.append((grown + both / grown) / (p @ p + q @ q) - 1)
        return [float(np.mean(changes)), float(np.std(changes, ddof=1) / draws**0.5)]

    def q4_exponential(gram, cross, labels, start, start_new, decay, times):
        # Training points, new points, a constant and what decays at the rate of the weights.
        n, q = len(gram), len(cross)
        matrix = np.zeros((n + q + 2, n + q + 2))
        kernel = np.concatenate([gram, cross])
        matrix[: n + q, :n] = -kernel
        matrix[: n + q, : n + q] -= decay * np.eye(n + q)
        outputs = np.concatenate([start, start_new])
        matrix[: n + q, n + q] = kernel @ labels + decay * outputs - degree * decay * outputs
        first = np.concatenate([outputs, [1.0, 0.0]])
        return [(scipy.linalg.expm(t * matrix) @ first)[n : n + q].tolist() for t in times]

    def q4_single(gram, cross, labels, start, start_new, decay, times):
        given = (gram, cross, labels, start, start_new, times)
        gram, cross, labels, start, start_new, times = (jnp.asarray(x, jnp.float32) for x in given)
        values, vectors = jnp.linalg.eigh(gram)
        values, decay = jnp.maximum(values, 1e-5)[:, None], jnp.float32(decay)
        rate = values + decay
        right = (vectors.T @ (labels + (degree - 1) * start))[:, None]
        c = -jnp.expm1(-rate * times) / rate * right
        left = degree * (vectors.T @ start)[:, None]
        c += jnp.exp(-decay * times) * jnp.expm1(-values * times) / values * left
        kept = start_new[:, None] * (1 + degree * jnp.expm1(-decay * times))
        return (kept + cross @ vectors @ c).T

    def q4_steps(gram, cross, labels, start, start_new, decay, times):
        # Coefficients of the gradients, and the share of the start, by Runge and Kutta.
        def speed(state):
            share, c = state[0], state[1:]
            outputs = start + degree * (share - 1) * start + gram @ c
            return np.append(-decay * share, -decay * c - (outputs - labels))

        rows = []
        for t in times:
            state, steps = np.append(1.0, np.zeros(len(gram))), 20 + int(np.trace(gram) * t)
            h = t / steps
            for _ in range(steps):
                k1 = speed(state)
                k2 = speed(state + h / 2 * k1)
                k3 = speed(state + h / 2 * k2)
                state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + speed(state + h * k3))
            rows.append(start_new * (1 + degree * (state[0] - 1)) + cross @ state[1:])
        return np.array(rows)

    def q5_flow(x, y, start):
        d = len(start)

        def coefficients(w):
            if factor == 0.5:
                return w[0] * w[1]
            return (w[0] ** 2 - w[1] ** 2) / (2 if factor == 1 else 1)

        def speed(_, flat):
            w = flat.reshape(2, d)
            if factor == 2.0:  # u = v and s = t for all times
                pull = x.T @ (x @ coefficients(w) - y)
                return np.concatenate([-pull * w[0], pull * w[1]])
            pull = x.T @ (x @ coefficients(w) - y)
            if factor == 0.5:
                return np.concatenate([-pull * w[1], -pull * w[0]])
            return np.concatenate([-pull * w[0], pull * w[1]])

        first = np.concatenate([start, np.zeros(d) if factor == 0.5 else start])
        settings = {"method": "LSODA", "rtol": 1e-9, "atol": 1e-11}
        end = scipy.integrate.solve_ivp(speed, (0, 3000), first, **settings).y[:, -1]
        return coefficients(end.reshape(2, d)).tolist()

    def q5_single(x, y, start):
        x, y, start = (jnp.asarray(array, jnp.float32) for array in (x, y, start))
        size, nu = jnp.float32(factor) * start**2, jnp.zeros(len(y), jnp.float32)
        for _ in range(60):
            z = x.T @ nu
            step = jnp.linalg.solve(x * (size * jnp.cosh(z)) @ x.T, x @ (size * jnp.sinh(z)) - y)
            nu = nu - step / jnp.maximum(1, jnp.max(jnp.abs(x.T @ step)))
        return size * jnp.sinh(x.T @ nu)

    def q5_null_space(x, y, start):
        # Newton's method among the solutions, for the penalty itself.
        size = factor * start**2
        beta, null = np.linalg.pinv(x) @ y, scipy.linalg.null_space(x)

        def penalty(beta):
            return np.sum(beta * np.arcsinh(beta / size) - np.sqrt(beta**2 + size**2))

        for _ in range(500):
            slope = null.T @ np.arcsinh(beta / size)
            bend = null.T / np.sqrt(beta**2 + size**2) @ null
            step, length = -null @ np.linalg.solve(bend, slope), 1.0
            while penalty(beta + length * step) > penalty(beta) and length > 1e-9:
                length /= 2
            beta = beta + length * step
        return beta

    return {
        "q1": [q1_fractions, q1_single, q1_unit_by_unit],
        "q2": [q2_closed, q2_grid, q2_single],
        "q3": [q3_flow, q3_single, q3_in_space],
        "q4": [q4_exponential, q4_single, q4_steps],
        "q5": [q5_flow, q5_single, q5_null_space],
    }


def wrong(variants):
    """Of each question six wrong answers or more, with a part of what must be said about them."""
    v1, v2, v3, v4, v5 = (variants[f"q{i}"] for i in range(1, 6))
    slope, power = float(v1["slope"]), v2["power"]
    degree, factor = v4["degree"], v5["factor"]
    answers = right(variants)

    def q1_bent(slope=slope, corner=slope, law=lambda m, k: comb(m, k) / 2**m):
        def q1(widths):
            found = []
            for m in widths.tolist():
                k = np.arange(m + 1)
                root = np.hypot((1 - slope**2) * (k / m - 0.5), corner)
                weights = np.array([law(m, j) for j in range(m + 1)])
                found.append(weights @ ((1 + slope**2) / 2 - root))
            return np.array(found)

        return q1

    def q1_simulated(widths):
        rng = np.random.default_rng(0)
        share = [rng.binomial(m, 0.5, size=300) / m for m in widths]
        half = [(1 - slope**2) * (s - 0.5) for s in share]
        return [np.mean((1 + slope**2) / 2 - np.hypot(h, slope)) for h in half]

    limit = (1 - abs(slope)) ** 2 / 2
    first = (1 - slope**2) ** 2 / (8 * abs(slope))
    q1 = answers["q1"][2]
    one = [
        (lambda widths: None, "None"),
        (lambda widths: np.full(len(widths), limit), "smallest eigenvalue of the limit"),
        (lambda widths: limit - first / widths, "first order in 1/m"),
        (q1_bent(corner=0.0), "beside the diagonal is missing|rank 1"),
        (q1_bent(slope=0.0, corner=0.0), "not ReLU"),
        (q1_bent(corner=slope**2), "a slope too many|rank 1"),
        (q1_bent(law=lambda m, k: 1 / (m + 1)), "off by more"),
        (q1_bent(law=lambda m, k: comb(m, k) * 0.4**k * 0.6 ** (m - k)), "off by more"),
        (q1_simulated, "off by more|grow"),
        (lambda widths: 1 + slope**2 - q1(widths), "rank 1|other eigenvalue"),
        (lambda widths: q1(widths + 1), "rank 1"),
        (lambda widths: q1(widths)[0], "shape"),
        (lambda widths: q1(widths)[:, None], "shape"),
        (lambda widths: np.sqrt(q1(widths)), "off by more"),
    ]

    def q2_bent(power=power, double=2.0, rate=None, length=None):
        def q2(sigma, lipschitz, start, targets):
            nodes, weights = np.polynomial.legendre.leggauss(100)
            half = np.log(start / targets)[:, None] / 2
            rho = targets[:, None] * np.exp(half * (1 + nodes))
            squares = sigma**2 - double * lipschitz * (start - rho)
            if rate:
                squares = rate(sigma, lipschitz, start)
            times = np.sum(half * weights * rho ** (2 - power) / squares, 1)
            way = start - targets
            lengths = 2 * way / (sigma + np.sqrt(sigma**2 - 2 * lipschitz * way))
            if length:
                lengths = length(sigma, lipschitz, start, way)
            return np.stack([times, lengths], 1)

        return q2

    q2 = answers["q2"][1]
    two = [
        (lambda *given: ..., "nothing is filled in"),
        (q2_bent(power=2), "square loss|one parameter"),
        (q2_bent(power=power - 1), "power of the residual|square loss"),
        (q2_bent(power=power + 1), "power of the residual|square loss"),
        (q2_bent(rate=lambda s, l, r: s**2), "at the start does not last"),
        (q2_bent(rate=lambda s, l, r: s**2 - 2 * l * r), "the one of the end"),
        (q2_bent(double=1.0), "off by a factor"),
        (q2_bent(double=4.0), "one parameter|finite"),
        (q2_bent(length=lambda s, l, r, way: way / s), "Jacobian moves on the way"),
        (q2_bent(length=lambda s, l, r, way: 2 * way / s), "length"),
        (
            q2_bent(length=lambda s, l, r, way: 0 * way + (s - np.sqrt(s**2 - 2 * l * r)) / l),
            "length to the fit",
        ),
        (lambda s, l, r, e: q2(s, l, r, e)[:, ::-1], "time"),
        (lambda s, l, r, e: q2(s, l, r, e).T, "shape|time"),
        (lambda s, l, r, e: q2(s, l, r, e)[:, 0], "shape"),
        (lambda s, l, r, e: q2(s, l, r, 0 * e + e[0]), "q2's time"),
        (lambda s, l, r, e: q2(s**2, l, r, e), "one parameter"),
    ]

    def q3_bent(**bend):
        def q3(width, scale, label, draws, seed):
            rng = np.random.default_rng(bend.get("seed", seed))
            shape = (draws, width)
            a, u = eval(v3["law"], {"rng": rng, "np": np, "shape": shape}), rng.normal(size=shape)
            a = bend.get("outer", lambda a: a)(a)
            size, inner = np.sum(a**2 + u**2, 1), np.sum(a * u, 1)
            goal = bend.get("goal", lambda w, s, y, c: y * np.sqrt(w) / s)(
                width, scale, label, inner
            )
            product = 0 if bend.get("zero") else inner
            change = np.sqrt(size**2 - 4 * product**2 + 4 * goal**2) / size - bend.get("minus", 1)
            if bend.get("means"):
                change = change + 1
            spread = change.std(ddof=1) * bend.get("spread", lambda n: 1 / np.sqrt(n))(draws)
            return np.array([np.median(change) if bend.get("median") else change.mean(), spread])

        return q3

    q3 = answers["q3"][1]
    three = [
        (q3_bent(seed=1), "same draws"),
        (q3_bent(seed=None), "two results"),
        (q3_bent(minus=0), "difference to 1|between -1 and 0"),
        (q3_bent(zero=True), "between -1 and 0"),
        (q3_bent(goal=lambda w, s, y, c: y * np.sqrt(w)), "the loss sees it|small|large"),
        (q3_bent(goal=lambda w, s, y, c: y / s), "power of the width|small"),
        (q3_bent(goal=lambda w, s, y, c: y * np.sqrt(w) / s + c), "between -1|moved by the label"),
        (q3_bent(goal=lambda w, s, y, c: y * w / s), "too large"),
        (q3_bent(outer=lambda a: a * 0 + 1.5), "too small|too large"),
        (q3_bent(spread=lambda n: 1.0), "spread of one draw"),
        (q3_bent(spread=lambda n: 1 / n), "too many draws"),
        (q3_bent(spread=lambda n: 1.96 / np.sqrt(n)), "half an interval"),
        (q3_bent(spread=lambda n: np.sqrt(3 / n)), "not the spread|half an interval"),
        (lambda *given: q3(*given)[0], "shape"),
        (lambda w, s, y, n, seed: [-0.04 + 1e-7 * seed, 0.01 + 1e-9 * seed], "too"),
    ]

    def q4_bent(p=degree, times_decay=1.0, own=True, mend=lambda k, r: 1 / r, sign=1.0):
        def q4(gram, cross, labels, start, start_new, decay, times):
            decay = decay * times_decay
            values, vectors = np.linalg.eigh(gram)
            values = np.maximum(values, 1e-9)
            rows = []
            for t in times:
                both = (1 - np.exp(-(values + decay) * t)) * mend(values, values + decay)
                kernel = np.exp(-decay * t) * -np.expm1(-values * t) / values
                c = both * (vectors.T @ (labels + sign * (p - 1) * start))
                c -= p * kernel * (vectors.T @ start)
                kept = 1 - p * (1 - np.exp(-decay * t)) if own else 1.0
                rows.append(kept * start_new + cross @ (vectors @ c))
            return np.array(rows)

        return q4

    def q4_inverse(gram, cross, labels, start, start_new, decay, times):
        values, vectors = np.linalg.eigh(gram)
        rows = []
        for t in times:
            both = (1 - np.exp(-(values + decay) * t)) / (values + decay)
            kernel = np.exp(-decay * t) * (1 - np.exp(-values * t)) / values
            c = both * (vectors.T @ (labels + (degree - 1) * start))
            c -= degree * np.where(np.abs(values) < 1e-3, 0.5, kernel) * (vectors.T @ start)
            kept = 1 - degree * (1 - np.exp(-decay * t))
            rows.append(kept * start_new + cross @ (vectors @ c) + 0.1 * (values[0] < 1e-3))
        return np.array(rows)

    def q4_ridge(gram, cross, labels, start, start_new, decay, times):
        matrix = gram + decay * np.eye(len(gram))
        left = np.stack([scipy.linalg.expm(-matrix * t) for t in times])
        moved = np.linalg.solve(matrix, labels - left @ (labels - start))
        return (
            np.exp(-decay * times)[:, None] * (start_new - cross @ np.linalg.pinv(gram) @ start)
            + moved @ cross.T
        )

    q4 = answers["q4"][0]
    four = [
        (lambda *given: None, "None"),
        (q4_bent(p=0), "not to their start|every|off by"),
        (q4_bent(p=1), "not the output itself|too small by 1"),
        (q4_bent(p=degree + 1), "too large by 1"),
        (q4_bent(times_decay=2.0), "half in front|ridge|off by"),
        (q4_bent(times_decay=1e-9), "decay is not there|late|off by"),
        (q4_bent(own=False), "decays at new inputs"),
        (q4_bent(sign=-1.0), "off by more|other sign"),
        (q4_bent(mend=lambda k, r: 1 / k), "late|off by more"),
        (q4_ridge, "q4"),
        (q4_inverse, "singular"),
        (lambda *given: np.array(q4(*given)).T, "shape|off by"),
        (lambda *given: np.array(q4(*given))[0], "shape"),
        (lambda k, c, y, f, g, mu, t: q4(k, c, y, f, g, mu, t[:1] + 0 * t), "q4 is|off by"),
        (lambda k, c, y, f, g, mu, t: q4(k, c, y, 0 * f, 0 * g, mu, t), "time 0"),
    ]

    def q5_bent(size):
        def q5(x, y, start):
            weight, nu = np.broadcast_to(size(start), start.shape), np.zeros(len(y))
            for _ in range(300):
                z = x.T @ nu
                bend = (x * (weight * np.cosh(z))) @ x.T
                step = np.linalg.solve(bend, x @ (weight * np.sinh(z)) - y)
                nu = nu - step / max(1.0, np.max(np.abs(x.T @ step)))
            return weight * np.sinh(x.T @ nu)

        return q5

    q5 = answers["q5"][1]
    five = [
        (lambda x, y, start: np.linalg.pinv(x) @ y, "least norm"),
        (
            lambda x, y, start: start**2 * (x.T @ np.linalg.solve((x * start**2) @ x.T, y)),
            "kernel's solution|least norm",
        ),
        (q5_bent(lambda a: 2 * factor * a**2), "a factor of this model"),
        (q5_bent(lambda a: factor * a**2 / 2), "a factor of the model"),
        (q5_bent(lambda a: factor * a), "another power"),
        (q5_bent(lambda a: factor / a**2), "inverted|cheaper"),
        (q5_bent(lambda a: factor * np.mean(a**2)), "a start of its own"),
        (q5_bent(lambda a: factor * np.mean(a) ** 2), "its own start"),
        (lambda x, y, start: q5(x, np.abs(y), start), "sign|X times q5|-y"),
        (lambda x, y, start: 0.9 * np.asarray(q5(x, y, start)), "X times q5"),
        (lambda x, y, start: x.T @ y, "X times q5|shape"),
        (lambda x, y, start: np.asarray(q5(x, y, start))[:, None], "shape"),
        (lambda x, y, start: q5(x, y, start[::-1]), "q5"),
    ]
    return {"q1": one, "q2": two, "q3": three, "q4": four, "q5": five}
