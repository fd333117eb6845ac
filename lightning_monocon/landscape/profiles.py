# SPDX-License-Identifier: Apache-2.0
"""Round credence profiles to the precision at which they are stored, and find the plateaus that they form.

Profiles are rounded to float16 when they arrive and anchors when they are made, so that a state that is written to a
checkpoint and read back is equal bit for bit, at two bytes a probe.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_monocon.landscape.strata import Profile, Strata

QUANTILE = 0.85


class Point(NamedTuple):
    """Hold a profile ``(P,)`` and the step at which it was measured."""

    step: int
    profile: Profile


def quantise(values: npt.NDArray[np.floating]) -> Profile:
    """Round to float16 and keep the values as float32 for arithmetic."""
    return values.astype(np.float16).astype(np.float32)


def pack(profiles: list[Profile]) -> Tensor:
    """Return quantised profiles as one ``(K, P)`` float16 tensor, ``(0, 0)`` if there are none."""
    return torch.from_numpy(np.stack(profiles).astype(np.float16)) if profiles else torch.zeros(0, 0).half()


def unpack(packed: Tensor) -> list[Profile]:
    """Return the profiles that `pack` stored."""
    return list(packed.cpu().float().numpy())


def plateau(window: list[Point], strata: Strata, inner: float) -> Profile | None:
    """Return the centre of a window whose profiles form a plateau of radius ``inner``; None if they do not.

    The centre is the coordinate-wise median. At least 85 % of the profiles and the last one must lie within
    ``inner`` of it, and the medians of the two halves must not differ by more.
    """
    profiles = np.stack([point.profile for point in window])
    # by the triangle inequality a plateau lies within 2 inner of its last profile: cheap to refute first
    if (strata.distance(profiles, profiles[-1]) <= 2 * inner).mean() < QUANTILE:
        return None
    centre = quantise(np.median(profiles, axis=0))
    distances = strata.distance(profiles, centre)
    half = len(window) // 2
    shift = strata.distance(np.median(profiles[:half], axis=0), np.median(profiles[half:], axis=0))
    is_flat = (distances <= inner).mean() >= QUANTILE and distances[-1] <= inner and shift <= inner
    return centre if is_flat else None
