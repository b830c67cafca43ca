"""Run the whole ledger: `python -m ntklab.ledger` prints a line a check and counts the failures.

With `--json` it prints the same as data, with every setting, the bounds that inequalities come to,
and the versions that computed them.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from ntklab.ledger import _record, all_results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every entry and its falsification: 1 if anything failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m ntklab.ledger", description="Run the ledger.")
    parser.add_argument("--json", action="store_true", help="as data, sweeps included")
    return _print_data() if parser.parse_args(arguments).json else _print_lines()


def _print_lines() -> int:
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


def _print_data() -> int:
    results = [_record.measured(entry) for entry in all_results()]
    made = "computed by python -m ntklab.ledger --json, every setting of every entry"
    data = {"made": made, "environment": _record.environment(), "results": results}
    # Only what every console can show: JSON has a form for all other characters.
    print(json.dumps(data, indent=1, allow_nan=False))
    stated = [check["holds"] for row in results for run in row["runs"] for check in run["checks"]]
    broken = [not all(check["holds"] for check in row["broken"]["checks"]) for row in results]
    return 0 if all(stated) and all(broken) else 1


if __name__ == "__main__":
    sys.exit(main())
