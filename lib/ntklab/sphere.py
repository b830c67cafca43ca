"""The unit sphere under its uniform law: how many harmonics, how dense a coordinate is."""

import math

from ntklab import _validate

__all__ = [
    "equator_density",
    "harmonics",
]


def harmonics(dimension: int, degree: int) -> int:
    r"""$N(d, k) = \binom{k + d - 1}{d - 1} - \binom{k + d - 3}{d - 1}$, the dimension of the
    spherical harmonics of degree k in d dimensions.

    Args:
        dimension: d.
        degree: k.

    Raises:
        ValueError: for a dimension below 2 or a negative degree.

    Examples:
        >>> [harmonics(3, degree) for degree in range(4)]
        [1, 3, 5, 7]
    """
    d = _validate.integer("dimension", dimension, at_least=2)
    k = _validate.integer("degree", degree, at_least=0)
    return math.comb(k + d - 1, d - 1) - (math.comb(k + d - 3, d - 1) if k > 1 else 0)


def equator_density(dimension: int) -> float:
    r"""$c_d = \frac{\Gamma(d/2)}{\sqrt\pi\,\Gamma((d-1)/2)}$, the density at 0 of a coordinate u of
    a uniform unit vector, whose density is $c_d\,(1 - u^2)^{(d-3)/2}$.

    Args:
        dimension: d.

    Raises:
        ValueError: for a dimension below 2.

    Examples:
        >>> equator_density(3)
        0.5
    """
    d = _validate.integer("dimension", dimension, at_least=2)
    # SciPy is imported where it is used: it would add a half to the time that importing JAX takes.
    from scipy.special import beta

    return 1 / float(beta(0.5, (d - 1) / 2))
