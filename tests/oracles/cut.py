# SPDX-License-Identifier: Apache-2.0
"""Small vectors by another route: NumPy's singular value decomposition in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def unit(rows: Array) -> Array:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cut(gallery: Array, rows: Array, k: int) -> Array:
    """Unit rows minus the gallery's mean, along its k leading right singular vectors, at unit length; signs free."""
    unit_gallery = unit(np.asarray(gallery, dtype=np.float64))
    mean = unit_gallery.mean(0)
    directions = np.linalg.svd(unit_gallery - mean, full_matrices=False)[2][:k]
    return unit((unit(np.asarray(rows, dtype=np.float64)) - mean) @ directions.T)


def shares(gallery: Array) -> Array:
    """Cumulative share of the variance along the principal components."""
    unit_gallery = unit(np.asarray(gallery, dtype=np.float64))
    squares = np.linalg.svd(unit_gallery - unit_gallery.mean(0), compute_uv=False) ** 2
    return np.cumsum(squares) / squares.sum()
