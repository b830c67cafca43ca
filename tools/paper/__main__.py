"""Make the editions from the rendered site, next to it, and name them on its first page.

`python -m paper pdf|epub`.
"""

import argparse
import sys
from time import perf_counter

from project import run_tool, write

from paper import epub, landing, pages, pdf


def print_book() -> None:
    """Print every page, and bind them."""
    site, parts = pages.built(), pages.parts()
    folder = site.folder / pages.PAPER
    folder.mkdir(exist_ok=True)
    chapters, sheets = [], 0
    with pages.browser_tab() as tab:
        for page in parts:
            start = perf_counter()
            found = pages.prepared(tab, site, page)
            made = pdf.printed(tab, page, sheets + 1, found.headings)
            content = pdf.offprint(site, made)
            write(folder / f"{page.rpartition('/')[2]}.pdf", content)
            chapters.append(made)
            sheets += made.sheets
            shrunk = f", a formula at {found.smallest:.0%}" if found.smallest < 1 else ""
            print(
                f"{page}: {made.sheets} pages, {len(content) / 1e6:.1f} MB, "
                f"{perf_counter() - start:.0f} s{shrunk}",
                flush=True,
            )
        start = perf_counter()
        content = pdf.bound(site, tab, chapters, parts)
    write(folder / f"{pages.slug()}.pdf", content)
    print(f"The book: {sheets} pages, {len(content) / 1e6:.1f} MB, {perf_counter() - start:.0f} s")


def write_epub() -> None:
    """Put every page into the EPUB."""
    site, parts = pages.built(), pages.parts()
    folder = site.folder / pages.PAPER
    folder.mkdir(exist_ok=True)
    known = epub.names(list(parts))
    start, chapters = perf_counter(), []
    with pages.browser_tab() as tab:
        for page in parts:
            found = pages.prepared(tab, site, page)
            chapters.append(epub.extracted(tab, site, page, found.headings, known))
    content = epub.bound(site, chapters, list(parts.values()))
    write(folder / f"{pages.slug()}.epub", content)
    print(f"The EPUB: {len(content) / 1e6:.1f} MB, {perf_counter() - start:.0f} s")


EDITIONS = {"pdf": print_book, "epub": write_epub}


def main() -> int:
    """Make the edition asked for."""
    parser = argparse.ArgumentParser(prog="python -m paper", description=__doc__)
    parser.add_argument("edition", choices=EDITIONS)
    EDITIONS[parser.parse_args().edition]()
    landing.name_editions(pages.built())
    return 0


if __name__ == "__main__":
    sys.exit(run_tool(sys.argv[1] if sys.argv[1:] else "pdf", main))
