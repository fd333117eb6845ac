# SPDX-License-Identifier: Apache-2.0
"""Profiles as they are stored, and plateaus against the rule written out in full."""

from __future__ import annotations

import numpy as np
import torch

from lightning_monocon.landscape.profiles import Point, pack, plateau, quantise, unpack
from lightning_monocon.landscape.strata import parse_strata

STRATA = parse_strata([0] * 4 + [1] * 4)


def test_packed_profiles_come_back_bit_for_bit() -> None:
    profiles = [quantise(row) for row in np.random.default_rng(0).random((5, 8))]
    packed = pack(profiles)
    assert packed.dtype == torch.float16
    for before, after in zip(profiles, unpack(packed), strict=True):
        np.testing.assert_array_equal(before, after)
    assert unpack(pack([])) == []


def _is_plateau(profiles: np.ndarray, inner: float) -> bool:
    centre = quantise(np.median(profiles, axis=0))
    near = [float(STRATA.distance(profile, centre)) <= inner for profile in profiles]
    half = len(profiles) // 2
    shift = STRATA.distance(np.median(profiles[:half], axis=0), np.median(profiles[half:], axis=0))
    return bool(np.mean(near) >= 0.85 and near[-1] and shift <= inner)


def test_the_cheap_refutation_changes_no_verdict() -> None:
    rng, verdicts = np.random.default_rng(0), []
    for _ in range(300):
        profiles = 0.5 + rng.choice([0.02, 0.1, 0.3]) * rng.standard_normal((12, 8))
        profiles[rng.integers(12)] += rng.choice([0.0, 0.5])
        profiles += np.linspace(0, rng.choice([0.0, 0.15]), 12)[:, None]
        window = [Point(step, quantise(profile)) for step, profile in enumerate(profiles)]
        verdicts.append(plateau(window, STRATA, 0.1) is not None)
        assert verdicts[-1] == _is_plateau(np.stack([point.profile for point in window]), 0.1)
    assert 50 < sum(verdicts) < 250
