# SPDX-License-Identifier: Apache-2.0
"""Give all figures one look: an arm has the same colour, dash and marker in each, distinct in black and white too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_monocon.landscape.phases import PhaseName
from lightning_monocon.runs.files import whole
from lightning_monocon.runs.record import History, mean_line

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, safe for colour-blind readers, ordered so that neighbours differ in lightness too.
_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

PHASE_COLOURS: dict[PhaseName, str] = {
    "warm-up": "#E69F00",
    "entropy-seeking": "#009E73",
    "compression-seeking": "#0072B2",
}
"""Colours of the phases of a representation's geometry."""

DPI = 150


def line_style(index: int) -> dict[str, Any]:
    """Return keywords of ``Axes.plot`` for the arm at this place of the scorecard."""
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


def new_figure(rows: int = 1, *, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return an empty figure of a size in inches, and its axes, row by row.

    It is made without pyplot, so it needs no display, has no global state and is safe in threads.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(True, color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
    return figure, axes


def dimension_axis(panel: Axes, ticks: Sequence[int], label: str) -> None:
    """Set a base-2 logarithmic x axis with plain numbers at powers of two and at the largest size, none overlapping."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    panel.set_xscale("log", base=2)
    last = max(ticks)
    shown = [k for k in ticks if (k & (k - 1) == 0 and 2 * k * k <= last * last) or k == last]  # half a step of room
    panel.xaxis.set_major_locator(FixedLocator(shown))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.set_xlabel(label)


_ROOM = 0.03
"""Share of the height by which a marker on 100 % or on 0 % may extend beyond the axes without touching a title."""


def percent_axis(panel: Axes, low: float, high: float, label: str) -> None:
    """Set a y axis of percentages from ``low`` to ``high``, but never beyond 0 and 100 %.

    Markers on 0 and on 100 % stay visible as a whole. Call this function after everything is drawn.
    """
    from matplotlib.transforms import Bbox, TransformedBbox

    panel.set_ylim(max(0.0, low), min(100.0, high))
    panel.set_ylabel(label)
    room = Bbox([[-_ROOM, -_ROOM if low <= 0 else 0.0], [1 + _ROOM, 1 + _ROOM if high >= 100 else 1.0]])
    for line in panel.lines:
        line.set_clip_path(None)
        line.set_clip_box(TransformedBbox(room, panel.transAxes))


def lowest_point(panels: Sequence[Axes]) -> float:
    """Return the lowest value of any line in any of the panels."""
    return min(float(np.min(line.get_ydata())) for panel in panels for line in panel.lines)


def epoch_axes(panels: Sequence[Axes]) -> None:
    """Give all panels the same x axis of epochs, on which every line of any of them fits."""
    from matplotlib.ticker import MaxNLocator

    ends = [float(np.max(line.get_xdata())) for panel in panels for line in panel.lines]
    last = max([*ends, 0.0]) or 1.0  # a run of one epoch has the number 0
    for panel in panels:
        panel.set_xlim(-0.02 * last, 1.02 * last)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("epoch")


def draw_history(
    panel: Axes, name: str, histories: Sequence[History], metric: str, index: int, scale: float = 1.0
) -> None:
    """Draw a metric of an arm by epoch, as the mean and span of its seeds; nothing where it is not recorded.

    ``index``, the arm's place in the scorecard, decides its look; the values are multiplied by ``scale``.
    """
    epochs, *lines = mean_line(histories, metric)
    if not epochs:
        return
    mean, low, high = ([scale * value for value in line] for line in lines)
    style = line_style(index)
    every = max(1, len(epochs) // 8)
    panel.plot(epochs, mean, label=name, markevery=(min(index * every // 4, every - 1), every), **style)
    if len(histories) > 1:
        panel.fill_between(epochs, low, high, color=style["color"], alpha=0.15, lw=0)


def legend_above(figure: Figure, *panels: Axes, order: Sequence[str] = ()) -> None:
    """Put one legend above all panels, where it covers no line, in as many columns as fit.

    Args:
        figure: The figure.
        panels: The panels whose lines it names, each name once.
        order: Names that come first, in their order.
    """
    named: dict[str, Artist] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    labels = [*(name for name in order if name in named), *(name for name in named if name not in order)]
    longest = 0.75 + 0.085 * max(map(len, labels), default=1)  # inches: the sample of the line, and 10 pt letters
    columns = max(1, min(len(labels), int(figure.get_figwidth() / longest)))
    figure.legend([named[label] for label in labels], labels, loc="outside upper center", ncols=columns, frameon=False)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a PNG completely or not at all, and return its path."""
    path = Path(path)
    with whole(path) as file:
        figure.savefig(file, dpi=DPI, format="png")
    return path
