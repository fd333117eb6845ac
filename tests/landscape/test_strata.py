# SPDX-License-Identifier: Apache-2.0
"""The strata of a probe, and the distance between profiles, one probe at a time."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_monocon.landscape.strata import parse_strata


def test_distance_is_the_largest_mean_difference_of_a_stratum() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["seen", "rare", "seen", "val", "rare", "val", "val", "rare", "seen", "seen"])
    left, right = rng.random((7, 10)), rng.random((7, 10))
    expected = [
        max(float(np.mean([abs(a[i] - b[i]) for i in range(10) if labels[i] == name])) for name in set(labels))
        for a, b in zip(left, right, strict=True)
    ]
    strata = parse_strata(labels.tolist())
    np.testing.assert_allclose(strata.distance(left, right), expected)
    assert strata.names == ("rare", "seen", "val")


def test_resolution_is_that_of_the_smallest_stratum() -> None:
    assert parse_strata([0] * 100 + [1] * 25).resolution == pytest.approx(3 * np.sqrt(0.25 / 25))
