"""Random small scenes, and losses label by label: what the tests of descent compare with."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from ntklab import networks
from ntklab.cube import hypercube
from ntklab.problems import Distribution

FLOAT = jnp.result_type(float)
EPS = float(jnp.finfo(FLOAT).eps)
ROUNDING = 2000 * EPS
NETWORK = networks.mlp((3, 1), activation="tanh", b_std=0.5)
seeds = st.integers(0, 2**32 - 1)
shares = st.floats(0.0, 2.0)


def scene(seed, dtype=FLOAT):
    """A random small network, and a random distribution on six points."""
    rng = np.random.default_rng(seed)
    points, labels = rng.normal(size=(6, 2)), rng.uniform(-1, 1, 6)
    arrays = (points, rng.dirichlet(np.ones(6)), labels)
    member = Distribution(*(jnp.asarray(array, dtype) for array in arrays))
    shapes = (("weight", (3, 2)), ("bias", (3,))), (("weight", (1, 3)), ("bias", (1,)))
    params = tuple(
        {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in layer}
        for layer in shapes
    )
    return params, member


def flat(params):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)]).astype(float)


def loss_by_labels(h, member, loss):
    """Both labels of every point, in 64 bits."""
    h, (chances, means) = np.asarray(h, float), (np.asarray(a, float) for a in member[1:])
    up, down = (
        {"square": lambda y: (h - y) ** 2 / 2, "logistic": lambda y: np.log1p(np.exp(-y * h))}[
            loss
        ](y)
        for y in (1, -1)
    )
    return chances @ ((1 + means) / 2 * up + (1 - means) / 2 * down)


def uniform(n, labels, dtype=FLOAT):
    points = hypercube(n, dtype=dtype)
    return Distribution(points, jnp.full(2**n, 2.0**-n, dtype), labels(points))
