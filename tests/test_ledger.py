"""The ledger: every entry holds as stated, fails when broken, and kills its false neighbours; and
its own machinery is sound.
"""

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import docutils.nodes
import docutils.utils
import jax
import jax.numpy as jnp
import ntklab
import pytest
from ntklab import ledger, linearization, networks, sparse_parities
from ntklab.checks import Check, Checks
from ntklab.ledger import EVIDENCE, Mutant, Report, all_results, closeness
from ntklab.ledger import __main__ as command

ENTRIES = list(all_results())
SWEEPS = [
    pytest.param(entry, arguments, id=f"{entry.key}-{number}")
    for entry in ENTRIES
    for number, arguments in enumerate(entry.sweep)
]
MUTANTS = [
    pytest.param(entry, mutant, id=f"{entry.key}-mutant-{number}")
    for entry in ENTRIES
    for number, mutant in enumerate(entry.mutants)
]


@pytest.fixture
def empty_ledger(monkeypatch):
    """A ledger to register on that no other test sees."""
    entries = {}
    monkeypatch.setattr(ledger, "_LEDGER", entries)
    return entries


def failures(checks):
    return [str(check) for check in checks if not check.holds]


# --- the entries --------------------------------------------------------------------------------
# In float32 the chapters run them, each with its falsification.


@pytest.mark.float64
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_entry_holds(entry):
    assert not failures(entry())


@pytest.mark.float64
@pytest.mark.parametrize(("entry", "arguments"), SWEEPS)
def test_entry_holds_for_other_parameters(entry, arguments):
    assert not failures(entry(**arguments))


@pytest.mark.float64
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_entry_fails_with_a_hypothesis_broken(entry):
    assert failures(entry(**entry.falsified_by))


@pytest.mark.float64
@pytest.mark.parametrize(("entry", "mutant"), MUTANTS)
def test_entry_kills_its_mutant(entry, mutant):
    assert not entry.survives(mutant), f"no check notices: {mutant.what}"


