"""The player, in one piece of HTML and in a real browser."""

import doctest
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import unquote

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from ntklab import figures, player
from ntklab.player import Explorer, Player, explore
from paper.pages import BROWSERS
from PIL import Image

pytestmark = pytest.mark.once  # nothing here depends on the floating-point mode

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><text y="9">{}</text></svg>'
EVIL = "\"><script>alert('x')</script>&"


@pytest.fixture(autouse=True)
def style():
    with mpl.rc_context():
        figures.use_style()
        yield
    plt.close("all")


def draw(m=16, noise=0.1, log=False):
    figure, axes = plt.subplots(figsize=figures.SINGLE)
    x = np.linspace(0, 1, 100)
    for phase in range(3):
        axes.plot(x, np.sin(6 * x + phase) + noise * np.cos(m * x), label=f"unit {phase}")
    axes.set(xlabel=r"input $x_1$", ylabel=r"output $f_\theta(x)$", title=f"$m = {m}$")
    return figure


def svgs(count):
    return [SVG.format(index) for index in range(count)]


def image_bytes(kind, size=(8, 4)):
    stream = io.BytesIO()
    Image.new("RGB", size, "red").save(stream, format=kind)
    return stream.getvalue()


class Page(HTMLParser):
    """The elements of a block; fails on a tag that is closed in the wrong place or not at all."""

    EMPTY = frozenset({"img", "input"})

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len({name for name, _ in attributes}) == len(attributes)
        self.elements.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else None, data))

    def texts_of(self, tag):
        return [data for name, data in self.texts if name == tag]

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


# --- one piece of HTML --------------------------------------------------------------------------


def test_block_is_well_formed_and_has_its_parts():
    block = Player(svgs(3), ["m = 1", "m = 2", "m = 3"], alt="Rates.", start=-1)._repr_html_()
    page = Page(block)
    images, (slider,), (button,) = page.all("img"), page.all("input"), page.all("button")
    assert [image["alt"] for image in images] == ["m = 1", "m = 2", "m = 3"]
    assert ["hidden" in image for image in images] == [True, True, False]
    assert (slider["max"], slider["value"], slider["aria-valuetext"]) == ("2", "2", "m = 3")
    assert slider["aria-label"] and button["aria-label"] == "Play"
    assert page.elements[0][1]["role"] == "group"
    assert page.elements[0][1]["aria-label"] == "Rates."


def test_block_loads_nothing():
    block = Player([draw()], ["a"], alt="x", caption="y")._repr_html_()
    page = Page(block)
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert not page.all("link") and all("src" not in script for script in page.all("script"))
    assert "http" not in re.sub(r'src="[^"]*"', "", block)


def test_same_figures_give_the_same_bytes():
    def build():
        return Player(map(draw, [1, 2]), ["a", "b"], alt="x")._repr_html_()

    assert build() == build()


def test_texts_cannot_become_markup():
    page = Page(Player(svgs(1), [EVIL], alt=EVIL, caption=EVIL)._repr_html_())
    assert len(page.all("script")) == 1
    assert page.all("img")[0]["alt"] == EVIL
    assert page.elements[0][1]["aria-label"] == EVIL


def test_twenty_line_frames_are_light():
    block = Player(map(draw, range(20)), map(str, range(20)), alt="x")._repr_html_()
    assert len(gzip.compress(block.encode())) < 60_000


def test_figures_are_closed_and_keep_their_text_and_size():
    figure = draw()
    (image,) = Page(Player([figure], ["a"], alt="x")._repr_html_()).all("img")
    assert not plt.fignum_exists(figure.number)
    svg = unquote(image["src"])
    assert (image["width"], image["height"]) == ("499", "317")  # 5.2 by 3.3 inches, 96 to an inch
    assert "input" in re.sub(r"<[^>]*>", "", svg) and "<metadata" not in svg
    assert "DejaVu" not in svg and "STIXGeneral, STIX Two Text, Times" in svg
    assert not re.search(r' (?:d|x|y)="[^"]*\.\d{3}', svg)
    assert set(re.findall(r"[(\"]#([\w.-]+)", svg)) == set(re.findall(r' id="([^"]*)"', svg))


