"""The PDFs and the EPUB, of a few pages: what stands in them, and that every link leads somewhere.

The site must be built: `make book`.
"""

import io
import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from html import unescape
from urllib.parse import unquote, urldefrag

import pytest
from paper import epub, landing, pages, pdf
from playwright.sync_api import Page as Tab
from problem_sets import gate, master
from project import Obstacle
from pypdf import PdfReader

pytestmark = pytest.mark.site

# A chapter with a player, proofs and solutions, and a page that it refers to.
CHAPTER, OTHER = "book/learning_frequencies", "book/reference/bibliography"
FIRST = 41  # the number of the chapter's first sheet
XHTML = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture(scope="module")
def site() -> pages.Site:
    try:
        return pages.built()
    except Obstacle as obstacle:
        pytest.fail(str(obstacle))


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    if not any(map(shutil.which, pages.BROWSERS)) and not os.environ.get("CI"):
        pytest.skip("no browser on PATH")
    with pages.browser_tab() as tab:
        yield tab


@pytest.fixture(scope="module")
def made(site, tab):
    """The chapter and the other page: as printed, and as they stand in the EPUB."""
    printed, extracted, first = [], [], FIRST
    for page in (CHAPTER, OTHER):
        found = pages.prepared(tab, site, page)
        printed.append(pdf.printed(tab, page, first, found.headings))
        extracted.append(epub.extracted(tab, site, page, found.headings, NAMES))
        first += printed[-1].sheets
    return printed, extracted


NAMES = epub.names([CHAPTER, OTHER])
PARTS = {CHAPTER: "III What is learned first", OTHER: "Reference"}


@pytest.fixture(scope="module")
def chapter(site, made) -> PdfReader:
    return PdfReader(io.BytesIO(pdf.offprint(site, made[0][0])))


@pytest.fixture(scope="module")
def book(site, tab, made) -> PdfReader:
    return PdfReader(io.BytesIO(pdf.bound(site, tab, made[0], PARTS)))


@pytest.fixture(scope="module")
def text(chapter) -> list[str]:
    """What stands on each sheet of the chapter, without spaces."""
    return [_packed(sheet.extract_text()) for sheet in chapter.pages]


@pytest.fixture(scope="module")
def archive(site, made) -> zipfile.ZipFile:
    content = epub.bound(site, made[1], list(PARTS.values()))
    return zipfile.ZipFile(io.BytesIO(content))


def _packed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _links(reader: PdfReader) -> list[dict]:
    annotations = (note.get_object() for page in reader.pages for note in page.get("/Annots") or ())
    return [note for note in annotations if note["/Subtype"] == "/Link"]


def _titles(outline: list) -> list[str]:
    found = []
    for item in outline:
        found += _titles(item) if isinstance(item, list) else [item.title]
    return found


# PDF


def test_every_sheet_has_the_number_that_the_book_gives_it(chapter, text):
    assert len(text) > 10
    assert chapter.page_labels == [str(FIRST + place) for place in range(len(text))]
    assert all(str(FIRST + place) in sheet for place, sheet in enumerate(text))
    # The foot of a sheet is its number and nothing else.
    last = chapter.pages[-1].extract_text().strip().splitlines()
    assert str(FIRST + len(text) - 1) in last


def test_the_outline_has_every_heading_and_leads_to_it(chapter, made, text):
    headings = made[0][0].headings
    assert len(headings) > 5
    assert _titles(chapter.outline) == [heading.text for heading in headings]
    assert not any("\\" in heading.text for heading in headings)
    places = [chapter.get_destination_page_number(item) for item in _flat(chapter.outline)]
    assert places == sorted(places) and places[0] == 0 and places[-1] > 5
    assert chapter.metadata.title == headings[0].text


def _flat(outline: list) -> Iterator:
    for item in outline:
        yield from _flat(item) if isinstance(item, list) else [item]


@pytest.mark.parametrize("box", ["Proof", "Solution to Exercise", "Hint", "Symbols"])
def test_what_is_closed_on_the_page_is_open_on_paper(site, text, box):
    html = site.file(CHAPTER).read_text(encoding="utf-8")
    closed = re.findall(rf'sd-summary-text">{box}.*?</summary>(.*?)</details>', html, re.DOTALL)
    # The longest stretch without a formula or a link.
    parts = re.split(r"<span class=.math.*?</span>|<.*?>|–|-", closed[-1])
    sentence = max((_packed(unescape(part)) for part in parts), key=len)
    assert len(sentence) > 15
    assert sentence in "".join(text)


