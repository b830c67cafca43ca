"""The rendered site in a real browser, with the network blocked.

One pass opens every page, looks at it at two widths, in light and in dark, and collects what is
wrong; each kind of finding is then a test of its own. The site must be built: `make book`.
"""

import functools
import html
import http.server
import json
import os
import re
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from paper.pages import BROWSERS
from playwright.sync_api import (
    Browser,
    ElementHandle,
    Locator,
    Page,
    Request,
    ViewportSize,
    sync_playwright,
)
from problem_sets import gate, master

pytestmark = pytest.mark.site

SITE = Path(__file__).parents[1] / "_build" / "html"
DESK, TELEPHONE = (1280, 900), (390, 844)  # in CSS pixels
# From one view to the next either the width or the mode changes: laying out a page full of formulas
# anew takes most of the time.
VIEWS = ((DESK, "light"), (DESK, "dark"), (TELEPHONE, "dark"), (TELEPHONE, "light"))

KINDS = {
    "request": "pages must load nothing from elsewhere",
    "console": "pages must not report errors",
    "heading": "a page has one first-level heading",
    "markup": "no directive, role or TeX delimiter may be left in the text",
    "equation": "every formula is typeset",
    "together": "no line breaks between a formula and its punctuation",
    "number": "every labelled equation shows its number",
    "glyph": "no replacement character, no font that failed to load",
    "image": "every image loads and has a text alternative",
    "caption": "every figure has a caption",
    "small": "no figure shrinks until its letters cannot be read",
    "closed": "proofs, hints and solutions are closed at first",
    "wide": "nothing makes the page scroll sideways",
    "paper": "figures are inverted on a dark page, and only there",
    "contrast": "links have a contrast of at least 4.5 to 1",
    "link": "links and anchors within the site resolve",
    "player": "every player goes one frame on and back by keyboard",
    "everybody": "axe finds no breach of WCAG 2.1, levels A and AA",
}

# axe's rules for the page as it stands. Left out are formulas, which are MathJax's and take most of
# its time, words of code that look as an earlier one does, and colors that are still on their way
# from one mode to the other.
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
ALONE = """() => {
  document.querySelectorAll("mjx-container").forEach((formula) => formula.replaceWith("x"));
  const seen = new Set();
  for (const word of document.querySelectorAll(":is(pre, dt.sig, code) span")) {
    const around = word.closest("dt, .highlight, .admonition, .proof, .exercise, table, p");
    const look = [around, word.parentElement, word].map((one) => one?.className).join("/");
    if (seen.has(look) && !word.firstElementChild && !word.id) word.replaceWith(word.textContent);
    seen.add(look);
  }
  document.head.insertAdjacentHTML("beforeend", "<style>* { transition: none !important }</style>");
}"""
BREACHES = """async (colors) => {
  const { violations } = await axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    resultTypes: ["violations"],
    preload: false,
    rules: { "color-contrast": { enabled: colors } },
  });
  return violations.flatMap((rule) =>
    rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 100)}: ${node.failureSummary}`));
}"""

