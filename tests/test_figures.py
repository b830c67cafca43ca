"""The figure style and its helpers, held to what the reader sees."""

import colorsys
import doctest
import io
import itertools
import re
from fractions import Fraction
from pathlib import Path

import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
from ntklab import figures

pytestmark = pytest.mark.once  # nothing here depends on the floating-point mode

PAPER, DARK_PAPER = np.ones(3), np.full(3, 0.08)  # white, and white after invert(.92)

# What linear RGB becomes where the cones for long or for middle waves are missing: Machado,
# Oliveira and Fernandes (2009), A physiologically-based model for simulation of color vision
# deficiency, at severity 1.
SIGHT = {
    "full": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
# In CIELAB. Side by side 2.3 is just noticeable (Mahy et al., 1994); thin lines that lie apart
# need several times that.
APART = 10


@pytest.fixture(autouse=True)
def style():
    with mpl.rc_context():
        figures.use_style()
        yield
    plt.close("all")


@pytest.fixture
def axes():
    return plt.subplots()[1]


def inverted(rgb):
    """What the site's dark mode makes of a colour: CSS `invert(.92) hue-rotate(180deg)`."""
    # The matrix of the CSS specification for a rotation by 180 degrees (cos = -1, sin = 0).
    luma = np.array([0.213, 0.715, 0.072])
    rotation = 2 * np.tile(luma, (3, 1)) - np.eye(3)
    return np.clip(rotation @ (0.92 - 0.84 * np.asarray(rgb)), 0, 1)


def linear(rgb):
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb, sight):
    """CIELAB of a colour of a screen, as a kind of sight sees it."""
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.072175],
            [0.0193339, 0.119192, 0.9503041],
        ]
    )
    t = to_xyz @ np.clip(SIGHT[sight] @ linear(np.asarray(rgb)), 0, 1) / to_xyz.sum(axis=1)
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one, other, sight):
    """How far two colours are apart, on the white page or the dark one, whichever is less."""
    pair = [np.array(mpl.colors.to_rgb(colour)) for colour in (one, other)]
    return min(
        float(np.linalg.norm(np.subtract(*(lab(page(rgb), sight) for rgb in pair))))
        for page in (np.asarray, inverted)
    )


