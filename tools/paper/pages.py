"""The pages of the site, in their order, as a browser shows them on paper."""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from playwright.sync_api import Page as Tab
from playwright.sync_api import sync_playwright
from project import ROOT, SITE, Obstacle, address, published_site, read

# What turns a formula into text is the book's.
sys.path.append(str(ROOT / "book" / "_ext"))
from statements import plain

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAPER = "paper"  # where the editions lie in the site
HERE = Path(__file__).parent

# A4 with margins of 20 mm, as the style sheet has them, in CSS pixels.
WIDTH, HEIGHT = 642, 970


@dataclass(frozen=True)
class Site:
    """A rendered site: its folder, and its address once it is published."""

    folder: Path
    published: str

    @property
    def address(self) -> str:
        """Where a browser on this machine finds it, with a closing slash."""
        return f"{self.folder.resolve().as_uri()}/"

    def file(self, page: str) -> Path:
        """Where a page lies."""
        return self.folder / f"{page}.html"


@dataclass(frozen=True)
class Heading:
    """A heading of a page: its level, its text, and the anchor of its section."""

    level: int
    text: str
    place: str


@dataclass(frozen=True)
class Prepared:
    """What a page came to: its headings, and by how much its widest formula had to shrink."""

    headings: list[Heading]
    smallest: float


def settings() -> dict[str, str]:
    """What `_config.yml` says of the book: title, author, logo and the like."""
    return yaml.safe_load(read(ROOT / "_config.yml"))


def parts() -> dict[str, str | None]:
    """The pages of the book in their order, such as `book/linearization`, each with its part."""
    toc = yaml.safe_load(read(ROOT / "_toc.yml"))
    pages = {page["file"]: part["caption"] for part in toc["parts"] for page in part["chapters"]}
    return {toc["root"]: None} | pages


def slug() -> str:
    """The name of the whole book's files."""
    return re.sub(r"[^a-z0-9]+", "-", settings()["title"].lower()).strip("-")


def built() -> Site:
    """The site that `make book` has rendered.

    Raises:
        Obstacle: if a page is missing.
    """
    site = Site(SITE, published_site(*address().split("/")[-2:]))
    for page in parts():
        if not site.file(page).exists():
            raise Obstacle(f"{site.file(page)} is missing: run make book first")
    return site


@contextmanager
def browser_tab() -> Iterator[Tab]:
    """A tab of a browser that asks nobody for anything.

    Raises:
        Obstacle: if there is no browser.
    """
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise Obstacle(f"the editions are printed by a browser: none of {', '.join(BROWSERS)}")
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", offline]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.set_default_timeout(300_000)  # milliseconds: a busy machine is slow, not stuck
        tab.emulate_media(media="print")
        yield tab
        browser.close()


def prepared(tab: Tab, site: Site, page: str) -> Prepared:
    """Open a page of the site as it stands on paper.

    Raises:
        Obstacle: if something on it is wider than the paper.
    """
    tab.goto(f"{site.address}{page}.html")
    found = tab.evaluate(read(HERE / "prepare.js"))
    if found["wide"]:
        raise Obstacle(f"{page}: wider than the paper: {'; '.join(found['wide'][:3])}")
    headings = [
        Heading(heading["level"], _without_tex(heading["text"]), heading["place"])
        for heading in found["headings"]
    ]
    return Prepared(headings, found["smallest"])


def _without_tex(text: str) -> str:
    return re.sub(r"\\\((.*?)\\\)", lambda formula: plain(formula[1]), text)