def test_figures_with_many_marks_become_pictures_all_of_them():
    def dots(count):
        figure, axes = plt.subplots(figsize=figures.SINGLE)
        axes.scatter(*np.random.default_rng(0).random((2, count)), s=4)
        return figure

    images = Page(Player([dots(3), dots(3000)], ["a", "b"], alt="x")._repr_html_()).all("img")
    assert all(image["src"].startswith("data:image/webp;base64,") for image in images)
    assert {image["width"] for image in images} == {"499"}


@pytest.mark.parametrize(
    ("frame", "kind", "size"),
    [
        (SVG, "svg+xml", ("40", "20")),
        (SVG.replace("viewBox", 'width="30pt" height="15" viewBox'), "svg+xml", ("40", "15")),
        (image_bytes("png"), "png", ("8", "4")),
        (image_bytes("webp"), "webp", ("8", "4")),
        (np.zeros((2, 4)), "webp", ("400", "200")),
        (np.zeros((300, 500, 3), np.uint8), "webp", ("500", "300")),
        (np.zeros((300, 500, 4), np.float32), "webp", ("500", "300")),
    ],
)
def test_every_kind_of_frame(frame, kind, size):
    (image,) = Page(Player([frame], ["a"], alt="x")._repr_html_()).all("img")
    assert image["src"].startswith(f"data:image/{kind}")
    assert (image["width"], image["height"]) == size


def test_arrays_keep_their_values():
    array = np.array([[0.0, 0.2], [0.6, 1.0]])
    source = player._picture(array, "frames[0]").source.partition(",")[2]
    with Image.open(io.BytesIO(player.base64.b64decode(source))) as image:
        pixels = np.asarray(image.convert("L"))[::200, ::200]
    assert pixels.tolist() == [[0, 51], [153, 255]]


