"""Tables that the book makes of itself: the results map, and the state of the chapters.

`{results-map} S24` runs the ledger of one source when the site is built and shows every entry
with links to its statement, its code and its exercise. The measured values are kept until the
library changes. An entry that does not hold is a warning, and so fails the build.
`{chapter-status}` lists the chapters with the time their execution took.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from ntklab import results
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

_LOG = logging.getLogger(__name__)

# The rows of one entry: quantity, value, bound, whether it holds.
_Row = tuple[str, str, str, bool]


class _Pending(nodes.General, nodes.Element):
    """Stands for a table that needs all pages to be read first."""


class _ResultsMap(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return [_Pending(table="results", source=self.arguments[0])]


class _ChapterStatus(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [_Pending(table="status")]


class _FillTables(SphinxPostTransform):
    # Before Sphinx resolves references, since the tables are made of them.
    default_priority = 8

    def run(self, **_options: Any) -> None:
        for node in list(self.document.findall(_Pending)):
            if node["table"] == "status":
                node.replace_self(self._status())
            else:
                node.replace_self(self._results(node["source"]))

    def _status(self) -> nodes.Element:
        executed = NbMetadataCollector.get_doc_data(self.env)
        entries = list(results.all_results())
        rows = []
        for docname in sorted(executed, key=self._order):
            data = executed[docname].get("exec_data")
            if not data:
                continue
            chapter = docname.rsplit("/", 1)[-1]
            covered = sum(entry.chapter == chapter for entry in entries)
            state = "runs" if data["succeeded"] else "fails"
            title = self.env.titles[docname].astext()
            link = self._link("std", "doc", f"/{docname}", title)
            rows.append([link, str(covered), state, f"{data['runtime'] or 0:.0f} s"])
        heads = ["Chapter", "Results on the ledger", "State", "Run time"]
        return _table(heads, rows, "course-status")

    def _order(self, docname: str) -> tuple[int, ...]:
        return self.env.toc_secnumbers.get(docname, {}).get("") or (0,)

    def _results(self, source: str) -> nodes.Element:
        measured = _measured(Path(self.app.outdir).parent / "ledger.json")
        rows = [
            self._entry(entry, measured[entry.key])
            for entry in results.all_results()
            if entry.source == source
        ]
        if not rows:
            _LOG.warning("the ledger has no result of source %r", source)
        return _table(["Result", "Where", "Measured, and its bound"], rows, "course-results")

    def _entry(self, entry: results.Result, rows: Iterable[_Row]) -> list[Any]:
        anchor = f"{entry.function.__module__}.{entry.function.__name__}"
        return [
            [nodes.strong(text=entry.label, ids=[anchor]), nodes.Text(f" {entry.statement}")],
            self._places(entry),
            [line for row in rows for line in self._verdict(entry, row)],
        ]

    def _places(self, entry: results.Result) -> list[nodes.Node]:
        chapter = f"book/{entry.chapter}"
        title = self.env.titles[chapter].astext()
        places = [self._link("std", "doc", f"/{chapter}", title)]
        if entry.theorem:
            places.append(self._link("prf", "ref", entry.theorem))
        if entry.exercise:
            places.append(self._link("std", "numref", entry.exercise))
        test = nodes.literal(text=f"[{entry.key}]", classes=["course-test"])
        return [_line(place) for place in (*places, self._source(entry), test)]

    def _source(self, entry: results.Result) -> nodes.Node:
        module, name = entry.function.__module__, entry.function.__name__
        # The source pages mark only what some page describes: for entries, this one does.
        self.env._viewcode_modules[module][2][name] = self.env.docname
        page = self.app.builder.get_relative_uri(
            self.env.docname, f"_modules/{module.replace('.', '/')}"
        )
        code = nodes.literal(text=name)
        return nodes.reference("", "", code, internal=True, refuri=f"{page}#{name}")

    def _verdict(self, entry: results.Result, row: _Row) -> list[nodes.Node]:
        what, value, bound, holds = row
        if not holds:
            _LOG.warning("%s does not hold: %s = %s, bound %s", entry.key, what, value, bound)
        mark = "✓" if holds else "✗"
        number = nodes.inline(text=f"{value} {bound}", classes=["course-number"])
        return [_line(nodes.Text(f"{mark} {what}")), _line(number)]

    def _link(self, domain: str, kind: str, target: str, text: str | None = None) -> nodes.Node:
        node = pending_xref(
            "",
            refdomain=domain,
            reftype=kind,
            reftarget=target,
            refexplicit=text is not None,
            refdoc=self.env.docname,
            refwarn=True,
        )
        node += nodes.inline(text=text or target, classes=["xref", domain, f"{domain}-{kind}"])
        return node


def _measured(cache: Path) -> dict[str, list[_Row]]:
    """What the ledger measures, run once for every state of the library."""
    if cache.exists():
        kept = json.loads(cache.read_text())
        if kept["library"] == results.library_digest():
            return kept["entries"]
    entries = {
        entry.key: [check.row for check in entry.checks()] for entry in results.all_results()
    }
    cache.write_text(json.dumps({"library": results.library_digest(), "entries": entries}))
    return entries


def _line(child: nodes.Node) -> nodes.line:
    return nodes.line("", "", child)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]], name: str) -> nodes.container:
    """A table in a box of its own, in which it scrolls where the screen is narrow."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in heads), cols=len(heads))
    group += nodes.thead("", _row(heads))
    group += nodes.tbody("", *map(_row, rows))
    table = nodes.table("", group, classes=["colwidths-auto", name])
    return nodes.container("", table, classes=["course-table"])


def _row(cells: Iterable[Any]) -> nodes.row:
    return nodes.row("", *map(_cell, cells))


def _cell(content: Any) -> nodes.entry:
    children = content if isinstance(content, list) else [content]
    inline = [nodes.Text(child) if isinstance(child, str) else child for child in children]
    if inline and isinstance(inline[0], nodes.line):
        return nodes.entry("", nodes.line_block("", *inline))
    return nodes.entry("", nodes.paragraph("", "", *inline))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(_Pending)
    app.add_directive("results-map", _ResultsMap)
    app.add_directive("chapter-status", _ChapterStatus)
    app.add_post_transform(_FillTables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
