"""Figures that move without a kernel: frames, handles, one button, and nothing to download.

    player = Player(frames, labels, alt="The kernel of a network, width by width.")

shows itself in a notebook and stays alive in the rendered page, from a server or a file. `explore`
gives a drawing function a handle for each of its parameters: it draws every combination for the
page, and draws anew where a kernel runs.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import math
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat
from urllib.parse import quote

import numpy as np

from ntklab import _extras, _validate

with _extras.needed_by(__name__):
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from PIL import Image

__all__ = ["Explorer", "Player", "explore"]

#: The most that one player may weigh on a page, in bytes.
MAX_WEIGHT = 1_000_000

# An SVG heavier than this has so many marks that a WebP picture of it is lighter.
_MAX_SVG = 80_000

# Text stays text in the frames. Times has the widths of STIX, in which the frames are laid out,
# and nearly every system has one of these.
_FONTS = "STIXGeneral, STIX Two Text, Times New Roman, Liberation Serif, Times, serif"


@dataclass(frozen=True)
class _Picture:
    """A frame as an address that needs no network, with its size in CSS pixels."""

    source: str
    width: int
    height: int

    def tag(self, alt: str, *, hidden: bool = False) -> str:
        # `dark-light` tells the site's theme that this picture looks after its own dark mode.
        return (
            f'<img class="ntk-frame dark-light" alt="{html.escape(alt)}" width="{self.width}" '
            f'height="{self.height}" decoding="sync"{" hidden" if hidden else ""} '
            f'src="{self.source}">'
        )


class Player:
    """A sequence of pictures with a slider and a play button, as one block of HTML.

    The block holds all that it needs, so it works offline, in a page, in Colab and in JupyterLab;
    without scripts, and in print, it shows the frame it stands at. The slider follows the mouse
    and the arrow, Home and End keys. Playing stops at the last frame.

    Args:
        frames: matplotlib figures (closed once drawn), SVG texts, PNG or WebP bytes, or images as
            arrays `[height, width]`, `[height, width, 3 or 4]` of bytes or of numbers in [0, 1].
            Figures become SVG, or WebP where one has very many marks. A generator will do.
        labels: what each position means, such as `"m = 256"`; all different.
        alt: what the moving figure shows, for those who do not see it.
        caption: a line under the figure.
        interval: seconds between two frames while playing.
        start: the frame shown first, and in print; -1 is the last.

    Raises:
        ValueError: if an argument is none of that, if frames differ in shape (width to height), or
            if the block would weigh more than 1 MB.

    Example:
        >>> import matplotlib.pyplot as plt, numpy as np
        >>> def draw(width):
        ...     figure, axes = plt.subplots()
        ...     _ = axes.plot(np.random.default_rng(0).normal(size=width))
        ...     return figure
        >>> widths = [16, 64, 256]
        >>> Player(map(draw, widths), [f"m = {m}" for m in widths], alt="Noise at each width.")
        Player(3 frames, 'm = 16' to 'm = 256')
    """

    def __init__(
        self,
        frames: Iterable[Any],
        labels: Iterable[str],
        *,
        alt: str,
        caption: str | None = None,
        interval: SupportsFloat = 0.6,
        start: int = 0,
    ) -> None:
        names = _checked_labels(labels)
        _check_texts(alt, caption)
        seconds = _validate.number("interval", interval, above=0)
        if math.isinf(1000 * seconds):  # the page counts in milliseconds
            raise ValueError(f"interval must be fewer seconds, got {seconds:g}")
        pictures = _pictures(frames)
        if len(pictures) != len(names):
            raise ValueError(
                f"labels must be one for each frame, got {len(names)} labels "
                f"for {len(pictures)} frames"
            )
        if _validate.integer("start", start, at_least=-len(names)) >= len(names):
            raise ValueError(
                f"start must be a position from 0 to {len(names) - 1}, or -1 for the last, "
                f"got {start}"
            )
        handle = _Handle("Position", names, names)
        notes = [caption] if caption else []
        self._show(pictures, [handle], alt, notes, seconds, start % len(names))

    @classmethod
    def _of(
        cls,
        handles: Sequence[_Handle],
        frames: Iterable[Figure],
        *,
        alt: str,
        caption: str | None,
        remark: str | None,
    ) -> Player:
        """A player of several handles, with a frame for each combination of their values."""
        _check_texts(alt, caption)
        player = cls.__new__(cls)
        notes = [note for note in (caption, remark) if note]
        player._show(_pictures(frames), handles, alt, notes)
        return player

    def _show(
        self,
        pictures: Sequence[_Picture],
        handles: Sequence[_Handle],
        alt: str,
        notes: Sequence[str],
        seconds: float = 0.6,
        start: int = 0,
    ) -> None:
        """Make the block; the first handle varies fastest from picture to picture."""
        texts = [handle.texts for handle in reversed(handles)]
        self.labels = tuple(", ".join(reversed(chosen)) for chosen in itertools.product(*texts))
        self._html = _block(pictures, self.labels, handles, alt, notes, seconds, start)
        weight = len(self._html.encode())
        if weight > MAX_WEIGHT:
            advice = "draw fewer frames, fewer marks or a smaller figure"
            if len(handles) > 1:
                sizes = ", ".join(f"{handle.name} has {len(handle.texts)}" for handle in handles)
                advice += f"; or give a handle fewer values ({sizes}), or leave it to only_live"
            raise ValueError(
                f"frames must be a player of at most {MAX_WEIGHT / 1e6:g} MB, got "
                f"{weight / 1e6:.2f} MB from {len(pictures)} frames; {advice}"
            )

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return f"Player({len(self.labels)} frames, {self.labels[0]!r} to {self.labels[-1]!r})"


def _check_texts(alt: Any, caption: Any) -> None:
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt must be a sentence that tells what moves, got {alt!r}")
    if caption is not None and not isinstance(caption, str):
        raise ValueError(f"caption must be a text or None, got {caption!r}")


def _checked_labels(labels: Iterable[str]) -> tuple[str, ...]:
    names = tuple(_validate.items("labels", labels))
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"labels must be non-empty texts, got {name!r} at position {index}")
        if name in names[:index]:
            raise ValueError(f"labels must be all different, got {name!r} more than once")
    return names


@dataclass(frozen=True)
class _Handle:
    """What a control of a player changes: its name, its values, and both together."""

    name: str
    values: tuple[str, ...]
    texts: tuple[str, ...]
    slides: bool = True


# --- frames to pictures -------------------------------------------------------------------------


def _pictures(frames: Iterable[Any]) -> list[_Picture]:
    kept = _validate.items("frames", frames)
    if not kept:
        raise ValueError("frames must be at least one frame, got none")
    pictures = [_picture(frame, f"frames[{index}]") for index, frame in enumerate(kept)]
    if any(
        isinstance(frame, Figure) and len(picture.source) > _MAX_SVG
        for frame, picture in zip(kept, pictures, strict=True)
    ):
        # All or none: text that changes its look from frame to frame would seem to move.
        pictures = [
            _webp_figure(frame) if isinstance(frame, Figure) else picture
            for frame, picture in zip(kept, pictures, strict=True)
        ]
    first = pictures[0]
    for index, picture in enumerate(pictures):
        if abs(picture.width / picture.height / (first.width / first.height) - 1) > 0.01:
            raise ValueError(
                f"frames[{index}] must be the shape of frames[0], {first.width} x "
                f"{first.height} pixels, got {picture.width} x {picture.height}"
            )
    return pictures


def _picture(frame: Any, name: str) -> _Picture:
    if isinstance(frame, Figure):
        return _svg_figure(frame)
    if isinstance(frame, str):
        return _svg_text(frame, name)
    if isinstance(frame, bytes):
        return _image_bytes(frame, name)
    if hasattr(frame, "__array__"):
        return _image_array(np.asarray(frame), name)
    raise ValueError(
        f"{name} must be a matplotlib figure, an SVG text, PNG or WebP bytes or an image array, "
        f"got {type(frame).__name__}"
    )


def _svg_figure(figure: Figure) -> _Picture:
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ntklab"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return _Picture(_svg_address(_lean(stream.getvalue())), *_pixels(figure))


def _webp_figure(figure: Figure) -> _Picture:
    stream = io.BytesIO()
    figure.savefig(stream, format="webp", dpi=192, pil_kwargs={"quality": 80, "method": 6})
    return _Picture(_base64_address("webp", stream.getvalue()), *_pixels(figure))


def _pixels(figure: Figure) -> tuple[int, int]:
    width, height = figure.get_size_inches() * 96  # a CSS inch
    return round(width), round(height)


def _lean(svg: str) -> str:
    """The SVG without what nobody sees, with coordinates to a hundredth of a point."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r">\s*\n\s*<", "><", svg
    )  # only at line ends: a space of a text is a <tspan> </tspan>
    svg = re.sub(r"\s*\n", " ", svg)
    used = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    svg = re.sub(r' (?:d|x|y)="[^"]*"', lambda m: _rounded(m[0]), svg)
    svg = re.sub(r";? font-family: 'STIX[^;\"]*", "", svg)
    return svg.replace("<svg", f'<svg font-family="{_FONTS}"', 1)


