# SPDX-License-Identifier: Apache-2.0
"""Maps of the correlation between features."""

from __future__ import annotations

import numpy as np
import torch

from lightning_monocon.scorecard import EmbeddingSet
from lightning_monocon.scorecard.render.figures.correlation import clustered_correlation, correlation_figure


def _groups() -> EmbeddingSet:
    """Three signals, each in two features that are apart, and one feature that is always zero."""
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(200, 3, generator=generator)
    rows = torch.cat([signals, signals + 0.1 * torch.randn(200, 3, generator=generator), torch.zeros(200, 1)], 1)
    labels = torch.arange(200) % 2
    return EmbeddingSet(rows, labels, rows, labels)


def test_correlated_features_become_neighbours_and_constant_ones_are_left_out() -> None:
    matrix = np.abs(clustered_correlation(_groups()))
    assert matrix.shape == (6, 6)
    np.testing.assert_allclose(matrix, matrix.T)
    blocks = np.kron(np.eye(3), np.ones((2, 2))) > 0
    assert matrix[blocks].min() > 0.9 > 0.5 > matrix[~blocks].max()


def test_a_map_names_its_arm_and_its_constant_features() -> None:
    panel, _ = correlation_figure({"mine": _groups()}).axes
    assert (panel.get_title(), panel.get_xlabel()) == ("mine", "6 features, 1 constant")
