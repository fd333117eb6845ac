# SPDX-License-Identifier: Apache-2.0
"""Geometry qualifiers and the emergence of groups."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.emergence import EmergenceDetector
from lightning_monocon.landscape.qualifiers import Geometry, GeometryWatch

NAN = float("nan")


def _watch(rows: list[tuple[float, float, float]], *, is_settled: bool = True) -> list[tuple[int, str]]:
    """Kinds found over rows of (effective rank, train credence, validation credence)."""
    watch, found = GeometryWatch(), []
    for step, (rank, train, val) in enumerate(rows):
        found += [(step, q.kind) for q in watch.update(step, Geometry(rank, NAN), train, val, is_settled=is_settled)]
    return found


def test_compaction_inside_a_state_twice() -> None:
    assert _watch([(84, 1, 1), (70, 1, 1), (54, 1, 1), (40, 1, 1), (27, 1, 1)]) == [
        (2, "compaction"),
        (4, "compaction"),
    ]


def test_compaction_needs_a_state_and_steady_credence() -> None:
    assert _watch([(84, 1, 1), (54, 1, 1)], is_settled=False) == []
    assert _watch([(84, 1, 0.5), (54, 1, 0.6)]) == []


def test_collapse_by_falling_credence_or_rank_below_two() -> None:
    assert _watch([(84, 1, 1), (54, 1, 0.8)]) == [(1, "collapse")]
    assert _watch([(2.1, 1, 1), (1.9, 1, 1), (1.8, 1, 1), (2.5, 1, 1), (1.9, 1, 1)]) == [
        (1, "collapse"),
        (4, "collapse"),
    ]


def test_early_compression_once_and_only_before_generalising() -> None:
    assert _watch([(30, 0.5, 0.05), (20, 1, 0.05), (14, 1, 0.05), (5, 1, 0.05)]) == [(2, "early_compression")]
    assert (1, "early_compression") not in _watch([(30, 1, 0.9), (14, 1, 0.05)])


def test_without_geometry_there_is_nothing_to_say() -> None:
    assert _watch([(NAN, 1, 1)] * 5) == []


def test_the_tracker_reports_compaction() -> None:
    tracker = LandscapeTracker([0] * 8 + [1] * 8)
    for step in range(1, 60):
        tracker.update(step, np.full(16, 0.98), effective_rank=80 - step, participation_ratio=40.0)
    kinds = [(event.kind, event.source, event.step_left) for event in tracker.events]
    assert kinds == [("compaction", 0, since) for since in (3, 27, 43)]
    assert "effective_rank" in tracker.graph().nodes[0]


def _groups(count: int, size: int) -> dict[str, np.ndarray]:
    return {f"g{i}": np.arange(i * size, (i + 1) * size) for i in range(count)}


def test_emergence_needs_three_evaluations_in_a_row() -> None:
    detector = EmergenceDetector(_groups(2, 10), chance=0.1)
    levels = [0.1, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9]
    found = [(s, e) for s, v in enumerate(levels) for e in detector.update(s, np.repeat([v, 0.1], 10))]
    assert found == [(5, ("g0", 3))]
    assert math.isnan(detector.spread())


def test_emergence_must_beat_chance() -> None:
    detector = EmergenceDetector(_groups(2, 4), chance=0.5)
    assert [detector.update(s, np.full(8, 0.55)) for s in range(3)][-1] == []  # 4 of 4 at chance 1/2: p = 0.06


def test_spread_is_the_coefficient_of_variation() -> None:
    detector = EmergenceDetector(_groups(2, 10), chance=0.1)
    for step in range(1, 10):
        detector.update(10 * step, np.repeat([0.9, 0.9 if step > 2 else 0.1], 10))
    assert detector.emerged == {"g0": 10, "g1": 30}
    assert detector.spread() == pytest.approx(np.std([10, 30], ddof=1) / 20)


def test_the_tracker_reports_groups_of_its_validation_stratum() -> None:
    strata, groups = np.repeat([0, 1], 20), np.tile(np.repeat([3, 7], 10), 2)
    tracker = LandscapeTracker(strata, groups=groups)
    for step in range(12):
        tracker.update(step, np.where((strata == 0) | ((groups == 7) & (step >= 5)), 0.9, 0.02))
    (event,) = [event for event in tracker.events if event.kind == "emergence"]
    assert (event.group, event.step_entered, event.step_confirmed) == ("7", 5, 7)
