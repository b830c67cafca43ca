"""PDFs: one of each page of the site, with the page numbers of the book, and the whole book.

A link leads to its place in the same PDF, if that has it, or else to the published site.
"""

import html
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urldefrag

import ntklab
from playwright.sync_api import Page as Tab
from pypdf import PdfReader, PdfWriter
from pypdf.constants import PageLabelStyle
from pypdf.generic import (
    ArrayObject,
    BooleanObject,
    DictionaryObject,
    Fit,
    IndirectObject,
    NameObject,
    NullObject,
    NumberObject,
    TextStringObject,
)

from paper.pages import Heading, Site, settings

# Where a page's anchors are: the sheet, counted from 0, and the place on it from its left and
# bottom edges, in points. The page itself has the empty anchor.
Places = dict[tuple[str, str], tuple[int, float, float]]

_FACE = "9pt 'Liberation Serif', Times, serif"
_TOP = 842.0  # the upper edge of A4 in points


@dataclass(frozen=True)
class Printed:
    """A page of the site on paper; `first` is the number of its first sheet."""

    page: str
    first: int
    headings: Sequence[Heading]
    content: bytes

    @property
    def title(self) -> str:
        """What the page's first heading says."""
        return self.headings[0].text

    @property
    def sheets(self) -> int:
        """How many sheets it takes."""
        return len(self.reader().pages)

    def reader(self) -> PdfReader:
        """The PDF as the browser has made it."""
        return PdfReader(io.BytesIO(self.content))

    def places(self, start: int = 0) -> Places:
        """Where its anchors are if its first sheet is the one at `start`."""
        reader = self.reader()
        sheets = {sheet.indirect_reference: place for place, sheet in enumerate(reader.pages)}
        found: Places = {(self.page, ""): (start, 0.0, _TOP)}
        for name, place in reader.named_destinations.items():
            at = start + sheets[place.raw_get("/Page")]
            left, top = (float(place.get(key, 0) or 0) for key in ("/Left", "/Top"))
            found[self.page, name.removeprefix("/")] = at, left, top
        return found


def printed(tab: Tab, page: str, first: int, headings: Sequence[Heading]) -> Printed:
    """Print a page that `pages.prepared` has opened."""
    book, title = (
        json.dumps(text, ensure_ascii=False) for text in (settings()["title"], headings[0].text)
    )
    tab.add_style_tag(
        content=f"""
        @page {{
          size: A4;
          @top-left {{ content: {book}; font: {_FACE}; }}
          @top-right {{ content: {title}; font: {_FACE}; }}
          @bottom-center {{ content: counter(page); font: {_FACE}; }}
        }}
        @page :first {{ @top-left {{ content: none; }} @top-right {{ content: none; }} }}
        html {{ counter-reset: page {first - 1}; }}
        """
    )
    return Printed(page, first, headings, _print(tab))


def _print(tab: Tab) -> bytes:
    return tab.pdf(prefer_css_page_size=True, print_background=True, tagged=True)


def offprint(site: Site, made: Printed) -> bytes:
    """One page of the site as a PDF of its own."""
    writer = PdfWriter(clone_from=made.reader())
    places = made.places()
    _lead_on(writer, site, made.page, places, range(made.sheets))
    _outline(writer, made, places)
    writer.set_page_label(0, made.sheets - 1, style=PageLabelStyle.DECIMAL, start=made.first)
    return _finished(writer, made.title)


def bound(
    site: Site, tab: Tab, chapters: Sequence[Printed], parts: Mapping[str, str | None]
) -> bytes:
    """The whole book: a title, the contents, and the pages that were printed.

    `parts` names for each page the part of the book that it belongs to, if any.
    """
    front = _front(site, tab, chapters, parts)
    writer, places = PdfWriter(), Places()
    starts = []
    for made in (front, *chapters):
        starts.append(len(writer.pages))
        for sheet in made.reader().pages:
            writer.add_page(sheet)
        places |= made.places(starts[-1])
    parents: dict[str, IndirectObject] = {}
    for start, made in zip(starts, (front, *chapters), strict=True):
        _lead_on(writer, site, made.page, places, range(start, start + made.sheets))
        if made is front:
            continue
        part = parts[made.page]
        if part and part not in parents:
            parents[part] = writer.add_outline_item(title=part, page_number=start)
        _outline(writer, made, places, parents.get(part or ""))
    body = starts[1]
    writer.set_page_label(0, body - 1, style=PageLabelStyle.LOWERCASE_ROMAN)
    writer.set_page_label(body, len(writer.pages) - 1, style=PageLabelStyle.DECIMAL, start=1)
    # The tree of tags does not come along, and what points into it would point nowhere.
    for sheet in writer.pages:
        sheet.pop("/StructParents", None)
        for link in _links(sheet):
            link.pop("/StructParent", None)
    writer.compress_identical_objects()
    return _finished(writer, settings()["title"])


def _links(sheet: DictionaryObject) -> Iterator[DictionaryObject]:
    for annotation in sheet.get("/Annots") or ():
        if annotation.get_object()["/Subtype"] == "/Link":
            yield annotation.get_object()


