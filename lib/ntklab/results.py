"""The ledger: every numbered result of the sources as a check that can fail.

A chapter registers its results with the decorator `result`; each is a function that measures
something and returns a `Check`: measured value, relation, bound. `python -m ntklab.results` runs
the whole ledger and prints it.
"""

import argparse
import html
import importlib
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ntklab import _validate

__all__ = [
    "Check",
    "PowerLaw",
    "Report",
    "Result",
    "all_results",
    "fit_power_law",
    "result",
    "rounding_tolerance",
]

# The chapters in the order of the book; a chapter registers its results when it is imported.
CHAPTERS = (
    "linearization",
    "tangent_kernel",
    "boolean_kernels",
    "sparse_parities",
    "weak_learning",
    "leaky_parities",
)

SOURCES = {
    "S24": "Sutherland 2024",
    "B23": "Bowman 2023",
    "M21": "Malach et al. 2021",
    "AZL19": "Allen-Zhu and Li 2019",
}

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
        >>> check.holds, round(check.slack, 3)
        (True, 0.03)
        >>> print(check)
        holds: error of the tangent = 0.02 ≤ 0.05, slack 0.03
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
        """Relation, bound and tolerance, such as `≤ 0.05` or `= 3 ± 0.2`."""
        tolerance = f" ± {self.tolerance:.2g}" if self.tolerance else ""
        return f"{_RELATIONS[self.relation]} {self.bound:.3g}{tolerance}"

    @property
    def slack_text(self) -> str:
        """The slack of the measured value as it is shown: rounding must not show in it either."""
        if not math.isfinite(self.measured):
            return f"{self.slack:.2g}"
        shown = replace(self, measured=float(self.measured_text))
        return f"{shown.slack + 0.0:.2g}"

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "FAILS"
        result = f"{verdict}: {self.what} = {self.measured_text} {self.bound_text}"
        return f"{result}, slack {self.slack_text}"

    def _repr_html_(self) -> str:
        return _table([_row(self)])


