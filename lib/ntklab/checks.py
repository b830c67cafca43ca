"""A measured number held against a bound."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp

from ntklab import _validate

__all__ = [
    "Check",
    "Checks",
    "rounding_tolerance",
]

_RELATIONS = {
    "<=": "≤",
    "<": "<",
    ">=": "≥",
    ">": ">",
    "==": "=",
}


@dataclass(frozen=True)
class Check:
    """One measured number held against a bound: `measured relation bound`, up to `tolerance`.

    Args:
        what: the quantity that was measured, in a few words.
        measured: its value.
        relation: one of `<=`, `<`, `>=`, `>`, `==`.
        bound: what the statement promises.
        tolerance: how far beyond the bound rounding or sampling may carry the measured value.

    Raises:
        ValueError: for an unknown relation, an empty `what`, values that are not single numbers,
            or a tolerance that is negative, infinite or NaN.

    Examples:
        >>> check = Check("error of the tangent", 0.02, "<=", 0.05)
        >>> check.holds, round(check.slack, 3), round(check.closeness, 3)
        (True, 0.03, 0.4)
        >>> print(check)
        holds: error of the tangent = 0.02 ≤ 0.05, 40 % of the bound
        >>> print(Check("least eigenvalue", 0.5, ">=", 0.2))
        holds: least eigenvalue = 0.5 ≥ 0.2, the bound is 40 % of it
    """

    what: str
    measured: float
    relation: str
    bound: float
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not self.what:
            raise ValueError("what must say which quantity was measured, got an empty string")
        _validate.choice("relation", self.relation, tuple(_RELATIONS))
        for name in ("measured", "bound", "tolerance"):
            object.__setattr__(self, name, _single_number(name, getattr(self, name)))
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"tolerance must be finite and at least 0, got {self.tolerance}")

    @property
    def slack(self) -> float:
        """How far the measured value is inside the bound; negative where it is outside, if only by
        less than the tolerance.

        For `==` it is the part of the tolerance that is left.
        """
        if self.relation == "==":
            return self.tolerance - abs(self.measured - self.bound)
        distance = self.bound - self.measured
        return distance if self.relation in ("<=", "<") else -distance

    @property
    def holds(self) -> bool:
        """Whether the relation is true up to the tolerance; a NaN never holds."""
        if self.relation == "==":
            return self.slack >= 0
        if self.relation in ("<", ">"):
            return self.slack > -self.tolerance
        return self.slack >= -self.tolerance

    def __bool__(self) -> bool:
        return self.holds

    @property
    def closeness(self) -> float | None:
        """How close an inequality comes to its bound: measured over bound for an upper one, bound
        over measured for a lower one, the other way round below 0; 1 is attained.

        None for an equality, and where the two have no ratio: one is 0, infinite or of the other
        sign, or the bound is 0 up to the tolerance.
        """
        if self.relation == "==" or not (math.isfinite(self.measured) and abs(self.bound) < 1e300):
            return None
        small, large = self.measured, self.bound
        if self.relation in (">=", ">"):
            small, large = large, small
        if small < 0 and large < 0:  # of two negative numbers the smaller one is the longer
            small, large = -large, -small
        if self.bound == 0 or large <= self.tolerance or small < 0:
            return None
        return small / large

    @property
    def measured_text(self) -> str:
        """The measured value with no more digits than the tolerance gives a meaning to."""
        if not (self.tolerance > 0 and math.isfinite(self.measured)):
            return f"{self.measured:.3g}"
        digits = -math.floor(math.log10(self.tolerance))
        value = round(self.measured, digits) + 0.0  # + 0.0 turns a rounded −0 into 0
        if digits >= 4 or abs(value) >= 1e5:
            return f"{value:.4g}"
        return f"{value:.{max(digits, 0)}f}"

    @property
    def bound_text(self) -> str:
        """Relation and bound, such as `≤ 0.05` or `= 3`."""
        return f"{_RELATIONS[self.relation]} {self.bound:.3g}"

    @property
    def margin_text(self) -> str:
        """What the verdict rests on: which share of an upper bound is taken up, or which share of
        the value a lower bound is; where the two agree up to rounding or sampling, the error and
        what is allowed.

        It is computed from the value as shown, so that rounding does not show in it either.
        """
        if not math.isfinite(self.measured):
            return ""
        shown = replace(self, measured=float(self.measured_text))
        close = shown.closeness
        if self.relation == "==":
            excess = abs(shown.measured - shown.bound)
        else:  # digits cut off must not carry a value that is inside its bound beyond it
            attained = self.slack >= -self.tolerance / 10
            excess = 0.0 if attained else -shown.slack
        if self.tolerance and (close is None or excess > 0 or self.relation == "=="):
            # The bound may have more digits than its text: a smaller error is none.
            error = max(excess, 0.0) if excess > 1e-3 * self.tolerance else 0.0
            return f"error {_two_digits(error)}, allowed {self.tolerance:.2g}"
        if close is None:
            return ""
        # Below 0 an upper bound is the shorter of the two, as a lower one is above 0.
        if (self.relation in (">=", ">")) != (self.bound < 0):
            return f"the bound is {_share(close)} it"
        return f"{_share(close)} the bound"

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "FAILS"
        margin = f", {self.margin_text}" if self.margin_text else ""
        return f"{verdict}: {self.what} = {self.measured_text} {self.bound_text}{margin}"

    def _repr_html_(self) -> str:
        return Checks([self])._repr_html_()


class Checks(tuple[Check, ...]):
    """Checks in an order, which show themselves as lines, and in a notebook as a table.

    Args:
        checks: in that order.

    Examples:
        >>> Checks([Check("λ_min", 0.2, ">", 0), Check("distance", 2.0, "<=", 1.0)])
        holds: λ_min = 0.2 > 0
        FAILS: distance = 2 ≤ 1, 2 times the bound
    """

    def __new__(cls, checks: Iterable[Check]) -> "Checks":
        """A tuple of the checks; an error for anything else among them."""
        given = tuple(_validate.items("checks", checks))
        for check in given:
            if not isinstance(check, Check):
                raise ValueError(f"checks must all be a Check, got {type(check).__name__}")
        return super().__new__(cls, given)

    @property
    def hold(self) -> bool:
        """Whether every one holds."""
        return all(check.holds for check in self)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return table([f"<tbody>{rows(self)}</tbody>"])


def rows(checks: Iterable[Check], *, must_fail: bool = False) -> str:
    """The rows of a table of checks, with their texts as data that a program finds again.

    With a hypothesis broken a failure is what is wanted, and the verdict says so.
    """
    return "".join(_row(check, must_fail) for check in checks)


def _row(check: Check, must_fail: bool) -> str:
    failure = "fails, as it must" if must_fail else "fails"
    data = {
        "what": check.what,
        "measured": check.measured_text,
        "expected": check.bound_text,
        "margin": check.margin_text,
        "holds": str(check.holds).lower(),
    }
    attributes = "".join(f' data-{key}="{html.escape(text)}"' for key, text in data.items())
    cells = (*list(data.values())[:4], "holds" if check.holds else failure)
    return f"<tr{attributes}>{''.join(f'<td>{html.escape(text)}</td>' for text in cells)}</tr>"


def table(bodies: Sequence[str], attributes: str = "") -> str:
    """A table of checks with these bodies under its head."""
    heads = ("quantity", "measured", "expected", "margin", "verdict")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    opening = f'<table class="ntk-check"{attributes}>'
    return f"{opening}<thead><tr>{head}</tr></thead>{''.join(bodies)}</table>"


def _share(share: float) -> str:
    """In whole percent; a small share keeps one digit, one just below the bound is not rounded up
    to it, and one far beyond it is so many times the bound.
    """
    if share >= 2:
        return f"{_two_digits(share)} times" if share < 1e5 else "over 100,000 times"
    percent = 100 * share
    if 99.5 <= percent < 100 - 1e-9:
        return f"{math.floor(percent * 10) / 10:.1f} % of"
    return f"{percent:.0f} % of" if percent >= 1 else f"{percent:.1g} % of"


def _two_digits(value: float) -> str:
    """Two digits that count, without a power of ten up to 100,000: 510, not 5.1e+02."""
    text = f"{value:.2g}"
    return f"{float(text):.0f}" if 100 <= value < 1e5 else text


def _single_number(name: str, value: Any) -> float:
    """`value` as a float that may be infinite or NaN: a measurement that failed is a finding."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a single number, got {value!r}") from error


def rounding_tolerance(scale: float = 1.0) -> float:
    """What rounding may add to a quantity of this scale: 500 units in the last place.

    The unit is that of JAX's default floating-point type, so a check is as strict as its mode.

    Args:
        scale: the order of magnitude of the quantity.

    Raises:
        ValueError: for a scale that is not a positive number.

    Examples:
        >>> 0 < rounding_tolerance() < 1e-4
        True
    """
    scale = _validate.number("scale", scale, above=0)
    return 500 * float(jnp.finfo(jnp.result_type(float)).eps) * scale
