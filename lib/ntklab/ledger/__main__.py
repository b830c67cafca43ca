"""Run the whole ledger: `python -m ntklab.ledger` prints a line a check and counts the failures.

With `--json` it prints the same as data, with every setting, the bounds that inequalities come to,
and the versions that computed them. What needs an extra that is not installed is left out, and said
to be.
"""

import argparse
import codecs
import io
import json
import sys
from collections.abc import Sequence

from ntklab._extras import MissingExtra
from ntklab.ledger import _record, all_results

# For consoles that lack the signs.
_SPELLED = {"≤": "<=", "≥": ">="}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every entry and its falsification: 1 if anything failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m ntklab.ledger", description="Run the ledger.")
    parser.add_argument("--json", action="store_true", help="as data, sweeps included")
    as_data = parser.parse_args(arguments).json
    codecs.register_error("spelled", _spelled)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="spelled")
    try:
        return _print_data() if as_data else _print_lines()
    except BrokenPipeError:
        # Who reads has seen enough, as `head` has; nothing is left to flush, since each line was.
        return 128 + 13  # as a program that this signal ends


def _print_lines() -> int:
    failures = total = left_out = 0
    for entry in all_results():
        print(f"{entry.source} {entry.label} ({entry.chapter})", flush=True)
        try:
            stated, broken = entry(), entry(**entry.falsified_by)
        except MissingExtra as error:
            left_out += 1
            print(f"    left out: {error}", flush=True)
            continue
        for check in stated:
            total += 1
            failures += not check.holds
            print(f"    {check}", flush=True)
        if broken.hold:
            failures += 1
            print(f"    FAILS: nothing breaks under {dict(entry.falsified_by)}", flush=True)
    rest = f", {left_out} entries left out" if left_out else ""
    print(f"{total} checks, {failures} failures{rest}", flush=True)
    return min(failures, 1)


def _print_data() -> int:
    results, left_out = [], {}
    for entry in all_results():
        try:
            results.append(_record.measured(entry))
        except MissingExtra as error:
            left_out[entry.key] = str(error)
    made = "computed by python -m ntklab.ledger --json, every setting of every entry"
    data = {"made": made, "environment": _record.environment(), "results": results}
    if left_out:
        data["left_out"] = left_out
    # Only what every console can show: JSON has a form for all other characters.
    print(json.dumps(data, indent=1, allow_nan=False), flush=True)
    stated = [check["holds"] for row in results for run in row["runs"] for check in run["checks"]]
    broken = [not all(check["holds"] for check in row["broken"]["checks"]) for row in results]
    return 0 if all(stated) and all(broken) else 1


def _spelled(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(_SPELLED.get(letter, "?") for letter in letters), error.end


if __name__ == "__main__":
    sys.exit(main())
