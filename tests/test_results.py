"""The ledger: every entry holds as stated and fails when broken, and its own machinery is sound."""

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import docutils.nodes
import docutils.utils
import numpy as np
import pytest
from ntklab import results
from ntklab.results import Check, all_results, fit_power_law

ENTRIES = list(all_results())
SWEEPS = [
    pytest.param(entry, arguments, id=f"{entry.key}-{number}")
    for entry in ENTRIES
    for number, arguments in enumerate(entry.sweep)
]


@pytest.fixture
def empty_ledger(monkeypatch):
    """A ledger to register on that no other test sees."""
    ledger = {}
    monkeypatch.setattr(results, "_LEDGER", ledger)
    return ledger


def failures(checks):
    return [str(check) for check in checks if not check.holds]


# --- the entries --------------------------------------------------------------------------------
# In float32 the chapters run them, each with its falsification.


@pytest.mark.float64
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_entry_holds(entry):
    assert not failures(entry.checks())


@pytest.mark.float64
@pytest.mark.parametrize(("entry", "arguments"), SWEEPS)
def test_entry_holds_for_other_parameters(entry, arguments):
    assert not failures(entry.checks(**arguments))


@pytest.mark.float64
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_entry_fails_with_a_hypothesis_broken(entry):
    assert failures(entry.checks(**entry.falsified_by))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_entry_is_documented(entry):
    assert entry.source in results.SOURCES
    assert entry.chapter in results.CHAPTERS
    assert entry.function.__module__ == f"ntklab.{entry.chapter}"
    assert entry.statement.endswith(".")
    assert re.fullmatch(r"(thm|prop|lem|cor)-[a-z0-9-]+", entry.theorem)
    assert entry.exercise is None or re.fullmatch(r"ex-[a-z0-9-]+", entry.exercise)


def test_keys_are_unique():
    keys = [entry.key for entry in ENTRIES]
    assert len(set(keys)) == len(keys) > 0
    assert not any(" " in key for key in keys)


def test_entries_come_in_the_order_of_the_book():
    places = [results.CHAPTERS.index(entry.chapter) for entry in ENTRIES]
    assert places == sorted(places)


# --- one check ----------------------------------------------------------------------------------


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
    ("measured", "relation", "bound", "tolerance", "text"),
    [
        (0.0123456, "<=", 0.05, 0.0, "0.038"),
        (2.9374, "==", 3.0, 0.25, "0.15"),  # of 2.9, which is what is shown
        (1.1e-13, "<=", 0.0, 1e-9, "0"),
        (0.56, "<=", 0.5, 0.1, "-0.1"),  # of 0.6, and holds
        (math.inf, ">=", 1.0, 0.0, "inf"),
        (math.nan, "==", 1.0, 0.1, "nan"),
    ],
)
def test_slack_is_that_of_the_value_shown(measured, relation, bound, tolerance, text):
    check = Check("x", measured, relation, bound, tolerance)
    assert check.slack_text == text
    assert f"slack {text}" in str(check)
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


# --- registering --------------------------------------------------------------------------------


def registered(**options):
    def claim(n=1, scale=1.0):
        """Numbers are small.

        How it is measured.
        """
        return Check("n", n * scale, "<=", 2)

    settings = {"chapter": "linearization", "falsified_by": {"n": 3}} | options
    return results.result("S24", "Claim 0", **settings)(claim)


def test_result(empty_ledger):
    entry = registered(theorem="thm-x", sweep=[{"n": 2}])
    assert empty_ledger == {("S24", "Claim 0"): entry}
    assert entry.statement == "Numbers are small."
    assert entry.key == "S24-Claim-0"
    assert entry.function.__name__ == entry.__name__ == "claim"
    assert entry.__doc__ == entry.function.__doc__
    assert entry().holds
    assert not entry(n=2, scale=1.5).holds
    assert [check.measured for check in entry.checks(n=2)] == [2]


def test_report_shows_both_runs(empty_ledger):
    report = registered(falsified_by={"n": 3}).report()
    assert [check.holds for check in (*report.stated, *report.broken)] == [True, False]
    text = str(report)
    assert text.splitlines() == [
        "S24, Claim 0",
        "holds: n = 1 ≤ 2, slack 1",
        "with n = 3:",
        "FAILS: n = 3 ≤ 2, slack -1",
    ]
    assert repr(report) == text
    shown = report._repr_html_()
    assert shown.count("<tr>") == 5
    assert shown.index("holds") < shown.index("with n = 3") < shown.index("fails")


def test_registering_the_same_function_again_replaces_it(empty_ledger):
    registered()
    again = registered()
    assert list(empty_ledger.values()) == [again]


