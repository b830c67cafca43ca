"""The unit sphere: harmonics counted, a coordinate's density."""

import math

import numpy as np
import pytest
from ntklab.sphere import equator_density, harmonics


@pytest.mark.parametrize("d", [2, 3, 10, 100])
def test_harmonics_count(d):
    """Homogeneous polynomials of degree K, restricted to the sphere, are the even or odd ones."""
    for k in range(1, 9):
        upto = sum(harmonics(d, j) for j in range(k % 2, k + 1, 2))
        assert upto == math.comb(k + d - 1, d - 1)
    assert [harmonics(2, k) for k in range(4)] == [1, 2, 2, 2]


@pytest.mark.parametrize("d", [2, 3, 4, 11, 200])
def test_the_density_of_a_coordinate_integrates_to_one(d):
    angle, weights = np.polynomial.legendre.leggauss(200)
    integral = math.pi / 2 * weights @ np.cos(math.pi / 2 * angle) ** (d - 2)
    assert equator_density(d) * integral == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: harmonics(1, 2), "dimension must be at least 2"),
        (lambda: harmonics(3, -1), "degree must be at least 0"),
        (lambda: equator_density(1), "dimension must be at least 2"),
    ],
)
def test_a_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