@pytest.mark.float64
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_what_is_loose_is_said_to_be(entry):
    """An inequality that stays below half of its bound says why, and no other one does."""
    close = closeness(entry(**setting) for setting in entry.settings)
    loose = {name: round(value, 3) for name, value in close.items() if value < 0.5}
    assert bool(loose) == bool(entry.loose), f"closeness {close}, Loose: {entry.loose!r}"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_entry_has_mutants_of_both_kinds(entry):
    assert {mutant.kind for mutant in entry.mutants} == {"statement", "code"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_entry_is_documented(entry):
    assert entry.source in ledger.SOURCES
    assert entry.function.__module__ == f"ntklab.ledger.{entry.chapter}"
    assert entry.chapter in ledger.CHAPTERS
    assert entry.evidence in EVIDENCE
    assert entry.statement.endswith(".")
    assert re.fullmatch(r"(thm|prop|lem|cor)-[a-z0-9-]+", entry.theorem)
    assert entry.exercise is None or re.fullmatch(r"ex-[a-z0-9-]+", entry.exercise)


def test_keys_are_unique():
    keys = [entry.key for entry in ENTRIES]
    assert len(set(keys)) == len(keys) > 0
    assert not any(" " in key for key in keys)


def test_entries_come_in_the_order_of_the_book():
    places = [ledger.CHAPTERS.index(entry.chapter) for entry in ENTRIES]
    assert places == sorted(places)


# --- registering --------------------------------------------------------------------------------


def in_chapter(function, chapter="linearization"):
    """The function, as if it stood in that chapter's module of the ledger."""
    function.__module__ = f"ntklab.ledger.{chapter}"
    return function


def registered(*, chapter="linearization", **options):
    def claim(n=1, scale=1.0):
        """Numbers are small.

        How it is measured.

        Loose: since two is
        far away.
        """
        return Check("n", n * scale, "<=", 2)

    settings = {"falsified_by": {"n": 3}} | options
    return ledger.result("S24", "Claim 0", **settings)(in_chapter(claim, chapter))


def test_result(empty_ledger):
    entry = registered(theorem="thm-x", sweep=[{"n": 2}])
    assert empty_ledger == {("S24", "Claim 0"): entry}
    assert entry.statement == "Numbers are small."
    assert entry.loose == "since two is far away."
    assert entry.key == "S24-Claim-0"
    assert entry.chapter == "linearization"
    assert entry.name == entry.__name__ == "claim"
    assert entry.__doc__ == entry.function.__doc__
    assert entry.settings == [{}, {"n": 2}]
    assert entry().hold
    assert not entry(n=2, scale=1.5).hold
    assert [check.measured for check in entry(2)] == [2]


def test_signatures_are_those_of_the_function(empty_ledger):
    entry = registered()
    shown = "(n=1, scale=1.0) -> ntklab.checks.Checks"
    assert str(inspect.signature(entry)) == shown
    assert str(inspect.signature(entry.report)) == "(*, n=1, scale=1.0) -> ntklab.ledger.Report"


def test_report_shows_both_runs(empty_ledger):
    report = registered(falsified_by={"n": 3}, theorem="thm-x").report()
    assert [check.holds for check in (*report.stated, *report.broken)] == [True, False]
    text = str(report)
    assert text.splitlines() == [
        "S24, Claim 0",
        "holds: n = 1 ≤ 2, 50 % of the bound",
        "a hypothesis broken: n = 3",
        "FAILS: n = 3 ≤ 2, 150 % of the bound",
    ]
    assert repr(report) == text
    shown = report._repr_html_()
    assert shown.count("<tr") == 5
    assert 'data-entry="S24-Claim-0" data-theorem="thm-x"' in shown
    assert shown.index(">holds<") < shown.index("n = 3") < shown.index("fails, as it must")


def test_report_takes_the_arguments_of_the_entry(empty_ledger):
    report = registered(falsified_by={"n": 3}).report(scale=0.5)
    assert [check.measured for check in (*report.stated, *report.broken)] == [0.5, 1.5]
    assert str(report).splitlines()[0] == "S24, Claim 0, with scale = 0.5"
    assert 'data-arguments="scale = 0.5"' in report._repr_html_()
    with pytest.raises(TypeError, match="width"):
        registered().report(width=3)


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
        ("S24", {"mutants": [Mutant.statement("other", m=3)]}, "^mutants must name arguments"),
        ("S24", {"chapter": "sorcery"}, "^chapter must be one of"),
        ("S24", {"evidence": "hearsay"}, "^evidence must be one of"),
        ("S24", {"evidence": "sampled"}, "^level and seeds must be given"),
        ("S24", {"evidence": "sampled", "level": 0.01}, "^level and seeds must be given"),
        ("S24", {"evidence": "exact", "level": 0.01, "seeds": 2}, "^level and seeds must be"),
        ("S24", {"evidence": "sampled", "level": 1.5, "seeds": 2}, "^level must lie"),
        ("S24", {"evidence": "sampled", "level": 0.5, "seeds": 0}, "^seeds must be"),
    ],
)
def test_bad_registration(source, options, match, empty_ledger):
    def claim(n=1):
        """Numbers are small."""
        return Check("n", n, "<=", 2)

    options = dict(options)
    function = in_chapter(claim, options.pop("chapter", "linearization"))
    with pytest.raises(ValueError, match=match):
        ledger.result(source, "Claim 0", **{"falsified_by": {"n": 3}} | options)(function)
    assert not empty_ledger


def test_a_claim_without_a_statement_is_refused(empty_ledger):
    def claim(n=1):
        return Check("n", n, "<=", 2)

    with pytest.raises(ValueError, match="claim must state S24 Claim 0"):
        ledger.result("S24", "Claim 0", falsified_by={"n": 3})(in_chapter(claim))


def test_a_label_is_taken_once(empty_ledger):
    registered()

    def other(n=1):
        """Another claim."""
        return Check("n", n, "<=", 2)

    with pytest.raises(ValueError, match=r"^label must be new"):
        ledger.result("S24", "Claim 0", falsified_by={"n": 3})(in_chapter(other))