def _rounded(attribute: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda m: f"{round(float(m[0]), 2):g}", attribute)


def _svg_text(svg: str, name: str) -> _Picture:
    try:
        root = ElementTree.fromstring(svg)
    except (ElementTree.ParseError, UnicodeError) as error:
        raise ValueError(f"{name} must be an SVG text, got XML that fails: {error}") from None
    if root.tag != "{http://www.w3.org/2000/svg}svg":
        raise ValueError(
            f'{name} must be <svg xmlns="http://www.w3.org/2000/svg">, got <{root.tag}>'
        )
    return _Picture(_svg_address(svg), *_svg_size(root, name))


def _svg_size(root: ElementTree.Element, name: str) -> tuple[int, int]:
    lengths = [
        re.fullmatch(r"([\d.]+)(px|pt)?", root.get(side, "")) for side in ("width", "height")
    ]
    box = root.get("viewBox", "").replace(",", " ").split()
    try:
        if all(lengths):
            sizes = [float(m[1]) * (4 / 3 if m[2] == "pt" else 1) for m in lengths if m]
        else:
            _, _, *sizes = map(float, box)
    except ValueError:
        sizes = []
    if len(sizes) != 2:
        raise ValueError(f"{name} must be an SVG with a viewBox or with width and height")
    if not all(1 <= size < math.inf for size in sizes):
        raise ValueError(f"{name} must be an SVG of at least 1 x 1 pixel, got {sizes}")
    return round(sizes[0]), round(sizes[1])


