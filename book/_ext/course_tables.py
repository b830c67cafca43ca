"""Tables that the book makes of itself: the results map, and the state of the chapters.

`{results-map} S24` shows every entry of one source with links to its statement, its code and its
exercise, with what its chapter's report of it measured, and with what that is worth. An entry
that has no report there, does not hold, or does not fail with its hypothesis broken, is a warning,
and so fails the build. The same is on the site as `ledger.json`, to which `{ledger-file}` links.
`{chapter-status}` lists the chapters with the times that their title cells state. The head of a
report in a chapter links to the statement, to its line on the results map, and to its code.
"""

import html
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import project
from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from ntklab import ledger
from ntklab.ledger import _record
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

_LOG = logging.getLogger(__name__)

# A row of a report: what was measured, the value, what was expected, and whether it holds.
_Row = dict[str, str]

# Where the site has the ledger as data.
_FILE = "ledger.json"

# How the output of a report begins, and the page that lists all entries.
_REPORT = '<table class="ntk-check"'
_RESULTS = "book/reference/results"

# Code; an index or an exponent, in braces, in parentheses, or of letters and digits alone: C_f² is
# the square of C_f. Two letters before an underscore are the end of a name, which stays as it is.
_SET = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|(?P<mark>\^|(?<![A-Za-z]{2})_|_(?=\{))"
    r"(?:\{(?P<braces>(?:[^{}]|\{[^{}]*\})*)\}|(?P<plain>\([^()]*\)|[A-Za-zα-ω0-9½]+(?:\.\d+)?))"
)

_MINUTES = re.compile(r"(\d+)\sminutes?\sto\sread,\s(\d+)\swith\sthe\sproofs,\s(\d+)\sto\srun\b")


class _Pending(nodes.General, nodes.Element):  # type: ignore[misc]  # docutils has no types
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
        entries = list(ledger.all_results())
        rows = []
        for docname in sorted(executed, key=self._order):
            if not executed[docname].get("exec_data"):
                continue
            chapter = docname.rsplit("/", 1)[-1]
            covered = sum(entry.chapter == chapter for entry in entries)
            title = self.env.titles[docname].astext()
            chapter_link = link(self.env, "std", "doc", f"/{docname}", title)
            stated = _MINUTES.search(self.env.get_doctree(docname).astext())
            minutes = stated.groups() if stated else ["–"] * 3
            rows.append([chapter_link, str(covered), *minutes])
        heads = ["Chapter", "On the ledger", "Minutes to read", "With proofs", "To run"]
        return table(heads, rows, "course-status")

    def _order(self, docname: str) -> tuple[int, ...]:
        return self.env.toc_secnumbers.get(docname, {}).get("") or (0,)

    def _results(self, source: str) -> nodes.Element:
        entries = [entry for entry in ledger.all_results() if entry.source == source]
        reports = _reports(self.env, entries)
        rows = [self._entry(entry, *reports.get(entry.key, ([], []))) for entry in entries]
        if not rows:
            _LOG.warning("the ledger has no result of source %r", source)
        heads = ["Result", "Where", "Measured, and its bound", "Evidence"]
        return table(heads, rows, "course-results")

    def _entry(
        self, entry: ledger.Result, stated: Sequence[_Row], broken: Sequence[_Row]
    ) -> list[Any]:
        for fault in faults(entry, stated, broken):
            _LOG.warning(fault)
        return [
            [
                nodes.strong(text=entry.label, ids=[_anchor(entry)]),
                nodes.Text(" "),
                *formulas(entry.statement),
            ],
            self._places(entry),
            [line for row in stated for line in self._verdict(row)],
            [_line(*formulas(text)) for text in worth(entry)],
        ]

    def _places(self, entry: ledger.Result) -> list[nodes.Node]:
        chapter = f"book/{entry.chapter}"
        title = self.env.titles[chapter].astext()
        places = [link(self.env, "std", "doc", f"/{chapter}", title)]
        if entry.theorem:
            places.append(link(self.env, "prf", "ref", entry.theorem))
        if entry.exercise:
            places.append(link(self.env, "std", "numref", entry.exercise))
        test = nodes.literal(text=f"[{entry.key}]", classes=["course-test"])
        return [_line(place) for place in (*places, self._source(entry), test)]

    def _source(self, entry: ledger.Result) -> nodes.Node:
        module, name = entry.function.__module__, entry.function.__name__
        # The source pages hold only what some page describes: for entries, this one does.
        modules = self.env._viewcode_modules  # type: ignore[attr-defined]
        if module not in modules:
            analyzer = ModuleAnalyzer.for_module(module)
            analyzer.analyze()
            modules[module] = analyzer.code, analyzer.tags, {}, module
        modules[module][2][name] = self.env.docname
        return _code_link(self.app, self.env, entry, name)

    def _verdict(self, row: _Row) -> list[nodes.Node]:
        mark = "✓" if _holds(row) else "✗"
        margin = f", {row['margin']}" if row["margin"] else ""
        text = f"{row['measured']} {row['expected']}{margin}"
        number = nodes.inline(text=text, classes=["course-number"])
        return [_line(*formulas(f"{mark} {row['what']}")), _line(number)]


