"""Estimates with their uncertainty: power laws."""

import math

import numpy as np
import pytest
from ntklab.statistics import fit_power_law


def test_power_law_against_numpy():
    rng = np.random.default_rng(0)
    sizes = [8, 16, 64, 256]
    samples = np.exp(rng.normal(size=(4, 5))) * np.asarray(sizes)[:, None] ** -0.7
    x, y = np.repeat(np.log(sizes), 5), np.log(samples).ravel()
    (slope, _), covariance = np.polyfit(x, y, 1, cov="unscaled")
    residuals = y - np.polyval(np.polyfit(x, y, 1), x)
    error = np.sqrt(covariance[0, 0] * np.sum(residuals**2) / (len(x) - 2))
    fit = fit_power_law(sizes, samples)
    # 2.100922 is the 97.5 % quantile of Student's t with 18 degrees of freedom, from a table.
    np.testing.assert_allclose(
        fit, [slope, slope - 2.100922 * error, slope + 2.100922 * error], rtol=1e-6
    )


def test_power_law_of_exact_data():
    fit = fit_power_law([1, 10, 100], [[3.0, 3.0], [0.3, 0.3], [0.03, 0.03]])
    np.testing.assert_allclose(fit, [-1, -1, -1], atol=1e-6)


def test_power_law_interval_covers_at_its_level():
    """1000 simulated fits at level 0.8: the share that covers lies within 5 standard errors."""
    rng = np.random.default_rng(0)
    sizes, exponent, repeats = np.array([4.0, 8.0, 16.0, 32.0]), -0.5, 1000
    covered = 0
    for _ in range(repeats):
        samples = sizes[:, None] ** exponent * np.exp(0.3 * rng.normal(size=(4, 6)))
        fit = fit_power_law(sizes, samples, level=0.8)
        covered += fit.lower <= exponent <= fit.upper
    assert abs(covered / repeats - 0.8) < 5 * np.sqrt(0.8 * 0.2 / repeats)


@pytest.mark.parametrize(
    ("sizes", "samples", "level", "name"),
    [
        ([[1, 2]], [[1.0, 1.0]], 0.95, "sizes"),
        ([2, 2], [[1.0, 1.0], [1.0, 1.0]], 0.95, "sizes"),
        ([0, 2], [[1.0, 1.0], [1.0, 1.0]], 0.95, "sizes"),
        ([1, math.inf], [[1.0, 1.0], [1.0, 1.0]], 0.95, "sizes"),
        (["a", "b"], [[1.0, 1.0], [1.0, 1.0]], 0.95, "sizes"),
        ([1, 2], [1.0, 2.0], 0.95, "samples"),
        ([1, 2, 3], [[1.0, 1.0], [1.0, 1.0]], 0.95, "samples"),
        ([1, 2], [[1.0], [1.0]], 0.95, "samples"),
        ([1, 2], [[1.0, 0.0], [1.0, 1.0]], 0.95, "samples"),
        ([1, 2], [[1.0, math.nan], [1.0, 1.0]], 0.95, "samples"),
        ([1, 2], [[1.0, math.inf], [1.0, 1.0]], 0.95, "samples"),
        ([1, 2], [[1.0, 2.0], [1.0]], 0.95, "samples"),
        ([1, 2], [[1.0, 1.0], [1.0, 1.0]], 1.0, "level"),
        ([1, 2], [[1.0, 1.0], [1.0, 1.0]], "high", "level"),
    ],
)
def test_bad_power_law(sizes, samples, level, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        fit_power_law(sizes, samples, level=level)
