"""The problem sets: right answers get full marks, wrong ones are told so, nothing leaks."""

import importlib.util
import re
import warnings
from pathlib import Path

import jax
import nbformat
import numpy as np
import pytest
from ntklab import coursework
from problem_sets import build, gate, master
from project import Obstacle

pytestmark = pytest.mark.once

ANSWERS = Path(__file__).with_name("problem_set_answers")
# The repository's own constants, for which every answer is tried, and a term's.
SEEDS = ["", "autumn"]


def answers_of(name):
    spec = importlib.util.spec_from_file_location(name, ANSWERS / f"{name.replace('-', '_')}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MASTERS = {(name, seed): master.load(name, seed) for name in master.names() for seed in SEEDS}
RIGHT = [
    pytest.param(read, question, place, id=f"{name}-{seed or 'own'}-{question}-{place}")
    for (name, seed), read in MASTERS.items()
    for question, answers in answers_of(name).right(read.variants).items()
    for place in range(-1, 1 if seed else len(answers))
]
WRONG = [
    pytest.param(read, question, place, id=f"{name}-{seed or 'own'}-{question}-{place}")
    for (name, seed), read in MASTERS.items()
    if not seed
    for question, answers in answers_of(name).wrong(read.variants).items()
    for place in range(len(answers))
]


def run(check, answer):
    """As a student's code runs: mixed dtypes promote, what is read-only stays so, no hurry."""

    def called(*inputs):
        given = [np.array(value) if isinstance(value, np.ndarray) else value for value in inputs]
        for value in given:
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        return answer(*given)

    with jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(called)


@pytest.mark.parametrize(("read", "question", "place"), RIGHT)
def test_right_answers_get_full_marks(read, question, place):
    own = read.answers() if place < 0 else {}
    answer = own.get(question) or answers_of(read.name).right(read.variants)[question][place]
    for check in read.checks(question).values():
        run(check, answer)


@pytest.mark.parametrize(("read", "question", "place"), WRONG)
def test_wrong_answers_are_told_what_is_off(read, question, place):
    answer, said = answers_of(read.name).wrong(read.variants)[question][place]
    messages = []
    for name, check in read.checks(question).items():
        try:
            run(check, answer)
        except AssertionError as error:
            messages.append(f"{name}: {error}")
        except Exception as error:  # as good as a check that fails
            messages.append(f"{name}: raised {type(error).__name__}")
    assert messages, "no check fails"
    assert any(re.search(said, message) for message in messages), messages


def test_every_question_has_answers_of_all_kinds():
    for name in master.names():
        read = MASTERS[name, ""]
        right, wrong = (
            getattr(answers_of(name), kind)(read.variants) for kind in ("right", "wrong")
        )
        for question in read.graded():
            assert len(right[question.name]) >= 3, question.name
            assert len(wrong[question.name]) >= 6, question.name


# The library has the public checks of the masters as they stand


@pytest.mark.parametrize("name", master.names())
def test_the_library_has_the_public_checks_and_no_hidden_one(name):
    stored = Path(coursework.__file__).with_name(f"{name}.json").read_text(encoding="utf-8")
    assert stored == build.public_checks(MASTERS[name, ""]), "run make problem-sets"
    assert not list(gate.findings([Path(coursework.__file__).parent], [MASTERS[name, ""]]))


# What otter lets through in silence is an error


def raw(text):
    return nbformat.v4.new_raw_cell(text)


def with_change(change):
    """The cells of a small master, changed in one place."""
    test = (
        '"""# BEGIN TEST CONFIG\npoints: 1\nhidden: {hidden}\nsuccess_message: "Yes."\n'
        'failure_message: "No."\n"""  # END TEST CONFIG\n\n\ndef test_q1_{name}(q1):\n'
        '    """{doc}"""\n    assert q1(2) == 4\n'
    )
    config = MASTERS["set-1", ""].notebook.cells[0].source
    cells = {
        "config": raw(config),
        "text": nbformat.v4.new_markdown_cell("# A set"),
        "imports": nbformat.v4.new_code_cell("import math", metadata={"tags": ["given"]}),
        "question": raw("# BEGIN QUESTION\nname: q1\npoints: 2"),
        "prompt": nbformat.v4.new_markdown_cell("## q1. Squares"),
        "begin": raw("# BEGIN SOLUTION"),
        "solution": nbformat.v4.new_code_cell(
            f'def q1(x):\n    """The square."""\n    # BEGIN SOLUTION\n    "{master.CANARY}"\n'
            "    return x**2\n    # END SOLUTION"
        ),
        "end": raw("# END SOLUTION"),
        "tests": raw("# BEGIN TESTS"),
        "public": nbformat.v4.new_code_cell(
            test.format(hidden="false", name="public", doc="A public check.")
        ),
        "hidden": nbformat.v4.new_code_cell(
            test.format(hidden="true", name="hidden", doc=master.CANARY)
        ),
        "end tests": raw("# END TESTS"),
        "end question": raw("# END QUESTION"),
    }
    change(cells)
    notebook = nbformat.v4.new_notebook(cells=[cell for cell in cells.values() if cell])
    return master.read(notebook, "set-1")


def replaced(cell, old, new):
    def change(cells):
        assert old in cells[cell].source
        cells[cell].source = cells[cell].source.replace(old, new)

    return change


def added(after, cell):
    def change(cells):
        items = list(cells.items())
        place = [name for name, _ in items].index(after) + 1
        cells.clear()
        cells.update([*items[:place], ("added", cell), *items[place:]])

    return change


CODE = nbformat.v4.new_code_cell


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced("config", "ok_format: false", "ok_format: true"), "cell 0: .*tests must be"),
        (replaced("config", '"3.12"', "3.12"), "cell 0: .*python_version must be"),
        (replaced("config", "init_cell", "initcell"), "cell 0: .*initcell"),
        (replaced("question", "# BEGIN", "# Begin"), "cell 3: '# Begin QUESTION' is no marker"),
        (replaced("question", "# BEGIN QUESTION", "# begin question"), "cell 3: .*no marker"),
        (replaced("question", "points", "point"), "cell 3: .*name and points"),
        (replaced("question", "points: 2", "points: 3"), "cell 3: the tests of q1 give 2"),
        (replaced("question", "points: 2", "points: two"), "cell 3: the points of q1"),
        (replaced("question", "points: 2", "points: 2\nmanaul: true"), "cell 3: manaul"),
        (replaced("question", "name: q1", "name: first"), "cell 3: .*called q1"),
        (replaced("begin", "BEGIN SOLUTION", "BEGIN SOLUTON"), "cell 5: .*no marker"),
        (replaced("begin", "# BEGIN", "#BEGIN"), "cell 5: .*no marker"),
        (
            lambda cells: cells.update(begin=None),
            "END SOLUTION closes no open block|no marker|given",
        ),
        (lambda cells: cells.update(end=None), "cell 7: # BEGIN TESTS stands inside SOLUTION"),
        (lambda cells: cells.update({"end question": None}), "QUESTION is never closed"),
        (lambda cells: cells.update(config=None), "no cell # ASSIGNMENT CONFIG"),
        (replaced("solution", "# BEGIN SOLUTION", "# begin solution"), "cell 6: .*looks like"),
        (replaced("solution", "# END SOLUTION", "# END SOLUTIONS"), "cell 6: .*looks like"),
        (replaced("solution", "    # BEGIN SOLUTION\n", ""), "q1 lacks the canary|one marked"),
        (replaced("solution", f'    "{master.CANARY}"\n', ""), "q1 lacks the canary"),
        (replaced("solution", "    return x**2\n", "    return x**2  # SOLUTION\n"), "looks like"),
        (
            replaced("solution", "# END SOLUTION", "# END SOLUTION\n    y = x**2"),
            "its docstring and nothing else",
        ),
        (replaced("hidden", "hidden: true", "hiden: true"), "cell 10: a test has .*hiden"),
        (replaced("hidden", "hidden: true", "hidden: yes please"), "cell 10: hidden must be"),
        (replaced("hidden", "hidden: true", "hidden: false"), "cell 10: .*has the canary"),
        (replaced("hidden", master.CANARY, "A test."), "cell 10: .*lacks the canary"),
        (replaced("hidden", "BEGIN TEST CONFIG", "BEGIN TEST CONFG"), "cell 10: "),
        (replaced("hidden", "BEGIN TEST CONFIG", "begin test config"), "cell 10: "),
        (replaced("hidden", "No.", 'No \\"way\\".'), "cell 10: failure_message"),
        (
            replaced(
                "hidden",
                "assert q1(2) == 4\n",
                "assert q1(2) == 4\n\n\ndef test_q1_b(q1):\n    pass\n",
            ),
            "cell 10: a test cell must hold one function",
        ),
        (replaced("hidden", "test_q1_hidden", "check_hidden"), "cell 10: .*must be called test_q1"),
        (replaced("hidden", "(q1)", "(q1, env)"), "cell 10: .*must take q1 alone"),
        (lambda cells: cells.update(public=None), "q1 has no public test"),
        (lambda cells: cells.update(hidden=None), "q1 has no hidden test"),
        (added("text", CODE("def q1(x):\n    return x**2")), "cell 2: .*must have the tag given"),
        (
            added("text", CODE("def q1(x):\n    return x**2", metadata={"tags": ["given"]})),
            "cell 2: an answer stands outside",
        ),
        (added("text", CODE("x = 1", metadata={"tags": ["gvien"]})), "cell 2: gvien is no tag"),
        (added("text", raw("# END SOLUTION")), "cell 2: # END SOLUTION closes no open block"),
        (added("text", raw("# BEGIN SOLUTION")), "cell 2: .*stands inside no question"),
        (added("text", nbformat.v4.new_markdown_cell("# BEGIN TESTS")), "cell 2: .*looks like"),
        (added("text", nbformat.v4.new_markdown_cell(master.CANARY)), "cell 2: the canary stands"),
        (
            lambda cells: [cells.update({k: None}) for k in list(cells)[3:]],
            "no question is marked",
        ),
    ],
)
def test_a_slip_in_a_master_is_an_error_that_names_the_cell(change, said):
    assert with_change(lambda cells: None).questions["q1"].points == 2
    with pytest.raises(Obstacle, match=said):
        with_change(change)
