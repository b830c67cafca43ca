"""A copy of every chapter that plain Colab can show, written when the site is finished.

Colab renders Markdown and TeX but no directive, citation, cross-reference or macro. The copy is
therefore written from the page as Sphinx resolved it: statements under bold numbered heads,
equations with their tags, proofs, hints and solutions in `<details>`, references as text with
absolute links. Code cells are the chapter's own, without their outputs.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import nbformat
import project
import site_address
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx_design.dropdown import dropdown_main
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node, solution_node
from sphinx_proof.nodes import NODE_TYPES

_STATEMENTS = tuple(NODE_TYPES.values())
_SILENT = (
    nodes.comment,
    nodes.target,
    nodes.system_message,
    nodes.substitution_definition,
    nodes.meta,
    addnodes.index,
)
_TRANSPARENT = (nodes.compound, nodes.container, nodes.legend)
_EMPHASIS = {
    nodes.emphasis: ("*", "*"),
    nodes.title_reference: ("*", "*"),
    nodes.strong: ("**", "**"),
    nodes.subscript: ("<sub>", "</sub>"),
    nodes.superscript: ("<sup>", "</sup>"),
    nodes.footnote_reference: ("<sup>", "</sup>"),
}
# What a reader must never see: a directive or a role that was not resolved.
_RAW_MARKUP = re.compile(r":{3,}|`{3,}\{|\{(?:prf:|py:)?(?:ref|numref|eq|doc|cite\S*|func|mod)\}`")


class _Page:
    """Writes the resolved nodes of one page as Markdown."""

    def __init__(self, app: Sphinx, docname: str) -> None:
        self.env = app.env
        self.builder = app.builder
        self.docname = docname
        self.address = urljoin(site_address.address(app.config).site, f"{docname}.html")
        self.macros: Mapping[str, Any] = app.config.mathjax3_config["tex"].get("macros", {})

    # Blocks

    def blocks(self, children: Iterable[nodes.Node]) -> str:
        return "\n\n".join(text for node in children if (text := self.block(node)))

    def block(self, node: nodes.Node) -> str:
        if isinstance(node, _SILENT):
            return ""
        if isinstance(node, (*_STATEMENTS, exercise_node, exercise_enumerable_node)):
            return self._statement(node)
        if isinstance(node, solution_node):
            return self._details(node.children[0], node.children[1:])
        if isinstance(node, dropdown_main):
            return self._details(node.children[0].children[0], node.children[1:])
        for kind, write in self._writers().items():
            if isinstance(node, kind):
                return write(node)
        raise self._unknown(node)

    def _writers(self) -> dict[Any, Callable[[Any], str]]:
        return {
            nodes.paragraph: lambda node: self.inlines(node.children),
            nodes.math_block: self._equation,
            nodes.literal_block: lambda node: (
                f"```{node.get('language', '')}\n{node.astext().rstrip()}\n```"
            ),
            nodes.bullet_list: lambda node: self._list(node, lambda place: "- "),
            nodes.enumerated_list: lambda node: self._list(
                node, lambda place: f"{node.get('start', 1) + place}. "
            ),
            nodes.definition_list: self._definitions,
            nodes.block_quote: lambda node: _prefixed(self.blocks(node.children), "> "),
            nodes.table: self._table,
            nodes.footnote: self._footnote,
            nodes.figure: lambda node: f"{self._image(node.children[0])}\n\n{self.caption(node)}",
            nodes.image: self._image,
            nodes.rubric: lambda node: f"**{self.inlines(node.children)}**",
            nodes.transition: lambda node: "---",
            nodes.Admonition: self._admonition,
            _TRANSPARENT: lambda node: self.blocks(node.children),
        }

    def heading(self, title: nodes.title, depth: int) -> str:
        section = title.parent
        anchor = "" if depth == 1 else f"#{section['ids'][0]}"
        number = self.env.toc_secnumbers.get(self.docname, {}).get(anchor)
        prefix = ".".join(map(str, number)) + " " if number else ""
        return f"{'#' * depth} {prefix}{self.inlines(title.children)}"

    def caption(self, figure: nodes.figure) -> str:
        """The caption of a figure that a code cell draws, to stand under that cell."""
        texts = [self.inlines(node.children) for node in figure.findall(nodes.caption)]
        return f"**Figure {self.number('figure', figure['ids'][0])}.** {' '.join(texts)}"

    def number(self, kind: str, anchor: str) -> str:
        """The number the book gives a figure, statement, exercise or equation."""
        numbers = self.env.toc_fignumbers.get(self.docname, {}).get(kind, {})
        return ".".join(map(str, numbers.get(anchor, ())))

    def _statement(self, node: Any) -> str:
        exercise = isinstance(node, (exercise_node, exercise_enumerable_node))
        kind = "exercise" if exercise else node["countertype"]
        name = "Exercise" if exercise else node["realtype"].title()
        head = f"**{name} {self.number(kind, node['ids'][0])}**".replace(" **", "**")
        title, *content = node.children
        return f"{head}{self.inlines(title.children)}.\n\n{self._contents(content)}"

    def _contents(self, children: Iterable[nodes.Node]) -> str:
        """The blocks of a directive, whose content Sphinx wraps in a section without title."""
        flat = [
            block
            for child in children
            for block in (child.children if isinstance(child, nodes.section) else [child])
        ]
        return self.blocks(flat)

    def _details(self, title: nodes.Node, content: Iterable[nodes.Node]) -> str:
        summary = title.astext()
        if isinstance(title.parent, solution_node):
            exercise = title.parent["target_label"]
            summary = f"Solution to Exercise {self.number('exercise', exercise)}"
        body = self._contents(content)
        return f"<details>\n<summary><b>{summary}</b></summary>\n\n{body}\n\n</details>"

    def _admonition(self, node: nodes.Element) -> str:
        if isinstance(node.children[0], nodes.title):
            title, *content = node.children
            return f"**{self.inlines(title.children)}.**\n\n{self._contents(content)}"
        return f"**{node.tagname.title()}.** {self._contents(node.children)}"

    def _equation(self, node: nodes.math_block) -> str:
        tex = self.tex(node.astext().strip())
        if not node.get("no-wrap", node.get("nowrap")) and r"\\" in tex:
            tex = rf"\begin{{split}}{tex}\end{{split}}"
        if node.get("label"):
            tex += rf" \tag{{{self.number('displaymath', node['ids'][0])}}}"
        return f"$$\n{tex}\n$$"

    def _list(self, node: nodes.Element, bullet: Callable[[int], str]) -> str:
        items = []
        for place, item in enumerate(node.children):
            mark = bullet(place)
            text = self.blocks(item.children)
            items.append(mark + _prefixed(text, " " * len(mark)).lstrip(" "))
        return "\n".join(items)

    def _definitions(self, node: nodes.definition_list) -> str:
        parts = []
        for item in node.children:
            for child in item.children:
                if isinstance(child, nodes.term):
                    parts.append(f"**{self.inlines(child.children)}**")
                else:
                    parts.append(self.blocks(child.children))
        return "\n\n".join(parts)

    def _table(self, node: nodes.table) -> str:
        rows = [
            [" ".join(self.blocks(entry.children).split()) for entry in row.children]
            for row in node.findall(nodes.row)
        ]
        head, *body = rows
        lines = [head, ["---"] * len(head), *body]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

    def _footnote(self, node: nodes.footnote) -> str:
        label, *content = node.children
        return f"<sup>{label.astext()}</sup> {self.blocks(content)}"

    def _image(self, node: nodes.image) -> str:
        name = self.builder.images.get(node["uri"], posixpath.basename(node["uri"]))
        source = urljoin(self.address, posixpath.join(self.builder.imgpath, name))
        return f"![{node.get('alt', '')}]({source})"

    # Inline text

    def inlines(self, children: Iterable[nodes.Node]) -> str:
        return "".join(map(self.inline, children))

    def inline(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.Text):
            return _escaped(node.astext())
        if isinstance(node, nodes.math):
            return f"${self.tex(node.astext())}$"
        if isinstance(node, nodes.literal):
            return _code(node.astext())
        if isinstance(node, nodes.reference):
            return self._link(node)
        if isinstance(node, nodes.image):
            return self._image(node)
        if isinstance(node, nodes.inline):
            return self.inlines(node.children)
        if isinstance(node, nodes.math_block):
            return f"\n\n{self._equation(node)}\n\n"
        if isinstance(node, _SILENT):
            return ""
        for kind, (left, right) in _EMPHASIS.items():
            if isinstance(node, kind):
                return left + self.inlines(node.children) + right
        raise self._unknown(node)

    def _link(self, node: nodes.reference) -> str:
        target = node.get("refuri") or f"#{node['refid']}"
        return f"[{self.inlines(node.children)}]({urljoin(self.address, target)})"

    def tex(self, source: str) -> str:
        return expand_macros(source, self.macros)

    def _unknown(self, node: nodes.Node) -> ExtensionError:
        return ExtensionError(
            f"{self.docname}: the Colab copy has no form for {type(node).__name__}: "
            f"{node.astext()[:80]!r}"
        )


def expand_macros(source: str, macros: Mapping[str, Any]) -> str:
    """Write the page's macros out, since Colab knows none of them."""
    for _ in range(10):
        expanded = re.sub(r"\\([A-Za-z]+)", lambda match: _marked(match, macros), source)
        if expanded == source:
            return source
        source = _fill_arguments(expanded, macros)
    raise ExtensionError(f"the macros of _config.yml never end in {source!r}")


