# SPDX-License-Identifier: Apache-2.0
"""Spectral truths by another route: singular values of the centred rows, never a Gram matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def unit(rows: Array) -> Array:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


def prepared(rows: Array, normalize: bool) -> Array:
    rows = np.asarray(rows, dtype=np.float64)
    return unit(rows) if normalize else rows


def variances(rows: Array) -> Array:
    """Eigenvalues of the covariance (n - 1), descending, padded with zeros to the number of features."""
    singular = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    spectrum = np.zeros(rows.shape[1])
    spectrum[: len(singular)] = singular**2 / (len(rows) - 1)
    return spectrum


def reconstruction(gallery: Array, query: Array, k: int) -> tuple[float, float]:
    """RMSE and unexplained fraction of the query outside the gallery's first k principal directions."""
    mean = gallery.mean(0)
    _, _, directions = np.linalg.svd(gallery - mean, full_matrices=False)
    centred = query - mean
    residual = centred - centred @ directions[:k].T @ directions[:k]
    return float(np.sqrt(np.mean(residual**2))), float((residual**2).sum() / (centred**2).sum())


def rms_correlation(rows: Array) -> float:
    """By `np.corrcoef` over the features that vary."""
    alive = rows[:, rows.std(0) > 0]
    corr = np.corrcoef(alive, rowvar=False)
    return float(np.sqrt(np.mean(corr[~np.eye(len(corr), dtype=bool)] ** 2)))


def mean_pair_cosine(rows: Array) -> float:
    cosines = unit(rows) @ unit(rows).T
    return float(cosines[~np.eye(len(rows), dtype=bool)].mean())
