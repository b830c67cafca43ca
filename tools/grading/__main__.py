"""`make grade SET=set-1 IN=submissions.zip OUT=grades [CANVAS=export.csv] [COLUMN=name]`."""

import os
import sys
from collections import Counter
from pathlib import Path
from time import monotonic

from project import BUILD, Obstacle, read, run_tool

from grading import batch, judge, questions, submissions
from grading.sandbox import CACHE, Limits, missing, readable


def built(name: str) -> Path:
    """The folder of a built set.

    Raises:
        Obstacle: if there is none of this name.
    """
    sets = sorted(path.name for path in (BUILD / "problem-sets").glob("set-*"))
    if name not in sets:
        known = ", ".join(sets) or "none is built: run make problem-sets"
        raise Obstacle(f"SET must be one of the built sets ({known}), got {name or 'nothing'}")
    return BUILD / "problem-sets" / name


def of_term(folder: Path, wanted: str) -> str:
    """With which variants a set was built, in one line.

    Raises:
        Obstacle: if these are not those of the term that is `wanted`, if one is.
    """
    place = folder / "term"
    term = read(place).strip() if place.exists() else ""
    if wanted and wanted != term:
        raise Obstacle(
            f"{folder.name} was built last with {term or 'no TERM_SEED'}, not with {wanted}: "
            "run make problem-sets with the term's seed"
        )
    return f"{folder.name} with the variants of {term or 'no TERM_SEED'}"


def rehearse(folder: Path, asked: list[questions.Question], limits: Limits) -> None:
    """Grade the solution first: it must have all points, and it fills the cache.

    Raises:
        Obstacle: if it has not.
    """
    for notebook in sorted((folder / "instructor").glob("*.ipynb")):
        CACHE.mkdir(parents=True, exist_ok=True)
        grade = judge.grade(notebook.read_bytes(), asked, b"", limits, filling=True)
        if grade.state != "ok":
            failed = [v.case for a in grade.answers for v in a.verdicts if v.kind != "passed"]
            raise Obstacle(
                f"the solution itself gets {grade.score:g} of {grade.possible:g} points here "
                f"({', '.join(failed[:5]) or grade.note}); nothing was graded"
            )


def main() -> int:
    """Grade what is handed in."""
    name, place, out = (os.environ.get(key, "") for key in ("SET", "IN", "OUT"))
    canvas, column = os.environ.get("CANVAS", ""), os.environ.get("COLUMN", "")
    if cause := missing():
        raise Obstacle(cause)
    if not place or not out:
        raise Obstacle("say SET=set-1 IN=folder or zip, OUT=folder [CANVAS=export.csv]")
    for path in (Path(place), Path(out), BUILD):
        for open_place in readable():
            if path.resolve().is_relative_to(open_place):
                raise Obstacle(f"{path} is under {open_place}, which a submission can read")
    if canvas and not Path(canvas).is_file():
        raise Obstacle(f"CANVAS must be Canvas' export, got {canvas}")
    folder, limits = built(name), Limits()
    print(of_term(folder, os.environ.get("TERM_SEED", "")))
    asked = questions.load(folder / "tests")
    found = list(submissions.read(Path(place), name, limits.upload))
    if not found:
        raise Obstacle(f"no submission in {place}")
    Path(out).mkdir(parents=True, exist_ok=True)
    began = monotonic()
    rehearse(folder, asked, limits)
    rows = batch.run(found, asked, Path(out), limits, folder / "tests")
    possible = sum(question.points for question in asked)
    batch.report(rows, Path(out), name, Path(canvas) if canvas else None, column, possible)
    states = Counter(row.grade.state for row in rows)
    listed = ", ".join(f"{states[state]} {state}" for state in judge.STATES if states[state])
    print(f"{len(rows)} submissions in {monotonic() - began:.0f} s: {listed}")
    print(f"Open {Path(out, 'questions.html').resolve().as_uri()} and {Path(out, 'grades.csv')}")
    if canvas:
        print(f"Import into Canvas: {Path(out, 'canvas.csv')}")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool("grade", main))