def _lead_on(
    writer: PdfWriter, site: Site, page: str, places: Places, sheets: Sequence[int]
) -> None:
    """Give every link on these sheets of a page a place in the PDF, or an address for everybody."""
    for number in sheets:
        for link in _links(writer.pages[number]):
            action = link.get("/A", DictionaryObject()).get_object()
            uri = str(action.get("/URI", ""))
            if "/Dest" in link and isinstance(link["/Dest"], str):
                target = page, str(link["/Dest"]).removeprefix("/")
            elif uri.startswith(site.address):
                address, anchor = urldefrag(uri.removeprefix(site.address))
                target = address.removesuffix(".html"), unquote(anchor)
            else:
                continue
            if target in places:
                sheet, left, top = places[target]
                link.pop("/A", None)
                link[NameObject("/Dest")] = ArrayObject(
                    [
                        writer.pages[sheet].indirect_reference,
                        NameObject("/XYZ"),
                        NumberObject(round(left)),
                        NumberObject(round(top)),
                        NullObject(),
                    ]
                )
            elif uri:
                public = site.published + uri.removeprefix(site.address)
                action[NameObject("/URI")] = TextStringObject(public)


def _outline(
    writer: PdfWriter, made: Printed, places: Places, parent: IndirectObject | None = None
) -> None:
    """Add a page's headings to the outline."""
    parents: list[Any] = [parent]
    for heading in made.headings:
        depth = min(heading.level, len(parents))
        sheet, left, top = places.get((made.page, heading.place), places[made.page, ""])
        item = writer.add_outline_item(
            title=heading.text,
            page_number=sheet,
            parent=parents[depth - 1],
            fit=Fit.xyz(left=round(left), top=round(top)),
            is_open=False,
        )
        parents[depth:] = [item]


def _finished(writer: PdfWriter, title: str) -> bytes:
    writer.add_metadata({"/Title": title, "/Author": settings()["author"]})
    root = writer.root_object
    root[NameObject("/Lang")] = TextStringObject("en")
    root[NameObject("/PageMode")] = NameObject("/UseOutlines")
    root[NameObject("/ViewerPreferences")] = DictionaryObject(
        {NameObject("/DisplayDocTitle"): BooleanObject(True)}
    )
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


_FRONT = """<!DOCTYPE html>
<html lang="en">
<title>{title}</title>
<style>
  @page {{
    size: A4;
    margin: 20mm;
    @bottom-center {{ content: counter(page, lower-roman); font: {face}; }}
  }}
  @page :first {{ @bottom-center {{ content: none; }} }}
  body {{ margin: 0; font: 10.5pt/1.45 "Liberation Serif", Times, serif; }}
  .title {{ height: 240mm; padding-top: 60mm; box-sizing: border-box; break-after: page; }}
  h1 {{ margin: 0 0 8mm; font: 600 30pt/1.15 "Liberation Sans", Arial, sans-serif; }}
  h2, h3 {{ font-family: "Liberation Sans", Arial, sans-serif; break-after: avoid; }}
  h3 {{ margin: 1.2em 0 0.3em; font-size: 10.5pt; }}
  p {{ margin: 0 0 0.5em; }}
  a {{ display: flex; gap: 0.5em; color: inherit; text-decoration: none; }}
  .title a {{ display: inline; }}
  a.h2 {{ padding-left: 1.5em; font-size: 9.5pt; }}
  a i {{ flex: 1; border-bottom: 1px dotted #888; margin-bottom: 0.35em; }}
</style>
<div class="title">
  <h1 id="title">{title}</h1>
  <p>{author}</p>
  <p>Version {version} · <a href="{site}">{site}</a></p>
  <p>The pages of that site on paper. Text under CC BY 4.0, code under the BSD 3-Clause licence.</p>
</div>
<h2 id="contents">Contents</h2>
{contents}
"""


def _front(
    site: Site, tab: Tab, chapters: Sequence[Printed], parts: Mapping[str, str | None]
) -> Printed:
    """The title and the contents."""
    lines, part = [], None
    for made in chapters:
        if parts[made.page] != part:
            part = parts[made.page]
            lines.append(f"<h3>{html.escape(part or '')}</h3>")
        places = made.places(made.first)
        # Of what is not numbered the sections are many and short.
        deepest = 2 if made.title[:1].isdigit() else 1
        for heading in made.headings:
            if heading.level <= deepest:
                anchor = heading.place if heading.level > 1 else ""
                number = places.get((made.page, anchor), (made.first,))[0]
                target = f"{site.address}{made.page}.html{'#' * bool(anchor)}{anchor}"
                lines.append(
                    f'<a class="h{heading.level}" href="{target}">{html.escape(heading.text)}'
                    f"<i></i>{number}</a>"
                )
    facts = settings()
    tab.set_content(
        _FRONT.format(
            title=html.escape(facts["title"]),
            author=html.escape(facts["author"]),
            version=ntklab.__version__,
            site=site.published,
            face=_FACE,
            contents="\n".join(lines),
        )
    )
    return Printed("front", 1, [Heading(1, facts["title"], "title")], _print(tab))
