"""The chapters as Colab runs them: what plain Colab can show, and every cell really run.

The environment has what Colab has, in Colab's versions, but no ntklab. Git is told to find the
repository's address in a clone of the working tree, so that the copy's own install cell installs
what is about to be published. nbval runs each copy there, top to bottom, and compares every output
with the one that is stored in the chapter; in between run the chapter's Tries and the code of its
solutions. All that is installed comes from `locks/colab.lock`. nbval also runs each chapter in
this environment, which has the versions of our own lock. The site must be built: `make book`.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
import tries
import yaml
from project import published_site, record

from book import forget_stale_outputs, keep_outputs

pytestmark = pytest.mark.colab

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "_build"
CHAPTERS = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
ADDRESS = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]

# What Colab has, and the files of it and of what an install cell adds.
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = PROJECT["dependency-groups"]["colab"]
LOCK = ROOT / "locks" / "colab.lock"
COLAB = dict(pin.split("==") for pin in PINS)

# Run after the chapter: the library came from the install cell, which left JAX as it was.
PROBE = """
import importlib.metadata, pathlib, sys, ntklab
pathlib.Path(ntklab.__file__).is_relative_to(sys.prefix), importlib.metadata.version("jax")
"""


def copy_of(chapter: str) -> Any:
    path = BUILD / "html" / "colab" / f"{chapter}.ipynb"
    if not path.exists():
        pytest.fail(f"the site is not built: colab/{chapter}.ipynb is missing, run `make book`")
    return nbformat.read(path, as_version=4)


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, encoding="utf-8", capture_output=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


# What the copies look like


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_copy_has_only_what_colab_renders(chapter: str) -> None:
    raw = re.compile(
        r":::|`{3}\{|\{(?:prf:|py:)?(?:ref|numref|eq|doc|cite\S*|func|mod)\}`|\\(?:label|eqref)\b"
    )
    macros = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]
    macros = set(macros["mathjax3_config"]["tex"]["macros"])
    for cell in copy_of(chapter).cells:
        if cell.cell_type == "markdown":
            assert not raw.search(cell.source), cell.source
            assert not macros & set(re.findall(r"\\([A-Za-z]+)", cell.source)), cell.source
            assert cell.source.count("<details>") == cell.source.count("</details>")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_copy_has_the_chapters_code_and_no_outputs(chapter: str) -> None:
    source = nbformat.read(ROOT / "book" / f"{chapter}.ipynb", as_version=4)
    code = [cell for cell in copy_of(chapter).cells if cell.cell_type == "code"]
    assert [cell.source for cell in code] == [
        cell.source for cell in source.cells if cell.cell_type == "code"
    ]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert f'%pip install -q "ntklab[book] @ git+{ADDRESS}"' in code[0].source
    assert code[0].metadata.cellView == "form"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_links_of_the_copy_resolve_on_the_site(chapter: str) -> None:
    site = published_site(*ADDRESS.removeprefix("https://github.com/").split("/"))
    text = "\n".join(cell.source for cell in copy_of(chapter).cells)
    links = [unquote(link) for link in re.findall(rf"\]\({re.escape(site)}([^)\s]*)\)", text)]
    assert links
    for link in links:
        path, anchor = urldefrag(link or "index.html")
        page = BUILD / "html" / path
        assert page.is_file(), link
        assert not anchor or f'id="{anchor}"' in page.read_text(encoding="utf-8"), link


# What happens when they run


@pytest.fixture(scope="session")
def colab_python() -> Path:
    """An interpreter with what Colab has, made once for a lock; beside it the lock's files."""
    key = hashlib.sha256(f"{sys.version} {PINS}".encode() + LOCK.read_bytes()).hexdigest()[:12]
    home = BUILD / "colab-env" / key
    python = home / "bin" / "python"
    if (home / "versions.txt").exists():
        reset(python)  # of what a run that was interrupted may have left
    else:
        shutil.rmtree(home.parent, ignore_errors=True)
        run(sys.executable, "-m", "venv", home)
        pip = (python, "-m", "pip", "download", "--require-hashes", "-r", LOCK, "--no-deps")
        run(*pip, "--quiet", "--only-binary", ":all:", "--dest", home / "wheels")
        install(python, *PINS)
        kernel = home / "kernels" / "colab"
        kernel.mkdir(parents=True)
        launch = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": launch, "display_name": "Colab", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        (home / "versions.txt").write_text("\n".join(installed(python)), encoding="utf-8")
    return python


def uv(command: str, python: Path, *arguments: str, **options: Any) -> str:
    """What pip does, in a fraction of its time; the install cells alone call pip itself."""
    pip = (sys.executable, "-m", "uv", "pip", command, "--quiet", "--python", python)
    return run(*pip, *arguments, **options)


def install(python: Path, *arguments: str) -> None:
    """Install in Colab's environment, where there is nothing but the lock's files."""
    uv("install", python, "--no-index", *arguments, env=os.environ | closed(python.parents[1]))