def _image_bytes(data: bytes, name: str) -> _Picture:
    kind = "png" if data[:8] == b"\x89PNG\r\n\x1a\n" else "webp" if data[8:12] == b"WEBP" else ""
    if not kind:
        raise ValueError(f"{name} must be PNG or WebP bytes, got bytes that begin {data[:8]!r}")
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()  # opened, only the head has been read
            return _Picture(_base64_address(kind, data), *image.size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{name} must be a whole image, got {len(data)} bytes that cannot be read as {kind}"
        ) from error


def _image_array(array: np.ndarray, name: str) -> _Picture:
    channels = array.shape[2:] in ((), (3,), (4,)) and array.ndim >= 2 and array.size > 0
    bright = array.dtype.kind == "f" and bool(((array >= 0) & (array <= 1)).all())
    if not channels or not (array.dtype == np.uint8 or bright):
        raise ValueError(
            f"{name} must be [height, width] or [height, width, 3 or 4] of uint8 or of numbers "
            f"in [0, 1], got shape {array.shape} of {array.dtype}"
        )
    pixels = np.round(array * 255).astype(np.uint8) if bright else array
    times = -(-400 // pixels.shape[1])  # small images grow in whole pixels, so that they stay sharp
    pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="webp", lossless=True)
    return _Picture(_base64_address("webp", stream.getvalue()), pixels.shape[1], pixels.shape[0])


def _svg_address(svg: str) -> str:
    # Percent-encoding, not base64: under gzip the frames then share all they have in common.
    return "data:image/svg+xml," + quote(svg, safe=" !$'()*+,-./:;=?@_~")


def _base64_address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


# --- the block of HTML --------------------------------------------------------------------------