# What is wrong with the page as it stands, as a list of [kind, detail].
INSPECT = r"""
() => {
  const found = [];
  const report = (kind, detail) => found.push([kind, String(detail).trim().slice(0, 120)]);
  const article = document.querySelector("article") || document.querySelector("#main-content");
  const all = (selector, root = article) => [...root.querySelectorAll(selector)];

  const headings = all("h1").length;
  if (headings !== 1) report("heading", `${headings} of them`);

  const raw = /:{3}|`{3}|\{(prf:|py:)?(ref|numref|eq|doc|cite\S*|func|mod)\}|\(\?\?\?\)|\$|\\[([]/;
  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (text.parentElement.closest("pre, code, script, style, mjx-container")) continue;
    if (raw.test(text.data)) report("markup", text.data);
    if (text.data.includes("\uFFFD")) report("glyph", text.data);
  }

  for (const formula of all(".math:not(pre .math)"))
    if (!formula.querySelector("mjx-container")) report("equation", formula.textContent);
  // MathJax prints a macro that it does not know in red.
  for (const error of all('mjx-merror, mjx-container [style*="color: red"]'))
    report("equation", error.closest(".math").outerHTML);
  for (const formula of all("span.math")) {
    const box = formula.closest(".course-together");
    const kept = box && getComputedStyle(box).whiteSpace === "nowrap";
    const [before, after] = [formula.previousSibling, formula.nextSibling];
    const opens = before?.nodeType === 3 && /[(\[“‘]$/.test(before.data);
    const closes = after?.nodeType === 3 && /^[)\]”’.,;:!?…]/.test(after.data);
    if ((opens || closes) && !kept) report("together", formula.parentElement.textContent);
  }
  for (const formula of all("div.math[id^=equation-]")) {
    const number = formula.querySelector(".eqno")?.textContent;
    if (!/\(\d+(\.\d+)?\)/.test(number)) report("number", formula.id);
  }
  for (const font of document.fonts)
    if (font.status === "error") report("glyph", font.family);

  for (const image of all("img", document))
    if (!image.alt.trim() || !image.naturalWidth) report("image", image.src);
  for (const image of all("figure img"))
    if (image.clientWidth < 0.65 * image.naturalWidth) report("small", image.src);
  const captioned = (box, caption) => box?.querySelector(caption)?.textContent.trim();
  for (const image of all("img:not(.ntk-player img)"))
    if (!captioned(image.closest("figure"), "figcaption")) report("caption", image.src);
  for (const player of all(".ntk-player"))
    if (!captioned(player, ".ntk-caption")) report("caption", player.ariaLabel);

  for (const details of all("details[open]")) report("closed", details.textContent);

  const edge = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > edge) {
    const right = e => e.getBoundingClientRect().right;
    const boxed = e => e && e !== article &&
      (getComputedStyle(e).overflowX !== "visible" && right(e) <= edge || boxed(e.parentElement));
    const wide = all("*").filter(e => right(e) > edge + 1 && !boxed(e.parentElement));
    const name = e => `${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 40)}`;
    report("wide", wide.length ? name(wide.pop()) : "not the article");
  }

  const dark = document.documentElement.dataset.theme === "dark";
  for (const image of all("img")) {
    const inverted = getComputedStyle(image).filter.includes("invert");
    if (inverted !== dark) report("paper", image.src);
  }

  const parse = color => (color.match(/[\d.]+/g) || []).map(Number);
  const luminance = rgb => {
    const [r, g, b] = rgb.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] > 0.5) return color;
    }
    return [255, 255, 255];
  };
  for (const link of all("a[href]:not(.headerlink)")) {
    const pair = [luminance(parse(getComputedStyle(link).color)), luminance(paper(link))];
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    const text = link.textContent.trim();
    if (text && contrast < 4.5) report("contrast", `${contrast.toFixed(2)} ${text}`);
  }
  return found;
}
"""

# The places of a player's visible frames, what stands beside one of its handles, whether that
# stands at its last value, and how many frames lie between two of its values.
SHOWN = """
([player, place]) => {
  const handles = [...player.querySelectorAll("input, select")];
  const handle = handles[place];
  handle?.focus({preventScroll: true});
  const visible = [...player.querySelectorAll(".ntk-frame")].map(f => f.checkVisibility());
  const label = handle?.parentElement.querySelector(".ntk-label")?.innerText.trim();
  const counts = handles.map(h => h.type === "range" ? Number(h.max) + 1 : h.options.length);
  const stride = counts.slice(0, place).reduce((product, count) => product * count, 1);
  const last = Number(handle?.value) === counts[place] - 1;
  return [visible.flatMap((v, i) => v ? [i] : []), label, last, stride];
}
"""

ANCHORS = """
() => ({
  ids: [...document.querySelectorAll("[id]")].map(e => e.id),
  // In a drawing, `href` is not a text.
  links: [...document.querySelectorAll("a[href]")]
    .map(a => new URL(a.getAttribute("href"), document.baseURI).href),
})
"""


