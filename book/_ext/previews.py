"""What a reference refers to, shown where the reference stands.

A page opened from a disk may load scripts and nothing else. So each page whose statements,
exercises, equations, figures or sources are referred to gets a script under `previews/` that hands
them to `_static/previews.js`, and a page loads it when a reader points at a reference.
"""

import json
import posixpath
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import project
from bs4 import BeautifulSoup, Tag
from bs4.filter import SoupStrainer
from docutils import nodes
from sphinx.application import Sphinx

_SHOWN = "div.proof, div.exercise, div.math, figure, div.citation"
# Nobody can reach a handle in what closes when one leaves it; nor is it a statement's own.
_LEFT_OUT = "details, button, script, style, .headerlink, .course-neighbours"


def _write(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.format != "html" or app.builder.name == "epub":
        return
    pages = {
        page: BeautifulSoup(text, "html.parser", parse_only=SoupStrainer("article"))
        for page, text in _pages(Path(app.outdir))
    }
    wanted = defaultdict(set)
    for page, article in pages.items():
        for target, anchor in _references(page, article):
            wanted[target].add(anchor)
    for page in sorted(wanted.keys() & pages.keys()):
        shown = {
            anchor: _preview(page, element)
            for anchor in sorted(wanted[page])
            if (element := pages[page].find(id=anchor)) and _is_shown(element)
        }
        if shown:
            script = Path(app.outdir, "previews", page).with_suffix(".js")
            script.parent.mkdir(parents=True, exist_ok=True)
            content = f"showPreviews({json.dumps(page)}, {json.dumps(shown)});\n"
            project.write(script, content)


def _pages(site: Path) -> Iterator[tuple[str, str]]:
    """The pages of the book by their addresses within the site."""
    for path in sorted(site.glob("book/**/*.html")):
        yield path.relative_to(site).as_posix(), path.read_text(encoding="utf-8")


def _references(page: str, article: BeautifulSoup) -> Iterator[tuple[str, str]]:
    """Pages and anchors that the references of a page lead to."""
    for link in article.select("a.reference.internal[href*='#']"):
        target, anchor = urldefrag(urljoin(page, str(link["href"])))
        yield target, unquote(anchor)


def _is_shown(element: Tag) -> bool:
    return element.css.match(_SHOWN)


def _preview(page: str, element: Tag) -> str:
    """An element as it can stand on any page: without names, links and handles of its own.

    Addresses are written from the root of the site.
    """
    (copy,) = BeautifulSoup(str(element), "html.parser").contents
    assert isinstance(copy, Tag)
    for part in copy.select(_LEFT_OUT):
        part.decompose()
    for link in copy.select("a"):
        link.unwrap()
    for part in [copy, *copy.find_all(True)]:
        del part["id"]
        if part.name == "img":
            part["src"] = posixpath.normpath(urljoin(page, str(part["src"])))
    return str(copy)


def _expect_formulas(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let every page that shows previews load what typesets them."""
    if next(doctree.findall(nodes.reference), None):
        app.env.get_domain("math").data["has_equations"][docname] = True


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", _expect_formulas)
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