# --- mutants ------------------------------------------------------------------------------------


def test_a_false_statement_dies_at_some_setting_or_survives(empty_ledger):
    entry = registered(sweep=[{"n": 2}])
    assert not entry.survives(Mutant.statement("three times as large", scale=3.0))
    assert not entry.survives(Mutant.statement("half as large again", scale=1.5))  # at n = 2
    assert entry.survives(Mutant.statement("no change at all", scale=1.0))


def width_of_parameters(width=8):
    """A two-layer network has one row of weights a unit."""
    network = networks.shallow(width)
    return Check("rows", len(network.init(jax.random.key(0), 3)), "==", width)


def narrower(shallow):
    return lambda width, **options: shallow(width - 1, **options)


def test_faulty_code_dies_and_is_gone_afterwards(empty_ledger):
    entry = ledger.result("S24", "Claim 0", falsified_by={"width": 0})(
        in_chapter(width_of_parameters)
    )
    right = networks.shallow
    assert not entry.survives(Mutant.code("one unit is missing", "networks.shallow", narrower))
    assert entry.survives(Mutant.code("nothing changes", "networks.shallow", lambda f: f))
    assert networks.shallow is right
    assert entry().hold


def test_faulty_code_is_seen_where_it_was_imported_by_name():
    from ntklab.ledger import linearization as entries

    mutant = Mutant.code("twice", "linearization.smoothness", lambda f: lambda name: 2 * f(name))
    with mutant.applied():
        assert entries.smoothness("tanh") == linearization.smoothness("tanh") > 1.5
    assert entries.smoothness("tanh") == linearization.smoothness("tanh") < 0.8


def test_compiled_programs_do_not_outlive_faulty_code():
    @jax.jit
    def outputs(x):
        return networks.activation_function("relu")(x)

    mutant = Mutant.code(
        "the sign", "networks.activation_function", lambda f: lambda name: lambda z: -f(name)(z)
    )
    one = jnp.ones(())
    assert float(outputs(one)) == 1
    with mutant.applied():
        assert float(outputs(one)) == -1
    assert float(outputs(one)) == 1


def test_faulty_methods_are_put_back():
    from ntklab.problems import SparseParities

    problem = SparseParities(4, 2, 0.5)
    mutant = Mutant.code(
        "twice the bound",
        "problems.SparseParities.edge_bound",
        lambda f: lambda self, edge: 2 * f(self, edge),
    )
    right = problem.edge_bound(0.1)
    with mutant.applied():
        assert problem.edge_bound(0.1) == 2 * right
    assert problem.edge_bound(0.1) == right


def test_an_error_under_faulty_code_is_no_death_and_leaves_no_trace(empty_ledger):
    def broken(shallow):
        raise RuntimeError("cannot be made")

    right = networks.shallow
    with pytest.raises(RuntimeError, match="cannot be made"):
        registered().survives(Mutant.code("cannot be made", "networks.shallow", broken))
    assert networks.shallow is right


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Mutant.statement("", n=1), "what"),
        (lambda: Mutant.statement("no change"), "arguments"),
        (lambda: Mutant.code("", "networks.shallow", narrower), "what"),
        (lambda: Mutant.code("fault", "networks.shallow", 3), "make"),
        *(
            (lambda target=target: Mutant.code("fault", target, narrower), "target")
            for target in ("", "networks", "networks.", "sorcery.shallow", "networks.sorcery")
        ),
    ],
)
def test_bad_mutants(make, name, no_hook):
    with pytest.raises(ValueError, match=f"^{name} must"):
        make()


