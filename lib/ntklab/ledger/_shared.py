"""What the entries of several chapters use: inputs, and faults of the code under test."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntklab.ledger import Mutant

__all__ = ["NO_COINS", "scaled", "unit_vectors"]


def unit_vectors(seed: int, n: int, d: int) -> np.ndarray:
    """N independent uniform points of the unit sphere in d dimensions, `[n, d]`."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def scaled(factor: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What makes a function into one whose values are multiplied."""
    return lambda function: lambda *places, **named: factor * function(*places, **named)


def _certain(distribution: Callable[..., Any]) -> Callable[..., Any]:
    def faulty(self: Any, subset: Any, **named: Any) -> Any:
        fair = distribution(self, subset, **named)
        return fair._replace(label_means=jnp.sign(fair.label_means))

    return faulty


#: Labels of leaky parities that are certain where a coin should decide them.
NO_COINS = Mutant.code(
    "the leaking labels are no coins", "problems.LeakyParities.distribution", _certain
)
