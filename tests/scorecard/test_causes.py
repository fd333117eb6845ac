# SPDX-License-Identifier: Apache-2.0
"""Constraint against initialisation, and one checkpoint rule against the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build

Planted = Callable[..., EmbeddingSet]


@pytest.fixture(scope="module")
def sets(planted: Planted) -> dict[str, list[EmbeddingSet]]:
    """The start makes heads narrow; the constraint does nothing beyond it."""

    def arm(name: str, rank: int, draw: int) -> list[EmbeddingSet]:
        return [planted(arm=name, seed=seed, rank=rank, draw=draw, noise=0.5) for seed in range(3)]

    return {
        "encoder": arm("encoder", 16, 0),
        "mlp": arm("mlp", 14, 1),
        "mlp-squared": arm("mlp-squared", 6, 2),
        "monotonic": arm("monotonic", 6, 3),
    }


@pytest.fixture(scope="module")
def card(sets: dict[str, list[EmbeddingSet]]) -> Scorecard:
    return build(sets, brief=True)


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
