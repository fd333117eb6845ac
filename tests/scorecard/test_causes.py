# SPDX-License-Identifier: Apache-2.0
"""Constraint against initialisation, and one checkpoint rule against the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build
from lightning_monocon.scorecard.render.sentences import effect_lines, rule_lines
from lightning_monocon.scorecard.render.text import as_text

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


def test_the_words_say_which_does_it(card: Scorecard) -> None:
    constraint, start = effect_lines(card)
    assert constraint.startswith(
        "constraint, monotonic against mlp-squared: n99 6.0 against 6.0 (0.0, 95 % -1.0 to +1.0"
    )
    assert constraint.endswith("These seeds show no effect of the constraint on n99.")
    assert start.endswith("The start makes the embedding more compact by more than the noise.")


def test_a_cause_that_spreads_the_variance_is_said_to(sets: dict[str, list[EmbeddingSet]]) -> None:
    swapped = {
        "encoder": sets["encoder"],
        "mlp": [replace(data, arm="mlp") for data in sets["mlp-squared"]],
        "mlp-squared": [replace(data, arm="mlp-squared") for data in sets["mlp"]],
    }
    (line,) = effect_lines(build(swapped, brief=True))
    assert line.endswith("The start makes the embedding less compact by more than the noise.")


def test_seeds_that_agree_by_rounding_prove_nothing(planted: Planted) -> None:
    sets = {
        "encoder": [planted(seed=seed) for seed in range(2)],
        "mlp-squared": [planted(arm="mlp-squared", seed=seed, rank=6) for seed in range(2)],
        "monotonic": [planted(arm="monotonic", seed=seed, rank=5) for seed in range(2)],
    }
    (effect,) = build(sets, brief=True).effects
    assert effect.n99 == (5, 6) and effect.n99_interval == (-2, 0)
    assert not effect.compacts


def test_one_seed_tells_nothing(sets: dict[str, list[EmbeddingSet]]) -> None:
    card = build({name: runs[:1] for name, runs in sets.items()}, brief=True)
    assert all(line.endswith("One seed cannot tell them apart.") for line in effect_lines(card))
    assert not any(effect.compacts for effect in card.effects)


def test_without_twins_there_is_no_section(sets: dict[str, list[EmbeddingSet]]) -> None:
    card = build({name: sets[name] for name in ("encoder", "monotonic")}, brief=True)
    assert card.effects == () and "Constraint against" not in as_text(card)
    assert rule_lines(card) == [] and "other checkpoint rule" not in as_text(card)


def test_the_other_checkpoint_rule_is_held_against_the_first(
    sets: dict[str, list[EmbeddingSet]], planted: Planted
) -> None:
    two = {"encoder": [planted(seed=s, noise=1.2) for s in range(3)], "mlp": sets["mlp"]}
    better = [planted(arm="mlp", seed=s, noise=0.05, draw=4) for s in range(3)]
    best = {n: [replace(data, stage="best") for data in runs] for n, runs in {**two, "mlp": better}.items()}
    worse = {**two, "mlp": [planted(arm="mlp", seed=s, noise=2.5, draw=4) for s in range(3)]}
    card = replace(build(worse, brief=True), alternative=build(best, brief=True))
    lines = rule_lines(card)
    assert lines[-1].startswith("n99, last epoch / best by validation: encoder 16.0 / 16.0, mlp 16.0 / ")
    settled = next(line for line in lines if line.startswith("k = 16: "))
    assert settled.startswith("k = 16: last epoch encoder (") and "best by validation mlp (" in settled
    assert settled.endswith("the rules disagree by more than the noise.")
    same = rule_lines(replace(build(two, brief=True), alternative=build(two, brief=True)))
    assert same[0] == "The same arm is best under both rules at k = 1, 2, 3, 4, 6, 8, 12, 16."
