"""Estimates with the uncertainty that belongs to them."""

from typing import Any, NamedTuple

import numpy as np

from ntklab import _validate

__all__ = [
    "PowerLaw",
    "fit_power_law",
]


class PowerLaw(NamedTuple):
    """`values ∝ sizes**exponent`, with a confidence interval for the exponent."""

    exponent: float
    lower: float
    upper: float


def fit_power_law(sizes: Any, samples: Any, *, level: float = 0.95) -> PowerLaw:
    r"""Fit $\log \mathrm{sample} = c + \alpha \log \mathrm{size}$ by least squares.

    The interval is Student's for the slope of a linear regression with independent errors: draw
    the samples of different sizes with different seeds.

    Args:
        sizes: `[S]` positive sizes, at least two different ones.
        samples: `[S, R]` positive measurements, R repetitions at each size.
        level: confidence level of the interval.

    Raises:
        ValueError: for other shapes, for values that are not positive, or a level outside (0, 1).

    Examples:
        >>> fit = fit_power_law([10, 100, 1000], [[1.0, 1.1], [0.33, 0.3], [0.1, 0.11]])
        >>> round(fit.exponent, 2), fit.lower < -0.5 < fit.upper
        (-0.5, True)
    """
    level = _validate.probability("level", level)
    x, y = _positive("sizes", sizes), _positive("samples", samples)
    if x.ndim != 1 or len(np.unique(x)) < 2:
        raise ValueError(f"sizes must be two or more different numbers [S], got {sizes!r}")
    if y.ndim != 2 or len(y) != len(x) or y.size < 3:
        raise ValueError(f"samples must have shape [{len(x)}, R], got {y.shape}")
    log_x = np.log(x) - np.mean(np.log(x))
    log_y = np.log(y) - np.mean(np.log(y))
    spread = y.shape[1] * np.sum(log_x**2)
    slope = float(log_x @ np.sum(log_y, axis=1) / spread)
    variance = np.sum((log_y - slope * log_x[:, None]) ** 2) / (y.size - 2)
    # SciPy is imported where it is used: it would add a half to the time that importing JAX takes.
    from scipy.special import stdtrit

    quantile = stdtrit(y.size - 2, (1 + level) / 2)
    margin = float(quantile * np.sqrt(variance / spread))
    return PowerLaw(slope, slope - margin, slope + margin)


def _positive(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers, got {value!r}") from error
    if not np.all((array > 0) & (array < np.inf)):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return array