_CSS = """
.ntk-player{--ntk-accent:#0072b2;margin:.75rem auto;color:inherit}
.ntk-player .ntk-frame{display:block;width:auto;max-width:100%;height:auto;margin:0;padding:0;
background:#fff;border-radius:3px}
.ntk-player .ntk-frame[hidden],.ntk-player .ntk-controls>[hidden]{display:none}
.ntk-player .ntk-controls{display:flex;align-items:center;gap:.75rem;min-height:2.75rem;
font:inherit;line-height:1.2}
.ntk-player button{flex:none;width:2.25rem;height:2.25rem;margin:0;padding:0;border:1px solid;
border-radius:50%;color:var(--ntk-accent);background:transparent;cursor:pointer}
.ntk-player button:hover{background:color-mix(in srgb,var(--ntk-accent) 12%,transparent)}
.ntk-player button svg{display:block;width:.9rem;height:.9rem;margin:auto;fill:currentColor}
.ntk-player button .ntk-pause,.ntk-player.ntk-playing button .ntk-play{display:none}
.ntk-player.ntk-playing button .ntk-pause{display:inline}
.ntk-player input{flex:1 1 4rem;min-width:4rem;height:2rem;margin:0;padding:0;background:none;
-webkit-appearance:none;appearance:none;cursor:pointer}
.ntk-player input::-webkit-slider-runnable-track{height:3px;border-radius:2px;background:#8a8a8a}
.ntk-player input::-moz-range-track{height:3px;border-radius:2px;background:#8a8a8a}
.ntk-player input::-webkit-slider-thumb{-webkit-appearance:none;width:1.15rem;height:1.15rem;
margin-top:calc(1.5px - .575rem);border:0;border-radius:50%;background:var(--ntk-accent)}
.ntk-player input::-moz-range-thumb{width:1.15rem;height:1.15rem;border:0;border-radius:50%;
background:var(--ntk-accent)}
.ntk-player :focus-visible{outline:2px solid var(--ntk-accent);outline-offset:2px;
border-radius:1rem}
.ntk-player .ntk-label{flex:none;max-width:60%;font-variant-numeric:tabular-nums}
.ntk-player .ntk-controls+.ntk-controls{min-height:2.25rem}
.ntk-player select{min-width:6rem;padding:.2rem .4rem;border:1px solid #8a8a8a;border-radius:3px;
color:inherit;background:transparent;font:inherit}
.ntk-player option{color:#000;background:#fff}
.ntk-player .ntk-caption{margin:.25rem 0 0;font-size:.95em}
html[data-theme=dark] .ntk-player,html[theme=dark] .ntk-player,
[data-jp-theme-light=false] .ntk-player{--ntk-accent:#6cb6e6}
html[data-theme=dark] .ntk-player .ntk-frame.dark-light{padding:0;background:#fff;
filter:invert(.92) hue-rotate(180deg)}
html[data-theme=dark] .bd-content div.cell_output .text_html:has(.ntk-player){padding:0!important;
background:none!important;color:inherit!important}
@media print{.ntk-player :is(button,input,select){display:none}
.ntk-player .ntk-controls{min-height:0}}
"""

# Every run wires the players that no run has wired yet: notebook front ends differ in where a
# script runs and what it can see of its surroundings.
_SCRIPT = """
document.querySelectorAll('.ntk-player:not([data-ready])').forEach(function (player) {
  player.setAttribute('data-ready', '');
  var frames = player.querySelectorAll('.ntk-frame');
  var handles = Array.from(player.querySelectorAll('input, select'));
  var button = player.querySelector('button');
  var slider = handles[0], last = slider.max, timer = null;
  function show() {
    var position = 0, stride = 1;
    handles.forEach(function (handle) {
      var texts = JSON.parse(handle.dataset.texts), text = texts[Number(handle.value)];
      handle.parentElement.querySelector('.ntk-label').textContent = text;
      if (handle.type === 'range') handle.setAttribute('aria-valuetext', text);
      position += stride * Number(handle.value);
      stride *= texts.length;
    });
    frames.forEach(function (frame, index) { frame.hidden = index !== position; });
  }
  function move(value) { slider.value = value; show(); }
  function play(on) {
    clearInterval(timer);
    timer = on ? setInterval(step, Number(player.dataset.interval)) : null;
    player.classList.toggle('ntk-playing', on);
    button.setAttribute('aria-label', on ? 'Pause' : 'Play');
  }
  function step() {
    var next = Number(slider.value) + 1;
    if (!player.isConnected) return play(false);
    move(Math.min(next, last));
    if (next >= last) play(false);
  }
  handles.forEach(function (handle) {
    handle.addEventListener('input', function () { if (handle === slider) play(false); show(); });
    if (handle.type === 'range') handle.value = handle.defaultValue;
    else handle.selectedIndex = 0;
    handle.hidden = false;
  });
  button.addEventListener('click', function () {
    if (timer === null && slider.value === last) move(0);
    play(timer === null);
  });
  show();
  button.hidden = false;
});
"""

