# SPDX-License-Identifier: Apache-2.0
"""What figures are tested on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build


@pytest.fixture(scope="package")
def small(planted: Callable[..., EmbeddingSet]) -> Scorecard:
    """Two arms of two seeds, of which the second is compact: it needs four dimensions of sixteen."""
    looks = {"encoder": {"rank": 16, "noise": 1.2}, "narrow": {"rank": 4, "noise": 0.2, "draw": 1}}
    sets = {
        name: [planted(arm=name, seed=seed, rows=(200, 80), **how) for seed in range(2)] for name, how in looks.items()
    }
    return build(sets, with_nulls=False)