class Anchors(NamedTuple):
    """What a page can be linked at, and what it links to."""

    ids: set[str]
    links: set[str]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: Any) -> None:
        """Say nothing: a test's output is for findings."""


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Serves the built site on this machine."""
    if not (SITE / "index.html").exists():
        pytest.fail(f"the site is not built: {SITE.name}/index.html is missing, run `make book`")
    handler = functools.partial(_Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = f"no browser on PATH: none of {', '.join(BROWSERS)}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", offline, *quiet]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


def pages() -> list[str]:
    """Every page but the redirect that stands at the root."""
    found = (path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    return sorted(
        page for page in found if page != "index.html" and not page.startswith("_static/")
    )


def chapters() -> list[str]:
    """The pages that are made from notebooks."""
    return sorted(f"book/{path.stem}.html" for path in (SITE.parents[1] / "book").glob("*.ipynb"))


def go(tab: Page, address: str) -> None:
    """Open a page and wait until its formulas are typeset."""
    tab.goto(address)
    tab.evaluate("() => window.MathJax?.startup?.promise")


def show(tab: Page, size: tuple[int, int], mode: Literal["light", "dark"]) -> None:
    """The page at this size of the window, in this mode."""
    tab.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    tab.emulate_media(color_scheme=mode)
    tab.wait_for_selector(f"html[data-theme={mode}]")


def still(tab: Page, player: ElementHandle) -> Iterator[str]:
    """What does not follow the arrow keys as every handle goes one value on and back."""
    name = (player.get_attribute("aria-label") or "")[:60]
    handles = len(player.query_selector_all("input, select"))
    if not handles:
        yield f"no handle: {name}"
    for place in range(handles):
        frames, label, last, stride = tab.evaluate(SHOWN, [player, place])
        keys = ("ArrowLeft", "ArrowRight") if last else ("ArrowRight", "ArrowLeft")
        shown = []
        for key in keys:
            tab.keyboard.press(key)
            shown.append(tab.evaluate(SHOWN, [player, place])[:2])
        (next_frames, next_label), back = shown
        if len(frames) != 1 or next_frames != [frames[0] + (-stride if last else stride)]:
            yield f"{keys[0]} leads from frames {frames} to {next_frames}: {name}"
        if not label or next_label == label:
            yield f"{keys[0]} leads from label {label!r} to {next_label!r}: {name}"
        if back != [frames, label]:
            yield f"there and back leads from {[frames, label]} to {back}: {name}"


class Survey:
    """One pass over all pages: findings by kind, and the anchors of every page."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.findings: dict[str, list[str]] = defaultdict(list)
        self.anchors: dict[str, Anchors] = {}
        self.address = address
        self._visit_all(browser)
        for page, (_, links) in self.anchors.items():
            for link in links:
                self._follow(page, link)

    def _visit_all(self, browser: Browser) -> None:
        tab = browser.new_page()
        view = "while loading"

        def note(kind: str, detail: str) -> None:
            page = tab.url.removeprefix(self.address)
            self.findings[kind].append(f"{page} {view}: {detail}")

        def ask(request: Request) -> None:
            if not request.url.startswith((self.address, "data:", "blob:")):
                note("request", request.url)

        tab.on("request", ask)
        tab.on("pageerror", lambda error: note("console", str(error)))
        tab.on("console", lambda line: line.type == "error" and note("console", line.text))
        tab.on("response", lambda answer: answer.status < 400 or note("console", answer.url))
        for number, page in enumerate(pages()):
            for place, (size, mode) in enumerate(VIEWS):
                if place == 0:
                    view = "while loading"
                    go(tab, self.address + page)
                show(tab, size, mode)
                view = f"at {size[0]} px, {mode}"
                for kind, detail in tab.evaluate(INSPECT):
                    note(kind, detail)
            for player in tab.query_selector_all(".ntk-player"):
                for detail in still(tab, player):
                    note("player", detail)
            anchors = tab.evaluate(ANCHORS)
            tab.evaluate(AXE)
            tab.evaluate(ALONE)
            for place, (size, mode) in enumerate(VIEWS[::-1]):
                show(tab, size, mode)
                view = f"at {size[0]} px, {mode}"
                # Colors depend on the mode, not on the width: each page has them in one of the two.
                for detail in tab.evaluate(BREACHES, (place + number) % 2 == 0):
                    note("everybody", detail)
            self.anchors[page] = Anchors(set(anchors["ids"]), set(anchors["links"]))
        tab.close()

    def _follow(self, page: str, link: str) -> None:
        if not link.startswith(self.address):
            return
        path, anchor = urldefrag(unquote(link.removeprefix(self.address)))
        path = path.split("?")[0] or "index.html"
        if path in self.anchors:
            if anchor and anchor not in self.anchors[path].ids:
                self.findings["link"].append(f"{page}: no anchor {anchor} on {path}")
        elif not (SITE / path).is_file():
            self.findings["link"].append(f"{page}: no file {path}")


@pytest.fixture(scope="session")
def survey(browser: Browser, address: str) -> Survey:
    return Survey(browser, address)