class _HeadReports(SphinxPostTransform):
    # After myst-nb has chosen the form of an output, before Sphinx resolves references.
    default_priority = 8

    def run(self, **_options: Any) -> None:
        entries: dict[str, ledger.Result] = {}
        for output in list(self.document.findall(nodes.raw)):
            if not output.astext().startswith(_REPORT):
                continue
            entries = entries or {entry.key: entry for entry in ledger.all_results()}
            key = re.search(r' data-entry="([^"]+)"', output.astext())
            head = re.search(
                r'(?<=<th )[^>]*data-role="title"[^>]*>([^<]*).*?</th>', output.astext()
            )
            if key and head and key[1] in entries:
                before, after = output.astext()[: head.start(1)], output.astext()[head.end() :]
                title = self._head(entries[key[1]], html.unescape(head[1]))
                ends = [nodes.raw("", text, format="html") for text in (before, f"</th>{after}")]
                output.replace_self(nodes.container("", ends[0], title, ends[1]))

    def _head(self, entry: ledger.Result, title: str) -> nodes.Node:
        """Statement · source: code; where it ran with other arguments, these in between."""
        results = self.app.builder.get_relative_uri(self.env.docname, _RESULTS)
        source = nodes.reference(
            "", entry.title, internal=True, refuri=f"{results}#{_anchor(entry)}"
        )
        parts = [source, nodes.Text(f"{title.removeprefix(entry.title).rstrip()} ")]
        if entry.theorem:
            parts[:0] = [link(self.env, "prf", "ref", entry.theorem), nodes.Text(" · ")]
        name = f"ledger.{entry.chapter}.{entry.name}"
        return nodes.inline("", "", *parts, _code_link(self.app, self.env, entry, name))


def _anchor(entry: ledger.Result) -> str:
    """Where the results map has an entry."""
    return f"{entry.function.__module__}.{entry.function.__name__}"


def _code_link(
    app: Sphinx, env: BuildEnvironment, entry: ledger.Result, text: str
) -> nodes.reference:
    module, name = entry.function.__module__, entry.function.__name__
    page = f"_modules/{module.replace('.', '/')}"
    # Of the builders only those of a site write the pages with the code; others lead there.
    within = app.builder.format == "html" and app.builder.name not in ("epub", "singlehtml")
    if within:
        address = app.builder.get_relative_uri(env.docname, page)
    else:
        address = f"{app.config.html_baseurl}{page}.html"
    code = nodes.literal(text=text)
    return nodes.reference("", "", code, internal=within, refuri=f"{address}#{name}")


def link(
    env: BuildEnvironment, domain: str, kind: str, target: str, text: str | None = None
) -> nodes.Node:
    """A reference from the page that is being written, with its own text or the target's."""
    node = pending_xref(
        "",
        refdomain=domain,
        reftype=kind,
        reftarget=target,
        refexplicit=text is not None,
        refdoc=env.docname,
        refwarn=True,
    )
    node += nodes.inline(text=text or target, classes=["xref", domain, f"{domain}-{kind}"])
    return node


def worth(entry: ledger.Result) -> Iterator[str]:
    """What an entry's measurement is worth, a line each: its evidence, its mutants, and a word on
    an inequality that stays far from its bound.
    """
    if entry.evidence == "sampled":
        seeds = "1 seed" if entry.seeds == 1 else f"{entry.seeds} seeds"
        yield f"sampled, level {entry.level:g}, {seeds}"
    else:
        yield entry.evidence
    kinds = [mutant.kind for mutant in entry.mutants]
    if kinds:
        counts = [f"{kinds.count(kind)} of the {kind}" for kind in ("statement", "code")]
        yield f"mutants: {', '.join(counts)}"
    if entry.loose:
        yield f"loose: {entry.loose}"


def faults(entry: ledger.Result, stated: Sequence[_Row], broken: Sequence[_Row]) -> Iterator[str]:
    """What is wrong with an entry, by its report; the report of one that has none is empty."""
    if not stated:
        yield f"{entry.key} has no report in the chapter {entry.chapter}"
    elif all(map(_holds, broken)):
        yield f"{entry.key} does not fail with its hypothesis broken"
    for row in stated:
        if not _holds(row):
            yield f"{entry.key} does not hold: {row['what']} = {row['measured']} {row['expected']}"


