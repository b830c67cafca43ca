"""`python -m problem_sets [SET ...]`: build the sets; all of them without arguments.

`TERM_SEED=…` in the environment draws each question's variant.
"""

import argparse
import os
import sys

from project import read, run_tool, write

from problem_sets import build, instructors_book, master


def main() -> int:
    """Build the sets named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m problem_sets", description=__doc__)
    parser.add_argument("set", nargs="*", help=", ".join(master.names()))
    names = parser.parse_args().set or master.names()
    term_seed = os.environ.get("TERM_SEED", "")
    for name in names:
        print(f"{name}: {build.build(name, term_seed)}", flush=True)
        if not term_seed:
            checks = read(build.SETS / name / "public.json")
            write(build.PUBLIC / f"{name}.json", checks)  # what the library has of it
    pages = instructors_book.render([master.load(name, term_seed) for name in names])
    print(f"The instructor's book: {pages.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool("problem-sets", main))
