"""What stays closed until a reader opens it: a chapter's symbols, solutions, answers with reasons.

`:::{symbols}` shows the rows of `reference/notation` whose last column names the chapter. There
the names become links to the chapters.

`:::{question}` asks a reader who nods: what is asked, then a list of answers. The first paragraph
of an answer is what can be opened, the rest is the reason and begins with **Right.** or **Wrong.**
Answers have no TeX, since a Colab copy shows none in what can be opened.
"""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from course_tables import link, table
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_design.shared import create_component
from sphinx_exercise.nodes import solution_node

_LOG = logging.getLogger(__name__)

_NOTATION = "book/reference/notation"
_HEADS = ["symbol", "meaning", "in the sources", "chapters"]
_EVERY_CHAPTER = "all"


class _Symbols(nodes.General, nodes.Element):  # type: ignore[misc]  # docutils has no types
    """Stands for a chapter's symbols until the notation page has been read."""


class _SymbolsDirective(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [_Symbols()]


class _FillSymbols(SphinxPostTransform):
    # Before Sphinx resolves references, of which the rows have some.
    default_priority = 8

    def run(self, **_options: Any) -> None:
        if self.env.docname == _NOTATION:
            self._link_chapters()
        for node in list(self.document.findall(_Symbols)):
            node.replace_self(self._box())

    def _box(self) -> nodes.Element:
        chapter = _module(self.env.docname)
        notation = self.env.get_doctree(_NOTATION)
        rows = [
            [_moved(cell, _NOTATION, self.env.docname) for cell in row[:2]]
            for row in _rows(notation)
            if {chapter, _EVERY_CHAPTER} & set(_names(row))
        ]
        if not rows:
            _LOG.warning("%s names no symbol of %s", _NOTATION, chapter)
        if rows:
            self.env.get_domain("math").data["has_equations"][self.env.docname] = True
        more = nodes.paragraph("", "What the sources call them, and all others: ")
        more += [link(self.env, "std", "doc", f"/{_NOTATION}", "Notation"), nodes.Text(".")]
        content = [table(_HEADS[:2], rows, "course-symbols"), more]
        return dropdown([nodes.Text("Symbols of this chapter")], content)

    def _link_chapters(self) -> None:
        chapters = {_module(name): name for name in self.env.found_docs if name.count("/") == 1}
        for row in _rows(self.document):
            names = _names(row)
            if unknown := set(names) - {*chapters, _EVERY_CHAPTER}:
                _LOG.warning("%s: no chapters %s: %s", _NOTATION, sorted(unknown), row.astext())
            places = [
                link(self.env, "std", "doc", f"/{chapters[name]}", name)
                if name in chapters
                else nodes.Text(name)
                for name in names
            ]
            row[-1].children = [nodes.paragraph("", "", *_joined(places))]


class _QuestionDirective(SphinxDirective):
    has_content = True

    def run(self) -> list[nodes.Node]:
        self.assert_has_content()
        box = nodes.admonition("", nodes.title("", "Do you see it?"), classes=["course-question"])
        self.set_source_info(box)
        box += self.parse_content_to_nodes()
        *_, answers = box.children
        if not isinstance(answers, nodes.bullet_list) or len(answers) < 2:
            raise self.error("a question must end with a list of two answers or more")
        verdicts = {self._verdict(item) for item in answers}
        if verdicts != {"Right.", "Wrong."}:
            raise self.error("a question must have a right answer and a wrong one")
        boxes = [dropdown(item[0].children, item.children[1:]) for item in answers]
        box.replace(answers, boxes)
        return [box]

    def _verdict(self, item: nodes.Element) -> str:
        answer, *reason = item.children
        if any(answer.findall(nodes.math)):
            raise self.error(f"an answer must be without TeX, got {answer.astext()!r}")
        # MyST puts an empty text before a paragraph's first strong one.
        words = [child for child in reason[0].children if child.astext()] if reason else []
        opening = words[0] if words else None
        verdict = opening.astext() if isinstance(opening, nodes.strong) else ""
        if verdict not in ("Right.", "Wrong."):
            raise self.error(
                f"a reason must begin with **Right.** or **Wrong.**: {answer.astext()!r}"
            )
        return verdict


def _module(docname: str) -> str:
    return docname.rsplit("/", 1)[-1]


def _rows(notation: nodes.document) -> Iterator[nodes.row]:
    """The rows of the tables of symbols, whichever heading they stand under."""
    for found in notation.findall(nodes.table):
        head, *rows = found.findall(nodes.row)
        if [cell.astext() for cell in head] == _HEADS:
            found["classes"].append("course-notation")
            yield from rows


def _names(row: nodes.row) -> list[str]:
    return [name.strip() for name in row[-1].astext().split(",")]


def _moved(cell: nodes.entry, origin: str, docname: str) -> list[nodes.Node]:
    """The text of a cell, with references that resolve on another page."""
    copies = [child.deepcopy() for paragraph in cell for child in paragraph]
    for copy in copies:
        for reference in copy.findall(pending_xref):
            if reference["reftype"] == "doc":
                target = posixpath.join(posixpath.dirname(f"/{origin}"), reference["reftarget"])
                reference["reftarget"] = posixpath.normpath(target)
            reference["refdoc"] = docname
    return copies


def _joined(places: Sequence[nodes.Node]) -> Iterator[nodes.Node]:
    for number, place in enumerate(places):
        if number:
            yield nodes.Text(", ")
        yield place


def dropdown(
    title: Iterable[nodes.Node], content: Iterable[nodes.Node], ids: Sequence[str] = ()
) -> nodes.Element:
    """What `:::{dropdown} title` makes, before sphinx-design writes it as HTML."""
    box = create_component(
        "dropdown",
        opened=False,
        type="dropdown",
        has_title=True,
        icon=None,
        chevron=None,
        container_classes=["sd-mb-3"],
        title_classes=[],
        body_classes=[],
    )
    box += nodes.rubric("", "", *title, ids=list(ids))
    box += list(content)
    return box


class _CloseSolutions(SphinxPostTransform):
    # After sphinx-exercise has resolved titles, before sphinx-design writes dropdowns.
    default_priority = 100

    def run(self, **_options: Any) -> None:
        numbers = self.env.toc_fignumbers.get(self.env.docname, {}).get("exercise", {})
        for solution in list(self.document.findall(solution_node)):
            exercise = solution["target_label"]
            if exercise not in numbers:
                continue  # sphinx-exercise has warned of an exercise that does not exist
            number = ".".join(map(str, numbers[exercise]))
            title = [nodes.Text(f"Solution to Exercise {number}")]
            content = [
                block
                for child in solution.children[1:]
                for block in (child.children if isinstance(child, nodes.section) else [child])
            ]
            ids = [solution_id(exercise), *solution["ids"]]
            solution.replace_self(dropdown(title, content, ids))


def solution_id(exercise: str) -> str:
    """The anchor of the solution to an exercise, by the exercise's label."""
    return f"{exercise}-solution"


def _name_solutions(app: Sphinx, doctree: nodes.document) -> None:
    """Let `{ref}` lead to the solution of every exercise."""
    labels = app.env.get_domain("std").data
    for solution in doctree.findall(solution_node):
        name = solution_id(solution["target_label"])
        labels["anonlabels"][name] = app.env.docname, name
        labels["labels"][name] = app.env.docname, name, "solution"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(_Symbols)
    app.add_directive("symbols", _SymbolsDirective)
    app.add_directive("question", _QuestionDirective)
    app.add_post_transform(_FillSymbols)
    app.add_post_transform(_CloseSolutions)
    app.connect("doctree-read", _name_solutions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
