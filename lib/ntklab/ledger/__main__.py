"""Run the whole ledger: `python -m ntklab.ledger` prints a line a check and counts the failures."""

import argparse
import sys
from collections.abc import Sequence

from ntklab.ledger import all_results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every entry and its falsification: 1 if anything failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m ntklab.ledger", description="Run the ledger.")
    parser.parse_args(arguments)
    failures = total = 0
    for entry in all_results():
        print(f"{entry.source} {entry.label} ({entry.chapter})")
        for check in entry():
            total += 1
            failures += not check.holds
            print(f"    {check}")
        if entry(**entry.falsified_by).hold:
            failures += 1
            print(f"    FAILS: nothing breaks under {dict(entry.falsified_by)}")
    print(f"{total} checks, {failures} failures")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