def contrast(rgb, paper):
    def luminance(colour):
        return float(linear(colour) @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted([luminance(np.asarray(rgb)), luminance(paper)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def svg(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


# --- style --------------------------------------------------------------------------------------


def test_inversion_is_the_browsers():
    # White paper becomes (20, 20, 20), as the player's test sees it in a browser.
    assert inverted(PAPER) == pytest.approx(DARK_PAPER)


@pytest.mark.parametrize("index", range(4))
def test_first_four_colours_stand_out_on_white_and_dark_paper(index):
    rgb = mpl.colors.to_rgb(figures._CYCLE.by_key()["color"][index])
    assert contrast(rgb, PAPER) >= 3
    assert contrast(inverted(rgb), DARK_PAPER) >= 3


@pytest.mark.parametrize("name", ["blue", "vermilion", "green", "purple", "orange", "sky"])
def test_inversion_keeps_hues(name):
    rgb = mpl.colors.to_rgb(figures.COLORS[name])
    before, after = colorsys.rgb_to_hsv(*rgb)[0], colorsys.rgb_to_hsv(*inverted(rgb))[0]
    assert abs((before - after + 0.5) % 1 - 0.5) < 0.06


def test_distance_is_that_of_the_known():
    assert lab([1, 0, 0], "full") == pytest.approx([53.24, 80.09, 67.20], abs=0.01)
    for sight in SIGHT:
        assert lab(PAPER, sight) == pytest.approx([100, 0, 0], abs=0.01)
    # Matplotlib's own red, green and orange, which these readers confuse.
    assert distance("tab:red", "tab:green", "full") > 5 * APART
    assert distance("tab:red", "tab:green", "deuteranopia") < APART
    assert distance("tab:orange", "tab:green", "protanopia") < APART


@pytest.mark.parametrize(
    ("sight", "close"),
    [("full", set()), ("protanopia", set()), ("deuteranopia", {("green", "grey")})],
)
def test_colours_stay_apart_for_the_colour_blind(sight, close):
    pairs = itertools.combinations(figures.COLORS, 2)
    distances = {
        (one, other): distance(figures.COLORS[one], figures.COLORS[other], sight)
        for one, other in pairs
    }
    assert {pair for pair, apart in distances.items() if apart < APART} == close, distances


@pytest.mark.parametrize("sight", SIGHT)
def test_maps_are_safe_for_the_colour_blind(axes, sight):
    red_blue, blues = (figures.kernel_image(axes, sign * np.eye(2)).cmap for sign in (-1, 1))
    # An entry and its negative, from a fifth of the limit on; below it both are pale.
    for entry in np.linspace(0.2, 1, 9):
        assert distance(red_blue((1 - entry) / 2), red_blue((1 + entry) / 2), sight) > APART
    shades = [mpl.colors.to_rgb(blues(share)) for share in np.linspace(0, 1, 21)]
    assert (np.diff([lab(rgb, sight)[0] for rgb in shades]) < 0).all()
    assert (np.diff([lab(inverted(rgb), sight)[0] for rgb in shades]) > 0).all()


def test_lines_differ_without_colour():
    styles = [str(style) for style in figures._CYCLE.by_key()["linestyle"]]
    assert len(set(styles)) == len(styles)


def test_letters_of_every_figure_are_nine_pixels_high_on_a_phone():
    # A page of 390 pixels gives a figure 342; one of more than 450 points is 32rem wide there,
    # and scrolls (book/_ext/site_pages.py, book/_static/course.css).
    letters, small = 0, []
    for chapter in sorted(Path(__file__).parents[1].glob("book/*.ipynb")):
        cells = nbformat.read(chapter, as_version=4).cells
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        for svg_text in [
            output.data.get("image/svg+xml") for output in outputs if "data" in output
        ]:
            if svg_text is None:
                continue
            width = float(re.search(r'<svg[^>]*? width="([\d.]+)pt"', svg_text)[1])
            shown = 512 if width > 450 else 342
            # matplotlib draws a text of so many points at a hundredth of that scale.
            sizes = {float(size) for size in re.findall(r" scale\(([\d.]+) -[\d.]+\)", svg_text)}
            letters += len(sizes)
            if sizes and min(sizes) * 100 * shown / width < 9:
                small.append((chapter.stem, min(sizes) * 100))
    assert letters > 50
    assert not small


def test_same_figure_gives_the_same_bytes():
    def draw():
        figure, axes = plt.subplots(figsize=figures.WIDE)
        figures.band(axes, [1, 2, 3], np.arange(12.0).reshape(4, 3), marker="o")
        return svg(figure)

    first = draw()
    assert first == draw()
    assert b"<text" not in first and b"dc:date" not in first  # glyphs are paths; no date


def test_kernel_shows_the_same_svg_of_exact_size_again(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel chooses its inline backend
    style = "from ntklab import figures\nfigures.use_style()\nimport matplotlib.pyplot as plt"
    draw = "plt.subplots(figsize=figures.WIDE)[1].plot([1, 2], marker='o', label='x')\nplt.show()"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in (style, draw, draw)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbclient.NotebookClient(notebook, timeout=60).execute()
    images = [cell.outputs[-1].data for cell in notebook.cells[1:]]
    assert images[0] == images[1]
    assert "image/png" not in images[0]
    svg = images[0]["image/svg+xml"]
    assert 'width="504pt" height="230.4pt"' in svg
    assert "<text" not in svg and "dc:date" not in svg


def test_examples_run():
    assert doctest.testmod(figures, optionflags=doctest.ELLIPSIS).failed == 0


# --- helpers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray, np.ndarray.tolist])
def test_band_is_median_and_quantiles(axes, array):
    samples = np.arange(101.0)[:, None] * [1.0, 2.0]
    line = figures.band(axes, [1, 2], array(samples), level=0.8, label="error", color="red")
    assert line.get_ydata() == pytest.approx([50, 100])
    box = axes.collections[0].get_paths()[0].get_extents()
    assert (box.y0, box.y1) == pytest.approx((10, 180))
    assert line.get_color() == "red"


def test_band_axis_runs_over_seeds(axes):
    samples = np.random.default_rng(0).normal(size=(5, 3))
    one = figures.band(axes, [1, 2, 3], samples)
    other = figures.band(axes, [1, 2, 3], samples.T, axis=1)
    assert one.get_ydata() == pytest.approx(other.get_ydata())
    assert one.get_color() != other.get_color()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"axes": None}, "axes must be matplotlib axes, got None"),
        ({"x": [[1, 2]]}, "x must be one axis"),
        ({"x": None}, "x must be an array of real numbers, got None"),
        ({"x": ["a", "b"]}, "x must be an array of real numbers, got .'a', 'b'."),
        ({"x": [1, np.nan]}, "x must be finite numbers, got NaN or infinity"),
        ({"samples": np.ones((4, 3))}, r"samples must be shape \(seeds, 2\).*got \(4, 3\)"),
        ({"samples": np.ones((2, 4)), "axis": 0}, r"samples must be shape \(seeds, 2\)"),
        ({"samples": np.ones((0, 2))}, "samples must be shape"),
        ({"samples": [[1.0, np.nan]]}, "samples must be finite"),
        ({"samples": [[1], [1, 2]]}, "samples must be an array of numbers, got .*1, 2"),
        ({"samples": np.ones((4, 2)) * 1j}, "samples must be an array of real numbers"),
        ({"label": 3}, "label must be a text or None, got 3"),
        ({"color": "blau"}, "color must be a matplotlib colour, got 'blau'"),
        ({"axis": 2}, "axis must be 0 or 1, got 2"),
        ({"axis": 0.0}, "axis must be 0 or 1, got 0.0"),
        ({"level": 1.0}, "level must lie strictly between 0 and 1, got 1"),
        ({"level": np.nan}, "level must be finite, got nan"),
        ({"level": "a"}, "level must be a number, got 'a'"),
        ({"marker": "zz"}, "line must be properties of a line, got .'marker': 'zz'"),
        ({"linwidth": 2}, "line must be properties of a line, got .'linwidth': 2"),
    ],
)
def test_band_refuses(axes, changed, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        figures.band(**{"axes": axes, "x": [1, 2], "samples": np.ones((4, 2))} | changed)
    assert not axes.lines


def test_slope_is_the_power_law(axes):
    axes.set(xscale="log", yscale="log")
    line = figures.slope(axes, [400, 100, 25], Fraction(-1, 2), through=(100, 3.0), variable="m")
    assert line.get_xdata() == pytest.approx([25, 400])
    assert line.get_ydata() == pytest.approx([6, 1.5])
    assert axes.texts[0].get_text() == "$m^{-1/2}$"
    assert not axes.get_legend_handles_labels()[0]


def test_slope_bends_between_linear_axes(axes):
    line = figures.slope(axes, [1, 4], 2, through=(1, 1), label="")
    assert line.get_ydata() == pytest.approx(np.asarray(line.get_xdata()) ** 2)
    assert len(line.get_xdata()) > 2 and not axes.texts


@pytest.mark.parametrize(
    ("exponent", "text"), [(-0.5, "-1/2"), (2.0, "2"), (-1 / 6, "-1/6"), (0.4713, "0.471")]
)
def test_exponents_are_written_as_fractions(exponent, text):
    assert figures._fraction(exponent) == text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"axes": "a"}, "axes must be matplotlib axes, got 'a'"),
        ({"x": [1.0]}, "x must be two or more positive"),
        ({"x": [0.0, 1.0]}, "x must be two or more positive"),
        ({"x": [1.0, np.inf]}, "x must be finite numbers, got NaN or infinity"),
        ({"x": "a"}, "x must be an array of real numbers, got 'a'"),
        ({"exponent": None}, "exponent must be a number, got None"),
        ({"exponent": np.nan}, "exponent must be finite, got nan"),
        ({"exponent": 1e4}, "exponent must be finite values at both ends, got 10000"),
        ({"through": (0, 1)}, r"through must be two positive numbers, got \(0, 1\)"),
        ({"through": (1,)}, r"through must be two numbers, got \(1,\)"),
        ({"through": None}, "through must be two numbers, got None"),
        ({"through": (1, np.nan)}, r"through\[1\] must be finite, got nan"),
        ({"through": ("a", 1)}, r"through\[0\] must be a number, got 'a'"),
        ({"variable": None}, "variable must be a text, got None"),
        ({"label": 3}, "label must be a text or None, got 3"),
        ({"color": 3}, "color must be a matplotlib colour, got 3"),
    ],
)
def test_slope_refuses(axes, changed, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        figures.slope(**{"axes": axes, "x": [1, 2], "exponent": -1, "through": (1, 1)} | changed)
    assert not axes.lines


def test_label_stands_at_the_last_finite_point_in_the_lines_colour(axes):
    (line,) = axes.plot([0, 2, 1, 3], [5, 7, 6, np.nan], label="network", color="red")
    label = figures.label_line_end(line)
    assert (label.xy, label.get_text(), label.get_color()) == ((2, 7), "network", "red")


def test_label_refuses(axes, no_hook):
    (line,) = axes.plot([0, 1], [0, 1])
    with pytest.raises(ValueError, match="text must be a text, or a line with a label"):
        figures.label_line_end(line)
    (nothing,) = axes.plot([0], [np.nan])
    with pytest.raises(ValueError, match="line must be a finite point"):
        figures.label_line_end(nothing, "x")
    with pytest.raises(ValueError, match="line must be a line drawn on axes"):
        figures.label_line_end(plt.Line2D([0], [0]), "x")
    with pytest.raises(ValueError, match=r"^line must be a matplotlib line, got None"):
        figures.label_line_end(None, "x")
    with pytest.raises(ValueError, match=r"^text must be a text or None, got 3"):
        figures.label_line_end(line, 3)
    with pytest.raises(ValueError, match=r"^offset must be a number, got None"):
        figures.label_line_end(line, "x", offset=None)
    with pytest.raises(ValueError, match=r"^offset must be finite, got nan"):
        figures.label_line_end(line, "x", offset=np.nan)


@pytest.mark.parametrize(
    ("matrix", "limits", "drawn"),
    [
        (np.eye(2), None, (0, 1)),
        (np.array([[1.0, -3.0]]), None, (-3, 3)),
        (np.zeros((2, 2)), None, (0, 1)),
        (np.eye(2), (0, 4), (0, 4)),
    ],
)
def test_kernel_image_keeps_zero_white(axes, matrix, limits, drawn):
    image = figures.kernel_image(axes, matrix, limits=limits)
    assert image.get_clim() == pytest.approx(drawn)
    assert min(image.to_rgba(0.0)[:3]) > 0.96


def test_kernel_image_bar_is_optional():
    figure, (left, right) = plt.subplots(1, 2)
    figures.kernel_image(left, np.eye(2), colorbar=False)
    assert len(figure.axes) == 2
    figures.kernel_image(right, jnp.eye(2), label="kernel")
    assert figure.axes[-1].get_ylabel() == "kernel"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"axes": None}, "axes must be matplotlib axes, got None"),
        ({"matrix": np.ones(3)}, r"matrix must be shape \(N1, N2\), got \(3,\)"),
        ({"matrix": np.ones((0, 3))}, "matrix must be shape"),
        ({"matrix": np.array([[np.inf]])}, "matrix must be finite"),
        ({"matrix": "a"}, "matrix must be an array of real numbers, got 'a'"),
        ({"matrix": [[1j]]}, "matrix must be an array of real numbers, got .*1j"),
        ({"matrix": [[10**400]]}, "matrix must be an array of numbers, got .*1000"),
        ({"limits": (1, 1)}, r"limits must be \(low, high\).*got \(1, 1\)"),
        ({"limits": (1,)}, r"limits must be two numbers, got \(1,\)"),
        ({"limits": 3}, "limits must be two numbers, got 3"),
        ({"limits": (0, np.nan)}, r"limits\[1\] must be finite, got nan"),
        ({"label": 3}, "label must be a text or None, got 3"),
        ({"colorbar": "no"}, "colorbar must be True or False, got 'no'"),
    ],
)
def test_kernel_image_refuses(axes, changed, message, no_hook):
    with pytest.raises(ValueError, match=f"^{message}"):
        figures.kernel_image(**{"axes": axes, "matrix": np.eye(2)} | changed)
    assert not axes.images


def test_panel_labels_count_through_the_grid():
    _, panels = plt.subplots(2, 2)
    figures.panel_labels(panels, ["one", "two", "three", "four"])
    assert [axes.get_title(loc="left") for axes in panels.flat] == [
        "(a)  one",
        "(b)  two",
        "(c)  three",
        "(d)  four",
    ]


def test_panel_labels_refuse(axes, no_hook):
    for panels, titles, message in [
        ([axes] * 2, ["one"], "titles must be 2, one for each panel, got 1"),
        ([axes] * 2, "ab", "titles must be a sequence, got 'ab'"),
        ([axes] * 2, 3, "titles must be a sequence, got 3"),
        ([axes] * 2, ["one", 2], r"titles\[1\] must be str, got 2"),
        ([axes] * 27, (), "panels must be at most 26"),
        (axes, (), "panels must be a sequence, got <Axes"),
        ([axes, None], (), r"panels\[1\] must be Axes, got None"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}"):
            figures.panel_labels(panels, titles)
