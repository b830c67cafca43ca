"""The moving figure of the landing page: `{opening-figure}`, drawn from a stored table."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from docutils import nodes
from matplotlib.figure import Figure
from ntklab import figures, tables
from ntklab.player import Player
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_TABLE = "opening"
_ALT = (
    "Predictions on fresh points against the one coordinate that matters, step by step of "
    "training, with the wave that they should follow. The points of the tangent kernel stay in a "
    "cloud around a flat line; those of the network leave the same cloud and settle on the wave."
)

_CAPTION = (
    "Dots are predictions on fresh points, the line is the truth; always predicting 0 has an error "
    "of 1."
)


def errors(step: int) -> dict[str, float]:
    """The squared error of both on the fresh points, over that of predicting 0."""
    table = _rows(step)
    return {
        side: float(
            np.mean((table[f"by_{side}"] - table["target"]) ** 2) / np.mean(table["target"] ** 2)
        )
        for side in ("kernel", "network")
    }


def _rows(step: int) -> dict[str, np.ndarray]:
    table = tables.load(_TABLE)
    rows = {name: column[table["step"] == step] for name, column in table.items()}
    return {**rows, "target": _target(rows["along"])}


def _target(along: np.ndarray) -> np.ndarray:
    return np.asarray(np.sin(tables.provenance(_TABLE)["settings"]["frequency"] * along))


def _draw(step: int) -> Figure:
    rows = _rows(step)
    figure, axes = plt.subplots(figsize=(6.4, 2.8))
    along = np.linspace(-3, 3, 301)
    axes.plot(along, _target(along), color=figures.COLORS["ink"], lw=1, ls="-")
    sides = (("kernel", "its tangent kernel", "vermilion"), ("network", "the network", "blue"))
    for height, (side, name, color) in zip((2.0, 2.55), sides, strict=True):
        shade = figures.COLORS[color]
        axes.plot(
            rows["along"], rows[f"by_{side}"], "o", ms=3, mew=0, alpha=0.75, color=shade, ls="none"
        )
        text = f"{name}: error {errors(step)[side]:.2f}"
        axes.text(-2.9, height, text, color=shade, fontsize=13, va="center")
    axes.set(xlim=(-3, 3), ylim=(-1.7, 2.95), yticks=(-1, 0, 1), xticks=(-2, 0, 2))
    axes.set(xlabel="the one of 30 coordinates that matters", ylabel="prediction")
    return figure


class _OpeningFigure(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        figures.use_style()
        steps = tables.provenance(_TABLE)["settings"]["steps"]
        player = Player(
            map(_draw, steps),
            [f"step {step}" for step in steps],
            alt=_ALT,
            caption=_CAPTION,
            interval=0.8,
            start=-1,
        )
        return [nodes.raw("", player._repr_html_(), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("opening-figure", _OpeningFigure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
