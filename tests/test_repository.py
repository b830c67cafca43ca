"""The repository as a whole: one address, clean notebooks, a complete lock, and its scripts."""

import importlib
import importlib.metadata
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import adopt
import check
import nbformat
import notebooks
import ntklab
import numpy as np
import pytest
import yaml
from nbval.plugin import get_sanitize_patterns
from project import (
    CELL_TIMEOUT,
    ROOT,
    address,
    chapters,
    files,
    one_pass,
    published_site,
    text_files,
)

import book

pytestmark = pytest.mark.once

CHAPTERS = {path.stem: path for path in chapters()}
each_chapter = pytest.mark.parametrize("path", CHAPTERS.values(), ids=CHAPTERS)


# The address


def found(pattern: str, texts: dict[Path, str]) -> list[str]:
    """Where a pattern stands, as file:line: text."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:200]}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_every_address_of_the_repository_is_the_one_in_the_configuration():
    owner, name = adopt.owner_and_name(address())
    other_owner = (
        rf"(github\.com|githubusercontent\.com|google\.com/github)/(?!{owner}/)[\w-]+/{name}"
    )
    assert not found(rf"{other_owner}|//(?!(?i:{owner})\.)[\w-]+\.github\.io/{name}", text_files())


@pytest.mark.parametrize(
    ("owner", "name", "site"),
    [
        ("some-one", "a.course", "https://some-one.github.io/a.course/"),
        ("Some-One", "A.Course", "https://some-one.github.io/A.Course/"),
        ("some-one", "some-one.github.io", "https://some-one.github.io/"),
        ("Some-One", "Some-One.github.io", "https://some-one.github.io/"),
        ("some-one", "one.github.io", "https://some-one.github.io/one.github.io/"),
    ],
)
def test_the_site_of_a_repository_is_where_it_is_served(owner, name, site):
    assert published_site(owner, name) == site


def copy_of_the_repository(target: Path) -> Path:
    for path in files():
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    subprocess.run(["git", "init", "--quiet"], cwd=target, check=True)
    return target


# Two halves each, so that adopting leaves them alone.
@pytest.mark.parametrize(
    ("fork", "site"),
    [
        ("someone-else/" + "a-fork.of-it", "https://someone-else" + ".github.io/a-fork.of-it/"),
        ("Someone-Else/" + "someone-else.github.io", "https://someone-else" + ".github.io/"),
    ],
)
def test_adopting_rewrites_every_address_and_adopting_back_restores_every_byte(
    fork, site, tmp_path
):
    root = copy_of_the_repository(tmp_path)
    adopt.adopt(address(), root)  # hosts in small letters
    before = {path: path.read_bytes() for path in files(root)}
    owner, name = adopt.owner_and_name(address())
    host = f"{owner}.github.io".lower()
    fork = f"https://github.com/{fork}"
    changed = adopt.adopt(fork + "/", root)
    assert address(root) == fork
    assert site in (root / "README.md").read_text(encoding="utf-8")
    assert not [path for path, text in text_files(root).items() if f"{owner}/{name}" in text]
    assert not [path for path, text in text_files(root).items() if host in text.lower()]
    assert set(changed) == {path for path in before if path.read_bytes() != before[path]}
    assert {root / "_config.yml", root / "CITATION.cff", root / "pyproject.toml"} <= set(changed)
    assert adopt.adopt(fork + ".git", root) == []
    assert adopt.adopt(address(), root) == changed
    assert {path: path.read_bytes() for path in files(root)} == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://github.com/old/it", "https://github.com/new-one/that"),
        (
            "git clone https://github.com/old/it.git",
            "git clone https://github.com/new-one/that.git",
        ),
        ("See https://github.com/old/it.", "See https://github.com/new-one/that."),
        ("https://old.github.io/it/a.html", "https://new-one.github.io/that/a.html"),
        (
            "https://colab.research.google.com/github/old/it/blob/x",
            "https://colab.research.google.com/github/new-one/that/blob/x",
        ),
        ("https://github.com/old/it-too", "https://github.com/old/it-too"),
        ("https://github.com/old/it.jl", "https://github.com/old/it.jl"),
        ("https://notgithub.com/old/it", "https://notgithub.com/old/it"),
        ("https://OLD.github.io/it/", "https://new-one.github.io/that/"),
        ("https://old.github.io/it-too/", "https://old.github.io/it-too/"),
        ("threshold/it", "threshold/it"),
    ],
)
def test_rewriting_knows_where_an_address_ends(text, expected):
    assert adopt.rewrite(text, ("old", "it"), ("new-one", "that")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://old.github.io/it/a.html", "https://own.github.io/a.html"),
        ("See https://old.github.io/it.", "See https://own.github.io."),
        ("https://github.com/old/it.git", "https://github.com/Own/own.github.io.git"),
    ],
)
def test_rewriting_knows_what_is_served_at_the_root_of_a_host(text, expected):
    old, own = ("old", "it"), ("Own", "own.github.io")
    assert adopt.rewrite(text, old, own) == expected
    assert adopt.rewrite(expected, own, old) == text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "you/it",
        "github.com/you/it",
        "http://github.com/you/it",
        "https://gitlab.com/you/it",
        "https://github.com/you",
        "https://github.com/you/..",
        "https://github.com/you/it/tree/main",
        "https://github.com/you/it?tab=readme",
        "https://github.com/you/i t",
    ],
)
def test_a_wrong_address_is_named(url):
    with pytest.raises(ValueError, match=r"URL must be https://github\.com/owner/name, got"):
        adopt.owner_and_name(url)


def test_no_file_holds_a_place_of_one_machine_or_a_package_index():
    texts = text_files()
    home = r"(?:(?<![\w.:/])|(?<=file://))/(work|root|home|Users|tmp|opt)/\w"
    assert not found(home + r"|[A-Z]:\\Users", texts)
    assert not found(r"py[p]i\.org|pythonhoste[d]|--(extra-)?index-ur[l]|--find-link[s]", texts)


# The notebooks


def test_the_table_of_contents_names_every_notebook():
    contents = str(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    assert CHAPTERS
    assert not [stem for stem in CHAPTERS if f"/{stem}'" not in contents]


@each_chapter
def test_a_notebook_is_stored_as_its_execution_leaves_it(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not list(notebooks.output_faults(notebook))
    notebooks.normalize(notebook)
    assert nbformat.writes(notebook) + "\n" == path.read_text(encoding="utf-8"), (
        "run make notebooks"
    )


def compared(output: str) -> str:
    """What nbval compares of an output."""
    for pattern, replacement in get_sanitize_patterns(
        (ROOT / "tools" / "nbval.cfg").read_text(encoding="utf-8")
    ):
        output = re.sub(pattern, replacement, output)
    return output


def test_drawings_are_compared_as_present_and_words_as_they_are():
    page = (
        '<p>{0}</p><svg width="1">\n{1}</svg>\n<img src="data:image/svg+xml,%3Csvg {1}" alt="{0}">'
    )
    assert compared(page.format("slack 0.1", "M0")) == compared(page.format("slack 0.1", "M1"))
    assert compared(page.format("slack 0.1", "M0")) != compared(page.format("slack 0.2", "M0"))
    assert compared("<p>a</p><svg>M0</svg>") != compared("<p>a</p>")
    # Colab's controls are compared as the player that stands in for them.
    assert compared("Explorer(Player(3 frames, 'm = 1' to 'm = 3'))") == (
        "Player(3 frames, 'm = 1' to 'm = 3')"
    )
    assert compared("<svg>M0</svg> between <svg>M0</svg>").count("between") == 1


# The library as a whole

MODULES = [
    module.name
    for module in pkgutil.iter_modules(ntklab.__path__)
    if not module.name.startswith("_")
]
DRAWING = {"figures", "player"}
# What draws, and what takes long to import: left to the functions that need it.
LATER = {"matplotlib", "ipywidgets", "IPython", "scipy", "optax", "flax", "equinox"}


def test_importing_what_computes_brings_nothing_that_draws_or_takes_long():
    imports = ", ".join(f"ntklab.{name}" for name in MODULES if name not in DRAWING)
    before = "import sys, jax; before = set(sys.modules)"  # JAX may bring some of them itself
    brought = f"{{name for name in sys.modules if name.split('.')[0] in {LATER}}} - before"
    done = subprocess.run(
        [sys.executable, "-c", f"{before}; import {imports}; print(*{brought})"],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.stdout.split() == []


WITHOUT_THE_EXTRA = """
import importlib, sys

