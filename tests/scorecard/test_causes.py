# SPDX-License-Identifier: Apache-2.0
"""Constraint against initialisation, and one checkpoint rule against the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build

Planted = Callable[..., EmbeddingSet]


@pytest.fixture(scope="module")
def card(starts: dict[str, list[EmbeddingSet]]) -> Scorecard:
    return build(starts, brief=True)


def test_the_start_is_found_to_be_the_cause(card: Scorecard) -> None:
    constraint, start = card.effects
    assert (constraint.cause, constraint.arm, constraint.twin) == ("constraint", "monotonic", "mlp-squared")
    assert constraint.n99 == (6, 6) and not constraint.compacts
    assert (start.cause, start.arm, start.twin) == ("start", "mlp-squared", "mlp")
    assert start.n99[0] < 7 < start.n99[1] and start.compacts
    assert start.kept.k == 6 and start.seeds == 3


def test_seeds_that_agree_by_rounding_prove_nothing(planted: Planted) -> None:
    sets = {
        "encoder": [planted(seed=seed) for seed in range(2)],
        "mlp-squared": [planted(arm="mlp-squared", seed=seed, rank=6) for seed in range(2)],
        "monotonic": [planted(arm="monotonic", seed=seed, rank=5) for seed in range(2)],
    }
    (effect,) = build(sets, brief=True).effects
    assert effect.n99 == (5, 6) and effect.n99_interval == (-2, 0)
    assert not effect.compacts