_ICON = (
    '<svg viewBox="0 0 16 16" aria-hidden="true" focusable="false">'
    '<path class="ntk-play" d="M4 2l10 6-10 6z"/>'
    '<path class="ntk-pause" d="M3 2h3.5v12H3zM9.5 2H13v12H9.5z"/></svg>'
)


def _block(
    pictures: Sequence[_Picture],
    labels: Sequence[str],
    handles: Sequence[_Handle],
    alt: str,
    notes: Sequence[str],
    interval: float,
    start: int,
) -> str:
    # `data-lm-suppress-shortcuts` leaves the arrow keys to the handles in JupyterLab.
    frames = "\n".join(
        picture.tag(label, hidden=index != start)
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True))
    )
    play = f'<button type="button" aria-label="Play" hidden>{_ICON}</button>'
    first, *others = handles
    controls = [_control_block(first, start, play), *(_control_block(h, 0) for h in others)]
    captions = "".join(f'<p class="ntk-caption">{html.escape(note)}</p>\n' for note in notes)
    return (
        f'<div class="ntk-player" role="group" aria-label="{html.escape(alt)}" '
        f'style="max-width:{pictures[0].width}px" data-interval="{round(1000 * interval)}" '
        f'data-lm-suppress-shortcuts="true">\n<style>{_CSS}</style>\n{frames}\n'
        f"{''.join(controls)}\n{captions}<script>{_SCRIPT}</script>\n</div>"
    )


def _control_block(handle: _Handle, position: int, button: str = "") -> str:
    """A slider, or a menu where the values have no order, with what it stands at.

    It stays hidden until the script runs: without it the control would do nothing.
    """
    text = html.escape(handle.texts[position])
    room = max(map(len, handle.texts)) * 0.55
    common = (
        f'autocomplete="off" aria-label="{html.escape(handle.name)}" '
        f'data-texts="{html.escape(json.dumps(handle.texts, ensure_ascii=False))}" hidden'
    )
    if handle.slides:
        control = (
            f'<input type="range" min="0" max="{len(handle.texts) - 1}" value="{position}" '
            f'step="1" aria-valuetext="{text}" {common}>'
        )
    else:
        options = "".join(
            f'<option value="{place}">{html.escape(value)}</option>'
            for place, value in enumerate(handle.values)
        )
        control = f"<select {common}>{options}</select>"
    return (
        f'<div class="ntk-controls">{button}{control}'
        f'<span class="ntk-label" aria-hidden="true" style="min-width:{room:g}em">{text}</span>'
        "</div>"
    )


# --- one call, with a kernel or without ---------------------------------------------------------


class Explorer:
    """Live controls for a drawing, together with the player that stands in for them.

    Shown by a front end that knows widgets, it is the controls; anywhere else it is `player`.
    """

    def __init__(self, controls: Any, player: Player) -> None:
        if not hasattr(controls, "model_id"):
            raise ValueError(f"controls must be a widget, got {controls!r}")
        if not isinstance(player, Player):
            raise ValueError(f"player must be a Player, got {player!r}")
        self.controls = controls
        self.player = player

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "text/plain": repr(self),
            "text/html": self.player._repr_html_(),
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.controls.model_id,
            },
        }

    def __repr__(self) -> str:
        return f"Explorer({self.player!r})"


