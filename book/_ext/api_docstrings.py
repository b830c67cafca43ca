"""The library's docstrings, as the API pages need them.

The library writes docstrings that read well in a terminal: code in single backticks, formulas in
dollars. Sphinx reads reStructuredText, so that both are translated here, outside of examples; code
that is a name of JAX, NumPy or SciPy becomes a link.
An entry of the ledger is documented as the function that it wraps.
"""

import re
from collections.abc import Iterator
from typing import Any

import outside_names
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

# JAX's arrays under the names of the modules that they come from, which differ by version.
_ARRAY = re.compile(r"~?(?:jax\.)?jaxlib\.[\w.]+\.Array(?:Impl)?\b")
# The same shape, as an array of JAX and as one of NumPy.
_EITHER = re.compile(
    r"~?(jaxtyping\.\w+)\[~jax\.Array, ('[^']*')\] \| ~?\1\[~?(?:numpy\.)?ndarray, \2\]"
)
# What JAX and NumPy take for an array, written out.
_LIKE = re.compile(
    r"~jax\.Array \| ~?numpy\.ndarray \| ~?numpy\.bool \| ~?numpy\.number \| bool \| int \| float"
    r" \| complex\b"
    r"|[^\[,]*_SupportsArray\[.*_NestedSequence\[complex \| bytes \| str\]"
)
# Modules that go without saying.
_KNOWN = re.compile(r"(?<![\w.~])(?=(?:jaxtyping|numpy|collections\.abc|typing)\.[\w.]+)")


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


def readable(annotation: str) -> str:
    """An annotation of an array as one would write it."""
    annotation = _LIKE.sub("~jax.typing.ArrayLike", _ARRAY.sub("~jax.Array", annotation))
    return _KNOWN.sub("~", _EITHER.sub(r"~\1[~jax.Array | ~numpy.ndarray, \2]", annotation))


def _make_readable(app: Sphinx, _kind: str, name: str, *_rest: Any) -> None:
    annotations = app.env.temp_data.get("annotations", {}).get(name, {})
    annotations |= {argument: readable(text) for argument, text in annotations.items()}


def _make_types_readable(
    _app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    for place, line in enumerate(lines):
        head, mark, annotation = line.partition(": ")
        if head.startswith(":vartype "):
            lines[place] = head + mark + readable(annotation)


def _translated(match: re.Match[str]) -> str:
    if match["display"] is not None:
        tex = " ".join(match["display"].split()) + match["after"]
        return f"\n{match['indent']}.. math:: {tex}\n"
    if match["mark"] is not None:
        return f"\\{match['mark']}"
    if match["code"] is None:
        role = f":math:`{match['tex']}`"
    elif match["code"] in outside_names.NAMES:
        role = f":py:obj:`{match['code']}`"
    else:
        role = f"``{match['code']}``"
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
    # And after it, to which the types of attributes are due.
    app.connect("autodoc-process-docstring", _make_types_readable, priority=600)
    app.connect("autodoc-skip-member", _skip)
    # After autodoc has written the annotations down.
    app.connect("autodoc-process-signature", _make_readable, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
