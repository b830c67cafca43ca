"""Searches that follow a gradient: from many places at once, and over all directions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntklab import _validate


def climb(
    heights_and_slopes: Callable[[Array], tuple[Array, Array]],
    first: Array,
    held: Array,
    pace: ArrayLike,
    steps: int,
) -> tuple[Array, Array]:
    """The largest height of each climb, and its place.

    A step moves the largest coordinate by `pace` times a factor that shrinks from 0.3 to 0.0003.

    Args:
        heights_and_slopes: places `[starts, n]` to heights `[starts]` and gradients.
        first: where the climbs start, `[starts, n]`.
        held: coordinates that do not move, `[starts, n]`.
        pace: one number, or one for each climb, `[starts, 1]`.
        steps: of each climb.
    """

    def step(carry: tuple[Array, Array, Array], t: Array) -> tuple[Any, None]:
        places, best, where = carry
        heights, slopes = heights_and_slopes(places)
        better = heights > best
        best, where = jnp.where(better, heights, best), jnp.where(better[:, None], places, where)
        direction = jnp.where(held, 0, jnp.nan_to_num(slopes))
        size = jnp.max(jnp.abs(direction), axis=1, keepdims=True)
        shrink = (0.3 * 10 ** (-3 * t / steps)).astype(first.dtype)
        moved = places + shrink * pace * direction / jnp.where(size > 0, size, 1)
        return (moved, best, where), None

    carry = (first, jnp.full(len(first), -jnp.inf, first.dtype), first)
    (_, best, where), _ = jax.lax.scan(step, carry, jnp.arange(steps, dtype=first.dtype))
    return best, where


def sphere_starts(n: int, count: int, seed: int, dtype: Any) -> Array:
    """All 2n axes, along which one coordinate takes the whole norm, and random directions."""
    with jax.ensure_compile_time_eval():
        random = np.asarray(jax.random.normal(jax.random.key(seed), (count, n), dtype))
        return _validate.from_numpy(np.concatenate([np.eye(n), -np.eye(n), random]), dtype)


def climb_sphere(height: Callable[[Array], Array], first: Array, steps: int) -> tuple[Array, Array]:
    """The largest height that gradient ascent over the unit sphere finds, and its direction.

    Args:
        height: of one direction of norm 1, `[n]`.
        first: where the climbs start, `[starts, n]`, of any norm.
        steps: of each climb, 0.2 long before they return to the sphere.
    """

    def unit(direction: Array) -> Array:
        return direction / jnp.sqrt(jnp.sum(direction**2))

    height_and_slope = jax.value_and_grad(lambda direction: height(unit(direction)))

    def ascend(direction: Array) -> tuple[Array, Array]:
        def step(carry: tuple[Array, Array, Array], _: None) -> tuple[Any, None]:
            here, best, where = carry
            value, slope = height_and_slope(here)
            better = value > best
            size = jnp.sqrt(jnp.sum(slope**2))
            moved = unit(here + 0.2 * slope / jnp.where(size > 0, size, 1))
            return (moved, jnp.maximum(value, best), jnp.where(better, here, where)), None

        start = unit(direction)
        lowest = jnp.full((), -jnp.inf, first.dtype)
        (_, best, where), _ = jax.lax.scan(step, (start, lowest, start), None, length=steps + 1)
        return best, where

    heights, directions = jax.vmap(ascend)(first)
    highest = jnp.argmax(heights)
    return heights[highest], directions[highest]
