"""The problem sets: right answers get full marks, wrong ones are told so, nothing leaks."""

import ast
import base64
import functools
import gzip
import html
import importlib.util
import io
import itertools
import json
import re
import warnings
import zipfile
from pathlib import Path

import jax
import nbformat
import numpy as np
import pytest
from ntklab import coursework
from problem_sets import build, gate, master, public_tree, variants
from project import ROOT, Obstacle, address

pytestmark = pytest.mark.once

ANSWERS = Path(__file__).with_name("problem_set_answers")


@functools.cache
def answers_of(name):
    spec = importlib.util.spec_from_file_location(name, ANSWERS / f"{name.replace('-', '_')}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def covering(name):
    """Seeds of terms, and the questions to try in each: every variant of every question once."""
    raw_master = nbformat.read(master.MASTERS / f"{name}.ipynb", as_version=4)
    (cell,) = (c for c in raw_master.cells if c.source.startswith(variants.MARKER))
    choices = variants.declared(cell, name)
    missing = {question: list(range(len(drawn))) for question, drawn in choices.items()}
    terms, seeds = {}, itertools.chain([""], map(str, itertools.count()))
    while any(missing.values()):
        seed = next(seeds)
        drawn = variants.drawn(name, choices, seed)
        new = [q for q, left in missing.items() if choices[q].index(drawn[q]) in left]
        for question in new:
            missing[question].remove(choices[question].index(drawn[question]))
        if new:
            terms[seed] = new
    return terms


TERMS = {name: covering(name) for name in master.names()}
MASTERS = {
    (name, seed): master.load(name, seed)
    for name, terms in TERMS.items()
    for seed in {**terms, "autumn": ()}
}
RIGHT, WRONG = (
    [
        pytest.param(MASTERS[name, seed], question, place, id=f"{name}-{seed}-{question}-{place}")
        for name, terms in TERMS.items()
        for seed, questions in terms.items()
        for question in questions
        for place in range(
            first, len(getattr(answers_of(name), kind)(MASTERS[name, seed].variants)[question])
        )
    ]
    for kind, first in (("right", -1), ("wrong", 0))
)


def run(check, answer, inputs=b"a"):
    """As a student's code runs: mixed dtypes promote, what is read-only stays so, no hurry.

    The inputs are the same at every run of the tests; right answers are tried with several.
    """

    def called(*inputs):
        given = [np.array(value) if isinstance(value, np.ndarray) else value for value in inputs]
        for value in given:
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        return answer(*given)

    fixed = coursework.repeatable(inputs)
    with jax.numpy_dtype_promotion("standard"), warnings.catch_warnings(), fixed:
        warnings.simplefilter("ignore")
        check(called)


@pytest.mark.parametrize(("read", "question", "place"), RIGHT)
def test_right_answers_get_full_marks(read, question, place):
    own = read.answers() if place < 0 else {}
    answer = own.get(question) or answers_of(read.name).right(read.variants)[question][place]
    for check in read.checks(question).values():
        for inputs in (b"a", b"b", b"c", b"d"):
            run(check, answer, inputs)


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


def test_the_guide_has_a_row_and_a_result_for_every_question():
    guide = (ROOT / "book" / "reference" / "instructors.md").read_text(encoding="utf-8")
    rows = {tuple(row): points for *row, points in re.findall(
        r"^\| (\d) \| ([qw]\d) \| .* \| ([\d.]+) \| [\d.]+ \|$", guide, re.MULTILINE)}  # fmt: skip
    results = re.findall(r"^\| \{prf:ref\}.* \|.*\| (.*) \|$", guide, re.MULTILINE)
    covered = {name for line in results for name in line.split(", ")}
    asked = {
        (name.removeprefix("set-"), question.name): f"{question.points:g}"
        for name in master.names()
        for question in MASTERS[name, ""].questions.values()
    }
    assert rows == asked
    assert covered == {" ".join(question) for question in asked}


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


# Nothing leaks


def secret_line(hidden=True):
    read = MASTERS["set-1", ""]
    return next(
        line.strip()
        for test in read.questions["q5"].tests
        if test.hidden == hidden
        for line in test.code.splitlines()
        if "same = (np.sin" in line or "one_by_one" in line
    )


def zipped(name, content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def highlighted(line):
    """As a rendered page has it, in pieces."""
    return "".join(f'<span class="n">{html.escape(c)}</span>' for c in re.split(r"(\W)", line))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.html", highlighted(secret_line()), "a secret line of set-1"),
        ("a.html", f"<p>{master.CANARY}</p>", "the canary"),
        ("searchindex.js", f'Search.setIndex({{terms:{{"{master.CANARY}":3}}}})', "the canary"),
        ("a.ipynb", json.dumps({"metadata": {"x": secret_line()}}), "a secret line"),
        ("a.ipynb", json.dumps({"source": ["# BEGIN SOLUTION\n"]}), "the marker"),
        ("a.ipynb", json.dumps({"metadata": {"tags": ["otter_answer_cell"]}}), "the marker"),
        ("a.ipynb.txt", "# ASSIGNMENT CONFIG", "the marker"),
        ("a.py", f"def f():\n    {secret_line()}\n", "a secret line"),
        ("a.json", json.dumps(f'"{master.CANARY}"').replace("h", "\\u0068"), "the canary"),
        ("a.html", base64.b64encode((secret_line() * 3).encode()).decode(), "a secret line"),
        ("a.whl", zipped("ntklab/x.json", secret_line()), "a.whl/ntklab/x.json: a secret"),
        ("a.epub", zipped("x.zip", zipped("p.xhtml", highlighted(secret_line()))), "a secret"),
        ("a.zip", zipped(f"{master.CANARY}.txt", ""), "names: the canary"),
        ("a.gz", gzip.compress(secret_line().encode()), "a secret line"),
        ("a.ipynb", json.dumps({"source": "VARIANT_q1_sign"}), "the marker"),
    ],
)
def test_a_leak_is_found_wherever_it_hides(name, content, said, tmp_path):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = list(gate.findings([tmp_path], [MASTERS["set-1", ""]]))
    assert any(said in line for line in found), found
    with pytest.raises(Obstacle, match="must not"):
        gate.require_clean([tmp_path], [MASTERS["set-1", ""]])


