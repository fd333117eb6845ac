# SPDX-License-Identifier: Apache-2.0
"""Measure semantic barriers as the paper does: the fallibility passed on the way from one state to another.

    B_ij = max of F over the path from the minimum inside i to the entry into j  -  F at that minimum

A barrier in this sense is not a saddle in weight space. The peak of the validation fallibility correlated with the
delay of grokking (r = 0.72 between seeds of one setting), but not across batch sizes: it describes a path and is not a
law.
"""

from __future__ import annotations

import numpy as np

from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.trajectory import Trajectory


def barrier_height(fallibility: Floats) -> float:
    """Return the peak of ``(T,)`` fallibilities over their lowest earlier value, in nats; 0 if they only fall.

    Example:
        >>> barrier_height(np.array([4.0, 2.0, 5.0, 0.1]))
        3.0
    """
    if not len(fallibility):
        return float("nan")
    return float((fallibility - np.minimum.accumulate(fallibility)).max())


def semantic_barrier(
    trajectory: Trajectory, source: int | None, entered: int | None, stratum: str | None = None
) -> float:
    """Return the height in nats between the last visit to ``source`` and the step at which a target was ``entered``.

    It is that of the fallibility of a stratum, or of the held-out strata if ``stratum`` is None; NaN without a source,
    a target or such a stratum.
    """
    known = trajectory.roles.held_out if stratum is None else stratum in trajectory.strata
    if source is None or entered is None or not known:
        return float("nan")
    states, steps = trajectory.column("state"), trajectory.column("step")
    elsewhere = np.flatnonzero((steps < entered) & (states != source) & (states >= 0))
    start = int(elsewhere[-1]) + 1 if len(elsewhere) else 0
    inside = start + np.flatnonzero(states[start:] == source)
    path = (steps <= entered) & (np.arange(len(steps)) >= (inside[0] if len(inside) else len(steps)))
    height = trajectory.column(f"fallibility/{stratum}") if stratum else trajectory.role("held_out", "fallibility")
    return barrier_height(height[path])