def test_the_site_shows_no_solution_and_no_hidden_test(address: str) -> None:
    # Its editions are looked through when they are published: they are made only then.
    pages = [path for path in SITE.iterdir() if path.name != "paper"]
    assert not list(gate.findings(pages, [master.load(name) for name in master.names()]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_page(survey: Survey, kind: str) -> None:
    findings = sorted(set(survey.findings[kind]))
    assert not findings, f"{KINDS[kind]}; {len(findings)} found:\n" + "\n".join(findings[:25])


def test_the_survey_saw_the_book(survey: Survey) -> None:
    assert {*chapters(), "book/index.html", "book/reference/results.html"} <= set(survey.anchors)


def test_reports_link_to_the_statement_the_source_and_the_code() -> None:
    for page in chapters():
        heads = re.findall(r'data-role="title">(.*?)</th>', _html(page), re.DOTALL)
        assert heads, f"{page} has no report"
        for head in heads:
            links = re.findall(r'href="([^"]*)"', head)
            wanted = (r"#\w+-|\w+\.html#", r"reference/results\.html#", r"_modules/ntklab/ledger/")
            for pattern in wanted[-len(links) :]:
                assert any(re.search(pattern, link) for link in links), f"{page}: {head}"
            assert len(links) in (2, 3), f"{page}: {head}"


def test_a_chapter_opens_with_its_symbols() -> None:
    for page in chapters():
        source = (SITE.parents[1] / page).with_suffix(".ipynb").read_text(encoding="utf-8")
        box = re.search(r"Symbols of this chapter.*?</details>", _html(page), re.DOTALL)
        if "{symbols}" in source:
            assert box and box[0].count("<tr") > 5, page


def test_no_page_publishes_its_source() -> None:
    assert not (SITE / "_sources").exists()


def test_every_public_name_is_on_the_api_page(survey: Survey) -> None:
    import importlib
    import pkgutil

    import ntklab

    modules = [
        importlib.import_module(f"ntklab.{module.name}")
        for module in pkgutil.iter_modules(ntklab.__path__)
        if not module.name.startswith("_")
    ]
    names = {f"{module.__name__}.{name}" for module in modules for name in module.__all__}
    missing = sorted(names - survey.anchors["book/reference/api.html"].ids)
    assert not missing, (
        f"not on the API page, for want of a docstring or a `#:` comment: {', '.join(missing)}"
    )


def test_the_results_map_has_every_entry(browser: Browser, address: str) -> None:
    from ntklab import ledger

    tab = browser.new_page()
    go(tab, address + "book/reference/results.html")
    shown = set(tab.locator("table.course-results .course-test").all_inner_texts())
    marks = tab.locator("table.course-results").all_inner_texts()
    tab.close()
    assert shown == {f"[{entry.key}]" for entry in ledger.all_results()}
    assert not any("✗" in text for text in marks)


def test_the_site_carries_the_ledger_as_a_file() -> None:
    import ntklab
    from ntklab import ledger

    data = json.loads((SITE / "ledger.json").read_text(encoding="utf-8"))
    assert data["environment"]["ntklab"] == ntklab.__version__
    assert [row["key"] for row in data["results"]] == [entry.key for entry in ledger.all_results()]
    for row in data["results"]:
        (run,) = row["runs"]
        assert run["checks"] and all(check["holds"] for check in run["checks"]), row["key"]
        assert not all(check["holds"] for check in row["broken"]["checks"]), row["key"]
        assert row["statement"].endswith("."), row["key"]


# What is hard to read in the drawings that are shown, as a list of texts.
DRAWN = """
() => {
  const found = [];
  const parse = color => (color.match(/[\\d.]+/g) || []).map(Number);
  const luminance = rgb => {
    const [r, g, b] = rgb.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const pair = [luminance(parse(one)), luminance(parse(other))];
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  for (const graph of document.querySelectorAll("div.course-graph")) {
    const shown = [...graph.querySelectorAll("svg")].filter(svg => svg.checkVisibility());
    if (shown.length !== 1) found.push(`${shown.length} drawings are shown`);
    for (const svg of shown) {
      const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      const places = [];
      for (const link of svg.querySelectorAll("a")) {
        const rectangle = link.querySelector("rect");
        const box = rectangle.getBoundingClientRect();
        if (places.some(p => p.left < box.right && box.left < p.right &&
            p.top < box.bottom && box.top < p.bottom))
          found.push(`${link.textContent} overlaps another box`);
        places.push(box);
        const edge = (part, side) => link.querySelector(part)?.getBoundingClientRect()[side];
        if (edge(".marks", "left") < edge(".head", "right") + 4)
          found.push(`the marks of ${link.textContent} touch its name`);
        const fill = getComputedStyle(rectangle).fill;
        for (const text of link.querySelectorAll("text")) {
          const words = text.getBoundingClientRect();
          if (words.left < box.left || words.right > box.right ||
              words.top < box.top - 1 || words.bottom > box.bottom + 1)
            found.push(`${text.textContent} leaves its box`);
          const style = getComputedStyle(text);
          const size = parseFloat(style.fontSize) * scale;
          if (size < 11) found.push(`${text.textContent} is ${size} px high`);
          const seen = contrast(style.fill, fill === "none" ? paper : fill);
          if (seen < 4.5) found.push(`${text.textContent} has a contrast of ${seen}`);
        }
      }
      for (const line of svg.querySelectorAll(".edge"))
        if (contrast(getComputedStyle(line).stroke, paper) < 3)
          found.push(`a line is hard to see`);
    }
  }
  return found;
}
"""


@pytest.mark.parametrize("size", [DESK, TELEPHONE])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_graph_can_be_read(
    browser: Browser, address: str, size: tuple[int, int], mode: Literal["light", "dark"]
) -> None:
    tab = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=mode)
    go(tab, address + "book/reference/graph.html")
    tab.wait_for_selector(f"html[data-theme={mode}]")
    drawings = tab.locator("div.course-graph svg").count()
    found = tab.evaluate(DRAWN)
    tab.close()
    # One drawing for all chapters and one for each, at two widths.
    assert drawings == 2 * (len(chapters()) + 1)
    assert not found, "\n".join(found)


# The statements of a page, each with its kind.
STATED = """
() => [...document.querySelectorAll("div.proof[id]")].map(e => [e.id, e.classList[1]])
"""


@pytest.fixture(scope="module")
def stated(browser: Browser, address: str) -> dict[str, str]:
    """The statements that stand on the chapters' pages, and their kinds."""
    tab = browser.new_page()
    found: dict[str, str] = {}
    for page in chapters():
        tab.goto(address + page)
        found |= dict(tab.evaluate(STATED))
    tab.close()
    return found


def test_the_graph_has_every_statement(
    browser: Browser, address: str, stated: dict[str, str]
) -> None:
    tab = browser.new_page()
    tab.goto(address + "book/reference/graph.html")
    boxes = "svg.wide a:is(.claim, .words)"
    drawn = tab.eval_on_selector_all(boxes, "links => links.map(link => link.dataset.key)")
    tab.close()
    assert sorted(drawn) == sorted(stated)


def test_coverage_lists_what_has_no_check(
    browser: Browser, address: str, stated: dict[str, str]
) -> None:
    from ntklab import ledger

    tab = browser.new_page()
    tab.goto(address + "book/reference/coverage.html")
    links = tab.eval_on_selector_all(
        "#without-a-check a.reference[href*='#']", "links => links.map(link => link.hash.slice(1))"
    )
    tab.close()
    claims = {label for label, kind in stated.items() if kind not in ("definition", "remark")}
    checked = {entry.theorem for entry in ledger.all_results()}
    assert sorted(links) == sorted(claims - checked)


@pytest.fixture
def player_page(browser: Browser, address: str) -> Iterator[Page]:
    page = _lightest('class="ntk-player"')
    tab = browser.new_page()
    go(tab, address + page)
    yield tab
    tab.close()


def test_a_player_moves_by_keyboard_and_mouse(player_page: Page) -> None:
    player = player_page.locator(".ntk-player").first
    slider = player.locator("input[type=range]").first
    last = int(slider.get_attribute("max") or 0)

    def shown() -> list[int]:
        frames = player.locator(".ntk-frame").all()
        return [place for place, frame in enumerate(frames) if frame.is_visible()]

    slider.focus()
    for key, place in (("Home", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("End", last)):
        player_page.keyboard.press(key)
        assert shown() == [place], f"after {key}"
    box = slider.bounding_box()
    assert box is not None
    player_page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
    assert shown() == [0]


def test_a_player_plays(player_page: Page) -> None:
    player = player_page.locator(".ntk-player").first
    slider = player.locator("input[type=range]").first
    slider.focus()
    player_page.keyboard.press("Home")
    player.locator("button").click()
    player_page.wait_for_function(
        "slider => Number(slider.value) >= 1", arg=slider.element_handle()
    )


@pytest.fixture
def solution_page(browser: Browser, address: str) -> Iterator[Page]:
    page = _lightest("Solution to Exercise")
    tab = browser.new_page()
    go(tab, address + page)
    yield tab
    tab.close()


def test_solutions_open_on_a_click_and_on_paper(solution_page: Page) -> None:
    solution = solution_page.locator("details", has_text="Solution to Exercise").first
    body = solution.locator(".sd-summary-content")
    assert not solution.locator("summary a").count(), "a title that leads elsewhere opens nothing"
    assert not body.is_visible()
    solution.locator("summary").click()
    assert body.is_visible()
    solution_page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert solution_page.locator("article details:not([open])").count() == 0


def test_a_link_opens_what_is_closed(solution_page: Page) -> None:
    solutions = solution_page.locator("details[id$=-solution]")
    first, second = solutions.nth(0), solutions.nth(1)
    for way in ("address", "link", "the same link again"):
        box = first if way == "address" else second
        hash = f"#{box.get_attribute('id')}"
        assert not box.locator(".sd-summary-content").is_visible()
        if way == "address":
            solution_page.evaluate("hash => { location.hash = hash; }", hash)
        else:
            script = """hash => {
              const link = document.createElement("a");
              link.href = hash;
              document.querySelector("article").append(link);
              link.click();
              link.remove();
            }"""
            solution_page.evaluate(script, hash)
        box.locator(".sd-summary-content").wait_for(state="visible")
        assert box.locator("summary").is_visible()
        if way == "link":
            box.locator("summary").click()


# A word that a page has in one closed proof only, and the section that holds the proof.
HIDDEN_WORD = """
() => {
  const words = text => text.toLowerCase().match(/[a-z]{7,}/g) ?? [];
  const counts = new Map();
  for (const word of words(document.querySelector("article").textContent))
    counts.set(word, (counts.get(word) ?? 0) + 1);
  for (const box of document.querySelectorAll("article details:not([open]) p"))
    for (const word of words(box.textContent))
      if (counts.get(word) === 1 && !box.querySelector("code, a"))
        return [word, box.closest("section").id];
}
"""


@pytest.mark.parametrize("way", ["search", "find in page"])
def test_a_hit_in_what_is_closed_opens_it(solution_page: Page, way: str) -> None:
    word, section = solution_page.evaluate(HIDDEN_WORD)
    page = solution_page.url
    solution_page.goto("about:blank")
    if way == "search":
        go(solution_page, f"{page}?highlight={word}#{section}")
        found = solution_page.locator(".highlighted")
    else:
        # A link to a text is found as the browser finds what one types into its search.
        go(solution_page, f"{page}#:~:text={word}")
        found = solution_page.get_by_text(word)
    found.first.wait_for(state="visible")


def test_a_hit_on_a_whole_page_is_shown(solution_page: Page) -> None:
    """Sphinx's search leads to a page without a place on it: one sees the word all the same."""
    word, _ = solution_page.evaluate(HIDDEN_WORD)
    page = solution_page.url
    solution_page.goto("about:blank")
    go(solution_page, f"{page}?highlight={word}")
    solution_page.wait_for_function(
        """() => {
          const box = document.querySelector(".highlighted")?.getBoundingClientRect();
          return box && box.height && box.top >= 0 && box.bottom <= innerHeight;
        }"""
    )


def test_the_contents_of_a_telephone_close_when_they_have_led_somewhere(
    solution_page: Page,
) -> None:
    show(solution_page, (390, 844), "light")
    drawer = solution_page.locator("#pst-secondary-sidebar-modal")
    solution_page.locator(".secondary-toggle:visible").click()
    drawer.wait_for(state="visible")
    drawer.locator("a[href^='#']:visible").nth(1).click()
    drawer.wait_for(state="hidden")
    assert "#" in solution_page.url


def test_what_goes_on_at_the_right_fades(solution_page: Page) -> None:
    show(solution_page, (390, 844), "light")
    code = ".cell:not(:has(details.hide)) div.highlight pre"
    wide, place = solution_page.evaluate(
        """selector => {
          const boxes = [...document.querySelectorAll(selector)];
          const place = boxes.findIndex(box => box.scrollWidth > box.clientWidth + 20);
          return [boxes.filter(box => box.scrollWidth > box.clientWidth + 1).length, place];
        }""",
        code,
    )
    assert solution_page.locator(f"{code}.course-goes-on").count() == wide > 0
    solution_page.locator(code).nth(place).evaluate("box => { box.scrollLeft = 1e6; }")
    solution_page.wait_for_function(
        "([code, wide]) => document.querySelectorAll(`${code}.course-goes-on`).length === wide - 1",
        arg=[code, wide],
    )


def test_what_is_wider_than_a_telephone_can_be_read(browser: Browser, address: str) -> None:
    tab = browser.new_page()
    try:
        tab.set_viewport_size({"width": 390, "height": 844})
        go(tab, f"{address}book/weak_learning.html")
        tab.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true; })")
        # Formulas in lines: the proofs have long ones.
        tab.wait_for_selector("mjx-container.course-long[tabindex]")
        hidden = tab.evaluate(
            """() => [...document.querySelectorAll("span.math > :not(.course-long, table *)")]
              .map(formula => formula.firstElementChild)
              .filter(math => math.getBoundingClientRect().right
                > math.closest("span.math").getBoundingClientRect().right + 1)
              .map(math => math.textContent)"""
        )
        assert not hidden
        # Frames of two panels: the box moves, and whichever frame is shown is in it.
        box = tab.locator(".ntk-player > .course-wide").first
        tab.locator(".ntk-player input").first.press("End")
        frame = box.locator(".ntk-frame:visible")
        assert frame.count() == 1
        assert frame.bounding_box()["width"] == 512 > box.bounding_box()["width"]
    finally:
        tab.close()


