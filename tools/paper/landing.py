"""The editions that exist, named on the first page of the site.

The page has a place for them, which stays empty in a site without editions.
"""

import re

from project import Obstacle, read, write
from pypdf import PdfReader

from paper.pages import PAPER, Site, parts, slug

_PLACE = re.compile(r'(<div class="course-editions">).*?(</div>)', re.DOTALL)


def name_editions(site: Site) -> None:
    """Put links to the editions that lie in the site on its first page.

    Raises:
        Obstacle: if the page has no place for them.
    """
    first, *others = parts()
    page = read(site.file(first))
    if not _PLACE.search(page):
        raise Obstacle(f"{site.file(first)} has no place for the editions: course-editions")
    content = _links(site, others, "../" * first.count("/") + PAPER)
    write(site.file(first), _PLACE.sub(lambda place: place[1] + content + place[2], page))


def _links(site: Site, others: list[str], folder: str) -> str:
    whole, chapters = [], []
    for name, form in ((f"{slug()}.pdf", "PDF"), (f"{slug()}.epub", "EPUB")):
        path = site.folder / PAPER / name
        if path.exists():
            pages = f"{len(PdfReader(path).pages)} pages, " if form == "PDF" else ""
            size = f"{max(1, round(path.stat().st_size / 1e6))} MB"
            whole.append(f'<a href="{folder}/{name}">{form}</a> ({pages}{size})')
    for page in others:
        name = page.rpartition("/")[2]
        number = re.search(r'<h1><span class="section-number">(\d+)', read(site.file(page)))
        if number and (site.folder / PAPER / f"{name}.pdf").exists():
            label = f"Chapter {number[1]} as PDF"
            link = f'<a href="{folder}/{name}.pdf" aria-label="{label}">{number[1]}</a>'
            chapters.append(link)
    said = [f"the whole book as {' and '.join(whole)}"] if whole else []
    said += [f"chapters as PDF: {', '.join(chapters)}"] if chapters else []
    return f"<p><strong>On paper</strong>: {'; '.join(said)}.</p>" if said else ""
