# SPDX-License-Identifier: Apache-2.0
"""Arrows bend around the discs that lie in their way, and no more than they must."""

from __future__ import annotations

import numpy as np

from lightning_monocon.watching.routes import Disc, route

BOX = (-100.0, -100.0, 200.0, 100.0)
START, END = Disc((0.0, 0.0), 5.0), Disc((100.0, 0.0), 5.0)


def test_with_nothing_in_the_way_the_bend_is_the_slightest() -> None:
    bend, path = route(START, END, [START, END], [], BOX)
    assert abs(bend) == 0.15
    for disc, point in ((START, path[0]), (END, path[-1])):
        assert 5 <= np.linalg.norm(point - disc.centre) < 7


def test_a_disc_in_the_way_is_passed() -> None:
    middle = Disc((50.0, 0.0), 20.0)
    bend, path = route(START, END, [START, END, middle], [], BOX)
    assert np.linalg.norm(path - middle.centre, axis=1).min() > 20
    assert abs(bend) > 0.15


def test_a_second_arrow_keeps_apart_from_the_first_and_inside_the_box() -> None:
    _, first = route(START, END, [START, END], [], BOX)
    _, second = route(END, START, [START, END], [first], (-100.0, first[:, 1].min() - 1, 200.0, 100.0))
    inner = second[8:-8]
    assert np.linalg.norm(inner[:, None] - first[None], axis=-1).min() >= 9