GOOD = {"frames": svgs(2), "labels": ["a", "b"], "alt": "x"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"frames": [], "labels": []}, "frames must be at least one frame, got none"),
        ({"frames": SVG}, "frames must be a sequence, got '<svg"),
        ({"frames": None}, "frames must be a sequence, got None"),
        ({"frames": np.array(3)}, r"frames must be a sequence, got array\(3\)"),
        ({"frames": svgs(3)}, "labels must be one for each frame, got 2 labels for 3 frames"),
        ({"frames": [3, 4]}, r"frames\[0\] must be a matplotlib figure, .* got int"),
        (
            {"frames": [SVG, b"GIF89a.."]},
            r"frames\[1\] must be PNG or WebP bytes, got bytes .*GIF",
        ),
        (
            {"frames": [SVG, image_bytes("png")[:8]]},
            r"frames\[1\] must be a whole image, got 8 bytes that cannot be read as png",
        ),
        (
            {"frames": [image_bytes("webp")[:-9]] * 2},
            r"frames\[0\] must be a whole image, .* as webp",
        ),
        (
            {"frames": [image_bytes("png", (8, 4))[:-30]] * 2},
            r"frames\[0\] must be a whole image, .* as png",
        ),
        ({"frames": [SVG, "\ud800"]}, r"frames\[1\] must be an SVG text, got XML that fails"),
        ({"frames": [SVG, "<svg>"]}, r"frames\[1\] must be an SVG text, got XML that fails"),
        ({"frames": [SVG, "<svg/>"]}, r"frames\[1\] must be <svg xmlns.*got <svg>"),
        (
            {"frames": [SVG, SVG.replace('viewBox="0 0 40 20"', "")]},
            r"frames\[1\] must be an SVG with a viewBox",
        ),
        ({"frames": [SVG, SVG.replace("40", "x")]}, r"frames\[1\] must be an SVG with a viewBox"),
        (
            {"frames": [SVG, SVG.replace("viewBox", 'width="1.2.3" height="4" viewBox')]},
            r"frames\[1\] must be an SVG with a viewBox or with width and height",
        ),
        ({"frames": [SVG, SVG.replace("40", "0")]}, r"frames\[1\] must be an SVG of at least"),
        ({"frames": [SVG, SVG.replace("40", "nan")]}, r"frames\[1\] must .* got \[nan, 20\.0\]"),
        ({"frames": [SVG, SVG.replace("40", "inf")]}, r"frames\[1\] must .* got \[inf, 20\.0\]"),
        (
            {"frames": [SVG, SVG.replace("40", "60")]},
            r"frames\[1\] must be the shape of frames\[0\], 40 x 20 pixels, got 60 x 20",
        ),
        (
            {"frames": [np.zeros(3)] * 2},
            r"frames\[0\] must be \[height, w.*got shape \(3,\)",
        ),
        ({"frames": [np.full((2, 2), 1.5)] * 2}, r"frames\[0\] must .* numbers in \[0, 1\]"),
        ({"frames": [np.full((2, 2), np.nan)] * 2}, r"frames\[0\] must .* numbers in \[0, 1\]"),
        ({"frames": [np.zeros((2, 2), int)] * 2}, r"frames\[0\] must .* of int64"),
        ({"labels": "ab"}, "labels must be a sequence, got 'ab'"),
        ({"labels": 3}, "labels must be a sequence, got 3"),
        ({"labels": iter([1, 2])}, "labels must be non-empty texts, got 1 at position 0"),
        ({"labels": ["a", " "]}, "labels must be non-empty texts, got ' ' at position 1"),
        ({"labels": ["a", "a"]}, "labels must be all different, got 'a' more than once"),
        ({"alt": " "}, "alt must be a sentence that tells what moves, got ' '"),
        ({"alt": None}, "alt must be a sentence that tells what moves, got None"),
        ({"caption": 3}, "caption must be a text or None, got 3"),
        ({"interval": 0}, "interval must be greater than 0, got 0"),
        ({"interval": float("nan")}, "interval must be finite, got nan"),
        ({"interval": 1e308}, r"interval must be fewer seconds, got 1e\+308"),
        ({"interval": None}, "interval must be a number, got None"),
        ({"interval": "x"}, "interval must be a number, got 'x'"),
        ({"start": 2}, "start must be a position from 0 to 1, or -1 for the last, got 2"),
        ({"start": -3}, "start must be at least -2, got -3"),
        ({"start": 0.5}, "start must be an integer, got 0.5"),
        ({"start": None}, "start must be an integer, got None"),
        (
            {"frames": [np.random.default_rng(0).random((700, 700))] * 2},
            r"frames must be a player of at most 1 MB, got 1\.\d\d MB from 2 frames",
        ),
    ],
)
def test_player_refuses(changed, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        Player(**GOOD | changed)


def test_examples_run():
    assert doctest.testmod(player).failed == 0


def test_library_imports_no_plotting():
    code = "import ntklab, sys; sys.exit('matplotlib' in sys.modules or 'IPython' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- explore ------------------------------------------------------------------------------------


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.delenv("NTKLAB_STATIC", raising=False)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=object()))


def controls_of(explorer):
    screen, *controls = explorer.controls.children
    return screen, controls


def test_explore_without_a_kernel_has_a_frame_for_every_combination():
    seen = []

    def record(**values):
        seen.append(values)
        return draw(**values)

    shown = explore(record, alt="Rates.", m=[16, 64], noise=np.array([0.5, 0.1]), log=[False, True])
    assert isinstance(shown, Player) and len(shown.labels) == 8
    assert shown.labels[:3] == (
        "m = 16, noise = 0.5, log = False",
        "m = 64, noise = 0.5, log = False",
        "m = 16, noise = 0.1, log = False",
    )
    # Frames and labels go through the combinations in one order, the first handle ahead.
    drawn = [", ".join(f"{name} = {value}" for name, value in one.items()) for one in seen]
    assert drawn == list(shown.labels)


def test_explore_with_one_parameter_is_the_player_of_its_values():
    shown = explore(draw, alt="x", m=[16, 64])
    expected = Player(map(draw, [16, 64]), ["m = 16", "m = 64"], alt="x")._repr_html_()
    assert shown._repr_html_() == expected.replace('aria-label="Position"', 'aria-label="m"')