def _reports(
    env: BuildEnvironment, entries: Iterable[ledger.Result]
) -> dict[str, tuple[list[_Row], list[_Row]]]:
    """The reports in the chapters of these entries."""
    reports: dict[str, tuple[list[_Row], list[_Row]]] = {}
    for chapter in {entry.chapter: None for entry in entries}:
        reports |= reported(env.get_doctree(f"book/{chapter}"))
    return reports


def reported(chapter: nodes.document) -> dict[str, tuple[list[_Row], list[_Row]]]:
    """The reports among a chapter's outputs, by their entries' keys: what was measured as stated,
    and what with a hypothesis broken. One with arguments of the reader's own is none.
    """
    reports: dict[str, tuple[list[_Row], list[_Row]]] = {}
    for output in chapter.findall(nodes.raw):
        if output.astext().startswith(_REPORT):
            table = ElementTree.fromstring(output.astext())
            if "data-entry" in table.attrib and not table.get("data-arguments"):
                stated, broken = (_rows(table, run) for run in ("stated", "broken"))
                reports[table.attrib["data-entry"]] = stated, broken
    return reports


def _rows(table: ElementTree.Element, run: str) -> list[_Row]:
    rows = table.iterfind(f"tbody[@data-run='{run}']/tr[@data-what]")
    return [{name.removeprefix("data-"): text for name, text in row.attrib.items()} for row in rows]


def _holds(row: _Row) -> bool:
    return row["holds"] == "true"


def formulas(text: str) -> Iterator[nodes.Node]:
    """A text of the ledger as a page sets it: code, indices and exponents."""
    end = 0
    for found in _SET.finditer(text):
        if found.start() > end:
            yield nodes.Text(text[end : found.start()])
        end = found.end()
        if found["code"]:
            yield nodes.literal(text=found["code"])
            continue
        kind = nodes.superscript if found["mark"] == "^" else nodes.subscript
        yield kind("", "", *formulas(found["braces"] or found["plain"]))
    if end < len(text):
        yield nodes.Text(text[end:])


def _line(*children: nodes.Node) -> nodes.line:
    return nodes.line("", "", *children)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], name: str) -> nodes.container:
    """A table in a box of its own, in which it scrolls where the screen is narrow."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in heads), cols=len(heads))
    group += nodes.thead("", _row(heads))
    group += nodes.tbody("", *map(_row, rows))
    content = nodes.table("", group, classes=["colwidths-auto", name])
    return nodes.container("", content, classes=["course-table"])


def _row(cells: Iterable[Any]) -> nodes.row:
    return nodes.row("", *map(_cell, cells))


def _cell(content: Any) -> nodes.entry:
    children = content if isinstance(content, list) else [content]
    inline = [nodes.Text(child) if isinstance(child, str) else child for child in children]
    if inline and isinstance(inline[0], nodes.line):
        return nodes.entry("", nodes.line_block("", *inline))
    return nodes.entry("", nodes.paragraph("", "", *inline))


def _file_role(
    _name: str, rawtext: str, text: str, _line_number: int, inliner: Any, *_more: Any
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """A link to the ledger's file, at the root of the site."""
    docname = inliner.document.settings.env.docname
    target = "../" * docname.count("/") + _FILE
    return [nodes.reference(rawtext, text, refuri=target, internal=True)], []


def _write_file(app: Sphinx, error: Exception | None) -> None:
    """Write what the results map shows as data."""
    if error is not None or app.builder.format != "html":
        return
    entries = list(ledger.all_results())
    reports = _reports(app.env, entries)
    data = {
        "made": "from the reports in the chapters, as they show them; "
        "python -m ntklab.ledger --json computes every setting with all digits",
        "environment": _record.environment(),
        "results": [
            {**_record.about(entry), **_shown(entry, *reports.get(entry.key, ([], [])))}
            for entry in entries
        ],
    }
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    project.write(Path(app.outdir, _FILE), f"{text}\n")


def _shown(entry: ledger.Result, stated: Sequence[_Row], broken: Sequence[_Row]) -> dict[str, Any]:
    """The rows of a report, under the names that a run of the ledger gives them."""

    def run(arguments: Any, rows: Sequence[_Row]) -> dict[str, Any]:
        checks = [{**row, "holds": _holds(row)} for row in rows]
        return {"arguments": _record.plain(arguments), "checks": checks}

    return {"runs": [run({}, stated)], "broken": run(entry.falsified_by, broken)}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(_Pending)
    app.add_directive("results-map", _ResultsMap)
    app.add_directive("chapter-status", _ChapterStatus)
    app.add_role("ledger-file", _file_role)
    app.add_post_transform(_FillTables)
    app.add_post_transform(_HeadReports)
    app.connect("build-finished", _write_file)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
