"""Build a set: otter makes notebooks and tests of the master, and what follows takes otter out.

`_build/problem-sets/set-1/` then holds

- `student/set-1.ipynb`, for Colab, without a trace of otter;
- `tests/q1.py`, otter's form of all tests, hidden ones too, for the judge;
- `gradescope/set-1.zip`;
- `instructor/set-1.ipynb`, with solutions, tests and rubrics, a page of the instructor's book;
- `term`, the seed of the variants that it was built with.
"""

import json
import os
import re
import shutil
import subprocess
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from project import BUILD, ROOT, Obstacle, address, write

from problem_sets import gate, master

SETS = BUILD / "problem-sets"
# An environment of its own, from locks/otter.lock.
OTTER = BUILD / "otter" / "bin" / "python"
PUBLIC = ROOT / "lib" / "ntklab" / "coursework"

HANDING_IN = """## Handing in

Run the notebook once more from the top (in Colab: *Runtime → Restart session and run all*), read
what the checks say, and download it (*File → Download → Download .ipynb*). This one file, under any
name, is what you hand in: it is run again, and asked on other inputs. A cell that fails loses
nothing but itself.
"""
_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def build(name: str, term_seed: str = "", folder: Path = master.MASTERS) -> Path:
    """Build one set with the term's constants; where it lies.

    Raises:
        Obstacle: for a master that is not as it must be, and for a secret in what students get.
    """
    read = master.load(name, term_seed, folder)
    target = SETS / name
    shutil.rmtree(target, ignore_errors=True)
    made = target / "otter"
    assign(read.notebook, name, made)
    place(student_notebook(made / "student" / f"{name}.ipynb", read), target / "student", name)
    shutil.copytree(made / "autograder" / "tests", target / "tests")
    (zipped,) = (made / "autograder").glob("*.zip")
    (target / "gradescope").mkdir()
    gradescope(zipped, target / "gradescope" / f"{name}.zip")
    place(instructor_notebook(read), target / "instructor", name)
    shutil.rmtree(made)
    write(target / "public.json", public_checks(read))
    write(target / "term", term_seed + "\n")
    gate.require_clean([target / "student", target / "public.json"], [read])
    return target


def place(notebook: Any, folder: Path, name: str) -> None:
    """Write a notebook into a folder that is made for it."""
    folder.mkdir(parents=True)
    write(folder / f"{name}.ipynb", nbformat.writes(notebook) + "\n")


def assign(notebook: Any, name: str, target: Path) -> None:
    """Run `otter assign` on a master in a folder of its own."""
    if not OTTER.exists():
        raise Obstacle(f"{OTTER}: otter-grader is not installed; run make problem-sets")
    source = target / "source"
    source.mkdir(parents=True)
    notebook = deepcopy(notebook)
    (config,) = (c for c in notebook.cells if c.source.startswith("# ASSIGNMENT CONFIG"))
    config.source += "\nrequirements: requirements.txt"
    write(source / f"{name}.ipynb", nbformat.writes(notebook) + "\n")
    write(source / "requirements.txt", f"ntklab @ git+{address()}\n")
    settings = {"PYTHONPATH": "", "PYTHONWARNINGS": "ignore"}
    command = [OTTER, "-m", "otter", "assign", "--no-run-tests", f"{name}.ipynb", ".."]
    done = subprocess.run(
        [str(part) for part in command],
        cwd=source,
        env={**os.environ, **settings},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise Obstacle(f"otter assign {name}: {done.stderr.strip().splitlines()[-1]}")


def student_notebook(path: Path, read: master.Master) -> Any:
    """Otter's student notebook without otter, with the install cell and the public checks."""
    source = nbformat.read(path, as_version=4)
    cells = [nbformat.v4.new_code_cell(install_cell())]
    prompts = {q.prompt[0].split("\n")[0]: q.name for q in read.questions.values()}
    asked = None
    for cell in source.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"<!-- (?:BEGIN|END) QUESTION -->\n*", "", cell.source)
            asked = prompts.get(text.split("\n")[0], asked)
            if text.strip():
                cells.append(nbformat.v4.new_markdown_cell(text))
            continue
        if cell.source.startswith("grader.check("):
            continue
        cells.append(nbformat.v4.new_code_cell(cell.source))
        if asked and re.search(rf"^def {asked}\(", cell.source, re.MULTILINE):
            call = f'coursework.check("{read.name}", "{asked}", {asked})'
            cells.append(nbformat.v4.new_code_cell(call))
            asked = None
    cells.append(nbformat.v4.new_markdown_cell(HANDING_IN.rstrip()))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    colab = {"provenance": [], "toc_visible": True}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": _KERNEL, "colab": colab})


def install_cell() -> str:
    """The first cell: the library alone, where it is not installed."""
    return (
        "try:\n    import ntklab\nexcept ImportError:\n"
        f'    %pip install -q "ntklab @ git+{address()}"\n'
        "from ntklab import coursework"
    )


def public_checks(read: master.Master) -> str:
    """What the library has of a set: the public checks of each question."""
    checks = {
        question.name: [
            {"name": test.name, "success": test.success, "code": test.code}
            for test in question.tests
            if not test.hidden
        ]
        for question in read.graded()
    }
    return json.dumps(checks, indent=1, ensure_ascii=False) + "\n"


def instructor_notebook(read: master.Master) -> Any:
    """The master as a page: questions, solutions, rubrics, and the tests, closed."""
    cells, block = [], []
    for cell in read.notebook.cells:
        if cell.cell_type == "raw":
            words = cell.source.splitlines()[0].removeprefix("# ").split()
            if words[0] == "BEGIN":
                block.append(words[1])
            elif words[0] == "END":
                block.pop()
            continue
        inside = block[-1] if block else ""
        copy = nbformat.from_dict({**cell, "metadata": {}})
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            edges = {"# BEGIN SOLUTION", "# END SOLUTION"}
            copy.source = "\n".join(line for line in lines if line.strip() not in edges)
            if inside == "TESTS":
                copy.metadata = {"tags": ["hide-input"]}
        elif inside == "SOLUTION":
            copy.source = f"**Solution and rubric**\n\n{cell.source}"
        cells.append(copy)
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": _KERNEL})


def gradescope(zipped: Path, target: Path) -> None:
    """Otter's zip, its set-up without a browser and with tests that only root reads."""
    with zipfile.ZipFile(zipped) as source, zipfile.ZipFile(target, "w") as made:
        for item in sorted(source.infolist(), key=lambda item: item.filename):
            content = source.read(item)
            if item.filename == "setup.sh":
                content = _setup(content.decode()).encode()
            stamped = zipfile.ZipInfo(item.filename)  # 1980: equal masters give equal bytes
            stamped.external_attr = item.external_attr
            stamped.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(stamped, content)


def _setup(script: str) -> str:
    """Without the browser, which PDFs would need, and with what is private closed."""
    lines = [line for line in script.splitlines() if "playwright" not in line]
    if len(lines) == len(script.splitlines()):
        raise Obstacle("otter's setup.sh installs no browser any more: look at it again")
    return "\n".join([*lines, "chmod -R go-rwx /autograder/source", ""])