def closed(home: Path) -> dict[str, str]:
    """Variables under which pip and uv find the lock's files and nothing else, not even a build's.

    Their hashes were compared when they came.
    """
    files = (home / "wheels").as_uri()
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": files}
    hashes = {"PIP_REQUIRE_HASHES": "0", "UV_REQUIRE_HASHES": "0"}
    return pip | hashes | {"UV_FIND_LINKS": files, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def installed(python: Path) -> list[str]:
    packages = json.loads(uv("list", python, "--format=json"))
    return sorted(f"{package['name']}=={package['version']}" for package in packages)


def changes(base: list[str], now: list[str]) -> tuple[list[str], list[str]]:
    """The names that have come to the base, and what of it is gone or has another version."""
    names = {pin.split("==")[0] for pin in base}
    added = [name for name, _ in (pin.split("==") for pin in now) if name not in names]
    return added, [pin for pin in base if pin not in now]


def reset(python: Path) -> list[str]:
    """Take away what an install cell has brought, put back what it moved; what that was."""
    base = (python.parents[1] / "versions.txt").read_text(encoding="utf-8").split()
    added, moved = changes(base, installed(python))
    if added:
        uv("uninstall", python, *added)
    if moved:
        install(python, "--no-deps", *moved)
    return moved


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose one commit is the working tree."""
    clone = tmp_path_factory.mktemp("published")
    listing = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    run("git", "init", "--quiet", cwd=clone)
    run("git", "add", "--all", "--force", cwd=clone)
    run("git", *who, "commit", "--quiet", "--no-gpg-sign", "-m", "The working tree", cwd=clone)
    return clone


def session() -> dict[str, str]:
    """The variables of a notebook that a reader opens: without those of the tests."""
    ours = ("PYTHONPATH", "NTKLAB_STATIC", "VIRTUAL_ENV", "JAX_ENABLE_X64", "MPLBACKEND")
    return {name: value for name, value in os.environ.items() if name not in ours}


@pytest.fixture
def colab_environment(published: Path, colab_python: Path) -> dict[str, str]:
    """The variables of a Colab session, where git finds the address in our clone."""
    address = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{published.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    home = colab_python.parents[1]
    kernel = {"JAX_PLATFORMS": "cpu", "JUPYTER_PATH": str(home)}
    return session() | closed(home) | address | kernel


def with_stored_outputs(copy: Any, chapter: Any) -> Any:
    """The copy with the chapter's outputs, those of the install cell aside, and the probe."""
    stored, code = (
        [cell for cell in notebook.cells if cell.cell_type == "code"]
        for notebook in (chapter, copy)
    )
    for source, cell in zip(stored, code, strict=True):
        # Outputs are compared with those of the code that gave them, not of an older copy's.
        assert cell.source == source.source, "the copy is not the chapter's, run `make book`"
        cell.execution_count, cell.outputs = source.execution_count, source.outputs
    code[0].metadata.tags = ["nbval-ignore-output"]
    seen = repr((True, COLAB["jax"]))
    output = nbformat.v4.new_output("execute_result", {"text/plain": seen}, execution_count=1)
    probe = nbformat.v4.new_code_cell(PROBE, execution_count=len(code) + 1, outputs=[output])
    copy.cells.append(probe)
    return copy


def validate(notebook: Any, folder: Path, *options: str, **environment: str) -> float:
    """The seconds that nbval takes for a notebook's own cells after the first; it must pass."""
    nbformat.write(notebook, folder / "copy.ipynb")
    sanitize = f"--nbval-sanitize-with={ROOT / 'tools' / 'nbval.cfg'}"
    # The kernel's own libraries warn; what a chapter writes to stderr is a fault of its own.
    quietly = ("-q", "-p", "no:cacheprovider", "-W", "default", "--junitxml=cells.xml")
    nbval = ("-p", "nbval.plugin", "--nbval", sanitize, *options)
    # Loading the plugins of the unit tests takes longer than a cell.
    alone = {**(environment or os.environ), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run(sys.executable, "-m", "pytest", *quietly, *nbval, "copy.ipynb", cwd=folder, env=alone)
    cells = list(ElementTree.parse(folder / "cells.xml").getroot().iter("testcase"))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    own = [tries.TAG not in cell.metadata.get("tags", []) for cell in code]
    times = [float(cell.get("time", 0)) for cell in cells]
    return sum(time for time, counts in zip(times[1:], own[1:], strict=True) if counts)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_chapter_runs_in_colab_and_gives_its_outputs(
    chapter: str, colab_python: Path, colab_environment: dict[str, str], tmp_path: Path
) -> None:
    path = ROOT / "book" / f"{chapter}.ipynb"
    source = nbformat.read(path, as_version=4)
    notebook = with_stored_outputs(copy_of(chapter), source)
    notebook = tries.with_extras(notebook, tries.extras(source, chapter))
    try:
        validate(notebook, tmp_path, "--nbval-kernel-name=colab", **colab_environment)
    finally:
        moved = reset(colab_python)
    assert not moved, f"the install cell has moved what Colab has: {', '.join(moved)}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_chapter_gives_its_outputs_here(chapter: str, tmp_path: Path) -> None:
    """With the versions of our own lock; the next build takes what this confirms as it stands."""
    # What is confirmed belongs to the library as it is now, should a file change meanwhile.
    forget_stale_outputs()
    path = ROOT / "book" / f"{chapter}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    here = session() | {"NTKLAB_STATIC": "1"}
    seconds = validate(notebook, tmp_path, "--nbval-current-env", **here)
    keep_outputs(path, seconds)
    record({f"chapter {chapter}": seconds})


def test_the_lock_holds_what_colab_has() -> None:
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    assert set(PINS) <= {line.split()[0] for line in lines if line[:1].isalnum()}, "run make lock"
    # A build in Colab is isolated: what it asks for must be among the lock's files.
    assert PROJECT["build-system"]["requires"] == PROJECT["dependency-groups"]["build"]


def test_an_install_finds_the_files_of_the_lock_and_nothing_else(
    colab_python: Path, tmp_path: Path
) -> None:
    """pip, as an install cell calls it, its isolated builds among them, and uv."""
    tree, there = tmp_path / "needy", os.environ | closed(colab_python.parents[1])
    tree.mkdir()
    (tree / "needy.py").touch()
    pip = (colab_python, "-m", "pip", "--quiet", "wheel", "--wheel-dir", tmp_path, tree)

    def build(*requires: str) -> None:
        project = '[project]\nname = "needy"\nversion = "1"\n'
        system = f'[build-system]\nrequires = {[*requires]}\nbuild-backend = "hatchling.build"\n'
        (tree / "pyproject.toml").write_text(project + system, encoding="utf-8")
        run(*pip, env=there)

    build("hatchling", "pathspec")
    with pytest.raises(AssertionError, match="No matching distribution found for flit-core"):
        build("hatchling", "flit-core")
    with pytest.raises(AssertionError, match="flit-core"):
        install(colab_python, "flit-core")


def test_what_an_install_cell_moves_is_seen() -> None:
    base = ["ipywidgets==7.7.1", "jax==0.10.2", "numpy==2.4.6"]
    assert changes(base, base) == ([], [])
    assert changes(base, [*base, "ntklab==0.1.0", "optax==0.2.8"]) == (["ntklab", "optax"], [])
    assert changes(base, ["jax==0.10.2", "numpy==2.4.7"]) == ([], [base[0], base[2]])


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [(["4"], None), (["5"], "mismatch 'text/plain'"), ([], "Unexpected output fields")],
)
def test_another_output_than_the_stored_one_fails(
    stored: list[str], complaint: str | None, tmp_path: Path
) -> None:
    outputs = [
        nbformat.v4.new_output("execute_result", {"text/plain": text}, execution_count=2)
        for text in stored
    ]
    cells = [
        nbformat.v4.new_code_cell("'set-up'", execution_count=1),
        nbformat.v4.new_code_cell("2 + 2", execution_count=2, outputs=outputs),
    ]
    chapter = nbformat.v4.new_notebook(cells=cells)
    notebook = with_stored_outputs(without_outputs(chapter), chapter)
    notebook.cells.pop()  # the probe, which is for Colab's environment
    if complaint is None:
        assert validate(notebook, tmp_path, "--nbval-current-env") > 0
    else:
        with pytest.raises(AssertionError, match=complaint):
            validate(notebook, tmp_path, "--nbval-current-env")


def test_a_try_that_fails_is_named_and_its_outputs_and_time_do_not_count(tmp_path: Path) -> None:
    def with_try(code: str) -> Any:
        outputs = [nbformat.v4.new_output("stream", name="stdout", text="0.5\n")]
        cells = [
            nbformat.v4.new_code_cell("import time, matplotlib.pyplot", execution_count=1),
            nbformat.v4.new_code_cell(
                "s = 0.5; time.sleep(s); print(s)", execution_count=2, outputs=outputs
            ),
            nbformat.v4.new_markdown_cell(f"**Try** `{code}`: wait."),
        ]
        notebook = nbformat.v4.new_notebook(cells=cells)
        return tries.with_extras(notebook, tries.extras(notebook, "chapter"))

    assert 0.5 <= validate(with_try("s = 4"), tmp_path, "--nbval-current-env") < 4
    with pytest.raises(AssertionError, match=r"(?s)chapter, cell 2, Try `s = -1`.*ValueError"):
        validate(with_try("s = -1"), tmp_path, "--nbval-current-env")


def test_outputs_are_not_compared_with_those_of_other_code() -> None:
    chapter = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("2 + 2")])
    copy = without_outputs(chapter)
    copy.cells[0].source = "2 + 3"
    with pytest.raises(AssertionError, match="run `make book`"):
        with_stored_outputs(copy, chapter)


def without_outputs(notebook: Any) -> Any:
    copy = deepcopy(notebook)
    for cell in copy.cells:
        cell.execution_count, cell.outputs = None, []
    return copy
