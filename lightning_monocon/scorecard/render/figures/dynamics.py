# SPDX-License-Identifier: Apache-2.0
"""Draw the geometry by epoch, at the output of the encoder and at that of the head: n99, RankMe and alpha-ReQ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lightning_monocon.landscape.phases import ALPHA_SWING, SWING, GeometryPhase, geometry_phases
from lightning_monocon.runs.record import EMBEDDING, ENCODER, History, mean_line
from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.figures.style import (
    PHASE_COLOURS,
    draw_history,
    epoch_axes,
    legend_above,
    line_style,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDES = {ENCODER: "encoder output, below the head", EMBEDDING: "embedding"}
_STRIP, _GAP = 0.03, 0.01
"""Height of an arm's strip of phases, and the room between two, as shares of the panel."""


class _Measure(NamedTuple):
    """Hold the name of a measure in a record and in words, and how its phases are found."""

    metric: str
    label: str
    swing: float
    is_inverse: bool


_MEASURES = (
    _Measure("effective_dimension", "effective dimension n99", SWING, False),
    _Measure("effective_rank", "effective rank (RankMe)", SWING, False),
    _Measure("alpha_req", "alpha-ReQ", ALPHA_SWING, True),
)


def dynamics_figure(card: Scorecard) -> Figure | None:
    """Return a figure of the geometry below each head (left) and of the embedding (right); None if none is recorded.

    A row of panels stands for a measure that a run recorded, and both of them have the same axes. Phases are those of
    the mean over an arm's seeds: strips at the bottom of a panel, one for each arm in their order, have their colours,
    and a triangle stands where one ends and the next begins, with its interval.
    """
    known = [measure for measure in _MEASURES if _is_recorded(card, measure.metric)]
    if not known:
        return None
    figure, panels = new_figure(len(known), columns=2, width=9.0, height=0.8 + 3.0 * len(known))
    shown: set[str] = set()
    for row, measure in enumerate(known):
        pair = dict(zip(_SIDES, panels[2 * row : 2 * row + 2], strict=True))
        for prefix, panel in pair.items():
            shown |= _draw_panel(panel, card, prefix + measure.metric, measure)
            panel.set_ylabel(measure.label)
        _same_height([*pair.values()], from_zero=not measure.is_inverse)
    for panel, title in zip(panels, _SIDES.values(), strict=False):
        panel.set_title(title, fontsize=10)
    epoch_axes(panels)
    legend_above(figure, *reversed(panels))
    _name_phases(figure, shown)
    return figure


def _is_recorded(card: Scorecard, metric: str) -> bool:
    return any(mean_line(arm.histories, prefix + metric)[0] for arm in card.arms for prefix in _SIDES)


def _draw_panel(panel: Axes, card: Scorecard, metric: str, measure: _Measure) -> set[str]:
    """Draw a metric of all arms, and return the names of the phases that it goes through."""
    found: set[str] = set()
    for index, arm in enumerate(card.arms):
        draw_history(panel, arm.name, arm.histories, metric, index)
        phases = _draw_turns(panel, arm.histories, metric, measure, index)
        _draw_strip(panel, phases, index)
        found |= {phase.name for phase in phases}
    return found


def _draw_turns(
    panel: Axes, histories: Sequence[History], metric: str, measure: _Measure, index: int
) -> tuple[GeometryPhase, ...]:
    """Mark the ends of phases of the mean over an arm's seeds: downwards at a highest value."""
    epochs, mean, *_ = mean_line(histories, metric)
    heights, colour = dict(zip(epochs, mean, strict=True)), line_style(index)["color"]
    phases = geometry_phases(epochs, mean, measure.swing, inverse=measure.is_inverse)
    for phase in phases[:-1]:
        where = ([phase.end], [heights[int(phase.end)]])
        is_peak = (phase.name == "entropy-seeking") != measure.is_inverse
        span = [[phase.end - phase.earliest], [phase.latest - phase.end]]
        style = {"fmt": "v" if is_peak else "^", "color": colour, "markersize": 7, "capsize": 3, "zorder": 3}
        panel.errorbar(*where, xerr=span, **style)
    return phases


def _draw_strip(panel: Axes, phases: Sequence[GeometryPhase], index: int) -> None:
    """Draw the phases of an arm as a strip at its own height above the bottom of the panel."""
    bottom = _GAP + index * (_STRIP + _GAP)
    for phase in phases:
        ends = (phase.start, phase.end)
        panel.axvspan(*ends, bottom, bottom + _STRIP, color=PHASE_COLOURS[phase.name], alpha=0.5, lw=0)


def _same_height(panels: Sequence[Axes], *, from_zero: bool) -> None:
    """Give panels one y axis, on which lines stay above the strips."""
    limits = [panel.get_ylim() for panel in panels if panel.lines]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for panel in panels:
        panel.set_ylim(0.0 if from_zero else max(0.0, low - 0.15 * (high - low)), high)


def _name_phases(figure: Figure, shown: set[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, alpha=0.5, label=name) for name, colour in PHASE_COLOURS.items() if name in shown]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