def _marked(match: re.Match[str], macros: Mapping[str, Any]) -> str:
    definition = macros.get(match[1])
    if definition is None:
        return match[0]
    # A space keeps a macro's last letters apart from the letter that follows it.
    return f"{definition} " if isinstance(definition, str) else f"\0{match[1]}\0"


def _fill_arguments(source: str, macros: Mapping[str, Any]) -> str:
    while (start := source.rfind("\0", 0, source.rfind("\0"))) >= 0:
        end = source.index("\0", start + 1)
        body, count = macros[source[start + 1 : end]]
        position = end + 1
        for place in range(1, count + 1):
            argument, position = _argument(source, position)
            body = body.replace(f"#{place}", argument)
        source = f"{source[:start]}{body} {source[position:]}"
    return source


def _argument(source: str, position: int) -> tuple[str, int]:
    """The group or single token at `position`, and where it ends."""
    position += len(source[position:]) - len(source[position:].lstrip())
    if source[position : position + 1] != "{":
        token = re.compile(r"\\[A-Za-z]+|\\.|.").match(source, position)
        if token is None:
            raise ExtensionError(f"a macro lacks an argument in {source!r}")
        return token[0], token.end()
    depth = 0
    for place in range(position, len(source)):
        escaped = place > 0 and source[place - 1] == "\\"
        depth += 0 if escaped else {"{": 1, "}": -1}.get(source[place], 0)
        if depth == 0:
            return source[position + 1 : place], place + 1
    raise ExtensionError(f"a brace is not closed in {source!r}")


