"""What rests on what, on the pages: the graph, its table, the gaps, and a line under each claim.

`{statement-graph}` draws the statements of every chapter as SVG with real text and links, once for
a wide and once for a narrow column, and lists the same in tables. `{statement-gaps} KIND` names the
claims without a check, without an exercise, or used by nothing. Under each statement stands what it
rests on and what uses it. What runs in a circle, rests on a later chapter, or is a proof of nothing
is a warning, and so fails the build.
"""

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from course_tables import link, table
from docutils import nodes
from dropdowns import dropdown
from layered_layout import Box, Drawing, Point, circle, lay_out
from ntklab import ledger
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_proof.nodes import NODE_TYPES
from statements import PROOF, STATEMENT, Graph, Marks, Page, Statement, connect, read_page

_LOG = logging.getLogger(__name__)

_ERRATA = "book/reference/errata"


class _Place(nodes.General, nodes.Element):  # type: ignore[misc]  # docutils has no types
    """Stands for what needs all pages to be read first."""


class _GraphDirective(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [_Place(show="graph")]


class _GapsDirective(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] not in GAPS:
            raise self.error(f"{self.arguments[0]!r} is none of {', '.join(GAPS)}")
        return [_Place(show=self.arguments[0])]


#: The kinds of gaps, and for each whether a claim has it.
GAPS: Mapping[str, Callable[[Graph, str], bool]] = {
    "unchecked": lambda graph, label: not graph.marks[label].checks,
    "without-exercise": lambda graph, label: not graph.marks[label].exercise,
    "unused": lambda graph, label: not graph.used_by(label),
}


# Reading: what each page says is kept with the environment, page by page.


def _pages(env: BuildEnvironment) -> dict[str, Page]:
    if not hasattr(env, "course_pages"):
        env.course_pages = {}  # type: ignore[attr-defined]
    return env.course_pages  # type: ignore[attr-defined]


def _read(app: Sphinx, document: nodes.document) -> None:
    docname = app.env.docname
    page = read_page(document, docname)
    _pages(app.env)[docname] = replace(page, shows_graph=any(document.findall(_Place)))


def _purge(_app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    _pages(env).pop(docname, None)


def _merge(_app: Sphinx, env: BuildEnvironment, docnames: set[str], other: Any) -> None:
    found = _pages(other)
    _pages(env).update({name: found[name] for name in docnames if name in found})


def graph_of(env: BuildEnvironment) -> Graph:
    """The graph of all pages that were read, with what the ledger and the errata say."""
    pages = _pages(env)
    order = sorted(pages, key=lambda name: (env.toc_secnumbers.get(name, {}).get("") or (0,), name))
    graph = connect(pages[name] for name in order)
    in_exercises = {name for page in pages.values() for name in page.in_exercises}
    errata = pages[_ERRATA].named if _ERRATA in pages else frozenset()
    return Graph(graph.statements, graph.uses, marks(graph, in_exercises, errata))


def marks(graph: Graph, in_exercises: set[str], errata: frozenset[str]) -> dict[str, Marks]:
    """What the ledger, the exercises and the errata say about each statement."""
    entries: dict[str, list[ledger.Result]] = {label: [] for label in graph.statements}
    for entry in ledger.all_results():
        if entry.theorem in entries:
            entries[entry.theorem].append(entry)
    return {
        label: Marks(
            checks=tuple(entry.title for entry in found),
            loose=any(entry.loose for entry in found),
            sampled=any(entry.evidence == "sampled" for entry in found),
            differs=label in errata,
            exercise=label in in_exercises or any(entry.exercise for entry in found),
        )
        for label, found in entries.items()
    }


def faults(graph: Graph, pages: Iterable[Page]) -> Iterator[str]:
    """What is wrong with what rests on what."""
    if around := circle([*graph.statements], graph.edges):
        yield f"statements rest on one another in a circle: {' is used by '.join(around)}"
    for used, label in graph.backward:
        yield f"{label} rests on {used}, which comes in a later chapter"
    for page in pages:
        for title in page.loose_proofs:
            yield f"the dropdown {title!r} follows no statement that it could prove"


def _check(_app: Sphinx, env: BuildEnvironment) -> None:
    for fault in faults(graph_of(env), _pages(env).values()):
        _LOG.warning(fault)


def _changed(_app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The pages to write anew because what they show of other pages has changed."""
    graph = graph_of(env)
    shown = {
        docname: repr([(label, graph.uses[label], graph.used_by(label)) for label in labels])
        for docname, labels in _by_page(graph).items()
    }
    before = getattr(env, "course_neighbours", {})
    env.course_neighbours = shown  # type: ignore[attr-defined]
    changed = {name for name in shown if shown[name] != before.get(name)}
    if shown != before:
        changed |= {name for name, page in _pages(env).items() if page.shows_graph}
    return sorted(changed)


def _by_page(graph: Graph) -> dict[str, list[str]]:
    pages: dict[str, list[str]] = {}
    for label, statement in graph.statements.items():
        pages.setdefault(statement.docname, []).append(label)
    return pages


# Writing


class _Fill(SphinxPostTransform):
    # Before Sphinx resolves references, since all of this is made of them.
    default_priority = 8

    def run(self, **_options: Any) -> None:
        pending = list(self.document.findall(_Place))
        claims = [node for node in self.document.findall(_is_statement) if node.get("label")]
        if not pending and not claims:
            return
        graph = graph_of(self.env)
        writer = _Writer(graph, self.env, self.app)
        for node in pending:
            show = node["show"]
            node.replace_self(writer.graph() if show == "graph" else [writer.gaps(show)])
        for node in claims:
            node += writer.neighbours(node["label"])


def _is_statement(node: nodes.Node) -> bool:
    return isinstance(node, tuple(NODE_TYPES.values()))


#: Boxes of the drawing for a wide column and for a narrow one, in CSS pixels: the widths of the
#: drawing and of a box.
SIZES = {"wide": (700.0, 158.0), "narrow": (340.0, 128.0)}
_LINE, _HEAD, _PADDING = 14.0, 15.0, 8.0  # heights of lines and the room around them
_LINES = 4  # of a title; the rest is in the table


@dataclass(frozen=True)
class Node:
    """What is drawn for a statement, a reference to one in another chapter, or a chapter."""

    key: str
    head: str
    title: str
    address: str
    classes: str
    tip: str
    marks: str = ""


class _Writer:
    """Everything that is shown of a graph on one page."""

    def __init__(self, graph: Graph, env: BuildEnvironment, app: Sphinx) -> None:
        self.known = graph
        self.env = env
        self.app = app
        self.docname = env.docname

    def neighbours(self, label: str) -> list[nodes.Node]:
        """The line under a statement; none where it has no neighbours."""
        uses, used_by = [*self.known.uses.get(label, ())], self.known.used_by(label)
        groups = [("Rests on ", uses), ("Used by ", used_by)]
        children: list[nodes.Node] = []
        for words, others in groups:
            if others:
                words = words if not children else f" · {words.lower()}"
                children += [nodes.Text(words), *self._listed(others)]
        if not children:
            return []
        return [nodes.paragraph("", "", *children, classes=["course-neighbours"])]

    def _listed(self, labels: Sequence[str]) -> list[nodes.Node]:
        children: list[nodes.Node] = []
        for label in labels:
            children += [nodes.Text(", ")] if children else []
            children.append(link(self.env, "prf", "ref", label))
        return children

    def gaps(self, kind: str) -> nodes.Element:
        """The claims that have a gap, chapter by chapter, and how many of how many."""
        claims = [label for label, item in self.known.statements.items() if item.claims]
        open_ones = [label for label in claims if GAPS[kind](self.known, label)]
        box = nodes.container("", nodes.paragraph(text=f"{len(open_ones)} of {len(claims)}."))
        items = nodes.bullet_list("", bullet="-")
        for docname, labels in _by_page(self.known).items():
            found = [label for label in labels if label in open_ones]
            if found:
                text = [link(self.env, "std", "doc", f"/{docname}", self._chapter(docname))]
                text += [nodes.Text(": "), *self._named(found)]
                items += nodes.list_item("", nodes.paragraph("", "", *text))
        if open_ones:
            box += items
        return box

    def _named(self, labels: Sequence[str]) -> list[nodes.Node]:
        children: list[nodes.Node] = []
        for label in labels:
            children += [nodes.Text("; ")] if children else []
            title = self.known.statements[label].title
            children += [link(self.env, "prf", "ref", label), nodes.Text(f" {title}")]
        return children

    def _chapter(self, docname: str) -> str:
        number = self.env.toc_secnumbers.get(docname, {}).get("") or ()
        return " ".join([".".join(map(str, number)), self.env.titles[docname].astext()]).strip()

    # The graph

    def graph(self) -> list[nodes.Element]:
        """A drawing of the chapters, then a section with drawing and table for every one."""
        if circle([*self.known.statements], self.known.edges):
            return []
        pages = _by_page(self.known)
        parts = [nodes.raw("", _legend(), format="html")]
        parts.append(self._drawn("The chapters", *self._chapters(pages)))
        for docname, labels in pages.items():
            title = self._chapter(docname)
            words = dropdown([nodes.Text("The same as a table")], [self._table(labels)])
            parts.append(
                nodes.section(
                    "",
                    nodes.title(text=title),
                    self._drawn(title, *self._statements(labels)),
                    words,
                    ids=[f"graph-{docname.rpartition('/')[2]}"],
                )
            )
        return parts

    def _drawn(
        self, name: str, drawn: Sequence[Node], edges: Mapping[tuple[str, str], str]
    ) -> nodes.raw:
        pictures = "".join(picture(name, drawn, edges, size) for size in SIZES)
        return nodes.raw("", f'<div class="course-graph">{pictures}</div>', format="html")

    def _chapters(
        self, pages: Mapping[str, Sequence[str]]
    ) -> tuple[list[Node], dict[tuple[str, str], str]]:
        page_of = {label: item.docname for label, item in self.known.statements.items()}
        edges: dict[tuple[str, str], str] = {}
        for label, uses in self.known.uses.items():
            for used, how in uses.items():
                edge = (page_of[used], page_of[label])
                if edge[0] != edge[1] and edges.get(edge) != STATEMENT:
                    edges[edge] = how
        order = {docname: place for place, docname in enumerate(pages)}
        edges = {edge: how for edge, how in edges.items() if order[edge[0]] < order[edge[1]]}
        drawn = []
        for docname, labels in pages.items():
            number, _, title = self._chapter(docname).partition(" ")
            claims = [label for label in labels if self.known.statements[label].claims]
            checked = sum(map(self.known.checked, claims))
            tip = f"{title}: {len(labels)} statements, {checked} of {len(claims)} claims checked."
            address = self.app.builder.get_relative_uri(self.docname, docname)
            drawn.append(Node(docname, f"Chapter {number}", title, address, "chapter", tip))
        return drawn, edges

    def _statements(self, labels: Sequence[str]) -> tuple[list[Node], dict[tuple[str, str], str]]:
        drawn, edges = [], {}
        elsewhere: dict[str, Node] = {}
        for label in labels:
            for used, how in self.known.uses[label].items():
                edges[used, label] = how
                if used not in labels:
                    elsewhere[used] = self._node(used, reference=True)
        drawn = [elsewhere[label] for label in self.known.statements if label in elsewhere]
        return [*drawn, *map(self._node, labels)], edges

    def _node(self, label: str, *, reference: bool = False) -> Node:
        statement, found = self.known.statements[label], self.known.marks[label]
        words = self._state(label)
        head = self._name(statement)
        number = head.partition(" ")[2]
        address = self.app.builder.get_relative_uri(self.docname, statement.docname)
        classes = [
            "reference" if reference else "claim" if statement.claims else "words",
            *(["proved"] if statement.proved else []),
            *(["checked"] if found.checks else []),
            *(["deep"] if found.checks and self.known.checked_below(label) else []),
        ]
        return Node(
            key=label,
            head=number if reference else head,
            title="" if reference else statement.title,
            address=f"{address}#{label}",
            classes=" ".join(classes),
            tip=f"{head}, {statement.title}. {words}".strip(),
            marks="" if reference else " ".join(sign for sign, _ in _signs(found)),
        )

    def _name(self, statement: Statement) -> str:
        numbers = self.env.toc_fignumbers.get(statement.docname, {}).get("theorem", {})
        number = ".".join(map(str, numbers.get(statement.label, ())))
        return f"{statement.kind.title()} {number}".strip()

    def _state(self, label: str) -> str:
        statement, found = self.known.statements[label], self.known.marks[label]
        if not statement.claims:
            return ""
        parts = ["proved here" if statement.proved else "not proved here"]
        if found.checks:
            parts.append(f"checked ({'; '.join(found.checks)})")
            if self.known.checked_below(label):
                parts.append("as is all that it rests on")
        else:
            parts.append("no check")
        return ", ".join([*parts, *(words for _, words in _signs(found))])

    def _table(self, labels: Sequence[str]) -> nodes.Element:
        rows = []
        for label in labels:
            uses, used_by = self.known.uses[label], self.known.used_by(label)
            rests: list[nodes.Node] = []
            for used, how in uses.items():
                rests += [nodes.Text(", ")] if rests else []
                rests.append(link(self.env, "prf", "ref", used))
                rests += [nodes.Text(" (proof)")] if how == PROOF else []
            title = self.known.statements[label].title
            rows.append(
                [
                    [link(self.env, "prf", "ref", label), nodes.Text(f" {title}")],
                    self._state(label) or "words only",
                    rests or "–",
                    self._listed(used_by) or "–",
                ]
            )
        heads = ["Statement", "State", "Rests on", "Used by"]
        return table(heads, rows, "course-statements")


def _signs(found: Marks) -> list[tuple[str, str]]:
    signs = [
        ("≠", "differs from the source", found.differs),
        ("≪", "loose", found.loose),
        ("±", "sampled", found.sampled),
    ]
    return [(sign, words) for sign, words, holds in signs if holds]


# The drawing


def picture(
    name: str, drawn: Sequence[Node], edges: Mapping[tuple[str, str], str], size: str
) -> str:
    """The nodes and edges as SVG for one of `SIZES`."""
    width, box_width = SIZES[size]
    lines = {node.key: _lines(node, box_width - 2 * _PADDING) for node in drawn}
    boxes = [
        Box(node.key, *_extent(node, lines[node.key], box_width), "reference" in node.classes)
        for node in drawn
    ]
    plan = lay_out(boxes, [*edges], width)
    parts = [
        f'<path class="edge {how}" data-ends="{html.escape(" ".join(edge))}" '
        f'd="{_curve(plan, edge)}"/>'
        for edge, how in edges.items()
    ]
    parts += [_shape(node, lines[node.key], plan) for node in drawn]
    # Lines have a width, which must not be cut off at the rim.
    view = f"-1 -1 {width + 2:g} {plan.height + 2:.0f}"
    label = html.escape(f"{name}: what rests on what. The table below says the same.")
    return (
        f'<svg class="{size}" role="group" aria-label="{label}" viewBox="{view}" '
        f'width="{width + 2:g}" height="{plan.height + 2:.0f}">{"".join(parts)}</svg>'
    )


def _lines(node: Node, width: float) -> list[str]:
    """The lines under the head: the title, and the marks where the head leaves them no room."""
    lines = wrapped(node.title, width)
    return lines if _marks_fit(node, width) else [*lines, node.marks]


def _marks_fit(node: Node, width: float) -> bool:
    # The head is bold, and so a sixth wider; the marks are wide signs, and stand apart from it.
    needed = 1.16 * text_width(node.head) + 1.5 * text_width(f"  {node.marks}")
    return not node.marks or needed <= width


def _extent(node: Node, lines: Sequence[str], box_width: float) -> tuple[float, float]:
    if "reference" in node.classes:
        return text_width(node.head) + 2 * _PADDING, _HEAD + _PADDING
    return box_width, _HEAD + _LINE * len(lines) + 1.5 * _PADDING


def _shape(node: Node, lines: Sequence[str], plan: Drawing) -> str:
    x, y, width, height = plan.boxes[node.key]
    corner = 3 if "words" not in node.classes.split() else 12
    left, base = x + _PADDING, y + _PADDING / 2 + _HEAD - 3
    texts = [f'<text class="head" x="{left:.1f}" y="{base:.1f}">{html.escape(node.head)}</text>']
    if node.marks and _marks_fit(node, width - 2 * _PADDING):
        right = x + width - _PADDING
        texts.append(f'<text class="marks" x="{right:.1f}" y="{base:.1f}">{node.marks}</text>')
    for place, words in enumerate(lines, 1):
        y_line = base + place * _LINE
        texts.append(f'<text x="{left:.1f}" y="{y_line:.1f}">{html.escape(words)}</text>')
    return (
        f'<a class="{node.classes}" href="{html.escape(node.address)}" '
        f'data-key="{html.escape(node.key)}">'
        f"<title>{html.escape(node.tip)}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{corner}"/>'
        f"{''.join(texts)}</a>"
    )


def _curve(plan: Drawing, edge: tuple[str, str]) -> str:
    """Down every row straight, and from one row to the next with a turn."""
    points = plan.routes[edge]
    steps = [f"M{points[0].x:.1f} {points[0].y:.1f}"]
    for one, other in pairwise(points):
        steps.append(_step(one, other))
    return "".join(steps)


def _step(one: Point, other: Point) -> str:
    if one.x == other.x:
        return f"V{other.y:.1f}"
    middle = (one.y + other.y) / 2
    return f"C{one.x:.1f} {middle:.1f} {other.x:.1f} {middle:.1f} {other.x:.1f} {other.y:.1f}"


def wrapped(text: str, width: float) -> list[str]:
    """The text in lines of at most this width, as far as it can be known here; at most four."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"{lines[_LINES - 1]} …"]
    return lines


def text_width(text: str) -> float:
    """About how wide a text is at the size of the drawing, 12 pixels: rather more than less."""
    narrow, wide = " ijlt.,:;'|()[]f", "mwMW…—"
    em = sum(
        0.34 if c in narrow else 0.92 if c in wide else 0.7 if c.isupper() else 0.57 for c in text
    )
    return 12 * em


def _legend() -> str:
    """What the drawing's signs mean."""
    boxes = [
        ("claim proved", "proved here"),
        ("claim checked", "checked on the ledger"),
        ("claim proved checked deep", "and so is everything that it rests on"),
        ("words", "a definition or a remark: nothing to prove"),
    ]
    swatch = '<svg width="26" height="16" aria-hidden="true">'
    parts = [
        f'<li>{swatch}<g class="{classes}"><rect x="1" y="1" width="24" height="14" '
        f'rx="{7 if classes == "words" else 3}"/></g></svg> {words}</li>'
        for classes, words in boxes
    ]
    parts += [
        f'<li>{swatch}<path class="edge {how}" d="M1 8H25"/></svg> {words}</li>'
        for how, words in [
            ("statement", "the lower statement uses the upper one"),
            ("proof", "only its proof does"),
        ]
    ]
    every = Marks(loose=True, sampled=True, differs=True)
    parts += [f"<li><b>{sign}</b> {words}</li>" for sign, words in _signs(every)]
    return f'<ul class="course-graph course-legend">{"".join(parts)}</ul>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(_Place)
    app.add_directive("statement-graph", _GraphDirective)
    app.add_directive("statement-gaps", _GapsDirective)
    app.connect("doctree-read", _read)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    # After Sphinx has numbered the chapters, whose order is asked for.
    app.connect("env-get-updated", _changed, priority=900)
    app.connect("env-check-consistency", _check)
    app.add_post_transform(_Fill)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
