"""A measured number held against a bound: when it holds, how close it comes, how it shows."""

import math

import numpy as np
import pytest
from ntklab.checks import Check, Checks


@pytest.mark.parametrize(
    ("measured", "relation", "bound", "tolerance", "holds"),
    [
        (1.0, "<=", 1.0, 0.0, True),
        (1.1, "<=", 1.0, 0.0, False),
        (1.1, "<=", 1.0, 0.2, True),
        (1.3, "<=", 1.0, 0.2, False),
        (1.0, "<", 1.0, 0.0, False),
        (0.9, "<", 1.0, 0.0, True),
        (1.25, "<", 1.0, 0.25, False),
        (1.2, "<", 1.0, 0.25, True),
        (1.0, ">=", 1.0, 0.0, True),
        (0.9, ">=", 1.0, 0.0, False),
        (0.9, ">=", 1.0, 0.2, True),
        (1.0, ">", 1.0, 0.0, False),
        (1.1, ">", 1.0, 0.0, True),
        (0.75, ">", 1.0, 0.25, False),
        (1.0, "==", 1.0, 0.0, True),
        (1.1, "==", 1.0, 0.0, False),
        (1.25, "==", 1.0, 0.25, True),
        (0.75, "==", 1.0, 0.25, True),
        (0.7, "==", 1.0, 0.25, False),
        (math.inf, "<=", 1.0, 0.0, False),
        (-math.inf, "<=", 1.0, 0.0, True),
        (math.inf, "<=", math.inf, 0.0, False),
        *[(math.nan, relation, 1.0, 9.0, False) for relation in ("<=", "<", ">=", ">", "==")],
        *[(1.0, relation, math.nan, 9.0, False) for relation in ("<=", "<", ">=", ">", "==")],
    ],
)
def test_check_holds(measured, relation, bound, tolerance, holds):
    check = Check("x", measured, relation, bound, tolerance)
    assert check.holds is holds
    assert bool(check) is holds
    assert str(check).startswith("holds" if holds else "FAILS")


@pytest.mark.parametrize(
    ("relation", "tolerance", "slack"),
    [("<=", 9.0, 2.0), ("<", 9.0, 2.0), (">=", 9.0, -2.0), (">", 9.0, -2.0), ("==", 9.0, 7.0)],
)
def test_slack(relation, tolerance, slack):
    assert Check("x", 3.0, relation, 5.0, tolerance).slack == slack


@pytest.mark.parametrize(
    ("measured", "relation", "bound", "tolerance", "closeness"),
    [
        (1.0, "<=", 4.0, 0.0, 0.25),
        (5.0, "<", 4.0, 0.0, 1.25),
        (4.0, ">=", 1.0, 0.0, 0.25),
        (4.0, ">", 5.0, 0.0, 1.25),
        (-4.0, "<=", -1.0, 0.0, 0.25),  # −4 is far below −1
        (-1.0, ">=", -4.0, 0.0, 0.25),
        (1.0, "==", 1.0, 0.0, None),
        (0.0, "<=", 0.0, 1e-5, None),
        (1e-6, "<=", 1e-6, 1e-5, None),  # the bound is 0 up to the tolerance
        (-1.0, "<=", 2.0, 0.0, None),
        (math.nan, "<=", 1.0, 0.0, None),
        (1.0, "<=", math.inf, 0.0, None),
    ],
)
def test_closeness(measured, relation, bound, tolerance, closeness):
    assert Check("x", measured, relation, bound, tolerance).closeness == closeness


