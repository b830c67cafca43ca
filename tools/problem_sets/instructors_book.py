"""The instructor's book: every set with its solutions, rubrics and tests, and nobody else's.

It is made of the pages that `build` leaves, in `_build/problem-sets/instructors-book`.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from project import ROOT, Obstacle, read, write

from problem_sets import build, master

BOOK = build.SETS / "instructors-book"
_JUPYTER_BOOK = Path(sys.executable).with_name("jupyter-book")


def render(sets: Sequence[master.Master]) -> Path:
    """Render the pages of these sets; the first page.

    Raises:
        Obstacle: if Jupyter Book warns or fails.
    """
    shutil.rmtree(BOOK, ignore_errors=True)
    BOOK.mkdir(parents=True)
    for made in sets:
        page = build.SETS / made.name / "instructor" / f"{made.name}.ipynb"
        write(BOOK / page.name, read(page))
    course = yaml.safe_load(read(ROOT / "_config.yml"))
    config = {
        "title": f"{course['title']}: problem sets with solutions",
        "author": course["author"],
        "copyright": course["copyright"],
        "execute": {"execute_notebooks": "off"},
        "parse": {"myst_enable_extensions": ["amsmath", "dollarmath"]},
        "html": {"use_repository_button": False},
        "sphinx": {
            "extra_extensions": ["sphinx-mathjax-offline"],
            "config": {"html_copy_source": False, "html_domain_indices": False},
        },
    }
    files = [{"file": made.name} for made in sets]
    toc = {"format": "jb-book", "root": "index", "chapters": files}
    write(BOOK / "_config.yml", yaml.safe_dump(config))
    write(BOOK / "_toc.yml", yaml.safe_dump(toc, sort_keys=False))
    write(BOOK / "index.md", "\n".join(_overview(sets)) + "\n")
    command = [str(_JUPYTER_BOOK), "build", ".", "--all", "-W", "--keep-going", "-q"]
    done = subprocess.run(command, cwd=BOOK, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise Obstacle(f"the instructor's book: {done.stderr.strip()[-2000:]}")
    return BOOK / "_build" / "html" / "index.html"


def _overview(sets: Sequence[master.Master]) -> list[str]:
    lines = [
        "# Problem sets with solutions",
        "",
        "For instructors: whoever has these pages has the answers.",
        "",
        "| set | question | points | public checks | hidden tests | this term's constants |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for made in sets:
        for question in made.questions.values():
            hidden = sum(test.hidden for test in question.tests)
            drawn = made.variants.get(question.name, {})
            constants = ", ".join(f"{key} = `{value}`" for key, value in drawn.items())
            lines.append(
                f"| {made.name} | {question.prompt[0].splitlines()[0].lstrip('# ')} "
                f"| {question.points:g} | {len(question.tests) - hidden} | {hidden} | {constants} |"
            )
    return lines
