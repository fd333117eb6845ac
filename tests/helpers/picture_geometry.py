# SPDX-License-Identifier: Apache-2.0
"""Where Matplotlib's own renderer puts what a figure shows: boxes of texts, rims of discs, ways of arrows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SLACK = 0.5  # pixels


def drawn(figure: Figure) -> Figure:
    """The figure after its renderer has placed everything."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    return figure


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that can be seen, with its box in pixels."""
    hidden = {id(text) for axis in figure.findobj(Axis) for text in _hidden_ticks(axis)}
    seen = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and id(text) not in hidden]
    return [(text.get_text(), text.get_window_extent()) for text in seen if not _is_of_hidden_axes(text)]


def arrows(figure: Figure) -> list[np.ndarray]:
    """Points ``(T, 2)`` in pixels along each arrow, head included, at most two pixels apart."""
    paths = [arrow.get_transform().transform_path(arrow.get_path()) for arrow in figure.findobj(FancyArrowPatch)]
    return [np.concatenate([_along(part) for part in path.to_polygons(closed_only=False)]) for path in paths]


def discs(figure: Figure) -> list[tuple[np.ndarray, float]]:
    """Centres and radii of the discs, in pixels."""
    found = []
    for disc in figure.findobj(PathCollection):
        (place,), (area,) = disc.get_offset_transform().transform(disc.get_offsets()), disc.get_sizes()
        found.append((np.asarray(place), float(np.sqrt(area) / 2 * figure.dpi / 72)))
    return found


def check_texts(figure: Figure) -> None:
    """No text covers another, lies on an arrow, or is cut off by the edge of the figure."""
    found, ways = texts(figure), arrows(figure)
    for (first, box), (second, other) in itertools.combinations(found, 2):
        assert not _overlap(box, other), f"{first!r} covers {second!r}"
    for text, box in found:
        assert not any(((way > box.min) & (way < box.max)).all(1).any() for way in ways), f"an arrow crosses {text!r}"
        inside = (box.min >= figure.bbox.min - 1).all() and (box.max <= figure.bbox.max + 1).all()
        assert inside, f"{text!r} leaves the figure"


def check_discs(figure: Figure) -> None:
    """No disc touches another, a text other than its number, or an arrow on its way to other discs."""
    found, ways = discs(figure), arrows(figure)
    words = [(text, box) for text, box in texts(figure) if not text.isdigit()]
    for (at, radius), (other, reach) in itertools.combinations(found, 2):
        assert np.linalg.norm(at - other) > radius + reach, "two discs touch"
    for at, radius in found:
        for text, box in words:
            assert np.linalg.norm(at - np.clip(at, box.min, box.max)) > radius, f"a disc covers {text!r}"
        for way in ways:
            assert np.linalg.norm(way - at, axis=1).min() > radius - SLACK, "an arrow crosses a disc"


def _along(corners: np.ndarray) -> np.ndarray:
    longest = np.linalg.norm(np.diff(corners, axis=0), axis=1).max()
    return np.asarray(Path(corners).interpolated(1 + int(longest / 2)).vertices)


def _overlap(first: Bbox, second: Bbox) -> bool:
    low, high = np.maximum(first.min, second.min), np.minimum(first.max, second.max)
    return bool((high - low > SLACK).all())


def _hidden_ticks(axis: Axis) -> Iterator[Text]:
    """Labels of ticks outside the view, which Matplotlib keeps but does not draw."""
    low, high = sorted(axis.get_view_interval())
    room = 1e-9 * max(abs(low), abs(high), 1e-300)
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        if not (axis.get_visible() and tick.get_visible() and low - room <= tick.get_loc() <= high + room):
            yield from (tick.label1, tick.label2)


def _is_of_hidden_axes(text: Text) -> bool:
    return text.axes is not None and not text.axes.get_visible()