for name in ["matplotlib", "PIL", "cycler", "ipywidgets", "optax"]:
    sys.modules[name] = None  # as if it were not installed
for name in sys.argv[1:]:
    try:
        importlib.import_module(f"ntklab.{name}")
    except ModuleNotFoundError as error:
        print(error)
"""


def test_a_plain_installation_is_told_what_it_lacks():
    """All modules are there without the extra `book`, but for those that draw, which name it."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA, *MODULES],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    needs = 'needs matplotlib, which the extra "book" brings: pip install "ntklab[book]"'
    assert done.stdout.splitlines() == [f"ntklab.{name} {needs}" for name in sorted(DRAWING)]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_documented(module):
    module = importlib.import_module(f"ntklab.{module}")
    assert module.__doc__
    public = {name: getattr(module, name) for name in module.__all__}
    described = {name: value for name, value in public.items() if callable(value)}
    assert not [name for name, value in described.items() if not (value.__doc__ or "").strip()]


# The scripts


@pytest.fixture
def notebook(tmp_path):
    """A function that writes a notebook of code cells and gives its path."""

    def write(*sources: str) -> Path:
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        for cell in cells:
            cell.metadata["collapsed"] = True
        path = tmp_path / "chapter.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write


def test_executing_again_leaves_a_notebook_byte_for_byte(notebook):
    path = notebook(
        "import time", "for i in range(3):\n    print(i, flush=True); time.sleep(0.2)", "7"
    )
    assert notebooks.refresh(path) == []
    first = path.read_bytes()
    cells = nbformat.read(path, as_version=4).cells
    assert [output.text for output in cells[1].outputs] == ["0\n1\n2\n"]
    assert cells[2].outputs[0].data["text/plain"] == "7"
    assert cells[0].metadata == {}
    assert notebooks.refresh(path) == []
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import sys; print('odd', file=sys.stderr)", "cell 0 writes to stderr: odd"),
        ("object()", "cell 0 shows a place in memory"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_notebook_with_a_fault_is_not_written(notebook, source, fault):
    path = notebook(source)
    before = path.read_bytes()
    (message,) = notebooks.refresh(path)
    assert fault in message
    assert path.read_bytes() == before


MINI_BOOK = {
    "_config.yml": "title: Mini\nonly_build_toc_files: true\nexecute: {execute_notebooks: cache}\n",
    "_toc.yml": "format: jb-book\nroot: book/index\nchapters: [{file: book/chapter}, {file: "
    "book/other}]\n",
    "book/index.md": "# Mini\n",
    "lib/ntklab.py": "",
    "requirements.lock": "",
}


def test_the_book_executes_only_what_changed_and_fails_on_warnings(notebook, tmp_path):
    for name, text in MINI_BOOK.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "tools", tmp_path / "tools")

    def write(name: str, code: str) -> None:
        cells = [nbformat.v4.new_markdown_cell(f"# {name}"), nbformat.v4.new_code_cell(code)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "book" / f"{name}.ipynb")

    def build() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(tmp_path / "tools" / "book.py")]
        return subprocess.run(command, capture_output=True, encoding="utf-8")

    write("chapter", "6 * 7")
    write("other", "1 + 1")
    first = build()
    assert "Notebooks executed: 2 (chapter, other)" in first.stdout, first.stdout + first.stderr
    # Side by side, before Jupyter Book, which would execute one after the other.
    assert first.stdout.count("Using cached notebook") == 2, first.stdout
    page = tmp_path / "_build" / "html" / "index.html"
    assert first.returncode == 0 and page.is_file() and f"Open {page.as_uri()} " in first.stdout
    # Sphinx is silent about a missing name of Python's unless it is told to be nitpicky.
    (tmp_path / "book" / "index.md").write_text(
        "# Mini\n\n{py:func}`ntklab.nothing.nowhere`\n", encoding="utf-8"
    )
    unresolved = build()
    assert "Notebooks executed: 0 (none changed)" in unresolved.stdout
    assert unresolved.returncode == 1 and "Open " not in unresolved.stdout
    assert "ntklab.nothing.nowhere" in unresolved.stderr, unresolved.stderr
    (tmp_path / "book" / "index.md").write_text("# Mini\n", encoding="utf-8")
    write("other", "1 / 0")
    (tmp_path / "lib" / "ntklab.py").write_text("changed = True", encoding="utf-8")
    warned = build()
    assert "Notebooks executed: 1 (chapter)" in warned.stdout
    assert warned.returncode == 1 and "the build failed" in warned.stderr
    assert "ZeroDivisionError" in warned.stderr, warned.stderr