def test_closeness_is_the_largest_by_name():
    runs = [
        Checks([Check("edge at n = 4.5", 1.0, "<=", 2.0), Check("norm", 1.0, "==", 1.0)]),
        Checks([Check("edge at n = 16", 3.0, "<=", 2.0), Check("rank", 1.0, "<", 8.0)]),
    ]
    assert closeness(runs) == {"edge at n = #": 1.5, "rank": 0.125}


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
        (3, 4, "S24-Claim-0 does not hold: n < 3 = 3 ≤ 2"),
        (None, 3, "S24-Claim-0 has no report in the chapter linearization"),
    ],
)
def test_the_results_map_finds_fault(empty_ledger, course_tables, stated, broken, fault):
    checks = [Checks([Check("n < 3", n, "<=", 2)]) for n in (stated or 0, broken)]
    report = Report(registered(), *checks)
    changed = Report(report.entry, *checks, {"n": 7})  # a reader's own, which counts for nothing
    page = docutils.utils.new_document("page")
    for shown in [checks[0][0], changed, *([report] if stated else [])]:
        page += docutils.nodes.raw("", shown._repr_html_(), format="html")
    found = course_tables.reported(page)
    assert list(found) == (["S24-Claim-0"] if stated else [])
    faults = course_tables.faults(report.entry, *found.get("S24-Claim-0", ([], [])))
    assert list(faults) == ([fault] if fault else [])


@pytest.mark.once
def test_the_results_map_says_what_a_measurement_is_worth(empty_ledger, course_tables):
    mutants = [Mutant.statement("twice", scale=3.0)] * 2
    entry = registered(evidence="sampled", level=1e-4, seeds=1, mutants=mutants)
    assert list(course_tables.worth(entry)) == [
        "sampled, level 0.0001, 1 seed",
        "mutants: 2 of the statement, 0 of the code",
        "loose: since two is far away.",
    ]


@pytest.mark.once
def test_the_results_map_adds_nothing_where_nothing_is_known(empty_ledger, course_tables):
    def claim(n=1):
        """Numbers are small."""
        return Check("n", n, "<=", 2)

    entry = ledger.result("S24", "Claim 1", falsified_by={"n": 3})(in_chapter(claim))
    assert list(course_tables.worth(entry)) == ["rounding"]


# --- the command --------------------------------------------------------------------------------


def ledger_of(monkeypatch, **options):
    entry = registered(**options)
    monkeypatch.setattr(command, "all_results", lambda: iter([entry]))


def test_the_command_counts_no_failure(empty_ledger, monkeypatch, capsys):
    ledger_of(monkeypatch)
    assert command.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "S24 Claim 0 (linearization)",
        "    holds: n = 1 ≤ 2, 50 % of the bound",
        "1 checks, 0 failures",
    ]


def test_the_command_fails_when_nothing_breaks(empty_ledger, monkeypatch, capsys):
    ledger_of(monkeypatch, falsified_by={"n": 2})
    assert command.main([]) == 1
    assert "nothing breaks under {'n': 2}" in capsys.readouterr().out


def test_the_command_fails_when_a_check_fails(empty_ledger, monkeypatch, capsys):
    def claim(n=2):
        """Numbers are small."""
        return Check("n", n, "<=", 1)

    entry = ledger.result("S24", "Claim 1", falsified_by={"n": 3})(in_chapter(claim))
    monkeypatch.setattr(command, "all_results", lambda: iter([entry]))
    assert command.main([]) == 1
    assert "FAILS: n = 2" in capsys.readouterr().out


def test_the_command_prints_data(empty_ledger, monkeypatch, capsys):
    ledger_of(monkeypatch, sweep=[{"n": 2}], theorem="thm-number")
    assert command.main(["--json"]) == 0
    text = capsys.readouterr().out
    assert text.isascii()
    data = json.loads(text)
    assert data["environment"]["ntklab"] == ntklab.__version__
    assert data["environment"]["jax"] == jax.__version__
    (row,) = data["results"]
    assert (row["key"], row["theorem"], row["level"]) == ("S24-Claim-0", "thm-number", None)
    assert [run["arguments"] for run in row["runs"]] == [{}, {"n": 2}]
    assert row["runs"][0]["checks"] == [
        {
            **{"what": "n", "measured": "1", "expected": "≤ 2", "margin": "50 % of the bound"},
            **{"holds": True, "value": 1.0, "relation": "<=", "bound": 2.0, "tolerance": 0.0},
            **{"slack": 1.0, "closeness": 0.5},
        }
    ]
    assert row["closeness"] == {"n": 1.0}
    assert row["broken"]["arguments"] == {"n": 3}
    assert [check["holds"] for check in row["broken"]["checks"]] == [False]


