"""`python -m problem_sets.public_tree OUT`: the tree that may be published in a term.

The book, the library and what renders them; of each set the student's notebook with the term's
constants, as a page of the book, and its public checks. No master, no hidden test, no answer, and
none of the tools that make or grade them. `TERM_SEED=…` in the environment draws the constants.
"""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

from project import BUILD, ROOT, Obstacle, files, read, run_tool, write

from problem_sets import build, gate, master

# What only those who teach or develop need.
_LEFT_OUT = (
    "book/problem-sets/",
    "tests/",
    "tools/problem_sets/",
    "tools/grading",
    "locks/otter.lock",
    ".ci/",
    ".github/",
    ".pre-commit",
)
_RULES = (
    *("test", "fix", "problem-sets", "public-tree", "grade", "corpus"),
    *("experiments", "benchmark", "lock", "canary"),
)
_REFERENCE = "  - caption: Reference\n"


def write_tree(out: Path, term_seed: str) -> int:
    """Write the tree into a new folder; how many files it has.

    Raises:
        Obstacle: for a folder that is not empty, and for a secret in the tree.
    """
    if out.exists() and any(out.iterdir()):
        raise Obstacle(f"{out}: must be a new folder, or an empty one")
    if out.resolve().is_relative_to(ROOT) and not out.resolve().is_relative_to(BUILD):
        raise Obstacle(f"{out}: must not lie in the repository with the masters")
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(_LEFT_OUT):
            copy = out / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
    sets = [master.load(name, term_seed) for name in master.names()]
    for made in sets:
        built = build.build(made.name, term_seed)
        student = read(built / "student" / f"{made.name}.ipynb")
        page = out / "book" / "problem-sets" / f"{made.name}.ipynb"
        page.parent.mkdir(exist_ok=True)
        write(page, student)
        checks = read(built / "public.json")
        write(out / "lib" / "ntklab" / "coursework" / f"{made.name}.json", checks)
    _list_pages(out, [made.name for made in sets])
    write(out / "Makefile", _makefile(read(out / "Makefile")))
    gate.require_clean([out], sets)
    return sum(path.is_file() for path in out.rglob("*"))


def _list_pages(out: Path, names: list[str]) -> None:
    """Enter the sets in the book, which shows them and does not run them."""
    toc = read(out / "_toc.yml")
    lines = "".join(f"      - file: book/problem-sets/{name}\n" for name in names)
    write(
        out / "_toc.yml",
        _once(toc, _REFERENCE, f"  - caption: Problem sets\n    chapters:\n{lines}{_REFERENCE}"),
    )
    config = _once(read(out / "_config.yml"), ', "book/problem-sets"]', "]")
    unrun = 'execute:\n  exclude_patterns: ["book/problem-sets/*"]\n'
    write(out / "_config.yml", _once(config, "execute:\n", unrun))


def _makefile(text: str) -> str:
    """Without the rules and lines whose tools or tests are not there."""
    for rule in [*_RULES, re.escape("$(OTTER)/.pinned")]:
        text = re.sub(rf"^{rule}:.*\n(?:\t.*\n)+\n?", "", text, flags=re.MULTILINE)
        text = re.sub(rf"^(\.PHONY:(?:.*\\\n)?.*?) {rule}(?= |$)", r"\1", text, flags=re.MULTILINE)
    # What the tree holds has been looked at, and the gate reads masters.
    return re.sub(r"^\t.* -m problem_sets\.gate .*\n", "", text, flags=re.MULTILINE)


def _once(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise Obstacle(f"{old.strip()!r} must stand once in the configuration")
    return text.replace(old, new)


def main() -> int:
    """Write the tree into the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="make public-tree", description=__doc__)
    parser.add_argument("out")
    out = parser.parse_args().out
    if not out:
        raise Obstacle("name a new folder: make public-tree OUT=../course TERM_SEED=autumn-2026")
    count = write_tree(Path(out), os.environ.get("TERM_SEED", ""))
    print(f"{out}: {count} files, nothing in them that students must not see")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool("public-tree", main))
