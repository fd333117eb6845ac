# SPDX-License-Identifier: Apache-2.0
"""Draw the correlation between features, one map per arm, ordered so that correlated features are neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.render.figures.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4
_INCHES = 2.7
_LETTERS = 28  # as many fit above a map


def correlation_figure(sets: Mapping[str, EmbeddingSet]) -> Figure:
    """Return one map per arm of the absolute correlation between features of the gallery's unit rows.

    Features that do not vary are left out. The others are ordered by average linkage on 1 - |correlation|, with the
    leaves arranged so that neighbours are close.
    """
    rows = -(-len(sets) // _COLUMNS)
    columns = -(-len(sets) // rows)
    titles = {name: fill(name, _LETTERS) for name in sets}
    height = _INCHES + 0.2 + 0.25 * max(title.count("\n") + 1 for title in titles.values())
    figure, panels = new_figure(rows, columns=columns, width=_INCHES * columns + 0.9, height=height * rows)
    image = None
    for panel, (name, data) in zip(panels, sets.items(), strict=False):
        correlation = clustered_correlation(data)
        if len(correlation):  # rows that are all equal have no feature that varies
            image = panel.imshow(np.abs(correlation), vmin=0, vmax=1, cmap="Greys", interpolation="nearest")
        left_out = data.dim - len(correlation)
        panel.set_title(titles[name], fontsize=10)
        panel.set_xlabel(f"{len(correlation)} features" + (f", {left_out} constant" if left_out else ""))
        panel.set_xticks([])
        panel.set_yticks([])
    for panel in panels[len(sets) :]:
        panel.set_visible(False)
    if image is not None:
        figure.colorbar(image, ax=panels, label="absolute correlation", shrink=0.8, pad=0.02)
    return figure


def clustered_correlation(data: EmbeddingSet) -> np.ndarray:
    """Return the correlation ``(d, d)`` of the d features that vary, in the order of a hierarchical clustering."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    rows = unit_rows(data.gallery).double().numpy()
    spread = rows.std(0)
    rows = rows[:, spread > 1e-7]  # float32 rounding of a constant feature of a unit row stays below this
    if rows.shape[1] < 2:
        return np.ones((rows.shape[1], rows.shape[1]))
    matrix: np.ndarray = np.clip(np.corrcoef(rows, rowvar=False), -1, 1)
    if len(matrix) < 3:
        return matrix
    distance = squareform(1 - np.abs((matrix + matrix.T) / 2), checks=False)
    order = leaves_list(linkage(distance, method="average", optimal_ordering=len(matrix) <= 256))
    ordered: np.ndarray = matrix[np.ix_(order, order)]
    return ordered
