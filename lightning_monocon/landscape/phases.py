# SPDX-License-Identifier: Apache-2.0
"""Cut a training run into the phases of its representation's geometry, by the turns of RankMe, alpha-ReQ or n99.

Li et al. (2025, arXiv:2509.23024) name three in language models: a *warm-up* in which the effective rank falls, a phase
that is *entropy-seeking*, in which it rises, and one that is *compression-seeking*, in which it falls again. Other
runs show one or two of them, or none, so each is found by itself:

- a turn is a highest or lowest point from which the value then goes back by `SWING` or more, and its logarithm by
  eight times the noise between neighbouring evaluations, of which the rounding of whole numbers such as n99 is part;
- a rise is entropy-seeking; a fall before the first rise is the warm-up, every other fall compression-seeking; the
  exponent alpha-ReQ falls where a dimension rises, so its inverse is cut;
- the interval of a turn holds all evaluations of the two phases beside it that lie within four times the noise of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_monocon.landscape.trajectory import Trajectory

PhaseName = Literal["warm-up", "entropy-seeking", "compression-seeking"]

SWING, ALPHA_SWING = 0.1, 0.05
"""The least change that makes a phase, a tenth; half of that of alpha-ReQ, a slope that moves less than a rank."""

MEASURES = {"effective_rank": "RankMe", "alpha_req": "alpha-ReQ", "n99": "n99"}
"""What has phases: the names of columns of a trajectory, in words."""

_FEWEST = 8  # evaluations below which the noise is unknown
_REVERSAL, _NEAR = 8.0, 4.0  # in units of the noise: 1000 evaluations of noise alone span less than seven
_NORMAL = 1.4826  # standard deviation over median absolute deviation


class GeometryPhase(NamedTuple):
    """Hold one phase.

    Attributes:
        name: ``"warm-up"``, ``"entropy-seeking"`` or ``"compression-seeking"``.
        start: Step, or epoch, at which it begins.
        end: At which it ends; the last one of the run, if it goes on.
        earliest: The end may be as early as this.
        latest: Or as late; equal to ``end`` where it goes on.
        ratio: The value at the end over that at the start.
    """

    name: PhaseName
    start: float
    end: float
    earliest: float
    latest: float
    ratio: float


def geometry_phases(
    steps: ArrayLike, dimensions: ArrayLike, swing: float = SWING, *, inverse: bool = False
) -> tuple[GeometryPhase, ...]:
    """Return the phases of an effective dimension, such as RankMe or n99, in their order.

    Args:
        steps: Steps or epochs ``(E,)`` of the evaluations, ascending.
        dimensions: ``(E,)`` at each; those that are not positive and finite are left out.
        swing: The least change that makes a phase, as a share.
        inverse: Whether the values fall where the dimension rises, as alpha-ReQ does.

    Returns:
        The phases; none if fewer than eight evaluations are left, or nothing changes by ``swing``.

    Raises:
        ValueError: If both are not of one length, or ``swing`` is not positive.

    Example:
        >>> ranks = [9, 8, 7, 6, 7, 8, 9, 10, 11, 12, 11, 10, 9, 8]
        >>> [phase.name for phase in geometry_phases(range(14), ranks)]
        ['warm-up', 'entropy-seeking', 'compression-seeking']
    """
    x, y = np.asarray(steps, dtype=float), np.asarray(dimensions, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"`dimensions` must hold one value per step, {x.shape}; got shape {y.shape}.")
    if not 0 < swing < math.inf:
        raise ValueError(f"`swing` must be a positive share, such as {SWING}; got {swing}.")
    known = np.isfinite(y) & (y > 0)
    x, values = x[known], y[known]
    if len(values) < _FEWEST:
        return ()

    y = -np.log(values) if inverse else np.log(values)
    noise = max(_noise(y), _rounding(values))
    turns = _turns(y, max(math.log1p(swing), _REVERSAL * noise))
    phases, has_risen = list[GeometryPhase](), False
    rises = [bool(y[end] > y[start]) for start, end in pairwise(turns)]
    for place, (start, end) in enumerate(pairwise(turns)):
        name: PhaseName = "entropy-seeking" if rises[place] else "compression-seeking"
        if not rises[place] and not has_risen and any(rises):
            name = "warm-up"
        has_risen |= rises[place]
        last = turns[place + 2] if place + 2 < len(turns) else None
        first, latest = (float(x[each]) for each in _near(y, start, end, last, _NEAR * noise))
        ratio = float(values[end] / values[start])
        phases.append(GeometryPhase(name, float(x[start]), float(x[end]), first, latest, ratio))
    return tuple(phases)


def trajectory_phases(trajectory: Trajectory) -> dict[str, tuple[GeometryPhase, ...]]:
    """Return the phases of a recorded run by each of `MEASURES` that was measured."""
    found: dict[str, tuple[GeometryPhase, ...]] = {}
    for name in MEASURES:
        values, is_slope = trajectory.column(name), name == "alpha_req"
        if np.isfinite(values).any():
            swing = ALPHA_SWING if is_slope else SWING
            found[name] = geometry_phases(trajectory.steps, values, swing, inverse=is_slope)
    return found


def phases_line(phases: Sequence[GeometryPhase]) -> str:
    """Write the phases of one measure in a line.

    Example:
        >>> ranks = [9, 8, 7, 6, 7, 8, 9, 10, 11, 12, 13, 14]
        >>> phases_line(geometry_phases(range(12), ranks))
        'warm-up to step 3 (2 to 4), 0.67 times the value; entropy-seeking to step 11, 2.3 times the value'
    """
    told = [
        f"{phase.name} to step {phase.end:.0f}"
        + ("" if phase is phases[-1] else f" ({phase.earliest:.0f} to {phase.latest:.0f})")
        + f", {phase.ratio:.2g} times the value"
        for phase in phases
    ]
    return "; ".join(told) or "no phase"


def _rounding(values: NDArray[np.float64]) -> float:
    """Return the standard deviation that rounding gives the logarithm of whole numbers; 0 of others."""
    is_whole = bool((values == np.rint(values)).all())
    return 1 / (math.sqrt(12) * float(np.median(values))) if is_whole else 0.0


def _noise(y: NDArray[np.float64]) -> float:
    """Return the standard deviation of one evaluation, from third differences, which a smooth change leaves small."""
    return _NORMAL * float(np.median(np.abs(np.diff(y, 3)))) / math.sqrt(20)  # 1 + 9 + 9 + 1


def _turns(y: NDArray[np.float64], swing: float) -> list[int]:
    """Return where phases begin and end: alternating extremes that differ by ``swing`` or more; none without two."""
    low = high = 0
    turns: list[int] = []
    rising: bool | None = None
    for place, value in enumerate(y):
        if value > y[high]:
            high = place
        if value < y[low]:
            low = place
        if rising is not False and y[high] - value >= swing:  # a peak is behind us
            turns, rising, low = [*turns, high], False, place
            turns = [*_first(y, high, swing, rises=True), *turns] if len(turns) == 1 else turns
        elif rising is not True and value - y[low] >= swing:
            turns, rising, high = [*turns, low], True, place
            turns = [*_first(y, low, swing, rises=False), *turns] if len(turns) == 1 else turns
    if rising is None:
        return []
    return [*turns, high if rising else low]


def _first(y: NDArray[np.float64], turn: int, swing: float, *, rises: bool) -> list[int]:
    """Return the beginning of a phase before the first turn, if there is one."""
    before = y[: turn + 1]
    start = int(before.argmin() if rises else before.argmax())
    return [start] if abs(y[turn] - y[start]) >= swing else []


def _near(y: NDArray[np.float64], start: int, end: int, after: int | None, slack: float) -> tuple[int, int]:
    """Return the first and last evaluation of both phases at which the turn between them may lie."""
    if after is None:
        return end, end
    inside = start + np.flatnonzero(np.abs(y[start : after + 1] - y[end]) <= slack)
    return int(min(inside[0], max(end - 1, start))), int(max(inside[-1], min(end + 1, after)))