def test_the_gate_lets_public_text_through_and_refuses_what_it_cannot_read(tmp_path, monkeypatch):
    read = MASTERS["set-1", ""]
    text = "\n".join(read.questions["q1"].prompt) + "\nimport numpy as np\n" + secret_line(False)
    (tmp_path / "page.txt").write_text(text, encoding="utf-8")
    assert not list(gate.findings([tmp_path], [read]))
    (tmp_path / "book.pdf").write_bytes(b"%PDF-1.7")
    monkeypatch.setattr(gate.shutil, "which", lambda name: None)
    with pytest.raises(Obstacle, match="pdftotext must be installed"):
        list(gate.findings([tmp_path], [read]))
    with pytest.raises(Obstacle, match="nothing to look at"):
        (tmp_path / "empty").mkdir()
        list(gate.findings([tmp_path / "empty"], [read]))


# What is built, with otter


@pytest.fixture(scope="module")
def otter():
    if not build.OTTER.exists():
        pytest.skip("otter-grader is not installed: make test installs it")


@pytest.fixture(scope="module", params=master.names())
def built(request, otter):
    return build.build(request.param, "autumn")


def written(built):
    return sum(q.manual for q in MASTERS[built.name, "autumn"].questions.values())


def test_the_student_notebook_is_for_colab_and_knows_no_otter(built):
    path = built / "student" / f"{built.name}.ipynb"
    assert "otter" not in path.read_text(encoding="utf-8").lower()
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first, *rest = notebook.cells
    assert f'%pip install -q "ntklab @ git+{address()}"' in first.source
    code = [cell.source for cell in rest if cell.cell_type == "code"]
    for question in MASTERS[built.name, "autumn"].graded():
        (place,) = (k for k, text in enumerate(code) if text.startswith(f"def {question.name}("))
        tree = ast.parse(code[place]).body[0]
        assert [ast.unparse(line) for line in tree.body[1:]] == ["..."]
        name = question.name
        assert code[place + 1] == f'coursework.check("{built.name}", "{name}", {name})'
    assert sum("Type your answer here" in cell.source for cell in rest) == written(built)
    assert not any(cell.metadata for cell in notebook.cells)
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_the_zip_for_gradescope_pins_its_python_and_closes_its_tests(built):
    with zipfile.ZipFile(built / "gradescope" / f"{built.name}.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert f"python={master.PYTHON_VERSION}\n" in texts["environment.yml"]
    assert f"ntklab @ git+{address()}" in texts["environment.yml"]
    assert "playwright" not in texts["setup.sh"]
    assert texts["setup.sh"].rstrip().endswith("chmod -R go-rwx /autograder/source")
    settings = json.loads(texts["otter_config.json"])
    assert settings["show_hidden"] is False and settings["show_stdout"] is False
    for question in MASTERS[built.name, "autumn"].graded():
        test = (built / "tests" / f"{question.name}.py").read_text(encoding="utf-8")
        assert texts[f"tests/{question.name}.py"] == test
        assert test.count("hidden=True") == sum(t.hidden for t in question.tests)
        assert master.CANARY in test


def test_an_instructors_page_has_every_solution_and_rubric(built):
    notebook = nbformat.read(built / "instructor" / f"{built.name}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert text.count("*Rubric.*") == written(built)
    for question in MASTERS[built.name, "autumn"].graded():
        assert f"def {question.name}(" in text
        assert all(f"def {test.name}(" in text for test in question.tests)


def test_the_tree_to_publish_has_the_terms_constants_and_no_master(otter, tmp_path):
    with pytest.raises(Obstacle, match="must be a new folder"):
        public_tree.write_tree(ROOT, "autumn")
    with pytest.raises(Obstacle, match="must not lie in the repository"):
        public_tree.write_tree(ROOT / "public", "autumn")
    out = tmp_path / "tree"
    public_tree.write_tree(out, "autumn")
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert not [f for f in files if f.startswith(("tests/", "tools/problem_sets", "tools/grading"))]
    assert "lib/ntklab/tangent_kernel.py" in files and "book/linearization.ipynb" in files
    for name in master.names():
        page = (out / "book" / "problem-sets" / f"{name}.ipynb").read_text(encoding="utf-8")
        made = build.SETS / name / "student" / f"{name}.ipynb"
        assert page == made.read_text(encoding="utf-8")
        checks = (out / "lib/ntklab/coursework" / f"{name}.json").read_text(encoding="utf-8")
        assert checks == build.public_checks(MASTERS[name, "autumn"])
        assert f"- file: book/problem-sets/{name}\n" in (out / "_toc.yml").read_text(
            encoding="utf-8"
        )
    rules = (out / "Makefile").read_text(encoding="utf-8")
    assert not re.search(r"problem.sets|public-tree|^test:|OTTER\)/", rules, re.MULTILINE)
    assert re.search(r"^book: env", rules, re.MULTILINE)
    # What is published from the masters' own repository is looked through, all of it.
    own = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^publish: .*\n(?:\t.*\n)*\t.*problem_sets\.gate _build/html\n", own, re.M)
    assert re.search(r"^publish: .*\n(?:\t.*\n)*\t.*ghp-import", rules, re.M)
    (out / "lib" / "note.txt").write_text(secret_line(), encoding="utf-8")
    with pytest.raises(Obstacle, match=r"note\.txt: a secret line"):
        gate.require_clean([out], [MASTERS["set-1", ""]])


@pytest.mark.parametrize("name", master.names())
def test_no_variant_breaks_the_formula_that_it_stands_in(name):
    cells = nbformat.read(master.MASTERS / f"{name}.ipynb", as_version=4).cells
    (raw,) = (c for c in cells if c.cell_type == "raw" and c.source.startswith(variants.MARKER))
    choices = variants.declared(raw, name)
    displayed = [
        formula
        for cell in cells
        if cell.cell_type == "markdown"
        for formula in re.findall(r"\$\$(.*?)\$\$", cell.source, re.DOTALL)
    ]
    named = {place for formula in displayed for place in variants.PLACE.findall(formula)}
    values = [str(choice[key]) for question, key in named for choice in choices[question]]
    assert not [value for value in values if "$" in value]


def test_a_term_draws_its_constants_and_another_term_others():
    drawn = {seed: str(master.load("set-1", seed).variants) for seed in ("", *map(str, range(20)))}
    assert len(set(drawn.values())) > 12
    assert master.load("set-1", "7").variants == master.load("set-1", "7").variants
