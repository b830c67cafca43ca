"""The library's docstrings, as the API pages need them.

The library writes docstrings that read well in a terminal: code in single backticks, formulas in
dollars. Sphinx reads reStructuredText, so that both are translated here, outside of examples.
An entry of the ledger is documented as the function that it wraps.
"""

import re
from collections.abc import Iterator
from typing import Any

from ntklab.ledger import Result
from sphinx.application import Sphinx
from sphinx.ext.autodoc import FunctionDocumenter

# A displayed formula, code, a formula, or a character that would be taken for markup.
_MARKUP = re.compile(
    r"^(?P<indent> *)\$\$(?P<display>.+?)\$\$(?P<after>[.,;]?)$"
    r"|(?P<ticks>`+)(?P<code>[^`]+)(?P=ticks)"
    r"|\$(?P<tex>[^$]+)\$"
    r"|(?P<mark>[|*])",
    re.MULTILINE | re.DOTALL,
)


class _ResultDocumenter(FunctionDocumenter):
    objtype = "result"
    directivetype = "function"
    priority = FunctionDocumenter.priority + 10

    @classmethod
    def can_document_member(cls, member: Any, *_context: Any) -> bool:
        return isinstance(member, Result)

    def import_object(self, raiseerror: bool = False) -> bool:
        found = super().import_object(raiseerror)
        if found:
            self.object = self.object.function
        return found


def _translated(match: re.Match[str]) -> str:
    if match["display"] is not None:
        tex = " ".join(match["display"].split()) + match["after"]
        return f"\n{match['indent']}.. math:: {tex}\n"
    if match["mark"] is not None:
        return f"\\{match['mark']}"
    role = f"``{match['code']}``" if match["code"] is not None else f":math:`{match['tex']}`"
    # reStructuredText ends a role at a space or a punctuation mark only.
    return role + ("\\ " if match.string[match.end() : match.end() + 1].isalnum() else "")


def _paragraphs(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """The docstring in pieces, each with whether it is an example."""
    example = False
    piece: list[str] = []
    for line in lines:
        starts = line.lstrip().startswith(">>>")
        if starts != example and (starts or not line.strip()):
            yield example, piece
            example, piece = starts, []
        piece.append(line)
    yield example, piece


def _translate(
    _app: Sphinx, what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    translated: list[str] = []
    for example, piece in _paragraphs(lines):
        text = "\n".join(piece)
        translated += (text if example else _MARKUP.sub(_translated, text)).split("\n")
    if what in ("attribute", "data", "property") and translated:
        # Else the words ahead of a first colon would be taken for a type.
        translated[0] = f": {translated[0]}"
    lines[:] = translated


def _skip(_app: Sphinx, what: str, _name: str, member: Any, skip: bool, _options: Any) -> bool:
    """Leave out the fields of a named tuple, which its docstring describes."""
    return skip or (getattr(member, "__doc__", None) or "").startswith("Alias for field number")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_autodocumenter(_ResultDocumenter)
    # Ahead of napoleon, which needs the sections as they were written.
    app.connect("autodoc-process-docstring", _translate, priority=100)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