def test_the_head_of_a_page_shows_where_the_keyboard_is(solution_page: Page) -> None:
    show(solution_page, (1280, 900), "light")
    controls = solution_page.locator(".bd-header-article :is(a, button):visible")
    assert controls.count() >= 4
    for control in controls.all():
        solution_page.keyboard.press("Tab")  # what is focused from now on is so by the keyboard
        control.focus()
        seen = control.evaluate(
            "part => [getComputedStyle(part).outlineStyle, getComputedStyle(part).boxShadow]"
        )
        assert seen != ["none", "none"], control.get_attribute("title")


# Where a reference of each kind leads: what shows it is the end of its address.
REFERENCES = {
    "statement": "html#thm-",
    "equation": "#equation-",
    "figure": "#fig-",
    "citation": "bibliography.html#id",
    "exercise": "#ex-",
}
PREVIEW = """
() => {
  const box = document.querySelector("#course-preview");
  const { left, right, top, bottom } = box.getBoundingClientRect();
  return {
    untyped: box.querySelectorAll(".math:not(:has(mjx-container))").length,
    empty: box.innerText.trim().length < 10 && !box.querySelector("img, mjx-container"),
    lost: [...box.querySelectorAll("img")].filter(image => !image.naturalWidth).length,
    stops: box.querySelectorAll("a, button, summary, [id], [tabindex]").length,
    outside: left < 0 || right > document.documentElement.clientWidth || top < 0
      || bottom > innerHeight,
  };
}
"""
SOUND = {"untyped": 0, "empty": False, "lost": 0, "stops": 0, "outside": False}


