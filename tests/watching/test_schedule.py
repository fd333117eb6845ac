# SPDX-License-Identifier: Apache-2.0
"""The steps at which a landscape is evaluated."""

from __future__ import annotations

import numpy as np

from lightning_monocon.watching.schedule import is_due


def test_the_log_schedule_is_even_in_the_logarithm() -> None:
    due = [step for step in range(1, 10_001) if is_due("log", step)]
    assert due[:5] == [1, 2, 3, 4, 5]
    late = np.diff(np.log10([step for step in due if step > 200]))
    assert late.min() > 0.015
    assert late.max() < 0.03