@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        ("S99", {}, "^source must be one of"),
        ("S24", {"falsified_by": {}}, "^falsified_by must name"),
        ("S24", {"falsified_by": {"m": 3}}, "^falsified_by must name arguments"),
        ("S24", {"sweep": [{"n": 1}, {"m": 3}]}, "^sweep must name arguments"),
        ("S24", {"chapter": "sorcery"}, "^chapter must be one of"),
    ],
)
def test_bad_registration(source, options, match, empty_ledger):
    def claim(n=1):
        """Numbers are small."""
        return Check("n", n, "<=", 2)

    settings = {"chapter": "linearization", "falsified_by": {"n": 3}} | options
    with pytest.raises(ValueError, match=match):
        results.result(source, "Claim 0", **settings)(claim)
    assert not empty_ledger


def test_a_claim_without_a_statement_is_refused(empty_ledger):
    def claim(n=1):
        return Check("n", n, "<=", 2)

    with pytest.raises(ValueError, match="claim must state S24 Claim 0"):
        results.result("S24", "Claim 0", chapter="linearization", falsified_by={"n": 3})(claim)


def test_a_label_is_taken_once(empty_ledger):
    registered()

    def other(n=1):
        """Another claim."""
        return Check("n", n, "<=", 2)

    with pytest.raises(ValueError, match=r"^label must be new"):
        results.result("S24", "Claim 0", chapter="linearization", falsified_by={"n": 3})(other)


# --- what the results map reads of a report -----------------------------------------------------


@pytest.fixture(scope="module")
def course_tables():
    """The extension of the site, which is no package."""
    path = Path(__file__).parents[1] / "book" / "_ext" / "course_tables.py"
    spec = importlib.util.spec_from_file_location("course_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.once
@pytest.mark.parametrize(
    ("stated", "broken", "fault"),
    [
        (1, 3, None),
        (1, 2, "S24-Claim-0 does not fail with its hypothesis broken"),
        (3, 4, "S24-Claim-0 does not hold: n < 3 = 3, bound ≤ 2"),
        (None, 3, "S24-Claim-0 has no report in the chapter linearization"),
    ],
)
def test_the_results_map_finds_fault(empty_ledger, course_tables, stated, broken, fault):
    checks = [[Check("n < 3", n, "<=", 2)] for n in (stated or 0, broken)]
    report = results.Report(registered(), *map(tuple, checks))
    page = docutils.utils.new_document("page")
    for shown in [checks[0][0], *([report] if stated else [])]:
        page += docutils.nodes.raw("", shown._repr_html_(), format="html")
    found = course_tables.reported(page)
    assert list(found) == (["S24, Claim 0"] if stated else [])
    faults = course_tables.faults(report.entry, *found.get("S24, Claim 0", ([], [])))
    assert list(faults) == ([fault] if fault else [])


# --- the command --------------------------------------------------------------------------------


def ledger_of(monkeypatch, **options):
    registered(**options)
    monkeypatch.setattr(results, "all_results", lambda: iter(results._LEDGER.values()))


def test_the_command_counts_no_failure(empty_ledger, monkeypatch, capsys):
    ledger_of(monkeypatch)
    assert results.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "S24 Claim 0 (linearization)",
        "    holds: n = 1 ≤ 2, slack 1",
        "1 checks, 0 failures",
    ]


def test_the_command_fails_when_nothing_breaks(empty_ledger, monkeypatch, capsys):
    ledger_of(monkeypatch, falsified_by={"n": 2})
    assert results.main([]) == 1
    assert "nothing breaks under {'n': 2}" in capsys.readouterr().out


def test_the_command_fails_when_a_check_fails(empty_ledger, monkeypatch, capsys):
    @results.result("S24", "Claim 1", chapter="linearization", falsified_by={"n": 3})
    def claim(n=2):
        """Numbers are small."""
        return Check("n", n, "<=", 1)

    monkeypatch.setattr(results, "all_results", lambda: iter([claim]))
    assert results.main([]) == 1
    assert "FAILS: n = 2" in capsys.readouterr().out


@pytest.mark.once
def test_the_module_run_as_a_script_runs_the_imported_ledger():
    """A second copy of the module under the name __main__ would find an empty ledger."""
    program = (
        "import runpy, sys, ntklab.results as r; r.main = lambda: 7;"
        "sys.argv = ['r']; runpy.run_module('ntklab.results', run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore::RuntimeWarning", "-c", program], capture_output=True
    )
    assert run.returncode == 7, run.stderr.decode()


# --- power laws ---------------------------------------------------------------------------------


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