@pytest.fixture
def from_disk(browser: Browser) -> Iterator[Callable[..., tuple[Page, Locator]]]:
    """Opens the lightest chapter with a reference of a kind as one who downloaded the book does."""
    tabs = []

    def opened(kind: str, **settings: Any) -> tuple[Page, Locator]:
        end = REFERENCES[kind]
        page = _lightest(rf'<a class="reference internal" href="[^"]*{end}')
        tab = browser.new_page(**settings)
        tabs.append(tab)
        go(tab, (SITE / page).as_uri())
        return tab, tab.locator(f"article a.reference.internal[href*='{end}']:visible").first

    yield opened
    for tab in tabs:
        tab.close()


def _preview(tab: Page) -> Locator:
    """The preview, typeset and with its pictures."""
    box = tab.locator("#course-preview")
    box.wait_for(state="visible")
    tab.wait_for_function(
        """() => [...document.querySelectorAll("#course-preview img")].every(i => i.complete)
          && !document.querySelector("#course-preview .math:not(:has(mjx-container))")"""
    )
    return box


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize(("size", "mode"), [(DESK, "light"), (TELEPHONE, "dark")])
def test_pointing_at_a_reference_shows_it(from_disk, kind, size, mode) -> None:
    view = ViewportSize(width=size[0], height=size[1])
    tab, link = from_disk(kind, viewport=view, color_scheme=mode)
    link.hover()
    box = _preview(tab)
    assert tab.evaluate(PREVIEW) == SOUND
    # One may go over to it, and it stays; it goes when one goes elsewhere, or by Escape.
    box.hover()
    tab.wait_for_timeout(300)
    assert box.is_visible()
    tab.keyboard.press("Escape")
    assert not box.is_visible()
    tab.mouse.move(1, 1)
    link.hover()
    box.wait_for(state="visible")
    tab.mouse.move(1, 1)
    box.wait_for(state="hidden")


