"""Results that took too long for a notebook, as `make experiments` has stored them.

The tables lie in `book/data/` of the repository and are installed with the library, so that a
chapter finds them wherever it runs.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["load", "provenance"]


def load(name: str) -> dict[str, np.ndarray]:
    """The columns of a stored table: numbers where all entries are numbers, else text.

    Args:
        name: of the table, without its ending.

    Raises:
        ValueError: if there is no such table.

    Examples:
        >>> sorted(load("parity_training"))
        ['accuracy', 'alpha', 'loss', 'seed', 'step']
    """
    with _file(name, "csv").open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines)
    return {title: _column(entries) for title, *entries in zip(head, *rows, strict=True)}


def provenance(name: str) -> dict[str, Any]:
    """How a table was made: command, settings, seeds, versions, and what its columns mean.

    Args:
        name: the table's, as for `load`.

    Raises:
        ValueError: if there is no such table.

    Examples:
        >>> provenance("parity_training")["command"]
        'make experiments EXPERIMENT=parity_training'
    """
    return dict(json.loads(_file(name, "json").read_text(encoding="utf-8")))


def _folder() -> Path:
    installed = Path(__file__).parent / "_tables"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "book" / "data"


def _file(name: str, ending: str) -> Path:
    known = sorted(path.stem for path in _folder().glob("*.csv"))
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(known)}; got {name!r}")
    return _folder() / f"{name}.{ending}"


def _column(entries: list[str]) -> np.ndarray:
    try:
        return np.array([int(entry) for entry in entries])
    except ValueError:
        pass
    try:
        return np.array([float(entry) for entry in entries])
    except ValueError:
        return np.array(entries)
