"""How the course is handed on: its package, its papers, and what GitHub does with it."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import canary
import ntklab
import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema import Draft7Validator
from packaging.version import Version
from problem_sets import gate, master
from project import ROOT, read, write
from ruamel.yaml import YAML

pytestmark = pytest.mark.once

GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: path for path in sorted((GITHUB / "workflows").iterdir())}
each_workflow = pytest.mark.parametrize("name", WORKFLOWS)


def loaded(path: Path) -> Any:
    """A file as GitHub reads it: YAML 1.2, where `on` is no truth value."""
    return YAML(typ="safe").load(read(path))


def faults(schema: str, content: Any) -> list[str]:
    """What a schema finds in a file's content."""
    errors = Draft7Validator(get_builtin_schema(schema)).iter_errors(content)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


# What GitHub does

SCHEMAS = ("vendor.github-workflows", "custom.github-workflows-require-timeout")
CONTEXTS = r"\$\{\{ (github\.ref|matrix\.\w+) \}\}"


def steps(workflow: Any) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


@each_workflow
def test_a_workflow_is_one(name):
    workflow = loaded(WORKFLOWS[name])
    assert workflow["name"] == name
    for schema in SCHEMAS:
        assert not faults(schema, workflow)
    assert workflow["permissions"] == {"contents": "read"}
    text = read(WORKFLOWS[name])
    assert not re.search(r"\bsecrets\b", text), "a fork has none"
    assert re.findall(r"\$\{\{.*?\}\}", text) == [
        match[0] for match in re.finditer(CONTEXTS, text)
    ], "an expression that no fork, or no run, has a value for"


@pytest.mark.parametrize(
    "edit",
    [
        lambda workflow: workflow.pop("on"),
        lambda workflow: workflow["jobs"].update(more={"runs-on": "ubuntu-24.04"}),
        lambda workflow: workflow["jobs"]["check"].update({"run-on": "x"}),
        lambda workflow: workflow["jobs"]["check"].pop("timeout-minutes"),
        lambda workflow: workflow["jobs"]["check"]["steps"].append({"runs": "make"}),
        lambda workflow: workflow.update({"permission": {}}),
    ],
)
def test_what_is_no_workflow_is_seen(edit):
    workflow = loaded(WORKFLOWS["check"])
    edit(workflow)
    assert any(faults(schema, workflow) for schema in SCHEMAS)


@each_workflow
def test_every_action_is_githubs_own_and_pinned(name):
    workflow = loaded(WORKFLOWS[name])
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", action) for action in used), used
    called = [job["uses"] for job in workflow["jobs"].values() if "uses" in job]
    assert all((ROOT / path).is_file() and path.startswith("./.github/") for path in called)


def test_every_change_is_checked_by_the_one_script_on_every_python():
    workflow = loaded(WORKFLOWS["check"])
    assert set(workflow["on"]) == {"pull_request", "workflow_call"}
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"] == {"python": list(canary.PYTHONS)}
    _, python, check = job["steps"]
    assert python["with"]["python-version"] == "${{ matrix.python }}"
    assert check == {"run": ".ci/run"}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111 == 0o111


def test_what_is_published_has_been_checked():
    workflow = loaded(WORKFLOWS["publish"])
    assert workflow["on"]["push"] == {"branches": ["main"]}
    check, publish = workflow["jobs"]["check"], workflow["jobs"]["publish"]
    assert check == {"uses": "./.github/workflows/check.yml"}
    assert publish["needs"] == "check" and publish["if"] == "github.ref == 'refs/heads/main'"
    assert publish["permissions"] == {"contents": "write"}
    assert publish["steps"][-1] == {"run": "make publish"}


def test_what_is_published_has_its_editions_looked_through():
    recipe = re.search(r"^publish: book .*\n((?:\t.*\n)+)", read(ROOT / "Makefile"), re.MULTILINE)
    steps_in_order = [
        "-m paper pdf",
        "-m paper epub",
        "problem_sets.gate _build/html\n",
        "ghp-",
    ]
    places = [recipe[1].index(step) for step in steps_in_order]
    assert places == sorted(places)
    commands = [
        step.get("run", "") for step in loaded(WORKFLOWS["publish"])["jobs"]["publish"]["steps"]
    ]
    assert any("install -qy poppler-utils" in command for command in commands[:-1])


