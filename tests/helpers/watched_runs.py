# SPDX-License-Identifier: Apache-2.0
"""Runs that a tracker has followed, made of planted credences or recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracles.credence_paths import STRATA, Floats, grokking

from lightning_monocon.landscape import LandscapeTracker

RECORDED = ("grok_sq_s0", "supcon_p47_s0", "ungrok_sq_s0", "corrupt_sq_s0", "control_frac12_s10")


def follow(credence: Floats, steps: npt.NDArray[Any] | None = None, **options: object) -> LandscapeTracker:
    """Show a tracker the ``(T, P)`` credences at ``(T,)`` steps, 0 .. T - 1 by default."""
    tracker = LandscapeTracker(STRATA, **options)  # type: ignore[arg-type]
    for step, profile in zip(range(len(credence)) if steps is None else steps.tolist(), credence, strict=True):
        tracker.update(int(step), profile)
    return tracker


def watched(generalised: float = 1500.0, probe: str = "p", stop: int = 3001, measure: str = "") -> LandscapeTracker:
    """Follow a run that memorises at step 40 and generalises at the given one."""
    steps = np.arange(0, stop, 25)
    return follow(grokking(steps.astype(float), generalised=generalised), steps, probe=probe, measure=measure)


def replay(folder: Path, name: str) -> LandscapeTracker:
    """Show a tracker a recorded run; skip the test where the record is missing."""
    path = folder / "trajectories" / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    with np.load(path) as run:
        tracker = LandscapeTracker(run["stratum"])
        for step, credence in zip(run["step"], run["credence"], strict=True):
            tracker.update(int(step), credence)
    return tracker