def explore(
    draw: Callable[..., Figure],
    *,
    alt: str,
    caption: str | None = None,
    only_live: Iterable[str] = (),
    **parameters: Iterable[Any],
) -> Player | Explorer:
    """Let the reader change what a figure depends on, with a handle for each parameter.

    Without a kernel the figure becomes a `Player` that has a frame for every combination of values;
    it plays through the first parameter. With one, a change draws anew. A kernel counts unless the
    environment variable `NTKLAB_STATIC` is set, as it is when the book is made, or ipywidgets is
    not installed. The live object carries the player too, so a saved notebook still moves where
    nobody runs it.

    Args:
        draw: called with one value for each parameter, by name; returns a matplotlib figure.
        alt: what the moving figure shows, for those who do not see it.
        caption: a line under the figure.
        only_live: parameters that change where a kernel runs and stand at their first values
            elsewhere, for combinations that would be too many; the player says so.
        **parameters: for each, the values to choose from. Numbers get a slider, the pair
            `(False, True)` a check box where a kernel runs, anything else a menu.

    Raises:
        ValueError: if there is no parameter, one has no values or one twice, all are in
            `only_live` or one there is none of them, `draw` is not a function or does not return a
            figure, for a bad `alt` or `caption`, or if the player would weigh more than 1 MB.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> def draw(m, log):
        ...     figure, axes = plt.subplots()
        ...     _ = axes.plot([1, m], [1, m])
        ...     if log:
        ...         axes.set(xscale="log", yscale="log")
        ...     return figure
        >>> explore(draw, alt="A line.", m=[16, 64], log=[False, True])
        Player(4 frames, 'm = 16, log = False' to 'm = 64, log = True')
    """
    if not callable(draw):
        raise ValueError(f"draw must be a function that returns a figure, got {draw!r}")
    choices = {name: _choices(name, values) for name, values in parameters.items()}
    if not choices:
        raise ValueError("parameters must have at least one, such as m=[16, 64, 256], got none")
    left = _validate.items("only_live", only_live)
    if not set(left) < set(choices):
        raise ValueError(
            f"only_live must be some of {', '.join(choices)}, but not all, got {left!r}"
        )

    def drawn(**values: Any) -> Figure:
        figure = draw(**values)
        if not isinstance(figure, Figure):
            raise ValueError(f"draw must return a matplotlib figure, got {type(figure).__name__}")
        plt.close(figure)  # drawn still: matplotlib warns of many that are open
        return figure

    player = _static(drawn, choices, left, alt, caption)
    if os.environ.get("NTKLAB_STATIC") or not _kernel_runs():
        return player
    try:
        import ipywidgets
    except ImportError:
        return player
    return Explorer(_controls(ipywidgets, drawn, choices, alt), player)


def _static(
    drawn: Callable[..., Figure],
    choices: dict[str, dict[str, Any]],
    only_live: Sequence[str],
    alt: str,
    caption: str | None,
) -> Player:
    """The player over all combinations of the handles that are not left to a kernel."""
    defaults = {name: next(iter(options.values())) for name, options in choices.items()}
    shown = {name: options for name, options in choices.items() if name not in only_live}
    handles = [
        _Handle(
            name,
            tuple(options),
            tuple(f"{name} = {text}" for text in options),
            slides=place == 0 or _are_numbers(options.values()),
        )
        for place, (name, options) in enumerate(shown.items())
    ]
    # The first parameter varies fastest, so that a player of one is the player of its values.
    names = list(reversed(shown))
    combinations = itertools.product(*(shown[name].values() for name in names))
    frames = (
        drawn(**(defaults | dict(zip(names, values, strict=True)))) for values in combinations
    )
    more = [f"{name} ({', '.join(choices[name])})" for name in choices if name in only_live]
    remark = f"A live notebook also changes {' and '.join(more)}." if more else None
    return Player._of(handles, frames, alt=alt, caption=caption, remark=remark)


def _choices(name: str, values: Iterable[Any]) -> dict[str, Any]:
    """The values of a parameter under the texts that stand for them."""
    choices: dict[str, Any] = {}
    for value in _validate.items(name, values):
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if text in choices:
            raise ValueError(f"{name} must be all values different, got {text} more than once")
        choices[text] = value
    if not choices:
        raise ValueError(f"{name} must be at least one value, got none")
    return choices


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool)
        for value in values
    )


def _kernel_runs() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def _controls(
    widgets: Any, drawn: Callable[..., Figure], choices: dict[str, dict[str, Any]], alt: str
) -> Any:
    controls = {name: _control(widgets, name, options) for name, options in choices.items()}
    screen = widgets.HTML()

    def redraw(change: Any = None) -> None:
        try:
            figure = drawn(**{name: control.value for name, control in controls.items()})
            screen.value = _svg_figure(figure).tag(alt)
        except Exception as error:  # a front end drops what a callback raises: show it instead
            screen.value = f"<pre>{html.escape(f'{type(error).__name__}: {error}')}</pre>"

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    return widgets.VBox([screen, *controls.values()])


def _control(widgets: Any, name: str, options: dict[str, Any]) -> Any:
    values = list(options.values())
    common = {"value": values[0], "description": name, "style": {"description_width": "initial"}}
    if len(values) == 2 and all(isinstance(value, bool | np.bool_) for value in values):
        return widgets.Checkbox(**common | {"value": bool(values[0])})
    if _are_numbers(values):
        return widgets.SelectionSlider(
            options=list(options.items()), continuous_update=False, **common
        )
    return widgets.Dropdown(options=list(options.items()), **common)