def test_the_newest_world_is_tried_once_a_week_look_by_look():
    workflow = loaded(WORKFLOWS["canary"])
    (schedule,) = workflow["on"]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", schedule["cron"])
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["look"] == list(canary.LOOKS)
    pythons = job["steps"][1]["with"]["python-version"].split()
    assert sorted(pythons) == sorted(canary.PYTHONS)
    assert job["steps"][-1] == {"run": "make canary LOOKS=${{ matrix.look }}"}


def test_every_command_of_make_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", read(ROOT / "Makefile"), re.MULTILINE))
    named = set()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WORKFLOWS.values()]:
        named |= set(re.findall(r"(?:^|[`|:] ?)make ([a-z]+)", read(path), re.MULTILINE))
    assert {"publish", "book", "test", "fix", "canary"} <= named
    assert named <= targets


def test_the_form_for_an_error_is_one():
    forms = sorted((GITHUB / "ISSUE_TEMPLATE").iterdir())
    assert [path.name for path in forms] == ["erratum.yml"]
    form = loaded(forms[0])
    assert not faults("vendor.github-issue-forms", form)
    form["body"][0]["attributes"].pop("options")
    assert faults("vendor.github-issue-forms", form)


# What is mended before a commit


def test_the_hooks_mend_with_the_tools_of_the_lock(tmp_path):
    hooks = tmp_path / ".pre-commit-config.yaml"
    write(hooks, read(ROOT / ".pre-commit-config.yaml"))
    assert {source["repo"] for source in loaded(hooks)["repos"]} == {"local"}
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "ruff").symlink_to(Path(sys.executable).with_name("ruff"))
    write(tmp_path / ".gitignore", ".venv\n.cache\n")
    write(tmp_path / "bad.py", "from typing import List\nx = ( 1)\n")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    home = os.environ | {"PRE_COMMIT_HOME": str(tmp_path / ".cache")}

    def commit() -> int:
        subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
        command = [sys.executable, "-m", "pre_commit", "run"]
        return subprocess.run(command, cwd=tmp_path, env=home, capture_output=True).returncode

    assert commit() == 1
    assert read(tmp_path / "bad.py") == "x = 1\n"
    assert commit() == 0


# The package and its papers


def test_the_package_carries_its_types_its_tables_and_its_version(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"ntklab-{ntklab.__version__}.dist-info/METADATA").decode()
    assert {"ntklab/py.typed", "ntklab/_tables/parity_training.csv"} <= names
    assert f"\nVersion: {ntklab.__version__}\n" in metadata
    assert "\nClassifier: Typing :: Typed\n" in metadata
    assert not list(gate.findings([wheel], [master.load(name) for name in master.names()]))


def test_there_is_one_version():
    package = tomllib.loads(read(ROOT / "pyproject.toml"))
    assert "version" not in package["project"] and package["project"]["dynamic"] == ["version"]
    assert package["tool"]["hatch"]["version"] == {"path": "lib/ntklab/__init__.py"}
    assert str(loaded(ROOT / "CITATION.cff")["version"]) == ntklab.__version__
    headings = re.findall(r"^## (\S+?),? ", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    versions = [Version(heading) for heading in headings]
    assert versions[0] == Version(ntklab.__version__)
    assert versions == sorted(set(versions), reverse=True)


def test_the_papers_agree():
    citation = loaded(ROOT / "CITATION.cff")
    assert not faults("vendor.citation-file-format", citation)
    deposit = json.loads(read(ROOT / ".zenodo.json"))
    package = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    assert deposit["title"] == citation["title"]
    assert deposit["creators"] == citation["authors"] == package["authors"]
    assert deposit["description"] == citation["abstract"]
    assert deposit["keywords"] == citation["keywords"]
    assert set(package["keywords"]) <= set(citation["keywords"])
    assert deposit["upload_type"] == citation["type"] == "software"
    code, text = citation["license"]
    assert deposit["license"] == code == package["license"]
    assert text in deposit["notes"]
    # A release has the version of its tag, and the address is that of the repository it is made in.
    assert not {"version", "doi", "related_identifiers"} & set(deposit)