def test_a_cell_may_take_as_long_for_the_book_as_for_the_scripts():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["execute"]["timeout"] == CELL_TIMEOUT


def test_a_failing_part_fails_the_whole_and_is_counted(tmp_path, monkeypatch, capfd):
    (tmp_path / "test_three.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert False\n"
        "@pytest.mark.skip\ndef test_c(): pass\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(check, "REPORTS", tmp_path)
    monkeypatch.setattr(check, "timings", lambda: {"make test": 1e6})
    pytest_part = [*check.PYTEST, "-c", "/dev/null", str(tmp_path)]
    parts = {"good": ["-c", ""], "bad": ["-c", "raise SystemExit(3)"], "tests": pytest_part}
    monkeypatch.setattr(check, "PARTS", [check.Part(name, call) for name, call in parts.items()])

    def run(*asked: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["check.py", *asked])
        return check.main(), capfd.readouterr().out.strip().splitlines()

    code, lines = run("good")
    assert code == 0 and re.fullmatch(r"1 passed, 0 failed in \d+\.\ds", lines[-1])
    assert [line for line in lines if line.startswith("make test") and line.endswith("over")]
    code, lines = run("good", "bad", "tests")
    assert code == 1
    assert re.fullmatch(r"2 passed, 2 failed in \d+\.\ds, 1 skipped", lines[-1])
    shown = {"=== good: passed", "=== bad: 1 failed", "=== tests: 1 failed, 1 skipped"}
    assert shown <= set(lines)
    assert check.Outcome("site", 1.0, passed=3, failed=0, skipped=2, output="").verdict == (
        "passed, 2 skipped"
    )


def outside(path: Path, **variables: str) -> dict[str, str]:
    """The environment with another `PATH`, and `CI` only if it is among the variables."""
    return {k: v for k, v in os.environ.items() if k != "CI"} | {"PATH": str(path)} | variables


@pytest.mark.parametrize(("set_before", "seen"), [({}, "true"), ({"CI": "1"}, "1")])
def test_what_is_checked_of_every_change_is_checked_with_ci_set(set_before, seen, tmp_path):
    (tmp_path / ".ci").mkdir()
    script = shutil.copy2(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text("test book:\n\t@echo $@ with CI=$$CI\n", encoding="utf-8")
    # Neither a browser nor what would install one.
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "id", "make"):
        (programs / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [programs / "bash", script],
        env=outside(programs, **set_before),
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    assert "install chromium by hand" in done.stderr
    assert {f"test with CI={seen}", f"book with CI={seen}"} <= set(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("variables", "code", "counts"), [({"CI": "true"}, 1, (0, 2, 0)), ({}, 0, (0, 0, 2))]
)
def test_without_a_browser_its_tests_fail_where_changes_are_checked(
    variables, code, counts, tmp_path
):
    """Elsewhere they are skipped; those of the site and those of the player."""
    (tmp_path / "test_two.py").write_text(
        "from test_player import browser as for_players\nfrom test_site import browser\n"
        "def test_a(browser): pass\ndef test_b(for_players): pass\n",
        encoding="utf-8",
    )
    report = tmp_path / "report.xml"
    # Loading the plugins of the unit tests takes longer than the tests.
    path = os.pathsep.join(str(ROOT / folder) for folder in ("tests", "tools"))
    variables |= {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, *check.PYTEST, "-c", "/dev/null", f"--junitxml={report}", str(tmp_path)],
        cwd=tmp_path,
        env=outside(tmp_path, **variables),
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.returncode, check.count(report)) == (code, counts), done.stdout + done.stderr


def test_a_part_waits_for_those_that_it_comes_after(tmp_path, monkeypatch, capfd):
    made = tmp_path / "made"
    # It prints a number that does not stand in the code: Python 3.13 shows that with the error.
    slow = ["-c", f"import time; time.sleep(1); print(6 * 7); open({str(made)!r}, 'x'); 1 / 0"]
    monkeypatch.setattr(check, "REPORTS", tmp_path)
    parts = [check.Part("slow", slow), check.Part("late", ["-c", f"open({str(made)!r})"])]
    assert [outcome.failed for outcome in check.run_all(parts)] == [1, 1]
    made.unlink()
    parts[1] = check.Part("late", parts[1].command, after=("slow",))
    assert [outcome.failed for outcome in check.run_all(parts)] == [1, 0]
    assert check.run_all(parts[1:])[0].failed == 0
    assert capfd.readouterr().out.splitlines().count("42") == 2


def test_the_example_of_the_readme_runs_and_gives_what_it_says():
    code = re.search(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    names: dict = {}
    exec(code[1], names)
    gram, limit = np.asarray(names["gram"]), np.asarray(names["limit"])
    assert 0.04 < np.linalg.norm(gram - limit) / np.linalg.norm(limit) < 0.16


def test_what_kept_a_notebook_from_running_is_tried_once_more(monkeypatch, tmp_path):
    asked = []

    def run(filter_uris, timeout):
        asked.append(sorted(map(os.path.basename, filter_uris)))
        # Of these, one's kernel did not start; another's cell raises an error.
        return SimpleNamespace(errored=[str(tmp_path / "a.ipynb")], excepted=filter_uris[1:])

    monkeypatch.setattr(book, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(book, "chapters", lambda: [CHAPTERS["linearization"]])
    executor = SimpleNamespace(run_and_cache=run)
    monkeypatch.setattr(book, "load_executor", lambda kind, cache: executor)
    book.execute()
    assert asked == [["linearization.ipynb"], ["a.ipynb"]]


def test_kept_outputs_serve_the_book_as_long_as_the_code_stays(monkeypatch, tmp_path):
    monkeypatch.setattr(book, "CACHE", tmp_path / "cache")
    path = CHAPTERS["linearization"]
    book.keep_outputs(path, 3.0)
    assert list(book.kept_outputs().values()) == [("linearization", 3.0)]
    notebook = nbformat.read(path, as_version=4)
    with book.kept_executions() as cache:
        cache.match_cache_notebook(notebook)
        next(cell for cell in notebook.cells if cell.cell_type == "code").source += " "
        with pytest.raises(KeyError):
            cache.match_cache_notebook(notebook)


def test_outputs_that_nothing_confirms_serve_one_build(monkeypatch, tmp_path):
    monkeypatch.setattr(book, "CACHE", tmp_path / "cache")
    stored, run = CHAPTERS["linearization"], CHAPTERS["weak_learning"]
    assert not book.outputs_are_kept(run)
    book.keep_outputs(run, 3.0)
    book.keep_outputs(stored, 5.0, confirmed=False)
    assert book.outputs_are_kept(run)
    book.forget_unconfirmed()
    assert list(book.kept_outputs().values()) == [("weak_learning", 3.0)]
    # A build as stored shows what stands in the notebook, not what an earlier run gave.
    changed = nbformat.read(run, as_version=4)
    next(cell for cell in changed.cells if cell.get("outputs")).outputs.pop()
    nbformat.write(changed, tmp_path / "changed.ipynb")
    assert not book.outputs_are_kept(tmp_path / "changed.ipynb")


def test_one_pass_names_only_flags_that_xla_knows(monkeypatch):
    """An unknown flag ends the process; what we set for old versions is gone in new ones."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.12.0.1")
    assert "fusion" not in one_pass(level=1)["XLA_FLAGS"]
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.10.2")
    assert "fusion" in one_pass(level=1)["XLA_FLAGS"]
    assert "optimization_level=0" in one_pass(level=0)["XLA_FLAGS"]


def test_the_time_of_a_build_is_that_of_all_chapters_two_at_a_time(monkeypatch, capsys):
    seconds = {f"chapter {path.stem}": 10.0 for path in chapters()} | {"rendering": 30.0}
    monkeypatch.setattr(check, "timings", lambda: dict(seconds))
    monkeypatch.setattr(check.os, "cpu_count", lambda: 2)

    def shown() -> str:
        check.print_budgets()
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if line.startswith("make book")).split()[2]

    assert float(shown()) == 30 + 5 * len(chapters())
    seconds.popitem()
    assert shown() == "-"
