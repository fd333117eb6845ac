# SPDX-License-Identifier: Apache-2.0
"""One look for all figures: an arm keeps its colour, dash and marker everywhere, and prints well in black and white."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_monocon.durable_files import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, safe for colour-blind readers, ordered so that neighbours differ in lightness too.
_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

WIDTH = 6.4
"""Inches: one column of a page at 10 pt."""

DPI = 150


def line_style(index: int) -> dict[str, Any]:
    """Keywords of ``Axes.plot`` for the arm at this place of the scorecard."""
    i = index % len(_COLOURS)
    turned = (index + index // len(_COLOURS)) % len(_COLOURS)  # a second round of colours has other dashes and markers
    return {
        "color": _COLOURS[i],
        "linestyle": _DASHES[turned],
        "marker": _MARKERS[turned],
        "markersize": 4.5,
        "linewidth": 1.6,
        "markerfacecolor": "white" if i % 2 else _COLOURS[i],
    }


def new_figure(rows: int = 1, columns: int = 1, width: float = WIDTH, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """An empty figure and its axes, row by row, without pyplot: no display, no global state, safe in threads."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(True, color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
    return figure, axes


def dimension_axis(panel: Axes, ticks: Sequence[int], label: str) -> None:
    """A base-2 logarithmic x axis with plain numbers at powers of two."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    panel.set_xscale("log", base=2)
    shown = [k for k in ticks if k & (k - 1) == 0 or k == max(ticks)]
    panel.xaxis.set_major_locator(FixedLocator(shown))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.set_xlabel(label)


def legend_above(figure: Figure, panel: Axes) -> None:
    """One legend for all panels, above them, where it covers no line, in as many columns as fit."""
    handles, labels = panel.get_legend_handles_labels()
    longest = 0.75 + 0.085 * max(map(len, labels), default=1)  # inches: the sample of the line, and 10 pt letters
    columns = max(1, min(len(labels), int(figure.get_figwidth() / longest)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a PNG whole or not at all, and return its path."""
    path = Path(path)
    with whole(path) as file:
        figure.savefig(file, dpi=DPI, format="png")
    return path