def _escaped(text: str) -> str:
    """Text whose characters must not become Markdown; brackets and dollars would become TeX."""
    text = re.sub(r"([\\*_`|])", r"\\\1", text)
    for character, entity in (("<", "&lt;"), ("[", "&#91;"), ("]", "&#93;"), ("$", "&#36;")):
        text = text.replace(character, entity)
    return text


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def _prefixed(text: str, prefix: str) -> str:
    return "\n".join(f"{prefix}{line}".rstrip() for line in text.split("\n"))


def _pieces(page: _Page, parent: nodes.Element, depth: int = 0) -> Iterator[str | int]:
    """The page in order: Markdown, and for a code cell its place in the notebook."""
    for node in parent.children:
        if isinstance(node, nodes.section):
            yield from _pieces(page, node, depth + 1)
        elif isinstance(node, nodes.title):
            yield page.heading(node, depth)
        elif isinstance(node, nodes.container) and node.get("nb_element") == "cell_code":
            yield int(node["cell_index"])
            yield from map(page.caption, node.findall(nodes.figure))
        elif text := page.block(node):
            yield text


def _cells(pieces: Iterable[str | int], source: Any) -> Iterator[Any]:
    """Markdown cells, a new one at every heading, between the notebook's own code cells.

    Cells that the page leaves out (the set-up) keep their place among the code cells.
    """
    code = [index for index, cell in enumerate(source.cells) if cell.cell_type == "code"]
    paragraphs: list[str] = []

    def text() -> Iterator[Any]:
        if paragraphs:
            yield nbformat.v4.new_markdown_cell("\n\n".join(paragraphs))
            paragraphs.clear()

    for piece in pieces:
        if isinstance(piece, str):
            if piece.startswith("#"):
                yield from text()
            paragraphs.append(piece)
            continue
        yield from text()
        while code and code[0] <= piece:
            yield _code_cell(source.cells[code.pop(0)])
    yield from text()
    yield from (_code_cell(source.cells[index]) for index in code)


def _code_cell(cell: Any) -> Any:
    tags = set(cell.metadata.get("tags", []))
    metadata: dict[str, Any] = {"tags": sorted(tags)} if tags else {}
    if tags & {"remove-cell", "remove-input", "hide-input", "hide-cell"}:
        metadata |= {"cellView": "form", "jupyter": {"source_hidden": True}}
    return nbformat.v4.new_code_cell(cell.source, metadata=metadata)


def _notebook(app: Sphinx, docname: str) -> Any:
    page = _Page(app, docname)
    doctree = app.env.get_and_resolve_doctree(docname, app.builder)
    source = nbformat.read(app.env.doc2path(docname), as_version=4)
    cells = list(_cells(_pieces(page, doctree), source))
    cells[0].source += (
        f"\n\n*A chapter of [{app.config.html_title}]({site_address.address(app.config).site}); "
        f"[this page there]({page.address}).*"
    )
    for place, cell in enumerate(cells):
        cell.id = f"cell-{place}"
        _require_clean(docname, cell)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "colab": {"provenance": [], "toc_visible": True}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def _require_clean(docname: str, cell: Any) -> None:
    raw = _RAW_MARKUP.search(cell.source) if cell.cell_type == "markdown" else None
    if raw:
        raise ExtensionError(
            f"{docname}: raw markup {raw[0]!r} in the Colab copy, near "
            f"{cell.source[max(raw.start() - 40, 0) : raw.end() + 40]!r}"
        )


def _write_copies(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    for docname in sorted(app.env.found_docs):
        if not str(app.env.doc2path(docname)).endswith(".ipynb"):
            continue
        path = Path(app.outdir, site_address.copy_path(docname))
        path.parent.mkdir(parents=True, exist_ok=True)
        project.write(path, nbformat.writes(_notebook(app, docname)) + "\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", _write_copies)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