@pytest.mark.parametrize(
    ("measured", "relation", "bound", "tolerance", "text"),
    [
        (0.0123456, "<=", 0.05, 0.0, "25 % of the bound"),  # of 0.0123, which is what is shown
        (4.6e-4, "<=", 0.05, 0.0, "0.9 % of the bound"),
        (0.99951, "<=", 1.0, 0.0, "100 % of the bound"),  # shows as 1
        (0.0999, "<=", 0.1, 0.0, "99.9 % of the bound"),
        (1.5, "<=", 1.0, 0.0, "150 % of the bound"),
        (34.4, "<=", 1.0, 0.0, "34 times the bound"),
        (512.0, "<=", 1.0, 0.0, "510 times the bound"),
        (3e7, "<=", 1.0, 0.0, "over 100,000 times the bound"),
        (387.0, "<=", 1.0, 1e-4, "error 390, allowed 0.0001"),
        (4.5688, "<=", 4.56881, 1.2e-3, "100 % of the bound"),  # shows as 4.569, yet is inside
        (4.56882, "<=", 4.56881, 1.2e-3, "100 % of the bound"),  # or outside by rounding
        (2.9374, "==", 3.0, 0.25, "error 0.1, allowed 0.25"),
        (1.1e-13, "<=", 0.0, 1e-9, "error 0, allowed 1e-09"),
        (1 + 1e-15, "==", 1.0, 1e-13, "error 0, allowed 1e-13"),
        (0.56, "<=", 0.5, 0.1, "error 0.1, allowed 0.1"),  # of 0.6, and holds
        (0.44, "<=", 0.5, 0.1, "80 % of the bound"),
        (0.5, ">=", 0.2, 0.0, "the bound is 40 % of it"),
        (0.5, ">", 0.2, 0.0, "the bound is 40 % of it"),
        (4.0, ">=", 5.0, 0.0, "the bound is 125 % of it"),
        (1.0, ">=", 34.4, 0.0, "the bound is 34 times it"),
        (-1.0, ">=", -4.0, 0.0, "25 % of the bound"),
        (-4.0, "<=", -1.0, 0.0, "the bound is 25 % of it"),
        (1.0, ">", 0.0, 0.0, ""),
        (math.inf, ">=", 1.0, 0.0, ""),
        (math.nan, "==", 1.0, 0.1, ""),
    ],
)
def test_the_margin_is_that_of_the_value_shown(measured, relation, bound, tolerance, text):
    check = Check("x", measured, relation, bound, tolerance)
    assert check.margin_text == text
    assert str(check).endswith(f", {text}" if text else check.bound_text)
    assert f"<td>{text}</td>" in check._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("", 1.0, "<=", 2.0), "what"),
        (("x", 1.0, "=<", 2.0), "relation"),
        (("x", 1.0, "<=", 2.0, -0.1), "tolerance"),
        (("x", 1.0, "<=", 2.0, math.nan), "tolerance"),
        (("x", 1.0, "<=", 2.0, math.inf), "tolerance"),
        (("x", "much", "<=", 2.0), "measured"),
        (("x", np.ones(2), "<=", 2.0), "measured"),
        (("x", 1.0, "<=", None), "bound"),
    ],
)
def test_bad_check(arguments, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        Check(*arguments)


@pytest.mark.parametrize(
    ("measured", "tolerance", "text"),
    [
        (0.123456, 0.0, "0.123"),
        (3.14159, 0.02, "3.14"),
        (3.14159, 0.5, "3.1"),
        (641.3, 7.0, "641"),
        (641.3, 20.0, "640"),
        (-0.0001, 0.02, "0.00"),
        (3e-9, 1e-6, "0"),
        (1.34e-7, 6e-5, "0"),
        (2.9374, 0.25, "2.9"),
        (126726289.7, 0.3, "1.267e+08"),
        (math.nan, 0.1, "nan"),
    ],
)
def test_measured_shows_the_digits_that_mean_something(measured, tolerance, text):
    assert Check("x", measured, "<=", 1.0, tolerance).measured_text == text


def test_html_is_escaped():
    shown = Check("<script>&", 1.0, "<", 2.0)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;&amp;" in shown
    assert "&lt; 2" in shown
    assert shown.count("<td>") == 5


def test_several_checks_show_as_lines_and_as_one_table():
    both = Checks([Check("x", 1.0, "<", 2.0), Check("y", 3.0, "<=", 2.0)])
    assert not both.hold
    assert Checks(both[:1]).hold
    lines = ["holds: x = 1 < 2, 50 % of the bound", "FAILS: y = 3 ≤ 2, 150 % of the bound"]
    assert str(both).splitlines() == repr(both).splitlines() == lines
    shown = both._repr_html_()
    assert shown.count("<table") == 1
    assert shown.count('data-holds="true"') == shown.count('data-holds="false"') == 1


@pytest.mark.parametrize("checks", [3, "text", [1.0], [Check("x", 1, "<", 2), None]])
def test_bad_checks(checks, no_hook):
    with pytest.raises(ValueError, match=r"^checks must"):
        Checks(checks)
