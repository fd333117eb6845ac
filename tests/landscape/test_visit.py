# SPDX-License-Identifier: Apache-2.0
"""The points of a visit are thinned, the newest half never."""

from __future__ import annotations

import numpy as np

from lightning_monocon.landscape.profiles import Point
from lightning_monocon.landscape.visit import Visit


def test_a_long_visit_keeps_its_newest_points_whole() -> None:
    visit, profile = Visit(), np.zeros(4, dtype=np.float32)
    for step in range(1000):
        visit.add(Point(step, profile))
        assert len(visit.points) <= 256
    steps = [point.step for point in visit.points]
    assert steps[-128:] == list(range(872, 1000))
    assert steps[0] == 0 and steps == sorted(steps)
    visit.begin(990)
    assert [point.step for point in visit.points] == list(range(990, 1000))