def test_explore_leaves_parameters_to_live_notebooks_and_says_so():
    seen = []

    def record(**values):
        seen.append(values)
        return draw(**values)

    handles = {"m": [16, 64], "noise": [0.5, 0.1], "log": [False, True]}
    shown = explore(record, alt="x", caption="y", only_live=["noise", "log"], **handles)
    assert seen == [{"m": m, "noise": 0.5, "log": False} for m in (16, 64)]
    assert shown.labels == ("m = 16", "m = 64")
    remark = "A live notebook also changes noise (0.5, 0.1) and log (False, True)."
    assert Page(shown._repr_html_()).texts_of("p") == ["y", remark]


def test_explore_draws_many_frames_without_a_warning():
    shown = explore(draw, alt="x", m=range(13), log=[False, True])
    assert len(shown.labels) == 26 and not plt.get_fignums()


def test_too_many_combinations_name_their_handles():
    def heavy(m, log):
        figure, axes = plt.subplots()
        axes.imshow(np.random.default_rng(m).random((500, 500)))
        return figure

    with pytest.raises(
        ValueError, match=r"^frames must .* from 10 frames; .* \(m has 5, log has 2\)"
    ):
        explore(heavy, alt="x", m=range(5), log=[False, True])


def test_explore_obeys_the_static_build(kernel, monkeypatch):
    monkeypatch.setenv("NTKLAB_STATIC", "1")
    assert isinstance(explore(draw, alt="x", m=[1, 2]), Player)