def test_a_player_is_its_frames_with_the_values_of_its_handles(site, text):
    html = site.file(CHAPTER).read_text(encoding="utf-8")
    for player in re.findall(r'<div class="ntk-player".*?</script>', html, re.DOTALL):
        labels = re.findall(r'<img class="ntk-frame[^>]*? alt="([^"]*)"', player)
        texts = [json.loads(unescape(found)) for found in re.findall(r'data-texts="(.*?)"', player)]
        shown = [label for label in labels if _packed(unescape(label)) in "".join(text)]
        assert 2 <= len(shown) <= 6
        # The middle of every handle is seen, and of the first both ends.
        middles = [values[len(values) // 2] for values in texts]
        for value in (texts[0][0], texts[0][-1], *(middles if len(texts) > 1 else [])):
            assert any(value in unescape(label) for label in shown), value


def test_all_fonts_are_embedded(chapter, book):
    for reader in (chapter, book):
        fonts = [
            font.get_object()
            for page in reader.pages
            for font in page["/Resources"].get("/Font", {}).values()
        ]
        assert len(fonts) > 20
        for font in fonts:
            if font["/Subtype"] == "/Type3":
                continue
            (inner,) = font.get("/DescendantFonts", [font])
            about = inner.get_object()["/FontDescriptor"]
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(about), font["/BaseFont"]


def test_a_chapters_links_lead_within_it_or_to_the_published_site(site, chapter):
    places = set(chapter.named_destinations)
    kinds = {"within": 0, "site": 0}
    for link in _links(chapter):
        if "/A" in link:
            address = link["/A"]["/URI"]
            assert address.startswith(("https://", "http://")), address
            kinds["site"] += address.startswith(f"{site.published}book/")
        else:
            kinds["within"] += 1
            assert isinstance(link["/Dest"], list) or link["/Dest"] in places
    assert all(count > 5 for count in kinds.values()), kinds


def test_in_the_book_links_between_its_pages_are_its_own(site, book, made):
    front = len(book.pages) - sum(printed.sheets for printed in made[0])
    assert book.page_labels[front] == "1" and book.page_labels[0] == "i"
    sheets = {page.indirect_reference: place for place, page in enumerate(book.pages)}
    to_the_sources = 0
    for place, page in enumerate(book.pages):
        for note in page.get("/Annots") or ():
            link = note.get_object()
            if "/Dest" in link:
                target = sheets[link["/Dest"][0]]
                to_the_sources += place < front + made[0][0].sheets <= target
            else:
                address = link["/A"]["/URI"]
                inside = [f"{site.published}{name}.html" for name in (CHAPTER, OTHER)]
                assert urldefrag(address)[0] not in inside, address
    # From the contents and from the chapter.
    assert to_the_sources > 5
    titles = _titles(book.outline)
    assert {*PARTS.values(), *(printed.title for printed in made[0])} <= set(titles)


@pytest.fixture
def small(site, tmp_path):
    """Makes a site of one page with the real style and formulas."""

    def build(body: str) -> pages.Site:
        static = (site.folder / "_static").as_uri()
        (tmp_path / "page.html").write_text(
            f"""<!DOCTYPE html><html data-theme="dark"><head>
            <link rel="stylesheet" href="{static}/styles/pydata-sphinx-theme.css">
            <link rel="stylesheet" href="{static}/course.css">
            <script src="{static}/mathjax/tex-chtml.js"></script>
            <script src="{static}/course.js"></script></head>
            <body><main class="bd-main"><div class="bd-content"><div class="bd-article-container">
            <article class="bd-article"><section id="page"><h1>Page</h1>{body}</section></article>
            </div></div></main></body></html>""",
            encoding="utf-8",
        )
        return pages.Site(tmp_path, "https://somebody.github.io/course/")

    return build


WIDE = r"\[ " + " + ".join(f"x_{{{k}}}" for k in range(40)) + r" \]"


def test_a_wide_formula_shrinks_to_the_paper(tab, small):
    found = pages.prepared(tab, small(f'<div class="math">{WIDE}</div>'), "page")
    assert 0.3 < found.smallest < 0.6
    box, room = (tab.locator(name).bounding_box() for name in ("mjx-container mjx-math", "article"))
    assert room["x"] <= box["x"] and box["x"] + box["width"] <= room["x"] + room["width"]


def test_what_cannot_shrink_is_named(tab, small):
    body = '<div style="width: 900px">Too wide.</div>'
    with pytest.raises(Obstacle, match=r"page: wider than the paper: DIV Too wide\."):
        pages.prepared(tab, small(body), "page")


def test_long_code_is_broken_and_a_wide_table_gets_smaller(tab, small):
    cells = "".join(f"<td>{'letters' * 4}</td>" for _ in range(7))
    body = (
        f'<div class="highlight"><pre>{"long_name_" * 30}</pre></div>'
        f'<div class="course-table"><table class="table"><tr>{cells}</tr></table></div>'
    )
    pages.prepared(tab, small(body), "page")
    size = tab.locator("td").first.evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
    assert 5 < size < 12


def test_paper_is_white_also_from_a_dark_page(tab, small):
    tab.goto(f"{small('Text.').address}page.html")
    color = "getComputedStyle(document.documentElement).getPropertyValue('--course-statement')"
    before = tab.evaluate(color)
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(color) == "#f6f8fa" != before
    tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(color) == before


# EPUB


def test_an_epub_begins_as_its_readers_expect(archive):
    first = archive.infolist()[0]
    assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
    assert archive.read(first) == b"application/epub+zip"
    container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
    (root,) = container.iter("{urn:oasis:names:tc:opendocument:xmlns:container}rootfile")
    assert root.get("full-path") == "book/content.opf"


def _package(archive) -> ElementTree.Element:
    return ElementTree.fromstring(archive.read("book/content.opf"))


def test_the_manifest_has_every_file_and_says_what_it_needs(archive):
    opf = "{http://www.idpf.org/2007/opf}"
    package = _package(archive)
    items = {item.get("href"): item for item in package.iter(f"{opf}item")}
    files = {name.removeprefix("book/") for name in archive.namelist()}
    assert set(items) == files - {"mimetype", "META-INF/container.xml", "content.opf"}
    identifiers = [item.get("id") for item in items.values()]
    assert len(set(identifiers)) == len(identifiers)
    spine = [item.get("idref") for item in package.iter(f"{opf}itemref")]
    assert spine == [items[f"{name}.xhtml"].get("id") for name in ("title", "nav", *NAMES.values())]
    for name, item in items.items():
        if name.endswith(".xhtml"):
            content = archive.read(f"book/{name}").decode()
            needed = {kind for kind in ("math", "svg") if f"<{kind}" in content}
            stated = set((item.get("properties") or "").replace("mathml", "math").split())
            assert stated == needed | ({"nav"} if name == "nav.xhtml" else set()), name
    for wanted in ("identifier", "title", "language"):
        assert package.find(f".//{{http://purl.org/dc/elements/1.1/}}{wanted}").text


def _pages(archive) -> dict[str, ElementTree.Element]:
    """The pages, which are XML."""
    return {
        name.removeprefix("book/"): ElementTree.fromstring(archive.read(name))
        for name in archive.namelist()
        if name.endswith(".xhtml")
    }


def test_every_link_and_image_of_an_epub_is_there(site, archive):
    found = _pages(archive)
    names = {
        page: [element.get("id") for element in root.iter() if element.get("id")]
        for page, root in found.items()
    }
    inside = 0
    for page, root in found.items():
        assert len(set(names[page])) == len(names[page]), f"{page} gives a name twice"
        for link in root.iter(f"{XHTML}a"):
            target, anchor = urldefrag(unquote(link.get("href", "")))
            if target.startswith(("http://", "https://")):
                assert target.removeprefix(site.published) not in [
                    f"{name}.html" for name in (CHAPTER, OTHER)
                ]
                continue
            assert not anchor or anchor in names[target or page], f"{page}: {target}#{anchor}"
            inside += bool(target) and target != page and page != "nav.xhtml"
        for image in root.iter(f"{XHTML}img"):
            assert f"book/{image.get('src')}" in archive.namelist()
            assert image.get("alt")
    assert inside > 5


def test_the_contents_of_an_epub_lead_through_it(archive, made):
    links = list(_pages(archive)["nav.xhtml"].iter(f"{XHTML}a"))
    titles = ["".join(link.itertext()) for link in links]
    chapter = [heading.text for heading in made[1][0].headings if heading.level < 3]
    assert titles == [*chapter, made[1][1].headings[0].text]


def test_an_epub_needs_no_script_to_show_formulas(archive):
    page = archive.read(f"book/{NAMES[CHAPTER]}.xhtml").decode()
    assert not re.search(r"<(script|button|input|select|details|mjx-|style)\b|\\\(|data:", page)
    formulas = list(_pages(archive)[f"{NAMES[CHAPTER]}.xhtml"].iter())
    math = "{http://www.w3.org/1998/Math/MathML}"
    assert sum(element.tag == f"{math}math" for element in formulas) > 100
    # Letters are what they look like: most readers know no variants but the upright one.
    assert {element.get("mathvariant") for element in formulas if element.tag.startswith(math)} <= {
        None,
        "normal",
    }
    assert not any("error" in element.tag for element in formulas)


@pytest.mark.parametrize("box", ["Proof", "Solution to Exercise", "Hint", "Symbols"])
def test_what_is_closed_on_the_page_is_open_in_an_epub(archive, box):
    page = archive.read(f"book/{NAMES[CHAPTER]}.xhtml").decode()
    assert re.search(rf'class="opened">(\s|<[^>]*>)*{box}', page)
    assert "</details>" not in page


# What students must not see


@pytest.mark.parametrize("form", ["pdf", "epub"])
def test_the_gate_looks_into_every_edition(tab, small, tmp_path, form):
    site = small(f"<p>Between words: {master.CANARY}.</p>")
    found = pages.prepared(tab, site, "page")
    if form == "pdf":
        content = pdf.offprint(site, pdf.printed(tab, "page", 1, found.headings))
    else:
        known = {"page": "page"}
        page = epub.extracted(tab, site, "page", found.headings, known)
        content = epub.bound(site, [page], [None])
    edition = tmp_path / f"edition.{form}"
    edition.write_bytes(content)
    if form == "pdf" and shutil.which("pdftotext") is None:
        with pytest.raises(Obstacle, match="pdftotext must be installed"):
            list(gate.findings([edition], []))
    else:
        assert any("the canary" in finding for finding in gate.findings([edition], []))


# The first page


def test_the_first_page_names_the_editions_that_exist(site, tmp_path, made):
    place = '<p>Before.</p><div class="course-editions"></div><p>After.</p>'
    copy = pages.Site(tmp_path, site.published)
    for page in pages.parts():
        copy.file(page).parent.mkdir(parents=True, exist_ok=True)
        heading = f'<h1><span class="section-number">7. </span>{page}</h1>'
        copy.file(page).write_text(heading + place, encoding="utf-8")
    first = copy.file(next(iter(pages.parts())))
    landing.name_editions(copy)
    assert place in first.read_text(encoding="utf-8")
    folder = tmp_path / pages.PAPER
    folder.mkdir()
    for name in (f"{pages.slug()}.pdf", f"{NAMES[CHAPTER]}.pdf"):
        (folder / name).write_bytes(made[0][1].content)
    for _ in range(2):
        landing.name_editions(copy)
    text = first.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]*)"', text)
    assert links == [f"../paper/{pages.slug()}.pdf", f"../paper/{NAMES[CHAPTER]}.pdf"]
    assert all((first.parent / link).is_file() for link in links)
    assert text.endswith("<p>After.</p>") and f"({made[0][1].sheets} pages, " in text
    first.write_text("<p>Before.</p>", encoding="utf-8")
    with pytest.raises(Obstacle, match="no place for the editions"):
        landing.name_editions(copy)


def test_the_first_page_has_a_place_for_the_editions(site):
    first = site.file(next(iter(pages.parts())))
    assert '<div class="course-editions">' in first.read_text(encoding="utf-8")