def test_a_focused_reference_is_described_by_its_preview(from_disk) -> None:
    tab, link = from_disk("statement")
    # From the stop before it on by keyboard: a focus that a script sets is not one that shows.
    link.evaluate("link => link.before(Object.assign(document.createElement('a'), {href: '#'}))")
    link.evaluate("link => link.previousSibling.focus()")
    tab.keyboard.press("Tab")
    box = _preview(tab)
    assert link.get_attribute("aria-describedby") == box.get_attribute("id")
    assert box.get_attribute("role") == "tooltip"
    tab.keyboard.press("Escape")
    assert not box.is_visible()
    assert link.get_attribute("aria-describedby") is None
    assert link.evaluate("link => link === document.activeElement"), "Escape moves no focus"


def test_the_first_tap_shows_and_the_second_follows(from_disk) -> None:
    view = ViewportSize(width=TELEPHONE[0], height=TELEPHONE[1])
    tab, link = from_disk("statement", viewport=view, has_touch=True)
    before = tab.url
    link.tap()
    _preview(tab)
    assert tab.evaluate(PREVIEW) == SOUND
    assert tab.url == before
    target = str(link.evaluate("link => link.href"))
    link.tap()
    tab.wait_for_url(target)
    # What has no preview is followed at once.
    section = tab.locator("article a.headerlink").first.get_attribute("href")
    tab.evaluate(
        """hash => document.querySelector("article p").innerHTML =
          `<a class="reference internal" id="plain" href="${hash}">there</a>`""",
        section,
    )
    tab.locator("#plain").tap()
    tab.wait_for_url(f"**{section}")