def test_explore_needs_ipywidgets_for_controls(kernel, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert isinstance(explore(draw, alt="x", m=[1, 2]), Player)


def test_explore_with_a_kernel_redraws(kernel):
    shown = explore(draw, alt="Rates.", m=[16, 64], log=[False, True])
    assert isinstance(shown, Explorer)
    screen, (m, _) = controls_of(shown)
    before = screen.value
    m.value = 64
    assert screen.value != before
    assert screen.value == player._svg_figure(draw(64)).tag("Rates.")
    assert Page(screen.value).all("img")[0]["alt"] == "Rates."
    assert not plt.get_fignums()


def test_explore_gives_every_parameter_its_control(kernel):
    shown = explore(
        lambda **_: draw(), alt="x", m=[16, 64], kind=["relu", "erf"], log=[True, False], b=[0.1, 1]
    )
    _, controls = controls_of(shown)
    kinds = ["SelectionSlider", "Dropdown", "Checkbox", "SelectionSlider"]
    assert [type(control).__name__ for control in controls] == kinds
    assert [control.description for control in controls] == ["m", "kind", "log", "b"]
    assert [control.value for control in controls] == [16, "relu", True, 0.1]


def test_explore_carries_the_player_for_viewers_without_widgets(kernel):
    shown = explore(draw, alt="x", m=[1, 2])
    bundle = shown._repr_mimebundle_()
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == shown.controls.model_id
    assert bundle["text/html"] == shown.player._repr_html_()


def test_explore_shows_what_fails(kernel):
    def fragile(m, broken):
        if broken:
            raise RuntimeError("too <wide>")
        return draw(m)

    screen, (_, broken) = controls_of(
        explore(fragile, alt="x", only_live=["broken"], m=[1], broken=[False, True])
    )
    broken.value = True
    assert screen.value == "<pre>RuntimeError: too &lt;wide&gt;</pre>"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "parameters must have at least one"),
        ({"draw": 3, "m": [1]}, "draw must be a function that returns a figure, got 3"),
        ({"draw": lambda m: m, "m": [1]}, "draw must return a matplotlib fig.*got int"),
        ({"alt": None, "m": [1]}, "alt must be a sentence that tells what moves, got None"),
        ({"caption": 3, "m": [1]}, "caption must be a text or None, got 3"),
        ({"m": []}, "m must be at least one value, got none"),
        ({"m": "abc"}, "m must be a sequence, got 'abc'"),
        ({"m": 3}, "m must be a sequence, got 3"),
        ({"m": np.array(3)}, r"m must be a sequence, got array\(3\)"),
        ({"m": [1, 2, 1]}, "m must be all values different, got 1 more than once"),
        ({"m": [1], "only_live": "m"}, "only_live must be a sequence, got 'm'"),
        (
            {"m": [1], "only_live": ["m"]},
            r"only_live must be some of m, but not all, got \['m'\]",
        ),
        ({"m": [1], "only_live": ["n"]}, "only_live must be some of m, but not all, got"),
    ],
)
def test_explore_refuses(arguments, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        explore(**{"draw": draw, "alt": "x"} | arguments)


def test_explorer_refuses(no_hook):
    with pytest.raises(ValueError, match=r"^controls must be a widget, got None"):
        Explorer(None, Player(**GOOD))
    with pytest.raises(ValueError, match=r"^player must be a Player, got 3"):
        Explorer(SimpleNamespace(model_id="x"), 3)


def test_explore_needs_a_figure():
    with pytest.raises(ValueError, match=r"draw must return a .* figure, got int"):
        explore(lambda m: 3, alt="x", m=[1])


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing = "no Chromium on PATH to move the player in"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def blocks():
    """Two players, of 4 and of 3 frames."""
    labels = [f"m = {m}" for m in (1, 2, 3, 4)]
    with mpl.rc_context():
        figures.use_style()
        first = Player(map(draw, (1, 2, 3, 4)), labels, alt="Rates.", interval=0.05)
    second = Player(svgs(3), ["a", "b", "c"], alt="Texts.", interval=0.05, start=1)
    return first._repr_html_() + second._repr_html_()


@pytest.fixture
def open_page(browser, blocks, tmp_path):
    """Opens players from a file, the two unless told otherwise; fails on any error in the page."""
    contexts, errors = [], []

    def open_page(theme="light", width=800, content=blocks, **options):
        file = tmp_path / "page.html"
        file.write_text(
            f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">'
            f"<title>Players</title><main>{content}</main></html>",
            encoding="utf-8",
        )
        viewport = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def state(page, index=0):
    """What a player shows: its visible frames, its label, its slider's text and place."""
    root = page.locator(".ntk-player").nth(index)
    frames = root.locator("img")
    visible = [i for i in range(frames.count()) if frames.nth(i).is_visible()]
    slider = root.locator("input")
    assert visible == [int(slider.input_value())]
    assert frames.nth(visible[0]).evaluate("image => image.complete && image.naturalWidth > 0")
    label = root.locator(".ntk-label").inner_text()
    assert label == slider.get_attribute("aria-valuetext")
    return visible[0], label


def test_keys_move_one_player_and_not_the_other(open_page):
    page = open_page()
    assert (state(page), state(page, 1)) == ((0, "m = 1"), (1, "b"))
    slider = page.get_by_role("slider").first
    for key, shown in [("ArrowRight", 1), ("End", 3), ("ArrowLeft", 2), ("Home", 0)]:
        slider.press(key)
        assert state(page) == (shown, f"m = {shown + 1}")
    assert state(page, 1) == (1, "b")


def test_mouse_moves_the_slider(open_page):
    page = open_page()
    box = page.get_by_role("slider").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.click(box["x"] + box["width"] * 0.66, middle)
    assert state(page) == (2, "m = 3")
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, middle, steps=5)
    page.mouse.up()
    assert state(page) == (3, "m = 4")


@pytest.fixture
def slow_page(open_page):
    """The two players, with time that passes only as the test lets it."""
    page = open_page()
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    page.reload()
    return page


def test_play_stops_at_the_last_frame_and_starts_over(slow_page):
    page = slow_page
    button = page.get_by_role("button").first
    for _ in range(2):
        button.press("Space")
        assert button.get_attribute("aria-label") == "Pause"
        assert state(page) == (0, "m = 1")
        page.clock.run_for(1000)
        assert button.get_attribute("aria-label") == "Play"
        assert state(page) == (3, "m = 4")
    assert state(page, 1) == (1, "b")


def test_pause_and_the_slider_stop_playing(slow_page):
    page = slow_page
    button, slider = page.get_by_role("button").first, page.get_by_role("slider").first
    for stop in (button.click, lambda: slider.press("ArrowRight")):
        slider.press("Home")
        button.click()
        page.clock.run_for(60)
        stop()
        shown = state(page)
        assert button.get_attribute("aria-label") == "Play"
        page.clock.run_for(1000)
        assert state(page) == shown and 0 < shown[0] < 3


