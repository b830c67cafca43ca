r"""One style for every figure of the course, and the few helpers that many chapters share.

A chapter calls `use_style()` once and then draws with plain matplotlib. Figures are white paper
with text in STIX, whose letters match the formulas of the page; on a dark page the site inverts
them (`filter: invert(.92) hue-rotate(180deg)`), so the colours below are chosen to stay legible
both ways, for colour-blind readers, and, by line style, in grey print.

    import matplotlib.pyplot as plt
    from ntklab import figures

    figures.use_style()
    figure, axes = plt.subplots(figsize=figures.SINGLE)
    axes.set_ylabel(r"$\Theta(x, x\prime)$")  # not x', whose stroke is too small to see
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from numbers import Integral
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from ntklab import _extras, _validate

with _extras.needed_by(__name__):
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

__all__ = [
    "COLORS",
    "SINGLE",
    "SQUARE",
    "TALL",
    "WIDE",
    "band",
    "kernel_image",
    "label_line_end",
    "panel_labels",
    "slope",
    "use_style",
]

#: Named colours: Okabe and Ito's palette. Any two stay apart for readers who do not tell red from
#: green, except green and grey: a grey line beside a green one needs its own line style or name.
COLORS: dict[str, str] = {
    "ink": "#1a1a1a",
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "green": "#009e73",
    "purple": "#b0578f",  # darker than Okabe and Ito's #cc79a7, which is too pale for thin lines
    "orange": "#e69f00",
    "sky": "#56b4e9",
    "grey": "#767676",
}

#: Figure size in inches: one panel.
SINGLE: tuple[float, float] = (5.2, 3.3)
#: Figure size in inches: two panels side by side.
WIDE: tuple[float, float] = (7.0, 3.2)
#: Figure size in inches: a square panel.
SQUARE: tuple[float, float] = (4.4, 4.2)
#: Figure size in inches: two rows of panels.
TALL: tuple[float, float] = (7.0, 5.8)

# Orange and sky are too pale for a thin line on white paper, so they come last: the first four
# colours keep a contrast of 3 to 1 on white and, inverted, on the dark page.
_CYCLE = cycler(
    color=[COLORS[name] for name in ("blue", "vermilion", "green", "purple", "orange", "sky")],
    linestyle=["-", (0, (5, 2)), (0, (6, 2, 1, 2)), (0, (1.2, 1.6)), (0, (9, 2)), (0, (3, 1))],
)

_STYLE: dict[str, Any] = {
    "figure.figsize": SINGLE,
    "figure.dpi": 96,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.wspace": 0.06,
    "figure.max_open_warning": 0,  # a player is given all its frames at once
    "savefig.facecolor": "white",
    "font.family": "STIXGeneral",
    "font.size": 12.5,
    "mathtext.fontset": "stix",
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["ink"],
    "axes.labelsize": 13,
    "axes.labelpad": 5,
    "axes.titlesize": 13,
    "axes.titlepad": 9,
    "axes.titlelocation": "left",
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": _CYCLE,
    "axes.xmargin": 0.03,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": COLORS["ink"],
    "ytick.labelcolor": COLORS["ink"],
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "xtick.minor.size": 2,
    "ytick.minor.size": 2,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "lines.solid_capstyle": "round",
    "lines.scale_dashes": True,
    "patch.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "legend.handlelength": 2.4,
    "image.cmap": "Blues",
    "image.interpolation": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "ntklab",
}


def use_style() -> None:
    """Make every figure drawn from here on look like the course's.

    Inside IPython it also makes the inline backend show SVG at its exact size, with glyphs as
    paths and without a date: running a notebook again gives the same bytes.

    Example:
        >>> import matplotlib
        >>> use_style()
        >>> matplotlib.rcParams["axes.spines.top"]
        False
    """
    mpl.rcParams.update(_STYLE)
    if "IPython" in sys.modules:
        _show_inline_figures_as_svg()


def _show_inline_figures_as_svg() -> None:
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    from matplotlib_inline.config import InlineBackend
    from traitlets.config import Config

    # Set on the configuration, not on the formatter: activating the backend later reads it again.
    # No tight bounding box: it would give each figure of a page another width.
    kwargs = {"bbox_inches": None, "metadata": {"Date": None, "Creator": None}}
    backend = InlineBackend.instance(parent=shell)
    backend.shell = shell
    backend.update_config(
        Config(InlineBackend={"figure_formats": {"svg"}, "print_figure_kwargs": kwargs})
    )


def band(
    axes: Axes,
    x: ArrayLike,
    samples: ArrayLike,
    *,
    label: str | None = None,
    color: str | None = None,
    axis: int = 0,
    level: float = 0.9,
    **line: Any,
) -> Line2D:
    """Draw the median over seeds as a line and the central `level` of the samples as a band.

    Args:
        axes: where to draw.
        x: positions, `[X]`.
        samples: one measurement per seed and position, `[seeds, X]`, or `[X, seeds]` with `axis=1`.
        label: name of the line in a legend.
        color: any matplotlib colour; the next one of the cycle if omitted.
        axis: the axis of `samples` that runs over seeds.
        level: the share of the seeds inside the band; 0.9 leaves out 5 % on each side.
        **line: further properties of the median line, such as `marker="o"`.

    Returns:
        The median line.

    Raises:
        ValueError: if shapes do not fit, a value is NaN or infinite, `level` is not in (0, 1), or
            matplotlib knows no such colour or property of a line.

    Example:
        >>> import matplotlib.pyplot as plt, numpy as np
        >>> _, axes = plt.subplots()
        >>> samples = np.random.default_rng(0).normal(size=(20, 4))
        >>> band(axes, [1, 2, 3, 4], samples, label="error").get_label()
        'error'
    """
    _check_drawing(axes, color=color, label=label)
    positions, values = _numbers("x", x), _numbers("samples", samples)
    if positions.ndim != 1:
        raise ValueError(f"x must be one axis, got shape {positions.shape}")
    if isinstance(axis, bool) or not isinstance(axis, Integral) or axis not in (0, 1):
        raise ValueError(f"axis must be 0 or 1, got {axis!r}")
    if values.ndim != 2 or values.shape[1 - axis] != positions.size or not values.shape[axis]:
        wanted = ("seeds", positions.size) if axis == 0 else (positions.size, "seeds")
        raise ValueError(
            f"samples must be shape ({wanted[0]}, {wanted[1]}) for axis={axis}, got {values.shape}"
        )
    level = _validate.probability("level", level)
    low, median, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2], axis=axis)
    if color is not None:
        line["color"] = color
    try:
        (drawn,) = axes.plot(positions, median, label=label, **line)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:  # from `line` alone
        raise ValueError(f"line must be properties of a line, got {line}: {error}") from error
    axes.fill_between(positions, low, high, color=drawn.get_color(), alpha=0.18, linewidth=0)
    return drawn


def slope(
    axes: Axes,
    x: ArrayLike,
    exponent: SupportsFloat,
    *,
    through: tuple[SupportsFloat, SupportsFloat],
    variable: str = "x",
    label: str | None = None,
    color: str = COLORS["grey"],
) -> Line2D:
    """Draw the power law `y = y0 (x / x0)^exponent`, the line that a measured rate is held against.

    The law is written at the right end of the line, as m to the power -1/2 for `variable="m"`.

    Args:
        axes: where to draw, as a rule with two logarithmic axes.
        x: the positions to span; the line runs from the smallest to the largest.
        exponent: the power; pass `Fraction(-1, 2)` or `-0.5`, both are written as -1/2.
        through: the point `(x0, y0)` on the line, both positive.
        variable: the letter of the power in the label.
        label: another text for the label, `""` for none.
        color: any matplotlib colour.

    Returns:
        The line; it does not appear in the legend.

    Raises:
        ValueError: if a position or the point is not positive, the exponent is not a finite
            number, or matplotlib knows no such colour.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> _, axes = plt.subplots()
        >>> slope(axes, [64, 256, 1024], -0.5, through=(64, 0.3), variable="m").get_ydata()[-1]
        np.float64(0.075)
    """
    _check_drawing(axes, color=color, label=label)
    if not isinstance(variable, str):
        raise ValueError(f"variable must be a text, got {variable!r}")
    positions = _numbers("x", x).astype(float).ravel()
    if positions.size < 2 or not (positions > 0).all():
        raise ValueError(f"x must be two or more positive numbers, got {x!r}")
    exponent = _validate.number("exponent", exponent)
    x0, y0 = _pair("through", through)
    if not (x0 > 0 and y0 > 0):
        raise ValueError(f"through must be two positive numbers, got ({x0:g}, {y0:g})")
    ends = np.array([positions.min(), positions.max()])
    if axes.get_xscale() != "log" or axes.get_yscale() != "log":
        ends = np.linspace(
            ends[0], ends[1], 200
        )  # a power law is straight between logarithmic axes only
    with np.errstate(over="ignore"):
        heights = y0 * (ends / x0) ** exponent
    if not np.isfinite(heights).all():
        raise ValueError(f"exponent must be finite values at both ends, got {exponent:g}")
    (line,) = axes.plot(
        ends, heights, color=color, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1.5
    )
    text = f"${variable}^{{{_fraction(exponent)}}}$" if label is None else label
    if text:
        label_line_end(line, text)
    return line


def _fraction(exponent: float) -> str:
    """`-1/2` for -0.5; the decimal where no small denominator comes close."""
    near = Fraction(exponent).limit_denominator(12)
    return str(near) if abs(float(near) - exponent) < 1e-9 else f"{exponent:.3g}"


def label_line_end(line: Line2D, text: str | None = None, *, offset: SupportsFloat = 0.0) -> Text:
    """Write a line's name at its right end, in its colour, in place of a legend.

    Args:
        line: a line as `axes.plot` returns it.
        text: what to write; the line's label if omitted.
        offset: how far to move the text up, in points, to part two names that meet.

    Raises:
        ValueError: if there is neither a text nor a label, no finite point to stand at, or the
            offset is not a finite number.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> _, axes = plt.subplots()
        >>> (line,) = axes.plot([0, 1], [0, 1], label="network")
        >>> label_line_end(line).get_text()
        'network'
    """
    if not isinstance(line, Line2D):
        raise ValueError(f"line must be a matplotlib line, got {line!r}")
    _check_text("text", text)
    offset = _validate.number("offset", offset)
    name = str(line.get_label()) if text is None else text
    if not name or name.startswith("_"):  # matplotlib's mark of a line without a label
        raise ValueError("text must be a text, or a line with a label; got neither")
    if line.axes is None:
        raise ValueError("line must be a line drawn on axes, got one without axes")
    points = np.column_stack([line.get_xdata(orig=False), line.get_ydata(orig=False)])
    finite = points[np.isfinite(points).all(axis=1)]
    if not finite.size:
        raise ValueError("line must be a finite point, got none")
    x, y = finite[finite[:, 0].argmax()]
    label: Text = line.axes.annotate(
        name,
        (x, y),
        xytext=(6, offset),
        textcoords="offset points",
        va="center",
        color=line.get_color(),
        annotation_clip=False,
    )
    return label


def kernel_image(
    axes: Axes,
    matrix: ArrayLike,
    *,
    limits: tuple[SupportsFloat, SupportsFloat] | None = None,
    label: str | None = None,
    colorbar: bool = True,
) -> AxesImage:
    """Show a kernel matrix as a heat map in which paper white means 0.

    Matrices without negative entries are drawn from white to blue, others from red through white
    to blue with limits symmetric about 0; both maps are safe for colour-blind readers.

    Args:
        axes: where to draw.
        matrix: the kernel, `[N1, N2]`.
        limits: values of the map's ends, given to compare panels; from the matrix if omitted.
        label: what the colours measure, written on the colour bar.
        colorbar: whether to draw the bar; panels with the same `limits` need one only.

    Raises:
        ValueError: if `matrix` is not a finite matrix or `limits` are not increasing.

    Example:
        >>> import matplotlib.pyplot as plt, numpy as np
        >>> _, axes = plt.subplots(figsize=SQUARE)
        >>> kernel_image(axes, np.eye(3), label="kernel").get_clim()
        (0.0, 1.0)
    """
    _check_drawing(axes, label=label)
    if not isinstance(colorbar, bool | np.bool_):
        raise ValueError(f"colorbar must be True or False, got {colorbar!r:.60}")
    values = _numbers("matrix", matrix).astype(float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"matrix must be shape (N1, N2), got {values.shape}")
    low, high = _map_limits(values) if limits is None else _pair("limits", limits)
    if not low < high:
        raise ValueError(f"limits must be (low, high) with low < high, got ({low:g}, {high:g})")
    image = axes.imshow(values, cmap="RdBu" if low < 0 else "Blues", vmin=low, vmax=high)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure = axes.get_figure()
    if colorbar and figure is not None:
        bar = figure.colorbar(image, ax=axes, shrink=0.86, aspect=22, pad=0.03)
        bar.outline.set_visible(False)
        bar.set_label(label or "")
    return image


def _map_limits(values: np.ndarray) -> tuple[float, float]:
    largest = float(np.abs(values).max()) or 1.0
    return (-largest if values.min() < 0 else 0.0), largest


def panel_labels(panels: Iterable[Axes] | np.ndarray, titles: Sequence[str] = ()) -> None:
    """Head the panels of a figure (a), (b), (c) …, each with its title if titles are given.

    Args:
        panels: the axes, as `plt.subplots` returns them.
        titles: one title for each panel, or none at all.

    Raises:
        ValueError: if there is another number of titles than of panels, a title is no text, or
            there are more than 26 panels.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> _, panels = plt.subplots(1, 2, figsize=WIDE)
        >>> panel_labels(panels, ["The error", "The kernel"])
        >>> panels[1].get_title(loc="left")
        '(b)  The kernel'
    """
    flat = _items("panels", panels.flat if isinstance(panels, np.ndarray) else panels, Axes)
    heads = _items("titles", titles, str)
    if len(flat) > 26:
        raise ValueError(f"panels must be at most 26, one for each letter, got {len(flat)}")
    if heads and len(heads) != len(flat):
        raise ValueError(f"titles must be {len(flat)}, one for each panel, got {len(heads)}")
    for index, axes in enumerate(flat):
        title = f"  {heads[index]}" if heads else ""
        axes.set_title(f"({chr(ord('a') + index)}){title}", loc="left")


# --- checks of arguments ------------------------------------------------------------------------


def _check_drawing(axes: Any, *, label: Any, color: Any = None) -> None:
    """What the helpers that draw have in common, checked before anything is drawn."""
    if not isinstance(axes, Axes):
        raise ValueError(f"axes must be matplotlib axes, got {axes!r:.60}")
    if color is not None and not mpl.colors.is_color_like(color):
        raise ValueError(f"color must be a matplotlib colour, got {color!r}")
    _check_text("label", label)


def _check_text(name: str, text: Any) -> None:
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{name} must be a text or None, got {text!r}")


def _items(name: str, values: Any, kind: type) -> list[Any]:
    items = _validate.items(name, values)
    for index, item in enumerate(items):
        if not isinstance(item, kind):
            raise ValueError(f"{name}[{index}] must be {kind.__name__}, got {item!r:.60}")
    return items


def _numbers(name: str, value: Any) -> np.ndarray:
    """`value` as an array of finite real numbers, of the type that it has."""
    try:
        array = np.asarray(value)
        if array.dtype.kind in "bOV":  # truth values, fractions, and types that JAX adds to NumPy
            array = array.astype(float)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be an array of numbers, got {value!r:.60}") from None
    if value is None or array.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be an array of real numbers, got {value!r:.60}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers, got NaN or infinity")
    return array


def _pair(name: str, value: Any) -> tuple[float, float]:
    try:
        first, second = value
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers, got {value!r:.60}") from None
    return _validate.number(f"{name}[0]", first), _validate.number(f"{name}[1]", second)