def test_every_reference_of_these_kinds_has_its_preview() -> None:
    kind = re.compile(r"(thm|prop|lem|cor|def|rem|ex|fig|equation)-(?!.*-solution$)")
    references = {
        urldefrag(urljoin(page, unquote(link)))
        for page in pages()
        for link in re.findall(r'<a class="reference internal" href="([^"]*)"', _html(page))
    }
    wanted = {
        (page, anchor)
        for page, anchor in references
        if kind.match(anchor) and f'<section id="{anchor}"' not in _html(page)
    }
    assert len(wanted) > 100
    for page, anchor in wanted:
        script = (SITE / "previews" / page).with_suffix(".js").read_text(encoding="utf-8")
        assert f'"{anchor}": ' in script, f"{page}#{anchor}"


def test_formulas_are_no_stops_of_the_tab_key(solution_page: Page) -> None:
    inline = solution_page.locator("mjx-container:not([display=true])")
    assert inline.count() > 20
    assert inline.and_(solution_page.locator("[tabindex]")).count() == 0


def test_chapters_offer_their_colab_copy() -> None:
    for page in chapters():
        copy = f"colab/{Path(page).stem}.ipynb"
        button = re.search(r"https://colab\.research\.google\.com/\S+?\.ipynb", _html(page))
        assert button is not None, f"{page} has no button to Colab"
        assert button[0].endswith(f"/blob/gh-pages/{copy}")
        assert f'href="../{copy}"' in _html(page), f"{page} does not offer its copy for download"
        assert (SITE / copy).is_file()


def test_a_chapter_says_how_it_is_cited() -> None:
    import project
    import pybtex.database
    import site_address

    site = site_address.parse(project.address()).site
    for page in chapters():
        box = re.search(r"Cite this chapter.*?<pre>(.*?)</pre>", _html(page), re.DOTALL)
        assert box, page
        text = html.unescape(re.sub(r"<[^>]+>", "", box[1]))
        ((key, entry),) = pybtex.database.parse_string(text, "bibtex").entries.items()
        assert key == f"tangent-kernels-{Path(page).stem}"
        assert entry.fields["url"] == f"{site}{page}"
        heading = re.search(r'<h1>(?:<span class="sec.*?</span>)?(.*?)<a class="head', _html(page))
        assert heading, page
        title = html.unescape(re.sub(r"<[^>]+>", "", heading[1]))
        assert entry.fields["title"].strip("{}").split() == title.split()


def test_names_of_other_projects_lead_to_their_pages() -> None:
    import pydoc

    from outside_names import NAMES, PROJECTS

    found = re.findall(
        r'<a class="reference external" href="([^"]*)#([\w.]+)"', _html("book/reference/api.html")
    )
    led = {name: url for url, name in found if name in NAMES}
    # Those that annotations print, and one that a docstring names.
    assert {"jax.Array", "numpy.ndarray", "jax.jit"} <= set(led)
    for name, url in led.items():
        assert url.startswith(PROJECTS[name.split(".")[0]][0])
        assert url.endswith(f"/{name}.html")
    for name in NAMES:
        assert pydoc.locate(name) is not None, f"there is no {name}"


def test_the_landing_page_opens_with_what_moves() -> None:
    page = _html("book/index.html")
    opening = page.index("ntk-player")
    first = page.index('id="what-is-particular-here"')
    assert page.index("<h1>") < opening < first
    for entry in ("linearization.html", "reference/results.html", "reference/instructors.html"):
        card = rf'<a class="sd-stretched-link[^"]*" href="{re.escape(entry)}'
        assert re.search(card, page[opening:first]), entry


def test_descriptions_are_plain_words() -> None:
    for page in pages():
        for text in re.findall(r'(?:og:|name=")description" content="([^"]*)"', _html(page)):
            assert text, f"{page} has an empty description"
            assert not re.search(r"[\\$\ufffd]", text), f"{page}: {text}"


def _lightest(part: str) -> str:
    """The chapter that loads fastest among those with this pattern in their HTML."""
    found = [page for page in chapters() if re.search(part, _html(page))]
    assert found, f"no page has {part!r}"
    return min(found, key=lambda page: len(_html(page)))


def _html(page: str) -> str:
    return (SITE / page).read_text(encoding="utf-8")
