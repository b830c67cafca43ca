"""What is installed: complete locks for every Python that is named, and nothing besides them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import canary
import nbformat
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project import ROOT, address, chapters, text_files

pytestmark = pytest.mark.once

PYTHONS = ["3.11", "3.12", "3.13"]

OURS, COLABS = ROOT / "requirements.lock", ROOT / "locks" / "colab.lock"
LOCKS = [OURS, *sorted((ROOT / "locks").iterdir())]
each_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)


def pins(lock: Path) -> list[Requirement]:
    lines = lock.read_text(encoding="utf-8").splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]


def pinned(lock: Path, python: str) -> dict[str, str]:
    """The versions that a lock gives to one Python on Linux, each package once."""
    environment = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    }
    versions: dict[str, str] = {}
    for pin in pins(lock):
        if pin.marker is None or pin.marker.evaluate(environment):
            name = canonicalize_name(pin.name)
            assert name not in versions, f"{name} is pinned twice for Python {python}"
            (exact,) = pin.specifier
            assert exact.operator == "=="
            versions[name] = exact.version
    return versions


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(*groups: str) -> list[Requirement]:
    """What the library and its chapters ask for, and what some of the groups do."""
    stated = project()["project"]
    lines = [*stated["dependencies"], *stated["optional-dependencies"]["book"]]
    for group in groups:
        lines += [line for line in project()["dependency-groups"][group] if isinstance(line, str)]
    return [Requirement(line) for line in lines]


@each_lock
def test_a_lock_is_pins_with_hashes_and_nothing_else(lock):
    lines = lock.read_text(encoding="utf-8").splitlines()
    body = [line for line in lines if not line.lstrip().startswith("#")]
    assert not [line for line in lines if "://" in line]
    for line, following in zip(body, [*body[1:], ""], strict=True):
        if line.startswith("    "):
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)
            assert line.endswith("\\") == following.startswith("    ")
        else:
            assert re.fullmatch(r"[\w.-]+==[\w.!+-]+( ; .+)? \\", line), line
            assert following.startswith("    --hash="), f"no hash: {line}"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("lock", "group"), [(OURS, "dev"), (COLABS, "colab")])
def test_the_locks_fulfil_what_the_package_asks_for(lock, group, python):
    versions = pinned(lock, python)
    assert versions["jax"] == versions["jaxlib"]
    unmet = [
        f"{requirement}: {versions.get(canonicalize_name(requirement.name))}"
        for requirement in requirements("build", group)
        if not requirement.specifier.contains(
            versions.get(canonicalize_name(requirement.name), "0"), prereleases=True
        )
    ]
    assert not unmet


def test_every_file_names_the_pythons_that_are_tested():
    span = f"{PYTHONS[0]} to {PYTHONS[-1]}"
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile")}
    assert f"`python3` ({span})" in texts["README.md"]
    assert f"must be Python {span} with venv" in texts["Makefile"]
    first, last = (tuple(map(int, python.split("."))) for python in (PYTHONS[0], PYTHONS[-1]))
    test = f"sys.exit(not {first} <= sys.version_info < {(last[0], last[1] + 1)})"
    assert test in texts["Makefile"]
    classifiers, language = project()["project"]["classifiers"], ["Programming Language", "Python"]
    stated = [words[-1] for c in classifiers if (words := c.split(" :: "))[:2] == language]
    assert stated == PYTHONS
    assert project()["project"]["requires-python"] == f">={PYTHONS[0]}"
    assert list(canary.PYTHONS) == PYTHONS


# Nothing is installed that no lock names

# Hashes leave pip and uv no choice; without an index there is nothing to choose from.
AN_INSTALL = re.compile(
    r"""\b(?:pip3?|uv|uvx|pipx|conda|mamba|npm|playwright)\b["',\s(]*"""
    r"""(?:-[\w-]+["',\s]+)*(?:install|download|sync|add|run)\b"""
)
LOCKED_INSTALL = re.compile(r"--require-hashes|--no-index")


def free_installs(text: str) -> list[str]:
    """The commands of a script that install what they choose themselves."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    commands = [line.strip() for line in lines if not line.lstrip().startswith("#")]
    return [c for c in commands if AN_INSTALL.search(c) and not LOCKED_INSTALL.search(c)]


def test_nothing_installs_what_no_lock_names():
    """The Makefile, what it calls and the tests; the newest of everything is the canary's matter.

    What a reader is told to install is his choice. The notebooks have the one install cell, which
    the tests run with the files of Colab's lock.
    """
    scripts = {
        path: text
        for path, text in text_files().items()
        if path.relative_to(ROOT).parts[0] in {"Makefile", ".ci", ".github", "tools", "tests"}
        and "canary" not in path.name
    }
    assert {ROOT / "Makefile", ROOT / ".ci" / "run", Path(__file__)} <= scripts.keys()
    told = re.compile(r"%pip |ntklab\[book\]|# a case$")
    assert not [
        f"{path.relative_to(ROOT)}: {command}"
        for path, text in scripts.items()
        for command in free_installs(text)
        if not told.search(command)
    ]
    setup = f'%pip install -q "ntklab[book] @ git+{address()}"'
    for path in chapters():
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        assert free_installs(code) == [setup], path


@pytest.mark.parametrize(
    ("command", "free"),
    [
        ("\t@$(BIN)/python -m pip install --quiet -r requirements.lock", True),  # a case
        ("pip install --require-hashes -r requirements.lock", False),
        ("pip install --quiet \\\n  --no-index --no-deps --editable .", False),
        ("run(sys.executable, '-m', 'pip', 'install', 'six')", True),  # a case
        ('uv("install", python, *PINS)', True),  # a case
        ('uv("uninstall", python, *added)', False),
        ("uv run --with six python", True),  # a case
        ("# pip install is what Colab does", False),  # a case
    ],
)
def test_an_install_that_chooses_is_seen(command, free):
    assert bool(free_installs(command)) == free


@pytest.mark.parametrize("tool", ["pip", "uv pip"])
def test_under_the_tests_nothing_is_installed_without_a_hash(tool, tmp_path):
    """Refused before an index is asked: a folder has no hash, which both say."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "free"\nversion = "1"\n', encoding="utf-8"
    )
    command = [sys.executable, "-m", *tool.split(), "install", "--dry-run", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode and "hashes" in done.stderr, done.stderr


def test_the_oldest_jax_that_is_allowed_is_tested():
    """It is the one in which the chapters' Colab copies run."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    allowed = [Requirement(line) for line in asked["project"]["dependencies"]]
    (jax,) = (one for one in allowed if one.name == "jax")
    (oldest,) = (one.version for one in jax.specifier if one.operator == ">=")
    assert oldest == pinned(COLABS, "3.13")["jax"]


def test_the_release_of_jax_with_quadratic_scans_is_excluded():
    (jax,) = [requirement for requirement in requirements() if requirement.name == "jax"]
    assert not jax.specifier.contains("0.11.1")
    assert jax.specifier.contains("0.11.0") and jax.specifier.contains("0.11.2")