def _single_number(name: str, value: Any) -> float:
    """`value` as a float that may be infinite or NaN: a measurement that failed is a finding."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a single number, got {value!r}") from error


def _row(check: Check) -> str:
    verdict = "holds" if check.holds else "fails"
    cells = (check.what, check.measured_text, check.bound_text, check.slack_text, verdict)
    return "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in cells) + "</tr>"


def _table(rows: Sequence[str]) -> str:
    heads = ("quantity", "measured", "expected", "slack", "verdict")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return (
        f'<table class="ntk-check"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


@dataclass(frozen=True)
class Report:
    """The checks of a result as stated and with a hypothesis broken; shows itself as a table.

    Attributes:
        entry: the result.
        stated: the checks under its hypotheses.
        broken: the checks under `entry.falsified_by`; at least one should fail.
    """

    entry: "Result"
    stated: tuple[Check, ...]
    broken: tuple[Check, ...]

    @property
    def _broken_hypothesis(self) -> str:
        return ", ".join(f"{name} = {value!r}" for name, value in self.entry.falsified_by.items())

    def __str__(self) -> str:
        lines = [self.entry.title, *map(str, self.stated)]
        return "\n".join([*lines, f"with {self._broken_hypothesis}:", *map(str, self.broken)])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        def group(text: str) -> str:
            return f'<tr><th colspan="5" scope="rowgroup">{html.escape(text)}</th></tr>'

        return _table(
            [
                group(self.entry.title),
                *map(_row, self.stated),
                group(f"with {self._broken_hypothesis}"),
                *map(_row, self.broken),
            ]
        )


@dataclass(frozen=True)
class Result:
    """A numbered result of a source, with the function that checks it.

    Calling it runs the check, with any of the function's arguments changed.

    Attributes:
        source: the source's key, such as `S24`.
        label: the result's name there, such as `Proposition 14.1`.
        chapter: the chapter that proves it.
        function: what measures.
        falsified_by: arguments that break a hypothesis; under them the check must fail.
        sweep: further argument sets under which the check must hold.
        theorem: label of the statement in the chapter.
        exercise: label of an exercise about it, if there is one.
    """

    source: str
    label: str
    chapter: str
    function: Callable[..., Check | list[Check]]
    falsified_by: Mapping[str, Any]
    sweep: Sequence[Mapping[str, Any]] = field(default=())
    theorem: str | None = None
    exercise: str | None = None

    @property
    def statement(self) -> str:
        """What is claimed: the first paragraph of the function's docstring."""
        paragraph = inspect.getdoc(self.function) or ""
        return " ".join(paragraph.split("\n\n")[0].split())

    @property
    def title(self) -> str:
        """Source and label, such as `S24, Equation (14.1)`: the head of its report."""
        return f"{self.source}, {self.label}"

    @property
    def key(self) -> str:
        """A name for tests, unique on the ledger, such as `S24-Equation-14.1`."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.source} {self.label}").strip("-")

    def __call__(self, **arguments: Any) -> Check | list[Check]:
        """What the function returns for these arguments."""
        return self.function(**arguments)

    def checks(self, **arguments: Any) -> list[Check]:
        """The checks of one run, always as a list."""
        outcome = self.function(**arguments)
        return outcome if isinstance(outcome, list) else [outcome]

    def report(self) -> Report:
        """The checks as stated and under `falsified_by`, as a table."""
        return Report(self, tuple(self.checks()), tuple(self.checks(**self.falsified_by)))


_LEDGER: dict[tuple[str, str], Result] = {}


def result(
    source: str,
    label: str,
    *,
    chapter: str,
    falsified_by: Mapping[str, Any],
    sweep: Sequence[Mapping[str, Any]] = (),
    theorem: str | None = None,
    exercise: str | None = None,
) -> Callable[[Callable[..., Check | list[Check]]], Result]:
    """Register a function as the check of a source's result; the name becomes a `Result`.

    Args:
        source: key of the source: `S24`, `B23`, `M21` or `AZL19`.
        label: the result's name in the source; with its source unique on the ledger.
        chapter: the chapter's name, which is also its module's.
        falsified_by: arguments of the function that break a hypothesis of the result.
        sweep: other arguments, within the hypotheses, that the tests run as well.
        theorem: label of the statement's block in the chapter.
        exercise: label of an exercise about the result.

    Raises:
        ValueError: for an unknown source or chapter, a label taken already, no falsification, or
            arguments that the function does not have.
    """
    _validate.choice("source", source, tuple(SOURCES))
    _validate.choice("chapter", chapter, CHAPTERS)
    if not falsified_by:
        raise ValueError(
            f"falsified_by must name a broken hypothesis of {source} {label}, got none"
        )

    def register(function: Callable[..., Check | list[Check]]) -> Result:
        entry = Result(
            source, label, chapter, function, dict(falsified_by), tuple(sweep), theorem, exercise
        )
        if not entry.statement:
            raise ValueError(f"{function.__name__} must state {source} {label} in its docstring")
        known = set(inspect.signature(function).parameters)
        for name, arguments in (("falsified_by", falsified_by), *(("sweep", s) for s in sweep)):
            unknown = set(arguments) - known
            if unknown:
                raise ValueError(
                    f"{name} must name arguments of {function.__name__}, got {sorted(unknown)}"
                )
        taken = _LEDGER.get((source, label))
        if taken is not None and taken.function.__qualname__ != function.__qualname__:
            raise ValueError(f"label must be new on the ledger, got {source} {label} again")
        _LEDGER[source, label] = entry
        # Shows up where a function would: in the API pages and in doctests.
        object.__setattr__(entry, "__doc__", function.__doc__)
        object.__setattr__(entry, "__name__", function.__name__)
        return entry

    return register


def all_results() -> Iterator[Result]:
    """All results of the ledger, chapter by chapter in the order of the book.

    Examples:
        >>> sorted({entry.source for entry in all_results()})
        ['B23', 'M21', 'S24']
    """
    for chapter in CHAPTERS:
        importlib.import_module(f"ntklab.{chapter}")
    order = {chapter: place for place, chapter in enumerate(CHAPTERS)}
    yield from sorted(_LEDGER.values(), key=lambda entry: order[entry.chapter])


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the whole ledger, print a line a check, and count the failures."""
    parser = argparse.ArgumentParser(prog="python -m ntklab.results", description="Run the ledger.")
    parser.parse_args(arguments)
    failures = total = 0
    for entry in all_results():
        print(f"{entry.source} {entry.label} ({entry.chapter})")
        for check in entry.checks():
            total += 1
            failures += not check.holds
            print(f"    {check}")
        if all(check.holds for check in entry.checks(**entry.falsified_by)):
            failures += 1
            print(f"    FAILS: nothing breaks under {dict(entry.falsified_by)}")
    print(f"{total} checks, {failures} failures")
    return min(failures, 1)


if __name__ == "__main__":
    # Run the imported module's ledger, not this script's second copy of it.
    sys.exit(importlib.import_module("ntklab.results").main())