@pytest.mark.parametrize("options", [{"falsified_by": {"n": 2}}, {"sweep": [{"n": 3}]}])
def test_the_data_count_what_fails(empty_ledger, monkeypatch, capsys, options):
    ledger_of(monkeypatch, **options)
    assert command.main(["--json"]) == 1
    json.loads(capsys.readouterr().out)


def test_the_data_have_a_form_for_what_json_has_none_for(empty_ledger, monkeypatch, capsys):
    def claim(bound=float("inf"), activation=jnp.tanh, sizes=(1, 2)):
        """Numbers are small."""
        return Check("n", float("nan") if bound < 0 else 1.0, "<=", bound)

    entry = ledger.result(
        "S24",
        "Claim 1",
        falsified_by={"bound": -1.0, "activation": jnp.abs, "sizes": (3, 4)},
    )(in_chapter(claim))
    monkeypatch.setattr(command, "all_results", lambda: iter([entry]))
    assert command.main(["--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["runs"][0]["checks"][0]["bound"] == "inf"
    assert row["broken"]["checks"][0]["value"] == "nan"
    assert row["broken"]["arguments"] == {"bound": -1.0, "activation": "abs", "sizes": [3, 4]}


def test_the_command_goes_on_without_an_extra_and_names_it(empty_ledger, monkeypatch, capsys):
    def trained(n=1):
        """Networks are trained."""
        with jax.numpy_dtype_promotion("standard"):
            sparse_parities.train_on_parity(n=4, k=2, alpha=0.5, steps=1, seeds=[0], evaluations=1)
        return Check("n", n, "<=", 1)

    def small(n=1):
        """Numbers are small."""
        return Check("n", n, "<=", 2)

    def absent(n=1):
        """A fault is no missing extra."""
        import ntklab.nowhere  # noqa: F401

    needing, other, faulty = (
        ledger.result("S24", function.__name__, falsified_by={"n": 3})(in_chapter(function))
        for function in (trained, small, absent)
    )
    monkeypatch.setitem(sys.modules, "optax", None)  # as if it were not installed
    sparse_parities._training_program.cache_clear()
    monkeypatch.setattr(command, "all_results", lambda: iter([needing, other]))
    assert command.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "S24 trained (linearization)",
        '    left out: train_on_parity needs optax, which the extra "book" brings: '
        'pip install "ntklab[book]"',
        "S24 small (linearization)",
        "    holds: n = 1 ≤ 2, 50 % of the bound",
        "1 checks, 0 failures, 1 entries left out",
    ]
    assert command.main(["--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in data["results"]] == ["small"]
    assert "ntklab[book]" in data["left_out"]["S24-trained"]
    monkeypatch.setattr(command, "all_results", lambda: iter([faulty]))
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        command.main([])


MANY = """
import sys
from ntklab import ledger
from ntklab.checks import Check
from ntklab.ledger import __main__ as command

def claim(n=1):
    "Numbers are small."
    return [Check("σ", n, "<=", 2)] * int(sys.argv[1])

claim.__module__ = "ntklab.ledger.linearization"
entry = ledger.result("S24", "Claim 0", falsified_by={"n": 3})(claim)
command.all_results = lambda: iter([entry])
sys.exit(command.main([]))
"""


@pytest.mark.once
def test_the_command_on_a_console_that_lacks_the_signs():
    console = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", MANY, "1"], env=console, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\n    holds: ? = 1 <= 2, 50 % of the bound\n" in done.stdout


@pytest.mark.once
def test_the_command_ends_quietly_when_its_reader_has_seen_enough():
    program = [sys.executable, "-c", MANY, "100000"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"S24 Claim 0 (linearization)\n"
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141
