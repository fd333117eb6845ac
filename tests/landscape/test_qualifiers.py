# SPDX-License-Identifier: Apache-2.0
"""Geometry qualifiers."""

from __future__ import annotations

import numpy as np

from lightning_monocon.landscape import LandscapeTracker
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