@pytest.mark.parametrize(("theme", "paper"), [("light", 255), ("dark", 20)])
def test_dark_pages_have_dark_paper(open_page, theme, paper):
    page = open_page(theme)
    with Image.open(io.BytesIO(page.locator("img").first.screenshot())) as image:
        assert image.convert("RGB").getpixel((6, 6)) == (paper,) * 3


def test_player_fits_a_phone(open_page):
    page = open_page(width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_player_without_scripts_shows_one_frame_and_no_dead_controls(open_page):
    page = open_page(java_script_enabled=False)
    for root, label in zip(page.locator(".ntk-player").all(), ["m = 1", "b"], strict=True):
        assert [image.get_attribute("alt") for image in root.locator("img:visible").all()] == [
            label
        ]
        assert root.locator(".ntk-label").inner_text() == label
        assert root.locator("button:visible, input:visible").count() == 0


def test_print_shows_the_current_frame_alone(open_page):
    page = open_page()
    page.get_by_role("slider").first.press("End")
    page.emulate_media(media="print")
    assert state(page) == (3, "m = 4")
    assert page.locator("button:visible, input:visible").count() == 0


@pytest.fixture(scope="module")
def explored():
    """A player of three handles, whose frames are told apart by their alternative texts."""
    with mpl.rc_context():
        figures.use_style()
        handles = {"m": [1, 2, 4], "kind": ["relu", "erf"], "noise": [0.5, 0.1]}
        shown = explore(lambda m, kind, noise: draw(m, noise), alt="x", caption="y", **handles)
    return shown._repr_html_()


def seen(page):
    """The visible frames' alternative texts and, beside the handles, what they stand at."""
    frames = [image.get_attribute("alt") for image in page.locator("img:visible").all()]
    return frames, page.locator(".ntk-label").all_inner_texts()


def test_every_handle_of_an_explored_figure_moves_by_keyboard(open_page, explored):
    page = open_page(content=explored)
    m, kind, noise = (page.get_by_label(name, exact=True) for name in ("m", "kind", "noise"))
    chosen = ["m = 1", "kind = relu", "noise = 0.5"]
    assert seen(page) == ([", ".join(chosen)], chosen)
    for handle, key, place, text in (
        (noise, "ArrowRight", 2, "noise = 0.1"),
        (m, "End", 0, "m = 4"),
        (kind, "ArrowDown", 1, "kind = erf"),
        (m, "ArrowLeft", 0, "m = 2"),
        (noise, "Home", 2, "noise = 0.5"),
        (kind, "ArrowUp", 1, "kind = relu"),
    ):
        handle.press(key)
        chosen[place] = text
        assert seen(page) == ([", ".join(chosen)], chosen)
    assert m.get_attribute("aria-valuetext") == "m = 2"
    assert [option.inner_text() for option in kind.locator("option").all()] == ["relu", "erf"]


def test_an_explored_figure_plays_through_its_first_handle(open_page, explored):
    page = open_page(content=explored)
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    page.reload()
    page.get_by_label("noise").press("End")
    page.get_by_role("button").click()
    page.clock.run_for(700)
    # A handle that does not play may be moved meanwhile.
    page.get_by_label("kind").select_option("erf")
    page.clock.run_for(5000)
    chosen = ["m = 4", "kind = erf", "noise = 0.1"]
    assert seen(page) == ([", ".join(chosen)], chosen)
    assert page.get_by_role("button").get_attribute("aria-label") == "Play"


def test_an_explored_figure_on_paper_and_without_scripts(open_page, explored):
    page = open_page(content=explored)
    page.get_by_label("kind").select_option("erf")
    page.emulate_media(media="print")
    chosen = ["m = 1", "kind = erf", "noise = 0.5"]
    assert seen(page) == ([", ".join(chosen)], chosen)
    assert page.locator(":is(button, input, select):visible").count() == 0
    still = open_page(content=explored, java_script_enabled=False, width=390)
    chosen[1] = "kind = relu"
    assert seen(still) == ([", ".join(chosen)], chosen)
    assert still.locator(":is(button, input, select):visible").count() == 0
