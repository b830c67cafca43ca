"""Each term's constants: a master's raw cell `# VARIANTS`, and what stands for them in its text.

The cell is YAML: for each question a list of variants, each a mapping of names to numbers or text.
Elsewhere in the master `VARIANT_q1_scale` stands for the `scale` of the question's variant. The
first variant of each list is the repository's own, and `TERM_SEED` draws one of the others or it.
"""

import hashlib
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import yaml
from project import Obstacle

MARKER = "# VARIANTS"
PLACE = re.compile(r"VARIANT_([qw]\d+)_([a-z]\w*)")
_QUESTION = re.compile(r"[qw]\d+")


def declared(cell: Any, where: str) -> dict[str, list[dict[str, Any]]]:
    """The variants of each question, from the raw cell."""
    try:
        found = yaml.safe_load(cell.source.removeprefix(MARKER))
    except yaml.YAMLError as error:
        raise Obstacle(f"{where}: the variants must be YAML: {error}") from error
    if not isinstance(found, dict):
        raise Obstacle(f"{where}: the variants must be a mapping of questions to lists")
    for question, variants in found.items():
        if not _QUESTION.fullmatch(str(question)) or not isinstance(variants, list):
            raise Obstacle(f"{where}: {question} must be a question with a list of variants")
        if len(variants) < 2:
            raise Obstacle(f"{where}: {question} must have two variants or more")
        for variant in variants:
            if not isinstance(variant, dict) or variant.keys() != variants[0].keys():
                raise Obstacle(f"{where}: all variants of {question} must have the same names")
    return found


def drawn(
    name: str, variants: Mapping[str, list[dict[str, Any]]], term_seed: str
) -> dict[str, dict[str, Any]]:
    """One variant of each question: the first without a seed, else one that the seed picks."""
    chosen = {}
    for question, choices in variants.items():
        digest = hashlib.sha256(f"{term_seed}\0{name}\0{question}".encode()).digest()
        place = int.from_bytes(digest, "big") % len(choices) if term_seed else 0
        chosen[question] = choices[place]
    return chosen


def filled(notebook: Any, name: str, term_seed: str) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The master with this term's constants in place of their names; and these constants.

    Raises:
        Obstacle: for a name that no variant has, and for one that stands nowhere.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    cells = []
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "raw" and cell.source.startswith(MARKER):
            if found:
                raise Obstacle(f"{name}, cell {place}: a second cell {MARKER}")
            found = declared(cell, f"{name}, cell {place}")
        else:
            cells.append(deepcopy(cell))
    chosen = drawn(name, found, term_seed)
    unused = {(question, key) for question, values in chosen.items() for key in values}
    for cell in cells:

        def value(match: re.Match[str], is_code: bool = cell.cell_type == "code") -> str:
            question, key = match.groups()
            if key not in chosen.get(question, {}):
                raise Obstacle(f"{name}: no variant of {question} has a {key}, for {match[0]}")
            unused.discard((question, key))
            text = str(chosen[question][key])
            # In code a power would be taken before the sign.
            return f"({text})" if is_code and text.startswith("-") else text

        cell.source = PLACE.sub(value, cell.source)
    if unused:
        raise Obstacle(f"{name}: nothing uses {', '.join(f'{q}: {k}' for q, k in sorted(unused))}")
    copy = deepcopy(notebook)
    copy.cells = cells
    return copy, chosen
