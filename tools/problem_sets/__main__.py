"""`python -m problem_sets [SET ...]`: build the sets; all of them without arguments.

`TERM_SEED=…` in the environment draws each question's variant.
"""

import argparse
import os
import sys

from project import run_tool

from problem_sets import build, master


def main() -> int:
    """Build the sets named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m problem_sets", description=__doc__)
    parser.add_argument("set", nargs="*", help=", ".join(master.names()))
    names = parser.parse_args().set or master.names()
    for name in names:
        built = build.build(name, os.environ.get("TERM_SEED", ""))
        print(f"{name}: {built}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_tool("problem-sets", main))
