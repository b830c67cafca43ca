"""An EPUB 3 of the whole book that needs no script: formulas are MathML, what is closed is open."""

import base64
import html
import io
import re
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlparse
from urllib.request import url2pathname

import ntklab
from playwright.sync_api import Page as Tab
from project import read

from paper.pages import HERE, Heading, Site, settings

_TYPES = {
    ".xhtml": "application/xhtml+xml",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class Chapter:
    """A page of the site as a page of an EPUB, and the images on it."""

    name: str
    headings: Sequence[Heading]
    content: str
    images: Mapping[str, bytes]


def names(pages: Sequence[str]) -> dict[str, str]:
    """The names that the pages of the site have in the EPUB."""
    return {page: page.rpartition("/")[2] for page in pages}


def extracted(
    tab: Tab, site: Site, page: str, headings: Sequence[Heading], known: Mapping[str, str]
) -> Chapter:
    """The page that `pages.prepared` has opened."""
    around = {"site": site.address, "published": site.published, "names": dict(known)}
    found = tab.evaluate(read(HERE / "extract.js"), {**around, "name": known[page]})
    images = {name: _image(source) for name, source in found["images"]}
    return Chapter(known[page], headings, found["content"], images)


def _image(source: str) -> bytes:
    if source.startswith("data:"):
        kind, _, data = source.partition(",")
        return base64.b64decode(data) if kind.endswith(";base64") else unquote_to_bytes(data)
    return Path(url2pathname(urlparse(source).path)).read_bytes()


def bound(site: Site, chapters: Sequence[Chapter], parts: Sequence[str | None]) -> bytes:
    """The file: its pages in their order, its contents by parts, and what it is."""
    files: dict[str, str | bytes] = {"style.css": read(HERE / "epub.css")}
    facts = settings()
    title = html.escape(facts["title"])
    about = (
        f"<h1>{title}</h1>\n<p>{html.escape(facts['author'])}</p>\n"
        f'<p>Version {ntklab.__version__}, made from the site <a href="{site.published}">'
        f"{site.published}</a>. Text under CC BY 4.0, code under the BSD 3-Clause licence.</p>"
    )
    files["title.xhtml"] = _page(facts["title"], about)
    files["nav.xhtml"] = _page("Contents", _contents(chapters, parts))
    for chapter in chapters:
        files[f"{chapter.name}.xhtml"] = _page(chapter.headings[0].text, chapter.content)
        files |= chapter.images
    spine = ["title", "nav", *(chapter.name for chapter in chapters)]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        # A reader knows the file by its first bytes, which are not compressed.
        _add(archive, "mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        _add(archive, "META-INF/container.xml", _CONTAINER)
        _add(archive, "book/content.opf", _package(site, files, spine))
        for name, content in files.items():
            _add(archive, f"book/{name}", content)
    return stream.getvalue()


def _add(
    archive: zipfile.ZipFile, name: str, content: str | bytes, how: int = zipfile.ZIP_DEFLATED
) -> None:
    # Every run writes the same bytes: the date of a part says nothing.
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, how)


_CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
  <rootfiles>
    <rootfile full-path="book/content.opf" media-type="application/oebps-package+xml"/>
  </rootfiles>
</container>
"""


def _page(title: str, content: str) -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" \
xml:lang="en">
<head>
<title>{html.escape(title)}</title>
<link rel="stylesheet" type="text/css" href="style.css"/>
</head>
<body>
{content}
</body>
</html>
"""


def _contents(chapters: Sequence[Chapter], parts: Sequence[str | None]) -> str:
    lines = ['<nav epub:type="toc" id="toc">', "<h1>Contents</h1>", "<ol>"]
    part = None
    for chapter, of in zip(chapters, parts, strict=True):
        if of != part:
            lines += ["</ol></li>"] * (part is not None)
            lines.append(f"<li><span>{html.escape(of or '')}</span><ol>")
            part = of
        first, *others = chapter.headings
        lines.append(f'<li><a href="{chapter.name}.xhtml">{html.escape(first.text)}</a>')
        sections = [heading for heading in others if heading.level == 2]
        if sections and first.text[:1].isdigit():
            inner = [
                f'<li><a href="{chapter.name}.xhtml#{heading.place}">'
                f"{html.escape(heading.text)}</a></li>"
                for heading in sections
            ]
            lines += ["<ol>", *inner, "</ol>"]
        lines.append("</li>")
    lines += ["</ol></li>"] * (part is not None)
    return "\n".join([*lines, "</ol>", "</nav>"])


def _package(site: Site, files: Mapping[str, str | bytes], spine: Sequence[str]) -> str:
    """What the file is, what it holds, and in which order it is read."""
    facts = settings()
    items = []
    for name, content in files.items():
        has = [
            kind
            for kind, mark in {"mathml": "<math", "svg": "<svg"}.items()
            if name.endswith(".xhtml") and mark in str(content)
        ]
        has += ["nav"] * (name == "nav.xhtml")
        properties = f' properties="{" ".join(has)}"' if has else ""
        items.append(
            f'<item id="{_identifier(name)}" href="{name}" '
            f'media-type="{_TYPES[Path(name).suffix]}"{properties}/>'
        )
    features = ["alternativeText", "MathML", "readingOrder", "structuralNavigation"]
    modes = ["textual", "visual"]
    meta = [f'<meta property="schema:accessMode">{mode}</meta>' for mode in modes]
    meta += [f'<meta property="schema:accessibilityFeature">{name}</meta>' for name in features]
    identifier = uuid.uuid5(uuid.NAMESPACE_URL, site.published)
    modified = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    newline = "\n    "
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="book" xml:lang="en">
  <metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
    <dc:identifier id="book">urn:uuid:{identifier}</dc:identifier>
    <dc:title>{html.escape(facts["title"])}</dc:title>
    <dc:creator>{html.escape(facts["author"])}</dc:creator>
    <dc:language>en</dc:language>
    <dc:rights>CC BY 4.0</dc:rights>
    <dc:source>{site.published}</dc:source>
    <meta property="dcterms:modified">{modified}</meta>
    <meta property="schema:accessibilityHazard">none</meta>
    {newline.join(meta)}
  </metadata>
  <manifest>
    {newline.join(items)}
  </manifest>
  <spine>
    {newline.join(f'<itemref idref="{_identifier(name)}.xhtml"/>' for name in spine)}
  </spine>
</package>
"""


def _identifier(name: str) -> str:
    return "part-" + re.sub(r"[^\w.-]", "-", unquote(name))
