"""What every page of the site has or must not have.

Buttons that open and download the Colab copy, citations with round brackets, descriptions in
plain words, formulas on one line with their punctuation, figures whose letters can be read, and no
script of the theme's live-code feature, which would name a remote address.
"""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import site_address
import sphinxcontrib.bibtex.plugin
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

_DESCRIPTION_LENGTH = 200
_NARROW = 450  # points: what one panel may take
_MATH = "\N{REPLACEMENT CHARACTER}"
# What may stand directly in front of a formula and behind it, and belongs to it.
_OPENING = re.compile(r"[(\[“‘\"'–—-]+$")
_CLOSING = re.compile(r"^[)\]”’\"'.,;:!?…%–—-]+")


def _round_brackets() -> BracketStyle:
    return BracketStyle(left="(", right=")")


@dataclass
class _RoundAuthorYear(AuthorYearReferenceStyle):
    """`{cite:t}` gives Jacot et al. (2018), `{cite:p}` gives (Jacot et al., 2018)."""

    bracket_textual: BracketStyle = field(default_factory=_round_brackets)
    bracket_parenthetical: BracketStyle = field(default_factory=_round_brackets)


class _KeepTogether(SphinxPostTransform):
    """A formula and the punctuation around it, in one box that the style sheet does not break."""

    default_priority = 900
    formats = ("html",)

    def run(self, **_options: Any) -> None:
        for formula in list(self.document.findall(nodes.math)):
            siblings = formula.parent.children
            place = siblings.index(formula)
            around = []
            for neighbour, pattern in ((place - 1, _OPENING), (place + 1, _CLOSING)):
                text = siblings[neighbour] if 0 <= neighbour < len(siblings) else None
                match = pattern.search(text) if isinstance(text, nodes.Text) else None
                around.append(match[0] if match else "")
            left, right = around
            if not left + right:
                continue
            box = nodes.inline("", "", classes=["course-together"])
            formula.replace_self(box)
            box += [part for part in (nodes.Text(left), formula, nodes.Text(right)) if part != ""]
            # By their places: looked up by what it says, a text is the first that says the same.
            if right:
                box.parent[place + 1] = nodes.Text(siblings[place + 1][len(right) :])
            if left:
                box.parent[place - 1] = nodes.Text(siblings[place - 1][: -len(left)])


class _MarkTries(SphinxPostTransform):
    """What the reader is to do looks like it: paragraphs that begin with **Try**."""

    default_priority = 900

    def run(self, **_options: Any) -> None:
        for paragraph in self.document.findall(nodes.paragraph):
            # In front of emphasis MyST puts an empty text.
            first = next((child for child in paragraph.children if child.astext()), None)
            if isinstance(first, nodes.strong) and first.astext() == "Try":
                paragraph["classes"].append("course-try")


class _KeepLegible(SphinxPostTransform):
    """Figures of several panels, in a box that scrolls where the page is too narrow for them."""

    default_priority = 900
    formats = ("html",)

    def run(self, **_options: Any) -> None:
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.env.srcdir, image["uri"])
            if path.suffix == ".svg" and _width(path) > _NARROW:
                box = nodes.container(classes=["course-wide"])
                image.replace_self(box)
                box += image


def _width(drawing: Path) -> float:
    """The width of a drawing in points, or 0 where it names none."""
    found = re.search(r'<svg[^>]*?\swidth="([\d.]+)pt"', drawing.read_text(encoding="utf-8")[:2000])
    return float(found[1]) if found else 0


def _without_live_code(app: Sphinx, _config: Config) -> None:
    for event in ("env-before-read-docs", "doctree-resolved"):
        for listener in list(app.events.listeners[event]):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)


def description(doctree: nodes.document) -> str:
    """The page's first sentences that need no formula, at most 200 characters of them."""
    chosen = ""
    for sentence in _sentences(doctree):
        if _MATH in sentence or len(chosen) + len(sentence) >= _DESCRIPTION_LENGTH:
            if chosen:
                break
            continue
        chosen = f"{chosen} {sentence}".strip()
    return chosen


def _sentences(doctree: nodes.document) -> Iterable[str]:
    for paragraph in doctree.findall(nodes.paragraph):
        if not isinstance(paragraph.parent, nodes.section):
            continue
        plain = paragraph.deepcopy()
        for formula in list(plain.findall(nodes.math)):
            formula.replace_self(nodes.Text(_MATH))
        yield from re.split(r"(?<=[.!?])(?<!al\.)\s+(?=[A-Z])", " ".join(plain.astext().split()))


def _describe(
    app: Sphinx,
    _page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    if doctree is None:
        return
    text = description(doctree) or f"{context['title']}: a page of {app.config.html_title}."
    context["meta"] = {**(context.get("meta") or {}), "og:description": text}
    context["metatags"] += f'<meta name="description" content="{html.escape(text)}" />\n'


def _offer_copy(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    buttons = context["header_buttons"]
    buttons[:] = [button for button in buttons if button.get("label") != "download-buttons"]
    if doctree is None or not str(app.env.doc2path(page)).endswith(".ipynb"):
        return
    download = {
        "type": "link",
        "url": context["pathto"](site_address.copy_path(page), 1),
        "icon": "fas fa-download",
        "tooltip": "Download this chapter as a notebook",
        "label": "download-notebook-button",
    }
    colab = {
        "type": "link",
        "url": site_address.address(app.config).colab(page),
        "text": "Open in Colab",
        "tooltip": "Read, change and run this chapter in Colab",
        "label": "colab-button",
    }
    buttons[:0] = [colab, download]


def _mend_lists(
    _app: Sphinx, pagename: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Make lists of what docutils and viewcode write, for those who hear the page."""
    body = context.get("body", "")
    # A role that WAI-ARIA has withdrawn, on children of a list.
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    if pagename == "_modules/index":  # the modules of a package stand beside it, not in it
        body = body.replace("</li>\n<ul>", "\n<ul>").replace("</ul><li>", "</ul></li>\n<li>")
    context["body"] = body


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    sphinxcontrib.bibtex.plugin.register_plugin(
        "sphinxcontrib.bibtex.style.referencing", "author_year_round", _RoundAuthorYear
    )
    app.add_post_transform(_KeepTogether)
    app.add_post_transform(_MarkTries)
    app.add_post_transform(_KeepLegible)
    app.connect("config-inited", _without_live_code)
    app.connect("html-page-context", _mend_lists)
    # Before the extension that would otherwise describe the page, raw TeX included.
    app.connect("html-page-context", _describe, priority=400)
    # After the theme has laid out its own buttons.
    app.connect("html-page-context", _offer_copy, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
