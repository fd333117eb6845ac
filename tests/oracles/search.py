# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours by the whole float64 distance matrix and a stable sort."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oracles.spectra import Array, unit

Labels = NDArray[np.int64]


def nearest(gallery: Array, query: Array, k: int, metric: str) -> tuple[Labels, NDArray[np.bool_]]:
    """Return the k nearest rows of every query, and where rounding can't change which they are and their order."""
    if metric == "cosine":
        distances = 1.0 - unit(query) @ unit(gallery).T
    else:
        distances = np.linalg.norm(query[:, None] - gallery[None], axis=2)
    order = np.argsort(distances, axis=1, kind="stable")
    rising = np.take_along_axis(distances, order, 1)[:, : k + 1]
    scale = np.maximum(np.abs(rising).max(1, initial=1e-300), 1.0 if metric == "cosine" else 0.0)
    clear = (np.diff(rising, axis=1) > 1e-9 * scale[:, None]).all(1)
    return order[:, :k], clear


def vote(labels: Labels) -> Labels:
    """Return the most frequent label of each row, the smallest of equally frequent."""
    winners = []
    for row in labels.tolist():
        counts = {label: row.count(label) for label in row}
        winners.append(min(label for label, count in counts.items() if count == max(counts.values())))
    return np.array(winners)
