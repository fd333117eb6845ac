# SPDX-License-Identifier: Apache-2.0
"""Write a report as one HTML page that needs nothing else: no network, no script, figures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.outline import Outline, outline
from lightning_monocon.scorecard.render.tables import BEST, TIED
from lightning_monocon.scorecard.render.text import template

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def as_html(card: Scorecard, figures: Mapping[str, Figure]) -> str:
    """Return the whole scorecard as a page.

    Args:
        card: The scorecard.
        figures: Its figures by file name; their captions also describe them to readers who cannot see them.
    """
    return page(outline(card, figures), figures)


def page(report: Outline, figures: Mapping[str, Figure]) -> str:
    """Return a report as a page, with the figures that it names."""
    pictures = {name: _address(figure) for name, figure in figures.items()}
    kinds = {BEST: "best", TIED: "tied"}
    return template("page.html.jinja").render(report=report, pictures=pictures, kinds=kinds)


def _address(figure: Figure) -> str:
    """Return a figure as the address of an image: in an image tag the ids of two SVG drawings cannot clash."""
    from matplotlib import rc_context

    drawing = io.BytesIO()
    # A fixed salt and no date: the same report gives the same bytes.
    with rc_context({"svg.hashsalt": "scorecard", "svg.fonttype": "path"}):
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.getvalue()).decode('ascii')}"
