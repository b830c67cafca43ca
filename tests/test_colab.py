"""The Colab copies: what plain Colab can show, and every cell really run as Colab would run it.

The environment has JAX, NumPy, matplotlib and Colab's ipywidgets, but no ntklab. Git is told to
find the repository's address in a clone of the working tree, so that the copy's own install cell
installs what is about to be published. A chapter runs again when its copy or the library changed
since its last green run; `COLAB=all` runs all. The site must be built: `make book`.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
import yaml

from book import fingerprint

pytestmark = pytest.mark.colab

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "_build"
CHAPTERS = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
ADDRESS = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]

# What Colab has of what we use. ipywidgets and pip are Colab's versions, the others are ours.
PINS = [
    *(f"{name}=={importlib.metadata.version(name)}" for name in ("jax", "numpy", "matplotlib")),
    "ipywidgets==7.7.1",
    "ipykernel",
    "pip==24.1.2",
    "setuptools",
]

PROBE = """
import importlib.metadata, json, ntklab
print(json.dumps([ntklab.__file__, importlib.metadata.version("jax")]))
"""


def copy_of(chapter: str) -> Any:
    path = BUILD / "html" / "colab" / f"{chapter}.ipynb"
    if not path.exists():
        pytest.fail(f"the site is not built: colab/{chapter}.ipynb is missing, run `make book`")
    return nbformat.read(path, as_version=4)


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, text=True, capture_output=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


# What the copies look like


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_copy_has_only_what_colab_renders(chapter: str) -> None:
    raw = re.compile(
        r":::|`{3}\{|\{(?:prf:|py:)?(?:ref|numref|eq|doc|cite\S*|func|mod)\}`|\\(?:label|eqref)\b"
    )
    macros = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
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
    owner, name = ADDRESS.removeprefix("https://github.com/").split("/")
    site = f"https://{owner.lower()}.github.io/{name}/"
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
    """An interpreter with what Colab has, made once for a set of pins."""
    key = hashlib.sha256(" ".join([sys.version, *PINS]).encode()).hexdigest()[:12]
    home = BUILD / "colab-env" / key
    python = home / "bin" / "python"
    if not (home / "base.txt").exists():
        shutil.rmtree(home, ignore_errors=True)
        run(sys.executable, "-m", "venv", home)
        uv("install", python, *PINS)
        kernel = home / "kernels" / "colab"
        kernel.mkdir(parents=True)
        launch = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": launch, "display_name": "Colab", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(spec))
        (home / "base.txt").write_text("\n".join(installed(python)))
    return python


def uv(command: str, python: Path, *arguments: str) -> str:
    """What pip does, in a fraction of its time; the install cells alone call pip itself."""
    pip = (sys.executable, "-m", "uv", "pip", command, "--quiet", "--python", python)
    return run(*pip, *arguments)


def installed(python: Path) -> list[str]:
    return sorted(package["name"] for package in json.loads(uv("list", python, "--format=json")))


def reset(python: Path) -> None:
    """Take away what an earlier chapter's install cell has brought."""
    base = (python.parents[1] / "base.txt").read_text().split()
    if extra := sorted(set(installed(python)) - set(base)):
        uv("uninstall", python, *extra)


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


@pytest.fixture
def colab_environment(published: Path) -> dict[str, str]:
    """The variables of a Colab session, where git finds the address in our clone."""
    ours = ("PYTHONPATH", "NTKLAB_STATIC", "VIRTUAL_ENV", "JAX_ENABLE_X64", "MPLBACKEND")
    outside = {name: value for name, value in os.environ.items() if name not in ours}
    return outside | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{published.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
        "JAX_PLATFORMS": "cpu",
    }


def state(chapter: str) -> str:
    """Changes with the chapter, the library, its data, and what Colab is taken to have."""
    digest = hashlib.sha256(fingerprint().encode())
    copy = BUILD / "html" / "colab" / f"{chapter}.ipynb"
    for path in (copy, ROOT / "pyproject.toml", Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(params=CHAPTERS)
def due(request: pytest.FixtureRequest) -> Iterator[str]:
    """A chapter whose copy has not been green in its present state."""
    chapter = request.param
    copy_of(chapter)
    stamp = BUILD / "colab-green" / chapter
    if stamp.exists() and stamp.read_text() == state(chapter) and os.environ.get("COLAB") != "all":
        pytest.skip("unchanged since its last green run; COLAB=all runs it again")
    yield chapter


def test_copy_runs_in_colab(
    due: str, colab_python: Path, colab_environment: dict[str, str], tmp_path: Path
) -> None:
    reset(colab_python)
    notebook = copy_of(due)
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    # In a process of its own, since nbclient leaves sockets open.
    run(
        Path(sys.executable).with_name("jupyter-execute"),
        *("--inplace", "--kernel_name=colab", "--timeout=600", "copy.ipynb"),
        cwd=tmp_path,
        env=colab_environment | {"JUPYTER_PATH": str(colab_python.parents[1])},
    )
    executed = nbformat.read(tmp_path / "copy.ipynb", as_version=4)
    file, jax_version = json.loads(executed.cells[-1].outputs[0].text)
    assert Path(file).is_relative_to(colab_python.parents[1]), "ntklab came from the working tree"
    assert jax_version == importlib.metadata.version("jax"), "the install cell changed JAX"
    stamp = BUILD / "colab-green" / due
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(state(due))
